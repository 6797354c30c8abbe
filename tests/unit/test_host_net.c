/* The virtual network: learning, drops, back-pressure, and libslirp behind it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/netport.h"
#include "host/udpframe.h"
#include "host/vdhcp.h"
#include "host/vswitch.h"

/* ---- the switch alone ---- */

struct sink {
    struct switch_port port;
    int frames, flushes;
    bool full;
};

static bool take(struct switch_port *p, const uint8_t *frame, size_t n)
{
    struct sink *s = (struct sink *)p;

    (void)frame;
    (void)n;
    s->frames += !s->full;
    return !s->full;
}

static void flushed(struct switch_port *p)
{
    ((struct sink *)p)->flushes++;
}
static bool is_full(struct switch_port *p)
{
    return ((struct sink *)p)->full;
}

struct net {
    struct net_switch sw;
    struct sink s[3];
};

static void make_net(struct net *n)
{
    memset(n, 0, sizeof(*n));
    for (size_t i = 0; i < ARRAY_SIZE(n->s); i++) {
        n->s[i].port.deliver = take;
        n->s[i].port.flush = flushed;
        n->s[i].port.is_full = is_full;
        assert_int_equal(switch_add_port(&n->sw, &n->s[i].port), 0);
    }
}

static void frame_of(uint8_t *f, int from, int to)
{
    memset(f, 0, 60);
    f[0] = f[6] = 2;
    f[5] = (uint8_t)to;
    f[11] = (uint8_t)from;
    if (to < 0)
        memset(f, 0xff, 6);
}

static void send_frame(struct net *n, int from, int to)
{
    uint8_t f[60];

    frame_of(f, from, to);
    switch_input(&n->sw, &n->s[from].port, f, sizeof(f));
}

static void learns_and_forgets(void **state)
{
    struct net n;

    (void)state;
    make_net(&n);
    send_frame(&n, 0, 1); /* not known yet: to all others */
    assert_int_equal(n.s[0].frames, 0);
    assert_int_equal(n.s[1].frames, 1);
    assert_int_equal(n.s[2].frames, 1);
    send_frame(&n, 1, 0); /* known now */
    assert_int_equal(n.s[0].frames, 1);
    assert_int_equal(n.s[2].frames, 1);
    send_frame(&n, 2, -1);
    assert_int_equal(n.s[0].frames, 2);
    assert_int_equal(n.s[1].frames, 2);
    switch_flush(&n.sw);
    assert_int_equal(n.s[0].flushes, 1);
    switch_flush(&n.sw);
    assert_int_equal(n.s[0].flushes, 1);
    switch_del_port(&n.sw, &n.s[0].port);
    send_frame(&n, 1, 0); /* forgotten: flooded to the one that is left */
    assert_int_equal(n.s[0].frames, 2);
    assert_int_equal(n.s[2].frames, 2);
}

static void counts_every_drop(void **state)
{
    struct net n;
    uint8_t f[60];
    static uint8_t huge[ETH_FRAME_MAX + 1];
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0};

    (void)state;
    make_net(&n);
    frame_of(f, 0, 1);
    switch_input(&n.sw, &n.s[0].port, f, ETH_HEADER - 1);
    switch_input(&n.sw, &n.s[0].port, f, 0);
    switch_input(&n.sw, &n.s[0].port, huge, sizeof(huge));
    f[6] |= 1; /* a group address as source */
    switch_input(&n.sw, &n.s[0].port, f, sizeof(f));
    assert_int_equal(n.s[0].port.traffic.drop_bad, 4);
    n.s[0].port.only_mac = mac;
    f[6] = 2;
    f[11] = 9; /* not its own address */
    switch_input(&n.sw, &n.s[0].port, f, sizeof(f));
    assert_int_equal(n.s[0].port.traffic.drop_bad, 5);
    assert_int_equal(n.s[1].frames, 0);
    n.s[1].full = true;
    send_frame(&n, 2, -1);
    assert_int_equal(n.s[1].port.traffic.drop_full, 1);
    assert_true(switch_is_full(&n.sw, &n.s[0].port));
    assert_false(switch_is_full(&n.sw, &n.s[1].port));
    send_frame(&n, 2, 2);
    assert_int_equal(n.s[2].port.traffic.drop_local, 1);
}

/* More addresses than the table has room for: still delivered, by flooding if need be. */
static void survives_a_flood_of_addresses(void **state)
{
    struct net n;
    uint8_t f[60];

    (void)state;
    make_net(&n);
    for (int i = 0; i < 5000; i++) {
        frame_of(f, 0, 1);
        f[8] = (uint8_t)(i >> 8);
        f[9] = (uint8_t)i;
        switch_input(&n.sw, &n.s[0].port, f, sizeof(f));
    }
    assert_int_equal(n.s[1].frames, 5000);
}

static void ports_run_out(void **state)
{
    struct net_switch sw = {0};
    static struct sink many[SWITCH_PORTS + 1];

    (void)state;
    for (int i = 0; i < SWITCH_PORTS; i++)
        assert_int_equal(switch_add_port(&sw, &many[i].port), 0);
    assert_int_equal(switch_add_port(&sw, &many[SWITCH_PORTS].port), -ENOSPC);
}

/* ---- domains on sockets ---- */

struct lan {
    struct loop loop;
    struct vswitch *v;
    int host[2], fd[2]; /* the domains' ends */
};

static int lan_up(void **state)
{
    struct lan *l = xcalloc(1, sizeof(*l));

    assert_int_equal(loop_init(&l->loop), 0);
    l->v = vswitch_new(&l->loop, true);
    assert_non_null(l->v);
    for (int i = 0; i < 2; i++) {
        int sp[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
        l->host[i] = i;
        assert_int_equal(vswitch_connect(l->v, i, sp[0]), 0);
        l->fd[i] = sp[1];
        set_nonblock(sp[1]);
    }
    *state = l;
    return 0;
}

static int lan_down(void **state)
{
    struct lan *l = *state;

    for (int i = 0; i < 2; i++) {
        vswitch_disconnect(l->v, l->host[i]);
        close(l->fd[i]);
    }
    vswitch_free(l->v);
    loop_close(&l->loop);
    free(l);
    return 0;
}

static void send_on(int fd, const uint8_t *frame, size_t n)
{
    uint32_t length = htonl((uint32_t)n);

    assert_int_equal(write(fd, &length, 4), 4);
    assert_int_equal(write_all(fd, frame, n), 0);
}

/* Reads one frame, letting the loop run. Returns its length, 0 if none comes. */
static size_t receive(struct lan *l, int i, uint8_t *frame, size_t max)
{
    uint32_t length = 0;

    for (int tries = 0; tries < 100; tries++) {
        if (recv(l->fd[i], &length, 4, 0) == 4) {
            length = ntohl(length);
            assert_true(length <= max);
            assert_int_equal(recv(l->fd[i], frame, length, MSG_WAITALL), length);
            return length;
        }
        loop_once(&l->loop, 10);
    }
    return 0;
}

static void put_arp(uint8_t *f, const uint8_t mac[6], uint32_t from, uint32_t to)
{
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0, 1};

    memset(f, 0, 60);
    memset(f, 0xff, 6);
    memcpy(f + 6, mac, 6);
    f[12] = 8;
    f[13] = 6;
    memcpy(f + 14, head, sizeof(head));
    memcpy(f + 22, mac, 6);
    from = htonl(from);
    to = htonl(to);
    memcpy(f + 28, &from, 4);
    memcpy(f + 38, &to, 4);
}

/* A DHCP message of the first domain: a question of this kind that names this address. */
static size_t put_dhcp(uint8_t *f, const uint8_t mac[6], uint8_t kind, uint32_t wanted)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255};
    uint8_t *m = f + UDPFRAME_HEADERS;

    memset(m, 0, 252);
    memcpy(m, (uint8_t[]){1, 1, 6, 0, 1, 2, 3, 4}, 8);
    memcpy(m + 28, mac, 6);
    memcpy(m + 236, (uint8_t[]){0x63, 0x82, 0x53, 0x63, 53, 1, kind, 50, 4}, 9);
    put32(m + 245, wanted);
    m[249] = 255;
    udpframe_headers(
        f,
        &(struct udpframe){
            .from_mac = mac, .to_mac = all, .to = 0xffffffff, .from_port = 68, .to_port = 67},
        250);
    return UDPFRAME_HEADERS + 250;
}

/* Its DHCP server leases the address that a domain has been granted, and no other. */
static void the_granted_address_is_leased(void **state)
{
    static const struct {
        uint8_t kind, answer; /* DHCPDISCOVER and so on; 0: none */
        uint32_t wanted;
    } cases[] = {
        {1, 2, 0x0a000299}, {3, 5, 0x0a00020f}, {3, 6, 0x0a000210}, {8, 5, 0}, {7, 0, 0x0a00020f}};
    struct lan *l = *state;
    uint8_t f[400], mac[6], r[VDHCP_MAX];

    vnet_mac(l->host[0], mac);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t length = 1, n = put_dhcp(f, mac, cases[i].kind, cases[i].wanted);
        assert_true(vdhcp_answer(f, n, r, &length));
        if (!cases[i].answer) {
            assert_int_equal(length, 0);
            continue;
        }
        const uint8_t *m = r + UDPFRAME_HEADERS;
        assert_in_range(length, UDPFRAME_HEADERS + 240, VDHCP_MAX);
        assert_int_equal(m[242], cases[i].answer);
        bool lease = cases[i].answer != 6 && cases[i].kind != 8;
        assert_int_equal(get32(m + 16), lease ? 0x0a00020f : 0);
        assert_memory_equal(m + 28, mac, 6);
        assert_int_equal(get32(m + 4), 0x01020304);
    }
    /* Cut off anywhere, it is no question, or one without what is behind. */
    for (size_t n = put_dhcp(f, mac, 1, 0); n > 0; n--) {
        size_t length = 0;
        vdhcp_answer(f, n - 1, r, &length);
        assert_int_equal(length, 0);
    }
    mac[5] ^= 0x80; /* nobody's */
    size_t length;
    assert_false(vdhcp_answer(f, put_dhcp(f, mac, 1, 0), r, &length));
    /* Through the switch. */
    vnet_mac(l->host[0], mac);
    static uint8_t got[70000];
    send_on(l->fd[0], f, put_dhcp(f, mac, 1, 0));
    size_t n = receive(l, 0, got, sizeof(got));
    while (n && !(get16(got + 12) == 0x0800 && get16(got + 36) == 68)) /* router advertisements */
        n = receive(l, 0, got, sizeof(got));
    assert_true(n > 0);
    assert_int_equal(get32(got + UDPFRAME_HEADERS + 16), 0x0a00020f);
}

static void the_gateway_answers_arp(void **state)
{
    struct lan *l = *state;
    uint8_t f[60], mac[6];
    static uint8_t r[70000];

    vnet_mac(l->host[0], mac);
    put_arp(f, mac, 0x0a00020f, 0x0a000202);
    send_on(l->fd[0], f, sizeof(f));
    size_t n = receive(l, 0, r, sizeof(r));
    while (n &&
           !(r[12] == 8 && r[13] == 6 && r[21] == 2)) /* router advertisements may come first */
        n = receive(l, 0, r, sizeof(r));
    assert_true(n >= 42);
    assert_memory_equal(r, mac, 6);
    /* The other domain saw the question: it was a broadcast. */
    n = receive(l, 1, r, sizeof(r));
    while (n && memcmp(r + 6, mac, 6))
        n = receive(l, 1, r, sizeof(r));
    assert_true(n);
}

/* The Internet checksum (RFC 1071) of n bytes, an even number, stored at `at`. */
static void put_checksum(const uint8_t *data, size_t n, uint8_t *at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i += 2)
        sum += (uint32_t)(data[i] << 8 | data[i + 1]);
    sum = ~((sum & 0xffff) + (sum >> 16));
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

/* Sends an echo request of the first domain to the gateway's IP address. */
static void send_ping(struct lan *l, const uint8_t mac[6], uint8_t id)
{
    uint8_t f[60] = {[12] = 0x08, [14] = 0x45, [17] = 28, [22] = 64, [23] = IPPROTO_ICMP,
                     [26] = 10,   0,           2,         15,        10,
                     0,           2,           2,         [34] = 8,  [39] = id};

    memcpy(f, mac, 6);
    vnet_mac(l->host[0], f + 6);
    put_checksum(f + 14, 20, f + 24);
    put_checksum(f + 34, 8, f + 36);
    send_on(l->fd[0], f, sizeof(f));
}

static void a_frame_for_a_domain_that_ended_does_not_leave(void **state)
{
    struct lan *l = *state;
    static const uint8_t gateway[6] = {0x52, 0x55, 10, 0, 2, 2};
    static uint8_t r[70000];
    uint8_t f[60], mac[6];
    size_t n;

    vnet_mac(l->host[0], mac);
    put_arp(f, mac, 0x0a00020f, 0x0a000202); /* so that it can answer */
    send_on(l->fd[0], f, sizeof(f));
    vnet_mac(5, mac);
    send_ping(l, mac, 1);
    send_ping(l, gateway, 2);
    while ((n = receive(l, 0, r, sizeof(r))) &&
           !(r[12] == 8 && r[13] == 0 && r[23] == IPPROTO_ICMP))
        ;
    assert_true(n >= 42);
    assert_int_equal(r[39], 2); /* the first was not answered */
}

static void big_frames_go_between_domains(void **state)
{
    struct lan *l = *state;
    uint8_t a[6], b[6];
    static uint8_t f[ETH_HEADER + SWITCH_MTU], r[70000];

    vnet_mac(l->host[0], a);
    vnet_mac(l->host[1], b);
    for (size_t i = 14; i < sizeof(f); i++)
        f[i] = (uint8_t)(i * 7);
    memcpy(f, b, 6);
    memcpy(f + 6, a, 6);
    for (int round = 0; round < 3; round++) {
        send_on(l->fd[0], f, sizeof(f));
        size_t n = receive(l, 1, r, sizeof(r));
        while (n && n != sizeof(f))
            n = receive(l, 1, r, sizeof(r));
        assert_int_equal(n, sizeof(f));
        assert_memory_equal(r, f, n);
    }
}

/* Sends a frame of a length that is its mark, to all, from the first domain. */
static void send_mark(struct lan *l, size_t mark)
{
    uint8_t f[2000] = {[0] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    vnet_mac(l->host[0], f + 6);
    f[12] = 0x88;
    send_on(l->fd[0], f, mark);
    loop_once(&l->loop, 10);
}

/* Reads up to the mark; false if it does not come. */
static bool receive_mark(struct lan *l, int i, size_t mark)
{
    static uint8_t r[70000];
    size_t n;

    while ((n = receive(l, i, r, sizeof(r))) && n != mark)
        ;
    return n == mark;
}

static void an_impossible_length_breaks_only_that_port(void **state)
{
    struct lan *l = *state;
    uint32_t bad = htonl(1u << 20);

    assert_int_equal(write(l->fd[0], &bad, 4), 4);
    loop_once(&l->loop, 10);
    send_mark(l, 1001);
    assert_false(receive_mark(l, 1, 1001));
    /* The other one still works: the gateway answers it. */
    uint8_t f[60], mac[6];
    static uint8_t r[70000];
    vnet_mac(l->host[1], mac);
    put_arp(f, mac, 0x0a000210, 0x0a000202);
    send_on(l->fd[1], f, sizeof(f));
    assert_true(receive(l, 1, r, sizeof(r)));
}

static void a_stuck_domain_holds_up_nobody_for_long(void **state)
{
    struct lan *l = *state;
    uint8_t a[6], b[6], f[1514] = {0};
    struct switch_traffic t;
    uint64_t until = now_ns() + 3000000000ull;

    vnet_mac(l->host[0], a);
    vnet_mac(l->host[1], b);
    memcpy(f, b, 6);
    memcpy(f + 6, a, 6);
    /* Domain 1 never reads; what it does not take is dropped in the end, and domain 0 goes on. */
    while (vswitch_traffic(l->v, l->host[1], &t) && !t.drop_full && now_ns() < until) {
        uint8_t record[4 + sizeof(f)];
        uint32_t length = htonl(sizeof(f));
        memcpy(record, &length, 4);
        memcpy(record + 4, f, sizeof(f));
        static size_t part; /* a partial write must be continued */
        ssize_t n = send(l->fd[0], record + part, sizeof(record) - part, MSG_DONTWAIT);
        if (n > 0)
            part = (part + (size_t)n) % sizeof(record);
        else
            loop_once(&l->loop, 1);
    }
    assert_true(t.drop_full > 0);
}

static void forwards_take_ports(void **state)
{
    struct lan *l = *state;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(sa);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    struct vnet_forward f = {.host_ip = "127.0.0.1", .guest_port = 80};

    assert_int_equal(bind(s, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(s, 1), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&sa, &len), 0);
    f.host_port = ntohs(sa.sin_port);
    assert_int_equal(vswitch_forward(l->v, l->host[0], &f), -EADDRINUSE);
    close(s);
    assert_int_equal(vswitch_forward(l->v, l->host[0], &f), 0);
    assert_int_equal(vswitch_forward(l->v, l->host[1], &f), -EADDRINUSE);
    vswitch_unforward(l->v, l->host[1], &f); /* not its own */
    assert_int_equal(vswitch_forward(l->v, l->host[1], &f), -EADDRINUSE);
    vswitch_unforward(l->v, l->host[0], &f);
    assert_int_equal(vswitch_forward(l->v, l->host[1], &f), 0);
    vswitch_unforward(l->v, l->host[1], &f);
    strcpy(f.host_ip, "not an address");
    assert_int_equal(vswitch_forward(l->v, l->host[0], &f), -EINVAL);
}

/* ---- TCP through libslirp ---- */

static uint16_t tcp_checksum(const uint8_t *ip, size_t n)
{
    const uint8_t *tcp = ip + 20;
    uint32_t sum = IPPROTO_TCP + (uint32_t)(n - 20);

    for (size_t i = 12; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    for (size_t i = 0; i < n - 20; i++)
        sum += (uint32_t)tcp[i] << (i & 1 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The next TCP segment with one of these flags, or with data if flags are 0. */
static size_t receive_tcp(struct lan *l, uint8_t *f, size_t max, uint8_t flags)
{
    for (;;) {
        size_t n = receive(l, 0, f, max);
        if (!n)
            return 0;
        if (f[12] == 8 && f[13] == 6 && f[21] == 1) { /* who has the domain's address? */
            uint8_t r[60] = {0};
            memcpy(r, f + 6, 6);
            vnet_mac(l->host[0], r + 6);
            memcpy(r + 12, f + 12, 8);
            r[21] = 2;
            memcpy(r + 22, r + 6, 6);
            memcpy(r + 28, f + 38, 4);
            memcpy(r + 32, f + 22, 10);
            send_on(l->fd[0], r, sizeof(r));
        } else if (f[12] == 8 && f[13] == 0 && f[23] == IPPROTO_TCP) {
            size_t data = (size_t)(f[16] << 8 | f[17]) - 20 - (size_t)(f[46] >> 4) * 4;
            if (flags ? f[47] & flags : data)
                return n;
        }
    }
}

/* A SYN-ACK to the SYN, with the MSS option behind a NOP, so that it is at an odd place. */
static size_t make_syn_ack(uint8_t *f, const uint8_t *syn)
{
    static const uint8_t options[] = {1, 2, 4, 0x05, 0xb4, 1, 1, 0};
    uint8_t *ip = f + 14, *tcp = ip + 20;
    uint32_t ack;

    memset(f, 0, 62);
    memcpy(f, syn + 6, 6);
    memcpy(f + 6, syn, 6);
    f[12] = 8;
    ip[0] = 0x45;
    ip[3] = 48;
    ip[8] = 64;
    ip[9] = IPPROTO_TCP;
    memcpy(ip + 12, syn + 30, 4);
    memcpy(ip + 16, syn + 26, 4);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += (uint32_t)(ip[i] << 8 | ip[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    ip[10] = (uint8_t)(~sum >> 8);
    ip[11] = (uint8_t)~sum;
    memcpy(tcp, syn + 36, 2);
    memcpy(tcp + 2, syn + 34, 2);
    memcpy(&ack, syn + 38, 4);
    ack = htonl(ntohl(ack) + 1);
    memcpy(tcp + 8, &ack, 4);
    tcp[12] = 7 << 4;
    tcp[13] = 0x12;
    tcp[14] = 0xff;
    memcpy(tcp + 20, options, sizeof(options));
    uint16_t c = htons(tcp_checksum(ip, 48));
    memcpy(tcp + 16, &c, 2);
    return 62;
}

/* The domain's SYN-ACK comes again after the client's first bytes were lost: libslirp must still
 * have them. */
static void a_repeated_syn_ack_loses_no_data(void **state)
{
    struct lan *l = *state;
    struct vnet_forward f = {.host_ip = "127.0.0.1", .guest_port = 80};
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(sa);
    static uint8_t r[70000];
    uint8_t answer[62];
    int s = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(s, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(getsockname(s, (struct sockaddr *)&sa, &len), 0);
    f.host_port = ntohs(sa.sin_port);
    close(s);
    assert_int_equal(vswitch_forward(l->v, l->host[0], &f), 0);
    s = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(s, (struct sockaddr *)&sa, len), 0); /* the kernel accepts */
    assert_true(receive_tcp(l, r, sizeof(r), 0x02));
    make_syn_ack(answer, r);
    send_on(l->fd[0], answer, sizeof(answer));
    assert_true(receive_tcp(l, r, sizeof(r), 0x10));
    assert_int_equal(write(s, "first", 5), 5);
    assert_true(receive_tcp(l, r, sizeof(r), 0)); /* lost, as the ACK before */
    assert_memory_equal(r + 54, "first", 5);
    send_on(l->fd[0], answer, sizeof(answer));
    assert_true(receive_tcp(l, r, sizeof(r), 0x10));
    assert_int_equal(write(s, "second", 6), 6);
    memset(r, 0, 100);
    assert_true(receive_tcp(l, r, sizeof(r), 0));
    if (!memcmp(r + 54, "second", 6)) /* sent at once; what was lost comes after a timeout */
        for (int tries = 0; tries < 5 && memcmp(r + 54, "first", 5); tries++)
            receive_tcp(l, r, sizeof(r), 0);
    assert_memory_equal(r + 54, "first", 5);
    close(s);
    vswitch_unforward(l->v, l->host[0], &f);
}

static void connect_server(struct lan *l)
{
    int sp[2];

    close(l->fd[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
    l->fd[1] = sp[1];
    set_nonblock(sp[1]);
    assert_int_equal(vswitch_connect(l->v, VNET_SERVER, sp[0]), 0);
}

/* The second domain's place is taken by a network server, which dies and comes back. */
static void frames_wait_for_the_network_server(void **state)
{
    struct lan *l = *state;
    char byte;

    vswitch_disconnect(l->v, l->host[1]);
    connect_server(l);
    send_mark(l, 1001);
    assert_int_equal(recv(l->fd[1], &byte, 1, 0), -1);
    vswitch_server_ready(l->v);
    assert_true(receive_mark(l, 1, 1001));
    send_mark(l, 1002);
    assert_true(receive_mark(l, 1, 1002));

    vswitch_hold_server(l->v);
    assert_int_equal(recv(l->fd[1], &byte, 1, 0), 0); /* disconnected */
    send_mark(l, 1003);
    connect_server(l);
    send_mark(l, 1004);
    assert_int_equal(recv(l->fd[1], &byte, 1, 0), -1);
    vswitch_server_ready(l->v);
    assert_true(receive_mark(l, 1, 1003));
    assert_true(receive_mark(l, 1, 1004));

    vswitch_hold_server(l->v);
    vswitch_hold_server(l->v);
    for (int i = 0; i < 2000; i++) /* more than there is room for */
        send_mark(l, 1900);
    vswitch_disconnect(l->v, VNET_SERVER);
    vswitch_disconnect(l->v, VNET_SERVER);
}

/* Its domains have addresses of their own: it may send from all. */
static void the_network_server_sends_from_many_addresses(void **state)
{
    struct lan *l = *state;
    uint8_t f[100] = {[0] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [6] = 2, [12] = 0x88};

    vswitch_disconnect(l->v, l->host[1]);
    connect_server(l);
    int server = l->fd[1];
    for (uint8_t i = 1; i < 4; i++) {
        f[11] = i;
        send_on(server, f, 90u + i);
        assert_true(receive_mark(l, 0, 90u + i));
    }
    vswitch_disconnect(l->v, VNET_SERVER);
}

/* ---- the supervisor's side: this program is its process, see main() ---- */

struct supervised {
    struct loop loop;
    struct vnet *v;
    int deaths;
};

static void died(void *arg)
{
    ((struct supervised *)arg)->deaths++;
}

static int net_up(void **state)
{
    struct supervised *n = xcalloc(1, sizeof(*n));

    assert_int_equal(loop_init(&n->loop), 0);
    n->v = vnet_new(&n->loop, true, died, n);
    assert_non_null(n->v);
    *state = n;
    return 0;
}

static int net_down(void **state)
{
    struct supervised *n = *state;

    vnet_free(n->v);
    loop_close(&n->loop);
    free(n);
    return 0;
}

/* The process that is this one's child. */
static pid_t child(void)
{
    char path[64];
    struct buf text = {0};

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    assert_int_equal(read_file(path, &text, 4096), 0);
    pid_t pid = atoi((char *)text.data);
    buf_free(&text);
    return pid;
}

static void requests_cross_to_the_process(void **state)
{
    struct supervised *n = *state;
    struct vnet_forward f = {.host_ip = "not an address", .guest_port = 80};
    struct switch_traffic t;
    int sp[2];

    assert_int_equal(vnet_forward(n->v, 0, &f), -EINVAL);
    assert_false(vnet_traffic(n->v, 3, &t));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
    assert_int_equal(vnet_connect(n->v, 3, sp[0]), 0);
    assert_true(vnet_traffic(n->v, 3, &t));
    assert_int_equal(t.rx_frames, 0);
    vnet_disconnect(n->v, 3);
    assert_false(vnet_traffic(n->v, 3, &t));
    char byte;
    assert_int_equal(recv(sp[1], &byte, 1, 0), 0);
    close(sp[1]);
}

static void the_process_is_started_again(void **state)
{
    struct supervised *n = *state;
    struct switch_traffic t;
    pid_t first = child();
    int sp[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
    assert_int_equal(vnet_connect(n->v, 3, sp[0]), 0);
    kill(first, SIGKILL);
    for (int i = 0; i < 1000 && !n->deaths; i++)
        loop_once(&n->loop, 10);
    assert_int_equal(n->deaths, 1);
    assert_int_not_equal(child(), first);
    assert_false(vnet_traffic(n->v, 3, &t));
    close(sp[1]);
}

static void bad_requests_are_refused(void **state)
{
    struct lan *l = *state;
    struct vswitch_request rq = {.id = 7, .op = VSWITCH_TRAFFIC, .host = VNET_HOSTS};

    assert_int_equal(vswitch_handle(l->v, &rq, -1).error, -EINVAL);
    rq.host = -1;
    assert_int_equal(vswitch_handle(l->v, &rq, -1).error, -EINVAL);
    rq = (struct vswitch_request){.id = 7, .op = VSWITCH_FORWARD};
    memset(rq.forward.host_ip, '1', sizeof(rq.forward.host_ip));
    assert_int_equal(vswitch_handle(l->v, &rq, -1).error, -EINVAL);
    rq = (struct vswitch_request){.id = 7, .op = 99};
    assert_int_equal(vswitch_handle(l->v, &rq, -1).error, -ENOSYS);
    assert_int_equal(vswitch_handle(l->v, &rq, -1).id, 7);
    rq.op = VSWITCH_CONNECT;
    assert_int_equal(vswitch_handle(l->v, &rq, -1).error, -EINVAL);
}

static void a_chosen_address(void **state)
{
    struct vnet *v = ((struct supervised *)*state)->v;

    assert_int_equal(vnet_alloc(v), 0);
    assert_int_equal(vnet_alloc_address(v, "10.0.2.15"), -EADDRINUSE);
    assert_int_equal(vnet_alloc_address(v, "10.0.2.14"), -EINVAL);
    assert_int_equal(vnet_alloc_address(v, "10.0.2.142"), -EINVAL);
    assert_int_equal(vnet_alloc_address(v, "no"), -EINVAL);
    assert_int_equal(vnet_alloc_address(v, "10.0.2.17"), 2);
    assert_int_equal(vnet_alloc(v), 1);
    struct channel_grants g;
    vnet_grants(2, &g);
    assert_true(g.mtu == SWITCH_MTU && g.ipv4_prefix == 24 && g.ipv6_prefix == 64);
    assert_memory_equal(g.ipv4, ((uint8_t[]){10, 0, 2, 17}), 4);
    assert_memory_equal(g.ipv4_gateway, ((uint8_t[]){10, 0, 2, 2}), 4);
    assert_true(g.ipv6[0] == 0xfd && g.ipv6[15] == 17 && g.ipv6_gateway[15] == 2);
}

static void addresses_are_reused(void **state)
{
    struct vnet *v = ((struct supervised *)*state)->v;

    for (int i = 0; i < VNET_SERVER; i++)
        assert_int_equal(vnet_alloc(v), i);
    assert_int_equal(vnet_alloc(v), -ENOSPC);
    vnet_release(v, 7);
    assert_int_equal(vnet_alloc(v), 7);
    char *arg = vnet_boot_arg(1);
    assert_string_equal(arg, "10.0.2.16/24,gw=10.0.2.2,dns=10.0.2.3,fd00:4c69:6272::10/64,"
                             "gw6=fd00:4c69:6272::2");
    free(arg);
}

#define T(f) cmocka_unit_test_setup_teardown(f, lan_up, lan_down)

#define N(f) cmocka_unit_test_setup_teardown(f, net_up, net_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_and_forgets),
        cmocka_unit_test(counts_every_drop),
        cmocka_unit_test(survives_a_flood_of_addresses),
        cmocka_unit_test(ports_run_out),
        T(the_gateway_answers_arp),
        T(the_granted_address_is_leased),
        T(a_frame_for_a_domain_that_ended_does_not_leave),
        T(big_frames_go_between_domains),
        T(an_impossible_length_breaks_only_that_port),
        T(a_stuck_domain_holds_up_nobody_for_long),
        T(forwards_take_ports),
        T(a_repeated_syn_ack_loses_no_data),
        T(frames_wait_for_the_network_server),
        T(the_network_server_sends_from_many_addresses),
        T(bad_requests_are_refused),
        N(requests_cross_to_the_process),
        N(the_process_is_started_again),
        N(a_chosen_address),
        N(addresses_are_reused),
    };

    if (argc == 5 && !strcmp(argv[2], "--switch-fd"))
        return vswitch_main(atoi(argv[3]), true);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
