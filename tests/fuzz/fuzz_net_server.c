/*
 * A hostile application domain against a network server. The input is a program of what domain 0
 * (a dedicated address) and domain 2 (the shared one) put into their rings, write into their
 * regions, and of what comes in from the wire. Checked all the while: what a hostile domain sends
 * leaves, by the wire or into another domain's channel, only under its own MAC and IP addresses and
 * ports, whatever is written to the ring while the NIC has it; the other domains get nothing else;
 * and nobody's end of a channel breaks but its own. Every slot can be let go once the NIC has sent.
 */
#include <stdlib.h>

#include "abi/net_table.h"
#include "channel/frame.h"
#include "core/init.h"
#include "floor.h"
#include "net/ether.h"
#include "net/ip.h"
#include "servers/net_server.h"

#define REGION (1u << 20)
#define APPS 4u
#define OWN_PORT 7000u /* domain 2's; domain 3 has OWN_PORT + 1 */

static const uint8_t nic_mac[6] = {2, 0, 0, 0, 0, 1};

struct app {
    uint8_t *mem;
    struct channel_device dev;
    struct server_slot *slot;
    struct channel_queue q;
    uint8_t mac[6];
};

static struct app apps[APPS];
static uint8_t *table;
static struct channel_device table_dev;
static bool wire_sends; /* a frame from the wire is under way */
static const uint8_t *in, *end;
static struct net_path wire;

static uint32_t eat(unsigned n)
{
    uint32_t v = 0;

    while (n-- && in < end)
        v = v << 8 | *in++;
    return v;
}

/* A frame leaves: under domain 0's MAC, or under the shared one (domain 2, or the own stack). */
static void check_identity(const uint8_t *f, uint32_t len)
{
    bool dedicated = !memcmp(f + 6, apps[0].mac, 6), shared = !memcmp(f + 6, nic_mac, 6);
    const uint8_t *ip = f + 14;

    if (wire_sends) /* who is there says what it likes */
        return;
    ASSERT(dedicated || shared);
    if (get16(f + 12) == ETH_TYPE_ARP) {
        ASSERT(len >= 42 && !memcmp(ip + 8, f + 6, 6));
    } else if (get16(f + 12) == ETH_TYPE_IP4) {
        ASSERT(len >= 34 && ip[12] == 10 && !ip[13] && !ip[14] && ip[15] == (shared ? 1 : 11));
        uint32_t l4 = (ip[0] & 15) * 4u;
        if (shared && ip[9] == 17 && !(get16(ip + 6) & 0x1fff))
            ASSERT(len >= 14 + l4 + 2 && get16(ip + l4) == OWN_PORT);
    } else {
        ASSERT(get16(f + 12) == ETH_TYPE_IP6);
        if (ip[6] == 58 && len > 54) /* nobody here is a router */
            ASSERT(ip[40] != 134 && ip[40] != 137);
    }
}

/* What the NIC has not sent yet; with each, what its headers were when they were checked. */
#define HEADERS 160u
static struct {
    struct pkt *p;
    uint8_t headers[HEADERS];
} held[16];
static unsigned nheld;
static bool nic_is_slow;

static bool wire_transmit(struct net_path *path, int queue, struct pkt *p)
{
    (void)path, (void)queue;
    if (nheld == ARRAY_SIZE(held))
        return false;
    uint8_t *b = held[nheld].headers;
    ASSERT(pkt_copy_out(p, 0, b, MIN(p->len, HEADERS)) && p->len <= 1514);
    check_identity(b, p->len);
    held[nheld++].p = p;
    return true;
}

/* One packet leaves, as its memory is now. */
static void nic_sends(unsigned i)
{
    struct pkt *p = held[i].p;
    uint8_t b[1514];

    ASSERT(pkt_copy_out(p, 0, b, p->len));
    ASSERT(!memcmp(b, held[i].headers, MIN(p->len, HEADERS)));
    held[i] = held[--nheld];
    bh_disable();
    pkt_free(p);
    bh_enable();
}

static void nic_works(void)
{
    while (nheld) {
        while (nheld)
            nic_sends(0);
        bh_disable();
        path_tx_ready(&wire, 0);
        bh_enable();
        floor_run();
    }
}

static void wire_flush(struct net_path *path, int queue)
{
    (void)path, (void)queue;
}

static const struct path_ops wire_ops = {.transmit = wire_transmit, .flush = wire_flush};
static struct net_path wire = {.ops = &wire_ops,
                               .kind = PATH_DIRECT,
                               .features = PATH_CSUM | PATH_SG,
                               .mtu = 1500,
                               .queues = 1,
                               .link_up = true,
                               .name = "wire"};

static void server_rings(struct channel_device *dev, uint32_t peer, unsigned vector)
{
    (void)dev, (void)peer, (void)vector;
}

/* The honest domains look at what they got; the hostile ones' rings are emptied too. */
static void drain(void)
{
    struct channel_frame f;

    for (unsigned i = 0; i < APPS; i++) {
        struct app *a = &apps[i];
        channel_queue_check(&a->q);
        if (!a->q.live)
            continue;
        while (channel_take(&a->q.rx, &f)) {
            if (i % 2)
                check_identity(f.data, f.desc.len);
            channel_release(&a->q.rx, 1);
        }
        channel_want_data(&a->q.rx);
        ASSERT(i % 2 == 0 || !channel_queue_broken(&a->q));
    }
}

static void run(void)
{
    for (unsigned i = 0; i < APPS; i++)
        net_server_channel_rung(apps[i].slot, 0);
    floor_run();
    if (!nic_is_slow)
        nic_works();
    drain();
}

static void grant(unsigned i)
{
    struct net_slot *s = (struct net_slot *)(table + NET_TABLE_GRANTS) + i;
    bool shared = i >= 2;
    const uint8_t mac[6] = {2, 0, 0, 0, (uint8_t)!shared, shared ? 1 : (uint8_t)i};

    memcpy(apps[i].mac, mac, 6);
    s->epoch = 1;
    s->state = NET_SLOT_GRANTED;
    s->queues = 1;
    s->slots = 256;
    s->grants = (struct channel_grants){.mtu = 1500,
                                        .mode = shared ? CHANNEL_SHARED : CHANNEL_DEDICATED,
                                        .ipv4_prefix = 24,
                                        .ipv4 = {10, 0, 0, shared ? 1 : (uint8_t)(11 + i)}};
    memcpy(s->grants.mac, mac, 6);
}

static void plug(unsigned i)
{
    struct app *a = &apps[i];
    struct channel_layout l;

    a->mem = aligned_alloc(CHANNEL_PAGE, REGION);
    memset(a->mem, 0, REGION);
    ASSERT(channel_layout(&l, REGION, 1, 256));
    channel_queue_create(&a->q, a->mem, &l, 0, false, CHANNEL_FEATURES);
    a->dev = (struct channel_device){.mem = a->mem,
                                     .paddr = (uintptr_t)a->mem,
                                     .size = REGION,
                                     .id = CHANNEL_PEER(i, CHANNEL_SERVER),
                                     .vectors = 4,
                                     .ring = server_rings};
    a->slot = net_server_add_channel(&a->dev);
    /* For domain 1 the server computes checksums and cuts. */
    channel_side(&a->dev, false)->features = i == 1 ? 0 : CHANNEL_FEATURES;
}

static void setup(void)
{
    struct ip_addr a;

    net_init();
    memcpy(wire.mac, nic_mac, 6);
    netif_register_path(&wire);
    struct netif *eth = netif_by_name("eth0");
    netif_set_up(eth, true);
    ip_parse("10.0.0.1", &a);
    netif_add_addr(eth, &a, 24);
    table = aligned_alloc(CHANNEL_PAGE, NET_TABLE_SIZE);
    memset(table, 0, NET_TABLE_SIZE);
    struct net_table *t = (void *)table;
    t->magic = NET_TABLE_MAGIC;
    t->version = NET_TABLE_VERSION;
    t->active = CHANNEL_SERVER;
    table_dev = (struct channel_device){.mem = table,
                                        .size = NET_TABLE_SIZE,
                                        .id = CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_SERVER),
                                        .ring = server_rings};
    net_server_init();
    ASSERT(net_server_add_table(&table_dev) == 0);
    for (unsigned i = 0; i < APPS; i++) {
        grant(i);
        plug(i);
    }
    for (unsigned i = 2; i < 4; i++)
        ((uint16_t *)(table + NET_TABLE_UDP))[OWN_PORT + i - 2] = (uint16_t)(i + 1);
    net_server_start(eth);
    net_server_table_rung();
    floor_run();
    floor_advance(20 * NSEC_PER_SEC);
    run();
    run();
}

/* A frame that is mostly right, with what the input changes in it. */
static uint32_t build(uint8_t *b, const uint8_t *src_mac, bool shared)
{
    static const uint8_t arp[] = {0, 1, 8, 0, 6, 4, 0, 1};
    uint8_t kind = (uint8_t)eat(1);
    uint32_t len = 14 + eat(1) % 200 + (kind & 0x80 ? eat(2) % 3000 : 0);

    memset(b, 0, len);
    memcpy(b, apps[kind % APPS].mac, 6);
    if (kind & 0x10)
        memset(b, 0xff, 6);
    memcpy(b + 6, src_mac, 6);
    b[12] = kind & 0x20 ? 0x86 : 8;
    b[13] = kind & 0x20 ? 0xdd : kind & 0x40 ? 6 : 0;
    if (len >= 60 && b[13] == 6) {
        memcpy(b + 14, arp, sizeof(arp));
        memcpy(b + 22, src_mac, 6);
        b[28] = 10;
        b[31] = shared ? 1 : 11;
    } else if (len >= 60 && b[12] == 8) {
        b[14] = 0x45;
        put16(b + 16, (uint16_t)(len - 14));
        b[23] = !(kind & 8) ? 1 : kind & 4 ? 6 : 17;
        b[46] = 0x50;
        b[26] = b[30] = 10;
        b[29] = shared ? 1 : 11;
        put16(b + 34, OWN_PORT);
    } else if (len >= 80 && b[12] == 0x86) {
        b[14] = 0x60;
        put16(b + 18, (uint16_t)(len - 54));
        b[20] = kind & 8 ? 58 : kind & 4 ? 44 : 60;
        b[22] = 0xfe;
        b[23] = 0x80;
        memcpy(b + 30, (uint8_t[]){src_mac[0] ^ 2, src_mac[1], src_mac[2], 0xff, 0xfe}, 5);
        memcpy(b + 35, src_mac + 3, 3);
        b[54] = kind & 8 ? (uint8_t)(128 + eat(1) % 16) : 58;
    }
    for (unsigned i = eat(1) % 8; i; i--)
        b[eat(1) % MIN(len, 200u)] = (uint8_t)eat(1);
    return len;
}

static void send_hostile(void)
{
    uint8_t b[4096];

    struct app *a = &apps[eat(1) & 1 ? 2 : 0];
    uint32_t len = build(b, a->mac, a == &apps[2]);
    struct channel_desc d = {.len = len};
    uint8_t how = (uint8_t)eat(1);
    if (how & 2) { /* as it should be, but for the size of segments */
        bool tcp = b[23] == 6;
        d = (struct channel_desc){.len = len,
                                  .flags = CHANNEL_CSUM_PARTIAL,
                                  .csum_start = 34,
                                  .csum_offset = tcp ? 16 : 6,
                                  .gso_type = tcp ? CHANNEL_GSO_TCP4 : CHANNEL_GSO_UDP,
                                  .gso_size = (uint16_t)eat(2)};
    } else if (how & 1) {
        d.flags = (uint8_t)eat(1);
        d.csum_start = (uint16_t)eat(2);
        d.csum_offset = (uint8_t)eat(1);
        d.gso_type = (uint8_t)eat(1);
        d.gso_size = (uint16_t)eat(2);
        d.header_len = (uint8_t)eat(1);
    }
    uint8_t *to = a->q.live ? channel_reserve(&a->q.tx, len) : NULL;
    if (to) {
        memcpy(to, b, len);
        channel_commit(&a->q.tx, &d);
    }
    run();
}

/* Words of its own line, or anything of its region, the server's pages included. */
static void scribble(void)
{
    struct app *a = &apps[eat(1) & 1 ? 2 : 0];
    uint32_t at = eat(1) & 1 ? 2 * CHANNEL_PAGE + 128 + eat(1) % 20 : eat(3) % (REGION - 4);
    uint32_t v = eat(4);

    memcpy(a->mem + at, &v, sizeof(v));
    run();
}

/* A domain's slot is taken away, whatever the NIC has of it, and given to it again. */
static void regrant(void)
{
    unsigned i = eat(1) & 1 ? 2 : 0;
    struct net_slot *s = (struct net_slot *)(table + NET_TABLE_GRANTS) + i;
    const struct channel_side *side = channel_side(&apps[i].dev, true);

    s->epoch++;
    s->state = NET_SLOT_FREE;
    net_server_table_rung();
    run();
    nic_works();
    floor_run();
    ASSERT(side->state == CHANNEL_DOWN && side->epoch == s->epoch);
    s->epoch++;
    s->state = NET_SLOT_GRANTED;
    net_server_table_rung();
    run();
}

/* Overwrites a frame that the NIC has: what is lent of it, and where the rest was. */
static void deface(const struct pkt *p)
{
    if (p->flags & PKT_LENT)
        memset(pkt_frag_addr(p, p->frags) - PKT_BUF, (int)eat(1), PKT_BUF + p->frags[0].len);
}

static void from_wire(void)
{
    static const uint8_t peer[6] = {2, 0, 0, 0, 0, 9};
    uint8_t b[4096];
    uint32_t len = build(b, peer, false);
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    len = MIN(len, (uint32_t)PKT_BUF - PKT_HEADROOM);
    pkt_append(p, b, len);
    wire_sends = true;
    bh_disable();
    path_receive(&wire, p);
    bh_enable();
    run();
    wire_sends = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!table)
        setup();
    in = data;
    end = data + size;
    while (in < end) {
        switch (eat(1) % 16) {
        case 0:
            scribble();
            break;
        case 1:
            from_wire();
            break;
        case 2: /* a broken channel gets its next generation */
            floor_advance(NSEC_PER_SEC);
            run();
            break;
        case 3:
            nic_is_slow = !nic_is_slow;
            break;
        case 4:
            if (nheld)
                deface(held[eat(1) % nheld].p);
            break;
        case 5:
            if (nheld)
                nic_sends(eat(1) % nheld);
            break;
        case 6:
            regrant();
            break;
        default:
            send_hostile();
        }
    }
    nic_is_slow = false;
    run();
    return 0;
}
