/* Packet sockets with their rings, socket filters, error queues and UDP segmentation on the wire.
 */
#include "net/filter.h"
#include "net/packet.h"
#include "test_net_util.h"

#include "core/rand.h"
#include "fs/file.h"

static struct packet_socket *packet(int type, uint16_t protocol)
{
    struct socket *s;

    assert_int_equal(packet_socket_create(type, protocol, &s), 0);
    return packet_of(s);
}

static ssize_t packet_recv(struct packet_socket *ps, void *buf, size_t n,
                           struct sock_recv_info *info)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, n);

    memset(info, 0, sizeof(*info));
    return dgram_recv(&ps->d.s, &u, info, SOCK_MSG_DONTWAIT);
}

static void test_frames_of_all_kinds(void **state)
{
    struct packet_socket *all = packet(3, ETH_TYPE_ALL), *arp = packet(2, 0x0806);
    struct sock_recv_info info;
    size_t pages = floor_pages_in_use();
    uint8_t f[128], b[128];
    uint32_t n = udp_frame(f, "10.0.0.2", 7, "10.0.0.1", 9, "abc", 3);

    (void)state;
    wire_receive(&wire, f, n);
    assert_int_equal(packet_recv(all, b, sizeof(b), &info), n);
    assert_memory_equal(b, f, n);
    assert_int_equal(info.link.type, FRAME_TO_US);
    assert_int_equal(info.link.protocol, net16(0x0800));
    assert_memory_equal(info.link.addr, f + 6, 6);
    assert_int_equal(info.ifindex, eth->index);
    /* The port is nobody's: our ICMP error is seen as it leaves. */
    assert_true(packet_recv(all, b, sizeof(b), &info) > 0);
    assert_int_equal(info.link.type, FRAME_OUTGOING);
    memcpy(f, "\2\0\0\0\0\x77", 6); /* somebody else's */
    wire_receive(&wire, f, n);
    assert_int_equal(packet_recv(all, b, sizeof(b), &info), n);
    assert_int_equal(info.link.type, FRAME_OTHER_HOST);
    memset(f, 0xff, 6);
    wire_receive(&wire, f, n);
    assert_int_equal(packet_recv(all, b, sizeof(b), &info), n);
    assert_int_equal(info.link.type, FRAME_BROADCAST);
    assert_int_equal(packet_recv(arp, b, sizeof(b), &info), -EAGAIN);
    n = arp_frame(f, 1, peer_mac, "10.0.0.2", "10.0.0.9", our_mac);
    wire_receive(&wire, f, n);
    assert_int_equal(packet_recv(arp, b, sizeof(b), &info), n - 14);
    assert_memory_equal(b, f + 14, n - 14);
    packet_close(all);
    packet_close(arp);
    settle();
    wire_clear(&wire);
    assert_int_equal(packet_socket_count, 0);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_frames_are_sent(void **state)
{
    struct packet_socket *ps = packet(3, 0);
    uint8_t f[64] = {9, 9, 9, 9, 9, 9, 1, 2, 3, 4, 5, 6, 0x88, 0xb5, 'x'};
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, f, sizeof(f));

    (void)state;
    assert_int_equal(packet_send(ps, &u, 0, 0, f, 0), -ENXIO);
    assert_int_equal(packet_bind(ps, 999, 0), -ENODEV);
    assert_int_equal(packet_bind(ps, eth->index, 0), 0);
    assert_int_equal(packet_send(ps, &u, 0, 0, f, 0), sizeof(f));
    settle();
    assert_int_equal(wire.count, 1);
    assert_memory_equal(wire.sent[0]->b, f, sizeof(f));
    wire_clear(&wire);
    u = uio_kernel(&seg, f, 13);
    assert_int_equal(packet_send(ps, &u, 0, 0, f, 0), -EINVAL);
    packet_close(ps);
}

static void test_promiscuity_reaches_the_path(void **state)
{
    struct packet_socket *a = packet(3, 0), *b = packet(3, 0);

    (void)state;
    assert_int_equal(packet_promiscuous(a, 999, true), -ENODEV);
    assert_int_equal(packet_promiscuous(a, eth->index, true), 0);
    assert_int_equal(packet_promiscuous(b, eth->index, true), 0);
    settle();
    assert_int_equal(wire.filters, UINT32_MAX);
    assert_int_equal(packet_promiscuous(a, eth->index, false), 0);
    assert_int_equal(packet_promiscuous(a, eth->index, false), 0); /* no error, no effect */
    settle();
    assert_int_equal(wire.filters, UINT32_MAX);
    packet_close(b); /* ends its own */
    settle();
    assert_true(wire.filters < 64);
    packet_close(a);
}

static struct packet_ring *ring_of(uint32_t frames)
{
    struct tpacket_req_k q = {PAGE_SIZE, frames / 2, 2048, frames};
    struct packet_ring *r;

    assert_int_equal(packet_ring_check(&q, 0), 0);
    r = packet_ring_alloc(&q);
    assert_false(IS_ERR(r));
    for (uint32_t i = 0; i < r->pages_count; i++)
        assert_non_null(r->pages[i] = page_alloc(0, PAGE_ZERO));
    return r;
}

static uint32_t *status_at(struct packet_ring *r, uint32_t frame)
{
    return (uint32_t *)(void *)((uint8_t *)page_addr(r->pages[frame / 2]) + frame % 2 * 2048);
}

static void test_ring(void **state)
{
    struct packet_socket *ps = packet(3, 0x0800);
    struct packet_ring *r = ring_of(4);
    size_t pages = floor_pages_in_use();
    uint8_t f[2100];
    static uint8_t data[1990];
    uint32_t seen, lost;

    (void)state;
    assert_null(packet_set_ring(ps, r));
    uint32_t n = udp_frame(f, "10.0.0.2", 7, "10.0.0.1", 9, "abc", 3);
    assert_false(packet_poll(ps) & POLL_IN);
    for (int i = 0; i < 6; i++)
        wire_receive(&wire, f, n);
    assert_true(packet_poll(ps) & POLL_IN);
    packet_statistics(ps, &seen, &lost);
    assert_int_equal(seen, 6);
    assert_int_equal(lost, 2);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t *h = status_at(r, i);
        assert_int_equal(h[0] & 1, 1);
        assert_int_equal(h[1], n);
        assert_int_equal(h[2], n);
        assert_memory_equal((uint8_t *)h + (uint16_t)h[3], f, n);
    }
    /* Given back in any order, and with nonsense: frames are used in theirs. */
    *status_at(r, 1) = 0;
    wire_receive(&wire, f, n);
    packet_statistics(ps, &seen, &lost);
    assert_int_equal(lost, 1);
    *status_at(r, 0) = 0xffffffff;
    wire_receive(&wire, f, n);
    packet_statistics(ps, &seen, &lost);
    assert_int_equal(lost, 1);
    /* What is longer than a frame is cut. */
    *status_at(r, 0) = 0;
    n = udp_frame(f, "10.0.0.2", 7, "10.0.0.1", 9, data, sizeof(data));
    wire_receive(&wire, f, n);
    uint32_t *h = status_at(r, 0);
    assert_int_equal(h[1], n);
    assert_true(h[2] < n && h[2] == 2048u - (uint16_t)h[3]);
    assert_int_equal(h[0] & 2, 2); /* TP_STATUS_COPY */
    packet_close(ps);
    settle();
    wire_clear(&wire);
    assert_int_equal(floor_pages_in_use(), pages - 2);
}

static void test_ring_requests_are_checked(void **state)
{
    static const struct tpacket_req_k bad[] = {
        {0, 1, 2048, 2},
        {4096, 0, 2048, 2},
        {4095, 1, 2048, 1},
        {4096, 1, 2047, 2},
        {4096, 1, 32, 128},
        {4096, 1, 8192, 1},
        {4096, 1, 2048, 3},
        {1u << 31, 4, 2048, 0},
        {4096, UINT32_MAX, 4096, UINT32_MAX},
        {4096, 1, UINT32_MAX & ~15u, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(packet_ring_check(&bad[i], 0), -EINVAL);
    struct tpacket_req_k q = {4096, 1, 64, 64};
    assert_int_equal(packet_ring_check(&q, 0), 0);
    assert_int_equal(packet_ring_check(&q, 16), -EINVAL); /* no room for what is reserved */
}

/* Any program is refused, or runs to its end and touches nothing but the packet. */
static void test_filters_of_chance(void **state)
{
    static struct filter_insn insns[24];
    static const uint16_t codes[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0c,
                                     0x15, 0x16, 0x1d, 0x20, 0x25, 0x28, 0x30, 0x35, 0x40,
                                     0x45, 0x48, 0x50, 0x54, 0x60, 0x61, 0x74, 0x80, 0x81,
                                     0x84, 0x87, 0x94, 0x9c, 0xa4, 0xb1};
    struct filter_context c = {.protocol = 0x0800, .ifindex = 2, .network = 14};
    struct pkt *p = pkt_alloc(0);
    struct net_filter *f;
    unsigned ran = 0;
    uint64_t r;

    (void)state;
    assert_non_null(p);
    assert_true(pkt_append(p, "0123456789012345678901234567890123456789", 40));
    for (int round = 0; round < 200000; round++) {
        uint32_t n = 1 + rand_u32() % ARRAY_SIZE(insns);
        for (uint32_t i = 0; i < n; i++) {
            r = rand_u64();
            insns[i].code = round & 1 ? codes[r % ARRAY_SIZE(codes)] : (uint16_t)(r & 0x1ff);
            insns[i].jt = (uint8_t)(r >> 16 & 7);
            insns[i].jf = (uint8_t)(r >> 24 & 7);
            insns[i].k = r >> 60 ? (uint32_t)(r >> 32 & 15) : (uint32_t)rand_u32();
        }
        if (n > 1 || round & 2)
            insns[n - 1].code = round & 4 ? 0x06 : 0x16;
        if (net_filter_make(insns, n, &f))
            continue;
        net_filter_run(f, p, &c);
        kfree(f);
        ran++;
    }
    assert_true(ran > 1000);
    pkt_free(p);
}

static void test_segments_on_the_wire(void **state)
{
    struct socket *s;
    static uint8_t data[2500];

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(socket_create(4, 2, 0, &s), 0);
    assert_int_equal(set_int(s, 17, 103, 1000), 0);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 3);
    assert_int_equal(sock_send(s, data, sizeof(data), "10.0.0.2", 9), sizeof(data));
    assert_int_equal(wire.count, 3);
    for (unsigned i = 0; i < 3; i++) {
        uint32_t l4 = check_frame(wire.sent[i]), n = i < 2 ? 1000 : 500;
        assert_int_equal(get16(wire.sent[i]->b + l4 + 4), n + 8);
        assert_memory_equal(wire.sent[i]->b + l4 + 8, data + i * 1000, n);
    }
    wire_clear(&wire);
    assert_int_equal(set_int(s, 17, 103, 1473), 0); /* no segment may be cut */
    assert_int_equal(sock_send(s, data, sizeof(data), "10.0.0.2", 9), -EMSGSIZE);
    assert_int_equal(set_int(s, 17, 103, 10), 0);
    assert_int_equal(sock_send(s, data, 1281, "10.0.0.2", 9), -EINVAL); /* more than 128 */
    assert_int_equal(wire.count, 0);
    s->ops->close(s);
    settle();
}

/* An ICMP error that quotes `quote` bytes of the frame. */
static void unreachable_about(const struct frame *f, uint32_t quote)
{
    static uint8_t b[2000];
    uint32_t at = ip_headers(b, "10.0.0.2", "10.0.0.1", 1, 8 + quote);

    memset(b + at, 0, 8);
    b[at] = 3;
    b[at + 1] = 3;
    memcpy(b + at + 8, f->b + 14, quote);
    fix_transport(b + at, 8 + quote, "10.0.0.2", "10.0.0.1", 1, 2);
    wire_receive(&wire, b, at + 8 + quote);
}

static void test_error_queue(void **state)
{
    struct socket *s;
    struct sock_recv_info info;
    char buf[64];

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(socket_create(4, 2, 0, &s), 0);
    assert_int_equal(set_int(s, 0, 11, 1), 0);
    assert_int_equal(sock_send(s, "0123456789abcdef", 16, "10.0.0.2", 9), 16);
    unreachable_about(wire.sent[0], 20 + 7); /* too little of our packet */
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, SOCK_MSG_ERRQUEUE), -EAGAIN);
    unreachable_about(wire.sent[0], 20 + 8); /* just its ports */
    unreachable_about(wire.sent[0], 20 + 8 + 5);
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, SOCK_MSG_ERRQUEUE), 0);
    assert_int_equal(get_int(s, 1, 4), ECONNREFUSED); /* the next one is pending */
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, SOCK_MSG_ERRQUEUE), 5);
    assert_memory_equal(buf, "01234", 5);
    assert_int_equal(info.error.err, ECONNREFUSED);
    assert_int_equal(info.error.type, 3);
    assert_int_equal(info.error.code, 3);
    assert_int_equal(info.from.port, 9);
    struct ip_addr peer = addr("10.0.0.2");
    assert_true(ip_equal(&info.error.offender, &peer));
    assert_int_equal(get_int(s, 1, 4), 0);
    for (int i = 0; i < 2000; i++) /* bounded by the receive buffer */
        unreachable_about(wire.sent[0], 20 + 8);
    assert_true(dgram_of(s)->rmem <= s->rcvbuf);
    wire_clear(&wire);
    s->ops->close(s);
    settle();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_of_all_kinds),
        cmocka_unit_test(test_frames_are_sent),
        cmocka_unit_test(test_promiscuity_reaches_the_path),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_ring_requests_are_checked),
        cmocka_unit_test(test_filters_of_chance),
        cmocka_unit_test(test_segments_on_the_wire),
        cmocka_unit_test(test_error_queue),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
