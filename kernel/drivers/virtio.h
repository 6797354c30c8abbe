/*
 * Virtio devices (virtio 1.2, chapter 3), independent of how they are attached. A transport
 * (virtio_pci.c; a fake one in the unit tests) fills in a struct virtio_device and hands it to
 * virtio_probe; a device driver negotiates features, sets up its queues and goes live:
 *
 *     virtio_negotiate(dev, features)     reset, ACKNOWLEDGE, DRIVER, FEATURES_OK
 *     virtio_queue(dev, i, &vq, ...)      for each queue
 *     virtio_ready(dev)                   DRIVER_OK
 *     ...
 *     virtio_reset(dev)                   the device is silent; drain and destroy the queues
 *
 * Thread context, except where it says otherwise.
 */
#ifndef DRIVERS_VIRTIO_H
#define DRIVERS_VIRTIO_H

#include "drivers/virtq.h"

#define VIRTIO_ID_NET 1
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_9P 9

#define VIRTIO_STATUS_ACKNOWLEDGE 1u
#define VIRTIO_STATUS_DRIVER 2u
#define VIRTIO_STATUS_DRIVER_OK 4u
#define VIRTIO_STATUS_FEATURES_OK 8u
#define VIRTIO_STATUS_NEEDS_RESET 64u
#define VIRTIO_STATUS_FAILED 128u

#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)

#define VIRTIO_NO_VECTOR 0xffffu

struct virtio_device;

struct virtio_transport {
    uint64_t (*get_features)(struct virtio_device *dev);
    void (*set_features)(struct virtio_device *dev, uint64_t features);
    uint8_t (*get_status)(struct virtio_device *dev);
    void (*set_status)(struct virtio_device *dev, uint8_t status); /* 0: reset, waits for it */
    uint8_t (*config_generation)(struct virtio_device *dev);
    /* Device configuration; beyond its end: reads give zero, writes are ignored. */
    void (*config_read)(struct virtio_device *dev, unsigned off, void *buf, unsigned n);
    void (*config_write)(struct virtio_device *dev, unsigned off, const void *buf, unsigned n);
    /* Descriptors the device can take in queue `index`; 0: it has no such queue. */
    uint16_t (*queue_max)(struct virtio_device *dev, uint16_t index);
    /* Tells the device where the rings are and enables the queue; fills in vq->notify. */
    int (*queue_enable)(struct virtio_device *dev, struct virtq *vq, uint16_t vector);
    /* Routes vector i (< dev->vectors) to irq on a CPU. */
    int (*vector_set)(struct virtio_device *dev, uint16_t i, struct irq *irq, int cpu);
    void (*vector_clear)(struct virtio_device *dev, uint16_t i, struct irq *irq);
};

struct virtio_driver;

struct virtio_device {
    const struct virtio_transport *ops;
    uint16_t id;            /* VIRTIO_ID_* */
    uint16_t vectors;       /* interrupt vectors it has */
    uint16_t config_vector; /* set by the driver before virtio_ready, or VIRTIO_NO_VECTOR */
    uint64_t features;      /* negotiated */
    const struct virtio_driver *driver;
    void *data;    /* the driver's */
    char name[24]; /* "virtio-net 01:00.0" */
};

struct virtio_driver {
    uint16_t id;
    const char *name;
    int (*probe)(struct virtio_device *dev);
    void (*remove)(struct virtio_device *dev); /* the device may be gone already */
};

/* For transports: finds the driver and probes; -ENODEV if there is none. */
int virtio_probe(struct virtio_device *dev);
void virtio_remove(struct virtio_device *dev);

static inline bool virtio_has(const struct virtio_device *dev, uint64_t feature)
{
    return dev->features & feature;
}

/* Negotiates what both sides have; VERSION_1 is required. -ENODEV if the device refuses. */
int virtio_negotiate(struct virtio_device *dev, uint64_t features);
/* What the device offers; for drivers whose choice depends on it. */
uint64_t virtio_offered(struct virtio_device *dev);
/* Creates queue `index` with at most max_size descriptors and gives it to the device. -ENOENT if
 * the device has no such queue, -ENOMEM. */
int virtio_queue(struct virtio_device *dev, uint16_t index, uint16_t max_size, uint16_t vector,
                 struct virtq *vq);
/* Takes interrupts of vector i on a CPU; irq->handler, owner and name are filled in. -ENOSPC. */
int virtio_vector(struct virtio_device *dev, uint16_t i, struct irq *irq, int cpu);
void virtio_vector_free(struct virtio_device *dev, uint16_t i, struct irq *irq);
void virtio_ready(struct virtio_device *dev);
/* Resets the device: it accesses no memory and sends no interrupt afterwards. */
void virtio_reset(struct virtio_device *dev);
/* Marks the device as given up (status FAILED) after a failed probe, and resets it. */
void virtio_fail(struct virtio_device *dev);
/* Reads n bytes of configuration that were all valid at one time (2.5.1). */
void virtio_config(struct virtio_device *dev, unsigned off, void *buf, unsigned n);

extern const struct virtio_driver virtio_net_driver, virtio_console_driver, virtio_9p_driver;

#endif
