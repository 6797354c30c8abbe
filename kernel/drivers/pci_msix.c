/* MSI-X (PCI 3.0, 6.8.2): the table of vectors, each a message to one CPU. */
#include "drivers/pci.h"

#define MSIX_CONTROL 2
#define MSIX_CONTROL_SIZE 0x7ffu
#define MSIX_CONTROL_ENABLE 0x8000u
#define MSIX_TABLE 4
#define MSIX_ENTRY_WORDS 4 /* address low and high, data, control (bit 0: masked) */

int pci_msix_enable(struct pci_device *dev)
{
    unsigned cap = pci_find_cap(dev, PCI_CAP_ID_MSIX, 0);
    uint32_t where;
    int n;

    if (!cap)
        return -ENODEV;
    n = (pci_read16(dev, cap + MSIX_CONTROL) & MSIX_CONTROL_SIZE) + 1;
    where = pci_read32(dev, cap + MSIX_TABLE);
    dev->msix_table = pci_map(dev, where & 7, where & ~7u, 16ul * n);
    if (!dev->msix_table)
        return -ENODEV;
    /* All entries are masked after a reset, and pci_msix_clear leaves them so. */
    dev->msix_cap = (uint16_t)cap;
    dev->msix_vectors = (uint16_t)n;
    pci_write(dev, cap + MSIX_CONTROL, 2, MSIX_CONTROL_ENABLE);
    return n;
}

void pci_msix_share(struct pci_device *dev, unsigned i, const struct irq *irq)
{
    volatile uint32_t *entry = dev->msix_table + MSIX_ENTRY_WORDS * i;
    uint64_t address;
    uint32_t data;

    ASSERT(i < dev->msix_vectors);
    irq_message(irq, &address, &data);
    mmio_write32(entry, (uint32_t)address);
    mmio_write32(entry + 1, (uint32_t)(address >> 32));
    mmio_write32(entry + 2, data);
    mmio_write32(entry + 3, 0);
}

int pci_msix_set(struct pci_device *dev, unsigned i, struct irq *irq, int cpu)
{
    int err = irq_alloc(irq, cpu);

    if (!err)
        pci_msix_share(dev, i, irq);
    return err;
}

void pci_msix_mask(struct pci_device *dev, unsigned i, bool on)
{
    ASSERT(i < dev->msix_vectors);
    mmio_write32(dev->msix_table + MSIX_ENTRY_WORDS * i + 3, on);
}

void pci_msix_clear(struct pci_device *dev, unsigned i, struct irq *irq)
{
    pci_msix_mask(dev, i, true);
    irq_free(irq);
}

void pci_msix_disable(struct pci_device *dev)
{
    if (dev->msix_cap)
        pci_write(dev, dev->msix_cap + MSIX_CONTROL, 2, 0);
    dev->msix_cap = 0;
}
