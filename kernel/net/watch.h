/*
 * Whoever wants to know of changes of the network: netlink's multicast groups.
 */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "net/neigh.h"
#include "net/view.h"

/* Told after each change. Any context but hard interrupts; net_config_lock, or the neighbour's lock
 * and its bucket's, may be held. What they point to is valid for the call. */
struct net_watcher {
    void (*link)(struct netif *n);
    /* New, or in another state; or gone. */
    void (*address)(const struct view_addr *a, bool gone);
    void (*route)(const struct view_route *r, bool gone);
    void (*neighbour)(const struct neighbour *nb, bool gone);
};

/* NULL: nobody. Set once, never taken back. */
extern const struct net_watcher *net_watcher;

static inline void net_watch_link(struct netif *n)
{
    if (net_watcher)
        net_watcher->link(n);
}

static inline void net_watch_neighbour(const struct neighbour *nb, bool gone)
{
    if (unlikely(net_watcher))
        net_watcher->neighbour(nb, gone);
}

#endif
