/* Identity and limits: user and group ids, capabilities, prctl, rlimits, clocks, names. */
#define _GNU_SOURCE
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

/* Runs fn in a child, since identities do not come back. */
static int in_child(int (*fn)(void))
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int drop_root(void)
{
    uid_t r, e, s;
    gid_t groups[4] = {33, 44}, got[4];
    if (setgroups(2, groups) || getgroups(4, got) != 2 || got[1] != 44)
        return 1;
    if (setresgid(33, 33, 33) || setresuid(33, 33, 33))
        return 2;
    if (getresuid(&r, &e, &s) || r != 33 || e != 33 || s != 33)
        return 3;
    if (setuid(0) != -1 || errno != EPERM)
        return 4;
    if (setgroups(0, NULL) != -1 || errno != EPERM)
        return 5;
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    if (syscall(SYS_capget, &h, d) || d[0].effective || d[0].permitted)
        return 6;
    return kill(getppid(), 0) == -1 && errno == EPERM ? 0 : 7;
}

static int switch_back(void)
{
    if (seteuid(33) || geteuid() != 33 || getuid() != 0)
        return 1;
    if (seteuid(0) || geteuid() != 0)
        return 2;
    return setreuid(33, 0) || getuid() != 33 || geteuid() != 0 ? 3 : 0;
}

static int keep_capabilities(void)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2];
    if (prctl(PR_SET_KEEPCAPS, 1) || setresuid(33, 33, 33))
        return 1;
    if (syscall(SYS_capget, &h, d) || d[0].effective || !d[0].permitted)
        return 2;
    d[0].effective = 1 << CAP_NET_BIND_SERVICE;
    return syscall(SYS_capset, &h, d) ? 3 : 0;
}

static void identities_follow_the_rules(void)
{
    if (getuid() != 0)
        return; /* the oracle may run unprivileged */
    CHECK(in_child(drop_root) == 0);
    CHECK(in_child(switch_back) == 0);
    CHECK(in_child(keep_capabilities) == 0);
}

static void limits_are_checked(void)
{
    struct rlimit l;
    CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur <= l.rlim_max);
    l.rlim_cur = l.rlim_max + 1;
    if (l.rlim_max != RLIM_INFINITY)
        CHECK_ERRNO(setrlimit(RLIMIT_NOFILE, &l), EINVAL);
    CHECK_ERRNO(getrlimit((enum __rlimit_resource)99, &l), EINVAL);
    CHECK(prlimit(0, RLIMIT_STACK, NULL, &l) == 0);
    CHECK_ERRNO(prlimit(99999, RLIMIT_STACK, NULL, &l), ESRCH);
}

static void prctl_keeps_names(void)
{
    char name[16] = "";
    CHECK(prctl(PR_SET_NAME, "a-name-that-is-too-long") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "a-name-that-is-"));
    CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
    int signo = 0;
    CHECK(prctl(PR_GET_PDEATHSIG, &signo) == 0 && signo == SIGTERM);
    CHECK(prctl(PR_SET_PDEATHSIG, 0) == 0);
    CHECK_ERRNO(prctl(PR_SET_PDEATHSIG, 1000), EINVAL);
    CHECK_ERRNO(prctl(0x7fffffff, 0), EINVAL);
}

static void clocks_run(void)
{
    struct timespec a, b, res;
    struct timeval tv;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &a) == 0);
    struct timespec t = {0, 20000000};
    CHECK(nanosleep(&t, NULL) == 0);
    CHECK(clock_gettime(CLOCK_MONOTONIC, &b) == 0);
    CHECK((b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec >= 20000000);
    CHECK(clock_getres(CLOCK_REALTIME, &res) == 0 && res.tv_sec == 0);
    CHECK(gettimeofday(&tv, NULL) == 0 && tv.tv_sec > 1600000000 && time(NULL) - tv.tv_sec <= 1);
    CHECK_ERRNO(clock_gettime(77, &res), EINVAL);
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &a, NULL) == 0);
    struct timespec bad = {0, -1};
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    for (volatile long i = 0; i < 10000000; i++)
        ;
    CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a) == 0 &&
          a.tv_sec * 1000000000 + a.tv_nsec > 0);
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a) == 0);
    CHECK(times(&(struct tms){0}) != -1);
}

static void the_system_is_named(void)
{
    struct utsname u;
    struct sysinfo si;
    unsigned char r[600];
    CHECK(uname(&u) == 0 && !strcmp(u.sysname, "Linux") && !strcmp(u.machine, "x86_64"));
    CHECK(sysinfo(&si) == 0 && si.totalram > 0 && si.mem_unit > 0 && si.procs > 0);
    memset(r, 0, sizeof(r));
    CHECK(getrandom(r, sizeof(r), 0) == sizeof(r));
    int zeroes = 0;
    for (size_t i = 0; i < sizeof(r); i++)
        zeroes += r[i] == 0;
    CHECK(zeroes < 50);
    CHECK_ERRNO(getrandom(r, 1, 0x80), EINVAL);
    CHECK_ERRNO(getpriority(77, 0), EINVAL);
    CHECK(getpriority(PRIO_PROCESS, 0) == 0);
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    CHECK(sched_get_priority_max(SCHED_FIFO) == 99);
}

int main(void)
{
    CASE(identities_follow_the_rules);
    CASE(limits_are_checked);
    CASE(prctl_keeps_names);
    CASE(clocks_run);
    CASE(the_system_is_named);
    return check_result();
}
