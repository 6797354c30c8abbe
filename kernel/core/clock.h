/*
 * How the machine's counter becomes time. The clock page is read by the kernel and, mapped
 * read-only, by programs (vDSO). Readers retry while `sequence` is odd or has changed.
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdint.h>

struct clock_page {
    uint32_t sequence;
    uint32_t reserved;
    uint64_t base_counter;
    int64_t base_ns;     /* monotonic time at base_counter */
    uint64_t mult;       /* nanoseconds per count, times 2^32 */
    int64_t realtime_ns; /* to add to monotonic time for CLOCK_REALTIME */
    uint64_t inverse;    /* counts per nanosecond, times 2^32; the kernel's */
};

#ifdef __KERNEL_IMAGE__
extern struct clock_page clock_page;
/* The counter at kernel entry: time 0. */
void clock_start(uint64_t counter);
/* Sets or corrects the counter's frequency; time goes on from where it is. */
void clock_set_frequency(uint64_t hz);
uint64_t clock_frequency(void);
/* What the counter will be at `when`. */
uint64_t clock_counter_at(int64_t when);
#endif

#endif
