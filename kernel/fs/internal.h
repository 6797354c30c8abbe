/*
 * What the files of fs/ share among themselves: dentries, mounts and the path walker.
 *
 * The name space (hash table, parents and children, mounts, all their reference counts) is
 * protected by one spin lock. A walk along cached names takes it once, not once per component; it
 * is let go only to ask a file system. Lock order: rename_mutex, directory vnode->lock (ancestors
 * first), dcache.
 */
#ifndef FS_INTERNAL_H
#define FS_INTERNAL_H

#include "fs/vfs.h"

#define DENTRY_INLINE_NAME 32

struct dentry {
    struct list hash;      /* in a bucket; a list of its own when not hashed */
    struct dentry *parent; /* referenced; itself at the root of a file system */
    struct vnode *vnode;   /* referenced; NULL: the name is known not to exist */
    struct mount *mounted; /* what is mounted here */
    int refs;              /* children count */
    uint32_t key;          /* hash of the name */
    uint16_t len;
    bool deleted;    /* the name was removed while the file was in use */
    char *name;      /* NUL-terminated; inline_name or allocated */
    struct list lru; /* hashed and unused; lazily: used ones may be on it too */
    char inline_name[DENTRY_INLINE_NAME];
};

struct mount {
    struct list link; /* all mounts, in order */
    struct filesystem *fs;
    struct dentry *root;
    struct path at; /* referenced; both NULL for the root */
    int refs;
    char *source;
};

/* dcache_unlock also frees what was released under the lock (which may sleep). */
void dcache_lock(void);
void dcache_unlock(void);
void dcache_init(void);
/* Everything below up to the next heading is called with the dcache locked. */
#define DENTRY_KEY_START 0x811c9dc5u
static inline uint32_t dentry_key_step(uint32_t key, char c)
{
    return (key ^ (uint8_t)c) * 0x01000193u; /* FNV-1a */
}
static inline uint32_t dentry_key(const char *name, size_t len)
{
    uint32_t key = DENTRY_KEY_START;
    for (size_t i = 0; i < len; i++)
        key = dentry_key_step(key, name[i]);
    return key;
}
/* The cached dentry, not referenced, or NULL. */
struct dentry *dcache_find(struct dentry *parent, const char *name, size_t len, uint32_t key);
static inline void dentry_ref(struct dentry *d)
{
    d->refs++;
}
void dentry_unref(struct dentry *d);
static inline void path_ref(const struct path *p)
{
    p->mount->refs++;
    p->dentry->refs++;
}
void path_unref(struct path *p);
/* True if a is d or an ancestor of it, within one file system. */
bool dentry_is_ancestor(const struct dentry *a, const struct dentry *d);

/* With the dcache not locked. */
/* A dentry that is in no directory: the root of a file system, a file without a name. Takes over
 * the reference of v on success. */
struct dentry *dentry_alloc_root(struct vnode *v);
struct dentry *dentry_alloc_nameless(struct dentry *dir, struct vnode *v);
void dentry_put(struct dentry *d);
/* The dentry of a name, positive or negative, referenced; from the cache or the file system. The
 * directory's vnode->lock is held for writing. ERR_PTR on failure. */
struct dentry *dentry_lookup(struct dentry *dir, const char *name, size_t len);
/* A negative dentry gets a file; takes over the reference of v. */
void dentry_instantiate(struct dentry *d, struct vnode *v);
/* The file system has removed the name. */
void dentry_delete(struct dentry *d);
/* The file system has renamed d to where `to` is (negative, or the replaced file). They change
 * places; without exchange `to` leaves the tree. */
void dentry_move(struct dentry *d, struct dentry *to, bool exchange);
/* Frees unused dentries, oldest first, or all of one file system. Returns their number. */
size_t dcache_shrink(size_t max, const struct filesystem *only);

/* --- walk.c --- */

enum walk_last { LAST_NAME, LAST_ROOT, LAST_DOT, LAST_DOTDOT };

struct walk {
    const struct fs_context *ctx;
    struct path cur;  /* where it stands; referenced */
    const char *rest; /* what is left of the path */
    enum walk_last last_type;
    const char *last; /* the last component, after walk_parent */
    size_t last_len;
    uint32_t last_key;
    bool trailing; /* slashes follow the last component */
    bool left;     /* it would have gone above the root, or changed the mount */
    unsigned links;
    char *buf;         /* link targets are expanded here */
    struct file *file; /* a magic link led to a file without a path */
};

/* Start and end of a walk; between them the dcache is locked unless the caller unlocks it. On
 * failure of walk_begin nothing is held. */
int walk_begin(struct walk *w, const struct fs_context *ctx, const struct path *at,
               const char *name);
void walk_end(struct walk *w);
/* Resolves all but the last component. */
int walk_parent(struct walk *w);
/* The dentry of the last component in w->cur, referenced; may unlock in between. */
int walk_child(struct walk *w, const char *name, size_t len, uint32_t key, struct dentry **out);
/* Moves to child d, and on to what is mounted there; takes over the reference. */
void walk_enter(struct walk *w, struct dentry *d);
/* Continues with the target of symbolic link d; takes over the reference. May unlock in between. */
int walk_link(struct walk *w, struct dentry *d);
/* Resolves the rest, the last component included: LOOKUP_*. */
int walk_final(struct walk *w, unsigned flags);

/* --- others --- */

/* lseek(2) */
enum { WHENCE_SET, WHENCE_CUR, WHENCE_END, WHENCE_DATA, WHENCE_HOLE };

bool cred_in_group(const struct cred *cred, uint32_t gid);
static inline bool cred_capable(const struct cred *cred, uint64_t cap)
{
    return (cred->caps_effective & cap) != 0;
}
/* Searching a directory: the common case inline. */
static inline int vnode_may_search(struct vnode *v, const struct cred *cred)
{
    return (v->attr.mode & 0111) == 0111 ? 0 : vnode_access(v, cred, ACCESS_X);
}
static inline bool vnode_read_only(const struct vnode *v)
{
    return v->fs->flags & MOUNT_RDONLY;
}
/* Directory removed: nothing can be created in it any more. */
static inline bool vnode_is_dead(const struct vnode *dir)
{
    return dir->attr.nlink == 0;
}
/* Clears set-user-id and set-group-id after a change of the contents. v->lock held for writing. */
void vnode_clear_setid(struct vnode *v);

/* Forgets the locks of a vnode that nobody has any more: one taken while its descriptor was being
 * closed by another thread may be left. */
void vnode_drop_locks(struct vnode *v);
void locks_show(struct text_buf *b, void *arg); /* /proc/locks */
int device_open(struct vnode *v, struct file *f);
void vnode_drop_xattrs(struct vnode *v); /* at its end */
/* -EPERM if the file is sealed against getting this size, or against being written. With v->lock
 * held. */
static inline int vnode_check_seals(const struct vnode *v, uint64_t size, bool writes)
{
    if (likely(!v->seals))
        return 0;
    unsigned refused = writes ? SEAL_WRITE | SEAL_FUTURE_WRITE : 0;
    if (size > v->attr.size)
        refused |= SEAL_GROW;
    if (size < v->attr.size)
        refused |= SEAL_SHRINK;
    return v->seals & refused ? -EPERM : 0;
}

/* --- pagecache.c: indexes are page numbers --- */

struct page_cache;
size_t page_cache_size(void);
void page_cache_init(struct page_cache *c);
/* Referenced, or NULL. */
struct page *page_cache_find(struct page_cache *c, uint64_t index);
/* The first page at or behind *index, which is set to where it is; NULL if there is none. */
struct page *page_cache_next(struct page_cache *c, uint64_t *index);
uint64_t page_cache_count(const struct page_cache *c);
/* Puts a page in, taking over the reference. -EEXIST, -ENOMEM, -ENOSPC (file system's limit). */
int page_cache_insert(struct vnode *v, uint64_t index, struct page *page);
/* The same for n pages of memory in a row, where the file has none yet; after -ENOMEM it has some.
 */
int page_cache_insert_run(struct vnode *v, uint64_t index, const char *data, size_t n);
/* The page for writing, referenced: like vnode_get_page with create, but behind the end too. */
int page_cache_grab(struct vnode *v, uint64_t index, struct page **out);
/* page_cache_insert while faults may be filling holes. */
int page_cache_add(struct vnode *v, uint64_t index, struct page *page);
/* Takes out the pages first..last (inclusive) and drops their references. */
void page_cache_drop(struct vnode *v, uint64_t first, uint64_t last);
/* Forgets pages first..last, which may be old: takes them out of mappings, writes what is dirty.
 * v->lock held for writing. */
int page_cache_flush(struct vnode *v, uint64_t first, uint64_t last);
/* Makes [start, end) read as zeroes, giving whole pages back. v->lock held for writing. */
int page_cache_punch(struct vnode *v, uint64_t start, uint64_t end);
/* Sets attr.size and drops what is behind it, from mappings too. v->lock held for writing. */
int page_cache_set_size(struct vnode *v, uint64_t size);

/* --- tmpfs.c, for the boot image --- */

struct vnode *tmpfs_new(struct filesystem *fs, uint32_t mode, uint64_t rdev);
/* A new name for v; takes a reference of its own and counts the link. */
int tmpfs_add(struct vnode *dir, const char *name, size_t len, struct vnode *v);
/* Not referenced, or NULL. */
struct vnode *tmpfs_find(struct vnode *dir, const char *name, size_t len);
int tmpfs_set_link(struct vnode *v, const char *target, size_t len);
int tmpfs_remove(struct vnode *dir, const char *name, size_t len);

/* --- start-up, in this order --- */
void namei_init(void);
void vfs_init(void);
/* NULL when out of memory. */
struct filesystem *devfs_filesystem(void);
struct filesystem *procfs_filesystem(const char *name); /* "proc" or "sys" */
void proc_files_init(void);

#endif
