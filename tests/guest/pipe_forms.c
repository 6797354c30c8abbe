/* Pipes and FIFOs: sizes, ends, packets, opening, splice and its kin. */
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "check.h"

#define PAGE 4096

static int r, w; /* the ends of the pipe a case works on */

static void fresh(int flags)
{
    int p[2];
    CHECK(pipe2(p, flags) == 0);
    r = p[0];
    w = p[1];
}

static void done(void)
{
    close(r);
    close(w);
}

static short events(int fd)
{
    struct pollfd p = {fd, POLLIN | POLLOUT, 0};
    CHECK(poll(&p, 1, 0) >= 0);
    return p.revents;
}

static int filled(int fd)
{
    char page[PAGE] = {0};
    int n = 0, got;
    while ((got = write(fd, page, sizeof(page))) > 0)
        n += got;
    CHECK(errno == EAGAIN);
    return n;
}

static void ends_have_directions(void)
{
    char c;
    fresh(0);
    CHECK_ERRNO(write(r, "x", 1), EBADF);
    CHECK_ERRNO(read(w, &c, 1), EBADF);
    CHECK((fcntl(r, F_GETFL) & O_ACCMODE) == O_RDONLY);
    CHECK((fcntl(w, F_GETFL) & O_ACCMODE) == O_WRONLY);
    CHECK(read(r, &c, 0) == 0 && write(w, &c, 0) == 0);
    done();
    CHECK_ERRNO(syscall(SYS_pipe2, 1, 0), EFAULT);
    CHECK_ERRNO(syscall(SYS_pipe2, &r, 0x10), EINVAL);
    fresh(O_CLOEXEC | O_NONBLOCK);
    CHECK(fcntl(r, F_GETFD) == FD_CLOEXEC && (fcntl(w, F_GETFL) & O_NONBLOCK));
    done();
}

static void both_ends_are_one_inode(void)
{
    struct stat a, b;
    fresh(0);
    CHECK(fstat(r, &a) == 0 && fstat(w, &b) == 0 && a.st_ino == b.st_ino && S_ISFIFO(a.st_mode));
    CHECK(a.st_size == 0 && a.st_uid == getuid());
    done();
}

static void the_last_writer_ends_it(void)
{
    char c;
    fresh(0);
    int w2 = dup(w);
    CHECK(write(w, "x", 1) == 1);
    close(w);
    CHECK(events(r) == POLLIN);
    close(w2);
    CHECK(events(r) == (POLLIN | POLLHUP) && read(r, &c, 1) == 1 && read(r, &c, 1) == 0);
    CHECK(events(r) == POLLHUP);
    close(r);
}

static void without_readers_writing_is_an_error(void)
{
    fresh(0);
    close(r);
    signal(SIGPIPE, SIG_IGN);
    CHECK_ERRNO(write(w, "x", 1), EPIPE);
    CHECK(events(w) == (POLLOUT | POLLERR));
    signal(SIGPIPE, SIG_DFL);
    close(w);
    int status;
    pid_t child = fork();
    if (child == 0) {
        fresh(0);
        close(r);
        write(w, "x", 1);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
          WTERMSIG(status) == SIGPIPE);
}

static void a_pipe_holds_sixteen_pages(void)
{
    char page[PAGE];
    int n = 0;
    fresh(O_NONBLOCK);
    CHECK(fcntl(r, F_GETPIPE_SZ) == 65536 && filled(w) == 65536 && events(w) == 0);
    CHECK(ioctl(r, FIONREAD, &n) == 0 && n == 65536);
    CHECK(read(r, page, 100) == 100 && events(w) == 0);
    CHECK_ERRNO(write(w, page, 100), EAGAIN); /* no free page yet */
    CHECK(read(r, page, PAGE - 100) == PAGE - 100 && events(w) == POLLOUT);
    CHECK(write(w, page, PAGE) == PAGE);
    done();
}

static void sizes_change(void)
{
    char page[PAGE];
    fresh(O_NONBLOCK);
    CHECK(fcntl(w, F_SETPIPE_SZ, 5000) == 8192 && fcntl(r, F_GETPIPE_SZ) == 8192);
    CHECK(filled(w) == 8192);
    CHECK_ERRNO(fcntl(w, F_SETPIPE_SZ, 4096), EBUSY);
    CHECK(fcntl(r, F_SETPIPE_SZ, 1 << 20) == 1 << 20 && filled(w) == (1 << 20) - 8192);
    CHECK(read(r, page, PAGE) == PAGE);
    CHECK_ERRNO(fcntl(w, F_SETPIPE_SZ, -1), EINVAL);
    done();
    fresh(0);
    CHECK(fcntl(w, F_SETPIPE_SZ, 0) == 4096 || errno == EINVAL);
    CHECK(fcntl(w, F_SETPIPE_SZ, 1) == 4096);
    done();
}

static void small_writes_are_whole(void)
{
    char buf[2 * PAGE] = {0};
    fresh(O_NONBLOCK);
    CHECK(fcntl(w, F_SETPIPE_SZ, 2 * PAGE) == 2 * PAGE);
    CHECK(write(w, buf, PAGE + 10) == PAGE + 10);
    CHECK_ERRNO(write(w, buf, PAGE - 9), EAGAIN); /* does not fit: not at all */
    CHECK(write(w, buf, 100) == 100);
    done();
    fresh(O_NONBLOCK);
    char *big = calloc(1, 100000);
    CHECK(write(w, big, 100000) == 65536); /* larger ones in parts */
    free(big);
    done();
}

static void packets_keep_their_bounds(void)
{
    char buf[2 * PAGE] = {0};
    fresh(O_DIRECT | O_NONBLOCK);
    CHECK(fcntl(w, F_GETFL) & O_DIRECT);
    CHECK(write(w, "one", 3) == 3 && write(w, "three", 5) == 5);
    CHECK(read(r, buf, sizeof(buf)) == 3 && read(r, buf, 2) == 2);
    CHECK_ERRNO(read(r, buf, sizeof(buf)), EAGAIN); /* the rest of a packet is lost */
    CHECK(write(w, buf, 8192) == 8192);             /* two packets of a page */
    CHECK(read(r, buf, sizeof(buf)) == PAGE && read(r, buf, sizeof(buf)) == PAGE);
    for (int i = 0; i < 16; i++)
        CHECK(write(w, "x", 1) == 1); /* each takes a page */
    CHECK_ERRNO(write(w, "x", 1), EAGAIN);
    CHECK(read(r, buf, 10) == 1 && write(w, "x", 1) == 1);
    done();
}

static void packets_come_and_go_by_fcntl(void)
{
    char buf[64];
    fresh(O_NONBLOCK);
    CHECK(write(w, "ab", 2) == 2 && write(w, "cd", 2) == 2);
    CHECK(read(r, buf, sizeof(buf)) == 4 && !memcmp(buf, "abcd", 4));
    CHECK(fcntl(w, F_SETFL, O_NONBLOCK | O_DIRECT) == 0);
    CHECK(write(w, "ef", 2) == 2 && write(w, "gh", 2) == 2);
    CHECK(fcntl(w, F_SETFL, O_NONBLOCK) == 0 && write(w, "ij", 2) == 2);
    CHECK(read(r, buf, sizeof(buf)) == 2 && !memcmp(buf, "ef", 2));
    CHECK(read(r, buf, sizeof(buf)) == 2 && !memcmp(buf, "gh", 2));
    CHECK(read(r, buf, sizeof(buf)) == 2 && !memcmp(buf, "ij", 2));
    done();
}

static void packets_wait_for_a_page(void)
{
    char buf[PAGE];
    int status;
    fresh(O_DIRECT);
    CHECK(fcntl(w, F_SETPIPE_SZ, PAGE) == PAGE && write(w, "first", 5) == 5);
    pid_t child = fork();
    if (child == 0)
        _exit(write(w, "second", 6) == 6 ? 0 : 1);
    until_asleep(child);
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    CHECK(read(r, buf, sizeof(buf)) == 5 && read(r, buf, sizeof(buf)) == 6);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    done();
}

static void packets_are_spliced_as_bytes(void)
{
    char buf[64];
    int n = 0, out = open("ps", O_CREAT | O_RDWR, 0600);
    fresh(O_DIRECT | O_NONBLOCK);
    CHECK(write(w, "one", 3) == 3 && write(w, "two", 3) == 3);
    CHECK(ioctl(r, FIONREAD, &n) == 0 && n == 6);
    CHECK(splice(r, NULL, out, NULL, 5, 0) == 5 && read(r, buf, sizeof(buf)) == 1);
    CHECK(pread(out, buf, 64, 0) == 5 && !memcmp(buf, "onetw", 5));
    CHECK(fcntl(w, F_SETPIPE_SZ, 8 * PAGE) == 8 * PAGE && write(w, "x", 1) == 1);
    CHECK(read(r, buf, sizeof(buf)) == 1);
    close(out);
    done();
}

/* --- FIFOs ------------------------------------------------------------------------------------ */

static void opening_a_fifo_without_waiting(void)
{
    char c;
    CHECK(mkfifo("f", 0600) == 0);
    CHECK_ERRNO(open("f", O_WRONLY | O_NONBLOCK), ENXIO);
    r = open("f", O_RDONLY | O_NONBLOCK);
    CHECK(r >= 0 && read(r, &c, 1) == 0 && events(r) == 0);
    w = open("f", O_WRONLY | O_NONBLOCK);
    CHECK(w >= 0);
    CHECK_ERRNO(read(r, &c, 1), EAGAIN);
    CHECK(write(w, "x", 1) == 1 && read(r, &c, 1) == 1);
    close(w);
    CHECK(events(r) == POLLHUP && read(r, &c, 1) == 0);
    w = open("f", O_WRONLY);
    CHECK(events(r) == 0);
    done();
}

static void opening_a_fifo_both_ways(void)
{
    char c;
    CHECK(mkfifo("b", 0600) == 0);
    int fd = open("b", O_RDWR);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && read(fd, &c, 1) == 1);
    CHECK(events(fd) == POLLOUT);
    close(fd);
    CHECK_ERRNO(open("b", O_RDONLY | O_DIRECTORY), ENOTDIR);
    fd = open("b", O_RDWR | O_TRUNC | O_CREAT, 0600);
    CHECK(fd >= 0);
    CHECK_ERRNO(lseek(fd, 0, SEEK_SET), ESPIPE);
    CHECK_ERRNO(ftruncate(fd, 0), EINVAL);
    close(fd);
}

static void openers_wait_for_each_other(void)
{
    CHECK(mkfifo("o", 0600) == 0);
    int status;
    pid_t child = fork();
    if (child == 0) {
        int fd = open("o", O_WRONLY);
        _exit(fd >= 0 && write(fd, "hi", 2) == 2 ? 0 : 1);
    }
    until_asleep(child);
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    char buf[8];
    r = open("o", O_RDONLY);
    CHECK(r >= 0 && read(r, buf, 8) == 2 && read(r, buf, 8) == 0);
    close(r);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void on_signal(int sig)
{
    (void)sig;
}

static void an_opener_is_interrupted(void)
{
    CHECK(mkfifo("i", 0600) == 0);
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct sigaction sa = {.sa_handler = on_signal};
        sigaction(SIGUSR1, &sa, NULL);
        _exit(open("i", O_RDONLY) == -1 && errno == EINTR ? 0 : 1);
    }
    until_asleep(child);
    kill(child, SIGUSR1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_ERRNO(open("i", O_WRONLY | O_NONBLOCK), ENXIO); /* it is no reader any more */
}

static void a_fifo_is_empty_when_nobody_has_it(void)
{
    char c;
    CHECK(mkfifo("e", 0600) == 0);
    int fd = open("e", O_RDWR);
    CHECK(write(fd, "x", 1) == 1);
    close(fd);
    fd = open("e", O_RDONLY | O_NONBLOCK);
    CHECK(read(fd, &c, 1) == 0);
    close(fd);
}

/* --- splice ----------------------------------------------------------------------------------- */

static int file_with(const char *name, const char *text)
{
    int fd = open(name, O_CREAT | O_TRUNC | O_RDWR, 0600);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

static void splice_from_and_to_files(void)
{
    char buf[16];
    loff_t at = 2, to = 3;
    int in = file_with("si", "abcdefgh"), out = file_with("so", "");
    fresh(0);
    CHECK(splice(in, &at, w, NULL, 4, 0) == 4 && at == 6);
    CHECK(splice(r, NULL, out, &to, 100, 0) == 4 && to == 7);
    CHECK(pread(out, buf, 16, 0) == 7 && !memcmp(buf, "\0\0\0cdef", 7));
    CHECK(lseek(in, 0, SEEK_SET) == 0 && splice(in, NULL, w, NULL, 3, 0) == 3);
    CHECK(lseek(in, 0, SEEK_CUR) == 3 && splice(in, NULL, w, NULL, 100, 0) == 5);
    CHECK(splice(in, NULL, w, NULL, 100, 0) == 0); /* the end */
    done();
    close(in);
    close(out);
}

static void splice_refuses(void)
{
    loff_t at = 0;
    int in = file_with("sr", "abc"), ap = open("sr2", O_CREAT | O_WRONLY | O_APPEND, 0600);
    fresh(0);
    CHECK_ERRNO(splice(in, NULL, in, NULL, 1, 0), EINVAL); /* no pipe */
    CHECK_ERRNO(splice(r, &at, in, NULL, 1, 0), ESPIPE);
    CHECK_ERRNO(splice(in, NULL, w, &at, 1, 0), ESPIPE);
    CHECK_ERRNO(splice(w, NULL, in, NULL, 1, 0), EBADF);
    CHECK_ERRNO(splice(in, NULL, r, NULL, 1, 0), EBADF);
    CHECK_ERRNO(splice(r, NULL, w, NULL, 1, 0), EINVAL); /* the same pipe */
    CHECK(write(w, "x", 1) == 1);
    CHECK_ERRNO(splice(r, NULL, ap, NULL, 1, 0), EINVAL);
    CHECK_ERRNO(splice(r, NULL, in, NULL, 1, 0x100), EINVAL);
    CHECK(splice(r, NULL, in, NULL, 0, 0) == 0);
    done();
    fresh(0);
    CHECK_ERRNO(splice(r, NULL, in, NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
    close(w);
    CHECK(splice(r, NULL, in, NULL, 1, 0) == 0);
    close(r);
    close(in);
    close(ap);
}

static void tee_leaves_the_bytes(void)
{
    char buf[16];
    int p[2];
    fresh(0);
    CHECK(pipe(p) == 0 && write(w, "hello", 5) == 5);
    CHECK(tee(r, p[1], 3, 0) == 3 && tee(r, p[1], 100, 0) == 5);
    CHECK(read(r, buf, 16) == 5 && read(p[0], buf, 16) == 8 && !memcmp(buf, "helhello", 8));
    CHECK_ERRNO(tee(r, p[1], 1, SPLICE_F_NONBLOCK), EAGAIN);
    CHECK_ERRNO(tee(r, w, 1, 0), EINVAL);
    int fd = file_with("te", "x");
    CHECK_ERRNO(tee(fd, w, 1, 0), EINVAL);
    CHECK(tee(r, p[1], 0, 0) == 0);
    close(fd);
    close(p[0]);
    close(p[1]);
    done();
}

static void vmsplice_both_ways(void)
{
    char buf[16] = {0};
    struct iovec v[2] = {{"he", 2}, {"llo", 3}}, out = {buf, 16};
    fresh(O_NONBLOCK);
    CHECK(vmsplice(w, v, 2, 0) == 5 && vmsplice(r, &out, 1, 0) == 5 && !memcmp(buf, "hello", 5));
    CHECK_ERRNO(vmsplice(r, &out, 1, SPLICE_F_NONBLOCK), EAGAIN);
    int fd = file_with("vm", "x");
    CHECK_ERRNO(vmsplice(fd, v, 2, 0), EBADF);
    CHECK(vmsplice(w, v, 0, 0) == 0);
    close(fd);
    done();
}

static void splice_between_a_socket_and_a_file(void)
{
    char buf[16];
    int s[2], out = file_with("sk", "");
    fresh(0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0 && write(s[0], "message", 7) == 7);
    CHECK(splice(s[1], NULL, w, NULL, 100, 0) == 7 && splice(r, NULL, out, NULL, 100, 0) == 7);
    CHECK(pread(out, buf, 16, 0) == 7 && !memcmp(buf, "message", 7));
    CHECK(write(w, "back", 4) == 4 && splice(r, NULL, s[1], NULL, 4, 0) == 4);
    CHECK(read(s[0], buf, 16) == 4);
    close(s[0]);
    close(s[1]);
    close(out);
    done();
}

/* As `diff <(a) <(b)` looks at its arguments. */
static void a_pipe_behind_a_link_is_told(void)
{
    char name[32];
    struct stat a, b;
    fresh(0);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", r);
    CHECK(stat(name, &a) == 0 && fstat(r, &b) == 0);
    CHECK(S_ISFIFO(a.st_mode) && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    CHECK(access(name, R_OK | W_OK) == 0);
    CHECK_ERRNO(access(name, X_OK), EACCES);
    done();
}

static int again(int fd, int flags)
{
    char name[32];
    snprintf(name, sizeof(name), "/dev/fd/%d", fd);
    return open(name, flags);
}

static void opening_a_descriptor_makes_another_end(void)
{
    char c;
    fresh(0);
    int w2 = again(w, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK), r2 = again(w, O_RDONLY);
    CHECK(w2 >= 0 && r2 >= 0);
    CHECK(fcntl(w2, F_GETFL) & O_NONBLOCK && !(fcntl(w, F_GETFL) & O_NONBLOCK));
    CHECK_ERRNO(read(w2, &c, 1), EBADF);
    CHECK_ERRNO(write(r2, "x", 1), EBADF);
    close(w);
    close(r);
    CHECK(write(w2, "x", 1) == 1 && read(r2, &c, 1) == 1 && c == 'x');
    int both = again(r2, O_RDWR);
    CHECK(both >= 0 && write(both, "y", 1) == 1 && read(both, &c, 1) == 1 && c == 'y');
    close(both);
    CHECK_ERRNO(read(again(r2, O_RDONLY | O_NONBLOCK), &c, 1), EAGAIN);
    close(w2);
    CHECK(read(r2, &c, 1) == 0);
    CHECK_ERRNO(again(r2, O_RDONLY | O_DIRECTORY), ENOTDIR);
    CHECK_ERRNO(again(r2, O_WRONLY | O_CREAT | O_EXCL), EEXIST);
    close(r2);
    CHECK_ERRNO(again(r2, O_RDONLY), ENOENT);
}

static void opening_a_descriptor_of_a_fifo(void)
{
    char c;
    unlink("again");
    CHECK(mkfifo("again", 0600) == 0);
    r = open("again", O_RDONLY | O_NONBLOCK);
    CHECK(r >= 0 && unlink("again") == 0);
    w = again(r, O_WRONLY);
    CHECK(w >= 0 && write(w, "x", 1) == 1 && read(r, &c, 1) == 1);
    done();
}

static void what_has_no_name_cannot_be_opened_again(void)
{
    int pair[2], e = eventfd(0, 0), ep = epoll_create1(0);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && e >= 0 && ep >= 0);
    CHECK_ERRNO(again(pair[0], O_RDWR), ENXIO);
    CHECK_ERRNO(again(e, O_RDWR), ENXIO);
    CHECK_ERRNO(again(ep, O_RDONLY), ENXIO);
    close(pair[0]);
    close(pair[1]);
    close(e);
    close(ep);
}

int main(void)
{
    own_directory();
    CASE(ends_have_directions);
    CASE(both_ends_are_one_inode);
    CASE(the_last_writer_ends_it);
    CASE(without_readers_writing_is_an_error);
    CASE(a_pipe_holds_sixteen_pages);
    CASE(sizes_change);
    CASE(small_writes_are_whole);
    CASE(packets_keep_their_bounds);
    CASE(packets_come_and_go_by_fcntl);
    CASE(packets_wait_for_a_page);
    CASE(packets_are_spliced_as_bytes);
    CASE(opening_a_fifo_without_waiting);
    CASE(opening_a_fifo_both_ways);
    CASE(openers_wait_for_each_other);
    CASE(an_opener_is_interrupted);
    CASE(a_fifo_is_empty_when_nobody_has_it);
    CASE(splice_from_and_to_files);
    CASE(splice_refuses);
    CASE(tee_leaves_the_bytes);
    CASE(vmsplice_both_ways);
    CASE(splice_between_a_socket_and_a_file);
    CASE(a_pipe_behind_a_link_is_told);
    CASE(opening_a_descriptor_makes_another_end);
    CASE(opening_a_descriptor_of_a_fifo);
    CASE(what_has_no_name_cannot_be_opened_again);
    return check_result();
}
