/*
 * Ports of a shared address (net/shared.h).
 *
 * A port is held from the claim until no socket has it any more; then a work item gives it back,
 * unless a socket came in between. Binds that are under way hold that off: they have asked, and
 * have not entered the port table yet.
 */
#include "net/shared.h"

#include "core/deferred.h"
#include "net/ether.h"
#include "net/socket.h"
#include "net/tcp.h"
#include "net/view.h"

#define MAX_RANGES 32u
#define PORTS 65536u

enum { TCP, UDP, PROTOCOLS };

static struct {
    struct netif *netif; /* NULL: no shared address */
    const struct shared_ops *ops;
    struct mutex mutex;                     /* claims and gifts, one at a time */
    unsigned binding;                       /* binds between begin and end; under mutex */
    uint64_t held[PROTOCOLS][PORTS / 64];   /* claimed one by one; changed under mutex */
    uint64_t unused[PROTOCOLS][PORTS / 64]; /* perhaps to be given back; atomic */
    bool any_unused;
    struct port_range ranges[MAX_RANGES];
    unsigned range_count;
    struct work give_work, more_work;
} shared;

bool (*shared_unclaimed_hook)(struct pkt *p);

static int index_of(uint8_t proto)
{
    return proto == IPPROTO_TCP_N ? TCP : UDP;
}

static bool test(const uint64_t *bits, uint16_t port)
{
    return READ_ONCE(bits[port / 64]) >> port % 64 & 1;
}

static bool in_range(uint16_t port)
{
    unsigned n = __atomic_load_n(&shared.range_count, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; i < n; i++)
        if (port >= shared.ranges[i].first && port <= shared.ranges[i].last)
            return true;
    return false;
}

/* --- claims ----------------------------------------------------------------------------------- */

int shared_bind_begin(uint8_t proto, const struct ip_addr *addr, uint16_t port)
{
    uint64_t *held = shared.held[index_of(proto)];
    int err = 0;

    if (!shared.netif || !shared.ops || ip_is_loopback(addr))
        return 0;
    mutex_lock(&shared.mutex);
    if (!test(held, port) && !in_range(port))
        err = shared.ops->take(proto, port);
    if (!err) {
        if (!in_range(port))
            held[port / 64] |= 1ull << port % 64;
        shared.binding++;
    }
    mutex_unlock(&shared.mutex);
    return err;
}

void shared_bind_end(void)
{
    if (!shared.netif || !shared.ops)
        return;
    mutex_lock(&shared.mutex);
    if (shared.binding)
        shared.binding--;
    mutex_unlock(&shared.mutex);
    if (READ_ONCE(shared.any_unused))
        work_schedule(&shared.give_work);
}

void shared_port_unused(uint8_t proto, uint16_t port)
{
    if (likely(!shared.netif) || !test(shared.held[index_of(proto)], port))
        return;
    __atomic_fetch_or(&shared.unused[index_of(proto)][port / 64], 1ull << port % 64,
                      __ATOMIC_RELAXED);
    WRITE_ONCE(shared.any_unused, true);
    work_schedule(&shared.give_work);
}

static void give_one(int which, uint16_t port)
{
    bool used = which == TCP ? tcp_port_in_use(port) : udp_port_in_use(port);

    if (used || !test(shared.held[which], port))
        return;
    shared.held[which][port / 64] &= ~(1ull << port % 64);
    shared.ops->give(which == TCP ? IPPROTO_TCP_N : IPPROTO_UDP_N, port);
}

static void give_unused(struct work *w)
{
    (void)w;
    mutex_lock(&shared.mutex);
    if (!shared.binding && shared.ops) { /* else when the last bind ends */
        WRITE_ONCE(shared.any_unused, false);
        for (int which = 0; which < PROTOCOLS; which++)
            for (unsigned i = 0; i < PORTS / 64; i++) {
                uint64_t bits = READ_ONCE(shared.unused[which][i]);
                if (bits)
                    bits = __atomic_exchange_n(&shared.unused[which][i], 0, __ATOMIC_RELAXED);
                for (; bits; bits &= bits - 1)
                    give_one(which, (uint16_t)(i * 64 + (unsigned)__builtin_ctzll(bits)));
            }
    }
    mutex_unlock(&shared.mutex);
}

/* --- ranges ----------------------------------------------------------------------------------- */

const struct port_range *port_ranges(unsigned *count)
{
    static struct port_range tunable;

    *count = __atomic_load_n(&shared.range_count, __ATOMIC_ACQUIRE);
    if (*count)
        return shared.ranges;
    tunable = (struct port_range){net_tunables.port_min, net_tunables.port_max};
    *count = 1;
    return &tunable;
}

static void add_range(uint16_t first, uint16_t last)
{
    if (shared.range_count == MAX_RANGES || !first || first > last)
        return;
    shared.ranges[shared.range_count] = (struct port_range){first, last};
    __atomic_store_n(&shared.range_count, shared.range_count + 1, __ATOMIC_RELEASE);
}

static void get_more(struct work *w)
{
    uint16_t first, last;

    (void)w;
    mutex_lock(&shared.mutex);
    if (shared.ops && shared.range_count < MAX_RANGES && !shared.ops->more(&first, &last))
        add_range(first, last);
    mutex_unlock(&shared.mutex);
}

void port_ranges_short(void)
{
    if (unlikely(shared.netif) && shared.ops)
        work_schedule(&shared.more_work);
}

/* --- to the other domains of the address ------------------------------------------------------ */

void shared_make_frame(struct netif *n, struct pkt *p)
{
    bool v4 = ip_is_v4(&p->dst);

    pkt_push(p, p->l4);
    uint8_t *h = pkt_push(p, ETH_HEADER);
    memcpy(h, n->mac, MAC_LEN);
    memcpy(h + MAC_LEN, n->mac, MAC_LEN);
    put16(h + 2 * MAC_LEN, v4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6);
    p->flags = p->flags & PKT_LOOPED_PARTIAL ? PKT_CSUM_PARTIAL : 0;
    if (!p->flags)
        p->gso = GSO_NONE;
    p->netif = n;
}

/* A socket's answer is ours if the port is; the address must be the shared one. */
static bool to_server(struct pkt *p)
{
    struct netif *n = shared.netif;
    uint16_t port = get16(p->data + 2);

    if (test(shared.held[index_of(p->proto)], port) || in_range(port) ||
        !view_local(net_view(), n, &p->dst))
        return false;
    shared_make_frame(n, p);
    netif_transmit(n, p);
    return true;
}

/* --- start ------------------------------------------------------------------------------------ */

void shared_start(struct netif *n, uint16_t first, uint16_t last)
{
    mutex_init(&shared.mutex);
    work_init(&shared.give_work, give_unused);
    work_init(&shared.more_work, get_more);
    add_range(first, last);
    if (shared.range_count) {
        net_tunables.port_min = first;
        net_tunables.port_max = last;
    }
    n->shared = true;
    shared.netif = n;
    shared_unclaimed_hook = to_server;
}

void shared_set_ops(const struct shared_ops *ops)
{
    shared.ops = ops;
}
