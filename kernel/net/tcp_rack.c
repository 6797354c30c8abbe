/*
 * RACK-TLP loss detection (RFC 8985). RACK: what was sent a reordering window before something that
 * has been delivered is lost. TLP: when the tail of a flight is not acknowledged for two round
 * trips, a probe makes the peer tell what it has.
 *
 * t->sent lists what is in flight (not SACKed, not known to be lost) by the time of transmission,
 * so the search stops at the first segment that is too young.
 */
#include "net/tcp.h"

#define TLP_MIN (10 * NSEC_PER_MSEC)

static bool sent_after(nsec_t t1, uint32_t end1, nsec_t t2, uint32_t end2)
{
    return t1 > t2 || (t1 == t2 && seq_after(end1, end2));
}

/* 6.2 steps 1 and 2 */
void tcp_rack_delivered(struct tcp *t, nsec_t sent_at, uint32_t end, bool retrans, nsec_t now)
{
    nsec_t rtt = now - sent_at;

    /* Sent again, and the ACK is too early to be for that: it is for the original. */
    if (retrans && rtt < t->min_rtt)
        return;
    if (seq_after(end, t->rack_fack))
        t->rack_fack = end;
    t->rack_rtt = rtt;
    if (sent_after(sent_at, end, t->rack_sent_at, t->rack_end)) {
        t->rack_sent_at = sent_at;
        t->rack_end = end;
    }
}

/* 6.2 steps 3 and 4: reordering seen widens the window, duplicates reported (spurious
 * retransmissions) widen it further, for 16 recoveries. */
void tcp_rack_update_window(struct tcp *t, const struct tcp_sack_result *res)
{
    if (res->reordered)
        t->rack_seen_reordering = true;
    if (t->rack_reo_widened && !seq_before(t->snd_una, t->rack_reo_round))
        t->rack_reo_widened = false;
    /* Once in a round trip; not where the network duplicates more than we ever sent again. */
    if (res->dsack && t->dsacks <= t->total_retrans && !t->rack_reo_widened) {
        t->rack_reo_widened = true;
        t->rack_reo_round = t->snd_nxt;
        if (t->rack_reo_mult < 255)
            t->rack_reo_mult++;
        t->rack_reo_persist = 16;
    }
    if (!t->rack_seen_reordering && (t->ca_state >= CA_RECOVERY || t->sacked_out >= 3 * t->mss)) {
        t->rack_reo_wnd = 0;
        return;
    }
    t->rack_reo_wnd = MIN(t->min_rtt / 4 * MAX(t->rack_reo_mult, 1), t->srtt);
}

/* 6.2 step 5 */
bool tcp_rack_detect(struct tcp *t, nsec_t now)
{
    struct tcp_seg *g, *tmp;
    nsec_t wait = 0;
    bool found = false;

    if (!t->rack_sent_at || !t->sack_on)
        return false;
    list_for_each_safe (g, tmp, &t->sent, sent_link) {
        nsec_t remaining;

        if (g->sent_at > t->rack_sent_at)
            break;
        if (!sent_after(t->rack_sent_at, t->rack_end, g->sent_at, seg_end(g)))
            continue;
        remaining = g->sent_at + t->rack_rtt + t->rack_reo_wnd - now;
        if (remaining <= 0) {
            tcp_mark_lost(t, g);
            found = true;
        } else {
            wait = MAX(wait, remaining);
        }
    }
    if (wait) {
        t->send_mode = SEND_REORDER;
        tcp_set_deadline(t, TIMER_SEND, now + wait);
    }
    return found;
}

/* 7.2. With a single segment in flight the peer's delayed ACK has to be waited for, and that is
 * about the RTO. */
nsec_t tcp_tlp_deadline(struct tcp *t, nsec_t now)
{
    uint32_t flight = tcp_flight(t);
    nsec_t pto;

    if (flight <= t->mss || !t->sack_on || t->ca_state != CA_OPEN || t->tlp_active || t->backoff)
        return NSEC_NEVER;
    pto = t->srtt ? 2 * t->srtt : TCP_RTO_INITIAL;
    return now + MAX(pto, TLP_MIN);
}

/* 7.3 */
void tcp_tlp_fire(struct tcp *t, nsec_t now)
{
    struct tcp_seg *g = t->unsent;
    uint32_t old = t->snd_nxt, cwnd = t->cwnd;
    nsec_t rto = tcp_backoff(t, t->backoff);

    if (t->snd_una == t->snd_nxt) {
        tcp_rearm_send_timer(t, now);
        return;
    }
    net_count(NET_TcpExt_TCPLossProbes);
    t->tlp_active = true;
    t->tlp_retrans = false;
    if (g) { /* one segment of new data, whatever the congestion window says */
        t->cwnd = tcp_pipe(t) + t->mss;
        tcp_push(t, now);
        t->cwnd = cwnd;
    }
    if (t->snd_nxt == old) {
        g = list_last(&t->queue, struct tcp_seg, link);
        if (t->unsent)
            g = list_entry(t->unsent->link.prev, struct tcp_seg, link);
        if (g->len > t->mss) {
            uint32_t tail = g->len % t->mss ? g->len % t->mss : t->mss;
            struct tcp_seg *rest = tcp_split_seg(t, g, g->len - tail);

            g = rest ? rest : g;
        }
        if (!(g->state & SEG_SACKED)) {
            t->tlp_retrans = true;
            tcp_retransmit(t, g, t->mss, now);
        }
    }
    t->tlp_end = t->snd_nxt;
    t->send_mode = SEND_RTO;
    tcp_set_deadline(t, TIMER_SEND, tcp_coarse(now + rto) + (1 << 23));
}

/* 7.4 */
void tcp_tlp_acked(struct tcp *t, const struct tcp_rx *r, const struct tcp_sack_result *res,
                   bool duplicate)
{
    if (seq_before(r->ack, t->tlp_end))
        return;
    if (!t->tlp_retrans || (res->dsack && res->dsack_end == t->tlp_end)) {
        t->tlp_active = false;
    } else if (seq_after(r->ack, t->tlp_end)) {
        t->tlp_active = false;
        tcp_enter_cwr(t); /* the probe repaired a loss */
    } else if (!r->nsacks && duplicate) {
        t->tlp_active = false;
    }
}
