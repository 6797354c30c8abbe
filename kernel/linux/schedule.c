/* Scheduling: yields, affinity, priorities; membarrier. */
#include <linux/membarrier.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/types.h>

#include "arch/arch.h"
#include "core/uio.h"
#include "linux/clock.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

long sys_sched_yield(void)
{
    thread_yield();
    return 0;
}

/* Runs fn on the task with number tid (0: current) under process_lock. */
static long with_task(int tid, long (*fn)(struct task *t, uint64_t arg), uint64_t arg)
{
    if (tid < 0)
        return -EINVAL;
    spin_lock_bh(&process_lock);
    struct task *t = tid ? task_find_locked(tid) : (struct task *)thread_current();
    long res = t ? fn(t, arg) : -ESRCH;
    spin_unlock_bh(&process_lock);
    return res;
}

static bool may_schedule(const struct task *t)
{
    const struct cred *me = current_cred(), *it = t->process->fs.cred;
    return me->euid == it->euid || me->euid == it->uid || capable(23 /* CAP_SYS_NICE */);
}

/* --- affinity --------------------------------------------------------------------------------- */

static long get_affinity(struct task *t, uint64_t arg)
{
    (void)arg;
    cpumask_t all = cpu_count == 64 ? ~0ULL : (1ULL << cpu_count) - 1;
    cpumask_t mask = t->thread.affinity & all;
    return (long)(mask ? mask : all); /* at most 63 CPUs keep this positive */
}

long sys_sched_getaffinity(int tid, unsigned len, uaddr_t dst)
{
    if (len < sizeof(cpumask_t) || (len & 7))
        return -EINVAL;
    long mask = with_task(tid, get_affinity, 0);
    if (mask == -ESRCH || mask == -EINVAL)
        return mask;
    return copy_to_user(dst, &mask, sizeof(mask)) ? -EFAULT : (long)sizeof(mask);
}

long sys_sched_setaffinity(int tid, unsigned len, uaddr_t src)
{
    cpumask_t mask = 0;
    if (copy_from_user(&mask, src, MIN(len, sizeof(mask))))
        return -EFAULT;
    spin_lock_bh(&process_lock);
    struct task *t = tid ? task_find_locked(tid) : (struct task *)thread_current();
    int err = !t ? -ESRCH : may_schedule(t) ? 0 : -EPERM;
    if (!err)
        ref_get(&t->refs);
    spin_unlock_bh(&process_lock);
    if (err)
        return err;
    err = thread_set_affinity(&t->thread, mask);
    task_put(t);
    return err;
}

long sys_getcpu(uaddr_t cpu, uaddr_t node)
{
    uint32_t now = (uint32_t)cpu_id(), zero = 0;
    if (cpu && copy_to_user(cpu, &now, sizeof(now)))
        return -EFAULT;
    return node && copy_to_user(node, &zero, sizeof(zero)) ? -EFAULT : 0;
}

/* --- nice values and I/O priorities ----------------------------------------------------------- */

struct priority_walk {
    int which, who; /* PRIO_* */
    void (*visit)(struct priority_walk *w, struct task *t);
    int value; /* lowest seen, or what to set */
    bool found;
    int err;
};

static bool priority_selects(const struct priority_walk *w, const struct process *p)
{
    const struct process *me = current_process();
    switch (w->which) {
    case PRIO_PROCESS:
        return p->pid == (w->who ? w->who : me->pid);
    case PRIO_PGRP:
        return p->pgid == (w->who ? w->who : me->pgid);
    default:
        return p->fs.cred->uid == (w->who ? (uint32_t)w->who : current_cred()->uid);
    }
}

static void priority_visit(struct priority_walk *w, struct task *t)
{
    w->found = true;
    w->visit(w, t);
}

static int priority_run(struct priority_walk *w)
{
    if (w->which < PRIO_PROCESS || w->which > PRIO_USER)
        return -EINVAL;
    spin_lock_bh(&process_lock);
    struct task *t = w->which == PRIO_PROCESS && w->who ? task_find_locked(w->who) : NULL;
    if (t) { /* one thread can be named too */
        priority_visit(w, t);
    } else if (w->which == PRIO_PROCESS && !w->who) {
        priority_visit(w, (struct task *)thread_current());
    } else {
        for (struct process *p = process_first_locked(); p; p = process_after_locked(p)) {
            if (!p->zombie && priority_selects(w, p)) {
                list_for_each (t, &p->tasks, group_link)
                    priority_visit(w, t);
            }
        }
    }
    spin_unlock_bh(&process_lock);
    return !w->found ? -ESRCH : w->err;
}

static void lowest_nice(struct priority_walk *w, struct task *t)
{
    w->value = MIN(w->value, t->thread.nice);
}

static void set_nice(struct priority_walk *w, struct task *t)
{
    uint64_t limit = t->process->rlimits[RLIMIT_NICE].cur;
    bool raises = w->value < t->thread.nice && (uint64_t)(20 - w->value) > limit;
    if (!may_schedule(t))
        w->err = -EPERM;
    else if (raises && !capable(23 /* CAP_SYS_NICE */))
        w->err = -EACCES;
    else
        t->thread.nice = w->value;
}

static struct priority_walk nice_setting(int which, int who, int nice)
{
    return (struct priority_walk){
        .which = which, .who = who, .visit = set_nice, .value = MAX(-20, MIN(nice, 19))};
}

long sys_getpriority(int which, int who)
{
    struct priority_walk w = {.which = which, .who = who, .visit = lowest_nice, .value = 19};
    int err = priority_run(&w);
    return err ? err : 20 - w.value; /* the raw system call never returns a negative value */
}

long sys_setpriority(int which, int who, int nice)
{
    struct priority_walk w = nice_setting(which, who, nice);
    return priority_run(&w);
}

/* Kept and told; every request goes to its device at once, so there is nothing to put in order. */
#define IO_CLASS(ioprio) ((ioprio) >> 13)
#define IO_LEVEL(ioprio) ((ioprio)&0x1fff)
enum { IO_NONE, IO_REALTIME, IO_BEST_EFFORT, IO_IDLE };

static void best_ioprio(struct priority_walk *w, struct task *t)
{
    w->value = MIN(w->value, t->ioprio ? t->ioprio : IO_BEST_EFFORT << 13 | 4);
}

static void set_ioprio(struct priority_walk *w, struct task *t)
{
    if (may_schedule(t))
        t->ioprio = (uint16_t)w->value;
    else
        w->err = -EPERM;
}

long sys_ioprio_get(int which, int who)
{
    struct priority_walk w = {
        .which = which - 1, .who = who, .visit = best_ioprio, .value = IO_IDLE << 13};
    int err = priority_run(&w);
    return err ? err : w.value;
}

long sys_ioprio_set(int which, int who, int ioprio)
{
    int class = IO_CLASS(ioprio), level = IO_LEVEL(ioprio);
    bool levels = class == IO_REALTIME || class == IO_BEST_EFFORT;
    if (class < IO_NONE || class > IO_IDLE || (levels && level > 7) || (class == IO_NONE && level))
        return -EINVAL;
    if (class == IO_REALTIME && !capable(21 /* CAP_SYS_ADMIN */) && !capable(23 /* CAP_SYS_NICE */))
        return -EPERM;
    struct priority_walk w = {.which = which - 1, .who = who, .visit = set_ioprio, .value = ioprio};
    return priority_run(&w);
}

/* --- policies ---------------------------------------------------------------------------------
 * Real time is the scheduler's; SCHED_BATCH and SCHED_IDLE are names for the fair policy. */

#define RT_PRIORITY_MAX 99

struct policy {
    int policy, priority;
    bool reset_on_fork;
};

static bool realtime_policy(int policy)
{
    return policy == SCHED_FIFO || policy == SCHED_RR;
}

static int check_policy(const struct policy *to)
{
    switch (to->policy) {
    case SCHED_FIFO:
    case SCHED_RR:
        return to->priority < 1 || to->priority > RT_PRIORITY_MAX ? -EINVAL : 0;
    case SCHED_NORMAL:
    case SCHED_BATCH:
    case SCHED_IDLE:
        return to->priority ? -EINVAL : 0;
    default:
        return -EINVAL;
    }
}

/* What somebody without CAP_SYS_NICE may: RLIMIT_RTPRIO says up to which priority. */
static bool may_change(const struct task *t, const struct policy *to)
{
    const struct cred *me = current_cred(), *it = t->process->fs.cred;
    int limit = (int)MIN(t->process->rlimits[RLIMIT_RTPRIO].cur, (uint64_t)RT_PRIORITY_MAX);
    if (capable(23 /* CAP_SYS_NICE */))
        return true;
    if (realtime_policy(to->policy) &&
        ((to->policy != t->policy && !limit) ||
         (to->priority > t->thread.rt_priority && to->priority > limit)))
        return false;
    return (me->euid == it->euid || me->euid == it->uid) &&
           (to->reset_on_fork || !t->reset_on_fork);
}

static long set_policy(struct task *t, uint64_t arg)
{
    const struct policy *to = (const struct policy *)arg;
    if (!may_change(t, to))
        return -EPERM;
    t->policy = (uint8_t)to->policy;
    t->reset_on_fork = to->reset_on_fork;
    thread_set_realtime(&t->thread, to->priority, to->policy == SCHED_RR);
    return 0;
}

static long get_policy(struct task *t, uint64_t arg)
{
    *(struct policy *)arg = (struct policy){t->policy, t->thread.rt_priority, t->reset_on_fork};
    return 0;
}

static long policy_of(int tid, struct policy *out)
{
    *out = (struct policy){0};
    return with_task(tid, get_policy, (uint64_t)out);
}

static long change_policy(int tid, const struct policy *to)
{
    int err = check_policy(to);
    return err ? err : with_task(tid, set_policy, (uint64_t)to);
}

void sched_policy_inherit(struct task *child, const struct task *parent)
{
    bool reset = parent->reset_on_fork, realtime = realtime_policy(parent->policy);
    child->policy = reset && realtime ? SCHED_NORMAL : parent->policy;
    child->thread.nice = reset && parent->thread.nice < 0 ? 0 : parent->thread.nice;
    child->thread.rt_priority = reset ? 0 : parent->thread.rt_priority;
    child->thread.rt_round = parent->thread.rt_round;
}

long sys_sched_getscheduler(int tid)
{
    struct policy now;
    long err = policy_of(tid, &now);
    return err ? err : now.policy | (now.reset_on_fork ? SCHED_RESET_ON_FORK : 0);
}

long sys_sched_getparam(int tid, uaddr_t dst)
{
    struct policy now;
    long err = dst ? policy_of(tid, &now) : -EINVAL;
    return err ? err : copy_to_user(dst, &now.priority, sizeof(int32_t));
}

static int get_param(int tid, uaddr_t param, int *priority)
{
    if (!param || tid < 0)
        return -EINVAL;
    return copy_from_user(priority, param, sizeof(int32_t)) ? -EFAULT : 0;
}

long sys_sched_setscheduler(int tid, int policy, uaddr_t param)
{
    struct policy to = {.policy = policy & ~SCHED_RESET_ON_FORK,
                        .reset_on_fork = policy & SCHED_RESET_ON_FORK};
    int err = policy < 0 ? -EINVAL : get_param(tid, param, &to.priority);
    struct policy now;
    long res = err ? err : policy_of(tid, &now); /* -ESRCH comes first */
    return res ? res : change_policy(tid, &to);
}

long sys_sched_setparam(int tid, uaddr_t param)
{
    struct policy to;
    int priority, err = get_param(tid, param, &priority);
    long res = err ? err : policy_of(tid, &to);
    to.priority = priority;
    return res ? res : change_policy(tid, &to);
}

/* --- policy and nice value in one ------------------------------------------------------------- */

static long get_nice(struct task *t, uint64_t arg)
{
    (void)arg;
    return t->thread.nice + 20; /* not negative: those are errors */
}

long sys_sched_getattr(int tid, uaddr_t dst, unsigned size, unsigned flags)
{
    if (!dst || size < SCHED_ATTR_SIZE_VER0 || size > PAGE_SIZE || flags)
        return -EINVAL;
    struct policy now;
    long err = policy_of(tid, &now), nice = with_task(tid, get_nice, 0);
    if (err || nice < 0)
        return err ? err : nice;
    struct sched_attr attr = {.size = (uint32_t)MIN(size, sizeof(attr)),
                              .sched_policy = (uint32_t)now.policy,
                              .sched_flags = now.reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0,
                              .sched_priority = (uint32_t)now.priority,
                              .sched_nice = realtime_policy(now.policy) ? 0 : (int32_t)nice - 20};
    return copy_to_user(dst, &attr, attr.size) ? -EFAULT : 0;
}

/* The attributes of a caller that may know fewer or more of them than we do. */
static int get_attr(uaddr_t src, struct sched_attr *attr)
{
    uint32_t size;
    if (copy_from_user(&size, src, sizeof(size)))
        return -EFAULT;
    if (!size)
        size = SCHED_ATTR_SIZE_VER0;
    if (size < SCHED_ATTR_SIZE_VER0 || size > sizeof(*attr)) {
        size = sizeof(*attr); /* what we know */
        return copy_to_user(src, &size, sizeof(size)) ? -EFAULT : -E2BIG;
    }
    *attr = (struct sched_attr){0};
    return copy_from_user(attr, src, size) ? -EFAULT : 0;
}

long sys_sched_setattr(int tid, uaddr_t src, unsigned flags)
{
    struct sched_attr attr;
    if (!src || tid < 0 || flags)
        return -EINVAL;
    int err = get_attr(src, &attr);
    if (err)
        return err;
    if (attr.sched_flags & ~(uint64_t)SCHED_FLAG_RESET_ON_FORK ||
        attr.sched_policy > SCHED_DEADLINE || attr.sched_priority > RT_PRIORITY_MAX)
        return -EINVAL;
    if (attr.sched_policy == SCHED_DEADLINE)
        return -EPERM; /* nobody gets that here */
    if (attr.sched_policy == SCHED_NORMAL || attr.sched_policy == SCHED_BATCH) {
        struct priority_walk w = nice_setting(PRIO_PROCESS, tid, attr.sched_nice);
        err = priority_run(&w);
        if (err)
            return err == -EACCES ? -EPERM : err;
    }
    struct policy to = {(int)attr.sched_policy, (int)attr.sched_priority,
                        attr.sched_flags & SCHED_FLAG_RESET_ON_FORK};
    return change_policy(tid, &to);
}

long sys_sched_get_priority_max(int policy)
{
    return realtime_policy(policy)                     ? RT_PRIORITY_MAX
           : policy >= 0 && policy <= 6 && policy != 4 ? 0
                                                       : -EINVAL;
}

long sys_sched_get_priority_min(int policy)
{
    return realtime_policy(policy) ? 1 : policy >= 0 && policy <= 6 && policy != 4 ? 0 : -EINVAL;
}

long sys_sched_rr_get_interval(int tid, uaddr_t dst)
{
    struct policy now;
    long err = policy_of(tid, &now);
    nsec_t slice = now.policy == SCHED_RR     ? THREAD_ROUND
                   : now.policy == SCHED_FIFO ? 0 /* none */
                                              : 10 * NSEC_PER_MSEC;
    return err ? err : put_timespec(dst, slice);
}

/* --- membarrier ------------------------------------------------------------------------------- */

static void fence(void *arg)
{
    (void)arg;
    atomic_thread_fence(memory_order_seq_cst);
}

long sys_membarrier(int cmd, unsigned flags, int cpu)
{
    const int supported = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED |
                          MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                          MEMBARRIER_CMD_PRIVATE_EXPEDITED |
                          MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    (void)cpu;
    if (flags)
        return -EINVAL;
    switch (cmd) {
    case MEMBARRIER_CMD_QUERY:
        return supported;
    case MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED:
    case MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED:
        return 0;
    case MEMBARRIER_CMD_GLOBAL:
    case MEMBARRIER_CMD_GLOBAL_EXPEDITED:
    case MEMBARRIER_CMD_PRIVATE_EXPEDITED:
        arch_call_cpus(~0ULL >> (64 - cpu_count), fence, NULL);
        return 0;
    }
    return -EINVAL;
}
