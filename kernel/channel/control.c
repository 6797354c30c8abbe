/* Reading a channel's control page (channel/control.h). */
#include "channel/control.h"

#define MTU_MIN 1280u /* RFC 8200, section 5 */
#define SEQUENCED_READS 8

int channel_read_layout(const struct channel_device *dev, struct channel_layout *l,
                        uint32_t *features)
{
    const struct channel_control *c = channel_control(dev);

    if (dev->size < CHANNEL_CONTROL_PAGES * CHANNEL_PAGE ||
        __atomic_load_n(&c->magic, __ATOMIC_ACQUIRE) != CHANNEL_MAGIC)
        return -EPROTO;
    if (READ_ONCE(c->version) != CHANNEL_VERSION)
        return -EPROTONOSUPPORT;
    if (READ_ONCE(c->size) != dev->size ||
        !channel_layout(l, dev->size, READ_ONCE(c->queues), READ_ONCE(c->slots)))
        return -EPROTO;
    *features = READ_ONCE(c->features) & CHANNEL_FEATURES;
    return 0;
}

bool channel_read_sequenced(const uint32_t *from, void *to, size_t n)
{
    for (int i = 0; i < SEQUENCED_READS; i++) {
        uint32_t before = __atomic_load_n(from, __ATOMIC_ACQUIRE);
        memcpy(to, from, n);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before % 2 == 0 && __atomic_load_n(from, __ATOMIC_RELAXED) == before)
            return true;
    }
    return false;
}

static bool grants_valid(const struct channel_grants *g)
{
    if (g->mode != CHANNEL_SHARED && g->mode != CHANNEL_DEDICATED)
        return false;
    return g->mtu >= MTU_MIN && g->ipv4_prefix <= 32 && g->ipv6_prefix <= 128 &&
           g->ephemeral_first <= g->ephemeral_last && !(g->mac[0] & 1);
}

int channel_read_grants(const struct channel_device *dev, struct channel_grants *g)
{
    if (!channel_read_sequenced(&channel_control(dev)->grants.sequence, g, sizeof(*g)))
        return -EAGAIN;
    return grants_valid(g) ? 0 : -EPROTO;
}
