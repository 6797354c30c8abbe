/*
 * A supervisor's beginning after another one's death: it finds what that one left, and goes on with
 * it. What is not known afterwards was being made, or being taken away, when the other died; it is
 * ended, and what was asked for then is done from the start.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "child.h"
#include "domain_state.h"
#include "keeper.h"
#include "records.h"

/* Calls `each` with every domain directory. */
static void for_each_directory(struct supervisor *sv,
                               void (*each)(struct supervisor *sv, const char *dir))
{
    DIR *d = opendir(sv->dir);
    struct dirent *e;

    while (d && (e = readdir(d)))
        if (ends_with(e->d_name, ".domain")) {
            char *path = xasprintf("%s/%s", sv->dir, e->d_name);
            each(sv, path);
            free(path);
        }
    if (d)
        closedir(d);
}

/* ---- a first supervisor ---- */

static void forget_state(struct supervisor *sv, const char *dir)
{
    (void)sv;
    domain_remove_state(dir);
}

/* ---- a further one ---- */

static void restore_domain(struct supervisor *sv, const char *dir)
{
    json_t *state = domain_read_state(dir);
    struct domain *d = state ? domain_restore(&sv->loop, sv->vnet, dir, state) : NULL;

    if (!d)
        domain_remove_state(dir);
    if (d)
        supervisor_adopt(sv, d);
    json_t *lease = json_object_get(state, "lease");
    if (d && lease)
        d->lease = lease_restore(sv, d, lease);
    if (d && lease && !d->lease)
        domain_fail(d, "its place in the network cannot be taken over");
    json_decref(state);
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

/* Descriptors of domains that are not there. */
static void sweep_entries(struct supervisor *sv)
{
    struct strv unknown = {0};
    char name[KEEPER_NAME], domain[KEEPER_NAME];

    for (unsigned i = 0; keeper_list(i, name); i++)
        if (sscanf(name, "domain %127s", domain) == 1 && !supervisor_find(sv, domain))
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

void supervisor_restore(struct supervisor *sv)
{
    if (!sv->restarts) {
        for_each_directory(sv, forget_state);
        records_trim(sv->dir, MAX_RECORDS);
        return;
    }
    for_each_directory(sv, restore_domain);
    child_kill_others(is_known, sv);
    sweep_entries(sv);
    vnet_sweep(sv->vnet, server_in_use(sv));
    unsigned domains = 0, clients = 0;
    for (struct domain *d = sv->domains; d; d = d->next)
        domains++;
    clients_restore(sv);
    detach_sessions(sv);
    for (struct client *c = sv->clients; c; c = c->next)
        clients++;
    warn("supervisor %u goes on with %u domains and %u commands", sv->restarts + 1, domains,
         clients);
}
