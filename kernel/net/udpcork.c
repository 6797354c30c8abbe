/* Datagrams in parts (net/udpcork.h). */
#include "net/udpcork.h"

#define CORK_MAX 65507u /* payload over IPv4 */

void udp_cork_init(struct udp_cork *c)
{
    mutex_init(&c->lock);
}

int udp_cork_add(struct udp_cork *c, struct uio *u, const struct sock_addr *to)
{
    size_t n = u->resid;
    int err = 0;

    if (!c->data) {
        uint8_t *data = kmalloc(CORK_MAX);
        if (!data)
            return -ENOMEM;
        c->len = 0;
        c->to = *to;
        WRITE_ONCE(c->data, data);
    }
    if (n > CORK_MAX - c->len)
        err = -EMSGSIZE;
    else
        err = uio_read(c->data + c->len, n, u);
    if (err)
        udp_cork_drop(c);
    else
        c->len += n;
    return err;
}

struct uio udp_cork_data(struct udp_cork *c, struct iovec_k *seg, struct sock_addr *to)
{
    *to = c->to;
    return uio_kernel(seg, c->data, c->len);
}

void udp_cork_drop(struct udp_cork *c)
{
    kfree(c->data);
    WRITE_ONCE(c->data, NULL);
}
