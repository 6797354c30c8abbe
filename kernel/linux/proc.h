/* What the files on processes share among themselves: creation, execution and end. */
#ifndef LINUX_PROC_H
#define LINUX_PROC_H

#include "linux/process.h"

/* --- process.c -------------------------------------------------------------------------------- */
void process_init(void);
/* New objects with one reference (the table's, the thread's), on no list; NULL: out of memory. */
struct process *process_alloc(void);
struct task *task_alloc(const char *name);
/* Undo task_alloc of a task that never ran. */
void task_discard(struct task *t);
/* Gives t a number and makes it a task of p; with new_process, p gets the number and enters the
 * table and its parent's children. -EAGAIN. Under process_lock. */
int task_link_locked(struct task *t, struct process *p, bool new_process);
void task_rehash_locked(struct task *t, int tid);
void process_unhash_locked(struct process *p);
#define PID_MAX 32768
/* The number that was given last, and how many were since boot. */
int process_last_number(void);
uint64_t process_numbers_given(void);
/* Walking the table under process_lock. */
struct process *process_first_locked(void);
struct process *process_after_locked(struct process *p);

/* What process_spawn started and its descendants: on_exit runs when the last of them has ended. */
void job_get(struct job *j);
void job_leave(struct job *j, int pid, int status);

/* --- exec.c ----------------------------------------------------------------------------------- */

/* argv and envp: strings back to back, each with its NUL. */
struct exec_args {
    char *strings;
    size_t len, size;
    size_t env_offset; /* where the environment begins */
    int argc, envc;
};
int exec_args_add(struct exec_args *a, const char *s);  /* -ENOMEM, -E2BIG */
int exec_args_add_user(struct exec_args *a, uaddr_t s); /* and -EFAULT */
void exec_args_free(struct exec_args *a);

/* A program ready to run. The caller takes over mm and file. */
struct exec_image {
    struct mm *mm;
    struct file *file;
    uaddr_t entry, sp;
    char comm[16];
    const struct cred *cred; /* after set-user-id and the capability rules of execve */
    bool secure;
    bool unreadable; /* the program may not be read: no dumps */
};
struct exec_request {
    const struct fs_context *ctx;
    const struct path *at; /* where a relative path starts; NULL: working directory */
    const char *path;
    bool nofollow;
    bool no_new_privs;
    uint64_t stack_limit;
    struct exec_args *args; /* a #! line changes them */
};
/* Opens the program and builds its address space. 0 or execve(2)'s errors. */
int exec_load(const struct exec_request *req, struct exec_image *out);

/* --- exit.c ----------------------------------------------------------------------------------- */
NORETURN void task_exit(int status);
/* Frees a zombie that was taken off its parent's list by wait (or that nobody waits for). Under
 * process_lock; the table's reference is the caller's to put. */
void process_reap_locked(struct process *p);
/* Releases what CLONE_VM shares and wakes the parent of a vfork: exit and execve. */
void vfork_release(struct process *p);

/* --- cred.c ----------------------------------------------------------------------------------- */
/* The one shared, immutable object equal to *c; NULL: out of memory. */
const struct cred *cred_intern(const struct cred *c);
/* Of a name in /etc/passwd (NULL, "": root); ERR_PTR(-ENOENT) if it is not there. */
const struct cred *cred_of_user(const char *name);
/* execve's rules for set-id programs and capabilities: fills in cred, secure, unreadable. */
int exec_cred(const struct cred *old, struct vnode *program, bool no_new_privs,
              struct exec_image *out);

long cred_prctl(int option, uint64_t arg2, uint64_t arg3);

/* --- sysinfo.c -------------------------------------------------------------------------------- */
void uts_init(void);
void sysinfo_register(void);

/* Drops what a process that never ran has: descriptors, memory, executable, folders. */
void process_release_parts(struct process *p);

/* --- time.c, itimer.c, posix_timer.c, futex.c
 * -------------------------------------------------------------------------- */
/* schedule.c: policy, priority and niceness of a new task. */
void sched_policy_inherit(struct task *child, const struct task *parent);
/* itimer.c: the timers in a new process; RLIMIT_CPU or RLIMIT_RTTIME was set or inherited. */
void itimers_init(struct process *p);
void cpu_limits_changed(struct process *p);
/* A timer's signal is taken: its overruns are what timer_getoverrun(2) tells. */
void posix_timer_delivered(struct process *p, const struct siginfo_k *info);
void posix_timers_release(struct process *p);
void posix_timers_init(void);
void mqueue_init(void);
/* User and system time so far. process: ended tasks included. */
void task_times(struct task *t, nsec_t *user, nsec_t *system);
void process_times(struct process *p, nsec_t *user, nsec_t *system);
void futex_init(void);
/* Robust list and clear_child_tid of the ending current task. */
void futex_task_exit(struct task *t);
/* FUTEX_WAKE on a word of the current address space. */
int futex_wake(uaddr_t word, int count);

#endif
