/* AF_UNIX sockets: sending and receiving. */
#include "core/mem.h"
#include "core/timer.h"
#include "linux/process.h"
#include "linux/rw.h"
#include "linux/unix.h"
#include "net/socket.h"

#define STREAM_CHUNK (32u * 1024)
#define MESSAGE_COST(len) ((len) + sizeof(struct unix_message))
#define SHARE 4 /* of memory, for the messages of all sockets */

/* --- messages --------------------------------------------------------------------------------- */

/* Send buffers bound a socket; this bounds their sum, so that thousands of sockets that nobody
 * reads do not take the memory. Above it writers wait for their readers as they do when a buffer is
 * full. */
static atomic_long held;
static long limit; /* set once */

void unix_data_init(void)
{
    struct mem_stats m;
    mem_stats(&m);
    limit = (long)(m.total_pages * PAGE_SIZE / SHARE);
}

uint32_t unix_room(const struct unix_socket *s)
{
    bool full = atomic_load_explicit(&held, memory_order_relaxed) > limit;
    return full ? UNIX_SNDBUF_MIN : s->sndbuf;
}

/* Counts a message of len bytes as under way (way: 1), or no longer (-1). */
static void account(struct unix_socket *from, size_t len, int way)
{
    long cost = way * (long)MESSAGE_COST(len);
    spin_lock(&from->lock);
    from->inflight += (size_t)cost;
    spin_unlock(&from->lock);
    atomic_fetch_add_explicit(&held, cost, memory_order_relaxed);
}

void unix_message_free(struct unix_message *m)
{
    struct unix_socket *from = m->from;
    account(from, m->len, -1);
    if (unix_writable(from))
        wake_up_key(&from->wait, POLL_OUT | POLL_WRNORM);
    unix_put(from);
    unix_scm_free(m->scm);
    kfree(m);
}

/* A message of the next `len` bytes of the caller's data, counted as under way. */
static struct unix_message *message_make(struct unix_socket *from, struct uio *u, size_t len)
{
    struct unix_message *m = kmalloc(sizeof(*m) + len);
    if (!m)
        return ERR_PTR(-ENOMEM);
    int err = uio_read(m->data, len, u);
    if (err) {
        kfree(m);
        return ERR_PTR(err);
    }
    list_init(&m->link);
    m->from = from;
    m->len = len;
    m->off = 0;
    m->scm = NULL;
    unix_get(from);
    account(from, len, 1);
    return m;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Waits until one more message may be under way; as on Linux, the last one may be too long. So who
 * is told that it can write can write a message of any size. */
static inline bool may_send(const struct unix_socket *s)
{
    return READ_ONCE(s->inflight) < unix_room(s) || READ_ONCE(s->shut) & UNIX_SHUT_WRITE;
}

static int wait_room(struct unix_socket *s, unsigned flags)
{
    if (may_send(s))
        return 0;
    if (flags & SOCK_MSG_DONTWAIT)
        return -EAGAIN;
    int err = wait_event_timeout(&s->wait, may_send(s), unix_deadline(s->snd_timeout));
    return err == -ETIMEDOUT ? -EAGAIN : err;
}

/* Queues m at `to` unless it takes no more; the error then. */
static int enqueue(struct unix_socket *to, struct unix_message *m)
{
    spin_lock(&to->lock);
    int err = 0;
    if (to->closed || to->shut & UNIX_SHUT_READ)
        err = unix_connection_type(to) ? -EPIPE : to->closed ? -ECONNREFUSED : -EPIPE;
    if (!err) {
        list_push_back(&to->queue, &m->link);
        to->queued += m->len;
    }
    spin_unlock(&to->lock);
    if (err)
        unix_message_free(m);
    else
        wake_up_key(&to->wait, POLL_IN | POLL_RDNORM);
    return err;
}

/* Ancillary data on its way into the first message. */
struct outgoing {
    struct unix_scm *scm;
    struct ucred_k cred;
};

static ssize_t stream_send(struct unix_socket *s, struct sock_msg *m, struct outgoing *o)
{
    ssize_t done = 0;
    int err = 0;
    while (m->uio->resid) {
        err = wait_room(s, m->flags);
        if (err)
            break;
        size_t n = MIN(m->uio->resid, (size_t)MIN(STREAM_CHUNK, unix_room(s) / 2));
        if (READ_ONCE(s->shut) & UNIX_SHUT_WRITE) {
            err = -EPIPE;
            break;
        }
        struct unix_message *msg = message_make(s, m->uio, n);
        if (IS_ERR(msg)) {
            err = (int)PTR_ERR(msg);
            break;
        }
        msg->cred = o->cred;
        msg->scm = o->scm;
        o->scm = NULL;
        err = enqueue(s->peer, msg);
        if (err)
            break;
        done += (ssize_t)n;
    }
    if (done)
        return done;
    if (err == -EPIPE && !(m->flags & SOCK_MSG_NOSIGNAL))
        return broken_pipe();
    return err;
}

static ssize_t message_send(struct unix_socket *s, struct unix_socket *to, struct sock_msg *m,
                            struct outgoing *o)
{
    size_t len = m->uio->resid;
    if (len > s->sndbuf - 32)
        return -EMSGSIZE;
    int err = wait_room(s, m->flags);
    if (err)
        return err;
    if (READ_ONCE(s->shut) & UNIX_SHUT_WRITE)
        return -EPIPE;
    struct unix_message *msg = message_make(s, m->uio, len);
    if (IS_ERR(msg))
        return PTR_ERR(msg);
    msg->cred = o->cred;
    msg->scm = o->scm;
    o->scm = NULL;
    err = enqueue(to, msg);
    return err ? err : (ssize_t)len;
}

/* A datagram's receiver: the address given, or the peer; referenced. */
static int dgram_target(struct unix_socket *s, struct sock_msg *m, struct unix_socket **out)
{
    int err = 0;
    if (m->name_len) {
        err = unix_find(&m->name, m->name_len, s->type, out);
        if (err)
            return err;
    } else {
        spin_lock(&s->lock);
        *out = s->peer;
        if (s->peer)
            unix_get(s->peer);
        spin_unlock(&s->lock);
        if (!*out)
            return -ENOTCONN;
    }
    struct unix_socket *back = READ_ONCE((*out)->peer); /* compared, not used */
    if (back && back != s)
        err = -EPERM; /* connected to somebody else */
    if (err)
        unix_put(*out);
    return err;
}

static ssize_t do_send(struct unix_socket *s, struct sock_msg *m, struct outgoing *o)
{
    if (!unix_connection_type(s)) {
        struct unix_socket *to;
        int err = s->passcred ? unix_autobind(s) : 0;
        if (!err)
            err = dgram_target(s, m, &to);
        if (err)
            return err;
        ssize_t n = message_send(s, to, m, o);
        unix_put(to);
        return n;
    }
    if (READ_ONCE(s->state) != UNIX_CONNECTED)
        return m->name_len ? -EOPNOTSUPP : -ENOTCONN;
    if (m->name_len)
        return -EISCONN;
    if (s->type == SOCK_STREAM_N)
        return stream_send(s, m, o);
    ssize_t n = message_send(s, s->peer, m, o);
    return n == -EPIPE && !(m->flags & SOCK_MSG_NOSIGNAL) ? broken_pipe() : n;
}

ssize_t unix_send(struct file *f, struct sock_msg *m)
{
    struct unix_socket *s = unix_of(f);
    struct outgoing o = {.cred = unix_current_cred()};
    if (m->flags & SOCK_MSG_OOB)
        return -EOPNOTSUPP;
    if (m->control.len) {
        int err = unix_scm_collect(&m->control, &o.scm, &o.cred);
        if (err)
            return err;
    }
    ssize_t n = do_send(s, m, &o);
    unix_scm_free(o.scm);
    return n;
}

ssize_t unix_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct sock_msg m;
    m.uio = u;
    m.flags = f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0;
    m.name_len = 0;
    m.control.len = 0;
    return unix_send(f, &m);
}

/* --- receiving -------------------------------------------------------------------------------- */

static struct unix_message *peek_queue(struct unix_socket *s)
{
    return list_empty(&s->queue) ? NULL : list_first(&s->queue, struct unix_message, link);
}

static struct unix_message *first_message(struct unix_socket *s)
{
    spin_lock(&s->lock);
    struct unix_message *m = peek_queue(s);
    spin_unlock(&s->lock);
    return m;
}

/* What a reader finds at once: 1: a message, 0: end of file, -EAGAIN: nothing yet, or an error. All
 * under one lock: what was sent before the end is seen before the end. */
static int look(struct unix_socket *s)
{
    int result = -EAGAIN;
    spin_lock(&s->lock);
    if (peek_queue(s)) {
        result = 1;
    } else if (s->error) {
        result = -s->error;
        s->error = 0;
    } else if (s->shut & UNIX_SHUT_READ) {
        result = 0;
    } else if (unix_connection_type(s) && s->state != UNIX_CONNECTED) {
        result = s->type == SOCK_STREAM_N ? -EINVAL : -ENOTCONN;
    }
    spin_unlock(&s->lock);
    return result;
}

static void consume(struct unix_socket *s, struct unix_message *m)
{
    spin_lock(&s->lock);
    list_remove(&m->link);
    s->queued -= m->len;
    spin_unlock(&s->lock);
    unix_message_free(m);
}

/* Waits for a message with read_lock held (given up meanwhile). 1: there is one, 0: end of file. */
static int wait_message(struct unix_socket *s, unsigned flags, nsec_t deadline)
{
    int found;
    while ((found = look(s)) == -EAGAIN) {
        if (flags & SOCK_MSG_DONTWAIT)
            return -EAGAIN;
        mutex_unlock(&s->read_lock);
        int err = wait_event_timeout(&s->wait,
                                     !list_empty(&s->queue) || READ_ONCE(s->error) ||
                                         READ_ONCE(s->shut) & UNIX_SHUT_READ,
                                     deadline);
        mutex_lock(&s->read_lock);
        if (err)
            return err == -ETIMEDOUT ? -EAGAIN : err;
    }
    return found;
}

static int deliver_control(struct unix_socket *s, struct unix_message *msg, struct sock_msg *m,
                           bool credentials)
{
    int err = 0;
    if (s->passcred && credentials)
        err = cmsg_put(m, SOL_SOCKET_N, 2 /* SCM_CREDENTIALS */, &msg->cred, sizeof(msg->cred));
    if (!err && msg->scm)
        err = unix_scm_deliver(msg->scm, m);
    if (msg->scm && !(m->flags & SOCK_MSG_PEEK)) {
        unix_scm_free(msg->scm);
        msg->scm = NULL;
    }
    return err;
}

/* Whether the bytes of b may follow those of a in one read; what came with descriptors ends it. */
static bool continues(const struct unix_socket *s, const struct unix_message *a,
                      const struct unix_message *b)
{
    return !s->passcred || !memcmp(&a->cred, &b->cred, sizeof(a->cred));
}

static ssize_t stream_recv(struct unix_socket *s, struct sock_msg *m)
{
    nsec_t deadline = unix_deadline(s->rcv_timeout);
    size_t least = MIN(m->flags & SOCK_MSG_WAITALL ? SIZE_MAX : s->rcv_lowat, m->uio->resid);
    bool peek = m->flags & SOCK_MSG_PEEK, first = true, stop = false;
    ssize_t done = 0;
    int err = 0;
    while (m->uio->resid && !stop && !err) {
        /* With something in hand only MSG_WAITALL and SO_RCVLOWAT wait for more. */
        bool wait = first || ((size_t)done < least && !peek);
        if (!wait && !first_message(s))
            break;
        err = wait_message(s, m->flags, deadline);
        if (err <= 0)
            break;
        err = 0;
        struct unix_message *msg = first_message(s);
        while (msg && m->uio->resid) {
            size_t n = MIN(msg->len - msg->off, m->uio->resid), before = m->uio->resid;
            bool last = msg->scm;
            err = deliver_control(s, msg, m, first);
            first = false;
            if (!err)
                err = uio_write(m->uio, msg->data + msg->off, n);
            n = before - m->uio->resid;
            done += (ssize_t)n;
            if (!peek)
                msg->off += n;
            if (err)
                break;
            /* Readers take messages off the front only, and this one holds read_lock. */
            spin_lock(&s->lock);
            struct unix_message *next = msg->link.next == &s->queue
                                            ? NULL
                                            : list_first(&msg->link, struct unix_message, link);
            spin_unlock(&s->lock);
            stop = last || (next && !continues(s, msg, next));
            if (!peek && msg->off == msg->len)
                consume(s, msg);
            msg = stop ? NULL : next;
        }
        if (peek)
            break;
    }
    return done ? done : err;
}

static ssize_t message_recv(struct unix_socket *s, struct sock_msg *m)
{
    int err = wait_message(s, m->flags, unix_deadline(s->rcv_timeout));
    if (err <= 0)
        return err;
    struct unix_message *msg = first_message(s);
    size_t n = MIN(msg->len, m->uio->resid);
    err = uio_write(m->uio, msg->data, n);
    if (!err)
        err = deliver_control(s, msg, m, true);
    if (m->want_name && s->type == SOCK_DGRAM_N)
        m->name_len = unix_name_out(&msg->from->name, &m->name);
    if (n < msg->len)
        m->out_flags |= SOCK_MSG_TRUNC;
    if (m->flags & SOCK_MSG_TRUNC)
        n = msg->len;
    if (s->type == SOCK_SEQPACKET_N)
        m->out_flags |= MSG_EOR_N;
    if (!(m->flags & SOCK_MSG_PEEK))
        consume(s, msg);
    return err ? err : (ssize_t)n;
}

ssize_t unix_recv(struct file *f, struct sock_msg *m)
{
    struct unix_socket *s = unix_of(f);
    if (m->flags & SOCK_MSG_OOB || READ_ONCE(s->state) == UNIX_LISTENING)
        return m->flags & SOCK_MSG_OOB ? -EOPNOTSUPP : -EINVAL;
    mutex_lock(&s->read_lock);
    ssize_t n = s->type == SOCK_STREAM_N ? stream_recv(s, m) : message_recv(s, m);
    mutex_unlock(&s->read_lock);
    return n;
}

ssize_t unix_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct sock_msg m;
    m.uio = u;
    m.flags = f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0;
    m.want_name = false;
    m.name_len = 0;
    m.control_room = m.control_used = 0;
    m.out_flags = 0;
    return unix_recv(f, &m);
}
