/* Counters and the text of /proc/net (net/stats.h). */
#include "net/stats.h"

#include "fs/vfs.h"
#include "net/neigh.h"
#include "net/sockrows.h"
#include "net/view.h"

struct net_stats_cpu net_stats_cpus[MAX_CPUS];

static const struct {
    const char *group, *name;
} names[] = {
#define NET_STAT(group, name) {#group, #name},
#include "net/stats.def"
#undef NET_STAT
};

uint64_t net_stat_read(enum net_stat stat)
{
    uint64_t sum = 0;

    for (int i = 0; i < cpu_count; i++)
        sum += net_stats_cpus[i].n[stat];
    return sum;
}

const char *net_stat_group(enum net_stat stat)
{
    return names[stat].group;
}

const char *net_stat_name(enum net_stat stat)
{
    return names[stat].name;
}

/* "Group: name name ..." and "Group: value value ..."; extra columns come first. */
static void group_text(struct text_buf *b, const char *group, const char *extra_names,
                       const char *extra_values)
{
    text_printf(b, "%s:%s", group, extra_names);
    for (int i = 0; i < NET_STAT_COUNT; i++) {
        if (!strcmp(names[i].group, group))
            text_printf(b, " %s", names[i].name);
    }
    text_printf(b, "\n%s:%s", group, extra_values);
    for (int i = 0; i < NET_STAT_COUNT; i++) {
        if (!strcmp(names[i].group, group))
            text_printf(b, " %llu", (unsigned long long)net_stat_read((enum net_stat)i));
    }
    text_printf(b, "\n");
}

static void snmp_text(struct text_buf *b, void *arg)
{
    (void)arg;
    group_text(b, "Ip", " Forwarding DefaultTTL", " 2 64");
    group_text(b, "Icmp", "", "");
    group_text(b, "Tcp", " RtoAlgorithm RtoMin RtoMax MaxConn", " 1 200 120000 -1");
    group_text(b, "Udp", "", "");
}

static void netstat_text(struct text_buf *b, void *arg)
{
    (void)arg;
    group_text(b, "TcpExt", "", "");
    group_text(b, "Librettos", "", "");
}

static void snmp6_text(struct text_buf *b, void *arg)
{
    char name[64];

    (void)arg;
    for (int i = 0; i < NET_STAT_COUNT; i++) {
        if (strcmp(names[i].group, "Ip6") && strcmp(names[i].group, "Icmp6"))
            continue;
        snprintf(name, sizeof(name), "%s%s", names[i].group, names[i].name);
        text_printf(b, "%-32s\t%llu\n", name, (unsigned long long)net_stat_read((enum net_stat)i));
    }
}

static bool dev_line(struct netif *n, void *arg)
{
    struct text_buf *b = arg;
    struct path_stats s = {0};
    struct net_path *path = n->path;

    if (path && path->ops->stats)
        path->ops->stats(path, &s);
    text_printf(b, "%6s: %llu %llu %llu %llu 0 0 0 0 %llu %llu %llu %llu 0 0 0 0\n", n->name,
                (unsigned long long)s.rx_bytes, (unsigned long long)s.rx_packets,
                (unsigned long long)s.rx_errors, (unsigned long long)s.rx_dropped,
                (unsigned long long)s.tx_bytes, (unsigned long long)s.tx_packets,
                (unsigned long long)s.tx_errors,
                (unsigned long long)(s.tx_dropped + n->tx_dropped));
    return true;
}

static void dev_text(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "Inter-|   Receive                                                |  Transmit\n"
                   " face |bytes    packets errs drop fifo frame compressed multicast|bytes    "
                   "packets errs drop fifo colls carrier compressed\n");
    netif_for_each(dev_line, b);
}

static bool route_line(const struct view_route *r, void *arg)
{
    if (!ip_is_v4(&r->value) && r->prefix >= 96)
        return true;
    if (r->prefix < 96)
        return true;
    bool gateway = !ip_is_any(&r->gateway);
    text_printf(arg, "%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t0\t0\t0\n", r->netif->name,
                r->value.w[3], gateway ? r->gateway.w[3] : 0, gateway ? 3 : 1, r->metric,
                r->mask.w[3]);
    return true;
}

static void route_text(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\t"
                   "IRTT\n");
    route_for_each(route_line, b);
}

static void hex_addr(struct text_buf *b, const struct ip_addr *a)
{
    for (int i = 0; i < 16; i++)
        text_printf(b, "%02x", a->b[i]);
}

static bool route6_line(const struct view_route *r, void *arg)
{
    struct text_buf *b = arg;
    bool gateway = !ip_is_any(&r->gateway);

    if (r->prefix >= 96 && ip_is_v4(&r->value))
        return true;
    hex_addr(b, &r->value);
    text_printf(b, " %02x 00000000000000000000000000000000 00 ", r->prefix);
    hex_addr(b, &r->gateway);
    text_printf(b, " %08x 00000001 00000000 %08x %8s\n", r->metric, gateway ? 3u : 1u,
                r->netif->name);
    return true;
}

static void route6_text(struct text_buf *b, void *arg)
{
    (void)arg;
    route_for_each(route6_line, b);
}

static bool arp_line(const struct neighbour *nb, void *arg)
{
    const uint8_t *m = nb->header.b;
    char text[48];

    if (!ip_is_v4(&nb->addr) || nb->state == NEIGH_PERMANENT)
        return true;
    ip_format(text, sizeof(text), &nb->addr);
    text_printf(
        arg, "%-16s 0x1         0x%x         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n", text,
        nb->state >= NEIGH_STALE ? 2 : 0, m[0], m[1], m[2], m[3], m[4], m[5], nb->netif->name);
    return true;
}

static void arp_text(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b,
                "IP address       HW type     Flags       HW address            Mask     Device\n");
    neighbour_for_each(arp_line, b);
}

struct inet6_arg {
    struct text_buf *b;
    struct netif *n;
};

static bool inet6_addr(const struct netif_addr *a, void *arg)
{
    struct inet6_arg *x = arg;

    if (ip_is_v4(&a->addr))
        return true;
    hex_addr(x->b, &a->addr);
    text_printf(x->b, " %02x %02x %02x 80 %8s\n", x->n->index, a->prefix,
                ip_is_loopback(&a->addr)     ? 0x10
                : ip_is_link_local(&a->addr) ? 0x20
                                             : 0,
                x->n->name);
    return true;
}

static bool inet6_netif(struct netif *n, void *arg)
{
    struct inet6_arg x = {arg, n};
    netif_for_each_addr(n, inet6_addr, &x);
    return true;
}

static void inet6_text(struct text_buf *b, void *arg)
{
    (void)arg;
    netif_for_each(inet6_netif, b);
}

static void tcp_text(struct text_buf *b, void *arg)
{
    tcp_proc_text(b, arg != NULL);
}

static void sockstat_text(struct text_buf *b, void *arg)
{
    (void)arg;
    tcp_sockstat_text(b);
    text_printf(b, "UDP: inuse %u mem 0\n", udp_socket_count());
}

struct listing {
    struct text_buf *b;
    bool v6;
    unsigned line;
};

static void listed_addr(const struct listing *l, const struct sock_addr *a)
{
    if (l->v6)
        text_printf(l->b, " %08X%08X%08X%08X:%04X", a->ip.w[0], a->ip.w[1], a->ip.w[2], a->ip.w[3],
                    a->port);
    else
        text_printf(l->b, " %08X:%04X", ip_v4(&a->ip), a->port);
}

static void listed_row(const struct sock_row *row, void *arg)
{
    struct listing *l = arg;

    if ((row->family == 6) != l->v6)
        return;
    text_printf(l->b, "%5u:", l->line++);
    listed_addr(l, &row->local);
    listed_addr(l, &row->peer);
    text_printf(l->b, " %02X %08X:%08X 00:00000000 00000000 %5u        0 %llu %d 0 %llu\n",
                row->state, row->unsent, row->received, row->s->uid,
                (unsigned long long)object_ino(row->s), ref_count(&row->s->refs),
                (unsigned long long)row->drops);
}

static void dgram_text(struct text_buf *b, bool v6, void (*rows)(sock_row_fn fn, void *arg))
{
    struct listing l = {.b = b, .v6 = v6};

    text_printf(b,
                "   sl  local_address %srem_address   %sst tx_queue rx_queue tr tm->when "
                "retrnsmt   uid  timeout inode ref pointer drops\n",
                v6 ? "                        " : "", v6 ? "                        " : "");
    rows(listed_row, &l);
}

static void udp_text(struct text_buf *b, void *arg)
{
    dgram_text(b, arg != NULL, udp_rows);
}

static void raw_text(struct text_buf *b, void *arg)
{
    dgram_text(b, arg != NULL, raw_rows);
}

void net_proc_init(void)
{
    static char v6;
    static const struct {
        const char *path;
        text_fn show;
        void *arg;
    } files[] = {
        {"proc/net/snmp", snmp_text, NULL},         {"proc/net/netstat", netstat_text, NULL},
        {"proc/net/snmp6", snmp6_text, NULL},       {"proc/net/dev", dev_text, NULL},
        {"proc/net/route", route_text, NULL},       {"proc/net/ipv6_route", route6_text, NULL},
        {"proc/net/arp", arp_text, NULL},           {"proc/net/if_inet6", inet6_text, NULL},
        {"proc/net/tcp", tcp_text, NULL},           {"proc/net/tcp6", tcp_text, &v6},
        {"proc/net/sockstat", sockstat_text, NULL}, {"proc/net/udp", udp_text, NULL},
        {"proc/net/udp6", udp_text, &v6},           {"proc/net/raw", raw_text, NULL},
        {"proc/net/raw6", raw_text, &v6},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
        procfs_register(files[i].path, 0444, files[i].show, NULL, files[i].arg);
}
