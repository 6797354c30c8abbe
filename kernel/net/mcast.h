/*
 * Multicast membership: of interfaces (reported with IGMPv2 and MLDv1) and of sockets.
 */
#ifndef NET_MCAST_H
#define NET_MCAST_H

#include "net/socket.h"

/* For netif_create. */
void mcast_init_netif(struct netif *n);
/* Joins or leaves a group on an interface; counted. Sends the report, programs the path's filter.
 * -ENOMEM, -EADDRNOTAVAIL. Any context but hard interrupts. */
int mcast_join(struct netif *n, const struct ip_addr *group);
int mcast_leave(struct netif *n, const struct ip_addr *group);
/* Whether the interface wants the group: joined, or all nodes. Inside a batch. */
bool mcast_member(struct netif *n, const struct ip_addr *group);
/* Tells the attached paths which groups to receive. Any context but hard interrupts. */
void mcast_program(struct netif *n);

/* The same for a socket: IP_ADD_MEMBERSHIP, IPV6_JOIN_GROUP. ifindex 0: chosen by the route.
 * -EADDRINUSE (already a member), -EADDRNOTAVAIL, -ENODEV, -EINVAL, -ENOMEM. */
int mcast_socket_join(struct socket *s, const struct ip_addr *group, int ifindex);
int mcast_socket_leave(struct socket *s, const struct ip_addr *group, int ifindex);
void mcast_socket_leave_all(struct socket *s);
/* Whether datagrams to the group that came in on n are for this socket: it is a member, or has not
 * said that it wants its own groups alone (IP_MULTICAST_ALL). Inside a batch. */
bool mcast_socket_wants(const struct socket *s, const struct ip_addr *group, struct netif *n);

#endif
