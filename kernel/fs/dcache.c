/*
 * The dentry cache: a hash table of (directory, name). Names known not to exist are kept too.
 * Dentries that nobody uses stay, up to a number, and are given up oldest first.
 */
#include "fs/internal.h"

#define BUCKETS 2048u
#define UNUSED_MAX 8192u
#define EVICT_BATCH 32

static spinlock_t tree_lock;
static struct list buckets[BUCKETS];
static struct list lru = LIST_INIT(lru);
static size_t lru_count;
static struct list garbage = LIST_INIT(garbage); /* through dentry.hash */

void dcache_init(void)
{
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&buckets[i]);
}

static struct list *bucket_of(const struct dentry *parent, uint32_t key)
{
    uint64_t mix = (key ^ ((uintptr_t)parent >> 4)) * 0x9e3779b97f4a7c15ull;
    return &buckets[mix >> (64 - 11)];
}
_Static_assert(BUCKETS == 1u << 11, "bucket_of takes 11 bits");

static void lru_remove(struct dentry *d)
{
    if (!list_empty(&d->lru)) {
        list_remove(&d->lru);
        lru_count--;
    }
}

/* Takes an unused dentry out of everything; dcache_unlock frees it. Returns the parent, whose
 * reference is now the caller's to drop, or NULL. */
static struct dentry *dentry_kill(struct dentry *d)
{
    struct dentry *parent = d->parent;
    lru_remove(d);
    list_remove(&d->hash);
    list_push_back(&garbage, &d->hash);
    return parent == d ? NULL : parent;
}

void dentry_unref(struct dentry *d)
{
    while (d) {
        ASSERT(d->refs > 0);
        if (--d->refs)
            return;
        if (!list_empty(&d->hash)) {
            if (list_empty(&d->lru)) {
                list_push_back(&lru, &d->lru);
                lru_count++;
            }
            return;
        }
        d = dentry_kill(d);
    }
}

/* Looks at no more dentries than are on the list now. */
static size_t evict(size_t max, const struct filesystem *only)
{
    size_t freed = 0;
    for (size_t look = lru_count; look && freed < max; look--) {
        struct dentry *d = list_first(&lru, struct dentry, lru);
        list_remove(&d->lru);
        lru_count--;
        if (d->refs)
            continue; /* put back when it becomes unused */
        if (only && d->parent->vnode->fs != only) {
            list_push_back(&lru, &d->lru);
            lru_count++;
            continue;
        }
        dentry_unref(dentry_kill(d));
        freed++;
    }
    return freed;
}

static void dentry_free(struct dentry *d)
{
    if (d->vnode)
        vnode_put(d->vnode);
    if (d->name != d->inline_name)
        kfree(d->name);
    kfree(d);
}

void dcache_lock(void)
{
    spin_lock(&tree_lock);
}

void dcache_unlock(void)
{
    if (unlikely(lru_count > UNUSED_MAX))
        evict(EVICT_BATCH, NULL);
    if (likely(list_empty(&garbage))) {
        spin_unlock(&tree_lock);
        return;
    }
    struct list dead;
    list_init(&dead);
    list_append(&dead, &garbage);
    spin_unlock(&tree_lock);
    struct dentry *d;
    while ((d = list_pop_front(&dead, struct dentry, hash)) != NULL)
        dentry_free(d);
}

size_t dcache_shrink(size_t max, const struct filesystem *only)
{
    size_t freed = 0, n;
    do { /* parents become unused after their children */
        dcache_lock();
        n = evict(max - freed, only);
        dcache_unlock();
        freed += n;
    } while (n && freed < max);
    return freed;
}

size_t vfs_shrink(size_t pages)
{
    const size_t per_page = 8; /* dentries with their vnodes */
    return DIV_ROUND_UP(dcache_shrink(pages * per_page, NULL), per_page);
}

struct dentry *dcache_find(struct dentry *parent, const char *name, size_t len, uint32_t key)
{
    struct list *bucket = bucket_of(parent, key);
    struct dentry *d;
    list_for_each (d, bucket, hash) {
        if (d->key == key && d->parent == parent && d->len == len && !memcmp(d->name, name, len))
            return d;
    }
    return NULL;
}

/* Makes a dentry findable, where names may be remembered. */
static void hash(struct dentry *d)
{
    const struct dentry *parent = d->parent;
    /* Below a directory that is looked up anew every time the name would not be found again, and
     * keep that directory's dentry alive. */
    bool found_again = parent->parent == parent || !list_empty(&parent->hash);
    if (found_again && !parent->vnode->uncached && !parent->deleted)
        list_push_front(bucket_of(parent, d->key), &d->hash);
}

/* One reference, not in the tree yet. */
static struct dentry *dentry_alloc(const char *name, size_t len)
{
    struct dentry *d = kzalloc(sizeof(*d));
    if (!d)
        return NULL;
    d->name = d->inline_name;
    if (len >= DENTRY_INLINE_NAME) {
        d->name = kmalloc(len + 1);
        if (!d->name) {
            kfree(d);
            return NULL;
        }
    }
    memcpy(d->name, name, len);
    d->name[len] = 0;
    d->len = len;
    d->key = dentry_key(name, len);
    d->refs = 1;
    list_init(&d->hash);
    list_init(&d->lru);
    return d;
}

struct dentry *dentry_alloc_root(struct vnode *v)
{
    struct dentry *d = dentry_alloc("/", 1);
    if (!d)
        return NULL;
    d->parent = d;
    d->vnode = v;
    return d;
}

struct dentry *dentry_alloc_nameless(struct dentry *dir, struct vnode *v)
{
    char name[32];
    int len = snprintf(name, sizeof(name), "#%llu", (unsigned long long)v->attr.ino);
    struct dentry *d = dentry_alloc(name, len);
    if (!d)
        return NULL;
    d->vnode = v;
    d->deleted = true;
    dcache_lock();
    d->parent = dir;
    dentry_ref(dir);
    dcache_unlock();
    return d;
}

void dentry_put(struct dentry *d)
{
    dcache_lock();
    dentry_unref(d);
    dcache_unlock();
}

struct dentry *dentry_lookup(struct dentry *dir, const char *name, size_t len)
{
    struct vnode *dv = dir->vnode;
    if (!dv->uncached) {
        dcache_lock();
        struct dentry *cached = dcache_find(dir, name, len, dentry_key(name, len));
        if (cached)
            dentry_ref(cached);
        dcache_unlock();
        if (cached)
            return cached;
    }
    struct dentry *d = dentry_alloc(name, len);
    if (!d)
        return ERR_PTR(-ENOMEM);
    int err = dv->ops->lookup(dv, name, len, &d->vnode);
    if (err) {
        d->vnode = NULL;
        if (err != -ENOENT) {
            dentry_free(d);
            return ERR_PTR(err);
        }
    }
    dcache_lock();
    d->parent = dir;
    dentry_ref(dir);
    hash(d);
    dcache_unlock();
    return d;
}

void dentry_instantiate(struct dentry *d, struct vnode *v)
{
    dcache_lock();
    ASSERT(!d->vnode);
    d->vnode = v;
    dcache_unlock();
}

void dentry_delete(struct dentry *d)
{
    struct vnode *unused = NULL;
    dcache_lock();
    if (d->refs == 1) { /* the caller's: the name stays, known not to exist */
        unused = d->vnode;
        d->vnode = NULL;
    } else {
        list_remove(&d->hash);
        d->deleted = true;
    }
    dcache_unlock();
    if (unused)
        vnode_put(unused);
}

static void swap_names(struct dentry *a, struct dentry *b)
{
    char inline_name[DENTRY_INLINE_NAME];
    memcpy(inline_name, a->inline_name, sizeof(inline_name));
    memcpy(a->inline_name, b->inline_name, sizeof(inline_name));
    memcpy(b->inline_name, inline_name, sizeof(inline_name));

    char *a_name = a->name, *b_name = b->name;
    a->name = b_name == b->inline_name ? a->inline_name : b_name;
    b->name = a_name == a->inline_name ? b->inline_name : a_name;

    uint16_t len = a->len;
    a->len = b->len;
    b->len = len;
    uint32_t key = a->key;
    a->key = b->key;
    b->key = key;
    struct dentry *parent = a->parent; /* the references move along */
    a->parent = b->parent;
    b->parent = parent;
}

void dentry_move(struct dentry *d, struct dentry *to, bool exchange)
{
    dcache_lock();
    list_remove(&d->hash);
    list_remove(&to->hash);
    swap_names(d, to);
    hash(d);
    if (exchange)
        hash(to);
    else
        to->deleted = true;
    dcache_unlock();
}

bool dentry_is_ancestor(const struct dentry *a, const struct dentry *d)
{
    for (; d != a; d = d->parent) {
        if (d->parent == d)
            return false;
    }
    return true;
}
