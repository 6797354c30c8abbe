/* x86-64: the counter behind the clock, readable in user mode too. */
#ifndef ARCH_CLOCK_H
#define ARCH_CLOCK_H

#include <stdint.h>

static inline uint64_t arch_counter(void)
{
    uint32_t lo, hi;
    /* Not ahead of earlier loads: else another CPU's later reading could be smaller. */
    asm volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

/* a * b / c with the product in 128 bits; the quotient must fit in 64. */
static inline uint64_t arch_mul_div(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t high, low;
    asm("mulq %3" : "=a"(low), "=d"(high) : "a"(a), "rm"(b) : "cc");
    asm("divq %2" : "+a"(low), "+d"(high) : "rm"(c) : "cc");
    return low;
}

#endif
