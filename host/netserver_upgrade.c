/*
 * Upgrades: a standby with the new kernel is started, and nothing has stopped yet. If it comes up,
 * and serves all that the channels use, the table says that it is active now; the old one hands
 * over to it (abi/net_table.h) and is ended when the new one serves. If that does not happen in
 * time, the old one, which is still there, is told to go on.
 */
#include <stdlib.h>
#include <string.h>

#include "netserver.h"

#define BOOT_LIMIT_MS 15000
#define SERVE_LIMIT_MS 2000

static void answer(struct netserver *ns, json_t *owned)
{
    struct client *c = ns->upgrade.client;

    ns->upgrade.client = NULL;
    if (!c) {
        json_decref(owned);
        return;
    }
    client_reply(c, owned);
    client_flush(c);
}

static void finish(struct netserver *ns)
{
    loop_timer_stop(&ns->sv->loop, &ns->upgrade.limit);
    free(ns->upgrade.kernel);
    ns->upgrade.kernel = NULL;
    ns->upgrade.handing_over = false;
    if (!ns->users)
        loop_timer(&ns->sv->loop, &ns->idle, 0);
    netserver_want_standby(ns);
}

void upgrade_failed(struct netserver *ns, char *owned)
{
    char *line = xasprintf("the network server %s goes on as it was: %s", ns->name, owned);

    warn("%s", line);
    answer(ns, json_pack("{s:s, s:i}", "error", line, "status", STATUS_OURS));
    free(owned);
    free(line);
    finish(ns);
}

/* The new one has ended; the old one, if it is still there, serves again. */
static void roll_back(struct netserver *ns)
{
    if (netserver_other(ns)->domain)
        netserver_promote(ns);
    upgrade_failed(ns,
                   xasprintf("the new instance ended: %s", ns->reason ? ns->reason : "no reason"));
}

/* The new one is of no use, and nothing has stopped yet. Takes the line over. */
static void refuse(struct netserver *ns, char *owned)
{
    instance_retire(netserver_other(ns));
    upgrade_failed(ns, owned);
}

static void too_late(struct timer *t)
{
    struct upgrade *u = (struct upgrade *)((char *)t - offsetof(struct upgrade, limit));
    struct netserver *ns = (struct netserver *)((char *)u - offsetof(struct netserver, upgrade));

    if (u->handing_over && ns->active->domain) /* the old one goes on once this one is dead */
        domain_fail(ns->active->domain, "it did not serve within %d s", SERVE_LIMIT_MS / 1000);
    else
        refuse(ns, xasprintf("%s did not come up as a network server within %d s; see `librettos "
                             "logs %s`",
                             u->kernel, BOOT_LIMIT_MS / 1000, ns->name));
}

/* From the loop, as all that frees the records of ended domains. */
static void start_new(struct netserver *ns)
{
    loop_timer(&ns->sv->loop, &ns->standby, 0);
}

void netserver_upgrade(struct netserver *ns, const char *kernel, struct client *c)
{
    struct instance *other = netserver_other(ns);
    struct upgrade *u = &ns->upgrade;

    if (u->kernel || !ns->active->domain ||
        nettable_server(&ns->table, ns->active->role).state != NET_SERVER_UP) {
        client_error(c, STATUS_OURS, "the network server %s %s; try again when it serves", ns->name,
                     u->kernel ? "is being upgraded" : "is being started");
        return;
    }
    u->client = c;
    u->kernel = xstrdup(kernel ? kernel : ns->kernel);
    u->handing_over = false;
    u->began_ns = now_ns();
    u->limit.fire = too_late;
    loop_timer(&ns->sv->loop, &u->limit, BOOT_LIMIT_MS);
    loop_timer_stop(&ns->sv->loop, &ns->standby);
    if (!kernel && instance_is_ready(other))
        upgrade_follow(ns);
    else if (other->domain)
        instance_retire(other); /* its end starts the new one */
    else
        start_new(ns);
}

static void hand_over(struct netserver *ns)
{
    ns->upgrade.handing_over = true;
    ns->upgrade.began_ns = now_ns();
    loop_timer(&ns->sv->loop, &ns->upgrade.limit, SERVE_LIMIT_MS);
    netserver_promote(ns);
}

static void done(struct netserver *ns)
{
    struct instance *old = netserver_other(ns);
    double ms = (double)(now_ns() - ns->upgrade.began_ns) / 1e6;

    ns->ends[NET_END_UPGRADE]++;
    free(ns->kernel);
    ns->kernel = xstrdup(ns->upgrade.kernel);
    answer(ns, json_pack("{s:b, s:s, s:s, s:f}", "ok", 1, "name", ns->name, "kernel", ns->kernel,
                         "handover_ms", ms));
    if (old->domain)
        instance_retire(old);
    finish(ns);
}

void upgrade_go_on(struct netserver *ns)
{
    ns->upgrade.limit.fire = too_late;
    loop_timer(&ns->sv->loop, &ns->upgrade.limit, SERVE_LIMIT_MS);
    upgrade_follow(ns);
}

/* Why the new instance, which has said what it is, will not do. Owned; NULL: it will. */
static char *objection(const struct netserver *ns, const struct net_server_page *p)
{
    if (p->state == NET_SERVER_REFUSED)
        return xasprintf("%s speaks version %u of the network server's table, this command %u",
                         ns->upgrade.kernel, p->version, NET_TABLE_VERSION);
    if (p->state == NET_SERVER_STANDBY && (p->features & CHANNEL_FEATURES) != CHANNEL_FEATURES)
        return xasprintf("%s lacks features that the channels use (%#x)", ns->upgrade.kernel,
                         CHANNEL_FEATURES & ~p->features);
    return NULL;
}

void upgrade_follow(struct netserver *ns)
{
    struct instance *other = netserver_other(ns);

    if (!ns->upgrade.kernel)
        return;
    if (ns->upgrade.handing_over) {
        if (nettable_server(&ns->table, ns->active->role).state == NET_SERVER_UP)
            done(ns);
        return;
    }
    if (!other->domain || other->retired)
        return;
    struct net_server_page p = nettable_server(&ns->table, other->role);
    char *why = objection(ns, &p);
    if (why)
        refuse(ns, why);
    else if (!other->plugging && instance_is_ready(other))
        hand_over(ns);
}

void upgrade_ended(struct netserver *ns, const struct instance *i)
{
    struct upgrade *u = &ns->upgrade;

    if (!u->kernel)
        return;
    if (!u->handing_over && i == ns->active && instance_is_ready(netserver_other(ns)))
        hand_over(ns); /* nobody is left to wait for */
    else if (!u->handing_over && i == ns->active)
        return; /* it is started again meanwhile */
    else if (!u->handing_over && i->retired)
        start_new(ns);
    else if (!u->handing_over)
        upgrade_failed(ns, xasprintf("%s does not run as a network server: %s", u->kernel,
                                     ns->reason ? ns->reason : "it ended"));
    else if (i == ns->active)
        roll_back(ns);
}
