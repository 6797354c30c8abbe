/*
 * Wait queues: the one mechanism behind blocking, poll, epoll and futexes.
 *
 * A wait queue holds wait entries, each with a callback that runs when the queue is woken (any
 * context, with the queue's lock held: the callback must be short, must not sleep and must not
 * touch this queue). A sleeping thread is an entry whose callback makes the thread runnable.
 *
 * The pattern of a blocking operation:
 *
 *     wait_event(&q, condition)                          uninterruptible
 *     err = wait_event_interruptible(&q, condition)      0 or -ERESTARTSYS
 *     err = wait_event_timeout(&q, condition, deadline)  0, -ERESTARTSYS or -ETIMEDOUT
 *
 * `condition` is evaluated without any lock held by this macro and may be evaluated often; a waker
 * makes the condition true first and wakes afterwards.
 */
#ifndef CORE_WAIT_H
#define CORE_WAIT_H

#include "core/list.h"
#include "core/lock.h"

struct wait_queue {
    spinlock_t lock; /* irqsave */
    struct list entries;
};

struct wait_entry;

/* `key` is what the waker passed to wake (poll event bits; ~0u for plain wakes). Returns true if
 * the wake was used up by this entry: counts against `max` of wake_up_max when the entry is
 * exclusive. */
typedef bool (*wait_callback)(struct wait_entry *entry, unsigned key);

struct wait_entry {
    struct list link;
    struct wait_queue *queue; /* the one it is on, or NULL */
    wait_callback callback;
    void *owner; /* the callback's own */
    bool exclusive;
};

#define WAIT_QUEUE_INIT(name)                                                                      \
    {                                                                                              \
        SPINLOCK_INIT, LIST_INIT((name).entries)                                                   \
    }

void wait_queue_init(struct wait_queue *q);

static inline bool wait_queue_active(const struct wait_queue *q)
{
    /* Pairs with the fence between wait_add and the condition check in the waiter. */
    atomic_thread_fence(memory_order_seq_cst);
    return !list_empty(&q->entries);
}

/* Adds/removes an entry that has callback, owner and exclusive filled in. Any context. After
 * wait_remove has returned the callback is not running and will not run. Removing an entry that is
 * not on a queue does nothing. Exclusive entries are queued at the end, others at the front. */
void wait_add(struct wait_queue *q, struct wait_entry *e);
void wait_remove(struct wait_entry *e);

/* Wake everybody; wake all non-exclusive entries and at most `max` exclusive ones. Any context.
 * Cheap when nobody waits. wake_up_key passes event bits on to the callbacks. */
void wake_up(struct wait_queue *q);
void wake_up_key(struct wait_queue *q, unsigned key);
void wake_up_max(struct wait_queue *q, unsigned key, int max);

/* The callback of a sleeping thread's entry (owner: the thread). */
bool wait_wake_thread(struct wait_entry *e, unsigned key);

enum wait_mode { WAIT_UNINTERRUPTIBLE, WAIT_INTERRUPTIBLE };

/* The pieces of the macros below. wait_prepare marks the current thread as about to sleep and puts
 * the entry on the queue if it is not there yet; wait_commit sleeps until woken, interrupted
 * (-ERESTARTSYS, interruptible only) or past `deadline` (monotonic ns, NSEC_NEVER: none;
 * -ETIMEDOUT); wait_finish takes the entry off. Thread context. */
void wait_prepare(struct wait_queue *q, struct wait_entry *e, enum wait_mode mode, bool exclusive);
int wait_commit(nsec_t deadline);
void wait_finish(struct wait_entry *e);

#define wait_event_full(q, condition, mode, deadline, exclusive)                                   \
    ({                                                                                             \
        int wait_err = 0;                                                                          \
        if (!(condition)) {                                                                        \
            struct wait_entry wait_e = {0};                                                        \
            for (;;) {                                                                             \
                wait_prepare((q), &wait_e, (mode), (exclusive));                                   \
                if (condition) {                                                                   \
                    wait_err = 0;                                                                  \
                    break;                                                                         \
                }                                                                                  \
                if (wait_err)                                                                      \
                    break;                                                                         \
                wait_err = wait_commit(deadline);                                                  \
            }                                                                                      \
            wait_finish(&wait_e);                                                                  \
        }                                                                                          \
        wait_err;                                                                                  \
    })
#define wait_event(q, condition)                                                                   \
    ((void)wait_event_full(q, condition, WAIT_UNINTERRUPTIBLE, NSEC_NEVER, false))
#define wait_event_interruptible(q, condition)                                                     \
    wait_event_full(q, condition, WAIT_INTERRUPTIBLE, NSEC_NEVER, false)
#define wait_event_timeout(q, condition, deadline)                                                 \
    wait_event_full(q, condition, WAIT_INTERRUPTIBLE, deadline, false)
/* Exclusive: woken one at a time by wake_up_max (accept, EPOLLEXCLUSIVE). */
#define wait_event_exclusive(q, condition, deadline)                                               \
    wait_event_full(q, condition, WAIT_INTERRUPTIBLE, deadline, true)

#endif
