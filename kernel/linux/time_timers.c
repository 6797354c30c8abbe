/* Interval timers (setitimer, alarm) and POSIX timers (timer_create). */
#include <linux/time.h>

#include "linux/clock.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

/* --- ITIMER_REAL ------------------------------------------------------------------------------ */

/* Protects real_interval and the POSIX timers' settings against their expiry. */
static spinlock_t timers_lock = SPINLOCK_INIT;

/* A program may ask for an interval of a nanosecond; it must not get all of a CPU by it.
 * Expirations that are nearer to each other than this are taken together and counted as overruns.
 */
#define INTERVAL_MIN (100 * NSEC_PER_USEC)

/* How many intervals after `due` the next expiry is: 1 unless some were missed or are too near. */
static int64_t intervals_to_next(nsec_t due, nsec_t interval)
{
    nsec_t late = time_now() - due + MIN(interval, INTERVAL_MIN);
    return late > interval ? DIV_ROUND_UP(late, interval) : 1;
}

void itimer_real_expired(struct timer *timer)
{
    struct process *p = container_of(timer, struct process, real_timer);
    signal_send_process(p, SIGALRM_N, NULL);
    spin_lock_bh(&timers_lock);
    nsec_t due = p->real_timer.due, interval = p->real_interval;
    if (interval)
        timer_arm(&p->real_timer, time_after(due, intervals_to_next(due, interval) * interval));
    spin_unlock_bh(&timers_lock);
}

static void get_real(struct process *p, nsec_t *value, nsec_t *interval)
{
    *value = timer_armed(&p->real_timer) ? MAX(p->real_timer.due - time_now(), 1000) : 0;
    *interval = p->real_interval;
}

static void set_real(struct process *p, nsec_t value, nsec_t interval)
{
    timer_cancel_sync(&p->real_timer);
    spin_lock_bh(&timers_lock);
    p->real_interval = interval;
    if (value)
        timer_arm(&p->real_timer, time_after(time_now(), value));
    spin_unlock_bh(&timers_lock);
}

static int timeval_to_ns(const struct timeval_k *tv, nsec_t *ns)
{
    if (tv->sec < 0 || tv->usec < 0 || tv->usec >= 1000000)
        return -EINVAL;
    struct timespec_k ts = {tv->sec, tv->usec * NSEC_PER_USEC};
    return timespec_to_ns(&ts, ns);
}

/* ITIMER_VIRTUAL and ITIMER_PROF would count CPU time; nothing here counts it with interrupts. */
static int only_real(int which)
{
    return which == 0 ? 0 : which <= 2 ? -EOPNOTSUPP : -EINVAL;
}

long sys_getitimer(int which, uaddr_t dst)
{
    nsec_t value, interval;
    int err = only_real(which);
    if (err)
        return err;
    get_real(current_process(), &value, &interval);
    struct timeval_k it[2] = {timeval_of(interval), timeval_of(value)};
    return copy_to_user(dst, it, sizeof(it)) ? -EFAULT : 0;
}

long sys_setitimer(int which, uaddr_t src, uaddr_t old)
{
    struct process *p = current_process();
    struct timeval_k it[2] = {{0, 0}, {0, 0}};
    nsec_t value, interval, old_value, old_interval;
    int err = only_real(which);
    if (err)
        return err;
    if (src && copy_from_user(it, src, sizeof(it)))
        return -EFAULT;
    if (timeval_to_ns(&it[0], &interval) || timeval_to_ns(&it[1], &value))
        return -EINVAL;
    get_real(p, &old_value, &old_interval);
    set_real(p, value, interval);
    struct timeval_k was[2] = {timeval_of(old_interval), timeval_of(old_value)};
    return old && copy_to_user(old, was, sizeof(was)) ? -EFAULT : 0;
}

long sys_alarm(unsigned seconds)
{
    struct process *p = current_process();
    nsec_t value, interval;
    get_real(p, &value, &interval);
    set_real(p, seconds * NSEC_PER_SEC, 0);
    return (value + NSEC_PER_SEC - 1) / NSEC_PER_SEC;
}

/* --- POSIX timers ----------------------------------------------------------------------------- */

struct posix_timer {
    struct list link; /* process->posix_timers, under timers_lock */
    struct timer timer;
    struct process *process;
    int id, clock;
    int notify, signo, tid;
    uint64_t value;
    nsec_t interval;
    int overrun;
};

/* Held while a system call uses a timer: another task of the process may be deleting it. Expiry
 * does not take it. */
static struct mutex calls_lock;

#define TIMERS_MAX 4096
#define SIGEV_SIGNAL 0
#define SIGEV_NONE 1
#define SIGEV_THREAD_ID 4

/* Runs as a bottom half. */
static void posix_timer_expired(struct timer *timer)
{
    struct posix_timer *pt = container_of(timer, struct posix_timer, timer);
    struct process *p = pt->process;
    spin_lock_bh(&timers_lock);
    nsec_t due = pt->timer.due;
    pt->overrun = 0;
    if (pt->interval) {
        int64_t n = intervals_to_next(due, pt->interval);
        pt->overrun = (int)MIN(n - 1, INT32_MAX);
        timer_arm(&pt->timer, time_after(due, n * pt->interval));
    }
    spin_unlock_bh(&timers_lock);
    struct siginfo_k info = {
        .code = SI_TIMER_N, .timer_id = pt->id, .overrun = pt->overrun, .addr = pt->value};
    if (pt->notify == SIGEV_NONE)
        return;
    spin_lock_bh(&process_lock);
    struct task *t = NULL;
    if (pt->notify == SIGEV_THREAD_ID) {
        t = task_find_locked(pt->tid);
        if (t && t->process != p)
            t = NULL;
    }
    if (t || pt->notify == SIGEV_SIGNAL)
        signal_send_locked(p, t, pt->signo, &info);
    spin_unlock_bh(&process_lock);
}

/* With calls_lock held. */
static struct posix_timer *find_timer(int id)
{
    struct posix_timer *pt, *found = NULL;
    spin_lock_bh(&timers_lock);
    list_for_each (pt, &current_process()->posix_timers, link) {
        if (pt->id == id) {
            found = pt;
            break;
        }
    }
    spin_unlock_bh(&timers_lock);
    return found;
}

struct sigevent_k {
    uint64_t value;
    int32_t signo, notify, tid;
    char pad[64 - 20];
};

static int check_event(const struct sigevent_k *ev)
{
    if (ev->notify == SIGEV_NONE)
        return 0;
    if (ev->notify != SIGEV_SIGNAL && ev->notify != SIGEV_THREAD_ID)
        return -EINVAL;
    if (ev->signo < 1 || ev->signo > SIG_COUNT)
        return -EINVAL;
    if (ev->notify == SIGEV_SIGNAL)
        return 0;
    spin_lock_bh(&process_lock);
    struct task *t = task_find_locked(ev->tid);
    bool ok = t && t->process == current_process();
    spin_unlock_bh(&process_lock);
    return ok ? 0 : -EINVAL;
}

long sys_timer_create(int clock, uaddr_t event, uaddr_t id)
{
    struct process *p = current_process();
    struct sigevent_k ev = {.signo = SIGALRM_N, .notify = SIGEV_SIGNAL};
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
        clock != CLOCK_TAI)
        return clock >= 0 && clock <= CLOCK_TAI ? -EOPNOTSUPP : -EINVAL;
    if (event && copy_from_user(&ev, event, sizeof(ev)))
        return -EFAULT;
    int err = check_event(&ev);
    if (err)
        return err;
    struct posix_timer *pt = kzalloc(sizeof(*pt)), *other;
    if (!pt)
        return -EAGAIN;
    timer_init(&pt->timer, posix_timer_expired);
    pt->process = p;
    pt->clock = clock;
    pt->notify = ev.notify;
    pt->signo = ev.signo;
    pt->tid = ev.tid;
    int count = 0, new_id;
    spin_lock_bh(&timers_lock);
    list_for_each (other, &p->posix_timers, link) {
        pt->id = MAX(pt->id, other->id + 1);
        count++;
    }
    pt->value = event ? ev.value : (uint64_t)pt->id;
    new_id = pt->id;
    if (count < TIMERS_MAX)
        list_push_back(&p->posix_timers, &pt->link);
    spin_unlock_bh(&timers_lock);
    if (count >= TIMERS_MAX) {
        kfree(pt);
        return -EAGAIN;
    }
    if (copy_to_user(id, &new_id, sizeof(new_id))) { /* pt may be gone by now */
        sys_timer_delete(new_id);
        return -EFAULT;
    }
    return 0;
}

static void timer_free(struct posix_timer *pt)
{
    spin_lock_bh(&timers_lock);
    list_remove(&pt->link);
    pt->interval = 0;
    spin_unlock_bh(&timers_lock);
    timer_cancel_sync(&pt->timer);
    kfree(pt);
}

static void get_timer(struct posix_timer *pt, struct timespec_k it[2])
{
    it[0] = timespec_of(pt->interval);
    it[1] = timespec_of(timer_armed(&pt->timer) ? MAX(pt->timer.due - time_now(), 1) : 0);
}

static void set_timer(struct posix_timer *pt, nsec_t value, nsec_t interval, bool absolute)
{
    timer_cancel_sync(&pt->timer);
    spin_lock_bh(&timers_lock);
    pt->interval = interval;
    pt->overrun = 0;
    if (value) {
        nsec_t deadline = time_after(time_now(), value);
        bool realtime = pt->clock == CLOCK_REALTIME || pt->clock == CLOCK_TAI;
        if (absolute)
            deadline = realtime ? value - time_realtime() + time_now() : value;
        timer_arm(&pt->timer, MAX(deadline, 0));
    }
    spin_unlock_bh(&timers_lock);
}

long sys_timer_gettime(int id, uaddr_t dst)
{
    struct timespec_k it[2];
    mutex_lock(&calls_lock);
    struct posix_timer *pt = find_timer(id);
    if (pt)
        get_timer(pt, it);
    mutex_unlock(&calls_lock);
    if (!pt)
        return -EINVAL;
    return copy_to_user(dst, it, sizeof(it)) ? -EFAULT : 0;
}

long sys_timer_settime(int id, int flags, uaddr_t src, uaddr_t old)
{
    struct timespec_k it[2], was[2];
    nsec_t interval, value;
    if (copy_from_user(it, src, sizeof(it)))
        return -EFAULT;
    if (timespec_to_ns(&it[0], &interval) || timespec_to_ns(&it[1], &value))
        return -EINVAL;
    mutex_lock(&calls_lock);
    struct posix_timer *pt = find_timer(id);
    if (pt) {
        get_timer(pt, was);
        set_timer(pt, value, interval, flags & TIMER_ABSTIME);
    }
    mutex_unlock(&calls_lock);
    if (!pt)
        return -EINVAL;
    return old && copy_to_user(old, was, sizeof(was)) ? -EFAULT : 0;
}

long sys_timer_getoverrun(int id)
{
    mutex_lock(&calls_lock);
    struct posix_timer *pt = find_timer(id);
    long overrun = pt ? pt->overrun : -EINVAL;
    mutex_unlock(&calls_lock);
    return overrun;
}

long sys_timer_delete(int id)
{
    mutex_lock(&calls_lock);
    struct posix_timer *pt = find_timer(id);
    if (pt)
        timer_free(pt);
    mutex_unlock(&calls_lock);
    return pt ? 0 : -EINVAL;
}

void posix_timers_release(struct process *p)
{
    mutex_lock(&calls_lock);
    while (!list_empty(&p->posix_timers))
        timer_free(list_first(&p->posix_timers, struct posix_timer, link));
    mutex_unlock(&calls_lock);
}

void posix_timers_init(void)
{
    mutex_init(&calls_lock);
}
