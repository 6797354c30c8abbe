/* /proc/PID and /proc/self: the directories (proc_pid.c) and the texts (proc_pid_text.c). */
#ifndef LINUX_PROC_PID_H
#define LINUX_PROC_PID_H

#include "linux/process.h"

void proc_pid_init(void);
void proc_system_init(void); /* proc_system.c */

/* What a file below /proc/PID is about: argument of all its callbacks. */
struct proc_entry {
    struct process *process; /* referenced */
    struct task *task;       /* referenced; the leader outside task/ */
    int fd;                  /* below fd/ and fdinfo/ */
    unsigned what;           /* which of the links */
};

/* The process that an open directory /proc/PID is about, or NULL if f is something else. It lives
 * as long as f. */
struct process *proc_pid_of(const struct file *f);
/* The process' address space, referenced, or NULL if it has ended. */
struct mm *proc_mm_get(struct process *p);

/* struct proc_entry * as arg. */
void proc_show_stat(struct text_buf *b, void *arg);
void proc_show_statm(struct text_buf *b, void *arg);
void proc_show_status(struct text_buf *b, void *arg);
void proc_show_maps(struct text_buf *b, void *arg);
void proc_show_smaps(struct text_buf *b, void *arg);
void proc_show_smaps_rollup(struct text_buf *b, void *arg);
void proc_show_cmdline(struct text_buf *b, void *arg);
void proc_show_environ(struct text_buf *b, void *arg);
void proc_show_auxv(struct text_buf *b, void *arg);
void proc_show_limits(struct text_buf *b, void *arg);

#endif
