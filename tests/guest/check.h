/*
 * Guest tests: ordinary Linux programs that run inside a domain - and on Linux, which is the
 * oracle: the runner requires the same cases to pass on both. A case is a function; each prints "ok
 * NAME" or "not ok NAME: file:line: what". The program's exit status is 0 if all passed.
 *
 *     static void pipe_carries_bytes(void) { CHECK(pipe(fds) == 0); ... }
 *     int main(void) { CASE(pipe_carries_bytes); return check_result(); }
 */
#ifndef TESTS_GUEST_CHECK_H
#define TESTS_GUEST_CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static jmp_buf check_fail;
static int check_failures;

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            printf("not ok %s: %s:%d: %s (errno %d)\n", check_name, __FILE__, __LINE__, #cond,     \
                   errno);                                                                         \
            longjmp(check_fail, 1);                                                                \
        }                                                                                          \
    } while (0)
/* The call fails with this errno. */
#define CHECK_ERRNO(call, want)                                                                    \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long check_result_ = (long)(call);                                                         \
        int check_errno_ = errno;                                                                  \
        if (check_result_ != -1 || check_errno_ != (want)) {                                       \
            printf("not ok %s: %s:%d: %s gave %ld, errno %d, not %s\n", check_name, __FILE__,      \
                   __LINE__, #call, check_result_, check_errno_, #want);                           \
            longjmp(check_fail, 1);                                                                \
        }                                                                                          \
    } while (0)

static const char *check_name;

#define CASE(fn)                                                                                   \
    do {                                                                                           \
        check_name = #fn;                                                                          \
        if (setjmp(check_fail) == 0) {                                                             \
            fn();                                                                                  \
            printf("ok %s\n", check_name);                                                         \
        } else {                                                                                   \
            check_failures++;                                                                      \
        }                                                                                          \
        fflush(stdout);                                                                            \
    } while (0)

/* Makes a fresh directory the current one, so that several runs do not meet in /tmp. */
static inline void own_directory(void)
{
    char name[] = "/tmp/guest-XXXXXX";

    mkdir("/tmp", 01777);
    if (!mkdtemp(name) || chdir(name))
        perror(name);
}

/* Waits until the process sleeps, as /proc/PID/stat has it: on a busy machine no fixed time is
 * enough. */
static inline void until_asleep(pid_t pid)
{
    char path[64], text[256];

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    for (;;) {
        usleep(5000);
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        close(fd);
        if (n <= 0)
            return;
        text[n] = 0;
        const char *name_end = strrchr(text, ')');
        if (name_end && name_end[2] == 'S')
            return;
    }
}

static inline int check_result(void)
{
    return check_failures != 0;
}

#endif
