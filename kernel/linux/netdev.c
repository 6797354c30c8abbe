/* Questions about network interfaces by ioctl: SIOCGIFCONF and its kin. Of setting there is up and
 * down, and what a DHCP server knows of its client (SIOCSARP); addresses are set by netlink and the
 * boot arguments. */
#include <linux/if_arp.h>
#include <linux/sockios.h>

#include "linux/process.h"
#include "linux/sock.h"
#include "net/ip.h"
#include "net/neigh.h"
#include "net/view.h"

#define CAP_NET_ADMIN_N 12

/* struct ifreq: 16 bytes of name, 24 of union. */
struct ifreq_k {
    char name[16];
    union {
        struct {
            uint16_t family, port;
            uint32_t addr;
            uint8_t zero[8];
        } in;
        struct {
            uint16_t family;
            uint8_t mac[14];
        } hw;
        int16_t flags;
        int32_t value;
        uint8_t room[24];
    };
};

struct ifconf_k {
    int32_t len;
    uint32_t pad;
    uaddr_t buf;
};

struct v4_search {
    uint32_t addr, mask;
    bool found;
};

static bool take_v4(const struct netif_addr *a, void *arg)
{
    struct v4_search *s = arg;
    if (!ip_is_v4(&a->addr))
        return true;
    s->addr = ip_v4(&a->addr);
    s->mask = a->prefix ? __builtin_bswap32(~0u << (32 - MIN(a->prefix, 32))) : 0;
    s->found = true;
    return false;
}

/* The interface's first IPv4 address and mask, big-endian; false if it has none. */
static bool get_v4(struct netif *n, uint32_t *addr, uint32_t *mask)
{
    struct v4_search s = {0};
    netif_for_each_addr(n, take_v4, &s);
    *addr = s.addr;
    *mask = s.mask;
    return s.found;
}

struct conf_walk {
    uaddr_t at;
    size_t room, used;
    int err;
};

static bool conf_one(struct netif *n, void *arg)
{
    struct conf_walk *w = arg;
    struct ifreq_k r = {0};
    uint32_t mask;
    if (!get_v4(n, &r.in.addr, &mask))
        return true;
    memcpy(r.name, n->name, sizeof(r.name));
    r.in.family = AF_INET_N;
    if (w->at && w->room - w->used < sizeof(r))
        return false;
    if (w->at && copy_to_user(w->at + w->used, &r, sizeof(r)))
        w->err = -EFAULT;
    w->used += sizeof(r);
    return !w->err;
}

static long get_conf(uaddr_t arg)
{
    struct ifconf_k c;
    if (copy_from_user(&c, arg, sizeof(c)))
        return -EFAULT;
    if (c.len < 0)
        return -EINVAL;
    struct conf_walk w = {.at = c.buf, .room = (size_t)c.len};
    netif_for_each(conf_one, &w);
    c.len = (int32_t)w.used;
    return w.err ? w.err : copy_to_user(arg, &c, sizeof(c));
}

static long get_address(struct netif *n, unsigned cmd, struct ifreq_k *r)
{
    uint32_t addr, mask;
    if (!get_v4(n, &addr, &mask))
        return -EADDRNOTAVAIL;
    memset(r->room, 0, sizeof(r->room));
    r->in.family = AF_INET_N;
    r->in.addr = cmd == SIOCGIFNETMASK ? mask : cmd == SIOCGIFBRDADDR ? addr | ~mask : addr;
    return 0;
}

static long get_property(struct netif *n, unsigned cmd, struct ifreq_k *r)
{
    switch (cmd) {
    case SIOCGIFADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFBRDADDR:
    case SIOCGIFDSTADDR:
        return get_address(n, cmd, r);
    case SIOCGIFFLAGS:
        r->flags = (int16_t)n->flags;
        return 0;
    case SIOCGIFMTU:
        r->value = n->mtu;
        return 0;
    case SIOCGIFINDEX:
        r->value = n->index;
        return 0;
    case SIOCGIFMETRIC:
        r->value = 0;
        return 0;
    case SIOCGIFTXQLEN:
        r->value = 1000;
        return 0;
    case SIOCGIFHWADDR:
        memset(r->room, 0, sizeof(r->room));
        r->hw.family = n->flags & 8 ? 772 /* ARPHRD_LOOPBACK */ : 1 /* ARPHRD_ETHER */;
        memcpy(r->hw.mac, n->mac, MAC_LEN);
        return 0;
    default:
        return -ENOTTY;
    }
}

/* Up or down; what else SIOCSIFFLAGS could change is not there. */
static long set_flags(struct netif *n, unsigned flags)
{
    if (!capable(CAP_NET_ADMIN_N))
        return -EPERM;
    bool up = flags & NETIF_UP;
    return up == !!(n->flags & NETIF_UP) ? 0 : netif_set_up(n, up);
}

/* The interface that an ARP entry is for: the named one, or that of the route. */
static struct netif *arp_netif(const struct arpreq *r, const struct ip_addr *a)
{
    char name[sizeof(r->arp_dev)];
    str_copy(name, r->arp_dev, sizeof(name));
    if (name[0])
        return netif_by_name(name);
    const struct view_route *route = view_route(net_view(), NULL, a);
    return route && ip_is_any(&route->gateway) ? route->netif : NULL;
}

/* SIOCSARP: a neighbour's address, to be verified when it has been used. */
static long set_arp(uaddr_t arg)
{
    struct arpreq r;
    uint32_t v4;
    if (copy_from_user(&r, arg, sizeof(r)))
        return -EFAULT;
    if (!capable(CAP_NET_ADMIN_N))
        return -EPERM;
    if (r.arp_pa.sa_family != AF_INET_N)
        return -EPFNOSUPPORT;
    if (r.arp_ha.sa_family != ARPHRD_ETHER || r.arp_ha.sa_data[0] & 1)
        return -EINVAL;
    if (r.arp_flags != ATF_COM)
        return -EOPNOTSUPP; /* no permanent and no published entries */
    memcpy(&v4, r.arp_pa.sa_data + 2, sizeof(v4));
    struct ip_addr a = ip_from_v4(v4);
    net_batch_begin();
    struct netif *n = arp_netif(&r, &a);
    if (n)
        neighbour_learn(n, &a, (const uint8_t *)r.arp_ha.sa_data, LEARN_CREATE | LEARN_OVERRIDE);
    net_batch_end();
    return n ? 0 : -ENODEV;
}

long netdev_ioctl(unsigned cmd, uaddr_t arg)
{
    struct ifreq_k r;
    if (cmd == SIOCSARP)
        return set_arp(arg);
    if (cmd == SIOCGARP || cmd == SIOCDARP)
        return -EOPNOTSUPP; /* netlink tells the neighbours */
    if (cmd == SIOCGIFCONF)
        return get_conf(arg);
    if (cmd < SIOCADDRT || cmd > SIOCDEVPRIVATE + 15)
        return -ENOTTY;
    if (copy_from_user(&r, arg, sizeof(r)))
        return -EFAULT;
    r.name[sizeof(r.name) - 1] = 0;
    struct netif *n;
    if (cmd == SIOCGIFNAME) {
        n = netif_by_index(r.value);
        if (!n)
            return -ENODEV;
        memcpy(r.name, n->name, sizeof(r.name));
        return copy_to_user(arg, &r, sizeof(r));
    }
    n = netif_by_name(r.name);
    if (!n)
        return -ENODEV;
    if (cmd == SIOCETHTOOL)
        return -EOPNOTSUPP; /* as for a device without such settings */
    if (cmd == SIOCSIFFLAGS)
        return set_flags(n, (uint16_t)r.flags);
    long err = get_property(n, cmd, &r);
    return err ? err : copy_to_user(arg, &r, sizeof(r));
}
