/* Datagram sockets: queue, receive, routes (net/dgram.h). */
#include "net/dgram.h"

#include "fs/file.h"
#include "net/filter.h"
#include "net/ipimpl.h"
#include "net/mcast.h"

#define SIOCINQ_CMD 0x541bu
#define SIOCOUTQ_CMD 0x5411u
#define PMTUDISC_DO 2
#define PMTUDISC_PROBE 3

static void dgram_free(struct socket *s)
{
    struct dgram_socket *d = dgram_of(s);

    ip_flow_release(&d->flow);
    send_buffer_close(&d->sent);
}

static void release(struct send_buffer *b)
{
    kfree(container_of(b, struct dgram_socket, sent));
}

void dgram_init(struct dgram_socket *d, const struct socket_ops *ops, int family, int type,
                int proto)
{
    socket_init(&d->s, ops, family, type, proto);
    d->s.free = dgram_free;
    list_init(&d->link);
    pkt_queue_init(&d->queue);
    pkt_queue_init(&d->errors);
    send_buffer_init(&d->sent, &d->s, release);
    d->flow.proto = (uint8_t)proto;
}

bool dgram_filter(struct dgram_socket *d, struct pkt *p, uint32_t headers)
{
    struct filter_context c = {
        .protocol = ip_is_v4(&p->dst) ? ETH_TYPE_IP4 : ETH_TYPE_IP6,
        .type = p->flags & PKT_BROADCAST ? (ip_is_multicast(&p->dst) ? 2 : 1) : 0,
        .ifindex = p->netif->index,
        .network = -1,
    };

    if (likely(!READ_ONCE(d->s.filter)))
        return true;
    spin_lock(&d->s.lock);
    pkt_push(p, headers);
    uint32_t n = d->s.filter ? net_filter_run(d->s.filter, p, &c) : p->len;
    if (n && n < p->len)
        pkt_trim_to(p, MAX(n, headers));
    pkt_pull(p, headers);
    spin_unlock(&d->s.lock);
    return n;
}

bool dgram_enqueue(struct dgram_socket *d, struct pkt *p)
{
    uint32_t bytes = pkt_cost(p);

    if (unlikely(d->s.timestamp))
        p->cb[CB_TIME] = (uint64_t)time_realtime();
    spin_lock(&d->s.lock);
    if (d->rmem + bytes > d->s.rcvbuf || (d->s.shut & 1)) {
        d->drops++;
        spin_unlock(&d->s.lock);
        pkt_free(p);
        return false;
    }
    d->rmem += bytes;
    p->cb[CB_DROPS] = d->drops;
    pkt_queue_push(&d->queue, p);
    spin_unlock(&d->s.lock);
    wake_up_key(&d->s.wait, POLL_IN | POLL_RDNORM);
    return true;
}

/* A copy of the packet that SO_PEEK_OFF points into, *off made relative to it; NULL: there is none
 * so far. */
static struct pkt *peek_at(struct dgram_socket *d, uint32_t *off, int *err)
{
    struct pkt *p = d->queue.head;

    for (; p && *off && *off >= p->len; p = p->next)
        *off -= p->len;
    struct pkt *copy = p ? pkt_clone(p) : NULL;
    if (p && !copy)
        *err = -ENOMEM;
    return copy;
}

/* The first packet, or with PEEK a copy of it; an error if there is one pending. */
static struct pkt *take(struct dgram_socket *d, bool peek, uint32_t *off, int *err)
{
    struct pkt *p;

    *err = 0;
    spin_lock_bh(&d->s.lock);
    if (d->s.error) {
        *err = -d->s.error;
        d->s.error = 0;
        p = NULL;
    } else if (peek) {
        *off = (uint32_t)MAX(d->s.peek_off, 0);
        p = peek_at(d, off, err);
    } else {
        p = pkt_queue_pop(&d->queue);
        if (p)
            d->rmem -= pkt_cost(p);
    }
    spin_unlock_bh(&d->s.lock);
    return p;
}

int dgram_copy_out(struct uio *u, const struct pkt *p, uint32_t off, size_t n)
{
    size_t part = off < p->linear ? MIN(n, (size_t)p->linear - off) : 0;
    int err = part ? uio_write(u, p->data + off, part) : 0;

    n -= part;
    off = off > p->linear ? off - p->linear : 0;
    for (unsigned i = 0; n && !err; i++) {
        const struct pkt_frag *f = &p->frags[i];
        if (off >= f->len) {
            off -= f->len;
            continue;
        }
        part = MIN(n, (size_t)f->len - off);
        err = uio_write(u, (uint8_t *)page_addr(f->page) + f->off + off, part);
        n -= part;
        off = 0;
    }
    return err;
}

/* SO_PEEK_OFF follows what is peeked at and what is taken away in front of it. */
static void move_peek_offset(struct socket *s, bool peek, size_t n)
{
    spin_lock_bh(&s->lock);
    if (s->peek_off >= 0)
        s->peek_off = peek ? s->peek_off + (int)n : MAX(s->peek_off - (int)n, 0);
    spin_unlock_bh(&s->lock);
}

/* The IPv4 options of a packet, whose header is still in front of its data, or begins it. */
static void copy_options(const struct socket *s, struct sock_recv_info *info, const struct pkt *p)
{
    bool has_header = s->proto == IPPROTO_UDP_N || s->proto == IPPROTO_UDPLITE_N; /* behind them */
    uint32_t before = s->type == 3 ? 0 : p->l4 + (has_header ? 8u : 0);
    const uint8_t *ip = p->data - before;

    if (s->family != 4 || p->l4 <= IP4_HEADER || p->l4 > 60 || p->data - p->buf < before)
        return;
    info->options_len = (uint8_t)(p->l4 - IP4_HEADER);
    memcpy(info->options, ip + IP4_HEADER, info->options_len);
}

static void fill_info(const struct socket *s, struct sock_recv_info *info, const struct pkt *p)
{
    info->options_len = 0;
    if (unlikely(s->recv_opts || s->ret_opts))
        copy_options(s, info, p);
    info->from = (struct sock_addr){.ip = p->src, .port = (uint16_t)p->cb[CB_PORT]};
    if (ip_is_link_local(&p->src) && !ip_is_v4(&p->src))
        info->from.scope = (uint32_t)p->netif->index;
    info->local = p->dst;
    info->ifindex = p->netif->index;
    info->tos = p->tos;
    info->ttl = p->ttl;
    info->realtime = (nsec_t)p->cb[CB_TIME];
    info->local_port = (uint16_t)p->cb[CB_LOCAL_PORT];
    info->drops = (uint32_t)p->cb[CB_DROPS];
    info->segment = p->gso == GSO_UDP ? p->gso_size : 0;
    info->link.protocol = (uint16_t)p->cb[CB_PORT];
    info->link.type = (uint8_t)(p->cb[CB_PORT] >> 16);
    memcpy(info->link.addr, &p->cb[CB_LOCAL_PORT], sizeof(info->link.addr));
    info->link.len = (uint32_t)p->cb[CB_ERROR];
}

static bool has_data(const struct dgram_socket *d, bool peek)
{
    int off = READ_ONCE(d->s.peek_off);

    if (peek && off > 0)
        return READ_ONCE(d->queue.bytes) > (uint32_t)off;
    return READ_ONCE(d->queue.head);
}

static int wait_readable(struct dgram_socket *d, bool peek, nsec_t deadline)
{
    int err = wait_event_timeout(
        &d->s.wait, has_data(d, peek) || READ_ONCE(d->s.error) || (READ_ONCE(d->s.shut) & 1),
        deadline);
    return err == -ETIMEDOUT ? -EAGAIN : err;
}

ssize_t dgram_recv(struct socket *s, struct uio *u, struct sock_recv_info *info, unsigned flags)
{
    struct dgram_socket *d = dgram_of(s);
    nsec_t deadline = s->rcv_timeout ? time_now() + s->rcv_timeout : NSEC_NEVER;
    bool peek = flags & SOCK_MSG_PEEK;
    struct pkt *p;
    uint32_t off = 0;
    int err;

    if (unlikely(flags & SOCK_MSG_ERRQUEUE))
        return dgram_recv_error(d, u, info, flags);
    while (!(p = take(d, peek, &off, &err))) {
        if (!err && (s->shut & 1))
            return 0;
        if (!err)
            err = flags & SOCK_MSG_DONTWAIT ? -EAGAIN : wait_readable(d, peek, deadline);
        if (err)
            return err;
    }
    size_t left = p->len - off, n = MIN(left, u->resid);
    fill_info(s, info, p);
    if (n < left)
        info->flags |= SOCK_MSG_TRUNC;
    ssize_t result = flags & SOCK_MSG_TRUNC ? (ssize_t)p->len : (ssize_t)n;
    err = dgram_copy_out(u, p, off, n);
    if (unlikely(READ_ONCE(s->peek_off) >= 0) && !err)
        move_peek_offset(s, peek, n);
    pkt_free(p);
    return err ? err : result;
}

static bool reclaim_soon(struct netif *n, void *arg)
{
    (void)arg;
    netif_reclaim(n, true);
    return true;
}

/* Room in the send buffer, or somebody sees to it that there will be and the waiters are woken. */
static bool ask_for_room(struct dgram_socket *d)
{
    if (likely(send_buffer_await(&d->sent)))
        return true;
    net_batch_begin();
    netif_for_each(reclaim_soon, NULL);
    net_batch_end();
    return send_buffer_roomy(&d->sent);
}

unsigned dgram_poll(struct socket *s)
{
    struct dgram_socket *d = dgram_of(s);
    unsigned events = ask_for_room(d) ? POLL_OUT | POLL_WRNORM : 0;

    if (READ_ONCE(d->queue.head) || (s->shut & 1))
        events |= POLL_IN | POLL_RDNORM;
    if (s->shut & 1)
        events |= POLL_RDHUP;
    if ((s->shut & 3) == 3)
        events |= POLL_HUP;
    if (READ_ONCE(s->error) || READ_ONCE(d->errors.head))
        events |= POLL_ERR;
    return events;
}

int dgram_ioctl(struct socket *s, unsigned cmd, int *value)
{
    struct dgram_socket *d = dgram_of(s);

    if (cmd == SIOCOUTQ_CMD) {
        *value = (int)send_buffer_used(&d->sent);
        return 0;
    }
    if (cmd != SIOCINQ_CMD)
        return -ENOTTY;
    spin_lock_bh(&s->lock);
    *value = d->queue.head ? (int)d->queue.head->len : 0;
    spin_unlock_bh(&s->lock);
    return 0;
}

void dgram_option_changed(struct socket *s)
{
    struct dgram_socket *d = dgram_of(s);

    send_buffer_recheck(&d->sent);
    if (!s->recverr)
        dgram_drop_errors(d);
    spin_lock_bh(&s->lock);
    ip_flow_release(&d->flow); /* the next datagram's is looked up by the new options */
    spin_unlock_bh(&s->lock);
}

int dgram_disconnect(struct socket *s)
{
    struct dgram_socket *d = dgram_of(s);

    spin_lock_bh(&s->lock);
    d->connected = false;
    s->peer = (struct sock_addr){.ip = socket_any(s)};
    if (!d->bound_addr)
        s->local.ip = socket_any(s);
    ip_flow_release(&d->flow);
    spin_unlock_bh(&s->lock);
    return 0;
}

int dgram_shutdown(struct socket *s, int how)
{
    if (!dgram_of(s)->connected)
        return -ENOTCONN;
    spin_lock_bh(&s->lock);
    s->shut |= (uint8_t)(how == 2 ? 3 : how + 1);
    spin_unlock_bh(&s->lock);
    wake_up(&s->wait);
    return 0;
}

void dgram_close(struct socket *s)
{
    struct dgram_socket *d = dgram_of(s);

    mcast_socket_leave_all(s);
    spin_lock_bh(&s->lock);
    s->shut = 3;
    pkt_queue_free(&d->queue);
    pkt_queue_free(&d->errors);
    d->rmem = 0;
    struct net_filter *filter = s->filter;
    s->filter = NULL;
    spin_unlock_bh(&s->lock);
    kfree(filter);
    socket_put(s);
}

/* Payload that does not fit the packet's own buffer goes to pages. */
static int copy_to_pages(struct pkt *p, struct uio *u, size_t n)
{
    while (n) {
        size_t part = MIN(n, PAGE_SIZE);
        struct page *page = page_alloc(0, 0);
        if (!page)
            return -ENOBUFS;
        if (uio_read(page_addr(page), part, u)) {
            page_put(page);
            return -EFAULT;
        }
        pkt_append_page(p, page, 0, (uint32_t)part); /* 64 KiB fit */
        n -= part;
    }
    return 0;
}

int dgram_take_error(struct dgram_socket *d)
{
    struct socket *s = &d->s;

    if (likely(!READ_ONCE(s->error)))
        return 0;
    spin_lock_bh(&s->lock);
    int err = s->error;
    s->error = 0;
    spin_unlock_bh(&s->lock);
    return -err;
}

/* Sleeps until there is room, or something to tell. */
static int sleep_for_room(struct dgram_socket *d, nsec_t deadline)
{
    struct socket *s = &d->s;
    int err = wait_event_timeout(&s->wait,
                                 !send_buffer_awaited(&d->sent) || send_buffer_roomy(&d->sent) ||
                                     READ_ONCE(s->error) || (READ_ONCE(s->shut) & 2),
                                 deadline);
    if (err == -ETIMEDOUT)
        return -EAGAIN;
    if (!err && (s->shut & 2))
        return -EPIPE;
    return err ? err : dgram_take_error(d);
}

static int wait_for_room(struct dgram_socket *d, unsigned flags)
{
    struct socket *s = &d->s;
    nsec_t deadline = s->snd_timeout ? time_now() + s->snd_timeout : NSEC_NEVER;
    int err = 0;

    while (!err && !ask_for_room(d))
        err = flags & SOCK_MSG_DONTWAIT ? -EAGAIN : sleep_for_room(d, deadline);
    return err;
}

struct pkt *dgram_copy_in(struct dgram_socket *d, struct uio *u, unsigned flags)
{
    size_t n = u->resid;
    int err = 0;

    if (n > 65535)
        return ERR_PTR(-EMSGSIZE);
    if (unlikely(send_buffer_full(&d->sent)))
        err = wait_for_room(d, flags);
    if (err)
        return ERR_PTR(err);
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    if (!p)
        return ERR_PTR(-ENOBUFS);
    if (n <= PKT_BUF - PKT_HEADROOM) {
        err = uio_read(p->data, n, u);
        p->linear = p->len = (uint32_t)n;
    } else {
        err = copy_to_pages(p, u, n);
    }
    if (err) {
        pkt_free(p);
        return ERR_PTR(err);
    }
    send_buffer_charge(&d->sent, p);
    return p;
}

void dgram_fix_destination(struct sock_addr *a)
{
    if (ip_is_any(&a->ip))
        a->ip = ip_is_v4(&a->ip) ? ip_from_v4(net32(0x7f000001))
                                 : (struct ip_addr){.w = {0, 0, 0, net32(1)}};
}

/* What the flow to this destination must look like. */
static struct ip_flow wanted(const struct dgram_socket *d, const struct sock_addr *to,
                             const struct sock_send_info *info)
{
    const struct socket *s = &d->s;
    bool group = ip_is_multicast(&to->ip);
    struct ip_flow f = {
        .src = s->local.ip,
        .dst = to->ip,
        .scope = to->scope ? to->scope : (uint32_t)s->bound_ifindex,
        .proto = d->flow.proto,
        .tos = s->tos & 0xfc,
        .ttl = group ? s->mcast_ttl : s->ttl,
        .dont_fragment = s->mtu_discover == PMTUDISC_DO || s->mtu_discover == PMTUDISC_PROBE,
    };

    if (group && !f.scope)
        f.scope = (uint32_t)s->mcast_ifindex;
    if (info && !ip_is_any(&info->local))
        f.src = info->local;
    if (info && info->ifindex)
        f.scope = (uint32_t)info->ifindex;
    if (info && info->tos >= 0)
        f.tos = (uint8_t)info->tos & 0xfc;
    if (info && info->ttl >= 0)
        f.ttl = (uint8_t)info->ttl;
    /* A socket bound to a multicast or broadcast address sends from its own. */
    if (ip_is_multicast(&f.src) || ip_is_broadcast(NULL, &f.src))
        f.src = (struct ip_addr){0};
    return f;
}

int dgram_route(struct dgram_socket *d, const struct sock_addr *to,
                const struct sock_send_info *info)
{
    struct ip_flow *f = &d->flow, w = wanted(d, to, info);

    if (likely(!ip_flow_stale(f)) && ip_equal(&f->dst, &w.dst) &&
        (ip_is_any(&w.src) || ip_equal(&f->src, &w.src)) && f->scope == w.scope &&
        f->tos == w.tos && f->ttl == w.ttl && f->dont_fragment == w.dont_fragment)
        return 0;
    if (!d->s.broadcast && ip_is_broadcast(NULL, &w.dst))
        return -EACCES;
    ip_flow_release(f);
    *f = w;
    int err = ip_route(f);
    if (!err && unlikely(d->s.dontroute) && !ip_equal(&f->neighbour->addr, &f->dst)) {
        ip_flow_release(f); /* it would go by a router */
        err = -ENETUNREACH;
    }
    return err;
}

int dgram_connect(struct dgram_socket *d, const struct sock_addr *addr)
{
    struct socket *s = &d->s;
    struct sock_addr to = *addr;

    dgram_fix_destination(&to);
    if (!d->bound_addr)
        s->local.ip = socket_any(s);
    int err = dgram_route(d, &to, NULL);
    if (err)
        return err;
    s->peer = to;
    s->local.ip = d->flow.src;
    d->connected = true;
    return 0;
}

int dgram_check_local(const struct socket *s, const struct ip_addr *ip)
{
    if (ip_is_any(ip) || ip_is_multicast(ip) || s->freebind || s->transparent ||
        ip_is_broadcast(NULL, ip) || ip_is_loopback(ip))
        return 0;
    net_batch_begin();
    bool ours = view_local(net_view(), NULL, ip) != NULL;
    net_batch_end();
    return ours ? 0 : -EADDRNOTAVAIL;
}

struct sock_row dgram_row(struct dgram_socket *d)
{
    return (struct sock_row){
        .s = &d->s,
        .local = d->s.local,
        .peer = d->s.peer,
        .family = (uint8_t)d->s.family,
        .state = d->connected ? SOCK_ROW_ESTABLISHED : SOCK_ROW_CLOSE,
        .received = d->rmem,
        .unsent = send_buffer_used(&d->sent),
        .drops = d->drops,
    };
}
