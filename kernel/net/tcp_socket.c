/* TCP's system calls but for data: bind, connect, listen, accept, shutdown, poll, close. */
#include "net/shared.h"
#include "net/tcp.h"

/* --- bind, connect ---------------------------------------------------------------------------- */

static bool is_ours(const struct ip_addr *a, uint32_t scope)
{
    struct ip_flow flow = {.src = *a, .dst = *a, .scope = scope, .proto = IPPROTO_TCP_N, .ttl = 64};
    bool ours;

    net_batch_begin();
    ours = ip_route(&flow) == 0 && (flow.netif->flags & NETIF_LOOPBACK);
    ip_flow_release(&flow);
    net_batch_end();
    return ours;
}

static int op_bind(struct socket *s, const struct sock_addr *addr)
{
    struct tcp *t = tcp_of(s);
    int err = 0;

    if (ip_is_multicast(&addr->ip) ||
        (!ip_is_any(&addr->ip) && !s->freebind && !is_ours(&addr->ip, addr->scope)))
        return -EADDRNOTAVAIL;
    if (s->v6only && s->family == 6 && ip_is_v4(&addr->ip))
        return -EINVAL;
    if (addr->port)
        err = shared_bind_begin(IPPROTO_TCP_N, &addr->ip, addr->port);
    if (err)
        return err;
    tcp_lock(t);
    if (t->state != TCP_CLOSE || t->bind.port) {
        err = -EINVAL;
    } else {
        struct sock_addr old = s->local;

        s->local.ip = addr->ip;
        s->local.scope = addr->scope;
        if (s->family == 6 && ip_is_any(&addr->ip) && !ip_is_v4(&addr->ip))
            s->local.ip = (struct ip_addr){.w = {0}};
        err = addr->port || !s->bind_no_port ? tcp_bind_port(t, addr->port) : 0;
        if (err)
            s->local = old;
        else
            t->user_bound = t->bind.port;
    }
    tcp_unlock(t);
    if (addr->port)
        shared_bind_end(IPPROTO_TCP_N, &addr->ip, addr->port, err);
    return err;
}

/* From CLOSE to SYN-SENT. Locked. */
static int start_connect(struct tcp *t, const struct sock_addr *addr)
{
    struct socket *s = &t->s;
    struct ip_addr dst = addr->ip;
    struct tcp_tw *before = NULL; /* an earlier connection between the same ports */
    nsec_t now = time_now();
    int err;

    if (ip_is_any(&dst)) /* the loopback address, as BSD had it */
        dst = ip_is_v4(&dst) || s->family == 4 ? ip_from_v4(net32(0x7f000001))
                                               : (struct ip_addr){.w = {0, 0, 0, net32(1)}};
    if (ip_is_multicast(&dst) || (s->v6only && ip_is_v4(&dst)))
        return -ENETUNREACH;
    if (!ip_is_any(&s->local.ip) && ip_is_v4(&s->local.ip) != ip_is_v4(&dst))
        return -EINVAL;

    ip_flow_release(&t->flow);
    t->flow = (struct ip_flow){
        .src = ip_is_any(&s->local.ip) && ip_is_v4(&dst) ? ip_from_v4(0) : s->local.ip,
        .dst = dst,
        .scope = addr->scope ? addr->scope : (uint32_t)s->bound_ifindex,
        .proto = IPPROTO_TCP_N,
        .dont_fragment = true,
    };
    t->e.remote = dst;
    t->e.rport = addr->port;
    err = tcp_refresh_route(t);
    if (err)
        return err;
    t->e.local = t->flow.src;
    if (t->bind.port) {
        t->e.lport = s->local.port;
        err = tcp_table_insert(t, &before);
    } else {
        struct ip_addr old = s->local.ip;

        s->local.ip = t->e.local;
        err = tcp_bind_connect(t, &before);
        if (err)
            s->local.ip = old;
    }
    if (err)
        return err;
    s->local.ip = t->e.local;
    s->local.scope = ip_is_link_local(&dst) ? t->flow.scope : 0;
    s->peer = (struct sock_addr){dst, addr->port, addr->scope};
    s->error = 0;
    s->shut = 0;
    t->soft_error = 0;
    t->fin_queued = t->fin_received = false;
    t->sack_on = t->ts_on = t->wscale_on = t->ecn_on = false;
    t->backoff = 0;
    t->first_unacked_at = 0;
    t->syn_at = 0;
    t->total_retrans = 0;
    t->srtt = 0;
    t->rto = TCP_RTO_INITIAL;
    t->ca_state = CA_OPEN;
    t->ssthresh = UINT32_MAX;
    t->mss_peer = 0;
    t->rcv_wscale = tcp_choose_wscale(s);
    t->ts_offset = tcp_make_ts_offset(&t->e.local, &t->e.remote);
    t->iss = before ? tcp_tw_replaced(before) : tcp_make_isn(&t->e, now);
    t->snd_una = t->iss;
    t->snd_nxt = t->write_seq = t->iss + 1;
    t->snd_sml = t->snd_up = t->snd_una;
    t->snd_wnd = 0;
    t->created_at = now;
    net_count(NET_Tcp_ActiveOpens);
    tcp_enter_state(t, TCP_SYN_SENT);
    err = tcp_send_syn(t, now);
    if (err == -ENOMEM || err == -ENOBUFS)
        err = 0; /* as if lost */
    if (err) {
        tcp_done(t, 0);
        s->shut = 0;
        return err;
    }
    tcp_set_deadline(t, TIMER_SEND, now + t->rto);
    return 0;
}

static bool connect_over(struct tcp *t)
{
    return !tcp_in(t, TCPF(TCP_SYN_SENT) | TCPF(TCP_SYN_RECV));
}

/* The connection attempt has ended: how? Locked. */
static int connect_result(struct tcp *t)
{
    t->connecting = false;
    if (t->state == TCP_CLOSE) {
        int err = t->s.error ? t->s.error : ECONNABORTED;

        t->s.error = 0;
        t->s.shut = 0; /* another attempt may follow */
        return -err;
    }
    return 0;
}

static int try_connect(struct socket *s, const struct sock_addr *addr, bool nonblock)
{
    struct tcp *t = tcp_of(s);
    int err = 0;

    tcp_lock(t);
    if (t->connecting) {
        err = connect_over(t) ? connect_result(t) : -EALREADY;
        if (err != -EALREADY || nonblock)
            goto out;
    } else if (t->state != TCP_CLOSE) {
        err = -EISCONN;
        goto out;
    } else {
        err = start_connect(t, addr);
        if (err)
            goto out;
        t->connecting = true;
        err = -EINPROGRESS;
        if (nonblock)
            goto out;
    }
    {
        nsec_t deadline = s->snd_timeout ? time_now() + s->snd_timeout : NSEC_NEVER;
        int waited;

        tcp_unlock(t);
        waited = wait_event_timeout(&s->wait, connect_over(t), deadline);
        tcp_lock(t);
        if (connect_over(t))
            err = connect_result(t);
        else if (waited != -ETIMEDOUT)
            err = waited;
    }
out:
    tcp_unlock(t);
    return err;
}

/* With a shared address more ports can be had. */
static int op_connect(struct socket *s, const struct sock_addr *addr, bool nonblock)
{
    int err = try_connect(s, addr, nonblock);

    if (unlikely(err == -EADDRNOTAVAIL) && !nonblock && port_ranges_grow())
        err = try_connect(s, addr, nonblock);
    return err;
}

/* --- listen, accept --------------------------------------------------------------------------- */

static void tell_listening(const struct socket *s, bool open)
{
    if (socket_listen_hook)
        socket_listen_hook(IPPROTO_TCP_N, &s->local, s->family, open);
}

static int op_listen(struct socket *s, int backlog)
{
    struct tcp *t = tcp_of(s);
    uint32_t max = net_tunables.somaxconn;
    bool opened = false;
    int err = 0;

    tcp_lock(t);
    if (t->state != TCP_CLOSE && t->state != TCP_LISTEN) {
        err = -EINVAL;
        goto out;
    }
    t->backlog = backlog < 0 || (uint32_t)backlog > max ? max : (uint32_t)backlog;
    if (t->state == TCP_LISTEN)
        goto out;
    if (!t->bind.port)
        err = tcp_bind_port(t, 0);
    if (!err)
        err = tcp_bind_listen(t);
    if (err)
        goto out;
    s->shut = 0;
    s->error = 0;
    t->connecting = false;
    t->rcv_wscale = tcp_choose_wscale(s);
    tcp_enter_state(t, TCP_LISTEN);
    s->listening = true;
    opened = true;
out:
    tcp_unlock(t);
    if (opened)
        tell_listening(s, true);
    return err;
}

static bool accept_ready(struct tcp *t)
{
    return READ_ONCE(t->accept_count) || !tcp_in(t, TCPF(TCP_LISTEN));
}

static int op_accept(struct socket *s, struct socket **out, bool nonblock)
{
    struct tcp *t = tcp_of(s), *c;
    nsec_t deadline = s->rcv_timeout ? time_now() + s->rcv_timeout : NSEC_NEVER;
    int err = 0;

    spin_lock_bh(&s->lock);
    for (;;) {
        if (t->state != TCP_LISTEN) {
            err = -EINVAL;
            break;
        }
        c = list_pop_front(&t->accept_queue, struct tcp, accept_link);
        if (c) {
            WRITE_ONCE(t->accept_count, t->accept_count - 1);
            *out = &c->s;
            break;
        }
        if (nonblock) {
            err = -EAGAIN;
            break;
        }
        spin_unlock_bh(&s->lock);
        err = wait_event_exclusive(&s->wait, accept_ready(t), deadline);
        spin_lock_bh(&s->lock);
        if (err) {
            err = err == -ETIMEDOUT ? -EAGAIN : err;
            break;
        }
    }
    spin_unlock_bh(&s->lock);
    return err;
}

/* Ends the listening state: what waited to be accepted is reset. Locked. */
static void stop_listening(struct tcp *t)
{
    struct tcp *c;

    tcp_enter_state(t, TCP_CLOSE);
    t->s.listening = false;
    tcp_bind_release(&t->bind);
    t->user_bound = false;
    while ((c = list_pop_front(&t->syn_queue, struct tcp, accept_link)) ||
           (c = list_pop_front(&t->accept_queue, struct tcp, accept_link))) {
        spin_lock(&c->s.lock);
        if (c->listener) {
            c->listener = NULL;
            tcp_put(t);
        }
        c->orphan = true;
        tcp_abort(c, 0);
        tcp_purge_receive(c);
        tcp_bind_release(&c->bind);
        spin_unlock(&c->s.lock);
        tcp_put(c);
    }
    t->syn_count = 0;
    WRITE_ONCE(t->accept_count, 0);
    tcp_wake(t, ~0u);
}

/* --- disconnect, shutdown, close -------------------------------------------------------------- */

static struct ip_addr unspecified(const struct socket *s)
{
    return s->family == 4 ? ip_from_v4(0) : (struct ip_addr){.w = {0}};
}

static int op_disconnect(struct socket *s)
{
    struct tcp *t = tcp_of(s);
    bool listened;

    tcp_lock(t);
    listened = t->state == TCP_LISTEN;
    if (listened) {
        struct sock_addr was = s->local;

        stop_listening(t);
        tcp_unlock(t);
        if (socket_listen_hook)
            socket_listen_hook(IPPROTO_TCP_N, &was, s->family, false);
        tcp_lock(t);
    } else {
        tcp_abort(t, 0);
    }
    tcp_purge_receive(t);
    if (!t->user_bound)
        s->local = (struct sock_addr){.ip = unspecified(s)};
    s->peer = (struct sock_addr){.ip = unspecified(s)};
    s->shut = 0;
    s->error = 0;
    t->connecting = false;
    t->copied = t->rcv_nxt;
    t->fin_received = t->fin_queued = false;
    tcp_wake(t, POLL_IN | POLL_OUT | POLL_HUP);
    tcp_unlock(t);
    return 0;
}

static int op_shutdown(struct socket *s, int how)
{
    struct tcp *t = tcp_of(s);
    int err = 0;

    if (how < 0 || how > 2)
        return -EINVAL;
    tcp_lock(t);
    switch (t->state) {
    case TCP_CLOSE:
        err = -ENOTCONN;
        break;
    case TCP_LISTEN:
    case TCP_SYN_SENT:
        if (how == 1 && t->state == TCP_LISTEN)
            break;
        tcp_unlock(t);
        return op_disconnect(s);
    default:
        if (how != 1)
            s->shut |= 1;
        if (how != 0 && !(s->shut & 2)) {
            s->shut |= 2;
            if (tcp_in(t, TCPF_CAN_SEND | TCPF(TCP_SYN_RECV)))
                tcp_queue_fin(t);
        }
        tcp_wake(t, POLL_IN | POLL_OUT | POLL_RDHUP | POLL_RDNORM | POLL_WRNORM);
    }
    tcp_unlock(t);
    return err;
}

static bool closed_enough(struct tcp *t)
{
    return !tcp_in(t, TCPF(TCP_FIN_WAIT1) | TCPF(TCP_CLOSING) | TCPF(TCP_LAST_ACK));
}

static void close_connection(struct tcp *t)
{
    struct socket *s = &t->s;
    bool unread = tcp_readable(t) != 0;

    t->orphan = true;
    s->shut = 3;
    if (tcp_in(t, TCPF(TCP_SYN_SENT))) {
        tcp_done(t, 0);
    } else if (unread || (s->linger_on && s->linger_s == 0)) {
        tcp_abort(t, 0); /* RFC 2525 2.17: the peer should know that data were lost */
    } else if (tcp_in(t, TCPF_CAN_SEND | TCPF(TCP_SYN_RECV))) {
        t->orphan = false; /* until the wait for SO_LINGER is over */
        tcp_queue_fin(t);
        if (s->linger_on && !closed_enough(t)) {
            nsec_t deadline = time_now() + s->linger_s * NSEC_PER_SEC;

            tcp_unlock(t);
            (void)wait_event_timeout(&s->wait, closed_enough(t), deadline);
            tcp_lock(t);
        }
        t->orphan = true;
    }
    tcp_purge_receive(t);
    t->copied = t->rcv_nxt - t->fin_received;
    if (t->state == TCP_FIN_WAIT2) {
        if (t->linger2_s < 0)
            tcp_abort(t, 0);
        else
            tcp_set_deadline(t, TIMER_LINGER, time_now() + tcp_fin_timeout(t));
    }
    if (t->state == TCP_CLOSE)
        tcp_bind_release(&t->bind);
}

static void op_close(struct socket *s)
{
    struct tcp *t = tcp_of(s);

    tcp_lock(t);
    if (t->state == TCP_LISTEN) {
        stop_listening(t);
        tcp_unlock(t);
        tell_listening(s, false);
    } else {
        close_connection(t);
        tcp_unlock(t);
    }
    socket_put(s);
}

/* --- poll ------------------------------------------------------------------------------------- */

unsigned tcp_poll(struct socket *s)
{
    struct tcp *t = tcp_of(s);
    enum tcp_state state = READ_ONCE(t->state);
    unsigned shut = READ_ONCE(s->shut), bits = 0;

    if (state == TCP_LISTEN)
        return READ_ONCE(t->accept_count) ? POLL_IN | POLL_RDNORM : 0;
    if (shut == 3 || state == TCP_CLOSE)
        bits |= POLL_HUP;
    if (shut & 1)
        bits |= POLL_IN | POLL_RDNORM | POLL_RDHUP;
    if (READ_ONCE(s->error))
        bits |= POLL_ERR;
    if (state == TCP_SYN_SENT || state == TCP_SYN_RECV)
        return bits;
    if (tcp_readable(t) >= MAX(s->rcv_lowat, 1u))
        bits |= POLL_IN | POLL_RDNORM;
    if ((shut & 2) || tcp_writable(t)) {
        bits |= POLL_OUT | POLL_WRNORM;
    } else {
        WRITE_ONCE(t->want_space, true);
        atomic_thread_fence(memory_order_seq_cst); /* the ACK may come just now */
        if (tcp_writable(t))
            bits |= POLL_OUT | POLL_WRNORM;
    }
    if (t->urg_valid && !seq_before(t->urg_seq, t->copied + 1))
        bits |= POLL_PRI;
    return bits;
}

/* Keepalive was switched, or the traffic class changed: the flow has a copy. */
static void op_option_changed(struct socket *s)
{
    struct tcp *t = tcp_of(s);

    tcp_lock(t);
    if (!tcp_in(t, TCPF(TCP_CLOSE) | TCPF(TCP_LISTEN))) {
        if (t->flow.tos != (s->tos & ~3u) || t->flow.ttl != s->ttl)
            (void)tcp_refresh_route(t);
        tcp_reset_keepalive(t, time_now());
    }
    tcp_unlock(t);
}

const struct socket_ops tcp_ops = {
    .bind = op_bind,
    .connect = op_connect,
    .disconnect = op_disconnect,
    .listen = op_listen,
    .accept = op_accept,
    .send = tcp_send,
    .recv = tcp_recv,
    .sendpages = tcp_sendpages,
    .shutdown = op_shutdown,
    .poll = tcp_poll,
    .setopt = tcp_setopt,
    .getopt = tcp_getopt,
    .ioctl = tcp_ioctl,
    .option_changed = op_option_changed,
    .close = op_close,
};
