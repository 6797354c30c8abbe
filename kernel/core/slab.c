/*
 * Slab caches and the heap. Each CPU has a list of free objects per cache, linked through their
 * first word; refills and overflows move a batch between it and the slabs (blocks of pages) under
 * the cache's lock. kmalloc is a set of such caches by size; larger blocks come from the page
 * allocator.
 */
#include "core/main.h"
#include "core/page.h"

#define FLAG_SLAB 0x40u      /* page of a slab; owner: the cache */
#define FLAG_SLAB_TAIL 0x20u /* not its first page: index holds the first one's address */

#define SLAB_MAX_ORDER 3
#define SLAB_MIN_OBJECTS 8
#define KMALLOC_MAX (PAGE_SIZE << PAGE_MAX_ORDER)

struct slab_cpu {
    void *free;
    uint32_t count;
};

struct slab {
    const char *name;
    uint32_t size;   /* of an object, padded */
    uint32_t wanted; /* as asked for */
    uint32_t batch;
    uint16_t order;
    uint16_t per_slab;
    spinlock_t lock;     /* bh */
    struct list partial; /* slabs with free objects */
    size_t objects;      /* out of the slabs: in use or in a CPU's list */
    struct list link;    /* all caches */
    struct slab_cpu cpu[MAX_CPUS] __attribute__((aligned(64)));
};

/* A slab's first struct page: owner = cache, index = list of free objects, slab_objects = how many
 * are handed out. */

static spinlock_t caches_lock;
static struct list caches = LIST_INIT(caches);
static _Atomic size_t slab_pages;

static const struct {
    uint16_t size;
    const char *name;
} kmalloc_classes[] = {
    {16, "kmalloc-16"},     {32, "kmalloc-32"},     {64, "kmalloc-64"},     {96, "kmalloc-96"},
    {128, "kmalloc-128"},   {192, "kmalloc-192"},   {256, "kmalloc-256"},   {384, "kmalloc-384"},
    {512, "kmalloc-512"},   {768, "kmalloc-768"},   {1024, "kmalloc-1024"}, {1536, "kmalloc-1536"},
    {2048, "kmalloc-2048"}, {4096, "kmalloc-4096"},
};
static struct slab kmalloc_caches[ARRAY_SIZE(kmalloc_classes)];
static uint8_t kmalloc_index[4096 / 16 + 1]; /* by (size + 15) / 16 */

static struct page *slab_head(struct page *p)
{
    return p->flags & FLAG_SLAB_TAIL ? (struct page *)p->index : p;
}

static void setup(struct slab *s, const char *name, size_t size, size_t align)
{
    ASSERT(size <= PAGE_SIZE << SLAB_MAX_ORDER && align <= PAGE_SIZE);
    size_t padded = ROUND_UP(MAX(size, sizeof(void *)), MAX(align, sizeof(void *)));
    unsigned order = 0;
    while (order < SLAB_MAX_ORDER && (PAGE_SIZE << order) / padded < SLAB_MIN_OBJECTS)
        order++;
    s->name = name;
    s->size = (uint32_t)padded;
    s->wanted = (uint32_t)size;
    s->order = (uint16_t)order;
    s->per_slab = (uint16_t)((PAGE_SIZE << order) / padded);
    s->batch = padded <= 256 ? 32 : padded <= 1024 ? 16 : 8;
    spin_init(&s->lock);
    list_init(&s->partial);
    spin_lock_bh(&caches_lock);
    list_push_back(&caches, &s->link);
    spin_unlock_bh(&caches_lock);
}

void slab_init(void)
{
    size_t class = 0;

    for (size_t i = 0; i < ARRAY_SIZE(kmalloc_classes); i++) {
        size_t size = kmalloc_classes[i].size;
        setup(&kmalloc_caches[i], kmalloc_classes[i].name, size, size & -size);
    }
    for (size_t i = 0; i < ARRAY_SIZE(kmalloc_index); i++) {
        if (i * 16 > kmalloc_classes[class].size)
            class ++;
        kmalloc_index[i] = (uint8_t) class;
    }
}

struct slab *slab_create(const char *name, size_t size, size_t align)
{
    struct slab *s = kzalloc(sizeof(*s));

    if (s)
        setup(s, name, size, align);
    return s;
}

/* A new slab, all objects free. Its lock is held. */
static struct page *new_slab(struct slab *s)
{
    struct page *p = page_alloc(s->order, PAGE_ATOMIC);

    if (!p)
        return NULL;
    atomic_fetch_add_explicit(&slab_pages, 1ul << s->order, memory_order_relaxed);
    p->owner = s;
    p->flags = FLAG_SLAB;
    for (size_t i = 1; i < 1ul << s->order; i++) {
        p[i].flags = FLAG_SLAB | FLAG_SLAB_TAIL;
        p[i].index = (uint64_t)p;
        p[i].owner = s;
    }
    char *base = page_addr(p);
    void *next = NULL;
    for (size_t i = s->per_slab; i-- > 0;) {
        *(void **)(base + i * s->size) = next;
        next = base + i * s->size;
    }
    p->index = (uint64_t)next;
    list_push_front(&s->partial, &p->link);
    return p;
}

static bool refill(struct slab *s, struct slab_cpu *c)
{
    spin_lock(&s->lock);
    while (c->count < s->batch) {
        struct page *p =
            list_empty(&s->partial) ? new_slab(s) : list_first(&s->partial, struct page, link);
        if (!p)
            break;
        while (c->count < s->batch && p->index) {
            void **object = (void **)p->index;
            p->index = (uint64_t)*object;
            *object = c->free;
            c->free = object;
            c->count++;
            p->slab_objects++;
            s->objects++;
        }
        if (!p->index)
            list_remove(&p->link);
    }
    spin_unlock(&s->lock);
    return c->count > 0;
}

static void release_slab(struct slab *s, struct page *p)
{
    list_remove(&p->link);
    for (size_t i = 0; i < 1ul << s->order; i++)
        p[i].flags = 0;
    atomic_fetch_sub_explicit(&slab_pages, 1ul << s->order, memory_order_relaxed);
    page_put(p);
}

static void drain(struct slab *s, struct slab_cpu *c)
{
    spin_lock(&s->lock);
    for (uint32_t n = s->batch; n > 0; n--) {
        void **object = c->free;
        c->free = *object;
        c->count--;
        struct page *p = slab_head(page_of(object));
        if (!p->index)
            list_push_front(&s->partial, &p->link);
        *object = (void *)p->index;
        p->index = (uint64_t)object;
        s->objects--;
        /* Keep one empty slab per cache. */
        if (--p->slab_objects == 0 && s->partial.next != s->partial.prev)
            release_slab(s, p);
    }
    spin_unlock(&s->lock);
}

void *slab_alloc(struct slab *s)
{
    bh_disable();
    struct slab_cpu *c = &s->cpu[cpu_id()];
    while (unlikely(!c->free) && !refill(s, c)) {
        bh_enable();
        if (!page_reclaim())
            return NULL;
        bh_disable();
        c = &s->cpu[cpu_id()];
    }
    void **object = c->free;
    c->free = *object;
    c->count--;
    bh_enable();
    return object;
}

void slab_free(struct slab *s, void *ptr)
{
    bh_disable();
    struct slab_cpu *c = &s->cpu[cpu_id()];
    *(void **)ptr = c->free;
    c->free = ptr;
    if (unlikely(++c->count > 2 * s->batch))
        drain(s, c);
    bh_enable();
}

void slab_for_each(bool (*fn)(const char *name, size_t size, size_t used, void *arg), void *arg)
{
    struct slab *s;

    spin_lock_bh(&caches_lock);
    list_for_each (s, &caches, link) {
        size_t cached = 0;
        for (int i = 0; i < cpu_count; i++)
            cached += READ_ONCE(s->cpu[i].count);
        size_t used = s->objects > cached ? s->objects - cached : 0;
        if (!fn(s->name, s->wanted, used, arg))
            break;
    }
    spin_unlock_bh(&caches_lock);
}

size_t slab_page_count(void);
size_t slab_page_count(void)
{
    return slab_pages;
}

void *kmalloc(size_t size)
{
    if (likely(size <= 4096))
        return slab_alloc(&kmalloc_caches[kmalloc_index[(size + 15) / 16]]);
    if (size > KMALLOC_MAX)
        return NULL;
    unsigned order = 64 - PAGE_SHIFT - (unsigned)__builtin_clzl(size - 1);
    struct page *p = page_alloc(order, 0);
    return p ? page_addr(p) : NULL;
}

void *kzalloc(size_t size)
{
    void *p = kmalloc(size);
    return p ? memset(p, 0, size) : NULL;
}

void kfree(void *ptr)
{
    if (!ptr)
        return;
    struct page *p = page_of(ptr);
    ASSERT(p);
    if (likely(p->flags & FLAG_SLAB)) {
        slab_free(p->owner, ptr);
    } else {
        ASSERT(((uint64_t)ptr & ~PAGE_MASK) == 0);
        page_put(p);
    }
}

static size_t usable_size(const void *ptr)
{
    const struct page *p = page_of(ptr);
    return p->flags & FLAG_SLAB ? ((const struct slab *)p->owner)->wanted : PAGE_SIZE << p->order;
}

void *krealloc(void *old, size_t size)
{
    if (!old)
        return kmalloc(size);
    size_t have = usable_size(old);
    if (size <= have && size >= have / 4)
        return old;
    void *p = kmalloc(size);
    if (!p)
        return NULL;
    memcpy(p, old, MIN(have, size));
    kfree(old);
    return p;
}

char *kstrdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *p = kmalloc(n);
    return p ? memcpy(p, s, n) : NULL;
}
