/* Multicast membership of interfaces (net/mcast.h): what all their members want together. */
#include "net/mcast.h"

#include "core/rand.h"
#include "net/ipimpl.h"
#include "net/netif_impl.h"

#define MAX_PROGRAMMED 64

/* How many members want it, and how many of those that exclude some exclude it. */
struct source {
    struct ip_addr addr;
    int includes, excludes;
};

struct group {
    struct list link; /* netif->groups, under net_config_lock as all of it */
    struct netif *netif;
    struct ip_addr addr;
    int users, excluders; /* members; those of them who want it from all but some */
    unsigned nsources;
    struct source *sources; /* MCAST_SOURCES, or NULL */
    struct timer report;    /* answers a query, and says again what changed */
    struct net_garbage garbage;
};

/* With room for all sources of a group. */
struct group_filter {
    struct mcast_filter f;
    struct ip_addr sources[MCAST_SOURCES];
};

bool mcast_filter_has(const struct mcast_filter *f, const struct ip_addr *source)
{
    for (unsigned i = 0; i < f->count; i++) {
        if (ip_equal(&f->sources[i], source))
            return true;
    }
    return false;
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

/* Whether the interface lists the source: as wanted, or, where somebody wants all but some, as one
 * that nobody wants (RFC 3376 3.2). */
static bool listed(const struct group *g, const struct source *s)
{
    return g->excluders ? s->excludes == g->excluders && !s->includes : s->includes > 0;
}

static void filter_of(const struct group *g, struct group_filter *out)
{
    out->f = (struct mcast_filter){.exclude = g->excluders > 0, .sources = out->sources};
    for (unsigned i = 0; i < g->nsources; i++) {
        if (listed(g, &g->sources[i]))
            out->sources[out->f.count++] = g->sources[i].addr;
    }
}

static struct source *source_of(struct group *g, const struct ip_addr *addr)
{
    for (unsigned i = 0; i < g->nsources; i++) {
        if (ip_equal(&g->sources[i].addr, addr))
            return &g->sources[i];
    }
    return NULL;
}

static int make_sources(struct group *g, const struct mcast_filter *f)
{
    unsigned more = 0;

    for (unsigned i = 0; i < f->count; i++)
        more += !source_of(g, &f->sources[i]);
    if (g->nsources + more > MCAST_SOURCES)
        return -ENOBUFS;
    if (more && !g->sources && !(g->sources = kmalloc(MCAST_SOURCES * sizeof(*g->sources))))
        return -ENOMEM;
    for (unsigned i = 0; i < f->count; i++) {
        if (!source_of(g, &f->sources[i]))
            g->sources[g->nsources++] = (struct source){.addr = f->sources[i]};
    }
    return 0;
}

/* Counts a member in (1) or out (-1); its sources are there. */
static void count(struct group *g, const struct mcast_filter *f, int one)
{
    g->users += one;
    g->excluders += f->exclude ? one : 0;
    for (unsigned i = 0; i < f->count; i++) {
        struct source *s = source_of(g, &f->sources[i]);
        *(f->exclude ? &s->excludes : &s->includes) += one;
        if (!s->includes && !s->excludes)
            *s = g->sources[--g->nsources];
    }
}

static void report_timer(struct timer *t)
{
    struct group *g = container_of(t, struct group, report);
    struct group_filter f;

    spin_lock_bh(&net_config_lock);
    filter_of(g, &f);
    spin_unlock_bh(&net_config_lock);
    if (f.f.exclude || f.f.count)
        mcast_report_state(g->netif, &g->addr, &f.f);
}

static void free_group(struct net_garbage *garbage)
{
    struct group *g = container_of(garbage, struct group, garbage);

    timer_cancel_sync(&g->report);
    kfree(g->sources);
    kfree(g);
}

static struct group *make_group(struct netif *n, const struct ip_addr *addr)
{
    struct group *g = kzalloc(sizeof(*g));

    if (!g)
        return NULL;
    g->netif = n;
    g->addr = *addr;
    g->garbage.free = free_group;
    timer_init(&g->report, report_timer);
    return g;
}

/* The state before and after a change. */
struct change {
    struct group_filter before, after;
    bool first;         /* the group is new */
    struct group *gone; /* or was given up by the last */
};

/* net_config_lock held. */
static int apply(struct netif *n, const struct ip_addr *addr, const struct mcast_filter *old,
                 const struct mcast_filter *new, struct change *c)
{
    struct group *g = find(n, addr);
    int err = 0;

    if (!g && !new)
        return -EADDRNOTAVAIL;
    if (!g) {
        g = make_group(n, addr);
        if (!g)
            return -ENOMEM;
        list_push_back(&n->groups, &g->link);
        c->first = true;
    }
    filter_of(g, &c->before);
    if (new)
        err = make_sources(g, new);
    if (new && !err)
        count(g, new, 1);
    if (old && !err)
        count(g, old, -1);
    filter_of(g, &c->after);
    if (!g->users) {
        list_remove(&g->link);
        c->gone = g;
    } else if (!mcast_silent(addr) && !err) { /* once more, lest it be lost (RFC 3376 5.1) */
        timer_arm(&g->report, time_now() + (nsec_t)(rand_u64() % (uint64_t)NSEC_PER_SEC));
    }
    return err;
}

int mcast_change(struct netif *n, const struct ip_addr *addr, const struct mcast_filter *old,
                 const struct mcast_filter *new)
{
    struct change c = {.first = false};

    spin_lock_bh(&net_config_lock);
    int err = apply(n, addr, old, new, &c);
    spin_unlock_bh(&net_config_lock);
    if (!err && (c.first || c.gone))
        mcast_program(n);
    if (!err)
        mcast_report_change(n, addr, &c.before.f, &c.after.f);
    if (c.gone)
        net_free_later(&c.gone->garbage);
    return err;
}

static const struct mcast_filter everybody = {.exclude = true};

int mcast_join(struct netif *n, const struct ip_addr *addr)
{
    return mcast_change(n, addr, NULL, &everybody);
}

int mcast_leave(struct netif *n, const struct ip_addr *addr)
{
    return mcast_change(n, addr, &everybody, NULL);
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

bool mcast_wanted(struct netif *n, const struct ip_addr *group, const struct ip_addr *source)
{
    spin_lock_bh(&net_config_lock);
    struct group *g = find(n, group);
    const struct source *s = g ? source_of(g, source) : NULL;
    bool wanted = g && (s && listed(g, s)) != (g->excluders > 0);
    spin_unlock_bh(&net_config_lock);
    return wanted;
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

    /* All nodes and all hosts, whom routers ask. */
    group_mac(&(struct ip_addr){.b = {0xff, 2, [15] = 1}}, macs[count++]);
    group_mac(&(struct ip_addr){.w = {0, 0, 0xffff0000u, net32(0xe0000001)}}, macs[count++]);
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

void mcast_report_soon(struct netif *n, const struct ip_addr *group, bool v4, nsec_t max_delay)
{
    struct group *g;

    spin_lock_bh(&net_config_lock);
    list_for_each (g, &n->groups, link) {
        if (ip_is_v4(&g->addr) != v4 || mcast_silent(&g->addr))
            continue;
        if (ip_is_any(group) || ip_equal(&g->addr, group))
            timer_arm(&g->report, time_now() + (nsec_t)(rand_u64() % (uint64_t)(max_delay + 1)));
    }
    spin_unlock_bh(&net_config_lock);
}
