/* The domain's counters as JSON: the control channel's STATS. */
#include <linux/auxvec.h>

#include "core/mem.h"
#include "core/thread.h"
#include "core/timer.h"
#include "linux/control.h"
#include "linux/mm.h"
#include "linux/proc_pid.h"
#include "linux/process.h"
#include "net/netif.h"

static void add_memory(struct text_buf *b)
{
    struct mem_stats m;
    mem_stats(&m);
    text_printf(b, "\"memory\":{\"total\":%lu,\"free\":%lu,\"slab\":%lu,\"cache\":%lu}",
                m.total_pages * PAGE_SIZE, m.free_pages * PAGE_SIZE, m.slab_pages * PAGE_SIZE,
                page_cache_total() * PAGE_SIZE);
}

static void add_cpus(struct text_buf *b)
{
    text_printf(b, "\"cpus\":[");
    for (int i = 0; i < cpu_count; i++) {
        nsec_t user, system, idle;
        cpu_times(i, &user, &system, &idle);
        text_printf(b, "%s{\"user_ns\":%ld,\"system_ns\":%ld,\"idle_ns\":%ld}", i ? "," : "", user,
                    system, idle);
    }
    text_printf(b, "]");
}

/* Names come from programs: only what needs no escape is passed on. */
static void add_name(struct text_buf *b, const char *name)
{
    text_printf(b, "\"");
    for (; *name; name++)
        text_printf(b, "%c",
                    *name >= 0x20 && *name < 0x7f && *name != '"' && *name != '\\' ? *name : '?');
    text_printf(b, "\"");
}

/* The program's file, and where its entry is in memory: what a debugger needs. */
static void add_program(struct text_buf *b, struct process *p, char *path)
{
    struct mm *mm = proc_mm_get(p);
    uint64_t entry = 0;
    for (int i = 0; mm && i + 1 < MM_AUXV_MAX && mm->auxv[i] != AT_NULL; i += 2)
        entry = mm->auxv[i] == AT_ENTRY ? mm->auxv[i + 1] : entry;
    if (mm)
        mm_put(mm);
    mutex_lock(&p->fs_lock);
    struct path at = p->exe_file ? file_path(p->exe_file) : (struct path){NULL, NULL};
    bool known = at.dentry && vfs_path_text(vfs_root_context(), &at, path, VFS_PATH_MAX) > 0;
    mutex_unlock(&p->fs_lock);
    if (!known || !entry)
        return;
    text_printf(b, ",\"entry\":%lu,\"exe\":", entry);
    add_name(b, path);
}

static void add_processes(struct text_buf *b)
{
    struct process *p;
    bool first = true;
    char *path = kmalloc(VFS_PATH_MAX);
    text_printf(b, "\"processes\":[");
    for (int from = 2; (p = process_next(from)); process_put(p)) {
        from = p->pid + 1;
        char name[sizeof(p->leader->comm)] = "?";
        spin_lock_bh(&process_lock); /* execve may change the leader */
        if (p->leader)
            str_copy(name, p->leader->comm, sizeof(name));
        spin_unlock_bh(&process_lock);
        text_printf(b, "%s{\"pid\":%d,\"tasks\":%d,\"name\":", first ? "" : ",", p->pid,
                    p->task_count);
        add_name(b, name);
        if (path)
            add_program(b, p, path);
        text_printf(b, "}");
        first = false;
    }
    kfree(path);
    text_printf(b, "]");
}

static const char *path_name(const struct net_path *path)
{
    static const char *const names[] = {
        [PATH_LOOPBACK] = "loopback", [PATH_DIRECT] = "direct", [PATH_SERVER] = "server"};

    return path ? names[path->kind] : "none";
}

static bool add_netif(struct netif *n, void *arg)
{
    struct text_buf *b = arg;
    struct path_stats s = {0};
    struct net_path *path = n->path;
    if (path)
        path->ops->stats(path, &s);
    text_printf(b,
                "%s{\"name\":\"%s\",\"path\":\"%s\",\"shared\":%s,\"rx_packets\":%lu,\"rx_bytes\":%"
                "lu,\"tx_packets\":%lu,"
                "\"tx_bytes\":%lu,\"rx_dropped\":%lu,\"tx_dropped\":%lu,\"doorbells\":%lu,"
                "\"interrupts\":%lu}",
                n->index > 1 ? "," : "", n->name, path_name(path), n->shared ? "true" : "false",
                s.rx_packets, s.rx_bytes, s.tx_packets, s.tx_bytes, s.rx_dropped,
                s.tx_dropped + n->tx_dropped, s.doorbells, s.interrupts);
    return true;
}

char *control_stats(size_t *len)
{
    struct text_buf b = {0};
    text_printf(&b, "{\"uptime_ns\":%ld,", time_now());
    add_memory(&b);
    text_printf(&b, ",");
    add_cpus(&b);
    text_printf(&b, ",");
    add_processes(&b);
    text_printf(&b, ",\"interfaces\":[");
    netif_for_each(add_netif, &b);
    text_printf(&b, "]}");
    if (b.failed) {
        kfree(b.data);
        return NULL;
    }
    *len = b.len;
    return b.data;
}
