/*
 * Timers on CPU time: of a process, or of one of its threads.
 *
 * Nothing interrupts a thread when its CPU time reaches a value, so a process with such timers is
 * looked at again when they could be due at the earliest, were it to run on all CPUs from now on.
 */
#ifndef LINUX_CPU_TIMER_H
#define LINUX_CPU_TIMER_H

#include "core/list.h"
#include "core/timer.h"

struct process;

struct cpu_timer {
    struct list link; /* process->cpu_timers; on no list: not armed */
    struct process *process;
    int tid;        /* the thread; 0: all of the process */
    bool user_only; /* system time does not count */
    nsec_t due;     /* in CPU time */
    /* Bottom half, with the lock of all CPU timers held: may send signals, but not arm or cancel.
     * Returns when it is due again, or 0. */
    nsec_t (*expired)(struct cpu_timer *ct, nsec_t now);
};

void cpu_timer_init(struct cpu_timer *ct, struct process *p, int tid, bool user_only,
                    nsec_t (*expired)(struct cpu_timer *ct, nsec_t now));
/* The CPU time that it looks at; -1 if the thread has ended. */
nsec_t cpu_timer_clock(const struct cpu_timer *ct);
/* Arms or moves it: to a CPU time. Nothing happens for a process that ends. */
void cpu_timer_arm(struct cpu_timer *ct, nsec_t due);
/* When this returns the callback is not running and will not run. Thread context. */
void cpu_timer_cancel(struct cpu_timer *ct);
/* CPU time until it is due, at least 1; 0 if it is not armed. */
nsec_t cpu_timer_left(const struct cpu_timer *ct);

/* The parts in struct process: set up, and given up at its end. */
void cpu_timers_init(struct process *p);
void cpu_timers_release(struct process *p);

#endif
