/* Files without a name: how eventfd, epoll, timerfd and their kin come into being. */
#ifndef LINUX_ANON_H
#define LINUX_ANON_H

#include "fs/file.h"

/* A new file with these operations, installed: the descriptor, or negative errno (then the
 * operations' release has been called on data). cloexec and nonblocking by the OPEN_* bits of
 * flags. */
int anon_install(const struct file_ops *ops, void *data, unsigned flags);
/* Adds to the counter of an eventfd, as far as that goes. -EBADF; -EINVAL: another kind of file. */
int eventfd_add(int fd, uint64_t value);

/* The inode number of a file without a vnode: its object's, so both ends of a pipe have the same.
 */
uint64_t anonymous_ino(const struct file *f);

#endif
