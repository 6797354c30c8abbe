/* The socket system calls: arguments fetched and checked, then the family's operations. */
#include "linux/sock.h"
#include "core/mem.h"
#include "core/timer.h"
#include "linux/clock.h"
#include "linux/process.h"
#include "linux/syscall.h"
#include "net/socket.h"

#define SOCK_NONBLOCK_FLAG OPEN_NONBLOCK
#define SOCK_CLOEXEC_FLAG OPEN_CLOEXEC
#define SOCK_TYPE_MASK 0xf
#define CONTROL_MAX 20480u /* net.core.optmem_max */
#define OPTION_MAX 512u

static const struct sock_ops *sock_of(const struct file *f)
{
    if (likely(f->ops == &inet_file_ops))
        return &inet_sock_ops;
    if (f->ops == &unix_file_ops)
        return &unix_sock_ops;
    if (f->ops == &packet_file_ops)
        return &packet_sock_ops;
    return f->ops == &netlink_file_ops ? &netlink_sock_ops : NULL;
}

/* The socket behind a descriptor: file and operations, or the error. */
struct sock_hold {
    struct fd_hold h;
    const struct sock_ops *ops;
    int err;
};

static struct sock_hold sock_hold(int fd)
{
    struct sock_hold s = {.h = fd_hold(fd)};
    if (!s.h.file) {
        s.err = -EBADF;
        return s;
    }
    s.ops = sock_of(s.h.file);
    if (!s.ops) {
        fd_drop(s.h);
        s.err = -ENOTSOCK;
    }
    return s;
}

int sock_interrupted(struct file *f, int timeout)
{
    const struct sock_ops *ops = sock_of(f);
    struct timeval_k set = {0, 0};
    uint32_t len = sizeof(set);
    if (ops)
        ops->getopt(f, SOL_SOCKET_N, timeout, &set, &len);
    return set.sec || set.usec ? -EINTR : -ERESTARTSYS;
}

/* --- addresses -------------------------------------------------------------------------------- */

static int addr_fetch(struct sockaddr_k *to, uaddr_t from, int len)
{
    if (len < 0 || len > SOCKADDR_MAX)
        return -EINVAL;
    if (len == 0)
        return 0;
    return copy_from_user(to, from, (size_t)len);
}

/* Writes as much as fits and tells the true length. */
static int addr_put(uaddr_t to, uaddr_t to_len, const struct sockaddr_k *addr, uint32_t len)
{
    int room;
    if (copy_from_user(&room, to_len, sizeof(room)))
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    if (len && copy_to_user(to, addr, MIN((size_t)room, (size_t)len)))
        return -EFAULT;
    return copy_to_user(to_len, &len, sizeof(len));
}

/* --- making and connecting -------------------------------------------------------------------- */

static int socket_make(int family, int type, int proto, struct file **out)
{
    if (type < 0 || type > 10)
        return -EINVAL;
    switch (family) {
    case AF_UNIX_N:
        return unix_socket_create(type, proto, out);
    case AF_INET_N:
    case AF_INET6_N:
        return inet_socket_create(family, type, proto, out);
    case AF_NETLINK_N:
        return netlink_socket_create(type, proto, out);
    case AF_PACKET_N:
        return packet_file_create(type, proto, out);
    default:
        return -EAFNOSUPPORT;
    }
}

static int install_socket(struct file *f, unsigned flags)
{
    if (flags & SOCK_NONBLOCK_FLAG)
        f->flags |= OPEN_NONBLOCK;
    int fd = fd_install(f, 0, flags & SOCK_CLOEXEC_FLAG);
    if (fd < 0)
        file_put(f);
    return fd;
}

long sys_socket(int family, int type, int proto)
{
    unsigned flags = (unsigned)type & ~SOCK_TYPE_MASK;
    if (flags & ~(SOCK_NONBLOCK_FLAG | SOCK_CLOEXEC_FLAG))
        return -EINVAL;
    struct file *f;
    int err = socket_make(family, type & SOCK_TYPE_MASK, proto, &f);
    return err ? err : install_socket(f, flags);
}

long sys_socketpair(int family, int type, int proto, uaddr_t fds)
{
    unsigned flags = (unsigned)type & ~SOCK_TYPE_MASK;
    if (flags & ~(SOCK_NONBLOCK_FLAG | SOCK_CLOEXEC_FLAG))
        return -EINVAL;
    if (family != AF_UNIX_N)
        return family == AF_INET_N || family == AF_INET6_N ? -EOPNOTSUPP : -EAFNOSUPPORT;
    struct file *f[2];
    int err = unix_socket_pair(type & SOCK_TYPE_MASK, proto, f);
    if (err)
        return err;
    int fd[2];
    fd[0] = install_socket(f[0], flags);
    if (fd[0] < 0) {
        file_put(f[1]);
        return fd[0];
    }
    fd[1] = install_socket(f[1], flags);
    err = fd[1] < 0 ? fd[1] : copy_to_user(fds, fd, sizeof(fd));
    if (err) {
        fd_close(fd[0]);
        if (fd[1] >= 0)
            fd_close(fd[1]);
    }
    return err;
}

long sys_bind(int fd, uaddr_t uaddr, int len)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    struct sockaddr_k addr;
    int err = addr_fetch(&addr, uaddr, len);
    if (!err)
        err = len < 2 ? -EINVAL : s.ops->bind(s.h.file, &addr, (uint32_t)len);
    fd_drop(s.h);
    return err;
}

long sys_connect(int fd, uaddr_t uaddr, int len)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    struct sockaddr_k addr;
    int err = addr_fetch(&addr, uaddr, len);
    if (!err)
        err = len < 2 ? -EINVAL : s.ops->connect(s.h.file, &addr, (uint32_t)len);
    err = (int)sock_result(s.h.file, err, SO_SNDTIMEO_NEW_N);
    fd_drop(s.h);
    return err;
}

long sys_listen(int fd, int backlog)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    int err = s.ops->listen(s.h.file, MIN((unsigned)backlog, net_tunables.somaxconn));
    fd_drop(s.h);
    return err;
}

long sys_accept4(int fd, uaddr_t uaddr, uaddr_t ulen, int flags)
{
    if ((unsigned)flags & ~(SOCK_NONBLOCK_FLAG | SOCK_CLOEXEC_FLAG))
        return -EINVAL;
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    /* The descriptor first: a connection must not be lost for want of one. */
    int new = fd_reserve(0, (unsigned)flags & SOCK_CLOEXEC_FLAG);
    struct file *f = NULL;
    int err = new < 0 ? new : s.ops->accept(s.h.file, &f);
    err = (int)sock_result(s.h.file, err, SO_RCVTIMEO_NEW_N);
    fd_drop(s.h);
    if (!err && uaddr) {
        struct sockaddr_k addr;
        uint32_t len = 0;
        err = s.ops->name(f, &addr, &len, true);
        err = err ? -ECONNABORTED : addr_put(uaddr, ulen, &addr, len);
    }
    if (err) {
        if (f)
            file_put(f);
        if (new >= 0)
            fd_unreserve(new);
        return err;
    }
    if ((unsigned)flags & SOCK_NONBLOCK_FLAG)
        f->flags |= OPEN_NONBLOCK;
    fd_commit(new, f);
    return new;
}

long sys_accept(int fd, uaddr_t addr, uaddr_t len)
{
    return sys_accept4(fd, addr, len, 0);
}

long sys_shutdown(int fd, int how)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    int err = how < 0 || how > 2 ? -EINVAL : s.ops->shutdown(s.h.file, how);
    fd_drop(s.h);
    return err;
}

static long socket_name(int fd, uaddr_t uaddr, uaddr_t ulen, bool peer)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    struct sockaddr_k addr;
    uint32_t len = 0;
    int err = s.ops->name(s.h.file, &addr, &len, peer);
    fd_drop(s.h);
    return err ? err : addr_put(uaddr, ulen, &addr, len);
}

long sys_getsockname(int fd, uaddr_t addr, uaddr_t len)
{
    return socket_name(fd, addr, len, false);
}
long sys_getpeername(int fd, uaddr_t addr, uaddr_t len)
{
    return socket_name(fd, addr, len, true);
}

/* --- options ---------------------------------------------------------------------------------- */

int timeout_option_set(nsec_t *timeout, const void *val, uint32_t len)
{
    struct timeval_k tv;
    if (len < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, val, sizeof(tv));
    if (tv.usec < 0 || tv.usec >= 1000000)
        return -EDOM;
    if (tv.sec < 0) /* Linux: as short as can be */
        tv = (struct timeval_k){0, 1};
    *timeout =
        tv.sec > INT64_MAX / NSEC_PER_SEC / 4 ? 0 : tv.sec * NSEC_PER_SEC + tv.usec * NSEC_PER_USEC;
    return 0;
}

int timeout_option_get(nsec_t timeout, void *val, uint32_t *len)
{
    struct timeval_k tv = timeval_of(timeout);
    *len = MIN(*len, (uint32_t)sizeof(tv));
    memcpy(val, &tv, *len);
    return 0;
}

long sys_setsockopt(int fd, int level, int name, uaddr_t uval, int len)
{
    if (len < 0)
        return -EINVAL;
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    uint64_t val[OPTION_MAX / 8];
    size_t n = MIN((size_t)len, sizeof(val));
    int err = copy_from_user(val, uval, n);
    if (!err)
        err = s.ops->setopt(s.h.file, level, name, val, (uint32_t)n);
    fd_drop(s.h);
    return err;
}

long sys_getsockopt(int fd, int level, int name, uaddr_t uval, uaddr_t ulen)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    uint64_t val[OPTION_MAX / 8];
    int room = 0;
    int err = copy_from_user(&room, ulen, sizeof(room));
    if (!err && room < 0)
        err = -EINVAL;
    uint32_t len = MIN((uint32_t)room, (uint32_t)sizeof(val));
    if (!err && s.ops == &packet_sock_ops) /* PACKET_HDRLEN: the value says what is asked for */
        err = copy_from_user(val, uval, len);
    if (!err)
        err = s.ops->getopt(s.h.file, level, name, val, &len);
    if (!err)
        err = copy_to_user(uval, val, MIN((uint32_t)room, len));
    if (!err)
        err = copy_to_user(ulen, &len, sizeof(len));
    fd_drop(s.h);
    return err;
}

/* --- ancillary data --------------------------------------------------------------------------- */

const struct cmsg_head *cmsg_next(const struct cmsg_in *c, size_t *pos, int *err)
{
    const struct cmsg_head *h = (const void *)(c->data + *pos);
    if (c->len < *pos + sizeof(*h))
        return NULL;
    if (h->len < sizeof(*h) || h->len > c->len - *pos) {
        *err = -EINVAL;
        return NULL;
    }
    *pos += MIN(ROUND_UP(h->len, 8), c->len - *pos);
    return h;
}

size_t cmsg_room(const struct sock_msg *m)
{
    size_t left = m->control_room - m->control_used;
    return left > sizeof(struct cmsg_head) ? left - sizeof(struct cmsg_head) : 0;
}

int cmsg_put(struct sock_msg *m, int level, int type, const void *data, size_t len)
{
    if (m->control_room - m->control_used < sizeof(struct cmsg_head)) {
        m->out_flags |= MSG_CTRUNC_N;
        return 0;
    }
    if (len > cmsg_room(m)) {
        m->out_flags |= MSG_CTRUNC_N;
        len = cmsg_room(m);
    }
    struct cmsg_head h = {sizeof(h) + len, level, type};
    uaddr_t at = m->control_out + m->control_used;
    if (copy_to_user(at, &h, sizeof(h)) || copy_to_user(at + sizeof(h), data, len))
        return -EFAULT;
    m->control_used = MIN(m->control_used + ROUND_UP(h.len, 8), m->control_room);
    return 0;
}

/* --- sending ---------------------------------------------------------------------------------- */

static inline unsigned call_flags(const struct file *f, int flags)
{
    return (unsigned)flags | (f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0);
}

long sys_sendto(int fd, uaddr_t buf, size_t count, int flags, uaddr_t uaddr, int addr_len)
{
    struct sock_hold s = sock_hold(fd);
    if (unlikely(s.err))
        return s.err;
    struct iov v;
    struct sock_msg m;
    long n = iov_single(&v, buf, count);
    m.uio = &v.uio;
    m.flags = call_flags(s.h.file, flags);
    m.name_len = 0;
    m.control.len = 0;
    if (!n && unlikely(uaddr != 0)) {
        n = addr_fetch(&m.name, uaddr, addr_len);
        m.name_len = (uint32_t)addr_len;
    }
    if (!n)
        n = sock_result(s.h.file, s.ops->send(s.h.file, &m), SO_SNDTIMEO_NEW_N);
    fd_drop(s.h);
    return n;
}

struct msghdr_k {
    uaddr_t name;
    int32_t name_len;
    uint32_t pad;
    uaddr_t iov;
    uint64_t iov_count;
    uaddr_t control;
    uint64_t control_len;
    uint32_t flags;
    uint32_t pad2;
};
#define MMSGHDR_SIZE (sizeof(struct msghdr_k) + 8) /* and the length, padded */

static int msghdr_fetch(struct msghdr_k *h, uaddr_t from)
{
    if (copy_from_user(h, from, sizeof(*h)))
        return -EFAULT;
    if (!h->name)
        h->name_len = 0;
    if (h->name_len < 0)
        return -EINVAL;
    h->name_len = MIN(h->name_len, SOCKADDR_MAX);
    return h->iov_count > IOV_COUNT_MAX ? -EMSGSIZE : 0;
}

static int control_fetch(struct cmsg_in *c, const struct msghdr_k *h, void **block)
{
    *block = NULL;
    c->len = 0;
    if (!h->control || !h->control_len)
        return 0;
    if (h->control_len > CONTROL_MAX)
        return -ENOBUFS;
    if (!(*block = kmalloc(h->control_len)))
        return -ENOMEM;
    c->data = *block;
    c->len = h->control_len;
    return copy_from_user(*block, h->control, c->len);
}

static long send_message(const struct sock_hold *s, uaddr_t umsg, int flags)
{
    struct msghdr_k h;
    struct sock_msg m;
    struct iov v;
    void *control = NULL;
    long n = msghdr_fetch(&h, umsg);
    if (n)
        return n;
    n = iov_import(&v, h.iov, h.iov_count);
    if (n)
        return n;
    m.uio = &v.uio;
    m.flags = call_flags(s->h.file, flags);
    m.name_len = (uint32_t)h.name_len;
    if (h.name_len)
        n = addr_fetch(&m.name, h.name, h.name_len);
    if (!n)
        n = control_fetch(&m.control, &h, &control);
    if (!n)
        n = sock_result(s->h.file, s->ops->send(s->h.file, &m), SO_SNDTIMEO_NEW_N);
    kfree(control);
    iov_release(&v);
    return n;
}

long sys_sendmsg(int fd, uaddr_t msg, int flags)
{
    struct sock_hold s = sock_hold(fd);
    if (unlikely(s.err))
        return s.err;
    long n = send_message(&s, msg, flags);
    fd_drop(s.h);
    return n;
}

long sys_sendmmsg(int fd, uaddr_t msgs, unsigned count, int flags)
{
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    long err = 0;
    unsigned done = 0;
    for (count = MIN(count, IOV_COUNT_MAX); done < count; done++) {
        uaddr_t at = msgs + done * MMSGHDR_SIZE;
        long n = send_message(&s, at, flags);
        uint32_t len = (uint32_t)n;
        err = n < 0 ? n : copy_to_user(at + sizeof(struct msghdr_k), &len, sizeof(len));
        if (err)
            break;
    }
    fd_drop(s.h);
    return done ? (long)done : err;
}

/* --- receiving -------------------------------------------------------------------------------- */

static inline void recv_prepare(struct sock_msg *m, struct uio *u, unsigned flags)
{
    m->uio = u;
    m->flags = flags;
    m->name_len = 0;
    m->want_name = false;
    m->control_room = m->control_used = 0;
    m->out_flags = 0;
}

long sys_recvfrom(int fd, uaddr_t buf, size_t count, int flags, uaddr_t uaddr, uaddr_t ulen)
{
    struct sock_hold s = sock_hold(fd);
    if (unlikely(s.err))
        return s.err;
    struct iov v;
    struct sock_msg m;
    long n = iov_single(&v, buf, count);
    if (!n) {
        recv_prepare(&m, &v.uio, call_flags(s.h.file, flags));
        m.want_name = uaddr != 0;
        n = sock_result(s.h.file, s.ops->recv(s.h.file, &m), SO_RCVTIMEO_NEW_N);
        if (n >= 0 && m.want_name) {
            int err = addr_put(uaddr, ulen, &m.name, m.name_len);
            n = err ? err : n;
        }
    }
    fd_drop(s.h);
    return n;
}

static int msghdr_put(uaddr_t umsg, const struct msghdr_k *h, const struct sock_msg *m)
{
    if (h->name) {
        if (m->name_len && copy_to_user(h->name, &m->name, MIN((uint32_t)h->name_len, m->name_len)))
            return -EFAULT;
        if (copy_to_user(umsg + offsetof(struct msghdr_k, name_len), &m->name_len, 4))
            return -EFAULT;
    }
    uint64_t used = m->control_used;
    uint32_t flags = m->out_flags | (m->flags & MSG_CMSG_CLOEXEC_N);
    if (copy_to_user(umsg + offsetof(struct msghdr_k, control_len), &used, sizeof(used)))
        return -EFAULT;
    return copy_to_user(umsg + offsetof(struct msghdr_k, flags), &flags, sizeof(flags));
}

static long recv_message(const struct sock_hold *s, uaddr_t umsg, int flags)
{
    struct msghdr_k h;
    struct iov v;
    struct sock_msg m;
    long n = msghdr_fetch(&h, umsg);
    if (n)
        return n;
    n = iov_import(&v, h.iov, h.iov_count);
    if (n)
        return n;
    recv_prepare(&m, &v.uio, call_flags(s->h.file, flags));
    m.want_name = h.name != 0;
    if (h.control) {
        m.control_out = h.control;
        m.control_room = MIN(h.control_len, (uint64_t)CONTROL_MAX);
    }
    n = sock_result(s->h.file, s->ops->recv(s->h.file, &m), SO_RCVTIMEO_NEW_N);
    iov_release(&v);
    if (n >= 0) {
        int err = msghdr_put(umsg, &h, &m);
        n = err ? err : n;
    }
    return n;
}

long sys_recvmsg(int fd, uaddr_t msg, int flags)
{
    struct sock_hold s = sock_hold(fd);
    if (unlikely(s.err))
        return s.err;
    long n = recv_message(&s, msg, flags);
    fd_drop(s.h);
    return n;
}

long sys_recvmmsg(int fd, uaddr_t msgs, unsigned count, int flags, uaddr_t timeout)
{
    nsec_t end = NSEC_NEVER;
    int64_t ts[2];
    if (timeout) {
        if (copy_from_user(ts, timeout, sizeof(ts)))
            return -EFAULT;
        if (ts[0] < 0 || ts[1] < 0 || ts[1] >= NSEC_PER_SEC)
            return -EINVAL;
        end = time_now() + MIN(ts[0], INT64_MAX / NSEC_PER_SEC / 4) * NSEC_PER_SEC + ts[1];
    }
    struct sock_hold s = sock_hold(fd);
    if (s.err)
        return s.err;
    long err = 0;
    unsigned done = 0;
    for (count = MIN(count, IOV_COUNT_MAX); done < count && (!done || time_now() < end); done++) {
        uaddr_t at = msgs + done * MMSGHDR_SIZE;
        long n = recv_message(&s, at, flags & ~(int)MSG_WAITFORONE_N);
        uint32_t len = (uint32_t)n;
        err = n < 0 ? n : copy_to_user(at + sizeof(struct msghdr_k), &len, sizeof(len));
        if (err)
            break;
        if ((unsigned)flags & MSG_WAITFORONE_N)
            flags |= SOCK_MSG_DONTWAIT;
    }
    fd_drop(s.h);
    return done ? (long)done : err;
}
