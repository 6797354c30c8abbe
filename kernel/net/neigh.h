/*
 * Neighbours: link-layer addresses of the hosts on our links, learned with ARP (IPv4) and neighbour
 * discovery (IPv6). One table over both; states and timers are those of RFC 4861 7.3.
 */
#ifndef NET_NEIGH_H
#define NET_NEIGH_H

#include "core/deferred.h"
#include "net/ether.h"
#include "net/ip.h"

enum neigh_state {
    NEIGH_INCOMPLETE, /* being resolved; packets are queued */
    NEIGH_FAILED,     /* did not answer */
    NEIGH_STALE,      /* known; to be verified when next used */
    /* from here on packets are sent without a further look */
    NEIGH_REACHABLE,
    NEIGH_DELAY, /* used while stale; wait for a hint from above before probing */
    NEIGH_PROBE,
    NEIGH_PERMANENT, /* computed (multicast, broadcast, loopback) */
};

struct neighbour {
    struct list link; /* in its hash bucket, under the bucket's lock */
    refcount_t refs;  /* flows, and the table */
    uint8_t state;    /* enum neigh_state; written under lock */
    bool router;      /* said so in a neighbour advertisement */
    bool dead;        /* taken out of the table */
    uint8_t probes;   /* sent in this state */
    struct netif *netif;
    /* The Ethernet header of packets to it: destination and the first two bytes of the source in
     * one word, so that a change of the address is seen as a whole. */
    union {
        uint8_t b[16];
        uint64_t q[2];
    } header;
    struct ip_addr addr;
    nsec_t confirmed; /* last proof of reachability */
    nsec_t updated;   /* last change of state */
    spinlock_t lock;  /* bh */
    struct timer timer;
    struct pkt_queue queue; /* frames that wait for the address */
    struct net_garbage garbage;
};

/* The neighbour, made if need be, with a reference; NULL when the table is full of neighbours in
 * use or memory is short. Bottom halves disabled. */
struct neighbour *neighbour_get(struct netif *n, const struct ip_addr *addr);
void neighbour_put(struct neighbour *nb);

/* The slow half of neighbour_output. */
int neighbour_resolve(struct neighbour *nb, struct pkt *p);

/* Sends a frame whose Ethernet header has been copied from nb->header; takes ownership. 0 (also
 * when it is queued), -EHOSTUNREACH, -ENOBUFS. Inside a batch. */
static inline int neighbour_output(struct neighbour *nb, struct pkt *p)
{
    if (unlikely(READ_ONCE(nb->state) < NEIGH_REACHABLE))
        return neighbour_resolve(nb, p);
    netif_transmit(nb->netif, p);
    return 0;
}

/* Flags of neighbour_learn. */
#define LEARN_CREATE 1u    /* make an entry if there is none */
#define LEARN_SOLICITED 2u /* proof of reachability: an answer to our question */
#define LEARN_OVERRIDE 4u  /* a different address replaces the known one */
#define LEARN_ROUTER 8u    /* it says that it is a router ... */
#define LEARN_HOST 16u     /* ... or that it is not */

/* What an ARP or ND message says of a neighbour (RFC 4861 7.2.5); mac NULL: not its address. Inside
 * a batch. */
void neighbour_learn(struct netif *n, const struct ip_addr *addr, const uint8_t *mac,
                     unsigned flags);
/* The interface's own address changed: headers are made anew. */
void neighbour_refresh(struct netif *n);
/* Forgets all neighbours of the interface (NULL: of all). */
void neighbour_flush(struct netif *n);
void neighbour_for_each(bool (*fn)(const struct neighbour *nb, void *arg), void *arg);

/* Asks for the address: broadcast or multicast, or unicast to verify. Inside a batch. */
void arp_solicit(struct netif *n, const struct ip_addr *target, const uint8_t *unicast);
void nd_solicit(struct netif *n, const struct ip_addr *target, const uint8_t *unicast);
/* Gratuitous ARP for one of our addresses (RFC 5227 ARP announcement). Inside a batch. */
void arp_announce(struct netif *n, const struct ip_addr *addr);
/* Unsolicited neighbour advertisement (RFC 4861 7.2.6). */
void nd_announce(struct netif *n, const struct ip_addr *addr);

/* A queued frame could not be sent: tells the socket. Takes ownership. */
void ip_report_unreachable(struct pkt *frame);

#endif
