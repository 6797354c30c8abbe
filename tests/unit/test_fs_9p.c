/* The 9P client against a small server in memory, and against one that lies. */
#include "test_fs_util.h"

#include "fs/notify.h"
#include "fs/9p_internal.h"

/* --- the server ------------------------------------------------------------------------------- */

struct node {
    char name[64];
    int parent; /* index; -1: removed */
    uint32_t mode, uid, gid;
    uint64_t size, mtime;
    char data[20000];
};

#define NODES 32
#define FIDS 65536

static struct node nodes[NODES];
static int fids[FIDS]; /* node + 1 */
static bool fid_open[FIDS];
static int fid_count, rpc_count;
static unsigned corrupt; /* one in so many replies is damaged; 0: none */

static uint8_t *in, *out;
static size_t in_at, out_at;

static uint64_t get(unsigned bytes)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (uint64_t)in[in_at++] << (8 * i);
    return v;
}

static void get_text(char *text, size_t size)
{
    size_t len = get(2);
    assert_true(len < size);
    memcpy(text, in + in_at, len);
    text[len] = 0;
    in_at += len;
}

static void put(uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[out_at++] = (uint8_t)(v >> (8 * i));
}

static void put_text(const char *text)
{
    put(strlen(text), 2);
    memcpy(out + out_at, text, strlen(text));
    out_at += strlen(text);
}

static void put_qid(int n)
{
    put((nodes[n].mode & MODE_FMT) == MODE_DIR ? 0x80 : 0, 1);
    put(0, 4);
    put(n + 100, 8);
}

static int child(int dir, const char *name)
{
    for (int i = 1; i < NODES; i++) {
        if (nodes[i].name[0] && nodes[i].parent == dir && !strcmp(nodes[i].name, name))
            return i;
    }
    return -1;
}

static int make(int dir, const char *name, uint32_t mode)
{
    int n = 1;
    while (n < NODES && nodes[n].name[0])
        n++;
    assert_true(n < NODES);
    nodes[n] = (struct node){.parent = dir, .mode = mode, .mtime = 1};
    snprintf(nodes[n].name, sizeof(nodes[n].name), "%s", name);
    return n;
}

static void set_fid(uint32_t fid, int n)
{
    assert_true(fid < FIDS && !fids[fid]);
    fids[fid] = n + 1;
    fid_open[fid] = false;
    fid_count++;
}

static int serve_names(int type, int n)
{
    char name[256], name2[64];
    int c;
    switch (type) {
    case P9_LCREATE:
    case P9_MKDIR:
    case P9_MKNOD:
    case P9_SYMLINK:
        get_text(name, sizeof(name));
        if (child(n, name) >= 0)
            return EEXIST;
        if (type == P9_SYMLINK) {
            c = make(n, name, MODE_LNK | 0777);
            get_text(nodes[c].data, sizeof(nodes[c].data));
        } else {
            if (type == P9_LCREATE)
                get(4);
            c = make(n, name, get(4) | (type == P9_LCREATE ? MODE_REG : 0));
            nodes[c].mode |= type == P9_MKDIR ? MODE_DIR : 0;
        }
        put_qid(c);
        put(0, 4);
        return -c;
    case P9_UNLINKAT:
        get_text(name, sizeof(name));
        c = child(n, name);
        if (c < 0)
            return ENOENT;
        for (int i = 1; i < NODES; i++) {
            if (nodes[i].name[0] && nodes[i].parent == c)
                return ENOTEMPTY;
        }
        nodes[c].parent = -1;
        return 0;
    default: /* P9_RENAMEAT */
        get_text(name, sizeof(name));
        c = child(n, name);
        int to = fids[get(4)] - 1;
        get_text(name2, sizeof(name2));
        if (c < 0)
            return ENOENT;
        if (child(to, name2) >= 0)
            nodes[child(to, name2)].parent = -1;
        nodes[c].parent = to;
        snprintf(nodes[c].name, sizeof(nodes[c].name), "%s", name2);
        return 0;
    }
}

static void serve_readdir(int n)
{
    uint64_t offset = get(8);
    size_t count = get(4), at = out_at;
    put(0, 4);
    for (int i = -2; i < NODES; i++) {
        const char *name = i == -2 ? "." : i == -1 ? ".." : nodes[i].name;
        if ((i >= 0 && (i == 0 || !name[0] || nodes[i].parent != n)) || (uint64_t)(i + 3) <= offset)
            continue;
        if (out_at - at - 4 + 24 + strlen(name) > MIN(count, 120u)) /* small pieces */
            break;
        put_qid(MAX(i, 0));
        put(i + 3, 8);
        put(4, 1);
        put_text(name);
    }
    size_t end = out_at;
    out_at = at;
    put(end - at - 4, 4);
    out_at = end;
}

/* One request; an errno, or 0. */
static int serve(int type)
{
    char name[256];
    uint32_t fid = 0;
    int n = 0;
    if (type != P9_VERSION) {
        fid = get(4);
        assert_true(fid < FIDS);
        n = fids[fid] - 1;
        assert_true(type == P9_ATTACH || n >= 0);
    }
    struct node *f = &nodes[MAX(n, 0)];
    switch (type) {
    case P9_VERSION:
        put(MIN(get(4), 12288u), 4);
        put_text("9P2000.L");
        return 0;
    case P9_ATTACH:
        set_fid(fid, 0);
        put_qid(0);
        return 0;
    case P9_WALK: {
        uint32_t fresh = get(4);
        if (get(2)) {
            get_text(name, sizeof(name));
            n = child(n, name);
            if (n < 0)
                return ENOENT;
            put(1, 2);
            put_qid(n);
        } else {
            put(0, 2);
        }
        set_fid(fresh, n);
        return 0;
    }
    case P9_CLUNK:
        fids[fid] = 0;
        fid_count--;
        return 0;
    case P9_GETATTR:
        if (f->parent < 0 && n)
            return ENOENT; /* as QEMU 7.2 */
        put(0x7ff, 8);
        put_qid(n);
        put(f->mode, 4), put(f->uid, 4), put(f->gid, 4);
        put(1, 8), put(0, 8), put(f->size, 8), put(4096, 8), put(f->size / 512, 8);
        put(1, 8), put(0, 8), put(f->mtime, 8), put(5, 8), put(1, 8), put(0, 8);
        for (int i = 0; i < 4; i++)
            put(0, 8);
        return 0;
    case P9_SETATTR: {
        uint32_t valid = get(4), mode = get(4), uid = get(4), gid = get(4);
        uint64_t size = get(8);
        if (valid & 1)
            f->mode = (f->mode & MODE_FMT) | mode;
        if (valid & 2)
            f->uid = uid;
        if (valid & 4)
            f->gid = gid;
        if (valid & 8) {
            assert_true(size <= sizeof(f->data));
            if (size > f->size)
                memset(f->data + f->size, 0, size - f->size);
            f->size = size;
            f->mtime++;
        }
        return 0;
    }
    case P9_LOPEN:
        if (!(f->mode & 0200) && (get(4) & 3))
            return EACCES;
        fid_open[fid] = true;
        put_qid(n);
        put(0, 4);
        return 0;
    case P9_READ: {
        assert_true(fid_open[fid]);
        uint64_t at = get(8), count = get(4);
        count = at < f->size ? MIN(count, f->size - at) : 0;
        count = MIN(count, 3000u); /* short reads */
        put(count, 4);
        memcpy(out + out_at, f->data + at, count);
        out_at += count;
        return 0;
    }
    case P9_WRITE: {
        assert_true(fid_open[fid]);
        uint64_t at = get(8), count = MIN(get(4), 5000u);
        if (at + count > sizeof(f->data))
            return ENOSPC;
        memcpy(f->data + at, in + in_at, count);
        f->size = MAX(f->size, at + count);
        f->mtime++;
        put(count, 4);
        return 0;
    }
    case P9_READDIR:
        assert_true(fid_open[fid]);
        serve_readdir(n);
        return 0;
    case P9_READLINK:
        put_text(f->data);
        return 0;
    case P9_STATFS:
        put(0x1234, 4), put(512, 4), put(1000, 8), put(900, 8), put(800, 8), put(70, 8), put(60, 8);
        return 0;
    case P9_FSYNC:
        return 0;
    case P9_LCREATE: {
        int c = serve_names(type, n);
        if (c > 0)
            return c;
        fids[fid] = -c + 1;
        fid_open[fid] = true;
        return 0;
    }
    case P9_MKDIR:
    case P9_MKNOD:
    case P9_SYMLINK:
    case P9_UNLINKAT:
    case P9_RENAMEAT:
        return MAX(serve_names(type, n), 0);
    default:
        return EOPNOTSUPP;
    }
}

static ssize_t rpc(struct p9_transport *t, const struct iovec_k *tx, unsigned ntx,
                   const struct iovec_k *rx, unsigned nrx)
{
    static uint8_t request[32768], reply[32768];
    (void)t;
    size_t len = 0;
    for (unsigned i = 0; i < ntx; i++) {
        memcpy(request + len, (void *)(uintptr_t)tx[i].base, tx[i].len);
        len += tx[i].len;
    }
    rpc_count++;
    in = request;
    out = reply;
    in_at = 0;
    assert_int_equal(get(4), len);
    int type = get(1);
    uint16_t tag = get(2);
    out_at = 7;
    int err = serve(type);
    if (err) {
        out_at = 7;
        put(err, 4);
    }
    size_t size = out_at;
    out_at = 0;
    put(size, 4);
    put(err ? P9_LERROR + 1 : type + 1, 1);
    put(tag, 2);
    if (corrupt && type != P9_CLUNK && rand() % corrupt == 0) {
        for (int i = rand() % 4; i >= 0; i--)
            reply[rand() % MIN(size, 64u)] = rand();
        if (rand() % 4 == 0)
            size = rand() % (size + 1);
    }
    size_t at = 0;
    for (unsigned i = 0; i < nrx; i++) {
        size_t n = MIN(rx[i].len, size - at);
        memcpy((void *)(uintptr_t)rx[i].base, reply + at, n);
        at += n;
    }
    return size;
}

static struct p9_transport transport = {
    .tag = "vol", .max_message = 65536, .max_segments = 64, .rpc = rpc};

/* --- the tests -------------------------------------------------------------------------------- */

static struct filesystem *volume;

static int mount_volume(void **state)
{
    if (make_root(state))
        return 1;
    nodes[0] = (struct node){.name = "/", .mode = MODE_DIR | 0755};
    p9_transport_register(&transport);
    assert_ptr_equal(p9_transport_find("vol,x", 3), &transport);
    assert_null(p9_transport_find("volume", 6));
    volume = p9_create(&transport, NULL);
    assert_false(IS_ERR(volume));
    must_mkdir("/v", 0755);
    assert_int_equal(vfs_mount(root(), volume, "/v", "vol", 0), 0);
    return 0;
}

static void names(void **state)
{
    (void)state;
    int before = fid_count;
    must_mkdir("/v/d", 0755);
    put_file("/v/d/f", "hello");
    assert_string_equal(text_of("/v/d/f"), "hello");
    must_symlink("d/f", "/v/l");
    assert_string_equal(text_of("/v/l"), "hello");
    assert_int_equal(look(root(), "/v/none", 0), -ENOENT);
    assert_int_equal(vfs_mkdir(root(), NULL, "/v/d", 0755), -EEXIST);
    assert_int_equal(vfs_unlink(root(), NULL, "/v/d", true), -ENOTEMPTY);
    assert_int_equal(rename_to(root(), "/v/d/f", "/v/g", 0), 0);
    assert_string_equal(list_dir("/v"), ". .. d g l ");
    assert_string_equal(text_of("/v/g"), "hello");
    assert_int_equal(vfs_unlink(root(), NULL, "/v/d", true), 0);
    /* What the host does is seen at once. */
    nodes[make(0, "from-host", MODE_REG | 0644)].size = 3;
    assert_int_equal(attr_of("/v/from-host").size, 3);
    nodes[child(0, "from-host")].name[0] = 0;
    assert_int_equal(look(root(), "/v/from-host", 0), -ENOENT);
    struct cred c;
    struct fs_context u = user(&c, 44, 44, -1);
    assert_int_equal(try_open(&u, "/v/new", OPEN_CREAT | OPEN_WRONLY), -EACCES);
    must_chmod("/v", 0777);
    assert_int_equal(try_open(&u, "/v/new", OPEN_CREAT | OPEN_WRONLY), 0);
    assert_int_equal(attr_of("/v/new").uid, 44);
    struct file *f;
    assert_int_equal(vfs_open(&u, NULL, "/v/ro", OPEN_CREAT | OPEN_RDWR, 0400, &f), 0);
    assert_int_equal(write_at(f, "r", 1, 0), 1);
    file_put(f);
    assert_int_equal(try_open(root(), "/v/ro", OPEN_RDONLY), 0);
    for (const char **n = (const char *[]){"/v/l", "/v/g", "/v/new", "/v/ro", NULL}; *n; n++)
        assert_int_equal(vfs_unlink(root(), NULL, *n, false), 0);
    assert_int_equal(fid_count, before + (fid_count > before)); /* the root's open one may stay */
}

/* The server is an ordinary user, 1000: what that user owns belongs to 33 here. */
static void owner(void **state)
{
    (void)state;
    struct p9_fs *p = container_of(volume, struct p9_fs, fs);
    struct vattr a = {.mode = 0600};
    p->has_owner = true;
    p->owner = (struct p9_owner){.server_uid = 1000, .server_gid = 1001, .uid = 33, .gid = 34};
    struct node *mine = &nodes[make(0, "mine", MODE_REG | 0644)];
    struct node *other = &nodes[make(0, "other", MODE_REG | 0644)];
    mine->uid = 1000, mine->gid = 1001, other->uid = 0, other->gid = 33;
    assert_int_equal(attr_of("/v/mine").uid, 33);
    assert_int_equal(attr_of("/v/mine").gid, 34);
    assert_int_equal(attr_of("/v/other").uid, P9_NOBODY);
    assert_int_equal(attr_of("/v/other").gid, P9_NOBODY);
    struct cred c;
    struct fs_context u = user(&c, 33, 34, -1);
    assert_int_equal(change(&u, "/v/mine", a, SETATTR_MODE), 0);
    assert_int_equal(mine->mode & 0777, 0600);
    assert_int_equal(try_open(&u, "/v/mine", OPEN_RDWR), 0);
    must_chown("/v/mine", 33, 34); /* that is so already, and no other can be had */
    assert_int_equal(change(root(), "/v/mine", (struct vattr){.uid = 0}, SETATTR_UID), -EPERM);
    assert_int_equal(mine->uid, 1000);
    p->has_owner = false;
    assert_int_equal(vfs_unlink(root(), NULL, "/v/mine", false), 0);
    assert_int_equal(vfs_unlink(root(), NULL, "/v/other", false), 0);
}

static void data(void **state)
{
    (void)state;
    static char text[16000], got[16001];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7 + i / 4096);
    struct file *f = must_open("/v/data", OPEN_RDWR | OPEN_CREAT, 0644);
    assert_int_equal(write_at(f, text, sizeof(text), 0), sizeof(text));
    assert_int_equal(nodes[child(0, "data")].size, sizeof(text)); /* on the host already */
    assert_int_equal(read_at(f, got, sizeof(got), 0), sizeof(text));
    assert_memory_equal(got, text, sizeof(text));
    int calls = rpc_count;
    assert_int_equal(read_at(f, got, 5000, 100), 5000); /* from the cache */
    assert_int_equal(rpc_count, calls);
    assert_int_equal(write_at(f, "XYZ", 3, 4095), 3);
    assert_int_equal(read_at(f, got, 5, 4094), 5);
    assert_memory_equal(got + 1, "XYZ", 3);
    assert_int_equal(write_at(f, text, 6000, 15000), 5000); /* the host is full */
    assert_int_equal(write_at(f, text, 1, 20000), -ENOSPC);
    assert_int_equal(vnode_truncate(f->vnode, 16000), 0);

    /* The host appends and rewrites. */
    struct node *n = &nodes[child(0, "data")];
    memcpy(n->data + n->size, "more", 4);
    n->data[0] = '!';
    n->size += 4;
    n->mtime += 10;
    assert_int_equal(read_at(f, got, 10, 16000), 4);
    assert_int_equal(read_at(f, got, 1, 0), 1);
    assert_int_equal(got[0], '!');
    assert_int_equal(f->ops->seek(f, 0, WHENCE_END), 16004);

    /* A store through a mapping reaches the host with fsync. */
    struct page *page;
    assert_int_equal(vnode_get_page(f->vnode, 1, true, &page), 0);
    memcpy(page_addr(page), "mapped", 6);
    vnode_dirty_page(f->vnode, page);
    page_put(page);
    assert_int_equal(f->ops->fsync(f, false), 0);
    assert_memory_equal(n->data + 4096, "mapped", 6);
    assert_int_equal(n->size, 16004);

    assert_int_equal(vnode_truncate(f->vnode, 10), 0);
    assert_int_equal(n->size, 10);
    assert_int_equal(read_at(f, got, 20, 0), 10);
    struct file *a = must_open("/v/data", OPEN_WRONLY | OPEN_APPEND, 0);
    assert_int_equal(write_at(a, "end", 3, 0), 3);
    assert_memory_equal(n->data + 10, "end", 3);
    file_put(a);
    /* Removed and still open. */
    assert_int_equal(vfs_unlink(root(), NULL, "/v/data", false), 0);
    assert_int_equal(read_at(f, got, 20, 0), 13);
    assert_int_equal(write_at(f, "x", 1, 13), 1);
    assert_int_equal(read_at(f, got, 20, 0), 14);
    struct path p = file_path(f);
    struct vfs_statfs st;
    assert_int_equal(vfs_statfs(&p, &st), 0);
    assert_int_equal(st.type_magic, 0x1234);
    assert_int_equal(st.files_free, 60);
    file_put(f);
}

/* A server that makes something else of a file that is in use is not believed. */
static void types_stay(void **state)
{
    (void)state;
    put_file("/v/type", "content");
    struct file *f = must_open("/v/type", OPEN_RDWR, 0);
    int n = child(0, "type");
    struct vattr a;
    char buf[8];
    static const uint32_t others[] = {MODE_DIR, MODE_FIFO, MODE_SOCK, MODE_LNK};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        nodes[n].mode = others[i] | 0644;
        assert_int_equal(vnode_getattr(f->vnode, &a), -ESTALE);
        assert_int_equal(vnode_type(f->vnode), MODE_REG);
        assert_int_equal(read_at(f, buf, sizeof(buf), 4), -ESTALE);
        f->flags |= OPEN_APPEND;
        assert_int_equal(write_at(f, "x", 1, 0), -ESTALE);
        f->flags &= ~OPEN_APPEND;
    }
    nodes[n].mode = MODE_REG | 0644;
    assert_int_equal(read_at(f, buf, sizeof(buf), 0), 7);
    file_put(f);
}

/* A file that is open for reading and then for writing: the first fid may still be in use. */
static void fids_outlive_a_second_open(void **state)
{
    (void)state;
    put_file("/v/twice", "content");
    must_chmod("/v/twice", 0444);
    struct file *r = must_open("/v/twice", OPEN_RDONLY, 0);
    must_chmod("/v/twice", 0644);
    int before = fid_count;
    struct file *w = must_open("/v/twice", OPEN_RDWR, 0);
    assert_int_equal(fid_count, before + 1); /* none was given up */
    file_put(w);
    file_put(r);
}

static uint32_t heard; /* events of the watch, or-ed */
static bool watch_ended;

static bool hear(struct vnode_watch *w, const struct notify_event *e)
{
    (void)w;
    heard |= e->mask;
    return false;
}

static void end(struct vnode_watch *w)
{
    (void)w;
    watch_ended = true;
}

static void watch(struct vnode_watch *w, const char *name)
{
    struct path p;
    *w = (struct vnode_watch){.event = hear, .ended = end};
    assert_int_equal(vfs_lookup(root(), NULL, name, 0, &p), 0);
    notify_lock();
    assert_int_equal(notify_attach(path_vnode(&p), w), 0);
    notify_unlock();
    path_put(&p);
    heard = 0;
    watch_ended = false;
}

/* A watch keeps its file, so that others use the same vnode, until it ends or the last name goes.
 */
static void watches_keep_their_files(void **state)
{
    (void)state;
    struct vnode_watch w;
    put_file("/v/watched", "content");
    assert_int_equal(look(root(), "/v/watched", 0), 0);
    int before = fid_count;
    watch(&w, "/v/watched");
    assert_int_equal(fid_count, before + 1);
    assert_int_equal(try_open(root(), "/v/watched", OPEN_RDWR), 0);
    assert_int_equal(heard, NOTIFY_OPEN | NOTIFY_CLOSE_WRITE);
    int kept = fid_count;
    notify_lock();
    notify_detach(&w);
    assert_int_equal(fid_count, kept); /* not under the lock */
    notify_unlock();
    assert_int_equal(fid_count, before);

    watch(&w, "/v/watched");
    struct file *f = must_open("/v/watched", OPEN_RDONLY, 0);
    assert_int_equal(vfs_unlink(root(), NULL, "/v/watched", false), 0);
    assert_false(watch_ended); /* it still has a user */
    file_put(f);
    assert_true(watch_ended);
    assert_int_equal(heard,
                     NOTIFY_OPEN | NOTIFY_ATTRIB | NOTIFY_CLOSE_NOWRITE | NOTIFY_DELETE_SELF);
    assert_int_equal(fid_count, before);

    put_file("/v/watched", "content");
    put_file("/v/other", "content");
    watch(&w, "/v/watched");
    assert_int_equal(rename_to(root(), "/v/other", "/v/watched", 0), 0);
    assert_true(watch_ended && heard & NOTIFY_DELETE_SELF);
    assert_int_equal(vfs_unlink(root(), NULL, "/v/watched", false), 0);
    assert_int_equal(fid_count, before);
}

static bool any_entry(struct dir_emit *d, const char *name, size_t len, uint64_t ino, unsigned type,
                      uint64_t next_pos)
{
    (void)d, (void)ino, (void)type, (void)next_pos;
    assert_true(len > 0 && len <= VFS_NAME_MAX && !memchr(name, '/', len));
    return true;
}

/* A server that lies: errors, never a crash or a byte outside the buffers (the sanitizers look). */
static void lies(void **state)
{
    (void)state;
    must_mkdir("/v/lies", 0755);
    put_file("/v/lies/f", "content");
    must_symlink("f", "/v/lies/l");
    static char buf[8192];
    int opened = 0;
    for (int i = 0; i < 4000; i++) {
        struct file *f;
        struct path p;
        corrupt = 2 + i % 12;
        if (!vfs_open(root(), NULL, "/v/lies/l", OPEN_RDWR, 0, &f)) {
            opened++;
            if (f->ops->read)
                read_at(f, buf, sizeof(buf), 0);
            if (f->ops->write)
                write_at(f, "abc", 3, 0);
            file_put(f);
        }
        if (!vfs_open(root(), NULL, "/v/lies", OPEN_RDONLY | OPEN_DIRECTORY, 0, &f)) {
            struct dir_emit d = {.emit = any_entry};
            for (int j = 0; j < 3 && f->ops->readdir && !f->ops->readdir(f, &d); j++)
                continue;
            file_put(f);
        }
        if (!vfs_lookup(root(), NULL, "/v/lies/l", 0, &p)) {
            vfs_readlink(root(), &p, buf, sizeof(buf));
            path_put(&p);
        }
    }
    corrupt = 0;
    assert_true(opened > 100);
    assert_int_equal(look(root(), "/v/lies", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(owner),
        cmocka_unit_test(data),
        cmocka_unit_test(types_stay),
        cmocka_unit_test(fids_outlive_a_second_open),
        cmocka_unit_test(watches_keep_their_files),
        cmocka_unit_test(lies),
    };
    return cmocka_run_group_tests(tests, mount_volume, NULL);
}
