/* timerfd: a timer as a file that is readable when it has expired. */
#include "core/timer.h"
#include "core/mem.h"
#include "linux/anon.h"
#include "linux/clock.h"
#include "linux/io.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define TFD_ABSTIME 1
#define TFD_CANCEL_ON_SET 2

enum { CLOCK_REAL = 0, CLOCK_MONO = 1, CLOCK_BOOT = 7, CLOCK_REAL_ALARM = 8, CLOCK_BOOT_ALARM = 9 };

struct timerfd {
    struct timer timer;
    int clock;
    spinlock_t lock; /* bh */
    nsec_t next;     /* when it expires next, monotonic; 0: disarmed */
    nsec_t interval; /* 0: once */
    nsec_t offset;   /* wall clock - monotonic that `next` was reckoned with, if it follows */
    uint64_t ticks;  /* expirations not yet read, up to the last look */
    struct wait_queue wait;
    struct list link;   /* of those that follow the wall clock; alone otherwise */
    bool cancel_on_set; /* with a jump of the clock reading fails, once: `cancelled` */
    bool cancelled;
};

static const struct file_ops timerfd_ops;

/* Counts the expirations up to now and finds the next one. With the lock held. */
static void catch_up(struct timerfd *t, nsec_t now)
{
    if (!t->next || now < t->next)
        return;
    if (!t->interval) {
        t->ticks++;
        t->next = 0;
        return;
    }
    uint64_t n = (uint64_t)(now - t->next) / (uint64_t)t->interval + 1;
    t->ticks += n;
    t->next += (nsec_t)n * t->interval;
}

/* An interval timer that has expired is armed again only when it is read: nobody asks before. */
static void timerfd_expired(struct timer *timer)
{
    struct timerfd *t = container_of(timer, struct timerfd, timer);
    wake_up_key(&t->wait, POLL_IN | POLL_RDNORM);
}

static bool timerfd_due(const struct timerfd *t)
{
    nsec_t next = READ_ONCE(t->next);
    return READ_ONCE(t->cancelled) || READ_ONCE(t->ticks) || (next && time_now() >= next);
}

/* Expirations since the last read; 0: none yet. -ECANCELED. */
static int64_t take_ticks(struct timerfd *t)
{
    spin_lock_bh(&t->lock);
    if (t->cancelled) {
        t->cancelled = false;
        t->ticks = 0;
        spin_unlock_bh(&t->lock);
        return -ECANCELED;
    }
    catch_up(t, time_now());
    int64_t ticks = (int64_t)t->ticks;
    t->ticks = 0;
    if (ticks && t->next)
        timer_arm(&t->timer, t->next);
    spin_unlock_bh(&t->lock);
    return ticks;
}

static ssize_t timerfd_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct timerfd *t = f->data;
    int64_t ticks;
    if (u->resid < sizeof(ticks))
        return -EINVAL;
    while (!(ticks = take_ticks(t))) {
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&t->wait, timerfd_due(t));
        if (err)
            return err;
    }
    if (ticks < 0)
        return ticks;
    int err = uio_write(u, &ticks, sizeof(ticks));
    return err ? err : (ssize_t)sizeof(ticks);
}

static unsigned timerfd_poll(struct file *f, struct poll_table *pt)
{
    struct timerfd *t = f->data;
    poll_register(pt, &t->wait);
    return timerfd_due(t) ? POLL_IN | POLL_RDNORM : 0;
}

/* --- the wall clock ----------------------------------------------------------------------------
 */

static struct mutex followers_lock;
static struct list followers = LIST_INIT(followers);

static void follow_clock(struct timerfd *t, bool on)
{
    mutex_lock(&followers_lock);
    list_remove(&t->link);
    if (on)
        list_push_back(&followers, &t->link);
    mutex_unlock(&followers_lock);
}

static nsec_t clock_offset(void)
{
    return time_realtime() - time_now();
}

static void clock_jumped(struct timerfd *t)
{
    timer_cancel_sync(&t->timer);
    spin_lock_bh(&t->lock);
    nsec_t offset = clock_offset();
    if (t->next) {
        t->next = MAX(t->next - (offset - t->offset), 1);
        timer_arm(&t->timer, t->next);
    }
    t->offset = offset;
    t->cancelled = t->cancel_on_set;
    spin_unlock_bh(&t->lock);
    if (t->cancel_on_set)
        wake_up_key(&t->wait, POLL_IN | POLL_RDNORM);
}

void timerfd_set_clock(nsec_t now)
{
    struct timerfd *t;
    mutex_lock(&followers_lock);
    realtime_set(now);
    list_for_each (t, &followers, link)
        clock_jumped(t);
    mutex_unlock(&followers_lock);
}

void timerfd_init(void)
{
    mutex_init(&followers_lock);
}

static void timerfd_release(struct file *f)
{
    struct timerfd *t = f->data;
    follow_clock(t, false);
    timer_cancel_sync(&t->timer);
    kfree(t);
}

static void timerfd_describe(struct file *f, char *buf, size_t size)
{
    (void)f;
    snprintf(buf, size, "anon_inode:[timerfd]");
}

static const struct file_ops timerfd_ops = {
    .name = "timerfd",
    .read = timerfd_read,
    .poll = timerfd_poll,
    .release = timerfd_release,
    .describe = timerfd_describe,
};

long sys_timerfd_create(int clock, int flags)
{
    if ((unsigned)flags & ~(OPEN_CLOEXEC | OPEN_NONBLOCK))
        return -EINVAL;
    if (clock != CLOCK_REAL && clock != CLOCK_MONO && clock != CLOCK_BOOT &&
        clock != CLOCK_REAL_ALARM && clock != CLOCK_BOOT_ALARM)
        return -EINVAL;
    struct timerfd *t = kzalloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    timer_init(&t->timer, timerfd_expired);
    spin_init(&t->lock);
    wait_queue_init(&t->wait);
    list_init(&t->link);
    t->clock = clock;
    return anon_install(&timerfd_ops, t, OPEN_RDWR | (unsigned)flags);
}

struct itimerspec_k {
    int64_t interval_s, interval_ns, value_s, value_ns;
};

static int to_ns(int64_t s, int64_t ns, nsec_t *out)
{
    if (s < 0 || ns < 0 || ns >= NSEC_PER_SEC)
        return -EINVAL;
    *out = s > INT64_MAX / NSEC_PER_SEC / 2 ? INT64_MAX / 2 : s * NSEC_PER_SEC + ns;
    return 0;
}

static struct itimerspec_k state_of(struct timerfd *t)
{
    nsec_t now = time_now();
    spin_lock_bh(&t->lock);
    catch_up(t, now);
    nsec_t left = t->next ? MAX(t->next - now, 1) : 0, interval = t->interval;
    spin_unlock_bh(&t->lock);
    return (struct itimerspec_k){interval / NSEC_PER_SEC, interval % NSEC_PER_SEC,
                                 left / NSEC_PER_SEC, left % NSEC_PER_SEC};
}

static struct timerfd *timerfd_of(struct fd_hold h)
{
    return h.file->ops == &timerfd_ops ? h.file->data : NULL;
}

static void timerfd_set(struct timerfd *t, nsec_t value, nsec_t interval, int flags)
{
    bool absolute = flags & TFD_ABSTIME;
    bool follows = absolute && (t->clock == CLOCK_REAL || t->clock == CLOCK_REAL_ALARM);
    follow_clock(t, follows);
    timer_cancel_sync(&t->timer);
    spin_lock_bh(&t->lock);
    t->offset = follows ? clock_offset() : 0;
    t->next = !value ? 0 : absolute ? MAX(value - t->offset, 1) : time_now() + value;
    t->interval = interval;
    t->ticks = 0;
    t->cancel_on_set = follows && flags & TFD_CANCEL_ON_SET;
    t->cancelled = false;
    if (t->next)
        timer_arm(&t->timer, t->next);
    spin_unlock_bh(&t->lock);
}

long sys_timerfd_settime(int fd, int flags, uaddr_t new, uaddr_t old)
{
    struct itimerspec_k spec;
    nsec_t value, interval;
    if (flags & ~(TFD_ABSTIME | TFD_CANCEL_ON_SET))
        return -EINVAL;
    if (copy_from_user(&spec, new, sizeof(spec)))
        return -EFAULT;
    if (to_ns(spec.value_s, spec.value_ns, &value) ||
        to_ns(spec.interval_s, spec.interval_ns, &interval))
        return -EINVAL;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct timerfd *t = timerfd_of(h);
    long err = t ? 0 : -EINVAL;
    if (t) {
        struct itimerspec_k before = state_of(t);
        timerfd_set(t, value, interval, flags);
        if (old)
            err = copy_to_user(old, &before, sizeof(before));
    }
    fd_drop(h);
    return err;
}

long sys_timerfd_gettime(int fd, uaddr_t out)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    struct timerfd *t = timerfd_of(h);
    struct itimerspec_k now = {0};
    if (t)
        now = state_of(t);
    fd_drop(h);
    return t ? copy_to_user(out, &now, sizeof(now)) : -EINVAL;
}
