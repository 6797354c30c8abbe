/* memfd_create: a file in memory without a name. */
#include "core/mem.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define MFD_CLOEXEC_FLAG 1u
#define MFD_ALLOW_SEALING_FLAG 2u
#define MFD_NAME_MAX 249u

/* The file system they live in; it is mounted nowhere. */
static struct filesystem *memfd_fs(void)
{
    static struct filesystem *fs;
    if (!fs)
        fs = tmpfs_create(0);
    return fs;
}

long sys_memfd_create(uaddr_t uname, unsigned flags)
{
    char name[MFD_NAME_MAX + 1];
    if (flags & ~(MFD_CLOEXEC_FLAG | MFD_ALLOW_SEALING_FLAG)) /* huge pages are not there */
        return -EINVAL;
    ssize_t len = strncpy_from_user(name, uname, sizeof(name));
    if (len < 0)
        return len == -ENAMETOOLONG ? -EINVAL : len;
    struct filesystem *fs = memfd_fs();
    struct vnode *v;
    int err = fs ? fs->root->ops->tmpfile(fs->root, MODE_REG | 0777, current_cred(), &v) : -ENOMEM;
    if (err)
        return err;
    v->sealable = true;
    v->seals = flags & MFD_ALLOW_SEALING_FLAG ? 0 : SEAL_SEAL;
    struct file *f = file_alloc(&regular_file_ops, NULL, OPEN_RDWR);
    if (IS_ERR(f)) {
        vnode_put(v);
        return PTR_ERR(f);
    }
    f->vnode = v;
    int fd = fd_install(f, 0, flags & MFD_CLOEXEC_FLAG);
    if (fd < 0)
        file_put(f);
    return fd;
}
