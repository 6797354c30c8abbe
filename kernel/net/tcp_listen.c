/*
 * Passive opens: SYNs for a listener become children in SYN-RECEIVED (the SYN queue), and with the
 * final ACK they move to the accept queue. When the SYN queue is full cookies take its place
 * (tcp_syncookie.c). Also here: answers to segments that belong to nobody.
 */
#include "net/tcp.h"

void tcp_reset_reply(const struct tcp_rx *r)
{
    const struct pkt *p = r->p;
    struct tcp_reply reply = {
        .src = &p->dst,
        .dst = &p->src,
        .sport = r->dport,
        .dport = r->sport,
        .flags = TH_RST,
        .scope = p->netif ? (uint32_t)p->netif->index : 0,
    };

    if ((r->flags & TH_RST) || ip_is_multicast(&p->src) || (p->flags & PKT_BROADCAST))
        return;
    if (r->flags & TH_ACK) { /* 3.10.7.1 */
        reply.seq = r->ack;
    } else {
        reply.ack = r->end;
        reply.flags |= TH_ACK;
    }
    net_count(NET_Tcp_OutRsts);
    tcp_send_reply(&reply);
}

struct tcp *tcp_lock_both(struct tcp *t)
{
    struct tcp *l;

    for (;;) {
        spin_lock(&t->s.lock);
        l = t->state == TCP_SYN_RECV ? t->listener : NULL;
        if (!l)
            return NULL;
        tcp_get(l);
        spin_unlock(&t->s.lock);
        spin_lock(&l->s.lock);
        spin_lock(&t->s.lock);
        if (t->state == TCP_SYN_RECV && t->listener == l)
            return l;
        spin_unlock(&t->s.lock);
        spin_unlock(&l->s.lock);
        tcp_put(l);
    }
}

void tcp_unlock_both(struct tcp *t, struct tcp *l)
{
    spin_unlock(&t->s.lock);
    if (l) {
        spin_unlock(&l->s.lock);
        tcp_put(l);
    }
}

static void leave_syn_queue(struct tcp *l, struct tcp *child)
{
    list_remove(&child->accept_link);
    l->syn_count--;
    child->listener = NULL;
    tcp_put(l);
}

void tcp_child_unlink(struct tcp *l, struct tcp *child)
{
    leave_syn_queue(l, child);
    child->orphan = true;
    tcp_put(child); /* the queue's reference; the caller has its own */
}

static bool accept_queue_full(const struct tcp *l)
{
    return l->accept_count > l->backlog;
}

/* The backlog was looked at when the SYN came: who was let in then is connected now, and so thinks
 * the peer. To drop its ACK and first data would make it wait for its timer. The queue can so
 * become longer than the backlog by what the SYN queue held. */
void tcp_child_established(struct tcp *l, struct tcp *child)
{
    leave_syn_queue(l, child);
    list_push_back(&l->accept_queue, &child->accept_link);
    WRITE_ONCE(l->accept_count, l->accept_count + 1);
    if (wait_queue_active(&l->s.wait))
        wake_up_max(&l->s.wait, POLL_IN | POLL_RDNORM, 1);
}

/* What accepted sockets take over from the listener. */
static void inherit(struct tcp *c, const struct tcp *l)
{
    struct socket *s = &c->s;
    const struct socket *o = &l->s;

    s->reuse_addr = o->reuse_addr;
    s->reuse_port = o->reuse_port;
    s->keepalive = o->keepalive;
    s->v6only = o->v6only;
    s->linger_on = o->linger_on;
    s->linger_s = o->linger_s;
    s->oobinline = o->oobinline;
    s->rcvbuf = o->rcvbuf;
    s->sndbuf = o->sndbuf;
    s->rcvbuf_locked = o->rcvbuf_locked;
    s->sndbuf_locked = o->sndbuf_locked;
    s->rcv_timeout = o->rcv_timeout;
    s->snd_timeout = o->snd_timeout;
    s->rcv_lowat = o->rcv_lowat;
    s->mark = o->mark;
    s->priority = o->priority;
    s->bound_ifindex = o->bound_ifindex;
    s->tos = o->tos;
    s->ttl = o->ttl;
    s->mtu_discover = o->mtu_discover;
    s->uid = o->uid;
    c->nodelay = l->nodelay;
    c->cork = l->cork;
    c->cc = l->cc;
    c->mss_user = l->mss_user;
    c->keep_idle_s = l->keep_idle_s;
    c->keep_intvl_s = l->keep_intvl_s;
    c->keep_cnt = l->keep_cnt;
    c->linger2_s = l->linger2_s;
    c->user_timeout_ms = l->user_timeout_ms;
    c->notsent_lowat = l->notsent_lowat;
    c->window_clamp = l->window_clamp;
    c->rcv_wscale = l->rcv_wscale;
}

/* A child for the SYN (or the cookie's ACK) with its 4-tuple, route, options and numbers; not in
 * any table yet. NULL: no memory or no route. */
static struct tcp *make_child(struct tcp *l, struct tcp_rx *r, const struct tcp_syn_opts *o,
                              uint32_t irs)
{
    const struct pkt *p = r->p;
    struct tcp *c = tcp_alloc(l->s.family);

    if (!c)
        return NULL;
    inherit(c, l);
    c->e.local = p->dst;
    c->e.remote = p->src;
    c->e.lport = r->dport;
    c->e.rport = r->sport;
    c->s.local = (struct sock_addr){p->dst, r->dport, 0};
    c->s.peer = (struct sock_addr){p->src, r->sport, 0};
    c->flow.src = p->dst;
    c->flow.dst = p->src;
    c->flow.scope = p->netif ? (uint32_t)p->netif->index : 0;
    if (!ip_is_link_local(&p->src))
        c->flow.scope = (uint32_t)c->s.bound_ifindex;
    else
        c->s.peer.scope = c->s.local.scope = c->flow.scope;
    if (tcp_refresh_route(c) < 0) {
        tcp_put(c);
        return NULL;
    }
    c->ts_offset = tcp_make_ts_offset(&c->e.local, &c->e.remote);
    c->irs = irs;
    c->rcv_nxt = c->copied = c->rcv_wup = irs + 1;
    c->created_at = c->last_rcv = r->now;
    tcp_setup_options(c, o);
    return c;
}

/* Locks the child, as it is not complete yet, and enters it into the table. False: the 4-tuple is
 * there, the child is gone. */
static bool enter_table(struct tcp *c)
{
    spin_lock(&c->s.lock);
    if (tcp_table_insert(c, NULL) == 0)
        return true;
    tcp_enter_state(c, TCP_CLOSE);
    spin_unlock(&c->s.lock);
    tcp_put(c);
    return false;
}

/* Whether peers may hold cookies of ours that are still good. */
static bool cookies_about(const struct tcp *l, nsec_t now)
{
    return l->cookies_sent_at && now - l->cookies_sent_at < TCP_COOKIE_LIFE;
}

static void syn_received(struct tcp *l, struct tcp_rx *r, const struct tcp_syn_opts *o)
{
    struct tcp *c = make_child(l, r, o, r->seq);

    if (!c) {
        net_count(NET_TcpExt_ListenDrops);
        return;
    }
    c->iss = tcp_make_isn(&c->e, r->now);
    /* The SYN may come again because its cookie is late: the ACK of that one is to fit, too, if the
     * same options are on either way. */
    if (unlikely(cookies_about(l, r->now)) && (o->ts || (o->wscale < 0 && !o->sack)))
        c->iss = tcp_cookie_isn(r, o);
    if (r->isn_floor && !seq_after(c->iss, r->isn_floor))
        c->iss = r->isn_floor + 0x10000;
    c->snd_una = c->iss;
    c->snd_nxt = c->write_seq = c->iss + 1;
    c->snd_sml = c->snd_up = c->snd_una;
    c->snd_wnd = r->window;
    c->ecn_on = net_tunables.ecn && (r->flags & (TH_ECE | TH_CWR)) == (TH_ECE | TH_CWR);
    tcp_enter_state(c, TCP_SYN_RECV);
    if (!enter_table(c)) /* its twin came in on another CPU */
        return;
    tcp_bind_inherit(&c->bind, &l->bind, &c->e.local);
    c->listener = l;
    tcp_get(l);
    list_push_back(&l->syn_queue, &c->accept_link);
    l->syn_count++;
    tcp_set_deadline(c, TIMER_SEND, r->now + c->rto);
    tcp_send_syn(c, r->now);
    spin_unlock(&c->s.lock);
}

static void cookie_ack(struct tcp *l, struct tcp_rx *r, const struct tcp_syn_opts *o)
{
    struct tcp *c;

    if (accept_queue_full(l)) {
        net_count(NET_TcpExt_ListenOverflows);
        return;
    }
    c = make_child(l, r, o, r->seq - 1);
    if (!c) {
        net_count(NET_TcpExt_ListenDrops);
        return;
    }
    c->rcv_wscale = c->wscale_on ? l->rcv_wscale : 0; /* as the SYN-ACK told */
    c->iss = r->ack - 1;
    c->snd_una = c->snd_nxt = c->write_seq = r->ack;
    c->snd_sml = c->snd_up = c->snd_una;
    c->snd_wnd = c->snd_max_wnd = r->window << c->snd_wscale;
    c->snd_wl1 = r->seq;
    c->snd_wl2 = r->ack;
    c->rcv_wnd = MIN(tcp_full_window(c), 65535u);
    tcp_enter_state(c, TCP_ESTABLISHED);
    if (!enter_table(c))
        return;
    tcp_bind_inherit(&c->bind, &l->bind, &c->e.local);
    tcp_established(c, r->now);
    list_push_back(&l->accept_queue, &c->accept_link);
    WRITE_ONCE(l->accept_count, l->accept_count + 1);
    tcp_process_segment(c, r);
    r->p = NULL;
    spin_unlock(&c->s.lock);
    if (wait_queue_active(&l->s.wait))
        wake_up_max(&l->s.wait, POLL_IN | POLL_RDNORM, 1);
}

/* 3.10.7.2 */
static void listen_state(struct tcp *l, struct tcp_rx *r)
{
    struct tcp_syn_opts o;

    if (r->flags & TH_RST)
        return;
    if (r->flags & TH_ACK) {
        bool recent = cookies_about(l, r->now);

        if (recent && !(r->flags & TH_SYN) && tcp_cookie_check(r, &o)) {
            cookie_ack(l, r, &o);
            return;
        }
        if (recent)
            net_count(NET_TcpExt_SyncookiesFailed);
        /* Data may follow a lost first segment of a connection that only its cookie knows of: that
         * one will come again. */
        if (!recent || r->p->len == r->hlen)
            tcp_reset_reply(r);
        return;
    }
    if (!(r->flags & TH_SYN) || (r->flags & TH_FIN))
        return;
    net_count(NET_Tcp_PassiveOpens);
    tcp_parse_syn_options(r, &o);
    if (unlikely(tcp_memory() == TCP_MEMORY_FULL)) {
        net_count(NET_TcpExt_ListenDrops);
        return;
    }
    if (accept_queue_full(l)) { /* the program does not keep up */
        net_count(NET_TcpExt_ListenOverflows);
        return;
    }
    if (l->syn_count >= MAX(MIN(net_tunables.syn_backlog, l->backlog * 2), 16u)) {
        if (net_tunables.syncookies) {
            l->cookies_sent_at = r->now;
            tcp_cookie_send(l, r, &o);
        } else {
            net_count(NET_TcpExt_ListenDrops);
        }
        return;
    }
    syn_received(l, r, &o);
}

void tcp_listener_input(struct tcp *l, struct tcp_rx *r)
{
    spin_lock(&l->s.lock);
    if (l->state == TCP_LISTEN)
        listen_state(l, r);
    else
        tcp_reset_reply(r);
    spin_unlock(&l->s.lock);
    if (r->p)
        pkt_free(r->p);
}
