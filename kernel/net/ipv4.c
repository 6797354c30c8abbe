/* IPv4 (RFC 791, RFC 1122): input and output. */
#include "core/rand.h"
#include "net/ipimpl.h"
#include "net/sendbuf.h"

#define FRAG_MORE 0x2000u
#define FRAG_DONT 0x4000u
#define FRAG_OFFSET 0x1fffu
#define OPT_END 0u
#define OPT_NOP 1u
#define OPT_LSRR 131u
#define OPT_SSRR 137u

/* --- input ------------------------------------------------------------------------------------ */

/* 32-bit words of the header; it sums up to all ones. */
static inline bool header_sum_ok(const uint8_t *h, unsigned len)
{
    const wire32 *w = (const wire32 *)h;
    uint64_t sum = (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];

    for (unsigned i = 5; i < len / 4; i++)
        sum += w[i];
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

/* Walks the options: well formed, and no source routing (RFC 7126 4.3). */
static bool options_ok(const uint8_t *h, unsigned len)
{
    for (unsigned at = IP4_HEADER; at < len;) {
        unsigned type = h[at];
        if (type == OPT_END)
            break;
        if (type == OPT_NOP) {
            at++;
            continue;
        }
        if (at + 2 > len || h[at + 1] < 2 || at + h[at + 1] > len)
            return false;
        if (type == OPT_LSRR || type == OPT_SSRR) {
            net_count(NET_Librettos_Ip4SourceRoute);
            return false;
        }
        at += h[at + 1];
    }
    return true;
}

/* Whether a packet to dst that came in on n is for us. Sets PKT_BROADCAST for what isn't unicast.
 */
static bool for_us(struct netif *n, struct pkt *p)
{
    if (likely(p->dst.w[3] == READ_ONCE(n->main_v4)))
        return true;
    if (ip_is_multicast(&p->dst)) {
        p->flags |= PKT_BROADCAST;
        return true; /* which sockets want it is their business */
    }
    if (ip_is_loopback(&p->dst))
        return n->flags & NETIF_LOOPBACK;
    if (view_local(net_view(), NULL, &p->dst))
        return true;
    if (ip_is_broadcast(n, &p->dst)) {
        p->flags |= PKT_BROADCAST;
        return true;
    }
    return false;
}

/* RFC 1122 3.2.1.3: a source is one other host's address, and loopback addresses stay inside. */
static bool source_ok(const struct netif *n, const struct ip_addr *src)
{
    uint8_t first = src->b[12];

    if (unlikely(first >= 0xe0))
        return false;
    if (unlikely(first == 127))
        return n->flags & NETIF_LOOPBACK;
    return !view_forged(net_view(), n, src);
}

static bool header_ok(struct pkt *p, unsigned *header_len)
{
    if (unlikely(p->linear < IP4_HEADER) && !pkt_make_linear(p, IP4_HEADER))
        return false;
    unsigned len = IP4_HEADER;
    if (unlikely(p->data[0] != 0x45)) {
        len = (p->data[0] & 15) * 4u;
        if ((p->data[0] >> 4) != 4 || len < IP4_HEADER || !pkt_make_linear(p, len) ||
            !options_ok(p->data, len))
            return false;
    }
    uint32_t total = get16(p->data + 2);
    if (unlikely(total < len || total > p->len))
        return false;
    if (!(p->flags & PKT_LOOPED) && unlikely(!header_sum_ok(p->data, len)))
        return false;
    if (total < p->len)
        pkt_trim_to(p, total); /* Ethernet padding */
    *header_len = len;
    return true;
}

void ip4_input(struct netif *n, struct pkt *p)
{
    unsigned len;

    net_count(NET_Ip_InReceives);
    if (unlikely(!header_ok(p, &len))) {
        net_drop(p, NET_Ip_InHdrErrors);
        return;
    }
    const uint8_t *h = p->data;
    p->src = ip_from_v4(*(const wire32 *)(h + 12));
    p->dst = ip_from_v4(*(const wire32 *)(h + 16));
    p->tos = h[1];
    p->ttl = h[8];
    p->proto = h[9];
    p->l4 = (uint16_t)len;
    if (unlikely(!source_ok(n, &p->src))) {
        net_drop(p, NET_Librettos_Ip4SourceInvalid);
        return;
    }
    if (unlikely(!for_us(n, p))) {
        net_drop(p, NET_Ip_InAddrErrors);
        return;
    }
    uint16_t frag = *(const wire16 *)(h + 6);
    uint16_t id = get16(h + 4);
    pkt_pull(p, len);
    if (unlikely(frag & net16(FRAG_MORE | FRAG_OFFSET))) {
        frag = net16(frag);
        p = reassemble(n, p, id, (frag & FRAG_OFFSET) * 8u, frag & FRAG_MORE);
        if (!p)
            return;
    }
    ip4_deliver(n, p);
}

void ip4_deliver(struct netif *n, struct pkt *p)
{
    bool raw = false;

    if (p->proto == IPPROTO_TCP_N && likely(!(p->flags & PKT_BROADCAST))) {
        if (unlikely(p->linear < 20) && !pkt_make_linear(p, 20)) {
            net_drop(p, NET_Tcp_InErrs);
            return;
        }
        net_count(NET_Ip_InDelivers);
        tcp_input(p);
        return;
    }
    if (unlikely(atomic_load_explicit(&raw_socket_count[p->proto], memory_order_relaxed)))
        raw = raw_deliver(p);
    net_count(NET_Ip_InDelivers);
    switch (p->proto) {
    case IPPROTO_UDP_N:
        if (!pkt_make_linear(p, 8))
            net_drop(p, NET_Udp_InErrors);
        else
            udp_input(p);
        break;
    case IPPROTO_UDPLITE_N:
        if (!pkt_make_linear(p, 8))
            net_drop(p, NET_Udp_InErrors);
        else
            udplite_input(p);
        break;
    case IPPROTO_ICMP_N:
        icmp4_input(n, p);
        break;
    case IPPROTO_IGMP_N:
        igmp_input(n, p);
        break;
    default:
        if (!raw && p->proto != IPPROTO_TCP_N)
            icmp4_error(p, 3, 2, 0); /* protocol unreachable */
        net_drop(p, NET_Ip_InUnknownProtos);
    }
}

/* --- output ----------------------------------------------------------------------------------- */

static inline void fill_header(uint8_t *h, const struct ip_flow *f, uint8_t tos, uint32_t total,
                               uint32_t id_frag, uint32_t sum)
{
    wire32 *w = (wire32 *)h;

    w[0] = 0x45u | (uint32_t)tos << 8 | (uint32_t)net16((uint16_t)total) << 16;
    w[1] = id_frag;
    w[2] = f->ttl | (uint32_t)f->proto << 8 | (uint32_t)csum_fold(sum) << 16;
    w[3] = ip_v4(&f->src);
    w[4] = ip_v4(&f->dst);
}

static inline uint8_t *push_headers(struct pkt *p, const struct neighbour *nb, uint32_t ip_len)
{
    uint8_t *h = pkt_push(p, ETH_HEADER + ip_len);

    /* 16 bytes: two of the IP header that is written next. */
    *(wire64 *)h = nb->header.q[0];
    *(wire64 *)(h + 8) = nb->header.q[1];
    return h + ETH_HEADER;
}

int ip4_fragment(struct ip_flow *f, struct pkt *p)
{
    uint32_t room = (f->mtu - IP4_HEADER) & ~7u, total = p->len;
    uint32_t id = rand_u32() & 0xffff;
    int err = 0;

    if ((p->flags & PKT_CSUM_PARTIAL) && p->linear >= p->csum_offset + 2u) {
        p->csum_start = 0; /* from p->data, which is the transport header here */
        uint16_t sum = csum_fold(pkt_csum(p, 0, p->len, 0));
        *(wire16 *)(p->data + p->csum_offset) = sum ? sum : 0xffff;
    }
    for (uint32_t off = 0; off < total && !err; off += room) {
        uint32_t n = MIN(room, total - off);
        struct pkt *s = pkt_alloc(ETH_HEADER + IP4_HEADER + 16);
        if (!s || !pkt_append_range(s, p, off, n)) {
            if (s)
                pkt_free(s);
            err = -ENOBUFS;
            break;
        }
        send_buffer_charge_part(s, p);
        uint32_t frag = off / 8 | (off + n < total ? FRAG_MORE : 0);
        uint8_t *h = push_headers(s, f->neighbour, IP4_HEADER);
        fill_header(h, f, f->tos, n + IP4_HEADER, net32(id << 16 | frag), 0);
        *(wire16 *)(h + 10) = 0;
        *(wire16 *)(h + 10) = csum_fold(csum_add(h, IP4_HEADER, 0));
        s->netif = f->netif;
        net_count(NET_Ip_FragCreates);
        err = neighbour_output(f->neighbour, s);
    }
    net_count(err ? NET_Ip_FragFails : NET_Ip_FragOKs);
    pkt_free(p);
    return err;
}

static int output_large(struct ip_flow *f, struct pkt *p)
{
    if (f->dont_fragment || p->len > 65535 - IP4_HEADER) {
        net_drop(p, NET_Ip_FragFails);
        return -EMSGSIZE;
    }
    return ip4_fragment(f, p);
}

static inline int ip4_output(struct ip_flow *f, struct pkt *p)
{
    uint32_t total = p->len + IP4_HEADER;
    uint8_t ecn = p->tos & 3;

    if (unlikely(total > f->mtu) && (!p->gso || total > 65535))
        return output_large(f, p);
    uint8_t *h = push_headers(p, f->neighbour, IP4_HEADER);
    fill_header(h, f, f->tos | ecn, total, net32(FRAG_DONT),
                f->sum + ((uint32_t)ecn << 8) + net16((uint16_t)total));
    p->netif = f->netif;
    return neighbour_output(f->neighbour, p);
}

static inline int ip6_output(struct ip_flow *f, struct pkt *p)
{
    uint8_t tos = f->tos | (p->tos & 3);

    if (unlikely(p->len + IP6_HEADER > f->mtu) && (!p->gso || p->len > 65535)) {
        if (f->dont_fragment || p->len > 65535) {
            net_drop(p, NET_Ip6_FragFails);
            return -EMSGSIZE;
        }
        return ip6_fragment(f, p);
    }
    uint32_t payload = p->len;
    uint8_t *h = push_headers(p, f->neighbour, IP6_HEADER);
    *(wire32 *)h = net32(0x60000000u | (uint32_t)tos << 20);
    *(wire32 *)(h + 4) =
        net16((uint16_t)payload) | (uint32_t)f->proto << 16 | (uint32_t)f->ttl << 24;
    *(wire64 *)(h + 8) = f->src.q[0];
    *(wire64 *)(h + 16) = f->src.q[1];
    *(wire64 *)(h + 24) = f->dst.q[0];
    *(wire64 *)(h + 32) = f->dst.q[1];
    p->netif = f->netif;
    return neighbour_output(f->neighbour, p);
}

int ip_output(struct ip_flow *f, struct pkt *p)
{
    bool v4 = ip_is_v4(&f->dst);

    net_count(v4 ? NET_Ip_OutRequests : NET_Ip6_OutRequests);
    if (unlikely(ip_flow_stale(f))) {
        int err = ip_route(f);
        if (err) {
            net_drop(p, v4 ? NET_Ip_OutNoRoutes : NET_Ip6_OutNoRoutes);
            return err;
        }
    }
    return likely(v4) ? ip4_output(f, p) : ip6_output(f, p);
}
