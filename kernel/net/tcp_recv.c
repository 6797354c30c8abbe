/*
 * Received payload: the queue in order, the tree of what came out of order, and the program's side:
 * recv. Packets are kept as the driver filled them and copied to the program once. The copy is done
 * under the connection's lock; if the program's page is not there, the lock is dropped, the page
 * brought in, and the copy goes on.
 */
#include "net/tcp.h"

static struct pkt *pkt_of_node(struct rb_node *n)
{
    struct tcp_rcb *c = container_of(n, struct tcp_rcb, node);

    return (struct pkt *)(void *)((uint8_t *)c - offsetof(struct pkt, cb));
}

static struct pkt *last_in_queue(struct tcp *t)
{
    return t->rcv_queue.count ? container_of(t->rcv_queue.tail, struct pkt, next) : NULL;
}

/* --- arrival ---------------------------------------------------------------------------------- */

/* Small segments share the last packet's buffer: memory in use stays near the bytes in it. */
static bool join_last(struct tcp *t, struct pkt *p)
{
    struct pkt *last = last_in_queue(t);
    uint32_t room;

    if (!last || last->nfrags || p->len > 256)
        return false;
    room = (uint32_t)(last->buf + PKT_BUF - (last->data + last->linear));
    if (p->len > room || !pkt_copy_out(p, 0, last->data + last->linear, p->len))
        return false;
    last->linear += p->len;
    last->len += p->len;
    t->rcv_queue.bytes += p->len;
    pkt_free(p);
    return true;
}

/* What a queued packet takes: itself and its pages, however little is in them. */
static void count_packet(struct pkt *p)
{
    uint32_t cost = (uint32_t)sizeof(*p) + MAX(p->len, (uint32_t)(p->nfrags * PAGE_SIZE));

    tcp_rcb(p)->cost = cost;
    tcp_memory_add(cost);
}

static void uncount_packet(struct pkt *p)
{
    tcp_memory_add(-(int64_t)tcp_rcb(p)->cost);
}

/* Appends payload that begins at rcv_nxt. Takes ownership. */
static void append(struct tcp *t, struct pkt *p)
{
    uint32_t n = p->len;

    WRITE_ONCE(t->rcv_nxt, t->rcv_nxt + n);
    t->bytes_received += n;
    if (!n) {
        pkt_free(p);
    } else if (!join_last(t, p)) {
        count_packet(p);
        pkt_queue_push(&t->rcv_queue, p);
    }
}

static int compare(const struct rb_node *a, const struct rb_node *b)
{
    const struct tcp_rcb *x = container_of(a, struct tcp_rcb, node);
    const struct tcp_rcb *y = container_of(b, struct tcp_rcb, node);

    return (int32_t)(x->seq - y->seq);
}

static void ooo_remove(struct tcp *t, struct pkt *p)
{
    rb_remove(&t->ooo, &tcp_rcb(p)->node);
    t->ooo_count--;
    t->ooo_bytes -= p->len;
    uncount_packet(p);
}

/* What the peer's FIN does to the state. */
static void fin_arrived(struct tcp *t, nsec_t now)
{
    WRITE_ONCE(t->fin_received, true);
    WRITE_ONCE(t->rcv_nxt, t->rcv_nxt + 1);
    t->s.shut |= 1;
    tcp_reset_ooo(t);
    switch (t->state) {
    case TCP_ESTABLISHED:
        tcp_enter_state(t, TCP_CLOSE_WAIT);
        tcp_wake(t, POLL_IN | POLL_RDNORM | POLL_RDHUP);
        break;
    case TCP_FIN_WAIT1: /* simultaneous close; our FIN is not acknowledged yet */
        t->ack_now = true;
        tcp_enter_state(t, TCP_CLOSING);
        tcp_wake(t, POLL_IN | POLL_RDNORM | POLL_RDHUP);
        break;
    case TCP_FIN_WAIT2:
        tcp_send_ack(t, now);
        tcp_time_wait(t);
        break;
    default:
        break;
    }
}

/* Moves what has become in order from the tree to the queue; true if a FIN was among it. */
static bool drain_ooo(struct tcp *t)
{
    struct rb_node *n;
    bool fin = false;

    while ((n = rb_first(&t->ooo))) {
        struct pkt *p = pkt_of_node(n);
        struct tcp_rcb *c = tcp_rcb(p);

        if (seq_after(c->seq, t->rcv_nxt))
            break;
        ooo_remove(t, p);
        if (seq_after(t->rcv_nxt, c->end)) { /* came in again in a larger segment */
            pkt_free(p);
            continue;
        }
        fin = c->fin;
        pkt_trim_front(p, t->rcv_nxt - c->seq);
        append(t, p);
        if (fin)
            break;
    }
    tcp_sack_advance(t);
    return fin;
}

void tcp_reset_ooo(struct tcp *t)
{
    struct rb_node *n;

    while ((n = rb_first(&t->ooo))) {
        struct pkt *p = pkt_of_node(n);

        ooo_remove(t, p);
        pkt_free(p);
    }
    t->sack_count = 0;
}

static void report_duplicate(struct tcp *t, uint32_t start, uint32_t end)
{
    t->ack_now = true;
    if (!t->sack_on || t->dsack_due)
        return;
    t->dsack_due = true;
    t->dsack_start = start;
    t->dsack_end = end;
}

/* Memory that the tree takes: packets have a cost of their own. */
static bool ooo_fits(const struct tcp *t, uint32_t n)
{
    if (unlikely(tcp_memory() != TCP_MEMORY_OK) && t->ooo_bytes + n > TCP_SCARCE_BUFFER)
        return false;
    return (uint64_t)t->ooo_bytes + n + (uint64_t)(t->ooo_count + 1) * 768 <=
           (uint64_t)t->s.rcvbuf + 65536;
}

/* Puts the packet into the tree without overlaps. Takes ownership. */
static void ooo_insert(struct tcp *t, struct pkt *p)
{
    struct tcp_rcb *c = tcp_rcb(p);
    struct rb_node *n;

    if (!ooo_fits(t, p->len)) {
        net_count(NET_TcpExt_TCPOFODrop);
        pkt_free(p);
        return;
    }
    rb_insert(&t->ooo, &c->node, compare);
    t->ooo_count++;
    t->ooo_bytes += p->len;
    count_packet(p);
    n = rb_prev(&c->node);
    if (n) {
        struct tcp_rcb *before = container_of(n, struct tcp_rcb, node);

        if (seq_after(before->end, c->seq)) {
            uint32_t over = MIN(before->end - c->seq, p->len);

            report_duplicate(t, c->seq, c->seq + over);
            if (over == p->len) { /* nothing new */
                before->fin |= c->fin;
                ooo_remove(t, p);
                pkt_free(p);
                return;
            }
            pkt_trim_front(p, over);
            t->ooo_bytes -= over;
            c->seq += over;
        }
    }
    while ((n = rb_next(&c->node))) {
        struct tcp_rcb *after = container_of(n, struct tcp_rcb, node);
        struct pkt *q = pkt_of_node(n);

        if (!seq_before(after->seq, c->end))
            break;
        if (seq_after(after->end, c->end)) {
            uint32_t keep = after->seq - c->seq;

            report_duplicate(t, after->seq, c->end);
            t->ooo_bytes -= p->len - keep;
            pkt_trim_to(p, keep);
            c->end = after->seq;
            if (!keep) {
                ooo_remove(t, p);
                pkt_free(p);
                return;
            }
            break;
        }
        report_duplicate(t, after->seq, after->end);
        c->fin |= after->fin;
        ooo_remove(t, q);
        pkt_free(q);
    }
    tcp_sack_note(t, p);
}

static void measure_mss(struct tcp *t, const struct pkt *p, uint32_t len)
{
    uint32_t size = p->gso ? p->gso_size : len;

    if (size > t->rcv_mss)
        t->rcv_mss = MIN(size, t->advmss);
}

/* The time from an ACK of ours to the data that it let go (RFC 7323 4): a receiver's only samples
 * after the handshake. A full segment, as others may have waited for the peer's program. */
static void measure_rtt(struct tcp *t, const struct tcp_rx *r, uint32_t len)
{
    nsec_t rtt;

    if (!r->has_ts || r->tsecr == t->rcv_tsecr || len < t->rcv_mss)
        return;
    t->rcv_tsecr = r->tsecr;
    rtt = (nsec_t)(tcp_ts_now(t, r->now) - r->tsecr) << TCP_TS_SHIFT;
    rtt = MIN(rtt, NSEC_PER_SEC); /* the peer may say anything */
    t->rcv_rtt += t->rcv_rtt ? (rtt - t->rcv_rtt) / 8 : rtt;
}

static inline void announce(struct tcp *t)
{
    if (!t->woken_in && tcp_readable(t) >= t->s.rcv_lowat) {
        t->woken_in = true;
        tcp_wake(t, POLL_IN | POLL_RDNORM);
    }
}

void tcp_receive_data(struct tcp *t, struct tcp_rx *r)
{
    uint32_t edge = t->rcv_wup + t->rcv_wnd, seq = r->seq, len;
    struct pkt *p = r->p;
    bool fin = r->flags & TH_FIN;

    pkt_trim_front(p, r->hlen);
    len = p->len;
    if (unlikely(seq_before(edge, t->rcv_nxt)))
        edge = t->rcv_nxt;
    if (unlikely(seq_before(seq, t->rcv_nxt))) { /* the beginning is known */
        uint32_t old = MIN(t->rcv_nxt - seq, len);

        if (old)
            report_duplicate(t, seq, seq + old);
        t->ack_now = true;
        pkt_trim_front(p, old);
        seq += old;
        len -= old;
        if (seq != t->rcv_nxt || (!len && !fin)) {
            pkt_free(p);
            return;
        }
    }
    if (unlikely(seq_after(seq + len, edge))) { /* beyond the window */
        uint32_t fits = seq_before(seq, edge) ? edge - seq : 0;

        t->ack_now = true;
        fin = false;
        if (!fits) {
            net_count(NET_TcpExt_TCPZeroWindowDrop);
            pkt_free(p);
            return;
        }
        pkt_trim_to(p, fits);
        len = fits;
    }
    measure_mss(t, p, len);
    measure_rtt(t, r, len);
    if (unlikely(tcp_memory() == TCP_MEMORY_FULL) && len && t->rcv_queue.head) {
        net_count(NET_TcpExt_TCPRcvQDrop); /* the program has something to read before */
        pkt_free(p);
        return;
    }
    if (likely(seq == t->rcv_nxt)) {
        append(t, p);
        if (unlikely(t->ooo_count)) {
            t->ack_now = true;
            fin |= drain_ooo(t);
        }
        if (unlikely(fin)) {
            fin_arrived(t, r->now);
            return;
        }
        announce(t);
        return;
    }
    t->ack_now = true; /* RFC 5681 4.2 */
    *tcp_rcb(p) = (struct tcp_rcb){.seq = seq, .end = seq + len, .fin = fin};
    if (!len) { /* a FIN ahead of data: it will come again */
        pkt_free(p);
        return;
    }
    ooo_insert(t, p);
}

void tcp_purge_receive(struct tcp *t)
{
    for (struct pkt *p = t->rcv_queue.head; p; p = p->next)
        uncount_packet(p);
    pkt_queue_free(&t->rcv_queue);
    tcp_reset_ooo(t);
}

/* --- recv ------------------------------------------------------------------------------------- */

/* Copies n bytes at offset off of the packet to the program. */
static int copy_packet(struct uio *u, const struct pkt *p, uint32_t off, uint32_t n)
{
    if (off < p->linear) {
        uint32_t k = MIN(n, p->linear - off);
        int err = uio_write_nofault(u, p->data + off, k);

        if (err || k == n)
            return err;
        n -= k;
        off = 0;
    } else {
        off -= p->linear;
    }
    for (unsigned i = 0; i < p->nfrags && n; i++) {
        const struct pkt_frag *f = &p->frags[i];
        uint32_t k;
        int err;

        if (off >= f->len) {
            off -= f->len;
            continue;
        }
        k = MIN(n, f->len - off);
        err = uio_write_nofault(u, (uint8_t *)page_addr(f->page) + f->off + off, k);
        if (err)
            return err;
        n -= k;
        off = 0;
    }
    return 0;
}

static void consume(struct tcp *t, struct pkt *p, uint32_t n)
{
    WRITE_ONCE(t->copied, t->copied + n);
    t->rcv_queue.bytes -= n;
    if (n == p->len) {
        t->rcv_queue.bytes += n;
        uncount_packet(p);
        pkt_free(pkt_queue_pop(&t->rcv_queue));
        return;
    }
    pkt_trim_front(p, n);
}

/* Copies what is there; 0 or -EFAULT. `*peeked` is how far a peek has come. */
static int copy_queue(struct tcp *t, struct uio *u, unsigned flags, size_t *peeked)
{
    struct pkt *p = t->rcv_queue.head;
    size_t skip = *peeked;

    while (p && u->resid) {
        struct pkt *next = p->next;
        size_t before = u->resid;
        uint32_t n;
        int err = 0;

        if (skip >= p->len) {
            skip -= p->len;
            p = next;
            continue;
        }
        n = (uint32_t)MIN((size_t)p->len - skip, u->resid);
        if (unlikely(flags & SOCK_MSG_TRUNC))
            uio_skip(u, n);
        else
            err = copy_packet(u, p, (uint32_t)skip, n);
        n = (uint32_t)(before - u->resid);
        if (unlikely(flags & SOCK_MSG_PEEK))
            *peeked += n;
        else if (n)
            consume(t, p, n);
        if (err)
            return err;
        skip = 0;
        p = next;
    }
    return 0;
}

/* The program has read: does the peer need to know of the room (3.8.6.2.2)? Grows the buffer of a
 * fast reader: it took a whole window's worth within a round trip, so the window limits the peer.
 */
static void after_read(struct tcp *t)
{
    uint32_t told = t->rcv_wup + t->rcv_wnd - t->rcv_nxt, full = tcp_full_window(t);
    uint32_t space = t->copied - t->rcv_space_seq;
    nsec_t now, rtt = MAX(t->srtt, t->rcv_rtt);

    if (unlikely(space >= full / 2)) {
        now = time_now();
        if (net_tunables.moderate_rcvbuf && !t->s.rcvbuf_locked &&
            t->s.rcvbuf < net_tunables.rmem[2] && tcp_memory() == TCP_MEMORY_OK &&
            now - t->rcv_space_at <= 2 * (rtt ? rtt : TCP_DELACK)) {
            t->s.rcvbuf = MIN(t->s.rcvbuf * 2, net_tunables.rmem[2]);
            full = tcp_full_window(t);
        }
        t->rcv_space_seq = t->copied;
        t->rcv_space_at = now;
    }
    if (told * 2 <= full && !(t->s.shut & 1)) {
        uint32_t window = tcp_select_window(t);

        if (window && window >= 2 * told)
            tcp_send_ack(t, time_now());
    }
}

/* Nothing to read, and the program has not answered: the ACK of a small message need not wait for
 * the answer any longer. */
static void before_sleep(struct tcp *t)
{
    uint32_t owed = t->rcv_nxt - t->rcv_wup;

    if (owed && owed < t->rcv_mss && t->state != TCP_CLOSE)
        tcp_send_ack(t, time_now());
}

static bool has_data(struct tcp *t, size_t target)
{
    return tcp_readable(t) >= target || READ_ONCE(t->s.error) || (READ_ONCE(t->s.shut) & 1) ||
           tcp_in(t, TCPF(TCP_CLOSE));
}

/* Why there is nothing to read: 0 at the end of the stream, else negative errno; -EAGAIN: not yet.
 */
static int recv_status(struct tcp *t)
{
    if (t->s.error) {
        int err = t->s.error;

        t->s.error = 0;
        return -err;
    }
    if (t->s.shut & 1)
        return 0;
    if (t->state == TCP_CLOSE || t->state == TCP_LISTEN)
        return -ENOTCONN;
    return -EAGAIN;
}

ssize_t tcp_recv(struct socket *s, struct uio *u, struct sock_recv_info *info, unsigned flags)
{
    struct tcp *t = tcp_of(s);
    size_t want = u->resid, peeked = 0, done, target;
    nsec_t deadline = NSEC_NEVER;
    ssize_t err;

    if (flags & SOCK_MSG_OOB)
        return -EINVAL; /* urgent data stay in the stream */
    if (!(flags & SOCK_MSG_DONTWAIT) && unlikely(s->rcv_timeout))
        deadline = time_now() + s->rcv_timeout;
    tcp_lock(t);
    target = flags & SOCK_MSG_WAITALL ? want : MIN((size_t)MAX(s->rcv_lowat, 1u), want);
    for (;;) {
        bool drained;

        t->woken_in = false;
        err = copy_queue(t, u, flags, &peeked);
        done = want - u->resid;
        if (unlikely(err)) { /* a short result would say that nothing is left */
            tcp_unlock(t);
            err = uio_fault_in(u, MIN(u->resid, (size_t)65536), true);
            tcp_lock(t);
            if (err)
                break;
            continue;
        }
        drained = !t->rcv_queue.head;
        if (done >= target || (done && !drained))
            break;
        if (t->state == TCP_LISTEN) {
            err = -ENOTCONN;
            break;
        }
        err = done && (s->error || (s->shut & 1) || t->state == TCP_CLOSE) ? 0 : recv_status(t);
        if (err != -EAGAIN)
            break;
        before_sleep(t);
        if (flags & SOCK_MSG_DONTWAIT)
            break;
        if (done && !(flags & SOCK_MSG_PEEK))
            after_read(t);
        tcp_unlock(t);
        err = wait_event_timeout(&s->wait, has_data(t, peeked + 1), deadline);
        tcp_lock(t);
        if (err) {
            err = err == -ETIMEDOUT ? -EAGAIN : err;
            break;
        }
    }
    if (done && !(flags & SOCK_MSG_PEEK))
        after_read(t);
    tcp_unlock(t);
    if (info)
        info->from = s->peer;
    return done ? (ssize_t)done : err;
}
