/* Extended attributes: no file system here has any. The file is looked up and its list is empty. */
#include "linux/path.h"
#include "linux/syscall.h"

/* The result for a file that exists, or why it cannot be named. */
static long on_path(uaddr_t name, int flags, long result)
{
    struct at a;
    struct path p;
    long err = at_lookup(&a, AT_FDCWD_N, name, flags, &p);
    if (err)
        return err;
    path_put(&p);
    at_end(&a);
    return result;
}

static long on_fd(int fd, long result)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    fd_drop(h);
    return result;
}

#define FAMILY(call, params, result)                                                               \
    long sys_##call params                                                                         \
    {                                                                                              \
        return on_path(file, 0, result);                                                           \
    }                                                                                              \
    long sys_l##call params                                                                        \
    {                                                                                              \
        return on_path(file, AT_SYMLINK_NOFOLLOW_N, result);                                       \
    }
#define FD_CALL(call, params, result)                                                              \
    long sys_f##call params                                                                        \
    {                                                                                              \
        return on_fd(file, result);                                                                \
    }

#define UNUSED_ATTR (void)name, (void)value, (void)size
FAMILY(getxattr, (uaddr_t file, uaddr_t name, uaddr_t value, size_t size),
       (UNUSED_ATTR, -EOPNOTSUPP))
FD_CALL(getxattr, (int file, uaddr_t name, uaddr_t value, size_t size), (UNUSED_ATTR, -EOPNOTSUPP))
FAMILY(setxattr, (uaddr_t file, uaddr_t name, uaddr_t value, size_t size, int flags),
       (UNUSED_ATTR, (void)flags, -EOPNOTSUPP))
FD_CALL(setxattr, (int file, uaddr_t name, uaddr_t value, size_t size, int flags),
        (UNUSED_ATTR, (void)flags, -EOPNOTSUPP))
FAMILY(listxattr, (uaddr_t file, uaddr_t list, size_t size), ((void)list, (void)size, 0))
FD_CALL(listxattr, (int file, uaddr_t list, size_t size), ((void)list, (void)size, 0))
FAMILY(removexattr, (uaddr_t file, uaddr_t name), ((void)name, -EOPNOTSUPP))
FD_CALL(removexattr, (int file, uaddr_t name), ((void)name, -EOPNOTSUPP))
