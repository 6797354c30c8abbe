/*
 * Clocks and timers.
 *
 * Timer callbacks run as bottom halves on the CPU that armed them. A timer that is moved to a later
 * time costs no hardware access: the hardware fires at the old time, finds nothing due and is armed
 * again. Coarse timers (TCP, keepalive) should use it so.
 */
#ifndef CORE_TIMER_H
#define CORE_TIMER_H

#include "core/base.h"
#include "core/rbtree.h"

/* Monotonic nanoseconds since boot; any context; a few dozen instructions. */
nsec_t time_now(void);
/* The same as it was when this CPU last took an interrupt, entered the kernel's network path or
 * armed a timer: good to a millisecond under load, costs a load. */
nsec_t time_coarse(void);
/* Nanoseconds since the Epoch. realtime_set moves it (clock_settime, control channel). */
nsec_t time_realtime(void);
void realtime_set(nsec_t now);

struct timer {
    struct rb_node node;
    nsec_t deadline; /* where it is in the queue */
    nsec_t due;      /* when it is to run: >= deadline after a cheap move */
    void (*run)(struct timer *t);
    int cpu; /* whose queue it is on; -1: none */
};

void timer_init(struct timer *t, void (*run)(struct timer *t));
/* Arms or moves the timer. Any context. A deadline in the past runs as soon as possible. */
void timer_arm(struct timer *t, nsec_t deadline);
/* Takes it off; true if it was armed. The callback may still be running on another CPU. */
bool timer_cancel(struct timer *t);
/* The same, and waits for a running callback (spins; not from the callback itself, nor holding a
 * lock that the callback takes). */
bool timer_cancel_sync(struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
    return t->cpu >= 0;
}

#endif
