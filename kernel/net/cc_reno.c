/* Reno congestion control (RFC 5681 with the byte counting of RFC 3465), and the choice of modules.
 */
#include "net/tcp.h"

uint32_t tcp_slow_start(struct tcp *t, uint32_t bytes)
{
    uint32_t room = t->ssthresh > t->cwnd ? t->ssthresh - t->cwnd : 0, n = MIN(bytes, room);

    t->cwnd += n;
    return bytes - n;
}

static void reno_init(struct tcp *t)
{
    t->cc_state[0] = 0; /* bytes acknowledged since the window grew last */
}

static void reno_acked(struct tcp *t, uint32_t bytes, nsec_t now)
{
    (void)now;
    if (t->cwnd < t->ssthresh)
        bytes = tcp_slow_start(t, bytes);
    t->cc_state[0] += bytes;
    if (t->cc_state[0] >= t->cwnd) {
        t->cc_state[0] -= t->cwnd;
        t->cwnd += t->mss;
    }
}

static uint32_t reno_ssthresh(struct tcp *t)
{
    return MAX(MIN(t->cwnd, tcp_flight(t)) / 2, 2 * t->mss);
}

const struct tcp_cc tcp_reno = {
    .name = "reno",
    .init = reno_init,
    .acked = reno_acked,
    .ssthresh = reno_ssthresh,
};

static const struct tcp_cc *const all[] = {&tcp_cubic, &tcp_reno};
const struct tcp_cc *tcp_cc_default = &tcp_cubic;

const char *tcp_cc_name(unsigned id)
{
    return id < ARRAY_SIZE(all) ? all[id]->name : NULL;
}

const struct tcp_cc *tcp_cc_find(const char *name, size_t len)
{
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
        if (strlen(all[i]->name) == len && !memcmp(all[i]->name, name, len))
            return all[i];
    return NULL;
}
