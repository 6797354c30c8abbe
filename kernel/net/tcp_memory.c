/*
 * What TCP's queues hold, of all connections, and what follows from it.
 *
 * Buffer sizes bound a connection; this bounds their sum, to a quarter of memory. From half of that
 * on (LOW) buffers grow no further and windows stay small; at the limit (FULL) a connection may
 * hold little more than what it needs to go on: unread data make room for no more, new connections
 * are refused and orphans are given up.
 *
 * Each CPU counts for itself; the sum is looked at each time such a count has moved by 256 KiB.
 */
#include "core/mem.h"
#include "net/tcp.h"

#define SHARE 4 /* of memory */

PERCPU int64_t tcp_memory_here;
uint64_t tcp_memory_limit;
static enum tcp_memory state;

uint64_t tcp_memory_held(void)
{
    int64_t sum = 0;

    for (int cpu = 0; cpu < cpu_count; cpu++)
        sum += READ_ONCE(*cpu_local_of(tcp_memory_here, cpu));
    return sum > 0 ? (uint64_t)sum : 0;
}

enum tcp_memory tcp_memory_update(void)
{
    uint64_t held = tcp_memory_held();
    enum tcp_memory now = held >= tcp_memory_limit       ? TCP_MEMORY_FULL
                          : held >= tcp_memory_limit / 2 ? TCP_MEMORY_LOW
                                                         : TCP_MEMORY_OK;

    if (now > state)
        net_count(NET_TcpExt_TCPMemoryPressures);
    WRITE_ONCE(state, now);
    return now;
}

enum tcp_memory tcp_memory(void)
{
    /* A shortage may be over without anything having been counted here. */
    return likely(READ_ONCE(state) == TCP_MEMORY_OK) ? TCP_MEMORY_OK : tcp_memory_update();
}

void tcp_memory_init(void)
{
    struct mem_stats m;

    mem_stats(&m);
    tcp_memory_limit = m.total_pages * PAGE_SIZE / SHARE;
}
