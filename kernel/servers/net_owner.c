/*
 * Who owns what of the shared address. Ports are granted in the table. Echo requests and fragmented
 * datagrams are remembered as they pass, in small tables whose oldest entry gives way: what is lost
 * with a server is one ping, or one datagram that was under way.
 */
#include "servers/net_internal.h"

#define SEEN 64u
#define SEEN_FOR (5 * NSEC_PER_SEC)

struct seen {
    struct ip_addr src, dst; /* of an echo: dst is the one who is to answer, src is left out */
    uint32_t id;
    uint8_t proto;
    uint16_t slot;
    nsec_t until;
};

static struct seen fragments[SEEN], echoes[SEEN];
static unsigned next_fragment, next_echo;

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

static void note(struct seen *table, unsigned *next, const struct seen *key,
                 const struct server_slot *s)
{
    struct seen *e = find(table, key);

    if (!e)
        e = &table[(*next)++ % SEEN];
    *e = *key;
    e->slot = (uint16_t)s->number;
    e->until = time_coarse() + SEEN_FOR;
}

static struct server_slot *owner(struct seen *table, const struct seen *key)
{
    struct seen *e = find(table, key);
    struct server_slot *s = e ? server.slots[e->slot] : NULL;

    return s && s->serving ? s : NULL;
}

static struct seen fragment_key(const struct frame_info *f)
{
    return (struct seen){.src = frame_addr(f, true),
                         .dst = frame_addr(f, false),
                         .id = f->frag_id,
                         .proto = f->v6 ? 0 : f->proto};
}

void server_fragment_note(const struct frame_info *f, struct server_slot *s)
{
    struct seen key = fragment_key(f);

    note(fragments, &next_fragment, &key, s);
}

struct server_slot *server_fragment_owner(const struct frame_info *f)
{
    struct seen key = fragment_key(f);

    return owner(fragments, &key);
}

static struct seen echo_key(const struct frame_info *f, bool request)
{
    return (struct seen){
        .dst = frame_addr(f, !request), .id = get16(f->h + f->l4 + 4), .proto = f->proto};
}

void server_echo_note(const struct frame_info *f, struct server_slot *s)
{
    struct seen key = echo_key(f, true);

    note(echoes, &next_echo, &key, s);
}

struct server_slot *server_echo_owner(const struct frame_info *f)
{
    struct seen key = echo_key(f, false);

    return owner(echoes, &key);
}
