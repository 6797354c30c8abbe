/*
 * Byte-stream ports of virtio-serial devices (virtio 1.2, 5.3), as the control channel and tests
 * use them. A port is a reliable byte stream each way with back-pressure: nothing is dropped; what
 * does not fit is not accepted.
 *
 * Reads and writes never block; the wait queues tell when to try again:
 *
 *     wait_event(&port->readable, char_port_can_read(port));
 *     n = char_port_read(port, buf, size);
 *
 * All functions: thread context. One reader and one writer at a time may use a port (they may be
 * different threads).
 */
#ifndef DRIVERS_CONSOLE_H
#define DRIVERS_CONSOLE_H

#include "core/wait.h"

struct char_port {
    const struct char_port_ops *ops;
    struct wait_queue readable; /* there is something to read, or the port is gone */
    struct wait_queue writable; /* there is room, the other side connected, or the port is gone */
};

struct char_port_ops {
    ssize_t (*read_some)(struct char_port *port, void *buf, size_t n);
    ssize_t (*write_some)(struct char_port *port, const void *buf, size_t n);
    bool (*can_read)(struct char_port *port);
    bool (*can_write)(struct char_port *port);
    bool (*all_sent)(struct char_port *port);
};

/* Port `number` of the first virtio-serial device that has it: 1 for the supervisor's
 * virtserialport, 0 for a device without the MULTIPORT feature. NULL if there is none. The caller
 * may keep the pointer for good: a port is never freed, it fails with -EIO once its device is gone.
 */
struct char_port *char_port_find(int number);

/* Up to n bytes that have arrived: their number, 0 if there are none now, -EIO if the device is
 * gone or broken. */
static inline ssize_t char_port_read(struct char_port *port, void *buf, size_t n)
{
    return port->ops->read_some(port, buf, n);
}

/* Queues up to n bytes (copied): the number taken, 0 if there is no room now or nobody is connected
 * on the host's side, -EIO if the device is gone or broken. 64 KiB in one call cost one descriptor.
 */
static inline ssize_t char_port_write(struct char_port *port, const void *buf, size_t n)
{
    return port->ops->write_some(port, buf, n);
}

/* Whether read/write would return something other than 0. */
static inline bool char_port_can_read(struct char_port *port)
{
    return port->ops->can_read(port);
}
static inline bool char_port_can_write(struct char_port *port)
{
    return port->ops->can_write(port);
}

/* Whether the host has taken all that was written (or the device is gone). `writable` tells of the
 * change. */
static inline bool char_port_all_sent(struct char_port *port)
{
    return port->ops->all_sent(port);
}

#endif
