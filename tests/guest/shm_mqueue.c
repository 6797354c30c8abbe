/* POSIX message queues. */
#define _GNU_SOURCE
#include <mqueue.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "child.h"

static char name[32];
static mqd_t q;

static void open_queue(int flags, long count, long size)
{
    struct mq_attr a = {.mq_maxmsg = count, .mq_msgsize = size};
    q = mq_open(name, O_RDWR | O_CREAT | O_EXCL | flags, 0600, &a);
    CHECK(q != -1);
}

static void drop_queue(void)
{
    CHECK(mq_close(q) == 0 && mq_unlink(name) == 0);
}

static void names_are_checked(void)
{
    struct mq_attr zero = {.mq_maxmsg = 0, .mq_msgsize = 10};
    struct mq_attr long_ones = {.mq_maxmsg = 10, .mq_msgsize = -1};
    CHECK_ERRNO(mq_open(name, O_RDWR), ENOENT);
    CHECK_ERRNO(mq_unlink(name), ENOENT);
    CHECK_ERRNO(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, NULL), EACCES);
    CHECK_ERRNO(syscall(SYS_mq_open, 8, O_RDWR, 0, NULL), EFAULT);
    CHECK_ERRNO(mq_open(name, O_RDWR | O_CREAT, 0600, &zero), EINVAL);
    CHECK_ERRNO(mq_open(name, O_RDWR | O_CREAT, 0600, &long_ones), EINVAL);
    open_queue(0, 2, 16);
    CHECK_ERRNO(mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, NULL), EEXIST);
    mqd_t again = mq_open(name, O_RDONLY);
    CHECK(again != -1 && mq_close(again) == 0);
    drop_queue();
    CHECK_ERRNO(mq_open(name, O_RDWR), ENOENT);
}

static void priorities_come_first(void)
{
    char buf[16];
    unsigned prio;
    open_queue(0, 5, 16);
    CHECK(mq_send(q, "a1", 3, 1) == 0 && mq_send(q, "b5", 3, 5) == 0);
    CHECK(mq_send(q, "c1", 3, 1) == 0 && mq_send(q, "d5", 3, 5) == 0 && mq_send(q, "", 0, 0) == 0);
    CHECK(mq_receive(q, buf, 16, &prio) == 3 && prio == 5 && !strcmp(buf, "b5"));
    CHECK(mq_receive(q, buf, 16, NULL) == 3 && !strcmp(buf, "d5"));
    CHECK(mq_receive(q, buf, 16, &prio) == 3 && prio == 1 && !strcmp(buf, "a1"));
    CHECK(mq_receive(q, buf, 16, &prio) == 3 && !strcmp(buf, "c1"));
    CHECK(mq_receive(q, buf, 16, &prio) == 0 && prio == 0);
    drop_queue();
}

static void messages_are_checked(void)
{
    char buf[16];
    open_queue(O_NONBLOCK, 2, 16);
    CHECK_ERRNO(mq_receive(q, buf, 16, NULL), EAGAIN);
    CHECK_ERRNO(mq_receive(q, buf, 15, NULL), EMSGSIZE);
    CHECK_ERRNO(mq_send(q, "0123456789abcdef!", 17, 0), EMSGSIZE);
    CHECK_ERRNO(mq_send(q, "x", 1, 32768), EINVAL);
    CHECK_ERRNO(mq_send(0, "x", 1, 0), EBADF);
    CHECK_ERRNO(syscall(SYS_mq_timedsend, q, 8, 4, 0, NULL), EFAULT);
    CHECK(mq_send(q, "x", 1, 0) == 0 && mq_send(q, "x", 1, 0) == 0);
    CHECK_ERRNO(mq_send(q, "x", 1, 0), EAGAIN);
    mqd_t reader = mq_open(name, O_RDONLY), writer = mq_open(name, O_WRONLY);
    CHECK_ERRNO(mq_send(reader, "x", 1, 0), EBADF);
    CHECK_ERRNO(mq_receive(writer, buf, 16, NULL), EBADF);
    mq_close(reader);
    mq_close(writer);
    drop_queue();
}

static void waits_have_a_limit(void)
{
    char buf[16];
    struct timespec t, bad = {0, 1000000000}, past = {1, 0};
    open_queue(0, 1, 16);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec++;
    CHECK_ERRNO(mq_timedreceive(q, buf, 16, NULL, &past), ETIMEDOUT);
    CHECK_ERRNO(mq_timedreceive(q, buf, 16, NULL, &bad), EINVAL);
    CHECK_ERRNO(mq_timedreceive(q, buf, 16, NULL, &t), ETIMEDOUT);
    CHECK(mq_timedsend(q, "x", 1, 0, &past) == 0); /* need not wait */
    CHECK_ERRNO(mq_timedsend(q, "x", 1, 0, &past), ETIMEDOUT);
    drop_queue();
}

static void receive_in_child(void)
{
    char buf[16];
    CHECK(mq_receive(q, buf, 16, NULL) == 5 && !memcmp(buf, "hello", 5));
}

static void send_in_child(void)
{
    CHECK(mq_send(q, "more", 4, 0) == 0);
}

static void both_sides_wait(void)
{
    char buf[16];
    open_queue(0, 1, 16);
    pid_t pid = child_start(receive_in_child);
    until_asleep(pid);
    CHECK(mq_send(q, "hello", 5, 0) == 0 && child_status(pid) == 0);
    CHECK(mq_send(q, "full", 4, 0) == 0);
    pid = child_start(send_in_child);
    until_asleep(pid);
    CHECK(mq_receive(q, buf, 16, NULL) == 4 && child_status(pid) == 0);
    CHECK(mq_receive(q, buf, 16, NULL) == 4 && !memcmp(buf, "more", 4));
    drop_queue();
}

static void attributes_are_told(void)
{
    struct mq_attr a, nonblock = {.mq_flags = O_NONBLOCK}, bad = {.mq_flags = 1};
    open_queue(0, 3, 40);
    CHECK(mq_send(q, "x", 1, 0) == 0 && mq_getattr(q, &a) == 0);
    CHECK(a.mq_maxmsg == 3 && a.mq_msgsize == 40 && a.mq_curmsgs == 1 && a.mq_flags == 0);
    CHECK(mq_setattr(q, &nonblock, &a) == 0 && a.mq_flags == 0);
    CHECK(mq_getattr(q, &a) == 0 && a.mq_flags == O_NONBLOCK && a.mq_maxmsg == 3);
    CHECK_ERRNO(mq_setattr(q, &bad, NULL), EINVAL);
    CHECK_ERRNO(mq_getattr(0, &a), EBADF);
    drop_queue();
}

static void reading_describes_the_queue(void)
{
    char text[200] = "";
    unsigned long size = 0;
    open_queue(0, 3, 16);
    CHECK(mq_send(q, "12345", 5, 0) == 0);
    CHECK(read(q, text, sizeof(text) - 1) > 0 && sscanf(text, "QSIZE:%lu", &size) == 1);
    CHECK(size >= 5 && strstr(text, "NOTIFY_PID:0") && read(q, text, sizeof(text)) == 0);
    drop_queue();
}

static void queues_can_be_polled(void)
{
    char buf[16];
    open_queue(0, 1, 16);
    struct pollfd p = {.fd = q, .events = POLLIN | POLLOUT};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLOUT);
    CHECK(mq_send(q, "x", 1, 0) == 0 && poll(&p, 1, 0) == 1 && p.revents == POLLIN);
    CHECK(mq_receive(q, buf, 16, NULL) == 1);
    drop_queue();
}

static volatile int told, told_code, told_value;

static void on_message(int signo, siginfo_t *si, void *uc)
{
    (void)signo;
    (void)uc;
    told++;
    told_code = si->si_code;
    told_value = si->si_value.sival_int;
}

static void a_first_message_is_told_once(void)
{
    struct sigaction sa = {.sa_sigaction = on_message, .sa_flags = SA_SIGINFO};
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1}, bad = ev;
    char buf[16];
    ev.sigev_value.sival_int = 55;
    bad.sigev_signo = 65;
    sigaction(SIGUSR1, &sa, NULL);
    open_queue(0, 3, 16);
    CHECK_ERRNO(mq_notify(q, &bad), EINVAL);
    CHECK(mq_notify(q, &ev) == 0);
    CHECK_ERRNO(mq_notify(q, &ev), EBUSY);
    CHECK(mq_send(q, "x", 1, 0) == 0 && told == 1 && told_code == SI_MESGQ && told_value == 55);
    CHECK(mq_notify(q, &ev) == 0 && mq_send(q, "y", 1, 0) == 0 && told == 1); /* was not empty */
    CHECK(mq_notify(q, NULL) == 0 && mq_notify(q, NULL) == 0);
    CHECK(mq_receive(q, buf, 16, NULL) == 1 && mq_receive(q, buf, 16, NULL) == 1);
    CHECK(mq_send(q, "z", 1, 0) == 0 && told == 1);
    drop_queue();
    signal(SIGUSR1, SIG_DFL);
}

static void stranger(void)
{
    CHECK(setresgid(7000, 7000, 7000) == 0 && setresuid(7000, 7000, 7000) == 0);
    CHECK_ERRNO(mq_open(name, O_RDWR), EACCES);
    mqd_t reader = mq_open(name, O_RDONLY); /* 0604 */
    CHECK(reader != -1);
    CHECK_ERRNO(syscall(SYS_mq_unlink, name + 1), EPERM); /* glibc makes it EACCES */
    struct mq_attr many = {.mq_maxmsg = 11, .mq_msgsize = 8};
    CHECK_ERRNO(mq_open("/lp-other", O_RDWR | O_CREAT, 0600, &many), EINVAL);
}

static void modes_keep_strangers_out(void)
{
    umask(0);
    q = mq_open(name, O_RDWR | O_CREAT, 0604, NULL);
    CHECK(q != -1 && in_child(stranger) == 0);
    drop_queue();
}

static void unlinked_queues_go_on(void)
{
    char buf[16];
    open_queue(0, 1, 16);
    CHECK(mq_unlink(name) == 0 && mq_send(q, "x", 1, 0) == 0);
    CHECK(mq_receive(q, buf, 16, NULL) == 1 && mq_close(q) == 0);
}

int main(void)
{
    snprintf(name, sizeof(name), "/lp-%d", getpid());
    CASE(names_are_checked);
    CASE(priorities_come_first);
    CASE(messages_are_checked);
    CASE(waits_have_a_limit);
    CASE(both_sides_wait);
    CASE(attributes_are_told);
    CASE(reading_describes_the_queue);
    CASE(queues_can_be_polled);
    CASE(a_first_message_is_told_once);
    CASE(modes_keep_strangers_out);
    CASE(unlinked_queues_go_on);
    return check_result();
}
