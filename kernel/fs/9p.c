/*
 * The 9P2000.L file system (diod's protocol.md describes it).
 *
 * The host may change a volume at any time, so names are looked up every time (vnode->uncached) and
 * attributes are fetched on every look-up and stat. File data is cached by page and dropped when an
 * open, or a read at the end, finds that size or modification time changed: what was closed
 * elsewhere is seen by who opens it afterwards. Writes go straight through; only shared mappings
 * make dirty pages, which go out with fsync, msync and the last close.
 *
 * A vnode keeps a fid that names it and, once needed, one that is open.
 */
#include "core/timer.h"
#include "fs/9p_rpc.h"
#include "fs/internal.h"

#define MESSAGE_MAX (128u * 1024)
#define IO_OVERHEAD 24u /* Twrite's header is 23 bytes */
#define NODE_BUCKETS 64u

#define P9_GETATTR_BASIC 0x7ffull
#define P9_SETATTR_ATIME_SET 0x80u
#define P9_SETATTR_MTIME_SET 0x100u
#define P9_REMOVE_DIR 0x200u

struct p9_fs {
    struct filesystem fs;
    struct p9_transport *transport;
    uint32_t io_max; /* bytes of data in one message */
    spinlock_t lock; /* all below */
    struct list nodes[NODE_BUCKETS];
    uint32_t next_fid;
    uint32_t *free_fids; /* given back */
    size_t free_count, free_size;
};

struct p9_node {
    struct list link; /* in nodes, by qid.path */
    struct vnode *vnode;
    uint32_t fid;
    struct mutex open_lock;
    uint32_t open_fid; /* or P9_NOFID */
    bool writable;     /* how it is open */
};

static struct list transports = LIST_INIT(transports);
static const struct vnode_ops p9_ops;

static struct p9_fs *fs_of(const struct vnode *v)
{
    return container_of(v->fs, struct p9_fs, fs);
}

static struct p9_node *node_of(const struct vnode *v)
{
    return v->data;
}

static uint32_t new_fid(struct p9_fs *p)
{
    spin_lock(&p->lock);
    uint32_t fid = p->free_count ? p->free_fids[--p->free_count] : p->next_fid++;
    spin_unlock(&p->lock);
    return fid;
}

/* The server does not know this fid, or not any more. */
static void free_fid(struct p9_fs *p, uint32_t fid)
{
    spin_lock(&p->lock);
    if (p->free_count == p->free_size) {
        size_t size = MAX(p->free_size * 2, 64u);
        uint32_t *more = krealloc(p->free_fids, size * sizeof(*more));
        if (more) {
            p->free_fids = more;
            p->free_size = size;
        }
    }
    if (p->free_count < p->free_size) /* else one number of 2^32 is lost */
        p->free_fids[p->free_count++] = fid;
    spin_unlock(&p->lock);
}

/* --- requests --------------------------------------------------------------------------------- */

/* A request whose first field is a fid. */
static int begin_fid(struct p9_msg *m, struct p9_fs *p, enum p9_type type, uint32_t fid)
{
    int err = p9_begin(m, p->transport, type);
    if (!err)
        p9_put(m, fid, 4);
    return err;
}

/* Calls and ends a request whose reply holds nothing of interest. */
static int call_end(struct p9_msg *m)
{
    int err = p9_call(m);
    p9_end(m);
    return err;
}

static void clunk(struct p9_fs *p, uint32_t fid)
{
    struct p9_msg m;
    if (begin_fid(&m, p, P9_CLUNK, fid))
        return; /* the server keeps a fid too many; no more can be done */
    if (call_end(&m) != -EPROTO)
        free_fid(p, fid); /* a failed clunk ends it as well */
}

/* A new fid for a name below fid, or for fid itself (name NULL). */
static int walk(struct p9_fs *p, uint32_t fid, const char *name, size_t len, uint32_t *out)
{
    struct p9_msg m;
    struct p9_qid qid;
    int err = begin_fid(&m, p, P9_WALK, fid);
    if (err)
        return err;
    uint32_t fresh = new_fid(p);
    p9_put(&m, fresh, 4);
    p9_put(&m, name ? 1 : 0, 2);
    if (name)
        p9_put_text(&m, name, len);
    err = p9_call(&m);
    if (err) {
        p9_end(&m);
        if (err != -EPROTO)
            free_fid(p, fresh);
        return err;
    }
    if (p9_get(&m, 2) != (name ? 1u : 0u))
        m.bad = true;
    if (name)
        p9_get_qid(&m, &qid);
    err = p9_check(&m);
    p9_end(&m);
    *out = fresh;
    return err; /* after nonsense the number is not used again */
}

static int64_t get_time(struct p9_msg *m)
{
    uint64_t sec = p9_get(m, 8), nsec = p9_get(m, 8);
    return (int64_t)(sec * NSEC_PER_SEC + nsec);
}

static int getattr(struct p9_fs *p, uint32_t fid, struct vattr *a)
{
    struct p9_msg m;
    struct p9_qid qid;
    int err = begin_fid(&m, p, P9_GETATTR, fid);
    if (err)
        return err;
    p9_put(&m, P9_GETATTR_BASIC, 8);
    err = p9_call(&m);
    if (!err) {
        *a = (struct vattr){.dev = p->fs.dev};
        p9_get(&m, 8); /* which are valid: the basic ones always */
        p9_get_qid(&m, &qid);
        a->ino = qid.path;
        a->mode = (uint32_t)p9_get(&m, 4);
        a->uid = (uint32_t)p9_get(&m, 4);
        a->gid = (uint32_t)p9_get(&m, 4);
        a->nlink = (uint32_t)p9_get(&m, 8);
        uint64_t rdev = p9_get(&m, 8); /* as dev_t of a Linux host */
        a->rdev = (rdev >> 8 & 0xfff) << 32 | (rdev & 0xff) | (rdev >> 12 & 0xfff00);
        a->size = p9_get(&m, 8);
        a->blksize = (uint32_t)p9_get(&m, 8);
        a->blocks = p9_get(&m, 8);
        a->atime_ns = get_time(&m);
        a->mtime_ns = get_time(&m);
        a->ctime_ns = get_time(&m);
        err = p9_check(&m);
        if (!err && a->size > INT64_MAX)
            err = -EPROTO;
    }
    p9_end(&m);
    return err;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct vnode *find_node(struct p9_fs *p, const struct vattr *a)
{
    struct vnode *found = NULL;
    struct p9_node *n;
    spin_lock(&p->lock);
    list_for_each (n, &p->nodes[a->ino % NODE_BUCKETS], link) {
        struct vnode *v = n->vnode;
        if (v->attr.ino == a->ino && !((v->attr.mode ^ a->mode) & MODE_FMT) &&
            ref_get_unless_zero(&v->refs)) {
            found = v;
            break;
        }
    }
    spin_unlock(&p->lock);
    return found;
}

static struct vnode *new_node(struct p9_fs *p, uint32_t fid, const struct vattr *a)
{
    struct p9_node *n = kzalloc(sizeof(*n));
    struct vnode *v = n ? vnode_alloc(&p->fs, &p9_ops, a->ino, a->mode) : NULL;
    if (!v) {
        kfree(n);
        return NULL;
    }
    v->attr = *a;
    v->uncached = true;
    v->data = n;
    n->vnode = v;
    n->fid = fid;
    n->open_fid = P9_NOFID;
    mutex_init(&n->open_lock);
    spin_lock(&p->lock);
    list_push_front(&p->nodes[a->ino % NODE_BUCKETS], &n->link);
    spin_unlock(&p->lock);
    return v;
}

/* Takes over fresh attributes; cached data goes if it may be old. Of a directory, whose lock may be
 * held, what permissions depend on. */
static void refresh(struct vnode *v, const struct vattr *a)
{
    if (vnode_type(v) == MODE_DIR) {
        WRITE_ONCE(v->attr.mode, a->mode);
        WRITE_ONCE(v->attr.uid, a->uid);
        WRITE_ONCE(v->attr.gid, a->gid);
        return;
    }
    rwlock_write(&v->lock);
    bool changed = v->attr.size != a->size || v->attr.mtime_ns != a->mtime_ns;
    if (changed && v->cache)
        page_cache_flush(v, 0, UINT64_MAX);
    v->attr = *a;
    rwlock_write_done(&v->lock);
}

/* The vnode of a fid, which is the vnode's from now on or clunked. */
static int vnode_of_fid(struct p9_fs *p, uint32_t fid, struct vnode **out)
{
    struct vattr a;
    int err = getattr(p, fid, &a);
    if (err) {
        clunk(p, fid);
        return err;
    }
    struct vnode *v = find_node(p, &a);
    if (v) {
        clunk(p, fid);
        refresh(v, &a);
    } else {
        v = new_node(p, fid, &a);
        if (!v) {
            clunk(p, fid);
            return -ENOMEM;
        }
    }
    *out = v;
    return 0;
}

static int p9_getattr(struct vnode *v, struct vattr *out)
{
    int err = getattr(fs_of(v), node_of(v)->fid, out);
    if (!err)
        refresh(v, out);
    if (err == -ENOENT && node_of(v)->open_fid != P9_NOFID) {
        /* Removed while it is open: servers that go by path (QEMU 7.2) cannot tell any more. */
        *out = v->attr;
        out->nlink = 0;
        return 0;
    }
    return err;
}

static int p9_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out)
{
    uint32_t fid;
    int err = walk(fs_of(dir), node_of(dir)->fid, name, len, &fid);
    return err ? err : vnode_of_fid(fs_of(dir), fid, out);
}

static void p9_release(struct vnode *v)
{
    struct p9_fs *p = fs_of(v);
    struct p9_node *n = v->data;
    spin_lock(&p->lock);
    list_remove(&n->link);
    spin_unlock(&p->lock);
    if (n->open_fid != P9_NOFID)
        clunk(p, n->open_fid);
    clunk(p, n->fid);
    kfree(n);
}

/* The fid for reading or writing: opened when first needed, for both if the server lets us. */
static int open_fid(struct vnode *v, bool write, uint32_t *out)
{
    struct p9_fs *p = fs_of(v);
    struct p9_node *n = v->data;
    int err = 0;
    mutex_lock(&n->open_lock);
    if (n->open_fid == P9_NOFID || (write && !n->writable)) {
        bool dir = vnode_type(v) == MODE_DIR;
        err = -EACCES;
        for (int writable = dir ? 0 : 1; err && writable >= (write ? 1 : 0); writable--) {
            uint32_t fid;
            struct p9_msg m;
            err = walk(p, n->fid, NULL, 0, &fid);
            if (err)
                break;
            err = begin_fid(&m, p, P9_LOPEN, fid);
            if (!err) {
                p9_put(&m, dir ? OPEN_DIRECTORY : writable ? OPEN_RDWR : OPEN_RDONLY, 4);
                err = call_end(&m);
            }
            if (err) {
                clunk(p, fid);
                continue;
            }
            if (n->open_fid != P9_NOFID)
                clunk(p, n->open_fid);
            n->open_fid = fid;
            n->writable = writable;
        }
    }
    *out = n->open_fid;
    mutex_unlock(&n->open_lock);
    return err;
}

/* --- data ------------------------------------------------------------------------------------- */

/* Reads or, with Treaddir, lists: bytes into buf. */
static ssize_t read_data(struct p9_fs *p, enum p9_type type, uint32_t fid, uint64_t offset,
                         void *buf, size_t n)
{
    struct p9_msg m;
    int err = begin_fid(&m, p, type, fid);
    if (err)
        return err;
    p9_put(&m, offset, 8);
    p9_put(&m, n, 4);
    ssize_t got = p9_call_data(&m, NULL, 0, buf, n);
    p9_end(&m);
    return got;
}

static ssize_t write_data(struct p9_fs *p, uint32_t fid, uint64_t offset, const void *buf, size_t n)
{
    struct p9_msg m;
    int err = begin_fid(&m, p, P9_WRITE, fid);
    if (err)
        return err;
    p9_put(&m, offset, 8);
    p9_put(&m, n, 4);
    ssize_t put = p9_call_data(&m, buf, n, NULL, 0);
    p9_end(&m);
    return put;
}

static int p9_readpage(struct vnode *v, struct page *page, uint64_t index)
{
    uint32_t fid;
    int err = open_fid(v, false, &fid);
    if (err)
        return err;
    char *data = page_addr(page);
    size_t have = 0;
    while (have < PAGE_SIZE) {
        ssize_t n = read_data(fs_of(v), P9_READ, fid, index * PAGE_SIZE + have, data + have,
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
    int err = open_fid(v, true, &fid);
    while (!err && done < n) {
        ssize_t put = write_data(fs_of(v), fid, at + done, data + done, n - done);
        if (put > 0)
            done += put;
        else
            err = put ? (int)put : -EIO;
    }
    return done ? (ssize_t)done : err;
}

static int p9_writepage(struct vnode *v, struct page *page, uint64_t index)
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
    size_t chunk = fs_of(v)->io_max, before = u->resid;
    char *buf = kmalloc(MIN(chunk, MAX(before, 1u)));
    if (!buf)
        return -ENOMEM;
    rwlock_write(&v->lock);
    int err = 0;
    struct vattr a;
    if (f->flags & OPEN_APPEND) {
        err = getattr(fs_of(v), node_of(v)->fid, &a);
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
        if (!getattr(fs_of(v), node_of(v)->fid, &a))
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
        err = open_fid(v, false, &fid);
    if (!err)
        err = begin_fid(&m, fs_of(v), P9_FSYNC, fid);
    if (err)
        return err;
    p9_put(&m, data_only, 4);
    return call_end(&m);
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
static int p9_open(struct vnode *v, struct file *f)
{
    uint32_t fid;
    switch (vnode_type(v)) {
    case MODE_REG:
        f->ops = &p9_file_ops;
        return open_fid(v, file_writable(f), &fid);
    case MODE_DIR:
        f->ops = &directory_file_ops;
        return open_fid(v, false, &fid);
    case MODE_FIFO:
        return vfs_fifo_open ? vfs_fifo_open(v, f) : -ENXIO;
    case MODE_CHR:
        return device_open(v, f);
    default:
        return -ENXIO;
    }
}

static int p9_setattr(struct vnode *v, const struct vattr *a, unsigned which)
{
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(v), P9_SETATTR, node_of(v)->fid);
    if (err)
        return err;
    uint32_t valid = which & (SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_SIZE |
                              SETATTR_ATIME | SETATTR_MTIME); /* the same bits */
    if (which & SETATTR_ATIME)
        valid |= P9_SETATTR_ATIME_SET;
    if (which & SETATTR_MTIME)
        valid |= P9_SETATTR_MTIME_SET;
    p9_put(&m, valid, 4);
    p9_put(&m, a->mode & 07777, 4);
    p9_put(&m, a->uid, 4);
    p9_put(&m, a->gid, 4);
    p9_put(&m, a->size, 8);
    p9_put(&m, a->atime_ns / NSEC_PER_SEC, 8);
    p9_put(&m, a->atime_ns % NSEC_PER_SEC, 8);
    p9_put(&m, a->mtime_ns / NSEC_PER_SEC, 8);
    p9_put(&m, a->mtime_ns % NSEC_PER_SEC, 8);
    return call_end(&m);
}

/* --- names ------------------------------------------------------------------------------------ */

/* The new file's vnode; it belongs to who made it, if the server can keep owners at all. */
static int made(struct vnode *dir, const char *name, size_t len, const struct cred *cred,
                struct vnode **out)
{
    int err = p9_lookup(dir, name, len, out);
    if (err || (*out)->attr.uid == cred->fsuid)
        return err;
    struct vattr a = (*out)->attr;
    a.uid = cred->fsuid;
    /* A server without privileges refuses, and its owner stays: not an error of the creation. */
    if (!p9_setattr(*out, &a, SETATTR_UID))
        (*out)->attr.uid = a.uid;
    return 0;
}

static uint32_t new_gid(const struct vnode *dir, const struct cred *cred)
{
    return dir->attr.mode & MODE_SGID ? dir->attr.gid : cred->fsgid;
}

/* Creates a regular file; Tlcreate turns a fid of the directory into the open file's, which stays
 * open: its creator may write it whatever its mode says. */
static int create_file(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                       const struct cred *cred, struct vnode **out)
{
    struct p9_fs *p = fs_of(dir);
    struct p9_msg m;
    uint32_t fid;
    int err = walk(p, node_of(dir)->fid, NULL, 0, &fid);
    if (err)
        return err;
    err = begin_fid(&m, p, P9_LCREATE, fid);
    if (!err) {
        p9_put_text(&m, name, len);
        p9_put(&m, OPEN_RDWR | OPEN_CREAT | OPEN_EXCL, 4);
        p9_put(&m, mode & 07777, 4);
        p9_put(&m, new_gid(dir, cred), 4);
        err = call_end(&m);
    }
    if (!err)
        err = made(dir, name, len, cred, out);
    struct p9_node *n = err ? NULL : node_of(*out);
    if (n && n->open_fid == P9_NOFID && vnode_type(*out) == MODE_REG) {
        n->open_fid = fid; /* nobody else has the vnode yet: the directory is locked */
        n->writable = true;
    } else {
        clunk(p, fid);
    }
    return err;
}

static int p9_create_any(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                         uint64_t rdev, const struct cred *cred, struct vnode **out)
{
    if ((mode & MODE_FMT) == MODE_REG)
        return create_file(dir, name, len, mode, cred, out);
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(dir), P9_MKNOD, node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put(&m, mode, 4);
    p9_put(&m, rdev >> 32, 4);
    p9_put(&m, rdev, 4);
    p9_put(&m, new_gid(dir, cred), 4);
    err = call_end(&m);
    return err ? err : made(dir, name, len, cred, out);
}

static int p9_mkdir(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                    const struct cred *cred, struct vnode **out)
{
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(dir), P9_MKDIR, node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put(&m, mode & 07777, 4);
    p9_put(&m, new_gid(dir, cred), 4);
    err = call_end(&m);
    return err ? err : made(dir, name, len, cred, out);
}

static int p9_symlink(struct vnode *dir, const char *name, size_t len, const char *target,
                      const struct cred *cred, struct vnode **out)
{
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(dir), P9_SYMLINK, node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put_text(&m, target, strlen(target));
    p9_put(&m, new_gid(dir, cred), 4);
    err = call_end(&m);
    return err ? err : made(dir, name, len, cred, out);
}

static int p9_link(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(dir), P9_LINK, node_of(dir)->fid);
    if (err)
        return err;
    p9_put(&m, node_of(target)->fid, 4);
    p9_put_text(&m, name, len);
    return call_end(&m);
}

static int unlink_at(struct vnode *dir, const char *name, size_t len, uint32_t flags)
{
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(dir), P9_UNLINKAT, node_of(dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, name, len);
    p9_put(&m, flags, 4);
    return call_end(&m);
}

static int p9_unlink(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    (void)target;
    return unlink_at(dir, name, len, 0);
}

static int p9_rmdir(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    int err = unlink_at(dir, name, len, P9_REMOVE_DIR);
    if (!err)
        target->attr.nlink = 0;
    return err;
}

static int p9_rename(struct vnode *from_dir, const char *from, size_t from_len,
                     struct vnode *to_dir, const char *to, size_t to_len, struct vnode *moved,
                     struct vnode *replaced)
{
    (void)moved, (void)replaced;
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(from_dir), P9_RENAMEAT, node_of(from_dir)->fid);
    if (err)
        return err;
    p9_put_text(&m, from, from_len);
    p9_put(&m, node_of(to_dir)->fid, 4);
    p9_put_text(&m, to, to_len);
    return call_end(&m);
}

static ssize_t p9_readlink(struct vnode *v, char *buf, size_t size)
{
    struct p9_msg m;
    int err = begin_fid(&m, fs_of(v), P9_READLINK, node_of(v)->fid);
    if (err)
        return err;
    err = p9_call(&m);
    size_t len = 0;
    if (!err) {
        const char *text = p9_get_text(&m, &len);
        err = p9_check(&m);
        len = MIN(len, size);
        if (memchr(text, 0, len))
            err = -EPROTO;
        memcpy(buf, text, len);
    }
    p9_end(&m);
    return err ? err : (ssize_t)len;
}

/* --- directories ------------------------------------------------------------------------------ */

/* Emits the entries of one Rreaddir; our positions are the server's, moved behind "." and "..".
 * True to go on with the next. */
static bool emit_entries(const uint8_t *data, size_t size, uint64_t *pos, struct dir_emit *d,
                         int *err)
{
    while (size) {
        /* qid[13] offset[8] type[1] name[s] */
        const size_t fixed = 24;
        struct p9_msg m = {.rx = (uint8_t *)(uintptr_t)data, .size = size};
        struct p9_qid qid;
        size_t len;
        p9_get_qid(&m, &qid);
        uint64_t offset = p9_get(&m, 8);
        unsigned type = (unsigned)p9_get(&m, 1) << 12; /* DT_* */
        const char *name = p9_get_text(&m, &len);
        if (p9_check(&m) || len == 0 || len > VFS_NAME_MAX || memchr(name, '/', len) ||
            memchr(name, 0, len)) {
            *err = -EPROTO;
            return false;
        }
        bool dots = name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
        if (!dots && !d->emit(d, name, len, qid.path, type & MODE_FMT, offset + DIR_FIRST_POS))
            return false;
        *pos = offset + DIR_FIRST_POS;
        data += fixed + len;
        size -= fixed + len;
    }
    return true;
}

static int p9_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *d)
{
    uint32_t fid;
    int err = open_fid(dir, false, &fid);
    uint8_t *buf = err ? NULL : kmalloc(P9_MESSAGE_SIZE);
    if (!buf)
        return err ? err : -ENOMEM;
    for (;;) {
        ssize_t n =
            read_data(fs_of(dir), P9_READDIR, fid, *pos - DIR_FIRST_POS, buf, P9_MESSAGE_SIZE);
        if (n < 0)
            err = (int)n;
        if (n <= 0 || !emit_entries(buf, n, pos, d, &err))
            break;
    }
    kfree(buf);
    return err;
}

static const struct vnode_ops p9_ops = {
    .lookup = p9_lookup,
    .create = p9_create_any,
    .mkdir = p9_mkdir,
    .symlink = p9_symlink,
    .link = p9_link,
    .unlink = p9_unlink,
    .rmdir = p9_rmdir,
    .rename = p9_rename,
    .readdir = p9_readdir,
    .readlink = p9_readlink,
    .getattr = p9_getattr,
    .setattr = p9_setattr,
    .readpage = p9_readpage,
    .writepage = p9_writepage,
    .open = p9_open,
    .release = p9_release,
};

/* --- the file system -------------------------------------------------------------------------- */

static void p9_statfs(struct filesystem *fs, struct vfs_statfs *out)
{
    struct p9_fs *p = container_of(fs, struct p9_fs, fs);
    struct p9_msg m;
    if (begin_fid(&m, p, P9_STATFS, node_of(fs->root)->fid))
        return;
    if (!p9_call(&m)) {
        out->type_magic = p9_get(&m, 4);
        out->block_size = p9_get(&m, 4);
        out->blocks = p9_get(&m, 8);
        out->blocks_free = p9_get(&m, 8);
        p9_get(&m, 8);
        out->files = p9_get(&m, 8);
        out->files_free = p9_get(&m, 8);
    }
    p9_end(&m);
}

static int version(struct p9_fs *p)
{
    static const char name[] = "9P2000.L";
    struct p9_msg m;
    int err = p9_begin(&m, p->transport, P9_VERSION);
    if (err)
        return err;
    uint32_t want = MIN(p->transport->max_message, MESSAGE_MAX);
    p9_put(&m, want, 4);
    p9_put_text(&m, name, sizeof(name) - 1);
    err = p9_call(&m);
    if (!err) {
        size_t len;
        uint32_t size = (uint32_t)p9_get(&m, 4);
        const char *text = p9_get_text(&m, &len);
        if (p9_check(&m) || size > want || size < P9_MESSAGE_SIZE || len != sizeof(name) - 1 ||
            memcmp(text, name, len) != 0)
            err = -EPROTO;
        p->io_max = ROUND_DOWN(size - IO_OVERHEAD, PAGE_SIZE);
    }
    p9_end(&m);
    return err;
}

static int attach(struct p9_fs *p)
{
    struct p9_msg m;
    uint32_t fid = new_fid(p);
    int err = begin_fid(&m, p, P9_ATTACH, fid);
    if (err)
        return err;
    p9_put(&m, P9_NOFID, 4);
    p9_put_text(&m, "root", 4);
    p9_put_text(&m, "", 0);
    p9_put(&m, 0, 4);
    err = call_end(&m);
    return err ? err : vnode_of_fid(p, fid, &p->fs.root);
}

struct filesystem *p9_create(struct p9_transport *t)
{
    struct p9_fs *p = kzalloc(sizeof(*p));
    if (!p)
        return ERR_PTR(-ENOMEM);
    filesystem_init(&p->fs, "9p");
    p->fs.statfs = p9_statfs;
    p->transport = t;
    for (size_t i = 0; i < NODE_BUCKETS; i++)
        list_init(&p->nodes[i]);
    int err = version(p);
    if (!err)
        err = attach(p);
    if (!err && vnode_type(p->fs.root) != MODE_DIR)
        err = -ENOTDIR;
    if (err) {
        if (p->fs.root)
            vnode_put(p->fs.root);
        kfree(p);
        return ERR_PTR(err);
    }
    return &p->fs;
}

void p9_transport_register(struct p9_transport *t)
{
    list_push_back(&transports, &t->link);
}

struct p9_transport *p9_transport_find(const char *tag, size_t len)
{
    struct p9_transport *t;
    list_for_each (t, &transports, link) {
        if (!strncmp(t->tag, tag, len) && !t->tag[len])
            return t;
    }
    return NULL;
}
