/* Who is traced, and the records of a trace: linux/trace.h. */
#include "linux/trace.h"

#include "core/bootargs.h"
#include "core/timer.h"
#include "linux/monitor.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"
#include "linux/trace_record.h"

#define WAIT_LIMIT (10 * NSEC_PER_SEC)

static bool tracing, follows;
static bool hold; /* the next task waits for a tracer */
static struct wait_queue begun = WAIT_QUEUE_INIT(begun);

static void send_of(struct monitor *m, const struct task *t, enum monitor_type type, unsigned nr,
                    const void *data, size_t n)
{
    struct monitor_record h = {.length = (uint32_t)ROUND_UP(sizeof(h) + n, 8),
                               .type = (uint16_t)type,
                               .number = (uint16_t)nr,
                               .pid = (uint32_t)t->process->pid,
                               .tid = (uint32_t)t->tid,
                               .time = (uint64_t)time_realtime()};
    if (!monitor_begin(m, &h))
        return;
    monitor_add(m, data, n);
    monitor_end(m);
}

static void send(struct monitor *m, enum monitor_type type, unsigned nr, const void *data, size_t n)
{
    send_of(m, (struct task *)thread_current(), type, nr, data, n);
}

/* Tells of a call that the task sleeps in, without what its arguments point to; its return is not
 * told. The task may wake meanwhile: then this is what it did last. Under process_lock. */
static void tell_sleeping(struct monitor *m, const struct task *t)
{
    const struct user_regs *regs = arch_context_regs(&t->thread.context);
    uint64_t args[6];
    long nr;
    bool began = user_regs_ip(regs) != 0; /* it was in user mode before */
    if (READ_ONCE(t->thread.state) != THREAD_SLEEPING || !began ||
        !syscall_interrupted(regs, &nr) || nr >= (long)MONITOR_CALLS ||
        !(monitor_asked(m)->calls[nr / 64] >> nr % 64 & 1))
        return;
    for (unsigned i = 0; i < 6; i++)
        args[i] = user_regs_arg(regs, i);
    send_of(m, t, MONITOR_ENTRY, (unsigned)nr, args, sizeof(args));
}

/* Tells what those that are traced do now. */
static void tell_present(void)
{
    struct monitor *m = monitor_get(MONITOR_TRACE);
    if (!m)
        return;
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        const struct task *t;
        if (!p->traced)
            continue;
        list_for_each (t, &p->tasks, group_link)
            tell_sleeping(m, t);
    }
    spin_unlock_bh(&process_lock);
    monitor_put(m);
}

/* Marks the processes that are traced from now on; false: none is. */
static bool choose(uint32_t pid)
{
    bool any = false;
    spin_lock_bh(&process_lock);
    const struct task *t = pid && pid <= INT32_MAX ? task_find_locked((int)pid) : NULL;
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        p->traced = pid ? t && t->process == p : p != init_process;
        any |= p->traced;
    }
    spin_unlock_bh(&process_lock);
    return any;
}

int trace_arm(const struct ctl_monitor *ask)
{
    if (ask && !choose(ask->pid))
        return -ESRCH;
    if (ask)
        tell_present();
    follows = ask && ask->flags & MONITOR_FOLLOW;
    syscall_trace(ask != NULL);
    WRITE_ONCE(tracing, ask != NULL);
    wake_up(&begun);
    return 0;
}

bool trace_follows(void)
{
    return READ_ONCE(tracing) && follows;
}

void trace_init(void)
{
    const char *arg = bootarg("trace");
    hold = arg && !strcmp(arg, "1");
}

void trace_wait(void)
{
    if (likely(!READ_ONCE(hold)) || !__atomic_exchange_n(&hold, false, __ATOMIC_RELAXED))
        return;
    if (wait_event_timeout(&begun, READ_ONCE(tracing), time_now() + WAIT_LIMIT) == -ETIMEDOUT)
        klog(LOG_WARN, "trace: nobody came, the program starts untraced");
}

/* The monitor, referenced, if the current task is traced, else NULL. */
static struct monitor *monitor_of_current(void)
{
    if (likely(!READ_ONCE(tracing)) || !current_process()->traced)
        return NULL;
    return monitor_get(MONITOR_TRACE);
}

bool trace_enter(struct trace_call *c, const struct user_regs *regs, uint64_t nr)
{
    struct monitor *m = nr < MONITOR_CALLS ? monitor_of_current() : NULL;
    if (!m)
        return false;
    bool told = monitor_asked(m)->calls[nr / 64] >> nr % 64 & 1;
    struct capture *out = told ? kmalloc(sizeof(*out)) : NULL;
    if (out) {
        for (unsigned i = 0; i < 6; i++)
            c->args[i] = user_regs_arg(regs, i);
        c->nr = (unsigned)nr;
        c->begin = time_now();
        out->len = 0;
        capture_put(out, c->args, sizeof(c->args));
        capture_args(out, c->nr, c->args, NULL, monitor_asked(m)->snap);
        send(m, MONITOR_ENTRY, c->nr, out->data, out->len);
        kfree(out);
    }
    monitor_put(m);
    return out;
}

void trace_leave(const struct trace_call *c, long result)
{
    struct monitor_exit e = {.result = result, .duration = (uint64_t)(time_now() - c->begin)};
    struct monitor *m = monitor_of_current();
    if (!m)
        return;
    struct capture *out = kmalloc(sizeof(*out));
    if (out) {
        memcpy(e.args, c->args, sizeof(e.args));
        out->len = 0;
        capture_put(out, &e, sizeof(e));
        capture_args(out, c->nr, c->args, &result, monitor_asked(m)->snap);
        send(m, MONITOR_EXIT, c->nr, out->data, out->len);
        kfree(out);
    }
    monitor_put(m);
}

void trace_signal(const struct siginfo_k *info)
{
    struct monitor *m = monitor_of_current();
    if (!m)
        return;
    struct monitor_signal s = {.signo = info->signo,
                               .code = info->code,
                               .pid = info->pid,
                               .uid = info->uid,
                               .addr = info->addr};
    send(m, MONITOR_SIGNAL, 0, &s, sizeof(s));
    monitor_put(m);
}

void trace_end(int status)
{
    struct monitor *m = monitor_of_current();
    if (!m)
        return;
    uint64_t value = (uint32_t)status;
    send(m, MONITOR_END, 0, &value, sizeof(value));
    monitor_put(m);
}
