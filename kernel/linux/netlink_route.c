/*
 * NETLINK_ROUTE (rtnetlink(7)): interfaces, addresses, routes and neighbours, to be seen by anybody
 * and changed with CAP_NET_ADMIN. There is one routing table, the main one.
 */
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>

#include "linux/netlink_socket.h"
#include "linux/process.h"
#include "linux/sock.h"
#include "net/nd.h"

#define CAP_NET_ADMIN_N 12
#define METRIC_V6 1024u /* of a route over IPv6 that names none */
#define OPER_UP 6u      /* RFC 2863 */
#define OPER_DOWN 2u
#define OPER_UNKNOWN 0u

static bool family_fits(unsigned family, const struct ip_addr *a)
{
    return family == AF_UNSPEC_N || family == (ip_is_v4(a) ? AF_INET_N : AF_INET6_N);
}

static void attr_addr(struct netlink_message *m, unsigned type, const struct ip_addr *a)
{
    if (ip_is_v4(a))
        netlink_attr(m, type, &a->w[3], 4);
    else
        netlink_attr(m, type, a, 16);
}

/* The address of an attribute, or false. */
static bool find_addr(const struct nlmsghdr *h, size_t body, unsigned type, unsigned family,
                      struct ip_addr *out)
{
    const void *data = netlink_find(h, body, type, family == AF_INET_N ? 4 : 16);
    uint32_t v4;
    if (!data)
        return false;
    if (family == AF_INET_N) {
        memcpy(&v4, data, sizeof(v4));
        *out = ip_from_v4(v4);
    } else {
        memcpy(out, data, sizeof(*out));
    }
    return true;
}

static bool find_u32(const struct nlmsghdr *h, size_t body, unsigned type, uint32_t *out)
{
    const void *data = netlink_find(h, body, type, sizeof(*out));
    if (data)
        memcpy(out, data, sizeof(*out));
    return data;
}

/* --- interfaces ------------------------------------------------------------------------------- */

static void link_stats(struct netlink_message *m, struct netif *n)
{
    struct path_stats s = {0};
    struct net_path *path = READ_ONCE(n->path);
    if (path && path->ops->stats)
        path->ops->stats(path, &s);
    struct rtnl_link_stats64 out = {
        .rx_packets = s.rx_packets,
        .tx_packets = s.tx_packets,
        .rx_bytes = s.rx_bytes,
        .tx_bytes = s.tx_bytes,
        .rx_errors = s.rx_errors,
        .tx_errors = s.tx_errors,
        .rx_dropped = s.rx_dropped,
        .tx_dropped = s.tx_dropped + n->tx_dropped,
    };
    netlink_attr(m, IFLA_STATS64, &out, sizeof(out));
}

void netlink_put_link(struct netlink_message *m, unsigned type, struct netif *n)
{
    static const uint8_t everybody[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t nobody[MAC_LEN];
    struct ifinfomsg *i = netlink_begin(m, type, 0, sizeof(*i));
    bool loopback = n->flags & NETIF_LOOPBACK, running = n->flags & NETIF_RUNNING;
    uint8_t state = loopback ? OPER_UNKNOWN : running ? OPER_UP : OPER_DOWN, mode = 0;
    i->ifi_type = loopback ? 772 /* ARPHRD_LOOPBACK */ : 1 /* ARPHRD_ETHER */;
    i->ifi_index = n->index;
    i->ifi_flags = n->flags | (running ? 0x10000u /* IFF_LOWER_UP */ : 0);
    netlink_attr(m, IFLA_IFNAME, n->name, strlen(n->name) + 1);
    netlink_attr_u32(m, IFLA_TXQLEN, 1000);
    netlink_attr(m, IFLA_OPERSTATE, &state, 1);
    netlink_attr(m, IFLA_LINKMODE, &mode, 1);
    netlink_attr_u32(m, IFLA_MTU, n->mtu);
    netlink_attr(m, IFLA_QDISC, "noqueue", 8);
    netlink_attr(m, IFLA_ADDRESS, n->mac, MAC_LEN);
    netlink_attr(m, IFLA_BROADCAST, loopback ? nobody : everybody, MAC_LEN);
    link_stats(m, n);
    netlink_send_message(m);
}

static bool add_link(struct netif *n, void *arg)
{
    netlink_put_link(arg, RTM_NEWLINK, n);
    return true;
}

/* The interface a request is about, by index or name. */
static struct netif *link_of(const struct nlmsghdr *h)
{
    const struct ifinfomsg *i = NLMSG_DATA(h);
    if (i->ifi_index > 0)
        return netif_by_index(i->ifi_index);
    const char *name = netlink_find(h, sizeof(*i), IFLA_IFNAME, 1);
    char copy[16];
    if (!name)
        return NULL;
    size_t room = h->nlmsg_len - (size_t)(name - (const char *)h);
    str_copy(copy, name, MIN(sizeof(copy), room));
    return netif_by_name(copy);
}

static int get_link(struct netlink_message *m, const struct nlmsghdr *h)
{
    if (netlink_is_dump(h)) {
        netif_for_each(add_link, m);
        return 0;
    }
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg)))
        return -EINVAL;
    struct netif *n = link_of(h);
    if (!n)
        return -ENODEV;
    add_link(n, m);
    return 0;
}

/* Up and down; an interface's MTU is its path's, and its name and address stay. */
static int set_link(const struct nlmsghdr *h)
{
    const struct ifinfomsg *i = NLMSG_DATA(h);
    uint32_t mtu;
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*i)))
        return -EINVAL;
    struct netif *n = link_of(h);
    if (!n)
        return h->nlmsg_flags & NLM_F_CREATE ? -EOPNOTSUPP : -ENODEV;
    if (find_u32(h, sizeof(*i), IFLA_MTU, &mtu) && mtu != n->mtu)
        return -EOPNOTSUPP;
    if (netlink_find(h, sizeof(*i), IFLA_ADDRESS, 1) || netlink_find(h, sizeof(*i), IFLA_MASTER, 4))
        return -EOPNOTSUPP;
    /* Without a mask all flags are meant, unless there are none either. */
    unsigned change = i->ifi_change ? i->ifi_change : i->ifi_flags ? ~0u : 0;
    if (change & NETIF_UP && !(i->ifi_flags & NETIF_UP) != !(n->flags & NETIF_UP))
        return netif_set_up(n, i->ifi_flags & NETIF_UP);
    return 0;
}

/* --- addresses -------------------------------------------------------------------------------- */

struct address_walk {
    struct netlink_message *m;
    struct netif *netif;
    unsigned family; /* wanted; AF_UNSPEC: all */
};

static unsigned address_scope(const struct netif *n, const struct ip_addr *a)
{
    return n->flags & NETIF_LOOPBACK ? RT_SCOPE_HOST
           : ip_is_link_local(a)     ? RT_SCOPE_LINK
                                     : RT_SCOPE_UNIVERSE;
}

static uint32_t seconds_left(nsec_t until)
{
    nsec_t now = time_now();
    if (until == NSEC_NEVER)
        return UINT32_MAX;
    return until > now ? (uint32_t)MIN((until - now) / NSEC_PER_SEC, INT32_MAX) : 0;
}

void netlink_put_address(struct netlink_message *m, unsigned type, struct netif *n,
                         const struct netif_addr *a)
{
    bool v4 = ip_is_v4(&a->addr);
    struct ifaddrmsg *i = netlink_begin(m, type, 0, sizeof(*i));
    bool permanent = a->valid_until == NSEC_NEVER;
    uint32_t flags = (permanent ? IFA_F_PERMANENT : 0) |
                     (a->state == ADDR_OPTIMISTIC ? IFA_F_OPTIMISTIC : 0) |
                     (a->state == ADDR_DEPRECATED ? IFA_F_DEPRECATED : 0);
    i->ifa_family = v4 ? AF_INET_N : AF_INET6_N;
    i->ifa_prefixlen = a->prefix;
    i->ifa_flags = (uint8_t)flags;
    i->ifa_scope = (uint8_t)address_scope(n, &a->addr);
    i->ifa_index = (uint32_t)n->index;
    attr_addr(m, IFA_ADDRESS, &a->addr);
    if (v4) {
        uint32_t host = a->prefix ? ~__builtin_bswap32(~0u << (32 - MIN(a->prefix, 32))) : ~0u;
        uint32_t broadcast = ip_v4(&a->addr) | host;
        attr_addr(m, IFA_LOCAL, &a->addr);
        if (n->flags & NETIF_BROADCAST)
            netlink_attr(m, IFA_BROADCAST, &broadcast, sizeof(broadcast));
        netlink_attr(m, IFA_LABEL, n->name, strlen(n->name) + 1);
    }
    netlink_attr_u32(m, IFA_FLAGS, flags);
    struct ifa_cacheinfo life = {.ifa_prefered = seconds_left(a->preferred_until),
                                 .ifa_valid = seconds_left(a->valid_until)};
    netlink_attr(m, IFA_CACHEINFO, &life, sizeof(life));
    netlink_send_message(m);
}

static bool add_address(const struct netif_addr *a, void *arg)
{
    struct address_walk *w = arg;
    if (family_fits(w->family, &a->addr))
        netlink_put_address(w->m, RTM_NEWADDR, w->netif, a);
    return true;
}

static bool add_addresses(struct netif *n, void *arg)
{
    struct address_walk *w = arg;
    w->netif = n;
    netif_for_each_addr(n, add_address, w);
    return true;
}

static int get_addresses(struct netlink_message *m, const struct nlmsghdr *h)
{
    const struct rtgenmsg *g = NLMSG_DATA(h);
    struct address_walk w = {.m = m, .family = g->rtgen_family};
    if (!netlink_is_dump(h))
        return -EOPNOTSUPP;
    netif_for_each(add_addresses, &w);
    return 0;
}

/* When a lifetime in seconds ends. */
static nsec_t lifetime_end(uint32_t seconds)
{
    return seconds == UINT32_MAX ? NSEC_NEVER : time_now() + (nsec_t)seconds * NSEC_PER_SEC;
}

static int new_address(struct netif *n, const struct nlmsghdr *h, struct netif_addr *a)
{
    const struct ifa_cacheinfo *life =
        netlink_find(h, sizeof(struct ifaddrmsg), IFA_CACHEINFO, sizeof(*life));
    a->valid_until = life ? lifetime_end(life->ifa_valid) : NSEC_NEVER;
    a->preferred_until = life ? lifetime_end(life->ifa_prefered) : NSEC_NEVER;
    if (life && (!life->ifa_valid || life->ifa_prefered > life->ifa_valid))
        return -EINVAL;
    int err = netif_add_addr_full(n, a);
    if (err != -EEXIST || !(h->nlmsg_flags & NLM_F_REPLACE))
        return err;
    err = netif_del_addr(n, &a->addr);
    return err ? err : netif_add_addr_full(n, a);
}

static int change_address(const struct nlmsghdr *h, bool add)
{
    const struct ifaddrmsg *i = NLMSG_DATA(h);
    struct netif_addr a = {.state = ADDR_PREFERRED, .origin = ADDR_STATIC};
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*i)))
        return -EINVAL;
    if (i->ifa_family != AF_INET_N && i->ifa_family != AF_INET6_N)
        return -EOPNOTSUPP;
    if (!find_addr(h, sizeof(*i), IFA_LOCAL, i->ifa_family, &a.addr) &&
        !find_addr(h, sizeof(*i), IFA_ADDRESS, i->ifa_family, &a.addr))
        return -EINVAL;
    if (i->ifa_prefixlen > (i->ifa_family == AF_INET_N ? 32 : 128))
        return -EINVAL;
    struct netif *n = netif_by_index((int)i->ifa_index);
    if (!n)
        return -ENODEV;
    if (n->shared)
        return -EOPNOTSUPP; /* its addresses are the network server's */
    a.prefix = i->ifa_prefixlen;
    uint32_t flags = i->ifa_flags;
    find_u32(h, sizeof(*i), IFA_FLAGS, &flags);
    if (!(flags & IFA_F_NODAD))
        a.state = (uint8_t)nd_first_state(n, &a.addr);
    return add ? new_address(n, h, &a) : netif_del_addr(n, &a.addr);
}

/* --- routes ----------------------------------------------------------------------------------- */

struct route_walk {
    struct netlink_message *m;
    unsigned family;
};

static unsigned route_protocol(const struct view_route *r)
{
    switch (r->origin) {
    case ROUTE_CONNECTED:
        return RTPROT_KERNEL;
    case ROUTE_DHCP:
        return RTPROT_DHCP;
    case ROUTE_RA:
        return RTPROT_RA;
    default:
        return RTPROT_BOOT;
    }
}

/* A route's destination is of IPv4 if its mask covers the prefix of mapped addresses. */
bool netlink_route_is_v4(const struct view_route *r)
{
    return r->prefix >= 96 && ip_is_v4(&r->value);
}

bool netlink_route_is_hidden(const struct view_route *r)
{
    return netlink_route_is_v4(r) && r->origin == ROUTE_CONNECTED &&
           r->netif->flags & NETIF_LOOPBACK;
}

void netlink_put_route(struct netlink_message *m, unsigned type, const struct view_route *r)
{
    bool v4 = netlink_route_is_v4(r), gateway = !ip_is_any(&r->gateway);
    struct rtmsg *t = netlink_begin(m, type, 0, sizeof(*t));
    t->rtm_family = v4 ? AF_INET_N : AF_INET6_N;
    t->rtm_dst_len = (uint8_t)(v4 ? r->prefix - 96 : r->prefix);
    t->rtm_table = RT_TABLE_MAIN;
    t->rtm_protocol = (uint8_t)route_protocol(r);
    t->rtm_scope = v4 && !gateway ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    t->rtm_type = RTN_UNICAST;
    netlink_attr_u32(m, RTA_TABLE, RT_TABLE_MAIN);
    if (t->rtm_dst_len)
        attr_addr(m, RTA_DST, &r->value);
    if (gateway)
        attr_addr(m, RTA_GATEWAY, &r->gateway);
    netlink_attr_u32(m, RTA_OIF, (uint32_t)r->netif->index);
    if (r->metric)
        netlink_attr_u32(m, RTA_PRIORITY, r->metric);
    const struct view_addr *src = view_source(net_view(), r->netif, &r->value);
    if (v4 && !gateway && src)
        attr_addr(m, RTA_PREFSRC, &src->addr);
    netlink_send_message(m);
}

static bool add_route(const struct view_route *r, void *arg)
{
    struct route_walk *w = arg;
    unsigned family = netlink_route_is_v4(r) ? AF_INET_N : AF_INET6_N;
    if ((w->family == AF_UNSPEC_N || w->family == family) && !netlink_route_is_hidden(r))
        netlink_put_route(w->m, RTM_NEWROUTE, r);
    return true;
}

/* The route that a packet to this destination takes. */
static int resolve_route(struct netlink_message *m, const struct nlmsghdr *h)
{
    const struct rtmsg *q = NLMSG_DATA(h);
    struct ip_flow f = {.ttl = 64, .proto = IPPROTO_UDP_N};
    uint32_t oif;
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*q)))
        return -EINVAL;
    if (q->rtm_family != AF_INET_N && q->rtm_family != AF_INET6_N)
        return -EOPNOTSUPP;
    if (!find_addr(h, sizeof(*q), RTA_DST, q->rtm_family, &f.dst))
        return -EINVAL;
    if (!find_addr(h, sizeof(*q), RTA_SRC, q->rtm_family, &f.src) && q->rtm_family == AF_INET_N)
        f.src = ip_from_v4(0);
    if (find_u32(h, sizeof(*q), RTA_OIF, &oif))
        f.scope = oif;
    int err = ip_route(&f);
    if (err)
        return err;
    struct rtmsg *t = netlink_begin(m, RTM_NEWROUTE, 0, sizeof(*t));
    bool local = f.netif->flags & NETIF_LOOPBACK;
    t->rtm_family = q->rtm_family;
    t->rtm_dst_len = q->rtm_family == AF_INET_N ? 32 : 128;
    t->rtm_table = local ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
    t->rtm_type = local ? RTN_LOCAL : RTN_UNICAST;
    t->rtm_flags = RTM_F_CLONED;
    netlink_attr_u32(m, RTA_TABLE, t->rtm_table);
    attr_addr(m, RTA_DST, &f.dst);
    if (!local && !ip_equal(&f.neighbour->addr, &f.dst))
        attr_addr(m, RTA_GATEWAY, &f.neighbour->addr);
    netlink_attr_u32(m, RTA_OIF, (uint32_t)f.netif->index);
    attr_addr(m, RTA_PREFSRC, &f.src);
    netlink_send_message(m);
    ip_flow_release(&f);
    return 0;
}

static int get_routes(struct netlink_message *m, const struct nlmsghdr *h)
{
    const struct rtgenmsg *g = NLMSG_DATA(h);
    struct route_walk w = {m, g->rtgen_family};
    if (!netlink_is_dump(h))
        return resolve_route(m, h);
    route_for_each(add_route, &w);
    return 0;
}

/* A route as a request has it. */
struct route_request {
    struct ip_addr dst, gateway;
    bool has_gateway;
    struct netif *netif; /* NULL: unset */
    uint8_t prefix;
    uint32_t metric;
};

static int parse_route(const struct nlmsghdr *h, struct route_request *r)
{
    const struct rtmsg *t = NLMSG_DATA(h);
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*t)))
        return -EINVAL;
    uint32_t oif, table = t->rtm_table;
    bool v4 = t->rtm_family == AF_INET_N;
    if (!v4 && t->rtm_family != AF_INET6_N)
        return -EOPNOTSUPP;
    find_u32(h, sizeof(*t), RTA_TABLE, &table);
    if (table != RT_TABLE_MAIN && table != RT_TABLE_UNSPEC)
        return -EOPNOTSUPP;
    if (t->rtm_type != RTN_UNICAST && t->rtm_type != RTN_UNSPEC)
        return -EOPNOTSUPP; /* no blackholes and the like */
    if (netlink_find(h, sizeof(*t), RTA_MULTIPATH, 0))
        return -EOPNOTSUPP;
    *r = (struct route_request){.prefix = t->rtm_dst_len, .metric = v4 ? 0 : METRIC_V6};
    r->dst = v4 ? ip_from_v4(0) : (struct ip_addr){0};
    if (t->rtm_dst_len > (v4 ? 32 : 128) ||
        (!find_addr(h, sizeof(*t), RTA_DST, t->rtm_family, &r->dst) && t->rtm_dst_len))
        return -EINVAL;
    struct ip_addr mask = ip_mask(ip_prefix_bits(&r->dst, r->prefix));
    if ((r->dst.q[0] & ~mask.q[0]) || (r->dst.q[1] & ~mask.q[1]))
        return -EINVAL; /* bits set behind the prefix */
    r->has_gateway = find_addr(h, sizeof(*t), RTA_GATEWAY, t->rtm_family, &r->gateway);
    find_u32(h, sizeof(*t), RTA_PRIORITY, &r->metric);
    if (find_u32(h, sizeof(*t), RTA_OIF, &oif) && !(r->netif = netif_by_index((int)oif)))
        return -ENODEV;
    return 0;
}

/* A gateway must be on a link of ours: the interface it is on. */
static int gateway_netif(struct route_request *r)
{
    net_batch_begin();
    const struct view_route *to = view_route(net_view(), r->netif, &r->gateway);
    int err = to && ip_is_any(&to->gateway) ? 0
              : ip_is_v4(&r->gateway)       ? -ENETUNREACH
                                            : -EHOSTUNREACH;
    if (!err)
        r->netif = to->netif;
    net_batch_end();
    return err;
}

struct route_search {
    const struct route_request *r;
    struct route_request found;
    bool any;
};

static bool match_route(const struct view_route *v, void *arg)
{
    struct route_search *s = arg;
    const struct route_request *r = s->r;
    if (v->origin == ROUTE_CONNECTED || v->prefix != ip_prefix_bits(&r->dst, r->prefix) ||
        !ip_equal(&v->value, &r->dst) || netlink_route_is_v4(v) != ip_is_v4(&r->dst))
        return true;
    if ((r->netif && r->netif != v->netif) ||
        (r->has_gateway && !ip_equal(&r->gateway, &v->gateway)))
        return true;
    s->found = (struct route_request){
        .dst = r->dst, .gateway = v->gateway, .netif = v->netif, .prefix = r->prefix};
    s->any = true;
    return false;
}

static int new_route(const struct nlmsghdr *h)
{
    struct route_request r;
    int err = parse_route(h, &r);
    if (!err && r.has_gateway)
        err = gateway_netif(&r);
    if (!err && !r.netif)
        err = -ENODEV;
    if (!err && !(r.netif->flags & NETIF_UP))
        err = -ENETDOWN;
    if (err)
        return err;
    struct route_search s = {.r = &(struct route_request){.dst = r.dst, .prefix = r.prefix}};
    route_for_each(match_route, &s);
    if (s.any && h->nlmsg_flags & NLM_F_EXCL)
        return -EEXIST;
    if (!s.any && !(h->nlmsg_flags & NLM_F_CREATE))
        return -ENOENT;
    if (s.any && h->nlmsg_flags & NLM_F_REPLACE)
        route_del(s.found.netif, &r.dst, r.prefix, &s.found.gateway);
    return route_add(r.netif, &r.dst, r.prefix, r.has_gateway ? &r.gateway : NULL, r.metric,
                     ROUTE_STATIC);
}

static int del_route(const struct nlmsghdr *h)
{
    struct route_request r;
    int err = parse_route(h, &r);
    if (err)
        return err;
    struct route_search s = {.r = &r};
    route_for_each(match_route, &s);
    return s.any ? route_del(s.found.netif, &r.dst, r.prefix, &s.found.gateway) : -ESRCH;
}

/* --- neighbours ------------------------------------------------------------------------------- */

static unsigned neighbour_state(const struct neighbour *nb)
{
    static const uint8_t states[] = {
        [NEIGH_INCOMPLETE] = NUD_INCOMPLETE, [NEIGH_FAILED] = NUD_FAILED, [NEIGH_STALE] = NUD_STALE,
        [NEIGH_REACHABLE] = NUD_REACHABLE,   [NEIGH_DELAY] = NUD_DELAY,   [NEIGH_PROBE] = NUD_PROBE,
        [NEIGH_PERMANENT] = NUD_NOARP,
    };
    return states[READ_ONCE(nb->state)];
}

void netlink_put_neighbour(struct netlink_message *m, unsigned type, const struct neighbour *nb)
{
    unsigned state = neighbour_state(nb);
    struct ndmsg *d = netlink_begin(m, type, 0, sizeof(*d));
    d->ndm_family = ip_is_v4(&nb->addr) ? AF_INET_N : AF_INET6_N;
    d->ndm_ifindex = nb->netif->index;
    d->ndm_state = (uint16_t)state;
    d->ndm_flags = nb->router ? NTF_ROUTER : 0;
    d->ndm_type = RTN_UNICAST;
    attr_addr(m, NDA_DST, &nb->addr);
    if (state & ~(unsigned)(NUD_INCOMPLETE | NUD_FAILED))
        netlink_attr(m, NDA_LLADDR, nb->header.b, MAC_LEN);
    netlink_send_message(m);
}

static bool add_neighbour(const struct neighbour *nb, void *arg)
{
    struct route_walk *w = arg;
    if (family_fits(w->family, &nb->addr))
        netlink_put_neighbour(w->m, RTM_NEWNEIGH, nb);
    return true;
}

static int get_neighbours(struct netlink_message *m, const struct nlmsghdr *h)
{
    const struct rtgenmsg *g = NLMSG_DATA(h);
    struct route_walk w = {m, g->rtgen_family};
    if (!netlink_is_dump(h))
        return -EOPNOTSUPP;
    neighbour_for_each(add_neighbour, &w);
    return 0;
}

/* --- requests --------------------------------------------------------------------------------- */

static int change(const struct nlmsghdr *h)
{
    if (!capable(CAP_NET_ADMIN_N))
        return -EPERM;
    switch (h->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_SETLINK:
        return set_link(h);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        return change_address(h, h->nlmsg_type == RTM_NEWADDR);
    case RTM_NEWROUTE:
        return new_route(h);
    case RTM_DELROUTE:
        return del_route(h);
    default:
        return -EOPNOTSUPP;
    }
}

int netlink_route_request(struct netlink_message *m, const struct nlmsghdr *h)
{
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct rtgenmsg)))
        return -EINVAL;
    switch (h->nlmsg_type) {
    case RTM_GETLINK:
        return get_link(m, h);
    case RTM_GETADDR:
        return get_addresses(m, h);
    case RTM_GETROUTE:
        return get_routes(m, h);
    case RTM_GETNEIGH:
        return get_neighbours(m, h);
    case RTM_GETRULE:
        return netlink_rule_request(m, h);
    default:
        return change(h);
    }
}
