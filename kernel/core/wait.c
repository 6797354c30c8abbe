/* Wait queues. */
#include "core/wait.h"

#include "core/main.h"

void wait_queue_init(struct wait_queue *q)
{
    spin_init(&q->lock);
    list_init(&q->entries);
}

void wait_add(struct wait_queue *q, struct wait_entry *e)
{
    unsigned long flags = spin_lock_irqsave(&q->lock);

    e->queue = q;
    if (e->exclusive)
        list_push_back(&q->entries, &e->link);
    else
        list_push_front(&q->entries, &e->link);
    spin_unlock_irqrestore(&q->lock, flags);
    /* The entry is seen before the caller looks at its condition: see wait_queue_active. */
    atomic_thread_fence(memory_order_seq_cst);
}

void wait_remove(struct wait_entry *e)
{
    struct wait_queue *q = e->queue;

    if (!q)
        return;
    unsigned long flags = spin_lock_irqsave(&q->lock);
    list_remove(&e->link);
    e->queue = NULL;
    spin_unlock_irqrestore(&q->lock, flags);
}

bool wait_wake_thread(struct wait_entry *e, unsigned key)
{
    (void)key;
    thread_wake(e->owner);
    return true;
}

void wake_up_max(struct wait_queue *q, unsigned key, int max)
{
    struct wait_entry *e, *next;

    if (!wait_queue_active(q))
        return;
    unsigned long flags = spin_lock_irqsave(&q->lock);
    list_for_each_safe (e, next, &q->entries, link) {
        if (e->callback(e, key) && e->exclusive && --max <= 0)
            break;
    }
    spin_unlock_irqrestore(&q->lock, flags);
}

void wake_up_key(struct wait_queue *q, unsigned key)
{
    wake_up_max(q, key, INT32_MAX);
}
void wake_up(struct wait_queue *q)
{
    wake_up_max(q, ~0u, INT32_MAX);
}
