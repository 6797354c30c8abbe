/* Packet sockets (net/packet.h). */
#include "net/packet.h"

#include "fs/file.h"
#include "net/ether.h"
#include "net/filter.h"
#include "net/mcast.h"
#include "net/stats.h"

#define ARPHRD_ETHER 1u
#define ARPHRD_LOOPBACK 772u
#define AF_PACKET_N 17
#define VLAN_TAG 4u

atomic_int packet_socket_count;

static struct {
    spinlock_t lock; /* bh; before a socket's lock */
    struct list all;
} table;

void packet_init(void)
{
    spin_init(&table.lock);
    list_init(&table.all);
}

/* --- frames ----------------------------------------------------------------------------------- */

static unsigned frame_type(const struct netif *n, const uint8_t *h, bool outgoing)
{
    static const uint8_t everybody[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (outgoing)
        return FRAME_OUTGOING;
    if (mac_equal(h, n->mac))
        return FRAME_TO_US;
    if (mac_equal(h, everybody))
        return FRAME_BROADCAST;
    return h[0] & 1 ? FRAME_MULTICAST : FRAME_OTHER_HOST;
}

static bool wants(const struct packet_socket *ps, const struct netif *n, uint16_t protocol,
                  bool outgoing)
{
    uint32_t bound = ps->d.s.local.scope;

    if (bound && bound != (uint32_t)n->index)
        return false;
    if (outgoing)
        return ps->protocol == ETH_TYPE_ALL && !ps->ignore_outgoing;
    return ps->protocol == ETH_TYPE_ALL || ps->protocol == protocol;
}

/* Bytes that the socket's filter wants of the frame, which is as the program would see it. */
static uint32_t filtered(struct packet_socket *ps, const struct pkt *p,
                         const struct sockaddr_ll_k *from)
{
    struct filter_context c = {.protocol = net16(from->protocol),
                               .type = from->pkttype,
                               .ifindex = from->ifindex,
                               .network = ps->cooked ? 0 : ETH_HEADER};

    return ps->d.s.filter ? MIN(net_filter_run(ps->d.s.filter, p, &c), p->len) : p->len;
}

/* Into the ring. The socket's lock is held. */
static void put_in_ring(struct packet_socket *ps, const struct pkt *p, uint32_t n,
                        const struct sockaddr_ll_k *from)
{
    if (!packet_ring_put(ps->ring, p, n, ps->cooked ? 0 : ETH_HEADER, from, ps->reserve,
                         ps->lost != 0))
        ps->lost++;
}

/* Into the queue, which takes the packet. */
static void put_in_queue(struct packet_socket *ps, struct pkt *p, uint32_t n,
                         const struct sockaddr_ll_k *from)
{
    memset(p->cb, 0, sizeof(p->cb));
    p->cb[CB_PORT] = from->protocol | (uint64_t)from->pkttype << 16;
    memcpy(&p->cb[CB_LOCAL_PORT], from->addr, sizeof(from->addr));
    p->cb[CB_ERROR] = p->len;
    pkt_trim_to(p, n);
    if (!dgram_enqueue(&ps->d, p)) {
        spin_lock(&ps->d.s.lock);
        ps->lost++;
        spin_unlock(&ps->d.s.lock);
    }
}

static void give(struct packet_socket *ps, const struct pkt *frame,
                 const struct sockaddr_ll_k *from)
{
    struct pkt *p = pkt_clone(frame);

    if (!p) {
        net_count(NET_Librettos_NoMemory);
        return;
    }
    if (ps->cooked)
        pkt_pull(p, ETH_HEADER);
    spin_lock(&ps->d.s.lock);
    uint32_t n = filtered(ps, p, from);
    if (n)
        ps->seen++;
    bool ring = ps->ring;
    if (n && ring)
        put_in_ring(ps, p, n, from);
    spin_unlock(&ps->d.s.lock);
    if (n && !ring) {
        put_in_queue(ps, p, n, from);
        return;
    }
    pkt_free(p);
    if (n)
        wake_up_key(&ps->d.s.wait, POLL_IN | POLL_RDNORM);
}

void packet_tap(struct netif *n, const struct pkt *frame, bool outgoing)
{
    struct dgram_socket *d;

    if (frame->linear < ETH_HEADER || frame->flags & PKT_LENT)
        return;
    const uint8_t *h = frame->data;
    bool loopback = n->flags & NETIF_LOOPBACK;
    struct sockaddr_ll_k from = {.family = AF_PACKET_N,
                                 .protocol = *(const wire16 *)(h + 12),
                                 .ifindex = n->index,
                                 .hatype = loopback ? ARPHRD_LOOPBACK : ARPHRD_ETHER,
                                 .pkttype = (uint8_t)frame_type(n, h, outgoing),
                                 .halen = MAC_LEN};
    memcpy(from.addr, h + MAC_LEN, MAC_LEN);
    spin_lock(&table.lock);
    list_for_each (d, &table.all, link) {
        struct packet_socket *ps = container_of(d, struct packet_socket, d);
        if (wants(ps, n, net16(from.protocol), outgoing))
            give(ps, frame, &from);
    }
    spin_unlock(&table.lock);
}

/* --- sending ---------------------------------------------------------------------------------- */

ssize_t packet_send(struct packet_socket *ps, struct uio *u, int ifindex, uint16_t protocol,
                    const uint8_t mac[MAC_LEN], unsigned flags)
{
    struct netif *n = netif_by_index(ifindex ? ifindex : (int)ps->d.s.local.scope);
    size_t len = u->resid;

    if (!n)
        return -ENXIO;
    if (!(n->flags & NETIF_UP))
        return -ENETDOWN;
    if (!ps->cooked && len < ETH_HEADER)
        return -EINVAL;
    if (len > n->mtu + (ps->cooked ? 0 : ETH_HEADER + VLAN_TAG))
        return -EMSGSIZE;
    struct pkt *p = dgram_copy_in(&ps->d, u, flags);
    if (IS_ERR(p))
        return PTR_ERR(p);
    net_batch_begin();
    if (ps->cooked) {
        ether_output(n, p, mac, protocol);
    } else if (pkt_make_linear(p, ETH_HEADER)) {
        p->netif = n;
        netif_transmit(n, p);
    }
    net_batch_end();
    return (ssize_t)len;
}

/* --- the rest --------------------------------------------------------------------------------- */

int packet_bind(struct packet_socket *ps, int ifindex, uint16_t protocol)
{
    struct socket *s = &ps->d.s;

    if (ifindex && !netif_by_index(ifindex))
        return -ENODEV;
    spin_lock_bh(&table.lock);
    s->local.scope = (uint32_t)ifindex;
    ps->protocol = protocol;
    spin_unlock_bh(&table.lock);
    return 0;
}

unsigned packet_poll(struct packet_socket *ps)
{
    struct socket *s = &ps->d.s;
    unsigned events = dgram_poll(s);

    spin_lock_bh(&s->lock);
    if (ps->ring && packet_ring_readable(ps->ring))
        events |= POLL_IN | POLL_RDNORM;
    spin_unlock_bh(&s->lock);
    return events;
}

static void count_promiscuous(int ifindex, int change)
{
    struct netif *n = netif_by_index(ifindex);

    if (!n)
        return;
    atomic_fetch_add(&n->promiscuous, change);
    mcast_program(n);
}

int packet_promiscuous(struct packet_socket *ps, int ifindex, bool on)
{
    if (!netif_by_index(ifindex))
        return on ? -ENODEV : 0;
    for (unsigned i = 0; i < ARRAY_SIZE(ps->promiscuous); i++) {
        if (ps->promiscuous[i] == (on ? 0 : ifindex)) {
            ps->promiscuous[i] = on ? ifindex : 0;
            count_promiscuous(ifindex, on ? 1 : -1);
            return 0;
        }
    }
    return on ? -ENOBUFS : 0;
}

void packet_statistics(struct packet_socket *ps, uint32_t *seen, uint32_t *lost)
{
    spin_lock_bh(&ps->d.s.lock);
    *seen = (uint32_t)ps->seen;
    *lost = (uint32_t)ps->lost;
    ps->seen = ps->lost = 0;
    spin_unlock_bh(&ps->d.s.lock);
}

struct packet_ring *packet_set_ring(struct packet_socket *ps, struct packet_ring *ring)
{
    spin_lock_bh(&ps->d.s.lock);
    struct packet_ring *old = ps->ring;
    ps->ring = ring;
    spin_unlock_bh(&ps->d.s.lock);
    return old;
}

void packet_close(struct packet_socket *ps)
{
    spin_lock_bh(&table.lock);
    list_remove(&ps->d.link);
    spin_unlock_bh(&table.lock);
    atomic_fetch_sub(&packet_socket_count, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(ps->promiscuous); i++) {
        if (ps->promiscuous[i])
            count_promiscuous(ps->promiscuous[i], -1);
    }
    packet_ring_free(packet_set_ring(ps, NULL));
    dgram_close(&ps->d.s);
}

static int no_option(struct socket *s, int level, int name, const void *val, uint32_t len)
{
    (void)s, (void)level, (void)name, (void)val, (void)len;
    return -ENOPROTOOPT;
}

static int no_answer(struct socket *s, int level, int name, void *val, uint32_t *len)
{
    (void)s, (void)level, (void)name, (void)val, (void)len;
    return -ENOPROTOOPT;
}

/* The operations of packet sockets differ from those of internet sockets: linux/ calls the
 * functions above. These are for the generic options. */
static const struct socket_ops packet_ops = {
    .setopt = no_option,
    .getopt = no_answer,
    .option_changed = dgram_option_changed,
};

int packet_socket_create(int type, uint16_t protocol, struct socket **out)
{
    struct packet_socket *ps = kzalloc(sizeof(*ps));

    if (!ps)
        return -ENOMEM;
    dgram_init(&ps->d, &packet_ops, AF_PACKET_N, type, 0);
    ps->protocol = protocol;
    ps->cooked = type == 2; /* SOCK_DGRAM */
    spin_lock_bh(&table.lock);
    list_push_back(&table.all, &ps->d.link);
    spin_unlock_bh(&table.lock);
    atomic_fetch_add(&packet_socket_count, 1);
    *out = &ps->d.s;
    return 0;
}
