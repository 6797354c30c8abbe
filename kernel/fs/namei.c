/* System calls that make, remove and change names. */
#include "fs/internal.h"
#include "fs/notify.h"

#define CAP_MKNOD_BIT CAP_BIT(27)

/* Held by a rename or a rmdir, which lock more than one directory: the shape of the tree does not
 * change under them. */
static struct mutex rename_mutex;

void namei_init(void)
{
    mutex_init(&rename_mutex);
}

/* A name about to be changed: the walk stands at its directory, whose lock is held. */
struct target {
    struct walk w;
    struct vnode *dir;
    struct dentry *dentry; /* of the last component; positive or negative; referenced */
};

/* Walks to the directory of a name; *type tells what the last component is. On success target_end
 * is due. The dcache is not locked. */
static int target_walk(struct target *t, const struct fs_context *ctx, const struct path *at,
                       const char *name)
{
    t->dentry = NULL;
    int err = walk_begin(&t->w, ctx, at, name);
    if (err)
        return err;
    err = walk_parent(&t->w);
    if (err) {
        walk_end(&t->w);
        return err;
    }
    dcache_unlock();
    t->dir = t->w.cur.dentry->vnode;
    return 0;
}

static void target_end(struct target *t)
{
    if (t->dentry)
        dentry_put(t->dentry);
    dcache_lock();
    walk_end(&t->w);
}

/* With the directory's lock held. */
static int target_lookup(struct target *t)
{
    struct dentry *d = dentry_lookup(t->w.cur.dentry, t->w.last, t->w.last_len);
    if (IS_ERR(d))
        return PTR_ERR(d);
    t->dentry = d;
    return 0;
}

/* Whether cred may add names to a directory. */
static int may_create(struct vnode *dir, const struct cred *cred)
{
    if (vnode_is_dead(dir))
        return -ENOENT;
    if (vnode_read_only(dir))
        return -EROFS;
    return vnode_access(dir, cred, ACCESS_W | ACCESS_X);
}

/* Whether cred may remove the name of `victim` from a directory (sticky directories). */
static int may_remove(struct vnode *dir, struct vnode *victim, const struct cred *cred)
{
    if (vnode_read_only(dir))
        return -EROFS;
    int err = vnode_access(dir, cred, ACCESS_W | ACCESS_X);
    if (err)
        return err;
    if ((dir->attr.mode & MODE_STICKY) && cred->fsuid != victim->attr.uid &&
        cred->fsuid != dir->attr.uid && !cred_capable(cred, CAP_FOWNER_BIT))
        return -EPERM;
    return 0;
}

/* Walks to a name that is to be made and locks its directory; on success target_create_end is due
 * and the name is known to be free and permitted. is_dir: may end in slashes. */
static int target_create(struct target *t, const struct fs_context *ctx, const struct path *at,
                         const char *name, bool is_dir)
{
    int err = target_walk(t, ctx, at, name);
    if (err)
        return err;
    if (t->w.last_type != LAST_NAME) {
        target_end(t);
        return -EEXIST;
    }
    rwlock_write(&t->dir->lock);
    err = target_lookup(t);
    if (!err && t->dentry->vnode)
        err = -EEXIST;
    if (!err && t->w.trailing && !is_dir)
        err = -ENOENT;
    if (!err)
        err = may_create(t->dir, ctx->cred);
    if (err) {
        rwlock_write_done(&t->dir->lock);
        target_end(t);
    }
    return err;
}

/* err: how the file system did; v: what it made. */
static int target_create_end(struct target *t, int err, struct vnode *v)
{
    uint32_t event = NOTIFY_CREATE;
    if (!err) {
        event |= vnode_type(v) == MODE_DIR ? NOTIFY_DIR : 0;
        dentry_instantiate(t->dentry, v);
    }
    rwlock_write_done(&t->dir->lock);
    if (!err)
        notify_name(t->dir, t->w.last, t->w.last_len, event, 0);
    target_end(t);
    return err;
}

int vfs_mkdir(const struct fs_context *ctx, const struct path *at, const char *name, uint32_t mode)
{
    struct target t;
    int err = target_create(&t, ctx, at, name, true);
    if (err)
        return err;
    struct vnode *dir = t.dir, *v = NULL;
    mode = MODE_DIR | (mode & ~ctx->umask & (0777 | MODE_STICKY));
    err = !dir->ops->mkdir ? -EPERM
                           : dir->ops->mkdir(dir, t.w.last, t.w.last_len, mode, ctx->cred, &v);
    return target_create_end(&t, err, v);
}

int vfs_mknod(const struct fs_context *ctx, const struct path *at, const char *name, uint32_t mode,
              uint64_t rdev, struct path *created)
{
    switch (mode & MODE_FMT) {
    case 0:
        mode |= MODE_REG;
        break;
    case MODE_REG:
    case MODE_FIFO:
    case MODE_SOCK:
        break;
    case MODE_CHR:
    case MODE_BLK:
        if (!cred_capable(ctx->cred, CAP_MKNOD_BIT))
            return -EPERM;
        break;
    case MODE_DIR:
        return -EPERM;
    default:
        return -EINVAL;
    }
    struct target t;
    int err = target_create(&t, ctx, at, name, false);
    if (err)
        return err;
    struct vnode *dir = t.dir, *v = NULL;
    mode = (mode & MODE_FMT) | (mode & ~ctx->umask & 07777);
    err = !dir->ops->create
              ? -EPERM
              : dir->ops->create(dir, t.w.last, t.w.last_len, mode, rdev, ctx->cred, &v);
    if (!err && created) {
        *created = (struct path){t.w.cur.mount, t.dentry};
        path_get(created);
    }
    return target_create_end(&t, err, v);
}

int vfs_symlink(const struct fs_context *ctx, const char *target, const struct path *at,
                const char *name)
{
    size_t len = strnlen(target, VFS_PATH_MAX);
    if (len == 0)
        return -ENOENT;
    if (len >= VFS_PATH_MAX)
        return -ENAMETOOLONG;
    struct target t;
    int err = target_create(&t, ctx, at, name, false);
    if (err)
        return err;
    struct vnode *dir = t.dir, *v = NULL;
    err = !dir->ops->symlink
              ? -EPERM
              : dir->ops->symlink(dir, t.w.last, t.w.last_len, target, ctx->cred, &v);
    return target_create_end(&t, err, v);
}

int vfs_link(const struct fs_context *ctx, const struct path *old, const struct path *at,
             const char *name)
{
    struct vnode *v = path_vnode(old);
    struct target t;
    int err = target_create(&t, ctx, at, name, false);
    if (err)
        return err;
    struct vnode *dir = t.dir;
    if (dir->fs != v->fs)
        err = -EXDEV;
    else if (vnode_type(v) == MODE_DIR || !dir->ops->link)
        err = -EPERM;
    else if (v->attr.nlink == 0 && !v->linkable)
        err = -ENOENT;
    else
        err = dir->ops->link(dir, t.w.last, t.w.last_len, v);
    if (!err) {
        v->linkable = false;
        vnode_get(v);
        notify_vnode(v, NOTIFY_ATTRIB); /* its count of links */
    }
    return target_create_end(&t, err, v);
}

/* What unlink and rmdir say to "/", "." and "..". */
static int bad_removal(enum walk_last type, bool dir)
{
    if (!dir)
        return -EISDIR;
    if (type == LAST_DOT)
        return -EINVAL;
    return type == LAST_DOTDOT ? -ENOTEMPTY : -EBUSY;
}

/* With the directory's lock held. */
static int remove_name(struct target *t, const struct cred *cred, bool dir)
{
    struct vnode *v = t->dentry->vnode, *dv = t->dir;
    if (!v)
        return -ENOENT;
    bool is_dir = vnode_type(v) == MODE_DIR;
    if (!dir && t->w.trailing)
        return is_dir ? -EISDIR : -ENOTDIR;
    int err = may_remove(dv, v, cred);
    if (err)
        return err;
    if (dir != is_dir)
        return dir ? -ENOTDIR : -EISDIR;
    if (t->dentry->mounted)
        return -EBUSY;
    if (!dir) {
        err = !dv->ops->unlink ? -EPERM : dv->ops->unlink(dv, t->w.last, t->w.last_len, v);
    } else if (!dv->ops->rmdir) {
        err = -EPERM;
    } else {
        rwlock_write(&v->lock); /* nobody makes a file in it meanwhile */
        err = dv->ops->rmdir(dv, t->w.last, t->w.last_len, v);
        rwlock_write_done(&v->lock);
    }
    if (err)
        return err;
    /* Told in this order: the file, its name, and when nobody has it any more, its end. */
    if (!is_dir)
        notify_vnode(v, NOTIFY_ATTRIB);
    vnode_get(v);
    dentry_delete(t->dentry);
    notify_name(dv, t->w.last, t->w.last_len, NOTIFY_DELETE | (is_dir ? NOTIFY_DIR : 0), 0);
    notify_unlinked(v);
    vnode_put(v);
    return 0;
}

int vfs_unlink(const struct fs_context *ctx, const struct path *at, const char *name, bool dir)
{
    struct target t;
    int err = target_walk(&t, ctx, at, name);
    if (err)
        return err;
    if (t.w.last_type != LAST_NAME) {
        err = bad_removal(t.w.last_type, dir);
    } else {
        /* A directory is locked after its parent. A rename cannot always tell which of two is the
         * other's (names that are not cached have several dentries): one of them at a time. */
        if (dir)
            mutex_lock(&rename_mutex);
        rwlock_write(&t.dir->lock);
        err = target_lookup(&t);
        if (!err)
            err = remove_name(&t, ctx->cred, dir);
        rwlock_write_done(&t.dir->lock);
        if (dir)
            mutex_unlock(&rename_mutex);
    }
    target_end(&t);
    return err;
}

/* --- rename ----------------------------------------------------------------------------------- */

/* Locks two directories in the order that everybody keeps: ancestors first. */
static void lock_dirs(struct target *a, struct target *b)
{
    if (a->dir == b->dir) {
        rwlock_write(&a->dir->lock);
        return;
    }
    dcache_lock();
    bool a_first = dentry_is_ancestor(a->w.cur.dentry, b->w.cur.dentry);
    if (!a_first && !dentry_is_ancestor(b->w.cur.dentry, a->w.cur.dentry))
        a_first = (uintptr_t)a->dir < (uintptr_t)b->dir;
    dcache_unlock();
    rwlock_write(a_first ? &a->dir->lock : &b->dir->lock);
    rwlock_write(a_first ? &b->dir->lock : &a->dir->lock);
}

static void unlock_dirs(struct target *a, struct target *b)
{
    rwlock_write_done(&a->dir->lock);
    if (a->dir != b->dir)
        rwlock_write_done(&b->dir->lock);
}

static bool is_within(const struct dentry *outer, const struct dentry *inner)
{
    dcache_lock();
    bool within = dentry_is_ancestor(outer, inner);
    dcache_unlock();
    return within;
}

static int check_trailing(const struct target *t, const struct vnode *v)
{
    return t->w.trailing && vnode_type(v) != MODE_DIR ? -ENOTDIR : 0;
}

/* Whether types allow `moved` to take the place of `replaced`. */
static int check_replace(const struct vnode *moved, const struct vnode *replaced)
{
    bool moved_dir = vnode_type(moved) == MODE_DIR, replaced_dir = vnode_type(replaced) == MODE_DIR;
    if (moved_dir != replaced_dir)
        return moved_dir ? -ENOTDIR : -EISDIR;
    return 0;
}

/* Everything that forbids the rename; both directories are locked. */
static int check_rename(struct target *from, struct target *to, const struct cred *cred,
                        unsigned flags)
{
    struct vnode *moved = from->dentry->vnode, *replaced = to->dentry->vnode;
    bool exchange = flags & RENAME_EXCHANGE_FLAG;
    if (!moved || (exchange && !replaced))
        return -ENOENT;
    if (replaced && (flags & RENAME_NOREPLACE_FLAG))
        return -EEXIST;
    int err = check_trailing(from, moved);
    if (!err)
        err = check_trailing(to, exchange ? replaced : moved);
    if (err)
        return err;
    if (is_within(from->dentry, to->w.cur.dentry))
        return -EINVAL;
    if (is_within(to->dentry, from->w.cur.dentry))
        return exchange ? -EINVAL : -ENOTEMPTY;
    err = may_remove(from->dir, moved, cred);
    if (!err)
        err = replaced ? may_remove(to->dir, replaced, cred) : may_create(to->dir, cred);
    if (!err && replaced && !exchange)
        err = check_replace(moved, replaced);
    if (!err && vnode_is_dead(to->dir))
        err = -ENOENT;
    /* A directory that gets another parent has its ".." changed. */
    if (!err && from->dir != to->dir && vnode_type(moved) == MODE_DIR)
        err = vnode_access(moved, cred, ACCESS_W);
    if (!err && exchange && from->dir != to->dir && vnode_type(replaced) == MODE_DIR)
        err = vnode_access(replaced, cred, ACCESS_W);
    if (!err && (from->dentry->mounted || to->dentry->mounted))
        err = -EBUSY;
    return err;
}

static void tell_move(const struct target *from, const struct target *to, struct vnode *moved)
{
    uint32_t cookie = notify_cookie(), dir = vnode_type(moved) == MODE_DIR ? NOTIFY_DIR : 0;
    const struct walk *f = &from->w, *t = &to->w;
    notify_name(from->dir, f->last, f->last_len, NOTIFY_MOVED_FROM | dir, cookie);
    notify_name(to->dir, t->last, t->last_len, NOTIFY_MOVED_TO | dir, cookie);
}

static int rename_locked(struct target *from, struct target *to, const struct cred *cred,
                         unsigned flags)
{
    int err = target_lookup(from);
    if (!err)
        err = target_lookup(to);
    if (!err)
        err = check_rename(from, to, cred, flags);
    if (err)
        return err;
    struct vnode *moved = from->dentry->vnode, *replaced = to->dentry->vnode;
    const struct vnode_ops *ops = from->dir->ops;
    const struct walk *f = &from->w, *t = &to->w;
    if (moved == replaced)
        return 0; /* two names of one file: both stay */
    if (flags & RENAME_EXCHANGE_FLAG) {
        if (!ops->exchange)
            return -EINVAL;
        err = ops->exchange(from->dir, f->last, f->last_len, moved, to->dir, t->last, t->last_len,
                            replaced);
        if (err)
            return err;
        dentry_move(from->dentry, to->dentry, true);
        tell_move(from, to, moved);
        tell_move(to, from, replaced);
        notify_vnode(moved, NOTIFY_MOVE_SELF);
        notify_vnode(replaced, NOTIFY_MOVE_SELF);
        return 0;
    }
    if (!ops->rename)
        return -EPERM;
    bool empty_it = replaced && vnode_type(replaced) == MODE_DIR;
    if (empty_it)
        rwlock_write(&replaced->lock);
    err = ops->rename(from->dir, f->last, f->last_len, to->dir, t->last, t->last_len, moved,
                      replaced);
    if (empty_it)
        rwlock_write_done(&replaced->lock);
    if (err)
        return err;
    dentry_move(from->dentry, to->dentry, false);
    tell_move(from, to, moved);
    if (replaced && !empty_it)
        notify_vnode(replaced, NOTIFY_ATTRIB);
    notify_vnode(moved, NOTIFY_MOVE_SELF);
    if (replaced)
        notify_unlinked(replaced);
    return 0;
}

int vfs_rename(const struct fs_context *ctx, const struct path *from_at, const char *from,
               const struct path *to_at, const char *to, unsigned flags)
{
    if ((flags & ~(RENAME_NOREPLACE_FLAG | RENAME_EXCHANGE_FLAG)) ||
        flags == (RENAME_NOREPLACE_FLAG | RENAME_EXCHANGE_FLAG))
        return -EINVAL;
    struct target f, t;
    int err = target_walk(&f, ctx, from_at, from);
    if (err)
        return err;
    err = target_walk(&t, ctx, to_at, to);
    if (err) {
        target_end(&f);
        return err;
    }
    if (f.w.cur.mount != t.w.cur.mount)
        err = -EXDEV;
    else if (f.w.last_type != LAST_NAME)
        err = -EBUSY;
    else if (t.w.last_type != LAST_NAME)
        err = flags & RENAME_NOREPLACE_FLAG ? -EEXIST : -EBUSY;
    else {
        mutex_lock(&rename_mutex);
        lock_dirs(&f, &t);
        err = rename_locked(&f, &t, ctx->cred, flags);
        unlock_dirs(&f, &t);
        mutex_unlock(&rename_mutex);
    }
    target_end(&t);
    target_end(&f);
    return err;
}

ssize_t vfs_readlink(const struct fs_context *ctx, const struct path *p, char *buf, size_t size)
{
    (void)ctx;
    struct vnode *v = path_vnode(p);
    if (vnode_type(v) != MODE_LNK || !v->ops->readlink)
        return -EINVAL;
    return v->ops->readlink(v, buf, size);
}

int vfs_getattr(const struct path *p, struct vattr *out)
{
    return vnode_getattr(path_vnode(p), out);
}
