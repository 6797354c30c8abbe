/* What several tasks do to the same files at once, and what hostile arguments do: nothing is lost,
 * nothing hangs. */
#define _GNU_SOURCE
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void epoll_tells_what_a_bad_buffer_missed(void)
{
    int ep = epoll_create1(0), ev = eventfd(1, EFD_NONBLOCK);
    void *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.fd = ev}, got;
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) == 0);
    CHECK_ERRNO(epoll_wait(ep, bad, 1, 0), EFAULT);
    CHECK(epoll_wait(ep, &got, 1, 0) == 1 && got.data.fd == ev);
    CHECK(epoll_wait(ep, &got, 1, 0) == 0);
    e.events = EPOLLIN | EPOLLONESHOT;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, ev, &e) == 0);
    CHECK_ERRNO(epoll_wait(ep, bad, 1, 0), EFAULT);
    CHECK(epoll_wait(ep, &got, 1, 0) == 1);
    CHECK(epoll_wait(ep, &got, 1, 0) == 0);
    munmap(bad, 4096);
    close(ep);
    close(ev);
}

static void epoll_takes_more_than_a_batch(void)
{
    enum { N = 40 };
    int ep = epoll_create1(0), fd[N];
    struct epoll_event got[N];
    for (int i = 0; i < N; i++) {
        fd[i] = eventfd(1, 0);
        struct epoll_event e = {.events = EPOLLIN | (i % 2 ? EPOLLET : 0), .data.u32 = (unsigned)i};
        CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e) == 0);
    }
    CHECK(epoll_wait(ep, got, N, 0) == N);
    CHECK(epoll_wait(ep, got, N, 0) == N / 2); /* level-triggered ones stay */
    for (int i = 0; i < N; i++)
        close(fd[i]);
    CHECK(epoll_wait(ep, got, N, 0) == 0);
    close(ep);
}

static atomic_int stop;

static void *open_and_close_sets(void *arg)
{
    int fd = *(int *)arg;
    struct epoll_event e = {.events = EPOLLIN};
    while (!stop) {
        int ep = epoll_create1(0), copy = dup(fd);
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        epoll_ctl(ep, EPOLL_CTL_ADD, copy, &e);
        close(ep);
        close(copy);
    }
    return NULL;
}

static void sets_and_files_end_together(void)
{
    pthread_t t[2];
    int fd = eventfd(0, 0);
    stop = 0;
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, open_and_close_sets, &fd);
    for (int i = 0; i < 3000; i++) { /* what the sets watch goes away under them */
        int fresh = eventfd(0, 0);
        dup2(fresh, fd);
        close(fresh);
    }
    stop = 1;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    close(fd);
}

static struct sockaddr_un abstract(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s-%d", name, getpid());
    return a;
}

struct connector {
    int from;
    struct sockaddr_un to;
    int failed;
};

static void *connect_often(void *arg)
{
    struct connector *c = arg;
    for (int i = 0; i < 3000; i++)
        if (connect(c->from, (struct sockaddr *)&c->to, sizeof(c->to)) != -1 || errno != EINVAL)
            c->failed = errno ? errno : -1;
    return NULL;
}

static void listeners_connect_to_each_other(void)
{
    struct connector c[2];
    pthread_t t[2];
    for (int i = 0; i < 2; i++) {
        struct sockaddr_un a = abstract(i ? "one" : "two");
        c[i].from = socket(AF_UNIX, SOCK_STREAM, 0);
        c[i].failed = 0;
        c[!i].to = a;
        CHECK(bind(c[i].from, (struct sockaddr *)&a, sizeof(a)) == 0);
        CHECK(listen(c[i].from, 10) == 0);
    }
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, connect_often, &c[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    CHECK(!c[0].failed && !c[1].failed);
    close(c[0].from);
    close(c[1].from);
}

static void *write_and_close(void *arg)
{
    int fd = *(int *)arg;
    ssize_t n = write(fd, "x", 1);
    close(fd);
    return (void *)n;
}

static void what_was_sent_comes_before_the_end(void)
{
    for (int i = 0; i < 300; i++) {
        int s[2];
        char c;
        pthread_t t;
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
        pthread_create(&t, NULL, write_and_close, &s[1]);
        ssize_t first = read(s[0], &c, 1), second = read(s[0], &c, 1);
        pthread_join(t, NULL);
        close(s[0]);
        CHECK(first == 1 && second == 0);
    }
}

static void a_writable_datagram_socket_takes_any_size(void)
{
    static char data[190000];
    int s[2];
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s) == 0);
    CHECK(send(s[0], data, 40000, 0) == 40000);
    struct pollfd p = {s[0], POLLOUT, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
    CHECK(send(s[0], data, sizeof(data), 0) == (ssize_t)sizeof(data));
    CHECK_ERRNO(send(s[0], data, 1, 0), EAGAIN);
    CHECK(recv(s[1], data, sizeof(data), 0) == 40000);
    CHECK(recv(s[1], data, sizeof(data), 0) == (ssize_t)sizeof(data));
    close(s[0]);
    close(s[1]);
}

struct two {
    int in, out;
};

static void *send_files(void *arg)
{
    struct two *t = arg;
    for (int i = 0; i < 300; i++) {
        lseek(t->in, 0, SEEK_SET);
        if (sendfile(t->out, t->in, NULL, 5000) < 0)
            return arg;
    }
    return NULL;
}

static void files_are_sent_into_each_other(void)
{
    int a = memfd_create("a", 0), b = memfd_create("b", 0), failed = 0;
    struct two way[2] = {{a, b}, {b, a}};
    pthread_t t[2];
    void *result;
    CHECK(ftruncate(a, 10000) == 0 && ftruncate(b, 10000) == 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, send_files, &way[i]);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], &result);
        failed |= result != NULL;
    }
    CHECK(!failed);
    lseek(a, 0, SEEK_SET);
    int same = dup(a); /* and one into itself */
    CHECK(sendfile(same, a, NULL, 100) >= 0);
    close(a);
    close(b);
    close(same);
}

static void *splice_often(void *arg)
{
    struct two *t = arg;
    for (int i = 0; i < 2000; i++)
        splice(t->in, NULL, t->out, NULL, 4096, SPLICE_F_NONBLOCK);
    return NULL;
}

static void pipes_are_spliced_into_each_other(void)
{
    int a[2], b[2];
    static char data[16384];
    pthread_t t[2];
    CHECK(pipe2(a, O_NONBLOCK) == 0 && pipe2(b, O_NONBLOCK) == 0);
    CHECK(write(a[1], data, sizeof(data)) == sizeof(data));
    CHECK(write(b[1], data, sizeof(data)) == sizeof(data));
    struct two way[2] = {{a[0], b[1]}, {b[0], a[1]}};
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, splice_often, &way[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    size_t left = 0;
    for (ssize_t n;
         (n = read(a[0], data, sizeof(data))) > 0 || (n = read(b[0], data, sizeof(data))) > 0;)
        left += (size_t)n;
    CHECK(left == 2 * sizeof(data));
    for (int i = 0; i < 2; i++) {
        close(a[i]);
        close(b[i]);
    }
}

static void *set_timers(void *arg)
{
    struct itimerspec it = {{0, 1000000}, {0, 1000000}};
    (void)arg;
    while (!stop)
        for (int id = 0; id < 2; id++) {
            syscall(SYS_timer_settime, id, 0, &it, NULL);
            syscall(SYS_timer_gettime, id, &it);
            syscall(SYS_timer_getoverrun, id);
        }
    return NULL;
}

static void timers_are_deleted_while_they_are_set(void)
{
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    pthread_t t;
    stop = 0;
    pthread_create(&t, NULL, set_timers, NULL);
    for (int i = 0; i < 5000; i++) {
        int id;
        CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &none, &id) == 0);
        CHECK(syscall(SYS_timer_delete, id) == 0);
    }
    stop = 1;
    pthread_join(t, NULL);
}

static void short_intervals_leave_time_for_the_program(void)
{
    struct itimerval every_us = {{0, 1}, {0, 1}}, off = {{0, 0}, {0, 0}};
    struct itimerspec every_ns = {{0, 1}, {0, 1}};
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    int id;
    signal(SIGALRM, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id) == 0);
    CHECK(syscall(SYS_timer_settime, id, TIMER_ABSTIME, &every_ns, NULL) == 0); /* long past */
    CHECK(setitimer(ITIMER_REAL, &every_us, NULL) == 0);
    for (volatile int i = 0; i < 3000000; i++)
        ;
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    CHECK(syscall(SYS_timer_delete, id) == 0);
}

static void links_are_cut_to_the_buffer(void)
{
    char buf[16], pid[16];
    snprintf(pid, sizeof(pid), "%d", getpid());
    memset(buf, '#', sizeof(buf));
    CHECK(readlink("/proc/self", buf, 1) == 1 && buf[0] == pid[0] && buf[1] == '#');
    CHECK(readlink("/proc/thread-self", buf, 3) == 3 && buf[3] == '#');
}

static void descriptors_are_listed_while_they_are_closed(void)
{
    struct {
        uint64_t ino, next;
        uint16_t len;
        uint8_t type;
        char name[45];
    } d;
    for (int i = 0; i < 60; i++)
        CHECK(fcntl(0, F_DUPFD, 100) >= 0 || open("/dev/null", O_RDONLY) >= 0);
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    CHECK(dir >= 0);
    while (syscall(SYS_getdents64, dir, &d, 32) > 0) { /* one at a time */
        int fd = atoi(d.name);
        if (fd >= 100)
            close(fd);
    }
    close(dir);
    for (int fd = 100; fd < 160; fd++)
        CHECK_ERRNO(fcntl(fd, F_GETFD), EBADF);
}

static void times_before_1970_are_kept(void)
{
    struct timespec t[2] = {{-2, 500000000}, {-2, 250000000}};
    struct stat st;
    int fd = memfd_create("old", 0);
    CHECK(futimens(fd, t) == 0);
    CHECK(fstat(fd, &st) == 0);
    CHECK(st.st_mtim.tv_sec == -2 && st.st_mtim.tv_nsec == 250000000);
    close(fd);
}

static void owners_of_signals_exist(void)
{
    int p[2];
    CHECK(pipe(p) == 0);
    CHECK_ERRNO(fcntl(p[0], F_SETOWN, 0x3ffffff), ESRCH);
    CHECK(fcntl(p[0], F_SETOWN, getpid()) == 0 && fcntl(p[0], F_GETOWN) == getpid());
    CHECK(fcntl(p[0], F_SETOWN, 0) == 0 && fcntl(p[0], F_GETOWN) == 0);
    close(p[0]);
    close(p[1]);
}

static atomic_int closing;

static void *read_what_is_there(void *arg)
{
    int fd = *(int *)arg;
    while (!stop) {
        char c = 0;
        ssize_t n = pread(fd, &c, 1, 0);
        bool closed = n == -1 && errno == EBADF && closing;
        if (n == 1 ? c != 'a' && c != 'b' : n != -1 || (!closed && errno != ESPIPE))
            return arg;
    }
    return NULL;
}

static void a_table_changes_while_it_is_read(void)
{
    int a = memfd_create("a", 0), b = memfd_create("b", 0), pipes[2], failed = 0;
    void *result;
    pthread_t t[3];
    CHECK(pwrite(a, "a", 1, 0) == 1 && pwrite(b, "b", 1, 0) == 1 && pipe(pipes) == 0);
    int fd = dup(a);
    stop = 0;
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, read_what_is_there, &fd);
    for (int i = 0; i < 6000; i++) {
        dup2(i % 3 ? a : i % 2 ? b : pipes[0], fd); /* at no time is there nothing */
        if (i == 3000)
            closing = 1;
        if (closing && i % 5 == 0) {
            close(fd);
            close(eventfd(0, 0)); /* the same descriptor, a file with the other's memory */
        }
        if (i % 1500 == 700) /* the table grows */
            close(fcntl(a, F_DUPFD, 100 * (i / 700)));
    }
    stop = 1;
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], &result);
        failed |= result != NULL;
    }
    CHECK(!failed);
    close(fd);
    close(a);
    close(b);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    CASE(epoll_tells_what_a_bad_buffer_missed);
    CASE(epoll_takes_more_than_a_batch);
    CASE(listeners_connect_to_each_other);
    CASE(what_was_sent_comes_before_the_end);
    CASE(a_writable_datagram_socket_takes_any_size);
    CASE(files_are_sent_into_each_other);
    CASE(pipes_are_spliced_into_each_other);
    CASE(timers_are_deleted_while_they_are_set);
    CASE(short_intervals_leave_time_for_the_program);
    CASE(links_are_cut_to_the_buffer);
    CASE(descriptors_are_listed_while_they_are_closed);
    CASE(times_before_1970_are_kept);
    CASE(owners_of_signals_exist);
    CASE(sets_and_files_end_together);
    CASE(a_table_changes_while_it_is_read);
    return check_result();
}
