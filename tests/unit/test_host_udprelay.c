/* Forwarded UDP ports: from a local client into the switch and back, and answers nobody asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/udprelay.h"

#define GUEST_IP 0x0a00020fu
#define GATEWAY_IP 0x0a000202u

static struct loop loop;
static struct net_switch sw;
static uint8_t captured[70000];
static size_t captured_n;

static bool capture(struct switch_port *port, const uint8_t *frame, size_t n)
{
    (void)port;
    memcpy(captured, frame, n);
    captured_n = n;
    return true;
}

static bool swallow(struct switch_port *port, const uint8_t *frame, size_t n)
{
    (void)port;
    (void)frame;
    (void)n;
    return true;
}

static struct switch_port guest_port = {.deliver = capture}, gateway_port = {.deliver = swallow};
static const struct udprelay_guest guest = {
    .mac = {2, 0, 0, 0, 0, 15},
    .gateway_mac = {0x52, 0x55, 10, 0, 2, 2},
    .ip = GUEST_IP,
    .gateway = GATEWAY_IP,
    .port = 53,
};
static struct sockaddr_in address = {.sin_family = AF_INET};
static struct udprelay *relay;
static int client;

static int set_up(void **state)
{
    socklen_t len = sizeof(address);
    int err = 0, probe = socket(AF_INET, SOCK_DGRAM, 0);

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = 0;
    assert_int_equal(bind(probe, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(probe, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(loop_init(&loop), 0);
    assert_int_equal(switch_add_port(&sw, &guest_port), 0);
    assert_int_equal(switch_add_port(&sw, &gateway_port), 0);
    assert_null(
        udprelay_open(&loop, &sw, &gateway_port, (struct sockaddr *)&address, len, &guest, &err));
    assert_int_equal(err, -EADDRINUSE);
    close(probe);
    relay =
        udprelay_open(&loop, &sw, &gateway_port, (struct sockaddr *)&address, len, &guest, &err);
    assert_non_null(relay);
    client = socket(AF_INET, SOCK_DGRAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&address, len), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(client);
    udprelay_close(relay);
    switch_del_port(&sw, &guest_port);
    switch_del_port(&sw, &gateway_port);
    loop_close(&loop);
    return 0;
}

static void ask(const void *data, size_t n)
{
    captured_n = 0;
    assert_int_equal(send(client, data, n, 0), n);
    loop_once(&loop, 1000);
}

/* The captured frame turned around, as the guest's answer of the same payload. */
static size_t turn_around(uint8_t *frame)
{
    memcpy(frame, captured, captured_n);
    memcpy(frame, captured + 6, 6);
    memcpy(frame + 6, captured, 6);
    memcpy(frame + 26, captured + 30, 4);
    memcpy(frame + 30, captured + 26, 4);
    memcpy(frame + 34, captured + 36, 2);
    memcpy(frame + 36, captured + 34, 2);
    return captured_n;
}

static void there_and_back(void **state)
{
    static const size_t sizes[] = {0, 1, 1500, 65492};
    static uint8_t data[65536], frame[70000], got[70000];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        size_t n = sizes[i];
        memset(data, (int)i + 1, n);
        ask(data, n);
        assert_int_equal(captured_n, 42 + n);
        assert_memory_equal(captured, guest.mac, 6);
        assert_memory_equal(captured + 26, "\x0a\0\2\2\x0a\0\2\x0f", 8);
        assert_int_equal(captured[36] << 8 | captured[37], 53);
        assert_memory_equal(captured + 42, data, n);
        assert_true(udprelay_answer(relay, frame, turn_around(frame)));
        assert_int_equal(recv(client, got, sizeof(got), MSG_DONTWAIT), n);
        assert_memory_equal(got, data, n);
    }
}

static void too_large_for_the_network(void **state)
{
    static uint8_t data[65507];

    (void)state;
    ask(data, sizeof(data));
    assert_int_equal(captured_n, 0);
}

/* Bytes at an offset that make the answer somebody else's business. */
static void answers_to_nobody(void **state)
{
    static const struct {
        unsigned at;
        uint8_t value;
    } changes[] = {
        {6, 9},    {12, 0x86}, {14, 0x65}, {14, 0x44}, {14, 0x4f}, {17, 255},
        {16, 255}, {20, 0x20}, {21, 1},    {23, 6},    {29, 99},   {33, 3},
        {35, 54},  {36, 0},    {37, 0xff}, {38, 255},  {39, 7},
    };
    uint8_t good[64];

    (void)state;
    ask("data", 4);
    size_t n = turn_around(good);
    for (size_t k = 0; k < n; k++) {
        uint8_t *exact = malloc(k + !k);
        memcpy(exact, good, k);
        assert_false(udprelay_answer(relay, exact, k));
        free(exact);
    }
    for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        uint8_t *exact = malloc(n);
        memcpy(exact, good, n);
        exact[changes[i].at] = changes[i].value;
        assert_false(udprelay_answer(relay, exact, n));
        free(exact);
    }
    assert_int_equal(recv(client, good, sizeof(good), MSG_DONTWAIT), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_large_for_the_network, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_to_nobody, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
