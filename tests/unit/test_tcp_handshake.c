/* TCP: opening a connection, and each way in which the segments of it get lost. */
#include "tcp_peer.h"

static char buf[100000];

/* --- a listener and a peer that has said nothing yet ------------------------------------------ */

static void listen_for_peer(bool v6, int backlog)
{
    static uint16_t port = 3000;

    peer_begin(NULL);
    listener = listen_family(v6 ? 6 : 4, ++port, backlog);
    peer = new_peer(port);
    peer.v6 = v6;
}

static int listening(void **state)
{
    (void)state;
    listen_for_peer(false, 10);
    return 0;
}
static int listening6(void **state)
{
    (void)state;
    listen_for_peer(true, 10);
    return 0;
}
static int listening_for_one(void **state)
{
    (void)state;
    listen_for_peer(false, 0);
    return 0;
}

/* The SYN of a peer and our answer. */
static void syn_of(struct peer *p)
{
    struct seg *g;

    tx(p, SYN, 0, 0, NULL, 0);
    g = rx(p);
    assert_int_equal(g->flags, SYN | ACK);
    assert_int_equal(g->ack, p->iss + 1);
    p->local_iss = g->seq;
}

static bool nobody_to_accept(void)
{
    struct socket *s;

    return listener->ops->accept(listener, &s, true) == -EAGAIN;
}

static void accept_it(void)
{
    assert_int_equal(listener->ops->accept(listener, &sock, true), 0);
}

/* Strangers fill the SYN queue; from then on cookies are sent. */
static void fill_syn_queue(void)
{
    for (int i = 0; i < 20; i++) {
        struct peer flood = new_peer(listener->local.port);

        flood.v6 = peer.v6;
        tx(&flood, SYN, 0, 0, NULL, 0);
    }
    drop_captured();
}

/* --- lost and late segments ------------------------------------------------------------------- */

static void rfc9293_3_5_three_segments_open(void **state)
{
    (void)state;
    syn_of(&peer);
    assert_true(nobody_to_accept());
    tx(&peer, ACK, 1, 1, NULL, 0);
    expect_none(&peer);
    accept_it();
    reads("");
}

static void rfc9293_3_10_7_4_data_stand_in_for_a_lost_ack(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, ACK | PSH, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

static void rfc9293_3_10_7_4_ack_and_first_segment_lost(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, ACK, 6, 1, "second", 6);
    accept_it();
    reads("");
    expect(&peer, ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 1, "first", 5);
    reads("firstsecond");
}

static void rfc9293_3_10_7_4_answer_to_a_synack_from_beyond_lost_data(void **state)
{
    (void)state;
    syn_of(&peer);
    pass(1100 * MS);
    assert_int_equal(rx(&peer)->flags, SYN | ACK);
    tx(&peer, ACK, 1001, 1, NULL, 0); /* it has sent a thousand bytes: all lost */
    accept_it();
    reads("");
    assert_int_equal(tcp_of(sock)->rcv_nxt, peer.iss + 1);
    tx(&peer, ACK, 1, 1, "first", 5);
    reads("first");
}

static void rfc9293_3_10_7_4_fin_beyond_lost_data(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, FIN | ACK, 6, 1, NULL, 0);
    accept_it();
    reads("");
    tx(&peer, ACK, 1, 1, "first", 5);
    reads("first");
    tx(&peer, FIN | ACK, 6, 1, NULL, 0);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
}

static void rfc9293_3_10_7_4_data_and_fin_in_the_ack(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, FIN | ACK, 1, 1, "all", 3);
    accept_it();
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE_WAIT);
    reads("all");
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
}

static void rfc9293_3_10_7_4_fin_stands_in_for_a_lost_ack(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, FIN | ACK, 1, 1, NULL, 0);
    accept_it();
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 0);
    pass(50 * MS);
    expect(&peer, ACK, 1, 0, 2);
}

static void rfc9293_3_10_7_4_text_without_ack_is_dropped(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, PSH, 1, 0, "forged", 6);
    assert_true(nobody_to_accept());
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

static void rfc9293_3_10_7_4_duplicated_first_segment(void **state)
{
    (void)state;
    syn_of(&peer);
    queue_tx(&peer, ACK, 1, 1, "first", 5);
    queue_tx(&peer, ACK, 1, 1, "first", 5);
    queue_tx(&peer, ACK, 1, 1, NULL, 0);
    settle();
    accept_it();
    assert_true(nobody_to_accept());
    reads("first");
}

static void rfc9293_3_4_whole_window_before_the_ack_in_reverse(void **state)
{
    static const char text[] = "abcdefghij";

    (void)state;
    syn_of(&peer);
    for (uint32_t i = 10; i > 0; i--)
        queue_tx(&peer, ACK, i, 1, &text[i - 1], 1);
    settle();
    accept_it();
    reads(text);
}

static void rfc9293_3_10_7_2_text_in_the_syn_comes_again(void **state)
{
    struct seg *g;

    (void)state;
    tx(&peer, SYN, 0, 0, "first", 5);
    g = rx(&peer);
    assert_int_equal(g->ack, peer.iss + 1); /* not acknowledged */
    peer.local_iss = g->seq;
    tx(&peer, ACK, 6, 1, "second", 6);
    accept_it();
    reads("");
    tx(&peer, ACK, 1, 1, "first", 5);
    reads("firstsecond");
}

/* --- retransmission --------------------------------------------------------------------------- */

static void rfc6298_5_5_synack_backs_off(void **state)
{
    nsec_t t0, want = 0;

    (void)state;
    tx(&peer, SYN, 0, 0, NULL, 0);
    t0 = time_now();
    pass(130 * SEC);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(rx(&peer)->flags, SYN | ACK);
        assert_in_range(last_rx.at - t0, want, want + 20 * MS);
        want = want * 2 + SEC;
    }
    expect_none(&peer);
    assert_int_equal(tcp_of(listener)->syn_count, 0);
}

static void rfc9293_3_7_1_repeated_synack_has_the_same_options(void **state)
{
    struct seg first;

    (void)state;
    tx(&peer, SYN, 0, 0, NULL, 0);
    first = *rx(&peer);
    pass(1100 * MS);
    rx(&peer);
    assert_int_equal(last_rx.seq, first.seq);
    assert_int_equal(last_rx.mss, first.mss);
    assert_int_equal(last_rx.wscale, first.wscale);
    assert_true(last_rx.sack_ok && last_rx.ts);
    assert_int_equal(last_rx.tsecr, first.tsecr);
}

static void rfc9293_3_8_1_repeated_syn_gets_the_same_synack(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, SYN, 0, 0, NULL, 0);
    assert_int_equal(rx(&peer)->seq, peer.local_iss);
    assert_int_equal(last_rx.ack, peer.iss + 1);
    assert_int_equal(tcp_of(listener)->syn_count, 1);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

static void rfc6298_3_no_sample_of_a_repeated_synack(void **state)
{
    (void)state;
    peer.ts = false;
    syn_of(&peer);
    pass(500 * MS);
    tx(&peer, SYN, 0, 0, NULL, 0); /* ours was late: which one is acknowledged? */
    rx(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    assert_int_equal(tcp_of(sock)->srtt, 0);
}

static void rfc6298_2_2_handshake_is_the_first_sample(void **state)
{
    (void)state;
    syn_of(&peer);
    pass(30 * MS);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    assert_in_range(tcp_of(sock)->srtt, 30 * MS, 31 * MS);
    assert_in_range(tcp_of(sock)->rttvar, 15 * MS, 16 * MS);
}

static void rfc6298_5_7_rto_after_a_lost_synack_is_3_s(void **state)
{
    (void)state;
    peer.ts = false;
    syn_of(&peer);
    pass(1100 * MS);
    rx(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    assert_int_equal(tcp_of(sock)->rto, 3 * SEC);
    assert_int_equal(tcp_of(sock)->cwnd, 10 * 1460);
}

static void rfc5681_3_1_window_of_one_after_lost_synacks(void **state)
{
    (void)state;
    syn_of(&peer);
    pass(3500 * MS);
    drain(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    assert_int_equal(send_bytes(sock, buf, 20000, 0), 20000);
    expect(&peer, ACK, 1, 1448, 1);
    expect_none(&peer);
}

/* --- suspicious segments in SYN-RECEIVED -------------------------------------------------------
 */

static void rfc9293_3_10_7_4_bad_ack_is_reset(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, ACK, 1, 2, NULL, 0);
    assert_int_equal(rx(&peer)->flags, RST);
    assert_int_equal(last_rx.seq, peer.local_iss + 2);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
}

static void rfc9293_3_10_7_4_rst_returns_to_listen(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, RST, 1, 0, NULL, 0);
    assert_int_equal(tcp_of(listener)->syn_count, 0);
    pass(10 * SEC);
    expect_none(&peer);
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
}

static void rfc5961_3_2_rst_in_window_in_syn_received(void **state)
{
    (void)state;
    syn_of(&peer);
    tx(&peer, RST, 100, 0, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
}

/* The client gave up and comes again from the same port. */
static void comes_again_with(uint32_t isn)
{
    struct peer old;

    syn_of(&peer);
    old = peer;
    peer.iss = isn;
    tx(&peer, SYN, 0, 0, NULL, 0);
    assert_true(rx(&peer)->flags & ACK);
    assert_int_equal(last_rx.ack, old.iss + 1);
    tx(&old, RST, 1, 0, NULL, 0); /* RFC 9293 3.10.7.3: what the client makes of it */
    assert_int_equal(tcp_of(listener)->syn_count, 0);
    syn_of(&peer);
    tx(&peer, ACK, 6, 1, "second", 6);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("firstsecond");
}

static void rfc9293_3_5_1_syn_with_an_isn_outside_of_the_window(void **state)
{
    (void)state;
    comes_again_with(peer.iss + 0x12345678);
}

static void rfc9293_3_5_1_syn_with_an_isn_in_the_window(void **state)
{
    (void)state;
    comes_again_with(peer.iss + 1000);
}

static void rfc9293_3_5_1_syn_with_an_earlier_isn(void **state)
{
    (void)state;
    comes_again_with(peer.iss - 64000);
}

static void rfc7323_5_3_old_timestamp_in_syn_received(void **state)
{
    (void)state;
    peer.tsval = 50000;
    syn_of(&peer);
    peer.tsval = 40000;
    tx(&peer, ACK, 1, 1, "old", 3);
    expect(&peer, ACK, 1, 0, 1);
    assert_true(nobody_to_accept());
    peer.tsval = 50001;
    tx(&peer, ACK, 1, 1, "new", 3);
    accept_it();
    reads("new");
}

/* --- segments for a listener -------------------------------------------------------------------
 */

static void rfc9293_3_10_7_2_rst_to_a_listener(void **state)
{
    (void)state;
    tx(&peer, RST, 0, 0, NULL, 0);
    tx(&peer, RST | ACK, 0, 7, NULL, 0);
    tx(&peer, RST | SYN, 0, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(tcp_of(listener)->syn_count, 0);
}

static void rfc9293_3_10_7_2_ack_to_a_listener_is_reset(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 77, "abc", 3);
    assert_int_equal(rx(&peer)->flags, RST);
    assert_int_equal(last_rx.seq, 77);
    tx(&peer, SYN | ACK, 0, 99, NULL, 0);
    assert_int_equal(rx(&peer)->flags, RST);
    assert_int_equal(last_rx.seq, 99);
}

static void rfc9293_3_10_7_2_neither_syn_nor_ack(void **state)
{
    (void)state;
    tx(&peer, 0, 0, 0, "x", 1);
    tx(&peer, FIN, 0, 0, NULL, 0);
    tx(&peer, URG | PSH, 0, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(tcp_of(listener)->syn_count, 0);
}

static void rfc9293_3_10_7_2_syn_with_fin(void **state)
{
    (void)state;
    tx(&peer, SYN | FIN, 0, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(tcp_of(listener)->syn_count, 0);
}

/* --- queues ----------------------------------------------------------------------------------- */

static void rfc9293_3_10_7_2_full_backlog_drops_the_syn(void **state)
{
    struct peer q = new_peer(listener->local.port);

    (void)state;
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0); /* a backlog of 0 admits one */
    tx(&q, SYN, 0, 0, NULL, 0);
    expect_none(&q);
    accept_it();
    syn_of(&q);
}

static void rfc9293_3_10_7_4_admitted_handshakes_end_whatever_the_backlog(void **state)
{
    struct peer q = new_peer(listener->local.port);
    struct socket *other;

    (void)state;
    syn_of(&peer);
    syn_of(&q);
    tx(&peer, ACK, 1, 1, NULL, 0);
    tx(&q, ACK, 1, 1, "first", 5);
    tx(&q, ACK, 6, 1, "second", 6);
    assert_int_equal(listener->ops->accept(listener, &other, true), 0);
    accept_it();
    reads("firstsecond");
    kill_socket(other);
}

static void rfc9293_3_9_1_defer_accept_waits_for_data(void **state)
{
    (void)state;
    set_opt(listener, 9, 5);
    syn_of(&peer);
    pass(20 * MS);
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_true(nobody_to_accept());
    pass(700 * MS);
    expect_none(&peer);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
    assert_in_range(tcp_of(sock)->srtt, 20 * MS, 21 * MS); /* of the ACK, not of the data */
}

static void rfc9293_3_9_1_defer_accept_ends(void **state)
{
    (void)state;
    set_opt(listener, 9, 2);
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    pass(3500 * MS);
    assert_int_equal(rx(&peer)->flags, SYN | ACK); /* are you still there? */
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
}

static void rfc9293_3_9_1_closed_listener_resets_what_waits(void **state)
{
    struct peer q = new_peer(listener->local.port);
    uint32_t before = tcp_table_count();

    (void)state;
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    syn_of(&q);
    assert_int_equal(tcp_table_count(), before + 2);
    listener->ops->close(listener);
    settle();
    assert_true(rx(&peer)->flags & RST);
    assert_true(rx(&q)->flags & RST);
    assert_int_equal(tcp_table_count(), before);
    listener = listen_on(peer.lport + 1000, 1);
}

/* --- SYN cookies ------------------------------------------------------------------------------ */

static void rfc4987_3_6_cookie_opens(void **state)
{
    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    assert_true(last_rx.ts && last_rx.sack_ok && last_rx.wscale >= 0);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    assert_int_equal(tcp_of(sock)->snd_wscale, 7);
    tx(&peer, ACK, 1, 1, "first", 5);
    reads("first");
}

static void rfc4987_3_6_cookie_whose_ack_was_lost(void **state)
{
    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

static void rfc4987_3_6_cookie_whose_ack_and_first_data_were_lost(void **state)
{
    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    tx(&peer, ACK, 6, 1, "second", 6);
    assert_true(nobody_to_accept());
    expect_none(&peer); /* a RST would end what only the cookie knows of */
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
    tx(&peer, ACK, 6, 1, "second", 6);
    reads("second");
}

static void rfc4987_3_6_cookie_acked_twice_is_one_connection(void **state)
{
    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    queue_tx(&peer, ACK, 1, 1, NULL, 0);
    queue_tx(&peer, ACK, 1, 1, NULL, 0);
    queue_tx(&peer, ACK, 1, 1, "first", 5);
    settle();
    accept_it();
    assert_true(nobody_to_accept());
    reads("first");
}

static void rfc4987_3_6_cookie_for_a_peer_without_timestamps(void **state)
{
    (void)state;
    fill_syn_queue();
    peer.ts = false;
    peer.mss = 1300;
    syn_of(&peer);
    assert_false(last_rx.ts || last_rx.sack_ok || last_rx.wscale >= 0);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    assert_int_equal(tcp_of(sock)->mss, 1220);
    assert_int_equal(tcp_of(sock)->snd_wscale + tcp_of(sock)->rcv_wscale, 0);
    assert_false(tcp_of(sock)->sack_on);
}

/* The queue has room again when the SYN is repeated, and then the ACK of the cookie comes. */
static void rfc4987_3_6_late_cookie_fits_the_connection(void **state)
{
    struct peer flood[20];

    (void)state;
    for (int i = 0; i < 20; i++) {
        flood[i] = new_peer(listener->local.port);
        tx(&flood[i], SYN, 0, 0, NULL, 0);
    }
    tx(&peer, SYN, 0, 0, NULL, 0);
    peer.local_iss = rx(&peer)->seq;
    for (int i = 0; i < 20; i++)
        tx(&flood[i], RST, 1, 0, NULL, 0);
    assert_int_equal(tcp_of(listener)->syn_count, 0);
    tx(&peer, SYN, 0, 0, NULL, 0);
    assert_int_equal(tcp_of(listener)->syn_count, 1);
    rx(&peer);
    tx(&peer, ACK, 1, 1, "first", 5);
    expect_none(&peer);
    accept_it();
    reads("first");
    drop_captured();
}

static void rfc4987_3_6_forged_cookie_is_reset(void **state)
{
    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    peer.local_iss ^= 1;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(rx(&peer)->flags, RST);
    assert_true(nobody_to_accept());
}

static void rfc4987_3_6_cookie_of_another_port_is_reset(void **state)
{
    struct peer thief;

    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    thief = peer;
    thief.port = next_port++;
    tx(&thief, ACK, 1, 1, NULL, 0);
    assert_int_equal(rx(&thief)->flags, RST);
    assert_true(nobody_to_accept());
}

static void rfc4987_3_6_old_cookie_is_reset(void **state)
{
    (void)state;
    fill_syn_queue();
    syn_of(&peer);
    pass(129 * SEC);
    tx(&peer, ACK, 1, 1, NULL, 0);
    drop_captured();
    assert_true(nobody_to_accept());
}

/* --- a 4-tuple in TIME-WAIT ------------------------------------------------------------------- */

/* Connection, and its end by us. */
static void leave_time_wait(void)
{
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
    close_socket();
    expect(&peer, FIN | ACK, 1, 0, 1);
    tx(&peer, FIN | ACK, 1, 2, NULL, 0);
    expect(&peer, ACK, 2, 0, 2);
    pass(10 * MS);
}

static void rfc6191_2_new_connection_reads_from_its_beginning(void **state)
{
    uint32_t old = peer.iss;

    (void)state;
    leave_time_wait();
    peer.iss += 50000;
    syn_of(&peer);
    tx(&peer, ACK, 6, 1, "second", 6); /* the ACK and the first segment are lost */
    tx(&peer, ACK, old + 1 - peer.iss, 1, "stale", 5);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("firstsecond");
}

static void rfc6191_2_without_timestamps_by_sequence_number(void **state)
{
    (void)state;
    peer.ts = false;
    leave_time_wait();
    peer.iss -= 50000;
    tx(&peer, SYN, 0, 0, NULL, 0); /* earlier: an old duplicate */
    assert_int_equal(rx(&peer)->flags, ACK);
    peer.iss += 100000;
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

/* A peer without timestamps that went around the circle since then. */
static void rfc6191_2_far_earlier_sequence_number(void **state)
{
    (void)state;
    peer.ts = false;
    leave_time_wait();
    peer.iss -= 20000000;
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

static void rfc6191_2_later_timestamp_and_any_sequence_number(void **state)
{
    (void)state;
    leave_time_wait();
    peer.iss -= 50000;
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, "first", 5);
    accept_it();
    reads("first");
}

static void rfc6191_2_earlier_timestamp_stays_out(void **state)
{
    uint32_t waiting;

    (void)state;
    peer.tsval = 90000;
    leave_time_wait();
    waiting = tcp_tw_count();
    peer.tsval = 80000;
    tx(&peer, SYN, 60000, 0, NULL, 0);
    assert_int_equal(rx(&peer)->flags, ACK);
    assert_int_equal(tcp_tw_count(), waiting);
}

static void rfc6191_2_same_timestamp_and_a_later_sequence_number(void **state)
{
    (void)state;
    peer.tsval = 90000;
    leave_time_wait();
    peer.iss += 60000;
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
}

static void rfc9293_3_10_7_4_new_isn_is_beyond_the_old_connection(void **state)
{
    uint32_t old;

    (void)state;
    leave_time_wait();
    old = peer.local_iss;
    peer.iss += 60000;
    syn_of(&peer);
    assert_true(seq_after(peer.local_iss, old + 2));
    tx(&peer, ACK, 1, 1, NULL, 0);
    accept_it();
}

/* --- merged segments -------------------------------------------------------------------------- */

/* Three segments of 600 bytes in one batch, as a driver that checks checksums hands them up. */
static void three_merged(uint32_t first, char fill)
{
    static char data[600];
    uint64_t before = net_stat_read(NET_Librettos_GroMerged);

    inject_for_gro = true;
    for (uint32_t i = 0; i < 3; i++) {
        memset(data, fill + (char)i, sizeof(data));
        queue_tx(&peer, ACK, first + i * 600, 1, data, 600);
    }
    settle();
    inject_for_gro = false;
    assert_int_equal(net_stat_read(NET_Librettos_GroMerged), before + 2);
}

static void rfc9293_3_4_merged_segments_stand_in_for_a_lost_ack(void **state)
{
    (void)state;
    syn_of(&peer);
    three_merged(1, 'a');
    accept_it();
    assert_int_equal(recv_bytes(sock, buf, sizeof(buf), 0), 1800);
    for (int i = 0; i < 1800; i++)
        assert_int_equal(buf[i], 'a' + i / 600);
}

static void rfc9293_3_4_merged_segments_behind_a_lost_one(void **state)
{
    (void)state;
    syn_of(&peer);
    three_merged(6, 'a');
    accept_it();
    reads("");
    tx(&peer, ACK, 1, 1, "first", 5);
    assert_int_equal(recv_bytes(sock, buf, sizeof(buf), 0), 1805);
    assert_memory_equal(buf, "firsta", 6);
    assert_int_equal(buf[1804], 'c');
}

static void rfc9293_3_4_merged_segments_overlap_what_is_there(void **state)
{
    char first[700];

    (void)state;
    memset(first, 'A', sizeof(first));
    syn_of(&peer);
    tx(&peer, ACK, 1, 1, first, 700);
    three_merged(1, 'a');
    accept_it();
    assert_int_equal(recv_bytes(sock, buf, sizeof(buf), 0), 1800);
    assert_int_equal(buf[699], 'A');
    assert_int_equal(buf[700], 'b');
    assert_int_equal(buf[1799], 'c');
}

#define L(f) CONN_AS(f, listening)
#define BOTH(f)                                                                                    \
    L(f),                                                                                          \
    {                                                                                              \
#f "_ipv6", f, listening6, disconnect, NULL                                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(rfc9293_3_5_three_segments_open),
        BOTH(rfc9293_3_10_7_4_data_stand_in_for_a_lost_ack),
        BOTH(rfc9293_3_10_7_4_ack_and_first_segment_lost),
        L(rfc9293_3_10_7_4_answer_to_a_synack_from_beyond_lost_data),
        L(rfc9293_3_10_7_4_fin_beyond_lost_data),
        L(rfc9293_3_10_7_4_data_and_fin_in_the_ack),
        L(rfc9293_3_10_7_4_fin_stands_in_for_a_lost_ack),
        L(rfc9293_3_10_7_4_text_without_ack_is_dropped),
        L(rfc9293_3_10_7_4_duplicated_first_segment),
        BOTH(rfc9293_3_4_whole_window_before_the_ack_in_reverse),
        L(rfc9293_3_10_7_2_text_in_the_syn_comes_again),
        BOTH(rfc6298_5_5_synack_backs_off),
        L(rfc9293_3_7_1_repeated_synack_has_the_same_options),
        L(rfc9293_3_8_1_repeated_syn_gets_the_same_synack),
        L(rfc6298_3_no_sample_of_a_repeated_synack),
        L(rfc6298_2_2_handshake_is_the_first_sample),
        L(rfc6298_5_7_rto_after_a_lost_synack_is_3_s),
        L(rfc5681_3_1_window_of_one_after_lost_synacks),
        L(rfc9293_3_10_7_4_bad_ack_is_reset),
        L(rfc9293_3_10_7_4_rst_returns_to_listen),
        L(rfc5961_3_2_rst_in_window_in_syn_received),
        BOTH(rfc9293_3_5_1_syn_with_an_isn_outside_of_the_window),
        L(rfc9293_3_5_1_syn_with_an_isn_in_the_window),
        L(rfc9293_3_5_1_syn_with_an_earlier_isn),
        L(rfc7323_5_3_old_timestamp_in_syn_received),
        L(rfc9293_3_10_7_2_rst_to_a_listener),
        L(rfc9293_3_10_7_2_ack_to_a_listener_is_reset),
        L(rfc9293_3_10_7_2_neither_syn_nor_ack),
        L(rfc9293_3_10_7_2_syn_with_fin),
        CONN_AS(rfc9293_3_10_7_2_full_backlog_drops_the_syn, listening_for_one),
        CONN_AS(rfc9293_3_10_7_4_admitted_handshakes_end_whatever_the_backlog, listening_for_one),
        L(rfc9293_3_9_1_defer_accept_waits_for_data),
        L(rfc9293_3_9_1_defer_accept_ends),
        L(rfc9293_3_9_1_closed_listener_resets_what_waits),
        BOTH(rfc4987_3_6_cookie_opens),
        BOTH(rfc4987_3_6_cookie_whose_ack_was_lost),
        L(rfc4987_3_6_cookie_whose_ack_and_first_data_were_lost),
        L(rfc4987_3_6_cookie_acked_twice_is_one_connection),
        L(rfc4987_3_6_cookie_for_a_peer_without_timestamps),
        L(rfc4987_3_6_late_cookie_fits_the_connection),
        L(rfc4987_3_6_forged_cookie_is_reset),
        L(rfc4987_3_6_cookie_of_another_port_is_reset),
        L(rfc4987_3_6_old_cookie_is_reset),
        BOTH(rfc6191_2_new_connection_reads_from_its_beginning),
        L(rfc6191_2_without_timestamps_by_sequence_number),
        L(rfc6191_2_far_earlier_sequence_number),
        L(rfc6191_2_later_timestamp_and_any_sequence_number),
        L(rfc6191_2_earlier_timestamp_stays_out),
        L(rfc6191_2_same_timestamp_and_a_later_sequence_number),
        L(rfc9293_3_10_7_4_new_isn_is_beyond_the_old_connection),
        BOTH(rfc9293_3_4_merged_segments_stand_in_for_a_lost_ack),
        L(rfc9293_3_4_merged_segments_behind_a_lost_one),
        L(rfc9293_3_4_merged_segments_overlap_what_is_there),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
