/* Reading a frame's headers (Ethernet II, RFC 791, RFC 8200) in a private copy. */
#include "servers/net_internal.h"

#define IP4_FRAGMENT 0x1fffu
#define IP4_MORE 0x2000u
#define ICMP_QUOTE 8u /* of the error's own header in front of what it quotes */

static void take_ports(struct frame_info *f)
{
    if ((f->proto != IPPROTO_TCP_N && f->proto != IPPROTO_UDP_N) || f->n < f->l4 + 4)
        return;
    f->has_ports = true;
    f->src_port = get16(f->h + f->l4);
    f->dst_port = get16(f->h + f->l4 + 2);
}

static bool parse_ip4(const struct pkt *p, struct frame_info *f)
{
    const uint8_t *ip = f->h + ETH_HEADER;

    if (f->n < ETH_HEADER + IP4_HEADER || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
        return false;
    f->l4 = ETH_HEADER + (ip[0] & 15) * 4u;
    f->end = ETH_HEADER + get16(ip + 2);
    f->n = MIN(f->n, f->end);
    if (f->l4 > f->n || f->end > p->len)
        return false;
    uint16_t fragment = get16(ip + 6);
    f->proto = ip[9];
    f->fragment = fragment & (IP4_FRAGMENT | IP4_MORE);
    f->first = !(fragment & IP4_FRAGMENT);
    f->frag_id = get16(ip + 4);
    if (f->first)
        take_ports(f);
    return true;
}

static bool parse_ip6(const struct pkt *p, struct frame_info *f)
{
    const uint8_t *ip = f->h + ETH_HEADER;

    if (f->n < ETH_HEADER + IP6_HEADER || ip[0] >> 4 != 6)
        return false;
    f->end = ETH_HEADER + IP6_HEADER + get16(ip + 4);
    f->n = MIN(f->n, f->end);
    if (f->end > p->len)
        return false;
    f->v6 = f->first = true;
    f->proto = ip[6];
    f->l4 = ETH_HEADER + IP6_HEADER;
    while (f->proto == IPPROTO_HOPOPTS_N || f->proto == IPPROTO_ROUTING_N ||
           f->proto == IPPROTO_DSTOPTS_N || f->proto == IPPROTO_FRAGMENT_N) {
        const uint8_t *x = f->h + f->l4;
        if (f->n < f->l4 + 8)
            return false;
        if (f->proto == IPPROTO_FRAGMENT_N) {
            f->fragment = true;
            f->first = !(get16(x + 2) & 0xfff8);
            f->frag_id = get32(x + 4);
        }
        f->l4 += f->proto == IPPROTO_FRAGMENT_N ? 8 : (x[1] + 1u) * 8;
        f->proto = x[0];
        if (f->l4 > f->n)
            return false;
        if (!f->first)
            return true; /* what follows is not a header */
    }
    take_ports(f);
    return true;
}

bool frame_parse(const struct pkt *p, struct frame_info *f)
{
    f->n = MIN(p->len, PARSE_MAX);
    f->v6 = f->fragment = f->first = f->has_ports = false;
    f->proto = 0;
    f->l4 = 0;
    f->end = p->len;
    f->h = p->data;
    if (p->linear < f->n) {
        pkt_copy_out(p, 0, f->copy, f->n);
        f->h = f->copy;
    }
    if (f->n < ETH_HEADER)
        return false;
    f->type = get16(f->h + 12);
    if (f->type == ETH_TYPE_IP4)
        return parse_ip4(p, f);
    if (f->type == ETH_TYPE_IP6)
        return parse_ip6(p, f);
    return f->type != ETH_TYPE_ARP || f->n >= ETH_HEADER + 28;
}

static bool is_icmp_error(const struct frame_info *f)
{
    uint8_t type = f->h[f->l4];

    return f->v6 ? type >= 1 && type <= 4 : type == 3 || type == 11 || type == 12;
}

bool frame_quoted(const struct frame_info *f, struct frame_quote *q)
{
    uint32_t at = f->l4 + ICMP_QUOTE, l4;

    if (!frame_is_icmp(f) || !f->first || f->n < at + (f->v6 ? IP6_HEADER : IP4_HEADER) ||
        !is_icmp_error(f))
        return false;
    const uint8_t *ip = f->h + at;
    if (f->v6) {
        q->proto = ip[6];
        l4 = at + IP6_HEADER;
    } else {
        q->proto = ip[9];
        l4 = at + (ip[0] & 15) * 4u;
        if ((ip[0] & 15) < 5 || get16(ip + 6) & IP4_FRAGMENT)
            return false;
    }
    if (f->n < l4 + 4 || (q->proto != IPPROTO_TCP_N && q->proto != IPPROTO_UDP_N))
        return false;
    q->src_port = get16(f->h + l4);
    q->dst_port = get16(f->h + l4 + 2);
    return true;
}
