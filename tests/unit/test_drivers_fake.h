/*
 * A fake virtio device for the drivers' tests: the transport the driver sees, and the device's side
 * of its queues, worked by the test. Physical addresses are pointers on the host floor.
 */
#ifndef TEST_DRIVERS_FAKE_H
#define TEST_DRIVERS_FAKE_H

#include "core/lock.h"
#include "core/timer.h"
#include "drivers/virtio.h"
#include "floor.h"

#define FAKE_QUEUES 16
#define FAKE_DOORBELL_IDLE 0xffffu

struct fake_queue {
    struct virtq *vq; /* the driver's; the device uses desc, avail and used only */
    uint16_t doorbell;
    uint16_t vector;
    uint16_t avail_idx, used_idx;
};

struct fake_device {
    struct virtio_device vdev;
    uint64_t offered, accepted;
    uint8_t status;
    uint8_t config[64];
    uint8_t generation;
    uint16_t queue_size;
    bool refuse_features;
    int resets;
    struct irq *irqs[FAKE_QUEUES];
    struct fake_queue queues[FAKE_QUEUES];
    /* Called every 10 us of virtual time while set: answers commands. */
    void (*work)(struct fake_device *dev);
    struct timer timer;
};

static inline struct fake_device *fake_of(struct virtio_device *dev)
{
    return container_of(dev, struct fake_device, vdev);
}

static uint64_t fake_get_features(struct virtio_device *dev)
{
    return fake_of(dev)->offered;
}
static void fake_set_features(struct virtio_device *dev, uint64_t f)
{
    fake_of(dev)->accepted = f;
}
static uint8_t fake_get_status(struct virtio_device *dev)
{
    return fake_of(dev)->status;
}

static void fake_set_status(struct virtio_device *dev, uint8_t status)
{
    struct fake_device *f = fake_of(dev);

    f->status = status;
    if (f->refuse_features)
        f->status &= ~VIRTIO_STATUS_FEATURES_OK;
    if (!status) {
        f->resets++;
        memset(f->queues, 0, sizeof(f->queues));
    }
}

static uint8_t fake_generation(struct virtio_device *dev)
{
    return fake_of(dev)->generation;
}

static void fake_config_read(struct virtio_device *dev, unsigned off, void *buf, unsigned n)
{
    memset(buf, 0, n);
    if (off + n <= sizeof(fake_of(dev)->config))
        memcpy(buf, fake_of(dev)->config + off, n);
}

static void fake_config_write(struct virtio_device *dev, unsigned off, const void *buf, unsigned n)
{
    if (off + n <= sizeof(fake_of(dev)->config))
        memcpy(fake_of(dev)->config + off, buf, n);
}

static uint16_t fake_queue_max(struct virtio_device *dev, uint16_t index)
{
    return index < FAKE_QUEUES ? fake_of(dev)->queue_size : 0;
}

static int fake_queue_enable(struct virtio_device *dev, struct virtq *vq, uint16_t vector)
{
    struct fake_queue *q = &fake_of(dev)->queues[vq->index];

    *q = (struct fake_queue){.vq = vq, .doorbell = FAKE_DOORBELL_IDLE, .vector = vector};
    vq->notify = &q->doorbell;
    return 0;
}

static int fake_vector_set(struct virtio_device *dev, uint16_t i, struct irq *irq, int cpu)
{
    irq->cpu = cpu;
    fake_of(dev)->irqs[i] = irq;
    irq->handler(irq); /* nothing keeps a device from interrupting at once */
    return 0;
}

static void fake_vector_clear(struct virtio_device *dev, uint16_t i, struct irq *irq)
{
    (void)irq;
    fake_of(dev)->irqs[i] = NULL;
}

static const struct virtio_transport fake_transport = {
    .get_features = fake_get_features,
    .set_features = fake_set_features,
    .get_status = fake_get_status,
    .set_status = fake_set_status,
    .config_generation = fake_generation,
    .config_read = fake_config_read,
    .config_write = fake_config_write,
    .queue_max = fake_queue_max,
    .queue_enable = fake_queue_enable,
    .vector_set = fake_vector_set,
    .vector_clear = fake_vector_clear,
};

static void fake_tick(struct timer *t)
{
    struct fake_device *f = container_of(t, struct fake_device, timer);

    if (f->work) {
        f->work(f);
        timer_arm(t, time_now() + 10 * NSEC_PER_USEC);
    }
}

static inline void fake_init(struct fake_device *f, uint16_t id, uint64_t offered)
{
    *f = (struct fake_device){.offered = offered | VIRTIO_F_VERSION_1, .queue_size = 256};
    f->vdev.ops = &fake_transport;
    f->vdev.id = id;
    f->vdev.vectors = FAKE_QUEUES;
    str_copy(f->vdev.name, "fake", sizeof(f->vdev.name));
    timer_init(&f->timer, fake_tick);
}

static inline void fake_start_work(struct fake_device *f, void (*work)(struct fake_device *dev))
{
    f->work = work;
    timer_arm(&f->timer, time_now() + 10 * NSEC_PER_USEC);
}

static inline void fake_stop_work(struct fake_device *f)
{
    f->work = NULL;
    timer_cancel(&f->timer);
}

/* Whether the driver rang since the last call. */
static inline bool fake_rang(struct fake_queue *q)
{
    bool rang = q->doorbell != FAKE_DOORBELL_IDLE;

    q->doorbell = FAKE_DOORBELL_IDLE;
    return rang;
}

static inline uint16_t fake_available(const struct fake_queue *q)
{
    return (uint16_t)(q->vq->avail->idx - q->avail_idx);
}

/* Takes the next chain; its head, or -1. Asks for a doorbell at the next one. */
static inline int fake_take(struct fake_queue *q)
{
    if (!fake_available(q))
        return -1;
    int head = q->vq->avail->ring[q->avail_idx++ & q->vq->mask];
    *(uint16_t *)q->vq->avail_event = q->avail_idx;
    return head;
}

/* Copies up to n bytes of the chain's readable part out; the number. */
static inline uint32_t fake_gather(const struct fake_queue *q, int head, void *buf, uint32_t n)
{
    uint32_t done = 0;

    for (const struct virtq_desc *d = &q->vq->desc[head];; d = &q->vq->desc[d->next]) {
        if (!(d->flags & VIRTQ_DESC_WRITE)) {
            uint32_t part = MIN(n - done, d->len);
            memcpy((char *)buf + done, (void *)(uintptr_t)d->addr, part);
            done += part;
        }
        if (!(d->flags & VIRTQ_DESC_NEXT))
            return done;
    }
}

/* Writes n bytes into the chain's writable part; how many fitted. */
static inline uint32_t fake_scatter(const struct fake_queue *q, int head, const void *buf,
                                    uint32_t n)
{
    uint32_t done = 0;

    for (const struct virtq_desc *d = &q->vq->desc[head];; d = &q->vq->desc[d->next]) {
        if (d->flags & VIRTQ_DESC_WRITE) {
            uint32_t part = MIN(n - done, d->len);
            memcpy((void *)(uintptr_t)d->addr, (const char *)buf + done, part);
            done += part;
        }
        if (!(d->flags & VIRTQ_DESC_NEXT))
            return done;
    }
}

static inline unsigned fake_descriptors(const struct fake_queue *q, int head)
{
    unsigned n = 1;

    for (const struct virtq_desc *d = &q->vq->desc[head]; d->flags & VIRTQ_DESC_NEXT;
         d = &q->vq->desc[d->next])
        n++;
    return n;
}

/* Puts a used element into the ring, without showing it yet. */
static inline void fake_put(struct fake_queue *q, uint32_t id, uint32_t len)
{
    q->vq->used->ring[q->used_idx++ & q->vq->mask] = (struct virtq_used_elem){id, len};
}

/* An interrupt in the middle of anything; bottom halves run when they are next enabled. */
static inline void fake_interrupt(struct irq *irq)
{
    bh_disable();
    irq->count++;
    irq->handler(irq);
    bh_enable();
}

/* Shows what was put; interrupts if the driver asked for it. True if it did. */
static inline bool fake_show(struct fake_device *f, struct fake_queue *q)
{
    uint16_t old = q->vq->used->idx;
    bool wanted;

    q->vq->used->idx = q->used_idx;
    if (f->accepted & VIRTIO_F_EVENT_IDX)
        wanted = virtq_passes(*q->vq->used_event, q->used_idx, old);
    else
        wanted = !(q->vq->avail->flags & VIRTQ_AVAIL_NO_INTERRUPT);
    if (wanted && f->irqs[q->vector])
        fake_interrupt(f->irqs[q->vector]);
    return wanted;
}

static inline bool fake_complete(struct fake_device *f, struct fake_queue *q, uint32_t id,
                                 uint32_t len)
{
    fake_put(q, id, len);
    return fake_show(f, q);
}

#endif
