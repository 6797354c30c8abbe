/*
 * Copying between the kernel and whoever called it.
 *
 * A struct uio describes the caller's buffers: a list of segments in user space or in the kernel.
 * File systems, sockets and pipes copy through it and do not know which. Copying to user space may
 * fault pages in and sleep, so it is done in thread context without spin locks; the _nofault
 * variants fail with -EFAULT instead of sleeping and may be used under a spin lock: on failure the
 * caller drops its lock, calls uio_fault_in, and tries again.
 */
#ifndef CORE_UIO_H
#define CORE_UIO_H

#include "core/base.h"

struct iovec_k {
    uint64_t base; /* user address, or kernel pointer */
    uint64_t len;
};

struct uio {
    const struct iovec_k *segs;
    uint32_t nsegs;
    bool user;      /* segments are user addresses */
    bool append;    /* write at the end of the file whatever the position (RWF_APPEND) */
    size_t seg_off; /* progress in segs[0] */
    size_t resid;   /* bytes left in all segments */
};

/* One kernel buffer as a uio. `seg` must outlive it. */
static inline struct uio uio_kernel(struct iovec_k *seg, void *buf, size_t len)
{
    *seg = (struct iovec_k){(uint64_t)(uintptr_t)buf, len};
    return (struct uio){.segs = seg, .nsegs = 1, .user = false, .resid = len};
}

/* One user buffer as a uio. */
static inline struct uio uio_user(struct iovec_k *seg, uaddr_t addr, size_t len)
{
    *seg = (struct iovec_k){addr, len};
    return (struct uio){.segs = seg, .nsegs = 1, .user = true, .resid = len};
}

/* Copy min(n, resid) bytes from the uio into buf / from buf to the uio and advance it. Return 0 or
 * -EFAULT; then the uio has advanced by what was copied (resid tells). */
int uio_read(void *buf, size_t n, struct uio *u);        /* uio -> buf */
int uio_write(struct uio *u, const void *buf, size_t n); /* buf -> uio */
int uio_zero(struct uio *u, size_t n);                   /* zeroes -> uio */
int uio_read_nofault(void *buf, size_t n, struct uio *u);
int uio_write_nofault(struct uio *u, const void *buf, size_t n);
/* Makes the next min(n, resid) bytes present (writable if write) or fails with -EFAULT. Sleeps. */
int uio_fault_in(struct uio *u, size_t n, bool write);
/* Skips n <= resid bytes; goes back over n bytes that were advanced since (same segs array). */
void uio_skip(struct uio *u, size_t n);

/* Direct user access. 0 or -EFAULT. Thread context, may sleep. */
int copy_from_user(void *dst, uaddr_t src, size_t n);
int copy_to_user(uaddr_t dst, const void *src, size_t n);
int clear_user(uaddr_t dst, size_t n);
/* Copies a NUL-terminated string of at most size - 1 bytes; its length, -EFAULT or -ENAMETOOLONG.
 */
ssize_t strncpy_from_user(char *dst, uaddr_t src, size_t size);

#endif
