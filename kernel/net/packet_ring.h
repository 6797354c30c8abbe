/*
 * The receive ring of a packet socket (PACKET_RX_RING with TPACKET_V2; packet(7) and Linux's
 * packet_mmap.rst): frames of fixed size in memory that the program shares. It gives a frame back
 * by setting its status to 0. Nothing is believed that is read there: only the status is, and a
 * wrong one costs the program its own frames.
 */
#ifndef NET_PACKET_RING_H
#define NET_PACKET_RING_H

#include "net/pkt.h"

struct tpacket_req_k { /* struct tpacket_req */
    uint32_t block_size, block_count, frame_size, frame_count;
};

/* struct sockaddr_ll */
struct sockaddr_ll_k {
    uint16_t family;
    uint16_t protocol; /* big-endian */
    int32_t ifindex;
    uint16_t hatype;
    uint8_t pkttype, halen;
    uint8_t addr[8];
};

struct packet_ring {
    struct tpacket_req_k q;
    uint32_t frames_per_block;
    uint32_t head; /* the next frame */
    uint32_t pages_count;
    struct page *pages[]; /* referenced */
};

#define TPACKET2_HEADER 32u
#define RING_FRAME_HEADER 52u /* TPACKET2_HDRLEN: with a sockaddr_ll */

/* Checks what a program asks for. 0 or -EINVAL. */
int packet_ring_check(const struct tpacket_req_k *q, uint32_t reserve);
/* A ring over pages that the caller enters into ->pages. -ENOMEM through ERR_PTR. */
struct packet_ring *packet_ring_alloc(const struct tpacket_req_k *q);
void packet_ring_free(struct packet_ring *r);
/* Puts `n` bytes of the packet into the next frame. False: it is still the program's. `headers`:
 * bytes in front of the network header; `losing`: frames were lost. Under the socket's lock. */
bool packet_ring_put(struct packet_ring *r, const struct pkt *p, uint32_t n, uint32_t headers,
                     const struct sockaddr_ll_k *from, uint32_t reserve, bool losing);
/* Whether the program has a frame that it may read. */
bool packet_ring_readable(const struct packet_ring *r);

#endif
