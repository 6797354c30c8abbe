/* Every allocation of the usual operations fails once: nothing crashes, nothing leaks. */
#include "test_net_util.h"

static void operations(void)
{
    static uint8_t data[3000], b[4000];
    struct ip_addr extra = addr("10.0.0.99"), group = addr("225.0.0.9"), net = addr("172.16.0.0"),
                   gw = addr("10.0.0.98");
    uint32_t mreq[2] = {ip_v4(&group), 0};
    struct socket *a = NULL, *c = NULL, *raw = NULL;

    if (socket_create(4, 2, 0, &a) == 0) {
        sock_bind(a, "0.0.0.0", 7100);
        socket_setopt(a, 0, 35, mreq, sizeof(mreq));
    }
    if (socket_create(6, 2, 0, &c) == 0) {
        sock_send(c, data, sizeof(data), "127.0.0.1", 7100);
        sock_send(c, data, 10, "::1", 7100);
        sock_send(c, data, sizeof(data), "10.0.0.2", 9);
        sock_send(c, data, sizeof(data), "2001:db8::2", 9);
        sock_send(c, data, 5, "10.0.0.123", 9); /* nobody answers */
    }
    socket_create(4, 3, 1, &raw);
    netif_add_addr(eth, &extra, 24);
    route_add(eth, &net, 12, &gw, 0, ROUTE_STATIC);
    netif_announce(eth);
    wire_receive(&wire, b, udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 7100, data, 1000));
    wire_receive(&wire, b, udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 7101, data, 1000));
    uint32_t n = udp_frame(b, "10.0.0.2", 7, "10.0.0.1", 7100, data, 1000);
    put16(b + 20, 0x2000);
    put16(b + 16, 20 + 504);
    fix_ip4(b + 14);
    wire_receive(&wire, b, n);
    put16(b + 20, 504 / 8);
    put16(b + 16, 20 + 504);
    fix_ip4(b + 14);
    wire_receive(&wire, b, n);
    floor_advance(40 * SEC);
    if (a)
        while (sock_recv(a, data, sizeof(data), NULL, SOCK_MSG_PEEK) > 0 &&
               sock_recv(a, data, sizeof(data), NULL, 0) > 0)
            ;
    route_del(eth, &net, 12, &gw);
    netif_del_addr(eth, &extra);
    floor_fail_alloc(0);
    struct socket *all[] = {a, c, raw};
    for (int i = 0; i < 3; i++) {
        if (all[i])
            all[i]->ops->close(all[i]);
    }
    settle();
    wire_clear(&wire);
}

static void test_every_allocation_may_fail(void **state)
{
    (void)state;
    operations();
    size_t pages = floor_pages_in_use();
    for (unsigned n = 1; n < 120; n++) {
        learn_peer("10.0.0.2", peer_mac);
        learn_peer6("2001:db8::2", peer_mac);
        floor_fail_alloc(n);
        operations();
        assert_int_equal(floor_pages_in_use(), pages);
    }
    operations();
    assert_int_equal(floor_pages_in_use(), pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation_may_fail)};

    wire_setup(PATH_CSUM | PATH_SG);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
