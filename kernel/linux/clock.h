/* Times as programs see them. */
#ifndef LINUX_CLOCK_H
#define LINUX_CLOCK_H

#include "core/uio.h"
#include "linux/process.h"

struct timespec_k {
    int64_t sec, nsec;
};
struct timeval_k {
    int64_t sec, usec;
};
struct rusage_k {
    struct timeval_k user, system;
    int64_t max_rss, shared, data, stack, min_faults, maj_faults, swaps, in_blocks, out_blocks;
    int64_t messages_sent, messages_received, signals, voluntary, involuntary;
};

static inline struct timespec_k timespec_of(nsec_t t)
{
    return (struct timespec_k){t / NSEC_PER_SEC, t % NSEC_PER_SEC};
}
static inline struct timeval_k timeval_of(nsec_t t)
{
    return (struct timeval_k){t / NSEC_PER_SEC, t % NSEC_PER_SEC / NSEC_PER_USEC};
}
/* Nanoseconds, at most NSEC_NEVER; -EINVAL for negative or denormal times. */
int timespec_to_ns(const struct timespec_k *ts, nsec_t *ns);
int get_timespec(uaddr_t src, nsec_t *ns); /* and -EFAULT */
int put_timespec(uaddr_t dst, nsec_t ns);
/* When a time to wait, from user memory, is over; src 0: never. The errors of get_timespec. */
int get_timeout(uaddr_t src, nsec_t *deadline);
/* Sets the wall clock, which files of timerfd_create may follow. */
void timerfd_set_clock(nsec_t now);
/* How many intervals after `due` the next expiry is: 1 unless some were missed or are too near. */
int64_t intervals_to_next(nsec_t now, nsec_t due, nsec_t interval);
/* A clock of CPU time of the current process or one of its threads (clock_getcpuclockid(3)): *tid
 * is the thread, or 0. -EINVAL. */
int cpu_clock_select(int id, int *tid, bool *user_only);
/* now + duration, without overflow. */
static inline nsec_t time_after(nsec_t now, nsec_t duration)
{
    return duration > NSEC_NEVER - now ? NSEC_NEVER : now + duration;
}

#endif
