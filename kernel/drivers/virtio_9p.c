/*
 * virtio-9p (virtio 1.2, 5.10 is reserved for it; the layout is the one QEMU and Linux share): a
 * transport of 9P messages for fs/9p.h. The configuration holds the mount tag. A request is one
 * chain: the message, then the room for its reply. Callers sleep; their requests may be answered in
 * any order.
 */
#include "core/lock.h"
#include "core/mem.h"
#include "core/wait.h"
#include "drivers/virtio.h"
#include "fs/9p.h"

#define P9_F_MOUNT_TAG 1ull
#define CONFIG_TAG_LEN 0
#define CONFIG_TAG 2

#define MAX_MESSAGE (128u * 1024)
#define MAX_SEGMENTS 40 /* a message of 128 KiB in pages, its headers, and some to spare */
#define MIN_SEGMENTS 4  /* what fs/9p.h promises */

struct p9_request {
    bool done;
    uint32_t len; /* of the reply, as the device says */
    uint32_t room;
};

struct p9_device {
    struct p9_transport transport;
    struct virtio_device *dev; /* NULL: gone */
    struct virtq vq;
    spinlock_t lock; /* vq; thread context only */
    struct irq irq;
    struct wait_queue changed; /* a reply arrived, or the device is gone */
};

/* Marks the requests that were answered; true if there were any. Under the lock. */
static bool collect(struct p9_device *d)
{
    bool some = false;
    uint32_t len;
    int head;

    do {
        while ((head = virtq_pop(&d->vq, &len)) >= 0) {
            struct p9_request *r = d->vq.slots[head].cookie;
            virtq_free(&d->vq, (unsigned)head);
            r->len = len;
            WRITE_ONCE(r->done, true);
            some = true;
        }
    } while (virtq_irq_enable(&d->vq));
    return some;
}

static bool alive(const struct p9_device *d)
{
    return d->dev && !d->vq.broken;
}

/* Puts the request into the queue if there is room: 1, 0, or -EIO. Wakes the others if it finds
 * their answers, and nobody if not: the caller itself may be on the wait queue. */
static int submit(struct p9_device *d, const struct virtq_seg *segs, unsigned ntx, unsigned nrx,
                  struct p9_request *r)
{
    int result = -EIO;
    bool others = false;

    spin_lock(&d->lock);
    if (alive(d)) {
        others = collect(d);
        result = virtq_add(&d->vq, segs, ntx, nrx, r);
        if (result)
            virtq_kick(&d->vq);
    }
    spin_unlock(&d->lock);
    if (others)
        wake_up(&d->changed);
    return result;
}

static bool answered(struct p9_device *d, struct p9_request *r)
{
    bool others;

    if (READ_ONCE(r->done))
        return true;
    spin_lock(&d->lock);
    others = alive(d) && collect(d);
    bool end = r->done || !alive(d);
    spin_unlock(&d->lock);
    if (others)
        wake_up(&d->changed);
    return end;
}

static ssize_t p9_rpc(struct p9_transport *t, const struct iovec_k *tx, unsigned ntx,
                      const struct iovec_k *rx, unsigned nrx)
{
    struct p9_device *d = container_of(t, struct p9_device, transport);
    struct virtq_seg segs[MAX_SEGMENTS];
    struct p9_request r = {0};
    int queued = 0;

    if (ntx + nrx > t->max_segments)
        return -EINVAL;
    for (unsigned i = 0; i < ntx + nrx; i++) {
        const struct iovec_k *v = i < ntx ? &tx[i] : &rx[i - ntx];
        segs[i] = (struct virtq_seg){(void *)(uintptr_t)v->base, (uint32_t)v->len};
        r.room += i < ntx ? 0 : (uint32_t)v->len;
    }
    wait_event(&d->changed, (queued = submit(d, segs, ntx, nrx, &r)) != 0);
    if (queued < 0)
        return queued;
    wait_event(&d->changed, answered(d, &r));
    if (!r.done)
        return -EIO;
    return r.len <= r.room ? (ssize_t)r.len : -EIO;
}

static void p9_irq(struct irq *irq)
{
    struct p9_device *d = irq->owner;

    wake_up(&d->changed);
}

static int read_tag(struct virtio_device *dev, char *tag, size_t size)
{
    uint16_t len = 0;

    if (!virtio_has(dev, P9_F_MOUNT_TAG))
        return -ENODEV;
    virtio_config(dev, CONFIG_TAG_LEN, &len, sizeof(len));
    if (!len || len >= size)
        return -EINVAL;
    virtio_config(dev, CONFIG_TAG, tag, len);
    tag[len] = '\0';
    return 0;
}

static int p9_probe(struct virtio_device *dev)
{
    struct p9_device *d;
    int err = virtio_negotiate(dev, VIRTIO_F_EVENT_IDX | P9_F_MOUNT_TAG);

    if (err)
        return err;
    d = kzalloc(sizeof(*d));
    if (!d)
        return -ENOMEM;
    d->dev = dev;
    spin_init(&d->lock);
    wait_queue_init(&d->changed);
    d->transport.max_message = MAX_MESSAGE;
    d->transport.rpc = p9_rpc;
    d->irq = (struct irq){.handler = p9_irq, .owner = d, .name = dev->name};
    err = read_tag(dev, d->transport.tag, sizeof(d->transport.tag));
    if (!err)
        err = virtio_vector(dev, 0, &d->irq, 0);
    if (!err) {
        err = virtio_queue(dev, 0, 128, 0, &d->vq);
        /* A chain longer than the queue would wait for room for ever. */
        d->transport.max_segments = MIN(MAX_SEGMENTS, d->vq.size);
        if (!err && d->vq.size < MIN_SEGMENTS)
            err = -EINVAL;
        if (err)
            virtio_vector_free(dev, 0, &d->irq);
    }
    if (err) {
        virtio_fail(dev);
        virtq_destroy(&d->vq);
        kfree(d);
        return err;
    }
    dev->data = d;
    virtio_ready(dev);
    virtq_irq_enable(&d->vq);
    p9_transport_register(&d->transport);
    klog(LOG_INFO, "%s: 9p mount tag \"%s\"", dev->name, d->transport.tag);
    return 0;
}

/* The transport stays registered for whoever has it mounted; its calls fail from now on. */
static void p9_remove(struct virtio_device *dev)
{
    struct p9_device *d = dev->data;

    virtio_reset(dev);
    virtio_vector_free(dev, 0, &d->irq);
    spin_lock(&d->lock);
    d->dev = NULL;
    while (virtq_drain(&d->vq))
        ; /* the requests are on their callers' stacks */
    virtq_destroy(&d->vq);
    spin_unlock(&d->lock);
    wake_up(&d->changed);
}

const struct virtio_driver virtio_9p_driver = {
    .id = VIRTIO_ID_9P,
    .name = "virtio-9p",
    .probe = p9_probe,
    .remove = p9_remove,
};
