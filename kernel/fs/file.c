/* Open file descriptions: allocation and release. */
#include "core/deferred.h"
#include "core/rand.h"
#include "core/thread.h"
#include "fs/internal.h"
#include "fs/notify.h"

void (*file_epoll_release)(struct file *f);

/*
 * Descriptions that ended are used again, and until a grace period has passed their memory does not
 * become anything else; their count of references is 0 meanwhile. So a look-up in a table that
 * tasks share needs no lock: it may try to reference what it read there, even if that has just
 * ended (linux/fd.c).
 */
#define UNUSED_MAX 512

static spinlock_t unused_lock = SPINLOCK_INIT;
static struct file *unused; /* linked through data */
static size_t unused_count;
static atomic_size_t allocated;

static struct file *take_unused(void)
{
    spin_lock(&unused_lock);
    struct file *f = unused;
    if (f) {
        unused = f->data;
        unused_count--;
    }
    spin_unlock(&unused_lock);
    if (f) /* all but the count */
        memset((char *)f + sizeof(f->refs), 0, sizeof(*f) - sizeof(f->refs));
    return f;
}

static void free_unused(struct work *w)
{
    (void)w;
    spin_lock(&unused_lock);
    struct file *f = unused;
    unused = NULL;
    unused_count = 0;
    spin_unlock(&unused_lock);
    thread_grace_period();
    while (f) {
        struct file *next = f->data;
        kfree(f);
        atomic_fetch_sub(&allocated, 1);
        f = next;
        cond_resched();
    }
}

static struct work free_work = WORK_INIT(free_work, free_unused);

static void keep_unused(struct file *f)
{
    spin_lock(&unused_lock);
    f->data = unused;
    unused = f;
    bool many = ++unused_count == UNUSED_MAX;
    spin_unlock(&unused_lock);
    if (many)
        work_schedule(&free_work);
}

void file_counts(size_t *all, size_t *idle)
{
    spin_lock(&unused_lock);
    *all = allocated;
    *idle = unused_count;
    spin_unlock(&unused_lock);
}

uint64_t object_ino(const void *object)
{
    static uint64_t key[2];
    uintptr_t address = (uintptr_t)object;
    if (!key[0])
        rand_bytes(key, sizeof(key));
    return siphash(&address, sizeof(address), key) >> 34 | 1;
}

struct file *file_alloc(const struct file_ops *ops, void *data, unsigned flags)
{
    struct file *f = take_unused();
    if (!f) {
        if (!(f = kzalloc(sizeof(*f))))
            return ERR_PTR(-ENOMEM);
        atomic_fetch_add(&allocated, 1);
    }
    f->flags = flags;
    f->ops = ops;
    f->data = data;
    mutex_init(&f->pos_lock);
    list_init(&f->epoll_items);
    spin_init(&f->epoll_lock);
    ref_init(&f->refs, 1);
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
    if (f->opened)
        notify_file(f, file_writable(f) ? NOTIFY_CLOSE_WRITE : NOTIFY_CLOSE_NOWRITE);
    if (f->ops && f->ops->release)
        f->ops->release(f);
    if (f->vnode)
        vnode_put(f->vnode);
    if (f->dentry) {
        struct path p = file_path(f);
        path_put(&p);
    }
    keep_unused(f);
}
