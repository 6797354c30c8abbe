/* Change notification: see notify.h. */
#include "fs/notify.h"
#include "fs/internal.h"

static struct mutex lock;
/* Those whose last watch just ended, and with it what kept them; see notify_unlock. */
static struct list unwatched = LIST_INIT(unwatched);
static struct list all_watches = LIST_INIT(all_watches);
static atomic_int watch_count;

void notify_init(void)
{
    mutex_init(&lock);
}

void notify_lock(void)
{
    mutex_lock(&lock);
}

/* Letting a vnode go may take long, and the lock. */
void notify_unlock(void)
{
    struct vnode *v;
    while ((v = list_pop_front(&unwatched, struct vnode, unwatched)) != NULL) {
        if (!list_empty(&v->watches)) /* watched again */
            continue;
        v->kept = false;
        mutex_unlock(&lock);
        vnode_put(v);
        mutex_lock(&lock);
    }
    mutex_unlock(&lock);
}

static inline bool anybody_watches(void)
{
    return unlikely(atomic_load_explicit(&watch_count, memory_order_relaxed) != 0);
}

int notify_attach(struct vnode *v, struct vnode_watch *w)
{
    if (!v->fs->in_memory && !v->fs->one_vnode)
        return -ENOSPC;
    if (!v->fs->in_memory && !v->kept && v->attr.nlink) {
        vnode_get(v);
        v->kept = true;
    }
    w->vnode = v;
    v->watched = true;
    list_push_back(&v->watches, &w->link);
    list_push_back(&all_watches, &w->all_link);
    atomic_fetch_add(&watch_count, 1);
    return 0;
}

void notify_detach(struct vnode_watch *w)
{
    list_remove(&w->link);
    list_remove(&w->all_link);
    struct vnode *v = w->vnode;
    if (v->kept && list_empty(&v->watches) && list_empty(&v->unwatched))
        list_push_back(&unwatched, &v->unwatched);
    atomic_fetch_sub(&watch_count, 1);
}

/* With the lock held. */
static void end_watch(struct vnode_watch *w)
{
    notify_detach(w);
    w->ended(w);
}

static void tell(struct vnode *v, const struct notify_event *e)
{
    struct vnode_watch *w, *next;
    notify_lock();
    list_for_each_safe (w, next, &v->watches, link)
        if (w->event(w, e))
            end_watch(w);
    notify_unlock();
}

static uint32_t with_type(const struct vnode *v, uint32_t mask)
{
    bool self = mask & (NOTIFY_DELETE_SELF | NOTIFY_MOVE_SELF); /* these never say so */
    return vnode_type(v) == MODE_DIR && !self ? mask | NOTIFY_DIR : mask;
}

void notify_vnode(struct vnode *v, uint32_t mask)
{
    if (anybody_watches() && v->watched)
        tell(v, &(struct notify_event){.mask = with_type(v, mask)});
}

void notify_name(struct vnode *dir, const char *name, size_t len, uint32_t mask, uint32_t cookie)
{
    if (anybody_watches() && dir->watched)
        tell(dir, &(struct notify_event){mask, cookie, name, len, false});
}

/* Tells the directory that d is a name in, if that is watched. */
static void tell_parent(struct dentry *d, uint32_t mask)
{
    char name[VFS_NAME_MAX];
    struct notify_event e = {.mask = mask, .name = name};
    dcache_lock();
    struct vnode *dir = d->parent == d ? NULL : d->parent->vnode;
    if (dir && dir->watched) {
        vnode_get(dir);
        e.len = d->len;
        e.unlinked = d->deleted || (d->vnode && !d->vnode->attr.nlink);
        memcpy(name, d->name, d->len);
    } else {
        dir = NULL;
    }
    dcache_unlock();
    if (dir) {
        tell(dir, &e);
        vnode_put(dir);
    }
}

static void tell_both(struct dentry *d, struct vnode *v, uint32_t mask)
{
    mask = with_type(v, mask);
    tell_parent(d, mask);
    if (v->watched)
        tell(v, &(struct notify_event){.mask = mask});
}

void notify_file(struct file *f, uint32_t mask)
{
    if (anybody_watches() && f->dentry)
        tell_both(f->dentry, f->vnode, mask);
}

void notify_path(const struct path *p, uint32_t mask)
{
    if (anybody_watches())
        tell_both(p->dentry, path_vnode(p), mask);
}

uint32_t notify_cookie(void)
{
    static atomic_uint last;
    uint32_t cookie = atomic_fetch_add(&last, 1) + 1;
    return cookie ? cookie : atomic_fetch_add(&last, 1) + 1;
}

void notify_unlinked(struct vnode *v)
{
    if (v->attr.nlink || !v->watched)
        return;
    notify_lock();
    bool kept = v->kept;
    v->kept = false;
    list_remove(&v->unwatched);
    notify_unlock();
    if (kept)
        vnode_put(v); /* the caller has it, too */
}

void notify_vnode_ends(struct vnode *v)
{
    if (!v->watched)
        return;
    notify_lock();
    while (!list_empty(&v->watches)) {
        struct vnode_watch *w = list_first(&v->watches, struct vnode_watch, link);
        if (!v->attr.nlink)
            w->event(w, &(struct notify_event){.mask = NOTIFY_DELETE_SELF});
        end_watch(w);
    }
    notify_unlock();
}

void notify_unmount(struct filesystem *fs)
{
    struct vnode_watch *w, *next;
    notify_lock();
    list_for_each_safe (w, next, &all_watches, all_link) {
        if (w->vnode->fs != fs)
            continue;
        w->event(w, &(struct notify_event){.mask = NOTIFY_UNMOUNT});
        end_watch(w);
    }
    notify_unlock();
}
