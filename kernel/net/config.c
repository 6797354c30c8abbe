/*
 * Configuration of the network at boot: the boot arguments net0=, net1=, ... (abi/boot.h), and name
 * servers. A statically configured interface is usable at once.
 */
#include "core/bootargs.h"
#include "core/init.h"
#include "net/dhcp.h"
#include "net/ipimpl.h"
#include "net/mcast.h"
#include "net/nd.h"
#include "net/netif_impl.h"
#include "net/packet.h"
#include "net/raw.h"

#define MAX_NETIFS 8

void (*net_dns_hook)(void);
void neighbour_init(void);

static struct {
    spinlock_t lock; /* bh */
    struct ip_addr servers[DHCP_MAX_DNS];
    int count;
} static_dns;
static struct work dns_work;

#define FIRST_LEASE_LIMIT (4 * NSEC_PER_SEC)

static void run_dns_hook(struct work *w)
{
    (void)w;
    if (net_dns_hook)
        net_dns_hook();
}

void net_init(void)
{
    spin_init(&static_dns.lock);
    work_init(&dns_work, run_dns_hook);
    pkt_init();
    net_batch_init();
    neighbour_init();
    pmtu_init();
    reassembly_init();
    mcast_init();
    raw_init();
    packet_init();
    udp_init();
    tcp_init();
    loopback_init();
    net_proc_init();
    net_sysctl_init();
}

void net_dns_add_static(const struct ip_addr *a)
{
    spin_lock_bh(&static_dns.lock);
    if (static_dns.count < DHCP_MAX_DNS)
        static_dns.servers[static_dns.count++] = *a;
    spin_unlock_bh(&static_dns.lock);
}

void net_dns_changed(void)
{
    work_schedule(&dns_work);
}

static bool add_dns_of(struct netif *n, void *arg)
{
    struct net_dns *out = arg;
    int room = (int)ARRAY_SIZE(out->servers);

    out->count += dhcp_dns_servers(n, out->servers + out->count, room - out->count, out->domain,
                                   sizeof(out->domain));
    out->count += nd_dns_servers(n, out->servers + out->count, room - out->count);
    return out->count < room;
}

void net_dns(struct net_dns *out)
{
    memset(out, 0, sizeof(*out));
    spin_lock_bh(&static_dns.lock);
    for (int i = 0; i < static_dns.count; i++)
        out->servers[out->count++] = static_dns.servers[i];
    spin_unlock_bh(&static_dns.lock);
    netif_for_each(add_dns_of, out);
}

/* "ADDR/LEN" */
static int add_address(struct netif *n, char *word)
{
    char *slash = strchr(word, '/');
    struct ip_addr a;
    uint64_t prefix;

    if (!slash)
        return -EINVAL;
    *slash = 0;
    int err = ip_parse(word, &a);
    if (!err)
        err = parse_u64(slash + 1, &prefix);
    if (!err && prefix > 128)
        err = -EINVAL;
    return err ? err : netif_add_addr(n, &a, (uint8_t)prefix);
}

/* One item of the list: an address, gw=, gw6= or dns=. */
static int configure_item(struct netif *n, char *word)
{
    char *equals = strchr(word, '=');
    struct ip_addr a;

    if (!equals)
        return add_address(n, word);
    *equals = 0;
    int err = ip_parse(equals + 1, &a);
    if (err)
        return err;
    struct ip_addr any = ip_is_v4(&a) ? ip_from_v4(0) : (struct ip_addr){0};
    if (!strcmp(word, "gw") || !strcmp(word, "gw6"))
        return route_add(n, &any, 0, &a, 100, ROUTE_STATIC);
    if (strcmp(word, "dns") != 0)
        return -EINVAL;
    net_dns_add_static(&a);
    return 0;
}

static void configure_static(struct netif *n, const char *spec)
{
    char item[80];

    while (*spec) {
        const char *end = strchr(spec, ',');
        size_t len = end ? (size_t)(end - spec) : strlen(spec);
        str_copy(item, spec, MIN(sizeof(item), len + 1));
        int err = len < sizeof(item) ? configure_item(n, item) : -EINVAL;
        if (err)
            klog(LOG_ERROR, "%s: cannot configure \"%.*s\": error %d", n->name, (int)len, spec,
                 -err);
        spec += len + (end ? 1 : 0);
    }
}

void net_configure_netif(struct netif *n, const char *spec)
{
    int err = netif_set_up(n, true);

    if (!err && !strcmp(spec, "dhcp"))
        err = dhcp_start(n);
    else if (!err)
        configure_static(n, spec);
    if (err)
        klog(LOG_ERROR, "%s: error %d", n->name, -err);
    netif_announce(n);
}

void net_configure_wait(void)
{
    if (!dhcp_wait(time_now() + FIRST_LEASE_LIMIT))
        klog(LOG_WARN, "no DHCP lease yet: programs start without an address");
}

void net_configure(void)
{
    char key[16], name[16];

    for (int i = 0; i < MAX_NETIFS; i++) {
        snprintf(key, sizeof(key), "net%d", i);
        const char *spec = bootarg(key);
        if (!spec)
            continue;
        snprintf(name, sizeof(name), "eth%d", i);
        struct netif *n = netif_by_name(name);
        if (n)
            net_configure_netif(n, spec);
        else
            klog(LOG_ERROR, "%s=%s: there is no %s", key, spec, name);
    }
    net_dns_changed();
}
