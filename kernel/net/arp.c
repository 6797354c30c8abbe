/*
 * ARP for IPv4 over Ethernet (RFC 826), with announcements and conflict detection of RFC 5227.
 *
 *   0 hardware type 1 | 2 protocol type 0x0800 | 4 lengths 6, 4 | 6 operation
 *   8 sender MAC | 14 sender IP | 18 target MAC | 24 target IP
 */
#include "net/neigh.h"
#include "net/stats.h"
#include "net/view.h"

#define ARP_LEN 28u
#define ARP_REQUEST 1u
#define ARP_REPLY 2u
#define DEFEND_INTERVAL (10 * NSEC_PER_SEC) /* RFC 5227 1.1 */

static const uint8_t broadcast_mac[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void arp_send(struct netif *n, uint16_t op, uint32_t spa, const uint8_t *tha, uint32_t tpa,
                     const uint8_t *to)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    if (!p) {
        net_count(NET_Librettos_NoMemory);
        return;
    }
    uint8_t a[ARP_LEN] = {0, 1, 8, 0, 6, 4};
    put16(a + 6, op);
    memcpy(a + 8, n->mac, MAC_LEN);
    memcpy(a + 14, &spa, 4);
    memcpy(a + 18, tha, MAC_LEN);
    memcpy(a + 24, &tpa, 4);
    pkt_append(p, a, sizeof(a));
    ether_output(n, p, to, ETH_TYPE_ARP);
}

void arp_solicit(struct netif *n, const struct ip_addr *target, const uint8_t *unicast)
{
    static const uint8_t unknown[MAC_LEN];
    const struct view_addr *src = view_source(net_view(), n, target);
    uint32_t spa = src && src->netif == n ? ip_v4(&src->addr) : 0;

    arp_send(n, ARP_REQUEST, spa, unknown, ip_v4(target), unicast ? unicast : broadcast_mac);
}

void arp_announce(struct netif *n, const struct ip_addr *addr)
{
    static const uint8_t unknown[MAC_LEN];

    /* Some hosts update their caches from requests only, some from replies only. */
    arp_send(n, ARP_REQUEST, ip_v4(addr), unknown, ip_v4(addr), broadcast_mac);
    arp_send(n, ARP_REPLY, ip_v4(addr), n->mac, ip_v4(addr), broadcast_mac);
}

/* Somebody else uses our address: defend it (RFC 5227 2.4 b), at most every ten seconds. */
static void conflict(struct netif *n, const struct ip_addr *addr, const uint8_t *mac)
{
    static nsec_t last;
    char text[48];

    net_count(NET_Librettos_ArpConflicts);
    if (last && time_coarse() < last + DEFEND_INTERVAL)
        return;
    last = time_coarse();
    ip_format(text, sizeof(text), addr);
    klog(LOG_WARN, "%s: %s is also used by %02x:%02x:%02x:%02x:%02x:%02x", n->name, text, mac[0],
         mac[1], mac[2], mac[3], mac[4], mac[5]);
    arp_announce(n, addr);
}

static bool valid(const struct pkt *p)
{
    static const uint8_t start[6] = {0, 1, 8, 0, 6, 4};
    const uint8_t *a = p->data;

    /* A sender with a group address would make us multicast to it. */
    return memcmp(a, start, sizeof(start)) == 0 && !(a[8] & 1);
}

static void process(struct netif *n, const uint8_t *a)
{
    uint16_t op = get16(a + 6);
    uint32_t spa = *(const wire32 *)(a + 14), tpa = *(const wire32 *)(a + 24);
    struct ip_addr sender = ip_from_v4(spa), target = ip_from_v4(tpa);
    const struct view *v = net_view();

    if (op != ARP_REQUEST && op != ARP_REPLY)
        return;
    if (spa && view_local(v, n, &sender)) {
        if (!mac_equal(a + 8, n->mac) && !n->shared)
            conflict(n, &sender, a + 8);
        return;
    }
    bool for_us = view_local(v, n, &target) != NULL;
    if (spa && !ip_is_multicast(&sender) && !ip_is_broadcast(n, &sender)) {
        unsigned flags = LEARN_OVERRIDE;
        if (for_us && op == ARP_REQUEST)
            flags |= LEARN_CREATE; /* it is about to talk to us */
        if (for_us && op == ARP_REPLY)
            flags |= LEARN_SOLICITED;
        neighbour_learn(n, &sender, a + 8, flags);
    }
    if (for_us && op == ARP_REQUEST && !n->shared)
        arp_send(n, ARP_REPLY, tpa, a + 8, spa, a + 8);
}

void arp_input(struct netif *n, struct pkt *p)
{
    net_count(NET_Librettos_ArpReceived);
    if (!pkt_make_linear(p, ARP_LEN) || !valid(p) || (n->flags & NETIF_LOOPBACK))
        net_count(NET_Librettos_ArpInvalid);
    else
        process(n, p->data);
    pkt_free(p);
}
