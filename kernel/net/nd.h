/* IPv6 neighbour and router discovery, address autoconfiguration: what interfaces call. */
#ifndef NET_ND_H
#define NET_ND_H

#include "net/netif.h"

/* The modified EUI-64 interface identifier of a MAC address (RFC 4291, appendix A). */
static inline void nd_eui64(const uint8_t mac[MAC_LEN], uint8_t id[8])
{
    const uint8_t made[8] = {mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

    memcpy(id, made, sizeof(made));
}

/* The interface came up: link-local address, router solicitations. Thread context. */
void nd_start(struct netif *n);
/* The link came back: asks for routers again. Any context but hard interrupts. */
void nd_restart(struct netif *n);
/* The state that a new address begins with: optimistic (RFC 4429), if duplicates of it are to be
 * looked for. */
enum addr_state nd_first_state(const struct netif *n, const struct ip_addr *a);
/* An address was added: sees to its lifetime; of IPv6, joins its solicited-node group and, if it is
 * optimistic, looks for duplicates. */
void nd_address_added(struct netif *n, const struct netif_addr *a);
/* An IPv6 address was removed. */
void nd_address_removed(struct netif *n, const struct ip_addr *a);
/* DNS servers from router advertisements (RFC 8106); how many were stored. */
int nd_dns_servers(const struct netif *n, struct ip_addr *out, int max);

#endif
