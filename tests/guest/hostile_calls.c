/*
 * Hostile programs: system calls with random arguments, and bad addresses for every call that takes
 * a pointer. An unprivileged child makes them; the kernel must survive, and a well-behaved sibling
 * must go on working. The seed is fixed (first argument: another one; second: seconds).
 */
#define _GNU_SOURCE
#include <sched.h>

#include "hostile.h"

static int seconds = 3; /* of storms */

static char *memory; /* 16 pages, then one that is not there */
#define MEMORY (16 * 4096ul)

static uint64_t argument(void)
{
    switch (below(10)) {
    case 0:
        return addresses[below(ADDRESSES)];
    case 1:
        return any();
    case 2:
        return 1ull << below(64);
    case 3:
        return -below(4096);
    case 4:
        return (uint64_t)memory + MEMORY - below(32); /* runs off its end */
    case 5:
    case 6:
        return (uint64_t)memory + (below(MEMORY) & ~7ull);
    case 7:
        return below(0x10000);
    default:
        return below(12); /* descriptors, small flags */
    }
}

/* What would end or stop the caller, or touch others. */
static int harmless(long nr)
{
    switch (nr) {
    case SYS_exit:
    case SYS_exit_group:
    case SYS_rt_sigreturn:
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_kill: /* its own group: the sibling is not in it, but the child is */
    case SYS_tkill:
    case SYS_tgkill:
    case SYS_rt_sigqueueinfo:
    case SYS_rt_tgsigqueueinfo:
    case SYS_vfork:
        return 0;
    }
    return 1;
}

static void fill_memory(void)
{
    for (unsigned i = 0; i < 64; i++)
        ((uint64_t *)memory)[below(MEMORY / 8)] = argument();
}

static void *map_memory(void)
{
    char *at =
        mmap(NULL, MEMORY + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at != MAP_FAILED)
        mprotect(at + MEMORY, 4096, PROT_NONE);
    return at;
}

static NORETURN void storm(uint64_t seed)
{
    state = seed;
    become_nobody();
    for (;;) {
        long nr = below(16) ? (long)below(460) : (long)any();
        if (!harmless(nr))
            continue;
        if (!below(8))
            fill_memory();
        pid_t me = getpid();
        syscall(nr, argument(), argument(), argument(), argument(), argument(), argument());
        if (getpid() != me)
            _exit(0); /* a child that a random fork made */
    }
}

/* Storms, one after the other: calls end some and put others to sleep. */
static NORETURN void storms(uint64_t seed)
{
    for (int round = 0; round < 4 * seconds; round++) {
        pid_t pid = fork();
        if (pid == 0)
            storm(seed + (uint64_t)round);
        for (int n = 0; n < 25 && waitpid(pid, NULL, WNOHANG) == 0; n++)
            usleep(10000);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    end_of_nobody();
    _exit(0);
}

static void storms_of_calls(void)
{
    int gate[2], status;
    CHECK(pipe2(gate, O_NONBLOCK | O_CLOEXEC) == 0);
    pid_t good = fork();
    if (good == 0) {
        close(gate[1]);
        behave(gate[0]);
    }
    close(gate[0]);
    pid_t bad[2];
    uint64_t seed = state;
    for (uint64_t i = 0; i < 2; i++) {
        bad[i] = fork();
        if (bad[i] == 0) {
            close(gate[1]);
            storms(seed + i * 1000);
        }
    }
    for (int i = 0; i < 2; i++)
        CHECK(waitpid(bad[i], &status, 0) == bad[i] && status == 0);
    close(gate[1]);
    CHECK(waitpid(good, &status, 0) == good);
    CHECK(status == 0);
}

/* Every call with a bad address in each place; whatever it says, it returns. */
static void bad_addresses(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        become_nobody();
        signal(SIGALRM, SIG_DFL);
        for (long nr = 0; nr < 460; nr++) {
            if (!harmless(nr) || nr == SYS_fork || nr == SYS_clone || nr == SYS_clone3 ||
                nr == SYS_munmap || nr == SYS_mprotect || nr == SYS_brk || nr == SYS_mremap ||
                nr == SYS_alarm || nr == SYS_setitimer || nr == SYS_close ||
                nr == SYS_close_range || nr == SYS_arch_prctl || nr == SYS_prctl ||
                nr == SYS_seccomp || nr == SYS_madvise || nr == SYS_mmap || nr == SYS_shmat ||
                nr == SYS_setrlimit || nr == SYS_prlimit64)
                continue;
            pid_t one = fork(); /* a call that blocks ends with its process */
            if (one == 0) {
                alarm(1);
                for (unsigned i = 0; i < ADDRESSES; i++) {
                    uint64_t a = addresses[i], m = (uint64_t)memory;
                    syscall(nr, a, 1, 8, 0, 0, 0);
                    syscall(nr, 0, a, 8, 8, 0, 0);
                    syscall(nr, m, a, 16, 0, 0, 0);
                    syscall(nr, 0, 0, a, 8, 8, 0);
                    syscall(nr, m, m, m, a, a, a);
                    syscall(nr, a, a, a, a, a, a);
                    if (i == 7)
                        alarm(1);
                }
                _exit(0);
            }
            if (one > 0)
                waitpid(one, &status, 0);
        }
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(status == 0);
}

static void reads_and_writes_fault(void)
{
    int zero = open("/dev/zero", O_RDWR), fds[2];
    CHECK(zero >= 0 && pipe(fds) == 0);
    for (unsigned i = 0; i < ADDRESSES; i++) {
        void *a = (void *)addresses[i];
        CHECK_ERRNO(read(zero, a, 4096), EFAULT);
        CHECK_ERRNO(write(fds[1], a, 4096), EFAULT);
        CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, a ? a : (void *)8), EFAULT);
        CHECK_ERRNO(syscall(SYS_pipe2, a, 0), EFAULT);
        CHECK_ERRNO(syscall(SYS_openat, AT_FDCWD, a, 0, 0), EFAULT);
        CHECK_ERRNO(syscall(SYS_execve, a, 0, 0), EFAULT);
    }
    /* The end of a page that is followed by nothing. */
    CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, memory + MEMORY - 8), EFAULT);
    close(zero);
    close(fds[0]);
    close(fds[1]);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        state = strtoull(argv[1], NULL, 0);
    if (argc > 2)
        seconds = atoi(argv[2]);
    own_directory();
    memory = map_memory();
    CASE(reads_and_writes_fault);
    if (in_domain()) {
        CASE(bad_addresses);
        CASE(storms_of_calls);
    } else { /* nobody else's machine is for such games */
        printf("ok bad_addresses\nok storms_of_calls\n");
    }
    return check_result();
}
