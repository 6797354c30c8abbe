/* Addresses and routes as the data path sees them (net/view.h). */
#include "net/view.h"

#include "net/netif_impl.h"
#include "net/watch.h"

static struct view empty_view;
static _Atomic(struct view *) current_view = &empty_view;
static struct list routes = LIST_INIT(routes); /* struct route, under net_config_lock */
uint32_t net_generation = 1;
const struct net_watcher *net_watcher;

const struct view *net_view(void)
{
    return atomic_load_explicit(&current_view, memory_order_acquire);
}

void view_touch(void)
{
    __atomic_fetch_add(&net_generation, 1, __ATOMIC_RELEASE);
}

struct ip_addr ip_mask(unsigned bits)
{
    struct ip_addr m = {0};

    for (unsigned i = 0; i < 16; i++, bits -= MIN(bits, 8u))
        m.b[i] = bits >= 8 ? 0xff : (uint8_t)(0xff00u >> bits);
    return m;
}

static void view_free(struct net_garbage *g)
{
    struct view *v = container_of(g, struct view, garbage);

    kfree(v->addrs);
    kfree(v->routes);
    kfree(v);
}

static void add_addr(struct view *v, struct netif *n, const struct netif_addr *a)
{
    struct view_addr *e = &v->addrs[v->naddrs++];

    e->addr = a->addr;
    e->netif = n;
    e->prefix = (uint8_t)ip_prefix_bits(&a->addr, a->prefix);
    e->state = a->state;
    e->valid_until = a->valid_until;
    e->preferred_until = a->preferred_until;
    e->broadcast = 0;
    if (ip_is_v4(&a->addr) && a->prefix < 31 && (n->flags & NETIF_BROADCAST)) {
        struct ip_addr m = ip_mask(e->prefix);
        e->broadcast = a->addr.w[3] | ~m.w[3];
    }
    v->own |= 1ull << (a->addr.b[15] & 63) | 1ull << (e->broadcast >> 24 & 63);
}

/* Inserts in order: longer prefixes first, then lower metrics, then as they came. */
static void insert_route(struct view *v, const struct view_route *r)
{
    int at = v->nroutes++;

    for (; at > 0; at--) {
        const struct view_route *o = &v->routes[at - 1];
        if (o->prefix > r->prefix || (o->prefix == r->prefix && o->metric <= r->metric))
            break;
        v->routes[at] = *o;
    }
    v->routes[at] = *r;
}

static void add_route(struct view *v, struct netif *n, const struct ip_addr *dst, uint8_t prefix,
                      const struct ip_addr *gateway, uint32_t metric, uint16_t mtu,
                      enum route_origin origin)
{
    struct view_route r = {.netif = n, .metric = metric, .mtu = mtu, .origin = (uint8_t)origin};

    r.prefix = (uint8_t)ip_prefix_bits(dst, prefix);
    r.mask = ip_mask(r.prefix);
    r.value.q[0] = dst->q[0] & r.mask.q[0];
    r.value.q[1] = dst->q[1] & r.mask.q[1];
    if (gateway)
        r.gateway = *gateway;
    insert_route(v, &r);
}

static void count_all(int *naddrs, int *nroutes)
{
    struct netif *n;
    struct netif_addr *a;
    struct route *r;

    *naddrs = *nroutes = 0;
    list_for_each (n, &netif_list, link) {
        list_for_each (a, &n->addrs, link)
            ++*naddrs;
    }
    *nroutes = *naddrs;
    list_for_each (r, &routes, link)
        ++*nroutes;
}

/* The first address of each family, for the receive path. */
static void set_main(struct netif *n)
{
    struct netif_addr *a;
    uint32_t v4 = 0;
    struct ip_addr v6 = {0};

    list_for_each (a, &n->addrs, link) {
        if (ip_is_v4(&a->addr)) {
            if (!v4)
                v4 = ip_v4(&a->addr);
        } else if (ip_is_any(&v6) || (ip_is_link_local(&v6) && !ip_is_link_local(&a->addr))) {
            v6 = a->addr;
        }
    }
    WRITE_ONCE(n->main_v4, v4);
    n->main_v6 = v6;
}

static void fill(struct view *v)
{
    struct netif *n;
    struct netif_addr *a;
    struct route *r;

    list_for_each (n, &netif_list, link) {
        list_for_each (a, &n->addrs, link) {
            add_addr(v, n, a);
            if (n->flags & NETIF_UP)
                add_route(v, n, &a->addr, a->prefix, NULL, ip_is_v4(&a->addr) ? 0 : 256, 0,
                          ROUTE_CONNECTED);
        }
        set_main(n);
    }
    list_for_each (r, &routes, link) {
        if (r->netif->flags & NETIF_UP)
            add_route(v, r->netif, &r->dst, r->prefix, &r->gateway, r->metric, r->mtu, r->origin);
    }
}

static bool same_addr(const struct view_addr *a, const struct view_addr *b)
{
    return ip_equal(&a->addr, &b->addr) && a->netif == b->netif && a->prefix == b->prefix;
}

static bool same_route(const struct view_route *a, const struct view_route *b)
{
    return ip_equal(&a->value, &b->value) && ip_equal(&a->gateway, &b->gateway) &&
           a->netif == b->netif && a->prefix == b->prefix && a->metric == b->metric &&
           a->origin == b->origin;
}

static const struct view_addr *find_addr(const struct view *v, const struct view_addr *a)
{
    for (int i = 0; i < v->naddrs; i++) {
        if (same_addr(&v->addrs[i], a))
            return &v->addrs[i];
    }
    return NULL;
}

static bool has_route(const struct view *v, const struct view_route *r)
{
    for (int i = 0; i < v->nroutes; i++) {
        if (same_route(&v->routes[i], r))
            return true;
    }
    return false;
}

/* What goes is told backwards: routes before the addresses that they are of. */
static void tell_changes(const struct view *old, const struct view *new)
{
    for (int i = 0; i < old->nroutes; i++) {
        if (!has_route(new, &old->routes[i]))
            net_watcher->route(&old->routes[i], true);
    }
    for (int i = 0; i < old->naddrs; i++) {
        if (!find_addr(new, &old->addrs[i]))
            net_watcher->address(&old->addrs[i], true);
    }
    for (int i = 0; i < new->naddrs; i++) {
        const struct view_addr *was = find_addr(old, &new->addrs[i]);
        if (!was || was->state != new->addrs[i].state)
            net_watcher->address(&new->addrs[i], false);
    }
    for (int i = 0; i < new->nroutes; i++) {
        if (!has_route(old, &new->routes[i]))
            net_watcher->route(&new->routes[i], false);
    }
}

int view_publish(void)
{
    int naddrs, nroutes;

    count_all(&naddrs, &nroutes);
    struct view *v = kzalloc(sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->addrs = kmalloc((size_t)(naddrs + 1) * sizeof(*v->addrs));
    v->routes = kmalloc((size_t)(nroutes + 1) * sizeof(*v->routes));
    if (!v->addrs || !v->routes) {
        view_free(&v->garbage);
        return -ENOMEM;
    }
    fill(v);
    v->garbage.free = view_free;
    struct view *old = atomic_exchange(&current_view, v);
    view_touch();
    if (net_watcher)
        tell_changes(old, v);
    if (old != &empty_view)
        net_free_later(&old->garbage);
    return 0;
}

const struct view_addr *view_local(const struct view *v, const struct netif *n,
                                   const struct ip_addr *a)
{
    for (int i = 0; i < v->naddrs; i++) {
        if (ip_equal(&v->addrs[i].addr, a) && (!n || v->addrs[i].netif == n))
            return &v->addrs[i];
    }
    return NULL;
}

bool view_is_forged(const struct view *v, const struct netif *n, const struct ip_addr *src)
{
    bool may_be_ours = (n->flags & NETIF_LOOPBACK) || n->shared || n->tap;

    for (int i = 0; i < v->naddrs; i++) {
        const struct view_addr *a = &v->addrs[i];
        /* Whoever has the address that is optimistic here says so from it (RFC 4862 5.4.4). */
        if ((!may_be_ours && a->state != ADDR_OPTIMISTIC && ip_equal(&a->addr, src)) ||
            (a->broadcast && ip_is_v4(src) && a->broadcast == src->w[3]))
            return true;
    }
    return false;
}

const struct view_route *view_route(const struct view *v, const struct netif *n,
                                    const struct ip_addr *dst)
{
    for (int i = 0; i < v->nroutes; i++) {
        const struct view_route *r = &v->routes[i];
        if ((dst->q[0] & r->mask.q[0]) == r->value.q[0] &&
            (dst->q[1] & r->mask.q[1]) == r->value.q[1] && (!n || r->netif == n))
            return r;
    }
    return NULL;
}

/* RFC 6724 3.1: 2 link-local, 5 site-local, 14 global; IPv4 likewise (3.2). */
static int scope_of(const struct ip_addr *a)
{
    if (ip_is_multicast(a))
        return ip_is_v4(a) ? 14 : a->b[1] & 15;
    return ip_is_link_local(a) || ip_is_loopback(a) ? 2 : 14;
}

static int common_prefix(const struct ip_addr *a, const struct ip_addr *b)
{
    for (int i = 0; i < 16; i++) {
        uint8_t diff = a->b[i] ^ b->b[i];
        if (diff)
            return i * 8 + __builtin_clz(diff) - 24;
    }
    return 128;
}

/* True if a is the better source for dst (rules 2, 3, 5 and 8; rule 1 was tried before). */
static bool better_source(const struct view_addr *a, const struct view_addr *b,
                          const struct netif *out, const struct ip_addr *dst)
{
    int sa = scope_of(&a->addr), sb = scope_of(&b->addr), sd = scope_of(dst);

    if (sa != sb)
        return sa < sb ? sa >= sd : sb < sd;
    if ((a->state == ADDR_DEPRECATED) != (b->state == ADDR_DEPRECATED))
        return b->state == ADDR_DEPRECATED;
    if ((a->netif == out) != (b->netif == out))
        return a->netif == out;
    return MIN(common_prefix(&a->addr, dst), (int)a->prefix) >
           MIN(common_prefix(&b->addr, dst), (int)b->prefix);
}

const struct view_addr *view_source(const struct view *v, const struct netif *n,
                                    const struct ip_addr *dst)
{
    const struct view_addr *best = NULL;
    bool v4 = ip_is_v4(dst);

    for (int i = 0; i < v->naddrs; i++) {
        const struct view_addr *a = &v->addrs[i];
        if (ip_is_v4(&a->addr) != v4)
            continue;
        if (a->netif != n && (ip_is_link_local(&a->addr) || ip_is_loopback(&a->addr)))
            continue;
        if (!best || better_source(a, best, n, dst))
            best = a;
    }
    return best;
}

static struct route *find_route(struct netif *n, const struct ip_addr *dst, uint8_t prefix,
                                const struct ip_addr *gateway)
{
    struct route *r;

    list_for_each (r, &routes, link) {
        if (r->netif == n && r->prefix == prefix && ip_equal(&r->dst, dst) &&
            ip_equal(&r->gateway, gateway))
            return r;
    }
    return NULL;
}

int route_add(struct netif *n, const struct ip_addr *dst, uint8_t prefix,
              const struct ip_addr *gateway, uint32_t metric, enum route_origin origin)
{
    static const struct ip_addr none;
    int err = 0;

    if (prefix > (ip_is_v4(dst) ? 32 : 128))
        return -EINVAL;
    if (!gateway)
        gateway = &none;
    spin_lock_bh(&net_config_lock);
    struct route *r = find_route(n, dst, prefix, gateway);
    if (!r) {
        r = kzalloc(sizeof(*r));
        if (!r) {
            err = -ENOMEM;
            goto out;
        }
        list_push_back(&routes, &r->link);
    }
    r->dst = *dst;
    r->prefix = prefix;
    r->gateway = *gateway;
    r->netif = n;
    r->metric = metric;
    r->origin = origin;
    err = view_publish();
out:
    spin_unlock_bh(&net_config_lock);
    return err;
}

int route_del(struct netif *n, const struct ip_addr *dst, uint8_t prefix,
              const struct ip_addr *gateway)
{
    static const struct ip_addr none;
    int err = -ESRCH;

    spin_lock_bh(&net_config_lock);
    struct route *r = find_route(n, dst, prefix, gateway ? gateway : &none);
    if (r) {
        list_remove(&r->link);
        kfree(r);
        err = view_publish();
    }
    spin_unlock_bh(&net_config_lock);
    return err;
}

void route_flush(struct netif *n, enum route_origin origin)
{
    struct route *r, *tmp;

    spin_lock_bh(&net_config_lock);
    list_for_each_safe (r, tmp, &routes, link) {
        if (r->netif == n && r->origin == origin) {
            list_remove(&r->link);
            kfree(r);
        }
    }
    view_publish();
    spin_unlock_bh(&net_config_lock);
}

void route_for_each(bool (*fn)(const struct view_route *r, void *arg), void *arg)
{
    net_batch_begin();
    const struct view *v = net_view();
    for (int i = 0; i < v->nroutes; i++) {
        if (!fn(&v->routes[i], arg))
            break;
    }
    net_batch_end();
}
