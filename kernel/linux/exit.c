/*
 * How tasks and processes end.
 *
 * Each task leaves by itself, on its way back to user mode or from exit(2); the last one of a
 * process gives back what they shared, hands the children to a new parent and becomes a zombie that
 * wait(2) reaps. A zombie keeps its number, its leader's name and its times; nothing else.
 */
#include "linux/sysv_ipc.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"
#include "linux/trace.h"
#include "linux/tty.h"

void vfork_release(struct process *p)
{
    if (p->vfork_done)
        return;
    WRITE_ONCE(p->vfork_done, true);
    wake_up(&p->vfork_wait);
}

/* Who takes in orphans of p: the nearest living ancestor that asked to, else pid 1. */
static struct process *reaper_of(struct process *p)
{
    for (struct process *a = p->parent; a && a != init_process; a = a->parent) {
        if (a->child_subreaper && !a->exiting && !a->zombie)
            return a;
    }
    return init_process;
}

void process_reap_locked(struct process *p)
{
    list_remove(&p->sibling);
    process_unhash_locked(p);
    p->parent = NULL;
}

/* A process group without a parent outside it in the session is orphaned: its stopped members would
 * stay so for ever (POSIX 3.262). */
static bool group_orphaned_locked(int pgid, const struct process *ignore)
{
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->pgid != pgid || p->zombie || p == ignore || !p->parent || p->parent == init_process)
            continue;
        if (p->parent->pgid != pgid && p->parent->sid == p->sid)
            return false;
    }
    return true;
}

bool process_group_orphaned(const struct process *p)
{
    spin_lock_bh(&process_lock);
    bool orphaned = group_orphaned_locked(p->pgid, NULL);
    spin_unlock_bh(&process_lock);
    return orphaned;
}

static void hang_up_orphaned_group_locked(int pgid, const struct process *ignore)
{
    bool stopped = false;
    if (!group_orphaned_locked(pgid, ignore))
        return;
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p))
        stopped |= p->pgid == pgid && !p->zombie && p != ignore && p->stopped;
    if (!stopped)
        return;
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->pgid == pgid && !p->zombie) {
            signal_send_locked(p, NULL, SIGHUP_N, NULL);
            signal_send_locked(p, NULL, SIGCONT_N, NULL);
        }
    }
}

/* Takes zombies that nobody will wait for off the table; they are put on `dead`. */
static void reparent_children(struct process *p, struct list *dead)
{
    struct process *reaper = reaper_of(p), *c, *tmp;
    list_for_each_safe (c, tmp, &p->children, sibling) {
        list_remove(&c->sibling);
        c->parent = reaper;
        c->exit_signal = SIGCHLD_N;
        if (reaper == init_process)
            c->autoreap = true;
        list_push_back(&reaper->children, &c->sibling);
        if (c->pdeath_signal)
            signal_send_locked(c, NULL, c->pdeath_signal, NULL);
        if (c->pgid != p->pgid &&
            c->sid == p->sid) /* p was what kept that group from being an orphan */
            hang_up_orphaned_group_locked(c->pgid, p);
        if (!c->zombie)
            continue;
        if (c->autoreap) {
            process_reap_locked(c);
            list_push_back(dead, &c->sibling);
        } else {
            signal_parent(c, 0, 0);
        }
    }
}

static int exit_code_of(int status)
{
    return status & 0x7f ? (status & 0x80 ? CLD_DUMPED_N : CLD_KILLED_N) : CLD_EXITED_N;
}

/* Others may look at a process' paths (/proc) under fs_lock. */
static void release_paths(struct process *p)
{
    mutex_lock(&p->fs_lock);
    struct file *exe = p->exe_file;
    struct path root = p->fs.root, cwd = p->fs.cwd;
    p->exe_file = NULL;
    p->fs.root = p->fs.cwd = (struct path){NULL, NULL};
    mutex_unlock(&p->fs_lock);
    if (exe)
        file_put(exe);
    path_put(&root);
    path_put(&cwd);
}

/* The last task of p has left. Current is that task. */
static void process_end(struct process *p, struct task *t)
{
    timer_cancel_sync(&p->real_timer);
    cpu_timers_release(p);
    tty_process_ends(p);
    posix_timers_release(p);
    struct mm *mm = p->mm;
    spin_lock_bh(&process_lock);
    p->mm = NULL;
    spin_unlock_bh(&process_lock);
    mm_put(mm);
    ipc_process_ends(p);
    vfork_release(p);
    release_paths(p);

    struct list dead = LIST_INIT(dead);
    struct process *parent;
    int status;
    spin_lock_bh(&process_lock);
    reparent_children(p, &dead);
    if (p->parent->pgid != p->pgid && p->parent->sid == p->sid)
        hang_up_orphaned_group_locked(p->pgid, p);
    status = p->exit_status;
    parent = p->parent;
    p->zombie = true;
    if (!p->autoreap && p->exit_signal == SIGCHLD_N) {
        const struct sigaction_k *sa = &parent->sighand->action[SIGCHLD_N - 1];
        p->autoreap = sa->handler == SIG_IGN_N || (sa->flags & SA_NOCLDWAIT_N);
    }
    signal_parent(p, exit_code_of(status), status & 0x7f ? status & 0x7f : status >> 8);
    bool reap = p->autoreap;
    if (reap) {
        process_reap_locked(p);
        list_push_back(&dead, &p->sibling);
    }
    list_remove(&t->group_link);
    list_remove(&t->hash_link);
    /* The process may be gone with the next unlock: its job is told by what was copied. */
    struct job *job = p->job;
    int pid = p->pid;
    wake_up(&p->exit_wait);
    spin_unlock_bh(&process_lock);

    struct process *z, *tmp;
    list_for_each_safe (z, tmp, &dead, sibling) {
        list_remove(&z->sibling);
        process_put(z);
    }
    job_leave(job, pid, status);
}

NORETURN void task_exit(int status)
{
    struct task *t = (struct task *)thread_current();
    struct process *p = t->process;
    trace_end(p->exiting ? p->exit_status : status);
    futex_task_exit(t);
    signal_flush_task(t);
    nsec_t user, system;
    task_times(t, &user, &system);
    aspace_activate(NULL); /* the last task frees it */

    spin_lock_bh(&process_lock);
    struct fd_table *files = p->files;
    bool last = p->task_count == 1;
    p->user_ns += user;
    p->system_ns += system;
    p->min_faults += t->min_faults;
    p->maj_faults += t->maj_faults;
    io_counts_add(&p->io, &t->io);
    if (last) {
        p->files = NULL;
        if (!p->exiting) {
            p->exiting = true;
            p->exit_status = status;
        }
    } else {
        list_remove(&t->group_link);
        list_remove(&t->hash_link);
        p->task_count--;
        wake_up(&p->task_wait);
    }
    spin_unlock_bh(&process_lock);
    fd_table_put(files);
    if (last)
        process_end(p, t);
    process_put(p);
    thread_exit();
}

NORETURN void process_exit_group(int status)
{
    struct process *p = current_process();
    spin_lock_bh(&process_lock);
    if (p->exiting) {
        status = p->exit_status;
    } else {
        p->exiting = true;
        p->exit_status = status;
        struct task *t;
        list_for_each (t, &p->tasks, group_link) {
            if (&t->thread != thread_current())
                thread_interrupt(&t->thread);
        }
        if (p->sighand) /* stopped tasks must leave too */
            wake_up(&p->sighand->stop_wait);
    }
    spin_unlock_bh(&process_lock);
    task_exit(status);
}

long sys_exit(int status)
{
    task_exit((status & 0xff) << 8);
}
long sys_exit_group(int status)
{
    process_exit_group((status & 0xff) << 8);
}
