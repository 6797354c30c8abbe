/* Operations of regular files, on the page cache, and of directories. */
#include "fs/internal.h"
#include "core/thread.h"
#include "core/timer.h"

#define FILE_SIZE_MAX INT64_MAX

/* relatime: the access time is moved on if it is not newer than the last change, or a day old. */
static void touch_atime(struct file *f)
{
    struct vattr *a = &f->vnode->attr;
    if (likely(a->atime_ns > a->mtime_ns && a->atime_ns > a->ctime_ns &&
               time_coarse() < NSEC_PER_SEC * 86400))
        return;
    if ((f->flags & OPEN_NOATIME) || f->vnode->fs->flags & (MOUNT_RDONLY | MOUNT_NOATIME))
        return;
    int64_t now = time_realtime();
    if (a->atime_ns <= a->mtime_ns || a->atime_ns <= a->ctime_ns ||
        now - a->atime_ns > NSEC_PER_SEC * 86400)
        a->atime_ns = now;
}

static ssize_t regular_read(struct file *f, struct uio *u, uint64_t *pos)
{
    struct vnode *v = f->vnode;
    uint64_t at = *pos, size = READ_ONCE(v->attr.size);
    if (at >= size)
        return 0;
    uint64_t end = at + MIN((uint64_t)u->resid, size - at);
    size_t before = u->resid;
    int err = 0;
    while (at < end && !err) {
        size_t off = at % PAGE_SIZE, n = MIN(PAGE_SIZE - off, end - at);
        struct page *page;
        err = vnode_get_page(v, at / PAGE_SIZE, false, &page);
        if (!err) {
            err = uio_write(u, (char *)page_addr(page) + off, n);
            page_put(page);
        } else if (err == -ENOENT) {
            err = uio_zero(u, n);
        } else if (err == -ENXIO) { /* truncated meanwhile */
            err = 0;
            break;
        }
        at += n;
    }
    touch_atime(f);
    size_t done = before - u->resid;
    *pos += done;
    return done ? (ssize_t)done : err;
}

/* A whole new page is filled before anybody can see it, and need not be cleared. -EEXIST if there
 * is a page already; nothing has been copied then. *done: bytes that became part of the file. */
static int write_new_page(struct vnode *v, uint64_t index, struct uio *u, size_t *done)
{
    struct page *page = page_cache_find(v->cache, index);
    if (page) {
        page_put(page);
        return -EEXIST;
    }
    page = page_alloc(0, 0);
    if (!page)
        return -ENOMEM;
    size_t before = u->resid;
    int fault = uio_read(page_addr(page), PAGE_SIZE, u);
    size_t got = before - u->resid;
    memset((char *)page_addr(page) + got, 0, PAGE_SIZE - got);
    int err = page_cache_add(v, index, page);
    if (err == -EEXIST) { /* a fault on a mapping was faster */
        struct page *other = page_cache_find(v->cache, index);
        ASSERT(other); /* v->lock keeps truncation out */
        memcpy(page_addr(other), page_addr(page), got);
        page_put(other);
        page_put(page);
    } else if (err) {
        page_put(page);
        return err;
    }
    *done = got;
    return fault;
}

static int write_part(struct vnode *v, uint64_t at, size_t n, struct uio *u, size_t *done)
{
    struct page *page;
    int err = page_cache_grab(v, at / PAGE_SIZE, &page);
    if (err)
        return err;
    size_t before = u->resid;
    err = uio_read((char *)page_addr(page) + at % PAGE_SIZE, n, u);
    *done = before - u->resid;
    vnode_dirty_page(v, page);
    page_put(page);
    return err;
}

/* v->lock held for writing. Copies what fits; the bytes written or an error. */
static ssize_t write_locked(struct vnode *v, struct uio *u, uint64_t at)
{
    bool storage = v->ops->readpage != NULL;
    uint64_t start = at, end = at + u->resid;
    int err = 0;
    while (at < end && !err) {
        size_t n = MIN(PAGE_SIZE - at % PAGE_SIZE, end - at), done = 0;
        err = -EEXIST;
        if (n == PAGE_SIZE && !storage)
            err = write_new_page(v, at / PAGE_SIZE, u, &done);
        if (err == -EEXIST)
            err = write_part(v, at, n, u, &done);
        at += done;
        if (at > v->attr.size)
            WRITE_ONCE(v->attr.size, at);
    }
    if (err == -ENOMEM && !storage)
        err = -ENOSPC; /* memory is this file system's storage */
    return at > start ? (ssize_t)(at - start) : err;
}

int (*vfs_size_limit)(uint64_t at, uint64_t *end);

/* A write may be shorter than wanted, but not nothing. */
static int cut_to_limit(struct uio *u, uint64_t at)
{
    if (at >= FILE_SIZE_MAX || u->resid > FILE_SIZE_MAX - at)
        return -EFBIG;
    uint64_t end = at + u->resid;
    int err = vfs_size_limit ? vfs_size_limit(at, &end) : 0;
    if (err)
        return err;
    u->resid = end - at;
    return 0;
}

static ssize_t regular_write(struct file *f, struct uio *u, uint64_t *pos)
{
    struct vnode *v = f->vnode;
    if (!u->resid)
        return 0;
    rwlock_write(&v->lock);
    uint64_t at = u->append || f->flags & OPEN_APPEND ? v->attr.size : *pos;
    size_t whole = u->resid;
    ssize_t n = cut_to_limit(u, at);
    if (!n)
        n = vnode_check_seals(v, MAX(at + u->resid, v->attr.size), true);
    if (!n) {
        n = write_locked(v, u, at);
        u->resid = whole - (n > 0 ? (size_t)n : 0);
        if (n > 0) {
            *pos = at + n;
            v->attr.mtime_ns = v->attr.ctime_ns = time_realtime();
            if (!f->keeps_setid)
                vnode_clear_setid(v);
        }
    }
    rwlock_write_done(&v->lock);
    if (n > 0 && (f->flags & OPEN_DSYNC)) {
        int err = vnode_sync(v);
        if (err)
            return err;
    }
    return n;
}

/* The first byte of data at or behind offset, or of a hole; the end counts as a hole. */
static int64_t seek_data(struct vnode *v, uint64_t offset, bool hole)
{
    uint64_t size = v->attr.size;
    if (offset >= size)
        return -ENXIO;
    if (v->ops->readpage) /* where the holes are is the file system's secret */
        return hole ? size : offset;
    uint64_t first = offset / PAGE_SIZE, index = first;
    for (;; index++) {
        uint64_t found = index;
        struct page *page = page_cache_next(v->cache, &found);
        if (page)
            page_put(page);
        if (!hole) {
            uint64_t data = found == first ? offset : found * PAGE_SIZE;
            return page && data < size ? (int64_t)data : -ENXIO;
        }
        if (!page || found != index)
            return MIN(index == first ? offset : index * PAGE_SIZE, size);
    }
}

static int64_t regular_seek(struct file *f, int64_t offset, int whence)
{
    struct vnode *v = f->vnode;
    int64_t base = 0;
    switch (whence) {
    case WHENCE_SET:
        break;
    case WHENCE_CUR:
        base = f->pos;
        break;
    case WHENCE_END:
        base = v->attr.size;
        break;
    case WHENCE_DATA:
    case WHENCE_HOLE:
        if (offset < 0)
            return -ENXIO;
        offset = seek_data(v, offset, whence == WHENCE_HOLE);
        if (offset < 0)
            return offset;
        break;
    default:
        return -EINVAL;
    }
    int64_t pos;
    if (__builtin_add_overflow(base, offset, &pos))
        return -EOVERFLOW;
    if (pos < 0)
        return -EINVAL;
    f->pos = pos;
    return pos;
}

static int regular_fsync(struct file *f, bool data_only)
{
    (void)data_only;
    return vnode_sync(f->vnode);
}

const struct file_ops regular_file_ops = {
    .name = "regular",
    .read = regular_read,
    .write = regular_write,
    .seek = regular_seek,
    .fsync = regular_fsync,
};

int vnode_truncate(struct vnode *v, uint64_t size)
{
    if (!v->cache)
        return -EINVAL;
    if (size > FILE_SIZE_MAX)
        return -EFBIG;
    rwlock_write(&v->lock);
    int err = vnode_check_seals(v, size, false);
    if (!err && v->ops->setattr) {
        struct vattr a = v->attr;
        a.size = size;
        err = v->ops->setattr(v, &a, SETATTR_SIZE);
    }
    if (!err)
        err = page_cache_set_size(v, size);
    if (!err)
        v->attr.mtime_ns = v->attr.ctime_ns = time_realtime();
    rwlock_write_done(&v->lock);
    return err;
}

#define FALLOC_KEEP_SIZE 1
#define FALLOC_PUNCH_HOLE 2
#define FALLOC_ZERO_RANGE 16

/* Gives every page of the range memory now; on failure what lies behind the end has none. */
static int allocate_range(struct vnode *v, uint64_t start, uint64_t end)
{
    struct filesystem *fs = v->fs;
    uint64_t first = start / PAGE_SIZE, last = DIV_ROUND_UP(end, PAGE_SIZE);
    struct mem_stats mem;
    mem_stats(&mem);
    if (last - first > (fs->max_pages ? (uint64_t)fs->max_pages : mem.total_pages))
        return -ENOSPC;
    for (uint64_t i = first; i < last; i++) {
        struct page *page;
        int err = page_cache_grab(v, i, &page);
        if (err) {
            page_cache_drop(v, MAX(first, DIV_ROUND_UP(v->attr.size, PAGE_SIZE)), UINT64_MAX);
            return err == -ENOMEM ? -ENOSPC : err;
        }
        page_put(page);
        cond_resched();
    }
    return 0;
}

/* With v->lock held for writing. */
static int fallocate_locked(struct vnode *v, int mode, uint64_t offset, uint64_t end)
{
    /* Behind the end there is nothing to clear. */
    uint64_t size = ROUND_UP(v->attr.size, PAGE_SIZE);
    int err = 0;
    if (mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE) && offset < size)
        err = page_cache_punch(v, offset, MIN(end, size));
    if (err || mode & FALLOC_PUNCH_HOLE)
        return err;
    err = allocate_range(v, offset, end);
    if (!err && end > v->attr.size && !(mode & FALLOC_KEEP_SIZE))
        WRITE_ONCE(v->attr.size, end);
    return err;
}

int vnode_fallocate(struct vnode *v, int mode, uint64_t offset, uint64_t len)
{
    uint64_t end;
    int what = mode & ~FALLOC_KEEP_SIZE;
    if (!v->cache)
        return vnode_type(v) == MODE_FIFO ? -ESPIPE : -ENODEV;
    if ((what && what != FALLOC_PUNCH_HOLE && what != FALLOC_ZERO_RANGE) ||
        mode == FALLOC_PUNCH_HOLE || v->ops->readpage)
        return -EOPNOTSUPP;
    if (!len || __builtin_add_overflow(offset, len, &end))
        return -EINVAL;
    if (end > FILE_SIZE_MAX)
        return -EFBIG;
    rwlock_write(&v->lock);
    bool writes = what, grows = end > v->attr.size && !(mode & FALLOC_KEEP_SIZE);
    int err = vnode_check_seals(v, grows ? end : v->attr.size, writes);
    if (!err)
        err = fallocate_locked(v, mode, offset, end);
    if (!err)
        v->attr.mtime_ns = v->attr.ctime_ns = time_realtime();
    rwlock_write_done(&v->lock);
    return err;
}

/* --- directories ------------------------------------------------------------------------------ */

static int directory_readdir(struct file *f, struct dir_emit *d)
{
    struct vnode *v = f->vnode;
    if (!v->ops->readdir)
        return -ENOTDIR;
    if (f->pos == 0) {
        if (!d->emit(d, ".", 1, v->attr.ino, MODE_DIR, 1))
            return 0;
        f->pos = 1;
    }
    if (f->pos == 1) {
        dcache_lock();
        uint64_t parent = f->dentry->parent->vnode->attr.ino;
        dcache_unlock();
        if (!d->emit(d, "..", 2, parent, MODE_DIR, DIR_FIRST_POS))
            return 0;
        f->pos = DIR_FIRST_POS;
    }
    rwlock_read(&v->lock);
    int err = vnode_is_dead(v) ? -ENOENT : v->ops->readdir(v, &f->pos, d);
    rwlock_read_done(&v->lock);
    touch_atime(f);
    return err;
}

static int64_t directory_seek(struct file *f, int64_t offset, int whence)
{
    int64_t pos = whence == WHENCE_CUR ? (int64_t)f->pos + offset : offset;
    if ((whence != WHENCE_SET && whence != WHENCE_CUR) || pos < 0)
        return -EINVAL;
    f->pos = pos;
    return pos;
}

const struct file_ops directory_file_ops = {
    .name = "directory",
    .readdir = directory_readdir,
    .seek = directory_seek,
    .fsync = regular_fsync,
};
