/* The keeper's entries and children, and streams that go from one process to the next. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/keeper.h"
#include "host/stream.h"

/* ---- entries ---- */

static struct keeper_answer request(struct keeper *k, uint32_t op, const char *name, int number,
                                    const int *fds, unsigned count)
{
    struct keeper_request rq = {.op = op, .number = number};
    struct keeper_answer a;

    snprintf(rq.name, sizeof(rq.name), "%s", name);
    keeper_handle(k, &rq, fds, count, &a);
    return a;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void entries_are_replaced_and_dropped(void **state)
{
    struct keeper k = {0};
    struct keeper_request rq = {.op = KEEPER_GET, .name = "a 1"};
    struct keeper_answer a;
    int first[2], second;

    (void)state;
    assert_int_equal(pipe(first), 0);
    second = dup(first[0]);
    assert_int_equal(request(&k, KEEPER_PUT, "a 1", 0, first, 2).error, 0);
    const struct keeper_entry *e = keeper_handle(&k, &rq, NULL, 0, &a);
    assert_non_null(e);
    assert_int_equal(e->count, 2);
    assert_int_equal(e->fds[1], first[1]);
    assert_int_equal(request(&k, KEEPER_PUT, "a 1", 0, &second, 1).error, 0);
    assert_false(is_open(first[0]) || is_open(first[1]));
    assert_true(is_open(second));
    assert_int_equal(request(&k, KEEPER_PUT, "b", 0, NULL, 0).error, 0);
    assert_string_equal(request(&k, KEEPER_LIST, "", 1, NULL, 0).name, "a 1");
    assert_int_equal(request(&k, KEEPER_LIST, "", 2, NULL, 0).error, -ENOENT);
    assert_int_equal(request(&k, KEEPER_CLEAR, "a ", 0, NULL, 0).error, 0);
    assert_false(is_open(second));
    assert_int_equal(request(&k, KEEPER_DROP, "a 1", 0, NULL, 0).error, -ENOENT);
    assert_int_equal(request(&k, KEEPER_DROP, "b", 0, NULL, 0).error, 0);
    assert_null(k.entries);
}

static void bad_requests_are_refused(void **state)
{
    struct keeper k = {0};
    struct keeper_request rq = {.op = KEEPER_PUT};
    struct keeper_answer a;
    int fd = dup(0);

    (void)state;
    memset(rq.name, 'x', sizeof(rq.name));
    assert_null(keeper_handle(&k, &rq, &fd, 1, &a));
    assert_int_equal(a.error, -EINVAL);
    assert_false(is_open(fd)); /* taken over in any case */
    fd = dup(0);
    assert_int_equal(request(&k, KEEPER_GET, "x", 0, &fd, 1).error, -EINVAL);
    assert_false(is_open(fd));
    assert_int_equal(request(&k, 99, "x", 0, NULL, 0).error, -ENOSYS);
    assert_int_equal(request(&k, KEEPER_LIST, "", -1, NULL, 0).error, -ENOENT);
    assert_int_equal(request(&k, KEEPER_WAIT, "", 1, NULL, 0).error, -ECHILD);
    assert_int_equal(request(&k, KEEPER_WAIT, "", -1, NULL, 0).error, -ECHILD);
}

static void an_end_is_told_until_it_is_reaped(void **state)
{
    struct keeper k = {0};
    struct keeper_answer a;

    (void)state;
    pid_t pid = fork();
    if (!pid) {
        pause();
        _exit(0);
    }
    assert_int_equal(request(&k, KEEPER_WAIT, "", pid, NULL, 0).error, -EAGAIN);
    kill(pid, SIGKILL);
    do
        a = request(&k, KEEPER_WAIT, "", pid, NULL, 0);
    while (a.error == -EAGAIN);
    a = request(&k, KEEPER_WAIT, "", pid, NULL, 0); /* another supervisor asks once more */
    assert_int_equal(a.error, 0);
    assert_true(WIFSIGNALED(a.status) && WTERMSIG(a.status) == SIGKILL);
    assert_int_equal(request(&k, KEEPER_REAP, "", pid, NULL, 0).error, 0);
    assert_int_equal(request(&k, KEEPER_WAIT, "", pid, NULL, 0).error, -ECHILD);
}

/* ---- streams ---- */

static const struct stream_sizes sizes = {.rx = 4096, .tx = 4096, .note = 64};

struct fixture {
    struct loop loop;
    struct stream s;
    int peer;
};

static void nothing(struct watch *w, uint32_t events)
{
    (void)w;
    (void)events;
}

static int setup(void **state)
{
    struct fixture *x = xcalloc(1, sizeof(*x));
    int pair[2];

    assert_int_equal(loop_init(&x->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    x->peer = pair[1];
    assert_int_equal(stream_open(&x->s, &x->loop, pair[0], &sizes, nothing), 0);
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    stream_close(&x->s);
    close(x->peer);
    loop_close(&x->loop);
    free(x);
    return 0;
}

/* The process dies, and the next one gets what the keeper has. */
static int die(struct fixture *x)
{
    int fd = dup(x->s.watch.fd), memfd = dup(x->s.memfd);

    stream_close(&x->s);
    return stream_restore(&x->s, &x->loop, fd, memfd, &sizes, nothing);
}

static void what_was_not_committed_is_there_again(void **state)
{
    struct fixture *x = *state;
    char got[8];

    assert_int_equal(write(x->peer, "abcdef", 6), 6);
    assert_int_equal(stream_read(&x->s), 6);
    stream_consume(&x->s, 2);
    stream_put(&x->s, "xy", 2);
    stream_commit(&x->s, "one", 4);
    stream_consume(&x->s, 3);
    stream_put(&x->s, "z", 1);
    assert_int_equal(die(x), 0);
    assert_int_equal(stream_used(&x->s), 4);
    assert_memory_equal(stream_head(&x->s), "cdef", 4);
    assert_string_equal(stream_note(&x->s), "one");
    assert_int_equal(stream_unsent(&x->s), 2);
    stream_flush(&x->s);
    assert_int_equal(read(x->peer, got, sizeof(got)), 2);
    assert_memory_equal(got, "xy", 2);
    assert_int_equal(die(x), 0); /* what was sent is not sent again */
    assert_int_equal(stream_unsent(&x->s), 0);
    assert_int_equal(write(x->peer, "gh", 2), 2);
    assert_int_equal(stream_read(&x->s), 2);
    assert_memory_equal(stream_head(&x->s), "cdefgh", 6);
}

/* A long random sequence of everything, with deaths in between, against a plain copy. */
static void no_byte_is_lost(void **state)
{
    struct fixture *x = *state;
    struct buf in = {0}, out = {0}, seen = {0}, heard = {0};
    char byte[512];

    srandom(1);
    for (int i = 0; i < 30000; i++) {
        size_t n = (size_t)random() % sizeof(byte);
        for (size_t j = 0; j < n; j++)
            byte[j] = (char)random();
        ssize_t moved;
        switch (random() % 7) {
        case 0:
            moved = write(x->peer, byte, n);
            buf_append(&in, byte, moved > 0 ? (size_t)moved : 0);
            break;
        case 1:
            assert_true(stream_read(&x->s) >= 0);
            break;
        case 2:
            n = n < stream_used(&x->s) ? n : stream_used(&x->s);
            buf_append(&seen, stream_head(&x->s), n);
            stream_consume(&x->s, n);
            stream_commit(&x->s, NULL, 0);
            break;
        case 3:
            if (stream_unsent(&x->s) + n > sizes.tx)
                break;
            stream_put(&x->s, byte, n);
            buf_append(&out, byte, n);
            stream_commit(&x->s, NULL, 0);
            break;
        case 4:
            stream_flush(&x->s);
            break;
        case 5:
            moved = read(x->peer, byte, sizeof(byte));
            buf_append(&heard, byte, moved > 0 ? (size_t)moved : 0);
            break;
        case 6:
            if (i % 5 == 0)
                assert_int_equal(die(x), 0);
        }
    }
    assert_true(seen.len > 100000 && heard.len > 100000);
    assert_memory_equal(seen.data, in.data, seen.len);
    assert_memory_equal(heard.data, out.data, heard.len);
    buf_free(&in);
    buf_free(&out);
    buf_free(&seen);
    buf_free(&heard);
}

/* Another process reads as fast as it can, and is killed at any moment: the real thing. */
static void a_killed_reader_loses_nothing(void **state)
{
    struct fixture *x = *state;
    uint8_t next = 0, expected = 0;
    uint8_t data[1000];
    size_t total = 0;

    for (int round = 0; round < 60; round++) {
        pid_t pid = fork();
        if (!pid) {
            if (loop_init(&x->loop) || die(x)) /* a loop of its own, as each process has */
                _exit(1);
            for (;;) {
                if (stream_read(&x->s) < 0)
                    _exit(2);
                for (; stream_used(&x->s); stream_consume(&x->s, 1))
                    stream_put(&x->s, stream_head(&x->s), 1);
                stream_commit(&x->s, NULL, 0);
                stream_flush(&x->s);
                if (x->s.overflow)
                    _exit(3);
            }
        }
        for (int i = 0; i < 40 + round; i++) {
            for (size_t j = 0; j < sizeof(data); j++)
                data[j] = (uint8_t)(next + j);
            if (total < sizes.tx / 2) {
                ssize_t n = write(x->peer, data, sizeof(data));
                next = (uint8_t)(next + (n > 0 ? n : 0));
                total += n > 0 ? (size_t)n : 0;
            }
            ssize_t n = read(x->peer, data, sizeof(data));
            for (ssize_t j = 0; j < n; j++)
                assert_int_equal(data[j], expected++);
            total -= n > 0 ? (size_t)n : 0;
        }
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }
    assert_int_equal(die(x), 0);
    for (int i = 0; i < 100; i++) {
        stream_read(&x->s);
        for (; stream_used(&x->s); stream_consume(&x->s, 1))
            stream_put(&x->s, stream_head(&x->s), 1);
        stream_commit(&x->s, NULL, 0);
        stream_flush(&x->s);
        ssize_t n = read(x->peer, data, sizeof(data));
        for (ssize_t j = 0; j < n; j++)
            assert_int_equal(data[j], expected++);
    }
    assert_int_equal(expected, next);
}

static void damaged_memory_is_refused(void **state)
{
    struct fixture *x = *state;
    const struct stream_sizes other = {.rx = 4096, .tx = 8192, .note = 64};
    uint32_t junk = 0x77777777;
    int fd = dup(x->s.watch.fd), memfd = dup(x->s.memfd);

    stream_close(&x->s);
    assert_int_equal(stream_restore(&x->s, &x->loop, dup(fd), dup(memfd), &other, nothing),
                     -EPROTO);
    assert_int_equal(pwrite(memfd, &junk, sizeof(junk), 0), sizeof(junk));
    assert_int_equal(stream_restore(&x->s, &x->loop, fd, memfd, &sizes, nothing), -EPROTO);
    assert_false(is_open(fd) || is_open(memfd));
    assert_int_equal(x->s.watch.fd, -1);
}

static void what_does_not_fit_breaks_the_stream(void **state)
{
    struct fixture *x = *state;
    static char data[5000];

    stream_put(&x->s, data, 4000);
    assert_false(x->s.overflow);
    stream_put_frame(&x->s, CTL_IN, 1, data,
                     90); /* its header would fit, but half a frame is none */
    assert_true(x->s.overflow);
    assert_int_equal(stream_unsent(&x->s), 4000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_replaced_and_dropped),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(an_end_is_told_until_it_is_reaped),
        T(what_was_not_committed_is_there_again),
        T(no_byte_is_lost),
        T(a_killed_reader_loses_nothing),
        T(damaged_memory_is_refused),
        T(what_does_not_fit_breaks_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
