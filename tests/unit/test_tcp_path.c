/* TCP: paths that segment, IPv6, packets in pieces, path MTU, scarce memory and hostile peers. */
#include "tcp_peer.h"

#include "net/ipimpl.h"

#define MSS 1448u
#define MSS6 1428u

static char buf[200000];
static uint64_t memory_before;

static int open_connection(bool v6, uint32_t features)
{
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 7 + i / 251);
    peer_begin(NULL);
    memory_before = tcp_memory_held();
    peer_path.features = features;
    open_from_peer(v6, true, true);
    set_opt(sock, 1, 1);
    return 0;
}

static int plain4(void **state)
{
    (void)state;
    return open_connection(false, 0);
}
static int plain6(void **state)
{
    (void)state;
    return open_connection(true, 0);
}
static int segmenting4(void **state)
{
    (void)state;
    return open_connection(false, PATH_SG | PATH_CSUM | PATH_TSO4);
}
static int segmenting6(void **state)
{
    (void)state;
    return open_connection(true, PATH_SG | PATH_CSUM | PATH_TSO6);
}

static int end_connection(void **state)
{
    inject_linear = 0;
    inject_fragments = false;
    disconnect(state);
    peer_path.features = 0;
    assert_int_equal(tcp_memory_held(), memory_before);
    return 0;
}

/* --- paths that segment ----------------------------------------------------------------------- */

static void a_burst_is_one_packet(void **state)
{
    uint32_t mss = peer.v6 ? MSS6 : MSS;

    (void)state;
    assert_int_equal(send_bytes(sock, buf, 8 * mss, 0), 8 * mss);
    expect(&peer, ACK, 1, 8 * mss, 1);
    assert_memory_equal(last_rx.data, buf, 8 * mss);
    expect_none(&peer);
    tx(&peer, ACK, 1, 1 + 8 * mss, NULL, 0);
    assert_int_equal(tcp_flight(tcp_of(sock)), 0);
}

static void a_hole_in_a_burst_is_one_segment(void **state)
{
    uint32_t mss = peer.v6 ? MSS6 : MSS;

    (void)state;
    assert_int_equal(send_bytes(sock, buf, 8 * mss, 0), 8 * mss);
    expect(&peer, ACK, 1, 8 * mss, 1);
    pass(5 * MS);
    tx_sack(&peer, 1, 1, 1, 1 + 3 * mss, 1 + 8 * mss);
    pass(5 * MS);
    tx_sack(&peer, 1, 1 + 2 * mss, 1, 1 + 3 * mss, 1 + 8 * mss);
    drain(&peer);
    pass(50 * MS);
    drain(&peer);
    tx(&peer, ACK, 1, 1 + 8 * mss, NULL, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
    assert_int_equal(tcp_of(sock)->segs, 0);
    assert_in_range(tcp_of(sock)->total_retrans, 1, 3);
}

static void bulk_stays_in_order(void **state)
{
    uint32_t got = 0, sent = 0;

    (void)state;
    while (got < sizeof(buf)) {
        ssize_t n = send_bytes(sock, buf + sent, sizeof(buf) - sent, 0);

        sent += n > 0 ? (uint32_t)n : 0;
        while (pending(&peer)) {
            struct seg *g = rx(&peer);

            assert_int_equal(g->seq - peer.local_iss, 1 + got);
            assert_memory_equal(g->data, buf + got, g->len);
            got += g->len;
        }
        pass(MS);
        tx(&peer, ACK, 1, 1 + got, NULL, 0);
    }
    assert_int_equal(got, sizeof(buf));
    assert_int_equal(tcp_of(sock)->total_retrans, 0);
}

/* --- IPv6 ------------------------------------------------------------------------------------- */

static void rfc9293_3_5_passive_open_ipv6(void **state)
{
    char got[100];

    (void)state;
    assert_int_equal(tcp_of(sock)->mss, MSS6);
    assert_int_equal(tcp_of(sock)->advmss, 1440);
    tx(&peer, ACK | PSH, 1, 1, "hello", 5);
    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), 5);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(send_bytes(sock, "world", 5, 0), 5);
    expect(&peer, ACK, 1, 5, 6);
    assert_true(last_rx.v6);
    tx(&peer, ACK | FIN, 6, 6, NULL, 0);
    pass(50 * MS);
    expect(&peer, ACK, 6, 0, 7);
    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), 0);
}

static void rfc9293_3_5_active_open_ipv6(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s;

    (void)state;
    p.v6 = true;
    s = peer_accept(&p);
    assert_int_equal(tcp_of(s)->mss, MSS6);
    assert_int_equal(send_bytes(s, buf, 3 * MSS6, 0), 3 * MSS6);
    for (uint32_t i = 0; i < 3; i++)
        expect(&p, ACK, 1 + i * MSS6, MSS6, 1);
    kill_socket(s);
    assert_int_equal(rx(&p)->flags, RST | ACK);
}

static void rfc9293_3_10_7_1_closed_port_answers_rst_ipv6(void **state)
{
    struct peer p = new_peer(1);

    (void)state;
    p.v6 = true;
    tx(&p, SYN, 0, 0, NULL, 0);
    assert_int_equal(rx(&p)->flags, RST | ACK);
    assert_int_equal(last_rx.ack, p.iss + 1);
}

static void rfc6675_5_loss_is_repaired_ipv6(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, 6 * MSS6, 0), 6 * MSS6);
    assert_int_equal(drain(&peer), 6 * MSS6);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, 1 + MSS6, 1 + 6 * MSS6);
    pass(20 * MS);
    do /* a loss probe may come first */
        rx(&peer);
    while (last_rx.seq != peer.local_iss + 1);
    assert_int_equal(last_rx.len, MSS6);
    assert_memory_equal(last_rx.data, buf, MSS6);
    drain(&peer);
    tx(&peer, ACK, 1, 1 + 6 * MSS6, NULL, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc3168_6_1_marks_without_negotiation_ipv6(void **state)
{
    (void)state;
    peer.ce = true; /* not negotiated: no echo */
    tx(&peer, ACK, 1, 1, "x", 1);
    pass(100 * MS);
    assert_false(rx(&peer)->flags & TH_ECE);
}

/* --- packets in pieces ------------------------------------------------------------------------ */

static void receives_text(const char *text, uint32_t at)
{
    char got[2000];
    uint32_t n = (uint32_t)strlen(text);

    tx(&peer, ACK | PSH, at, 1, text, n);
    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), n);
    assert_memory_equal(got, text, n);
}

static void header_across_pages(void **state)
{
    uint32_t at = 1;

    (void)state;
    for (inject_linear = 1; inject_linear < 80; inject_linear++) {
        receives_text("headers end anywhere", at);
        at += 20;
    }
}

static void segment_in_ip_fragments(void **state)
{
    static char text[1300];

    (void)state;
    inject_fragments = true;
    memset(text, 'f', sizeof(text) - 1);
    receives_text(text, 1);
    receives_text("short", 1 + sizeof(text) - 1);
}

static void large_merged_packet(void **state)
{
    static char got[70000];

    (void)state;
    tx(&peer, ACK | PSH, 1, 1, buf, 40000);
    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), 40000);
    assert_memory_equal(got, buf, 40000);
    expect(&peer, ACK, 1, 0, 40001);
}

/* --- path MTU --------------------------------------------------------------------------------- */

static void rfc1191_6_smaller_path(void **state)
{
    uint32_t got = 0;

    (void)state;
    assert_int_equal(send_bytes(sock, buf, 6 * MSS, 0), 6 * MSS);
    assert_int_equal(drain(&peer), 6 * MSS); /* and a router drops them */
    pass(5 * MS);
    inject_too_big(&peer, 1, 1000);
    assert_int_equal(tcp_of(sock)->mss, 1000 - 40 - 12);
    for (int i = 0; got < 6 * MSS && i < 100; i++) { /* sent again at once, small */
        while (pending(&peer)) {
            struct seg *g = rx(&peer);

            assert_in_range(g->len, 1, 948);
            assert_int_equal(g->seq - peer.local_iss, 1 + got);
            assert_memory_equal(g->data, buf + got, g->len);
            got += g->len;
        }
        pass(MS);
        tx(&peer, ACK, 1, 1 + got, NULL, 0);
    }
    assert_int_equal(got, 6 * MSS);
    assert_int_equal(tcp_of(sock)->backoff, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc5927_7_too_big_for_what_was_not_sent(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, MSS, 0), MSS);
    drain(&peer);
    inject_too_big(&peer, 0x20000000, 900);
    assert_int_equal(tcp_of(sock)->total_retrans, 0);
    /* Nor are later connections slowed down. */
    assert_true(pmtu_lookup(&tcp_of(sock)->flow.dst, 1500) > 900);
    tx(&peer, ACK, 1, 1 + MSS, NULL, 0);
}

/* --- scarce memory ---------------------------------------------------------------------------- */

static uint64_t set_limit(uint64_t limit)
{
    uint64_t old = tcp_memory_limit;

    tcp_memory_limit = limit;
    tcp_memory_update();
    return old;
}

static void memory_low_keeps_windows_small(void **state)
{
    uint64_t old = set_limit(2 * tcp_memory_held() + 1);

    (void)state;
    set_limit(1 << 20);
    tx(&peer, ACK, 1, 1, buf, 1000);
    set_limit(2 * tcp_memory_held() - 2);
    assert_int_equal(tcp_memory(), TCP_MEMORY_LOW);
    assert_in_range(tcp_select_window(tcp_of(sock)), 0, 1u << 17); /* what was told stands */
    set_limit(old);
    assert_int_equal(tcp_memory(), TCP_MEMORY_OK);
}

static void memory_full_takes_what_gets_a_reader_on(void **state)
{
    char got[4000];
    uint64_t old = tcp_memory_limit;
    struct peer other = new_peer(peer.lport);

    (void)state;
    set_limit(0);
    assert_int_equal(tcp_memory(), TCP_MEMORY_FULL);
    tx(&peer, ACK, 1, 1, buf, 1000);
    tx(&peer, ACK, 1001, 1, buf + 1000, 1000); /* dropped: there is something to read */
    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), 1000);
    tx(&peer, ACK, 1001, 1, buf + 1000, 1000);
    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), 1000);
    assert_memory_equal(got, buf + 1000, 1000);
    tx(&other, SYN, 0, 0, NULL, 0);
    expect_none(&other);
    set_limit(old);
}

static void memory_full_limits_writers(void **state)
{
    uint64_t old = tcp_memory_limit;

    (void)state;
    set_limit(0);
    assert_in_range(send_bytes(sock, buf, sizeof(buf), 0), 1, TCP_SCARCE_BUFFER);
    assert_int_equal(send_bytes(sock, buf, 1, 0), -EAGAIN);
    assert_int_equal(tcp_poll(sock) & POLL_OUT, 0);
    set_limit(old);
    assert_true(send_bytes(sock, buf, sizeof(buf), 0) > 0);
}

static void a_writer_reclaims(void **state)
{
    bool failed = false;

    (void)state;
    for (unsigned n = 1; n < 12; n++) { /* each allocation fails in turn */
        floor_reclaimable(1);
        floor_fail_alloc(n);
        ssize_t sent = send_bytes(sock, buf, 40000, 0);
        floor_fail_alloc(0);
        assert_true(sent > 0);
        for (int i = 0; i < 50; i++) {
            uint32_t at = tcp_of(sock)->snd_nxt - peer.local_iss;

            drain(&peer);
            tx(&peer, ACK, 1, at, NULL, 0);
            pass(MS);
        }
        assert_int_equal(tcp_queued(tcp_of(sock)), 0);
    }
    floor_reclaimable(0);
    for (unsigned n = 1; n < 4; n++) {
        floor_fail_alloc(n);
        failed |= send_bytes(sock, buf, 10, 0) == -ENOMEM;
        floor_fail_alloc(0);
    }
    assert_true(failed || tcp_queued(tcp_of(sock)));
    drain(&peer);
}

static void orphans_go_when_memory_is_full(void **state)
{
    uint64_t old = tcp_memory_limit;
    struct peer p = new_peer(listener->local.port);
    struct socket *s = peer_connect(&p, listener);

    (void)state;
    assert_int_equal(send_bytes(s, buf, 4000, 0), 4000);
    s->ops->close(s);
    drain(&p);
    set_limit(0);
    pass(2 * SEC);
    set_limit(old);
    while (pending(&p))
        rx(&p);
    assert_true(last_rx.flags & RST);
}

static void tiny_writes_do_not_make_crumbs_without_end(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    for (int i = 0; i < 9000; i++)
        assert_int_equal(send_bytes(sock, buf + i, 1, 0), 1);
    assert_in_range(t->segs, 1, TCP_MANY_SEGS + 8);
    uint32_t got = drain(&peer);
    for (int i = 0; got < 9000 && i < 100; i++) {
        tx(&peer, ACK, 1, 1 + got, NULL, 0);
        pass(MS);
        got += drain(&peer);
    }
    assert_int_equal(got, 9000);
    tx(&peer, ACK, 1, 9001, NULL, 0);
    assert_int_equal(t->segs, 0);
}

/* --- hostile peers ---------------------------------------------------------------------------- */

static void rfc7323_4_1_echoed_time_from_the_future(void **state)
{
    struct tcp *t = tcp_of(sock);
    nsec_t rto;

    (void)state;
    pass(100 * MS);
    assert_int_equal(send_bytes(sock, buf, 100, 0), 100);
    drain(&peer);
    pass(2 * SEC); /* sent again: Karn leaves only the timestamps */
    drain(&peer);
    rto = t->rto;
    peer.tsecr += 5000;
    tx(&peer, ACK, 1, 101, NULL, 0);
    assert_int_equal(tcp_flight(t), 0);
    assert_true(t->rto <= rto);
}

static void rfc7323_5_3_bad_ack_does_not_move_the_clock(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t recent = t->ts_recent;

    (void)state;
    peer.tsval = recent + 0x100000;
    tx(&peer, ACK, 1, 0x40000000, "x", 1);
    assert_int_equal(t->ts_recent, recent);
    drain(&peer);
    peer.tsval = recent + 1;
    receives_text("still here", 1);
}

static void rfc6298_5_5_backoff_does_not_overflow(void **state)
{
    struct tcp *t = tcp_of(sock);
    nsec_t rto = t->rto;

    (void)state;
    t->rto = TCP_RTO_MAX;
    for (unsigned n = 0; n < 256; n++)
        assert_int_equal(tcp_backoff(t, n), TCP_RTO_MAX);
    t->rto = TCP_RTO_MIN;
    assert_int_equal(tcp_backoff(t, 2), 4 * TCP_RTO_MIN);
    assert_int_equal(tcp_backoff(t, 12), TCP_RTO_MAX);
    t->rto = rto;
}

/* An hour of window probes; `alive`: the peer answers them. */
static void probe_for_an_hour(bool alive)
{
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, buf, 1000, 0), 1000);
    for (int i = 0; i < 360 && tcp_of(sock)->state != TCP_CLOSE; i++) {
        floor_advance(10 * SEC);
        settle();
        if (pending(&peer)) {
            drain(&peer);
            if (alive)
                tx(&peer, ACK, 1, 1, NULL, 0);
        }
    }
}

static void rfc9293_3_8_6_1_answered_probes_go_on(void **state)
{
    (void)state;
    probe_for_an_hour(true);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    peer.win = 65535;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(drain(&peer), 1000);
    tx(&peer, ACK, 1, 1001, NULL, 0);
}

static void rfc9293_3_8_6_1_unanswered_probes_end(void **state)
{
    (void)state;
    probe_for_an_hour(false);
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE);
    assert_int_equal(take_error(sock), ETIMEDOUT);
}

static void rfc1337_2_syn_nobody_listens_for_leaves_time_wait(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s;
    uint32_t waiting;

    (void)state;
    s = peer_accept(&p);
    s->ops->close(s);
    expect(&p, FIN | ACK, 1, 0, 1);
    tx(&p, FIN | ACK, 1, 2, NULL, 0);
    expect(&p, ACK, 2, 0, 2);
    waiting = tcp_tw_count();
    tx(&p, SYN, 0x1000, 0, NULL, 0);
    assert_true(rx(&p)->flags & RST);
    assert_int_equal(tcp_tw_count(), waiting);
}

/* A connection between the only port there is and the peer's, which is closed on our side first. */
static struct peer through_one_port(void)
{
    struct peer p = new_peer(0);
    struct socket *s;

    net_tunables.port_min = net_tunables.port_max = 41000;
    s = peer_accept(&p);
    s->ops->close(s);
    expect(&p, FIN | ACK, 1, 0, 1);
    tx(&p, FIN | ACK, 1, 2, NULL, 0);
    expect(&p, ACK, 2, 0, 2);
    return p;
}

static int again(struct peer *p)
{
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p->port};
    struct socket *s = new_socket_of(4);
    int err = s->ops->connect(s, &a, true);

    kill_socket(s);
    return err;
}

static void rfc6191_2_active_open_reuses_time_wait(void **state)
{
    struct peer p = through_one_port();
    uint32_t waiting = tcp_tw_count();
    struct seg *g;

    (void)state;
    assert_int_equal(again(&p), -EADDRNOTAVAIL); /* the peer's clock may not have moved */
    pass(2 * SEC);
    assert_int_equal(again(&p), -EINPROGRESS);
    g = rx(&p);
    assert_int_equal(g->flags, SYN);
    assert_true(g->seq - p.local_iss > 65536 && g->seq - p.local_iss < 70000);
    assert_int_equal(tcp_tw_count(), waiting - 1);
    net_tunables.port_min = 32768;
    net_tunables.port_max = 60999;
}

static void rfc6191_2_reuse_of_time_wait_can_be_refused(void **state)
{
    struct peer p = through_one_port();

    (void)state;
    net_tunables.tw_reuse = 2; /* on the loopback interface only */
    pass(2 * SEC);
    assert_int_equal(again(&p), -EADDRNOTAVAIL);
    net_tunables.tw_reuse = 1;
    net_tunables.port_min = 32768;
    net_tunables.port_max = 60999;
}

static void rfc9293_3_1_options_of_all_kinds(void **state)
{
    static const uint8_t bad[][12] = {
        {8, 10, 0, 0},          /* cut off */
        {3, 0, 3, 0},           /* length 0 */
        {5, 3, 1, 1},           /* SACK of one byte */
        {1, 1, 1, 8},           /* kind without length */
        {254, 255, 0, 0},       /* beyond the header */
        {5, 10, 0xff, 0xff, 0}, /* half a block */
        {0, 8, 10, 0},          /* behind the end of the list */
    };

    (void)state;
    peer.ts = false;
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        inject_raw(&peer, ACK, peer.iss + 1, peer.local_iss + 1, NULL, 0, bad[i], 12, false);
        settle();
        assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    }
    drain(&peer);
}

static void rfc2018_5_crumbs_of_blocks(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    assert_int_equal(send_bytes(sock, buf, 10 * MSS, 0), 10 * MSS);
    drain(&peer);
    for (uint32_t at = 2; at + 3 < 10 * MSS; at += 97)
        tx_sack(&peer, 1, 1, 1, at, at + 1);
    assert_in_range(t->segs, 1, 20); /* cut at multiples of the MSS only */
    assert_int_equal(t->sacked_out, 0);
    drain(&peer);
    tx(&peer, ACK, 1, 1 + 10 * MSS, NULL, 0);
}

#define CASE(f, setup) cmocka_unit_test_setup_teardown(f, setup, end_connection)
#define BOTH(f, setup)                                                                             \
    {#f " over IPv4", f, setup##4, end_connection, NULL},                                          \
    {                                                                                              \
#f " over IPv6", f, setup##6, end_connection, NULL                                         \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_burst_is_one_packet, segmenting),
        BOTH(a_hole_in_a_burst_is_one_segment, segmenting),
        BOTH(bulk_stays_in_order, segmenting),
        {"bulk without segmentation over IPv4", bulk_stays_in_order, plain4, end_connection, NULL},
        {"bulk without segmentation over IPv6", bulk_stays_in_order, plain6, end_connection, NULL},
        CASE(rfc9293_3_5_passive_open_ipv6, plain6),
        CASE(rfc9293_3_5_active_open_ipv6, plain6),
        CASE(rfc9293_3_10_7_1_closed_port_answers_rst_ipv6, plain6),
        CASE(rfc6675_5_loss_is_repaired_ipv6, plain6),
        CASE(rfc3168_6_1_marks_without_negotiation_ipv6, plain6),
        BOTH(header_across_pages, plain),
        CASE(segment_in_ip_fragments, plain4),
        BOTH(large_merged_packet, plain),
        CASE(rfc1191_6_smaller_path, plain4),
        CASE(rfc5927_7_too_big_for_what_was_not_sent, plain4),
        CASE(memory_low_keeps_windows_small, plain4),
        BOTH(memory_full_takes_what_gets_a_reader_on, plain),
        CASE(memory_full_limits_writers, plain4),
        CASE(a_writer_reclaims, plain4),
        CASE(orphans_go_when_memory_is_full, plain4),
        CASE(tiny_writes_do_not_make_crumbs_without_end, plain4),
        CASE(rfc7323_4_1_echoed_time_from_the_future, plain4),
        CASE(rfc7323_5_3_bad_ack_does_not_move_the_clock, plain4),
        CASE(rfc6298_5_5_backoff_does_not_overflow, plain4),
        CASE(rfc9293_3_8_6_1_answered_probes_go_on, plain4),
        CASE(rfc9293_3_8_6_1_unanswered_probes_end, plain4),
        CASE(rfc1337_2_syn_nobody_listens_for_leaves_time_wait, plain4),
        CASE(rfc6191_2_active_open_reuses_time_wait, plain4),
        CASE(rfc6191_2_reuse_of_time_wait_can_be_refused, plain4),
        CASE(rfc9293_3_1_options_of_all_kinds, plain4),
        CASE(rfc2018_5_crumbs_of_blocks, plain4),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
