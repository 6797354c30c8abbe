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
    /* 0; -EADDRINUSE: another domain's; -ETIMEDOUT, -EIO: nobody to ask. */
    int (*take)(uint8_t proto, uint16_t port);
    void (*give)(uint8_t proto, uint16_t port);
    /* A further range for outgoing connections. 0 or -errno. */
    int (*more)(uint16_t *first, uint16_t *last);
};

/* The interface's address is shared, outgoing connections have ports first..last. By the path,
 * once, before the interface has addresses. Thread context. */
void shared_start(struct netif *n, uint16_t first, uint16_t last);
/* From now on ports are claimed; before, all are taken to be ours. */
void shared_set_ops(const struct shared_ops *ops);

/* Brackets the binding of a port to an address of ours or to any, port not 0: begin makes sure that
 * the domain owns it. 0 or the error of take; after 0, end follows. Thread context, may sleep. */
int shared_bind_begin(uint8_t proto, const struct ip_addr *addr, uint16_t port);
void shared_bind_end(void);
/* The last socket, or TIME-WAIT entry, with this port is gone. Any context but hard interrupts. */
void shared_port_unused(uint8_t proto, uint16_t port);

/* The port tables say whether a socket, or a TIME-WAIT entry, has the port. Bottom halves enabled.
 */
bool tcp_port_in_use(uint16_t port);
bool udp_port_in_use(uint16_t port);

/* The ranges that outgoing connections and unbound sockets use; at least one, valid for ever. */
struct port_range {
    uint16_t first, last;
};
const struct port_range *port_ranges(unsigned *count);
/* Most of them are taken: asks for more, which come later. Any context but hard interrupts. */
void port_ranges_short(void);

/*
 * A packet that came back by the loopback and that no socket takes: p->data is the transport
 * header, p->l4 bytes of IP headers in front. True: taken, it belongs to another domain of the
 * shared address (or, in a network server, of the server). Else the caller answers and frees it.
 * Inside a batch.
 */
extern bool (*shared_unclaimed_hook)(struct pkt *p);
static inline bool shared_takes(struct pkt *p)
{
    return unlikely(shared_unclaimed_hook) && (p->flags & PKT_LOOPED) && shared_unclaimed_hook(p);
}
/* Makes the packet of the hook the Ethernet frame that a shared domain or the server sends to it
 * own address: MAC to MAC, checksum and segmentation as they were when it was sent. */
void shared_make_frame(struct netif *n, struct pkt *p);

#endif
