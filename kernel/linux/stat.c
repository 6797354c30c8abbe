/* What a file is: stat and its family, statx, statfs. */
#include <asm/stat.h>
#include <asm/statfs.h>
#include <linux/stat.h>

#include "core/rand.h"
#include "linux/anon.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/syscall.h"

/* Linux's encodings of a device number (major << 32 | minor here). */
static uint64_t dev_encode(uint64_t dev)
{
    uint64_t major = dev >> 32, minor = dev & 0xffffffff;
    return (minor & 0xff) | (major & 0xfff) << 8 | (minor & ~0xffull) << 12 |
           (major & ~0xfffull) << 32;
}

uint64_t anonymous_ino(const struct file *f)
{
    return object_ino(f->data);
}

static int file_attr(struct file *f, struct vattr *out)
{
    if (f->vnode)
        return vnode_getattr(f->vnode, out);
    *out = (struct vattr){
        .ino = anonymous_ino(f),
        .mode = f->ops->mode ? f->ops->mode : 0600,
        .nlink = 1,
        .uid = current_cred()->fsuid,
        .gid = current_cred()->fsgid,
        .blksize = PAGE_SIZE,
        .dev = 12,
    };
    return 0;
}

/* The attributes of (dirfd, name) with AT_* flags; *mounted: a file system is mounted there. */
static int attr_at(int dirfd, uaddr_t name, int flags, struct vattr *out, bool *mounted)
{
    struct at a;
    int err = at_begin(&a, dirfd, name, flags & AT_EMPTY_PATH_N);
    if (err)
        return err;
    *mounted = false;
    if (!a.name[0] && a.hold.file) {
        err = file_attr(a.hold.file, out);
        *mounted = a.base.dentry && path_is_mount_root(&a.base);
    } else if (!a.name[0]) {
        err = vfs_getattr(&a.ctx->cwd, out);
        *mounted = path_is_mount_root(&a.ctx->cwd);
    } else {
        unsigned follow = flags & AT_SYMLINK_NOFOLLOW_N ? 0 : LOOKUP_FOLLOW;
        struct path p;
        struct file *f;
        err = vfs_lookup_file(a.ctx, a.dir, a.name, follow, &p, &f);
        if (!err && f) {
            err = file_attr(f, out);
            file_put(f);
        } else if (!err) {
            err = vfs_getattr(&p, out);
            *mounted = path_is_mount_root(&p);
            path_put(&p);
        }
    }
    at_end(&a);
    return err;
}

/* A time before 1970 has negative seconds, but never negative nanoseconds. */
static int64_t seconds_of(int64_t ns)
{
    return ns / NSEC_PER_SEC - (ns % NSEC_PER_SEC < 0);
}
static uint32_t nanoseconds_of(int64_t ns)
{
    int64_t rest = ns % NSEC_PER_SEC;
    return (uint32_t)(rest < 0 ? rest + NSEC_PER_SEC : rest);
}

static int put_stat(uaddr_t to, const struct vattr *a)
{
    struct stat st = {
        .st_dev = dev_encode(a->dev),
        .st_ino = a->ino,
        .st_nlink = a->nlink,
        .st_mode = a->mode,
        .st_uid = a->uid,
        .st_gid = a->gid,
        .st_rdev = dev_encode(a->rdev),
        .st_size = (long)a->size,
        .st_blksize = a->blksize,
        .st_blocks = (long)a->blocks,
        .st_atime = (unsigned long)seconds_of(a->atime_ns),
        .st_atime_nsec = nanoseconds_of(a->atime_ns),
        .st_mtime = (unsigned long)seconds_of(a->mtime_ns),
        .st_mtime_nsec = nanoseconds_of(a->mtime_ns),
        .st_ctime = (unsigned long)seconds_of(a->ctime_ns),
        .st_ctime_nsec = nanoseconds_of(a->ctime_ns),
    };
    return copy_to_user(to, &st, sizeof(st));
}

long sys_newfstatat(int dirfd, uaddr_t name, uaddr_t buf, int flags)
{
    if (flags & ~(AT_SYMLINK_NOFOLLOW_N | AT_NO_AUTOMOUNT_N | AT_EMPTY_PATH_N))
        return -EINVAL;
    struct vattr a;
    bool mounted;
    int err = attr_at(dirfd, name, flags, &a, &mounted);
    return err ? err : put_stat(buf, &a);
}

long sys_stat(uaddr_t name, uaddr_t buf)
{
    return sys_newfstatat(AT_FDCWD_N, name, buf, 0);
}
long sys_lstat(uaddr_t name, uaddr_t buf)
{
    return sys_newfstatat(AT_FDCWD_N, name, buf, AT_SYMLINK_NOFOLLOW_N);
}

long sys_fstat(int fd, uaddr_t buf)
{
    struct fd_hold h = fd_hold_path(fd);
    if (!h.file)
        return -EBADF;
    struct vattr a;
    int err = file_attr(h.file, &a);
    fd_drop(h);
    return err ? err : put_stat(buf, &a);
}

static struct statx_timestamp statx_time(int64_t ns)
{
    return (struct statx_timestamp){.tv_sec = seconds_of(ns), .tv_nsec = nanoseconds_of(ns)};
}

long sys_statx(int dirfd, uaddr_t name, int flags, unsigned mask, uaddr_t buf)
{
    if (mask & STATX__RESERVED || (flags & 0x6000) == 0x6000 /* both FORCE_SYNC and DONT_SYNC */ ||
        flags & ~(AT_SYMLINK_NOFOLLOW_N | AT_NO_AUTOMOUNT_N | AT_EMPTY_PATH_N | 0x6000))
        return -EINVAL;
    struct vattr a;
    bool mounted;
    int err = attr_at(dirfd, name, flags, &a, &mounted);
    if (err)
        return err;
    struct statx sx = {
        .stx_mask = STATX_BASIC_STATS | STATX_BTIME,
        .stx_attributes = mounted ? STATX_ATTR_MOUNT_ROOT : 0,
        .stx_attributes_mask = STATX_ATTR_MOUNT_ROOT,
        .stx_blksize = a.blksize,
        .stx_nlink = a.nlink,
        .stx_uid = a.uid,
        .stx_gid = a.gid,
        .stx_mode = (uint16_t)a.mode,
        .stx_ino = a.ino,
        .stx_size = a.size,
        .stx_blocks = a.blocks,
        .stx_atime = statx_time(a.atime_ns),
        .stx_btime = statx_time(a.btime_ns),
        .stx_ctime = statx_time(a.ctime_ns),
        .stx_mtime = statx_time(a.mtime_ns),
        .stx_rdev_major = (uint32_t)(a.rdev >> 32),
        .stx_rdev_minor = (uint32_t)a.rdev,
        .stx_dev_major = (uint32_t)(a.dev >> 32),
        .stx_dev_minor = (uint32_t)a.dev,
    };
    return copy_to_user(buf, &sx, sizeof(sx));
}

/* --- file systems ----------------------------------------------------------------------------- */

#define ST_VALID 0x20
#define ST_RELATIME 0x1000

static long put_statfs(const struct path *p, uaddr_t buf)
{
    struct vfs_statfs s = {0};
    int err = vfs_statfs(p, &s);
    if (err)
        return err;
    const struct filesystem *fs = path_vnode(p)->fs;
    struct statfs out = {
        .f_type = (long)s.type_magic,
        .f_bsize = (long)s.block_size,
        .f_frsize = (long)s.block_size,
        .f_blocks = (long)s.blocks,
        .f_bfree = (long)s.blocks_free,
        .f_bavail = (long)s.blocks_free,
        .f_files = (long)s.files,
        .f_ffree = (long)s.files_free,
        .f_fsid = {.val = {(int)fs->dev, (int)(fs->dev >> 32)}},
        .f_namelen = VFS_NAME_MAX,
        .f_flags = (long)fs->flags | ST_VALID | (fs->flags & MOUNT_NOATIME ? 0 : ST_RELATIME),
    };
    return copy_to_user(buf, &out, sizeof(out));
}

/* The file systems where Linux keeps files without a name. */
static long nameless_magic(const struct file *f)
{
    switch (f->ops->mode & MODE_FMT) {
    case MODE_FIFO:
        return 0x50495045;
    case MODE_SOCK:
        return 0x534f434b;
    default:
        return 0x09041934;
    }
}

long sys_statfs(uaddr_t name, uaddr_t buf)
{
    struct at a;
    struct path p;
    long err = at_lookup(&a, AT_FDCWD_N, name, 0, &p);
    if (err)
        return err;
    err = put_statfs(&p, buf);
    path_put(&p);
    at_end(&a);
    return err;
}

long sys_fstatfs(int fd, uaddr_t buf)
{
    struct fd_hold h = fd_hold_path(fd);
    if (!h.file)
        return -EBADF;
    struct path p = file_path(h.file);
    long err;
    if (p.dentry) {
        err = put_statfs(&p, buf);
    } else {
        struct statfs out = {.f_type = nameless_magic(h.file),
                             .f_bsize = PAGE_SIZE,
                             .f_frsize = PAGE_SIZE,
                             .f_namelen = VFS_NAME_MAX};
        err = copy_to_user(buf, &out, sizeof(out));
    }
    fd_drop(h);
    return err;
}
