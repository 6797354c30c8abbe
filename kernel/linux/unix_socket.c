/* AF_UNIX sockets: names, connections, options, the end. */
#include "linux/unix.h"
#include <asm/ioctls.h>
#include <linux/sockios.h>

#include "core/mem.h"
#include "core/rand.h"
#include "core/timer.h"
#include "linux/io.h"
#include "linux/path.h"
#include "linux/process.h"
#include "net/socket.h"

/* Guards vnode->socket, the abstract names and every socket's own name. */
static struct mutex bind_lock;
static struct list abstract_names = LIST_INIT(abstract_names);

struct ucred_k unix_current_cred(void)
{
    const struct cred *c = current_cred();
    return (struct ucred_k){current_process()->pid, c->euid, c->egid};
}

nsec_t unix_deadline(nsec_t timeout)
{
    return timeout ? time_now() + timeout : NSEC_NEVER;
}

static struct unix_socket *unix_alloc(int type)
{
    struct unix_socket *s = kzalloc(sizeof(*s));
    if (!s)
        return NULL;
    ref_init(&s->refs, 1);
    s->type = (uint8_t)type;
    s->sndbuf = UNIX_SNDBUF;
    spin_init(&s->lock);
    list_init(&s->queue);
    list_init(&s->pending);
    list_init(&s->abstract_link);
    wait_queue_init(&s->wait);
    mutex_init(&s->read_lock);
    return s;
}

void unix_put(struct unix_socket *s)
{
    if (ref_put(&s->refs))
        kfree(s);
}

/* --- names ------------------------------------------------------------------------------------ */

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

/* With bind_lock held. */
static struct unix_socket *find_abstract(const struct unix_name *name)
{
    struct unix_socket *s;
    list_for_each (s, &abstract_names, abstract_link)
        if (s->name.len == name->len && !memcmp(s->name.path, name->path, name->len))
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
    if (find_abstract(name))
        return -EADDRINUSE;
    list_push_back(&abstract_names, &s->abstract_link);
    return 0;
}

/* bind with the family only: a free abstract name of five hexadecimal digits. */
static void autobind_name(struct unix_name *name)
{
    do {
        char digits[8];
        snprintf(digits, sizeof(digits), "%05x", rand_u32() & 0xfffff);
        name->path[0] = 0;
        memcpy(name->path + 1, digits, 5);
        name->len = 6;
    } while (find_abstract(name));
}

static int unix_bind(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    struct unix_socket *s = unix_of(f);
    struct unix_name name;
    int err = parse_name(addr, len, &name);
    if (err)
        return err;
    mutex_lock(&bind_lock);
    if (s->name.len)
        err = name.len ? -EINVAL : 0;
    else if (name.len && name.path[0])
        err = bind_path(s, &name);
    else {
        if (!name.len)
            autobind_name(&name);
        err = bind_abstract(s, &name);
    }
    if (!err && !s->name.len)
        s->name = name;
    mutex_unlock(&bind_lock);
    return err;
}

static void unbind(struct unix_socket *s)
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
        *out = find_abstract(&name);
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

/* --- connections ------------------------------------------------------------------------------ */

static int unix_file(struct unix_socket *s, struct file **out)
{
    struct file *f = file_alloc(&unix_file_ops, s, OPEN_RDWR);
    if (IS_ERR(f))
        return (int)PTR_ERR(f);
    *out = f;
    return 0;
}

/* Makes two fresh sockets each other's peer. */
static void join(struct unix_socket *a, struct unix_socket *b)
{
    unix_get(a);
    unix_get(b);
    a->peer = b;
    b->peer = a;
    WRITE_ONCE(a->state, UNIX_CONNECTED);
    WRITE_ONCE(b->state, UNIX_CONNECTED);
}

static int connect_dgram(struct unix_socket *s, const struct sockaddr_k *addr, uint32_t len)
{
    struct unix_socket *peer = NULL;
    if (addr->family != AF_UNSPEC_N) {
        int err = unix_find(addr, len, s->type, &peer);
        if (err)
            return err;
        struct unix_socket *back = READ_ONCE(peer->peer); /* compared, not used */
        if (back && back != s) {
            unix_put(peer);
            return -EPERM;
        }
    }
    spin_lock(&s->lock);
    struct unix_socket *old = s->peer;
    s->peer = peer;
    spin_unlock(&s->lock);
    if (old)
        unix_put(old);
    return 0;
}

static bool backlog_full(const struct unix_socket *l)
{
    return READ_ONCE(l->queued) > (size_t)READ_ONCE(l->backlog);
}

/* Puts `server`, joined to s, into the listener's queue. 1: the queue is full. */
static int enter_backlog(struct unix_socket *l, struct unix_socket *s, struct unix_socket *server)
{
    int err = 0;
    spin_lock(&l->lock);
    if (l->closed || l->state != UNIX_LISTENING || l->shut & UNIX_SHUT_READ) {
        err = -ECONNREFUSED;
    } else if (backlog_full(l)) {
        err = 1;
    } else if (s->state != UNIX_IDLE) {
        /* Looked at before its lock is taken: a listener's is never taken second, so two listeners
         * that are connected to each other do not wait for each other's locks. */
        err = s->state == UNIX_CONNECTED ? -EISCONN : -EINVAL;
    } else {
        spin_lock(&s->lock);
        if (s->state != UNIX_IDLE)
            err = s->state == UNIX_CONNECTED ? -EISCONN : -EINVAL;
        else
            join(s, server);
        spin_unlock(&s->lock);
    }
    if (!err) {
        server->name = l->name;
        server->peer_cred = unix_current_cred();
        s->peer_cred = l->peer_cred; /* of whoever called listen */
        list_push_back(&l->queue, &server->pending);
        l->queued++;
    }
    spin_unlock(&l->lock);
    return err;
}

static int connect_stream(struct unix_socket *s, struct unix_socket *l, bool nonblock)
{
    struct unix_socket *server = unix_alloc(s->type);
    if (!server)
        return -ENOMEM;
    nsec_t deadline = unix_deadline(s->snd_timeout);
    int err;
    while ((err = l == s ? -ECONNREFUSED : enter_backlog(l, s, server)) == 1) {
        err = nonblock ? -EAGAIN
                       : wait_event_timeout(&l->wait, !backlog_full(l) || READ_ONCE(l->closed),
                                            deadline);
        if (err)
            break;
    }
    if (err) {
        unix_put(server);
        return err == -ETIMEDOUT ? -EAGAIN : err;
    }
    wake_up_max(&l->wait, POLL_IN | POLL_RDNORM, 1);
    wake_up_key(&s->wait, POLL_OUT | POLL_WRNORM);
    return 0;
}

static int unix_connect(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    struct unix_socket *s = unix_of(f), *l;
    if (!unix_connection_type(s))
        return connect_dgram(s, addr, len);
    int err = unix_find(addr, len, s->type, &l);
    if (err)
        return err;
    err = connect_stream(s, l, f->flags & OPEN_NONBLOCK);
    unix_put(l);
    return err;
}

static int unix_listen(struct file *f, int backlog)
{
    struct unix_socket *s = unix_of(f);
    if (!unix_connection_type(s))
        return -EOPNOTSUPP;
    spin_lock(&s->lock);
    int err = s->state == UNIX_CONNECTED || !s->name.len ? -EINVAL : 0;
    if (!err) {
        s->state = UNIX_LISTENING;
        s->backlog = backlog;
        s->peer_cred = unix_current_cred();
    }
    spin_unlock(&s->lock);
    if (!err)
        wake_up(&s->wait); /* a longer backlog lets connectors in */
    return err;
}

static struct unix_socket *take_pending(struct unix_socket *l)
{
    spin_lock(&l->lock);
    struct unix_socket *s = list_pop_front(&l->queue, struct unix_socket, pending);
    if (s)
        l->queued--;
    spin_unlock(&l->lock);
    return s;
}

static void unix_close(struct unix_socket *s);

static int unix_accept(struct file *f, struct file **out)
{
    struct unix_socket *l = unix_of(f), *s;
    if (!unix_connection_type(l))
        return -EOPNOTSUPP;
    if (READ_ONCE(l->state) != UNIX_LISTENING)
        return -EINVAL;
    nsec_t deadline = unix_deadline(l->rcv_timeout);
    while (!(s = take_pending(l))) {
        if (READ_ONCE(l->shut) & UNIX_SHUT_READ)
            return -EINVAL;
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_exclusive(
            &l->wait, !list_empty(&l->queue) || READ_ONCE(l->shut) & UNIX_SHUT_READ, deadline);
        if (err)
            return err == -ETIMEDOUT ? -EAGAIN : err;
    }
    wake_up_key(&l->wait, POLL_OUT | POLL_WRNORM); /* connectors that wait for the backlog */
    int err = unix_file(s, out);
    if (err)
        unix_close(s);
    return err;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Sets shutdown bits of one side and wakes it. */
static void shut(struct unix_socket *s, unsigned how, int error)
{
    spin_lock(&s->lock);
    s->shut |= (uint8_t)how;
    if (error)
        s->error = error;
    bool both = s->shut == (UNIX_SHUT_READ | UNIX_SHUT_WRITE);
    spin_unlock(&s->lock);
    wake_up_key(&s->wait, POLL_IN | POLL_RDNORM | POLL_RDHUP | POLL_OUT | POLL_WRNORM |
                              (both ? POLL_HUP : 0) | (error ? POLL_ERR : 0));
}

static unsigned mirrored(unsigned how)
{
    return (how & UNIX_SHUT_READ ? UNIX_SHUT_WRITE : 0) |
           (how & UNIX_SHUT_WRITE ? UNIX_SHUT_READ : 0);
}

static int unix_shutdown(struct file *f, int how)
{
    struct unix_socket *s = unix_of(f);
    unsigned bits = (unsigned)how + 1;
    if (unix_connection_type(s) && s->state != UNIX_CONNECTED && s->state != UNIX_LISTENING)
        return -ENOTCONN;
    shut(s, bits, 0);
    if (unix_connection_type(s) && s->peer)
        shut(s->peer, mirrored(bits), 0);
    return 0;
}

/* Ends the socket and drops the reference of its file. */
static void unix_close(struct unix_socket *s)
{
    unbind(s);
    spin_lock(&s->lock);
    s->closed = true;
    s->shut = UNIX_SHUT_READ | UNIX_SHUT_WRITE;
    struct unix_socket *peer = s->peer;
    bool connection = unix_connection_type(s), listening = s->state == UNIX_LISTENING;
    bool unread = !list_empty(&s->queue);
    s->peer = NULL;
    spin_unlock(&s->lock);

    struct unix_socket *pending;
    struct unix_message *m;
    if (listening)
        while ((pending = take_pending(s)))
            unix_close(pending); /* not listening itself: no deeper */
    else
        while ((m = list_pop_front(&s->queue, struct unix_message, link)))
            unix_message_free(m);
    if (peer) {
        if (connection)
            shut(peer, UNIX_SHUT_READ | UNIX_SHUT_WRITE, unread ? ECONNRESET : 0);
        unix_put(peer);
    }
    wake_up(&s->wait); /* connectors in the queue of a listener */
    unix_put(s);
}

static void unix_release(struct file *f)
{
    unix_close(unix_of(f));
}

/* --- the rest of the operations --------------------------------------------------------------- */

static int unix_name(struct file *f, struct sockaddr_k *out, uint32_t *len, bool peer)
{
    struct unix_socket *s = unix_of(f), *of = s;
    if (peer) {
        spin_lock(&s->lock);
        of = s->peer;
        if (of)
            unix_get(of);
        spin_unlock(&s->lock);
        if (!of)
            return -ENOTCONN;
    }
    mutex_lock(&bind_lock);
    *len = unix_name_out(&of->name, out);
    mutex_unlock(&bind_lock);
    if (peer)
        unix_put(of);
    return 0;
}

static unsigned unix_poll(struct file *f, struct poll_table *pt)
{
    struct unix_socket *s = unix_of(f);
    unsigned events = 0;
    poll_register(pt, &s->wait);
    unsigned shut = READ_ONCE(s->shut);
    if (READ_ONCE(s->error))
        events |= POLL_ERR;
    if (!list_empty(&s->queue))
        events |= POLL_IN | POLL_RDNORM;
    if (shut & UNIX_SHUT_READ)
        events |= POLL_IN | POLL_RDNORM | POLL_RDHUP;
    if (shut == (UNIX_SHUT_READ | UNIX_SHUT_WRITE))
        events |= POLL_HUP;
    if (s->state == UNIX_LISTENING)
        return events;
    if (unix_connection_type(s) && s->state == UNIX_IDLE)
        events |= POLL_HUP;
    if (unix_writable(s))
        events |= POLL_OUT | POLL_WRNORM;
    return events;
}

static long unix_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    struct unix_socket *s = unix_of(f);
    int value = 0;
    if (cmd == SIOCOUTQ) {
        value = (int)s->inflight;
    } else if (cmd == SIOCINQ) {
        if (s->state == UNIX_LISTENING)
            return -EINVAL;
        struct unix_message *m;
        spin_lock(&s->lock);
        list_for_each (m, &s->queue, link) {
            value += (int)(m->len - m->off);
            if (s->type != SOCK_STREAM_N)
                break;
        }
        spin_unlock(&s->lock);
    } else {
        return netdev_ioctl(cmd, arg);
    }
    return copy_to_user(arg, &value, sizeof(value));
}

enum {
    OPT_REUSEADDR = 2,
    OPT_TYPE = 3,
    OPT_ERROR = 4,
    OPT_BROADCAST = 6,
    OPT_SNDBUF = 7,
    OPT_RCVBUF = 8,
    OPT_KEEPALIVE = 9,
    OPT_OOBINLINE = 10,
    OPT_REUSEPORT = 15,
    OPT_PASSCRED = 16,
    OPT_PEERCRED = 17,
    OPT_ACCEPTCONN = 30,
    OPT_SNDBUFFORCE = 32,
    OPT_PROTOCOL = 38,
    OPT_DOMAIN = 39,
};
/* Kept and told, but without meaning for these sockets. */
#define FLAG_OPTIONS                                                                               \
    (1ull << OPT_REUSEADDR | 1ull << OPT_BROADCAST | 1ull << OPT_KEEPALIVE |                       \
     1ull << OPT_OOBINLINE | 1ull << OPT_REUSEPORT)

static int unix_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    struct unix_socket *s = unix_of(f);
    int v;
    if (level != SOL_SOCKET_N)
        return -EOPNOTSUPP;
    if (is_timeout_option(name))
        return timeout_option_set(is_recv_timeout(name) ? &s->rcv_timeout : &s->snd_timeout, val,
                                  len);
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    switch (name) {
    case OPT_PASSCRED:
        s->passcred = v;
        return 0;
    case OPT_SNDBUF:
    case OPT_SNDBUFFORCE:
        v = MAX(MIN(v, (int)UNIX_SNDBUF_MAX / 2), 0) * 2;
        s->sndbuf = MAX((uint32_t)v, UNIX_SNDBUF_MIN);
        return 0;
    case OPT_RCVBUF:
        return 0; /* the sender's limit counts, as on Linux */
    default:
        if (name < 0 || name > 63 || !(FLAG_OPTIONS >> name & 1))
            return -ENOPROTOOPT;
        s->flag_options = (s->flag_options & ~(1ull << name)) | (uint64_t) !!v << name;
        return 0;
    }
}

static int unix_getopt(struct file *f, int level, int name, void *val, uint32_t *len)
{
    struct unix_socket *s = unix_of(f);
    int v;
    if (level != SOL_SOCKET_N)
        return -EOPNOTSUPP;
    if (is_timeout_option(name))
        return timeout_option_get(is_recv_timeout(name) ? s->rcv_timeout : s->snd_timeout, val,
                                  len);
    switch (name) {
    case OPT_TYPE:
        v = s->type;
        break;
    case OPT_ERROR:
        spin_lock(&s->lock);
        v = s->error;
        s->error = 0;
        spin_unlock(&s->lock);
        break;
    case OPT_SNDBUF:
    case OPT_RCVBUF:
        v = (int)s->sndbuf;
        break;
    case OPT_PASSCRED:
        v = s->passcred;
        break;
    case OPT_PEERCRED: {
        struct ucred_k c = s->peer_cred;
        if (!c.pid) /* never connected */
            c.uid = c.gid = ~0u;
        *len = MIN(*len, (uint32_t)sizeof(c));
        memcpy(val, &c, *len);
        return 0;
    }
    case OPT_ACCEPTCONN:
        v = s->state == UNIX_LISTENING;
        break;
    case OPT_PROTOCOL:
        v = 0;
        break;
    case OPT_DOMAIN:
        v = AF_UNIX_N;
        break;
    default:
        if (name < 0 || name > 63 || !(FLAG_OPTIONS >> name & 1))
            return -ENOPROTOOPT;
        v = (int)(s->flag_options >> name & 1);
    }
    *len = MIN(*len, (uint32_t)sizeof(v));
    memcpy(val, &v, *len);
    return 0;
}

static void unix_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "socket:[%lu]", (unsigned long)((uintptr_t)f->data >> 4 & 0xffffff));
}

const struct file_ops unix_file_ops = {
    .name = "unix",
    .mode = MODE_SOCK | 0777,
    .read = unix_read,
    .write = unix_write,
    .poll = unix_poll,
    .ioctl = unix_ioctl,
    .release = unix_release,
    .describe = unix_describe,
};

const struct sock_ops unix_sock_ops = {
    .family = AF_UNIX_N,
    .bind = unix_bind,
    .connect = unix_connect,
    .listen = unix_listen,
    .accept = unix_accept,
    .name = unix_name,
    .send = unix_send,
    .recv = unix_recv,
    .shutdown = unix_shutdown,
    .setopt = unix_setopt,
    .getopt = unix_getopt,
};

static int check_type(int type, int proto)
{
    if (proto && proto != AF_UNIX_N)
        return -EPROTONOSUPPORT;
    bool known = type == SOCK_STREAM_N || type == SOCK_DGRAM_N || type == SOCK_SEQPACKET_N;
    return known ? 0 : -ESOCKTNOSUPPORT;
}

int unix_socket_create(int type, int proto, struct file **out)
{
    int err = check_type(type, proto);
    if (err)
        return err;
    struct unix_socket *s = unix_alloc(type);
    if (!s)
        return -ENOMEM;
    err = unix_file(s, out);
    if (err)
        unix_put(s);
    return err;
}

int unix_socket_pair(int type, int proto, struct file *out[2])
{
    int err = unix_socket_create(type, proto, &out[0]);
    if (err)
        return err;
    err = unix_socket_create(type, proto, &out[1]);
    if (err) {
        file_put(out[0]);
        return err;
    }
    struct unix_socket *a = unix_of(out[0]), *b = unix_of(out[1]);
    join(a, b);
    a->peer_cred = b->peer_cred = unix_current_cred();
    return 0;
}

void unix_socket_init(void)
{
    mutex_init(&bind_lock);
}
