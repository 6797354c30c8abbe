/* Interval timers: setitimer, getitimer, alarm; and the limits on CPU time. */
#include <linux/resource.h>
#include <linux/time.h>

#include "linux/clock.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

/* A program may ask for an interval of a nanosecond; it must not get all of a CPU by it.
 * Expirations that are nearer to each other than this are taken together and counted as overruns.
 */
#define INTERVAL_MIN (100 * NSEC_PER_USEC)

int64_t intervals_to_next(nsec_t now, nsec_t due, nsec_t interval)
{
    nsec_t late = now - due + MIN(interval, INTERVAL_MIN);
    return late > interval ? DIV_ROUND_UP(late, interval) : 1;
}

/* Protects real_interval against the expiry. */
static spinlock_t real_lock = SPINLOCK_INIT;

static void real_expired(struct timer *timer)
{
    struct process *p = container_of(timer, struct process, real_timer);
    signal_send_process(p, SIGALRM_N, NULL);
    spin_lock_bh(&real_lock);
    nsec_t due = p->real_timer.due, interval = p->real_interval;
    if (interval)
        timer_arm(&p->real_timer,
                  time_after(due, intervals_to_next(time_now(), due, interval) * interval));
    spin_unlock_bh(&real_lock);
}

static nsec_t cpu_expired(struct cpu_timer *ct, nsec_t now)
{
    struct cpu_itimer *it = container_of(ct, struct cpu_itimer, timer);
    signal_send_process(ct->process, ct->user_only ? SIGVTALRM_N : SIGPROF_N, NULL);
    if (!it->interval)
        return 0;
    return time_after(ct->due, intervals_to_next(now, ct->due, it->interval) * it->interval);
}

/* RLIMIT_CPU: SIGXCPU at the soft limit and every second after it, SIGKILL at the hard one. */
static nsec_t cpu_limit_reached(struct cpu_timer *ct, nsec_t now)
{
    uint64_t seconds = (uint64_t)(now / NSEC_PER_SEC);
    if (seconds >= ct->process->rlimits[RLIMIT_CPU].max) {
        signal_send_process(ct->process, SIGKILL_N, NULL);
        return 0;
    }
    signal_send_process(ct->process, SIGXCPU_N, NULL);
    return (nsec_t)(seconds + 1) * NSEC_PER_SEC;
}

/* How long one of p's real-time tasks has run without sleeping; -1: it has none. */
static nsec_t real_time_used(struct process *p)
{
    struct task *t;
    nsec_t used = -1;
    spin_lock_bh(&process_lock);
    list_for_each (t, &p->tasks, group_link) {
        if (t->thread.rt_priority)
            used = MAX(used, thread_run_since_sleep(&t->thread));
    }
    spin_unlock_bh(&process_lock);
    return used;
}

static nsec_t from_usec(uint64_t us)
{
    return us < (uint64_t)(NSEC_NEVER / NSEC_PER_USEC) ? (nsec_t)us * NSEC_PER_USEC : NSEC_NEVER;
}

/* RLIMIT_RTTIME: SIGXCPU at the soft limit, which then is a second more, SIGKILL at the hard one.
 * The process' clock is not behind that of any task of it: it is looked at early, never late. */
static nsec_t rt_limit_reached(struct cpu_timer *ct, nsec_t now)
{
    struct process *p = ct->process;
    struct rlimit_k *limit = &p->rlimits[RLIMIT_RTTIME];
    nsec_t used = real_time_used(p);
    if (used >= from_usec(limit->max)) {
        signal_send_process(p, SIGKILL_N, NULL);
        return 0;
    }
    if (used >= from_usec(limit->cur)) {
        signal_send_process(p, SIGXCPU_N, NULL);
        limit->cur += 1000000;
    }
    return time_after(now, MIN(from_usec(limit->cur), from_usec(limit->max)) - used);
}

void cpu_limits_changed(struct process *p)
{
    if (from_usec(p->rlimits[RLIMIT_RTTIME].cur) != NSEC_NEVER)
        cpu_timer_arm(&p->rt_limit, 1); /* it finds out when to look */
    else
        cpu_timer_cancel(&p->rt_limit);
    uint64_t seconds = p->rlimits[RLIMIT_CPU].cur;
    if (seconds < (uint64_t)(NSEC_NEVER / NSEC_PER_SEC))
        cpu_timer_arm(&p->cpu_limit, (nsec_t)seconds * NSEC_PER_SEC);
    else
        cpu_timer_cancel(&p->cpu_limit);
}

void itimers_init(struct process *p)
{
    timer_init(&p->real_timer, real_expired);
    cpu_timer_init(&p->virtual_timer.timer, p, 0, true, cpu_expired);
    cpu_timer_init(&p->prof_timer.timer, p, 0, false, cpu_expired);
    cpu_timer_init(&p->cpu_limit, p, 0, false, cpu_limit_reached);
    cpu_timer_init(&p->rt_limit, p, 0, false, rt_limit_reached);
}

static struct cpu_itimer *cpu_itimer(struct process *p, int which)
{
    return which == ITIMER_VIRTUAL ? &p->virtual_timer : &p->prof_timer;
}

static void get(struct process *p, int which, nsec_t *value, nsec_t *interval)
{
    if (which == ITIMER_REAL) {
        *value = timer_armed(&p->real_timer) ? MAX(p->real_timer.due - time_now(), 1000) : 0;
        *interval = p->real_interval;
    } else {
        nsec_t left = cpu_timer_left(&cpu_itimer(p, which)->timer);
        *value = left ? MAX(left, 1000) : 0; /* a microsecond is the least that can be told */
        *interval = cpu_itimer(p, which)->interval;
    }
}

static void set_real(struct process *p, nsec_t value, nsec_t interval)
{
    timer_cancel_sync(&p->real_timer);
    spin_lock_bh(&real_lock);
    p->real_interval = interval;
    if (value)
        timer_arm(&p->real_timer, time_after(time_now(), value));
    spin_unlock_bh(&real_lock);
}

static void set(struct process *p, int which, nsec_t value, nsec_t interval)
{
    if (which == ITIMER_REAL) {
        set_real(p, value, interval);
        return;
    }
    struct cpu_itimer *it = cpu_itimer(p, which);
    cpu_timer_cancel(&it->timer);
    it->interval = interval;
    if (value)
        cpu_timer_arm(&it->timer, time_after(cpu_timer_clock(&it->timer), value));
}

static int timeval_to_ns(const struct timeval_k *tv, nsec_t *ns)
{
    if (tv->sec < 0 || tv->usec < 0 || tv->usec >= 1000000)
        return -EINVAL;
    struct timespec_k ts = {tv->sec, tv->usec * NSEC_PER_USEC};
    return timespec_to_ns(&ts, ns);
}

long sys_getitimer(int which, uaddr_t dst)
{
    nsec_t value, interval;
    if (which < ITIMER_REAL || which > ITIMER_PROF)
        return -EINVAL;
    get(current_process(), which, &value, &interval);
    struct timeval_k it[2] = {timeval_of(interval), timeval_of(value)};
    return copy_to_user(dst, it, sizeof(it)) ? -EFAULT : 0;
}

long sys_setitimer(int which, uaddr_t src, uaddr_t old)
{
    struct process *p = current_process();
    struct timeval_k it[2] = {{0, 0}, {0, 0}};
    nsec_t value, interval, old_value, old_interval;
    if (src && copy_from_user(it, src, sizeof(it)))
        return -EFAULT;
    if (timeval_to_ns(&it[0], &interval) || timeval_to_ns(&it[1], &value))
        return -EINVAL;
    if (which < ITIMER_REAL || which > ITIMER_PROF)
        return -EINVAL;
    get(p, which, &old_value, &old_interval);
    set(p, which, value, interval);
    struct timeval_k was[2] = {timeval_of(old_interval), timeval_of(old_value)};
    return old && copy_to_user(old, was, sizeof(was)) ? -EFAULT : 0;
}

long sys_alarm(unsigned seconds)
{
    struct process *p = current_process();
    nsec_t value, interval;
    get(p, ITIMER_REAL, &value, &interval);
    set(p, ITIMER_REAL, seconds * NSEC_PER_SEC, 0);
    return (value + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
}
