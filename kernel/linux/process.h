/*
 * Processes and tasks of the Linux personality.
 *
 *   struct task      one thread of a program (what gettid(2) names); embeds the kernel thread
 *   struct process   what the tasks of a thread group share: address space, descriptors, signal
 *                    handlers, credentials, children
 *
 * Owners: process.c, clone.c, exec.c, exit.c, wait.c, signal*.c, mm*.c, futex.c and time*.c
 * implement what is declared here up to "descriptors"; fd.c and the files on I/O implement the
 * descriptor part.
 */
#ifndef LINUX_PROCESS_H
#define LINUX_PROCESS_H

#include "core/list.h"
#include "core/lock.h"
#include "core/thread.h"
#include "core/timer.h"
#include "core/user.h"
#include "core/wait.h"
#include "fs/vfs.h"
#include "linux/cpu_timer.h"

typedef uint64_t sigset_k; /* bit n-1: signal n */

struct mm;         /* address space: linux/mm.h */
struct fd_table;   /* descriptors: linux/fd.h */
struct sighand;    /* handlers and shared pending signals: linux/signals.h */
struct session_io; /* control channel session: linux/control.c */

#define RLIMIT_COUNT 16

/* Bytes and calls of read and write in the widest sense: /proc/PID/io. */
struct io_counts {
    uint64_t read, written, reads, writes;
};
static inline void io_counts_add(struct io_counts *to, const struct io_counts *from)
{
    to->read += from->read;
    to->written += from->written;
    to->reads += from->reads;
    to->writes += from->writes;
}

struct rlimit_k {
    uint64_t cur, max;
};

struct process {
    refcount_t refs;
    int pid, pgid, sid;
    struct list all_link; /* process table, in pid order */
    struct list hash_link;
    struct process *parent; /* under process_lock; NULL only for pid 1 */
    struct list children, sibling;
    struct list tasks; /* struct task.group_link; under process_lock */
    int task_count;
    struct wait_queue task_wait; /* woken when a task ended: execve waits to be alone */
    struct task *leader;         /* referenced; its comm outlives it */
    struct task *exec_task;      /* execve under way: all others are to end */
    struct mm *mm;
    struct fd_table *files;
    struct fs_context fs; /* root, cwd, umask, cred; changes under fs_lock. Credentials are
                             interned by linux/cred.c: immutable, never freed */
    struct mutex fs_lock;
    struct sighand *sighand;
    int exit_signal;        /* sent to the parent at exit; 0: none */
    bool exiting;           /* group exit under way */
    struct core_dump *core; /* being written: all tasks wait for it, on task_wait */
    bool zombie;
    int exit_status;              /* wait(2) format */
    struct wait_queue child_wait; /* wait4 of this process */
    struct wait_queue exit_wait;  /* pidfd polls: woken at exit */
    struct rlimit_k rlimits[RLIMIT_COUNT];
    nsec_t start_time;
    nsec_t user_ns, system_ns; /* of ended tasks */
    nsec_t child_user_ns, child_system_ns;
    uint64_t min_faults, maj_faults, child_min_faults, child_maj_faults;
    struct io_counts io;   /* of ended tasks */
    struct file *exe_file; /* what runs: /proc/PID/exe; under fs_lock */
    bool dumpable, no_new_privs, keep_caps, did_exec;
    struct wait_queue vfork_wait; /* the parent of a vfork waits here on the child */
    bool vfork_done;
    bool stopped;                  /* job control; under sighand->lock */
    bool stop_reported, continued; /* what wait has yet to tell, or has told */
    int stop_signal;
    bool autoreap; /* nobody will wait for it */
    int pdeath_signal;
    struct job *job;         /* what process_spawn started: counts its descendants */
    struct timer real_timer; /* ITIMER_REAL */
    nsec_t real_interval;
    struct cpu_itimer {
        struct cpu_timer timer;
        nsec_t interval;
    } virtual_timer, prof_timer; /* ITIMER_VIRTUAL, ITIMER_PROF */
    struct cpu_timer cpu_limit;  /* RLIMIT_CPU */
    struct cpu_timer rt_limit;   /* RLIMIT_RTTIME */
    struct list cpu_timers;      /* armed ones */
    struct timer cpu_watch;
    struct list posix_timers;
    struct list sem_undos; /* SEM_UNDO, under ipc_lock */
    uint32_t personality;
    struct tty *tty;            /* controlling terminal, referenced; under process_lock */
    struct session_io *session; /* of the control channel, inherited; NULL: console */
    int oom_score_adj;
    uint32_t child_subreaper;
    bool traced; /* by the monitor that traces: linux/trace.h */
};

struct task {
    struct thread thread; /* must be first */
    refcount_t refs;
    struct process *process;
    int tid;
    struct list group_link, hash_link;
    struct user_regs start_regs; /* registers of the first entry into user mode */
    /* signals: under sighand->lock */
    sigset_k blocked, saved_blocked;
    bool restore_blocked; /* sigsuspend, ppoll, epoll_pwait: put saved_blocked back */
    sigset_k pending;
    struct list pending_info;
    struct {
        uaddr_t sp;
        uint64_t size;
        unsigned flags;
    } altstack;
    uaddr_t clear_child_tid; /* set_tid_address, CLONE_CHILD_CLEARTID */
    uaddr_t set_child_tid;
    uaddr_t robust_list;
    uint64_t robust_len;
    uaddr_t rseq;
    uint32_t rseq_len, rseq_sig;
    struct { /* restart_syscall: nanosleep, poll, futex with relative time-outs */
        long (*fn)(struct task *t);
        uint64_t args[5];
    } restart;
    char comm[16];
    uint64_t min_faults, maj_faults;
    struct io_counts io;
    uint16_t ioprio;      /* ioprio_set's class and level; 0: none */
    uint8_t policy;       /* SCHED_*; what the scheduler knows of it is in thread */
    bool reset_on_fork;   /* children do not inherit real time and raised niceness */
    uint64_t timer_slack; /* PR_SET_TIMERSLACK: kept, but timers here are exact; 0: the default */
};

/* The current task; only in system calls and user faults (not in kernel threads: NULL there). */
static inline struct task *current_task(void)
{
    extern bool thread_is_task(struct thread * t);
    struct thread *t = thread_current();
    return t->aspace || thread_is_task(t) ? (struct task *)t : NULL;
}
static inline struct process *current_process(void)
{
    return ((struct task *)thread_current())->process;
}

/* Protects the process tree, groups and sessions, the pid table and process->tasks. bh-safe. */
extern spinlock_t process_lock;

/* Referenced, or NULL. */
struct process *process_find(int pid);
/* rseq.c: execve starts without one. */
void rseq_forget(struct task *t);
struct task *task_find_locked(int tid); /* under process_lock */
void task_put(struct task *t);
void process_put(struct process *p);
/* pid 1: the kernel's own; takes in orphans. */
extern struct process *init_process;
/* Every process, in pid order from `from` on: referenced; NULL at the end. */
struct process *process_next(int from);

/* What the supervisor or the boot arguments start. stdio: files for 0, 1, 2 (references are taken
 * over). Strings are kernel memory. The new process is a child of pid 0 (the kernel): on_exit is
 * called in thread context with its wait status once it is gone. 0 and *pid, or negative errno
 * (execve's). */
struct spawn {
    const char *program;                   /* path, or name looked up in PATH of envp */
    const char *const *argv, *const *envp; /* NULL-terminated */
    const char *cwd;
    const char *user; /* NULL or "": root; looked up in /etc/passwd, groups in /etc/group */
    struct file *stdio[3];
    struct session_io *session;
    struct tty *tty; /* controlling terminal; NULL: none */
    void (*on_exit)(int status, void *arg);
    void *arg;
};
int process_spawn(const struct spawn *s, int *pid);

/* Ends all tasks of the current process; never returns. status in wait(2) format. */
NORETURN void process_exit_group(int status);

/* --- credentials ------------------------------------------------------------------------------ */
static inline const struct cred *current_cred(void)
{
    return current_process()->fs.cred;
}
bool capable(int cap); /* CAP_* number */
/* Whether the current process may look into another one's memory and descriptors, as ptrace(2) has
 * it: the same user in all ids, nothing gained by set-user-id, or CAP_SYS_PTRACE. */
bool process_may_access(struct process *p);

/* --- signals ---------------------------------------------------------------------------------- */
struct siginfo_k { /* the kernel's own form; made into siginfo_t by the per-architecture file */
    int signo, code, err;
    int pid;
    uint32_t uid;
    uint64_t addr; /* fault address, or sigval */
    int status;    /* SIGCHLD */
    nsec_t utime, stime;
    int timer_id, overrun;
    int fd;
    unsigned band;
};
/* Sends to a process (any eligible task takes it) or to one task. 0 or -ESRCH/-EAGAIN. Any context
 * but hard interrupts. NULL info: SI_KERNEL. */
int signal_send_process(struct process *p, int signo, const struct siginfo_k *info);
int signal_send_task(struct task *t, int signo, const struct siginfo_k *info);
int signal_send_group(int pgid, int signo, const struct siginfo_k *info);
/* A synchronous signal for the current task that cannot be ignored or blocked. */
void signal_force(int signo, const struct siginfo_k *info);
/* True if a signal the task does not block is pending: what makes a sleep end. */
bool signal_pending(struct task *t);
/* True if the current task is about to be killed: long work for it may stop. */
bool signal_fatal_pending(void);
/* signalfd: takes one pending signal out of `set` for the current task; false: none. */
bool signal_dequeue(struct task *t, sigset_k set, struct siginfo_k *info);
/* Woken whenever a signal is queued to the process: signalfd, sigtimedwait. */
struct wait_queue *signal_wait_queue(struct process *p);
/* Temporary mask for ppoll and friends, from user memory: replaces task->blocked until the system
 * call returns. -EINVAL: another size than a mask has; -EFAULT. */
int signal_set_temporary_mask(uaddr_t set, size_t size);
/* Ends it. `result` is what the system call is about to return; it is returned again. After an
 * interruption (-ERESTART...) the old mask comes back only when the handler has been set up. */
long signal_end_temporary_mask(long result);

/* --- memory, as other files use it ------------------------------------------------------------ */
/* fd-backed special mappings come through file->vnode; see linux/mm.h. */

/* --- descriptors: linux/fd.c ------------------------------------------------------------------ */
#include "linux/fd.h"

#endif
