/* x86-64 page tables. */
#ifndef X86_PAGING_H
#define X86_PAGING_H

#include "core/base.h"

/* Index into the table of a level (0: page table ... 3: top) for a virtual address. */
#define PT_INDEX(va, level) (((va) >> (12 + 9 * (level))) & 511)

/* --- the kernel's own half --- */

/* The entry for va at `level` (0: 4 KiB pages), tables made on the way; NULL when out of memory. */
uint64_t *kernel_entry(uint64_t va, int level);
/* Maps with the largest pages that fit, with the bits `pte`; the caller sees to it that nobody else
 * changes this range. 0 or -ENOMEM. */
int kernel_map(uint64_t va, paddr_t pa, uint64_t size, uint64_t pte);
/* Kernel stacks live from here on: kernel_stack.c. At boot. */
void kernel_stacks_init(uint64_t base);

#endif
