/* mmap, munmap, mprotect, mremap and brk. */
#include <linux/mman.h>
#include <linux/resource.h>

#include "linux/mm.h"
#include "linux/process.h"
#include "linux/syscall.h"

/* Rounds a length up to pages; false: empty or too long. */
static bool pages_of(uint64_t len, uint64_t *rounded)
{
    *rounded = ROUND_UP(len, PAGE_SIZE);
    return len != 0 && *rounded >= len && *rounded <= USER_MAX;
}

static uint64_t limit_of(int which)
{
    return current_process()->rlimits[which].cur;
}

/* Private writable memory in bytes: what RLIMIT_DATA counts. */
static uint64_t data_bytes(const struct mm *mm)
{
    uint64_t sum = 0;
    for (struct region *r = region_find(mm, 0); r; r = region_next(r)) {
        if ((r->prot & PROT_W) && !(r->flags & (REGION_SHARED | REGION_GROWSDOWN)))
            sum += r->end - r->start;
    }
    return sum;
}

/* Whether the limits allow len more bytes. Memory is overcommitted (vm.overcommit_memory is 1). */
static int may_add(struct mm *mm, uint64_t len, bool private_writable)
{
    uint64_t as_limit = limit_of(RLIMIT_AS);
    if (len > as_limit || (mm->total_pages << PAGE_SHIFT) > as_limit - len)
        return -ENOMEM;
    if (!private_writable)
        return 0;
    uint64_t data_limit = limit_of(RLIMIT_DATA);
    if (data_limit != RLIM64_INFINITY && data_bytes(mm) + len > data_limit)
        return -ENOMEM;
    return 0;
}

/* Shared memory without a file is a file without a name on a file system of its own. */
struct vnode *mm_shared_vnode(uint64_t len)
{
    static struct filesystem *shm_fs;
    if (!shm_fs) {
        struct filesystem *fs = tmpfs_create(UINT64_MAX), *none = NULL;
        if (IS_ERR(fs) || !fs)
            return NULL;
        /* A loser of this race leaks one empty file system. */
        __atomic_compare_exchange_n(&shm_fs, &none, fs, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    struct vnode *root = shm_fs->root, *v;
    if (root->ops->tmpfile(root, MODE_REG | 0600, &root_cred, &v))
        return NULL;
    if (vnode_truncate(v, len)) {
        vnode_put(v);
        return NULL;
    }
    return v;
}

/* Sets up the backing of a mapping of fd. 0 or -errno; *file is referenced. */
static int map_file(int fd, struct map_request *m, bool shared, struct file **file)
{
    struct file *f = fd_get(fd);
    if (!f)
        return -EBADF;
    unsigned mode = f->flags & OPEN_ACCMODE;
    struct vnode *v = f->vnode ? f->vnode : f->ops->memory ? f->ops->memory(f) : NULL;
    int err = 0;
    if (mode == OPEN_WRONLY || (shared && (m->prot & PROT_W) && mode != OPEN_RDWR))
        err = -EACCES;
    else if (!v)
        err = -ENODEV;
    else if (vnode_type(v) == MODE_CHR && v->attr.rdev == (1ULL << 32 | 5) && !shared)
        m->pgoff = 0; /* /dev/zero: anonymous memory */
    else if (vnode_type(v) != MODE_REG || !v->cache)
        err = -ENODEV;
    else
        m->vnode = v;
    if (!err && m->vnode && mode == OPEN_RDWR) {
        int sealed = shared ? vnode_begin_writable_mapping(m->vnode) : 0;
        if (!sealed)
            m->flags |= REGION_MAYWRITE;
        else if (m->prot & PROT_W)
            err = sealed;
    }
    if (err) {
        file_put(f);
        return err;
    }
    if (m->vnode)
        m->file = f;
    *file = f;
    return 0;
}

long sys_mmap(uaddr_t addr, uint64_t len, unsigned prot, unsigned flags, int fd, uint64_t off)
{
    struct mm *mm = current_process()->mm;
    unsigned type = flags & MAP_TYPE;
    bool shared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
    bool fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    struct map_request m = {
        .addr = addr,
        .prot = prot & (PROT_R | PROT_W | PROT_X),
        .flags = (shared ? REGION_SHARED : 0) | (flags & MAP_LOCKED ? REGION_LOCKED : 0) |
                 (flags & MAP_GROWSDOWN ? REGION_GROWSDOWN : 0),
        .fixed = fixed,
        .noreplace = flags & MAP_FIXED_NOREPLACE,
        .below_2g = flags & 0x40 /* MAP_32BIT */,
        .pgoff = off >> PAGE_SHIFT,
    };
    if (len == 0 || (off & ~PAGE_MASK) || (fixed && (addr & ~PAGE_MASK)))
        return -EINVAL;
    if (!shared && type != MAP_PRIVATE)
        return -EINVAL;
    if (type == MAP_SHARED_VALIDATE && (flags & MAP_SYNC))
        return -EOPNOTSUPP;
    if (type == MAP_SHARED_VALIDATE && (flags & MAP_ANONYMOUS))
        return -EINVAL;
    if (shared && (flags & MAP_GROWSDOWN))
        return -EINVAL;
    if (!pages_of(len, &m.len))
        return -ENOMEM;
    if (!(flags & MAP_ANONYMOUS) && off + m.len < off)
        return -EOVERFLOW;
    if ((flags & MAP_ANONYMOUS) && (flags & MAP_HUGETLB))
        return -ENOMEM; /* no pages are reserved for that */

    struct file *file = NULL;
    if (!(flags & MAP_ANONYMOUS)) {
        int err = map_file(fd, &m, shared, &file);
        if (err)
            return err;
    } else if (shared) {
        m.pgoff = 0;
        m.flags |= REGION_MAYWRITE;
        m.vnode = mm_shared_vnode(m.len);
        if (!m.vnode)
            return -ENOMEM;
    }
    rwlock_write(&mm->lock);
    long res = may_add(mm, m.len, !shared && (m.prot & PROT_W) && !(flags & MAP_NORESERVE));
    if (!res && ((m.flags | mm->lock_future) & REGION_LOCKED)) {
        res = mm_may_lock(mm, m.len);
        if (res == -ENOMEM)
            res = -EAGAIN;
    }
    if (!res)
        res = mm_map_locked(mm, &m);
    bool populate = (flags & MAP_POPULATE) || ((m.flags | mm->lock_future) & REGION_LOCKED);
    rwlock_write_done(&mm->lock);
    if (res > 0 && populate && !(flags & MAP_NONBLOCK))
        mm_populate(mm, (uaddr_t)res, (uaddr_t)res + m.len);
    if (m.file && shared && m.flags & REGION_MAYWRITE)
        vnode_end_writable_mapping(m.vnode);
    if (file)
        file_put(file);
    else if (m.vnode)
        vnode_put(m.vnode);
    return res;
}

long sys_munmap(uaddr_t addr, uint64_t len)
{
    uint64_t size;
    if ((addr & ~PAGE_MASK) || addr > USER_MAX || !pages_of(len, &size) || size > USER_MAX - addr)
        return -EINVAL;
    return mm_unmap(current_process()->mm, addr, addr + size);
}

static int protect_region(struct mm *mm, struct region **at, uaddr_t start, uaddr_t end,
                          unsigned prot)
{
    struct region *r = *at;
    if ((r->flags & REGION_SHARED) && (prot & PROT_W) && !(r->flags & REGION_MAYWRITE))
        return -EACCES;
    if (r->prot == prot)
        return 0;
    if (mm_split(mm, start) || mm_split(mm, end))
        return -ENOMEM;
    r = region_find(mm, start);
    unsigned had = region_rights(r);
    r->prot = prot;
    if (had & ~region_rights(r))
        aspace_restrict(mm->as, r->start, r->end, region_rights(r));
    *at = mm_merge(r);
    return 0;
}

static int protect(struct mm *mm, uaddr_t start, uaddr_t end, unsigned prot, bool growsdown)
{
    struct region *r = region_find(mm, start);
    if (!r || r->start >= end)
        return -ENOMEM;
    if (growsdown) {
        if (!(r->flags & REGION_GROWSDOWN))
            return -EINVAL;
        start = MIN(start, r->start);
    }
    while (start < end) {
        if (!r || r->start > start)
            return -ENOMEM; /* a hole: what came before it has been changed, as on Linux */
        uaddr_t stop = MIN(end, r->end);
        int err = protect_region(mm, &r, MAX(start, r->start), stop, prot);
        if (err)
            return err;
        start = stop;
        r = region_find(mm, start);
    }
    return 0;
}

long sys_mprotect(uaddr_t addr, uint64_t len, unsigned prot)
{
    struct mm *mm = current_process()->mm;
    bool growsdown = prot & PROT_GROWSDOWN;
    uint64_t size = ROUND_UP(len, PAGE_SIZE);
    prot &= ~(unsigned)PROT_GROWSDOWN;
    if ((addr & ~PAGE_MASK) || (prot & ~(PROT_R | PROT_W | PROT_X)))
        return -EINVAL;
    if (len == 0)
        return 0;
    if (size < len || addr > USER_MAX || size > USER_MAX - addr)
        return -ENOMEM;
    rwlock_write(&mm->lock);
    int err = protect(mm, addr, addr + size, prot, growsdown);
    rwlock_write_done(&mm->lock);
    return err;
}

long sys_brk(uaddr_t brk)
{
    struct mm *mm = current_process()->mm;
    bool populate = false;
    rwlock_write(&mm->lock);
    uaddr_t old = ROUND_UP(mm->brk, PAGE_SIZE), new = ROUND_UP(brk, PAGE_SIZE);
    if (brk < mm->brk_start || brk >= USER_MAX || brk - mm->brk_start > limit_of(RLIMIT_DATA))
        goto out;
    if (new < old && mm_unmap_locked(mm, new, old))
        goto out;
    if (new > old) {
        struct map_request m = {.addr = old,
                                .len = new - old,
                                .prot = PROT_R | PROT_W,
                                .fixed = true,
                                .noreplace = true,
                                .name = "[heap]"};
        if (may_add(mm, m.len, true) || mm_map_locked(mm, &m) < 0)
            goto out;
    }
    mm->brk = brk;
    populate = (mm->lock_future & REGION_LOCKED) && new > old;
out:
    brk = mm->brk;
    rwlock_write_done(&mm->lock);
    if (populate)
        mm_populate(mm, old, new);
    return (long)brk;
}

/* --- mremap ----------------------------------------------------------------------------------- */

static void keep_page(struct page *page, uaddr_t va, bool dirty, void *arg)
{
    (void)page;
    (void)va;
    (void)dirty;
    (void)arg;
}

/* Moves what is mapped in [from, from + len) to `to`. */
static int move_pages(struct mm *mm, uaddr_t from, uaddr_t to, uint64_t len)
{
    int err = 0;
    spin_lock(&mm->pt_lock);
    for (uint64_t off = 0; off < len && !err; off += PAGE_SIZE) {
        unsigned prot;
        struct page *page = aspace_lookup(mm->as, from + off, &prot);
        if (page)
            err = aspace_map(mm->as, to + off, page, prot);
    }
    aspace_unmap(mm->as, err ? to : from, (err ? to : from) + len, keep_page, NULL);
    spin_unlock(&mm->pt_lock);
    return err;
}

/* With old_len 0 a second mapping of the same pages is made. */
static long move_region(struct mm *mm, struct region *r, uaddr_t addr, uint64_t old_len,
                        uint64_t new_len, uaddr_t new_addr, unsigned flags)
{
    struct map_request m = {
        .addr = new_addr,
        .len = new_len,
        .prot = r->prot,
        .flags = r->flags,
        .fixed = flags & MREMAP_FIXED,
        .vnode = r->vnode,
        .file = r->file,
        .pgoff = r->pgoff + ((addr - r->start) >> PAGE_SHIFT),
        .name = r->name,
    };
    /* r may go away when the target is cleared. */
    if (m.vnode)
        vnode_get(m.vnode);
    if (m.file)
        file_get(m.file);
    long to = mm_map_locked(mm, &m);
    if (to > 0) {
        int err = move_pages(mm, addr, (uaddr_t)to, MIN(old_len, new_len));
        if (err) {
            mm_unmap_locked(mm, (uaddr_t)to, (uaddr_t)to + new_len);
            to = err;
        } else if (old_len && !(flags & MREMAP_DONTUNMAP)) {
            mm_unmap_locked(mm, addr, addr + old_len);
        }
    }
    if (m.file)
        file_put(m.file);
    if (m.vnode)
        vnode_put(m.vnode);
    return to;
}

static long remap(struct mm *mm, uaddr_t addr, uint64_t old_len, uint64_t new_len, unsigned flags,
                  uaddr_t new_addr)
{
    struct region *r = region_find(mm, addr);
    if (!r || r->start > addr || old_len > r->end - addr)
        return -EFAULT;
    if (old_len == 0 && !(r->flags & REGION_SHARED))
        return -EINVAL;
    bool keep = flags & MREMAP_DONTUNMAP, move = keep || (flags & MREMAP_FIXED);
    uint64_t more = keep ? new_len : new_len > old_len ? new_len - old_len : 0;
    if (more) {
        bool private_writable = (r->prot & PROT_W) && !(r->flags & REGION_SHARED);
        int err = may_add(mm, more, private_writable);
        if (!err && (r->flags & REGION_LOCKED) && mm_may_lock(mm, more))
            err = -EAGAIN;
        if (err)
            return err;
    }
    if (!move && new_len <= old_len) {
        int err = mm_unmap_locked(mm, addr + new_len, addr + old_len);
        return err ? err : (long)addr;
    }
    if (!move && old_len && addr + old_len == r->end && addr + new_len <= USER_MAX) {
        struct region *next = region_next(r);
        if (!next || next->start >= addr + new_len) {
            region_detach(r);
            mm->total_pages += (new_len - old_len) >> PAGE_SHIFT;
            r->end = addr + new_len;
            region_attach(r);
            mm_merge(r);
            return (long)addr;
        }
    }
    if (!(flags & MREMAP_MAYMOVE))
        return -ENOMEM;
    return move_region(mm, r, addr, old_len, new_len, move ? new_addr : 0, flags);
}

long sys_mremap(uaddr_t addr, uint64_t old_len, uint64_t new_len, unsigned flags, uaddr_t new_addr)
{
    struct mm *mm = current_process()->mm;
    uint64_t old_size, new_size;
    if (flags & ~(unsigned)(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP))
        return -EINVAL;
    if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) && !(flags & MREMAP_MAYMOVE))
        return -EINVAL;
    if ((addr & ~PAGE_MASK) || addr >= USER_MAX || !pages_of(new_len, &new_size) ||
        (!pages_of(old_len, &old_size) && old_len) || old_size > USER_MAX - addr)
        return -EINVAL;
    if ((flags & MREMAP_DONTUNMAP) && old_size != new_size)
        return -EINVAL;
    if (flags & MREMAP_FIXED) {
        if ((new_addr & ~PAGE_MASK) || new_addr > USER_MAX || new_size > USER_MAX - new_addr)
            return -EINVAL;
        if (new_addr < addr + old_size && addr < new_addr + new_size)
            return -EINVAL;
    }
    rwlock_write(&mm->lock);
    long res = remap(mm, addr, old_size, new_size, flags, new_addr);
    bool locked = false;
    if (res > 0) {
        struct region *r = region_find(mm, (uaddr_t)res);
        locked = r && (r->flags & REGION_LOCKED);
    }
    rwlock_write_done(&mm->lock);
    if (locked && new_size > old_size)
        mm_populate(mm, (uaddr_t)res + old_size, (uaddr_t)res + new_size);
    return res;
}
