/* The addresses of the virtual network: see vnet.h. */
#include <arpa/inet.h>
#include <string.h>

#include "vnet.h"

#define NET4 0x0a000200u /* 10.0.2.0/24 */
#define PREFIX6 "fd00:4c69:6272::"

struct in_addr vnet_addr4(unsigned n)
{
    return (struct in_addr){htonl(NET4 | n)};
}

struct in6_addr vnet_addr6(unsigned n)
{
    struct in6_addr a;

    inet_pton(AF_INET6, PREFIX6, &a);
    a.s6_addr[15] = (uint8_t)n;
    return a;
}

void vnet_mac(int host, uint8_t mac[6])
{
    const uint8_t m[6] = {0x02, 'L', 'O', 'S', 0, (uint8_t)(VNET_FIRST_HOST + host)};

    memcpy(mac, m, sizeof(m));
}

void vnet_grants(int host, struct channel_grants *g)
{
    unsigned n = (unsigned)(VNET_FIRST_HOST + host);
    struct in_addr ip = vnet_addr4(n), gateway = vnet_addr4(VNET_GATEWAY);
    struct in6_addr ip6 = vnet_addr6(n), gateway6 = vnet_addr6(VNET_GATEWAY);

    *g = (struct channel_grants){.mtu = SWITCH_MTU, .ipv4_prefix = 24, .ipv6_prefix = 64};
    vnet_mac(host, g->mac);
    memcpy(g->ipv4, &ip, sizeof(g->ipv4));
    memcpy(g->ipv4_gateway, &gateway, sizeof(g->ipv4_gateway));
    memcpy(g->ipv6, &ip6, sizeof(g->ipv6));
    memcpy(g->ipv6_gateway, &gateway6, sizeof(g->ipv6_gateway));
}

char *vnet_boot_arg(int host)
{
    int n = VNET_FIRST_HOST + host;

    return xasprintf("10.0.2.%d/24,gw=10.0.2.2,dns=10.0.2.3," PREFIX6 "%x/64,gw6=" PREFIX6 "2", n,
                     (unsigned)n);
}

char *vnet_address(int host)
{
    return xasprintf("10.0.2.%d", VNET_FIRST_HOST + host);
}
