/* Waiting for spin locks; mutexes and readers-writer locks. */
#include "core/lock.h"

#include "core/main.h"
#include "core/timer.h"

#define DEADLOCK (5 * NSEC_PER_SEC)
#define ROUND_TIME (100 * NSEC_PER_MSEC) /* the most that 65536 rounds of waiting count */

void spin_wait(spinlock_t *l)
{
    nsec_t last = 0, waited = 0;

    for (unsigned n = 1;; n++) {
        while (atomic_load_explicit(&l->locked, memory_order_relaxed)) {
            cpu_relax();
            if ((++n & 0xffff) == 0) {
                nsec_t now = time_now();
                /* A pause of the virtual machine is not time spent waiting. */
                waited += last ? MIN(now - last, ROUND_TIME) : 0;
                last = now;
                if (waited > DEADLOCK)
                    panic("spin lock %p: deadlock", (void *)l);
            }
        }
        if (!atomic_exchange_explicit(&l->locked, 1, memory_order_acquire))
            return;
    }
}

/* A thread in the queue of a mutex or rwlock, on its own stack. */
struct waiter {
    struct list link;
    struct thread *thread;
    bool writer;
    bool granted; /* the lock is ours: set by who releases it */
};

/* Sleeps until the lock is handed over. The lock's spin lock is held on entry. */
static void wait_for_grant(spinlock_t *lock, struct list *waiters, bool writer)
{
    struct thread *t = thread_current();
    struct waiter w = {.thread = t, .writer = writer};

    ASSERT(!in_bh());
    list_push_back(waiters, &w.link);
    t->interruptible = false;
    t->state = THREAD_SLEEPING; /* under the spin lock: nobody grants before it is released */
    spin_unlock(lock);
    schedule();
    while (!__atomic_load_n(&w.granted, __ATOMIC_ACQUIRE)) { /* woken by something else */
        __atomic_exchange_n(&t->state, THREAD_SLEEPING, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&w.granted, __ATOMIC_ACQUIRE))
            schedule();
    }
    WRITE_ONCE(t->state, THREAD_RUNNABLE);
}

static void grant(struct waiter *w)
{
    struct thread *t = w->thread; /* w is gone once granted */

    list_remove(&w->link);
    __atomic_store_n(&w->granted, true, __ATOMIC_RELEASE);
    thread_wake(t);
}

void mutex_init(struct mutex *m)
{
    *m = (struct mutex){0};
    list_init(&m->waiters);
}

void mutex_lock(struct mutex *m)
{
    spin_lock(&m->lock);
    ASSERT(!m->held || m->owner != thread_current());
    if (m->held) {
        wait_for_grant(&m->lock, &m->waiters, true);
        return;
    }
    m->held = true;
    m->owner = thread_current();
    spin_unlock(&m->lock);
}

bool mutex_trylock(struct mutex *m)
{
    spin_lock(&m->lock);
    bool got = !m->held;
    if (got) {
        m->held = true;
        m->owner = thread_current();
    }
    spin_unlock(&m->lock);
    return got;
}

void mutex_unlock(struct mutex *m)
{
    spin_lock(&m->lock);
    ASSERT(m->held && m->owner == thread_current());
    if (list_empty(&m->waiters)) {
        m->held = false;
        m->owner = NULL;
    } else {
        struct waiter *w = list_first(&m->waiters, struct waiter, link);
        m->owner = w->thread;
        grant(w);
    }
    spin_unlock(&m->lock);
}

void rwlock_init(struct rwlock *l)
{
    *l = (struct rwlock){0};
    list_init(&l->waiters);
}

void rwlock_read(struct rwlock *l)
{
    spin_lock(&l->lock);
    if (l->readers < 0 || !list_empty(&l->waiters)) { /* writers that wait go first */
        wait_for_grant(&l->lock, &l->waiters, false);
        return;
    }
    l->readers++;
    spin_unlock(&l->lock);
}

void rwlock_write(struct rwlock *l)
{
    spin_lock(&l->lock);
    if (l->readers != 0) {
        wait_for_grant(&l->lock, &l->waiters, true);
        return;
    }
    l->readers = -1;
    spin_unlock(&l->lock);
}

/* The lock is free or has readers: lets in the next writer, or all readers up to the next writer.
 */
static void rwlock_pass_on(struct rwlock *l)
{
    while (!list_empty(&l->waiters)) {
        struct waiter *w = list_first(&l->waiters, struct waiter, link);
        if (w->writer) {
            if (l->readers == 0) {
                l->readers = -1;
                grant(w);
            }
            return;
        }
        l->readers++;
        grant(w);
    }
}

void rwlock_read_done(struct rwlock *l)
{
    spin_lock(&l->lock);
    ASSERT(l->readers > 0);
    if (--l->readers == 0)
        rwlock_pass_on(l);
    spin_unlock(&l->lock);
}

void rwlock_write_done(struct rwlock *l)
{
    spin_lock(&l->lock);
    ASSERT(l->readers < 0);
    l->readers = 0;
    rwlock_pass_on(l);
    spin_unlock(&l->lock);
}
