/*
 * Who owns what of the shared address. Ports are granted in the table. Echo requests and fragmented
 * datagrams are remembered as they pass, in small tables whose oldest entry gives way: what is lost
 * with a server is one ping, or one datagram that was under way.
 */
#include "servers/net_internal.h"

#define SEEN 256u
#define SEEN_QUOTA 16u /* of a domain: nobody pushes out what others need */
#define SEEN_FOR (5 * NSEC_PER_SEC)
#define BY_NIC NET_SLOTS

struct seen {
    struct ip_addr src, dst; /* of an echo: dst is the one who is to answer, src is left out */
    uint32_t id;
    uint8_t proto;
    uint16_t slot; /* whose it is */
    uint16_t by;   /* whose frame it was noted by: a slot or BY_NIC */
    nsec_t until;
};

static struct seen sent[SEEN], received[SEEN], echoes[SEEN];

static uint16_t port_entry(uint8_t proto, uint16_t port)
{
    uint32_t base = proto == IPPROTO_TCP_N ? NET_TABLE_TCP : NET_TABLE_UDP;
    const uint16_t *owners = (const uint16_t *)(server.table + base);

    return READ_ONCE(owners[port]);
}

bool server_port_is_owned(uint8_t proto, uint16_t port)
{
    return port_entry(proto, port) != 0;
}

struct server_slot *server_port_owner(uint8_t proto, uint16_t port)
{
    uint16_t owner = port_entry(proto, port);
    struct server_slot *s = owner && owner <= NET_SLOTS ? server.slots[owner - 1] : NULL;

    return s && s->serving && s->grants.mode == CHANNEL_SHARED ? s : NULL;
}

static bool same(const struct seen *a, const struct seen *b)
{
    return a->id == b->id && a->proto == b->proto && ip_equal(&a->src, &b->src) &&
           ip_equal(&a->dst, &b->dst);
}

static struct seen *find(struct seen *table, const struct seen *key)
{
    for (unsigned i = 0; i < SEEN; i++)
        if (table[i].until > time_coarse() && same(&table[i], key))
            return &table[i];
    return NULL;
}

/* False: another sender's entry says the same. */
static bool note(struct seen *table, struct seen key, unsigned slot, unsigned by)
{
    struct seen *oldest = &table[0], *own_oldest = NULL;
    nsec_t now = time_coarse();
    unsigned own = 0;
    struct seen *e = find(table, &key);

    if (e && e->by != by)
        return false;
    for (unsigned i = 0; i < SEEN && !e; i++) {
        if (table[i].until < oldest->until)
            oldest = &table[i];
        if (table[i].until <= now || table[i].by != by)
            continue;
        own++;
        if (!own_oldest || table[i].until < own_oldest->until)
            own_oldest = &table[i];
    }
    if (!e)
        e = by != BY_NIC && own >= SEEN_QUOTA ? own_oldest : oldest;
    *e = key;
    e->slot = (uint16_t)slot;
    e->by = (uint16_t)by;
    e->until = now + SEEN_FOR;
    return true;
}

static struct server_slot *owner(struct seen *table, const struct seen *key)
{
    struct seen *e = find(table, key);

    return e ? server.slots[e->slot] : NULL;
}

static void forget(struct seen *table, unsigned slot)
{
    for (unsigned i = 0; i < SEEN; i++)
        if (table[i].slot == slot || table[i].by == slot)
            table[i].until = 0;
}

void server_forget(const struct server_slot *s)
{
    forget(sent, s->number);
    forget(received, s->number);
    forget(echoes, s->number);
}

static struct seen fragment_key(const struct frame_info *f)
{
    return (struct seen){.src = frame_addr(f, true),
                         .dst = frame_addr(f, false),
                         .id = f->frag_id,
                         .proto = f->v6 ? 0 : f->proto};
}

bool server_sends_fragments(const struct frame_info *f, struct server_slot *s)
{
    return note(sent, fragment_key(f), s->number, s->number);
}

struct server_slot *server_fragments_of(const struct frame_info *f)
{
    struct seen key = fragment_key(f);

    return owner(sent, &key);
}

bool server_gets_fragments(const struct frame_info *f, struct server_slot *to,
                           const struct server_slot *from)
{
    return note(received, fragment_key(f), to->number, from ? from->number : BY_NIC);
}

struct server_slot *server_fragments_for(const struct frame_info *f)
{
    struct seen key = fragment_key(f);

    return owner(received, &key);
}

/* By identifier and sequence number: programs in two domains may well have the same identifier. */
static struct seen echo_key(const struct frame_info *f, bool request)
{
    return (struct seen){
        .dst = frame_addr(f, !request), .id = get32(f->h + f->l4 + 4), .proto = f->proto};
}

bool server_sends_echo(const struct frame_info *f, struct server_slot *s)
{
    return note(echoes, echo_key(f, true), s->number, s->number);
}

struct server_slot *server_echo_owner(const struct frame_info *f)
{
    struct seen key = echo_key(f, false);

    return owner(echoes, &key);
}
