/*
 * Signals, as the files that implement them share them; everybody else uses linux/process.h.
 *
 * A signal is pending for a process (struct sighand) or for one task. Sending marks it and
 * interrupts a task that can take it; the task takes it on its way back to user mode
 * (personality_return_to_user), where it runs the default action or sets up the handler's frame.
 */
#ifndef LINUX_SIGNALS_H
#define LINUX_SIGNALS_H

#include "linux/process.h"

#define SIG_COUNT 64
#define SIG_BIT(n) (1ULL << ((n)-1))

/* Numbers and flags of x86-64 and generic Linux. */
#define SIGHUP_N 1
#define SIGINT_N 2
#define SIGQUIT_N 3
#define SIGILL_N 4
#define SIGTRAP_N 5
#define SIGABRT_N 6
#define SIGBUS_N 7
#define SIGFPE_N 8
#define SIGKILL_N 9
#define SIGSEGV_N 11
#define SIGPIPE_N 13
#define SIGALRM_N 14
#define SIGTERM_N 15
#define SIGCHLD_N 17
#define SIGCONT_N 18
#define SIGSTOP_N 19
#define SIGTSTP_N 20
#define SIGTTIN_N 21
#define SIGTTOU_N 22
#define SIGURG_N 23
#define SIGXCPU_N 24
#define SIGXFSZ_N 25
#define SIGVTALRM_N 26
#define SIGPROF_N 27
#define SIGWINCH_N 28
#define SIGSYS_N 31
#define SIGRTMIN_N 32

#define SIG_DFL_N 0ULL
#define SIG_IGN_N 1ULL
#define SA_NOCLDSTOP_N 0x1ULL
#define SA_NOCLDWAIT_N 0x2ULL
#define SA_SIGINFO_N 0x4ULL
#define SA_RESTORER_N 0x04000000ULL
#define SA_ONSTACK_N 0x08000000ULL
#define SA_RESTART_N 0x10000000ULL
#define SA_NODEFER_N 0x40000000ULL
#define SA_RESETHAND_N 0x80000000ULL

#define SI_USER_N 0
#define SI_KERNEL_N 0x80
#define SI_QUEUE_N (-1)
#define SI_TIMER_N (-2)
#define SI_TKILL_N (-6)
#define SEGV_MAPERR_N 1
#define SEGV_ACCERR_N 2
#define BUS_ADRALN_N 1
#define BUS_ADRERR_N 2
#define FPE_INTDIV_N 1
#define ILL_ILLOPN_N 2
#define TRAP_BRKPT_N 1
#define TRAP_TRACE_N 2
#define CLD_EXITED_N 1
#define CLD_KILLED_N 2
#define CLD_DUMPED_N 3
#define CLD_STOPPED_N 5
#define CLD_CONTINUED_N 6

/* The layout rt_sigaction(2) takes. */
struct sigaction_k {
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    sigset_k mask;
};

struct sighand {
    spinlock_t lock; /* bh: timers send */
    struct sigaction_k action[SIG_COUNT];
    sigset_k pending; /* for any task of the process */
    struct list queue;
    int queued;                  /* entries for the process and its tasks */
    struct wait_queue wait;      /* signalfd, sigtimedwait */
    struct wait_queue stop_wait; /* stopped tasks */
};

/* An entry of a pending queue. */
struct signal_entry {
    struct list link;
    struct siginfo_k info;
    bool preallocated; /* a POSIX timer's: not freed */
};

/* New handlers, all default or copied from `from` (fork). NULL: out of memory. */
struct sighand *sighand_create(const struct sighand *from);
void sighand_free(struct sighand *sh);
/* execve: handlers become default, ignored ones stay. */
void sighand_exec(struct sighand *sh);
/* Drops pending signals of a set, and what is pending for an ended task. */
void signal_discard(struct sighand *sh, sigset_k *pending, struct list *queue, sigset_k which);
void signal_flush_task(struct task *t);
/* Sends under process_lock or with p otherwise stable; the others of process.h check and call it.
 */
int signal_send_locked(struct process *p, struct task *t, int signo, const struct siginfo_k *info);
/* kill(2)'s permission check. 0 or -EPERM. */
int signal_permission(struct process *p, int signo);
/* Sets the current task's blocked mask and looks again at what is pending. */
void signal_set_mask(sigset_k mask);
bool signal_default_ignored(int signo);
/* exit.c: no parent outside the group could continue its members. */
bool process_group_orphaned(const struct process *p);
/* The parent hears of a stop, continue or end: SIGCHLD and child_wait. Under process_lock. */
void signal_parent(struct process *p, int code, int status);

/* rseq.c: a handler is about to run: aborts the sequence that the registers stand in. -EFAULT: the
 * program broke its area. */
int rseq_signal(struct task *t, struct user_regs *regs);

/* --- per architecture: linux/x86_64/ ---------------------------------------------------------- */

/* Builds the handler's frame on the user stack and points regs at the handler. -EFAULT: the stack
 * is not writable. oldmask goes into the frame. */
int sigframe_setup(struct user_regs *regs, const struct sigaction_k *sa,
                   const struct siginfo_k *info, sigset_k oldmask);
/* rt_sigreturn: restores regs; the restored result register. Ends in a forced SIGSEGV on bad
 * frames. */
long sigframe_return(struct user_regs *regs);
/* siginfo_t (128 bytes) from our form. */
void siginfo_export(const struct siginfo_k *info, void *out);
/* The other way, for rt_sigqueueinfo. */
void siginfo_import(const void *in, struct siginfo_k *info);
/* The number of restart_syscall. */
long restart_syscall_nr(void);
/* Whether the registers stand behind a system call that returned -ERESTART..., and its number. */
bool syscall_interrupted(const struct user_regs *regs, long *nr);

#endif
