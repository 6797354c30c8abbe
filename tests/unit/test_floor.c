/* The host floor itself: coroutines, waiting, timers, bottom halves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/deferred.h"
#include "core/thread.h"
#include "core/timer.h"
#include "core/wait.h"
#include "floor.h"

static struct wait_queue queue = WAIT_QUEUE_INIT(queue);
static int value;

static void waiter(void *arg)
{
    (void)arg;
    wait_event(&queue, value == 1);
    value = 2;
    wake_up(&queue);
}

static void blocked_thread_is_woken(void **state)
{
    (void)state;
    value = 0;
    assert_int_equal(thread_create(NULL, waiter, NULL, "waiter"), 0);
    floor_run();
    assert_int_equal(value, 0);
    value = 1;
    wake_up(&queue);
    wait_event(&queue, value == 2);
    assert_int_equal(value, 2);
}

static void waiting_times_out_at_the_deadline(void **state)
{
    (void)state;
    nsec_t deadline = time_now() + 5 * NSEC_PER_MSEC;
    assert_int_equal(wait_event_timeout(&queue, value == 99, deadline), -ETIMEDOUT);
    assert_true(time_now() == deadline);
}

static void on_timer(struct timer *t)
{
    (void)t;
    assert_true(in_bh());
    value++;
}

static void timers_run_when_time_advances(void **state)
{
    (void)state;
    struct timer t;
    value = 0;
    timer_init(&t, on_timer);
    timer_arm(&t, time_now() + 10);
    floor_advance(9);
    assert_int_equal(value, 0);
    floor_advance(1);
    assert_int_equal(value, 1);
    assert_false(timer_armed(&t));
}

static void on_bottom_half(struct bottom_half *bh)
{
    (void)bh;
    value++;
}

static void bottom_half_waits_for_bh_enable(void **state)
{
    (void)state;
    struct bottom_half bh;
    value = 0;
    bh_init(&bh, on_bottom_half);
    bh_disable();
    bh_schedule(&bh);
    bh_schedule(&bh);
    assert_int_equal(value, 0);
    bh_enable();
    assert_int_equal(value, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocked_thread_is_woken),
        cmocka_unit_test(waiting_times_out_at_the_deadline),
        cmocka_unit_test(timers_run_when_time_advances),
        cmocka_unit_test(bottom_half_waits_for_bh_enable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
