/* Scheduling policies, priorities and affinity; limits on processes; names and prctl. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "child.h"

#define USER 5001u

static void policies_are_checked(void)
{
    struct sched_param zero = {0}, one = {1}, hundred = {100};
    CHECK_ERRNO(sched_setscheduler(0, 77, &zero), EINVAL);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, &one), EINVAL);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_FIFO, &zero), EINVAL);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_FIFO, &hundred), EINVAL);
    CHECK_ERRNO(sched_setscheduler(-1, SCHED_OTHER, &zero), EINVAL);
    CHECK_ERRNO(sched_setscheduler(99999, SCHED_OTHER, &zero), ESRCH);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, NULL), EINVAL);
    CHECK_ERRNO(sched_getscheduler(99999), ESRCH);
    CHECK_ERRNO(sched_getscheduler(-1), EINVAL);
    CHECK_ERRNO(sched_getparam(0, NULL), EINVAL);
    CHECK_ERRNO(sched_get_priority_max(77), EINVAL);
    CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_RR) == 1);
    CHECK(sched_get_priority_max(SCHED_OTHER) == 0);
}

static void batch_and_idle(void)
{
    struct sched_param zero = {0};
    CHECK(sched_getscheduler(0) == SCHED_OTHER);
    CHECK(sched_setscheduler(0, SCHED_BATCH, &zero) == 0 && sched_getscheduler(0) == SCHED_BATCH);
    pid_t pid = fork();
    if (pid == 0)
        _exit(sched_getscheduler(0) != SCHED_BATCH);
    CHECK(child_status(pid) == 0);
    CHECK(sched_setscheduler(0, SCHED_IDLE, &zero) == 0 && sched_getscheduler(0) == SCHED_IDLE);
    CHECK(sched_setscheduler(0, SCHED_OTHER, &zero) == 0 && sched_getscheduler(0) == SCHED_OTHER);
}

static void policies_are_kept_and_inherited(void)
{
    CHECK(in_child(batch_and_idle) == 0);
}

/* Policy and priority of ourselves, from /proc. */
static void stat_has(int policy, int priority)
{
    int shown, rt, is;
    char line[512];
    FILE *f = fopen("/proc/self/stat", "r");
    CHECK(f && fgets(line, sizeof(line), f));
    fclose(f);
    CHECK(sscanf(strrchr(line, ')') + 1,
                 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %d %*d %*d %*d %*u "
                 "%*u %*d %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %*d %d %d",
                 &shown, &rt, &is) == 3);
    CHECK(is == policy && rt == priority && shown == (priority ? -1 - priority : 20));
}

static void real_time(void)
{
    struct sched_param p = {0}, ten = {10}, zero = {0};
    struct timespec t;
    CHECK(sched_setscheduler(0, SCHED_FIFO, &ten) == 0 && sched_getscheduler(0) == SCHED_FIFO);
    CHECK(sched_getparam(0, &p) == 0 && p.sched_priority == 10);
    stat_has(SCHED_FIFO, 10);
    CHECK(sched_rr_get_interval(0, &t) == 0 && !t.tv_sec && !t.tv_nsec);
    p.sched_priority = 20;
    CHECK(sched_setparam(0, &p) == 0 && sched_getscheduler(0) == SCHED_FIFO);
    CHECK_ERRNO(sched_setparam(0, &zero), EINVAL);
    CHECK(sched_setscheduler(0, SCHED_RR, &p) == 0 && sched_rr_get_interval(0, &t) == 0);
    CHECK(!t.tv_sec && t.tv_nsec == 100000000);
    stat_has(SCHED_RR, 20);
    pid_t pid = fork();
    if (pid == 0)
        _exit(sched_getscheduler(0) != SCHED_RR || sched_getparam(0, &p) || p.sched_priority != 20);
    CHECK(child_status(pid) == 0);
    CHECK(sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &ten) == 0);
    CHECK(sched_getscheduler(0) == (SCHED_FIFO | SCHED_RESET_ON_FORK));
    pid = fork();
    if (pid == 0)
        _exit(sched_getscheduler(0) != SCHED_OTHER || sched_getparam(0, &p) || p.sched_priority);
    CHECK(child_status(pid) == 0);
    CHECK(sched_setscheduler(0, SCHED_OTHER, &zero) == 0 && sched_getscheduler(0) == SCHED_OTHER);
    stat_has(SCHED_OTHER, 0);
}

static void real_time_is_kept_and_inherited(void)
{
    CHECK(in_child(real_time) == 0);
}

static void real_time_by_limit(void)
{
    struct sched_param five = {5}, six = {6}, zero = {0};
    struct rlimit limit = {5, 5};
    if (setrlimit(RLIMIT_RTPRIO, &limit) && errno == EPERM)
        return; /* in a container root may not raise it */
    CHECK(setresuid(USER, USER, USER) == 0);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_RR, &six), EPERM);
    CHECK(sched_setscheduler(0, SCHED_RR, &five) == 0);
    CHECK_ERRNO(sched_setparam(0, &six), EPERM);
    CHECK(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &zero) == 0);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_OTHER, &zero), EPERM);
}

static void a_limit_gives_real_time(void)
{
    CHECK(in_child(real_time_by_limit) == 0);
}

static void no_right_to_real_time(void)
{
    struct sched_param one = {1};
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_RTPRIO, &none) == 0 && setresuid(USER, USER, USER) == 0);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_FIFO, &one), EPERM);
    CHECK_ERRNO(sched_setscheduler(0, SCHED_RR, &one), EPERM);
    CHECK_ERRNO(sched_setscheduler(getppid(), SCHED_OTHER, &(struct sched_param){0}), EPERM);
}

static void real_time_needs_a_right(void)
{
    CHECK(in_child(no_right_to_real_time) == 0);
}

static void affinity_is_checked(void)
{
    cpu_set_t set, old;
    CPU_ZERO(&set);
    CHECK(sched_getaffinity(0, sizeof(old), &old) == 0 && CPU_COUNT(&old) >= 1);
    CHECK_ERRNO(sched_setaffinity(0, sizeof(set), &set), EINVAL);
    CPU_SET(1000, &set);
    CHECK_ERRNO(sched_setaffinity(0, sizeof(set), &set), EINVAL);
    CHECK_ERRNO(sched_setaffinity(99999, sizeof(old), &old), ESRCH);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, 3, &old), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getaffinity, 0, sizeof(old), 8), EFAULT);
    CHECK_ERRNO(syscall(SYS_sched_setaffinity, 0, sizeof(old), 8), EFAULT);
    CHECK(sched_setaffinity(0, sizeof(old), &old) == 0);
}

static void affinity_decides_where(void)
{
    cpu_set_t old, one;
    unsigned cpu, node;
    CHECK(sched_getaffinity(0, sizeof(old), &old) == 0);
    for (int i = 0; i < 2; i++) {
        if (!CPU_ISSET(i, &old))
            continue;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        CHECK(sched_setaffinity(0, sizeof(one), &one) == 0 && sched_getcpu() == i);
        CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && (int)cpu == i && node == 0);
        pid_t pid = fork();
        if (pid == 0)
            _exit(sched_getaffinity(0, sizeof(one), &one) || CPU_COUNT(&one) != 1 ||
                  sched_getcpu() != i);
        CHECK(child_status(pid) == 0);
    }
    CHECK(sched_setaffinity(0, sizeof(old), &old) == 0);
    CHECK_ERRNO(syscall(SYS_getcpu, 8, NULL, NULL), EFAULT);
}

static int io_priority(int which, int who)
{
    return (int)syscall(SYS_ioprio_get, which, who);
}
static long set_io_priority(int which, int who, int class, int level)
{
    return syscall(SYS_ioprio_set, which, who, class << 13 | level);
}
enum { PROCESS = 1, GROUP, OWNER };
enum { NONE, REALTIME, BEST_EFFORT, IDLE };

static void io_priorities(void)
{
    CHECK(set_io_priority(PROCESS, 0, BEST_EFFORT, 6) == 0);
    CHECK(io_priority(PROCESS, 0) == (BEST_EFFORT << 13 | 6));
    CHECK(io_priority(PROCESS, getpid()) == (BEST_EFFORT << 13 | 6));
    pid_t pid = fork();
    if (pid == 0)
        _exit(io_priority(PROCESS, 0) != (BEST_EFFORT << 13 | 6));
    CHECK(child_status(pid) == 0);
    CHECK(setpgid(0, 0) == 0 && io_priority(GROUP, 0) == (BEST_EFFORT << 13 | 6));
    CHECK(set_io_priority(GROUP, getpid(), REALTIME, 0) == 0); /* root */
    CHECK(io_priority(PROCESS, 0) == REALTIME << 13);
    CHECK_ERRNO(set_io_priority(PROCESS, 0, NONE, 1), EINVAL);
    CHECK_ERRNO(set_io_priority(PROCESS, 0, 4, 0), EINVAL);
    CHECK_ERRNO(set_io_priority(4, 0, IDLE, 0), EINVAL);
    CHECK_ERRNO(set_io_priority(0, 0, IDLE, 0), EINVAL);
    CHECK_ERRNO(io_priority(7, 0), EINVAL);
    CHECK_ERRNO(io_priority(PROCESS, 99999), ESRCH);
    CHECK_ERRNO(set_io_priority(PROCESS, 99999, IDLE, 0), ESRCH);
    CHECK(setresuid(USER, USER, USER) == 0);
    CHECK_ERRNO(set_io_priority(PROCESS, 0, REALTIME, 4), EPERM);
    CHECK_ERRNO(set_io_priority(PROCESS, getppid(), IDLE, 0), EPERM);
    CHECK(set_io_priority(PROCESS, 0, IDLE, 0) == 0 && io_priority(PROCESS, 0) == IDLE << 13);
}

static void io_priorities_are_kept(void)
{
    CHECK(in_child(io_priorities) == 0);
}

static void niceness(void)
{
    CHECK(getpriority(PRIO_PROCESS, 0) == 0 && nice(5) == 5);
    CHECK(getpriority(PRIO_PROCESS, 0) == 5 && getpriority(PRIO_PROCESS, (id_t)getpid()) == 5);
    CHECK(setpriority(PRIO_PROCESS, 0, 100) == 0 && getpriority(PRIO_PROCESS, 0) == 19);
    CHECK(setpriority(PRIO_PROCESS, 0, 3) == 0); /* root */
    struct rlimit none = {0, 0};
    CHECK(setrlimit(RLIMIT_NICE, &none) == 0 && setresuid(USER, USER, USER) == 0);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 0, 2), EACCES);
    CHECK(setpriority(PRIO_PROCESS, 0, 10) == 0);
    CHECK_ERRNO(nice(-1), EPERM);
    CHECK_ERRNO(setpriority(PRIO_PROCESS, 99999, 10), ESRCH);
    CHECK_ERRNO(setpriority(7, 0, 10), EINVAL);
    CHECK_ERRNO(getpriority(7, 0), EINVAL);
    CHECK_ERRNO(getpriority(PRIO_PGRP, 99999), ESRCH);
    CHECK_ERRNO(getpriority(PRIO_USER, 99999), ESRCH);
}

static void nice_values_only_grow_for_users(void)
{
    CHECK(in_child(niceness) == 0);
}

struct attributes {
    unsigned size, policy;
    unsigned long long flags;
    int nice;
    unsigned priority;
    unsigned long long runtime, deadline, period;
};

static void attributes(void)
{
    struct attributes a = {0}, want = {.size = sizeof(want), .policy = SCHED_BATCH, .nice = 4};
    CHECK(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0);
    CHECK(a.size == sizeof(a) && a.policy == SCHED_OTHER && a.nice == 0 && a.priority == 0);
    CHECK(syscall(SYS_sched_setattr, 0, &want, 0) == 0);
    CHECK(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0);
    CHECK(a.policy == SCHED_BATCH && a.nice == 4 && getpriority(PRIO_PROCESS, 0) == 4);
    CHECK_ERRNO(syscall(SYS_sched_getattr, 0, &a, 8, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 1), EINVAL);
    CHECK_ERRNO(syscall(SYS_sched_getattr, 99999, &a, sizeof(a), 0), ESRCH);
    CHECK_ERRNO(syscall(SYS_sched_setattr, 0, NULL, 0), EINVAL);
    want.policy = 77;
    CHECK_ERRNO(syscall(SYS_sched_setattr, 0, &want, 0), EINVAL);
    want.size = 8;
    CHECK_ERRNO(syscall(SYS_sched_setattr, 0, &want, 0), E2BIG);
    CHECK(want.size >= sizeof(want));
}

static void attributes_are_set_together(void)
{
    CHECK(in_child(attributes) == 0);
}

static void alone(void)
{
    CHECK(unshare(0) == 0 && unshare(CLONE_FILES) == 0 && unshare(CLONE_FS) == 0);
    CHECK_ERRNO(unshare(0x40), EINVAL);
    CHECK(setresuid(USER, USER, USER) == 0);
    CHECK_ERRNO(unshare(CLONE_NEWNS), EPERM);
}

static void unshare_needs_no_right_for_files(void)
{
    CHECK(in_child(alone) == 0);
}

static void rr_interval_is_told(void)
{
    struct timespec t = {-1, -1};
    CHECK(sched_rr_get_interval(0, &t) == 0 && t.tv_sec == 0 && t.tv_nsec >= 0);
    CHECK_ERRNO(sched_rr_get_interval(99999, &t), ESRCH);
    CHECK_ERRNO(sched_rr_get_interval(-1, &t), EINVAL);
}

static void limits_are_checked(void)
{
    struct rlimit l;
    CHECK_ERRNO(getrlimit((enum __rlimit_resource)99, &l), EINVAL);
    CHECK_ERRNO(syscall(SYS_setrlimit, RLIMIT_CORE, 8), EFAULT);
    l = (struct rlimit){10, 5};
    CHECK_ERRNO(setrlimit(RLIMIT_CORE, &l), EINVAL);
    CHECK_ERRNO(prlimit(99999, RLIMIT_CORE, NULL, &l), ESRCH);
    CHECK(prlimit(getpid(), RLIMIT_NOFILE, NULL, &l) == 0 && l.rlim_cur >= 64);
}

static void lower_hard_limit(void)
{
    struct rlimit l = {10, 20};
    CHECK(setrlimit(RLIMIT_NPROC, &l) == 0 && setresuid(USER, USER, USER) == 0);
    l.rlim_cur = 20;
    CHECK(setrlimit(RLIMIT_NPROC, &l) == 0);
    l.rlim_max = 30;
    CHECK_ERRNO(setrlimit(RLIMIT_NPROC, &l), EPERM);
    l.rlim_max = 15;
    l.rlim_cur = 15;
    CHECK(setrlimit(RLIMIT_NPROC, &l) == 0);
}

static void hard_limits_only_sink_for_users(void)
{
    CHECK(in_child(lower_hard_limit) == 0);
}

static void nproc(void)
{
    struct rlimit l = {3, 3};
    pthread_t t;
    CHECK(setresgid(USER + 1, USER + 1, USER + 1) == 0);
    CHECK(setrlimit(RLIMIT_NPROC, &l) == 0 && setresuid(USER + 1, USER + 1, USER + 1) == 0);
    pid_t a = idle_child(), b = idle_child();
    CHECK(a > 0 && b > 0);
    pid_t pid = fork();
    if (pid == 0)
        _exit(1);
    CHECK(pid == -1 && errno == EAGAIN);
    CHECK(pthread_create(&t, NULL, (void *(*)(void *))(void *)getpid, NULL) == EAGAIN);
    end_child(b);
    b = idle_child();
    CHECK(b > 0);
    end_child(a);
    end_child(b);
}

static void processes_have_a_limit(void)
{
    CHECK(in_child(nproc) == 0);
}

static void nofile(void)
{
    struct rlimit l = {8, 8};
    for (int i = 3; i < 20; i++)
        close(i);
    CHECK(setrlimit(RLIMIT_NOFILE, &l) == 0);
    while (dup(0) >= 0)
        ;
    CHECK(errno == EMFILE);
    CHECK_ERRNO(dup2(0, 8), EBADF);
    CHECK_ERRNO(fcntl(0, F_DUPFD, 8), EINVAL);
    int fds[2];
    CHECK_ERRNO(pipe(fds), EMFILE);
}

static void descriptors_have_a_limit(void)
{
    CHECK(in_child(nofile) == 0);
}

static volatile int xcpu;

static void on_xcpu(int signo)
{
    (void)signo;
    xcpu++;
}

static void cpu(void)
{
    struct rlimit l = {1, 2};
    signal(SIGXCPU, on_xcpu);
    CHECK(setrlimit(RLIMIT_CPU, &l) == 0);
    while (!xcpu)
        ;
    for (;;) /* the second second ends it */
        ;
}

static void cpu_time_has_a_limit(void)
{
    int status = in_child(cpu);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Real time that sleeps now and then may go on, however long; what does not is told, then ended. */
static void real_time_without_sleep(void)
{
    struct sched_param one = {1};
    struct rlimit l = {0, 1100000};
    signal(SIGXCPU, on_xcpu);
    CHECK(setrlimit(RLIMIT_RTTIME, &l) == 0);
    for (clock_t end = clock() + CLOCKS_PER_SEC / 20; clock() < end;)
        CHECK(!xcpu); /* it is no real time yet */
    l.rlim_cur = 200000;
    CHECK(setrlimit(RLIMIT_RTTIME, &l) == 0);
    CHECK(sched_setscheduler(0, SCHED_FIFO, &one) == 0);
    for (int i = 0; i < 30; i++) {
        for (clock_t end = clock() + CLOCKS_PER_SEC / 50; clock() < end;)
            ;
        usleep(1000);
    }
    CHECK(!xcpu && clock() > CLOCKS_PER_SEC / 2);
    while (!xcpu)
        ;
    CHECK(getrlimit(RLIMIT_RTTIME, &l) == 0 && l.rlim_cur == 1200000);
    for (;;)
        ;
}

static void real_time_has_a_limit(void)
{
    int status = in_child(real_time_without_sleep);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void names_are_cut(void)
{
    char name[17] = "";
    CHECK(prctl(PR_SET_NAME, "a-name-of-more-than-15") == 0);
    CHECK(prctl(PR_GET_NAME, name) == 0 && !strcmp(name, "a-name-of-more-"));
    CHECK_ERRNO(prctl(PR_SET_NAME, 8), EFAULT);
    CHECK(pthread_setname_np(pthread_self(), "short") == 0);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 && !strcmp(name, "short"));
}

static void nnp(void)
{
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL);
    CHECK_ERRNO(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL);
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    pid_t pid = fork();
    if (pid == 0)
        _exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1);
    CHECK(child_status(pid) == 0);
}

static void no_new_privs_is_for_ever(void)
{
    CHECK(in_child(nnp) == 0);
    CHECK_ERRNO(prctl(9999, 0, 0, 0, 0), EINVAL);
}

static void timer_slack_is_kept(void)
{
    CHECK(prctl(PR_GET_TIMERSLACK) > 0);
    CHECK(prctl(PR_SET_TIMERSLACK, 70000) == 0 && prctl(PR_GET_TIMERSLACK) == 70000);
    CHECK(prctl(PR_SET_TIMERSLACK, 0) == 0 && prctl(PR_GET_TIMERSLACK) == 50000);
}

static void the_system_describes_itself(void)
{
    struct sysinfo si;
    struct utsname u;
    CHECK(sysinfo(&si) == 0 && si.totalram && si.mem_unit && si.procs >= 1);
    CHECK(si.freeram <= si.totalram);
    CHECK(uname(&u) == 0 && !strcmp(u.sysname, "Linux") && !strcmp(u.machine, "x86_64"));
    CHECK_ERRNO(syscall(SYS_uname, 8), EFAULT);
    CHECK_ERRNO(syscall(SYS_sysinfo, 8), EFAULT);
}

static void hostname_user(void)
{
    CHECK(setresuid(USER, USER, USER) == 0);
    CHECK_ERRNO(sethostname("x", 1), EPERM);
    CHECK_ERRNO(setdomainname("x", 1), EPERM);
    CHECK_ERRNO(settimeofday(&(struct timeval){1, 0}, NULL), EPERM);
    CHECK_ERRNO(clock_settime(CLOCK_REALTIME, &(struct timespec){1, 0}), EPERM);
}

static void users_cannot_change_the_system(void)
{
    CHECK_ERRNO(syscall(SYS_sethostname, "x", -1), EINVAL);
    CHECK_ERRNO(syscall(SYS_sethostname, "x", 65), EINVAL);
    CHECK(in_child(hostname_user) == 0);
}

int main(void)
{
    own_directory();
    CASE(policies_are_checked);
    CASE(policies_are_kept_and_inherited);
    CASE(real_time_is_kept_and_inherited);
    CASE(a_limit_gives_real_time);
    CASE(real_time_needs_a_right);
    CASE(io_priorities_are_kept);
    CASE(affinity_is_checked);
    CASE(affinity_decides_where);
    CASE(nice_values_only_grow_for_users);
    CASE(attributes_are_set_together);
    CASE(unshare_needs_no_right_for_files);
    CASE(rr_interval_is_told);
    CASE(limits_are_checked);
    CASE(hard_limits_only_sink_for_users);
    CASE(processes_have_a_limit);
    CASE(descriptors_have_a_limit);
    CASE(cpu_time_has_a_limit);
    CASE(real_time_has_a_limit);
    CASE(names_are_cut);
    CASE(no_new_privs_is_for_ever);
    CASE(timer_slack_is_kept);
    CASE(the_system_describes_itself);
    CASE(users_cannot_change_the_system);
    return check_result();
}
