/*
 * QEMU's ivshmem-doorbell (docs/specs/ivshmem-spec.rst, revision 1): shared memory and doorbells,
 * as a device for channels (channel/control.h).
 */
#ifndef DRIVERS_IVSHMEM_H
#define DRIVERS_IVSHMEM_H

#include "channel/path.h"
#include "core/irq.h"
#include "drivers/pci.h"
#include "servers/net_server.h"

struct ivshmem_vector {
    struct ivshmem *owner;
    unsigned index;
    struct irq irq;
};

struct ivshmem {
    struct channel_device dev;
    struct pci_device *pci;
    volatile uint32_t *regs;
    /* What the interrupts are for. */
    void (*rung)(struct ivshmem *s, unsigned vector);
    struct channel_path *path; /* an application's end */
    struct server_slot *slot;  /* a server's end of a channel */
    unsigned nvectors;         /* of vectors[] that are set */
    struct ivshmem_vector *vectors;
};

#endif
