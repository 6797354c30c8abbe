/*
 * The application's side of a shared address: claims against a supervisor of this file, silence
 * towards the neighbours, and what goes to the other domains of the address.
 *
 * One stack plays both domains of a hairpin: a mirror in place of the network server sends frames
 * back with other ports, so that what was for FAR_PORT of "the other domain" comes in for NEAR_PORT
 * of ours, from a port that is not ours. What we answer goes the same way back.
 */
#include "test_net_util.h"

#include "net/shared.h"
#include "net/tcp.h"

#define FIRST 40000u
#define LAST 40019u
#define SHIFT 10000u /* what the mirror adds to ports for outgoing connections */
#define FAR_PORT 8080u
#define NEAR_PORT 9090u

/* --- the supervisor --------------------------------------------------------------------------- */

static struct {
    bool owned[2][65536]; /* by this domain */
    int err;              /* answer to everything */
    uint16_t foreign;     /* a port that another domain has */
    unsigned takes, gives, mores;
    uint16_t more_first, more_last; /* 0: there are no more */
} boss;

static int boss_take(uint8_t proto, uint16_t port)
{
    boss.takes++;
    if (boss.err || port == boss.foreign)
        return boss.err ? boss.err : -EADDRINUSE;
    assert_false(boss.owned[proto == 17][port]);
    boss.owned[proto == 17][port] = true;
    return 0;
}

static void boss_give(uint8_t proto, uint16_t port)
{
    boss.gives++;
    assert_true(boss.owned[proto == 17][port]);
    boss.owned[proto == 17][port] = false;
}

static int boss_more(uint16_t *first, uint16_t *last)
{
    boss.mores++;
    *first = boss.more_first;
    *last = boss.more_last;
    return boss.more_first ? 0 : -ENOSPC;
}

static const struct shared_ops boss_ops = {.take = boss_take, .give = boss_give, .more = boss_more};

static void boss_reset(void)
{
    boss.err = 0;
    boss.foreign = boss.more_first = 0;
    boss.takes = boss.gives = boss.mores = 0;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static struct socket *new_socket(int family, int type)
{
    struct socket *s;

    assert_int_equal(socket_create(family, type, 0, &s), 0);
    return s;
}

/* Every kind of socket by a number. */
static struct socket *kind(unsigned i)
{
    return new_socket(i & 2 ? 6 : 4, i & 1 ? 2 : 1);
}
static const char *any_of(unsigned i)
{
    return i & 2 ? "::" : "0.0.0.0";
}
static const char *shared_of(unsigned i)
{
    return i & 2 ? "2001:db8::1" : "10.0.0.1";
}

static void close_socket(struct socket *s)
{
    s->linger_on = true; /* TCP: a RST, no TIME-WAIT */
    s->linger_s = 0;
    s->ops->close(s);
    settle();
}

/* --- claims ----------------------------------------------------------------------------------- */

static void test_a_port_is_claimed_and_given_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct socket *s = kind(i), *t = kind(i);
        boss_reset();
        s->reuse_port = t->reuse_port = true;
        assert_int_equal(sock_bind(s, any_of(i), 80), 0);
        assert_true(boss.owned[i & 1][80]);
        assert_int_equal(sock_bind(t, shared_of(i), 80), 0); /* it is ours already */
        close_socket(s);
        assert_true(boss.owned[i & 1][80]);
        close_socket(t);
        assert_false(boss.owned[i & 1][80]);
        assert_int_equal(boss.takes, 1);
        assert_int_equal(boss.gives, 1);
    }
}

static void test_another_domains_port_is_in_use(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct socket *s = kind(i);
        boss_reset();
        boss.foreign = 443;
        assert_int_equal(sock_bind(s, any_of(i), 443), -EADDRINUSE);
        boss.err = -ETIMEDOUT;
        assert_int_equal(sock_bind(s, shared_of(i), 444), -ETIMEDOUT);
        boss.err = -EIO;
        assert_int_equal(sock_bind(s, any_of(i), 444), -EIO);
        boss.err = 0;
        assert_int_equal(sock_bind(s, any_of(i), 444), 0); /* no harm was done */
        close_socket(s);
        assert_int_equal(boss.takes, 4);
        assert_int_equal(boss.gives, 1);
    }
}

static void test_what_needs_no_claim(void **state)
{
    (void)state;
    boss_reset();
    boss.err = -EIO;
    for (unsigned i = 0; i < 4; i++) {
        struct socket *s = kind(i), *t = kind(i), *u = kind(i);
        assert_int_equal(sock_bind(s, i & 2 ? "::1" : "127.0.0.1", 80), 0);
        assert_int_equal(sock_bind(t, any_of(i), FIRST + 3), 0);
        assert_int_equal(sock_bind(u, any_of(i), 0), 0);
        assert_true(u->local.port >= FIRST && u->local.port <= LAST);
        close_socket(s);
        close_socket(t);
        close_socket(u);
    }
    assert_int_equal(boss.takes + boss.gives, 0);
}

static void test_a_claim_in_vain_is_given_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct socket *s = kind(i), *t = kind(i);
        boss_reset();
        assert_int_equal(sock_bind(s, any_of(i), 80), 0);
        assert_int_equal(sock_bind(t, any_of(i), 80), -EADDRINUSE); /* here, not there */
        settle();
        assert_true(boss.owned[i & 1][80]);
        assert_int_equal(sock_bind(s, any_of(i), 81), -EINVAL); /* it has a port */
        settle();
        assert_false(boss.owned[i & 1][81]);
        assert_true(boss.owned[i & 1][80]);
        close_socket(t);
        close_socket(s);
        assert_int_equal(boss.takes, boss.gives);
    }
}

/* Between the close and the work that gives the port back somebody binds it again. */
static void test_a_port_that_is_bound_again_stays(void **state)
{
    struct socket *s = kind(1), *t = kind(1);

    (void)state;
    boss_reset();
    assert_int_equal(sock_bind(s, any_of(1), 80), 0);
    s->ops->close(s);
    assert_int_equal(sock_bind(t, any_of(1), 80), 0);
    settle();
    assert_true(boss.owned[1][80]);
    assert_int_equal(boss.gives, 0);
    close_socket(t);
    assert_false(boss.owned[1][80]);
}

/* --- the mirror ------------------------------------------------------------------------------- */

static struct {
    struct bottom_half bh;
    struct pkt_queue queue;
    bool on;
    unsigned frames, large;
} mirror;

static uint16_t mirrored(uint16_t port)
{
    if (port == FAR_PORT || port == NEAR_PORT)
        return FAR_PORT + NEAR_PORT - port;
    return (uint16_t)(port > LAST ? port - SHIFT : port + SHIFT);
}

static void mirror_deliver(struct bottom_half *bh)
{
    struct pkt *list = mirror.queue.head;

    (void)bh;
    pkt_queue_init(&mirror.queue);
    path_receive(&wire.path, list);
}

/* What the network server and the channel do to a frame, and the exchange of ports. */
static bool mirror_transmit(struct net_path *path, int queue, struct pkt *p)
{
    uint8_t *b = p->data;
    uint32_t l4 = get16(b + 12) == 0x0800 ? 34 : 54;

    if (!mirror.on || memcmp(b, our_mac, 6))
        return wire_transmit(path, queue, p);
    assert_memory_equal(b + 6, our_mac, 6);
    assert_int_equal(p->flags & ~(PKT_CSUM_PARTIAL | PKT_CSUM_OK), 0);
    if (p->flags & PKT_CSUM_PARTIAL) {
        assert_int_equal(p->csum_start, l4);
        assert_int_equal(p->csum_offset, b[l4 == 34 ? 23 : 20] == 6 ? 16 : 6);
    } else {
        static struct frame f;
        f.len = p->len;
        assert_true(pkt_copy_out(p, 0, f.b, p->len));
        check_frame(&f);
    }
    assert_false(get16(b + l4 + 2) >= FIRST && get16(b + l4 + 2) <= LAST); /* ours stay here */
    put16(b + l4, mirrored(get16(b + l4)));
    put16(b + l4 + 2, mirrored(get16(b + l4 + 2)));
    p->flags = PKT_CSUM_OK;
    mirror.frames++;
    mirror.large += p->len > 30000;
    pkt_queue_push(&mirror.queue, p);
    bh_schedule(&mirror.bh);
    return true;
}

static const struct path_ops mirror_ops = {
    .transmit = mirror_transmit,
    .flush = wire_flush,
    .set_mac = wire_set_mac,
    .set_multicast = wire_set_multicast,
    .detach = wire_detach,
};

static void mirror_start(void)
{
    wire_clear(&wire);
    mirror.on = true;
    mirror.frames = mirror.large = 0;
}

static void mirror_stop(void)
{
    mirror.on = false;
    assert_int_equal(wire.count, 0);
}

static void check_bulk(struct socket *from, struct socket *to)
{
    static uint8_t data[1 << 20], back[1 << 20];
    size_t sent = 0, got = 0;

    for (uint32_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 >> 2);
    for (unsigned rounds = 0; got < sizeof(data) && rounds < 10000; rounds++) {
        ssize_t n = sock_send(from, data + sent, sizeof(data) - sent, NULL, 0);
        if (n > 0)
            sent += (size_t)n;
        else
            floor_advance(MS);
        n = sock_recv(to, back + got, sizeof(back) - got, NULL, 0);
        got += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(got, sizeof(data));
    assert_memory_equal(data, back, sizeof(data));
}

static void test_tcp_to_another_domain(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i += 2) {
        struct socket *l = kind(i), *c = kind(i), *a;
        boss_reset();
        mirror_start();
        assert_int_equal(sock_bind(l, any_of(i), NEAR_PORT), 0);
        assert_int_equal(l->ops->listen(l, 5), 0);
        assert_int_equal(sock_connect(c, shared_of(i), FAR_PORT), -EINPROGRESS);
        settle();
        assert_int_equal(tcp_of(c)->state, TCP_ESTABLISHED);
        assert_int_equal(l->ops->accept(l, &a, true), 0);
        assert_int_equal(a->peer.port, c->local.port + SHIFT);
        check_bulk(c, a);
        check_bulk(a, c);
        assert_true(mirror.large > 20); /* 64 KiB cross in one piece */
        assert_true(mirror.frames < 600);
        /* An orderly end, and the port goes with TIME-WAIT. */
        a->ops->close(a);
        settle();
        c->ops->close(c);
        close_socket(l);
        assert_true(boss.owned[0][NEAR_PORT]);
        floor_advance(30 * SEC);
        assert_true(boss.owned[0][NEAR_PORT]);
        floor_advance(40 * SEC);
        assert_false(boss.owned[0][NEAR_PORT]);
        mirror_stop();
    }
}

static void test_a_refusal_comes_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i += 2) {
        struct socket *owner = kind(i), *c = kind(i);
        boss_reset();
        mirror_start();
        assert_int_equal(sock_bind(owner, any_of(i), NEAR_PORT), 0); /* but does not listen */
        assert_int_equal(sock_connect(c, shared_of(i), FAR_PORT), -EINPROGRESS);
        settle();
        assert_int_equal(sock_connect(c, shared_of(i), FAR_PORT), -ECONNREFUSED);
        assert_int_equal(mirror.frames, 2); /* SYN there, RST back */
        close_socket(c);
        close_socket(owner);
        mirror_stop();
    }
}

static void test_udp_to_another_domain(void **state)
{
    static uint8_t data[65000], back[65000];

    (void)state;
    memset(data, 'x', sizeof(data));
    for (unsigned i = 1; i < 4; i += 2) {
        struct socket *l = kind(i), *c = kind(i);
        struct sock_recv_info info;
        boss_reset();
        mirror_start();
        set_int(c, 1, 7, 1 << 20);
        set_int(l, 1, 8, 1 << 20);
        assert_int_equal(sock_bind(l, any_of(i), NEAR_PORT), 0);
        for (size_t n = 1; n <= sizeof(data); n = n * 40 + 1) {
            assert_int_equal(sock_send(c, data, n, shared_of(i), FAR_PORT), n);
            assert_int_equal(sock_recv(l, back, sizeof(back), &info, 0), n);
            assert_memory_equal(data, back, n);
            assert_int_equal(info.from.port, c->local.port + SHIFT);
            assert_int_equal(sock_send(l, data, 5, shared_of(i), info.from.port), 5);
            assert_int_equal(sock_recv(c, back, sizeof(back), &info, 0), 5);
            assert_int_equal(info.from.port, FAR_PORT);
        }
        close_socket(c);
        close_socket(l);
        mirror_stop();
    }
}

/* A TCP or UDP socket is refused, and nothing of it reached the wire. */
static void check_refused_here(struct socket *s, const char *ip, uint16_t port)
{
    int err = sock_connect(s, ip, port);

    wire_clear(&wire);
    if (err == 0) { /* UDP */
        sock_send(s, "x", 1, NULL, 0);
        assert_int_equal(s->error, ECONNREFUSED);
        s->error = 0;
    } else {
        assert_int_equal(err, -EINPROGRESS);
        settle();
        assert_int_equal(sock_connect(s, ip, port), -ECONNREFUSED);
    }
    assert_int_equal(wire.count, 0);
    close_socket(s);
}

/* Ports of ours without a socket that takes it, and a source that the server would not let pass. */
static void test_what_stays_here(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct socket *owner = kind(i), *s = kind(i);
        boss_reset();
        check_refused_here(kind(i), shared_of(i), LAST);
        assert_int_equal(sock_bind(owner, any_of(i), 85), 0);
        if (i & 1)
            assert_int_equal(sock_connect(owner, i & 2 ? "::1" : "127.0.0.1", 86), 0);
        check_refused_here(s, shared_of(i), 85);
        close_socket(owner);
        s = kind(i);
        assert_int_equal(sock_bind(s, i & 2 ? "::1" : "127.0.0.1", 0), 0);
        check_refused_here(s, shared_of(i), FAR_PORT);
    }
}

/* IPv6: what does not fit one packet of the loopback comes back in fragments, and goes no further.
 */
static void test_a_reassembled_datagram_stays(void **state)
{
    static uint8_t data[65500];
    struct socket *c = kind(3);

    (void)state;
    wire_clear(&wire);
    set_int(c, 1, 7, 1 << 20);
    assert_int_equal(sock_connect(c, shared_of(3), FAR_PORT), 0);
    sock_send(c, data, sizeof(data), NULL, 0);
    assert_int_equal(c->error, ECONNREFUSED);
    assert_int_equal(wire.count, 0);
    close_socket(c);
}

/* --- silence ---------------------------------------------------------------------------------- */

/* Frames on the wire that say or ask where our addresses are: ARP but for requests for others,
 * solicitations for ourselves, advertisements. */
static unsigned announcements(void)
{
    struct ip_addr ours = addr("2001:db8::1");
    unsigned n = 0;

    for (unsigned i = 0; i < wire.count; i++) {
        const uint8_t *b = wire.sent[i]->b;
        if (get16(b + 12) == 0x0806)
            n += get16(b + 20) != 1 || !memcmp(b + 28, b + 38, 4);
        else if (get16(b + 12) == 0x86dd && b[20] == 58)
            n += b[54] == 136 || (b[54] == 135 && (b[62] == 0xfe || !memcmp(b + 62, &ours, 16)));
    }
    return n;
}

static void nd_message(uint8_t type, const char *src, const char *dst, const char *target)
{
    uint8_t b[128];
    uint32_t at = ip_headers(b, src, dst, IPPROTO_ICMPV6_N, 32);
    struct ip_addr t = addr(target);

    memset(b + at, 0, 32);
    b[at] = type;
    b[at + 4] = type == 136 ? 0x20 : 0;
    memcpy(b + at + 8, &t, 16);
    b[at + 24] = type == 136 ? 2 : 1;
    b[at + 25] = 1;
    memcpy(b + at + 26, peer_mac, 6);
    fix_transport(b + at, 32, src, dst, IPPROTO_ICMPV6_N, 2);
    wire_receive(&wire, b, at + 32);
}

static void test_the_address_is_not_announced(void **state)
{
    (void)state; /* the wire has what was sent since the start */
    assert_int_equal(announcements(), 0);
    netif_announce(eth);
    path_link_changed(&wire.path, false);
    path_link_changed(&wire.path, true);
    floor_advance(20 * SEC);
    assert_int_equal(announcements(), 0);
    wire_clear(&wire);
}

static void test_the_server_speaks_for_the_address(void **state)
{
    uint8_t b[128];
    uint32_t at;

    (void)state;
    wire_clear(&wire);
    wire_receive(&wire, b, arp_frame(b, 1, peer_mac, "10.0.0.2", "10.0.0.1", our_mac));
    wire_receive(&wire, b, arp_frame(b, 2, peer_mac, "10.0.0.1", "10.0.0.1", our_mac));
    nd_message(135, "2001:db8::2", "2001:db8::1", "2001:db8::1");
    at = ip_headers(b, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP_N, 16);
    memset(b + at, 0, 16);
    b[at] = 8;
    fix_transport(b + at, 16, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP_N, 2);
    wire_receive(&wire, b, at + 16);
    at = ip_headers(b, "2001:db8::2", "2001:db8::1", IPPROTO_ICMPV6_N, 16);
    memset(b + at, 0, 16);
    b[at] = 128;
    fix_transport(b + at, 16, "2001:db8::2", "2001:db8::1", IPPROTO_ICMPV6_N, 2);
    wire_receive(&wire, b, at + 16);
    assert_int_equal(wire.count, 0);
}

/* The server announces the address: that is no duplicate, not even of one that is new. */
static void test_the_servers_advertisement_is_no_duplicate(void **state)
{
    uint64_t before = net_stat_read(NET_Librettos_NdDuplicateAddress);
    struct netif_addr a = {.addr = addr("2001:db8::7"),
                           .prefix = 64,
                           .state = ADDR_OPTIMISTIC,
                           .valid_until = NSEC_NEVER,
                           .preferred_until = NSEC_NEVER};

    (void)state;
    wire_clear(&wire);
    assert_int_equal(netif_add_addr_full(eth, &a), 0);
    nd_message(136, "2001:db8::7", "ff02::1", "2001:db8::7");
    assert_int_equal(net_stat_read(NET_Librettos_NdDuplicateAddress), before);
    assert_int_equal(announcements(), 0);
    assert_int_equal(netif_del_addr(eth, &a.addr), 0); /* it is still there */
    wire_clear(&wire);
}

static void test_neighbours_are_asked_for(void **state)
{
    struct socket *s = kind(1), *t = kind(3);
    uint8_t b[64];

    (void)state;
    wire_clear(&wire);
    assert_int_equal(sock_send(s, "x", 1, "10.0.0.9", 9), 1);
    assert_int_equal(wire.count, 1);
    assert_int_equal(get16(wire.sent[0]->b + 12), 0x0806);
    wire_receive(&wire, b, arp_frame(b, 2, peer2_mac, "10.0.0.9", "10.0.0.1", our_mac));
    assert_int_equal(wire.count, 2);
    assert_memory_equal(wire.sent[1]->b, peer2_mac, 6);
    wire_clear(&wire);
    assert_int_equal(sock_send(t, "x", 1, "2001:db8::9", 9), 1);
    assert_int_equal(wire.count, 1);
    assert_int_equal(wire.sent[0]->b[54], 135);
    nd_message(136, "2001:db8::9", "2001:db8::1", "2001:db8::9");
    assert_int_equal(wire.count, 2);
    wire_clear(&wire);
    close_socket(s);
    close_socket(t);
}

/* --- ranges ----------------------------------------------------------------------------------- */

#define COUNT (LAST - FIRST + 1)

/* Connections to one peer until there is no port left; their number. */
static unsigned connect_all(struct socket **c, unsigned max)
{
    unsigned n;

    for (n = 0; n < max; n++) {
        c[n] = kind(0);
        int err = sock_connect(c[n], "10.0.0.2", 9);
        if (err != -EINPROGRESS) {
            assert_int_equal(err, -EADDRNOTAVAIL);
            close_socket(c[n]);
            break;
        }
        settle();
        wire_clear(&wire);
    }
    return n;
}

static void test_ranges_grow(void **state)
{
    struct sock_addr to = {.ip = addr("10.0.0.2"), .port = 9};
    struct socket *c[4 * COUNT], *s = kind(0);
    unsigned n, before;

    (void)state;
    boss_reset();
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(net_tunables.port_min, FIRST);
    assert_int_equal(net_tunables.port_max, LAST);
    n = connect_all(c, 2 * COUNT);
    assert_int_equal(n, COUNT); /* the supervisor has no more */
    for (unsigned i = 0; i < n; i++)
        assert_true(c[i]->local.port >= FIRST && c[i]->local.port <= LAST);
    assert_true(boss.mores >= 1);
    before = boss.mores;
    c[n] = kind(0);
    assert_int_equal(sock_connect(c[n], "10.0.0.2", 9), -EADDRNOTAVAIL);
    settle();
    assert_int_equal(boss.mores, before); /* who was refused waits a while */
    /* Nonsense is not taken. */
    boss.more_first = FIRST - 5;
    boss.more_last = FIRST;
    floor_advance(2 * SEC);
    wire_clear(&wire);
    assert_int_equal(sock_connect(c[n], "10.0.0.2", 9), -EADDRNOTAVAIL);
    settle();
    assert_int_equal(boss.mores, before + 1);
    assert_int_equal(sock_connect(c[n], "10.0.0.2", 9), -EADDRNOTAVAIL);
    /* A caller that may wait gets the next range at once. */
    boss.more_first = 41000;
    boss.more_last = 41000 + COUNT - 1;
    floor_advance(2 * SEC);
    wire_clear(&wire);
    s->snd_timeout = SEC;
    assert_int_equal(s->ops->connect(s, &to, false), -EINPROGRESS);
    assert_true(s->local.port >= 41000 && s->local.port < 41000 + COUNT);
    boss.more_first = 0;
    wire_clear(&wire);
    /* And so does everybody else. */
    close_socket(c[n]);
    n += connect_all(c + n, 2 * COUNT);
    assert_int_equal(n, 2 * COUNT - 1);
    /* Ports of a further range need no claim either. */
    assert_int_equal(boss.takes, 0);
    for (unsigned i = 0; i < n; i++)
        close_socket(c[i]);
    close_socket(s);
    wire_clear(&wire);
}

static void test_the_first_range_is_replaced(void **state)
{
    struct port_range r[PORT_RANGES_MAX];
    struct socket *s = kind(1);

    (void)state;
    shared_set_range(42000, 42001);
    assert_int_equal(port_ranges(r), 2);
    assert_int_equal(r[0].first, 42000);
    assert_int_equal(net_tunables.port_max, 42001);
    shared_set_range(0, 0); /* none */
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(sock_bind(s, "0.0.0.0", 0), 0);
        assert_true(s->local.port >= 41000 && s->local.port < 41000 + COUNT);
        close_socket(s);
        s = kind(1);
    }
    close_socket(s);
    shared_set_range(FIRST, LAST);
}

int main(void)
{
    struct ip_addr a;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_address_is_not_announced),
        cmocka_unit_test(test_a_port_is_claimed_and_given_back),
        cmocka_unit_test(test_another_domains_port_is_in_use),
        cmocka_unit_test(test_what_needs_no_claim),
        cmocka_unit_test(test_a_claim_in_vain_is_given_back),
        cmocka_unit_test(test_a_port_that_is_bound_again_stays),
        cmocka_unit_test(test_tcp_to_another_domain),
        cmocka_unit_test(test_a_refusal_comes_back),
        cmocka_unit_test(test_udp_to_another_domain),
        cmocka_unit_test(test_what_stays_here),
        cmocka_unit_test(test_a_reassembled_datagram_stays),
        cmocka_unit_test(test_the_server_speaks_for_the_address),
        cmocka_unit_test(test_the_servers_advertisement_is_no_duplicate),
        cmocka_unit_test(test_neighbours_are_asked_for),
        cmocka_unit_test(test_ranges_grow),
        cmocka_unit_test(test_the_first_range_is_replaced),
    };

    net_init();
    wire_init(&wire, PATH_CSUM | PATH_TSO4 | PATH_TSO6 | PATH_SG);
    wire.path.ops = &mirror_ops;
    bh_init(&mirror.bh, mirror_deliver);
    pkt_queue_init(&mirror.queue);
    if (netif_register_path(&wire.path))
        return 1;
    eth = netif_by_name("eth0");
    shared_start(eth, FIRST, LAST);
    shared_set_ops(&boss_ops);
    if (netif_set_up(eth, true) || ip_parse("10.0.0.1", &a) || netif_add_addr(eth, &a, 24) ||
        ip_parse("2001:db8::1", &a) || netif_add_addr(eth, &a, 64))
        return 1;
    netif_announce(eth);
    floor_advance(20 * SEC);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
