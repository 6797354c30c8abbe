/*
 * Sending: what the windows allow of the send queue, retransmissions, and segments without payload.
 *
 * The queue holds runs of bytes (struct tcp_seg) that reference pages; a packet references the same
 * pages, so the payload is copied once, from the program into the page, however often it is sent.
 * A segment becomes a packet of up to 64 KiB that the path cuts into MSS (or ip_output, if it
 * can't).
 */
#include "core/rand.h"
#include "net/tcp.h"

/* Payloads up to this are copied into the packet's linear part: one descriptor instead of two. */
#define COPY_MAX 224u
/* Bursts are limited in this time. */
#define BURST_TIME NSEC_PER_MSEC

void tcp_write_timestamp(uint8_t *opt, uint32_t tsval, uint32_t tsecr)
{
    uint32_t w[3] = {net32(0x0101080au), net32(tsval), net32(tsecr)};

    memcpy(opt, w, sizeof(w));
}

uint32_t tcp_write_syn_options(uint8_t *opt, uint16_t mss, int wscale, bool sack, bool ts,
                               uint32_t tsval, uint32_t tsecr)
{
    uint8_t *o = opt;

    *o++ = 2;
    *o++ = 4;
    *o++ = (uint8_t)(mss >> 8);
    *o++ = (uint8_t)mss;
    if (ts) {
        tcp_write_timestamp(o, tsval, tsecr);
        if (sack) { /* in the place of the padding */
            o[0] = 4;
            o[1] = 2;
        }
        o += TCP_TS_BYTES;
    } else if (sack) {
        *o++ = 1;
        *o++ = 1;
        *o++ = 4;
        *o++ = 2;
    }
    if (wscale >= 0) {
        *o++ = 1;
        *o++ = 3;
        *o++ = 3;
        *o++ = (uint8_t)wscale;
    }
    return (uint32_t)(o - opt);
}

/* 3.8.6.2.2: no window that invites small segments; never takes back what was told. */
uint32_t tcp_select_window(struct tcp *t)
{
    uint32_t full = tcp_full_window(t);
    uint32_t used = t->rcv_nxt - t->copied;
    uint32_t told = t->rcv_wup + t->rcv_wnd - t->rcv_nxt;
    uint32_t room, scale = t->rcv_wscale;

    if ((int32_t)told < 0)
        told = 0;
    if (unlikely(tcp_memory() != TCP_MEMORY_OK))
        full = MIN(full, TCP_SCARCE_BUFFER);
    if (t->window_clamp)
        full = MIN(full, t->window_clamp);
    room = full > used ? full - used : 0;
    if (room < MIN(full / 2, t->rcv_mss))
        room = 0;
    room = MIN(room, 65535u << scale);
    room = ROUND_DOWN(room, 1u << scale);
    if (room < told)
        room = MIN(ROUND_UP(told, 1u << scale), 65535u << scale);
    return room;
}

/* An ACK is on its way: nothing is owed any more. */
static void ack_sent(struct tcp *t)
{
    t->ack_now = false;
    t->deadline[TIMER_DELACK] = NSEC_NEVER;
    if (t->quick_acks && t->rcv_nxt != t->rcv_wup)
        t->quick_acks--;
}

/* Prepends the header of a segment of a synchronised connection. */
static void push_header(struct tcp *t, struct pkt *p, uint32_t seq, uint8_t flags, nsec_t now)
{
    uint32_t window = tcp_select_window(t), opts = 0, ts = t->ts_on ? TCP_TS_BYTES : 0;
    uint32_t segments = tcp_segments(p, p->len);
    struct tcp_header *h;
    uint8_t sack[40];

    if (unlikely((t->ooo_count || t->dsack_due) && t->sack_on) && p->len + 36 <= t->mss)
        opts = tcp_sack_option(t, sack, 40 - ts);
    h = pkt_push(p, TCP_HEADER + ts + opts);
    h->sport = net16(t->e.lport);
    h->dport = net16(t->e.rport);
    h->seq = net32(seq);
    h->ack = net32(t->rcv_nxt);
    h->doff = (uint8_t)((TCP_HEADER + ts + opts) << 2);
    h->flags = flags;
    h->window = net16((uint16_t)(window >> t->rcv_wscale));
    h->csum = 0;
    h->urgent = 0;
    if (ts)
        tcp_write_timestamp((uint8_t *)(h + 1), tcp_ts_now(t, now), t->ts_recent);
    if (opts)
        memcpy((uint8_t *)(h + 1) + ts, sack, opts);
    ack_sent(t);
    t->rcv_wnd = window;
    t->rcv_wup = t->rcv_nxt;
    t->segs_out += segments;
    net_count_n(NET_Tcp_OutSegs, segments);
}

static int hand_down(struct tcp *t, struct pkt *p)
{
    int err;

    ip_csum_partial(p, &t->flow, 16);
    err = ip_output(&t->flow, p);
    if (err && err != -ENOBUFS)
        t->soft_error = -err;
    return err;
}

static bool add_payload(struct pkt *p, const struct tcp_seg *g)
{
    for (unsigned i = 0; i < g->nfrags; i++) {
        const struct pkt_frag *f = &g->frags[i];

        if (g->len <= COPY_MAX) {
            if (!pkt_append(p, (uint8_t *)page_addr(f->page) + f->off, f->len))
                return false;
            continue;
        }
        page_get(f->page);
        if (!pkt_append_page(p, f->page, f->off, f->len)) {
            page_put(f->page);
            return false;
        }
    }
    return true;
}

int tcp_transmit_seg(struct tcp *t, struct tcp_seg *g, nsec_t now)
{
    uint8_t flags = TH_ACK | g->flags;
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    int err;

    if (p && !add_payload(p, g)) {
        pkt_free(p);
        p = NULL;
    }
    g->sent_at = now;
    list_remove(&g->sent_link);
    list_push_back(&t->sent, &g->sent_link);
    if (!p) {
        net_count(NET_Librettos_TcpNoMemory); /* as if lost on the way */
        return -ENOMEM;
    }
    if (g->len > t->mss) {
        p->gso = ip_is_v4(&t->e.remote) ? GSO_TCP4 : GSO_TCP6;
        p->gso_size = (uint16_t)t->mss;
    }
    if (unlikely(t->ecn_on)) { /* RFC 3168 6.1.2, 6.1.5: new data only */
        if (t->ece_pending)
            flags |= TH_ECE;
        if (!(g->state & SEG_EVER) && g->len) {
            p->tos |= 2;
            if (t->cwr_due) {
                flags |= TH_CWR;
                t->cwr_due = false;
            }
        }
    }
    push_header(t, p, g->seq, flags, now);
    if (unlikely(flags & TH_URG)) {
        struct tcp_header *h = (struct tcp_header *)(void *)p->data;
        uint32_t up = t->snd_up - g->seq;

        if (up - 1 < 65535)
            h->urgent = net16((uint16_t)up);
        else
            h->flags &= (uint8_t)~TH_URG;
    }
    t->last_sent = now;
    err = hand_down(t, p);
    if (err == -EMSGSIZE)
        tcp_update_mss(t);
    return err;
}

static void send_empty(struct tcp *t, uint32_t seq, uint8_t flags, nsec_t now)
{
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    if (!p) {
        net_count(NET_Librettos_TcpNoMemory);
        if (flags == TH_ACK) /* owe it a little longer */
            tcp_set_deadline(t, TIMER_DELACK, now + TCP_DELACK);
        return;
    }
    if (t->ece_pending)
        flags |= TH_ECE;
    push_header(t, p, seq, flags, now);
    hand_down(t, p);
}

void tcp_send_ack(struct tcp *t, nsec_t now)
{
    send_empty(t, t->snd_nxt, TH_ACK, now);
}

void tcp_send_probe(struct tcp *t, nsec_t now)
{
    send_empty(t, t->snd_una - 1, TH_ACK, now);
}

void tcp_send_reset(struct tcp *t, nsec_t now)
{
    net_count(NET_Tcp_OutRsts);
    send_empty(t, t->snd_nxt, TH_RST | TH_ACK, now);
}

int tcp_send_syn(struct tcp *t, nsec_t now)
{
    bool passive = t->state == TCP_SYN_RECV;
    uint8_t opts[40], flags = passive ? TH_SYN | TH_ACK : TH_SYN;
    bool sack = passive ? t->sack_on : net_tunables.sack;
    bool ts = passive ? t->ts_on : net_tunables.timestamps;
    int wscale = passive ? (t->wscale_on ? t->rcv_wscale : -1)
                         : (net_tunables.window_scaling ? t->rcv_wscale : -1);
    uint32_t window = MIN(tcp_full_window(t), 65535u), n;
    struct tcp_header *h;
    struct pkt *p;

    if (ip_flow_stale(&t->flow)) {
        int err = tcp_refresh_route(t);

        if (err)
            return err;
    }
    p = pkt_alloc(PKT_HEADROOM);
    if (!p)
        return -ENOMEM;
    if (passive ? t->ecn_on : net_tunables.ecn == 1)
        flags |= passive ? TH_ECE : TH_ECE | TH_CWR; /* RFC 3168 6.1.1 */
    n = tcp_write_syn_options(opts, (uint16_t)t->advmss, wscale, sack, ts, tcp_ts_now(t, now),
                              passive ? t->ts_recent : 0);
    h = pkt_push(p, TCP_HEADER + n);
    h->sport = net16(t->e.lport);
    h->dport = net16(t->e.rport);
    h->seq = net32(t->iss);
    h->ack = passive ? net32(t->rcv_nxt) : 0;
    h->doff = (uint8_t)((TCP_HEADER + n) << 2);
    h->flags = flags;
    h->window = net16((uint16_t)window);
    h->csum = 0;
    h->urgent = 0;
    memcpy(h + 1, opts, n);
    t->rcv_wnd = window;
    t->rcv_wup = t->rcv_nxt;
    t->syn_repeated = t->syn_at != 0;
    t->syn_at = now;
    t->segs_out++;
    net_count(NET_Tcp_OutSegs);
    ip_csum_partial(p, &t->flow, 16);
    return ip_output(&t->flow, p);
}

/* --- the send queue --------------------------------------------------------------------------- */

struct tcp_seg *tcp_split_seg(struct tcp *t, struct tcp_seg *g, uint32_t n)
{
    struct tcp_seg *rest = tcp_alloc_seg(t);
    uint32_t left = n;
    unsigned i = 0;

    ASSERT(n && n < g->len);
    if (!rest)
        return NULL;
    rest->seq = g->seq + n;
    rest->len = g->len - n;
    rest->flags = g->flags;
    rest->state = g->state;
    rest->sent_at = g->sent_at;
    rest->nfrags = 0;
    while (left >= g->frags[i].len)
        left -= g->frags[i++].len;
    if (left) { /* the border is inside this fragment */
        const struct pkt_frag *f = &g->frags[i];

        page_get(f->page);
        rest->frags[rest->nfrags++] = (struct pkt_frag){{f->page}, f->off + left, f->len - left};
        g->frags[i].len = left;
        i++;
    }
    for (unsigned k = i; k < g->nfrags; k++)
        rest->frags[rest->nfrags++] = g->frags[k];
    g->nfrags = (uint8_t)i;
    g->len = n;
    g->flags &= (uint8_t) ~(TH_FIN | TH_PSH);
    list_insert_between(&rest->link, &g->link, g->link.next);
    list_init(&rest->sent_link);
    if (!list_empty(&g->sent_link))
        list_insert_between(&rest->sent_link, &g->sent_link, g->sent_link.next);
    return rest;
}

void tcp_trim_seg(struct tcp_seg *g, uint32_t n)
{
    unsigned i = 0;

    g->seq += n;
    g->len -= n;
    tcp_memory_add(-(int64_t)n);
    while (n && n >= g->frags[i].len) {
        n -= g->frags[i].len;
        page_put(g->frags[i++].page);
    }
    if (i) {
        g->nfrags -= (uint8_t)i;
        memmove(g->frags, g->frags + i, g->nfrags * sizeof(g->frags[0]));
    }
    if (n) {
        g->frags[0].off += n;
        g->frags[0].len -= n;
    }
}

/* Nagle (3.7.4) as Minshall has it: one small segment in flight at most. MSG_MORE and TCP_CORK hold
 * a small segment back whatever TCP_NODELAY says. */
static bool may_send_small(const struct tcp *t, const struct tcp_seg *g)
{
    if (g->flags & (TH_FIN | TH_URG))
        return true;
    if (t->cork || t->more)
        return false;
    if (unlikely(t->segs > TCP_MANY_SEGS)) /* each costs more than its few bytes */
        return t->snd_una == t->snd_nxt;
    return t->nodelay || !seq_after(t->snd_sml, t->snd_una);
}

/* What goes in BURST_TIME when the window is spread over the round trip. */
static uint64_t burst_share(const struct tcp *t)
{
    return t->srtt ? (uint64_t)t->cwnd * BURST_TIME / (uint64_t)t->srtt : t->cwnd;
}

/* How much room is worth a packet when there is more to send: a short queue is not asked to hold a
 * quarter of the window. */
static uint32_t worth_sending(const struct tcp *t)
{
    return MIN(t->cwnd / 4, (uint32_t)MAX(burst_share(t), (uint64_t)2 * t->mss));
}

/* How much of n bytes may go now, so that ACKs that come together, or a program that writes much at
 * once, do not make a burst: in each BURST_TIME an initial window, or twice the rate that the
 * window amounts to (slow start doubles it). The rest goes when the time is over. */
static uint32_t limit_burst(struct tcp *t, uint32_t n, nsec_t now)
{
    uint64_t max = 10 * t->mss, left;

    if (now - t->burst_at >= BURST_TIME) {
        t->burst_at = now;
        t->burst_sent = 0;
    }
    if (likely(t->burst_sent + n <= max))
        return n;
    max = MAX(max, 2 * burst_share(t));
    left = max > t->burst_sent ? max - t->burst_sent : 0;
    if (n <= left)
        return n;
    t->cwnd_limited = true; /* it is the network that we wait for */
    tcp_set_deadline(t, TIMER_BURST, t->burst_at + BURST_TIME);
    return (uint32_t)left / t->mss * t->mss;
}

/* How much of the next segment may go now; 0: nothing. */
static uint32_t send_quota(struct tcp *t, const struct tcp_seg *g)
{
    uint32_t window = t->snd_una + t->snd_wnd - g->seq, pipe = tcp_pipe(t);
    uint32_t room = t->cwnd > pipe ? t->cwnd - pipe : 0, limit = MIN(g->len, t->max_payload);

    t->cwnd_limited = false;
    if ((int32_t)window <= 0 && !(g->len == 0 && window == 0))
        return 0;
    if (limit > window) {
        limit = window;
        /* 3.8.6.2.1: wait for a full segment or half of the largest window seen. */
        if (limit < t->mss && limit < t->snd_max_wnd / 2 && tcp_flight(t))
            return 0;
    }
    if (limit > room) {
        t->cwnd_limited = true;
        if (pipe && room < t->mss)
            return 0;
        /* The ACK clock will make room for a larger packet soon. */
        if (pipe && room < worth_sending(t) && t->ca_state == CA_OPEN && !t->tlp_active)
            return 0;
        limit = MAX(room, MIN(limit, t->mss));
    }
    if (limit < g->len) {
        if (limit > t->mss)
            limit -= limit % t->mss;
        return limit;
    }
    /* The whole segment; is its end small? */
    if (limit % t->mss && g->link.next == &t->queue && !may_send_small(t, g))
        return limit > t->mss ? limit - limit % t->mss : 0;
    return limit;
}

void tcp_push(struct tcp *t, nsec_t now)
{
    bool sent = false, was_idle = t->snd_una == t->snd_nxt;
    struct tcp_seg *g = t->unsent;

    if (!g)
        return;
    if (unlikely(ip_flow_stale(&t->flow)) && tcp_refresh_route(t) < 0)
        return tcp_rearm_send_timer(t, now);
    /* RFC 5681 4.1: the ACK clock stopped, begin anew. */
    if (net_tunables.slow_start_after_idle && was_idle && t->last_sent &&
        now - t->last_sent > t->rto && t->cwnd > tcp_initial_cwnd(t->mss))
        t->cwnd = tcp_initial_cwnd(t->mss);

    for (; g; g = t->unsent) {
        uint32_t n = limit_burst(t, send_quota(t, g), now);

        if (!n && !(g->len == 0 && t->snd_una + t->snd_wnd - g->seq < 0x80000000u))
            break;
        if (n < g->len && !tcp_split_seg(t, g, n))
            break;
        if (g->link.next == &t->queue && g->len)
            g->flags |= TH_PSH;
        if (g->len % t->mss)
            t->snd_sml = seg_end(g);
        t->unsent = g->link.next == &t->queue ? NULL : list_first(&g->link, struct tcp_seg, link);
        t->snd_nxt = seg_end(g);
        t->burst_sent += g->len;
        if (t->ca_state == CA_RECOVERY || t->ca_state == CA_CWR)
            t->prr_out += g->len;
        sent = true;
        if (tcp_transmit_seg(t, g, now) < 0)
            break;
    }
    if (!sent) {
        if (was_idle)
            tcp_rearm_send_timer(t, now);
        return;
    }
    if (was_idle || t->send_mode == SEND_PROBE || t->deadline[TIMER_SEND] == NSEC_NEVER)
        tcp_rearm_send_timer(t, now);
}

int tcp_retransmit(struct tcp *t, struct tcp_seg *g, uint32_t limit, nsec_t now)
{
    uint32_t space, segments;

    if (unlikely(ip_flow_stale(&t->flow))) {
        int err = tcp_refresh_route(t);

        if (err)
            return err;
    }
    if (limit > t->mss)
        limit -= limit % t->mss;
    limit = MIN(limit, t->max_payload);
    if (g->len > limit && !tcp_split_seg(t, g, limit))
        return -ENOMEM;
    space = seg_space(g);
    if (!(g->state & SEG_RETRANS))
        t->retrans_out += space;
    g->state |= SEG_RETRANS | SEG_EVER;
    if (!t->retrans_tsval)
        t->retrans_tsval = MAX(tcp_ts_now(t, now), 1u);
    if (t->undo_valid) {
        bool first = t->retrans_low == t->retrans_high;

        t->retrans_low = first || seq_before(g->seq, t->retrans_low) ? g->seq : t->retrans_low;
        t->retrans_high =
            first || seq_after(seg_end(g), t->retrans_high) ? seg_end(g) : t->retrans_high;
        t->undo_retrans += space;
    }
    if (t->ca_state == CA_RECOVERY)
        t->prr_out += space;
    segments = MAX(DIV_ROUND_UP(g->len, t->mss), 1u);
    t->total_retrans += segments;
    net_count_n(NET_Tcp_RetransSegs, segments);
    return tcp_transmit_seg(t, g, now);
}

void tcp_retransmit_lost(struct tcp *t, nsec_t now)
{
    struct tcp_seg *g;

    if (t->lost_out == 0)
        return;
    list_for_each (g, &t->queue, link) {
        uint32_t pipe = tcp_pipe(t), room = t->cwnd > pipe ? t->cwnd - pipe : 0;

        if (g == t->unsent)
            break;
        if ((g->state & (SEG_LOST | SEG_RETRANS | SEG_SACKED)) != SEG_LOST)
            continue;
        if (pipe && room < MIN(t->mss, seg_space(g)))
            break;
        if (g->seq != t->snd_una && !seq_before(g->seq, t->snd_una + t->snd_wnd))
            break; /* the window shrank */
        if (tcp_retransmit(t, g, MAX(room, t->mss), now) < 0)
            break;
    }
}

nsec_t tcp_user_limit(const struct tcp *t, nsec_t at, nsec_t now)
{
    nsec_t end = t->first_unacked_at + t->user_timeout_ms * NSEC_PER_MSEC;

    return t->user_timeout_ms && t->first_unacked_at && end < at ? MAX(end, now) : at;
}

void tcp_rearm_send_timer(struct tcp *t, nsec_t now)
{
    nsec_t rto = tcp_backoff(t, t->backoff), at;

    if (t->snd_una == t->snd_nxt) {
        nsec_t wait = tcp_backoff(t, t->probes);

        if (!t->unsent) {
            t->deadline[TIMER_SEND] = NSEC_NEVER;
            return;
        }
        /* Window closed: probe it (3.8.6.1). Open: held back by cork, for 200 ms at most. */
        if (t->snd_wnd)
            wait = TCP_RTO_MIN;
        t->send_mode = SEND_PERSIST;
        tcp_set_deadline(t, TIMER_SEND, tcp_user_limit(t, tcp_coarse(now + wait) + (1 << 23), now));
        return;
    }
    at = tcp_tlp_deadline(t, now);
    if (at < now + rto) {
        t->send_mode = SEND_PROBE;
    } else {
        t->send_mode = SEND_RTO;
        at = tcp_user_limit(t, tcp_coarse(now + rto) + (1 << 23), now);
    }
    tcp_set_deadline(t, TIMER_SEND, at);
}

/* --- routes and sizes ------------------------------------------------------------------------- */

void tcp_update_mss(struct tcp *t)
{
    uint32_t headers = (ip_is_v4(&t->e.remote) ? 20 : 40) + TCP_HEADER;
    uint32_t mtu = MAX(t->flow.mtu, (uint16_t)576), mss = mtu - headers;

    t->advmss = MIN(mss, 65535u);
    if (t->flow.netif)
        t->advmss = MIN(MAX(t->flow.netif->mtu, mtu) - headers, 65495u);
    if (t->mss_user) {
        t->advmss = MIN(t->advmss, t->mss_user);
        mss = MIN(mss, t->mss_user);
    }
    if (t->mss_peer)
        mss = MIN(mss, t->mss_peer);
    if (t->blackhole_probes >= 2)
        mss = MIN(mss, ip_is_v4(&t->e.remote) ? TCP_DEFAULT_MSS4 : TCP_DEFAULT_MSS6);
    mss = MIN(MAX(mss, TCP_MIN_MSS),
              TCP_MAX_PAYLOAD);         /* an MTU near 64 KiB: at least one MSS a segment */
    mss -= t->ts_on ? TCP_TS_BYTES : 0; /* RFC 6691 */
    t->mss = mss;
    t->max_payload = MAX(TCP_MAX_PAYLOAD / mss, 1u) * mss;
}

int tcp_refresh_route(struct tcp *t)
{
    uint32_t old = t->mss;
    int err;

    t->flow.tos = t->s.tos & ~3u;
    t->flow.ttl = t->s.ttl;
    err = ip_route(&t->flow);
    if (err)
        return err;
    tcp_update_mss(t);
    if (t->mss != old && t->cwnd && old)
        t->cwnd = MAX(t->cwnd, t->mss);
    return 0;
}

/* --- without a connection --------------------------------------------------------------------- */

void tcp_send_reply(const struct tcp_reply *r)
{
    struct ip_flow flow = {
        .src = *r->src,
        .dst = *r->dst,
        .scope = r->scope,
        .proto = IPPROTO_TCP_N,
        .tos = r->tos & (uint8_t)~3u,
        .ttl = 64,
        .dont_fragment = true,
    };
    uint32_t n = ROUND_UP(r->opts_len, 4);
    struct tcp_header *h;
    struct pkt *p;

    if (ip_route(&flow) < 0)
        return;
    p = pkt_alloc(PKT_HEADROOM);
    if (!p) {
        net_count(NET_Librettos_TcpNoMemory);
        ip_flow_release(&flow);
        return;
    }
    h = pkt_push(p, TCP_HEADER + n);
    h->sport = net16(r->sport);
    h->dport = net16(r->dport);
    h->seq = net32(r->seq);
    h->ack = net32(r->ack);
    h->doff = (uint8_t)((TCP_HEADER + n) << 2);
    h->flags = r->flags;
    h->window = net16(r->window);
    h->csum = 0;
    h->urgent = 0;
    memset((uint8_t *)(h + 1) + r->opts_len, 0, n - r->opts_len);
    memcpy(h + 1, r->opts, r->opts_len);
    ip_csum_partial(p, &flow, 16);
    net_count(NET_Tcp_OutSegs);
    ip_output(&flow, p);
    ip_flow_release(&flow);
}
