/* Pipes and FIFOs: a bounded queue of bytes between files. */
#ifndef LINUX_PIPE_H
#define LINUX_PIPE_H

#include "fs/file.h"

/* A new pipe's two ends, one reference each. flags: OPEN_NONBLOCK, OPEN_DIRECT (what is written
 * are packets). -ENOMEM. */
int pipe_create(unsigned flags, struct file **read_end, struct file **write_end);
bool file_is_pipe(const struct file *f);
/* F_SETPIPE_SZ: the new size in bytes; -EBADF (no pipe), -EINVAL, -EPERM, -EBUSY (holds more),
 * -ENOMEM. */
long pipe_set_size(struct file *f, uint64_t size);
long pipe_get_size(struct file *f);
/* tee(2): copies up to `len` bytes of in's content to the end of out without taking them. */
ssize_t pipe_tee(struct file *in, struct file *out, size_t len, bool nonblock);
/* Waits for the first byte: 1, 0 at the end of file, or -EAGAIN, -ERESTARTSYS. */
int pipe_wait_data(struct file *f, bool nonblock);
/* splice(2) into a pipe: waits until there is room; the room, 0 never, or -EPIPE (with SIGPIPE),
 * -EAGAIN, -ERESTARTSYS. */
ssize_t pipe_wait_room(struct file *f, bool nonblock);
/* Writes n kernel bytes, waiting for room as often as need be. */
ssize_t pipe_write_all(struct file *f, void *data, size_t n);
/* splice(2) out of a pipe: hands up to len bytes to sink, in place; what the sink takes leaves the
 * pipe. Waits for the first byte only. */
ssize_t pipe_drain(struct file *f, size_t len, bool nonblock,
                   ssize_t (*sink)(void *arg, struct uio *u, uint64_t *pos), void *arg,
                   uint64_t *pos);

#endif
