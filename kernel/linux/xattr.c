/* The system calls of extended attributes: by name, by name without following, by descriptor. */
#include "core/mem.h"
#include "fs/notify.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define XATTR_FLAGS 3 /* XATTR_CREATE, XATTR_REPLACE */

/* What a call is about: name, and value on its way in or out. */
struct xattr_call {
    char name[VFS_NAME_MAX + 1];
    uaddr_t to; /* the program's buffer */
    void *buf;
    size_t size;
    int flags;
    bool changes;
};
typedef long (*xattr_fn)(const struct fs_context *ctx, struct vnode *v, struct xattr_call *c);

static long on_path(uaddr_t file, int at_flags, xattr_fn fn, struct xattr_call *c)
{
    struct at a;
    struct path p;
    long r = at_lookup(&a, AT_FDCWD_N, file, at_flags, &p);
    if (r)
        return r;
    r = fn(a.ctx, path_vnode(&p), c);
    if (!r && c->changes)
        notify_path(&p, NOTIFY_ATTRIB);
    path_put(&p);
    at_end(&a);
    return r;
}

static long on_fd(int fd, xattr_fn fn, struct xattr_call *c)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct fs_context copy;
    const struct fs_context *ctx = fs_context_hold(&copy);
    long r = h.file->vnode ? fn(ctx, h.file->vnode, c) : -EOPNOTSUPP;
    fs_context_drop(ctx, &copy);
    if (!r && c->changes)
        notify_file(h.file, NOTIFY_ATTRIB);
    fd_drop(h);
    return r;
}

static long make_room(struct xattr_call *c, size_t size)
{
    c->size = size;
    c->buf = size ? kmalloc(size) : NULL;
    return size && !c->buf ? -ENOMEM : 0;
}

/* Fetches the name and makes room for the value. */
static long begin(struct xattr_call *c, uaddr_t name, size_t size)
{
    ssize_t len = strncpy_from_user(c->name, name, sizeof(c->name));
    if (len <= 0)
        return len == -EFAULT ? -EFAULT : -ERANGE;
    return make_room(c, size);
}

/* Where a file is named: which of the three families a call belongs to. */
enum named { BY_PATH, BY_LINK, BY_FD };

static long run(enum named by, uint64_t file, xattr_fn fn, struct xattr_call *c)
{
    long r = by == BY_FD ? on_fd((int)file, fn, c)
                         : on_path(file, by == BY_LINK ? AT_SYMLINK_NOFOLLOW_N : 0, fn, c);
    kfree(c->buf);
    return r;
}

static long do_get(const struct fs_context *ctx, struct vnode *v, struct xattr_call *c)
{
    long n = vfs_getxattr(ctx, v, c->name, c->buf, c->size);
    return n > 0 && c->size && copy_to_user(c->to, c->buf, (size_t)n) ? -EFAULT : n;
}

static long get(enum named by, uint64_t file, uaddr_t name, uaddr_t value, size_t size)
{
    struct xattr_call c = {.to = value};
    long err = begin(&c, name, MIN(size, (size_t)XATTR_SIZE_MAX));
    return err ? err : run(by, file, do_get, &c);
}

static long do_set(const struct fs_context *ctx, struct vnode *v, struct xattr_call *c)
{
    return vfs_setxattr(ctx, v, c->name, c->buf, c->size, c->flags);
}

static long set(enum named by, uint64_t file, uaddr_t name, uaddr_t value, size_t size, int flags)
{
    struct xattr_call c = {.flags = flags, .changes = true};
    if (flags & ~XATTR_FLAGS)
        return -EINVAL;
    if (size > XATTR_SIZE_MAX)
        return -E2BIG;
    long err = begin(&c, name, size);
    if (err)
        return err;
    if (copy_from_user(c.buf, value, size)) {
        kfree(c.buf);
        return -EFAULT;
    }
    return run(by, file, do_set, &c);
}

static long do_list(const struct fs_context *ctx, struct vnode *v, struct xattr_call *c)
{
    long n = vfs_listxattr(ctx, v, c->buf, c->size);
    return n > 0 && c->size && copy_to_user(c->to, c->buf, (size_t)n) ? -EFAULT : n;
}

static long list(enum named by, uint64_t file, uaddr_t to, size_t size)
{
    struct xattr_call c = {.to = to};
    long err = make_room(&c, MIN(size, (size_t)XATTR_SIZE_MAX));
    return err ? err : run(by, file, do_list, &c);
}

static long do_remove(const struct fs_context *ctx, struct vnode *v, struct xattr_call *c)
{
    return vfs_removexattr(ctx, v, c->name);
}

static long remove(enum named by, uint64_t file, uaddr_t name)
{
    struct xattr_call c = {.changes = true};
    long err = begin(&c, name, 0);
    return err ? err : run(by, file, do_remove, &c);
}

long sys_getxattr(uaddr_t file, uaddr_t name, uaddr_t value, size_t size)
{
    return get(BY_PATH, file, name, value, size);
}
long sys_lgetxattr(uaddr_t file, uaddr_t name, uaddr_t value, size_t size)
{
    return get(BY_LINK, file, name, value, size);
}
long sys_fgetxattr(int file, uaddr_t name, uaddr_t value, size_t size)
{
    return get(BY_FD, (unsigned)file, name, value, size);
}

long sys_setxattr(uaddr_t file, uaddr_t name, uaddr_t value, size_t size, int flags)
{
    return set(BY_PATH, file, name, value, size, flags);
}
long sys_lsetxattr(uaddr_t file, uaddr_t name, uaddr_t value, size_t size, int flags)
{
    return set(BY_LINK, file, name, value, size, flags);
}
long sys_fsetxattr(int file, uaddr_t name, uaddr_t value, size_t size, int flags)
{
    return set(BY_FD, (unsigned)file, name, value, size, flags);
}

long sys_listxattr(uaddr_t file, uaddr_t to, size_t size)
{
    return list(BY_PATH, file, to, size);
}
long sys_llistxattr(uaddr_t file, uaddr_t to, size_t size)
{
    return list(BY_LINK, file, to, size);
}
long sys_flistxattr(int file, uaddr_t to, size_t size)
{
    return list(BY_FD, (unsigned)file, to, size);
}

long sys_removexattr(uaddr_t file, uaddr_t name)
{
    return remove(BY_PATH, file, name);
}
long sys_lremovexattr(uaddr_t file, uaddr_t name)
{
    return remove(BY_LINK, file, name);
}
long sys_fremovexattr(int file, uaddr_t name)
{
    return remove(BY_FD, (unsigned)file, name);
}
