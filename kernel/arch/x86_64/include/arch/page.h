/* x86-64: struct page, physical and direct-mapped address of a page, inline. Included by
 * core/mem.h. */
#ifndef ARCH_PAGE_H
#define ARCH_PAGE_H

#define ARCH_DIRECT_BASE 0xffff800000000000ul
#define ARCH_DIRECT_END 0xffffc00000000000ul
#define ARCH_PAGES ((struct page *)0xffffc00000000000ul)

static inline paddr_t page_paddr(const struct page *p)
{
    return (paddr_t)(p - ARCH_PAGES) << PAGE_SHIFT;
}
static inline void *page_addr(const struct page *p)
{
    return (void *)(ARCH_DIRECT_BASE + page_paddr(p));
}
static inline struct page *page_of_paddr(paddr_t pa)
{
    return ARCH_PAGES + (pa >> PAGE_SHIFT);
}
static inline struct page *page_of(const void *addr)
{
    uint64_t a = (uint64_t)addr;
    return a - ARCH_DIRECT_BASE < ARCH_DIRECT_END - ARCH_DIRECT_BASE
               ? page_of_paddr(a - ARCH_DIRECT_BASE)
               : (struct page *)0;
}

#endif
