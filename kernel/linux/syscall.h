/*
 * The system-call table.
 *
 * Each system call is a plain function `long sys_NAME(...)` whose parameters are those of the
 * manual page (user pointers are uaddr_t); it returns a result or -errno. Two lists name them all,
 * one line each:
 *
 *     SYSCALL(read, (int fd, uaddr_t buf, size_t count))
 *
 * linux/syscalls_process.def: processes, memory, signals, time. linux/syscalls_files.def:
 * descriptors, files, sockets, polling. This header declares the functions from the lists and
 * syscall.c makes the table, indexed by __NR_NAME of <asm/unistd.h>; so a prototype that differs
 * from its definition does not compile. A number that no list names returns -ENOSYS and is named
 * once in the log.
 */
#ifndef LINUX_SYSCALL_H
#define LINUX_SYSCALL_H

#include "core/base.h"

#define SYSCALL(name, params) long sys_##name params;
#include "linux/syscalls_files.def"
#include "linux/syscalls_process.def"
#undef SYSCALL

/* Whether calls are shown to trace_enter() and trace_leave(). */
void syscall_trace(bool on);

/* "read" for 0, "?" for numbers that Linux does not use. */
const char *syscall_name(unsigned nr);

#endif
