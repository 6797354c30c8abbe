/* Interfaces and paths: backlog, batches, live exchange of the path. */
#include "test_net_util.h"

static struct socket *udp(void)
{
    struct socket *s;
    assert_int_equal(socket_create(4, 2, 0, &s), 0);
    learn_peer("10.0.0.2", peer_mac);
    assert_int_equal(sock_connect(s, "10.0.0.2", 9), 0);
    return s;
}

static void send_number(struct socket *s, uint32_t i)
{
    assert_int_equal(sock_send(s, &i, sizeof(i), NULL, 0), 4);
}

static uint32_t number_of(const struct frame *f)
{
    uint32_t i;
    memcpy(&i, f->b + 42, 4);
    return i;
}

static void test_one_doorbell_per_batch(void **state)
{
    struct socket *s = udp();

    (void)state;
    wire.flushes = 0;
    net_batch_begin();
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(sock_send_only(s, &i, sizeof(i), NULL, 0), 4);
    assert_int_equal(wire.flushes, 0);
    net_batch_end();
    assert_int_equal(wire.flushes, 1);
    assert_int_equal(wire.count, 20);
    wire_clear(&wire);
    s->ops->close(s);
}

static int order[4], norder;
static void note_a(struct net_defer *d)
{
    (void)d;
    order[norder++] = 1;
}
static void note_b(struct net_defer *d)
{
    (void)d;
    order[norder++] = 2;
}

static void test_deferred_calls_run_once_at_the_end(void **state)
{
    struct net_defer a = {.run = note_a}, b = {.run = note_b};

    (void)state;
    net_batch_begin();
    net_batch_begin();
    net_batch_defer(&a);
    net_batch_defer(&b);
    net_batch_defer(&a);
    net_batch_end();
    assert_int_equal(norder, 0);
    net_batch_end();
    assert_int_equal(norder, 2);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 2);
}

static void test_full_ring_backs_up_in_order(void **state)
{
    struct socket *s = udp();

    (void)state;
    wire.room = 3;
    for (uint32_t i = 0; i < 10; i++)
        send_number(s, i);
    assert_int_equal(wire.count, 3);
    wire.room = 4;
    path_tx_ready(&wire.path, 0);
    assert_int_equal(wire.count, 7);
    wire.room = ~0u;
    send_number(s, 10); /* goes behind what waits, and takes it along */
    assert_int_equal(wire.count, 11);
    for (uint32_t i = 0; i < 11; i++)
        assert_int_equal(number_of(wire.sent[i]), i);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_backlog_is_bounded(void **state)
{
    struct socket *s = udp();
    uint64_t before = net_stat_read(NET_Librettos_TxBacklogFull);

    (void)state;
    wire.room = 0;
    for (uint32_t i = 0; i < 1100; i++)
        send_number(s, i);
    assert_int_equal(net_stat_read(NET_Librettos_TxBacklogFull), before + 1100 - 1024);
    for (int i = 0; i < 8; i++) {
        wire.room = 128;
        path_tx_ready(&wire.path, 0);
        assert_int_equal(wire.count, 128);
        assert_int_equal(number_of(wire.sent[127]), i * 128 + 127);
        wire_clear(&wire);
    }
    wire.room = ~0u;
    s->ops->close(s);
}

static void test_switch_of_paths_loses_nothing(void **state)
{
    struct socket *s = udp();
    uint8_t b[128];
    char buf[8];
    struct socket *r;

    (void)state;
    assert_int_equal(socket_create(4, 2, 0, &r), 0);
    assert_int_equal(sock_bind(r, "0.0.0.0", 7000), 0);
    wire_init(&wire2, 0); /* the other path has no offloads at all */
    wire2.path.kind = PATH_SERVER;
    wire.room = 5;
    for (uint32_t i = 0; i < 12; i++)
        send_number(s, i); /* seven wait in the backlog */
    assert_int_equal(wire.count, 5);
    assert_int_equal(netif_attach_path(eth, &wire2.path), 0);
    netif_prefer(eth, PATH_SERVER);
    settle();
    for (uint32_t i = 12; i < 20; i++)
        send_number(s, i);
    assert_int_equal(wire.count, 5);
    uint32_t next = 5;
    unsigned announcements = 0;
    for (unsigned i = 0; i < wire2.count; i++) {
        const struct frame *f = wire2.sent[i];
        if (get16(f->b + 12) == 0x0800) {
            check_frame(f);
            assert_int_equal(number_of(f), next++);
        } else if (get16(f->b + 12) == 0x0806 || f->b[54] == 136) {
            announcements++;
        }
    }
    assert_int_equal(next, 20);
    assert_true(announcements >= 3); /* gratuitous ARP twice, advertisements */
    /* Receive works on both. */
    uint32_t n = udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 7000, "old", 3);
    wire_receive(&wire, b, n);
    assert_int_equal(sock_recv(r, buf, 8, NULL, 0), 3);
    wire_receive(&wire2, b, n);
    assert_int_equal(sock_recv(r, buf, 8, NULL, 0), 3);
    netif_detach_path(eth, &wire.path);
    assert_true(wire.detached);
    wire_receive(&wire, b, n);
    assert_int_equal(sock_recv(r, buf, 8, NULL, 0), -EAGAIN);

    /* And back again. */
    wire_clear(&wire);
    wire_clear(&wire2);
    wire_init(&wire, PATH_CSUM | PATH_SG);
    wire.detached = false;
    assert_int_equal(netif_attach_path(eth, &wire.path), 0);
    netif_prefer(eth, PATH_DIRECT);
    netif_detach_path(eth, &wire2.path);
    settle();
    wire_clear(&wire);
    send_number(s, 99);
    assert_int_equal(wire.count, 1);
    wire_clear(&wire);
    s->ops->close(s);
    r->ops->close(r);
}

static void test_large_segments_in_the_backlog_survive_a_poorer_path(void **state)
{
    struct ip_flow f = {.dst = addr("10.0.0.2"), .proto = IPPROTO_TCP_N, .ttl = 64};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t tcp[20] = {0, 80, 4, 0, [12] = 0x50, 0x10};

    (void)state;
    learn_peer("10.0.0.2", peer_mac);
    wire.path.features = PATH_CSUM | PATH_TSO4 | PATH_SG;
    view_touch();
    assert_int_equal(ip_route(&f), 0);
    pkt_append(p, tcp, 20);
    pkt_append_page(p, page_alloc(0, PAGE_ZERO), 0, 4000);
    p->gso = GSO_TCP4;
    p->gso_size = 1000;
    ip_csum_partial(p, &f, 16);
    wire.room = 0;
    net_batch_begin();
    assert_int_equal(ip_output(&f, p), 0);
    net_batch_end();
    wire_init(&wire2, 0);
    wire2.path.kind = PATH_SERVER;
    wire2.detached = false;
    wire2.room = 2; /* the ring fills in the middle of the segments */
    assert_int_equal(netif_attach_path(eth, &wire2.path), 0);
    netif_prefer(eth, PATH_SERVER);
    wire2.room = ~0u;
    path_tx_ready(&wire2.path, 0);
    unsigned segments = 0;
    for (unsigned i = 0; i < wire2.count; i++) {
        if (get16(wire2.sent[i]->b + 12) != 0x0800)
            continue;
        uint32_t l4 = check_frame(wire2.sent[i]);
        assert_int_equal(get32(wire2.sent[i]->b + l4 + 4), segments * 1000);
        segments++;
    }
    assert_int_equal(segments, 4);
    ip_flow_release(&f);
    wire_clear(&wire2);
    wire.path.features = PATH_CSUM | PATH_SG;
    wire.room = ~0u;
    netif_prefer(eth, PATH_DIRECT);
    netif_detach_path(eth, &wire2.path);
    settle();
    wire_clear(&wire);
}

static void test_link_loss_and_return(void **state)
{
    (void)state;
    path_link_changed(&wire.path, false);
    settle();
    assert_int_equal(eth->flags & NETIF_RUNNING, 0);
    path_link_changed(&wire.path, true);
    settle();
    assert_int_equal(eth->flags & NETIF_RUNNING, NETIF_RUNNING);
    assert_true(wire.count >= 3); /* announced, routers asked */
    floor_advance(30 * SEC);
    wire_clear(&wire);
}

static void test_interface_without_a_path(void **state)
{
    struct socket *s = udp();

    (void)state;
    netif_detach_path(eth, &wire.path);
    assert_int_equal(sock_send(s, "x", 1, NULL, 0), -ENETUNREACH);
    wire.detached = false;
    assert_int_equal(netif_register_path(&wire.path), 0); /* the same MAC: the same interface */
    assert_ptr_equal(wire.path.netif, eth);
    settle();
    wire_clear(&wire);
    assert_int_equal(sock_send(s, "x", 1, NULL, 0), 1);
    assert_int_equal(wire.count, 1);
    wire_clear(&wire);
    s->ops->close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_doorbell_per_batch),
        cmocka_unit_test(test_deferred_calls_run_once_at_the_end),
        cmocka_unit_test(test_full_ring_backs_up_in_order),
        cmocka_unit_test(test_backlog_is_bounded),
        cmocka_unit_test(test_switch_of_paths_loses_nothing),
        cmocka_unit_test(test_large_segments_in_the_backlog_survive_a_poorer_path),
        cmocka_unit_test(test_link_loss_and_return),
        cmocka_unit_test(test_interface_without_a_path),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
