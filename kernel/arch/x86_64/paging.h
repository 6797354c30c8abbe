/* x86-64 page tables. */
#ifndef X86_PAGING_H
#define X86_PAGING_H

/* Index into the table of a level (0: page table ... 3: top) for a virtual address. */
#define PT_INDEX(va, level) (((va) >> (12 + 9 * (level))) & 511)

#endif
