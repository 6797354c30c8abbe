/* Guest tests: cases that need a process of their own. */
#ifndef TESTS_GUEST_CHILD_H
#define TESTS_GUEST_CHILD_H

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

/* Starts fn in a child. A check that fails in it ends it with status 1. */
static inline pid_t child_start(void (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int failed = setjmp(check_fail);
        if (!failed)
            fn();
        fflush(stdout);
        _exit(failed);
    }
    return pid;
}

/* Waits for a child; its wait status, or -1. */
static inline int child_status(pid_t pid)
{
    int status;
    return waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Runs fn in a child; its wait status. */
static inline int in_child(void (*fn)(void))
{
    return child_status(child_start(fn));
}

static inline void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&t, &t) && errno == EINTR)
        ;
}

/* A child that does nothing until it is killed. */
static inline pid_t idle_child(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    return pid;
}

static inline void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

#endif
