/* The network server (servers/net_server.h) between a wire, domains in plain memory, and a table.
 */
#include "test_net_server.h"

static const uint8_t broadcast[6] = {255, 255, 255, 255, 255, 255};

static bool got_frame(const struct app *a, unsigned n, const uint8_t *b, uint32_t len)
{
    return n < a->count && a->got[n]->len == len && !memcmp(a->got[n]->b, b, len);
}

static void dedicated_frames_go_by_mac(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, apps[0].mac, peer_mac, "10.0.0.2", 9, "10.0.0.11", 7, "in");

    (void)state;
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[0].count, 1);
    assert_true(got_frame(&apps[0], 0, b, n));
    assert_int_equal(apps[1].count + apps[2].count + apps[3].count, 0);
    assert_int_equal(counts(0)->rx_frames, 1);
    n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 7, "10.0.0.2", 9, "out");
    app_send(&apps[0], b, n);
    assert_int_equal(wire.count, 1);
    assert_memory_equal(wire.sent[0]->b, b, n);
    forget_all();
}

/* It has a NIC of its own: late frames still come by the channel, nothing else. */
static void a_parked_domain(void **state)
{
    struct channel_side *side = channel_side(&apps[0].dev, false);
    uint8_t b[256];
    uint32_t n = udp_between(b, apps[0].mac, peer_mac, "10.0.0.2", 9, "10.0.0.11", 7, "late");

    (void)state;
    side->state = CHANNEL_PARKED;
    wire_receive(&wire, b, n);
    apps_run();
    assert_true(got_frame(&apps[0], 0, b, n));
    forget_all();
    /* A sibling reaches it where its NIC is, the server's own stack too. */
    n = udp_between(b, apps[0].mac, apps[1].mac, "10.0.0.12", 1, "10.0.0.11", 2, "hello");
    app_send(&apps[1], b, n);
    assert_int_equal(apps[0].count, 0);
    assert_int_equal(wire.count, 1);
    assert_memory_equal(wire.sent[0]->b, b, n);
    forget_all();
    n = arp_frame(b, 1, apps[0].mac, "10.0.0.11", "10.0.0.1", broadcast);
    app_send(&apps[0], b, n); /* it is still believed */
    assert_int_equal(apps[0].count, 0);
    assert_int_equal(wire.count, 2); /* the request, and the answer */
    forget_all();
    /* What goes to all goes there too, once: not into its channel. */
    n = arp_frame(b, 1, apps[1].mac, "10.0.0.12", "10.0.0.11", broadcast);
    app_send(&apps[1], b, n);
    assert_int_equal(apps[0].count, 0);
    assert_int_equal(wire.count, 1);
    forget_all();
    n = arp_frame(b, 1, peer_mac, "10.0.0.2", "10.0.0.11", broadcast);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[0].count, 0);
    forget_all();
    /* And back. */
    side->state = CHANNEL_UP;
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[0].count, 1);
    forget_all();
    n = udp_between(b, apps[0].mac, apps[1].mac, "10.0.0.12", 1, "10.0.0.11", 2, "hello");
    app_send(&apps[1], b, n);
    assert_int_equal(apps[0].count, 1);
    assert_int_equal(wire.count, 0);
    forget_all();
}

/* A domain of a shared address that says so too, or one that has no NIC, changes nothing for
 * others.
 */
static void a_domain_that_lies_about_being_parked(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, our_mac, peer_mac, "10.0.0.2", 9, "10.0.0.1", 53, "q");

    (void)state;
    channel_side(&apps[0].dev, false)->state = CHANNEL_PARKED;
    channel_side(&apps[2].dev, false)->state = CHANNEL_PARKED;
    own_port(2, 17, 53, true);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[2].count, 1);
    forget_all();
    own_port(2, 17, 53, false);
    n = udp_between(b, apps[1].mac, peer_mac, "10.0.0.2", 9, "10.0.0.12", 7, "x");
    wire_receive(&wire, b, n);
    apps_run();
    assert_true(got_frame(&apps[1], 0, b, n));
    forget_all();
    channel_side(&apps[0].dev, false)->state = CHANNEL_UP;
    channel_side(&apps[2].dev, false)->state = CHANNEL_UP;
}

static void a_frame_for_nobody_is_counted(void **state)
{
    uint8_t b[256], nobody[6] = {2, 0, 0, 0, 9, 9};
    uint32_t n = udp_between(b, nobody, peer_mac, "10.0.0.2", 9, "10.0.0.99", 7, "x");
    uint64_t before = page()->drop_no_owner;

    (void)state;
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(page()->drop_no_owner, before + 1);
    forget_all();
}

static void domains_talk_without_the_nic(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, apps[1].mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.12", 2, "hello");
    struct channel_desc d = {.flags = CHANNEL_CSUM_PARTIAL, .csum_start = 34, .csum_offset = 6};

    (void)state;
    app_send_desc(&apps[0], b, n, &d);
    assert_int_equal(apps[1].count, 1);
    assert_true(apps[1].descs[0].flags & CHANNEL_CSUM_PARTIAL); /* nobody computed it */
    assert_int_equal(apps[1].descs[0].csum_start, 34);
    assert_int_equal(wire.count, 0);
    forget_all();
}

static void broadcasts_reach_domains_wire_and_own_stack(void **state)
{
    uint8_t b[256];
    uint32_t n = arp_frame(b, 1, apps[0].mac, "10.0.0.11", "10.0.0.12", broadcast);

    (void)state;
    app_send(&apps[0], b, n);
    assert_int_equal(apps[0].count, 0);
    assert_int_equal(apps[1].count, 1); /* it is asked for */
    assert_int_equal(apps[2].count, 0);
    assert_int_equal(wire.count, 1);
    forget_all();
    /* The own stack answers the domain over its channel, not the wire. */
    n = arp_frame(b, 1, apps[0].mac, "10.0.0.11", "10.0.0.1", broadcast);
    app_send(&apps[0], b, n);
    assert_int_equal(apps[0].count, 1);
    assert_int_equal(get16(apps[0].got[0]->b + 20), 2);
    assert_int_equal(apps[1].count, 0);
    assert_int_equal(wire.count, 1);
    forget_all();
}

static void shared_ports_are_told_apart(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, our_mac, peer_mac, "10.0.0.2", 9, "10.0.0.1", 53, "q");

    (void)state;
    own_port(2, 17, 53, true);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[2].count, 1);
    assert_int_equal(apps[3].count, 0);
    forget_all();
    own_port(2, 17, 53, false);
    own_port(3, 17, 53, true);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[2].count, 0);
    assert_int_equal(apps[3].count, 1);
    forget_all();
    own_port(3, 17, 53, false);
    learn_peer("10.0.0.2", peer_mac);
    wire_receive(&wire, b, n); /* nobody's: the own stack says so */
    apps_run();
    assert_int_equal(apps[3].count, 0);
    assert_int_equal(wire.count, 1);
    assert_int_equal(wire.sent[0]->b[34], 3); /* unreachable */
    forget_all();
}

static void neighbours_answers_reach_shared_domains(void **state)
{
    uint8_t b[256];

    (void)state;
    app_send(&apps[2], b, arp_frame(b, 1, our_mac, "10.0.0.1", "10.0.0.2", broadcast));
    assert_int_equal(wire.count, 1);
    forget_all();
    wire_receive(&wire, b, arp_frame(b, 2, peer_mac, "10.0.0.2", "10.0.0.1", our_mac));
    apps_run();
    assert_int_equal(apps[2].count, 1);
    assert_int_equal(apps[3].count, 1);
    assert_int_equal(apps[0].count, 0);
    forget_all();
    /* Requests are the server's. */
    wire_receive(&wire, b, arp_frame(b, 1, peer_mac, "10.0.0.2", "10.0.0.1", broadcast));
    apps_run();
    assert_int_equal(apps[2].count + apps[3].count, 0);
    assert_int_equal(wire.count, 1);
    forget_all();
}

static void shared_domains_reach_each_other(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, our_mac, our_mac, "10.0.0.1", 20000, "10.0.0.1", 53, "q");

    (void)state;
    own_port(2, 17, 20000, true);
    own_port(3, 17, 53, true);
    app_send(&apps[2], b, n);
    assert_int_equal(apps[3].count, 1);
    assert_int_equal(wire.count, 0);
    own_port(2, 17, 20000, false);
    own_port(3, 17, 53, false);
    forget_all();
}

static void icmp_finds_whom_it_is_about(void **state)
{
    uint8_t b[256];
    uint32_t at = ip_headers(b, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP_N, 8 + 28);

    (void)state;
    memset(b + at, 0, 8 + 28);
    b[at] = 3;
    b[at + 8] = 0x45;
    b[at + 8 + 9] = IPPROTO_TCP_N;
    memcpy(b + at + 8 + 12, (uint8_t[]){10, 0, 0, 1, 10, 0, 0, 2}, 8);
    put16(b + at + 8 + 20, 20001);
    fix_transport(b + at, 36, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP_N, 2);
    own_port(3, 6, 20001, true);
    wire_receive(&wire, b, at + 36);
    apps_run();
    assert_int_equal(apps[2].count, 0);
    assert_int_equal(apps[3].count, 1);
    own_port(3, 6, 20001, false);
    forget_all();
    /* An echo of domain 2 comes back to it. */
    at = ip_headers(b, "10.0.0.1", "10.0.0.2", IPPROTO_ICMP_N, 8);
    memcpy(b, peer_mac, 6);
    memcpy(b + 6, our_mac, 6);
    memcpy(b + at, (uint8_t[]){8, 0, 0, 0, 0x12, 0x34, 0, 1}, 8);
    app_send(&apps[2], b, at + 8);
    assert_int_equal(wire.count, 1);
    at = ip_headers(b, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP_N, 8);
    memcpy(b + at, (uint8_t[]){0, 0, 0, 0, 0x12, 0x34, 0, 1}, 8);
    wire_receive(&wire, b, at + 8);
    apps_run();
    assert_int_equal(apps[2].count, 1);
    assert_int_equal(apps[3].count, 0);
    forget_all();
}

/* Sends one frame that must go nowhere and counts as `*counter`. */
static void refused(struct app *a, const uint8_t *b, uint32_t n, uint64_t *counter)
{
    uint64_t before = *counter;

    app_send(a, b, n);
    assert_int_equal(*counter, before + 1);
    assert_int_equal(wire.count, 0);
    for (unsigned i = 0; i < APPS; i++)
        assert_int_equal(apps[i].count, 0);
}

static void nobody_sends_as_another(void **state)
{
    uint8_t b[256];
    uint32_t n;

    (void)state;
    n = udp_between(b, peer_mac, apps[1].mac, "10.0.0.11", 1, "10.0.0.2", 2, "mac");
    refused(&apps[0], b, n, &counts(0)->drop_mac);
    n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.12", 1, "10.0.0.2", 2, "ip");
    refused(&apps[0], b, n, &counts(0)->drop_ip);
    n = udp_between(b, peer_mac, apps[0].mac, "2001:db8::12", 1, "2001:db8::2", 2, "ip6");
    refused(&apps[0], b, n, &counts(0)->drop_ip);
    n = udp_between(b, peer_mac, our_mac, "10.0.0.1", 4000, "10.0.0.2", 2, "port");
    refused(&apps[2], b, n, &counts(2)->drop_port);
    n = arp_frame(b, 2, apps[0].mac, "10.0.0.12", "10.0.0.2", peer_mac);
    memcpy(b + 6, apps[0].mac, 6);
    refused(&apps[0], b, n, &counts(0)->drop_ip);
    n = arp_frame(b, 2, apps[1].mac, "10.0.0.11", "10.0.0.2", peer_mac);
    memcpy(b + 6, apps[0].mac, 6);
    refused(&apps[0], b, n, &counts(0)->drop_ip);
    /* A shared domain may ask, but neither answer nor announce. */
    n = arp_frame(b, 2, our_mac, "10.0.0.1", "10.0.0.2", peer_mac);
    refused(&apps[2], b, n, &counts(2)->drop_ip);
    n = arp_frame(b, 1, our_mac, "10.0.0.1", "10.0.0.1", broadcast);
    refused(&apps[2], b, n, &counts(2)->drop_ip);
    /* VLAN tags and nonsense. */
    n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "vlan");
    put16(b + 12, 0x8100);
    refused(&apps[0], b, n, &counts(0)->drop_malformed);
    n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "long");
    put16(b + 16, 1000);
    refused(&apps[0], b, n, &counts(0)->drop_malformed);
    forget_all();
}

/* A DHCP client has no address yet: its question to all goes out, if it is about its own MAC. */
static void lease_is_asked_for(void **state)
{
    static const struct {
        const char *src, *dst;
        uint16_t from, to;
        uint8_t chaddr; /* last byte of app 0's MAC there */
        bool ok;
    } cases[] = {
        {"0.0.0.0", "255.255.255.255", 68, 67, 0, true},
        {"0.0.0.0", "255.255.255.255", 68, 67, 9, false},
        {"0.0.0.0", "255.255.255.255", 68, 53, 0, false},
        {"0.0.0.0", "255.255.255.255", 67, 68, 0, false},
        {"0.0.0.0", "10.0.0.2", 68, 67, 0, false},
        {"10.0.0.9", "255.255.255.255", 68, 67, 0, false},
    };
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t b[600], message[300];

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t before = counts(0)->drop_ip;
        memset(message, 1, sizeof(message));
        memcpy(message + 28, apps[0].mac, 6);
        message[33] ^= cases[i].chaddr;
        uint32_t n = udp_frame(b, cases[i].src, cases[i].from, cases[i].dst, cases[i].to, message,
                               sizeof(message));
        memcpy(b, all, 6);
        memcpy(b + 6, apps[0].mac, 6);
        app_send(&apps[0], b, n);
        assert_int_equal(wire.count, cases[i].ok);
        assert_int_equal(counts(0)->drop_ip - before, !cases[i].ok);
        forget_all();
    }
}

static void neighbour_discovery_is_checked(void **state)
{
    static const struct {
        uint8_t type;
        const char *src, *target;
        uint8_t option_mac; /* last byte of the option's MAC of app 0 */
        bool ok;
    } cases[] = {
        {136, "2001:db8::11", "2001:db8::11", 0, true},
        {136, "2001:db8::11", "2001:db8::12", 0, false},
        {136, "2001:db8::11", "2001:db8::11", 9, false},
        {135, "2001:db8::11", "2001:db8::2", 0, true},
        {135, "2001:db8::11", "2001:db8::2", 9, false},
        {134, "2001:db8::11", "2001:db8::11", 0, false},
        {137, "2001:db8::11", "2001:db8::11", 0, false},
        {135, "fe80::ff:fe00:100", "2001:db8::2", 0, true},
        {135, "fe80::1", "2001:db8::2", 0, false},
    };
    uint8_t b[256];

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t at = ip_headers(b, cases[i].src, "2001:db8::2", IPPROTO_ICMPV6_N, 32);
        struct ip_addr target = addr(cases[i].target);
        uint64_t before = counts(0)->drop_ip;
        memcpy(b, peer_mac, 6);
        memcpy(b + 6, apps[0].mac, 6);
        memset(b + at, 0, 32);
        b[at] = cases[i].type;
        memcpy(b + at + 8, &target, 16);
        b[at + 24] = cases[i].type == 135 ? 1 : 2;
        b[at + 25] = 1;
        memcpy(b + at + 26, apps[0].mac, 6);
        b[at + 31] = cases[i].option_mac;
        fix_transport(b + at, 32, cases[i].src, "2001:db8::2", IPPROTO_ICMPV6_N, 2);
        app_send(&apps[0], b, at + 32);
        assert_int_equal(wire.count, cases[i].ok);
        assert_int_equal(counts(0)->drop_ip - before, !cases[i].ok);
        forget_all();
    }
}

static void offloads_are_checked_and_done(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "abcd");
    struct channel_desc d = {.flags = CHANNEL_CSUM_PARTIAL, .csum_start = 34, .csum_offset = 6};
    uint64_t before = counts(0)->drop_malformed;
    struct ip_addr src = addr("10.0.0.11"), dst = addr("10.0.0.2");

    (void)state;
    *(wire16 *)(b + 40) = (uint16_t)~csum_fold(ip_pseudo_csum(&src, &dst, IPPROTO_UDP_N, n - 34));
    app_send_desc(&apps[0], b, n, &d);
    assert_int_equal(wire.count, 1);
    check_frame(wire.sent[0]);
    forget_all();
    d.csum_start = 30; /* would write into the addresses */
    d.csum_offset = 2;
    app_send_desc(&apps[0], b, n, &d);
    d.csum_start = 34;
    d.csum_offset = 16; /* TCP's, in UDP */
    b[60] = 0;
    app_send_desc(&apps[0], b, 60, &d);
    assert_int_equal(counts(0)->drop_malformed, before + 2);
    assert_int_equal(wire.count, 0);
    forget_all();
}

static void fragments_follow_their_first(void **state)
{
    uint8_t b[256];
    uint32_t n =
        udp_between(b, our_mac, peer_mac, "10.0.0.2", 9, "10.0.0.1", 54, "fragmented data");

    (void)state;
    own_port(3, 17, 54, true);
    put16(b + 18, 77); /* id */
    put16(b + 20, 3);  /* offset 24: no first one came */
    fix_ip4(b + 14);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[3].count, 0);
    put16(b + 20, 0x2000);
    fix_ip4(b + 14);
    wire_receive(&wire, b, n);
    put16(b + 20, 3);
    fix_ip4(b + 14);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[3].count, 2);
    forget_all();
    /* Out: only behind a first fragment of its own. */
    n = udp_between(b, peer_mac, our_mac, "10.0.0.1", 54, "10.0.0.2", 9, "fragmented data");
    put16(b + 18, 78);
    put16(b + 20, 3);
    fix_ip4(b + 14);
    refused(&apps[2], b, n, &counts(2)->drop_port);
    put16(b + 20, 0x2000);
    fix_ip4(b + 14);
    app_send(&apps[3], b, n);
    put16(b + 20, 3);
    fix_ip4(b + 14);
    app_send(&apps[3], b, n);
    assert_int_equal(wire.count, 2);
    wire_clear(&wire);
    refused(&apps[2], b, n, &counts(2)->drop_port);
    own_port(3, 17, 54, false);
    forget_all();
}

static void a_flood_starves_nobody(void **state)
{
    uint8_t b[256], flood[1514] = {0};
    uint32_t n = udp_between(b, peer_mac, apps[1].mac, "10.0.0.12", 1, "10.0.0.2", 2, "mine");
    unsigned sent = 0, at = ~0u;

    (void)state;
    memcpy(flood, b, 42);
    memcpy(flood + 6, apps[0].mac, 6);
    put16(flood + 16, 1500);
    flood[29] = 11;
    fix_ip4(flood + 14);
    wire.room = 40; /* the NIC is slow */
    while (app_put(&apps[0], flood, sizeof(flood), NULL))
        sent++;
    assert_true(sent > 200);
    for (unsigned i = 0; i < 8; i++)
        assert_true(app_put(&apps[1], b, n, NULL));
    net_server_channel_rung(apps[0].slot, 0);
    net_server_channel_rung(apps[1].slot, 0);
    settle();
    unsigned mine = 0;
    for (unsigned i = 0; i < wire.count; i++)
        if (!memcmp(wire.sent[i]->b + 6, apps[1].mac, 6)) {
            at = at == ~0u ? i : at;
            mine++;
        }
    /* One quantum of the flood at most is before it, and none of it is lost. */
    assert_true(mine == 8 || wire.count == 40);
    assert_true(at <= 40);
    /* What the NIC has no room for waits with the flooder, not in the server's memory. */
    assert_true(channel_update_head(&apps[0].q.tx));
    assert_true(channel_outstanding(&apps[0].q.tx) > sent / 2);
    for (int i = 0; i < 20; i++) {
        wire_clear(&wire);
        wire.room = 200;
        bh_disable();
        path_tx_ready(&wire.path, 0);
        bh_enable();
        settle();
    }
    assert_true(channel_update_head(&apps[0].q.tx));
    assert_int_equal(channel_outstanding(&apps[0].q.tx), 0);
    assert_int_equal(counts(1)->tx_frames >= 8, 1);
    wire.room = ~0u;
    forget_all();
}

static void a_full_ring_is_its_owners_loss(void **state)
{
    uint8_t b[1514] = {0};
    uint64_t before = counts(0)->drop_full;

    (void)state;
    udp_between(b, apps[0].mac, peer_mac, "10.0.0.2", 9, "10.0.0.11", 7, "x");
    for (unsigned i = 0; i < 300; i++)
        wire_receive(&wire, b, sizeof(b)); /* domain 0 does not look */
    assert_true(counts(0)->drop_full > before);
    memcpy(b, apps[1].mac, 6);
    wire_receive(&wire, b, sizeof(b));
    app_run(&apps[1]);
    assert_int_equal(apps[1].count, 1);
    forget_all();
    forget_all();
}

static void a_hostile_domain_breaks_its_channel_only(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, peer_mac, apps[1].mac, "10.0.0.12", 1, "10.0.0.2", 2, "fine");
    uint64_t generations = counts(0)->generations;

    (void)state;
    line_of(apps[0].mem, false, 0)->tail += 1000;
    net_server_channel_rung(apps[0].slot, 0);
    settle();
    assert_int_equal(counts(0)->broken, 1);
    assert_int_equal(channel_side(&apps[0].dev, true)->state, CHANNEL_BROKEN);
    app_send(&apps[1], b, n);
    assert_int_equal(wire.count, 1);
    forget_all();
    /* It gets another generation, not at once. */
    assert_int_equal(counts(0)->generations, generations);
    floor_advance(SEC);
    assert_int_equal(counts(0)->generations, generations + 1);
    apps_run();
    apps_run();
    udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "fine");
    app_send(&apps[0], b, n);
    assert_int_equal(wire.count, 1);
    forget_all();
}

static void slots_are_let_go_and_granted_anew(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, apps[1].mac, peer_mac, "10.0.0.2", 9, "10.0.0.12", 7, "x");
    unsigned before = told;

    (void)state;
    take_back(1);
    ring_table();
    assert_int_equal(channel_side(&apps[1].dev, true)->state, CHANNEL_DOWN);
    assert_int_equal(channel_side(&apps[1].dev, true)->epoch, slot_of(1)->epoch);
    assert_int_equal(told, before + 1);
    assert_int_equal(page()->attached, APPS - 1);
    wire_receive(&wire, b, n);
    app_run(&apps[1]);
    assert_int_equal(apps[1].count, 0);
    grant(1, CHANNEL_DEDICATED);
    ring_table();
    assert_int_equal(page()->attached, APPS);
    wire_receive(&wire, b, n);
    apps_run();
    assert_int_equal(apps[1].count, 1);
    assert_int_equal(counts(1)->rx_frames, 1); /* counted from the grant on */
    forget_all();
}

static void pings_are_answered(void **state)
{
    (void)state;
    ((struct net_table *)table)->ping = 5;
    ring_table();
    assert_int_equal(page()->pong, 5);
    channel_control(&apps[0].dev)->ping = 7;
    net_server_channel_rung(apps[0].slot, 0);
    settle();
    assert_int_equal(channel_side(&apps[0].dev, true)->pong, 7);
}

static void devices_that_make_no_sense(void **state)
{
    struct channel_device far = apps[0].dev;

    (void)state;
    assert_int_equal(PTR_ERR(net_server_add_channel(&far)), -EEXIST);
    far.id = CHANNEL_PEER(NET_SLOTS, CHANNEL_SERVER);
    assert_int_equal(PTR_ERR(net_server_add_channel(&far)), -EINVAL);
    assert_int_equal(net_server_add_table(&table_dev), -EEXIST);
    assert_int_equal(net_server_start(eth), -EEXIST);
}

static void a_storm_of_doorbells_is_not_followed(void **state)
{
    uint8_t b[256];
    uint32_t n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "late");

    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        net_server_channel_rung(apps[0].slot, 0);
        if (i < 1000)
            settle();
    }
    assert_true(app_put(&apps[0], b, n, NULL));
    floor_advance(20 * MS); /* it is served by the timer */
    assert_int_equal(wire.count, 1);
    forget_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dedicated_frames_go_by_mac),
        cmocka_unit_test(a_parked_domain),
        cmocka_unit_test(a_domain_that_lies_about_being_parked),
        cmocka_unit_test(a_frame_for_nobody_is_counted),
        cmocka_unit_test(domains_talk_without_the_nic),
        cmocka_unit_test(broadcasts_reach_domains_wire_and_own_stack),
        cmocka_unit_test(shared_ports_are_told_apart),
        cmocka_unit_test(neighbours_answers_reach_shared_domains),
        cmocka_unit_test(shared_domains_reach_each_other),
        cmocka_unit_test(icmp_finds_whom_it_is_about),
        cmocka_unit_test(nobody_sends_as_another),
        cmocka_unit_test(lease_is_asked_for),
        cmocka_unit_test(neighbour_discovery_is_checked),
        cmocka_unit_test(offloads_are_checked_and_done),
        cmocka_unit_test(fragments_follow_their_first),
        cmocka_unit_test(a_flood_starves_nobody),
        cmocka_unit_test(a_full_ring_is_its_owners_loss),
        cmocka_unit_test(a_hostile_domain_breaks_its_channel_only),
        cmocka_unit_test(slots_are_let_go_and_granted_anew),
        cmocka_unit_test(pings_are_answered),
        cmocka_unit_test(devices_that_make_no_sense),
        cmocka_unit_test(a_storm_of_doorbells_is_not_followed),
    };

    server_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
