/* The server path under the whole stack, with a server that is a few lines of this file. */
#include "test_net_util.h"

#include "channel/frame.h"
#include "channel/path.h"
#include "net/gso.h"
#include "test_channel_util.h"

#define REGION (1u << 20)
#define APP_ID CHANNEL_PEER(3, CHANNEL_APP)
#define SERVER_ID CHANNEL_PEER(3, CHANNEL_SERVER)

static struct {
    uint8_t *mem;
    struct channel_layout l;
    struct channel_device dev; /* the application's */
    struct channel_path *cp;
    struct channel_queue q; /* the server's end */
    bool dead;              /* the server does nothing */
    unsigned doorbells;     /* that the application sent */
    struct pkt *got;        /* what the server took, in order */
    struct pkt **got_tail;
    unsigned got_count;
} net;

static void app_rings(struct channel_device *dev, uint32_t peer, unsigned vector)
{
    assert_ptr_equal(dev, &net.dev);
    assert_int_equal(peer, SERVER_ID);
    assert_int_equal(vector, 0);
    net.doorbells++;
}

static void ring_app(void)
{
    channel_path_interrupt(net.cp, 0);
    floor_run();
}

/* What the server does when it is rung. */
static void server_run(void)
{
    struct channel_frame f;
    uint32_t n;

    floor_run();
    if (net.dead)
        return;
    if (channel_queue_check(&net.q) == CHANNEL_LIVE)
        ring_app();
    if (!net.q.live)
        return;
    do {
        for (n = 0; channel_take(&net.q.rx, &f); n++) {
            struct pkt *p = channel_get_pkt(&f);
            assert_non_null(p);
            *net.got_tail = p;
            net.got_tail = &p->next;
            net.got_count++;
        }
        channel_release(&net.q.rx, n);
        if (channel_notify_room(&net.q.rx))
            ring_app();
    } while (channel_want_data(&net.q.rx));
    assert_false(channel_queue_broken(&net.q));
}

static void server_restart(void)
{
    struct channel_side *side = channel_side(&net.dev, true);

    channel_queue_destroy(&net.q);
    assert_int_equal(channel_queue_create(&net.q, net.mem, &net.l, 0, true, CHANNEL_FEATURES), 0);
    side->peer = SERVER_ID;
    side->state = CHANNEL_UP;
    channel_queue_start(&net.q);
    ring_app();
    server_run();
}

static void forget(void)
{
    pkt_free_list(net.got);
    net.got = NULL;
    net.got_tail = &net.got;
    net.got_count = 0;
}

/* The n-th packet the server took, as one flat frame with its checksum filled in. */
static void flat(unsigned n, struct frame *f)
{
    struct pkt *p = net.got;

    while (n--)
        p = p->next;
    if (p->flags & PKT_CSUM_PARTIAL && !p->gso)
        assert_true(pkt_csum_complete(p));
    f->len = p->len;
    assert_true(pkt_copy_out(p, 0, f->b, p->len));
}

/* The server sends a frame to the application. */
static void deliver(const void *data, uint32_t len)
{
    struct pkt *p = frame_pkt(data, len);

    p->flags = PKT_CSUM_OK;
    assert_int_equal(channel_put_pkt(&net.q.tx, p), 0);
    pkt_free(p);
    if (channel_notify_data(&net.q.tx))
        ring_app();
    settle();
    server_run();
}

static struct socket *udp(uint16_t port)
{
    struct socket *s;
    int large = 1 << 20; /* nobody is to wait for it */

    assert_int_equal(socket_create(4, 2, 0, &s), 0);
    assert_int_equal(socket_setopt(s, 1, 32 /* SO_SNDBUFFORCE */, &large, sizeof(large)), 0);
    assert_int_equal(sock_bind(s, "0.0.0.0", port), 0);
    return s;
}

static void test_arp_and_udp(void **state)
{
    static struct frame f;
    uint8_t b[256], mac[6] = {2, 0, 0, 0, 0, 1};
    struct socket *s = udp(7000);
    struct sock_recv_info info;
    char buf[16];

    (void)state;
    deliver(b, arp_frame(b, 1, peer_mac, "10.0.0.2", "10.0.0.1", our_mac));
    assert_int_equal(net.got_count, 1);
    flat(0, &f);
    assert_int_equal(get16(f.b + 12), 0x0806);
    assert_memory_equal(f.b, peer_mac, 6);
    assert_memory_equal(f.b + 22, mac, 6);
    forget();
    deliver(b, udp_frame(b, "10.0.0.2", 9, "10.0.0.1", 7000, "hello", 5));
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(sock_send(s, "reply", 5, "10.0.0.2", 9), 5);
    server_run();
    assert_int_equal(net.got_count, 1);
    assert_true(net.got->flags & PKT_CSUM_PARTIAL);
    flat(0, &f);
    check_frame(&f);
    assert_memory_equal(f.b + 42, "reply", 5);
    forget();
    s->ops->close(s);
}

static void test_jumbo_datagrams_both_ways(void **state)
{
    static struct frame f;
    static uint8_t data[60000], back[60000];
    struct socket *s = udp(7001);
    struct sock_recv_info info;

    (void)state;
    for (uint32_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    set_int(s, 1, 8, 1 << 20);
    set_int(s, 1, 7, 1 << 20);
    f.len = udp_frame(f.b, "10.0.0.2", 9, "10.0.0.1", 7001, data, sizeof(data));
    for (int i = 0; i < 20; i++) { /* more than the area holds at once */
        deliver(f.b, f.len);
        assert_int_equal(sock_recv(s, back, sizeof(back), &info, 0), sizeof(back));
        assert_memory_equal(data, back, sizeof(data));
        assert_int_equal(sock_send(s, data, sizeof(data), "10.0.0.2", 9), sizeof(data));
        server_run();
        assert_int_equal(net.got_count, 1);
        flat(0, &f);
        check_frame(&f);
        assert_memory_equal(f.b + 42, data, sizeof(data));
        forget();
        f.len = udp_frame(f.b, "10.0.0.2", 9, "10.0.0.1", 7001, data, sizeof(data));
    }
    s->ops->close(s);
}

/* A TCP segment of 60 KiB that wants to be cut and summed. */
static struct pkt *large_segment(const struct ip_flow *flow, uint16_t gso_size)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t tcp[20] = {0, 80, 4, 0, [12] = 0x50, 0x10};

    pkt_append(p, tcp, 20);
    for (int i = 0; i < 15; i++)
        pkt_append_page(p, page_alloc(0, 0), 0, 4096);
    p->gso = GSO_TCP4;
    p->gso_size = gso_size;
    ip_csum_partial(p, flow, 16);
    return p;
}

static void test_segmentation_crosses_as_one_frame(void **state)
{
    struct ip_flow flow = {.dst = addr("10.0.0.2"), .proto = IPPROTO_TCP_N, .ttl = 64};
    static struct frame f;

    (void)state;
    assert_int_equal(ip_route(&flow), 0);
    net_batch_begin();
    assert_int_equal(ip_output(&flow, large_segment(&flow, 1460)), 0);
    net_batch_end();
    server_run();
    assert_int_equal(net.got_count, 1);
    struct pkt *p = net.got;
    assert_int_equal(p->gso, GSO_TCP4);
    assert_int_equal(p->gso_size, 1460);
    assert_int_equal(p->len, 14 + 20 + 20 + 15 * 4096);
    assert_int_equal(p->linear, 54);
    net.got = NULL;
    forget();
    uint32_t sum = 0;
    for (struct pkt *list = gso_split(p, 0), *next; list; list = next) {
        next = list->next;
        f.len = list->len;
        assert_true(pkt_copy_out(list, 0, f.b, list->len));
        assert_int_equal(get32(f.b + check_frame(&f) + 4), sum);
        sum += f.len - 54;
        pkt_free(list);
    }
    assert_int_equal(sum, 15 * 4096);
    ip_flow_release(&flow);
}

static void test_one_doorbell_for_many_packets(void **state)
{
    struct socket *s = udp(7002);

    (void)state;
    server_run();
    net.doorbells = 0;
    net_batch_begin();
    for (int i = 0; i < 100; i++)
        assert_int_equal(sock_send_only(s, "x", 1, "10.0.0.2", 9), 1);
    net_batch_end();
    assert_int_equal(net.doorbells, 1);
    for (int i = 0; i < 100; i++) /* the server is at work: no more */
        assert_int_equal(sock_send(s, "x", 1, "10.0.0.2", 9), 1);
    assert_int_equal(net.doorbells, 1);
    server_run();
    assert_int_equal(net.got_count, 200);
    forget();
    s->ops->close(s);
}

static uint32_t number_of(unsigned n)
{
    static struct frame f;
    uint32_t number;

    flat(n, &f);
    memcpy(&number, f.b + 42, 4);
    return number;
}

static void test_a_slow_server_is_waited_for(void **state)
{
    struct socket *s = udp(7003);

    (void)state;
    net.dead = true;
    for (uint32_t i = 0; i < 700;
         i++) /* the ring of this test is shorter: the rest waits in the backlog */
        assert_int_equal(sock_send(s, &i, 4, "10.0.0.2", 9), 4);
    net.dead = false;
    server_run();
    server_run();
    server_run();
    assert_int_equal(net.got_count, 700);
    for (unsigned i = 0; i < 700; i++)
        assert_int_equal(number_of(i), i);
    forget();
    s->ops->close(s);
}

static void test_a_new_server_finds_what_was_sent(void **state)
{
    struct socket *s = udp(7004);
    struct sock_recv_info info;
    uint8_t b[256];
    char buf[16];

    (void)state;
    net.dead = true;
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(sock_send(s, &i, 4, "10.0.0.2", 9), 4);
    net.dead = false;
    server_restart();
    server_run();
    assert_int_equal(net.got_count, 300);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(number_of(i), i);
    forget();
    deliver(b, udp_frame(b, "10.0.0.2", 9, "10.0.0.1", 7004, "again", 5));
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 5);
    s->ops->close(s);
}

static void test_a_hostile_server_breaks_its_channel_only(void **state)
{
    struct channel_line *line = line_of(net.mem, true, 0);
    struct socket *s = udp(7005);
    struct sock_recv_info info;
    unsigned lines = floor_log_lines();
    uint8_t b[256];
    char buf[16];

    (void)state;
    line->tail += 5000;
    ring_app();
    assert_true(net.cp->queues[0].q.rx.broken);
    assert_int_equal(channel_side(&net.dev, false)->state, CHANNEL_BROKEN);
    for (int i = 0; i < 10; i++)
        ring_app();
    assert_int_equal(floor_log_lines(), lines + 1); /* said once */
    line->head += 5000;
    for (int i = 0; i < 400; i++)
        sock_send(s, "x", 1, "10.0.0.2", 9);
    assert_true(net.cp->queues[0].q.tx.broken);
    assert_int_equal(sock_send(s, "x", 1, "127.0.0.1", 7005),
                     1); /* the rest of the stack is well */
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 1);
    server_restart();
    forget();
    assert_int_equal(sock_send(s, "y", 1, "10.0.0.2", 9), 1);
    server_run();
    deliver(b, udp_frame(b, "10.0.0.2", 9, "10.0.0.1", 7005, "again", 5));
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 5);
    assert_true(net.got_count >= 1);
    forget();
    s->ops->close(s);
}

/* --- second looks ----------------------------------------------------------------------------- */

static bool looking(void)
{
    return timer_armed(&net.cp->queues[0].recheck.timer);
}

/* The other side's wish was not seen when it counted: as if the processor had not ordered "store
 * mine, load yours". */
static void test_a_lost_doorbell_is_made_up_for(void **state)
{
    struct channel_line *line = line_of(net.mem, true, 0);
    struct socket *s = udp(7006);

    (void)state;
    server_run();
    floor_advance(SEC);
    uint32_t event = line->data_event;
    assert_int_equal(event, net.cp->queues[0].q.tx.tail);
    line->data_event = event - 1000;
    net.doorbells = 0;
    assert_int_equal(sock_send(s, "x", 1, "10.0.0.2", 9), 1);
    line->data_event = event;
    floor_advance(4 * MS);
    assert_int_equal(net.doorbells, 0);
    floor_advance(MS);
    assert_int_equal(net.doorbells, 1);
    server_run();
    assert_int_equal(net.got_count, 1);
    floor_advance(10 * MS);
    assert_int_equal(net.doorbells, 1); /* nobody waits any more */
    assert_false(looking());
    forget();
    s->ops->close(s);
}

static void test_a_lost_interrupt_is_made_up_for(void **state)
{
    struct socket *s = udp(7007);
    struct sock_recv_info info;
    uint8_t b[256];
    char buf[16];

    (void)state;
    uint32_t n = udp_frame(b, "10.0.0.2", 9, "10.0.0.1", 7007, "first", 5);
    deliver(b, n);
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 5);
    struct pkt *p = frame_pkt(b, n);
    p->flags = PKT_CSUM_OK;
    assert_int_equal(channel_put_pkt(&net.q.tx, p), 0);
    pkt_free(p);
    channel_notify_data(&net.q.tx); /* and does not ring */
    settle();
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), -EAGAIN);
    floor_advance(6 * MS);
    assert_int_equal(sock_recv(s, buf, sizeof(buf), &info, 0), 5);
    floor_advance(20 * MS);
    assert_false(looking());
    forget();
    s->ops->close(s);
}

static void test_lost_news_of_room_is_made_up_for(void **state)
{
    struct socket *s = udp(7008);
    struct channel_frame f;
    uint32_t n = 0;

    (void)state;
    net.dead = true;
    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(sock_send(s, &i, 4, "10.0.0.2", 9), 4);
    assert_true(net.cp->queues[0].tx_stopped);
    while (channel_take(&net.q.rx, &f))
        n++;
    channel_release(&net.q.rx, n);
    channel_notify_room(&net.q.rx); /* and does not ring */
    floor_advance(6 * MS);
    assert_false(net.cp->queues[0].tx_stopped);
    net.dead = false;
    server_run();
    assert_int_equal(n + net.got_count, 300);
    floor_advance(20 * MS);
    assert_false(looking());
    forget();
    s->ops->close(s);
}

/* The server wants room, and was not told that there is: once is enough. */
static void test_the_server_is_told_of_room(void **state)
{
    struct channel_line *line = line_of(net.mem, true, 0);
    struct socket *s = udp(7009);
    uint8_t b[256];

    (void)state;
    floor_advance(SEC);
    deliver(b, udp_frame(b, "10.0.0.2", 9, "10.0.0.1", 7009, "x", 1));
    line->room_event = line->tail - 1;
    net.doorbells = 0;
    floor_advance(6 * MS);
    assert_int_equal(net.doorbells, 1);
    for (int i = 0; i < 10; i++) {
        deliver(b, udp_frame(b, "10.0.0.2", 9, "10.0.0.1", 7009, "x", 1));
        floor_advance(6 * MS);
    }
    assert_int_equal(net.doorbells, 1);
    s->ops->close(s);
}

static void test_idle_is_idle(void **state)
{
    (void)state;
    for (int i = 0; i < 60; i++) { /* until the stack has given up its neighbours */
        floor_advance(SEC);
        server_run();
    }
    forget();
    net.doorbells = 0;
    for (int i = 0; i < 10; i++) { /* interrupts that bring nothing are no activity */
        ring_app();
        assert_false(looking());
    }
    floor_advance(60 * SEC);
    assert_false(looking());
    assert_int_equal(net.doorbells, 0);
}

/* --- the supervisor --------------------------------------------------------------------------- */

static void test_new_grants_are_taken(void **state)
{
    struct channel_grants *g = &channel_control(&net.dev)->grants;
    unsigned lines = floor_log_lines();

    (void)state;
    g->sequence++; /* it is at it */
    g->mtu = 9000;
    ring_app();
    assert_int_equal(eth->mtu, 65520);
    g->sequence++;
    ring_app();
    assert_int_equal(eth->mtu, 9000);
    assert_int_equal(eth->path->mtu, 9000);
    assert_int_equal(floor_log_lines(), lines + 1);
    struct ip_flow flow = {.dst = addr("10.0.0.2"), .proto = IPPROTO_UDP_N, .ttl = 64};
    assert_int_equal(ip_route(&flow), 0);
    assert_int_equal(flow.mtu, 9000);
    ip_flow_release(&flow);
    g->sequence += 2; /* with a new generation too, which rings */
    g->mtu = 65520;
    server_restart();
    assert_int_equal(eth->mtu, 65520);
}

static void test_bad_grants_are_refused(void **state)
{
    struct channel_grants *g = &channel_control(&net.dev)->grants, good = *g;
    unsigned lines = floor_log_lines();

    (void)state;
    for (int i = 0; i < 3; i++) {
        g->sequence += 2;
        if (i == 0)
            g->mac[5]++;
        else if (i == 1)
            g->mode = CHANNEL_SHARED;
        else
            g->mtu = 100;
        g->mtu = i == 2 ? 100 : 2000;
        ring_app();
        ring_app();
        assert_int_equal(floor_log_lines(), ++lines); /* said once */
        assert_int_equal(eth->mtu, 65520);
        assert_int_equal(eth->mac[5], good.mac[5]);
        assert_false(eth->shared);
        uint32_t sequence = g->sequence;
        *g = good;
        g->sequence = sequence + 2;
        ring_app();
    }
}

static void test_the_supervisors_ping(void **state)
{
    (void)state;
    channel_control(&net.dev)->ping = 42;
    ring_app();
    assert_int_equal(channel_side(&net.dev, false)->pong, 42);
}

static void test_no_memory(void **state)
{
    struct path_stats before, after;
    uint8_t b[2000] = {0};

    (void)state;
    net.cp->path.ops->stats(&net.cp->path, &before);
    struct pkt *p = frame_pkt(b, sizeof(b));
    assert_int_equal(channel_put_pkt(&net.q.tx, p), 0);
    pkt_free(p);
    channel_notify_data(&net.q.tx);
    floor_fail_alloc(1);
    ring_app();
    floor_fail_alloc(0);
    net.cp->path.ops->stats(&net.cp->path, &after);
    assert_int_equal(after.rx_dropped, before.rx_dropped + 1);
}

/* The interface has another path and uses that: the server is told, the next one too. */
static bool other_transmit(struct net_path *path, int queue, struct pkt *p)
{
    (void)path, (void)queue;
    pkt_free(p);
    return true;
}
static void other_flush(struct net_path *path, int queue)
{
    (void)path, (void)queue;
}

static void test_parked(void **state)
{
    static const struct path_ops ops = {.transmit = other_transmit, .flush = other_flush};
    struct net_path nic = {
        .ops = &ops, .kind = PATH_DIRECT, .mtu = 1500, .queues = 1, .link_up = true};
    const struct channel_side *side = channel_side(&net.dev, false);
    struct netif_switched s;

    (void)state;
    server_restart();
    assert_int_equal(side->state, CHANNEL_UP);
    memcpy(nic.mac, eth->mac, MAC_LEN);
    assert_int_equal(netif_register_path(&nic), 0);
    assert_int_equal(eth->mtu, net.cp->path.mtu);
    assert_int_equal(side->state, CHANNEL_UP);
    assert_int_equal(netif_switch(eth, PATH_DIRECT, time_now(), &s), 0);
    assert_int_equal(eth->mtu, 1500);
    assert_int_equal(side->state, CHANNEL_UP); /* until the network has learned where it is */
    floor_advance(60 * NSEC_PER_MSEC);
    assert_int_equal(side->state, CHANNEL_PARKED);
    server_restart();
    assert_int_equal(side->state, CHANNEL_PARKED);
    path_link_changed(&nic, false);
    assert_int_equal(side->state, CHANNEL_UP); /* at once: before it sends there */
    settle();
    netif_prefer(eth, PATH_SERVER);
    netif_detach_path(eth, &nic);
    for (int i = 0; i < 5; i++) {
        floor_advance(SEC);
        server_run();
    }
    forget();
}

static void test_detach(void **state)
{
    (void)state;
    netif_detach_path(eth, &net.cp->path);
    assert_int_equal(channel_side(&net.dev, false)->state, CHANNEL_DOWN);
    ring_app();
    channel_path_destroy(net.cp);
    channel_queue_destroy(&net.q);
    free(net.mem);
}

/* The interface's path comes back with a shared address, whose range changes later. */
static void test_a_shared_channel(void **state)
{
    uint8_t *mem = region_new(REGION, 1, 256);
    struct channel_device dev = {.mem = mem, .size = REGION, .vectors = 1, .ring = app_rings};
    struct channel_grants *g = &((struct channel_control *)mem)->grants;

    (void)state;
    g->mode = CHANNEL_SHARED;
    g->ephemeral_first = 45000;
    g->ephemeral_last = 45009;
    struct channel_path *cp = channel_path_create(&dev, "c");
    assert_false(IS_ERR(cp));
    assert_int_equal(netif_register_path(&cp->path), 0);
    assert_ptr_equal(cp->path.netif, eth);
    channel_path_start(cp);
    assert_true(eth->shared);
    struct socket *s = udp(0);
    assert_true(s->local.port >= 45000 && s->local.port <= 45009);
    s->ops->close(s);
    g->sequence += 2;
    g->ephemeral_first = 46000;
    g->ephemeral_last = 46009;
    channel_path_interrupt(cp, 0);
    floor_run();
    s = udp(0);
    assert_true(s->local.port >= 46000 && s->local.port <= 46009);
    s->ops->close(s);
    netif_detach_path(eth, &cp->path);
    channel_path_destroy(cp);
    free(mem);
}

static void test_bad_channels(void **state)
{
    uint8_t *mem = region_new(REGION, 2, 256);
    struct channel_device dev = {.mem = mem, .size = REGION, .vectors = 1, .ring = app_rings};

    (void)state;
    assert_int_equal(PTR_ERR(channel_path_create(&dev, "c")), -EPROTO); /* too few vectors */
    dev.vectors = 2;
    ((struct channel_control *)mem)->grants.mtu = 100;
    assert_int_equal(PTR_ERR(channel_path_create(&dev, "c")), -EPROTO);
    ((struct channel_control *)mem)->grants.mtu = 1500;
    for (unsigned i = 1; i < 5; i++) {
        floor_fail_alloc(i);
        assert_int_equal(PTR_ERR(channel_path_create(&dev, "c")), -ENOMEM);
    }
    floor_fail_alloc(0);
    struct channel_path *cp = channel_path_create(&dev, "c");
    assert_false(IS_ERR(cp));
    channel_path_destroy(cp);
    free(mem);
}

static void setup(void)
{
    struct ip_addr a;

    net.mem = region_new(REGION, 1, 256);
    channel_layout(&net.l, REGION, 1, 256);
    ((struct channel_control *)net.mem)->grants.mtu = 65520;
    net.dev = (struct channel_device){
        .mem = net.mem, .size = REGION, .id = APP_ID, .vectors = 1, .ring = app_rings};
    net.got_tail = &net.got;
    channel_queue_create(&net.q, net.mem, &net.l, 0, true, CHANNEL_FEATURES);
    net_init();
    net.cp = channel_path_create(&net.dev, "channel 3");
    assert_false(IS_ERR(net.cp));
    assert_int_equal(netif_register_path(&net.cp->path), 0);
    eth = netif_by_name("eth0");
    assert_int_equal(netif_set_up(eth, true), 0);
    assert_int_equal(ip_parse("10.0.0.1", &a), 0);
    assert_int_equal(netif_add_addr(eth, &a, 24), 0);
    channel_path_start(net.cp);
    assert_int_equal(eth->flags & NETIF_RUNNING, 0); /* no server yet */
    server_restart();
    settle();
    assert_int_equal(eth->flags & NETIF_RUNNING, NETIF_RUNNING);
    assert_int_equal(eth->path->kind, PATH_SERVER);
    for (int i = 0; i < 20; i++) {
        floor_advance(SEC);
        server_run();
    }
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arp_and_udp),
        cmocka_unit_test(test_jumbo_datagrams_both_ways),
        cmocka_unit_test(test_segmentation_crosses_as_one_frame),
        cmocka_unit_test(test_one_doorbell_for_many_packets),
        cmocka_unit_test(test_a_slow_server_is_waited_for),
        cmocka_unit_test(test_a_new_server_finds_what_was_sent),
        cmocka_unit_test(test_a_hostile_server_breaks_its_channel_only),
        cmocka_unit_test(test_a_lost_doorbell_is_made_up_for),
        cmocka_unit_test(test_a_lost_interrupt_is_made_up_for),
        cmocka_unit_test(test_lost_news_of_room_is_made_up_for),
        cmocka_unit_test(test_the_server_is_told_of_room),
        cmocka_unit_test(test_idle_is_idle),
        cmocka_unit_test(test_new_grants_are_taken),
        cmocka_unit_test(test_bad_grants_are_refused),
        cmocka_unit_test(test_the_supervisors_ping),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_parked),
        cmocka_unit_test(test_detach),
        cmocka_unit_test(test_a_shared_channel),
        cmocka_unit_test(test_bad_channels),
    };

    setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
