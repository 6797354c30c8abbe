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

#define PORTS 65536u
#define REFUSED_FOR NSEC_PER_SEC /* after a refusal no further range is asked for */

enum { TCP, UDP, PROTOCOLS };

static struct {
    struct netif *netif; /* NULL: no shared address */
    const struct shared_ops *ops;
    struct mutex mutex;                     /* claims and gifts, one at a time */
    unsigned binding;                       /* binds between begin and end; under mutex */
    uint64_t held[PROTOCOLS][PORTS / 64];   /* claimed one by one; changed under mutex */
    uint64_t unused[PROTOCOLS][PORTS / 64]; /* perhaps to be given back; atomic */
    bool any_unused;
    struct port_range ranges[PORT_RANGES_MAX]; /* the first is replaced, others are added */
    unsigned range_count;
    bool short_of_ports;   /* asked for, and not looked at yet */
    nsec_t ask_not_before; /* under mutex */
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

static struct port_range range(unsigned i)
{
    struct port_range r;

    __atomic_load(&shared.ranges[i], &r, __ATOMIC_RELAXED);
    return r;
}

static bool in_range(uint16_t port)
{
    unsigned n = __atomic_load_n(&shared.range_count, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; i < n; i++) {
        struct port_range r = range(i);
        if (port >= r.first && port <= r.last)
            return true;
    }
    return false;
}

/* --- claims ----------------------------------------------------------------------------------- */

/* Whether a port of this address is the supervisor's to grant. */
static bool is_granted(const struct ip_addr *addr)
{
    return unlikely(shared.netif) && shared.ops && !ip_is_loopback(addr);
}

int shared_bind_begin(uint8_t proto, const struct ip_addr *addr, uint16_t port)
{
    uint64_t *held = shared.held[index_of(proto)];
    int err = 0;

    if (!is_granted(addr))
        return 0;
    mutex_lock(&shared.mutex);
    if (!test(held, port) && !in_range(port)) {
        err = shared.ops->take(proto, port);
        if (!err)
            WRITE_ONCE(held[port / 64], held[port / 64] | 1ull << port % 64);
    }
    if (!err)
        shared.binding++;
    mutex_unlock(&shared.mutex);
    return err;
}

void shared_bind_end(uint8_t proto, const struct ip_addr *addr, uint16_t port, int err)
{
    if (!is_granted(addr))
        return;
    mutex_lock(&shared.mutex);
    if (shared.binding)
        shared.binding--;
    mutex_unlock(&shared.mutex);
    if (err)
        shared_port_unused(proto, port);
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
    uint64_t *word = &shared.held[which][port / 64];
    bool used = which == TCP ? tcp_port_in_use(port) : udp_port_in_use(port);

    if (used || !test(shared.held[which], port))
        return;
    WRITE_ONCE(*word, *word & ~(1ull << port % 64));
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

unsigned port_ranges(struct port_range out[PORT_RANGES_MAX])
{
    unsigned n = __atomic_load_n(&shared.range_count, __ATOMIC_ACQUIRE);

    if (likely(!n)) {
        out[0] = (struct port_range){net_tunables.port_min, net_tunables.port_max};
        return 1;
    }
    for (unsigned i = 0; i < n; i++)
        out[i] = range(i);
    return n;
}

void shared_set_range(uint16_t first, uint16_t last)
{
    struct port_range r = {first, last};

    if (!first || first > last)
        r = (struct port_range){1, 0};
    __atomic_store(&shared.ranges[0], &r, __ATOMIC_RELAXED);
    net_tunables.port_min = first; /* what programs see in ip_local_port_range */
    net_tunables.port_max = last;
}

/* The supervisor's answer is checked like everything that comes from outside. */
static bool add_range(uint16_t first, uint16_t last)
{
    unsigned n = shared.range_count;

    if (!first || first > last)
        return false;
    for (unsigned i = 0; i < n; i++) {
        struct port_range r = range(i);
        if (r.first <= r.last && first <= r.last && last >= r.first)
            return false;
    }
    shared.ranges[n] = (struct port_range){first, last};
    __atomic_store_n(&shared.range_count, n + 1, __ATOMIC_RELEASE);
    return true;
}

/* False: there is no further range. Under mutex. */
static bool ask_for_range(void)
{
    uint16_t first, last;

    WRITE_ONCE(shared.short_of_ports, false);
    if (shared.range_count == PORT_RANGES_MAX || time_now() < shared.ask_not_before)
        return false;
    if (!shared.ops->more(&first, &last) && add_range(first, last))
        return true;
    shared.ask_not_before = time_now() + REFUSED_FOR;
    return false;
}

static void get_more(struct work *w)
{
    (void)w;
    mutex_lock(&shared.mutex);
    if (shared.short_of_ports)
        ask_for_range();
    mutex_unlock(&shared.mutex);
}

void port_ranges_short(void)
{
    if (likely(!shared.netif) || !shared.ops)
        return;
    WRITE_ONCE(shared.short_of_ports, true);
    work_schedule(&shared.more_work);
}

bool port_ranges_grow(void)
{
    if (likely(!shared.netif) || !shared.ops)
        return false;
    mutex_lock(&shared.mutex);
    bool more = !shared.short_of_ports || ask_for_range(); /* or somebody was faster */
    mutex_unlock(&shared.mutex);
    return more;
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

/* Reassembled packets have the header of their first fragment: they cannot go out again as they
 * are. */
static bool is_whole(const struct pkt *p)
{
    const uint8_t *ip = p->data - p->l4;

    if (ip_is_v4(&p->dst))
        return get16(ip + 2) == p->l4 + p->len;
    return ip[6] == p->proto && get16(ip + 4) == p->len;
}

/* Between our own addresses only: the server lets nothing else pass. A port that is ours is
 * answered by us. */
static bool to_server(struct pkt *p)
{
    struct netif *n = shared.netif;
    const struct view *v = net_view();
    uint16_t port = get16(p->data + 2);

    if (test(shared.held[index_of(p->proto)], port) || in_range(port) ||
        !view_local(v, n, &p->dst) || !view_local(v, n, &p->src) || !is_whole(p))
        return false;
    shared_make_frame(n, p);
    netif_transmit(n, p);
    return true;
}

/* --- start ------------------------------------------------------------------------------------ */

void shared_start(struct netif *n, uint16_t first, uint16_t last)
{
    ASSERT(!shared.netif || shared.netif == n);
    n->shared = true;
    shared_set_range(first, last);
    if (shared.netif)
        return; /* the path was taken away and came back */
    mutex_init(&shared.mutex);
    work_init(&shared.give_work, give_unused);
    work_init(&shared.more_work, get_more);
    shared.range_count = 1;
    shared.netif = n;
    shared_unclaimed_hook = to_server;
}

void shared_set_ops(const struct shared_ops *ops)
{
    shared.ops = ops;
}
