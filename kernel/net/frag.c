/*
 * Reassembly of fragments, for both IP versions.
 *
 * A datagram under way is a sorted list of its fragments. Overlaps are never merged: an exact
 * duplicate is ignored, anything else drops the whole datagram (RFC 5722, RFC 8200 4.5; for IPv4
 * likewise, since only attackers send them). Memory and time are bounded.
 */
#include "core/rand.h"
#include "net/ipimpl.h"

#define BUCKETS 64u
#define MAX_BYTES (1024u * 1024) /* of all datagrams under way, with overhead */
#define MAX_FRAGMENTS 64u        /* 64 KiB in pieces of 1 KiB and more */
#define TIMEOUT (30 * NSEC_PER_SEC)
#define ICMP_TIME_EXCEEDED 11u
#define ICMP6_TIME_EXCEEDED 3u

struct datagram {
    struct list link;
    struct ip_addr src, dst;
    uint32_t id;
    uint8_t proto; /* IPv4 only: part of the key */
    uint8_t ecn;   /* 3 if a fragment was marked */
    uint16_t count;
    uint32_t have, total; /* bytes received; bytes in all, 0: not known yet */
    uint32_t cost;
    nsec_t until;
    struct pkt *fragments; /* by offset */
};

#define OFFSET(p) ((p)->cb[0])

static struct {
    spinlock_t lock; /* bh */
    struct list buckets[BUCKETS];
    uint32_t bytes;
    unsigned count;
    struct timer timer;
    uint64_t key[2];
} frags;

static struct list *bucket_of(const struct pkt *p, uint32_t id)
{
    uint64_t words[5] = {p->src.q[0], p->src.q[1], p->dst.q[0], p->dst.q[1], id};
    return &frags.buckets[siphash(words, sizeof(words), frags.key) % BUCKETS];
}

static void discard(struct datagram *d)
{
    list_remove(&d->link);
    frags.bytes -= d->cost;
    frags.count--;
    pkt_free_list(d->fragments);
    kfree(d);
}

static struct datagram *find_or_make(const struct pkt *p, uint32_t id)
{
    struct list *b = bucket_of(p, id);
    bool v4 = ip_is_v4(&p->src);
    struct datagram *d;

    list_for_each (d, b, link) {
        if (d->id == id && ip_equal(&d->src, &p->src) && ip_equal(&d->dst, &p->dst) &&
            (!v4 || d->proto == p->proto))
            return d;
    }
    d = kzalloc(sizeof(*d));
    if (!d)
        return NULL;
    d->src = p->src;
    d->dst = p->dst;
    d->id = id;
    d->proto = p->proto;
    d->cost = sizeof(*d);
    d->until = time_now() + TIMEOUT;
    frags.bytes += d->cost;
    frags.count++;
    list_push_back(b, &d->link);
    if (!timer_armed(&frags.timer))
        timer_arm(&frags.timer, d->until);
    return d;
}

enum insert { INSERTED, DUPLICATE, BAD };

/* Puts the fragment where it belongs. */
static enum insert insert(struct datagram *d, struct pkt *p, uint32_t offset, bool more)
{
    struct pkt **at = &d->fragments;
    uint32_t end = offset + p->len;

    if (more ? (d->total && end > d->total) : (d->total && end != d->total))
        return BAD;
    while (*at && OFFSET(*at) < offset) {
        if (OFFSET(*at) + (*at)->len > offset)
            return BAD;
        at = &(*at)->next;
    }
    if (*at && OFFSET(*at) < end)
        return OFFSET(*at) == offset && (*at)->len == p->len ? DUPLICATE : BAD;
    if (!more && *at)
        return BAD; /* something lies behind the end */
    if (!more)
        d->total = end;
    p->cb[0] = offset;
    p->next = *at;
    *at = p;
    d->have += p->len;
    d->count++;
    uint32_t cost = p->len + (uint32_t)sizeof(*p);
    d->cost += cost;
    frags.bytes += cost;
    if ((p->tos & 3) == 3)
        d->ecn = 3;
    return INSERTED;
}

/* One packet out of all fragments: the first one's headers and linear part, then one block of
 * pages. */
static struct pkt *join(struct pkt *list, uint32_t total, uint8_t ecn)
{
    struct pkt *first = list;
    uint32_t rest = total - first->linear, at = 0;
    unsigned order = 0;

    list = list->next;
    first->next = NULL;
    while ((PAGE_SIZE << order) < rest)
        order++;
    struct page *page = page_alloc(order, PAGE_ATOMIC);
    if (!page) {
        pkt_free(first);
        pkt_free_list(list);
        return NULL;
    }
    uint8_t *to = page_addr(page);
    uint32_t tail = first->len - first->linear;
    pkt_copy_out(first, first->linear, to, tail);
    at = tail;
    pkt_trim_to(first, first->linear);
    while (list) {
        struct pkt *next = list->next;
        pkt_copy_out(list, 0, to + at, list->len);
        at += list->len;
        pkt_free(list);
        list = next;
    }
    pkt_append_page(first, page, 0, rest);
    first->flags &= (uint8_t) ~(PKT_CSUM_OK | PKT_CSUM_PARTIAL);
    if (ecn && (first->tos & 3))
        first->tos |= ecn;
    return first;
}

struct pkt *reassemble(struct netif *n, struct pkt *p, uint32_t id, uint32_t offset, bool more)
{
    bool v4 = ip_is_v4(&p->src);
    struct pkt *whole = NULL;
    enum net_stat fail = v4 ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails;

    (void)n;
    net_count(v4 ? NET_Ip_ReasmReqds : NET_Ip6_ReasmReqds);
    if (!p->len || (more && p->len % 8) || offset + p->len + p->l4 > 65535u + (v4 ? 0 : 48u)) {
        net_drop(p, fail);
        return NULL;
    }
    spin_lock(&frags.lock);
    if (frags.bytes > MAX_BYTES) {
        spin_unlock(&frags.lock);
        net_count(NET_Librettos_ReasmLimit);
        net_drop(p, fail);
        return NULL;
    }
    struct datagram *d = find_or_make(p, id);
    enum insert result = d && d->count < MAX_FRAGMENTS ? insert(d, p, offset, more) : BAD;
    if (result != INSERTED)
        pkt_free(p);
    if (result == BAD) {
        net_count(d && d->count < MAX_FRAGMENTS ? NET_Librettos_ReasmOverlap
                                                : NET_Librettos_ReasmLimit);
        net_count(fail);
        if (d)
            discard(d);
    } else if (d->total && d->have == d->total) {
        struct pkt *list = d->fragments;
        uint32_t total = d->total;
        uint8_t ecn = d->ecn;
        d->fragments = NULL;
        discard(d);
        whole = join(list, total, ecn);
        net_count(!whole ? fail : v4 ? NET_Ip_ReasmOKs : NET_Ip6_ReasmOKs);
    }
    spin_unlock(&frags.lock);
    return whole;
}

/* Tells the sender if we have the beginning (RFC 792, RFC 4443 3.3). */
static void timed_out(const struct datagram *d)
{
    const struct pkt *first = d->fragments;
    bool v4 = ip_is_v4(&d->src);

    net_count(v4 ? NET_Ip_ReasmTimeout : NET_Ip6_ReasmTimeout);
    net_count(v4 ? NET_Ip_ReasmFails : NET_Ip6_ReasmFails);
    if (!first || OFFSET(first) != 0)
        return;
    if (v4)
        icmp4_error(first, ICMP_TIME_EXCEEDED, 1, 0);
    else
        icmp6_error(first, ICMP6_TIME_EXCEEDED, 1, 0);
}

static void expire(struct timer *t)
{
    nsec_t now = time_now(), next = NSEC_NEVER;
    struct datagram *d, *tmp;
    struct list old = LIST_INIT(old);

    net_batch_begin();
    spin_lock(&frags.lock);
    for (unsigned i = 0; i < BUCKETS; i++) {
        list_for_each_safe (d, tmp, &frags.buckets[i], link) {
            if (d->until <= now) {
                list_remove(&d->link);
                list_push_back(&old, &d->link);
            } else {
                next = MIN(next, d->until);
            }
        }
    }
    if (next != NSEC_NEVER)
        timer_arm(t, next);
    spin_unlock(&frags.lock);
    list_for_each (d, &old, link)
        timed_out(d);
    spin_lock(&frags.lock);
    list_for_each_safe (d, tmp, &old, link)
        discard(d);
    spin_unlock(&frags.lock);
    net_batch_end();
}

void reassembly_init(void)
{
    spin_init(&frags.lock);
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&frags.buckets[i]);
    rand_bytes(frags.key, sizeof(frags.key));
    timer_init(&frags.timer, expire);
}
