/* What hostile programs have in common: random numbers, bad addresses, a user without rights, and
 * the well-behaved process beside them. */
#ifndef TESTS_GUEST_HOSTILE_H
#define TESTS_GUEST_HOSTILE_H

#include <grp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

#define NORETURN __attribute__((noreturn))

static __thread uint64_t state = 1; /* of any(); not 0 */

/* xorshift64* */
static uint64_t any(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t n)
{
    return any() % n;
}

static const uint64_t addresses[] = {
    0,
    1,
    0x1000,
    0x7fffffffe000, /* the last pages of user space */
    0x7fffffffefff,
    0x7ffffffff000,
    0x7ffffffffff8,
    0x7fffffffffff,
    0x800000000000, /* not canonical */
    0x800000000001,
    0xfffffffffffff,
    0x7fffffffffffffff,
    0xffff7fffffffffff,
    0xffff800000000000, /* the kernel's */
    0xffff800000001000,
    0xffffc00000000000,
    0xffffffff80000000,
    0xffffffff80100000,
    0xfffffffffffff000,
    0xffffffffffffffff,
};
#define ADDRESSES (sizeof(addresses) / sizeof(addresses[0]))

static void become_nobody(void)
{
    struct rlimit processes = {40, 40}, file = {1 << 20, 1 << 20}, space = {1 << 28, 1 << 28};
    setpgid(0, 0);
    setrlimit(RLIMIT_FSIZE, &file);
    setrlimit(RLIMIT_AS, &space);
    if (getuid() == 0 && (setgroups(0, NULL) || setgid(65534) || setuid(65534)))
        _exit(1);
    setrlimit(RLIMIT_NPROC, &processes);
}

/* Kills what random forks left behind. */
static void end_of_nobody(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        become_nobody();
        kill(-1, SIGKILL);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

/* Does what programs do and checks that it works. */
static void behave(int until)
{
    char byte = 0, name[] = "well-behaved";
    char buf;
    while (read(until, &buf, 1) != 0) { /* its end: the storm is over; else EAGAIN */
        int fds[2];
        void *m = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (m == MAP_FAILED || pipe(fds))
            _exit(2);
        memset(m, 0x5a, 65536);
        if (write(fds[1], "k", 1) != 1 || read(fds[0], &byte, 1) != 1 || byte != 'k')
            _exit(3);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0 || pwrite(fd, m, 8192, 100) != 8192 || pread(fd, &byte, 1, 8000) != 1 ||
            byte != 0x5a)
            _exit(4);
        close(fd);
        pid_t pid = fork();
        if (pid == 0)
            _exit(((char *)m)[4096] == 0x5a ? 17 : 1);
        int status;
        if (waitpid(pid, &status, 0) != pid || WEXITSTATUS(status) != 17)
            _exit(5);
        close(fds[0]);
        close(fds[1]);
        munmap(m, 65536);
        usleep(1000);
    }
    unlink(name);
    _exit(0);
}

static int in_domain(void)
{
    struct utsname name;
    return uname(&name) == 0 && strstr(name.version, "LibrettOS");
}

#endif
