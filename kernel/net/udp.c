/*
 * UDP (RFC 768, RFC 8200 8.1), over both IP versions. Sockets are found in a table hashed by local
 * port; of those that match, the one that says most about the packet gets it; equals that share the
 * port (SO_REUSEPORT) share the load by a hash of the sender.
 *
 *   0 source port | 2 destination port | 4 length | 6 checksum
 *
 * UDP-Lite (RFC 3828) is the same with ports of its own, and with the checksum's coverage instead
 * of the length: how many bytes, header included, are not to be delivered damaged; 0: all.
 */
#include "core/rand.h"
#include "fs/file.h"
#include "net/dhcp.h"
#include "net/dgram.h"
#include "net/ipimpl.h"
#include "net/mcast.h"
#include "net/port.h"
#include "net/shared.h"
#include "net/sockrows.h"
#include "net/udpcork.h"

#define UDP_HEADER 8u
#define UDP_MAX 65507u /* payload over IPv4 */
#define BUCKETS 1024u
#define MAX_COPIES 64    /* sockets that get a copy of one multicast datagram */
#define MAX_SEGMENTS 128 /* datagrams of one call with UDP_SEGMENT */
#define SOL_UDP_LEVEL 17
#define SOL_UDPLITE_LEVEL 136
#define CB_COVERAGE 0 /* p->cb of UDP-Lite while it is delivered: its coverage, 0: all */

struct udp_socket {
    struct dgram_socket d; /* first: dgram's free releases it */
    bool explicit_port;    /* the program has bound it, not we */
    bool gro;              /* UDP_GRO: several datagrams of a sender may be told as one */
    uint16_t segment;      /* UDP_SEGMENT; 0: off */
    /* UDP-Lite: what is covered of what it sends, and at least of what it gets, if it is not all;
     * 0: all. */
    uint16_t send_coverage, recv_coverage;
    bool recv_coverage_set;
    struct udp_cork cork;
};

static struct udp_socket *udp_of(struct socket *s)
{
    return container_of(dgram_of(s), struct udp_socket, d);
}

static bool is_lite(const struct socket *s)
{
    return s->proto == IPPROTO_UDPLITE_N;
}

static struct bucket {
    spinlock_t lock; /* bh; before a socket's lock */
    struct list list;
} buckets[BUCKETS];
static uint64_t hash_key[2];

static struct bucket *bucket_of(uint16_t port)
{
    return &buckets[port % BUCKETS];
}

void udp_init(void)
{
    rand_bytes(hash_key, sizeof(hash_key));
    for (unsigned i = 0; i < BUCKETS; i++) {
        spin_init(&buckets[i].lock);
        list_init(&buckets[i].list);
    }
}

/* --- finding sockets -------------------------------------------------------------------------- */

/* Whether a socket with this local address takes packets to IPv4 (v4) or IPv6 destinations. */
static bool takes_family(const struct socket *s, bool v4)
{
    bool local_v4 = ip_is_v4(&s->local.ip);

    if (!v4)
        return !local_v4;
    return local_v4 || (ip_is_any(&s->local.ip) && !s->v6only);
}

/* How well the socket fits, -1: not at all. */
static int score(const struct dgram_socket *d, const struct pkt *p, uint16_t sport, uint16_t dport)
{
    const struct socket *s = &d->s;
    int points = 0;

    if (s->local.port != dport || s->proto != p->proto || !takes_family(s, ip_is_v4(&p->dst)))
        return -1;
    if (!ip_is_any(&s->local.ip)) {
        if (!ip_equal(&s->local.ip, &p->dst))
            return -1;
        points += 2;
    }
    if (d->connected) {
        if (s->peer.port != sport || !ip_equal(&s->peer.ip, &p->src))
            return -1;
        points += 4;
    }
    if (s->bound_ifindex) {
        if (s->bound_ifindex != p->netif->index)
            return -1;
        points += 2;
    }
    if (s->family == 4)
        points++;
    return points;
}

/* The best socket, with a reference, or NULL. */
static struct dgram_socket *find(const struct pkt *p, uint16_t sport, uint16_t dport)
{
    struct bucket *b = bucket_of(dport);
    struct dgram_socket *d, *best = NULL;
    int best_points = -1;
    uint32_t equals = 0, hash = 0;

    spin_lock(&b->lock);
    list_for_each (d, &b->list, link) {
        int points = score(d, p, sport, dport);
        if (points < 0 || points < best_points)
            continue;
        if (points > best_points) {
            best = d;
            best_points = points;
            equals = 1;
        } else if (d->s.reuse_port) {
            /* The n-th of equals replaces the choice with probability 1/n, by the flow's hash. */
            if (!hash) {
                uint64_t words[4] = {p->src.q[0], p->src.q[1], sport, dport};
                hash = (uint32_t)siphash(words, sizeof(words), hash_key) | 1;
            }
            equals++;
            hash = hash * 1664525u + 1013904223u;
            if (((uint64_t)hash * equals) >> 32 == 0)
                best = d;
        }
    }
    if (best)
        ref_get(&best->s.refs);
    spin_unlock(&b->lock);
    return best;
}

/* --- input ------------------------------------------------------------------------------------ */

static bool checksum_ok(const struct pkt *p)
{
    bool none = *(const wire16 *)(p->data + 6) == 0;

    if (none)
        return ip_is_v4(&p->src) || (p->flags & PKT_LOOPED);
    if (p->flags & PKT_CSUM_OK)
        return true;
    uint32_t sum = ip_pseudo_csum(&p->src, &p->dst, IPPROTO_UDP_N, p->len);
    return csum_fold(pkt_csum(p, 0, p->len, sum)) == 0;
}

static void deliver_one(struct dgram_socket *d, struct pkt *p, uint16_t sport)
{
    memset(p->cb, 0, sizeof(p->cb));
    p->cb[CB_PORT] = sport;
    p->cb[CB_LOCAL_PORT] = d->s.local.port;
    if (dgram_enqueue(d, p)) {
        net_count(NET_Udp_InDatagrams);
    } else {
        net_count(NET_Udp_RcvbufErrors);
        net_count(NET_Udp_InErrors);
    }
}

/* Whether as much is covered as the socket asks for. */
static bool covered(const struct udp_socket *us, const struct pkt *p)
{
    uint64_t coverage = p->cb[CB_COVERAGE];

    return !us->recv_coverage_set || !coverage ||
           (us->recv_coverage && coverage >= us->recv_coverage);
}

/* What came in one piece, by the loopback or from another domain, is cut for those who did not ask
 * for pieces. */
static void deliver(struct dgram_socket *d, struct pkt *p, uint16_t sport)
{
    uint32_t size = p->gso == GSO_UDP && p->gso_size ? p->gso_size : p->len;

    if (is_lite(&d->s) && !covered(udp_of(&d->s), p)) {
        net_drop(p, NET_Udp_InErrors);
        return;
    }
    if (!dgram_filter(d, p, UDP_HEADER)) {
        pkt_free(p);
        return;
    }
    if (size >= p->len || !udp_of(&d->s)->gro)
        p->gso = GSO_NONE;
    while (p->len > size && !p->gso) {
        struct pkt *part = pkt_clone(p);
        if (!part) {
            net_drop(p, NET_Librettos_NoMemory);
            return;
        }
        pkt_trim_to(part, size);
        pkt_trim_front(p, size);
        deliver_one(d, part, sport);
    }
    deliver_one(d, p, sport);
}

/* Multicast and broadcast: everybody who wants it gets a copy. p has been stripped of its header.
 */
static void deliver_all(struct pkt *p, uint16_t sport, uint16_t dport)
{
    struct bucket *b = bucket_of(dport);
    struct dgram_socket *d, *to[MAX_COPIES];
    int n = 0;

    spin_lock(&b->lock);
    list_for_each (d, &b->list, link) {
        if (n == MAX_COPIES || score(d, p, sport, dport) < 0)
            continue;
        if (ip_is_multicast(&p->dst) && !mcast_socket_wants(&d->s, &p->dst, &p->src, p->netif))
            continue;
        ref_get(&d->s.refs);
        to[n++] = d;
    }
    spin_unlock(&b->lock);
    if (!n)
        net_count(NET_Udp_NoPorts);
    for (int i = 0; i < n; i++) {
        struct pkt *c = pkt_clone(p);
        if (c)
            deliver(to[i], c, sport);
        else
            net_count(NET_Librettos_NoMemory);
        socket_put(&to[i]->s);
    }
    pkt_free(p);
}

/* Checked, and its header still there: to whom it belongs. */
static void dispatch(struct pkt *p, uint16_t sport, uint16_t dport)
{
    if (unlikely(p->flags & PKT_BROADCAST)) {
        pkt_pull(p, UDP_HEADER);
        deliver_all(p, sport, dport);
        return;
    }
    struct dgram_socket *d = find(p, sport, dport);
    if (unlikely(!d)) {
        if (p->proto == IPPROTO_UDP_N && shared_takes(p))
            return;
        net_count(NET_Udp_NoPorts);
        icmp_port_unreachable(p);
        pkt_free(p);
        return;
    }
    pkt_pull(p, UDP_HEADER);
    deliver(d, p, sport);
    socket_put(&d->s);
}

void udp_input(struct pkt *p)
{
    uint16_t sport = get16(p->data), dport = get16(p->data + 2);
    uint32_t len = get16(p->data + 4);

    if (unlikely(len < UDP_HEADER || len > p->len || !dport)) {
        net_drop(p, NET_Udp_InErrors);
        return;
    }
    if (len < p->len)
        pkt_trim_to(p, len);
    if (unlikely(!checksum_ok(p))) {
        net_count(NET_Udp_InCsumErrors);
        net_drop(p, NET_Udp_InErrors);
        return;
    }
    if (unlikely(dport == DHCP_CLIENT_PORT) && p->netif->dhcp) {
        pkt_pull(p, UDP_HEADER);
        dhcp_input(p->netif, p);
        return;
    }
    dispatch(p, sport, dport);
}

void udplite_input(struct pkt *p)
{
    uint32_t coverage = get16(p->data + 4), bytes = coverage ? coverage : p->len;
    uint32_t sum = ip_pseudo_csum(&p->src, &p->dst, IPPROTO_UDPLITE_N, p->len);

    if (bytes < UDP_HEADER || bytes > p->len || !get16(p->data + 2)) {
        net_drop(p, NET_Udp_InErrors);
        return;
    }
    if (!*(const wire16 *)(p->data + 6) || csum_fold(pkt_csum(p, 0, bytes, sum))) {
        net_count(NET_Udp_InCsumErrors);
        net_drop(p, NET_Udp_InErrors);
        return;
    }
    p->cb[CB_COVERAGE] = bytes < p->len ? bytes : 0;
    dispatch(p, get16(p->data), get16(p->data + 2));
}

void udp_icmp_error(const struct icmp_report *r)
{
    uint16_t sport = get16(r->transport), dport = get16(r->transport + 2);
    struct bucket *b = bucket_of(sport);
    struct dgram_socket *d, *best = NULL;

    spin_lock_bh(&b->lock);
    list_for_each (d, &b->list, link) {
        if (d->s.local.port != sport || d->s.proto != r->proto ||
            !(ip_equal(&d->s.local.ip, &r->src) || ip_is_any(&d->s.local.ip)))
            continue;
        bool peer = d->connected && d->s.peer.port == dport && ip_equal(&d->s.peer.ip, &r->dst);
        if (peer || (!d->connected && !best))
            best = d;
        if (peer)
            break;
    }
    if (best)
        dgram_icmp_error(best, r, dport, UDP_HEADER);
    spin_unlock_bh(&b->lock);
}

/* --- bind and connect ------------------------------------------------------------------------- */

static bool overlap(const struct socket *a, const struct ip_addr *a_ip, const struct socket *b)
{
    if (a->bound_ifindex && b->bound_ifindex && a->bound_ifindex != b->bound_ifindex)
        return false;
    bool any_a = ip_is_any(a_ip), any_b = ip_is_any(&b->local.ip);
    if (!any_a && !any_b)
        return ip_equal(a_ip, &b->local.ip);
    /* A wildcard meets everything of the families it takes. */
    bool a4 = a->family == 4 || ip_is_v4(a_ip) || (any_a && !a->v6only);
    bool a6 = a->family == 6 && !ip_is_v4(a_ip);
    bool b4 = b->family == 4 || ip_is_v4(&b->local.ip) || (any_b && !b->v6only);
    bool b6 = b->family == 6 && !ip_is_v4(&b->local.ip);
    return (a4 && b4) || (a6 && b6);
}

static bool may_share(const struct socket *a, const struct socket *b)
{
    return (a->reuse_addr && b->reuse_addr) || (a->reuse_port && b->reuse_port && a->uid == b->uid);
}

struct candidate {
    struct socket *s;
    struct ip_addr ip;
};

/* Bucket lock held by insert_if_free; for port_choose the look is repeated there. */
static bool port_free(uint16_t port, const struct candidate *c, bool exclusive)
{
    struct dgram_socket *d;

    list_for_each (d, &bucket_of(port)->list, link) {
        if (d->s.local.port == port && d->s.proto == c->s->proto && &d->s != c->s &&
            overlap(c->s, &c->ip, &d->s) && (exclusive || !may_share(c->s, &d->s)))
            return false;
    }
    return true;
}

static bool insert_if_free(uint16_t port, struct candidate *c, bool exclusive)
{
    struct bucket *b = bucket_of(port);

    spin_lock_bh(&b->lock);
    bool ok = port_free(port, c, exclusive);
    if (ok) {
        spin_lock(&c->s->lock);
        c->s->local = (struct sock_addr){.ip = c->ip, .port = port};
        dgram_of(c->s)->bound_addr = !ip_is_any(&c->ip);
        spin_unlock(&c->s->lock);
        list_push_front(&b->list, &dgram_of(c->s)->link);
    }
    spin_unlock_bh(&b->lock);
    return ok;
}

static bool try_port(uint16_t port, void *arg)
{
    return insert_if_free(port, arg, true);
}

bool udp_port_in_use(uint16_t port)
{
    struct bucket *b = bucket_of(port);
    struct dgram_socket *d;
    bool used = false;

    spin_lock_bh(&b->lock);
    list_for_each (d, &b->list, link)
        used |= d->s.local.port == port && !is_lite(&d->s);
    spin_unlock_bh(&b->lock);
    return used;
}

static int udp_bind(struct socket *s, const struct sock_addr *addr)
{
    struct candidate c = {.s = s, .ip = addr->ip};

    if (s->local.port)
        return -EINVAL;
    int err = dgram_check_local(s, &addr->ip);
    if (err)
        return err;
    if (addr->port && is_lite(s)) { /* of a shared address there are no ports of it */
        err = insert_if_free(addr->port, &c, false) ? 0 : -EADDRINUSE;
    } else if (addr->port) {
        err = shared_bind_begin(IPPROTO_UDP_N, &addr->ip, addr->port);
        if (err)
            return err;
        err = insert_if_free(addr->port, &c, false) ? 0 : -EADDRINUSE;
        shared_bind_end(IPPROTO_UDP_N, &addr->ip, addr->port, err);
    } else {
        err = port_choose(&addr->ip, NULL, 0, try_port, &c) ? 0 : -EADDRINUSE;
    }
    if (!err)
        udp_of(s)->explicit_port = addr->port != 0;
    if (!err && addr->port && socket_listen_hook && !is_lite(s))
        socket_listen_hook(IPPROTO_UDP_N, &s->local, s->family, true);
    return err;
}

static int autobind(struct socket *s)
{
    if (s->local.port)
        return 0;
    int err = udp_bind(s, &(struct sock_addr){.ip = socket_any(s)});
    return err == -EADDRINUSE ? -EAGAIN : err;
}

/* 0 if a socket of this family and these options may talk to ip. */
static int check_family(const struct socket *s, const struct ip_addr *ip)
{
    if (s->family == 4)
        return ip_is_v4(ip) ? 0 : -EAFNOSUPPORT;
    return s->v6only && ip_is_v4(ip) ? -ENETUNREACH : 0;
}

static int udp_connect(struct socket *s, const struct sock_addr *addr, bool nonblock)
{
    (void)nonblock;
    int err = check_family(s, &addr->ip);
    if (!err)
        err = autobind(s);
    if (err)
        return err;
    spin_lock_bh(&s->lock);
    err = dgram_connect(dgram_of(s), addr);
    spin_unlock_bh(&s->lock);
    return err;
}

/* --- output ----------------------------------------------------------------------------------- */

/* What UDP_SEGMENT cuts a datagram into must fit the path. segment 0: it is not cut. */
static int check_segment(const struct dgram_socket *d, const struct pkt *p, uint32_t segment)
{
    const struct ip_flow *f = &d->flow;
    uint32_t headers = ip_header_len(f) - 14 + UDP_HEADER;

    if (!segment || p->len <= segment)
        return 0;
    if (is_lite(&d->s))
        return -EIO;
    if (p->len > segment * MAX_SEGMENTS || d->s.no_check)
        return -EINVAL;
    return segment + headers > f->mtu ? -EMSGSIZE : 0;
}

/* The coverage and the checksum of a datagram of UDP-Lite, complete but for them. */
static void cover(const struct udp_socket *us, struct pkt *p)
{
    const struct ip_flow *f = &us->d.flow;
    uint32_t bytes = us->send_coverage && us->send_coverage < p->len ? us->send_coverage : p->len;
    uint32_t sum = ip_pseudo_csum(&f->src, &f->dst, IPPROTO_UDPLITE_N, p->len);

    put16(p->data + 4, (uint16_t)bytes);
    uint16_t folded = csum_fold(pkt_csum(p, 0, bytes, sum));
    *(wire16 *)(p->data + 6) = folded ? folded : 0xffff;
}

static int transmit(struct dgram_socket *d, struct pkt *p, uint16_t port, uint32_t segment)
{
    struct ip_flow *f = &d->flow;
    int err = check_segment(d, p, segment);

    if (err) {
        pkt_free(p);
        return err;
    }
    if (segment && p->len > segment) {
        p->gso = GSO_UDP;
        p->gso_size = (uint16_t)segment;
    }
    uint8_t *h = pkt_push(p, UDP_HEADER);
    put16(h, d->s.local.port);
    put16(h + 2, port);
    put16(h + 4, (uint16_t)p->len);
    *(wire16 *)(h + 6) = 0;
    /* A fragmented datagram gets its checksum when it is cut. */
    if (is_lite(&d->s))
        cover(udp_of(&d->s), p);
    else if (!d->s.no_check || !ip_is_v4(&f->dst))
        ip_csum_partial(p, f, 6);
    net_count(NET_Udp_OutDatagrams);
    return ip_output(f, p);
}

/* What members of the group in this domain get of a multicast (IP_MULTICAST_LOOP). p is to go to
 * this port, and has no header yet. */
static struct pkt *own_copy(const struct dgram_socket *d, const struct pkt *p, uint16_t port,
                            uint32_t segment)
{
    struct pkt *c = pkt_clone(p);

    if (c) {
        uint8_t *h = pkt_push(c, UDP_HEADER); /* for filters */
        put16(h, d->s.local.port);
        put16(h + 2, port);
        put16(h + 4, (uint16_t)c->len);
        put16(h + 6, 0);
        pkt_pull(c, UDP_HEADER);
        c->src = d->flow.src;
        c->dst = d->flow.dst;
        c->netif = d->flow.netif;
        c->proto = d->s.proto;
        c->cb[CB_COVERAGE] = 0;
        c->tos = d->flow.tos;
        c->ttl = d->flow.ttl;
        c->l4 = 0;
        c->gso = segment ? GSO_UDP : GSO_NONE;
        c->gso_size = (uint16_t)segment;
    }
    return c;
}

static int check_send(struct socket *s, size_t n, const struct sock_addr *to, unsigned flags,
                      struct sock_addr *dst)
{
    if (n > UDP_MAX)
        return -EMSGSIZE;
    if (flags & SOCK_MSG_OOB)
        return -EOPNOTSUPP;
    if (s->shut & 2)
        return -EPIPE;
    if (!to && !dgram_of(s)->connected)
        return -EDESTADDRREQ;
    *dst = to ? *to : s->peer;
    if (!dst->port)
        return -EINVAL;
    int err = check_family(s, &dst->ip);
    if (!err)
        err = autobind(s);
    dgram_fix_destination(dst);
    return err;
}

/* Too long for a path that must not cut it: the error queue says how long it may be. */
static void report_too_long(struct dgram_socket *d, const struct sock_addr *to)
{
    struct sock_error e = {.err = EMSGSIZE, .origin = ERROR_LOCAL, .info = d->flow.mtu};

    if (!d->s.recverr)
        return;
    net_batch_begin();
    dgram_report(d, &e, to, NULL, 0, false);
    net_batch_end();
}

/* One datagram, or with UDP_SEGMENT several, to an address that check_send has approved. */
static ssize_t send_now(struct dgram_socket *d, struct uio *u, const struct sock_addr *dst,
                        const struct sock_send_info *info, unsigned flags)
{
    struct socket *s = &d->s;
    uint32_t segment = info && info->segment >= 0 ? (uint32_t)info->segment : udp_of(s)->segment;
    size_t n = u->resid;
    struct pkt *p = dgram_copy_in(d, u, flags);

    if (IS_ERR(p)) {
        if (PTR_ERR(p) == -EAGAIN)
            net_count(NET_Udp_SndbufErrors);
        return PTR_ERR(p);
    }
    struct pkt *looped = NULL;
    net_batch_begin();
    spin_lock(&s->lock);
    int err = dgram_route(d, dst, info);
    if (err) {
        pkt_free(p);
    } else {
        /* The loopback brings it back anyway. */
        if (unlikely(ip_is_multicast(&dst->ip)) && s->mcast_loop && d->flow.netif != netif_loopback)
            looped = own_copy(d, p, dst->port, segment);
        err = transmit(d, p, dst->port, segment);
    }
    spin_unlock(&s->lock);
    if (looped)
        deliver_all(looped, s->local.port, dst->port);
    net_batch_end();
    if (err == -ENOBUFS)
        net_count(NET_Udp_SndbufErrors);
    if (unlikely(err == -EMSGSIZE))
        report_too_long(d, dst);
    return err ? err : (ssize_t)n;
}

/* Adds to the datagram that is being put together, and sends it if this is its last part. */
static ssize_t send_part(struct udp_socket *us, struct uio *u, const struct sock_addr *dst,
                         const struct sock_send_info *info, unsigned flags)
{
    size_t n = u->resid;
    struct sock_addr to = *dst;
    struct iovec_k seg;
    struct uio whole;

    mutex_lock(&us->cork.lock);
    int err = udp_cork_add(&us->cork, u, dst);
    if (!err && !(flags & SOCK_MSG_MORE) && !us->cork.on) {
        whole = udp_cork_data(&us->cork, &seg, &to);
        ssize_t sent = send_now(&us->d, &whole, &to, info, flags);
        udp_cork_drop(&us->cork);
        err = sent < 0 ? (int)sent : 0;
    }
    mutex_unlock(&us->cork.lock);
    return err ? err : (ssize_t)n;
}

static ssize_t udp_send_info(struct socket *s, struct uio *u, const struct sock_addr *to,
                             const struct sock_send_info *info, unsigned flags)
{
    struct udp_socket *us = udp_of(s);
    struct sock_addr dst;

    int err = check_send(s, u->resid, to, flags, &dst);
    if (!err)
        err = dgram_take_error(&us->d);
    if (err)
        return err;
    if (unlikely(flags & SOCK_MSG_MORE || udp_cork_pending(&us->cork) || us->cork.on))
        return send_part(us, u, &dst, info, flags);
    return send_now(&us->d, u, &dst, info, flags);
}

static ssize_t udp_send(struct socket *s, struct uio *u, const struct sock_addr *to, unsigned flags)
{
    return udp_send_info(s, u, to, NULL, flags);
}

static ssize_t udp_recv(struct socket *s, struct uio *u, struct sock_recv_info *info,
                        unsigned flags)
{
    return dgram_recv(s, u, info, flags & ~SOCK_MSG_OOB);
}

/* The socket gives its port up. */
static void unbind(struct socket *s)
{
    struct bucket *b = bucket_of(s->local.port);
    uint16_t port = s->local.port;

    spin_lock_bh(&b->lock);
    list_remove(&dgram_of(s)->link);
    spin_unlock_bh(&b->lock);
    if (socket_listen_hook && udp_of(s)->explicit_port && !is_lite(s))
        socket_listen_hook(IPPROTO_UDP_N, &s->local, s->family, false);
    spin_lock_bh(&s->lock);
    s->local.port = 0;
    spin_unlock_bh(&s->lock);
    if (!is_lite(s))
        shared_port_unused(IPPROTO_UDP_N, port);
}

/* A port that the program did not choose goes with the peer. */
static int udp_disconnect(struct socket *s)
{
    int err = dgram_disconnect(s);

    if (!err && s->local.port && !udp_of(s)->explicit_port)
        unbind(s);
    return err;
}

static void udp_close(struct socket *s)
{
    if (s->local.port)
        unbind(s);
    udp_cork_drop(&udp_of(s)->cork);
    dgram_close(s);
}

enum {
    UDP_CORK_N = 1,
    UDPLITE_SEND_CSCOV_N = 10,
    UDPLITE_RECV_CSCOV_N,
    UDP_SEGMENT_N = 103,
    UDP_GRO_N,
};

/* UDP's own level, or UDP-Lite's of a socket of that. */
static bool own_level(const struct socket *s, int level)
{
    return level == SOL_UDP_LEVEL || (level == SOL_UDPLITE_LEVEL && is_lite(s));
}

/* A coverage ends behind the header at the earliest. */
static uint16_t coverage_of(int v)
{
    return (uint16_t)(v && v < (int)UDP_HEADER ? (int)UDP_HEADER : MIN(v, 65535));
}

/* What was corked goes now. */
static int uncork(struct udp_socket *us)
{
    struct sock_addr to;
    struct iovec_k seg;
    ssize_t n = 0;

    mutex_lock(&us->cork.lock);
    us->cork.on = false;
    if (udp_cork_pending(&us->cork)) {
        struct uio whole = udp_cork_data(&us->cork, &seg, &to);
        n = send_now(&us->d, &whole, &to, NULL, 0);
        udp_cork_drop(&us->cork);
    }
    mutex_unlock(&us->cork.lock);
    return n < 0 ? (int)n : 0;
}

static int udp_setopt(struct socket *s, int level, int name, const void *val, uint32_t len)
{
    struct udp_socket *us = udp_of(s);
    int v;

    if (!own_level(s, level))
        return -ENOPROTOOPT;
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    switch (name) {
    case UDP_CORK_N:
        if (!v)
            return uncork(us);
        us->cork.on = true;
        return 0;
    case UDPLITE_SEND_CSCOV_N:
        if (!is_lite(s))
            return -ENOPROTOOPT;
        us->send_coverage = coverage_of(v);
        return 0;
    case UDPLITE_RECV_CSCOV_N:
        if (!is_lite(s))
            return -ENOPROTOOPT;
        us->recv_coverage = coverage_of(v);
        us->recv_coverage_set = true;
        return 0;
    case UDP_SEGMENT_N:
        if (is_lite(s))
            return -ENOPROTOOPT;
        if (v < 0 || v > 65535)
            return -EINVAL;
        us->segment = (uint16_t)v;
        return 0;
    case UDP_GRO_N:
        if (is_lite(s))
            return -ENOPROTOOPT;
        us->gro = v != 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int udp_getopt(struct socket *s, int level, int name, void *val, uint32_t *len)
{
    struct udp_socket *us = udp_of(s);
    int v;

    if (!own_level(s, level))
        return -ENOPROTOOPT;
    switch (name) {
    case UDPLITE_SEND_CSCOV_N:
        v = us->send_coverage;
        break;
    case UDPLITE_RECV_CSCOV_N:
        v = us->recv_coverage;
        break;
    case UDP_CORK_N:
        v = us->cork.on;
        break;
    case UDP_SEGMENT_N:
        v = us->segment;
        break;
    case UDP_GRO_N:
        v = us->gro;
        break;
    default:
        return -ENOPROTOOPT;
    }
    *len = MIN(*len, (uint32_t)sizeof(v));
    memcpy(val, &v, *len);
    return 0;
}

static const struct socket_ops udp_ops = {
    .bind = udp_bind,
    .connect = udp_connect,
    .disconnect = udp_disconnect,
    .send = udp_send,
    .send_info = udp_send_info,
    .recv = udp_recv,
    .shutdown = dgram_shutdown,
    .poll = dgram_poll,
    .setopt = udp_setopt,
    .getopt = udp_getopt,
    .ioctl = dgram_ioctl,
    .option_changed = dgram_option_changed,
    .close = udp_close,
};

int udp_socket_create(int family, int proto, struct socket **out)
{
    struct udp_socket *us = kzalloc(sizeof(*us));

    if (!us)
        return -ENOMEM;
    dgram_init(&us->d, &udp_ops, family, 2, proto);
    udp_cork_init(&us->cork);
    *out = &us->d.s;
    return 0;
}

/* --- all sockets -------------------------------------------------------------------------------
 */

void udp_rows(sock_row_fn fn, void *arg)
{
    struct dgram_socket *d;

    for (unsigned i = 0; i < BUCKETS; i++) {
        spin_lock_bh(&buckets[i].lock);
        list_for_each (d, &buckets[i].list, link) {
            struct sock_row row = dgram_row(d);
            if (!is_lite(&d->s))
                fn(&row, arg);
        }
        spin_unlock_bh(&buckets[i].lock);
    }
}

static void count_row(const struct sock_row *row, void *arg)
{
    (void)row;
    ++*(unsigned *)arg;
}

unsigned udp_socket_count(void)
{
    unsigned n = 0;

    udp_rows(count_row, &n);
    return n;
}
