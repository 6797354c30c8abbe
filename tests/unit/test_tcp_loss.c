/* TCP: loss recovery, congestion control, RTO, RACK-TLP, ECN, path MTU. */
#include "tcp_peer.h"

#define MSS 1448u

static char buf[200000];
static int setup(void **state)
{
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 7 + i / 251);
    return peer_setup(state);
}

/* Relative sequence number of the n-th full segment. */
static uint32_t nth(uint32_t n)
{
    return 1 + n * MSS;
}

/* Sends n full segments, which the peer gets, and makes an RTT of 20 ms known. */
static void flight(uint32_t n)
{
    assert_int_equal(send_bytes(sock, buf, n * MSS, 0), n * MSS);
    for (uint32_t i = 0; i < n; i++)
        expect(&peer, ACK, nth(i), MSS, 1);
    expect_none(&peer);
}

static void rfc6675_5_lost_head_is_retransmitted(void **state)
{
    (void)state;
    learn_rtt();
    flight(10);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(2));
    tx_sack(&peer, 1, 1, 1, nth(1), nth(3));
    expect_none(&peer);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(4));
    expect(&peer, ACK, nth(0), MSS, 1);
    assert_memory_equal(last_rx.data, buf, MSS);
    assert_int_equal(tcp_of(sock)->ca_state, CA_RECOVERY);
    tx(&peer, ACK, 1, nth(10), NULL, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
    assert_in_range(tcp_of(sock)->cwnd, 6 * MSS, 8 * MSS); /* CUBIC's beta is 0.7 */
}

static void rfc6675_5_several_holes_in_one_round_trip(void **state)
{
    (void)state;
    learn_rtt();
    flight(10);
    pass(20 * MS);
    /* 0, 2, 4 are lost */
    tx_sack(&peer, 1, 1, 1, nth(1), nth(2));
    tx_sack(&peer, 1, 1, 2, nth(3), nth(4), nth(1), nth(2));
    tx_sack(&peer, 1, 1, 3, nth(5), nth(6), nth(3), nth(4), nth(1), nth(2));
    tx_sack(&peer, 1, 1, 3, nth(5), nth(10), nth(3), nth(4), nth(1), nth(2));
    expect(&peer, ACK, nth(0), MSS, 1);
    expect(&peer, ACK, nth(2), MSS, 1);
    expect(&peer, ACK, nth(4), MSS, 1);
    expect_none(&peer);
    pass(20 * MS);
    tx(&peer, ACK, 1, nth(10), NULL, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc6582_3_2_partial_acks(void **state)
{
    uint32_t m = 1460;

    (void)state;
    assert_int_equal(send_bytes(sock, buf, 10 * m, 0), 10 * m);
    assert_int_equal(drain(&peer), 10 * m);
    pass(20 * MS);
    /* 0 and 3 are lost */
    for (int i = 0; i < 2; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    expect_none(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 1, m, 1);
    for (int i = 0; i < 5; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    drain(&peer);
    tx(&peer, ACK, 1, 1 + 3 * m, NULL, 0);
    expect(&peer, ACK, 1 + 3 * m, m, 1);
    assert_int_equal(tcp_of(sock)->ca_state, CA_RECOVERY);
    tx(&peer, ACK, 1, 1 + 10 * m, NULL, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
    assert_int_equal(tcp_of(sock)->sacked_out, 0);
}

static void rfc8985_6_2_reordering_is_waited_for(void **state)
{
    (void)state;
    learn_rtt();
    flight(4);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(2));
    expect_none(&peer);
    pass(2 * MS); /* less than min_rtt / 4 */
    tx(&peer, ACK, 1, nth(2), NULL, 0);
    expect_none(&peer);
    assert_true(tcp_of(sock)->rack_seen_reordering);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
}

static void rfc8985_6_3_reordering_timer(void **state)
{
    nsec_t t0;

    (void)state;
    learn_rtt();
    flight(4);
    pass(20 * MS);
    t0 = time_now();
    tx_sack(&peer, 1, 1, 1, nth(1), nth(2)); /* only one SACK, no third duplicate */
    expect_none(&peer);
    pass(20 * MS);
    expect(&peer, ACK, nth(0), MSS, 1);
    assert_in_range(last_rx.at - t0, 4 * MS, 7 * MS);
}

static void rfc8985_6_2_lost_retransmission_is_found(void **state)
{
    (void)state;
    learn_rtt();
    flight(10);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(4));
    expect(&peer, ACK, nth(0), MSS, 1); /* lost again */
    pass(20 * MS);
    /* New data, sent later, arrive. */
    tx_sack(&peer, 1, 1, 1, nth(1), nth(10));
    assert_int_equal(send_bytes(sock, buf, 3 * MSS, 0), 3 * MSS);
    assert_true(drain(&peer) >= MSS);
    pass(25 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(11));
    pass(10 * MS);
    expect(&peer, ACK, nth(0), MSS, 1);
    assert_int_equal(tcp_of(sock)->backoff, 0); /* no timeout was needed */
}

static void rfc8985_7_tail_loss_probe(void **state)
{
    nsec_t t0;

    (void)state;
    learn_rtt();
    t0 = time_now();
    flight(4);
    pass(100 * MS); /* the peer is silent */
    expect(&peer, ACK, nth(3), MSS, 1);
    assert_in_range(last_rx.at - t0, 30 * MS, 60 * MS);
    expect_none(&peer);
    tx_sack(&peer, 1, 1, 1, nth(3), nth(4)); /* 0, 1, 2 are missing */
    pass(10 * MS);
    expect(&peer, ACK, nth(0), MSS, 1);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    assert_int_equal(tcp_of(sock)->snd_una - peer.local_iss, nth(4));
}

static void rfc8985_7_probe_with_new_data(void **state)
{
    (void)state;
    learn_rtt();
    tcp_of(sock)->cwnd = 4 * MSS;
    assert_int_equal(send_bytes(sock, buf, 6 * MSS, 0), 6 * MSS);
    assert_int_equal(drain(&peer), 4 * MSS);
    pass(100 * MS);
    expect(&peer, ACK, nth(4), MSS, 1);
}

static void rfc8985_7_4_repaired_loss_reduces_the_window(void **state)
{
    uint32_t cwnd;

    (void)state;
    learn_rtt();
    flight(3);
    cwnd = tcp_of(sock)->cwnd;
    pass(100 * MS);
    expect(&peer, ACK, nth(2), MSS, 1);
    tx(&peer, ACK, 1, nth(3), NULL, 0); /* the original or the probe? */
    assert_true(tcp_of(sock)->tlp_active);
    assert_int_equal(send_bytes(sock, buf, MSS, 0), MSS);
    expect(&peer, ACK, nth(3), MSS, 1);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    assert_false(tcp_of(sock)->tlp_active);
    assert_true(tcp_of(sock)->ssthresh < cwnd);
}

static void rfc8985_7_4_dsack_shows_a_needless_probe(void **state)
{
    (void)state;
    learn_rtt();
    flight(3);
    pass(100 * MS);
    expect(&peer, ACK, nth(2), MSS, 1);
    tx(&peer, ACK, 1, nth(3), NULL, 0);
    tx_sack(&peer, 1, nth(3), 1, nth(2), nth(3));
    assert_false(tcp_of(sock)->tlp_active);
    assert_int_equal(tcp_of(sock)->ssthresh, UINT32_MAX);
}

static void rfc8985_7_4_dsack_of_something_else_ends_no_probe(void **state)
{
    (void)state;
    learn_rtt();
    flight(3);
    pass(100 * MS);
    expect(&peer, ACK, nth(2), MSS, 1);
    tx_sack(&peer, 1, nth(3), 1, nth(0), nth(1)); /* the network made a second one */
    assert_true(tcp_of(sock)->tlp_active);
}

static void rfc6298_5_timeout_and_backoff(void **state)
{
    nsec_t at[6], t0;

    (void)state;
    learn_rtt();
    t0 = time_now();
    assert_int_equal(send_bytes(sock, buf, 100, 0), 100);
    expect(&peer, ACK, 1, 100, 1);
    pass(15 * SEC);
    for (int i = 0; i < 5; i++) {
        expect(&peer, ACK, 1, 100, 1);
        at[i] = last_rx.at - t0;
    }
    assert_in_range(at[0], 200 * MS, 270 * MS);
    for (int i = 1; i < 5; i++)
        assert_in_range(at[i], at[i - 1] * 2, at[i - 1] * 2 + at[0] * 2);
    assert_int_equal(tcp_of(sock)->cwnd, MSS);
    tx(&peer, ACK, 1, 101, NULL, 0);
    assert_int_equal(tcp_of(sock)->backoff, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
}

static void rfc5681_3_1_timeout_retransmits_the_flight_in_slow_start(void **state)
{
    (void)state;
    learn_rtt();
    flight(8);
    pass(400 * MS);
    expect(&peer, ACK, nth(7), MSS, 1); /* probe */
    expect(&peer, ACK, nth(0), MSS, 1);
    expect_none(&peer);
    tx(&peer, ACK, 1, nth(1), NULL, 0);
    expect(&peer, ACK, nth(1), MSS, 1);
    expect(&peer, ACK, nth(2), MSS, 1);
    expect_none(&peer);
    tx(&peer, ACK, 1, nth(3), NULL, 0);
    assert_int_equal(drain(&peer), 4 * MSS);
    tx(&peer, ACK, 1, nth(8), NULL, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc9293_3_8_3_gives_up(void **state)
{
    (void)state;
    learn_rtt();
    set_opt(sock, 18, 5000); /* TCP_USER_TIMEOUT */
    assert_int_equal(send_bytes(sock, buf, 100, 0), 100);
    pass(20 * SEC);
    drain(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -ETIMEDOUT);
}

static void rfc3522_3_2_eifel_undoes_a_spurious_timeout(void **state)
{
    uint32_t cwnd, before;

    (void)state;
    learn_rtt();
    flight(8);
    cwnd = tcp_of(sock)->cwnd;
    before = last_rx.tsval;
    pass(400 * MS);
    drain(&peer);
    assert_int_equal(tcp_of(sock)->cwnd, MSS);
    peer.tsecr = before; /* the original arrived after all, late */
    tx(&peer, ACK, 1, nth(8), NULL, 0);
    assert_true(tcp_of(sock)->cwnd >= cwnd);
    assert_int_equal(tcp_of(sock)->ssthresh, UINT32_MAX);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
}

static void rfc2018_8_reneging(void **state)
{
    (void)state;
    learn_rtt();
    flight(4);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(4));
    expect(&peer, ACK, nth(0), MSS, 1);
    tx(&peer, ACK, 1, nth(1), NULL, 0); /* forgot 1 to 3 */
    pass(1 * SEC);
    assert_true(drain(&peer) >= MSS);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc2018_5_blocks_out_of_range_are_ignored(void **state)
{
    (void)state;
    learn_rtt();
    flight(4);
    tx_sack(&peer, 1, 1, 3, nth(50), nth(60), nth(3), nth(2), 0xf0000000u, nth(2));
    assert_int_equal(tcp_of(sock)->sacked_out, 0);
    tx_sack(&peer, 1, 1, 2, nth(1) + 7, nth(1) + 9, nth(2) + 1, nth(3) - 1);
    assert_int_equal(tcp_of(sock)->sacked_out, 0);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
}

static void rfc6937_3_sending_goes_on_in_recovery(void **state)
{
    uint32_t got;

    (void)state;
    learn_rtt();
    assert_int_equal(send_bytes(sock, buf, 100000, 0), 100000);
    assert_int_equal(drain(&peer), 10 * MSS);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(4));
    got = drain(&peer);
    assert_in_range(got, MSS, 4 * MSS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(10));
    got += drain(&peer);
    assert_in_range(got, 5 * MSS, 9 * MSS);
}

static void rfc5681_3_1_slow_start_doubles(void **state)
{
    uint32_t sent, acked = 1;

    (void)state;
    learn_rtt();
    assert_int_equal(send_bytes(sock, buf, 130000, 0), 130000);
    sent = drain(&peer);
    assert_int_equal(sent, 10 * MSS);
    pass(20 * MS);
    acked += sent;
    peer.win = 1 << 20;
    tx(&peer, ACK, 1, acked, NULL, 0);
    pass(2 * MS); /* no burst */
    sent = drain(&peer);
    assert_in_range(sent, 19 * MSS, 21 * MSS);
}

static void rfc5681_3_1_cubic_and_reno_can_be_chosen(void **state)
{
    char name[16];
    uint32_t len = sizeof(name);

    (void)state;
    assert_int_equal(sock->ops->getopt(sock, 6, 13, name, &len), 0);
    assert_string_equal(name, "cubic");
    assert_int_equal(sock->ops->setopt(sock, 6, 13, "reno", 4), 0);
    assert_int_equal(sock->ops->setopt(sock, 6, 13, "vegas", 5), -ENOENT);
    learn_rtt();
    flight(10);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(4));
    assert_int_equal(tcp_of(sock)->ssthresh, 5 * MSS);
    tx(&peer, ACK, 1, nth(10), NULL, 0);
}

static void rfc3168_6_1_marks_both_ways(void **state)
{
    struct socket *s;
    struct peer p = new_peer(listener->local.port);
    struct seg *g;

    (void)state;
    tx(&p, SYN | TH_ECE | TH_CWR, 0, 0, NULL, 0);
    g = rx(&p);
    assert_int_equal(g->flags, SYN | ACK | TH_ECE);
    p.local_iss = g->seq;
    tx(&p, ACK, 1, 1, NULL, 0);
    assert_int_equal(listener->ops->accept(listener, &s, true), 0);
    assert_int_equal(send_bytes(s, buf, 5 * MSS, 0), 5 * MSS);
    for (int i = 0; i < 5; i++) {
        g = rx(&p);
        assert_int_equal(g->ecn, 2);
    }
    tx(&p, ACK | TH_ECE, 1, nth(5), NULL, 0);
    assert_true(tcp_of(s)->ssthresh < 10 * MSS);
    assert_int_equal(send_bytes(s, buf, 10, 0), 10);
    assert_true(rx(&p)->flags & TH_CWR);
    /* The other way: congestion marks are echoed until CWR. */
    p.ce = true;
    tx(&p, ACK, 1, nth(5) + 10, "x", 1);
    g = rx(&p);
    assert_true(g->flags & TH_ECE);
    p.ce = false;
    tx(&p, ACK | TH_CWR, 2, nth(5) + 10, "y", 1);
    assert_int_equal(recv_bytes(s, buf, 10, 0), 2);
    pass(50 * MS);
    g = rx(&p);
    assert_false(g->flags & TH_ECE);
    kill_socket(s);
}

static void rfc5927_7_too_big_for_what_is_not_in_flight(void **state)
{
    uint8_t quoted[8];
    struct ip_addr us = ip_from_v4(US4), them = ip_from_v4(PEER4);

    (void)state;
    learn_rtt();
    flight(4);
    wr16(quoted, peer.lport);
    wr16(quoted + 2, peer.port);
    wr32(quoted + 4, peer.local_iss + 0x10000000); /* RFC 5927: not in flight */
    bh_disable();
    tcp_icmp_error(&us, &them, quoted, -EMSGSIZE, 1000);
    bh_enable();
    assert_int_equal(tcp_of(sock)->mss, MSS);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
}

static void rfc1122_4_2_3_9_unreachable_is_soft(void **state)
{
    uint8_t quoted[8];
    struct ip_addr us = ip_from_v4(US4), them = ip_from_v4(PEER4);

    (void)state;
    learn_rtt();
    flight(1);
    wr16(quoted, peer.lport);
    wr16(quoted + 2, peer.port);
    wr32(quoted + 4, peer.local_iss + 1);
    bh_disable();
    tcp_icmp_error(&us, &them, quoted, -EHOSTUNREACH, 0);
    bh_enable();
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    assert_int_equal(tcp_of(sock)->soft_error, EHOSTUNREACH);
    set_opt(sock, 18, 1000);
    pass(10 * SEC);
    drain(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EHOSTUNREACH);
}

static void rfc6298_5_path_change_probes_at_once(void **state)
{
    (void)state;
    learn_rtt();
    peer_deaf = true;
    assert_int_equal(send_bytes(sock, buf, 4 * MSS, 0), 4 * MSS);
    pass(10 * SEC);
    assert_true(tcp_of(sock)->backoff >= 4);
    peer_deaf = false;
    tcp_path_changed(NULL);
    assert_int_equal(rx(&peer)->seq - peer.local_iss, nth(0));
    assert_int_equal(tcp_of(sock)->mss, MSS);
    assert_int_equal(last_rx.len + drain(&peer), 4 * MSS); /* the outage was no congestion */
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc4821_7_7_blackhole_makes_segments_small(void **state)
{
    (void)state;
    learn_rtt();
    peer_deaf = true;
    assert_int_equal(send_bytes(sock, buf, 2 * MSS, 0), 2 * MSS);
    pass(5 * SEC);
    assert_int_equal(tcp_of(sock)->mss, 536 - 12);
    peer_deaf = false;
    pass(10 * SEC);
    assert_true(pending(&peer));
    assert_true(rx(&peer)->len <= 536);
    tx(&peer, ACK, 1, 1 + last_rx.len, NULL, 0);
    assert_int_equal(tcp_of(sock)->mss, MSS); /* perhaps it was an outage */
}

static void rfc9293_3_4_partial_ack_of_a_segment(void **state)
{
    (void)state;
    learn_rtt();
    flight(4);
    tx(&peer, ACK, 1, 1 + 700, NULL, 0);
    assert_int_equal(tcp_flight(tcp_of(sock)), 4 * MSS - 700);
    tx(&peer, ACK, 1, nth(2) + 3, NULL, 0);
    assert_int_equal(tcp_flight(tcp_of(sock)), 2 * MSS - 3);
    pass(2 * SEC);
    assert_true(pending(&peer));
    drain(&peer);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    assert_int_equal(tcp_flight(tcp_of(sock)), 0);
    assert_true(list_empty(&tcp_of(sock)->queue));
}

static void rfc6675_5_without_timestamps(void **state)
{
    (void)state;
    assert_false(tcp_of(sock)->ts_on);
    assert_int_equal(tcp_of(sock)->mss, 1460);
    assert_int_equal(send_bytes(sock, buf, 5 * 1460, 0), 5 * 1460);
    assert_int_equal(drain(&peer), 5 * 1460);
    tx_sack(&peer, 1, 1, 1, 1461, 5 * 1460 + 1);
    pass(30 * MS);
    expect(&peer, ACK, 1, 1460, 1);
    tx(&peer, ACK, 1, 5 * 1460 + 1, NULL, 0);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONN_AS(rfc6675_5_lost_head_is_retransmitted, nodelay),
        CONN_AS(rfc6675_5_several_holes_in_one_round_trip, nodelay),
        CONN_AS(rfc6582_3_2_partial_acks, nodelay_plain),
        CONN_AS(rfc8985_6_2_reordering_is_waited_for, nodelay),
        CONN_AS(rfc8985_6_3_reordering_timer, nodelay),
        CONN_AS(rfc8985_6_2_lost_retransmission_is_found, nodelay),
        CONN_AS(rfc8985_7_tail_loss_probe, nodelay),
        CONN_AS(rfc8985_7_probe_with_new_data, nodelay),
        CONN_AS(rfc8985_7_4_repaired_loss_reduces_the_window, nodelay),
        CONN_AS(rfc8985_7_4_dsack_shows_a_needless_probe, nodelay),
        CONN_AS(rfc8985_7_4_dsack_of_something_else_ends_no_probe, nodelay),
        CONN_AS(rfc6298_5_timeout_and_backoff, nodelay),
        CONN_AS(rfc5681_3_1_timeout_retransmits_the_flight_in_slow_start, nodelay),
        CONN_AS(rfc9293_3_8_3_gives_up, nodelay),
        CONN_AS(rfc3522_3_2_eifel_undoes_a_spurious_timeout, nodelay),
        CONN_AS(rfc2018_8_reneging, nodelay),
        CONN_AS(rfc2018_5_blocks_out_of_range_are_ignored, nodelay),
        CONN_AS(rfc6937_3_sending_goes_on_in_recovery, nodelay),
        CONN_AS(rfc5681_3_1_slow_start_doubles, nodelay),
        CONN_AS(rfc5681_3_1_cubic_and_reno_can_be_chosen, nodelay),
        CONN_AS(rfc3168_6_1_marks_both_ways, nodelay),
        CONN_AS(rfc5927_7_too_big_for_what_is_not_in_flight, nodelay),
        CONN_AS(rfc1122_4_2_3_9_unreachable_is_soft, nodelay),
        CONN_AS(rfc6298_5_path_change_probes_at_once, nodelay),
        CONN_AS(rfc4821_7_7_blackhole_makes_segments_small, nodelay),
        CONN_AS(rfc9293_3_4_partial_ack_of_a_segment, nodelay),
        CONN_AS(rfc6675_5_without_timestamps, nodelay_no_ts),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
