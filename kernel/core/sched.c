/*
 * The scheduler. Each CPU has a queue of runnable threads: real-time ones, ordered by priority and
 * turn, before the others, ordered by virtual run time, which is run time weighted by niceness. The
 * running thread is not in the queue.
 *
 * Sleeping and waking meet under thread->lock: who wants to sleep sets THREAD_SLEEPING, schedule()
 * parks it, and the waker queues it only if it is parked. So a wake-up that comes in between is not
 * lost and a thread is never queued twice. Lock order: thread->lock, then a queue's lock.
 */
#include "arch/arch.h"
#include "core/main.h"
#include "core/mem.h"
#include "core/timer.h"

#define SLICE (4 * NSEC_PER_MSEC)
/* A woken thread preempts one that is this much ahead of it. */
#define WAKE_GRANULARITY NSEC_PER_MSEC
/* A thread that slept long, or had real time, gets no more credit than this. */
#define SLEEP_CREDIT (2 * NSEC_PER_MSEC)
/* How long a woken thread waits behind a running one while another CPU is idle. */
#define HELP_DELAY (200 * NSEC_PER_USEC)
#define WEIGHT_0 1024
/* Of each period real-time threads have at most this share if others wait. */
#define RT_PERIOD NSEC_PER_SEC
#define RT_SHARE (950 * NSEC_PER_MSEC)
/* Priorities of a CPU's thread beside those of real time. */
#define FAIR 0
#define NONE (-1)

struct run_queue {
    spinlock_t lock; /* irqsave */
    struct rb_tree tree;
    struct thread *first; /* the leftmost in the tree */
    int queued;
    int first_priority, running_priority; /* for other CPUs to look at */
    nsec_t rt_begin, rt_used;             /* the present period */
    nsec_t min_vruntime;
    struct thread *running, *idle;
    /* Of the thread that was switched away from, what has to wait until its stack is out of use. */
    struct thread *dead;  /* to be released */
    struct thread *moves; /* to be queued on a CPU where it may run */
    nsec_t switched_at;   /* what run_ns has been accounted up to */
    nsec_t slice_begin;
    nsec_t slice_end; /* when the next tick is due; NSEC_NEVER while nobody waits */
    nsec_t user_ns, system_ns, idle_ns;
    uint64_t switches;
};

static PERCPU struct run_queue run_queue;
static atomic_int rt_queued; /* real-time threads that wait, on all CPUs */

int cpu_count = 1;

/* 1024 * 1.25^-nice, nice from -20 to 19. */
static const uint32_t weights[40] = {
    88818, 71054, 56843, 45475, 36380, 29104, 23283, 18626, 14901, 11921, 9537, 7629, 6104, 4883,
    3906,  3125,  2500,  2000,  1600,  1280,  1024,  819,   655,   524,   419,  336,  268,  215,
    172,   137,   110,   88,    70,    56,    45,    36,    29,    23,    18,   15,
};

static nsec_t weighted(const struct thread *t, nsec_t ns)
{
    if (likely(t->nice == 0))
        return ns;
    int nice = MIN(MAX(t->nice, -20), 19);
    return ns * WEIGHT_0 / weights[nice + 20];
}

static bool allowed(const struct thread *t, int cpu)
{
    return t->affinity >> cpu & 1;
}

static struct thread *of_node(struct rb_node *n)
{
    return n ? container_of(n, struct thread, run_node) : NULL;
}

static int compare(const struct rb_node *a, const struct rb_node *b)
{
    const struct thread *x = container_of(a, struct thread, run_node);
    const struct thread *y = container_of(b, struct thread, run_node);
    if (unlikely(x->rt_priority != y->rt_priority))
        return x->rt_priority > y->rt_priority ? -1 : 1;
    return x->vruntime < y->vruntime ? -1 : x->vruntime > y->vruntime;
}

static void queue_changed(struct run_queue *q, struct thread *t, int by)
{
    q->queued += by;
    t->queued = by > 0;
    if (unlikely(t->rt_priority))
        atomic_fetch_add_explicit(&rt_queued, by, memory_order_relaxed);
    WRITE_ONCE(q->first_priority, q->first ? q->first->rt_priority : NONE);
}

/* The queue's lock is held. */
static void enqueue(struct run_queue *q, struct thread *t)
{
    ASSERT(!t->queued && t->state == THREAD_RUNNABLE);
    if (likely(!t->rt_priority))
        t->vruntime = MAX(t->vruntime, q->min_vruntime - SLEEP_CREDIT);
    if (!q->first) { /* mostly so: a tree of one */
        t->run_node = (struct rb_node){0};
        q->tree.root = &t->run_node;
        q->first = t;
    } else {
        rb_insert(&q->tree, &t->run_node, compare);
        if (compare(&t->run_node, &q->first->run_node) < 0)
            q->first = t;
    }
    queue_changed(q, t, 1);
}

static void dequeue(struct run_queue *q, struct thread *t)
{
    if (q->queued == 1) {
        q->tree.root = NULL;
        q->first = NULL;
    } else {
        if (q->first == t)
            q->first = of_node(rb_next(&t->run_node));
        rb_remove(&q->tree, &t->run_node);
    }
    queue_changed(q, t, -1);
}

static void account_fair(struct run_queue *q, struct thread *t, nsec_t ns)
{
    t->vruntime += weighted(t, ns);
    bool fair_waits = q->first && !q->first->rt_priority;
    nsec_t least = fair_waits ? MIN(t->vruntime, q->first->vruntime) : t->vruntime;
    if (least > q->min_vruntime)
        q->min_vruntime = least;
}

/* How much longer real-time threads may run here while others wait. */
static nsec_t rt_left(struct run_queue *q, nsec_t now)
{
    if (now - q->rt_begin >= RT_PERIOD) {
        q->rt_begin = now;
        q->rt_used = 0;
    }
    return MAX(RT_SHARE - q->rt_used, 0);
}

/* Charges the running thread for the time since the last account. Interrupts off. */
static void account(struct run_queue *q, nsec_t now, bool user)
{
    nsec_t ns = now - q->switched_at;
    struct thread *t = q->running;

    q->switched_at = now;
    if (t == q->idle) {
        q->idle_ns += ns;
        return;
    }
    t->run_ns += ns;
    if (likely(!t->rt_priority))
        account_fair(q, t, ns);
    else
        q->rt_used += ns;
    if (!t->aspace) {
        q->system_ns += ns;
        return;
    }
    /* Without a clock reading at each system call the split is a guess: what ends with an interrupt
     * of the program was the program's, what ends in the kernel was half and half. */
    nsec_t in_user = user ? ns : ns / 2;
    t->user_ns += in_user;
    q->user_ns += in_user;
    q->system_ns += ns - in_user;
}

void sched_account_interrupt(nsec_t now, bool user)
{
    account(cpu_local(run_queue), now, user);
}

void sched_init_cpu(int cpu, struct thread *idle)
{
    struct run_queue *q = cpu_local_of(run_queue, cpu);

    q->running = q->idle = idle;
    q->slice_end = NSEC_NEVER;
    q->switched_at = time_now();
    idle->state = THREAD_RUNNABLE;
    idle->on_cpu = true;
    idle->cpu = cpu;
    idle->affinity = 1ul << cpu;
    idle->cpu_seen = -1;
    idle->context.state_cpu = -1;
    snprintf(idle->name, sizeof(idle->name), "idle/%d", cpu);
    cpu_self()->current = idle;
}

static bool is_idle(int cpu)
{
    struct run_queue *q = cpu_local_of(run_queue, cpu);
    return READ_ONCE(q->running) == q->idle && READ_ONCE(q->queued) == 0;
}

static bool some_cpu_idle(void)
{
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        if (is_idle(cpu))
            return true;
    }
    return false;
}

/* Each CPU's virtual time is its own: between two of them a thread's is relative. */
static void leave_queue(const struct run_queue *q, struct thread *t)
{
    if (!t->rt_priority)
        t->vruntime -= q->min_vruntime;
}
static void join_queue(const struct run_queue *q, struct thread *t)
{
    if (!t->rt_priority)
        t->vruntime += q->min_vruntime;
}

/* Its former CPU may not be through with switching away from it. */
static bool leaving_cpu(const struct thread *t)
{
    return __atomic_load_n(&t->on_cpu, __ATOMIC_ACQUIRE);
}

/* Whether real-time threads run or wait here. */
static bool has_realtime(const struct run_queue *q)
{
    return unlikely(q->running->rt_priority || q->first_priority > FAIR);
}

/* Until who runs and who waits are to be weighed again where there are real-time threads. */
static nsec_t rt_slice(struct run_queue *q, nsec_t now)
{
    const struct thread *t = q->running;
    nsec_t left = rt_left(q, now);
    if (!left || !t->rt_priority) /* what runs is in the share of the others */
        left = q->rt_begin + RT_PERIOD - now;
    bool in_turn = t->rt_round && q->first_priority == t->rt_priority;
    return in_turn ? MIN(left, THREAD_ROUND) : left;
}

/* Somebody waits behind the running thread: its time is limited from now on. This CPU's queue. */
static void begin_slice(struct run_queue *q, nsec_t now)
{
    if (q->slice_end == NSEC_NEVER && q->running != q->idle) {
        q->slice_begin = now;
        q->slice_end = now + (has_realtime(q)   ? rt_slice(q, now)
                              : some_cpu_idle() ? HELP_DELAY
                                                : SLICE);
        timer_hardware_arm(q->slice_end);
    }
}

nsec_t sched_slice_end(void)
{
    return cpu_local(run_queue)->slice_end;
}

/* The first thread waiting here that may run on `cpu`, taken off, if its priority is above that
 * given; leave_queue was called. The queue's lock is held. */
static struct thread *take(struct run_queue *q, int cpu, int above)
{
    struct thread *t = q->first;

    while (t && (leaving_cpu(t) || !allowed(t, cpu)))
        t = of_node(rb_next(&t->run_node));
    if (!t || t->rt_priority <= above)
        return NULL;
    dequeue(q, t);
    leave_queue(q, t);
    t->cpu = cpu;
    return t;
}

/* At the end of a slice: gives a thread to a CPU that has two fewer. Idle ones help themselves;
 * among busy ones this is what evens out. */
static void push(struct run_queue *q)
{
    int me = cpu_id(), to = -1, least = READ_ONCE(q->queued) - 1;

    for (int cpu = 0; cpu < cpu_count; cpu++) {
        int queued = READ_ONCE(cpu_local_of(run_queue, cpu)->queued);
        if (cpu != me && queued < least) {
            least = queued;
            to = cpu;
        }
    }
    if (to < 0)
        return;
    spin_lock(&q->lock);
    struct thread *t = take(q, to, NONE);
    spin_unlock(&q->lock);
    if (!t)
        return;
    struct run_queue *other = cpu_local_of(run_queue, to);
    spin_lock(&other->lock);
    join_queue(other, t);
    enqueue(other, t);
    spin_unlock(&other->lock);
    arch_kick(to);
}

void sched_tick(nsec_t now)
{
    struct run_queue *q = cpu_local(run_queue);

    if (now < q->slice_end)
        return;
    if (!q->queued) { /* who waited was taken by another CPU */
        q->slice_end = NSEC_NEVER;
        return;
    }
    if (has_realtime(q)) {
        if (q->running->rt_round)
            q->running->vruntime = now;        /* it was its turn */
        cpu_self()->resched |= RESCHED_SWITCH; /* which may go on with what runs */
        q->slice_end = NSEC_NEVER;
        return;
    }
    if (now < q->slice_begin + SLICE) { /* an idle CPU shall come and take one of ours */
        for (int cpu = 0; cpu < cpu_count; cpu++) {
            if (is_idle(cpu)) {
                arch_kick(cpu);
                break;
            }
        }
        q->slice_end = q->slice_begin + SLICE;
        return;
    }
    cpu_self()->resched |= RESCHED_SWITCH;
    q->slice_begin = now;
    q->slice_end = now + SLICE;
    push(q);
}

/* Whether this CPU, whose queue is locked, goes on with what it does. */
static void reconsider(struct run_queue *q)
{
    if (q->running == q->idle || !allowed(q->running, q->running->cpu)) {
        cpu_self()->resched |= RESCHED_SWITCH;
    } else if (has_realtime(q)) {
        nsec_t now = time_now();
        if (q->first_priority > q->running->rt_priority && rt_left(q, now))
            cpu_self()->resched |= RESCHED_SWITCH;
        else if (q->first)
            begin_slice(q, now);
    } else if (q->first) {
        nsec_t now = time_now(), ran = weighted(q->running, now - q->switched_at);
        if (q->first->vruntime + WAKE_GRANULARITY < q->running->vruntime + ran)
            cpu_self()->resched |= RESCHED_SWITCH;
        else
            begin_slice(q, now);
    }
}

void sched_kicked(void)
{
    struct run_queue *q = cpu_local(run_queue);

    spin_lock(&q->lock);
    reconsider(q);
    spin_unlock(&q->lock);
}

/* Where the least important thread runs, rather where it ran last. */
static int lowest_cpu(const struct thread *t)
{
    int best = -1, lowest = INT32_MAX;

    for (int i = 0; i < cpu_count; i++) {
        int cpu = t->cpu + i < cpu_count ? t->cpu + i : t->cpu + i - cpu_count;
        const struct run_queue *q = cpu_local_of(run_queue, cpu);
        int priority = MAX(READ_ONCE(q->running_priority), READ_ONCE(q->first_priority));
        if (allowed(t, cpu) && priority < lowest) {
            lowest = priority;
            best = cpu;
        }
    }
    return best < 0 ? __builtin_ctzl(t->affinity) : best;
}

/* The CPU it last ran on, unless that is busy and another one has nothing to do. */
static int choose_cpu(const struct thread *t)
{
    int last = t->cpu;

    if (cpu_count == 1)
        return 0;
    if (leaving_cpu(t))
        return last;
    if (unlikely(t->rt_priority))
        return lowest_cpu(t);
    int me = cpu_id();
    bool may_stay = allowed(t, me) && !cpu_local(run_queue)->queued;
    if (may_stay && cpu_local(run_queue)->running == cpu_local(run_queue)->idle)
        return me; /* woken by a bottom half: nothing is nearer */
    /* A waker often sleeps soon, and waking another CPU costs more than waiting for that; if it
     * does not, the tick sends for help. */
    if (may_stay && !in_bh())
        return me;
    for (int i = 0; i < cpu_count; i++) {
        int cpu = last + i < cpu_count ? last + i : last + i - cpu_count;
        if (allowed(t, cpu) && is_idle(cpu))
            return cpu;
    }
    return allowed(t, last) ? last : __builtin_ctzl(t->affinity);
}

/* Puts a parked thread on a queue. t->lock is held, interrupts are off. */
static void make_queued(struct thread *t)
{
    int cpu = choose_cpu(t), me = cpu_id();
    struct run_queue *q = cpu_local_of(run_queue, cpu);

    spin_lock(&q->lock);
    leave_queue(cpu_local_of(run_queue, t->cpu), t);
    join_queue(q, t);
    t->cpu = cpu;
    if (unlikely(t->rt_priority))
        t->vruntime = time_now(); /* behind those of its priority */
    enqueue(q, t);
    if (cpu == me)
        reconsider(q);
    spin_unlock(&q->lock);
    if (cpu != me)
        arch_kick(cpu);
}

void thread_wake(struct thread *t)
{
    unsigned long flags = spin_lock_irqsave(&t->lock);

    if (t->state == THREAD_SLEEPING) {
        t->state = THREAD_RUNNABLE;
        if (t->parked) {
            t->parked = false;
            make_queued(t);
        }
    }
    spin_unlock_irqrestore(&t->lock, flags);
}

void thread_start(struct thread *t)
{
    unsigned long flags = spin_lock_irqsave(&t->lock);

    ASSERT(t->state == THREAD_NEW);
    t->state = THREAD_RUNNABLE;
    t->parked = false;
    t->cpu = cpu_id();
    t->vruntime = cpu_local(run_queue)->min_vruntime;
    make_queued(t);
    spin_unlock_irqrestore(&t->lock, flags);
}

/* Takes a thread of a priority above that given from another CPU's queue. This CPU's queue is not
 * locked. */
static struct thread *steal(struct run_queue *mine, int me, int above)
{
    for (int i = 1; i < cpu_count; i++) {
        int cpu = me + i < cpu_count ? me + i : me + i - cpu_count;
        struct run_queue *q = cpu_local_of(run_queue, cpu);
        if (READ_ONCE(q->first_priority) <= above)
            continue;
        spin_lock(&q->lock);
        /* If it has just become idle it takes its first one itself. */
        struct thread *t = q->running == q->idle && q->queued == 1 ? NULL : take(q, me, above);
        spin_unlock(&q->lock);
        if (t) {
            join_queue(mine, t);
            return t;
        }
    }
    return NULL;
}

/* The first one in the queue, but if real-time threads had their share, the first other one. */
static struct thread *first_of(struct run_queue *q, nsec_t now)
{
    struct thread *t = q->first;

    if (likely(!t || !t->rt_priority || rt_left(q, now)))
        return t;
    while (t && t->rt_priority)
        t = of_node(rb_next(&t->run_node));
    return t ? t : q->first;
}

/* What runs next here; it is in no queue any more. */
static struct thread *pick(struct run_queue *q, int me, nsec_t now)
{
    struct thread *next = NULL;

    if (unlikely(atomic_load_explicit(&rt_queued, memory_order_relaxed)) && rt_left(q, now))
        next = steal(q, me, MAX(q->first_priority, FAIR));
    if (next)
        return next;
    spin_lock(&q->lock);
    next = first_of(q, now);
    if (next)
        dequeue(q, next);
    spin_unlock(&q->lock);
    if (!next && cpu_count > 1)
        next = steal(q, me, NONE);
    return next ? next : q->idle;
}

/* After a switch, on the stack of the thread that runs now; interrupts on. */
static void finish_switch(void)
{
    arch_irq_disable();
    struct run_queue *q = cpu_local(run_queue);
    struct thread *dead = q->dead, *moves = q->moves;
    q->dead = q->moves = NULL;
    if (moves) {
        spin_lock(&moves->lock);
        make_queued(moves);
        spin_unlock(&moves->lock);
    }
    arch_irq_enable();
    if (!dead)
        return;
    arch_context_release(dead);
    stack_free(dead->stack);
    dead->stack = NULL;
    if (dead->release)
        dead->release(dead);
    else
        kfree(dead);
}

void thread_started(struct thread *t)
{
    (void)t;
    finish_switch();
}

/* A real-time thread that gives way here, and may go on where something less important runs. */
static bool outranked(const struct run_queue *q, const struct thread *t)
{
    return unlikely(t->rt_priority) && q->first_priority > t->rt_priority &&
           lowest_cpu(t) != t->cpu;
}

/* Takes prev off the CPU's hands: parked, queued again or dead. */
static void put_previous(struct run_queue *q, struct thread *prev)
{
    spin_lock(&prev->lock);
    if (prev->state == THREAD_SLEEPING && prev->interruptible && prev->interrupted)
        prev->state = THREAD_RUNNABLE;
    if (prev->state == THREAD_SLEEPING) {
        prev->parked = true;
        prev->run_before_sleep = prev->run_ns;
    } else if (prev->state == THREAD_DEAD) {
        q->dead = prev;
    } else if (!allowed(prev, prev->cpu) || outranked(q, prev)) {
        q->moves = prev;
    } else {
        spin_lock(&q->lock);
        enqueue(q, prev);
        spin_unlock(&q->lock);
    }
    spin_unlock(&prev->lock);
}

void schedule(void)
{
    ASSERT(!in_bh() && arch_irqs_on());
    arch_irq_disable();
    struct cpu *c = cpu_self();
    struct run_queue *q = cpu_local(run_queue);
    struct thread *prev = q->running;
    nsec_t now = time_refresh();

    c->resched = 0;
    account(q, now, false);
    if (prev != q->idle)
        put_previous(q, prev);
    struct thread *next = pick(q, c->id, now);
    q->slice_end = NSEC_NEVER;
    WRITE_ONCE(q->running_priority, next == q->idle ? NONE : next->rt_priority);
    if (next->cpu_seen >= 0 && (next->cpu_seen != c->id || arch_context_trapped(&next->context)))
        c->resched = RESCHED_TELL;
    if (next != prev) {
        ASSERT(!leaving_cpu(next));
        next->on_cpu = true;
        next->switches++;
        q->switches++;
        q->running = next;
        if (q->queued)
            begin_slice(q, now);
        arch_switch(prev, next);
        q = cpu_local(run_queue); /* perhaps another CPU's than before */
        if (unlikely(q->dead || q->moves))
            finish_switch();
    } else if (q->queued) {
        begin_slice(q, now);
    }
    arch_irq_enable();
}

void thread_yield(void)
{
    if (!cpu_local(run_queue)->queued)
        return;
    if (unlikely(thread_current()->rt_priority))
        thread_current()->vruntime = time_now(); /* behind those of its priority */
    schedule();
}

void cond_resched(void)
{
    if (unlikely(CPU_FIELD(resched) & RESCHED_SWITCH)) {
        /* In the middle of looking whether to sleep: it looks again afterwards. */
        WRITE_ONCE(thread_current()->state, THREAD_RUNNABLE);
        schedule();
    }
}

NORETURN void sched_idle_loop(void)
{
    struct cpu *c = cpu_self();
    struct run_queue *q = cpu_local(run_queue);

    for (;;) {
        arch_irq_disable();
        if (c->resched || READ_ONCE(q->queued)) {
            arch_irq_enable();
            schedule();
            continue;
        }
        arch_idle();
    }
}

void thread_interrupt(struct thread *t)
{
    unsigned long flags = spin_lock_irqsave(&t->lock);

    WRITE_ONCE(t->interrupted, true);
    if (t->state == THREAD_SLEEPING && t->interruptible) {
        t->state = THREAD_RUNNABLE;
        if (t->parked) {
            t->parked = false;
            make_queued(t);
        }
    } else if (t->on_cpu && t->cpu != cpu_id()) {
        arch_kick(t->cpu); /* out of user mode */
    }
    spin_unlock_irqrestore(&t->lock, flags);
}

bool thread_interrupted(void)
{
    return READ_ONCE(thread_current()->interrupted);
}

int thread_set_affinity(struct thread *t, cpumask_t mask)
{
    mask &= cpu_count == 64 ? ~0ul : (1ul << cpu_count) - 1;
    if (!mask)
        return -EINVAL;

    unsigned long flags = spin_lock_irqsave(&t->lock);
    t->affinity = mask;
    int cpu = t->cpu;
    bool move = t->state == THREAD_RUNNABLE && !allowed(t, cpu);
    if (move && !t->on_cpu) {
        struct run_queue *q = cpu_local_of(run_queue, cpu);
        spin_lock(&q->lock);
        bool queued = t->queued && t->cpu == cpu; /* else it is just being moved */
        if (queued)
            dequeue(q, t);
        spin_unlock(&q->lock);
        if (queued)
            make_queued(t);
    } else if (move && t != thread_current()) {
        arch_kick(cpu); /* it moves when it next enters or leaves the kernel */
    }
    spin_unlock_irqrestore(&t->lock, flags);
    if (move && t == thread_current())
        schedule();
    return 0;
}

void thread_set_realtime(struct thread *t, int priority, bool round_robin)
{
    unsigned long flags = spin_lock_irqsave(&t->lock);
    struct run_queue *q = cpu_local_of(run_queue, t->cpu);

    spin_lock(&q->lock);
    bool queued = t->queued; /* else it runs, sleeps or is just being moved */
    if (queued)
        dequeue(q, t);
    /* Who is lowered goes first among its new equals; of the others enqueue raises it. */
    nsec_t now = time_now();
    t->vruntime = !priority ? 0 : priority < t->rt_priority ? -now : now;
    t->rt_priority = priority;
    t->rt_round = round_robin;
    if (q->running == t)
        WRITE_ONCE(q->running_priority, priority);
    spin_unlock(&q->lock);
    if (queued)
        make_queued(t);
    else if (t->on_cpu)
        arch_kick(t->cpu); /* it looks again who is to run */
    spin_unlock_irqrestore(&t->lock, flags);
}

void thread_grace_period(void)
{
    struct thread *t = thread_current();
    cpumask_t own = t->affinity;

    /* The kernel is not preempted: where this thread gets to run, the others are through. */
    for (int cpu = 0; cpu < cpu_count; cpu++)
        thread_set_affinity(t, 1ul << cpu);
    thread_set_affinity(t, own);
}

void thread_times(struct thread *t, nsec_t *total, nsec_t *user)
{
    unsigned long flags = arch_irq_save();
    const struct run_queue *q = cpu_local_of(run_queue, READ_ONCE(t->cpu));
    nsec_t since = 0;

    if (t == thread_current())
        account(cpu_local(run_queue), time_refresh(), false);
    else if (READ_ONCE(q->running) == t) /* not charged yet: no interrupt came */
        since = MAX(time_now() - READ_ONCE(q->switched_at), 0);
    *total = READ_ONCE(t->run_ns) + since;
    *user = READ_ONCE(t->user_ns) + since;
    arch_irq_restore(flags);
}

nsec_t thread_run_since_sleep(struct thread *t)
{
    nsec_t total, user;
    thread_times(t, &total, &user);
    return total - READ_ONCE(t->run_before_sleep);
}

uint64_t cpu_switches(int cpu)
{
    return cpu_local_of(run_queue, cpu)->switches;
}

void cpu_times(int cpu, nsec_t *user, nsec_t *system, nsec_t *idle)
{
    const struct run_queue *q = cpu_local_of(run_queue, cpu);
    nsec_t now = time_now(), since = now - q->switched_at;

    *user = q->user_ns;
    *system = q->system_ns;
    *idle = q->idle_ns + (q->running == q->idle && since > 0 ? since : 0);
}
