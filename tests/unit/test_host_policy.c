/* The policy of auto mode: each rule, then random loads against what must hold whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/policy.h"

#define TICK 500000000ull
#define S 1000000000ull

static const struct policy_config c = {
    .up_packets = 1000,
    .up_bytes = 1000000,
    .down_load = 250,
    .up_samples = 4,
    .down_samples = 10,
    .margin = 150,
    .min_stay_ns = 5 * S,
    .busy_cpu = 70,
};

static struct policy_domain d[8];
static uint64_t now;
static size_t n;
static unsigned pool; /* devices there are */

static int fresh(void **state)
{
    (void)state;
    memset(d, 0, sizeof(d));
    now = 1000 * S;
    n = 1;
    pool = 1;
    return 0;
}

static unsigned used(void)
{
    unsigned k = 0;

    for (size_t i = 0; i < n; i++)
        k += d[i].direct;
    return k;
}

/* One sample later; what is decided is done at once. */
static struct policy_decision tick(void)
{
    now += TICK;
    struct policy_decision r = policy_decide(&c, d, n, pool - used(), now);
    if (r.reason)
        d[r.domain].direct = r.reason == POLICY_BUSY;
    return r;
}

/* Ticks until something is decided; how many that took, 0: nothing in `most`. */
static unsigned ticks_until(enum policy_reason why, unsigned most)
{
    for (unsigned i = 1; i <= most; i++) {
        enum policy_reason r = tick().reason;
        if (r) {
            assert_int_equal(r, why);
            return i;
        }
    }
    return 0;
}

static void up_when_busy_for_some_samples(void **state)
{
    (void)state;
    d[0].packets = 1000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 4);
    assert_true(d[0].direct);
    assert_int_equal(ticks_until(POLICY_NONE, 100), 0); /* and there it stays */
}

static void bytes_count_as_well(void **state)
{
    (void)state;
    d[0].bytes = 1000000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 4);
}

static void a_peak_is_not_enough(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        d[0].packets = i % 4 == 3 ? 999 : 5000;
        assert_int_equal(tick().reason, POLICY_NONE);
    }
}

static void between_the_thresholds_nothing_changes(void **state)
{
    (void)state;
    d[0].packets = 999;
    assert_int_equal(ticks_until(POLICY_NONE, 100), 0);
    d[0].packets = 251;
    d[0].direct = true;
    assert_int_equal(ticks_until(POLICY_NONE, 100), 0);
    d[0].packets = 250;
    assert_int_equal(ticks_until(POLICY_IDLE, 100), 10);
    assert_false(d[0].direct);
}

static void a_busy_server_makes_it_earlier(void **state)
{
    (void)state;
    d[0].packets = 500;
    d[0].server_cpu = 69;
    assert_int_equal(ticks_until(POLICY_NONE, 50), 0);
    d[0].server_cpu = 70;
    assert_int_equal(ticks_until(POLICY_BUSY, 50), 4);
    /* On the direct path it is not this domain that keeps it busy. */
    d[0].packets = 200;
    assert_int_equal(ticks_until(POLICY_IDLE, 50), 10);
}

static void a_minimum_stay(void **state)
{
    (void)state;
    d[0].packets = 2000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 4);
    d[0].packets = 0;
    assert_int_equal(ticks_until(POLICY_IDLE, 100), 10); /* 5 s: both at once */
    d[0].packets = 2000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 10); /* not after 4 */
}

/* It was decided and could not be done: that counts as a move, so that it is not tried each time.
 */
static void a_failed_move_is_not_repeated_at_once(void **state)
{
    (void)state;
    d[0].packets = 2000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 4);
    d[0].direct = false;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 10);
}

static void the_busiest_is_first(void **state)
{
    (void)state;
    n = 3;
    pool = 2;
    d[0].packets = 1100;
    d[1].packets = 3000;
    d[2].packets = 2000;
    for (int i = 0; i < 3; i++)
        assert_int_equal(tick().reason, POLICY_NONE);
    assert_int_equal(tick().domain, 1);
    assert_int_equal(tick().domain, 2);
    assert_int_equal(used(), 2);
}

static void one_device_and_two_who_want_it(void **state)
{
    (void)state;
    n = 2;
    d[0].packets = 2000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 4);
    d[1].packets = 2999; /* more, but not clearly */
    assert_int_equal(ticks_until(POLICY_NONE, 200), 0);
    d[1].packets = 3000;
    struct policy_decision r = tick();
    assert_int_equal(r.reason, POLICY_DISPLACED);
    assert_int_equal(r.domain, 0);
    assert_int_equal(r.other, 1);
    r = tick();
    assert_int_equal(r.reason, POLICY_BUSY);
    assert_int_equal(r.domain, 1);
    /* The loser does not come back at the first opportunity. */
    d[0].packets = 4000;
    assert_int_equal(ticks_until(POLICY_NONE, 200), 0);
    d[0].packets = 4500;
    assert_int_equal(tick().reason, POLICY_DISPLACED);
}

static void who_has_just_come_is_not_displaced(void **state)
{
    (void)state;
    n = 2;
    d[0].packets = 2000;
    assert_int_equal(ticks_until(POLICY_BUSY, 100), 4);
    d[1].packets = 100000;
    assert_int_equal(ticks_until(POLICY_DISPLACED, 100), 10);
}

static void nothing_is_decided_during_a_move(void **state)
{
    (void)state;
    n = 2;
    pool = 2;
    d[0].packets = d[1].packets = 5000;
    d[1].moving = true;
    assert_int_equal(ticks_until(POLICY_NONE, 20), 0);
    d[1].moving = false;
    assert_int_equal(ticks_until(POLICY_BUSY, 20), 1);
}

static void no_pool_at_all(void **state)
{
    (void)state;
    pool = 0;
    n = 2;
    d[0].packets = d[1].packets = 5000;
    assert_int_equal(ticks_until(POLICY_NONE, 100), 0);
}

static void no_domains(void **state)
{
    (void)state;
    n = 0;
    assert_int_equal(tick().reason, POLICY_NONE);
}

static void the_largest_numbers(void **state)
{
    (void)state;
    d[0].packets = d[0].bytes = UINT64_MAX;
    d[0].server_cpu = UINT32_MAX;
    assert_int_equal(ticks_until(POLICY_BUSY, 10), 4);
    assert_true(d[0].load <= 1000000);
}

/* Whatever the loads: the pool is never overdrawn, nobody moves before its time, goes up without
 * having been busy or down without having been idle or outdone, and a move is one at a time. */
static void random_loads(void **state)
{
    static const unsigned levels[] = {0, 100, 250, 251, 600, 999, 1000, 1400, 2200, 9000};
    unsigned busy[8] = {0}, idle[8] = {0}, moves = 0;
    uint64_t last[8] = {0};

    (void)state;
    srand(7);
    for (int round = 0; round < 300; round++) {
        fresh(NULL);
        memset(busy, 0, sizeof(busy));
        memset(idle, 0, sizeof(idle));
        memset(last, 0, sizeof(last));
        n = 1 + (size_t)rand() % 8;
        pool = (unsigned)rand() % 5;
        for (int t = 0; t < 400; t++) {
            for (size_t i = 0; i < n; i++) {
                if (rand() % 12 == 0)
                    d[i].packets = levels[rand() % 10];
                d[i].server_cpu = (unsigned)rand() % 60;
                busy[i] = d[i].packets >= 1000 ? busy[i] + 1 : 0;
                idle[i] = d[i].packets <= 250 ? idle[i] + 1 : 0;
            }
            struct policy_decision r = tick();
            assert_true(used() <= pool);
            if (!r.reason)
                continue;
            moves++;
            size_t i = r.domain;
            assert_true(i < n);
            assert_true(!last[i] || now - last[i] >= c.min_stay_ns);
            last[i] = now;
            if (r.reason == POLICY_BUSY) {
                assert_true(busy[i] >= 4);
                for (size_t k = 0; k < n; k++) /* nobody who could have it waits with more */
                    assert_true(d[k].direct || d[k].above < 4 || d[k].packets <= d[i].packets ||
                                (last[k] && now - last[k] < c.min_stay_ns));
            } else if (r.reason == POLICY_IDLE) {
                assert_true(idle[i] >= 10);
            } else {
                assert_true(busy[r.other] >= 4 && !d[r.other].direct && r.other != i);
                assert_true(d[r.other].packets * 2 >= d[i].packets * 3);
            }
        }
    }
    assert_true(moves > 1000);
}

/* Two equal, noisy loads and one device: hardly anybody moves. */
static void no_flapping(void **state)
{
    unsigned moves = 0;

    (void)state;
    srand(3);
    n = 2;
    for (int t = 0; t < 7200; t++) { /* an hour */
        for (size_t i = 0; i < n; i++)
            d[i].packets = 1600 + (uint64_t)rand() % 400;
        moves += tick().reason != POLICY_NONE;
    }
    assert_int_equal(moves, 1);
    /* A load around the upper rate goes up once, and not down. */
    fresh(NULL);
    moves = 0;
    for (int t = 0; t < 7200; t++) {
        d[0].packets = 900 + (uint64_t)rand() % 200;
        moves += tick().reason != POLICY_NONE;
    }
    assert_int_equal(moves, 1);
}

#define T(f) cmocka_unit_test_setup(f, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(up_when_busy_for_some_samples),
        T(bytes_count_as_well),
        T(a_peak_is_not_enough),
        T(between_the_thresholds_nothing_changes),
        T(a_busy_server_makes_it_earlier),
        T(a_minimum_stay),
        T(a_failed_move_is_not_repeated_at_once),
        T(the_busiest_is_first),
        T(one_device_and_two_who_want_it),
        T(who_has_just_come_is_not_displaced),
        T(nothing_is_decided_during_a_move),
        T(no_pool_at_all),
        T(no_domains),
        T(the_largest_numbers),
        T(random_loads),
        T(no_flapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
