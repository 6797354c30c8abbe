/*
 * The page cache: for each regular file a radix tree from page number to page, 64 slots a node. A
 * file of one page has it right in the root. The low bit of a slot marks a page that is dirty:
 * changed and not written to storage.
 *
 * cache->lock covers the tree. cache->fill serialises what makes a page appear (reading from
 * storage, filling a hole) against truncation, so that no page appears behind a new end. Order:
 * vnode->lock, fill, lock; a page fault takes only the last two.
 */
#include "fs/internal.h"

#define RADIX_SHIFT 6
#define RADIX_SLOTS (1u << RADIX_SHIFT)
#define RADIX_LEVELS 11 /* 64-bit page numbers */
#define SLOT_DIRTY 1ul

struct radix_node {
    void *slots[RADIX_SLOTS];
    unsigned count;
};

struct page_cache {
    spinlock_t lock;
    unsigned height; /* of the tree; 0: root is the slot of page 0 */
    void *root;
    uint64_t pages;
    uint64_t dirty;
    struct mutex fill;
};

static atomic_long total_pages;

size_t page_cache_size(void)
{
    return sizeof(struct page_cache);
}

void page_cache_init(struct page_cache *c)
{
    spin_init(&c->lock);
    mutex_init(&c->fill);
}

uint64_t page_cache_count(const struct page_cache *c)
{
    return c->pages;
}

uint64_t page_cache_total(void)
{
    return atomic_load_explicit(&total_pages, memory_order_relaxed);
}

static struct page *slot_page(void *slot)
{
    return (struct page *)((uintptr_t)slot & ~SLOT_DIRTY);
}

/* Whether a tree of this height has a place for index. */
static bool covers(unsigned height, uint64_t index)
{
    return height * RADIX_SHIFT >= 64 || index >> (height * RADIX_SHIFT) == 0;
}

static unsigned slot_of(uint64_t index, unsigned level)
{
    return (index >> (level * RADIX_SHIFT)) & (RADIX_SLOTS - 1);
}

/* The slot of index, or NULL if its node does not exist. */
static void **find_slot(struct page_cache *c, uint64_t index)
{
    if (!covers(c->height, index))
        return NULL;
    void **slot = &c->root;
    for (unsigned level = c->height; level-- > 0;) {
        struct radix_node *n = *slot;
        if (!n)
            return NULL;
        slot = &n->slots[slot_of(index, level)];
    }
    return slot;
}

/* A node for the tree: the spare one, which the caller has allocated without the lock. */
static struct radix_node *take_node(struct radix_node **spare)
{
    struct radix_node *n = *spare;
    *spare = NULL;
    return n;
}

/* Adds a level above: what was the tree becomes its first slot. */
static bool grow(struct page_cache *c, struct radix_node **spare)
{
    if (c->root) {
        struct radix_node *n = take_node(spare);
        if (!n)
            return false;
        n->slots[0] = c->root;
        n->count = 1;
        c->root = n;
    }
    c->height++;
    return true;
}

/* The slot of index, made if need be, and the node it is in (NULL: the root itself). NULL if that
 * takes a node more than *spare: the caller comes again with another. Empty nodes that stay behind
 * meanwhile, or for good, do no harm. */
static void **make_slot(struct page_cache *c, uint64_t index, struct radix_node **node,
                        struct radix_node **spare)
{
    while (!covers(c->height, index)) {
        if (!grow(c, spare))
            return NULL;
    }
    struct radix_node *parent = NULL;
    void **slot = &c->root;
    for (unsigned level = c->height; level-- > 0;) {
        if (!*slot) {
            *slot = take_node(spare);
            if (!*slot)
                return NULL;
            if (parent)
                parent->count++;
        }
        parent = *slot;
        slot = &parent->slots[slot_of(index, level)];
    }
    *node = parent;
    return slot;
}

/* make_slot with as many nodes as it takes. Called and left with the lock held, which is given up
 * for allocations: they may sleep. NULL when out of memory. */
static void **lock_slot(struct page_cache *c, uint64_t index, struct radix_node **node)
{
    struct radix_node *spare = NULL;
    void **slot;
    while (!(slot = make_slot(c, index, node, &spare))) {
        spin_unlock(&c->lock);
        spare = kzalloc(sizeof(*spare));
        spin_lock(&c->lock);
        if (!spare)
            return NULL;
    }
    if (unlikely(spare != NULL)) /* somebody else has made what was missing */
        kfree(spare);
    return slot;
}

/* Empties the slot of index and frees nodes that become empty. */
static void tree_remove(struct page_cache *c, uint64_t index)
{
    void **path[RADIX_LEVELS + 1];
    unsigned depth = 0;
    void **slot = &c->root;
    for (unsigned level = c->height; level-- > 0;) {
        path[depth++] = slot;
        slot = &((struct radix_node *)*slot)->slots[slot_of(index, level)];
    }
    *slot = NULL;
    while (depth-- > 0) {
        struct radix_node *n = *path[depth];
        if (--n->count)
            return;
        kfree(n);
        *path[depth] = NULL;
    }
    c->height = 0;
}

/* The first used slot at or behind *index within the subtree `slot` of `height`, whose first index
 * is base. */
static void **next_in(void **slot, unsigned height, uint64_t base, uint64_t *index)
{
    if (!*slot)
        return NULL;
    if (height == 0) {
        *index = base;
        return slot;
    }
    struct radix_node *n = *slot;
    unsigned level = height - 1;
    unsigned i = *index > base ? slot_of(*index, level) : 0;
    for (; i < RADIX_SLOTS; i++) {
        void **found =
            next_in(&n->slots[i], level, base + ((uint64_t)i << (level * RADIX_SHIFT)), index);
        if (found)
            return found;
    }
    return NULL;
}

/* Recursion is as deep as the tree: at most RADIX_LEVELS. */
static void **next_slot(struct page_cache *c, uint64_t *index)
{
    return covers(c->height, *index) ? next_in(&c->root, c->height, 0, index) : NULL;
}

struct page *page_cache_find(struct page_cache *c, uint64_t index)
{
    spin_lock(&c->lock);
    void **slot = find_slot(c, index);
    struct page *page = slot ? slot_page(*slot) : NULL;
    if (page)
        page_get(page);
    spin_unlock(&c->lock);
    return page;
}

struct page *page_cache_next(struct page_cache *c, uint64_t *index)
{
    spin_lock(&c->lock);
    void **slot = next_slot(c, index);
    struct page *page = slot ? slot_page(*slot) : NULL;
    if (page)
        page_get(page);
    spin_unlock(&c->lock);
    return page;
}

/* Accounts for pages of file data where the cache is the storage. */
static bool charge(struct filesystem *fs, long n)
{
    long used = atomic_fetch_add_explicit(&fs->pages, n, memory_order_relaxed);
    if (!fs->max_pages || used + n <= fs->max_pages)
        return true;
    atomic_fetch_sub_explicit(&fs->pages, n, memory_order_relaxed);
    return false;
}

static void uncharge(struct filesystem *fs, long n)
{
    atomic_fetch_sub_explicit(&fs->pages, n, memory_order_relaxed);
}

static void take_slot(struct page_cache *c, void **slot, uint64_t index, struct page *page)
{
    page->index = index;
    page->owner = c;
    *slot = page;
}

int page_cache_insert(struct vnode *v, uint64_t index, struct page *page)
{
    struct page_cache *c = v->cache;
    if (!charge(v->fs, 1))
        return -ENOSPC;
    struct radix_node *node;
    spin_lock(&c->lock);
    void **slot = lock_slot(c, index, &node);
    int err = !slot ? -ENOMEM : *slot ? -EEXIST : 0;
    if (!err) {
        take_slot(c, slot, index, page);
        if (node)
            node->count++;
        c->pages++;
    }
    spin_unlock(&c->lock);
    if (err) {
        uncharge(v->fs, 1);
        return err;
    }
    atomic_fetch_add_explicit(&total_pages, 1, memory_order_relaxed);
    return 0;
}

int page_cache_insert_run(struct vnode *v, uint64_t index, const char *data, size_t n)
{
    struct page_cache *c = v->cache;
    if (!charge(v->fs, n))
        return -ENOSPC;
    struct radix_node *node = NULL;
    void **slot = NULL;
    size_t done = 0;
    spin_lock(&c->lock);
    for (; done < n; done++, index++) {
        if (node && index % RADIX_SLOTS) /* the next slot of the same node */
            slot++;
        else if (!(slot = lock_slot(c, index, &node)))
            break;
        take_slot(c, slot, index, page_of(data + done * PAGE_SIZE));
        if (node)
            node->count++;
    }
    c->pages += done;
    spin_unlock(&c->lock);
    atomic_fetch_add_explicit(&total_pages, done, memory_order_relaxed);
    uncharge(v->fs, n - done);
    return done < n ? -ENOMEM : 0;
}

/* Makes the page of an index that has none. c->fill is held. */
static int fill_page(struct vnode *v, uint64_t index, struct page **out)
{
    struct page *page = page_alloc(0, PAGE_ZERO);
    if (!page)
        return -ENOMEM;
    int err = v->ops->readpage ? v->ops->readpage(v, page, index) : 0;
    if (!err)
        err = page_cache_insert(v, index, page);
    if (err) {
        page_put(page);
        return err;
    }
    page_get(page);
    *out = page;
    return 0;
}

int page_cache_grab(struct vnode *v, uint64_t index, struct page **out)
{
    struct page_cache *c = v->cache;
    *out = page_cache_find(c, index);
    if (likely(*out != NULL))
        return 0;
    mutex_lock(&c->fill);
    int err = 0;
    *out = page_cache_find(c, index);
    if (!*out)
        err = fill_page(v, index, out);
    mutex_unlock(&c->fill);
    return err;
}

int page_cache_add(struct vnode *v, uint64_t index, struct page *page)
{
    struct page_cache *c = v->cache;
    mutex_lock(&c->fill);
    int err = page_cache_insert(v, index, page);
    mutex_unlock(&c->fill);
    return err;
}

int vnode_get_page(struct vnode *v, uint64_t index, bool create, struct page **out)
{
    struct page_cache *c = v->cache;
    if (unlikely(!c))
        return -ENODEV;
    if (index >= DIV_ROUND_UP(READ_ONCE(v->attr.size), PAGE_SIZE))
        return -ENXIO;
    *out = page_cache_find(c, index);
    if (likely(*out != NULL))
        return 0;
    if (!create && !v->ops->readpage)
        return -ENOENT;
    mutex_lock(&c->fill);
    int err = 0;
    *out = page_cache_find(c, index);
    if (!*out) {
        if (index >= DIV_ROUND_UP(READ_ONCE(v->attr.size), PAGE_SIZE)) /* truncated meanwhile */
            err = -ENXIO;
        else
            err = fill_page(v, index, out);
    }
    mutex_unlock(&c->fill);
    return err;
}

struct page *vnode_find_page(struct vnode *v, uint64_t index)
{
    if (!v->cache || index >= DIV_ROUND_UP(READ_ONCE(v->attr.size), PAGE_SIZE))
        return NULL;
    return page_cache_find(v->cache, index);
}

#define DROP_BATCH 32

void page_cache_drop(struct vnode *v, uint64_t first, uint64_t last)
{
    struct page_cache *c = v->cache;
    struct page *batch[DROP_BATCH];
    unsigned n;
    do {
        n = 0;
        spin_lock(&c->lock);
        while (n < DROP_BATCH && c->pages) {
            void **slot = next_slot(c, &first);
            if (!slot || first > last)
                break;
            if ((uintptr_t)*slot & SLOT_DIRTY)
                c->dirty--;
            struct page *page = slot_page(*slot);
            page->owner = NULL;
            batch[n++] = page;
            tree_remove(c, first);
            c->pages--;
        }
        spin_unlock(&c->lock);
        for (unsigned i = 0; i < n; i++)
            page_put(batch[i]);
        if (n) {
            uncharge(v->fs, n);
            atomic_fetch_sub_explicit(&total_pages, n, memory_order_relaxed);
        }
    } while (n == DROP_BATCH);
}

void vnode_dirty_page(struct vnode *v, struct page *page)
{
    struct page_cache *c = v->cache;
    if (!v->ops->writepage)
        return;
    spin_lock(&c->lock);
    void **slot = find_slot(c, page->index);
    if (slot && *slot == page) { /* there and clean */
        *slot = (void *)((uintptr_t)page | SLOT_DIRTY);
        c->dirty++;
    }
    spin_unlock(&c->lock);
}

/* The first dirty page at or behind *index, referenced and marked clean, or NULL. */
static struct page *take_dirty(struct page_cache *c, uint64_t *index)
{
    struct page *page = NULL;
    spin_lock(&c->lock);
    void **slot;
    while (c->dirty && (slot = next_slot(c, index)) != NULL) {
        if ((uintptr_t)*slot & SLOT_DIRTY) {
            page = slot_page(*slot);
            page_get(page);
            *slot = page;
            c->dirty--;
            break;
        }
        ++*index;
    }
    spin_unlock(&c->lock);
    return page;
}

int vnode_sync(struct vnode *v)
{
    if (!v->cache || !v->ops->writepage)
        return 0;
    int first_err = 0;
    uint64_t index = 0;
    struct page *page;
    while ((page = take_dirty(v->cache, &index)) != NULL) {
        int err = v->ops->writepage(v, page, index);
        if (err) {
            vnode_dirty_page(v, page);
            first_err = first_err ? first_err : err;
        }
        page_put(page);
        index++;
    }
    return first_err;
}

/* The pages [first, last] leave all mappings. */
static void invalidate_mappings(struct vnode *v, uint64_t first, uint64_t last)
{
    if (list_empty(&v->mappings))
        return;
    mutex_lock(&v->mappings_lock);
    struct vnode_mapping *m;
    list_for_each (m, &v->mappings, link)
        m->invalidate(m, first, last);
    mutex_unlock(&v->mappings_lock);
}

int page_cache_flush(struct vnode *v, uint64_t first, uint64_t last)
{
    invalidate_mappings(v, first, last);
    int err = vnode_sync(v);
    page_cache_drop(v, first, last);
    return err;
}

/* Clears the bytes [from, to) of one page if it exists. */
static int zero_part(struct vnode *v, uint64_t from, uint64_t to)
{
    struct page *page = page_cache_find(v->cache, from / PAGE_SIZE);
    if (!page && v->ops->readpage && from < v->attr.size) {
        int err = page_cache_grab(v, from / PAGE_SIZE, &page);
        if (err)
            return err;
    }
    if (!page)
        return 0;
    memset((char *)page_addr(page) + from % PAGE_SIZE, 0, to - from);
    vnode_dirty_page(v, page);
    page_put(page);
    return 0;
}

int page_cache_punch(struct vnode *v, uint64_t start, uint64_t end)
{
    uint64_t first = DIV_ROUND_UP(start, PAGE_SIZE), last = end / PAGE_SIZE; /* whole ones */
    int err = 0;
    if (first > last) /* within one page */
        return start < end ? zero_part(v, start, end) : 0;
    if (start % PAGE_SIZE)
        err = zero_part(v, start, first * PAGE_SIZE);
    if (!err && end % PAGE_SIZE)
        err = zero_part(v, last * PAGE_SIZE, end);
    if (err || first == last)
        return err;
    page_cache_drop(v, first, last - 1);
    invalidate_mappings(v, first, last - 1);
    return 0;
}

int page_cache_set_size(struct vnode *v, uint64_t size)
{
    struct page_cache *c = v->cache;
    uint64_t old = v->attr.size;
    uint64_t end = MIN(size, old); /* what is behind it in its page reads as zeroes later */
    int err = size != old && end % PAGE_SIZE ? zero_part(v, end, ROUND_UP(end, PAGE_SIZE)) : 0;
    if (err)
        return err;
    mutex_lock(&c->fill);
    WRITE_ONCE(v->attr.size, size);
    mutex_unlock(&c->fill);
    if (size < old || c->pages) { /* also what fallocate put behind the end */
        uint64_t first = DIV_ROUND_UP(size, PAGE_SIZE);
        page_cache_drop(v, first, UINT64_MAX);
        if (size < old)
            invalidate_mappings(v, first, UINT64_MAX);
    }
    return 0;
}
