/* Second looks at rings (core/recheck.h). */
#include "core/recheck.h"

/* The last look comes a whole delay after the last activity. */
static void fire(struct timer *t)
{
    struct recheck *r = container_of(t, struct recheck, timer);
    bool was_active = r->active;

    r->active = false;
    r->look(r);
    if (was_active || r->active)
        timer_arm(t, time_now() + RECHECK_DELAY);
}

void recheck_init(struct recheck *r, void (*look)(struct recheck *r))
{
    timer_init(&r->timer, fire);
    r->look = look;
    r->active = false;
}

void recheck_stop(struct recheck *r)
{
    if (!r->look)
        return;
    r->active = false;
    timer_cancel_sync(&r->timer);
}
