/* DHCP client (RFC 2131) and what it found out. */
#ifndef NET_DHCP_H
#define NET_DHCP_H

#include "net/netif.h"

#define DHCP_CLIENT_PORT 68u
#define DHCP_MAX_DNS 3

/* Starts the client on an interface that is up; it runs by itself from then on. -ENOMEM. */
int dhcp_start(struct netif *n);
/* Waits until every client that was started has had its first lease; false: not by then. Thread
 * context. */
bool dhcp_wait(nsec_t deadline);
/* A datagram for the client port; p->data is behind the UDP header. Takes ownership. Inside a
 * batch. */
void dhcp_input(struct netif *n, struct pkt *p);

/* What is known of name service, from DHCP, router advertisements or the boot arguments. */
struct net_dns {
    struct ip_addr servers[DHCP_MAX_DNS * 2];
    int count;
    char domain[64];
};
void net_dns(struct net_dns *out);
/* Called (work, thread context) whenever net_dns() changed; set by linux/ or fs/ to write
 * resolv.conf. */
extern void (*net_dns_hook)(void);
/* Adds a server given in the boot arguments. */
void net_dns_add_static(const struct ip_addr *a);
/* Schedules net_dns_hook. Any context. */
void net_dns_changed(void);
/* DNS servers of the lease; for net_dns. */
int dhcp_dns_servers(const struct netif *n, struct ip_addr *out, int max, char *domain,
                     size_t domain_size);

#endif
