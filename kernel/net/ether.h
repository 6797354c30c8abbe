/* Ethernet (RFC 894, RFC 2464): the frame header and the dispatch by type. */
#ifndef NET_ETHER_H
#define NET_ETHER_H

#include "net/netif.h"

#define ETH_HEADER 14u
#define ETH_TYPE_IP4 0x0800u
#define ETH_TYPE_ARP 0x0806u
#define ETH_TYPE_IP6 0x86ddu

/* Unaligned loads and stores, as they are in wire formats. */
typedef uint16_t __attribute__((may_alias, aligned(1))) wire16;
typedef uint32_t __attribute__((may_alias, aligned(1))) wire32;
typedef uint64_t __attribute__((may_alias, aligned(1))) wire64;

static inline uint16_t get16(const void *p)
{
    return net16(*(const wire16 *)p);
}
static inline uint32_t get32(const void *p)
{
    return net32(*(const wire32 *)p);
}
static inline void put16(void *p, uint16_t v)
{
    *(wire16 *)p = net16(v);
}
static inline void put32(void *p, uint32_t v)
{
    *(wire32 *)p = net32(v);
}

static inline bool mac_equal(const uint8_t *a, const uint8_t *b)
{
    return *(const wire32 *)a == *(const wire32 *)b &&
           *(const wire16 *)(a + 4) == *(const wire16 *)(b + 4);
}

/* Prepends the Ethernet header and hands the frame to the interface. Inside a batch. */
void ether_output(struct netif *n, struct pkt *p, const uint8_t *dst, uint16_t type);

/* One received frame; takes ownership. Inside a batch. */
void ether_input(struct netif *n, struct pkt *p);

/* The protocols above: p->data is behind the Ethernet header. Take ownership. Inside a batch. */
void ip4_input(struct netif *n, struct pkt *p);
void ip6_input(struct netif *n, struct pkt *p);
void arp_input(struct netif *n, struct pkt *p);

/* Merges TCP segments of one flow in a list of frames that arrived together (GRO); returns the list
 * to deliver. */
struct pkt *gro_merge(struct pkt *list);

#endif
