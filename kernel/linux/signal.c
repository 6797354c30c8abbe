/*
 * Signals: sending, pending sets, and taking them on the way back to user mode.
 *
 * Sending runs under process_lock (who is there) and sighand->lock (what is pending); both are
 * bh-safe, as timers send signals. A standard signal is pending at most once, real-time ones queue
 * up.
 */
#include "linux/signals.h"

#include <linux/resource.h>

#include "linux/core_dump.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/trace.h"

#define STOP_SIGNALS                                                                               \
    (SIG_BIT(SIGSTOP_N) | SIG_BIT(SIGTSTP_N) | SIG_BIT(SIGTTIN_N) | SIG_BIT(SIGTTOU_N))
#define IGNORED_SIGNALS                                                                            \
    (SIG_BIT(SIGCHLD_N) | SIG_BIT(SIGCONT_N) | SIG_BIT(SIGURG_N) | SIG_BIT(SIGWINCH_N))
#define CORE_SIGNALS                                                                               \
    (SIG_BIT(SIGQUIT_N) | SIG_BIT(SIGILL_N) | SIG_BIT(SIGTRAP_N) | SIG_BIT(SIGABRT_N) |            \
     SIG_BIT(SIGBUS_N) | SIG_BIT(SIGFPE_N) | SIG_BIT(SIGSEGV_N) | SIG_BIT(SIGXCPU_N) |             \
     SIG_BIT(SIGXFSZ_N) | SIG_BIT(SIGSYS_N))
#define SYNCHRONOUS_SIGNALS                                                                        \
    (SIG_BIT(SIGSEGV_N) | SIG_BIT(SIGBUS_N) | SIG_BIT(SIGILL_N) | SIG_BIT(SIGTRAP_N) |             \
     SIG_BIT(SIGFPE_N) | SIG_BIT(SIGSYS_N))
#define UNBLOCKABLE (SIG_BIT(SIGKILL_N) | SIG_BIT(SIGSTOP_N))

static inline struct task *self(void)
{
    return (struct task *)thread_current();
}

bool signal_default_ignored(int signo)
{
    return signo < SIGRTMIN_N && (IGNORED_SIGNALS & SIG_BIT(signo));
}

struct sighand *sighand_create(const struct sighand *from)
{
    struct sighand *sh = kzalloc(sizeof(*sh));
    if (!sh)
        return NULL;
    if (from)
        memcpy(sh->action, from->action, sizeof(sh->action));
    spin_init(&sh->lock);
    list_init(&sh->queue);
    wait_queue_init(&sh->wait);
    wait_queue_init(&sh->stop_wait);
    return sh;
}

static void entry_free(struct sighand *sh, struct signal_entry *e)
{
    list_remove(&e->link);
    if (!e->preallocated) {
        sh->queued--;
        kfree(e);
    }
}

void signal_discard(struct sighand *sh, sigset_k *pending, struct list *queue, sigset_k which)
{
    struct signal_entry *e, *tmp;
    *pending &= ~which;
    list_for_each_safe (e, tmp, queue, link) {
        if (SIG_BIT(e->info.signo) & which)
            entry_free(sh, e);
    }
}

void sighand_free(struct sighand *sh)
{
    signal_discard(sh, &sh->pending, &sh->queue, ~0ULL);
    kfree(sh);
}

void signal_flush_task(struct task *t)
{
    struct sighand *sh = t->process->sighand;
    spin_lock_bh(&sh->lock);
    signal_discard(sh, &t->pending, &t->pending_info, ~0ULL);
    spin_unlock_bh(&sh->lock);
}

void sighand_exec(struct sighand *sh)
{
    spin_lock_bh(&sh->lock);
    for (int i = 0; i < SIG_COUNT; i++) {
        bool ignored = sh->action[i].handler == SIG_IGN_N;
        sh->action[i] = (struct sigaction_k){.handler = ignored ? SIG_IGN_N : SIG_DFL_N};
    }
    spin_unlock_bh(&sh->lock);
}

/* --- sending ---------------------------------------------------------------------------------- */

static bool ignored(const struct sighand *sh, int signo)
{
    uint64_t handler = sh->action[signo - 1].handler;
    return handler == SIG_IGN_N || (handler == SIG_DFL_N && signal_default_ignored(signo));
}

/* A timer has one signal pending at most, which counts further expirations. True if it has. */
static bool add_overrun(struct list *queue, const struct siginfo_k *info)
{
    struct signal_entry *e;
    list_for_each (e, queue, link) {
        if (e->info.code == SI_TIMER_N && e->info.timer_id == info->timer_id) {
            int64_t sum = (int64_t)e->info.overrun + info->overrun + 1;
            e->info.overrun = (int)MIN(sum, INT32_MAX);
            return true;
        }
    }
    return false;
}

/* Puts the signal on a pending set. -EAGAIN: a queued signal's information has no room. */
static int enqueue(struct process *p, sigset_k *pending, struct list *queue, int signo,
                   const struct siginfo_k *info)
{
    struct sighand *sh = p->sighand;
    bool realtime = signo >= SIGRTMIN_N;
    if (info && info->code == SI_TIMER_N && (*pending & SIG_BIT(signo)) && add_overrun(queue, info))
        return 0;
    if (!realtime && (*pending & SIG_BIT(signo)))
        return 0;
    struct signal_entry *e = NULL;
    if ((uint64_t)sh->queued < p->rlimits[RLIMIT_SIGPENDING].cur || !realtime)
        e = kmalloc(sizeof(*e));
    if (e) {
        e->preallocated = false;
        e->info = info ? *info : (struct siginfo_k){.code = SI_KERNEL_N};
        e->info.signo = signo;
        list_push_back(queue, &e->link);
        sh->queued++;
    } else if (realtime && info && info->code != SI_USER_N) {
        return -EAGAIN;
    }
    *pending |= SIG_BIT(signo);
    return 0;
}

/* Continues or stops pending opposites: SIGCONT and stop signals undo each other when they are
 * sent. */
static void prepare_job_control(struct process *p, int signo)
{
    struct sighand *sh = p->sighand;
    struct task *t;
    sigset_k drop = 0;
    if (signo == SIGCONT_N)
        drop = STOP_SIGNALS;
    else if (signo < SIGRTMIN_N && (STOP_SIGNALS & SIG_BIT(signo)))
        drop = SIG_BIT(SIGCONT_N);
    if (drop) {
        signal_discard(sh, &sh->pending, &sh->queue, drop);
        list_for_each (t, &p->tasks, group_link)
            signal_discard(sh, &t->pending, &t->pending_info, drop);
    }
    if ((signo == SIGCONT_N || signo == SIGKILL_N) && p->stopped) {
        p->stopped = false;
        if (signo == SIGCONT_N) {
            p->continued = true;
            signal_parent(p, CLD_CONTINUED_N, SIGCONT_N);
        }
        wake_up(&sh->stop_wait);
    }
}

static bool wants(const struct task *t, int signo)
{
    return !(t->blocked & SIG_BIT(signo));
}

/* Who takes a signal to t, or to any task of p if that is NULL: nobody while it is blocked. */
static struct task *recipient(struct process *p, struct task *t, int signo)
{
    if (t)
        return wants(t, signo) ? t : NULL;
    list_for_each (t, &p->tasks, group_link) {
        if (wants(t, signo))
            return t;
    }
    return NULL;
}

int signal_send_locked(struct process *p, struct task *t, int signo, const struct siginfo_k *info)
{
    struct sighand *sh = p->sighand;
    int err = 0;
    if (p->zombie || list_empty(&p->tasks))
        return 0;
    spin_lock_bh(&sh->lock);
    prepare_job_control(p, signo);
    /* An ignored signal is dropped unless it is blocked: who waits for it may unblock it. */
    if (ignored(sh, signo) && recipient(p, t, signo))
        goto out;
    if (t)
        err = enqueue(p, &t->pending, &t->pending_info, signo, info);
    else
        err = enqueue(p, &sh->pending, &sh->queue, signo, info);
    if (!err) {
        wake_up(&sh->wait);
        /* signal_set_mask() takes no lock: it unblocks, then looks at what is pending. */
        atomic_thread_fence(memory_order_seq_cst);
        struct task *target = recipient(p, t, signo);
        if (target)
            thread_interrupt(&target->thread);
        if (signo == SIGKILL_N)
            wake_up(&sh->stop_wait);
    }
out:
    spin_unlock_bh(&sh->lock);
    return err;
}

int signal_send_process(struct process *p, int signo, const struct siginfo_k *info)
{
    spin_lock_bh(&process_lock);
    int err = signal_send_locked(p, NULL, signo, info);
    spin_unlock_bh(&process_lock);
    return err;
}

int signal_send_task(struct task *t, int signo, const struct siginfo_k *info)
{
    spin_lock_bh(&process_lock);
    int err = list_empty(&t->group_link) ? -ESRCH : signal_send_locked(t->process, t, signo, info);
    spin_unlock_bh(&process_lock);
    return err;
}

int signal_send_group(int pgid, int signo, const struct siginfo_k *info)
{
    int res = -ESRCH;
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->pgid == pgid && p->pid != 1) {
            int err = signo ? signal_send_locked(p, NULL, signo, info) : 0;
            res = res == 0 ? 0 : err;
        }
    }
    spin_unlock_bh(&process_lock);
    return res;
}

void signal_parent(struct process *p, int code, int status)
{
    struct process *parent = p->parent;
    if (!parent)
        return;
    if (!p->zombie || code) {
        struct siginfo_k info = {
            .signo = SIGCHLD_N,
            .code = code,
            .pid = p->pid,
            .uid = p->fs.cred->uid,
            .status = status,
            .utime = p->user_ns,
            .stime = p->system_ns,
        };
        bool job_control = code == CLD_STOPPED_N || code == CLD_CONTINUED_N;
        uint64_t flags = parent->sighand->action[SIGCHLD_N - 1].flags;
        int signo = job_control ? SIGCHLD_N : p->exit_signal;
        if (signo && parent->pid != 1 && !(job_control && (flags & SA_NOCLDSTOP_N)))
            signal_send_locked(parent, NULL, signo, &info);
    }
    wake_up(&parent->child_wait);
}

void signal_force(int signo, const struct siginfo_k *info)
{
    struct task *t = self();
    struct sighand *sh = t->process->sighand;
    spin_lock_bh(&sh->lock);
    struct sigaction_k *sa = &sh->action[signo - 1];
    if (sa->handler == SIG_IGN_N || !wants(t, signo)) {
        sa->handler = SIG_DFL_N; /* it cannot go on */
        t->blocked &= ~SIG_BIT(signo);
    }
    enqueue(t->process, &t->pending, &t->pending_info, signo, info);
    spin_unlock_bh(&sh->lock);
    t->thread.interrupted = true;
}

/* --- taking ----------------------------------------------------------------------------------- */

bool signal_pending(struct task *t)
{
    struct process *p = t->process;
    return ((t->pending | p->sighand->pending) & ~t->blocked) || p->exiting || p->stopped ||
           (p->exec_task && p->exec_task != t);
}

bool signal_fatal_pending(void)
{
    struct task *t = self();
    struct process *p = t->process;
    return READ_ONCE(t->thread.interrupted) &&
           (p->exiting || ((t->pending | p->sighand->pending) & SIG_BIT(SIGKILL_N)));
}

static bool take(struct sighand *sh, sigset_k *pending, struct list *queue, sigset_k set,
                 struct siginfo_k *info)
{
    sigset_k ready = *pending & set;
    if (!ready)
        return false;
    if (ready & SYNCHRONOUS_SIGNALS)
        ready &= SYNCHRONOUS_SIGNALS;
    int signo = __builtin_ctzll(ready) + 1;
    struct signal_entry *e, *found = NULL;
    bool more = false;
    list_for_each (e, queue, link) {
        if (e->info.signo != signo)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = e;
    }
    *info = found ? found->info : (struct siginfo_k){.signo = signo};
    if (found)
        entry_free(sh, found);
    if (!more)
        *pending &= ~SIG_BIT(signo);
    return true;
}

bool signal_dequeue(struct task *t, sigset_k set, struct siginfo_k *info)
{
    struct sighand *sh = t->process->sighand;
    if (!((READ_ONCE(t->pending) | READ_ONCE(sh->pending)) & set))
        return false;
    spin_lock_bh(&sh->lock);
    bool got = take(sh, &t->pending, &t->pending_info, set, info) ||
               take(sh, &sh->pending, &sh->queue, set, info);
    spin_unlock_bh(&sh->lock);
    if (got && info->code == SI_TIMER_N)
        posix_timer_delivered(t->process, info);
    return got;
}

struct wait_queue *signal_wait_queue(struct process *p)
{
    return &p->sighand->wait;
}

void signal_set_mask(sigset_k mask)
{
    struct task *t = self();
    struct sighand *sh = t->process->sighand;
    mask &= ~UNBLOCKABLE;
    sigset_k newly_blocked = mask & ~t->blocked;
    t->blocked = mask;
    atomic_thread_fence(memory_order_seq_cst);
    sigset_k pending = READ_ONCE(t->pending) | READ_ONCE(sh->pending);
    if (pending & ~mask)
        t->thread.interrupted = true;
    /* A process-wide signal this task was interrupted for: another one must take it now. */
    sigset_k pass_on = READ_ONCE(sh->pending) & newly_blocked;
    if (!pass_on || t->process->task_count == 1)
        return;
    spin_lock_bh(&process_lock);
    struct task *other;
    list_for_each (other, &t->process->tasks, group_link) {
        if (other != t && (pass_on & ~other->blocked))
            thread_interrupt(&other->thread);
    }
    spin_unlock_bh(&process_lock);
}

int signal_set_temporary_mask(uaddr_t set, size_t size)
{
    struct task *t = self();
    sigset_k mask;
    if (size != sizeof(mask))
        return -EINVAL;
    if (copy_from_user(&mask, set, sizeof(mask)))
        return -EFAULT;
    t->saved_blocked = t->blocked;
    t->restore_blocked = true;
    signal_set_mask(mask);
    return 0;
}

long signal_end_temporary_mask(long result)
{
    struct task *t = self();
    if (result == -ERESTARTNOHAND || result == -ERESTARTSYS || result == -ERESTART_RESTARTBLOCK ||
        (result == -EINTR && signal_pending(t))) {
        t->thread.interrupted = true; /* the mask goes back on the way out */
        return result;
    }
    t->restore_blocked = false;
    signal_set_mask(t->saved_blocked);
    return result;
}

/* --- on the way back to user mode ------------------------------------------------------------- */

static void stop(struct task *t, int signo)
{
    struct process *p = t->process;
    struct sighand *sh = p->sighand;
    spin_lock_bh(&process_lock);
    spin_lock_bh(&sh->lock);
    bool undone = (t->pending | sh->pending) & (SIG_BIT(SIGKILL_N) | SIG_BIT(SIGCONT_N));
    if (!undone && !p->stopped && !p->exiting) {
        p->stopped = true;
        p->stop_signal = signo;
        p->stop_reported = p->continued = false;
        struct task *other;
        list_for_each (other, &p->tasks, group_link) {
            if (other != t)
                thread_interrupt(&other->thread);
        }
        spin_unlock_bh(&sh->lock);
        signal_parent(p, CLD_STOPPED_N, signo);
    } else {
        spin_unlock_bh(&sh->lock);
    }
    spin_unlock_bh(&process_lock);
}

static void wait_while_stopped(struct process *p)
{
    wait_event(&p->sighand->stop_wait, !READ_ONCE(p->stopped) || READ_ONCE(p->exiting) ||
                                           (p->sighand->pending & SIG_BIT(SIGKILL_N)));
}

static void default_action(struct task *t, const struct siginfo_k *info)
{
    int signo = info->signo;
    if (signal_default_ignored(signo))
        return;
    if (signo < SIGRTMIN_N && (STOP_SIGNALS & SIG_BIT(signo))) {
        if (signo == SIGSTOP_N || !process_group_orphaned(t->process))
            stop(t, signo);
        return;
    }
    bool core = signo < SIGRTMIN_N && (CORE_SIGNALS & SIG_BIT(signo));
    if (core)
        klog(LOG_INFO, "%s[%d]: killed by signal %d (code %d) at ip %llx, address %llx", t->comm,
             t->process->pid, signo, info->code,
             (unsigned long long)user_regs_ip(user_regs_current()), (unsigned long long)info->addr);
    if (core)
        core_dump(info);
    process_exit_group(signo);
}

/* Decides about the system call that the signal interrupted. handler: one is going to run. */
static void finish_syscall(struct task *t, struct user_regs *regs, const struct sigaction_k *sa)
{
    long nr;
    if (!syscall_interrupted(regs, &nr))
        return;
    switch (-user_regs_result(regs)) {
    case ERESTARTSYS:
        if (sa && !(sa->flags & SA_RESTART_N))
            user_regs_set_result(regs, -EINTR);
        else
            user_regs_restart(regs, nr);
        break;
    case ERESTARTNOHAND:
        if (sa)
            user_regs_set_result(regs, -EINTR);
        else
            user_regs_restart(regs, nr);
        break;
    case ERESTART_RESTARTBLOCK:
        if (sa) {
            user_regs_set_result(regs, -EINTR);
            t->restart.fn = NULL;
        } else {
            user_regs_restart(regs, restart_syscall_nr());
        }
        break;
    }
}

static void run_handler(struct task *t, struct user_regs *regs, const struct sigaction_k *sa,
                        const struct siginfo_k *info)
{
    finish_syscall(t, regs, sa);
    sigset_k old = t->restore_blocked ? t->saved_blocked : t->blocked;
    t->restore_blocked = false;
    if (rseq_signal(t, regs) || sigframe_setup(regs, sa, info, old)) {
        struct siginfo_k segv = {.signo = SIGSEGV_N, .code = SI_KERNEL_N};
        if (info->signo == SIGSEGV_N) {
            spin_lock_bh(&t->process->sighand->lock);
            t->process->sighand->action[SIGSEGV_N - 1].handler = SIG_DFL_N;
            spin_unlock_bh(&t->process->sighand->lock);
        }
        signal_force(SIGSEGV_N, &segv);
        return;
    }
    sigset_k mask = t->blocked | sa->mask;
    if (!(sa->flags & SA_NODEFER_N))
        mask |= SIG_BIT(info->signo);
    signal_set_mask(mask);
}

/* Takes the next deliverable signal and its action; a SA_RESETHAND handler is reset. */
static bool next_signal(struct task *t, struct siginfo_k *info, struct sigaction_k *sa)
{
    struct sighand *sh = t->process->sighand;
    for (;;) {
        if (!signal_dequeue(t, ~t->blocked, info))
            return false;
        spin_lock_bh(&sh->lock);
        struct sigaction_k *action = &sh->action[info->signo - 1];
        *sa = *action;
        if (sa->handler > SIG_IGN_N && (sa->flags & SA_RESETHAND_N))
            action->handler = SIG_DFL_N;
        spin_unlock_bh(&sh->lock);
        if (sa->handler != SIG_IGN_N)
            return true;
    }
}

void personality_return_to_user(struct user_regs *regs)
{
    struct task *t = self();
    struct process *p = t->process;
    struct siginfo_k info;
    struct sigaction_k sa;
    bool handled = false;
    t->thread.interrupted = false;
    atomic_thread_fence(memory_order_seq_cst);
    for (;;) {
        if (p->exiting || (p->exec_task && p->exec_task != t)) {
            core_wait();
            task_exit(p->exit_status);
        }
        if (p->stopped) {
            wait_while_stopped(p);
            if (!p->stopped)
                continue;
        }
        if (!next_signal(t, &info, &sa))
            break;
        trace_signal(&info);
        if (sa.handler == SIG_DFL_N) {
            default_action(t, &info);
        } else {
            run_handler(t, regs, &sa, &info);
            handled = true;
        }
    }
    if (!handled)
        finish_syscall(t, regs, NULL);
    if (t->restore_blocked) {
        t->restore_blocked = false;
        signal_set_mask(t->saved_blocked);
    }
}
