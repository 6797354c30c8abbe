/*
 * Counters of the stack, one set per CPU, listed in net/stats.def. Shown in /proc/net/snmp, snmp6
 * and netstat.
 */
#ifndef NET_STATS_H
#define NET_STATS_H

#include "core/lock.h"
#include "core/thread.h"

enum net_stat {
#define NET_STAT(group, name) NET_##group##_##name,
#include "net/stats.def"
#undef NET_STAT
    NET_STAT_COUNT
};

struct net_stats_cpu {
    uint64_t n[NET_STAT_COUNT];
} __attribute__((aligned(64)));
extern struct net_stats_cpu net_stats_cpus[MAX_CPUS];

/* Adds to a counter. Exact with bottom halves disabled; elsewhere an update may rarely be lost. */
static inline void net_count_n(enum net_stat stat, uint64_t n)
{
    net_stats_cpus[cpu_id()].n[stat] += n;
}
static inline void net_count(enum net_stat stat)
{
    net_count_n(stat, 1);
}

/* The sum over all CPUs. */
uint64_t net_stat_read(enum net_stat stat);
/* "group" and "name" of a counter. */
const char *net_stat_group(enum net_stat stat);
const char *net_stat_name(enum net_stat stat);

/* Registers /proc/net/snmp, snmp6, netstat, dev, route, arp, if_inet6, tcp, tcp6, udp, udp6. */
void net_proc_init(void);
/* Registers /proc/sys/net (net/sysctl.c). */
void net_sysctl_init(void);

#endif
