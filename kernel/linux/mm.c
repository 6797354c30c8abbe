/* Address spaces: life cycle, fork, and the tree of regions. */
#include "linux/mm.h"

#include "linux/aio.h"
#include "linux/process.h"

struct page *mm_zero_page;
static struct slab *region_slab;

void mm_init(void)
{
    mm_zero_page = page_alloc(0, PAGE_ZERO);
    region_slab = slab_create("region", sizeof(struct region), 16);
    ASSERT(mm_zero_page && region_slab);
}

struct mm *mm_create(void)
{
    struct mm *mm = kzalloc(sizeof(*mm));
    if (!mm)
        return NULL;
    mm->as = aspace_create();
    if (!mm->as) {
        kfree(mm);
        return NULL;
    }
    ref_init(&mm->refs, 1);
    rwlock_init(&mm->lock);
    spin_init(&mm->pt_lock);
    list_init(&mm->aio_contexts);
    mm->mmap_base = USER_MAX;
    return mm;
}

static void drop_page(struct page *page, uaddr_t va, bool dirty, void *arg)
{
    struct mm *mm = arg;
    (void)va;
    (void)dirty; /* shared file pages were marked by the fault that made them writable */
    if (page == mm_zero_page)
        return;
    atomic_fetch_sub_explicit(&mm->rss, 1, memory_order_relaxed);
    page_put(page);
}

void mm_zap(struct mm *mm, uaddr_t start, uaddr_t end)
{
    spin_lock(&mm->pt_lock);
    aspace_unmap(mm->as, start, end, drop_page, mm);
    spin_unlock(&mm->pt_lock);
}

/* --- the tree --------------------------------------------------------------------------------- */

static struct region *region_of(struct rb_node *n)
{
    return n ? container_of(n, struct region, node) : NULL;
}

struct region *region_next(const struct region *r)
{
    return region_of(rb_next(&r->node));
}
struct region *region_prev(const struct region *r)
{
    return region_of(rb_prev(&r->node));
}

static int region_compare(const struct rb_node *a, const struct rb_node *b)
{
    uaddr_t x = container_of(a, struct region, node)->start;
    uaddr_t y = container_of(b, struct region, node)->start;
    return x < y ? -1 : x > y;
}

struct region *region_find(const struct mm *mm, uaddr_t va)
{
    struct region *best = NULL;
    struct rb_node *n = mm->regions.root;
    while (n) {
        struct region *r = container_of(n, struct region, node);
        if (va < r->end) {
            best = r;
            if (va >= r->start)
                break;
            n = n->left;
        } else {
            n = n->right;
        }
    }
    return best;
}

/* Truncation: called with vnode->mappings_lock held, which keeps start, end and pgoff stable. */
static void region_invalidate(struct vnode_mapping *m, uint64_t first, uint64_t last)
{
    struct region *r = container_of(m, struct region, mapping);
    uint64_t pages = (r->end - r->start) >> PAGE_SHIFT;
    uint64_t end = r->pgoff + pages;
    if (first >= end || last < r->pgoff)
        return;
    uint64_t from = MAX(first, r->pgoff) - r->pgoff;
    uint64_t to = last >= end ? pages : last + 1 - r->pgoff;
    mm_zap(r->mm, r->start + (from << PAGE_SHIFT), r->start + (to << PAGE_SHIFT));
}

void region_detach(struct region *r)
{
    if (r->vnode)
        vnode_remove_mapping(r->vnode, &r->mapping);
}

void region_attach(struct region *r)
{
    if (r->vnode)
        vnode_add_mapping(r->vnode, &r->mapping);
}

static void region_insert(struct mm *mm, struct region *r)
{
    r->mm = mm;
    r->mapping.invalidate = region_invalidate;
    r->mapping.writes = r->flags & REGION_SHARED && r->flags & REGION_MAYWRITE;
    rb_insert(&mm->regions, &r->node, region_compare);
    mm->region_count++;
    mm->total_pages += (r->end - r->start) >> PAGE_SHIFT;
    region_attach(r);
}

static void region_unlink(struct region *r)
{
    region_detach(r);
    rb_remove(&r->mm->regions, &r->node);
    r->mm->region_count--;
    r->mm->total_pages -= (r->end - r->start) >> PAGE_SHIFT;
}

static void region_free(struct region *r)
{
    if (r->file)
        file_put(r->file);
    if (r->vnode)
        vnode_put(r->vnode);
    slab_free(region_slab, r);
}

static struct region *region_copy(const struct region *r)
{
    struct region *copy = slab_alloc(region_slab);
    if (!copy)
        return NULL;
    *copy = *r;
    copy->mapping = (struct vnode_mapping){0};
    if (r->file)
        file_get(r->file);
    if (r->vnode)
        vnode_get(r->vnode);
    return copy;
}

int mm_split(struct mm *mm, uaddr_t va)
{
    struct region *r = region_find(mm, va);
    if (!r || r->start >= va)
        return 0;
    struct region *high = region_copy(r);
    if (!high)
        return -ENOMEM;
    high->start = va;
    high->pgoff += (va - r->start) >> PAGE_SHIFT;
    region_detach(r);
    r->mm->total_pages -= (r->end - va) >> PAGE_SHIFT;
    r->end = va;
    region_attach(r);
    region_insert(mm, high);
    return 0;
}

static bool regions_join(const struct region *a, const struct region *b)
{
    const unsigned ignore = REGION_HAS_ANON;
    return a && b && a->end == b->start && a->prot == b->prot && a->vnode == b->vnode &&
           a->file == b->file && a->name == b->name && (a->flags | ignore) == (b->flags | ignore) &&
           !(a->flags & REGION_GROWSDOWN) &&
           (!a->vnode || a->pgoff + ((a->end - a->start) >> PAGE_SHIFT) == b->pgoff);
}

/* a takes over b, which is freed. */
static struct region *join(struct region *a, struct region *b)
{
    uaddr_t end = b->end;
    unsigned flags = b->flags;
    region_unlink(b);
    region_free(b);
    region_detach(a);
    a->mm->total_pages += (end - a->end) >> PAGE_SHIFT;
    a->end = end;
    a->flags |= flags;
    region_attach(a);
    return a;
}

struct region *mm_merge(struct region *r)
{
    struct region *prev = region_prev(r);
    if (regions_join(prev, r))
        r = join(prev, r);
    struct region *next = region_next(r);
    if (regions_join(r, next))
        r = join(r, next);
    return r;
}

/* --- mapping and unmapping -------------------------------------------------------------------- */

/* The highest free range of len bytes below top, or 0. */
static uaddr_t gap_below(struct mm *mm, uaddr_t top, uint64_t len)
{
    uaddr_t high = top;
    struct region *r = region_find(mm, top - 1);
    struct region *below = r ? region_prev(r) : region_of(rb_last(&mm->regions));
    if (r)
        high = MIN(high, r->start);
    for (;;) {
        uaddr_t low = below ? below->end : USER_MIN;
        if (high > low && high - low >= len)
            return high - len;
        if (!below)
            return 0;
        high = below->start;
        below = region_prev(below);
    }
}

uaddr_t mm_find_gap(struct mm *mm, uint64_t len, bool below_2g)
{
    if (below_2g)
        return gap_below(mm, 0x80000000UL, len);
    uaddr_t addr = gap_below(mm, mm->mmap_base, len);
    return addr ? addr : gap_below(mm, USER_MAX, len);
}

int mm_unmap_locked(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct region *r = region_find(mm, start);
    if (!r || r->start >= end)
        return 0;
    if (mm_split(mm, start) || mm_split(mm, end))
        return -ENOMEM;
    struct region *next;
    bool any = false;
    for (r = region_find(mm, start); r && r->start < end; r = next) {
        next = region_next(r);
        region_unlink(r);
        region_free(r);
        any = true;
    }
    if (any)
        mm_zap(mm, start, end);
    return 0;
}

int mm_unmap(struct mm *mm, uaddr_t start, uaddr_t end)
{
    rwlock_write(&mm->lock);
    int err = mm_unmap_locked(mm, start, end);
    rwlock_write_done(&mm->lock);
    return err;
}

static bool range_free(struct mm *mm, uaddr_t start, uaddr_t end)
{
    struct region *r = region_find(mm, start);
    return !r || r->start >= end;
}

#define MAX_REGIONS 65530 /* vm.max_map_count */

long mm_map_locked(struct mm *mm, const struct map_request *m)
{
    uaddr_t addr = m->addr & PAGE_MASK;
    if (m->len == 0 || m->len > USER_MAX)
        return -ENOMEM;
    bool fits = addr >= USER_MIN && addr <= USER_MAX - m->len;
    if (mm->region_count >= MAX_REGIONS)
        return -ENOMEM;
    if (m->fixed) {
        if (!fits)
            return addr < USER_MIN ? -EPERM : -ENOMEM;
        if (m->noreplace && !range_free(mm, addr, addr + m->len))
            return -EEXIST;
        int err = mm_unmap_locked(mm, addr, addr + m->len);
        if (err)
            return err;
    } else if (!addr || !fits || !range_free(mm, addr, addr + m->len)) {
        addr = mm_find_gap(mm, m->len, m->below_2g);
        if (!addr)
            return -ENOMEM;
    }
    struct region *r = slab_alloc(region_slab);
    if (!r)
        return -ENOMEM;
    *r = (struct region){
        .start = addr,
        .end = addr + m->len,
        .prot = m->prot,
        .flags = m->flags | mm->lock_future,
        .vnode = m->vnode,
        .file = m->file,
        .pgoff = m->pgoff,
        .name = m->name,
    };
    if (r->vnode)
        vnode_get(r->vnode);
    else if (!(m->flags & REGION_SHARED))
        r->pgoff = 0;
    if (r->file)
        file_get(r->file);
    region_insert(mm, r);
    mm_merge(r);
    return (long)addr;
}

long mm_map(struct mm *mm, const struct map_request *m)
{
    rwlock_write(&mm->lock);
    long addr = mm_map_locked(mm, m);
    rwlock_write_done(&mm->lock);
    return addr;
}

void mm_put(struct mm *mm)
{
    if (!ref_put(&mm->refs))
        return;
    aio_release(mm);
    mm_unmap_locked(mm, 0, USER_MAX);
    aspace_destroy(mm->as);
    kfree(mm);
}

int mm_map_page(struct mm *mm, uaddr_t va, struct page *page, unsigned prot)
{
    page_get(page);
    int err = aspace_map(mm->as, va, page, prot);
    if (err)
        page_put(page);
    else
        atomic_fetch_add_explicit(&mm->rss, 1, memory_order_relaxed);
    return err;
}

/* --- fork ------------------------------------------------------------------------------------- */

struct fork_walk {
    struct mm *child;
    long shared;
};

static int share_page(uaddr_t va, struct page *page, unsigned prot, void *arg)
{
    struct fork_walk *w = arg;
    int err = aspace_map(w->child->as, va, page, prot & ~PROT_W);
    if (err)
        return err;
    if (page != mm_zero_page) {
        page_get(page);
        w->shared++;
    }
    return 0;
}

static int fork_region(struct mm *mm, struct region *r, struct mm *child)
{
    struct region *copy = region_copy(r);
    if (!copy)
        return -ENOMEM;
    copy->flags &= ~REGION_LOCKED;
    region_insert(child, copy);
    /* What the child can fault in by itself from the page cache is not copied. */
    if (!(r->flags & REGION_HAS_ANON) || (r->flags & (REGION_SHARED | REGION_WIPEONFORK)))
        return 0;
    struct fork_walk w = {.child = child};
    spin_lock(&mm->pt_lock);
    int err = aspace_for_each(mm->as, r->start, r->end, share_page, &w);
    spin_unlock(&mm->pt_lock);
    atomic_fetch_add_explicit(&child->rss, w.shared, memory_order_relaxed);
    return err;
}

struct mm *mm_fork(struct mm *mm)
{
    struct mm *child = mm_create();
    if (!child)
        return NULL;
    rwlock_write(&mm->lock);
    child->mmap_base = mm->mmap_base;
    child->brk_start = mm->brk_start;
    child->brk = mm->brk;
    child->code_start = mm->code_start;
    child->code_end = mm->code_end;
    child->data_start = mm->data_start;
    child->data_end = mm->data_end;
    child->stack_top = mm->stack_top;
    child->stack_start = mm->stack_start;
    child->arg_start = mm->arg_start;
    child->arg_end = mm->arg_end;
    child->env_start = mm->env_start;
    child->env_end = mm->env_end;
    child->vdso = mm->vdso;
    memcpy(child->auxv, mm->auxv, sizeof(child->auxv));

    /* One pass and one TLB flush over everything; shared mappings get their write right back at the
     * next write, as after a first touch. */
    aspace_restrict(mm->as, USER_MIN, USER_MAX, PROT_R | PROT_X);
    int err = 0;
    struct region *r;
    for (r = region_find(mm, 0); r && !err; r = region_next(r)) {
        if (!(r->flags & REGION_DONTFORK))
            err = fork_region(mm, r, child);
    }
    rwlock_write_done(&mm->lock);
    if (err) {
        mm_put(child);
        return NULL;
    }
    return child;
}
