/*
 * Path MTUs learned from ICMP (RFC 1191, RFC 8201). Few destinations ever have one, so an empty
 * table costs one load. Entries age: after ten minutes the full size is tried again.
 */
#include "core/rand.h"
#include "net/ipimpl.h"

#define ENTRIES 256u
#define WAYS 4u
#define LIFETIME (600 * NSEC_PER_SEC)

static struct pmtu {
    struct ip_addr dst;
    nsec_t until;
    uint16_t mtu; /* 0: free */
} table[ENTRIES];
static spinlock_t lock = SPINLOCK_INIT; /* bh */
static uint64_t key[2];
static int used;
static struct timer expiry;

static struct pmtu *set_of(const struct ip_addr *dst)
{
    return &table[siphash(dst, sizeof(*dst), key) % (ENTRIES / WAYS) * WAYS];
}

uint32_t pmtu_lookup(const struct ip_addr *dst, uint32_t mtu)
{
    if (!READ_ONCE(used))
        return mtu;
    spin_lock_bh(&lock);
    struct pmtu *e = set_of(dst);
    for (unsigned i = 0; i < WAYS; i++) {
        if (e[i].mtu && ip_equal(&e[i].dst, dst) && e[i].mtu < mtu)
            mtu = e[i].mtu;
    }
    spin_unlock_bh(&lock);
    return mtu;
}

void pmtu_learn(const struct ip_addr *dst, uint32_t mtu)
{
    uint32_t least = ip_is_v4(dst) ? IP4_MIN_MTU : IP6_MIN_MTU;
    struct pmtu *victim = NULL;

    mtu = MIN(MAX(mtu, least), 65535u);
    spin_lock_bh(&lock);
    struct pmtu *e = set_of(dst);
    for (unsigned i = 0; i < WAYS; i++) {
        if (e[i].mtu && ip_equal(&e[i].dst, dst)) {
            victim = &e[i];
            break;
        }
        if (!victim || !e[i].mtu || (victim->mtu && e[i].until < victim->until))
            victim = &e[i];
    }
    if (!victim->mtu)
        used++;
    /* A path MTU only ever shrinks by ICMP; it grows back by ageing. */
    if (!victim->mtu || !ip_equal(&victim->dst, dst) || mtu < victim->mtu) {
        victim->dst = *dst;
        victim->mtu = (uint16_t)mtu;
        victim->until = time_now() + LIFETIME;
        if (!timer_armed(&expiry))
            timer_arm(&expiry, victim->until);
    }
    spin_unlock_bh(&lock);
    net_count(NET_Librettos_PmtuUpdates);
    view_touch();
}

static void expire(struct timer *t)
{
    nsec_t now = time_now(), next = NSEC_NEVER;

    spin_lock_bh(&lock);
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (!table[i].mtu)
            continue;
        if (table[i].until <= now) {
            table[i].mtu = 0;
            used--;
        } else {
            next = MIN(next, table[i].until);
        }
    }
    if (next != NSEC_NEVER)
        timer_arm(t, next);
    spin_unlock_bh(&lock);
    view_touch();
}

void pmtu_init(void)
{
    rand_bytes(key, sizeof(key));
    timer_init(&expiry, expire);
}
