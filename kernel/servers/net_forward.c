/*
 * Where frames go. A dedicated address is told by its MAC, so its frames are switched as they are.
 * The shared address has one MAC: its frames go by port, by what an ICMP message is about, or to
 * the server's own stack.
 */
#include "servers/net_internal.h"

#include "channel/frame.h"
#include "net/gso.h"

#define ARP_REPLY 2u
#define ICMP_ECHO_REPLY 0u
#define ICMP6_ECHO_REPLY 129u
#define ICMP6_ROUTER_ADVERT 134u
#define ICMP6_NEIGHBOUR_ADVERT 136u

/* --- into a channel --------------------------------------------------------------------------- */

/* Both directions of a connection meet on one queue pair, so on one CPU of the domain. */
static unsigned queue_for(const struct server_slot *s, const struct frame_info *f)
{
    return s->nqueues > 1 && f->has_ports ? (unsigned)(f->src_port ^ f->dst_port) % s->nqueues : 0;
}

/* One packet that needs no more than the domain can do. A full ring is its domain's loss: waiting
 * for it would stop everybody. */
static void put(struct server_slot *s, unsigned queue, struct pkt *p)
{
    struct channel_queue *q = &s->queues[queue];

    if (likely(q->live && channel_put_pkt(&q->tx, p) == 0)) {
        s->counts->rx_frames++;
        s->counts->rx_bytes += p->len;
        s->dirty |= server_bit(queue);
        s->recent = true;
        server_activate(s);
    } else {
        s->counts->drop_full++;
    }
    pkt_free(p);
}

static void deliver(struct server_slot *s, const struct frame_info *f, struct pkt *p)
{
    unsigned queue = queue_for(s, f);
    uint32_t features = channel_offloads(s->app_features);

    if (likely(!(pkt_needs(p) & ~features))) {
        put(s, queue, p);
        return;
    }
    struct pkt *list = gso_split(p, features);
    if (!list)
        s->counts->drop_memory++;
    for (struct pkt *next; list; list = next) {
        next = list->next;
        list->next = NULL;
        put(s, queue, list);
    }
}

static void deliver_copy(struct server_slot *s, const struct frame_info *f, const struct pkt *p)
{
    struct pkt *copy = pkt_clone(p);

    if (copy)
        deliver(s, f, copy);
    else
        s->counts->drop_memory++;
}

/* Uses a NIC of its own now: what is for it is sent where that NIC sees it. A domain that only says
 * so gets nothing. */
static bool is_parked(const struct server_slot *s)
{
    return s->grants.mode == CHANNEL_DEDICATED &&
           READ_ONCE(channel_side(s->dev, false)->state) == CHANNEL_PARKED;
}

/* --- to several ------------------------------------------------------------------------------- */

/* Whether an ARP request is of interest: others' need not be told to everybody. */
static bool wants_arp(const struct server_slot *s, const struct frame_info *f)
{
    const uint8_t *arp = f->h + ETH_HEADER;
    bool announcement = !memcmp(arp + 14, arp + 24, 4);

    return announcement || !s->grants.ipv4_prefix || !memcmp(arp + 24, s->grants.ipv4, 4);
}

/* A domain behind the shared address is told what routers and neighbours advertise, and gets the
 * groups' datagrams for its ports; the rest is the server's. */
static bool shared_wants(const struct server_slot *s, const struct frame_info *f)
{
    if (f->type == ETH_TYPE_ARP)
        return get16(f->h + ETH_HEADER + 6) == ARP_REPLY;
    if (f->proto == IPPROTO_ICMPV6_N && f->n > f->l4)
        return f->h[f->l4] == ICMP6_ROUTER_ADVERT || f->h[f->l4] == ICMP6_NEIGHBOUR_ADVERT;
    return f->has_ports && server_port_owner(f->proto, f->dst_port) == s;
}

/* Copies to all domains but `from` (NULL: none) that are to have it. The sender pays for each. */
static void to_all(struct server_slot *from, const struct frame_info *f, const struct pkt *p)
{
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        struct server_slot *s = server.slots[i];
        if (!s || s == from || !s->serving || is_parked(s))
            continue;
        bool wanted = s->grants.mode == CHANNEL_SHARED ? shared_wants(s, f)
                      : f->type == ETH_TYPE_ARP        ? wants_arp(s, f)
                                                       : true;
        if (!wanted)
            continue;
        deliver_copy(s, f, p);
        if (from)
            server_charge(from, p->len, p->gso_size);
    }
}

/* --- the shared address ----------------------------------------------------------------------- */

static struct server_slot *icmp_owner(const struct frame_info *f)
{
    uint8_t reply = f->v6 ? ICMP6_ECHO_REPLY : ICMP_ECHO_REPLY;
    struct frame_quote q;

    if (f->n < f->l4 + 8)
        return NULL;
    if (f->h[f->l4] == reply)
        return server_echo_owner(f);
    return frame_quoted(f, &q) ? server_port_owner(q.proto, q.src_port) : NULL;
}

/* Whose a frame to the shared MAC is; NULL: the server's own stack's. */
static struct server_slot *shared_owner(const struct frame_info *f, const struct server_slot *from)
{
    struct server_slot *s = NULL;

    if (!f->first)
        return server_fragments_for(f);
    if (f->has_ports)
        s = server_port_owner(f->proto, f->dst_port);
    else if (frame_is_icmp(f))
        s = icmp_owner(f);
    if (s && f->fragment && !server_gets_fragments(f, s, from))
        return NULL;
    return s;
}

/* Takes a unicast frame to the shared MAC if it is a domain's; `from` as for shared_owner: who sent
 * it, NULL: the NIC. */
static bool take_shared(const struct frame_info *f, struct pkt *p, const struct server_slot *from)
{
    bool ip = f->type == ETH_TYPE_IP4 || f->type == ETH_TYPE_IP6;
    struct server_slot *s = ip ? shared_owner(f, from) : NULL;

    if (s) {
        deliver(s, f, p);
        return true;
    }
    /* A domain's whose channel is not served yet: the peer tries again, whereas a reset from our
     * own stack would end a connection that is to survive us. */
    if (ip && f->first && f->has_ports && server_port_is_owned(f->proto, f->dst_port)) {
        server_page()->drop_no_owner++;
        pkt_free(p);
        return true;
    }
    /* What a domain asked its neighbours is answered to all, the own stack included. */
    if (f->type == ETH_TYPE_ARP ? get16(f->h + ETH_HEADER + 6) == ARP_REPLY
                                : ip && frame_is_icmp(f) && f->v6 && f->n > f->l4 &&
                                      f->h[f->l4] == ICMP6_NEIGHBOUR_ADVERT)
        to_all(NULL, f, p);
    return false;
}

void server_deliver(struct server_slot *s, struct pkt *p)
{
    struct frame_info f;

    if (frame_parse(p, &f))
        deliver(s, &f, p);
    else
        pkt_free(p);
}

/* --- from where ------------------------------------------------------------------------------- */

static void to_own_stack(struct pkt *p)
{
    if (!channel_settle_pkt(p)) {
        server_page()->drop_memory++;
        pkt_free(p);
        return;
    }
    if (p->flags & PKT_CSUM_PARTIAL) /* it never left this machine */
        p->flags = (uint8_t)((p->flags & ~PKT_CSUM_PARTIAL) | PKT_CSUM_OK);
    *server.local_tail = p;
    server.local_tail = &p->next;
}

static void to_nic(struct pkt *p)
{
    struct net_server_page *page = server_page();

    page->tx_frames++;
    page->tx_bytes += p->len;
    netif_transmit_frame(server.nic, p);
}

/* Whether the NIC may send it: no longer than the MTU, each segment if it is to be cut. */
static bool fits_nic(const struct pkt *p, const struct frame_info *f)
{
    uint32_t len = p->len;

    if (p->gso) /* offload_ok: the transport header is there */
        len = f->l4 + p->gso_size +
              (p->gso == GSO_UDP   ? 8
               : f->n > f->l4 + 12 ? (f->h[f->l4 + 12] >> 4) * 4u
                                   : 60);
    return len <= ETH_HEADER + server.nic->mtu;
}

static void slot_to_nic(struct server_slot *s, const struct frame_info *f, struct pkt *p)
{
    if (likely(fits_nic(p, f))) {
        to_nic(p);
        return;
    }
    s->counts->drop_malformed++;
    pkt_free(p);
}

void server_from_slot(struct server_slot *s, struct pkt *p)
{
    struct frame_info f;

    s->counts->tx_frames++;
    s->counts->tx_bytes += p->len;
    if (!frame_parse(p, &f)) {
        s->counts->drop_malformed++;
        pkt_free(p);
        return;
    }
    if (!server_may_send(s, p, &f)) {
        pkt_free(p);
        return;
    }
    if (f.h[0] & 1) {
        struct pkt *copy = pkt_clone(p);
        to_all(s, &f, p);
        if (copy)
            to_own_stack(copy);
        slot_to_nic(s, &f, p);
        return;
    }
    struct server_slot *to = server_by_mac(f.h);
    if (to && !is_parked(to))
        deliver(to, &f, p);
    else if (!mac_equal(f.h, server.nic->mac))
        slot_to_nic(s, &f, p);
    else if (!take_shared(&f, p, s))
        to_own_stack(p);
}

struct pkt *server_from_nic(struct pkt *p)
{
    struct net_server_page *page = server_page();
    struct frame_info f;

    page->rx_frames++;
    page->rx_bytes += p->len;
    if (!frame_parse(p, &f)) {
        page->drop_malformed++;
        pkt_free(p);
        return NULL;
    }
    if (f.h[0] & 1) {
        to_all(NULL, &f, p);
        return p;
    }
    if (mac_equal(f.h, server.nic->mac))
        return take_shared(&f, p, NULL) ? NULL : p;
    struct server_slot *to = server_by_mac(f.h);
    if (to) {
        deliver(to, &f, p);
    } else {
        page->drop_no_owner++;
        pkt_free(p);
    }
    return NULL;
}

struct pkt *server_from_stack(struct pkt *p)
{
    struct frame_info f;

    if (!frame_parse(p, &f))
        return p;
    if (f.h[0] & 1) {
        to_all(NULL, &f, p);
        return p;
    }
    struct server_slot *to = server_by_mac(f.h);
    if (!to || is_parked(to))
        return p;
    deliver(to, &f, p);
    return NULL;
}
