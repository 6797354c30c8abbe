/* The life of a network server: see netserver.h. Plugging in channels is in netserver_plug.c. */
#include "netserver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_MS 10000 /* LIBRETTOS_SERVER_IDLE_MS: from the last domain's end to the server's */
#define STOP_GRACE_MS 500
#define SETTLE_MS 10    /* from its start of service until its domains' kernels have answered */
#define PAUSE_MIN_MS 50 /* from one start to the next, doubled with each early death ... */
#define PAUSE_MAX_MS 4000
#define STEADY_NS 10000000000ull /* ... until one has lived that long */

static bool same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

static char *copy(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

struct netserver *netserver_find(struct supervisor *sv, const struct network *net)
{
    struct netserver *ns = sv->servers;

    while (ns && !(same(ns->tap, net->tap) && same(ns->bridge, net->bridge)))
        ns = ns->next;
    return ns;
}

/* Whether its network is the virtual switch. */
static bool is_user(const struct netserver *ns)
{
    return !ns->tap && !ns->bridge;
}

static void close_keeps(struct netserver *ns)
{
    if (ns->table_keep >= 0)
        close(ns->table_keep);
    ns->table_keep = -1;
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        if (ns->keep[i] >= 0)
            close(ns->keep[i]);
        ns->keep[i] = -1;
    }
}

void netserver_destroy(struct netserver *ns)
{
    struct netserver **p = &ns->sv->servers;

    while (*p && *p != ns)
        p = &(*p)->next;
    if (*p)
        *p = ns->next;
    loop_timer_stop(&ns->sv->loop, &ns->restart);
    loop_timer_stop(&ns->sv->loop, &ns->idle);
    loop_timer_stop(&ns->sv->loop, &ns->ready);
    if (is_user(ns))
        vnet_remove_server(ns->sv->vnet);
    if (ns->bell.fd >= 0)
        loop_del(&ns->sv->loop, &ns->bell);
    close_keeps(ns);
    nettable_destroy(&ns->table);
    char *const texts[] = {ns->name,  ns->tap, ns->bridge,   ns->binary, ns->kernel,
                           ns->accel, ns->cpu, ns->loglevel, ns->ip,     ns->reason};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free(ns);
}

/* ---- starting an instance ---- */

/* Opens the sockets of the table and of all channels for a QEMU. Returns 0 or -errno; what was
 * opened is in m and ns->keep either way. */
static int connect_all(struct netserver *ns, struct qemu_ivshmem *m, size_t *count)
{
    int fd = ivshmem_connect(&ns->table.region, CHANNEL_SERVER, &ns->table_keep);

    *count = 0;
    for (unsigned i = 0; fd >= 0; i++) {
        m[(*count)++] = (struct qemu_ivshmem){
            .fd = fd,
            .vectors = i ? ns->table.channels[i - 1].region.vectors : ns->table.region.vectors,
            .place = (int)i - 1,
        };
        if (i == ns->table.made)
            return 0;
        fd = ivshmem_connect(&ns->table.channels[i].region, CHANNEL_SERVER, &ns->keep[i]);
    }
    return fd;
}

/* How the server of the virtual switch, or of a tap device, is on its network. */
static void describe_nic(const struct netserver *ns, struct domain_spec *spec, char **error)
{
    memcpy(spec->mac, ns->own.mac, sizeof(spec->mac));
    spec->net0 = ns->ip;
    spec->nic = is_user(ns) ? VNET_SERVER : -1;
    if (spec->nic < 0)
        tap_open(&spec->tap, ns->tap, ns->bridge, 1, error);
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

/* Starts the server. Returns false with *error an owned line. */
static bool start(struct netserver *ns, char **error)
{
    struct qemu_ivshmem devices[NET_SLOTS + 1];
    struct strv extra = {0};
    struct domain_spec spec = {
        .name = ns->name,
        .program = "network server",
        .server = ns,
        .keep_logs = ns->started_ns,
        .qemu = {.binary = ns->binary,
                 .kernel = ns->kernel,
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
    int err = connect_all(ns, devices, &spec.qemu.ivshmem_count);

    *error = err ? xasprintf("channels: %s", strerror(-err)) : NULL;
    if (!err)
        describe_nic(ns, &spec, error);
    if (!*error)
        ns->domain = supervisor_start(ns->sv, &spec, error);
    for (size_t i = 0; i < spec.qemu.ivshmem_count; i++)
        close(devices[i].fd);
    strv_free(&extra);
    ns->started_ns = now_ns();
    ns->plugging = ns->plug_failed = false;
    ns->plugged = ns->domain ? ns->table.made : 0;
    if (!ns->domain)
        close_keeps(ns);
    return ns->domain;
}

static void schedule_restart(struct netserver *ns)
{
    uint64_t lived = now_ns() - ns->started_ns, pause = ns->pause_ms * 1000000u;

    loop_timer(&ns->sv->loop, &ns->restart, lived < pause ? (pause - lived) / 1000000u + 1 : 0);
    ns->pause_ms = lived > STEADY_NS                 ? PAUSE_MIN_MS
                   : ns->pause_ms < PAUSE_MAX_MS / 2 ? 2 * ns->pause_ms
                                                     : PAUSE_MAX_MS;
}

static void set_reason(struct netserver *ns, char *owned)
{
    free(ns->reason);
    ns->reason = owned;
}

static void restart_now(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, restart));
    char *error;

    if (start(ns, &error))
        return;
    warn("the network server %s cannot be started: %s", ns->name, error);
    set_reason(ns, error);
    schedule_restart(ns);
}

/* ---- its end ---- */

static void idle_over(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, idle));

    ns->idle_stop = true;
    domain_stop(ns->domain, STOP_GRACE_MS);
}

/* Nobody uses it any more: it may go. */
static void check_idle(struct netserver *ns)
{
    const char *env = getenv("LIBRETTOS_SERVER_IDLE_MS");
    uint64_t ms = IDLE_MS;

    if (ns->users)
        return;
    if (env)
        parse_u64(env, 0, 86400000, &ms);
    if (ns->domain)
        loop_timer(&ns->sv->loop, &ns->idle, ms);
    else
        netserver_destroy(ns);
}

void netserver_ended(struct netserver *ns)
{
    struct domain *d = ns->domain;

    set_reason(ns, copy(d->reason));
    ns->restarts += !ns->idle_stop;
    ns->domain = NULL;
    ns->plugging = ns->plug_failed = ns->idle_stop = false;
    ns->plugged = 0;
    d->server = NULL;
    loop_timer_stop(&ns->sv->loop, &ns->idle);
    loop_timer_stop(&ns->sv->loop, &ns->ready);
    close_keeps(ns);
    nettable_server_died(&ns->table, CHANNELS_PER_DEVICE);
    if (!ns->users)
        netserver_destroy(ns);
    else if (!ns->sv->loop.stop)
        schedule_restart(ns);
}

/* ---- domains come and go ---- */

/* Packets that waited for a new instance may go to it. */
static void now_ready(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, ready));

    vnet_server_ready(ns->sv->vnet);
}

/* The server let go of slots, or is up. */
static void rung(struct watch *w, uint32_t events)
{
    struct netserver *ns = (struct netserver *)((char *)w - offsetof(struct netserver, bell));
    uint64_t n;

    (void)events;
    while (read(w->fd, &n, sizeof(n)) > 0)
        ;
    nettable_reclaim(&ns->table, ns->plug_failed ? ns->plugged : ns->table.made);
    if (is_user(ns) && ns->domain && nettable_server(&ns->table).state == NET_SERVER_UP)
        loop_timer(&ns->sv->loop, &ns->ready, SETTLE_MS);
}

/* A free slot, if need be of a new device. Returns it, or -errno with *error set. */
static int find_slot(struct netserver *ns, char **error)
{
    struct nettable *t = &ns->table;
    unsigned usable = ns->plug_failed ? ns->plugged : t->made;

    nettable_reclaim(t, usable);
    int slot = nettable_find_free(t, usable);
    if (slot >= 0)
        return slot;
    if (ns->plug_failed || t->made + CHANNELS_PER_DEVICE > CHANNEL_PLACES) {
        *error = xasprintf("the network server %s has no channel left: %u domains use it; stop one "
                           "of them, or use --path direct",
                           ns->name, ns->users);
        return -ENOSPC;
    }
    slot = (int)t->made;
    int err = nettable_grow(t, CHANNELS_PER_DEVICE);
    if (!err)
        return slot;
    *error = xasprintf("no channel to the network server can be made: %s", strerror(-err));
    return err;
}

int netserver_grant(struct netserver *ns, unsigned queues, struct channel_grants *g, char **error)
{
    int slot = find_slot(ns, error), err = slot < 0 ? slot : 0;
    char *why = NULL;

    if (!err && (err = nettable_grant(&ns->table, (unsigned)slot, queues, g)))
        *error = xstrdup(err == -ENOSPC ? "the shared address has no ports left; use --address "
                                          "dedicated"
                                        : strerror(-err));
    if (!err) {
        ns->users++;
        loop_timer_stop(&ns->sv->loop, &ns->idle);
        if (ns->domain)
            netserver_plug(ns);
        else if (!ns->restart.at_ns)
            start(ns, &why);
        if (why || (ns->plug_failed && (unsigned)slot >= ns->plugged)) {
            *error = xasprintf("the network server %s cannot be %s: %s", ns->name,
                               why ? "started" : "reached", why ? why : "no channel to it");
            free(why);
            ns->users--;
            nettable_revoke(&ns->table, (unsigned)slot);
            nettable_reclaim(&ns->table, ns->domain ? ns->plugged : 0);
            err = -EIO;
        }
    }
    if (err)
        check_idle(ns);
    return err ? err : slot;
}

void netserver_release(struct netserver *ns, unsigned slot)
{
    nettable_revoke(&ns->table, slot);
    nettable_reclaim(&ns->table, !ns->domain ? 0 : ns->plug_failed ? ns->plugged : ns->table.made);
    ns->users--;
    check_idle(ns);
}

struct netserver *netserver_new(struct supervisor *sv, const struct network *net,
                                const struct qemu_config *like, const char *ip,
                                const struct channel_grants *own, char **error)
{
    struct netserver *ns = xcalloc(1, sizeof(*ns));
    const char *device = net->tap ? net->tap : net->bridge;

    ns->sv = sv;
    ns->name = device ? xasprintf("net-%s", device) : xstrdup("net");
    ns->tap = copy(net->tap);
    ns->bridge = copy(net->bridge);
    ns->binary = copy(like->binary);
    ns->kernel = copy(like->kernel);
    ns->accel = copy(like->accel);
    ns->cpu = copy(like->cpu);
    ns->loglevel = copy(like->loglevel);
    ns->ip = copy(ip);
    ns->own = *own;
    ns->pause_ms = PAUSE_MIN_MS;
    ns->restart.fire = restart_now;
    ns->idle.fire = idle_over;
    ns->ready.fire = now_ready;
    ns->bell.fd = ns->table_keep = -1;
    memset(ns->keep, -1, sizeof(ns->keep));
    int err = nettable_create(&ns->table, own);
    if (!err)
        err = nettable_grow(&ns->table, CHANNELS_PER_DEVICE);
    if (!err) {
        ns->bell = (struct watch){
            .fd = ns->table.region.eventfd[CHANNEL_APP][0], .events = EPOLLIN, .ready = rung};
        err = loop_add(&sv->loop, &ns->bell);
    }
    if (err) {
        *error = xasprintf("the network server's channels cannot be made: %s", strerror(-err));
        ns->bell.fd = -1;
        netserver_destroy(ns);
        return NULL;
    }
    ns->next = sv->servers;
    sv->servers = ns;
    return ns;
}
