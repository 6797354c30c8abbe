/* Processes: fork, vfork, exec, wait, groups, orphans. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static char *self;

static void exit_status_reaches_the_parent(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(42);
    CHECK(pid > 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 42);
    CHECK_ERRNO(waitpid(pid, &status, 0), ECHILD);
}

static void memory_is_copied_on_write(void)
{
    enum { PAGES = 64 };
    char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int status;
    CHECK(p != MAP_FAILED);
    for (int i = 0; i < PAGES; i++)
        p[i * 4096] = (char)i;
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < PAGES; i++) {
            if (p[i * 4096] != (char)i)
                _exit(1);
            p[i * 4096] = (char)(i + 100);
        }
        for (int i = 0; i < PAGES; i++) {
            if (p[i * 4096] != (char)(i + 100))
                _exit(2);
        }
        _exit(0);
    }
    for (int i = 0; i < PAGES; i += 2)
        p[i * 4096] = (char)(i + 50);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    for (int i = 0; i < PAGES; i++)
        CHECK(p[i * 4096] == (char)(i % 2 ? i : i + 50));
    munmap(p, PAGES * 4096);
}

static void shared_memory_stays_shared(void)
{
    volatile int *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    CHECK(p != MAP_FAILED);
    p[0] = 1;
    pid_t pid = fork();
    if (pid == 0) {
        p[1024] = p[0] + 1;
        p[0] = 7;
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(p[0] == 7 && p[1024] == 2);
    munmap((void *)p, 8192);
}

static void wait_selects(void)
{
    int status, fds[2];
    char c;
    CHECK(pipe(fds) == 0);
    pid_t a = fork();
    if (a == 0) {
        setpgid(0, 0);
        read(fds[0], &c, 1);
        _exit(1);
    }
    pid_t b = fork();
    if (b == 0)
        _exit(2);
    setpgid(a, a);
    CHECK(waitpid(a, &status, WNOHANG) == 0);
    CHECK(waitpid(b, &status, 0) == b && WEXITSTATUS(status) == 2);
    CHECK(waitpid(-1, &status, WNOHANG) == 0);
    CHECK_ERRNO(waitpid(0, &status, 0), ECHILD); /* a has a group of its own */
    CHECK(write(fds[1], "x", 1) == 1);
    CHECK(waitpid(-a, &status, 0) == a && WEXITSTATUS(status) == 1);
    CHECK_ERRNO(wait(&status), ECHILD);
    close(fds[0]);
    close(fds[1]);
}

static void waitid_peeks_and_takes(void)
{
    siginfo_t si;
    pid_t pid = fork();
    if (pid == 0)
        raise(SIGKILL);
    memset(&si, 0xff, sizeof(si));
    CHECK(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) == 0);
    CHECK(si.si_signo == SIGCHLD && si.si_code == CLD_KILLED && si.si_pid == pid);
    CHECK(si.si_status == SIGKILL);
    CHECK(waitid(P_ALL, 0, &si, WEXITED) == 0 && si.si_pid == pid);
    CHECK_ERRNO(waitid(P_ALL, 0, &si, WEXITED), ECHILD);
    CHECK_ERRNO(waitid(P_ALL, 0, &si, 0), EINVAL);
}

static void orphans_go_to_a_reaper(void)
{
    int status, fds[2];
    pid_t grandchild, reaper = getpid();
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    CHECK(pipe(fds) == 0);
    pid_t child = fork();
    if (child == 0) {
        pid_t g = fork();
        if (g == 0) {
            while (getppid() != reaper)
                usleep(1000);
            _exit(5);
        }
        write(fds[1], &g, sizeof(g));
        _exit(0);
    }
    CHECK(read(fds[0], &grandchild, sizeof(grandchild)) == sizeof(grandchild));
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(waitpid(grandchild, &status, 0) == grandchild && WEXITSTATUS(status) == 5);
    CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);
    close(fds[0]);
    close(fds[1]);
}

/* A sibling made with CLONE_PARENT announces its end by the signal of who made it, not by one of
 * its own choice: the parent may belong to another user. */
static void siblings_end_like_their_maker(void)
{
    int status, ends = 0;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        long sibling = syscall(SYS_clone, CLONE_PARENT | SIGUSR1, 0, 0, 0, 0);
        _exit(sibling < 0);
    }
    while (wait(&status) > 0) { /* SIGUSR1 would end us */
        CHECK(status == 0);
        ends++;
    }
    CHECK(ends == 2);
}

static void ignored_children_leave_no_zombie(void)
{
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    CHECK_ERRNO(wait(NULL), ECHILD);
    CHECK_ERRNO(kill(pid, 0), ESRCH);
    signal(SIGCHLD, SIG_DFL);
}

static void vfork_and_spawn_run_programs(void)
{
    int status;
    pid_t pid = vfork();
    if (pid == 0) {
        execl(self, self, "exec-exit", "3", NULL);
        _exit(99);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
    char *args[] = {self, "exec-exit", "4", NULL}, *env[] = {NULL};
    CHECK(posix_spawn(&pid, self, NULL, NULL, args, env) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 4);
    CHECK(posix_spawn(&pid, "/no/such/program", NULL, NULL, args, env) == ENOENT);
}

static void exec_fails_properly(void)
{
    char *args[] = {"x", NULL}, *env[] = {NULL};
    CHECK_ERRNO(execve("/no/such", args, env), ENOENT);
    CHECK_ERRNO(execve("/", args, env), EACCES);
    int fd = open("./not-a-program", O_CREAT | O_WRONLY | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, "garbage\n", 8) == 8);
    close(fd);
    CHECK_ERRNO(execve("./not-a-program", args, env), EACCES);
    chmod("./not-a-program", 0755);
    CHECK_ERRNO(execve("./not-a-program", args, env), ENOEXEC);
    CHECK_ERRNO(execve("./not-a-program/x", args, env), ENOTDIR);
    size_t big = 200 * 1024;
    char *huge = malloc(big);
    memset(huge, 'a', big - 1);
    huge[big - 1] = 0;
    char *too_long[] = {"x", huge, NULL};
    CHECK_ERRNO(execve(self, too_long, env), E2BIG);
    free(huge);
    unlink("./not-a-program");
}

static void scripts_run_their_interpreter(void)
{
    char line[512];
    int status, fd = open("./script", O_CREAT | O_WRONLY | O_TRUNC, 0755);
    CHECK(fd >= 0);
    int n = snprintf(line, sizeof(line), "#! %s exec-script\nbody\n", self);
    CHECK(write(fd, line, (size_t)n) == n);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) {
        execl("./script", "ignored", "one", "two", NULL);
        _exit(99);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 6);
    unlink("./script");
}

static void descriptors_close_on_exec(void)
{
    int status, keep = open("/", O_RDONLY), drop = open("/", O_RDONLY | O_CLOEXEC);
    char a[16], b[16];
    CHECK(keep >= 0 && drop >= 0);
    snprintf(a, sizeof(a), "%d", keep);
    snprintf(b, sizeof(b), "%d", drop);
    pid_t pid = fork();
    if (pid == 0) {
        execl(self, self, "exec-fds", a, b, NULL);
        _exit(99);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 0);
    close(keep);
    close(drop);
}

static void sessions_and_groups(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (setsid() != getpid() || getsid(0) != getpid() || getpgrp() != getpid())
            _exit(1);
        if (setsid() != -1 || errno != EPERM)
            _exit(2);
        if (setpgid(0, 0) != -1 || errno != EPERM)
            _exit(3);
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_ERRNO(setpgid(0, -1), EINVAL);
    CHECK_ERRNO(getpgid(99999), ESRCH);
    CHECK_ERRNO(setpgid(1, 1), ESRCH);
}

static void usage_is_counted(void)
{
    struct rusage ru;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        for (volatile unsigned long i = 0; i < 30000000; i++)
            ;
        _exit(0);
    }
    CHECK(wait4(pid, &status, 0, &ru) == pid);
    CHECK(ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec > 1000);
    CHECK(ru.ru_minflt > 0);
}

static long clock_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Also when no interrupt comes. */
static void processor_time_passes(void)
{
    long begin = clock_ms(CLOCK_MONOTONIC), used = clock_ms(CLOCK_THREAD_CPUTIME_ID);
    while (clock_ms(CLOCK_THREAD_CPUTIME_ID) - used < 20)
        CHECK(clock_ms(CLOCK_MONOTONIC) - begin < 5000);
    used = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
    while (clock_ms(CLOCK_PROCESS_CPUTIME_ID) - used < 20)
        CHECK(clock_ms(CLOCK_MONOTONIC) - begin < 5000);
}

static void many_children(void)
{
    enum { N = 200 };
    int status, sum = 0;
    for (int i = 0; i < N; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            _exit(i % 100);
        if (i % 10 == 9) {
            for (int k = 0; k < 10; k++) {
                CHECK(wait(&status) > 0 && WIFEXITED(status));
                sum += WEXITSTATUS(status);
            }
        }
    }
    CHECK(sum == 2 * 99 * 50);
}

/* What the programs that the cases start do. */
static int child(int argc, char **argv)
{
    if (!strcmp(argv[1], "exec-exit"))
        return atoi(argv[2]);
    if (!strcmp(argv[1], "exec-fds"))
        return fcntl(atoi(argv[2]), F_GETFD) == 0 && fcntl(atoi(argv[3]), F_GETFD) == -1 ? 0 : 1;
    if (!strcmp(argv[1], "exec-script"))
        return argc == 5 && !strcmp(argv[2], "./script") && !strcmp(argv[3], "one") &&
                       !strcmp(argv[4], "two")
                   ? 6
                   : 1;
    return 98;
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc > 1)
        return child(argc, argv);
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n > 0)
        path[n] = 0;
    self = n > 0 ? path : argv[0];
    own_directory();
    CASE(exit_status_reaches_the_parent);
    CASE(memory_is_copied_on_write);
    CASE(shared_memory_stays_shared);
    CASE(wait_selects);
    CASE(waitid_peeks_and_takes);
    CASE(orphans_go_to_a_reaper);
    CASE(siblings_end_like_their_maker);
    CASE(ignored_children_leave_no_zombie);
    CASE(vfork_and_spawn_run_programs);
    CASE(exec_fails_properly);
    CASE(scripts_run_their_interpreter);
    CASE(descriptors_close_on_exec);
    CASE(sessions_and_groups);
    CASE(usage_is_counted);
    CASE(processor_time_passes);
    CASE(many_children);
    return check_result();
}
