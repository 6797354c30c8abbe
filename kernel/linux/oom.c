/*
 * When memory runs out: page cache is given back first; then the process that holds most is killed,
 * and the log says so. The choice is Linux's: resident pages, shifted by oom_score_adj.
 */
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/signals.h"

#define RECLAIM_PAGES 64

static struct mutex oom_lock = {.waiters = LIST_INIT(oom_lock.waiters)};

static long badness(const struct process *p, long total)
{
    if (!p->mm || p->zombie || p->pid == 1 || p->oom_score_adj == -1000)
        return 0;
    long points = atomic_load(&p->mm->rss) + (long)p->oom_score_adj * total / 1000;
    return MAX(points, 1);
}

static void kill_largest(void)
{
    struct mem_stats m;
    struct process *victim = NULL;
    long worst = 0;
    mem_stats(&m);
    spin_lock_bh(&process_lock);
    for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
        if (p->exiting && p->mm) { /* one is already going: wait for what it frees */
            spin_unlock_bh(&process_lock);
            return;
        }
        long points = badness(p, (long)m.total_pages);
        if (points > worst) {
            worst = points;
            victim = p;
        }
    }
    if (victim) {
        klog(LOG_ERROR,
             "out of memory (%llu of %llu pages free): killed %s[%d], which held %ld pages",
             (unsigned long long)m.free_pages, (unsigned long long)m.total_pages,
             victim->leader->comm, victim->pid, atomic_load(&victim->mm->rss));
        signal_send_locked(victim, NULL, SIGKILL_N, NULL);
        victim->exiting = true;
        victim->exit_status = SIGKILL_N;
        struct task *t;
        list_for_each (t, &victim->tasks, group_link)
            thread_interrupt(&t->thread);
    }
    spin_unlock_bh(&process_lock);
}

#define KILL_PAUSE (100 * NSEC_PER_MSEC) /* for what a victim held to become free */

bool oom_reclaim(void)
{
    static nsec_t last_kill;
    if (vfs_shrink(RECLAIM_PAGES))
        return true;
    mutex_lock(&oom_lock);
    if (!last_kill || time_now() - last_kill > KILL_PAUSE) {
        kill_largest();
        last_kill = time_now();
    }
    mutex_unlock(&oom_lock);
    struct thread *t = thread_current();
    if (t->aspace && ((struct task *)t)->process->exiting)
        return false;
    thread_sleep_until(time_now() + NSEC_PER_MSEC, false);
    return true;
}
