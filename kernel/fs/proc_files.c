/* The files of /proc and /sys that speak of the system as a whole. */
#include "core/bootargs.h"
#include "core/irq.h"
#include "core/rand.h"
#include "core/thread.h"
#include "core/timer.h"
#include "fs/internal.h"

#define USER_HZ 100
#define FILE_MAX "1048576"
#define KIB_PER_PAGE (PAGE_SIZE / 1024)

typedef unsigned long long ull;

static void show_meminfo(struct text_buf *b, void *arg)
{
    (void)arg;
    struct mem_stats m;
    mem_stats(&m);
    /* Nothing here ages: pages in use are active. */
    uint64_t used = m.total_pages - m.free_pages, cached = page_cache_total();
    uint64_t programs = used - MIN(used, cached + m.slab_pages);
    const struct {
        const char *name;
        uint64_t pages;
    } rows[] = {
        {"MemTotal", m.total_pages},
        {"MemFree", m.free_pages},
        {"MemAvailable", m.free_pages},
        {"Buffers", 0},
        {"Cached", cached},
        {"SwapCached", 0},
        {"Active", used - MIN(used, m.slab_pages)},
        {"Inactive", 0},
        {"SwapTotal", 0},
        {"SwapFree", 0},
        {"AnonPages", programs},
        {"Shmem", cached},
        {"Slab", m.slab_pages},
        {"SReclaimable", 0},
        {"SUnreclaim", m.slab_pages},
        {"CommitLimit", m.total_pages},
        {"HugePages_Total", 0},
        {"Hugepagesize", 2048 / KIB_PER_PAGE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char label[32];
        snprintf(label, sizeof(label), "%s:", rows[i].name);
        if (!strncmp(rows[i].name, "HugePages_", 10))
            text_printf(b, "%-16s%8llu\n", label, (ull)rows[i].pages);
        else
            text_printf(b, "%-16s%8llu kB\n", label, (ull)rows[i].pages * KIB_PER_PAGE);
    }
}

static void show_file_counts(struct text_buf *b, void *arg)
{
    (void)arg;
    size_t all, idle;
    file_counts(&all, &idle);
    text_printf(b, "%zu\t%zu\t" FILE_MAX "\n", all, idle);
}

static void show_uptime(struct text_buf *b, void *arg)
{
    (void)arg;
    nsec_t user, system, idle, all_idle = 0;
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        cpu_times(cpu, &user, &system, &idle);
        all_idle += idle;
    }
    ull up = time_now() / (NSEC_PER_SEC / 100), still = all_idle / (NSEC_PER_SEC / 100);
    text_printf(b, "%llu.%02llu %llu.%02llu\n", up / 100, up % 100, still / 100, still % 100);
}

static void show_cpu_times(struct text_buf *b, const char *name, nsec_t user, nsec_t system,
                           nsec_t idle)
{
    const nsec_t tick = NSEC_PER_SEC / USER_HZ;
    text_printf(b, "%s %llu 0 %llu %llu 0 0 0 0 0 0\n", name, (ull)(user / tick),
                (ull)(system / tick), (ull)(idle / tick));
}

static void show_stat(struct text_buf *b, void *arg)
{
    (void)arg;
    nsec_t user, system, idle, all[3] = {0};
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        cpu_times(cpu, &user, &system, &idle);
        all[0] += user;
        all[1] += system;
        all[2] += idle;
    }
    show_cpu_times(b, "cpu ", all[0], all[1], all[2]);
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        char name[16];
        snprintf(name, sizeof(name), "cpu%d", cpu);
        cpu_times(cpu, &user, &system, &idle);
        show_cpu_times(b, name, user, system, idle);
    }
    text_printf(b, "btime %llu\n", (ull)((time_realtime() - time_now()) / NSEC_PER_SEC));
    if (procfs_stat_rest)
        procfs_stat_rest(b);
}

static void show_cpuinfo(struct text_buf *b, void *arg)
{
    (void)arg;
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        text_printf(b, "processor\t: %d\n", cpu);
        if (procfs_cpuinfo)
            procfs_cpuinfo(b, cpu);
        text_printf(b, "\n");
    }
}

static bool show_irq(const struct irq *irq, void *arg)
{
    text_printf(arg, "%4d: %10llu  cpu%d  %s\n", irq->vector, (ull)irq->count, irq->cpu,
                irq->name ? irq->name : "-");
    return true;
}

static void show_interrupts(struct text_buf *b, void *arg)
{
    (void)arg;
    irq_for_each(show_irq, b);
}

static bool show_slab(const char *name, size_t size, size_t used, void *arg)
{
    text_printf(arg, "%-20s %8zu %8zu %6zu\n", name, used, used, size);
    return true;
}

static void show_slabinfo(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "slabinfo - version: 2.1\n"
                   "# name            <active_objs> <num_objs> <objsize>\n");
    slab_for_each(show_slab, b);
}

static void show_cpu_range(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, cpu_count > 1 ? "0-%d\n" : "%d\n", cpu_count - 1);
}

static void show_boot_id(struct text_buf *b, void *arg)
{
    const uint8_t *u = arg;
    for (int i = 0; i < 16; i++)
        text_printf(b, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
    text_printf(b, "\n");
}

static void show_text(struct text_buf *b, void *arg)
{
    text_printf(b, "%s\n", (const char *)arg);
}

static void show_constant(struct text_buf *b, void *arg)
{
    text_printf(b, "%llu\n", *(ull *)arg);
}

static int store_constant(const char *text, void *arg)
{
    uint64_t value;
    int err = parse_u64(text, &value);
    return !err && value != *(uint64_t *)arg ? -EINVAL : err;
}

/* Memory is promised as programs ask for it, and found when it is touched: that is mode 1, and
 * there is no other. What cannot be changed may be "set" to what it is: start-up scripts do that.
 */
static const struct {
    const char *path;
    uint64_t value;
} constants[] = {
    {"proc/sys/vm/overcommit_memory", 1},
    {"proc/sys/vm/overcommit_ratio", 50},
    {"proc/sys/vm/swappiness", 0},
};

static const struct {
    const char *path, *text;
} fixed[] = {
    {"proc/filesystems", "nodev\ttmpfs\nnodev\tproc\nnodev\tsysfs\nnodev\tdevtmpfs"},
    {"proc/devices", "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n  5 "
                     "/dev/ptmx\n136 pts\n\nBlock devices:"},
    {"proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"},
    {"proc/sys/fs/aio-max-nr", "65536"},
    {"proc/sys/fs/file-max", FILE_MAX},
    {"proc/sys/fs/epoll/max_user_watches", "1048576"},
    {"proc/sys/fs/inotify/max_queued_events", "16384"},
    {"proc/sys/fs/inotify/max_user_instances", "128"},
    {"proc/sys/fs/inotify/max_user_watches", "65536"},
    {"proc/sys/fs/nr_open", "1048576"},
    {"proc/sys/fs/pipe-max-size", "1048576"},
    {"proc/sys/kernel/overflowgid", "65534"},
    {"proc/sys/kernel/overflowuid", "65534"},
    {"proc/sys/kernel/random/entropy_avail", "256"},
    {"proc/sys/kernel/random/poolsize", "256"},
    {"proc/sys/kernel/rtsig-max", "1024"},
    {"proc/sys/kernel/version", "#1 SMP"},
    {"proc/sys/vm/mmap_min_addr", "65536"},
    {"proc/version", "Linux version 6.1.0-librettos (LibrettOS) #1 SMP"},
    {"sys/devices/system/node/online", "0"},
    {"sys/devices/system/node/possible", "0"},
    {"sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"},
};

static uint8_t boot_id[16];

static const struct {
    const char *path;
    text_fn show;
    void *arg;
} made[] = {
    {"proc/cpuinfo", show_cpuinfo, NULL},
    {"proc/interrupts", show_interrupts, NULL},
    {"proc/locks", locks_show, NULL},
    {"proc/meminfo", show_meminfo, NULL},
    {"proc/mounts", vfs_show_mounts, NULL},
    {"proc/slabinfo", show_slabinfo, NULL},
    {"proc/stat", show_stat, NULL},
    {"proc/sys/fs/file-nr", show_file_counts, NULL},
    {"proc/sys/kernel/random/boot_id", show_boot_id, boot_id},
    {"proc/uptime", show_uptime, NULL},
    {"sys/devices/system/cpu/online", show_cpu_range, NULL},
    {"sys/devices/system/cpu/possible", show_cpu_range, NULL},
    {"sys/devices/system/cpu/present", show_cpu_range, NULL},
};

void proc_files_init(void)
{
    int err = 0;
    rand_bytes(boot_id, sizeof(boot_id)); /* RFC 9562, version 4 */
    boot_id[6] = (boot_id[6] & 0x0f) | 0x40;
    boot_id[8] = (boot_id[8] & 0x3f) | 0x80;
    for (size_t i = 0; i < ARRAY_SIZE(fixed) && !err; i++)
        err =
            procfs_register(fixed[i].path, 0444, show_text, NULL, (void *)(uintptr_t)fixed[i].text);
    for (size_t i = 0; i < ARRAY_SIZE(made) && !err; i++)
        err = procfs_register(made[i].path, 0444, made[i].show, NULL, made[i].arg);
    for (size_t i = 0; i < ARRAY_SIZE(constants) && !err; i++)
        err = procfs_register(constants[i].path, 0644, show_constant, store_constant,
                              (void *)(uintptr_t)&constants[i].value);
    for (int cpu = 0; cpu < cpu_count && !err; cpu++) {
        char path[64];
        snprintf(path, sizeof(path), "sys/devices/system/cpu/cpu%d/online", cpu);
        err = procfs_register(path, 0444, show_text, NULL, "1");
    }
    if (err)
        klog(LOG_ERROR, "cannot make the files of /proc: error %d", err);
}
