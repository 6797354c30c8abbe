/* Reference counts and counters over C11 atomics. */
#ifndef CORE_ATOMIC_H
#define CORE_ATOMIC_H

#include <stdatomic.h>

#include "core/base.h"

typedef struct {
    atomic_int n;
} refcount_t;

static inline void ref_init(refcount_t *r, int n)
{
    atomic_init(&r->n, n);
}

static inline void ref_get(refcount_t *r)
{
    int old = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
    ASSERT(old > 0);
}

/* True if there was still a reference to share: for look-ups that race with the last put. */
static inline bool ref_get_unless_zero(refcount_t *r)
{
    int old = atomic_load_explicit(&r->n, memory_order_relaxed);
    while (old > 0) {
        if (atomic_compare_exchange_weak_explicit(&r->n, &old, old + 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

/* True if this was the last reference: the caller then frees the object. */
static inline bool ref_put(refcount_t *r)
{
    int old = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);
    ASSERT(old > 0);
    return old == 1;
}

static inline int ref_count(const refcount_t *r)
{
    return atomic_load_explicit(&r->n, memory_order_relaxed);
}

#endif
