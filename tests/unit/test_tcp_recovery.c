/* TCP: timeouts, recovery without SACK, what turns out to be spurious, growth of the congestion
 * window, ECN. test_tcp_loss.c has RACK-TLP and recovery with SACK. */
#include "tcp_peer.h"

#define MSS 1448u
#define PLAIN_MSS 1460u

static char buf[400000];

static uint32_t mss(void)
{
    return tcp_of(sock)->mss;
}

/* Relative sequence number of the n-th full segment. */
static uint32_t nth(uint32_t n)
{
    return 1 + n * mss();
}

static int reno(void **state)
{
    nodelay(state);
    return sock->ops->setopt(sock, 6, 13, "reno", 4);
}

/* Sends n full segments; bursts of more than ten take a few milliseconds. */
static void flight(uint32_t n)
{
    uint32_t came;

    assert_int_equal(send_bytes(sock, buf, n * mss(), 0), n * mss());
    came = drain(&peer);
    for (uint32_t i = 10; i < n; i += 10) {
        pass(1 * MS);
        came += drain(&peer);
    }
    assert_int_equal(came, n * mss());
}

/* Ten segments of which the first is missing, and the window there was. */
static uint32_t lose_the_first(void)
{
    uint32_t cwnd = tcp_of(sock)->cwnd;

    learn_rtt();
    flight(10);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(5));
    return cwnd;
}

/* All of n segments sent and acknowledged one by one, 20 ms later. */
static void round_trip(uint32_t n)
{
    uint32_t from = tcp_of(sock)->snd_una - peer.local_iss;

    flight(n);
    pass(20 * MS);
    for (uint32_t i = 1; i <= n; i++)
        tx(&peer, ACK, 1, from + i * mss(), NULL, 0);
}

/* --- retransmission timeout --------------------------------------------------------------------
 */

static void rfc6298_2_3_smoothing(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    assert_in_range(t->srtt, 20 * MS, 20 * MS + MS / 2);
    assert_int_equal(send_bytes(sock, "r", 1, 0), 1);
    rx(&peer);
    pass(100 * MS);
    tx(&peer, ACK, 1, 2, NULL, 0);
    assert_in_range(t->srtt, 29 * MS, 31 * MS);   /* 7/8 20 + 1/8 100 */
    assert_in_range(t->rttvar, 27 * MS, 28 * MS); /* 3/4 10 + 1/4 80 */
}

static void rfc6298_2_4_lower_bound(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(send_bytes(sock, "r", 1, 0), 1);
        rx(&peer);
        pass(1 * MS);
        tx(&peer, ACK, 1, 2 + (uint32_t)i, NULL, 0);
    }
    assert_in_range(tcp_of(sock)->rto, 200 * MS, 210 * MS);
}

static void rfc6298_2_5_upper_bound(void **state)
{
    nsec_t last = 0, longest = 0;

    (void)state;
    learn_rtt();
    assert_int_equal(send_bytes(sock, "x", 1, 0), 1);
    pass(900 * SEC);
    while (pending(&peer)) {
        rx(&peer);
        if (last)
            longest = MAX(longest, last_rx.at - last);
        last = last_rx.at;
    }
    assert_in_range(longest, 100 * SEC, 121 * SEC);
}

static void rfc6298_3_no_sample_of_what_was_sent_twice(void **state)
{
    nsec_t before;

    (void)state;
    learn_rtt();
    before = tcp_of(sock)->srtt;
    assert_int_equal(send_bytes(sock, "x", 1, 0), 1);
    pass(400 * MS);
    assert_true(drain(&peer) == 2);
    tx(&peer, ACK, 1, 2, NULL, 0);
    assert_int_equal(tcp_of(sock)->srtt, before);
}

static void rfc7323_4_1_timestamps_tell_which_one_was_acked(void **state)
{
    (void)state;
    learn_rtt();
    assert_int_equal(send_bytes(sock, "x", 1, 0), 1);
    pass(400 * MS);
    drain(&peer); /* the echo is that of the last one */
    pass(60 * MS);
    tx(&peer, ACK, 1, 2, NULL, 0);
    assert_in_range(tcp_of(sock)->srtt, 20 * MS, 60 * MS);
    assert_in_range(tcp_of(sock)->last_rtt, 50 * MS, 240 * MS);
}

static void rfc6298_5_3_new_ack_restarts_the_timer(void **state)
{
    (void)state;
    learn_rtt();
    flight(2);
    pass(30 * MS);
    tx(&peer, ACK, 1, nth(1), NULL, 0);
    pass(200 * MS);
    expect_none(&peer);
    pass(100 * MS);
    expect(&peer, ACK, nth(1), MSS, 1);
}

static void rfc6298_5_2_timer_stops_when_all_is_acked(void **state)
{
    (void)state;
    learn_rtt();
    flight(2);
    tx(&peer, ACK, 1, nth(2), NULL, 0);
    pass(10 * SEC);
    expect_none(&peer);
    assert_int_equal(tcp_of(sock)->deadline[TIMER_SEND], NSEC_NEVER);
}

static void rfc6298_5_backoff_ends_with_new_data_acked(void **state)
{
    (void)state;
    learn_rtt();
    flight(1);
    pass(3 * SEC);
    assert_true(tcp_of(sock)->backoff >= 3);
    drain(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0); /* nothing new */
    assert_true(tcp_of(sock)->backoff >= 3);
    tx(&peer, ACK, 1, nth(1), NULL, 0);
    assert_int_equal(tcp_of(sock)->backoff, 0);
}

static void rfc5681_3_1_timeout_leaves_a_window_of_one(void **state)
{
    (void)state;
    learn_rtt();
    flight(10);
    pass(400 * MS);
    drain(&peer);
    assert_int_equal(tcp_of(sock)->cwnd, mss());
    assert_in_range(tcp_of(sock)->ssthresh, 2 * mss(), 8 * mss());
}

static void rfc5681_3_1_second_timeout_keeps_ssthresh(void **state)
{
    uint32_t ssthresh;

    (void)state;
    learn_rtt();
    flight(10);
    pass(400 * MS);
    ssthresh = tcp_of(sock)->ssthresh;
    pass(2 * SEC);
    assert_true(tcp_of(sock)->backoff >= 2);
    assert_int_equal(tcp_of(sock)->ssthresh, ssthresh);
    drain(&peer);
}

/* --- giving up -------------------------------------------------------------------------------- */

/* When the connection ends, since t0; 0: it does not in this time. */
static nsec_t ends_after(nsec_t t0, nsec_t limit)
{
    while (time_now() - t0 < limit) {
        if (tcp_of(sock)->state == TCP_CLOSE)
            return time_now() - t0;
        pass(10 * MS);
    }
    return 0;
}

static void rfc5482_3_user_timeout_is_kept(void **state)
{
    nsec_t t0 = time_now();

    (void)state;
    learn_rtt();
    set_opt(sock, 18, 8000); /* not when the next retransmission is due, at 13 s */
    t0 = time_now();
    flight(1);
    assert_in_range(ends_after(t0, 60 * SEC), 8 * SEC, 8 * SEC + 100 * MS);
    assert_int_equal(take_error(sock), ETIMEDOUT);
    drain(&peer);
}

static void rfc5482_3_user_timeout_begins_anew_with_new_data_acked(void **state)
{
    nsec_t t0;

    (void)state;
    learn_rtt();
    set_opt(sock, 18, 3000);
    flight(2);
    pass(2500 * MS);
    drain(&peer);
    tx(&peer, ACK, 1, nth(1), NULL, 0);
    t0 = time_now();
    assert_in_range(ends_after(t0, 60 * SEC), 2900 * MS, 3800 * MS);
    drain(&peer);
}

static void rfc9293_3_8_3_r2_is_long_enough(void **state)
{
    nsec_t t0, took;

    (void)state;
    learn_rtt();
    t0 = time_now();
    flight(1);
    took = ends_after(t0, 3600 * SEC);
    assert_in_range(took, 100 * SEC, 1800 * SEC);
    drain(&peer);
}

/* The window closes in front of data in flight. For an hour the peer says so (or nothing). */
static void shut_for_an_hour(bool answers)
{
    flight(2);
    peer.win = 0;
    tx(&peer, ACK, 1, 1, "x", 1);
    for (int i = 0; i < 3600 && tcp_of(sock)->state == TCP_ESTABLISHED; i++) {
        pass(SEC);
        if (drain(&peer) && answers)
            tx(&peer, ACK, 2, 1, NULL, 0);
    }
}

static void rfc9293_3_8_6_1_window_shut_on_data_in_flight(void **state)
{
    (void)state;
    learn_rtt();
    shut_for_an_hour(true);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    peer.win = 65535;
    tx(&peer, ACK, 2, nth(2), NULL, 0);
    flight(1);
}

static void rfc9293_3_8_6_1_window_shut_by_a_dead_peer(void **state)
{
    (void)state;
    learn_rtt();
    shut_for_an_hour(false);
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE);
    assert_int_equal(take_error(sock), ETIMEDOUT);
}

static void rfc9293_3_8_6_1_window_shut_on_an_orphan(void **state)
{
    uint32_t before;

    (void)state;
    learn_rtt();
    flight(2);
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    before = tcp_table_count();
    close_socket();
    for (int i = 0; i < 300; i++) { /* it answers, but nobody is left to wait */
        pass(SEC);
        if (pending(&peer)) {
            drain(&peer);
            tx(&peer, ACK, 1, 1, NULL, 0);
        }
    }
    assert_true(tcp_table_count() < before);
    drain(&peer);
}

/* --- without SACK ----------------------------------------------------------------------------- */

static void rfc5681_3_2_third_duplicate_ack(void **state)
{
    (void)state;
    learn_rtt();
    flight(8);
    pass(20 * MS);
    for (int i = 0; i < 2; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(tcp_of(sock)->total_retrans, 0);
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 1, PLAIN_MSS, 1);
    assert_int_equal(tcp_of(sock)->ca_state, CA_RECOVERY);
}

static void rfc5681_2_duplicates_have_no_data_and_the_same_window(void **state)
{
    (void)state;
    learn_rtt();
    flight(8);
    pass(20 * MS);
    for (uint32_t i = 0; i < 5; i++)
        tx(&peer, ACK, 1 + i, 1, "x", 1); /* the peer talks */
    for (int i = 0; i < 5; i++) {
        peer.win -= 128;
        tx(&peer, ACK, 6, 1, NULL, 0); /* window updates */
    }
    assert_int_equal(tcp_of(sock)->total_retrans, 0);
    assert_int_equal(tcp_of(sock)->reno_dups, 0);
}

static void rfc5681_2_no_duplicates_without_a_flight(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(tcp_of(sock)->reno_dups, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
}

static void rfc5681_3_2_full_ack_ends_recovery(void **state)
{
    uint32_t cwnd;

    (void)state;
    learn_rtt();
    flight(8);
    cwnd = tcp_of(sock)->cwnd;
    pass(20 * MS);
    for (int i = 0; i < 3; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    tx(&peer, ACK, 1, nth(8), NULL, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
    assert_in_range(tcp_of(sock)->cwnd, cwnd / 2, cwnd * 3 / 4);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc3042_2_limited_transmit(void **state)
{
    (void)state;
    learn_rtt();
    tcp_of(sock)->cwnd = 4 * mss();
    assert_int_equal(send_bytes(sock, buf, 8 * mss(), 0), 8 * mss());
    assert_int_equal(drain(&peer), 4 * mss());
    pass(20 * MS);
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, nth(4), PLAIN_MSS, 1);
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, nth(5), PLAIN_MSS, 1);
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, nth(0), PLAIN_MSS, 1);
}

static void rfc6582_3_2_timeout_in_recovery(void **state)
{
    (void)state;
    learn_rtt();
    flight(8);
    pass(20 * MS);
    for (int i = 0; i < 3; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 1, PLAIN_MSS, 1); /* lost again */
    pass(500 * MS);
    expect(&peer, ACK, 1, PLAIN_MSS, 1);
    assert_int_equal(tcp_of(sock)->ca_state, CA_LOSS);
    tx(&peer, ACK, 1, nth(8), NULL, 0);
    assert_int_equal(tcp_of(sock)->ca_state, CA_OPEN);
    assert_int_equal(tcp_pipe(tcp_of(sock)), 0);
}

static void rfc9293_3_8_1_timeout_without_any_option(void **state)
{
    (void)state;
    flight(3);
    pass(300 * MS);
    expect(&peer, ACK, 1, PLAIN_MSS, 1);
    tx(&peer, ACK, 1, nth(1), NULL, 0);
    expect(&peer, ACK, nth(1), PLAIN_MSS, 1);
    expect(&peer, ACK, nth(2), PLAIN_MSS, 1);
    tx(&peer, ACK, 1, nth(3), NULL, 0);
    assert_int_equal(tcp_flight(tcp_of(sock)), 0);
}

/* --- spurious retransmissions ------------------------------------------------------------------
 */

static void rfc3522_3_2_eifel_undoes_a_spurious_fast_retransmit(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t cwnd;

    (void)state;
    cwnd = lose_the_first();
    expect(&peer, ACK, 1, MSS, 1);
    assert_true(t->ssthresh < cwnd);
    peer.tsecr = last_rx.tsval - 10; /* the first one was only late */
    tx(&peer, ACK, 1, nth(10), NULL, 0);
    assert_true(t->cwnd >= cwnd);
    assert_int_equal(t->ca_state, CA_OPEN);
}

static void rfc3708_3_dsack_undoes_a_spurious_retransmit(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t cwnd;

    (void)state;
    cwnd = lose_the_first();
    expect(&peer, ACK, 1, PLAIN_MSS, 1);
    assert_true(t->ssthresh < cwnd);
    tx(&peer, ACK, 1, nth(5), NULL, 0);
    tx_sack(&peer, 1, nth(5), 1, nth(0), nth(1)); /* it came twice */
    assert_int_equal(t->ca_state, CA_OPEN);
    assert_true(t->cwnd >= cwnd);
    assert_int_equal(t->ssthresh, UINT32_MAX);
}

/* A duplicate of something that was sent once says nothing about what was sent twice. */
static void rfc3708_3_duplicates_of_the_network_undo_nothing(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t cwnd;

    (void)state;
    cwnd = lose_the_first();
    expect(&peer, ACK, 1, PLAIN_MSS, 1);
    tx_sack(&peer, 1, 1, 2, nth(3), nth(4), nth(1), nth(5));
    assert_int_equal(t->ca_state, CA_RECOVERY);
    tx(&peer, ACK, 1, nth(5), NULL, 0);
    tx_sack(&peer, 1, nth(5), 1, nth(2), nth(3));
    assert_int_equal(t->ca_state, CA_RECOVERY);
    assert_true(t->ssthresh < cwnd);
}

static void rfc4015_3_real_losses_are_not_undone(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t cwnd;

    (void)state;
    cwnd = lose_the_first();
    pass(20 * MS);
    drain(&peer); /* the echo is the retransmission's */
    tx(&peer, ACK, 1, nth(10), NULL, 0);
    assert_true(t->cwnd < cwnd);
    assert_int_equal(t->ca_state, CA_OPEN);
}

static void rfc8985_6_2_reordering_seen_widens_the_window(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    flight(4);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, nth(1), nth(2));
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    assert_true(t->rack_seen_reordering);
    flight(8);
    pass(20 * MS);
    /* four are there, but the first may just be late */
    tx_sack(&peer, 1, nth(4), 1, nth(5), nth(9));
    expect_none(&peer);
    pass(10 * MS);
    expect(&peer, ACK, nth(4), MSS, 1);
}

/* The peer tells that it has had the n-th segment before. */
static void tx_duplicate(uint32_t ack, uint32_t n)
{
    tx_sack(&peer, 1, ack, 1, nth(n), nth(n + 1));
}

static void rfc8985_6_2_duplicates_widen_the_window_once_in_a_round_trip(void **state)
{
    for (int i = 0; i < 20; i++) { /* wherever sequence numbers begin */
        struct tcp *t = tcp_of(sock);

        learn_rtt();
        flight(5);
        pass(20 * MS);
        tx_sack(&peer, 1, 1, 1, nth(1), nth(5));
        expect(&peer, ACK, nth(0), MSS, 1); /* it was just late */
        tx(&peer, ACK, 1, nth(5), NULL, 0);
        flight(4);
        t->total_retrans = 3;
        assert_int_equal(t->rack_reo_mult, 1);
        tx_duplicate(nth(5), 0);
        assert_int_equal(t->rack_reo_mult, 2);
        tx_duplicate(nth(6), 0);
        assert_int_equal(t->rack_reo_mult, 2);
        tx_duplicate(nth(9), 0);
        assert_int_equal(t->rack_reo_mult, 3);
        disconnect(state);
        nodelay(state);
    }
}

static void rfc8985_6_2_duplicates_of_the_network_widen_nothing(void **state)
{
    (void)state;
    learn_rtt();
    flight(4);
    tx(&peer, ACK, 1, nth(4), NULL, 0);
    tx_duplicate(nth(4), 0);
    assert_int_equal(tcp_of(sock)->rack_reo_mult, 1);
}

/* --- the congestion window -------------------------------------------------------------------- */

static void rfc6928_2_initial_window_of_large_segments(void **state)
{
    (void)state;
    assert_int_equal(tcp_initial_cwnd(1460), 14600);
    assert_int_equal(tcp_initial_cwnd(536), 5360);
    assert_int_equal(tcp_initial_cwnd(8960), 17920);
    assert_int_equal(tcp_initial_cwnd(2000), 14600);
}

static void rfc5681_3_1_slow_start_grows_by_what_is_acked(void **state)
{
    uint32_t cwnd = tcp_of(sock)->cwnd;

    (void)state;
    learn_rtt();
    round_trip(10);
    assert_in_range(tcp_of(sock)->cwnd, cwnd + 9 * mss(), cwnd + 11 * mss());
}

static void rfc5681_3_1_avoidance_grows_by_one_in_a_round_trip(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    t->ssthresh = t->cwnd = 10 * mss();
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t before = t->cwnd;

        t->cwnd_limited = true;
        round_trip(before / mss() + 1 > 40 ? 40 : before / mss());
        assert_in_range(t->cwnd, before, before + mss());
    }
    assert_in_range(t->cwnd, 10 * mss(), 15 * mss());
}

static void rfc7661_4_window_that_is_not_used_does_not_grow(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t cwnd = t->cwnd;

    (void)state;
    learn_rtt();
    for (int i = 0; i < 20; i++)
        round_trip(1);
    assert_int_equal(t->cwnd, cwnd);
}

static void rfc5681_4_1_idle_connection_starts_anew(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    round_trip(10);
    round_trip(20);
    assert_true(t->cwnd > 25 * mss());
    pass(10 * SEC);
    assert_int_equal(send_bytes(sock, buf, 40 * mss(), 0), 40 * mss());
    pass(5 * MS);
    assert_int_equal(drain(&peer), 10 * mss());
}

static void rfc5681_4_1_idle_connection_keeps_its_window_if_told(void **state)
{
    (void)state;
    net_tunables.slow_start_after_idle = false;
    learn_rtt();
    round_trip(10);
    round_trip(20);
    pass(10 * SEC);
    assert_int_equal(send_bytes(sock, buf, 40 * mss(), 0), 40 * mss());
    net_tunables.slow_start_after_idle = true;
    uint32_t sent = 0;
    for (int i = 0; i < 5; i++) { /* a burst of ten at a time */
        sent += drain(&peer);
        pass(1 * MS);
    }
    assert_true(sent > 25 * mss());
}

/* A window that opens at once is not a burst: twice its share of the round trip in a millisecond,
 * ten segments at least. */
static void rfc7661_4_4_2_bursts_are_limited(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    t->cwnd = 35 * mss();
    peer.win = 1 << 20;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, buf, 60 * mss(), 0), 60 * mss());
    for (int i = 0; i < 3; i++) {
        assert_int_equal(drain(&peer), 10 * mss());
        pass(1 * MS);
    }
    assert_int_equal(drain(&peer), 5 * mss()); /* then it is full */
    pass(5 * MS);
    expect_none(&peer);
}

static void rfc7661_4_4_2_large_windows_have_large_bursts(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    t->cwnd = 200 * mss();
    peer.win = 1 << 20;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, buf, 90 * mss(), 0), 90 * mss());
    assert_in_range(drain(&peer), 18 * mss(), 20 * mss());
}

/* All of n segments sent and acknowledged one by one, this much later. */
static void slow_round_trip(uint32_t n, nsec_t rtt)
{
    uint32_t from = tcp_of(sock)->snd_una - peer.local_iss;

    assert_int_equal(send_bytes(sock, buf, n * mss(), 0), n * mss());
    pass(rtt);
    assert_int_equal(drain(&peer), n * mss());
    for (uint32_t i = 1; i <= n; i++)
        tx(&peer, ACK, 1, from + i * mss(), NULL, 0);
}

/* The round-trip time rose, and rose, and fell a little: still a queue. */
static void rfc9406_4_2_baseline_is_that_of_the_rise(void **state)
{
    static const int rtts[] = {20, 20, 30, 36, 33};
    struct tcp *t = tcp_of(sock);

    (void)state;
    peer.win = 1 << 20;
    learn_rtt();
    for (unsigned i = 0; i < ARRAY_SIZE(rtts); i++) {
        t->cwnd = 10 * mss();
        slow_round_trip(10, rtts[i] * MS);
    }
    assert_in_range(t->cwnd, 12 * mss(), 13 * mss()); /* a quarter of slow start */
    t->cwnd = 10 * mss();
    slow_round_trip(10, 20 * MS); /* it was not one */
    t->cwnd = 10 * mss();
    slow_round_trip(10, 20 * MS);
    assert_int_equal(t->cwnd, 20 * mss());
}

static void rfc5681_3_1_reno_halves(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    lose_the_first();
    assert_int_equal(t->ssthresh, 5 * mss());
    drain(&peer);
    tx(&peer, ACK, 1, nth(10), NULL, 0);
    assert_in_range(t->cwnd, 4 * mss(), 6 * mss());
}

static void rfc5681_3_1_ssthresh_is_two_segments_at_least(void **state)
{
    (void)state;
    learn_rtt();
    flight(1);
    pass(500 * MS);
    assert_int_equal(tcp_of(sock)->ssthresh, 2 * mss());
    drain(&peer);
}

static void rfc9438_4_6_cubic_keeps_seven_tenths(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    lose_the_first();
    assert_in_range(t->ssthresh, 7 * mss() - 20, 7 * mss() + 20);
    drain(&peer);
}

/* The window after some time of avoidance at full use. */
static uint32_t grow_for(nsec_t time, nsec_t rtt)
{
    struct tcp *t = tcp_of(sock);

    t->min_rtt = rtt;
    for (nsec_t end = time_now() + time; time_now() < end;) {
        floor_advance(rtt);
        for (uint32_t n = t->cwnd / mss(), i = 0; i < n; i++)
            t->cc->acked(t, mss(), time_now());
    }
    return t->cwnd / mss();
}

static void rfc9438_4_2_cubic_is_back_at_its_maximum_after_k(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t before, at_k, later;

    (void)state;
    learn_rtt();
    t->cwnd = 100 * mss();
    t->ssthresh = t->cc->ssthresh(t);
    t->cwnd = t->ssthresh;
    before = t->cwnd / mss();
    assert_in_range(before, 69, 70);
    at_k = grow_for(4217 * MS, 200 * MS); /* K = cbrt(30 / 0.4) s */
    assert_in_range(at_k, 95, 103);
    later = grow_for(4217 * MS, 200 * MS); /* as steep on the other side, at least */
    assert_in_range(later, 120, 160);
}

static void rfc9438_4_7_fast_convergence(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    learn_rtt();
    t->cwnd = 100 * mss();
    t->cc->ssthresh(t);
    t->cwnd = 80 * mss(); /* lost again below the last maximum: someone else is new here */
    t->ssthresh = t->cc->ssthresh(t);
    t->cwnd = t->ssthresh;
    assert_in_range(t->cwnd / mss(), 55, 56);
    assert_in_range(grow_for(3100 * MS, 200 * MS), 64, 72); /* flat near 0.85 * 80 = 68 */
}

static void rfc9438_4_3_cubic_is_not_slower_than_reno(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t before;

    (void)state;
    learn_rtt();
    t->cwnd = 10 * mss();
    t->ssthresh = t->cc->ssthresh(t);
    t->cwnd = t->ssthresh;
    before = t->cwnd / mss();
    /* 0.53 segments a round trip up to the last maximum, then 1 */
    assert_in_range(grow_for(120 * MS, 20 * MS), before + 2, before + 4);
    assert_true(grow_for(1000 * MS, 20 * MS) >= before + 40);
}

/* --- ECN -------------------------------------------------------------------------------------- */

/* A peer that asks for ECN, connected. */
static void ecn_connection(void)
{
    kill_socket(sock);
    drop_captured();
    peer = new_peer(listener->local.port);
    tx(&peer, SYN | TH_ECE | TH_CWR, 0, 0, NULL, 0);
    assert_int_equal(rx(&peer)->flags, SYN | ACK | TH_ECE);
    assert_int_equal(last_rx.ecn, 0); /* control packets are not marked as capable */
    peer.local_iss = last_rx.seq;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(listener->ops->accept(listener, &sock, true), 0);
    set_opt(sock, 1, 1);
    learn_rtt();
}

static void rfc3168_6_1_1_only_if_the_peer_asks(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, mss(), 0), mss());
    assert_int_equal(rx(&peer)->ecn, 0);
    tx(&peer, ACK | TH_ECE, 1, nth(1), NULL, 0); /* means nothing */
    assert_int_equal(tcp_of(sock)->ssthresh, UINT32_MAX);
}

static void rfc3168_6_1_1_half_a_request_is_none(void **state)
{
    struct peer p = new_peer(listener->local.port);

    (void)state;
    tx(&p, SYN | TH_ECE, 0, 0, NULL, 0);
    assert_int_equal(rx(&p)->flags, SYN | ACK);
    tx(&p, RST, 1, 0, NULL, 0);
}

static void rfc3168_6_1_2_one_reduction_in_a_round_trip(void **state)
{
    uint32_t ssthresh;

    (void)state;
    ecn_connection();
    flight(8);
    tx(&peer, ACK | TH_ECE, 1, nth(1), NULL, 0);
    ssthresh = tcp_of(sock)->ssthresh;
    assert_true(ssthresh < 10 * mss());
    for (uint32_t i = 2; i <= 8; i++)
        tx(&peer, ACK | TH_ECE, 1, nth(i), NULL, 0);
    assert_int_equal(tcp_of(sock)->ssthresh, ssthresh);
    assert_int_equal(tcp_of(sock)->total_retrans, 0);
}

static void rfc3168_6_1_2_cwr_once(void **state)
{
    (void)state;
    ecn_connection();
    flight(2);
    tx(&peer, ACK | TH_ECE, 1, nth(2), NULL, 0);
    assert_int_equal(send_bytes(sock, buf, 2 * mss(), 0), 2 * mss());
    assert_true(rx(&peer)->flags & TH_CWR);
    assert_false(rx(&peer)->flags & TH_CWR);
}

static void rfc3168_6_1_3_echo_until_cwr(void **state)
{
    (void)state;
    ecn_connection();
    peer.ce = true;
    tx(&peer, ACK, 1, 1, "a", 1);
    peer.ce = false;
    drain(&peer);
    for (uint32_t i = 0; i < 3; i++) {
        tx(&peer, ACK, 2 + i, 1, "b", 1);
        pass(60 * MS);
        assert_true(rx(&peer)->flags & TH_ECE);
        drain(&peer);
    }
    tx(&peer, ACK | TH_CWR, 5, 1, "c", 1);
    pass(60 * MS);
    assert_false(rx(&peer)->flags & TH_ECE);
}

static void rfc3168_6_1_5_retransmissions_are_not_capable(void **state)
{
    (void)state;
    ecn_connection();
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    assert_int_equal(rx(&peer)->ecn, 2);
    pass(500 * MS);
    assert_int_equal(rx(&peer)->len, 3);
    assert_int_equal(last_rx.ecn, 0);
}

static void rfc3168_6_1_4_pure_acks_are_not_capable(void **state)
{
    (void)state;
    ecn_connection();
    tx(&peer, ACK, 1, 1, "abc", 3);
    pass(60 * MS);
    assert_int_equal(rx(&peer)->len, 0);
    assert_int_equal(last_rx.ecn, 0);
}

/* --- path MTU --------------------------------------------------------------------------------- */

static void rfc1191_3_mtu_below_the_least_is_not_believed(void **state)
{
    (void)state;
    flight(2);
    inject_too_big(&peer, 1, 68);
    assert_true(mss() >= 512);
    inject_too_big(&peer, 1, 0);
    assert_true(mss() >= 512);
    drain(&peer);
}

static void rfc1191_6_larger_than_ours_changes_nothing(void **state)
{
    (void)state;
    flight(2);
    inject_too_big(&peer, 1, 9000);
    assert_int_equal(mss(), MSS);
    expect_none(&peer);
}

static void rfc8201_4_packet_too_big(void **state)
{
    uint32_t got = 0;

    (void)state;
    flight(4);
    inject_too_big6(&peer, 0x20000000, 1400); /* RFC 5927: not in flight */
    assert_int_equal(mss(), 1428);
    inject_too_big6(&peer, 1, 1400);
    assert_int_equal(mss(), 1400 - 60 - 12);
    for (int i = 0; got < 4 * 1428 && i < 50; i++) { /* all of it again, in smaller pieces */
        while (pending(&peer)) {
            assert_true(rx(&peer)->len <= 1328);
            assert_int_equal(last_rx.seq - peer.local_iss, 1 + got);
            got += last_rx.len;
        }
        tx(&peer, ACK, 1, 1 + got, NULL, 0);
    }
    assert_int_equal(got, 4 * 1428);
}

static void rfc8201_4_mtu_below_1280(void **state)
{
    (void)state;
    flight(2);
    inject_too_big6(&peer, 1, 600);
    assert_true(mss() >= 1280 - 60 - 12);
    drain(&peer);
}

static void rfc4821_7_7_small_segments_are_no_blackhole(void **state)
{
    (void)state;
    learn_rtt();
    peer_deaf = true;
    assert_int_equal(send_bytes(sock, buf, 300, 0), 300);
    pass(10 * SEC);
    assert_int_equal(mss(), MSS);
}

#define N(f) CONN_AS(f, nodelay)
#define P(f) CONN_AS(f, nodelay_plain)
#define SIX(f)                                                                                     \
    {                                                                                              \
#f "_ipv6", f, nodelay6, disconnect, NULL                                                  \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        N(rfc6298_2_3_smoothing),
        N(rfc6298_2_4_lower_bound),
        N(rfc6298_2_5_upper_bound),
        CONN_AS(rfc6298_3_no_sample_of_what_was_sent_twice, nodelay_no_ts),
        N(rfc7323_4_1_timestamps_tell_which_one_was_acked),
        N(rfc6298_5_3_new_ack_restarts_the_timer),
        N(rfc6298_5_2_timer_stops_when_all_is_acked),
        N(rfc6298_5_backoff_ends_with_new_data_acked),
        N(rfc5681_3_1_timeout_leaves_a_window_of_one),
        N(rfc5681_3_1_second_timeout_keeps_ssthresh),
        SIX(rfc5681_3_1_timeout_leaves_a_window_of_one),
        N(rfc5482_3_user_timeout_is_kept),
        N(rfc5482_3_user_timeout_begins_anew_with_new_data_acked),
        N(rfc9293_3_8_3_r2_is_long_enough),
        N(rfc9293_3_8_6_1_window_shut_on_data_in_flight),
        N(rfc9293_3_8_6_1_window_shut_by_a_dead_peer),
        N(rfc9293_3_8_6_1_window_shut_on_an_orphan),
        P(rfc5681_3_2_third_duplicate_ack),
        P(rfc5681_2_duplicates_have_no_data_and_the_same_window),
        P(rfc5681_2_no_duplicates_without_a_flight),
        P(rfc5681_3_2_full_ack_ends_recovery),
        P(rfc3042_2_limited_transmit),
        P(rfc6582_3_2_timeout_in_recovery),
        P(rfc9293_3_8_1_timeout_without_any_option),
        N(rfc3522_3_2_eifel_undoes_a_spurious_fast_retransmit),
        CONN_AS(rfc3708_3_dsack_undoes_a_spurious_retransmit, nodelay_no_ts),
        CONN_AS(rfc3708_3_duplicates_of_the_network_undo_nothing, nodelay_no_ts),
        N(rfc4015_3_real_losses_are_not_undone),
        N(rfc8985_6_2_reordering_seen_widens_the_window),
        N(rfc8985_6_2_duplicates_widen_the_window_once_in_a_round_trip),
        N(rfc8985_6_2_duplicates_of_the_network_widen_nothing),
        N(rfc6928_2_initial_window_of_large_segments),
        N(rfc5681_3_1_slow_start_grows_by_what_is_acked),
        SIX(rfc5681_3_1_slow_start_grows_by_what_is_acked),
        CONN_AS(rfc5681_3_1_avoidance_grows_by_one_in_a_round_trip, reno),
        N(rfc7661_4_window_that_is_not_used_does_not_grow),
        N(rfc5681_4_1_idle_connection_starts_anew),
        N(rfc5681_4_1_idle_connection_keeps_its_window_if_told),
        N(rfc7661_4_4_2_bursts_are_limited),
        N(rfc7661_4_4_2_large_windows_have_large_bursts),
        N(rfc9406_4_2_baseline_is_that_of_the_rise),
        CONN_AS(rfc5681_3_1_reno_halves, reno),
        CONN_AS(rfc5681_3_1_ssthresh_is_two_segments_at_least, reno),
        N(rfc9438_4_6_cubic_keeps_seven_tenths),
        N(rfc9438_4_2_cubic_is_back_at_its_maximum_after_k),
        N(rfc9438_4_7_fast_convergence),
        N(rfc9438_4_3_cubic_is_not_slower_than_reno),
        N(rfc3168_6_1_1_only_if_the_peer_asks),
        N(rfc3168_6_1_1_half_a_request_is_none),
        N(rfc3168_6_1_2_one_reduction_in_a_round_trip),
        N(rfc3168_6_1_2_cwr_once),
        N(rfc3168_6_1_3_echo_until_cwr),
        N(rfc3168_6_1_5_retransmissions_are_not_capable),
        N(rfc3168_6_1_4_pure_acks_are_not_capable),
        N(rfc1191_6_larger_than_ours_changes_nothing),
        CONN_AS(rfc8201_4_packet_too_big, nodelay6),
        CONN_AS(rfc8201_4_mtu_below_1280, nodelay6),
        N(rfc4821_7_7_small_segments_are_no_blackhole),
        N(rfc1191_3_mtu_below_the_least_is_not_believed),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
