/* A port of the virtual switch whose machines follow each other: the network server's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "netport.h"

static struct loop loop;
static struct net_switch sw;
static struct netport port;
static struct switch_port other; /* where frames come from and go to */
static unsigned arrived;

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1}, peer[6] = {2, 0, 0, 0, 0, 2};

static bool take(struct switch_port *p, const uint8_t *frame, size_t n)
{
    (void)p, (void)frame, (void)n;
    arrived++;
    return true;
}

/* A machine; returns its end of the socket. */
static int machine(void)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
    if (port.loop)
        assert_int_equal(netport_attach(&port, fd[0]), 0);
    else
        assert_int_equal(netport_open(&port, &loop, &sw, fd[0], mac), 0);
    port.lasting = true;
    return fd[1];
}

static void make(uint8_t frame[64], const uint8_t *to, const uint8_t *from, uint8_t number)
{
    memset(frame, 0, 64);
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    frame[20] = number;
}

static void put_to_port(uint8_t number)
{
    uint8_t frame[64];

    make(frame, mac, peer, number);
    switch_input(&sw, &other, frame, sizeof(frame));
}

static void send_to_port(uint8_t number)
{
    put_to_port(number);
    switch_flush(&sw);
}

static void machine_says(int fd)
{
    uint8_t b[68];
    uint32_t length = htonl(64);

    memcpy(b, &length, 4);
    make(b + 4, peer, mac, 0);
    assert_int_equal(write(fd, b, sizeof(b)), sizeof(b));
    loop_once(&loop, 10);
}

/* The numbers of the frames that a machine got, as text. */
static const char *got(int fd)
{
    static char text[64];
    uint8_t b[68];
    size_t n = 0;

    loop_once(&loop, 0);
    while (recv(fd, b, sizeof(b), MSG_DONTWAIT | MSG_WAITALL) == sizeof(b))
        text[n++] = (char)('0' + b[24]);
    text[n] = 0;
    return text;
}

static int setup(void **state)
{
    (void)state;
    assert_int_equal(loop_init(&loop), 0);
    memset(&sw, 0, sizeof(sw));
    memset(&port, 0, sizeof(port));
    other = (struct switch_port){.deliver = take};
    assert_int_equal(switch_add_port(&sw, &other), 0);
    arrived = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    netport_close(&port);
    loop_close(&loop);
    return 0;
}

static void what_a_dead_machine_may_have_lost_is_sent_again(void **state)
{
    int a = machine();

    (void)state;
    send_to_port(1);
    assert_string_equal(got(a), "1");
    usleep(40000);
    machine_says(a); /* so it has done with 1 */
    send_to_port(2);
    send_to_port(3);
    usleep(300000); /* it hangs, and has read all */
    assert_string_equal(got(a), "23");
    close(a);
    loop_once(&loop, 10);
    send_to_port(4);
    netport_hold(&port);
    int b = machine();
    send_to_port(5);
    assert_string_equal(got(b), ""); /* it is not ready */
    netport_release(&port);
    assert_string_equal(got(b), "2345");
    /* It dies before it has said a word. */
    close(b);
    loop_once(&loop, 10);
    int c = machine();
    netport_release(&port);
    assert_string_equal(got(c), "2345");
    close(c);
}

static void a_port_is_handed_over(void **state)
{
    int a = machine();

    (void)state;
    machine_says(a);
    usleep(40000);
    machine_says(a);
    arrived = 0;
    int b = machine();
    send_to_port(1);
    machine_says(a); /* what the old one still has to say */
    assert_int_equal(arrived, 1);
    assert_string_equal(got(a), "");
    netport_release(&port);
    assert_string_equal(got(b), "1");
    machine_says(b);
    assert_int_equal(arrived, 2);
    close(a);
    loop_once(&loop, 10);
    machine_says(b);
    assert_int_equal(arrived, 3);
    close(b);
}

/* What was sent just before goes to both: the old one may not have passed it on. */
static void the_last_frames_are_handed_over_too(void **state)
{
    int a = machine();

    (void)state;
    send_to_port(1);
    assert_string_equal(got(a), "1");
    int b = machine();
    send_to_port(2);
    assert_string_equal(got(a), "");
    assert_string_equal(got(b), ""); /* it is not ready */
    arrived = 0;
    machine_says(a);
    assert_int_equal(arrived, 1); /* the old one's last word */
    netport_release(&port);
    assert_string_equal(got(b), "12");
    close(a);
    close(b);
}

/* It dies in the moment in which it is to hand over. */
static void a_port_whose_machine_hung_up_is_handed_over(void **state)
{
    int a = machine();

    (void)state;
    send_to_port(1);
    close(a);
    put_to_port(2);
    int b = machine();
    netport_release(&port);
    assert_string_equal(got(b), "12");
    close(b);
}

/* A machine that hangs says nothing any more: what came for it since is for the next one, however
 * long it took to notice. */
static void what_came_for_a_hung_machine_is_kept(void **state)
{
    int a = machine();

    (void)state;
    send_to_port(9);
    machine_says(a);
    usleep(50000);
    for (uint8_t number = 1; number <= 4; number++) {
        send_to_port(number);
        usleep(60000);
    }
    netport_hold(&port);
    int b = machine();
    netport_release(&port);
    const char *numbers = got(b);
    assert_true(!strcmp(numbers, "1234") || !strcmp(numbers, "91234"));
    close(a);
    close(b);
}

/* One that was heard of afterwards has passed on what is older. */
static void what_a_dead_machine_has_passed_on_is_not_sent_again(void **state)
{
    int a = machine();

    (void)state;
    send_to_port(1);
    machine_says(a);
    usleep(120000);
    netport_hold(&port);
    int b = machine();
    netport_release(&port);
    assert_string_equal(got(b), "");
    close(a);
    close(b);
}

static void a_machine_that_dies_before_it_is_ready_loses_nothing(void **state)
{
    int a = machine();

    (void)state;
    machine_says(a);
    close(a);
    loop_once(&loop, 10);
    send_to_port(1);
    int b = machine();
    close(b);
    loop_once(&loop, 10);
    send_to_port(2);
    int c = machine();
    netport_release(&port);
    assert_string_equal(got(c), "12");
    close(c);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_a_dead_machine_may_have_lost_is_sent_again),
        T(a_port_is_handed_over),
        T(the_last_frames_are_handed_over_too),
        T(a_port_whose_machine_hung_up_is_handed_over),
        T(what_came_for_a_hung_machine_is_kept),
        T(what_a_dead_machine_has_passed_on_is_not_sent_again),
        T(a_machine_that_dies_before_it_is_ready_loses_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
