/*
 * Received segments: from the header to the connection (3.10.7, with the checks of RFC 5961 and
 * RFC 7323), in the order of the specification: sequence number, RST, SYN, ACK, payload, FIN.
 */
#include "core/rand.h"
#include "net/shared.h"
#include "net/tcp.h"

/* RFC 7323 5.5: after that a timestamp says nothing any more. */
#define PAWS_IDLE (24LL * 86400 * NSEC_PER_SEC)

static const uint8_t *options(const struct tcp_rx *r)
{
    return r->p->data + TCP_HEADER;
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The option at o, behind padding, with its length checked; NULL at the end of the list. */
static const uint8_t *option_at(const uint8_t *o, const uint8_t *end)
{
    while (o < end && *o == 1)
        o++;
    return end - o < 2 || !o[0] || o[1] < 2 || o[1] > end - o ? NULL : o;
}

/* Timestamps and SACK, which any segment may carry. */
static void parse_options(struct tcp_rx *r)
{
    const uint8_t *end = r->p->data + r->hlen;

    for (const uint8_t *o = option_at(options(r), end); o; o = option_at(o + o[1], end)) {
        uint8_t kind = o[0], len = o[1];

        if (kind == 8 && len == 10) {
            r->has_ts = true;
            r->tsval = get32(o + 2);
            r->tsecr = get32(o + 6);
        } else if (kind == 5 && len >= 10 && (len - 2) % 8 == 0) {
            for (const uint8_t *b = o + 2; b < o + len && r->nsacks < TCP_MAX_SACKS; b += 8)
                r->sacks[r->nsacks++] = (struct tcp_sack_block){get32(b), get32(b + 4)};
        }
    }
}

void tcp_parse_syn_options(const struct tcp_rx *r, struct tcp_syn_opts *opts)
{
    const uint8_t *end = r->p->data + r->hlen;

    *opts =
        (struct tcp_syn_opts){.wscale = -1, .ts = r->has_ts, .tsval = r->tsval, .tsecr = r->tsecr};
    for (const uint8_t *o = option_at(options(r), end); o; o = option_at(o + o[1], end)) {
        uint8_t kind = o[0], len = o[1];

        if (kind == 2 && len == 4)
            opts->mss = (uint16_t)(o[2] << 8 | o[3]);
        else if (kind == 3 && len == 3)
            opts->wscale = (int8_t)MIN(o[2], TCP_MAX_WSCALE); /* RFC 7323 2.3 */
        else if (kind == 4 && len == 2)
            opts->sack = true;
    }
}

/* Fills in r from the packet; false if it is to be dropped. */
static bool parse(struct pkt *p, struct tcp_rx *r)
{
    const struct tcp_header *h = (const struct tcp_header *)(const void *)p->data;
    uint32_t hlen;

    if (p->linear < TCP_HEADER)
        return false;
    hlen = (uint32_t)(h->doff >> 4) * 4;
    if (hlen < TCP_HEADER || hlen > p->len)
        return false;
    if (p->linear < hlen) {
        if (!pkt_make_linear(p, hlen))
            return false;
        h = (const struct tcp_header *)(const void *)p->data;
    }
    r->p = p;
    r->sport = net16(h->sport);
    r->dport = net16(h->dport);
    r->seq = net32(h->seq);
    r->ack = net32(h->ack);
    r->window = net16(h->window);
    r->urgent = net16(h->urgent);
    r->flags = h->flags;
    r->hlen = (uint8_t)hlen;
    r->nsacks = 0;
    r->has_ts = false;
    r->isn_floor = 0;
    r->ce = (p->tos & 3) == 3;
    r->end = r->seq + (p->len - hlen) + !!(h->flags & TH_SYN) + (h->flags & TH_FIN);
    r->now = time_now();
    if (hlen == TCP_HEADER + TCP_TS_BYTES && get32(p->data + TCP_HEADER) == 0x0101080au) {
        r->has_ts = true;
        r->tsval = get32(p->data + TCP_HEADER + 4);
        r->tsecr = get32(p->data + TCP_HEADER + 8);
    } else if (hlen > TCP_HEADER) {
        parse_options(r);
    }
    return true;
}

void tcp_input(struct pkt *p)
{
    struct tcp_entry *e;
    struct tcp_tw *tw = NULL;
    struct tcp *l = NULL;
    struct tcp_rx r;

    net_count(NET_Tcp_InSegs);
    if (unlikely(!(p->flags & PKT_CSUM_OK)) &&
        csum_fold(
            pkt_csum(p, 0, p->len, ip_pseudo_csum(&p->src, &p->dst, IPPROTO_TCP_N, p->len))) != 0) {
        net_count(NET_Tcp_InCsumErrors);
        pkt_free(p);
        return;
    }
    if (!parse(p, &r)) {
        net_count(NET_Tcp_InErrs);
        pkt_free(p);
        return;
    }
    e = tcp_table_lookup(&p->dst, r.dport, &p->src, r.sport);
    if (likely(e && !e->time_wait)) {
        struct tcp *t = tcp_of_entry(e);

        tcp_connection_input(t, &r);
        tcp_put(t);
        return;
    }
    if (e) {
        tw = container_of(e, struct tcp_tw, e);
        if (!tcp_tw_input(tw, &r)) {
            tcp_tw_put(tw);
            return;
        }
    }
    if (!ip_is_multicast(&p->src) && !ip_is_any(&p->src) && !(p->flags & PKT_BROADCAST))
        l = tcp_bind_lookup_listener(&p->dst, r.dport, &p->src, r.sport,
                                     p->netif ? p->netif->index : 0);
    if (tw) { /* who cannot connect does not end TIME-WAIT either */
        if (l)
            tcp_tw_kill(tw);
        tcp_tw_put(tw);
    }
    if (l) {
        tcp_listener_input(l, &r);
        tcp_put(l);
        return;
    }
    if (shared_takes(p))
        return;
    net_count(NET_Librettos_TcpNoListener);
    tcp_reset_reply(&r);
    pkt_free(p);
}

/* --- RFC 5961 challenge ACKs ------------------------------------------------------------------ */

#define CHALLENGES_PER_SECOND                                                                      \
    1000 /* half of it to one and a half: who counts them learns nothing */

static struct {
    spinlock_t lock;
    nsec_t since;
    uint32_t left;
} challenge;

/* 7: at most so many a second, of all connections. */
bool tcp_challenge_allowed(nsec_t now)
{
    bool ok;

    spin_lock(&challenge.lock);
    if (now - challenge.since >= NSEC_PER_SEC || !challenge.since) {
        challenge.since = now + 1;
        challenge.left = CHALLENGES_PER_SECOND / 2 + rand_u32() % CHALLENGES_PER_SECOND;
    }
    ok = challenge.left > 0;
    challenge.left -= ok;
    spin_unlock(&challenge.lock);
    return ok;
}

void tcp_challenge_ack(struct tcp *t, nsec_t now)
{
    /* And one connection answers a flood of them at 2 a second. */
    if (t->challenge_at && now - t->challenge_at < NSEC_PER_SEC / 2) {
        net_count(NET_TcpExt_TCPACKSkippedChallenge);
        return;
    }
    if (!tcp_challenge_allowed(now)) {
        net_count(NET_TcpExt_TCPACKSkippedChallenge);
        return;
    }
    t->challenge_at = now;
    net_count(NET_TcpExt_TCPChallengeACK);
    tcp_send_ack(t, now);
}

/* --- SYN-SENT (3.10.7.3) ---------------------------------------------------------------------- */

static void connected(struct tcp *t, struct tcp_rx *r)
{
    t->snd_wnd = r->window; /* the window of a SYN is not scaled */
    t->snd_max_wnd = MAX(t->snd_wnd, t->snd_max_wnd);
    t->snd_wl1 = r->seq;
    t->snd_wl2 = r->ack;
    tcp_established(t, r->now);
}

static void syn_sent_input(struct tcp *t, struct tcp_rx *r)
{
    struct tcp_syn_opts o;

    if (r->flags & TH_ACK) {
        if (r->ack != t->snd_nxt) {
            if (!(r->flags & TH_RST))
                tcp_reset_reply(r);
            net_count(NET_Librettos_TcpBadState);
            return;
        }
    }
    if (r->flags & TH_RST) {
        if (r->flags & TH_ACK) {
            net_count(NET_Librettos_TcpResetsReceived);
            tcp_done(t, ECONNREFUSED);
        }
        return;
    }
    if (!(r->flags & TH_SYN))
        return;

    tcp_parse_syn_options(r, &o);
    t->irs = r->seq;
    t->rcv_nxt = t->copied = t->rcv_wup = r->seq + 1;
    tcp_setup_options(t, &o);
    t->ecn_on = net_tunables.ecn == 1 && (r->flags & TH_ECE) &&
                (!(r->flags & TH_CWR) || !(r->flags & TH_ACK));
    t->last_rcv = r->now;
    if (r->flags & TH_ACK) {
        if (!t->syn_repeated)
            tcp_rtt_sample(t, r->now - t->syn_at, r->now);
        t->snd_una = r->ack;
        tcp_enter_state(t, TCP_ESTABLISHED);
        connected(t, r);
        tcp_wake(t, POLL_OUT | POLL_WRNORM);
        tcp_push(t, r->now);
        if (t->snd_nxt == t->snd_una)
            tcp_send_ack(t, r->now);
        return;
    }
    /* Simultaneous open: figure 8. */
    tcp_enter_state(t, TCP_SYN_RECV);
    t->snd_wnd = r->window;
    tcp_send_syn(t, r->now);
}

/* --- synchronised states ---------------------------------------------------------------------- */

static bool acceptable(const struct tcp *t, const struct tcp_rx *r)
{
    uint32_t edge = t->rcv_wup + t->rcv_wnd;

    if (seq_before(edge, t->rcv_nxt))
        edge = t->rcv_nxt;
    return !seq_before(r->end, t->rcv_wup) && !seq_after(r->seq, edge);
}

/* Segment outside of the window: our answer tells the peer where we are (3.10.7.4), DSACKs
 * included. */
static void out_of_window(struct tcp *t, struct tcp_rx *r)
{
    net_count(NET_Librettos_TcpOutOfWindow);
    if (r->flags & TH_RST)
        return;
    if (t->state == TCP_SYN_RECV && (r->flags & TH_SYN)) {
        tcp_send_syn(t, r->now); /* our SYN-ACK was lost */
        return;
    }
    if (r->flags & TH_SYN) {
        tcp_challenge_ack(t, r->now);
        return;
    }
    if (r->p->len > r->hlen && seq_before(r->seq, t->rcv_nxt)) { /* a retransmission we have */
        t->dsack_due = t->sack_on;
        t->dsack_start = r->seq;
        t->dsack_end = seq_before(r->end, t->rcv_nxt) ? r->end : t->rcv_nxt;
        tcp_send_ack(t, r->now);
        return;
    }
    /* Keepalives and window probes have no payload; answer, but not without limit. */
    if (r->now - t->oow_at < NSEC_PER_SEC / 2 && t->oow_at && t->oow_count >= 8) {
        net_count(NET_TcpExt_TCPACKSkippedChallenge);
        return;
    }
    if (r->now - t->oow_at >= NSEC_PER_SEC / 2 || !t->oow_at) {
        t->oow_at = r->now;
        t->oow_count = 0;
    }
    t->oow_count++;
    tcp_send_ack(t, r->now);
}

static void reset_received(struct tcp *t)
{
    int error = ECONNRESET;

    net_count(NET_Librettos_TcpResetsReceived);
    if (t->state == TCP_SYN_RECV)
        error = ECONNREFUSED;
    else if (t->state == TCP_CLOSE_WAIT)
        error = EPIPE;
    else if (tcp_in(t, TCPF(TCP_CLOSING) | TCPF(TCP_LAST_ACK)))
        error = 0;
    tcp_done(t, error);
}

/* Sequence number, RST and SYN checks; true if the segment may be processed. */
static bool checks(struct tcp *t, struct tcp *listener, struct tcp_rx *r)
{
    if (t->ts_on && r->has_ts && seq_before(r->tsval, t->ts_recent) && !(r->flags & TH_RST) &&
        r->now - t->ts_recent_at < PAWS_IDLE) {
        net_count(NET_TcpExt_PAWSEstab);
        if (!(t->state == TCP_SYN_RECV && (r->flags & TH_SYN))) {
            out_of_window(t, r);
            return false;
        }
    }
    if (!acceptable(t, r)) {
        out_of_window(t, r);
        return false;
    }
    if (r->flags & TH_RST) { /* RFC 5961 3.2 */
        if (r->seq != t->rcv_nxt) {
            tcp_challenge_ack(t, r->now);
            return false;
        }
        if (listener)
            tcp_child_unlink(listener, t);
        reset_received(t);
        return false;
    }
    if (r->flags & TH_SYN) { /* RFC 5961 4.2 */
        if (t->state == TCP_SYN_RECV && r->seq == t->irs) {
            if ((r->flags & TH_ACK) && r->ack == t->snd_nxt) /* simultaneous open, figure 8 */
                return true;
            tcp_send_syn(t, r->now);
        } else {
            tcp_challenge_ack(t, r->now);
        }
        return false;
    }
    return r->flags & TH_ACK;
}

/* RFC 7323 4.3 (2): the timestamp to echo is that of the segment that made the last ACK move. */
static inline void note_timestamp(struct tcp *t, const struct tcp_rx *r)
{
    if (r->has_ts && t->ts_on && !seq_after(r->seq, t->rcv_wup) &&
        (!seq_before(r->tsval, t->ts_recent) || r->now - t->ts_recent_at >= PAWS_IDLE)) {
        t->ts_recent = r->tsval;
        t->ts_recent_at = r->now;
    }
}

static bool leave_syn_recv(struct tcp *t, struct tcp *listener, struct tcp_rx *r)
{
    if (r->ack != t->snd_nxt) {
        net_count(NET_Librettos_TcpBadState);
        tcp_reset_reply(r);
        return false;
    }
    if (!t->syn_repeated && !t->srtt)
        tcp_rtt_sample(t, r->now - t->syn_at, r->now);
    if (listener) {
        /* TCP_DEFER_ACCEPT: a bare ACK does not count until time is up. */
        if (listener->defer_accept_s && r->end == r->seq &&
            r->now - t->created_at < listener->defer_accept_s * NSEC_PER_SEC) {
            t->syn_acked = true;
            return false;
        }
        tcp_child_established(listener, t);
    }
    t->snd_una = r->ack;
    if (r->flags & TH_SYN) { /* of a simultaneous open: seen already */
        r->flags &= (uint8_t)~TH_SYN;
        r->seq++;
    }
    tcp_enter_state(t, TCP_ESTABLISHED);
    t->snd_wnd = r->window << t->snd_wscale;
    t->snd_max_wnd = t->snd_wnd;
    t->snd_wl1 = r->seq;
    t->snd_wl2 = r->ack;
    tcp_established(t, r->now);
    return true;
}

/* What the ACK of our FIN means; false if the connection is gone. */
static bool fin_acked(struct tcp *t, nsec_t now)
{
    switch (t->state) {
    case TCP_FIN_WAIT1:
        tcp_enter_state(t, TCP_FIN_WAIT2);
        t->s.shut |= 2;
        tcp_wake(t, POLL_OUT | POLL_WRNORM);
        if (t->orphan)
            tcp_set_deadline(t, TIMER_LINGER, now + tcp_fin_timeout(t));
        return true;
    case TCP_CLOSING:
        tcp_time_wait(t);
        return false;
    case TCP_LAST_ACK:
        tcp_done(t, 0);
        return false;
    default:
        return true;
    }
}

void tcp_ack_check(struct tcp *t, nsec_t now)
{
    uint32_t owed = t->rcv_nxt - t->rcv_wup;

    if (!owed && !t->ack_now)
        return;
    if (t->ack_now || owed >= 2 * t->rcv_mss || (t->quick_acks && owed >= t->rcv_mss))
        tcp_send_ack(t, now);
    else
        tcp_schedule_ack(t, now);
}

static void urgent(struct tcp *t, const struct tcp_rx *r)
{
    uint32_t up = r->seq + r->urgent;

    /* 3.8.5: the pointer is noted; the data stay in the stream, as RFC 6093 advises. */
    if (!r->urgent || seq_before(up, t->copied) || (t->urg_valid && !seq_after(up, t->urg_seq)))
        return;
    t->urg_seq = up;
    t->urg_valid = true;
    tcp_wake(t, POLL_PRI);
}

void tcp_process_segment(struct tcp *t, struct tcp_rx *r)
{
    struct pkt *p = r->p;
    bool data;

    t->last_rcv = r->now;
    if (!tcp_ack(t, r))
        goto drop;
    note_timestamp(t, r); /* not before: who guesses ACK numbers must not move the clock */
    if (unlikely(t->fin_queued) && !t->unsent && t->snd_una == t->snd_nxt && !fin_acked(t, r->now))
        goto drop;
    if (unlikely(t->ecn_on)) { /* RFC 3168 6.1.3 */
        if (r->flags & TH_CWR)
            t->ece_pending = false;
        if (r->ce) {
            if (!t->ece_pending)
                t->ack_now = true;
            t->ece_pending = true;
        }
    }
    if (unlikely(r->flags & TH_URG))
        urgent(t, r);
    data = r->end != r->seq;
    if (data) {
        if (!tcp_in(t, TCPF_CAN_RECV)) {
            if (seq_after(r->end, t->rcv_nxt))
                net_count(NET_Librettos_TcpBadState);
            t->ack_now = true;
        } else if (unlikely(t->orphan && seq_after(r->end - (r->flags & TH_FIN), t->rcv_nxt))) {
            /* 3.6.1: nobody will ever read it, and the peer should know. */
            net_count(NET_TcpExt_TCPAbortOnData);
            tcp_abort(t, 0);
            goto drop;
        } else {
            tcp_receive_data(t, r);
            p = NULL;
            if (t->state == TCP_CLOSE)
                return;
        }
    }
    if (t->unsent)
        tcp_push(t, r->now);
    tcp_ack_check(t, r->now);
drop:
    if (p)
        pkt_free(p);
}

/* In order, nothing unusual: most segments of most connections. */
static inline bool plain(const struct tcp *t, const struct tcp_rx *r)
{
    return t->state == TCP_ESTABLISHED && (r->flags & ~TH_PSH) == TH_ACK && r->seq == t->rcv_nxt &&
           r->end - t->rcv_wup <= t->rcv_wnd &&
           (!t->ts_on || (r->has_ts && !seq_before(r->tsval, t->ts_recent)));
}

void tcp_connection_input(struct tcp *t, struct tcp_rx *r)
{
    struct tcp *listener = NULL;

    spin_lock(&t->s.lock);
    t->segs_in += tcp_segments(r->p, r->p->len - r->hlen);
    if (likely(plain(t, r))) {
        tcp_process_segment(t, r);
        spin_unlock(&t->s.lock);
        return;
    }
    if (t->state == TCP_SYN_RECV && t->listener) {
        spin_unlock(&t->s.lock);
        listener = tcp_lock_both(t);
    }
    if (t->state == TCP_CLOSE) {
        if (!(r->flags & TH_RST))
            tcp_reset_reply(r);
    } else if (t->state == TCP_SYN_SENT) {
        syn_sent_input(t, r);
    } else if (checks(t, listener, r) &&
               (t->state != TCP_SYN_RECV || leave_syn_recv(t, listener, r))) {
        tcp_process_segment(t, r);
        r->p = NULL;
    }
    if (r->p)
        pkt_free(r->p);
    tcp_unlock_both(t, listener);
}
