/* Pipes and FIFOs: a bounded queue of bytes between files. */
#ifndef LINUX_PIPE_H
#define LINUX_PIPE_H

#include "fs/file.h"

/* A new pipe's two ends, one reference each. flags: OPEN_NONBLOCK. -ENOMEM. */
int pipe_create(unsigned flags, struct file **read_end, struct file **write_end);
bool file_is_pipe(const struct file *f);
/* F_SETPIPE_SZ: the new size in bytes; -EBADF (no pipe), -EINVAL, -EPERM, -EBUSY (holds more),
 * -ENOMEM. */
long pipe_set_size(struct file *f, uint64_t size);
long pipe_get_size(struct file *f);
/* tee(2): copies up to `len` bytes of in's content to the end of out without taking them. */
ssize_t pipe_tee(struct file *in, struct file *out, size_t len, bool nonblock);

#endif
