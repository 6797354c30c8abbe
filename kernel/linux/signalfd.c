/* signalfd: signals as messages that are read from a file. */
#include <linux/signalfd.h>

#include "core/mem.h"
#include "linux/anon.h"
#include "linux/process.h"
#include "linux/signals.h"
#include "linux/syscall.h"

#define UNBLOCKABLE (SIG_BIT(SIGKILL_N) | SIG_BIT(SIGSTOP_N))

/* Reads take the reading task's signals; polls watch the process that made the file, whose queue
 * stays as long as this reference. */
struct signalfd {
    sigset_k set;
    struct process *process;
};

static void fill(struct signalfd_siginfo *out, const struct siginfo_k *in)
{
    *out = (struct signalfd_siginfo){
        .ssi_signo = (uint32_t)in->signo,
        .ssi_code = in->code,
        .ssi_errno = in->err,
        .ssi_pid = (uint32_t)in->pid,
        .ssi_uid = in->uid,
        .ssi_fd = in->fd,
        .ssi_tid = (uint32_t)in->timer_id,
        .ssi_band = in->band,
        .ssi_overrun = (uint32_t)in->overrun,
        .ssi_status = in->status,
        .ssi_ptr = in->addr,
        .ssi_int = (int)in->addr,
        .ssi_utime = (uint64_t)in->utime,
        .ssi_stime = (uint64_t)in->stime,
        .ssi_addr = in->addr,
    };
}

static ssize_t signalfd_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct signalfd *s = f->data;
    struct signalfd_siginfo out;
    struct siginfo_k info;
    ssize_t done = 0;
    if (u->resid < sizeof(out))
        return -EINVAL;
    while (u->resid >= sizeof(out)) {
        sigset_k set = READ_ONCE(s->set);
        if (!signal_dequeue(current_task(), set, &info)) {
            if (done || f->flags & OPEN_NONBLOCK)
                return done ? done : -EAGAIN;
            bool got = false;
            int err =
                wait_event_interruptible(signal_wait_queue(current_process()),
                                         got || (got = signal_dequeue(current_task(), set, &info)));
            if (err && !got)
                return err;
        }
        fill(&out, &info);
        if (uio_write(u, &out, sizeof(out)))
            return done ? done : -EFAULT;
        done += (ssize_t)sizeof(out);
    }
    return done;
}

static unsigned signalfd_poll(struct file *f, struct poll_table *pt)
{
    struct signalfd *s = f->data;
    poll_register(pt, signal_wait_queue(s->process));
    const struct task *t = current_task();
    sigset_k pending = READ_ONCE(t->pending) | READ_ONCE(t->process->sighand->pending);
    return pending & READ_ONCE(s->set) ? POLL_IN | POLL_RDNORM : 0;
}

static void signalfd_release(struct file *f)
{
    struct signalfd *s = f->data;
    process_put(s->process);
    kfree(s);
}

static void signalfd_describe(struct file *f, char *buf, size_t size)
{
    (void)f;
    snprintf(buf, size, "anon_inode:[signalfd]");
}

static const struct file_ops signalfd_ops = {
    .name = "signalfd",
    .read = signalfd_read,
    .poll = signalfd_poll,
    .release = signalfd_release,
    .describe = signalfd_describe,
};

static long change_set(int fd, sigset_k set)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long r = -EINVAL;
    if (h.file->ops == &signalfd_ops) {
        WRITE_ONCE(((struct signalfd *)h.file->data)->set, set);
        wake_up(signal_wait_queue(current_process()));
        r = fd;
    }
    fd_drop(h);
    return r;
}

long sys_signalfd4(int fd, uaddr_t mask, size_t size, int flags)
{
    sigset_k set;
    if ((unsigned)flags & ~(OPEN_CLOEXEC | OPEN_NONBLOCK) || size != sizeof(set))
        return -EINVAL;
    if (copy_from_user(&set, mask, sizeof(set)))
        return -EFAULT;
    set &= ~UNBLOCKABLE;
    if (fd != -1)
        return change_set(fd, set);
    struct signalfd *s = kzalloc(sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->set = set;
    s->process = current_process();
    ref_get(&s->process->refs);
    return anon_install(&signalfd_ops, s, OPEN_RDWR | (unsigned)flags);
}

long sys_signalfd(int fd, uaddr_t mask, size_t size)
{
    return sys_signalfd4(fd, mask, size, 0);
}
