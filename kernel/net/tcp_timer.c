/*
 * Deadlines of a connection: retransmission (RFC 6298), loss probe and reordering (RFC 8985),
 * window probes, delayed ACKs, keepalive, FIN-WAIT-2.
 *
 * One struct timer serves them all. It is armed for the earliest deadline of a time; a deadline
 * that moves later (each ACK moves the retransmission's) is just a store, and the timer, when it
 * fires too early, goes back to sleep. The armed timer holds a reference.
 */
#include "net/tcp.h"

static void arm(struct tcp *t, nsec_t at)
{
    /* A timer that was queued passes its reference on; one that is about to run on another CPU
     * keeps its own. */
    if (!timer_cancel(&t->timer))
        tcp_get(t);
    t->timer_at = at;
    timer_arm(&t->timer, at);
}

void tcp_set_deadline(struct tcp *t, enum tcp_timer_kind kind, nsec_t at)
{
    t->deadline[kind] = at;
    if (at < t->timer_at && t->state != TCP_CLOSE)
        arm(t, at);
}

void tcp_stop_timers(struct tcp *t)
{
    for (int i = 0; i < TIMER_KINDS; i++)
        t->deadline[i] = NSEC_NEVER;
    t->timer_at = NSEC_NEVER;
    if (timer_cancel(&t->timer))
        tcp_put(t);
}

void tcp_schedule_ack(struct tcp *t, nsec_t now)
{
    if (t->deadline[TIMER_DELACK] == NSEC_NEVER)
        tcp_set_deadline(t, TIMER_DELACK, tcp_coarse(now + TCP_DELACK));
}

nsec_t tcp_fin_timeout(const struct tcp *t)
{
    return (t->linger2_s > 0 ? t->linger2_s : net_tunables.fin_timeout_s) * NSEC_PER_SEC;
}

static nsec_t keep_idle(const struct tcp *t)
{
    return (t->keep_idle_s ? t->keep_idle_s : net_tunables.keepalive_time_s) * NSEC_PER_SEC;
}

void tcp_reset_keepalive(struct tcp *t, nsec_t now)
{
    /* The deadline is there even without SO_KEEPALIVE, which may be set any time. */
    if (!tcp_in(t, TCPF(TCP_CLOSE) | TCPF(TCP_LISTEN) | TCPF(TCP_SYN_SENT)))
        tcp_set_deadline(t, TIMER_KEEP, now + keep_idle(t));
}

static void keepalive(struct tcp *t, nsec_t now)
{
    nsec_t idle = now - t->last_rcv, after = keep_idle(t);
    int intvl = t->keep_intvl_s ? t->keep_intvl_s : net_tunables.keepalive_intvl_s;
    int cnt = t->keep_cnt ? t->keep_cnt : net_tunables.keepalive_probes;

    if (t->keep_probes && t->last_rcv > t->probe_at)
        t->keep_probes = 0; /* it answered */
    if (!t->s.keepalive || t->snd_una != t->snd_nxt ||
        t->unsent) { /* retransmissions test the peer */
        tcp_set_deadline(t, TIMER_KEEP, now + after);
        return;
    }
    if (t->keep_probes == 0 && idle < after) {
        tcp_set_deadline(t, TIMER_KEEP, now - idle + after);
        return;
    }
    if (t->user_timeout_ms ? idle >= t->user_timeout_ms * NSEC_PER_MSEC && t->keep_probes > 0
                           : t->keep_probes >= cnt) {
        net_count(NET_Librettos_TcpKeepaliveDrops);
        tcp_abort(t, t->soft_error ? t->soft_error : ETIMEDOUT);
        return;
    }
    t->keep_probes++;
    t->probe_at = now;
    tcp_send_probe(t, now);
    tcp_set_deadline(t, TIMER_KEEP, now + intvl * NSEC_PER_SEC);
}

/* When memory is short, what nobody waits for goes first. */
static bool expendable(const struct tcp *t)
{
    return t->orphan && tcp_memory() == TCP_MEMORY_FULL;
}

/* The peer answers with a closed window: it is there, and has no room. Probing goes on as long as
 * that is so (RFC 9293 3.8.6.1). */
static void note_answer(struct tcp *t)
{
    if (!t->unanswered || t->last_rcv < t->probe_at)
        return;
    t->unanswered = 0;
    if (!t->user_timeout_ms)
        t->first_unacked_at = 0;
}

/* Whether retransmitting what was sent first at `since` has gone on for too long: RFC 9293 3.8.3,
 * RFC 5482. */
static bool gave_up(struct tcp *t, nsec_t since, nsec_t now, int retries, int done)
{
    if (!t->first_unacked_at)
        t->first_unacked_at = since;
    if (t->user_timeout_ms)
        return now - t->first_unacked_at >= t->user_timeout_ms * NSEC_PER_MSEC;
    return done >= retries;
}

static void give_up(struct tcp *t)
{
    net_count(NET_TcpExt_TCPAbortOnTimeout);
    tcp_abort(t, t->soft_error ? t->soft_error : ETIMEDOUT);
}

static void syn_timeout(struct tcp *t, struct tcp *listener, nsec_t now)
{
    int retries = t->syncnt ? t->syncnt : net_tunables.syn_retries;

    if (t->state == TCP_SYN_RECV && listener)
        retries = listener->syncnt ? listener->syncnt : net_tunables.synack_retries;
    if (gave_up(t, t->syn_at, now, retries, t->backoff)) {
        if (listener)
            tcp_child_unlink(listener, t);
        net_count(NET_TcpExt_TCPAbortOnTimeout);
        tcp_done(t, t->soft_error ? t->soft_error : ETIMEDOUT);
        return;
    }
    t->backoff++;
    if (!(listener && t->syn_acked)) { /* deferred accept: the ACK came, data did not */
        t->total_retrans++;
        net_count(NET_Tcp_RetransSegs);
        tcp_send_syn(t, now);
    } else if (t->backoff > 1) {
        tcp_send_syn(t, now);
    }
    tcp_set_deadline(t, TIMER_SEND, tcp_user_limit(t, now + tcp_backoff(t, t->backoff), now));
}

/* The window is closed or a small segment was held back. */
static void persist(struct tcp *t, nsec_t now)
{
    struct tcp_seg *g = t->unsent;
    uint32_t window = t->snd_una + t->snd_wnd - t->snd_nxt;

    if (!g || t->snd_una != t->snd_nxt) {
        tcp_rearm_send_timer(t, now);
        return;
    }
    if (t->snd_wnd && (int32_t)window > 0) {
        bool cork = t->cork, more = t->more, nodelay = t->nodelay;

        t->cork = t->more = false;
        t->nodelay = true;
        tcp_push(t, now);
        t->cork = cork;
        t->more = more;
        t->nodelay = nodelay;
        return;
    }
    note_answer(t);
    if (gave_up(t, now, now, net_tunables.retries2, t->unanswered) ||
        (t->orphan && t->probes >= net_tunables.orphan_retries) || expendable(t)) {
        give_up(t);
        return;
    }
    if (t->probes < 255)
        t->probes++;
    t->unanswered++;
    t->probe_at = now;
    tcp_send_probe(t, now);
    tcp_rearm_send_timer(t, now);
}

/* RFC 6298 5.4 - 5.7. */
static void retransmission_timeout(struct tcp *t, nsec_t now)
{
    struct tcp_seg *g = tcp_head(t);
    int retries = t->orphan ? net_tunables.orphan_retries : net_tunables.retries2;
    /* The peer closed its window in front of data in flight: as long as it says so we are patient,
     * but nobody is left to wait for an orphan's data. */
    bool shut = !t->snd_wnd, patient = shut && !t->orphan;

    if (!g || t->snd_una == t->snd_nxt) {
        tcp_rearm_send_timer(t, now);
        return;
    }
    if (shut)
        note_answer(t);
    if (gave_up(t, g->sent_at, now, retries, patient ? t->unanswered : t->backoff) ||
        expendable(t)) {
        give_up(t);
        return;
    }
    if (shut) {
        t->unanswered++;
        t->probe_at = now;
    }
    net_count(NET_TcpExt_TCPTimeouts);
    /* Large segments vanish, small ones pass: a path that drops without telling (RFC 4821 3, 7.7).
     */
    if (net_tunables.mtu_probing && !shut && g->len >= t->mss && t->mss > TCP_DEFAULT_MSS6 / 2) {
        if (t->blackhole_probes < 255)
            t->blackhole_probes++;
        if (t->blackhole_probes == 2)
            tcp_update_mss(t);
    }
    tcp_enter_loss(t, now);
    if (t->backoff < 16)
        t->backoff++;
    if (t->backoff == 3)
        ip_flow_release(&t->flow); /* perhaps another way is better by now */
    tcp_retransmit(t, g, t->mss, now);
    tcp_rearm_send_timer(t, now);
}

static void send_timer(struct tcp *t, struct tcp *listener, nsec_t now)
{
    if (tcp_in(t, TCPF(TCP_SYN_SENT) | TCPF(TCP_SYN_RECV))) {
        syn_timeout(t, listener, now);
        return;
    }
    switch (t->send_mode) {
    case SEND_PROBE:
        tcp_tlp_fire(t, now);
        break;
    case SEND_REORDER:
        if (tcp_rack_detect(t, now))
            tcp_start_recovery(t, now);
        tcp_retransmit_lost(t, now);
        if (t->send_mode == SEND_REORDER && t->deadline[TIMER_SEND] == NSEC_NEVER)
            tcp_rearm_send_timer(t, now);
        break;
    case SEND_PERSIST:
        persist(t, now);
        break;
    default:
        retransmission_timeout(t, now);
    }
}

static bool take_due(struct tcp *t, enum tcp_timer_kind kind, nsec_t now)
{
    if (t->deadline[kind] > now)
        return false;
    t->deadline[kind] = NSEC_NEVER;
    return true;
}

static void run_due(struct tcp *t, struct tcp *listener, nsec_t now)
{
    if (take_due(t, TIMER_DELACK, now))
        tcp_send_ack(t, now);
    if (take_due(t, TIMER_SEND, now))
        send_timer(t, listener, now);
    if (t->state != TCP_CLOSE && take_due(t, TIMER_BURST, now))
        tcp_push(t, now);
    if (t->state != TCP_CLOSE && take_due(t, TIMER_KEEP, now))
        keepalive(t, now);
    if (t->state != TCP_CLOSE && take_due(t, TIMER_LINGER, now) && t->orphan)
        tcp_done(t, 0); /* FIN-WAIT-2 for too long */
}

static void timer_fired(struct timer *timer)
{
    struct tcp *t = container_of(timer, struct tcp, timer);
    nsec_t now = time_now();
    struct tcp *listener;

    net_batch_begin();
    listener = tcp_lock_both(t);
    t->timer_at = NSEC_NEVER;
    if (t->state != TCP_CLOSE && t->state != TCP_LISTEN)
        run_due(t, listener, now);
    if (t->state != TCP_CLOSE) {
        nsec_t next = NSEC_NEVER;

        for (int i = 0; i < TIMER_KINDS; i++)
            next = MIN(next, t->deadline[i]);
        if (next < t->timer_at)
            arm(t, next);
    }
    tcp_unlock_both(t, listener);
    net_batch_end();
    tcp_put(t);
}

void tcp_timer_init(struct tcp *t)
{
    timer_init(&t->timer, timer_fired);
    t->timer_at = NSEC_NEVER;
    for (int i = 0; i < TIMER_KINDS; i++)
        t->deadline[i] = NSEC_NEVER;
}
