/* Repeated SYN-ACKs reach libslirp without their MSS option (host/synack.h), all else as it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "host/switch.h"
#include "host/synack.h"

#define TCP4 (ETH_HEADER + 20)
#define TCP6 (ETH_HEADER + 40)
#define OPTIONS 20

static struct synack_memory memory;
static uint8_t copy[SYNACK_MAX];

static int set_up(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof(memory));
    return 0;
}

/* The one's complement sum of the addresses and of TCP: 0xffff if the checksum is right, as far as
 * the rest of the pseudo header goes, which does not change. */
static unsigned sum(const uint8_t *f, size_t from, size_t n)
{
    unsigned s = 0;

    for (size_t i = from; i + 1 < n; i += 2)
        s += (unsigned)f[i] << 8 | f[i + 1];
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return s;
}

static size_t put_tcp(uint8_t *tcp, uint8_t flags, unsigned port, const char *options, size_t n)
{
    static const uint8_t header[20] = {0x1b, 0x58, 0, 0, 1, 2,    3,    4,    5,
                                       6,    7,    8, 0, 0, 0xff, 0xff, 0x12, 0x34};

    memcpy(tcp, header, sizeof(header));
    tcp[2] = (uint8_t)(port >> 8);
    tcp[3] = (uint8_t)port;
    tcp[12] = (uint8_t)((20 + n) / 4 << 4);
    tcp[13] = flags;
    memcpy(tcp + 20, options, n);
    return 20 + n;
}

static size_t make4(uint8_t *f, uint8_t flags, unsigned port, const char *options, size_t n)
{
    static const uint8_t ip[20] = {0x45, 0, 0,  44, 0, 0,  0x40, 0, 64, 6,
                                   0,    0, 10, 0,  2, 15, 10,   0, 2,  2};

    memset(f, 0, ETH_HEADER);
    f[12] = 8;
    memcpy(f + ETH_HEADER, ip, sizeof(ip));
    return TCP4 + put_tcp(f + TCP4, flags, port, options, n);
}

static size_t make6(uint8_t *f, uint8_t flags, unsigned port, const char *options, size_t n)
{
    memset(f, 0, TCP6);
    f[12] = 0x86;
    f[13] = 0xdd;
    f[ETH_HEADER] = 0x60;
    f[ETH_HEADER + 6] = 6;
    f[ETH_HEADER + 8] = 0xfd;
    f[ETH_HEADER + 39] = 2;
    return TCP6 + put_tcp(f + TCP6, flags, port, options, n);
}

static bool is_kept(const uint8_t *f, size_t n)
{
    return synack_without_repeated_mss(&memory, f, n, copy) == f;
}

static void only_the_repeated_one_changes(void **state)
{
    uint8_t f[SYNACK_MAX];
    size_t n = make4(f, 0x12, 4000, "\2\4\xff\xc8", 4);

    (void)state;
    assert_true(is_kept(f, n));
    for (int i = 0; i < 2; i++) {
        assert_false(is_kept(f, n));
        assert_memory_equal(copy, f, TCP4 + 16);
        assert_memory_equal(copy + TCP4 + OPTIONS, "\1\1\1\1", 4);
        assert_int_equal(sum(copy, TCP4, n), sum(f, TCP4, n));
    }
}

static void at_an_odd_place_the_checksum_is_right(void **state)
{
    uint8_t f[SYNACK_MAX];
    size_t n = make4(f, 0x12, 4000, "\1\2\4\5\xb4\3\3\7\4\2\0\0", 12);

    (void)state;
    assert_true(is_kept(f, n));
    assert_false(is_kept(f, n));
    assert_memory_equal(copy + TCP4 + OPTIONS, "\1\1\1\1\1\3\3\7\4\2\0\0", 12);
    assert_int_equal(sum(copy, TCP4, n), sum(f, TCP4, n));
}

static void ipv6_too(void **state)
{
    uint8_t f[SYNACK_MAX];
    size_t n = make6(f, 0x12, 4000, "\2\4\xff\xc8", 4);

    (void)state;
    assert_true(is_kept(f, n));
    assert_false(is_kept(f, n));
    assert_memory_equal(copy + TCP6 + OPTIONS, "\1\1\1\1", 4);
    f[ETH_HEADER + 23]++; /* of another address */
    assert_true(is_kept(f, n));
}

static void another_connection_is_not_a_repetition(void **state)
{
    uint8_t f[SYNACK_MAX];
    size_t n = make4(f, 0x12, 4000, "\2\4\xff\xc8", 4);

    (void)state;
    assert_true(is_kept(f, n));
    n = make4(f, 0x12, 4001, "\2\4\xff\xc8", 4);
    assert_true(is_kept(f, n));
    n = make4(f, 0x12, 4000, "\2\4\xff\xc8", 4);
    f[TCP4 + 11]++; /* the same ports again, later */
    assert_true(is_kept(f, n));
}

static void other_segments_are_left_alone(void **state)
{
    static const uint8_t others[] = {0x02, 0x10, 0x18, 0x16, 0x13, 0x04, 0x00};
    uint8_t f[SYNACK_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        size_t n = make4(f, others[i], 4000, "\2\4\xff\xc8", 4);
        assert_true(is_kept(f, n) && is_kept(f, n));
    }
    size_t n = make4(f, 0x12, 4000, "\1\1\1\1", 4);
    assert_true(is_kept(f, n) && is_kept(f, n));
}

static void broken_frames_are_left_alone(void **state)
{
    uint8_t f[SYNACK_MAX + 1];
    size_t n = make4(f, 0x12, 4000, "\2\4\xff\xc8", 4);

    (void)state;
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut + 1); /* for the sanitizer to see where it ends */
        memcpy(exact, f, cut);
        assert_true(is_kept(exact, cut) && is_kept(exact, cut));
        free(exact);
    }
    static const char *const bad[] = {"\2\5\xff\xc8", "\2\0\xff\xc8", "\2\1\xff\xc8",
                                      "\3\7\2\4",     "\0\2\4\5",     "\1\1\1\2"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        n = make4(f, 0x12, 4000, bad[i], 4);
        assert_true(is_kept(f, n) && is_kept(f, n));
    }
    n = make4(f, 0x12, 4000, "\2\4\xff\xc8", 4);
    f[ETH_HEADER] = 0x41; /* an IPv4 header of four bytes */
    assert_true(is_kept(f, n) && is_kept(f, n));
    make4(f, 0x12, 4000, "\2\4\xff\xc8", 4);
    assert_true(is_kept(f, SYNACK_MAX + 1) && is_kept(f, SYNACK_MAX + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_the_repeated_one_changes, set_up),
        cmocka_unit_test_setup(at_an_odd_place_the_checksum_is_right, set_up),
        cmocka_unit_test_setup(ipv6_too, set_up),
        cmocka_unit_test_setup(another_connection_is_not_a_repetition, set_up),
        cmocka_unit_test_setup(other_segments_are_left_alone, set_up),
        cmocka_unit_test_setup(broken_frames_are_left_alone, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
