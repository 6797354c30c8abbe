/*
 * PCI Express: functions found by enumeration, their BARs and interrupts, and the drivers' table.
 *
 * Configuration space is read through struct pci_config_ops, so that the enumeration runs against a
 * simulated bus in the unit tests. Addresses: a firmware may have assigned all, some or none
 * (qboot); we assign everything ourselves. Each bridge gets a fixed share of its parent's apertures
 * when it is found, whether something is plugged in or not, and a function's BARs are placed in its
 * bridge's windows when a driver is bound to it. So hot-plugged devices take the same way as those
 * found at boot, and functions without a driver cost nothing and decode nothing.
 *
 * Thread context everywhere.
 */
#ifndef DRIVERS_PCI_H
#define DRIVERS_PCI_H

#include "core/irq.h"
#include "core/list.h"
#include "core/lock.h"

/* Configuration registers (PCI 3.0 chapter 6, PCIe 4.0 chapter 7). */
#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO 0x1u
#define PCI_COMMAND_MEMORY 0x2u
#define PCI_COMMAND_MASTER 0x4u
#define PCI_COMMAND_INTX_DISABLE 0x400u
#define PCI_STATUS 0x06
#define PCI_STATUS_CAPABILITIES 0x10u
#define PCI_CLASS_REVISION 0x08
#define PCI_HEADER_TYPE 0x0e
#define PCI_HEADER_BRIDGE 1u
#define PCI_HEADER_MULTI 0x80u
#define PCI_BAR0 0x10
#define PCI_PRIMARY_BUS 0x18 /* secondary, subordinate, latency timer follow */
#define PCI_MEMORY_BASE 0x20
#define PCI_PREF_BASE 0x24
#define PCI_PREF_BASE_UPPER 0x28
#define PCI_PREF_LIMIT_UPPER 0x2c
#define PCI_SUBSYSTEM_ID 0x2e
#define PCI_CAPABILITIES 0x34
#define PCI_CAP_ID_VENDOR 0x09
#define PCI_CAP_ID_EXPRESS 0x10
#define PCI_CAP_ID_MSIX 0x11

#define PCI_ANY 0xffffu
#define PCI_BARS 6

/* What the machine provides. */
struct pci_config_ops {
    uint32_t (*read)(uint8_t bus, uint8_t devfn, unsigned off, unsigned size);
    void (*write)(uint8_t bus, uint8_t devfn, unsigned off, unsigned size, uint32_t value);
};
struct pci_machine {
    const struct pci_config_ops *ops;
    uint8_t bus_start, bus_end;
    paddr_t mem32_start, mem32_end; /* apertures for BARs; start == end: none */
    paddr_t mem64_start, mem64_end;
};

/* A range of addresses that is handed out from the bottom; end is exclusive. */
struct pci_window {
    paddr_t start, next, end;
};

struct pci_driver;
struct pci_slot;

struct pci_bus {
    struct pci_device *bridge; /* that leads here; NULL: the root bus */
    uint8_t number;
    bool single;             /* a PCIe link: device 0 only */
    struct pci_window mem32; /* not prefetchable; below 4 GiB */
    struct pci_window mem64; /* prefetchable, any address */
    struct list devices;
};

struct pci_bar {
    paddr_t addr;  /* 0: not assigned */
    uint64_t size; /* 0: no such memory BAR */
    bool is64, prefetchable;
    void *mapped;
    bool cached; /* mapped by pci_map_memory */
};

struct pci_device {
    struct list link; /* on its bus */
    struct pci_bus *bus;
    uint8_t devfn;
    uint8_t header;
    uint8_t revision;
    uint16_t vendor, device;
    uint32_t class; /* base class, subclass, programming interface */
    struct pci_bar bars[PCI_BARS];
    bool bars_assigned;
    uint16_t msix_cap; /* offset of the capability, 0: none */
    uint16_t msix_vectors;
    volatile uint32_t *msix_table;
    struct pci_bus *child; /* of a bridge */
    struct pci_slot *slot; /* of a hot-plug port */
    const struct pci_driver *driver;
    void *data;   /* the driver's */
    char name[8]; /* "01:00.0" */
};

struct pci_driver {
    const char *name;
    uint16_t vendor;
    uint16_t device_first, device_last; /* PCI_ANY as vendor: class decides */
    uint32_t class, class_mask;
    /* BARs are assigned, memory decoding and bus mastering are on. */
    int (*probe)(struct pci_device *dev);
    /* Must cope with a device that is no longer there (reads give all ones). */
    void (*remove)(struct pci_device *dev);
};

/* Enumerates everything and probes drivers (core/init.h's pci_init calls it with the machine's
 * own). */
void pci_enumerate(const struct pci_machine *machine);
/* Every function found; stops when fn returns false. */
void pci_for_each(bool (*fn)(struct pci_device *dev, void *arg), void *arg);

uint32_t pci_read(const struct pci_device *dev, unsigned off, unsigned size);
void pci_write(const struct pci_device *dev, unsigned off, unsigned size, uint32_t value);
static inline uint8_t pci_read8(const struct pci_device *dev, unsigned off)
{
    return (uint8_t)pci_read(dev, off, 1);
}
static inline uint16_t pci_read16(const struct pci_device *dev, unsigned off)
{
    return (uint16_t)pci_read(dev, off, 2);
}
static inline uint32_t pci_read32(const struct pci_device *dev, unsigned off)
{
    return pci_read(dev, off, 4);
}

/* The next capability with this id after offset `after` (0: from the start); 0 if there is none. */
unsigned pci_find_cap(const struct pci_device *dev, uint8_t id, unsigned after);
/* Sizes and places the memory BARs, turns on decoding and bus mastering. -ENOSPC. */
int pci_enable(struct pci_device *dev);
/* Maps [off, off + len) of a BAR's registers, which must lie inside; NULL if not or out of memory.
 */
void *pci_map(struct pci_device *dev, unsigned bar, uint64_t off, uint64_t len);
/* Maps a whole BAR that is memory, not registers: cached. NULL if there is none or out of memory.
 */
void *pci_map_memory(struct pci_device *dev, unsigned bar);
/* MSI-X (PCI 3.0 6.8.2): finds and maps the table, all vectors masked. The number of vectors, or
 * -ENODEV. */
int pci_msix_enable(struct pci_device *dev);
/* Allocates irq on a CPU and routes vector i to it; and back. */
int pci_msix_set(struct pci_device *dev, unsigned i, struct irq *irq, int cpu);
/* Sends vector i to an interrupt that another vector of the device has taken. */
void pci_msix_share(struct pci_device *dev, unsigned i, const struct irq *irq);
/* Holds vector i back, or lets it through, with what came meanwhile. Any context. */
void pci_msix_mask(struct pci_device *dev, unsigned i, bool on);
void pci_msix_clear(struct pci_device *dev, unsigned i, struct irq *irq);
void pci_msix_disable(struct pci_device *dev);

/* For hot-plug: looks for functions on a bus (device 0 behind a port) and probes them; removes them
 * all, drivers first, and forgets their addresses. */
void pci_bus_scan(struct pci_bus *bus);
void pci_bus_remove(struct pci_bus *bus);
/* Takes over a root or downstream port if it has a hot-plug capable slot. What was plugged in since
 * its bus was scanned is found now. */
void pci_hotplug_init(struct pci_device *port);

extern const struct pci_driver virtio_pci_driver, ivshmem_driver;

#endif
