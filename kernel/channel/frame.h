/*
 * Packets in and out of a ring: one copy each way, between private pages and the shared region.
 * Used by both sides. bh context or bottom halves disabled.
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

#endif
