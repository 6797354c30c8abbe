/*
 * The page allocator: a buddy system, with a cache of single pages per CPU in front.
 *
 * Free blocks of 2^order pages are on one list per order. Only the first struct page of a free
 * block is meaningful, so booting touches one struct page per 4 MiB; splitting a block initializes
 * its upper half's. Blocks merge only within their 4 MiB, whose struct pages are all valid as soon
 * as one block in it has been split or is not RAM.
 */
#include "core/page.h"

#include "arch/arch.h"
#include "core/main.h"

#define FLAG_FREE 0x80u /* first page of a block on a free list */

#define CACHE_MIN 64    /* single pages a CPU keeps at least, */
#define CACHE_MAX 512   /* at most: what a burst of received data holds; */
#define CACHE_BATCH 32  /* moved at a time */
#define CACHE_SHIFT 8   /* 1/256 of memory in between */
#define RESERVE_SHIFT 8 /* 1/256 of memory is for PAGE_ATOMIC only */
#define MAX_SHRINKERS 8
#define SHRINK_PAGES 256

struct page_cache_cpu {
    unsigned coldest, count;
    struct page *pages[CACHE_MAX]; /* a ring of count pages from the coldest on */
};
static PERCPU struct page_cache_cpu cpu_cache;
static unsigned cache_max = CACHE_MIN;

static struct {
    spinlock_t lock; /* bh */
    struct list free[PAGE_MAX_ORDER + 1];
    size_t free_pages, total_pages, reserve;
} zone;

static size_t (*shrinkers[MAX_SHRINKERS])(size_t pages);
static int shrinker_count;

static size_t pfn_of(const struct page *p)
{
    return page_paddr(p) >> PAGE_SHIFT;
}

static void put_free(struct page *p, unsigned order)
{
    p->order = (uint8_t)order;
    p->flags = FLAG_FREE;
    list_push_front(&zone.free[order], &p->link);
}

static void free_block(struct page *p, unsigned order)
{
    zone.free_pages += 1ul << order;
    while (order < PAGE_MAX_ORDER) {
        struct page *buddy = page_of_paddr((pfn_of(p) ^ 1ul << order) << PAGE_SHIFT);
        if (buddy->flags != FLAG_FREE || buddy->order != order)
            break;
        list_remove(&buddy->link);
        buddy->flags = 0;
        if (buddy < p) {
            p->flags = 0;
            p = buddy;
        }
        order++;
    }
    put_free(p, order);
}

static struct page *take_block(unsigned order)
{
    unsigned from = order;

    while (from <= PAGE_MAX_ORDER && list_empty(&zone.free[from]))
        from++;
    if (from > PAGE_MAX_ORDER)
        return NULL;
    struct page *p = list_pop_front(&zone.free[from], struct page, link);
    while (from > order) {
        from--;
        put_free(p + (1ul << from), from);
    }
    p->flags = 0;
    zone.free_pages -= 1ul << order;
    return p;
}

static struct page **cache_slot(struct page_cache_cpu *c, unsigned i)
{
    return &c->pages[(c->coldest + i) % CACHE_MAX];
}

/* Fills an empty cache; false if there is nothing to be had. */
static __attribute__((noinline)) bool refill_cpu(struct page_cache_cpu *c)
{
    spin_lock(&zone.lock);
    while (c->count < CACHE_BATCH && zone.free_pages > zone.reserve) {
        struct page *p = take_block(0);
        if (!p)
            break;
        *cache_slot(c, c->count++) = p;
    }
    spin_unlock(&zone.lock);
    return c->count > 0;
}

/* Gives the coldest pages of a full cache back. */
static __attribute__((noinline)) void drain_cpu(struct page_cache_cpu *c)
{
    spin_lock(&zone.lock);
    for (unsigned i = 0; i < CACHE_BATCH; i++)
        free_block(*cache_slot(c, i), 0);
    spin_unlock(&zone.lock);
    c->coldest += CACHE_BATCH;
    c->count -= CACHE_BATCH;
}

static struct page *take_from_cpu(void)
{
    struct page_cache_cpu *c = cpu_local(cpu_cache);

    if (unlikely(!c->count) && !refill_cpu(c))
        return NULL;
    return *cache_slot(c, --c->count);
}

static void give_to_cpu(struct page *p)
{
    struct page_cache_cpu *c = cpu_local(cpu_cache);

    if (unlikely(c->count == cache_max))
        drain_cpu(c);
    *cache_slot(c, c->count++) = p;
}

bool page_reclaim(void)
{
    size_t freed = 0;

    if (in_bh() || !arch_irqs_on())
        return false;
    for (int i = 0; i < shrinker_count; i++)
        freed += shrinkers[i](SHRINK_PAGES);
    return freed > 0;
}

static __attribute__((noinline)) struct page *take_from_zone(unsigned order, unsigned flags)
{
    struct page *p = NULL;

    spin_lock(&zone.lock);
    if ((flags & PAGE_ATOMIC) || zone.free_pages >= zone.reserve + (1ul << order))
        p = take_block(order);
    spin_unlock(&zone.lock);
    return p;
}

static struct page *try_alloc(unsigned order, unsigned flags)
{
    struct page *p = NULL;

    bh_disable();
    if (likely(order == 0))
        p = take_from_cpu();
    if (unlikely(!p))
        p = take_from_zone(order, flags);
    bh_enable();
    return p;
}

struct page *page_alloc(unsigned order, unsigned flags)
{
    ASSERT(order <= PAGE_MAX_ORDER);
    struct page *p;
    while (unlikely(!(p = try_alloc(order, flags)))) {
        /* Atomic callers hold locks that shrinkers may want. */
        if ((flags & PAGE_ATOMIC) || !page_reclaim())
            return NULL;
    }
    ref_init(&p->refs, 1);
    p->order = (uint8_t)order;
    p->flags = 0;
    p->slab_objects = 0;
    p->map_count = 0;
    p->owner = NULL;
    p->index = 0;
    list_init(&p->link);
    if (flags & PAGE_ZERO)
        memset(page_addr(p), 0, PAGE_SIZE << order);
    return p;
}

/* The rare paths are not inline, so that the frequent ones need not save registers for them. */
static __attribute__((noinline)) void free_page(struct page *p)
{
    ASSERT(p->flags == 0);
    bh_disable();
    if (p->order == 0) {
        give_to_cpu(p);
    } else {
        spin_lock(&zone.lock);
        free_block(p, p->order);
        spin_unlock(&zone.lock);
    }
    bh_enable();
}

void page_put(struct page *p)
{
    if (ref_put(&p->refs))
        free_page(p);
}

static void add_range(paddr_t start, paddr_t end)
{
    zone.total_pages += (end - start) >> PAGE_SHIFT;
    while (start < end) {
        unsigned order = 0;
        while (order < PAGE_MAX_ORDER && (start & (PAGE_SIZE << order)) == 0 &&
               start + (PAGE_SIZE << (order + 1)) <= end)
            order++;
        put_free(page_of_paddr(start), order);
        zone.free_pages += 1ul << order;
        start += PAGE_SIZE << order;
    }
}

/* Blocks that are not all free RAM: all their struct pages begin as in use, with one reference. */
static void init_block(paddr_t block)
{
    struct page *p = page_of_paddr(block);

    memset(p, 0, sizeof(*p) << PAGE_MAX_ORDER);
    for (size_t i = 0; i < 1ul << PAGE_MAX_ORDER; i++)
        ref_init(&p[i].refs, 1);
}

void page_init(void)
{
    static struct mem_range ranges[128];
    int n = arch_memory_map(ranges, ARRAY_SIZE(ranges));
    paddr_t next = 0;

    for (unsigned i = 0; i <= PAGE_MAX_ORDER; i++)
        list_init(&zone.free[i]);
    for (int i = 0; i < n; i++) {
        const struct mem_range *r = &ranges[i];
        paddr_t block = MAX(next, ROUND_DOWN(r->start, PAGE_BLOCK_SIZE));
        for (; block < r->end; block += PAGE_BLOCK_SIZE) {
            if (!r->usable || block < r->start || block + PAGE_BLOCK_SIZE > r->end)
                init_block(block);
        }
        next = block;
    }
    for (int i = 0; i < n; i++) {
        if (ranges[i].usable)
            add_range(ranges[i].start, ranges[i].end);
    }
    zone.reserve = zone.total_pages >> RESERVE_SHIFT;
    cache_max =
        (unsigned)MIN(MAX(zone.total_pages >> CACHE_SHIFT, (size_t)CACHE_MIN), (size_t)CACHE_MAX);
}

void mem_register_shrinker(size_t (*fn)(size_t pages))
{
    ASSERT(shrinker_count < MAX_SHRINKERS);
    shrinkers[shrinker_count++] = fn;
}

size_t slab_page_count(void);

void mem_stats(struct mem_stats *out)
{
    size_t cached = 0;

    for (int i = 0; i < cpu_count; i++)
        cached += (size_t)cpu_local_of(cpu_cache, i)->count;
    *out = (struct mem_stats){.total_pages = zone.total_pages,
                              .free_pages = zone.free_pages + cached,
                              .slab_pages = slab_page_count()};
}
