/*
 * The IP layer as the transports use it: addresses, flows (routes with a cached next hop), output,
 * and the upcalls for input and errors.
 */
#ifndef NET_IP_H
#define NET_IP_H

#include "net/netif.h"

#define IPPROTO_ICMP_N 1
#define IPPROTO_TCP_N 6
#define IPPROTO_UDP_N 17
#define IPPROTO_ICMPV6_N 58
#define IPPROTO_UDPLITE_N 136

static inline struct ip_addr ip_from_v4(uint32_t be)
{
    struct ip_addr a = {.w = {0, 0, 0xffff0000u, be}}; /* ::ffff:0:0/96, little-endian machine */
    return a;
}
static inline bool ip_is_v4(const struct ip_addr *a)
{
    return a->q[0] == 0 && a->w[2] == 0xffff0000u;
}
static inline uint32_t ip_v4(const struct ip_addr *a)
{
    return a->w[3];
} /* big-endian */
static inline bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}
/* :: or 0.0.0.0 */
static inline bool ip_is_any(const struct ip_addr *a)
{
    return a->q[0] == 0 && ((a->w[2] == 0 || a->w[2] == 0xffff0000u) && a->w[3] == 0);
}
bool ip_is_loopback(const struct ip_addr *a);
bool ip_is_multicast(const struct ip_addr *a);
bool ip_is_link_local(const struct ip_addr *a);
bool ip_is_broadcast(const struct netif *n, const struct ip_addr *a);
/* Text forms (RFC 5952 for IPv6); parse returns -EINVAL. */
size_t ip_format(char *buf, size_t size, const struct ip_addr *a);
int ip_parse(const char *text, struct ip_addr *out);

/*
 * A flow: where packets from src to dst go. A connected socket keeps one; its route and next hop
 * are cached and looked up again when the routing generation changed.
 */
struct ip_flow {
    struct ip_addr src, dst;
    uint32_t scope; /* interface index for link-local destinations, SO_BINDTODEVICE; 0: any */
    uint8_t proto;
    uint8_t tos; /* traffic class; ECN in the low two bits may be set per packet in pkt->tos */
    uint8_t ttl;
    bool dont_fragment;
    /* cache, filled by ip_route */
    struct netif *netif;
    struct neighbour *neighbour;
    uint32_t generation;
    uint16_t mtu;      /* path MTU for IP packets (interface, route or learned from ICMP) */
    uint32_t features; /* of the path: enum path_feature */
    uint32_t pseudo;   /* pseudo-header sum without the length */
    uint32_t sum;      /* IPv4: sum of the constant header words */
};

/* Finds the route; fills in src if it is unspecified. -ENETUNREACH, -EADDRNOTAVAIL (src is not
 * ours). */
/* Bottom halves may be on or off. A flow starts as all zero but for its key; src, dst, scope,
 * proto, tos and ttl must not change while it has a cache without calling this again. */
int ip_route(struct ip_flow *flow);
/* Changes with every change of addresses, routes, path features and path MTUs. */
extern uint32_t net_generation;
/* True if the cache is stale: ip_output will call ip_route again, so mtu and features may change.
 */
static inline bool ip_flow_stale(const struct ip_flow *flow)
{
    return flow->generation != READ_ONCE(net_generation) || !flow->neighbour;
}
/* The peer answered: the next hop is reachable (RFC 4861 7.3.1). Cheap; call on forward progress.
 */
void ip_flow_confirm(struct ip_flow *flow);
/* Drops the cache. */
void ip_flow_release(struct ip_flow *flow);
/* Header bytes in front of the transport header: 14 + 20 or 14 + 40. */
static inline uint32_t ip_header_len(const struct ip_flow *flow)
{
    return ip_is_v4(&flow->dst) ? 34 : 54;
}
/* Sends the packet, whose data begins with the transport header: prepends IP and link headers,
 * resolves the neighbour (queues the packet while that takes place), fragments if allowed. Takes
 * ownership. pkt->tos's ECN bits are or'ed in. If flow->features lack PATH_CSUM / TSO / SG it is
 * done in software here. 0, -EMSGSIZE, -EHOSTUNREACH, -ENOBUFS. bh disabled. */
int ip_output(struct ip_flow *flow, struct pkt *p);

/* Pseudo-header sum (RFC 793, RFC 8200 8.1) for a transport segment of `len` bytes, not
 * complemented. */
uint32_t ip_pseudo_csum(const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                        uint32_t len);
uint16_t csum_fold(uint32_t sum); /* complemented, ready for the header field */
uint32_t csum_add(const void *data, size_t n, uint32_t sum);
/* Marks the packet PKT_CSUM_PARTIAL: the checksum of the transport header at p->data goes to
 * p->data + offset, which is set to the folded pseudo-header sum. */
void ip_csum_partial(struct pkt *p, const struct ip_flow *flow, uint16_t offset);

/* --- up: the transports provide these; bh context -------------------------------------------- */

/* p->data is the transport header, p->src/dst/proto/tos/ttl/netif are set, at least the fixed
 * transport header is linear, the checksum is verified if PKT_CSUM_OK is set (the transport
 * verifies otherwise). dst is one of our unicast addresses for TCP. Takes ownership. */
void tcp_input(struct pkt *p);
void udp_input(struct pkt *p);
void udplite_input(struct pkt *p);
/* An ICMP error about a packet we sent: err is the errno it means (-EMSGSIZE with mtu set for
 * fragmentation needed / packet too big); transport points at the first 8 bytes of its header. */
void tcp_icmp_error(const struct ip_addr *src, const struct ip_addr *dst, const uint8_t *transport,
                    int err, uint32_t mtu);
/* The path MTU that an ICMP error tells. The transport calls it, for errors about what it may have
 * sent (RFC 5927 7): a forged one would slow us down. bh context. */
void pmtu_learn(const struct ip_addr *dst, uint32_t mtu);
/* What an ICMP error, or a neighbour that does not answer, says of a packet that we sent. */
struct icmp_report {
    struct ip_addr src, dst; /* of our packet */
    uint8_t proto;
    const uint8_t *transport; /* what is known of it behind its IP headers */
    uint32_t len;             /* at least 8 */
    int err;                  /* negative errno */
    uint32_t mtu;             /* -EMSGSIZE */
    struct ip_addr offender;  /* who says so */
    uint8_t type, code;       /* as it said it */
};
void udp_icmp_error(const struct icmp_report *r);
/* An address was removed or an interface went away: connections bound to it may end. */
void tcp_init(void);
void udp_init(void);

/* Sends ICMP/ICMPv6 destination (port) unreachable about a received packet. */
void icmp_port_unreachable(const struct pkt *p);

#endif
