/* What datagram sockets have in common: UDP, raw and ping sockets. */
#ifndef NET_DGRAM_H
#define NET_DGRAM_H

#include "net/sendbuf.h"

struct dgram_socket {
    struct socket s;
    struct list link;       /* in the protocol's table, under its lock */
    struct pkt_queue queue; /* received; under s.lock, as all that follows */
    uint32_t rmem;          /* memory the queue holds, at most s.rcvbuf */
    uint64_t drops;
    struct send_buffer sent; /* not under s.lock */
    bool connected;
    bool bound_addr;     /* the local address was given by bind, not by connect */
    struct ip_flow flow; /* of the last destination */
};

static inline struct dgram_socket *dgram_of(struct socket *s)
{
    return container_of(s, struct dgram_socket, s);
}

/* The base part of a new socket, all zero before, which was kmalloc'ed and begins with d. */
void dgram_init(struct dgram_socket *d, const struct socket_ops *ops, int family, int type,
                int proto);

/* Queues a received packet whose data is what the program is to get; src, dst, netif, tos and ttl
 * are set and cb[0] holds the source port. Takes ownership. False: the queue is full (p is freed).
 * bh. */
bool dgram_enqueue(struct dgram_socket *d, struct pkt *p);

/* socket_ops.recv and poll. */
ssize_t dgram_recv(struct socket *s, struct uio *u, struct sock_recv_info *info, unsigned flags);
unsigned dgram_poll(struct socket *s);
int dgram_ioctl(struct socket *s, unsigned cmd, int *value);
void dgram_option_changed(struct socket *s);
int dgram_disconnect(struct socket *s);
int dgram_shutdown(struct socket *s, int how);
/* Empties the queue, leaves groups and drops the file's reference; the protocol has taken the
 * socket out of its table. */
void dgram_close(struct socket *s);

/* A packet copied from the program, with PKT_HEADROOM in front, once the send buffer has room for
 * it. -EMSGSIZE, -EFAULT, -ENOBUFS, -EAGAIN, -EINTR, -EPIPE, the socket's error through ERR_PTR.
 * Thread context. */
struct pkt *dgram_copy_in(struct dgram_socket *d, struct uio *u, unsigned flags);
/* The pending error, which is thereby told; 0: none. */
int dgram_take_error(struct dgram_socket *d);

/* Brings d->flow to `to`: checks SO_BROADCAST, chooses source and route. s.lock held. 0, -EACCES,
 * and ip_route's errors. */
int dgram_route(struct dgram_socket *d, const struct sock_addr *to,
                const struct sock_send_info *info);
/* Connects: remembers the peer and the source address that its route has. s.lock held. */
int dgram_connect(struct dgram_socket *d, const struct sock_addr *addr);
/* Checks that a program may bind to this address. 0, -EADDRNOTAVAIL. */
int dgram_check_local(const struct socket *s, const struct ip_addr *ip);
/* An unspecified destination means this host. */
void dgram_fix_destination(struct sock_addr *a);

/* sockaddr of an unspecified address of the socket's family. */
struct ip_addr socket_any(const struct socket *s);

#endif
