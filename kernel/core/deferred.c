/*
 * Bottom halves and work. Each CPU has a list of pending bottom halves. They run in rounds: what is
 * scheduled during a round runs in the next one. After some rounds the rest is left to a thread, so
 * that a flood of packets leaves time to the programs that are to read them.
 */
#include "core/deferred.h"

#include "arch/arch.h"
#include "core/main.h"
#include "core/mem.h"
#include "core/wait.h"

#define MAX_ROUNDS 8

struct bh_queue {
    struct list pending;
    struct wait_queue wait;
    bool overload; /* the thread is to go on */
};
static PERCPU struct bh_queue bh_queue;

void bh_init(struct bottom_half *bh, void (*run)(struct bottom_half *bh))
{
    *bh = (struct bottom_half){.run = run};
    list_init(&bh->link);
}

void bh_init_cpu(int cpu)
{
    struct bh_queue *q = cpu_local_of(bh_queue, cpu);

    list_init(&q->pending);
    wait_queue_init(&q->wait);
}

void bh_schedule(struct bottom_half *bh)
{
    unsigned long flags = arch_irq_save();

    if (!__atomic_exchange_n(&bh->pending, true, __ATOMIC_ACQ_REL)) {
        list_push_back(&cpu_local(bh_queue)->pending, &bh->link);
        cpu_self()->bh_state &= ~CPU_BH_IDLE;
    }
    bool now = cpu_self()->bh_state == 0 && (flags & X86_FLAGS_IF);
    arch_irq_restore(flags);
    if (now) { /* from a plain thread: nothing would run it soon */
        bh_disable();
        bh_enable();
    }
}

/* Interrupts off, bh_state 0: counts as a bottom half until the end. */
static void run_rounds(struct cpu *c, struct bh_queue *q, int rounds)
{
    c->bh_state = 1 | CPU_BH_IDLE;
    while (rounds-- > 0 && !list_empty(&q->pending)) {
        struct list round;
        list_init(&round);
        list_append(&round, &q->pending);
        while (!list_empty(&round)) {
            struct bottom_half *bh = list_pop_front(&round, struct bottom_half, link);
            __atomic_store_n(&bh->pending, false, __ATOMIC_RELEASE);
            arch_irq_enable();
            bh->run(bh);
            arch_irq_disable();
        }
    }
    c->bh_state = CPU_BH_IDLE;
    if (!list_empty(&q->pending)) {
        WRITE_ONCE(q->overload, true);
        wake_up(&q->wait);
    }
}

void bh_run(void)
{
    ASSERT(arch_irqs_on());
    arch_irq_disable();
    struct cpu *c = cpu_self();
    /* An interrupt may have run them between the test and here. */
    if (c->bh_state == 0)
        run_rounds(c, cpu_local(bh_queue), MAX_ROUNDS);
    arch_irq_enable();
}

static void bh_thread(void *arg)
{
    struct bh_queue *q = cpu_local(bh_queue);

    (void)arg;
    for (;;) {
        wait_event(&q->wait, READ_ONCE(q->overload));
        WRITE_ONCE(q->overload, false);
        arch_irq_disable();
        if (!list_empty(&q->pending) && !in_bh())
            run_rounds(cpu_self(), q, 1);
        arch_irq_enable();
        thread_yield();
    }
}

void bh_start_thread(int cpu)
{
    struct thread *t = kzalloc(sizeof(*t));
    char name[16];

    snprintf(name, sizeof(name), "bh/%d", cpu);
    if (!t || thread_init(t, bh_thread, NULL, name))
        panic("no memory for %s", name);
    t->affinity = 1ul << cpu;
    thread_start(t);
}

void irq_enter(bool from_user)
{
    cpu_self()->bh_state++;
    sched_account_interrupt(time_refresh(), from_user);
}

void irq_exit(void)
{
    struct cpu *c = cpu_self();

    if (--c->bh_state == 0)
        run_rounds(c, cpu_local(bh_queue), MAX_ROUNDS);
}

static spinlock_t work_lock; /* irqsave */
static struct list work_list = LIST_INIT(work_list);
static struct wait_queue work_wait = WAIT_QUEUE_INIT(work_wait);

void work_init(struct work *w, void (*run)(struct work *w))
{
    *w = (struct work){.run = run};
    list_init(&w->link);
}

void work_schedule(struct work *w)
{
    unsigned long flags = spin_lock_irqsave(&work_lock);
    if (!w->pending) {
        w->pending = true;
        list_push_back(&work_list, &w->link);
    }
    spin_unlock_irqrestore(&work_lock, flags);
    wake_up(&work_wait);
}

static void work_thread(void *arg)
{
    (void)arg;
    for (;;) {
        wait_event(&work_wait, !list_empty(&work_list));
        unsigned long flags = spin_lock_irqsave(&work_lock);
        struct work *w = list_pop_front(&work_list, struct work, link);
        if (w)
            w->pending = false;
        spin_unlock_irqrestore(&work_lock, flags);
        if (w)
            w->run(w);
        cond_resched();
    }
}

void work_start_thread(void)
{
    if (thread_create(NULL, work_thread, NULL, "work"))
        panic("no memory for the work thread");
}
