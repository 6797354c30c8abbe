/*
 * What a domain may send: frames with its own MAC, IP and, at the shared address, port. Frames are
 * parsed in a private copy; each refusal has a counter.
 */
#include "servers/net_internal.h"

#define ARP_REQUEST 1u
#define ICMP6_ROUTER_SOLICIT 133u
#define ICMP6_ROUTER_ADVERT 134u
#define ICMP6_NEIGHBOUR_SOLICIT 135u
#define ICMP6_NEIGHBOUR_ADVERT 136u
#define ICMP6_REDIRECT 137u
#define ND_OPT_SOURCE_MAC 1u
#define ND_OPT_TARGET_MAC 2u

static bool shared(const struct server_slot *s)
{
    return s->grants.mode == CHANNEL_SHARED;
}

/* A dedicated domain without a granted IPv4 address got one by DHCP: its MAC is what counts. */
static bool own_ip4(const struct server_slot *s, const uint8_t *ip)
{
    return s->grants.ipv4_prefix ? !memcmp(ip, s->grants.ipv4, 4) : !shared(s);
}

/* The granted one, and those that autoconfiguration makes of the granted MAC (RFC 4862). */
static bool own_ip6(const struct server_slot *s, const uint8_t *ip)
{
    return (s->grants.ipv6_prefix && !memcmp(ip, s->grants.ipv6, 16)) ||
           !memcmp(ip + 8, s->eui64, sizeof(s->eui64));
}

static bool all_zero(const uint8_t *p, unsigned n)
{
    while (n && !*p)
        p++, n--;
    return !n;
}

/* RFC 826; RFC 5227 2.1.1 for the probe, which has no sender address. */
static bool arp_ok(const struct server_slot *s, const struct frame_info *f)
{
    const uint8_t *arp = f->h + ETH_HEADER;
    const uint8_t *sender_mac = arp + 8, *sender_ip = arp + 14, *target_ip = arp + 24;

    if (!mac_equal(sender_mac, s->grants.mac))
        return false;
    if (shared(s)) /* the server speaks for the address: domains only ask for others */
        return get16(arp + 6) == ARP_REQUEST && own_ip4(s, sender_ip) && !own_ip4(s, target_ip);
    return own_ip4(s, sender_ip) || all_zero(sender_ip, 4);
}

/* The link-layer address options of a neighbour discovery message name our MAC only. */
static bool nd_options_ok(const struct server_slot *s, const struct frame_info *f, uint32_t at)
{
    while (at + 8 <= f->n) {
        const uint8_t *o = f->h + at;
        if (!o[1])
            return false;
        if ((o[0] == ND_OPT_SOURCE_MAC || o[0] == ND_OPT_TARGET_MAC) &&
            !mac_equal(o + 2, s->grants.mac))
            return false;
        at += o[1] * 8u;
    }
    return true;
}

static bool nd_ok(const struct server_slot *s, const struct frame_info *f)
{
    const uint8_t *icmp = f->h + f->l4;

    if (f->proto != IPPROTO_ICMPV6_N || f->n < f->l4 + 1)
        return true;
    switch (icmp[0]) {
    case ICMP6_ROUTER_ADVERT:
    case ICMP6_REDIRECT:
        return false;
    case ICMP6_ROUTER_SOLICIT:
        return nd_options_ok(s, f, f->l4 + 8);
    case ICMP6_NEIGHBOUR_SOLICIT:
        return f->n >= f->l4 + 24 && nd_options_ok(s, f, f->l4 + 24);
    case ICMP6_NEIGHBOUR_ADVERT:
        return !shared(s) && f->n >= f->l4 + 24 && own_ip6(s, icmp + 8) &&
               nd_options_ok(s, f, f->l4 + 24);
    default:
        return true;
    }
}

static bool ip_ok(const struct server_slot *s, const struct frame_info *f)
{
    const uint8_t *ip = f->h + ETH_HEADER;

    if (!f->v6)
        return own_ip4(s, ip + 12);
    if (all_zero(ip + 8, 16)) /* looking for duplicates, listening to groups */
        return f->proto == IPPROTO_ICMPV6_N && !shared(s) && nd_ok(s, f);
    return own_ip6(s, ip + 8) && nd_ok(s, f);
}

/* At the shared address: ports are owned, later fragments follow a first one. */
static bool port_ok(struct server_slot *s, const struct frame_info *f)
{
    bool ported = f->proto == IPPROTO_TCP_N || f->proto == IPPROTO_UDP_N;

    if (!shared(s))
        return true;
    if (!f->first)
        return server_fragment_owner(f) == s;
    if (ported && (!f->has_ports || server_port_owner(f->proto, f->src_port) != s))
        return false;
    if (f->fragment)
        server_fragment_note(f, s);
    return true;
}

/* What the frame asks for agrees with what it is: a checksum to fill in begins where the transport
 * header does, and only TCP and UDP are cut. */
static bool offload_ok(const struct pkt *p, const struct frame_info *f)
{
    if (!(p->flags & PKT_CSUM_PARTIAL))
        return true;
    if (f->fragment || p->csum_start != f->l4 || f->n < f->l4 + 8)
        return false;
    if (f->proto == IPPROTO_TCP_N)
        return p->csum_offset == 16 &&
               (p->gso == GSO_NONE || p->gso == (f->v6 ? GSO_TCP6 : GSO_TCP4));
    return f->proto == IPPROTO_UDP_N && p->csum_offset == 6 &&
           (p->gso == GSO_NONE || p->gso == GSO_UDP);
}

bool server_may_send(struct server_slot *s, const struct pkt *p, const struct frame_info *f)
{
    bool ip = f->type == ETH_TYPE_IP4 || f->type == ETH_TYPE_IP6;

    if (!mac_equal(f->h + MAC_LEN, s->grants.mac)) {
        s->counts->drop_mac++;
        return false;
    }
    if (f->type == ETH_TYPE_ARP ? !arp_ok(s, f) : ip && !ip_ok(s, f)) {
        s->counts->drop_ip++;
        return false;
    }
    if ((!ip && f->type != ETH_TYPE_ARP) || !offload_ok(p, f)) {
        s->counts->drop_malformed++;
        return false;
    }
    if (ip && !port_ok(s, f)) {
        s->counts->drop_port++;
        return false;
    }
    return true;
}
