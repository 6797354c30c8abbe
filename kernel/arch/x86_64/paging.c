/*
 * The kernel's own half of the address space: the image with W^X, all RAM, the struct page array,
 * device registers and guarded kernel stacks. Every user page table shares it through the upper 256
 * entries of the top level, which never change after boot.
 */
#include "arch/arch.h"
#include "boot.h"
#include "core/aspace.h"
#include "core/irq.h"
#include "core/page.h"
#include "paging.h"
#include "x86.h"

#define MMIO_BASE VMAP_BASE
#define MMIO_SIZE (1ul << 38)
#define STACKS_BASE (VMAP_BASE + MMIO_SIZE) /* kernel_stack.c */
#define LARGE (1ul << 21)
#define HUGE (1ul << 30)

paddr_t kernel_pml4;

static bool page_allocator_runs;
static spinlock_t vmap_lock;
static uint64_t mmio_next = MMIO_BASE;

static paddr_t table_alloc(void)
{
    if (!page_allocator_runs)
        return boot_page();
    struct page *p = page_alloc(0, PAGE_ZERO | PAGE_ATOMIC);
    return p ? page_paddr(p) : 0;
}

uint64_t *kernel_entry(uint64_t va, int level)
{
    uint64_t *table = direct(kernel_pml4);

    for (int l = 3; l > level; l--) {
        uint64_t *e = &table[PT_INDEX(va, l)];
        if (!*e) {
            paddr_t pa = table_alloc();
            if (!pa)
                return NULL;
            *e = pa | PTE_P | PTE_W;
        }
        ASSERT(!(*e & PTE_LARGE));
        table = direct(*e & PTE_ADDR);
    }
    return &table[PT_INDEX(va, level)];
}

int kernel_map(uint64_t va, paddr_t pa, uint64_t size, uint64_t pte)
{
    while (size) {
        int level = 0;
        uint64_t step = PAGE_SIZE;
        if (((va | pa) & (LARGE - 1)) == 0 && size >= LARGE) {
            level = 1;
            step = LARGE;
            if (cpu_features.gib_pages && ((va | pa) & (HUGE - 1)) == 0 && size >= HUGE) {
                level = 2;
                step = HUGE;
            }
        }
        uint64_t *table = kernel_entry(va, level);
        if (!table)
            return -ENOMEM;
        /* Neighbours in the same table need no new walk. */
        uint64_t in_table = 512 - PT_INDEX(va, level);
        do {
            *table++ = pa | pte | (level ? PTE_LARGE : 0);
            va += step;
            pa += step;
            size -= step;
        } while (--in_table && size >= step && (level || ((va | pa) & (LARGE - 1)) != 0));
    }
    return 0;
}

/* Backs the struct pages of all blocks of the largest order that hold RAM. */
static void map_page_array(void)
{
    uint64_t mapped_end = 0;

    for (int i = 0; i < boot_ram_count; i++) {
        uint64_t start = MAX(ROUND_DOWN(boot_ram[i].start, PAGE_BLOCK_SIZE), mapped_end);
        uint64_t end = ROUND_UP(boot_ram[i].end, PAGE_BLOCK_SIZE);
        if (start >= end)
            continue;
        uint64_t va = PAGES_BASE + (start >> PAGE_SHIFT) * sizeof(struct page);
        uint64_t size = ((end - start) >> PAGE_SHIFT) * sizeof(struct page);
        kernel_map(va, boot_pages(size >> PAGE_SHIFT, PAGE_SIZE), size,
                   PTE_P | PTE_W | PTE_G | PTE_NX);
        mapped_end = end;
    }
}

void paging_init(void)
{
    const uint64_t rw = PTE_P | PTE_W | PTE_G | PTE_NX, ro = PTE_P | PTE_G | PTE_NX;
    uint64_t text = (uint64_t)kernel_start, rodata = (uint64_t)text_end,
             data = (uint64_t)rodata_end, end = ROUND_UP((uint64_t)kernel_end, PAGE_SIZE);

    kernel_pml4 = boot_page();
    kernel_map(text, image_pa(kernel_start), rodata - text, PTE_P | PTE_G);
    kernel_map(rodata, image_pa(text_end), data - rodata, ro);
    kernel_map(data, image_pa(rodata_end), end - data, rw);

    for (int i = 0; i < boot_ram_count; i++) {
        paddr_t start = boot_ram[i].start, stop = boot_ram[i].end;
        paddr_t ro_start = image_pa(kernel_start), ro_end = image_pa(rodata_end);
        if (start <= ro_start &&
            ro_end <= stop) { /* the image's text and constants stay read-only */
            kernel_map(DIRECT_BASE + start, start, ro_start - start, rw);
            kernel_map(DIRECT_BASE + ro_start, ro_start, ro_end - ro_start, ro);
            start = ro_end;
        }
        kernel_map(DIRECT_BASE + start, start, stop - start, rw);
    }
    map_page_array();
    kernel_entry(MMIO_BASE, 0);
    kernel_stacks_init(STACKS_BASE);
    write_cr3(kernel_pml4);
}

void paging_use_page_allocator(void)
{
    page_allocator_runs = true;
}

void *vmap(paddr_t pa, size_t size, uint64_t pte)
{
    paddr_t start = ROUND_DOWN(pa, PAGE_SIZE);
    size_t length = ROUND_UP(pa + size, PAGE_SIZE) - start;

    spin_lock_bh(&vmap_lock);
    /* Large mappings (ECAM) are aligned so that large pages fit. */
    uint64_t va = length >= LARGE ? ROUND_UP(mmio_next, LARGE) + (start & (LARGE - 1)) : mmio_next;
    bool room = length <= MMIO_SIZE && va + length <= MMIO_BASE + MMIO_SIZE;
    int err = room ? kernel_map(va, start, length, pte) : -ENOMEM;
    if (!err)
        mmio_next = va + length;
    spin_unlock_bh(&vmap_lock);
    return err ? NULL : (void *)(va + (pa - start));
}

struct page *arch_page_of_image(const void *addr)
{
    return page_of_paddr(image_pa(addr));
}

void *mmio_map(paddr_t pa, size_t size)
{
    return vmap(pa, size, PTE_P | PTE_W | PTE_G | PTE_NX | PTE_PCD | PTE_PWT);
}

void *device_memory_map(paddr_t pa, size_t size)
{
    return vmap(pa, size, PTE_P | PTE_W | PTE_G | PTE_NX);
}
