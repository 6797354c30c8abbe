/*
 * The host floor: the interface of core/ over libc, for unit tests and fuzzers.
 *
 * One CPU, virtual time, coroutine threads: everything is deterministic. Time stands still while
 * code runs. When the running thread blocks, the others run, then bottom halves and work; when
 * nothing is runnable, time jumps to the next timer. A thread that could never be woken is reported
 * as a deadlock.
 */
#ifndef FLOOR_H
#define FLOOR_H

#include "core/base.h"

struct irq;

/* Runs everything that is runnable now, without moving the clock. */
void floor_run(void);
/* Moves the clock by ns, running timers as they come due and everything they cause. */
void floor_advance(nsec_t ns);
/* Runs until cond(arg) is true or `ns` have passed; whether it became true. */
bool floor_run_until(bool (*cond)(void *arg), void *arg, nsec_t ns);
/* The n-th allocation from now on (pages, slabs, heap) fails, once; 0: none. */
void floor_fail_alloc(unsigned n);
/* Deterministic seed of rand_bytes. */
void floor_seed(uint64_t seed);
/* Delivers a device interrupt. */
void floor_irq(struct irq *irq);
/* Makes page-aligned memory of the test's own into allocated pages with one reference each, as the
 * boot image's are; page_put of the last reference forgets them. */
void floor_adopt_pages(void *addr, size_t pages);
/* Pages that are allocated now: leak checks. */
size_t floor_pages_in_use(void);
/* So many times page_reclaim will say that it found something. */
void floor_reclaimable(unsigned times);
/* klog is silent unless FLOOR_LOG=1 is in the environment; the number of lines by now. */
unsigned floor_log_lines(void);
/* The last line logged. */
const char *floor_log_last(void);

#endif
