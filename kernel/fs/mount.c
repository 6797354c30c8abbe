/* Mounts, references to paths, and the text of a path. */
#include "fs/internal.h"
#include "fs/notify.h"

static struct list mounts = LIST_INIT(mounts); /* with the dcache locked */
static struct fs_context root_context = {.umask = 022, .cred = &root_cred};

void vfs_init(void)
{
    dcache_init();
    namei_init();
    notify_init();
}

struct fs_context *vfs_root_context(void)
{
    return &root_context;
}

void path_get(const struct path *p)
{
    dcache_lock();
    path_ref(p);
    dcache_unlock();
}

void path_put(struct path *p)
{
    dcache_lock();
    path_unref(p);
    dcache_unlock();
}

void path_unref(struct path *p)
{
    ASSERT(p->mount->refs > 1); /* one is the mount's own */
    p->mount->refs--;
    dentry_unref(p->dentry);
    *p = (struct path){0};
}

struct vnode *path_vnode(const struct path *p)
{
    return p->dentry->vnode;
}

static struct mount *mount_alloc(struct filesystem *fs, const char *source, unsigned flags)
{
    struct mount *m = kzalloc(sizeof(*m));
    if (!m)
        return NULL;
    m->source = kstrdup(source);
    m->root = m->source ? dentry_alloc_root(fs->root) : NULL;
    if (!m->root) {
        kfree(m->source);
        kfree(m);
        return NULL;
    }
    vnode_get(fs->root);
    m->fs = fs;
    m->refs = 1;
    fs->flags = flags;
    fs->mounted = true;
    return m;
}

/* The first mount of all: "/". */
static int mount_root(struct filesystem *fs, const char *source, unsigned flags)
{
    struct mount *m = mount_alloc(fs, source, flags);
    if (!m)
        return -ENOMEM;
    dcache_lock();
    list_push_back(&mounts, &m->link);
    root_context.root = root_context.cwd = (struct path){m, m->root};
    path_ref(&root_context.root);
    path_ref(&root_context.cwd);
    dcache_unlock();
    return 0;
}

int vfs_mount(const struct fs_context *ctx, struct filesystem *fs, const char *where,
              const char *source, unsigned flags)
{
    if (fs->mounted)
        return -EBUSY;
    if (!root_context.root.mount)
        return mount_root(fs, source, flags);
    struct path at;
    int err = vfs_lookup(ctx, NULL, where, LOOKUP_FOLLOW, &at);
    if (err)
        return err;
    if (vnode_type(path_vnode(&at)) != vnode_type(fs->root))
        err = -ENOTDIR;
    else if (at.dentry != at.mount->root && list_empty(&at.dentry->hash))
        err = -ENOENT; /* removed, or in a directory whose names are not kept */
    struct mount *m = err ? NULL : mount_alloc(fs, source, flags);
    if (!m) {
        path_put(&at);
        return err ? err : -ENOMEM;
    }
    dcache_lock();
    if (at.dentry->mounted) /* somebody else was faster */
        err = -EBUSY;
    else {
        m->at = at;
        at.dentry->mounted = m;
        list_push_back(&mounts, &m->link);
    }
    dcache_unlock();
    if (err) {
        fs->mounted = false;
        dentry_put(m->root);
        kfree(m->source);
        kfree(m);
        path_put(&at);
    }
    return err;
}

int vfs_umount(const struct fs_context *ctx, const char *where)
{
    struct path at;
    int err = vfs_lookup(ctx, NULL, where, LOOKUP_FOLLOW, &at);
    if (err)
        return err;
    struct mount *m = at.mount;
    if (at.dentry != m->root)
        err = -EINVAL;
    else if (!m->at.mount)
        err = -EBUSY;
    if (err) {
        path_put(&at);
        return err;
    }
    dcache_shrink(SIZE_MAX, m->fs);
    dcache_lock();
    path_unref(&at);
    /* The root dentry: ours, and unused dentries below are gone, so anything more is in use. */
    if (m->refs != 1 || m->root->refs != 1)
        err = -EBUSY;
    else {
        list_remove(&m->link);
        m->at.dentry->mounted = NULL;
        dentry_unref(m->root);
        path_unref(&m->at);
    }
    dcache_unlock();
    if (err)
        return err;
    m->fs->mounted = false;
    notify_unmount(m->fs);
    if (m->fs->destroy)
        m->fs->destroy(m->fs);
    kfree(m->source);
    kfree(m);
    return 0;
}

static void options_text(unsigned flags, char *buf, size_t size)
{
    snprintf(buf, size, "%s%s%s%s%s", flags & MOUNT_RDONLY ? "ro" : "rw",
             flags & MOUNT_NOSUID ? ",nosuid" : "", flags & MOUNT_NODEV ? ",nodev" : "",
             flags & MOUNT_NOEXEC ? ",noexec" : "",
             flags & MOUNT_NOATIME ? ",noatime" : ",relatime");
}

void vfs_mount_for_each(bool (*fn)(const struct mount_entry *e, void *arg), void *arg)
{
    char *where = kmalloc(VFS_PATH_MAX);
    if (!where)
        return;
    dcache_lock();
    struct mount *m = list_empty(&mounts) ? NULL : list_first(&mounts, struct mount, link);
    while (m) {
        struct path root = {m, m->root};
        path_ref(&root);
        dcache_unlock();
        struct mount_entry e = {m->source, where, m->fs->type, ""};
        options_text(m->fs->flags, e.options, sizeof(e.options));
        bool go_on = vfs_path_text(&root_context, &root, where, VFS_PATH_MAX) < 0 || fn(&e, arg);
        dcache_lock();
        struct list *next = m->link.next;
        path_unref(&root);
        m = go_on && next != &mounts ? list_entry(next, struct mount, link) : NULL;
    }
    dcache_unlock();
    kfree(where);
}

static bool show_mount(const struct mount_entry *e, void *arg)
{
    text_printf(arg, "%s %s %s %s 0 0\n", e->source, e->where, e->type, e->options);
    return true;
}

void vfs_show_mounts(struct text_buf *b, void *arg)
{
    (void)arg;
    vfs_mount_for_each(show_mount, b);
}

int vfs_statfs(const struct path *p, struct vfs_statfs *out)
{
    struct filesystem *fs = path_vnode(p)->fs;
    *out = (struct vfs_statfs){.block_size = PAGE_SIZE};
    if (fs->statfs)
        fs->statfs(fs, out);
    return 0;
}

bool path_is_mount_root(const struct path *p)
{
    return p->dentry == p->mount->root;
}

/* Puts text before *at in buf. */
static bool prepend(char *buf, size_t *at, const char *text, size_t len)
{
    if (*at < len)
        return false;
    *at -= len;
    memcpy(buf + *at, text, len);
    return true;
}

ssize_t vfs_path_text(const struct fs_context *ctx, const struct path *p, char *buf, size_t size)
{
    static const char deleted[] = " (deleted)";
    if (size < 2)
        return -ENAMETOOLONG;
    size_t at = size - 1;
    buf[at] = 0;
    dcache_lock();
    const struct mount *m = p->mount;
    const struct dentry *d = p->dentry;
    bool fits = !d->deleted || prepend(buf, &at, deleted, sizeof(deleted) - 1);
    size_t end = at;
    while (fits && !(m == ctx->root.mount && d == ctx->root.dentry)) {
        if (d == m->root) {
            if (!m->at.mount)
                break; /* outside of the root: as far as it goes */
            d = m->at.dentry;
            m = m->at.mount;
            continue;
        }
        fits = prepend(buf, &at, d->name, d->len) && prepend(buf, &at, "/", 1);
        d = d->parent;
    }
    if (fits && at == end)
        fits = prepend(buf, &at, "/", 1);
    dcache_unlock();
    if (!fits)
        return -ENAMETOOLONG;
    memmove(buf, buf + at, size - at);
    return size - at - 1;
}
