/* The tap devices of tap.h (Documentation/networking/tuntap.rst; bridge ioctls as brctl uses them).
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util.h"

static void name_request(struct ifreq *ifr, const char *name)
{
    memset(ifr, 0, sizeof(*ifr));
    snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
}

static int open_control(void)
{
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return s < 0 ? -errno : s;
}

int tap_set_up(const char *dev, bool up)
{
    struct ifreq ifr;
    int s = open_control(), err = s < 0 ? s : 0;

    name_request(&ifr, dev);
    if (!err && ioctl(s, SIOCGIFFLAGS, &ifr) < 0)
        err = -errno;
    if (!err && !(ifr.ifr_flags & IFF_UP) == up) {
        ifr.ifr_flags ^= IFF_UP;
        err = ioctl(s, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
    }
    if (s >= 0)
        close(s);
    return err;
}

/* Makes the device a port of the bridge. Returns 0 or -errno. */
static int join_bridge(const char *dev, const char *bridge)
{
    struct ifreq ifr;
    int s = open_control(), err = s < 0 ? s : 0;

    name_request(&ifr, bridge);
    ifr.ifr_ifindex = (int)if_nametoindex(dev);
    if (!err && ioctl(s, SIOCBRADDIF, &ifr) < 0)
        err = -errno;
    if (s >= 0)
        close(s);
    return err;
}

/* Opens one queue of the device named in ifr; its name is filled in. Returns 0 or -errno. */
static int open_queue(struct tap *t, struct ifreq *ifr, bool multi)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    ifr->ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (multi ? IFF_MULTI_QUEUE : 0));
    if (ioctl(fd, TUNSETIFF, ifr) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    t->fd[t->n++] = fd;
    return 0;
}

static char *queue_error(const char *dev, int err)
{
    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        return xasprintf("/dev/net/tun: %s; run as root, or leave --tap and --bridge out",
                         strerror(errno));
    if (err == -EPERM)
        return xasprintf("tap device %s: you may not use it; run as root, or have it made with "
                         "`ip tuntap add ... user`",
                         dev);
    return xasprintf("tap device %s: %s", dev, strerror(-err));
}

int tap_open(struct tap *t, const char *dev, const char *bridge, unsigned queues, char **error)
{
    bool multi = queues > 1;
    struct ifreq ifr;
    int err = 0;

    *t = (struct tap){0};
    if (dev && (strlen(dev) >= IFNAMSIZ || !if_nametoindex(dev))) {
        *error = xasprintf("no tap device %s; make it with: ip tuntap add %s mode tap", dev, dev);
        return -ENODEV;
    }
    if (bridge && (strlen(bridge) >= IFNAMSIZ || !if_nametoindex(bridge))) {
        *error =
            xasprintf("no bridge %s; make it with: ip link add %s type bridge", bridge, bridge);
        return -ENODEV;
    }
    name_request(&ifr, dev ? dev : "lostap%d");
    err = open_queue(t, &ifr, multi);
    if (err == -EINVAL && dev) { /* it was made for the other kind of use */
        multi = !multi;
        err = open_queue(t, &ifr, multi);
    }
    for (unsigned i = 1; i < queues && i < TAP_MAX_QUEUES && multi && !err; i++)
        err = open_queue(t, &ifr, true);
    if (err) {
        *error = queue_error(ifr.ifr_name, err);
    } else {
        err = bridge ? join_bridge(ifr.ifr_name, bridge) : 0;
        if (!err)
            err = tap_set_up(ifr.ifr_name, true);
        if (err && bridge)
            *error = xasprintf("bridge %s: %s", bridge, strerror(-err));
        else
            err = 0; /* an ordinary user cannot set a device up, but it may be up already */
    }
    memcpy(t->name, ifr.ifr_name, sizeof(t->name));
    if (err)
        tap_close(t);
    return err;
}

void tap_close(struct tap *t)
{
    while (t->n)
        close(t->fd[--t->n]);
}

static void *close_descriptor(void *fd)
{
    close((int)(intptr_t)fd);
    return NULL;
}

void tap_close_aside(struct tap *t)
{
    pthread_t thread;

    while (t->n) {
        void *fd = (void *)(intptr_t)t->fd[--t->n];
        if (pthread_create(&thread, NULL, close_descriptor, fd))
            close_descriptor(fd);
        else
            pthread_detach(thread);
    }
}

int tap_copy(const struct tap *from, struct tap *to)
{
    *to = (struct tap){0};
    memcpy(to->name, from->name, sizeof(to->name));
    for (; to->n < from->n; to->n++) {
        to->fd[to->n] = fcntl(from->fd[to->n], F_DUPFD_CLOEXEC, 0);
        if (to->fd[to->n] < 0) {
            int err = -errno;
            tap_close(to);
            return err;
        }
    }
    return 0;
}
