/*
 * SYN cookies (RFC 4987 3.6): when the SYN queue is full, what must be remembered of a SYN goes
 * into our initial sequence number, and comes back with the peer's ACK:
 *
 *     bits 31..27  time in units of 64 s
 *     bits 26..24  index into the table of MSS values
 *     bits 23..0   keyed hash of addresses, ports, the peer's ISN and the above
 *
 * Window scale, SACK and ECN go into the low six bits of our timestamp, if the peer sends
 * timestamps.
 */
#include "core/rand.h"
#include "net/tcp.h"

#define COOKIE_PERIOD (64 * NSEC_PER_SEC)
#define TS_BITS 6u
#define TS_WSCALE_NONE 15u

static const uint16_t mss_table[8] = {216, 536, 1200, 1220, 1360, 1440, 1460, 8960};

static const uint64_t *cookie_key(void)
{
    static uint64_t key[2];
    static spinlock_t lock = SPINLOCK_INIT;
    static bool made;

    spin_lock(&lock);
    if (!made) {
        rand_bytes(key, sizeof(key));
        made = true;
    }
    spin_unlock(&lock);
    return key;
}

static uint32_t make(const struct tcp_rx *r, uint32_t peer_isn, uint32_t period, uint32_t mss)
{
    struct {
        struct ip_addr local, remote;
        uint16_t lport, rport;
        uint32_t isn, top, zero;
    } in = {r->p->dst, r->p->src, r->dport, r->sport, peer_isn, period << 3 | mss, 0};
    uint64_t h = siphash(&in, sizeof(in), cookie_key());

    return (period & 31) << 27 | mss << 24 | (uint32_t)(h & 0xffffff);
}

uint32_t tcp_cookie_isn(const struct tcp_rx *r, const struct tcp_syn_opts *o)
{
    uint16_t peer = o->mss ? o->mss : ip_is_v4(&r->p->src) ? TCP_DEFAULT_MSS4 : TCP_DEFAULT_MSS6;
    uint32_t mss = ARRAY_SIZE(mss_table) - 1;

    while (mss && mss_table[mss] > peer)
        mss--;
    return make(r, r->seq, (uint32_t)(r->now / COOKIE_PERIOD), mss);
}

void tcp_cookie_send(struct tcp *l, const struct tcp_rx *r, const struct tcp_syn_opts *o)
{
    bool v4 = ip_is_v4(&r->p->src);
    uint32_t ts = 0, advmss;
    struct tcp_reply reply = {
        .src = &r->p->dst,
        .dst = &r->p->src,
        .sport = r->dport,
        .dport = r->sport,
        .seq = tcp_cookie_isn(r, o),
        .ack = r->seq + 1,
        .flags = TH_SYN | TH_ACK,
        .window = (uint16_t)MIN(tcp_full_window(l), 65535u),
        .tos = l->s.tos,
        .scope = r->p->netif ? (uint32_t)r->p->netif->index : 0,
    };

    if (o->ts && net_tunables.timestamps) {
        uint32_t now = (uint32_t)((uint64_t)r->now >> TCP_TS_SHIFT) +
                       tcp_make_ts_offset(&r->p->dst, &r->p->src);
        uint32_t bits = o->wscale >= 0 ? (uint32_t)o->wscale : TS_WSCALE_NONE;

        bits |= o->sack ? 1u << 4 : 0;
        ts = (now & ~((1u << TS_BITS) - 1)) | bits;
        if (seq_after(ts, now))
            ts -= 1u << TS_BITS;
    }
    advmss = (r->p->netif ? r->p->netif->mtu : 1500) - (v4 ? 40u : 60u);
    if (l->mss_user)
        advmss = MIN(advmss, l->mss_user);
    reply.opts_len = tcp_write_syn_options(
        reply.opts, (uint16_t)advmss,
        ts && o->wscale >= 0 && net_tunables.window_scaling ? l->rcv_wscale : -1,
        ts && o->sack && net_tunables.sack, ts != 0, ts, o->tsval);
    net_count(NET_TcpExt_SyncookiesSent);
    tcp_send_reply(&reply);
}

bool tcp_cookie_check(const struct tcp_rx *r, struct tcp_syn_opts *o)
{
    uint32_t cookie = r->ack - 1, peer_isn = r->seq - 1, mss = cookie >> 24 & 7;
    uint32_t now = (uint32_t)(r->now / COOKIE_PERIOD);

    for (uint32_t age = 0; age < 2; age++) {
        if (make(r, peer_isn, now - age, mss) != cookie)
            continue;
        *o = (struct tcp_syn_opts){.mss = mss_table[mss], .wscale = -1};
        if (r->has_ts && net_tunables.timestamps) {
            uint32_t bits = r->tsecr & ((1u << TS_BITS) - 1);

            o->ts = true;
            o->tsval = r->tsval;
            o->tsecr = r->tsecr;
            o->sack = bits >> 4 & 1;
            if ((bits & 15) <= TCP_MAX_WSCALE)
                o->wscale = (int8_t)(bits & 15);
        }
        net_count(NET_TcpExt_SyncookiesRecv);
        return true;
    }
    return false;
}
