/* Path arguments and iovec arrays: fetched from the program once, checked, then used. */
#include "linux/path.h"
#include "core/mem.h"
#include "linux/iov.h"
#include "linux/process.h"

const struct fs_context *fs_context_hold(struct fs_context *copy)
{
    struct process *p = current_process();
    if (p->task_count == 1)
        return &p->fs;
    mutex_lock(&p->fs_lock);
    *copy = p->fs;
    path_get(&copy->root);
    path_get(&copy->cwd);
    mutex_unlock(&p->fs_lock);
    copy->cred = current_cred(); /* a task's own reference: stays while it is in the system call */
    return copy;
}

void fs_context_drop(const struct fs_context *ctx, struct fs_context *copy)
{
    if (ctx != copy)
        return;
    path_put(&copy->root);
    path_put(&copy->cwd);
}

static int fetch_name(struct at *a, uaddr_t name)
{
    a->long_name = NULL;
    ssize_t len = strncpy_from_user(a->inline_name, name, PATH_INLINE);
    a->name = a->inline_name;
    if (len != -ENAMETOOLONG)
        return len < 0 ? (int)len : 0;
    a->long_name = kmalloc(VFS_PATH_MAX);
    if (!a->long_name)
        return -ENOMEM;
    a->name = a->long_name;
    len = strncpy_from_user(a->long_name, name, VFS_PATH_MAX);
    if (len < 0)
        kfree(a->long_name);
    return len < 0 ? (int)len : 0;
}

/* absolute: the name does not start at dirfd. */
static int resolve_dirfd(struct at *a, int dirfd, bool absolute)
{
    a->dir = NULL;
    a->hold = (struct fd_hold){0};
    if (absolute || dirfd == AT_FDCWD_N)
        return 0;
    a->hold = fd_hold_path(dirfd);
    struct file *f = a->hold.file;
    if (!f)
        return -EBADF;
    a->base = file_path(f);
    a->dir = &a->base;
    if (a->name[0] && (!a->base.dentry || vnode_type(f->vnode) != MODE_DIR)) {
        fd_drop(a->hold);
        return -ENOTDIR;
    }
    return 0;
}

static int begin(struct at *a, int dirfd, uaddr_t name, bool empty_ok, bool in_root)
{
    int err = fetch_name(a, name);
    if (err)
        return err;
    bool absolute = a->name[0] == '/' && !in_root;
    err = !a->name[0] && !empty_ok ? -ENOENT : resolve_dirfd(a, dirfd, absolute);
    if (err) {
        kfree(a->long_name);
        return err;
    }
    a->ctx = fs_context_hold(&a->copy);
    return 0;
}

int at_begin(struct at *a, int dirfd, uaddr_t name, bool empty_ok)
{
    return begin(a, dirfd, name, empty_ok, false);
}

int at_begin_in_root(struct at *a, int dirfd, uaddr_t name)
{
    return begin(a, dirfd, name, false, true);
}

void at_end(struct at *a)
{
    fs_context_drop(a->ctx, &a->copy);
    if (a->hold.file)
        fd_drop(a->hold);
    kfree(a->long_name);
}

int at_lookup(struct at *a, int dirfd, uaddr_t name, int flags, struct path *out)
{
    int err = at_begin(a, dirfd, name, flags & AT_EMPTY_PATH_N);
    if (err)
        return err;
    if (a->name[0]) {
        unsigned follow = flags & AT_SYMLINK_NOFOLLOW_N ? 0 : LOOKUP_FOLLOW;
        err = vfs_lookup(a->ctx, a->dir, a->name, follow, out);
    } else if (a->dir && !a->base.dentry) {
        err = -ENOENT; /* a pipe or socket: has no path; callers that can, handle it before */
    } else {
        *out = a->dir ? a->base : a->ctx->cwd;
        path_get(out);
    }
    if (err)
        at_end(a);
    return err;
}

int iov_import(struct iov *v, uaddr_t addr, size_t count)
{
    if (count > IOV_COUNT_MAX)
        return -EINVAL;
    v->segs = v->fast;
    if (count > IOV_FAST && !(v->segs = kmalloc(count * sizeof(struct iovec_k))))
        return -ENOMEM;
    int err = copy_from_user(v->segs, addr, count * sizeof(struct iovec_k));
    size_t total = 0;
    for (size_t i = 0; i < count && !err; i++) {
        struct iovec_k *s = &v->segs[i];
        if (s->len > INT64_MAX)
            err = -EINVAL;
        else if (!user_range_ok(s->base, s->len))
            err = -EFAULT;
        s->len = MIN(s->len, RW_COUNT_MAX - total);
        total += s->len;
    }
    if (err) {
        iov_release(v);
        return err;
    }
    v->uio = (struct uio){.segs = v->segs, .nsegs = (uint32_t)count, .user = true, .resid = total};
    return 0;
}

void iov_release(struct iov *v)
{
    if (v->segs != v->fast)
        kfree(v->segs);
}
