/* ioctl: what works on every file; the rest is the file's own. */
#include <asm/ioctls.h>

#include "linux/async.h"
#include "linux/process.h"
#include "linux/syscall.h"

static int set_flag(struct file *f, unsigned flag, uaddr_t arg)
{
    int on;
    if (copy_from_user(&on, arg, sizeof(on)))
        return -EFAULT;
    WRITE_ONCE(f->flags, on ? f->flags | flag : f->flags & ~flag);
    return 0;
}

long sys_ioctl(int fd, unsigned cmd, uint64_t arg)
{
    struct fd_hold h = fd_hold(fd);
    struct file *f = h.file;
    if (!f)
        return -EBADF;
    long r;
    switch (cmd) {
    case FIOCLEX:
        r = fd_set_cloexec(fd, true);
        break;
    case FIONCLEX:
        r = fd_set_cloexec(fd, false);
        break;
    case FIONBIO:
        r = set_flag(f, OPEN_NONBLOCK, arg);
        break;
    case FIOASYNC: {
        int on;
        r = copy_from_user(&on, arg, sizeof(on)) ? -EFAULT : async_set(f, on);
        break;
    }
    case FIONREAD:
        if (f->vnode && vnode_type(f->vnode) == MODE_REG) {
            int left = (int)MIN((int64_t)(f->vnode->attr.size - f->pos), (int64_t)INT32_MAX);
            r = copy_to_user(arg, &left, sizeof(left));
            break;
        } /* fall through */
    default:
        r = f->ops->ioctl ? f->ops->ioctl(f, cmd, arg, true) : -ENOTTY;
    }
    fd_drop(h);
    return r;
}
