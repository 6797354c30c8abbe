/* Send buffers of datagram sockets (net/sendbuf.h). */
#include "net/sendbuf.h"

#include "fs/file.h"

#define SENDBUF_AWAITED (1ull << 63)
#define USED(state) ((uint32_t)((state) & ~SENDBUF_AWAITED))

static bool roomy(const struct send_buffer *b, uint64_t state)
{
    return USED(state) <= READ_ONCE(b->socket->sndbuf) / 2;
}

void send_buffer_init(struct send_buffer *b, struct socket *s,
                      void (*release)(struct send_buffer *b))
{
    atomic_init(&b->state, 1);
    b->socket = s;
    b->release = release;
}

void send_buffer_charge(struct send_buffer *b, struct pkt *p)
{
    p->payer = b;
    p->charge = pkt_cost(p);
    atomic_fetch_add(&b->state, p->charge);
}

/*
 * Takes n off. Nothing of the socket may be touched after its last byte is gone, so while somebody
 * is woken a byte stays; taking it off too, we see if he has already come back in vain.
 */
static void subtract(struct send_buffer *b, uint32_t n)
{
    uint64_t old = atomic_load(&b->state), new;

    for (;;) {
        new = old - n;
        bool wake = (new &SENDBUF_AWAITED) && roomy(b, new);
        if (unlikely(wake))
            new = (new & ~SENDBUF_AWAITED) + 1;
        if (!atomic_compare_exchange_weak(&b->state, &old, new))
            continue;
        if (likely(!wake))
            break;
        wake_up_key(&b->socket->wait, POLL_OUT | POLL_WRNORM);
        n = 1;
        old = atomic_load(&b->state);
    }
    if (!new)
        b->release(b);
}

void send_buffer_close(struct send_buffer *b)
{
    subtract(b, 1);
}

void send_buffer_charge_part(struct pkt *part, const struct pkt *of)
{
    if (of->payer)
        send_buffer_charge(of->payer, part);
}

void send_buffer_pay_back(struct pkt *p)
{
    struct send_buffer *b = p->payer;

    p->payer = NULL;
    subtract(b, p->charge);
}

uint32_t send_buffer_used(const struct send_buffer *b)
{
    return USED(atomic_load(&b->state)) - 1;
}

bool send_buffer_full(const struct send_buffer *b)
{
    return send_buffer_used(b) >= READ_ONCE(b->socket->sndbuf);
}

bool send_buffer_roomy(const struct send_buffer *b)
{
    return roomy(b, atomic_load(&b->state));
}

bool send_buffer_await(struct send_buffer *b)
{
    return send_buffer_roomy(b) || roomy(b, atomic_fetch_or(&b->state, SENDBUF_AWAITED));
}

bool send_buffer_awaited(const struct send_buffer *b)
{
    return atomic_load(&b->state) & SENDBUF_AWAITED;
}

void send_buffer_recheck(struct send_buffer *b)
{
    atomic_fetch_add(&b->state, 1);
    subtract(b, 1);
}
