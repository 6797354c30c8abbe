/* Copying between the kernel and whoever called it. The copy loops are arch's (user_copy). */
#include "core/uio.h"

#include "core/aspace.h"
#include "core/thread.h"
#include "core/user.h"

/* arch: bytes not copied; one side is a checked user range. */
size_t user_copy(void *dst, const void *src, size_t n);
size_t user_clear(void *dst, size_t n);
ssize_t user_strncpy(char *dst, const char *src, size_t n);

static bool user_range(uaddr_t addr, size_t n)
{
    return addr <= USER_MAX && n <= USER_MAX - addr;
}

int copy_from_user(void *dst, uaddr_t src, size_t n)
{
    if (unlikely(!user_range(src, n)))
        return -EFAULT;
    return user_copy(dst, (const void *)src, n) ? -EFAULT : 0;
}

int copy_to_user(uaddr_t dst, const void *src, size_t n)
{
    if (unlikely(!user_range(dst, n)))
        return -EFAULT;
    return user_copy((void *)dst, src, n) ? -EFAULT : 0;
}

int clear_user(uaddr_t dst, size_t n)
{
    if (unlikely(!user_range(dst, n)))
        return -EFAULT;
    return user_clear((void *)dst, n) ? -EFAULT : 0;
}

ssize_t strncpy_from_user(char *dst, uaddr_t src, size_t size)
{
    if (src >= USER_MAX)
        return -EFAULT;
    /* Reading on into the end of user space faults, as it should. */
    size_t max = MIN(size, (size_t)(USER_MAX - src));
    ssize_t n = user_strncpy(dst, (const char *)src, max);
    if (n < 0)
        return -EFAULT;
    if ((size_t)n == max)
        return max == size ? -ENAMETOOLONG : -EFAULT;
    return n;
}

enum direction { READ, WRITE, ZERO };

/* Moves n <= resid bytes and advances. Inline: the direction is known where it is called. */
static inline __attribute__((always_inline)) int transfer(struct uio *u, char *buf, size_t n,
                                                          enum direction dir)
{
    while (n) {
        uint64_t base = u->segs->base + u->seg_off;
        size_t part = MIN(n, (size_t)(u->segs->len - u->seg_off)), left = 0;

        if (u->user) {
            if (unlikely(!user_range(base, part)))
                return -EFAULT;
            if (dir == READ)
                left = user_copy(buf, (const void *)base, part);
            else if (dir == WRITE)
                left = user_copy((void *)base, buf, part);
            else
                left = user_clear((void *)base, part);
        } else if (dir == READ) {
            memcpy(buf, (const void *)base, part);
        } else if (dir == WRITE) {
            memcpy((void *)base, buf, part);
        } else {
            memset((void *)base, 0, part);
        }
        part -= left;
        u->seg_off += part;
        u->resid -= part;
        n -= part;
        buf += dir == ZERO ? 0 : part;
        if (left)
            return -EFAULT;
        /* Ready for the next byte, but never behind the last segment. */
        while (u->seg_off == u->segs->len && u->nsegs > 1) {
            u->segs++;
            u->nsegs--;
            u->seg_off = 0;
        }
    }
    return 0;
}

int uio_read(void *buf, size_t n, struct uio *u)
{
    return transfer(u, buf, MIN(n, u->resid), READ);
}

int uio_write(struct uio *u, const void *buf, size_t n)
{
    return transfer(u, (char *)buf, MIN(n, u->resid), WRITE);
}

int uio_zero(struct uio *u, size_t n)
{
    return transfer(u, NULL, MIN(n, u->resid), ZERO);
}

static inline __attribute__((always_inline)) int transfer_nofault(struct uio *u, char *buf,
                                                                  size_t n, enum direction dir)
{
    struct thread *t = thread_current();
    bool before = t->fault_safe;

    t->fault_safe = true;
    int err = transfer(u, buf, MIN(n, u->resid), dir);
    t->fault_safe = before;
    return err;
}

int uio_read_nofault(void *buf, size_t n, struct uio *u)
{
    return transfer_nofault(u, buf, n, READ);
}

int uio_write_nofault(struct uio *u, const void *buf, size_t n)
{
    return transfer_nofault(u, (char *)buf, n, WRITE);
}

static int fault_in(uaddr_t addr, size_t n, bool write)
{
    uaddr_t end = addr + n;

    if (!user_range(addr, n))
        return -EFAULT;
    for (; addr < end; addr = ROUND_DOWN(addr, PAGE_SIZE) + PAGE_SIZE) {
        struct aspace *as = thread_current()->aspace;
        unsigned prot = 0, wanted = write ? PROT_W : PROT_R;
        struct page *page = as ? aspace_lookup(as, ROUND_DOWN(addr, PAGE_SIZE), &prot) : NULL;
        if (page && (prot & wanted))
            continue;
        int err = personality_page_fault(addr, wanted, page != NULL);
        if (err)
            return err;
    }
    return 0;
}

int uio_fault_in(struct uio *u, size_t n, bool write)
{
    struct uio at = *u;

    n = MIN(n, u->resid);
    while (u->user && n) {
        size_t part = MIN(n, (size_t)(at.segs->len - at.seg_off));
        int err = fault_in(at.segs->base + at.seg_off, part, write);
        if (err)
            return err;
        n -= part;
        uio_skip(&at, part);
    }
    return 0;
}

void uio_skip(struct uio *u, size_t n)
{
    ASSERT(n <= u->resid);
    u->resid -= n;
    for (;;) {
        size_t room = u->segs->len - u->seg_off;
        if (n < room || u->nsegs <= 1) {
            u->seg_off += n;
            return;
        }
        n -= room;
        u->segs++;
        u->nsegs--;
        u->seg_off = 0;
    }
}
