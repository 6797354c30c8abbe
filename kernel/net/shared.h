/*
 * A shared address: one IP address that many domains have, told apart by the ports that each owns
 * (docs/network-server.md). In an application domain behind a network server that has granted it
 * one, this file claims ports before they are bound, gives them back, keeps the ranges that
 * outgoing connections use, and sends what is for another domain of the same address to the server.
 *
 * Without a shared address nothing here does anything.
 */
#ifndef NET_SHARED_H
#define NET_SHARED_H

#include "net/ip.h"

/* How ports are claimed: the control channel provides it. All may sleep. */
struct shared_ops {
    /* 0; -EADDRINUSE: another domain's; -ETIMEDOUT, -EIO: nobody to ask; -EADDRNOTAVAIL: refused
     * for another reason. */
    int (*take)(uint8_t proto, uint16_t port);
    void (*give)(uint8_t proto, uint16_t port);
    /* A further range for outgoing connections. 0 or -errno. */
    int (*more)(uint16_t *first, uint16_t *last);
};

/* The interface's address is shared, outgoing connections have ports first..last (0, 0: none yet).
 * By the path, before the interface has addresses; one interface of a domain can be so. Thread
 * context. */
void shared_start(struct netif *n, uint16_t first, uint16_t last);
/* Another first range was granted in place of the former one. Any context but hard interrupts. */
void shared_set_range(uint16_t first, uint16_t last);
/* From now on ports are claimed; before, all are taken to be ours. */
void shared_set_ops(const struct shared_ops *ops);

/* Brackets the binding of a port to an address of ours or to any, port not 0: begin makes sure that
 * the domain owns it. 0 or the error of take; after 0, end follows with the same arguments and how
 * the binding ended: a port that was claimed in vain is given back. Thread context, may sleep. */
int shared_bind_begin(uint8_t proto, const struct ip_addr *addr, uint16_t port);
void shared_bind_end(uint8_t proto, const struct ip_addr *addr, uint16_t port, int err);
/* The last socket, or TIME-WAIT entry, with this port is gone. Any context but hard interrupts. */
void shared_port_unused(uint8_t proto, uint16_t port);

/* The port tables say whether a socket, or a TIME-WAIT entry, has the port. Bottom halves enabled.
 */
bool tcp_port_in_use(uint16_t port);
bool udp_port_in_use(uint16_t port);

/* Ports first..last; first > last: none. Aligned, since it is replaced while others read it. */
struct port_range {
    uint16_t first, last;
} __attribute__((aligned(4)));
#define PORT_RANGES_MAX 32u
/* A copy of the ranges that outgoing connections and unbound sockets use; their number. */
unsigned port_ranges(struct port_range out[PORT_RANGES_MAX]);
/* Most of them are taken: asks for more, which come later. Any context but hard interrupts. */
void port_ranges_short(void);
/* After a search in vain: waits for what port_ranges_short has asked for. True: try again. Thread
 * context. */
bool port_ranges_grow(void);

/*
 * A packet that came back by the loopback and that no socket takes: p->data is the transport
 * header, p->l4 bytes of IP headers in front. True: it is another domain's of the shared address
 * (of the server's domains, in a network server), and ownership has passed. False: the packet is
 * untouched, the caller answers and frees it. Inside a batch. NULL: there is no shared address.
 */
extern bool (*shared_unclaimed_hook)(struct pkt *p);
static inline bool shared_takes(struct pkt *p)
{
    return unlikely(shared_unclaimed_hook) && (p->flags & PKT_LOOPED) && shared_unclaimed_hook(p);
}
/* Makes the packet of the hook the Ethernet frame that a shared domain or the server sends to
 * its own address: MAC to MAC, checksum and segmentation as they were when it was sent. */
void shared_make_frame(struct netif *n, struct pkt *p);

#endif
