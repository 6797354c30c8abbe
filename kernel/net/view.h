/*
 * The view: an immutable picture of all addresses and routes that the data path reads without a
 * lock.
 *
 * Writers change the interfaces' address lists and the route list under net_config_lock, then
 * publish a new view; the old one is freed when no batch can still be looking at it. Every
 * publication changes net_generation, so flows look up their route again.
 */
#ifndef NET_VIEW_H
#define NET_VIEW_H

#include "net/ip.h"

struct view_addr {
    struct ip_addr addr;
    struct netif *netif;
    uint32_t broadcast; /* IPv4: of the subnet; 0: none */
    uint8_t prefix;     /* bits of 128 */
    uint8_t state;      /* enum addr_state */
    /* As they were when this view was made. */
    nsec_t valid_until, preferred_until;
};

struct view_route {
    struct ip_addr mask, value; /* matches dst if (dst & mask) == value */
    struct ip_addr gateway;     /* any: on the link */
    struct netif *netif;
    uint32_t metric;
    uint16_t mtu;   /* 0: the interface's */
    uint8_t prefix; /* bits of 128 */
    uint8_t origin; /* enum route_origin */
};

struct view {
    struct net_garbage garbage;
    uint64_t own; /* bit n: one of our addresses, or broadcast addresses, ends in n modulo 64 */
    int naddrs, nroutes;
    struct view_addr *addrs;
    struct view_route *routes; /* longest prefix first, then lowest metric */
};

/* The current view; valid until the end of the batch. Inside a batch. */
const struct view *net_view(void);
/* Builds and publishes a new view. net_config_lock held. -ENOMEM: the old view stays. */
int view_publish(void);
/* Only the generation: what flows cached of paths changed. Any context. */
void view_touch(void);

/* The entry of one of our addresses, or NULL; netif NULL: on any interface. Inside a batch. */
const struct view_addr *view_local(const struct view *v, const struct netif *n,
                                   const struct ip_addr *a);
/* Whether a packet that a wire brought to n says that it is from one of our addresses, or from a
 * broadcast address. Those who share an address, or are behind us, may say the former. Inside a
 * batch. */
bool view_is_forged(const struct view *v, const struct netif *n, const struct ip_addr *src);
/* The same, quickly false for nearly all. */
static inline bool view_forged(const struct view *v, const struct netif *n,
                               const struct ip_addr *src)
{
    return unlikely(v->own >> (src->b[15] & 63) & 1) && view_is_forged(v, n, src);
}
/* The best route to dst through netif (NULL: any), or NULL. Inside a batch. */
const struct view_route *view_route(const struct view *v, const struct netif *n,
                                    const struct ip_addr *dst);
/* The source address for dst when sent through n (RFC 6724 section 5, without policy labels), or
 * NULL. Inside a batch. */
const struct view_addr *view_source(const struct view *v, const struct netif *n,
                                    const struct ip_addr *dst);

/* The mask of the first `bits` bits. */
struct ip_addr ip_mask(unsigned bits);
/* A prefix length as people write it (0..32 for IPv4) in bits of 128. */
static inline unsigned ip_prefix_bits(const struct ip_addr *a, unsigned prefix)
{
    return ip_is_v4(a) ? prefix + 96 : prefix;
}

/* --- routes ----------------------------------------------------------------------------------- */

/* ROUTE_CONNECTED: of an address's own prefix, in views only. */
enum route_origin { ROUTE_STATIC, ROUTE_DHCP, ROUTE_RA, ROUTE_CONNECTED };

struct route {
    struct list link;
    struct ip_addr dst, gateway;
    struct netif *netif;
    uint32_t metric;
    uint16_t mtu;
    uint8_t prefix; /* as written: 0..32 or 0..128 */
    uint8_t origin; /* enum route_origin */
};

/* Adds a route, or replaces the one with the same destination, interface and gateway. gateway NULL:
 * on the link. -EINVAL, -ENOMEM. Any context but hard interrupts. */
int route_add(struct netif *n, const struct ip_addr *dst, uint8_t prefix,
              const struct ip_addr *gateway, uint32_t metric, enum route_origin origin);
/* -ESRCH if there is none. */
int route_del(struct netif *n, const struct ip_addr *dst, uint8_t prefix,
              const struct ip_addr *gateway);
/* All of an interface that have this origin. */
void route_flush(struct netif *n, enum route_origin origin);
/* The routes of the view, connected ones included, as view_route; stops when fn returns false. */
void route_for_each(bool (*fn)(const struct view_route *r, void *arg), void *arg);

#endif
