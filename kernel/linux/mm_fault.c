/*
 * Page faults: making what a region promises present.
 *
 * A fault runs under mm->lock for reading, so faults of different threads run in parallel; the
 * look-then-map at the end is under pt_lock and is done over if another thread was faster.
 */
#include "linux/mm.h"

#include <linux/resource.h>

#include "linux/process.h"

/* Pages: a fault under emulation costs more than mapping its neighbours. */
#define FAULT_AROUND 16u

static struct page *anon_page(unsigned flags)
{
    struct page *page;
    while (!(page = page_alloc(0, flags))) {
        if (!oom_reclaim())
            return NULL;
    }
    page->owner = NULL;
    return page;
}

static void count_rss(struct mm *mm, long pages)
{
    long now = atomic_fetch_add_explicit(&mm->rss, pages, memory_order_relaxed) + pages;
    if (now > atomic_load_explicit(&mm->rss_peak, memory_order_relaxed))
        atomic_store_explicit(&mm->rss_peak, now, memory_order_relaxed);
}

/*
 * Maps `page` at va if what is there is still `expect`. Takes over the caller's reference to page
 * on success and drops expect's; if somebody was faster the caller's reference is dropped and the
 * fault is as good as handled: the program tries again.
 */
static enum fault_result install(struct region *r, uaddr_t va, struct page *expect,
                                 struct page *page, unsigned prot, bool anon)
{
    struct mm *mm = r->mm;
    spin_lock(&mm->pt_lock);
    unsigned old_prot;
    struct page *cur = aspace_lookup(mm->as, va, &old_prot);
    int err = 0;
    bool stale = cur != expect;
    if (!stale) {
        err = aspace_map(mm->as, va, page, prot);
        if (anon && !(r->flags & REGION_HAS_ANON))
            r->flags |= REGION_HAS_ANON;
    }
    spin_unlock(&mm->pt_lock);
    bool counted = page != mm_zero_page;
    if (stale || err) {
        if (counted)
            page_put(page);
        return err ? FAULT_OOM : FAULT_OK;
    }
    if (expect && expect != mm_zero_page) {
        page_put(expect);
        counted = false; /* one page for another */
    }
    if (counted)
        count_rss(mm, 1);
    return FAULT_OK;
}

/* Changes only the rights of the page that is mapped at va. */
static enum fault_result upgrade(struct region *r, uaddr_t va, struct page *page, unsigned prot)
{
    spin_lock(&r->mm->pt_lock);
    unsigned old_prot;
    int err = 0;
    if (aspace_lookup(r->mm->as, va, &old_prot) == page)
        err = aspace_map(r->mm->as, va, page, prot);
    spin_unlock(&r->mm->pt_lock);
    return err ? FAULT_OOM : FAULT_OK;
}

static uint64_t region_index(const struct region *r, uaddr_t va)
{
    return r->pgoff + ((va - r->start) >> PAGE_SHIFT);
}

/* A private copy of `from` (NULL or the zero page: zeroes) in the place of `expect`. */
static enum fault_result install_copy(struct region *r, uaddr_t va, struct page *expect,
                                      const struct page *from)
{
    bool zero = !from || from == mm_zero_page;
    struct page *page = anon_page(zero ? PAGE_ZERO : 0);
    if (!page)
        return FAULT_OOM;
    if (!zero)
        memcpy(page_addr(page), page_addr(from), PAGE_SIZE);
    return install(r, va, expect, page, region_rights(r), true);
}

/* Maps the file pages around va that are in the cache and not mapped yet. */
static void fault_around(struct region *r, uaddr_t va, unsigned prot)
{
    struct mm *mm = r->mm;
    uaddr_t window = ROUND_DOWN(va, FAULT_AROUND * PAGE_SIZE);
    uaddr_t from = MAX(window, r->start), to = MIN(window + FAULT_AROUND * PAGE_SIZE, r->end);
    long mapped = 0;
    for (uaddr_t a = from; a < to; a += PAGE_SIZE) {
        if (a == va)
            continue;
        struct page *page = vnode_find_page(r->vnode, region_index(r, a));
        if (!page)
            continue;
        spin_lock(&mm->pt_lock);
        unsigned old_prot;
        bool done = !aspace_lookup(mm->as, a, &old_prot) && !aspace_map(mm->as, a, page, prot);
        spin_unlock(&mm->pt_lock);
        if (done)
            mapped++;
        else
            page_put(page);
    }
    if (mapped)
        count_rss(mm, mapped);
}

/* A truncation between our look into the page cache and our mapping found nothing to unmap; it had
 * set the size before, so looking again decides. */
static enum fault_result check_size(struct region *r, uaddr_t va)
{
    uint64_t pages = DIV_ROUND_UP(READ_ONCE(r->vnode->attr.size), PAGE_SIZE);
    if (region_index(r, va) < pages)
        return FAULT_OK;
    mm_zap(r->mm, va, va + PAGE_SIZE);
    return FAULT_BUS;
}

static enum fault_result fault_file(struct region *r, uaddr_t va, bool write)
{
    bool shared = r->flags & REGION_SHARED;
    struct page *page;
    bool copy = write && !shared;
    int err = vnode_get_page(r->vnode, region_index(r, va), !copy, &page);
    if (err == -ENOENT) /* a copy of a hole */
        return install_copy(r, va, NULL, NULL);
    if (err == -ENOMEM)
        return FAULT_OOM;
    if (err)
        return FAULT_BUS;
    enum fault_result res;
    if (copy) {
        res = install_copy(r, va, NULL, page);
        page_put(page);
        return res;
    }
    unsigned prot = region_rights(r) & ~PROT_W;
    if (write) {
        vnode_dirty_page(r->vnode, page);
        prot |= PROT_W;
    }
    res = install(r, va, NULL, page, prot, false);
    if (res == FAULT_OK)
        res = check_size(r, va);
    if (res == FAULT_OK && !write)
        fault_around(r, va, prot);
    return res;
}

static enum fault_result fault_anon(struct region *r, uaddr_t va, bool write)
{
    if (write)
        return install_copy(r, va, NULL, NULL);
    return install(r, va, NULL, mm_zero_page, region_rights(r) & ~PROT_W, true);
}

/* A page is there, but with fewer rights than the region has. The caller holds a reference to it
 * besides the mapping's own. */
static enum fault_result fault_present(struct region *r, uaddr_t va, struct page *page, bool write)
{
    bool exclusive = page != mm_zero_page && ref_count(&page->refs) == 2 && !page->owner;
    if (r->flags & REGION_SHARED) {
        if (write)
            vnode_dirty_page(r->vnode, page);
        return upgrade(r, va, page, write ? region_rights(r) : region_rights(r) & ~PROT_W);
    }
    if (!write || exclusive)
        return upgrade(r, va, page, exclusive ? region_rights(r) : region_rights(r) & ~PROT_W);
    return install_copy(r, va, page, page);
}

static enum fault_result fault_region(struct region *r, uaddr_t va, unsigned access)
{
    struct mm *mm = r->mm;
    unsigned prot = 0;
    spin_lock(&mm->pt_lock);
    struct page *cur = aspace_lookup(mm->as, va, &prot);
    if (cur)
        page_get(cur);
    spin_unlock(&mm->pt_lock);
    bool write = access & PROT_W;
    enum fault_result res;
    if (!cur) {
        res = r->vnode ? fault_file(r, va, write) : fault_anon(r, va, write);
    } else {
        res = (prot & access) == access ? FAULT_OK : fault_present(r, va, cur, write);
        page_put(cur);
    }
    return res;
}

#define STACK_GUARD (256 * PAGE_SIZE) /* below a growing stack, as Linux keeps */

/* Extends the stack region above va down to it. */
static enum fault_result grow_stack(struct mm *mm, uaddr_t va)
{
    enum fault_result res = FAULT_NO_REGION;
    rwlock_write(&mm->lock);
    struct region *r = region_find(mm, va);
    if (r && r->start <= va) {
        res = FAULT_OK;
    } else if (r && (r->flags & REGION_GROWSDOWN)) {
        struct region *prev = region_prev(r);
        uint64_t limit = current_process()->rlimits[RLIMIT_STACK].cur;
        bool room = !prev || !(prev->prot) || prev->end + STACK_GUARD <= va;
        if (room && r->end - va <= limit) {
            mm->total_pages += (r->start - va) >> PAGE_SHIFT;
            region_detach(r);
            r->start = va;
            region_attach(r);
            res = FAULT_OK;
        }
    }
    rwlock_write_done(&mm->lock);
    return res;
}

enum fault_result mm_fault(struct mm *mm, uaddr_t va, unsigned access)
{
    va &= PAGE_MASK;
    if (va < USER_MIN || va >= USER_MAX)
        return FAULT_NO_REGION;
    rwlock_read(&mm->lock);
    struct region *r = region_find(mm, va);
    if (r && r->start > va && (r->flags & REGION_GROWSDOWN)) {
        rwlock_read_done(&mm->lock);
        enum fault_result grown = grow_stack(mm, va);
        if (grown != FAULT_OK)
            return grown;
        rwlock_read(&mm->lock);
        r = region_find(mm, va);
    }
    enum fault_result res;
    if (!r || r->start > va)
        res = FAULT_NO_REGION;
    else if (access & ~region_rights(r))
        res = FAULT_ACCESS;
    else
        res = fault_region(r, va, access);
    rwlock_read_done(&mm->lock);
    return res;
}

void mm_populate(struct mm *mm, uaddr_t start, uaddr_t end)
{
    uaddr_t va = start;
    while (va < end && !signal_fatal_pending()) {
        rwlock_read(&mm->lock);
        struct region *r = region_find(mm, va);
        unsigned want = r ? region_rights(r) : 0;
        if (r && (r->flags & REGION_SHARED))
            want &= ~PROT_W; /* reading suffices and leaves the file clean */
        if (!r) {
            va = end;
        } else if (!want) {
            va = r->end;
        } else { /* gaps are stepped over */
            va = MAX(va, r->start);
            if (va < end && fault_region(r, va, want & PROT_W ? PROT_W : want) == FAULT_OOM)
                va = end;
            else
                va += PAGE_SIZE;
        }
        rwlock_read_done(&mm->lock);
        cond_resched();
    }
}

size_t mm_access(struct mm *mm, uaddr_t va, void *buf, size_t n, bool write)
{
    size_t done = 0;
    while (done < n) {
        uaddr_t page_va = (va + done) & PAGE_MASK;
        size_t off = (va + done) & ~PAGE_MASK, len = MIN(n - done, PAGE_SIZE - off);
        if (mm_fault(mm, page_va, write ? PROT_W : PROT_R) != FAULT_OK)
            break;
        unsigned prot;
        spin_lock(&mm->pt_lock);
        struct page *page = aspace_lookup(mm->as, page_va, &prot);
        if (page)
            page_get(page);
        spin_unlock(&mm->pt_lock);
        if (!page)
            continue; /* gone again: the next fault tells why */
        char *mem = (char *)page_addr(page) + off;
        if (write)
            memcpy(mem, (char *)buf + done, len);
        else
            memcpy((char *)buf + done, mem, len);
        page_put(page);
        done += len;
    }
    return done;
}
