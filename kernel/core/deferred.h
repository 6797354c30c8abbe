/*
 * Bottom halves: short work that an interrupt handler or a timer defers, run on the same CPU with
 * interrupts enabled when the interrupt returns, at the outermost bh_enable(), or by the idle loop.
 * A bottom half never sleeps and is never run twice at once.
 */
#ifndef CORE_DEFERRED_H
#define CORE_DEFERRED_H

#include "core/list.h"

struct bottom_half {
    struct list link;
    void (*run)(struct bottom_half *bh);
    bool pending;
};

void bh_init(struct bottom_half *bh, void (*run)(struct bottom_half *bh));
/* Queues it on the current CPU unless it is pending already. Any context. When called from a bottom
 * half it runs after the others that are pending: a poller that used up its budget calls this. */
void bh_schedule(struct bottom_half *bh);

/*
 * Work in thread context: run once by a kernel thread (one per system, started on demand).
 */
struct work {
    struct list link;
    void (*run)(struct work *w);
    bool pending;
};

#define WORK_INIT(w, fn)                                                                           \
    {                                                                                              \
        LIST_INIT((w).link), (fn), false                                                           \
    }
void work_init(struct work *w, void (*run)(struct work *w));
/* Any context. */
void work_schedule(struct work *w);

#endif
