/*
 * Extended attributes of file systems in memory (tmpfs): a list per file. There are
 * user.* (who may read or write the file may read or write them; regular files and directories) and
 * trusted.* (CAP_SYS_ADMIN). Others would have to mean something to the kernel: capabilities of
 * programs, access lists; they are refused.
 */
#include "fs/internal.h"
#include "core/timer.h"

#define CAP_SYS_ADMIN_BIT CAP_BIT(21)
#define XATTR_CREATE 1
#define XATTR_REPLACE 2
#define TOTAL_MAX (128 * 1024u) /* of one file: it is the kernel's memory */

struct xattr {
    struct list link;
    size_t size;
    char *value; /* behind the name */
    char name[];
};

static bool is_user(const char *name)
{
    return !strncmp(name, "user.", 5);
}

static bool is_trusted(const char *name)
{
    return !strncmp(name, "trusted.", 8);
}

/* Whether cred may read, or write, the attribute of that name. */
static int permitted(struct vnode *v, const struct cred *cred, const char *name, bool write)
{
    if (write && vnode_read_only(v))
        return -EROFS;
    if (!v->fs->in_memory || (!is_user(name) && !is_trusted(name)))
        return -EOPNOTSUPP;
    if (is_trusted(name)) {
        if (!cred_capable(cred, CAP_SYS_ADMIN_BIT))
            return write ? -EPERM : -ENODATA;
        return name[8] ? 0 : -EINVAL;
    }
    if (vnode_type(v) != MODE_REG && vnode_type(v) != MODE_DIR)
        return write ? -EPERM : -ENODATA;
    if (write && vnode_type(v) == MODE_DIR && v->attr.mode & MODE_STICKY &&
        cred->fsuid != v->attr.uid && !cred_capable(cred, CAP_FOWNER_BIT))
        return -EPERM;
    int err = vnode_access(v, cred, write ? ACCESS_W : ACCESS_R);
    return err ? err : name[5] ? 0 : -EINVAL;
}

/* With v->lock held, like the rest that touches the list. */
static struct xattr *find(struct vnode *v, const char *name)
{
    struct xattr *x;
    list_for_each (x, &v->xattrs, link)
        if (!strcmp(x->name, name))
            return x;
    return NULL;
}

static void drop(struct xattr *x)
{
    list_remove(&x->link);
    kfree(x);
}

void vnode_drop_xattrs(struct vnode *v)
{
    while (!list_empty(&v->xattrs))
        drop(list_first(&v->xattrs, struct xattr, link));
}

static size_t total_size(struct vnode *v)
{
    size_t sum = 0;
    struct xattr *x;
    list_for_each (x, &v->xattrs, link)
        sum += strlen(x->name) + 1 + x->size;
    return sum;
}

static struct xattr *xattr_alloc(const char *name, const void *value, size_t size)
{
    size_t len = strlen(name) + 1;
    struct xattr *x = kmalloc(sizeof(*x) + len + size);
    if (!x)
        return NULL;
    memcpy(x->name, name, len);
    x->value = x->name + len;
    memcpy(x->value, value, size);
    x->size = size;
    return x;
}

/* Puts `new` in the place of the attribute of its name. */
static int replace(struct vnode *v, struct xattr *new, int flags)
{
    struct xattr *old = find(v, new->name);
    if (old && flags & XATTR_CREATE)
        return -EEXIST;
    if (!old && flags & XATTR_REPLACE)
        return -ENODATA;
    if (total_size(v) + strlen(new->name) + 1 + new->size > TOTAL_MAX)
        return -ENOSPC;
    if (old)
        drop(old);
    list_push_back(&v->xattrs, &new->link);
    v->attr.ctime_ns = time_realtime();
    return 0;
}

int vfs_setxattr(const struct fs_context *ctx, struct vnode *v, const char *name, const void *value,
                 size_t size, int flags)
{
    int err = permitted(v, ctx->cred, name, true);
    if (err)
        return err;
    struct xattr *new = xattr_alloc(name, value, size);
    if (!new)
        return -ENOMEM;
    rwlock_write(&v->lock);
    err = replace(v, new, flags);
    rwlock_write_done(&v->lock);
    if (err)
        kfree(new);
    return err;
}

ssize_t vfs_getxattr(const struct fs_context *ctx, struct vnode *v, const char *name, void *buf,
                     size_t size)
{
    int err = permitted(v, ctx->cred, name, false);
    if (err)
        return err;
    rwlock_read(&v->lock);
    const struct xattr *x = find(v, name);
    ssize_t n = x ? (ssize_t)x->size : -ENODATA;
    if (n > 0 && size && (size_t)n > size)
        n = -ERANGE;
    else if (n > 0 && size)
        memcpy(buf, x->value, x->size);
    rwlock_read_done(&v->lock);
    return n;
}

ssize_t vfs_listxattr(const struct fs_context *ctx, struct vnode *v, char *buf, size_t size)
{
    bool all = cred_capable(ctx->cred, CAP_SYS_ADMIN_BIT);
    size_t used = 0;
    bool fits = true;
    struct xattr *x;
    rwlock_read(&v->lock);
    list_for_each (x, &v->xattrs, link) {
        size_t len = strlen(x->name) + 1;
        if (!all && is_trusted(x->name))
            continue;
        fits = used + len <= size;
        if (size && !fits)
            break;
        if (size)
            memcpy(buf + used, x->name, len);
        used += len;
    }
    rwlock_read_done(&v->lock);
    return size && !fits ? -ERANGE : (ssize_t)used;
}

int vfs_removexattr(const struct fs_context *ctx, struct vnode *v, const char *name)
{
    int err = permitted(v, ctx->cred, name, true);
    if (err)
        return err;
    rwlock_write(&v->lock);
    struct xattr *x = find(v, name);
    if (x) {
        drop(x);
        v->attr.ctime_ns = time_realtime();
    }
    rwlock_write_done(&v->lock);
    return x ? 0 : -ENODATA;
}
