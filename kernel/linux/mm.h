/*
 * Address spaces of programs: what should be mapped where.
 *
 * A struct mm is an ordered tree of regions; a region is a range of pages with the same rights and
 * the same backing (nothing: anonymous memory; or a file's page cache). The hardware's half
 * (core/aspace.h) is filled in by page faults. A page in a private region belongs to this mm alone
 * when its reference count is 1; otherwise (shared with a forked process, or the page cache's) a
 * write copies it.
 *
 * Locks, in order:
 *   mm->lock              the tree and the regions; held for reading by faults, for writing by
 * changes vnode->mappings_lock  a file region's place on its vnode's list. A region's range and
 * offset only change while it is off that list, since truncation reads them under this lock
 *   mm->pt_lock (spin)    a fault's look-then-map, against other faults and truncation
 */
#ifndef LINUX_MM_H
#define LINUX_MM_H

#include "core/aspace.h"
#include "core/lock.h"
#include "core/rbtree.h"
#include "fs/vfs.h"

#define REGION_SHARED 1u
#define REGION_GROWSDOWN 2u
#define REGION_LOCKED 4u
#define REGION_DONTFORK 8u
#define REGION_WIPEONFORK 16u
#define REGION_HAS_ANON 32u /* private pages may be mapped here: fork must share them */
#define REGION_MAYWRITE 64u /* shared file mapping whose file was open for writing */

struct region {
    struct rb_node node;
    struct mm *mm;
    uaddr_t start, end;
    unsigned prot; /* PROT_* as the program asked for */
    unsigned flags;
    struct vnode *vnode; /* referenced; NULL: anonymous */
    struct file *file;   /* referenced; for the name in /proc; may be NULL */
    uint64_t pgoff;      /* page of the file at start */
    struct vnode_mapping mapping;
    const char *name; /* "[heap]", "[stack]", ... or NULL; static */
};

#define MM_AUXV_MAX 44 /* words: pairs of type and value, AT_NULL included */

struct mm {
    refcount_t refs;
    struct aspace *as;
    struct rwlock lock;
    spinlock_t pt_lock;
    struct rb_tree regions;
    int region_count;
    uint64_t total_pages; /* of all regions */
    atomic_long rss;      /* pages mapped */
    atomic_long rss_peak;
    uaddr_t mmap_base; /* mappings are placed downwards from here */
    uaddr_t brk_start, brk;
    uaddr_t code_start, code_end, data_start, data_end;
    uaddr_t stack_top, stack_start; /* start: the stack pointer at the program's entry */
    uaddr_t arg_start, arg_end, env_start, env_end;
    uaddr_t vdso;
    unsigned lock_future; /* REGION_LOCKED after mlockall(MCL_FUTURE) */
    uint64_t auxv[MM_AUXV_MAX];
    struct list aio_contexts; /* aio.c */
};

enum fault_result { FAULT_OK, FAULT_NO_REGION, FAULT_ACCESS, FAULT_BUS, FAULT_OOM };

/* An empty address space with one reference, or NULL. */
struct mm *mm_create(void);
static inline void mm_get(struct mm *mm)
{
    ref_get(&mm->refs);
}
/* The last reference unmaps all. Thread context; mm must not be active on this CPU then. */
void mm_put(struct mm *mm);
/* A copy for fork, or NULL: private pages are shared until written. */
struct mm *mm_fork(struct mm *mm);

/* The first region that ends behind va, or NULL. Under mm->lock. */
struct region *region_find(const struct mm *mm, uaddr_t va);
struct region *region_next(const struct region *r);
struct region *region_prev(const struct region *r);

/* What mm_map is asked for. */
struct map_request {
    uaddr_t addr; /* hint, or the place if fixed */
    uint64_t len; /* page aligned */
    unsigned prot, flags;
    bool fixed, noreplace, below_2g;
    struct vnode *vnode; /* references are taken */
    struct file *file;
    uint64_t pgoff;
    const char *name;
};
/* The address, or -errno (-ENOMEM, -EINVAL, -EEXIST). _locked: mm->lock is held for writing. */
long mm_map(struct mm *mm, const struct map_request *m);
long mm_map_locked(struct mm *mm, const struct map_request *m);
int mm_unmap(struct mm *mm, uaddr_t start, uaddr_t end);
int mm_unmap_locked(struct mm *mm, uaddr_t start, uaddr_t end);
/* A file without a name for memory that processes share: len bytes, one reference. NULL. */
struct vnode *mm_shared_vnode(uint64_t len);
/* A free range of len bytes (page aligned), 0 if there is none. Under mm->lock. */
uaddr_t mm_find_gap(struct mm *mm, uint64_t len, bool below_2g);
/* Splits regions so that one begins at va, if a region lies across it. -ENOMEM. For writing. */
int mm_split(struct mm *mm, uaddr_t va);
/* Joins r with its neighbours where they are alike; returns the region that r became. For writing.
 */
struct region *mm_merge(struct region *r);
/* Takes a region off its vnode's list before its range changes, and puts it back. */
void region_detach(struct region *r);
void region_attach(struct region *r);

/* Whether RLIMIT_MEMLOCK lets the current process lock `more` bytes: 0, -EPERM (none at all) or
 * -ENOMEM. Under mm->lock. */
int mm_may_lock(const struct mm *mm, uint64_t more);

/* Makes the page at va present with the rights `access` (PROT_*). Takes mm->lock for reading. */
enum fault_result mm_fault(struct mm *mm, uaddr_t va, unsigned access);
/* Faults in [start, end) as far as regions allow (MAP_POPULATE, mlock). */
void mm_populate(struct mm *mm, uaddr_t start, uaddr_t end);
/* Drops the pages of [start, end) without changing regions. Under mm->lock. */
void mm_zap(struct mm *mm, uaddr_t start, uaddr_t end);
/* Copies from or to any address space, running or not. Bytes moved; 0 if nothing is mapped at va.
 */
size_t mm_access(struct mm *mm, uaddr_t va, void *buf, size_t n, bool write);
/* Maps a kernel page (takes a reference) into an anonymous region: vDSO. -ENOMEM. */
int mm_map_page(struct mm *mm, uaddr_t va, struct page *page, unsigned prot);

/* The rights the hardware gets: write and execute imply read on every machine we know. */
static inline unsigned region_rights(const struct region *r)
{
    return r->prot & (PROT_W | PROT_X) ? r->prot | PROT_R : r->prot;
}

/* A page of zeroes that is mapped for reads of untouched memory; it is not counted. */
extern struct page *mm_zero_page;
void mm_init(void);

/* oom.c: frees memory after a failed page_alloc. True: try again. False: this process is to die. */
bool oom_reclaim(void);

#endif
