/* Path resolution: path_resolution(7). */
#include "fs/internal.h"

#define LINKS_MAX 40
/* The target of a link in the first half; the rest of the path that contained it may follow. */
#define WALK_BUF (2 * VFS_PATH_MAX)

int walk_begin(struct walk *w, const struct fs_context *ctx, const struct path *at,
               const char *name)
{
    if (!*name)
        return -ENOENT;
    if (*name == '/' && ctx->resolve & WALK_BENEATH)
        return -EXDEV;
    *w = (struct walk){.ctx = ctx, .rest = name};
    if (*name == '/')
        w->cur = ctx->root;
    else
        w->cur = at ? *at : ctx->cwd;
    if (!w->cur.dentry) /* a file without a path as the start */
        return -ENOTDIR;
    dcache_lock();
    path_ref(&w->cur);
    return 0;
}

void walk_end(struct walk *w)
{
    path_unref(&w->cur);
    dcache_unlock();
    kfree(w->buf);
    if (w->file)
        file_put(w->file);
}

/* After a step to another mount. */
static void changed_mount(struct walk *w)
{
    w->left |= (w->ctx->resolve & WALK_NO_XDEV) != 0;
}

static void walk_up(struct walk *w)
{
    const struct path *root = &w->ctx->root;
    struct path *cur = &w->cur;
    for (;;) {
        if (cur->dentry == root->dentry && cur->mount == root->mount) {
            w->left |= (w->ctx->resolve & WALK_BENEATH) != 0;
            return;
        }
        if (cur->dentry != cur->mount->root)
            break;
        if (!cur->mount->at.mount)
            return;
        struct path up = cur->mount->at;
        path_ref(&up);
        path_unref(cur);
        *cur = up;
        changed_mount(w);
    }
    struct dentry *parent = cur->dentry->parent;
    dentry_ref(parent);
    dentry_unref(cur->dentry);
    cur->dentry = parent;
    while (unlikely(cur->dentry->mounted != NULL)) { /* the parent may be covered */
        struct path down = {cur->dentry->mounted, cur->dentry->mounted->root};
        path_ref(&down);
        path_unref(cur);
        *cur = down;
        changed_mount(w);
    }
}

void walk_enter(struct walk *w, struct dentry *d)
{
    dentry_unref(w->cur.dentry);
    w->cur.dentry = d;
    while (unlikely(w->cur.dentry->mounted != NULL)) {
        struct path down = {w->cur.dentry->mounted, w->cur.dentry->mounted->root};
        path_ref(&down);
        path_unref(&w->cur);
        w->cur = down;
        changed_mount(w);
    }
}

int walk_child(struct walk *w, const char *name, size_t len, uint32_t key, struct dentry **out)
{
    struct dentry *dir = w->cur.dentry;
    struct dentry *d = NULL;
    if (likely(!dir->vnode->uncached))
        d = dcache_find(dir, name, len, key);
    if (likely(d != NULL)) {
        dentry_ref(d);
        *out = d;
        return 0;
    }
    dcache_unlock();
    rwlock_write(&dir->vnode->lock);
    d = dentry_lookup(dir, name, len);
    rwlock_write_done(&dir->vnode->lock);
    dcache_lock();
    if (IS_ERR(d))
        return PTR_ERR(d);
    *out = d;
    return 0;
}

/* A magic link: goes to the object itself. The dcache is not locked. */
static int walk_magic(struct walk *w, struct vnode *link)
{
    struct path to = {0};
    if (w->ctx->resolve & WALK_NO_MAGICLINKS)
        return -ELOOP;
    if (w->ctx->resolve & (WALK_BENEATH | WALK_IN_ROOT))
        return -EXDEV;
    int err = link->ops->follow(link, &to, &w->file);
    if (err || w->file)
        return err;
    struct path from = w->cur;
    w->cur = to;
    if (from.mount != to.mount)
        changed_mount(w);
    path_put(&from);
    return 0;
}

/* An ordinary link: its target takes its place before the rest of the path. */
static int walk_text_link(struct walk *w, struct vnode *link)
{
    if (!w->buf) {
        w->buf = kmalloc(WALK_BUF);
        if (!w->buf)
            return -ENOMEM;
    }
    size_t rest_len = strlen(w->rest);
    if (rest_len >= VFS_PATH_MAX)
        return -ENAMETOOLONG;
    char *rest = w->buf + WALK_BUF - rest_len - 1;
    memmove(rest, w->rest, rest_len + 1);
    ssize_t n = link->ops->readlink(link, w->buf, VFS_PATH_MAX - 1);
    if (n < 0)
        return n;
    if (n == 0)
        return -ENOENT;
    if (rest_len)
        w->buf[n++] = '/';
    memmove(w->buf + n, rest, rest_len + 1);
    w->rest = w->buf;
    if (w->buf[0] == '/') {
        struct path from = w->cur;
        if (w->ctx->resolve & WALK_BENEATH)
            return -EXDEV;
        w->cur = w->ctx->root;
        if (from.mount != w->cur.mount)
            changed_mount(w);
        path_get(&w->cur);
        path_put(&from);
    }
    return 0;
}

int walk_link(struct walk *w, struct dentry *d)
{
    struct vnode *link = d->vnode;
    int err;
    dcache_unlock();
    if (++w->links > LINKS_MAX || w->ctx->resolve & WALK_NO_SYMLINKS)
        err = -ELOOP;
    else if (link->ops->follow)
        err = walk_magic(w, link);
    else
        err = walk_text_link(w, link);
    dentry_put(d);
    dcache_lock();
    return err;
}

/* Steps over an inner component. */
static int walk_step(struct walk *w, const char *name, size_t len, uint32_t key)
{
    struct dentry *d;
    int err = walk_child(w, name, len, key, &d);
    if (unlikely(err))
        return err;
    if (unlikely(!d->vnode)) {
        dentry_unref(d);
        return -ENOENT;
    }
    if (unlikely(vnode_type(d->vnode) == MODE_LNK)) {
        err = walk_link(w, d);
        return !err && w->file ? -ENOTDIR : err;
    }
    walk_enter(w, d);
    return 0;
}

static enum walk_last last_type(const char *name, size_t len)
{
    if (len == 1 && name[0] == '.')
        return LAST_DOT;
    if (len == 2 && name[0] == '.' && name[1] == '.')
        return LAST_DOTDOT;
    return LAST_NAME;
}

int walk_parent(struct walk *w)
{
    for (;;) {
        if (unlikely(w->left))
            return -EXDEV;
        const char *p = w->rest;
        while (*p == '/')
            p++;
        if (!*p) { /* "/", or a link that ends in a slash */
            w->rest = p;
            w->last_type = LAST_ROOT;
            return 0;
        }
        struct vnode *dir = w->cur.dentry->vnode;
        if (unlikely(vnode_type(dir) != MODE_DIR))
            return -ENOTDIR;
        int err = vnode_may_search(dir, w->ctx->cred);
        if (unlikely(err))
            return err;

        uint32_t key = DENTRY_KEY_START;
        const char *end = p;
        for (; *end && *end != '/'; end++)
            key = dentry_key_step(key, *end);
        size_t len = end - p;
        if (unlikely(len > VFS_NAME_MAX))
            return -ENAMETOOLONG;
        const char *next = end;
        while (*next == '/')
            next++;
        enum walk_last type = last_type(p, len);
        if (!*next) {
            w->last_type = type;
            w->last = p;
            w->last_len = len;
            w->last_key = key;
            w->trailing = *end == '/';
            w->rest = next;
            return 0;
        }
        w->rest = next;
        if (type == LAST_DOTDOT)
            walk_up(w);
        else if (type == LAST_NAME)
            err = walk_step(w, p, len, key);
        if (unlikely(err))
            return err;
    }
}

int walk_final(struct walk *w, unsigned flags)
{
    for (;;) {
        int err = walk_parent(w);
        if (err)
            return err;
        if (w->last_type == LAST_DOTDOT)
            walk_up(w);
        if (w->last_type != LAST_NAME)
            break;
        struct dentry *d;
        err = walk_child(w, w->last, w->last_len, w->last_key, &d);
        if (err)
            return err;
        if (!d->vnode) {
            dentry_unref(d);
            return -ENOENT;
        }
        if (w->trailing)
            flags |= LOOKUP_FOLLOW | LOOKUP_DIRECTORY;
        if (vnode_type(d->vnode) != MODE_LNK || !(flags & LOOKUP_FOLLOW)) {
            walk_enter(w, d);
            break;
        }
        bool magic = d->vnode->ops->follow != NULL;
        err = walk_link(w, d);
        if (err)
            return err;
        if (w->file)
            return flags & LOOKUP_DIRECTORY ? -ENOTDIR : 0;
        if (magic)
            break;
    }
    if (unlikely(w->left))
        return -EXDEV;
    if ((flags & LOOKUP_DIRECTORY) && vnode_type(w->cur.dentry->vnode) != MODE_DIR)
        return -ENOTDIR;
    return 0;
}

int vfs_lookup_file(const struct fs_context *ctx, const struct path *at, const char *name,
                    unsigned flags, struct path *out, struct file **file)
{
    struct walk w;
    int err = walk_begin(&w, ctx, at, name);
    if (err)
        return err;
    err = walk_final(&w, flags);
    *out = (struct path){0};
    *file = NULL;
    if (!err && w.file) {
        *file = w.file;
        file_get(w.file);
    } else if (!err) {
        *out = w.cur;
        path_ref(out);
    }
    walk_end(&w);
    return err;
}

int vfs_lookup(const struct fs_context *ctx, const struct path *at, const char *name,
               unsigned flags, struct path *out)
{
    struct file *file;
    int err = vfs_lookup_file(ctx, at, name, flags, out, &file);
    if (!err && file) {
        file_put(file);
        err = -ENXIO;
    }
    return err;
}
