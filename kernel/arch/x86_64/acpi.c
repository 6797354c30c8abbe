/*
 * The few ACPI tables a virtual machine needs: MADT (CPUs), MCFG (PCIe configuration space), FADT
 * (PM timer, power off) and the one AML object \_S5_. ACPI 6.4, chapter 5. Runs on the boot page
 * table, where the first 4 GiB are mapped; the firmware is trusted.
 */
#include "arch/arch.h"
#include "boot.h"
#include "x86.h"

struct sdt {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem[26];
} __attribute__((packed));

struct generic_address {
    uint8_t space, width, offset, access;
    uint64_t address;
} __attribute__((packed));

struct fadt {
    struct sdt header;
    uint32_t facs, dsdt;
    uint8_t reserved0[12];
    uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer;
    uint8_t reserved1[32];
    uint32_t flags; /* at 112 */
    uint8_t reserved2[24];
    uint64_t x_dsdt; /* at 140 */
    uint8_t reserved3[96];
    struct generic_address sleep_control; /* at 244 */
} __attribute__((packed));

#define FADT_TIMER_32 (1u << 8)
#define MICROVM_ECAM 0xe0000000ul

struct acpi_info acpi = {.lapic = 0xfee00000};

static void read_madt(const struct sdt *t)
{
    const uint8_t *p = (const uint8_t *)t + 44, *end = (const uint8_t *)t + t->length;

    acpi.lapic = *(const uint32_t *)((const char *)t + 36);
    for (; p + 2 <= end && p[1] >= 2; p += p[1]) {
        uint32_t id, flags;
        if (p[0] == 0) { /* local APIC */
            id = p[3];
            memcpy(&flags, p + 4, 4);
        } else if (p[0] == 9) { /* local x2APIC */
            memcpy(&id, p + 4, 4);
            memcpy(&flags, p + 8, 4);
        } else {
            continue;
        }
        if ((flags & 1) && acpi.cpus < MAX_CPUS)
            acpi.apic_ids[acpi.cpus++] = id;
    }
}

static void read_mcfg(const struct sdt *t)
{
    if (t->length < 60)
        return;
    const uint8_t *p = (const uint8_t *)t + 44;
    memcpy(&acpi.ecam, p, 8);
    acpi.bus_start = p[10];
    acpi.bus_end = p[11];
}

/* Name(_S5_, Package(){type, ...}): 08 '_S5_' 12 length count, then the type as a byte or 0a byte.
 */
static void find_s5(const struct sdt *dsdt)
{
    const uint8_t *p = (const uint8_t *)dsdt + sizeof(*dsdt);
    const uint8_t *end = (const uint8_t *)dsdt + dsdt->length - 8;

    for (; p < end; p++) {
        if (memcmp(p, "_S5_\x12", 5) != 0)
            continue;
        p += 5;
        p += 1 + (*p >> 6); /* package length */
        p++;                /* number of elements */
        acpi.s5_type = *p == 0x0a ? p[1] : *p <= 1 ? *p : 0;
        return;
    }
}

static void read_fadt(const struct fadt *f)
{
    acpi.pm_timer_port = (uint16_t)f->pm_timer;
    acpi.pm_timer_32 = f->flags & FADT_TIMER_32;
    acpi.pm1a_control = (uint16_t)f->pm1a_control;
    if (f->header.length >= 256 && f->sleep_control.address) {
        if (f->sleep_control.space == 1)
            acpi.sleep_control_port = (uint16_t)f->sleep_control.address;
        else
            acpi.sleep_control_mem = f->sleep_control.address;
    }
    uint64_t dsdt = f->dsdt ? f->dsdt : f->header.length >= 148 ? f->x_dsdt : 0;
    if (dsdt)
        find_s5(direct(dsdt));
}

static void read_table(paddr_t pa)
{
    const struct sdt *t = direct(pa);

    if (memcmp(t->signature, "APIC", 4) == 0)
        read_madt(t);
    else if (memcmp(t->signature, "MCFG", 4) == 0)
        read_mcfg(t);
    else if (memcmp(t->signature, "FACP", 4) == 0)
        read_fadt((const struct fadt *)t);
}

/* Where the boot protocol gives no pointer: on 16-byte boundaries of the BIOS area. */
static paddr_t find_rsdp(void)
{
    for (paddr_t pa = 0xe0000; pa < 0x100000; pa += 16) {
        if (memcmp(direct(pa), "RSD PTR ", 8) == 0)
            return pa;
    }
    return 0;
}

/* QEMU's microvm describes its PCIe host only in AML: look where it has it. */
static void find_microvm_ecam(void)
{
    if (acpi.ecam || !acpi.sleep_control_mem)
        return;
    uint32_t id = *(const volatile uint32_t *)direct(MICROVM_ECAM);
    if (id != 0 && (id & 0xffff) != 0xffff) {
        acpi.ecam = MICROVM_ECAM;
        acpi.bus_end = 255;
    }
}

void acpi_init(void)
{
    paddr_t at = boot_rsdp ? boot_rsdp : find_rsdp();

    if (!at || memcmp(direct(at), "RSD PTR ", 8) != 0)
        return;
    const uint8_t *rsdp = direct(at);
    uint64_t xsdt = 0;
    uint32_t rsdt;
    if (rsdp[15] >= 2)
        memcpy(&xsdt, rsdp + 24, 8);
    memcpy(&rsdt, rsdp + 16, 4);
    const struct sdt *root = direct(xsdt ? xsdt : rsdt);
    size_t size = xsdt ? 8 : 4;
    for (size_t off = sizeof(*root); off + size <= root->length; off += size) {
        uint64_t pa = 0;
        memcpy(&pa, (const char *)root + off, size);
        if (pa)
            read_table(pa);
    }
    find_microvm_ecam();
}

int arch_pci_host(struct pci_host *out)
{
    if (!acpi.ecam)
        return -ENODEV;

    paddr_t low_end = 0, top = 4ul << 30;
    for (int i = 0; i < boot_ram_count; i++) {
        if (boot_ram[i].end <= 4ul << 30)
            low_end = MAX(low_end, boot_ram[i].end);
        top = MAX(top, boot_ram[i].end);
    }
    /* Both of QEMU's machines leave 3 GiB.. free, up to their ECAM (microvm) or the I/O APIC (q35).
     */
    paddr_t start = MAX(ROUND_UP(low_end, 1ul << 28), 0xc0000000ul);
    paddr_t end = acpi.ecam > start && acpi.ecam < 0xfec00000 ? acpi.ecam : 0xfec00000;
    *out = (struct pci_host){
        .ecam = acpi.ecam,
        .bus_start = acpi.bus_start,
        .bus_end = acpi.bus_end,
        .mem32_start = start,
        .mem32_end = end,
        .mem64_start = ROUND_UP(top, 32ul << 30),
        .mem64_end = ROUND_UP(top, 32ul << 30) + (256ul << 30),
    };
    return 0;
}
