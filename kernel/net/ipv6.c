/* IPv6 (RFC 8200): input with its extension headers, and fragmentation of what we send. */
#include "core/rand.h"
#include "net/ipimpl.h"
#include "net/sendbuf.h"
#include "net/mcast.h"

#define MAX_EXTENSIONS 8
#define ICMP6_PARAMETER 4u
#define PARAM_HEADER 0u /* codes of the parameter problem message */
#define PARAM_NEXT_HEADER 1u
#define PARAM_OPTION 2u
#define PARAM_INCOMPLETE 3u

static bool for_us(struct netif *n, struct pkt *p)
{
    if (likely(ip_equal(&p->dst, &n->main_v6)))
        return true;
    if (ip_is_multicast(&p->dst)) {
        p->flags |= PKT_BROADCAST;
        return (n->flags & NETIF_LOOPBACK) || mcast_member(n, &p->dst);
    }
    if (ip_is_loopback(&p->dst))
        return n->flags & NETIF_LOOPBACK;
    bool any = !ip_is_link_local(&p->dst) || (n->flags & NETIF_LOOPBACK);
    return view_local(net_view(), any ? NULL : n, &p->dst) != NULL;
}

static bool source_ok(const struct netif *n, const struct ip_addr *src)
{
    /* IPv4-mapped addresses are ours alone, inside: on the wire they would be a disguise. */
    if (unlikely(src->b[0] == 0xff || ip_is_v4(src)))
        return false;
    if (unlikely(ip_is_loopback(src)))
        return n->flags & NETIF_LOOPBACK;
    return !view_forged(net_view(), n, src);
}

/* Advances behind a header of n bytes in front of data. */
static bool skip(struct pkt *p, uint32_t n)
{
    if (!pkt_pull(p, n))
        return false;
    p->l4 = (uint16_t)(p->l4 + n);
    return true;
}

/* A parameter problem at `offset` bytes from the IPv6 header. Takes ownership. */
static void refuse(struct pkt *p, uint8_t code, uint32_t offset)
{
    icmp6_error(p, ICMP6_PARAMETER, code, offset);
    net_drop(p, NET_Librettos_Ip6ExtensionInvalid);
}

/* Hop-by-hop or destination options (RFC 8200 4.2). False: the packet is gone. */
static bool options_ok(struct pkt *p, uint32_t len)
{
    const uint8_t *o = p->data;

    for (uint32_t at = 2; at < len;) {
        if (o[at] == 0) { /* Pad1 */
            at++;
            continue;
        }
        if (at + 2 > len || at + 2u + o[at + 1] > len) {
            refuse(p, PARAM_HEADER, p->l4 + at);
            return false;
        }
        bool known = o[at] == 1 || o[at] == 5; /* PadN, router alert */
        uint8_t action = o[at] >> 6;
        if (!known && action) {
            if (action == 2 || (action == 3 && !(p->flags & PKT_BROADCAST)))
                refuse(p, PARAM_OPTION, p->l4 + at);
            else
                net_drop(p, NET_Librettos_Ip6ExtensionInvalid);
            return false;
        }
        at += 2u + o[at + 1];
    }
    return true;
}

/* Where a walk along the headers is: behind p->data there is a header of type `next`, as the field
 * at offset `said` from the IPv6 header says. */
struct chain {
    uint8_t next;
    uint16_t said;
    bool fragmented; /* it has passed a fragment header */
};

static void transport(struct netif *n, struct pkt *p, const struct chain *c)
{
    uint8_t proto = c->next;
    bool raw = false;

    p->proto = proto;
    if (proto == IPPROTO_TCP_N && likely(!(p->flags & PKT_BROADCAST))) {
        if (unlikely(p->linear < 20) && !pkt_make_linear(p, 20)) {
            net_drop(p, NET_Tcp_InErrs);
            return;
        }
        net_count(NET_Ip6_InDelivers);
        tcp_input(p);
        return;
    }
    if (unlikely(atomic_load_explicit(&raw_socket_count[proto], memory_order_relaxed)))
        raw = raw_deliver(p);
    net_count(NET_Ip6_InDelivers);
    if (proto == IPPROTO_UDP_N || proto == IPPROTO_UDPLITE_N) {
        if (!pkt_make_linear(p, 8))
            net_drop(p, NET_Udp_InErrors);
        else if (proto == IPPROTO_UDP_N)
            udp_input(p);
        else
            udplite_input(p);
    } else if (proto == IPPROTO_ICMPV6_N) {
        icmp6_input(n, p, c->fragmented);
    } else if (raw || proto == IPPROTO_NONE_N || proto == IPPROTO_TCP_N) {
        pkt_free(p);
    } else {
        net_count(NET_Ip6_InUnknownProtos);
        refuse(p, PARAM_NEXT_HEADER, c->said);
    }
}

/* Whether a first fragment has all headers, the transport's included (RFC 7112, RFC 8200 4.5). */
static bool has_all_headers(const struct pkt *p, uint8_t next)
{
    uint32_t at = 0;
    uint8_t h[2];

    while (next == IPPROTO_DSTOPTS_N || next == IPPROTO_ROUTING_N) {
        if (!pkt_copy_out(p, at, h, sizeof(h)))
            return false;
        next = h[0];
        at += 8u + h[1] * 8u;
    }
    bool eight = next == IPPROTO_UDP_N || next == IPPROTO_UDPLITE_N || next == IPPROTO_ICMPV6_N;
    uint32_t least = next == IPPROTO_TCP_N ? 20 : eight ? 8 : 0;
    return p->len >= at + least;
}

/* The fragment header at data. Returns the datagram if it is whole. */
static struct pkt *fragment(struct netif *n, struct pkt *p, struct chain *c)
{
    if (!pkt_make_linear(p, 8)) {
        net_drop(p, NET_Ip6_InTruncatedPkts);
        return NULL;
    }
    c->next = p->data[0];
    uint16_t frag = get16(p->data + 2), offset = frag & 0xfff8;
    uint32_t id = get32(p->data + 4);
    bool more = frag & 1;
    skip(p, 8);
    if (offset || more) {
        if (more && p->len % 8) {
            refuse(p, PARAM_HEADER, 4);
            return NULL;
        }
        if (p->l4 - IP6_HEADER - 8u + offset + p->len > 65535) {
            refuse(p, PARAM_HEADER, p->l4 - 6u);
            return NULL;
        }
        if (!offset && !has_all_headers(p, c->next)) {
            refuse(p, PARAM_INCOMPLETE, 0);
            return NULL;
        }
        p->proto = c->next;
        p = reassemble(n, p, id, offset, more);
        if (!p)
            return NULL;
        c->next = p->proto; /* what the first fragment said */
    }                       /* else it is an atomic one (RFC 6946) */
    c->said = (uint16_t)(p->l4 - 8u);
    c->fragmented = true;
    return p;
}

static void walk(struct netif *n, struct pkt *p, uint8_t next)
{
    struct chain c = {.next = next, .said = 6};

    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        if (c.next == IPPROTO_FRAGMENT_N) {
            p = fragment(n, p, &c);
            if (!p)
                return;
            continue;
        }
        /* Hop-by-hop options are known in the first place alone. */
        if (c.next != IPPROTO_DSTOPTS_N && c.next != IPPROTO_ROUTING_N &&
            !(c.next == IPPROTO_HOPOPTS_N && i == 0)) {
            transport(n, p, &c);
            return;
        }
        uint32_t len = pkt_make_linear(p, 8) ? 8u + p->data[1] * 8u : 0;
        if (!len || !pkt_make_linear(p, len)) {
            net_drop(p, NET_Ip6_InTruncatedPkts);
            return;
        }
        if (c.next == IPPROTO_ROUTING_N) {
            if (p->data[3]) { /* segments left: we forward nothing (RFC 5095) */
                refuse(p, PARAM_HEADER, p->l4 + 2u);
                return;
            }
        } else if (!options_ok(p, len)) {
            return;
        }
        c.next = p->data[0];
        c.said = p->l4;
        skip(p, len);
    }
    net_drop(p, NET_Librettos_Ip6ExtensionInvalid);
}

void ip6_input(struct netif *n, struct pkt *p)
{
    net_count(NET_Ip6_InReceives);
    if (unlikely(p->linear < IP6_HEADER) && !pkt_make_linear(p, IP6_HEADER)) {
        net_drop(p, NET_Ip6_InTruncatedPkts);
        return;
    }
    const uint8_t *h = p->data;
    uint32_t payload = get16(h + 4);
    if (unlikely((h[0] >> 4) != 6)) {
        net_drop(p, NET_Ip6_InHdrErrors);
        return;
    }
    if (unlikely(payload > p->len - IP6_HEADER)) {
        net_drop(p, NET_Ip6_InTruncatedPkts);
        return;
    }
    if (payload < p->len - IP6_HEADER)
        pkt_trim_to(p, payload + IP6_HEADER);
    p->src.q[0] = *(const wire64 *)(h + 8);
    p->src.q[1] = *(const wire64 *)(h + 16);
    p->dst.q[0] = *(const wire64 *)(h + 24);
    p->dst.q[1] = *(const wire64 *)(h + 32);
    p->tos = (uint8_t)(get16(h) >> 4);
    p->ttl = h[7];
    p->l4 = IP6_HEADER;
    uint8_t next = h[6];
    if (unlikely(!source_ok(n, &p->src))) {
        net_drop(p, NET_Librettos_Ip6SourceInvalid);
        return;
    }
    if (unlikely(!for_us(n, p))) {
        net_drop(p, NET_Ip6_InAddrErrors);
        return;
    }
    pkt_pull(p, IP6_HEADER);
    if (likely(next == IPPROTO_TCP_N || next == IPPROTO_UDP_N))
        transport(n, p, &(struct chain){.next = next, .said = 6});
    else
        walk(n, p, next);
}

int ip6_fragment(struct ip_flow *f, struct pkt *p)
{
    uint32_t room = (f->mtu - IP6_HEADER - 8u) & ~7u, total = p->len, id = rand_u32();
    int err = 0;

    if ((p->flags & PKT_CSUM_PARTIAL) && p->linear >= p->csum_offset + 2u) {
        uint16_t sum = csum_fold(pkt_csum(p, 0, p->len, 0));
        *(wire16 *)(p->data + p->csum_offset) = sum ? sum : 0xffff;
    }
    for (uint32_t off = 0; off < total && !err; off += room) {
        uint32_t n = MIN(room, total - off);
        struct pkt *s = pkt_alloc(ETH_HEADER + IP6_HEADER + 8 + 16);
        if (!s || !pkt_append_range(s, p, off, n)) {
            if (s)
                pkt_free(s);
            err = -ENOBUFS;
            break;
        }
        send_buffer_charge_part(s, p);
        uint8_t *h = pkt_push(s, 8);
        h[0] = f->proto;
        h[1] = 0;
        put16(h + 2, (uint16_t)(off | (off + n < total)));
        put32(h + 4, id);
        h = pkt_push(s, ETH_HEADER + IP6_HEADER);
        memcpy(h, f->neighbour->header.b, ETH_HEADER);
        h += ETH_HEADER;
        put32(h, 0x60000000u | (uint32_t)f->tos << 20);
        put16(h + 4, (uint16_t)(n + 8));
        h[6] = IPPROTO_FRAGMENT_N;
        h[7] = f->ttl;
        memcpy(h + 8, &f->src, 16);
        memcpy(h + 24, &f->dst, 16);
        s->netif = f->netif;
        net_count(NET_Ip6_FragCreates);
        err = neighbour_output(f->neighbour, s);
    }
    net_count(err ? NET_Ip6_FragFails : NET_Ip6_FragOKs);
    pkt_free(p);
    return err;
}
