/*
 * The 9P2000.L file system (diod's protocol.md describes it).
 *
 * The host may change a volume at any time, so names are looked up every time (vnode->uncached) and
 * attributes are fetched on every look-up and stat. File data is cached by page and dropped when an
 * open, or a read at the end, finds that size or modification time changed: what was closed
 * elsewhere is seen by who opens it afterwards. Writes go straight through; only shared mappings
 * make dirty pages, which go out with fsync, msync and the last close.
 *
 * A vnode keeps a fid that names it and, once needed, one that is open.
 */
#include "fs/9p_internal.h"

#define MESSAGE_MAX (128u * 1024)
#define IO_OVERHEAD 24u /* Twrite's header is 23 bytes */

#define P9_GETATTR_BASIC 0x7ffull
#define P9_SETATTR_ATIME_SET 0x80u
#define P9_SETATTR_MTIME_SET 0x100u

static struct list transports = LIST_INIT(transports);
static const struct vnode_ops p9_ops;

static uint32_t new_fid(struct p9_fs *p)
{
    spin_lock(&p->lock);
    uint32_t fid = p->free_count ? p->free_fids[--p->free_count] : p->next_fid++;
    spin_unlock(&p->lock);
    return fid;
}

/* The server does not know this fid, or not any more. */
static void free_fid(struct p9_fs *p, uint32_t fid)
{
    spin_lock(&p->lock);
    if (p->free_count == p->free_size) {
        size_t size = MAX(p->free_size * 2, 64u);
        uint32_t *more = krealloc(p->free_fids, size * sizeof(*more));
        if (more) {
            p->free_fids = more;
            p->free_size = size;
        }
    }
    if (p->free_count < p->free_size) /* else one number of 2^32 is lost */
        p->free_fids[p->free_count++] = fid;
    spin_unlock(&p->lock);
}

/* --- requests --------------------------------------------------------------------------------- */

/* A request whose first field is a fid. */
int p9_begin_fid(struct p9_msg *m, struct p9_fs *p, enum p9_type type, uint32_t fid)
{
    int err = p9_begin(m, p->transport, type);
    if (!err)
        p9_put(m, fid, 4);
    return err;
}

/* Calls and ends a request whose reply holds nothing of interest. */
int p9_call_end(struct p9_msg *m)
{
    int err = p9_call(m);
    p9_end(m);
    return err;
}

void p9_clunk(struct p9_fs *p, uint32_t fid)
{
    struct p9_msg m;
    if (p9_begin_fid(&m, p, P9_CLUNK, fid))
        return; /* the server keeps a fid too many; no more can be done */
    if (p9_call_end(&m) != -EPROTO)
        free_fid(p, fid); /* a failed clunk ends it as well */
}

/* A new fid for a name below fid, or for fid itself (name NULL). */
int p9_walk(struct p9_fs *p, uint32_t fid, const char *name, size_t len, uint32_t *out)
{
    struct p9_msg m;
    struct p9_qid qid;
    int err = p9_begin_fid(&m, p, P9_WALK, fid);
    if (err)
        return err;
    uint32_t fresh = new_fid(p);
    p9_put(&m, fresh, 4);
    p9_put(&m, name ? 1 : 0, 2);
    if (name)
        p9_put_text(&m, name, len);
    err = p9_call(&m);
    if (err) {
        p9_end(&m);
        if (err != -EPROTO)
            free_fid(p, fresh);
        return err;
    }
    if (p9_get(&m, 2) != (name ? 1u : 0u))
        m.bad = true;
    if (name)
        p9_get_qid(&m, &qid);
    err = p9_check(&m);
    p9_end(&m);
    *out = fresh;
    return err; /* after nonsense the number is not used again */
}

static int64_t get_time(struct p9_msg *m)
{
    uint64_t sec = p9_get(m, 8), nsec = p9_get(m, 8);
    return (int64_t)(sec * NSEC_PER_SEC + nsec);
}

int p9_fetch_attr(struct p9_fs *p, uint32_t fid, struct vattr *a)
{
    struct p9_msg m;
    struct p9_qid qid;
    int err = p9_begin_fid(&m, p, P9_GETATTR, fid);
    if (err)
        return err;
    p9_put(&m, P9_GETATTR_BASIC, 8);
    err = p9_call(&m);
    if (!err) {
        *a = (struct vattr){.dev = p->fs.dev};
        p9_get(&m, 8); /* which are valid: the basic ones always */
        p9_get_qid(&m, &qid);
        a->ino = qid.path;
        a->mode = (uint32_t)p9_get(&m, 4);
        a->uid = (uint32_t)p9_get(&m, 4);
        a->gid = (uint32_t)p9_get(&m, 4);
        if (p->has_owner) {
            a->uid = a->uid == p->owner.server_uid ? p->owner.uid : P9_NOBODY;
            a->gid = a->gid == p->owner.server_gid ? p->owner.gid : P9_NOBODY;
        }
        a->nlink = (uint32_t)p9_get(&m, 8);
        uint64_t rdev = p9_get(&m, 8); /* as dev_t of a Linux host */
        a->rdev = (rdev >> 8 & 0xfff) << 32 | (rdev & 0xff) | (rdev >> 12 & 0xfff00);
        a->size = p9_get(&m, 8);
        a->blksize = (uint32_t)p9_get(&m, 8);
        a->blocks = p9_get(&m, 8);
        a->atime_ns = get_time(&m);
        a->mtime_ns = get_time(&m);
        a->ctime_ns = get_time(&m);
        err = p9_check(&m);
        if (!err && a->size > INT64_MAX)
            err = -EPROTO;
    }
    p9_end(&m);
    return err;
}

int p9_refetch_attr(struct vnode *v, struct vattr *a)
{
    int err = p9_fetch_attr(p9_fs_of(v), p9_node_of(v)->fid, a);
    /* What a vnode is made of depends on its type: that stays, whatever the server says. */
    return !err && (a->mode ^ v->attr.mode) & MODE_FMT ? -ESTALE : err;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct vnode *find_node(struct p9_fs *p, const struct vattr *a)
{
    struct vnode *found = NULL;
    struct p9_node *n;
    spin_lock(&p->lock);
    list_for_each (n, &p->nodes[a->ino % NODE_BUCKETS], link) {
        struct vnode *v = n->vnode;
        if (v->attr.ino == a->ino && !((v->attr.mode ^ a->mode) & MODE_FMT) &&
            ref_get_unless_zero(&v->refs)) {
            found = v;
            break;
        }
    }
    spin_unlock(&p->lock);
    return found;
}

static struct vnode *new_node(struct p9_fs *p, uint32_t fid, const struct vattr *a)
{
    struct p9_node *n = kzalloc(sizeof(*n));
    struct vnode *v = n ? vnode_alloc(&p->fs, &p9_ops, a->ino, a->mode) : NULL;
    if (!v) {
        kfree(n);
        return NULL;
    }
    v->attr = *a;
    v->uncached = true;
    v->data = n;
    n->vnode = v;
    n->fid = fid;
    n->open_fid = n->read_fid = P9_NOFID;
    mutex_init(&n->open_lock);
    spin_lock(&p->lock);
    list_push_front(&p->nodes[a->ino % NODE_BUCKETS], &n->link);
    spin_unlock(&p->lock);
    return v;
}

/* Takes over fresh attributes; cached data goes if it may be old. Of a directory, whose lock may be
 * held, what permissions depend on. */
static void refresh(struct vnode *v, const struct vattr *a)
{
    if (vnode_type(v) == MODE_DIR) {
        WRITE_ONCE(v->attr.mode, a->mode);
        WRITE_ONCE(v->attr.uid, a->uid);
        WRITE_ONCE(v->attr.gid, a->gid);
        return;
    }
    rwlock_write(&v->lock);
    bool changed = v->attr.size != a->size || v->attr.mtime_ns != a->mtime_ns;
    if (changed && v->cache)
        page_cache_flush(v, 0, UINT64_MAX);
    v->attr = *a;
    rwlock_write_done(&v->lock);
}

/* The vnode of a fid, which is the vnode's from now on or clunked. */
static int vnode_of_fid(struct p9_fs *p, uint32_t fid, struct vnode **out)
{
    struct vattr a;
    int err = p9_fetch_attr(p, fid, &a);
    if (err) {
        p9_clunk(p, fid);
        return err;
    }
    struct vnode *v = find_node(p, &a);
    if (v) {
        p9_clunk(p, fid);
        refresh(v, &a);
    } else {
        v = new_node(p, fid, &a);
        if (!v) {
            p9_clunk(p, fid);
            return -ENOMEM;
        }
    }
    *out = v;
    return 0;
}

int p9_getattr(struct vnode *v, struct vattr *out)
{
    int err = p9_refetch_attr(v, out);
    if (!err)
        refresh(v, out);
    if (err == -ENOENT && p9_node_of(v)->open_fid != P9_NOFID) {
        /* Removed while it is open: servers that go by path (QEMU 7.2) cannot tell any more. */
        *out = v->attr;
        out->nlink = 0;
        return 0;
    }
    return err;
}

int p9_lookup(struct vnode *dir, const char *name, size_t len, struct vnode **out)
{
    uint32_t fid;
    int err = p9_walk(p9_fs_of(dir), p9_node_of(dir)->fid, name, len, &fid);
    return err ? err : vnode_of_fid(p9_fs_of(dir), fid, out);
}

static void p9_release(struct vnode *v)
{
    struct p9_fs *p = p9_fs_of(v);
    struct p9_node *n = v->data;
    spin_lock(&p->lock);
    list_remove(&n->link);
    spin_unlock(&p->lock);
    if (n->open_fid != P9_NOFID)
        p9_clunk(p, n->open_fid);
    if (n->read_fid != P9_NOFID)
        p9_clunk(p, n->read_fid);
    p9_clunk(p, n->fid);
    kfree(n);
}

bool p9_adopt_open_fid(struct vnode *v, uint32_t fid)
{
    struct p9_node *n = v->data;
    mutex_lock(&n->open_lock);
    bool adopted = n->open_fid == P9_NOFID;
    if (adopted) {
        n->open_fid = fid;
        n->writable = true;
    }
    mutex_unlock(&n->open_lock);
    return adopted;
}

/* The fid for reading or writing: opened when first needed, for both if the server lets us. */
int p9_open_fid(struct vnode *v, bool write, uint32_t *out)
{
    struct p9_fs *p = p9_fs_of(v);
    struct p9_node *n = v->data;
    int err = 0;
    mutex_lock(&n->open_lock);
    if (n->open_fid == P9_NOFID || (write && !n->writable)) {
        bool dir = vnode_type(v) == MODE_DIR;
        err = -EACCES;
        for (int writable = dir ? 0 : 1; err && writable >= (write ? 1 : 0); writable--) {
            uint32_t fid;
            struct p9_msg m;
            err = p9_walk(p, n->fid, NULL, 0, &fid);
            if (err)
                break;
            err = p9_begin_fid(&m, p, P9_LOPEN, fid);
            if (!err) {
                p9_put(&m, dir ? OPEN_DIRECTORY : writable ? OPEN_RDWR : OPEN_RDONLY, 4);
                err = p9_call_end(&m);
            }
            if (err) {
                p9_clunk(p, fid);
                continue;
            }
            n->read_fid = n->open_fid;
            n->open_fid = fid;
            n->writable = writable;
        }
    }
    *out = n->open_fid;
    mutex_unlock(&n->open_lock);
    return err;
}

/* Reads or, with Treaddir, lists: bytes into buf. */
ssize_t p9_read_data(struct p9_fs *p, enum p9_type type, uint32_t fid, uint64_t offset, void *buf,
                     size_t n)
{
    struct p9_msg m;
    int err = p9_begin_fid(&m, p, type, fid);
    if (err)
        return err;
    p9_put(&m, offset, 8);
    p9_put(&m, n, 4);
    ssize_t got = p9_call_data(&m, NULL, 0, buf, n);
    p9_end(&m);
    return got;
}

int p9_setattr(struct vnode *v, const struct vattr *a, unsigned which)
{
    struct p9_fs *p = p9_fs_of(v);
    struct p9_msg m;
    if (p->has_owner) { /* a file can belong to one user only, so the server need not be asked */
        if (((which & SETATTR_UID) && a->uid != v->attr.uid) ||
            ((which & SETATTR_GID) && a->gid != v->attr.gid))
            return -EPERM;
        which &= ~(SETATTR_UID | SETATTR_GID);
    }
    int err = p9_begin_fid(&m, p, P9_SETATTR, p9_node_of(v)->fid);
    if (err)
        return err;
    uint32_t valid = which & (SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_SIZE |
                              SETATTR_ATIME | SETATTR_MTIME); /* the same bits */
    if (which & SETATTR_ATIME)
        valid |= P9_SETATTR_ATIME_SET;
    if (which & SETATTR_MTIME)
        valid |= P9_SETATTR_MTIME_SET;
    p9_put(&m, valid, 4);
    p9_put(&m, a->mode & 07777, 4);
    p9_put(&m, a->uid, 4);
    p9_put(&m, a->gid, 4);
    p9_put(&m, a->size, 8);
    p9_put(&m, a->atime_ns / NSEC_PER_SEC, 8);
    p9_put(&m, a->atime_ns % NSEC_PER_SEC, 8);
    p9_put(&m, a->mtime_ns / NSEC_PER_SEC, 8);
    p9_put(&m, a->mtime_ns % NSEC_PER_SEC, 8);
    return p9_call_end(&m);
}

static const struct vnode_ops p9_ops = {
    .lookup = p9_lookup,
    .create = p9_create_any,
    .mkdir = p9_mkdir,
    .symlink = p9_symlink,
    .link = p9_link,
    .unlink = p9_unlink,
    .rmdir = p9_rmdir,
    .rename = p9_rename,
    .readdir = p9_readdir,
    .readlink = p9_readlink,
    .getattr = p9_getattr,
    .setattr = p9_setattr,
    .readpage = p9_readpage,
    .writepage = p9_writepage,
    .open = p9_open,
    .release = p9_release,
};

/* --- the file system -------------------------------------------------------------------------- */

static void p9_statfs(struct filesystem *fs, struct vfs_statfs *out)
{
    struct p9_fs *p = container_of(fs, struct p9_fs, fs);
    struct p9_msg m;
    if (p9_begin_fid(&m, p, P9_STATFS, p9_node_of(fs->root)->fid))
        return;
    if (!p9_call(&m)) {
        out->type_magic = p9_get(&m, 4);
        out->block_size = p9_get(&m, 4);
        out->blocks = p9_get(&m, 8);
        out->blocks_free = p9_get(&m, 8);
        p9_get(&m, 8);
        out->files = p9_get(&m, 8);
        out->files_free = p9_get(&m, 8);
    }
    p9_end(&m);
}

static int version(struct p9_fs *p)
{
    static const char name[] = "9P2000.L";
    struct p9_msg m;
    int err = p9_begin(&m, p->transport, P9_VERSION);
    if (err)
        return err;
    uint32_t want = MIN(p->transport->max_message, MESSAGE_MAX);
    p9_put(&m, want, 4);
    p9_put_text(&m, name, sizeof(name) - 1);
    err = p9_call(&m);
    if (!err) {
        size_t len;
        uint32_t size = (uint32_t)p9_get(&m, 4);
        const char *text = p9_get_text(&m, &len);
        if (p9_check(&m) || size > want || size < P9_MESSAGE_SIZE || len != sizeof(name) - 1 ||
            memcmp(text, name, len) != 0)
            err = -EPROTO;
        p->io_max = ROUND_DOWN(size - IO_OVERHEAD, PAGE_SIZE);
    }
    p9_end(&m);
    return err;
}

static int attach(struct p9_fs *p)
{
    struct p9_msg m;
    uint32_t fid = new_fid(p);
    int err = p9_begin_fid(&m, p, P9_ATTACH, fid);
    if (err)
        return err;
    p9_put(&m, P9_NOFID, 4);
    p9_put_text(&m, "root", 4);
    p9_put_text(&m, "", 0);
    p9_put(&m, 0, 4);
    err = p9_call_end(&m);
    return err ? err : vnode_of_fid(p, fid, &p->fs.root);
}

struct filesystem *p9_create(struct p9_transport *t, const struct p9_owner *owner)
{
    struct p9_fs *p = kzalloc(sizeof(*p));
    if (!p)
        return ERR_PTR(-ENOMEM);
    filesystem_init(&p->fs, "9p");
    p->fs.one_vnode = true;
    p->fs.statfs = p9_statfs;
    p->transport = t;
    if (owner) {
        p->has_owner = true;
        p->owner = *owner;
    }
    for (size_t i = 0; i < NODE_BUCKETS; i++)
        list_init(&p->nodes[i]);
    int err = version(p);
    if (!err)
        err = attach(p);
    if (!err && vnode_type(p->fs.root) != MODE_DIR)
        err = -ENOTDIR;
    if (err) {
        if (p->fs.root)
            vnode_put(p->fs.root);
        kfree(p);
        return ERR_PTR(err);
    }
    return &p->fs;
}

void p9_transport_register(struct p9_transport *t)
{
    list_push_back(&transports, &t->link);
}

struct p9_transport *p9_transport_find(const char *tag, size_t len)
{
    struct p9_transport *t;
    list_for_each (t, &transports, link) {
        if (!strncmp(t->tag, tag, len) && !t->tag[len])
            return t;
    }
    return NULL;
}
