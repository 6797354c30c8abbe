/*
 * Threads: kernel threads and the kernel half of the program's threads.
 *
 * A thread is embedded in its owner's object or allocated by thread_create. Each CPU has a run
 * queue; a woken thread goes to the CPU it last ran on unless that one is busy and another is idle
 * and allowed. Within a CPU threads share time in slices; user mode is preempted by the timer only
 * when another thread is runnable there (tickless otherwise). Real-time threads run before all
 * others, the highest priority first, but leave these 5 % of each second of a CPU.
 */
#ifndef CORE_THREAD_H
#define CORE_THREAD_H

#include "arch/context.h"
#include "core/atomic.h"
#include "core/list.h"
#include "core/lock.h"
#include "core/rbtree.h"

#define MAX_CPUS 64
typedef uint64_t cpumask_t; /* one bit per CPU */

struct aspace;
struct process;

enum thread_state { THREAD_NEW, THREAD_RUNNABLE, THREAD_SLEEPING, THREAD_DEAD };

struct thread {
    struct arch_context context; /* saved kernel registers, FPU state, TLS base: arch's own */
    enum thread_state state;
    bool on_cpu; /* its context is live on some CPU */
    bool interruptible;
    bool interrupted; /* thread_interrupt() was called; cleared by its owner */
    bool fault_safe;  /* user faults fail instead of being handled (see uio_*_nofault) */
    int cpu;          /* last or current */
    /* What the program was told of the CPU it runs on; -1: it does not ask. Else, before it goes
     * on, personality_switched() is called if that changed or it was interrupted. */
    int cpu_seen;
    int nice;
    int rt_priority; /* 1..99: real time, before all others; 0: shares with them */
    bool rt_round;   /* shares with those of its priority (SCHED_RR) */
    cpumask_t affinity;
    bool parked; /* asleep and off its CPU: whoever wakes it queues it */
    bool queued; /* waits on the queue of `cpu` */
    struct rb_node run_node;
    nsec_t vruntime;       /* weighted run time: the least one runs next; real time: its turn */
    spinlock_t lock;       /* state transitions; irqsave */
    void *stack;           /* kernel stack, KERNEL_STACK_SIZE bytes */
    struct aspace *aspace; /* user address space to activate, or NULL: a kernel thread */
    nsec_t run_ns;         /* total time on a CPU; user_ns: the part of it in user mode */
    nsec_t user_ns;
    nsec_t run_before_sleep; /* run_ns when it last slept */
    nsec_t slice_end;
    uint64_t switches, preemptions;
    void (*entry)(void *arg);
    void *arg;
    /* Called on another stack once the dead thread's stack is no longer in use; frees the object
     * that embeds the thread. May not sleep. NULL for thread_create's own. */
    void (*release)(struct thread *t);
    char name[16];
};

#define KERNEL_STACK_SIZE (16 * 1024UL)

/* The running thread. Inline in arch/cpu.h: struct thread *thread_current(void). */

/* Allocates and starts a kernel thread. -ENOMEM. */
int thread_create(struct thread **out, void (*entry)(void *arg), void *arg, const char *name);

/* Prepares an embedded thread (all zero before) with a stack of its own; thread_start makes it
 * runnable. entry must end with thread_exit. -ENOMEM. */
int thread_init(struct thread *t, void (*entry)(void *arg), void *arg, const char *name);
void thread_start(struct thread *t);
/* Undo thread_init of a thread that was never started. */
void thread_discard(struct thread *t);

/* Ends the current thread; the scheduler calls t->release later. */
NORETURN void thread_exit(void);

/* Makes a sleeping thread runnable; no effect otherwise. Any context. */
void thread_wake(struct thread *t);
/* Sets t->interrupted and, if it sleeps interruptibly or runs user code on another CPU, gets it
 * out: it will pass through return-to-user soon. Any context. */
void thread_interrupt(struct thread *t);
/* True if the current thread should stop waiting interruptibly. */
bool thread_interrupted(void);

/* Gives the CPU to another runnable thread, if any. Thread context. */
void thread_yield(void);
/* In long kernel loops: yields if the time slice is used up or someone more deserving waits. */
void cond_resched(void);
/* Sleeps until `deadline`; 0, or -ERESTARTSYS when interrupted (interruptible only). */
int thread_sleep_until(nsec_t deadline, bool interruptible);

/* Moves the thread if its current CPU is not in the mask. -EINVAL if the mask has no running CPU.
 */
int thread_set_affinity(struct thread *t, cpumask_t mask);

/* Gives the thread a real-time priority, or none (0). It counts from now on. */
void thread_set_realtime(struct thread *t, int priority, bool round_robin);
/* How long a thread runs at most before the next one of its priority does. */
#define THREAD_ROUND (100 * NSEC_PER_MSEC)

/* Waits until every thread that is in the kernel now has slept, yielded or left it: what they read
 * without a reference before, and do not hold across any of these, they do not use any more.
 * Thread context. */
void thread_grace_period(void);

/* Number of running CPUs (1..MAX_CPUS); CPU numbers are 0..n-1. Inline in arch/cpu.h: int
 * cpu_id(void) for the current one. */
extern int cpu_count;

/* Time on a CPU up to now in ns, and the part of it in user mode. */
void thread_times(struct thread *t, nsec_t *total, nsec_t *user);
/* Time on a CPU since it last slept. */
nsec_t thread_run_since_sleep(struct thread *t);

/* Idle and busy time per CPU in ns, for /proc/stat. */
void cpu_times(int cpu, nsec_t *user, nsec_t *system, nsec_t *idle);
/* Context switches of a CPU since it came up. */
uint64_t cpu_switches(int cpu);

#endif
