/*
 * The devices of a switch (pathswitch.h): a virtio-net at the virtual switch or at a bridge, a PCI
 * device of the host (VFIO), and the channel. Each is a short sequence of QMP commands.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lease.h"
#include "pathswitch.h"
#include "qmp.h"

#define POOL_DEFAULT 4

unsigned nic_pool_size(void)
{
    uint64_t n = POOL_DEFAULT;

    if (env_u64("LIBRETTOS_DIRECT_DEVICES", 0, VNET_HOSTS, &n))
        warn("LIBRETTOS_DIRECT_DEVICES=%s is no number of devices; it is %u",
             getenv("LIBRETTOS_DIRECT_DEVICES"), POOL_DEFAULT);
    return (unsigned)n;
}

unsigned nic_pool_used(const struct supervisor *sv)
{
    unsigned n = 0;

    for (const struct domain *d = sv->domains; d; d = d->next)
        n += domain_is_live(d) && d->lease && d->lease->path && d->lease->path->pooled;
    return n;
}

static void getfd(struct domain *d, const char *name, int fd)
{
    qmp_command(d, "getfd", json_pack("{s:s}", "fdname", name), fd, NULL, NULL);
}

/* ---- at the virtual switch ---- */

static bool plug_user(struct pathswitch *s, char **error)
{
    struct domain *d = s->domain;
    int fd[2], err = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
        *error = xasprintf("no socket for the NIC: %s", strerror(errno));
        return false;
    }
    err = vnet_connect(d->vnet, s->lease->host, fd[0]);
    d->nic = err ? -1 : s->lease->host;
    if (err) {
        *error = xasprintf("no port of the virtual switch: %s", strerror(-err));
        close(fd[1]);
        return false;
    }
    getfd(d, "nic", fd[1]);
    /* The older kind of netdev, the same on the wire: "stream" connects in a thread that knows no
     * descriptors that came by QMP (7.2, 10.0). */
    qmp_command(d, "netdev_add",
                json_pack("{s:s, s:s, s:s}", "type", "socket", "id", QEMU_NETDEV, "fd", "nic"), -1,
                NULL, NULL);
    return true;
}

/* ---- at a bridge ---- */

void nic_add_tap(struct domain *d, struct tap *tap)
{
    struct buf names = {0};

    for (unsigned i = 0; i < tap->n; i++) {
        char *name = xasprintf("nic%u", i);
        getfd(d, name, tap->fd[i]);
        buf_printf(&names, "%s%s", i ? ":" : "", name);
        free(name);
    }
    buf_append(&names, "", 1);
    qmp_command(d, "netdev_add",
                json_pack("{s:s, s:s, s:s, s:b}", "type", "tap", "id", QEMU_NETDEV,
                          tap->n > 1 ? "fds" : "fd", (char *)names.data, "vhost", 0),
                -1, NULL, NULL);
    buf_free(&names);
}

/* Returns the number of queues, 0 with *error set. */
static unsigned plug_tap(struct pathswitch *s, char **error)
{
    struct tap tap;

    if (tap_open(&tap, NULL, s->lease->bridge, s->domain->cpus, error))
        return 0;
    memcpy(s->lease->tap_name, tap.name, sizeof(tap.name));
    tap_close_aside(&s->tap);
    int err = tap_copy(&tap, &s->tap);
    if (err)
        warn("%s: %s: %s", s->domain->name, tap.name, strerror(-err)); /* no harm yet */
    nic_add_tap(s->domain, &tap);
    return tap.n;
}

/* ---- the device ---- */

void nic_add_virtio(struct domain *d, const uint8_t m[6], bool user_net, unsigned queues,
                    qmp_done *done, void *arg)
{
    char mac[18];
    snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "driver", "virtio-net-pci", "id",
                          QEMU_NIC, "bus", QEMU_NIC_PORT, "netdev", QEMU_NETDEV, "mac", mac,
                          "romfile", "", "disable-legacy", "on");

    if (user_net) {
        json_object_set_new(o, "host_mtu", json_integer(SWITCH_MTU));
        json_object_set_new(o, "rx_queue_size", json_integer(1024));
    } else if (queues > 1) {
        json_object_set_new(o, "mq", json_true());
        json_object_set_new(o, "vectors", json_integer(2 * queues + 2));
    }
    qmp_command(d, "device_add", o, -1, done, arg);
}

/* ---- a PCI device of the host ---- */

/* Why the device cannot be given away; NULL: it can. Owned. */
static char *vfio_obstacle(const char *address)
{
    char path[128], target[PATH_MAX];
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", address);
    if (strlen(address) > 32 || strchr(address, '/') || access(path, F_OK) < 0)
        return xasprintf("there is no PCI device %s; `lspci -D` lists them", address);
    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return xasprintf("%s is behind no IOMMU: start this machine's kernel with intel_iommu=on "
                         "or amd_iommu=on",
                         address);
    target[n] = 0;
    const char *slash = strrchr(target, '/');
    snprintf(path, sizeof(path), "/dev/vfio/%.32s", slash ? slash + 1 : target);
    if (access(path, R_OK | W_OK) < 0)
        return xasprintf("%s: %s (%s): bind the device to vfio-pci, and give yourself the right to "
                         "use it",
                         address, strerror(errno), path);
    return NULL;
}

static bool plug_vfio(struct pathswitch *s, qmp_done *done, char **error)
{
    *error = vfio_obstacle(s->vfio);
    if (*error)
        return false;
    qmp_command(s->domain, "device_add",
                json_pack("{s:s, s:s, s:s, s:s}", "driver", "vfio-pci", "id", QEMU_NIC, "bus",
                          QEMU_NIC_PORT, "host", s->vfio),
                -1, done, s);
    return true;
}

/* ---- all of them ---- */

bool nic_plug(struct pathswitch *s, qmp_done *done, char **error)
{
    unsigned queues = 1;

    *error = NULL;
    if (s->vfio)
        return plug_vfio(s, done, error);
    if (s->lease->user_net ? !plug_user(s, error) : !(queues = plug_tap(s, error)))
        return false;
    nic_add_virtio(s->domain, s->lease->grants.mac, s->lease->user_net, queues, done, s);
    return true;
}

void nic_unplug(struct pathswitch *s, qmp_done *done)
{
    qmp_command(s->domain, "device_del", json_pack("{s:s}", "id", QEMU_NIC), -1, done, s);
}

void nic_tidy(struct pathswitch *s, qmp_done *done)
{
    struct domain *d = s->domain;

    traffic_keep_nic(s);
    if (d->nic >= 0)
        vnet_disconnect(d->vnet, d->nic);
    d->nic = -1;
    s->pooled = false;
    free(s->vfio);
    s->vfio = NULL;
    qmp_command(d, "netdev_del", json_pack("{s:s}", "id", QEMU_NETDEV), -1, done, s);
}

bool channel_plug(struct pathswitch *s, qmp_done *done, char **error)
{
    struct domain *d = s->domain;

    /* A dead supervisor may have got the slot, and have gone on from there. */
    if (!(s->lease->server ? lease_connect(s->lease, error) : lease_add_channel(s->lease, error))) {
        lease_drop_channel(s->lease);
        return false;
    }
    domain_commit(d);
    domain_hold(d, "channel", s->lease->keep);
    getfd(d, "channel", s->lease->device.fd);
    s->lease->device.fd = -1;
    qmp_command(d, "chardev-add",
                json_pack("{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}, s:b}}}", "id", "channel", "backend",
                          "type", "socket", "data", "addr", "type", "fd", "data", "str", "channel",
                          "server", 0),
                -1, NULL, NULL);
    qmp_command(d, "device_add",
                json_pack("{s:s, s:s, s:i, s:s, s:s}", "driver", "ivshmem-doorbell", "chardev",
                          "channel", "vectors", (int)s->lease->device.vectors, "id", "channel",
                          "bus", QEMU_CHANNEL_PORT),
                -1, done, s);
    return true;
}

void channel_drop(struct pathswitch *s)
{
    qmp_command(s->domain, "chardev-remove", json_pack("{s:s}", "id", "channel"), -1, NULL, NULL);
    lease_drop_channel(s->lease);
}
