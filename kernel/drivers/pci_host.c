/* The machine's PCI Express configuration windows (ECAM); the only driver file that knows arch. */
#include "arch/arch.h"
#include "core/init.h"
#include "drivers/pci.h"

static struct pci_host host;
static volatile uint8_t *bus_window[256]; /* mapped when first used: a MiB each */

static volatile uint8_t *config_address(uint8_t bus, uint8_t devfn, unsigned off)
{
    if (!bus_window[bus])
        bus_window[bus] = mmio_map(host.ecam + ((paddr_t)bus << 20), 1ul << 20);
    return bus_window[bus] ? bus_window[bus] + ((unsigned)devfn << 12) + off : NULL;
}

static uint32_t ecam_read(uint8_t bus, uint8_t devfn, unsigned off, unsigned size)
{
    volatile uint8_t *a = config_address(bus, devfn, off);

    if (!a)
        return ~0u;
    return size == 4 ? mmio_read32(a) : size == 2 ? mmio_read16(a) : mmio_read8(a);
}

static void ecam_write(uint8_t bus, uint8_t devfn, unsigned off, unsigned size, uint32_t value)
{
    volatile uint8_t *a = config_address(bus, devfn, off);

    if (!a)
        return;
    if (size == 4)
        mmio_write32(a, value);
    else if (size == 2)
        mmio_write16(a, (uint16_t)value);
    else
        mmio_write8(a, (uint8_t)value);
}

static const struct pci_config_ops ecam_ops = {ecam_read, ecam_write};

void pci_init(void)
{
    int err = arch_pci_host(&host);

    if (err) {
        klog(LOG_INFO, "pci: none (%d)", err);
        return;
    }
    struct pci_machine machine = {
        .ops = &ecam_ops,
        .bus_start = host.bus_start,
        .bus_end = host.bus_end,
        .mem32_start = host.mem32_start,
        .mem32_end = host.mem32_end,
        .mem64_start = host.mem64_start,
        .mem64_end = host.mem64_end,
    };
    pci_enumerate(&machine);
}
