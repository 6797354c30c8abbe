/* Pages, heap and slabs over malloc: each object is its own allocation, so that ASan sees every
 * bound. */
#include <stdlib.h>

#include "core/page.h"
#include "floor.h"
#include "internal.h"

struct host_page {
    struct page page;
    void *addr;
    bool adopted;           /* the memory is the test's own */
    struct host_page *next; /* hash chain */
};

#define BUCKETS 4096
static struct host_page *buckets[BUCKETS];
static size_t pages_in_use;
static unsigned fail_countdown;

void floor_fail_alloc(unsigned n)
{
    fail_countdown = n;
}
size_t floor_pages_in_use(void)
{
    return pages_in_use;
}

static bool injected_failure(void)
{
    return fail_countdown && --fail_countdown == 0;
}

static struct host_page **bucket_of(const void *addr)
{
    return &buckets[((uintptr_t)addr >> PAGE_SHIFT) % BUCKETS];
}

struct page *page_alloc(unsigned order, unsigned flags)
{
    if (injected_failure())
        return NULL;
    struct host_page *h = calloc(1, sizeof(*h));
    size_t size = PAGE_SIZE << order;
    if (!h || !(h->addr = aligned_alloc(PAGE_SIZE, size)))
        abort();
    memset(h->addr, flags & PAGE_ZERO ? 0 : 0xa5, size);
    ref_init(&h->page.refs, 1);
    h->page.order = order;
    list_init(&h->page.link);
    struct host_page **b = bucket_of(h->addr);
    h->next = *b;
    *b = h;
    pages_in_use += 1UL << order;
    return &h->page;
}

void floor_adopt_pages(void *addr, size_t pages)
{
    for (size_t i = 0; i < pages; i++) {
        struct host_page *h = calloc(1, sizeof(*h));
        if (!h)
            abort();
        h->addr = (char *)addr + i * PAGE_SIZE;
        h->adopted = true;
        ref_init(&h->page.refs, 1);
        list_init(&h->page.link);
        struct host_page **b = bucket_of(h->addr);
        h->next = *b;
        *b = h;
        pages_in_use++;
    }
}

void page_put(struct page *p)
{
    if (!ref_put(&p->refs))
        return;
    struct host_page *h = container_of(p, struct host_page, page);
    struct host_page **at = bucket_of(h->addr);
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    pages_in_use -= 1UL << p->order;
    if (!h->adopted)
        free(h->addr);
    free(h);
}

void *page_addr(const struct page *p)
{
    return container_of(p, struct host_page, page)->addr;
}
paddr_t page_paddr(const struct page *p)
{
    return (paddr_t)(uintptr_t)page_addr(p);
}

struct page *page_of(const void *addr)
{
    const void *base = (const void *)((uintptr_t)addr & PAGE_MASK);
    for (struct host_page *h = *bucket_of(base); h; h = h->next)
        if (h->addr == base)
            return &h->page;
    return NULL;
}

struct page *page_of_paddr(paddr_t pa)
{
    return page_of((void *)(uintptr_t)pa);
}

void mem_stats(struct mem_stats *out)
{
    *out = (struct mem_stats){.total_pages = 1 << 20, .free_pages = (1 << 20) - pages_in_use};
}

static unsigned reclaim_count;

bool page_reclaim(void)
{
    return reclaim_count && reclaim_count--;
}
void floor_reclaimable(unsigned times)
{
    reclaim_count = times;
}

void mem_register_shrinker(size_t (*shrink)(size_t pages))
{
    (void)shrink;
}

void *kmalloc(size_t size)
{
    return injected_failure() ? NULL : malloc(size ? size : 1);
}
void *kzalloc(size_t size)
{
    return injected_failure() ? NULL : calloc(1, size ? size : 1);
}
void *krealloc(void *old, size_t size)
{
    return injected_failure() ? NULL : realloc(old, size);
}
void kfree(void *ptr)
{
    free(ptr);
}

char *kstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = kmalloc(n);
    if (copy)
        memcpy(copy, s, n);
    return copy;
}

struct slab {
    const char *name;
    size_t size, align, used;
};

struct slab *slab_create(const char *name, size_t size, size_t align)
{
    struct slab *s = calloc(1, sizeof(*s));
    *s = (struct slab){.name = name, .size = size, .align = align < 16 ? 16 : align};
    floor_keep(s);
    return s;
}

void *slab_alloc(struct slab *s)
{
    if (injected_failure())
        return NULL;
    void *p = NULL;
    if (posix_memalign(&p, s->align, s->size))
        abort();
    memset(p, 0xa5, s->size);
    s->used++;
    return p;
}

void slab_free(struct slab *s, void *ptr)
{
    if (ptr)
        s->used--;
    free(ptr);
}

void slab_for_each(bool (*fn)(const char *name, size_t size, size_t used, void *arg), void *arg)
{
    (void)fn;
    (void)arg;
}
