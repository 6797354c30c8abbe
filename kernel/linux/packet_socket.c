/* Packet sockets as files (packet(7)): the work is done by net/packet.h. */
#include <linux/if_packet.h>

#include "core/mem.h"
#include "linux/mm.h"
#include "linux/process.h"
#include "linux/sock.h"
#include "net/ether.h"
#include "net/packet.h"

#define CAP_NET_RAW_N 13
#define SOL_PACKET_N 263
#define PACKET_FLAGS                                                                               \
    (SOCK_MSG_PEEK | SOCK_MSG_TRUNC | SOCK_MSG_DONTWAIT | SOCK_MSG_WAITALL | SOCK_MSG_NOSIGNAL)
#define LL_MIN offsetof(struct sockaddr_ll_k, addr)
#define RESERVE_MAX 4096u

struct packet_file {
    struct socket *s;
    struct vnode *memory; /* the ring's; NULL: none */
};

static struct packet_file *file_data(const struct file *f)
{
    return f->data;
}

static struct packet_socket *packet_socket(const struct file *f)
{
    return packet_of(file_data(f)->s);
}

/* --- addresses -------------------------------------------------------------------------------- */

static int packet_sock_bind(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    const struct sockaddr_ll_k *a = (const void *)addr;
    struct packet_socket *ps = packet_socket(f);
    if (len < LL_MIN || addr->family != AF_PACKET_N)
        return -EINVAL;
    return packet_bind(ps, a->ifindex, a->protocol ? net16(a->protocol) : ps->protocol);
}

static int packet_sock_connect(struct file *f, const struct sockaddr_k *addr, uint32_t len)
{
    (void)f, (void)addr, (void)len;
    return -EOPNOTSUPP;
}

static int packet_sock_listen(struct file *f, int backlog)
{
    (void)f, (void)backlog;
    return -EOPNOTSUPP;
}

static int packet_sock_accept(struct file *f, struct file **out)
{
    (void)f, (void)out;
    return -EOPNOTSUPP;
}

static int packet_sock_shutdown(struct file *f, int how)
{
    (void)f, (void)how;
    return -EOPNOTSUPP;
}

static int packet_sock_name(struct file *f, struct sockaddr_k *out, uint32_t *len, bool peer)
{
    struct packet_socket *ps = packet_socket(f);
    int ifindex = (int)ps->d.s.local.scope;
    struct netif *n = ifindex ? netif_by_index(ifindex) : NULL;
    struct sockaddr_ll_k a = {
        .family = AF_PACKET_N, .protocol = net16(ps->protocol), .ifindex = ifindex};
    if (peer)
        return -EOPNOTSUPP;
    if (n) {
        a.hatype = n->flags & NETIF_LOOPBACK ? 772 : 1;
        a.halen = MAC_LEN;
        memcpy(a.addr, n->mac, MAC_LEN);
    }
    memcpy(out, &a, sizeof(a));
    *len = (uint32_t)LL_MIN + a.halen;
    return 0;
}

/* --- data ------------------------------------------------------------------------------------- */

static ssize_t packet_sock_send(struct file *f, struct sock_msg *m)
{
    struct packet_socket *ps = packet_socket(f);
    struct sockaddr_ll_k to = {.protocol = net16(ps->protocol)};
    if (m->flags & SOCK_MSG_OOB)
        return -EOPNOTSUPP;
    if (m->name_len) {
        if (m->name_len < LL_MIN)
            return -EINVAL;
        memcpy(&to, &m->name, MIN((size_t)m->name_len, sizeof(to)));
        if (m->name_len < LL_MIN + to.halen)
            return -EINVAL;
    } /* Linux does not ask for the family here, and programs leave it out. */
    return packet_send(ps, m->uio, to.ifindex, net16(to.protocol), to.addr,
                       m->flags & PACKET_FLAGS);
}

static int put_auxdata(struct sock_msg *m, const struct packet_socket *ps,
                       const struct sock_recv_info *info, size_t got)
{
    struct tpacket_auxdata a = {
        .tp_status = 1, /* TP_STATUS_USER */
        .tp_len = info->link.len,
        .tp_snaplen = (uint32_t)got,
        .tp_net = ps->cooked ? 0 : ETH_HEADER,
    };
    return cmsg_put(m, SOL_PACKET_N, PACKET_AUXDATA, &a, sizeof(a));
}

static ssize_t packet_sock_recv(struct file *f, struct sock_msg *m)
{
    struct packet_socket *ps = packet_socket(f);
    struct sock_recv_info info;
    size_t room = m->uio->resid;
    info.flags = 0;
    if (m->flags & ~(PACKET_FLAGS | MSG_CMSG_CLOEXEC_N))
        return -EINVAL;
    ssize_t n = dgram_recv(&ps->d.s, m->uio, &info, m->flags & PACKET_FLAGS);
    if (n < 0)
        return n;
    m->out_flags |= info.flags;
    struct sockaddr_ll_k a = {
        .family = AF_PACKET_N,
        .protocol = info.link.protocol,
        .ifindex = info.ifindex,
        .hatype = netif_by_index(info.ifindex)->flags & NETIF_LOOPBACK ? 772 : 1,
        .pkttype = info.link.type,
        .halen = MAC_LEN,
    };
    memcpy(a.addr, info.link.addr, sizeof(a.addr));
    if (m->want_name) {
        memcpy(&m->name, &a, sizeof(a));
        m->name_len = sizeof(a);
    }
    int err = put_timestamp(m, &ps->d.s, &info);
    if (!err && ps->auxdata)
        err = put_auxdata(m, ps, &info, MIN((size_t)n, room));
    return err ? err : n;
}

static ssize_t packet_sock_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct sock_recv_info info;
    info.flags = 0;
    return dgram_recv(file_data(f)->s, u, &info, f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0);
}

static ssize_t packet_sock_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    static const uint8_t nobody[MAC_LEN];
    struct packet_socket *ps = packet_socket(f);
    return packet_send(ps, u, 0, ps->protocol, nobody,
                       f->flags & OPEN_NONBLOCK ? SOCK_MSG_DONTWAIT : 0);
}

static unsigned packet_sock_poll(struct file *f, struct poll_table *pt)
{
    struct packet_socket *ps = packet_socket(f);
    poll_register(pt, &ps->d.s.wait);
    return packet_poll(ps);
}

/* --- options ---------------------------------------------------------------------------------- */

/* The ring's memory, which the program maps: all its pages are there from the start. */
static int fill_ring(struct packet_ring *r, struct vnode *v)
{
    for (uint32_t i = 0; i < r->pages_count; i++) {
        int err = vnode_get_page(v, i, true, &r->pages[i]);
        if (err)
            return err;
    }
    return 0;
}

static void replace_ring(struct packet_file *pf, struct packet_ring *ring, struct vnode *memory)
{
    struct vnode *old = pf->memory;
    packet_ring_free(packet_set_ring(packet_of(pf->s), ring));
    pf->memory = memory;
    if (old)
        vnode_put(old);
}

static int set_ring(struct packet_file *pf, const void *val, uint32_t len)
{
    struct packet_socket *ps = packet_of(pf->s);
    struct tpacket_req_k q;
    if (len < sizeof(q))
        return -EINVAL;
    memcpy(&q, val, sizeof(q));
    if (!q.block_count) {
        if (q.frame_count)
            return -EINVAL;
        replace_ring(pf, NULL, NULL);
        return 0;
    }
    if (ps->ring)
        return -EBUSY;
    if (ps->version != TPACKET_V2)
        return -EOPNOTSUPP; /* of the three kinds there is one */
    int err = packet_ring_check(&q, ps->reserve);
    if (err)
        return err;
    struct packet_ring *r = packet_ring_alloc(&q);
    if (IS_ERR(r))
        return (int)PTR_ERR(r);
    struct vnode *v = mm_shared_vnode((uint64_t)r->pages_count * PAGE_SIZE);
    err = v ? fill_ring(r, v) : -ENOMEM;
    if (err) {
        packet_ring_free(r);
        if (v)
            vnode_put(v);
        return err;
    }
    replace_ring(pf, r, v);
    return 0;
}

static int membership(struct packet_socket *ps, bool add, const void *val, uint32_t len)
{
    struct packet_mreq m;
    if (len < sizeof(m))
        return -EINVAL;
    memcpy(&m, val, sizeof(m));
    if (m.mr_type != PACKET_MR_PROMISC && m.mr_type != PACKET_MR_ALLMULTI)
        return netif_by_index(m.mr_ifindex) ? -EOPNOTSUPP : -ENODEV;
    return packet_promiscuous(ps, m.mr_ifindex, add);
}

static int set_int(struct packet_socket *ps, int name, int v)
{
    switch (name) {
    case PACKET_AUXDATA:
        ps->auxdata = v;
        return 0;
    case PACKET_IGNORE_OUTGOING:
        if (v < 0 || v > 1)
            return -EINVAL;
        ps->ignore_outgoing = v;
        return 0;
    case PACKET_VERSION:
        if (ps->ring)
            return -EBUSY;
        if (v != TPACKET_V1 && v != TPACKET_V2)
            return -EINVAL;
        ps->version = (uint8_t)v;
        return 0;
    case PACKET_RESERVE:
        if (ps->ring)
            return -EBUSY;
        if (v < 0 || (unsigned)v > RESERVE_MAX)
            return -EINVAL;
        ps->reserve = (uint16_t)v;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int packet_level_set(struct packet_file *pf, int name, const void *val, uint32_t len)
{
    struct packet_socket *ps = packet_of(pf->s);
    int v;
    if (name == PACKET_RX_RING)
        return set_ring(pf, val, len);
    if (name == PACKET_ADD_MEMBERSHIP || name == PACKET_DROP_MEMBERSHIP)
        return membership(ps, name == PACKET_ADD_MEMBERSHIP, val, len);
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    return set_int(ps, name, v);
}

static int packet_setopt(struct file *f, int level, int name, const void *val, uint32_t len)
{
    struct packet_file *pf = file_data(f);
    struct socket *s = pf->s;
    int err;
    if (level == SOL_PACKET_N)
        return packet_level_set(pf, name, val, len);
    if (level != SOL_SOCKET_N)
        return -ENOPROTOOPT;
    if (is_timeout_option(name))
        return timeout_option_set(is_recv_timeout(name) ? &s->rcv_timeout : &s->snd_timeout, val,
                                  len);
    if (filter_option_set(s, name, val, len, &err))
        return err;
    return socket_setopt(s, level, name, val, len);
}

static int get_int(struct packet_socket *ps, int name, int *v)
{
    switch (name) {
    case PACKET_AUXDATA:
        *v = ps->auxdata;
        return 0;
    case PACKET_IGNORE_OUTGOING:
        *v = ps->ignore_outgoing;
        return 0;
    case PACKET_VERSION:
        *v = ps->version;
        return 0;
    case PACKET_RESERVE:
        *v = ps->reserve;
        return 0;
    case PACKET_HDRLEN: /* the version is told in the value */
        if (*v != TPACKET_V2)
            return -EINVAL;
        *v = TPACKET2_HEADER;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int packet_getopt(struct file *f, int level, int name, void *val, uint32_t *len)
{
    struct packet_socket *ps = packet_socket(f);
    struct socket *s = &ps->d.s;
    if (level == SOL_SOCKET_N && name == 39) { /* SO_DOMAIN */
        int domain = AF_PACKET_N;
        *len = MIN(*len, (uint32_t)sizeof(domain));
        memcpy(val, &domain, *len);
        return 0;
    }
    if (level == SOL_SOCKET_N && is_timeout_option(name))
        return timeout_option_get(is_recv_timeout(name) ? s->rcv_timeout : s->snd_timeout, val,
                                  len);
    if (level == SOL_SOCKET_N)
        return socket_getopt(s, level, name, val, len);
    if (level != SOL_PACKET_N)
        return -ENOPROTOOPT;
    if (name == PACKET_STATISTICS) {
        uint32_t counts[2];
        packet_statistics(ps, &counts[0], &counts[1]);
        *len = MIN(*len, (uint32_t)sizeof(counts));
        memcpy(val, counts, *len);
        return 0;
    }
    int v = 0;
    if (name == PACKET_HDRLEN) {
        if (*len < sizeof(v))
            return -EINVAL;
        memcpy(&v, val, sizeof(v));
    }
    int err = get_int(ps, name, &v);
    if (err)
        return err;
    *len = MIN(*len, (uint32_t)sizeof(v));
    memcpy(val, &v, *len);
    return 0;
}

static long packet_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    int value = 0;
    int err = dgram_ioctl(file_data(f)->s, cmd, &value);
    if (err == -ENOTTY)
        return netdev_ioctl(cmd, arg);
    return err ? err : copy_to_user(arg, &value, sizeof(value));
}

/* --- files ------------------------------------------------------------------------------------ */

static struct vnode *packet_memory(struct file *f)
{
    return file_data(f)->memory;
}

static void packet_release(struct file *f)
{
    struct packet_file *pf = file_data(f);
    packet_close(packet_of(pf->s));
    if (pf->memory)
        vnode_put(pf->memory);
    kfree(pf);
}

static void packet_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "socket:[%lu]", (unsigned long)object_ino(f->data));
}

const struct file_ops packet_file_ops = {
    .name = "packet",
    .mode = MODE_SOCK | 0777,
    .read = packet_sock_read,
    .write = packet_sock_write,
    .poll = packet_sock_poll,
    .ioctl = packet_ioctl,
    .memory = packet_memory,
    .release = packet_release,
    .describe = packet_describe,
};

const struct sock_ops packet_sock_ops = {
    .family = AF_PACKET_N,
    .bind = packet_sock_bind,
    .connect = packet_sock_connect,
    .listen = packet_sock_listen,
    .accept = packet_sock_accept,
    .name = packet_sock_name,
    .send = packet_sock_send,
    .recv = packet_sock_recv,
    .shutdown = packet_sock_shutdown,
    .setopt = packet_setopt,
    .getopt = packet_getopt,
};

int packet_file_create(int type, int proto, struct file **out)
{
    if (!capable(CAP_NET_RAW_N))
        return -EPERM;
    if (type != SOCK_RAW_N && type != SOCK_DGRAM_N)
        return -ESOCKTNOSUPPORT;
    struct packet_file *pf = kzalloc(sizeof(*pf));
    int err = pf ? packet_socket_create(type, net16((uint16_t)proto), &pf->s) : -ENOMEM;
    if (err) {
        kfree(pf);
        return err;
    }
    pf->s->uid = current_cred()->fsuid;
    struct file *f = file_alloc(&packet_file_ops, pf, OPEN_RDWR);
    if (IS_ERR(f)) {
        packet_close(packet_of(pf->s));
        kfree(pf);
        return (int)PTR_ERR(f);
    }
    *out = f;
    return 0;
}
