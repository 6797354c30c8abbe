/* Descriptors that name a process: readable once it has ended. */
#include "linux/pidfd.h"

#include "linux/proc.h"
#include "linux/proc_pid.h"
#include "linux/signals.h"
#include "linux/syscall.h"

static unsigned pidfd_poll(struct file *f, struct poll_table *pt)
{
    struct process *p = f->data;
    poll_register(pt, &p->exit_wait);
    return READ_ONCE(p->zombie) ? POLL_IN | POLL_RDNORM : 0;
}

static void pidfd_release(struct file *f)
{
    process_put(f->data);
}

static void pidfd_describe(struct file *f, char *buf, size_t size)
{
    (void)f;
    snprintf(buf, size, "anon_inode:[pidfd]");
}

static const struct file_ops pidfd_ops = {
    .name = "pidfd",
    .mode = 0600,
    .poll = pidfd_poll,
    .release = pidfd_release,
    .describe = pidfd_describe,
};

int pidfd_create(struct process *p, struct file **out)
{
    struct file *f = file_alloc(&pidfd_ops, p, OPEN_RDWR);
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    ref_get(&p->refs);
    *out = f;
    return 0;
}

/* The process behind fd, referenced. *flags: of the file. */
static struct process *pidfd_process(int fd, unsigned *flags)
{
    struct file *f = fd_get(fd);
    struct process *p = NULL;
    if (!f)
        return NULL;
    if (f->ops == &pidfd_ops) {
        p = f->data;
        *flags = f->flags;
        ref_get(&p->refs);
    }
    file_put(f);
    return p;
}

/* The process to be sent a signal: a directory /proc/PID names one too. Referenced, or NULL. */
static struct process *signalled_process(int fd)
{
    struct file *f = fd_get(fd);
    if (!f)
        return NULL;
    struct process *p = f->ops == &pidfd_ops ? f->data : proc_pid_of(f);
    if (p)
        ref_get(&p->refs);
    file_put(f);
    return p;
}

int pidfd_pid(int fd, bool *nonblock)
{
    unsigned flags;
    struct process *p = pidfd_process(fd, &flags);
    if (!p)
        return -EBADF;
    int pid = p->pid;
    *nonblock = flags & OPEN_NONBLOCK;
    process_put(p);
    return pid;
}

long sys_pidfd_open(int pid, unsigned flags)
{
    struct file *f;
    if (pid <= 0 || (flags & ~OPEN_NONBLOCK))
        return -EINVAL;
    struct process *p = process_find(pid);
    if (!p)
        return -ESRCH;
    int fd = pidfd_create(p, &f);
    if (!fd) {
        f->flags |= flags;
        fd = fd_install(f, 0, true);
        if (fd < 0)
            file_put(f);
    }
    process_put(p);
    return fd;
}

long sys_pidfd_send_signal(int fd, int signo, uaddr_t uinfo, unsigned flags)
{
    struct siginfo_k info = {.signo = signo,
                             .code = SI_USER_N,
                             .pid = current_process()->pid,
                             .uid = current_cred()->uid};
    if (flags || signo < 0 || signo > SIG_COUNT)
        return -EINVAL;
    if (uinfo) {
        char raw[128];
        if (copy_from_user(raw, uinfo, sizeof(raw)))
            return -EFAULT;
        siginfo_import(raw, &info);
        if (info.signo != signo)
            return -EINVAL;
    }
    struct process *p = signalled_process(fd);
    if (!p)
        return -EBADF;
    int err = p->zombie ? -ESRCH : signal_permission(p, signo);
    if (!err && uinfo && (info.code >= 0 || info.code == SI_TKILL_N) && p != current_process())
        err = -EPERM;
    if (!err && signo)
        err = signal_send_process(p, signo, &info);
    process_put(p);
    return err;
}

/* A descriptor of another process becomes one of ours. */
long sys_pidfd_getfd(int fd, int target, unsigned flags)
{
    unsigned file_flags;
    if (flags)
        return -EINVAL;
    struct process *p = pidfd_process(fd, &file_flags);
    if (!p)
        return -EBADF;
    int err = process_may_access(p) ? 0 : -EPERM;
    struct fd_table *files = NULL;
    struct file *f = NULL;
    spin_lock_bh(&process_lock);
    if (p->files) {
        files = p->files;
        fd_table_get(files);
    }
    spin_unlock_bh(&process_lock);
    if (!files)
        err = -ESRCH;
    else if (!err && (target < 0 || fd_table_next(files, target, &f) != target))
        err = -EBADF;
    if (!err) {
        err = fd_install(f, 0, true);
        if (err >= 0)
            f = NULL;
    }
    if (f)
        file_put(f);
    if (files)
        fd_table_put(files);
    process_put(p);
    return err;
}
