/*
 * TIME-WAIT (3.6.1): for 60 s after the close old segments of the connection must find somebody who
 * knows better than a listener. An entry of some 250 bytes stands in for the connection: it keeps
 * the 4-tuple and the port, answers a repeated FIN, and lets a new SYN in that is clearly later
 * (RFC 6191).
 */
#include "net/tcp.h"

static struct {
    spinlock_t lock;
    struct list list; /* oldest first */
    uint32_t count;
    struct timer timer;
    bool armed;
} waiting;
static struct slab *tw_slab;

void tcp_tw_put(struct tcp_tw *tw)
{
    if (!ref_put(&tw->refs))
        return;
    slab_free(tw_slab, tw);
}

uint32_t tcp_tw_count(void)
{
    return READ_ONCE(waiting.count);
}

/* Off the list; false if somebody else was faster. */
static bool unlist(struct tcp_tw *tw)
{
    bool mine;

    spin_lock(&waiting.lock);
    mine = !list_empty(&tw->link);
    if (mine) {
        list_remove(&tw->link);
        waiting.count--;
    }
    spin_unlock(&waiting.lock);
    return mine;
}

/* Out of the tables, with the references these had. The list's is the caller's. */
static void leave_tables(struct tcp_tw *tw)
{
    tcp_bind_release(&tw->bind);
    if (tcp_table_remove(&tw->e))
        tcp_tw_put(tw);
}

void tcp_tw_kill(struct tcp_tw *tw)
{
    if (!unlist(tw))
        return;
    leave_tables(tw);
    tcp_tw_put(tw);
}

bool tcp_tw_reusable(const struct tcp_tw *tw, nsec_t now)
{
    bool allowed =
        net_tunables.tw_reuse == 1 || (net_tunables.tw_reuse == 2 && ip_is_loopback(&tw->e.remote));

    return allowed && tw->ts_on && now - tw->ts_recent_at >= NSEC_PER_SEC;
}

/* Beyond anything the old connection may have sent. */
static uint32_t next_isn(const struct tcp_tw *tw)
{
    uint32_t isn = tw->snd_nxt + 65535 + 2;

    return isn ? isn : 1;
}

uint32_t tcp_tw_replaced(struct tcp_tw *tw)
{
    uint32_t isn = next_isn(tw);

    net_count(NET_TcpExt_TWRecycled);
    if (unlist(tw)) {
        tcp_bind_release(&tw->bind);
        tcp_tw_put(tw);
    }
    tcp_tw_put(tw);
    return isn;
}

static struct tcp_tw *oldest(nsec_t before)
{
    struct tcp_tw *tw = NULL;

    spin_lock(&waiting.lock);
    if (!list_empty(&waiting.list)) {
        tw = list_first(&waiting.list, struct tcp_tw, link);
        if (tw->expires <= before) {
            list_remove(&tw->link);
            waiting.count--;
        } else {
            tw = NULL;
        }
    }
    spin_unlock(&waiting.lock);
    return tw;
}

static void expire(struct timer *timer)
{
    nsec_t now = time_now(), next = NSEC_NEVER;
    struct tcp_tw *tw;

    while ((tw = oldest(now))) {
        leave_tables(tw);
        tcp_tw_put(tw);
    }
    spin_lock(&waiting.lock);
    if (!list_empty(&waiting.list))
        next = list_first(&waiting.list, struct tcp_tw, link)->expires;
    waiting.armed = next != NSEC_NEVER;
    spin_unlock(&waiting.lock);
    if (next != NSEC_NEVER)
        timer_arm(timer, MAX(next, now + NSEC_PER_SEC / 4));
}

static void enlist(struct tcp_tw *tw)
{
    bool arm;

    spin_lock(&waiting.lock);
    list_push_back(&waiting.list, &tw->link);
    waiting.count++;
    arm = !waiting.armed;
    waiting.armed = true;
    spin_unlock(&waiting.lock);
    if (arm)
        timer_arm(&waiting.timer, tw->expires);
}

void tcp_time_wait(struct tcp *t)
{
    struct tcp_tw *tw = NULL;
    nsec_t now = time_now();

    if (waiting.count >= net_tunables.max_tw_buckets) {
        struct tcp_tw *old = oldest(NSEC_NEVER);

        net_count(NET_TcpExt_TCPTimeWaitOverflow);
        if (old) {
            leave_tables(old);
            tcp_tw_put(old);
        }
    }
    if (t->e.prev)
        tw = slab_alloc(tw_slab);
    if (!tw) {
        tcp_done(t, 0);
        return;
    }
    memset(tw, 0, sizeof(*tw));
    ref_init(&tw->refs, 2); /* the table's and the list's */
    list_init(&tw->bind.link);
    list_init(&tw->link); /* once it is in the table others may look, before it is on the list */
    tw->e.local = t->e.local;
    tw->e.remote = t->e.remote;
    tw->e.lport = t->e.lport;
    tw->e.rport = t->e.rport;
    tw->e.time_wait = true;
    tw->rcv_nxt = t->rcv_nxt;
    tw->snd_nxt = t->snd_nxt;
    tw->rcv_wnd = tcp_select_window(t);
    tw->received = (uint32_t)MIN(t->bytes_received, (uint64_t)1 << 31);
    tw->ts_on = t->ts_on;
    tw->ts_recent = t->ts_recent;
    tw->ts_recent_at = t->ts_recent_at;
    tw->ts_offset = t->ts_offset;
    tw->wscale = t->rcv_wscale;
    tw->tos = t->s.tos;
    tw->scope = t->flow.scope;
    tw->expires = now + TCP_TIMEWAIT_LEN;
    if (t->bind.port) {
        tcp_bind_inherit(&tw->bind, &t->bind, &t->e.local);
        tw->bind.time_wait = true;
    }
    tcp_table_replace(&t->e, &tw->e);
    tcp_put(t); /* the table's reference; the caller has its own */
    enlist(tw);
    tcp_done(t, 0);
}

static void answer(struct tcp_tw *tw, nsec_t now)
{
    struct tcp_reply reply = {
        .src = &tw->e.local,
        .dst = &tw->e.remote,
        .sport = tw->e.lport,
        .dport = tw->e.rport,
        .seq = tw->snd_nxt,
        .ack = tw->rcv_nxt,
        .window = (uint16_t)(tw->rcv_wnd >> tw->wscale),
        .flags = TH_ACK,
        .tos = tw->tos,
        .scope = tw->scope,
    };

    if (tw->ts_on) {
        tcp_write_timestamp(reply.opts, (uint32_t)((uint64_t)now >> TCP_TS_SHIFT) + tw->ts_offset,
                            tw->ts_recent);
        reply.opts_len = TCP_TS_BYTES;
    }
    tcp_send_reply(&reply);
}

/* Whether an initial sequence number is one of the old connection's, or so close before these that
 * a window of new data reaches them. Further away, old segments cannot be taken for new ones, even
 * if it is earlier by the circle: a peer that opens many connections in little time goes around it
 * (libslirp: with 68,000), as do peers behind one translated address. */
static bool is_of_old_connection(const struct tcp_tw *tw, uint32_t isn)
{
    return tw->rcv_nxt - isn <= MIN(tw->received + 1ull + tw->rcv_wnd, 1ull << 31);
}

/* RFC 9293 3.10.7.4 with RFC 6191: later by timestamp or by sequence number. */
static bool may_reopen(const struct tcp_tw *tw, const struct tcp_rx *r)
{
    if ((r->flags & (TH_SYN | TH_ACK | TH_RST | TH_FIN)) != TH_SYN)
        return false;
    if (tw->ts_on && r->has_ts) {
        if (seq_after(r->tsval, tw->ts_recent))
            return true;
        return r->tsval == tw->ts_recent && seq_after(r->seq, tw->rcv_nxt);
    }
    return !is_of_old_connection(tw, r->seq);
}

bool tcp_tw_input(struct tcp_tw *tw, struct tcp_rx *r)
{
    bool paws = tw->ts_on && r->has_ts && seq_before(r->tsval, tw->ts_recent);

    if (may_reopen(tw, r)) {
        net_count(NET_TcpExt_TWRecycled);
        r->isn_floor = next_isn(tw);
        return true;
    }
    /* RFC 1337: a RST does not end TIME-WAIT. */
    if (!(r->flags & TH_RST) && (paws || r->end != r->seq || r->seq != tw->rcv_nxt)) {
        if (!paws && tw->ts_on && r->has_ts && !seq_after(r->seq, tw->rcv_nxt))
            tw->ts_recent = r->tsval;
        if (r->flags & TH_FIN) { /* our ACK was lost: 2 MSL from now */
            spin_lock(&waiting.lock);
            if (!list_empty(&tw->link)) {
                list_remove(&tw->link);
                tw->expires = r->now + TCP_TIMEWAIT_LEN;
                list_push_back(&waiting.list, &tw->link);
            }
            spin_unlock(&waiting.lock);
        }
        if ((r->flags & TH_FIN) || r->now - tw->last_ack > NSEC_PER_SEC / 2 || !tw->last_ack) {
            tw->last_ack = r->now;
            answer(tw, r->now);
        }
    }
    pkt_free(r->p);
    return false;
}

int tcp_timewait_init(void)
{
    spin_init(&waiting.lock);
    list_init(&waiting.list);
    timer_init(&waiting.timer, expire);
    tw_slab = slab_create("tcp_timewait", sizeof(struct tcp_tw), 16);
    return tw_slab ? 0 : -ENOMEM;
}
