/*
 * PCI Express enumeration and address assignment.
 *
 * Every access to configuration space is an exit to the emulator, so only what can exist is read:
 * the vendor id of function 0 of each device of the root bus, further functions of multi-function
 * devices, and behind a PCIe port device 0 alone. Bus numbers are given out in the order bridges
 * are found.
 *
 * One lock (pci_lock) covers enumeration, hot-plug and removal: all of them are rare.
 */
#include "drivers/pci.h"

#include "core/deferred.h"
#include "core/init.h"
#include "core/mem.h"

#define MIB (1ull << 20)
#define ROOT_SHARE 64 /* a bridge on the root bus gets this part of an aperture, */
#define DEEP_SHARE 8  /* one below another bridge this part of that one's window */

static bool background_started; /* nothing waits any more */

static const struct pci_driver *const drivers[] = {
    &virtio_pci_driver,
    &ivshmem_driver,
};

static struct mutex pci_lock;
static struct pci_machine machine;
static struct pci_bus root_bus = {.devices = LIST_INIT(root_bus.devices)};
static unsigned next_bus;

static void scan_bus(struct pci_bus *bus);

uint32_t pci_read(const struct pci_device *dev, unsigned off, unsigned size)
{
    return machine.ops->read(dev->bus->number, dev->devfn, off, size);
}

void pci_write(const struct pci_device *dev, unsigned off, unsigned size, uint32_t value)
{
    machine.ops->write(dev->bus->number, dev->devfn, off, size, value);
}

unsigned pci_find_cap(const struct pci_device *dev, uint8_t id, unsigned after)
{
    unsigned off;
    int limit = 48; /* a list that loops ends here: there is no room for more */

    if (!after && !(pci_read16(dev, PCI_STATUS) & PCI_STATUS_CAPABILITIES))
        return 0;
    off = pci_read8(dev, after ? after + 1 : PCI_CAPABILITIES) & ~3u;
    while (off >= 0x40 && limit--) {
        uint16_t header = pci_read16(dev, off);
        if ((header & 0xff) == id)
            return off;
        off = (header >> 8) & ~3u;
    }
    return 0;
}

/* --- addresses -------------------------------------------------------------------------------- */

/* Takes size bytes, aligned to align (a power of two); 0 if they do not fit. */
static paddr_t window_take(struct pci_window *w, uint64_t size, uint64_t align)
{
    paddr_t at = ROUND_UP(w->next, align);

    if (at < w->next || at > w->end || w->end - at < size)
        return 0;
    w->next = at + size;
    return at;
}

/* A share of the parent's window for a bridge: a power of two MiB, at most 1/share of all. */
static struct pci_window window_split(struct pci_window *parent, unsigned share)
{
    uint64_t size = MIB;
    paddr_t at;

    while (size * 2 <= (parent->end - parent->start) / share)
        size *= 2;
    at = window_take(parent, size, size);
    if (!at)
        at = window_take(parent, size = MIB, MIB);
    if (!at)
        return (struct pci_window){0};
    return (struct pci_window){at, at, at + size};
}

/* Reads the size of BAR i: writes ones and looks which bits stay (PCI 3.0, 6.2.5.1). Returns the
 * number of registers it takes, 1 or 2. Decoding is off meanwhile. */
static int bar_size(struct pci_device *dev, unsigned i)
{
    unsigned off = PCI_BAR0 + 4 * i;
    uint32_t old = pci_read32(dev, off), low, high = ~0u;
    struct pci_bar *bar = &dev->bars[i];

    if (old & 1)
        return 1; /* I/O ports: left as they are, none of our drivers uses them */
    bar->is64 = (old & 6) == 4;
    bar->prefetchable = old & 8;
    pci_write(dev, off, 4, ~0u);
    low = pci_read32(dev, off) & ~15u;
    if (bar->is64 && i + 1 < PCI_BARS) {
        pci_write(dev, off + 4, 4, ~0u);
        high = pci_read32(dev, off + 4);
    }
    if (!low && high == ~0u)
        return bar->is64 ? 2 : 1;
    bar->size = ~((uint64_t)high << 32 | low) + 1;
    if (bar->size & (bar->size - 1))
        bar->size = 0; /* no device has such a BAR */
    return bar->is64 ? 2 : 1;
}

static int bar_assign(struct pci_device *dev, unsigned i)
{
    struct pci_bar *bar = &dev->bars[i];
    struct pci_bus *bus = dev->bus;
    unsigned off = PCI_BAR0 + 4 * i;
    uint64_t align = MAX(bar->size, (uint64_t)PAGE_SIZE);

    /* A bridge's 64-bit window is for prefetchable memory; on the root bus anything goes there. */
    if (bar->is64 && (bar->prefetchable || !bus->bridge))
        bar->addr = window_take(&bus->mem64, bar->size, align);
    if (!bar->addr)
        bar->addr = window_take(&bus->mem32, bar->size, align);
    if (!bar->addr) {
        klog(LOG_ERROR, "pci %s: no room for BAR %u of %llu bytes", dev->name, i,
             (unsigned long long)bar->size);
        return -ENOSPC;
    }
    pci_write(dev, off, 4, (uint32_t)bar->addr);
    if (bar->is64)
        pci_write(dev, off + 4, 4, (uint32_t)(bar->addr >> 32));
    return 0;
}

int pci_enable(struct pci_device *dev)
{
    unsigned nbars = dev->header == PCI_HEADER_BRIDGE ? 2 : PCI_BARS;
    uint16_t command = pci_read16(dev, PCI_COMMAND);
    int err = 0;

    if (!dev->bars_assigned) {
        pci_write(dev, PCI_COMMAND, 2, command & ~PCI_COMMAND_MEMORY);
        for (unsigned i = 0; i < nbars; i += bar_size(dev, i))
            ;
        for (unsigned i = 0; i < nbars && !err; i++) {
            if (dev->bars[i].size)
                err = bar_assign(dev, i);
        }
        if (err)
            return err;
        dev->bars_assigned = true;
    }
    pci_write(dev, PCI_COMMAND, 2,
              command | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    return 0;
}

void *pci_map(struct pci_device *dev, unsigned i, uint64_t off, uint64_t len)
{
    struct pci_bar *bar = &dev->bars[i];

    if (i >= PCI_BARS || !bar->addr || off > bar->size || bar->size - off < len)
        return NULL;
    if (!bar->mapped)
        bar->mapped = mmio_map(bar->addr, bar->size);
    return bar->mapped && !bar->cached ? (char *)bar->mapped + off : NULL;
}

void *pci_map_memory(struct pci_device *dev, unsigned i)
{
    struct pci_bar *bar = &dev->bars[i];

    if (i >= PCI_BARS || !bar->addr || (bar->mapped && !bar->cached))
        return NULL;
    if (!bar->mapped)
        bar->mapped = device_memory_map(bar->addr, bar->size);
    bar->cached = bar->mapped;
    return bar->mapped;
}

/* --- drivers ---------------------------------------------------------------------------------- */

static bool matches(const struct pci_driver *drv, const struct pci_device *dev)
{
    if (drv->vendor != PCI_ANY && (drv->vendor != dev->vendor || dev->device < drv->device_first ||
                                   dev->device > drv->device_last))
        return false;
    return (dev->class & drv->class_mask) == drv->class;
}

static void probe(struct pci_device *dev)
{
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
        if (!matches(drivers[i], dev))
            continue;
        if (!background_started && drivers[i]->may_wait && drivers[i]->may_wait(dev)) {
            dev->waiting = true;
            return;
        }
        int err = pci_enable(dev);
        if (!err)
            err = drivers[i]->probe(dev);
        if (!err) {
            dev->driver = drivers[i];
            return;
        }
        pci_write(dev, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE); /* deaf and dumb */
        klog(err == -ENODEV ? LOG_INFO : LOG_WARN, "pci %s: %s: not used (%d)", dev->name,
             drivers[i]->name, err);
        return;
    }
}

/* --- enumeration ------------------------------------------------------------------------------ */

static void bridge_program(struct pci_device *dev, struct pci_bus *child, unsigned subordinate)
{
    const struct pci_window *m = &child->mem32, *p = &child->mem64;
    uint32_t none = 0x0000fff0; /* base above limit: closed */
    paddr_t p_last = p->end - 1;

    pci_write(dev, PCI_PRIMARY_BUS, 4, dev->bus->number | child->number << 8 | subordinate << 16);
    pci_write(dev, PCI_MEMORY_BASE, 4,
              m->end ? (uint32_t)(m->start >> 16 & 0xfff0) | (uint32_t)((m->end - 1) & 0xfff00000)
                     : none);
    pci_write(dev, PCI_PREF_BASE, 4,
              p->end ? (uint32_t)(p->start >> 16 & 0xfff0) | (uint32_t)(p_last & 0xfff00000)
                     : none);
    pci_write(dev, PCI_PREF_BASE_UPPER, 4, p->end ? (uint32_t)(p->start >> 32) : 0);
    pci_write(dev, PCI_PREF_LIMIT_UPPER, 4, p->end ? (uint32_t)(p_last >> 32) : 0);
}

/* Gives a bridge its bus number and windows and looks behind it. */
static void bridge_init(struct pci_device *dev)
{
    unsigned share = dev->bus->bridge ? DEEP_SHARE : ROOT_SHARE;
    unsigned cap = pci_find_cap(dev, PCI_CAP_ID_EXPRESS, 0);
    unsigned type = cap ? pci_read16(dev, cap + 2) >> 4 & 15 : 15;
    struct pci_bus *child;

    if (next_bus > machine.bus_end) {
        klog(LOG_ERROR, "pci %s: out of bus numbers", dev->name);
        return;
    }
    child = kzalloc(sizeof(*child));
    if (!child)
        return;
    child->bridge = dev;
    child->number = (uint8_t)next_bus++;
    child->single = type == 4 || type == 6; /* root port, downstream port of a switch */
    list_init(&child->devices);
    child->mem32 = window_split(&dev->bus->mem32, share);
    child->mem64 = window_split(&dev->bus->mem64, share);
    dev->child = child;
    bridge_program(dev, child, machine.bus_end);
    pci_write(dev, PCI_COMMAND, 2,
              pci_read16(dev, PCI_COMMAND) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    scan_bus(child);
    bridge_program(dev, child, next_bus - 1);
}

/* Looks at one function; true if it is there and says that the device has several. */
static bool scan_function(struct pci_bus *bus, uint8_t devfn)
{
    uint32_t id = machine.ops->read(bus->number, devfn, PCI_VENDOR_ID, 4);
    struct pci_device *dev;

    if ((id & 0xffff) == 0xffff || !id)
        return false;
    dev = kzalloc(sizeof(*dev));
    if (!dev)
        return false;
    dev->bus = bus;
    dev->devfn = devfn;
    dev->vendor = (uint16_t)id;
    dev->device = (uint16_t)(id >> 16);
    uint32_t class = pci_read32(dev, PCI_CLASS_REVISION);
    dev->class = class >> 8;
    dev->revision = (uint8_t) class;
    uint8_t header = pci_read8(dev, PCI_HEADER_TYPE);
    dev->header = header & 0x7f;
    if (dev->header == PCI_HEADER_BRIDGE)
        pci_write(dev, PCI_PRIMARY_BUS, 4, 0); /* firmware's numbers may clash with ours */
    snprintf(dev->name, sizeof(dev->name), "%02x:%02x.%u", bus->number, devfn >> 3, devfn & 7);
    list_push_back(&bus->devices, &dev->link);
    klog(LOG_DEBUG, "pci %s: %04x:%04x class %06x", dev->name, dev->vendor, dev->device,
         dev->class);
    return header & PCI_HEADER_MULTI;
}

static void scan_bus(struct pci_bus *bus)
{
    struct pci_device *dev;
    unsigned last = bus->single ? 0 : 31;

    for (unsigned slot = 0; slot <= last; slot++) {
        if (scan_function(bus, (uint8_t)(slot << 3))) {
            for (unsigned fn = 1; fn < 8; fn++)
                scan_function(bus, (uint8_t)(slot << 3 | fn));
        }
    }
    list_for_each (dev, &bus->devices, link) {
        if (dev->header == PCI_HEADER_BRIDGE && !bus->bridge && pci_hotplug_empty(dev))
            dev->waiting = true;
        else if (dev->header == PCI_HEADER_BRIDGE)
            bridge_init(dev);
        else if (dev->header == 0)
            probe(dev);
    }
}

void pci_bus_scan(struct pci_bus *bus)
{
    mutex_lock(&pci_lock);
    if (list_empty(&bus->devices))
        scan_bus(bus);
    mutex_unlock(&pci_lock);
}

/* Removes what is on a bus and below. */
static void empty_bus(struct pci_bus *bus)
{
    struct pci_device *dev, *next;

    list_for_each_safe (dev, next, &bus->devices, link) {
        if (dev->child)
            empty_bus(dev->child);
        if (dev->driver)
            dev->driver->remove(dev);
        list_remove(&dev->link);
        kfree(dev->child);
        kfree(dev);
    }
    bus->mem32.next = bus->mem32.start;
    bus->mem64.next = bus->mem64.start;
}

void pci_bus_remove(struct pci_bus *bus)
{
    mutex_lock(&pci_lock);
    empty_bus(bus);
    mutex_unlock(&pci_lock);
}

static bool each(struct pci_bus *bus, bool (*fn)(struct pci_device *dev, void *arg), void *arg)
{
    struct pci_device *dev;

    list_for_each (dev, &bus->devices, link) {
        if (!fn(dev, arg) || (dev->child && !each(dev->child, fn, arg)))
            return false;
    }
    return true;
}

void pci_for_each(bool (*fn)(struct pci_device *dev, void *arg), void *arg)
{
    each(&root_bus, fn, arg);
}

void pci_enumerate(const struct pci_machine *m)
{
    mutex_init(&pci_lock);
    machine = *m;
    root_bus = (struct pci_bus){
        .number = m->bus_start,
        .mem32 = {m->mem32_start, m->mem32_start, m->mem32_end},
        .mem64 = {m->mem64_start, m->mem64_start, m->mem64_end},
    };
    list_init(&root_bus.devices);
    next_bus = m->bus_start + 1u;
    mutex_lock(&pci_lock);
    scan_bus(&root_bus);
    mutex_unlock(&pci_lock);
}

/* A device that could wait, or an empty port, on the bus or below. False: there is none. */
static bool bring_up_one(struct pci_bus *bus)
{
    struct pci_device *dev;

    list_for_each (dev, &bus->devices, link) {
        if (dev->waiting) {
            dev->waiting = false;
            if (dev->header == 0)
                probe(dev);
            else
                bridge_init(dev);
            return true;
        }
        if (dev->child && bring_up_one(dev->child))
            return true;
    }
    return false;
}

/* The slot of a port on the root bus; in what was itself plugged in it would have to be undone. */
static bool take_over_one(void)
{
    struct pci_device *dev;

    list_for_each (dev, &root_bus.devices, link)
        if (dev->child && dev->child->single && !dev->slot && pci_hotplug_init(dev))
            return true;
    return false;
}

/* A piece at a time, so that other work has its turns. */
static void background_run(struct work *w)
{
    mutex_lock(&pci_lock);
    bool more = bring_up_one(&root_bus) || take_over_one();
    mutex_unlock(&pci_lock);
    if (more)
        work_schedule(w);
}

void pci_start_background(void)
{
    static struct work work = {.link = LIST_INIT(work.link), .run = background_run};

    background_started = true;
    work_schedule(&work);
}
