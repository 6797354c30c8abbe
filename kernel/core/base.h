/* What every file needs: fixed-width types, a few macros, string functions, assertions. */
#ifndef CORE_BASE_H
#define CORE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/errno.h"

/* A user-space address; never dereferenced directly, see core/uio.h. */
typedef uint64_t uaddr_t;
/* A physical address. */
typedef uint64_t paddr_t;
/* Nanoseconds: a point of the monotonic clock or a duration. */
typedef int64_t nsec_t;
#if !defined(__ssize_t_defined) && !defined(_SSIZE_T_DEFINED)
typedef long ssize_t;
#define __ssize_t_defined
#define _SSIZE_T_DEFINED
#endif

#define NSEC_PER_USEC 1000LL
#define NSEC_PER_MSEC 1000000LL
#define NSEC_PER_SEC 1000000000LL
#define NSEC_NEVER INT64_MAX

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member)                                                            \
    ((type *)((char *)(1 ? (ptr) : &((type *)0)->member) - offsetof(type, member)))
#define MIN(a, b)                                                                                  \
    ({                                                                                             \
        __typeof__(a) min_a = (a);                                                                 \
        __typeof__(b) min_b = (b);                                                                 \
        min_a < min_b ? min_a : min_b;                                                             \
    })
#define MAX(a, b)                                                                                  \
    ({                                                                                             \
        __typeof__(a) max_a = (a);                                                                 \
        __typeof__(b) max_b = (b);                                                                 \
        max_a > max_b ? max_a : max_b;                                                             \
    })
#define ROUND_UP(x, align) (((x) + (__typeof__(x))(align)-1) & ~((__typeof__(x))(align)-1))
#define ROUND_DOWN(x, align) ((x) & ~((__typeof__(x))(align)-1))
#define DIV_ROUND_UP(x, y) (((x) + (y)-1) / (y))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* The freestanding image has its own (core/string.c); the host floor uses libc's. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *haystack, const char *needle);

/* Copies at most size - 1 bytes and always ends dst with NUL; returns strlen(src). */
size_t str_copy(char *dst, const char *src, size_t size);

/* C99 subset: flags - 0 space + #, width, precision, *, hh h l ll z t, d i u x X o c s p %.
 * Returns the length the whole text would have. */
int snprintf(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
int vsnprintf(char *buf, size_t size, const char *fmt, va_list ap) PRINTF_LIKE(3, 0);

/* Parses an unsigned decimal or 0x number of the whole string; 0 or -EINVAL/-ERANGE. */
int parse_u64(const char *text, uint64_t *value);

/*
 * The kernel log. Any context. One line per call, without a trailing newline. Levels, as syslog(2)
 * numbers them: the more severe, the less.
 */
enum log_level {
    LOG_EMERG,
    LOG_ALERT,
    LOG_CRIT,
    LOG_ERROR,
    LOG_WARN,
    LOG_NOTICE,
    LOG_INFO,
    LOG_DEBUG
};
void klog(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Prints the message and a symbolised backtrace, stops the other CPUs and ends the VM with
 * BOOT_EXIT_PANIC. Any context. */
NORETURN void panic(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* For our own invariants only; input of any kind is checked and refused instead. Always on. */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(!(cond)))                                                                     \
            panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #cond);                       \
    } while (0)

#endif
