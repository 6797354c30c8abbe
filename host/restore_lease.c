/* Leases of a dead supervisor: see lease.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease.h"
#include "pathswitch.h"

json_t *lease_save(const struct lease *l)
{
    const struct qemu_config *q = &l->like;
    char grants[2 * sizeof(l->grants) + 1];

    hex_encode(&l->grants, sizeof(l->grants), grants);
    return json_pack(
        "{s:b, s:b, s:i, s:s, s:s, s:s, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, "
        "s:i}",
        "shared", (int)l->shared, "user_net", (int)l->user_net, "host", l->host, "net0", l->net0,
        "address", l->address, "grants", grants, "tap", l->tap, "bridge", l->bridge, "ip", l->ip,
        "binary", q->binary, "kernel", q->kernel, "accel", q->accel, "cpu", q->cpu, "loglevel",
        q->loglevel, "cpus", (int)q->cpus);
}

void lease_take_note(const struct lease *l, struct lease_note *n)
{
    const struct pathswitch *s = l->path;

    *n = (struct lease_note){
        .server_path = l->server_path, .has_server = l->server != NULL, .slot = l->slot};
    memcpy(n->tap_name, l->tap_name, sizeof(n->tap_name));
    if (!s)
        return;
    n->has_path = true;
    n->mode = s->mode;
    n->in_use = s->in_use;
    n->step = s->step;
    n->wanted = s->wanted;
    n->has_nic = s->has_nic;
    n->has_channel = s->has_channel;
    n->has_end = s->has_end;
    n->pooled = s->pooled;
    n->id = s->id;
    n->count = s->count;
    n->begun_ns = s->begun_ns;
    n->past = s->past;
    snprintf(n->vfio, sizeof(n->vfio), "%s", s->vfio ? s->vfio : "");
    snprintf(n->why, sizeof(n->why), "%s", s->why ? s->why : "");
}

/* Everything that does not change. False if the state is damaged. */
static bool load(struct lease *l, json_t *state)
{
    const char *net0, *address, *grants, *tap = NULL, *bridge = NULL, *ip = NULL, *binary = NULL,
                                         *kernel = NULL, *accel = NULL, *cpu = NULL,
                                         *loglevel = NULL;
    int shared, user_net, cpus;

    if (json_unpack(state,
                    "{s:b, s:b, s:i, s:s, s:s, s:s, s?s, s?s, s?s, s?s, s?s, s?s, s?s, s?s, s:i}",
                    "shared", &shared, "user_net", &user_net, "host", &l->host, "net0", &net0,
                    "address", &address, "grants", &grants, "tap", &tap, "bridge", &bridge, "ip",
                    &ip, "binary", &binary, "kernel", &kernel, "accel", &accel, "cpu", &cpu,
                    "loglevel", &loglevel, "cpus", &cpus) ||
        l->host < -1 || l->host >= VNET_SERVER ||
        hex_decode(grants, &l->grants, sizeof(l->grants))) {
        l->host = -1;
        return false;
    }
    l->shared = shared;
    l->user_net = user_net;
    l->net0 = xstrdup(net0);
    l->address = xstrdup(address);
    l->tap = xstrdup_opt(tap);
    l->bridge = xstrdup_opt(bridge);
    l->ip = xstrdup_opt(ip);
    l->like = (struct qemu_config){.binary = xstrdup_opt(binary),
                                   .kernel = xstrdup_opt(kernel),
                                   .accel = xstrdup_opt(accel),
                                   .cpu = xstrdup_opt(cpu),
                                   .loglevel = xstrdup_opt(loglevel),
                                   .cpus = (unsigned)cpus};
    return true;
}

/* Its channel. False if the server does not know of it. */
static bool find_channel(struct lease *l, const struct lease_note *n)
{
    const struct network net = {.tap = l->tap, .bridge = l->bridge};
    struct netserver *ns = netserver_find(l->sv, &net);

    if (!ns || n->slot >= ns->table.made || ns->table.channels[n->slot].state != SLOT_GRANTED)
        return false;
    l->server = ns;
    l->slot = n->slot;
    ns->users++;
    return true;
}

static void restore_path(struct lease *l, struct domain *d, const struct lease_note *n)
{
    struct pathswitch *s = l->path = pathswitch_new(l->sv, d,
                                                    n->has_path      ? (enum path_mode)n->mode
                                                    : n->server_path ? MODE_SERVER
                                                                     : MODE_DIRECT);

    if (!n->has_path)
        return;
    s->in_use = n->in_use;
    s->step = n->step;
    s->wanted = n->wanted;
    s->has_nic = n->has_nic;
    s->has_channel = n->has_channel;
    s->has_end = n->has_end;
    s->pooled = n->pooled;
    s->id = n->id;
    s->count = n->count;
    s->begun_ns = n->begun_ns;
    s->past = n->past;
    s->vfio = *n->vfio ? xstrdup(n->vfio) : NULL;
    s->why = *n->why ? xstrdup(n->why) : NULL;
}

bool lease_restore(struct supervisor *sv, struct domain *d, json_t *state,
                   const struct lease_note *n)
{
    struct lease *l = xcalloc(1, sizeof(*l));

    l->sv = sv;
    l->keep = l->device.fd = -1;
    l->server_path = n->server_path;
    memcpy(l->tap_name, n->tap_name, sizeof(l->tap_name));
    if (!load(l, state) || (n->has_server && !find_channel(l, n))) {
        lease_free(l);
        return false;
    }
    if (l->host >= 0)
        vnet_take(sv->vnet, l->host);
    d->lease = l;
    restore_path(l, d, n);
    return true;
}

void lease_resume(struct lease *l)
{
    pathswitch_resume(l->path);
}
