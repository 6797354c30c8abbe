/*
 * Virtio over PCI, modern devices only (virtio 1.2, 4.1). The register blocks are found through
 * vendor capabilities; each must lie inside a memory BAR and be long enough, else the device is
 * refused.
 */
#include "core/thread.h"
#include "core/timer.h"
#include "drivers/pci.h"
#include "drivers/virtio.h"

/* struct virtio_pci_cap, 4.1.4 */
#define CAP_LEN 2
#define CAP_CFG_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_NOTIFY_MULTIPLIER 16

enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_ISR = 3, CFG_DEVICE = 4 };

/* struct virtio_pci_common_cfg, 4.1.4.3 */
#define COMMON_DEVICE_FEATURE_SELECT 0
#define COMMON_DEVICE_FEATURE 4
#define COMMON_DRIVER_FEATURE_SELECT 8
#define COMMON_DRIVER_FEATURE 12
#define COMMON_CONFIG_VECTOR 16
#define COMMON_DEVICE_STATUS 20
#define COMMON_CONFIG_GENERATION 21
#define COMMON_QUEUE_SELECT 22
#define COMMON_QUEUE_SIZE 24
#define COMMON_QUEUE_VECTOR 26
#define COMMON_QUEUE_ENABLE 28
#define COMMON_QUEUE_NOTIFY_OFF 30
#define COMMON_QUEUE_DESC 32
#define COMMON_QUEUE_DRIVER 40
#define COMMON_QUEUE_DEVICE 48
#define COMMON_SIZE 56

/* PCI device ids (4.1.2): modern devices have their virtio id added; transitional ones, which have
 * the modern interface too, tell it as subsystem id. */
#define TRANSITIONAL_ID_BASE 0x1000
#define MODERN_ID_BASE 0x1040

#define MAX_BLOCKS 16 /* capabilities looked at */
#define RESET_TIMEOUT (1 * NSEC_PER_SEC)

struct virtio_pci {
    struct virtio_device vdev;
    struct pci_device *pci;
    char *common, *notify, *config;
    uint32_t notify_len, notify_multiplier, config_len;
};

static struct virtio_pci *to_pci(struct virtio_device *dev)
{
    return container_of(dev, struct virtio_pci, vdev);
}

static uint64_t get_features(struct virtio_device *dev)
{
    char *c = to_pci(dev)->common;

    mmio_write32(c + COMMON_DEVICE_FEATURE_SELECT, 0);
    uint64_t low = mmio_read32(c + COMMON_DEVICE_FEATURE);
    mmio_write32(c + COMMON_DEVICE_FEATURE_SELECT, 1);
    return low | (uint64_t)mmio_read32(c + COMMON_DEVICE_FEATURE) << 32;
}

static void set_features(struct virtio_device *dev, uint64_t features)
{
    char *c = to_pci(dev)->common;

    for (unsigned i = 0; i < 2; i++) {
        mmio_write32(c + COMMON_DRIVER_FEATURE_SELECT, i);
        mmio_write32(c + COMMON_DRIVER_FEATURE, (uint32_t)(features >> 32 * i));
    }
}

static uint8_t get_status(struct virtio_device *dev)
{
    return mmio_read8(to_pci(dev)->common + COMMON_DEVICE_STATUS);
}

static void set_status(struct virtio_device *dev, uint8_t status)
{
    struct pci_device *pci = to_pci(dev)->pci;
    char *c = to_pci(dev)->common;

    mmio_write8(c + COMMON_DEVICE_STATUS, status);
    if (status) {
        if (status & VIRTIO_STATUS_DRIVER_OK && dev->config_vector != VIRTIO_NO_VECTOR)
            mmio_write16(c + COMMON_CONFIG_VECTOR, dev->config_vector);
        return;
    }
    /* A reset is done when the status reads 0 (4.1.4.3.2); all ones: the device is gone. */
    nsec_t deadline = 0;
    for (;;) {
        uint8_t now = get_status(dev);
        if (now == 0 || now == 0xff)
            return;
        if (!deadline)
            deadline = time_now() + RESET_TIMEOUT;
        if (time_now() > deadline) {
            klog(LOG_ERROR, "%s: does not reset", dev->name);
            /* The memory it was given is freed next: it must not reach it any more. */
            pci_write(pci, PCI_COMMAND, 2, pci_read16(pci, PCI_COMMAND) & ~PCI_COMMAND_MASTER);
            return;
        }
        thread_yield();
    }
}

static uint8_t config_generation(struct virtio_device *dev)
{
    return mmio_read8(to_pci(dev)->common + COMMON_CONFIG_GENERATION);
}

static void config_read(struct virtio_device *dev, unsigned off, void *buf, unsigned n)
{
    struct virtio_pci *vp = to_pci(dev);
    uint8_t *out = buf;

    while (n) {
        unsigned step = n >= 4 && !(off & 3) ? 4 : n >= 2 && !(off & 1) ? 2 : 1;
        uint32_t v = 0;
        if (off + step <= vp->config_len) {
            char *at = vp->config + off;
            v = step == 4 ? mmio_read32(at) : step == 2 ? mmio_read16(at) : mmio_read8(at);
        }
        memcpy(out, &v, step);
        out += step;
        off += step;
        n -= step;
    }
}

static void config_write(struct virtio_device *dev, unsigned off, const void *buf, unsigned n)
{
    struct virtio_pci *vp = to_pci(dev);

    for (unsigned i = 0; i < n && off + i < vp->config_len; i++)
        mmio_write8(vp->config + off + i, ((const uint8_t *)buf)[i]);
}

static uint16_t queue_max(struct virtio_device *dev, uint16_t index)
{
    char *c = to_pci(dev)->common;

    mmio_write16(c + COMMON_QUEUE_SELECT, index);
    return mmio_read16(c + COMMON_QUEUE_SIZE);
}

/* 64-bit registers are written as two halves (4.1.3.1). */
static void write_address(char *reg, const volatile void *ptr)
{
    paddr_t pa = virtq_dma((const void *)ptr);

    mmio_write32(reg, (uint32_t)pa);
    mmio_write32(reg + 4, (uint32_t)(pa >> 32));
}

static int queue_enable(struct virtio_device *dev, struct virtq *vq, uint16_t vector)
{
    struct virtio_pci *vp = to_pci(dev);
    char *c = vp->common;
    uint64_t at;

    mmio_write16(c + COMMON_QUEUE_SELECT, vq->index);
    mmio_write16(c + COMMON_QUEUE_SIZE, vq->size);
    at = (uint64_t)mmio_read16(c + COMMON_QUEUE_NOTIFY_OFF) * vp->notify_multiplier;
    if (at + 2 > vp->notify_len) {
        klog(LOG_ERROR, "%s: doorbell of queue %u lies outside", dev->name, vq->index);
        return -ENODEV;
    }
    vq->notify = vp->notify + at;
    if (vector != VIRTIO_NO_VECTOR) {
        mmio_write16(c + COMMON_QUEUE_VECTOR, vector);
        if (mmio_read16(c + COMMON_QUEUE_VECTOR) != vector)
            return -ENOSPC;
    }
    write_address(c + COMMON_QUEUE_DESC, vq->desc);
    write_address(c + COMMON_QUEUE_DRIVER, vq->avail);
    write_address(c + COMMON_QUEUE_DEVICE, vq->used);
    mmio_write16(c + COMMON_QUEUE_ENABLE, 1);
    return 0;
}

static int vector_set(struct virtio_device *dev, uint16_t i, struct irq *irq, int cpu)
{
    return pci_msix_set(to_pci(dev)->pci, i, irq, cpu);
}

static void vector_clear(struct virtio_device *dev, uint16_t i, struct irq *irq)
{
    pci_msix_clear(to_pci(dev)->pci, i, irq);
}

static const struct virtio_transport pci_transport = {
    .get_features = get_features,
    .set_features = set_features,
    .get_status = get_status,
    .set_status = set_status,
    .config_generation = config_generation,
    .config_read = config_read,
    .config_write = config_write,
    .queue_max = queue_max,
    .queue_enable = queue_enable,
    .vector_set = vector_set,
    .vector_clear = vector_clear,
};

/* Maps the first block of each kind that can be used: a device may offer alternatives (4.1.4). */
static int find_blocks(struct virtio_pci *vp)
{
    struct pci_device *pci = vp->pci;
    unsigned cap = 0;

    /* Bounded, for a list that loops. */
    for (int n = 0; n < MAX_BLOCKS && (cap = pci_find_cap(pci, PCI_CAP_ID_VENDOR, cap)); n++) {
        uint32_t head = pci_read32(pci, cap);
        unsigned type = head >> 24;
        if (type != CFG_COMMON && type != CFG_NOTIFY && type != CFG_DEVICE)
            continue;
        unsigned bar = pci_read8(pci, cap + CAP_BAR);
        uint32_t off = pci_read32(pci, cap + CAP_OFFSET);
        uint32_t len = pci_read32(pci, cap + CAP_LENGTH);
        if (bar >= PCI_BARS || off & 3)
            continue;
        char *at = pci_map(pci, bar, off, len);
        if (!at)
            continue;
        if (type == CFG_COMMON && !vp->common && len >= COMMON_SIZE) {
            vp->common = at;
        } else if (type == CFG_NOTIFY && !vp->notify && len >= 2) {
            vp->notify = at;
            vp->notify_len = len;
            vp->notify_multiplier = pci_read32(pci, cap + CAP_NOTIFY_MULTIPLIER);
        } else if (type == CFG_DEVICE && !vp->config) {
            vp->config = at;
            vp->config_len = len;
        }
    }
    return vp->common && vp->notify && !(vp->notify_multiplier & 1) ? 0 : -ENODEV;
}

static int virtio_pci_probe(struct pci_device *pci)
{
    struct virtio_pci *vp = kzalloc(sizeof(*vp));
    int err;

    if (!vp)
        return -ENOMEM;
    vp->pci = pci;
    vp->vdev.ops = &pci_transport;
    vp->vdev.id = pci->device >= MODERN_ID_BASE ? pci->device - MODERN_ID_BASE
                                                : pci_read16(pci, PCI_SUBSYSTEM_ID);
    snprintf(vp->vdev.name, sizeof(vp->vdev.name), "virtio%u %s", vp->vdev.id, pci->name);
    err = find_blocks(vp);
    if (!err) {
        err = pci_msix_enable(pci);
        if (err > 0) {
            vp->vdev.vectors = (uint16_t)err;
            err = virtio_probe(&vp->vdev);
        }
    }
    if (err) {
        pci_msix_disable(pci);
        kfree(vp);
        return err;
    }
    pci->data = vp;
    return 0;
}

static void virtio_pci_remove(struct pci_device *pci)
{
    struct virtio_pci *vp = pci->data;

    virtio_remove(&vp->vdev);
    pci_msix_disable(pci);
    kfree(vp);
}

const struct pci_driver virtio_pci_driver = {
    .name = "virtio",
    .vendor = 0x1af4,
    .device_first = TRANSITIONAL_ID_BASE,
    .device_last = MODERN_ID_BASE + 0x3f,
    .probe = virtio_pci_probe,
    .remove = virtio_pci_remove,
};
