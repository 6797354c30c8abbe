/* The life of a network server: see netserver.h. */
#include "netserver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_MS 10000 /* LIBRETTOS_SERVER_IDLE_MS: from the last domain's end to the server's */
#define STOP_GRACE_MS 500
#define PAUSE_MIN_MS 50 /* from one start to the next, doubled with each early death ... */
#define PAUSE_MAX_MS 4000
#define STEADY_NS 10000000000ull /* ... until one has lived that long */
#define STANDBY_MS 1000 /* LIBRETTOS_STANDBY_MS: from when there is reason for one to its start */

const char *const net_end_names[NET_ENDS] = {"crash", "panic", "hang", "stop", "upgrade"};

static bool same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

struct netserver *netserver_find(struct supervisor *sv, const struct network *net)
{
    struct netserver *ns = sv->servers;

    while (ns && !(same(ns->tap, net->tap) && same(ns->bridge, net->bridge)))
        ns = ns->next;
    return ns;
}

bool netserver_is_user(const struct netserver *ns)
{
    return !ns->tap && !ns->bridge;
}

void netserver_destroy(struct netserver *ns)
{
    struct netserver **p = &ns->sv->servers;

    while (*p && *p != ns)
        p = &(*p)->next;
    if (*p)
        *p = ns->next;
    struct timer *const timers[] = {&ns->restart, &ns->standby, &ns->idle, &ns->beat,
                                    &ns->upgrade.limit};
    for (size_t i = 0; i < ARRAY_SIZE(timers); i++)
        loop_timer_stop(&ns->sv->loop, timers[i]);
    if (netserver_is_user(ns))
        vnet_remove_server(ns->sv->vnet);
    if (ns->bell.fd >= 0)
        loop_del(&ns->sv->loop, &ns->bell);
    tap_close(&ns->nic);
    port_close(&ns->instances[0]);
    port_close(&ns->instances[1]);
    nettable_destroy(&ns->table);
    netserver_forget(ns);
    char *const texts[] = {ns->name,
                           ns->tap,
                           ns->bridge,
                           ns->binary,
                           ns->kernel,
                           ns->accel,
                           ns->cpu,
                           ns->loglevel,
                           ns->ip,
                           ns->reason,
                           ns->upgrade.kernel,
                           ns->instances[0].kernel,
                           ns->instances[1].kernel};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free(ns);
}

void netserver_set_reason(struct netserver *ns, char *owned)
{
    free(ns->reason);
    ns->reason = owned;
}

/* ---- starting ---- */

static void schedule_restart(struct netserver *ns)
{
    uint64_t lived = now_ns() - ns->active->started_ns, pause = ns->pause_ms * 1000000u;

    loop_timer(&ns->sv->loop, &ns->restart, lived < pause ? (pause - lived) / 1000000u + 1 : 0);
    ns->pause_ms = lived > STEADY_NS                 ? PAUSE_MIN_MS
                   : ns->pause_ms < PAUSE_MAX_MS / 2 ? 2 * ns->pause_ms
                                                     : PAUSE_MAX_MS;
}

static void restart_now(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, restart));
    char *error;

    if (instance_start(ns->active, ns->kernel, &error))
        return;
    warn("the network server %s cannot be started: %s", ns->name, error);
    netserver_set_reason(ns, error);
    schedule_restart(ns);
}

/* LIBRETTOS_STANDBY_MS, or its default; "off": UINT64_MAX. */
static uint64_t standby_delay(void)
{
    const char *env = getenv("LIBRETTOS_STANDBY_MS");
    uint64_t ms = STANDBY_MS;

    if (env && !strcmp(env, "off"))
        return UINT64_MAX;
    env_u64("LIBRETTOS_STANDBY_MS", 0, 86400000, &ms);
    return ms;
}

void netserver_want_standby(struct netserver *ns)
{
    uint64_t ms = standby_delay();

    if (ms != UINT64_MAX && ns->users && ns->active->domain && !netserver_other(ns)->domain &&
        !ns->upgrade.kernel && !ns->standby.at_ns && !ns->sv->loop.stop)
        loop_timer(&ns->sv->loop, &ns->standby, ms);
}

static void start_standby(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, standby));
    struct instance *i = netserver_other(ns);
    char *error;

    if (i->domain)
        return;
    if (ns->upgrade.kernel) {
        if (!instance_start(i, ns->upgrade.kernel, &error))
            upgrade_failed(ns, error);
        return;
    }
    if (!ns->users || !ns->active->domain)
        return;
    if (nettable_server(&ns->table, ns->active->role).state != NET_SERVER_UP) {
        netserver_want_standby(ns); /* it has enough to do */
    } else if (!instance_start(i, ns->kernel, &error)) {
        warn("no standby for the network server %s: %s", ns->name, error);
        free(error);
    }
}

const char *netserver_standby_state(const struct netserver *ns)
{
    const struct instance *i = netserver_other((struct netserver *)ns);

    return !i->domain ? "none" : instance_is_ready(i) ? "ready" : "starting";
}

const struct instance *netserver_instance(const struct netserver *ns, const struct domain *d)
{
    return &ns->instances[ns->instances[1].domain == d];
}

struct net_server_page netserver_page(const struct netserver *ns, const struct domain *d)
{
    return nettable_server(&ns->table, netserver_instance(ns, d)->role);
}

void netserver_promote(struct netserver *ns)
{
    struct instance *old = ns->active, *new = netserver_other(ns);

    loop_timer_stop(&ns->sv->loop, &ns->restart);
    ns->active = new;
    supervisor_exchange_names(ns->sv, new->domain, ns->name);
    if (netserver_is_user(ns))
        domain_take_nic(new->domain, old->domain);
    port_enter(new, old);
    nettable_activate(&ns->table, new->role);
    instance_take_network(ns);
}

/* ---- its end ---- */

static void idle_over(struct timer *t)
{
    struct netserver *ns = (struct netserver *)((char *)t - offsetof(struct netserver, idle));

    if (ns->upgrade.kernel)
        return; /* its end asks again */
    ns->idle_stop = true;
    if (netserver_other(ns)->domain)
        instance_retire(netserver_other(ns));
    if (ns->active->domain)
        domain_stop(ns->active->domain, STOP_GRACE_MS);
}

/* Nobody uses it any more: it may go. */
static void check_idle(struct netserver *ns)
{
    uint64_t ms = IDLE_MS;

    if (ns->users)
        return;
    env_u64("LIBRETTOS_SERVER_IDLE_MS", 0, 86400000, &ms);
    if (ns->active->domain || netserver_other(ns)->domain)
        loop_timer(&ns->sv->loop, &ns->idle, ms);
    else
        netserver_destroy(ns);
}

/* What is known about the end of an instance: its console is in the log already, with the panic. */
static void write_down(struct netserver *ns, const struct instance *i, const struct domain *d)
{
    struct net_server_page p = nettable_server(&ns->table, i->role);
    enum net_end why = i->hung                       ? NET_END_HANG
                       : d->state == DOMAIN_PANICKED ? NET_END_PANIC
                       : d->stopping                 ? NET_END_STOP
                                                     : NET_END_CRASH;

    ns->ends[why] += i == ns->active && !ns->upgrade.handing_over;
    netserver_set_reason(ns, xstrdup_opt(d->reason));
    domain_note(d, "---- %s ended (%s): %s; %u domains, %llu frames in, %llu out\n", d->name,
                net_end_names[why], d->reason ? d->reason : "no reason known", p.attached,
                (unsigned long long)p.rx_frames, (unsigned long long)p.tx_frames);
}

/* Nobody serves, and the other instance can: it does from now on. */
static bool take_over(struct netserver *ns)
{
    bool can = !ns->active->domain && ns->users && instance_is_ready(netserver_other(ns));

    if (can)
        netserver_promote(ns);
    return can;
}

void netserver_ended(struct netserver *ns, struct domain *d)
{
    struct instance *i = &ns->instances[ns->instances[1].domain == d];

    if (!i->retired && !(ns->idle_stop && i == ns->active))
        write_down(ns, i, d);
    instance_ended(i);
    upgrade_ended(ns, i); /* may make the other one the active one */
    if (!ns->instances[0].domain && !ns->instances[1].domain) {
        ns->idle_stop = false;
        nettable_server_died(&ns->table, CHANNELS_PER_DEVICE);
        if (!ns->users) {
            netserver_destroy(ns);
            return;
        }
    }
    if (ns->sv->loop.stop)
        return;
    bool wanted = i == ns->active && ns->users, replaced = wanted && take_over(ns);
    port_close(i);
    if (wanted && !replaced)
        schedule_restart(ns);
    netserver_want_standby(ns);
}

/* ---- domains come and go ---- */

/* Slots below are, or will be, seen by the instance that serves. */
static unsigned usable_slots(const struct netserver *ns)
{
    return !ns->active->domain ? 0 : ns->active->plug_failed ? ns->active->plugged : ns->table.made;
}

/* The server let go of slots, or is up. */
static void rung(struct watch *w, uint32_t events)
{
    struct netserver *ns = (struct netserver *)((char *)w - offsetof(struct netserver, bell));
    uint64_t n;

    (void)events;
    while (read(w->fd, &n, sizeof(n)) > 0)
        ;
    nettable_reclaim(&ns->table, usable_slots(ns));
    upgrade_follow(ns);
    instance_take_network(ns);
    take_over(ns); /* it became ready before the dead one was to be started again, perhaps */
    if (ns->active->domain &&
        nettable_server(&ns->table, ns->active->role).state == NET_SERVER_UP) {
        if (netserver_is_user(ns))
            vnet_server_ready(ns->sv->vnet); /* packets that waited for it may go to it */
        netserver_want_standby(ns);
    }
}

/* A free slot, if need be of a new device. Returns it, or -errno with *error set. */
static int find_slot(struct netserver *ns, char **error)
{
    struct nettable *t = &ns->table;
    unsigned usable = ns->active->plug_failed ? ns->active->plugged : t->made;

    nettable_reclaim(t, usable);
    int slot = nettable_find_free(t, usable);
    if (slot >= 0)
        return slot;
    if (ns->active->plug_failed || t->made + CHANNELS_PER_DEVICE > CHANNEL_PLACES) {
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
        if (ns->active->domain)
            netserver_plug(ns);
        else if (!ns->restart.at_ns)
            instance_start(ns->active, ns->kernel, &why);
        if (why || (ns->active->plug_failed && (unsigned)slot >= ns->active->plugged)) {
            *error = xasprintf("the network server %s cannot be %s: %s", ns->name,
                               why ? "started" : "reached", why ? why : "no channel to it");
            free(why);
            ns->users--;
            nettable_revoke(&ns->table, (unsigned)slot);
            nettable_reclaim(&ns->table, usable_slots(ns));
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
    nettable_reclaim(&ns->table, usable_slots(ns));
    ns->users--;
    check_idle(ns);
}

void netserver_init(struct netserver *ns)
{
    ns->pause_ms = PAUSE_MIN_MS;
    ns->restart.fire = restart_now;
    ns->standby.fire = start_standby;
    ns->idle.fire = idle_over;
    ns->bell.fd = -1;
    instance_init(&ns->instances[0], ns, CHANNEL_SERVER);
    instance_init(&ns->instances[1], ns, CHANNEL_STANDBY);
    ns->active = &ns->instances[0];
}

int netserver_listen(struct netserver *ns)
{
    ns->bell = (struct watch){
        .fd = ns->table.region.eventfd[CHANNEL_APP][0], .events = EPOLLIN, .ready = rung};
    return loop_add(&ns->sv->loop, &ns->bell);
}

void netserver_go_on(struct netserver *ns)
{
    if (!take_over(ns) && !ns->active->domain && ns->users)
        schedule_restart(ns);
    netserver_want_standby(ns);
    check_idle(ns); /* may free it */
}

struct netserver *netserver_new(struct supervisor *sv, const struct network *net,
                                const struct qemu_config *like, const char *ip,
                                const struct channel_grants *own, char **error)
{
    struct netserver *ns = xcalloc(1, sizeof(*ns));
    const char *device = net->tap ? net->tap : net->bridge;

    ns->sv = sv;
    ns->name = device ? xasprintf("net-%s", device) : xstrdup("net");
    ns->tap = xstrdup_opt(net->tap);
    ns->bridge = xstrdup_opt(net->bridge);
    ns->binary = xstrdup_opt(like->binary);
    ns->kernel = xstrdup_opt(like->kernel);
    ns->accel = xstrdup_opt(like->accel);
    ns->cpu = xstrdup_opt(like->cpu);
    ns->loglevel = xstrdup_opt(like->loglevel);
    ns->ip = xstrdup_opt(ip);
    ns->own = *own;
    netserver_init(ns);
    char *key = netserver_key(ns->name);
    int err = nettable_create(&ns->table, own, key);
    free(key);
    if (!err)
        err = nettable_grow(&ns->table, CHANNELS_PER_DEVICE);
    if (!err)
        err = netserver_listen(ns);
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
