/*
 * Locks and bottom-half control.
 *
 *   spin_lock            data used by threads only; the holder must not sleep
 *   spin_lock_bh         data shared with bottom halves: also keeps bottom halves off this CPU
 *   spin_lock_irqsave    data shared with hard interrupts
 *   mutex_lock           thread context only; the holder may sleep
 *
 * Inside a bottom half, spin_lock_bh and spin_lock are the same. Kernel code is not preempted, so a
 * spin lock is held only for as long as its critical section runs (plus interrupts).
 */
#ifndef CORE_LOCK_H
#define CORE_LOCK_H

#include <stdatomic.h>

#include "arch/cpu.h"
#include "core/base.h"
#include "core/list.h"

typedef struct {
    atomic_uchar locked;
} spinlock_t;

#define SPINLOCK_INIT                                                                              \
    {                                                                                              \
        0                                                                                          \
    }

static inline void spin_init(spinlock_t *l)
{
    atomic_init(&l->locked, 0);
}

/* Contended path: waits, and panics with a backtrace after some seconds (a deadlock is a bug). */
void spin_wait(spinlock_t *l);

static inline void spin_lock(spinlock_t *l)
{
    if (unlikely(atomic_exchange_explicit(&l->locked, 1, memory_order_acquire)))
        spin_wait(l);
}

static inline bool spin_trylock(spinlock_t *l)
{
    return !atomic_exchange_explicit(&l->locked, 1, memory_order_acquire);
}

static inline void spin_unlock(spinlock_t *l)
{
    atomic_store_explicit(&l->locked, 0, memory_order_release);
}

static inline bool spin_is_locked(spinlock_t *l)
{
    return atomic_load_explicit(&l->locked, memory_order_relaxed);
}

/* Keep bottom halves off this CPU; nests. bh_enable() of the outermost level runs what is pending.
 * Inline in arch/cpu.h: void bh_disable(void), void bh_enable(void), bool in_bh(void). */

static inline void spin_lock_bh(spinlock_t *l)
{
    bh_disable();
    spin_lock(l);
}

static inline void spin_unlock_bh(spinlock_t *l)
{
    spin_unlock(l);
    bh_enable();
}

static inline unsigned long spin_lock_irqsave(spinlock_t *l)
{
    unsigned long flags = arch_irq_save();
    spin_lock(l);
    return flags;
}

static inline void spin_unlock_irqrestore(spinlock_t *l, unsigned long flags)
{
    spin_unlock(l);
    arch_irq_restore(flags);
}

struct thread;

/* A sleeping lock, FIFO hand-over under contention. Not recursive. */
struct mutex {
    spinlock_t lock;
    bool held;
    struct thread *owner; /* for assertions */
    struct list waiters;
};

void mutex_init(struct mutex *m);
/* Thread context; sleeps uninterruptibly. */
void mutex_lock(struct mutex *m);
bool mutex_trylock(struct mutex *m);
void mutex_unlock(struct mutex *m);

/* Readers-writer sleeping lock; writers are not starved. Thread context. */
struct rwlock {
    spinlock_t lock;
    int readers; /* -1: held by a writer */
    struct list waiters;
};

void rwlock_init(struct rwlock *l);
void rwlock_read(struct rwlock *l);
void rwlock_read_done(struct rwlock *l);
void rwlock_write(struct rwlock *l);
void rwlock_write_done(struct rwlock *l);

#endif
