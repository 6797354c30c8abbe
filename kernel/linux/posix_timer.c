/* POSIX timers: timer_create(2). */
#include <linux/time.h>

#include "linux/clock.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

/* Protects the timers' lists and settings against their expiry. Taken after the CPU timers' lock.
 */
static spinlock_t timers_lock = SPINLOCK_INIT;

struct posix_timer {
    struct list link; /* process->posix_timers, under timers_lock */
    bool on_cpu_time;
    struct timer timer; /* one of the two */
    struct cpu_timer cpu;
    struct process *process;
    int id, clock;
    int notify, signo, tid;
    uint64_t value;
    nsec_t interval;
    int overrun; /* of the signal that was delivered last */
};

/* Held while a system call uses a timer: another task of the process may be deleting it. Expiry
 * does not take it. */
static struct mutex calls_lock;

#define TIMERS_MAX 4096
#define SIGEV_SIGNAL 0
#define SIGEV_NONE 1
#define SIGEV_THREAD_ID 4

/* Sends the signal. It tells how many expirations there were since the last one, beyond one; those
 * that come while it is pending are added to it (signal.c). Bottom half. */
static void notify(struct posix_timer *pt, int overrun)
{
    struct process *p = pt->process;
    struct siginfo_k info = {
        .code = SI_TIMER_N, .timer_id = pt->id, .overrun = overrun, .addr = pt->value};
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

/* When the timer that was due at `due` is due again, or 0. *overrun: expirations left out. */
static nsec_t next_due(const struct posix_timer *pt, nsec_t now, nsec_t due, int *overrun)
{
    *overrun = 0;
    if (!pt->interval)
        return 0;
    int64_t n = intervals_to_next(now, due, pt->interval);
    *overrun = (int)MIN(n - 1, INT32_MAX);
    return time_after(due, n * pt->interval);
}

static void timer_expired(struct timer *timer)
{
    struct posix_timer *pt = container_of(timer, struct posix_timer, timer);
    int overrun;
    spin_lock_bh(&timers_lock);
    nsec_t next = next_due(pt, time_now(), pt->timer.due, &overrun);
    if (next)
        timer_arm(&pt->timer, next);
    spin_unlock_bh(&timers_lock);
    notify(pt, overrun);
}

static nsec_t cpu_timer_expired(struct cpu_timer *ct, nsec_t now)
{
    struct posix_timer *pt = container_of(ct, struct posix_timer, cpu);
    int overrun;
    nsec_t next = next_due(pt, now, ct->due, &overrun);
    notify(pt, overrun);
    return next;
}

void posix_timer_delivered(struct process *p, const struct siginfo_k *info)
{
    struct posix_timer *pt;
    spin_lock_bh(&timers_lock);
    list_for_each (pt, &p->posix_timers, link) {
        if (pt->id == info->timer_id)
            pt->overrun = info->overrun;
    }
    spin_unlock_bh(&timers_lock);
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
    int tid, err;
    bool user_only = false;
    bool wall = clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
                clock == CLOCK_TAI;
    if (!wall) {
        err = cpu_clock_select(clock, &tid, &user_only);
        if (err)
            return err;
    }
    if (event && copy_from_user(&ev, event, sizeof(ev)))
        return -EFAULT;
    err = check_event(&ev);
    if (err)
        return err;
    struct posix_timer *pt = kzalloc(sizeof(*pt)), *other;
    if (!pt)
        return -EAGAIN;
    pt->on_cpu_time = !wall;
    if (wall)
        timer_init(&pt->timer, timer_expired);
    else
        cpu_timer_init(&pt->cpu, p, tid, user_only, cpu_timer_expired);
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

static void disarm(struct posix_timer *pt)
{
    if (pt->on_cpu_time)
        cpu_timer_cancel(&pt->cpu);
    else
        timer_cancel_sync(&pt->timer);
}

static void timer_free(struct posix_timer *pt)
{
    spin_lock_bh(&timers_lock);
    list_remove(&pt->link);
    pt->interval = 0;
    spin_unlock_bh(&timers_lock);
    disarm(pt);
    kfree(pt);
}

static void get_timer(struct posix_timer *pt, struct timespec_k it[2])
{
    nsec_t left;
    if (pt->on_cpu_time)
        left = cpu_timer_left(&pt->cpu);
    else
        left = timer_armed(&pt->timer) ? MAX(pt->timer.due - time_now(), 1) : 0;
    it[0] = timespec_of(pt->interval);
    it[1] = timespec_of(left);
}

static void arm(struct posix_timer *pt, nsec_t value, bool absolute)
{
    if (pt->on_cpu_time) {
        cpu_timer_arm(&pt->cpu, absolute ? value : time_after(cpu_timer_clock(&pt->cpu), value));
        return;
    }
    nsec_t deadline = time_after(time_now(), value);
    bool realtime = pt->clock == CLOCK_REALTIME || pt->clock == CLOCK_TAI;
    if (absolute)
        deadline = realtime ? value - time_realtime() + time_now() : value;
    timer_arm(&pt->timer, MAX(deadline, 0));
}

static void set_timer(struct posix_timer *pt, nsec_t value, nsec_t interval, bool absolute)
{
    disarm(pt);
    spin_lock_bh(&timers_lock);
    pt->interval = interval;
    pt->overrun = 0;
    spin_unlock_bh(&timers_lock);
    if (value)
        arm(pt, value, absolute);
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
    if (!src)
        return -EINVAL;
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
