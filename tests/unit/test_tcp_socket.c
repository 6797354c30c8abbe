/* TCP's system calls as programs see them: errors, blocking, binding, options, many connections. */
#include "fs/vfs.h"
#include "tcp_peer.h"

static char buf[300000];

static int bind_to(struct socket *s, uint32_t ip, uint16_t port)
{
    struct sock_addr a = {.ip = ip_from_v4(net32(ip)), .port = port};

    return s->ops->bind(s, &a);
}

static int bind6_to(struct socket *s, const char *ip, uint16_t port)
{
    struct sock_addr a = {.port = port};

    assert_int_equal(ip_parse(ip, &a.ip), 0);
    return s->ops->bind(s, &a);
}

static struct socket *socket6(void)
{
    struct socket *s;

    assert_int_equal(socket_create(6, 1, 0, &s), 0);
    return s;
}

/* --- binding ---------------------------------------------------------------------------------- */

static void a_port_has_one_owner(void **state)
{
    struct socket *a = new_socket(), *b = new_socket();

    (void)state;
    assert_int_equal(bind_to(a, 0, 700), 0);
    assert_int_equal(bind_to(a, 0, 701), -EINVAL);
    assert_int_equal(bind_to(b, 0, 700), -EADDRINUSE);
    assert_int_equal(bind_to(b, 0x7f000001, 700), -EADDRINUSE);
    assert_int_equal(bind_to(b, 0x01020304, 700), -EADDRNOTAVAIL);
    kill_socket(a);
    assert_int_equal(bind_to(b, 0, 700), 0);
    kill_socket(b);
}

static void different_addresses_may_share_a_port(void **state)
{
    struct socket *a = new_socket(), *b = new_socket();

    (void)state;
    assert_int_equal(bind_to(a, 0x7f000001, 700), 0);
    assert_int_equal(bind_to(b, 0x0a000001, 700), 0);
    assert_int_equal(a->ops->listen(a, 1), 0);
    assert_int_equal(b->ops->listen(b, 1), 0);
    kill_socket(a);
    kill_socket(b);
}

static void reuse_addr_lets_in_unless_one_listens(void **state)
{
    struct socket *a = new_socket(), *b = new_socket(), *c = new_socket();

    (void)state;
    a->reuse_addr = b->reuse_addr = c->reuse_addr = true;
    assert_int_equal(bind_to(a, 0, 700), 0);
    assert_int_equal(bind_to(b, 0, 700), 0);
    assert_int_equal(a->ops->listen(a, 1), 0);
    assert_int_equal(b->ops->listen(b, 1), -EADDRINUSE);
    assert_int_equal(bind_to(c, 0, 700), -EADDRINUSE);
    kill_socket(a);
    assert_int_equal(b->ops->listen(b, 1), 0);
    kill_socket(b);
    kill_socket(c);
}

static void reuse_port_makes_a_group(void **state)
{
    struct socket *a = new_socket(), *b = new_socket(), *c = new_socket();
    unsigned got_a, got_b;

    (void)state;
    a->reuse_port = b->reuse_port = c->reuse_port = true;
    c->uid = 1000;
    assert_int_equal(bind_to(a, 0, 700), 0);
    assert_int_equal(a->ops->listen(a, 100), 0);
    assert_int_equal(bind_to(b, 0, 700), 0);
    assert_int_equal(b->ops->listen(b, 100), 0);
    assert_int_equal(bind_to(c, 0, 700), -EADDRINUSE); /* another user */
    for (int i = 0; i < 60; i++) {
        struct peer p = new_peer(700);

        tx(&p, SYN, 0, 0, NULL, 0);
        p.local_iss = rx(&p)->seq;
        tx(&p, ACK, 1, 1, NULL, 0);
    }
    got_a = tcp_of(a)->accept_count;
    got_b = tcp_of(b)->accept_count;
    assert_int_equal(got_a + got_b, 60);
    assert_true(got_a > 10 && got_b > 10);
    kill_socket(a);
    kill_socket(b);
    kill_socket(c);
}

static void ipv6_wildcard_covers_ipv4(void **state)
{
    struct socket *a = socket6(), *b = new_socket(), *c = socket6(), *s;
    struct peer p = new_peer(700);

    (void)state;
    assert_int_equal(bind6_to(a, "::", 700), 0);
    assert_int_equal(bind_to(b, 0, 700), -EADDRINUSE);
    assert_int_equal(a->ops->listen(a, 5), 0);
    s = peer_connect(&p, a);
    assert_true(ip_is_v4(&s->peer.ip));
    assert_int_equal(s->family, 6);
    kill_socket(s);
    kill_socket(a);
    c->v6only = true;
    assert_int_equal(bind6_to(c, "::", 700), 0);
    assert_int_equal(bind_to(b, 0, 700), 0);
    assert_int_equal(b->ops->listen(b, 5), 0);
    assert_int_equal(c->ops->listen(c, 5), 0);
    kill_socket(b);
    kill_socket(c);
}

static void rfc9293_3_6_time_wait_holds_the_port_but_for_reuse_addr(void **state)
{
    struct socket *l = listen_on(700, 5), *s, *b = new_socket();
    struct peer p = new_peer(700);

    (void)state;
    s = peer_connect(&p, l);
    s->ops->close(s);
    rx(&p);
    tx(&p, FIN | ACK, 1, 2, NULL, 0);
    kill_socket(l);
    assert_int_equal(bind_to(b, 0, 700), -EADDRINUSE);
    b->reuse_addr = true;
    assert_int_equal(bind_to(b, 0, 700), 0);
    kill_socket(b);
    pass(61 * SEC);
}

static void port_zero_takes_a_free_one(void **state)
{
    struct socket *a = new_socket(), *b = new_socket();

    (void)state;
    assert_int_equal(bind_to(a, 0, 0), 0);
    assert_int_equal(b->ops->listen(b, 1), 0); /* binds */
    assert_true(a->local.port >= net_tunables.port_min && b->local.port >= net_tunables.port_min);
    assert_int_not_equal(a->local.port, b->local.port);
    kill_socket(a);
    kill_socket(b);
}

/* --- errors ----------------------------------------------------------------------------------- */

static void calls_in_the_wrong_state(void **state)
{
    struct socket *s = new_socket(), *o;
    struct sock_addr nowhere = {.ip = ip_from_v4(net32(0xe0000001)), .port = 5};

    (void)state;
    assert_int_equal(recv_bytes(s, buf, 1, 0), -ENOTCONN);
    assert_int_equal(send_bytes(s, buf, 1, 0), -EPIPE);
    assert_int_equal(s->ops->shutdown(s, 1), -ENOTCONN);
    assert_int_equal(s->ops->accept(s, &o, true), -EINVAL);
    assert_int_equal(s->ops->poll(s) & (POLL_HUP | POLL_OUT), POLL_HUP | POLL_OUT);
    assert_int_equal(s->ops->connect(s, &nowhere, true), -ENETUNREACH);
    assert_int_equal(bind_to(s, 0, 700), 0);
    assert_int_equal(s->ops->listen(s, 1), 0);
    assert_int_equal(s->ops->connect(s, &nowhere, true), -EISCONN);
    assert_int_equal(recv_bytes(s, buf, 1, 0), -ENOTCONN);
    assert_int_equal(s->ops->accept(s, &o, true), -EAGAIN);
    kill_socket(s);
}

static void options_have_linux_limits(void **state)
{
    struct socket *s = new_socket();
    int v;
    uint32_t len = sizeof(v);
    static const struct {
        int name, value, result;
    } cases[] = {
        {2, 10, -EINVAL},      {2, 40000, -EINVAL}, {2, 1000, 0},      {4, 0, -EINVAL},
        {4, 32768, -EINVAL},   {4, 100, 0},         {5, 0, -EINVAL},   {6, 128, -EINVAL},
        {7, 0, -EINVAL},       {7, 3, 0},           {18, -1, -EINVAL}, {23, 1, -EOPNOTSUPP},
        {99, 1, -ENOPROTOOPT},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(s->ops->setopt(s, 6, cases[i].name, &cases[i].value, 4), cases[i].result);
    assert_int_equal(s->ops->setopt(s, 6, 1, &v, 2), -EINVAL);
    assert_int_equal(s->ops->getopt(s, 6, 4, &v, &len), 0);
    assert_int_equal(v, 100);
    assert_int_equal(s->ops->getopt(s, 6, 99, &v, &len), -ENOPROTOOPT);
    kill_socket(s);
}

static void info_has_linux_layout(void **state)
{
    struct socket *l = listen_on(701, 5), *s;
    struct peer p = new_peer(701);
    uint8_t info[256];
    uint32_t len = sizeof(info);

    (void)state;
    s = peer_connect(&p, l);
    assert_int_equal(s->ops->getopt(s, 6, 11, info, &len), 0);
    assert_int_equal(len, 232);
    assert_int_equal(info[0], TCP_ESTABLISHED);
    assert_int_equal(*(uint32_t *)(void *)(info + 16), 1448); /* snd_mss */
    assert_int_equal(*(uint32_t *)(void *)(info + 80), 10);   /* snd_cwnd */
    kill_socket(s);
    kill_socket(l);
}

static void proc_net_tcp(void **state)
{
    struct socket *l = listen_on(0x1234, 5), *s;
    struct peer p = new_peer(0x1234);
    struct text_buf b = {0};

    (void)state;
    s = peer_connect(&p, l);
    tcp_proc_text(&b, false);
    assert_non_null(strstr(b.data, "00000000:1234 00000000:0000 0A"));
    assert_non_null(strstr(b.data, "0100000A:1234 0200000A:"));
    kfree(b.data);
    kill_socket(s);
    kill_socket(l);
}

/* --- blocking calls over loopback ------------------------------------------------------------- */

#define PORT 5555

static bool server_done;

static void echo_server(void *arg)
{
    struct socket *l = arg, *s;
    static char chunk[5000];
    struct sock_recv_info info;
    struct iovec_k seg;
    ssize_t n;

    if (l->ops->accept(l, &s, false) < 0)
        panic("accept");
    for (;;) {
        struct uio u = uio_kernel(&seg, chunk, sizeof(chunk));

        n = s->ops->recv(s, &u, &info, 0);
        if (n <= 0)
            break;
        u = uio_kernel(&seg, chunk, (size_t)n);
        if (s->ops->send(s, &u, NULL, 0) != n)
            panic("short send");
    }
    s->ops->close(s);
    server_done = true;
}

static void sender(void *arg)
{
    struct socket *s = arg;
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, sizeof(buf));

    if (s->ops->send(s, &u, NULL, 0) != (ssize_t)sizeof(buf))
        panic("short send");
    s->ops->shutdown(s, 1);
}

static void blocking_echo_over_loopback(void **state)
{
    struct sock_addr a = {.ip = ip_from_v4(net32(0x7f000001)), .port = PORT};
    struct socket *l = listen_on(PORT, 5), *c = new_socket();
    static char back[sizeof(buf)];
    struct sock_recv_info info;
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, back, sizeof(back));

    (void)state;
    for (unsigned i = 0; i < sizeof(buf); i++)
        buf[i] = (char)(i * 31 + i / 255);
    server_done = false;
    assert_int_equal(thread_create(NULL, echo_server, l, "server"), 0);
    assert_int_equal(c->ops->connect(c, &a, false), 0);
    assert_int_equal(thread_create(NULL, sender, c, "sender"), 0);
    assert_int_equal(c->ops->recv(c, &u, &info, SOCK_MSG_WAITALL), sizeof(back));
    assert_memory_equal(buf, back, sizeof(buf));
    u = uio_kernel(&seg, back, 10);
    assert_int_equal(c->ops->recv(c, &u, &info, 0), 0);
    c->ops->close(c);
    settle();
    assert_true(server_done);
    kill_socket(l);
}

static void receive_timeout(void **state)
{
    struct socket *l = listen_on(702, 5), *s;
    struct peer p = new_peer(702);
    struct sock_recv_info info;
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, 10);
    nsec_t t0;

    (void)state;
    s = peer_connect(&p, l);
    s->rcv_timeout = 300 * MS;
    t0 = time_now();
    assert_int_equal(s->ops->recv(s, &u, &info, 0), -EAGAIN);
    assert_true(time_now() - t0 == 300 * MS);
    kill_socket(s);
    kill_socket(l);
}

static void rfc9293_3_9_1_linger_waits_for_the_peer(void **state)
{
    struct socket *l = listen_on(703, 5), *s;
    struct peer p = new_peer(703);
    nsec_t t0 = time_now();

    (void)state;
    s = peer_connect(&p, l);
    s->linger_on = true;
    s->linger_s = 2;
    s->ops->close(s); /* the peer says nothing */
    assert_true(time_now() - t0 == 2 * SEC);
    expect(&p, FIN | ACK, 1, 0, 1);
    tx(&p, RST, 1, 0, NULL, 0);
    kill_socket(l);
}

static void disconnect_and_connect_again(void **state)
{
    struct sock_addr a = {.ip = ip_from_v4(net32(0x7f000001)), .port = PORT};
    struct socket *l = listen_on(PORT, 5), *c = new_socket(), *s;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c->ops->connect(c, &a, false), 0);
        assert_int_equal(l->ops->accept(l, &s, true), 0);
        assert_int_equal(send_bytes(c, "again", 5, 0), 5);
        settle();
        assert_int_equal(recv_bytes(s, buf, 10, 0), 5);
        assert_int_equal(c->ops->disconnect(c), 0);
        settle();
        assert_int_equal(recv_bytes(s, buf, 10, 0), -ECONNRESET);
        kill_socket(s);
    }
    kill_socket(c);
    kill_socket(l);
}

static void ipv6_over_loopback(void **state)
{
    struct sock_addr a = {.port = PORT};
    struct socket *l = socket6(), *c = socket6(), *s;

    (void)state;
    assert_int_equal(ip_parse("::1", &a.ip), 0);
    assert_int_equal(l->ops->bind(l, &a), 0);
    assert_int_equal(l->ops->listen(l, 5), 0);
    assert_int_equal(c->ops->connect(c, &a, false), 0);
    assert_int_equal(l->ops->accept(l, &s, true), 0);
    assert_int_equal(send_bytes(c, buf, 100000, 0), 100000);
    settle();
    assert_true(recv_bytes(s, buf, sizeof(buf), 0) > 0);
    kill_socket(c);
    kill_socket(s);
    kill_socket(l);
}

static void ten_thousand_connections(void **state)
{
    enum { N = 10000 };
    static struct socket *c[N], *s[N];
    struct sock_addr a = {.ip = ip_from_v4(net32(0x7f000001)), .port = PORT};
    struct socket *l = listen_on(PORT, N);
    uint32_t before = tcp_table_count();

    (void)state;
    net_tunables.somaxconn = N;
    assert_int_equal(l->ops->listen(l, N), 0);
    for (int i = 0; i < N; i++) {
        c[i] = new_socket();
        assert_int_equal(c[i]->ops->connect(c[i], &a, false), 0);
    }
    assert_int_equal(tcp_table_count() - before, 2 * N);
    for (int i = 0; i < N; i++)
        assert_int_equal(l->ops->accept(l, &s[i], true), 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(send_bytes(c[i], &i, sizeof(i), 0), sizeof(i));
    settle();
    for (int i = 0; i < N; i++) {
        int v;

        assert_int_equal(recv_bytes(s[i], &v, sizeof(v), 0), sizeof(v));
        assert_int_equal(v, i);
    }
    for (int i = 0; i < N; i++) {
        kill_socket(c[i]);
        kill_socket(s[i]);
    }
    kill_socket(l);
    assert_int_equal(tcp_table_count(), before);
}

/* --- memory running out ----------------------------------------------------------------------- */

static void allocation_failures_lose_nothing(void **state)
{
    struct socket *l = listen_on(704, 5), *s;
    struct peer p = new_peer(704);

    (void)state;
    s = peer_connect(&p, l);
    for (unsigned n = 1; n < 40; n++) {
        ssize_t sent;

        floor_fail_alloc(n);
        sent = send_bytes(s, "payload", 7, 0);
        assert_true(sent == 7 || sent == -ENOMEM);
        settle();
        floor_fail_alloc(0);
        for (int i = 0; i < 20 && tcp_flight(tcp_of(s)) + tcp_queued(tcp_of(s)); i++) {
            tx(&p, ACK, 1, tcp_of(s)->snd_nxt - p.local_iss, NULL, 0);
            pass(300 * MS);
        }
        drain(&p);
        assert_int_equal(tcp_queued(tcp_of(s)), 0);
    }
    kill_socket(s);
    kill_socket(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_port_has_one_owner),
        TEST(different_addresses_may_share_a_port),
        TEST(reuse_addr_lets_in_unless_one_listens),
        TEST(reuse_port_makes_a_group),
        TEST(ipv6_wildcard_covers_ipv4),
        TEST(rfc9293_3_6_time_wait_holds_the_port_but_for_reuse_addr),
        TEST(port_zero_takes_a_free_one),
        TEST(calls_in_the_wrong_state),
        TEST(options_have_linux_limits),
        TEST(info_has_linux_layout),
        TEST(proc_net_tcp),
        TEST(blocking_echo_over_loopback),
        TEST(receive_timeout),
        TEST(rfc9293_3_9_1_linger_waits_for_the_peer),
        TEST(disconnect_and_connect_again),
        TEST(ipv6_over_loopback),
        TEST(ten_thousand_connections),
        TEST(allocation_failures_lose_nothing),
    };

    return cmocka_run_group_tests(tests, peer_setup, NULL);
}
