/*
 * Reports of multicast membership (net/mcast.h): IGMPv3 (RFC 3376) and MLDv2 (RFC 3810). While a
 * router is about that asks in the older way, IGMPv2 (RFC 2236) and MLDv1 (RFC 2710), which know of
 * no sources.
 *
 * A record of the newer ones: type | 0 | number of sources (2) | group | sources
 */
#include "net/ipimpl.h"
#include "net/mcast.h"

#define IGMP_QUERY 0x11u
#define IGMP_V2_REPORT 0x16u
#define IGMP_LEAVE 0x17u
#define IGMP_V3_REPORT 0x22u
#define IGMP_V3_QUERY_LEN 12u
#define MLD_REPORT 131u
#define MLD_DONE 132u
#define MLD2_REPORT 143u
#define MLD2_QUERY_LEN 28u
#define OLD_ROUTER_TIME (260 * NSEC_PER_SEC) /* RFC 3376 8.12, RFC 3810 9.12 */
#define HEADER 8u                            /* of a report, before its records */

/* Record types. */
enum { IS_INCLUDE = 1, IS_EXCLUDE, TO_INCLUDE, TO_EXCLUDE, ALLOW, BLOCK };

bool mcast_silent(const struct ip_addr *a)
{
    if (ip_is_v4(a))
        return a->w[3] == net32(0xe0000001);
    return (a->b[1] & 15) <= 1 || (a->b[1] == 2 && a->q[1] == __builtin_bswap64(1) &&
                                   a->w[1] == 0 && a->b[2] == 0 && a->b[3] == 0);
}

/* Sends an IGMP message, all of it in p, with its checksum, to a group. Takes ownership. */
static void igmp_output(struct netif *n, struct pkt *p, uint32_t to)
{
    static const uint8_t router_alert[4] = {148, 4, 0, 0};
    uint8_t h[24] = {0x46, 0xc0, 0, 0, 0, 0, 0x40, 0, 1, IPPROTO_IGMP_N};
    uint32_t src = n->main_v4;
    struct ip_addr dst = ip_from_v4(to);

    *(wire16 *)(p->data + 2) = csum_fold(pkt_csum(p, 0, p->len, 0));
    put16(h + 2, (uint16_t)(sizeof(h) + p->len));
    memcpy(h + 12, &src, 4);
    memcpy(h + 16, &to, 4);
    memcpy(h + 20, router_alert, 4);
    *(wire16 *)(h + 10) = csum_fold(csum_add(h, sizeof(h), 0));
    memcpy(pkt_push(p, sizeof(h)), h, sizeof(h));
    uint8_t mac[MAC_LEN] = {1, 0, 0x5e, dst.b[13] & 0x7f, dst.b[14], dst.b[15]};
    ether_output(n, p, mac, ETH_TYPE_IP4);
}

/* The same for MLD. */
static void mld_output(struct netif *n, struct pkt *p, const struct ip_addr *to)
{
    const struct view_addr *src = view_source(net_view(), n, to);
    struct ip_addr from = {0};

    if (src && src->netif == n && ip_is_link_local(&src->addr))
        from = src->addr;
    icmp6_send(n, &from, to, 1, true, p);
}

static const struct ip_addr all_routers6 = {.b = {0xff, 2, [15] = 2}};

/* In the older way: the group has been joined, or left. */
static void send_old(struct netif *n, const struct ip_addr *group, bool leave)
{
    bool v4 = ip_is_v4(group);
    uint8_t m[24] = {0};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    if (!p)
        return;
    if (v4) {
        m[0] = leave ? IGMP_LEAVE : IGMP_V2_REPORT;
        memcpy(m + 4, &group->w[3], 4);
        pkt_append(p, m, 8);
        igmp_output(n, p, leave ? net32(0xe0000002) : ip_v4(group));
    } else {
        m[0] = leave ? MLD_DONE : MLD_REPORT;
        memcpy(m + 8, group, 16);
        pkt_append(p, m, 24);
        mld_output(n, p, leave ? &all_routers6 : group);
    }
}

/* The record behind `at`; its length. */
static uint32_t put_record(uint8_t *at, uint8_t type, const struct ip_addr *group,
                           const struct ip_addr *sources, unsigned count)
{
    bool v4 = ip_is_v4(group);
    uint32_t size = v4 ? 4 : 16, skip = 16 - size;

    memset(at, 0, 4);
    at[0] = type;
    put16(at + 2, (uint16_t)count);
    memcpy(at + 4, group->b + skip, size);
    for (unsigned i = 0; i < count; i++)
        memcpy(at + 4 + size * (i + 1), sources[i].b + skip, size);
    return 4 + size * (count + 1);
}

/* A report of one record. */
static void send_record(struct netif *n, uint8_t type, const struct ip_addr *group,
                        const struct ip_addr *sources, unsigned count)
{
    static const struct ip_addr mld2_routers = {.b = {0xff, 2, [15] = 0x16}};
    bool v4 = ip_is_v4(group);
    uint8_t h[HEADER] = {v4 ? IGMP_V3_REPORT : MLD2_REPORT, [7] = 1};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    struct page *page = p ? page_alloc(0, PAGE_ATOMIC) : NULL;

    if (!page) {
        net_count(NET_Librettos_NoMemory);
        if (p)
            pkt_free(p);
        return;
    }
    pkt_append(p, h, sizeof(h));
    pkt_append_page(p, page, 0, put_record(page_addr(page), type, group, sources, count));
    if (v4)
        igmp_output(n, p, net32(0xe0000016));
    else
        mld_output(n, p, &mld2_routers);
}

/* Those of a that are not in b. */
static void send_difference(struct netif *n, uint8_t type, const struct ip_addr *group,
                            const struct mcast_filter *a, const struct mcast_filter *b)
{
    struct ip_addr sources[MCAST_SOURCES];
    unsigned count = 0;

    for (unsigned i = 0; i < a->count; i++) {
        if (!mcast_filter_has(b, &a->sources[i]))
            sources[count++] = a->sources[i];
    }
    if (count)
        send_record(n, type, group, sources, count);
}

static bool old_router(const struct netif *n, const struct ip_addr *group)
{
    return time_now() < n->old_mcast_router[!ip_is_v4(group)];
}

static bool quiet(const struct netif *n, const struct ip_addr *group)
{
    return mcast_silent(group) || (n->flags & NETIF_LOOPBACK);
}

static bool nobody(const struct mcast_filter *f)
{
    return !f->exclude && !f->count;
}

void mcast_report_change(struct netif *n, const struct ip_addr *group,
                         const struct mcast_filter *before, const struct mcast_filter *after)
{
    if (quiet(n, group))
        return;
    net_batch_begin();
    if (old_router(n, group)) {
        if (nobody(before) != nobody(after))
            send_old(n, group, nobody(after));
    } else if (before->exclude != after->exclude) {
        send_record(n, after->exclude ? TO_EXCLUDE : TO_INCLUDE, group, after->sources,
                    after->count);
    } else {
        bool exclude = after->exclude; /* what is not excluded any more is allowed */
        send_difference(n, ALLOW, group, exclude ? before : after, exclude ? after : before);
        send_difference(n, BLOCK, group, exclude ? after : before, exclude ? before : after);
    }
    net_batch_end();
}

void mcast_report_state(struct netif *n, const struct ip_addr *group, const struct mcast_filter *f)
{
    if (quiet(n, group))
        return;
    net_batch_begin();
    if (old_router(n, group))
        send_old(n, group, false);
    else
        send_record(n, f->exclude ? IS_EXCLUDE : IS_INCLUDE, group, f->sources, f->count);
    net_batch_end();
}

/* --- queries ---------------------------------------------------------------------------------- */

/* A delay of 8 bits (scale 4) or 16 (12) whose upper half is a floating-point number (RFC 3376
 * 4.1.1, RFC 3810 5.1.3). */
static uint32_t decode(uint32_t code, unsigned mantissa)
{
    if (code < 8u << mantissa)
        return code;
    return ((code & ((1u << mantissa) - 1)) | 1u << mantissa) << ((code >> mantissa & 7) + 3);
}

void igmp_input(struct netif *n, struct pkt *p)
{
    net_count(NET_Librettos_IgmpReceived);
    if (pkt_make_linear(p, 8) && csum_fold(pkt_csum(p, 0, p->len, 0)) == 0 &&
        p->data[0] == IGMP_QUERY) {
        struct ip_addr group = ip_from_v4(*(const wire32 *)(p->data + 4));
        uint32_t tenths = decode(p->data[1], 4);
        if (p->len < IGMP_V3_QUERY_LEN) {
            n->old_mcast_router[0] = time_now() + OLD_ROUTER_TIME;
            tenths = p->data[1] ? p->data[1] : 100; /* version 1 says none */
        }
        mcast_report_soon(n, &group, true, MIN(tenths, 100u) * (NSEC_PER_SEC / 10));
    }
    pkt_free(p);
}

void mld_input(struct netif *n, struct pkt *p)
{
    if (pkt_make_linear(p, 24) && ip_is_link_local(&p->src) && p->ttl == 1) {
        struct ip_addr group;
        uint32_t ms = get16(p->data + 4);
        memcpy(&group, p->data + 8, 16);
        if (p->len < MLD2_QUERY_LEN)
            n->old_mcast_router[1] = time_now() + OLD_ROUTER_TIME;
        else
            ms = decode(ms, 12);
        mcast_report_soon(n, &group, false, MIN(ms, 10000u) * NSEC_PER_MSEC);
    }
    pkt_free(p);
}
