/*
 * Auto mode (pathswitch.h): takes a sample of each domain in auto mode twice a second, asks the
 * policy (policy.h), and carries out what it decides. The timer runs while there is such a domain.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lease.h"
#include "pathswitch.h"

#define SAMPLE_MS 500
#define MOVING_NS 10000000000ull /* a domain that is between paths for longer holds up nobody */

static bool is_auto(const struct domain *d)
{
    return domain_is_live(d) && d->lease && d->lease->path && d->lease->path->mode == MODE_AUTO;
}

/* The processor time of a process, in ns. 0: it is gone. */
static uint64_t cpu_of(pid_t pid)
{
    char *path = xasprintf("/proc/%d/stat", (int)pid);
    struct buf text = {0};
    unsigned long user = 0, system = 0;

    if (pid > 0 && !read_file(path, &text, 4096)) {
        buf_append(&text, "", 1);
        const char *at = strrchr((char *)text.data, ')'); /* the name may hold anything */
        if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                          &system) != 2)
            user = system = 0;
    }
    buf_free(&text);
    free(path);
    return (user + system) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static uint64_t rate(uint64_t now, uint64_t before, uint64_t ns)
{
    return now < before ? 0 : (uint64_t)((double)(now - before) * 1e9 / (double)ns);
}

/* Fills in the sample of a domain: rates since the last one. */
static void sample(struct pathswitch *s, uint64_t now)
{
    const struct netserver *ns = s->lease->server;
    struct policy_domain *p = &s->policy;
    uint64_t passed = now - s->sampled_ns,
             cpu = cpu_of(ns && ns->active->domain ? ns->active->domain->pid : 0);
    struct traffic t;

    traffic_of(s->domain, &t);
    uint64_t packets = t.rx_frames + t.tx_frames, bytes = t.rx_bytes + t.tx_bytes;
    p->packets = s->sampled_ns ? rate(packets, s->seen_packets, passed) : 0;
    p->bytes = s->sampled_ns ? rate(bytes, s->seen_bytes, passed) : 0;
    p->server_cpu =
        s->sampled_ns && s->seen_cpu ? (unsigned)(rate(cpu, s->seen_cpu, passed) / 10000000u) : 0;
    p->direct = s->in_use == CTL_PATH_DIRECT;
    p->moving = s->step != SWITCH_IDLE && now - s->begun_ns < MOVING_NS;
    s->seen_packets = packets;
    s->seen_bytes = bytes;
    s->seen_cpu = cpu;
    s->sampled_ns = now;
}

static void carry_out(const struct policy_decision *d, struct pathswitch **of,
                      const struct policy_domain *p)
{
    struct pathswitch *s = of[d->domain];
    const struct policy_domain *load = &p[d->domain];
    enum ctl_path_kind to = d->reason == POLICY_BUSY ? CTL_PATH_DIRECT : CTL_PATH_SERVER;
    char *why;

    if (d->reason == POLICY_DISPLACED)
        why = xasprintf("auto: %s needs the device more: %u %% of what is worth one, this domain "
                        "%u %%",
                        of[d->other]->domain->name, p[d->other].load / 10, load->load / 10);
    else
        why =
            xasprintf("auto: %s, %llu packets and %.1f MB a second, server at %u %% of a CPU",
                      d->reason == POLICY_BUSY ? "busy" : "idle", (unsigned long long)load->packets,
                      (double)load->bytes / 1e6, load->server_cpu);
    pathswitch_move(s, to, why);
    free(why);
}

static void tick(struct timer *t)
{
    struct supervisor *sv = (struct supervisor *)((char *)t - offsetof(struct supervisor, sampler));
    struct pathswitch *of[SWITCH_PORTS * 2];
    struct policy_domain p[ARRAY_SIZE(of)];
    unsigned size = nic_pool_size(), used = nic_pool_used(sv);
    uint64_t now = now_ns();
    size_t n = 0;

    for (struct domain *d = sv->domains; d && n < ARRAY_SIZE(of); d = d->next)
        if (is_auto(d)) {
            of[n] = d->lease->path;
            sample(of[n], now);
            p[n] = of[n]->policy;
            n++;
        }
    if (!n)
        return;
    struct policy_decision decision =
        policy_decide(&sv->policy, p, n, size > used ? size - used : 0, now);
    for (size_t i = 0; i < n; i++)
        of[i]->policy = p[i];
    if (decision.reason)
        carry_out(&decision, of, p);
    loop_timer(&sv->loop, &sv->sampler, SAMPLE_MS);
}

static void from_env(const char *name, uint64_t *value)
{
    if (env_u64(name, 1, 1000000000000u, value))
        warn("%s=%s is no number", name, getenv(name));
}

void automode_start(struct pathswitch *s)
{
    struct supervisor *sv = s->sv;

    s->policy = (struct policy_domain){0};
    s->sampled_ns = 0;
    if (sv->sampler.at_ns)
        return;
    sv->policy = policy_default;
    from_env("LIBRETTOS_AUTO_PACKETS", &sv->policy.up_packets);
    from_env("LIBRETTOS_AUTO_BYTES", &sv->policy.up_bytes);
    sv->sampler.fire = tick;
    loop_timer(&sv->loop, &sv->sampler, SAMPLE_MS);
}
