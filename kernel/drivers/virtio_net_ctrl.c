/* virtio-net control queue (virtio 1.2, 5.1.6.5): one command at a time, each waited for. */
#include "core/timer.h"
#include "drivers/virtio_net.h"

#define CTRL_RX 0
#define CTRL_RX_PROMISC 0
#define CTRL_RX_ALLMULTI 1
#define CTRL_MAC 1
#define CTRL_MAC_TABLE_SET 0
#define CTRL_MAC_ADDR_SET 1
#define CTRL_MQ 4
#define CTRL_MQ_VQ_PAIRS_SET 0
#define CTRL_OK 0

#define CTRL_TIMEOUT (2 * NSEC_PER_SEC)
#define CTRL_MAX_MACS 64

struct vnet_ctrl {
    uint8_t class, command;
    uint8_t ack;
    uint8_t data[2 * sizeof(uint32_t) + CTRL_MAX_MACS * MAC_LEN];
};

/* Sends the command with n bytes of ctrl_buf->data. Under ctrl_lock. */
static int command(struct vnet *net, uint8_t class, uint8_t cmd, uint32_t n)
{
    struct vnet_ctrl *c = net->ctrl_buf;
    nsec_t deadline = time_now() + CTRL_TIMEOUT;
    const struct virtq_seg segs[] = {{&c->class, 2}, {c->data, n}, {&c->ack, 1}};
    uint32_t len;
    int head;

    if (!c || net->ctrl.broken)
        return -EIO;
    c->class = class;
    c->command = cmd;
    c->ack = 0xff;
    if (!virtq_add(&net->ctrl, segs, 2, 1, c))
        return -EIO;
    virtq_irq_enable(&net->ctrl);
    virtq_kick(&net->ctrl);
    wait_event_full(&net->ctrl_wait, virtq_pending(&net->ctrl) || net->ctrl.broken,
                    WAIT_UNINTERRUPTIBLE, deadline, false);
    head = virtq_pop(&net->ctrl, &len);
    if (head < 0) {
        /* The device still owns the buffer: the queue cannot be used any more. */
        virtq_break(&net->ctrl, "no answer to a command");
        return -EIO;
    }
    virtq_free(&net->ctrl, (unsigned)head);
    return READ_ONCE(c->ack) == CTRL_OK ? 0 : -EIO;
}

static int rx_mode(struct vnet *net, uint8_t cmd, bool on)
{
    net->ctrl_buf->data[0] = on;
    return command(net, CTRL_RX, cmd, 1);
}

int vnet_ctrl_init(struct vnet *net, uint16_t queue, uint16_t vector)
{
    int err;

    mutex_init(&net->ctrl_lock);
    wait_queue_init(&net->ctrl_wait);
    net->promiscuous = true; /* what a device does until it is told otherwise */
    if (!virtio_has(net->dev, NET_F_CTRL_VQ))
        return 0;
    net->ctrl_buf = kzalloc(sizeof(*net->ctrl_buf));
    if (!net->ctrl_buf)
        return -ENOMEM;
    err = virtio_queue(net->dev, queue, 16, vector, &net->ctrl);
    if (err) {
        kfree(net->ctrl_buf);
        net->ctrl_buf = NULL;
    }
    return err;
}

void vnet_ctrl_exit(struct vnet *net)
{
    virtq_destroy(&net->ctrl);
    kfree(net->ctrl_buf);
    net->ctrl_buf = NULL;
}

int vnet_ctrl_pairs(struct vnet *net, uint16_t pairs)
{
    int err;

    mutex_lock(&net->ctrl_lock);
    memcpy(net->ctrl_buf->data, &pairs, sizeof(pairs));
    err = command(net, CTRL_MQ, CTRL_MQ_VQ_PAIRS_SET, sizeof(pairs));
    mutex_unlock(&net->ctrl_lock);
    return err;
}

int vnet_set_mac(struct net_path *path, const uint8_t mac[MAC_LEN])
{
    struct vnet *net = container_of(path, struct vnet, path);
    int err;

    if (!virtio_has(net->dev, NET_F_CTRL_MAC_ADDR))
        return memcmp(mac, path->mac, MAC_LEN) ? -EOPNOTSUPP : 0;
    mutex_lock(&net->ctrl_lock);
    if (net->ctrl_buf)
        memcpy(net->ctrl_buf->data, mac, MAC_LEN);
    err = command(net, CTRL_MAC, CTRL_MAC_ADDR_SET, MAC_LEN);
    if (!err)
        memcpy(path->mac, mac, MAC_LEN);
    mutex_unlock(&net->ctrl_lock);
    return err;
}

/* The filter table is one unicast list (empty: the device's own address always passes) and one
 * multicast list, each with its count in front. */
static int set_table(struct vnet *net, const uint8_t (*macs)[MAC_LEN], uint32_t n)
{
    uint8_t *data = net->ctrl_buf->data;
    uint32_t none = 0;

    memcpy(data, &none, sizeof(none));
    memcpy(data + sizeof(none), &n, sizeof(n));
    memcpy(data + sizeof(none) + sizeof(n), macs, (size_t)n * MAC_LEN);
    return command(net, CTRL_MAC, CTRL_MAC_TABLE_SET, sizeof(none) + sizeof(n) + n * MAC_LEN);
}

int vnet_set_multicast(struct net_path *path, const uint8_t (*macs)[MAC_LEN], int n)
{
    struct vnet *net = container_of(path, struct vnet, path);
    int err;

    if (!virtio_has(net->dev, NET_F_CTRL_RX) || !net->ctrl_buf)
        return 0; /* such a device filters nothing */
    mutex_lock(&net->ctrl_lock);
    if (n < 0)
        err = 0;
    else if (n <= CTRL_MAX_MACS)
        err = set_table(net, macs, (uint32_t)n);
    else
        err = rx_mode(net, CTRL_RX_ALLMULTI, true);
    if (!err && net->promiscuous != (n < 0)) {
        err = rx_mode(net, CTRL_RX_PROMISC, n < 0);
        if (!err)
            net->promiscuous = n < 0;
    }
    mutex_unlock(&net->ctrl_lock);
    return err;
}
