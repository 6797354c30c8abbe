/* What hostile or unlucky domains do to a network server and to each other, and its restart. */
#include "test_net_server.h"

#include "servers/net_internal.h"

static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

/* Whether a frame of domain i leaves by the wire; if not, `*counter` says why. */
static bool passes(unsigned i, const uint8_t *b, uint32_t n, uint64_t *counter)
{
    uint64_t before = *counter;

    app_send(&apps[i], b, n);
    bool sent = wire.count == 1;
    assert_int_equal(*counter - before, !sent);
    forget_all();
    return sent;
}

/* A UDP frame of 10.0.0.11 with a partial checksum, zeros behind its header. */
static uint32_t big_frame(uint8_t *b, const uint8_t *dmac, uint32_t len)
{
    memset(b, 0, len);
    udp_between(b, dmac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "");
    put16(b + 16, (uint16_t)(len - 14));
    put16(b + 38, (uint16_t)(len - 34));
    fix_ip4(b + 14);
    return len;
}

static void a_frame_is_cut_into_a_bounded_number(void **state)
{
    static uint8_t b[60000];
    struct channel_desc d = {.flags = CHANNEL_CSUM_PARTIAL,
                             .csum_start = 34,
                             .csum_offset = 6,
                             .gso_type = CHANNEL_GSO_UDP,
                             .gso_size = 1};
    uint64_t before = counts(0)->drop_malformed;

    (void)state;
    big_frame(b, peer_mac, sizeof(b));
    app_send_desc(&apps[0], b, sizeof(b), &d);
    assert_int_equal(counts(0)->drop_malformed, before + 1);
    assert_int_equal(wire.count, 0);
    d.gso_size = 1473; /* with its headers longer than the MTU */
    app_send_desc(&apps[0], b, sizeof(b), &d);
    assert_int_equal(counts(0)->drop_malformed, before + 2);
    assert_int_equal(wire.count, 0);
    d.gso_size = 1472;
    app_send_desc(&apps[0], b, sizeof(b), &d);
    assert_int_equal(wire.count, (60000 - 42 + 1471) / 1472);
    forget_all();
}

static void a_frame_too_long_for_the_nic_goes_to_domains_only(void **state)
{
    static uint8_t b[5000];
    uint32_t n = big_frame(b, peer_mac, sizeof(b));

    (void)state;
    assert_false(passes(0, b, n, &counts(0)->drop_malformed));
    n = big_frame(b, peer_mac, 1515);
    assert_false(passes(0, b, n, &counts(0)->drop_malformed));
    n = big_frame(b, peer_mac, 1514);
    assert_true(passes(0, b, n, &counts(0)->drop_malformed));
    n = big_frame(b, apps[1].mac, sizeof(b));
    app_send(&apps[0], b, n);
    assert_int_equal(apps[1].count, 1);
    forget_all();
}

/* Domain 0 without a granted IPv4 address, as behind a bridge with DHCP. */
static void grant_dhcp(bool on)
{
    take_back(0);
    ring_table();
    grant(0, CHANNEL_DEDICATED);
    if (on)
        slot_of(0)->grants.ipv4_prefix = 0;
    ring_table();
    forget_all();
}

static void without_a_grant_others_addresses_are_refused(void **state)
{
    static const struct {
        const char *src;
        bool ok;
    } cases[] = {{"10.0.0.77", true},
                 {"0.0.0.0", true},
                 {"10.0.0.12", false}, /* domain 1's */
                 {"10.0.0.1", false},  /* the server's */
                 {"10.0.0.77", true}};
    uint8_t b[256];

    (void)state;
    grant_dhcp(true);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t n = udp_between(b, peer_mac, apps[0].mac, cases[i].src, 1, "10.0.0.2", 2, "x");
        assert_int_equal(passes(0, b, n, &counts(0)->drop_ip), cases[i].ok);
        n = arp_frame(b, 2, apps[0].mac, cases[i].src, "10.0.0.2", peer_mac);
        assert_int_equal(passes(0, b, n, &counts(0)->drop_ip), cases[i].ok);
    }
    /* What was free is granted to another domain. */
    take_back(1);
    ring_table();
    grant(1, CHANNEL_DEDICATED);
    slot_of(1)->grants.ipv4[3] = 77;
    ring_table();
    forget_all();
    uint32_t n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.77", 1, "10.0.0.2", 2, "x");
    assert_false(passes(0, b, n, &counts(0)->drop_ip));
    take_back(1);
    ring_table();
    grant(1, CHANNEL_DEDICATED);
    grant_dhcp(false);
}

static void arp_is_ethernet_and_ip4_and_probes_for_its_own(void **state)
{
    uint8_t b[256];
    uint32_t n = arp_frame(b, 1, apps[0].mac, "0.0.0.0", "10.0.0.11", broadcast);

    (void)state;
    assert_true(passes(0, b, n, &counts(0)->drop_ip));
    arp_frame(b, 1, apps[0].mac, "0.0.0.0", "10.0.0.12", broadcast);
    assert_false(passes(0, b, n, &counts(0)->drop_ip));
    arp_frame(b, 2, apps[0].mac, "0.0.0.0", "10.0.0.11", broadcast);
    assert_false(passes(0, b, n, &counts(0)->drop_ip));
    arp_frame(b, 3, apps[0].mac, "10.0.0.11", "10.0.0.2", broadcast); /* RARP */
    assert_false(passes(0, b, n, &counts(0)->drop_ip));
    arp_frame(b, 1, apps[0].mac, "10.0.0.11", "10.0.0.2", broadcast);
    b[14 + 5] = 3;
    assert_false(passes(0, b, n, &counts(0)->drop_ip));
}

/* An ICMPv6 message of `len` bytes in domain 0's frame, extension headers of `gap` bytes in front.
 */
static uint32_t nd_frame(uint8_t *b, const char *src, uint8_t type, const char *target,
                         uint32_t gap)
{
    uint32_t at = ip_headers(b, src, "2001:db8::2", IPPROTO_ICMPV6_N, gap + 24);
    struct ip_addr a = addr(target);

    memcpy(b, peer_mac, 6);
    memcpy(b + 6, apps[0].mac, 6);
    memset(b + at, 0, gap + 24);
    b[at + gap] = type;
    memcpy(b + at + gap + 8, &a, 16);
    return at + gap + 24;
}

static void neighbour_discovery_cannot_be_hidden(void **state)
{
    static uint8_t b[512];
    uint64_t *why = &counts(0)->drop_ip;
    uint32_t n;

    (void)state;
    /* A duplicate of another's address is not to be found by us. */
    n = nd_frame(b, "::", 135, "2001:db8::12", 0);
    assert_false(passes(0, b, n, why));
    n = nd_frame(b, "::", 135, "2001:db8::11", 0);
    assert_true(passes(0, b, n, why));
    /* In fragments: the whole of it, and a first one that ends before the message. */
    n = nd_frame(b, "2001:db8::11", 135, "2001:db8::2", 8);
    b[20] = IPPROTO_FRAGMENT_N;
    b[54] = IPPROTO_ICMPV6_N;
    assert_false(passes(0, b, n, why));
    n = nd_frame(b, "2001:db8::11", 134, "2001:db8::2", 16);
    b[20] = IPPROTO_FRAGMENT_N;
    b[54] = IPPROTO_DSTOPTS_N;
    b[57] = 1; /* more follow */
    b[62] = IPPROTO_ICMPV6_N;
    put16(b + 18, 16); /* what follows in the frame is not in the packet */
    b[70] = 128;
    assert_false(passes(0, b, n, why));
    /* Options behind what is looked at. */
    n = nd_frame(b, "2001:db8::11", 135, "2001:db8::2", 0);
    memset(b + n, 0, 128);
    b[n] = 14;
    b[n + 1] = 15;
    b[n + 120] = 1;
    b[n + 121] = 1;
    put16(b + 18, 24 + 128);
    assert_false(passes(0, b, n + 128, why));
}

/* A frame of a shared domain with `len` bytes of another protocol. */
static uint32_t shared_frame(uint8_t *b, uint8_t proto, uint32_t len)
{
    uint32_t at = ip_headers(b, "10.0.0.1", "10.0.0.2", proto, len);

    memcpy(b, peer_mac, 6);
    memcpy(b + 6, our_mac, 6);
    memset(b + at, 0, len);
    return at;
}

static uint32_t error_about(uint8_t *b, uint16_t port)
{
    uint32_t at = shared_frame(b, IPPROTO_ICMP_N, 8 + 28);

    b[at] = 3;
    b[at + 8] = 0x45;
    b[at + 17] = IPPROTO_TCP_N;
    put16(b + at + 8 + 22, port);
    return at + 36;
}

static void shared_domains_send_only_what_can_be_told_apart(void **state)
{
    uint8_t b[256];
    uint64_t *why = &counts(2)->drop_port;
    uint32_t at = 0;

    (void)state;
    own_port(2, 6, 4000, true);
    own_port(3, 6, 4001, true);
    assert_true(passes(2, b, error_about(b, 4000), why));
    assert_false(passes(2, b, error_about(b, 4001), why)); /* would end another's connection */
    own_port(2, 6, 4000, false);
    own_port(3, 6, 4001, false);
    at = shared_frame(b, IPPROTO_ICMP_N, 8); /* an echo reply */
    assert_false(passes(2, b, at + 8, why));
    b[at] = 5; /* a redirect */
    assert_false(passes(2, b, at + 8, why));
    at = shared_frame(b, 4, 40); /* IP in IP */
    assert_false(passes(2, b, at + 40, why));
    at = shared_frame(b, 132, 40); /* SCTP */
    assert_false(passes(2, b, at + 40, why));
    at = shared_frame(b, IPPROTO_IGMP_N, 8);
    assert_true(passes(2, b, at + 8, why));
}

static uint32_t echo(uint8_t *b, bool request, uint16_t id, uint16_t number)
{
    uint32_t at = shared_frame(b, IPPROTO_ICMP_N, 8);

    if (!request) {
        at = ip_headers(b, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP_N, 8);
        memset(b + at, 0, 8);
    }
    b[at] = request ? 8 : 0;
    put16(b + at + 4, id);
    put16(b + at + 6, number);
    return at + 8;
}

static void echoes_are_not_stolen(void **state)
{
    uint8_t b[256];
    uint64_t *why = &counts(2)->drop_port;

    (void)state;
    assert_true(passes(3, b, echo(b, true, 7, 1), &counts(3)->drop_port));
    assert_false(passes(2, b, echo(b, true, 7, 1), why));
    for (uint16_t i = 2; i < 600; i++) /* nor pushed out */
        assert_true(passes(2, b, echo(b, true, 7, i), why));
    wire_receive(&wire, b, echo(b, false, 7, 1));
    apps_run();
    assert_int_equal(apps[2].count, 0);
    assert_int_equal(apps[3].count, 1);
    forget_all();
    /* Whoever has the slot next does not get what the last one asked for. */
    take_back(3);
    ring_table();
    grant(3, CHANNEL_SHARED);
    ring_table();
    forget_all();
    wire_receive(&wire, b, echo(b, false, 7, 1));
    apps_run();
    assert_int_equal(apps[3].count, 0);
    forget_all();
}

static void fragments_are_not_mixed(void **state)
{
    uint8_t b[256];
    uint32_t n =
        udp_between(b, peer_mac, our_mac, "10.0.0.1", 54, "10.0.0.2", 9, "fragmented data");

    (void)state;
    own_port(3, 17, 54, true);
    own_port(2, 17, 55, true);
    put16(b + 18, 99);
    put16(b + 20, 0x2000);
    fix_ip4(b + 14);
    assert_true(passes(3, b, n, &counts(3)->drop_port));
    put16(b + 34, 55); /* another's datagram that looks like the same */
    assert_false(passes(2, b, n, &counts(2)->drop_port));
    for (uint16_t id = 100; id < 600; id++) {
        put16(b + 18, id);
        fix_ip4(b + 14);
        assert_true(passes(2, b, n, &counts(2)->drop_port));
    }
    put16(b + 18, 99);
    put16(b + 20, 3);
    fix_ip4(b + 14);
    assert_false(passes(2, b, n, &counts(2)->drop_port));
    assert_true(passes(3, b, n, &counts(3)->drop_port));
    own_port(3, 17, 54, false);
    own_port(2, 17, 55, false);
}

static int held_back;
static void count_mask(struct channel_device *dev, bool on)
{
    assert_ptr_equal(dev, &apps[0].dev);
    held_back += on ? 1 : -1;
}

static void a_storm_is_held_back(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "late");
    uint64_t before = counts(0)->doorbells_in;

    (void)state;
    apps[0].dev.mask = count_mask;
    for (unsigned i = 0; i < 5000; i++) {
        net_server_channel_rung(apps[0].slot, 0);
        settle();
    }
    assert_int_equal(held_back, 1);
    assert_true(counts(0)->doorbells_in - before <= 64);
    assert_true(app_put(&apps[0], b, n, NULL));
    floor_advance(20 * MS);
    assert_int_equal(held_back, 0);
    assert_int_equal(wire.count, 1);
    forget_all();
    /* With a frame for each, doorbells are welcome. */
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(app_put(&apps[0], b, n, NULL));
        net_server_channel_rung(apps[0].slot, 0);
        settle();
        wire_clear(&wire);
    }
    assert_int_equal(held_back, 0);
    floor_advance(20 * MS);
    apps[0].dev.mask = NULL;
    forget_all();
}

/* How many of domain 0's frames to dmac leave before another domain has its turn. */
static unsigned in_one_turn(const uint8_t *dmac)
{
    uint8_t b[1514] = {0}, other[256];
    unsigned n = 0;

    udp_between(b, dmac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "flood");
    put16(b + 16, 1500);
    fix_ip4(b + 14);
    for (unsigned i = 0; i < 60; i++)
        assert_true(app_put(&apps[0], b, sizeof(b), NULL));
    uint32_t len = udp_between(other, peer_mac, apps[1].mac, "10.0.0.12", 1, "10.0.0.2", 2, "mine");
    assert_true(app_put(&apps[1], other, len, NULL));
    net_server_channel_rung(apps[0].slot, 0);
    net_server_channel_rung(apps[1].slot, 0);
    settle();
    assert_int_equal(wire.count, 61);
    while (!memcmp(wire.sent[n]->b + 6, apps[0].mac, 6))
        n++;
    forget_all();
    return n;
}

static void broadcasts_cost_as_many_as_get_them(void **state)
{
    (void)state;
    unsigned alone = in_one_turn(peer_mac);
    assert_in_range(alone, 30, 35);
    assert_in_range(in_one_turn(broadcast), alone / 2 - 1, alone / 2 + 1);
}

static void a_missed_doorbell_is_made_up_for(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, apps[0].mac, peer_mac, "10.0.0.2", 9, "10.0.0.11", 7, "in");
    struct channel_line *line = line_of(apps[0].mem, false, 0);

    (void)state;
    line->data_event -= 1000; /* as if it were at work */
    wire_receive(&wire, b, n);
    settle();
    unsigned rung = apps[0].rung;
    line->data_event = line->head; /* its wish comes too late for the server's look */
    floor_advance(20 * MS);
    assert_int_equal(apps[0].rung, rung + 1);
    floor_advance(SEC); /* once is enough */
    assert_int_equal(apps[0].rung, rung + 1);
    forget_all();
}

/* What a new server domain is: the same table and regions, nothing else. */
static void restart(void)
{
    for (unsigned i = 0; i < APPS; i++)
        for (uint32_t q = 0; q < apps[i].slot->nqueues; q++) {
            channel_queue_destroy(&apps[i].slot->queues[q]);
            kfree(apps[i].slot->loans[q]);
        }
    timer_cancel(&server.timer);
    for (unsigned i = 0; i < APPS; i++)
        kfree(apps[i].slot);
    memset(&server, 0, sizeof(server));
    page()->state = NET_SERVER_DOWN; /* as the supervisor writes when an instance has died */
    eth->tap = NULL;
    net_server_init();
    assert_int_equal(net_server_add_table(&table_dev), 0);
    for (unsigned i = 0; i < APPS; i++) {
        apps[i].slot = net_server_add_channel(&apps[i].dev);
        assert_false(IS_ERR(apps[i].slot));
    }
    assert_int_equal(net_server_start(eth), 0);
}

static void a_new_server_goes_on(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "left over");

    (void)state;
    assert_true(app_put(&apps[0], b, n, NULL)); /* the old server has not seen it */
    uint64_t tx = counts(0)->tx_frames, generations = counts(0)->generations;
    assert_true(tx > 0);
    unsigned before = told;
    restart();
    ring_table();
    assert_int_equal(page()->state, NET_SERVER_UP);
    assert_int_equal(page()->attached, APPS);
    assert_true(told > before);
    apps_run();
    assert_int_equal(wire.count, 1);
    assert_memory_equal(wire.sent[0]->b, b, n);
    assert_int_equal(counts(0)->tx_frames, tx + 1); /* since the grant, not since the start */
    assert_int_equal(counts(0)->generations, generations + 1);
    forget_all();
    udp_between(b, apps[1].mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.12", 2, "left over");
    app_send(&apps[0], b, n);
    assert_int_equal(apps[1].count, 1);
    forget_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_cut_into_a_bounded_number),
        cmocka_unit_test(a_frame_too_long_for_the_nic_goes_to_domains_only),
        cmocka_unit_test(without_a_grant_others_addresses_are_refused),
        cmocka_unit_test(arp_is_ethernet_and_ip4_and_probes_for_its_own),
        cmocka_unit_test(neighbour_discovery_cannot_be_hidden),
        cmocka_unit_test(shared_domains_send_only_what_can_be_told_apart),
        cmocka_unit_test(echoes_are_not_stolen),
        cmocka_unit_test(fragments_are_not_mixed),
        cmocka_unit_test(a_storm_is_held_back),
        cmocka_unit_test(broadcasts_cost_as_many_as_get_them),
        cmocka_unit_test(a_missed_doorbell_is_made_up_for),
        cmocka_unit_test(a_new_server_goes_on),
    };

    server_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
