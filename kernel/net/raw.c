/*
 * Raw and ping sockets (net/raw.h). A raw socket gets a copy of each packet of its protocol, for
 * IPv4 with the IP header in front (raw(7), RFC 3542 3). A ping socket sends echo requests whose
 * identifier is its "port" and gets the replies to them (icmp(7)).
 */
#include "net/raw.h"

#include "core/rand.h"
#include "net/dgram.h"
#include "net/ipimpl.h"
#include "net/port.h"

#define ICMP_FILTER_OPT 1   /* SOL_RAW */
#define ICMP6_FILTER_OPT 1  /* SOL_ICMPV6 */
#define IPV6_CHECKSUM_OPT 7 /* SOL_RAW on IPv6 */
#define SOL_RAW_LEVEL 255
#define SOL_ICMPV6_LEVEL 58

atomic_int raw_socket_count[256];

struct raw_socket {
    struct dgram_socket d; /* first: dgram's free releases it */
    uint32_t icmp_filter;  /* ICMP_FILTER: types not wanted, by bit */
    uint32_t icmp6_filter[8];
    int checksum_offset; /* IPV6_CHECKSUM; -1: none */
};

static struct {
    spinlock_t lock; /* bh; before a socket's lock */
    struct list raw, ping;
} table;

static struct raw_socket *raw_of(struct socket *s)
{
    return container_of(dgram_of(s), struct raw_socket, d);
}

void raw_init(void)
{
    spin_init(&table.lock);
    list_init(&table.raw);
    list_init(&table.ping);
}

/* --- input ------------------------------------------------------------------------------------ */

static bool addressed(const struct dgram_socket *d, const struct pkt *p)
{
    const struct socket *s = &d->s;

    if ((s->family == 4) != ip_is_v4(&p->dst))
        return false;
    if (s->bound_ifindex && s->bound_ifindex != p->netif->index)
        return false;
    return (ip_is_any(&s->local.ip) || ip_equal(&s->local.ip, &p->dst)) &&
           (!d->connected || ip_equal(&s->peer.ip, &p->src));
}

static bool filtered(const struct raw_socket *r, const struct pkt *p)
{
    if (!p->linear)
        return false;
    uint8_t type = p->data[0];
    if (p->proto == IPPROTO_ICMP_N)
        return type < 32 && (r->icmp_filter >> type & 1);
    if (p->proto == IPPROTO_ICMPV6_N)
        return r->icmp6_filter[type / 32] >> (type % 32) & 1;
    return false;
}

static void give(struct dgram_socket *d, const struct pkt *p, bool with_header)
{
    struct pkt *c = pkt_clone(p);

    if (!c) {
        net_count(NET_Librettos_NoMemory);
        return;
    }
    if (with_header)
        pkt_push(c, c->l4);
    memset(c->cb, 0, sizeof(c->cb));
    if (!dgram_filter(d, c, 0))
        pkt_free(c);
    else if (!dgram_enqueue(d, c))
        net_count(NET_Librettos_RawFull);
}

bool raw_deliver(const struct pkt *p)
{
    struct dgram_socket *d;
    bool any = false;

    spin_lock(&table.lock);
    list_for_each (d, &table.raw, link) {
        if (d->s.proto != p->proto || !addressed(d, p))
            continue;
        any = true;
        if (!filtered(container_of(d, struct raw_socket, d), p))
            give(d, p, d->s.family == 4);
    }
    spin_unlock(&table.lock);
    return any;
}

bool ping_deliver(const struct pkt *p)
{
    struct dgram_socket *d;
    uint16_t id = get16(p->data + 4);
    bool any = false;

    if (list_empty(&table.ping))
        return false;
    spin_lock(&table.lock);
    list_for_each (d, &table.ping, link) {
        if (d->s.local.port == id && addressed(d, p)) {
            any = true;
            give(d, p, false);
        }
    }
    spin_unlock(&table.lock);
    return any;
}

/* The id of the echo request that is quoted, or 0. */
static uint16_t echo_id(const struct icmp_report *r)
{
    bool icmp = r->proto == IPPROTO_ICMP_N || r->proto == IPPROTO_ICMPV6_N;

    return icmp ? get16(r->transport + 4) : 0;
}

void raw_icmp_error(const struct icmp_report *r)
{
    struct dgram_socket *d;
    uint16_t id = echo_id(r);

    if (list_empty(&table.raw) && (!id || list_empty(&table.ping)))
        return;
    spin_lock(&table.lock);
    list_for_each (d, &table.raw, link) {
        if (d->s.proto == r->proto && (d->s.family == 4) == ip_is_v4(&r->dst) &&
            (!d->connected || ip_equal(&d->s.peer.ip, &r->dst)))
            dgram_icmp_error(d, r, 0, 0);
    }
    list_for_each (d, &table.ping, link) {
        if (id && d->s.local.port == id && (d->s.family == 4) == ip_is_v4(&r->dst))
            dgram_icmp_error(d, r, 0, 0);
    }
    spin_unlock(&table.lock);
}

/* --- output ----------------------------------------------------------------------------------- */

/* IP_HDRINCL: the program wrote the IP header; we fill in what Linux fills in (raw(7)). */
static int send_with_header(struct dgram_socket *d, struct pkt *p)
{
    struct ip_flow *f = &d->flow;

    if (p->len < IP4_HEADER || !pkt_make_linear(p, IP4_HEADER) || p->len > f->mtu) {
        int err = p->len > f->mtu ? -EMSGSIZE : -EINVAL;
        pkt_free(p);
        return err;
    }
    uint8_t *h = p->data;
    uint32_t len = (h[0] & 15) * 4u;
    if (len < IP4_HEADER || !pkt_make_linear(p, len)) {
        pkt_free(p);
        return -EINVAL;
    }
    put16(h + 2, (uint16_t)p->len);
    if (!*(wire32 *)(h + 12))
        *(wire32 *)(h + 12) = ip_v4(&f->src);
    if (!*(wire16 *)(h + 4))
        put16(h + 4, (uint16_t)rand_u32());
    *(wire16 *)(h + 10) = 0;
    *(wire16 *)(h + 10) = csum_fold(csum_add(h, len, 0));
    memcpy(pkt_push(p, ETH_HEADER), f->neighbour->header.b, ETH_HEADER);
    p->netif = f->netif;
    net_count(NET_Ip_OutRequests);
    return neighbour_output(f->neighbour, p);
}

/* The checksum of what a raw IPv6 or ping socket sends. */
static void fill_checksum(const struct ip_flow *f, struct pkt *p, uint32_t offset)
{
    uint32_t sum = 0;

    if (!pkt_make_linear(p, offset + 2))
        return;
    *(wire16 *)(p->data + offset) = 0;
    if (f->proto != IPPROTO_ICMP_N)
        sum = ip_pseudo_csum(&f->src, &f->dst, f->proto, p->len);
    *(wire16 *)(p->data + offset) = csum_fold(pkt_csum(p, 0, p->len, sum));
}

static int send_packet(struct raw_socket *r, struct pkt *p, const struct sock_addr *to,
                       const struct sock_send_info *info)
{
    struct socket *s = &r->d.s;

    net_batch_begin();
    spin_lock(&s->lock);
    int err = dgram_route(&r->d, to, info);
    if (err) {
        pkt_free(p);
    } else if (s->header_included) {
        err = send_with_header(&r->d, p);
    } else {
        if (r->checksum_offset >= 0)
            fill_checksum(&r->d.flow, p, (uint32_t)r->checksum_offset);
        err = ip_output(&r->d.flow, p);
    }
    spin_unlock(&s->lock);
    net_batch_end();
    return err;
}

static int destination(const struct dgram_socket *d, const struct sock_addr *to,
                       struct sock_addr *out)
{
    if (!to && !d->connected)
        return -EDESTADDRREQ;
    *out = to ? *to : d->s.peer;
    if ((d->s.family == 4) != ip_is_v4(&out->ip))
        return -EAFNOSUPPORT;
    dgram_fix_destination(out);
    return 0;
}

static ssize_t raw_send_info(struct socket *s, struct uio *u, const struct sock_addr *to,
                             const struct sock_send_info *info, unsigned flags)
{
    struct raw_socket *r = raw_of(s);
    struct sock_addr dst;
    size_t n = u->resid;

    if (flags & SOCK_MSG_OOB)
        return -EOPNOTSUPP;
    int err = destination(&r->d, to, &dst);
    if (err)
        return err;
    struct pkt *p = dgram_copy_in(&r->d, u, flags);
    if (IS_ERR(p))
        return PTR_ERR(p);
    err = send_packet(r, p, &dst, info);
    return err ? err : (ssize_t)n;
}

static ssize_t raw_send(struct socket *s, struct uio *u, const struct sock_addr *to, unsigned flags)
{
    return raw_send_info(s, u, to, NULL, flags);
}

static int raw_bind(struct socket *s, const struct sock_addr *addr)
{
    int err = dgram_check_local(s, &addr->ip);

    if (err)
        return err;
    spin_lock_bh(&s->lock);
    s->local.ip = addr->ip;
    raw_of(s)->d.bound_addr = !ip_is_any(&addr->ip);
    spin_unlock_bh(&s->lock);
    return 0;
}

static int raw_connect(struct socket *s, const struct sock_addr *addr, bool nonblock)
{
    (void)nonblock;
    spin_lock_bh(&s->lock);
    int err = dgram_connect(&raw_of(s)->d, addr);
    spin_unlock_bh(&s->lock);
    return err;
}

static void raw_close(struct socket *s)
{
    spin_lock_bh(&table.lock);
    list_remove(&dgram_of(s)->link);
    spin_unlock_bh(&table.lock);
    if (s->type == 3)
        atomic_fetch_sub(&raw_socket_count[s->proto], 1);
    dgram_close(s);
}

static int raw_setopt(struct socket *s, int level, int name, const void *val, uint32_t len)
{
    struct raw_socket *r = raw_of(s);

    if (level == SOL_RAW_LEVEL && name == ICMP_FILTER_OPT && s->proto == IPPROTO_ICMP_N) {
        memcpy(&r->icmp_filter, val, MIN(len, 4u));
        return 0;
    }
    if (level == SOL_ICMPV6_LEVEL && name == ICMP6_FILTER_OPT && s->proto == IPPROTO_ICMPV6_N) {
        memcpy(r->icmp6_filter, val, MIN(len, 32u));
        return 0;
    }
    if (name == IPV6_CHECKSUM_OPT && (level == SOL_RAW_LEVEL || level == 41) && s->family == 6) {
        int offset;
        if (len < sizeof(offset))
            return -EINVAL;
        memcpy(&offset, val, sizeof(offset));
        if (offset > 0 && (offset & 1))
            return -EINVAL;
        if (s->proto == IPPROTO_ICMPV6_N)
            return offset == 2 ? 0 : -EINVAL; /* RFC 3542 3.1: always ours */
        r->checksum_offset = offset < 0 ? -1 : offset;
        return 0;
    }
    return -ENOPROTOOPT;
}

static int raw_getopt(struct socket *s, int level, int name, void *val, uint32_t *len)
{
    if (level != SOL_RAW_LEVEL || name != ICMP_FILTER_OPT || s->proto != IPPROTO_ICMP_N)
        return -ENOPROTOOPT;
    *len = MIN(*len, 4u);
    memcpy(val, &raw_of(s)->icmp_filter, *len);
    return 0;
}

static const struct socket_ops raw_ops = {
    .bind = raw_bind,
    .connect = raw_connect,
    .disconnect = dgram_disconnect,
    .send = raw_send,
    .send_info = raw_send_info,
    .recv = dgram_recv,
    .shutdown = dgram_shutdown,
    .poll = dgram_poll,
    .setopt = raw_setopt,
    .getopt = raw_getopt,
    .ioctl = dgram_ioctl,
    .option_changed = dgram_option_changed,
    .close = raw_close,
};

static struct raw_socket *create(const struct socket_ops *ops, int family, int type, int proto)
{
    struct raw_socket *r = kzalloc(sizeof(*r));

    if (!r)
        return NULL;
    dgram_init(&r->d, ops, family, type, proto);
    r->checksum_offset = proto == IPPROTO_ICMPV6_N ? 2 : -1;
    return r;
}

int raw_socket_create(int family, int proto, struct socket **out)
{
    struct raw_socket *r = create(&raw_ops, family, 3, proto);

    if (!r)
        return -ENOMEM;
    r->d.s.header_included = family == 4 && proto == 255; /* IPPROTO_RAW */
    atomic_fetch_add(&raw_socket_count[proto], 1);
    spin_lock_bh(&table.lock);
    list_push_back(&table.raw, &r->d.link);
    spin_unlock_bh(&table.lock);
    *out = &r->d.s;
    return 0;
}

void raw_rows(sock_row_fn fn, void *arg)
{
    struct dgram_socket *d;

    spin_lock_bh(&table.lock);
    list_for_each (d, &table.raw, link) {
        struct sock_row row = dgram_row(d);
        row.local.port = d->s.proto; /* where others have their port */
        fn(&row, arg);
    }
    spin_unlock_bh(&table.lock);
}

/* --- ping ------------------------------------------------------------------------------------- */

static bool id_free(uint16_t id, void *arg)
{
    struct socket *self = arg;
    struct dgram_socket *d;

    list_for_each (d, &table.ping, link) {
        if (&d->s != self && d->s.family == self->family && d->s.local.port == id)
            return false;
    }
    return true;
}

static int ping_bind(struct socket *s, const struct sock_addr *addr)
{
    int err = dgram_check_local(s, &addr->ip);

    if (err)
        return err;
    if (s->local.port)
        return -EINVAL;
    spin_lock_bh(&table.lock);
    uint16_t id = addr->port;
    if (!id)
        id = port_choose(&s->local.ip, NULL, 0, id_free, s);
    else if (!id_free(id, s))
        id = 0;
    s->local.port = id;
    s->local.ip = addr->ip;
    dgram_of(s)->bound_addr = !ip_is_any(&addr->ip);
    spin_unlock_bh(&table.lock);
    return id ? 0 : -EADDRINUSE;
}

static ssize_t ping_send(struct socket *s, struct uio *u, const struct sock_addr *to,
                         unsigned flags)
{
    struct raw_socket *r = raw_of(s);
    struct sock_addr dst;
    size_t n = u->resid;

    if (flags & SOCK_MSG_OOB)
        return -EOPNOTSUPP;
    if (n < 8)
        return -EINVAL;
    int err = destination(&r->d, to, &dst);
    if (!err && !s->local.port)
        err = ping_bind(s, &(struct sock_addr){.ip = s->local.ip});
    if (err)
        return err;
    struct pkt *p = dgram_copy_in(&r->d, u, flags);
    if (IS_ERR(p))
        return PTR_ERR(p);
    uint8_t echo = s->family == 4 ? 8 : 128;
    if (!pkt_make_linear(p, 8) || p->data[0] != echo || p->data[1]) {
        pkt_free(p);
        return -EINVAL;
    }
    put16(p->data + 4, s->local.port);
    err = send_packet(r, p, &dst, NULL);
    return err ? err : (ssize_t)n;
}

static const struct socket_ops ping_ops = {
    .bind = ping_bind,
    .connect = raw_connect,
    .disconnect = dgram_disconnect,
    .send = ping_send,
    .recv = dgram_recv,
    .shutdown = dgram_shutdown,
    .poll = dgram_poll,
    .setopt = raw_setopt,
    .getopt = raw_getopt,
    .ioctl = dgram_ioctl,
    .option_changed = dgram_option_changed,
    .close = raw_close,
};

int ping_socket_create(int family, struct socket **out)
{
    int proto = family == 4 ? IPPROTO_ICMP_N : IPPROTO_ICMPV6_N;
    struct raw_socket *r = create(&ping_ops, family, 2, proto);

    if (!r)
        return -ENOMEM;
    r->checksum_offset = 2;
    spin_lock_bh(&table.lock);
    list_push_back(&table.ping, &r->d.link);
    spin_unlock_bh(&table.lock);
    *out = &r->d.s;
    return 0;
}
