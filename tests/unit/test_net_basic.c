/* Packets, checksums, addresses, segmentation, receive offload. */
#include "test_net_util.h"

#include "core/rand.h"
#include "net/gso.h"

static uint16_t slow_csum(const uint8_t *b, size_t n)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += i & 1 ? b[i] : (uint64_t)b[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return net16((uint16_t)~sum);
}

static void test_csum_equals_the_definition(void **state)
{
    uint8_t b[600];

    (void)state;
    rand_bytes(b, sizeof(b));
    for (size_t off = 0; off < 9; off++) {
        for (size_t n = 0; n < 580; n++)
            assert_int_equal(csum_fold(csum_add(b + off, n, 0)), slow_csum(b + off, n));
    }
    memset(b, 0xff, sizeof(b));
    assert_int_equal(csum_fold(csum_add(b, 600, 0)), slow_csum(b, 600));
}

/* A packet whose bytes count up, in a linear part and fragments of odd sizes. */
static struct pkt *odd_packet(uint32_t linear, uint32_t frag, unsigned nfrags, uint8_t *flat)
{
    struct pkt *p = pkt_alloc(64);
    uint32_t at = 0;

    for (; at < linear; at++)
        flat[at] = (uint8_t)(at * 7);
    assert_true(pkt_append(p, flat, linear));
    for (unsigned i = 0; i < nfrags; i++) {
        struct page *page = page_alloc(0, 0);
        uint8_t *b = page_addr(page);
        for (uint32_t j = 0; j < frag; j++, at++)
            b[j + 3] = flat[at] = (uint8_t)(at * 7);
        assert_true(pkt_append_page(p, page, 3, frag));
    }
    assert_int_equal(p->len, at);
    return p;
}

static void test_packet_operations(void **state)
{
    static uint8_t flat[8192], out[8192];
    size_t pages = floor_pages_in_use();
    struct pkt *p = odd_packet(101, 333, 5, flat);

    (void)state;
    assert_true(pkt_copy_out(p, 0, out, p->len));
    assert_memory_equal(out, flat, p->len);
    assert_true(pkt_copy_out(p, 250, out, 1000));
    assert_memory_equal(out, flat + 250, 1000);
    assert_false(pkt_copy_out(p, 1000, out, p->len));
    for (uint32_t off = 0; off < 500; off += 37)
        assert_int_equal(csum_fold(pkt_csum(p, off, p->len - off, 0)),
                         slow_csum(flat + off, p->len - off));
    assert_true(pkt_make_linear(p, 140));
    assert_int_equal(p->linear, 140);
    assert_false(pkt_make_linear(p, 4000));
    assert_false(pkt_make_linear(p, 1000));
    struct pkt *c = pkt_clone(p);
    pkt_trim_front(p, 600);
    assert_int_equal(p->len, 101 + 5 * 333 - 600);
    assert_true(pkt_copy_out(p, 0, out, p->len));
    assert_memory_equal(out, flat + 600, p->len);
    pkt_trim_to(p, 500);
    assert_int_equal(p->len, 500);
    assert_true(pkt_copy_out(p, 0, out, 500));
    assert_memory_equal(out, flat + 600, 500);
    pkt_trim_to(p, 0);
    assert_int_equal(p->nfrags, 0);
    pkt_free(p);
    assert_true(pkt_copy_out(c, 0, out, c->len));
    assert_memory_equal(out, flat, c->len);
    pkt_free(c);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_queue_keeps_order_and_counts(void **state)
{
    struct pkt_queue q;

    (void)state;
    pkt_queue_init(&q);
    assert_null(pkt_queue_pop(&q));
    for (uint8_t i = 0; i < 5; i++) {
        struct pkt *p = pkt_alloc(0);
        pkt_append(p, &i, 1);
        pkt_queue_push(&q, p);
    }
    assert_int_equal(q.count, 5);
    assert_int_equal(q.bytes, 5);
    for (uint8_t i = 0; i < 3; i++) {
        struct pkt *p = pkt_queue_pop(&q);
        assert_int_equal(p->data[0], i);
        pkt_free(p);
    }
    pkt_queue_free(&q);
    assert_int_equal(q.count, 0);
    assert_int_equal(q.bytes, 0);
}

static void check_text(const char *in, const char *out)
{
    char buf[64];
    struct ip_addr a = addr(in);

    ip_format(buf, sizeof(buf), &a);
    assert_string_equal(buf, out);
}

static void test_address_text(void **state)
{
    static const char *const bad[] = {
        "",        "1.2.3",   "1.2.3.256",     "1.2.3.4.5",         "1.2.3.4x", ":",  ":::",
        "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "g::",      "1:", "::1.2.3",
    };
    struct ip_addr a;

    (void)state;
    check_text("10.0.0.1", "10.0.0.1");
    check_text("::", "::");
    check_text("::1", "::1");
    check_text("2001:DB8::1", "2001:db8::1");
    check_text("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
    check_text("1:0:0:2:0:0:0:3", "1:0:0:2::3");
    check_text("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8");
    check_text("fe80::", "fe80::");
    check_text("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8");
    check_text("::ffff:1.2.3.4", "1.2.3.4");
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(ip_parse(bad[i], &a), -EINVAL);
}

static void test_address_classes(void **state)
{
    struct ip_addr a = addr("127.3.2.1"), b = addr("::1"), c = addr("224.0.0.1"),
                   d = addr("ff02::1"), e = addr("169.254.1.1"), f = addr("fe80::1"),
                   g = addr("10.0.0.255"), h = addr("255.255.255.255");

    (void)state;
    assert_true(ip_is_loopback(&a) && ip_is_loopback(&b) && !ip_is_loopback(&c));
    assert_true(ip_is_multicast(&c) && ip_is_multicast(&d) && !ip_is_multicast(&f));
    assert_true(ip_is_link_local(&e) && ip_is_link_local(&f) && !ip_is_link_local(&a));
    assert_true(ip_is_broadcast(eth, &g) && ip_is_broadcast(NULL, &h));
    assert_false(ip_is_broadcast(eth, &e));
}

/* Sends a TCP segment of n payload bytes as one packet with segmentation asked for. */
static void send_gso(bool v6, uint32_t n, uint16_t mss, uint8_t *flat)
{
    struct ip_flow f = {
        .dst = addr(v6 ? "2001:db8::2" : "10.0.0.2"), .proto = IPPROTO_TCP_N, .ttl = 64};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t tcp[20] = {0, 80, 4, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0x50, 0x19 | 0x80};

    assert_int_equal(ip_route(&f), 0);
    pkt_append(p, tcp, sizeof(tcp));
    for (uint32_t at = 0; at < n;) {
        uint32_t part = MIN(n - at, 3001u);
        struct page *page = page_alloc(0, 0);
        for (uint32_t i = 0; i < part; i++)
            flat[at + i] = (uint8_t)((at + i) * 3);
        memcpy((uint8_t *)page_addr(page) + 5, flat + at, part);
        assert_true(pkt_append_page(p, page, 5, part));
        at += part;
    }
    if (n > mss) {
        p->gso = v6 ? GSO_TCP6 : GSO_TCP4;
        p->gso_size = mss;
    }
    ip_csum_partial(p, &f, 16);
    net_batch_begin();
    assert_int_equal(ip_output(&f, p), 0);
    net_batch_end();
    ip_flow_release(&f);
    settle();
}

static void check_segments(uint32_t n, uint16_t mss, const uint8_t *flat)
{
    uint32_t at = 0;

    assert_int_equal(wire.count, DIV_ROUND_UP(n, (uint32_t)mss));
    for (unsigned i = 0; i < wire.count; i++) {
        const struct frame *f = wire.sent[i];
        uint32_t l4 = check_frame(f), len = f->len - l4 - 20;
        bool last = i == wire.count - 1;
        assert_int_equal(get32(f->b + l4 + 4), 100 + at);
        assert_int_equal(f->b[l4 + 13] & 0x09, last ? 0x09 : 0);
        assert_int_equal(f->b[l4 + 13] & 0x80, i ? 0 : 0x80);
        assert_int_equal(len, last ? n - at : mss);
        assert_memory_equal(f->b + l4 + 20, flat + at, len);
        at += len;
    }
    wire_clear(&wire);
}

static void test_segmentation_in_software(void **state)
{
    static uint8_t flat[65536];
    size_t pages = floor_pages_in_use();

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    learn_peer6("2001:db8::2", peer_mac);
    for (int v6 = 0; v6 < 2; v6++) {
        wire.path.features = 0;
        view_touch();
        send_gso(v6, 40000, 1400, flat);
        check_segments(40000, 1400, flat);
        send_gso(v6, 1000, 1400, flat); /* only the checksum */
        check_segments(1000, 1400, flat);
        wire.path.features = PATH_CSUM;
        view_touch();
        send_gso(v6, 9001, 1400, flat);
        check_segments(9001, 1400, flat);
    }
    wire.path.features = PATH_CSUM | PATH_TSO4;
    view_touch();
    send_gso(false, 9001, 1400, flat);
    assert_int_equal(wire.count, 1);
    assert_int_equal(wire.sent[0]->len, 54 + 9001);
    wire_clear(&wire);
    wire.path.features = PATH_CSUM;
    assert_int_equal(floor_pages_in_use(), pages);
}

/* A received TCP segment whose payload lies in a page. */
static struct pkt *segment(uint32_t seq, uint32_t n, uint8_t flags, uint8_t window)
{
    uint8_t b[64];
    uint32_t at = ip_headers(b, "10.0.0.2", "10.0.0.1", IPPROTO_TCP_N, 20 + n);
    uint8_t tcp[20] = {0, 80, 4, 0, [12] = 0x50, flags, window};

    put32(tcp + 4, seq);
    memcpy(b + at, tcp, 20);
    struct pkt *p = frame_pkt(b, at + 20);
    struct page *page = page_alloc(0, PAGE_ZERO);
    pkt_append_page(p, page, 0, n);
    p->flags = PKT_CSUM_OK;
    return p;
}

static void test_receive_offload_merges_in_order(void **state)
{
    struct pkt *a = segment(1, 1000, 0x10, 1), *b = segment(1001, 1000, 0x10, 1),
               *c = segment(2001, 500, 0x18, 1), *d = segment(2501, 500, 0x10, 1);

    (void)state;
    a->next = b;
    b->next = c;
    c->next = d;
    struct pkt *list = gro_merge(a);
    assert_ptr_equal(list, a);
    assert_int_equal(a->len, 54 + 2500);
    assert_int_equal(a->gso, GSO_TCP4);
    assert_int_equal(a->gso_size, 1000);
    assert_int_equal(a->data[14 + 20 + 13], 0x18);
    assert_int_equal(get16(a->data + 16), 2540);
    assert_int_equal(csum_fold(csum_add(a->data + 14, 20, 0)), 0);
    assert_ptr_equal(a->next, d);
    assert_null(d->next);
    pkt_free_list(list);
}

static void test_receive_offload_keeps_what_differs(void **state)
{
    struct pkt *p[6] = {
        segment(1, 1000, 0x10, 1),    segment(3001, 1000, 0x10, 1), /* a hole */
        segment(1001, 1000, 0x10, 2),                               /* another window */
        segment(1001, 1000, 0x11, 1),                               /* FIN */
        segment(1001, 1000, 0x10, 1), segment(2001, 1000, 0x10, 1),
    };

    (void)state;
    p[4]->flags = 0; /* not verified */
    for (int i = 0; i < 5; i++)
        p[i]->next = p[i + 1];
    struct pkt *list = gro_merge(p[0]);
    unsigned n = 0;
    for (struct pkt *q = list; q; q = q->next)
        n++;
    assert_int_equal(n, 6);
    pkt_free_list(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csum_equals_the_definition),
        cmocka_unit_test(test_packet_operations),
        cmocka_unit_test(test_queue_keeps_order_and_counts),
        cmocka_unit_test(test_address_text),
        cmocka_unit_test(test_address_classes),
        cmocka_unit_test(test_segmentation_in_software),
        cmocka_unit_test(test_receive_offload_merges_in_order),
        cmocka_unit_test(test_receive_offload_keeps_what_differs),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
