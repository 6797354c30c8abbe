/*
 * The program's side of sending: its data go into pages (once), the pages into the send queue.
 *
 * Each CPU fills one block of pages after the other; what one send wrote ends where the next
 * begins, so small writes of a connection grow its last segment, and no connection owns memory
 * beyond what it has not got acknowledged.
 */
#include "core/page.h"
#include "core/thread.h"
#include "net/tcp.h"

#define BLOCK_ORDER 3 /* 32 KiB: few descriptors for large sends */

struct fill {
    struct page *page;
    uint32_t off, size;
} __attribute__((aligned(64)));

static struct fill fills[MAX_CPUS];

/* This CPU's block with room in it, or NULL. Bottom halves off. */
static struct fill *fill_block(void)
{
    struct fill *f = &fills[cpu_id()];
    unsigned order = BLOCK_ORDER;

    if (likely(f->page && f->off < f->size))
        return f;
    if (f->page)
        page_put(f->page);
    f->page = page_alloc(order, 0);
    if (!f->page) {
        order = 0;
        f->page = page_alloc(0, 0);
    }
    f->off = 0;
    f->size = f->page ? (uint32_t)PAGE_SIZE << order : 0;
    return f->page ? f : NULL;
}

/* The segment that further data may be added to: the last, if it was never sent. A new one
 * otherwise. */
static struct tcp_seg *open_segment(struct tcp *t)
{
    struct tcp_seg *g;

    if (t->unsent) {
        g = list_last(&t->queue, struct tcp_seg, link);
        if (g->len < t->max_payload && g->nfrags < TCP_SEG_FRAGS)
            return g;
    }
    g = tcp_alloc_seg(t);
    if (!g)
        return NULL;
    g->seq = t->write_seq;
    list_push_back(&t->queue, &g->link);
    if (!t->unsent)
        t->unsent = g;
    return g;
}

/* A segment that got no data. */
static void drop_if_empty(struct tcp *t, struct tcp_seg *g)
{
    if (g->len)
        return;
    if (t->unsent == g)
        t->unsent = NULL;
    list_remove(&g->link);
    tcp_free_seg(t, g);
}

static void add_bytes(struct tcp *t, struct tcp_seg *g, struct page *page, uint32_t off, uint32_t n)
{
    struct pkt_frag *last = g->nfrags ? &g->frags[g->nfrags - 1] : NULL;

    if (last && last->page == page && last->off + last->len == off) {
        last->len += n;
    } else {
        page_get(page);
        g->frags[g->nfrags++] = (struct pkt_frag){{page}, off, n};
    }
    g->len += n;
    tcp_memory_add(n);
    WRITE_ONCE(t->write_seq, t->write_seq + n);
}

/* Copies up to `max` bytes of the program's data into the queue. Bytes, -EFAULT (the page is not
 * present), -ENOMEM. */
static ssize_t append(struct tcp *t, struct uio *u, uint32_t max)
{
    struct fill *f = fill_block();
    struct tcp_seg *g;
    size_t before = u->resid, n;
    int err;

    if (!f)
        return -ENOMEM;
    g = open_segment(t);
    if (!g)
        return -ENOMEM;
    n = MIN(MIN(u->resid, (size_t)max), (size_t)MIN(f->size - f->off, t->max_payload - g->len));
    err = uio_read_nofault((uint8_t *)page_addr(f->page) + f->off, n, u);
    n = before - u->resid;
    if (n) {
        add_bytes(t, g, f->page, f->off, (uint32_t)n);
        f->off += (uint32_t)n;
        return (ssize_t)n;
    }
    drop_if_empty(t, g);
    return err;
}

static bool unsent_low(const struct tcp *t)
{
    return READ_ONCE(t->write_seq) - READ_ONCE(t->snd_nxt) < tcp_notsent_lowat(t);
}

static inline uint32_t send_space(const struct tcp *t)
{
    uint32_t queued = tcp_queued(t), size = tcp_send_limit(t);

    return size > queued ? size - queued : 0;
}

static bool can_go_on(struct tcp *t)
{
    return (send_space(t) && unsent_low(t)) || t->s.error || (READ_ONCE(t->s.shut) & 2) ||
           !tcp_in(t, TCPF_CAN_SEND);
}

static bool past_handshake(struct tcp *t)
{
    return !tcp_in(t, TCPF(TCP_SYN_SENT) | TCPF(TCP_SYN_RECV));
}

/* Why the connection does not take data: 0 if it does. Clears the pending error. Locked. */
static int send_error(struct tcp *t)
{
    if (unlikely(t->s.error)) {
        int err = t->s.error;

        t->s.error = 0;
        return -err;
    }
    if (unlikely((t->s.shut & 2) || !tcp_in(t, TCPF_CAN_SEND)))
        return -EPIPE;
    return 0;
}

/* Locked on entry and return; sleeps unlocked until there is room (or `cond` otherwise holds). */
static int wait_for(struct tcp *t, bool (*cond)(struct tcp *t), bool nonblock, nsec_t deadline)
{
    int err;

    if (nonblock)
        return -EAGAIN;
    tcp_unlock(t);
    err = wait_event_timeout(&t->s.wait, cond(t), deadline);
    tcp_lock(t);
    return err == -ETIMEDOUT ? -EAGAIN : err;
}

static int wait_space(struct tcp *t, bool nonblock, nsec_t deadline)
{
    t->more = false;
    tcp_push(t, time_now());
    WRITE_ONCE(t->want_space, true);
    if (can_go_on(t))
        return 0;
    return wait_for(t, can_go_on, nonblock, deadline);
}

static nsec_t send_deadline(const struct tcp *t)
{
    return t->s.snd_timeout ? time_now() + t->s.snd_timeout : NSEC_NEVER;
}

/* The end of a send: what was queued goes out if it may. Locked. */
static void finish(struct tcp *t, unsigned flags)
{
    t->more = flags & SOCK_MSG_MORE;
    if (unlikely(flags & SOCK_MSG_OOB) && t->unsent) {
        t->snd_up = t->write_seq;
        list_last(&t->queue, struct tcp_seg, link)->flags |= TH_URG;
    }
    if (t->unsent)
        tcp_push(t, time_now());
}

/* Connected, or on the way to it: sleeps until the handshake is over. Locked. */
static int ready(struct tcp *t, bool nonblock, nsec_t deadline)
{
    int err = 0;

    if (unlikely(!past_handshake(t)))
        err = wait_for(t, past_handshake, nonblock, deadline);
    return err ? err : send_error(t);
}

/* No page, and with the lock held nothing can be reclaimed: without it there may be some. */
static int get_memory(struct tcp *t)
{
    bool some;

    tcp_unlock(t);
    some = page_reclaim();
    tcp_lock(t);
    return some ? send_error(t) : -ENOMEM;
}

ssize_t tcp_send(struct socket *s, struct uio *u, const struct sock_addr *to, unsigned flags)
{
    struct tcp *t = tcp_of(s);
    bool nonblock = flags & SOCK_MSG_DONTWAIT;
    nsec_t deadline = nonblock ? NSEC_NEVER : send_deadline(t);
    size_t done = 0;
    int err;

    (void)to;
    tcp_lock(t);
    err = ready(t, nonblock, deadline);
    while (!err && u->resid) {
        uint32_t space = send_space(t);
        ssize_t n;

        if (unlikely(!space || !unsent_low(t))) {
            err = wait_space(t, nonblock, deadline);
            if (!err)
                err = send_error(t);
            continue;
        }
        n = append(t, u, space);
        if (likely(n > 0)) {
            done += (size_t)n;
            /* Enough for a large packet: on its way while the rest is copied. */
            if (t->write_seq - t->snd_nxt >= t->max_payload && u->resid)
                tcp_push(t, time_now());
            continue;
        }
        err = n == -ENOMEM ? get_memory(t) : (int)n;
        if (n == -EFAULT) {
            tcp_unlock(t);
            err = uio_fault_in(u, MIN(u->resid, (size_t)65536), false);
            tcp_lock(t);
            if (!err)
                err = send_error(t);
        }
    }
    if (done)
        finish(t, flags);
    tcp_unlock(t);
    return done ? (ssize_t)done : err;
}

/* Queues as much of the part from offset `at` on as one segment takes. Bytes or -ENOMEM. */
static ssize_t append_page(struct tcp *t, const struct page_part *part, uint32_t at, uint32_t max)
{
    struct tcp_seg *g = open_segment(t);
    uint32_t n;

    if (!g)
        return -ENOMEM;
    n = MIN(MIN(part->len - at, max), t->max_payload - g->len);
    add_bytes(t, g, part->page, part->off + at, n);
    return n;
}

ssize_t tcp_sendpages(struct socket *s, const struct page_part *parts, unsigned n, unsigned flags)
{
    struct tcp *t = tcp_of(s);
    bool nonblock = flags & SOCK_MSG_DONTWAIT;
    nsec_t deadline = nonblock ? NSEC_NEVER : send_deadline(t);
    size_t done = 0;
    uint32_t at = 0;
    int err;

    tcp_lock(t);
    err = ready(t, nonblock, deadline);
    /* All of it is queued before anything is pushed, so that segments become as large as they can.
     */
    while (!err && n) {
        uint32_t space = send_space(t);
        ssize_t took;

        if (!space || !unsent_low(t)) {
            if (done) /* the caller has the rest and knows best when to come back */
                break;
            err = wait_space(t, nonblock, deadline);
            if (!err)
                err = send_error(t);
            continue;
        }
        took = append_page(t, parts, at, space);
        if (took < 0) {
            err = took == -ENOMEM ? get_memory(t) : (int)took;
            continue;
        }
        done += (size_t)took;
        at += (uint32_t)took;
        if (at == parts->len) {
            parts++;
            n--;
            at = 0;
        }
    }
    if (done)
        finish(t, flags);
    tcp_unlock(t);
    return done ? (ssize_t)done : err;
}

void tcp_queue_fin(struct tcp *t)
{
    nsec_t now = time_now();
    struct tcp_seg *g;

    if (t->fin_queued)
        return;
    if (t->unsent) {
        g = list_last(&t->queue, struct tcp_seg, link);
    } else {
        g = tcp_alloc_seg(t);
        if (!g) { /* no room for a goodbye */
            tcp_abort(t, ENOMEM);
            return;
        }
        g->seq = t->write_seq;
        list_push_back(&t->queue, &g->link);
        t->unsent = g;
    }
    g->flags |= TH_FIN;
    t->fin_queued = true;
    t->more = t->cork = false;
    tcp_enter_state(t, t->state == TCP_CLOSE_WAIT ? TCP_LAST_ACK : TCP_FIN_WAIT1);
    tcp_push(t, now);
}
