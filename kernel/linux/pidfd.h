/* Descriptors that name a process: pidfd_open(2). */
#ifndef LINUX_PIDFD_H
#define LINUX_PIDFD_H

#include "linux/process.h"

/* A file that stands for p (takes a reference). */
int pidfd_create(struct process *p, struct file **out);
/* The process id behind a descriptor of the current process; -EBADF. *nonblock: O_NONBLOCK is set.
 */
int pidfd_pid(int fd, bool *nonblock);

#endif
