/* Sockets as files: what the socket system calls need of an address family. */
#ifndef LINUX_SOCK_H
#define LINUX_SOCK_H

#include "fs/file.h"
#include "linux/iov.h"

#define AF_UNSPEC_N 0
#define AF_UNIX_N 1
#define AF_INET_N 2
#define AF_INET6_N 10
#define AF_NETLINK_N 16
#define AF_PACKET_N 17

#define SOCK_STREAM_N 1
#define SOCK_DGRAM_N 2
#define SOCK_RAW_N 3
#define SOCK_SEQPACKET_N 5

#define SOL_SOCKET_N 1
#define SOCKADDR_MAX 128

/* MSG_* beyond those of net/socket.h. */
#define MSG_CTRUNC_N 0x8u
#define MSG_EOR_N 0x80u
#define MSG_ERRQUEUE_N 0x2000u
#define MSG_WAITFORONE_N 0x10000u
#define MSG_ZEROCOPY_N 0x4000000u
#define MSG_CMSG_CLOEXEC_N 0x40000000u

struct socket;
struct sock_recv_info;

/* A socket address as programs write it. */
struct sockaddr_k {
    uint16_t family;
    uint8_t data[SOCKADDR_MAX - 2];
};

/* Ancillary data being sent: the program's buffer, copied. */
struct cmsg_in {
    const uint8_t *data;
    size_t len;
};
struct cmsg_head {
    uint64_t len; /* with this header */
    int32_t level, type;
};
/* The next message at *pos, or NULL at the end; -EINVAL through *err for a malformed one. */
const struct cmsg_head *cmsg_next(const struct cmsg_in *c, size_t *pos, int *err);

/* One message on its way through a system call. */
struct sock_msg {
    struct uio *uio;
    unsigned flags;         /* MSG_*; DONTWAIT is set for non-blocking files */
    uint32_t name_len;      /* send: of `name`, 0: none; recv: set with `name` by the family */
    bool want_name;         /* recv: the caller takes the address */
    struct cmsg_in control; /* send */
    uaddr_t control_out;    /* recv: the program's buffer */
    size_t control_room, control_used;
    unsigned out_flags;     /* recv: msg_flags */
    struct sockaddr_k name; /* last: not initialised as a whole */
};
/* recv: appends an ancillary message; sets MSG_CTRUNC if there is no room. -EFAULT. */
int cmsg_put(struct sock_msg *m, int level, int type, const void *data, size_t len);
/* How many bytes of data a message put next could have. */
size_t cmsg_room(const struct sock_msg *m);

/* The operations of a family; all in thread context, negative errno on failure. addr and its length
 * are checked to be 2..SOCKADDR_MAX bytes. */
struct sock_ops {
    int family;
    int (*bind)(struct file *f, const struct sockaddr_k *addr, uint32_t len);
    int (*connect)(struct file *f, const struct sockaddr_k *addr, uint32_t len);
    int (*listen)(struct file *f, int backlog);
    int (*accept)(struct file *f, struct file **out); /* file with one reference */
    int (*name)(struct file *f, struct sockaddr_k *out, uint32_t *len, bool peer);
    ssize_t (*send)(struct file *f, struct sock_msg *m);
    ssize_t (*recv)(struct file *f, struct sock_msg *m);
    int (*shutdown)(struct file *f, int how);
    int (*setopt)(struct file *f, int level, int name, const void *val, uint32_t len);
    int (*getopt)(struct file *f, int level, int name, void *val, uint32_t *len);
};

/* Constructors: a file with one reference. */
int inet_socket_create(int family, int type, int proto, struct file **out);
int unix_socket_create(int type, int proto, struct file **out);
int unix_socket_pair(int type, int proto, struct file *out[2]);
int netlink_socket_create(int type, int proto, struct file **out);
int packet_file_create(int type, int proto, struct file **out);

/* The file operations behind which a socket is recognised. */
extern const struct file_ops inet_file_ops, unix_file_ops, netlink_file_ops, packet_file_ops;
extern const struct sock_ops inet_sock_ops, unix_sock_ops, netlink_sock_ops, packet_sock_ops;

/* Network interface requests (SIOCGIF...) on any socket; -ENOTTY for others. */
long netdev_ioctl(unsigned cmd, uaddr_t arg);

/* SO_RCVTIMEO and SO_SNDTIMEO, both layouts (the same on 64-bit machines). */
#define SO_RCVTIMEO_OLD_N 20
#define SO_SNDTIMEO_OLD_N 21
#define SO_RCVTIMEO_NEW_N 66
#define SO_SNDTIMEO_NEW_N 67
static inline bool is_timeout_option(int name)
{
    return name == SO_RCVTIMEO_OLD_N || name == SO_SNDTIMEO_OLD_N || name == SO_RCVTIMEO_NEW_N ||
           name == SO_SNDTIMEO_NEW_N;
}
static inline bool is_recv_timeout(int name)
{
    return name == SO_RCVTIMEO_OLD_N || name == SO_RCVTIMEO_NEW_N;
}
/* SO_ATTACH_FILTER, SO_DETACH_FILTER and SO_LOCK_FILTER; false: another option. */
#define SO_ATTACH_FILTER_N 26
#define SO_DETACH_FILTER_N 27
#define SO_LOCK_FILTER_N 44
bool filter_option_set(struct socket *s, int name, const void *val, uint32_t len, int *err);
/* The time a datagram came, if the program has asked for it. -EFAULT. */
int put_timestamp(struct sock_msg *m, const struct socket *s, const struct sock_recv_info *info);
/* What a call on f that ended with `res` gives: if a signal interrupted it and f is a socket with
 * `timeout` (SO_RCVTIMEO, SO_SNDTIMEO) set, it is not restarted (signal(7)) but fails, -EINTR. */
int sock_interrupted(struct file *f, int timeout);
static inline long sock_result(struct file *f, long res, int timeout)
{
    return unlikely(res == -ERESTARTSYS) ? sock_interrupted(f, timeout) : res;
}
int timeout_option_set(nsec_t *timeout, const void *val, uint32_t len);
int timeout_option_get(nsec_t timeout, void *val, uint32_t *len);

#endif
