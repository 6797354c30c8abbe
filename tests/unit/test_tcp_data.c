/* TCP: what the program writes and reads. */
#include "tcp_peer.h"

static char buf[100000];

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

static void rfc9293_3_10_7_4_overlapping_segments_are_assembled(void **state)
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

static void rfc6928_2_initial_window_is_10(void **state)
{
    (void)state;
    peer.win = 65535;
    assert_int_equal(send_bytes(sock, buf, 60000, 0), 60000);
    assert_int_equal(drain(&peer), 10 * 1448);
}

static void rfc9293_3_9_1_peek_leaves_the_data(void **state)
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

static void rfc9293_3_9_1_sendpages_references_the_pages(void **state)
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

static void rfc9293_3_9_1_send_buffer_fills_and_frees(void **state)
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

/* --- keepalive -------------------------------------------------------------------------------- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONN(rfc5681_4_2_out_of_order_is_acked_at_once),
        CONN(rfc9293_3_10_7_4_overlapping_segments_are_assembled),
        CONN(rfc6928_2_initial_window_is_10),
        CONN(rfc9293_3_9_1_peek_leaves_the_data),
        CONN(rfc9293_3_9_1_sendpages_references_the_pages),
        CONN(rfc9293_3_9_1_send_buffer_fills_and_frees),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
