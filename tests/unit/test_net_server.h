/*
 * A network server under test: its NIC is the wire of test_net_util.h (10.0.0.1, the shared
 * address), its table plain memory, and the application domains are the other ends of channels in
 * plain memory, driven by the test.
 */
#ifndef TEST_NET_SERVER_H
#define TEST_NET_SERVER_H

#include "test_net_util.h"

#include "abi/net_table.h"
#include "channel/frame.h"
#include "servers/net_server.h"
#include "test_channel_util.h"

#define REGION (1u << 20)
#define APPS 4u

/* What an application domain got, flat. */
struct app {
    uint8_t *mem;
    struct channel_layout l;
    struct channel_device dev; /* the server's */
    struct server_slot *slot;
    struct channel_queue q; /* the application's end of queue pair 0 */
    uint8_t mac[6];
    unsigned rung; /* by the server */
    struct frame *got[256];
    struct channel_desc descs[256];
    unsigned count;
};

static struct app apps[APPS];
static uint8_t *table;
static struct channel_device table_dev;
static unsigned told;       /* doorbells to the supervisor */
static unsigned other_told; /* and to the other instance */

static struct net_slot *slot_of(unsigned i)
{
    return (struct net_slot *)(table + NET_TABLE_GRANTS) + i;
}
static struct net_counters *counts(unsigned i)
{
    return (struct net_counters *)(table + NET_TABLE_COUNTS) + i;
}
static struct net_server_page *page(void)
{
    return (struct net_server_page *)(table + NET_TABLE_SERVER(CHANNEL_SERVER));
}
static struct net_server_page *other_page(void)
{
    return (struct net_server_page *)(table + NET_TABLE_SERVER(CHANNEL_STANDBY));
}
static void own_port(unsigned app, uint8_t proto, uint16_t port, bool on)
{
    uint16_t *owners = (uint16_t *)(table + (proto == 6 ? NET_TABLE_TCP : NET_TABLE_UDP));

    owners[port] = on ? (uint16_t)(app + 1) : 0;
}

static void server_rings(struct channel_device *dev, uint32_t peer, unsigned vector)
{
    if (dev == &table_dev) {
        assert_int_equal(CHANNEL_PEER_SLOT(peer), NET_TABLE_SLOT);
        assert_int_not_equal(CHANNEL_PEER_ROLE(peer), CHANNEL_SERVER); /* itself */
        told += CHANNEL_PEER_ROLE(peer) == CHANNEL_APP;
        other_told += CHANNEL_PEER_ROLE(peer) == CHANNEL_STANDBY;
        return;
    }
    struct app *a = container_of(dev, struct app, dev);
    assert_int_equal(peer, CHANNEL_PEER((unsigned)(a - apps), CHANNEL_APP));
    assert_true(vector < a->l.queues);
    a->rung++;
}

static void app_forget(struct app *a)
{
    while (a->count)
        free(a->got[--a->count]);
}

/* The application looks at its channel: answers a generation, takes what is there. */
static void app_run(struct app *a)
{
    struct channel_frame f;

    if (channel_queue_check(&a->q) == CHANNEL_LIVE) {
        channel_side(&a->dev, false)->features = CHANNEL_FEATURES;
        net_server_channel_rung(a->slot, 0);
        settle();
    }
    if (!a->q.live)
        return;
    do {
        while (a->count < ARRAY_SIZE(a->got) && channel_take(&a->q.rx, &f)) {
            struct frame *to = malloc(sizeof(*to));
            to->len = f.desc.len;
            memcpy(to->b, f.data, f.desc.len);
            a->descs[a->count] = f.desc;
            a->got[a->count++] = to;
            channel_release(&a->q.rx, 1);
        }
    } while (channel_want_data(&a->q.rx));
}

static void apps_run(void)
{
    settle();
    for (unsigned i = 0; i < APPS; i++)
        if (apps[i].mem)
            app_run(&apps[i]);
}

/* Puts a frame into the application's ring without ringing; false: no room. */
static bool app_put(struct app *a, const void *data, uint32_t len, const struct channel_desc *with)
{
    struct channel_desc d = with ? *with : (struct channel_desc){0};
    uint8_t *to = channel_reserve(&a->q.tx, len);

    if (!to)
        return false;
    memcpy(to, data, len);
    d.len = len;
    channel_commit(&a->q.tx, &d);
    return true;
}

/* Sends a frame and lets the server do its work. */
static void app_send_desc(struct app *a, const void *data, uint32_t len,
                          const struct channel_desc *with)
{
    assert_true(app_put(a, data, len, with));
    if (channel_notify_data(&a->q.tx))
        net_server_channel_rung(a->slot, 0);
    apps_run();
}

static void app_send(struct app *a, const void *data, uint32_t len)
{
    app_send_desc(a, data, len, NULL);
}

static void forget_all(void)
{
    apps_run();
    for (unsigned i = 0; i < APPS; i++)
        app_forget(&apps[i]);
    wire_clear(&wire);
}

/* The supervisor grants slot i; mode, addresses and MAC by number: 10.0.0.(11 + i) or shared. */
static void grant(unsigned i, uint8_t mode)
{
    struct net_slot *s = slot_of(i);
    struct app *a = &apps[i];

    s->sequence++;
    s->epoch++;
    s->state = NET_SLOT_GRANTED;
    s->queues = 1;
    s->slots = 256;
    s->grants = (struct channel_grants){
        .mtu = 1500,
        .mode = mode,
        .ipv4_prefix = 24,
        .ipv4 = {10, 0, 0, mode == CHANNEL_SHARED ? 1 : (uint8_t)(11 + i)},
        .ipv6_prefix = 64,
        .ipv6 = {0x20, 1, 0xd, 0xb8, [15] = mode == CHANNEL_SHARED ? 1 : (uint8_t)(0x11 + i)},
    };
    const uint8_t mac[6] = {2, 0, 0, 0, 1, (uint8_t)i};
    memcpy(a->mac, mode == CHANNEL_SHARED ? our_mac : mac, 6);
    memcpy(s->grants.mac, a->mac, 6);
    s->sequence++;
}

static void take_back(unsigned i)
{
    struct net_slot *s = slot_of(i);

    s->sequence++;
    s->epoch++;
    s->state = NET_SLOT_FREE;
    s->sequence++;
}

static void ring_table(void)
{
    net_server_table_rung();
    settle();
    apps_run();
    apps_run();
}

static void app_plug(unsigned i)
{
    struct app *a = &apps[i];

    a->mem = region_new(REGION, 1, 256);
    assert_true(channel_layout(&a->l, REGION, 1, 256));
    assert_int_equal(channel_queue_create(&a->q, a->mem, &a->l, 0, false, CHANNEL_FEATURES), 0);
    a->dev = (struct channel_device){.mem = a->mem,
                                     .paddr = (uintptr_t)a->mem,
                                     .size = REGION,
                                     .id = CHANNEL_PEER(i, CHANNEL_SERVER),
                                     .vectors = 4,
                                     .ring = server_rings};
    a->slot = net_server_add_channel(&a->dev);
    assert_false(IS_ERR(a->slot));
}

/* A server with two dedicated (0, 1) and two shared (2, 3) domains attached. */
static void server_setup(void)
{
    wire_setup(PATH_CSUM | PATH_SG);
    table = aligned_alloc(CHANNEL_PAGE, NET_TABLE_SIZE);
    memset(table, 0, NET_TABLE_SIZE);
    struct net_table *t = (void *)table;
    t->magic = NET_TABLE_MAGIC;
    t->version = NET_TABLE_VERSION;
    t->active = CHANNEL_SERVER;
    table_dev = (struct channel_device){.mem = table,
                                        .size = NET_TABLE_SIZE,
                                        .id = CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_SERVER),
                                        .vectors = 1,
                                        .ring = server_rings};
    net_server_init();
    assert_int_equal(net_server_add_table(&table_dev), 0);
    for (unsigned i = 0; i < APPS; i++) {
        grant(i, i < 2 ? CHANNEL_DEDICATED : CHANNEL_SHARED);
        app_plug(i);
    }
    assert_int_equal(net_server_start(eth), 0);
    ring_table();
    assert_int_equal(page()->state, NET_SERVER_UP);
    assert_int_equal(page()->attached, APPS);
    for (unsigned i = 0; i < APPS; i++)
        assert_true(apps[i].q.live);
    forget_all();
}

/* Frames of given ends. */
static uint32_t udp_between(uint8_t *b, const uint8_t *dmac, const uint8_t *smac, const char *src,
                            uint16_t sport, const char *dst, uint16_t dport, const char *text)
{
    uint32_t n = udp_frame(b, src, sport, dst, dport, text, (uint32_t)strlen(text));

    memcpy(b, dmac, 6);
    memcpy(b + 6, smac, 6);
    return n;
}

#endif
