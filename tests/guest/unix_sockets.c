/* AF_UNIX sockets: names, connections, credentials, descriptors, options and their errors. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "check.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif

static socklen_t path_name(struct sockaddr_un *a, const char *path)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    strcpy(a->sun_path, path);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

/* An abstract name of this process. */
static socklen_t abstract_name(struct sockaddr_un *a, const char *what)
{
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "%s-%d", what, getpid());
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static int set(int fd, int name, int v)
{
    return setsockopt(fd, SOL_SOCKET, name, &v, sizeof(v));
}

static int get(int fd, int name)
{
    int v = -7777;
    socklen_t len = sizeof(v);
    return getsockopt(fd, SOL_SOCKET, name, &v, &len) ? -errno - 1000 : v;
}

static void pair(int type, int sv[2])
{
    CHECK(socketpair(AF_UNIX, type, 0, sv) == 0);
}

static void arguments_are_checked(void)
{
    int sv[2];
    CHECK_ERRNO(socket(AF_UNIX, SOCK_STREAM, 99), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 16), EFAULT);
    CHECK_ERRNO(socketpair(AF_INET, SOCK_STREAM, 0, sv), EOPNOTSUPP);
    int fd = socket(AF_UNIX, SOCK_STREAM, PF_UNIX);
    CHECK(fd >= 0);
    CHECK_ERRNO(listen(fd, 1), EINVAL); /* without a name */
    CHECK_ERRNO(accept(fd, NULL, NULL), EINVAL);
    CHECK_ERRNO(shutdown(fd, 3), EINVAL);
    CHECK(shutdown(fd, SHUT_RD) == 0); /* connected or not */
    close(fd), fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(send(fd, "x", 1, MSG_NOSIGNAL), ENOTCONN);
    CHECK_ERRNO(recv(fd, sv, 1, 0), EINVAL);
    close(fd);
}

static void names_are_checked(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a;
    socklen_t len = path_name(&a, "named");
    a.sun_family = AF_INET;
    CHECK_ERRNO(bind(fd, (void *)&a, len), EINVAL);
    a.sun_family = AF_UNIX;
    CHECK_ERRNO(bind(fd, (void *)&a, 1), EINVAL);
    CHECK_ERRNO(bind(fd, (void *)&a, sizeof(a) + 1), EINVAL);
    path_name(&a, "absent/named");
    CHECK_ERRNO(bind(fd, (void *)&a, sizeof(a)), ENOENT);
    path_name(&a, "/");
    CHECK_ERRNO(bind(fd, (void *)&a, sizeof(a)), EADDRINUSE);
    close(fd);
}

static void paths_stay_behind(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a;
    socklen_t len = path_name(&a, "stays");
    struct stat st;
    CHECK(bind(fd, (void *)&a, len) == 0 && stat("stays", &st) == 0 && S_ISSOCK(st.st_mode));
    struct sockaddr_un other;
    CHECK_ERRNO(bind(fd, (void *)&other, path_name(&other, "other")), EINVAL);
    CHECK_ERRNO(stat("other", &st), ENOENT);
    CHECK_ERRNO(connect(c, (void *)&a, len), ECONNREFUSED); /* nobody listens */
    CHECK(close(fd) == 0 && stat("stays", &st) == 0);
    CHECK_ERRNO(connect(c, (void *)&a, len), ECONNREFUSED);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(bind(fd, (void *)&a, len), EADDRINUSE);
    CHECK(unlink("stays") == 0 && bind(fd, (void *)&a, len) == 0 && unlink("stays") == 0);
    CHECK_ERRNO(connect(c, (void *)&a, len), ENOENT);
    CHECK_ERRNO(open("stays", O_RDWR), ENOENT);
    close(fd), close(c);
}

static void sockets_are_not_opened(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a;
    socklen_t len = path_name(&a, "no-file");
    CHECK(bind(fd, (void *)&a, len) == 0);
    CHECK_ERRNO(open("no-file", O_RDWR), ENXIO);
    path_name(&a, "plain");
    int plain = open("plain", O_CREAT | O_RDWR, 0600), c = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(connect(c, (void *)&a, sizeof(a)), ECONNREFUSED);
    CHECK(unlink("plain") == 0 && unlink("no-file") == 0);
    close(fd), close(plain), close(c);
}

static void names_are_told(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a, got;
    socklen_t len = sizeof(got);
    CHECK(getsockname(fd, (void *)&got, &len) == 0 && len == 2 && got.sun_family == AF_UNIX);
    CHECK_ERRNO(getpeername(fd, (void *)&got, &len), ENOTCONN);
    socklen_t want = path_name(&a, "told");
    CHECK(bind(fd, (void *)&a, want - 1) == 0); /* without the NUL, which is told all the same */
    len = sizeof(got);
    CHECK(getsockname(fd, (void *)&got, &len) == 0 && len == want && !strcmp(got.sun_path, "told"));
    len = 4;
    CHECK(getsockname(fd, (void *)&got, &len) == 0 && len == want); /* cut, and the true length */
    CHECK(unlink("told") == 0);
    close(fd);
}

static void abstract_names_are_exact(void)
{
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un n;
    socklen_t len = abstract_name(&n, "exact");
    CHECK(bind(a, (void *)&n, len) == 0);
    CHECK_ERRNO(bind(b, (void *)&n, len), EADDRINUSE);
    CHECK(connect(b, (void *)&n, len) == 0);
    CHECK_ERRNO(connect(b, (void *)&n, len + 1), ECONNREFUSED); /* one more NUL: another name */
    close(a);
    CHECK_ERRNO(connect(b, (void *)&n, len), ECONNREFUSED);
    CHECK(bind(b, (void *)&n, len) == 0); /* free again */
    close(b);
}

static void names_are_chosen(void)
{
    int a = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un n = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(n);
    CHECK(bind(a, (void *)&n, sizeof(sa_family_t)) == 0);
    CHECK(getsockname(a, (void *)&n, &len) == 0 && len == 8 && n.sun_path[0] == 0);
    for (int i = 1; i < 6; i++)
        CHECK(strchr("0123456789abcdef", n.sun_path[i]));
    close(a);
}

static void passing_credentials_names_the_sender(void)
{
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un n;
    socklen_t len = abstract_name(&n, "autobind");
    char c;
    CHECK(bind(b, (void *)&n, len) == 0 && set(a, SO_PASSCRED, 1) == 0);
    CHECK(sendto(a, "x", 1, 0, (void *)&n, len) == 1);
    len = sizeof(n);
    CHECK(recvfrom(b, &c, 1, 0, (void *)&n, &len) == 1 && len == 8); /* a name was chosen */
    close(a), close(b);
}

static void types_must_agree(void)
{
    int a = socket(AF_UNIX, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un n;
    socklen_t len = path_name(&n, "type");
    CHECK(bind(a, (void *)&n, len) == 0 && listen(a, 1) == 0);
    CHECK_ERRNO(connect(b, (void *)&n, len), EPROTOTYPE);
    CHECK_ERRNO(sendto(b, "x", 1, 0, (void *)&n, len), EPROTOTYPE);
    CHECK(close(a) == 0 && unlink("type") == 0);
    a = socket(AF_UNIX, SOCK_STREAM, 0);
    len = abstract_name(&n, "type"); /* each type has its own abstract names */
    CHECK(bind(a, (void *)&n, len) == 0 && listen(a, 1) == 0);
    CHECK_ERRNO(connect(b, (void *)&n, len), ECONNREFUSED);
    CHECK(bind(b, (void *)&n, len) == 0);
    close(a), close(b);
}

static void backlogs_are_bounded(void)
{
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c[3];
    struct sockaddr_un n;
    socklen_t len = abstract_name(&n, "backlog");
    CHECK(bind(l, (void *)&n, len) == 0 && listen(l, 1) == 0);
    for (int i = 0; i < 3; i++) {
        c[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (i < 2)
            CHECK(connect(c[i], (void *)&n, len) == 0);
        else
            CHECK_ERRNO(connect(c[i], (void *)&n, len), EAGAIN);
    }
    int s = accept(l, NULL, NULL);
    CHECK_ERRNO(connect(c[0], (void *)&n, len), EISCONN);
    CHECK(s >= 0 && connect(c[2], (void *)&n, len) == 0);
    close(l), close(s);
    char b;
    CHECK_ERRNO(send(c[2], "x", 1, MSG_NOSIGNAL), EPIPE);
    CHECK(recv(c[0], &b, 1, 0) == 0);
    CHECK_ERRNO(recv(c[1], &b, 1, 0), ECONNRESET); /* it was never accepted */
    for (int i = 0; i < 3; i++)
        close(c[i]);
}

static void peers_have_credentials(void)
{
    int sv[2];
    struct ucred c;
    socklen_t len = sizeof(c);
    pair(SOCK_STREAM, sv);
    CHECK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &c, &len) == 0 && len == sizeof(c));
    CHECK(c.pid == getpid() && c.uid == geteuid() && c.gid == getegid());
    CHECK_ERRNO(setsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &c, sizeof(c)), ENOPROTOOPT);
    close(sv[0]), close(sv[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len) == 0);
    CHECK(c.pid == 0 && c.uid == (uid_t)-1 && c.gid == (gid_t)-1);
    close(fd);
}

static void listeners_credentials_are_of_listen(void)
{
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un n;
    socklen_t len = abstract_name(&n, "cred"), size = sizeof(struct ucred);
    struct ucred cred;
    CHECK(bind(l, (void *)&n, len) == 0 && listen(l, 4) == 0);
    pid_t child = fork();
    if (!child) {
        int d = socket(AF_UNIX, SOCK_STREAM, 0);
        _exit(connect(d, (void *)&n, len) != 0);
    }
    CHECK(child > 0 && waitpid(child, &(int){0}, 0) == child);
    int s = accept(l, NULL, NULL);
    CHECK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 && cred.pid == child);
    CHECK(connect(c, (void *)&n, len) == 0);
    CHECK(getsockopt(c, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0 && cred.pid == getpid());
    close(l), close(c), close(s);
}

static void peers_have_pidfds(void)
{
    int sv[2], fd = -1;
    socklen_t len = sizeof(fd);
    pair(SOCK_STREAM, sv);
    CHECK(getsockopt(sv[0], SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0 && fd >= 0);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0);
    close(fd);
    int alone = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_ERRNO(getsockopt(alone, SOL_SOCKET, SO_PEERPIDFD, &fd, &len), ENODATA);
    close(sv[0]), close(sv[1]), close(alone);
}

/* Sends one byte with the credentials. */
static int send_cred(int fd, struct ucred c)
{
    char control[CMSG_SPACE(sizeof(c))] = {0};
    struct iovec v = {"x", 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(sizeof(c)), SOL_SOCKET, SCM_CREDENTIALS};
    memcpy(CMSG_DATA(h), &c, sizeof(c));
    return (int)sendmsg(fd, &m, MSG_NOSIGNAL);
}

static void credentials_are_passed(void)
{
    int sv[2];
    char data, control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec v = {&data, 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct ucred c, me = {getpid(), getuid(), getgid()};
    pair(SOCK_STREAM, sv);
    CHECK(set(sv[1], SO_PASSCRED, 1) == 0 && get(sv[1], SO_PASSCRED) == 1);
    CHECK(send(sv[0], "y", 1, 0) == 1 && recvmsg(sv[1], &m, 0) == 1); /* unasked */
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_type == SCM_CREDENTIALS && h->cmsg_len == CMSG_LEN(sizeof(c)));
    memcpy(&c, CMSG_DATA(h), sizeof(c));
    CHECK(c.pid == me.pid && c.uid == me.uid && c.gid == me.gid);
    CHECK(send_cred(sv[0], me) == 1);
    me.pid = 999999;
    CHECK_ERRNO(send_cred(sv[0], me), ESRCH);
    close(sv[0]), close(sv[1]);
}

static void credentials_are_checked(void)
{
    int sv[2], status;
    pair(SOCK_DGRAM, sv);
    pid_t child = fork();
    if (!child) {
        struct ucred me = {getpid(), 0, 0}, false_pid = {getppid(), 65534, 65534};
        if (getuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(1);
        me.uid = getuid() ? 0 : 1;
        if (send_cred(sv[0], me) != -1 || errno != EPERM)
            _exit(2);
        false_pid.uid = getuid(), false_pid.gid = getgid();
        if (send_cred(sv[0], false_pid) != -1 || errno != EPERM)
            _exit(3);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(sv[0]), close(sv[1]);
}

static int send_fds(int s, const int *fds, unsigned n)
{
    static char control[CMSG_SPACE(sizeof(int) * 300)];
    struct iovec v = {"f", 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    memset(control, 0, sizeof(control));
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(h), fds, n * sizeof(int));
    return (int)sendmsg(s, &m, MSG_NOSIGNAL);
}

static void descriptors_are_bounded(void)
{
    int sv[2], fds[300];
    pair(SOCK_STREAM, sv);
    for (int i = 0; i < 300; i++)
        fds[i] = sv[0];
    CHECK_ERRNO(send_fds(sv[0], fds, 254), EINVAL);
    CHECK(send_fds(sv[0], fds, 253) == 1);
    fds[1] = -1;
    CHECK_ERRNO(send_fds(sv[0], fds, 2), EBADF);
    close(sv[0]), close(sv[1]);
}

static void descriptors_that_do_not_fit_are_closed(void)
{
    int sv[2], p[2], fds[2], got = -1;
    char data, control[CMSG_SPACE(sizeof(int))], c;
    struct iovec v = {&data, 1};
    struct msghdr m = {.msg_iov = &v,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = CMSG_LEN(sizeof(int))};
    pair(SOCK_STREAM, sv);
    CHECK(pipe(p) == 0);
    fds[0] = p[0], fds[1] = p[1];
    CHECK(send_fds(sv[0], fds, 2) == 1 && close(p[1]) == 0);
    CHECK(recvmsg(sv[1], &m, 0) == 1 && m.msg_flags & MSG_CTRUNC);
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_len == CMSG_LEN(sizeof(int)));
    memcpy(&got, CMSG_DATA(h), sizeof(got));
    CHECK(read(got, &c, 1) == 0); /* the writing end is gone */
    close(got), close(p[0]), close(sv[0]), close(sv[1]);
}

static void descriptors_stop_a_read(void)
{
    int sv[2];
    char b[10];
    pair(SOCK_STREAM, sv);
    CHECK(send(sv[0], "ab", 2, 0) == 2 && send_fds(sv[0], sv, 1) == 1 &&
          send(sv[0], "cd", 2, 0) == 2);
    /* What was sent with descriptors ends a read (unix(7)). */
    CHECK(recv(sv[1], b, 10, 0) == 3 && !memcmp(b, "abf", 3));
    CHECK(recv(sv[1], b, 10, 0) == 2 && !memcmp(b, "cd", 2));
    close(sv[0]), close(sv[1]);
}

static void control_messages_are_checked(void)
{
    int sv[2];
    char control[64] = {0};
    struct iovec v = {"x", 1};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(4)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    pair(SOCK_STREAM, sv);
    *h = (struct cmsghdr){3, SOL_SOCKET, SCM_RIGHTS}; /* shorter than a header */
    CHECK_ERRNO(sendmsg(sv[0], &m, 0), EINVAL);
    *h = (struct cmsghdr){CMSG_LEN(40), SOL_SOCKET, SCM_RIGHTS}; /* longer than there is */
    CHECK_ERRNO(sendmsg(sv[0], &m, 0), EINVAL);
    *h = (struct cmsghdr){CMSG_LEN(4), SOL_SOCKET, 999};
    CHECK_ERRNO(sendmsg(sv[0], &m, 0), EINVAL);
    *h = (struct cmsghdr){CMSG_LEN(4), 12345, 1}; /* another level: not ours */
    CHECK(sendmsg(sv[0], &m, 0) == 1);
    m.msg_iovlen = 2000;
    CHECK_ERRNO(sendmsg(sv[0], &m, 0), EMSGSIZE);
    close(sv[0]), close(sv[1]);
}

static void datagrams_need_a_receiver(void)
{
    int sv[2], fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    CHECK_ERRNO(send(fd, "x", 1, 0), ENOTCONN);
    CHECK_ERRNO(listen(fd, 1), EOPNOTSUPP);
    CHECK_ERRNO(accept(fd, NULL, NULL), EOPNOTSUPP);
    pair(SOCK_DGRAM, sv);
    CHECK(close(sv[1]) == 0);
    CHECK_ERRNO(send(sv[0], "x", 1, 0), ECONNREFUSED);
    close(fd), close(sv[0]);
}

static void datagrams_of_strangers_are_refused(void)
{
    int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0),
        c = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un na, nb;
    socklen_t la = abstract_name(&na, "a"), lb = abstract_name(&nb, "b");
    CHECK(bind(a, (void *)&na, la) == 0 && bind(b, (void *)&nb, lb) == 0);
    CHECK(connect(a, (void *)&nb, lb) == 0);
    CHECK_ERRNO(sendto(c, "x", 1, 0, (void *)&na, la), EPERM);
    CHECK_ERRNO(connect(c, (void *)&na, la), EPERM);
    CHECK(sendto(b, "x", 1, 0, (void *)&na, la) == 1);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    CHECK(connect(a, &none, sizeof(none)) == 0 && sendto(c, "x", 1, 0, (void *)&na, la) == 1);
    close(a), close(b), close(c);
}

static void sequences_have_records(void)
{
    int sv[2];
    char b[8];
    struct iovec v = {b, sizeof(b)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    pair(SOCK_SEQPACKET, sv);
    CHECK(send(sv[0], "abc", 3, MSG_EOR) == 3 && send(sv[0], "de", 2, 0) == 2);
    CHECK(recvmsg(sv[1], &m, 0) == 3);
    CHECK(recv(sv[1], b, 1, MSG_PEEK | MSG_TRUNC) == 2 && recv(sv[1], b, 8, 0) == 2);
    CHECK(shutdown(sv[0], SHUT_WR) == 0 && recv(sv[1], b, 8, 0) == 0);
    CHECK_ERRNO(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    close(sv[0]), close(sv[1]);
}

static void waiting_for_all_waits(void)
{
    int sv[2];
    char b[8];
    pair(SOCK_STREAM, sv);
    CHECK(send(sv[0], "abcd", 4, 0) == 4);
    pid_t child = fork();
    if (!child) {
        usleep(30000);
        _exit(send(sv[0], "efgh", 4, 0) != 4);
    }
    CHECK(recv(sv[1], b, 8, MSG_WAITALL) == 8 && !memcmp(b, "abcdefgh", 8));
    CHECK(waitpid(child, &(int){0}, 0) == child);
    struct timeval tv = {0, 20000};
    CHECK(setsockopt(sv[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    CHECK(send(sv[0], "ab", 2, 0) == 2 && recv(sv[1], b, 8, MSG_WAITALL) == 2);
    CHECK_ERRNO(recv(sv[1], b, 8, 0), EAGAIN);
    close(sv[0]), close(sv[1]);
}

static void broken_pipes_signal(void)
{
    int sv[2], status;
    pair(SOCK_STREAM, sv);
    close(sv[1]);
    pid_t child = fork();
    if (!child) {
        signal(SIGPIPE, SIG_DFL);
        _exit(send(sv[0], "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE ? (int)write(sv[0], "x", 1)
                                                                        : 9);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
          WTERMSIG(status) == SIGPIPE);
    close(sv[0]);
}

static void unread_data_resets(void)
{
    int sv[2];
    char b;
    pair(SOCK_STREAM, sv);
    CHECK(send(sv[0], "x", 1, 0) == 1 && close(sv[1]) == 0);
    CHECK_ERRNO(recv(sv[0], &b, 1, 0), ECONNRESET);
    CHECK(recv(sv[0], &b, 1, 0) == 0);
    close(sv[0]);
}

static void options_have_their_errors(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), v = 1;
    CHECK(get(fd, SO_DOMAIN) == AF_UNIX && get(fd, SO_TYPE) == SOCK_STREAM);
    CHECK(get(fd, SO_PROTOCOL) == 0 && get(fd, SO_ACCEPTCONN) == 0 && get(fd, SO_ERROR) == 0);
    CHECK_ERRNO(set(fd, SO_TYPE, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, 9999, 1), ENOPROTOOPT);
    CHECK_ERRNO(setsockopt(fd, 6, 1, &v, sizeof(v)), EOPNOTSUPP);
    CHECK(set(fd, SO_SNDBUF, 10000) == 0 && get(fd, SO_SNDBUF) == 20000);
    CHECK(set(fd, SO_RCVBUF, 10000) == 0 && get(fd, SO_RCVBUF) == 20000);
    CHECK(set(fd, SO_SNDBUF, 1) == 0 && get(fd, SO_SNDBUF) == 4608);
    CHECK(set(fd, SO_PRIORITY, 3) == 0 && get(fd, SO_PRIORITY) == 3);
    CHECK(set(fd, SO_RCVLOWAT, 5) == 0 && get(fd, SO_RCVLOWAT) == 5);
    struct linger l = {1, 5};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
    close(fd);
}

static void cookies_identify_sockets(void)
{
    int sv[2];
    unsigned long long a = 0, b = 0;
    socklen_t len = 8;
    pair(SOCK_STREAM, sv);
    CHECK(getsockopt(sv[0], SOL_SOCKET, 57 /* SO_COOKIE */, &a, &len) == 0 && a);
    CHECK(getsockopt(sv[1], SOL_SOCKET, 57, &b, &len) == 0 && b && a != b);
    close(sv[0]), close(sv[1]);
}

static void waiting_bytes_are_counted(void)
{
    int sv[2], n = -1;
    pair(SOCK_DGRAM, sv);
    CHECK(send(sv[0], "abc", 3, 0) == 3 && send(sv[0], "de", 2, 0) == 2);
    CHECK(ioctl(sv[1], FIONREAD, &n) == 0 && n == 3); /* the first datagram */
    CHECK(ioctl(sv[0], TIOCOUTQ, &n) == 0 && n > 0);
    close(sv[0]), close(sv[1]);
}

static void full_receivers_block(void)
{
    int sv[2], n = 0;
    char b[1000] = {0};
    pair(SOCK_DGRAM, sv);
    CHECK(fcntl(sv[0], F_SETFL, O_NONBLOCK) == 0);
    while (send(sv[0], b, sizeof(b), 0) == sizeof(b))
        n++;
    CHECK(errno == EAGAIN && n >= 10);
    struct pollfd p = {sv[0], POLLOUT, 0};
    CHECK(poll(&p, 1, 0) == 0);
    while (n--)
        CHECK(recv(sv[1], b, sizeof(b), 0) == sizeof(b));
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
    static char big[300000];
    CHECK_ERRNO(send(sv[0], big, sizeof(big), 0), EMSGSIZE);
    close(sv[0]), close(sv[1]);
}

/* More than a small machine's memory, if each socket held as much as it may. */
static void unread_messages_leave_memory(void)
{
    enum { PAIRS = 1500 };
    static int sv[PAIRS][2];
    static char data[65536];
    struct rlimit before, many = {2 * PAIRS + 64, 2 * PAIRS + 64};
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    many.rlim_max = before.rlim_max > many.rlim_cur ? before.rlim_max : many.rlim_cur;
    CHECK(setrlimit(RLIMIT_NOFILE, &many) == 0);
    for (int i = 0; i < PAIRS; i++)
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv[i]) == 0);
    for (int i = 0; i < PAIRS; i++) {
        ssize_t n, wrote = 0;
        while ((n = write(sv[i][0], data, sizeof(data))) > 0)
            wrote += n;
        CHECK(errno == EAGAIN && wrote > 0);
    }
    for (int i = 0; i < PAIRS; i++)
        close(sv[i][0]), close(sv[i][1]);
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
}

static void proc_lists_sockets(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a;
    socklen_t len = abstract_name(&a, "listed");
    char *line = NULL, want[64];
    size_t size = 0;
    struct stat st;
    bool found = false;
    CHECK(bind(fd, (void *)&a, len) == 0 && listen(fd, 1) == 0 && fstat(fd, &st) == 0);
    snprintf(want, sizeof(want), " %lu @listed-%d\n", (unsigned long)st.st_ino, getpid());
    FILE *f = fopen("/proc/net/unix", "r");
    CHECK(f);
    while (getline(&line, &size, f) > 0)
        found |= strstr(line, want) && strstr(line, " 00010000 0001 01 ");
    fclose(f), free(line), close(fd);
    CHECK(found);
}

int main(void)
{
    own_directory();
    CASE(arguments_are_checked);
    CASE(names_are_checked);
    CASE(paths_stay_behind);
    CASE(sockets_are_not_opened);
    CASE(names_are_told);
    CASE(abstract_names_are_exact);
    CASE(names_are_chosen);
    CASE(passing_credentials_names_the_sender);
    CASE(types_must_agree);
    CASE(backlogs_are_bounded);
    CASE(peers_have_credentials);
    CASE(listeners_credentials_are_of_listen);
    CASE(peers_have_pidfds);
    CASE(credentials_are_passed);
    CASE(credentials_are_checked);
    CASE(descriptors_are_bounded);
    CASE(descriptors_that_do_not_fit_are_closed);
    CASE(descriptors_stop_a_read);
    CASE(control_messages_are_checked);
    CASE(datagrams_need_a_receiver);
    CASE(datagrams_of_strangers_are_refused);
    CASE(sequences_have_records);
    CASE(waiting_for_all_waits);
    CASE(broken_pipes_signal);
    CASE(unread_data_resets);
    CASE(options_have_their_errors);
    CASE(cookies_identify_sockets);
    CASE(waiting_bytes_are_counted);
    CASE(full_receivers_block);
    CASE(unread_messages_leave_memory);
    CASE(proc_lists_sockets);
    return check_result();
}
