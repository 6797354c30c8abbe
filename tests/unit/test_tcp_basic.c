/* TCP: connection set-up, data transfer, flow control, close. */
#include "tcp_peer.h"

static char buf[100000];

/* --- opening ---------------------------------------------------------------------------------- */

static void rfc9293_3_5_passive_open(void **state)
{
    struct socket *l = listen_on(80, 10), *s;
    struct peer p = new_peer(80);
    struct seg *g;

    (void)state;
    tx(&p, SYN, 0, 0, NULL, 0);
    g = rx(&p);
    assert_int_equal(g->flags, SYN | ACK);
    assert_int_equal(g->ack, p.iss + 1);
    assert_int_equal(g->mss, 1460);
    assert_true(g->sack_ok && g->ts && g->wscale >= 0);
    assert_int_equal(l->ops->accept(l, &s, true), -EAGAIN);
    assert_int_equal(l->ops->poll(l), 0);
    p.local_iss = g->seq;
    tx(&p, ACK, 1, 1, NULL, 0);
    expect_none(&p);
    assert_true(l->ops->poll(l) & POLL_IN);
    assert_int_equal(l->ops->accept(l, &s, true), 0);
    assert_int_equal(s->peer.port, p.port);
    assert_true(s->peer.ip.w[3] == PEER4);
    assert_int_equal(s->ops->poll(s), POLL_OUT | POLL_WRNORM);
    kill_socket(s);
    expect(&p, RST | ACK, 1, 0, 1);
    kill_socket(l);
}

static void rfc9293_3_5_active_open(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s = peer_accept(&p);

    (void)state;
    assert_int_equal(s->ops->connect(s, &s->peer, true), 0); /* tells of the success once */
    assert_int_equal(s->ops->connect(s, &s->peer, true), -EISCONN);
    kill_socket(s);
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

static void rfc6298_syn_is_retransmitted_with_backoff(void **state)
{
    struct peer p = new_peer(0);
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p.port};
    struct socket *s = new_socket();
    nsec_t t0 = time_now();
    int n = 0;

    (void)state;
    assert_int_equal(s->ops->connect(s, &a, true), -EINPROGRESS);
    pass(200 * SEC);
    nsec_t want = 0, step = SEC;
    while (pending(&p)) {
        struct seg *g = rx(&p);

        assert_int_equal(g->flags, SYN);
        assert_in_range(g->at - t0, want, want + 20 * MS);
        want += step;
        step *= 2;
        n++;
    }
    assert_int_equal(n, 7);
    assert_int_equal(s->ops->connect(s, &a, true), -ETIMEDOUT);
    kill_socket(s);
}

static void syn_without_options(void **state)
{
    struct socket *l = listen_on(83, 10), *s;
    struct peer p = new_peer(83);

    (void)state;
    p.mss = 0;
    p.sack = p.ts = p.ws = false;
    p.wscale = 0;
    s = peer_connect(&p, l);
    assert_false(tcp_of(s)->sack_on || tcp_of(s)->ts_on || tcp_of(s)->wscale_on);
    assert_int_equal(tcp_of(s)->mss, 536);
    assert_int_equal(send_bytes(s, buf, 600, 0), 600);
    expect(&p, ACK, 1, 536, 1);
    tx(&p, ACK, 1, 537, NULL, 0);
    expect(&p, ACK, 537, 64, 1);
    kill_socket(s);
    kill_socket(l);
}

static void rfc7323_2_3_wscale_above_14_is_14(void **state)
{
    struct socket *l = listen_on(84, 10), *s;
    struct peer p = new_peer(84);

    (void)state;
    p.wscale = 15;
    s = peer_connect(&p, l);
    assert_int_equal(tcp_of(s)->snd_wscale, 14);
    kill_socket(s);
    kill_socket(l);
}

/* --- SYN cookies ------------------------------------------------------------------------------ */

static void rfc4987_cookies_when_the_queue_is_full(void **state)
{
    struct socket *l = listen_on(88, 4), *s;
    struct peer p;
    struct seg *g;

    (void)state;
    for (int i = 0; i < 16; i++) {
        struct peer flood = new_peer(88);

        tx(&flood, SYN, 0, 0, NULL, 0);
    }
    drop_captured();
    p = new_peer(88);
    tx(&p, SYN, 0, 0, NULL, 0);
    assert_int_equal(tcp_of(l)->syn_count, 16);
    g = rx(&p);
    assert_int_equal(g->flags, SYN | ACK);
    assert_true(g->ts && g->sack_ok && g->wscale >= 0);
    p.local_iss = g->seq;
    tx(&p, ACK, 1, 1, "hello", 5);
    assert_int_equal(l->ops->accept(l, &s, true), 0);
    assert_true(tcp_of(s)->sack_on && tcp_of(s)->ts_on);
    assert_int_equal(tcp_of(s)->snd_wscale, 7);
    assert_int_equal(tcp_of(s)->mss, 1460 - 12);
    assert_int_equal(recv_bytes(s, buf, 100, 0), 5);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(send_bytes(s, "world", 5, 0), 5);
    expect(&p, ACK, 1, 5, 6);
    kill_socket(s);

    p = new_peer(88); /* a forged one */
    p.local_iss = 12345;
    tx(&p, ACK, 1, 1, NULL, 0);
    assert_int_equal(rx(&p)->flags, RST);
    assert_int_equal(l->ops->accept(l, &s, true), -EAGAIN);
    kill_socket(l);
}

/* --- data ------------------------------------------------------------------------------------- */

static void request_and_response_take_one_segment_each(void **state)
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

static void small_message_is_acked_when_the_reader_waits(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "a", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
    expect_none(&peer);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
    expect(&peer, ACK, 1, 0, 2);
}

static void rfc5681_4_2_out_of_order_is_acked_at_once(void **state)
{
    struct seg *g;

    (void)state;
    tx(&peer, ACK, 11, 1, "world", 5);
    g = rx(&peer);
    assert_int_equal(g->ack - peer.iss, 1);
    assert_int_equal(g->nsacks, 1);
    assert_int_equal(g->sacks[0][0] - peer.iss, 11);
    assert_int_equal(g->sacks[0][1] - peer.iss, 16);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), -EAGAIN);
    tx(&peer, ACK, 1, 1, "0123456789", 10);
    expect(&peer, ACK, 1, 0, 16);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 15);
    assert_memory_equal(buf, "0123456789world", 15);
}

static void rfc2018_latest_block_first(void **state)
{
    struct seg *g;

    (void)state;
    tx(&peer, ACK, 11, 1, "aaaaa", 5);
    rx(&peer);
    tx(&peer, ACK, 31, 1, "ccccc", 5);
    g = rx(&peer);
    assert_int_equal(g->nsacks, 2);
    assert_int_equal(g->sacks[0][0] - peer.iss, 31);
    assert_int_equal(g->sacks[1][0] - peer.iss, 11);
    tx(&peer, ACK, 16, 1, "bbbbb", 5);
    g = rx(&peer);
    assert_int_equal(g->nsacks, 2);
    assert_int_equal(g->sacks[0][0] - peer.iss, 11);
    assert_int_equal(g->sacks[0][1] - peer.iss, 21);
    assert_int_equal(g->sacks[1][0] - peer.iss, 31);
}

static void rfc2883_duplicates_are_reported(void **state)
{
    struct seg *g;

    (void)state;
    tx(&peer, ACK, 1, 1, "abcde", 5);
    expect_none(&peer);
    tx(&peer, ACK, 1, 1, "abcde", 5);
    g = rx(&peer);
    assert_int_equal(g->ack - peer.iss, 6);
    assert_int_equal(g->nsacks, 1);
    assert_int_equal(g->sacks[0][0] - peer.iss, 1);
    assert_int_equal(g->sacks[0][1] - peer.iss, 6);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 5);
}

static void overlapping_segments_are_assembled(void **state)
{
    (void)state;
    tx(&peer, ACK, 5, 1, "efgh", 4);
    tx(&peer, ACK, 3, 1, "cdef", 4);
    tx(&peer, ACK, 8, 1, "hijk", 4);
    tx(&peer, ACK, 4, 1, "defghijkl", 9);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), -EAGAIN);
    tx(&peer, ACK, 1, 1, "abc", 3);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), 12);
    assert_memory_equal(buf, "abcdefghijkl", 12);
}

static void bad_checksum_is_dropped(void **state)
{
    (void)state;
    inject_raw(&peer, ACK, peer.iss + 1, peer.local_iss + 1, "x", 1, NULL, 0, true);
    settle();
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
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

static void nodelay_sends_at_once(void **state)
{
    (void)state;
    set_opt(sock, 1, 1);
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    assert_int_equal(send_bytes(sock, "b", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
    expect(&peer, ACK, 2, 1, 1);
}

static void cork_holds_until_released(void **state)
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

static void cork_sends_after_200_ms(void **state)
{
    (void)state;
    set_opt(sock, 3, 1);
    assert_int_equal(send_bytes(sock, "header", 6, 0), 6);
    pass(180 * MS);
    expect_none(&peer);
    pass(60 * MS);
    expect(&peer, ACK, 1, 6, 1);
}

static void msg_more_joins_sends(void **state)
{
    (void)state;
    set_opt(sock, 1, 1);
    assert_int_equal(send_bytes(sock, "one", 3, SOCK_MSG_MORE), 3);
    expect_none(&peer);
    assert_int_equal(send_bytes(sock, "two", 3, 0), 3);
    expect(&peer, ACK, 1, 6, 1);
    assert_memory_equal(last_rx.data, "onetwo", 6);
}

static void rfc6928_initial_window_is_10(void **state)
{
    (void)state;
    peer.win = 65535;
    assert_int_equal(send_bytes(sock, buf, 60000, 0), 60000);
    assert_int_equal(drain(&peer), 10 * 1448);
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

static void peek_leaves_the_data(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abcdef", 6);
    assert_int_equal(recv_bytes(sock, buf, 3, SOCK_MSG_PEEK), 3);
    assert_int_equal(recv_bytes(sock, buf, 100, SOCK_MSG_PEEK), 6);
    assert_memory_equal(buf, "abcdef", 6);
    assert_int_equal(recv_bytes(sock, buf, 2, 0), 2);
    assert_int_equal(recv_bytes(sock, buf, 100, SOCK_MSG_TRUNC), 4);
    assert_int_equal(recv_bytes(sock, buf, 100, 0), -EAGAIN);
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

static void sendpages_references_the_pages(void **state)
{
    struct page *page = page_alloc(0, 0);
    struct page_part parts[] = {{page, 100, 2000}, {page, 2100, 1000}};

    (void)state;
    memset(page_addr(page), 'p', 4096);
    assert_int_equal(sock->ops->sendpages(sock, parts, 2, SOCK_MSG_DONTWAIT), 3000);
    assert_true(ref_count(&page->refs) > 1);
    expect(&peer, ACK, 1, 1448, 1);
    expect(&peer, ACK, 1449, 1448, 1);
    assert_int_equal(last_rx.data[5], 'p');
    tx(&peer, ACK, 1, 2897, NULL, 0);
    expect(&peer, ACK, 2897, 104, 1);
    tx(&peer, ACK, 1, 3001, NULL, 0);
    assert_int_equal(ref_count(&page->refs), 1);
    page_put(page);
}

static void send_buffer_fills_and_frees(void **state)
{
    ssize_t n, sum = 0;

    (void)state;
    while ((n = send_bytes(sock, buf, sizeof(buf), 0)) > 0)
        sum += n;
    assert_int_equal(n, -EAGAIN);
    assert_in_range(sum, sock->sndbuf, sock->sndbuf + 65536);
    assert_false(sock->ops->poll(sock) & POLL_OUT);
    for (int i = 0; i < 1000 && !(sock->ops->poll(sock) & POLL_OUT); i++) {
        drain(&peer);
        tx(&peer, ACK, 1, tcp_of(sock)->snd_nxt - peer.local_iss, NULL, 0);
    }
    assert_true(sock->ops->poll(sock) & POLL_OUT);
}

/* --- closing ---------------------------------------------------------------------------------- */

/* --- resets, RFC 5961 ------------------------------------------------------------------------- */

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

static void rfc7323_5_paws(void **state)
{
    (void)state;
    peer.tsval = peer_ts(&peer) + 10;
    tx(&peer, ACK, 1, 1, "a", 1);
    pass(60 * MS);
    drain(&peer);
    peer.tsval -= 1000;
    tx(&peer, ACK, 2, 1, "b", 1);
    expect(&peer, ACK, 1, 0, 2);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void segment_below_the_window_is_acked(void **state)
{
    (void)state;
    tx(&peer, ACK, 0, 1, NULL, 0); /* a keepalive */
    expect(&peer, ACK, 1, 0, 1);
}

/* --- keepalive -------------------------------------------------------------------------------- */

static void keepalive_probes_and_drops(void **state)
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rfc9293_3_5_passive_open),
        TEST(rfc9293_3_5_active_open),
        TEST(rfc9293_3_10_7_1_closed_port_answers_rst),
        TEST(rfc6298_syn_is_retransmitted_with_backoff),
        TEST(syn_without_options),
        TEST(rfc7323_2_3_wscale_above_14_is_14),
        TEST(rfc4987_cookies_when_the_queue_is_full),
        CONN(request_and_response_take_one_segment_each),
        CONN(rfc1122_4_2_3_2_delayed_ack),
        CONN(rfc5681_4_2_ack_every_second_full_segment),
        CONN(small_message_is_acked_when_the_reader_waits),
        CONN(rfc5681_4_2_out_of_order_is_acked_at_once),
        CONN(rfc2018_latest_block_first),
        CONN(rfc2883_duplicates_are_reported),
        CONN(overlapping_segments_are_assembled),
        CONN(bad_checksum_is_dropped),
        CONN(rfc9293_3_7_4_nagle),
        CONN(nodelay_sends_at_once),
        CONN(cork_holds_until_released),
        CONN(cork_sends_after_200_ms),
        CONN(msg_more_joins_sends),
        CONN(rfc6928_initial_window_is_10),
        CONN(rfc9293_3_8_6_send_window_is_respected),
        CONN(rfc9293_3_8_6_1_zero_window_probes),
        CONN(rfc9293_3_8_6_2_2_receive_window_closes_and_opens),
        CONN(peek_leaves_the_data),
        CONN(rfc9293_3_8_5_urgent_data_stay_in_line),
        CONN(sendpages_references_the_pages),
        CONN(send_buffer_fills_and_frees),
        CONN(rfc5961_3_2_rst_at_rcv_nxt_resets),
        CONN(rfc5961_3_2_rst_in_window_is_challenged),
        CONN(rfc5961_4_2_syn_is_challenged),
        CONN(rfc5961_5_2_ack_of_unsent_data_is_challenged),
        CONN(rfc7323_5_paws),
        CONN(segment_below_the_window_is_acked),
        CONN(keepalive_probes_and_drops),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
