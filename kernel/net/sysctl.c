/*
 * What programs may tune: /proc/sys/net, over struct net_tunables and TCP's own settings. A
 * write is one or more numbers separated by blanks, as many as the file holds, each within its
 * bounds.
 */
#include "fs/vfs.h"
#include "net/socket.h"
#include "net/stats.h"
#include "net/tcp.h"

enum kind { U8, BOOL, U16, U32, INT };

struct tunable {
    const char *path;
    void *value;
    enum kind kind;
    int count;
    uint32_t min, max;
};

/* What cannot be changed is told as it is, and can be set to what it is. */
static bool never, always = true;

#define T net_tunables
static const struct tunable tunables[] = {
    {"proc/sys/net/core/somaxconn", &T.somaxconn, U32, 1, 0, 65535},
    {"proc/sys/net/core/rmem_max", &T.rmem_max, U32, 1, 2304, 0x3fffffff},
    {"proc/sys/net/core/wmem_max", &T.wmem_max, U32, 1, 4608, 0x3fffffff},
    {"proc/sys/net/core/rmem_default", &T.rmem_default, U32, 1, 2304, 0x3fffffff},
    {"proc/sys/net/core/wmem_default", &T.wmem_default, U32, 1, 4608, 0x3fffffff},
    {"proc/sys/net/ipv4/ip_local_port_range", &T.port_min, U16, 2, 1, 65535},
    {"proc/sys/net/ipv4/tcp_rmem", T.rmem, U32, 3, 2304, 0x3fffffff},
    {"proc/sys/net/ipv4/tcp_wmem", T.wmem, U32, 3, 4096, 0x3fffffff},
    {"proc/sys/net/ipv4/tcp_max_syn_backlog", &T.syn_backlog, U32, 1, 1, 1 << 20},
    {"proc/sys/net/ipv4/tcp_fin_timeout", &T.fin_timeout_s, INT, 1, 1, 3600},
    {"proc/sys/net/ipv4/tcp_keepalive_time", &T.keepalive_time_s, INT, 1, 1, 32767},
    {"proc/sys/net/ipv4/tcp_keepalive_intvl", &T.keepalive_intvl_s, INT, 1, 1, 32767},
    {"proc/sys/net/ipv4/tcp_keepalive_probes", &T.keepalive_probes, INT, 1, 1, 127},
    {"proc/sys/net/ipv4/tcp_syn_retries", &T.syn_retries, INT, 1, 1, 127},
    {"proc/sys/net/ipv4/tcp_synack_retries", &T.synack_retries, INT, 1, 0, 255},
    {"proc/sys/net/ipv4/tcp_retries2", &T.retries2, INT, 1, 0, 255},
    {"proc/sys/net/ipv4/tcp_orphan_retries", &T.orphan_retries, INT, 1, 0, 255},
    {"proc/sys/net/ipv4/tcp_max_tw_buckets", &T.max_tw_buckets, U32, 1, 0, INT32_MAX},
    {"proc/sys/net/ipv4/tcp_notsent_lowat", &T.notsent_lowat, U32, 1, 0, UINT32_MAX},
    {"proc/sys/net/ipv4/tcp_slow_start_after_idle", &T.slow_start_after_idle, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_moderate_rcvbuf", &T.moderate_rcvbuf, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_mtu_probing", &T.mtu_probing, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/ip_unprivileged_port_start", &T.unprivileged_port_start, U16, 1, 0, 65535},
    {"proc/sys/net/ipv4/tcp_syncookies", &T.syncookies, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_timestamps", &T.timestamps, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_sack", &T.sack, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_window_scaling", &T.window_scaling, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_tw_reuse", &T.tw_reuse, U8, 1, 0, 2},
    {"proc/sys/net/ipv4/tcp_ecn", &T.ecn, U8, 1, 0, 2},
    {"proc/sys/net/ipv4/ip_default_ttl", &T.default_ttl, U8, 1, 1, 255},
    {"proc/sys/net/ipv4/icmp_echo_ignore_all", &T.icmp_echo_ignore_all, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv6/bindv6only", &T.bindv6only, BOOL, 1, 0, 1},
    {"proc/sys/net/ipv4/tcp_dsack", &always, BOOL, 1, 1, 1},
    {"proc/sys/net/ipv4/tcp_rfc1337", &always, BOOL, 1, 1, 1},
    {"proc/sys/net/ipv4/tcp_fastopen", &never, BOOL, 1, 0, 0},
    {"proc/sys/net/ipv4/tcp_abort_on_overflow", &never, BOOL, 1, 0, 0},
    {"proc/sys/net/ipv4/ip_nonlocal_bind", &never, BOOL, 1, 0, 0},
    /* This is a host with IPv6, not a router. */
    {"proc/sys/net/ipv4/ip_forward", &never, BOOL, 1, 0, 0},
    {"proc/sys/net/ipv4/conf/all/forwarding", &never, BOOL, 1, 0, 0},
    {"proc/sys/net/ipv6/conf/all/forwarding", &never, BOOL, 1, 0, 0},
    {"proc/sys/net/ipv6/conf/all/disable_ipv6", &never, BOOL, 1, 0, 0},
    {"proc/sys/net/ipv6/conf/default/disable_ipv6", &never, BOOL, 1, 0, 0},
};
#undef T

static uint32_t get(const struct tunable *t, int i)
{
    switch (t->kind) {
    case U8:
        return ((const uint8_t *)t->value)[i];
    case BOOL:
        return ((const bool *)t->value)[i];
    case U16:
        return ((const uint16_t *)t->value)[i];
    default:
        return ((const uint32_t *)t->value)[i]; /* int: never negative */
    }
}

static void set(const struct tunable *t, int i, uint32_t v)
{
    switch (t->kind) {
    case U8:
        ((uint8_t *)t->value)[i] = (uint8_t)v;
        break;
    case BOOL:
        ((bool *)t->value)[i] = v != 0;
        break;
    case U16:
        ((uint16_t *)t->value)[i] = (uint16_t)v;
        break;
    default:
        ((uint32_t *)t->value)[i] = v;
    }
}

static void show(struct text_buf *b, void *arg)
{
    const struct tunable *t = arg;

    for (int i = 0; i < t->count; i++)
        text_printf(b, "%s%u", i ? "\t" : "", get(t, i));
    text_printf(b, "\n");
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static int store(const char *text, void *arg)
{
    const struct tunable *t = arg;
    uint32_t values[3];
    int n = 0;

    for (;;) {
        while (blank(*text))
            text++;
        if (!*text)
            break;
        uint64_t v = 0;
        if (n == t->count)
            return -EINVAL;
        for (; *text && !blank(*text); text++) {
            if (*text < '0' || *text > '9' || v > UINT32_MAX)
                return -EINVAL;
            v = v * 10 + (uint64_t)(*text - '0');
        }
        if (v < t->min || v > t->max || (n && v < values[n - 1]))
            return -EINVAL; /* ranges and triples ascend */
        values[n++] = (uint32_t)v;
    }
    if (n != t->count)
        return -EINVAL;
    for (int i = 0; i < n; i++)
        set(t, i, values[i]);
    return 0;
}

/* --- congestion control ----------------------------------------------------------------------- */

static void show_congestion(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "%s\n", tcp_cc_default->name);
}

static int store_congestion(const char *text, void *arg)
{
    size_t len = strlen(text);

    (void)arg;
    while (len && blank(text[len - 1]))
        len--;
    const struct tcp_cc *cc = tcp_cc_find(text, len);
    if (!cc)
        return -ENOENT;
    WRITE_ONCE(tcp_cc_default, cc);
    return 0;
}

static void show_available(struct text_buf *b, void *arg)
{
    const char *name;

    (void)arg;
    for (unsigned id = 0; (name = tcp_cc_name(id)); id++)
        text_printf(b, "%s%s", id ? " " : "", name);
    text_printf(b, "\n");
}

/* Pages: pressure from half of the limit on; it follows from the machine's memory. */
static void show_memory(struct text_buf *b, void *arg)
{
    uint64_t pages = tcp_memory_limit / PAGE_SIZE;

    (void)arg;
    text_printf(b, "%llu\t%llu\t%llu\n", (unsigned long long)pages / 2,
                (unsigned long long)pages / 2, (unsigned long long)pages);
}

void net_sysctl_init(void)
{
    procfs_register("proc/sys/net/ipv4/tcp_congestion_control", 0644, show_congestion,
                    store_congestion, NULL);
    procfs_register("proc/sys/net/ipv4/tcp_available_congestion_control", 0444, show_available,
                    NULL, NULL);
    procfs_register("proc/sys/net/ipv4/tcp_allowed_congestion_control", 0444, show_available, NULL,
                    NULL);
    procfs_register("proc/sys/net/ipv4/tcp_mem", 0444, show_memory, NULL, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(tunables); i++)
        procfs_register(tunables[i].path, 0644, show, store, (void *)(uintptr_t)&tunables[i]);
}
