/* read, write and their families; lseek; synchronising files. */
#include "linux/rw.h"
#include "fs/notify.h"
#include "linux/iov.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/sock.h"
#include "linux/syscall.h"

static ssize_t no_read(struct file *f)
{
    return f->vnode && vnode_type(f->vnode) == MODE_DIR ? -EISDIR : -EINVAL;
}

/* A position is only locked when someone else could use it: a description with one reference (or
 * two, of which this call holds one) belongs to the current task. */
static bool pos_shared(struct file *f)
{
    return ref_count(&f->refs) > 1;
}

/* Counts the call, and tells who watches the file. */
static inline ssize_t was_read(struct file *f, ssize_t n)
{
    struct task *t = current_task();
    if (t)
        t->io.reads++;
    if (t && n > 0)
        t->io.read += (uint64_t)n;
    if (n > 0)
        notify_file(f, NOTIFY_ACCESS);
    return n;
}

static inline ssize_t was_written(struct file *f, ssize_t n)
{
    struct task *t = current_task();
    if (t)
        t->io.writes++;
    if (t && n > 0)
        t->io.written += (uint64_t)n;
    if (n > 0)
        notify_file(f, NOTIFY_MODIFY);
    return n;
}

ssize_t file_read(struct file *f, struct uio *u)
{
    if (unlikely(!file_readable(f)))
        return -EBADF;
    if (unlikely(!f->ops->read))
        return no_read(f);
    if (!f->ops->seek)
        return was_read(f, sock_result(f, f->ops->read(f, u, NULL), SO_RCVTIMEO_NEW_N));
    bool lock = pos_shared(f);
    if (lock)
        mutex_lock(&f->pos_lock);
    ssize_t n = f->ops->read(f, u, &f->pos);
    if (lock)
        mutex_unlock(&f->pos_lock);
    return was_read(f, n);
}

ssize_t file_write(struct file *f, struct uio *u)
{
    if (unlikely(!file_writable(f)))
        return -EBADF;
    if (unlikely(!f->ops->write))
        return -EINVAL;
    if (!f->ops->seek)
        return was_written(f, sock_result(f, f->ops->write(f, u, NULL), SO_SNDTIMEO_NEW_N));
    bool lock = pos_shared(f);
    if (lock)
        mutex_lock(&f->pos_lock);
    ssize_t n = f->ops->write(f, u, &f->pos);
    if (lock)
        mutex_unlock(&f->pos_lock);
    return was_written(f, n);
}

ssize_t file_pread(struct file *f, struct uio *u, uint64_t *pos)
{
    if (!f->ops->seek)
        return -ESPIPE;
    if (!file_readable(f))
        return -EBADF;
    if (!f->ops->read)
        return no_read(f);
    return was_read(f, f->ops->read(f, u, pos));
}

ssize_t file_pwrite(struct file *f, struct uio *u, uint64_t *pos)
{
    if (!f->ops->seek)
        return -ESPIPE;
    if (!file_writable(f))
        return -EBADF;
    if (!f->ops->write)
        return -EINVAL;
    return was_written(f, f->ops->write(f, u, pos));
}

long sys_read(int fd, uaddr_t buf, size_t count)
{
    struct fd_hold h = fd_hold(fd);
    if (unlikely(!h.file))
        return -EBADF;
    count = MIN(count, RW_COUNT_MAX);
    struct iovec_k seg;
    struct uio u = uio_user(&seg, buf, count);
    long n = likely(user_range_ok(buf, count)) ? file_read(h.file, &u) : -EFAULT;
    fd_drop(h);
    return n;
}

long sys_write(int fd, uaddr_t buf, size_t count)
{
    struct fd_hold h = fd_hold(fd);
    if (unlikely(!h.file))
        return -EBADF;
    count = MIN(count, RW_COUNT_MAX);
    struct iovec_k seg;
    struct uio u = uio_user(&seg, buf, count);
    long n = likely(user_range_ok(buf, count)) ? file_write(h.file, &u) : -EFAULT;
    fd_drop(h);
    return n;
}

enum direction { READ, WRITE };

/* pos < 0: the file's own position. append: at the end wherever that is. */
static long rw_vector(int fd, uaddr_t iov, size_t count, int64_t pos, enum direction dir,
                      bool append)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct iov v;
    long n = iov_import(&v, iov, count);
    if (!n) {
        uint64_t at = (uint64_t)pos;
        v.uio.append = append;
        if (pos >= 0)
            n = dir == READ ? file_pread(h.file, &v.uio, &at) : file_pwrite(h.file, &v.uio, &at);
        else
            n = dir == READ ? file_read(h.file, &v.uio) : file_write(h.file, &v.uio);
        iov_release(&v);
    }
    fd_drop(h);
    return n;
}

long sys_readv(int fd, uaddr_t iov, size_t count)
{
    return rw_vector(fd, iov, count, -1, READ, false);
}
long sys_writev(int fd, uaddr_t iov, size_t count)
{
    return rw_vector(fd, iov, count, -1, WRITE, false);
}

static long rw_at(int fd, uaddr_t buf, size_t count, int64_t pos, enum direction dir)
{
    if (pos < 0)
        return -EINVAL;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct iov v;
    long n = iov_single(&v, buf, count);
    uint64_t at = (uint64_t)pos;
    if (!n)
        n = dir == READ ? file_pread(h.file, &v.uio, &at) : file_pwrite(h.file, &v.uio, &at);
    fd_drop(h);
    return n;
}

long sys_pread64(int fd, uaddr_t buf, size_t count, int64_t pos)
{
    return rw_at(fd, buf, count, pos, READ);
}

long sys_pwrite64(int fd, uaddr_t buf, size_t count, int64_t pos)
{
    return rw_at(fd, buf, count, pos, WRITE);
}

/* The position comes in two halves, of which a 64-bit program fills the first. */
long sys_preadv(int fd, uaddr_t iov, size_t count, int64_t pos, uint64_t pos_high)
{
    (void)pos_high;
    return pos < 0 ? -EINVAL : rw_vector(fd, iov, count, pos, READ, false);
}

long sys_pwritev(int fd, uaddr_t iov, size_t count, int64_t pos, uint64_t pos_high)
{
    (void)pos_high;
    return pos < 0 ? -EINVAL : rw_vector(fd, iov, count, pos, WRITE, false);
}

#define RWF_HIPRI_BIT 1 /* a hint */
#define RWF_DSYNC_BIT 2
#define RWF_SYNC_BIT 4
#define RWF_NOWAIT_BIT 8
#define RWF_APPEND_BIT 16

/* Only what is in memory for good is sure not to wait. */
static bool never_waits(int fd)
{
    struct fd_hold h = fd_hold(fd);
    bool never = h.file && h.file->ops == &regular_file_ops && !h.file->vnode->ops->readpage;
    if (h.file)
        fd_drop(h);
    return never;
}

long sys_preadv2(int fd, uaddr_t iov, size_t count, int64_t pos, uint64_t pos_high, int flags)
{
    (void)pos_high;
    if (flags & ~(RWF_HIPRI_BIT | RWF_NOWAIT_BIT))
        return -EOPNOTSUPP;
    if (flags & RWF_NOWAIT_BIT && !never_waits(fd))
        return -EOPNOTSUPP;
    return pos < -1 ? -EINVAL : rw_vector(fd, iov, count, pos, READ, false);
}

static long sync_fd(int fd, bool data_only);

long sys_pwritev2(int fd, uaddr_t iov, size_t count, int64_t pos, uint64_t pos_high, int flags)
{
    (void)pos_high;
    if (flags & ~(RWF_HIPRI_BIT | RWF_DSYNC_BIT | RWF_SYNC_BIT | RWF_APPEND_BIT))
        return -EOPNOTSUPP;
    if (pos < -1)
        return -EINVAL;
    long n = rw_vector(fd, iov, count, pos, WRITE, flags & RWF_APPEND_BIT);
    if (n > 0 && flags & (RWF_DSYNC_BIT | RWF_SYNC_BIT)) {
        long err = sync_fd(fd, !(flags & RWF_SYNC_BIT));
        n = err ? err : n;
    }
    return n;
}

long sys_lseek(int fd, int64_t offset, unsigned whence)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct file *f = h.file;
    long pos = -ESPIPE;
    if (f->ops->seek) {
        mutex_lock(&f->pos_lock);
        pos = f->ops->seek(f, offset, (int)whence);
        mutex_unlock(&f->pos_lock);
    }
    fd_drop(h);
    return pos;
}

/* --- to storage ------------------------------------------------------------------------------- */

static long sync_fd(int fd, bool data_only)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long err = h.file->ops->fsync ? h.file->ops->fsync(h.file, data_only) : -EINVAL;
    fd_drop(h);
    return err;
}

long sys_fsync(int fd)
{
    return sync_fd(fd, false);
}
long sys_fdatasync(int fd)
{
    return sync_fd(fd, true);
}

/* The file systems there are write through at fsync or live in memory; a walk over all vnodes comes
 * with the first one that writes back later. */
long sys_sync(void)
{
    return 0;
}

long sys_syncfs(int fd)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    fd_drop(h);
    return 0;
}

long sys_sync_file_range(int fd, int64_t offset, int64_t len, unsigned flags)
{
    if (offset < 0 || len < 0 || flags & ~7u)
        return -EINVAL;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long err = !h.file->vnode ? -ESPIPE : vnode_sync(h.file->vnode);
    fd_drop(h);
    return err;
}

/* Advice changes nothing that a program can observe. */
long sys_fadvise64(int fd, int64_t offset, int64_t len, int advice)
{
    (void)offset;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long err = !h.file->vnode || vnode_type(h.file->vnode) == MODE_FIFO ? -ESPIPE
               : len < 0 || advice < 0 || advice > 5                    ? -EINVAL
                                                                        : 0;
    fd_drop(h);
    return err;
}

long sys_readahead(int fd, int64_t offset, size_t count)
{
    (void)count;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long err = !file_readable(h.file)                                                  ? -EBADF
               : !h.file->vnode || vnode_type(h.file->vnode) != MODE_REG || offset < 0 ? -EINVAL
                                                                                       : 0;
    fd_drop(h);
    return err;
}
