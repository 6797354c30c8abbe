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
    assert_int_equal(set_int(s, 1, 32, 8 << 20), 0); /* SO_SNDBUFFORCE: more than the backlog */
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

/* --- which of two paths --- */

static char told[64];
static unsigned hooks;
static enum path_reason last_reason;

static void note_chosen(struct net_path *path, bool yes)
{
    size_t n = strlen(told);

    snprintf(told + n, sizeof(told) - n, "%s%c", path == &wire.path ? "d" : "s", yes ? '+' : '-');
}

static void note_hook(struct netif *n, enum path_kind kind, enum path_reason why)
{
    assert_ptr_equal(n, eth);
    assert_int_equal(kind, eth->path ? eth->path->kind : PATH_LOOPBACK);
    hooks++;
    last_reason = why;
}

static bool is_drained;
static bool drained(struct net_path *path)
{
    (void)path;
    return is_drained;
}

static struct path_ops two_ops;

/* A NIC and a channel, the NIC preferred. */
static int two_paths(void **state)
{
    (void)state;
    two_ops = wire_ops;
    two_ops.chosen = note_chosen;
    wire.path.ops = &two_ops;
    wire_init(&wire2, PATH_CSUM | PATH_SG);
    wire2.path.kind = PATH_SERVER;
    wire2.path.ops = &two_ops;
    wire2.detached = false;
    netif_path_hook = note_hook;
    *told = 0;
    assert_int_equal(netif_attach_path(eth, &wire2.path), 0);
    assert_string_equal(told, "s-"); /* attached, and not in use */
    *told = 0;
    hooks = 0;
    return 0;
}

static int one_path(void **state)
{
    (void)state;
    netif_prefer(eth, PATH_DIRECT);
    netif_detach_path(eth, &wire2.path);
    floor_advance(SEC);
    wire.path.ops = &wire_ops;
    netif_path_hook = NULL;
    wire_clear(&wire);
    wire_clear(&wire2);
    return 0;
}

static void test_the_preferred_path_is_used_if_it_is_well(void **state)
{
    struct netif_switched s;

    (void)state;
    assert_ptr_equal(eth->path, &wire.path);
    path_link_changed(&wire.path, false); /* at once, not when a thread comes by */
    assert_ptr_equal(eth->path, &wire2.path);
    settle();
    assert_int_equal(eth->flags & NETIF_RUNNING, NETIF_RUNNING);
    assert_int_equal(hooks, 1);
    assert_int_equal(last_reason, PATH_LINK_LOST);
    path_link_changed(&wire2.path, false); /* none is well: the preferred one */
    settle();
    assert_ptr_equal(eth->path, &wire.path);
    assert_int_equal(eth->flags & NETIF_RUNNING, 0);
    path_link_changed(&wire2.path, true);
    settle();
    assert_ptr_equal(eth->path, &wire2.path);
    assert_int_equal(last_reason, PATH_LINK_BACK);
    path_link_changed(&wire.path, true);
    settle();
    assert_ptr_equal(eth->path, &wire.path);
    assert_int_equal(hooks, 4);
    /* It vanishes, and comes back: it is still the preferred kind. */
    netif_detach_path(eth, &wire.path);
    assert_ptr_equal(eth->path, &wire2.path);
    assert_int_equal(last_reason, PATH_DETACHED);
    assert_int_equal(netif_switch(eth, PATH_DIRECT, time_now() + 5 * MS, &s), -ENODEV);
    assert_int_equal(s.kind, PATH_SERVER);
    wire.detached = false;
    assert_int_equal(netif_register_path(&wire.path), 0);
    assert_ptr_equal(eth->path, &wire.path);
    assert_int_equal(last_reason, PATH_ATTACHED);
}

static void test_a_switch_waits_and_tells(void **state)
{
    struct netif_switched s;

    (void)state;
    wire2.path.link_up = false;
    assert_int_equal(netif_switch(eth, PATH_SERVER, time_now() + 5 * MS, &s), -ENETDOWN);
    assert_ptr_equal(eth->path, &wire.path);
    assert_int_equal(hooks, 0);
    wire2.path.link_up = true;
    wire_clear(&wire2);
    assert_int_equal(netif_switch(eth, PATH_SERVER, time_now(), &s), 0);
    assert_int_equal(s.kind, PATH_SERVER);
    assert_int_equal(last_reason, PATH_ASKED);
    assert_ptr_equal(eth->path, &wire2.path);
    assert_string_equal(told, "s+"); /* the old one is told later */
    assert_true(wire2.count >= 2);   /* announced */
    unsigned count = wire2.count;
    floor_advance(60 * MS);
    assert_string_equal(told, "s+d-");
    assert_true(wire2.count > count); /* again: the first may have been lost */
    /* The same again does nothing. */
    assert_int_equal(netif_switch(eth, PATH_SERVER, time_now(), &s), 0);
    assert_int_equal(s.stall, 0);
    assert_int_equal(hooks, 1);
    /* Changing its mind at once: the path that is in use is never told that it is not. */
    *told = 0;
    assert_int_equal(netif_switch(eth, PATH_DIRECT, time_now(), &s), 0);
    assert_int_equal(netif_switch(eth, PATH_SERVER, time_now(), &s), 0);
    floor_advance(SEC);
    assert_null(strstr(told, "s-"));
}

static void test_a_switch_waits_for_what_the_old_path_holds(void **state)
{
    struct netif_switched s;
    nsec_t begin = time_now();

    (void)state;
    two_ops.drained = drained;
    is_drained = false; /* it never sends it: the wait is bounded */
    assert_int_equal(netif_switch(eth, PATH_SERVER, time_now(), &s), 0);
    assert_true(s.drain >= 100 * MS && time_now() - begin < 200 * MS);
    is_drained = true;
    assert_int_equal(netif_switch(eth, PATH_DIRECT, time_now(), &s), 0);
    assert_true(s.drain < 5 * MS);
}

/* What is announced by one path may come back by the other: nobody else has our addresses. */
static void test_our_own_frames_come_back(void **state)
{
    struct netif_switched s;
    uint64_t before = net_stat_read(NET_Librettos_EthOwn);
    struct ip_addr a;
    unsigned count = 0;

    (void)state;
    assert_int_equal(ip_parse("2001:db8::77", &a), 0);
    assert_int_equal(netif_add_addr(eth, &a, 64), 0); /* asks whether somebody has it */
    assert_int_equal(netif_switch(eth, PATH_SERVER, time_now(), &s), 0);
    floor_advance(SEC / 2);
    for (unsigned i = 0; i < wire2.count; i++)
        if (wire2.sent[i]->b[0] & 1) {
            wire_receive(&wire, wire2.sent[i]->b, wire2.sent[i]->len);
            count++;
        }
    for (unsigned i = 0; i < wire.count; i++)
        if (wire.sent[i]->b[0] & 1) {
            wire_receive(&wire2, wire.sent[i]->b, wire.sent[i]->len);
            count++;
        }
    assert_true(count > 4);
    assert_int_equal(net_stat_read(NET_Librettos_EthOwn), before + count);
    assert_int_equal(netif_del_addr(eth, &a), 0); /* it is still there */
}

static void test_there_is_room_for_a_few_paths(void **state)
{
    struct wire more[NETIF_PATHS - 2], last;

    (void)state;
    memset(more, 0, sizeof(more));
    memset(&last, 0, sizeof(last));
    for (unsigned i = 0; i < NETIF_PATHS - 2; i++) {
        wire_init(&more[i], 0);
        assert_int_equal(netif_attach_path(eth, &more[i].path), 0);
        assert_ptr_equal(eth->path, &wire.path); /* the first of equals stays */
    }
    wire_init(&last, 0);
    assert_int_equal(netif_attach_path(eth, &last.path), -ENOSPC);
    for (unsigned i = 0; i < NETIF_PATHS - 2; i++) {
        netif_detach_path(eth, &more[i].path);
        wire_clear(&more[i]);
    }
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
        cmocka_unit_test_setup_teardown(test_the_preferred_path_is_used_if_it_is_well, two_paths,
                                        one_path),
        cmocka_unit_test_setup_teardown(test_a_switch_waits_and_tells, two_paths, one_path),
        cmocka_unit_test_setup_teardown(test_a_switch_waits_for_what_the_old_path_holds, two_paths,
                                        one_path),
        cmocka_unit_test_setup_teardown(test_our_own_frames_come_back, two_paths, one_path),
        cmocka_unit_test_setup_teardown(test_there_is_room_for_a_few_paths, two_paths, one_path),
        cmocka_unit_test(test_interface_without_a_path),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
