/* clone, clone3, fork and vfork: new tasks and processes. */
#include <linux/resource.h>
#include <linux/sched.h>

#include "linux/mm.h"
#include "linux/pidfd.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"
#include "linux/trace.h"
#include "linux/tty.h"

#define NAMESPACES                                                                                 \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |  \
     CLONE_NEWNET)
#define THREAD_FLAGS (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FILES | CLONE_FS)

struct request {
    uint64_t flags;
    int exit_signal;
    uaddr_t stack; /* the new stack pointer; 0: the caller's */
    uaddr_t tls, parent_tid, child_tid, pidfd;
};

static int check(const struct request *r)
{
    uint64_t f = r->flags;
    if (f & NAMESPACES)
        return capable(21 /* CAP_SYS_ADMIN */) || (f & CLONE_NEWUSER) ? -EINVAL : -EPERM;
    if ((f & CLONE_THREAD) && !(f & CLONE_SIGHAND))
        return -EINVAL;
    if ((f & CLONE_SIGHAND) && !(f & CLONE_VM))
        return -EINVAL;
    /* Handlers, files and directories are a process' here, so a thread shares all of them, and
     * handlers are shared by threads only. */
    if ((f & CLONE_THREAD) && (f & THREAD_FLAGS) != THREAD_FLAGS)
        return -EINVAL;
    if (!(f & CLONE_THREAD) && (f & CLONE_SIGHAND))
        return -EINVAL;
    if (!(f & CLONE_THREAD) && (f & CLONE_FS))
        return -EINVAL;
    if ((f & CLONE_PIDFD) && (f & CLONE_THREAD))
        return -EINVAL;
    if ((f & CLONE_CLEAR_SIGHAND) && (f & CLONE_SIGHAND))
        return -EINVAL;
    if (f & CLONE_PTRACE)
        return -EINVAL;
    if ((f & CLONE_SETTLS) && r->tls >= USER_MAX)
        return -EPERM; /* the CPU refuses addresses that are not canonical, in our context */
    return 0;
}

/* Copies what a child process gets of its own. */
static int copy_process(struct process *p, const struct process *parent, uint64_t flags)
{
    p->sighand = sighand_create(parent->sighand);
    if (!p->sighand)
        return -ENOMEM;
    if (flags & CLONE_CLEAR_SIGHAND)
        sighand_exec(p->sighand);
    if (flags & CLONE_FILES) {
        fd_table_get(parent->files);
        p->files = parent->files;
    } else {
        p->files = fd_table_clone(parent->files);
        if (!p->files)
            return -ENOMEM;
    }
    if (flags & CLONE_VM) {
        mm_get(parent->mm);
        p->mm = parent->mm;
    } else {
        p->mm = mm_fork(parent->mm);
        if (!p->mm)
            return -ENOMEM;
    }
    return 0;
}

static void inherit(struct process *p, struct process *parent, uint64_t flags)
{
    mutex_lock(&parent->fs_lock);
    p->fs = parent->fs;
    path_get(&p->fs.root);
    path_get(&p->fs.cwd);
    mutex_unlock(&parent->fs_lock);
    memcpy(p->rlimits, parent->rlimits, sizeof(p->rlimits));
    p->dumpable = parent->dumpable;
    p->no_new_privs = parent->no_new_privs;
    p->keep_caps = parent->keep_caps;
    p->personality = parent->personality;
    p->oom_score_adj = parent->oom_score_adj;
    p->session = parent->session;
    p->traced = parent->traced && trace_follows();
    p->job = parent->job;
    job_get(p->job);
    p->exe_file = parent->exe_file;
    if (p->exe_file)
        file_get(p->exe_file);
    p->vfork_done = !(flags & CLONE_VFORK);
}

/* Undoes copy_process and inherit of a process that never ran. */
static void discard_process(struct process *p)
{
    process_release_parts(p);
    if (p->job)
        job_leave(p->job, 0, 0);
    process_put(p);
}

static void setup_task(struct task *t, const struct task *me, const struct request *r)
{
    t->start_regs = *user_regs_current();
    user_regs_set_result(&t->start_regs, 0);
    if (r->stack)
        user_regs_set_sp(&t->start_regs, r->stack);
    thread_copy_fpu(&t->thread);
    if (r->flags & CLONE_SETTLS)
        thread_set_tls(&t->thread, r->tls);
    str_copy(t->comm, me->comm, sizeof(t->comm));
    sched_policy_inherit(t, me);
    t->ioprio = me->ioprio;
    t->timer_slack = me->timer_slack;
    t->thread.affinity = me->thread.affinity;
    t->blocked = me->restore_blocked ? me->saved_blocked : me->blocked;
    if (r->flags & CLONE_CHILD_SETTID)
        t->set_child_tid = r->child_tid;
    if (r->flags & CLONE_CHILD_CLEARTID)
        t->clear_child_tid = r->child_tid;
    if (!(r->flags & CLONE_VM) || (r->flags & CLONE_VFORK))
        t->altstack = me->altstack;
    if (!(r->flags & CLONE_VM)) {
        t->rseq = me->rseq;
        t->rseq_len = me->rseq_len;
        t->rseq_sig = me->rseq_sig;
        t->thread.cpu_seen = me->thread.cpu_seen;
    }
}

static int nproc_limit(struct process *parent)
{
    const struct cred *cred = parent->fs.cred;
    uint64_t limit = parent->rlimits[RLIMIT_NPROC].cur, count = 0;
    if (limit == RLIM64_INFINITY || cred->uid == 0 || capable(21) || capable(24))
        return 0;
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->fs.cred && p->fs.cred->uid == cred->uid)
            count += (uint64_t)p->task_count;
    }
    return count >= limit ? -EAGAIN : 0;
}

/* Enters the new task into the table. With a fatal signal pending there is no child: the parent is
 * to end, and with it what it would have started. */
static int link_task(struct task *t, struct process *p, const struct request *r)
{
    struct process *me = current_process();
    bool thread = r->flags & CLONE_THREAD;
    spin_lock_bh(&process_lock);
    int err = me->exiting || (me->exec_task && thread) ? -ERESTARTSYS : nproc_limit(me);
    if (!err && !thread) {
        p->parent = r->flags & CLONE_PARENT ? me->parent : me;
        /* A sibling's end is told as ours is: a child must not choose what its parent gets. */
        p->exit_signal = r->flags & CLONE_PARENT ? me->exit_signal : r->exit_signal;
        p->autoreap = p->parent == init_process;
        p->pgid = me->pgid;
        p->sid = me->sid;
    }
    if (!err)
        err = task_link_locked(t, p, !thread);
    if (!err && !thread && me->tty) {
        tty_get(me->tty);
        p->tty = me->tty;
    }
    spin_unlock_bh(&process_lock);
    return err;
}

static long start_child(const struct request *r, struct process *p, struct task *t,
                        struct file *pidfd, int pidfd_nr)
{
    int tid = t->tid;
    bool vfork = r->flags & CLONE_VFORK;
    if (r->flags & CLONE_PARENT_SETTID)
        copy_to_user(r->parent_tid, &tid,
                     sizeof(tid)); /* as Linux: a bad pointer is not an error */
    if (pidfd)
        fd_commit(pidfd_nr, pidfd);
    if (vfork)
        ref_get(&p->refs);
    thread_start(&t->thread);
    if (vfork) {
        /* Not even killable: the child runs on our stack. It ends or becomes another program. */
        wait_event(&p->vfork_wait, READ_ONCE(p->vfork_done));
        process_put(p);
    }
    return tid;
}

static long do_clone(const struct request *r)
{
    struct task *me = (struct task *)thread_current();
    bool thread = r->flags & CLONE_THREAD;
    int err = check(r);
    if (err)
        return err;
    struct file *pidfd = NULL;
    int pidfd_nr = -1;
    struct task *t = task_alloc(me->comm);
    struct process *p = thread ? me->process : process_alloc();
    if (!t || !p) {
        err = -ENOMEM;
        goto fail;
    }
    if (thread) {
        fd_table_get(p->files);
    } else {
        inherit(p, me->process, r->flags);
        err = copy_process(p, me->process, r->flags);
    }
    if (err)
        goto fail;
    setup_task(t, me, r);
    t->thread.aspace = p->mm->as;
    if (r->flags & CLONE_PIDFD) {
        pidfd_nr = fd_reserve(0, true);
        err = pidfd_nr < 0 ? pidfd_nr : pidfd_create(p, &pidfd);
        if (!err && copy_to_user(r->pidfd, &pidfd_nr, sizeof(int)))
            err = -EFAULT;
        if (err)
            goto fail;
    }
    err = link_task(t, p, r);
    if (err) {
        if (thread)
            fd_table_put(p->files);
        goto fail;
    }
    if (!thread)
        cpu_limits_changed(p);
    return start_child(r, p, t, pidfd, pidfd_nr);
fail:
    if (pidfd)
        file_put(pidfd);
    if (pidfd_nr >= 0)
        fd_unreserve(pidfd_nr);
    if (t)
        task_discard(t);
    if (p && !thread)
        discard_process(p);
    return err;
}

long sys_clone(uint64_t flags, uaddr_t stack, uaddr_t parent_tid, uaddr_t child_tid, uaddr_t tls)
{
    struct request r = {
        .flags = flags & ~(uint64_t)CSIGNAL & 0xffffffff,
        .exit_signal = (int)(flags & CSIGNAL),
        .stack = stack,
        .tls = tls,
        .parent_tid = parent_tid,
        .child_tid = child_tid,
        .pidfd = parent_tid,
    };
    if ((flags & CLONE_PIDFD) && (flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    return do_clone(&r);
}

long sys_fork(void)
{
    return do_clone(&(struct request){.exit_signal = SIGCHLD_N});
}

long sys_vfork(void)
{
    return do_clone(&(struct request){.flags = CLONE_VFORK | CLONE_VM, .exit_signal = SIGCHLD_N});
}

long sys_clone3(uaddr_t uargs, size_t size)
{
    struct clone_args a = {0};
    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    if (copy_from_user(&a, uargs, MIN(size, sizeof(a))))
        return -EFAULT;
    for (size_t i = sizeof(a); i < size; i++) { /* what we do not know must be zero */
        char byte;
        if (copy_from_user(&byte, uargs + i, 1))
            return -EFAULT;
        if (byte)
            return -E2BIG;
    }
    if ((a.flags & CSIGNAL) || a.exit_signal > SIG_COUNT || a.set_tid || a.set_tid_size ||
        (a.flags & CLONE_DETACHED) || (a.flags & CLONE_INTO_CGROUP) || !a.stack != !a.stack_size)
        return -EINVAL;
    if ((a.flags & (CLONE_THREAD | CLONE_PARENT)) && a.exit_signal)
        return -EINVAL;
    if (a.stack && (a.stack >= USER_MAX || a.stack_size > USER_MAX - a.stack))
        return -EINVAL;
    struct request r = {
        .flags = a.flags,
        .exit_signal = (int)a.exit_signal,
        .stack = a.stack ? a.stack + a.stack_size : 0,
        .tls = a.tls,
        .parent_tid = a.parent_tid,
        .child_tid = a.child_tid,
        .pidfd = a.pidfd,
    };
    return do_clone(&r);
}

/* What a process may stop sharing with others is its descriptors; the rest is its own already, and
 * nothing can be taken from its threads. */
long sys_unshare(uint64_t flags)
{
    const uint64_t known =
        CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_THREAD | CLONE_FILES | CLONE_SYSVSEM;
    if (flags & NAMESPACES)
        return capable(21 /* CAP_SYS_ADMIN */) || (flags & CLONE_NEWUSER) ? -EINVAL : -EPERM;
    if ((flags & ~known) || (flags && current_process()->task_count > 1))
        return -EINVAL;
    return flags & CLONE_FILES ? fd_unshare() : 0;
}
