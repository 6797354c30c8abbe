/*
 * IPv6 neighbour discovery (RFC 4861), stateless address autoconfiguration (RFC 4862) with
 * optimistic duplicate detection (RFC 4429): an address is usable at once; should another node
 * answer for it, it is taken away again.
 *
 * All messages: ICMPv6 header (4 bytes), 4 bytes of flags or reserved, then from byte 8 the target
 * address (solicitations and advertisements of neighbours), then options: type, length in units of
 * 8 bytes, data.
 */
#include "net/nd.h"

#include "core/rand.h"
#include "net/ipimpl.h"
#include "net/mcast.h"
#include "net/netif_impl.h"

#define ND_ROUTER_SOLICIT 133u
#define ND_ROUTER_ADVERT 134u
#define ND_SOLICIT 135u
#define ND_ADVERT 136u
#define OPT_SOURCE_MAC 1u
#define OPT_TARGET_MAC 2u
#define OPT_PREFIX 3u
#define OPT_MTU 5u
#define OPT_DNS 25u
#define NA_ROUTER 0x80u
#define NA_SOLICITED 0x40u
#define NA_OVERRIDE 0x20u
#define PREFIX_ON_LINK 0x80u
#define PREFIX_AUTONOMOUS 0x40u
#define MAX_ROUTERS 4
#define MAX_SLAAC_ADDRS 16 /* a hostile router shall not fill our memory */
#define MAX_DNS 3
#define SOLICITATIONS 3
#define SOLICIT_INTERVAL (4 * NSEC_PER_SEC)
#define DAD_TIME NSEC_PER_SEC
#define TWO_HOURS (7200 * NSEC_PER_SEC)
#define INFINITE 0xffffffffu

struct nd_state {
    struct netif *netif;
    spinlock_t lock; /* bh */
    struct timer solicit, sweep;
    int solicits_left;
    struct {
        struct ip_addr addr;
        nsec_t until; /* 0: free */
    } routers[MAX_ROUTERS];
    struct ip_addr dns[MAX_DNS];
    int ndns;
};

/* A message that came in, in one piece. */
struct message {
    const struct pkt *p; /* with its addresses and hop limit */
    const uint8_t *b;
    uint32_t len;
};

static const struct ip_addr all_nodes = {.b = {0xff, 2, [15] = 1}};
static const struct ip_addr all_routers = {.b = {0xff, 2, [15] = 2}};
static const struct ip_addr unspecified;

static struct ip_addr solicited_node(const struct ip_addr *a)
{
    struct ip_addr g = {.b = {0xff, 2, [11] = 1, 0xff}};
    memcpy(g.b + 13, a->b + 13, 3);
    return g;
}

/* The interface identifier of a MAC behind a /64 prefix. */
static struct ip_addr with_identifier(const struct ip_addr *prefix, const uint8_t *mac)
{
    struct ip_addr a = *prefix;

    nd_eui64(mac, a.b + 8);
    return a;
}

/* --- output ----------------------------------------------------------------------------------- */

static void add_mac_option(struct pkt *p, uint8_t type, const uint8_t *mac)
{
    uint8_t o[8] = {type, 1};
    memcpy(o + 2, mac, MAC_LEN);
    pkt_append(p, o, sizeof(o));
}

static void send_solicit(struct netif *n, const struct ip_addr *src, const struct ip_addr *target,
                         const struct ip_addr *dst)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t m[24] = {ND_SOLICIT};

    if (!p)
        return;
    memcpy(m + 8, target, 16);
    pkt_append(p, m, sizeof(m));
    if (!ip_is_any(src))
        add_mac_option(p, OPT_SOURCE_MAC, n->mac);
    icmp6_send(n, src, dst, 255, false, p);
}

void nd_solicit(struct netif *n, const struct ip_addr *target, const uint8_t *unicast)
{
    struct ip_addr group = solicited_node(target);
    const struct view_addr *src = view_source(net_view(), n, target);

    if (!src || src->netif != n)
        return;
    /* A unicast probe finds the neighbour's address in the table, where it still is. */
    send_solicit(n, &src->addr, target, unicast ? target : &group);
}

static void send_advert(struct netif *n, const struct ip_addr *target, const struct ip_addr *dst,
                        uint8_t flags)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t m[24] = {ND_ADVERT, [4] = flags};

    if (!p)
        return;
    memcpy(m + 8, target, 16);
    pkt_append(p, m, sizeof(m));
    add_mac_option(p, OPT_TARGET_MAC, n->mac);
    icmp6_send(n, target, dst, 255, false, p);
}

void nd_announce(struct netif *n, const struct ip_addr *addr)
{
    send_advert(n, addr, &all_nodes, NA_OVERRIDE);
}

static void send_router_solicit(struct netif *n)
{
    const struct view_addr *src = view_source(net_view(), n, &all_routers);
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t m[8] = {ND_ROUTER_SOLICIT};
    bool have = src && src->netif == n;

    if (!p)
        return;
    pkt_append(p, m, sizeof(m));
    if (have)
        add_mac_option(p, OPT_SOURCE_MAC, n->mac);
    icmp6_send(n, have ? &src->addr : &unspecified, &all_routers, 255, false, p);
}

static void solicit_timer(struct timer *t)
{
    struct nd_state *nd = container_of(t, struct nd_state, solicit);

    net_batch_begin();
    spin_lock(&nd->lock);
    bool more = nd->solicits_left > 0;
    if (more && --nd->solicits_left > 0)
        timer_arm(&nd->solicit, time_now() + SOLICIT_INTERVAL);
    spin_unlock(&nd->lock);
    if (more)
        send_router_solicit(nd->netif);
    net_batch_end();
}

void nd_restart(struct netif *n)
{
    struct nd_state *nd = n->nd;

    if (!nd)
        return;
    spin_lock_bh(&nd->lock);
    nd->solicits_left = SOLICITATIONS;
    timer_arm(&nd->solicit, time_now());
    spin_unlock_bh(&nd->lock);
}

/* --- addresses -------------------------------------------------------------------------------- */

/* Has the sweep timer run at `when`, if it was to run later. */
static void sweep_soon(struct nd_state *nd, nsec_t when)
{
    if (when != NSEC_NEVER && (!timer_armed(&nd->sweep) || nd->sweep.due > when))
        timer_arm(&nd->sweep, when);
}

/* Asks whether another node has the address (RFC 4862 5.4.2). */
static void look_for_duplicate(struct netif *n, const struct ip_addr *a)
{
    struct ip_addr group = solicited_node(a);

    net_batch_begin();
    if ((n->flags & NETIF_UP) && n->path)
        send_solicit(n, &unspecified, a, &group);
    net_batch_end();
    sweep_soon(n->nd, time_now() + DAD_TIME);
}

enum addr_state nd_first_state(const struct netif *n, const struct ip_addr *a)
{
    return ip_is_v4(a) || n->shared || (n->flags & NETIF_LOOPBACK) ? ADDR_PREFERRED
                                                                   : ADDR_OPTIMISTIC;
}

void nd_address_added(struct netif *n, const struct netif_addr *a)
{
    struct ip_addr group = solicited_node(&a->addr);

    if (!n->nd)
        return; /* all that when the interface comes up */
    if (!ip_is_v4(&a->addr))
        mcast_join(n, &group);
    if (a->state == ADDR_OPTIMISTIC)
        look_for_duplicate(n, &a->addr);
    else
        sweep_soon(n->nd, a->preferred_until);
}

void nd_address_removed(struct netif *n, const struct ip_addr *a)
{
    struct ip_addr group = solicited_node(a);

    if (n->nd)
        mcast_leave(n, &group);
}

static void add_address(struct netif *n, const struct ip_addr *a, uint8_t prefix,
                        enum addr_origin origin, nsec_t valid, nsec_t preferred)
{
    struct netif_addr e = {
        .addr = *a,
        .prefix = prefix,
        .state = (uint8_t)nd_first_state(n, a),
        .origin = (uint8_t)origin,
        .valid_until = valid,
        .preferred_until = preferred,
    };

    netif_add_addr_full(n, &e);
}

static void duplicate(struct netif *n, const struct ip_addr *a)
{
    char text[48];

    ip_format(text, sizeof(text), a);
    klog(LOG_ERROR, "%s: %s is in use by another node; removed", n->name, text);
    net_count(NET_Librettos_NdDuplicateAddress);
    netif_del_addr(n, a);
}

/* One address that is due for a change of state: to be removed if *gone. False if there is none. */
static bool sweep_one(struct netif *n, nsec_t now, struct ip_addr *addr, bool *gone, nsec_t *next)
{
    struct netif_addr *a;
    bool changed = false;

    *next = NSEC_NEVER;
    *gone = false;
    list_for_each (a, &n->addrs, link) {
        if (a->valid_until <= now) {
            *addr = a->addr;
            *gone = true;
            return true;
        }
        if (a->state == ADDR_OPTIMISTIC && now < a->added + DAD_TIME) {
            *next = MIN(*next, a->added + DAD_TIME);
            continue;
        }
        uint8_t state = a->preferred_until <= now ? ADDR_DEPRECATED : ADDR_PREFERRED;
        changed |= a->state != state;
        a->state = state;
        *next = MIN(*next, a->valid_until);
        if (state == ADDR_PREFERRED)
            *next = MIN(*next, a->preferred_until);
    }
    if (changed)
        view_publish();
    return false;
}

/* Ends what has lived its time: addresses and routers. */
static void sweep_timer(struct timer *t)
{
    struct nd_state *nd = container_of(t, struct nd_state, sweep);
    struct netif *n = nd->netif;
    nsec_t now = time_now(), next;
    struct ip_addr addr;
    bool gone;

    do {
        spin_lock_bh(&net_config_lock);
        bool again = sweep_one(n, now, &addr, &gone, &next);
        spin_unlock_bh(&net_config_lock);
        if (again)
            netif_del_addr(n, &addr);
    } while (gone);

    for (int i = 0; i < MAX_ROUTERS; i++) {
        spin_lock_bh(&nd->lock);
        bool dead = nd->routers[i].until && nd->routers[i].until <= now;
        addr = nd->routers[i].addr;
        if (dead)
            nd->routers[i].until = 0;
        else if (nd->routers[i].until)
            next = MIN(next, nd->routers[i].until);
        spin_unlock_bh(&nd->lock);
        if (dead)
            route_del(n, &unspecified, 0, &addr);
    }
    sweep_soon(nd, next);
}

/* The addresses of an interface that comes up. */
struct waiting {
    struct netif_addr addrs[16];
    unsigned count;
};

static bool take_address(const struct netif_addr *a, void *arg)
{
    struct waiting *w = arg;

    if (w->count < ARRAY_SIZE(w->addrs))
        w->addrs[w->count++] = *a;
    return true;
}

void nd_start(struct netif *n)
{
    static const struct ip_addr prefix = {.b = {0xfe, 0x80}};

    if (!n->nd) {
        struct nd_state *nd = kzalloc(sizeof(*nd));
        if (!nd)
            return;
        nd->netif = n;
        spin_init(&nd->lock);
        timer_init(&nd->solicit, solicit_timer);
        timer_init(&nd->sweep, sweep_timer);
        struct waiting w = {.count = 0};
        netif_for_each_addr(n, take_address, &w);
        n->nd = nd;
        for (unsigned i = 0; i < w.count; i++)
            nd_address_added(n, &w.addrs[i]);
    }
    struct ip_addr link_local = with_identifier(&prefix, n->mac);
    add_address(n, &link_local, 64, ADDR_LINK_LOCAL, NSEC_NEVER, NSEC_NEVER);
    nd_restart(n);
}

/* --- input ------------------------------------------------------------------------------------ */

/* The first option of this type with at least `size` bytes, or NULL. The whole list has been
 * checked. */
static const uint8_t *option(const struct message *m, uint32_t at, uint8_t type, uint32_t size)
{
    while (at + 8 <= m->len) {
        const uint8_t *o = m->b + at;
        if (o[0] == type && o[1] * 8u >= size)
            return o;
        at += o[1] * 8u;
    }
    return NULL;
}

/* RFC 4861 6.1.1 and the like: hop limit 255, code 0, complete, options of non-zero length. */
static bool valid(const struct message *m, uint32_t fixed)
{
    if (m->p->ttl != 255 || m->len < fixed || m->b[1] != 0)
        return false;
    for (uint32_t at = fixed; at < m->len;) {
        if (at + 8 > m->len || !m->b[at + 1] || at + m->b[at + 1] * 8u > m->len)
            return false;
        at += m->b[at + 1] * 8u;
    }
    return true;
}

static struct ip_addr target_of(const struct message *m)
{
    struct ip_addr a;
    memcpy(&a, m->b + 8, 16);
    return a;
}

static void solicit_input(struct netif *n, const struct message *m)
{
    const struct pkt *p = m->p;
    struct ip_addr target = target_of(m);
    const struct view_addr *ours = view_local(net_view(), n, &target);
    const uint8_t *mac = option(m, 24, OPT_SOURCE_MAC, 8);
    bool dad = ip_is_any(&p->src);

    if (ip_is_multicast(&target) || (dad && (mac || !ip_is_multicast(&p->dst)))) {
        net_count(NET_Librettos_NdInvalid);
        return;
    }
    if (!ours || n->shared)
        return;
    uint8_t flags = ours->state == ADDR_OPTIMISTIC ? 0 : NA_OVERRIDE;
    if (dad) {
        if (ours->state == ADDR_OPTIMISTIC)
            duplicate(n, &target); /* both try at once: neither may have it */
        else
            send_advert(n, &target, &all_nodes, flags);
        return;
    }
    if (mac && !(mac[2] & 1))
        neighbour_learn(n, &p->src, mac + 2, LEARN_CREATE | LEARN_OVERRIDE);
    send_advert(n, &target, &p->src, flags | NA_SOLICITED);
}

/* It is no default router any more, if it was one. */
static void forget_router(struct netif *n, const struct ip_addr *addr)
{
    struct nd_state *nd = n->nd;
    bool known = false;

    spin_lock(&nd->lock);
    for (int i = 0; i < MAX_ROUTERS; i++) {
        if (nd->routers[i].until && ip_equal(&nd->routers[i].addr, addr)) {
            nd->routers[i].until = 0;
            known = true;
        }
    }
    spin_unlock(&nd->lock);
    if (known)
        route_del(n, &unspecified, 0, addr);
}

static void advert_input(struct netif *n, const struct message *m)
{
    struct ip_addr target = target_of(m);
    const uint8_t *mac = option(m, 24, OPT_TARGET_MAC, 8);
    uint8_t flags = m->b[4];
    const struct view_addr *ours = view_local(net_view(), n, &target);

    if (ip_is_multicast(&target) || (ip_is_multicast(&m->p->dst) && (flags & NA_SOLICITED))) {
        net_count(NET_Librettos_NdInvalid);
        return;
    }
    if (ours) {
        if (n->shared) /* the server announces it */
            return;
        if (ours->state == ADDR_OPTIMISTIC)
            duplicate(n, &target);
        else
            net_count(NET_Librettos_NdDuplicateAddress);
        return;
    }
    if (mac && (mac[2] & 1))
        return;
    neighbour_learn(n, &target, mac ? mac + 2 : NULL,
                    (flags & NA_SOLICITED ? LEARN_SOLICITED : 0) |
                        (flags & NA_OVERRIDE ? LEARN_OVERRIDE : 0) |
                        (flags & NA_ROUTER ? LEARN_ROUTER : LEARN_HOST));
    if (!(flags & NA_ROUTER) && n->nd)
        forget_router(n, &target);
}

static nsec_t lifetime(uint32_t seconds)
{
    return seconds == INFINITE ? NSEC_NEVER : time_now() + seconds * NSEC_PER_SEC;
}

/* RFC 4862 5.5.3: a known address gets new lifetimes (not below two hours, lest a forged message
 * end it), an unknown prefix a new address. The prefix is on the link only if it says so. */
static void autoconfigure(struct netif *n, const struct ip_addr *prefix, bool on_link,
                          uint32_t valid_s, uint32_t preferred_s)
{
    struct ip_addr a = with_identifier(prefix, n->mac);
    struct netif_addr *e;
    bool known = false;
    int slaac = 0;

    spin_lock_bh(&net_config_lock);
    list_for_each (e, &n->addrs, link) {
        slaac += e->origin == ADDR_SLAAC;
        if (!ip_equal(&e->addr, &a))
            continue;
        known = true;
        if (e->origin != ADDR_SLAAC)
            continue;
        nsec_t want = lifetime(valid_s), floor = time_now() + TWO_HOURS;
        if (want > floor || want > e->valid_until)
            e->valid_until = want;
        else if (e->valid_until > floor)
            e->valid_until = floor;
        e->preferred_until = lifetime(preferred_s);
        if (on_link && e->prefix != 64) {
            e->prefix = 64;
            view_publish();
        }
    }
    spin_unlock_bh(&net_config_lock);
    if (!known && valid_s && slaac < MAX_SLAAC_ADDRS)
        add_address(n, &a, on_link ? 64 : 128, ADDR_SLAAC, lifetime(valid_s),
                    lifetime(preferred_s));
}

/* type 3 | 4 | prefix length | flags | valid | preferred | reserved | prefix (RFC 4861 4.6.2) */
static void prefix_option(struct netif *n, const uint8_t *o)
{
    uint32_t valid_s = get32(o + 4), preferred_s = get32(o + 8);
    struct ip_addr prefix;

    memcpy(&prefix, o + 16, 16);
    if (o[2] > 128 || preferred_s > valid_s || ip_is_link_local(&prefix) ||
        ip_is_multicast(&prefix) || ip_is_v4(&prefix))
        return;
    if ((o[3] & PREFIX_AUTONOMOUS) && o[2] == 64) {
        struct ip_addr mask = ip_mask(64);
        prefix.q[0] &= mask.q[0];
        prefix.q[1] = 0;
        autoconfigure(n, &prefix, o[3] & PREFIX_ON_LINK, valid_s, preferred_s);
    } else if (o[3] & PREFIX_ON_LINK) {
        if (valid_s)
            route_add(n, &prefix, o[2], NULL, 256, ROUTE_RA);
        else
            route_del(n, &prefix, o[2], NULL);
    }
}

static void dns_option(struct nd_state *nd, const uint8_t *o)
{
    spin_lock(&nd->lock);
    nd->ndns = 0;
    for (unsigned at = 8; at + 16 <= o[1] * 8u && nd->ndns < MAX_DNS; at += 16)
        memcpy(&nd->dns[nd->ndns++], o + at, 16);
    spin_unlock(&nd->lock);
}

static void remember_router(struct netif *n, const struct ip_addr *addr, uint32_t seconds)
{
    struct nd_state *nd = n->nd;
    int slot = -1;

    spin_lock(&nd->lock);
    for (int i = 0; i < MAX_ROUTERS; i++) {
        if (nd->routers[i].until && ip_equal(&nd->routers[i].addr, addr)) {
            slot = i;
            break;
        }
        if (!nd->routers[i].until && slot < 0)
            slot = i;
    }
    bool known = slot >= 0 && nd->routers[slot].until;
    if (slot >= 0) {
        nd->routers[slot].addr = *addr;
        nd->routers[slot].until = time_now() + seconds * NSEC_PER_SEC;
    }
    spin_unlock(&nd->lock);
    if (slot >= 0 && !known)
        route_add(n, &unspecified, 0, addr, 1024, ROUTE_RA);
}

static void router_advert_input(struct netif *n, const struct message *m)
{
    struct nd_state *nd = n->nd;
    const struct ip_addr *from = &m->p->src;

    if (!ip_is_link_local(from)) {
        net_count(NET_Librettos_NdInvalid);
        return;
    }
    net_count(NET_Librettos_RouterAdvertisements);
    if (!nd)
        return;
    const uint8_t *mac = option(m, 16, OPT_SOURCE_MAC, 8);
    if (mac && !(mac[2] & 1))
        neighbour_learn(n, from, mac + 2, LEARN_CREATE | LEARN_OVERRIDE | LEARN_ROUTER);
    spin_lock(&nd->lock);
    nd->solicits_left = 0;
    spin_unlock(&nd->lock);
    uint16_t seconds = get16(m->b + 6);
    if (seconds)
        remember_router(n, from, seconds);
    else
        forget_router(n, from);
    for (uint32_t at = 16; at < m->len; at += m->b[at + 1] * 8u) {
        const uint8_t *o = m->b + at;
        if (o[0] == OPT_PREFIX && o[1] == 4)
            prefix_option(n, o);
        else if (o[0] == OPT_DNS && o[1] >= 3)
            dns_option(nd, o);
        else if (o[0] == OPT_MTU && o[1] == 1 && get32(o + 4) >= IP6_MIN_MTU &&
                 get32(o + 4) < n->mtu) {
            n->mtu = (uint16_t)get32(o + 4);
            view_touch();
        }
    }
    sweep_soon(nd, time_now());
}

int nd_dns_servers(const struct netif *n, struct ip_addr *out, int max)
{
    struct nd_state *nd = n->nd;
    int count = 0;

    if (!nd)
        return 0;
    spin_lock_bh(&nd->lock);
    for (; count < nd->ndns && count < max; count++)
        out[count] = nd->dns[count];
    spin_unlock_bh(&nd->lock);
    return count;
}

static void message_input(struct netif *n, const struct message *m)
{
    uint8_t type = m->b[0];
    uint32_t fixed = type == ND_ROUTER_SOLICIT ? 8 : type == ND_ROUTER_ADVERT ? 16 : 24;

    if ((n->flags & NETIF_LOOPBACK) || !valid(m, fixed))
        net_count(NET_Librettos_NdInvalid);
    else if (type == ND_SOLICIT)
        solicit_input(n, m);
    else if (type == ND_ADVERT)
        advert_input(n, m);
    else if (type == ND_ROUTER_ADVERT)
        router_advert_input(n, m);
    /* Router solicitations are not for us, and redirects are not believed. */
}

void nd_input(struct netif *n, struct pkt *p)
{
    struct message m = {.p = p, .len = p->len};
    uint8_t *copy = NULL;

    if (pkt_make_linear(p, p->len)) {
        m.b = p->data;
    } else { /* an advertisement with many options */
        copy = kmalloc(p->len);
        if (!copy || !pkt_copy_out(p, 0, copy, p->len)) {
            kfree(copy);
            net_drop(p, NET_Librettos_NoMemory);
            return;
        }
        m.b = copy;
    }
    message_input(n, &m);
    kfree(copy);
    pkt_free(p);
}
