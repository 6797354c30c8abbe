/*
 * Error queues of datagram sockets (IP_RECVERR, IPV6_RECVERR; ip(7)): what ICMP said of a datagram
 * that was sent is queued together with what it quotes of it. An error that is read from the queue
 * is no longer pending as SO_ERROR; the next one is.
 */
#include "fs/file.h"
#include "net/dgram.h"
#include "net/ipimpl.h"

#define PMTUDISC_DONT 0

static uint64_t pack(const struct sock_error *e)
{
    return (uint64_t)e->err | (uint64_t)e->origin << 8 | (uint64_t)e->type << 16 |
           (uint64_t)e->code << 24;
}

static struct sock_error unpack(const struct pkt *p)
{
    uint64_t v = p->cb[CB_ERROR];

    return (struct sock_error){.err = (uint8_t)v,
                               .origin = (uint8_t)(v >> 8),
                               .type = (uint8_t)(v >> 16),
                               .code = (uint8_t)(v >> 24),
                               .info = (uint32_t)p->cb[CB_ERROR_INFO],
                               .offender = p->dst};
}

/* With the socket's lock held. Errors that do not fit are lost, as on Linux. */
static void enqueue(struct dgram_socket *d, const struct sock_error *e, const struct sock_addr *to,
                    const uint8_t *payload, uint32_t n)
{
    struct pkt *p = pkt_alloc(0);

    if (!p)
        return;
    pkt_append(p, payload, MIN(n, (uint32_t)PKT_BUF));
    p->src = to->ip;
    p->dst = e->offender;
    p->cb[CB_PORT] = to->port;
    p->cb[CB_ERROR] = pack(e);
    p->cb[CB_ERROR_INFO] = e->info;
    if (d->rmem + pkt_cost(p) > d->s.rcvbuf) {
        pkt_free(p);
        return;
    }
    d->rmem += pkt_cost(p);
    pkt_queue_push(&d->errors, p);
}

void dgram_report(struct dgram_socket *d, const struct sock_error *e, const struct sock_addr *to,
                  const uint8_t *payload, uint32_t n, bool final)
{
    struct socket *s = &d->s;

    if (!s->recverr && (!final || !d->connected))
        return;
    spin_lock(&s->lock);
    if (s->recverr)
        enqueue(d, e, to, payload, n);
    WRITE_ONCE(s->error, e->err);
    spin_unlock(&s->lock);
    wake_up_key(&s->wait, POLL_ERR | POLL_IN);
}

bool dgram_final_error(const struct socket *s, int err)
{
    return err == -ECONNREFUSED || err == -ENOPROTOOPT || err == -EPROTO || err == -EACCES ||
           (err == -EMSGSIZE && s->mtu_discover != PMTUDISC_DONT);
}

void dgram_icmp_error(struct dgram_socket *d, const struct icmp_report *r, uint16_t port,
                      uint32_t header)
{
    bool v4 = ip_is_v4(&r->dst);
    struct sock_error e = {.err = (uint8_t)-r->err,
                           .origin = v4 ? ERROR_ICMP : ERROR_ICMP6,
                           .type = r->type,
                           .code = r->code,
                           .info = r->mtu,
                           .offender = ip_is_any(&r->offender) ? r->src : r->offender};
    struct sock_addr to = {.ip = r->dst, .port = port};

    if (r->err == -EMSGSIZE)
        pmtu_learn(&r->dst, r->mtu);
    if (r->err == -EMSGSIZE && d->s.mtu_discover == PMTUDISC_DONT)
        return; /* the datagram will be cut */
    dgram_report(d, &e, &to, r->transport + header, r->len - header,
                 dgram_final_error(&d->s, r->err));
}

ssize_t dgram_recv_error(struct dgram_socket *d, struct uio *u, struct sock_recv_info *info,
                         unsigned flags)
{
    struct socket *s = &d->s;

    spin_lock_bh(&s->lock);
    struct pkt *p = pkt_queue_pop(&d->errors);
    if (p) {
        d->rmem -= pkt_cost(p);
        s->error = d->errors.head ? unpack(d->errors.head).err : 0;
    }
    spin_unlock_bh(&s->lock);
    if (!p)
        return -EAGAIN;
    info->error = unpack(p);
    info->from = (struct sock_addr){.ip = p->src, .port = (uint16_t)p->cb[CB_PORT]};
    info->flags |= SOCK_MSG_ERRQUEUE;
    size_t n = MIN((size_t)p->len, u->resid);
    if (n < p->len)
        info->flags |= SOCK_MSG_TRUNC;
    ssize_t result = flags & SOCK_MSG_TRUNC ? (ssize_t)p->len : (ssize_t)n;
    int err = dgram_copy_out(u, p, 0, n);
    pkt_free(p);
    return err ? err : result;
}

void dgram_drop_errors(struct dgram_socket *d)
{
    spin_lock_bh(&d->s.lock);
    for (struct pkt *p; (p = pkt_queue_pop(&d->errors));) {
        d->rmem -= pkt_cost(p);
        pkt_free(p);
    }
    spin_unlock_bh(&d->s.lock);
}
