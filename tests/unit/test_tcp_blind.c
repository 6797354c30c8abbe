/* TCP: segments of somebody who guesses, and of a peer that has forgotten (RFC 5961, 5927, 9293).
 */
#include "tcp_peer.h"

static char buf[100000];

#define state_of(s) (tcp_of(s)->state)

static void rfc5961_3_2_rst_at_rcv_nxt_resets(void **state)
{
    (void)state;
    tx(&peer, RST, 1, 0, NULL, 0);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -ECONNRESET);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    assert_int_equal(send_bytes(sock, "x", 1, 0), -EPIPE);
}

static void rfc5961_3_2_rst_in_window_is_challenged(void **state)
{
    (void)state;
    tx(&peer, RST, 100, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    tx(&peer, RST, 0x40000000, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
}

static void rfc5961_4_2_syn_is_challenged(void **state)
{
    (void)state;
    tx(&peer, SYN, 1, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    tx(&peer, SYN, 2, 0, NULL, 0); /* rate limited */
    expect_none(&peer);
}

static void rfc5961_5_2_ack_of_unsent_data_is_challenged(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 5000, "x", 1);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc9293_3_10_7_4_segment_below_the_window_is_acked(void **state)
{
    (void)state;
    tx(&peer, ACK, 0, 1, NULL, 0); /* a keepalive */
    expect(&peer, ACK, 1, 0, 1);
}

static void rfc9293_3_1_bad_checksum_is_dropped(void **state)
{
    (void)state;
    inject_raw(&peer, ACK, peer.iss + 1, peer.local_iss + 1, "x", 1, NULL, 0, true);
    settle();
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc9293_3_10_7_1_closed_port_answers_rst(void **state)
{
    struct peer p = new_peer(4444);
    struct seg *g;

    (void)state;
    tx(&p, SYN, 0, 0, NULL, 0);
    g = rx(&p);
    assert_int_equal(g->flags, RST | ACK);
    assert_int_equal(g->ack, p.iss + 1);
    assert_int_equal(g->seq, 0);
    tx(&p, ACK, 1, 77, "abc", 3);
    g = rx(&p);
    assert_int_equal(g->flags, RST);
    assert_int_equal(g->seq, 77);
    tx(&p, RST, 1, 0, NULL, 0);
    expect_none(&p);
}

/* --- RST -------------------------------------------------------------------------------------- */

static void rfc5961_3_2_rst_before_the_window_is_ignored(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abc", 3);
    pass(50 * MS);
    drain(&peer);
    tx(&peer, RST, 3, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc5961_3_2_rst_behind_the_window_is_ignored(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    tx(&peer, RST, t->rcv_wup + t->rcv_wnd + 1 - peer.iss, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(t->state, TCP_ESTABLISHED);
}

static void rfc5961_3_2_rst_next_to_rcv_nxt_is_challenged(void **state)
{
    (void)state;
    tx(&peer, RST, 2, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc5961_3_2_rst_with_ack_at_rcv_nxt_resets(void **state)
{
    (void)state;
    tx(&peer, RST | ACK, 1, 1, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(take_error(sock), ECONNRESET);
}

static void rfc5961_3_2_rst_behind_a_hole_is_challenged(void **state)
{
    (void)state;
    tx(&peer, ACK, 4, 1, "def", 3);
    drain(&peer);
    tx(&peer, RST, 7, 0, NULL, 0); /* the sender's next, but not ours */
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(last_rx.nsacks, 1);
    tx(&peer, RST, 1, 0, NULL, 0); /* what a real peer answers with */
    assert_int_equal(state_of(sock), TCP_CLOSE);
}

static void rfc5961_3_2_rst_into_a_closed_window(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    while (t->rcv_wup + t->rcv_wnd != t->rcv_nxt) {
        tx(&peer, ACK, t->rcv_nxt - peer.iss, 1, buf,
           MIN(t->rcv_wup + t->rcv_wnd - t->rcv_nxt, 1448u));
        pass(50 * MS);
    }
    drain(&peer);
    tx(&peer, RST, t->rcv_nxt - peer.iss, 0, NULL, 0);
    assert_int_equal(t->state, TCP_CLOSE);
}

static void rfc5961_3_2_rst_with_data_resets_at_rcv_nxt_only(void **state)
{
    (void)state;
    tx(&peer, RST, 5, 0, "reason", 6);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
    tx(&peer, RST, 1, 0, "reason", 6); /* RFC 9293 3.5.3: text in a RST */
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -ECONNRESET);
}

static void rfc9293_3_5_3_rst_with_a_bad_checksum(void **state)
{
    (void)state;
    inject_raw(&peer, RST, peer.iss + 1, 0, NULL, 0, NULL, 0, true);
    settle();
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc7323_5_2_paws_does_not_stop_a_rst(void **state)
{
    (void)state;
    peer.tsval = peer_ts(&peer) - 10000;
    tx(&peer, RST, 1, 0, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
}

/* --- SYN -------------------------------------------------------------------------------------- */

static void rfc5961_4_2_syn_outside_of_the_window_is_challenged(void **state)
{
    (void)state;
    tx(&peer, SYN, 0x40000000, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc5961_4_2_synack_is_challenged(void **state)
{
    (void)state;
    tx(&peer, SYN | ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc5961_4_2_syn_with_data_is_not_read(void **state)
{
    (void)state;
    tx(&peer, SYN | ACK, 0, 1, "forged", 6);
    drain(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc5961_4_2_rebooted_peer_gets_through(void **state)
{
    struct peer again = peer;

    (void)state;
    again.iss = peer.iss + 0x30000000;
    tx(&again, SYN, 0, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    tx(&peer, RST, 1, 0, NULL, 0); /* it knows of nothing */
    assert_int_equal(state_of(sock), TCP_CLOSE);
    pass(SEC);
    tx(&again, SYN, 0, 0, NULL, 0);
    assert_int_equal(rx(&again)->flags, SYN | ACK);
    assert_int_equal(last_rx.ack, again.iss + 1);
}

/* --- ACK -------------------------------------------------------------------------------------- */

static void rfc5961_5_2_old_ack_within_the_largest_window(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    expect(&peer, ACK, 1, 3, 1);
    tx(&peer, ACK, 1, 4, NULL, 0);
    tx(&peer, ACK, 1, 2, "late", 4); /* its data are good */
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 4);
}

static void rfc5961_5_2_very_old_ack_is_challenged(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1 - (tcp_of(sock)->snd_max_wnd + 10), "forged", 6);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc5961_5_2_ack_of_what_is_queued_but_not_sent(void **state)
{
    (void)state;
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    tx(&peer, ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(tcp_queued(tcp_of(sock)), 3);
}

static void rfc9293_3_10_7_4_segment_without_ack_is_dropped(void **state)
{
    (void)state;
    tx(&peer, PSH, 1, 0, "forged", 6);
    tx(&peer, FIN, 1, 0, NULL, 0);
    tx(&peer, 0, 1, 0, "forged", 6);
    expect_none(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc9293_3_10_7_4_data_outside_of_the_window(void **state)
{
    (void)state;
    tx(&peer, ACK, 0x40000000, 1, "forged", 6);
    expect(&peer, ACK, 1, 0, 1);
    tx(&peer, ACK, 0xc0000000, 1, "forged", 6);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(tcp_of(sock)->ooo_count, 0);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

/* --- rates ------------------------------------------------------------------------------------ */

static void rfc5961_7_two_challenges_a_second(void **state)
{
    uint32_t n = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        tx(&peer, SYN, 1, 0, NULL, 0);
        pass(20 * MS);
    }
    for (; pending(&peer); n++)
        expect(&peer, ACK, 1, 0, 1);
    assert_in_range(n, 4, 5);
}

static void rfc5961_7_challenges_of_all_connections_are_limited(void **state)
{
    uint32_t n = 0;

    (void)state;
    for (uint32_t i = 0; i < 3000; i++)
        n += tcp_challenge_allowed(time_now());
    assert_in_range(n, 400, 1500);
    tx(&peer, SYN, 1, 0, NULL, 0);
    expect_none(&peer);
    pass(1100 * MS);
    tx(&peer, SYN, 1, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
}

static void rfc5961_7_a_loop_of_acks_dies_down(void **state)
{
    uint32_t n = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        tx(&peer, ACK, 0, 1, NULL, 0); /* as two ends that disagree would */
    for (; pending(&peer); n++)
        rx(&peer);
    assert_in_range(n, 1, 10);
}

/* --- ICMP ------------------------------------------------------------------------------------- */

static void icmp(int err, uint32_t seq)
{
    struct ip_addr us = ip_from_v4(US4), them = ip_from_v4(PEER4);
    uint8_t quoted[8];

    wr16(quoted, peer.lport);
    wr16(quoted + 2, peer.port);
    wr32(quoted + 4, peer.local_iss + seq);
    bh_disable();
    tcp_icmp_error(&us, &them, quoted, -err, 0);
    bh_enable();
}

static void rfc5927_4_1_icmp_for_what_is_not_in_flight(void **state)
{
    uint64_t before = net_stat_read(NET_TcpExt_OutOfWindowIcmps);

    (void)state;
    icmp(EHOSTUNREACH, 1000);
    icmp(EHOSTUNREACH, 0xffff0000);
    assert_int_equal(tcp_of(sock)->soft_error, 0);
    assert_int_equal(net_stat_read(NET_TcpExt_OutOfWindowIcmps), before + 2);
}

static void rfc5927_5_2_hard_errors_are_soft(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    expect(&peer, ACK, 1, 3, 1);
    icmp(ECONNREFUSED, 1);
    icmp(EPROTO, 1);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
    tx(&peer, ACK, 1, 4, NULL, 0);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc1122_4_2_3_9_soft_error_tells_why(void **state)
{
    (void)state;
    set_opt(sock, 18, 1000);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    icmp(ENETUNREACH, 1);
    pass(5 * SEC);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -ENETUNREACH);
}

/* --- initial sequence numbers ------------------------------------------------------------------
 */

static void rfc6528_3_isn_follows_the_clock(void **state)
{
    struct tcp_entry e = tcp_of(sock)->e;
    uint32_t a = tcp_make_isn(&e, 1000 * SEC), b = tcp_make_isn(&e, 1001 * SEC);

    (void)state;
    assert_in_range(b - a, 1000000, 250000000); /* more than a connection sends, less than a lap */
}

static void rfc6528_3_isn_of_another_tuple_tells_nothing(void **state)
{
    struct tcp_entry e = tcp_of(sock)->e, f = e;
    uint32_t same = 0;

    (void)state;
    for (uint16_t i = 1; i < 1000; i++) {
        uint32_t d;

        f.rport = (uint16_t)(e.rport + i);
        d = tcp_make_isn(&f, SEC) - tcp_make_isn(&e, SEC);
        same += d + 0x10000 < 0x20000;
    }
    assert_true(same < 3);
}

static void rfc7323_7_1_timestamps_start_at_an_offset_of_their_own(void **state)
{
    struct ip_addr us = ip_from_v4(US4), a = ip_from_v4(PEER4), b = ip_from_v4(net32(0x0a000003));

    (void)state;
    assert_int_equal(tcp_make_ts_offset(&us, &a), tcp_make_ts_offset(&us, &a));
    assert_int_not_equal(tcp_make_ts_offset(&us, &a), tcp_make_ts_offset(&us, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONN(rfc5961_3_2_rst_at_rcv_nxt_resets),
        {"rfc5961_3_2_rst_at_rcv_nxt_resets_ipv6", rfc5961_3_2_rst_at_rcv_nxt_resets, connected6,
         disconnect, NULL},
        CONN(rfc5961_3_2_rst_in_window_is_challenged),
        {"rfc5961_3_2_rst_in_window_is_challenged_ipv6", rfc5961_3_2_rst_in_window_is_challenged,
         connected6, disconnect, NULL},
        CONN(rfc5961_4_2_syn_is_challenged),
        {"rfc5961_4_2_syn_is_challenged_ipv6", rfc5961_4_2_syn_is_challenged, connected6,
         disconnect, NULL},
        CONN(rfc5961_5_2_ack_of_unsent_data_is_challenged),
        {"rfc5961_5_2_ack_of_unsent_data_is_challenged_ipv6",
         rfc5961_5_2_ack_of_unsent_data_is_challenged, connected6, disconnect, NULL},
        CONN(rfc9293_3_10_7_4_segment_below_the_window_is_acked),
        CONN(rfc9293_3_1_bad_checksum_is_dropped),
        TEST(rfc9293_3_10_7_1_closed_port_answers_rst),
        CONN(rfc5961_3_2_rst_before_the_window_is_ignored),
        CONN(rfc5961_3_2_rst_behind_the_window_is_ignored),
        CONN(rfc5961_3_2_rst_next_to_rcv_nxt_is_challenged),
        CONN(rfc5961_3_2_rst_with_ack_at_rcv_nxt_resets),
        CONN(rfc5961_3_2_rst_behind_a_hole_is_challenged),
        CONN(rfc5961_3_2_rst_into_a_closed_window),
        CONN(rfc5961_3_2_rst_with_data_resets_at_rcv_nxt_only),
        CONN(rfc9293_3_5_3_rst_with_a_bad_checksum),
        CONN(rfc7323_5_2_paws_does_not_stop_a_rst),
        CONN(rfc5961_4_2_syn_outside_of_the_window_is_challenged),
        CONN(rfc5961_4_2_synack_is_challenged),
        CONN(rfc5961_4_2_syn_with_data_is_not_read),
        CONN(rfc5961_4_2_rebooted_peer_gets_through),
        CONN(rfc5961_5_2_old_ack_within_the_largest_window),
        CONN(rfc5961_5_2_very_old_ack_is_challenged),
        CONN(rfc5961_5_2_ack_of_what_is_queued_but_not_sent),
        CONN(rfc9293_3_10_7_4_segment_without_ack_is_dropped),
        CONN(rfc9293_3_10_7_4_data_outside_of_the_window),
        CONN(rfc5961_7_two_challenges_a_second),
        CONN(rfc5961_7_challenges_of_all_connections_are_limited),
        CONN(rfc5961_7_a_loop_of_acks_dies_down),
        CONN(rfc5927_4_1_icmp_for_what_is_not_in_flight),
        CONN(rfc5927_5_2_hard_errors_are_soft),
        CONN(rfc1122_4_2_3_9_soft_error_tells_why),
        CONN(rfc6528_3_isn_follows_the_clock),
        CONN(rfc6528_3_isn_of_another_tuple_tells_nothing),
        CONN(rfc7323_7_1_timestamps_start_at_an_offset_of_their_own),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
