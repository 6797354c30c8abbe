/*
 * Internet sockets, as the personality uses them: TCP, UDP, raw and packet sockets behind one set
 * of operations. Addresses are struct sock_addr; linux/ translates sockaddr_in and sockaddr_in6.
 * Errors are the negative errno values that Linux gives.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "core/uio.h"
#include "core/wait.h"
#include "net/ip.h"

struct net_filter;
struct filter_insn;
struct socket;
struct poll_table;
struct page;

struct sock_addr {
    struct ip_addr ip;
    uint16_t port;  /* host byte order */
    uint32_t scope; /* interface index; 0: none */
};

/* MSG_* flags: Linux values. */
#define SOCK_MSG_OOB 0x1u
#define SOCK_MSG_PEEK 0x2u
#define SOCK_MSG_TRUNC 0x20u
#define SOCK_MSG_DONTWAIT 0x40u
#define SOCK_MSG_WAITALL 0x100u
#define SOCK_MSG_ERRQUEUE 0x2000u
#define SOCK_MSG_NOSIGNAL 0x4000u
#define SOCK_MSG_MORE 0x8000u

/* What sendmsg may tell besides the data (IP_PKTINFO, IPV6_PKTINFO, IP_TOS, IP_TTL, ...). */
struct sock_send_info {
    struct ip_addr local; /* source address; any: unset */
    int ifindex;          /* 0: unset */
    int tos, ttl;         /* -1: unset */
    int segment;          /* UDP_SEGMENT: payload bytes of each datagram; -1: unset */
};

/* Where an error in an error queue comes from: SO_EE_ORIGIN_* of Linux. */
enum sock_error_origin { ERROR_LOCAL = 1, ERROR_ICMP = 2, ERROR_ICMP6 = 3, ERROR_ZEROCOPY = 5 };

/* What MSG_ERRQUEUE tells of an error: struct sock_extended_err, and who reported it. */
struct sock_error {
    uint8_t err; /* positive errno; 0: none */
    uint8_t origin, type, code;
    uint32_t info, data; /* EMSGSIZE: the MTU; ZEROCOPY: the first and last send */
    struct ip_addr offender;
};

/* What recvmsg tells besides the data. */
struct sock_recv_info {
    struct sock_addr from;
    unsigned flags;       /* MSG_TRUNC, ... for msg_flags */
    struct ip_addr local; /* destination address of a datagram (IP_PKTINFO) */
    int ifindex;
    uint8_t tos, ttl;
    uint16_t local_port; /* of a datagram: IP_RECVORIGDSTADDR */
    uint16_t segment; /* UDP_GRO: datagrams of this many bytes are told as one; 0: one datagram */
    uint32_t drops;   /* SO_RXQ_OVFL: datagrams lost before this one */
    nsec_t realtime;  /* SO_TIMESTAMP */
    struct {          /* of a packet socket */
        uint16_t protocol; /* big-endian */
        uint8_t type;      /* PACKET_HOST, ... */
        uint8_t addr[8];
        uint32_t len; /* as it was on the wire */
    } link;
    uint8_t options_len; /* of IPv4, if the program has asked for them */
    uint8_t options[40];
    struct sock_error error; /* of MSG_ERRQUEUE */
};

struct socket_ops {
    int (*bind)(struct socket *s, const struct sock_addr *addr);
    int (*connect)(struct socket *s, const struct sock_addr *addr, bool nonblock);
    int (*disconnect)(struct socket *s); /* connect to AF_UNSPEC */
    int (*listen)(struct socket *s, int backlog);
    int (*accept)(struct socket *s, struct socket **out, bool nonblock);
    /* Thread context. Bytes or negative errno (-EPIPE without raising the signal: linux/ does). */
    ssize_t (*send)(struct socket *s, struct uio *u, const struct sock_addr *to, unsigned flags);
    /* The same with ancillary data; NULL: the protocol has no use for any. */
    ssize_t (*send_info)(struct socket *s, struct uio *u, const struct sock_addr *to,
                         const struct sock_send_info *info, unsigned flags);
    ssize_t (*recv)(struct socket *s, struct uio *u, struct sock_recv_info *info, unsigned flags);
    /* As send, but by reference to the pages; stops short when the buffer is full. */
    ssize_t (*sendpages)(struct socket *s, const struct page_part *parts, unsigned n,
                         unsigned flags);
    int (*shutdown)(struct socket *s, int how); /* 0 read, 1 write, 2 both */
    unsigned (*poll)(struct socket *s);         /* POLL_* bits now; must not sleep */
    /* level and name as in setsockopt(2) for the protocol's own levels (IPPROTO_TCP, ...); val in
     * kernel memory. getsockopt: *len is in/out. -ENOPROTOOPT. */
    int (*setopt)(struct socket *s, int level, int name, const void *val, uint32_t len);
    int (*getopt)(struct socket *s, int level, int name, void *val, uint32_t *len);
    int (*ioctl)(struct socket *s, unsigned cmd, int *value); /* SIOCINQ (FIONREAD), SIOCOUTQ */
    /* Optional: a generic option changed that is kept elsewhere too (TOS, TTL, device, buffers). */
    void (*option_changed)(struct socket *s);
    /* The file is gone: honours SO_LINGER, may sleep, drops the file's reference. */
    void (*close)(struct socket *s);
};

struct socket {
    refcount_t refs; /* the file's and the protocol's */
    const struct socket_ops *ops;
    spinlock_t lock;        /* bh: the protocol's state of this socket */
    struct wait_queue wait; /* readers, writers, pollers; woken with POLL_* keys */
    uint16_t family;        /* 4 or 6: what socket(2) asked for */
    uint8_t type;           /* SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_RAW 3 */
    uint8_t proto;
    struct sock_addr local, peer;
    int error;    /* pending SO_ERROR (positive errno), cleared when read */
    uint8_t shut; /* 1: no more reading, 2: no more writing */
    /* SOL_SOCKET and IP options, generic part (net/sockopt.c) */
    bool reuse_addr, reuse_port, keepalive, broadcast, v6only, linger_on, timestamp, timestamp_ns,
        pktinfo, recverr, oobinline, freebind, transparent, no_check, bind_no_port, dontroute,
        debug, rxq_ovfl, recv_origdst, recv_opts, ret_opts;
    int linger_s;
    uint32_t rcvbuf, sndbuf; /* bytes; locked_* : set by the program, no autotuning */
    bool rcvbuf_locked, sndbuf_locked;
    nsec_t rcv_timeout, snd_timeout; /* durations; 0: none */
    uint32_t rcv_lowat, mark, priority;
    int bound_ifindex;
    uint8_t tos, ttl, mcast_ttl;
    bool mcast_loop, mcast_all, recv_tos, recv_ttl, dont_fragment_set;
    uint8_t mtu_discover;
    int incoming_cpu;
    bool listening;       /* SO_ACCEPTCONN */
    bool header_included; /* IP_HDRINCL */
    int mcast_ifindex;    /* IP_MULTICAST_IF, IPV6_MULTICAST_IF */
    uint32_t mcast_addr;  /* IP_MULTICAST_IF: the address it was given by */
    /* SO_ZEROCOPY: sends with MSG_ZEROCOPY are numbered; those from `zc_untold` on have to be told
     * by the error queue. linux/ does that: what is sent is copied, so it is done at once. */
    bool zerocopy;
    uint32_t zc_next, zc_untold;
    int peek_off;                   /* SO_PEEK_OFF; -1: none */
    struct net_filter *filter;      /* SO_ATTACH_FILTER, under lock; NULL: none */
    bool filter_locked;             /* SO_LOCK_FILTER */
    uint64_t cookie;                /* SO_COOKIE; 0: nobody has asked yet */
    struct list groups;             /* multicast memberships (net/mcast.c) */
    void (*free)(struct socket *s); /* releases the object that embeds the socket */
    void *owner;                    /* linux/: struct file, for SIGIO; not touched by net */
    uint32_t uid;
};

/* A new socket. family 4 or 6. -EPROTONOSUPPORT, -ESOCKTNOSUPPORT, -ENOMEM, -EPERM for raw (the
 * caller checks capabilities). */
int socket_create(int family, int type, int proto, struct socket **out);
/* The generic options of SOL_SOCKET, IPPROTO_IP and IPPROTO_IPV6; others go to ops->setopt. */
int socket_setopt(struct socket *s, int level, int name, const void *val, uint32_t len);
int socket_getopt(struct socket *s, int level, int name, void *val, uint32_t *len);
/* SO_ATTACH_FILTER: checks and copies the program; count 0 detaches (-ENOENT: there is none).
 * -EPERM (locked), -EINVAL, -ENOMEM, -EOPNOTSUPP for streams. */
int socket_attach_filter(struct socket *s, const struct filter_insn *insns, uint32_t count);
/* SO_COOKIE: a number that no other socket has had; *cookie is the socket's, 0 before. */
uint64_t socket_cookie(uint64_t *cookie);
/* Protocols: the base part of a new socket. */
void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type, int proto);
/* The unspecified address of the socket's family. */
struct ip_addr socket_any(const struct socket *s);
void socket_put(struct socket *s); /* last reference: ops-specific free through s->free */
/* TCP's and UDP's constructors, called by socket_create. */
int tcp_socket_create(int family, struct socket **out);
int udp_socket_create(int family, int proto, struct socket **out); /* UDP or UDP-Lite */

/* Told of every listening TCP or bound UDP port: the control channel's LISTEN. Set by linux/. Any
 * context that may bind. */
extern void (*socket_listen_hook)(int proto, const struct sock_addr *addr, int family, bool open);
/* Every socket, for /proc/net/tcp. */
struct text_buf;
void tcp_proc_text(struct text_buf *b, bool v6);
/* The line of TCP in /proc/net/sockstat, and the number of bound UDP sockets. */
void tcp_sockstat_text(struct text_buf *b);
unsigned udp_socket_count(void);

/* Port range of ephemeral ports and the like: net.ipv4.* values that programs may tune. */
struct net_tunables {
    uint16_t port_min, port_max; /* ip_local_port_range */
    uint32_t somaxconn, syn_backlog;
    uint32_t rmem[3], wmem[3]; /* tcp_rmem, tcp_wmem: min, default, max */
    uint32_t rmem_max, wmem_max, rmem_default, wmem_default;
    int fin_timeout_s, keepalive_time_s, keepalive_intvl_s, keepalive_probes;
    int syn_retries, synack_retries, retries2, orphan_retries;
    uint32_t max_tw_buckets, notsent_lowat;
    bool syncookies, timestamps, sack, window_scaling;
    bool slow_start_after_idle; /* RFC 5681 4.1 */
    bool moderate_rcvbuf;       /* receive buffers grow by themselves */
    bool mtu_probing;           /* segments become small where large ones vanish (RFC 4821 7.7) */
    uint16_t unprivileged_port_start;
    bool bindv6only;           /* IPV6_V6ONLY of new sockets */
    bool icmp_echo_ignore_all; /* pings over IPv4 are not answered */
    uint8_t default_ttl;       /* IP_TTL and IPV6_UNICAST_HOPS of new sockets */
    uint8_t tw_reuse;          /* of ports in TIME-WAIT: 0 off, 1 on, 2 on the loopback interface */
    uint8_t ecn;               /* 0 off, 1 on, 2 when the peer asks */
};
extern struct net_tunables net_tunables;

#endif
