/*
 * virtio-net as a direct path: features, queue pairs, interrupts, attach and detach.
 *
 * One queue pair per CPU as far as the device has them. A pair has one interrupt vector, on its
 * CPU, for both directions; the handler only schedules the pair's bottom half, which polls with a
 * budget and asks for the next interrupt when it finds nothing more.
 */
#include "drivers/virtio_net.h"

#include "core/rand.h"

#define NET_FEATURES                                                                               \
    (VIRTIO_F_EVENT_IDX | NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC |                  \
     NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 |   \
     NET_F_HOST_ECN | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_MQ |  \
     NET_F_CTRL_MAC_ADDR)
#define GUEST_GSO (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_GUEST_ECN)

/* struct virtio_net_config, 5.1.4 */
#define CONFIG_MAC 0
#define CONFIG_STATUS 6
#define CONFIG_MAX_PAIRS 8
#define CONFIG_MTU 10
#define STATUS_LINK_UP 1u

#define VECTOR_CONFIG 0 /* configuration changes and the control queue; pair i has vector 1 + i */
#define POLL_BUDGET 64
#define ETH_HEADER 14
#define MTU_DEFAULT 1500
#define MTU_MIN 1280 /* RFC 8200, section 5 */

static void pair_poll(struct bottom_half *bh)
{
    struct vnet_pair *q = container_of(bh, struct vnet_pair, bh);

    if (!q->net->running)
        return;
    int n = vnet_rx_poll(q, POLL_BUDGET);
    vnet_tx_poll(q);
    if (n == POLL_BUDGET || virtq_irq_enable(&q->rx)) {
        virtq_irq_disable(&q->rx);
        bh_schedule(bh);
    }
    recheck_later(&q->recheck);
}

/* See core/recheck.h. */
static void pair_look(struct recheck *r)
{
    struct vnet_pair *q = container_of(r, struct vnet_pair, recheck);

    if (!q->net->running)
        return;
    virtq_kick_again(&q->rx);
    spin_lock(&q->tx_lock);
    virtq_kick_again(&q->tx);
    spin_unlock(&q->tx_lock);
    if (virtq_pending(&q->rx) || virtq_pending(&q->tx))
        bh_schedule(&q->bh);
}

static void pair_irq(struct irq *irq)
{
    struct vnet_pair *q = irq->owner;

    virtq_irq_disable(&q->rx);
    bh_schedule(&q->bh);
}

static bool link_is_up(struct vnet *net)
{
    uint16_t status = STATUS_LINK_UP;

    if (virtio_has(net->dev, NET_F_STATUS))
        net->dev->ops->config_read(net->dev, CONFIG_STATUS, &status, sizeof(status));
    return status & STATUS_LINK_UP;
}

static void config_poll(struct bottom_half *bh)
{
    struct vnet *net = container_of(bh, struct vnet, config_bh);

    if (!net->running)
        return;
    bool up = link_is_up(net);
    if (up != net->path.link_up)
        path_link_changed(&net->path, up);
}

/* The vector's two causes cannot be told apart; both are rare. */
static void config_irq(struct irq *irq)
{
    struct vnet *net = irq->owner;

    wake_up(&net->ctrl_wait);
    bh_schedule(&net->config_bh);
}

static void stats(struct net_path *path, struct path_stats *out)
{
    struct vnet *net = container_of(path, struct vnet, path);

    *out = (struct path_stats){0};
    for (int i = 0; i < net->npairs; i++) {
        const struct vnet_pair *q = &net->pairs[i];
        out->rx_packets += q->stats.rx_packets;
        out->rx_bytes += q->stats.rx_bytes;
        out->tx_packets += q->stats.tx_packets;
        out->tx_bytes += q->stats.tx_bytes;
        out->rx_dropped += q->stats.rx_dropped;
        out->tx_dropped += q->stats.tx_dropped;
        out->rx_errors += q->stats.rx_errors;
        out->doorbells += q->stats.doorbells + q->tx_doorbells;
        out->interrupts += q->irq.count;
    }
}

/* --- tear-down -------------------------------------------------------------------------------- */

/* Waits until no bottom half of this CPU is running or pending: being there in thread context,
 * outside of any, means that none is half done, and bh_enable runs the rest. */
static void quiesce_cpu(int cpu)
{
    struct thread *self = thread_current();
    cpumask_t before = self->affinity;

    thread_set_affinity(self, (cpumask_t)1 << cpu);
    bh_disable();
    bh_enable();
    thread_set_affinity(self, before);
}

static void stop(struct vnet *net)
{
    net->running = net->negotiated = false;
    virtio_reset(net->dev);
    for (int i = 0; i < net->npairs; i++) {
        struct vnet_pair *q = &net->pairs[i];
        if (q->irq_set)
            virtio_vector_free(net->dev, (uint16_t)(1 + i), &q->irq);
        q->irq_set = false;
    }
    if (net->config_irq_set)
        virtio_vector_free(net->dev, VECTOR_CONFIG, &net->config_irq);
    net->config_irq_set = false;
    for (int i = 0; i < net->npairs; i++)
        quiesce_cpu(net->pairs[i].irq.cpu);
    for (int i = 0; i < net->npairs; i++)
        recheck_stop(&net->pairs[i].recheck);
    for (int i = 0; i < net->npairs; i++) {
        struct vnet_pair *q = &net->pairs[i];
        vnet_tx_drain(q);
        vnet_rx_drain(q);
        virtq_destroy(&q->rx);
    }
    vnet_ctrl_exit(net);
}

static bool drained(struct net_path *path)
{
    struct vnet *net = container_of(path, struct vnet, path);

    for (int i = 0; i < net->npairs; i++)
        if (net->running && !net->pairs[i].tx.broken &&
            (!vnet_tx_empty(&net->pairs[i]) || virtq_pending(&net->pairs[i].rx)))
            return false;
    return true;
}

static void detach(struct net_path *path)
{
    struct vnet *net = container_of(path, struct vnet, path);

    if (net->running)
        stop(net);
}

/* --- set-up ----------------------------------------------------------------------------------- */

/* Every receive descriptor owns a page: all of them together get 1/64 of memory. */
static uint16_t rx_queue_size(const struct vnet *net)
{
    uint16_t size = VNET_QUEUE_SIZE;
    struct mem_stats m;

    mem_stats(&m);
    while (size > VNET_MIN_QUEUE && (uint64_t)size * net->npairs > m.total_pages / 64)
        size /= 2;
    return size;
}

static int pair_init(struct vnet *net, int i)
{
    struct virtio_device *dev = net->dev;
    struct vnet_pair *q = &net->pairs[i];
    uint16_t vector = (uint16_t)(1 + i);
    int err;

    q->net = net;
    q->index = i;
    q->tx_stopped = q->tx_awaited = false;
    spin_init(&q->tx_lock);
    bh_init(&q->bh, pair_poll);
    recheck_init(&q->recheck, pair_look);
    q->irq = (struct irq){.handler = pair_irq, .owner = q, .name = net->path.name, .cpu = i};
    err = virtio_queue(dev, (uint16_t)(2 * i), rx_queue_size(net), vector, &q->rx);
    if (!err)
        err = virtio_queue(dev, (uint16_t)(2 * i + 1), VNET_TX_QUEUE_SIZE, vector, &q->tx);
    if (err)
        return err;
    if (q->tx.size < VNET_MIN_QUEUE)
        return -EINVAL;
    q->tx_hdrs = kmalloc(sizeof(*q->tx_hdrs) * q->tx.size);
    if (!q->tx_hdrs)
        return -ENOMEM;
    virtq_irq_disable(&q->tx);
    err = vnet_rx_fill(q);
    if (!err) /* not before: the device is not trusted to wait until it is told to begin */
        err = virtio_vector(dev, vector, &q->irq, i);
    q->irq_set = !err;
    return err;
}

static int queues_init(struct vnet *net)
{
    struct virtio_device *dev = net->dev;
    int err;

    bh_init(&net->config_bh, config_poll);
    net->config_irq =
        (struct irq){.handler = config_irq, .owner = net, .name = net->path.name, .cpu = 0};
    err = vnet_ctrl_init(net, (uint16_t)(2 * net->max_pairs), VECTOR_CONFIG);
    if (!err)
        err = virtio_vector(dev, VECTOR_CONFIG, &net->config_irq, 0);
    if (err)
        return err;
    net->config_irq_set = true;
    dev->config_vector = VECTOR_CONFIG;
    for (int i = 0; i < net->npairs && !err; i++)
        err = pair_init(net, i);
    return err;
}

static void read_config(struct vnet *net)
{
    struct virtio_device *dev = net->dev;
    uint16_t mtu = MTU_DEFAULT, longest = UINT16_MAX;

    if (!net->mergeable) /* a frame must fit one page */
        longest = PAGE_SIZE - VNET_HDR_LEN - ETH_HEADER;
    if (virtio_has(dev, NET_F_MAC)) {
        virtio_config(dev, CONFIG_MAC, net->path.mac, MAC_LEN);
    } else {
        rand_bytes(net->path.mac, MAC_LEN);
        net->path.mac[0] = (net->path.mac[0] & 0xfe) | 2; /* locally administered, unicast */
    }
    net->max_pairs = 1;
    if (virtio_has(dev, NET_F_MQ) && virtio_has(dev, NET_F_CTRL_VQ))
        virtio_config(dev, CONFIG_MAX_PAIRS, &net->max_pairs, sizeof(net->max_pairs));
    if (net->max_pairs < 1 || net->max_pairs > 0x4000)
        net->max_pairs = 1;
    if (virtio_has(dev, NET_F_MTU))
        virtio_config(dev, CONFIG_MTU, &mtu, sizeof(mtu));
    if (mtu < MTU_MIN)
        mtu = MTU_DEFAULT;
    net->path.mtu = MIN(mtu, longest);
}

static uint32_t path_features(const struct virtio_device *dev)
{
    uint32_t f = PATH_SG;

    if (virtio_has(dev, NET_F_CSUM)) {
        f |= PATH_CSUM;
        f |= virtio_has(dev, NET_F_HOST_TSO4) ? PATH_TSO4 : 0;
        f |= virtio_has(dev, NET_F_HOST_TSO6) ? PATH_TSO6 : 0;
    }
    return f;
}

static int negotiate(struct virtio_device *dev)
{
    uint64_t features = NET_FEATURES;

    if (!(virtio_offered(dev) & NET_F_MRG_RXBUF))
        features &= ~GUEST_GSO; /* 64 KiB frames need mergeable buffers */
    return virtio_negotiate(dev, features);
}

/* The device is negotiated. On an error it is stopped again. */
static int start_queues(struct vnet *net)
{
    int err = queues_init(net);

    if (!err) {
        net->path.link_up = link_is_up(net);
        for (int i = 0; i < net->npairs; i++) /* an early interrupt may have turned them off */
            virtq_irq_enable(&net->pairs[i].rx);
        net->running = true;
        virtio_ready(net->dev);
        for (int i = 0; i < net->npairs; i++)
            virtq_kick(&net->pairs[i].rx);
        if (net->npairs > 1)
            err = vnet_ctrl_pairs(net, (uint16_t)net->npairs);
    }
    if (err) {
        virtio_fail(net->dev);
        stop(net);
    }
    return err;
}

/* A second time the device is told everything anew: it, or who shares its other end, may have
 * forgotten. Not the first time: with the reset QEMU would forget a frame that waits. */
static int start(struct net_path *path)
{
    struct vnet *net = container_of(path, struct vnet, path);
    int err = net->running || net->negotiated ? 0 : negotiate(net->dev);

    if (!err && !net->running) {
        err = start_queues(net);
        if (!err)
            path_link_changed(path, path->link_up);
    }
    return err;
}

static const struct path_ops vnet_ops = {
    .transmit = vnet_transmit,
    .flush = vnet_flush,
    .reclaim = vnet_reclaim,
    .set_mac = vnet_set_mac,
    .set_multicast = vnet_set_multicast,
    .drained = drained,
    .stats = stats,
    .start = start,
    .detach = detach,
};

static int vnet_probe(struct virtio_device *dev)
{
    struct vnet *net;
    int err = negotiate(dev);

    if (err)
        return err;
    net = kzalloc(sizeof(*net));
    if (!net)
        return -ENOMEM;
    net->dev = dev;
    net->negotiated = true;
    net->mergeable = virtio_has(dev, NET_F_MRG_RXBUF);
    net->path.ops = &vnet_ops;
    net->path.kind = PATH_DIRECT;
    net->path.features = path_features(dev);
    str_copy(net->path.name, dev->name, sizeof(net->path.name));
    read_config(net);
    net->npairs = MIN(MIN((int)net->max_pairs, cpu_count), MAX((int)dev->vectors - 1, 1));
    net->path.queues = net->npairs;
    net->pairs = kzalloc(sizeof(*net->pairs) * net->npairs);
    if (!net->pairs) {
        kfree(net);
        return -ENOMEM;
    }
    if (!netif_start_later)
        err = start_queues(net);
    if (!err) {
        err = netif_register_path(&net->path);
        if (err)
            detach(&net->path);
    }
    if (err) {
        kfree(net->pairs);
        kfree(net);
        return err;
    }
    dev->data = net;
    klog(LOG_INFO, "%s: %d queue pair(s), MTU %u, features %#llx, link %s", dev->name, net->npairs,
         net->path.mtu, (unsigned long long)dev->features, net->path.link_up ? "up" : "down");
    return 0;
}

static void vnet_remove(struct virtio_device *dev)
{
    struct vnet *net = dev->data;

    if (net->path.netif)
        netif_detach_path(net->path.netif, &net->path);
    detach(&net->path);
    kfree(net->pairs);
    kfree(net);
}

const struct virtio_driver virtio_net_driver = {
    .id = VIRTIO_ID_NET,
    .name = "virtio-net",
    .probe = vnet_probe,
    .remove = vnet_remove,
};
