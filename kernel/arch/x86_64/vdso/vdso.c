/*
 * System calls that programs make without entering the kernel: clocks and the current CPU. Names
 * and version are those of vdso(7). Reads the clock page (core/clock.h), mapped just below the
 * image.
 */
#include <stddef.h>
#include <stdint.h>

#include "arch/clock.h"
#include "core/clock.h"

#define NSEC_PER_SEC 1000000000
#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define CLOCK_MONOTONIC_RAW 4
#define CLOCK_REALTIME_COARSE 5
#define CLOCK_MONOTONIC_COARSE 6
#define CLOCK_BOOTTIME 7
#define CLOCK_TAI 11
#define SYS_clock_gettime 228
#define SYS_clock_getres 229

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) __attribute__((visibility("default"), weak, alias(#name)))

struct timespec {
    int64_t sec, nsec;
};
struct timeval {
    int64_t sec, usec;
};

extern const struct clock_page vdso_clock_page __attribute__((visibility("hidden")));

static long system_call(long nr, long a, long b)
{
    long result;
    asm volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
    return result;
}

/* Monotonic time and, to add for CLOCK_REALTIME, *offset. */
static int64_t now(int64_t *offset)
{
    const volatile struct clock_page *c = &vdso_clock_page;

    for (;;) {
        uint32_t sequence = c->sequence;
        asm volatile("" : : : "memory");
        uint64_t count = arch_counter() - c->base_counter;
        int64_t ns = c->base_ns + (int64_t)((unsigned __int128)count * c->mult >> 32);
        *offset = c->realtime_ns;
        asm volatile("" : : : "memory");
        if (!(sequence & 1) && sequence == c->sequence)
            return ns;
        asm volatile("pause");
    }
}

EXPORT int __vdso_clock_gettime(int clock, struct timespec *ts)
{
    int64_t offset, ns = now(&offset);

    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        ns += offset;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        break;
    default: /* CPU time clocks */
        return (int)system_call(SYS_clock_gettime, clock, (long)ts);
    }
    ts->sec = ns / NSEC_PER_SEC;
    ts->nsec = ns % NSEC_PER_SEC;
    return 0;
}

EXPORT int __vdso_gettimeofday(struct timeval *tv, void *zone)
{
    int64_t offset, ns = now(&offset);

    ns += offset;
    if (tv) {
        tv->sec = ns / NSEC_PER_SEC;
        tv->usec = ns % NSEC_PER_SEC / 1000;
    }
    if (zone)
        *(int64_t *)zone = 0; /* minutes west of Greenwich, daylight saving */
    return 0;
}

EXPORT int64_t __vdso_time(int64_t *t)
{
    int64_t offset, s = now(&offset);

    s = (s + offset) / NSEC_PER_SEC;
    if (t)
        *t = s;
    return s;
}

EXPORT int __vdso_clock_getres(int clock, struct timespec *ts)
{
    return (int)system_call(SYS_clock_getres, clock, (long)ts);
}

EXPORT int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
    uint32_t id, high;

    (void)unused;
    asm volatile("rdtscp" : "=c"(id), "=d"(high) : : "eax");
    (void)high;
    if (cpu)
        *cpu = id;
    if (node)
        *node = 0;
    return 0;
}

int clock_gettime(int, struct timespec *) ALIAS(__vdso_clock_gettime);
int gettimeofday(struct timeval *, void *) ALIAS(__vdso_gettimeofday);
int64_t time(int64_t *) ALIAS(__vdso_time);
int clock_getres(int, struct timespec *) ALIAS(__vdso_clock_getres);
int getcpu(unsigned *, unsigned *, void *) ALIAS(__vdso_getcpu);
