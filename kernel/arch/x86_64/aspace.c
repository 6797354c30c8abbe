/*
 * User page tables and the TLB.
 *
 * Every change that takes rights away increments the space's generation; a CPU remembers the
 * generation at which it last flushed. CPUs that run a thread of the space are interrupted to
 * flush. CPUs that merely still have it loaded (lazy: idle, kernel threads) are left alone and
 * compare generations when they come back to it, so that sleeping and waking costs no TLB flush.
 */
#include "core/aspace.h"

#include "arch/arch.h"
#include "boot.h"
#include "core/page.h"
#include "paging.h"
#include "x86.h"

struct aspace {
    paddr_t pml4;
    spinlock_t lock; /* the tables; held for short, never across a TLB shootdown */
    _Atomic uint64_t generation;
    _Atomic cpumask_t cpus; /* that have it loaded */
};

#define USER_TOP_ENTRIES 256
#define BATCH 64      /* pages unmapped between two flushes, */
#define INVLPG_MAX 16 /* of which so many are flushed one by one */

struct aspace *aspace_create(void)
{
    struct aspace *as = kzalloc(sizeof(*as));
    struct page *top = as ? page_alloc(0, PAGE_ZERO) : NULL;

    if (!top) {
        kfree(as);
        return NULL;
    }
    as->pml4 = page_paddr(top);
    memcpy((uint64_t *)page_addr(top) + USER_TOP_ENTRIES,
           (uint64_t *)direct(kernel_pml4) + USER_TOP_ENTRIES, PAGE_SIZE / 2);
    return as;
}

static void free_tables(uint64_t *table, int level)
{
    for (int i = 0; i < (level == 3 ? USER_TOP_ENTRIES : 512); i++) {
        if (!table[i])
            continue;
        ASSERT(level > 0); /* a page is still mapped */
        if (level > 1)
            free_tables(direct(table[i] & PTE_ADDR), level - 1);
        page_put(page_of_paddr(table[i] & PTE_ADDR));
    }
}

static void load(struct cpu *c, struct aspace *as)
{
    cpumask_t me = 1ul << c->id;

    if (c->aspace)
        atomic_fetch_and(&c->aspace->cpus, ~me);
    c->aspace = as;
    if (as) {
        atomic_fetch_or(&as->cpus, me);
        c->tlb_generation = atomic_load(&as->generation);
    }
    c->lazy_tlb = 0;
    write_cr3(as ? as->pml4 : kernel_pml4);
}

void aspace_switch(struct cpu *c, struct aspace *as)
{
    if (c->aspace != as) {
        load(c, as);
    } else if (c->lazy_tlb) {
        /* Not lazy first, then the generation: flush() looks in the opposite order. */
        __atomic_exchange_n(&c->lazy_tlb, 0, __ATOMIC_SEQ_CST);
        uint64_t now = atomic_load(&as->generation);
        if (c->tlb_generation != now) {
            c->tlb_generation = now;
            write_cr3(as->pml4);
        }
    }
}

static void drop_lazy(void *arg)
{
    unsigned long flags = arch_irq_save();
    struct cpu *c = cpu_self();
    if (c->aspace == arg)
        load(c, NULL);
    arch_irq_restore(flags);
}

void aspace_destroy(struct aspace *as)
{
    cpumask_t me = 1ul << cpu_id(), cpus = atomic_load(&as->cpus);

    if (cpus & me)
        drop_lazy(as);
    if (cpus & ~me)
        arch_call_cpus(cpus & ~me, drop_lazy, as);
    free_tables(direct(as->pml4), 3);
    page_put(page_of_paddr(as->pml4));
    kfree(as);
}

void aspace_activate(struct aspace *as)
{
    unsigned long flags = arch_irq_save();
    thread_current()->aspace = as;
    if (as) /* it may be loaded, but lazily */
        aspace_switch(cpu_self(), as);
    else
        load(cpu_self(), NULL);
    arch_irq_restore(flags);
}

/* The page table entry for va, or NULL; `create` makes the tables on the way. */
static uint64_t *entry_of(struct aspace *as, uaddr_t va, bool create)
{
    uint64_t *table = direct(as->pml4);

    for (int level = 3; level > 0; level--) {
        uint64_t *e = &table[PT_INDEX(va, level)];
        if (!*e) {
            struct page *p = create ? page_alloc(0, PAGE_ZERO | PAGE_ATOMIC) : NULL;
            if (!p)
                return NULL;
            *e = page_paddr(p) | PTE_P | PTE_W | PTE_U;
        }
        table = direct(*e & PTE_ADDR);
    }
    return &table[PT_INDEX(va, 0)];
}

/* The next entry with a page at or after *va and below end; advances *va to it. */
static uint64_t *next_entry(struct aspace *as, uaddr_t *va, uaddr_t end)
{
    while (*va < end) {
        uint64_t *table = direct(as->pml4);
        int level = 3;
        for (;;) {
            uint64_t *e = &table[PT_INDEX(*va, level)];
            if (!*e)
                break;
            if (level == 0)
                return e;
            table = direct(*e & PTE_ADDR);
            level--;
        }
        uint64_t step = 1ul << (12 + 9 * level);
        *va = ROUND_DOWN(*va, step) + step;
    }
    return NULL;
}

static uint64_t pte_rights(unsigned prot)
{
    /* Without any right (PROT_NONE) the page is kept, but out of reach: the kernel's copies on the
     * program's behalf must fail too, so that taking PTE_U away would not do. */
    uint64_t rights = prot ? PTE_P | PTE_U : PTE_HELD;
    if (prot & PROT_W)
        rights |= PTE_W;
    if (!(prot & PROT_X))
        rights |= PTE_NX;
    return rights;
}

static unsigned prot_of(uint64_t pte)
{
    if (!(pte & PTE_P))
        return 0;
    return PROT_R | (pte & PTE_W ? PROT_W : 0) | (pte & PTE_NX ? 0 : PROT_X);
}

struct flush {
    struct aspace *as;
    uint64_t generation;
    int count; /* of pages; more than INVLPG_MAX: all */
    uaddr_t pages[INVLPG_MAX];
};

static void flush_note(struct flush *f, uaddr_t va)
{
    if (f->count < INVLPG_MAX)
        f->pages[f->count] = va;
    f->count++;
}

static void flush_here(void *arg)
{
    const struct flush *f = arg;
    unsigned long flags = arch_irq_save();
    struct cpu *c = cpu_self();

    if (c->aspace == f->as && c->tlb_generation < f->generation) {
        if (f->count <= INVLPG_MAX && c->tlb_generation == f->generation - 1) {
            c->tlb_generation = f->generation;
            for (int i = 0; i < f->count; i++)
                invlpg(f->pages[i]);
        } else {
            c->tlb_generation = atomic_load(&f->as->generation);
            write_cr3(f->as->pml4);
        }
    }
    arch_irq_restore(flags);
}

static void flush(struct flush *f)
{
    struct aspace *as = f->as;

    if (!f->count)
        return;
    f->generation = atomic_fetch_add(&as->generation, 1) + 1;
    cpumask_t others = atomic_load(&as->cpus) & ~(1ul << cpu_id()), busy = 0;
    for (cpumask_t m = others; m; m &= m - 1) {
        int id = __builtin_ctzl(m);
        if (!__atomic_load_n(&cpu_of(id)->lazy_tlb, __ATOMIC_SEQ_CST))
            busy |= 1ul << id;
    }
    flush_here(f);
    if (busy)
        arch_call_cpus(busy, flush_here, f);
    f->count = 0;
}

int aspace_map(struct aspace *as, uaddr_t va, struct page *page, unsigned prot)
{
    struct flush f = {.as = as};

    ASSERT(va < USER_MAX && (va & ~PAGE_MASK) == 0);
    spin_lock(&as->lock);
    uint64_t *e = entry_of(as, va, true);
    if (!e) {
        spin_unlock(&as->lock);
        return -ENOMEM;
    }
    uint64_t pte = page_paddr(page) | pte_rights(prot);
    uint64_t old = __atomic_exchange_n(e, pte, __ATOMIC_RELAXED);
    /* More rights for the same page need no flush: the CPU looks again when it faults. */
    if ((old & PTE_P) && ((old & PTE_ADDR) != (pte & PTE_ADDR) || (prot_of(old) & ~prot)))
        flush_note(&f, va);
    spin_unlock(&as->lock);
    flush(&f);
    return 0;
}

struct page *aspace_lookup(struct aspace *as, uaddr_t va, unsigned *prot)
{
    struct page *page = NULL;

    spin_lock(&as->lock);
    uint64_t *e = va < USER_MAX ? entry_of(as, va, false) : NULL;
    if (e && *e) {
        page = page_of_paddr(*e & PTE_ADDR);
        if (prot)
            *prot = prot_of(*e);
    }
    spin_unlock(&as->lock);
    return page;
}

void aspace_test_dirty(struct aspace *as, uaddr_t va, bool *accessed, bool *dirty, bool clear)
{
    struct flush f = {.as = as};
    uint64_t pte = 0;

    spin_lock(&as->lock);
    uint64_t *e = entry_of(as, va, false);
    if (e && *e) {
        pte = clear ? __atomic_fetch_and(e, ~(uint64_t)(PTE_A | PTE_D), __ATOMIC_RELAXED) : *e;
        if (clear && (pte & (PTE_A | PTE_D)))
            flush_note(&f, va);
    }
    spin_unlock(&as->lock);
    flush(&f);
    *accessed = pte & PTE_A;
    *dirty = pte & PTE_D;
}

void aspace_restrict(struct aspace *as, uaddr_t start, uaddr_t end, unsigned keep)
{
    struct flush f = {.as = as};

    ASSERT(end <= USER_MAX);
    spin_lock(&as->lock);
    for (uaddr_t va = start; va < end; va += PAGE_SIZE) {
        uint64_t *e = next_entry(as, &va, end);
        if (!e)
            break;
        uint64_t old = *e, set = keep & PROT_X ? 0 : PTE_NX, clear = keep & PROT_W ? 0 : PTE_W;
        if (!keep) {
            set |= PTE_HELD;
            clear |= PTE_P;
        }
        if ((old | set) == old && (old & clear) == 0)
            continue;
        /* The CPU may set the dirty bit meanwhile. */
        while (!__atomic_compare_exchange_n(e, &old, (old | set) & ~clear, false, __ATOMIC_RELAXED,
                                            __ATOMIC_RELAXED))
            ;
        flush_note(&f, va);
    }
    spin_unlock(&as->lock);
    flush(&f);
}

void aspace_unmap(struct aspace *as, uaddr_t start, uaddr_t end,
                  void (*drop)(struct page *page, uaddr_t va, bool dirty, void *arg), void *arg)
{
    struct {
        uint64_t pte;
        uaddr_t va;
    } batch[BATCH];
    uaddr_t va = start;

    ASSERT(end <= USER_MAX);
    while (va < end) {
        struct flush f = {.as = as};
        int n = 0;
        spin_lock(&as->lock);
        for (; va < end && n < BATCH; va += PAGE_SIZE) {
            uint64_t *e = next_entry(as, &va, end);
            if (!e)
                break;
            batch[n].pte = __atomic_exchange_n(e, 0, __ATOMIC_RELAXED);
            batch[n++].va = va;
            flush_note(&f, va);
        }
        spin_unlock(&as->lock);
        flush(&f);
        for (int i = 0; i < n; i++)
            drop(page_of_paddr(batch[i].pte & PTE_ADDR), batch[i].va, batch[i].pte & PTE_D, arg);
    }
}

int aspace_for_each(struct aspace *as, uaddr_t start, uaddr_t end,
                    int (*fn)(uaddr_t va, struct page *page, unsigned prot, void *arg), void *arg)
{
    ASSERT(end <= USER_MAX);
    for (uaddr_t va = start; va < end; va += PAGE_SIZE) {
        spin_lock(&as->lock);
        uint64_t *e = next_entry(as, &va, end);
        uint64_t pte = e ? *e : 0;
        spin_unlock(&as->lock);
        if (!e)
            break;
        int err = fn(va, page_of_paddr(pte & PTE_ADDR), prot_of(pte), arg);
        if (err)
            return err;
    }
    return 0;
}
