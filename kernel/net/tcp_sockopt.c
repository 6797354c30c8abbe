/* Options of level IPPROTO_TCP and the socket ioctls, with Linux's numbers, limits and errors. */
#include "net/tcp.h"

enum tcp_option {
    OPT_NODELAY = 1,
    OPT_MAXSEG = 2,
    OPT_CORK = 3,
    OPT_KEEPIDLE = 4,
    OPT_KEEPINTVL = 5,
    OPT_KEEPCNT = 6,
    OPT_SYNCNT = 7,
    OPT_LINGER2 = 8,
    OPT_DEFER_ACCEPT = 9,
    OPT_WINDOW_CLAMP = 10,
    OPT_INFO = 11,
    OPT_QUICKACK = 12,
    OPT_CONGESTION = 13,
    OPT_USER_TIMEOUT = 18,
    OPT_FASTOPEN = 23,
    OPT_TIMESTAMP = 24,
    OPT_NOTSENT_LOWAT = 25,
    OPT_FASTOPEN_CONNECT = 30,
};

#define SIOCINQ_CMD 0x541bu
#define SIOCOUTQ_CMD 0x5411u
#define SIOCOUTQNSD_CMD 0x894bu
#define SIOCATMARK_CMD 0x8905u

/* struct tcp_info of Linux 6.1. */
struct tcp_info_abi {
    uint8_t state, ca_state, retransmits, probes, backoff, options, wscales, flags;
    uint32_t rto, ato, snd_mss, rcv_mss;
    uint32_t unacked, sacked, lost, retrans, fackets;
    uint32_t last_data_sent, last_ack_sent, last_data_recv, last_ack_recv;
    uint32_t pmtu, rcv_ssthresh, rtt, rttvar, snd_ssthresh, snd_cwnd, advmss, reordering;
    uint32_t rcv_rtt, rcv_space, total_retrans;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
    uint32_t segs_out, segs_in, notsent_bytes, min_rtt, data_segs_in, data_segs_out;
    uint64_t delivery_rate, busy_time, rwnd_limited, sndbuf_limited;
    uint32_t delivered, delivered_ce;
    uint64_t bytes_sent, bytes_retrans;
    uint32_t dsack_dups, reord_seen, rcv_ooopack, snd_wnd;
};

static uint32_t usec(nsec_t ns)
{
    return (uint32_t)(ns / NSEC_PER_USEC);
}

static uint32_t msec_since(nsec_t at, nsec_t now)
{
    return at ? (uint32_t)((now - at) / NSEC_PER_MSEC) : 0;
}

static void fill_info(struct tcp *t, struct tcp_info_abi *i)
{
    uint32_t mss = t->mss ? t->mss : TCP_DEFAULT_MSS4;
    nsec_t now = time_now();

    *i = (struct tcp_info_abi){
        .state = t->state,
        .ca_state = t->ca_state,
        .retransmits = t->backoff,
        .probes = t->probes,
        .backoff = t->backoff,
        .options = (uint8_t)(t->ts_on | t->sack_on << 1 | t->wscale_on << 2 | t->ecn_on << 3),
        .wscales = (uint8_t)(t->snd_wscale | t->rcv_wscale << 4),
        .rto = usec(t->rto),
        .ato = usec(TCP_DELACK),
        .snd_mss = mss,
        .rcv_mss = t->rcv_mss,
        .sacked = t->sacked_out / mss,
        .lost = t->lost_out / mss,
        .retrans = t->retrans_out / mss,
        .last_data_sent = msec_since(t->last_sent, now),
        .last_data_recv = msec_since(t->last_rcv, now),
        .last_ack_recv = msec_since(t->last_rcv, now),
        .pmtu = t->flow.mtu,
        .rcv_ssthresh = tcp_full_window(t),
        .rtt = usec(t->srtt),
        .rttvar = usec(t->rttvar),
        .snd_ssthresh = t->ssthresh == UINT32_MAX ? 0x7fffffff : t->ssthresh / mss,
        .snd_cwnd = t->cwnd / mss,
        .advmss = t->advmss,
        .reordering = 3,
        .rcv_space = tcp_full_window(t),
        .total_retrans = t->total_retrans,
        .pacing_rate = UINT64_MAX,
        .max_pacing_rate = UINT64_MAX,
        .bytes_acked = t->bytes_acked,
        .bytes_received = t->bytes_received,
        .segs_out = t->segs_out,
        .segs_in = t->segs_in,
        .min_rtt = usec(t->min_rtt),
        .delivered = t->delivered / mss,
        .dsack_dups = t->dsacks,
        .reord_seen = t->rack_seen_reordering,
        .rcv_ooopack = t->ooo_count,
        .snd_wnd = t->snd_wnd,
    };
    if (t->state != TCP_LISTEN) {
        i->unacked = DIV_ROUND_UP(tcp_flight(t), mss);
        i->notsent_bytes = tcp_queued(t) > tcp_flight(t) ? tcp_queued(t) - tcp_flight(t) : 0;
    } else { /* as Linux: the accept queue's length and limit */
        i->unacked = t->accept_count;
        i->sacked = t->backlog;
    }
}

static int set_congestion(struct tcp *t, const char *name, uint32_t len)
{
    const struct tcp_cc *cc = tcp_cc_find(name, strnlen(name, MIN(len, 15u)));

    if (!cc)
        return -ENOENT;
    if (cc != t->cc) {
        t->cc = cc;
        cc->init(t);
    }
    return 0;
}

/* Held-back data go out when the reason is gone. */
static void release_small(struct tcp *t)
{
    t->more = false;
    if (t->unsent && tcp_in(t, TCPF_CAN_SEND | TCPF(TCP_FIN_WAIT1) | TCPF(TCP_LAST_ACK)))
        tcp_push(t, time_now());
}

static int set_int(struct tcp *t, int name, int v)
{
    switch (name) {
    case OPT_NODELAY:
        t->nodelay = v;
        if (v && !t->cork)
            release_small(t);
        return 0;
    case OPT_CORK:
        t->cork = v;
        if (!v)
            release_small(t);
        return 0;
    case OPT_MAXSEG:
        if (v && (v < (int)TCP_MIN_MSS || v > 32767))
            return -EINVAL;
        t->mss_user = (uint32_t)v;
        return 0;
    case OPT_KEEPIDLE:
        if (v < 1 || v > 32767)
            return -EINVAL;
        t->keep_idle_s = v;
        tcp_reset_keepalive(t, time_now());
        return 0;
    case OPT_KEEPINTVL:
        if (v < 1 || v > 32767)
            return -EINVAL;
        t->keep_intvl_s = v;
        return 0;
    case OPT_KEEPCNT:
        if (v < 1 || v > 127)
            return -EINVAL;
        t->keep_cnt = v;
        return 0;
    case OPT_SYNCNT:
        if (v < 1 || v > 127)
            return -EINVAL;
        t->syncnt = v;
        return 0;
    case OPT_LINGER2:
        t->linger2_s = v < 0 ? -1 : MIN(v, 120);
        return 0;
    case OPT_DEFER_ACCEPT:
        t->defer_accept_s = v > 0 ? v : 0;
        return 0;
    case OPT_WINDOW_CLAMP:
        if (!v && t->state != TCP_CLOSE)
            return -EINVAL;
        t->window_clamp = v > 0 ? MAX((uint32_t)v, 1152u) : 0;
        return 0;
    case OPT_QUICKACK:
        t->quick_acks = v & 1 ? 255 : 0;
        if ((v & 1) && t->rcv_nxt != t->rcv_wup &&
            tcp_in(t, TCPF(TCP_ESTABLISHED) | TCPF(TCP_CLOSE_WAIT)))
            tcp_send_ack(t, time_now());
        return 0;
    case OPT_USER_TIMEOUT:
        if (v < 0)
            return -EINVAL;
        t->user_timeout_ms = (uint32_t)v;
        return 0;
    case OPT_NOTSENT_LOWAT:
        t->notsent_lowat = (uint32_t)v;
        tcp_wake_writers(t);
        return 0;
    case OPT_FASTOPEN:
    case OPT_FASTOPEN_CONNECT:
        return -EOPNOTSUPP;
    default:
        return -ENOPROTOOPT;
    }
}

int tcp_setopt(struct socket *s, int level, int name, const void *val, uint32_t len)
{
    struct tcp *t = tcp_of(s);
    int v, err;

    if (level != IPPROTO_TCP_N)
        return -ENOPROTOOPT;
    if (name == OPT_CONGESTION) {
        if (len < 1)
            return -EINVAL;
        tcp_lock(t);
        err = set_congestion(t, val, len);
        tcp_unlock(t);
        return err;
    }
    if (len < sizeof(v))
        return -EINVAL;
    memcpy(&v, val, sizeof(v));
    tcp_lock(t);
    err = set_int(t, name, v);
    tcp_unlock(t);
    return err;
}

static int get_int(const struct tcp *t, int name, int *v)
{
    switch (name) {
    case OPT_NODELAY:
        *v = t->nodelay;
        return 0;
    case OPT_CORK:
        *v = t->cork;
        return 0;
    case OPT_MAXSEG:
        *v = (int)(t->mss ? t->mss : t->mss_user ? t->mss_user : TCP_DEFAULT_MSS4);
        return 0;
    case OPT_KEEPIDLE:
        *v = t->keep_idle_s ? t->keep_idle_s : net_tunables.keepalive_time_s;
        return 0;
    case OPT_KEEPINTVL:
        *v = t->keep_intvl_s ? t->keep_intvl_s : net_tunables.keepalive_intvl_s;
        return 0;
    case OPT_KEEPCNT:
        *v = t->keep_cnt ? t->keep_cnt : net_tunables.keepalive_probes;
        return 0;
    case OPT_SYNCNT:
        *v = t->syncnt ? t->syncnt : net_tunables.syn_retries;
        return 0;
    case OPT_LINGER2:
        *v = t->linger2_s ? t->linger2_s : net_tunables.fin_timeout_s;
        return 0;
    case OPT_DEFER_ACCEPT:
        *v = t->defer_accept_s;
        return 0;
    case OPT_WINDOW_CLAMP:
        *v = (int)t->window_clamp;
        return 0;
    case OPT_QUICKACK:
        *v = t->quick_acks != 0;
        return 0;
    case OPT_USER_TIMEOUT:
        *v = (int)t->user_timeout_ms;
        return 0;
    case OPT_NOTSENT_LOWAT:
        *v = (int)t->notsent_lowat;
        return 0;
    case OPT_FASTOPEN:
    case OPT_FASTOPEN_CONNECT:
        *v = 0;
        return 0;
    case OPT_TIMESTAMP:
        *v = (int)tcp_ts_now(t, time_now());
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

int tcp_getopt(struct socket *s, int level, int name, void *val, uint32_t *len)
{
    struct tcp *t = tcp_of(s);
    struct tcp_info_abi info;
    char cc[16] = {0};
    const void *from;
    uint32_t size;
    int v = 0, err = 0;

    if (level != IPPROTO_TCP_N)
        return -ENOPROTOOPT;
    if ((int32_t)*len < 0)
        return -EINVAL;
    spin_lock_bh(&s->lock);
    if (name == OPT_INFO) {
        fill_info(t, &info);
        from = &info;
        size = sizeof(info);
    } else if (name == OPT_CONGESTION) {
        str_copy(cc, t->cc->name, sizeof(cc));
        from = cc;
        size = sizeof(cc);
    } else {
        err = get_int(t, name, &v);
        from = &v;
        size = sizeof(v);
    }
    spin_unlock_bh(&s->lock);
    if (err)
        return err;
    *len = MIN(*len, size);
    memcpy(val, from, *len);
    return 0;
}

int tcp_ioctl(struct socket *s, unsigned cmd, int *value)
{
    struct tcp *t = tcp_of(s);
    int err = 0;

    spin_lock_bh(&s->lock);
    if (t->state == TCP_LISTEN) {
        err = -EINVAL;
    } else if (cmd == SIOCINQ_CMD) {
        *value = (int)tcp_readable(t);
    } else if (cmd == SIOCOUTQ_CMD) {
        *value = (int)tcp_queued(t);
    } else if (cmd == SIOCOUTQNSD_CMD) {
        *value = tcp_queued(t) > tcp_flight(t) ? (int)(tcp_queued(t) - tcp_flight(t)) : 0;
    } else if (cmd == SIOCATMARK_CMD) {
        *value = t->urg_valid && t->urg_seq == t->copied + 1;
    } else {
        err = -ENOTTY;
    }
    spin_unlock_bh(&s->lock);
    return err;
}
