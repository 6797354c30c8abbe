/*
 * Native PCI Express hot-plug of root and downstream ports (PCIe 4.0, 6.7 and 7.5.3.10 - 12).
 *
 * The port's interrupt schedules work in thread context, which clears the event bits, compares what
 * is in the slot with what we know, and acts: a device that appeared is powered, enumerated and
 * probed; one that vanished is removed. The attention button asks for an orderly removal: we stop
 * the drivers and turn the slot's power off at once, without the five seconds of grace meant for
 * human fingers; that is what QEMU's device_del waits for.
 */
#include "core/deferred.h"
#include "core/mem.h"
#include "core/thread.h"
#include "core/timer.h"
#include "drivers/pci.h"

#define EXP_FLAGS 0x02
#define EXP_FLAGS_SLOT 0x100u
#define EXP_SLOT_CAP 0x14
#define SLOT_CAP_POWER 0x2u
#define SLOT_CAP_HOTPLUG 0x40u
#define SLOT_CAP_NO_COMPLETION 0x40000u
#define EXP_SLOT_CONTROL 0x18
#define SLOT_CTL_BUTTON_IRQ 0x1u
#define SLOT_CTL_PRESENCE_IRQ 0x8u
#define SLOT_CTL_HOTPLUG_IRQ 0x20u
#define SLOT_CTL_INDICATOR 0x300u
#define SLOT_CTL_INDICATOR_ON 0x100u
#define SLOT_CTL_INDICATOR_OFF 0x300u
#define SLOT_CTL_POWER_OFF 0x400u
#define SLOT_CTL_LINK_IRQ 0x1000u
#define EXP_SLOT_STATUS 0x1a
#define SLOT_STA_BUTTON 0x1u
#define SLOT_STA_PRESENCE_CHANGED 0x8u
#define SLOT_STA_COMPLETED 0x10u
#define SLOT_STA_PRESENT 0x40u
#define SLOT_STA_LINK_CHANGED 0x100u
#define SLOT_STA_EVENTS                                                                            \
    (SLOT_STA_BUTTON | SLOT_STA_PRESENCE_CHANGED | SLOT_STA_COMPLETED | SLOT_STA_LINK_CHANGED)

#define COMPLETION_TIMEOUT (1 * NSEC_PER_SEC) /* 6.7.3.2 */
#define READY_TIMEOUT (1 * NSEC_PER_SEC)      /* 6.6.1: configuration requests after power-on */
#define READY_POLL (1 * NSEC_PER_MSEC)

struct pci_slot {
    struct pci_device *port;
    unsigned cap;
    uint32_t features;
    bool occupied; /* its devices are enumerated */
    struct irq irq;
    struct work work;
};

static uint16_t slot_status(struct pci_slot *slot)
{
    return pci_read16(slot->port, slot->cap + EXP_SLOT_STATUS);
}

/* Writes the control register, keeping what is not in `mask`, and waits until the command is done.
 */
static void slot_control(struct pci_slot *slot, uint16_t mask, uint16_t value)
{
    unsigned at = slot->cap + EXP_SLOT_CONTROL;
    uint16_t old = pci_read16(slot->port, at);

    pci_write(slot->port, at, 2, (old & ~mask) | value);
    if (slot->features & SLOT_CAP_NO_COMPLETION)
        return;
    nsec_t deadline = time_now() + COMPLETION_TIMEOUT;
    while (!(slot_status(slot) & SLOT_STA_COMPLETED) && time_now() < deadline)
        thread_yield();
    pci_write(slot->port, slot->cap + EXP_SLOT_STATUS, 2, SLOT_STA_COMPLETED);
}

static void slot_power(struct pci_slot *slot, bool on)
{
    if (slot->features & SLOT_CAP_POWER)
        slot_control(slot, SLOT_CTL_INDICATOR | SLOT_CTL_POWER_OFF,
                     on ? SLOT_CTL_INDICATOR_ON : SLOT_CTL_INDICATOR_OFF | SLOT_CTL_POWER_OFF);
}

static void slot_plug(struct pci_slot *slot)
{
    struct pci_bus *bus = slot->port->child;
    nsec_t deadline = time_now() + READY_TIMEOUT;

    slot_power(slot, true);
    for (;;) {
        pci_bus_scan(bus);
        if (!list_empty(&bus->devices) || time_now() > deadline)
            break;
        thread_sleep_until(time_now() + READY_POLL, false);
    }
    slot->occupied = !list_empty(&bus->devices);
    /* Presence and link change one after the other: what is pending now is the same event. */
    pci_write(slot->port, slot->cap + EXP_SLOT_STATUS, 2,
              SLOT_STA_PRESENCE_CHANGED | SLOT_STA_LINK_CHANGED);
    klog(LOG_INFO, "pci %s: %s", slot->port->name,
         slot->occupied ? "device plugged in" : "the new device does not answer");
}

static void slot_unplug(struct pci_slot *slot, bool orderly)
{
    pci_bus_remove(slot->port->child);
    slot->occupied = false;
    klog(LOG_INFO, "pci %s: device %s", slot->port->name, orderly ? "released" : "was pulled out");
    slot_power(slot, false);
}

static void slot_work(struct work *work)
{
    struct pci_slot *slot = container_of(work, struct pci_slot, work);
    uint16_t status;

    while ((status = slot_status(slot)) & SLOT_STA_EVENTS) {
        if (status == 0xffff)
            return; /* the port itself is gone */
        pci_write(slot->port, slot->cap + EXP_SLOT_STATUS, 2, status & SLOT_STA_EVENTS);
        /* Read again: what was plugged in before the event was cleared will make no other. */
        bool present = slot_status(slot) & SLOT_STA_PRESENT;
        bool changed = status & SLOT_STA_PRESENCE_CHANGED;
        if (slot->occupied && (!present || changed))
            slot_unplug(slot, false);
        else if (slot->occupied && status & SLOT_STA_BUTTON)
            slot_unplug(slot, true);
        else if (!slot->occupied && present && status & SLOT_STA_EVENTS & ~SLOT_STA_COMPLETED)
            slot_plug(slot);
        if (slot->occupied && !(slot_status(slot) & SLOT_STA_PRESENT))
            slot_unplug(slot, false); /* gone again meanwhile */
    }
}

static void slot_irq(struct irq *irq)
{
    struct pci_slot *slot = irq->owner;

    work_schedule(&slot->work);
}

/* The slot's capabilities, 0 if it is none for hot-plug; *cap: where the registers are. */
static uint32_t slot_features(struct pci_device *port, unsigned *cap)
{
    *cap = pci_find_cap(port, PCI_CAP_ID_EXPRESS, 0);
    if (!*cap || !(pci_read16(port, *cap + EXP_FLAGS) & EXP_FLAGS_SLOT))
        return 0;
    uint32_t features = pci_read32(port, *cap + EXP_SLOT_CAP);
    return features & SLOT_CAP_HOTPLUG ? features : 0;
}

bool pci_hotplug_empty(struct pci_device *port)
{
    unsigned cap;

    return slot_features(port, &cap) &&
           !(pci_read16(port, cap + EXP_SLOT_STATUS) & SLOT_STA_PRESENT);
}

bool pci_hotplug_init(struct pci_device *port)
{
    unsigned cap;
    uint32_t features = slot_features(port, &cap);
    struct pci_slot *slot;

    if (!features || pci_enable(port) || pci_msix_enable(port) < 0)
        return false;
    slot = kzalloc(sizeof(*slot));
    if (!slot)
        return false;
    slot->port = port;
    slot->cap = cap;
    slot->features = features;
    slot->irq = (struct irq){.handler = slot_irq, .owner = slot, .name = "pci hot-plug"};
    work_init(&slot->work, slot_work);
    unsigned vector = pci_read16(port, cap + EXP_FLAGS) >> 9 & 31;
    if (vector >= port->msix_vectors || pci_msix_set(port, vector, &slot->irq, 0)) {
        kfree(slot);
        return false;
    }
    port->slot = slot;
    slot->occupied = !list_empty(&port->child->devices);
    uint16_t on =
        SLOT_CTL_BUTTON_IRQ | SLOT_CTL_PRESENCE_IRQ | SLOT_CTL_HOTPLUG_IRQ | SLOT_CTL_LINK_IRQ;
    pci_write(port, cap + EXP_SLOT_STATUS, 2, slot->occupied ? SLOT_STA_EVENTS : 0);
    if (slot->occupied)
        slot_power(slot, true);
    slot_control(slot, on, on);
    work_schedule(&slot->work);
    return true;
}
