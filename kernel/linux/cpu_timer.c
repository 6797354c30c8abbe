/* Timers on CPU time: see cpu_timer.h. */
#include "linux/clock.h"
#include "linux/proc.h"

/* A process that sleeps keeps its CPU time, and so may be looked at in vain: not too often. */
#define LOOK_AGAIN_MIN (4 * NSEC_PER_MSEC)

/* Protects the lists of all processes; taken before process_lock. */
static spinlock_t cpu_timers_lock = SPINLOCK_INIT;

void cpu_timer_init(struct cpu_timer *ct, struct process *p, int tid, bool user_only,
                    nsec_t (*expired)(struct cpu_timer *ct, nsec_t now))
{
    *ct = (struct cpu_timer){.process = p, .tid = tid, .user_only = user_only, .expired = expired};
    list_init(&ct->link);
}

nsec_t cpu_timer_clock(const struct cpu_timer *ct)
{
    nsec_t user = -1, system = 0;
    if (ct->tid) {
        spin_lock_bh(&process_lock);
        struct task *t = task_find_locked(ct->tid);
        if (t && t->process == ct->process)
            task_times(t, &user, &system);
        spin_unlock_bh(&process_lock);
    } else {
        process_times(ct->process, &user, &system);
    }
    return ct->user_only ? user : user + system;
}

static void look_in(struct process *p, nsec_t cpu_time)
{
    nsec_t at = time_after(time_now(), MAX(cpu_time / cpu_count, LOOK_AGAIN_MIN));
    if (!p->exiting && (!timer_armed(&p->cpu_watch) || at < p->cpu_watch.due))
        timer_arm(&p->cpu_watch, at);
}

static void look(struct timer *timer)
{
    struct process *p = container_of(timer, struct process, cpu_watch);
    struct cpu_timer *ct, *tmp;
    nsec_t nearest = NSEC_NEVER;
    spin_lock_bh(&cpu_timers_lock);
    list_for_each_safe (ct, tmp, &p->cpu_timers, link) {
        nsec_t now = cpu_timer_clock(ct);
        if (now >= ct->due)
            ct->due = ct->expired(ct, now);
        if (now < 0 || !ct->due)
            list_remove(&ct->link);
        else
            nearest = MIN(nearest, MAX(ct->due - now, 0));
    }
    if (nearest != NSEC_NEVER)
        look_in(p, nearest);
    spin_unlock_bh(&cpu_timers_lock);
}

void cpu_timer_arm(struct cpu_timer *ct, nsec_t due)
{
    spin_lock_bh(&cpu_timers_lock);
    nsec_t now = cpu_timer_clock(ct);
    if (now >= 0) {
        if (list_empty(&ct->link))
            list_push_back(&ct->process->cpu_timers, &ct->link);
        ct->due = MAX(due, 1);
        look_in(ct->process, MAX(due - now, 0));
    }
    spin_unlock_bh(&cpu_timers_lock);
}

void cpu_timer_cancel(struct cpu_timer *ct)
{
    spin_lock_bh(&cpu_timers_lock);
    list_remove(&ct->link);
    spin_unlock_bh(&cpu_timers_lock);
}

nsec_t cpu_timer_left(const struct cpu_timer *ct)
{
    nsec_t left = 0;
    spin_lock_bh(&cpu_timers_lock);
    if (!list_empty(&ct->link))
        left = MAX(ct->due - cpu_timer_clock(ct), 1);
    spin_unlock_bh(&cpu_timers_lock);
    return left;
}

void cpu_timers_init(struct process *p)
{
    list_init(&p->cpu_timers);
    timer_init(&p->cpu_watch, look);
}

void cpu_timers_release(struct process *p)
{
    timer_cancel_sync(&p->cpu_watch);
}
