/*
 * Kernel stacks, each mapped behind a page that is not there. Some that are free stay mapped, since
 * threads come and go often; the pages of more, which a burst of threads left, are given back.
 */
#include "arch/arch.h"
#include "core/deferred.h"
#include "core/page.h"
#include "paging.h"
#include "x86.h"

#define SLOT (KERNEL_STACK_SIZE + PAGE_SIZE)
#define STACK_PAGES (KERNEL_STACK_SIZE / PAGE_SIZE)
#define FREE_MAX 64
#define BATCH 32

static spinlock_t lock; /* all below */
static uint64_t base, end;
static void *free_stacks; /* mapped; linked through their first word */
static unsigned free_count;
static uint64_t free_slots; /* not mapped; linked through the entry of their first page */

void *stack_alloc(void)
{
    spin_lock_bh(&lock);
    void *stack = free_stacks;
    if (stack) {
        free_stacks = *(void **)stack;
        free_count--;
    }
    spin_unlock_bh(&lock);
    if (stack)
        return stack;

    struct page *pages = page_alloc(2, 0);
    if (!pages)
        return NULL;
    spin_lock_bh(&lock);
    uint64_t va = free_slots ? free_slots : end + PAGE_SIZE;
    uint64_t next = free_slots ? *kernel_entry(va, 0) : 0;
    int err = kernel_map(va, page_paddr(pages), KERNEL_STACK_SIZE, PTE_P | PTE_W | PTE_G | PTE_NX);
    if (!err && free_slots)
        free_slots = next;
    else if (!err)
        end += SLOT;
    spin_unlock_bh(&lock);
    if (err) {
        page_put(pages);
        return NULL;
    }
    return (void *)va;
}

struct batch {
    uint64_t va[BATCH];
    int count;
};

static void flush(void *arg)
{
    const struct batch *b = arg;

    for (int i = 0; i < b->count; i++) {
        for (size_t page = 0; page < STACK_PAGES; page++)
            invlpg(b->va[i] + page * PAGE_SIZE);
    }
}

static void flush_everywhere(struct batch *b)
{
    bh_disable(); /* this CPU stays this one */
    flush(b);
    arch_call_cpus(~0ul >> (64 - cpu_count), flush, b);
    bh_enable();
}

/* Takes free stacks off the list and unmaps them. */
static void unmap(struct batch *b, struct page *pages[])
{
    b->count = 0;
    spin_lock_bh(&lock);
    while (free_count > FREE_MAX && b->count < BATCH) {
        void *stack = free_stacks;
        free_stacks = *(void **)stack;
        free_count--;
        pages[b->count] = page_of_paddr(*kernel_entry((uint64_t)stack, 0) & PTE_ADDR);
        for (size_t page = 0; page < STACK_PAGES; page++)
            *kernel_entry((uint64_t)stack + page * PAGE_SIZE, 0) = 0;
        b->va[b->count++] = (uint64_t)stack;
    }
    spin_unlock_bh(&lock);
}

static void trim(struct work *w)
{
    struct page *pages[BATCH];
    struct batch b;

    (void)w;
    for (unmap(&b, pages); b.count; unmap(&b, pages)) {
        flush_everywhere(&b); /* before anybody gets the addresses or the pages */
        spin_lock_bh(&lock);
        for (int i = 0; i < b.count; i++) {
            *kernel_entry(b.va[i], 0) =
                free_slots; /* aligned to pages: the present bit is not set */
            free_slots = b.va[i];
        }
        spin_unlock_bh(&lock);
        for (int i = 0; i < b.count; i++)
            page_put(pages[i]);
    }
}

static struct work trim_work = {.link = LIST_INIT(trim_work.link), .run = trim};

void stack_free(void *stack)
{
    spin_lock_bh(&lock);
    *(void **)stack = free_stacks;
    free_stacks = stack;
    bool many = ++free_count > FREE_MAX;
    spin_unlock_bh(&lock);
    if (many)
        work_schedule(&trim_work);
}

bool stack_guard_hit(uint64_t va)
{
    return va >= base && va < end && (va - base) % SLOT < PAGE_SIZE;
}

void kernel_stacks_init(uint64_t at)
{
    base = end = at;
    kernel_entry(at, 0); /* the upper tables are shared by all address spaces from the start */
}
