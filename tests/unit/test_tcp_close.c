/* TCP: ends of connections, orderly and abrupt, and what comes after them. */
#include "tcp_peer.h"

static char buf[100000];

#define state_of(s) (tcp_of(s)->state)

/* --- we close first --------------------------------------------------------------------------- */

static void rfc9293_3_6_we_close_first(void **state)
{
    uint32_t tw = tcp_tw_count();

    (void)state;
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 2, NULL, 0);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    assert_int_equal(tcp_tw_count(), tw + 1);
    pass(500 * MS);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0); /* our ACK was lost */
    expect(&peer, ACK, 2, 0, 2);
    tx(&peer, RST, 2, 0, NULL, 0); /* RFC 1337 */
    assert_int_equal(tcp_tw_count(), tw + 1);
    pass(62 * SEC);
    assert_int_equal(tcp_tw_count(), 0);
}

static void rfc9293_3_6_peer_closes_first(void **state)
{
    (void)state;
    tx(&peer, FIN | ACK, 1, 1, NULL, 0);
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE_WAIT);
    assert_true(sock->ops->poll(sock) & POLL_RDHUP);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    assert_int_equal(send_bytes(sock, "bye", 3, 0), 3); /* half-closed */
    expect(&peer, ACK, 1, 3, 2);
    close_socket();
    expect(&peer, FIN | ACK, 4, 0, 2);
    tx(&peer, ACK, 2, 5, NULL, 0);
    tx(&peer, ACK, 2, 5, NULL, 0);
    assert_int_equal(rx(&peer)->flags, RST); /* nothing is left */
}

static void rfc9293_3_6_simultaneous_close(void **state)
{
    uint32_t tw = tcp_tw_count();

    (void)state;
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    tx(&peer, ACK, 2, 2, NULL, 0);
    assert_int_equal(tcp_tw_count(), tw + 1);
}

static void rfc9293_3_6_1_half_close_keeps_reading(void **state)
{
    (void)state;
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    assert_int_equal(send_bytes(sock, "x", 1, 0), -EPIPE);
    tx(&peer, ACK, 1, 2, "still", 5);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 5);
    tx(&peer, FIN | ACK, 6, 2, NULL, 0);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    assert_true(sock->ops->poll(sock) & POLL_HUP);
}

static void rfc9293_3_10_7_4_fin_with_data(void **state)
{
    (void)state;
    tx(&peer, FIN | ACK, 1, 1, "last", 4);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 4);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    pass(50 * MS);
    expect(&peer, ACK, 1, 0, 6);
}

static void rfc9293_3_10_7_4_fin_out_of_order(void **state)
{
    (void)state;
    tx(&peer, FIN | ACK, 4, 1, "def", 3);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
    drain(&peer);
    tx(&peer, ACK, 1, 1, "abc", 3);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 6);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    drain(&peer);
    assert_int_equal(last_rx.ack - peer.iss, 8);
}

static void rfc9293_3_6_1_data_after_close_are_reset(void **state)
{
    (void)state;
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 2, "too late", 8);
    assert_true(rx(&peer)->flags & RST);
}

static void rfc9293_3_6_orphan_in_fin_wait_2_ends_after_60_s(void **state)
{
    uint32_t n = tcp_table_count();

    (void)state;
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 2, NULL, 0);
    pass(50 * SEC);
    assert_int_equal(tcp_table_count(), n);
    pass(15 * SEC);
    assert_true(tcp_table_count() < n);
}

static void rfc9293_3_8_1_fin_is_retransmitted(void **state)
{
    (void)state;
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    pass(400 * MS);
    expect(&peer, FIN | ACK, 1, 0, 1);
}

static void rfc2525_2_17_unread_data_reset_on_close(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "unread", 6);
    close_socket();
    assert_true(rx(&peer)->flags & RST);
}

/* To FIN-WAIT-2, the socket still ours. */
static void to_fin_wait_2(void)
{
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 2, NULL, 0);
    assert_int_equal(state_of(sock), TCP_FIN_WAIT2);
}

static void to_closing(void)
{
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    assert_int_equal(state_of(sock), TCP_CLOSING);
}

static void to_close_wait(void)
{
    tx(&peer, FIN | ACK, 1, 1, NULL, 0);
    pass(50 * MS);
    expect(&peer, ACK, 1, 0, 2);
    assert_int_equal(state_of(sock), TCP_CLOSE_WAIT);
}

static void to_last_ack(void)
{
    to_close_wait();
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 2);
    assert_int_equal(state_of(sock), TCP_LAST_ACK);
}

/* Waits for the TIME-WAITs of other tests to end; how many connections there are then. */
static uint32_t count_connections(void)
{
    pass(65 * SEC);
    assert_int_equal(tcp_tw_count(), 0);
    return tcp_table_count();
}

static void rfc9293_3_6_what_is_queued_goes_before_the_fin(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, 3000, 0), 3000);
    close_socket();
    expect(&peer, ACK, 1, 1448, 1);
    expect(&peer, ACK, 1449, 1448, 1);
    expect(&peer, ACK, 2897, 104, 1);
    expect(&peer, FIN | ACK, 3001, 0, 1);
    expect_none(&peer);
}

static void rfc9293_3_6_fin_waits_for_the_window(void **state)
{
    (void)state;
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    close_socket();
    expect_none(&peer);
    peer.win = 65535;
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect(&peer, FIN | ACK, 1, 3, 1);
}

static void rfc9293_3_6_fin_and_ack_of_ours_at_once(void **state)
{
    uint32_t tw = tcp_tw_count();

    (void)state;
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    assert_int_equal(tcp_tw_count(), tw + 1);
}

static void rfc9293_3_6_last_data_with_fin_and_ack_of_ours(void **state)
{
    (void)state;
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 2, "last", 4);
    expect(&peer, ACK, 2, 0, 6);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 4);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
}

static void rfc9293_3_6_data_are_read_in_fin_wait_1(void **state)
{
    (void)state;
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 1, "abc", 3);
    assert_int_equal(state_of(sock), TCP_FIN_WAIT1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 3);
}

static void rfc9293_3_6_data_are_read_in_fin_wait_2(void **state)
{
    (void)state;
    to_fin_wait_2();
    tx(&peer, ACK, 1, 2, "abc", 3);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 3);
    pass(50 * MS);
    expect(&peer, ACK, 2, 0, 4);
    pass(100 * SEC); /* not an orphan: it may take its time */
    assert_int_equal(state_of(sock), TCP_FIN_WAIT2);
}

static void rfc9293_3_6_ack_of_data_only_stays_in_fin_wait_1(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    expect(&peer, ACK, 1, 3, 1);
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 4, 0, 1);
    tx(&peer, ACK, 1, 4, NULL, 0);
    assert_int_equal(state_of(sock), TCP_FIN_WAIT1);
    tx(&peer, ACK, 1, 5, NULL, 0);
    assert_int_equal(state_of(sock), TCP_FIN_WAIT2);
}

static void rfc9293_3_6_lost_data_before_the_fin(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    expect(&peer, ACK, 1, 3, 1);
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 4, 0, 1);
    pass(500 * MS);
    rx(&peer);
    assert_int_equal(last_rx.seq, peer.local_iss + 1);
    assert_memory_equal(last_rx.data, "abc", 3);
    tx(&peer, ACK, 1, 5, NULL, 0);
    assert_int_equal(state_of(sock), TCP_FIN_WAIT2);
}

static void rfc9293_3_6_linger2_ends_fin_wait_2(void **state)
{
    uint32_t n = count_connections();

    (void)state;
    set_opt(sock, 8, 5);
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 2, NULL, 0);
    pass(4 * SEC);
    assert_int_equal(tcp_table_count(), n);
    pass(2 * SEC);
    assert_int_equal(tcp_table_count(), n - 1);
}

static void rfc9293_3_8_3_orphan_gives_up(void **state)
{
    uint32_t n = count_connections();

    (void)state;
    close_socket();
    pass(200 * SEC);
    assert_int_equal(tcp_table_count(), n - 1);
    for (n = 0; pending(&peer); n++)
        assert_true(rx(&peer)->flags & (n < 9 ? FIN : RST));
    assert_int_equal(n, 10);
}

static void rfc9293_3_9_1_shutdown_of_reading(void **state)
{
    (void)state;
    assert_int_equal(sock->ops->shutdown(sock, 0), 0);
    expect_none(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    assert_int_equal(send_bytes(sock, "x", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
}

static void rfc9293_3_9_1_shutdown_of_both(void **state)
{
    (void)state;
    assert_int_equal(sock->ops->shutdown(sock, 2), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    assert_int_equal(send_bytes(sock, "x", 1, 0), -EPIPE);
}

static void rfc9293_3_9_1_close_in_syn_sent_says_nothing(void **state)
{
    struct peer p = new_peer(0);
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p.port};
    struct socket *s = new_socket();

    (void)state;
    assert_int_equal(s->ops->connect(s, &a, true), -EINPROGRESS);
    assert_int_equal(rx(&p)->flags, SYN);
    s->ops->close(s);
    pass(5 * SEC);
    expect_none(&p);
}

/* --- the peer closes first -------------------------------------------------------------------- */

static void rfc9293_3_10_7_4_repeated_fin_is_acked(void **state)
{
    (void)state;
    to_close_wait();
    tx(&peer, FIN | ACK, 1, 1, NULL, 0); /* our ACK was lost */
    expect(&peer, ACK, 1, 0, 2);
    assert_int_equal(state_of(sock), TCP_CLOSE_WAIT);
}

static void rfc9293_3_10_7_4_nothing_is_read_beyond_the_fin(void **state)
{
    (void)state;
    to_close_wait();
    tx(&peer, ACK, 2, 1, "more", 4);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    assert_int_equal(tcp_of(sock)->rcv_nxt, peer.iss + 2);
}

static void rfc9293_3_6_data_are_sent_in_close_wait(void **state)
{
    (void)state;
    to_close_wait();
    assert_int_equal(send_bytes(sock, "bye", 3, 0), 3);
    expect(&peer, ACK, 1, 3, 2);
    pass(500 * MS); /* and sent again */
    expect(&peer, ACK, 1, 3, 2);
    tx(&peer, ACK, 2, 4, NULL, 0);
    assert_int_equal(tcp_flight(tcp_of(sock)), 0);
}

static void rfc9293_3_8_1_fin_in_last_ack_is_retransmitted(void **state)
{
    (void)state;
    to_last_ack();
    pass(400 * MS);
    expect(&peer, FIN | ACK, 1, 0, 2);
    tx(&peer, ACK, 2, 2, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(take_error(sock), 0);
}

static void rfc9293_3_10_7_4_old_ack_in_last_ack(void **state)
{
    (void)state;
    to_last_ack();
    tx(&peer, ACK, 2, 1, NULL, 0);
    assert_int_equal(state_of(sock), TCP_LAST_ACK);
}

static void rfc9293_3_10_7_4_last_ack_leaves_nothing(void **state)
{
    uint32_t n = count_connections(), tw = tcp_tw_count();

    (void)state;
    to_last_ack();
    tx(&peer, ACK, 2, 2, NULL, 0);
    assert_int_equal(tcp_table_count(), n - 1);
    assert_int_equal(tcp_tw_count(), tw);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    assert_int_equal(rx(&peer)->flags, RST);
}

/* --- a FIN that is early, alone or odd -------------------------------------------------------- */

static void rfc9293_3_10_7_4_fin_without_data_ahead_of_data(void **state)
{
    (void)state;
    tx(&peer, FIN | ACK, 4, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
    tx(&peer, ACK, 1, 1, "abc", 3);
    tx(&peer, FIN | ACK, 4, 1, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE_WAIT);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 3);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
}

static void rfc9293_3_10_7_4_fin_outside_of_the_window(void **state)
{
    (void)state;
    tx(&peer, FIN | ACK, 0x10000000, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 0xf0000000, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(state_of(sock), TCP_ESTABLISHED);
}

static void rfc9293_3_10_7_4_fin_beyond_the_window_is_cut_off(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t edge = t->rcv_wup + t->rcv_wnd - peer.iss;

    (void)state;
    tx(&peer, FIN | ACK, edge - 10, 1, buf, 20);
    assert_int_equal(t->ooo_bytes, 10);
    assert_false(t->fin_received);
}

static void rfc9293_3_10_7_4_fin_with_known_data(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abc", 3);
    tx(&peer, FIN | ACK, 1, 1, "abc", 3);
    assert_int_equal(state_of(sock), TCP_CLOSE_WAIT);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 3);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
}

static void rfc9293_3_10_7_4_fin_into_a_closed_window(void **state)
{
    struct tcp *t = tcp_of(sock);
    uint32_t seq = 1;

    (void)state;
    while (t->rcv_wup + t->rcv_wnd != t->rcv_nxt) {
        uint32_t room = t->rcv_wup + t->rcv_wnd - t->rcv_nxt;

        tx(&peer, ACK, seq, 1, buf, MIN(room, 1448u));
        seq = t->rcv_nxt - peer.iss;
        pass(50 * MS);
        assert_true(seq < 1000000);
    }
    drain(&peer);
    tx(&peer, FIN | ACK, seq, 1, NULL, 0); /* takes no room in the buffer */
    assert_int_equal(t->state, TCP_CLOSE_WAIT);
}

/* --- both at once ----------------------------------------------------------------------------- */

static void rfc9293_3_6_closing_retransmits_the_fin(void **state)
{
    uint32_t tw = tcp_tw_count();

    (void)state;
    to_closing();
    pass(400 * MS);
    expect(&peer, FIN | ACK, 1, 0, 2);
    tx(&peer, ACK, 2, 2, NULL, 0);
    assert_int_equal(tcp_tw_count(), tw + 1);
}

static void rfc9293_3_6_closing_acks_a_repeated_fin(void **state)
{
    (void)state;
    to_closing();
    tx(&peer, FIN | ACK, 1, 1, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    assert_int_equal(state_of(sock), TCP_CLOSING);
}

static void rfc9293_3_6_crossing_fins_with_data(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, "ours", 4, 0), 4);
    expect(&peer, ACK, 1, 4, 1);
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 5, 0, 1);
    tx(&peer, FIN | ACK, 1, 1, "theirs", 6);
    expect(&peer, ACK, 6, 0, 8);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 6);
    tx(&peer, ACK, 8, 6, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE); /* the rest is TIME-WAIT's */
}

/* --- TIME-WAIT -------------------------------------------------------------------------------- */

static void to_time_wait(void)
{
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
}

static void rfc9293_3_10_7_4_repeated_fin_restarts_time_wait(void **state)
{
    uint32_t tw;

    (void)state;
    count_connections();
    to_time_wait();
    tw = tcp_tw_count();
    pass(50 * SEC);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    pass(50 * SEC);
    assert_int_equal(tcp_tw_count(), tw);
    pass(12 * SEC);
    assert_int_equal(tcp_tw_count(), tw - 1);
}

static void rfc9293_3_10_7_4_data_in_time_wait_are_answered(void **state)
{
    (void)state;
    to_time_wait();
    tx(&peer, ACK, 1, 2, "old", 3);
    expect(&peer, ACK, 2, 0, 2);
    tx(&peer, ACK, 1, 2, "old", 3); /* not each time */
    expect_none(&peer);
}

static void rfc1337_3_rst_does_not_end_time_wait(void **state)
{
    uint32_t tw;

    (void)state;
    to_time_wait();
    tw = tcp_tw_count();
    tx(&peer, RST, 2, 0, NULL, 0);
    tx(&peer, RST | ACK, 2, 2, NULL, 0);
    expect_none(&peer);
    assert_int_equal(tcp_tw_count(), tw);
}

static void rfc1337_2_old_syn_does_not_end_time_wait(void **state)
{
    uint32_t tw;

    (void)state;
    peer.tsval = peer_ts(&peer);
    to_time_wait();
    tw = tcp_tw_count();
    peer.tsval -= 10000;
    tx(&peer, SYN, 0, 0, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    assert_int_equal(tcp_tw_count(), tw);
}

static void rfc9293_3_6_time_wait_of_a_plain_peer(void **state)
{
    (void)state;
    to_time_wait();
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    assert_false(last_rx.ts);
}

/* --- resets in each state --------------------------------------------------------------------- */

static void rfc9293_3_10_7_4_rst_in_fin_wait_1(void **state)
{
    (void)state;
    assert_int_equal(sock->ops->shutdown(sock, 1), 0);
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, RST, 1, 0, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -ECONNRESET);
}

static void rfc9293_3_10_7_4_rst_in_fin_wait_2(void **state)
{
    (void)state;
    to_fin_wait_2();
    tx(&peer, RST, 1, 0, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(take_error(sock), ECONNRESET);
}

static void rfc9293_3_10_7_4_rst_in_close_wait(void **state)
{
    (void)state;
    to_close_wait();
    tx(&peer, RST, 2, 0, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(take_error(sock), EPIPE); /* as Linux has it */
}

static void rfc9293_3_10_7_4_rst_in_closing(void **state)
{
    uint32_t tw = tcp_tw_count();

    (void)state;
    to_closing();
    tx(&peer, RST, 2, 0, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(take_error(sock), 0);
    assert_int_equal(tcp_tw_count(), tw);
}

static void rfc9293_3_10_7_4_rst_in_last_ack(void **state)
{
    (void)state;
    to_last_ack();
    tx(&peer, RST, 2, 0, NULL, 0);
    assert_int_equal(state_of(sock), TCP_CLOSE);
    assert_int_equal(take_error(sock), 0);
}

static void rfc9293_3_10_7_4_data_before_a_rst_can_be_read(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "last words", 10);
    tx(&peer, RST, 11, 0, NULL, 0);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 10);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), -ECONNRESET);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 0);
}

/* --- lingering -------------------------------------------------------------------------------- */

static void rfc9293_3_9_1_linger_of_zero_aborts(void **state)
{
    uint32_t n = tcp_table_count();

    (void)state;
    assert_int_equal(send_bytes(sock, "lost", 4, 0), 4);
    expect(&peer, ACK, 1, 4, 1);
    kill_socket(sock);
    sock = NULL;
    expect(&peer, RST | ACK, 5, 0, 1);
    assert_int_equal(tcp_table_count(), n - 1);
}

static void rfc9293_3_9_1_linger_ends_with_its_time(void **state)
{
    nsec_t t0 = time_now();

    (void)state;
    sock->linger_on = true;
    sock->linger_s = 3;
    close_socket();
    assert_int_equal(time_now() - t0, 3 * SEC);
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0); /* it goes on in the background */
    drain(&peer);
    assert_int_equal(last_rx.ack, peer.iss + 2);
}

static void closer(void *arg)
{
    ((struct socket *)arg)->ops->close(arg);
}

static void rfc9293_3_9_1_linger_ends_with_the_peers_ack(void **state)
{
    struct socket *s = sock;
    nsec_t t0 = time_now();
    uint32_t tw = tcp_tw_count();

    (void)state;
    s->linger_on = true;
    s->linger_s = 100;
    assert_int_equal(send_bytes(s, "all", 3, 0), 3);
    expect(&peer, ACK, 1, 3, 1);
    sock = NULL;
    assert_int_equal(thread_create(NULL, closer, s, "closer"), 0);
    settle();
    expect(&peer, FIN | ACK, 4, 0, 1);
    pass(50 * MS);
    tx(&peer, FIN | ACK, 1, 5, NULL, 0);
    expect(&peer, ACK, 5, 0, 2);
    assert_int_equal(tcp_tw_count(), tw + 1);
    assert_true(time_now() - t0 < SEC);
}

static void rfc9293_3_9_1_without_linger_close_does_not_wait(void **state)
{
    nsec_t t0 = time_now();

    (void)state;
    assert_int_equal(send_bytes(sock, "abc", 3, 0), 3);
    close_socket();
    assert_true(time_now() == t0);
    expect(&peer, ACK, 1, 3, 1);
    expect(&peer, FIN | ACK, 4, 0, 1);
    pass(500 * MS); /* it is repeated though nobody is left */
    assert_true(pending(&peer));
    drain(&peer);
}

#define CONN6(f)                                                                                   \
    {                                                                                              \
#f "_ipv6", f, connected6, disconnect, NULL                                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONN(rfc9293_3_6_we_close_first),
        CONN6(rfc9293_3_6_we_close_first),
        CONN(rfc9293_3_6_peer_closes_first),
        CONN6(rfc9293_3_6_peer_closes_first),
        CONN(rfc9293_3_6_simultaneous_close),
        CONN6(rfc9293_3_6_simultaneous_close),
        CONN(rfc9293_3_6_1_half_close_keeps_reading),
        CONN(rfc9293_3_10_7_4_fin_with_data),
        CONN(rfc9293_3_10_7_4_fin_out_of_order),
        CONN(rfc9293_3_6_1_data_after_close_are_reset),
        CONN(rfc9293_3_6_orphan_in_fin_wait_2_ends_after_60_s),
        CONN(rfc9293_3_8_1_fin_is_retransmitted),
        CONN(rfc2525_2_17_unread_data_reset_on_close),
        CONN(rfc9293_3_6_what_is_queued_goes_before_the_fin),
        CONN(rfc9293_3_6_fin_waits_for_the_window),
        CONN(rfc9293_3_6_fin_and_ack_of_ours_at_once),
        CONN(rfc9293_3_6_last_data_with_fin_and_ack_of_ours),
        CONN(rfc9293_3_6_data_are_read_in_fin_wait_1),
        CONN(rfc9293_3_6_data_are_read_in_fin_wait_2),
        CONN(rfc9293_3_6_ack_of_data_only_stays_in_fin_wait_1),
        CONN(rfc9293_3_6_lost_data_before_the_fin),
        CONN(rfc9293_3_6_linger2_ends_fin_wait_2),
        CONN(rfc9293_3_8_3_orphan_gives_up),
        CONN(rfc9293_3_9_1_shutdown_of_reading),
        CONN(rfc9293_3_9_1_shutdown_of_both),
        CONN(rfc9293_3_9_1_close_in_syn_sent_says_nothing),
        CONN(rfc9293_3_10_7_4_repeated_fin_is_acked),
        CONN(rfc9293_3_10_7_4_nothing_is_read_beyond_the_fin),
        CONN(rfc9293_3_6_data_are_sent_in_close_wait),
        CONN(rfc9293_3_8_1_fin_in_last_ack_is_retransmitted),
        CONN(rfc9293_3_10_7_4_old_ack_in_last_ack),
        CONN(rfc9293_3_10_7_4_last_ack_leaves_nothing),
        CONN(rfc9293_3_10_7_4_fin_without_data_ahead_of_data),
        CONN(rfc9293_3_10_7_4_fin_outside_of_the_window),
        CONN(rfc9293_3_10_7_4_fin_beyond_the_window_is_cut_off),
        CONN(rfc9293_3_10_7_4_fin_with_known_data),
        CONN(rfc9293_3_10_7_4_fin_into_a_closed_window),
        CONN(rfc9293_3_6_closing_retransmits_the_fin),
        CONN(rfc9293_3_6_closing_acks_a_repeated_fin),
        CONN(rfc9293_3_6_crossing_fins_with_data),
        CONN(rfc9293_3_10_7_4_repeated_fin_restarts_time_wait),
        CONN(rfc9293_3_10_7_4_data_in_time_wait_are_answered),
        CONN6(rfc9293_3_10_7_4_data_in_time_wait_are_answered),
        CONN(rfc1337_3_rst_does_not_end_time_wait),
        CONN(rfc1337_2_old_syn_does_not_end_time_wait),
        CONN_AS(rfc9293_3_6_time_wait_of_a_plain_peer, connected_plain),
        CONN(rfc9293_3_10_7_4_rst_in_fin_wait_1),
        CONN(rfc9293_3_10_7_4_rst_in_fin_wait_2),
        CONN6(rfc9293_3_10_7_4_rst_in_fin_wait_2),
        CONN(rfc9293_3_10_7_4_rst_in_close_wait),
        CONN(rfc9293_3_10_7_4_rst_in_closing),
        CONN(rfc9293_3_10_7_4_rst_in_last_ack),
        CONN(rfc9293_3_10_7_4_data_before_a_rst_can_be_read),
        CONN(rfc9293_3_9_1_linger_of_zero_aborts),
        CONN(rfc9293_3_9_1_linger_ends_with_its_time),
        CONN(rfc9293_3_9_1_linger_ends_with_the_peers_ack),
        CONN(rfc9293_3_9_1_without_linger_close_does_not_wait),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
