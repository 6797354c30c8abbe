/* Core files from domains, hostile ones included: host/core_file.h. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/core_file.h"

static char folder[] = "/tmp/test-core-XXXXXX";

static int piece(uint64_t offset, uint32_t flags, const void *data, size_t n)
{
    struct ctl_core c = {.offset = offset, .flags = flags};
    uint64_t size;

    return core_file_piece(folder, &c, data, n, &size);
}

static off_t size_of(const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    struct stat st = {.st_size = -1};

    stat(path, &st);
    free(path);
    return st.st_size;
}

static void test_pieces_with_a_hole(void **state)
{
    char *path = xasprintf("%s/" CORE_FILE, folder);
    struct buf b = {0};

    (void)state;
    assert_int_equal(piece(0, CTL_CORE_FIRST, "head", 4), 0);
    assert_int_equal(piece(8192, 0, "tail", 4), 0);
    assert_int_equal(size_of(CORE_FILE), -1); /* not yet */
    assert_int_equal(piece(10000, CTL_CORE_LAST, NULL, 0), 1);
    assert_int_equal(read_file(path, &b, 1 << 20), 0);
    assert_int_equal(b.len, 10000);
    assert_memory_equal(b.data, "head\0\0", 6);
    assert_memory_equal(b.data + 8190, "\0\0tail\0\0", 8);
    buf_free(&b);
    free(path);
}

/* A second one replaces it when it is complete; what a domain claims beyond the limit is not kept.
 */
static void test_limit(void **state)
{
    (void)state;
    setenv("LIBRETTOS_CORE_MAX", "1", 1);
    assert_int_equal(piece(0, CTL_CORE_FIRST, "x", 1), 0);
    assert_int_equal(piece((1 << 20) - 2, 0, "abcd", 4), 0);
    assert_int_equal(piece(UINT64_MAX, 0, "abcd", 4), 0);
    assert_int_equal(piece(UINT64_MAX - 3, 0, "abcd", 4), 0);
    assert_int_equal(size_of("core.part"), 1 << 20);
    assert_int_equal(piece(UINT64_MAX, CTL_CORE_LAST, NULL, 0), 1);
    assert_int_equal(size_of(CORE_FILE), 1 << 20);
    setenv("LIBRETTOS_CORE_MAX", "0", 1);
    core_file_remove(folder);
    assert_int_equal(piece(0, CTL_CORE_FIRST, "x", 1), 0);
    assert_int_equal(piece(1, CTL_CORE_LAST, NULL, 0), 0);
    assert_int_equal(size_of(CORE_FILE), -1);
    unsetenv("LIBRETTOS_CORE_MAX");
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    core_file_remove(folder);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_with_a_hole),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
