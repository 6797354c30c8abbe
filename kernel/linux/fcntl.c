/* fcntl and flock: descriptor flags, status flags, locks, owners, pipe sizes. */
#include <linux/fcntl.h>

#include "linux/async.h"
#include "linux/pipe.h"
#include "linux/process.h"
#include "linux/signals.h"
#include "linux/syscall.h"

#define SIGIO_N 29
#define CAP_KILL_N 5
#define O_ASYNC_FLAG 020000u
#define O_NOATIME_FLAG 01000000u
/* What F_SETFL may change, besides O_ASYNC. */
#define SETFL_MASK (OPEN_APPEND | OPEN_NONBLOCK | OPEN_DIRECT | O_NOATIME_FLAG)

static long dup_from(int fd, int64_t from, bool cloexec)
{
    uint64_t limit = current_process()->rlimits[7].cur;
    if (from < 0 || from > INT32_MAX || (uint64_t)from >= limit)
        return -EINVAL;
    struct file *f = fd_get_path(fd);
    if (!f)
        return -EBADF;
    int n = fd_install(f, (int)from, cloexec);
    if (n < 0)
        file_put(f);
    return n;
}

/* --- record locks ----------------------------------------------------------------------------- */

/* The bytes a struct flock means: [*start, *end], both inclusive. */
static int flock_range(struct file *f, const struct flock *l, uint64_t *start, uint64_t *end)
{
    int64_t base;
    switch (l->l_whence) {
    case 0:
        base = 0;
        break;
    case 1:
        base = (int64_t)f->pos;
        break;
    case 2:
        base = (int64_t)f->vnode->attr.size;
        break;
    default:
        return -EINVAL;
    }
    int64_t from, last;
    if (__builtin_add_overflow(base, l->l_start, &from))
        return -EOVERFLOW;
    if (from < 0)
        return -EINVAL;
    if (l->l_len == 0) {
        last = INT64_MAX;
    } else if (l->l_len > 0) {
        if (__builtin_add_overflow(from, l->l_len - 1, &last))
            return -EOVERFLOW;
    } else {
        last = from - 1;
        if (__builtin_add_overflow(from, l->l_len, &from) || from < 0)
            return -EINVAL;
    }
    *start = (uint64_t)from;
    *end = (uint64_t)last;
    return 0;
}

static int lock_fetch(struct file *f, uaddr_t arg, bool ofd, struct flock *l, struct file_lock *k)
{
    if (copy_from_user(l, arg, sizeof(*l)))
        return -EFAULT;
    if (!f->vnode)
        return -EBADF;
    if (ofd && l->l_pid)
        return -EINVAL;
    if (l->l_type != F_RDLCK && l->l_type != F_WRLCK && l->l_type != F_UNLCK)
        return -EINVAL;
    *k = (struct file_lock){
        .kind = ofd ? LOCK_OFD : LOCK_POSIX,
        .exclusive = l->l_type == F_WRLCK,
        .owner = ofd ? (void *)f : (void *)current_process()->files,
        .pid = ofd ? -1 : current_process()->pid,
    };
    return flock_range(f, l, &k->start, &k->end);
}

static long lock_set(struct file *f, uaddr_t arg, bool ofd, bool wait)
{
    struct flock l;
    struct file_lock k = {0};
    int err = lock_fetch(f, arg, ofd, &l, &k);
    if (err)
        return err;
    if ((l.l_type == F_RDLCK && !file_readable(f)) || (l.l_type == F_WRLCK && !file_writable(f)))
        return -EBADF;
    return vnode_lock(f->vnode, &k, l.l_type == F_UNLCK, wait);
}

static long lock_get(struct file *f, uaddr_t arg, bool ofd)
{
    struct flock l;
    struct file_lock k = {0}, found;
    int err = lock_fetch(f, arg, ofd, &l, &k);
    if (err)
        return err;
    if (l.l_type == F_UNLCK && !ofd)
        return -EINVAL;
    if (vnode_lock_test(f->vnode, &k, &found)) {
        l.l_type = found.exclusive ? F_WRLCK : F_RDLCK;
        l.l_whence = 0;
        l.l_start = (int64_t)found.start;
        l.l_len = found.end >= INT64_MAX ? 0 : (int64_t)(found.end - found.start + 1);
        l.l_pid = found.pid;
    } else {
        l.l_type = F_UNLCK;
    }
    return copy_to_user(arg, &l, sizeof(l));
}

long sys_flock(int fd, int operation)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    int op = operation & ~4; /* LOCK_NB */
    long err;
    if (op != 1 && op != 2 && op != 8) {
        err = -EINVAL;
    } else if (!h.file->vnode) {
        err = -EBADF;
    } else {
        struct file_lock k = {.kind = LOCK_FLOCK,
                              .exclusive = op == 2,
                              .owner = h.file,
                              .pid = current_process()->pid,
                              .end = INT64_MAX};
        err = vnode_lock(h.file->vnode, &k, op == 8, !(operation & 4));
    }
    fd_drop(h);
    return err;
}

/* --- owner of SIGIO --------------------------------------------------------------------------- */

/* owner: a process, or minus a group, or 0. SIGIO ends programs that do not expect it, so it may
 * only be pointed at processes that the caller could send a signal. */
static long owner_set(struct file *f, int owner)
{
    bool allowed = true;
    if (owner == INT32_MIN)
        return -EINVAL;
    if (owner > 0) {
        struct process *p = process_find(owner);
        if (!p)
            return -ESRCH;
        allowed = !signal_permission(p, SIGIO_N);
        process_put(p);
    } else if (owner < 0) {
        allowed = -owner == current_process()->pgid || capable(CAP_KILL_N);
    }
    if (!allowed)
        return -EPERM;
    f->owner_pid = owner;
    return 0;
}

static long owner_set_ex(struct file *f, uaddr_t arg)
{
    struct f_owner_ex ex;
    if (copy_from_user(&ex, arg, sizeof(ex)))
        return -EFAULT;
    if (ex.type < F_OWNER_TID || ex.type > F_OWNER_PGRP || ex.pid < 0)
        return -EINVAL;
    return owner_set(f, ex.type == F_OWNER_PGRP ? -ex.pid : ex.pid);
}

static long owner_get_ex(struct file *f, uaddr_t arg)
{
    struct f_owner_ex ex = {.type = f->owner_pid < 0 ? F_OWNER_PGRP : F_OWNER_PID,
                            .pid = f->owner_pid < 0 ? -f->owner_pid : f->owner_pid};
    return copy_to_user(arg, &ex, sizeof(ex));
}

/* -----------------------------------------------------------------------------------------------
 */

static long set_status_flags(struct file *f, unsigned flags)
{
    if ((flags ^ f->flags) & O_ASYNC_FLAG) {
        int err = async_set(f, flags & O_ASYNC_FLAG);
        if (err)
            return err == -ENOTTY ? -EINVAL : err;
    }
    WRITE_ONCE(f->flags, (f->flags & ~SETFL_MASK) | (flags & SETFL_MASK));
    return 0;
}

static long status_flags(const struct file *f)
{
    unsigned at_open = OPEN_CREAT | OPEN_EXCL | OPEN_NOCTTY | OPEN_TRUNC | OPEN_CLOEXEC;
    unsigned large = f->flags & OPEN_PATH ? 0 : 0100000; /* O_LARGEFILE, as every 64-bit open */
    return (long)((f->flags & ~at_open) | large);
}

/* Commands about the descriptor: allowed with O_PATH. */
static bool about_descriptor(unsigned cmd)
{
    return cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC || cmd == F_GETFD || cmd == F_SETFD ||
           cmd == F_GETFL;
}

static long do_fcntl(struct file *f, int fd, unsigned cmd, uint64_t arg)
{
    switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return dup_from(fd, (int)arg, cmd == F_DUPFD_CLOEXEC);
    case F_GETFD:
        return fd_get_cloexec(fd);
    case F_SETFD:
        return fd_set_cloexec(fd, arg & FD_CLOEXEC);
    case F_GETFL:
        return status_flags(f);
    case F_SETFL:
        return set_status_flags(f, (unsigned)arg);
    case F_GETLK:
    case F_OFD_GETLK:
        return lock_get(f, arg, cmd == F_OFD_GETLK);
    case F_SETLK:
    case F_SETLKW:
        return lock_set(f, arg, false, cmd == F_SETLKW);
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return lock_set(f, arg, true, cmd == F_OFD_SETLKW);
    case F_SETOWN:
        return owner_set(f, (int)arg);
    case F_GETOWN:
        return f->owner_pid;
    case F_SETOWN_EX:
        return owner_set_ex(f, arg);
    case F_GETOWN_EX:
        return owner_get_ex(f, arg);
    case F_ADD_SEALS:
        if (!file_writable(f))
            return -EPERM;
        return f->vnode && arg <= UINT32_MAX ? vnode_add_seals(f->vnode, (unsigned)arg) : -EINVAL;
    case F_GET_SEALS:
        return f->vnode ? vnode_get_seals(f->vnode) : -EINVAL;
    case F_SETPIPE_SZ:
        return pipe_set_size(f, arg);
    case F_GETPIPE_SZ:
        return pipe_get_size(f);
    default:
        return -EINVAL;
    }
}

long sys_fcntl(int fd, unsigned cmd, uint64_t arg)
{
    struct fd_hold h = fd_hold_path(fd);
    if (!h.file)
        return -EBADF;
    bool refused = h.file->flags & OPEN_PATH && !about_descriptor(cmd);
    long r = refused ? -EBADF : do_fcntl(h.file, fd, cmd, arg);
    fd_drop(h);
    return r;
}
