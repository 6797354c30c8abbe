/* Path arguments of system calls: (dirfd, user string) as the *at calls take them. */
#ifndef LINUX_PATH_H
#define LINUX_PATH_H

#include "fs/vfs.h"
#include "linux/fd.h"

#define AT_FDCWD_N (-100)
#define AT_SYMLINK_NOFOLLOW_N 0x100
#define AT_EACCESS_N 0x200
#define AT_REMOVEDIR_N 0x200
#define AT_SYMLINK_FOLLOW_N 0x400
#define AT_NO_AUTOMOUNT_N 0x800
#define AT_EMPTY_PATH_N 0x1000

#define PATH_INLINE 128

/* One path argument while a system call works on it. */
struct at {
    const struct fs_context *ctx; /* the process' own, or `copy` if other tasks could change it */
    const struct path *dir;       /* where a relative name starts; NULL: working directory */
    const char *name;
    struct fs_context copy;
    struct path base;
    struct fd_hold hold;
    char *long_name;
    char inline_name[PATH_INLINE];
};

/* Fetches the name and resolves dirfd. 0; -EFAULT, -ENAMETOOLONG, -ENOENT (empty name, unless
 * empty_ok), -EBADF, -ENOTDIR. On success the caller ends with at_end. */
int at_begin(struct at *a, int dirfd, uaddr_t name, bool empty_ok);
/* The same for a name that starts at dirfd even if it is absolute. */
int at_begin_in_root(struct at *a, int dirfd, uaddr_t name);
void at_end(struct at *a);
/* at_begin and the look-up: for calls about an existing file. flags: AT_SYMLINK_NOFOLLOW and
 * AT_EMPTY_PATH count. *out is referenced; then both at_end and path_put are due. */
int at_lookup(struct at *a, int dirfd, uaddr_t name, int flags, struct path *out);

/* The process' view for calls without a path argument; `copy` is used if tasks share it. */
const struct fs_context *fs_context_hold(struct fs_context *copy);
void fs_context_drop(const struct fs_context *ctx, struct fs_context *copy);

#endif
