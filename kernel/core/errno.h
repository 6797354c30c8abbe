/* Error numbers: Linux's, on every floor. Functions return them negated. */
#ifndef CORE_ERRNO_H
#define CORE_ERRNO_H

#include <asm/errno.h>

/* In-kernel only, as in Linux: the system call is to be restarted after the signal handler if
 * SA_RESTART is set, else it fails with EINTR. Never seen by a program. */
#define ERESTARTSYS 512
/* The same, but EINTR whenever a handler ran, whatever SA_RESTART says: pause, poll, epoll_wait. */
#define ERESTARTNOHAND 514
/* Like ERESTARTNOHAND, but continued through restart_syscall: task->restart is filled in. */
#define ERESTART_RESTARTBLOCK 516

/* Pointers that carry errors: the last page of the address space holds -errno. */
#define ERR_PTR(err) ((void *)(long)(err))
#define PTR_ERR(ptr) ((long)(ptr))
#define IS_ERR(ptr) ((unsigned long)(ptr) >= (unsigned long)-4095)

#endif
