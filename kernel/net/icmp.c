/*
 * ICMP for IPv4 (RFC 792, RFC 1122 3.2.2): echo, errors in and out; and what both versions share:
 * the rate limit and the way from a quoted packet to its socket.
 */
#include "net/icmp.h"

#include "net/socket.h"

#define ICMP_ECHO_REPLY 0u
#define ICMP_UNREACHABLE 3u
#define ICMP_ECHO 8u
#define ICMP_TIME_EXCEEDED 11u
#define ICMP_PARAMETER 12u

/* 1000 errors a second and CPU, in bursts of 50. */
bool icmp_rate_ok(void)
{
    static struct {
        nsec_t last;
        uint32_t tokens;
    } __attribute__((aligned(64))) buckets[MAX_CPUS];
    __typeof__(&buckets[0]) b = &buckets[cpu_id()];
    nsec_t now = time_now();
    uint64_t fresh = (uint64_t)(now - b->last) / NSEC_PER_MSEC;

    if (fresh) {
        b->tokens = (uint32_t)MIN(fresh + b->tokens, 50u);
        b->last = now;
    }
    if (!b->tokens)
        return false;
    b->tokens--;
    return true;
}

struct ip_flow *icmp_reply_flow(const struct pkt *p, uint8_t proto)
{
    /* The last peer's flow of each CPU and version: a ping costs no route lookup. */
    static struct {
        struct ip_flow v[2];
    } __attribute__((aligned(64))) flows[MAX_CPUS];
    struct ip_flow *f = &flows[cpu_id()].v[proto == IPPROTO_ICMPV6_N];
    uint32_t scope = ip_is_link_local(&p->src) ? (uint32_t)p->netif->index : 0;
    bool to_us = !(p->flags & PKT_BROADCAST) && !ip_is_multicast(&p->dst);

    if (f->neighbour && !ip_flow_stale(f) && ip_equal(&f->dst, &p->src) && to_us &&
        ip_equal(&f->src, &p->dst) && f->scope == scope)
        return f;
    ip_flow_release(f);
    *f = (struct ip_flow){.dst = p->src, .scope = scope, .proto = proto, .ttl = 64};
    if (to_us)
        f->src = p->dst;
    return ip_route(f) ? NULL : f;
}

/* Turns the request into the reply: type changed, checksum adjusted, headers anew. */
static void echo(struct pkt *p)
{
    struct ip_flow *f = icmp_reply_flow(p, IPPROTO_ICMP_N);

    if (!f) {
        net_drop(p, NET_Icmp_OutErrors);
        return;
    }
    uint32_t sum = (uint16_t) ~*(wire16 *)(p->data + 2);
    sum += 0xffffu - ICMP_ECHO; /* minus the old type, plus 0 */
    p->data[0] = ICMP_ECHO_REPLY;
    *(wire16 *)(p->data + 2) = csum_fold(sum);
    p->flags = 0;
    p->gso = GSO_NONE;
    p->tos = 0;
    net_count(NET_Icmp_OutMsgs);
    net_count(NET_Icmp_OutEchoReps);
    ip_output(f, p);
}

void icmp_quoted(const struct icmp_report *r)
{
    if (!view_local(net_view(), NULL, &r->src))
        return;
    if (r->proto == IPPROTO_TCP_N)
        tcp_icmp_error(&r->src, &r->dst, r->transport, r->err, r->mtu);
    else if (r->proto == IPPROTO_UDP_N || r->proto == IPPROTO_UDPLITE_N)
        udp_icmp_error(r);
    raw_icmp_error(r);
}

void icmp4_quoted(const uint8_t *ip, uint32_t len, struct icmp_report *r)
{
    if (len < IP4_HEADER + 8 || (ip[0] >> 4) != 4)
        return;
    uint32_t hl = (ip[0] & 15) * 4u;
    if (hl < IP4_HEADER || len < hl + 8 || (get16(ip + 6) & 0x1fff))
        return;
    r->src = ip_from_v4(*(const wire32 *)(ip + 12));
    r->dst = ip_from_v4(*(const wire32 *)(ip + 16));
    r->proto = ip[9];
    r->transport = ip + hl;
    r->len = len - hl;
    icmp_quoted(r);
}

/* A received error: what it quotes begins behind 8 bytes. */
static void told(const struct pkt *p, int err, uint32_t mtu)
{
    struct icmp_report r = {
        .err = err, .mtu = mtu, .offender = p->src, .type = p->data[0], .code = p->data[1]};

    icmp4_quoted(p->data + 8, p->linear - 8, &r);
}

/* RFC 1191 7.1: an old router that does not say the size: the next smaller plausible one. */
static uint32_t plateau(uint32_t len)
{
    static const uint16_t sizes[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, IP4_MIN_MTU};

    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        if (sizes[i] < len)
            return sizes[i];
    }
    return IP4_MIN_MTU;
}

static void unreachable(const struct pkt *p)
{
    /* By code; the values Linux gives to sockets. */
    static const int16_t errors[] = {
        ENETUNREACH,  EHOSTUNREACH, ENOPROTOOPT,  ECONNREFUSED, EMSGSIZE,     EOPNOTSUPP,
        ENETUNREACH,  EHOSTDOWN,    ENONET,       ENETUNREACH,  EHOSTUNREACH, ENETUNREACH,
        EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH, EHOSTUNREACH,
    };
    uint8_t code = p->data[1];
    const uint8_t *quoted = p->data + 8;
    uint32_t mtu = 0;

    if (code >= ARRAY_SIZE(errors))
        return;
    if (errors[code] == EMSGSIZE) {
        mtu = get16(p->data + 6);
        if (!mtu && p->linear >= 12)
            mtu = plateau(get16(quoted + 2));
        if (mtu < IP4_MIN_MTU)
            mtu = IP4_MIN_MTU;
    }
    told(p, -errors[code], mtu);
}

static bool checksum_ok(struct pkt *p)
{
    return (p->flags & PKT_CSUM_OK) || csum_fold(pkt_csum(p, 0, p->len, 0)) == 0;
}

void icmp4_input(struct netif *n, struct pkt *p)
{
    net_count(NET_Icmp_InMsgs);
    if (!pkt_make_linear(p, 8)) {
        net_drop(p, NET_Icmp_InErrors);
        return;
    }
    /* What the stack changes incrementally it must have verified: drivers do not check ICMP. */
    if (!(p->flags & PKT_LOOPED))
        p->flags &= (uint8_t)~PKT_CSUM_OK;
    if (!checksum_ok(p)) {
        net_count(NET_Icmp_InCsumErrors);
        net_drop(p, NET_Icmp_InErrors);
        return;
    }
    switch (p->data[0]) {
    case ICMP_ECHO:
        net_count(NET_Icmp_InEchos);
        /* Not to broadcasts (RFC 1122 3.2.2.6 allows to be silent): no amplifier. And the network
         * server answers for a shared address. */
        if (!(p->flags & PKT_BROADCAST) && !n->shared && !net_tunables.icmp_echo_ignore_all) {
            echo(p);
            return;
        }
        break;
    case ICMP_ECHO_REPLY:
        net_count(NET_Icmp_InEchoReps);
        ping_deliver(p);
        break;
    case ICMP_UNREACHABLE:
        net_count(NET_Icmp_InDestUnreachs);
        pkt_make_linear(p, MIN(p->len, 128u));
        unreachable(p);
        break;
    case ICMP_TIME_EXCEEDED:
        net_count(NET_Icmp_InTimeExcds);
        pkt_make_linear(p, MIN(p->len, 128u));
        told(p, -EHOSTUNREACH, 0);
        break;
    case ICMP_PARAMETER:
        pkt_make_linear(p, MIN(p->len, 128u));
        told(p, -EPROTO, 0);
        break;
    default:
        break;
    }
    pkt_free(p);
}

/* It quotes as much as leaves it within what every path takes (RFC 1812 4.3.2.3, RFC 4443 2.4 c).
 */
struct pkt *icmp_error_packet(const struct pkt *p, uint8_t type, uint8_t code, uint32_t rest)
{
    uint32_t headers = 8u + p->l4;
    uint32_t room = ip_is_v4(&p->src) ? IP4_MIN_MTU - IP4_HEADER : IP6_MIN_MTU - IP6_HEADER;
    struct pkt *e = pkt_alloc(ETH_HEADER + IP6_HEADER + 16);
    uint8_t h[8] = {type, code};

    put32(h + 4, rest);
    if (e && pkt_append(e, h, sizeof(h)) && pkt_append(e, p->data - p->l4, p->l4)) {
        uint32_t n = MIN(p->len, room - headers);
        if (p->linear > pkt_tailroom(e))
            n = MIN(n, pkt_tailroom(e));
        if (pkt_append_range(e, p, 0, n))
            return e;
    }
    net_count(NET_Librettos_NoMemory);
    if (e)
        pkt_free(e);
    return NULL;
}

void icmp4_error(const struct pkt *p, uint8_t type, uint8_t code, uint32_t rest)
{
    if (p->flags & PKT_BROADCAST || ip_is_any(&p->src))
        return;
    if (p->proto == IPPROTO_ICMP_N &&
        (!p->linear || (p->data[0] != ICMP_ECHO && p->data[0] != ICMP_ECHO_REPLY)))
        return; /* no error about an error */
    if (!icmp_rate_ok()) {
        net_count(NET_Icmp_OutRateLimited);
        return;
    }
    struct pkt *e = icmp_error_packet(p, type, code, rest);
    struct ip_flow *f = e ? icmp_reply_flow(p, IPPROTO_ICMP_N) : NULL;
    if (!f) {
        if (e)
            pkt_free(e);
        return;
    }
    *(wire16 *)(e->data + 2) = csum_fold(pkt_csum(e, 0, e->len, 0));
    net_count(NET_Icmp_OutMsgs);
    if (type == ICMP_UNREACHABLE)
        net_count(NET_Icmp_OutDestUnreachs);
    ip_output(f, e);
}

void icmp_port_unreachable(const struct pkt *p)
{
    if (ip_is_v4(&p->src))
        icmp4_error(p, ICMP_UNREACHABLE, 3, 0);
    else
        icmp6_error(p, 1, 4, 0);
}

void ip_report_unreachable(struct pkt *frame)
{
    if (frame->linear > ETH_HEADER) {
        const uint8_t *ip = frame->data + ETH_HEADER;
        bool v4 = (ip[0] >> 4) == 4;
        /* As if we had been told by ourselves that the host is unreachable. */
        struct icmp_report r = {
            .err = -EHOSTUNREACH, .type = v4 ? ICMP_UNREACHABLE : 1, .code = v4 ? 1 : 3};
        if (v4)
            icmp4_quoted(ip, frame->linear - ETH_HEADER, &r);
        else
            icmp6_quoted(ip, frame->linear - ETH_HEADER, &r);
    }
    pkt_free(frame);
}
