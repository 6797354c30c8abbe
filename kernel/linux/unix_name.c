/* AF_UNIX sockets: their names, paths and abstract ones. */
#include "core/mem.h"
#include "core/rand.h"
#include "linux/io.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/unix.h"

/* Guards vnode->socket, the abstract names and every socket's own name. */
static struct mutex bind_lock;
static struct list abstract_names = LIST_INIT(abstract_names);
static spinlock_t all_lock = SPINLOCK_INIT;
static struct list all = LIST_INIT(all);

uint32_t unix_name_out(const struct unix_name *name, struct sockaddr_k *out)
{
    out->family = AF_UNIX_N;
    memcpy(out->data, name->path, name->len);
    return 2u + name->len;
}

/* -EINVAL, or the name with paths ended by NUL; len 0: only the family was given. */
static int parse_name(const struct sockaddr_k *a, uint32_t len, struct unix_name *out)
{
    if (a->family != AF_UNIX_N || len < 2 || len > 2 + UNIX_PATH_MAX)
        return -EINVAL;
    out->len = (uint8_t)(len - 2);
    memcpy(out->path, a->data, out->len);
    if (out->len && out->path[0]) {
        out->len = (uint8_t)strnlen(out->path, out->len);
        if (out->len == UNIX_PATH_MAX)
            return -EINVAL; /* no room for the NUL, which the name is returned with */
        out->path[out->len++] = 0;
    }
    return 0;
}

/* Each type has names of its own. With bind_lock held. */
static struct unix_socket *find_abstract(const struct unix_name *name, int type)
{
    struct unix_socket *s;
    list_for_each (s, &abstract_names, abstract_link)
        if (s->type == type && s->name.len == name->len &&
            !memcmp(s->name.path, name->path, name->len))
            return s;
    return NULL;
}

static int bind_path(struct unix_socket *s, const struct unix_name *name)
{
    struct fs_context copy;
    const struct fs_context *ctx = fs_context_hold(&copy);
    struct path p;
    int err = vfs_mknod(ctx, NULL, name->path, MODE_SOCK | 0777, 0, &p);
    fs_context_drop(ctx, &copy);
    if (err)
        return err == -EEXIST ? -EADDRINUSE : err;
    path_vnode(&p)->socket = s;
    s->bound = p;
    return 0;
}

static int bind_abstract(struct unix_socket *s, const struct unix_name *name)
{
    if (find_abstract(name, s->type))
        return -EADDRINUSE;
    list_push_back(&abstract_names, &s->abstract_link);
    return 0;
}

/* bind with the family only: a free abstract name of five hexadecimal digits. */
static void autobind_name(struct unix_name *name, int type)
{
    do {
        char digits[8];
        snprintf(digits, sizeof(digits), "%05x", rand_u32() & 0xfffff);
        name->path[0] = 0;
        memcpy(name->path + 1, digits, 5);
        name->len = 6;
    } while (find_abstract(name, type));
}

int unix_bind(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    struct unix_socket *s = unix_of(f);
    struct unix_name name;
    int err = parse_name(addr, len, &name);
    if (err)
        return err;
    if (!name.len)
        return unix_autobind(s);
    mutex_lock(&bind_lock);
    if (s->name.len)
        err = -EINVAL;
    else if (name.path[0])
        err = bind_path(s, &name);
    else
        err = bind_abstract(s, &name);
    if (!err && !s->name.len)
        s->name = name;
    mutex_unlock(&bind_lock);
    return err;
}

void unix_unbind(struct unix_socket *s)
{
    mutex_lock(&bind_lock);
    list_remove(&s->abstract_link);
    struct path p = s->bound;
    s->bound = (struct path){0};
    if (p.dentry)
        path_vnode(&p)->socket = NULL;
    mutex_unlock(&bind_lock);
    if (p.dentry)
        path_put(&p);
}

int unix_autobind(struct unix_socket *s)
{
    struct unix_name name;
    int err = 0;
    mutex_lock(&bind_lock);
    if (!s->name.len) {
        autobind_name(&name, s->type);
        err = bind_abstract(s, &name);
        if (!err)
            s->name = name;
    }
    mutex_unlock(&bind_lock);
    return err;
}

static int find_path(const char *path, struct unix_socket **out)
{
    struct fs_context copy;
    const struct fs_context *ctx = fs_context_hold(&copy);
    struct path p;
    int err = vfs_lookup(ctx, NULL, path, LOOKUP_FOLLOW, &p);
    if (!err) {
        struct vnode *v = path_vnode(&p);
        err = vnode_access(v, ctx->cred, ACCESS_W);
        mutex_lock(&bind_lock);
        *out = vnode_type(v) == MODE_SOCK ? v->socket : NULL;
        if (*out && !err)
            unix_get(*out);
        mutex_unlock(&bind_lock);
        if (!err && !*out)
            err = -ECONNREFUSED;
        path_put(&p);
    }
    fs_context_drop(ctx, &copy);
    return err;
}

int unix_find(const struct sockaddr_k *addr, uint32_t len, int type, struct unix_socket **out)
{
    struct unix_name name;
    int err = parse_name(addr, len, &name);
    if (err)
        return err;
    if (!name.len)
        return -ECONNREFUSED;
    if (name.path[0]) {
        err = find_path(name.path, out);
    } else {
        mutex_lock(&bind_lock);
        *out = find_abstract(&name, type);
        if (*out)
            unix_get(*out);
        mutex_unlock(&bind_lock);
        err = *out ? 0 : -ECONNREFUSED;
    }
    if (!err && (*out)->type != type) {
        unix_put(*out);
        err = -EPROTOTYPE;
    }
    return err;
}

uint32_t unix_name_of(struct unix_socket *s, struct sockaddr_k *out)
{
    mutex_lock(&bind_lock);
    uint32_t len = unix_name_out(&s->name, out);
    mutex_unlock(&bind_lock);
    return len;
}

void unix_enlist(struct unix_socket *s)
{
    spin_lock(&all_lock);
    list_push_back(&all, &s->all);
    spin_unlock(&all_lock);
}

void unix_delist(struct unix_socket *s)
{
    spin_lock(&all_lock);
    list_remove(&s->all);
    spin_unlock(&all_lock);
}

void unix_for_each(void (*fn)(struct unix_socket *s, void *arg), void *arg)
{
    struct unix_socket *s;
    mutex_lock(&bind_lock); /* names stay as they are */
    spin_lock(&all_lock);
    list_for_each (s, &all, all)
        fn(s, arg);
    spin_unlock(&all_lock);
    mutex_unlock(&bind_lock);
}

/* A line of /proc/net/unix; a name's zero bytes are shown as '@'. */
static void proc_line(struct unix_socket *s, void *arg)
{
    static const uint8_t states[] = {
        [UNIX_IDLE] = 1, [UNIX_LISTENING] = 1, [UNIX_CONNECTED] = 3}; /* SS_UNCONNECTED, ... */
    char name[UNIX_PATH_MAX + 1] = "";
    for (unsigned i = 0; i < s->name.len; i++)
        name[i] = s->name.path[i] ? s->name.path[i] : '@';
    if (s->name.len && s->name.path[0])
        name[s->name.len - 1] = 0; /* a path's own NUL */
    text_printf(arg, "0000000000000000: %08X %08X %08X %04X %02X %5lu%s%s\n", ref_count(&s->refs),
                0, s->state == UNIX_LISTENING ? 0x10000 : 0, s->type, states[s->state],
                (unsigned long)object_ino(s), name[0] ? " " : "", name);
}

static void proc_text(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "Num       RefCount Protocol Flags    Type St Inode Path\n");
    unix_for_each(proc_line, b);
}

void unix_socket_init(void)
{
    mutex_init(&bind_lock);
    unix_data_init();
    procfs_register("proc/net/unix", 0444, proc_text, NULL, NULL);
}
