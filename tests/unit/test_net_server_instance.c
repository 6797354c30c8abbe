/* Two instances of a network server: who serves, the silence of the other, handing over. */
#include "test_net_server.h"

#include "servers/net_internal.h"

/* A NIC that can be stopped and started: what is sent meanwhile is lost. */
static bool nic_transmit(struct net_path *path, int queue, struct pkt *p)
{
    if (!wire.detached)
        return wire_transmit(path, queue, p);
    pkt_free(p);
    return true;
}
static int nic_start(struct net_path *path)
{
    (void)path;
    wire.detached = false;
    return 0;
}
static const struct path_ops nic_ops = {
    .transmit = nic_transmit,
    .flush = wire_flush,
    .set_mac = wire_set_mac,
    .set_multicast = wire_set_multicast,
    .start = nic_start,
    .detach = wire_detach,
};

static void quiet_ring(struct channel_device *dev, uint32_t peer, unsigned vector)
{
    (void)dev;
    assert_int_equal(peer, CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_APP));
    assert_int_equal(vector, 0);
}

static struct net_table *head(void)
{
    return (struct net_table *)table;
}

static void set_active(unsigned role)
{
    head()->active = role;
    ring_table();
}

static void put_frame(uint8_t *b, unsigned app, const char *text)
{
    uint32_t n = udp_between(b, peer_mac, apps[app].mac, "10.0.0.11", 1, "10.0.0.2", 2, text);

    assert_true(app_put(&apps[app], b, n, NULL));
    net_server_channel_rung(apps[app].slot, 0);
    settle();
}

/* What the domains had taken away from them stays in their rings. */
static void hands_over_and_takes_over_again(void **state)
{
    uint8_t b[256];

    (void)state;
    unsigned before = told, other_before = other_told;
    other_page()->state = NET_SERVER_STANDBY;
    set_active(CHANNEL_STANDBY);
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    assert_int_equal(page()->state, NET_SERVER_QUIESCED);
    assert_true(told > before && other_told > other_before);
    uint64_t generations = counts(0)->generations;
    put_frame(b, 0, "waits");
    assert_int_equal(wire.count, 0);
    assert_int_equal(counts(0)->generations, generations);
    assert_int_equal(channel_side(&apps[0].dev, true)->state, CHANNEL_UP); /* for the other */

    /* Not while the other one serves. */
    other_page()->state = NET_SERVER_UP;
    set_active(CHANNEL_SERVER);
    assert_int_equal(page()->state, NET_SERVER_QUIESCED);
    other_page()->state = NET_SERVER_QUIESCED;
    ring_table();
    assert_true(page()->state == NET_SERVER_STARTING || page()->state == NET_SERVER_UP);
    apps_run();
    assert_int_equal(page()->state, NET_SERVER_UP);
    assert_int_equal(counts(0)->generations, generations + 1);
    assert_int_equal(wire.count, 1);
}

/* A domain that does not answer holds nobody up for long. */
static void is_up_without_those_who_do_not_answer(void **state)
{
    (void)state;
    set_active(CHANNEL_STANDBY);
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    head()->active = CHANNEL_SERVER;
    net_server_table_rung();
    settle();
    assert_int_equal(page()->state, NET_SERVER_STARTING);
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    assert_int_equal(page()->state, NET_SERVER_UP);
    apps_run();
}

/* What its predecessor had put into a domain's ring is still there: until the domain has taken it,
 * frames for it would be dropped, so they are not asked for. */
static void is_up_when_the_rings_are_empty(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, apps[0].mac, peer_mac, "10.0.0.2", 9, "10.0.0.11", 7, "old");

    (void)state;
    wire_receive(&wire, b, n); /* not taken */
    settle();
    head()->active = CHANNEL_STANDBY;
    net_server_table_rung();
    settle();
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    assert_int_equal(page()->state, NET_SERVER_QUIESCED);
    head()->active = CHANNEL_SERVER;
    net_server_table_rung();
    settle();
    for (unsigned i = 1; i < APPS; i++)
        app_run(&apps[i]);
    assert_int_equal(channel_queue_check(&apps[0].q), CHANNEL_LIVE);
    net_server_channel_rung(apps[0].slot, 0);
    settle();
    floor_advance(2 * NSEC_PER_MSEC);
    settle();
    assert_int_equal(page()->state, NET_SERVER_STARTING);
    uint64_t before = counts(0)->drop_full;
    apps_run();
    floor_advance(2 * NSEC_PER_MSEC);
    settle();
    assert_int_equal(page()->state, NET_SERVER_UP);
    assert_int_equal(apps[0].count, 1);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[0].count, 2);
    assert_int_equal(counts(0)->drop_full, before);
    forget_all();
}

/* A domain that still boots is not waited for at all. */
static void is_up_without_those_who_never_were_there(void **state)
{
    struct channel_line *line = &channel_side(&apps[3].dev, false)->lines[0];
    uint32_t generation = line->generation;

    (void)state;
    set_active(CHANNEL_STANDBY);
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    line->generation = 0;
    head()->active = CHANNEL_SERVER;
    net_server_table_rung();
    settle();
    for (unsigned i = 0; i < 3; i++)
        app_run(&apps[i]);
    settle();
    assert_int_equal(page()->state, NET_SERVER_UP);
    line->generation = generation;
    apps_run();
    forget_all();
}

static void is_silent_until_it_is_to_serve(void **state)
{
    uint8_t b[256];

    (void)state;
    set_active(CHANNEL_STANDBY);
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    forget_all();
    page()->state = NET_SERVER_DOWN; /* as one that has just booted */
    ring_table();
    assert_int_equal(page()->state, NET_SERVER_STANDBY);
    assert_int_equal(page()->features, CHANNEL_FEATURES);
    forget_all();
    put_frame(b, 0, "not now");
    assert_int_equal(wire.count, 0);
    other_page()->state = NET_SERVER_DOWN; /* it has died */
    set_active(CHANNEL_SERVER);
    apps_run();
    assert_int_equal(page()->state, NET_SERVER_UP);
    assert_int_equal(wire.count, 1);
}

static void answers_the_heartbeat_in_every_state(void **state)
{
    (void)state;
    head()->ping = 7;
    ring_table();
    assert_int_equal(page()->pong, 7);
    set_active(CHANNEL_STANDBY);
    floor_advance(100 * NSEC_PER_MSEC);
    settle();
    head()->ping = 8;
    ring_table();
    assert_int_equal(page()->pong, 8);
}

/* It says which version it knows, where all versions look for it, and nothing else. */
static void a_table_of_another_version_is_refused(void **state)
{
    uint8_t *other = aligned_alloc(CHANNEL_PAGE, NET_TABLE_SIZE);
    struct net_table *t = (void *)other;
    struct channel_device dev = table_dev;
    const struct net_server_page *p = (void *)(other + NET_TABLE_SERVER(CHANNEL_STANDBY));
    struct net_server before = server;

    (void)state;
    memset(other, 0, NET_TABLE_SIZE);
    t->magic = NET_TABLE_MAGIC;
    t->version = NET_TABLE_VERSION + 1;
    dev.mem = other;
    dev.id = CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_STANDBY);
    dev.ring = quiet_ring;
    server.table = NULL;
    assert_int_equal(net_server_add_table(&dev), -EPROTO);
    assert_null(server.table);
    server = before;
    assert_int_equal(p->state, NET_SERVER_REFUSED);
    assert_int_equal(p->version, NET_TABLE_VERSION);
    assert_int_equal(page()->version, NET_TABLE_VERSION);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_over_and_takes_over_again),
        cmocka_unit_test(is_up_without_those_who_do_not_answer),
        cmocka_unit_test(is_up_when_the_rings_are_empty),
        cmocka_unit_test(is_up_without_those_who_never_were_there),
        cmocka_unit_test(is_silent_until_it_is_to_serve),
        cmocka_unit_test(answers_the_heartbeat_in_every_state),
        cmocka_unit_test(a_table_of_another_version_is_refused),
    };

    server_setup();
    wire.path.ops = &nic_ops;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
