/* Records of a trace as text: host/trace.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "host/trace.h"

struct stream {
    struct buf bytes, out;
    struct trace_lines lines;
};

static void put(struct stream *s, unsigned type, unsigned nr, const void *payload, size_t n)
{
    static const uint8_t zeros[8];
    struct monitor_record h = {.length = (uint32_t)((sizeof(h) + n + 7) & ~(size_t)7),
                               .type = (uint16_t)type,
                               .number = (uint16_t)nr,
                               .pid = 5,
                               .tid = 6};

    buf_append(&s->bytes, &h, sizeof(h));
    buf_append(&s->bytes, payload, n);
    buf_append(&s->bytes, zeros, -n % 8);
}

static void put_capture(struct buf *b, unsigned arg, unsigned flags, const void *data, size_t n)
{
    static const uint8_t zeros[8];
    struct monitor_capture c = {
        .arg = (uint16_t)arg, .flags = (uint16_t)flags, .length = (uint32_t)n};

    buf_append(b, &c, sizeof(c));
    buf_append(b, data, n);
    buf_append(b, zeros, -n % 8);
}

/* All lines of what was put. */
static const char *lines(struct stream *s)
{
    struct record r;

    while (record_next(&s->bytes, &r) > 0)
        trace_lines_record(&s->lines, &r, &s->out);
    trace_lines_unfinished(&s->lines, true, &s->out);
    buf_append(&s->out, "", 1);
    return (const char *)s->out.data;
}

static void finish(struct stream *s)
{
    trace_lines_free(&s->lines);
    buf_free(&s->bytes);
    buf_free(&s->out);
}

static void test_open_fails(void **state)
{
    struct stream s = {0};
    uint64_t args[6] = {(uint64_t)-100, 0x1000, 01101, 0644};
    struct monitor_exit e = {.result = -2};
    struct buf b = {0};

    (void)state;
    buf_append(&b, args, sizeof(args));
    put_capture(&b, 1, 0, "/no/such\x1b[2J", 12);
    put(&s, MONITOR_ENTRY, SYS_openat, b.data, b.len);
    memcpy(e.args, args, sizeof(args));
    put(&s, MONITOR_EXIT, SYS_openat, &e, sizeof(e));
    assert_string_equal(
        lines(&s), "6     openat(AT_FDCWD, \"/no/such\\33[2J\", O_WRONLY|O_CREAT|O_TRUNC, 0644) "
                   "= -1 ENOENT (No such file or directory)\n");
    buf_free(&b);
    finish(&s);
}

static void test_read_is_cut(void **state)
{
    struct stream s = {0};
    struct monitor_exit e = {.result = 9, .args = {3, 0x1000, 100}};
    struct buf b = {0};

    (void)state;
    buf_append(&b, &e, sizeof(e));
    put_capture(&b, 1, MONITOR_CUT, "a\0001", 3);
    put(&s, MONITOR_EXIT, SYS_read, b.data, b.len);
    assert_string_equal(lines(&s), "6     read(3, \"a\\0001\"..., 100) = 9\n");
    buf_free(&b);
    finish(&s);
}

static void test_call_that_never_returns(void **state)
{
    struct stream s = {0};
    uint64_t args[6] = {7}, status = 7 << 8;

    (void)state;
    put(&s, MONITOR_ENTRY, SYS_exit_group, args, sizeof(args));
    put(&s, MONITOR_END, 0, &status, sizeof(status));
    assert_string_equal(lines(&s), "6     exit_group(7 <unfinished ...>\n"
                                   "6     +++ exited with 7 +++\n");
    finish(&s);
}

/* Lengths that lie: nothing beyond the record is read (the sanitizer watches), nothing is shown
 * that was not there. */
static void test_lying_lengths(void **state)
{
    struct stream s = {0};
    struct monitor_exit e = {.result = 9, .args = {3, 0x1000, 100}};
    struct monitor_capture c = {.arg = 1, .length = UINT32_MAX};
    struct monitor_record h = {.length = 8};
    struct buf b = {0};
    struct record r;

    (void)state;
    buf_append(&b, &e, sizeof(e));
    buf_append(&b, &c, sizeof(c));
    put(&s, MONITOR_EXIT, SYS_read, b.data, b.len);
    put(&s, MONITOR_EXIT, SYS_read, b.data, 16); /* shorter than its structure */
    assert_string_equal(lines(&s), "6     read(3, 0x1000, 100) = 9\n");
    finish(&s);
    buf_free(&b);
    buf_append(&b, &h, sizeof(h));
    assert_int_equal(record_next(&b, &r), -71);
    buf_free(&b);
}

static void test_select(void **state)
{
    uint64_t calls[MONITOR_CALLS / 64] = {0};

    (void)state;
    assert_int_equal(trace_select(calls, "read,openat"), 0);
    assert_true(calls[0] & 1);
    assert_true(calls[SYS_openat / 64] >> SYS_openat % 64 & 1);
    assert_false(calls[0] >> SYS_write & 1);
    assert_int_equal(trace_select(calls, "!read"), 0);
    assert_false(calls[0] & 1);
    assert_true(calls[0] >> SYS_write & 1);
    assert_int_not_equal(trace_select(calls, "no_such_call"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_read_is_cut),
        cmocka_unit_test(test_call_that_never_returns),
        cmocka_unit_test(test_lying_lengths),
        cmocka_unit_test(test_select),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
