/* Making and ending threads, and sleeping. */
#include "core/thread.h"

#include "arch/arch.h"
#include "core/main.h"
#include "core/mem.h"
#include "core/timer.h"
#include "core/wait.h"

static NORETURN void run_entry(struct thread *t)
{
    t->entry(t->arg);
    thread_exit();
}

static void entry_trampoline(struct thread *t)
{
    run_entry(t);
}

int thread_init(struct thread *t, void (*entry)(void *arg), void *arg, const char *name)
{
    t->stack = stack_alloc();
    if (!t->stack)
        return -ENOMEM;
    t->state = THREAD_NEW;
    t->affinity = ~0ul;
    t->cpu_seen = -1;
    t->entry = entry;
    t->arg = arg;
    spin_init(&t->lock);
    str_copy(t->name, name, sizeof(t->name));
    arch_context_init(t, entry_trampoline);
    return 0;
}

void thread_discard(struct thread *t)
{
    ASSERT(t->state == THREAD_NEW);
    stack_free(t->stack);
    t->stack = NULL;
}

int thread_create(struct thread **out, void (*entry)(void *arg), void *arg, const char *name)
{
    struct thread *t = kzalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    int err = thread_init(t, entry, arg, name);
    if (err) {
        kfree(t);
        return err;
    }
    if (out)
        *out = t;
    thread_start(t);
    return 0;
}

void thread_exit(void)
{
    struct thread *t = thread_current();
    unsigned long flags = spin_lock_irqsave(&t->lock);

    t->state = THREAD_DEAD;
    spin_unlock_irqrestore(&t->lock, flags);
    schedule();
    panic("a dead thread runs");
}

struct sleep_timer {
    struct timer timer;
    struct thread *thread;
    bool expired;
};

static void sleep_expired(struct timer *t)
{
    struct sleep_timer *s = container_of(t, struct sleep_timer, timer);
    struct thread *thread = s->thread;

    WRITE_ONCE(s->expired, true);
    thread_wake(thread);
}

/* Sleeps if the thread's state still says so. -ETIMEDOUT, -ERESTARTSYS or 0. */
static int sleep_prepared(nsec_t deadline)
{
    struct thread *t = thread_current();

    if (READ_ONCE(t->state) != THREAD_SLEEPING) /* woken already */
        return t->interruptible && t->interrupted ? -ERESTARTSYS : 0;
    if (deadline == NSEC_NEVER) {
        schedule();
        return t->interruptible && t->interrupted ? -ERESTARTSYS : 0;
    }
    struct sleep_timer s = {.thread = t};
    timer_init(&s.timer, sleep_expired);
    timer_arm(&s.timer, deadline);
    schedule();
    /* The callback uses this stack frame. */
    timer_cancel_sync(&s.timer);
    if (t->interruptible && t->interrupted)
        return -ERESTARTSYS;
    return s.expired ? -ETIMEDOUT : 0;
}

static void set_sleeping(struct thread *t, bool interruptible)
{
    t->interruptible = interruptible;
    /* Before the condition is looked at; pairs with the lock in thread_wake. */
    __atomic_exchange_n(&t->state, THREAD_SLEEPING, __ATOMIC_SEQ_CST);
}

/* Without its lock: a waker that comes at the same time wants the same. */
static void set_running(struct thread *t)
{
    WRITE_ONCE(t->state, THREAD_RUNNABLE);
}

int thread_sleep_until(nsec_t deadline, bool interruptible)
{
    struct thread *t = thread_current();
    int err = 0;

    while (!err) {
        set_sleeping(t, interruptible);
        err = sleep_prepared(deadline);
    }
    set_running(t);
    return err == -ETIMEDOUT ? 0 : err;
}

void wait_prepare(struct wait_queue *q, struct wait_entry *e, enum wait_mode mode, bool exclusive)
{
    struct thread *t = thread_current();

    ASSERT(!in_bh());
    set_sleeping(t, mode == WAIT_INTERRUPTIBLE);
    if (!e->queue) {
        e->callback = wait_wake_thread;
        e->owner = t;
        e->exclusive = exclusive;
        wait_add(q, e);
    }
}

int wait_commit(nsec_t deadline)
{
    return sleep_prepared(deadline);
}

void wait_finish(struct wait_entry *e)
{
    set_running(thread_current());
    wait_remove(e);
}
