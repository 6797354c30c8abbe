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

static void next(struct netserver *ns);

/* The domains that wait for the device that failed cannot be served. */
static void failed(struct netserver *ns, const char *error)
{
    ns->plugging = false;
    ns->plug_failed = true;
    warn("%s: channels %u.. cannot be plugged in: %s", ns->name, ns->plugged, error);
    for (struct domain *d = ns->sv->domains; d; d = d->next)
        if (domain_is_live(d) && d->lease && lease_slot(d->lease, ns) >= (int)ns->plugged)
            domain_fail(d, "the network server %s takes no further channel: %s", ns->name, error);
}

static void stepped(void *arg, const char *error)
{
    struct netserver *ns = arg;

    if (!domain_is_live(ns->domain))
        return; /* its successor will have them from the start */
    if (error) {
        failed(ns, error);
        return;
    }
    if (++ns->plug_step < STEPS * CHANNELS_PER_DEVICE) {
        next(ns);
        return;
    }
    ns->plugging = false;
    ns->plugged += CHANNELS_PER_DEVICE;
    nettable_ring(&ns->table);
    netserver_plug(ns);
}

static void plug_function(struct netserver *ns, unsigned slot, const char *id)
{
    char *bus = qemu_channel_bus(slot), *addr = qemu_channel_addr(slot);

    qmp_command(ns->domain, "device_add",
                json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:b}", "driver", "ivshmem-doorbell", "id",
                          id, "chardev", id, "vectors",
                          (int)ns->table.channels[slot].region.vectors, "bus", bus, "addr", addr,
                          "multifunction", 1),
                -1, stepped, ns);
    free(bus);
    free(addr);
}

/* Gives QEMU the socket of a channel. */
static void pass_socket(struct netserver *ns, unsigned slot, const char *id)
{
    int fd = ivshmem_connect(&ns->table.channels[slot].region, CHANNEL_SERVER, &ns->keep[slot]);

    if (fd < 0)
        failed(ns, strerror(-fd));
    else
        qmp_command(ns->domain, "getfd", json_pack("{s:s}", "fdname", id), fd, stepped, ns);
}

static void next(struct netserver *ns)
{
    unsigned function = CHANNELS_PER_DEVICE - 1 - ns->plug_step / STEPS;
    unsigned slot = ns->plugged + function;
    char *id = xasprintf("channel%u", slot);

    if (ns->plug_step % STEPS == STEP_GETFD)
        pass_socket(ns, slot, id);
    else if (ns->plug_step % STEPS == STEP_CHARDEV)
        qmp_command(ns->domain, "chardev-add",
                    json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b}}}", "id", id, "backend",
                              "type", "socket", "data", "addr", "type", "fd", "data", "str", id,
                              "server", 0),
                    -1, stepped, ns);
    else
        plug_function(ns, slot, id);
    free(id);
}

void netserver_plug(struct netserver *ns)
{
    if (ns->plugging || ns->plug_failed || ns->plugged >= ns->table.made)
        return;
    ns->plugging = true;
    ns->plug_step = 0;
    next(ns);
}
