/* The supervisor's long-lived child processes: QEMUs, and the one that carries the network. */
#ifndef HOST_CHILD_H
#define HOST_CHILD_H

#include "util.h"

/*
 * Forks. The child (0 is returned) is in a session of its own, so that no Ctrl-C reaches it; has
 * its signals at their defaults, nothing to read, and writes to log_fd; and dies with its parent,
 * however that ends: nobody else could stop it. Returns its pid, or -errno.
 */
pid_t child_start(int log_fd);
/* Whether it has ended, with *status as of waitpid(2). True once. */
bool child_ended(pid_t pid, int *status);

#endif
