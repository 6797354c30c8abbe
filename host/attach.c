/*
 * The command's end of a program's stream: standard input to IN frames, OUT and ERR to standard
 * output and error, terminal signals to the program. Data waits in pipes and in the program, never
 * here: what was written out is what is credited back.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"

#define STOP_GRACE_MS 10000  /* for SIGTERM, SIGHUP */
#define INSIST_GRACE_MS 3000 /* for the second Ctrl-C, and a first one that has no effect */
#define INT_TIMEOUT_NS 10000000000ull
#define LEAVE_TIMEOUT_NS 1000000000ull

struct stream {
    struct attach *a;
    struct buf rx, tx;
    int signal_fd;
    uint32_t in_credit, out_credit; /* out: written, not credited yet */
    bool stdin_open, stdout_closed, done;
    int interrupts;
    uint64_t interrupt_deadline, leave_deadline;
    struct termios saved;
    bool raw;
};

static void send_window(struct stream *s)
{
    struct winsize ws;
    uint16_t size[2];

    if (!s->a->tty || ioctl(STDIN_FILENO, TIOCGWINSZ, &ws) < 0)
        return;
    size[0] = ws.ws_row;
    size[1] = ws.ws_col;
    frame_put(&s->tx, CTL_WINSIZE, 0, size, sizeof(size));
}

static void shut_down(struct stream *s, uint32_t grace_ms)
{
    frame_put_u32(&s->tx, CTL_SHUTDOWN, 0, grace_ms);
}

static void on_signal(struct stream *s, uint32_t signo)
{
    if (signo == SIGWINCH) {
        send_window(s);
        return;
    }
    if (!s->a->owns_domain) {
        /* The program may be deaf, or the domain stuck: then we leave without it. */
        frame_put_u32(&s->tx, CTL_SIGNAL, 0, signo);
        if (signo != SIGQUIT && (signo != SIGINT || ++s->interrupts == 3))
            s->leave_deadline = now_ns() + LEAVE_TIMEOUT_NS;
        return;
    }
    if (signo == SIGQUIT) {
        frame_put_u32(&s->tx, CTL_SIGNAL, 0, signo);
    } else if (signo != SIGINT) {
        shut_down(s, STOP_GRACE_MS);
    } else if (s->interrupts++ == 0) {
        frame_put_u32(&s->tx, CTL_SIGNAL, 0, SIGINT);
        s->interrupt_deadline = now_ns() + INT_TIMEOUT_NS;
    } else if (s->interrupts == 2) {
        shut_down(s, INSIST_GRACE_MS);
    } else {
        shut_down(s, 0);
    }
}

static void read_signals(struct stream *s)
{
    struct signalfd_siginfo si;

    while (read(s->signal_fd, &si, sizeof(si)) == sizeof(si))
        on_signal(s, si.ssi_signo);
}

static void read_stdin(struct stream *s)
{
    uint8_t data[16384];
    size_t want = s->in_credit < sizeof(data) ? s->in_credit : sizeof(data);
    ssize_t n = read(STDIN_FILENO, data, want);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n <= 0) {
        s->stdin_open = false;
        n = 0;
    }
    s->in_credit -= (uint32_t)n;
    frame_put(&s->tx, CTL_IN, 0, data, (size_t)n);
}

/*
 * Writes output. Nobody reads ours any more: the program gets the SIGPIPE that it would get if it
 * wrote there itself, and what it writes all the same is dropped. Returns 0 or -errno.
 */
static int write_output(struct stream *s, int fd, const struct frame *f)
{
    int err = 0;

    if (!s->stdout_closed && s->a->output)
        err = s->a->output(s->a, f->payload, f->length);
    else if (!s->stdout_closed)
        err = write_all(fd, f->payload, f->length);
    if (err != -EPIPE)
        return err;
    s->stdout_closed = true;
    frame_put_u32(&s->tx, CTL_SIGNAL, 0, SIGPIPE);
    return 0;
}

/* Returns 0, or -errno of the write to our own standard output. */
static int on_frame(struct stream *s, const struct frame *f)
{
    struct attach *a = s->a;
    uint32_t v;

    switch (f->type) {
    case CTL_OUT:
    case CTL_ERR:
        s->out_credit += f->length;
        return write_output(s, f->type == CTL_OUT ? STDOUT_FILENO : STDERR_FILENO, f);
    case CTL_CREDIT:
        if (!frame_u32(f, &v))
            s->in_credit += v;
        return 0;
    case CTL_EXIT:
        if (f->length == sizeof(a->exit)) {
            memcpy(&a->exit, f->payload, sizeof(a->exit));
            a->has_exit = true;
        }
        s->stdin_open = false;
        return 0;
    case HOST_REPLY:
        a->reply = json_loadb((const char *)f->payload, f->length, 0, NULL);
        s->done = true;
        return 0;
    case HOST_EVENT: {
        json_t *event = json_loadb((const char *)f->payload, f->length, 0, NULL);
        if (event && a->event && a->event(a, event))
            s->done = true;
        json_decref(event);
        return 0;
    }
    default:
        return 0;
    }
}

/* Reads from the supervisor. Returns 0, -EPIPE when it went away, or another -errno. */
static int read_supervisor(struct stream *s)
{
    struct frame f;
    int err = 0;
    ssize_t n = recv(s->a->fd, buf_reserve(&s->rx, 65536), 65536, MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n <= 0)
        return -EPIPE;
    s->rx.len += (size_t)n;
    while (!s->done && (err = frame_next(&s->rx, &f)) > 0)
        if ((err = on_frame(s, &f)))
            return err;
    if (s->out_credit)
        frame_put_u32(&s->tx, CTL_CREDIT, 0, s->out_credit);
    s->out_credit = 0;
    return err < 0 ? err : 0;
}

static void flush(struct stream *s)
{
    while (buf_used(&s->tx)) {
        ssize_t n = send(s->a->fd, buf_head(&s->tx), buf_used(&s->tx), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0)
            return;
        buf_consume(&s->tx, (size_t)n);
    }
}

/* A background job must not touch the terminal: the shell would stop it. */
static bool may_read_stdin(void)
{
    return !isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) == getpgrp();
}

static int check_deadlines(struct stream *s)
{
    uint64_t now = now_ns();

    if (s->leave_deadline && now >= s->leave_deadline)
        return -EINTR;
    if (s->interrupt_deadline && now >= s->interrupt_deadline) {
        s->interrupt_deadline = 0;
        if (s->interrupts == 1)
            shut_down(s, INSIST_GRACE_MS);
    }
    if (s->a->wait_until_ns && now >= s->a->wait_until_ns) {
        s->a->wait_until_ns = 0;
        if (s->a->timeout && s->a->timeout(s->a))
            s->done = true;
    }
    return 0;
}

static int poll_timeout(const struct stream *s)
{
    uint64_t at = s->a->wait_until_ns, now = now_ns();

    if (s->interrupt_deadline && (!at || s->interrupt_deadline < at))
        at = s->interrupt_deadline;
    if (s->leave_deadline && (!at || s->leave_deadline < at))
        at = s->leave_deadline;
    if (!at)
        return -1;
    return at > now ? (int)((at - now) / 1000000) + 1 : 0;
}

static int stream_loop(struct stream *s)
{
    int err = 0;

    while (!s->done && !err) {
        bool in = s->stdin_open && s->in_credit && !buf_used(&s->tx) && may_read_stdin();
        struct pollfd p[] = {
            {.fd = s->a->fd, .events = (short)(POLLIN | (buf_used(&s->tx) ? POLLOUT : 0))},
            {.fd = s->signal_fd, .events = POLLIN},
            {.fd = in ? STDIN_FILENO : -1, .events = POLLIN},
        };
        if (poll(p, ARRAY_SIZE(p), poll_timeout(s)) < 0 && errno != EINTR)
            return -errno;
        if (p[1].revents)
            read_signals(s);
        if (p[2].revents)
            read_stdin(s);
        if (p[0].revents)
            err = read_supervisor(s);
        if (!err && !s->done)
            err = check_deadlines(s);
        flush(s);
    }
    return err;
}

static void set_raw(struct stream *s)
{
    struct termios raw;

    if (!s->a->tty || tcgetattr(STDIN_FILENO, &s->saved) < 0)
        return;
    raw = s->saved;
    cfmakeraw(&raw);
    s->raw = !tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

int attach_run(struct attach *a)
{
    struct stream s = {.a = a, .in_credit = CTL_WINDOW, .stdin_open = a->with_stdin};
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH};
    sigset_t set, old;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
        sigaddset(&set, caught[i]);
    sigprocmask(SIG_BLOCK, &set, &old);
    signal(SIGPIPE, SIG_IGN);
    s.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    set_raw(&s);
    send_window(&s);
    int err = stream_loop(&s);
    if (s.raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &s.saved);
    if (s.signal_fd >= 0)
        close(s.signal_fd);
    sigprocmask(SIG_SETMASK, &old, NULL);
    if (err == -EPIPE && !a->reply)
        warn("the connection to the supervisor broke");
    else if (err == -EINTR)
        warn("the program does not react; left it");
    else if (err)
        warn("%s", strerror(-err));
    buf_free(&s.rx);
    buf_free(&s.tx);
    return err ? STATUS_OURS : 0;
}
