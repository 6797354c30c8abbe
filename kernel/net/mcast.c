/*
 * Multicast membership (net/mcast.h): IGMPv2 (RFC 2236) and MLDv1 (RFC 2710) reports, which routers
 * of the later versions understand. A report is sent on joining and in answer to a query, after a
 * random time.
 */
#include "net/mcast.h"

#include "core/rand.h"
#include "net/ipimpl.h"
#include "net/netif_impl.h"

#define IGMP_QUERY 0x11u
#define IGMP_V2_REPORT 0x16u
#define IGMP_LEAVE 0x17u
#define MLD_REPORT 131u
#define MLD_DONE 132u
#define MAX_PROGRAMMED 64

struct group {
    struct list link; /* netif->groups, under net_config_lock */
    struct netif *netif;
    struct ip_addr addr;
    int users;
    struct timer report; /* answers a query */
    struct net_garbage garbage;
};

struct membership {
    struct list link; /* socket->groups, under the socket's lock */
    struct ip_addr group;
    int ifindex;
};

/* Groups that are never reported: all hosts, all nodes, and interface-local ones. */
static bool silent(const struct ip_addr *a)
{
    if (ip_is_v4(a))
        return a->w[3] == net32(0xe0000001);
    return (a->b[1] & 15) <= 1 || (a->b[1] == 2 && a->q[1] == __builtin_bswap64(1) &&
                                   a->w[1] == 0 && a->b[2] == 0 && a->b[3] == 0);
}

static void igmp_send(struct netif *n, uint8_t type, const struct ip_addr *group)
{
    static const uint8_t router_alert[4] = {148, 4, 0, 0};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    struct ip_addr dst = type == IGMP_LEAVE ? ip_from_v4(net32(0xe0000002)) : *group;
    uint32_t src = n->main_v4, to = ip_v4(&dst), about = ip_v4(group);
    uint8_t h[32] = {0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, IPPROTO_IGMP_N};

    if (!p)
        return;
    memcpy(h + 12, &src, 4);
    memcpy(h + 16, &to, 4);
    memcpy(h + 20, router_alert, 4);
    *(wire16 *)(h + 10) = csum_fold(csum_add(h, 24, 0));
    h[24] = type;
    memcpy(h + 28, &about, 4);
    *(wire16 *)(h + 26) = csum_fold(csum_add(h + 24, 8, 0));
    pkt_append(p, h, sizeof(h));
    uint8_t mac[MAC_LEN] = {1, 0, 0x5e, dst.b[13] & 0x7f, dst.b[14], dst.b[15]};
    ether_output(n, p, mac, ETH_TYPE_IP4);
}

static void mld_send(struct netif *n, uint8_t type, const struct ip_addr *group)
{
    static const struct ip_addr all_routers = {.b = {0xff, 2, [15] = 2}};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    const struct view_addr *src = view_source(net_view(), n, &all_routers);
    struct ip_addr from = {0};
    uint8_t m[24] = {type};

    if (!p)
        return;
    if (src && src->netif == n && ip_is_link_local(&src->addr))
        from = src->addr;
    memcpy(m + 8, group, 16);
    pkt_append(p, m, sizeof(m));
    icmp6_send(n, &from, type == MLD_DONE ? &all_routers : group, 1, true, p);
}

static void report(struct netif *n, const struct ip_addr *group, bool leave)
{
    if (silent(group) || (n->flags & NETIF_LOOPBACK))
        return;
    net_batch_begin();
    if (ip_is_v4(group))
        igmp_send(n, leave ? IGMP_LEAVE : IGMP_V2_REPORT, group);
    else
        mld_send(n, leave ? MLD_DONE : MLD_REPORT, group);
    net_batch_end();
}

static void report_timer(struct timer *t)
{
    struct group *g = container_of(t, struct group, report);
    report(g->netif, &g->addr, false);
}

static struct group *find(struct netif *n, const struct ip_addr *addr)
{
    struct group *g;

    list_for_each (g, &n->groups, link) {
        if (ip_equal(&g->addr, addr))
            return g;
    }
    return NULL;
}

static void free_group(struct net_garbage *garbage)
{
    struct group *g = container_of(garbage, struct group, garbage);

    timer_cancel_sync(&g->report);
    kfree(g);
}

int mcast_join(struct netif *n, const struct ip_addr *addr)
{
    struct group *fresh = kzalloc(sizeof(*fresh));

    if (!fresh)
        return -ENOMEM;
    spin_lock_bh(&net_config_lock);
    struct group *g = find(n, addr);
    if (g) {
        g->users++;
        spin_unlock_bh(&net_config_lock);
        kfree(fresh);
        return 0;
    }
    fresh->netif = n;
    fresh->addr = *addr;
    fresh->users = 1;
    fresh->garbage.free = free_group;
    timer_init(&fresh->report, report_timer);
    list_push_back(&n->groups, &fresh->link);
    spin_unlock_bh(&net_config_lock);
    mcast_program(n);
    report(n, addr, false);
    return 0;
}

int mcast_leave(struct netif *n, const struct ip_addr *addr)
{
    spin_lock_bh(&net_config_lock);
    struct group *g = find(n, addr);
    bool last = g && --g->users == 0;
    if (last)
        list_remove(&g->link);
    spin_unlock_bh(&net_config_lock);
    if (!g)
        return -EADDRNOTAVAIL;
    if (last) {
        mcast_program(n);
        report(n, addr, true);
        net_free_later(&g->garbage);
    }
    return 0;
}

bool mcast_member(struct netif *n, const struct ip_addr *group)
{
    static const struct ip_addr all_nodes = {.b = {0xff, 2, [15] = 1}};

    if (ip_equal(group, &all_nodes))
        return true;
    spin_lock_bh(&net_config_lock);
    bool found = find(n, group) != NULL;
    spin_unlock_bh(&net_config_lock);
    return found;
}

static void group_mac(const struct ip_addr *a, uint8_t mac[MAC_LEN])
{
    if (ip_is_v4(a))
        memcpy(mac, (uint8_t[]){1, 0, 0x5e, a->b[13] & 0x7f, a->b[14], a->b[15]}, MAC_LEN);
    else
        memcpy(mac, (uint8_t[]){0x33, 0x33, a->b[12], a->b[13], a->b[14], a->b[15]}, MAC_LEN);
}

static void program_work(struct work *w)
{
    struct netif *n = container_of(w, struct netif, filter_work);
    uint8_t macs[MAX_PROGRAMMED][MAC_LEN];
    struct group *g;
    int count = 0;

    group_mac(&(struct ip_addr){.b = {0xff, 2, [15] = 1}}, macs[count++]);
    spin_lock_bh(&net_config_lock);
    list_for_each (g, &n->groups, link) {
        if (count < MAX_PROGRAMMED)
            group_mac(&g->addr, macs[count++]);
    }
    struct net_path *paths[NETIF_PATHS];
    memcpy(paths, n->paths, sizeof(paths));
    spin_unlock_bh(&net_config_lock);
    if (n->tap || n->promiscuous) /* it has uses for all */
        count = -1;
    for (int i = 0; i < NETIF_PATHS; i++) /* none goes meanwhile: it is this thread that detaches */
        if (paths[i] && paths[i]->ops->set_multicast)
            paths[i]->ops->set_multicast(paths[i], (const uint8_t(*)[MAC_LEN])macs, count);
}

void mcast_init_netif(struct netif *n)
{
    work_init(&n->filter_work, program_work);
}

void mcast_program(struct netif *n)
{
    if (n->path && !(n->flags & NETIF_LOOPBACK))
        work_schedule(&n->filter_work);
}

/* A router asks who is a member of the group (any: of all groups): answer within max_delay. */
static void answer_query(struct netif *n, const struct ip_addr *group, bool v4, nsec_t max_delay)
{
    struct group *g;

    spin_lock_bh(&net_config_lock);
    list_for_each (g, &n->groups, link) {
        if (ip_is_v4(&g->addr) != v4 || silent(&g->addr))
            continue;
        if (ip_is_any(group) || ip_equal(&g->addr, group))
            timer_arm(&g->report, time_now() + (nsec_t)(rand_u64() % (uint64_t)(max_delay + 1)));
    }
    spin_unlock_bh(&net_config_lock);
}

void igmp_input(struct netif *n, struct pkt *p)
{
    net_count(NET_Librettos_IgmpReceived);
    if (pkt_make_linear(p, 8) && csum_fold(pkt_csum(p, 0, p->len, 0)) == 0 &&
        p->data[0] == IGMP_QUERY) {
        struct ip_addr group = ip_from_v4(*(const wire32 *)(p->data + 4));
        unsigned tenths = p->data[1] ? MIN(p->data[1], (uint8_t)100) : 100u;
        answer_query(n, &group, true, tenths * (NSEC_PER_SEC / 10));
    }
    pkt_free(p);
}

void mld_input(struct netif *n, struct pkt *p)
{
    if (pkt_make_linear(p, 24) && ip_is_link_local(&p->src) && p->ttl == 1) {
        struct ip_addr group;
        memcpy(&group, p->data + 8, 16);
        answer_query(n, &group, false, MIN(get16(p->data + 4), (uint16_t)10000) * NSEC_PER_MSEC);
    }
    pkt_free(p);
}

/* --- sockets ---------------------------------------------------------------------------------- */

static struct netif *group_netif(const struct ip_addr *group, int ifindex)
{
    if (ifindex)
        return netif_by_index(ifindex);
    struct netif *n = NULL;
    net_batch_begin();
    const struct view *v = net_view();
    const struct view_route *r = view_route(v, NULL, group);
    if (r)
        n = r->netif;
    for (int i = 0; i < v->naddrs && !n; i++) {
        if (!(v->addrs[i].netif->flags & NETIF_LOOPBACK))
            n = v->addrs[i].netif;
    }
    net_batch_end();
    return n;
}

static struct membership *find_membership(const struct socket *s, const struct ip_addr *group,
                                          int ifindex)
{
    struct membership *m;

    list_for_each (m, &s->groups, link) {
        if (ip_equal(&m->group, group) && (!ifindex || m->ifindex == ifindex))
            return m;
    }
    return NULL;
}

int mcast_socket_join(struct socket *s, const struct ip_addr *group, int ifindex)
{
    if (!ip_is_multicast(group))
        return -EINVAL;
    struct netif *n = group_netif(group, ifindex);
    if (!n)
        return -ENODEV;
    struct membership *m = kzalloc(sizeof(*m));
    if (!m)
        return -ENOMEM;
    m->group = *group;
    m->ifindex = n->index;
    int err = mcast_join(n, group);
    if (err) {
        kfree(m);
        return err;
    }
    spin_lock_bh(&s->lock);
    bool twice = find_membership(s, group, n->index) != NULL;
    if (!twice)
        list_push_back(&s->groups, &m->link);
    spin_unlock_bh(&s->lock);
    if (twice) {
        mcast_leave(n, group);
        kfree(m);
        return -EADDRINUSE;
    }
    return 0;
}

static void leave(struct membership *m)
{
    struct netif *n = netif_by_index(m->ifindex);

    if (n)
        mcast_leave(n, &m->group);
    kfree(m);
}

int mcast_socket_leave(struct socket *s, const struct ip_addr *group, int ifindex)
{
    spin_lock_bh(&s->lock);
    struct membership *m = find_membership(s, group, ifindex);
    if (m)
        list_remove(&m->link);
    spin_unlock_bh(&s->lock);
    if (!m)
        return -EADDRNOTAVAIL;
    leave(m);
    return 0;
}

void mcast_socket_leave_all(struct socket *s)
{
    for (;;) {
        spin_lock_bh(&s->lock);
        struct membership *m = list_pop_front(&s->groups, struct membership, link);
        spin_unlock_bh(&s->lock);
        if (!m)
            return;
        leave(m);
    }
}

bool mcast_socket_wants(const struct socket *s, const struct ip_addr *group, struct netif *n)
{
    return find_membership(s, group, n->index) || (s->mcast_all && mcast_member(n, group));
}
