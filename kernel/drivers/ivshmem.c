/*
 * ivshmem-doorbell: BAR 0 has the registers, BAR 1 the MSI-X table, BAR 2 is the shared memory. A
 * write of (peer << 16 | vector) to the doorbell sends that vector to that peer, whatever the peer
 * is.
 *
 * Its use follows from the peer id, which the supervisor chose and no other domain can change: with
 * the role of an application, the memory is a channel to the network server and becomes a path;
 * with the role of a server, it is that server's table or its end of a channel.
 */
#include "drivers/ivshmem.h"

#include "abi/net_table.h"
#include "core/thread.h"

#define VENDOR_REDHAT 0x1af4
#define DEVICE_IVSHMEM 0x1110

#define REG_POSITION (8 / 4)
#define REG_DOORBELL (12 / 4)
#define REGS_SIZE 256

static void ring(struct channel_device *dev, uint32_t peer, unsigned vector)
{
    struct ivshmem *s = container_of(dev, struct ivshmem, dev);

    mmio_write32(s->regs + REG_DOORBELL, (peer & 0xffff) << 16 | (vector & 0xffff));
}

/* A server's end of a channel, whose vectors are all set. */
static void mask(struct channel_device *dev, bool on)
{
    struct ivshmem *s = container_of(dev, struct ivshmem, dev);

    for (unsigned i = 0; i < dev->vectors; i++)
        pci_msix_mask(s->pci, i, on);
}

static void interrupt(struct irq *irq)
{
    struct ivshmem_vector *v = irq->owner;

    v->owner->rung(v->owner, v->index);
}

/* Vector i comes on CPU i % cpu_count, as channel_path_interrupt wants it. */
static int vectors_set(struct ivshmem *s, unsigned n, const char *name)
{
    s->vectors = kzalloc(sizeof(*s->vectors) * n);
    if (!s->vectors)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        struct ivshmem_vector *v = &s->vectors[i];
        v->owner = s;
        v->index = i;
        v->irq = (struct irq){.handler = interrupt, .owner = v, .name = name};
        int err = pci_msix_set(s->pci, i, &v->irq, (int)(i % (unsigned)cpu_count));
        if (err)
            return err;
        s->nvectors++;
    }
    return 0;
}

static void release(struct ivshmem *s)
{
    pci_msix_disable(s->pci);
    for (unsigned i = 0; i < s->nvectors; i++)
        pci_msix_clear(s->pci, i, &s->vectors[i].irq);
    if (s->path)
        channel_path_destroy(s->path);
    kfree(s->vectors);
    kfree(s);
}

static void path_rung(struct ivshmem *s, unsigned vector)
{
    channel_path_interrupt(s->path, vector);
}

static void slot_rung(struct ivshmem *s, unsigned vector)
{
    if (s->slot) /* known by now */
        net_server_channel_rung(s->slot, vector);
}

static void table_rung(struct ivshmem *s, unsigned vector)
{
    (void)s, (void)vector;
    net_server_table_rung();
}

/* The application's end of a channel becomes a path of an interface. */
static int start_path(struct ivshmem *s)
{
    char name[sizeof(s->path->path.name)];

    snprintf(name, sizeof(name), "channel %s", s->pci->name);
    struct channel_path *cp = channel_path_create(&s->dev, name);
    if (IS_ERR(cp))
        return (int)PTR_ERR(cp);
    s->path = cp;
    s->rung = path_rung;
    int err = vectors_set(s, (unsigned)cp->nqueues, cp->path.name);
    if (!err)
        err = netif_register_path(&cp->path);
    if (err)
        return err;
    channel_path_start(cp);
    klog(LOG_INFO, "%s: %d queue pair(s), MTU %u, %llu KiB, server %s", name, cp->nqueues,
         cp->path.mtu, (unsigned long long)(s->dev.size >> 10), cp->path.link_up ? "up" : "down");
    return 0;
}

/* The server's end: its table, or a channel of the pool. */
static int start_server(struct ivshmem *s)
{
    if (CHANNEL_PEER_SLOT(s->dev.id) == NET_TABLE_SLOT) {
        s->rung = table_rung;
        int err = vectors_set(s, 1, "table");
        return err ? err : net_server_add_table(&s->dev);
    }
    s->rung = slot_rung;
    /* A CPU has less than 256 interrupts: one for all queue pairs of a channel makes them do. */
    int err = vectors_set(s, 1, "channel");
    for (unsigned i = 1; i < s->dev.vectors && !err; i++)
        pci_msix_share(s->pci, i, &s->vectors[0].irq);
    s->dev.mask = mask;
    struct server_slot *slot = err ? ERR_PTR(err) : net_server_add_channel(&s->dev);
    if (IS_ERR(slot))
        return (int)PTR_ERR(slot);
    WRITE_ONCE(s->slot, slot);
    return 0;
}

static int ivshmem_probe(struct pci_device *pci)
{
    struct ivshmem *s = kzalloc(sizeof(*s));
    int n;

    if (!s)
        return -ENOMEM;
    s->pci = pci;
    s->regs = pci_map(pci, 0, 0, REGS_SIZE);
    s->dev.mem = pci_map_memory(pci, 2);
    s->dev.paddr = pci->bars[2].addr;
    s->dev.size = pci->bars[2].size;
    s->dev.ring = ring;
    n = s->regs && s->dev.mem ? pci_msix_enable(pci) : -ENODEV;
    if (n < 0) {
        kfree(s);
        return n; /* ivshmem-plain has no vectors: not for us */
    }
    s->dev.vectors = (unsigned)n;
    s->dev.id = mmio_read32(s->regs + REG_POSITION);
    int err = CHANNEL_PEER_ROLE(s->dev.id) == CHANNEL_APP ? start_path(s) : start_server(s);
    if (err) {
        klog(LOG_ERROR, "ivshmem %s: peer %u is no channel we can use (error %d)", pci->name,
             s->dev.id, -err);
        release(s);
        return err;
    }
    pci->data = s;
    return 0;
}

static void ivshmem_remove(struct pci_device *pci)
{
    struct ivshmem *s = pci->data;

    if (!s->path) { /* the server's devices are never unplugged (abi/net_table.h) */
        klog(LOG_ERROR, "ivshmem %s: pulled out of a network server", pci->name);
        return;
    }
    netif_detach_path(s->path->path.netif, &s->path->path);
    release(s);
}

/* An application's interface is to be there when its program starts. */
static bool may_wait(const struct pci_device *pci)
{
    (void)pci;
    return net_server_is_enabled();
}

const struct pci_driver ivshmem_driver = {
    .name = "ivshmem",
    .vendor = VENDOR_REDHAT,
    .device_first = DEVICE_IVSHMEM,
    .device_last = DEVICE_IVSHMEM,
    .may_wait = may_wait,
    .probe = ivshmem_probe,
    .remove = ivshmem_remove,
};
