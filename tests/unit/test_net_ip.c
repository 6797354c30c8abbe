/* ARP, neighbour discovery, IP input and output, fragments, ICMP, routes. */
#include "test_net_util.h"

#include "core/rand.h"
#include "net/nd.h"

static uint64_t stat(enum net_stat s)
{
    return net_stat_read(s);
}

/* --- ARP -------------------------------------------------------------------------------------- */

static void test_arp_request_is_answered(void **state)
{
    uint8_t b[64];
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};

    (void)state;
    wire_receive(&wire, b, arp_frame(b, 1, peer_mac, "10.0.0.77", "10.0.0.1", all));
    assert_int_equal(wire.count, 1);
    const uint8_t *f = wire.sent[0]->b;
    assert_memory_equal(f, peer_mac, 6);
    assert_int_equal(get16(f + 20), 2);
    assert_memory_equal(f + 22, our_mac, 6);
    wire_clear(&wire);
    /* For somebody else: silence. */
    wire_receive(&wire, b, arp_frame(b, 1, peer_mac, "10.0.0.77", "10.0.0.9", all));
    assert_int_equal(wire.count, 0);
}

static void test_arp_conflict_is_defended(void **state)
{
    uint8_t b[64];
    uint64_t before = stat(NET_Librettos_ArpConflicts);

    (void)state;
    floor_advance(20 * SEC);
    wire_clear(&wire);
    wire_receive(&wire, b, arp_frame(b, 1, peer_mac, "10.0.0.1", "10.0.0.1", our_mac));
    assert_int_equal(stat(NET_Librettos_ArpConflicts), before + 1);
    assert_int_equal(wire.count, 2); /* request and reply */
    wire_receive(&wire, b, arp_frame(b, 1, peer_mac, "10.0.0.1", "10.0.0.1", our_mac));
    assert_int_equal(wire.count, 2); /* not again within ten seconds */
    wire_clear(&wire);
}

static struct socket *udp4(void)
{
    struct socket *s;
    assert_int_equal(socket_create(4, 2, 0, &s), 0);
    return s;
}

static struct socket *udp6(void)
{
    struct socket *s;
    assert_int_equal(socket_create(6, 2, 0, &s), 0);
    return s;
}

static void test_packets_wait_for_the_neighbour(void **state)
{
    struct socket *s = udp4();
    uint8_t b[64];

    (void)state;
    assert_int_equal(sock_send(s, "one", 3, "10.0.0.50", 9), 3);
    assert_int_equal(sock_send(s, "two", 3, "10.0.0.50", 9), 3);
    assert_int_equal(wire.count, 1); /* one question for both */
    assert_int_equal(get16(wire.sent[0]->b + 12), 0x0806);
    wire_clear(&wire);
    wire_receive(&wire, b, arp_frame(b, 2, peer2_mac, "10.0.0.50", "10.0.0.1", our_mac));
    assert_int_equal(wire.count, 2);
    for (int i = 0; i < 2; i++) {
        uint32_t l4 = check_frame(wire.sent[i]);
        assert_memory_equal(wire.sent[i]->b, peer2_mac, 6);
        assert_memory_equal(wire.sent[i]->b + 6, our_mac, 6);
        assert_memory_equal(wire.sent[i]->b + l4 + 8, i ? "two" : "one", 3);
    }
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_unresolved_neighbour_fails(void **state)
{
    struct socket *s = udp4();
    size_t pages = floor_pages_in_use();
    int v = 1;

    (void)state;
    assert_int_equal(socket_setopt(s, 0, 11, &v, sizeof(v)), 0); /* IP_RECVERR */
    assert_int_equal(sock_connect(s, "10.0.0.51", 9), 0);
    assert_int_equal(sock_send(s, "x", 1, NULL, 0), 1);
    floor_advance(4 * SEC);
    assert_int_equal(wire.count, 3);
    assert_int_equal(get_int(s, 1, 4), EHOSTUNREACH);
    assert_int_equal(get_int(s, 1, 4), 0);
    wire_clear(&wire);
    /* Asked again only after a while. */
    floor_advance(2 * SEC);
    assert_int_equal(sock_send(s, "x", 1, NULL, 0), 1);
    assert_int_equal(wire.count, 1);
    floor_advance(4 * SEC);
    wire_clear(&wire);
    s->ops->close(s);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_neighbour_goes_stale_and_is_probed(void **state)
{
    struct socket *s = udp4();
    uint8_t b[64];

    (void)state;
    sock_send(s, "x", 1, "10.0.0.52", 9);
    wire_receive(&wire, b, arp_frame(b, 2, peer_mac, "10.0.0.52", "10.0.0.1", our_mac));
    floor_advance(31 * SEC);
    wire_clear(&wire);
    sock_send(s, "x", 1, "10.0.0.52", 9); /* stale: used, then probed */
    assert_int_equal(wire.count, 1);
    floor_advance(5 * SEC);
    assert_int_equal(wire.count, 2);
    assert_memory_equal(wire.sent[1]->b, peer_mac, 6); /* unicast */
    assert_int_equal(get16(wire.sent[1]->b + 12), 0x0806);
    wire_clear(&wire);
    wire_receive(&wire, b, arp_frame(b, 2, peer_mac, "10.0.0.52", "10.0.0.1", our_mac));
    floor_advance(5 * SEC);
    assert_int_equal(wire.count, 0);
    s->ops->close(s);
    floor_advance(60 * SEC);
    wire_clear(&wire);
}

static void test_neighbour_moves(void **state)
{
    struct socket *s = udp4();
    uint8_t b[64];
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};

    (void)state;
    learn_peer("10.0.0.53", peer_mac);
    assert_int_equal(sock_connect(s, "10.0.0.53", 9), 0);
    sock_send(s, "x", 1, NULL, 0);
    assert_memory_equal(wire.sent[0]->b, peer_mac, 6);
    /* A gratuitous ARP from elsewhere, as after a switch. */
    wire_receive(&wire, b, arp_frame(b, 1, peer2_mac, "10.0.0.53", "10.0.0.53", all));
    wire_clear(&wire);
    sock_send(s, "x", 1, NULL, 0);
    assert_memory_equal(wire.sent[0]->b, peer2_mac, 6);
    wire_clear(&wire);
    s->ops->close(s);
    floor_advance(60 * SEC);
    wire_clear(&wire);
}

static void test_damaged_arp_is_ignored(void **state)
{
    uint8_t b[64], good[64];
    uint32_t len = arp_frame(good, 1, peer_mac, "10.0.0.60", "10.0.0.1", our_mac);

    (void)state;
    for (uint32_t n = 0; n < len; n++)
        wire_receive(&wire, good, n);
    for (int i = 14; i < 20; i++) {
        memcpy(b, good, len);
        b[i] ^= 0x40;
        wire_receive(&wire, b, len);
    }
    memcpy(b, good, len);
    b[22] |= 1; /* a group address as sender */
    wire_receive(&wire, b, len);
    assert_int_equal(wire.count, 0);
}

/* --- ND --------------------------------------------------------------------------------------- */

static uint32_t nd_frame(uint8_t *b, uint8_t type, uint8_t flags, const char *src, const char *dst,
                         const char *target, uint8_t opt, const uint8_t *mac)
{
    uint32_t n = mac ? 32 : 24, at = ip_headers(b, src, dst, IPPROTO_ICMPV6_N, n);
    struct ip_addr t = addr(target);

    memset(b + at, 0, n);
    b[at] = type;
    b[at + 4] = flags;
    memcpy(b + at + 8, &t, 16);
    if (mac) {
        b[at + 24] = opt;
        b[at + 25] = 1;
        memcpy(b + at + 26, mac, 6);
    }
    if (addr(dst).b[0] == 0xff)
        memcpy(b,
               (uint8_t[]){0x33, 0x33, addr(dst).b[12], addr(dst).b[13], addr(dst).b[14],
                           addr(dst).b[15]},
               6);
    fix_transport(b + at, n, src, dst, IPPROTO_ICMPV6_N, 2);
    return at + n;
}

static void test_nd_solicitation_is_answered(void **state)
{
    uint8_t b[128];
    uint32_t n = nd_frame(b, 135, 0, "2001:db8::9", "ff02::1:ff00:1", "2001:db8::1", 1, peer_mac);

    (void)state;
    wire_receive(&wire, b, n);
    assert_int_equal(wire.count, 1);
    uint32_t l4 = check_frame(wire.sent[0]);
    const uint8_t *m = wire.sent[0]->b + l4;
    assert_memory_equal(wire.sent[0]->b, peer_mac, 6);
    assert_int_equal(m[0], 136);
    assert_int_equal(m[4], 0x60); /* solicited, override */
    assert_memory_equal(m + 26, our_mac, 6);
    wire_clear(&wire);
    b[14 + 7] = 254; /* hop limit: it passed a router */
    wire_receive(&wire, b, n);
    assert_int_equal(wire.count, 0);
    b[14 + 7] = 255;
    memmove(b + 62, b + 54, n - 54); /* behind a fragment header (RFC 6980) */
    memcpy(b + 54, (uint8_t[]){58, 0, 0, 0, 0, 0, 0, 9}, 8);
    b[14 + 6] = 44;
    put16(b + 18, (uint16_t)(n - 54 + 8));
    wire_receive(&wire, b, n + 8);
    assert_int_equal(wire.count, 0);
}

static bool reachable(const struct neighbour *nb, void *arg)
{
    if (ip_equal(&nb->addr, arg) && nb->state == NEIGH_REACHABLE)
        memset(arg, 0, sizeof(nb->addr));
    return true;
}

/* RFC 4861 7.2.5: a solicited advertisement may leave out the address that is known. */
static void test_nd_advertisement_without_an_address(void **state)
{
    struct ip_addr a = addr("2001:db8::9");
    uint8_t b[128];

    (void)state;
    wire_receive(&wire, b,
                 nd_frame(b, 135, 0, "2001:db8::9", "ff02::1:ff00:1", "2001:db8::1", 1, peer_mac));
    neighbour_for_each(reachable, &a);
    assert_false(ip_is_any(&a));
    nd_frame(b, 136, 0x40, "2001:db8::9", "2001:db8::1", "2001:db8::9", 2, peer_mac);
    put16(b + 18, 24);
    fix_transport(b + 54, 24, "2001:db8::9", "2001:db8::1", IPPROTO_ICMPV6_N, 2);
    wire_receive(&wire, b, 54 + 24);
    neighbour_for_each(reachable, &a);
    assert_true(ip_is_any(&a));
    wire_clear(&wire);
}

static void test_nd_options_of_length_zero(void **state)
{
    uint8_t b[128];
    uint64_t before = stat(NET_Librettos_NdInvalid);
    uint32_t n = nd_frame(b, 135, 0, "2001:db8::9", "2001:db8::1", "2001:db8::1", 1, peer_mac);

    (void)state;
    b[54 + 25] = 0;
    fix_transport(b + 54, 32, "2001:db8::9", "2001:db8::1", IPPROTO_ICMPV6_N, 2);
    wire_receive(&wire, b, n);
    assert_int_equal(wire.count, 0);
    assert_int_equal(stat(NET_Librettos_NdInvalid), before + 1);
}

static void test_nd_resolution(void **state)
{
    struct socket *s = udp6();
    uint8_t b[128];

    (void)state;
    assert_int_equal(sock_send(s, "six", 3, "2001:db8::42", 9), 3);
    assert_int_equal(wire.count, 1);
    uint32_t l4 = check_frame(wire.sent[0]);
    assert_int_equal(wire.sent[0]->b[l4], 135);
    assert_memory_equal(wire.sent[0]->b, "\x33\x33\xff\x00\x00\x42", 6);
    wire_clear(&wire);
    wire_receive(
        &wire, b,
        nd_frame(b, 136, 0x60, "2001:db8::42", "2001:db8::1", "2001:db8::42", 2, peer2_mac));
    assert_int_equal(wire.count, 1);
    l4 = check_frame(wire.sent[0]);
    assert_memory_equal(wire.sent[0]->b, peer2_mac, 6);
    assert_memory_equal(wire.sent[0]->b + l4 + 8, "six", 3);
    wire_clear(&wire);
    s->ops->close(s);
    floor_advance(60 * SEC);
    wire_clear(&wire);
}

static uint32_t router_advert(uint8_t *b, uint16_t lifetime, uint32_t valid, uint32_t preferred)
{
    uint32_t n = 16 + 32 + 8 + 24, at = ip_headers(b, "fe80::99", "ff02::1", IPPROTO_ICMPV6_N, n);
    uint8_t *m = b + at;
    struct ip_addr prefix = addr("2001:db8:5::"), dns = addr("2001:db8:5::53");

    memset(m, 0, n);
    m[0] = 134;
    put16(m + 6, lifetime);
    m[16] = 3;
    m[17] = 4;
    m[18] = 64;
    m[19] = 0xc0;
    put32(m + 20, valid);
    put32(m + 24, preferred);
    memcpy(m + 32, &prefix, 16);
    m[48] = 1;
    m[49] = 1;
    memcpy(m + 50, peer2_mac, 6);
    m[56] = 25;
    m[57] = 3;
    put32(m + 60, 1000);
    memcpy(m + 64, &dns, 16);
    memcpy(b, "\x33\x33\0\0\0\1", 6);
    fix_transport(m, n, "fe80::99", "ff02::1", IPPROTO_ICMPV6_N, 2);
    return at + n;
}

static bool has_addr(const char *text)
{
    struct ip_addr a = addr(text);
    net_batch_begin();
    bool found = view_local(net_view(), eth, &a) != NULL;
    net_batch_end();
    return found;
}

/* An advertisement with a prefix of these flags, its second option. */
static uint32_t prefix_advert(uint8_t *b, uint8_t flags)
{
    uint32_t n = router_advert(b, 0, 3600, 1800);

    b[54 + 19] = flags;
    fix_transport(b + 54, n - 54, "fe80::99", "ff02::1", IPPROTO_ICMPV6_N, 2);
    return n;
}

static bool on_link(const char *text)
{
    struct ip_addr a = addr(text);
    net_batch_begin();
    const struct view_route *r = view_route(net_view(), eth, &a);
    bool found = r && ip_is_any(&r->gateway);
    net_batch_end();
    return found;
}

/* RFC 5942 4: an address does not make its prefix on the link, the prefix's own flag does. */
static void test_prefix_that_is_not_on_the_link(void **state)
{
    uint8_t b[256];
    struct ip_addr a = addr("2001:db8:5::ff:fe00:1");

    (void)state;
    wire_receive(&wire, b, prefix_advert(b, 0x40));
    assert_true(has_addr("2001:db8:5::ff:fe00:1"));
    assert_false(on_link("2001:db8:5::7"));
    wire_receive(&wire, b, prefix_advert(b, 0xc0));
    assert_true(on_link("2001:db8:5::7"));
    assert_int_equal(netif_del_addr(eth, &a), 0);
    wire_clear(&wire);
}

/* More options than a packet's linear part holds. */
static void test_long_router_advertisement(void **state)
{
    uint8_t b[1600];
    uint32_t n = router_advert(b, 0, 3600, 1800);
    struct ip_addr a = addr("2001:db8:5::ff:fe00:1");

    (void)state;
    memmove(b + 54 + 16 + 800, b + 54 + 16, n - 54 - 16);
    for (uint32_t at = 54 + 16; at < 54 + 16 + 800; at += 8)
        memcpy(b + at, (uint8_t[]){99, 1, 0, 0, 0, 0, 0, 0}, 8);
    n += 800;
    put16(b + 18, (uint16_t)(n - 54));
    fix_transport(b + 54, n - 54, "fe80::99", "ff02::1", IPPROTO_ICMPV6_N, 2);
    wire_receive(&wire, b, n);
    assert_true(has_addr("2001:db8:5::ff:fe00:1"));
    assert_int_equal(netif_del_addr(eth, &a), 0);
    wire_clear(&wire);
}

static void test_router_that_is_a_host_now(void **state)
{
    uint8_t b[256];

    (void)state;
    wire_receive(&wire, b, router_advert(b, 1800, 3600, 1800));
    net_batch_begin();
    assert_non_null(view_route(net_view(), eth, &(struct ip_addr){.b = {0x20, 2}}));
    net_batch_end();
    wire_receive(&wire, b,
                 nd_frame(b, 136, 0, "fe80::99", "2001:db8::1", "fe80::99", 2, peer2_mac));
    net_batch_begin();
    assert_null(view_route(net_view(), eth, &(struct ip_addr){.b = {0x20, 2}}));
    net_batch_end();
    struct ip_addr a = addr("2001:db8:5::ff:fe00:1");
    assert_int_equal(netif_del_addr(eth, &a), 0);
    wire_clear(&wire);
}

static void test_router_advertisement(void **state)
{
    struct socket *s = udp6();
    uint8_t b[256];
    struct ip_addr dns[3];
    uint32_t n = router_advert(b, 1800, 3600, 1800);

    (void)state;
    assert_int_equal(sock_send(s, "x", 1, "2001:4860::8888", 53), -ENETUNREACH);
    wire_receive(&wire, b, n);
    assert_true(has_addr("2001:db8:5::ff:fe00:1"));
    assert_int_equal(nd_dns_servers(eth, dns, 3), 1);
    wire_clear(&wire);
    assert_int_equal(sock_send(s, "x", 1, "2001:4860::8888", 53), 1);
    assert_int_equal(wire.count, 1);
    assert_memory_equal(wire.sent[0]->b, peer2_mac, 6);
    wire_clear(&wire);
    /* A forged short lifetime cannot end it within two hours; its own end does. */
    wire_receive(&wire, b, router_advert(b, 0, 10, 10));
    floor_advance(3500 * SEC);
    assert_true(has_addr("2001:db8:5::ff:fe00:1"));
    assert_int_equal(sock_send(s, "x", 1, "2001:4860::8888", 53), -ENETUNREACH);
    floor_advance(7300 * SEC);
    assert_false(has_addr("2001:db8:5::ff:fe00:1"));
    s->ops->close(s);
    wire_clear(&wire);
}

static void test_duplicate_address_is_given_up(void **state)
{
    uint8_t b[128];
    struct netif_addr a = {.addr = addr("2001:db8::dd"),
                           .prefix = 64,
                           .state = ADDR_OPTIMISTIC,
                           .valid_until = NSEC_NEVER,
                           .preferred_until = NSEC_NEVER};

    (void)state;
    assert_int_equal(netif_add_addr_full(eth, &a), 0);
    assert_true(has_addr("2001:db8::dd"));
    a.addr = addr("2001:db8::de");
    assert_int_equal(netif_add_addr(eth, &a.addr, 64), 0);
    settle();
    assert_true(wire.count >= 1); /* the question went out */
    wire_clear(&wire);
    wire_receive(&wire, b,
                 nd_frame(b, 136, 0x20, "2001:db8::dd", "ff02::1", "2001:db8::dd", 2, peer_mac));
    assert_false(has_addr("2001:db8::dd"));
    /* A second later it is ours. */
    floor_advance(SEC);
    wire_receive(&wire, b,
                 nd_frame(b, 136, 0x20, "2001:db8::9", "ff02::1", "2001:db8::de", 2, peer_mac));
    assert_true(has_addr("2001:db8::de"));
    assert_int_equal(netif_del_addr(eth, &a.addr), 0);
    wire_clear(&wire);
}

/* --- IP input --------------------------------------------------------------------------------- */

static struct socket *receiver4, *receiver6;

static void test_ip4_header_checks(void **state)
{
    uint8_t good[128], b[128], buf[64];
    uint32_t n = udp_frame(good, "10.0.0.2", 7, "10.0.0.1", 5000, "hello", 5);

    (void)state;
    wire_receive(&wire, good, n);
    assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), 5);
    memcpy(b, good, n);
    memset(b + n, 0, 20);
    wire_receive(&wire, b, n + 20); /* Ethernet padding */
    assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), 5);

    for (uint32_t cut = 1; cut < n; cut++) { /* every truncation */
        wire_receive(&wire, good, n - cut);
        assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), -EAGAIN);
    }
    for (uint32_t i = 14; i < n;
         i++) { /* every damaged byte; flags of the fragment field excepted */
        memcpy(b, good, n);
        b[i] ^= 0x5a;
        wire_receive(&wire, b, n);
        assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), -EAGAIN);
    }
    static const char *const forged[] = {"127.0.0.1", "224.0.0.1", "255.255.255.255"};
    for (unsigned i = 0; i < ARRAY_SIZE(forged); i++) {
        wire_receive(&wire, b, udp_frame(b, forged[i], 7, "10.0.0.1", 5000, "hello", 5));
        assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), -EAGAIN);
    }
    wire_receive(&wire, b, udp_frame(b, "10.0.0.2", 7, "127.0.0.1", 5000, "hello", 5));
    wire_receive(&wire, b, udp_frame(b, "10.0.0.2", 7, "10.0.0.3", 5000, "hello", 5));
    assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), -EAGAIN);
    floor_advance(60 * SEC);
    wire_clear(&wire);
}

static uint32_t with_options(uint8_t *b, const uint8_t *options, uint32_t len)
{
    uint32_t n = udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 5000, "hello", 5);

    memmove(b + 34 + len, b + 34, n - 34);
    memcpy(b + 34, options, len);
    b[14] = (uint8_t)(0x45 + len / 4);
    put16(b + 16, (uint16_t)(n - 14 + len));
    fix_ip4(b + 14);
    return n + len;
}

static void test_ip4_options(void **state)
{
    uint8_t b[128], buf[64];

    (void)state;
    wire_receive(&wire, b, with_options(b, (uint8_t[]){1, 1, 148, 4, 0, 0, 1, 0}, 8));
    assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), 5);
    wire_receive(&wire, b, with_options(b, (uint8_t[]){131, 7, 4, 1, 2, 3, 4, 0}, 8));
    wire_receive(&wire, b, with_options(b, (uint8_t[]){7, 1, 0, 0}, 4));
    wire_receive(&wire, b, with_options(b, (uint8_t[]){7, 9, 0, 0}, 4));
    wire_receive(&wire, b, with_options(b, (uint8_t[]){1, 1, 1, 7}, 4));
    assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), -EAGAIN);
}

static void test_ip6_extension_headers(void **state)
{
    uint8_t plain[128], b[160], buf[64];
    uint32_t n = udp_frame(plain, "2001:db8::2", 7, "2001:db8::1", 5000, "hello", 5);
    /* next header, length, options */
    static const struct {
        uint8_t type, header[8];
        bool accepted;
        int icmp_type, icmp_code; /* -1: silence */
        uint32_t pointer;
    } cases[] = {
        {0, {17, 0, 1, 4, 0, 0, 0, 0}, true, -1, 0, 0},
        {60, {17, 0, 1, 4, 0, 0, 0, 0}, true, -1, 0, 0},
        {60, {17, 0, 0x1e, 4, 0, 0, 0, 0}, true, -1, 0, 0},  /* unknown: skip */
        {60, {17, 0, 0x5e, 4, 0, 0, 0, 0}, false, -1, 0, 0}, /* unknown: discard */
        {60, {17, 0, 0x9e, 4, 0, 0, 0, 0}, false, 4, 2, 42}, /* unknown: discard and tell */
        {60, {17, 0, 1, 9, 0, 0, 0, 0}, false, 4, 0, 42},    /* option past the end */
        {60, {17, 9, 1, 4, 0, 0, 0, 0}, false, -1, 0, 0},    /* header past the end */
        {43, {17, 0, 0, 0, 0, 0, 0, 0}, true, -1, 0, 0},     /* routing, nothing left */
        {43, {17, 0, 0, 1, 0, 0, 0, 0}, false, 4, 0, 42},
        {60, {0, 0, 1, 4, 0, 0, 0, 0}, false, 4, 1, 40},        /* hop-by-hop not first */
        {60, {200, 0, 1, 4, 0, 0, 0, 0}, false, 4, 1, 40},      /* unknown behind it */
        {200, {17, 0, 0, 0, 0, 0, 0, 0}, false, 4, 1, 6},       /* unknown at once */
        {44, {17, 0, 0xff, 0xf8, 0, 0, 0, 1}, false, 4, 0, 42}, /* beyond 64 KiB */
        {44, {6, 0, 0, 1, 0, 0, 0, 2}, false, 4, 0, 4},         /* not a multiple of eight */
        {44, {17, 0, 0, 0, 1, 2, 3, 4}, true, -1, 0, 0},        /* atomic fragment */
    };

    (void)state;
    learn_peer6("2001:db8::2", peer_mac);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        floor_advance(100 * MS); /* the error rate limit */
        memcpy(b, plain, 54);
        memcpy(b + 54, cases[i].header, 8);
        memcpy(b + 62, plain + 54, n - 54);
        b[20] = cases[i].type;
        put16(b + 18, (uint16_t)(n - 54 + 8));
        wire_receive(&wire, b, n + 8);
        assert_int_equal(sock_recv(receiver6, buf, sizeof(buf), NULL, 0),
                         cases[i].accepted ? 5 : -EAGAIN);
        if (cases[i].icmp_type < 0) {
            assert_int_equal(wire.count, 0);
        } else {
            assert_int_equal(wire.count, 1);
            uint32_t l4 = check_frame(wire.sent[0]);
            assert_int_equal(wire.sent[0]->b[l4], cases[i].icmp_type);
            assert_int_equal(wire.sent[0]->b[l4 + 1], cases[i].icmp_code);
            assert_int_equal(get32(wire.sent[0]->b + l4 + 4), cases[i].pointer);
        }
        wire_clear(&wire);
    }
    /* A mapped address on the wire. */
    memcpy(b, plain, n);
    struct ip_addr mapped = ip_from_v4(net32(0x0a000002));
    memcpy(b + 22, &mapped, 16);
    wire_receive(&wire, b, n);
    assert_int_equal(sock_recv(receiver6, buf, sizeof(buf), NULL, 0), -EAGAIN);
    /* A first fragment without the whole of the TCP header (RFC 7112). */
    memset(b + 54, 0, 16);
    b[20] = 44;
    put16(b + 18, 16);
    memcpy(b + 22, plain + 22, 16);
    memcpy(b + 54, (uint8_t[]){6, 0, 0, 1, 0, 0, 0, 3}, 8);
    wire_receive(&wire, b, 70);
    assert_int_equal(wire.count, 1);
    assert_int_equal(get16(wire.sent[0]->b + check_frame(wire.sent[0])), 0x0403);
    wire_clear(&wire);
}

/* What a wire brings is from us only if it is forged. */
static void test_own_source_is_refused(void **state)
{
    static const char *const forged4[] = {"10.0.0.1", "10.0.0.255"};
    uint8_t b[128], buf[64];
    uint32_t n;

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(forged4); i++) {
        wire_receive(&wire, b, udp_frame(b, forged4[i], 7, "10.0.0.1", 5000, "hello", 5));
        assert_int_equal(sock_recv(receiver4, buf, sizeof(buf), NULL, 0), -EAGAIN);
    }
    n = udp_frame(b, "2001:db8::1", 7, "2001:db8::1", 5000, "hello", 5);
    wire_receive(&wire, b, n);
    assert_int_equal(sock_recv(receiver6, buf, sizeof(buf), NULL, 0), -EAGAIN);
    eth->shared = true; /* there it is another domain's */
    wire_receive(&wire, b, n);
    eth->shared = false;
    assert_int_equal(sock_recv(receiver6, buf, sizeof(buf), NULL, 0), 5);
    wire_clear(&wire);
}

/* --- fragments -------------------------------------------------------------------------------- */

/* A fragment of `whole` (a transport datagram of n bytes): bytes [from, to). */
static void send_fragment(bool v6, const uint8_t *whole, uint32_t n, uint32_t from, uint32_t to,
                          uint16_t id)
{
    static uint8_t b[66000];
    uint32_t len = to - from, at;
    bool more = to < n;

    if (v6) {
        at = ip_headers(b, "2001:db8::2", "2001:db8::1", 44, len + 8);
        b[at] = 17;
        b[at + 1] = 0;
        put16(b + at + 2, (uint16_t)(from | more));
        put32(b + at + 4, id);
        at += 8;
    } else {
        at = ip_headers(b, "10.0.0.2", "10.0.0.1", 17, len);
        put16(b + 18, id);
        put16(b + 20, (uint16_t)(from / 8 | (more ? 0x2000 : 0)));
        fix_ip4(b + 14);
    }
    memcpy(b + at, whole + from, len);
    wire_receive(&wire, b, at + len);
}

static uint32_t big_datagram(bool v6, uint8_t *whole, uint32_t payload)
{
    static uint8_t b[66000];
    static uint8_t data[65536];

    for (uint32_t i = 0; i < payload; i++)
        data[i] = (uint8_t)(i * 5 + (i >> 8));
    uint32_t n = v6 ? udp_frame(b, "2001:db8::2", 7, "2001:db8::1", 5000, data, payload) - 54
                    : udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 5000, data, payload) - 34;
    memcpy(whole, b + (v6 ? 54 : 34), n);
    return n;
}

static void test_reassembly(void **state)
{
    static uint8_t whole[66000], buf[66000];
    size_t pages = floor_pages_in_use();

    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct socket *s = v6 ? receiver6 : receiver4;
        uint32_t n = big_datagram(v6, whole, 5000);
        uint32_t cuts[] = {0, 1480, 2960, 4440, n};
        static const int orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}};
        for (unsigned o = 0; o < ARRAY_SIZE(orders); o++) {
            for (int i = 0; i < 4; i++) {
                int k = orders[o][i];
                assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), -EAGAIN);
                send_fragment(v6, whole, n, cuts[k], cuts[k + 1], (uint16_t)(100 + o));
                if (i < 3) /* a duplicate changes nothing */
                    send_fragment(v6, whole, n, cuts[k], cuts[k + 1], (uint16_t)(100 + o));
            }
            assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), 5000);
            assert_memory_equal(buf, whole + 8, 5000);
        }
        /* The largest one. */
        n = big_datagram(v6, whole, 65000);
        for (uint32_t at = 0; at < n; at += 1448)
            send_fragment(v6, whole, n, at, MIN(at + 1448, n), 999);
        assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), 65000);
        assert_memory_equal(buf, whole + 8, 65000);
    }
    assert_int_equal(floor_pages_in_use(), pages);
    assert_int_equal(wire.count, 0);
}

static void test_overlapping_fragments_are_refused(void **state)
{
    static uint8_t whole[8192], buf[8192];
    size_t pages = floor_pages_in_use();

    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct socket *s = v6 ? receiver6 : receiver4;
        uint32_t n = big_datagram(v6, whole, 3000);
        uint64_t before = stat(NET_Librettos_ReasmOverlap);
        send_fragment(v6, whole, n, 0, 1480, 7);
        send_fragment(v6, whole, n, 1472, 2960, 7); /* eight bytes again */
        assert_int_equal(stat(NET_Librettos_ReasmOverlap), before + 1);
        send_fragment(v6, whole, n, 1480, 2960, 7);
        send_fragment(v6, whole, n, 2960, n, 7);
        assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), -EAGAIN);
        /* Two ends. */
        send_fragment(v6, whole, n, 2960, n, 8);
        send_fragment(v6, whole, n - 8, 2952, n - 8, 8);
        assert_int_equal(stat(NET_Librettos_ReasmOverlap), before + 2);
    }
    floor_advance(120 * SEC);
    wire_clear(&wire);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_reassembly_times_out(void **state)
{
    static uint8_t whole[8192];
    size_t pages = floor_pages_in_use();

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    learn_peer6("2001:db8::2", peer_mac);
    for (int v6 = 0; v6 < 2; v6++) {
        uint32_t n = big_datagram(v6, whole, 3000);
        send_fragment(v6, whole, n, 0, 1480, 11);
        floor_advance(29 * SEC);
        learn_peer("10.0.0.2", peer_mac);
        learn_peer6("2001:db8::2", peer_mac);
        floor_advance(2 * SEC);
        uint32_t found = 0;
        for (unsigned i = 0; i < wire.count; i++) { /* time exceeded, fragment reassembly */
            const uint8_t *f = wire.sent[i]->b;
            if (get16(f + 12) == 0x0806)
                continue;
            uint32_t l4 = check_frame(wire.sent[i]);
            if (f[l4] == (v6 ? 3 : 11) && f[l4 + 1] == 1)
                found++;
        }
        assert_int_equal(found, 1);
        wire_clear(&wire);
    }
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_reassembly_memory_is_bounded(void **state)
{
    static uint8_t whole[8192];
    size_t pages = floor_pages_in_use();
    uint32_t n = big_datagram(false, whole, 3000);
    uint64_t before = stat(NET_Librettos_ReasmLimit);

    (void)state;
    for (unsigned id = 0; id < 2000; id++)
        send_fragment(false, whole, n, 1480, 2960, (uint16_t)id);
    assert_true(stat(NET_Librettos_ReasmLimit) > before + 500);
    assert_true(floor_pages_in_use() < pages + 2000);
    floor_advance(31 * SEC);
    wire_clear(&wire);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_fragments_out(void **state)
{
    static uint8_t data[20000], got[20008];

    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct socket *s = v6 ? udp6() : udp4();
        uint32_t at = 0;
        rand_bytes(data, sizeof(data));
        learn_peer("10.0.0.2", peer_mac);
        learn_peer6("2001:db8::2", peer_mac);
        assert_int_equal(sock_send(s, data, 20000, v6 ? "2001:db8::2" : "10.0.0.2", 9), 20000);
        assert_int_equal(wire.count, 14);
        for (unsigned i = 0; i < wire.count; i++) {
            const struct frame *f = wire.sent[i];
            uint32_t head = v6 ? 62 : 34, n = f->len - head;
            uint16_t frag = v6 ? get16(f->b + 56) : get16(f->b + 20);
            uint32_t off = v6 ? frag & 0xfff8 : (frag & 0x1fff) * 8u;
            assert_true(f->len <= 1514);
            assert_int_equal(off, at);
            assert_int_equal(v6 ? frag & 1 : frag >> 13, i < wire.count - 1);
            memcpy(got + off, f->b + head, n);
            at += n;
        }
        assert_int_equal(at, 20008);
        assert_memory_equal(got + 8, data, 20000);
        struct ip_addr src = addr(v6 ? "2001:db8::1" : "10.0.0.1"),
                       dst = addr(v6 ? "2001:db8::2" : "10.0.0.2");
        uint32_t sum = ip_pseudo_csum(&src, &dst, 17, 20008);
        assert_int_equal(csum_fold(csum_add(got, 20008, sum)), 0);
        wire_clear(&wire);
        /* Don't fragment. */
        assert_int_equal(set_int(s, v6 ? 41 : 0, v6 ? 23 : 10, 2), 0);
        assert_int_equal(sock_send(s, data, 20000, v6 ? "2001:db8::2" : "10.0.0.2", 9), -EMSGSIZE);
        s->ops->close(s);
    }
}

/* --- ICMP ------------------------------------------------------------------------------------- */

static uint32_t echo_frame(bool v6, uint8_t *b, uint32_t n)
{
    const char *src = v6 ? "2001:db8::2" : "10.0.0.2", *dst = v6 ? "2001:db8::1" : "10.0.0.1";
    uint8_t proto = v6 ? 58 : 1;
    uint32_t at = ip_headers(b, src, dst, proto, 8 + n);

    memset(b + at, 0, 8);
    b[at] = v6 ? 128 : 8;
    put16(b + at + 4, 0x1234);
    put16(b + at + 6, 1);
    for (uint32_t i = 0; i < n; i++)
        b[at + 8 + i] = (uint8_t)i;
    fix_transport(b + at, 8 + n, src, dst, proto, 2);
    return at + 8 + n;
}

static void test_echo(void **state)
{
    static uint8_t b[2000];

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    learn_peer6("2001:db8::2", peer_mac);
    for (int v6 = 0; v6 < 2; v6++) {
        for (uint32_t n = 0; n < 1400; n += 347) {
            uint32_t len = echo_frame(v6, b, n);
            wire_receive(&wire, b, len);
            assert_int_equal(wire.count, 1);
            uint32_t l4 = check_frame(wire.sent[0]);
            assert_int_equal(wire.sent[0]->len, len);
            assert_int_equal(wire.sent[0]->b[l4], v6 ? 129 : 0);
            assert_memory_equal(wire.sent[0]->b + l4 + 4, b + l4 + 4, n + 4);
            assert_memory_equal(wire.sent[0]->b, peer_mac, 6);
            wire_clear(&wire);
            b[len - 1] ^= 1; /* damaged */
            wire_receive(&wire, b, len);
            assert_int_equal(wire.count, 0);
        }
    }
}

static void test_port_unreachable_and_its_rate(void **state)
{
    uint8_t b[128];

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    learn_peer6("2001:db8::2", peer_mac);
    floor_advance(SEC);
    for (int i = 0; i < 100; i++)
        wire_receive(&wire, b, udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 4999, "hello", 5));
    assert_int_equal(wire.count, 50);
    uint32_t l4 = check_frame(wire.sent[0]);
    assert_int_equal(wire.sent[0]->b[l4], 3);
    assert_int_equal(wire.sent[0]->b[l4 + 1], 3);
    assert_memory_equal(wire.sent[0]->b + l4 + 8, b + 14, 33);
    wire_clear(&wire);
    floor_advance(SEC);
    wire_receive(&wire, b, udp_frame(b, "2001:db8::2", 7, "2001:db8::1", 4999, "hello", 5));
    assert_int_equal(wire.count, 1);
    l4 = check_frame(wire.sent[0]);
    assert_int_equal(wire.sent[0]->b[l4], 1);
    assert_int_equal(wire.sent[0]->b[l4 + 1], 4);
    wire_clear(&wire);
}

/* An ICMP error about the last captured frame. */
static void icmp_about(const struct frame *f, bool v6, uint8_t type, uint8_t code, uint32_t rest)
{
    static uint8_t b[2000];
    uint32_t quote = MIN(f->len - 14, 200u);
    const char *src = v6 ? "2001:db8::2" : "10.0.0.2", *dst = v6 ? "2001:db8::1" : "10.0.0.1";
    uint32_t at = ip_headers(b, src, dst, v6 ? 58 : 1, 8 + quote);

    memset(b + at, 0, 8);
    b[at] = type;
    b[at + 1] = code;
    put32(b + at + 4, rest);
    memcpy(b + at + 8, f->b + 14, quote);
    fix_transport(b + at, 8 + quote, src, dst, v6 ? 58 : 1, 2);
    wire_receive(&wire, b, at + 8 + quote);
}

static void test_icmp_errors_reach_the_socket(void **state)
{
    char buf[8];

    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct socket *s = v6 ? udp6() : udp4();
        learn_peer("10.0.0.2", peer_mac);
        learn_peer6("2001:db8::2", peer_mac);
        assert_int_equal(sock_connect(s, v6 ? "2001:db8::2" : "10.0.0.2", 9), 0);
        assert_int_equal(sock_send(s, "x", 1, NULL, 0), 1);
        icmp_about(wire.sent[0], v6, v6 ? 1 : 3, v6 ? 4 : 3, 0);
        assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), -ECONNREFUSED);
        assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), -EAGAIN);
        wire_clear(&wire);
        s->ops->close(s);
    }
}

static void test_path_mtu(void **state)
{
    static uint8_t data[1400];

    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct socket *s = v6 ? udp6() : udp4();
        learn_peer("10.0.0.2", peer_mac);
        learn_peer6("2001:db8::2", peer_mac);
        assert_int_equal(sock_connect(s, v6 ? "2001:db8::2" : "10.0.0.2", 9), 0);
        assert_int_equal(sock_send(s, data, 1400, NULL, 0), 1400);
        assert_int_equal(wire.count, 1);
        /* RFC 5927 7: about what no socket of ours can have sent. */
        wire.sent[0]->b[v6 ? 54 : 34] ^= 1;
        icmp_about(wire.sent[0], v6, v6 ? 2 : 3, v6 ? 0 : 4, 1300);
        assert_int_equal(get_int(s, v6 ? 41 : 0, v6 ? 24 : 14), 1500);
        wire.sent[0]->b[v6 ? 54 : 34] ^= 1;
        icmp_about(wire.sent[0], v6, v6 ? 2 : 3, v6 ? 0 : 4, 1300);
        wire_clear(&wire);
        assert_int_equal(get_int(s, v6 ? 41 : 0, v6 ? 24 : 14), 1300);
        assert_int_equal(get_int(s, 1, 4), EMSGSIZE); /* told, as on Linux */
        sock_send(s, data, 1400, NULL, 0);
        assert_int_equal(wire.count, 2);
        wire_clear(&wire);
        floor_advance(601 * SEC);
        wire_clear(&wire);
        learn_peer("10.0.0.2", peer_mac);
        learn_peer6("2001:db8::2", peer_mac);
        assert_int_equal(get_int(s, v6 ? 41 : 0, v6 ? 24 : 14), 1500);
        sock_send(s, data, 1400, NULL, 0);
        assert_int_equal(wire.count, 1);
        /* Absurdly small, or about a packet we never sent from an address of ours. */
        icmp_about(wire.sent[0], v6, v6 ? 2 : 3, v6 ? 0 : 4, 20);
        assert_int_equal(get_int(s, v6 ? 41 : 0, v6 ? 24 : 14), v6 ? 1500 : 576);
        wire_clear(&wire);
        s->ops->close(s);
        floor_advance(700 * SEC);
        wire_clear(&wire);
    }
}

static void test_ping_socket(void **state)
{
    struct socket *s;
    uint8_t req[16] = {8, 0, 0, 0, 0, 0, 0, 5, 'p', 'i', 'n', 'g', 'd', 'a', 't', 'a'}, buf[64],
            b[128];
    struct sock_recv_info info;

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(socket_create(4, 2, 1, &s), 0);
    assert_int_equal(sock_send(s, req, sizeof(req), "10.0.0.2", 0), 16);
    assert_int_equal(wire.count, 1);
    uint32_t l4 = check_frame(wire.sent[0]), n = wire.sent[0]->len;
    assert_int_equal(get16(wire.sent[0]->b + l4 + 4), s->local.port);
    uint32_t at = ip_headers(b, "10.0.0.2", "10.0.0.1", 1, 16);
    memcpy(b + at, wire.sent[0]->b + l4, 16);
    b[at] = 0;
    fix_transport(b + at, 16, "10.0.0.2", "10.0.0.1", 1, 2);
    wire_receive(&wire, b, n);
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 16);
    assert_memory_equal(buf + 8, "pingdata", 8);
    assert_int_equal(info.ttl, 64);
    assert_int_equal(sock_send(s, req, 4, "10.0.0.2", 0), -EINVAL);
    req[0] = 13;
    assert_int_equal(sock_send(s, req, 16, "10.0.0.2", 0), -EINVAL);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_raw_socket_gets_the_header(void **state)
{
    struct socket *s;
    uint8_t b[128], buf[128];

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(socket_create(4, 3, 1, &s), 0);
    uint32_t n = echo_frame(false, b, 20);
    wire_receive(&wire, b, n);
    assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), n - 14);
    assert_memory_equal(buf, b + 14, n - 14);
    wire_clear(&wire);
    s->ops->close(s);
}

/* --- routes ----------------------------------------------------------------------------------- */

static void test_longest_prefix_wins(void **state)
{
    struct ip_addr net = addr("192.168.0.0"), sub = addr("192.168.7.0"), gw1 = addr("10.0.0.101"),
                   gw2 = addr("10.0.0.102");
    struct ip_flow f = {.proto = 17, .ttl = 64};

    (void)state;
    assert_int_equal(route_add(eth, &net, 16, &gw1, 0, ROUTE_STATIC), 0);
    assert_int_equal(route_add(eth, &sub, 24, &gw2, 0, ROUTE_STATIC), 0);
    static const struct {
        const char *dst, *hop;
    } cases[] = {{"192.168.1.1", "10.0.0.101"}, {"192.168.7.1", "10.0.0.102"},
                 {"8.8.8.8", "10.0.0.254"},     {"10.0.0.9", "10.0.0.9"},
                 {"10.0.0.1", "127.0.0.1"},     {"127.0.0.9", "127.0.0.1"}};
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct ip_addr hop = addr(cases[i].hop);
        f.dst = addr(cases[i].dst);
        f.src = (struct ip_addr){0};
        assert_int_equal(ip_route(&f), 0);
        assert_false(ip_flow_stale(&f));
        assert_true(ip_equal(&f.neighbour->addr, &hop));
    }
    f.src = addr("10.9.9.9");
    assert_int_equal(ip_route(&f), -EADDRNOTAVAIL);
    assert_int_equal(route_del(eth, &sub, 24, &gw2), 0);
    assert_int_equal(route_del(eth, &sub, 24, &gw2), -ESRCH);
    assert_int_equal(route_del(eth, &net, 16, &gw1), 0);
    f.src = (struct ip_addr){0};
    f.dst = addr("192.168.7.1");
    assert_int_equal(ip_route(&f), 0);
    struct ip_addr gw = addr("10.0.0.254");
    assert_true(ip_equal(&f.neighbour->addr, &gw));
    route_flush(eth, ROUTE_RA);
    assert_true(ip_flow_stale(&f));
    ip_flow_release(&f);
}

static void test_source_selection(void **state)
{
    struct ip_flow f = {.proto = 17, .ttl = 64, .dst = addr("fe80::5")};
    struct ip_addr second = addr("10.0.5.201");

    (void)state;
    assert_int_equal(ip_route(&f), 0);
    assert_true(ip_is_link_local(&f.src));
    f.dst = addr("2001:db8::5");
    f.src = (struct ip_addr){0};
    assert_int_equal(ip_route(&f), 0);
    struct ip_addr want = addr("2001:db8::1");
    assert_true(ip_equal(&f.src, &want));
    assert_int_equal(netif_add_addr(eth, &second, 24), 0);
    assert_int_equal(netif_add_addr(eth, &second, 24), -EEXIST);
    f.dst = addr("10.0.5.202");
    f.src = (struct ip_addr){0};
    assert_int_equal(ip_route(&f), 0);
    assert_true(ip_equal(&f.src, &second));
    assert_int_equal(netif_del_addr(eth, &second), 0);
    assert_int_equal(netif_del_addr(eth, &second), -EADDRNOTAVAIL);
    ip_flow_release(&f);
}

static int setup(void **state)
{
    (void)state;
    receiver4 = udp4();
    receiver6 = udp6();
    assert_int_equal(set_int(receiver6, 41, 26, 1), 0);
    assert_int_equal(sock_bind(receiver4, "0.0.0.0", 5000), 0);
    assert_int_equal(sock_bind(receiver6, "::", 5000), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp_request_is_answered),
        cmocka_unit_test(test_arp_conflict_is_defended),
        cmocka_unit_test(test_packets_wait_for_the_neighbour),
        cmocka_unit_test(test_unresolved_neighbour_fails),
        cmocka_unit_test(test_neighbour_goes_stale_and_is_probed),
        cmocka_unit_test(test_neighbour_moves),
        cmocka_unit_test(test_damaged_arp_is_ignored),
        cmocka_unit_test(test_nd_solicitation_is_answered),
        cmocka_unit_test(test_nd_advertisement_without_an_address),
        cmocka_unit_test(test_nd_options_of_length_zero),
        cmocka_unit_test(test_nd_resolution),
        cmocka_unit_test(test_prefix_that_is_not_on_the_link),
        cmocka_unit_test(test_long_router_advertisement),
        cmocka_unit_test(test_router_that_is_a_host_now),
        cmocka_unit_test(test_router_advertisement),
        cmocka_unit_test(test_duplicate_address_is_given_up),
        cmocka_unit_test(test_ip4_header_checks),
        cmocka_unit_test(test_ip4_options),
        cmocka_unit_test(test_ip6_extension_headers),
        cmocka_unit_test(test_own_source_is_refused),
        cmocka_unit_test(test_reassembly),
        cmocka_unit_test(test_overlapping_fragments_are_refused),
        cmocka_unit_test(test_reassembly_times_out),
        cmocka_unit_test(test_reassembly_memory_is_bounded),
        cmocka_unit_test(test_fragments_out),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_port_unreachable_and_its_rate),
        cmocka_unit_test(test_icmp_errors_reach_the_socket),
        cmocka_unit_test(test_path_mtu),
        cmocka_unit_test(test_ping_socket),
        cmocka_unit_test(test_raw_socket_gets_the_header),
        cmocka_unit_test(test_longest_prefix_wins),
        cmocka_unit_test(test_source_selection),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, setup, NULL);
}
