/*
 * Coroutine threads, wait queues, locks, bottom halves, work, timers and the virtual clock.
 *
 * The main coroutine is the test itself. A blocked coroutine calls the scheduler, which runs
 * another runnable one, or makes progress elsewhere, until the blocked one is runnable again.
 */
#include <stdlib.h>
#include <ucontext.h>

#include "core/deferred.h"
#include "core/thread.h"
#include "core/timer.h"
#include "core/wait.h"
#include "floor.h"
#include "internal.h"

#define COROUTINE_STACK (256 * 1024UL)

static struct thread main_thread = {.state = THREAD_RUNNABLE, .name = "main"};
struct thread *floor_current = &main_thread;
int floor_bh_depth;
bool floor_bh_pending;
int cpu_count = 1;

struct coroutine {
    ucontext_t context;
    void *stack;
    bool allocated;       /* by thread_create */
    struct list run_link; /* on runnable */
    struct thread *thread;
};

static struct coroutine main_coroutine = {.run_link = LIST_INIT(main_coroutine.run_link),
                                          .thread = &main_thread};
static struct list runnable = LIST_INIT(runnable);
static struct list bottom_halves = LIST_INIT(bottom_halves);
static struct list works = LIST_INIT(works);
static struct rb_tree timers;
static nsec_t now_ns = NSEC_PER_SEC;

/* --- clock and timers ------------------------------------------------------------------------- */

nsec_t time_now(void)
{
    return now_ns;
}
nsec_t time_coarse(void)
{
    return now_ns;
}
nsec_t time_realtime(void)
{
    return now_ns + 1700000000 * NSEC_PER_SEC;
}
void realtime_set(nsec_t now)
{
    (void)now;
}
void floor_clock_set(nsec_t now)
{
    now_ns = MAX(now_ns, now);
}

static int timer_compare(const struct rb_node *a, const struct rb_node *b)
{
    nsec_t x = container_of(a, struct timer, node)->deadline;
    nsec_t y = container_of(b, struct timer, node)->deadline;
    return x < y ? -1 : x > y;
}

void timer_init(struct timer *t, void (*run)(struct timer *t))
{
    *t = (struct timer){.run = run, .cpu = -1};
}

void timer_arm(struct timer *t, nsec_t deadline)
{
    timer_cancel(t);
    t->deadline = t->due = deadline;
    t->cpu = 0;
    rb_insert(&timers, &t->node, timer_compare);
}

bool timer_cancel(struct timer *t)
{
    if (t->cpu < 0)
        return false;
    rb_remove(&timers, &t->node);
    t->cpu = -1;
    return true;
}

bool timer_cancel_sync(struct timer *t)
{
    return timer_cancel(t);
}

bool floor_timer_step(nsec_t limit)
{
    struct rb_node *n = rb_first(&timers);
    if (!n)
        return false;
    struct timer *t = container_of(n, struct timer, node);
    if (t->deadline > limit)
        return false;
    floor_clock_set(t->deadline);
    timer_cancel(t);
    bh_disable();
    t->run(t);
    /* The callback may have freed the timer: it is not touched again. */
    bh_enable();
    return true;
}

/* --- bottom halves and work ------------------------------------------------------------------- */

void bh_init(struct bottom_half *bh, void (*run)(struct bottom_half *bh))
{
    bh->run = run;
    bh->pending = false;
    list_init(&bh->link);
}

void bh_schedule(struct bottom_half *bh)
{
    if (bh->pending)
        return;
    bh->pending = true;
    list_push_back(&bottom_halves, &bh->link);
    floor_bh_pending = true;
}

void floor_run_bottom_halves(void)
{
    static bool running;
    if (running)
        return;
    running = true;
    struct bottom_half *bh;
    int depth = floor_bh_depth;
    floor_bh_depth = 1;
    while ((bh = list_pop_front(&bottom_halves, struct bottom_half, link))) {
        bh->pending = false;
        bh->run(bh);
    }
    floor_bh_depth = depth;
    floor_bh_pending = false;
    running = false;
}

void work_init(struct work *w, void (*run)(struct work *w))
{
    w->run = run;
    w->pending = false;
    list_init(&w->link);
}

void work_schedule(struct work *w)
{
    if (w->pending)
        return;
    w->pending = true;
    list_push_back(&works, &w->link);
}

bool floor_work_step(void)
{
    struct work *w = list_pop_front(&works, struct work, link);
    if (!w)
        return false;
    w->pending = false;
    w->run(w);
    return true;
}

/* --- coroutines ------------------------------------------------------------------------------- */

static struct thread *to_release;

static struct coroutine *coroutine_of(struct thread *t)
{
    return t == &main_thread ? &main_coroutine : t->context.coroutine;
}

static void make_runnable(struct thread *t)
{
    t->state = THREAD_RUNNABLE;
    list_push_back(&runnable, &coroutine_of(t)->run_link);
}

static struct thread *next_runnable(void)
{
    struct coroutine *c = list_pop_front(&runnable, struct coroutine, run_link);
    return c ? c->thread : NULL;
}

static void release_dead(void)
{
    struct thread *t = to_release;
    if (!t)
        return;
    to_release = NULL;
    struct coroutine *c = t->context.coroutine;
    bool allocated = c->allocated;
    free(c->stack);
    free(c);
    if (t->release)
        t->release(t);
    else if (allocated)
        free(t);
}

static void switch_to(struct thread *t)
{
    struct thread *from = floor_current;
    if (t == from)
        return;
    floor_current = t;
    swapcontext(&coroutine_of(from)->context, &coroutine_of(t)->context);
    release_dead();
}

bool floor_thread_step(void)
{
    struct thread *t = next_runnable();
    if (!t)
        return false;
    /* The current one goes to the end and is resumed in its turn. */
    if (floor_current->state == THREAD_RUNNABLE)
        make_runnable(floor_current);
    switch_to(t);
    return true;
}

static bool progress(nsec_t limit)
{
    if (floor_bh_pending && floor_bh_depth == 0) {
        floor_run_bottom_halves();
        return true;
    }
    return floor_work_step() || floor_timer_step(limit);
}

/* Runs others until the current thread is runnable again or the deadline has passed. */
static void block(nsec_t deadline)
{
    struct thread *self = floor_current;
    ASSERT(floor_bh_depth == 0);
    while (self->state == THREAD_SLEEPING) {
        struct thread *t = next_runnable();
        if (t == self)
            return;
        if (t) {
            switch_to(t);
        } else if (!progress(MIN(deadline, now_ns))) {
            if (!floor_timer_step(deadline)) {
                if (deadline == NSEC_NEVER)
                    panic("deadlock: thread %s would sleep for ever", self->name);
                floor_clock_set(deadline);
                self->state = THREAD_RUNNABLE;
            }
        }
    }
    list_remove(&coroutine_of(self)->run_link);
}

static void coroutine_main(void)
{
    release_dead();
    floor_current->entry(floor_current->arg);
    thread_exit();
}

int thread_init(struct thread *t, void (*entry)(void *arg), void *arg, const char *name)
{
    struct coroutine *c = calloc(1, sizeof(*c));
    c->stack = malloc(COROUTINE_STACK);
    getcontext(&c->context);
    c->context.uc_stack.ss_sp = c->stack;
    c->context.uc_stack.ss_size = COROUTINE_STACK;
    makecontext(&c->context, coroutine_main, 0);
    t->context.coroutine = c;
    t->entry = entry;
    t->arg = arg;
    t->state = THREAD_NEW;
    c->thread = t;
    list_init(&c->run_link);
    str_copy(t->name, name, sizeof(t->name));
    return 0;
}

void thread_start(struct thread *t)
{
    make_runnable(t);
}

int thread_create(struct thread **out, void (*entry)(void *arg), void *arg, const char *name)
{
    struct thread *t = calloc(1, sizeof(*t));
    thread_init(t, entry, arg, name);
    ((struct coroutine *)t->context.coroutine)->allocated = true;
    thread_start(t);
    if (out)
        *out = t;
    return 0;
}

void thread_exit(void)
{
    struct thread *self = floor_current;
    self->state = THREAD_DEAD;
    to_release = self;
    struct thread *t;
    while (!(t = next_runnable()))
        if (!progress(NSEC_NEVER - 1))
            panic("deadlock: all threads sleep");
    switch_to(t);
    abort();
}

int thread_set_affinity(struct thread *t, cpumask_t mask)
{
    if (!(mask & 1)) /* there is CPU 0 only */
        return -EINVAL;
    t->affinity = mask;
    return 0;
}

void thread_grace_period(void)
{
    /* One CPU: while this thread runs, all others sleep or have yielded. */
}

void thread_wake(struct thread *t)
{
    if (t->state == THREAD_SLEEPING)
        make_runnable(t);
}

void thread_interrupt(struct thread *t)
{
    t->interrupted = true;
    if (t->interruptible)
        thread_wake(t);
}

bool thread_interrupted(void)
{
    return floor_current->interrupted;
}

void thread_yield(void)
{
    if (!floor_thread_step() && floor_bh_depth == 0)
        progress(now_ns);
}

void cond_resched(void) {}

int thread_sleep_until(nsec_t deadline, bool interruptible)
{
    struct wait_queue q = WAIT_QUEUE_INIT(q);
    int err = wait_event_full(&q, false, interruptible ? WAIT_INTERRUPTIBLE : WAIT_UNINTERRUPTIBLE,
                              deadline, false);
    return err == -ETIMEDOUT ? 0 : err;
}

/* --- wait queues ------------------------------------------------------------------------------ */

void wait_queue_init(struct wait_queue *q)
{
    spin_init(&q->lock);
    list_init(&q->entries);
}

void wait_add(struct wait_queue *q, struct wait_entry *e)
{
    e->queue = q;
    if (e->exclusive)
        list_push_back(&q->entries, &e->link);
    else
        list_push_front(&q->entries, &e->link);
}

void wait_remove(struct wait_entry *e)
{
    if (e->queue)
        list_remove(&e->link);
    e->queue = NULL;
}

void wake_up_max(struct wait_queue *q, unsigned key, int max)
{
    struct wait_entry *e, *tmp;
    list_for_each_safe (e, tmp, &q->entries, link) {
        bool exclusive = e->exclusive;
        if (e->callback(e, key) && exclusive && --max == 0)
            break;
    }
}

void wake_up_key(struct wait_queue *q, unsigned key)
{
    wake_up_max(q, key, 1);
}
void wake_up(struct wait_queue *q)
{
    wake_up_max(q, ~0u, 1);
}

static bool wake_thread(struct wait_entry *e, unsigned key)
{
    (void)key;
    thread_wake(e->owner);
    return true;
}

void wait_prepare(struct wait_queue *q, struct wait_entry *e, enum wait_mode mode, bool exclusive)
{
    if (!e->queue) {
        e->callback = wake_thread;
        e->owner = floor_current;
        e->exclusive = exclusive;
        wait_add(q, e);
    }
    floor_current->interruptible = mode == WAIT_INTERRUPTIBLE;
    floor_current->state = THREAD_SLEEPING;
}

int wait_commit(nsec_t deadline)
{
    struct thread *self = floor_current;
    if (self->interruptible && self->interrupted)
        return -ERESTARTSYS;
    block(deadline);
    if (self->interruptible && self->interrupted)
        return -ERESTARTSYS;
    return deadline != NSEC_NEVER && now_ns >= deadline ? -ETIMEDOUT : 0;
}

void wait_finish(struct wait_entry *e)
{
    wait_remove(e);
    struct thread *self = floor_current;
    list_remove(&coroutine_of(self)->run_link);
    self->state = THREAD_RUNNABLE;
}

/* --- locks ------------------------------------------------------------------------------------ */

void spin_wait(spinlock_t *l)
{
    (void)l;
    panic("deadlock: spin lock taken twice");
}

void mutex_init(struct mutex *m)
{
    spin_init(&m->lock);
    m->held = false;
    m->owner = NULL;
    list_init(&m->waiters);
}

void mutex_lock(struct mutex *m)
{
    ASSERT(m->owner != floor_current);
    while (m->held)
        thread_yield();
    m->held = true;
    m->owner = floor_current;
}

bool mutex_trylock(struct mutex *m)
{
    if (m->held)
        return false;
    mutex_lock(m);
    return true;
}

void mutex_unlock(struct mutex *m)
{
    ASSERT(m->held && m->owner == floor_current);
    m->held = false;
    m->owner = NULL;
}

void rwlock_init(struct rwlock *l)
{
    spin_init(&l->lock);
    l->readers = 0;
    list_init(&l->waiters);
}

void rwlock_read(struct rwlock *l)
{
    while (l->readers < 0)
        thread_yield();
    l->readers++;
}

void rwlock_read_done(struct rwlock *l)
{
    ASSERT(l->readers > 0);
    l->readers--;
}

void rwlock_write(struct rwlock *l)
{
    while (l->readers)
        thread_yield();
    l->readers = -1;
}

void rwlock_write_done(struct rwlock *l)
{
    ASSERT(l->readers == -1);
    l->readers = 0;
}

/* --- driving from a test ---------------------------------------------------------------------- */

void floor_run(void)
{
    ASSERT(floor_bh_depth == 0);
    while (floor_thread_step() || progress(now_ns))
        ;
}

void floor_advance(nsec_t ns)
{
    nsec_t end = now_ns + ns;
    floor_run();
    while (floor_timer_step(end))
        floor_run();
    floor_clock_set(end);
}

bool floor_run_until(bool (*cond)(void *arg), void *arg, nsec_t ns)
{
    nsec_t end = now_ns + ns;
    floor_run();
    while (!cond(arg)) {
        if (!floor_timer_step(end)) {
            floor_clock_set(end);
            return cond(arg);
        }
        floor_run();
    }
    return true;
}
