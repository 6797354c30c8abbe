/* Flows: from addresses to a cached next hop (net/ip.h). */
#include "net/ipimpl.h"

/* The interface for destinations that are not looked up: link-local, multicast, broadcast. */
static struct netif *outgoing(const struct view *v, uint32_t scope, const struct ip_addr *dst)
{
    if (scope)
        return netif_by_index((int)scope);
    const struct view_route *r = view_route(v, NULL, dst);
    if (r && !(r->netif->flags & NETIF_LOOPBACK))
        return r->netif;
    for (int i = 0; i < v->naddrs; i++) {
        if (!(v->addrs[i].netif->flags & NETIF_LOOPBACK) &&
            ip_is_v4(&v->addrs[i].addr) == ip_is_v4(dst))
            return v->addrs[i].netif;
    }
    return NULL;
}

static bool is_all_ones(const struct ip_addr *a)
{
    return ip_is_v4(a) && a->w[3] == 0xffffffffu;
}

static bool is_local(const struct view *v, const struct ip_addr *a)
{
    return ip_is_loopback(a) || view_local(v, NULL, a);
}

/* Interface and next hop of the destination. */
static int find_way(const struct view *v, const struct ip_flow *f, struct netif **n,
                    struct ip_addr *hop, uint16_t *mtu)
{
    *hop = f->dst;
    *mtu = 0;
    if (is_local(v, &f->dst)) {
        *n = netif_loopback;
        /* One neighbour entry per family serves for all local destinations. */
        *hop = ip_is_v4(&f->dst) ? ip_from_v4(net32(0x7f000001))
                                 : (struct ip_addr){.w = {0, 0, 0, net32(1)}};
        return 0;
    }
    if (ip_is_multicast(&f->dst) || is_all_ones(&f->dst) ||
        (!ip_is_v4(&f->dst) && ip_is_link_local(&f->dst))) {
        *n = outgoing(v, f->scope, &f->dst);
        return *n ? 0 : -ENETUNREACH;
    }
    struct netif *only = f->scope ? netif_by_index((int)f->scope) : NULL;
    const struct view_route *r = view_route(v, only, &f->dst);
    if (!r || (f->scope && !only))
        return -ENETUNREACH;
    *n = r->netif;
    *mtu = r->mtu;
    if (!ip_is_any(&r->gateway))
        *hop = r->gateway;
    return 0;
}

static int choose_source(const struct view *v, struct ip_flow *f, const struct netif *n)
{
    if (!ip_is_any(&f->src))
        return is_local(v, &f->src) ? 0 : -EADDRNOTAVAIL;
    if (n == netif_loopback) {
        /* 127.0.0.2 and groups are talked to from 127.0.0.1, our own addresses from themselves. */
        bool itself = !ip_is_loopback(&f->dst) && !ip_is_multicast(&f->dst);
        f->src = itself              ? f->dst
                 : ip_is_v4(&f->dst) ? ip_from_v4(net32(0x7f000001))
                                     : (struct ip_addr){.w = {0, 0, 0, net32(1)}};
        return 0;
    }
    const struct view_addr *a = view_source(v, n, &f->dst);
    if (!a)
        return -EADDRNOTAVAIL;
    f->src = a->addr;
    return 0;
}

/* The sum of the IPv4 header words that do not change from packet to packet: don't fragment is set
 * and the identification is zero (RFC 6864). */
static uint32_t constant_sum(const struct ip_flow *f)
{
    uint32_t s = ip_v4(&f->src), d = ip_v4(&f->dst);
    uint32_t sum =
        (uint32_t)(0x45 | f->tos << 8) + net16(0x4000) + (uint32_t)(f->ttl | f->proto << 8);

    return sum + (s & 0xffff) + (s >> 16) + (d & 0xffff) + (d >> 16);
}

static int route_in_view(const struct view *v, struct ip_flow *f)
{
    struct netif *n;
    struct ip_addr hop;
    uint16_t mtu;

    int err = find_way(v, f, &n, &hop, &mtu);
    if (!err)
        err = choose_source(v, f, n);
    if (err)
        return err;
    struct net_path *path = READ_ONCE(n->path);
    if (!(n->flags & NETIF_UP) || !path)
        return -ENETUNREACH;
    struct neighbour *nb = neighbour_get(n, &hop);
    if (!nb)
        return -ENOBUFS;
    f->neighbour = nb;
    f->netif = n;
    f->mtu = (uint16_t)pmtu_lookup(&f->dst, mtu ? MIN(mtu, n->mtu) : n->mtu);
    f->features = path->features;
    f->pseudo = ip_pseudo_csum(&f->src, &f->dst, f->proto, 0);
    f->sum = constant_sum(f);
    return 0;
}

int ip_route(struct ip_flow *f)
{
    ip_flow_release(f);
    net_batch_begin();
    /* Read first: a change while we look makes the cache stale again. */
    f->generation = __atomic_load_n(&net_generation, __ATOMIC_ACQUIRE);
    int err = route_in_view(net_view(), f);
    net_batch_end();
    return err;
}

void ip_flow_release(struct ip_flow *f)
{
    if (f->neighbour)
        neighbour_put(f->neighbour);
    f->neighbour = NULL;
}

void ip_flow_confirm(struct ip_flow *f)
{
    if (f->neighbour)
        f->neighbour->confirmed = time_coarse();
}
