/* What datagram sockets have in common: UDP, raw and ping sockets. */
#ifndef NET_DGRAM_H
#define NET_DGRAM_H

#include "net/sendbuf.h"
#include "net/sockrows.h"

struct dgram_socket {
    struct socket s;
    struct list link;        /* in the protocol's table, under its lock */
    struct pkt_queue queue;  /* received; under s.lock, as all that follows */
    struct pkt_queue errors; /* for MSG_ERRQUEUE (net/errqueue.c) */
    uint32_t rmem;           /* memory both hold, at most s.rcvbuf */
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

/* What a queued packet has in its cb[]. */
enum dgram_cb {
    CB_PORT,       /* source port; of an error: that of the destination */
    CB_TIME,       /* CLOCK_REALTIME, if the program wants to know */
    CB_LOCAL_PORT, /* destination port */
    CB_DROPS,      /* datagrams lost before this one */
    CB_ERROR,      /* of an error queue: errno, origin, type and code, a byte each */
    CB_ERROR_INFO,
};

/* Queues a received packet whose data is what the program is to get; src, dst, netif, tos and ttl
 * are set, cb[CB_PORT] and cb[CB_LOCAL_PORT] too. Takes ownership. False: the queue is full (p is
 * freed). bh. */
bool dgram_enqueue(struct dgram_socket *d, struct pkt *p);

/* Whether the socket's filter wants the packet, of which it may keep the front only. The program
 * sees `headers` bytes in front of the data. bh. */
bool dgram_filter(struct dgram_socket *d, struct pkt *p, uint32_t headers);

/* socket_ops.recv and poll. */
ssize_t dgram_recv(struct socket *s, struct uio *u, struct sock_recv_info *info, unsigned flags);
unsigned dgram_poll(struct socket *s);
int dgram_ioctl(struct socket *s, unsigned cmd, int *value);
void dgram_option_changed(struct socket *s);
int dgram_disconnect(struct socket *s);
int dgram_shutdown(struct socket *s, int how);
/* An error about a datagram to `to`, of which `payload` is known: if the program wants errors in a
 * queue it gets it there, and in SO_ERROR; otherwise in SO_ERROR, if the error is `final` and the
 * socket connected. bh or bottom halves disabled. */
void dgram_report(struct dgram_socket *d, const struct sock_error *e, const struct sock_addr *to,
                  const uint8_t *payload, uint32_t n, bool final);
/* Whether an error ends what it is about: Linux tells no others unless asked to. */
bool dgram_final_error(const struct socket *s, int err);
/* The same of an ICMP error; `header`: bytes of its transport header that the program did not
 * write. */
void dgram_icmp_error(struct dgram_socket *d, const struct icmp_report *r, uint16_t port,
                      uint32_t header);
/* The first error of the queue, as recv with MSG_ERRQUEUE; -EAGAIN. */
ssize_t dgram_recv_error(struct dgram_socket *d, struct uio *u, struct sock_recv_info *info,
                         unsigned flags);
/* Errors are not wanted any more. */
void dgram_drop_errors(struct dgram_socket *d);
/* Bytes of a packet from `off` on to the program; 0 or -EFAULT. */
int dgram_copy_out(struct uio *u, const struct pkt *p, uint32_t off, size_t n);

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

/* The socket's row; its table's lock is held. */
struct sock_row dgram_row(struct dgram_socket *d);

#endif
