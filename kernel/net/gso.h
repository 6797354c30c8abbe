/* What a path cannot do is done in software before the packet reaches it. */
#ifndef NET_GSO_H
#define NET_GSO_H

#include "net/netif.h"

/* The features (enum path_feature) that a path needs in order to take the packet as it is. A path
 * that lacks PATH_SG copies the packet together with pkt_copy_out: no packet is without fragments
 * once it is larger than its linear buffer. */
static inline uint32_t pkt_needs(const struct pkt *p)
{
    static const uint8_t gso_needs[] = {0, PATH_TSO4, PATH_TSO6, PATH_USO};

    return (p->flags & PKT_CSUM_PARTIAL) | gso_needs[p->gso];
}

/* Makes a list of packets (linked by next, in order) that need nothing but `features` out of a
 * complete Ethernet frame; takes ownership. NULL (and counted) when out of memory or malformed. */
struct pkt *gso_split(struct pkt *p, uint32_t features);
/* Fills in the checksum that PKT_CSUM_PARTIAL asks for. False if the offsets lie outside. */
bool pkt_csum_complete(struct pkt *p);

#endif
