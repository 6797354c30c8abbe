/*
 * Packet sockets (packet(7)): frames as they come in and go out, with or without their Ethernet
 * header, and frames to be sent. Frames are queued like datagrams, or put into a ring that the
 * program has mapped (net/packet_ring.h).
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include "net/dgram.h"
#include "net/packet_ring.h"

#define ETH_TYPE_ALL 3u /* ETH_P_ALL: whatever the protocol */

/* sll_pkttype */
enum { FRAME_TO_US, FRAME_BROADCAST, FRAME_MULTICAST, FRAME_OTHER_HOST, FRAME_OUTGOING };

struct packet_socket {
    struct dgram_socket d; /* first: dgram's free releases it; local.scope: the interface, 0: any */
    uint16_t protocol;     /* 0: nothing is received */
    bool cooked;           /* SOCK_DGRAM: without the Ethernet header */
    bool auxdata, ignore_outgoing;
    uint64_t seen;    /* that passed the filter, since PACKET_STATISTICS was read; under d.s.lock */
    uint64_t lost;    /* of them, that found no room */
    uint16_t reserve; /* PACKET_RESERVE */
    uint8_t version;  /* of the ring's headers: 0 or TPACKET_V2 (1) */
    struct packet_ring *ring;
    int promiscuous[4]; /* interfaces it has made promiscuous; 0: free */
};

static inline struct packet_socket *packet_of(struct socket *s)
{
    return container_of(dgram_of(s), struct packet_socket, d);
}

/* How many packet sockets there are: nobody looks at frames for them if there are none. */
extern atomic_int packet_socket_count;

/* A frame, Ethernet header first, that came in on n, or that n is about to send. The frame stays
 * the caller's. Inside a batch. */
void packet_tap(struct netif *n, const struct pkt *frame, bool outgoing);

/* A new socket. -ENOMEM. */
int packet_socket_create(int type, uint16_t protocol, struct socket **out);
/* ifindex 0: any. -ENODEV. */
int packet_bind(struct packet_socket *ps, int ifindex, uint16_t protocol);
/* Sends one frame; cooked: to this address with this protocol. -ENXIO (no interface), -ENETDOWN,
 * -EMSGSIZE, -EINVAL, and dgram_copy_in's errors. */
ssize_t packet_send(struct packet_socket *ps, struct uio *u, int ifindex, uint16_t protocol,
                    const uint8_t mac[MAC_LEN], unsigned flags);
unsigned packet_poll(struct packet_socket *ps);
/* Makes the interface receive everything, until undone or the socket ends. -ENODEV, -ENOBUFS;
 * undoing what was not done is no error. */
int packet_promiscuous(struct packet_socket *ps, int ifindex, bool on);
/* The counts since the last time. */
void packet_statistics(struct packet_socket *ps, uint32_t *seen, uint32_t *lost);
/* Exchanges the ring (NULL: none); the old one, to be freed. */
struct packet_ring *packet_set_ring(struct packet_socket *ps, struct packet_ring *ring);
void packet_close(struct packet_socket *ps);
void packet_init(void);

#endif
