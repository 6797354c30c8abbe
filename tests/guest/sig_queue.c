/* Signals that wait: queues, order, values, limits, and those who take them without a handler. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

static int order[64], values[64];
static volatile int count;

static void record(int signo, siginfo_t *si, void *uc)
{
    (void)uc;
    if (count < 64) {
        order[count] = signo;
        values[count] = si->si_value.sival_int;
    }
    count++;
}

static void handle(int signo, int flags)
{
    struct sigaction sa = {.sa_sigaction = record, .sa_flags = SA_SIGINFO | flags};
    sigfillset(&sa.sa_mask);
    sigaction(signo, &sa, NULL);
    count = 0;
}

static sigset_t set_of(int a, int b)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, a);
    if (b)
        sigaddset(&s, b);
    return s;
}

static void queue_value(int signo, int value)
{
    CHECK(sigqueue(getpid(), signo, (union sigval){.sival_int = value}) == 0);
}

static void realtime_signals_keep_their_values_in_order(void)
{
    sigset_t s = set_of(SIGRTMIN + 1, 0), old;
    handle(SIGRTMIN + 1, 0);
    sigprocmask(SIG_BLOCK, &s, &old);
    for (int i = 0; i < 10; i++)
        queue_value(SIGRTMIN + 1, 100 + i);
    sigprocmask(SIG_SETMASK, &old, NULL);
    CHECK(count == 10);
    for (int i = 0; i < 10; i++)
        CHECK(values[i] == 100 + i);
}

static void lower_numbers_come_first(void)
{
    sigset_t s = set_of(SIGRTMIN + 1, SIGRTMIN + 3), old;
    sigaddset(&s, SIGUSR2);
    handle(SIGRTMIN + 1, 0);
    handle(SIGRTMIN + 3, 0);
    handle(SIGUSR2, 0);
    sigprocmask(SIG_BLOCK, &s, &old);
    queue_value(SIGRTMIN + 3, 1);
    queue_value(SIGRTMIN + 1, 2);
    queue_value(SIGUSR2, 3);
    queue_value(SIGRTMIN + 1, 4);
    siginfo_t si;
    CHECK(sigwaitinfo(&s, &si) == SIGUSR2 && si.si_value.sival_int == 3);
    CHECK(sigwaitinfo(&s, &si) == SIGRTMIN + 1 && si.si_value.sival_int == 2);
    CHECK(sigwaitinfo(&s, &si) == SIGRTMIN + 1 && si.si_value.sival_int == 4);
    CHECK(sigwaitinfo(&s, &si) == SIGRTMIN + 3 && si.si_value.sival_int == 1);
    sigprocmask(SIG_SETMASK, &old, NULL);
    CHECK(count == 0);
}

static void standard_signals_keep_the_first_value(void)
{
    sigset_t s = set_of(SIGUSR1, 0), old;
    sigprocmask(SIG_BLOCK, &s, &old);
    queue_value(SIGUSR1, 7);
    queue_value(SIGUSR1, 8);
    siginfo_t si;
    struct timespec zero = {0, 0};
    CHECK(sigtimedwait(&s, &si, &zero) == SIGUSR1 && si.si_value.sival_int == 7);
    CHECK(si.si_code == SI_QUEUE && si.si_pid == getpid() && si.si_uid == getuid());
    CHECK_ERRNO(sigtimedwait(&s, &si, &zero), EAGAIN);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void queue_limit(void)
{
    struct rlimit low = {5, 5};
    sigset_t s = set_of(SIGRTMIN, SIGUSR1);
    CHECK(setresuid(4242, 4242, 4242) == 0);
    sigprocmask(SIG_BLOCK, &s, NULL);
    CHECK(setrlimit(RLIMIT_SIGPENDING, &low) == 0);
    for (int i = 0; i < 5; i++)
        queue_value(SIGRTMIN, i);
    CHECK_ERRNO(sigqueue(getpid(), SIGRTMIN, (union sigval){0}), EAGAIN);
    CHECK(kill(getpid(), SIGRTMIN) == 0); /* kill(2) does not fail for it */
    CHECK(kill(getpid(), SIGUSR1) == 0);
    siginfo_t si;
    struct timespec zero = {0, 0};
    CHECK(sigtimedwait(&s, &si, &zero) == SIGUSR1);
    for (int i = 0; i < 5; i++)
        CHECK(sigtimedwait(&s, &si, &zero) == SIGRTMIN && si.si_value.sival_int == i);
    CHECK_ERRNO(sigtimedwait(&s, &si, &zero), EAGAIN);
    queue_value(SIGRTMIN, 9); /* there is room again */
}

static void the_queue_has_a_limit(void)
{
    CHECK(in_child(queue_limit) == 0);
}

static void sigqueue_checks_its_arguments(void)
{
    union sigval v = {0};
    CHECK(sigqueue(getpid(), 0, v) == 0);
    CHECK_ERRNO(sigqueue(getpid(), 65, v), EINVAL);
    CHECK_ERRNO(sigqueue(getpid(), -1, v), EINVAL);
    CHECK_ERRNO(sigqueue(99999, SIGUSR1, v), ESRCH);
    siginfo_t si = {.si_code = SI_USER};
    pid_t pid = idle_child();
    CHECK_ERRNO(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &si), EPERM);
    si.si_code = SI_TKILL;
    CHECK_ERRNO(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &si), EPERM);
    CHECK_ERRNO(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, NULL), EFAULT);
    CHECK_ERRNO(syscall(SYS_rt_tgsigqueueinfo, 0, pid, SIGUSR1, &si), EINVAL);
    end_child(pid);
}

static void timed_waits_check_and_expire(void)
{
    sigset_t s = set_of(SIGUSR1, 0), old;
    struct timespec bad = {0, 1000000000}, negative = {-1, 0}, t = {0, 30000000}, before, after;
    CHECK_ERRNO(sigtimedwait(&s, NULL, &bad), EINVAL);
    CHECK_ERRNO(sigtimedwait(&s, NULL, &negative), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigtimedwait, &s, NULL, &t, 4), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigtimedwait, 8, NULL, &t, 8), EFAULT);
    sigprocmask(SIG_BLOCK, &s, &old);
    clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK_ERRNO(sigtimedwait(&s, NULL, &t), EAGAIN);
    clock_gettime(CLOCK_MONOTONIC, &after);
    long ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    CHECK(ms >= 29);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void another_signal_ends_a_wait(void)
{
    sigset_t s = set_of(SIGUSR1, 0), old;
    sigprocmask(SIG_BLOCK, &s, &old);
    handle(SIGUSR2, SA_RESTART);
    pid_t me = getpid(), pid = fork();
    if (pid == 0) {
        until_asleep(me);
        kill(me, SIGUSR2);
        _exit(0);
    }
    CHECK_ERRNO(sigwaitinfo(&s, NULL), EINTR);
    CHECK(count == 1);
    CHECK(child_status(pid) == 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void waits_take_signals_that_are_ignored_by_default(void)
{
    sigset_t s = set_of(SIGURG, SIGCHLD), old;
    signal(SIGURG, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &s, &old);
    CHECK(kill(getpid(), SIGURG) == 0);
    siginfo_t si;
    CHECK(sigwaitinfo(&s, &si) == SIGURG);
    pid_t pid = fork();
    if (pid == 0)
        _exit(9);
    CHECK(sigwaitinfo(&s, &si) == SIGCHLD && si.si_code == CLD_EXITED && si.si_status == 9 &&
          si.si_pid == pid);
    waitpid(pid, NULL, 0);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void ignoring_drops_what_is_pending(void)
{
    sigset_t s = set_of(SIGUSR1, SIGRTMIN), old, now;
    sigprocmask(SIG_BLOCK, &s, &old);
    kill(getpid(), SIGUSR1);
    queue_value(SIGRTMIN, 1);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGRTMIN, SIG_IGN);
    sigpending(&now);
    CHECK(!sigismember(&now, SIGUSR1) && !sigismember(&now, SIGRTMIN));
    signal(SIGUSR1, SIG_DFL);
    signal(SIGRTMIN, SIG_DFL);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void pending_is_not_inherited(void)
{
    sigset_t s = set_of(SIGUSR1, 0), old, now;
    sigprocmask(SIG_BLOCK, &s, &old);
    kill(getpid(), SIGUSR1);
    pid_t pid = fork();
    if (pid == 0) {
        sigpending(&now);
        _exit(sigismember(&now, SIGUSR1));
    }
    CHECK(child_status(pid) == 0);
    sigpending(&now);
    CHECK(sigismember(&now, SIGUSR1));
    signal(SIGUSR1, SIG_IGN);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void pending_survives_execve(void)
{
    sigset_t s = set_of(SIGUSR1, 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGUSR1, SIG_DFL);
        sigprocmask(SIG_BLOCK, &s, NULL);
        kill(getpid(), SIGUSR1);
        execl("/proc/self/exe", "sig_queue", "pending", NULL);
        _exit(7);
    }
    CHECK(child_status(pid) == 0);
}

static void *pending_of_thread(void *arg)
{
    sigset_t now;
    (void)arg;
    pthread_kill(pthread_self(), SIGUSR1);
    sigpending(&now);
    return (void *)(long)sigismember(&now, SIGUSR1);
}

static void a_threads_signal_is_its_own(void)
{
    sigset_t s = set_of(SIGUSR1, 0), old, now;
    pthread_t t;
    void *mine;
    signal(SIGUSR1, SIG_DFL);
    pthread_sigmask(SIG_BLOCK, &s, &old);
    CHECK(!pthread_create(&t, NULL, pending_of_thread, NULL));
    pthread_join(t, &mine);
    sigpending(&now);
    CHECK(mine && !sigismember(&now, SIGUSR1));
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void signalfd_reads_in_order(void)
{
    sigset_t s = set_of(SIGRTMIN, SIGRTMIN + 1), old;
    struct signalfd_siginfo si[4];
    sigprocmask(SIG_BLOCK, &s, &old);
    int fd = signalfd(-1, &s, SFD_NONBLOCK);
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, si, sizeof(si)), EAGAIN);
    CHECK_ERRNO(read(fd, si, 10), EINVAL);
    queue_value(SIGRTMIN + 1, 1);
    queue_value(SIGRTMIN, 2);
    queue_value(SIGRTMIN, 3);
    CHECK(read(fd, si, sizeof(si)) == 3 * sizeof(si[0]));
    CHECK((int)si[0].ssi_signo == SIGRTMIN && si[0].ssi_int == 2 && si[1].ssi_int == 3);
    CHECK((int)si[2].ssi_signo == SIGRTMIN + 1 && si[2].ssi_int == 1);
    CHECK(si[0].ssi_code == SI_QUEUE && si[0].ssi_pid == (unsigned)getpid());
    close(fd);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void masks_are_checked(void)
{
    sigset_t s;
    sigfillset(&s);
    CHECK_ERRNO(syscall(SYS_rt_sigprocmask, 3, &s, NULL, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &s, NULL, 16), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, NULL, 8), EFAULT);
    CHECK(syscall(SYS_rt_sigprocmask, 99, NULL, &s, 8) == 0); /* how is not looked at */
    CHECK_ERRNO(syscall(SYS_rt_sigpending, &s, 16), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigsuspend, &s, 4), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8), EINVAL);
    CHECK_ERRNO(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8), EINVAL);
    CHECK(syscall(SYS_rt_sigaction, SIGKILL, NULL, &(struct sigaction){0}, 8) == 0);
}

static void kill_and_stop_cannot_be_blocked(void)
{
    sigset_t all, old, now;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(!sigismember(&now, SIGKILL) && !sigismember(&now, SIGSTOP) && sigismember(&now, SIGTERM));
    sigprocmask(SIG_SETMASK, &old, NULL);
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) { /* pending_survives_execve */
        sigset_t now;
        sigpending(&now);
        return !sigismember(&now, SIGUSR1);
    }
    CASE(realtime_signals_keep_their_values_in_order);
    CASE(lower_numbers_come_first);
    CASE(standard_signals_keep_the_first_value);
    CASE(the_queue_has_a_limit);
    CASE(sigqueue_checks_its_arguments);
    CASE(timed_waits_check_and_expire);
    CASE(another_signal_ends_a_wait);
    CASE(waits_take_signals_that_are_ignored_by_default);
    CASE(ignoring_drops_what_is_pending);
    CASE(pending_is_not_inherited);
    CASE(pending_survives_execve);
    CASE(a_threads_signal_is_its_own);
    CASE(signalfd_reads_in_order);
    CASE(masks_are_checked);
    CASE(kill_and_stop_cannot_be_blocked);
    return check_result();
}
