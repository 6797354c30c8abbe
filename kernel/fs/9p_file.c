/* 9P: file data. What is cached when is told in 9p.c. */
#include "fs/9p_internal.h"

static ssize_t write_data(struct p9_fs *p, uint32_t fid, uint64_t offset, const void *buf, size_t n)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p, P9_WRITE, fid);
    if (err)
        return err;
    p9_put(&m, offset, 8);
    p9_put(&m, n, 4);
    ssize_t put = p9_call_data(&m, buf, n, NULL, 0);
    p9_end(&m);
    return put;
}

int p9_readpage(struct vnode *v, struct page *page, uint64_t index)
{
    uint32_t fid;
    int err = p9_open_fid(v, false, &fid);
    if (err)
        return err;
    char *data = page_addr(page);
    size_t have = 0;
    while (have < PAGE_SIZE) {
        ssize_t n = p9_read_data(p9_fs_of(v), P9_READ, fid, index * PAGE_SIZE + have, data + have,
                                 PAGE_SIZE - have);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        have += n;
    }
    memset(data + have, 0, PAGE_SIZE - have);
    return 0;
}

/* The bytes that the server took, all of them unless it fails meanwhile; an error if none. */
static ssize_t write_all(struct vnode *v, uint64_t at, const char *data, size_t n)
{
    uint32_t fid;
    size_t done = 0;
    int err = p9_open_fid(v, true, &fid);
    while (!err && done < n) {
        ssize_t put = write_data(p9_fs_of(v), fid, at + done, data + done, n - done);
        if (put > 0)
            done += put;
        else
            err = put ? (int)put : -EIO;
    }
    return done ? (ssize_t)done : err;
}

int p9_writepage(struct vnode *v, struct page *page, uint64_t index)
{
    uint64_t start = index * PAGE_SIZE, size = v->attr.size;
    if (start >= size)
        return 0;
    ssize_t want = MIN(PAGE_SIZE, size - start), n = write_all(v, start, page_addr(page), want);
    return n == want ? 0 : n < 0 ? (int)n : -EIO;
}

static ssize_t p9_read(struct file *f, struct uio *u, uint64_t *pos)
{
    struct vnode *v = f->vnode;
    if (*pos + u->resid > v->attr.size) { /* the host may have appended */
        struct vattr a;
        int err = p9_getattr(v, &a);
        if (err)
            return err;
    }
    return regular_file_ops.read(f, u, pos);
}

static ssize_t p9_write(struct file *f, struct uio *u, uint64_t *pos)
{
    struct vnode *v = f->vnode;
    size_t chunk = p9_fs_of(v)->io_max, before = u->resid;
    char *buf = kmalloc(MIN(chunk, MAX(before, 1u)));
    if (!buf)
        return -ENOMEM;
    rwlock_write(&v->lock);
    int err = 0;
    struct vattr a;
    if (f->flags & OPEN_APPEND) {
        err = p9_refetch_attr(v, &a);
        if (!err)
            *pos = a.size;
    }
    size_t done = 0;
    if (!err && (*pos > INT64_MAX || before > INT64_MAX - *pos))
        err = -EFBIG;
    uint64_t first = *pos / PAGE_SIZE, last = (*pos + before) / PAGE_SIZE;
    if (!err)
        err = page_cache_flush(v, first, last); /* what mappings changed there is older */
    while (u->resid && !err) {
        size_t n = MIN(chunk, u->resid);
        err = uio_read(buf, n, u);
        if (err)
            break;
        ssize_t put = write_all(v, *pos + done, buf, n);
        if (put > 0)
            done += put;
        if (put < (ssize_t)n) /* the error, if it stays, comes with the next call */
            err = put < 0 ? (int)put : -EIO;
    }
    if (done) {
        page_cache_flush(v, first, last);
        *pos += done;
        if (!f->keeps_setid)
            vnode_clear_setid(v);
        if (!p9_refetch_attr(v, &a))
            v->attr = a;
        else /* removed meanwhile */
            WRITE_ONCE(v->attr.size, MAX(v->attr.size, *pos));
    }
    rwlock_write_done(&v->lock);
    kfree(buf);
    return done ? (ssize_t)done : err;
}

static int64_t p9_seek(struct file *f, int64_t offset, int whence)
{
    struct vattr a;
    int err = whence >= WHENCE_END ? p9_getattr(f->vnode, &a) : 0;
    return err ? err : regular_file_ops.seek(f, offset, whence);
}

static int p9_fsync(struct file *f, bool data_only)
{
    struct vnode *v = f->vnode;
    uint32_t fid;
    struct p9_msg m;
    int err = vnode_sync(v);
    if (!err)
        err = p9_open_fid(v, false, &fid);
    if (!err)
        err = p9_begin_fid(&m, p9_fs_of(v), P9_FSYNC, fid);
    if (err)
        return err;
    p9_put(&m, data_only, 4);
    return p9_call_end(&m);
}

static void p9_file_release(struct file *f)
{
    int err = vnode_sync(f->vnode);
    if (err)
        klog(LOG_ERROR, "9p: data of a mapping was not written: error %d", err);
}

static const struct file_ops p9_file_ops = {
    .name = "9p",
    .read = p9_read,
    .write = p9_write,
    .seek = p9_seek,
    .fsync = p9_fsync,
    .release = p9_file_release,
};

/* Opens on the server too, so that its refusal is the program's. */
int p9_open(struct vnode *v, struct file *f)
{
    uint32_t fid;
    switch (vnode_type(v)) {
    case MODE_REG:
        f->ops = &p9_file_ops;
        return p9_open_fid(v, file_writable(f), &fid);
    case MODE_DIR:
        f->ops = &directory_file_ops;
        return p9_open_fid(v, false, &fid);
    case MODE_FIFO:
        return vfs_fifo_open ? vfs_fifo_open(v, f) : -ENXIO;
    case MODE_CHR:
        return device_open(v, f);
    default:
        return -ENXIO;
    }
}
