/*
 * Tracing: the system calls and signals of programs as records of a monitor (linux/monitor.h,
 * MONITOR_TRACE). All functions: thread context, of a task.
 */
#ifndef LINUX_TRACE_H
#define LINUX_TRACE_H

#include "core/user.h"
#include "linux/process.h"

/* A call under way. */
struct trace_call {
    uint64_t args[6];
    nsec_t begin;
    unsigned nr;
};

/* Tells of the entry. False: this call is not to be told. */
bool trace_enter(struct trace_call *c, const struct user_regs *regs, uint64_t nr);
void trace_leave(const struct trace_call *c, long result);

/* The current task takes a signal; it ends. Cheap where nobody traces. */
void trace_signal(const struct siginfo_k *info);
void trace_end(int status);
/* Whether children of a traced process are traced. */
bool trace_follows(void);

/* Reads the boot arguments. */
void trace_init(void);
/* Boot argument trace=1: the first program waits here until somebody traces, ten seconds at most.
 */
void trace_wait(void);

#endif
