/* The host floor has no saved machine context: threads are coroutines kept in floor/threads.c. */
#ifndef ARCH_CONTEXT_H
#define ARCH_CONTEXT_H

struct arch_context {
    void *coroutine;
};

struct user_regs {
    long result;
};

#endif
