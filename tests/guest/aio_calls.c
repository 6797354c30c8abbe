/* Native asynchronous I/O: io_setup, io_submit, io_getevents and their kin. */
#define _GNU_SOURCE
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "child.h"

static aio_context_t context;

static long setup(unsigned size, aio_context_t *id)
{
    return syscall(SYS_io_setup, size, id);
}
static long destroy(aio_context_t id)
{
    return syscall(SYS_io_destroy, id);
}
static long submit(long n, struct iocb **r)
{
    return syscall(SYS_io_submit, context, n, r);
}
static long events(long min, long max, struct io_event *e, struct timespec *t)
{
    return syscall(SYS_io_getevents, context, min, max, e, t);
}

static struct iocb request(int op, int fd, const void *buf, size_t n, int64_t pos)
{
    return (struct iocb){.aio_lio_opcode = (uint16_t)op,
                         .aio_fildes = (uint32_t)fd,
                         .aio_buf = (uintptr_t)buf,
                         .aio_nbytes = n,
                         .aio_offset = pos,
                         .aio_data = 7};
}

/* Submits one request and takes its outcome. */
static int64_t outcome(struct iocb r)
{
    struct iocb *list[] = {&r};
    struct io_event e;
    CHECK(submit(1, list) == 1);
    CHECK(events(1, 1, &e, NULL) == 1);
    CHECK(e.obj == (uintptr_t)&r && e.data == 7 && e.res2 == 0);
    return e.res;
}

/* The errno of submitting it alone, or 0. */
static int refusal(struct iocb r)
{
    struct iocb *list[] = {&r};
    return submit(1, list) == -1 ? errno : 0;
}

static int scratch_file(void)
{
    int fd = open("scratch", O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    return fd;
}

static void requests_move_data(void)
{
    char in[8] = "", more[8] = "";
    int fd = scratch_file();
    CHECK(outcome(request(IOCB_CMD_PWRITE, fd, "abcdefgh", 8, 4)) == 8);
    CHECK(outcome(request(IOCB_CMD_PREAD, fd, in, 8, 6)) == 6 && !memcmp(in, "cdefgh", 6));
    CHECK(outcome(request(IOCB_CMD_PREAD, fd, in, 8, 100)) == 0);
    struct iovec v[] = {{in, 3}, {more, 4}};
    CHECK(outcome(request(IOCB_CMD_PREADV, fd, v, 2, 4)) == 7);
    CHECK(!memcmp(in, "abc", 3) && !memcmp(more, "defg", 4));
    CHECK(outcome(request(IOCB_CMD_PWRITEV, fd, v, 2, 0)) == 7);
    CHECK(outcome(request(IOCB_CMD_FSYNC, fd, NULL, 0, 0)) == 0);
    CHECK(outcome(request(IOCB_CMD_FDSYNC, fd, NULL, 0, 0)) == 0);
    CHECK(lseek(fd, 0, SEEK_CUR) == 0); /* not moved */
    close(fd);
}

static void many_at_once(void)
{
    enum { N = 32 };
    struct iocb r[N], *list[N];
    struct io_event e[N];
    char buf[N];
    unsigned seen = 0;
    int fd = scratch_file();
    CHECK(write(fd, "0123456789abcdef0123456789abcdef", N) == N);
    for (int i = 0; i < N; i++) {
        r[i] = request(IOCB_CMD_PREAD, fd, &buf[i], 1, i);
        r[i].aio_data = (uint64_t)i;
        list[i] = &r[i];
    }
    CHECK(submit(N, list) == N);
    for (long got = 0; got < N;) {
        long n = events(1, 7, e, NULL);
        CHECK(n >= 1 && n <= 7);
        for (long i = 0; i < n; i++) {
            CHECK(e[i].res == 1 && e[i].obj == (uintptr_t)&r[e[i].data]);
            seen |= 1u << e[i].data;
        }
        got += n;
    }
    CHECK(seen == ~0u && !memcmp(buf, "0123456789abcdef0123456789abcdef", N));
    close(fd);
}

static void an_eventfd_is_told(void)
{
    int fd = scratch_file(), ev = eventfd(0, EFD_NONBLOCK);
    uint64_t count;
    struct io_event e[3];
    struct iocb r = request(IOCB_CMD_PWRITE, fd, "x", 1, 0), *list[] = {&r, &r, &r};
    r.aio_flags = IOCB_FLAG_RESFD;
    r.aio_resfd = (uint32_t)ev;
    CHECK(submit(3, list) == 3);
    struct pollfd p = {ev, POLLIN, 0};
    CHECK(poll(&p, 1, 5000) == 1 && events(3, 3, e, NULL) == 3);
    CHECK(read(ev, &count, 8) == 8 && count == 3);
    r.aio_resfd = (uint32_t)fd;
    CHECK(refusal(r) == EINVAL);
    r.aio_resfd = 999;
    CHECK(refusal(r) == EBADF);
    close(ev);
    close(fd);
}

static void streams_have_no_position(void)
{
    int p[2];
    char in[8] = "";
    CHECK(pipe(p) == 0);
    CHECK(outcome(request(IOCB_CMD_PWRITE, p[1], "pipe", 4, 0)) == 4);
    CHECK(outcome(request(IOCB_CMD_PREAD, p[0], in, 8, 0)) == 4 && !memcmp(in, "pipe", 4));
    close(p[0]);
    close(p[1]);
}

static void requests_are_checked(void)
{
    char c;
    int fd = scratch_file(), reads = open("scratch", O_RDONLY), folder = open(".", O_RDONLY);
    struct iocb good = request(IOCB_CMD_PWRITE, fd, "x", 1, 0), bad = good;
    CHECK(refusal(request(99, fd, &c, 1, 0)) == EINVAL);
    CHECK(refusal(request(IOCB_CMD_PREAD, 999, &c, 1, 0)) == EBADF);
    CHECK(refusal(request(IOCB_CMD_PWRITE, reads, &c, 1, 0)) == EBADF);
    CHECK(refusal(request(IOCB_CMD_PREAD, folder, &c, 1, 0)) == EINVAL);
    CHECK(refusal(request(IOCB_CMD_PREAD, fd, &c, 1, -1)) == EINVAL);
    CHECK(refusal(request(IOCB_CMD_PREAD, fd, &c, SIZE_MAX, 0)) == EINVAL);
    CHECK(refusal(request(IOCB_CMD_PREAD, fd, (void *)~0xffful, 1, 0)) == EFAULT);
    CHECK(refusal(request(IOCB_CMD_FSYNC, fd, NULL, 1, 0)) == EINVAL);
    bad.aio_reserved2 = 1;
    CHECK(refusal(bad) == EINVAL);
    struct iocb *list[] = {&good, &good, &bad, &good};
    struct io_event e[4];
    CHECK(submit(4, list) == 2); /* up to the bad one */
    CHECK(events(2, 4, e, NULL) == 2);
    list[0] = (void *)8;
    CHECK_ERRNO(submit(1, list), EFAULT);
    CHECK_ERRNO(submit(1, (void *)8), EFAULT);
    CHECK_ERRNO(submit(-1, list), EINVAL);
    CHECK(submit(0, list) == 0);
    close(folder);
    close(reads);
    close(fd);
}

static void a_bad_buffer_is_an_outcome(void)
{
    int fd = scratch_file();
    void *none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(write(fd, "data", 4) == 4);
    CHECK(outcome(request(IOCB_CMD_PREAD, fd, none, 4, 0)) == -EFAULT);
    struct iocb r = request(IOCB_CMD_PWRITE, fd, "x", 1, 0), *list[] = {&r};
    struct io_event e;
    CHECK(submit(1, list) == 1);
    CHECK_ERRNO(events(1, 1, none, NULL), EFAULT);
    CHECK(events(1, 1, &e, NULL) == 1); /* and it is not lost by that */
    munmap(none, 4096);
    close(fd);
}

static void on_alarm(int signo)
{
    (void)signo;
}

static void waiting_ends(void)
{
    struct io_event e;
    struct timespec zero = {0, 0}, some = {0, 20000000};
    CHECK(events(1, 1, &e, &zero) == 0);
    CHECK(events(1, 1, &e, &some) == 0);
    CHECK(events(0, 1, &e, NULL) == 0);
    CHECK_ERRNO(events(2, 1, &e, &zero), EINVAL);
    CHECK_ERRNO(events(-1, 1, &e, &zero), EINVAL);
    struct sigaction sa = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &sa, NULL);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        until_asleep(parent);
        kill(parent, SIGALRM);
        _exit(0);
    }
    CHECK_ERRNO(events(1, 1, &e, NULL), EINTR);
    CHECK(child_status(pid) == 0);
}

static void a_mask_for_the_wait(void)
{
    struct io_event e;
    sigset_t blocked, old, none;
    struct sigaction sa = {.sa_handler = on_alarm};
    sigaction(SIGALRM, &sa, NULL);
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    sigprocmask(SIG_BLOCK, &blocked, &old);
    raise(SIGALRM);
    struct {
        sigset_t *mask;
        size_t size;
    } arg = {&none, 8};
    CHECK_ERRNO(syscall(SYS_io_pgetevents, context, 1, 1, &e, NULL, &arg), EINTR);
    arg.size = 4;
    CHECK_ERRNO(syscall(SYS_io_pgetevents, context, 1, 1, &e, NULL, &arg), EINVAL);
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void *submit_later(void *arg)
{
    struct iocb *list[] = {arg};
    usleep(20000);
    return (void *)submit(1, list);
}

static void threads_share_a_context(void)
{
    pthread_t t;
    struct io_event e;
    void *submitted;
    int fd = scratch_file();
    struct iocb r = request(IOCB_CMD_PWRITE, fd, "thread", 6, 0);
    CHECK(!pthread_create(&t, NULL, submit_later, &r));
    CHECK(events(1, 1, &e, NULL) == 1 && e.res == 6);
    CHECK(!pthread_join(t, &submitted) && submitted == (void *)1);
    close(fd);
}

static void in_the_child(void)
{
    struct io_event e;
    struct timespec zero = {0, 0};
    CHECK_ERRNO(events(0, 1, &e, &zero), EINVAL);
    CHECK_ERRNO(destroy(context), EINVAL);
}

static void contexts_begin_and_end(void)
{
    aio_context_t id = 0, used = 1;
    CHECK_ERRNO(setup(0, &id), EINVAL);
    CHECK_ERRNO(setup(8, &used), EINVAL);
    CHECK_ERRNO(setup(8, NULL), EFAULT);
    CHECK_ERRNO(setup(0x7fffffff, &id), EINVAL);
    CHECK_ERRNO(setup(70000000 / 32, &id), EAGAIN);
    CHECK(setup(8, &id) == 0 && id && id != context);
    CHECK(destroy(id) == 0);
    CHECK_ERRNO(destroy(id), EINVAL);
    CHECK_ERRNO(destroy(0), EINVAL);
    CHECK(in_child(in_the_child) == 0); /* they are not inherited */
    struct iocb r = request(IOCB_CMD_PREAD, 0, NULL, 0, 0);
    struct io_event e;
    CHECK_ERRNO(syscall(SYS_io_cancel, context, &r, &e), EINVAL);
}

int main(void)
{
    own_directory();
    if (setup(64, &context)) {
        perror("io_setup");
        return 1;
    }
    CASE(requests_move_data);
    CASE(many_at_once);
    CASE(an_eventfd_is_told);
    CASE(streams_have_no_position);
    CASE(requests_are_checked);
    CASE(a_bad_buffer_is_an_outcome);
    CASE(waiting_ends);
    CASE(a_mask_for_the_wait);
    CASE(threads_share_a_context);
    CASE(contexts_begin_and_end);
    return check_result();
}
