/* Send buffers of datagram sockets: who has to wait, until when, and that every byte comes back. */
#include "test_net_util.h"

#include "core/thread.h"
#include "fs/file.h"
#include "net/dgram.h"
#include "net/gso.h"

#define SIOCOUTQ 0x5411
#define SO_SNDBUF 7
#define SO_SNDBUFFORCE 32
#define PAYLOAD 1000

static uint8_t payload[65000];

/* The neighbours are known, and the path takes everything. */
static void ready(void)
{
    wire.room = ~0u;
    learn_peer("10.0.0.2", peer_mac);
    learn_peer6("2001:db8::2", peer_mac);
}

static struct socket *udp(const char *peer)
{
    struct socket *s;
    ready();
    assert_int_equal(socket_create(strchr(peer, ':') ? 6 : 4, 2, 0, &s), 0);
    assert_int_equal(sock_connect(s, peer, 9), 0);
    return s;
}

static int outq(struct socket *s)
{
    int v = -1;
    assert_int_equal(s->ops->ioctl(s, SIOCOUTQ, &v), 0);
    return v;
}

static bool writable(struct socket *s)
{
    return s->ops->poll(s) & POLL_OUT;
}

/* The path takes n packets more. */
static void give_room(unsigned n)
{
    wire.room = n;
    path_tx_ready(&wire.path, 0);
    settle();
}

/* Datagrams until EAGAIN. */
static unsigned fill(struct socket *s)
{
    unsigned n = 0;
    ssize_t r;

    while ((r = sock_send(s, payload, PAYLOAD, NULL, 0)) == PAYLOAD)
        n++;
    assert_int_equal(r, -EAGAIN);
    return n;
}

/* --- a thread that sends and blocks ----------------------------------------------------------- */

static struct {
    struct socket *s;
    unsigned sent, left;
    ssize_t result;
    bool done;
} job;

static ssize_t send_blocking(struct socket *s)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, payload, PAYLOAD);
    return s->ops->send(s, &u, NULL, 0);
}

static void sender(void *arg)
{
    (void)arg;
    for (; job.left; job.left--, job.sent++) {
        job.result = send_blocking(job.s);
        if (job.result != PAYLOAD)
            break;
    }
    job.done = true;
    thread_exit();
}

static void start_sender(struct socket *s, unsigned n)
{
    memset(&job, 0, sizeof(job));
    job.s = s;
    job.left = n;
    assert_int_equal(thread_create(NULL, sender, NULL, "sender"), 0);
    settle();
}

static void test_sender_sleeps_until_half_is_free(void **state)
{
    struct socket *s = udp("10.0.0.2");

    (void)state;
    wire.room = 0;
    start_sender(s, 200);
    unsigned full = job.sent;
    assert_false(job.done);
    assert_true((uint32_t)outq(s) >= s->sndbuf);
    unsigned each = (unsigned)outq(s) / full;
    assert_int_equal(full, (s->sndbuf + each - 1) / each);

    give_room(full / 2 - 2);
    assert_int_equal(job.sent, full); /* not for a few */
    give_room(4);
    assert_in_range(job.sent, full + full / 2 - 2, full + full / 2 + 4);
    assert_false(job.done);
    give_room(1000);
    assert_true(job.done);
    assert_int_equal(job.sent, 200);
    assert_int_equal(wire.count, 200);
    assert_int_equal(outq(s), 0);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_nonblocking(void **state)
{
    struct socket *s = udp("2001:db8::2");
    uint64_t errors = net_stat_read(NET_Udp_SndbufErrors);

    (void)state;
    wire.room = 0;
    assert_true(writable(s));
    unsigned n = fill(s);
    assert_int_equal(net_stat_read(NET_Udp_SndbufErrors), errors + 1);
    assert_false(writable(s));
    give_room(1);
    assert_false(writable(s)); /* room for one, yet less than half */
    assert_int_equal(sock_send(s, payload, PAYLOAD, NULL, 0), PAYLOAD);
    give_room(n / 2 + 1);
    assert_true(writable(s));
    give_room(1000);
    assert_int_equal(outq(s), 0);
    assert_int_equal(wire.count, n + 1);
    wire_clear(&wire);
    s->ops->close(s);
}

static unsigned wakes, wake_keys;
static bool on_wake(struct wait_entry *e, unsigned key)
{
    (void)e;
    wakes++;
    wake_keys |= key;
    return true;
}

static void test_pollers_are_woken_once(void **state)
{
    struct socket *s = udp("10.0.0.2");
    struct wait_entry e = {.callback = on_wake};

    (void)state;
    wire.room = 0;
    wait_add(&s->wait, &e);
    fill(s); /* its EAGAIN asks as well as poll would */
    give_room(1000);
    assert_int_equal(wakes, 1);
    assert_int_equal(wake_keys, POLL_OUT | POLL_WRNORM);
    wire.room = 0;
    sock_send(s, payload, PAYLOAD, NULL, 0);
    give_room(1000);
    assert_int_equal(wakes, 1); /* nobody asked */
    /* A larger buffer is room too. */
    wire.room = 0;
    fill(s);
    assert_int_equal(set_int(s, 1, SO_SNDBUFFORCE, 1 << 20), 0);
    assert_int_equal(wakes, 2);
    assert_true(writable(s));
    wait_remove(&e);
    give_room(1000);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_sndbuf_is_honoured(void **state)
{
    struct socket *s = udp("10.0.0.2");

    (void)state;
    wire.room = 0;
    assert_int_equal(set_int(s, 1, SO_SNDBUF, 1), 0);
    assert_in_range(fill(s), 2, 4);
    assert_int_equal(set_int(s, 1, SO_SNDBUF, 20000), 0);
    unsigned n = fill(s);
    assert_in_range(outq(s), 40000, 42000);
    assert_in_range(n, 10, 25);
    give_room(1000);
    /* What is larger than the buffer goes out alone. */
    assert_int_equal(set_int(s, 1, SO_SNDBUF, 1), 0);
    wire.room = 0;
    assert_int_equal(sock_send(s, payload, 60000, NULL, 0), 60000);
    assert_int_equal(sock_send(s, payload, 1, NULL, 0), -EAGAIN);
    assert_int_equal(sock_send(s, payload, 65508, NULL, 0), -EMSGSIZE);
    give_room(1000);
    assert_int_equal(outq(s), 0);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_timeout(void **state)
{
    struct socket *s = udp("10.0.0.2");

    (void)state;
    wire.room = 0;
    fill(s);
    s->snd_timeout = 100 * MS;
    nsec_t start = time_now();
    assert_int_equal(send_blocking(s), -EAGAIN);
    assert_true(time_now() - start >= 100 * MS);
    give_room(1000);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_sleeper_is_told_of_errors(void **state)
{
    struct socket *s = udp("10.0.0.2");

    (void)state;
    wire.room = 0;
    fill(s);
    start_sender(s, 1);
    assert_false(job.done);
    s->error = ECONNREFUSED;
    wake_up(&s->wait);
    settle();
    assert_int_equal(job.result, -ECONNREFUSED);
    assert_int_equal(s->error, 0);
    start_sender(s, 1);
    assert_false(job.done);
    assert_int_equal(s->ops->shutdown(s, 1), 0);
    settle();
    assert_int_equal(job.result, -EPIPE);
    give_room(1000);
    wire_clear(&wire);
    s->ops->close(s);
}

/* ASan knows if what the packets pay to is gone too early, or never. */
static void test_close_in_flight(void **state)
{
    size_t pages = floor_pages_in_use();
    struct socket *s = udp("10.0.0.2");

    (void)state;
    wire.room = 0;
    unsigned n = fill(s);
    assert_false(writable(s));
    s->ops->close(s);
    settle();
    give_room(n - 1);
    give_room(1);
    assert_int_equal(wire.count, n);
    wire_clear(&wire);
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_fragments(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        struct socket *s = udp(v6 ? "2001:db8::2" : "10.0.0.2");
        size_t pages = floor_pages_in_use();
        wire.room = 0;
        assert_int_equal(sock_send(s, payload, 20000, NULL, 0), 20000);
        int all = outq(s);
        assert_in_range(all, 20000 + 13 * sizeof(struct pkt), 20000 + 15 * sizeof(struct pkt));
        give_room(7);
        assert_in_range(outq(s), all / 2 - 3000, all / 2 + 3000);
        give_room(1000);
        assert_int_equal(outq(s), 0);
        assert_int_equal(wire.count, 14);
        wire_clear(&wire);
        assert_int_equal(floor_pages_in_use(), pages);
        /* Memory runs out at some fragment. */
        wire.room = ~0u;
        for (unsigned i = 1; i < 30; i++) {
            floor_fail_alloc(i);
            sock_send(s, payload, 20000, NULL, 0);
            floor_fail_alloc(0);
            assert_int_equal(outq(s), 0);
            wire_clear(&wire);
        }
        s->ops->close(s);
    }
}

static void test_segments_and_clones(void **state)
{
    struct socket *s = udp("10.0.0.2");
    struct dgram_socket *d = dgram_of(s);
    struct ip_flow f = {.dst = addr("10.0.0.2"), .proto = IPPROTO_UDP_N, .ttl = 64};
    uint8_t header[8] = {0, 9, 0, 9};
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    (void)state;
    wire.path.features = PATH_CSUM | PATH_SG | PATH_USO;
    view_touch();
    assert_int_equal(ip_route(&f), 0);
    pkt_append(p, header, 8);
    pkt_append_page(p, page_alloc(0, PAGE_ZERO), 0, 4000);
    send_buffer_charge(&d->sent, p);
    int one = outq(s);
    struct pkt *c = pkt_clone(p);
    assert_int_equal(outq(s), one);
    pkt_free(c);
    assert_int_equal(outq(s), one);
    p->gso = GSO_UDP;
    p->gso_size = 1000;
    ip_csum_partial(p, &f, 6);
    wire.path.features = PATH_CSUM | PATH_SG;
    wire.room = 0;
    net_batch_begin();
    assert_int_equal(ip_output(&f, p), 0);
    net_batch_end();
    assert_in_range(outq(s), one + 3 * sizeof(struct pkt), one + 4 * sizeof(struct pkt));
    give_room(3);
    assert_true(outq(s) > 1000);
    give_room(1000);
    assert_int_equal(outq(s), 0);
    wire_clear(&wire);
    view_touch();
    ip_flow_release(&f);
    s->ops->close(s);
}

static void test_dropped_and_unresolved(void **state)
{
    struct socket *s = udp("10.0.0.77"); /* nobody answers */

    (void)state;
    assert_int_equal(sock_send(s, payload, PAYLOAD, NULL, 0), PAYLOAD);
    assert_true(outq(s) > PAYLOAD);
    floor_advance(10 * SEC);
    assert_int_equal(outq(s), 0);
    s->ops->close(s);
    wire_clear(&wire);
    /* The backlog is full. */
    s = udp("10.0.0.2");
    assert_int_equal(set_int(s, 1, SO_SNDBUFFORCE, 8 << 20), 0);
    wire.room = 0;
    for (unsigned i = 0; i < 1024; i++)
        sock_send(s, payload, 1, NULL, 0);
    int full = outq(s);
    assert_int_equal(sock_send(s, payload, 1, NULL, 0), 1);
    assert_int_equal(outq(s), full);
    for (int i = 0; i < 8; i++) {
        give_room(128);
        wire_clear(&wire);
    }
    assert_int_equal(outq(s), 0);
    wire.room = ~0u;
    s->ops->close(s);
}

static void test_raw_socket(void **state)
{
    struct socket *s;

    (void)state;
    ready();
    assert_int_equal(socket_create(4, 3, 200, &s), 0);
    assert_int_equal(sock_connect(s, "10.0.0.2", 0), 0);
    wire.room = 0;
    unsigned n = fill(s);
    assert_false(writable(s));
    give_room(1000);
    assert_int_equal(wire.count, n);
    assert_true(writable(s));
    assert_int_equal(outq(s), 0);
    wire_clear(&wire);
    s->ops->close(s);
}

static void test_oneself_never_waits(void **state)
{
    (void)state;
    for (int v6 = 0; v6 < 2; v6++) {
        const char *ip = v6 ? "::1" : "127.0.0.1";
        struct socket *s;
        assert_int_equal(socket_create(v6 ? 6 : 4, 2, 0, &s), 0);
        assert_int_equal(sock_bind(s, ip, 6100), 0);
        assert_int_equal(sock_connect(s, ip, 6100), 0);
        assert_int_equal(set_int(s, 1, SO_SNDBUF, 1), 0);
        net_batch_begin(); /* nothing is delivered meanwhile */
        for (int i = 0; i < 100; i++)
            assert_int_equal(sock_send_only(s, payload, 10000, NULL, 0), 10000);
        net_batch_end();
        settle();
        assert_int_equal(outq(s), 0);
        /* Fragments that wait to be put together (IPv6: longer than the loopback's MTU). */
        assert_int_equal(sock_send(s, payload, 65000, NULL, 0), 65000);
        start_sender(s, 50);
        assert_true(job.done);
        assert_int_equal(job.sent, 50);
        s->ops->close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sender_sleeps_until_half_is_free),
        cmocka_unit_test(test_nonblocking),
        cmocka_unit_test(test_pollers_are_woken_once),
        cmocka_unit_test(test_sndbuf_is_honoured),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_sleeper_is_told_of_errors),
        cmocka_unit_test(test_close_in_flight),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_segments_and_clones),
        cmocka_unit_test(test_dropped_and_unresolved),
        cmocka_unit_test(test_raw_socket),
        cmocka_unit_test(test_oneself_never_waits),
    };

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
