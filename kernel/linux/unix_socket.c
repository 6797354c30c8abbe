/* AF_UNIX sockets: connections, polling, the end. */
#include "linux/unix.h"
#include <asm/ioctls.h>
#include <linux/sockios.h>

#include "core/mem.h"
#include "core/timer.h"
#include "linux/process.h"

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
    s->sndbuf = s->rcvbuf = UNIX_SNDBUF;
    s->rcv_lowat = 1;
    spin_init(&s->lock);
    list_init(&s->queue);
    list_init(&s->pending);
    list_init(&s->abstract_link);
    wait_queue_init(&s->wait);
    mutex_init(&s->read_lock);
    unix_enlist(s);
    return s;
}

void unix_put(struct unix_socket *s)
{
    if (ref_put(&s->refs)) {
        unix_delist(s);
        kfree(s);
    }
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
        int err = s->passcred ? unix_autobind(s) : 0;
        if (!err)
            err = unix_find(addr, len, s->type, &peer);
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
    int err = s->passcred ? unix_autobind(s) : 0;
    if (!err)
        err = unix_find(addr, len, s->type, &l);
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

static void unix_close(struct unix_socket *s, bool accepted);

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
        unix_close(s, false);
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
    shut(s, bits, 0);
    if (unix_connection_type(s) && s->peer)
        shut(s->peer, mirrored(bits), 0);
    return 0;
}

/* Ends the socket and drops the reference of its file. One that nobody has accepted resets its
 * peer, as one with unread data does. */
static void unix_close(struct unix_socket *s, bool accepted)
{
    unix_unbind(s);
    spin_lock(&s->lock);
    s->closed = true;
    s->shut = UNIX_SHUT_READ | UNIX_SHUT_WRITE;
    struct unix_socket *peer = s->peer;
    bool connection = unix_connection_type(s), listening = s->state == UNIX_LISTENING;
    bool unread = !accepted || !list_empty(&s->queue);
    s->peer = NULL;
    spin_unlock(&s->lock);

    struct unix_socket *pending;
    struct unix_message *m;
    if (listening)
        while ((pending = take_pending(s)))
            unix_close(pending, false); /* not listening itself: no deeper */
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
    unix_close(unix_of(f), true);
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
    *len = unix_name_of(of, out);
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

static void unix_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "socket:[%lu]", (unsigned long)object_ino(f->data));
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
