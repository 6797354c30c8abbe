/* Data from file to file inside the kernel: sendfile, splice, tee, vmsplice, copy_file_range. */
#include "core/mem.h"
#include "fs/notify.h"
#include "linux/iov.h"
#include "linux/pipe.h"
#include "linux/rw.h"
#include "linux/syscall.h"

#define COPY_BUFFER (32 * 1024UL)
#define SEND_PAGES 32 /* sent by reference at a time: two packets of 64 KiB */

#define SPLICE_MOVE 1u
#define SPLICE_NONBLOCK 2u
#define SPLICE_MORE 4u
#define SPLICE_GIFT 8u

static bool has_page_cache(const struct file *f)
{
    return f->vnode && f->ops == &regular_file_ops;
}

/* --- by page reference ------------------------------------------------------------------------ */

/* What a hole in a file is sent from. */
static struct page *zero_page(void)
{
    static struct page *page;
    if (!page)
        page = page_alloc(0, PAGE_ZERO);
    if (page)
        page_get(page);
    return page;
}

static int cached_page(struct vnode *v, uint64_t index, struct page **page)
{
    int err = vnode_get_page(v, index, false, page);
    if (err != -ENOENT)
        return err;
    *page = zero_page();
    return *page ? 0 : -ENOMEM;
}

/* References the pages of [pos, pos + count) of the file, as many as there is room for. Parts
 * filled in; the error of the first page if there is none. */
static int hold_pages(struct vnode *v, uint64_t pos, size_t count, struct page_part *parts)
{
    int n = 0;
    while (count && n < SEND_PAGES) {
        size_t off = pos % PAGE_SIZE, len = MIN(PAGE_SIZE - off, count);
        int err = cached_page(v, pos >> PAGE_SHIFT, &parts[n].page);
        if (err)
            return n ? n : err;
        parts[n].off = (uint32_t)off;
        parts[n].len = (uint32_t)len;
        n++;
        pos += len;
        count -= len;
    }
    return n;
}

/* Sends [*pos, *pos + count) of the file many pages at a time, so that the receiver builds large
 * segments. Bytes sent or the first error. */
static ssize_t send_pages(struct file *out, struct vnode *v, uint64_t *pos, size_t count,
                          bool nonblock)
{
    struct page_part parts[SEND_PAGES];
    uint64_t size = READ_ONCE(v->attr.size);
    if (*pos >= size)
        return 0;
    count = MIN(count, size - *pos);
    ssize_t done = 0, r = 0;
    while (count) {
        int n = hold_pages(v, *pos, count, parts);
        if (n == -ENXIO) /* truncated meanwhile */
            break;
        if (n < 0) {
            r = n;
            break;
        }
        size_t held = 0;
        for (int i = 0; i < n; i++)
            held += parts[i].len;
        r = out->ops->sendpages(out, parts, (unsigned)n, count > held, nonblock);
        for (int i = 0; i < n; i++)
            page_put(parts[i].page);
        if (r <= 0)
            break;
        *pos += (uint64_t)r;
        done += r;
        count -= (size_t)r;
    }
    return done ? done : r;
}

/* --- by copying ------------------------------------------------------------------------------- */

/* pos_in / pos_out NULL: the file's own position, or a stream. */
static ssize_t read_into(struct file *in, void *buf, size_t n, uint64_t *pos)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, n);
    return pos ? file_pread(in, &u, pos) : file_read(in, &u);
}

static ssize_t write_from(struct file *out, void *buf, size_t n, uint64_t *pos)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, n);
    return pos ? file_pwrite(out, &u, pos) : file_write(out, &u);
}

/* From a file with positions: what the receiver did not take is read again. *pos_in advances by
 * what was taken. */
static ssize_t copy_range(struct file *in, uint64_t *pos_in, struct file *out, uint64_t *pos_out,
                          size_t count)
{
    size_t size = MIN(count, COPY_BUFFER);
    void *buf = kmalloc(size ? size : 1);
    ssize_t done = 0, r = buf ? 0 : -ENOMEM;
    while (buf && count) {
        uint64_t at = *pos_in;
        r = read_into(in, buf, MIN(count, size), &at);
        if (r <= 0)
            break;
        ssize_t got = r;
        r = write_from(out, buf, (size_t)got, pos_out);
        if (r <= 0)
            break;
        *pos_in += (uint64_t)r;
        done += r;
        count -= (size_t)r;
        if (r < got)
            break;
        cond_resched();
    }
    kfree(buf);
    return done ? done : r;
}

/* --- sendfile --------------------------------------------------------------------------------- */

static ssize_t send_file(struct file *out, struct file *in, uint64_t *pos, size_t count)
{
    if (!file_readable(in) || !file_writable(out))
        return -EBADF;
    if (!in->ops->seek || !in->ops->read)
        return -EINVAL;
    if (!out->ops->write || out->flags & OPEN_APPEND)
        return -EINVAL;
    if (*pos > INT64_MAX)
        return -EINVAL;
    count = MIN(count, RW_COUNT_MAX);
    if (!out->ops->sendpages || !has_page_cache(in))
        return copy_range(in, pos, out, NULL, count);
    ssize_t n = send_pages(out, in->vnode, pos, count, out->flags & OPEN_NONBLOCK);
    if (n > 0)
        notify_file(in, NOTIFY_ACCESS);
    return n;
}

long sys_sendfile(int out_fd, int in_fd, uaddr_t offset, size_t count)
{
    uint64_t pos = 0;
    if (offset && copy_from_user(&pos, offset, sizeof(pos)))
        return -EFAULT;
    struct fd_hold in = fd_hold(in_fd), out = {0};
    if (!in.file)
        return -EBADF;
    long n = -EBADF;
    out = fd_hold(out_fd);
    if (out.file) {
        /* The position is not locked meanwhile, nor is it on Linux: `out` may be the same file, or
         * being sent the other way. */
        if (!offset)
            pos = in.file->pos;
        n = send_file(out.file, in.file, &pos, count);
        if (!offset && n > 0)
            in.file->pos = pos;
        else if (n > 0 && copy_to_user(offset, &pos, sizeof(pos)))
            n = -EFAULT;
        fd_drop(out);
    }
    fd_drop(in);
    return n;
}

/* --- splice ----------------------------------------------------------------------------------- */

static ssize_t splice_sink(void *arg, struct uio *u, uint64_t *pos)
{
    struct file *out = arg;
    return pos ? file_pwrite(out, u, pos) : file_write(out, u);
}

/* At most what the pipe has room for, so that nothing that was read has nowhere to go. */
static ssize_t splice_to_pipe(struct file *in, uint64_t *pos, struct file *pipe, size_t len,
                              bool nonblock)
{
    ssize_t room = pipe_wait_room(pipe, nonblock);
    if (room <= 0)
        return room;
    size_t n = MIN(MIN(len, (size_t)room), COPY_BUFFER);
    void *buf = kmalloc(n);
    if (!buf)
        return -ENOMEM;
    ssize_t r = read_into(in, buf, n, pos);
    if (r > 0)
        r = pipe_write_all(pipe, buf, (size_t)r);
    kfree(buf);
    return r;
}

static ssize_t do_splice(struct file *in, uint64_t *pos_in, struct file *out, uint64_t *pos_out,
                         size_t len, unsigned flags)
{
    bool from_pipe = file_is_pipe(in), to_pipe = file_is_pipe(out);
    if (!file_readable(in) || !file_writable(out))
        return -EBADF;
    if (!from_pipe && !to_pipe)
        return -EINVAL;
    if ((from_pipe && pos_in) || (to_pipe && pos_out))
        return -ESPIPE;
    if (out->flags & OPEN_APPEND)
        return -EINVAL;
    if (in->data == out->data && from_pipe && to_pipe)
        return -EINVAL;
    bool nonblock = flags & SPLICE_NONBLOCK;
    if (to_pipe && from_pipe) { /* by copying: one pipe's lock is not held while the other's is */
        int ready = pipe_wait_data(in, nonblock);
        if (ready <= 0)
            return ready;
    }
    if (to_pipe)
        return splice_to_pipe(in, pos_in, out, len, nonblock || out->flags & OPEN_NONBLOCK);
    return pipe_drain(in, len, nonblock, splice_sink, out, pos_out);
}

/* Runs fn on two descriptors and the positions behind two optional user pointers. */
static long with_positions(int in_fd, uaddr_t in_off, int out_fd, uaddr_t out_off, size_t len,
                           unsigned flags,
                           ssize_t (*fn)(struct file *, uint64_t *, struct file *, uint64_t *,
                                         size_t, unsigned))
{
    int64_t pos[2] = {0, 0};
    if ((in_off && copy_from_user(&pos[0], in_off, 8)) ||
        (out_off && copy_from_user(&pos[1], out_off, 8)))
        return -EFAULT;
    if (pos[0] < 0 || pos[1] < 0)
        return -EINVAL;
    struct fd_hold in = fd_hold(in_fd);
    if (!in.file)
        return -EBADF;
    struct fd_hold out = fd_hold(out_fd);
    long n = -EBADF;
    if (out.file) {
        n = fn(in.file, in_off ? (uint64_t *)&pos[0] : NULL, out.file,
               out_off ? (uint64_t *)&pos[1] : NULL, MIN(len, RW_COUNT_MAX), flags);
        fd_drop(out);
    }
    fd_drop(in);
    if (n > 0 && ((in_off && copy_to_user(in_off, &pos[0], 8)) ||
                  (out_off && copy_to_user(out_off, &pos[1], 8))))
        return -EFAULT;
    return n;
}

long sys_splice(int in_fd, uaddr_t in_off, int out_fd, uaddr_t out_off, size_t len, unsigned flags)
{
    if (flags & ~(SPLICE_MOVE | SPLICE_NONBLOCK | SPLICE_MORE | SPLICE_GIFT))
        return -EINVAL;
    return len ? with_positions(in_fd, in_off, out_fd, out_off, len, flags, do_splice) : 0;
}

static ssize_t do_tee(struct file *in, uint64_t *pos_in, struct file *out, uint64_t *pos_out,
                      size_t len, unsigned flags)
{
    (void)pos_in;
    (void)pos_out;
    if (!file_is_pipe(in) || !file_is_pipe(out) || in->data == out->data)
        return -EINVAL;
    if (!file_readable(in) || !file_writable(out))
        return -EBADF;
    return pipe_tee(in, out, len, flags & SPLICE_NONBLOCK);
}

long sys_tee(int in_fd, int out_fd, size_t len, unsigned flags)
{
    if (flags & ~(SPLICE_MOVE | SPLICE_NONBLOCK | SPLICE_MORE | SPLICE_GIFT))
        return -EINVAL;
    return len ? with_positions(in_fd, 0, out_fd, 0, len, flags, do_tee) : 0;
}

/* Pages of the program are copied, not lent: it sees no difference but the cost. */
long sys_vmsplice(int fd, uaddr_t iov, size_t count, unsigned flags)
{
    if (flags & ~(SPLICE_MOVE | SPLICE_NONBLOCK | SPLICE_MORE | SPLICE_GIFT))
        return -EINVAL;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    bool pipe = file_is_pipe(h.file), writes = file_writable(h.file);
    fd_drop(h);
    if (!pipe)
        return -EBADF;
    return writes ? sys_writev(fd, iov, count) : sys_readv(fd, iov, count);
}

/* --- copy_file_range -------------------------------------------------------------------------- */

static ssize_t do_copy_range(struct file *in, uint64_t *pos_in, struct file *out, uint64_t *pos_out,
                             size_t len, unsigned flags)
{
    (void)flags;
    if (!file_readable(in) || !file_writable(out) || out->flags & OPEN_APPEND)
        return -EBADF;
    if (!in->vnode || !out->vnode)
        return -EINVAL;
    if (vnode_type(in->vnode) == MODE_DIR || vnode_type(out->vnode) == MODE_DIR)
        return -EISDIR;
    if (vnode_type(in->vnode) != MODE_REG || vnode_type(out->vnode) != MODE_REG)
        return -EINVAL;
    uint64_t at_in = pos_in ? *pos_in : in->pos, at_out = pos_out ? *pos_out : out->pos;
    if (in->vnode == out->vnode && at_in < at_out + len && at_out < at_in + len)
        return -EINVAL;
    ssize_t n = copy_range(in, &at_in, out, &at_out, len);
    if (n > 0) {
        *(pos_in ? pos_in : &in->pos) = at_in;
        *(pos_out ? pos_out : &out->pos) = at_out;
    }
    return n;
}

long sys_copy_file_range(int in_fd, uaddr_t in_off, int out_fd, uaddr_t out_off, size_t len,
                         unsigned flags)
{
    if (flags)
        return -EINVAL;
    return with_positions(in_fd, in_off, out_fd, out_off, len, 0, do_copy_range);
}
