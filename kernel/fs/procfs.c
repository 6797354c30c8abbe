/*
 * procfs and sysfs: files whose text is made when they are read.
 *
 * Registered files form a tree of nodes that only grows. Below the root of /proc a personality adds
 * directories that come and go (procfs_set_dynamic): names there are looked up every time.
 */
#include "fs/internal.h"

#define WRITE_MAX 4096u
#define TEXT_MAX (4u << 20)
/* Positions and inode numbers of dynamic entries, above those of registered ones. */
#define DYNAMIC_BASE (1ull << 32)
#define LINKS_BASE (DYNAMIC_BASE / 2)

/* What a text file does. */
struct text_file {
    text_fn show;
    text_store_fn store;
    void *arg;
    void (*release)(void *arg);
};

struct node {
    struct list link; /* among the parent's children */
    struct list children;
    uint64_t ino, nchildren;
    uint32_t mode;
    struct text_file text; /* files */
    char name[];
};

/* The two trees; "proc" and "sys". */
struct tree {
    const char *name, *type;
    uint64_t magic;
    struct node *root;
    struct filesystem *fs;
};

static struct tree trees[] = {
    {.name = "proc", .type = "proc", .magic = 0x9fa0},
    {.name = "sys", .type = "sysfs", .magic = 0x62656572},
};
static spinlock_t nodes_lock;
static uint64_t next_ino = 1;
static const struct procfs_dynamic *dynamic;

void (*procfs_cpuinfo)(struct text_buf *b, int cpu);
void (*procfs_stat_rest)(struct text_buf *b);

/* --- text ------------------------------------------------------------------------------------- */

static bool text_reserve(struct text_buf *b, size_t more)
{
    if (b->size - b->len > more)
        return true;
    size_t size = MAX(ROUND_UP(b->len + more + 1, 256), b->size * 2);
    char *data = size <= TEXT_MAX ? krealloc(b->data, size) : NULL;
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->size = size;
    return true;
}

void text_printf(struct text_buf *b, const char *fmt, ...)
{
    va_list ap;
    if (!text_reserve(b, 128))
        return;
    va_start(ap, fmt);
    size_t n = vsnprintf(b->data + b->len, b->size - b->len, fmt, ap);
    va_end(ap);
    if (n >= b->size - b->len) {
        if (!text_reserve(b, n))
            return;
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, b->size - b->len, fmt, ap);
        va_end(ap);
    }
    b->len += n;
}

/* The text as of the last read from position 0. */
struct open_text {
    struct mutex lock;
    struct text_file *text;
    struct text_buf buf;
    bool made;
};

static int make_text(struct open_text *o)
{
    o->buf.len = 0;
    o->buf.failed = false;
    if (!o->text->show)
        return -EINVAL;
    o->text->show(&o->buf, o->text->arg);
    o->made = !o->buf.failed;
    return o->made ? 0 : -ENOMEM;
}

static ssize_t text_read(struct file *f, struct uio *u, uint64_t *pos)
{
    struct open_text *o = f->data;
    mutex_lock(&o->lock);
    int err = *pos == 0 || !o->made ? make_text(o) : 0;
    size_t n = 0;
    if (!err && *pos < o->buf.len) {
        size_t before = u->resid;
        err = uio_write(u, o->buf.data + *pos, MIN(u->resid, o->buf.len - *pos));
        n = before - u->resid;
        *pos += n;
    }
    mutex_unlock(&o->lock);
    return n ? (ssize_t)n : err;
}

static ssize_t text_write(struct file *f, struct uio *u, uint64_t *pos)
{
    struct open_text *o = f->data;
    size_t n = u->resid;
    if (!o->text->store)
        return -EACCES;
    if (n >= WRITE_MAX)
        return -EINVAL;
    char *text = kmalloc(n + 1);
    if (!text)
        return -ENOMEM;
    int err = uio_read(text, n, u);
    text[n] = 0;
    if (n && text[n - 1] == '\n')
        text[n - 1] = 0;
    if (!err)
        err = o->text->store(text, o->text->arg);
    kfree(text);
    *pos += n;
    return err ? err : (ssize_t)n;
}

static int64_t text_seek(struct file *f, int64_t offset, int whence)
{
    int64_t pos = whence == WHENCE_CUR ? (int64_t)f->pos + offset : offset;
    if ((whence != WHENCE_SET && whence != WHENCE_CUR) || pos < 0)
        return -EINVAL;
    f->pos = pos;
    return pos;
}

static void text_release(struct file *f)
{
    struct open_text *o = f->data;
    kfree(o->buf.data);
    kfree(o);
}

static const struct file_ops text_file_ops = {
    .name = "proc",
    .read = text_read,
    .write = text_write,
    .seek = text_seek,
    .release = text_release,
};

static int open_text(struct vnode *v, struct file *f)
{
    struct open_text *o = kzalloc(sizeof(*o));
    if (!o)
        return -ENOMEM;
    mutex_init(&o->lock);
    o->text = v->data;
    f->data = o;
    f->ops = &text_file_ops;
    return 0;
}

/* Registered files: v->data is the node's own. */
static const struct vnode_ops registered_text_ops = {.open = open_text};

static void release_text(struct vnode *v)
{
    struct text_file *t = v->data;
    if (t->release)
        t->release(t->arg);
    kfree(t);
}

static const struct vnode_ops dynamic_text_ops = {.open = open_text, .release = release_text};

struct vnode *procfs_text_vnode(struct filesystem *fs, uint64_t ino, uint32_t mode, text_fn show,
                                text_store_fn store, void *arg, void (*release)(void *arg))
{
    struct text_file *t = kmalloc(sizeof(*t));
    struct vnode *v = t ? vnode_alloc(fs, &dynamic_text_ops, ino, MODE_REG | mode) : NULL;
    if (!v) {
        kfree(t);
        return NULL;
    }
    *t = (struct text_file){show, store, arg, release};
    v->data = t;
    return v;
}

/* --- links ------------------------------------------------------------------------------------ */

struct link {
    ssize_t (*target)(char *buf, size_t size, void *arg);
    int (*follow)(void *arg, struct path *path, struct file **file);
    void *arg;
    void (*release)(void *arg);
};

static ssize_t link_readlink(struct vnode *v, char *buf, size_t size)
{
    struct link *l = v->data;
    return l->target(buf, size, l->arg);
}

static int link_follow(struct vnode *v, struct path *path, struct file **file)
{
    struct link *l = v->data;
    return l->follow(l->arg, path, file);
}

static void link_release(struct vnode *v)
{
    struct link *l = v->data;
    if (l->release)
        l->release(l->arg);
    kfree(l);
}

static const struct vnode_ops link_ops = {.readlink = link_readlink, .release = link_release};
static const struct vnode_ops magic_link_ops = {
    .readlink = link_readlink, .follow = link_follow, .release = link_release};

struct vnode *procfs_link_vnode(struct filesystem *fs, uint64_t ino,
                                ssize_t (*target)(char *buf, size_t size, void *arg), void *arg,
                                void (*release)(void *arg))
{
    struct link *l = kmalloc(sizeof(*l));
    struct vnode *v = l ? vnode_alloc(fs, &link_ops, ino, MODE_LNK | 0777) : NULL;
    if (!v) {
        kfree(l);
        return NULL;
    }
    *l = (struct link){target, NULL, arg, release};
    v->data = l;
    return v;
}

void procfs_link_follow(struct vnode *link,
                        int (*follow)(void *arg, struct path *path, struct file **file))
{
    ((struct link *)link->data)->follow = follow;
    link->ops = &magic_link_ops;
}

/* --- dynamic directories ---------------------------------------------------------------------- */

struct dynamic_dir {
    int (*lookup)(struct filesystem *fs, void *arg, const char *name, size_t len,
                  struct vnode **out);
    int (*list)(void *arg, uint64_t *pos, char *name, size_t size, unsigned *type);
    void *arg;
    void (*release)(void *arg);
};

static int dynamic_dir_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out)
{
    struct dynamic_dir *d = dir->data;
    return d->lookup(dir->fs, d->arg, name, len, out);
}

static int dynamic_dir_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *emit)
{
    struct dynamic_dir *d = dir->data;
    char name[64];
    unsigned type;
    for (;; ++*pos) {
        uint64_t at = *pos - DIR_FIRST_POS;
        int more = d->list(d->arg, &at, name, sizeof(name), &type);
        if (more <= 0)
            return more;
        *pos = at + DIR_FIRST_POS;
        if (!emit->emit(emit, name, strlen(name), DYNAMIC_BASE + *pos, type, *pos + 1))
            return 0;
    }
}

static void dynamic_dir_release(struct vnode *v)
{
    struct dynamic_dir *d = v->data;
    if (d->release)
        d->release(d->arg);
    kfree(d);
}

static const struct vnode_ops dynamic_dir_ops = {
    .lookup = dynamic_dir_lookup, .readdir = dynamic_dir_readdir, .release = dynamic_dir_release};

struct vnode *procfs_dir_vnode(struct filesystem *fs, uint64_t ino, uint32_t mode,
                               int (*lookup)(struct filesystem *fs, void *arg, const char *name,
                                             size_t len, struct vnode **out),
                               int (*list)(void *arg, uint64_t *pos, char *name, size_t size,
                                           unsigned *type),
                               void *arg, void (*release)(void *arg))
{
    struct dynamic_dir *d = kmalloc(sizeof(*d));
    struct vnode *v = d ? vnode_alloc(fs, &dynamic_dir_ops, ino, MODE_DIR | mode) : NULL;
    if (!v) {
        kfree(d);
        return NULL;
    }
    *d = (struct dynamic_dir){lookup, list, arg, release};
    v->data = d;
    v->uncached = true;
    v->attr.nlink = 2;
    return v;
}

void *procfs_dir_arg(const struct vnode *v,
                     int (*lookup)(struct filesystem *fs, void *arg, const char *name, size_t len,
                                   struct vnode **out))
{
    const struct dynamic_dir *d = v->ops == &dynamic_dir_ops ? v->data : NULL;
    return d && d->lookup == lookup ? d->arg : NULL;
}

/* --- registered files ------------------------------------------------------------------------- */

static struct node *node_alloc(const char *name, size_t len, uint32_t mode)
{
    struct node *n = kzalloc(sizeof(*n) + len + 1);
    if (!n)
        return NULL;
    memcpy(n->name, name, len);
    list_init(&n->children);
    n->mode = mode;
    return n;
}

static struct node *find_child(struct node *dir, const char *name, size_t len)
{
    struct node *n, *found = NULL;
    spin_lock(&nodes_lock);
    list_for_each (n, &dir->children, link) {
        if (!strncmp(n->name, name, len) && !n->name[len]) {
            found = n;
            break;
        }
    }
    spin_unlock(&nodes_lock);
    return found;
}

/* The child of that name, made if need be; NULL when out of memory or of the wrong kind. */
static struct node *get_child(struct node *dir, const char *name, size_t len, uint32_t mode)
{
    struct node *n = find_child(dir, name, len);
    if (n)
        return (n->mode & MODE_FMT) == (mode & MODE_FMT) ? n : NULL;
    n = node_alloc(name, len, mode);
    if (!n)
        return NULL;
    spin_lock(&nodes_lock);
    n->ino = ++next_ino;
    list_push_back(&dir->children, &n->link);
    dir->nchildren++;
    spin_unlock(&nodes_lock);
    return n;
}

static struct tree *find_tree(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
        if (strlen(trees[i].name) == len && !strncmp(trees[i].name, name, len)) {
            if (!trees[i].root)
                trees[i].root = node_alloc("", 0, MODE_DIR | 0555);
            return trees[i].root ? &trees[i] : NULL;
        }
    }
    return NULL;
}

int procfs_register(const char *path, uint32_t mode, text_fn show, text_store_fn store, void *arg)
{
    const char *slash = strchr(path, '/');
    struct tree *tree = slash ? find_tree(path, slash - path) : NULL;
    if (!tree)
        return slash ? -ENOMEM : -EINVAL;
    struct node *n = tree->root;
    while (n) {
        path = slash + 1;
        slash = strchr(path, '/');
        if (!slash)
            break;
        n = get_child(n, path, slash - path, MODE_DIR | 0555);
    }
    if (n)
        n = get_child(n, path, strlen(path), MODE_REG);
    if (!n)
        return -ENOMEM;
    n->mode = MODE_REG | (mode & 07777); /* a later registration replaces the first */
    n->text = (struct text_file){show, store, arg, NULL};
    return 0;
}

static int node_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out);
static int node_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *emit);

static const struct vnode_ops node_dir_ops = {.lookup = node_lookup, .readdir = node_readdir};

static struct vnode *node_vnode(struct filesystem *fs, struct node *n)
{
    bool dir = (n->mode & MODE_FMT) == MODE_DIR;
    struct vnode *v = vnode_alloc(fs, dir ? &node_dir_ops : &registered_text_ops, n->ino, n->mode);
    if (!v)
        return NULL;
    v->data = dir ? (void *)n : &n->text;
    v->attr.nlink = dir ? 2 : 1;
    return v;
}

static int node_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out)
{
    struct node *n = find_child(dir->data, name, len);
    if (n) {
        *out = node_vnode(dir->fs, n);
        return *out ? 0 : -ENOMEM;
    }
    if (dynamic && dir->uncached)
        return dynamic->lookup(dir->fs, name, len, out);
    return -ENOENT;
}

/* Children are numbered in their order and never go, so the number is the position. */
static struct node *child_at(struct node *dir, uint64_t number)
{
    struct node *n, *found = NULL;
    spin_lock(&nodes_lock);
    list_for_each (n, &dir->children, link) {
        if (number-- == 0) {
            found = n;
            break;
        }
    }
    spin_unlock(&nodes_lock);
    return found;
}

static int node_readdir(struct vnode *dir, uint64_t *pos, struct dir_emit *emit)
{
    struct node *n;
    while (*pos < LINKS_BASE && (n = child_at(dir->data, *pos - DIR_FIRST_POS)) != NULL) {
        if (!emit->emit(emit, n->name, strlen(n->name), n->ino, n->mode & MODE_FMT, *pos + 1))
            return 0;
        ++*pos;
    }
    if (!dynamic || !dir->uncached)
        return 0;
    uint64_t i = *pos >= LINKS_BASE ? *pos - LINKS_BASE : 0;
    for (; *pos < DYNAMIC_BASE && dynamic->links[i]; i++) {
        const char *name = dynamic->links[i];
        uint64_t at = LINKS_BASE + i;
        if (!emit->emit(emit, name, strlen(name), at, MODE_LNK, at + 1))
            return 0;
        *pos = at + 1;
    }
    uint64_t pid = *pos >= DYNAMIC_BASE ? *pos - DYNAMIC_BASE : 0;
    for (; dynamic->next(&pid); pid++) {
        char name[24];
        int len = snprintf(name, sizeof(name), "%llu", (unsigned long long)pid);
        if (!emit->emit(emit, name, len, DYNAMIC_BASE + pid, MODE_DIR, DYNAMIC_BASE + pid + 1))
            return 0;
        *pos = DYNAMIC_BASE + pid + 1;
    }
    return 0;
}

void procfs_set_dynamic(const struct procfs_dynamic *d)
{
    dynamic = d;
}

static void tree_statfs(struct filesystem *fs, struct vfs_statfs *out)
{
    const struct tree *t = fs->data;
    out->type_magic = t->magic;
}

struct filesystem *procfs_filesystem(const char *name)
{
    struct tree *t = find_tree(name, strlen(name));
    if (!t)
        return NULL;
    struct filesystem *fs = kzalloc(sizeof(*fs));
    if (!fs)
        return NULL;
    filesystem_init(fs, t->type);
    fs->statfs = tree_statfs;
    fs->data = t;
    t->root->ino = 1;
    fs->root = node_vnode(fs, t->root);
    if (!fs->root) {
        kfree(fs);
        return NULL;
    }
    fs->root->uncached = t == &trees[0];
    t->fs = fs;
    return fs;
}
