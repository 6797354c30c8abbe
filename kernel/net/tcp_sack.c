/*
 * Selective acknowledgements: the scoreboard of what the peer has (RFC 2018, 6675, duplicates RFC
 * 2883) and the option we send.
 */
#include "net/tcp.h"

static void mark_sacked(struct tcp *t, struct tcp_seg *g, struct tcp_sack_result *res, nsec_t now)
{
    uint32_t space = seg_space(g), end = seg_end(g);
    bool ever = g->state & SEG_EVER;

    if (seq_after(end, t->rack_fack))
        t->rack_fack = end;
    else if (seq_before(end, t->rack_fack) && !ever)
        res->reordered = true;
    tcp_rack_delivered(t, g->sent_at, end, ever, now);
    if (!ever)
        res->rtt_sent = MAX(res->rtt_sent, g->sent_at);
    tcp_seg_unaccount(t, g);
    g->state |= SEG_SACKED;
    t->sacked_out += space;
    res->sacked += space;
    list_remove(&g->sent_link);
}

/* Marks the segments inside the block; those that reach over a border are split at a multiple of
 * the MSS, so that no peer can cut the queue into crumbs. */
static void mark_block(struct tcp *t, uint32_t start, uint32_t end, struct tcp_sack_result *res,
                       nsec_t now)
{
    struct tcp_seg *g;

    list_for_each (g, &t->queue, link) {
        if (g == t->unsent || !seq_before(g->seq, end))
            break;
        if (!seq_after(seg_end(g), start) || (g->state & SEG_SACKED))
            continue;
        if (seq_before(g->seq, start)) {
            uint32_t cut = start - g->seq;

            cut = DIV_ROUND_UP(cut, t->mss) * t->mss;
            if (cut < g->len && t->segs < TCP_MANY_SEGS)
                tcp_split_seg(t, g, cut);
            continue; /* the rest is next */
        }
        if (seq_after(seg_end(g), end)) {
            uint32_t cut = (end - g->seq) / t->mss * t->mss;

            if (!cut || cut >= g->len || t->segs >= TCP_MANY_SEGS || !tcp_split_seg(t, g, cut))
                break;
        }
        mark_sacked(t, g, res, now);
    }
}

static bool known(const struct tcp *t, const struct tcp_sack_block *b)
{
    for (int i = 0; i < TCP_MAX_SACKS; i++)
        if (t->last_sacks[i].start == b->start && t->last_sacks[i].end == b->end)
            return true;
    return false;
}

/* RFC 2883 4: the first block reports a duplicate if it is below the ACK or inside the second one.
 */
static bool is_dsack(const struct tcp_rx *r)
{
    const struct tcp_sack_block *b = &r->sacks[0];

    if (!seq_after(b->end, r->ack))
        return true;
    return r->nsacks > 1 && !seq_before(b->start, r->sacks[1].start) &&
           !seq_after(b->end, r->sacks[1].end);
}

/* How much of a duplicate is our doing. The network makes duplicates too: RFC 3708 3. */
static uint32_t sent_twice(const struct tcp *t, const struct tcp_sack_block *b)
{
    if (!seq_before(b->start, b->end) || seq_before(b->start, t->retrans_low) ||
        seq_after(b->end, t->retrans_high))
        return 0;
    return MIN(b->end - b->start, t->max_payload);
}

void tcp_sack_receive(struct tcp *t, const struct tcp_rx *r, struct tcp_sack_result *res)
{
    int first = 0;

    if (is_dsack(r)) {
        t->dsacks++;
        res->dsack = true;
        res->dsack_end = r->sacks[0].end;
        res->dsack_retrans = sent_twice(t, &r->sacks[0]);
        first = 1;
    }
    for (int i = first; i < r->nsacks; i++) {
        const struct tcp_sack_block *b = &r->sacks[i];

        if (!seq_before(b->start, b->end) || seq_after(b->end, t->snd_nxt) ||
            seq_before(b->start, t->snd_una) || known(t, b))
            continue;
        mark_block(t, b->start, b->end, res, r->now);
    }
    memset(t->last_sacks, 0, sizeof(t->last_sacks));
    memcpy(t->last_sacks, r->sacks, r->nsacks * sizeof(r->sacks[0]));
}

static uint8_t *put_block(uint8_t *o, uint32_t start, uint32_t end)
{
    uint32_t w[2] = {net32(start), net32(end)};

    memcpy(o, w, sizeof(w));
    return o + sizeof(w);
}

/* The island of out-of-order data around the packet at n. */
static struct tcp_sack_block island(struct rb_node *n)
{
    struct tcp_rcb *c = container_of(n, struct tcp_rcb, node);
    struct tcp_sack_block b = {c->seq, c->end};
    struct rb_node *m;

    for (m = rb_prev(n); m; m = rb_prev(m)) {
        c = container_of(m, struct tcp_rcb, node);
        if (c->end != b.start)
            break;
        b.start = c->seq;
    }
    for (m = rb_next(n); m; m = rb_next(m)) {
        c = container_of(m, struct tcp_rcb, node);
        if (c->seq != b.end)
            break;
        b.end = c->end;
    }
    return b;
}

/* RFC 2018 4: the block that arrived last comes first; then the others, those reported last before
 * those reported earlier. t->sack_order keeps the order between ACKs. */
uint32_t tcp_sack_option(struct tcp *t, uint8_t *opt, uint32_t room)
{
    uint32_t max = room >= 12 ? (room - 4) / 8 : 0, n = 0;
    struct tcp_sack_block out[TCP_MAX_SACKS];
    uint8_t *o = opt + 4;

    max = MIN(max, (uint32_t)TCP_MAX_SACKS);
    if (!max)
        return 0;
    if (t->dsack_due) {
        out[n++] = (struct tcp_sack_block){t->dsack_start, t->dsack_end};
        t->dsack_due = false;
    }
    for (uint32_t i = 0; i < t->sack_count && n < max; i++)
        out[n++] = t->sack_order[i];
    if (!n)
        return 0;
    opt[0] = opt[1] = 1;
    opt[2] = 5;
    opt[3] = (uint8_t)(2 + n * 8);
    for (uint32_t i = 0; i < n; i++)
        o = put_block(o, out[i].start, out[i].end);
    return (uint32_t)(o - opt);
}

void tcp_sack_note(struct tcp *t, struct pkt *p)
{
    struct tcp_sack_block b = island(&tcp_rcb(p)->node);
    struct tcp_sack_block old[TCP_MAX_SACKS];
    uint32_t n = t->sack_count, k = 0;

    memcpy(old, t->sack_order, sizeof(old));
    t->sack_order[k++] = b;
    for (uint32_t i = 0; i < n && k < TCP_MAX_SACKS; i++)
        if (seq_after(old[i].start, b.end) || seq_before(old[i].end, b.start))
            t->sack_order[k++] = old[i];
    t->sack_count = (uint8_t)k;
}

void tcp_sack_advance(struct tcp *t)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < t->sack_count; i++)
        if (seq_after(t->sack_order[i].start, t->rcv_nxt))
            t->sack_order[k++] = t->sack_order[i];
    t->sack_count = (uint8_t)k;
}
