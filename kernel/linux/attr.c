/* Changing what a file is: modes, owners, times, sizes; umask. */
#include "core/timer.h"
#include "fs/notify.h"
#include "linux/io.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/signals.h"
#include "linux/syscall.h"

/* How a change is told: setting one of the times alone looks like what usually moves it. */
static uint32_t event_of(unsigned which)
{
    unsigned times = which & (SETATTR_ATIME | SETATTR_MTIME);
    if (which & SETATTR_SIZE || times == SETATTR_MTIME)
        return NOTIFY_MODIFY;
    return times == SETATTR_ATIME ? NOTIFY_ACCESS : NOTIFY_ATTRIB;
}

static long setattr_at(int dirfd, uaddr_t name, int flags, const struct vattr *attr, unsigned which)
{
    struct at a;
    struct path p;
    long err = at_lookup(&a, dirfd, name, flags, &p);
    if (err)
        return err;
    err = vfs_setattr(a.ctx, path_vnode(&p), attr, which);
    if (!err)
        notify_path(&p, event_of(which));
    path_put(&p);
    at_end(&a);
    return err;
}

static long setattr_fd(int fd, bool path_ok, const struct vattr *attr, unsigned which)
{
    struct fd_hold h = path_ok ? fd_hold_path(fd) : fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct fs_context copy;
    const struct fs_context *ctx = fs_context_hold(&copy);
    /* Nameless files have no attributes that could be kept. */
    long err = h.file->vnode ? vfs_setattr(ctx, h.file->vnode, attr, which) : -EPERM;
    fs_context_drop(ctx, &copy);
    if (!err)
        notify_file(h.file, event_of(which));
    fd_drop(h);
    return err;
}

long sys_fchmodat(int dirfd, uaddr_t name, unsigned mode)
{
    return setattr_at(dirfd, name, 0, &(struct vattr){.mode = mode & 07777}, SETATTR_MODE);
}
long sys_chmod(uaddr_t name, unsigned mode)
{
    return sys_fchmodat(AT_FDCWD_N, name, mode);
}
long sys_fchmod(int fd, unsigned mode)
{
    return setattr_fd(fd, false, &(struct vattr){.mode = mode & 07777}, SETATTR_MODE);
}

static unsigned owner_fields(unsigned uid, unsigned gid)
{
    return (uid == ~0u ? 0 : SETATTR_UID) | (gid == ~0u ? 0 : SETATTR_GID);
}

long sys_fchownat(int dirfd, uaddr_t name, unsigned uid, unsigned gid, int flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW_N | AT_EMPTY_PATH_N))
        return -EINVAL;
    struct vattr a = {.uid = uid, .gid = gid};
    return setattr_at(dirfd, name, flags, &a, owner_fields(uid, gid));
}
long sys_chown(uaddr_t name, unsigned uid, unsigned gid)
{
    return sys_fchownat(AT_FDCWD_N, name, uid, gid, 0);
}
long sys_lchown(uaddr_t name, unsigned uid, unsigned gid)
{
    return sys_fchownat(AT_FDCWD_N, name, uid, gid, AT_SYMLINK_NOFOLLOW_N);
}
long sys_fchown(int fd, unsigned uid, unsigned gid)
{
    return setattr_fd(fd, false, &(struct vattr){.uid = uid, .gid = gid}, owner_fields(uid, gid));
}

/* --- times ------------------------------------------------------------------------------------ */

#define UTIME_NOW_NS 0x3fffffff
#define UTIME_OMIT_NS 0x3ffffffe

static long set_times(int dirfd, uaddr_t name, int flags, const struct vattr *a, unsigned which)
{
    if (!which)
        return 0;
    if (!name && dirfd != AT_FDCWD_N)
        return setattr_fd(dirfd, false, a, which);
    return setattr_at(dirfd, name, flags, a, which);
}

long sys_utimensat(int dirfd, uaddr_t name, uaddr_t times, int flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW_N | AT_EMPTY_PATH_N))
        return -EINVAL;
    nsec_t now = time_realtime();
    struct vattr a = {.atime_ns = now, .mtime_ns = now};
    if (!times)
        return set_times(dirfd, name, flags, &a, SETATTR_ATIME | SETATTR_MTIME | SETATTR_NOW);
    int64_t ts[4];
    if (copy_from_user(ts, times, sizeof(ts)))
        return -EFAULT;
    int64_t *field[2] = {&a.atime_ns, &a.mtime_ns};
    unsigned which = 0, now_fields = 0;
    for (int i = 0; i < 2; i++) {
        int64_t sec = ts[2 * i], ns = ts[2 * i + 1];
        unsigned bit = i ? SETATTR_MTIME : SETATTR_ATIME;
        if (ns == UTIME_OMIT_NS)
            continue;
        which |= bit;
        if (ns == UTIME_NOW_NS) {
            now_fields |= bit;
            continue;
        }
        if (ns < 0 || ns >= NSEC_PER_SEC)
            return -EINVAL;
        sec = MAX(MIN(sec, INT64_MAX / NSEC_PER_SEC - 1), INT64_MIN / NSEC_PER_SEC + 1);
        *field[i] = sec * NSEC_PER_SEC + ns;
    }
    if (now_fields == (SETATTR_ATIME | SETATTR_MTIME))
        which |= SETATTR_NOW;
    return set_times(dirfd, name, flags, &a, which);
}

/* Two times in seconds and microseconds. */
static long set_timevals(int dirfd, uaddr_t name, uaddr_t times)
{
    nsec_t now = time_realtime();
    struct vattr a = {.atime_ns = now, .mtime_ns = now};
    unsigned which = SETATTR_ATIME | SETATTR_MTIME;
    int64_t tv[4];
    if (!times)
        return set_times(dirfd, name, 0, &a, which | SETATTR_NOW);
    if (copy_from_user(tv, times, sizeof(tv)))
        return -EFAULT;
    for (int i = 0; i < 4; i += 2)
        if (tv[i + 1] < 0 || tv[i + 1] >= 1000000 || tv[i] > INT64_MAX / NSEC_PER_SEC - 1 ||
            tv[i] < INT64_MIN / NSEC_PER_SEC + 1)
            return -EINVAL;
    a.atime_ns = tv[0] * NSEC_PER_SEC + tv[1] * NSEC_PER_USEC;
    a.mtime_ns = tv[2] * NSEC_PER_SEC + tv[3] * NSEC_PER_USEC;
    return set_times(dirfd, name, 0, &a, which);
}

long sys_utimes(uaddr_t name, uaddr_t times)
{
    return set_timevals(AT_FDCWD_N, name, times);
}
long sys_futimesat(int dirfd, uaddr_t name, uaddr_t times)
{
    return set_timevals(dirfd, name, times);
}

long sys_utime(uaddr_t name, uaddr_t times)
{
    nsec_t now = time_realtime();
    struct vattr a = {.atime_ns = now, .mtime_ns = now};
    unsigned which = SETATTR_ATIME | SETATTR_MTIME;
    int64_t t[2];
    if (!times)
        return set_times(AT_FDCWD_N, name, 0, &a, which | SETATTR_NOW);
    if (copy_from_user(t, times, sizeof(t)))
        return -EFAULT;
    for (int i = 0; i < 2; i++)
        if (t[i] > INT64_MAX / NSEC_PER_SEC - 1 || t[i] < INT64_MIN / NSEC_PER_SEC + 1)
            return -EINVAL;
    a.atime_ns = t[0] * NSEC_PER_SEC;
    a.mtime_ns = t[1] * NSEC_PER_SEC;
    return set_times(AT_FDCWD_N, name, 0, &a, which);
}

/* --- sizes ------------------------------------------------------------------------------------ */

#define RLIMIT_FSIZE_N 1

static int size_limit(uint64_t at, uint64_t *end)
{
    struct task *t = current_task();
    uint64_t limit = t ? t->process->rlimits[RLIMIT_FSIZE_N].cur : UINT64_MAX;
    if (at >= limit) {
        signal_send_task(t, SIGXFSZ_N, NULL);
        return -EFBIG;
    }
    *end = MIN(*end, limit);
    return 0;
}

static int size_ok(uint64_t size)
{
    return size ? size_limit(size - 1, &size) : 0;
}

void attr_init(void)
{
    vfs_size_limit = size_limit;
}

long sys_truncate(uaddr_t name, int64_t size)
{
    if (size < 0)
        return -EINVAL;
    struct at a;
    struct path p;
    long err = at_lookup(&a, AT_FDCWD_N, name, 0, &p);
    if (err)
        return err;
    struct vnode *v = path_vnode(&p);
    if (vnode_type(v) == MODE_DIR)
        err = -EISDIR;
    else if (vnode_type(v) != MODE_REG)
        err = -EINVAL;
    else if (!(err = size_ok((uint64_t)size)))
        err = vfs_setattr(a.ctx, v, &(struct vattr){.size = (uint64_t)size}, SETATTR_SIZE);
    if (!err)
        notify_path(&p, NOTIFY_MODIFY);
    path_put(&p);
    at_end(&a);
    return err;
}

long sys_ftruncate(int fd, int64_t size)
{
    if (size < 0)
        return -EINVAL;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long err = 0;
    if (!h.file->vnode || vnode_type(h.file->vnode) != MODE_REG || !file_writable(h.file))
        err = -EINVAL;
    if (!err)
        err = size_ok((uint64_t)size);
    if (!err)
        err = vfs_truncate(h.file->vnode, (uint64_t)size, h.file->keeps_setid);
    if (!err)
        notify_file(h.file, NOTIFY_MODIFY);
    fd_drop(h);
    return err;
}

long sys_fallocate(int fd, int mode, int64_t offset, int64_t len)
{
    struct fd_hold h = fd_hold(fd);
    struct file *f = h.file;
    if (!f)
        return -EBADF;
    long err;
    if (offset < 0 || len <= 0)
        err = -EINVAL;
    else if (!file_writable(f))
        err = -EBADF;
    else if (!f->vnode || vnode_type(f->vnode) == MODE_FIFO)
        err = -ESPIPE;
    else if (vnode_type(f->vnode) != MODE_REG)
        err = vnode_type(f->vnode) == MODE_DIR ? -EISDIR : -ENODEV;
    else if (offset > INT64_MAX - len)
        err = -EFBIG;
    else
        err = size_ok((uint64_t)(offset + len));
    if (!err)
        err = vnode_fallocate(f->vnode, mode, (uint64_t)offset, (uint64_t)len);
    if (!err)
        notify_file(f, NOTIFY_MODIFY);
    fd_drop(h);
    return err;
}

long sys_umask(unsigned mask)
{
    struct process *p = current_process();
    mutex_lock(&p->fs_lock);
    uint32_t old = p->fs.umask;
    p->fs.umask = mask & 0777;
    mutex_unlock(&p->fs_lock);
    return old;
}
