/* The pieces of a panic, for arch's fatal exceptions. */
#ifndef CORE_PANIC_H
#define CORE_PANIC_H

#include "core/base.h"

/* Stops the other CPUs; a second panic (of another CPU, or within a panic) ends here. */
void panic_begin(void);
void panic_print(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* `pc` first unless it is 0, then the callers found from `frame`. */
void panic_backtrace(uintptr_t pc, const void *frame);
NORETURN void panic_end(void);
/* Called by a CPU that got an NMI: does not return during a panic. */
void panic_nmi(void);

/* The function that contains pc and the offset in it; "?" if there is none. */
const char *symbol_of(uintptr_t pc, uintptr_t *offset);

#endif
