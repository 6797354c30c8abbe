/*
 * The first C code: reads what the PVH boot protocol hands over (struct hvm_start_info of
 * xen/arch-x86/hvm/start_info.h) and gives out memory until the page allocator exists.
 */
#include "abi/boot.h"
#include "arch/arch.h"
#include "boot.h"
#include "arch/clock.h"
#include "core/bootargs.h"
#include "core/clock.h"
#include "core/main.h"
#include "x86.h"

#define START_MAGIC 0x336ec578

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp;
    uint64_t memory_map; /* from version 1 on */
    uint32_t memory_map_entries, reserved;
};

struct start_module {
    uint64_t address, size, cmdline, reserved;
};

struct start_memory {
    uint64_t address, size;
    uint32_t type, reserved;
};
#define MEMORY_RAM 1

struct mem_range boot_ram[BOOT_MAX_RANGES];
int boot_ram_count;
paddr_t boot_rsdp;

static char cmdline[BOOT_CMDLINE_MAX];
static paddr_t module_start, module_end;
/* Boot pages are taken from the top of the highest range below 4 GiB downwards. */
static paddr_t pool_start, pool_end, pool_low;

static void add_ram(paddr_t start, paddr_t end)
{
    start = ROUND_UP(MAX(start, PAGE_SIZE), PAGE_SIZE); /* never page 0 */
    end = ROUND_DOWN(end, PAGE_SIZE);
    if (start >= end || boot_ram_count == BOOT_MAX_RANGES)
        return;
    int at = boot_ram_count++;
    for (; at > 0 && boot_ram[at - 1].start > start; at--)
        boot_ram[at] = boot_ram[at - 1];
    boot_ram[at] = (struct mem_range){start, end, true};
}

static void read_memory_map(const struct start_info *info)
{
    if (info->version < 1 || !info->memory_map)
        panic("the boot loader gives no memory map");
    const struct start_memory *m = direct(info->memory_map);
    for (uint32_t i = 0; i < info->memory_map_entries; i++) {
        if (m[i].type == MEMORY_RAM)
            add_ram(m[i].address, m[i].address + m[i].size);
    }
    /* Firmware may list ranges that overlap: the later one gives way. */
    for (int i = 1; i < boot_ram_count; i++) {
        if (boot_ram[i].start < boot_ram[i - 1].end)
            boot_ram[i].start = MIN(boot_ram[i - 1].end, boot_ram[i].end);
    }
}

static bool overlaps(paddr_t start, paddr_t end, paddr_t other_start, paddr_t other_end)
{
    return start < other_end && other_start < end;
}

/* The pool: the upper part of the largest free stretch within the boot page table's 4 GiB. */
static void choose_pool(void)
{
    paddr_t image_end = ROUND_UP(image_pa(kernel_end), PAGE_SIZE);

    for (int i = 0; i < boot_ram_count; i++) {
        paddr_t start = boot_ram[i].start, end = MIN(boot_ram[i].end, 4ul << 30);
        if (overlaps(start, end, image_pa(kernel_start), image_end))
            start = image_end;
        paddr_t parts[2][2] = {{start, end}, {0, 0}};
        if (overlaps(start, end, module_start, module_end)) {
            parts[0][1] = module_start;
            parts[1][0] = ROUND_UP(module_end, PAGE_SIZE);
            parts[1][1] = end;
        }
        for (int k = 0; k < 2; k++) {
            if (parts[k][1] > parts[k][0] && parts[k][1] - parts[k][0] > pool_end - pool_start) {
                pool_start = parts[k][0];
                pool_end = parts[k][1];
            }
        }
    }
    pool_end = ROUND_DOWN(pool_end, PAGE_SIZE);
    pool_low = pool_end;
    if (pool_start >= pool_end)
        panic("no memory");
}

paddr_t boot_pages(size_t n, size_t align)
{
    if (pool_low - pool_start < n * PAGE_SIZE + align)
        panic("not enough memory to boot");
    pool_low = ROUND_DOWN(pool_low - n * PAGE_SIZE, align);
    return pool_low;
}

paddr_t boot_page(void)
{
    paddr_t pa = boot_pages(1, PAGE_SIZE);
    memset(direct(pa), 0, PAGE_SIZE);
    return pa;
}

int arch_memory_map(struct mem_range *ranges, int max)
{
    struct mem_range taken[] = {
        {TRAMPOLINE, TRAMPOLINE + PAGE_SIZE, false},
        {image_pa(kernel_start), ROUND_UP(image_pa(kernel_end), PAGE_SIZE), false},
        {ROUND_DOWN(module_start, PAGE_SIZE), ROUND_UP(module_end, PAGE_SIZE), false},
        {pool_low, pool_end, false},
    };
    int n = 0;

    for (int i = 0; i < boot_ram_count; i++) {
        paddr_t at = boot_ram[i].start, end = boot_ram[i].end;
        while (at < end && n < max) {
            /* The lowest taken range at or above `at` decides how far the next stretch goes. */
            const struct mem_range *t = NULL;
            for (size_t k = 0; k < ARRAY_SIZE(taken); k++) {
                if (taken[k].end > at && taken[k].start < end && taken[k].start < taken[k].end &&
                    (!t || taken[k].start < t->start))
                    t = &taken[k];
            }
            bool usable = !t || t->start > at;
            paddr_t stop = !t ? end : usable ? t->start : MIN(t->end, end);
            ranges[n++] = (struct mem_range){at, stop, usable};
            at = stop;
        }
    }
    return n;
}

const void *boot_image(size_t *size)
{
    *size = module_end - module_start;
    return module_start ? direct(module_start) : NULL;
}

void *arch_direct(paddr_t pa)
{
    return direct(pa);
}

extern struct cpu boot_cpu;
NORETURN void arch_boot(uint32_t start_info);

/* Entered by entry.S with 4 GiB mapped, interrupts off, on the boot stack. */
NORETURN void arch_boot(uint32_t start_info)
{
    const struct start_info *info = direct(start_info);

    clock_start(arch_counter());
    cpu_detect();
    cpu_set_gs(&boot_cpu);
    serial_init();
    if (info->magic != START_MAGIC)
        panic("not started by a PVH boot loader");
    if (info->cmdline)
        str_copy(cmdline, direct(info->cmdline), sizeof(cmdline));
    bootargs_init(cmdline);
    boot_rsdp = info->rsdp;
    if (info->module_count) {
        const struct start_module *m = direct(info->modules);
        module_start = m->address;
        module_end = m->address + m->size;
    }
    read_memory_map(info);
    acpi_init(); /* its tables may lie in memory that is given out later */
    choose_pool();
    paging_init();
    cpu_init(&boot_cpu);
    user_state_init();
    kernel_main();
}

void arch_init(void)
{
    paging_use_page_allocator();
    pic_disable();
    apic_init_cpu();
}
