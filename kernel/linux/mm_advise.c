/* madvise, mlock and friends, msync, mincore. */
#include <linux/falloc.h>
#include <linux/mman.h>
#include <linux/resource.h>

#include "linux/mm.h"
#include "linux/process.h"
#include "linux/syscall.h"

/* MADV_* that change nothing that a program can see. */
static bool advice_is_hint(int advice)
{
    switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_WILLNEED:
        return true;
    }
    return false;
}

/* Changes flags of the part of r in [start, end). */
static int change_flags(struct mm *mm, struct region *r, uaddr_t start, uaddr_t end, unsigned clear,
                        unsigned set)
{
    if (((r->flags & ~clear) | set) == r->flags)
        return 0;
    if (mm_split(mm, start) || mm_split(mm, end))
        return -ENOMEM;
    r = region_find(mm, start);
    r->flags = (r->flags & ~clear) | set;
    mm_merge(r);
    return 0;
}

static int advise_region(struct mm *mm, struct region *r, uaddr_t start, uaddr_t end, int advice)
{
    switch (advice) {
    case MADV_FREE:
        if (r->vnode)
            return -EINVAL;
        /* fall through */
    case MADV_DONTNEED:
        if (r->flags & REGION_LOCKED)
            return -EINVAL;
        mm_zap(mm, start, end);
        return 0;
    case MADV_DONTFORK:
        return change_flags(mm, r, start, end, 0, REGION_DONTFORK);
    case MADV_DOFORK:
        return change_flags(mm, r, start, end, REGION_DONTFORK, 0);
    case MADV_WIPEONFORK:
        if (r->vnode)
            return -EINVAL;
        return change_flags(mm, r, start, end, 0, REGION_WIPEONFORK);
    case MADV_KEEPONFORK:
        return change_flags(mm, r, start, end, REGION_WIPEONFORK, 0);
    }
    return 0; /* a hint */
}

/* Calls fn for the part of each region in [start, end); -ENOMEM at the end if there were holes. */
static int for_range(struct mm *mm, uaddr_t start, uaddr_t end,
                     int (*fn)(struct mm *, struct region *, uaddr_t, uaddr_t, int), int arg)
{
    int holes = 0;
    while (start < end) {
        struct region *r = region_find(mm, start);
        if (!r || r->start >= end)
            return -ENOMEM;
        if (r->start > start) {
            holes = -ENOMEM;
            start = r->start;
        }
        uaddr_t stop = MIN(end, r->end);
        int err = fn(mm, r, start, stop, arg);
        if (err)
            return err;
        start = stop;
    }
    return holes;
}

static bool bad_range(uaddr_t addr, uint64_t len, uint64_t *size)
{
    *size = ROUND_UP(len, PAGE_SIZE);
    return *size < len || addr + *size < addr;
}

/* MADV_REMOVE: the part of the file that one region shows becomes a hole. The file is asked without
 * mm->lock, as writing to it takes the locks the other way round. *at: where to go on. */
static int remove_next(struct mm *mm, uaddr_t *at, uaddr_t end)
{
    int err = 0;
    uint64_t offset = 0, len = 0;
    struct vnode *v = NULL;
    rwlock_read(&mm->lock);
    struct region *r = region_find(mm, *at);
    if (!r || r->start > *at)
        err = -ENOMEM;
    else if (!r->vnode || (r->flags & REGION_LOCKED))
        err = -EINVAL;
    else if (!(r->flags & REGION_SHARED) || !(r->flags & REGION_MAYWRITE))
        err = -EACCES;
    if (!err) {
        v = r->vnode;
        vnode_get(v);
        offset = (r->pgoff << PAGE_SHIFT) + (*at - r->start);
        len = MIN(r->end, end) - *at;
    }
    rwlock_read_done(&mm->lock);
    if (err)
        return err;
    err = vnode_fallocate(v, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
    vnode_put(v);
    *at += len;
    return err;
}

/* Makes every page of the range present: MADV_POPULATE_*. */
static int populate_range(struct mm *mm, uaddr_t start, uaddr_t end, unsigned want)
{
    for (uaddr_t va = start; va < end; va += PAGE_SIZE) {
        enum fault_result res = mm_fault(mm, va, want);
        if (res != FAULT_OK)
            return res == FAULT_NO_REGION ? -ENOMEM : res == FAULT_ACCESS ? -EINVAL : -EFAULT;
    }
    return 0;
}

long sys_madvise(uaddr_t addr, uint64_t len, int advice)
{
    struct mm *mm = current_process()->mm;
    uint64_t size;
    bool drops = advice == MADV_DONTNEED || advice == MADV_FREE;
    bool flags = advice == MADV_DONTFORK || advice == MADV_DOFORK || advice == MADV_WIPEONFORK ||
                 advice == MADV_KEEPONFORK;
    bool populate = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
    bool remove = advice == MADV_REMOVE;
    if ((!advice_is_hint(advice) && !drops && !flags && !populate && !remove) ||
        (addr & ~PAGE_MASK) || bad_range(addr, len, &size))
        return -EINVAL;
    if (size == 0)
        return 0;
    if (populate)
        return populate_range(mm, addr, addr + size,
                              advice == MADV_POPULATE_WRITE ? PROT_W : PROT_R);
    if (remove) {
        int err = 0;
        for (uaddr_t at = addr; at < addr + size && !err;)
            err = remove_next(mm, &at, addr + size);
        return err;
    }
    if (flags)
        rwlock_write(&mm->lock);
    else
        rwlock_read(&mm->lock);
    int err = for_range(mm, addr, addr + size, advise_region, advice);
    if (flags)
        rwlock_write_done(&mm->lock);
    else
        rwlock_read_done(&mm->lock);
    return err;
}

static int lock_region(struct mm *mm, struct region *r, uaddr_t start, uaddr_t end, int on)
{
    return change_flags(mm, r, start, end, on ? 0 : REGION_LOCKED, on ? REGION_LOCKED : 0);
}

/* Bytes of [start, end) that are locked. */
static uint64_t locked_bytes(const struct mm *mm, uaddr_t start, uaddr_t end)
{
    uint64_t sum = 0;
    for (struct region *r = region_find(mm, start); r && r->start < end; r = region_next(r)) {
        if (r->flags & REGION_LOCKED)
            sum += MIN(r->end, end) - MAX(r->start, start);
    }
    return sum;
}

int mm_may_lock(const struct mm *mm, uint64_t more)
{
    uint64_t limit = current_process()->rlimits[RLIMIT_MEMLOCK].cur;
    if (limit == RLIM64_INFINITY || capable(14 /* CAP_IPC_LOCK */))
        return 0;
    if (!limit)
        return -EPERM;
    uint64_t used = locked_bytes(mm, 0, USER_MAX);
    return used > limit || more > limit - used ? -ENOMEM : 0;
}

static int set_locked(uaddr_t addr, uint64_t len, bool on)
{
    struct mm *mm = current_process()->mm;
    uaddr_t start = addr & PAGE_MASK;
    uint64_t size;
    if (bad_range(start, len + (addr - start), &size))
        return -EINVAL;
    rwlock_write(&mm->lock);
    int err = on ? mm_may_lock(mm, size - locked_bytes(mm, start, start + size)) : 0;
    if (!err)
        err = for_range(mm, start, start + size, lock_region, on);
    rwlock_write_done(&mm->lock);
    return err;
}

long sys_mlock(uaddr_t addr, uint64_t len)
{
    int err = set_locked(addr, len, true);
    if (!err)
        mm_populate(current_process()->mm, addr & PAGE_MASK, addr + len);
    return err;
}

long sys_mlock2(uaddr_t addr, uint64_t len, int flags)
{
    if (flags & ~1 /* MLOCK_ONFAULT */)
        return -EINVAL;
    return flags ? set_locked(addr, len, true) : sys_mlock(addr, len);
}

long sys_munlock(uaddr_t addr, uint64_t len)
{
    return set_locked(addr, len, false);
}

static long lock_all(unsigned set, unsigned clear, bool populate)
{
    struct mm *mm = current_process()->mm;
    rwlock_write(&mm->lock);
    for (struct region *r = region_find(mm, 0); r; r = region_next(r))
        r->flags = (r->flags & ~clear) | set;
    rwlock_write_done(&mm->lock);
    if (!populate)
        return 0;
    uaddr_t at = 0;
    for (;;) {
        rwlock_read(&mm->lock);
        struct region *r = region_find(mm, at);
        uaddr_t start = r ? r->start : 0, end = r ? r->end : 0;
        rwlock_read_done(&mm->lock);
        if (!r)
            return 0;
        mm_populate(mm, start, end);
        at = end;
    }
}

long sys_mlockall(int flags)
{
    struct mm *mm = current_process()->mm;
    if (!flags || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) || flags == MCL_ONFAULT)
        return -EINVAL;
    rwlock_read(&mm->lock);
    uint64_t unlocked = (mm->total_pages << PAGE_SHIFT) - locked_bytes(mm, 0, USER_MAX);
    int err = mm_may_lock(mm, flags & MCL_CURRENT ? unlocked : 0);
    rwlock_read_done(&mm->lock);
    if (err)
        return err;
    mm->lock_future = flags & MCL_FUTURE ? REGION_LOCKED : 0;
    return flags & MCL_CURRENT ? lock_all(REGION_LOCKED, 0, !(flags & MCL_ONFAULT)) : 0;
}

long sys_munlockall(void)
{
    current_process()->mm->lock_future = 0;
    return lock_all(0, REGION_LOCKED, false);
}

/* Shared mappings write into the page cache, so all that is left is to have it written back. */
static int sync_region(struct mm *mm, struct region *r, uaddr_t start, uaddr_t end, int flags)
{
    (void)mm;
    (void)start;
    (void)end;
    if ((flags & MS_INVALIDATE) && (r->flags & REGION_LOCKED))
        return -EBUSY;
    if ((flags & MS_SYNC) && (r->flags & REGION_SHARED) && r->file && r->file->ops->fsync)
        return r->file->ops->fsync(r->file, true);
    return 0;
}

long sys_msync(uaddr_t addr, uint64_t len, int flags)
{
    struct mm *mm = current_process()->mm;
    uint64_t size;
    if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) || (addr & ~PAGE_MASK) ||
        ((flags & MS_ASYNC) && (flags & MS_SYNC)))
        return -EINVAL;
    if (bad_range(addr, len, &size))
        return -ENOMEM;
    rwlock_read(&mm->lock);
    int err = for_range(mm, addr, addr + size, sync_region, flags);
    rwlock_read_done(&mm->lock);
    return err;
}

/* Bit 0 per page: present for this mm, or in the page cache. */
static int resident(struct mm *mm, uaddr_t va, uint8_t *out)
{
    struct region *r = region_find(mm, va);
    if (!r || r->start > va)
        return -ENOMEM;
    unsigned prot;
    spin_lock(&mm->pt_lock);
    *out = aspace_lookup(mm->as, va, &prot) != NULL;
    spin_unlock(&mm->pt_lock);
    if (!*out && r->vnode) {
        struct page *page = vnode_find_page(r->vnode, r->pgoff + ((va - r->start) >> PAGE_SHIFT));
        if (page) {
            *out = 1;
            page_put(page);
        }
    }
    return 0;
}

long sys_mincore(uaddr_t addr, uint64_t len, uaddr_t vec)
{
    struct mm *mm = current_process()->mm;
    uint64_t size;
    if (addr & ~PAGE_MASK)
        return -EINVAL;
    if (bad_range(addr, len, &size) || addr + size > USER_MAX)
        return -ENOMEM;
    uint8_t chunk[256];
    for (uint64_t done = 0; done < size >> PAGE_SHIFT;) {
        size_t n = MIN(sizeof(chunk), (size >> PAGE_SHIFT) - done);
        int err = 0;
        rwlock_read(&mm->lock);
        for (size_t i = 0; i < n && !err; i++)
            err = resident(mm, addr + ((done + i) << PAGE_SHIFT), &chunk[i]);
        rwlock_read_done(&mm->lock);
        if (err)
            return err;
        if (copy_to_user(vec + done, chunk, n))
            return -EFAULT;
        done += n;
    }
    return 0;
}
