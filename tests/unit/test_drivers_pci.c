/*
 * PCI Express enumeration against simulated configuration space: a root bus with a multi-function
 * device, two root ports (one with a device behind it, one empty), and functions whose registers
 * lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/pci.h"
#include "floor.h"

#define MIB (1ull << 20)

struct sim {
    bool present;
    uint8_t bus_of; /* index of the port it is behind; 0: root bus */
    uint8_t devfn;
    uint8_t config[4096];
    uint32_t bar_mask[PCI_BARS]; /* writable bits */
};

static struct sim sims[8];
static unsigned accesses;

static uint8_t secondary(unsigned port)
{
    return sims[port].config[PCI_PRIMARY_BUS + 1];
}

static struct sim *find(uint8_t bus, uint8_t devfn)
{
    accesses++;
    for (size_t i = 0; i < ARRAY_SIZE(sims); i++) {
        struct sim *s = &sims[i];
        uint8_t on = s->bus_of ? secondary(s->bus_of) : 0;
        if (s->present && s->devfn == devfn && on == bus && (on || !s->bus_of))
            return s;
    }
    return NULL;
}

static uint32_t sim_read(uint8_t bus, uint8_t devfn, unsigned off, unsigned size)
{
    struct sim *s = find(bus, devfn);
    uint32_t v = ~0u;

    assert_true(off + size <= 4096 && off % size == 0);
    if (s)
        memcpy(&v, s->config + off, size);
    return v;
}

static void sim_write(uint8_t bus, uint8_t devfn, unsigned off, unsigned size, uint32_t value)
{
    struct sim *s = find(bus, devfn);

    assert_true(off + size <= 4096 && off % size == 0);
    if (!s)
        return;
    unsigned bar = (off - PCI_BAR0) / 4;
    unsigned bars = s->config[PCI_HEADER_TYPE] & 1 ? 2 : PCI_BARS;
    if (off >= PCI_BAR0 && bar < bars) {
        uint32_t old;
        memcpy(&old, s->config + off, 4);
        value = (value & s->bar_mask[bar]) | (old & ~s->bar_mask[bar]);
    }
    memcpy(s->config + off, &value, size);
}

static const struct pci_config_ops sim_ops = {sim_read, sim_write};

static void put16(struct sim *s, unsigned off, uint16_t v)
{
    memcpy(s->config + off, &v, 2);
}
static void put32(struct sim *s, unsigned off, uint32_t v)
{
    memcpy(s->config + off, &v, 4);
}

static uint32_t get32(const struct sim *s, unsigned off)
{
    uint32_t v;

    memcpy(&v, s->config + off, 4);
    return v;
}

static struct sim *add(unsigned i, uint8_t bus_of, uint8_t devfn, uint16_t vendor, uint16_t device)
{
    struct sim *s = &sims[i];

    *s = (struct sim){.present = true, .bus_of = bus_of, .devfn = devfn};
    put16(s, PCI_VENDOR_ID, vendor);
    put16(s, PCI_DEVICE_ID, device);
    return s;
}

static void add_bar(struct sim *s, unsigned i, uint64_t size, bool is64, bool prefetchable)
{
    uint64_t mask = ~(size - 1);

    s->bar_mask[i] = (uint32_t)mask & ~15u;
    put32(s, PCI_BAR0 + 4 * i, (is64 ? 4 : 0) | (prefetchable ? 8 : 0));
    if (is64)
        s->bar_mask[i + 1] = (uint32_t)(mask >> 32);
}

static struct sim *add_port(unsigned i, uint8_t devfn)
{
    struct sim *s = add(i, 0, devfn, 0x1b36, 0x000c);

    s->config[PCI_HEADER_TYPE] = PCI_HEADER_BRIDGE;
    put16(s, PCI_STATUS, PCI_STATUS_CAPABILITIES);
    s->config[PCI_CAPABILITIES] = 0x54;
    put16(s, 0x54, PCI_CAP_ID_EXPRESS);
    put16(s, 0x56, 4 << 4 | 2); /* root port without a slot */
    return s;
}

/* A virtio device without a driver of ours (an entropy device): it is enabled, then refused. */
static struct sim *add_device(unsigned i, uint8_t bus_of, uint8_t devfn)
{
    struct sim *s = add(i, bus_of, devfn, 0x1af4, 0x1044);

    add_bar(s, 1, 4096, false, false);
    add_bar(s, 4, 16384, true, true);
    return s;
}

static bool root_of(struct pci_device *dev, void *arg)
{
    *(struct pci_bus **)arg = dev->bus;
    return false;
}

static void forget(void)
{
    struct pci_bus *root = NULL;

    pci_for_each(root_of, &root);
    if (root)
        pci_bus_remove(root);
}

static void enumerate(void)
{
    const struct pci_machine machine = {
        .ops = &sim_ops,
        .bus_end = 255,
        .mem32_start = 0xc0000000,
        .mem32_end = 0xfec00000,
        .mem64_start = 32ull << 30,
        .mem64_end = 64ull << 30,
    };
    forget();
    accesses = 0;
    pci_enumerate(&machine);
}

static int setup(void **state)
{
    (void)state;
    memset(sims, 0, sizeof(sims));
    struct sim *host = add(0, 0, 0, 0x8086, 0x29c0);
    put32(host, PCI_CLASS_REVISION, 0x06000000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    forget();
    return 0;
}

static bool count(struct pci_device *dev, void *arg)
{
    (void)dev;
    ++*(int *)arg;
    return true;
}

static void test_empty_machine_is_cheap(void **state)
{
    (void)state;
    int n = 0;

    enumerate();
    pci_for_each(count, &n);
    assert_int_equal(n, 1);
    assert_in_range(accesses, 32, 40);
}

static void test_multifunction(void **state)
{
    (void)state;
    struct sim *s = add(1, 0, 0x1f << 3, 0x8086, 0x2918);
    int n = 0;

    s->config[PCI_HEADER_TYPE] = PCI_HEADER_MULTI;
    add(2, 0, 0x1f << 3 | 3, 0x8086, 0x2930);
    add(3, 0, 0x1e << 3 | 1, 0x8086, 0x2930); /* no function 0: not looked at */
    enumerate();
    pci_for_each(count, &n);
    assert_int_equal(n, 3);
}

static void test_device_on_root_bus(void **state)
{
    (void)state;
    struct sim *s = add_device(1, 0, 2 << 3);

    enumerate();
    uint32_t bar1 = get32(s, PCI_BAR0 + 4);
    uint64_t bar4 = (get32(s, PCI_BAR0 + 16) & ~15u) | (uint64_t)get32(s, PCI_BAR0 + 20) << 32;
    assert_in_range(bar1, 0xc0000000, 0xfebff000);
    assert_in_range(bar4, 32ull << 30, (64ull << 30) - 16384);
    assert_int_equal(bar4 % 16384, 0);
    assert_int_equal(get32(s, PCI_COMMAND) & 0x406,
                     0x400); /* refused: neither decodes nor masters */
}

static void test_behind_ports(void **state)
{
    (void)state;
    add_port(1, 1 << 3);
    add_port(2, 2 << 3);
    struct sim *s = add_device(3, 1, 0);
    int n = 0;

    enumerate();
    pci_for_each(count, &n);
    assert_int_equal(n, 4);
    assert_int_equal(get32(&sims[1], PCI_PRIMARY_BUS) & 0xffffff, 0x010100);
    assert_int_equal(get32(&sims[2], PCI_PRIMARY_BUS) & 0xffffff, 0x020200);
    /* The device lies inside its port's windows, and the windows do not overlap. */
    uint32_t w1 = get32(&sims[1], PCI_MEMORY_BASE), w2 = get32(&sims[2], PCI_MEMORY_BASE);
    uint64_t base1 = (uint64_t)(w1 & 0xfff0) << 16, end1 = (w1 & 0xfff00000ull) + MIB;
    uint64_t base2 = (uint64_t)(w2 & 0xfff0) << 16;
    assert_true(end1 > base1 && base2 >= end1);
    assert_in_range(get32(s, PCI_BAR0 + 4), base1, end1 - 4096);
    uint64_t pbase = (uint64_t)(get32(&sims[1], PCI_PREF_BASE) & 0xfff0) << 16 |
                     (uint64_t)get32(&sims[1], PCI_PREF_BASE_UPPER) << 32;
    uint64_t plast = (uint64_t)(get32(&sims[1], PCI_PREF_BASE) & 0xfff00000) |
                     (uint64_t)get32(&sims[1], PCI_PREF_LIMIT_UPPER) << 32;
    uint64_t bar4 = (get32(s, PCI_BAR0 + 16) & ~15u) | (uint64_t)get32(s, PCI_BAR0 + 20) << 32;
    assert_in_range(bar4, pbase, plast + MIB - 16384);
    assert_true(plast - pbase >= 256 * MIB); /* room for what may be plugged in */
}

static struct pci_device *port_device;
static bool find_port(struct pci_device *dev, void *arg)
{
    (void)arg;
    if (dev->child)
        port_device = dev;
    return !dev->child;
}

static void test_plug_and_pull(void **state)
{
    (void)state;
    uint32_t first = 0;

    add_port(1, 1 << 3);
    enumerate();
    pci_for_each(find_port, NULL);
    /* More often than the window has room: addresses are used again. */
    for (int i = 0; i < 5000; i++) {
        struct sim *s = add_device(2, 1, 0);
        pci_bus_scan(port_device->child);
        uint32_t bar1 = get32(s, PCI_BAR0 + 4);
        if (!i)
            first = bar1;
        assert_int_equal(bar1, first);
        s->present = false;
        pci_bus_remove(port_device->child);
    }
    assert_true(list_empty(&port_device->child->devices));
}

static void test_absurd_bars(void **state)
{
    (void)state;
    struct sim *s = add(1, 0, 2 << 3, 0x1af4, 0x1044);

    add_bar(s, 0, 1ull << 40, true, true); /* larger than any aperture */
    enumerate();
    assert_int_equal(get32(s, PCI_COMMAND) & PCI_COMMAND_MEMORY, 0); /* left off */
    s->bar_mask[0] = 0xa5a5a5a0;                                     /* not a size */
    s->bar_mask[1] = 0x5a5a5a5a;
    enumerate();
    s->bar_mask[5] = 0xfffff000; /* a 64-bit BAR in the last register */
    put32(s, PCI_BAR0 + 20, 4);
    enumerate();
}

static void test_capability_loop(void **state)
{
    (void)state;
    struct sim *s = add_device(1, 0, 2 << 3);

    put16(s, PCI_STATUS, PCI_STATUS_CAPABILITIES);
    s->config[PCI_CAPABILITIES] = 0x40;
    put16(s, 0x40, 0x5009);
    put16(s, 0x50, 0x4009);
    enumerate(); /* ends */
}

static void test_no_apertures(void **state)
{
    (void)state;
    const struct pci_machine machine = {.ops = &sim_ops, .bus_end = 255};
    struct sim *s = add_device(1, 0, 2 << 3);

    add_port(2, 3 << 3);
    pci_enumerate(&machine);
    assert_int_equal(get32(s, PCI_COMMAND) & PCI_COMMAND_MEMORY, 0);
    assert_int_equal(get32(&sims[2], PCI_MEMORY_BASE), 0xfff0); /* closed */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_empty_machine_is_cheap), T(test_multifunction), T(test_device_on_root_bus),
        T(test_behind_ports),           T(test_plug_and_pull), T(test_absurd_bars),
        T(test_capability_loop),        T(test_no_apertures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
