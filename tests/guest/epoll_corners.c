/* epoll, poll, select, eventfd, timerfd, signalfd: the corners. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "check.h"

static int add(int ep, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

static int mod(int ep, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = fd};
    return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
}

/* The events of the only ready descriptor, 0 if none is. */
static uint32_t ready(int ep)
{
    struct epoll_event ev[4];
    int n = epoll_wait(ep, ev, 4, 0);
    CHECK(n == 0 || n == 1);
    return n ? ev[0].events : 0;
}

static int counter(unsigned count, int flags)
{
    int fd = eventfd(count, flags | EFD_NONBLOCK);
    CHECK(fd >= 0);
    return fd;
}

/* --- epoll ------------------------------------------------------------------------------------ */

static void the_set_refuses(void)
{
    int ep = epoll_create1(0), ev = counter(0, 0), file = open("f", O_CREAT | O_RDWR, 0600);
    CHECK_ERRNO(epoll_create(0), EINVAL);
    CHECK_ERRNO(epoll_create1(0x4000), EINVAL);
    CHECK_ERRNO(add(ep, file, EPOLLIN), EPERM);
    CHECK_ERRNO(add(ep, ep, EPOLLIN), EINVAL);
    CHECK_ERRNO(add(ev, ev, EPOLLIN), EINVAL);
    CHECK_ERRNO(add(ep, -1, EPOLLIN), EBADF);
    CHECK_ERRNO(add(-1, ev, EPOLLIN), EBADF);
    CHECK_ERRNO(mod(ep, ev, EPOLLIN), ENOENT);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_DEL, ev, NULL), ENOENT);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, ev, NULL), EFAULT);
    CHECK(add(ep, ev, EPOLLIN) == 0);
    CHECK_ERRNO(add(ep, ev, EPOLLIN), EEXIST);
    struct epoll_event e;
    CHECK_ERRNO(epoll_ctl(ep, 9, ev, &e), EINVAL);
    CHECK_ERRNO(epoll_wait(ep, &e, 0, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(ev, &e, 1, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(-1, &e, 1, 0), EBADF);
    CHECK_ERRNO(read(ep, &e, sizeof(e)), EINVAL);
    close(ep);
    close(ev);
    close(file);
}

static void sets_in_a_circle_are_refused(void)
{
    int a = epoll_create1(0), b = epoll_create1(0), c = epoll_create1(0);
    CHECK(add(a, b, EPOLLIN) == 0 && add(b, c, EPOLLIN) == 0);
    CHECK_ERRNO(add(c, a, EPOLLIN), ELOOP);
    CHECK_ERRNO(add(b, a, EPOLLIN), ELOOP);
    close(a);
    CHECK(add(c, b, EPOLLIN) == -1 && errno == ELOOP);
    close(b);
    close(c);
}

static void sets_nest_five_deep(void)
{
    int ep[7], n;
    for (n = 0; n < 7; n++)
        ep[n] = epoll_create1(0);
    for (n = 1; n < 7 && add(ep[n], ep[n - 1], EPOLLIN) == 0; n++)
        ;
    CHECK(n < 7 && (errno == ELOOP || errno == EINVAL));
    CHECK(n >= 5);
    int ev = counter(1, 0);
    CHECK(add(ep[0], ev, EPOLLIN) == 0 && ready(ep[n - 1]) == EPOLLIN);
    close(ev);
    for (int i = 0; i < 7; i++)
        close(ep[i]);
}

static void a_nested_set_is_ready_while_its_file_is(void)
{
    uint64_t v;
    int in = epoll_create1(0), out = epoll_create1(0), ev = counter(0, 0);
    CHECK(add(in, ev, EPOLLIN) == 0 && add(out, in, EPOLLIN) == 0 && ready(out) == 0);
    CHECK(eventfd_write(ev, 1) == 0 && ready(out) == EPOLLIN && ready(in) == EPOLLIN);
    struct pollfd p = {out, POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
    CHECK(read(ev, &v, 8) == 8 && ready(out) == 0 && poll(&p, 1, 0) == 0);
    close(in);
    CHECK(ready(out) == 0);
    close(out);
    close(ev);
}

static void edges_come_once_per_change(void)
{
    int ep = epoll_create1(0), p[2];
    char c;
    CHECK(pipe(p) == 0 && add(ep, p[0], EPOLLIN | EPOLLET) == 0 && ready(ep) == 0);
    CHECK(write(p[1], "ab", 2) == 2 && ready(ep) == EPOLLIN && ready(ep) == 0);
    CHECK(read(p[0], &c, 1) == 1 && ready(ep) == 0);
    CHECK(write(p[1], "c", 1) == 1 && ready(ep) == EPOLLIN);
    CHECK(mod(ep, p[0], EPOLLIN | EPOLLET) == 0 && ready(ep) == EPOLLIN); /* asks again */
    close(p[1]);
    CHECK(ready(ep) == (EPOLLIN | EPOLLHUP) && ready(ep) == 0);
    close(p[0]);
    close(ep);
}

static void once_until_armed_again(void)
{
    int ep = epoll_create1(0), ev = counter(1, 0);
    CHECK(add(ep, ev, EPOLLIN | EPOLLONESHOT) == 0 && ready(ep) == EPOLLIN && ready(ep) == 0);
    CHECK(eventfd_write(ev, 1) == 0 && ready(ep) == 0);
    CHECK(mod(ep, ev, EPOLLIN | EPOLLONESHOT) == 0 && ready(ep) == EPOLLIN && ready(ep) == 0);
    close(ev);
    close(ep);
}

static void exclusive_has_rules(void)
{
    int ep = epoll_create1(0), in = epoll_create1(0), ev = counter(1, 0);
    CHECK_ERRNO(add(ep, in, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    CHECK_ERRNO(add(ep, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL);
    CHECK_ERRNO(add(ep, ev, EPOLLPRI | EPOLLEXCLUSIVE), EINVAL);
    CHECK(add(ep, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET) == 0 && ready(ep) == EPOLLIN);
    CHECK_ERRNO(mod(ep, ev, EPOLLIN), EINVAL);
    CHECK_ERRNO(mod(ep, ev, EPOLLIN | EPOLLEXCLUSIVE), EINVAL);
    close(ep);
    close(in);
    close(ev);
}

static void errors_and_hangups_come_unasked(void)
{
    int ep = epoll_create1(0), p[2], s[2];
    CHECK(pipe(p) == 0 && add(ep, p[1], 0) == 0 && ready(ep) == 0);
    close(p[0]);
    CHECK(ready(ep) == EPOLLERR);
    close(p[1]);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    CHECK(add(ep, s[0], EPOLLIN | EPOLLRDHUP) == 0 && ready(ep) == 0);
    CHECK(shutdown(s[1], SHUT_WR) == 0 && ready(ep) == (EPOLLIN | EPOLLRDHUP));
    close(s[1]);
    CHECK(ready(ep) == (EPOLLIN | EPOLLRDHUP | EPOLLHUP));
    close(s[0]);
    close(ep);
}

static void a_registration_is_of_the_open_file(void)
{
    int ep = epoll_create1(0), ev = counter(1, 0), other = dup(ev);
    struct epoll_event e;
    CHECK(add(ep, ev, EPOLLIN) == 0 && add(ep, other, EPOLLIN) == 0);
    struct epoll_event two[2];
    CHECK(epoll_wait(ep, two, 2, 0) == 2);
    CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, other, NULL) == 0);
    close(ev);
    CHECK(epoll_wait(ep, &e, 1, 0) == 1); /* `other` keeps it open */
    close(other);
    CHECK(epoll_wait(ep, &e, 1, 0) == 0);
    close(ep);
}

static void ready_files_take_turns(void)
{
    int ep = epoll_create1(0), ev[3], seen[3] = {0};
    for (int i = 0; i < 3; i++) {
        ev[i] = counter(1, 0);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = i};
        CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, ev[i], &e) == 0);
    }
    for (int i = 0; i < 6; i++) {
        struct epoll_event e;
        CHECK(epoll_wait(ep, &e, 1, 0) == 1);
        seen[e.data.u32]++;
    }
    CHECK(seen[0] == 2 && seen[1] == 2 && seen[2] == 2);
    for (int i = 0; i < 3; i++)
        close(ev[i]);
    close(ep);
}

static void *add_later(void *arg)
{
    int *fds = arg;
    usleep(50000);
    add(fds[0], fds[1], EPOLLIN);
    return NULL;
}

static void a_waiter_sees_what_is_added(void)
{
    int fds[2] = {epoll_create1(0), counter(1, 0)};
    struct epoll_event e;
    pthread_t t;
    CHECK(pthread_create(&t, NULL, add_later, fds) == 0);
    CHECK(epoll_wait(fds[0], &e, 1, 20000) == 1 && e.data.fd == fds[1]);
    pthread_join(t, NULL);
    close(fds[0]);
    close(fds[1]);
}

static int signals;
static void on_signal(int sig)
{
    (void)sig;
    signals++;
}

static void a_mask_is_for_the_wait_only(void)
{
    struct epoll_event e;
    sigset_t block, none, now;
    struct sigaction sa = {.sa_handler = on_signal};
    int ep = epoll_create1(0);
    sigemptyset(&none);
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigaction(SIGUSR1, &sa, NULL);
    sigprocmask(SIG_BLOCK, &block, NULL);
    signals = 0;
    raise(SIGUSR1);
    CHECK(epoll_wait(ep, &e, 1, 1) == 0 && signals == 0);
    CHECK_ERRNO(epoll_pwait(ep, &e, 1, 1000, &none), EINTR);
    CHECK(signals == 1);
    sigprocmask(SIG_SETMASK, NULL, &now);
    CHECK(sigismember(&now, SIGUSR1));
    raise(SIGUSR1);
    struct pollfd p = {ep, POLLIN, 0};
    struct timespec second = {1, 0};
    CHECK_ERRNO(ppoll(&p, 1, &second, &none), EINTR);
    raise(SIGUSR1);
    CHECK_ERRNO(pselect(0, NULL, NULL, NULL, &second, &none), EINTR);
    CHECK(signals == 3);
    CHECK_ERRNO(syscall(SYS_epoll_pwait, ep, &e, 1, 0, &none, 4), EINVAL);
    CHECK_ERRNO(syscall(SYS_ppoll, &p, 1, NULL, &none, 4), EINVAL);
    sigprocmask(SIG_UNBLOCK, &block, NULL);
    close(ep);
}

static void pwait2_counts_nanoseconds(void)
{
    struct epoll_event e;
    struct timespec t = {0, 2000000}, bad = {0, 1000000000}, a, b;
    int ep = epoll_create1(0);
    clock_gettime(CLOCK_MONOTONIC, &a);
    CHECK(syscall(SYS_epoll_pwait2, ep, &e, 1, &t, NULL, 0) == 0);
    clock_gettime(CLOCK_MONOTONIC, &b);
    CHECK((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec >= 2000000);
    CHECK_ERRNO(syscall(SYS_epoll_pwait2, ep, &e, 1, &bad, NULL, 0), EINVAL);
    CHECK_ERRNO(syscall(SYS_epoll_pwait2, ep, &e, 1, 1, NULL, 0), EFAULT);
    close(ep);
}

/* --- poll and select -------------------------------------------------------------------------- */

static void poll_skips_and_tells_bad_ones(void)
{
    int file = open("pf", O_CREAT | O_RDWR, 0600), ev = counter(0, 0);
    struct pollfd p[4] = {
        {-1, POLLIN, 99}, {999, POLLIN, 0}, {file, POLLIN | POLLOUT, 0}, {ev, POLLIN | POLLOUT, 0}};
    CHECK(poll(p, 4, 0) == 3);
    CHECK(p[0].revents == 0 && p[1].revents == POLLNVAL);
    CHECK(p[2].revents == (POLLIN | POLLOUT) && p[3].revents == POLLOUT);
    CHECK(poll(NULL, 0, 1) == 0);
    CHECK_ERRNO(syscall(SYS_poll, 1, 1, 0), EFAULT);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    CHECK_ERRNO(syscall(SYS_poll, p, (unsigned)limit.rlim_cur + 1, 0), EINVAL);
    struct timespec bad = {-1, 0};
    CHECK_ERRNO(syscall(SYS_ppoll, p, 1, &bad, NULL, 0), EINVAL);
    close(file);
    close(ev);
}

static void ppoll_tells_the_time_left(void)
{
    struct timespec t = {5, 0};
    int ev = counter(1, 0);
    struct pollfd p = {ev, POLLIN, 0};
    CHECK(syscall(SYS_ppoll, &p, 1, &t, NULL, 0) == 1);
    CHECK(t.tv_sec == 4 && t.tv_nsec > 0);
    close(ev);
}

static void select_tells_three_sets(void)
{
    int p[2];
    fd_set in, out, ex;
    struct timeval now = {0, 0};
    CHECK(pipe(p) == 0);
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&ex);
    FD_SET(p[0], &in);
    FD_SET(p[1], &out);
    FD_SET(p[0], &ex);
    CHECK(select(p[1] + 1, &in, &out, &ex, &now) == 1);
    CHECK(!FD_ISSET(p[0], &in) && FD_ISSET(p[1], &out) && !FD_ISSET(p[0], &ex));
    CHECK(write(p[1], "x", 1) == 1);
    FD_SET(p[0], &in);
    CHECK(select(p[1] + 1, &in, &out, NULL, NULL) == 2);
    close(p[1]);
    FD_SET(p[0], &in);
    FD_SET(p[1], &out);
    CHECK_ERRNO(select(p[1] + 1, &in, &out, NULL, &now), EBADF);
    CHECK_ERRNO(select(-1, NULL, NULL, NULL, &now), EINVAL);
    now.tv_sec = -1;
    CHECK_ERRNO(select(0, NULL, NULL, NULL, &now), EINVAL);
    close(p[0]);
}

/* --- eventfd ---------------------------------------------------------------------------------- */

static void a_semaphore_gives_one_at_a_time(void)
{
    uint64_t v;
    int fd = counter(3, EFD_SEMAPHORE);
    for (int i = 0; i < 3; i++)
        CHECK(read(fd, &v, 8) == 8 && v == 1);
    CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
    CHECK(eventfd_write(fd, 2) == 0 && read(fd, &v, 8) == 8 && v == 1);
    close(fd);
}

static void a_counter_has_a_largest_value(void)
{
    uint64_t v = UINT64_MAX;
    int fd = counter(0, 0);
    CHECK_ERRNO(write(fd, &v, 8), EINVAL);
    CHECK_ERRNO(write(fd, &v, 4), EINVAL);
    CHECK_ERRNO(read(fd, &v, 4), EINVAL);
    v = UINT64_MAX - 1;
    CHECK(write(fd, &v, 8) == 8);
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
    v = 1;
    CHECK_ERRNO(write(fd, &v, 8), EAGAIN);
    v = 0;
    CHECK(write(fd, &v, 8) == 8);
    CHECK(read(fd, &v, 8) == 8 && v == UINT64_MAX - 1);
    CHECK_ERRNO(eventfd(0, 0x4000), EINVAL);
    close(fd);
}

/* --- timerfd ---------------------------------------------------------------------------------- */

static int timer(int clock, long value_ns, long interval_ns)
{
    int fd = timerfd_create(clock, TFD_NONBLOCK);
    struct itimerspec t = {{0, interval_ns}, {0, value_ns}};
    CHECK(fd >= 0 && timerfd_settime(fd, 0, &t, NULL) == 0);
    return fd;
}

static void timers_refuse(void)
{
    struct itimerspec t = {{0, 0}, {0, 1000000000}};
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), ev = counter(0, 0);
    CHECK_ERRNO(timerfd_create(77, 0), EINVAL);
    CHECK_ERRNO(timerfd_create(CLOCK_MONOTONIC, 0x10), EINVAL);
    CHECK_ERRNO(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL);
    CHECK_ERRNO(timerfd_settime(fd, 0, &t, NULL), EINVAL);
    t.it_value.tv_nsec = 0;
    CHECK_ERRNO(timerfd_settime(fd, 8, &t, NULL), EINVAL);
    CHECK_ERRNO(timerfd_settime(ev, 0, &t, NULL), EINVAL);
    CHECK_ERRNO(timerfd_settime(-1, 0, &t, NULL), EBADF);
    CHECK_ERRNO(timerfd_gettime(ev, &t), EINVAL);
    CHECK_ERRNO(syscall(SYS_timerfd_settime, fd, 0, 1, NULL), EFAULT);
    CHECK_ERRNO(write(fd, "12345678", 8), EINVAL);
    close(fd);
    close(ev);
}

static void a_timer_counts_and_is_disarmed(void)
{
    uint64_t v;
    struct itimerspec t = {{0, 0}, {0, 0}}, old;
    int fd = timer(CLOCK_MONOTONIC, 5000000, 5000000);
    CHECK_ERRNO(read(fd, &v, 4), EINVAL);
    usleep(30000);
    CHECK(read(fd, &v, 8) == 8 && v >= 5);
    CHECK(timerfd_settime(fd, 0, &t, &old) == 0 && old.it_interval.tv_nsec == 5000000);
    CHECK(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 5000000);
    usleep(10000);
    CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
    CHECK(timerfd_gettime(fd, &old) == 0 && !old.it_value.tv_nsec && !old.it_interval.tv_nsec);
    close(fd);
}

static void an_absolute_time_in_the_past_is_now(void)
{
    uint64_t v;
    struct itimerspec t = {{0, 0}, {1, 0}};
    int clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME};
    for (int i = 0; i < 3; i++) {
        int fd = timerfd_create(clocks[i], 0);
        CHECK(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL) == 0 && read(fd, &v, 8) == 8);
        CHECK(v == 1);
        close(fd);
    }
}

static void a_timer_is_cancelled_when_the_clock_is_set(void)
{
    uint64_t v;
    struct timespec now;
    struct itimerspec t = {{0, 0}, {0, 0}};
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    clock_gettime(CLOCK_REALTIME, &now);
    t.it_value.tv_sec = now.tv_sec + 1000;
    CHECK(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &t, NULL) == 0);
    CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 0);
    struct utsname uts;
    uname(&uts);
    if (strstr(uts.release, "librettos")) { /* the host's clock is left alone */
        clock_gettime(CLOCK_REALTIME, &now);
        CHECK(clock_settime(CLOCK_REALTIME, &now) == 0);
        CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
        CHECK_ERRNO(read(fd, &v, 8), ECANCELED);
        CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
    }
    close(fd);
}

/* --- signalfd --------------------------------------------------------------------------------- */

static sigset_t blocked(int a, int b)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, a);
    sigaddset(&set, b);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return set;
}

static void signals_are_read_in_order(void)
{
    struct signalfd_siginfo s[3];
    sigset_t set = blocked(SIGUSR1, SIGUSR2);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, s, sizeof(s)), EAGAIN);
    kill(getpid(), SIGUSR2);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1); /* a standard signal is pending once */
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN);
    CHECK(read(fd, s, sizeof(s)) == 2 * sizeof(*s));
    CHECK(s[0].ssi_signo == SIGUSR1 && s[1].ssi_signo == SIGUSR2);
    CHECK(s[0].ssi_pid == (unsigned)getpid() && s[0].ssi_code == SI_USER);
    CHECK_ERRNO(read(fd, s, 10), EINVAL);
    close(fd);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void queued_signals_carry_values(void)
{
    struct signalfd_siginfo s;
    union sigval v = {.sival_int = 77};
    sigset_t set = blocked(SIGRTMIN, SIGCHLD);
    int fd = signalfd(-1, &set, SFD_NONBLOCK), status;
    CHECK(sigqueue(getpid(), SIGRTMIN, v) == 0 && read(fd, &s, sizeof(s)) == sizeof(s));
    CHECK(s.ssi_int == 77 && s.ssi_code == SI_QUEUE);
    pid_t child = fork();
    if (child == 0)
        _exit(5);
    waitpid(child, &status, 0);
    CHECK(read(fd, &s, sizeof(s)) == sizeof(s) && s.ssi_signo == SIGCHLD);
    CHECK(s.ssi_pid == (unsigned)child && s.ssi_status == 5 && s.ssi_code == CLD_EXITED);
    close(fd);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void the_set_of_a_signalfd_changes(void)
{
    struct signalfd_siginfo s;
    sigset_t set = blocked(SIGUSR1, SIGUSR2), one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    int fd = signalfd(-1, &one, SFD_NONBLOCK), ev = counter(0, 0);
    kill(getpid(), SIGUSR2);
    CHECK_ERRNO(read(fd, &s, sizeof(s)), EAGAIN);
    CHECK(signalfd(fd, &set, 0) == fd && read(fd, &s, sizeof(s)) == sizeof(s));
    CHECK_ERRNO(signalfd(ev, &set, 0), EINVAL);
    CHECK_ERRNO(signalfd(999, &set, 0), EBADF);
    CHECK_ERRNO(signalfd(-1, &set, 0x4000), EINVAL);
    CHECK_ERRNO(syscall(SYS_signalfd4, -1, &set, 4, 0), EINVAL);
    close(fd);
    close(ev);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(void)
{
    own_directory();
    CASE(the_set_refuses);
    CASE(sets_in_a_circle_are_refused);
    CASE(sets_nest_five_deep);
    CASE(a_nested_set_is_ready_while_its_file_is);
    CASE(edges_come_once_per_change);
    CASE(once_until_armed_again);
    CASE(exclusive_has_rules);
    CASE(errors_and_hangups_come_unasked);
    CASE(a_registration_is_of_the_open_file);
    CASE(ready_files_take_turns);
    CASE(a_waiter_sees_what_is_added);
    CASE(a_mask_is_for_the_wait_only);
    CASE(pwait2_counts_nanoseconds);
    CASE(poll_skips_and_tells_bad_ones);
    CASE(ppoll_tells_the_time_left);
    CASE(select_tells_three_sets);
    CASE(a_semaphore_gives_one_at_a_time);
    CASE(a_counter_has_a_largest_value);
    CASE(timers_refuse);
    CASE(a_timer_counts_and_is_disarmed);
    CASE(an_absolute_time_in_the_past_is_now);
    CASE(a_timer_is_cancelled_when_the_clock_is_set);
    CASE(signals_are_read_in_order);
    CASE(queued_signals_carry_values);
    CASE(the_set_of_a_signalfd_changes);
    return check_result();
}
