/*
 * A supervisor's beginning after another one's death: it finds what that one left, and goes on with
 * it. What is not known afterwards was being made, or being taken away, when the other died; it is
 * ended, and what was asked for then is done from the start.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "domain_state.h"
#include "keeper.h"
#include "records.h"
#include "supervisor.h"

/* Of what a supervisor leaves for the next; sizes are looked at besides. */
#define STATE_VERSION 2

/* Calls `each` with every file whose name ends so. */
static void for_each_file(struct supervisor *sv, const char *ending,
                          void (*each)(struct supervisor *sv, const char *file))
{
    DIR *d = opendir(sv->dir);
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (ends_with(e->d_name, ending)) {
            char *path = xasprintf("%s/%s", sv->dir, e->d_name);
            each(sv, path);
            free(path);
        }
    if (d)
        closedir(d);
}

/* ---- a first supervisor ---- */

static void forget_file(struct supervisor *sv, const char *file)
{
    (void)sv;
    unlink(file);
}

/* ---- a further one ---- */

static void restore_network(struct supervisor *sv, const char *file)
{
    netserver_restore(sv, file);
}

static struct netserver *server_named(const struct supervisor *sv, const char *name)
{
    struct netserver *ns = sv->servers;

    while (ns && strcmp(ns->name, name))
        ns = ns->next;
    return ns;
}

/* Joins a domain with its place in the network. False: it has none any more. */
static bool place(struct supervisor *sv, struct domain *d, json_t *state)
{
    const char *server = json_string_value(json_object_get(state, "instance_of"));
    json_t *lease = json_object_get(state, "lease");
    struct netserver *ns = server ? server_named(sv, server) : NULL;

    d->role = (int)json_integer_value(json_object_get(state, "role"));
    if (ns)
        netserver_restore_instance(ns, d);
    return server ? ns != NULL : lease_restore(sv, d, lease, domain_lease_note(d));
}

static void restore_domain(struct supervisor *sv, const char *file)
{
    json_t *state = json_load_file(file, 0, NULL);
    struct domain *d = NULL;

    if (state) {
        d = domain_restore(&sv->loop, sv->vnet, file, state);
    } else {
        warn("%s is damaged", file);
        unlink(file);
    }
    if (d) {
        supervisor_adopt(sv, d);
        if (!place(sv, d, state))
            domain_fail(d, "its place in the network cannot be taken over");
    }
    json_decref(state);
}

/* All domains are there: takes back the channels of those that are not. */
static void sweep_slots(struct supervisor *sv, struct netserver *ns)
{
    bool used[NET_SLOTS] = {false};

    for (struct domain *d = sv->domains; d; d = d->next)
        if (d->lease && lease_slot(d->lease, ns) >= 0)
            used[lease_slot(d->lease, ns)] = true;
    nettable_sweep(&ns->table, used);
}

static void resume_networks(struct supervisor *sv)
{
    for (struct netserver *ns = sv->servers, *next; ns; ns = next) {
        next = ns->next;
        sweep_slots(sv, ns);
        netserver_resume(ns);
    }
}

static void resume_domains(struct supervisor *sv)
{
    for (struct domain *d = sv->domains; d; d = d->next) {
        domain_resume(d);
        if (d->lease && domain_is_live(d))
            lease_resume(d->lease);
    }
}

/* Nobody hears what these sessions say: they must not wait for that. */
static void detach_sessions(struct supervisor *sv)
{
    for (struct domain *d = sv->domains; d; d = d->next)
        for (struct session *s = d->sessions; s; s = s->next)
            if (!s->listener)
                session_detach(s);
}

static bool is_known(void *arg, pid_t pid)
{
    struct supervisor *sv = arg;
    bool known = pid == vnet_pid(sv->vnet);

    for (struct domain *d = sv->domains; d; d = d->next)
        known |= d->pid == pid;
    return known;
}

static struct domain *by_id(const struct supervisor *sv, uint32_t id)
{
    struct domain *d = sv->domains;

    while (d && d->id != id)
        d = d->next;
    return d;
}

/* Descriptors of domains that are not there. */
static void sweep_entries(struct supervisor *sv)
{
    struct strv unknown = {0};
    char name[KEEPER_NAME];
    uint32_t id;

    for (unsigned i = 0; keeper_list(i, name); i++)
        if (sscanf(name, DOMAIN_KEY "%u ", &id) == 1 && !by_id(sv, id))
            strv_addf(&unknown, "%s", name);
    for (size_t i = 0; i < unknown.n; i++)
        keeper_drop(unknown.v[i]);
    strv_free(&unknown);
}

static bool server_in_use(const struct supervisor *sv)
{
    bool used = false;

    for (const struct netserver *ns = sv->servers; ns; ns = ns->next)
        used |= !ns->tap && !ns->bridge;
    return used;
}

static void say_what_was_found(const struct supervisor *sv)
{
    unsigned domains = 0, clients = 0;

    for (const struct domain *d = sv->domains; d; d = d->next)
        domains++;
    for (const struct client *c = sv->clients; c; c = c->next)
        clients++;
    warn("supervisor %u goes on: domains: %u, commands: %u", sv->restarts + 1, domains, clients);
}

void supervisor_restore(struct supervisor *sv)
{
    if (!sv->restarts) {
        for_each_file(sv, DOMAIN_STATE, forget_file);
        for_each_file(sv, NETSERVER_STATE, forget_file);
        records_trim(sv->dir, MAX_RECORDS);
        return;
    }
    for_each_file(sv, NETSERVER_STATE, restore_network);
    for_each_file(sv, DOMAIN_STATE, restore_domain);
    child_kill_others(is_known, sv);
    sweep_entries(sv);
    vnet_sweep(sv->vnet, server_in_use(sv));
    clients_restore(sv);
    detach_sessions(sv);
    resume_domains(sv);
    resume_networks(sv);
    say_what_was_found(sv);
}

uint32_t supervisor_state_version(void)
{
    const uint32_t sizes[] = {STATE_VERSION, sizeof(struct nettable_kept), domain_state_size(),
                              NETTABLE_NOTE};

    return (uint32_t)fnv1a(FNV_START, sizes, sizeof(sizes)) >> 1;
}
