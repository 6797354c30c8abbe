/* The tap devices of tap.h (Documentation/networking/tuntap.rst; bridge ioctls as brctl uses them).
 */
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <unistd.h>

#include "util.h"

static void name_request(struct ifreq *ifr, const char *name)
{
    memset(ifr, 0, sizeof(*ifr));
    snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
}

/* Sets the device up and makes it a port of the bridge. Returns 0 or -errno. */
static int join_bridge(const char *dev, const char *bridge)
{
    struct ifreq ifr;
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int err = s < 0 ? -errno : 0;

    if (!err && bridge) {
        name_request(&ifr, bridge);
        ifr.ifr_ifindex = (int)if_nametoindex(dev);
        err = ioctl(s, SIOCBRADDIF, &ifr) < 0 ? -errno : 0;
    }
    name_request(&ifr, dev);
    if (!err && ioctl(s, SIOCGIFFLAGS, &ifr) < 0)
        err = -errno;
    if (!err && !(ifr.ifr_flags & IFF_UP)) {
        ifr.ifr_flags |= IFF_UP;
        err = ioctl(s, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
    }
    if (s >= 0)
        close(s);
    return err;
}

int tap_open(const char *dev, const char *bridge, char **error)
{
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    struct ifreq ifr;

    if (fd < 0) {
        *error = xasprintf("/dev/net/tun: %s; run as root, or leave --tap and --bridge out",
                           strerror(errno));
        return -1;
    }
    if (dev && !if_nametoindex(dev)) {
        *error = xasprintf("no tap device %s; make it with: ip tuntap add %s mode tap", dev, dev);
        close(fd);
        return -1;
    }
    name_request(&ifr, dev ? dev : "lostap%d");
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(fd, TUNSETIFF, &ifr) < 0) {
        *error = xasprintf("tap device %s: %s", ifr.ifr_name,
                           errno == EPERM ? "you may not use it; run as root, or have it made with "
                                            "`ip tuntap add ... user`"
                                          : strerror(errno));
        close(fd);
        return -1;
    }
    int err = bridge ? join_bridge(ifr.ifr_name, bridge) : 0;
    if (!bridge)
        join_bridge(ifr.ifr_name, NULL); /* best effort: an ordinary user's device is up already */
    if (err) {
        *error = xasprintf("bridge %s: %s", bridge, strerror(-err));
        close(fd);
        return -1;
    }
    return fd;
}
