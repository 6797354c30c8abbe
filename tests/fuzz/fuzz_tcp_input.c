/*
 * Arbitrary segments for connections in every state, mixed with system calls and the passing of
 * time. The input is a program: each operation is an opcode and its operands; numbers of segments
 * are taken relative to what the connection expects, so that most of them get past the first
 * checks.
 */
#include <stdlib.h>

#include "core/init.h"
#include "core/timer.h"
#include "floor.h"
#include "net/tcp.h"

#define US net32(0x0a000001)
#define PEER net32(0x0a000002)

static struct net_path path;
static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static uint32_t seen_seq, seen_ack; /* of the last segment the stack sent */
static uint16_t seen_port;
static bool arp_asked;

struct input {
    const uint8_t *data;
    size_t left;
};

static uint32_t take(struct input *in, unsigned bytes)
{
    uint32_t v = 0;

    while (bytes-- && in->left) {
        v = v << 8 | *in->data++;
        in->left--;
    }
    return v;
}

static bool on_transmit(struct net_path *p, int queue, struct pkt *pkt)
{
    uint8_t h[54] = {0};

    (void)p, (void)queue;
    pkt_copy_out(pkt, 0, h, MIN(pkt->len, (uint32_t)sizeof(h)));
    if (h[12] == 8 && h[13] == 0 && h[23] == 6) {
        seen_port = (uint16_t)(h[34] << 8 | h[35]);
        seen_seq = (uint32_t)h[38] << 24 | (uint32_t)h[39] << 16 | (uint32_t)h[40] << 8 | h[41];
        seen_ack = (uint32_t)h[42] << 24 | (uint32_t)h[43] << 16 | (uint32_t)h[44] << 8 | h[45];
    }
    if (h[12] == 8 && h[13] == 6)
        arp_asked = true;
    pkt_free(pkt);
    return true;
}

/* The peer's ARP reply, if it was asked; runs what follows. */
static void settle(void)
{
    static const uint8_t reply[42] = {2,  0, 0, 0, 0, 1, 2, 0, 0, 0, 0,  2, 8, 6,
                                      0,  1, 8, 0, 6, 4, 0, 2, 2, 0, 0,  0, 0, 2,
                                      10, 0, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1};

    floor_run();
    while (arp_asked) {
        struct pkt *p = pkt_alloc(64);

        arp_asked = false;
        if (!p)
            return;
        pkt_append(p, reply, sizeof(reply));
        bh_disable();
        path_receive(&path, p);
        bh_enable();
        floor_run();
    }
}

static void on_flush(struct net_path *p, int queue)
{
    (void)p, (void)queue;
}

static void on_detach(struct net_path *p)
{
    (void)p;
}

static const struct path_ops ops = {
    .transmit = on_transmit, .flush = on_flush, .detach = on_detach};

static void setup(void)
{
    struct ip_addr us = ip_from_v4(US);

    net_init();
    path = (struct net_path){
        .ops = &ops, .kind = PATH_DIRECT, .mtu = 1500, .queues = 1, .link_up = true};
    memcpy(path.mac, our_mac, 6);
    if (netif_register_path(&path) || netif_set_up(netif_by_name("eth0"), true) ||
        netif_add_addr(netif_by_name("eth0"), &us, 24))
        abort();
    floor_advance(3 * NSEC_PER_SEC);
}

/* A segment of the fuzzer's making straight into tcp_input. */
static void segment(struct input *in, uint32_t iss)
{
    static uint8_t payload[4096];
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint8_t flags = (uint8_t)take(in, 1), optlen = (uint8_t)(take(in, 1) % 41);
    int8_t dseq = (int8_t)take(in, 1), dack = (int8_t)take(in, 1);
    uint16_t len = (uint16_t)(take(in, 2) % sizeof(payload)), window = (uint16_t)take(in, 2);
    uint16_t sport = (uint16_t)(1000 + take(in, 1) % 4), dport = seen_port;
    struct tcp_header h = {0};
    uint8_t opts[40] = {0};

    if (!p)
        return;
    if (take(in, 1) & 1)
        dport = 80;
    for (unsigned i = 0; i < optlen; i++)
        opts[i] = (uint8_t)take(in, 1);
    optlen = (uint8_t)ROUND_UP(optlen, 4);
    h.sport = net16(sport);
    h.dport = net16(dport);
    h.seq = net32((seen_ack ? seen_ack : iss) + (uint32_t)(dseq * (dseq & 1 ? 1 : 700)));
    h.ack = net32(seen_seq + (uint32_t)(dack * (dack & 1 ? 1 : 700)));
    h.doff = (uint8_t)((20 + optlen) << 2);
    h.flags = flags;
    h.window = net16(window);
    h.urgent = net16((uint16_t)take(in, 1));
    pkt_append(p, &h, sizeof(h));
    pkt_append(p, opts, optlen);
    if (len <= 128) {
        pkt_append(p, payload, len);
    } else {
        struct page *page = page_alloc(0, 0);

        if (page && !pkt_append_page(p, page, 0, len))
            page_put(page);
    }
    if (p->len - 20 - optlen > 1460)
        p->gso = GSO_TCP4, p->gso_size = 1448;
    p->src = ip_from_v4(PEER);
    p->dst = ip_from_v4(US);
    p->proto = 6;
    p->tos = (uint8_t)take(in, 1);
    p->netif = netif_by_name("eth0");
    p->flags = PKT_CSUM_OK;
    net_batch_begin();
    tcp_input(p);
    net_batch_end();
    settle();
}

#define SOCKETS 4

static void system_call(struct input *in, struct socket **socks)
{
    static uint8_t buf[20000];
    unsigned which = take(in, 1) % SOCKETS, n = take(in, 2) % sizeof(buf);
    struct socket *s = socks[which], *c;
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, buf, n);
    struct sock_recv_info info = {0};
    struct sock_addr peer = {.ip = ip_from_v4(PEER), .port = (uint16_t)(1000 + which)};
    int v = (int)take(in, 1);

    if (!s) {
        if (socket_create(4, 1, 0, &socks[which]) == 0)
            socks[which]->ops->connect(socks[which], &peer, true);
        return;
    }
    switch (take(in, 1) % 10) {
    case 0:
        s->ops->send(s, &u, NULL, SOCK_MSG_DONTWAIT | (v & 1 ? SOCK_MSG_MORE : 0));
        break;
    case 1:
        s->ops->recv(s, &u, &info, SOCK_MSG_DONTWAIT | (v & 1 ? SOCK_MSG_PEEK : 0));
        break;
    case 2:
        s->ops->shutdown(s, v % 3);
        break;
    case 3:
        s->ops->disconnect(s);
        break;
    case 4:
        s->ops->setopt(s, 6, v % 32, &n, sizeof(n));
        break;
    case 5:
        if (s->ops->accept(s, &c, true) == 0) {
            struct socket *old = socks[SOCKETS - 1];

            socks[SOCKETS - 1] = c;
            if (old) {
                old->linger_on = false;
                old->ops->close(old);
            }
        }
        break;
    case 6:
        s->linger_on = v & 1;
        s->linger_s = 0;
        s->ops->close(s);
        socks[which] = NULL;
        break;
    case 7: {
        struct page_part part = {page_alloc(0, PAGE_ZERO), 0, n % 4096 + 1};

        s->ops->sendpages(s, &part, 1, SOCK_MSG_DONTWAIT);
        page_put(part.page);
        break;
    }
    case 8:
        s->ops->poll(s);
        s->keepalive = v & 1;
        break;
    default:
        s->ops->connect(s, &peer, true);
    }
    settle();
}

static void icmp(struct input *in)
{
    static const int errors[] = {-EMSGSIZE, -ECONNREFUSED, -EHOSTUNREACH, -EPROTO};
    struct ip_addr us = ip_from_v4(US), peer = ip_from_v4(PEER);
    uint16_t port = (uint16_t)(1000 + take(in, 1) % 4);
    uint8_t h[8] = {(uint8_t)(seen_port >> 8), (uint8_t)seen_port, (uint8_t)(port >> 8),
                    (uint8_t)port};
    uint32_t seq = net32(seen_seq);

    memcpy(h + 4, &seq, 4);
    bh_disable();
    tcp_icmp_error(&us, &peer, h, errors[take(in, 1) % 4], take(in, 2));
    bh_enable();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct socket *socks[SOCKETS] = {0};
    struct sock_addr a = {.ip = ip_from_v4(0), .port = 80};
    static bool ready;

    if (!ready) {
        setup();
        ready = true;
    }
    floor_seed(1);
    seen_seq = seen_ack = 0;
    seen_port = 80;
    if (socket_create(4, 1, 0, &socks[0]))
        return 0;
    socks[0]->reuse_addr = true;
    if (socks[0]->ops->bind(socks[0], &a) || socks[0]->ops->listen(socks[0], 2))
        abort();
    while (in.left) {
        switch (take(&in, 1) % 8) {
        case 0:
        case 1:
        case 2:
        case 3:
            segment(&in, 1000);
            break;
        case 4:
        case 5:
            system_call(&in, socks);
            break;
        case 6:
            floor_advance((nsec_t)take(&in, 2) * 10 * NSEC_PER_MSEC);
            settle();
            break;
        default:
            icmp(&in);
        }
    }
    for (int i = 0; i < SOCKETS; i++) {
        if (!socks[i])
            continue;
        socks[i]->linger_on = true;
        socks[i]->linger_s = 0;
        socks[i]->ops->close(socks[i]);
    }
    settle();
    floor_advance(1000 * NSEC_PER_SEC); /* whatever is left ends by itself */
    if (tcp_table_count())
        abort();
    return 0;
}
