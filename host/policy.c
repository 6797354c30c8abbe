/* The policy of policy.h. */
#include "policy.h"

const struct policy_config policy_default = {
    .up_packets = 4000,
    .up_bytes = 25000000,
    .down_load = 250,
    .up_samples = 4,
    .down_samples = 10,
    .margin = 150,
    .min_stay_ns = 5000000000u,
    .busy_cpu = 70,
};

#define LOAD_MAX 1000000u

static uint64_t part(uint64_t rate, uint64_t of)
{
    return !of || rate / of >= LOAD_MAX / 1000 ? LOAD_MAX : rate * 1000 / of;
}

static void take_sample(const struct policy_config *c, struct policy_domain *d)
{
    uint64_t packets = part(d->packets, c->up_packets), bytes = part(d->bytes, c->up_bytes);
    uint64_t load = packets > bytes ? packets : bytes;

    /* Of no use on the direct path: there it is others that keep the server busy. */
    if (!d->direct && d->server_cpu >= c->busy_cpu)
        load *= 2;
    d->load = (unsigned)(load < LOAD_MAX ? load : LOAD_MAX);
    d->above = d->load >= 1000 ? d->above + 1 : 0;
    d->below = d->load <= c->down_load ? d->below + 1 : 0;
}

static bool may_move(const struct policy_config *c, const struct policy_domain *d, uint64_t now_ns)
{
    return !d->moved_ns || now_ns - d->moved_ns >= c->min_stay_ns;
}

/* The busiest one that deserves a device and has none; n: nobody. */
static size_t candidate(const struct policy_config *c, const struct policy_domain *d, size_t n,
                        uint64_t now_ns)
{
    size_t found = n;

    for (size_t i = 0; i < n; i++)
        if (!d[i].direct && d[i].above >= c->up_samples && may_move(c, &d[i], now_ns) &&
            (found == n || d[i].load > d[found].load))
            found = i;
    return found;
}

/* The least busy one on the direct path; n: none may go. */
static size_t least_busy(const struct policy_config *c, const struct policy_domain *d, size_t n,
                         uint64_t now_ns)
{
    size_t found = n;

    for (size_t i = 0; i < n; i++)
        if (d[i].direct && may_move(c, &d[i], now_ns) && (found == n || d[i].load < d[found].load))
            found = i;
    return found;
}

/* Who has had little to do for long. */
static size_t idle(const struct policy_config *c, const struct policy_domain *d, size_t n,
                   uint64_t now_ns)
{
    size_t i = 0;

    while (i < n && !(d[i].direct && d[i].below >= c->down_samples && may_move(c, &d[i], now_ns)))
        i++;
    return i;
}

static struct policy_decision decide(struct policy_domain *d, enum policy_reason why, size_t i,
                                     size_t other, uint64_t now_ns)
{
    d[i].moved_ns = now_ns;
    d[i].above = d[i].below = 0;
    return (struct policy_decision){why, i, other};
}

struct policy_decision policy_decide(const struct policy_config *c, struct policy_domain *d,
                                     size_t n, unsigned devices_free, uint64_t now_ns)
{
    for (size_t i = 0; i < n; i++)
        take_sample(c, &d[i]);
    for (size_t i = 0; i < n; i++)
        if (d[i].moving) /* what it will do to the pool is not known yet */
            return (struct policy_decision){POLICY_NONE, 0, 0};
    size_t down = idle(c, d, n, now_ns);
    if (down < n)
        return decide(d, POLICY_IDLE, down, down, now_ns);
    size_t up = candidate(c, d, n, now_ns);
    if (up == n)
        return (struct policy_decision){POLICY_NONE, 0, 0};
    if (devices_free)
        return decide(d, POLICY_BUSY, up, up, now_ns);
    size_t weak = least_busy(c, d, n, now_ns);
    if (weak < n && (uint64_t)d[up].load * 100 >= (uint64_t)d[weak].load * c->margin)
        return decide(d, POLICY_DISPLACED, weak, up, now_ns);
    return (struct policy_decision){POLICY_NONE, 0, 0};
}
