/*
 * Seals (memfd_create): what can no longer be done to a file, by anybody. Under v->lock; a writable
 * shared mapping and SEAL_WRITE exclude each other under v->mappings_lock.
 */
#include "fs/internal.h"

#define SEALS_ALL (SEAL_SEAL | SEAL_SHRINK | SEAL_GROW | SEAL_WRITE | SEAL_FUTURE_WRITE)

int vnode_begin_writable_mapping(struct vnode *v)
{
    mutex_lock(&v->mappings_lock);
    int err = v->seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) ? -EPERM : 0;
    if (!err)
        v->mappings_begun++;
    mutex_unlock(&v->mappings_lock);
    return err;
}

void vnode_end_writable_mapping(struct vnode *v)
{
    mutex_lock(&v->mappings_lock);
    v->mappings_begun--;
    mutex_unlock(&v->mappings_lock);
}

static bool is_mapped_writable(struct vnode *v)
{
    struct vnode_mapping *m;
    list_for_each (m, &v->mappings, link)
        if (m->writes)
            return true;
    return v->mappings_begun;
}

int vnode_add_seals(struct vnode *v, unsigned seals)
{
    if (!v->sealable || seals & ~SEALS_ALL)
        return -EINVAL;
    rwlock_write(&v->lock);
    mutex_lock(&v->mappings_lock);
    int err = 0;
    if (v->seals & SEAL_SEAL)
        err = -EPERM;
    else if (seals & SEAL_WRITE && is_mapped_writable(v))
        err = -EBUSY;
    else
        v->seals |= seals;
    mutex_unlock(&v->mappings_lock);
    rwlock_write_done(&v->lock);
    return err;
}

int vnode_get_seals(struct vnode *v)
{
    return v->sealable ? (int)v->seals : -EINVAL;
}
