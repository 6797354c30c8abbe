/*
 * Multicast membership: of interfaces (mcast.c), reported with IGMPv3 and MLDv2, or IGMPv2 and
 * MLDv1 where a router speaks no more (mcast_report.c), and of sockets (mcast_socket.c).
 */
#ifndef NET_MCAST_H
#define NET_MCAST_H

#include "net/socket.h"

#define MCAST_SOURCES 32 /* of a group on an interface, and of a socket's membership, at most */

/* From whom a group's datagrams are wanted: from all but these, or from these alone. */
struct mcast_filter {
    bool exclude;
    unsigned count;
    const struct ip_addr *sources;
};

bool mcast_filter_has(const struct mcast_filter *f, const struct ip_addr *source);
static inline bool mcast_filter_allows(const struct mcast_filter *f, const struct ip_addr *source)
{
    return mcast_filter_has(f, source) != f->exclude;
}

/* --- interfaces ------------------------------------------------------------------------------- */

/* For net_init and netif_create. */
void mcast_init(void);
void mcast_init_netif(struct netif *n);
/* One of those who want a group wants another thing than before; NULL: nothing. Reports what that
 * changes for the interface, programs the path's filter. -ENOMEM, -ENOBUFS (too many sources): all
 * is as it was, but not when `new` is NULL; -EADDRNOTAVAIL. Any context but hard interrupts. */
int mcast_change(struct netif *n, const struct ip_addr *group, const struct mcast_filter *old,
                 const struct mcast_filter *new);
/* Wants the group from all, or no more. */
int mcast_join(struct netif *n, const struct ip_addr *group);
int mcast_leave(struct netif *n, const struct ip_addr *group);
/* Whether the interface wants the group: joined, or all nodes. Inside a batch. */
bool mcast_member(struct netif *n, const struct ip_addr *group);
/* The same, of what this source sends. */
bool mcast_wanted(struct netif *n, const struct ip_addr *group, const struct ip_addr *source);
/* Tells the attached paths which groups to receive. Any context but hard interrupts. */
void mcast_program(struct netif *n);

/* --- reports ---------------------------------------------------------------------------------- */

/* Whether the group is never reported: all hosts, all nodes, and interface-local ones. */
bool mcast_silent(const struct ip_addr *group);
/* Tells the routers what changed, or how it is. Any context but hard interrupts. */
void mcast_report_change(struct netif *n, const struct ip_addr *group,
                         const struct mcast_filter *before, const struct mcast_filter *after);
void mcast_report_state(struct netif *n, const struct ip_addr *group, const struct mcast_filter *f);
/* A router asks who wants the group (any: which groups): each reports within max_delay. */
void mcast_report_soon(struct netif *n, const struct ip_addr *group, bool v4, nsec_t max_delay);

/* --- sockets ---------------------------------------------------------------------------------- */

/* IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP and their opposites. ifindex 0: chosen by the route.
 * -EADDRINUSE (already a member), -EADDRNOTAVAIL, -ENODEV, -EINVAL, -ENOMEM. Thread context. */
int mcast_socket_join(struct socket *s, const struct ip_addr *group, int ifindex);
int mcast_socket_leave(struct socket *s, const struct ip_addr *group, int ifindex);
void mcast_socket_leave_all(struct socket *s);
/* One source more (add) or less. exclude: among those that are blocked, of a group that has been
 * joined (IP_BLOCK_SOURCE), else among those that are wanted (IP_ADD_SOURCE_MEMBERSHIP, which joins
 * if need be). Also -EINVAL (the membership is of the other kind, or there is none to block in),
 * -EADDRNOTAVAIL (it is there already, or is not), -ENOBUFS (too many). Thread context. */
int mcast_socket_source(struct socket *s, const struct ip_addr *group, const struct ip_addr *source,
                        int ifindex, bool exclude, bool add);
/* Whether datagrams from src to the group that came in on n are for this socket: its membership
 * says so, or it has none and has not said that it wants its own groups alone (IP_MULTICAST_ALL).
 * Inside a batch. */
bool mcast_socket_wants(struct socket *s, const struct ip_addr *group, const struct ip_addr *src,
                        struct netif *n);

#endif
