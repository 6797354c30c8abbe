/* Virtio devices: initialisation (virtio 1.2, 3.1) and tear-down for any transport. */
#include "drivers/virtio.h"

uint64_t virtio_offered(struct virtio_device *dev)
{
    return dev->ops->get_features(dev);
}

int virtio_negotiate(struct virtio_device *dev, uint64_t features)
{
    const uint8_t driver = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
    uint64_t offered;

    dev->config_vector = VIRTIO_NO_VECTOR;
    dev->ops->set_status(dev, 0);
    dev->ops->set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE);
    dev->ops->set_status(dev, driver);
    offered = dev->ops->get_features(dev);
    dev->features = offered & (features | VIRTIO_F_VERSION_1);
    if (!virtio_has(dev, VIRTIO_F_VERSION_1)) {
        klog(LOG_ERROR, "%s: not a virtio 1.x device", dev->name);
        virtio_fail(dev);
        return -ENODEV;
    }
    dev->ops->set_features(dev, dev->features);
    dev->ops->set_status(dev, driver | VIRTIO_STATUS_FEATURES_OK);
    if (!(dev->ops->get_status(dev) & VIRTIO_STATUS_FEATURES_OK)) {
        klog(LOG_ERROR, "%s: the device refused features %#llx", dev->name,
             (unsigned long long)dev->features);
        virtio_fail(dev);
        return -ENODEV;
    }
    return 0;
}

int virtio_queue(struct virtio_device *dev, uint16_t index, uint16_t max_size, uint16_t vector,
                 struct virtq *vq)
{
    uint16_t size = MIN(dev->ops->queue_max(dev, index), MIN(max_size, VIRTQ_MAX_SIZE));
    int err;

    if (!size)
        return -ENOENT;
    while (size & (size - 1)) /* split rings are a power of two long (2.7) */
        size &= size - 1;
    err = virtq_create(vq, index, size, virtio_has(dev, VIRTIO_F_EVENT_IDX), dev->name);
    if (err)
        return err;
    err = dev->ops->queue_enable(dev, vq, vector);
    if (err)
        virtq_destroy(vq);
    return err;
}

int virtio_vector(struct virtio_device *dev, uint16_t i, struct irq *irq, int cpu)
{
    if (i >= dev->vectors)
        return -ENOSPC;
    return dev->ops->vector_set(dev, i, irq, cpu);
}

void virtio_vector_free(struct virtio_device *dev, uint16_t i, struct irq *irq)
{
    dev->ops->vector_clear(dev, i, irq);
}

void virtio_ready(struct virtio_device *dev)
{
    dev->ops->set_status(dev, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER |
                                  VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
}

void virtio_reset(struct virtio_device *dev)
{
    dev->ops->set_status(dev, 0);
}

void virtio_fail(struct virtio_device *dev)
{
    dev->ops->set_status(dev, VIRTIO_STATUS_FAILED);
    dev->ops->set_status(dev, 0);
}

void virtio_config(struct virtio_device *dev, unsigned off, void *buf, unsigned n)
{
    uint8_t before, after = dev->ops->config_generation(dev);
    int tries = 10; /* a device that changes it all the time gets what it deserves */

    do {
        before = after;
        dev->ops->config_read(dev, off, buf, n);
        after = dev->ops->config_generation(dev);
    } while (after != before && --tries);
}
