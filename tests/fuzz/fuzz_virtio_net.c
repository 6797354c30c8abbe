/*
 * A hostile virtio-net device. The input is a program of what the device does: which buffers it
 * says it has used, with which ids, lengths and contents; mixed with transmits. Nothing it does may
 * corrupt the driver's memory, leak it, or make a bottom half run for ever.
 */
#include <stdlib.h>

#include "../unit/test_drivers_fake.h"
#include "drivers/virtio_net.h"

static struct net_path *path;

bool netif_start_later;

int netif_register_path(struct net_path *p)
{
    path = p;
    return 0;
}

void netif_detach_path(struct netif *n, struct net_path *p)
{
    (void)n;
    p->ops->detach(p);
}

void path_receive(struct net_path *p, struct pkt *list)
{
    (void)p;
    while (list) {
        struct pkt *next = list->next;
        uint32_t sum = 0, len = list->linear;
        for (unsigned i = 0; i < list->nfrags; i++)
            len += list->frags[i].len;
        ASSERT(len == list->len);
        sum = pkt_csum(list, 0, list->len, sum); /* reads every byte */
        (void)sum;
        pkt_free(list);
        list = next;
    }
}

void path_tx_ready(struct net_path *p, int queue)
{
    (void)p, (void)queue;
}
void path_link_changed(struct net_path *p, bool up)
{
    p->link_up = up;
}

struct input {
    const uint8_t *at, *end;
};

static uint32_t take(struct input *in, unsigned n)
{
    uint32_t v = 0;

    while (n-- && in->at < in->end)
        v = v << 8 | *in->at++;
    return v;
}

/* Fills the start of the buffer the device owns with input. */
static void write_buffer(struct fake_queue *q, int head, struct input *in)
{
    uint32_t n = MIN(take(in, 1), (uint32_t)(in->end - in->at));

    fake_scatter(q, head, in->at, n);
    in->at += n;
}

static void transmit(struct input *in)
{
    struct pkt *p = pkt_alloc(take(in, 1) % 2 ? PKT_HEADROOM : 0);

    pkt_append(p, "some payload", 12);
    for (uint32_t n = take(in, 1) % PKT_MAX_FRAGS; n; n--)
        pkt_append_page(p, page_alloc(0, PAGE_ZERO), 0, 100);
    bh_disable();
    if (!path->ops->transmit(path, 0, p))
        pkt_free(p);
    path->ops->flush(path, 0);
    bh_enable();
}

static void step(struct fake_device *dev, struct input *in)
{
    uint8_t op = (uint8_t)take(in, 1);
    struct fake_queue *q = &dev->queues[op >> 7];
    int head;

    switch (op & 7) {
    case 0: /* use the next buffer as it should be, with any length */
    case 1:
        if ((head = fake_take(q)) >= 0) {
            write_buffer(q, head, in);
            fake_complete(dev, q, (uint32_t)head, take(in, 2));
        }
        break;
    case 2: /* use one and do not show it yet: merged frames */
        if ((head = fake_take(q)) >= 0) {
            write_buffer(q, head, in);
            fake_put(q, (uint32_t)head, take(in, 2));
        }
        break;
    case 3: /* any id */
        fake_complete(dev, q, take(in, 1), take(in, 4));
        break;
    case 4:
        floor_fail_alloc(0);
        transmit(in);
        break;
    case 5: /* any index */
        q->used_idx = (uint16_t)take(in, 2);
        fake_show(dev, q);
        break;
    case 6: /* an interrupt for nothing */
        fake_interrupt(dev->irqs[take(in, 1) % 2]);
        break;
    default: /* no memory for a while */
        floor_fail_alloc(take(in, 1));
    }
    floor_run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct fake_device dev;
    size_t before;

    pkt_init();
    before = floor_pages_in_use();
    fake_init(&dev, VIRTIO_ID_NET,
              NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_HOST_TSO4 |
                  (take(&in, 1) % 4 ? NET_F_MRG_RXBUF | VIRTIO_F_EVENT_IDX : 0));
    dev.queue_size = 32;
    if (virtio_net_driver.probe(&dev.vdev))
        abort();
    while (in.at < in.end)
        step(&dev, &in);
    floor_fail_alloc(0);
    virtio_net_driver.remove(&dev.vdev);
    floor_run();
    if (floor_pages_in_use() != before)
        abort();
    return 0;
}
