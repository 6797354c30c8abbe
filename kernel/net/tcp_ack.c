/*
 * Acknowledgements: what was delivered, the round-trip time (RFC 6298), loss recovery (RFC 5681,
 * 6582, 6675, 6937, 8985; undone where RFC 3522 shows that it was spurious) and the congestion
 * window.
 *
 * States: OPEN; DISORDER (something is SACKed or duplicate ACKs came); CWR (ECN); RECOVERY
 * (segments are known to be lost); LOSS (retransmission timeout). In CWR and RECOVERY the window
 * follows proportional rate reduction, elsewhere the congestion control module.
 */
#include "net/tcp.h"

/* RFC 6928 */
uint32_t tcp_initial_cwnd(uint32_t mss)
{
    return MIN(10 * mss, MAX(2 * mss, 14600u));
}

void tcp_rtt_sample(struct tcp *t, nsec_t rtt, nsec_t now)
{
    if (rtt < 1000)
        rtt = 1000;
    t->last_rtt = rtt;
    if (!t->srtt) {
        t->srtt = rtt;
        t->rttvar = rtt / 2;
    } else {
        nsec_t err = rtt - t->srtt;

        t->rttvar += ((err < 0 ? -err : err) - t->rttvar) / 4;
        t->srtt += err / 8;
    }
    /* A minimum of the last ten seconds or so is enough for RACK. */
    if (!t->min_rtt || rtt <= t->min_rtt || now - t->min_rtt_at > 10 * NSEC_PER_SEC) {
        t->min_rtt = rtt;
        t->min_rtt_at = now;
    }
    tcp_set_rto(t);
}

/* 2.3 with a lower bound for the variance's share: delayed ACKs of 200 ms are not losses. */
void tcp_set_rto(struct tcp *t)
{
    nsec_t rto = t->srtt ? t->srtt + MAX(4 * t->rttvar, TCP_RTO_MIN) : TCP_RTO_INITIAL;

    t->rto = MIN(rto, TCP_RTO_MAX);
}

/* The peer returns our clock: what it makes of it is checked to be a time since we connected. */
static void timestamp_sample(struct tcp *t, const struct tcp_rx *r)
{
    nsec_t rtt = (nsec_t)(tcp_ts_now(t, r->now) - r->tsecr) << TCP_TS_SHIFT;

    if (rtt <= r->now - t->created_at)
        tcp_rtt_sample(t, rtt, r->now);
}

/* --- loss accounting -------------------------------------------------------------------------- */

void tcp_seg_unaccount(struct tcp *t, struct tcp_seg *g)
{
    uint32_t space = seg_space(g);

    if (g->state & SEG_SACKED)
        t->sacked_out -= space;
    if (g->state & SEG_LOST)
        t->lost_out -= space;
    if (g->state & SEG_RETRANS)
        t->retrans_out -= space;
    g->state &= (uint8_t) ~(SEG_SACKED | SEG_LOST | SEG_RETRANS);
}

void tcp_mark_lost(struct tcp *t, struct tcp_seg *g)
{
    if (g->state & SEG_SACKED)
        return;
    if (g->state & SEG_RETRANS) { /* the retransmission was lost too */
        g->state &= (uint8_t)~SEG_RETRANS;
        t->retrans_out -= seg_space(g);
    }
    if (!(g->state & SEG_LOST)) {
        g->state |= SEG_LOST;
        t->lost_out += seg_space(g);
    }
    list_remove(&g->sent_link);
}

static void begin_undo(struct tcp *t)
{
    t->prior_cwnd = t->cwnd;
    t->prior_ssthresh = t->ssthresh;
    t->retrans_low = t->retrans_high = t->snd_una;
    t->undo_retrans = 0;
    t->undo_valid = true;
    t->retrans_tsval = 0;
}

static void begin_prr(struct tcp *t)
{
    t->recover = t->snd_nxt;
    t->prr_delivered = 0;
    t->prr_out = 0;
    t->prr_flight = MAX(tcp_flight(t), 1u);
}

void tcp_enter_cwr(struct tcp *t)
{
    if (t->ca_state >= CA_CWR)
        return;
    t->prior_cwnd = t->cwnd;
    t->undo_valid = false;
    t->ssthresh = t->cc->ssthresh(t);
    begin_prr(t);
    t->ca_state = CA_CWR;
    t->cwr_due = t->ecn_on;
}

void tcp_start_recovery(struct tcp *t, nsec_t now)
{
    (void)now;
    if (t->ca_state >= CA_RECOVERY)
        return;
    net_count(NET_TcpExt_TCPSackRecovery);
    begin_undo(t);
    if (t->ca_state != CA_CWR)
        t->ssthresh = t->cc->ssthresh(t);
    begin_prr(t);
    t->ca_state = CA_RECOVERY;
    t->tlp_active = false;
    if (t->ecn_on)
        t->cwr_due = true;
    /* The first retransmission goes out whatever the pipe holds (RFC 6675 5 (4.3)). */
    t->cwnd = tcp_pipe(t) + t->mss;
}

void tcp_enter_loss(struct tcp *t, nsec_t now)
{
    struct tcp_seg *g, *head = tcp_head(t);

    (void)now;
    if (t->ca_state != CA_LOSS || !seq_before(t->snd_una, t->recover)) {
        if (t->ca_state < CA_RECOVERY)
            begin_undo(t);
        if (t->ca_state != CA_LOSS)
            t->retrans_tsval = 0;
        t->ssthresh = t->cc->ssthresh(t);
    }
    if (t->cc->restart)
        t->cc->restart(t);
    if (head->state & SEG_SACKED) { /* RFC 2018 8: it reneged */
        net_count(NET_TcpExt_TCPSACKReneging);
        list_for_each (g, &t->queue, link) {
            if (g == t->unsent)
                break;
            tcp_seg_unaccount(t, g);
        }
    }
    list_for_each (g, &t->queue, link) {
        if (g == t->unsent)
            break;
        tcp_mark_lost(t, g);
    }
    memset(t->last_sacks, 0, sizeof(t->last_sacks));
    t->reno_dups = 0;
    if (!t->sack_on)
        t->sacked_out = 0;
    t->cwnd = t->mss;
    t->recover = t->snd_nxt;
    t->ca_state = CA_LOSS;
    t->tlp_active = false;
    if (t->ecn_on)
        t->cwr_due = true;
}

/* The reduction was not called for: RFC 4015. */
static void undo(struct tcp *t)
{
    struct list *at = t->sent.next; /* t->sent stays in the order of transmission */
    struct tcp_seg *g;
    nsec_t last = 0;

    net_count(NET_Librettos_TcpRecoveryUndone);
    list_for_each (g, &t->queue, link) {
        if (g == t->unsent)
            break;
        if (g->state & SEG_LOST) {
            g->state &= (uint8_t)~SEG_LOST;
            t->lost_out -= seg_space(g);
            if (!list_empty(&g->sent_link))
                continue;
            if (g->sent_at < last)
                at = t->sent.next;
            while (at != &t->sent &&
                   list_entry(at, struct tcp_seg, sent_link)->sent_at <= g->sent_at)
                at = at->next;
            list_insert_between(&g->sent_link, at->prev, at);
            last = g->sent_at;
        }
    }
    t->cwnd = MAX(t->cwnd, t->prior_cwnd);
    t->ssthresh = MAX(t->ssthresh, t->prior_ssthresh);
    t->ca_state = t->sacked_out ? CA_DISORDER : CA_OPEN;
    t->undo_valid = false;
    t->backoff = 0;
}

/* --- what was delivered ----------------------------------------------------------------------- */

struct ack_work {
    uint32_t acked;     /* cumulatively */
    uint32_t delivered; /* newly, SACKed included */
    uint32_t prior_flight;
    bool rack_used;
    bool duplicate;
    nsec_t rtt_sent; /* newest first transmission that is delivered; 0: none */
    struct tcp_sack_result sack;
};

/* Removes what is acknowledged from the queue. */
static void clean_queue(struct tcp *t, const struct tcp_rx *r, struct ack_work *w)
{
    struct tcp_seg *g;

    while ((g = tcp_head(t)) && g != t->unsent) {
        uint32_t space = seg_space(g), gone = r->ack - g->seq;
        bool sacked = g->state & SEG_SACKED;

        if (gone == 0 || gone > 0x7fffffffu)
            break;
        if (gone < space) { /* a part of it */
            uint8_t state = g->state;

            tcp_seg_unaccount(t, g);
            tcp_trim_seg(g, gone);
            g->state = state;
            t->sacked_out += state & SEG_SACKED ? seg_space(g) : 0;
            t->lost_out += state & SEG_LOST ? seg_space(g) : 0;
            t->retrans_out += state & SEG_RETRANS ? seg_space(g) : 0;
            w->delivered += sacked ? 0 : gone;
            break;
        }
        if (!sacked) {
            w->delivered += space;
            if (!(g->state & SEG_EVER))
                w->rtt_sent = g->sent_at;
            if (t->sack_on && unlikely(t->ca_state != CA_OPEN || w->sack.sacked)) {
                if (seq_before(seg_end(g), t->rack_fack) && !(g->state & SEG_EVER))
                    w->sack.reordered = true;
            }
            if (t->sack_on)
                tcp_rack_delivered(t, g->sent_at, seg_end(g), g->state & SEG_EVER, r->now);
        }
        tcp_seg_unaccount(t, g);
        list_remove(&g->link);
        list_remove(&g->sent_link);
        tcp_free_seg(t, g);
    }
    w->acked = r->ack - t->snd_una;
    t->snd_una = r->ack;
}

/* Duplicate ACKs of a peer without SACK: each stands for a segment delivered (RFC 6582). */
static void reno_duplicates(struct tcp *t, struct ack_work *w)
{
    uint32_t flight = tcp_flight(t);

    if (w->acked) {
        t->sacked_out =
            t->ca_state >= CA_RECOVERY && t->sacked_out > w->acked ? t->sacked_out - w->acked : 0;
        t->sacked_out = MIN(t->sacked_out, flight - t->lost_out);
        t->reno_dups = 0;
        return;
    }
    if (!w->duplicate)
        return;
    t->reno_dups++;
    if (t->sacked_out + t->lost_out + t->mss < flight) {
        t->sacked_out += t->mss;
        w->delivered += t->mss;
    }
}

static void mark_head_lost(struct tcp *t)
{
    struct tcp_seg *g = tcp_head(t);

    if (!g || g == t->unsent)
        return;
    if (g->len > t->mss && !tcp_split_seg(t, g, t->mss))
        return;
    tcp_mark_lost(t, g);
    if (t->sacked_out > tcp_flight(t) - t->lost_out)
        t->sacked_out = tcp_flight(t) - t->lost_out;
}

/* RFC 6937, slow-start reduction bound. */
static void prr(struct tcp *t, uint32_t delivered)
{
    uint32_t pipe = tcp_pipe(t), count;
    int64_t n;

    t->prr_delivered += delivered;
    if (pipe > t->ssthresh) {
        n = (int64_t)(((uint64_t)t->prr_delivered * t->ssthresh + t->prr_flight - 1) /
                      t->prr_flight) -
            t->prr_out;
    } else {
        int64_t limit = (int64_t)t->prr_delivered - t->prr_out;

        limit = MAX(limit, (int64_t)delivered) + t->mss;
        n = MIN((int64_t)(t->ssthresh - pipe), limit);
    }
    count = n > 0 ? (uint32_t)n : 0;
    t->cwnd = MAX(pipe + count, t->mss);
}

/* Only a window that is made use of may grow (RFC 7661): one that held us back, or in slow start,
 * as half of what it grows to is enough to try, one that was filled by half in this round trip. */
static bool window_used(struct tcp *t, const struct ack_work *w)
{
    bool half;

    t->flight_max = MAX(t->flight_max, w->prior_flight);
    half = t->flight_max > t->cwnd / 2;
    if (!seq_before(t->snd_una, t->flight_end)) {
        t->flight_end = t->snd_nxt;
        t->flight_max = w->prior_flight;
    }
    return t->cwnd_limited || (t->cwnd < t->ssthresh && half);
}

static void grow_window(struct tcp *t, const struct ack_work *w, nsec_t now)
{
    if (!window_used(t, w) || !w->delivered)
        return;
    t->cc->acked(t, w->delivered, now);
    /* The send buffer follows the window. */
    if (!t->s.sndbuf_locked && t->s.sndbuf < 4 * t->cwnd && tcp_memory() == TCP_MEMORY_OK)
        t->s.sndbuf = MIN(4 * t->cwnd, MAX(net_tunables.wmem[2], t->s.sndbuf));
}

/* Has the ACK of an original transmission shown that nothing was lost? RFC 3522, RFC 3708. */
static bool spurious(struct tcp *t, const struct tcp_rx *r, const struct ack_work *w)
{
    if (!t->undo_valid || t->ca_state < CA_RECOVERY)
        return false;
    if (w->acked && t->ts_on && r->has_ts && t->retrans_tsval &&
        seq_before(r->tsecr, t->retrans_tsval) && r->tsecr)
        return true;
    return w->sack.dsack_retrans && t->undo_retrans == 0;
}

static void leave_recovery(struct tcp *t)
{
    if (t->ca_state == CA_RECOVERY || t->ca_state == CA_CWR)
        t->cwnd = MAX(MIN(t->ssthresh, MAX(t->prior_cwnd, t->ssthresh)), 2 * t->mss);
    t->ca_state = t->sacked_out ? CA_DISORDER : CA_OPEN;
    t->undo_valid = false;
    if (t->rack_reo_persist && --t->rack_reo_persist == 0)
        t->rack_reo_mult = 1;
}

/* The slow part: anything that is not the ACK of all we sent in good order. */
static void recovery(struct tcp *t, const struct tcp_rx *r, struct ack_work *w)
{
    nsec_t now = r->now;
    bool lost = false;

    t->undo_retrans -= MIN(t->undo_retrans, w->sack.dsack_retrans);
    if (spurious(t, r, w))
        undo(t);
    if (t->ca_state >= CA_CWR && !seq_before(t->snd_una, t->recover) &&
        !(t->ca_state == CA_CWR && t->snd_una == t->snd_nxt && !w->acked))
        leave_recovery(t);

    if (t->sack_on) {
        tcp_rack_update_window(t, &w->sack);
        lost = tcp_rack_detect(t, now);
    } else {
        reno_duplicates(t, w);
        if (t->ca_state < CA_RECOVERY && t->reno_dups >= 3) {
            mark_head_lost(t);
            lost = true;
        } else if (t->ca_state == CA_RECOVERY && w->acked) {
            mark_head_lost(t); /* a partial ACK: RFC 6582 3.2 */
        }
    }
    if (lost && t->ca_state < CA_RECOVERY) {
        tcp_start_recovery(t, now);
        t->prr_delivered += w->delivered;
        return;
    }
    if (t->ca_state == CA_OPEN && (t->sacked_out || t->reno_dups))
        t->ca_state = CA_DISORDER;
    else if (t->ca_state == CA_DISORDER && !t->sacked_out && !t->reno_dups)
        t->ca_state = CA_OPEN;
    if (t->ca_state == CA_RECOVERY || t->ca_state == CA_CWR)
        prr(t, w->delivered);
    else if (t->ca_state == CA_LOSS && w->delivered)
        tcp_slow_start(t, w->delivered);
    else if (w->acked)
        grow_window(t, w, now);
}

static void update_window(struct tcp *t, const struct tcp_rx *r)
{
    uint32_t window = r->window << t->snd_wscale;

    if (!(seq_before(t->snd_wl1, r->seq) ||
          (t->snd_wl1 == r->seq && !seq_after(t->snd_wl2, r->ack))))
        return;
    t->snd_wl1 = r->seq;
    t->snd_wl2 = r->ack;
    if (window != t->snd_wnd) {
        if (!t->snd_wnd && window) {
            t->probes = 0;
            t->first_unacked_at = 0;
        }
        t->snd_wnd = window;
        t->snd_max_wnd = MAX(t->snd_max_wnd, window);
    }
}

/* Something came through. Was it because segments had been made small, or because an outage is
 * over? Full size gets two more chances to tell. */
static void blackhole_passed(struct tcp *t)
{
    if (t->blackhole_probes >= 2) {
        if (t->blackhole_found >= 2)
            return;
        t->blackhole_found++;
    }
    t->blackhole_probes = 0;
    tcp_update_mss(t);
}

bool tcp_ack(struct tcp *t, const struct tcp_rx *r)
{
    struct ack_work w = {.prior_flight = tcp_flight(t)};
    uint32_t old_wnd = t->snd_wnd;

    /* RFC 5961 5.2 */
    if (unlikely(r->ack - t->snd_una > t->snd_nxt - t->snd_una)) {
        if (seq_after(r->ack, t->snd_nxt) || seq_before(r->ack, t->snd_una - t->snd_max_wnd)) {
            tcp_challenge_ack(t, r->now);
            return false;
        }
        return true; /* an old one: its data may be new */
    }
    update_window(t, r);
    w.duplicate =
        r->ack == t->snd_una && w.prior_flight && r->seq == r->end && t->snd_wnd == old_wnd;

    if (unlikely(r->nsacks) && t->sack_on)
        tcp_sack_receive(t, r, &w.sack);
    if (r->ack != t->snd_una) {
        clean_queue(t, r, &w);
        t->bytes_acked += w.acked;
        t->backoff = 0;
        t->probes = 0;
        t->first_unacked_at = 0;
        if (unlikely(t->blackhole_probes))
            blackhole_passed(t);
        ip_flow_confirm(&t->flow);
    } else if (!w.sack.sacked && !w.sack.dsack && !w.duplicate) {
        if (old_wnd != t->snd_wnd && w.prior_flight == 0)
            tcp_rearm_send_timer(t, r->now);
        return true; /* nothing new but perhaps the window */
    }
    w.delivered += w.sack.sacked;
    t->delivered += w.delivered;
    if (w.rtt_sent || w.sack.rtt_sent)
        tcp_rtt_sample(t, r->now - MAX(w.rtt_sent, w.sack.rtt_sent), r->now);
    else if (w.acked && t->ts_on && r->has_ts && r->tsecr) /* RFC 7323 4: all were sent again */
        timestamp_sample(t, r);
    if (unlikely(t->tlp_active))
        tcp_tlp_acked(t, r, &w.sack, w.duplicate && !w.acked);
    if (unlikely((r->flags & TH_ECE) && t->ecn_on))
        tcp_enter_cwr(t);

    if (w.acked)
        tcp_rearm_send_timer(t, r->now);
    if (likely(t->ca_state == CA_OPEN && !w.sack.sacked && !w.sack.dsack && !w.duplicate))
        grow_window(t, &w, r->now);
    else
        recovery(t, r, &w);
    tcp_retransmit_lost(t, r->now);
    if (w.acked)
        tcp_wake_writers(t);
    return true;
}
