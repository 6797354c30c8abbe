/* IPv6 neighbour and router discovery, address autoconfiguration: what interfaces call. */
#ifndef NET_ND_H
#define NET_ND_H

#include "net/netif.h"

/* The interface came up: link-local address, router solicitations. Thread context. */
void nd_start(struct netif *n);
/* The link came back: asks for routers again. Any context but hard interrupts. */
void nd_restart(struct netif *n);
/* An IPv6 address was added (joins its solicited-node group, looks for duplicates) or removed. */
void nd_address_added(struct netif *n, const struct ip_addr *a);
void nd_address_removed(struct netif *n, const struct ip_addr *a);
/* DNS servers from router advertisements (RFC 8106); how many were stored. */
int nd_dns_servers(const struct netif *n, struct ip_addr *out, int max);

#endif
