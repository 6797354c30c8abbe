/*
 * Network servers of a dead supervisor: what a server is, is in a file of JSON; how far it got, a
 * note in its table's private memory; its instances are domains.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"
#include "netserver.h"

#define VERSION 1

struct instance_note {
    uint32_t plugged, plug_step;
    uint8_t plugging, plug_failed, retired, hung, has_nic;
    char port[16];
    uint64_t started_ns;
};

struct server_note {
    uint8_t idle_stop, upgrading, handing_over;
    uint32_t ends[NET_ENDS];
    uint64_t pause_ms, began_ns;
    struct instance_note instances[2];
    char reason[256];
};

_Static_assert(sizeof(struct server_note) <= NETTABLE_NOTE, "the note fits");

char *netserver_key(const char *name)
{
    return xasprintf("network %s", name);
}

static char *file_of(const struct netserver *ns)
{
    return xasprintf("%s/%s" NETSERVER_STATE, ns->sv->dir, ns->name);
}

/* ---- writing ---- */

static json_t *save(const struct netserver *ns)
{
    char own[2 * sizeof(ns->own) + 1];

    hex_encode(&ns->own, sizeof(ns->own), own);
    return json_pack(
        "{s:i, s:s, s:s*, s:s*, s:s, s:s, s:s, s:s*, s:s, s:s*, s:s, s:s*, s:s*, s:s*}", "version",
        VERSION, "name", ns->name, "tap", ns->tap, "bridge", ns->bridge, "binary", ns->binary,
        "kernel", ns->kernel, "accel", ns->accel, "cpu", ns->cpu, "loglevel", ns->loglevel, "ip",
        ns->ip, "own", own, "upgrade", ns->upgrade.kernel, "kernel0", ns->instances[0].kernel,
        "kernel1", ns->instances[1].kernel);
}

/* Of what changes in the file: nearly never, while this is looked at all the time. */
static uint64_t fingerprint(const struct netserver *ns)
{
    const char *const texts[] = {ns->kernel, ns->upgrade.kernel, ns->instances[0].kernel,
                                 ns->instances[1].kernel};
    uint64_t hash = FNV_START;

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        hash = texts[i] ? fnv1a(hash, texts[i], strlen(texts[i]) + 1) : fnv1a(hash, "\1", 1);
    return hash;
}

static void write_state(struct netserver *ns)
{
    uint64_t now = fingerprint(ns);

    if (now == ns->written)
        return;
    json_t *state = save(ns);
    char *text = json_dumps(state, JSON_INDENT(1)), *file = file_of(ns);
    int err = text ? write_file_atomic(file, text, strlen(text)) : -EINVAL;

    if (err)
        warn("%s: %s", file, strerror(-err));
    ns->written = now;
    json_decref(state);
    free(text);
    free(file);
}

void netserver_forget(struct netserver *ns)
{
    char *file = file_of(ns);

    if (keeper_attached())
        unlink(file);
    free(file);
}

void netserver_commit(struct netserver *ns)
{
    struct server_note n = {.idle_stop = ns->idle_stop,
                            .upgrading = ns->upgrade.kernel != NULL,
                            .handing_over = ns->upgrade.handing_over,
                            .pause_ms = ns->pause_ms,
                            .began_ns = ns->upgrade.began_ns};

    if (!keeper_attached())
        return;
    for (unsigned i = 0; i < NET_ENDS; i++)
        n.ends[i] = ns->ends[i];
    for (unsigned i = 0; i < 2; i++) {
        const struct instance *from = &ns->instances[i];
        n.instances[i] = (struct instance_note){.plugged = from->plugged,
                                                .plug_step = from->plug_step,
                                                .plugging = from->plugging,
                                                .plug_failed = from->plug_failed,
                                                .retired = from->retired,
                                                .hung = from->hung,
                                                .has_nic = from->has_nic,
                                                .started_ns = from->started_ns};
        memcpy(n.instances[i].port, from->port.name, sizeof(from->port.name));
    }
    snprintf(n.reason, sizeof(n.reason), "%s", ns->reason ? ns->reason : "");
    nettable_set_note(&ns->table, &n, sizeof(n));
    write_state(ns);
}

/* ---- reading ---- */

/* False if the state is damaged. */
static bool load(struct netserver *ns, json_t *state)
{
    const char *name, *tap = NULL, *bridge = NULL, *binary, *kernel, *accel, *cpu = NULL, *loglevel,
                      *ip = NULL, *own, *upgrade = NULL, *kernel0 = NULL, *kernel1 = NULL;
    int version;

    if (json_unpack(state, "{s:i, s:s, s?s, s?s, s:s, s:s, s:s, s?s, s:s, s?s, s:s, s?s, s?s, s?s}",
                    "version", &version, "name", &name, "tap", &tap, "bridge", &bridge, "binary",
                    &binary, "kernel", &kernel, "accel", &accel, "cpu", &cpu, "loglevel", &loglevel,
                    "ip", &ip, "own", &own, "upgrade", &upgrade, "kernel0", &kernel0, "kernel1",
                    &kernel1) ||
        version != VERSION || !name_is_valid(name) || hex_decode(own, &ns->own, sizeof(ns->own)))
        return false;
    ns->name = xstrdup(name);
    ns->tap = xstrdup_opt(tap);
    ns->bridge = xstrdup_opt(bridge);
    ns->binary = xstrdup_opt(binary);
    ns->kernel = xstrdup_opt(kernel);
    ns->accel = xstrdup_opt(accel);
    ns->cpu = xstrdup_opt(cpu);
    ns->loglevel = xstrdup_opt(loglevel);
    ns->ip = xstrdup_opt(ip);
    ns->upgrade.kernel = xstrdup_opt(upgrade);
    ns->instances[0].kernel = xstrdup_opt(kernel0);
    ns->instances[1].kernel = xstrdup_opt(kernel1);
    return true;
}

static void take_note(struct netserver *ns, const struct server_note *n)
{
    ns->idle_stop = n->idle_stop;
    ns->pause_ms = n->pause_ms;
    ns->upgrade.handing_over = n->handing_over;
    ns->upgrade.began_ns = n->began_ns;
    ns->reason = *n->reason ? xstrdup(n->reason) : NULL;
    for (unsigned i = 0; i < NET_ENDS; i++)
        ns->ends[i] = n->ends[i];
    ns->active = &ns->instances[ns->table.kept->active == CHANNEL_STANDBY];
}

struct netserver *netserver_restore(struct supervisor *sv, const char *file)
{
    struct netserver *ns = xcalloc(1, sizeof(*ns));
    json_t *state = json_load_file(file, 0, NULL);

    ns->sv = sv;
    netserver_init(ns);
    if (!load(ns, state)) {
        warn("%s is damaged", file);
        unlink(file);
        json_decref(state);
        free(ns);
        return NULL;
    }
    json_decref(state);
    char *key = netserver_key(ns->name), *tap = xasprintf("%s " NETSERVER_TAP, key);
    int err = nettable_restore(&ns->table, key);
    int n = keeper_get(tap, ns->nic.fd, TAP_MAX_QUEUES);
    ns->nic.n = n > 0 ? (unsigned)n : 0;
    free(key);
    free(tap);
    if (!err)
        err = netserver_listen(ns);
    if (err) {
        warn("%s: the network server cannot be taken over: %s", file, strerror(-err));
        ns->bell.fd = -1;
        netserver_destroy(ns);
        return NULL;
    }
    take_note(ns, nettable_note(&ns->table));
    ns->next = sv->servers;
    sv->servers = ns;
    return ns;
}

void netserver_restore_instance(struct netserver *ns, struct domain *d)
{
    unsigned n = d->role == CHANNEL_STANDBY;
    struct instance *i = &ns->instances[n];
    const struct server_note *note = nettable_note(&ns->table);

    i->domain = d;
    d->server = ns;
    i->plugged = note->instances[n].plugged ? note->instances[n].plugged : ns->table.made;
    i->plug_step = note->instances[n].plug_step;
    i->plugging = note->instances[n].plugging;
    i->plug_failed = note->instances[n].plug_failed;
    i->retired = note->instances[n].retired;
    i->hung = note->instances[n].hung;
    i->has_nic = note->instances[n].has_nic;
    memcpy(i->port.name, note->instances[n].port, sizeof(i->port.name));
    i->port_up = -1;
    i->started_ns = note->instances[n].started_ns;
    if (!i->kernel)
        i->kernel = xstrdup(ns->kernel);
}

/* The instances' names follow who serves; that has the NIC. */
static void settle(struct netserver *ns)
{
    struct domain *active = ns->active->domain, *other = netserver_other(ns)->domain;

    if (active) {
        free(active->name);
        active->name = xstrdup(ns->name);
    }
    if (other) {
        free(other->name);
        other->name = xasprintf("%s-standby", ns->name);
    }
    if (active && netserver_is_user(ns) && active->nic < 0 && active->nic_fd >= 0)
        domain_take_nic(active, other);
}

/* Before the new instance was told to serve the old one just goes on; afterwards there is no
 * other way than on. */
static void resume_upgrade(struct netserver *ns)
{
    struct instance *other = netserver_other(ns);

    if (ns->upgrade.kernel && ns->upgrade.handing_over) {
        upgrade_go_on(ns);
    } else if (ns->upgrade.kernel) {
        if (other->domain)
            instance_retire(other);
        upgrade_failed(ns, xstrdup("the supervisor died in the midst of it"));
    }
}

void netserver_resume(struct netserver *ns)
{
    settle(ns);
    for (unsigned n = 0; n < 2; n++) {
        struct instance *i = &ns->instances[n];
        if (!i->domain)
            nettable_instance_died(&ns->table, i->role);
        else if (i->retired || i->hung)
            domain_kill(i->domain);
    }
    if (ns->instances[0].domain || ns->instances[1].domain) {
        netserver_watch(ns);
        netserver_plug_on(ns);
        port_enter(ns->active, netserver_other(ns));
        instance_take_network(ns);
    } else {
        nettable_server_died(&ns->table, CHANNELS_PER_DEVICE);
    }
    resume_upgrade(ns);
    netserver_go_on(ns);
}
