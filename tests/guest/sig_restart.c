/* Which calls SA_RESTART restarts and which it never does: the two lists of signal(7), by name. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "disturb.h"

/* The call fails with EINTR though its handler has SA_RESTART. */
#define NEVER(call)                                                                                \
    do {                                                                                           \
        handle(SA_RESTART);                                                                        \
        let_go = NULL;                                                                             \
        pid_t pid_ = disturb();                                                                    \
        CHECK_ERRNO(call, EINTR);                                                                  \
        CHECK(seen == 1 && child_status(pid_) == 0);                                               \
    } while (0)

/* The call goes on after the handler has run, until `end` lets it succeed. */
#define RESTARTS(call, end)                                                                        \
    do {                                                                                           \
        handle(SA_RESTART);                                                                        \
        let_go = end;                                                                              \
        pid_t pid_ = disturb();                                                                    \
        CHECK((call) >= 0);                                                                        \
        CHECK(seen == 1 && child_status(pid_) == 0);                                               \
    } while (0)

static const struct timespec long_time = {20, 0};

static void sleeps(void)
{
    struct timespec left;
    NEVER(nanosleep(&long_time, &left));
    CHECK(left.tv_sec >= 10);
    handle(SA_RESTART);
    pid_t pid = disturb();
    CHECK(clock_nanosleep(CLOCK_REALTIME, 0, &long_time, &left) == EINTR && left.tv_sec >= 10);
    CHECK(child_status(pid) == 0);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 20;
    pid = disturb();
    CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR);
    CHECK(child_status(pid) == 0);
    pid = disturb();
    CHECK(sleep(20) >= 10);
    CHECK(child_status(pid) == 0);
    NEVER(usleep(900000000));
}

static void waits_for_signals(void)
{
    sigset_t none, other;
    sigemptyset(&none);
    sigemptyset(&other);
    sigaddset(&other, SIGUSR2);
    NEVER(pause());
    NEVER(sigsuspend(&none));
    NEVER(sigtimedwait(&other, NULL, &long_time));
    NEVER(sigwaitinfo(&other, NULL));
}

static void multiplexing(void)
{
    int pipe_ends[2], ep = epoll_create1(0);
    CHECK(pipe(pipe_ends) == 0 && ep >= 0);
    struct epoll_event e = {.events = EPOLLIN};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, pipe_ends[0], &e) == 0);
    struct pollfd p = {.fd = pipe_ends[0], .events = POLLIN};
    struct timeval tv = {20, 0};
    sigset_t none;
    fd_set set;
    sigemptyset(&none);
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    NEVER(epoll_wait(ep, &e, 1, 20000));
    NEVER(epoll_wait(ep, &e, 1, -1));
    NEVER(epoll_pwait(ep, &e, 1, 20000, &none));
    NEVER(poll(&p, 1, 20000));
    NEVER(poll(&p, 1, -1));
    NEVER(ppoll(&p, 1, &long_time, &none));
    NEVER(ppoll(&p, 1, NULL, NULL));
    NEVER(select(pipe_ends[0] + 1, &set, NULL, NULL, &tv));
    FD_SET(pipe_ends[0], &set);
    NEVER(select(pipe_ends[0] + 1, &set, NULL, NULL, NULL));
    FD_SET(pipe_ends[0], &set);
    NEVER(pselect(pipe_ends[0] + 1, &set, NULL, NULL, &long_time, &none));
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    close(ep);
}

static void system_v_ipc(void)
{
    struct {
        long type;
        char text[8000];
    } m = {.type = 1};
    int queue = msgget(IPC_PRIVATE, 0600), set = semget(IPC_PRIVATE, 1, 0600);
    CHECK(queue >= 0 && set >= 0);
    struct sembuf down = {.sem_op = -1};
    NEVER(msgrcv(queue, &m, sizeof(m.text), 0, 0));
    while (msgsnd(queue, &m, sizeof(m.text), IPC_NOWAIT) == 0)
        ;
    NEVER(msgsnd(queue, &m, sizeof(m.text), 0));
    NEVER(semop(set, &down, 1));
    NEVER(semtimedop(set, &down, 1, &long_time));
    msgctl(queue, IPC_RMID, NULL);
    semctl(set, 0, IPC_RMID);
}

static void limit_waits(int fd)
{
    struct timeval tv = {20, 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0);
}

static void input_with_a_timeout(int fd)
{
    char buf[64];
    struct iovec v = {buf, sizeof(buf)};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
    limit_waits(fd);
    NEVER(recv(fd, buf, sizeof(buf), 0));
    NEVER(recvmsg(fd, &m.msg_hdr, 0));
    NEVER(recvmmsg(fd, &m, 1, 0, NULL));
    NEVER(read(fd, buf, sizeof(buf)));
    NEVER(readv(fd, &v, 1));
}

static char filling[65536];

static void fill(int fd)
{
    for (int quiet = 0; quiet < 5; quiet++) { /* what is under way may yet make room */
        while (send(fd, filling, sizeof(filling), MSG_DONTWAIT) > 0)
            quiet = 0;
        while (send(fd, filling, 1, MSG_DONTWAIT) > 0)
            quiet = 0;
        usleep(20000);
    }
}

static void output_with_a_timeout(int fd)
{
    struct iovec v = {filling, sizeof(filling)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    limit_waits(fd);
    fill(fd);
    NEVER(send(fd, filling, sizeof(filling), 0));
    NEVER(sendmsg(fd, &m, 0));
    NEVER(write(fd, filling, sizeof(filling)));
    NEVER(writev(fd, &v, 1));
}

static void unix_sockets_with_timeouts(void)
{
    int s[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
    input_with_a_timeout(s[0]);
    output_with_a_timeout(s[0]);
    close(s[0]);
    close(s[1]);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, s) == 0);
    input_with_a_timeout(s[0]);
    close(s[0]);
    close(s[1]);
}

static int tcp_listener(struct sockaddr_in *at)
{
    socklen_t len = sizeof(*at);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)at, len) == 0 && listen(fd, 1) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)at, &len) == 0);
    return fd;
}

static void inet_sockets_with_timeouts(void)
{
    struct sockaddr_in at;
    int l = tcp_listener(&at), c = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(c, (struct sockaddr *)&at, sizeof(at)) == 0);
    int s = accept(l, NULL, NULL);
    input_with_a_timeout(s);
    output_with_a_timeout(s);
    limit_waits(l);
    NEVER(accept(l, NULL, NULL));
    NEVER(accept4(l, NULL, NULL, SOCK_CLOEXEC));
    close(s);
    close(c);
    close(l);
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    at.sin_port = 0;
    CHECK(bind(udp, (struct sockaddr *)&at, sizeof(at)) == 0);
    input_with_a_timeout(udp);
    close(udp);
}

/* --- restarted -------------------------------------------------------------------------------- */

static int ends[2];

static void feed(void)
{
    if (write(ends[1], "x", 1) != 1)
        _exit(1);
}

static void drain(void)
{
    char buf[65536];
    while (recv(ends[1], buf, sizeof(buf), MSG_DONTWAIT) > 0)
        ;
}

static void pipes_restart(void)
{
    char c;
    struct iovec v = {&c, 1};
    CHECK(pipe(ends) == 0);
    RESTARTS(read(ends[0], &c, 1), feed);
    RESTARTS(readv(ends[0], &v, 1), feed);
    close(ends[0]);
    close(ends[1]);
}

static void open_fifo(void)
{
    close(open("restart_fifo", O_WRONLY));
}

static void opening_a_fifo_restarts(void)
{
    unlink("restart_fifo");
    CHECK(mkfifo("restart_fifo", 0600) == 0);
    RESTARTS(open("restart_fifo", O_RDONLY), open_fifo);
    unlink("restart_fifo");
}

static void sockets_without_timeouts_restart(void)
{
    char c;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    RESTARTS(recv(ends[0], &c, 1, 0), feed);
    RESTARTS(read(ends[0], &c, 1), feed);
    limit_waits(ends[0]); /* and taken back */
    struct timeval none = {0, 0};
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none)) == 0);
    CHECK(setsockopt(ends[0], SOL_SOCKET, SO_SNDTIMEO, &none, sizeof(none)) == 0);
    RESTARTS(recv(ends[0], &c, 1, 0), feed);
    fill(ends[0]);
    RESTARTS(send(ends[0], &c, 1, 0), drain);
    close(ends[0]);
    close(ends[1]);
}

static struct sockaddr_in server;

static void connect_to_server(void)
{
    int c = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c, (struct sockaddr *)&server, sizeof(server)))
        _exit(1);
}

static void accepting_restarts(void)
{
    int l = tcp_listener(&server);
    RESTARTS(accept(l, NULL, NULL), connect_to_server);
    close(l);
}

static void queue_message(void)
{
    mqd_t q = mq_open("/restart", O_WRONLY);
    if (q < 0 || mq_send(q, "x", 1, 0))
        _exit(1);
}

static void message_queues_restart(void)
{
    char buf[16];
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = sizeof(buf)};
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    mq_unlink("/restart");
    mqd_t q = mq_open("/restart", O_RDWR | O_CREAT, 0600, &attr);
    CHECK(q >= 0);
    RESTARTS(mq_receive(q, buf, sizeof(buf), NULL), queue_message);
    RESTARTS(mq_timedreceive(q, buf, sizeof(buf), NULL, &until), queue_message);
    mq_close(q);
    mq_unlink("/restart");
}

static void make_file(void)
{
    close(open("watched_dir/f", O_CREAT | O_WRONLY, 0600));
}

static void reading_inotify_restarts(void)
{
    char buf[256];
    mkdir("watched_dir", 0700);
    int fd = inotify_init1(0);
    CHECK(fd >= 0 && inotify_add_watch(fd, "watched_dir", IN_CREATE) >= 0);
    RESTARTS(read(fd, buf, sizeof(buf)), make_file);
    close(fd);
    unlink("watched_dir/f");
    rmdir("watched_dir");
}

static int *word;

static void change_word(void)
{
    __atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futex_waits_restart(void)
{
    word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(word != MAP_FAILED);
    RESTARTS(syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0), change_word);
    munmap(word, 4096);
}

int main(void)
{
    own_directory();
    CASE(sleeps);
    CASE(waits_for_signals);
    CASE(multiplexing);
    CASE(system_v_ipc);
    CASE(unix_sockets_with_timeouts);
    CASE(inet_sockets_with_timeouts);
    CASE(pipes_restart);
    CASE(opening_a_fifo_restarts);
    CASE(sockets_without_timeouts_restart);
    CASE(accepting_restarts);
    CASE(message_queues_restart);
    CASE(reading_inotify_restarts);
    CASE(futex_waits_restart);
    return check_result();
}
