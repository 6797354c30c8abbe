/*
 * The table of connections: from the 4-tuple of a segment to its connection or TIME-WAIT entry.
 *
 * Chained buckets; the lock of a bucket is one of a fixed number of stripes, chosen by hash bits
 * that do not change when the table grows, so growing (in thread context, all stripes held) moves
 * entries without anybody else noticing. The hash is keyed with boot-time randomness: peers choose
 * the keys.
 */
#include "core/deferred.h"
#include "core/lock.h"
#include "core/rand.h"
#include "net/tcp.h"

#define STRIPES 256u
#define INITIAL_BUCKETS 1024u
#define MAX_BUCKETS (1u << 18)

struct stripe {
    spinlock_t lock;
    uint32_t count;
} __attribute__((aligned(64)));

static struct {
    struct tcp_entry **buckets;
    uint32_t mask;
    struct stripe stripes[STRIPES];
    uint64_t key[6];
    struct work grow;
} table;

/* Folded 64 x 64 bit product (the mixing step of wyhash): three of them hash a 4-tuple of either
 * family in some twenty instructions. Not predictable without the key. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 m = (unsigned __int128)a * b;

    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint32_t hash_tuple(const struct ip_addr *local, uint16_t lport,
                           const struct ip_addr *remote, uint16_t rport)
{
    const uint64_t *k = table.key;
    uint64_t h = mix(local->q[0] ^ k[0], local->q[1] ^ k[1]);

    h ^= mix(remote->q[0] ^ k[2], remote->q[1] ^ k[3]);
    h = mix(h ^ k[4], ((uint64_t)lport << 16 | rport) ^ k[5]);
    return (uint32_t)(h ^ (h >> 32));
}

static inline struct stripe *stripe_of(uint32_t hash)
{
    return &table.stripes[hash & (STRIPES - 1)];
}

static inline bool matches(const struct tcp_entry *e, const struct ip_addr *local, uint16_t lport,
                           const struct ip_addr *remote, uint16_t rport)
{
    return e->lport == lport && e->rport == rport && ip_equal(&e->remote, remote) &&
           ip_equal(&e->local, local);
}

static bool entry_get(struct tcp_entry *e)
{
    if (e->time_wait)
        return ref_get_unless_zero(&container_of(e, struct tcp_tw, e)->refs);
    return ref_get_unless_zero(&tcp_of_entry(e)->s.refs);
}

void tcp_entry_put(struct tcp_entry *e)
{
    if (e->time_wait)
        tcp_tw_put(container_of(e, struct tcp_tw, e));
    else
        tcp_put(tcp_of_entry(e));
}

static struct tcp_entry *find(uint32_t hash, const struct ip_addr *local, uint16_t lport,
                              const struct ip_addr *remote, uint16_t rport)
{
    struct tcp_entry *e = table.buckets[hash & table.mask];

    while (e && !(e->hash == hash && matches(e, local, lport, remote, rport)))
        e = e->next;
    return e;
}

struct tcp_entry *tcp_table_lookup(const struct ip_addr *local, uint16_t lport,
                                   const struct ip_addr *remote, uint16_t rport)
{
    uint32_t hash = hash_tuple(local, lport, remote, rport);
    struct stripe *st = stripe_of(hash);
    struct tcp_entry *e;

    spin_lock(&st->lock);
    e = find(hash, local, lport, remote, rport);
    if (e && !entry_get(e))
        e = NULL;
    spin_unlock(&st->lock);
    return e;
}

static void link_entry(struct tcp_entry *e)
{
    struct tcp_entry **b = &table.buckets[e->hash & table.mask];

    e->next = *b;
    e->prev = b;
    if (*b)
        (*b)->prev = &e->next;
    *b = e;
}

static void unlink_entry(struct tcp_entry *e)
{
    *e->prev = e->next;
    if (e->next)
        e->next->prev = e->prev;
    e->prev = NULL;
}

int tcp_table_insert(struct tcp *t, struct tcp_tw **reuse)
{
    struct tcp_entry *e = &t->e, *other;
    struct stripe *st;
    bool crowded;

    e->hash = hash_tuple(&e->local, e->lport, &e->remote, e->rport);
    st = stripe_of(e->hash);
    spin_lock(&st->lock);
    other = find(e->hash, &e->local, e->lport, &e->remote, e->rport);
    if (other) {
        struct tcp_tw *tw = container_of(other, struct tcp_tw, e);

        if (!reuse || !other->time_wait || !tcp_tw_reusable(tw, time_now())) {
            spin_unlock(&st->lock);
            return -EADDRNOTAVAIL;
        }
        unlink_entry(other);
        st->count--;
        *reuse = tw; /* with the table's reference */
    }
    link_entry(e);
    tcp_get(t);
    st->count++;
    crowded = st->count * STRIPES > table.mask * 2 && table.mask + 1 < MAX_BUCKETS;
    spin_unlock(&st->lock);
    if (crowded)
        work_schedule(&table.grow);
    return 0;
}

bool tcp_table_remove(struct tcp_entry *e)
{
    struct stripe *st = stripe_of(e->hash);
    bool was_in;

    spin_lock(&st->lock);
    was_in = e->prev;
    if (was_in) {
        unlink_entry(e);
        st->count--;
    }
    spin_unlock(&st->lock);
    return was_in;
}

void tcp_table_replace(struct tcp_entry *old, struct tcp_entry *with)
{
    struct stripe *st = stripe_of(old->hash);

    with->hash = old->hash;
    spin_lock(&st->lock);
    ASSERT(old->prev);
    unlink_entry(old);
    link_entry(with);
    spin_unlock(&st->lock);
}

uint32_t tcp_table_count(void)
{
    uint32_t n = 0;

    for (unsigned i = 0; i < STRIPES; i++)
        n += READ_ONCE(table.stripes[i].count);
    return n;
}

/* Collects the stripe's entries in batches, so that fn runs without the lock. */
void tcp_table_for_each(void (*fn)(struct tcp_entry *e, void *arg), void *arg)
{
    struct tcp_entry *batch[32];
    unsigned n, skip;

    for (unsigned i = 0; i < STRIPES; i++) {
        struct stripe *st = &table.stripes[i];

        skip = 0;
        do {
            unsigned seen = 0;

            n = 0;
            spin_lock_bh(&st->lock);
            for (uint32_t b = i; b <= table.mask && n < ARRAY_SIZE(batch); b += STRIPES) {
                for (struct tcp_entry *e = table.buckets[b]; e && n < ARRAY_SIZE(batch);
                     e = e->next) {
                    if (seen++ < skip || !entry_get(e))
                        continue;
                    batch[n++] = e;
                }
            }
            skip = seen;
            spin_unlock(&st->lock);
            for (unsigned k = 0; k < n; k++)
                fn(batch[k], arg);
            bh_enable();
        } while (n == ARRAY_SIZE(batch));
    }
}

/* Doubles the table until there are no more than two entries a bucket. */
static void grow(struct work *w)
{
    uint32_t wanted = table.mask + 1;
    struct tcp_entry **buckets, **old;
    uint32_t old_mask;

    (void)w;
    while (wanted < MAX_BUCKETS && tcp_table_count() > wanted)
        wanted *= 2;
    if (wanted == table.mask + 1)
        return;
    buckets = kzalloc(wanted * sizeof(*buckets));
    if (!buckets)
        return; /* longer chains, nothing worse */

    bh_disable();
    for (unsigned i = 0; i < STRIPES; i++)
        spin_lock(&table.stripes[i].lock);
    old = table.buckets;
    old_mask = table.mask;
    table.buckets = buckets;
    table.mask = wanted - 1;
    for (uint32_t b = 0; b <= old_mask; b++) {
        struct tcp_entry *e = old[b], *next;

        for (; e; e = next) {
            next = e->next;
            link_entry(e);
        }
    }
    for (unsigned i = 0; i < STRIPES; i++)
        spin_unlock(&table.stripes[i].lock);
    bh_enable();
    kfree(old);
}

int tcp_table_init(void)
{
    table.buckets = kzalloc(INITIAL_BUCKETS * sizeof(*table.buckets));
    if (!table.buckets)
        return -ENOMEM;
    table.mask = INITIAL_BUCKETS - 1;
    rand_bytes(table.key, sizeof(table.key));
    for (unsigned i = 0; i < STRIPES; i++)
        spin_init(&table.stripes[i].lock);
    work_init(&table.grow, grow);
    return 0;
}
