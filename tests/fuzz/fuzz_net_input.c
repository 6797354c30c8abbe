/*
 * Arbitrary frames into the stack, with sockets of every kind open.
 *
 * The input is a list of commands: one byte says what to do, two give a length.
 *   bit 0: the frame is split between the linear part and pages
 *   bit 1: addresses and checksums are repaired, so that the frame gets far
 *   bit 2: the device verified the checksum
 *   bit 3: IPv6 (with bit 1)
 *   bit 4: part of one receive batch with the next frame
 *   bits 5-7: then let time pass: 2^n milliseconds, or none
 */
#include "core/init.h"
#include "core/timer.h"
#include "floor.h"
#include "net/ipimpl.h"
#include "net/filter.h"
#include "net/netif_impl.h"
#include "net/packet.h"
#include "net/socket.h"

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1};
static struct net_path path;
static struct socket *sockets[8];
static int nsockets;
static struct socket *ring_socket, *queue_socket;

static bool sink(struct net_path *p, int queue, struct pkt *pkt)
{
    (void)p, (void)queue;
    pkt_free(pkt);
    return true;
}

static void flush(struct net_path *p, int queue)
{
    (void)p, (void)queue;
}

static const struct path_ops ops = {.transmit = sink, .flush = flush};

static void open_socket(int family, int type, int proto, uint16_t port, bool listening)
{
    struct sock_addr a = {.ip = family == 4 ? ip_from_v4(0) : (struct ip_addr){0}, .port = port};
    struct socket *s;
    int one = 1;

    ASSERT(socket_create(family, type, proto, &s) == 0);
    if (family == 6)
        ASSERT(socket_setopt(s, 41, 26, &one, sizeof(one)) == 0);
    ASSERT(s->ops->bind(s, &a) == 0);
    if (listening)
        ASSERT(s->ops->listen(s, 8) == 0);
    else /* IP_RECVERR or IPV6_RECVERR */
        ASSERT(socket_setopt(s, family == 4 ? 0 : 41, family == 4 ? 11 : 25, &one, sizeof(one)) ==
               0);
    if (family == 4 && !listening)
        ASSERT(socket_setopt(s, 0, 7 /* IP_RETOPTS */, &one, sizeof(one)) == 0);
    sockets[nsockets++] = s;
}

/* Keeps a few bytes of what has an odd byte where a filter looks for it. */
static void attach_filter(struct socket *s)
{
    static const struct filter_insn insns[] = {
        {0xb1, 0, 0, 14}, /* ldx 4 * ([14] & 15) */
        {0x48, 0, 0, 16}, /* ldh [x + 16] */
        {0x45, 0, 1, 1},  /* jset 1 */
        {0x06, 0, 0, 40},
        {0x06, 0, 0, 0} /* ret */
    };

    ASSERT(socket_attach_filter(s, insns, ARRAY_SIZE(insns)) == 0);
}

/* Packet sockets: one that queues, one with a ring. */
static void open_packet_sockets(void)
{
    struct tpacket_req_k q = {PAGE_SIZE, 4, 256, 64};
    struct socket *s;

    ASSERT(packet_socket_create(2, ETH_TYPE_ALL, &s) == 0);
    attach_filter(s);
    ring_socket = s;
    ASSERT(packet_socket_create(3, ETH_TYPE_ALL, &queue_socket) == 0);
    struct packet_ring *r = packet_ring_alloc(&q);
    ASSERT(!IS_ERR(r) && packet_ring_check(&q, 0) == 0);
    for (uint32_t i = 0; i < r->pages_count; i++)
        ASSERT((r->pages[i] = page_alloc(0, PAGE_ZERO)) != NULL);
    packet_set_ring(packet_of(s), r);
}

/* The program gives all frames back, and reads what is queued. */
static void drain_packet_sockets(void)
{
    static uint8_t buf[65536];
    struct packet_ring *r = packet_of(ring_socket)->ring;
    struct sock_recv_info info;
    struct iovec_k seg;
    struct uio u;

    for (uint32_t i = 0; i < r->pages_count; i++)
        memset(page_addr(r->pages[i]), 0, PAGE_SIZE);
    do
        u = uio_kernel(&seg, buf, sizeof(buf));
    while (dgram_recv(queue_socket, &u, &info, SOCK_MSG_DONTWAIT) >= 0);
}

static void start(void)
{
    struct ip_addr a;

    net_init();
    path = (struct net_path){.ops = &ops,
                             .kind = PATH_DIRECT,
                             .features = PATH_SG | PATH_CSUM,
                             .mtu = 1500,
                             .queues = 1,
                             .link_up = true};
    memcpy(path.mac, our_mac, 6);
    ASSERT(netif_register_path(&path) == 0);
    struct netif *n = netif_by_name("eth0");
    ASSERT(netif_set_up(n, true) == 0);
    ASSERT(ip_parse("10.0.0.1", &a) == 0 && netif_add_addr(n, &a, 24) == 0);
    ASSERT(ip_parse("2001:db8::1", &a) == 0 && netif_add_addr(n, &a, 64) == 0);
    open_socket(4, 2, 0, 5000, false);
    open_socket(6, 2, 0, 5000, false);
    open_socket(4, 3, 1, 0, false);
    open_socket(6, 3, 58, 0, false);
    open_socket(4, 2, 1, 7, false);
    open_socket(4, 1, 0, 80, true);
    open_socket(6, 1, 0, 80, true);
    attach_filter(sockets[2]);
    open_packet_sockets();
}

static void sum_transport(uint8_t *l4, uint32_t n, uint8_t proto, const struct ip_addr *s,
                          const struct ip_addr *d)
{
    uint32_t at = proto == IPPROTO_TCP_N ? 16 : proto == IPPROTO_UDP_N ? 6 : 2;
    uint32_t sum = proto == IPPROTO_ICMP_N ? 0 : ip_pseudo_csum(s, d, proto, n);

    if (n < at + 2)
        return;
    *(wire16 *)(l4 + at) = 0;
    *(wire16 *)(l4 + at) = csum_fold(csum_add(l4, n, sum));
}

/* Makes a frame for us of it. Options, fragments, flags, ports stay as they are. */
static void repair(uint8_t *b, uint32_t len, bool v6)
{
    uint8_t *h = b + 14;
    struct ip_addr s = {0}, d = {0};

    if (len < 14)
        return;
    memcpy(b, our_mac, 6);
    put16(b + 12, v6 ? 0x86dd : 0x0800);
    if (v6 && len >= 54) {
        h[0] = 0x60;
        put16(h + 4, (uint16_t)(len - 54));
        ip_parse("2001:db8::1", &d);
        memcpy(h + 24, &d, 16);
        memcpy(&s, h + 8, 16);
        sum_transport(h + 40, len - 54, h[6], &s, &d);
    } else if (!v6 && len >= 34) {
        uint32_t hl = MAX((h[0] & 15) * 4u, 20u);
        h[0] = (uint8_t)(0x40 | hl / 4);
        put16(h + 2, (uint16_t)(len - 14));
        put32(h + 16, 0x0a000001);
        if (len < 14 + hl)
            return;
        s = ip_from_v4(*(wire32 *)(h + 12));
        d = ip_from_v4(*(wire32 *)(h + 16));
        sum_transport(h + hl, len - 14 - hl, h[9], &s, &d);
        put16(h + 10, 0);
        put16(h + 10, net16(csum_fold(csum_add(h, hl, 0))));
    }
}

static struct pkt *make(const uint8_t *b, uint32_t len, uint8_t how)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    uint32_t linear = MIN(len, how & 1 ? 66u : (uint32_t)PKT_BUF - PKT_HEADROOM);

    if (!p)
        return NULL;
    pkt_append(p, b, linear);
    for (uint32_t at = linear; at < len;) {
        uint32_t n = MIN(len - at, (uint32_t)PAGE_SIZE);
        struct page *page = page_alloc(0, 0);
        memcpy(page_addr(page), b + at, n);
        pkt_append_page(p, page, 0, n);
        at += n;
    }
    if (how & 4)
        p->flags = PKT_CSUM_OK;
    return p;
}

static void deliver(struct pkt *list)
{
    bh_disable();
    path_receive(&path, list);
    bh_enable();
    floor_run();
}

/* Empties the sockets, so that their queues do not fill up for good. */
static void drain(void)
{
    static uint8_t buf[65536];
    struct sock_recv_info info;
    struct iovec_k seg;

    for (int i = 0; i < nsockets; i++) {
        struct socket *s = sockets[i], *c;
        if (s->type == 1) {
            while (s->ops->accept(s, &c, true) == 0) {
                struct uio u = uio_kernel(&seg, buf, sizeof(buf));
                c->ops->recv(c, &u, &info, SOCK_MSG_DONTWAIT);
                c->ops->close(c);
            }
            continue;
        }
        struct uio u = uio_kernel(&seg, buf, sizeof(buf));
        while (s->ops->recv(s, &u, &info, SOCK_MSG_DONTWAIT) >= 0)
            u = uio_kernel(&seg, buf, sizeof(buf));
        while (s->ops->recv(s, &u, &info, SOCK_MSG_DONTWAIT | SOCK_MSG_ERRQUEUE) >= 0)
            u = uio_kernel(&seg, buf, sizeof(buf));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t b[65536];
    struct pkt *list = NULL, **tail = &list;

    if (!nsockets)
        start();
    while (size >= 3) {
        uint8_t how = data[0];
        uint32_t len = MIN((uint32_t)get16(data + 1) % 4096, (uint32_t)size - 3);
        memcpy(b, data + 3, len);
        data += 3 + len;
        size -= 3 + len;
        if (how & 2)
            repair(b, len, how & 8);
        *tail = make(b, len, how);
        tail = &(*tail)->next;
        if (how & 16)
            continue;
        deliver(list);
        list = NULL;
        tail = &list;
        if (how >> 5)
            floor_advance(NSEC_PER_MSEC << (how >> 5) * 2);
    }
    if (list)
        deliver(list);
    drain();
    drain_packet_sockets();
    floor_advance(NSEC_PER_SEC);
    return 0;
}
