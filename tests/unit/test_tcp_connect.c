/* TCP: connections that we open, alone or at the same time as the peer. */
#include "tcp_peer.h"

static int alone(void **state)
{
    peer_begin(state);
    peer = new_peer(0);
    return 0;
}
static int alone6(void **state)
{
    alone(state);
    peer.v6 = true;
    return 0;
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

static void rfc6298_5_5_syn_backs_off(void **state)
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

static void rfc9293_3_8_3_syn_retries_are_chosen(void **state)
{
    struct peer p = new_peer(0);
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p.port};
    struct socket *s = new_socket();

    (void)state;
    net_tunables.syn_retries = 1;
    assert_int_equal(s->ops->connect(s, &a, true), -EINPROGRESS);
    pass(4 * SEC);
    assert_int_equal(take_error(s), ETIMEDOUT);
    net_tunables.syn_retries = 6;
    drain(&p);
    kill_socket(s);
}

/* --- active opens ----------------------------------------------------------------------------- */

static void connect_to(struct peer *p)
{
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p->port};

    p->lport = 0;
    sock = new_socket_of(p->v6 ? 6 : 4);
    if (p->v6)
        memcpy(a.ip.b, them6, 16);
    assert_int_equal(sock->ops->connect(sock, &a, true), -EINPROGRESS);
    assert_int_equal(rx(p)->flags, SYN);
    p->local_iss = last_rx.seq;
    p->lport = last_rx.sport;
}

static void rfc9293_3_5_active_open_after_lost_syns(void **state)
{
    (void)state;
    connect_to(&peer);
    pass(3500 * MS);
    for (int i = 0; i < 2; i++)
        expect(&peer, SYN, 0, 0, 0);
    tx(&peer, SYN | ACK, 0, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    assert_int_equal(tcp_of(sock)->cwnd, tcp_of(sock)->mss);
}

static void rfc6298_3_no_sample_of_a_repeated_syn(void **state)
{
    (void)state;
    connect_to(&peer);
    pass(1100 * MS);
    expect(&peer, SYN, 0, 0, 0);
    tx(&peer, SYN | ACK, 0, 1, NULL, 0);
    assert_int_equal(tcp_of(sock)->srtt, 0);
    assert_int_equal(tcp_of(sock)->rto, 3 * SEC);
}

static void rfc9293_3_10_7_3_repeated_synack_is_acked(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, SYN | ACK, 0, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1); /* lost */
    tx(&peer, SYN | ACK, 0, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
}

static void rfc9293_3_10_7_3_ack_of_something_else_is_reset(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, ACK, 300, 91, NULL, 0); /* we are half open to it */
    assert_int_equal(rx(&peer)->flags, RST);
    assert_int_equal(last_rx.seq, peer.local_iss + 91);
    tx(&peer, SYN | ACK, 0, 0, NULL, 0); /* acknowledges nothing */
    assert_int_equal(rx(&peer)->flags, RST);
    assert_int_equal(tcp_of(sock)->state, TCP_SYN_SENT);
}

static void rfc9293_3_10_7_3_rst_without_a_good_ack(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, RST | ACK, 0, 5, NULL, 0);
    tx(&peer, RST, 0, 0, NULL, 0);
    expect_none(&peer);
    assert_int_equal(tcp_of(sock)->state, TCP_SYN_SENT);
}

static void rfc9293_3_10_7_3_ack_without_syn_is_ignored(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, ACK, 1, 1, "x", 1);
    expect_none(&peer);
    assert_int_equal(tcp_of(sock)->state, TCP_SYN_SENT);
}

static void rfc9293_3_10_7_3_refused(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, RST | ACK, 0, 1, NULL, 0);
    assert_int_equal(take_error(sock), ECONNREFUSED);
}

static void rfc9293_3_5_data_written_before_the_answer_wait(void **state)
{
    (void)state;
    connect_to(&peer);
    assert_int_equal(send_bytes(sock, "x", 1, 0), -EAGAIN);
    tx(&peer, SYN | ACK, 0, 1, NULL, 0);
    expect(&peer, ACK, 1, 0, 1);
    assert_int_equal(send_bytes(sock, "x", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
}

static void rfc5461_4_unreachable_ends_an_attempt(void **state)
{
    uint8_t quoted[8];
    struct ip_addr us = ip_from_v4(US4), them = ip_from_v4(PEER4);

    (void)state;
    connect_to(&peer);
    wr16(quoted, peer.lport);
    wr16(quoted + 2, peer.port);
    wr32(quoted + 4, peer.local_iss);
    bh_disable();
    tcp_icmp_error(&us, &them, quoted, -EHOSTUNREACH, 0);
    bh_enable();
    assert_int_equal(take_error(sock), EHOSTUNREACH);
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE);
}

static void rfc5482_3_user_timeout_ends_an_attempt(void **state)
{
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = peer.port};

    (void)state;
    sock = new_socket();
    set_opt(sock, 18, 4000);
    assert_int_equal(sock->ops->connect(sock, &a, true), -EINPROGRESS);
    pass(20 * SEC);
    assert_int_equal(take_error(sock), ETIMEDOUT);
    drop_captured();
}

/* --- simultaneous opens ------------------------------------------------------------------ */

static void rfc9293_3_5_simultaneous_open(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, SYN, 0, 0, NULL, 0);
    expect(&peer, SYN | ACK, 0, 0, 1);
    tx(&peer, SYN | ACK, 0, 1, NULL, 0);
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    drain(&peer);
    assert_int_equal(send_bytes(sock, "x", 1, 0), 1);
    expect(&peer, ACK, 1, 1, 1);
    tx(&peer, ACK, 1, 2, "first", 5);
    reads("first");
}

static void rfc9293_3_5_simultaneous_open_with_a_lost_synack(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, SYN, 0, 0, NULL, 0);
    expect(&peer, SYN | ACK, 0, 0, 1); /* lost, and the peer's too */
    pass(1100 * MS);
    expect(&peer, SYN | ACK, 0, 0, 1);
    tx(&peer, ACK, 1, 1, "first", 5); /* it has ours */
    assert_int_equal(tcp_of(sock)->state, TCP_ESTABLISHED);
    reads("first");
}

static void rfc9293_3_5_simultaneous_open_refused(void **state)
{
    (void)state;
    connect_to(&peer);
    tx(&peer, SYN, 0, 0, NULL, 0);
    drain(&peer);
    tx(&peer, RST, 1, 0, NULL, 0);
    assert_int_equal(tcp_of(sock)->state, TCP_CLOSE);
    assert_int_equal(take_error(sock), ECONNREFUSED);
}

#define A(f) CONN_AS(f, alone)
#define BOTH(f)                                                                                    \
    A(f),                                                                                          \
    {                                                                                              \
#f "_ipv6", f, alone6, disconnect, NULL                                                    \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rfc9293_3_5_active_open),
        TEST(rfc6298_5_5_syn_backs_off),
        TEST(rfc9293_3_8_3_syn_retries_are_chosen),
        BOTH(rfc9293_3_5_active_open_after_lost_syns),
        A(rfc6298_3_no_sample_of_a_repeated_syn),
        A(rfc9293_3_10_7_3_repeated_synack_is_acked),
        A(rfc9293_3_10_7_3_ack_of_something_else_is_reset),
        A(rfc9293_3_10_7_3_rst_without_a_good_ack),
        A(rfc9293_3_10_7_3_ack_without_syn_is_ignored),
        BOTH(rfc9293_3_10_7_3_refused),
        A(rfc9293_3_5_data_written_before_the_answer_wait),
        A(rfc5461_4_unreachable_ends_an_attempt),
        A(rfc5482_3_user_timeout_ends_an_attempt),
        BOTH(rfc9293_3_5_simultaneous_open),
        A(rfc9293_3_5_simultaneous_open_with_a_lost_synack),
        A(rfc9293_3_5_simultaneous_open_refused),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
