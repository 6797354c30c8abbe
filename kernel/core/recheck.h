/*
 * Second looks at rings that are shared with another machine: a device of QEMU's, another domain.
 *
 * Whether to interrupt or to ring is decided on both sides by "store mine, fence, load yours". For
 * a VM with one virtual CPU QEMU's TCG leaves the fence out, though the other side is another
 * thread of the host: once in many million times both sides see the old value, each waits for the
 * other, and the ring stands still for ever. So a while after the last activity, when every store
 * has long arrived, the ring's owner looks once more. Busy, that is 200 looks a second; idle, none.
 * With more virtual CPUs TCG emits its fences, and nothing is ever armed.
 */
#ifndef CORE_RECHECK_H
#define CORE_RECHECK_H

#include "core/thread.h"
#include "core/timer.h"

#define RECHECK_DELAY (5 * NSEC_PER_MSEC)

struct recheck {
    struct timer timer;
    void (*look)(struct recheck *r);
    bool active; /* since the last look */
};

/* `look` runs as a bottom half: it rings again if the other side still waits, and does what the
 * interrupt that may be missing would have done. It must not take a look that found nothing for
 * activity, or two sides keep each other awake. */
void recheck_init(struct recheck *r, void (*look)(struct recheck *r));
/* No look is running or to come; call it when recheck_later will not be called any more. A zeroed
 * recheck is fine. Thread context. */
void recheck_stop(struct recheck *r);

/* An index or event of ours was published. Any context but hard interrupts; two stores while
 * busy. */
static inline void recheck_later(struct recheck *r)
{
    r->active = true;
    if (unlikely(!timer_armed(&r->timer)) && cpu_count == 1)
        timer_arm(&r->timer, time_now() + RECHECK_DELAY);
}

#endif
