/*
 * NETLINK_SOCK_DIAG (sock_diag(7)): dumps of internet, AF_UNIX and netlink sockets, as ss asks for
 * them. A request for one socket and filters in INET_DIAG_REQ_BYTECODE are not there; ss filters
 * what it gets itself.
 */
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include "linux/netlink_socket.h"
#include "linux/sock.h"
#include "linux/unix.h"
#include "net/sockrows.h"

#define TCP_INFO_N 11
#define TCP_CONGESTION_N 13
#define PROTO_RAW 255 /* IPPROTO_RAW stands for all of them */

/* --- internet --------------------------------------------------------------------------------- */

struct inet_walk {
    struct netlink_message *m;
    const struct inet_diag_req_v2 *q;
};

static void addr_words(uint32_t out[4], const struct ip_addr *a, unsigned family)
{
    if (family == AF_INET_N)
        out[0] = ip_v4(a);
    else
        memcpy(out, a, sizeof(*a));
}

/* An attribute that is an option's value. */
static void tcp_option(struct netlink_message *m, unsigned type, struct socket *s, int name)
{
    uint8_t value[512];
    uint32_t len = sizeof(value);
    if (!s->ops->getopt(s, IPPROTO_TCP_N, name, value, &len))
        netlink_attr(m, type, value, len);
}

static void inet_row(const struct sock_row *row, void *arg)
{
    struct inet_walk *w = arg;
    struct netlink_message *m = w->m;
    unsigned family = row->family == 4 ? AF_INET_N : AF_INET6_N;
    if (family != w->q->sdiag_family || !(w->q->idiag_states >> row->state & 1))
        return;
    struct inet_diag_msg *d = netlink_begin(m, SOCK_DIAG_BY_FAMILY, 0, sizeof(*d));
    d->idiag_family = (uint8_t)family;
    d->idiag_state = row->state;
    d->idiag_retrans = row->retransmits;
    d->id.idiag_sport = net16(row->local.port);
    d->id.idiag_dport = net16(row->peer.port);
    addr_words(d->id.idiag_src, &row->local.ip, family);
    addr_words(d->id.idiag_dst, &row->peer.ip, family);
    d->idiag_rqueue = row->received;
    d->idiag_wqueue = row->unsent;
    if (row->s) {
        struct socket *s = row->s;
        d->id.idiag_if = (uint32_t)s->bound_ifindex;
        d->idiag_uid = s->uid;
        d->idiag_inode = (uint32_t)object_ino(s);
        uint8_t shut = s->shut, only = s->v6only;
        netlink_attr(m, INET_DIAG_SHUTDOWN, &shut, 1);
        if (row->family == 6)
            netlink_attr(m, INET_DIAG_SKV6ONLY, &only, 1);
        if (w->q->idiag_ext & 1u << (INET_DIAG_TOS - 1))
            netlink_attr(m, INET_DIAG_TOS, &s->tos, 1);
        bool connection = s->proto == IPPROTO_TCP_N && row->state != SOCK_ROW_LISTEN;
        if (connection && w->q->idiag_ext & 1u << (INET_DIAG_CONG - 1))
            tcp_option(m, INET_DIAG_CONG, s, TCP_CONGESTION_N);
        if (connection && w->q->idiag_ext & 1u << (INET_DIAG_INFO - 1))
            tcp_option(m, INET_DIAG_INFO, s, TCP_INFO_N);
    }
    netlink_send_message(m);
}

static int inet_request(struct netlink_message *m, const struct nlmsghdr *h)
{
    struct inet_walk w = {m, NLMSG_DATA(h)};
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*w.q)))
        return -EINVAL;
    switch (w.q->sdiag_protocol) {
    case IPPROTO_TCP_N:
        tcp_rows(inet_row, &w);
        return 0;
    case IPPROTO_UDP_N:
        udp_rows(inet_row, &w);
        return 0;
    case PROTO_RAW:
        raw_rows(inet_row, &w);
        return 0;
    default:
        return -ENOENT;
    }
}

/* --- AF_UNIX ---------------------------------------------------------------------------------- */

struct unix_walk {
    struct netlink_message *m;
    const struct unix_diag_req *q;
};

static void unix_row(struct unix_socket *s, void *arg)
{
    struct unix_walk *w = arg;
    struct netlink_message *m = w->m;
    unsigned state = s->state == UNIX_LISTENING   ? SOCK_ROW_LISTEN
                     : s->state == UNIX_CONNECTED ? SOCK_ROW_ESTABLISHED
                                                  : SOCK_ROW_CLOSE;
    if (!(w->q->udiag_states >> state & 1))
        return;
    struct unix_diag_msg *d = netlink_begin(m, SOCK_DIAG_BY_FAMILY, 0, sizeof(*d));
    d->udiag_family = AF_UNIX_N;
    d->udiag_type = s->type;
    d->udiag_state = (uint8_t)state;
    d->udiag_ino = (uint32_t)object_ino(s);
    if (w->q->udiag_show & UDIAG_SHOW_NAME && s->name.len)
        netlink_attr(m, UNIX_DIAG_NAME, s->name.path, s->name.len);
    if (w->q->udiag_show & UDIAG_SHOW_PEER && s->peer)
        netlink_attr_u32(m, UNIX_DIAG_PEER, (uint32_t)object_ino(s->peer));
    if (w->q->udiag_show & UDIAG_SHOW_RQLEN) {
        struct unix_diag_rqlen n = {.udiag_rqueue = (uint32_t)s->queued,
                                    .udiag_wqueue = s->state == UNIX_LISTENING
                                                        ? (uint32_t)s->backlog
                                                        : (uint32_t)s->inflight};
        netlink_attr(m, UNIX_DIAG_RQLEN, &n, sizeof(n));
    }
    uint8_t shut = s->shut;
    netlink_attr(m, UNIX_DIAG_SHUTDOWN, &shut, 1);
    netlink_send_message(m);
}

static int unix_request(struct netlink_message *m, const struct nlmsghdr *h)
{
    struct unix_walk w = {m, NLMSG_DATA(h)};
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*w.q)))
        return -EINVAL;
    unix_for_each(unix_row, &w);
    return 0;
}

/* --- netlink ---------------------------------------------------------------------------------- */

static void netlink_row(const struct netlink *nl, uint32_t port, unsigned proto, void *arg)
{
    struct netlink_message *m = arg;
    struct netlink_diag_msg *d = netlink_begin(m, SOCK_DIAG_BY_FAMILY, 0, sizeof(*d));
    d->ndiag_family = AF_NETLINK_N;
    d->ndiag_type = SOCK_RAW_N;
    d->ndiag_protocol = (uint8_t)proto;
    d->ndiag_state = SOCK_ROW_CLOSE;
    d->ndiag_portid = port;
    d->ndiag_ino = (uint32_t)object_ino(nl);
    netlink_send_message(m);
}

int netlink_diag_request(struct netlink_message *m, const struct nlmsghdr *h)
{
    const struct sock_diag_req *q = NLMSG_DATA(h);
    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -EOPNOTSUPP;
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*q)))
        return -EINVAL;
    if (!netlink_is_dump(h))
        return -EOPNOTSUPP;
    switch (q->sdiag_family) {
    case AF_INET_N:
    case AF_INET6_N:
        return inet_request(m, h);
    case AF_UNIX_N:
        return unix_request(m, h);
    case AF_NETLINK_N:
        if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct netlink_diag_req)))
            return -EINVAL;
        netlink_for_each(netlink_row, m);
        return 0;
    default:
        return -ENOENT;
    }
}
