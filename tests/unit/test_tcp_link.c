/*
 * TCP against itself over a simulated link that delays, drops, reorders, duplicates and damages:
 * bulk transfers in both directions whose bytes are checked, over many random seeds.
 *
 * The stack's own packets come back with source and destination address swapped, so that one stack
 * plays both sides: its client 10.0.0.1:a sees a server 10.0.0.2:b, its server sees a client
 * 10.0.0.2:a. Swapping keeps the checksums right.
 */
#include "tcp_peer.h"

#include "net/gso.h"

struct link_params {
    nsec_t delay, jitter;             /* one way */
    unsigned loss, duplicate, damage; /* per 1000 packets */
    nsec_t per_byte;                  /* serialisation, ns; 0: infinitely fast */
    nsec_t queue;                     /* of the bottleneck, as time; more is dropped */
};

struct frame {
    struct rb_node node;
    nsec_t at;
    struct pkt *p;
};

static struct link_params params;
static struct rb_tree in_flight;
static nsec_t busy_until;
static uint64_t rng, frames_sent;

static uint32_t random_below(uint32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(((rng >> 33) * n) >> 31);
}

static int by_time(const struct rb_node *a, const struct rb_node *b)
{
    nsec_t x = container_of(a, struct frame, node)->at, y = container_of(b, struct frame, node)->at;

    return x < y ? -1 : x > y;
}

static void put_in_flight(struct pkt *p, nsec_t at)
{
    struct frame *f = calloc(1, sizeof(*f));

    f->at = at;
    f->p = p;
    rb_insert(&in_flight, &f->node, by_time);
}

static void on_link(struct pkt *p)
{
    static uint8_t f[70000];
    uint32_t n = p->len;
    nsec_t now = time_now(), at = now;
    uint8_t tmp[4];

    if (pkt_needs(p) & ~(uint32_t)PATH_SG) { /* what the device of the path does */
        for (struct pkt *list = gso_split(p, 0), *next; list; list = next) {
            next = list->next;
            list->next = NULL;
            on_link(list);
        }
        return;
    }
    assert_true(pkt_copy_out(p, 0, f, n));
    pkt_free(p);
    if (rd16(f + 12) == 0x0806) {
        answer_arp(f);
        return;
    }
    if (rd16(f + 12) != 0x0800 || memcmp(f + 30, &(uint32_t){PEER4}, 4))
        return;
    frames_sent++;
    memcpy(tmp, f + 26, 4);
    memcpy(f + 26, f + 30, 4);
    memcpy(f + 30, tmp, 4);
    memcpy(f, our_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    if (random_below(1000) < params.loss)
        return;
    if (params.per_byte) {
        if (busy_until - now > params.queue)
            return;
        busy_until = MAX(busy_until, now) + n * params.per_byte;
        at = busy_until;
    }
    at += params.delay + (params.jitter ? random_below((uint32_t)params.jitter) : 0);
    if (random_below(1000) < params.duplicate)
        put_in_flight(make_packet(f, n), at + random_below(MS));
    if (random_below(1000) < params.damage)
        f[34 + random_below(n - 34)] ^= (uint8_t)(1u << random_below(8));
    put_in_flight(make_packet(f, n), at);
}

/* --- two paths --- */

static struct net_path other_path;
static nsec_t switch_every, switch_at;
static unsigned switches;

/* A path with its own idea of what fits; the link behind both is the same. */
static bool checked_transmit(struct net_path *path, int queue, struct pkt *p)
{
    (void)queue;
    assert_int_equal(pkt_needs(p) & ~path->features, 0);
    if (p->gso)
        assert_true(p->gso_size + 54u <= path->mtu + 14u);
    else
        assert_true(p->len <= path->mtu + 14u);
    on_link(p);
    return true;
}

static void maybe_switch(void)
{
    if (!switch_every || time_now() < switch_at)
        return;
    switch_at = time_now() + switch_every;
    netif_prefer(netif_by_name("eth0"), ++switches % 2 ? PATH_SERVER : PATH_DIRECT);
}

/* Delivers what is due; time moves to the next frame or by `step`. */
static void link_step(nsec_t step)
{
    nsec_t now = time_now(), next = now + step;
    struct rb_node *n;

    maybe_switch();
    settle();
    n = rb_first(&in_flight);
    if (n)
        next = MIN(next, container_of(n, struct frame, node)->at);
    if (next > now)
        floor_advance(next - now);
    now = time_now();
    while ((n = rb_first(&in_flight))) {
        struct frame *f = container_of(n, struct frame, node);

        if (f->at > now)
            break;
        rb_remove(&in_flight, n);
        inject_later(f->p);
        free(f);
    }
    settle();
}

static uint8_t pattern(uint64_t i, uint32_t salt)
{
    return (uint8_t)((i * 2654435761u >> 13) + salt + i / 4093);
}

struct stream {
    struct socket *from, *to;
    uint64_t sent, received, total;
    uint32_t salt;
    bool closed;
};

static void pump_out(struct stream *s)
{
    static uint8_t chunk[65536];

    while (s->sent < s->total) {
        uint64_t n = s->total - s->sent;
        uint32_t want = 1 + random_below(random_below(10) ? 3000 : sizeof(chunk) - 1);
        ssize_t got;

        n = n < want ? n : want;
        for (uint64_t i = 0; i < n; i++)
            chunk[i] = pattern(s->sent + i, s->salt);
        got = send_bytes(s->from, chunk, n, 0);
        if (got == -EAGAIN)
            return;
        if (got <= 0)
            print_error("send: %d\n", (int)got);
        assert_true(got > 0);
        s->sent += (uint64_t)got;
    }
    if (!s->closed) {
        assert_int_equal(s->from->ops->shutdown(s->from, 1), 0);
        s->closed = true;
    }
}

/* True when the end has been read. */
static bool pump_in(struct stream *s)
{
    static uint8_t chunk[65536];
    ssize_t n;

    while ((n = recv_bytes(s->to, chunk, 1 + random_below(sizeof(chunk) - 1), 0)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] != pattern(s->received + (uint64_t)i, s->salt)) {
                print_error("wrong byte at %llu\n", (unsigned long long)s->received + (unsigned)i);
                fail();
            }
        }
        s->received += (uint64_t)n;
    }
    if (n != 0 && n != -EAGAIN)
        print_error("recv: %d after %llu of %llu\n", (int)n, (unsigned long long)s->received,
                    (unsigned long long)s->total);
    assert_true(n == 0 || n == -EAGAIN);
    return n == 0;
}

/* One connection, `bytes` each way; the time it took. */
static nsec_t transfer(uint64_t seed, uint64_t bytes, uint64_t back, nsec_t limit)
{
    static uint16_t port = 10000;
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = ++port};
    struct socket *l = listen_on(port, 10), *c = new_socket(), *s = NULL;
    struct stream out = {.from = c, .total = bytes, .salt = (uint32_t)seed};
    struct stream in = {.to = c, .total = back, .salt = (uint32_t)seed + 99};
    nsec_t t0 = time_now();
    bool done_out = false, done_in = false;
    int err;

    rng = seed * 77 + 1;
    busy_until = 0;
    peer_tap = on_link;
    assert_int_equal(c->ops->connect(c, &a, true), -EINPROGRESS);
    while (!s) {
        link_step(MS);
        err = l->ops->accept(l, &s, true);
        assert_true(err == 0 || err == -EAGAIN);
        assert_true(time_now() - t0 < limit);
    }
    while (tcp_of(c)->state == TCP_SYN_SENT)
        link_step(10 * MS);
    out.to = in.from = s;
    while (!done_out || !done_in) {
        pump_out(&out);
        pump_out(&in);
        link_step(MS);
        done_out = done_out || pump_in(&out);
        done_in = done_in || pump_in(&in);
        if (time_now() - t0 > limit) {
            struct tcp *t = tcp_of(c), *u = tcp_of(s);

            print_error("seed %llu stalls: out %llu/%llu in %llu/%llu; c state %d ca %d una %u nxt "
                        "%u wnd %u cwnd %u pipe %u mode %d dl %lld; s state %d ca %d una %u nxt %u "
                        "wnd %u cwnd %u pipe %u mode %d dl %lld\n",
                        (unsigned long long)seed, (unsigned long long)out.received,
                        (unsigned long long)out.total, (unsigned long long)in.received,
                        (unsigned long long)in.total, t->state, t->ca_state, t->snd_una - t->iss,
                        t->snd_nxt - t->iss, t->snd_wnd, t->cwnd, tcp_pipe(t), t->send_mode,
                        (long long)(t->deadline[0] - time_now()), u->state, u->ca_state,
                        u->snd_una - u->iss, u->snd_nxt - u->iss, u->snd_wnd, u->cwnd, tcp_pipe(u),
                        u->send_mode, (long long)(u->deadline[0] - time_now()));
            fail();
        }
    }
    assert_int_equal(out.received, bytes);
    assert_int_equal(in.received, back);
    t0 = time_now() - t0;
    c->ops->close(c);
    s->ops->close(s);
    l->ops->close(l);
    for (int i = 0; i < 50; i++)
        link_step(100 * MS);
    return t0;
}

static int link_setup(void **state)
{
    (void)state;
    peer_begin(NULL);
    return 0;
}

/* What is left must be TIME-WAIT only; it ends, and all memory is back. */
static int link_teardown(void **state)
{
    (void)state;
    params.loss = params.duplicate = params.damage = 0;
    for (int i = 0; i < 3000 && tcp_table_count(); i++)
        link_step(100 * MS);
    assert_int_equal(tcp_table_count(), 0);
    return 0;
}

static void print_counters(void)
{
    for (int i = 0; i < NET_STAT_COUNT; i++)
        if (!strncmp(net_stat_group((enum net_stat)i), "Tcp", 3) && net_stat_read((enum net_stat)i))
            print_message("  %s %llu\n", net_stat_name((enum net_stat)i),
                          (unsigned long long)net_stat_read((enum net_stat)i));
}

static void clean_link(void **state)
{
    nsec_t t;

    (void)state;
    params =
        (struct link_params){.delay = 5 * MS, .per_byte = 80, .queue = 50 * MS}; /* 100 Mbit/s */
    t = transfer(1, 20 << 20, 0, 60 * SEC);
    print_message("20 MiB at 100 Mbit/s: %lld ms\n", (long long)(t / MS));
    assert_true(t < 2300 * MS); /* 1.7 s is the line rate */
}

/* A queue of 30 frames, a fifth of what is under way: full of bursts it would drop long before the
 * line is. */
static void short_queue(void **state)
{
    nsec_t t;

    (void)state;
    params = (struct link_params){
        .delay = 10 * MS, .per_byte = 80, .queue = 30 * 1514 * 80}; /* 100 Mbit/s */
    t = transfer(1, 20 << 20, 0, 60 * SEC);
    print_message("20 MiB at 100 Mbit/s, 20 ms, a queue of 30: %lld ms\n", (long long)(t / MS));
    assert_true(t < 3200 * MS); /* ACKs share the queue here */
}

static void long_fat_pipe(void **state)
{
    nsec_t t;

    (void)state;
    params =
        (struct link_params){.delay = 50 * MS, .per_byte = 8, .queue = 100 * MS}; /* 1 Gbit/s */
    t = transfer(1, 50 << 20, 0, 60 * SEC);
    print_message("50 MiB at 1 Gbit/s, 100 ms: %lld ms\n", (long long)(t / MS));
    assert_true(t < 6 * SEC);
}

static void netem_1_percent(void **state)
{
    nsec_t t;

    (void)state;
    params = (struct link_params){
        .delay = MS / 2, .per_byte = 8, .queue = 50 * MS, .loss = 10, .duplicate = 1};
    t = transfer(1, 20 << 20, 1 << 20, 120 * SEC);
    print_message("20 MiB, 1 %% loss, 1 ms: %lld ms\n", (long long)(t / MS));
    print_counters();
    assert_true(t < 20 * SEC);
}

static void many_seeds(void **state)
{
    const char *more = getenv("TCP_SEEDS");
    uint64_t n = more ? strtoull(more, NULL, 10) : 300, first = more ? 1000 : 1;
    nsec_t worst = 0;

    (void)state;
    for (uint64_t seed = first; seed < first + n; seed++) {
        nsec_t t;

        rng = seed;
        params = (struct link_params){
            .delay = random_below(40) * MS + 100,
            .jitter = random_below(3) ? 0 : random_below(20) * MS,
            .loss = random_below(3) ? random_below(100) : 0,
            .duplicate = random_below(2) ? random_below(100) : 0,
            .damage = random_below(4) ? 0 : random_below(30),
            .per_byte = random_below(2) ? random_below(2000) : 0,
            .queue = 20 * MS + random_below(100) * MS,
        };
        net_tunables.sack = random_below(4) != 0;
        net_tunables.timestamps = random_below(4) != 0;
        net_tunables.window_scaling = random_below(4) != 0;
        net_tunables.ecn = random_below(2) ? 1 : 2;
        t = transfer(seed, 1 + random_below(300000), random_below(100000), 600 * SEC);
        worst = MAX(worst, t);
    }
    net_tunables.sack = net_tunables.timestamps = net_tunables.window_scaling = true;
    net_tunables.ecn = 2;
    print_message("%llu seeds, the slowest took %lld s\n", (unsigned long long)n,
                  (long long)(worst / SEC));
}

/* A path without offloads and one with all of them, of another MTU: nothing is lost, nothing is
 * sent that the path cannot send. */
static void a_hundred_switches(void **state)
{
    static const struct path_ops checked = {
        .transmit = checked_transmit, .flush = peer_flush, .detach = peer_detach};
    const struct path_ops *before = peer_path.ops;
    struct netif *n = netif_by_name("eth0");
    uint64_t retrans = net_stat_read(NET_Tcp_RetransSegs);

    (void)state;
    for (unsigned mtu = 1500; mtu <= 9000; mtu += 7500) {
        peer_path.ops = &checked;
        other_path =
            (struct net_path){.ops = &checked,
                              .kind = PATH_SERVER,
                              .mtu = (uint16_t)mtu,
                              .queues = 2,
                              .features = PATH_SG | PATH_CSUM | PATH_TSO4 | PATH_TSO6 | PATH_USO,
                              .link_up = true,
                              .name = "other"};
        memcpy(other_path.mac, our_mac, 6);
        assert_int_equal(netif_register_path(&other_path), 0);
        assert_ptr_equal(n->path, &peer_path);
        params = (struct link_params){.delay = MS, .per_byte = 80, .queue = 200 * MS};
        switches = 0;
        switch_every = 20 * MS;
        transfer(7 + mtu, 20 << 20, 4 << 20, 60 * SEC);
        switch_every = 0;
        print_message("%u switches\n", switches);
        assert_true(switches >= 100);
        if (mtu == 1500) /* no segment was lost; with another MTU some are in flight too long */
            assert_int_equal(net_stat_read(NET_Tcp_RetransSegs), retrans);
        netif_prefer(n, PATH_DIRECT);
        netif_detach_path(n, &other_path);
        peer_path.ops = before;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hundred_switches, link_setup, link_teardown),
        cmocka_unit_test_setup_teardown(clean_link, link_setup, link_teardown),
        cmocka_unit_test_setup_teardown(short_queue, link_setup, link_teardown),
        cmocka_unit_test_setup_teardown(long_fat_pipe, link_setup, link_teardown),
        cmocka_unit_test_setup_teardown(netem_1_percent, link_setup, link_teardown),
        cmocka_unit_test_setup_teardown(many_seeds, link_setup, link_teardown),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
