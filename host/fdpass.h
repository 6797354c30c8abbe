/* Messages with descriptors (SCM_RIGHTS) over Unix sockets. */
#ifndef HOST_FDPASS_H
#define HOST_FDPASS_H

#include "util.h"

#define FDPASS_MAX 253u /* the kernel's limit for one message */

/* Sends n bytes, with the first of them `count` descriptors, which stay open here. Returns how many
 * bytes were taken, or -errno. `flags` as of sendmsg(2). */
ssize_t fdpass_send(int sock, const void *data, size_t n, const int *fds, unsigned count,
                    int flags);
/*
 * Receives at most n bytes and `*count` descriptors, and sets *count to those that came: the
 * caller's, close-on-exec. A message that was longer, or had more, is -EMSGSIZE and nothing of it
 * is left open. Returns the bytes, 0 at the end, or -errno.
 */
ssize_t fdpass_recv(int sock, void *data, size_t n, int *fds, unsigned *count, int flags);

/* Closes them. */
void fdpass_close(const int *fds, unsigned count);

#endif
