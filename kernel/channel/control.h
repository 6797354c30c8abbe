/*
 * The control page of a channel: what a domain reads from it, checked (abi/channel.h, V1). And the
 * device it is reached by, as the channel's code sees it: kernel/drivers/ivshmem.c in a domain,
 * plain memory in the tests.
 */
#ifndef CHANNEL_CONTROL_H
#define CHANNEL_CONTROL_H

#include "abi/channel.h"
#include "core/base.h"

struct channel_device {
    uint8_t *mem;  /* the region, cached */
    paddr_t paddr; /* where other devices of the domain find it */
    uint64_t size;
    uint32_t id;      /* our peer id */
    unsigned vectors; /* interrupts we have */
    /* Rings vector `vector` of another peer; no harm if there is none. Any context. */
    void (*ring)(struct channel_device *dev, uint32_t peer, unsigned vector);
    /* Holds back our interrupts, or lets them through, one that was held back too. Any context.
     * NULL: it cannot be done. */
    void (*mask)(struct channel_device *dev, bool on);
};

static inline struct channel_control *channel_control(const struct channel_device *dev)
{
    return (struct channel_control *)dev->mem;
}
static inline struct channel_side *channel_side(const struct channel_device *dev, bool server)
{
    return (struct channel_side *)(dev->mem + (server ? 1 : 2) * CHANNEL_PAGE);
}

/* Reads and checks page 0; the layout and the features (as far as known) are then the caller's own.
 * -EPROTO: not a channel, or one that makes no sense; -EPROTONOSUPPORT: of another version. */
int channel_read_layout(const struct channel_device *dev, struct channel_layout *l,
                        uint32_t *features);
/* A copy of n bytes, whose first word is a sequence number that is odd while they are written, as
 * they were at one time. False: they are being written. */
bool channel_read_sequenced(const uint32_t *from, void *to, size_t n);
/* A copy of the grants as they were at one time, with values that can be used without further
 * checks of ranges: counts, prefixes, MTU. -EAGAIN: they are being written; -EPROTO: they make no
 * sense. */
int channel_read_grants(const struct channel_device *dev, struct channel_grants *g);
/* Answers the supervisor's heartbeat if it asked: a load when it did not. */
static inline void channel_answer_ping(const struct channel_device *dev, bool server)
{
    uint32_t ping = READ_ONCE(channel_control(dev)->ping);

    if (unlikely(ping != READ_ONCE(channel_side(dev, server)->pong)))
        WRITE_ONCE(channel_side(dev, server)->pong, ping);
}

#endif
