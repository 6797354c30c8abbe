/*
 * Netlink sockets: requests are answered at once, within the send; the answers wait in the socket's
 * queue, and so do the notifications of the groups that it is a member of. The protocols are in
 * netlink_route.c, netlink_rule.c, netlink_notify.c and netlink_diag.c.
 */
#include "linux/netlink_socket.h"

#include "core/mem.h"
#include "core/timer.h"
#include "linux/process.h"
#include "linux/sock.h"
#include "net/socket.h"

#define QUEUE_MAX (4u << 20) /* bytes of answers that nobody reads */
#define REQUEST_MAX 4096u

/* Each answer is a datagram of one message: no reader's buffer is too small for it. */
struct answer {
    struct list link;
    unsigned group; /* 0: it is for this socket alone */
    size_t len;
    uint8_t data[];
};

struct netlink {
    struct list link;        /* in `all` */
    struct list member_link; /* in `members`, while it has groups */
    uint64_t groups;         /* bit n: group n + 1; under members_lock */
    unsigned proto;
    uint8_t type;
    spinlock_t lock;
    struct list queue;
    size_t queued; /* bytes */
    bool overrun;  /* ENOBUFS is due */
    bool connected;
    uint32_t port;
    nsec_t rcv_timeout, snd_timeout;
    uint32_t sndbuf, rcvbuf; /* as set; requests and answers have bounds of their own */
    uint64_t flag_options;   /* bit n: SOL_NETLINK option n */
    struct wait_queue wait;
};

static struct mutex all_lock;
static struct list all = LIST_INIT(all);
static spinlock_t members_lock = SPINLOCK_INIT; /* bh; before a socket's lock */
static struct list members = LIST_INIT(members);

static struct netlink *netlink_of(const struct file *f)
{
    return f->data;
}

/* Linux gives the first socket of a process its pid; a port belongs to one socket of a protocol. */
static int set_port(struct netlink *nl, uint32_t port)
{
    static uint32_t next = 0xffffefffu;
    struct netlink *o;
    bool chosen = port == 0, taken;
    if (nl->port)
        return port && port != nl->port ? -EINVAL : 0;
    if (chosen)
        port = (uint32_t)current_process()->pid;
    mutex_lock(&all_lock);
    do {
        taken = false;
        list_for_each (o, &all, link)
            taken |= o->proto == nl->proto && o->port == port;
        if (taken && chosen)
            port = next--;
    } while (taken && chosen);
    if (!taken)
        nl->port = port;
    mutex_unlock(&all_lock);
    return taken ? -EADDRINUSE : 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

void *netlink_begin(struct netlink_message *m, unsigned type, unsigned flags, size_t body)
{
    memset(m->data, 0, sizeof(m->data));
    struct nlmsghdr *h = (void *)m->data;
    h->nlmsg_type = (uint16_t)type;
    h->nlmsg_flags = (uint16_t)flags;
    if (m->to) {
        h->nlmsg_flags |= netlink_is_dump(m->request) ? NLM_F_MULTI : 0;
        h->nlmsg_seq = m->request->nlmsg_seq;
        h->nlmsg_pid = m->to->port;
    }
    m->len = NLMSG_HDRLEN + NLMSG_ALIGN(body);
    return m->data + NLMSG_HDRLEN;
}

void netlink_attr(struct netlink_message *m, unsigned type, const void *data, size_t len)
{
    struct rtattr *a = (void *)(m->data + m->len);
    ASSERT(m->len + RTA_SPACE(len) <= sizeof(m->data));
    a->rta_type = (uint16_t)type;
    a->rta_len = (uint16_t)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), data, len);
    m->len += RTA_SPACE(len);
}

void netlink_attr_u32(struct netlink_message *m, unsigned type, uint32_t v)
{
    netlink_attr(m, type, &v, sizeof(v));
}

/* Queues a copy, unless more than `limit` bytes wait already. */
static void enqueue(struct netlink *to, const struct netlink_message *m, size_t limit)
{
    struct answer *a = kmalloc(sizeof(*a) + m->len);
    if (a) {
        a->len = m->len;
        a->group = m->group;
        memcpy(a->data, m->data, m->len);
    }
    spin_lock_bh(&to->lock);
    if (a && to->queued + sizeof(*a) + m->len <= limit) {
        list_push_back(&to->queue, &a->link);
        to->queued += sizeof(*a) + m->len;
        a = NULL;
    } else if (!(m->group && to->flag_options >> NETLINK_NO_ENOBUFS & 1)) {
        to->overrun = true;
    }
    spin_unlock_bh(&to->lock);
    kfree(a);
}

void netlink_send_message(struct netlink_message *m)
{
    struct netlink *member;
    ((struct nlmsghdr *)(void *)m->data)->nlmsg_len = (uint32_t)m->len;
    if (m->to) {
        enqueue(m->to, m, QUEUE_MAX);
        return;
    }
    spin_lock_bh(&members_lock);
    list_for_each (member, &members, member_link) {
        /* As on Linux, without a port it gets nothing. */
        if (!member->port || !(member->groups >> (m->group - 1) & 1))
            continue;
        enqueue(member, m, member->rcvbuf);
        wake_up_key(&member->wait, POLL_IN | POLL_RDNORM);
    }
    spin_unlock_bh(&members_lock);
}

const void *netlink_find(const struct nlmsghdr *h, size_t body, unsigned type, size_t len)
{
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(body);
    while (at + sizeof(struct rtattr) <= h->nlmsg_len) {
        const struct rtattr *a = (const void *)((const uint8_t *)h + at);
        if (a->rta_len < sizeof(*a) || a->rta_len > h->nlmsg_len - at)
            break;
        if ((a->rta_type & NLA_TYPE_MASK) == type)
            return a->rta_len >= RTA_LENGTH(len) ? RTA_DATA(a) : NULL;
        at += RTA_ALIGN(a->rta_len);
    }
    return NULL;
}

/* The result of a request: an error, or with 0 the acknowledgement. */
static void send_result(struct netlink_message *m, int err)
{
    struct nlmsgerr *e = netlink_begin(m, NLMSG_ERROR, 0, sizeof(*e));
    ((struct nlmsghdr *)(void *)m->data)->nlmsg_flags = 0;
    e->error = err;
    e->msg = *m->request;
    netlink_send_message(m);
}

static void answer_request(struct netlink *nl, const struct nlmsghdr *h)
{
    struct netlink_message m = {.to = nl, .request = h};
    if (!(h->nlmsg_flags & NLM_F_REQUEST) || h->nlmsg_type < NLMSG_MIN_TYPE)
        return; /* NOOP and the like */
    int err =
        nl->proto == NETLINK_ROUTE ? netlink_route_request(&m, h) : netlink_diag_request(&m, h);
    if (err || (h->nlmsg_flags & NLM_F_ACK && !netlink_is_dump(h))) {
        send_result(&m, err);
    } else if (netlink_is_dump(h)) {
        netlink_begin(&m, NLMSG_DONE, 0, sizeof(int)); /* the result: 0 */
        netlink_send_message(&m);
    }
}

/* --- operations ------------------------------------------------------------------------------- */

static ssize_t netlink_send(struct file *f, struct sock_msg *m)
{
    struct netlink *nl = netlink_of(f);
    size_t len = m->uio->resid;
    if (m->flags & SOCK_MSG_OOB)
        return -EOPNOTSUPP;
    if (len > REQUEST_MAX)
        return -EMSGSIZE;
    if (m->name_len) {
        const struct sockaddr_nl *to = (const void *)&m->name;
        if (m->name_len < sizeof(*to) || to->nl_family != AF_NETLINK_N)
            return -EINVAL;
        if (to->nl_pid)
            return -ECONNREFUSED;
    }
    int bound = set_port(nl, 0);
    if (bound)
        return bound;
    uint8_t *buf = kmalloc(len ? len : 1);
    if (!buf)
        return -ENOMEM;
    int err = uio_read(buf, len, m->uio);
    for (size_t at = 0; !err && len - at >= NLMSG_HDRLEN;) {
        const struct nlmsghdr *h = (void *)(buf + at);
        if (h->nlmsg_len < NLMSG_HDRLEN || h->nlmsg_len > len - at)
            break;
        answer_request(nl, h);
        at += MIN((size_t)NLMSG_ALIGN(h->nlmsg_len), len - at);
    }
    kfree(buf);
    wake_up_key(&nl->wait, POLL_IN | POLL_RDNORM);
    return err ? err : (ssize_t)len;
}

static struct answer *take_answer(struct netlink *nl, bool peek)
{
    spin_lock_bh(&nl->lock);
    struct answer *a = list_empty(&nl->queue) ? NULL : list_first(&nl->queue, struct answer, link);
    if (a && !peek) {
        list_remove(&a->link);
        nl->queued -= sizeof(*a) + a->len;
    }
    spin_unlock_bh(&nl->lock);
    return a;
}

/* Something was lost: told once, before what is left. */
static bool take_overrun(struct netlink *nl)
{
    spin_lock_bh(&nl->lock);
    bool overrun = nl->overrun;
    nl->overrun = false;
    spin_unlock_bh(&nl->lock);
    return overrun;
}

static ssize_t netlink_recv(struct file *f, struct sock_msg *m)
{
    struct netlink *nl = netlink_of(f);
    /* A peeked answer stays in the queue: two readers of one socket at once get what they deserve,
     * so it is copied while it cannot be freed: only a reader frees, under pos_lock. */
    bool peek = m->flags & SOCK_MSG_PEEK;
    nsec_t deadline = nl->rcv_timeout ? time_now() + nl->rcv_timeout : NSEC_NEVER;
    struct answer *a;
    if (take_overrun(nl))
        return -ENOBUFS;
    mutex_lock(&f->pos_lock);
    while (!(a = take_answer(nl, peek))) {
        mutex_unlock(&f->pos_lock);
        if (m->flags & SOCK_MSG_DONTWAIT)
            return -EAGAIN;
        int err = wait_event_timeout(&nl->wait, !list_empty(&nl->queue) || nl->overrun, deadline);
        if (err)
            return err == -ETIMEDOUT ? -EAGAIN : err;
        if (take_overrun(nl))
            return -ENOBUFS;
        mutex_lock(&f->pos_lock);
    }
    size_t n = MIN(a->len, m->uio->resid), len = a->len;
    unsigned group = a->group;
    int err = uio_write(m->uio, a->data, n);
    if (!peek)
        kfree(a);
    mutex_unlock(&f->pos_lock);
    if (n < len)
        m->out_flags |= SOCK_MSG_TRUNC;
    if (m->want_name) {
        struct sockaddr_nl from = {.nl_family = AF_NETLINK_N,
                                   .nl_groups = group && group <= 32 ? 1u << (group - 1) : 0};
        memcpy(&m->name, &from, sizeof(from));
        m->name_len = sizeof(from);
    }
    return err ? err : (ssize_t)(m->flags & SOCK_MSG_TRUNC ? len : n);
}

static ssize_t netlink_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    return netlink_send(f, &(struct sock_msg){.uio = u});
}

static ssize_t netlink_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    unsigned flags = f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0;
    return netlink_recv(f, &(struct sock_msg){.uio = u, .flags = flags});
}

static void change_groups(struct netlink *nl, uint64_t drop, uint64_t add)
{
    if (add)
        netlink_route_watch();
    spin_lock_bh(&members_lock);
    uint64_t groups = (nl->groups & ~drop) | add;
    if (groups && !nl->groups)
        list_push_back(&members, &nl->member_link);
    else if (!groups && nl->groups)
        list_remove(&nl->member_link);
    nl->groups = groups;
    spin_unlock_bh(&members_lock);
}

/* NETLINK_ADD_MEMBERSHIP, NETLINK_DROP_MEMBERSHIP. */
static int change_membership(struct netlink *nl, int group, bool add)
{
    if (nl->proto != NETLINK_ROUTE)
        return -EOPNOTSUPP;
    if (group < 1 || group > RTNLGRP_MAX)
        return -EINVAL;
    uint64_t bit = 1ull << (group - 1);
    change_groups(nl, add ? 0 : bit, add ? bit : 0);
    return 0;
}

static int netlink_bind(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    const struct sockaddr_nl *a = (const void *)addr;
    if (len < sizeof(*a) || addr->family != AF_NETLINK_N)
        return -EINVAL;
    struct netlink *nl = netlink_of(f);
    if (a->nl_groups && nl->proto != NETLINK_ROUTE)
        return -EOPNOTSUPP; /* of sockets there are no notifications */
    int err = set_port(nl, a->nl_pid);
    if (!err)
        change_groups(nl, UINT32_MAX, a->nl_groups);
    return err;
}

static int netlink_connect(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    const struct sockaddr_nl *a = (const void *)addr;
    if (addr->family == AF_UNSPEC_N) {
        netlink_of(f)->connected = false;
        return 0;
    }
    if (len < sizeof(*a) || addr->family != AF_NETLINK_N)
        return -EINVAL;
    if (a->nl_pid)
        return -ECONNREFUSED; /* but for us nobody answers */
    int err = set_port(netlink_of(f), 0);
    netlink_of(f)->connected = !err;
    return err;
}

static int netlink_name(struct file *f, struct sockaddr_k *out, uint32_t *len, bool peer)
{
    const struct netlink *nl = netlink_of(f);
    struct sockaddr_nl a = {.nl_family = AF_NETLINK_N,
                            .nl_pid = peer ? 0 : nl->port,
                            .nl_groups = peer ? 0 : (uint32_t)nl->groups};
    memcpy(out, &a, sizeof(a));
    *len = sizeof(a);
    return 0;
}

static int netlink_listen(struct file *f, int backlog)
{
    (void)f;
    (void)backlog;
    return -EOPNOTSUPP;
}

static int netlink_accept(struct file *f, struct file **out)
{
    (void)f;
    (void)out;
    return -EOPNOTSUPP;
}

static int netlink_shutdown(struct file *f, int how)
{
    (void)f;
    (void)how;
    return -EOPNOTSUPP;
}

#define SOL_NETLINK_N 270
/* NETLINK_EXT_ACK is kept, though there are no texts to add. */
#define NETLINK_FLAGS (1ull << NETLINK_EXT_ACK | 1ull << NETLINK_NO_ENOBUFS)

static int netlink_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    struct netlink *nl = netlink_of(f);
    int v;
    if (level == SOL_SOCKET_N && is_timeout_option(name))
        return timeout_option_set(is_recv_timeout(name) ? &nl->rcv_timeout : &nl->snd_timeout, val,
                                  len);
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    if (level == SOL_NETLINK_N && name >= 0 && name < 64 && NETLINK_FLAGS >> name & 1) {
        nl->flag_options = (nl->flag_options & ~(1ull << name)) | (uint64_t) !!v << name;
        return 0;
    }
    if (level == SOL_NETLINK_N &&
        (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP))
        return change_membership(nl, v, name == NETLINK_ADD_MEMBERSHIP);
    uint32_t twice = (uint32_t)MAX(MIN(v, 1 << 21), 2304) * 2;
    if (level == SOL_SOCKET_N && (name == 7 || name == 32)) /* SO_SNDBUF, SO_SNDBUFFORCE */
        nl->sndbuf = twice;
    else if (level == SOL_SOCKET_N && (name == 8 || name == 33)) /* SO_RCVBUF, SO_RCVBUFFORCE */
        nl->rcvbuf = twice;
    else
        return -ENOPROTOOPT;
    return 0;
}

static int socket_level(const struct netlink *nl, int name, int *v)
{
    switch (name) {
    case 3: /* SO_TYPE */
        *v = nl->type;
        return 0;
    case 4: /* SO_ERROR */
        *v = 0;
        return 0;
    case 7:
        *v = (int)nl->sndbuf;
        return 0;
    case 8:
        *v = (int)nl->rcvbuf;
        return 0;
    case 38: /* SO_PROTOCOL */
        *v = (int)nl->proto;
        return 0;
    case 39: /* SO_DOMAIN */
        *v = AF_NETLINK_N;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int netlink_getopt(struct file *f, int level, int name, void *val, uint32_t *len)
{
    struct netlink *nl = netlink_of(f);
    int v, err = -ENOPROTOOPT;
    if (level == SOL_SOCKET_N && is_timeout_option(name))
        return timeout_option_get(is_recv_timeout(name) ? nl->rcv_timeout : nl->snd_timeout, val,
                                  len);
    if (level == SOL_NETLINK_N && name == NETLINK_LIST_MEMBERSHIPS) {
        memcpy(val, &nl->groups, MIN(*len, (uint32_t)sizeof(nl->groups)));
        *len = sizeof(nl->groups);
        return 0;
    }
    if (level == SOL_SOCKET_N)
        err = socket_level(nl, name, &v);
    else if (level == SOL_NETLINK_N && name >= 0 && name < 64 && NETLINK_FLAGS >> name & 1)
        v = (int)(nl->flag_options >> name & 1), err = 0;
    if (err)
        return err;
    *len = MIN(*len, (uint32_t)sizeof(v));
    memcpy(val, &v, *len);
    return 0;
}

static unsigned netlink_poll(struct file *f, struct poll_table *pt)
{
    struct netlink *nl = netlink_of(f);
    poll_register(pt, &nl->wait);
    return POLL_OUT | POLL_WRNORM | (list_empty(&nl->queue) ? 0 : POLL_IN | POLL_RDNORM) |
           (nl->overrun ? POLL_ERR : 0);
}

static long netlink_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)f;
    (void)user;
    return netdev_ioctl(cmd, arg);
}

static void netlink_release(struct file *f)
{
    struct answer *a;
    change_groups(netlink_of(f), UINT64_MAX, 0);
    mutex_lock(&all_lock);
    list_remove(&netlink_of(f)->link);
    mutex_unlock(&all_lock);
    while ((a = take_answer(netlink_of(f), false)))
        kfree(a);
    kfree(f->data);
}

static void netlink_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "socket:[%lu]", (unsigned long)object_ino(f->data));
}

void netlink_for_each(void (*fn)(const struct netlink *nl, uint32_t port, unsigned proto,
                                 void *arg),
                      void *arg)
{
    struct netlink *nl;
    mutex_lock(&all_lock);
    list_for_each (nl, &all, link)
        fn(nl, nl->port, nl->proto, arg);
    mutex_unlock(&all_lock);
}

void netlink_init(void)
{
    mutex_init(&all_lock);
}

const struct file_ops netlink_file_ops = {
    .name = "netlink",
    .mode = MODE_SOCK | 0777,
    .read = netlink_read,
    .write = netlink_write,
    .poll = netlink_poll,
    .ioctl = netlink_ioctl,
    .release = netlink_release,
    .describe = netlink_describe,
};

const struct sock_ops netlink_sock_ops = {
    .family = AF_NETLINK_N,
    .bind = netlink_bind,
    .connect = netlink_connect,
    .listen = netlink_listen,
    .accept = netlink_accept,
    .name = netlink_name,
    .send = netlink_send,
    .recv = netlink_recv,
    .shutdown = netlink_shutdown,
    .setopt = netlink_setopt,
    .getopt = netlink_getopt,
};

int netlink_socket_create(int type, int proto, struct file **out)
{
    if (type != SOCK_RAW_N && type != SOCK_DGRAM_N)
        return -ESOCKTNOSUPPORT;
    if (proto < 0 || proto >= 32 || (proto != NETLINK_ROUTE && proto != NETLINK_SOCK_DIAG))
        return -EPROTONOSUPPORT;
    struct netlink *nl = kzalloc(sizeof(*nl));
    if (!nl)
        return -ENOMEM;
    spin_init(&nl->lock);
    list_init(&nl->queue);
    wait_queue_init(&nl->wait);
    nl->proto = (unsigned)proto;
    nl->type = (uint8_t)type;
    nl->sndbuf = nl->rcvbuf = net_tunables.rmem_default;
    struct file *f = file_alloc(&netlink_file_ops, nl, OPEN_RDWR);
    if (IS_ERR(f)) {
        kfree(nl);
        return (int)PTR_ERR(f);
    }
    mutex_lock(&all_lock);
    list_push_back(&all, &nl->link);
    mutex_unlock(&all_lock);
    *out = f;
    return 0;
}
