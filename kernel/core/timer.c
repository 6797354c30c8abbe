/*
 * Timers. Each CPU has a tree of them by deadline, a hardware timer set to the earliest or earlier,
 * and a bottom half that runs what is due. Moving a timer to a later time only notes the new time
 * (due): the queue finds out when the old one comes.
 */
#include "core/timer.h"

#include "arch/arch.h"
#include "core/deferred.h"
#include "core/main.h"

struct timer_queue {
    spinlock_t lock; /* irqsave */
    struct rb_tree tree;
    struct timer *first;
    struct timer *running; /* whose callback runs now; not to be followed */
    nsec_t hardware;       /* what the hardware timer is set to */
    uint64_t interrupts;
    struct bottom_half bh;
};

static PERCPU struct timer_queue timer_queue;

static int compare(const struct rb_node *a, const struct rb_node *b)
{
    nsec_t x = container_of(a, struct timer, node)->deadline;
    nsec_t y = container_of(b, struct timer, node)->deadline;
    return x < y ? -1 : x > y;
}

static void insert(struct timer_queue *q, struct timer *t, nsec_t deadline)
{
    t->deadline = t->due = deadline;
    rb_insert(&q->tree, &t->node, compare);
    if (!q->first || deadline < q->first->deadline)
        q->first = t;
}

static void take_off(struct timer_queue *q, struct timer *t)
{
    if (q->first == t) {
        struct rb_node *next = rb_next(&t->node);
        q->first = next ? container_of(next, struct timer, node) : NULL;
    }
    rb_remove(&q->tree, &t->node);
}

/* Locks the queue that the timer is on; NULL if it is on none. */
static struct timer_queue *lock_queue_of(struct timer *t, unsigned long *flags)
{
    for (;;) {
        int cpu = READ_ONCE(t->cpu);
        if (cpu < 0)
            return NULL;
        struct timer_queue *q = cpu_local_of(timer_queue, cpu);
        *flags = spin_lock_irqsave(&q->lock);
        if (t->cpu == cpu)
            return q;
        spin_unlock_irqrestore(&q->lock, *flags);
    }
}

void timer_init(struct timer *t, void (*run)(struct timer *t))
{
    *t = (struct timer){.run = run, .cpu = -1};
}

void timer_hardware_arm(nsec_t deadline)
{
    struct timer_queue *q = cpu_local(timer_queue);

    if (deadline < q->hardware) {
        q->hardware = deadline;
        arch_timer_set(deadline);
    }
}

void timer_arm(struct timer *t, nsec_t deadline)
{
    unsigned long flags;
    struct timer_queue *q = lock_queue_of(t, &flags);

    if (q && deadline >= t->deadline) {
        t->due = deadline;
        spin_unlock_irqrestore(&q->lock, flags);
        return;
    }
    if (q) {
        take_off(q, t);
        t->cpu = -1;
        spin_unlock_irqrestore(&q->lock, flags);
    }
    flags = arch_irq_save();
    q = cpu_local(timer_queue);
    spin_lock(&q->lock);
    if (t->cpu < 0) { /* else another CPU was faster */
        t->cpu = cpu_id();
        insert(q, t, deadline);
        timer_hardware_arm(deadline);
    }
    spin_unlock(&q->lock);
    arch_irq_restore(flags);
}

bool timer_cancel(struct timer *t)
{
    unsigned long flags;
    struct timer_queue *q = lock_queue_of(t, &flags);

    if (!q)
        return false;
    take_off(q, t);
    t->cpu = -1;
    spin_unlock_irqrestore(&q->lock, flags);
    return true;
}

bool timer_cancel_sync(struct timer *t)
{
    bool armed = timer_cancel(t);

    for (int cpu = 0; cpu < cpu_count; cpu++) {
        const struct timer_queue *q = cpu_local_of(timer_queue, cpu);
        while (__atomic_load_n(&q->running, __ATOMIC_ACQUIRE) == t)
            cpu_relax();
    }
    return timer_cancel(t) || armed; /* the callback may have armed it again */
}

void timer_interrupt(void)
{
    struct timer_queue *q = cpu_local(timer_queue);
    nsec_t now = time_coarse(); /* irq_enter has read the clock */

    q->interrupts++;
    sched_tick(now);
    spin_lock(&q->lock);
    q->hardware = NSEC_NEVER;
    bool due = q->first && q->first->deadline <= now;
    nsec_t next = sched_slice_end();
    if (!due && q->first)
        next = MIN(next, q->first->deadline);
    if (next != NSEC_NEVER)
        timer_hardware_arm(next);
    spin_unlock(&q->lock);
    if (due)
        bh_schedule(&q->bh);
}

uint64_t timer_interrupts(int cpu)
{
    return READ_ONCE(cpu_local_of(timer_queue, cpu)->interrupts);
}

static void run_due(struct bottom_half *bh)
{
    struct timer_queue *q = container_of(bh, struct timer_queue, bh);
    nsec_t now = time_refresh();
    unsigned long flags = spin_lock_irqsave(&q->lock);

    while (q->first && q->first->deadline <= now) {
        struct timer *t = q->first;
        take_off(q, t);
        if (t->due > now) {
            insert(q, t, t->due);
            continue;
        }
        /* In this order: who finds the timer on no queue must find it running. */
        q->running = t;
        __atomic_store_n(&t->cpu, -1, __ATOMIC_RELEASE);
        spin_unlock_irqrestore(&q->lock, flags);
        t->run(t); /* may free it */
        __atomic_store_n(&q->running, NULL, __ATOMIC_RELEASE);
        flags = spin_lock_irqsave(&q->lock);
    }
    if (q->first)
        timer_hardware_arm(q->first->deadline);
    spin_unlock_irqrestore(&q->lock, flags);
}

void timer_init_cpu(int cpu)
{
    struct timer_queue *q = cpu_local_of(timer_queue, cpu);

    q->hardware = NSEC_NEVER;
    bh_init(&q->bh, run_due);
}
