/* Opening files: open, openat, openat2, creat; access checks. */
#include "core/mem.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define OPEN_LARGEFILE 0100000u
#define OPEN_KNOWN                                                                                 \
    (OPEN_ACCMODE | OPEN_CREAT | OPEN_EXCL | OPEN_NOCTTY | OPEN_TRUNC | OPEN_APPEND |              \
     OPEN_NONBLOCK | 010000u /* O_DSYNC */ | 020000u /* O_ASYNC */ | OPEN_DIRECT |                 \
     OPEN_LARGEFILE | OPEN_DIRECTORY | OPEN_NOFOLLOW | 01000000u /* O_NOATIME */ | OPEN_CLOEXEC |  \
     04000000u /* O_SYNC */ | OPEN_PATH | OPEN_TMPFILE)

static long open_at(int dirfd, uaddr_t name, unsigned flags, uint32_t mode, unsigned resolve)
{
    struct at a;
    long err = resolve & WALK_IN_ROOT ? at_begin_in_root(&a, dirfd, name)
                                      : at_begin(&a, dirfd, name, false);
    if (err)
        return err;
    struct fs_context restricted;
    const struct fs_context *ctx = a.ctx;
    if (resolve) {
        restricted = *ctx;
        restricted.resolve = resolve;
        if (resolve & (WALK_BENEATH | WALK_IN_ROOT))
            restricted.root = a.dir ? a.base : ctx->cwd;
        ctx = &restricted;
    }
    /* The descriptor first: a file that was created must not be refused for want of one. */
    int fd = fd_reserve(0, flags & OPEN_CLOEXEC);
    struct file *f;
    err = fd < 0 ? fd : vfs_open(ctx, a.dir, a.name, flags, mode, &f);
    at_end(&a);
    if (fd < 0)
        return fd;
    if (err) {
        fd_unreserve(fd);
        return err;
    }
    fd_commit(fd, f);
    return fd;
}

/* Unknown flags are ignored, as open(2) always did; O_PATH leaves only what means something with
 * it. */
static unsigned open_flags(unsigned flags)
{
    flags &= OPEN_KNOWN;
    if (flags & OPEN_PATH)
        flags &= OPEN_PATH | OPEN_DIRECTORY | OPEN_NOFOLLOW | OPEN_CLOEXEC;
    return flags;
}

long sys_openat(int dirfd, uaddr_t name, int flags, unsigned mode)
{
    bool creates = (unsigned)flags & (OPEN_CREAT | OPEN_TMPFILE);
    return open_at(dirfd, name, open_flags((unsigned)flags), creates ? mode & 07777 : 0, 0);
}

long sys_open(uaddr_t name, int flags, unsigned mode)
{
    return sys_openat(AT_FDCWD_N, name, flags, mode);
}

long sys_creat(uaddr_t name, unsigned mode)
{
    return sys_openat(AT_FDCWD_N, name, OPEN_CREAT | OPEN_WRONLY | OPEN_TRUNC, mode);
}

struct open_how_k {
    uint64_t flags, mode, resolve;
};

#define WALK_CACHED 32u
#define WALK_ALL                                                                                   \
    (WALK_NO_XDEV | WALK_NO_MAGICLINKS | WALK_NO_SYMLINKS | WALK_BENEATH | WALK_IN_ROOT |          \
     WALK_CACHED)

/* openat2 is strict. */
long sys_openat2(int dirfd, uaddr_t name, uaddr_t uhow, size_t size)
{
    struct open_how_k how = {0};
    if (size < sizeof(how))
        return -EINVAL;
    if (size > PAGE_SIZE)
        return -E2BIG;
    int err = copy_from_user(&how, uhow, sizeof(how));
    if (err)
        return err;
    for (size_t at = sizeof(how); at < size; at++) {
        uint8_t b;
        if (copy_from_user(&b, uhow + at, 1))
            return -EFAULT;
        if (b)
            return -E2BIG;
    }
    bool creates = how.flags & (OPEN_CREAT | OPEN_TMPFILE);
    if (how.flags & ~(uint64_t)OPEN_KNOWN || how.resolve & ~(uint64_t)WALK_ALL)
        return -EINVAL;
    if (how.resolve & WALK_BENEATH && how.resolve & WALK_IN_ROOT)
        return -EINVAL;
    if (how.mode & ~07777ull || (!creates && how.mode))
        return -EINVAL;
    if (how.flags & OPEN_PATH && how.flags != open_flags((unsigned)how.flags))
        return -EINVAL;
    if (how.resolve & WALK_CACHED)
        return -EAGAIN; /* a walk may always sleep: the program tries again without */
    return open_at(dirfd, name, (unsigned)how.flags, (uint32_t)how.mode, (unsigned)how.resolve);
}

/* --- access: by the real ids, as the program that asks for its caller wants it ---------------- */

static const struct cred *real_cred(struct cred *c)
{
    const struct cred *now = current_cred();
    *c = *now;
    c->fsuid = now->uid;
    c->fsgid = now->gid;
    if (now->uid != 0)
        c->caps_effective = 0;
    else if (now->euid != 0)
        c->caps_effective = c->caps_permitted;
    return c;
}

static long access_path(const struct path *p, const struct cred *cred, unsigned mode)
{
    struct vnode *v = path_vnode(p);
    int err = mode ? vnode_access(v, cred, mode) : 0;
    return !err && mode & 2 && v->fs->flags & MOUNT_RDONLY ? -EROFS : err;
}

/* Who has a pipe or socket open may use it; only what is executable is executed. */
static long access_nameless(const struct file *f, unsigned mode)
{
    return mode & 1 && !(f->ops->mode & 0111) ? -EACCES : 0;
}

static long access_at(int dirfd, uaddr_t name, int mode, int flags)
{
    if (mode & ~7 || flags & ~(AT_EACCESS_N | AT_SYMLINK_NOFOLLOW_N | AT_EMPTY_PATH_N))
        return -EINVAL;
    struct at a;
    struct path p;
    struct file *f = NULL;
    long err = at_begin(&a, dirfd, name, flags & AT_EMPTY_PATH_N);
    if (err)
        return err;
    const struct cred *cred = current_cred();
    struct cred *real = NULL;
    if (!(flags & AT_EACCESS_N) && (cred->uid != cred->fsuid || cred->gid != cred->fsgid)) {
        real = kmalloc(sizeof(*real));
        if (!real) {
            at_end(&a);
            return -ENOMEM;
        }
        cred = real_cred(real);
    }
    struct fs_context ctx = *a.ctx;
    ctx.cred = cred;
    if (a.name[0]) {
        unsigned follow = flags & AT_SYMLINK_NOFOLLOW_N ? 0 : LOOKUP_FOLLOW;
        err = vfs_lookup_file(&ctx, a.dir, a.name, follow, &p, &f);
    } else {
        p = a.dir ? a.base : ctx.cwd;
        err = p.dentry ? 0 : -ENOENT;
        if (!err)
            path_get(&p);
    }
    if (!err && f) {
        err = access_nameless(f, (unsigned)mode);
        file_put(f);
    } else if (!err) {
        err = access_path(&p, cred, (unsigned)mode);
        path_put(&p);
    }
    kfree(real);
    at_end(&a);
    return err;
}

long sys_access(uaddr_t name, int mode)
{
    return access_at(AT_FDCWD_N, name, mode, 0);
}
long sys_faccessat(int dirfd, uaddr_t name, int mode)
{
    return access_at(dirfd, name, mode, 0);
}
long sys_faccessat2(int dirfd, uaddr_t name, int mode, int flags)
{
    return access_at(dirfd, name, mode, flags);
}
