/* The neighbour table (net/neigh.h). */
#include "net/neigh.h"

#include "core/rand.h"
#include "net/stats.h"
#include "net/watch.h"

#define BUCKETS 256u
#define MAX_NEIGHBOURS 1024
#define MAX_QUEUED 32u
#define MAX_PROBES 3
#define RETRANS_TIME NSEC_PER_SEC          /* RFC 4861 10: RetransTimer */
#define REACHABLE_TIME (30 * NSEC_PER_SEC) /* REACHABLE_TIME */
#define DELAY_TIME (5 * NSEC_PER_SEC)      /* DELAY_FIRST_PROBE_TIME */
#define FAILED_TIME NSEC_PER_SEC           /* answer -EHOSTUNREACH at once for so long */

static struct bucket {
    spinlock_t lock; /* bh; before a neighbour's lock */
    struct list list;
} buckets[BUCKETS];
static atomic_int neighbour_count;
static uint64_t hash_key[2];

void neighbour_init(void)
{
    rand_bytes(hash_key, sizeof(hash_key));
    for (unsigned i = 0; i < BUCKETS; i++) {
        spin_init(&buckets[i].lock);
        list_init(&buckets[i].list);
    }
}

static struct bucket *bucket_of(const struct netif *n, const struct ip_addr *a)
{
    uint64_t h = (a->q[0] ^ hash_key[0]) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ a->q[1] ^ hash_key[1] ^ (uint64_t)n->index) * 0x9e3779b97f4a7c15ULL;
    return &buckets[h >> 56];
}

static void set_mac(struct neighbour *nb, const uint8_t *mac)
{
    union {
        uint8_t b[8];
        uint64_t q;
    } first;

    memcpy(first.b, mac, MAC_LEN);
    memcpy(first.b + 6, nb->netif->mac, 2);
    WRITE_ONCE(nb->header.q[0], first.q);
}

static void init_header(struct neighbour *nb)
{
    static const uint8_t unknown[MAC_LEN];

    set_mac(nb, unknown);
    memcpy(nb->header.b + 8, nb->netif->mac + 2, 4);
    put16(nb->header.b + 12, ip_is_v4(&nb->addr) ? ETH_TYPE_IP4 : ETH_TYPE_IP6);
}

static void free_neighbour(struct net_garbage *g)
{
    struct neighbour *nb = container_of(g, struct neighbour, garbage);

    timer_cancel_sync(&nb->timer);
    pkt_queue_free(&nb->queue);
    kfree(nb);
}

void neighbour_put(struct neighbour *nb)
{
    if (ref_put(&nb->refs))
        net_free_later(&nb->garbage);
}

static void set_state(struct neighbour *nb, enum neigh_state state)
{
    nb->updated = time_now();
    nb->probes = 0;
    WRITE_ONCE(nb->state, state);
    net_watch_neighbour(nb, false);
}

static void solicit(struct neighbour *nb, const uint8_t *unicast)
{
    if (ip_is_v4(&nb->addr))
        arp_solicit(nb->netif, &nb->addr, unicast);
    else
        nd_solicit(nb->netif, &nb->addr, unicast);
}

/* What is done after the neighbour's lock has been released. */
struct todo {
    bool solicit, unicast;
    struct pkt *unreachable; /* list */
};

static struct pkt *take_queue(struct neighbour *nb)
{
    struct pkt *list = nb->queue.head;
    pkt_queue_init(&nb->queue);
    return list;
}

static void probe_or_fail(struct neighbour *nb, struct todo *todo)
{
    if (nb->probes < MAX_PROBES) {
        nb->probes++;
        todo->solicit = true;
        todo->unicast = nb->state == NEIGH_PROBE;
        timer_arm(&nb->timer, time_now() + RETRANS_TIME);
        return;
    }
    net_count(NET_Librettos_NeighbourFailed);
    set_state(nb, NEIGH_FAILED);
    todo->unreachable = take_queue(nb);
}

static void tick(struct neighbour *nb, struct todo *todo)
{
    nsec_t now = time_now();

    switch (nb->state) {
    case NEIGH_REACHABLE:
        if (now < nb->confirmed + REACHABLE_TIME)
            timer_arm(&nb->timer, nb->confirmed + REACHABLE_TIME);
        else
            set_state(nb, NEIGH_STALE);
        break;
    case NEIGH_DELAY:
        if (nb->confirmed >= nb->updated) {
            set_state(nb, NEIGH_REACHABLE);
            timer_arm(&nb->timer, nb->confirmed + REACHABLE_TIME);
            break;
        }
        set_state(nb, NEIGH_PROBE);
        probe_or_fail(nb, todo);
        break;
    case NEIGH_INCOMPLETE:
    case NEIGH_PROBE:
        probe_or_fail(nb, todo);
        break;
    default:
        break;
    }
}

static void do_todo(struct neighbour *nb, struct todo *todo)
{
    if (todo->solicit) {
        uint8_t mac[MAC_LEN];
        memcpy(mac, nb->header.b, MAC_LEN);
        solicit(nb, todo->unicast ? mac : NULL);
    }
    while (todo->unreachable) {
        struct pkt *p = todo->unreachable;
        todo->unreachable = p->next;
        ip_report_unreachable(p);
    }
}

static void neighbour_timer(struct timer *t)
{
    struct neighbour *nb = container_of(t, struct neighbour, timer);
    struct todo todo = {0};

    net_batch_begin();
    spin_lock(&nb->lock);
    if (!nb->dead)
        tick(nb, &todo);
    spin_unlock(&nb->lock);
    do_todo(nb, &todo);
    net_batch_end();
}

int neighbour_resolve(struct neighbour *nb, struct pkt *p)
{
    struct todo todo = {0};
    int err = 0;

    spin_lock(&nb->lock);
    if (nb->state >= NEIGH_STALE) {
        if (nb->state == NEIGH_STALE) {
            set_state(nb, NEIGH_DELAY);
            timer_arm(&nb->timer, nb->updated + DELAY_TIME);
        }
        spin_unlock(&nb->lock);
        memcpy(p->data, nb->header.b, MAC_LEN);
        netif_transmit(nb->netif, p);
        return 0;
    }
    if (nb->state == NEIGH_FAILED && time_now() < nb->updated + FAILED_TIME) {
        err = -EHOSTUNREACH;
    } else if (nb->queue.count >= MAX_QUEUED) {
        net_count(NET_Librettos_NeighbourQueueFull);
        err = -ENOBUFS;
    } else {
        if (nb->state == NEIGH_FAILED)
            set_state(nb, NEIGH_INCOMPLETE);
        pkt_queue_push(&nb->queue, p);
        if (!nb->probes)
            probe_or_fail(nb, &todo);
    }
    spin_unlock(&nb->lock);
    if (err)
        pkt_free(p);
    do_todo(nb, &todo);
    return err;
}

/* Multicast (RFC 1112 6.4, RFC 2464 7), broadcast and loopback addresses need no asking. */
static bool computed_mac(const struct netif *n, const struct ip_addr *a, uint8_t *mac)
{
    if (n->flags & NETIF_LOOPBACK) {
        memset(mac, 0, MAC_LEN);
    } else if (ip_is_multicast(a)) {
        mac[0] = mac[1] = 0x33;
        memcpy(mac + 2, a->b + 12, 4);
        if (ip_is_v4(a)) {
            mac[0] = 0x01;
            mac[1] = 0x00;
            mac[2] = 0x5e;
            mac[3] = a->b[13] & 0x7f;
        }
    } else if (ip_is_broadcast(n, a)) {
        memset(mac, 0xff, MAC_LEN);
    } else {
        return false;
    }
    return true;
}

static struct neighbour *create(struct netif *n, const struct ip_addr *addr)
{
    struct neighbour *nb = kzalloc(sizeof(*nb));
    uint8_t mac[MAC_LEN];

    if (!nb)
        return NULL;
    ref_init(&nb->refs, 1);
    spin_init(&nb->lock);
    timer_init(&nb->timer, neighbour_timer);
    pkt_queue_init(&nb->queue);
    nb->garbage.free = free_neighbour;
    nb->netif = n;
    nb->addr = *addr;
    nb->state = NEIGH_INCOMPLETE;
    init_header(nb);
    if (computed_mac(n, addr, mac)) {
        set_mac(nb, mac);
        nb->state = NEIGH_PERMANENT;
    }
    return nb;
}

/* Takes it out of the table; its bucket is locked. */
static void unlink(struct neighbour *nb)
{
    list_remove(&nb->link);
    spin_lock(&nb->lock);
    net_watch_neighbour(nb, true);
    nb->dead = true;
    timer_cancel(&nb->timer);
    struct pkt *list = take_queue(nb);
    spin_unlock(&nb->lock);
    pkt_free_list(list);
    atomic_fetch_sub(&neighbour_count, 1);
    neighbour_put(nb);
}

/* The table is full: drops neighbours that no flow refers to. True if some were found. */
static bool evict(void)
{
    struct neighbour *nb, *tmp;
    int found = 0;

    for (unsigned i = 0; i < BUCKETS && found < MAX_NEIGHBOURS / 8; i++) {
        spin_lock(&buckets[i].lock);
        list_for_each_safe (nb, tmp, &buckets[i].list, link) {
            if (ref_count(&nb->refs) == 1) {
                unlink(nb);
                found++;
            }
        }
        spin_unlock(&buckets[i].lock);
    }
    return found > 0;
}

static struct neighbour *find(struct bucket *b, const struct netif *n, const struct ip_addr *addr)
{
    struct neighbour *nb;

    list_for_each (nb, &b->list, link) {
        if (nb->netif == n && ip_equal(&nb->addr, addr))
            return nb;
    }
    return NULL;
}

static struct neighbour *lookup(struct netif *n, const struct ip_addr *addr, bool make)
{
    struct bucket *b = bucket_of(n, addr);

    if (make && atomic_load(&neighbour_count) >= MAX_NEIGHBOURS && !evict())
        make = false;
    spin_lock(&b->lock);
    struct neighbour *nb = find(b, n, addr);
    if (!nb && make && (nb = create(n, addr))) {
        list_push_front(&b->list, &nb->link);
        atomic_fetch_add(&neighbour_count, 1);
    }
    if (nb)
        ref_get(&nb->refs);
    spin_unlock(&b->lock);
    return nb;
}

struct neighbour *neighbour_get(struct netif *n, const struct ip_addr *addr)
{
    struct neighbour *nb = lookup(n, addr, true);

    if (!nb)
        net_count(NET_Librettos_NeighbourTableFull);
    return nb;
}

/* Sends what was queued for the neighbour. */
static void send_queued(struct neighbour *nb, struct pkt *list)
{
    while (list) {
        struct pkt *p = list;
        list = p->next;
        p->next = NULL;
        memcpy(p->data, nb->header.b, MAC_LEN);
        netif_transmit(nb->netif, p);
    }
}

/* RFC 4861 7.2.5 and, for ARP, its nearest sense. */
static void learn(struct neighbour *nb, const uint8_t *mac, unsigned flags)
{
    bool known = nb->state >= NEIGH_STALE;
    bool differs = mac && (!known || !mac_equal(nb->header.b, mac));

    if (nb->state == NEIGH_PERMANENT || (!mac && !known))
        return;
    if (known && differs && !(flags & LEARN_OVERRIDE)) {
        if (nb->state == NEIGH_REACHABLE)
            set_state(nb, NEIGH_STALE);
        return;
    }
    if (differs)
        set_mac(nb, mac);
    if (flags & LEARN_SOLICITED) {
        nb->confirmed = time_now();
        set_state(nb, NEIGH_REACHABLE);
        timer_arm(&nb->timer, nb->confirmed + REACHABLE_TIME);
    } else if (differs) {
        set_state(nb, NEIGH_STALE);
    }
    if (flags & LEARN_ROUTER)
        nb->router = true;
    else if (flags & LEARN_HOST)
        nb->router = false;
}

void neighbour_learn(struct netif *n, const struct ip_addr *addr, const uint8_t *mac,
                     unsigned flags)
{
    struct neighbour *nb = lookup(n, addr, flags & LEARN_CREATE);
    struct pkt *list = NULL;

    if (!nb)
        return;
    spin_lock(&nb->lock);
    learn(nb, mac, flags);
    if (nb->state >= NEIGH_STALE)
        list = take_queue(nb);
    if (list && nb->state == NEIGH_STALE) { /* used at once */
        set_state(nb, NEIGH_DELAY);
        timer_arm(&nb->timer, nb->updated + DELAY_TIME);
    }
    spin_unlock(&nb->lock);
    send_queued(nb, list);
    neighbour_put(nb);
}

void neighbour_refresh(struct netif *n)
{
    struct neighbour *nb;

    for (unsigned i = 0; i < BUCKETS; i++) {
        spin_lock_bh(&buckets[i].lock);
        list_for_each (nb, &buckets[i].list, link) {
            if (nb->netif != n)
                continue;
            uint8_t mac[MAC_LEN];
            spin_lock(&nb->lock);
            memcpy(mac, nb->header.b, MAC_LEN);
            init_header(nb);
            set_mac(nb, mac);
            spin_unlock(&nb->lock);
        }
        spin_unlock_bh(&buckets[i].lock);
    }
}

void neighbour_flush(struct netif *n)
{
    struct neighbour *nb, *tmp;

    for (unsigned i = 0; i < BUCKETS; i++) {
        spin_lock_bh(&buckets[i].lock);
        list_for_each_safe (nb, tmp, &buckets[i].list, link) {
            if (!n || nb->netif == n)
                unlink(nb);
        }
        spin_unlock_bh(&buckets[i].lock);
    }
    /* Flows still hold the old entries. */
    __atomic_fetch_add(&net_generation, 1, __ATOMIC_RELEASE);
}

void neighbour_for_each(bool (*fn)(const struct neighbour *nb, void *arg), void *arg)
{
    struct neighbour *nb;
    bool more = true;

    for (unsigned i = 0; i < BUCKETS && more; i++) {
        spin_lock_bh(&buckets[i].lock);
        list_for_each (nb, &buckets[i].list, link) {
            more = fn(nb, arg);
            if (!more)
                break;
        }
        spin_unlock_bh(&buckets[i].lock);
    }
}
