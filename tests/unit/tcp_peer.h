/*
 * A scriptable peer for TCP tests, in the manner of packetdrill: it is the other end of eth0's
 * path. It captures what the stack sends, answers ARP and neighbour solicitations, and injects
 * segments.
 *
 * Numbers are relative: seq counts from the peer's initial sequence number, ack from the stack's.
 * Tests include this file; everything in it is static.
 */
#ifndef TCP_PEER_H
#define TCP_PEER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/init.h"
#include "core/rand.h"
#include "core/thread.h"
#include "core/timer.h"
#include "floor.h"
#include "net/tcp.h"

#pragma GCC diagnostic ignored "-Wunused-function"

#define MS NSEC_PER_MSEC
#define SEC NSEC_PER_SEC
#define FIN TH_FIN
#define SYN TH_SYN
#define RST TH_RST
#define PSH TH_PSH
#define ACK TH_ACK
#define URG TH_URG

#define US4 net32(0x0a000001)   /* 10.0.0.1: the stack */
#define PEER4 net32(0x0a000002) /* 10.0.0.2 */

/* A captured segment. */
struct seg {
    struct seg *next;
    nsec_t at;
    uint32_t seq, ack, len; /* absolute */
    uint16_t win, sport, dport, urgent;
    uint8_t flags, ecn, nsacks, raw_opts;
    uint16_t mss;
    int wscale; /* -1: no option */
    bool sack_ok, ts, v6;
    uint32_t tsval, tsecr;
    uint32_t sacks[4][2];
    uint8_t data[65536];
};

struct peer {
    uint16_t port, lport; /* the peer's, the stack's */
    uint32_t iss, local_iss;
    uint32_t win;
    uint8_t wscale;
    uint16_t mss;      /* in our SYN; 0: no option */
    bool sack, ts, ws; /* options in our SYN; ts: in every segment */
    bool ecn, ce, v6;
    uint32_t tsval; /* 0: follows the clock */
    uint32_t tsecr; /* last one seen */
    uint32_t sacks[4][2];
    int nsacks; /* to go with the next segment, relative to local_iss */
    uint16_t urgent;
};

static struct net_path peer_path;
static struct seg *captured, **captured_tail = &captured;
static struct pkt *to_inject, **to_inject_tail = &to_inject;
static bool peer_deaf; /* everything the stack sends is lost */
/* How many bytes of an injected packet are in one piece; 0: as a driver does it. */
static uint32_t inject_linear;
static bool inject_fragments; /* TCP segments come as two IPv4 fragments */
/* Headers by themselves, payload in pages, checksum verified: as GRO wants it. */
static bool inject_for_gro;
/* A link simulator takes the frames instead, if set. Ownership passes. */
static void (*peer_tap)(struct pkt *p);
static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2}, our_mac[6] = {2, 0, 0, 0, 0, 1};
static uint16_t next_port = 20000;

static uint16_t rd16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t rd32(const uint8_t *p)
{
    return (uint32_t)rd16(p) << 16 | rd16(p + 2);
}
static void wr16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static void wr32(uint8_t *p, uint32_t v)
{
    wr16(p, v >> 16);
    wr16(p + 2, v & 0xffff);
}

/* A packet from bytes, in pages if it is long. */
static struct pkt *make_packet(const uint8_t *data, uint32_t n)
{
    struct pkt *p = pkt_alloc(64);
    uint32_t linear = inject_linear ? MIN(inject_linear, n) : n < 300 ? n : 100;

    assert_non_null(p);
    assert_true(pkt_append(p, data, linear));
    for (uint32_t off = linear; off < n;) {
        uint32_t k = n - off < 4096 ? n - off : 4096;
        struct page *page = page_alloc(0, 0);

        memcpy(page_addr(page), data + off, k);
        assert_true(pkt_append_page(p, page, 0, k));
        off += k;
    }
    return p;
}

static void inject_later(struct pkt *p)
{
    p->next = NULL;
    *to_inject_tail = p;
    to_inject_tail = &p->next;
}

static uint16_t l4_checksum(const uint8_t *ip, bool v6, const uint8_t *l4, uint32_t n,
                            uint8_t proto)
{
    struct ip_addr src, dst;

    if (v6) {
        memcpy(src.b, ip + 8, 16);
        memcpy(dst.b, ip + 24, 16);
    } else {
        uint32_t a;

        memcpy(&a, ip + 12, 4);
        src = ip_from_v4(a);
        memcpy(&a, ip + 16, 4);
        dst = ip_from_v4(a);
    }
    return csum_fold(csum_add(l4, n, ip_pseudo_csum(&src, &dst, proto, n)));
}

static void answer_arp(const uint8_t *f)
{
    uint8_t r[42];

    if (rd16(f + 20) != 1 || memcmp(f + 38, &(uint32_t){PEER4}, 4))
        return;
    memcpy(r, f + 6, 6);
    memcpy(r + 6, peer_mac, 6);
    memcpy(r + 12, f + 12, 8);
    wr16(r + 20, 2);
    memcpy(r + 22, peer_mac, 6);
    memcpy(r + 28, f + 38, 4);
    memcpy(r + 32, f + 22, 10);
    inject_later(make_packet(r, sizeof(r)));
}

static void answer_nd(const uint8_t *f)
{
    uint8_t r[86];

    memset(r, 0, sizeof(r));
    memcpy(r, f + 6, 6);
    memcpy(r + 6, peer_mac, 6);
    wr16(r + 12, 0x86dd);
    r[14] = 0x60;
    wr16(r + 18, 32);
    r[20] = 58;
    r[21] = 255;
    memcpy(r + 22, f + 62, 16); /* from the target */
    memcpy(r + 38, f + 22, 16);
    r[54] = 136;
    r[58] = 0x60; /* solicited, override */
    memcpy(r + 62, f + 62, 16);
    r[78] = 2;
    r[79] = 1;
    memcpy(r + 80, peer_mac, 6);
    uint16_t c = l4_checksum(r + 14, true, r + 54, 32, 58);
    memcpy(r + 56, &c, 2);
    inject_later(make_packet(r, sizeof(r)));
}

static void parse_tcp_options(struct seg *s, const uint8_t *o, const uint8_t *end)
{
    s->wscale = -1;
    while (o < end && *o) {
        if (*o == 1) {
            o++;
            continue;
        }
        assert_true(end - o >= 2 && o[1] >= 2 && o + o[1] <= end);
        if (*o == 2)
            s->mss = rd16(o + 2);
        else if (*o == 3)
            s->wscale = o[2];
        else if (*o == 4)
            s->sack_ok = true;
        else if (*o == 8) {
            s->ts = true;
            s->tsval = rd32(o + 2);
            s->tsecr = rd32(o + 6);
        } else if (*o == 5) {
            for (const uint8_t *b = o + 2; b < o + o[1]; b += 8, s->nsacks++) {
                s->sacks[s->nsacks][0] = rd32(b);
                s->sacks[s->nsacks][1] = rd32(b + 4);
            }
        }
        o += o[1];
    }
}

static void capture_tcp(const uint8_t *ip, bool v6, const uint8_t *l4, uint32_t n, bool check)
{
    struct seg *s = calloc(1, sizeof(*s));
    uint32_t hlen = (uint32_t)(l4[12] >> 4) * 4;

    assert_true(n >= 20 && hlen >= 20 && hlen <= n);
    if (check)
        assert_int_equal(l4_checksum(ip, v6, l4, n, 6), 0);
    s->at = time_now();
    s->v6 = v6;
    s->sport = rd16(l4);
    s->dport = rd16(l4 + 2);
    s->seq = rd32(l4 + 4);
    s->ack = rd32(l4 + 8);
    s->flags = l4[13];
    s->win = rd16(l4 + 14);
    s->urgent = rd16(l4 + 18);
    s->ecn = v6 ? (ip[1] >> 4 & 3) : (ip[1] & 3);
    s->len = n - hlen;
    memcpy(s->data, l4 + hlen, s->len);
    parse_tcp_options(s, l4 + 20, l4 + hlen);
    *captured_tail = s;
    captured_tail = &s->next;
}

static bool peer_transmit(struct net_path *path, int queue, struct pkt *p)
{
    static uint8_t f[70000];
    uint32_t n = p->len;

    (void)queue;
    if (peer_tap) {
        peer_tap(p);
        return true;
    }
    assert_true(n <= sizeof(f) && pkt_copy_out(p, 0, f, n));
    assert_true(p->gso || n <= (uint32_t)path->mtu + 14);
    if (rd16(f + 12) == 0x0806) {
        answer_arp(f);
    } else if (rd16(f + 12) == 0x0800 && f[23] == 6 && !peer_deaf) {
        capture_tcp(f + 14, false, f + 34, rd16(f + 16) - 20u, !(p->flags & PKT_CSUM_PARTIAL));
    } else if (rd16(f + 12) == 0x86dd && f[20] == 58 && f[54] == 135) {
        answer_nd(f);
    } else if (rd16(f + 12) == 0x86dd && f[20] == 6 && !peer_deaf) {
        capture_tcp(f + 14, true, f + 54, rd16(f + 18), !(p->flags & PKT_CSUM_PARTIAL));
    }
    pkt_free(p);
    return true;
}

static void peer_flush(struct net_path *path, int queue)
{
    (void)path, (void)queue;
}
static void peer_detach(struct net_path *path)
{
    (void)path;
}
static const struct path_ops peer_ops = {
    .transmit = peer_transmit,
    .flush = peer_flush,
    .detach = peer_detach,
};

/* Delivers what is to be injected and runs everything that follows from it, without time passing.
 */
static void settle(void)
{
    floor_run();
    while (to_inject) {
        struct pkt *list = to_inject;

        to_inject = NULL;
        to_inject_tail = &to_inject;
        bh_disable();
        path_receive(&peer_path, list);
        bh_enable();
        floor_run();
    }
}

/* Time passes; what comes up on the way is answered. */
static void pass(nsec_t ns)
{
    nsec_t end = time_now() + ns;

    settle();
    while (time_now() < end) {
        floor_advance(MIN(end - time_now(), 1 * MS));
        settle();
    }
}

/* The network: once per program. */
static int peer_setup(void **state)
{
    struct ip_addr us = ip_from_v4(US4), six;

    (void)state;
    floor_seed(42);
    net_init();
    peer_path = (struct net_path){.ops = &peer_ops,
                                  .kind = PATH_DIRECT,
                                  .mtu = 1500,
                                  .queues = 1,
                                  .link_up = true,
                                  .name = "peer"};
    memcpy(peer_path.mac, our_mac, 6);
    assert_int_equal(netif_register_path(&peer_path), 0);
    assert_int_equal(netif_set_up(netif_by_name("eth0"), true), 0);
    assert_int_equal(netif_add_addr(netif_by_name("eth0"), &us, 24), 0);
    assert_int_equal(ip_parse("fd00::1", &six), 0);
    assert_int_equal(netif_add_addr(netif_by_name("eth0"), &six, 64), 0);
    pass(3 * SEC);
    return 0;
}

static void drop_captured(void)
{
    while (captured) {
        struct seg *s = captured;

        captured = s->next;
        free(s);
    }
    captured_tail = &captured;
}

/* Each test begins with nothing captured. */
static int peer_begin(void **state)
{
    (void)state;
    settle();
    drop_captured();
    peer_deaf = inject_fragments = inject_for_gro = false;
    inject_linear = 0;
    return 0;
}

/* --- injecting -------------------------------------------------------------------------------- */

static uint32_t peer_ts(const struct peer *p)
{
    return p->tsval ? p->tsval : (uint32_t)(time_now() / MS) + 1000;
}

static const uint8_t us6[16] = {0xfd, [15] = 1}, them6[16] = {0xfd, [15] = 2};

static void write_ipv4(uint8_t *ip, const struct peer *p, uint8_t proto, uint32_t n, uint16_t frag)
{
    memset(ip, 0, 20);
    ip[0] = 0x45;
    ip[1] = p->ce ? 3 : 0;
    wr16(ip + 2, 20 + n);
    wr16(ip + 4, 77);
    wr16(ip + 6, frag);
    ip[8] = 64;
    ip[9] = proto;
    memcpy(ip + 12, &(uint32_t){PEER4}, 4);
    memcpy(ip + 16, &(uint32_t){US4}, 4);
    uint16_t c = csum_fold(csum_add(ip, 20, 0));
    memcpy(ip + 10, &c, 2);
}

static void write_ipv6(uint8_t *ip, const struct peer *p, uint8_t proto, uint32_t n)
{
    memset(ip, 0, 40);
    ip[0] = 0x60;
    ip[1] = p->ce ? 0x30 : 0;
    wr16(ip + 4, n);
    ip[6] = proto;
    ip[7] = 64;
    memcpy(ip + 8, them6, 16);
    memcpy(ip + 24, us6, 16);
}

/* Two IPv4 fragments of the n bytes at f + 34, the later one first. */
static void inject_in_two(const struct peer *p, uint8_t *f, uint32_t n)
{
    static uint8_t second[70000];
    uint32_t cut = 24; /* in the middle of the options, if there are any */

    memcpy(second, f, 14);
    memcpy(second + 34, f + 34 + cut, n - cut);
    write_ipv4(second + 14, p, 6, n - cut, (uint16_t)(cut / 8));
    inject_later(make_packet(second, 34 + n - cut));
    write_ipv4(f + 14, p, 6, cut, 0x2000);
    inject_later(make_packet(f, 34 + cut));
}

static void inject_segment(const uint8_t *f, uint32_t headers, uint32_t len)
{
    uint32_t linear = inject_linear;
    struct pkt *p;

    if (inject_for_gro)
        inject_linear = headers;
    p = make_packet(f, headers + len);
    if (inject_for_gro)
        p->flags |= PKT_CSUM_OK;
    inject_linear = linear;
    inject_later(p);
}

static void inject_raw(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, const void *data,
                       uint32_t len, const uint8_t *opts, uint32_t opts_len, bool bad_csum)
{
    static uint8_t f[70000];
    uint32_t hlen = 20 + (opts_len + 3) / 4 * 4, ip_len = p->v6 ? 40 : 20;
    uint8_t *ip = f + 14, *t = ip + ip_len;

    memset(f, 0, 94 + 40);
    memcpy(f, our_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    wr16(f + 12, p->v6 ? 0x86dd : 0x0800);
    if (p->v6)
        write_ipv6(ip, p, 6, hlen + len);
    else
        write_ipv4(ip, p, 6, hlen + len, 0x4000);
    wr16(t, p->port);
    wr16(t + 2, p->lport);
    wr32(t + 4, seq);
    wr32(t + 8, ack);
    t[12] = (uint8_t)(hlen << 2);
    t[13] = flags;
    wr16(t + 14, flags & SYN ? p->win : p->win >> p->wscale);
    wr16(t + 18, p->urgent);
    if (opts_len)
        memcpy(t + 20, opts, opts_len);
    if (len)
        memcpy(t + hlen, data, len);
    uint16_t c = l4_checksum(ip, p->v6, t, hlen + len, 6);
    if (bad_csum)
        c ^= 0x1234;
    memcpy(t + 16, &c, 2);
    if (inject_fragments && hlen + len > 24)
        inject_in_two(p, f, hlen + len);
    else
        inject_segment(f, 14 + ip_len + hlen, len);
}

/* ICMP "fragmentation needed" for a segment that the stack sent at `seq`. */
static void inject_too_big(const struct peer *p, uint32_t seq, uint16_t mtu)
{
    uint8_t f[14 + 20 + 8 + 28] = {0}, *icmp = f + 34, *quoted = icmp + 8;

    memcpy(f, our_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    wr16(f + 12, 0x0800);
    write_ipv4(f + 14, p, 1, 36, 0);
    icmp[0] = 3;
    icmp[1] = 4;
    wr16(icmp + 6, mtu);
    write_ipv4(quoted, p, 6, 1480, 0x4000);
    memcpy(quoted + 12, &(uint32_t){US4}, 4);
    memcpy(quoted + 16, &(uint32_t){PEER4}, 4);
    wr16(quoted + 20, p->lport);
    wr16(quoted + 22, p->port);
    wr32(quoted + 24, p->local_iss + seq);
    uint16_t c = csum_fold(csum_add(icmp, 36, 0));
    memcpy(icmp + 2, &c, 2);
    inject_later(make_packet(f, sizeof(f)));
    settle();
}

/* ICMPv6 "packet too big" for a segment that the stack sent at `seq`. */
static void inject_too_big6(const struct peer *p, uint32_t seq, uint16_t mtu)
{
    uint8_t f[14 + 40 + 8 + 48] = {0}, *icmp = f + 54, *quoted = icmp + 8;

    memcpy(f, our_mac, 6);
    memcpy(f + 6, peer_mac, 6);
    wr16(f + 12, 0x86dd);
    write_ipv6(f + 14, p, 58, 56);
    icmp[0] = 2;
    wr32(icmp + 4, mtu);
    write_ipv6(quoted, p, 6, 1460);
    memcpy(quoted + 8, us6, 16);
    memcpy(quoted + 24, them6, 16);
    wr16(quoted + 40, p->lport);
    wr16(quoted + 42, p->port);
    wr32(quoted + 44, p->local_iss + seq);
    uint16_t c = l4_checksum(f + 14, true, icmp, 56, 58);
    memcpy(icmp + 2, &c, 2);
    inject_later(make_packet(f, sizeof(f)));
    settle();
}

/* A segment with the options that the peer's settings call for; relative numbers; does not settle.
 */
static void queue_tx(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, const void *data,
                     uint32_t len)
{
    uint8_t o[40];
    uint32_t n = 0;

    if (flags & SYN) {
        if (p->mss) {
            o[n++] = 2, o[n++] = 4;
            wr16(o + n, p->mss);
            n += 2;
        }
        if (p->ws)
            o[n++] = 1, o[n++] = 3, o[n++] = 3, o[n++] = p->wscale;
        if (p->sack)
            o[n++] = 1, o[n++] = 1, o[n++] = 4, o[n++] = 2;
    }
    if (p->ts) {
        o[n++] = 1, o[n++] = 1, o[n++] = 8, o[n++] = 10;
        wr32(o + n, peer_ts(p));
        wr32(o + n + 4, p->tsecr);
        n += 8;
    }
    if (p->nsacks) {
        o[n++] = 1, o[n++] = 1, o[n++] = 5, o[n++] = (uint8_t)(2 + 8 * p->nsacks);
        for (int i = 0; i < p->nsacks; i++, n += 8) {
            wr32(o + n, p->local_iss + p->sacks[i][0]);
            wr32(o + n + 4, p->local_iss + p->sacks[i][1]);
        }
        p->nsacks = 0;
    }
    inject_raw(p, flags, p->iss + seq, flags & ACK ? p->local_iss + ack : 0, data, len, o, n,
               false);
}

static void tx(struct peer *p, uint8_t flags, uint32_t seq, uint32_t ack, const void *data,
               uint32_t len)
{
    queue_tx(p, flags, seq, ack, data, len);
    settle();
}

/* An ACK with SACK blocks, in pairs of relative numbers. */
static void tx_sack(struct peer *p, uint32_t seq, uint32_t ack, int n, ...)
{
    va_list ap;

    va_start(ap, n);
    for (int i = 0; i < n; i++) {
        p->sacks[i][0] = va_arg(ap, unsigned);
        p->sacks[i][1] = va_arg(ap, unsigned);
    }
    va_end(ap);
    p->nsacks = n;
    tx(p, ACK, seq, ack, NULL, 0);
}

/* --- expecting -------------------------------------------------------------------------------- */

static struct seg last_rx;

/* The next segment for this peer; fails if there is none. */
static struct seg *rx_(struct peer *p, const char *file, int line)
{
    settle();
    for (struct seg **s = &captured; *s; s = &(*s)->next) {
        struct seg *found = *s;

        if (found->dport != p->port || (p->lport && found->sport != p->lport))
            continue;
        *s = found->next;
        if (captured_tail == &found->next)
            captured_tail = s;
        last_rx = *found;
        free(found);
        if (last_rx.ts)
            p->tsecr = last_rx.tsval;
        return &last_rx;
    }
    print_error("%s:%d: no segment\n", file, line);
    _fail(file, line);
    return NULL;
}
#define rx(p) rx_(p, __FILE__, __LINE__)

static bool pending(struct peer *p)
{
    settle();
    for (struct seg *s = captured; s; s = s->next)
        if (s->dport == p->port && (!p->lport || s->sport == p->lport))
            return true;
    return false;
}
#define expect_none(p) assert_false(pending(p))

static void expect_(struct peer *p, uint8_t flags, uint32_t seq, uint32_t len, uint32_t ack,
                    const char *file, int line)
{
    struct seg *s = rx_(p, file, line);
    uint8_t f = s->flags & (uint8_t)~PSH;

    if (f != flags || s->seq - p->local_iss != seq || s->len != len ||
        ((flags & ACK) && s->ack - p->iss != ack)) {
        print_error("%s:%d: got flags %02x seq %u len %u ack %u, want %02x %u %u %u\n", file, line,
                    f, s->seq - p->local_iss, s->len, s->ack - p->iss, flags, seq, len, ack);
        _fail(file, line);
    }
}
/* The next segment: flags but for PSH, relative numbers. */
#define expect(p, flags, seq, len, ack) expect_(p, flags, seq, len, ack, __FILE__, __LINE__)

/* Takes whatever comes; bytes of payload in it. */
static uint32_t drain(struct peer *p)
{
    uint32_t n = 0;

    while (pending(p))
        n += rx(p)->len;
    return n;
}

/* --- sockets ---------------------------------------------------------------------------------- */

static struct socket *new_socket_of(int family)
{
    struct socket *s;

    assert_int_equal(socket_create(family, 1, 0, &s), 0);
    return s;
}
static struct socket *new_socket(void)
{
    return new_socket_of(4);
}

static struct socket *listen_family(int family, uint16_t port, int backlog)
{
    struct sock_addr a = {.port = port};
    struct socket *s = new_socket_of(family);

    if (family == 4)
        a.ip = ip_from_v4(0);

    s->reuse_addr = true;
    assert_int_equal(s->ops->bind(s, &a), 0);
    assert_int_equal(s->ops->listen(s, backlog), 0);
    return s;
}
static struct socket *listen_on(uint16_t port, int backlog)
{
    return listen_family(4, port, backlog);
}

static ssize_t send_bytes(struct socket *s, const void *data, size_t n, unsigned flags)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, (void *)(uintptr_t)data, n);

    return s->ops->send(s, &u, NULL, flags | SOCK_MSG_DONTWAIT);
}

static ssize_t recv_bytes(struct socket *s, void *data, size_t n, unsigned flags)
{
    struct sock_recv_info info = {0};
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, data, n);

    return s->ops->recv(s, &u, &info, flags | SOCK_MSG_DONTWAIT);
}

static void set_opt(struct socket *s, int name, int v)
{
    assert_int_equal(s->ops->setopt(s, IPPROTO_TCP_N, name, &v, sizeof(v)), 0);
}

static int take_error(struct socket *s)
{
    int e = s->error;

    s->error = 0;
    return e;
}

/* Ends it with a RST, leaving nothing behind. */
static void kill_socket(struct socket *s)
{
    s->linger_on = true;
    s->linger_s = 0;
    s->ops->close(s);
    settle();
}

/* A peer with a port of its own and all options on. */
static struct peer new_peer(uint16_t lport)
{
    uint16_t port = next_port++;
    struct peer p = {.port = port,
                     .lport = lport,
                     .iss = 0x10000000u * (port & 7) + 7,
                     .win = 65535,
                     .mss = 1460,
                     .sack = true,
                     .ts = true,
                     .ws = true,
                     .wscale = 7};

    p.win = 65535;
    return p;
}

/* The peer connects to a listener: the three-way handshake. */
static struct socket *peer_connect(struct peer *p, struct socket *listener)
{
    struct socket *s;
    struct seg *g;
    uint32_t win = p->win;

    p->lport = listener->local.port;
    tx(p, SYN, 0, 0, NULL, 0);
    g = rx(p);
    assert_int_equal(g->flags, SYN | ACK);
    p->local_iss = g->seq;
    assert_int_equal(g->ack, p->iss + 1);
    p->ts = p->ts && g->ts;
    if (g->wscale < 0)
        p->wscale = 0;
    p->win = win;
    tx(p, ACK, 1, 1, NULL, 0);
    assert_int_equal(listener->ops->accept(listener, &s, true), 0);
    return s;
}

/* The stack connects to the peer: the SYN is taken and answered. */
static struct socket *peer_accept(struct peer *p)
{
    struct sock_addr a = {.ip = ip_from_v4(PEER4), .port = p->port};
    struct socket *s = new_socket_of(p->v6 ? 6 : 4);
    struct seg *g;

    if (p->v6)
        memcpy(a.ip.b, them6, 16);
    p->lport = 0;
    assert_int_equal(s->ops->connect(s, &a, true), -EINPROGRESS);
    g = rx(p);
    assert_int_equal(g->flags, SYN);
    p->local_iss = g->seq;
    p->lport = g->sport;
    tx(p, SYN | ACK, 0, 1, NULL, 0);
    expect(p, ACK, 1, 0, 1);
    assert_int_equal(tcp_of(s)->state, TCP_ESTABLISHED);
    return s;
}

/* --- a connection for each test --------------------------------------------------------------- */

static struct socket *listener, *sock;
static struct peer peer;

/* A connection that the peer opened, with these options in its SYN. */
static void open_from_peer(bool v6, bool sack, bool ts)
{
    static uint16_t port = 8000;

    peer_begin(NULL);
    listener = listen_family(v6 ? 6 : 4, ++port, 10);
    peer = new_peer(port);
    peer.v6 = v6;
    peer.sack = sack;
    peer.ts = ts;
    sock = peer_connect(&peer, listener);
}

static int connected(void **state)
{
    (void)state;
    open_from_peer(false, true, true);
    return 0;
}
static int connected6(void **state)
{
    (void)state;
    open_from_peer(true, true, true);
    return 0;
}
/* Without SACK and timestamps. */
static int connected_plain(void **state)
{
    (void)state;
    open_from_peer(false, false, false);
    return 0;
}
static int connected_no_ts(void **state)
{
    (void)state;
    open_from_peer(false, true, false);
    return 0;
}

/* The same with TCP_NODELAY: a segment for each write. */
static int nodelay_after(int (*setup)(void **state), void **state)
{
    setup(state);
    set_opt(sock, 1, 1);
    return 0;
}
static int nodelay(void **state)
{
    return nodelay_after(connected, state);
}
static int nodelay6(void **state)
{
    return nodelay_after(connected6, state);
}
static int nodelay_plain(void **state)
{
    return nodelay_after(connected_plain, state);
}
static int nodelay_no_ts(void **state)
{
    return nodelay_after(connected_no_ts, state);
}

/* The program reads just this. */
static void reads(const char *text)
{
    static char got[100000];
    ssize_t n = (ssize_t)strlen(text);

    assert_int_equal(recv_bytes(sock, got, sizeof(got), 0), n ? n : -EAGAIN);
    assert_memory_equal(got, text, (size_t)n);
}

static void close_socket(void)
{
    sock->ops->close(sock);
    sock = NULL;
    settle();
}

static int disconnect(void **state)
{
    (void)state;
    if (sock)
        kill_socket(sock);
    if (listener)
        kill_socket(listener);
    sock = listener = NULL;
    return 0;
}

/* One byte there and its ACK 20 ms later, so that the round-trip time is 20 ms; numbers then begin
 * anew. */
static void learn_rtt(void)
{
    tcp_of(sock)->srtt = tcp_of(sock)->min_rtt = 0; /* the handshake took no time */
    assert_int_equal(send_bytes(sock, "r", 1, 0), 1);
    rx(&peer);
    pass(20 * MS);
    tx(&peer, ACK, 1, 2, NULL, 0);
    peer.local_iss++;
    expect_none(&peer);
}

#define TEST(f) cmocka_unit_test_setup(f, peer_begin)
#define CONN_AS(f, setup) cmocka_unit_test_setup_teardown(f, setup, disconnect)
#define CONN(f) CONN_AS(f, connected)

#endif
