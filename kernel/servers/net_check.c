/*
 * What a domain may send: frames with its own MAC, IP and, at the shared address, port. Frames are
 * parsed in a private copy; each refusal has a counter.
 */
#include "servers/net_internal.h"

#define ARP_REQUEST 1u
#define ARP_REPLY 2u
#define ICMP_ECHO 8u
#define ICMP6_ECHO 128u
#define ICMP6_MLD_FIRST 130u
#define ICMP6_MLD_LAST 132u
#define ICMP6_MLD2_REPORT 143u
#define ICMP6_ROUTER_SOLICIT 133u
#define ICMP6_ROUTER_ADVERT 134u
#define ICMP6_NEIGHBOUR_SOLICIT 135u
#define ICMP6_NEIGHBOUR_ADVERT 136u
#define ICMP6_REDIRECT 137u
#define ND_OPT_SOURCE_MAC 1u
#define ND_OPT_TARGET_MAC 2u
#define DHCP_SERVER_PORT 67u
#define DHCP_CLIENT_PORT 68u
#define DHCP_CHADDR 28u        /* where a message has the client's MAC */
#define GSO_SEGMENTS_MAX 1024u /* 64 KiB in the smallest segments that our TCP makes */

static bool shared(const struct server_slot *s)
{
    return s->grants.mode == CHANNEL_SHARED;
}

/* A dedicated domain without a granted IPv4 address gets one by DHCP, which we do not follow: it
 * may have any that is not known to be another's. */
static bool own_ip4(struct server_slot *s, const uint8_t *ip)
{
    if (s->grants.ipv4_prefix)
        return !memcmp(ip, s->grants.ipv4, 4);
    return !shared(s) && server_ip4_is_free(s, ip);
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

/* RFC 826. A probe (RFC 5227 2.1.1) has no sender address; whoever is about to take the one it asks
 * for gives way to it, so it asks for its own. */
static bool arp_ok(struct server_slot *s, const struct frame_info *f)
{
    static const uint8_t ethernet_ip4[] = {0, 1, 8, 0, 6, 4};
    const uint8_t *arp = f->h + ETH_HEADER;
    const uint8_t *sender_mac = arp + 8, *sender_ip = arp + 14, *target_ip = arp + 24;
    uint16_t op = get16(arp + 6);

    if (memcmp(arp, ethernet_ip4, sizeof(ethernet_ip4)) || !mac_equal(sender_mac, s->grants.mac))
        return false;
    if (shared(s)) /* the server speaks for the address: domains only ask for others */
        return op == ARP_REQUEST && own_ip4(s, sender_ip) && !own_ip4(s, target_ip);
    if (op == ARP_REQUEST && all_zero(sender_ip, 4))
        return own_ip4(s, target_ip);
    return (op == ARP_REQUEST || op == ARP_REPLY) && own_ip4(s, sender_ip);
}

/* The link-layer address options of a neighbour discovery message name our MAC only. */
static bool nd_options_ok(const struct server_slot *s, const struct frame_info *f, uint32_t at)
{
    while (at + 8 <= f->end) {
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

/* Neighbour discovery is checked whole: not in fragments (RFC 6980), nor where we do not see all of
 * it. `searching`: without a source address, to find out whether one is free; whoever is about to
 * take the same gives way, so it asks for its own. */
static bool nd_ok(const struct server_slot *s, const struct frame_info *f, bool searching)
{
    const uint8_t *icmp = f->h + f->l4;

    if (f->proto != IPPROTO_ICMPV6_N || !f->first)
        return true;
    if (f->n < f->l4 + 1)
        return false;
    if (icmp[0] < ICMP6_ROUTER_SOLICIT || icmp[0] > ICMP6_REDIRECT)
        return true;
    if (f->fragment || f->end > f->n)
        return false;
    switch (icmp[0]) {
    case ICMP6_ROUTER_SOLICIT:
        return nd_options_ok(s, f, f->l4 + 8);
    case ICMP6_NEIGHBOUR_SOLICIT:
        return f->n >= f->l4 + 24 && (!searching || own_ip6(s, icmp + 8)) &&
               nd_options_ok(s, f, f->l4 + 24);
    case ICMP6_NEIGHBOUR_ADVERT:
        return !shared(s) && f->n >= f->l4 + 24 && own_ip6(s, icmp + 8) &&
               nd_options_ok(s, f, f->l4 + 24);
    default: /* routers' */
        return false;
    }
}

/* A question to DHCP servers from who has no address yet, or asks for it anew (RFC 2131 4.1): to
 * all, and about its own MAC. */
static bool asks_for_lease(const struct server_slot *s, const struct frame_info *f)
{
    const uint8_t *ip = f->h + ETH_HEADER, *message = f->h + f->l4 + 8;

    return !shared(s) && f->proto == IPPROTO_UDP_N && !f->fragment && all_zero(ip + 12, 4) &&
           get32(ip + 16) == 0xffffffff && f->src_port == DHCP_CLIENT_PORT &&
           f->dst_port == DHCP_SERVER_PORT && f->n >= f->l4 + 8 + DHCP_CHADDR + MAC_LEN &&
           mac_equal(message + DHCP_CHADDR, s->grants.mac);
}

static bool ip_ok(struct server_slot *s, const struct frame_info *f)
{
    const uint8_t *ip = f->h + ETH_HEADER;

    if (!f->v6)
        return own_ip4(s, ip + 12) || asks_for_lease(s, f);
    if (all_zero(ip + 8, 16)) /* looking for duplicates, listening to groups */
        return f->proto == IPPROTO_ICMPV6_N && !shared(s) && nd_ok(s, f, true);
    return own_ip6(s, ip + 8) && nd_ok(s, f, false);
}

/* ICMP of a shared domain: it pings, complains of what came to its own ports, and asks for
 * neighbours (nd_ok) and groups. The rest is the server's. */
static bool shared_icmp_ok(struct server_slot *s, const struct frame_info *f)
{
    struct frame_quote q;

    if (f->n < f->l4 + 8)
        return false;
    uint8_t type = f->h[f->l4];
    if (type == (f->v6 ? ICMP6_ECHO : ICMP_ECHO))
        return server_sends_echo(f, s);
    if (frame_quoted(f, &q))
        return server_port_owner(q.proto, q.dst_port) == s;
    return f->v6 &&
           (type == ICMP6_ROUTER_SOLICIT || type == ICMP6_NEIGHBOUR_SOLICIT ||
            (type >= ICMP6_MLD_FIRST && type <= ICMP6_MLD_LAST) || type == ICMP6_MLD2_REPORT);
}

/* At the shared address: ports are owned, later fragments follow a first one, and what has no ports
 * could not be answered to the one who sent it. */
static bool port_ok(struct server_slot *s, const struct frame_info *f)
{
    if (!shared(s))
        return true;
    if (!f->first)
        return server_fragments_of(f) == s;
    if (f->has_ports       ? server_port_owner(f->proto, f->src_port) != s
        : frame_is_icmp(f) ? !shared_icmp_ok(s, f)
                           : f->v6 || f->proto != IPPROTO_IGMP_N)
        return false;
    return !f->fragment || server_sends_fragments(f, s);
}

/* What the frame asks for agrees with what it is: a checksum to fill in begins where the transport
 * header does, and only TCP and UDP are cut, into no more pieces than make sense. */
static bool offload_ok(const struct pkt *p, const struct frame_info *f)
{
    if (!(p->flags & PKT_CSUM_PARTIAL))
        return true;
    if (f->fragment || p->csum_start != f->l4 || f->n < f->l4 + 8 ||
        (p->gso && DIV_ROUND_UP(p->len, (uint32_t)p->gso_size) > GSO_SEGMENTS_MAX))
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
