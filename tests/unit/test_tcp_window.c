/* TCP: windows and when things are sent: flow control, silly windows, Nagle, delayed ACKs, probes
 * of closed windows, keepalives. */
#include "tcp_peer.h"

#define MSS 1448u

static char buf[400000];

static void rfc1122_4_2_3_2_ack_rides_on_the_answer(void **state)
{
    (void)state;
    tx(&peer, ACK | PSH, 1, 1, "GET", 3);
    expect_none(&peer);
    assert_true(sock->ops->poll(sock) & POLL_IN);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 3);
    assert_int_equal(send_bytes(sock, "OK", 2, 0), 2);
    expect(&peer, ACK, 1, 2, 4);
    tx(&peer, ACK, 4, 3, NULL, 0);
    pass(SEC);
    expect_none(&peer);
}

static void rfc1122_4_2_3_2_delayed_ack(void **state)
{
    nsec_t t0 = time_now();

    (void)state;
    tx(&peer, ACK, 1, 1, "a", 1);
    expect_none(&peer);
    pass(60 * MS);
    expect(&peer, ACK, 1, 0, 2);
    assert_in_range(last_rx.at - t0, 20 * MS, 41 * MS);
}

static void rfc5681_4_2_ack_every_second_full_segment(void **state)
{
    (void)state;
    tcp_of(sock)->quick_acks = 0;
    tcp_of(sock)->rcv_mss = 1448;
    tx(&peer, ACK, 1, 1, buf, 1448);
    expect_none(&peer);
    tx(&peer, ACK, 1449, 1, buf, 1448);
    expect(&peer, ACK, 1, 0, 2897);
}

static void rfc9293_3_8_6_3_ack_when_the_reader_waits(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "a", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
    expect_none(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
    expect(&peer, ACK, 1, 0, 2);
}

static void rfc9293_3_7_4_nagle(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
    assert_int_equal(send_bytes(sock, "b", 1, 0), 1);
    assert_int_equal(send_bytes(sock, "c", 1, 0), 1);
    expect_none(&peer);
    tx(&peer, ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 2, 1);
    assert_memory_equal(last_rx.data, "bc", 2);
}

static void rfc9293_3_7_4_nodelay(void **state)
{
    (void)state;
    set_opt(sock, 1, 1);
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    assert_int_equal(send_bytes(sock, "b", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
    expect(&peer, ACK, 2, 1, 1);
}

static void rfc9293_3_7_4_cork_holds_until_released(void **state)
{
    (void)state;
    set_opt(sock, 3, 1);
    assert_int_equal(send_bytes(sock, "header", 6, 0), 6);
    expect_none(&peer);
    assert_int_equal(send_bytes(sock, "body", 4, 0), 4);
    expect_none(&peer);
    set_opt(sock, 3, 0);
    expect(&peer, ACK, 1, 10, 1);
}

static void rfc9293_3_7_4_cork_ends_after_200_ms(void **state)
{
    (void)state;
    set_opt(sock, 3, 1);
    assert_int_equal(send_bytes(sock, "header", 6, 0), 6);
    pass(180 * MS);
    expect_none(&peer);
    pass(60 * MS);
    expect(&peer, ACK, 1, 6, 1);
}

static void rfc9293_3_7_4_msg_more_joins_sends(void **state)
{
    (void)state;
    set_opt(sock, 1, 1);
    assert_int_equal(send_bytes(sock, "one", 3, SOCK_MSG_MORE), 3);
    expect_none(&peer);
    assert_int_equal(send_bytes(sock, "two", 3, 0), 3);
    expect(&peer, ACK, 1, 6, 1);
    assert_memory_equal(last_rx.data, "onetwo", 6);
}

/* The handshake took no time, data take 20 ms: a window's worth in each round trip, read at once,
 * is worth a larger window. */
static void rfc7323_4_receivers_window_follows_the_round_trip(void **state)
{
    uint32_t seq = 1, told = tcp_of(sock)->rcv_wnd;

    (void)state;
    for (int round = 0; round < 6; round++) {
        uint32_t n = MIN(tcp_of(sock)->rcv_wnd, (uint32_t)sizeof(buf)) / MSS;

        for (uint32_t i = 0; i < n; i++, seq += MSS)
            tx(&peer, ACK, seq, 1, buf, MSS);
        assert_int_equal(recv_bytes(sock, buf, sizeof(buf), 0), n * MSS);
        drain(&peer);
        pass(20 * MS);
    }
    assert_true(tcp_of(sock)->rcv_wnd > 4 * told);
}

/* The peer sends as little as it wants: no larger window. */
static void rfc7323_4_slow_peer_needs_no_larger_window(void **state)
{
    uint32_t seq = 1, told = tcp_of(sock)->rcv_wnd;

    (void)state;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 4; i++, seq += MSS)
            tx(&peer, ACK, seq, 1, buf, MSS);
        assert_int_equal(recv_bytes(sock, buf, sizeof(buf), 0), 4 * MSS);
        drain(&peer);
        pass(20 * MS);
    }
    assert_true(tcp_of(sock)->rcv_wnd <= told);
}

static void rfc9293_3_8_6_send_window_is_respected(void **state)
{
    (void)state;
    peer.win = 3000 & ~127;
    tx(&peer, ACK, 1, 1, "x", 1);
    assert_int_equal(send_bytes(sock, buf, 20000, 0), 20000);
    assert_true(drain(&peer) <= peer.win);
    peer.win = 6400;
    tx(&peer, ACK, 2, 1, NULL, 0);
    drain(&peer);
    assert_true(tcp_of(sock)->snd_nxt - peer.local_iss - 1 <= 6400);
}

static void rfc9293_3_8_6_1_zero_window_probes(void **state)
{
    int n = 0;

    (void)state;
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    expect_none(&peer);
    for (int i = 0; i < 60; i++) {
        pass(SEC);
        while (pending(&peer)) {
            expect(&peer, ACK, 0, 0, 1); /* one before the window */
            tx(&peer, ACK, 1, 1, NULL, 0);
            n++;
        }
    }
    assert_in_range(n, 4, 12);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    peer.win = 65535;
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 1, 3, 1);
}

static void rfc9293_3_8_6_2_2_receive_window_closes_and_opens(void **state)
{
    uint32_t seq = 1, win;
    struct seg *g;

    (void)state;
    for (;;) {
        tx(&peer, ACK, seq, 1, buf, 1448);
        seq += 1448;
        if (!pending(&peer))
            continue;
        g = rx(&peer);
        win = (uint32_t)g->win << tcp_of(sock)->rcv_wscale;
        if (win < 1448)
            break;
        assert_true(seq < 300000);
    }
    drain(&peer);
    tx(&peer, ACK, seq, 1, buf, 1448); /* what does not fit is not taken */
    drain(&peer);
    assert_true(recv_bytes(sock, buf, sizeof(buf), 0) > 50000);
    g = rx(&peer); /* window update */
    assert_true((uint32_t)g->win << tcp_of(sock)->rcv_wscale > 30000);
}

static void rfc9293_3_8_5_urgent_data_stay_in_line(void **state)
{
    (void)state;
    peer.urgent = 3;
    tx(&peer, ACK | URG, 1, 1, "abc", 3);
    assert_true(sock->ops->poll(sock) & POLL_PRI);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 3);
    assert_int_equal(recv_bytes(sock, buf, 10, SOCK_MSG_OOB), -EINVAL);
    assert_int_equal(send_bytes(sock, "xyz", 3, SOCK_MSG_OOB), 3);
    assert_true(rx(&peer)->flags & URG);
    assert_int_equal(last_rx.urgent, 3);
}

static void rfc9293_3_8_4_keepalive_probes_and_drops(void **state)
{
    (void)state;
    sock->keepalive = true;
    set_opt(sock, 4, 10);
    set_opt(sock, 5, 2);
    set_opt(sock, 6, 3);
    pass(9 * SEC);
    expect_none(&peer);
    pass(2 * SEC);
    expect(&peer, ACK, 0, 0, 1);
    tx(&peer, ACK, 1, 1, NULL, 0);
    pass(9 * SEC);
    expect_none(&peer);
    pass(10 * SEC);
    for (int i = 0; i < 3; i++)
        expect(&peer, ACK, 0, 0, 1);
    assert_true(rx(&peer)->flags & RST);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -ETIMEDOUT);
}

/* --- acknowledgements ------------------------------------------------------------------------- */

static void rfc5681_4_2_filling_a_hole_is_acked_at_once(void **state)
{
    (void)state;
    tx(&peer, ACK, 11, 1, "world", 5);
    drain(&peer);
    tx(&peer, ACK, 1, 1, "01234", 5);
    expect(&peer, ACK, 1, 0, 6);
    tx(&peer, ACK, 6, 1, "56789", 5);
    expect(&peer, ACK, 1, 0, 16);
}

static void rfc9293_3_8_6_3_duplicate_is_acked_at_once(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abc", 3);
    expect_none(&peer);
    tx(&peer, ACK, 1, 1, "abc", 3);
    expect(&peer, ACK, 1, 0, 4);
}

static void rfc9293_3_8_6_3_quickack(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abc", 3);
    expect_none(&peer);
    set_opt(sock, 12, 1);
    expect(&peer, ACK, 1, 0, 4);
}

static void rfc9293_3_8_6_3_delay_is_below_half_a_second(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        nsec_t t0 = time_now();

        tx(&peer, ACK, 1 + (uint32_t)i, 1, "x", 1);
        pass(500 * MS);
        expect(&peer, ACK, 1, 0, 2 + (uint32_t)i);
        assert_in_range(last_rx.at - t0, 1 * MS, 60 * MS);
        expect_none(&peer);
    }
}

static void rfc5681_4_2_first_segments_are_acked_quickly(void **state)
{
    (void)state;
    tcp_of(sock)->rcv_mss = MSS;
    for (uint32_t i = 0; i < 8; i++) { /* the peer is in slow start */
        tx(&peer, ACK, 1 + i * MSS, 1, buf, MSS);
        expect(&peer, ACK, 1, 0, 1 + (i + 1) * MSS);
    }
}

static void rfc9293_3_10_7_4_pure_acks_are_not_acked(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        tx(&peer, ACK, 1, 1, NULL, 0);
    pass(SEC);
    expect_none(&peer);
}

/* --- small segments --------------------------------------------------------------------------- */

static void rfc9293_3_7_4_full_segments_do_not_wait(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
    assert_int_equal(send_bytes(sock, buf, MSS, 0), MSS);
    expect(&peer, ACK, 2, MSS, 1);
    assert_int_equal(send_bytes(sock, buf, 10, 0), 10);
    expect_none(&peer);
    tx(&peer, ACK, 1, 2, NULL, 0); /* the small one has arrived */
    expect(&peer, ACK, 2 + MSS, 10, 1);
}

static void rfc9293_3_7_4_small_end_of_a_large_write_goes(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, 2 * MSS + 10, 0), 2 * MSS + 10);
    expect(&peer, ACK, 1, MSS, 1);
    expect(&peer, ACK, 1 + MSS, MSS, 1);
    expect(&peer, ACK, 1 + 2 * MSS, 10, 1);
}

static void rfc9293_3_7_4_nodelay_releases_what_waits(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
    assert_int_equal(send_bytes(sock, "b", 1, 0), 1);
    expect_none(&peer);
    set_opt(sock, 1, 1);
    expect(&peer, ACK, 2, 1, 1);
}

static void rfc9293_3_7_4_cork_lets_full_segments_go(void **state)
{
    (void)state;
    set_opt(sock, 3, 1);
    assert_int_equal(send_bytes(sock, buf, MSS + 10, 0), MSS + 10);
    expect(&peer, ACK, 1, MSS, 1);
    expect_none(&peer);
    set_opt(sock, 3, 0);
    expect(&peer, ACK, 1 + MSS, 10, 1);
}

static void rfc9293_3_7_4_cork_is_stronger_than_nodelay(void **state)
{
    (void)state;
    set_opt(sock, 1, 1);
    set_opt(sock, 3, 1);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    expect_none(&peer);
    set_opt(sock, 3, 0);
    expect(&peer, ACK, 1, 3, 1);
}

static void rfc9293_3_7_4_fin_takes_the_cork_out(void **state)
{
    (void)state;
    set_opt(sock, 3, 1);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 3, 1);
}

/* --- silly windows ---------------------------------------------------------------------------- */

static void rfc9293_3_8_6_2_1_sender_waits_for_a_useful_window(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, 4 * MSS, 0), 4 * MSS);
    drain(&peer);
    assert_int_equal(send_bytes(sock, buf, 4 * MSS, 0), 4 * MSS);
    drain(&peer);
    peer.win = 256; /* in front of what is in flight */
    tx(&peer, ACK, 1, 1 + 8 * MSS - 128, NULL, 0);
    expect_none(&peer);
    assert_int_equal(send_bytes(sock, buf, 1000, 0), 1000);
    expect_none(&peer); /* 128 bytes would fit */
    peer.win = 65535;
    tx(&peer, ACK, 1, 1 + 8 * MSS, NULL, 0);
    expect(&peer, ACK, 1 + 8 * MSS, 1000, 1);
}

static void rfc9293_3_8_6_2_1_small_window_is_used_in_the_end(void **state)
{
    uint32_t sent = 0;

    (void)state;
    peer.win = 256;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, buf, 1000, 0), 1000);
    for (int i = 0; i < 20 && sent < 1000; i++) {
        pass(300 * MS);
        drain(&peer);
        sent = tcp_of(sock)->snd_nxt - peer.local_iss - 1;
        tx(&peer, ACK, 1, 1 + sent, NULL, 0);
    }
    assert_int_equal(sent, 1000);
}

static void rfc9293_3_8_6_2_2_receiver_offers_no_crumbs(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t seq = 1, told;

    (void)state;
    while (t->rcv_wup + t->rcv_wnd - t->rcv_nxt >= MSS) {
        tx(&peer, ACK, seq, 1, buf, MSS);
        seq += MSS;
        pass(50 * MS);
    }
    told = t->rcv_wup + t->rcv_wnd;
    drain(&peer);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 100); /* a little room */
    pass(100 * MS);
    tx(&peer, ACK, seq - 1, 1, "x", 1);
    while (pending(&peer))
        assert_true(t->rcv_wup + t->rcv_wnd == told && rx(&peer)->len == 0);
    assert_int_equal(t->rcv_wup + t->rcv_wnd, told);
}

static void rfc9293_3_8_6_2_2_window_never_shrinks(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t edge = 0, seq = 1;

    (void)state;
    for (int i = 0; i < 200; i++) {
        uint32_t room = t->rcv_wup + t->rcv_wnd - t->rcv_nxt;

        if (room)
            tx(&peer, ACK, seq, 1, buf, MIN(room, 700u));
        seq = t->rcv_nxt - peer.iss;
        if (i % 7 == 0)
            recv_bytes(sock, buf, 900, 0);
        while (pending(&peer)) {
            struct seg *g = rx(&peer);
            uint32_t e = g->ack - peer.iss + ((uint32_t)g->win << t->rcv_wscale);

            assert_true(e >= edge);
            edge = e;
        }
    }
    assert_true(edge > 60000);
}

/* --- the peer's window ------------------------------------------------------------------------ */

static void rfc9293_3_10_7_4_old_segment_does_not_set_the_window(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abc", 3);
    peer.win = 1280;
    tx(&peer, ACK, 4, 1, NULL, 0);
    assert_int_equal(tcp_of(sock)->snd_wnd, 1280);
    peer.win = 65535;
    tx(&peer, ACK, 1, 1, "abc", 3); /* from before */
    assert_int_equal(tcp_of(sock)->snd_wnd, 1280);
}

static void rfc9293_3_8_6_shrunk_window_is_respected(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    assert_int_equal(send_bytes(sock, buf, 4 * MSS, 0), 4 * MSS);
    assert_int_equal(drain(&peer), 4 * MSS);
    peer.win = 1280;
    tx(&peer, ACK, 1, 1, "x", 1);
    assert_int_equal(t->snd_wnd, 1280);
    assert_int_equal(send_bytes(sock, buf, MSS, 0), MSS);
    drain(&peer);
    pass(5 * SEC); /* only the head is repeated */
    while (pending(&peer)) {
        rx(&peer);
        assert_true(last_rx.len == 0 || last_rx.seq - peer.local_iss == 1 ||
                    last_rx.seq - peer.local_iss == 1 + 3 * MSS);
    }
    peer.win = 65535;
    tx(&peer, ACK, 2, 1 + 4 * MSS, NULL, 0);
    expect(&peer, ACK, 1 + 4 * MSS, MSS, 2);
}

static void rfc9293_3_8_6_1_probes_back_off(void **state)
{
    nsec_t last, gap = 0;

    (void)state;
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    last = time_now();
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    for (int i = 0; i < 6; i++) {
        while (!pending(&peer))
            pass(10 * MS);
        expect(&peer, ACK, 0, 0, 1);
        assert_true(last_rx.at - last >= gap);
        gap = (last_rx.at - last) * 3 / 2;
        last = last_rx.at;
        tx(&peer, ACK, 1, 1, NULL, 0);
    }
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
}

static void rfc9293_3_8_6_1_window_update_lost(void **state)
{
    (void)state;
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    while (!pending(&peer))
        pass(10 * MS);
    expect(&peer, ACK, 0, 0, 1);
    peer.win = 65535; /* told before, and lost: the answer to the probe says it again */
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 1, 3, 1);
}

static void rfc9293_3_8_6_1_our_closed_window_answers_probes(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    while (t->rcv_wup + t->rcv_wnd != t->rcv_nxt) {
        tx(&peer, ACK, t->rcv_nxt - peer.iss, 1, buf,
           MIN(t->rcv_wup + t->rcv_wnd - t->rcv_nxt, MSS));
        pass(50 * MS);
    }
    drain(&peer);
    for (int i = 0; i < 3; i++) { /* with a byte, as BSD and libslirp do it */
        tx(&peer, ACK, t->rcv_nxt - peer.iss, 1, "p", 1);
        expect(&peer, ACK, 1, 0, t->rcv_nxt - peer.iss);
        assert_int_equal(last_rx.win, 0);
        pass(SEC);
    }
    assert_true(recv_bytes(sock, buf, sizeof(buf), 0) > 30000);
    assert_true(rx(&peer)->win > 0);
    tx(&peer, ACK, t->rcv_nxt - peer.iss, 1, "p", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
}

static void rfc9293_3_4_data_beyond_the_window_are_cut_off(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t edge = t->rcv_wup + t->rcv_wnd - peer.iss;

    (void)state;
    tx(&peer, ACK, edge - 5, 1, "0123456789", 10);
    assert_int_equal(t->ooo_bytes, 5);
    assert_int_equal(rx(&peer)->nsacks, 1);
    assert_int_equal(last_rx.sacks[0][1] - peer.iss, edge);
}

static void rfc5482_3_user_timeout_of_a_closed_window(void **state)
{
    (void)state;
    set_opt(sock, 18, 10000);
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    pass(60 * SEC);
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE);
    assert_int_equal(take_error(sock), ETIMEDOUT);
    drain(&peer);
}

/* --- urgent data ------------------------------------------------------------------------------ */

static void rfc6093_4_urgent_data_are_read_in_line(void **state)
{
    int mark = 0;

    (void)state;
    peer.urgent = 3;
    tx(&peer, ACK | URG, 1, 1, "abcdef", 6);
    assert_int_equal(recv_bytes(sock, buf, 2, 0), 2);
    assert_int_equal(sock->ops->ioctl(sock, 0x8905, &mark), 0); /* SIOCATMARK */
    assert_int_equal(mark, 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 4);
    assert_memory_equal(buf, "cdef", 4);
    assert_int_equal(sock->ops->ioctl(sock, 0x8905, &mark), 0);
    assert_int_equal(mark, 0);
}

static void rfc9293_3_8_5_pointer_without_data(void **state)
{
    (void)state;
    peer.urgent = 100;
    tx(&peer, ACK | URG, 1, 1, NULL, 0); /* urgent data are on their way */
    assert_true(sock->ops->poll(sock) & POLL_PRI);
    peer.urgent = 0;
    tx(&peer, ACK | URG, 1, 1, "abc", 3);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 3);
}

/* --- keepalive -------------------------------------------------------------------------------- */

static void keepalive_on(void)
{
    set_opt(sock, 4, 10);
    set_opt(sock, 5, 2);
    set_opt(sock, 6, 3);
    sock->keepalive = true;
    sock->ops->option_changed(sock);
}

static void rfc9293_3_8_4_no_keepalive_by_itself(void **state)
{
    (void)state;
    set_opt(sock, 4, 10);
    pass(60 * SEC);
    expect_none(&peer);
}

static void rfc9293_3_8_4_any_segment_puts_it_off(void **state)
{
    (void)state;
    keepalive_on();
    for (uint32_t i = 0; i < 5; i++) {
        pass(8 * SEC);
        expect_none(&peer);
        tx(&peer, ACK, 1 + i, 1, "x", 1);
        pass(100 * MS);
        expect(&peer, ACK, 1, 0, 2 + i);
    }
}

static void rfc9293_3_8_4_retransmissions_take_its_place(void **state)
{
    (void)state;
    keepalive_on();
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    pass(20 * SEC);
    while (pending(&peer))
        assert_int_equal(rx(&peer)->len, 3);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
}

static void rfc9293_3_8_4_we_answer_a_probe(void **state)
{
    (void)state;
    tx(&peer, ACK, 0, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    tx(&peer, ACK, 0, 1, "g", 1); /* with a byte of garbage */
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc5482_3_user_timeout_ends_keepalives(void **state)
{
    (void)state;
    keepalive_on();
    set_opt(sock, 18, 13000);
    pass(12 * SEC);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    pass(5 * SEC);
    assert_int_equal(take_error(sock), ETIMEDOUT);
    drain(&peer);
}

/* --- room in the send buffer -------------------------------------------------------------------
 */

static void rfc9293_3_9_1_notsent_lowat(void **state)
{
    (void)state;
    set_opt(sock, 25, 4000);
    peer.win = 2560;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_true(send_bytes(sock, buf, 100000, 0) < 70000);
    assert_false(sock->ops->poll(sock) & POLL_OUT);
    peer.win = 1 << 20;
    for (int i = 0; i < 50 && !(sock->ops->poll(sock) & POLL_OUT); i++) {
        drain(&peer);
        tx(&peer, ACK, 1, tcp_of(sock)->snd_nxt - peer.local_iss, NULL, 0);
    }
    assert_true(sock->ops->poll(sock) & POLL_OUT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONN(rfc1122_4_2_3_2_ack_rides_on_the_answer),
        CONN(rfc1122_4_2_3_2_delayed_ack),
        {"rfc1122_4_2_3_2_delayed_ack_ipv6", rfc1122_4_2_3_2_delayed_ack, connected6, disconnect,
         NULL},
        CONN(rfc5681_4_2_ack_every_second_full_segment),
        CONN(rfc9293_3_8_6_3_ack_when_the_reader_waits),
        CONN(rfc9293_3_7_4_nagle),
        CONN(rfc9293_3_7_4_nodelay),
        CONN(rfc9293_3_7_4_cork_holds_until_released),
        CONN(rfc9293_3_7_4_cork_ends_after_200_ms),
        CONN(rfc9293_3_7_4_msg_more_joins_sends),
        CONN(rfc7323_4_receivers_window_follows_the_round_trip),
        CONN(rfc7323_4_slow_peer_needs_no_larger_window),
        CONN(rfc9293_3_8_6_send_window_is_respected),
        CONN(rfc9293_3_8_6_1_zero_window_probes),
        {"rfc9293_3_8_6_1_zero_window_probes_ipv6", rfc9293_3_8_6_1_zero_window_probes, connected6,
         disconnect, NULL},
        CONN(rfc9293_3_8_6_2_2_receive_window_closes_and_opens),
        {"rfc9293_3_8_6_2_2_receive_window_closes_and_opens_ipv6",
         rfc9293_3_8_6_2_2_receive_window_closes_and_opens, connected6, disconnect, NULL},
        CONN(rfc9293_3_8_5_urgent_data_stay_in_line),
        CONN(rfc9293_3_8_4_keepalive_probes_and_drops),
        {"rfc9293_3_8_4_keepalive_probes_and_drops_ipv6", rfc9293_3_8_4_keepalive_probes_and_drops,
         connected6, disconnect, NULL},
        CONN(rfc5681_4_2_filling_a_hole_is_acked_at_once),
        CONN(rfc9293_3_8_6_3_duplicate_is_acked_at_once),
        CONN(rfc9293_3_8_6_3_quickack),
        CONN(rfc9293_3_8_6_3_delay_is_below_half_a_second),
        CONN(rfc5681_4_2_first_segments_are_acked_quickly),
        CONN(rfc9293_3_10_7_4_pure_acks_are_not_acked),
        CONN(rfc9293_3_7_4_full_segments_do_not_wait),
        CONN(rfc9293_3_7_4_small_end_of_a_large_write_goes),
        CONN(rfc9293_3_7_4_nodelay_releases_what_waits),
        CONN(rfc9293_3_7_4_cork_lets_full_segments_go),
        CONN(rfc9293_3_7_4_cork_is_stronger_than_nodelay),
        CONN(rfc9293_3_7_4_fin_takes_the_cork_out),
        CONN(rfc9293_3_8_6_2_1_sender_waits_for_a_useful_window),
        CONN(rfc9293_3_8_6_2_1_small_window_is_used_in_the_end),
        CONN(rfc9293_3_8_6_2_2_receiver_offers_no_crumbs),
        CONN(rfc9293_3_8_6_2_2_window_never_shrinks),
        CONN(rfc9293_3_10_7_4_old_segment_does_not_set_the_window),
        CONN(rfc9293_3_8_6_shrunk_window_is_respected),
        CONN(rfc9293_3_8_6_1_probes_back_off),
        CONN(rfc9293_3_8_6_1_window_update_lost),
        CONN(rfc9293_3_8_6_1_our_closed_window_answers_probes),
        CONN(rfc9293_3_4_data_beyond_the_window_are_cut_off),
        CONN(rfc5482_3_user_timeout_of_a_closed_window),
        CONN(rfc6093_4_urgent_data_are_read_in_line),
        CONN(rfc9293_3_8_5_pointer_without_data),
        CONN(rfc9293_3_8_4_no_keepalive_by_itself),
        CONN(rfc9293_3_8_4_any_segment_puts_it_off),
        CONN(rfc9293_3_8_4_retransmissions_take_its_place),
        CONN(rfc9293_3_8_4_we_answer_a_probe),
        CONN(rfc5482_3_user_timeout_ends_keepalives),
        CONN(rfc9293_3_9_1_notsent_lowat),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
