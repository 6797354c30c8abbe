/*
 * NETLINK_ROUTE sockets, as far as programs ask for what there is: dumps of interfaces and
 * addresses (getifaddrs, getaddrinfo). Everything else is answered with EOPNOTSUPP; there are no
 * notifications.
 */
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "core/mem.h"
#include "linux/process.h"
#include "linux/sock.h"
#include "net/ip.h"
#include "net/socket.h"

#define QUEUE_MAX 256 /* answers that nobody reads */
#define REQUEST_MAX 4096u

/* Each answer is a datagram of one message: no reader's buffer is too small for it. */
struct answer {
    struct list link;
    size_t len;
    uint8_t data[];
};

struct netlink {
    spinlock_t lock;
    struct list queue;
    unsigned queued;
    bool overrun; /* ENOBUFS is due */
    uint32_t port;
    struct wait_queue wait;
};

static struct netlink *netlink_of(const struct file *f)
{
    return f->data;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* A message being written; attributes that do not fit are a mistake of ours. */
struct message {
    struct netlink *to;
    const struct nlmsghdr *request;
    size_t len;
    uint8_t data[512] __attribute__((aligned(NLMSG_ALIGNTO)));
};

static void *message_begin(struct message *m, unsigned type, unsigned flags, size_t body)
{
    memset(m->data, 0, sizeof(m->data));
    struct nlmsghdr *h = (void *)m->data;
    h->nlmsg_type = (uint16_t)type;
    h->nlmsg_flags = (uint16_t)flags;
    h->nlmsg_seq = m->request->nlmsg_seq;
    h->nlmsg_pid = m->to->port;
    m->len = NLMSG_HDRLEN + NLMSG_ALIGN(body);
    return m->data + NLMSG_HDRLEN;
}

static void message_attr(struct message *m, unsigned type, const void *data, size_t len)
{
    struct rtattr *a = (void *)(m->data + m->len);
    ASSERT(m->len + RTA_SPACE(len) <= sizeof(m->data));
    a->rta_type = (uint16_t)type;
    a->rta_len = (uint16_t)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), data, len);
    m->len += RTA_SPACE(len);
}

static void message_send(struct message *m)
{
    ((struct nlmsghdr *)(void *)m->data)->nlmsg_len = (uint32_t)m->len;
    struct answer *a = kmalloc(sizeof(*a) + m->len);
    if (a) {
        a->len = m->len;
        memcpy(a->data, m->data, m->len);
    }
    spin_lock(&m->to->lock);
    if (a && m->to->queued < QUEUE_MAX) {
        list_push_back(&m->to->queue, &a->link);
        m->to->queued++;
        a = NULL;
    } else {
        m->to->overrun = true;
    }
    spin_unlock(&m->to->lock);
    kfree(a);
}

static void send_error(struct netlink *nl, const struct nlmsghdr *request, int err)
{
    struct message m = {.to = nl, .request = request};
    struct nlmsgerr *e = message_begin(&m, NLMSG_ERROR, 0, sizeof(*e));
    e->error = err;
    e->msg = *request;
    message_send(&m);
}

static bool add_link(struct netif *n, void *arg)
{
    struct message *m = arg;
    struct ifinfomsg *i = message_begin(m, RTM_NEWLINK, NLM_F_MULTI, sizeof(*i));
    uint32_t mtu = n->mtu;
    static const uint8_t everybody[MAC_LEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t nobody[MAC_LEN];
    bool loopback = n->flags & NETIF_LOOPBACK;
    i->ifi_type = loopback ? 772 /* ARPHRD_LOOPBACK */ : 1 /* ARPHRD_ETHER */;
    i->ifi_index = n->index;
    i->ifi_flags = n->flags;
    message_attr(m, IFLA_IFNAME, n->name, strlen(n->name) + 1);
    message_attr(m, IFLA_MTU, &mtu, sizeof(mtu));
    message_attr(m, IFLA_ADDRESS, n->mac, MAC_LEN);
    message_attr(m, IFLA_BROADCAST, loopback ? nobody : everybody, MAC_LEN);
    message_send(m);
    return true;
}

struct address_walk {
    struct message m;
    struct netif *netif;
    unsigned family; /* wanted; AF_UNSPEC: all */
};

static bool add_address(const struct netif_addr *a, void *arg)
{
    struct address_walk *w = arg;
    struct netif *n = w->netif;
    bool v4 = ip_is_v4(&a->addr);
    if (w->family != AF_UNSPEC_N && w->family != (v4 ? AF_INET_N : AF_INET6_N))
        return true;
    struct ifaddrmsg *i = message_begin(&w->m, RTM_NEWADDR, NLM_F_MULTI, sizeof(*i));
    i->ifa_family = v4 ? AF_INET_N : AF_INET6_N;
    i->ifa_prefixlen = a->prefix;
    i->ifa_flags = a->origin == ADDR_STATIC || a->origin == ADDR_LINK_LOCAL ? IFA_F_PERMANENT : 0;
    i->ifa_scope = n->flags & NETIF_LOOPBACK    ? RT_SCOPE_HOST
                   : ip_is_link_local(&a->addr) ? RT_SCOPE_LINK
                                                : RT_SCOPE_UNIVERSE;
    i->ifa_index = (uint32_t)n->index;
    const void *bytes = v4 ? (const void *)&a->addr.w[3] : (const void *)&a->addr;
    size_t len = v4 ? 4 : 16;
    message_attr(&w->m, IFA_ADDRESS, bytes, len);
    if (v4) {
        uint32_t host = a->prefix ? ~__builtin_bswap32(~0u << (32 - MIN(a->prefix, 32))) : ~0u;
        uint32_t broadcast = ip_v4(&a->addr) | host;
        message_attr(&w->m, IFA_LOCAL, bytes, len);
        if (n->flags & NETIF_BROADCAST)
            message_attr(&w->m, IFA_BROADCAST, &broadcast, sizeof(broadcast));
        message_attr(&w->m, IFA_LABEL, n->name, strlen(n->name) + 1);
    }
    message_send(&w->m);
    return true;
}

static bool add_addresses(struct netif *n, void *arg)
{
    struct address_walk *w = arg;
    w->netif = n;
    netif_for_each_addr(n, add_address, w);
    return true;
}

static void send_done(struct netlink *nl, const struct nlmsghdr *request)
{
    struct message m = {.to = nl, .request = request};
    message_begin(&m, NLMSG_DONE, NLM_F_MULTI, sizeof(int)); /* the result: 0 */
    message_send(&m);
}

static void answer_request(struct netlink *nl, const struct nlmsghdr *h)
{
    const struct rtgenmsg *g = NLMSG_DATA(h);
    bool dump = (h->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (h->nlmsg_type < NLMSG_MIN_TYPE)
        return; /* NOOP and the like */
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*g))) {
        send_error(nl, h, -EINVAL);
    } else if (dump && h->nlmsg_type == RTM_GETLINK) {
        struct message m = {.to = nl, .request = h};
        netif_for_each(add_link, &m);
        send_done(nl, h);
    } else if (dump && h->nlmsg_type == RTM_GETADDR) {
        struct address_walk w = {.m = {.to = nl, .request = h}, .family = g->rtgen_family};
        netif_for_each(add_addresses, &w);
        send_done(nl, h);
    } else {
        send_error(nl, h, -EOPNOTSUPP);
    }
}

/* --- operations ------------------------------------------------------------------------------- */

static ssize_t netlink_send(struct file *f, struct sock_msg *m)
{
    struct netlink *nl = netlink_of(f);
    size_t len = m->uio->resid;
    if (len > REQUEST_MAX)
        return -EMSGSIZE;
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
    spin_lock(&nl->lock);
    struct answer *a = list_empty(&nl->queue) ? NULL : list_first(&nl->queue, struct answer, link);
    if (a && !peek) {
        list_remove(&a->link);
        nl->queued--;
    }
    spin_unlock(&nl->lock);
    return a;
}

static ssize_t netlink_recv(struct file *f, struct sock_msg *m)
{
    struct netlink *nl = netlink_of(f);
    /* A peeked answer stays in the queue: two readers of one socket at once get what they deserve,
     * so it is copied while it cannot be freed: only a reader frees, under pos_lock. */
    bool peek = m->flags & SOCK_MSG_PEEK;
    struct answer *a;
    mutex_lock(&f->pos_lock);
    while (!(a = take_answer(nl, peek))) {
        mutex_unlock(&f->pos_lock);
        if (nl->overrun) {
            nl->overrun = false;
            return -ENOBUFS;
        }
        if (m->flags & SOCK_MSG_DONTWAIT)
            return -EAGAIN;
        int err = wait_event_interruptible(&nl->wait, !list_empty(&nl->queue));
        if (err)
            return err;
        mutex_lock(&f->pos_lock);
    }
    size_t n = MIN(a->len, m->uio->resid), len = a->len;
    int err = uio_write(m->uio, a->data, n);
    if (!peek)
        kfree(a);
    mutex_unlock(&f->pos_lock);
    if (n < len)
        m->out_flags |= SOCK_MSG_TRUNC;
    if (m->want_name) {
        struct sockaddr_nl from = {.nl_family = AF_NETLINK_N};
        memcpy(&m->name, &from, sizeof(from));
        m->name_len = sizeof(from);
    }
    return err ? err : (ssize_t)(m->flags & SOCK_MSG_TRUNC ? len : n);
}

static int netlink_bind(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    const struct sockaddr_nl *a = (const void *)addr;
    if (len < sizeof(*a) || addr->family != AF_NETLINK_N)
        return -EINVAL;
    if (a->nl_groups)
        return -EOPNOTSUPP;
    if (a->nl_pid)
        netlink_of(f)->port = a->nl_pid;
    return 0;
}

static int netlink_connect(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    (void)f;
    return len < sizeof(struct sockaddr_nl) || addr->family != AF_NETLINK_N ? -EINVAL : 0;
}

static int netlink_name(struct file *f, struct sockaddr_k *out, uint32_t *len, bool peer)
{
    struct sockaddr_nl a = {.nl_family = AF_NETLINK_N, .nl_pid = peer ? 0 : netlink_of(f)->port};
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

static int netlink_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    (void)f;
    (void)val;
    (void)len;
    /* Buffer sizes: answers are bounded by their number. */
    return level == SOL_SOCKET_N && (name == 7 || name == 8) ? 0 : -ENOPROTOOPT;
}

static int netlink_getopt(struct file *f, int level, int name, void *val, uint32_t *len)
{
    (void)f;
    int v = name == 3 ? SOCK_RAW_N : name == 39 ? AF_NETLINK_N : 0; /* type, domain, error */
    if (level != SOL_SOCKET_N || (name != 3 && name != 4 && name != 39))
        return -ENOPROTOOPT;
    *len = MIN(*len, (uint32_t)sizeof(v));
    memcpy(val, &v, *len);
    return 0;
}

static unsigned netlink_poll(struct file *f, struct poll_table *pt)
{
    struct netlink *nl = netlink_of(f);
    poll_register(pt, &nl->wait);
    return POLL_OUT | POLL_WRNORM | (list_empty(&nl->queue) ? 0 : POLL_IN | POLL_RDNORM);
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
    while ((a = take_answer(netlink_of(f), false)))
        kfree(a);
    kfree(f->data);
}

const struct file_ops netlink_file_ops = {
    .name = "netlink",
    .mode = MODE_SOCK | 0777,
    .poll = netlink_poll,
    .ioctl = netlink_ioctl,
    .release = netlink_release,
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
    static atomic_uint next_port = 0x80000000u;
    if (type != SOCK_RAW_N && type != SOCK_DGRAM_N)
        return -ESOCKTNOSUPPORT;
    if (proto != NETLINK_ROUTE)
        return -EPROTONOSUPPORT;
    struct netlink *nl = kzalloc(sizeof(*nl));
    if (!nl)
        return -ENOMEM;
    spin_init(&nl->lock);
    list_init(&nl->queue);
    wait_queue_init(&nl->wait);
    nl->port = atomic_fetch_add(&next_port, 1);
    struct file *f = file_alloc(&netlink_file_ops, nl, OPEN_RDWR);
    if (IS_ERR(f)) {
        kfree(nl);
        return (int)PTR_ERR(f);
    }
    *out = f;
    return 0;
}
