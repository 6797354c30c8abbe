/*
 * CUBIC (RFC 9438): after a reduction the window follows W(t) = C (t - K)^3 + W_max, flat near the
 * old maximum and steep far from it, but never slower than Reno would be. Slow start ends early
 * when the round-trip time rises (HyStart++, RFC 9406).
 *
 * Fixed point: windows in segments, times in units of 2^-10 s, C = 0.4, beta = 0.7.
 */
#include "net/tcp.h"

#define BETA_NUM 717u /* 0.7 * 1024 */
#define HYSTART_MIN_ETA (4 * NSEC_PER_MSEC)
#define HYSTART_MAX_ETA (16 * NSEC_PER_MSEC)
#define HYSTART_SAMPLES 8
#define CSS_DIVISOR 4
#define CSS_ROUNDS 5

struct cubic {
    nsec_t epoch;                              /* start of the current curve; 0: none */
    nsec_t round_rtt, last_round_rtt, css_rtt; /* css_rtt: of the round in which it rose */
    uint32_t w_max;                            /* segments */
    uint32_t origin;                           /* where the curve is flat */
    uint32_t k;                                /* time to get there, 2^-10 s */
    uint32_t w_est;                            /* Reno's window in bytes */
    uint32_t w_prior;                          /* the window in bytes when it was reduced last */
    uint32_t est_acked;                        /* bytes towards its next growth */
    uint32_t credit;                           /* bytes towards ours */
    uint32_t round_end;                        /* HyStart++: sequence number that ends the round */
    uint8_t samples, css_rounds;
    bool css;
};
_Static_assert(sizeof(struct cubic) <= sizeof(((struct tcp *)0)->cc_state), "cc_state too small");

static struct cubic *cubic(struct tcp *t)
{
    return (struct cubic *)(void *)t->cc_state;
}

static void cubic_init(struct tcp *t)
{
    struct cubic *c = cubic(t);

    *c = (struct cubic){
        .round_end = t->snd_nxt, .last_round_rtt = NSEC_NEVER, .round_rtt = NSEC_NEVER};
}

/* Integer cube root: the largest r with r^3 <= a. */
static uint32_t cube_root(uint64_t a)
{
    uint64_t r = 0;

    for (int s = 63; s >= 0; s -= 3) {
        uint64_t b;

        r <<= 1;
        b = 3 * r * (r + 1) + 1;
        if ((a >> s) >= b) {
            a -= b << s;
            r++;
        }
    }
    return (uint32_t)r;
}

/* HyStart++: a round whose RTT rose goes on in conservative slow start; if the rise lasts for five
 * rounds, slow start is over. */
static void hystart(struct tcp *t, struct cubic *c, nsec_t rtt)
{
    if (seq_after(t->snd_una, c->round_end)) {
        c->round_end = t->snd_nxt;
        c->last_round_rtt = c->round_rtt;
        c->round_rtt = NSEC_NEVER;
        c->samples = 0;
        if (c->css && ++c->css_rounds >= CSS_ROUNDS)
            t->ssthresh = t->cwnd;
    }
    c->round_rtt = MIN(c->round_rtt, rtt);
    if (c->samples < HYSTART_SAMPLES) {
        c->samples++;
        return;
    }
    if (c->last_round_rtt == NSEC_NEVER)
        return;
    if (!c->css) {
        nsec_t eta = MIN(MAX(c->last_round_rtt / 8, HYSTART_MIN_ETA), HYSTART_MAX_ETA);

        if (c->round_rtt >= c->last_round_rtt + eta) {
            c->css = true;
            c->css_rounds = 0;
            c->css_rtt = c->round_rtt;
        }
    } else if (c->round_rtt < c->css_rtt) { /* it was not a queue */
        c->css = false;
    }
}

static void start_epoch(struct tcp *t, struct cubic *c, nsec_t now)
{
    uint32_t w = t->cwnd / t->mss;

    c->epoch = now;
    c->w_est = t->cwnd;
    c->est_acked = 0;
    c->credit = 0;
    if (w < c->w_max) { /* K = cbrt((W_max - W) / C), in 2^-10 s */
        c->origin = c->w_max;
        c->k = cube_root(((uint64_t)(c->w_max - w) << 30) * 10 / 4);
    } else {
        c->origin = w;
        c->k = 0;
    }
}

/* Where the curve is one round trip from now, in segments. */
static uint32_t target(const struct tcp *t, const struct cubic *c, nsec_t now)
{
    uint64_t when = (uint64_t)(now - c->epoch + t->min_rtt) / (NSEC_PER_SEC / 1024);
    uint64_t d = when > c->k ? when - c->k : c->k - when, delta;

    d = MIN(d, (uint64_t)1 << 17); /* two minutes: no overflow below */
    delta = (d * d * d >> 10) * 4 / 10 >> 20;
    if (when < c->k)
        return delta < c->origin ? c->origin - (uint32_t)delta : 1;
    return c->origin + (uint32_t)MIN(delta, (uint64_t)1 << 24);
}

static void cubic_acked(struct tcp *t, uint32_t bytes, nsec_t now)
{
    struct cubic *c = cubic(t);
    uint32_t w, want;

    if (t->cwnd < t->ssthresh) {
        hystart(t, c, t->last_rtt);
        bytes = tcp_slow_start(t, c->css ? bytes / CSS_DIVISOR : bytes);
        if (!bytes || t->cwnd < t->ssthresh)
            return;
    }
    if (!c->epoch)
        start_epoch(t, c, now);

    /* Reno-friendly window, 4.3: alpha = 3 (1 - beta) / (1 + beta) = 9/17, and 1 where Reno would
     * be above its last maximum. */
    c->est_acked += bytes;
    if (c->est_acked >= (c->w_est < c->w_prior ? c->w_est / 9 * 17 : c->w_est)) {
        c->est_acked = 0;
        c->w_est += t->mss;
    }
    w = MAX(t->cwnd / t->mss, 1u);
    want = MIN(target(t, c, now), w + w / 2); /* 4.2: at most 1.5 times in a round trip */
    if (want > w) { /* (want - w) / w segments for each segment acknowledged */
        uint64_t credit = c->credit + (uint64_t)bytes * (want - w) / w;

        t->cwnd += (uint32_t)(credit / t->mss) * t->mss;
        c->credit = (uint32_t)(credit % t->mss);
    }
    if (t->cwnd < c->w_est)
        t->cwnd = c->w_est;
}

static uint32_t cubic_ssthresh(struct tcp *t)
{
    struct cubic *c = cubic(t);
    uint32_t w = t->cwnd / t->mss;

    c->epoch = 0;
    c->css = false;
    c->w_prior = t->cwnd;
    /* Fast convergence, 4.7: below the last maximum, leave room for the newcomer. */
    c->w_max = w < c->w_max ? (uint32_t)((uint64_t)w * (1024 + BETA_NUM) / 2048) : w;
    return MAX((uint32_t)((uint64_t)t->cwnd * BETA_NUM / 1024), 2 * t->mss);
}

static void cubic_restart(struct tcp *t)
{
    cubic(t)->epoch = 0;
}

const struct tcp_cc tcp_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .acked = cubic_acked,
    .ssthresh = cubic_ssthresh,
    .restart = cubic_restart,
};
