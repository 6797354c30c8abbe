/*
 * The loopback interface: what is sent comes back on the same CPU from a bottom half, so that
 * sending never recurses into receiving. Segments of up to 64 KiB pass whole and without checksums.
 */
#include "core/deferred.h"
#include "net/netif_impl.h"
#include "net/stats.h"
#include "net/view.h"

#define LOOPBACK_MAX 4096u /* packets waiting per CPU */

struct loopback_cpu {
    struct bottom_half bh;
    struct pkt_queue queue; /* this CPU only, bottom halves disabled */
    uint64_t packets, bytes, dropped;
} __attribute__((aligned(64)));

static struct loopback_cpu cpus[MAX_CPUS];
static struct net_path loopback_path;

static bool loopback_transmit(struct net_path *path, int queue, struct pkt *p)
{
    struct loopback_cpu *c = &cpus[cpu_id()];

    (void)path;
    (void)queue;
    if (c->queue.count >= LOOPBACK_MAX) {
        c->dropped++;
        net_count(NET_Librettos_LoopbackFull);
        pkt_free(p);
        return true;
    }
    pkt_orphan(p); /* the receiver may be the sender, who would wait for himself */
    c->packets++;
    c->bytes += p->len;
    p->flags = (uint8_t)(PKT_CSUM_OK | PKT_LOOPED |
                         (p->flags & PKT_CSUM_PARTIAL ? PKT_LOOPED_PARTIAL : 0));
    pkt_queue_push(&c->queue, p);
    return true;
}

static void loopback_flush(struct net_path *path, int queue)
{
    (void)path;
    (void)queue;
    bh_schedule(&cpus[cpu_id()].bh);
}

static void loopback_deliver(struct bottom_half *bh)
{
    struct loopback_cpu *c = container_of(bh, struct loopback_cpu, bh);
    struct pkt *list = c->queue.head;

    pkt_queue_init(&c->queue);
    path_receive(&loopback_path, list);
}

static void loopback_stats(struct net_path *path, struct path_stats *out)
{
    (void)path;
    memset(out, 0, sizeof(*out));
    for (int i = 0; i < cpu_count; i++) {
        out->tx_packets += cpus[i].packets;
        out->tx_bytes += cpus[i].bytes;
        out->tx_dropped += cpus[i].dropped;
    }
    out->rx_packets = out->tx_packets;
    out->rx_bytes = out->tx_bytes;
}

static const struct path_ops loopback_ops = {
    .transmit = loopback_transmit,
    .flush = loopback_flush,
    .stats = loopback_stats,
};

void loopback_init(void)
{
    static const uint8_t no_mac[MAC_LEN];
    struct ip_addr v6 = {.w = {0, 0, 0, net32(1)}};
    struct ip_addr v4 = ip_from_v4(net32(0x7f000001));

    for (int i = 0; i < MAX_CPUS; i++) {
        bh_init(&cpus[i].bh, loopback_deliver);
        pkt_queue_init(&cpus[i].queue);
    }
    loopback_path = (struct net_path){
        .ops = &loopback_ops,
        .kind = PATH_LOOPBACK,
        .features = PATH_CSUM | PATH_TSO4 | PATH_TSO6 | PATH_USO | PATH_SG,
        .mtu = 65535,
        .queues = MAX_CPUS,
        .link_up = true,
        .name = "loopback",
    };
    struct netif *lo = netif_create("lo", no_mac);
    if (IS_ERR(lo))
        panic("no memory for the loopback interface");
    netif_loopback = lo;
    lo->flags = NETIF_LOOPBACK;
    if (netif_attach_path(lo, &loopback_path) || netif_set_up(lo, true) ||
        netif_add_addr(lo, &v4, 8) || netif_add_addr(lo, &v6, 128))
        panic("cannot configure the loopback interface");
}
