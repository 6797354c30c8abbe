/* Directories and names: listing, the working directory, making, removing and renaming entries. */
#include "core/mem.h"
#include "fs/notify.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/syscall.h"

/* --- listing ---------------------------------------------------------------------------------- */

struct dirent_head { /* struct linux_dirent64 without its name */
    uint64_t ino, next;
    uint16_t reclen;
    uint8_t type;
} __attribute__((packed));

struct dirent_old_head { /* struct linux_dirent: the type is the record's last byte */
    uint64_t ino, next;
    uint16_t reclen;
} __attribute__((packed));

/* Entries are collected in kernel memory (the directory is locked meanwhile) and copied out at
 * once. */
struct listing {
    struct dir_emit emit;
    uint8_t *buf;
    size_t size, used;
    bool old;
    bool full;
};

static bool emit_entry(struct dir_emit *d, const char *name, size_t len, uint64_t ino,
                       unsigned type, uint64_t next)
{
    struct listing *l = container_of(d, struct listing, emit);
    size_t head = l->old ? sizeof(struct dirent_old_head) : sizeof(struct dirent_head);
    size_t reclen = ROUND_UP(head + len + 1 + (l->old ? 1 : 0), 8);
    if (reclen > l->size - l->used) {
        l->full = true;
        return false;
    }
    uint8_t *at = l->buf + l->used;
    memset(at, 0, reclen);
    uint8_t dtype = (uint8_t)(type >> 12 & 15); /* DT_* are the type bits of the mode */
    if (l->old) {
        *(struct dirent_old_head *)at = (struct dirent_old_head){ino, next, (uint16_t)reclen};
        at[reclen - 1] = dtype;
    } else {
        *(struct dirent_head *)at = (struct dirent_head){ino, next, (uint16_t)reclen, dtype};
    }
    memcpy(at + head, name, len);
    l->used += reclen;
    return true;
}

static long list_directory(int fd, uaddr_t buf, unsigned count, bool old)
{
    struct fd_hold h = fd_hold(fd);
    struct file *f = h.file;
    if (!f)
        return -EBADF;
    struct listing l = {.emit = {emit_entry}, .size = MIN(count, 32768u), .old = old};
    long n = !f->ops->readdir ? -ENOTDIR : !(l.buf = kmalloc(l.size ? l.size : 1)) ? -ENOMEM : 0;
    if (!n) {
        mutex_lock(&f->pos_lock);
        uint64_t before = f->pos;
        n = f->ops->readdir(f, &l.emit);
        if (l.used) /* an error comes again with the next call */
            n = (long)l.used;
        else if (!n && l.full)
            n = -EINVAL;
        if (n > 0 && copy_to_user(buf, l.buf, l.used)) {
            f->pos = before;
            n = -EFAULT;
        }
        mutex_unlock(&f->pos_lock);
        if (n >= 0)
            notify_file(f, NOTIFY_ACCESS);
        kfree(l.buf);
    }
    fd_drop(h);
    return n;
}

long sys_getdents64(int fd, uaddr_t buf, unsigned count)
{
    return list_directory(fd, buf, count, false);
}
long sys_getdents(int fd, uaddr_t buf, unsigned count)
{
    return list_directory(fd, buf, count, true);
}

/* --- working directory and root --------------------------------------------------------------- */

/* Takes over the reference of `to`. */
static void replace_path(struct path *where, struct path *to)
{
    struct process *p = current_process();
    mutex_lock(&p->fs_lock);
    struct path old = *where;
    *where = *to;
    mutex_unlock(&p->fs_lock);
    path_put(&old);
}

static int enterable(const struct path *p)
{
    struct vnode *v = path_vnode(p);
    if (vnode_type(v) != MODE_DIR)
        return -ENOTDIR;
    return vnode_access(v, current_cred(), ACCESS_X);
}

/* The directory a path argument names, referenced. */
static int lookup_directory(uaddr_t name, struct path *out)
{
    struct at a;
    int err = at_lookup(&a, AT_FDCWD_N, name, 0, out);
    if (err)
        return err;
    err = enterable(out);
    if (err)
        path_put(out);
    at_end(&a);
    return err;
}

long sys_chdir(uaddr_t name)
{
    struct path p;
    int err = lookup_directory(name, &p);
    if (!err)
        replace_path(&current_process()->fs.cwd, &p);
    return err;
}

long sys_fchdir(int fd)
{
    struct fd_hold h = fd_hold_path(fd);
    if (!h.file)
        return -EBADF;
    struct path p = file_path(h.file);
    int err = p.dentry ? enterable(&p) : -ENOTDIR;
    if (!err) {
        path_get(&p);
        replace_path(&current_process()->fs.cwd, &p);
    }
    fd_drop(h);
    return err;
}

#define CAP_SYS_CHROOT_N 18

long sys_chroot(uaddr_t name)
{
    struct path p;
    int err = lookup_directory(name, &p);
    if (err)
        return err;
    if (!capable(CAP_SYS_CHROOT_N)) {
        path_put(&p);
        return -EPERM;
    }
    replace_path(&current_process()->fs.root, &p);
    return 0;
}

long sys_getcwd(uaddr_t buf, size_t size)
{
    char *text = kmalloc(VFS_PATH_MAX);
    if (!text)
        return -ENOMEM;
    struct fs_context copy;
    const struct fs_context *ctx = fs_context_hold(&copy);
    long n = vfs_path_text(ctx, &ctx->cwd, text, VFS_PATH_MAX);
    fs_context_drop(ctx, &copy);
    static const char deleted[] = " (deleted)";
    size_t tail = sizeof(deleted) - 1;
    if (n >= (long)tail && !memcmp(text + n - tail, deleted, tail))
        n = -ENOENT;
    if (n >= 0) {
        n++; /* with its NUL */
        if ((size_t)n > size)
            n = -ERANGE;
        else if (copy_to_user(buf, text, (size_t)n))
            n = -EFAULT;
    }
    kfree(text);
    return n;
}

/* --- entries ---------------------------------------------------------------------------------- */

long sys_mkdirat(int dirfd, uaddr_t name, unsigned mode)
{
    struct at a;
    long err = at_begin(&a, dirfd, name, false);
    if (err)
        return err;
    err = vfs_mkdir(a.ctx, a.dir, a.name, mode & 07777);
    at_end(&a);
    return err;
}
long sys_mkdir(uaddr_t name, unsigned mode)
{
    return sys_mkdirat(AT_FDCWD_N, name, mode);
}

#define CAP_MKNOD_N 27

long sys_mknodat(int dirfd, uaddr_t name, unsigned mode, unsigned dev)
{
    unsigned type = mode & MODE_FMT;
    if (type == MODE_DIR)
        return -EPERM;
    if (type == 0)
        type = MODE_REG;
    if (type != MODE_REG && type != MODE_FIFO && type != MODE_SOCK && type != MODE_CHR &&
        type != MODE_BLK)
        return -EINVAL;
    if ((type == MODE_CHR || type == MODE_BLK) && !capable(CAP_MKNOD_N))
        return -EPERM;
    uint64_t rdev = (uint64_t)(dev >> 8 & 0xfff) << 32 | (dev & 0xff) | (dev >> 12 & 0xfff00);
    struct at a;
    long err = at_begin(&a, dirfd, name, false);
    if (err)
        return err;
    err = vfs_mknod(a.ctx, a.dir, a.name, type | (mode & 07777), rdev, NULL);
    at_end(&a);
    return err;
}
long sys_mknod(uaddr_t name, unsigned mode, unsigned dev)
{
    return sys_mknodat(AT_FDCWD_N, name, mode, dev);
}

long sys_unlinkat(int dirfd, uaddr_t name, int flags)
{
    if (flags & ~AT_REMOVEDIR_N)
        return -EINVAL;
    struct at a;
    long err = at_begin(&a, dirfd, name, false);
    if (err)
        return err;
    err = vfs_unlink(a.ctx, a.dir, a.name, flags & AT_REMOVEDIR_N);
    at_end(&a);
    return err;
}
long sys_unlink(uaddr_t name)
{
    return sys_unlinkat(AT_FDCWD_N, name, 0);
}
long sys_rmdir(uaddr_t name)
{
    return sys_unlinkat(AT_FDCWD_N, name, AT_REMOVEDIR_N);
}

long sys_symlinkat(uaddr_t target, int dirfd, uaddr_t name)
{
    struct at t, a;
    long err = at_begin(&t, AT_FDCWD_N, target, false);
    if (err)
        return err;
    err = at_begin(&a, dirfd, name, false);
    if (!err) {
        err = vfs_symlink(a.ctx, t.name, a.dir, a.name);
        at_end(&a);
    }
    at_end(&t);
    return err;
}
long sys_symlink(uaddr_t target, uaddr_t name)
{
    return sys_symlinkat(target, AT_FDCWD_N, name);
}

long sys_linkat(int old_dirfd, uaddr_t old_name, int dirfd, uaddr_t name, int flags)
{
    if (flags & ~(AT_SYMLINK_FOLLOW_N | AT_EMPTY_PATH_N))
        return -EINVAL;
    struct at old, a;
    struct path p;
    int how = flags & AT_EMPTY_PATH_N;
    if (!(flags & AT_SYMLINK_FOLLOW_N))
        how |= AT_SYMLINK_NOFOLLOW_N;
    long err = at_lookup(&old, old_dirfd, old_name, how, &p);
    if (err)
        return err;
    err = at_begin(&a, dirfd, name, false);
    if (!err) {
        err = vfs_link(a.ctx, &p, a.dir, a.name);
        at_end(&a);
    }
    path_put(&p);
    at_end(&old);
    return err;
}
long sys_link(uaddr_t old, uaddr_t name)
{
    return sys_linkat(AT_FDCWD_N, old, AT_FDCWD_N, name, 0);
}

long sys_renameat2(int from_dirfd, uaddr_t from_name, int to_dirfd, uaddr_t to_name, unsigned flags)
{
    if (flags & ~(RENAME_NOREPLACE_FLAG | RENAME_EXCHANGE_FLAG) ||
        flags == (RENAME_NOREPLACE_FLAG | RENAME_EXCHANGE_FLAG))
        return -EINVAL;
    struct at from, to;
    long err = at_begin(&from, from_dirfd, from_name, false);
    if (err)
        return err;
    err = at_begin(&to, to_dirfd, to_name, false);
    if (!err) {
        err = vfs_rename(from.ctx, from.dir, from.name, to.dir, to.name, flags);
        at_end(&to);
    }
    at_end(&from);
    return err;
}
long sys_renameat(int from_dirfd, uaddr_t from, int to_dirfd, uaddr_t to)
{
    return sys_renameat2(from_dirfd, from, to_dirfd, to, 0);
}
long sys_rename(uaddr_t from, uaddr_t to)
{
    return sys_renameat2(AT_FDCWD_N, from, AT_FDCWD_N, to, 0);
}

long sys_readlinkat(int dirfd, uaddr_t name, uaddr_t buf, int size)
{
    if (size <= 0)
        return -EINVAL;
    struct at a;
    struct path p;
    long n = at_lookup(&a, dirfd, name, AT_SYMLINK_NOFOLLOW_N | AT_EMPTY_PATH_N, &p);
    if (n)
        return n;
    /* The whole target, of which the program gets what it has room for. */
    char *text = kmalloc(VFS_PATH_MAX);
    n = text ? vfs_readlink(a.ctx, &p, text, VFS_PATH_MAX) : -ENOMEM;
    n = MIN(n, (long)size);
    if (n > 0 && copy_to_user(buf, text, (size_t)n))
        n = -EFAULT;
    kfree(text);
    path_put(&p);
    at_end(&a);
    return n;
}
long sys_readlink(uaddr_t name, uaddr_t buf, int size)
{
    return sys_readlinkat(AT_FDCWD_N, name, buf, size);
}

/* --- mounts ----------------------------------------------------------------------------------- */

#define CAP_SYS_ADMIN_N 21
#define MS_NODIRATIME 0x800u /* of directories none is kept */
#define MS_RELATIME 0x200000u
#define MS_KEPT (MOUNT_RDONLY | MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC | MOUNT_NOATIME)

long sys_mount(uaddr_t source, uaddr_t where, uaddr_t type, uint64_t flags, uaddr_t data)
{
    (void)data;
    if (!capable(CAP_SYS_ADMIN_N))
        return -EPERM;
    char kind[32], from[64] = "none";
    ssize_t n = type ? strncpy_from_user(kind, type, sizeof(kind)) : -EINVAL;
    if (n < 0)
        return n == -ENAMETOOLONG ? -ENODEV : n;
    if (source && (n = strncpy_from_user(from, source, sizeof(from))) < 0)
        return n;
    if (flags & ~(uint64_t)(MS_KEPT | MS_NODIRATIME | MS_RELATIME))
        return -EINVAL; /* bind, remount, move, propagation: not there */
    if (strcmp(kind, "tmpfs"))
        return -ENODEV; /* proc, dev and sys are mounted once, at boot */
    struct at a;
    long err = at_begin(&a, AT_FDCWD_N, where, false);
    if (err)
        return err;
    struct filesystem *fs = tmpfs_create(0);
    err = fs ? vfs_mount(a.ctx, fs, a.name, from, (unsigned)flags & MS_KEPT) : -ENOMEM;
    if (err && fs && fs->destroy)
        fs->destroy(fs);
    at_end(&a);
    return err;
}

long sys_umount2(uaddr_t where, int flags)
{
    if (!capable(CAP_SYS_ADMIN_N))
        return -EPERM;
    if (flags & ~8) /* UMOUNT_NOFOLLOW */
        return -EINVAL;
    struct at a;
    long err = at_begin(&a, AT_FDCWD_N, where, false);
    if (err)
        return err;
    err = vfs_umount(a.ctx, a.name);
    at_end(&a);
    return err;
}
