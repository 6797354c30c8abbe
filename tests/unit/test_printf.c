/* The kernel's snprintf against the C library's, which is the oracle; parsing of numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define snprintf kernel_snprintf
#define vsnprintf kernel_vsnprintf
#pragma GCC diagnostic ignored "-Wformat"
#pragma GCC diagnostic ignored "-Wformat-truncation"
#include "core/printf.c"
#undef snprintf

int snprintf(char *buf, size_t size, const char *fmt, ...);

#define SAME(...)                                                                                  \
    do {                                                                                           \
        char ours[64], theirs[64];                                                                 \
        int a = kernel_snprintf(ours, sizeof(ours), __VA_ARGS__);                                  \
        int b = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                                     \
        assert_string_equal(ours, theirs);                                                         \
        assert_int_equal(a, b);                                                                    \
    } while (0)

static void formats_as_the_c_library(void **state)
{
    (void)state;
    SAME("%d %i %u", -5, 7, 4000000000u);
    SAME("[%5d] [%-5d] [%05d] [%+d] [% d]", 42, 42, -42, 42, 42);
    SAME("%x %X %#x %#x %08x", 0xbeefu, 0xbeefu, 0xbeefu, 0u, 0x12u);
    SAME("%o %#o %#o", 8u, 8u, 0u);
    SAME("%ld %lu %lld %zu %hhd %hu", -1L, ~0UL, -2LL, (size_t)9, 300, 70000);
    SAME("%.3d %.0d|%8.3d", 5, 0, 5);
    SAME("[%s] [%10s] [%-10s] [%.2s] [%*s]", "abc", "abc", "abc", "abc", 6, "x");
    SAME("%c%c %%", 'o', 'k');
    SAME("%p", (void *)0x1234);
    SAME("%lld", (long long)INT64_MIN);
    SAME("%020lx|%-20lx|", 0xabcUL, 0xabcUL);
}

static void cuts_and_tells_the_whole_length(void **state)
{
    (void)state;
    char buf[4] = "zzz";
    assert_int_equal(kernel_snprintf(buf, sizeof(buf), "%s", "abcdef"), 6);
    assert_string_equal(buf, "abc");
    assert_int_equal(kernel_snprintf(NULL, 0, "%d", 12345), 5);
}

static void parses_numbers(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_int_equal(parse_u64("18446744073709551615", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(parse_u64("0xFf", &v), 0);
    assert_true(v == 255);
    assert_int_equal(parse_u64("18446744073709551616", &v), -ERANGE);
    assert_int_equal(parse_u64("", &v), -EINVAL);
    assert_int_equal(parse_u64("0x", &v), -EINVAL);
    assert_int_equal(parse_u64("12a", &v), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_as_the_c_library),
        cmocka_unit_test(cuts_and_tells_the_whole_length),
        cmocka_unit_test(parses_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
