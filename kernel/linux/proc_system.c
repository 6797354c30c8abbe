/* The files of /proc that speak of all processes together: loadavg, vmstat, the rest of stat. */
#include "core/irq.h"
#include "core/mem.h"
#include "core/thread.h"
#include "core/timer.h"
#include "fs/vfs.h"
#include "linux/proc.h"
#include "linux/proc_pid.h"

typedef unsigned long long ull;

/* Tasks that want a CPU, those that wait for something that will come, and all. */
struct task_counts {
    int running, blocked, all;
};

static struct task_counts count_tasks(void)
{
    struct task_counts n = {0};
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        struct task *t;
        if (p->zombie)
            continue;
        list_for_each (t, &p->tasks, group_link) {
            bool runs = t->thread.state == THREAD_RUNNABLE || &t->thread == thread_current();
            n.all++;
            n.running += runs;
            n.blocked += !runs && !t->thread.interruptible && !p->stopped;
        }
    }
    spin_unlock_bh(&process_lock);
    return n;
}

static bool add_irq(const struct irq *irq, void *arg)
{
    *(ull *)arg += irq->count;
    return true;
}

static void show_stat_rest(struct text_buf *b)
{
    struct task_counts n = count_tasks();
    ull interrupts = 0, switches = 0;
    irq_for_each(add_irq, &interrupts);
    for (int cpu = 0; cpu < cpu_count; cpu++)
        switches += cpu_switches(cpu);
    text_printf(b, "intr %llu\nctxt %llu\nprocesses %llu\nprocs_running %d\nprocs_blocked %d\n",
                interrupts, switches, (ull)process_numbers_given(), n.running, n.blocked);
    text_printf(b, "softirq 0 0 0 0 0 0 0 0 0 0 0\n"); /* bottom halves are not counted */
}

/*
 * Load averages. No tick samples the run queues here, so the load is the CPUs' busy share, averaged
 * exponentially over 1, 5 and 15 minutes in steps of 5 s as of the last look: at most the number of
 * CPUs. Fixed point, 11 bits.
 */
#define LOAD_SHIFT 11
#define LOAD_ONE (1ull << LOAD_SHIFT)
#define LOAD_STEP (5 * NSEC_PER_SEC)

static struct {
    struct mutex lock;
    nsec_t at, busy; /* as of the last look */
    uint64_t average[3];
} load;

static nsec_t busy_time(void)
{
    nsec_t user, system, idle, sum = 0;
    for (int cpu = 0; cpu < cpu_count; cpu++) {
        cpu_times(cpu, &user, &system, &idle);
        sum += user + system;
    }
    return sum;
}

/* factor^n, both in fixed point. */
static uint64_t power(uint64_t factor, uint64_t n)
{
    uint64_t result = LOAD_ONE;
    for (; n && factor; n >>= 1) {
        if (n & 1)
            result = result * factor >> LOAD_SHIFT;
        factor = factor * factor >> LOAD_SHIFT;
    }
    return result;
}

static void update_load(void)
{
    /* e^(-5/60), e^(-5/300), e^(-5/900) */
    static const uint64_t keep[3] = {1884, 2014, 2037};
    nsec_t now = time_now(), busy = busy_time();
    uint64_t steps = (uint64_t)((now - load.at) / LOAD_STEP);
    if (!steps)
        return;
    uint64_t share = (uint64_t)((busy - load.busy) >> 10 << LOAD_SHIFT) /
                     (uint64_t)MAX((now - load.at) >> 10, 1);
    for (int i = 0; i < 3; i++) {
        uint64_t kept = power(keep[i], steps);
        load.average[i] = (load.average[i] * kept + share * (LOAD_ONE - kept)) >> LOAD_SHIFT;
    }
    load.at = now;
    load.busy = busy;
}

static void show_loadavg(struct text_buf *b, void *arg)
{
    (void)arg;
    struct task_counts n = count_tasks();
    mutex_lock(&load.lock);
    update_load();
    for (int i = 0; i < 3; i++) {
        ull hundredths = (load.average[i] * 100 + LOAD_ONE / 2) >> LOAD_SHIFT;
        text_printf(b, "%llu.%02llu ", hundredths / 100, hundredths % 100);
    }
    mutex_unlock(&load.lock);
    text_printf(b, "%d/%d %d\n", n.running, n.all, process_last_number());
}

/* There is no swap, and volumes are no block devices. */
static void show_vmstat(struct text_buf *b, void *arg)
{
    (void)arg;
    struct mem_stats m;
    mem_stats(&m);
    text_printf(b,
                "nr_free_pages %llu\nnr_file_pages %llu\npgpgin 0\npgpgout 0\npswpin 0\n"
                "pswpout 0\n",
                (ull)m.free_pages, (ull)page_cache_total());
}

static void show_threads_max(struct text_buf *b, void *arg)
{
    (void)arg;
    text_printf(b, "%d\n", PID_MAX);
}

static void show_nothing(struct text_buf *b, void *arg)
{
    (void)b;
    (void)arg;
}

void proc_system_init(void)
{
    static const struct {
        const char *path;
        text_fn show;
    } files[] = {
        {"proc/loadavg", show_loadavg},
        {"proc/vmstat", show_vmstat},
        {"proc/diskstats", show_nothing},
        {"proc/partitions", show_nothing},
        {"proc/sys/kernel/threads-max", show_threads_max},
    };
    mutex_init(&load.lock);
    procfs_stat_rest = show_stat_rest;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++)
        procfs_register(files[i].path, 0444, files[i].show, NULL, NULL);
}
