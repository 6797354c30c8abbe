/*
 * tmpfs: a file system in memory. File data lives in the page cache, a directory is two trees over
 * its entries: by name, and by position for listings. An entry's position is a number that is never
 * used again, so a listing in progress neither misses nor repeats entries that stay.
 */
#include "fs/internal.h"
#include "core/timer.h"

struct tmpfs {
    struct filesystem fs;
    atomic_ulong next_ino;
};

struct tmpfs_dir {
    struct rb_tree by_name, by_pos;
    uint64_t next_pos;
};

struct tmpfs_entry {
    struct rb_node name_node, pos_node;
    struct vnode *vnode; /* referenced */
    uint64_t pos;
    uint32_t key;
    uint16_t len;
    char name[];
};

static const struct vnode_ops tmpfs_ops;

static struct tmpfs_dir *dir_of(struct vnode *v)
{
    return v->data;
}

static int compare_key(uint32_t a_key, const char *a, size_t a_len, const struct tmpfs_entry *b)
{
    if (a_key != b->key)
        return a_key < b->key ? -1 : 1;
    if (a_len != b->len)
        return a_len < b->len ? -1 : 1;
    return memcmp(a, b->name, a_len);
}

static int compare_names(const struct rb_node *x, const struct rb_node *y)
{
    const struct tmpfs_entry *a = container_of(x, struct tmpfs_entry, name_node);
    return compare_key(a->key, a->name, a->len, container_of(y, struct tmpfs_entry, name_node));
}

static int compare_positions(const struct rb_node *x, const struct rb_node *y)
{
    uint64_t a = container_of(x, struct tmpfs_entry, pos_node)->pos;
    uint64_t b = container_of(y, struct tmpfs_entry, pos_node)->pos;
    return a < b ? -1 : a > b;
}

static struct tmpfs_entry *find_entry(struct vnode *dir, const char *name, size_t len)
{
    uint32_t key = dentry_key(name, len);
    struct rb_node *n = dir_of(dir)->by_name.root;
    while (n) {
        struct tmpfs_entry *e = container_of(n, struct tmpfs_entry, name_node);
        int order = compare_key(key, name, len, e);
        if (order == 0)
            return e;
        n = order < 0 ? n->left : n->right;
    }
    return NULL;
}

/* The entry at or behind a position. */
static struct tmpfs_entry *entry_from(struct vnode *dir, uint64_t pos)
{
    struct tmpfs_entry *best = NULL;
    struct rb_node *n = dir_of(dir)->by_pos.root;
    while (n) {
        struct tmpfs_entry *e = container_of(n, struct tmpfs_entry, pos_node);
        if (e->pos >= pos)
            best = e;
        n = e->pos > pos ? n->left : n->right;
        if (best && best->pos == pos)
            break;
    }
    return best;
}

struct vnode *tmpfs_find(struct vnode *dir, const char *name, size_t len)
{
    struct tmpfs_entry *e = find_entry(dir, name, len);
    return e ? e->vnode : NULL;
}

static struct tmpfs_entry *entry_alloc(const char *name, size_t len)
{
    struct tmpfs_entry *e = kmalloc(sizeof(*e) + len + 1);
    if (!e)
        return NULL;
    memcpy(e->name, name, len);
    e->name[len] = 0;
    e->len = len;
    e->key = dentry_key(name, len);
    return e;
}

static void entry_insert(struct vnode *dir, struct tmpfs_entry *e)
{
    struct tmpfs_dir *d = dir_of(dir);
    e->pos = d->next_pos++;
    rb_insert(&d->by_name, &e->name_node, compare_names);
    rb_insert(&d->by_pos, &e->pos_node, compare_positions);
}

static void entry_free(struct vnode *dir, struct tmpfs_entry *e)
{
    rb_remove(&dir_of(dir)->by_name, &e->name_node);
    rb_remove(&dir_of(dir)->by_pos, &e->pos_node);
    kfree(e);
}

static bool is_dir(const struct vnode *v)
{
    return vnode_type(v) == MODE_DIR;
}

int tmpfs_add(struct vnode *dir, const char *name, size_t len, struct vnode *v)
{
    struct tmpfs_entry *e = entry_alloc(name, len);
    if (!e)
        return -ENOMEM;
    e->vnode = v;
    vnode_get(v);
    entry_insert(dir, e);
    if (is_dir(v)) {
        v->attr.nlink = 2;
        dir->attr.nlink++;
    } else {
        v->attr.nlink++;
    }
    return 0;
}

static void touch(struct vnode *dir, struct vnode *v)
{
    int64_t now = time_realtime();
    dir->attr.mtime_ns = dir->attr.ctime_ns = now;
    if (v)
        v->attr.ctime_ns = now;
}

static void drop_link(struct vnode *dir, struct vnode *v)
{
    if (is_dir(v)) {
        v->attr.nlink = 0;
        dir->attr.nlink--;
    } else {
        v->attr.nlink--;
    }
    vnode_put(v);
}

int tmpfs_remove(struct vnode *dir, const char *name, size_t len)
{
    struct tmpfs_entry *e = find_entry(dir, name, len);
    if (!e)
        return -ENOENT;
    struct vnode *v = e->vnode;
    entry_free(dir, e);
    drop_link(dir, v);
    return 0;
}

struct vnode *tmpfs_new(struct filesystem *fs, uint32_t mode, uint64_t rdev)
{
    struct tmpfs *t = container_of(fs, struct tmpfs, fs);
    uint64_t ino = atomic_fetch_add_explicit(&t->next_ino, 1, memory_order_relaxed);
    struct vnode *v = vnode_alloc(fs, &tmpfs_ops, ino, mode);
    if (!v)
        return NULL;
    v->attr.nlink = 0;
    v->attr.rdev = rdev;
    if ((mode & MODE_FMT) != MODE_DIR)
        return v;
    struct tmpfs_dir *d = kzalloc(sizeof(*d));
    v->data = d;
    if (!d) {
        vnode_put(v);
        return NULL;
    }
    d->next_pos = DIR_FIRST_POS;
    return v;
}

int tmpfs_set_link(struct vnode *v, const char *target, size_t len)
{
    char *text = kmalloc(len + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, target, len);
    text[len] = 0;
    v->data = text;
    v->attr.size = len;
    return 0;
}

static void tmpfs_release(struct vnode *v)
{
    if (is_dir(v) && v->data)
        ASSERT(!dir_of(v)->by_name.root);
    if (is_dir(v) || vnode_type(v) == MODE_LNK)
        kfree(v->data);
}

/* --- vnode operations ------------------------------------------------------------------------- */

static int tmpfs_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out)
{
    struct vnode *v = tmpfs_find(dir, name, len);
    if (!v)
        return -ENOENT;
    vnode_get(v);
    *out = v;
    return 0;
}

/* A new file with a name; its first reference goes to *out. */
static int make(struct vnode *dir, const char *name, size_t len, uint32_t mode, uint64_t rdev,
                const char *target, const struct cred *cred, struct vnode **out)
{
    struct vnode *v = tmpfs_new(dir->fs, mode, rdev);
    if (!v)
        return -ENOSPC;
    vnode_init_owner(v, dir, cred);
    int err = target ? tmpfs_set_link(v, target, strlen(target)) : 0;
    if (!err)
        err = tmpfs_add(dir, name, len, v);
    if (err) {
        vnode_put(v);
        return err;
    }
    touch(dir, NULL);
    *out = v;
    return 0;
}

static int tmpfs_create_file(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                             uint64_t rdev, const struct cred *cred, struct vnode **out)
{
    return make(dir, name, len, mode, rdev, NULL, cred, out);
}

static int tmpfs_mkdir(struct vnode *dir, const char *name, size_t len, uint32_t mode,
                       const struct cred *cred, struct vnode **out)
{
    return make(dir, name, len, mode, 0, NULL, cred, out);
}

static int tmpfs_symlink(struct vnode *dir, const char *name, size_t len, const char *target,
                         const struct cred *cred, struct vnode **out)
{
    return make(dir, name, len, MODE_LNK | 0777, 0, target, cred, out);
}

static int tmpfs_link(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    int err = tmpfs_add(dir, name, len, target);
    if (!err)
        touch(dir, target);
    return err;
}

static int tmpfs_unlink(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    touch(dir, target);
    return tmpfs_remove(dir, name, len);
}

static int tmpfs_rmdir(struct vnode *dir, const char *name, size_t len, struct vnode *target)
{
    if (dir_of(target)->by_name.root)
        return -ENOTEMPTY;
    return tmpfs_unlink(dir, name, len, target);
}

static int tmpfs_rename(struct vnode *from_dir, const char *from, size_t from_len,
                        struct vnode *to_dir, const char *to, size_t to_len, struct vnode *moved,
                        struct vnode *replaced)
{
    struct tmpfs_entry *old = find_entry(from_dir, from, from_len), *new;
    if (replaced) {
        if (is_dir(replaced) && dir_of(replaced)->by_name.root)
            return -ENOTEMPTY;
        touch(to_dir, replaced);
        new = find_entry(to_dir, to, to_len);
        drop_link(to_dir, replaced);
    } else {
        new = entry_alloc(to, to_len);
        if (!new)
            return -ENOSPC;
        entry_insert(to_dir, new);
    }
    new->vnode = moved; /* with the old entry's reference */
    entry_free(from_dir, old);
    if (is_dir(moved)) {
        from_dir->attr.nlink--;
        to_dir->attr.nlink++;
    }
    touch(from_dir, moved);
    touch(to_dir, NULL);
    return 0;
}

static int tmpfs_exchange(struct vnode *a_dir, const char *a, size_t a_len, struct vnode *a_node,
                          struct vnode *b_dir, const char *b, size_t b_len, struct vnode *b_node)
{
    find_entry(a_dir, a, a_len)->vnode = b_node;
    find_entry(b_dir, b, b_len)->vnode = a_node;
    int a_is = is_dir(a_node), b_is = is_dir(b_node);
    a_dir->attr.nlink += b_is - a_is;
    b_dir->attr.nlink += a_is - b_is;
    touch(a_dir, a_node);
    touch(b_dir, b_node);
    return 0;
}

static int tmpfs_tmpfile(struct vnode *dir, uint32_t mode, const struct cred *cred,
                         struct vnode **out)
{
    struct vnode *v = tmpfs_new(dir->fs, MODE_REG | mode, 0);
    if (!v)
        return -ENOSPC;
    vnode_init_owner(v, dir, cred);
    *out = v;
    return 0;
}

static int tmpfs_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *d)
{
    struct tmpfs_entry *e = entry_from(dir, *pos);
    while (e) {
        struct vnode *v = e->vnode;
        if (!d->emit(d, e->name, e->len, v->attr.ino, vnode_type(v), e->pos + 1))
            return 0;
        *pos = e->pos + 1;
        struct rb_node *next = rb_next(&e->pos_node);
        e = next ? container_of(next, struct tmpfs_entry, pos_node) : NULL;
    }
    return 0;
}

static ssize_t tmpfs_readlink(struct vnode *v, char *buf, size_t size)
{
    size_t n = MIN(size, (size_t)v->attr.size);
    memcpy(buf, v->data, n);
    return n;
}

static const struct vnode_ops tmpfs_ops = {
    .lookup = tmpfs_lookup,
    .create = tmpfs_create_file,
    .mkdir = tmpfs_mkdir,
    .symlink = tmpfs_symlink,
    .link = tmpfs_link,
    .unlink = tmpfs_unlink,
    .rmdir = tmpfs_rmdir,
    .rename = tmpfs_rename,
    .exchange = tmpfs_exchange,
    .tmpfile = tmpfs_tmpfile,
    .readdir = tmpfs_readdir,
    .readlink = tmpfs_readlink,
    .release = tmpfs_release,
};

/* --- the file system -------------------------------------------------------------------------- */

static void tmpfs_statfs(struct filesystem *fs, struct vfs_statfs *out)
{
    struct mem_stats mem;
    mem_stats(&mem);
    uint64_t used = atomic_load_explicit(&fs->pages, memory_order_relaxed);
    out->type_magic = 0x01021994;
    out->blocks = fs->max_pages ? (uint64_t)fs->max_pages : mem.total_pages;
    out->blocks_free = MIN(out->blocks - MIN(used, out->blocks), mem.free_pages);
    out->files = mem.total_pages;
    out->files_free = mem.free_pages;
}

/* Removes everything, deepest first, without recursion: trees may be deep. */
static void tmpfs_destroy(struct filesystem *fs)
{
    while (dir_of(fs->root)->by_pos.root) {
        struct vnode *dir = fs->root;
        struct tmpfs_entry *e;
        for (;;) {
            e = container_of(dir_of(dir)->by_pos.root, struct tmpfs_entry, pos_node);
            if (!is_dir(e->vnode) || !dir_of(e->vnode)->by_pos.root)
                break;
            dir = e->vnode;
        }
        tmpfs_remove(dir, e->name, e->len);
    }
    vnode_put(fs->root);
    kfree(container_of(fs, struct tmpfs, fs));
}

struct filesystem *tmpfs_create(uint64_t max_bytes)
{
    struct tmpfs *t = kzalloc(sizeof(*t));
    if (!t)
        return NULL;
    filesystem_init(&t->fs, "tmpfs");
    t->next_ino = 1;
    t->fs.max_pages = DIV_ROUND_UP(max_bytes, PAGE_SIZE);
    t->fs.statfs = tmpfs_statfs;
    t->fs.in_memory = true;
    t->fs.destroy = tmpfs_destroy;
    t->fs.root = tmpfs_new(&t->fs, MODE_DIR | 0755, 0);
    if (!t->fs.root) {
        kfree(t);
        return NULL;
    }
    t->fs.root->attr.nlink = 2;
    return &t->fs;
}
