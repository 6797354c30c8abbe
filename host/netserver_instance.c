/* Starting and ending an instance of a network server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"
#include "netserver.h"
#include "pathswitch.h"
#include "qmp.h"

void instance_init(struct instance *i, struct netserver *ns, enum channel_role role)
{
    i->ns = ns;
    i->role = role;
    i->table_keep = -1;
    memset(i->keep, -1, sizeof(i->keep));
}

static void close_keeps(struct instance *i)
{
    if (i->table_keep >= 0)
        close(i->table_keep);
    i->table_keep = -1;
    for (unsigned slot = 0; slot < NET_SLOTS; slot++) {
        if (i->keep[slot] >= 0)
            close(i->keep[slot]);
        i->keep[slot] = -1;
    }
}

/* Opens the sockets of the table and of all channels for a QEMU. Returns 0 or -errno; what was
 * opened is in m and the keeps either way. */
static int connect_all(struct instance *i, struct qemu_ivshmem *m, size_t *count)
{
    struct nettable *t = &i->ns->table;
    int fd = ivshmem_connect(&t->region, i->role, &i->table_keep);

    *count = 0;
    for (unsigned n = 0; fd >= 0; n++) {
        m[(*count)++] = (struct qemu_ivshmem){
            .fd = fd,
            .vectors = n ? t->channels[n - 1].region.vectors : t->region.vectors,
            .place = (int)n - 1,
        };
        if (n == t->made)
            return 0;
        fd = ivshmem_connect(&t->channels[n].region, i->role, &i->keep[n]);
    }
    return fd;
}

static void keep_tap(const struct netserver *ns)
{
    char *key = netserver_key(ns->name), *entry = xasprintf("%s " NETSERVER_TAP, key);
    int err = keeper_put(entry, ns->nic.fd, ns->nic.n);

    if (err)
        warn("%s: its tap device would not outlive this supervisor: %s", ns->name, strerror(-err));
    free(entry);
    free(key);
}

/* The tap device stays open here: what comes while no instance reads it waits in it. */
static void share_tap(struct netserver *ns, struct tap *out, char **error)
{
    *out = (struct tap){0};
    if (!ns->nic.n && !tap_open(&ns->nic, ns->tap, NULL, 1, error))
        keep_tap(ns);
    int err = *error ? 0 : tap_copy(&ns->nic, out);
    if (err)
        *error = xasprintf("tap device: %s", strerror(-err));
}

/* How a server is on its network. */
static void describe_nic(struct instance *i, struct domain_spec *spec, char **error)
{
    struct netserver *ns = i->ns;

    memcpy(spec->mac, ns->own.mac, sizeof(spec->mac));
    spec->net0 = ns->ip;
    spec->nic = netserver_is_user(ns) ? VNET_SERVER : -1;
    spec->nic_later = i != ns->active;
    spec->qemu.nic_later = ns->tap && spec->nic_later;
    if (ns->bridge)
        port_open(i, &spec->tap, error);
    if (ns->tap && !spec->nic_later)
        share_tap(ns, &spec->tap, error);
}

/* Further arguments for the server's QEMU, separated by blanks: what --qemu-arg is to a domain. */
static void add_extra(struct strv *out)
{
    const char *env = getenv("LIBRETTOS_SERVER_QEMU_ARGS");
    char *words = xstrdup(env ? env : ""), *save = NULL;

    for (char *w = strtok_r(words, " ", &save); w; w = strtok_r(NULL, " ", &save))
        strv_addf(out, "%s", w);
    free(words);
}

static struct domain *launch(struct instance *i, struct domain_spec *spec, char **error)
{
    struct netserver *ns = i->ns;
    char *name = i == ns->active ? xstrdup(ns->name) : xasprintf("%s-standby", ns->name);
    char *dir = xasprintf("%s/%s.domain", ns->sv->dir, ns->name);
    int held[NET_SLOTS + 1];

    spec->name = name;
    spec->dir = dir; /* one log for all instances */
    spec->server = ns;
    spec->role = (int)i->role;
    spec->held = held;
    held[spec->held_count++] = i->table_keep;
    for (unsigned n = 0; n < ns->table.made; n++)
        held[spec->held_count++] = i->keep[n];
    struct domain *d = supervisor_start(ns->sv, spec, error);
    free(name);
    free(dir);
    return d;
}

bool instance_start(struct instance *i, const char *kernel, char **error)
{
    struct netserver *ns = i->ns;
    struct qemu_ivshmem devices[NET_SLOTS + 1];
    struct strv extra = {0};
    struct domain_spec spec = {
        .program = "network server",
        .keep_logs = ns->instances[0].started_ns || ns->instances[1].started_ns,
        .qemu = {.binary = ns->binary,
                 .kernel = kernel,
                 .net_server = true,
                 .accel = ns->accel,
                 .cpu = ns->cpu,
                 .memory_mib = NETSERVER_MEMORY_MIB,
                 .cpus = 1,
                 .loglevel = ns->loglevel,
                 .ivshmem = devices,
                 .extra = &extra},
    };

    add_extra(&extra);
    nettable_instance_died(&ns->table, i->role); /* what its predecessor wrote is not its own */
    int err = connect_all(i, devices, &spec.qemu.ivshmem_count);
    *error = err ? xasprintf("channels: %s", strerror(-err)) : NULL;
    if (!err)
        describe_nic(i, &spec, error);
    if (!*error)
        i->domain = launch(i, &spec, error);
    else
        tap_close(&spec.tap);
    for (size_t n = 0; n < spec.qemu.ivshmem_count; n++)
        close(devices[n].fd);
    strv_free(&extra);
    i->started_ns = now_ns();
    i->answered_ns = 0;
    i->plugging = i->plug_failed = i->retired = i->hung = false;
    i->plugged = i->domain ? ns->table.made : 0;
    i->has_nic = !spec.qemu.nic_later;
    if (i->domain) {
        char *copy = xstrdup(kernel);
        free(i->kernel); /* may be what `kernel` points to */
        i->kernel = copy;
        netserver_watch(ns);
    } else {
        close_keeps(i);
        port_close(i);
    }
    return i->domain;
}

static void plugged(void *arg, const char *error)
{
    struct instance *i = arg;

    if (error && !qmp_is_repeated(error) && i->domain && domain_is_live(i->domain))
        domain_fail(i->domain, "its NIC cannot be plugged in: %s", error);
}

static void take_tap(struct netserver *ns)
{
    struct instance *i = ns->active;
    char *error = NULL;
    struct tap tap;

    i->has_nic = true;
    share_tap(ns, &tap, &error);
    if (error) {
        tap_close(&tap);
        domain_fail(i->domain, "%s", error);
        free(error);
        return;
    }
    nic_add_tap(i->domain, &tap);
    nic_add_virtio(i->domain, ns->own.mac, false, tap.n, plugged, i);
}

void instance_take_network(struct netserver *ns)
{
    struct instance *other = netserver_other(ns);
    uint32_t state = nettable_server(&ns->table, other->role).state;
    bool serves = state == NET_SERVER_STARTING || state == NET_SERVER_UP;

    if (!serves || other->hung)
        port_leave(other);
    if (!serves && ns->active->domain && !ns->active->has_nic)
        take_tap(ns);
}

void instance_ended(struct instance *i)
{
    loop_timer_stop(&i->ns->sv->loop, &i->last_word);
    i->domain->server = NULL;
    i->domain = NULL;
    i->plugging = i->plug_failed = false;
    i->plugged = 0;
    close_keeps(i);
    nettable_instance_died(&i->ns->table, i->role);
    nettable_ring(&i->ns->table); /* the other one may have waited for it */
}

bool instance_is_ready(const struct instance *i)
{
    struct net_server_page p = nettable_server(&i->ns->table, i->role);

    return i->domain && domain_is_live(i->domain) && !i->retired && !i->hung && !i->plug_failed &&
           p.state == NET_SERVER_STANDBY && (p.features & CHANNEL_FEATURES) == CHANNEL_FEATURES;
}

void instance_retire(struct instance *i)
{
    i->retired = true;
    if (i->domain)
        domain_kill(i->domain);
}
