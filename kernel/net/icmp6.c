/* ICMPv6 (RFC 4443): echo, errors in and out; neighbour discovery and MLD go to their files. */
#include "net/icmp.h"

#define ICMP6_UNREACHABLE 1u
#define ICMP6_TOO_BIG 2u
#define ICMP6_TIME_EXCEEDED 3u
#define ICMP6_PARAMETER 4u
#define ICMP6_ECHO 128u
#define ICMP6_ECHO_REPLY 129u
#define MLD_QUERY 130u
#define ND_FIRST 133u /* router solicitation */
#define ND_LAST 137u  /* redirect */

void icmp6_quoted(const uint8_t *ip, uint32_t len, struct icmp_report *r)
{
    uint32_t at = IP6_HEADER;

    if (len < IP6_HEADER + 8 || (ip[0] >> 4) != 6)
        return;
    uint8_t next = ip[6];
    memcpy(&r->src, ip + 8, 16);
    memcpy(&r->dst, ip + 24, 16);
    if (next == IPPROTO_FRAGMENT_N && len >= at + 16) { /* the only one we send */
        if (get16(ip + at + 2) & 0xfff8)
            return;
        next = ip[at];
        at += 8;
    }
    if (len < at + 8 || ip_is_v4(&r->src))
        return;
    r->proto = next;
    r->transport = ip + at;
    r->len = len - at;
    icmp_quoted(r);
}

/* A received error: what it quotes begins behind 8 bytes. */
static void told(const struct pkt *p, int err, uint32_t mtu)
{
    struct icmp_report r = {
        .err = err, .mtu = mtu, .offender = p->src, .type = p->data[0], .code = p->data[1]};

    icmp6_quoted(p->data + 8, p->linear - 8, &r);
}

static void unreachable(const struct pkt *p)
{
    static const int16_t errors[] = {ENETUNREACH,  EACCES, EHOSTUNREACH, EHOSTUNREACH,
                                     ECONNREFUSED, EACCES, EACCES};
    uint8_t code = p->data[1];

    if (code < ARRAY_SIZE(errors))
        told(p, -errors[code], 0);
}

static void echo(struct pkt *p)
{
    struct ip_flow *f = icmp_reply_flow(p, IPPROTO_ICMPV6_N);

    if (!f) {
        net_drop(p, NET_Ip6_OutNoRoutes);
        return;
    }
    /* The pseudo-header's sum is the same with the addresses exchanged, unless the request went to
     * a multicast address; then the sum is made anew. */
    p->data[0] = ICMP6_ECHO_REPLY;
    *(wire16 *)(p->data + 2) = 0;
    uint32_t sum = ip_pseudo_csum(&f->src, &f->dst, IPPROTO_ICMPV6_N, p->len);
    *(wire16 *)(p->data + 2) = csum_fold(pkt_csum(p, 0, p->len, sum));
    p->flags = 0;
    p->gso = GSO_NONE;
    p->tos = 0;
    net_count(NET_Icmp6_OutMsgs);
    ip_output(f, p);
}

static bool checksum_ok(const struct pkt *p)
{
    if (p->flags & PKT_LOOPED)
        return true;
    uint32_t sum = ip_pseudo_csum(&p->src, &p->dst, IPPROTO_ICMPV6_N, p->len);
    return csum_fold(pkt_csum(p, 0, p->len, sum)) == 0;
}

static void error_input(struct pkt *p)
{
    pkt_make_linear(p, MIN(p->len, 160u));
    switch (p->data[0]) {
    case ICMP6_UNREACHABLE:
        net_count(NET_Icmp6_InDestUnreachs);
        unreachable(p);
        break;
    case ICMP6_TOO_BIG:
        net_count(NET_Icmp6_InPktTooBigs);
        if (get32(p->data + 4) >= IP6_MIN_MTU) /* RFC 8201 4 */
            told(p, -EMSGSIZE, get32(p->data + 4));
        break;
    case ICMP6_TIME_EXCEEDED:
        told(p, -EHOSTUNREACH, 0);
        break;
    case ICMP6_PARAMETER:
        told(p, -EPROTO, 0);
        break;
    default:
        break;
    }
    pkt_free(p);
}

void icmp6_input(struct netif *n, struct pkt *p, bool fragmented)
{
    net_count(NET_Icmp6_InMsgs);
    if (!pkt_make_linear(p, 8)) {
        net_drop(p, NET_Icmp6_InErrors);
        return;
    }
    if (!checksum_ok(p)) {
        net_count(NET_Icmp6_InCsumErrors);
        net_drop(p, NET_Icmp6_InErrors);
        return;
    }
    uint8_t type = p->data[0];
    if (type == ICMP6_ECHO) {
        net_count(NET_Icmp6_InEchos);
        if (ip_is_any(&p->src))
            net_drop(p, NET_Icmp6_InErrors);
        else if (n->shared)
            pkt_free(p); /* the network server answers */
        else
            echo(p);
    } else if (type == ICMP6_ECHO_REPLY) {
        ping_deliver(p);
        pkt_free(p);
    } else if (type >= ND_FIRST && type <= ND_LAST) {
        net_count(NET_Icmp6_InNeighborMsgs);
        if (fragmented) /* RFC 6980: too easy to hide from who looks for forged ones */
            net_drop(p, NET_Librettos_NdInvalid);
        else
            nd_input(n, p);
    } else if (type == MLD_QUERY) {
        mld_input(n, p);
    } else if (type < 128) {
        error_input(p);
    } else {
        pkt_free(p);
    }
}

void icmp6_error(const struct pkt *p, uint8_t type, uint8_t code, uint32_t rest)
{
    bool to_group_allowed = type == ICMP6_TOO_BIG || (type == ICMP6_PARAMETER && code == 2);

    if (((p->flags & PKT_BROADCAST) && !to_group_allowed) || ip_is_any(&p->src))
        return;
    if (p->proto == IPPROTO_ICMPV6_N && (!p->linear || p->data[0] < 128))
        return; /* no error about an error */
    if (!icmp_rate_ok()) {
        net_count(NET_Icmp6_OutRateLimited);
        return;
    }
    struct pkt *e = icmp_error_packet(p, type, code, rest);
    struct ip_flow *f = e ? icmp_reply_flow(p, IPPROTO_ICMPV6_N) : NULL;
    if (!f) {
        if (e)
            pkt_free(e);
        return;
    }
    uint32_t sum = ip_pseudo_csum(&f->src, &f->dst, IPPROTO_ICMPV6_N, e->len);
    *(wire16 *)(e->data + 2) = csum_fold(pkt_csum(e, 0, e->len, sum));
    net_count(NET_Icmp6_OutMsgs);
    if (type == ICMP6_UNREACHABLE)
        net_count(NET_Icmp6_OutDestUnreachs);
    ip_output(f, e);
}

int icmp6_send(struct netif *n, const struct ip_addr *src, const struct ip_addr *dst, uint8_t hops,
               bool router_alert, struct pkt *p)
{
    static const uint8_t alert[8] = {IPPROTO_ICMPV6_N, 0, 5, 2, 0, 0, 1, 0};
    uint32_t sum = ip_pseudo_csum(src, dst, IPPROTO_ICMPV6_N, p->len);

    *(wire16 *)(p->data + 2) = 0;
    *(wire16 *)(p->data + 2) = csum_fold(pkt_csum(p, 0, p->len, sum));
    if (router_alert)
        memcpy(pkt_push(p, sizeof(alert)), alert, sizeof(alert));
    uint32_t payload = p->len;
    uint8_t *h = (uint8_t *)pkt_push(p, ETH_HEADER + IP6_HEADER) + ETH_HEADER;
    put32(h, 0x60000000u);
    put16(h + 4, (uint16_t)payload);
    h[6] = router_alert ? IPPROTO_HOPOPTS_N : IPPROTO_ICMPV6_N;
    h[7] = hops;
    memcpy(h + 8, src, 16);
    memcpy(h + 24, dst, 16);
    struct neighbour *nb = neighbour_get(n, dst);
    if (!nb) {
        pkt_free(p);
        return -ENOBUFS;
    }
    memcpy(p->data, nb->header.b, ETH_HEADER);
    p->netif = n;
    net_count(NET_Icmp6_OutMsgs);
    int err = neighbour_output(nb, p);
    neighbour_put(nb);
    return err;
}
