/* The texts below /proc/PID, in Linux's formats (proc(5)). */
#include <linux/resource.h>

#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/proc_pid.h"
#include "linux/signals.h"
#include "linux/tty.h"

typedef unsigned long long ull;

#define PAGE_KB (PAGE_SIZE / 1024)
#define TICK (NSEC_PER_SEC / 100)

static char state_of(const struct process *p, const struct task *t)
{
    if (p->zombie)
        return 'Z';
    if (p->stopped)
        return 'T';
    if (&t->thread == thread_current() || t->thread.state == THREAD_RUNNABLE)
        return 'R';
    /* The kernel's own process has no thread that runs: it waits for orphans to end. */
    return t->thread.interruptible || p == init_process ? 'S' : 'D';
}

struct usage {
    ull size, rss, shared_clean, private_clean, private_dirty, anonymous;
};

static int count_page(uaddr_t va, struct page *page, unsigned prot, void *arg)
{
    struct usage *u = arg;
    (void)va;
    (void)prot;
    if (page == mm_zero_page)
        return 0;
    u->rss++;
    if (page->owner)
        u->shared_clean++; /* the page cache has it too */
    else if (ref_count(&page->refs) == 1)
        u->private_dirty++, u->anonymous++;
    else
        u->shared_clean++, u->anonymous++;
    return 0;
}

static struct usage usage_of(struct mm *mm, const struct region *r)
{
    struct usage u = {.size = (r->end - r->start) >> PAGE_SHIFT};
    spin_lock(&mm->pt_lock);
    aspace_for_each(mm->as, r->start, r->end, count_page, &u);
    spin_unlock(&mm->pt_lock);
    return u;
}

struct memory {
    ull size, rss, text, data, stack, peak, anonymous;
    uaddr_t code_start, code_end, stack_start, brk_start, arg_start, arg_end, env_start, env_end;
    uaddr_t data_start, data_end;
};

static struct memory memory_of(struct process *p)
{
    struct memory m = {0};
    struct mm *mm = proc_mm_get(p);
    if (!mm)
        return m;
    rwlock_read(&mm->lock);
    for (struct region *r = region_find(mm, 0); r; r = region_next(r)) {
        ull pages = (r->end - r->start) >> PAGE_SHIFT;
        m.anonymous += usage_of(mm, r).anonymous;
        if (r->flags & REGION_GROWSDOWN)
            m.stack += pages;
        else if ((r->prot & PROT_X) && r->vnode)
            m.text += pages;
        else if ((r->prot & PROT_W) && !(r->flags & REGION_SHARED))
            m.data += pages;
    }
    m.size = mm->total_pages;
    m.rss = (ull)atomic_load(&mm->rss);
    m.anonymous = MIN(m.anonymous, m.rss);
    m.peak = MAX((ull)atomic_load(&mm->rss_peak), m.rss);
    m.code_start = mm->code_start;
    m.code_end = mm->code_end;
    m.data_start = mm->data_start;
    m.data_end = mm->data_end;
    m.stack_start = mm->stack_start;
    m.brk_start = mm->brk_start;
    m.arg_start = mm->arg_start;
    m.arg_end = mm->arg_end;
    m.env_start = mm->env_start;
    m.env_end = mm->env_end;
    rwlock_read_done(&mm->lock);
    mm_put(mm);
    return m;
}

struct signal_sets {
    sigset_k pending, shared, blocked, ignored, caught;
};

static struct signal_sets signals_of(struct process *p, struct task *t)
{
    struct signal_sets s = {.pending = t->pending, .blocked = t->blocked};
    struct sighand *sh = p->sighand;
    s.shared = sh->pending;
    for (int i = 0; i < SIG_COUNT; i++) {
        if (sh->action[i].handler == SIG_IGN_N)
            s.ignored |= 1ULL << i;
        else if (sh->action[i].handler != SIG_DFL_N)
            s.caught |= 1ULL << i;
    }
    return s;
}

static int parent_pid(struct process *p)
{
    spin_lock_bh(&process_lock);
    int pid = p->parent ? p->parent->pid : 0;
    spin_unlock_bh(&process_lock);
    return pid;
}

void proc_show_stat(struct text_buf *b, void *arg)
{
    struct proc_entry *e = arg;
    struct process *p = e->process;
    struct task *t = e->task;
    struct memory m = memory_of(p);
    struct signal_sets s = signals_of(p, t);
    nsec_t user, system;
    uint32_t tty;
    int foreground;
    process_times(p, &user, &system);
    tty_of_process(p, &tty, &foreground);
    text_printf(b, "%d (%s) %c %d %d %d %u %d 0 %llu %llu %llu %llu ", t->tid, t->comm,
                state_of(p, t), parent_pid(p), p->pgid, p->sid, tty, foreground,
                (ull)(p->min_faults + t->min_faults), (ull)p->child_min_faults,
                (ull)(p->maj_faults + t->maj_faults), (ull)p->child_maj_faults);
    text_printf(b, "%lld %lld %lld %lld %d %d %d 0 %lld %llu %llu %llu ", (long long)(user / TICK),
                (long long)(system / TICK), (long long)(p->child_user_ns / TICK),
                (long long)(p->child_system_ns / TICK),
                t->thread.rt_priority ? -1 - t->thread.rt_priority : 20 + t->thread.nice,
                t->thread.nice, p->task_count, (long long)(p->start_time / TICK),
                m.size * PAGE_SIZE, m.rss, (ull)p->rlimits[RLIMIT_RSS].cur);
    text_printf(b, "%llu %llu %llu 0 0 %llu %llu %llu %llu 0 0 0 %d %d %d %d 0 0 0 ",
                (ull)m.code_start, (ull)m.code_end, (ull)m.stack_start,
                (ull)(s.pending & 0x7fffffff), (ull)(s.blocked & 0x7fffffff),
                (ull)(s.ignored & 0x7fffffff), (ull)(s.caught & 0x7fffffff), p->exit_signal,
                t->thread.cpu, t->thread.rt_priority, t->policy);
    text_printf(b, "%llu %llu %llu %llu %llu %llu %llu %d\n", (ull)m.data_start, (ull)m.data_end,
                (ull)m.brk_start, (ull)m.arg_start, (ull)m.arg_end, (ull)m.env_start,
                (ull)m.env_end, p->zombie ? p->exit_status : 0);
}

void proc_show_statm(struct text_buf *b, void *arg)
{
    struct memory m = memory_of(((struct proc_entry *)arg)->process);
    text_printf(b, "%llu %llu %llu %llu 0 %llu 0\n", m.size, m.rss, m.rss - m.anonymous, m.text,
                m.data + m.stack);
}

static const char *state_name(char state)
{
    switch (state) {
    case 'Z':
        return "zombie";
    case 'T':
        return "stopped";
    case 'R':
        return "running";
    case 'D':
        return "disk sleep";
    }
    return "sleeping";
}

static void show_memory_lines(struct text_buf *b, struct process *p)
{
    struct memory m = memory_of(p);
    if (!m.size)
        return;
    ull code = MIN((ull)(m.code_end - m.code_start) / 1024, m.text * PAGE_KB);
    text_printf(b, "VmPeak:\t%8llu kB\nVmSize:\t%8llu kB\nVmLck:\t%8u kB\nVmPin:\t%8u kB\n",
                m.size * PAGE_KB, m.size * PAGE_KB, 0, 0);
    text_printf(b, "VmHWM:\t%8llu kB\nVmRSS:\t%8llu kB\n", m.peak * PAGE_KB, m.rss * PAGE_KB);
    text_printf(b, "RssAnon:\t%8llu kB\nRssFile:\t%8llu kB\nRssShmem:\t%8u kB\n",
                m.anonymous * PAGE_KB, (m.rss - m.anonymous) * PAGE_KB, 0);
    text_printf(b, "VmData:\t%8llu kB\nVmStk:\t%8llu kB\nVmExe:\t%8llu kB\nVmLib:\t%8llu kB\n",
                m.data * PAGE_KB, m.stack * PAGE_KB, code, m.text * PAGE_KB - code);
    text_printf(b, "VmSwap:\t%8u kB\n", 0);
}

void proc_show_status(struct text_buf *b, void *arg)
{
    struct proc_entry *e = arg;
    struct process *p = e->process;
    struct task *t = e->task;
    const struct cred *c = p->fs.cred;
    struct signal_sets s = signals_of(p, t);
    char state = state_of(p, t);
    text_printf(b, "Name:\t%s\nUmask:\t%04o\nState:\t%c (%s)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\n",
                t->comm, p->fs.umask, state, state_name(state), p->pid, t->tid);
    text_printf(b, "PPid:\t%d\nTracerPid:\t0\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\n",
                parent_pid(p), c->uid, c->euid, c->suid, c->fsuid, c->gid, c->egid, c->sgid,
                c->fsgid);
    text_printf(b, "FDSize:\t256\nGroups:\t");
    for (uint32_t i = 0; i < c->ngroups; i++)
        text_printf(b, "%u ", c->groups[i]);
    text_printf(b, "\nNStgid:\t%d\nNSpid:\t%d\nNSpgid:\t%d\nNSsid:\t%d\n", p->pid, t->tid, p->pgid,
                p->sid);
    show_memory_lines(b, p);
    text_printf(b, "Threads:\t%d\nSigQ:\t%d/%llu\n", p->task_count, p->sighand->queued,
                (ull)p->rlimits[RLIMIT_SIGPENDING].cur);
    text_printf(b, "SigPnd:\t%016llx\nShdPnd:\t%016llx\nSigBlk:\t%016llx\nSigIgn:\t%016llx\n",
                (ull)s.pending, (ull)s.shared, (ull)s.blocked, (ull)s.ignored);
    text_printf(b, "SigCgt:\t%016llx\nCapInh:\t%016llx\nCapPrm:\t%016llx\nCapEff:\t%016llx\n",
                (ull)s.caught, (ull)c->caps_inheritable, (ull)c->caps_permitted,
                (ull)c->caps_effective);
    text_printf(b, "CapBnd:\t%016llx\nCapAmb:\t%016llx\nNoNewPrivs:\t%d\nSeccomp:\t0\n",
                (ull)c->caps_bounding, (ull)c->caps_ambient, p->no_new_privs);
    text_printf(b, "Cpus_allowed:\t%llx\nCpus_allowed_list:\t0", (1ULL << cpu_count) - 1);
    text_printf(b, cpu_count > 1 ? "-%d\n" : "\n", cpu_count - 1);
    text_printf(b, "voluntary_ctxt_switches:\t%llu\nnonvoluntary_ctxt_switches:\t%llu\n",
                (ull)(t->thread.switches - t->thread.preemptions), (ull)t->thread.preemptions);
}

/* --- the address space ------------------------------------------------------------------------ */

static void show_region(struct text_buf *b, const struct region *r, char *path)
{
    uint64_t dev = r->vnode ? r->vnode->attr.dev : 0;
    size_t before = b->len;
    text_printf(b, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ", (ull)r->start, (ull)r->end,
                r->prot & PROT_R ? 'r' : '-', r->prot & PROT_W ? 'w' : '-',
                r->prot & PROT_X ? 'x' : '-', r->flags & REGION_SHARED ? 's' : 'p',
                (ull)(r->vnode ? r->pgoff << PAGE_SHIFT : 0), (unsigned)(dev >> 32), (unsigned)dev,
                (ull)(r->vnode ? r->vnode->attr.ino : 0));
    const char *name = r->name;
    if (r->file) {
        struct path p = file_path(r->file);
        if (p.dentry && vfs_path_text(vfs_root_context(), &p, path, VFS_PATH_MAX) > 0)
            name = path;
    } else if (r->vnode) {
        name = "/dev/zero (deleted)";
    }
    if (name) {
        while (b->len - before < 73 && !b->failed)
            text_printf(b, " ");
        text_printf(b, "%s", name);
    }
    text_printf(b, "\n");
}

static void show_usage(struct text_buf *b, const struct usage *u)
{
    text_printf(b, "Rss:            %8llu kB\nPss:            %8llu kB\n", u->rss * PAGE_KB,
                u->rss * PAGE_KB);
    text_printf(b, "Shared_Clean:   %8llu kB\nShared_Dirty:   %8u kB\n", u->shared_clean * PAGE_KB,
                0);
    text_printf(b, "Private_Clean:  %8llu kB\nPrivate_Dirty:  %8llu kB\n",
                u->private_clean * PAGE_KB, u->private_dirty * PAGE_KB);
    text_printf(b, "Referenced:     %8llu kB\nAnonymous:      %8llu kB\n", u->rss * PAGE_KB,
                u->anonymous * PAGE_KB);
    text_printf(b, "AnonHugePages:  %8u kB\nSwap:           %8u kB\nLocked:         %8u kB\n", 0, 0,
                0);
}

static void show_flags(struct text_buf *b, const struct region *r)
{
    bool shared = r->flags & REGION_SHARED;
    text_printf(b, "VmFlags: %s%s%s%smr %sme %s%s\n", r->prot & PROT_R ? "rd " : "",
                r->prot & PROT_W ? "wr " : "", r->prot & PROT_X ? "ex " : "", shared ? "sh " : "",
                !shared || r->flags & REGION_MAYWRITE ? "mw " : "",
                r->flags & REGION_GROWSDOWN ? "gd " : "", r->flags & REGION_LOCKED ? "lo " : "");
}

static void show_regions(struct text_buf *b, struct process *p, bool detail)
{
    struct mm *mm = proc_mm_get(p);
    char *path = kmalloc(VFS_PATH_MAX);
    if (mm && path) {
        rwlock_read(&mm->lock);
        for (struct region *r = region_find(mm, 0); r; r = region_next(r)) {
            show_region(b, r, path);
            if (!detail)
                continue;
            struct usage u = usage_of(mm, r);
            text_printf(b, "Size:           %8llu kB\nKernelPageSize: %8lu kB\n", u.size * PAGE_KB,
                        PAGE_KB);
            show_usage(b, &u);
            show_flags(b, r);
        }
        rwlock_read_done(&mm->lock);
    }
    kfree(path);
    if (mm)
        mm_put(mm);
}

void proc_show_maps(struct text_buf *b, void *arg)
{
    show_regions(b, ((struct proc_entry *)arg)->process, false);
}

void proc_show_smaps(struct text_buf *b, void *arg)
{
    show_regions(b, ((struct proc_entry *)arg)->process, true);
}

void proc_show_smaps_rollup(struct text_buf *b, void *arg)
{
    struct mm *mm = proc_mm_get(((struct proc_entry *)arg)->process);
    struct usage sum = {0};
    if (!mm)
        return;
    rwlock_read(&mm->lock);
    struct region *first = region_find(mm, 0);
    for (struct region *r = first; r; r = region_next(r)) {
        struct usage u = usage_of(mm, r);
        sum.rss += u.rss;
        sum.shared_clean += u.shared_clean;
        sum.private_dirty += u.private_dirty;
        sum.anonymous += u.anonymous;
    }
    text_printf(b, "%08llx-%08llx ---p 00000000 00:00 0                  [rollup]\n",
                (ull)(first ? first->start : 0), (ull)mm->stack_top);
    rwlock_read_done(&mm->lock);
    show_usage(b, &sum);
    mm_put(mm);
}

/* --- what the program was started with -------------------------------------------------------- */

#define TEXT_LIMIT (128UL << 10)

/* Appends bytes, which may be NULs, of the program's memory. */
static void show_user_range(struct text_buf *b, struct mm *mm, uaddr_t start, uaddr_t end)
{
    char *chunk = kmalloc(PAGE_SIZE);
    size_t left = end > start ? MIN(end - start, TEXT_LIMIT) : 0;
    while (chunk && left) {
        size_t n = mm_access(mm, start, chunk, MIN(left, PAGE_SIZE), false);
        for (size_t i = 0; i < n; i++)
            text_printf(b, "%c", chunk[i]);
        if (!n || b->failed)
            break;
        start += n;
        left -= n;
    }
    kfree(chunk);
}

void proc_show_cmdline(struct text_buf *b, void *arg)
{
    struct mm *mm = proc_mm_get(((struct proc_entry *)arg)->process);
    if (!mm)
        return;
    uaddr_t end = mm->arg_end;
    char last = 0;
    /* A program that wrote a longer title over its arguments and environment: up to its NUL. */
    if (end > mm->arg_start && mm_access(mm, end - 1, &last, 1, false) == 1 && last) {
        end = mm->env_end;
        size_t size = MIN(end - mm->arg_start, PAGE_SIZE);
        char *title = kmalloc(size);
        if (title) {
            size_t n = mm_access(mm, mm->arg_start, title, size, false);
            end = mm->arg_start + strnlen(title, n);
            kfree(title);
        }
    }
    show_user_range(b, mm, mm->arg_start, end);
    mm_put(mm);
}

void proc_show_environ(struct text_buf *b, void *arg)
{
    struct mm *mm = proc_mm_get(((struct proc_entry *)arg)->process);
    if (!mm)
        return;
    show_user_range(b, mm, mm->env_start, mm->env_end);
    mm_put(mm);
}

void proc_show_auxv(struct text_buf *b, void *arg)
{
    struct mm *mm = proc_mm_get(((struct proc_entry *)arg)->process);
    if (!mm)
        return;
    size_t words = 2;
    while (words < MM_AUXV_MAX && mm->auxv[words - 2])
        words += 2;
    for (size_t i = 0; i < words * 8; i++)
        text_printf(b, "%c", ((const char *)mm->auxv)[i]);
    mm_put(mm);
}

static void show_limit(struct text_buf *b, uint64_t value)
{
    if (value == RLIM64_INFINITY)
        text_printf(b, "%-21s", "unlimited");
    else
        text_printf(b, "%-21llu", (ull)value);
}

void proc_show_limits(struct text_buf *b, void *arg)
{
    static const struct {
        const char *name, *unit;
    } names[RLIMIT_COUNT] = {
        [RLIMIT_CPU] = {"Max cpu time", "seconds"},
        [RLIMIT_FSIZE] = {"Max file size", "bytes"},
        [RLIMIT_DATA] = {"Max data size", "bytes"},
        [RLIMIT_STACK] = {"Max stack size", "bytes"},
        [RLIMIT_CORE] = {"Max core file size", "bytes"},
        [RLIMIT_RSS] = {"Max resident set", "bytes"},
        [RLIMIT_NPROC] = {"Max processes", "processes"},
        [RLIMIT_NOFILE] = {"Max open files", "files"},
        [RLIMIT_MEMLOCK] = {"Max locked memory", "bytes"},
        [RLIMIT_AS] = {"Max address space", "bytes"},
        [RLIMIT_LOCKS] = {"Max file locks", "locks"},
        [RLIMIT_SIGPENDING] = {"Max pending signals", "signals"},
        [RLIMIT_MSGQUEUE] = {"Max msgqueue size", "bytes"},
        [RLIMIT_NICE] = {"Max nice priority", ""},
        [RLIMIT_RTPRIO] = {"Max realtime priority", ""},
        [RLIMIT_RTTIME] = {"Max realtime timeout", "us"},
    };
    const struct process *p = ((struct proc_entry *)arg)->process;
    text_printf(b, "%-26s%-21s%-21s%s\n", "Limit", "Soft Limit", "Hard Limit", "Units     ");
    for (int i = 0; i < RLIMIT_COUNT; i++) {
        text_printf(b, "%-26s", names[i].name);
        show_limit(b, p->rlimits[i].cur);
        show_limit(b, p->rlimits[i].max);
        text_printf(b, "%-10s\n", names[i].unit);
    }
}
