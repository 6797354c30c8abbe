/* Pipes, eventfd, timerfd, signalfd, poll, select, epoll. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pipe_carries_bytes(void)
{
    int p[2];
    char buf[70000] = {1, 2, 3}, back[70000];
    CHECK(pipe2(p, O_NONBLOCK) == 0);
    CHECK_ERRNO(read(p[0], back, 1), EAGAIN);
    CHECK(write(p[1], buf, sizeof(buf)) == 65536);
    CHECK_ERRNO(write(p[1], buf, 1), EAGAIN);
    int n;
    CHECK(ioctl(p[0], FIONREAD, &n) == 0 && n == 65536);
    CHECK(read(p[0], back, 100) == 100 && !memcmp(buf, back, 100));
    CHECK(read(p[0], back, sizeof(back)) == 65436);
    CHECK(write(p[1], buf, 3000) == 3000 && write(p[1], buf, 3000) == 3000);
    CHECK(read(p[0], back, 5000) == 5000 && read(p[0], back, 5000) == 1000);
    CHECK(fcntl(p[0], F_GETPIPE_SZ) == 65536 && fcntl(p[0], F_SETPIPE_SZ, 4096) == 4096);
    CHECK(write(p[1], buf, 8000) == 4096);
    close(p[1]);
    CHECK(read(p[0], back, sizeof(back)) == 4096 && read(p[0], back, 1) == 0);
    close(p[0]);
    CHECK(pipe(p) == 0 && close(p[0]) == 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(p[1], buf, 1), EPIPE);
    close(p[1]);
}

static void pipe_blocks_between_processes(void)
{
    int p[2], status;
    CHECK(pipe(p) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(p[0]);
        static char big[1 << 20];
        for (size_t i = 0; i < sizeof(big); i++)
            big[i] = (char)(i % 251);
        _exit(write(p[1], big, sizeof(big)) != (ssize_t)sizeof(big));
    }
    close(p[1]);
    size_t at = 0;
    char buf[5000];
    ssize_t n;
    while ((n = read(p[0], buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++, at++)
            CHECK(buf[i] == (char)(at % 251));
    CHECK(n == 0 && at == 1 << 20);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(p[0]);
}

static void fifo_connects_processes(void)
{
    int status;
    char c;
    unlink("io_fifo");
    CHECK(mkfifo("io_fifo", 0600) == 0);
    CHECK_ERRNO(open("io_fifo", O_WRONLY | O_NONBLOCK), ENXIO);
    pid_t pid = fork();
    if (pid == 0) {
        int w = open("io_fifo", O_WRONLY);
        _exit(w < 0 || write(w, "z", 1) != 1);
    }
    int r = open("io_fifo", O_RDONLY);
    CHECK(r >= 0 && read(r, &c, 1) == 1 && c == 'z' && read(r, &c, 1) == 0);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(r), unlink("io_fifo");
}

static void eventfd_counts(void)
{
    uint64_t v = 5;
    int fd = eventfd(3, EFD_NONBLOCK), s = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
    CHECK(write(fd, &v, 8) == 8 && read(fd, &v, 8) == 8 && v == 8);
    CHECK_ERRNO(read(fd, &v, 8), EAGAIN);
    CHECK_ERRNO(read(fd, &v, 4), EINVAL);
    v = UINT64_MAX;
    CHECK_ERRNO(write(fd, &v, 8), EINVAL);
    v = UINT64_MAX - 1;
    CHECK(write(fd, &v, 8) == 8);
    v = 1;
    CHECK_ERRNO(write(fd, &v, 8), EAGAIN);
    CHECK(read(s, &v, 8) == 8 && v == 1 && read(s, &v, 8) == 8 && v == 1);
    CHECK_ERRNO(read(s, &v, 8), EAGAIN);
    close(fd), close(s);
}

static void timerfd_expires(void)
{
    uint64_t ticks;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec t = {{0, 20000000}, {0, 20000000}}, cur;
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, &ticks, 8), EAGAIN);
    CHECK(timerfd_settime(fd, 0, &t, NULL) == 0);
    struct pollfd p = {fd, POLLIN, 0};
    long start = now_ms();
    CHECK(poll(&p, 1, 2000) == 1 && p.revents == POLLIN && now_ms() - start >= 15);
    CHECK(read(fd, &ticks, 8) == 8 && ticks >= 1);
    usleep(70000);
    CHECK(read(fd, &ticks, 8) == 8 && ticks >= 2);
    CHECK(poll(&p, 1, 2000) == 1 && timerfd_gettime(fd, &cur) == 0);
    CHECK(cur.it_interval.tv_nsec == 20000000);
    t = (struct itimerspec){{0, 0}, {0, 0}};
    CHECK(timerfd_settime(fd, 0, &t, NULL) == 0);
    CHECK_ERRNO(read(fd, &ticks, 8), EAGAIN);
    close(fd);
}

static void signalfd_takes_blocked_signals(void)
{
    sigset_t set;
    struct signalfd_siginfo si;
    sigemptyset(&set), sigaddset(&set, SIGUSR1), sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    CHECK(fd >= 0);
    CHECK_ERRNO(read(fd, &si, sizeof(si)), EAGAIN);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 0) == 0);
    kill(getpid(), SIGUSR2);
    CHECK(poll(&p, 1, 1000) == 1);
    CHECK(read(fd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR2 &&
          (pid_t)si.ssi_pid == getpid());
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    close(fd);
}

static void poll_tells_readiness(void)
{
    int p[2];
    CHECK(pipe(p) == 0);
    struct pollfd f[3] = {{p[0], POLLIN, 0}, {p[1], POLLOUT, 0}, {-1, POLLIN, 7}};
    CHECK(poll(f, 3, 0) == 1 && f[0].revents == 0 && f[1].revents == POLLOUT && f[2].revents == 0);
    f[2].fd = 999;
    CHECK(poll(f, 3, 0) == 2 && f[2].revents == POLLNVAL);
    long start = now_ms();
    CHECK(poll(f, 1, 50) == 0 && now_ms() - start >= 45);
    CHECK(write(p[1], "x", 1) == 1 && poll(f, 1, -1) == 1 && f[0].revents == POLLIN);
    close(p[1]);
    CHECK(poll(f, 1, -1) == 1 && f[0].revents == (POLLIN | POLLHUP));
    fd_set in;
    FD_ZERO(&in);
    FD_SET(p[0], &in);
    struct timeval tv = {1, 0};
    CHECK(select(p[0] + 1, &in, NULL, NULL, &tv) == 1 && FD_ISSET(p[0], &in));
    FD_ZERO(&in);
    FD_SET(60, &in);
    CHECK_ERRNO(select(61, &in, NULL, NULL, &tv), EBADF);
    CHECK_ERRNO(select(-1, &in, NULL, NULL, &tv), EINVAL);
    close(p[0]);
    CHECK(poll(NULL, 0, 10) == 0);
}

static void on_signal(int s)
{
    (void)s;
}

static void waiting_is_interrupted(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t blocked, none;
    sigaction(SIGALRM, &sa, NULL);
    alarm(1);
    CHECK_ERRNO(poll(NULL, 0, 5000), EINTR);
    alarm(1);
    int ep = epoll_create1(0);
    struct epoll_event ev;
    CHECK_ERRNO(epoll_wait(ep, &ev, 1, 5000), EINTR);
    sigemptyset(&none), sigemptyset(&blocked), sigaddset(&blocked, SIGALRM);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    kill(getpid(), SIGALRM);
    CHECK(epoll_wait(ep, &ev, 1, 20) == 0);
    CHECK_ERRNO(epoll_pwait(ep, &ev, 1, 5000, &none), EINTR);
    kill(getpid(), SIGALRM);
    CHECK_ERRNO(ppoll(NULL, 0, NULL, &none), EINTR);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    close(ep);
}

static void epoll_level_edge_oneshot(void)
{
    int p[2], ep = epoll_create1(EPOLL_CLOEXEC);
    char buf[10];
    struct epoll_event ev = {EPOLLIN, {.u64 = 42}}, out[4];
    CHECK(pipe(p) == 0 && epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) == 0);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), EEXIST);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev), ENOENT);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), EINVAL);
    CHECK_ERRNO(epoll_ctl(ep, 77, p[0], &ev), EINVAL);
    CHECK_ERRNO(epoll_wait(ep, out, 0, 0), EINVAL);
    CHECK_ERRNO(epoll_wait(p[0], out, 1, 0), EINVAL);
    int reg = open("io_reg", O_CREAT | O_RDWR, 0600);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_ADD, reg, &ev), EPERM);
    close(reg), unlink("io_reg");
    CHECK(epoll_wait(ep, out, 4, 0) == 0);
    CHECK(write(p[1], "abc", 3) == 3);
    for (int i = 0; i < 3; i++)
        CHECK(epoll_wait(ep, out, 4, 100) == 1 && out[0].data.u64 == 42 &&
              out[0].events == EPOLLIN);
    ev.events = EPOLLIN | EPOLLET;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev) == 0);
    CHECK(epoll_wait(ep, out, 4, 100) == 1 && epoll_wait(ep, out, 4, 0) == 0);
    CHECK(write(p[1], "d", 1) == 1 && epoll_wait(ep, out, 4, 100) == 1);
    CHECK(epoll_wait(ep, out, 4, 0) == 0 && read(p[0], buf, 10) == 4);
    ev.events = EPOLLIN | EPOLLONESHOT;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev) == 0 && write(p[1], "e", 1) == 1);
    CHECK(epoll_wait(ep, out, 4, 100) == 1 && write(p[1], "f", 1) == 1);
    CHECK(epoll_wait(ep, out, 4, 0) == 0);
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev) == 0 && epoll_wait(ep, out, 4, 100) == 1);
    CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL) == 0);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), ENOENT);
    ev.events = EPOLLIN;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) == 0);
    close(p[1]);
    CHECK(epoll_wait(ep, out, 4, 100) == 1 && out[0].events == (EPOLLIN | EPOLLHUP));
    close(p[0]);
    CHECK(epoll_wait(ep, out, 4, 0) == 0);
    close(ep);
}

static void epoll_nests(void)
{
    int p[2], a = epoll_create1(0), b = epoll_create1(0);
    struct epoll_event ev = {EPOLLIN, {.u64 = 1}}, out;
    char c;
    CHECK(pipe(p) == 0 && epoll_ctl(a, EPOLL_CTL_ADD, p[0], &ev) == 0);
    CHECK(epoll_ctl(b, EPOLL_CTL_ADD, a, &ev) == 0);
    CHECK_ERRNO(epoll_ctl(a, EPOLL_CTL_ADD, b, &ev), ELOOP);
    CHECK(epoll_wait(b, &out, 1, 0) == 0);
    CHECK(write(p[1], "x", 1) == 1 && epoll_wait(b, &out, 1, 100) == 1);
    CHECK(read(p[0], &c, 1) == 1 && epoll_wait(b, &out, 1, 0) == 0);
    struct pollfd pf = {b, POLLIN, 0};
    CHECK(poll(&pf, 1, 0) == 0 && write(p[1], "x", 1) == 1 && poll(&pf, 1, 100) == 1);
    close(a), close(b), close(p[0]), close(p[1]);
}

static int shared_ep, shared_event;
static int woken;

static void *epoll_waiter(void *arg)
{
    struct epoll_event out;
    uint64_t v;
    (void)arg;
    for (;;) {
        if (epoll_wait(shared_ep, &out, 1, -1) == 1 && out.data.u64 == 9)
            return NULL;
        if (read(shared_event, &v, 8) == 8)
            __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
    }
}

static void epoll_serves_many_threads(void)
{
    pthread_t t[4];
    int stop = eventfd(0, 0);
    uint64_t one = 1;
    shared_ep = epoll_create1(0), shared_event = eventfd(0, EFD_NONBLOCK | EFD_SEMAPHORE);
    struct epoll_event ev = {EPOLLIN, {.u64 = 1}};
    CHECK(epoll_ctl(shared_ep, EPOLL_CTL_ADD, shared_event, &ev) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&t[i], NULL, epoll_waiter, NULL) == 0);
    for (int i = 0; i < 1000; i++)
        CHECK(write(shared_event, &one, 8) == 8);
    for (int i = 0; i < 500 && __atomic_load_n(&woken, __ATOMIC_SEQ_CST) < 1000; i++)
        usleep(10000);
    CHECK(woken == 1000);
    ev.data.u64 = 9;
    CHECK(epoll_ctl(shared_ep, EPOLL_CTL_ADD, stop, &ev) == 0 && write(stop, &one, 8) == 8);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(t[i], NULL) == 0);
    close(shared_ep), close(shared_event), close(stop);
}

static void splice_and_tee_move_bytes(void)
{
    int a[2], b[2];
    char buf[20] = {0};
    CHECK(pipe(a) == 0 && pipe(b) == 0);
    int fd = open("io_sp", O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(write(fd, "0123456789", 10) == 10);
    loff_t off = 2;
    CHECK(splice(fd, &off, a[1], NULL, 5, 0) == 5 && off == 7);
    CHECK(tee(a[0], b[1], 100, 0) == 5 && read(b[0], buf, 20) == 5 && !memcmp(buf, "23456", 5));
    off = 0;
    CHECK(splice(a[0], NULL, fd, &off, 100, 0) == 5 && off == 5);
    CHECK(pread(fd, buf, 10, 0) == 10 && !memcmp(buf, "2345656789", 10));
    CHECK_ERRNO(splice(a[0], NULL, a[1], NULL, 1, 0), EINVAL);
    CHECK_ERRNO(splice(fd, NULL, fd, NULL, 1, 0), EINVAL);
    CHECK_ERRNO(splice(a[0], NULL, fd, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    close(fd), close(a[0]), close(a[1]), close(b[0]), close(b[1]), unlink("io_sp");
}

int main(void)
{
    own_directory();
    CASE(pipe_carries_bytes);
    CASE(pipe_blocks_between_processes);
    CASE(fifo_connects_processes);
    CASE(eventfd_counts);
    CASE(timerfd_expires);
    CASE(signalfd_takes_blocked_signals);
    CASE(poll_tells_readiness);
    CASE(waiting_is_interrupted);
    CASE(epoll_level_edge_oneshot);
    CASE(epoll_nests);
    CASE(epoll_serves_many_threads);
    CASE(splice_and_tee_move_bytes);
    return check_result();
}
