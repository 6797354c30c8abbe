/* What the files that make up the IP layer share among themselves. */
#ifndef NET_IPIMPL_H
#define NET_IPIMPL_H

#include "net/neigh.h"
#include "net/stats.h"
#include "net/view.h"

#define IP4_HEADER 20u
#define IP6_HEADER 40u
#define IPPROTO_IGMP_N 2
#define IPPROTO_HOPOPTS_N 0
#define IPPROTO_ROUTING_N 43
#define IPPROTO_FRAGMENT_N 44
#define IPPROTO_NONE_N 59
#define IPPROTO_DSTOPTS_N 60
#define IP4_MIN_MTU 576u /* below that what a "fragmentation needed" says is not believed */
#define IP6_MIN_MTU 1280u

static inline void net_drop(struct pkt *p, enum net_stat why)
{
    net_count(why);
    pkt_free(p);
}

/* Transport input for a packet that is for us. Takes ownership. Inside a batch. */
void ip4_deliver(struct netif *n, struct pkt *p);
void icmp4_input(struct netif *n, struct pkt *p);
/* fragmented: it had a fragment header, which not every message may have. */
void icmp6_input(struct netif *n, struct pkt *p, bool fragmented);
void igmp_input(struct netif *n, struct pkt *p);
/* MLD queries, given by icmp6_input; p->data is the ICMPv6 header. Takes ownership. */
void mld_input(struct netif *n, struct pkt *p);
/* Neighbour discovery messages; the checksum is verified. Takes ownership. */
void nd_input(struct netif *n, struct pkt *p);

/* Sends ICMP errors about a packet as received: p->data behind the IP headers, p->l4 bytes of them
 * in front. Rate limited; none about errors, fragments but the first, multicast or broadcast (RFC
 * 1122 3.2.2, RFC 4443 2.4 e). p stays the caller's. */
void icmp4_error(const struct pkt *p, uint8_t type, uint8_t code, uint32_t rest);
void icmp6_error(const struct pkt *p, uint8_t type, uint8_t code, uint32_t rest);

/* Sends one ICMPv6 message without a route lookup, from src (which may be ::) through n: neighbour
 * discovery and MLD. p->data is the ICMPv6 header, its checksum is filled in here; hops: the hop
 * limit; router_alert: with that hop-by-hop option. Takes ownership. Inside a batch. */
int icmp6_send(struct netif *n, const struct ip_addr *src, const struct ip_addr *dst, uint8_t hops,
               bool router_alert, struct pkt *p);

/*
 * Reassembly (RFC 791, 815; RFC 8200 4.5). p->data is the fragment's payload, p->l4 its headers in
 * front; src, dst and proto are set. offset in bytes. Takes ownership. NULL until the datagram is
 * whole; then a packet of the same form. Inside a batch.
 */
struct pkt *reassemble(struct netif *n, struct pkt *p, uint32_t id, uint32_t offset, bool more);
void reassembly_init(void);

/* Path MTU (RFC 1191, RFC 8201): what ICMP told, forgotten after ten minutes. */
uint32_t pmtu_lookup(const struct ip_addr *dst, uint32_t mtu);
void pmtu_init(void);

/* Cuts a transport datagram into fragments and sends them. Takes ownership. */
int ip4_fragment(struct ip_flow *flow, struct pkt *p);
int ip6_fragment(struct ip_flow *flow, struct pkt *p);

/* A raw socket's look at a packet that is delivered: they get copies. True if there was one.
 * p->data is behind the IP headers. */
bool raw_deliver(const struct pkt *p);
extern atomic_int raw_socket_count[256];
/* Echo replies go to ping sockets by their id. */
bool ping_deliver(const struct pkt *p);
/* An error about a packet of a raw or ping socket. Inside a batch. */
void raw_icmp_error(const struct icmp_report *r);

/* An error quotes a packet of ours, from its IP header on: tells the transport. Of r the error and
 * who reports it are set. */
void icmp4_quoted(const uint8_t *ip, uint32_t len, struct icmp_report *r);
void icmp6_quoted(const uint8_t *ip, uint32_t len, struct icmp_report *r);

#endif
