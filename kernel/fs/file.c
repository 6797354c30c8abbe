/* Open file descriptions: allocation and release. */
#include "fs/internal.h"

void (*file_epoll_release)(struct file *f);

struct file *file_alloc(const struct file_ops *ops, void *data, unsigned flags)
{
    struct file *f = kzalloc(sizeof(*f));
    if (!f)
        return ERR_PTR(-ENOMEM);
    ref_init(&f->refs, 1);
    f->flags = flags;
    f->ops = ops;
    f->data = data;
    mutex_init(&f->pos_lock);
    list_init(&f->epoll_items);
    spin_init(&f->epoll_lock);
    return f;
}

void file_put(struct file *f)
{
    if (!ref_put(&f->refs))
        return;
    /* Not by epoll_items: an epoll instance that ends just now may have emptied the list, but not
     * have let go of its lock. */
    if (f->in_epoll || f->async)
        file_epoll_release(f);
    if (f->vnode && !list_empty(&f->vnode->locks)) {
        vnode_unlock_owner(f->vnode, LOCK_OFD, f);
        vnode_unlock_owner(f->vnode, LOCK_FLOCK, f);
    }
    if (f->ops && f->ops->release)
        f->ops->release(f);
    if (f->vnode)
        vnode_put(f->vnode);
    if (f->dentry) {
        struct path p = file_path(f);
        path_put(&p);
    }
    kfree(f);
}
