/* Clocks, sleeps, interval timers and POSIX timers, CPU time included. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <unistd.h>

#include "child.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static volatile int fired, fired_code, fired_value;
static volatile pid_t fired_in;

static void on_timer(int signo, siginfo_t *si, void *uc)
{
    (void)signo;
    (void)uc;
    fired++;
    fired_code = si->si_code;
    fired_value = si->si_value.sival_int;
    fired_in = (pid_t)syscall(SYS_gettid);
}

static void handle(int signo)
{
    struct sigaction sa = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(signo, &sa, NULL);
    fired = 0;
}

static long long now_ns(clockid_t clock)
{
    struct timespec t = {0, 0};
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void burn(long ms)
{
    long long end = now_ns(CLOCK_THREAD_CPUTIME_ID) + ms * 1000000LL;
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        ;
}

static timer_t timer_of(clockid_t clock, int signo)
{
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo};
    timer_t id;
    ev.sigev_value.sival_int = 77;
    CHECK(timer_create(clock, &ev, &id) == 0);
    return id;
}

static void clocks_are_checked(void)
{
    struct timespec t;
    CHECK_ERRNO(clock_gettime(99, &t), EINVAL);
    CHECK_ERRNO(clock_getres(99, &t), EINVAL);
    CHECK_ERRNO(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), EFAULT);
    CHECK(clock_getres(CLOCK_MONOTONIC, NULL) == 0);
    CHECK(clock_getres(CLOCK_MONOTONIC, &t) == 0 && t.tv_sec == 0 && t.tv_nsec > 0);
    t = (struct timespec){0, 1000000000};
    CHECK_ERRNO(clock_settime(CLOCK_REALTIME, &t), EINVAL);
    t.tv_nsec = 0;
    CHECK_ERRNO(clock_settime(CLOCK_MONOTONIC, &t), EINVAL);
    CHECK_ERRNO(syscall(SYS_clock_settime, CLOCK_REALTIME, 8), EFAULT);
}

static void clocks_go_on(void)
{
    long long a = now_ns(CLOCK_MONOTONIC), c = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(20);
    long long b = now_ns(CLOCK_MONOTONIC), d = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    CHECK(b - a >= 20000000 && d - c < b - a);
    burn(5);
    CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) - d >= 5000000);
}

static void sleeps_are_checked(void)
{
    struct timespec bad = {0, 1000000000}, negative = {-1, 0}, t = {0, 1000};
    CHECK_ERRNO(nanosleep(&bad, NULL), EINVAL);
    CHECK_ERRNO(nanosleep(&negative, NULL), EINVAL);
    CHECK(clock_nanosleep(99, 0, &t, NULL) == EINVAL);
    CHECK(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL) == EINVAL);
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL) == EINVAL);
    CHECK(clock_nanosleep(CLOCK_MONOTONIC_COARSE, 0, &t, NULL) == EOPNOTSUPP);
    CHECK_ERRNO(syscall(SYS_nanosleep, 8, NULL), EFAULT);
}

static void absolute_sleeps_end_in_time(void)
{
    const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI};
    for (int i = 0; i < 4; i++) {
        struct timespec t;
        clock_gettime(clocks[i], &t);
        t.tv_nsec += 20000000;
        if (t.tv_nsec >= 1000000000) {
            t.tv_nsec -= 1000000000;
            t.tv_sec++;
        }
        long long end = t.tv_sec * 1000000000LL + t.tv_nsec;
        CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &t, NULL) == 0);
        CHECK(now_ns(clocks[i]) >= end);
        CHECK(clock_nanosleep(clocks[i], TIMER_ABSTIME, &t, NULL) == 0);
    }
}

static volatile int stop_burning;

static void *burner(void *arg)
{
    while (!stop_burning)
        ;
    return arg;
}

static void sleeping_on_cpu_time(void)
{
    pthread_t t;
    struct timespec d = {0, 30000000};
    stop_burning = 0;
    CHECK(!pthread_create(&t, NULL, burner, NULL));
    long long before = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    int err = clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &d, NULL);
    long long after = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    stop_burning = 1;
    pthread_join(t, NULL);
    CHECK(err == 0 && after - before >= 30000000);
}

static void timer_arguments_are_checked(void)
{
    struct sigevent ev = {.sigev_notify = 77};
    struct itimerspec its = {{0, 0}, {0, 1000000000}};
    timer_t id;
    CHECK_ERRNO(timer_create(99, NULL, &id), EINVAL);
    CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &ev, &id), EINVAL);
    ev = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &ev, &id), EINVAL);
    ev = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    ev.sigev_notify_thread_id = 99999;
    CHECK_ERRNO(timer_create(CLOCK_MONOTONIC, &ev, &id), EINVAL);
    id = timer_of(CLOCK_MONOTONIC, SIGUSR1);
    CHECK_ERRNO(timer_settime(id, 0, &its, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_timer_settime, id, 0, NULL, NULL), EINVAL);
    CHECK(timer_delete(id) == 0);
    CHECK_ERRNO(syscall(SYS_timer_delete, id), EINVAL);
    CHECK_ERRNO(syscall(SYS_timer_getoverrun, id), EINVAL);
    CHECK_ERRNO(syscall(SYS_timer_gettime, id, &its), EINVAL);
}

static void timers_fire_with_their_value(void)
{
    handle(SIGUSR1);
    timer_t id = timer_of(CLOCK_REALTIME, SIGUSR1);
    struct itimerspec its = {{0, 0}, {0, 10000000}};
    CHECK(timer_settime(id, 0, &its, NULL) == 0);
    while (!fired)
        sleep_ms(1);
    CHECK(fired == 1 && fired_code == SI_TIMER && fired_value == 77);
    CHECK(timer_gettime(id, &its) == 0 && its.it_value.tv_sec == 0 && its.it_value.tv_nsec == 0);
    timer_delete(id);
}

static void absolute_timers(void)
{
    handle(SIGUSR1);
    timer_t id = timer_of(CLOCK_MONOTONIC, SIGUSR1);
    struct itimerspec its = {{0, 0}, {0, 0}};
    clock_gettime(CLOCK_MONOTONIC, &its.it_value);
    its.it_value.tv_sec -= its.it_value.tv_sec > 0;
    CHECK(timer_settime(id, TIMER_ABSTIME, &its, NULL) == 0); /* passed: at once */
    while (!fired)
        sleep_ms(1);
    its.it_value.tv_sec += 100;
    CHECK(timer_settime(id, TIMER_ABSTIME, &its, NULL) == 0);
    CHECK(timer_gettime(id, &its) == 0);
    CHECK(its.it_value.tv_sec >= 90 && its.it_value.tv_sec <= 100);
    timer_delete(id);
}

static void settime_returns_the_old_setting(void)
{
    timer_t id = timer_of(CLOCK_MONOTONIC, SIGUSR1);
    struct itimerspec its = {{3, 0}, {50, 0}}, off = {{0, 0}, {0, 0}}, old;
    CHECK(timer_settime(id, 0, &its, &old) == 0 && old.it_value.tv_sec == 0);
    CHECK(timer_settime(id, 0, &off, &old) == 0);
    CHECK(old.it_interval.tv_sec == 3 && old.it_value.tv_sec >= 49 && old.it_value.tv_sec <= 50);
    CHECK(timer_gettime(id, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
    timer_delete(id);
}

static void overruns_are_counted(void)
{
    sigset_t s, before;
    siginfo_t si;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    sigprocmask(SIG_BLOCK, &s, &before);
    timer_t id = timer_of(CLOCK_MONOTONIC, SIGUSR1);
    struct itimerspec its = {{0, 2000000}, {0, 2000000}};
    CHECK(timer_settime(id, 0, &its, NULL) == 0);
    sleep_ms(60);
    CHECK(sigwaitinfo(&s, &si) == SIGUSR1 && si.si_code == SI_TIMER);
    CHECK(si.si_overrun >= 20); /* 30 expirations, one signal */
    CHECK(timer_getoverrun(id) == si.si_overrun);
    timer_delete(id);
    struct timespec zero = {0, 0};
    sigtimedwait(&s, &si, &zero);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void a_disarmed_timers_signal_is_dropped(void)
{
    sigset_t s, before;
    siginfo_t si;
    sigemptyset(&s);
    sigaddset(&s, SIGUSR1);
    sigprocmask(SIG_BLOCK, &s, &before);
    timer_t id = timer_of(CLOCK_MONOTONIC, SIGUSR1);
    struct itimerspec its = {{0, 0}, {0, 1000000}};
    CHECK(timer_settime(id, 0, &its, NULL) == 0);
    sleep_ms(20);
    timer_delete(id); /* its signal was pending */
    struct timespec zero = {0, 0};
    sigtimedwait(&s, &si, &zero);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void *timer_thread(void *arg)
{
    struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    struct itimerspec its = {{0, 0}, {0, 5000000}};
    timer_t id;
    (void)arg;
    ev.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &ev, &id) || timer_settime(id, 0, &its, NULL))
        return NULL;
    while (!fired)
        sleep_ms(1);
    timer_delete(id);
    return (void *)(long)(fired_in == (pid_t)syscall(SYS_gettid));
}

static void threads_get_their_timers(void)
{
    pthread_t t;
    void *ok;
    handle(SIGUSR2);
    CHECK(!pthread_create(&t, NULL, timer_thread, NULL) && !pthread_join(t, &ok) && ok);
}

static void silent_timers_only_count(void)
{
    struct sigevent ev = {.sigev_notify = SIGEV_NONE};
    struct itimerspec its = {{0, 0}, {0, 5000000}};
    timer_t id;
    CHECK(timer_create(CLOCK_MONOTONIC, &ev, &id) == 0 && timer_settime(id, 0, &its, NULL) == 0);
    sleep_ms(10);
    CHECK(timer_gettime(id, &its) == 0 && its.it_value.tv_nsec == 0);
    timer_delete(id);
}

static void no_timers(void)
{
    struct itimerval it;
    struct itimerspec its;
    CHECK(getitimer(ITIMER_REAL, &it) == 0 && it.it_value.tv_sec == 0);
    CHECK_ERRNO(syscall(SYS_timer_gettime, 0, &its), EINVAL);
}

static void timers_are_not_inherited(void)
{
    struct itimerval it = {{0, 0}, {100, 0}}, off = {{0, 0}, {0, 0}};
    timer_t id = timer_of(CLOCK_MONOTONIC, SIGUSR1);
    CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
    CHECK(in_child(no_timers) == 0);
    CHECK(setitimer(ITIMER_REAL, &off, &it) == 0 && it.it_value.tv_sec >= 98);
    timer_delete(id);
}

static void itimer_arguments_are_checked(void)
{
    struct itimerval it = {{0, 0}, {0, 1000000}};
    CHECK_ERRNO(setitimer(ITIMER_REAL, &it, NULL), EINVAL);
    it.it_value.tv_usec = -1;
    CHECK_ERRNO(setitimer(ITIMER_REAL, &it, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_setitimer, 3, &it, NULL), EINVAL);
    CHECK_ERRNO(syscall(SYS_getitimer, 3, &it), EINVAL);
    CHECK_ERRNO(syscall(SYS_getitimer, ITIMER_REAL, 8), EFAULT);
}

static void virtual_timers_count_user_time(void)
{
    struct itimerval it = {{0, 0}, {0, 30000}}, left;
    handle(SIGVTALRM);
    CHECK(setitimer(ITIMER_VIRTUAL, &it, NULL) == 0);
    CHECK(getitimer(ITIMER_VIRTUAL, &left) == 0 && left.it_value.tv_usec > 0);
    sleep_ms(60);
    CHECK(fired == 0); /* sleeping is not running */
    long long limit = now_ns(CLOCK_MONOTONIC) + 10000000000LL;
    while (!fired && now_ns(CLOCK_MONOTONIC) < limit)
        for (volatile int i = 0; i < 10000; i++)
            ;
    CHECK(fired == 1);
    CHECK(getitimer(ITIMER_VIRTUAL, &left) == 0 && left.it_value.tv_usec == 0);
}

static void profiling_timers_repeat(void)
{
    struct itimerval it = {{0, 20000}, {0, 20000}}, off = {{0, 0}, {0, 0}};
    handle(SIGPROF);
    CHECK(setitimer(ITIMER_PROF, &it, NULL) == 0);
    long long limit = now_ns(CLOCK_MONOTONIC) + 10000000000LL;
    while (fired < 3 && now_ns(CLOCK_MONOTONIC) < limit)
        ;
    CHECK(setitimer(ITIMER_PROF, &off, &it) == 0);
    CHECK(fired >= 3 && it.it_interval.tv_usec >= 19000 && it.it_interval.tv_usec <= 24000);
}

static void cpu_clock_timers_fire(void)
{
    const clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    for (int i = 0; i < 2; i++) {
        handle(SIGUSR1);
        timer_t id = timer_of(clocks[i], SIGUSR1);
        struct itimerspec its = {{0, 0}, {0, 20000000}};
        long long before = now_ns(clocks[i]);
        CHECK(timer_settime(id, 0, &its, NULL) == 0);
        sleep_ms(40);
        CHECK(fired == 0);
        long long limit = now_ns(CLOCK_MONOTONIC) + 10000000000LL;
        while (!fired && now_ns(CLOCK_MONOTONIC) < limit)
            ;
        CHECK(fired == 1 && fired_code == SI_TIMER && now_ns(clocks[i]) - before >= 20000000);
        timer_delete(id);
    }
}

static void times_count_clock_ticks(void)
{
    struct tms a, b;
    clock_t t = times(&a);
    burn(50);
    clock_t u = times(&b);
    CHECK(t != (clock_t)-1 && u - t >= 4);
    CHECK(b.tms_utime + b.tms_stime - a.tms_utime - a.tms_stime >= 4);
    CHECK(sysconf(_SC_CLK_TCK) == 100);
}

static void thread_clocks_of_others(void)
{
    clockid_t id;
    struct timespec t;
    CHECK(clock_getcpuclockid(0, &id) == 0 && clock_gettime(id, &t) == 0);
    CHECK(pthread_getcpuclockid(pthread_self(), &id) == 0 && clock_gettime(id, &t) == 0);
    CHECK(clock_getcpuclockid(99999, &id) == ESRCH);
}

int main(void)
{
    CASE(clocks_are_checked);
    CASE(clocks_go_on);
    CASE(sleeps_are_checked);
    CASE(absolute_sleeps_end_in_time);
    CASE(sleeping_on_cpu_time);
    CASE(timer_arguments_are_checked);
    CASE(timers_fire_with_their_value);
    CASE(absolute_timers);
    CASE(settime_returns_the_old_setting);
    CASE(overruns_are_counted);
    CASE(a_disarmed_timers_signal_is_dropped);
    CASE(threads_get_their_timers);
    CASE(silent_timers_only_count);
    CASE(timers_are_not_inherited);
    CASE(itimer_arguments_are_checked);
    CASE(virtual_timers_count_user_time);
    CASE(profiling_timers_repeat);
    CASE(cpu_clock_timers_fire);
    CASE(times_count_clock_ticks);
    CASE(thread_clocks_of_others);
    return check_result();
}
