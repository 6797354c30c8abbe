/*
 * What the network reports: ICMP errors (RFC 5927 checks: the quoted sequence number must be in
 * flight), path MTU changes (RFC 1191, RFC 8201), and paths that work again after a switch or a
 * crash.
 */
#include "core/deferred.h"
#include "net/tcp.h"

/* The packets were too large: split what is in flight to the new size and send it again now. */
static void mtu_reduced(struct tcp *t, uint32_t mtu)
{
    uint32_t old = t->mss;
    struct tcp_seg *g;

    if (!mtu || mtu >= t->flow.mtu) {
        if (!ip_flow_stale(&t->flow))
            return;
    }
    if (tcp_refresh_route(t) < 0 || t->mss >= old)
        return;
    list_for_each (g, &t->queue, link) {
        if (g == t->unsent)
            break;
        if (g->len > t->mss)
            tcp_mark_lost(t, g);
    }
    tcp_retransmit_lost(t, time_now());
}

static void connection_error(struct tcp *t, struct tcp *listener, int err, uint32_t mtu)
{
    if (err == EMSGSIZE) {
        if (!tcp_in(t, TCPF(TCP_SYN_SENT) | TCPF(TCP_SYN_RECV)))
            mtu_reduced(t, mtu);
        return;
    }
    /* Hard errors end an attempt to connect; on a connection all are soft (RFC 5461, RFC 1122
     * 4.2.3.9): they tell why, if the retransmissions fail. */
    if (t->state == TCP_SYN_SENT) {
        tcp_done(t, err);
        return;
    }
    if (t->state == TCP_SYN_RECV && err == ECONNREFUSED) {
        if (listener)
            tcp_child_unlink(listener, t);
        tcp_done(t, err);
        return;
    }
    t->soft_error = err;
    if (t->s.recverr) {
        t->s.error = err;
        tcp_wake(t, POLL_ERR);
    }
}

void tcp_icmp_error(const struct ip_addr *src, const struct ip_addr *dst, const uint8_t *transport,
                    int err, uint32_t mtu)
{
    const struct tcp_header *h = (const struct tcp_header *)(const void *)transport;
    struct tcp_entry *e = tcp_table_lookup(src, net16(h->sport), dst, net16(h->dport));
    uint32_t seq = net32(h->seq);
    struct tcp *t, *listener;

    if (!e)
        return;
    if (e->time_wait) {
        tcp_entry_put(e);
        return;
    }
    t = tcp_of_entry(e);
    listener = tcp_lock_both(t);
    if (t->state != TCP_CLOSE && seq_between(seq, t->snd_una, t->snd_nxt)) {
        if (err == -EMSGSIZE)
            pmtu_learn(dst, mtu);
        connection_error(t, listener, err < 0 ? -err : err, mtu);
    } else {
        net_count(NET_TcpExt_OutOfWindowIcmps);
    }
    tcp_unlock_both(t, listener);
    tcp_put(t);
}

/* --- paths ------------------------------------------------------------------------------------ */

/* What was sent again into the dead path is lost, too. */
static void forget_retransmissions(struct tcp *t)
{
    struct tcp_seg *g;

    list_for_each (g, &t->queue, link) {
        if (g == t->unsent)
            break;
        if (g->state & SEG_RETRANS)
            tcp_mark_lost(t, g);
    }
}

static void kick(struct tcp_entry *e, void *arg)
{
    struct netif *n = arg;
    struct tcp *t, *listener;
    nsec_t now;

    if (e->time_wait) {
        tcp_entry_put(e);
        return;
    }
    t = tcp_of_entry(e);
    net_batch_begin();
    now = time_now();
    listener = tcp_lock_both(t);
    if (t->state != TCP_CLOSE && (!n || t->flow.netif == n)) {
        bool waits = t->snd_una != t->snd_nxt || t->unsent;

        t->backoff = t->probes = 0;
        if (t->blackhole_probes) { /* it was not the size */
            t->blackhole_probes = 0;
            tcp_update_mss(t);
        }
        if (tcp_in(t, TCPF(TCP_SYN_SENT) | TCPF(TCP_SYN_RECV))) {
            net_count(NET_Librettos_TcpPathKicks);
            tcp_send_syn(t, now);
            tcp_set_deadline(t, TIMER_SEND, now + t->rto);
        } else if (waits) {
            struct tcp_seg *g = tcp_head(t);

            net_count(NET_Librettos_TcpPathKicks);
            if (t->snd_una == t->snd_nxt) {
                t->snd_wnd ? tcp_push(t, now) : tcp_send_probe(t, now);
            } else if (t->ca_state == CA_LOSS) {
                /* It was an outage, not congestion: begin anew as after the handshake. */
                forget_retransmissions(t);
                t->cwnd = MAX(t->cwnd, MIN(tcp_initial_cwnd(t->mss), t->prior_cwnd));
                t->ssthresh = MAX(t->ssthresh, t->prior_ssthresh);
                tcp_retransmit_lost(t, now);
            } else if (!(g->state & SEG_SACKED)) {
                /* The head again: its ACK tells RACK what else is missing. */
                tcp_retransmit(t, g, t->mss, now);
            }
            tcp_rearm_send_timer(t, now);
        } else { /* the peer may be the one who waits: tell it where we are */
            tcp_send_ack(t, now);
        }
    }
    tcp_unlock_both(t, listener);
    net_batch_end();
    tcp_put(t);
}

static struct work kick_work;
static struct netif *kick_netif;

static void kick_all(struct work *w)
{
    (void)w;
    tcp_table_for_each(kick, kick_netif);
}

void tcp_path_changed(struct netif *n)
{
    static spinlock_t lock = SPINLOCK_INIT;

    spin_lock_bh(&lock);
    if (kick_work.pending && kick_netif != n)
        n = NULL; /* two at once: all */
    kick_netif = n;
    if (!kick_work.run)
        work_init(&kick_work, kick_all);
    work_schedule(&kick_work);
    spin_unlock_bh(&lock);
}
