/* A UDP datagram that is put together from several sends (MSG_MORE, UDP_CORK; udp(7)). */
#ifndef NET_UDPCORK_H
#define NET_UDPCORK_H

#include "core/lock.h"
#include "net/socket.h"

struct udp_cork {
    struct mutex lock; /* held from the first part's arrival on until what is to be done is done */
    bool on;           /* UDP_CORK */
    uint8_t *data;     /* NULL: nothing is pending */
    size_t len;
    struct sock_addr to; /* the first part's destination */
};

void udp_cork_init(struct udp_cork *c);
static inline bool udp_cork_pending(const struct udp_cork *c)
{
    return READ_ONCE(c->data);
}
/* Appends what the program has. -EMSGSIZE, -ENOMEM, -EFAULT: then what was pending is lost, as on
 * Linux. Lock held, thread context. */
int udp_cork_add(struct udp_cork *c, struct uio *u, const struct sock_addr *to);
/* The whole, to be copied from while the lock is held, and where it goes. */
struct uio udp_cork_data(struct udp_cork *c, struct iovec_k *seg, struct sock_addr *to);
/* Nothing is pending any more. */
void udp_cork_drop(struct udp_cork *c);

#endif
