/* The system calls on signals. */
#include "linux/clock.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

static inline struct task *self(void)
{
    return (struct task *)thread_current();
}

static bool valid(int signo)
{
    return signo >= 1 && signo <= SIG_COUNT;
}

/* --- sending ---------------------------------------------------------------------------------- */

int signal_permission(struct process *p, int signo)
{
    const struct cred *me = current_cred(), *it = p->fs.cred;
    if (me->euid == it->suid || me->euid == it->uid || me->uid == it->suid || me->uid == it->uid)
        return 0;
    if (signo == SIGCONT_N && p->sid == current_process()->sid)
        return 0;
    return capable(5 /* CAP_KILL */) ? 0 : -EPERM;
}

static struct siginfo_k from_me(int signo, int code)
{
    return (struct siginfo_k){
        .signo = signo, .code = code, .pid = current_process()->pid, .uid = current_cred()->uid};
}

/* Sends to all processes that match (pgid, or everybody but pid 1 and the sender for -1). As on
 * Linux, -1 succeeds where there is anybody, even if nobody may be signalled. */
static int kill_many(int pgid, int signo, const struct siginfo_k *info)
{
    int sent = 0, denied = 0;
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->pid == 1 || (pgid == -1 ? p == current_process() : p->pgid != pgid))
            continue;
        if (signal_permission(p, signo)) {
            denied++;
            continue;
        }
        sent++;
        if (signo)
            signal_send_locked(p, NULL, signo, info);
    }
    spin_unlock_bh(&process_lock);
    return sent || (denied && pgid == -1) ? 0 : denied ? -EPERM : -ESRCH;
}

static int kill_one(int pid, int signo, const struct siginfo_k *info)
{
    struct process *p = process_find(pid);
    if (!p)
        return -ESRCH;
    int err = signal_permission(p, signo);
    if (!err && signo && pid != 1)
        err = signal_send_process(p, signo, info);
    process_put(p);
    return err;
}

long sys_kill(int pid, int signo)
{
    struct siginfo_k info = from_me(signo, SI_USER_N);
    if (signo < 0 || signo > SIG_COUNT)
        return -EINVAL;
    if (pid > 0)
        return kill_one(pid, signo, &info);
    if (pid == (int)0x80000000)
        return -ESRCH;
    return kill_many(pid == 0 ? current_process()->pgid : pid == -1 ? -1 : -pid, signo, &info);
}

static int kill_task(int tgid, int tid, int signo, const struct siginfo_k *info)
{
    int err = -ESRCH;
    if (signo < 0 || signo > SIG_COUNT || tid <= 0)
        return -EINVAL;
    spin_lock_bh(&process_lock);
    struct task *t = task_find_locked(tid);
    if (t && (tgid == 0 || t->process->pid == tgid)) {
        err = signal_permission(t->process, signo);
        if (!err && signo && t->process->pid != 1)
            err = signal_send_locked(t->process, t, signo, info);
    }
    spin_unlock_bh(&process_lock);
    return err;
}

long sys_tkill(int tid, int signo)
{
    struct siginfo_k info = from_me(signo, SI_TKILL_N);
    return kill_task(0, tid, signo, &info);
}

long sys_tgkill(int tgid, int tid, int signo)
{
    struct siginfo_k info = from_me(signo, SI_TKILL_N);
    return tgid <= 0 ? -EINVAL : kill_task(tgid, tid, signo, &info);
}

/* The caller's siginfo; it may not pretend to be the kernel or kill(2) towards others. */
static int get_info(uaddr_t src, int pid, int signo, struct siginfo_k *info)
{
    char raw[128];
    if (copy_from_user(raw, src, sizeof(raw)))
        return -EFAULT;
    siginfo_import(raw, info);
    info->signo = signo;
    if ((info->code >= 0 || info->code == SI_TKILL_N) && pid != current_process()->pid)
        return -EPERM;
    return 0;
}

long sys_rt_sigqueueinfo(int pid, int signo, uaddr_t uinfo)
{
    struct siginfo_k info;
    int err = get_info(uinfo, pid, signo, &info);
    if (err)
        return err;
    if (signo < 0 || signo > SIG_COUNT)
        return -EINVAL;
    return pid <= 0 ? -ESRCH : kill_one(pid, signo, &info);
}

long sys_rt_tgsigqueueinfo(int tgid, int tid, int signo, uaddr_t uinfo)
{
    struct siginfo_k info;
    if (tgid <= 0 || tid <= 0)
        return -EINVAL;
    int err = get_info(uinfo, tgid, signo, &info);
    return err ? err : kill_task(tgid, tid, signo, &info);
}

/* --- actions and masks ------------------------------------------------------------------------ */

long sys_rt_sigaction(int signo, uaddr_t act, uaddr_t old, size_t size)
{
    struct sighand *sh = current_process()->sighand;
    struct sigaction_k new_action, old_action;
    if (size != sizeof(sigset_k) || !valid(signo))
        return -EINVAL;
    if (act && (signo == SIGKILL_N || signo == SIGSTOP_N))
        return -EINVAL;
    if (act && copy_from_user(&new_action, act, sizeof(new_action)))
        return -EFAULT;
    spin_lock_bh(&process_lock);
    spin_lock_bh(&sh->lock);
    old_action = sh->action[signo - 1];
    if (act) {
        new_action.mask &= ~(SIG_BIT(SIGKILL_N) | SIG_BIT(SIGSTOP_N));
        sh->action[signo - 1] = new_action;
        bool ignore = new_action.handler == SIG_IGN_N ||
                      (new_action.handler == SIG_DFL_N && signal_default_ignored(signo));
        if (ignore) { /* POSIX: what is pending is discarded */
            struct task *t;
            signal_discard(sh, &sh->pending, &sh->queue, SIG_BIT(signo));
            list_for_each (t, &current_process()->tasks, group_link)
                signal_discard(sh, &t->pending, &t->pending_info, SIG_BIT(signo));
        }
    }
    spin_unlock_bh(&sh->lock);
    spin_unlock_bh(&process_lock);
    return old && copy_to_user(old, &old_action, sizeof(old_action)) ? -EFAULT : 0;
}

long sys_rt_sigprocmask(int how, uaddr_t set, uaddr_t old, size_t size)
{
    sigset_k before = self()->blocked, mask;
    if (size != sizeof(sigset_k))
        return -EINVAL;
    if (set) {
        if (copy_from_user(&mask, set, sizeof(mask)))
            return -EFAULT;
        switch (how) {
        case 0: /* SIG_BLOCK */
            mask |= before;
            break;
        case 1: /* SIG_UNBLOCK */
            mask = before & ~mask;
            break;
        case 2: /* SIG_SETMASK */
            break;
        default:
            return -EINVAL;
        }
        signal_set_mask(mask);
    }
    return old && copy_to_user(old, &before, sizeof(before)) ? -EFAULT : 0;
}

long sys_rt_sigpending(uaddr_t set, size_t size)
{
    struct task *t = self();
    if (size > sizeof(sigset_k))
        return -EINVAL;
    sigset_k pending = (t->pending | t->process->sighand->pending) & t->blocked;
    return copy_to_user(set, &pending, size) ? -EFAULT : 0;
}

static struct wait_queue never = WAIT_QUEUE_INIT(never);

long sys_pause(void)
{
    wait_event_interruptible(&never, false);
    return -ERESTARTNOHAND;
}

long sys_rt_sigsuspend(uaddr_t set, size_t size)
{
    int err = signal_set_temporary_mask(set, size);
    if (err)
        return err;
    wait_event_interruptible(&never, false);
    return signal_end_temporary_mask(-ERESTARTNOHAND);
}

long sys_rt_sigtimedwait(uaddr_t set, uaddr_t uinfo, uaddr_t timeout, size_t size)
{
    struct task *t = self();
    struct siginfo_k info;
    sigset_k want;
    nsec_t deadline;
    if (size != sizeof(want))
        return -EINVAL;
    if (copy_from_user(&want, set, sizeof(want)))
        return -EFAULT;
    int err = get_timeout(timeout, &deadline);
    if (err)
        return err;
    want &= ~(SIG_BIT(SIGKILL_N) | SIG_BIT(SIGSTOP_N));
    if (!signal_dequeue(t, want, &info)) {
        if (deadline <= time_now())
            return -EAGAIN;
        /* While we wait the signals count as wanted, so that ignored ones are not dropped and the
         * sender's interrupt does not matter. */
        bool got = false;
        err = wait_event_timeout(signal_wait_queue(t->process),
                                 (got = signal_dequeue(t, want, &info)), deadline);
        if (!got)
            return err == -ETIMEDOUT ? -EAGAIN : -EINTR;
    }
    if (uinfo) {
        char raw[128];
        siginfo_export(&info, raw);
        if (copy_to_user(uinfo, raw, sizeof(raw)))
            return -EFAULT;
    }
    return info.signo;
}

/* --- alternate stack -------------------------------------------------------------------------- */

#define SS_ONSTACK_N 1u
#define SS_DISABLE_N 2u
#define SS_AUTODISARM_N 0x80000000u
#define MIN_STACK 2048

long sys_sigaltstack(uaddr_t new_stack, uaddr_t old_stack)
{
    struct task *t = self();
    struct {
        uint64_t sp;
        uint32_t flags, pad;
        uint64_t size;
    } ss, old = {.sp = t->altstack.sp, .size = t->altstack.size};
    uaddr_t sp = user_regs_sp(user_regs_current());
    bool on = t->altstack.size && sp - t->altstack.sp <= t->altstack.size && sp > t->altstack.sp;
    old.flags = !t->altstack.size ? SS_DISABLE_N : on ? SS_ONSTACK_N : 0;
    old.flags |= t->altstack.flags & SS_AUTODISARM_N;
    if (new_stack) {
        if (copy_from_user(&ss, new_stack, sizeof(ss)))
            return -EFAULT;
        if (on)
            return -EPERM;
        unsigned mode = ss.flags & ~SS_AUTODISARM_N;
        if (mode != 0 && mode != SS_ONSTACK_N && mode != SS_DISABLE_N)
            return -EINVAL;
        if (mode == SS_DISABLE_N)
            ss.sp = ss.size = 0;
        else if (ss.size < MIN_STACK)
            return -ENOMEM;
        t->altstack.sp = ss.sp;
        t->altstack.size = ss.size;
        t->altstack.flags = ss.flags & SS_AUTODISARM_N;
    }
    return old_stack && copy_to_user(old_stack, &old, sizeof(old)) ? -EFAULT : 0;
}

long sys_rt_sigreturn(void)
{
    return sigframe_return(user_regs_current());
}

long sys_restart_syscall(void)
{
    struct task *t = self();
    long (*fn)(struct task *) = t->restart.fn;
    t->restart.fn = NULL;
    return fn ? fn(t) : -EINTR;
}
