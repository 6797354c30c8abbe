/* Interfaces: their list, addresses and state (net/netif.h). Paths: netif_path.c. */
#include "net/neigh.h"
#include "net/mcast.h"
#include "net/nd.h"
#include "net/netif_impl.h"
#include "net/stats.h"
#include "net/transmit.h"
#include "net/watch.h"

spinlock_t net_config_lock = SPINLOCK_INIT;
struct list netif_list = LIST_INIT(netif_list);
struct netif *netif_loopback;
bool netif_start_later;

static int next_index = 1;

static bool name_taken(const char *name)
{
    struct netif *n;

    list_for_each (n, &netif_list, link) {
        if (!strcmp(n->name, name))
            return true;
    }
    return false;
}

/* "eth%d" becomes the first free number. */
static int choose_name(char out[16], const char *name)
{
    const char *percent = strchr(name, '%');

    if (!percent) {
        str_copy(out, name, 16);
        return name_taken(out) ? -EEXIST : 0;
    }
    char stem[8];
    str_copy(stem, name, MIN(sizeof(stem), (size_t)(percent - name) + 1));
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(out, 16, "%s%u", stem, i % 1000);
        if (!name_taken(out))
            return 0;
    }
    return -EEXIST;
}

struct netif *netif_create(const char *name, const uint8_t mac[MAC_LEN])
{
    struct netif *n = kzalloc(sizeof(*n));

    if (!n)
        return ERR_PTR(-ENOMEM);
    list_init(&n->addrs);
    list_init(&n->groups);
    memcpy(n->mac, mac, MAC_LEN);
    n->mtu = 1500;
    n->flags = NETIF_BROADCAST | NETIF_MULTICAST;
    netif_init_paths(n);
    mcast_init_netif(n);
    for (unsigned i = 0; i < ARRAY_SIZE(n->backlog); i++) {
        pkt_queue_init(&n->backlog[i]);
        spin_init(&n->backlog_lock[i]);
    }
    spin_lock_bh(&net_config_lock);
    int err = choose_name(n->name, name);
    if (!err) {
        n->index = next_index++;
        list_push_back(&netif_list, &n->link);
    }
    spin_unlock_bh(&net_config_lock);
    if (err) {
        kfree(n);
        return ERR_PTR(err);
    }
    return n;
}

/* Interfaces are only ever added, at the end, and complete: walking the list needs no lock. */
struct netif *netif_by_name(const char *name)
{
    struct netif *n, *found = NULL;

    list_for_each (n, &netif_list, link) {
        if (!strcmp(n->name, name))
            found = n;
    }
    return found;
}

struct netif *netif_by_index(int index)
{
    struct netif *n, *found = NULL;

    list_for_each (n, &netif_list, link) {
        if (n->index == index)
            found = n;
    }
    return found;
}

void netif_for_each(bool (*fn)(struct netif *n, void *arg), void *arg)
{
    struct netif *n;

    list_for_each (n, &netif_list, link) {
        if (!fn(n, arg))
            return;
    }
}

int netif_set_up(struct netif *n, bool up)
{
    spin_lock_bh(&net_config_lock);
    bool was = n->flags & NETIF_UP;
    n->flags = up ? n->flags | NETIF_UP : n->flags & ~NETIF_UP;
    netif_update_running(n);
    if (up != was)
        net_watch_link(n);
    int err = view_publish();
    spin_unlock_bh(&net_config_lock);
    if (!err && up && !was && !(n->flags & NETIF_LOOPBACK))
        nd_start(n);
    return err;
}

void netif_announce(struct netif *n)
{
    if (n->shared)
        return;
    net_batch_begin();
    const struct view *v = net_view();
    for (int i = 0; i < v->naddrs; i++) {
        const struct view_addr *a = &v->addrs[i];
        if (a->netif != n || (n->flags & NETIF_LOOPBACK))
            continue;
        if (ip_is_v4(&a->addr))
            arp_announce(n, &a->addr);
        else
            nd_announce(n, &a->addr);
    }
    net_batch_end();
}

/* --- addresses -------------------------------------------------------------------------------- */

static struct netif_addr *find_addr(struct netif *n, const struct ip_addr *a)
{
    struct netif_addr *e;

    list_for_each (e, &n->addrs, link) {
        if (ip_equal(&e->addr, a))
            return e;
    }
    return NULL;
}

int netif_add_addr_full(struct netif *n, const struct netif_addr *want)
{
    if (want->prefix > (ip_is_v4(&want->addr) ? 32 : 128) || ip_is_multicast(&want->addr) ||
        ip_is_any(&want->addr))
        return -EINVAL;
    struct netif_addr *e = kzalloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    *e = *want;
    e->added = time_now();
    spin_lock_bh(&net_config_lock);
    int err = find_addr(n, &want->addr) ? -EEXIST : 0;
    if (!err) {
        list_push_back(&n->addrs, &e->link);
        err = view_publish();
        if (err)
            list_remove(&e->link);
    }
    spin_unlock_bh(&net_config_lock);
    if (err) {
        kfree(e);
        return err;
    }
    if (!(n->flags & NETIF_LOOPBACK))
        nd_address_added(n, want);
    return 0;
}

int netif_add_addr(struct netif *n, const struct ip_addr *a, uint8_t prefix)
{
    struct netif_addr e = {
        .addr = *a,
        .prefix = prefix,
        .state = (uint8_t)nd_first_state(n, a),
        .origin = ADDR_STATIC,
        .valid_until = NSEC_NEVER,
        .preferred_until = NSEC_NEVER,
    };

    return netif_add_addr_full(n, &e);
}

int netif_del_addr(struct netif *n, const struct ip_addr *a)
{
    spin_lock_bh(&net_config_lock);
    struct netif_addr *e = find_addr(n, a);
    if (e) {
        list_remove(&e->link);
        view_publish();
    }
    spin_unlock_bh(&net_config_lock);
    if (!e)
        return -EADDRNOTAVAIL;
    if (!ip_is_v4(a) && !(n->flags & NETIF_LOOPBACK))
        nd_address_removed(n, a);
    kfree(e);
    return 0;
}

void netif_for_each_addr(struct netif *n, bool (*fn)(const struct netif_addr *a, void *arg),
                         void *arg)
{
    struct netif_addr *e;

    spin_lock_bh(&net_config_lock);
    list_for_each (e, &n->addrs, link) {
        if (!fn(e, arg))
            break;
    }
    spin_unlock_bh(&net_config_lock);
}
