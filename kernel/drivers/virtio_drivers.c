/* The table of virtio device drivers. */
#include "drivers/virtio.h"

static const struct virtio_driver *const drivers[] = {
    &virtio_net_driver,
    &virtio_console_driver,
    &virtio_9p_driver,
};

int virtio_probe(struct virtio_device *dev)
{
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
        if (drivers[i]->id != dev->id)
            continue;
        int err = drivers[i]->probe(dev);
        if (!err)
            dev->driver = drivers[i];
        return err;
    }
    return -ENODEV;
}

void virtio_remove(struct virtio_device *dev)
{
    if (dev->driver)
        dev->driver->remove(dev);
    dev->driver = NULL;
}
