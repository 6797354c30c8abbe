/* Guest tests: what becomes of a call that a signal with a handler interrupts. */
#ifndef TESTS_GUEST_DISTURB_H
#define TESTS_GUEST_DISTURB_H

#include "child.h"

static volatile int seen;

static inline void count(int signo)
{
    (void)signo;
    seen++;
}

static inline void handle(int flags)
{
    struct sigaction sa = {.sa_handler = count, .sa_flags = flags};
    sigaction(SIGUSR1, &sa, NULL);
    seen = 0;
}

static void (*let_go)(void); /* ends a restarted call */

/* Signals this process once it sleeps, and ends its call once it sleeps again. */
static inline pid_t disturb(void)
{
    pid_t me = getpid(), pid = fork();
    if (pid == 0) {
        until_asleep(me);
        kill(me, SIGUSR1);
        if (let_go) {
            usleep(20000);
            until_asleep(me);
            let_go();
        }
        _exit(0);
    }
    return pid;
}

#endif
