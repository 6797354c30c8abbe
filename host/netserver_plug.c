/*
 * Plugging channels into a running network server: a device of CHANNELS_PER_DEVICE functions into
 * the next root port. Each function takes three commands. Function 0 comes last, since it is what
 * tells the guest that the device is there.
 */
#include <errno.h>
#include <string.h>

#include "lease.h"
#include "qmp.h"

enum { STEP_GETFD, STEP_CHARDEV, STEP_DEVICE, STEPS };

static void next(struct instance *i);

/* The domains that wait for the device that failed cannot be served. A standby is of no use then.
 */
static void failed(struct instance *i, const char *error)
{
    struct netserver *ns = i->ns;

    i->plugging = false;
    i->plug_failed = true;
    warn("%s: channels %u.. cannot be plugged in: %s", i->domain->name, i->plugged, error);
    if (i != ns->active) {
        instance_retire(i);
        return;
    }
    for (struct domain *d = ns->sv->domains; d; d = d->next)
        if (domain_is_live(d) && d->lease && lease_slot(d->lease, ns) >= (int)i->plugged)
            domain_fail(d, "the network server %s takes no further channel: %s", ns->name, error);
}

static void stepped(void *arg, const char *error)
{
    struct instance *i = arg;

    if (!i->domain || !domain_is_live(i->domain))
        return;                             /* its successor will have them from the start */
    if (error && !qmp_is_repeated(error)) { /* a dead supervisor may have done it already */
        failed(i, error);
        return;
    }
    if (++i->plug_step < STEPS * CHANNELS_PER_DEVICE) {
        next(i);
        return;
    }
    i->plugging = false;
    i->plugged += CHANNELS_PER_DEVICE;
    nettable_ring(&i->ns->table);
    netserver_plug(i->ns);
    upgrade_follow(i->ns);
}

static void plug_function(struct instance *i, unsigned slot, const char *id)
{
    char *bus = qemu_channel_bus(slot), *addr = qemu_channel_addr(slot);

    qmp_command(i->domain, "device_add",
                json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:b}", "driver", "ivshmem-doorbell", "id",
                          id, "chardev", id, "vectors",
                          (int)i->ns->table.channels[slot].region.vectors, "bus", bus, "addr", addr,
                          "multifunction", 1),
                -1, stepped, i);
    free(bus);
    free(addr);
}

/* Gives QEMU the socket of a channel. */
static void pass_socket(struct instance *i, unsigned slot, const char *id)
{
    int fd = ivshmem_connect(&i->ns->table.channels[slot].region, i->role, &i->keep[slot]);

    int err = fd < 0 ? fd : domain_hold(i->domain, id, i->keep[slot]);

    if (err)
        failed(i, strerror(-err));
    else
        qmp_command(i->domain, "getfd", json_pack("{s:s}", "fdname", id), fd, stepped, i);
}

static void next(struct instance *i)
{
    unsigned function = CHANNELS_PER_DEVICE - 1 - i->plug_step / STEPS;
    unsigned slot = i->plugged + function;
    char *id = xasprintf("channel%u", slot);

    if (i->plug_step % STEPS == STEP_GETFD)
        pass_socket(i, slot, id);
    else if (i->plug_step % STEPS == STEP_CHARDEV)
        qmp_command(i->domain, "chardev-add",
                    json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b}}}", "id", id, "backend",
                              "type", "socket", "data", "addr", "type", "fd", "data", "str", id,
                              "server", 0),
                    -1, stepped, i);
    else
        plug_function(i, slot, id);
    free(id);
}

void netserver_plug(struct netserver *ns)
{
    for (unsigned n = 0; n < 2; n++) {
        struct instance *i = &ns->instances[n];
        if (!i->domain || i->plugging || i->plug_failed || i->plugged >= ns->table.made)
            continue;
        i->plugging = true;
        i->plug_step = 0;
        next(i);
    }
}

void netserver_plug_on(struct netserver *ns)
{
    for (unsigned n = 0; n < 2; n++)
        if (ns->instances[n].domain && ns->instances[n].plugging)
            next(&ns->instances[n]);
    netserver_plug(ns);
}
