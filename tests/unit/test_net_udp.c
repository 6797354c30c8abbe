/* UDP sockets, loopback, socket options. */
#include "test_net_util.h"

#include "core/thread.h"
#include "fs/file.h"

static struct socket *udp(int family)
{
    struct socket *s;
    assert_int_equal(socket_create(family, 2, 0, &s), 0);
    return s;
}

static void close_all(struct socket **s, int n)
{
    for (int i = 0; i < n; i++)
        s[i]->ops->close(s[i]);
    settle();
}

static void test_loopback_both_families(void **state)
{
    static uint8_t data[65507], got[65507];
    size_t pages = floor_pages_in_use();

    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        const char *ip = v6 ? "::1" : "127.0.0.1";
        struct socket *a = udp(v6 ? 6 : 4), *b = udp(v6 ? 6 : 4);
        struct sock_recv_info info;
        assert_int_equal(sock_bind(a, ip, 6000), 0);
        data[0] = 42;
        data[65000] = 43;
        for (uint32_t n = 0; n < 65507; n += 16000) {
            assert_int_equal(sock_send(b, data, n, ip, 6000), n);
            assert_int_equal(a->ops->poll(a) & POLL_IN, POLL_IN);
            assert_int_equal(sock_recv(a, got, sizeof(got), &info, 0), n);
            assert_memory_equal(got, data, n);
            assert_int_equal(info.from.port, b->local.port);
            assert_true(ip_equal(&info.from.ip, &a->local.ip));
        }
        assert_int_equal(sock_send(b, data, 65507, ip, 6000), 65507);
        assert_int_equal(sock_recv(a, got, sizeof(got), &info, 0), 65507);
        /* Peek and truncation. */
        sock_send(b, "abcdef", 6, ip, 6000);
        assert_int_equal(sock_recv(a, got, 3, &info, SOCK_MSG_PEEK), 3);
        assert_int_equal(info.flags & SOCK_MSG_TRUNC, SOCK_MSG_TRUNC);
        assert_int_equal(sock_recv(a, got, 3, &info, SOCK_MSG_PEEK | SOCK_MSG_TRUNC), 6);
        assert_int_equal(sock_recv(a, got, 6, &info, 0), 6);
        assert_int_equal(info.flags, 0);
        assert_int_equal(sock_recv(a, got, 6, &info, 0), -EAGAIN);
        close_all((struct socket *[]){a, b}, 2);
    }
    assert_int_equal(wire.count, 0);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_dual_stack(void **state)
{
    struct socket *six = udp(6), *four = udp(4);
    struct sock_recv_info info;
    char buf[8];

    (void)state;
    assert_int_equal(sock_bind(six, "::", 6001), 0);
    assert_int_equal(sock_bind(four, "0.0.0.0", 6001), -EADDRINUSE);
    assert_int_equal(sock_send(four, "x", 1, "127.0.0.1", 6001), 1);
    assert_int_equal(sock_recv(six, buf, 8, &info, 0), 1);
    assert_true(ip_is_v4(&info.from.ip));
    assert_int_equal(sock_send(six, "y", 1, "127.0.0.1", four->local.port), 1);
    assert_int_equal(sock_recv(four, buf, 8, &info, 0), 1);
    assert_int_equal(info.from.port, 6001);
    close_all((struct socket *[]){six, four}, 2);

    six = udp(6);
    four = udp(4);
    assert_int_equal(set_int(six, 41, 26, 1), 0);
    assert_int_equal(sock_bind(six, "::", 6001), 0);
    assert_int_equal(set_int(six, 41, 26, 0), -EINVAL);
    assert_int_equal(sock_bind(four, "0.0.0.0", 6001), 0);
    assert_int_equal(sock_send(six, "z", 1, "127.0.0.1", 6001), -ENETUNREACH);
    assert_int_equal(sock_send(four, "z", 1, "::1", 6001), -EAFNOSUPPORT);
    close_all((struct socket *[]){six, four}, 2);
}

static void test_bind_conflicts(void **state)
{
    struct socket *a = udp(4), *b = udp(4), *c = udp(4);

    (void)state;
    assert_int_equal(sock_bind(a, "10.0.0.1", 6002), 0);
    assert_int_equal(sock_bind(a, "10.0.0.1", 6003), -EINVAL);
    assert_int_equal(sock_bind(b, "10.0.0.1", 6002), -EADDRINUSE);
    assert_int_equal(sock_bind(b, "0.0.0.0", 6002), -EADDRINUSE);
    assert_int_equal(sock_bind(b, "127.0.0.1", 6002), 0);
    assert_int_equal(sock_bind(c, "10.9.9.9", 6002), -EADDRNOTAVAIL);
    close_all((struct socket *[]){a, b, c}, 3);
    a = udp(4), b = udp(4);
    set_int(a, 1, 2, 1);
    assert_int_equal(sock_bind(a, "0.0.0.0", 6002), 0);
    assert_int_equal(sock_bind(b, "0.0.0.0", 6002), -EADDRINUSE);
    set_int(b, 1, 2, 1);
    assert_int_equal(sock_bind(b, "0.0.0.0", 6002), 0);
    close_all((struct socket *[]){a, b}, 2);
}

static void test_connected_sockets(void **state)
{
    struct socket *a = udp(4), *b = udp(4), *c = udp(4);
    char buf[8];

    (void)state;
    assert_int_equal(sock_send(a, "x", 1, NULL, 0), -EDESTADDRREQ);
    assert_int_equal(a->ops->shutdown(a, 1), -ENOTCONN);
    assert_int_equal(sock_bind(a, "127.0.0.1", 6004), 0);
    assert_int_equal(sock_bind(b, "127.0.0.1", 6005), 0);
    assert_int_equal(sock_connect(a, "127.0.0.1", 6005), 0);
    sock_send(c, "no", 2, "127.0.0.1", 6004); /* a stranger */
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), -EAGAIN);
    assert_int_equal(sock_recv(c, buf, 8, NULL, 0), -EAGAIN); /* not connected: not told */
    sock_send(b, "yes", 3, "127.0.0.1", 6004);
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), 3);
    b->ops->close(b);
    assert_int_equal(sock_send(a, "x", 1, NULL, 0), 1);
    assert_int_equal(a->ops->poll(a) & POLL_ERR, POLL_ERR);
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), -ECONNREFUSED);
    assert_int_equal(a->ops->disconnect(a), 0);
    assert_int_equal(sock_send(a, "x", 1, NULL, 0), -EDESTADDRREQ);
    close_all((struct socket *[]){a, c}, 2);
}

static void test_reuseport_spreads_the_load(void **state)
{
    struct socket *s[4], *from[64];
    unsigned got[4] = {0};
    char buf[8];

    (void)state;
    for (int i = 0; i < 4; i++) {
        s[i] = udp(4);
        set_int(s[i], 1, 15, 1);
        assert_int_equal(sock_bind(s[i], "0.0.0.0", 6006), 0);
    }
    for (int i = 0; i < 64; i++) {
        from[i] = udp(4);
        for (int j = 0; j < 4; j++)
            sock_send(from[i], "x", 1, "127.0.0.1", 6006);
    }
    for (int i = 0; i < 4; i++) {
        while (sock_recv(s[i], buf, 8, NULL, 0) == 1)
            got[i]++;
        assert_true(got[i] >= 20 && got[i] <= 120);
        assert_int_equal(got[i] % 4, 0); /* a flow stays with its socket */
    }
    assert_int_equal(got[0] + got[1] + got[2] + got[3], 256);
    close_all(s, 4);
    close_all(from, 64);
}

static void test_receive_queue_is_bounded(void **state)
{
    struct socket *a = udp(4), *b = udp(4);
    uint64_t before = net_stat_read(NET_Udp_RcvbufErrors);
    static char data[1000];
    int n = 0;

    (void)state;
    assert_int_equal(set_int(a, 1, 8, 10000), 0);
    assert_int_equal(get_int(a, 1, 8), 20000);
    assert_int_equal(sock_bind(a, "127.0.0.1", 6007), 0);
    for (int i = 0; i < 50; i++)
        sock_send(b, data, 1000, "127.0.0.1", 6007);
    while (sock_recv(a, data, 1000, NULL, 0) == 1000)
        n++;
    assert_true(n > 5 && n < 20);
    assert_int_equal(net_stat_read(NET_Udp_RcvbufErrors), before + 50 - (unsigned)n);
    sock_send(b, data, 1000, "127.0.0.1", 6007);
    assert_int_equal(sock_recv(a, data, 1000, NULL, 0), 1000);
    close_all((struct socket *[]){a, b}, 2);
}

static void test_broadcast_needs_permission(void **state)
{
    struct socket *a = udp(4), *b = udp(4), *c = udp(4);
    uint8_t f[128];
    char buf[8];

    (void)state;
    assert_int_equal(sock_send(a, "x", 1, "10.0.0.255", 9), -EACCES);
    assert_int_equal(sock_send(a, "x", 1, "255.255.255.255", 9), -EACCES);
    set_int(a, 1, 6, 1);
    assert_int_equal(sock_send(a, "x", 1, "10.0.0.255", 9), 1);
    assert_int_equal(wire.count, 1);
    assert_memory_equal(wire.sent[0]->b, "\xff\xff\xff\xff\xff\xff", 6);
    wire_clear(&wire);
    set_int(b, 1, 2, 1);
    set_int(c, 1, 2, 1);
    assert_int_equal(sock_bind(b, "0.0.0.0", 6008), 0);
    assert_int_equal(sock_bind(c, "0.0.0.0", 6008), 0);
    uint32_t n = udp_frame(f, "10.0.0.2", 7, "10.0.0.255", 6008, "all", 3);
    memset(f, 0xff, 6);
    wire_receive(&wire, f, n);
    assert_int_equal(sock_recv(b, buf, 8, NULL, 0), 3);
    assert_int_equal(sock_recv(c, buf, 8, NULL, 0), 3);
    /* No error for a broadcast to a port nobody has. */
    n = udp_frame(f, "10.0.0.2", 7, "10.0.0.255", 6999, "all", 3);
    wire_receive(&wire, f, n);
    assert_int_equal(wire.count, 0);
    close_all((struct socket *[]){a, b, c}, 3);
}

static void test_multicast(void **state)
{
    struct socket *a = udp(4), *b = udp(4);
    uint8_t f[128];
    char buf[8];
    uint32_t mreq[2] = {net32(0xe1010203), 0};
    uint32_t n = udp_frame(f, "10.0.0.2", 7, "225.1.2.3", 6009, "all", 3);

    (void)state;
    memcpy(f, "\x01\x00\x5e\x01\x02\x03", 6);
    set_int(a, 1, 2, 1);
    set_int(b, 1, 2, 1);
    set_int(b, 0, 49, 0); /* IP_MULTICAST_ALL: its own groups alone */
    assert_int_equal(sock_bind(a, "0.0.0.0", 6009), 0);
    assert_int_equal(sock_bind(b, "0.0.0.0", 6009), 0);
    wire_receive(&wire, f, n);
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), -EAGAIN);
    assert_int_equal(socket_setopt(a, 0, 35, mreq, sizeof(mreq)), 0);
    assert_int_equal(socket_setopt(a, 0, 35, mreq, sizeof(mreq)), -EADDRINUSE);
    settle();
    assert_int_equal(wire.count, 1); /* the membership report */
    check_frame(wire.sent[0]);
    assert_memory_equal(wire.sent[0]->b + 14 + 24, "\x22\0", 2);
    assert_memory_equal(wire.sent[0]->b + 14 + 24 + 6, "\0\1\4\0\0\0\xe1\1\2\3", 10);
    assert_true(wire.filters >= 2);
    wire_clear(&wire);
    wire_receive(&wire, f, n);
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), 3);
    assert_int_equal(sock_recv(b, buf, 8, NULL, 0), -EAGAIN);
    assert_int_equal(sock_send(b, "self", 4, "225.1.2.3", 6009), 4); /* a member hears us */
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), 4);
    assert_int_equal(sock_recv(b, buf, 8, NULL, 0), -EAGAIN);
    assert_int_equal(set_int(b, 0, 34, 0), 0);
    assert_int_equal(sock_send(b, "self", 4, "225.1.2.3", 6009), 4);
    assert_int_equal(sock_recv(a, buf, 8, NULL, 0), -EAGAIN);
    assert_int_equal(wire.count, 2);
    assert_int_equal(wire.sent[0]->b[22], 1); /* TTL */
    wire_clear(&wire);
    assert_int_equal(socket_setopt(a, 0, 36, mreq, sizeof(mreq)), 0);
    assert_int_equal(socket_setopt(a, 0, 36, mreq, sizeof(mreq)), -EADDRNOTAVAIL);
    assert_int_equal(socket_setopt(a, 0, 35, mreq, sizeof(mreq)), 0);
    close_all((struct socket *[]){a, b}, 2);
    wire_clear(&wire);
    assert_int_equal(sock_bind(a = udp(4), "224.0.0.251", 5353), 0);
    close_all(&a, 1);
}

/* UDP-Lite: damage behind what is covered is delivered, before it is not. */
static void test_lite(void **state)
{
    struct socket *s;
    uint8_t f[128];
    char buf[64];
    static const struct {
        uint16_t coverage, at; /* as the header says; which byte is damaged, 0: none */
        bool ok;
    } cases[] = {{0, 0, true},   {0, 30, false}, {12, 13, true}, {12, 11, false},
                 {8, 8, true},   {8, 3, false},  {7, 0, false},  {1, 0, false},
                 {41, 0, false}, {40, 0, true},  {40, 39, false}};

    (void)state;
    assert_int_equal(socket_create(4, 2, IPPROTO_UDPLITE_N, &s), 0);
    assert_int_equal(sock_bind(s, "0.0.0.0", 6100), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        uint32_t covered =
            cases[i].coverage >= 8 && cases[i].coverage <= 40 ? cases[i].coverage : 40;
        uint32_t at = ip_headers(f, "10.0.0.2", "10.0.0.1", IPPROTO_UDPLITE_N, 40);
        struct ip_addr src = addr("10.0.0.2"), dst = addr("10.0.0.1");
        memset(f + at, 'a', 40);
        put16(f + at, 7);
        put16(f + at + 2, 6100);
        put16(f + at + 4, cases[i].coverage);
        put16(f + at + 6, 0);
        *(wire16 *)(f + at + 6) =
            csum_fold(csum_add(f + at, covered, ip_pseudo_csum(&src, &dst, IPPROTO_UDPLITE_N, 40)));
        f[at + cases[i].at] ^= cases[i].at ? 0x10 : 0;
        wire_receive(&wire, f, at + 40);
        assert_int_equal(sock_recv(s, buf, sizeof(buf), NULL, 0), cases[i].ok ? 32 : -EAGAIN);
    }
    wire_clear(&wire);
    /* What it sends is covered as it was told, and says so. */
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(set_int(s, 136, 10, 12), 0);
    assert_int_equal(sock_send(s, "some bytes of data", 18, "10.0.0.2", 9), 18);
    assert_int_equal(wire.count, 1);
    const uint8_t *h = wire.sent[0]->b + 34;
    struct ip_addr src = addr("10.0.0.1"), dst = addr("10.0.0.2");
    assert_int_equal(wire.sent[0]->b[23], IPPROTO_UDPLITE_N);
    assert_int_equal(get16(h + 4), 12);
    assert_int_equal(csum_fold(csum_add(h, 12, ip_pseudo_csum(&src, &dst, IPPROTO_UDPLITE_N, 26))),
                     0);
    wire_clear(&wire);
    close_all(&s, 1);
}

/* The one record of the last report: its type, how many sources, and the first of them. */
static void expect_record(uint8_t type, unsigned count, uint32_t first)
{
    settle();
    assert_int_equal(wire.count, 1);
    const uint8_t *record = wire.sent[0]->b + 14 + 24 + 8;
    assert_int_equal(record[0], type);
    assert_int_equal(get16(record + 2), count);
    if (count)
        assert_int_equal(get32(record + 8), first);
    wire_clear(&wire);
}

/* What the interface wants is what its members want together (RFC 3376 3.2). */
static void test_multicast_sources(void **state)
{
    enum { TO_INCLUDE = 3, TO_EXCLUDE, ALLOW, BLOCK };
    struct socket *a = udp(4), *b = udp(4);
    uint32_t any[2] = {net32(0xe8010203), 0};
    uint32_t one[3] = {any[0], 0, net32(0xc0000201)}, two[3] = {any[0], 0, net32(0xc0000202)};

    (void)state;
    assert_int_equal(socket_setopt(a, 0, 39, one, sizeof(one)), 0); /* a wants the first alone */
    expect_record(ALLOW, 1, 0xc0000201);
    assert_int_equal(socket_setopt(b, 0, 35, any, sizeof(any)), 0); /* b wants all */
    expect_record(TO_EXCLUDE, 0, 0);
    assert_int_equal(socket_setopt(b, 0, 38, one, sizeof(one)), 0); /* not the first: but a does */
    settle();
    assert_int_equal(wire.count, 0);
    assert_int_equal(socket_setopt(b, 0, 38, two, sizeof(two)), 0);
    expect_record(BLOCK, 1, 0xc0000202);
    assert_int_equal(socket_setopt(a, 0, 40, one, sizeof(one)), 0);
    expect_record(BLOCK, 1, 0xc0000201);
    assert_int_equal(socket_setopt(a, 0, 39, two, sizeof(two)), 0);
    expect_record(ALLOW, 1, 0xc0000202);
    b->ops->close(b);
    expect_record(TO_INCLUDE, 1, 0xc0000202);
    a->ops->close(a);
    expect_record(BLOCK, 1, 0xc0000202);
    floor_advance(2 * SEC);
    assert_int_equal(wire.count, 0); /* nothing is left to be said again */
}

static void test_option_values(void **state)
{
    struct socket *s = udp(4), *six = udp(6);
    uint8_t byte = 0xb8, out = 0;
    int linger[2] = {1, 7}, got[2];
    uint32_t len = 1;

    (void)state;
    assert_int_equal(get_int(s, 1, 3), 2);   /* SO_TYPE */
    assert_int_equal(get_int(s, 1, 38), 17); /* SO_PROTOCOL */
    assert_int_equal(get_int(s, 1, 39), 2);  /* SO_DOMAIN */
    assert_int_equal(get_int(six, 1, 39), 10);
    assert_int_equal(get_int(s, 1, 30), 0); /* SO_ACCEPTCONN */
    assert_int_equal(get_int(s, 1, 4), 0);  /* SO_ERROR */
    assert_int_equal(set_int(s, 1, 4, 1), -ENOPROTOOPT);
    assert_int_equal(set_int(s, 1, 7, 1), 0); /* SO_SNDBUF */
    assert_int_equal(get_int(s, 1, 7), 4608);
    assert_int_equal(set_int(s, 1, 8, 1 << 30), 0);
    assert_int_equal(get_int(s, 1, 8), 2 * 212992);
    assert_int_equal(socket_setopt(s, 1, 13, linger, sizeof(linger)), 0);
    assert_int_equal(socket_setopt(s, 1, 13, linger, 4), -EINVAL);
    len = sizeof(got);
    assert_int_equal(socket_getopt(s, 1, 13, got, &len), 0);
    assert_memory_equal(got, linger, sizeof(got));
    assert_int_equal(socket_setopt(s, 1, 2, &byte, 1), -EINVAL);
    assert_int_equal(socket_setopt(s, 0, 1, &byte, 1), 0); /* IP_TOS as a byte */
    assert_int_equal(get_int(s, 0, 1), 0xb8);
    len = 1;
    assert_int_equal(socket_getopt(s, 0, 1, &out, &len), 0);
    assert_int_equal(out, 0xb8);
    assert_int_equal(set_int(s, 0, 2, 0), -EINVAL);
    assert_int_equal(set_int(s, 0, 2, 256), -EINVAL);
    assert_int_equal(set_int(s, 0, 2, 3), 0);
    assert_int_equal(set_int(s, 0, 2, -1), 0);
    assert_int_equal(get_int(s, 0, 2), 64);
    assert_int_equal(set_int(s, 41, 26, 1), -ENOPROTOOPT);
    assert_int_equal(set_int(six, 0, 1, 4), 0);
    assert_int_equal(set_int(s, 1, 9999, 1), -ENOPROTOOPT);
    assert_int_equal(set_int(s, 0, 9999, 1), -ENOPROTOOPT);
    assert_int_equal(set_int(s, 17, 9999, 1), -ENOPROTOOPT);
    assert_int_equal(socket_setopt(s, 1, 25, "nope", 4), -ENODEV);
    assert_int_equal(socket_setopt(s, 1, 25, "eth0", 4), 0);
    assert_int_equal(s->bound_ifindex, eth->index);
    assert_int_equal(socket_setopt(s, 1, 25, "", 0), 0);
    assert_int_equal(socket_create(4, 9, 0, &s), -ESOCKTNOSUPPORT);
    assert_int_equal(socket_create(4, 2, 132, &s), -EPROTONOSUPPORT);
    s->ops->close(s);
    six->ops->close(six);
}

static void test_packet_info(void **state)
{
    struct socket *s = udp(4);
    struct ip_addr second = addr("10.0.0.201");
    struct sock_send_info info = {.local = second, .tos = 0x48, .ttl = 9};
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, "info", 4);
    struct sock_addr to = {.ip = addr("10.0.0.2"), .port = 9};

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(s->ops->send_info(s, &u, &to, &info, 0), -EADDRNOTAVAIL);
    assert_int_equal(netif_add_addr(eth, &second, 24), 0);
    u = uio_kernel(&seg, "info", 4);
    assert_int_equal(s->ops->send_info(s, &u, &to, &info, 0), 4);
    settle();
    assert_int_equal(wire.count, 1);
    check_frame(wire.sent[0]);
    assert_memory_equal(wire.sent[0]->b + 26, second.b + 12, 4);
    assert_int_equal(wire.sent[0]->b[15], 0x48);
    assert_int_equal(wire.sent[0]->b[22], 9);
    wire_clear(&wire);
    assert_int_equal(netif_del_addr(eth, &second), 0);
    s->ops->close(s);
}

static void sender(void *arg)
{
    thread_sleep_until(time_now() + 50 * MS, false);
    sock_send_only(arg, "late", 4, "127.0.0.1", 6010);
    thread_exit();
}

static void test_blocking_receive(void **state)
{
    struct socket *a = udp(4), *b = udp(4);
    char buf[8];
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, sizeof(buf));
    struct sock_recv_info info;
    nsec_t start = time_now();

    (void)state;
    assert_int_equal(sock_bind(a, "127.0.0.1", 6010), 0);
    assert_int_equal(thread_create(NULL, sender, b, "sender"), 0);
    assert_int_equal(a->ops->recv(a, &u, &info, 0), 4);
    assert_true(time_now() - start >= 50 * MS);
    a->rcv_timeout = 100 * MS;
    start = time_now();
    u = uio_kernel(&seg, buf, sizeof(buf));
    assert_int_equal(a->ops->recv(a, &u, &info, 0), -EAGAIN);
    assert_true(time_now() - start >= 100 * MS);
    close_all((struct socket *[]){a, b}, 2);
}

static void test_ephemeral_ports_run_out(void **state)
{
    struct socket *s[11];

    (void)state;
    net_tunables.port_min = 40000;
    net_tunables.port_max = 40009;
    for (int i = 0; i < 10; i++) {
        s[i] = udp(4);
        assert_int_equal(sock_bind(s[i], "0.0.0.0", 0), 0);
        assert_true(s[i]->local.port >= 40000 && s[i]->local.port <= 40009);
    }
    s[10] = udp(4);
    assert_int_equal(sock_bind(s[10], "0.0.0.0", 0), -EADDRINUSE);
    close_all(s, 11);
    net_tunables.port_min = 32768;
    net_tunables.port_max = 60999;
}

static void test_checksums_on_udp(void **state)
{
    struct socket *s = udp(4), *six = udp(6);
    uint8_t f[128];
    char buf[8];

    (void)state;
    assert_int_equal(set_int(six, 41, 26, 1), 0);
    assert_int_equal(sock_bind(s, "0.0.0.0", 6011), 0);
    assert_int_equal(sock_bind(six, "::", 6011), 0);
    uint32_t n = udp_frame(f, "10.0.0.2", 7, "10.0.0.1", 6011, "all", 3);
    put16(f + 14 + 20 + 6, 0); /* none: allowed for IPv4 */
    wire_receive(&wire, f, n);
    assert_int_equal(sock_recv(s, buf, 8, NULL, 0), 3);
    n = udp_frame(f, "2001:db8::2", 7, "2001:db8::1", 6011, "all", 3);
    wire_receive(&wire, f, n);
    assert_int_equal(sock_recv(six, buf, 8, NULL, 0), 3);
    put16(f + 14 + 40 + 6, 0); /* not for IPv6 */
    wire_receive(&wire, f, n);
    assert_int_equal(sock_recv(six, buf, 8, NULL, 0), -EAGAIN);
    close_all((struct socket *[]){s, six}, 2);
    floor_advance(60 * SEC);
    wire_clear(&wire);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loopback_both_families),
        cmocka_unit_test(test_dual_stack),
        cmocka_unit_test(test_bind_conflicts),
        cmocka_unit_test(test_connected_sockets),
        cmocka_unit_test(test_reuseport_spreads_the_load),
        cmocka_unit_test(test_receive_queue_is_bounded),
        cmocka_unit_test(test_broadcast_needs_permission),
        cmocka_unit_test(test_multicast),
        cmocka_unit_test(test_multicast_sources),
        cmocka_unit_test(test_lite),
        cmocka_unit_test(test_option_values),
        cmocka_unit_test(test_packet_info),
        cmocka_unit_test(test_blocking_receive),
        cmocka_unit_test(test_ephemeral_ports_run_out),
        cmocka_unit_test(test_checksums_on_udp),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
