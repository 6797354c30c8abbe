/*
 * Packets in and out of a ring: one copy each way, between private pages and the shared region, or
 * on the way out a loan of the region. Used by both sides. bh context or bottom halves disabled.
 */
#ifndef CHANNEL_FRAME_H
#define CHANNEL_FRAME_H

#include "channel/ring.h"
#include "net/netif.h"

/* What packets into a ring may leave to be done (enum path_feature), of the channel's features. */
uint32_t channel_offloads(uint32_t features);
/* Copies a complete Ethernet frame into the ring with its offload metadata, which the other side
 * must have agreed to; the packet stays the caller's. 0; -EAGAIN: no room; -EMSGSIZE: no ring takes
 * it; -EPROTO: the ring is broken. */
int channel_put_pkt(struct channel_producer *p, const struct pkt *pkt);
/* A packet of a frame that was taken: headers in the linear part, payload in fragments. With
 * CHANNEL_CSUM_PARTIAL it is as it would be for transmission: PKT_CSUM_PARTIAL, csum_start and
 * csum_offset. NULL: out of memory. Releasing the frame is the caller's. */
struct pkt *channel_get_pkt(const struct channel_frame *f);

/* What a packet has a private copy of if the rest is lent: no less than anybody looks at. */
#define CHANNEL_LEND_COPIED (PKT_BUF - PKT_HEADROOM)
/* Shorter frames are copied: it costs less than a loan. */
#define CHANNEL_LEND_MIN 512u

/* The same, but what is behind its first CHANNEL_LEND_COPIED bytes is lent (net/pkt.h, PKT_LENT):
 * the frame must not be released until loan->refs is 0 again. The loan is not in use, its lender's
 * memory has the frame. */
struct pkt *channel_lend_pkt(const struct channel_frame *f, struct pkt_loan *loan);
/* Copies what is lent. False: out of memory, the packet is to be freed. */
bool channel_settle_pkt(struct pkt *p);

#endif
