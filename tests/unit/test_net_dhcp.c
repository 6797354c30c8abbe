/* The DHCP client against a scripted server, and configuration from the boot arguments. */
#include "test_net_util.h"

#include "core/bootargs.h"
#include "net/dhcp.h"

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK };

/* What the client sent last: its type, or 0; the frame stays captured. */
static uint8_t last_message(const uint8_t **message)
{
    for (unsigned i = wire.count; i-- > 0;) {
        const struct frame *f = wire.sent[i];
        if (get16(f->b + 12) != 0x0800 || f->b[23] != 17 || get16(f->b + 36) != 67)
            continue;
        check_frame(f);
        *message = f->b + 42;
        assert_int_equal(get32(f->b + 42 + 236), 0x63825363);
        return f->b[42 + 242];
    }
    return 0;
}

static uint8_t opts[400];
static uint32_t nopts;

static void opt(uint8_t code, const void *data, uint8_t n)
{
    opts[nopts++] = code;
    opts[nopts++] = n;
    memcpy(opts + nopts, data, n);
    nopts += n;
}

static void opt32(uint8_t code, uint32_t v)
{
    uint8_t b[4];
    put32(b, v);
    opt(code, b, 4);
}

static void usual_options(uint8_t type, uint32_t lease_s)
{
    nopts = 0;
    opt(53, &type, 1);
    opt32(54, 0x0a090001);
    opt32(1, 0xffffff00);
    opt32(3, 0x0a0900fe);
    opt32(51, lease_s);
    opt(6, "\x0a\x09\x00\x35\x0a\x09\x00\x36", 8);
    opt(15, "example.org", 11);
    opt(26, "\x05\x78", 2); /* MTU 1400 */
}

/* The server's answer with the options built so far, to the broadcast address. */
static uint32_t answer(uint8_t *b, uint32_t xid, uint32_t yiaddr)
{
    static uint8_t m[700];
    uint32_t n = 240 + nopts + 1;

    memset(m, 0, sizeof(m));
    m[0] = 2;
    m[1] = 1;
    m[2] = 6;
    put32(m + 4, xid);
    put32(m + 16, yiaddr);
    memcpy(m + 28, our_mac, 6);
    put32(m + 236, 0x63825363);
    memcpy(m + 240, opts, nopts);
    m[240 + nopts] = 255;
    uint32_t len = udp_frame(b, "10.9.0.1", 67, "255.255.255.255", 68, m, n);
    memset(b, 0xff, 6);
    return len;
}

static bool have(const char *text)
{
    struct ip_addr a = addr(text);
    net_batch_begin();
    bool found = view_local(net_view(), eth, &a) != NULL;
    net_batch_end();
    return found;
}

static uint32_t xid_of(const uint8_t *m)
{
    return get32(m + 4);
}

static void test_discover_is_repeated(void **state)
{
    const uint8_t *m;

    (void)state;
    wire_clear(&wire);
    assert_int_equal(dhcp_start(eth), 0);
    assert_int_equal(last_message(&m), DISCOVER);
    assert_int_equal(m[10], 0x80);
    assert_memory_equal(m + 28, our_mac, 6);
    floor_advance(30 * SEC);
    assert_true(wire.count >= 3 && wire.count <= 6);
}

static void test_hostile_answers_are_ignored(void **state)
{
    static uint8_t b[1000], good[1000];
    const uint8_t *m;

    (void)state;
    assert_int_equal(last_message(&m), DISCOVER);
    uint32_t xid = xid_of(m);
    wire_clear(&wire);
    /* Another transaction; addresses and masks that make no sense; options that lie. */
    usual_options(OFFER, 3600);
    wire_receive(&wire, b, answer(b, xid + 1, 0x0a090005));
    wire_receive(&wire, b, answer(b, xid, 0));
    wire_receive(&wire, b, answer(b, xid, 0x7f000001));
    wire_receive(&wire, b, answer(b, xid, 0xe0000001));
    usual_options(OFFER, 3600);
    opt32(1, 0xff00ff00);
    wire_receive(&wire, b, answer(b, xid, 0x0a090005));
    usual_options(OFFER, 5);
    wire_receive(&wire, b, answer(b, xid, 0x0a090005));
    usual_options(OFFER, 3600);
    opts[nopts++] = 6;
    opts[nopts++] = 200; /* beyond the end */
    wire_receive(&wire, b, answer(b, xid, 0x0a090005));
    usual_options(ACK, 3600); /* not asked for */
    wire_receive(&wire, b, answer(b, xid, 0x0a090005));
    usual_options(OFFER, 3600);
    uint32_t n = answer(good, xid, 0x0a090005);
    for (uint32_t cut = 300; cut < n; cut++) /* truncated, with lengths that say so */
    {
        memcpy(b, good, n);
        put16(b + 16, (uint16_t)(cut - 14));
        fix_ip4(b + 14);
        put16(b + 38, (uint16_t)(cut - 34));
        put16(b + 40, 0);
        wire_receive(&wire, b, cut - 20);
    }
    assert_int_equal(wire.count, 0);
    assert_false(have("10.9.0.5"));
}

static void test_lease_is_obtained(void **state)
{
    static uint8_t b[1000];
    const uint8_t *m;
    struct net_dns dns;
    struct ip_flow f = {.dst = addr("8.8.8.8"), .proto = 17, .ttl = 64};

    (void)state;
    floor_advance(70 * SEC);
    assert_int_equal(last_message(&m), DISCOVER);
    uint32_t xid = xid_of(m);
    usual_options(OFFER, 3600);
    wire_receive(&wire, b, answer(b, xid, 0x0a090005));
    assert_int_equal(last_message(&m), REQUEST);
    assert_int_equal(xid_of(m), xid);
    wire_clear(&wire);
    usual_options(ACK, 3600);
    wire_receive(&wire, b, answer(b, xid, 0x0a090006)); /* not the one offered */
    assert_false(have("10.9.0.6"));
    wire_receive(&wire, b, answer(b, xid, 0x0a090005));
    assert_true(have("10.9.0.5"));
    assert_int_equal(eth->mtu, 1400);
    net_dns(&dns);
    assert_int_equal(dns.count, 2);
    assert_string_equal(dns.domain, "example.org");
    assert_int_equal(ip_route(&f), 0);
    struct ip_addr gw = addr("10.9.0.254");
    assert_true(ip_equal(&f.neighbour->addr, &gw));
    ip_flow_release(&f);
    assert_true(wire.count >= 2); /* announced */
    wire_clear(&wire);
}

static void test_lease_is_renewed_and_lost(void **state)
{
    static uint8_t b[1000];
    const uint8_t *m;

    (void)state;
    learn_peer("10.9.0.1", peer_mac); /* arp for another subnet: ignored */
    floor_advance(1790 * SEC);
    wire_clear(&wire);
    floor_advance(20 * SEC); /* T1: unicast to the server, which must be resolved first */
    assert_true(wire.count >= 1);
    assert_int_equal(get16(wire.sent[0]->b + 12), 0x0806);
    wire_receive(&wire, b, arp_frame(b, 2, peer_mac, "10.9.0.1", "10.9.0.5", our_mac));
    floor_advance(1200 * SEC);
    wire_clear(&wire);
    floor_advance(200 * SEC); /* T2: broadcast */
    assert_int_equal(last_message(&m), REQUEST);
    assert_memory_equal(m + 12, "\x0a\x09\x00\x05", 4);
    usual_options(ACK, 3600);
    wire_receive(&wire, b, answer(b, xid_of(m), 0x0a090005));
    wire_clear(&wire);
    floor_advance(1700 * SEC);
    assert_int_equal(last_message(&m), 0); /* quiet until the new T1 */
    assert_true(have("10.9.0.5"));
    floor_advance(1600 * SEC); /* the server is gone */
    wire_clear(&wire);
    floor_advance(400 * SEC);
    assert_false(have("10.9.0.5"));
    assert_int_equal(last_message(&m), DISCOVER);
    wire_clear(&wire);
}

static void test_refusal_starts_again(void **state)
{
    static uint8_t b[1000];
    const uint8_t *m;
    uint8_t nak = NAK;

    (void)state;
    floor_advance(70 * SEC);
    assert_int_equal(last_message(&m), DISCOVER);
    usual_options(OFFER, 3600);
    wire_receive(&wire, b, answer(b, xid_of(m), 0x0a090005));
    assert_int_equal(last_message(&m), REQUEST);
    uint32_t xid = xid_of(m);
    nopts = 0;
    opt(53, &nak, 1);
    wire_clear(&wire);
    wire_receive(&wire, b, answer(b, xid, 0));
    assert_int_equal(last_message(&m), DISCOVER);
    assert_int_not_equal(xid_of(m), xid);
    wire_clear(&wire);
}

static void test_static_configuration(void **state)
{
    struct net_dns dns;
    struct ip_flow f = {.dst = addr("2001:4860::1"), .proto = 17, .ttl = 64};
    nsec_t before = time_now();

    (void)state;
    wire_init(&wire2, 0);
    memcpy(wire2.path.mac, peer2_mac, 6);
    assert_int_equal(netif_register_path(&wire2.path), 0);
    bootargs_init("net1=192.168.3.4/24,gw=192.168.3.1,dns=192.168.3.53,2001:db8:3::4/64,"
                  "gw6=2001:db8:3::1,bogus=1,1.2.3.4 net2=10.1.1.1/8");
    unsigned lines = floor_log_lines();
    net_configure();
    assert_true(floor_log_lines() >= lines + 3); /* two bad items, no eth2 */
    assert_int_equal(time_now(), before);        /* usable at once */
    assert_int_equal(ip_route(&f), 0);
    struct ip_addr gw = addr("2001:db8:3::1");
    assert_true(ip_equal(&f.neighbour->addr, &gw));
    assert_string_equal(f.netif->name, "eth1");
    ip_flow_release(&f);
    f.dst = addr("192.168.3.77");
    f.src = (struct ip_addr){0};
    assert_int_equal(ip_route(&f), 0);
    struct ip_addr want = addr("192.168.3.4");
    assert_true(ip_equal(&f.src, &want));
    ip_flow_release(&f);
    net_dns(&dns);
    assert_int_equal(dns.count, 1);
    wire_clear(&wire2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discover_is_repeated),
        cmocka_unit_test(test_hostile_answers_are_ignored),
        cmocka_unit_test(test_lease_is_obtained),
        cmocka_unit_test(test_lease_is_renewed_and_lost),
        cmocka_unit_test(test_refusal_starts_again),
        cmocka_unit_test(test_static_configuration),
    };

    net_init();
    wire_init(&wire, PATH_CSUM | PATH_SG);
    assert_int_equal(netif_register_path(&wire.path), 0);
    eth = netif_by_name("eth0");
    assert_int_equal(netif_set_up(eth, true), 0);
    floor_advance(20 * SEC);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
