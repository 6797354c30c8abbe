/* Reading and writing open files at a position, as read(2), sendfile(2) and others need it. */
#ifndef LINUX_RW_H
#define LINUX_RW_H

#include "linux/process.h"

/* At the file's own position (kept under pos_lock if the description is shared) or as a stream.
 * -EBADF by access mode, -EISDIR, -EINVAL. */
ssize_t file_read(struct file *f, struct uio *u);
ssize_t file_write(struct file *f, struct uio *u);
/* At `pos`, which is advanced; -ESPIPE for streams. */
ssize_t file_pread(struct file *f, struct uio *u, uint64_t *pos);
ssize_t file_pwrite(struct file *f, struct uio *u, uint64_t *pos);

/* Nobody reads at the other end: raises SIGPIPE; -EPIPE. */
static inline ssize_t broken_pipe(void)
{
    signal_send_task(current_task(), 13, NULL);
    return -EPIPE;
}

#endif
