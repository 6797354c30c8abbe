/*
 * A network server on a bridge: each instance has a port of its own there. A standby's is down: it
 * would gather stale frames. When it is to serve, its port comes up and the addresses move to it
 * first, so that what comes from then on waits for it; the old instance still sends, and no longer
 * teaches the bridge. When that has ended, its port goes down, and what is left in it follows.
 */
#include <stdlib.h>
#include <string.h>

#include "bridgeport.h"
#include "lease.h"
#include "netserver.h"
#include "pathswitch.h"

static void complain(const struct instance *i, const char *what, int err)
{
    if (err < 0)
        warn("%s: %s: %s: %s", i->ns->name, i->port.name, what, strerror(-err));
}

static void set_up(struct instance *i, bool up)
{
    if (!*i->port.name || i->port_up == up)
        return;
    complain(i, up ? "cannot be set up" : "cannot be set down", tap_set_up(i->port.name, up));
    i->port_up = up;
}

void port_open(struct instance *i, struct tap *out, char **error)
{
    if (tap_open(&i->port, NULL, i->ns->bridge, 1, error))
        return;
    i->port_up = true;
    set_up(i, i == i->ns->active);
    int err = tap_copy(&i->port, out);
    if (err)
        *error = xasprintf("tap device: %s", strerror(-err));
}

void port_close(struct instance *i)
{
    tap_close_aside(&i->port);
    *i->port.name = '\0';
}

/* Not those of domains that have a NIC of their own now. */
static void announce_all(const struct instance *i)
{
    struct netserver *ns = i->ns;
    int err = bridgeport_announce(&i->port, ns->own.mac);

    for (struct domain *d = ns->sv->domains; d; d = d->next)
        if (d->lease && lease_slot(d->lease, ns) >= 0 && d->lease->path &&
            d->lease->path->in_use == CTL_PATH_SERVER && !err)
            err = bridgeport_announce(&i->port, d->lease->grants.mac);
    complain(i, "cannot announce", err);
}

void port_enter(struct instance *i, struct instance *old)
{
    if (!*i->port.name)
        return;
    if (old->domain && *old->port.name)
        complain(old, "goes on learning", bridgeport_set_learning(old->port.name, false));
    complain(i, "does not learn", bridgeport_set_learning(i->port.name, true));
    set_up(i, true);
    complain(i, "a frame may be lost", bridgeport_sacrifice(i->port.name));
    if (i->port.n) /* else another supervisor opened it */
        announce_all(i);
}

void port_leave(struct instance *i)
{
    const struct instance *to = i->ns->active;

    if (!*i->port.name || !i->port_up)
        return;
    set_up(i, false);
    if (i->port.n && *to->port.name)
        complain(i, "frames are lost", bridgeport_move(&i->port, to->port.name));
}
