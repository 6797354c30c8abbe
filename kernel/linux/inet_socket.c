/* Internet sockets as files: addresses and flags translated, the work done by net/socket.h. */
#include <asm/ioctls.h>
#include <linux/sockios.h>

#include "core/mem.h"
#include "linux/process.h"
#include "linux/rw.h"
#include "linux/sock.h"
#include "net/socket.h"

#define CAP_NET_BIND_SERVICE_N 10
#define CAP_NET_RAW_N 13
#define NET_FLAGS                                                                                  \
    (SOCK_MSG_OOB | SOCK_MSG_PEEK | SOCK_MSG_TRUNC | SOCK_MSG_DONTWAIT | SOCK_MSG_WAITALL |        \
     SOCK_MSG_ERRQUEUE | SOCK_MSG_NOSIGNAL | SOCK_MSG_MORE)

struct sockaddr_in_k {
    uint16_t family, port;
    uint32_t addr;
    uint8_t zero[8];
};
struct sockaddr_in6_k {
    uint16_t family, port;
    uint32_t flowinfo;
    uint8_t addr[16];
    uint32_t scope;
};
#define SIN6_LEN_MIN 24u /* without the scope: RFC 2133 */

static inline struct socket *socket_of(const struct file *f)
{
    return f->data;
}

static inline uint16_t swap16(uint16_t v)
{
    return (uint16_t)(v << 8 | v >> 8);
}

/* --- addresses -------------------------------------------------------------------------------- */

static void from_v4(const struct sockaddr_in_k *in, struct sock_addr *out)
{
    *out = (struct sock_addr){.ip = ip_from_v4(in->addr), .port = swap16(in->port)};
}

/* The program's address for this socket's family. any_v4: an AF_INET address may be given to an
 * IPv6 socket (datagrams do that). */
static int addr_in(const struct socket *s, const struct sockaddr_k *a, uint32_t len, bool any_v4,
                   struct sock_addr *out)
{
    if (s->family == 4 || (any_v4 && a->family == AF_INET_N)) {
        if (len < sizeof(struct sockaddr_in_k))
            return -EINVAL;
        if (a->family != AF_INET_N)
            return -EAFNOSUPPORT;
        from_v4((const void *)a, out);
        return 0;
    }
    const struct sockaddr_in6_k *in6 = (const void *)a;
    if (len < SIN6_LEN_MIN)
        return -EINVAL;
    if (a->family != AF_INET6_N)
        return -EAFNOSUPPORT;
    *out = (struct sock_addr){.port = swap16(in6->port),
                              .scope = len >= sizeof(*in6) ? in6->scope : 0};
    memcpy(&out->ip, in6->addr, 16);
    return 0;
}

static uint32_t addr_out(const struct socket *s, const struct sock_addr *a, struct sockaddr_k *out)
{
    if (s->family == 4) {
        struct sockaddr_in_k in = {AF_INET_N, swap16(a->port), ip_v4(&a->ip), {0}};
        memcpy(out, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6_k in6 = {.family = AF_INET6_N, .port = swap16(a->port)};
    memcpy(in6.addr, &a->ip, 16);
    if (ip_is_link_local(&a->ip))
        in6.scope = a->scope;
    memcpy(out, &in6, sizeof(in6));
    return sizeof(in6);
}

static int inet_bind(struct file *f, const struct sockaddr_k *a, uint32_t len)
{
    struct socket *s = socket_of(f);
    struct sock_addr addr;
    struct sockaddr_k fixed;
    if (s->family == 4 && a->family == AF_UNSPEC_N && len >= sizeof(struct sockaddr_in_k) &&
        !((const struct sockaddr_in_k *)(const void *)a)->addr) {
        fixed = *a; /* the wildcard with an unset family: programs of old do that */
        fixed.family = AF_INET_N;
        a = &fixed;
    }
    int err = addr_in(s, a, len, false, &addr);
    if (err)
        return err;
    if (addr.port && addr.port < net_tunables.unprivileged_port_start && s->type != SOCK_RAW_N &&
        !capable(CAP_NET_BIND_SERVICE_N))
        return -EACCES;
    return s->ops->bind(s, &addr);
}

static int inet_connect(struct file *f, const struct sockaddr_k *a, uint32_t len)
{
    struct socket *s = socket_of(f);
    struct sock_addr addr;
    if (a->family == AF_UNSPEC_N)
        return s->ops->disconnect ? s->ops->disconnect(s) : -EINVAL;
    int err = addr_in(s, a, len, s->type != SOCK_STREAM_N, &addr);
    return err ? err : s->ops->connect(s, &addr, f->flags & OPEN_NONBLOCK);
}

static int inet_listen(struct file *f, int backlog)
{
    struct socket *s = socket_of(f);
    return s->ops->listen ? s->ops->listen(s, backlog) : -EOPNOTSUPP;
}

static int inet_file(struct socket *s, struct file **out)
{
    struct file *f = file_alloc(&inet_file_ops, s, OPEN_RDWR);
    if (IS_ERR(f)) {
        s->ops->close(s);
        return (int)PTR_ERR(f);
    }
    s->owner = f;
    *out = f;
    return 0;
}

static int inet_accept(struct file *f, struct file **out)
{
    struct socket *s = socket_of(f), *new;
    if (!s->ops->accept)
        return -EOPNOTSUPP;
    int err = s->ops->accept(s, &new, f->flags & OPEN_NONBLOCK);
    return err ? err : inet_file(new, out);
}

static int inet_name(struct file *f, struct sockaddr_k *out, uint32_t *len, bool peer)
{
    struct socket *s = socket_of(f);
    if (peer && !s->peer.port && s->type != SOCK_RAW_N)
        return -ENOTCONN;
    *len = addr_out(s, peer ? &s->peer : &s->local, out);
    return 0;
}

/* --- data ------------------------------------------------------------------------------------- */

static ssize_t sent(const struct socket *s, ssize_t n, unsigned flags)
{
    if (unlikely(n == -EPIPE) && s->type == SOCK_STREAM_N && !(flags & SOCK_MSG_NOSIGNAL))
        return broken_pipe();
    return n;
}

static ssize_t inet_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct socket *s = socket_of(f);
    return sent(s, s->ops->send(s, u, NULL, f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0), 0);
}

static ssize_t inet_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct socket *s = socket_of(f);
    struct sock_recv_info info;
    info.flags = 0;
    return s->ops->recv(s, u, &info, f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0);
}

#define IP_TOS_N 1
#define IP_TTL_N 2
#define IP_RECVOPTS_N 6
#define IP_RETOPTS_N 7
#define IP_PKTINFO_N 8
#define IPV6_PKTINFO_N 50
#define IPV6_HOPLIMIT_N 52
#define IPV6_TCLASS_N 67
#define IP_RECVERR_N 11
#define IP_ORIGDSTADDR_N 20
#define IPV6_RECVERR_N 25
#define IPV6_ORIGDSTADDR_N 74
#define SO_TIMESTAMP_N 29
#define SO_TIMESTAMPNS_N 35
#define SO_RXQ_OVFL_N 40
#define SOL_UDP_N 17
#define UDP_SEGMENT_N 103
#define UDP_GRO_N 104

struct in_pktinfo_k {
    int32_t ifindex;
    uint32_t spec_dst, addr;
};
struct in6_pktinfo_k {
    uint8_t addr[16];
    int32_t ifindex;
};

static int cmsg_int(const struct cmsg_head *h, int *out)
{
    size_t len = h->len - sizeof(*h);
    if (len == 1)
        *out = *(const uint8_t *)(h + 1);
    else if (len >= sizeof(int))
        memcpy(out, h + 1, sizeof(int));
    else
        return -EINVAL;
    return 0;
}

static int send_info_one(const struct cmsg_head *h, struct sock_send_info *info)
{
    size_t len = h->len - sizeof(*h);
    if (h->level == 0 && h->type == IP_PKTINFO_N && len >= sizeof(struct in_pktinfo_k)) {
        const struct in_pktinfo_k *p = (const void *)(h + 1);
        info->ifindex = p->ifindex;
        if (p->spec_dst)
            info->local = ip_from_v4(p->spec_dst);
        return 0;
    }
    if (h->level == 41 && h->type == IPV6_PKTINFO_N && len >= sizeof(struct in6_pktinfo_k)) {
        const struct in6_pktinfo_k *p = (const void *)(h + 1);
        info->ifindex = p->ifindex;
        memcpy(&info->local, p->addr, 16);
        return 0;
    }
    if ((h->level == 0 && h->type == IP_TOS_N) || (h->level == 41 && h->type == IPV6_TCLASS_N))
        return cmsg_int(h, &info->tos);
    if (h->level == 0 && h->type == IP_TTL_N) {
        int err = cmsg_int(h, &info->ttl);
        return err || (info->ttl > 0 && info->ttl <= 255) ? err : -EINVAL;
    }
    if (h->level == 41 && h->type == IPV6_HOPLIMIT_N) {
        int err = cmsg_int(h, &info->ttl);
        return err || (info->ttl >= -1 && info->ttl <= 255) ? err : -EINVAL;
    }
    return -EINVAL;
}

/* UDP_SEGMENT: exactly a 16-bit number. */
static int send_segment(const struct cmsg_head *h, struct sock_send_info *info)
{
    uint16_t v;
    if (h->type != UDP_SEGMENT_N || h->len != sizeof(*h) + sizeof(v))
        return -EINVAL;
    memcpy(&v, h + 1, sizeof(v));
    info->segment = v;
    return 0;
}

static int send_info(const struct cmsg_in *c, struct sock_send_info *info)
{
    *info = (struct sock_send_info){.tos = -1, .ttl = -1, .segment = -1};
    size_t pos = 0;
    int err = 0;
    const struct cmsg_head *h;
    while (!err && (h = cmsg_next(c, &pos, &err)))
        if (h->level == 0 || h->level == 41)
            err = send_info_one(h, info);
        else if (h->level == SOL_UDP_N)
            err = send_segment(h, info);
    return err;
}

/* MSG_ZEROCOPY asks for no copy, and wants to be told when the memory may be used again. The data
 * is copied all the same, so that is at once: the send gets its number. */
static ssize_t count_zerocopy(struct socket *s, ssize_t n)
{
    if (n < 0)
        return n;
    spin_lock_bh(&s->lock);
    s->zc_next++;
    spin_unlock_bh(&s->lock);
    wake_up_key(&s->wait, POLL_ERR);
    return n;
}

/* The sends that nobody has been told of, as one range; false: there are none. */
static bool take_zerocopy(struct socket *s, struct sock_error *e)
{
    spin_lock_bh(&s->lock);
    bool any = s->zc_untold != s->zc_next;
    *e = (struct sock_error){.origin = ERROR_ZEROCOPY,
                             .code = 1, /* SO_EE_CODE_ZEROCOPY_COPIED */
                             .info = s->zc_untold,
                             .data = s->zc_next - 1};
    s->zc_untold = s->zc_next;
    spin_unlock_bh(&s->lock);
    return any;
}

static ssize_t do_send(struct socket *s, struct sock_msg *m)
{
    struct sock_addr to, *top = NULL;
    unsigned flags = m->flags & NET_FLAGS;
    if (m->name_len && s->type != SOCK_STREAM_N) {
        if (m->name_len < 2)
            return -EINVAL;
        int err = addr_in(s, &m->name, m->name_len, true, &to);
        if (err)
            return err;
        top = &to;
    }
    if (m->control.len && s->ops->send_info) {
        struct sock_send_info info;
        int err = send_info(&m->control, &info);
        return err ? err : sent(s, s->ops->send_info(s, m->uio, top, &info, flags), flags);
    }
    return sent(s, s->ops->send(s, m->uio, top, flags), flags);
}

static ssize_t inet_send(struct file *f, struct sock_msg *m)
{
    struct socket *s = socket_of(f);
    ssize_t n = do_send(s, m);
    return unlikely(m->flags & MSG_ZEROCOPY_N && s->zerocopy) ? count_zerocopy(s, n) : n;
}

int put_timestamp(struct sock_msg *m, const struct socket *s, const struct sock_recv_info *info)
{
    int64_t sec = info->realtime / NSEC_PER_SEC, nsec = info->realtime % NSEC_PER_SEC;
    int64_t ts[2] = {sec, nsec}, tv[2] = {sec, nsec / NSEC_PER_USEC};
    if (!s->timestamp)
        return 0;
    return s->timestamp_ns ? cmsg_put(m, SOL_SOCKET_N, SO_TIMESTAMPNS_N, ts, sizeof(ts))
                           : cmsg_put(m, SOL_SOCKET_N, SO_TIMESTAMP_N, tv, sizeof(tv));
}

/* Ancillary data of a received datagram, as asked for by socket options. */
static int put_recv_info(struct sock_msg *m, const struct socket *s,
                         const struct sock_recv_info *info)
{
    int err = put_timestamp(m, s, info);
    if (!err && s->pktinfo && s->family == 4) {
        struct in_pktinfo_k p = {info->ifindex, ip_v4(&info->local), ip_v4(&info->local)};
        err = cmsg_put(m, 0, IP_PKTINFO_N, &p, sizeof(p));
    } else if (!err && s->pktinfo) {
        struct in6_pktinfo_k p = {.ifindex = info->ifindex};
        memcpy(p.addr, &info->local, 16);
        err = cmsg_put(m, 41, IPV6_PKTINFO_N, &p, sizeof(p));
    }
    int ttl = info->ttl, tos = info->tos;
    if (!err && s->recv_ttl)
        err = s->family == 4 ? cmsg_put(m, 0, IP_TTL_N, &ttl, sizeof(ttl))
                             : cmsg_put(m, 41, IPV6_HOPLIMIT_N, &ttl, sizeof(ttl));
    if (!err && s->recv_tos)
        err = s->family == 4 ? cmsg_put(m, 0, IP_TOS_N, &info->tos, 1)
                             : cmsg_put(m, 41, IPV6_TCLASS_N, &tos, sizeof(tos));
    if (!err && s->recv_origdst) {
        struct sock_addr to = {.ip = info->local, .port = info->local_port};
        struct sockaddr_k a;
        uint32_t len = addr_out(s, &to, &a);
        err = s->family == 4 ? cmsg_put(m, 0, IP_ORIGDSTADDR_N, &a, len)
                             : cmsg_put(m, 41, IPV6_ORIGDSTADDR_N, &a, len);
    }
    if (!err && s->recv_opts && info->options_len)
        err = cmsg_put(m, 0, IP_RECVOPTS_N, info->options, info->options_len);
    if (!err && s->ret_opts && info->options_len)
        err = cmsg_put(m, 0, IP_RETOPTS_N, info->options, info->options_len);
    int segment = info->segment;
    if (!err && segment)
        err = cmsg_put(m, SOL_UDP_N, UDP_GRO_N, &segment, sizeof(segment));
    if (!err && s->rxq_ovfl && info->drops)
        err = cmsg_put(m, SOL_SOCKET_N, SO_RXQ_OVFL_N, &info->drops, sizeof(info->drops));
    return err;
}

/* struct sock_extended_err, and the sockaddr of who reported it. */
static int put_error(struct sock_msg *m, const struct socket *s, const struct sock_error *e)
{
    struct {
        uint32_t err;
        uint8_t origin, type, code, pad;
        uint32_t info, data;
        struct sockaddr_in6_k offender;
    } x = {.err = e->err,
           .origin = e->origin,
           .type = e->type,
           .code = e->code,
           .info = e->info,
           .data = e->data};
    struct sock_addr from = {.ip = e->offender};
    struct sockaddr_k a = {.family = AF_UNSPEC_N};
    uint32_t len = s->family == 4 ? sizeof(struct sockaddr_in_k) : sizeof(x.offender);
    if (e->origin == ERROR_ICMP || e->origin == ERROR_ICMP6)
        addr_out(s, &from, &a);
    else
        memset(&a, 0, len);
    memcpy(&x.offender, &a, len);
    return s->family == 4 ? cmsg_put(m, 0, IP_RECVERR_N, &x, 16 + len)
                          : cmsg_put(m, 41, IPV6_RECVERR_N, &x, 16 + len);
}

static ssize_t inet_recv(struct file *f, struct sock_msg *m)
{
    struct socket *s = socket_of(f);
    struct sock_recv_info info;
    info.flags = 0;
    if (unlikely(m->flags & MSG_ERRQUEUE_N) && take_zerocopy(s, &info.error)) {
        m->out_flags |= MSG_ERRQUEUE_N;
        return put_error(m, s, &info.error);
    }
    if (unlikely(m->flags & MSG_ERRQUEUE_N) && s->type == SOCK_STREAM_N)
        return -EAGAIN; /* nothing else is queued there */
    ssize_t n = s->ops->recv(s, m->uio, &info, m->flags & NET_FLAGS);
    if (n < 0 || likely(s->type == SOCK_STREAM_N))
        return n;
    m->out_flags |= info.flags;
    if (m->want_name)
        m->name_len = addr_out(s, &info.from, &m->name);
    if (m->control_room) {
        int err = info.flags & SOCK_MSG_ERRQUEUE ? put_error(m, s, &info.error)
                                                 : put_recv_info(m, s, &info);
        if (err)
            return err;
    }
    return n;
}

static ssize_t inet_sendpages(struct file *f, const struct page_part *parts, unsigned n, bool more,
                              bool nonblock)
{
    struct socket *s = socket_of(f);
    unsigned flags =
        (more ? SOCK_MSG_MORE : 0) | (nonblock || f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0);
    if (!s->ops->sendpages)
        return -EOPNOTSUPP;
    return sent(s, s->ops->sendpages(s, parts, n, flags), 0);
}

static unsigned inet_poll(struct file *f, struct poll_table *pt)
{
    struct socket *s = socket_of(f);
    poll_register(pt, &s->wait);
    return s->ops->poll(s) | (READ_ONCE(s->zc_untold) != READ_ONCE(s->zc_next) ? POLL_ERR : 0);
}

/* --- control ---------------------------------------------------------------------------------- */

static int inet_shutdown(struct file *f, int how)
{
    struct socket *s = socket_of(f);
    return s->ops->shutdown(s, how);
}

static int inet_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    struct socket *s = socket_of(f);
    int err;
    if (level == SOL_SOCKET_N && filter_option_set(s, name, val, len, &err))
        return err;
    if (level == SOL_SOCKET_N && is_timeout_option(name))
        return timeout_option_set(is_recv_timeout(name) ? &s->rcv_timeout : &s->snd_timeout, val,
                                  len);
    return socket_setopt(s, level, name, val, len);
}

static int inet_getopt(struct file *f, int level, int name, void *val, uint32_t *len)
{
    struct socket *s = socket_of(f);
    if (level == SOL_SOCKET_N && is_timeout_option(name))
        return timeout_option_get(is_recv_timeout(name) ? s->rcv_timeout : s->snd_timeout, val,
                                  len);
    return socket_getopt(s, level, name, val, len);
}

static long inet_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    struct socket *s = socket_of(f);
    int value = 0;
    if (cmd != SIOCINQ && cmd != SIOCOUTQ && cmd != SIOCATMARK)
        return netdev_ioctl(cmd, arg);
    int err = s->ops->ioctl ? s->ops->ioctl(s, cmd, &value) : -ENOTTY;
    return err ? err : copy_to_user(arg, &value, sizeof(value));
}

static void inet_release(struct file *f)
{
    struct socket *s = socket_of(f);
    s->owner = NULL;
    s->ops->close(s);
}

static void inet_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "socket:[%lu]", (unsigned long)object_ino(f->data));
}

const struct file_ops inet_file_ops = {
    .name = "socket",
    .mode = MODE_SOCK | 0777,
    .read = inet_read,
    .write = inet_write,
    .poll = inet_poll,
    .ioctl = inet_ioctl,
    .sendpages = inet_sendpages,
    .release = inet_release,
    .describe = inet_describe,
};

const struct sock_ops inet_sock_ops = {
    .family = AF_INET_N,
    .bind = inet_bind,
    .connect = inet_connect,
    .listen = inet_listen,
    .accept = inet_accept,
    .name = inet_name,
    .send = inet_send,
    .recv = inet_recv,
    .shutdown = inet_shutdown,
    .setopt = inet_setopt,
    .getopt = inet_getopt,
};

int inet_socket_create(int family, int type, int proto, struct file **out)
{
    struct socket *s;
    if (type == SOCK_RAW_N && !capable(CAP_NET_RAW_N))
        return -EPERM;
    int err = socket_create(family == AF_INET_N ? 4 : 6, type, proto, &s);
    if (err)
        return err;
    s->uid = current_cred()->fsuid;
    return inet_file(s, out);
}
