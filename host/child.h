/* The supervisor's long-lived child processes: QEMUs, and the one that carries the network. */
#ifndef HOST_CHILD_H
#define HOST_CHILD_H

#include "util.h"

/*
 * Forks. The child (0 is returned) is a child of our keeper (keeper.h), if we have one, so that it
 * outlives us. It is in a session of its own, so that no Ctrl-C reaches it; has its signals at
 * their defaults, nothing to read, and writes to log_fd; and dies with its parent, however that
 * ends: nobody else could stop it. Returns its pid, or -errno.
 */
pid_t child_start(int log_fd);
/* Whether it has ended, with *status as of waitpid(2). It stays so until child_forget(). */
bool child_ended(pid_t pid, int *status);
/* Lets go of one that has ended: only now its pid may become another process's. */
void child_forget(pid_t pid);
/* Ends it, and waits until it has. */
void child_kill(pid_t pid);
/* Ends all children of our keeper but those for which `known` is true, and ourselves. */
void child_kill_others(bool (*known)(void *arg, pid_t pid), void *arg);

#endif
