/* The multicast groups of NETLINK_ROUTE: what changes is told to their members. */
#include "linux/netlink_socket.h"
#include "net/watch.h"

static void link_changed(struct netif *n)
{
    struct netlink_message m = {.group = RTNLGRP_LINK};
    netlink_put_link(&m, RTM_NEWLINK, n);
}

static void address_changed(const struct view_addr *a, bool gone)
{
    bool v4 = ip_is_v4(&a->addr);
    struct netlink_message m = {.group = v4 ? RTNLGRP_IPV4_IFADDR : RTNLGRP_IPV6_IFADDR};
    struct netif_addr as_set = {
        .addr = a->addr,
        .prefix = (uint8_t)(v4 ? a->prefix - 96 : a->prefix),
        .state = a->state,
        .valid_until = a->valid_until,
        .preferred_until = a->preferred_until,
    };
    netlink_put_address(&m, gone ? RTM_DELADDR : RTM_NEWADDR, a->netif, &as_set);
}

static void route_changed(const struct view_route *r, bool gone)
{
    bool v4 = netlink_route_is_v4(r);
    struct netlink_message m = {.group = v4 ? RTNLGRP_IPV4_ROUTE : RTNLGRP_IPV6_ROUTE};
    if (!netlink_route_is_hidden(r))
        netlink_put_route(&m, gone ? RTM_DELROUTE : RTM_NEWROUTE, r);
}

static void neighbour_changed(const struct neighbour *nb, bool gone)
{
    struct netlink_message m = {.group = RTNLGRP_NEIGH};
    netlink_put_neighbour(&m, gone ? RTM_DELNEIGH : RTM_NEWNEIGH, nb);
}

void netlink_route_watch(void)
{
    static const struct net_watcher watcher = {
        .link = link_changed,
        .address = address_changed,
        .route = route_changed,
        .neighbour = neighbour_changed,
    };
    WRITE_ONCE(net_watcher, &watcher);
}
