/* The caller's buffers: one (addr, len) or an iovec array, checked and turned into a uio. */
#ifndef LINUX_IOV_H
#define LINUX_IOV_H

#include "core/aspace.h"
#include "core/uio.h"

#define IOV_COUNT_MAX 1024u
#define IOV_FAST 8
/* No transfer is longer: Linux's MAX_RW_COUNT. */
#define RW_COUNT_MAX 0x7ffff000ul

struct iov {
    struct uio uio;
    struct iovec_k *segs; /* fast, or allocated */
    struct iovec_k fast[IOV_FAST];
};

static inline bool user_range_ok(uaddr_t addr, size_t len)
{
    return len <= USER_MAX && addr <= USER_MAX - len;
}

/* The iovec array at `addr`: 0, -EINVAL (too many, negative length), -EFAULT, -ENOMEM. On success
 * the caller ends with iov_release. The total is cut to RW_COUNT_MAX. */
int iov_import(struct iov *v, uaddr_t addr, size_t count);
void iov_release(struct iov *v);
/* One buffer; nothing to release. */
static inline int iov_single(struct iov *v, uaddr_t addr, size_t len)
{
    len = MIN(len, RW_COUNT_MAX);
    if (unlikely(!user_range_ok(addr, len)))
        return -EFAULT;
    v->segs = v->fast;
    v->uio = uio_user(v->fast, addr, len);
    return 0;
}

#endif
