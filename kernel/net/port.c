/* Ephemeral ports (net/port.h). */
#include "net/port.h"

#include "core/rand.h"
#include "net/socket.h"

#define COUNTERS 64u

uint16_t port_choose(const struct ip_addr *local, const struct ip_addr *remote,
                     uint16_t remote_port, bool (*usable)(uint16_t port, void *arg), void *arg)
{
    static uint64_t key[2];
    static atomic_uint counters[COUNTERS];
    uint32_t low = net_tunables.port_min, range = net_tunables.port_max - low + 1u;
    uint32_t offset;
    atomic_uint *counter = NULL;

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
        uint16_t port = (uint16_t)(low + (offset + i) % range);
        if (usable(port, arg)) {
            if (counter)
                atomic_fetch_add_explicit(counter, i + 1, memory_order_relaxed);
            return port;
        }
    }
    return 0;
}
