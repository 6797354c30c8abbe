/* The sums of traffic.h. */
#include "traffic.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lease.h"
#include "pathswitch.h"

static void add(struct traffic *sum, const struct traffic *t)
{
    sum->rx_frames += t->rx_frames;
    sum->rx_bytes += t->rx_bytes;
    sum->tx_frames += t->tx_frames;
    sum->tx_bytes += t->tx_bytes;
    sum->drop_full += t->drop_full;
    sum->drop_bad += t->drop_bad;
}

/* The switch's view is the opposite one. */
static struct traffic of_port(const struct switch_traffic *t)
{
    return (struct traffic){t->tx_frames, t->tx_bytes,  t->rx_frames,
                            t->rx_bytes,  t->drop_full, t->drop_bad};
}

/* A tap device's counters, opposite too; zeros if there is no such device. */
static struct traffic of_tap(const char *name)
{
    struct traffic t = {0};
    char line[256], key[32];
    FILE *f = fopen("/proc/self/net/dev", "re");

    snprintf(key, sizeof(key), "%.15s:", name);
    while (f && fgets(line, sizeof(line), f)) {
        const char *at = line + strspn(line, " ");
        if (starts_with(at, key) &&
            sscanf(at + strlen(key),
                   "%" SCNu64 " %" SCNu64 " %*u %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
                   &t.tx_bytes, &t.tx_frames, &t.rx_bytes, &t.rx_frames) == 4)
            break;
    }
    if (f)
        fclose(f);
    return t;
}

static struct traffic of_nic(const struct domain *d)
{
    struct switch_traffic t;

    if (d->nic >= 0 && vnet_traffic(d->vnet, d->nic, &t))
        return of_port(&t);
    if (d->lease && *d->lease->tap_name)
        return of_tap(d->lease->tap_name);
    return (struct traffic){0};
}

static struct traffic of_channel(const struct lease *l)
{
    struct net_counters c = lease_counters(l);

    return (struct traffic){c.rx_frames, c.rx_bytes,  c.tx_frames,
                            c.tx_bytes,  c.drop_full, c.drop_malformed};
}

void traffic_keep_nic(struct pathswitch *s)
{
    struct traffic t = of_nic(s->domain);

    add(&s->past, &t);
    *s->lease->tap_name = 0;
}

bool traffic_of(const struct domain *d, struct traffic *t)
{
    *t = (struct traffic){0};
    if (d->server) {
        struct net_server_page p = netserver_page(d->server, d);
        *t =
            (struct traffic){p.rx_frames, p.rx_bytes, p.tx_frames, p.tx_bytes, 0, p.drop_malformed};
        return true;
    }
    if (!d->lease)
        return false;
    const struct traffic nic = of_nic(d);
    add(t, &nic);
    if (d->lease->server_path) {
        const struct traffic channel = of_channel(d->lease);
        add(t, &channel);
    }
    if (d->lease->path)
        add(t, &d->lease->path->past);
    return true;
}
