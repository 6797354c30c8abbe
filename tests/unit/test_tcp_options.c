/* TCP: options on the wire (MSS, window scale, timestamps, SACK) and of the socket. */
#include "tcp_peer.h"

static char buf[100000];

static void rfc9293_3_7_1_syn_without_options(void **state)
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

static void rfc7323_5_3_paws(void **state)
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

static void rfc2018_4_latest_block_first(void **state)
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

static void rfc2883_4_1_duplicates_are_reported(void **state)
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

/* Another peer like this, connected. */
static struct socket *connect_like(struct peer *p)
{
    drop_captured();
    return peer_connect(p, listener);
}

/* A raw segment with these option bytes. */
static void tx_options(const uint8_t *o, uint32_t n, uint32_t seq, const char *text)
{
    inject_raw(&peer, ACK, peer.iss + seq, peer.local_iss + 1, text, (uint32_t)strlen(text), o, n,
               false);
    settle();
}

/* --- MSS -------------------------------------------------------------------------------------- */

static void rfc9293_3_7_1_mss_of_the_peer_is_the_limit(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.mss = 700;
    p.ts = false;
    kill_socket(sock);
    sock = connect_like(&p);
    assert_int_equal(send_bytes(sock, buf, 1000, 0), 1000);
    expect(&p, ACK, 1, 700, 1);
}

static void rfc6691_2_options_take_of_the_mss(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.mss = 700;
    kill_socket(sock);
    sock = connect_like(&p);
    assert_int_equal(send_bytes(sock, buf, 1000, 0), 1000);
    expect(&p, ACK, 1, 688, 1);
}

static void rfc9293_3_7_1_tiny_mss_is_not_believed(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.mss = 1;
    p.ts = false;
    kill_socket(sock);
    sock = connect_like(&p);
    assert_int_equal(tcp_of(sock)->mss, TCP_MIN_MSS);
}

static void rfc9293_3_7_1_huge_mss_ends_at_the_path(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.mss = 65535;
    p.ts = false;
    kill_socket(sock);
    sock = connect_like(&p);
    assert_int_equal(tcp_of(sock)->mss, 1460);
}

static void rfc9293_3_7_1_no_mss_over_ipv6_is_1220(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.v6 = true;
    p.mss = 0;
    p.ts = false;
    sock = (kill_socket(sock), connect_like(&p));
    assert_int_equal(tcp_of(sock)->mss, 1220);
}

static void rfc9293_3_7_1_maxseg_is_told_and_kept(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s;

    (void)state;
    set_opt(listener, 2, 800);
    p.lport = listener->local.port;
    tx(&p, SYN, 0, 0, NULL, 0);
    assert_int_equal(rx(&p)->mss, 800);
    p.local_iss = last_rx.seq;
    tx(&p, ACK, 1, 1, NULL, 0);
    assert_int_equal(listener->ops->accept(listener, &s, true), 0);
    assert_int_equal(send_bytes(s, buf, 1000, 0), 1000);
    expect(&p, ACK, 1, 788, 1);
    kill_socket(s);
}

static void rfc9293_3_7_1_maxseg_is_in_a_cookie_too(void **state)
{
    (void)state;
    set_opt(listener, 2, 800);
    for (int i = 0; i < 40; i++) {
        struct peer p = new_peer(listener->local.port);

        tx(&p, SYN, 0, 0, NULL, 0);
        assert_int_equal(rx(&p)->mss, 800);
    }
}

static void rfc6691_3_advertised_mss_follows_the_interface(void **state)
{
    struct peer p = new_peer(0);
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p.port};
    struct socket *s = new_socket();

    (void)state;
    assert_int_equal(s->ops->connect(s, &a, true), -EINPROGRESS);
    assert_int_equal(rx(&p)->mss, 1460); /* options not deducted */
    kill_socket(s);
}

/* --- window scale ----------------------------------------------------------------------------- */

static void rfc7323_2_2_no_scale_without_the_peers(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.ws = false;
    kill_socket(sock);
    sock = connect_like(&p);
    assert_int_equal(tcp_of(sock)->snd_wscale, 0);
    assert_int_equal(tcp_of(sock)->rcv_wscale, 0);
    p.win = 60000;
    tx(&p, ACK, 1, 1, "x", 1);
    assert_int_equal(tcp_of(sock)->snd_wnd, 60000);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
    pass(50 * MS);
    assert_true(rx(&p)->win > 20000);
}

static void rfc7323_2_2_window_of_a_syn_is_not_scaled(void **state)
{
    struct peer p = new_peer(0);
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p.port};
    struct socket *s = new_socket();

    (void)state;
    assert_int_equal(s->ops->connect(s, &a, true), -EINPROGRESS);
    p.local_iss = rx(&p)->seq;
    p.lport = last_rx.sport;
    p.win = 5000;
    tx(&p, SYN | ACK, 0, 1, NULL, 0);
    assert_int_equal(tcp_of(s)->snd_wnd, 5000);
    p.win = 1 << 20;
    tx(&p, ACK, 1, 1, "x", 1);
    assert_int_equal(tcp_of(s)->snd_wnd, 1 << 20);
    kill_socket(s);
}

static void rfc7323_2_3_scale_of_zero(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.wscale = 0;
    kill_socket(sock);
    sock = connect_like(&p);
    assert_true(tcp_of(sock)->wscale_on);
    assert_int_equal(tcp_of(sock)->snd_wscale, 0);
    assert_true(tcp_of(sock)->rcv_wscale > 0);
}

static void rfc7323_2_2_our_window_is_scaled(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    tx(&peer, ACK, 1, 1, "x", 1);
    pass(50 * MS);
    rx(&peer);
    assert_int_equal((uint32_t)last_rx.win << t->rcv_wscale, t->rcv_wnd);
    assert_true(t->rcv_wnd >= 60000);
}

/* --- timestamps ------------------------------------------------------------------------------- */

static void rfc7323_3_2_in_every_segment_once_negotiated(void **state)
{
    (void)state;
    assert_int_equal(send_bytes(sock, buf, 3000, 0), 3000);
    while (pending(&peer))
        assert_true(rx(&peer)->ts);
    tx(&peer, ACK, 5, 3001, "x", 1);
    assert_true(rx(&peer)->ts && last_rx.nsacks == 1);
    close_socket();
    assert_true(rx(&peer)->ts && last_rx.flags & FIN);
}

static void rfc7323_3_2_never_if_not_negotiated(void **state)
{
    static const uint8_t ts[] = {1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0};

    (void)state;
    tx_options(ts, sizeof(ts), 1, "x");
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
    pass(50 * MS);
    assert_false(rx(&peer)->ts);
    assert_false(tcp_of(sock)->ts_on);
}

static void rfc7323_4_3_echo_of_the_segment_that_is_acked(void **state)
{
    (void)state;
    peer.tsval = peer_ts(&peer) + 100;
    tx(&peer, ACK, 1, 1, "a", 1); /* two segments, one ACK: that of the first is echoed */
    peer.tsval += 50;
    tx(&peer, ACK, 2, 1, "b", 1);
    pass(60 * MS);
    expect(&peer, ACK, 1, 0, 3);
    assert_int_equal(last_rx.tsecr, peer.tsval - 50);
}

static void rfc7323_4_3_hole_echoes_what_was_in_order(void **state)
{
    uint32_t first;

    (void)state;
    peer.tsval = first = peer_ts(&peer) + 100;
    tx(&peer, ACK, 1, 1, "a", 1);
    pass(60 * MS);
    drain(&peer);
    peer.tsval += 50;
    tx(&peer, ACK, 4, 1, "d", 1); /* behind a hole */
    expect(&peer, ACK, 1, 0, 2);
    assert_int_equal(last_rx.tsecr, first);
    peer.tsval += 50;
    tx(&peer, ACK, 2, 1, "bc", 2); /* fills it */
    expect(&peer, ACK, 1, 0, 5);
    assert_int_equal(last_rx.tsecr, first + 100);
}

static void rfc7323_5_3_paws_drops_and_answers(void **state)
{
    (void)state;
    peer.tsval = peer_ts(&peer) + 1000;
    tx(&peer, ACK, 1, 1, "a", 1);
    pass(60 * MS);
    drain(&peer);
    peer.tsval--;
    tx(&peer, FIN | ACK, 2, 1, "b", 1);
    expect(&peer, ACK, 1, 0, 2);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    peer.tsval++; /* the same is not older */
    tx(&peer, ACK, 2, 1, "b", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 2);
}

static void rfc7323_5_2_timestamps_wrap(void **state)
{
    struct peer p = new_peer(0);

    (void)state;
    p.tsval = 0xfffffff0u;
    kill_socket(sock);
    sock = connect_like(&p);
    p.tsval = 0x10;
    tx(&p, ACK, 1, 1, "a", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 1);
    p.tsval = 0xfffffff8u;
    tx(&p, ACK, 2, 1, "b", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), -EAGAIN);
}

static void rfc7323_5_5_timestamps_expire_in_24_days(void **state)
{
    struct tcp *t = tcp_of(sock);

    (void)state;
    peer.tsval = peer_ts(&peer) + 1000;
    tx(&peer, ACK, 1, 1, "a", 1);
    pass(60 * MS);
    drain(&peer);
    t->ts_recent_at -= 25LL * 86400 * SEC; /* as if */
    peer.tsval -= 500;
    tx(&peer, ACK, 2, 1, "b", 1);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 2);
    assert_int_equal(t->ts_recent, peer.tsval);
}

static void rfc7323_5_4_our_clock_ticks_between_1_ms_and_1_s(void **state)
{
    uint32_t before;

    (void)state;
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    before = rx(&peer)->tsval;
    tx(&peer, ACK, 1, 2, NULL, 0);
    pass(1000 * MS);
    assert_int_equal(send_bytes(sock, "a", 1, 0), 1);
    assert_in_range(rx(&peer)->tsval - before, 1, 1000);
}

/* --- SACK ------------------------------------------------------------------------------------- */

static void rfc2018_2_no_blocks_without_permission(void **state)
{
    (void)state;
    tx(&peer, ACK, 11, 1, "world", 5);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(last_rx.nsacks, 0);
}

static void rfc2018_3_three_blocks_with_timestamps(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 5; i++)
        tx(&peer, ACK, 1 + i * 10, 1, "x", 1);
    for (int i = 0; i < 5; i++)
        rx(&peer);
    assert_int_equal(last_rx.nsacks, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(last_rx.sacks[i][0] - peer.iss, 51 - i * 10);
}

static void rfc2018_3_four_blocks_without_timestamps(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 5; i++)
        tx(&peer, ACK, 1 + i * 10, 1, "x", 1);
    for (int i = 0; i < 5; i++)
        rx(&peer);
    assert_int_equal(last_rx.nsacks, 4);
}

static void rfc2018_4_blocks_go_when_the_hole_is_filled(void **state)
{
    (void)state;
    tx(&peer, ACK, 3, 1, "cd", 2);
    tx(&peer, ACK, 6, 1, "f", 1);
    drain(&peer);
    tx(&peer, ACK, 1, 1, "ab", 2);
    expect(&peer, ACK, 1, 0, 5);
    assert_int_equal(last_rx.nsacks, 1);
    tx(&peer, ACK, 5, 1, "e", 1);
    expect(&peer, ACK, 1, 0, 7);
    assert_int_equal(last_rx.nsacks, 0);
    assert_int_equal(recv_bytes(sock, buf, 10, 0), 6);
    assert_memory_equal(buf, "abcdef", 6);
}

static void rfc2018_4_adjacent_blocks_join(void **state)
{
    (void)state;
    tx(&peer, ACK, 3, 1, "c", 1);
    tx(&peer, ACK, 5, 1, "e", 1);
    tx(&peer, ACK, 4, 1, "d", 1);
    for (int i = 0; i < 3; i++)
        rx(&peer);
    assert_int_equal(last_rx.nsacks, 1);
    assert_int_equal(last_rx.sacks[0][0] - peer.iss, 3);
    assert_int_equal(last_rx.sacks[0][1] - peer.iss, 6);
}

static void rfc2883_4_2_part_of_a_segment_is_duplicate(void **state)
{
    (void)state;
    tx(&peer, ACK, 1, 1, "abc", 3);
    tx(&peer, ACK, 2, 1, "bcde", 4);
    expect(&peer, ACK, 1, 0, 6);
    assert_int_equal(last_rx.nsacks, 1);
    assert_int_equal(last_rx.sacks[0][0] - peer.iss, 2);
    assert_int_equal(last_rx.sacks[0][1] - peer.iss, 4);
}

static void rfc2883_4_3_duplicate_above_the_ack_comes_with_its_block(void **state)
{
    (void)state;
    tx(&peer, ACK, 11, 1, "world", 5);
    rx(&peer);
    tx(&peer, ACK, 11, 1, "world", 5);
    rx(&peer);
    assert_int_equal(last_rx.nsacks, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(last_rx.sacks[i][0] - peer.iss, 11);
        assert_int_equal(last_rx.sacks[i][1] - peer.iss, 16);
    }
    tx(&peer, ACK, 20, 1, "x", 1); /* reported once */
    assert_int_equal(rx(&peer)->nsacks, 2);
    assert_int_equal(last_rx.sacks[0][0] - peer.iss, 20);
}

/* --- odd option lists ------------------------------------------------------------------------- */

static void rfc9293_3_1_unknown_options_are_skipped(void **state)
{
    static const uint8_t syn[] = {253, 4, 9, 9, 2, 4, 2, 188, 77, 2, 4, 2};
    struct peer p = new_peer(listener->local.port);
    struct socket *s;

    (void)state;
    inject_raw(&p, SYN, p.iss, 0, NULL, 0, syn, sizeof(syn), false);
    assert_int_equal(rx(&p)->flags, SYN | ACK);
    assert_true(last_rx.sack_ok);
    p.local_iss = last_rx.seq;
    p.ts = false;
    tx(&p, ACK, 1, 1, NULL, 0);
    assert_int_equal(listener->ops->accept(listener, &s, true), 0);
    assert_int_equal(tcp_of(s)->mss, 700);
    kill_socket(s);
}

static void rfc9293_3_1_nothing_is_read_behind_the_end_of_the_list(void **state)
{
    static const uint8_t syn[] = {0, 2, 4, 2, 188, 0, 0, 0};
    struct peer p = new_peer(listener->local.port);
    struct socket *s;

    (void)state;
    inject_raw(&p, SYN, p.iss, 0, NULL, 0, syn, sizeof(syn), false);
    p.local_iss = rx(&p)->seq;
    p.ts = false;
    tx(&p, ACK, 1, 1, NULL, 0);
    assert_int_equal(listener->ops->accept(listener, &s, true), 0);
    assert_int_equal(tcp_of(s)->mss, 536);
    kill_socket(s);
}

static void rfc9293_3_1_wrong_lengths_are_not_believed(void **state)
{
    static const uint8_t syns[][8] = {
        {2, 3, 1, 1, 3, 3, 4, 0}, /* an MSS of one byte */
        {2, 0, 2, 188, 1, 1, 1, 1},
        {2, 40, 2, 188, 1, 1, 1, 1},
        {3, 4, 4, 4, 4, 3, 1, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(syns); i++) {
        struct peer p = new_peer(listener->local.port);

        inject_raw(&p, SYN, p.iss, 0, NULL, 0, syns[i], 8, false);
        assert_int_equal(rx(&p)->flags, SYN | ACK);
        assert_false(last_rx.sack_ok || last_rx.ts || (i && last_rx.wscale >= 0));
        tx(&p, RST, 1, 0, NULL, 0);
    }
}

static void rfc9293_3_1_header_longer_than_the_segment(void **state)
{
    uint64_t before = net_stat_read(NET_Tcp_InErrs);
    uint8_t f[54] = {0};

    (void)state;
    memcpy(f, our_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    wr16(f + 12, 0x0800);
    write_ipv4(f + 14, &peer, 6, 20, 0x4000);
    wr16(f + 34, peer.port);
    wr16(f + 36, peer.lport);
    f[46] = 15 << 4;
    f[47] = ACK;
    uint16_t c = l4_checksum(f + 14, false, f + 34, 20, 6);
    memcpy(f + 50, &c, 2);
    inject_later(make_packet(f, sizeof(f)));
    settle();
    assert_int_equal(net_stat_read(NET_Tcp_InErrs), before + 1);
}

/* --- options of the socket ---------------------------------------------------------------------
 */

/* struct tcp_info, as far as it is looked at here. */
struct info {
    uint8_t state, ca_state, retransmits, probes, backoff, options, wscales, flags;
    uint32_t rto, ato, snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    uint32_t rcv_rtt, rcv_space, total_retrans;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, notsent_bytes, min_rtt;
};

static struct info info_of(struct socket *s)
{
    uint32_t len = sizeof(struct info);
    struct info i;

    assert_int_equal(s->ops->getopt(s, 6, 11, &i, &len), 0);
    assert_int_equal(len, sizeof(i));
    return i;
}

static void rfc9293_3_9_1_info_of_a_new_connection(void **state)
{
    struct info i = info_of(sock);

    (void)state;
    assert_int_equal(i.state, TCP_ESTABLISHED);
    assert_int_equal(i.options, 7); /* timestamps, SACK, window scale */
    assert_int_equal(i.wscales & 15, 7);
    assert_int_equal(i.snd_mss, 1448);
    assert_int_equal(i.advmss, 1460);
    assert_int_equal(i.pmtu, 1500);
    assert_int_equal(i.snd_cwnd, 10);
    assert_int_equal(i.snd_ssthresh, 0x7fffffff);
    assert_int_equal(i.unacked + i.lost + i.retrans + i.sacked + i.total_retrans, 0);
}

static void rfc9293_3_9_1_info_counts_bytes_and_segments(void **state)
{
    struct info i;

    (void)state;
    tx(&peer, ACK, 1, 1, buf, 100);
    assert_int_equal(send_bytes(sock, buf, 2 * 1448 + 10, 0), 2 * 1448 + 10);
    drain(&peer);
    assert_int_equal(info_of(sock).unacked, 3);
    tx(&peer, ACK, 101, 1 + 1448, NULL, 0);
    i = info_of(sock);
    assert_int_equal(i.unacked, 2);
    assert_int_equal(i.bytes_acked, 1448);
    assert_int_equal(i.bytes_received, 100);
    assert_int_equal(i.segs_in, 3);
    assert_int_equal(i.segs_out, 4); /* with the SYN-ACK */
}

static void rfc9293_3_9_1_info_of_losses(void **state)
{
    struct info i;

    (void)state;
    learn_rtt();
    set_opt(sock, 1, 1);
    assert_int_equal(send_bytes(sock, buf, 10 * 1448, 0), 10 * 1448);
    drain(&peer);
    pass(20 * MS);
    tx_sack(&peer, 1, 1, 1, 1 + 1448, 1 + 5 * 1448);
    i = info_of(sock);
    assert_int_equal(i.ca_state, CA_RECOVERY);
    assert_int_equal(i.sacked, 4);
    assert_int_equal(i.lost, 1);
    assert_int_equal(i.total_retrans, 1);
    assert_in_range(i.rtt, 19000, 22000);
    assert_in_range(i.rto, 200000, 300000);
}

static void rfc9293_3_9_1_info_of_what_waits(void **state)
{
    struct info i;

    (void)state;
    peer.win = 0;
    tx(&peer, ACK, 1, 1, NULL, 0);
    assert_int_equal(send_bytes(sock, buf, 500, 0), 500);
    pass(2 * SEC);
    i = info_of(sock);
    assert_int_equal(i.notsent_bytes, 500);
    assert_true(i.probes > 0);
    assert_int_equal(i.unacked, 0);
}

static void rfc9293_3_9_1_info_of_a_listener(void **state)
{
    struct peer p = new_peer(listener->local.port);
    struct info i;

    (void)state;
    tx(&p, SYN, 0, 0, NULL, 0);
    p.local_iss = rx(&p)->seq;
    tx(&p, ACK, 1, 1, NULL, 0);
    i = info_of(listener);
    assert_int_equal(i.state, TCP_LISTEN);
    assert_int_equal(i.unacked, 1); /* wait to be accepted, */
    assert_int_equal(i.sacked, 10); /* of so many */
}

static void rfc5681_3_congestion_control_is_inherited(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s;
    char name[16];
    uint32_t len = sizeof(name);

    (void)state;
    assert_int_equal(listener->ops->setopt(listener, 6, 13, "reno", 4), 0);
    s = connect_like(&p);
    assert_int_equal(s->ops->getopt(s, 6, 13, name, &len), 0);
    assert_string_equal(name, "reno");
    kill_socket(s);
    len = 2; /* cut to what there is room for */
    assert_int_equal(listener->ops->getopt(listener, 6, 13, name, &len), 0);
    assert_int_equal(len, 2);
    assert_int_equal(listener->ops->setopt(listener, 6, 13, "cubic\0x", 7), 0);
    assert_int_equal(listener->ops->setopt(listener, 6, 13, "", 0), -EINVAL);
}

static void rfc5482_3_user_timeout_is_inherited(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s;
    uint32_t v = 0, len = sizeof(v);

    (void)state;
    set_opt(listener, 18, 1234);
    s = connect_like(&p);
    assert_int_equal(s->ops->getopt(s, 6, 18, &v, &len), 0);
    assert_int_equal(v, 1234);
    kill_socket(s);
}

static void rfc9293_3_8_6_window_clamp(void **state)
{
    struct peer p = new_peer(0);
    struct socket *s;

    (void)state;
    set_opt(listener, 10, 5000);
    s = connect_like(&p);
    tx(&p, ACK, 1, 1, buf, 1448);
    tx(&p, ACK, 1449, 1, buf, 1448);
    rx(&p);
    drain(&p);
    assert_true(tcp_select_window(tcp_of(s)) <= 65535);
    assert_int_equal(recv_bytes(s, buf, sizeof(buf), 0), 2896);
    kill_socket(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rfc9293_3_7_1_syn_without_options),
        TEST(rfc7323_2_3_wscale_above_14_is_14),
        CONN(rfc7323_5_3_paws),
        {"rfc7323_5_3_paws_ipv6", rfc7323_5_3_paws, connected6, disconnect, NULL},
        CONN(rfc2018_4_latest_block_first),
        {"rfc2018_4_latest_block_first_ipv6", rfc2018_4_latest_block_first, connected6, disconnect,
         NULL},
        CONN(rfc2883_4_1_duplicates_are_reported),
        {"rfc2883_4_1_duplicates_are_reported_ipv6", rfc2883_4_1_duplicates_are_reported,
         connected6, disconnect, NULL},
        CONN(rfc9293_3_7_1_mss_of_the_peer_is_the_limit),
        CONN(rfc6691_2_options_take_of_the_mss),
        CONN(rfc9293_3_7_1_tiny_mss_is_not_believed),
        CONN(rfc9293_3_7_1_huge_mss_ends_at_the_path),
        CONN_AS(rfc9293_3_7_1_no_mss_over_ipv6_is_1220, connected6),
        CONN(rfc9293_3_7_1_maxseg_is_told_and_kept),
        CONN(rfc9293_3_7_1_maxseg_is_in_a_cookie_too),
        CONN(rfc6691_3_advertised_mss_follows_the_interface),
        CONN(rfc7323_2_2_no_scale_without_the_peers),
        CONN(rfc7323_2_2_window_of_a_syn_is_not_scaled),
        CONN(rfc7323_2_3_scale_of_zero),
        CONN(rfc7323_2_2_our_window_is_scaled),
        CONN(rfc7323_3_2_in_every_segment_once_negotiated),
        CONN_AS(rfc7323_3_2_never_if_not_negotiated, connected_no_ts),
        CONN(rfc7323_4_3_echo_of_the_segment_that_is_acked),
        CONN(rfc7323_4_3_hole_echoes_what_was_in_order),
        CONN(rfc7323_5_3_paws_drops_and_answers),
        CONN(rfc7323_5_2_timestamps_wrap),
        CONN(rfc7323_5_5_timestamps_expire_in_24_days),
        CONN(rfc7323_5_4_our_clock_ticks_between_1_ms_and_1_s),
        CONN_AS(rfc2018_2_no_blocks_without_permission, connected_plain),
        CONN(rfc2018_3_three_blocks_with_timestamps),
        CONN_AS(rfc2018_3_four_blocks_without_timestamps, connected_no_ts),
        CONN(rfc2018_4_blocks_go_when_the_hole_is_filled),
        CONN(rfc2018_4_adjacent_blocks_join),
        CONN(rfc2883_4_2_part_of_a_segment_is_duplicate),
        CONN(rfc2883_4_3_duplicate_above_the_ack_comes_with_its_block),
        CONN(rfc9293_3_1_unknown_options_are_skipped),
        CONN(rfc9293_3_1_nothing_is_read_behind_the_end_of_the_list),
        CONN(rfc9293_3_1_wrong_lengths_are_not_believed),
        CONN(rfc9293_3_1_header_longer_than_the_segment),
        CONN(rfc9293_3_9_1_info_of_a_new_connection),
        CONN(rfc9293_3_9_1_info_counts_bytes_and_segments),
        {"rfc9293_3_9_1_info_counts_bytes_and_segments_ipv6",
         rfc9293_3_9_1_info_counts_bytes_and_segments, connected6, disconnect, NULL},
        CONN(rfc9293_3_9_1_info_of_losses),
        CONN(rfc9293_3_9_1_info_of_what_waits),
        CONN(rfc9293_3_9_1_info_of_a_listener),
        CONN(rfc5681_3_congestion_control_is_inherited),
        CONN(rfc5482_3_user_timeout_is_inherited),
        CONN(rfc9293_3_8_6_window_clamp),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
