/* Clocks, sleeping, CPU times. */
#include <linux/time.h>

#include "linux/clock.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/syscall.h"

#define CLK_TCK 100

int timespec_to_ns(const struct timespec_k *ts, nsec_t *ns)
{
    if (ts->sec < 0 || ts->nsec < 0 || ts->nsec >= NSEC_PER_SEC)
        return -EINVAL;
    *ns = ts->sec >= NSEC_NEVER / NSEC_PER_SEC ? NSEC_NEVER : ts->sec * NSEC_PER_SEC + ts->nsec;
    return 0;
}

int get_timespec(uaddr_t src, nsec_t *ns)
{
    struct timespec_k ts;
    if (copy_from_user(&ts, src, sizeof(ts)))
        return -EFAULT;
    return timespec_to_ns(&ts, ns);
}

int get_timeout(uaddr_t src, nsec_t *deadline)
{
    nsec_t duration = NSEC_NEVER;
    int err = src ? get_timespec(src, &duration) : 0;
    *deadline = time_after(time_now(), duration);
    return err;
}

int put_timespec(uaddr_t dst, nsec_t ns)
{
    struct timespec_k ts = timespec_of(ns);
    return copy_to_user(dst, &ts, sizeof(ts)) ? -EFAULT : 0;
}

/* --- CPU times -------------------------------------------------------------------------------- */

void task_times(struct task *t, nsec_t *user, nsec_t *system)
{
    nsec_t run, in_user;
    thread_times(&t->thread, &run, &in_user);
    *user = in_user;
    *system = run > in_user ? run - in_user : 0;
}

void process_times(struct process *p, nsec_t *user, nsec_t *system)
{
    struct task *t;
    spin_lock_bh(&process_lock);
    *user = p->user_ns;
    *system = p->system_ns;
    if (!p->zombie) {
        list_for_each (t, &p->tasks, group_link) {
            nsec_t u, s;
            task_times(t, &u, &s);
            *user += u;
            *system += s;
        }
    }
    spin_unlock_bh(&process_lock);
}

/* CPU clocks of others: ~pid << 3 | kind, kind 2: scheduled time; bit 2: of a thread (asm-generic).
 */
static int cpu_clock(int id, nsec_t *now)
{
    bool thread = id & 4;
    int pid = ~(id >> 3);
    nsec_t user, system;
    if ((id & 3) == 3)
        return -EINVAL; /* a descriptor's clock */
    if (thread) {
        spin_lock_bh(&process_lock);
        struct task *t = pid ? task_find_locked(pid) : (struct task *)thread_current();
        bool ok = t && t->process == current_process();
        if (ok)
            task_times(t, &user, &system);
        spin_unlock_bh(&process_lock);
        if (!ok)
            return -EINVAL;
    } else {
        struct process *p = pid ? process_find(pid) : current_process();
        if (!p)
            return -EINVAL;
        process_times(p, &user, &system);
        if (pid)
            process_put(p);
    }
    *now = (id & 3) == 1 ? user : user + system;
    return 0;
}

int cpu_clock_select(int id, int *tid, bool *user_only)
{
    struct task *me = (struct task *)thread_current();
    bool thread = id == CLOCK_THREAD_CPUTIME_ID || (id < 0 && (id & 4));
    int number = id < 0 ? ~(id >> 3) : 0;
    if ((id >= 0 && id != CLOCK_PROCESS_CPUTIME_ID && !thread) || (id < 0 && (id & 3) == 3))
        return -EINVAL;
    *user_only = id < 0 && (id & 3) == 1;
    *tid = thread ? number ? number : me->tid : 0;
    if (!number)
        return 0;
    if (!thread)
        return number == me->process->pid ? 0 : -EINVAL;
    spin_lock_bh(&process_lock);
    struct task *t = task_find_locked(number);
    bool ours = t && t->process == me->process;
    spin_unlock_bh(&process_lock);
    return ours ? 0 : -EINVAL;
}

static int clock_now(int id, nsec_t *now)
{
    nsec_t user, system;
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
        *now = time_realtime();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        *now = time_now();
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        process_times(current_process(), &user, &system);
        *now = user + system;
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        task_times((struct task *)thread_current(), &user, &system);
        *now = user + system;
        return 0;
    }
    return id < 0 ? cpu_clock(id, now) : -EINVAL;
}

long sys_clock_gettime(int id, uaddr_t dst)
{
    nsec_t now;
    int err = clock_now(id, &now);
    return err ? err : put_timespec(dst, now);
}

long sys_clock_getres(int id, uaddr_t dst)
{
    nsec_t now;
    int err = clock_now(id, &now);
    return err ? err : dst ? put_timespec(dst, 1) : 0;
}

long sys_clock_settime(int id, uaddr_t src)
{
    nsec_t now;
    int err = get_timespec(src, &now);
    if (err || id != CLOCK_REALTIME)
        return err ? err : -EINVAL;
    if (!capable(25 /* CAP_SYS_TIME */))
        return -EPERM;
    timerfd_set_clock(now);
    return 0;
}

long sys_gettimeofday(uaddr_t tv, uaddr_t tz)
{
    struct timeval_k now = timeval_of(time_realtime());
    int32_t zone[2] = {0, 0};
    if (tv && copy_to_user(tv, &now, sizeof(now)))
        return -EFAULT;
    return tz && copy_to_user(tz, zone, sizeof(zone)) ? -EFAULT : 0;
}

long sys_settimeofday(uaddr_t tv, uaddr_t tz)
{
    struct timeval_k now;
    if (!capable(25 /* CAP_SYS_TIME */))
        return -EPERM;
    (void)tz; /* the kernel keeps no time zone; setting it is what init scripts do at boot */
    if (!tv)
        return 0;
    if (copy_from_user(&now, tv, sizeof(now)))
        return -EFAULT;
    if (now.sec < 0 || now.usec < 0 || now.usec >= 1000000 || now.sec > NSEC_NEVER / NSEC_PER_SEC)
        return -EINVAL;
    timerfd_set_clock(now.sec * NSEC_PER_SEC + now.usec * NSEC_PER_USEC);
    return 0;
}

long sys_time(uaddr_t dst)
{
    int64_t now = time_realtime() / NSEC_PER_SEC;
    return dst && copy_to_user(dst, &now, sizeof(now)) ? -EFAULT : now;
}

/* --- sleeping --------------------------------------------------------------------------------- */

/* Sleeps until `deadline` (monotonic); the rest goes to `rem` when interrupted. */
static long sleep_until(nsec_t deadline, uaddr_t rem)
{
    int err = thread_sleep_until(deadline, true);
    if (!err)
        return 0;
    nsec_t left = deadline - time_now();
    if (left <= 0)
        return 0;
    if (rem && put_timespec(rem, left))
        return -EFAULT;
    return -ERESTART_RESTARTBLOCK;
}

static long sleep_restart(struct task *t)
{
    long res = sleep_until((nsec_t)t->restart.args[0], t->restart.args[1]);
    if (res == -ERESTART_RESTARTBLOCK)
        t->restart.fn = sleep_restart;
    return res;
}

static long sleep_for(nsec_t duration, uaddr_t rem)
{
    struct task *t = (struct task *)thread_current();
    nsec_t deadline = time_after(time_now(), duration);
    long res = sleep_until(deadline, rem);
    if (res == -ERESTART_RESTARTBLOCK) {
        t->restart.fn = sleep_restart;
        t->restart.args[0] = (uint64_t)deadline;
        t->restart.args[1] = rem;
    }
    return res;
}

long sys_nanosleep(uaddr_t req, uaddr_t rem)
{
    nsec_t duration;
    int err = get_timespec(req, &duration);
    return err ? err : sleep_for(duration, rem);
}

struct cpu_sleep {
    struct cpu_timer timer;
    struct wait_queue queue;
    bool done;
};

static nsec_t cpu_sleep_done(struct cpu_timer *ct, nsec_t now)
{
    struct cpu_sleep *s = container_of(ct, struct cpu_sleep, timer);
    (void)now;
    WRITE_ONCE(s->done, true);
    wake_up(&s->queue);
    return 0;
}

static long cpu_sleep_restart(struct task *t);

/* Sleeps until the process' CPU time is `due`. */
static long cpu_sleep_until(nsec_t due, bool user_only, uaddr_t rem)
{
    struct task *t = (struct task *)thread_current();
    struct cpu_sleep s = {.done = false};
    wait_queue_init(&s.queue);
    cpu_timer_init(&s.timer, t->process, 0, user_only, cpu_sleep_done);
    cpu_timer_arm(&s.timer, due);
    int err = wait_event_interruptible(&s.queue, READ_ONCE(s.done));
    cpu_timer_cancel(&s.timer);
    nsec_t left = due - cpu_timer_clock(&s.timer);
    if (!err || left <= 0)
        return 0;
    if (rem && put_timespec(rem, left))
        return -EFAULT;
    t->restart.fn = cpu_sleep_restart;
    t->restart.args[0] = (uint64_t)due;
    t->restart.args[1] = user_only;
    t->restart.args[2] = rem;
    return -ERESTART_RESTARTBLOCK;
}

static long cpu_sleep_restart(struct task *t)
{
    return cpu_sleep_until((nsec_t)t->restart.args[0], t->restart.args[1], t->restart.args[2]);
}

static long cpu_nanosleep(int id, nsec_t t, bool absolute, uaddr_t rem)
{
    int tid;
    bool user_only;
    nsec_t now;
    int err = cpu_clock_select(id, &tid, &user_only);
    if (!err && tid)
        return -EINVAL; /* a thread's own time does not pass while it sleeps */
    if (!err)
        err = clock_now(id, &now);
    if (err)
        return err;
    if (!absolute)
        return cpu_sleep_until(time_after(now, t), user_only, rem);
    long res = now >= t ? 0 : cpu_sleep_until(t, user_only, 0);
    return res == -ERESTART_RESTARTBLOCK ? -ERESTARTNOHAND : res;
}

long sys_clock_nanosleep(int id, int flags, uaddr_t req, uaddr_t rem)
{
    nsec_t t;
    int err = get_timespec(req, &t);
    if (err)
        return err;
    bool realtime = id == CLOCK_REALTIME || id == CLOCK_TAI || id == CLOCK_REALTIME_ALARM;
    if (id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE || id == CLOCK_MONOTONIC_RAW)
        return -EOPNOTSUPP;
    if (!realtime && id != CLOCK_MONOTONIC && id != CLOCK_BOOTTIME && id != CLOCK_BOOTTIME_ALARM)
        return cpu_nanosleep(id, t, flags & TIMER_ABSTIME, rem);
    if (!(flags & TIMER_ABSTIME))
        return sleep_for(t, rem);
    for (;;) {
        nsec_t now = realtime ? time_realtime() : time_now();
        if (now >= t)
            return 0;
        /* A change of the wall clock is noticed within a second. */
        nsec_t step = realtime ? MIN(t - now, NSEC_PER_SEC) : t - now;
        if (thread_sleep_until(time_after(time_now(), step), true))
            return -ERESTARTNOHAND;
    }
}

/* --- usage ------------------------------------------------------------------------------------ */

long sys_times(uaddr_t dst)
{
    struct process *p = current_process();
    nsec_t user, system, tick = NSEC_PER_SEC / CLK_TCK;
    process_times(p, &user, &system);
    int64_t t[4] = {user / tick, system / tick, p->child_user_ns / tick, p->child_system_ns / tick};
    if (dst && copy_to_user(dst, t, sizeof(t)))
        return -EFAULT;
    return time_now() / tick;
}

long sys_getrusage(int who, uaddr_t dst)
{
    struct process *p = current_process();
    struct task *t = (struct task *)thread_current(), *each;
    struct rusage_k r = {0};
    nsec_t user, system;
    switch (who) {
    case 0: /* RUSAGE_SELF */
        process_times(p, &user, &system);
        r.min_faults = (int64_t)p->min_faults;
        r.maj_faults = (int64_t)p->maj_faults;
        spin_lock_bh(&process_lock);
        list_for_each (each, &p->tasks, group_link) {
            r.min_faults += (int64_t)each->min_faults;
            r.maj_faults += (int64_t)each->maj_faults;
            r.voluntary += (int64_t)(each->thread.switches - each->thread.preemptions);
            r.involuntary += (int64_t)each->thread.preemptions;
        }
        spin_unlock_bh(&process_lock);
        break;
    case -1: /* RUSAGE_CHILDREN */
        user = p->child_user_ns;
        system = p->child_system_ns;
        r.min_faults = (int64_t)p->child_min_faults;
        r.maj_faults = (int64_t)p->child_maj_faults;
        break;
    case 1: /* RUSAGE_THREAD */
        task_times(t, &user, &system);
        r.min_faults = (int64_t)t->min_faults;
        r.maj_faults = (int64_t)t->maj_faults;
        r.voluntary = (int64_t)(t->thread.switches - t->thread.preemptions);
        r.involuntary = (int64_t)t->thread.preemptions;
        break;
    default:
        return -EINVAL;
    }
    if (who != -1)
        r.max_rss = atomic_load(&p->mm->rss_peak) * (long)(PAGE_SIZE / 1024);
    r.user = timeval_of(user);
    r.system = timeval_of(system);
    return copy_to_user(dst, &r, sizeof(r)) ? -EFAULT : 0;
}
