/*
 * Physical pages and the kernel heap.
 *
 * Every usable physical page has a struct page. Pages are counted: whoever maps, queues or caches a
 * page holds a reference; the last page_put frees it. All pages are mapped in the kernel
 * (page_addr).
 */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include "core/atomic.h"
#include "core/list.h"

struct page {
    refcount_t refs;
    uint8_t order; /* of an allocated block's first page */
    uint8_t flags; /* the allocator's and the slab's */
    uint16_t slab_objects;
    uint32_t map_count; /* user mappings of it (linux/mm): for copy-on-write decisions */
    void *owner;        /* slab cache, or page cache object */
    struct list link;   /* free list, slab list, LRU */
    uint64_t index;     /* page cache: page number in the file */
};

/* Bytes in a page (or block of pages): off + len lie within it. References are as each user says.
 */
struct page_part {
    struct page *page;
    uint32_t off, len;
};

/* Flags of page_alloc. */
#define PAGE_ZERO 1u   /* cleared */
#define PAGE_ATOMIC 2u /* may dip into the reserve: bottom halves */

/* A block of 2^order contiguous pages with one reference on the first page, or NULL. Threads and
 * bottom halves, not hard interrupts. */
struct page *page_alloc(unsigned order, unsigned flags);
static inline void page_get(struct page *p)
{
    ref_get(&p->refs);
}
/* Drops a reference; the last one frees the block. Any context. */
void page_put(struct page *p);

#if __has_include("arch/page.h")
#include "arch/page.h" /* the same four, inline */
#endif
void *page_addr(const struct page *p);
paddr_t page_paddr(const struct page *p);
/* The page that holds a direct-mapped kernel address (from page_addr, kmalloc or kpages), else
 * NULL. */
struct page *page_of(const void *addr);
struct page *page_of_paddr(paddr_t pa);

struct mem_stats {
    uint64_t total_pages, free_pages, slab_pages;
};
void mem_stats(struct mem_stats *out);
/* Called (thread context) when memory runs short; frees clean page cache. Returns pages freed. */
void mem_register_shrinker(size_t (*shrink)(size_t pages));

/* Heap: any size; up to 4 MiB contiguous; aligned to 16 (to its size for powers of two up to a
 * page). NULL when out of memory. Threads and bottom halves, not hard interrupts. kfree(NULL) is
 * allowed. */
void *kmalloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *kzalloc(size_t size) __attribute__((malloc, alloc_size(1)));
void *krealloc(void *old, size_t size);
void kfree(void *ptr);
char *kstrdup(const char *s);

/* Caches of equal objects with per-CPU free lists: the fast path of packets, sockets, threads. */
struct slab;
struct slab *slab_create(const char *name, size_t size, size_t align);
void *slab_alloc(struct slab *s);
void slab_free(struct slab *s, void *ptr);
/* Every slab cache: name, object size, objects in use. Stops when fn returns false. */
void slab_for_each(bool (*fn)(const char *name, size_t size, size_t used, void *arg), void *arg);

#endif
