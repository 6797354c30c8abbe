/* The messages of fdpass.h. */
#include "fdpass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
};

ssize_t fdpass_send(int sock, const void *data, size_t n, const int *fds, unsigned count, int flags)
{
    union control control;
    struct iovec iov = {(void *)data, n};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent;

    if (count > FDPASS_MAX)
        return -E2BIG;
    if (count) {
        memset(&control, 0, CMSG_SPACE(count * sizeof(int)));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    do
        sent = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

ssize_t fdpass_recv(int sock, void *data, size_t n, int *fds, unsigned *count, int flags)
{
    union control control;
    struct iovec iov = {data, n};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE(*count * sizeof(int))};
    ssize_t got;

    *count = 0;
    do
        got = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        *count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), *count * sizeof(int));
    }
    if (!(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        return got;
    fdpass_close(fds, *count);
    *count = 0;
    return -EMSGSIZE;
}

void fdpass_close(const int *fds, unsigned count)
{
    while (count)
        close(fds[--count]);
}
