/*
 * User address spaces, the hardware's half: which page is mapped where with which rights. What
 * *should* be mapped (regions, files, copy-on-write) is the personality's business (linux/mm).
 *
 * Changes that take rights away (unmap, protect, replace) are visible on all CPUs when the call
 * returns: TLB shootdown is inside, and is skipped for CPUs that do not run this address space.
 * Page references: the caller owns them; aspace_map does not take one, and the unmap callback tells
 * which pages are no longer mapped anywhere in this space (after the TLB flush).
 */
#ifndef CORE_ASPACE_H
#define CORE_ASPACE_H

#include "core/mem.h"

struct aspace;

#define USER_MIN 0x10000UL
#define USER_MAX 0x7ffffffff000UL /* first address that is not the user's */

#define PROT_R 1u
#define PROT_W 2u
#define PROT_X 4u

/* An empty address space; NULL when out of memory. Destroy unmaps nothing: unmap all first. */
struct aspace *aspace_create(void);
void aspace_destroy(struct aspace *as);
/* Loads it on this CPU for the current thread (sets thread->aspace): execve. as may be NULL. */
void aspace_activate(struct aspace *as);

/* Maps or remaps one page at va (page aligned) with PROT_* bits. -ENOMEM. */
int aspace_map(struct aspace *as, uaddr_t va, struct page *page, unsigned prot);
/* The page mapped at va and its rights, or NULL. */
struct page *aspace_lookup(struct aspace *as, uaddr_t va, unsigned *prot);
/* Whether the page was accessed/dirtied through this mapping; clears both if asked to. */
void aspace_test_dirty(struct aspace *as, uaddr_t va, bool *accessed, bool *dirty, bool clear);
/* Takes rights away from what is mapped in [start, end): new rights = old & keep. Write protection
 * at fork and mprotect; rights are added page by page with aspace_map when a fault asks for them.
 */
void aspace_restrict(struct aspace *as, uaddr_t start, uaddr_t end, unsigned keep);
/* Unmaps [start, end); drop is called for each page after the TLB flush (dirty as the hardware saw
 * it). */
void aspace_unmap(struct aspace *as, uaddr_t start, uaddr_t end,
                  void (*drop)(struct page *page, uaddr_t va, bool dirty, void *arg), void *arg);
/* Walks what is mapped in [start, end): fork. fn may return an error to stop. */
int aspace_for_each(struct aspace *as, uaddr_t start, uaddr_t end,
                    int (*fn)(uaddr_t va, struct page *page, unsigned prot, void *arg), void *arg);

#endif
