/* process_vm_readv and process_vm_writev: memory of other processes. */
#include "core/mem.h"
#include "linux/iov.h"
#include "linux/mm.h"
#include "linux/process.h"
#include "linux/syscall.h"

/* The memory of pid, referenced, for one who may touch it; or ERR_PTR. */
static struct mm *memory_of(int pid)
{
    struct process *p = process_find(pid);
    if (!p)
        return ERR_PTR(-ESRCH);
    struct mm *mm = NULL;
    bool allowed = process_may_access(p);
    spin_lock_bh(&process_lock);
    if (allowed && p->mm) {
        mm = p->mm;
        mm_get(mm);
    }
    spin_unlock_bh(&process_lock);
    process_put(p);
    return mm ? mm : ERR_PTR(allowed ? -ESRCH : -EPERM);
}

/* Moves what both sides have, as far as it goes, through a page of the kernel's: the bytes moved,
 * or -EFAULT if there were none. */
static ssize_t transfer(struct mm *mm, struct uio *local, const struct iovec_k *remote, size_t n,
                        bool write, char *page)
{
    size_t done = 0;
    for (size_t i = 0; i < n && local->resid; i++) {
        for (uint64_t off = 0; off < remote[i].len && local->resid;) {
            size_t part = MIN(MIN(remote[i].len - off, local->resid), PAGE_SIZE);
            uaddr_t at = remote[i].base + off;
            size_t before = local->resid;
            int err = write ? uio_read(page, part, local) : 0;
            size_t moved = err ? 0 : mm_access(mm, at, page, part, write);
            if (!write && moved)
                err = uio_write(local, page, moved);
            done += write ? moved : before - local->resid;
            if (err || moved < part)
                return done ? (ssize_t)done : -EFAULT;
            off += part;
        }
        cond_resched();
    }
    return (ssize_t)done;
}

static long copy(int pid, uaddr_t ulocal, size_t local_count, uaddr_t uremote, size_t remote_count,
                 uint64_t flags, bool write)
{
    struct iov local, remote;
    if (flags)
        return -EINVAL;
    int err = iov_import(&local, ulocal, local_count);
    if (err)
        return err;
    err = iov_import(&remote, uremote, remote_count);
    if (err) {
        iov_release(&local);
        return err;
    }
    long res = 0;
    struct mm *mm = NULL;
    char *page = NULL;
    if (local.uio.resid && remote.uio.resid) {
        page = kmalloc(PAGE_SIZE);
        mm = page ? memory_of(pid) : ERR_PTR(-ENOMEM);
        if (IS_ERR(mm)) {
            res = PTR_ERR(mm);
        } else {
            res = transfer(mm, &local.uio, remote.segs, remote_count, write, page);
            mm_put(mm);
        }
    }
    kfree(page);
    iov_release(&remote);
    iov_release(&local);
    return res;
}

long sys_process_vm_readv(int pid, uaddr_t local, size_t local_count, uaddr_t remote,
                          size_t remote_count, uint64_t flags)
{
    return copy(pid, local, local_count, remote, remote_count, flags, false);
}

long sys_process_vm_writev(int pid, uaddr_t local, size_t local_count, uaddr_t remote,
                           size_t remote_count, uint64_t flags)
{
    return copy(pid, local, local_count, remote, remote_count, flags, true);
}
