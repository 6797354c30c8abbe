/* Ephemeral ports (net/port.h). */
#include "net/port.h"

#include "net/shared.h"

#include "core/rand.h"
#include "net/socket.h"

#define COUNTERS 64u

static uint32_t size_of(const struct port_range *r)
{
    return r->first <= r->last ? (uint32_t)r->last - r->first + 1 : 0;
}

/* The i-th port of the ranges. */
static uint16_t nth_port(const struct port_range *r, uint32_t i)
{
    for (; i >= size_of(r); r++)
        i -= size_of(r);
    return (uint16_t)(r->first + i);
}

uint16_t port_choose(const struct ip_addr *local, const struct ip_addr *remote,
                     uint16_t remote_port, bool (*usable)(uint16_t port, void *arg), void *arg)
{
    static uint64_t key[2];
    static atomic_uint counters[COUNTERS];
    struct port_range ranges[PORT_RANGES_MAX];
    unsigned count = port_ranges(ranges);
    uint32_t offset, range = 0;
    atomic_uint *counter = NULL;

    for (unsigned i = 0; i < count; i++)
        range += size_of(&ranges[i]);
    if (!key[0])
        rand_bytes(key, sizeof(key));
    if (remote) {
        uint64_t words[5] = {local->q[0], local->q[1], remote->q[0], remote->q[1], remote_port};
        uint64_t hash = siphash(words, sizeof(words), key);
        counter = &counters[(hash >> 32) % COUNTERS];
        offset = (uint32_t)hash + atomic_load_explicit(counter, memory_order_relaxed);
    } else {
        offset = rand_u32();
    }
    for (uint32_t i = 0; i < range; i++) {
        uint16_t port = nth_port(ranges, (offset + i) % range);
        if (usable(port, arg)) {
            if (counter)
                atomic_fetch_add_explicit(counter, i + 1, memory_order_relaxed);
            if (i > range / 4)
                port_ranges_short();
            return port;
        }
    }
    port_ranges_short();
    return 0;
}
