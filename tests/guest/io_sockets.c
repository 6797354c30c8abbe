/* AF_UNIX and internet sockets over the loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static void arguments_are_checked(void)
{
    CHECK_ERRNO(socket(77, SOCK_STREAM, 0), EAFNOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, 9, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_INET, 50, 0), EINVAL);
    CHECK_ERRNO(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
    int fd = open("/dev/null", O_RDWR), s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_ERRNO(listen(fd, 1), ENOTSOCK);
    CHECK_ERRNO(listen(99, 1), EBADF);
    struct sockaddr_in in = {.sin_family = AF_INET6};
    CHECK_ERRNO(bind(s, (void *)&in, 8), EINVAL);
    CHECK_ERRNO(bind(s, (void *)&in, sizeof(in)), EAFNOSUPPORT);
    CHECK_ERRNO(bind(s, (void *)16, sizeof(in)), EFAULT);
    CHECK_ERRNO(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK_ERRNO(recv(s, &in, 1, 0), ENOTCONN);
    CHECK_ERRNO(getpeername(s, (void *)&in, &(socklen_t){16}), ENOTCONN);
    CHECK_ERRNO(getsockopt(s, SOL_SOCKET, 9999, &in, &(socklen_t){4}), ENOPROTOOPT);
    CHECK_ERRNO(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &in, 1), EINVAL);
    close(fd), close(s);
}

static void pair_carries_streams(void)
{
    int sv[2], n;
    char buf[100];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0);
    CHECK_ERRNO(read(sv[0], buf, 1), EAGAIN);
    CHECK(write(sv[0], "abc", 3) == 3 && write(sv[0], "def", 3) == 3);
    CHECK(ioctl(sv[1], FIONREAD, &n) == 0 && n == 6);
    CHECK(recv(sv[1], buf, 2, MSG_PEEK) == 2 && !memcmp(buf, "ab", 2));
    CHECK(read(sv[1], buf, 5) == 5 && !memcmp(buf, "abcde", 5) && read(sv[1], buf, 5) == 1);
    size_t total = 0;
    static char block[10000];
    ssize_t w;
    while ((w = write(sv[0], block, sizeof(block))) > 0)
        total += (size_t)w;
    CHECK(errno == EAGAIN && total > 50000);
    struct pollfd p = {sv[0], POLLOUT, 0};
    CHECK(poll(&p, 1, 0) == 0);
    while ((w = read(sv[1], block, sizeof(block))) > 0)
        total -= (size_t)w;
    CHECK(total == 0 && poll(&p, 1, 0) == 1);
    CHECK(shutdown(sv[0], SHUT_WR) == 0 && read(sv[1], buf, 1) == 0);
    CHECK(write(sv[1], "x", 1) == 1 && close(sv[1]) == 0);
    CHECK(read(sv[0], buf, 5) == 1 && read(sv[0], buf, 5) == 0);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(sv[0], "x", 1), EPIPE);
    struct pollfd h = {sv[0], POLLIN | POLLRDHUP, 0};
    CHECK(poll(&h, 1, 0) == 1 && h.revents == (POLLIN | POLLHUP | POLLRDHUP));
    close(sv[0]);
}

static void datagrams_keep_boundaries(void)
{
    int sv[2];
    char buf[10];
    for (int type = SOCK_DGRAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_DGRAM) {
        CHECK(socketpair(AF_UNIX, type, 0, sv) == 0);
        CHECK(send(sv[0], "hello", 5, 0) == 5 && send(sv[0], "", 0, 0) == 0);
        CHECK(recv(sv[1], buf, 3, MSG_TRUNC) == 5 && !memcmp(buf, "hel", 3));
        CHECK(recv(sv[1], buf, 10, 0) == 0);
        CHECK_ERRNO(recv(sv[1], buf, 10, MSG_DONTWAIT), EAGAIN);
        close(sv[0]), close(sv[1]);
    }
}

static int pass_fd(int s, int fd)
{
    char data = 'f', control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {&data, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    return (int)sendmsg(s, &m, 0);
}

static void descriptors_are_passed(void)
{
    int sv[2], p[2], got;
    char data, c, control[CMSG_SPACE(sizeof(int))];
    struct iovec v = {&data, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0 && pipe(p) == 0);
    CHECK_ERRNO(pass_fd(sv[0], 999), EBADF);
    CHECK(pass_fd(sv[0], p[0]) == 1 && close(p[0]) == 0);
    CHECK(recvmsg(sv[1], &m, MSG_CMSG_CLOEXEC) == 1 && data == 'f');
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int)));
    memcpy(&got, CMSG_DATA(h), sizeof(got));
    CHECK(fcntl(got, F_GETFD) == FD_CLOEXEC);
    CHECK(write(p[1], "q", 1) == 1 && read(got, &c, 1) == 1 && c == 'q');
    CHECK(pass_fd(sv[0], p[1]) == 1);
    m.msg_control = NULL, m.msg_controllen = 0;
    CHECK(recvmsg(sv[1], &m, 0) == 1 && m.msg_flags == MSG_CTRUNC);
    close(p[1]);
    struct pollfd hup = {got, POLLIN, 0}; /* the dropped descriptor is closed in the end */
    CHECK(poll(&hup, 1, 2000) == 1 && hup.revents == POLLHUP);
    CHECK(pass_fd(sv[0], sv[1]) == 1); /* a socket on its way through itself */
    close(sv[0]), close(sv[1]), close(got);
}

static void names_connect(void)
{
    struct sockaddr_un a = {AF_UNIX, "io_sock"}, peer;
    socklen_t len = sizeof(peer);
    struct stat st;
    struct ucred uc;
    unlink(a.sun_path);
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(c, (void *)&a, sizeof(a)), ENOENT);
    CHECK(bind(l, (void *)&a, sizeof(a)) == 0 && stat(a.sun_path, &st) == 0 &&
          S_ISSOCK(st.st_mode));
    CHECK_ERRNO(connect(c, (void *)&a, sizeof(a)), ECONNREFUSED);
    CHECK_ERRNO(open(a.sun_path, O_RDWR), ENXIO);
    CHECK(listen(l, 5) == 0 && connect(c, (void *)&a, sizeof(a)) == 0);
    int s = accept4(l, (void *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(s >= 0 && len == 2 && fcntl(s, F_GETFL) & O_NONBLOCK && fcntl(s, F_GETFD) == FD_CLOEXEC);
    len = sizeof(peer);
    CHECK(getpeername(c, (void *)&peer, &len) == 0 && !strcmp(peer.sun_path, a.sun_path));
    len = sizeof(uc);
    CHECK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &uc, &len) == 0 && uc.pid == getpid());
    CHECK(write(c, "hi", 2) == 2 && read(s, &uc, 8) == 2);
    close(l), close(s), close(c);
    int d = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(d, (void *)&a, sizeof(a)), ECONNREFUSED);
    CHECK_ERRNO(bind(d, (void *)&a, sizeof(a)), EADDRINUSE);
    unlink(a.sun_path);
    struct sockaddr_un ab = {AF_UNIX, "\0io-abstract"};
    int e = socket(AF_UNIX, SOCK_DGRAM, 0), f = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK(bind(e, (void *)&ab, 14) == 0);
    CHECK_ERRNO(bind(f, (void *)&ab, 14), EADDRINUSE);
    CHECK(sendto(f, "yo", 2, 0, (void *)&ab, 14) == 2 && recv(e, &uc, 8, 0) == 2);
    close(e), close(f), close(d);
}

static int tcp_listener(struct sockaddr_in *a)
{
    socklen_t len = sizeof(*a);
    int l = socket(AF_INET, SOCK_STREAM, 0);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(bind(l, (void *)a, sizeof(*a)) == 0 && listen(l, 16) == 0);
    CHECK(getsockname(l, (void *)a, &len) == 0 && a->sin_port);
    return l;
}

static void tcp_over_loopback(void)
{
    struct sockaddr_in a, peer;
    socklen_t len = sizeof(peer);
    int l = tcp_listener(&a), c = socket(AF_INET, SOCK_STREAM, 0), one = 1, v;
    char buf[100];
    CHECK(connect(c, (void *)&a, sizeof(a)) == 0);
    int s = accept(l, (void *)&peer, &len);
    CHECK(s >= 0 && len == 16 && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    len = sizeof(v);
    CHECK(getsockopt(c, IPPROTO_TCP, TCP_NODELAY, &v, &len) == 0 && v == 1);
    CHECK(send(c, "ping", 4, 0) == 4 && recv(s, buf, 100, MSG_PEEK) == 4);
    CHECK(recv(s, buf, 100, 0) == 4 && !memcmp(buf, "ping", 4));
    CHECK_ERRNO(recv(s, buf, 100, MSG_DONTWAIT), EAGAIN);
    struct timeval tv = {0, 50000};
    CHECK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    CHECK_ERRNO(recv(s, buf, 100, 0), EAGAIN);
    CHECK(shutdown(c, SHUT_WR) == 0 && recv(s, buf, 100, 0) == 0);
    CHECK(send(s, "pong", 4, 0) == 4 && recv(c, buf, 4, MSG_WAITALL) == 4);
    close(s);
    CHECK(recv(c, buf, 100, 0) == 0);
    close(c), close(l);
    int r = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(r, (void *)&a, sizeof(a)), ECONNREFUSED);
    close(r);
}

static void tcp_carries_bulk_and_sendfile(void)
{
    enum { SIZE = 3 << 20 };
    struct sockaddr_in a;
    int l = tcp_listener(&a), status;
    pid_t pid = fork();
    if (pid == 0) {
        char *block = malloc(SIZE);
        for (int i = 0; i < SIZE; i++)
            block[i] = (char)(i * 13 + i / 4096);
        int c = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c, (void *)&a, sizeof(a)))
            _exit(1);
        for (size_t at = 0; at < SIZE;) {
            ssize_t n = write(c, block + at, SIZE - at);
            if (n <= 0)
                _exit(2);
            at += (size_t)n;
        }
        int fd = open("io_bulk", O_CREAT | O_TRUNC | O_RDWR, 0600);
        if (write(fd, block, SIZE) != SIZE)
            _exit(3);
        fcntl(c, F_SETFL, O_NONBLOCK);
        for (off_t off = 0; off < SIZE;) {
            struct pollfd p = {c, POLLOUT, 0};
            ssize_t n = sendfile(c, fd, &off, SIZE);
            if (n < 0 && errno != EAGAIN)
                _exit(4);
            if (n < 0)
                poll(&p, 1, -1);
        }
        _exit(0);
    }
    int s = accept(l, NULL, NULL);
    size_t at = 0;
    char buf[20000];
    ssize_t n;
    while ((n = read(s, buf, sizeof(buf))) > 0)
        for (ssize_t i = 0; i < n; i++, at++) {
            int k = (int)(at % SIZE);
            CHECK(buf[i] == (char)(k * 13 + k / 4096));
        }
    CHECK(n == 0 && at == 2 * SIZE);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    close(s), close(l), unlink("io_bulk");
}

static void epoll_watches_tcp(void)
{
    struct sockaddr_in a;
    int l = tcp_listener(&a), ep = epoll_create1(0),
        c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event ev = {EPOLLIN | EPOLLEXCLUSIVE, {.fd = l}}, out[4];
    char buf[10];
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev) == 0);
    CHECK_ERRNO(epoll_ctl(ep, EPOLL_CTL_MOD, l, &ev), EINVAL);
    CHECK_ERRNO(connect(c, (void *)&a, sizeof(a)), EINPROGRESS);
    CHECK(epoll_wait(ep, out, 4, 2000) == 1 && out[0].data.fd == l);
    int s = accept4(l, NULL, NULL, SOCK_NONBLOCK);
    CHECK(s >= 0 && epoll_wait(ep, out, 4, 0) == 0);
    ev = (struct epoll_event){EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, {.fd = s}};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev) == 0);
    CHECK(epoll_wait(ep, out, 4, 1000) == 1 && out[0].events == EPOLLOUT);
    CHECK(send(c, "x", 1, 0) == 1);
    CHECK(epoll_wait(ep, out, 4, 1000) == 1 && out[0].events == (EPOLLIN | EPOLLOUT));
    CHECK(read(s, buf, 10) == 1 && epoll_wait(ep, out, 4, 20) == 0);
    close(c);
    CHECK(epoll_wait(ep, out, 4, 1000) == 1 && out[0].events & EPOLLRDHUP);
    close(s), close(l), close(ep);
}

static void udp_over_loopback(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from;
    socklen_t len = sizeof(a);
    int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0);
    char buf[20], b2[20];
    CHECK(bind(s, (void *)&a, sizeof(a)) == 0 && getsockname(s, (void *)&a, &len) == 0);
    CHECK(sendto(c, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    len = sizeof(from);
    CHECK(recvfrom(s, buf, 3, MSG_TRUNC, (void *)&from, &len) == 5 && len == sizeof(from));
    CHECK(connect(c, (void *)&a, sizeof(a)) == 0);
    struct iovec v[2] = {{"one", 3}, {"two!", 4}};
    struct mmsghdr mm[2] = {{{.msg_iov = &v[0], .msg_iovlen = 1}, 0},
                            {{.msg_iov = &v[1], .msg_iovlen = 1}, 0}};
    CHECK(sendmmsg(c, mm, 2, 0) == 2 && mm[0].msg_len == 3 && mm[1].msg_len == 4);
    struct iovec r[2] = {{buf, 20}, {b2, 20}};
    struct mmsghdr rm[2] = {{{.msg_iov = &r[0], .msg_iovlen = 1}, 0},
                            {{.msg_iov = &r[1], .msg_iovlen = 1}, 0}};
    CHECK(recvmmsg(s, rm, 2, 0, NULL) == 2 && rm[1].msg_len == 4 && !memcmp(b2, "two!", 4));
    CHECK_ERRNO(recv(s, buf, 20, MSG_DONTWAIT), EAGAIN);
    close(s), close(c);
}

/* What is sent to this host never waits for room: the sender may be the one who is to receive. */
static void udp_send_buffer(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int s = socket(AF_INET, SOCK_DGRAM, 0), v = 1;
    static char block[60000];
    struct timeval tv = {5, 0};
    struct epoll_event ev = {EPOLLOUT | EPOLLET, {.fd = s}}, out;
    int ep = epoll_create1(0);

    CHECK(bind(s, (void *)&a, sizeof(a)) == 0 && getsockname(s, (void *)&a, &len) == 0);
    CHECK(connect(s, (void *)&a, sizeof(a)) == 0);
    CHECK(setsockopt(s, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) == 0);
    len = sizeof(v);
    CHECK(getsockopt(s, SOL_SOCKET, SO_SNDBUF, &v, &len) == 0 && v >= 4608 && v < 10000);
    CHECK(setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == 0);
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev) == 0 && epoll_wait(ep, &out, 1, 0) == 1);
    for (int i = 0; i < 300; i++) /* more than the receive queue holds */
        CHECK(send(s, block, i % 2 ? sizeof(block) : 10, i % 3 ? MSG_DONTWAIT : 0) > 0);
    CHECK_ERRNO(send(s, block, 65508, 0), EMSGSIZE);
    CHECK(ioctl(s, TIOCOUTQ, &v) == 0 && v == 0);
    struct pollfd p = {s, POLLIN | POLLOUT, 0};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT));
    CHECK(recv(s, block, sizeof(block), MSG_DONTWAIT) > 0);
    close(s), close(ep);
}

static void interfaces_are_told(void)
{
    struct ifreq r = {.ifr_name = "lo"};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(ioctl(s, SIOCGIFFLAGS, &r) == 0 && r.ifr_flags & IFF_LOOPBACK);
    CHECK(ioctl(s, SIOCGIFADDR, &r) == 0);
    CHECK(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(ioctl(s, SIOCGIFINDEX, &r) == 0 && r.ifr_ifindex == 1);
    strcpy(r.ifr_name, "nosuch0");
    CHECK_ERRNO(ioctl(s, SIOCGIFADDR, &r), ENODEV);
    struct ifaddrs *list;
    int lo = 0;
    CHECK(getifaddrs(&list) == 0);
    for (struct ifaddrs *i = list; i; i = i->ifa_next)
        lo += !strcmp(i->ifa_name, "lo") && i->ifa_addr && i->ifa_addr->sa_family == AF_INET;
    freeifaddrs(list);
    CHECK(lo == 1);
    close(s);
}

int main(void)
{
    own_directory();
    CASE(arguments_are_checked);
    CASE(pair_carries_streams);
    CASE(datagrams_keep_boundaries);
    CASE(descriptors_are_passed);
    CASE(names_connect);
    CASE(tcp_over_loopback);
    CASE(tcp_carries_bulk_and_sendfile);
    CASE(epoll_watches_tcp);
    CASE(udp_over_loopback);
    CASE(udp_send_buffer);
    CASE(interfaces_are_told);
    return check_result();
}
