/*
 * A wire for tests of the network stack: a path that captures what is sent and injects what is
 * received. Each test program calls wire_setup once; frames are flat byte arrays. Everything here
 * is static.
 */
#ifndef TEST_NET_UTIL_H
#define TEST_NET_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/init.h"
#include "core/timer.h"
#include "floor.h"
#include "net/ipimpl.h"
#include "net/netif_impl.h"
#include "net/socket.h"
#include "net/transmit.h"

#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"

#define MS NSEC_PER_MSEC
#define SEC NSEC_PER_SEC

struct frame {
    uint32_t len;
    uint8_t b[66000];
};

struct wire {
    struct net_path path;
    struct frame *sent[256];
    unsigned count; /* captured */
    unsigned room;  /* packets the ring takes before it is full */
    unsigned flushes;
    bool detached;
    unsigned filters;
};

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t peer2_mac[6] = {2, 0, 0, 0, 0, 3};

static bool wire_transmit(struct net_path *path, int queue, struct pkt *p)
{
    struct wire *w = container_of(path, struct wire, path);
    struct frame *f;

    (void)queue;
    assert_false(w->detached);
    if (!w->room)
        return false;
    w->room--;
    assert_true(w->count < ARRAY_SIZE(w->sent));
    f = malloc(sizeof(*f));
    f->len = p->len;
    assert_true(pkt_copy_out(p, 0, f->b, p->len));
    if ((p->flags & PKT_CSUM_PARTIAL)) { /* what the device does */
        assert_true(path->features & PATH_CSUM);
        uint32_t at = (uint32_t)p->csum_start + p->csum_offset;
        if (!p->gso)
            *(wire16 *)(f->b + at) =
                csum_fold(csum_add(f->b + p->csum_start, f->len - p->csum_start, 0));
    }
    w->sent[w->count++] = f;
    pkt_free(p);
    return true;
}

static void wire_flush(struct net_path *path, int queue)
{
    (void)queue;
    container_of(path, struct wire, path)->flushes++;
}

static int wire_set_mac(struct net_path *path, const uint8_t mac[6])
{
    (void)path, (void)mac;
    return 0;
}

static int wire_set_multicast(struct net_path *path, const uint8_t (*macs)[6], int n)
{
    (void)macs;
    container_of(path, struct wire, path)->filters = (unsigned)n;
    return 0;
}

static void wire_detach(struct net_path *path)
{
    container_of(path, struct wire, path)->detached = true;
}

static const struct path_ops wire_ops = {
    .transmit = wire_transmit,
    .flush = wire_flush,
    .set_mac = wire_set_mac,
    .set_multicast = wire_set_multicast,
    .detach = wire_detach,
};

static struct wire wire, wire2;
static struct netif *eth;

static void wire_init(struct wire *w, uint32_t features)
{
    w->path = (struct net_path){
        .ops = &wire_ops,
        .kind = PATH_DIRECT,
        .features = features,
        .mtu = 1500,
        .queues = 1,
        .link_up = true,
        .name = "wire",
    };
    memcpy(w->path.mac, our_mac, 6);
    w->room = ~0u;
}

/* Forgets what was captured. */
static void wire_clear(struct wire *w)
{
    for (unsigned i = 0; i < w->count; i++)
        free(w->sent[i]);
    w->count = 0;
}

/* Lets everything run that is due. */
static void settle(void)
{
    floor_advance(0);
    floor_run();
}

/* Starts the stack with eth0 = 10.0.0.1/24 and 2001:db8::1/64, gateway 10.0.0.254. */
static void wire_setup(uint32_t features)
{
    struct ip_addr a, any = ip_from_v4(0), gw;

    net_init();
    wire_init(&wire, features);
    assert_int_equal(netif_register_path(&wire.path), 0);
    eth = netif_by_name("eth0");
    assert_non_null(eth);
    assert_int_equal(netif_set_up(eth, true), 0);
    assert_int_equal(ip_parse("10.0.0.1", &a), 0);
    assert_int_equal(netif_add_addr(eth, &a, 24), 0);
    assert_int_equal(ip_parse("2001:db8::1", &a), 0);
    assert_int_equal(netif_add_addr(eth, &a, 64), 0);
    assert_int_equal(ip_parse("10.0.0.254", &gw), 0);
    assert_int_equal(route_add(eth, &any, 0, &gw, 100, ROUTE_STATIC), 0);
    floor_advance(20 * SEC); /* duplicate detection and router solicitations are over */
    wire_clear(&wire);
}

static struct pkt *frame_pkt(const void *data, uint32_t len)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint32_t linear = MIN(len, (uint32_t)PKT_BUF - PKT_HEADROOM);

    if (!p) /* an injected failure was meant for the stack, not for us */
        p = pkt_alloc(PKT_HEADROOM);
    assert_non_null(p);
    assert_true(pkt_append(p, data, linear));
    for (uint32_t at = linear; at < len;) {
        uint32_t n = MIN(len - at, (uint32_t)PAGE_SIZE);
        struct page *page = page_alloc(0, 0);
        if (!page)
            page = page_alloc(0, 0);
        memcpy(page_addr(page), (const uint8_t *)data + at, n);
        assert_true(pkt_append_page(p, page, 0, n));
        at += n;
    }
    return p;
}

/* A frame comes in from the wire. */
static void wire_receive(struct wire *w, const void *data, uint32_t len)
{
    bh_disable();
    path_receive(&w->path, frame_pkt(data, len));
    bh_enable();
    settle();
}

/* --- frames ----------------------------------------------------------------------------------- */

static struct ip_addr addr(const char *text)
{
    struct ip_addr a;
    assert_int_equal(ip_parse(text, &a), 0);
    return a;
}

static uint32_t eth_header(uint8_t *b, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
    memcpy(b, dst, 6);
    memcpy(b + 6, src, 6);
    put16(b + 12, type);
    return 14;
}

static void fix_ip4(uint8_t *h)
{
    put16(h + 10, 0);
    *(wire16 *)(h + 10) = csum_fold(csum_add(h, (h[0] & 15) * 4u, 0));
}

/* Ethernet and IP header of either version for n bytes of payload; returns where the payload goes.
 */
static uint32_t ip_headers(uint8_t *b, const char *src, const char *dst, uint8_t proto, uint32_t n)
{
    struct ip_addr s = addr(src), d = addr(dst);
    uint32_t at = eth_header(b, our_mac, peer_mac, ip_is_v4(&d) ? 0x0800 : 0x86dd);
    uint8_t *h = b + at;

    if (ip_is_v4(&d)) {
        memset(h, 0, 20);
        h[0] = 0x45;
        put16(h + 2, (uint16_t)(20 + n));
        h[6] = 0x40;
        h[8] = 64;
        h[9] = proto;
        memcpy(h + 12, s.b + 12, 4);
        memcpy(h + 16, d.b + 12, 4);
        fix_ip4(h);
        return at + 20;
    }
    memset(h, 0, 40);
    h[0] = 0x60;
    put16(h + 4, (uint16_t)n);
    h[6] = proto;
    h[7] = 255;
    memcpy(h + 8, &s, 16);
    memcpy(h + 24, &d, 16);
    return at + 40;
}

/* Puts the checksum of the transport header at `off` bytes from it. */
static void fix_transport(uint8_t *l4, uint32_t n, const char *src, const char *dst, uint8_t proto,
                          uint32_t off)
{
    struct ip_addr s = addr(src), d = addr(dst);
    uint32_t sum = proto == IPPROTO_ICMP_N ? 0 : ip_pseudo_csum(&s, &d, proto, n);

    put16(l4 + off, 0);
    *(wire16 *)(l4 + off) = csum_fold(csum_add(l4, n, sum));
}

static uint32_t udp_frame(uint8_t *b, const char *src, uint16_t sport, const char *dst,
                          uint16_t dport, const void *data, uint32_t n)
{
    uint32_t at = ip_headers(b, src, dst, IPPROTO_UDP_N, 8 + n);

    put16(b + at, sport);
    put16(b + at + 2, dport);
    put16(b + at + 4, (uint16_t)(8 + n));
    memcpy(b + at + 8, data, n);
    fix_transport(b + at, 8 + n, src, dst, IPPROTO_UDP_N, 6);
    return at + 8 + n;
}

static uint32_t arp_frame(uint8_t *b, uint16_t op, const uint8_t *smac, const char *sip,
                          const char *tip, const uint8_t *dst)
{
    struct ip_addr s = addr(sip), t = addr(tip);
    static const uint8_t start[6] = {0, 1, 8, 0, 6, 4};

    eth_header(b, dst, smac, 0x0806);
    memset(b + 14, 0, 28);
    memcpy(b + 14, start, 6);
    put16(b + 20, op);
    memcpy(b + 22, smac, 6);
    memcpy(b + 28, s.b + 12, 4);
    memcpy(b + 38, t.b + 12, 4);
    return 42;
}

/* Teaches the stack a neighbour through an ARP request for us; the reply is thrown away. */
static void learn_peer(const char *ip, const uint8_t *mac)
{
    uint8_t b[64];
    wire_receive(&wire, b, arp_frame(b, 1, mac, ip, "10.0.0.1", our_mac));
    wire_clear(&wire);
}

/* Teaches the stack an IPv6 neighbour through a solicitation for 2001:db8::1. */
static void learn_peer6(const char *ip, const uint8_t *mac)
{
    uint8_t b[128];
    uint32_t at = ip_headers(b, ip, "2001:db8::1", IPPROTO_ICMPV6_N, 32);
    struct ip_addr target = addr("2001:db8::1");

    memset(b + at, 0, 32);
    b[at] = 135;
    memcpy(b + at + 8, &target, 16);
    b[at + 24] = 1;
    b[at + 25] = 1;
    memcpy(b + at + 26, mac, 6);
    fix_transport(b + at, 32, ip, "2001:db8::1", IPPROTO_ICMPV6_N, 2);
    wire_receive(&wire, b, at + 32);
    wire_clear(&wire);
}

/* Checks the checksums of a captured frame; returns the offset of the transport header. */
static uint32_t check_frame(const struct frame *f)
{
    const uint8_t *h = f->b + 14;
    struct ip_addr s, d;
    uint32_t l4, n;
    uint8_t proto;

    if (get16(f->b + 12) == 0x0800) {
        assert_int_equal(csum_fold(csum_add(h, (h[0] & 15) * 4u, 0)), 0);
        assert_int_equal(get16(h + 2), f->len - 14);
        s = ip_from_v4(*(const wire32 *)(h + 12));
        d = ip_from_v4(*(const wire32 *)(h + 16));
        proto = h[9];
        l4 = 14 + (h[0] & 15) * 4u;
        if (get16(h + 6) & 0x3fff)
            return l4; /* a fragment */
    } else {
        assert_int_equal(get16(f->b + 12), 0x86dd);
        assert_int_equal(get16(h + 4), f->len - 54);
        memcpy(&s, h + 8, 16);
        memcpy(&d, h + 24, 16);
        proto = h[6];
        l4 = 54;
        if (proto == 0) { /* hop-by-hop */
            proto = h[40];
            l4 += 8;
        }
    }
    n = f->len - l4;
    uint32_t sum = proto == IPPROTO_ICMP_N ? 0 : ip_pseudo_csum(&s, &d, proto, n);
    if (proto == IPPROTO_ICMP_N || proto == IPPROTO_ICMPV6_N || proto == IPPROTO_UDP_N ||
        proto == IPPROTO_TCP_N)
        assert_int_equal(csum_fold(csum_add(f->b + l4, n, sum)), 0);
    return l4;
}

/* --- sockets ---------------------------------------------------------------------------------- */

/* Sends without letting anything else run. */
static ssize_t sock_send_only(struct socket *s, const void *data, size_t n, const char *ip,
                              uint16_t port)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, (void *)(uintptr_t)data, n);
    struct sock_addr to = {0};

    if (ip) {
        to.ip = addr(ip);
        to.port = port;
    }
    return s->ops->send(s, &u, ip ? &to : NULL, SOCK_MSG_DONTWAIT);
}

static ssize_t sock_send(struct socket *s, const void *data, size_t n, const char *ip,
                         uint16_t port)
{
    ssize_t r = sock_send_only(s, data, n, ip, port);
    settle();
    return r;
}

static ssize_t sock_recv(struct socket *s, void *buf, size_t n, struct sock_recv_info *info,
                         unsigned flags)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, n);
    struct sock_recv_info dummy;

    if (!info)
        info = &dummy;
    memset(info, 0, sizeof(*info));
    return s->ops->recv(s, &u, info, flags | SOCK_MSG_DONTWAIT);
}

static int sock_bind(struct socket *s, const char *ip, uint16_t port)
{
    struct sock_addr a = {.ip = addr(ip), .port = port};
    return s->ops->bind(s, &a);
}

static int sock_connect(struct socket *s, const char *ip, uint16_t port)
{
    struct sock_addr a = {.ip = addr(ip), .port = port};
    return s->ops->connect(s, &a, true);
}

static int set_int(struct socket *s, int level, int name, int v)
{
    return socket_setopt(s, level, name, &v, sizeof(v));
}

static int get_int(struct socket *s, int level, int name)
{
    int v = -1000;
    uint32_t len = sizeof(v);
    int err = socket_getopt(s, level, name, &v, &len);
    return err ? err : v;
}

#endif
