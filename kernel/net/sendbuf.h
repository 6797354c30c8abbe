/*
 * Send buffers of datagram sockets. A packet that a socket sends is charged to the socket until it
 * is freed, wherever that is: by the driver that is done with it, or where it is dropped. Only the
 * loopback ends the charge when it takes the packet, since its receiver may be the sender.
 *
 * Charges outlive the socket's last reference: the memory it is in is released with the last of
 * them.
 */
#ifndef NET_SENDBUF_H
#define NET_SENDBUF_H

#include "net/pkt.h"
#include "net/socket.h"

struct send_buffer {
    /* Bytes charged, one for the socket itself, and SENDBUF_AWAITED: in one word, so that whoever
     * frees a packet need not look for anybody who waits, and cannot miss him. */
    _Atomic uint64_t state;
    struct socket *socket; /* has the limit, and those who wait */
    void (*release)(struct send_buffer *b);
};

/* release is called when the socket is gone (send_buffer_close) and so are all its packets. */
void send_buffer_init(struct send_buffer *b, struct socket *s,
                      void (*release)(struct send_buffer *b));
void send_buffer_close(struct send_buffer *b);

/* Charges a complete packet that has no payer yet. */
void send_buffer_charge(struct send_buffer *b, struct pkt *p);
/* A packet made out of another one is charged as that one is. */
void send_buffer_charge_part(struct pkt *part, const struct pkt *of);

uint32_t send_buffer_used(const struct send_buffer *b);
/* Not a byte is left: the next packet has to wait. */
bool send_buffer_full(const struct send_buffer *b);
/* Half of it is free: whoever waited goes on. So he sleeps and is woken once for many packets. */
bool send_buffer_roomy(const struct send_buffer *b);
/* The same; if it isn't, the socket's waiters are woken with POLL_OUT once it is. */
bool send_buffer_await(struct send_buffer *b);
bool send_buffer_awaited(const struct send_buffer *b);
/* After the limit has grown: wakes those who wait if there is room now. */
void send_buffer_recheck(struct send_buffer *b);

#endif
