/* Ethernet input and output (net/ether.h). */
#include "net/ether.h"

#include "net/packet.h"
#include "net/stats.h"

static void drop(struct pkt *p, enum net_stat why)
{
    net_count(why);
    pkt_free(p);
}

void ether_output(struct netif *n, struct pkt *p, const uint8_t *dst, uint16_t type)
{
    uint8_t *h = pkt_push(p, ETH_HEADER);

    memcpy(h, dst, MAC_LEN);
    memcpy(h + 6, n->mac, MAC_LEN);
    put16(h + 12, type);
    p->netif = n;
    netif_transmit(n, p);
}

void ether_input(struct netif *n, struct pkt *p)
{
    if (unlikely(p->linear < ETH_HEADER) && !pkt_make_linear(p, ETH_HEADER)) {
        drop(p, NET_Librettos_EthTooShort);
        return;
    }
    const uint8_t *h = p->data;
    p->netif = n;
    if (unlikely(packet_socket_count))
        packet_tap(n, p, false);
    if (unlikely(!mac_equal(h, n->mac))) {
        /* Unicast for others comes in when the device is promiscuous or the switch is learning. */
        if (!(h[0] & 1)) {
            drop(p, NET_Librettos_EthOtherHost);
            return;
        }
        /* Our own, sent by one path: the network brings it back by another. */
        if (unlikely(n->npaths > 1) && !n->shared && mac_equal(h + MAC_LEN, n->mac)) {
            drop(p, NET_Librettos_EthOwn);
            return;
        }
        p->flags |= PKT_BROADCAST;
    }
    uint16_t type = *(const wire16 *)(h + 12);
    pkt_pull(p, ETH_HEADER);
    if (likely(type == net16(ETH_TYPE_IP4)))
        ip4_input(n, p);
    else if (type == net16(ETH_TYPE_IP6))
        ip6_input(n, p);
    else if (type == net16(ETH_TYPE_ARP))
        arp_input(n, p);
    else
        drop(p, NET_Librettos_EthUnknownType);
}
