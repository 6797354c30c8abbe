/* open(2): from a path to an open file description. */
#include "core/uio.h"
#include "fs/internal.h"
#include "fs/notify.h"

int (*vfs_fifo_open)(struct vnode *v, struct file *f);

/* O_PATH: names a place and can do nothing else. */
static const struct file_ops path_file_ops = {.name = "path"};

/* What F_GETFL does not show. */
#define OPEN_ONLY_FLAGS (OPEN_CREAT | OPEN_EXCL | OPEN_NOCTTY | OPEN_TRUNC | OPEN_CLOEXEC)

static unsigned wanted_access(unsigned flags)
{
    static const unsigned by_mode[] = {ACCESS_R, ACCESS_W, ACCESS_R | ACCESS_W,
                                       ACCESS_R | ACCESS_W};
    unsigned access = by_mode[flags & OPEN_ACCMODE];
    return flags & OPEN_TRUNC ? access | ACCESS_W : access;
}

static int check_open(const struct fs_context *ctx, struct vnode *v, unsigned flags)
{
    unsigned access = wanted_access(flags);
    uint32_t type = vnode_type(v);
    if (type == MODE_LNK)
        return -ELOOP;
    if (type == MODE_DIR && (access & ACCESS_W))
        return -EISDIR;
    if (type == MODE_SOCK)
        return -ENXIO;
    bool device = type == MODE_CHR || type == MODE_BLK;
    if (device && (v->fs->flags & MOUNT_NODEV))
        return -EACCES;
    if ((access & ACCESS_W) && (type == MODE_REG || type == MODE_DIR) && vnode_read_only(v))
        return -EROFS;
    int err = vnode_access(v, ctx->cred, access);
    if (err)
        return err;
    if ((flags & OPEN_NOATIME) && ctx->cred->fsuid != v->attr.uid &&
        !cred_capable(ctx->cred, CAP_FOWNER_BIT))
        return -EPERM;
    return 0;
}

/* The operations for a vnode of this type. */
static int choose_ops(struct vnode *v, struct file *f)
{
    if (v->ops->open)
        return v->ops->open(v, f);
    switch (vnode_type(v)) {
    case MODE_REG:
        f->ops = &regular_file_ops;
        return 0;
    case MODE_DIR:
        f->ops = &directory_file_ops;
        return 0;
    case MODE_CHR:
        return device_open(v, f);
    case MODE_FIFO:
        return vfs_fifo_open ? vfs_fifo_open(v, f) : -ENXIO;
    default:
        return -ENXIO;
    }
}

/* A description of a file that may be opened so. p has no dentry if the file has no name. */
static int make_file(const struct fs_context *ctx, const struct path *p, struct vnode *v,
                     unsigned flags, struct file **out)
{
    struct file *f = file_alloc(&path_file_ops, NULL, flags & ~(OPEN_ONLY_FLAGS & ~OPEN_NOCTTY));
    if (IS_ERR(f))
        return PTR_ERR(f);
    f->keeps_setid = cred_capable(ctx->cred, CAP_FSETID_BIT);
    f->mount = p->mount;
    f->dentry = p->dentry;
    if (p->dentry)
        path_get(p);
    f->vnode = v;
    vnode_get(v);
    int err = flags & OPEN_PATH ? 0 : choose_ops(v, f); /* terminals look at OPEN_NOCTTY */
    f->flags &= ~OPEN_NOCTTY;
    if (err)
        f->ops = &path_file_ops; /* not opened, so not released */
    else if ((flags & OPEN_TRUNC) && vnode_type(v) == MODE_REG && v->cache)
        err = vfs_truncate(v, 0, f->keeps_setid);
    if (err) {
        file_put(f);
        return err;
    }
    if (!(flags & OPEN_PATH)) {
        if (flags & OPEN_TRUNC)
            notify_file(f, NOTIFY_MODIFY);
        f->opened = true;
        notify_file(f, NOTIFY_OPEN);
    }
    *out = f;
    return 0;
}

static int open_vnode(const struct fs_context *ctx, const struct path *p, struct vnode *v,
                      unsigned flags, struct file **out)
{
    if ((flags & OPEN_DIRECTORY) && vnode_type(v) != MODE_DIR)
        return -ENOTDIR;
    if (!(flags & OPEN_PATH)) {
        int err = check_open(ctx, v, flags);
        if (err)
            return err;
    }
    return make_file(ctx, p, v, flags, out);
}

int vfs_open_path(const struct fs_context *ctx, const struct path *p, unsigned flags,
                  struct file **out)
{
    return open_vnode(ctx, p, path_vnode(p), flags, out);
}

/* O_TMPFILE: a file without a name in the directory that the walk ended at. */
static int open_tmpfile(const struct fs_context *ctx, const struct path *dir, unsigned flags,
                        uint32_t mode, struct file **out)
{
    struct vnode *dv = path_vnode(dir), *v;
    if (!(wanted_access(flags) & ACCESS_W))
        return -EINVAL;
    if (!dv->ops->tmpfile)
        return -EOPNOTSUPP;
    if (vnode_read_only(dv))
        return -EROFS;
    int err = vnode_access(dv, ctx->cred, ACCESS_W | ACCESS_X);
    if (err)
        return err;
    rwlock_write(&dv->lock);
    err = dv->ops->tmpfile(dv, mode & ~ctx->umask & 07777, ctx->cred, &v);
    rwlock_write_done(&dv->lock);
    if (err)
        return err;
    v->linkable = !(flags & OPEN_EXCL);
    struct path p = {dir->mount, dentry_alloc_nameless(dir->dentry, v)};
    if (!p.dentry) {
        vnode_put(v);
        return -ENOMEM;
    }
    err = make_file(ctx, &p, v, flags & ~OPEN_TRUNC, out);
    dentry_put(p.dentry);
    return err;
}

/* Creates the last component in w->cur unless somebody else just did: -EAGAIN. The dcache is not
 * locked. On success w->cur is the new file. */
static int create_last(struct walk *w, uint32_t mode)
{
    struct dentry *dir = w->cur.dentry;
    struct vnode *dv = dir->vnode, *v;
    rwlock_write(&dv->lock);
    struct dentry *d = dentry_lookup(dir, w->last, w->last_len);
    int err = 0;
    if (IS_ERR(d)) {
        rwlock_write_done(&dv->lock);
        return PTR_ERR(d);
    }
    if (d->vnode)
        err = -EAGAIN;
    else if (vnode_is_dead(dv))
        err = -ENOENT;
    else if (vnode_read_only(dv))
        err = -EROFS;
    else
        err = vnode_access(dv, w->ctx->cred, ACCESS_W | ACCESS_X);
    if (!err && !dv->ops->create)
        err = -EACCES;
    if (!err) {
        mode = (mode & ~w->ctx->umask & 07777) | MODE_REG;
        err = dv->ops->create(dv, w->last, w->last_len, mode, 0, w->ctx->cred, &v);
    }
    if (!err)
        dentry_instantiate(d, v);
    rwlock_write_done(&dv->lock);
    if (err) {
        dentry_put(d);
        return err;
    }
    notify_name(dv, w->last, w->last_len, NOTIFY_CREATE, 0);
    dcache_lock();
    walk_enter(w, d);
    dcache_unlock();
    return 0;
}

/* Walks to the file, creating it if it does not exist: *created. The dcache is locked. */
static int walk_or_create(struct walk *w, unsigned flags, uint32_t mode, bool *created)
{
    for (;;) {
        int err = walk_parent(w);
        if (err)
            return err;
        if (w->last_type != LAST_NAME || w->trailing)
            return -EISDIR;
        struct dentry *d;
        err = walk_child(w, w->last, w->last_len, w->last_key, &d);
        if (err)
            return err;
        if (!d->vnode) {
            dentry_unref(d);
            dcache_unlock();
            err = create_last(w, mode);
            dcache_lock();
            *created = !err;
            if (err != -EAGAIN)
                return err;
            w->rest = w->last;
            continue;
        }
        if (flags & OPEN_EXCL) {
            dentry_unref(d);
            return -EEXIST;
        }
        if (vnode_type(d->vnode) != MODE_LNK || (flags & OPEN_NOFOLLOW)) {
            walk_enter(w, d);
            break;
        }
        bool magic = d->vnode->ops->follow != NULL;
        err = walk_link(w, d);
        if (err || magic)
            return err;
    }
    if (w->left)
        return -EXDEV;
    return vnode_type(w->cur.dentry->vnode) == MODE_DIR ? -EISDIR : 0;
}

/* What a link below /proc/PID/fd leads to has no path. */
static int reopen(const struct fs_context *ctx, struct file *f, unsigned flags, struct file **out)
{
    if (f->vnode)
        return open_vnode(ctx, &(struct path){NULL, NULL}, f->vnode, flags, out);
    if (flags & OPEN_DIRECTORY)
        return -ENOTDIR;
    if (!f->ops->reopen || (flags & OPEN_PATH))
        return -ENXIO;
    return f->ops->reopen(f, flags & ~OPEN_ONLY_FLAGS, out);
}

int vfs_open(const struct fs_context *ctx, const struct path *at, const char *name, unsigned flags,
             uint32_t mode, struct file **out)
{
    bool tmpfile = flags & OPEN_TMPFILE;
    if (flags & OPEN_PATH) /* the others are ignored with it */
        flags &= OPEN_PATH | OPEN_DIRECTORY | OPEN_NOFOLLOW | OPEN_CLOEXEC, tmpfile = false;
    if ((tmpfile && !(flags & OPEN_DIRECTORY)) || (flags & OPEN_ACCMODE) == OPEN_ACCMODE)
        return -EINVAL;
    if ((flags & (OPEN_CREAT | OPEN_DIRECTORY)) == (OPEN_CREAT | OPEN_DIRECTORY))
        return -EINVAL;

    struct walk w;
    int err = walk_begin(&w, ctx, at, name);
    if (err)
        return err;
    bool created = false;
    if ((flags & OPEN_CREAT) && !tmpfile) {
        err = walk_or_create(&w, flags, mode, &created);
    } else {
        unsigned lookup = flags & OPEN_NOFOLLOW ? 0 : LOOKUP_FOLLOW;
        err = walk_final(&w, flags & OPEN_DIRECTORY ? lookup | LOOKUP_DIRECTORY : lookup);
    }
    if (!err) {
        dcache_unlock();
        if (w.file)
            err = reopen(ctx, w.file, flags, out);
        else if (tmpfile)
            err = open_tmpfile(ctx, &w.cur, flags, mode, out);
        else if (created)
            err = make_file(ctx, &w.cur, path_vnode(&w.cur), flags & ~OPEN_TRUNC, out);
        else
            err = vfs_open_path(ctx, &w.cur, flags, out);
        dcache_lock();
    }
    walk_end(&w);
    return err;
}

int vfs_write_text(const struct fs_context *ctx, const char *name, unsigned flags, uint32_t mode,
                   char *text, size_t n)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, text, n);
    struct file *f;

    int err = vfs_open(ctx, NULL, name, OPEN_WRONLY | flags, mode, &f);
    if (err)
        return err;
    ssize_t written = f->ops->write(f, &u, &(uint64_t){0});
    file_put(f);
    return written < 0 ? (int)written : 0;
}
