/*
 * The life of a connection object, from tcp_alloc to its last reference, and the segments of its
 * send queue.
 */
#include "core/rand.h"
#include "net/tcp.h"

static struct slab *tcp_slab, *seg_slab;
static uint64_t isn_key[2];

/* --- objects ---------------------------------------------------------------------------------- */

struct tcp_seg *tcp_alloc_seg(struct tcp *t)
{
    struct tcp_seg *g = slab_alloc(seg_slab);

    if (!g) {
        net_count(NET_Librettos_TcpNoMemory);
        return NULL;
    }
    list_init(&g->sent_link);
    g->sent_at = 0;
    g->len = 0;
    g->flags = g->state = g->nfrags = 0;
    t->segs++;
    tcp_memory_add(sizeof(*g));
    return g;
}

void tcp_free_seg(struct tcp *t, struct tcp_seg *g)
{
    for (unsigned i = 0; i < g->nfrags; i++)
        page_put(g->frags[i].page);
    t->segs--;
    tcp_memory_add(-(int64_t)(sizeof(*g) + g->len));
    slab_free(seg_slab, g);
}

void tcp_purge_send(struct tcp *t)
{
    struct tcp_seg *g, *tmp;

    list_for_each_safe (g, tmp, &t->queue, link)
        tcp_free_seg(t, g);
    list_init(&t->queue);
    list_init(&t->sent);
    t->unsent = NULL;
    t->sacked_out = t->lost_out = t->retrans_out = 0;
}

/* The last reference is gone: nobody else knows of it. */
static void tcp_free(struct socket *s)
{
    struct tcp *t = tcp_of(s);

    ASSERT(!t->e.prev && list_empty(&t->accept_link));
    bh_disable();
    tcp_purge_send(t);
    tcp_purge_receive(t);
    tcp_bind_release(&t->bind);
    ip_flow_release(&t->flow);
    bh_enable();
    slab_free(tcp_slab, t);
}

uint8_t tcp_choose_wscale(const struct socket *s)
{
    uint32_t space = MAX(s->rcvbuf, s->rcvbuf_locked ? 0 : net_tunables.rmem[2]) / 2;
    uint8_t scale = 0;

    while (scale < TCP_MAX_WSCALE && (space >> scale) > 65535)
        scale++;
    return scale;
}

struct tcp *tcp_alloc(int family)
{
    struct tcp *t = slab_alloc(tcp_slab);

    if (!t) {
        net_count(NET_Librettos_TcpNoMemory);
        return NULL;
    }
    memset(t, 0, sizeof(*t));
    socket_init(&t->s, &tcp_ops, family, 1, IPPROTO_TCP_N);
    t->s.free = tcp_free;
    t->s.rcvbuf = net_tunables.rmem[1];
    t->s.sndbuf = net_tunables.wmem[1];
    if (family == 4)
        t->s.local.ip = t->s.peer.ip = ip_from_v4(0);
    t->state = TCP_CLOSE;
    t->flow.proto = IPPROTO_TCP_N;
    t->flow.dont_fragment = true;
    t->cc = tcp_cc_default;
    t->rto = TCP_RTO_INITIAL;
    t->ssthresh = UINT32_MAX;
    t->rcv_mss = TCP_DEFAULT_MSS4;
    t->quick_acks = 16;
    list_init(&t->queue);
    list_init(&t->sent);
    list_init(&t->accept_link);
    list_init(&t->syn_queue);
    list_init(&t->accept_queue);
    list_init(&t->bind.link);
    pkt_queue_init(&t->rcv_queue);
    tcp_timer_init(t);
    return t;
}

int tcp_socket_create(int family, struct socket **out)
{
    struct tcp *t = tcp_alloc(family);

    if (!t)
        return -ENOMEM;
    *out = &t->s;
    return 0;
}

/* RFC 6528: a clock of 256 ns ticks plus a secret function of the 4-tuple. */
uint32_t tcp_make_isn(const struct tcp_entry *e, nsec_t now)
{
    struct {
        struct ip_addr local, remote;
        uint16_t lport, rport;
        uint32_t zero;
    } key = {e->local, e->remote, e->lport, e->rport, 0};

    return (uint32_t)siphash(&key, sizeof(key), isn_key) + (uint32_t)(now >> 8);
}

uint32_t tcp_make_ts_offset(const struct ip_addr *local, const struct ip_addr *remote)
{
    struct ip_addr key[2] = {*local, *remote};

    return (uint32_t)(siphash(key, sizeof(key), isn_key) >> 32);
}

/* --- states ----------------------------------------------------------------------------------- */

void tcp_wake(struct tcp *t, unsigned key)
{
    if (wait_queue_active(&t->s.wait))
        wake_up_key(&t->s.wait, key);
}

uint32_t tcp_send_limit(const struct tcp *t)
{
    return tcp_memory() == TCP_MEMORY_FULL ? MIN(t->s.sndbuf, TCP_SCARCE_BUFFER) : t->s.sndbuf;
}

bool tcp_writable(const struct tcp *t)
{
    uint32_t queued = tcp_queued(t);

    if (READ_ONCE(t->write_seq) - READ_ONCE(t->snd_nxt) >= tcp_notsent_lowat(t))
        return false;
    return queued <= tcp_send_limit(t) / 3 * 2;
}

void tcp_wake_writers(struct tcp *t)
{
    if (!READ_ONCE(t->want_space) || !tcp_writable(t))
        return;
    WRITE_ONCE(t->want_space, false);
    tcp_wake(t, POLL_OUT | POLL_WRNORM);
}

void tcp_enter_state(struct tcp *t, enum tcp_state state)
{
    WRITE_ONCE(t->state, state);
}

void tcp_setup_options(struct tcp *t, const struct tcp_syn_opts *o)
{
    t->mss_peer = o->mss ? o->mss : ip_is_v4(&t->e.remote) ? TCP_DEFAULT_MSS4 : TCP_DEFAULT_MSS6;
    t->sack_on = o->sack && net_tunables.sack;
    t->ts_on = o->ts && net_tunables.timestamps;
    t->wscale_on = o->wscale >= 0 && net_tunables.window_scaling;
    t->snd_wscale = t->wscale_on ? (uint8_t)o->wscale : 0;
    t->rcv_wscale = t->wscale_on ? tcp_choose_wscale(&t->s) : 0;
    if (t->ts_on) {
        t->ts_recent = o->tsval;
        t->ts_recent_at = t->last_rcv;
    }
    tcp_update_mss(t);
    t->rcv_mss = MIN(t->advmss, TCP_DEFAULT_MSS4);
}

void tcp_established(struct tcp *t, nsec_t now)
{
    /* RFC 5681 3.1: the SYN was lost, not just late; RFC 6298 5.7. */
    t->cwnd = t->total_retrans > 1 ? t->mss : tcp_initial_cwnd(t->mss);
    if (t->total_retrans && !t->srtt)
        t->rto = TCP_RTO_SYN_LOST;
    t->backoff = 0;
    t->first_unacked_at = 0;
    t->flight_max = 0;
    t->flight_end = t->snd_una;
    t->rack_reo_mult = 1;
    t->rack_fack = t->snd_una;
    t->last_rcv = now;
    t->rcv_space_seq = t->copied;
    t->rcv_space_at = now;
    t->cc->init(t);
    if (!t->s.sndbuf_locked)
        t->s.sndbuf = MAX(t->s.sndbuf, MIN(131072u, net_tunables.wmem[2]));
    t->deadline[TIMER_SEND] = NSEC_NEVER;
    tcp_reset_keepalive(t, now);
}

void tcp_done(struct tcp *t, int error)
{
    if (t->state == TCP_CLOSE)
        return;
    tcp_enter_state(t, TCP_CLOSE);
    tcp_stop_timers(t);
    tcp_purge_send(t);
    WRITE_ONCE(t->snd_una, t->write_seq);
    t->snd_nxt = t->write_seq;
    if (!t->user_bound || t->orphan)
        tcp_bind_release(&t->bind);
    ip_flow_release(&t->flow);
    t->s.shut = 3;
    if (error)
        t->s.error = error;
    if (t->orphan)
        tcp_purge_receive(t);
    if (tcp_table_remove(&t->e))
        tcp_put(t);
    tcp_wake(t, POLL_IN | POLL_RDNORM | POLL_OUT | POLL_WRNORM | POLL_HUP | POLL_RDHUP |
                    (error ? POLL_ERR : 0));
}

void tcp_abort(struct tcp *t, int error)
{
    if (!tcp_in(t, TCPF(TCP_CLOSE) | TCPF(TCP_LISTEN) | TCPF(TCP_SYN_SENT)))
        tcp_send_reset(t, time_now());
    tcp_done(t, error);
}

void tcp_init(void)
{
    tcp_memory_init();
    tcp_slab = slab_create("tcp", sizeof(struct tcp), 64);
    seg_slab = slab_create("tcp_segment", sizeof(struct tcp_seg), 16);
    rand_bytes(isn_key, sizeof(isn_key));
    if (!tcp_slab || !seg_slab || tcp_table_init() || tcp_bind_init() || tcp_timewait_init())
        panic("tcp: out of memory at start");
}
