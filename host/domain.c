/* Starting, watching and ending a domain's machine. The control channel is in domain_control.c. */
#include "domain.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../abi/boot.h"

#define BOOT_TIMEOUT_MS 60000
#define QUIT_TIMEOUT_MS 2000 /* from QMP's quit to SIGKILL */
#define CONSOLE_CHUNK 65536
#define QEMU_PANIC_STATUS ((BOOT_EXIT_PANIC << 1) | 1)

void domain_note(const struct domain *d, const char *fmt, ...)
{
    char line[1024], *path = xasprintf("%s/kernel.log", d->dir);
    struct logfile log;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (!logfile_open(&log, path, true))
        logfile_write(&log, line, strlen(line));
    logfile_close(&log);
    free(path);
}

bool domain_is_live(const struct domain *d)
{
    return d->state < DOMAIN_EXITED;
}

const char *domain_state_name(enum domain_state s)
{
    static const char *const names[] = {"starting", "booted",   "running",
                                        "exited",   "panicked", "failed"};

    return names[s];
}

int exit_status(const struct ctl_exit *e)
{
    if (e->kind == CTL_EXIT_STATUS)
        return (int)(e->value & 0xff);
    if (e->kind == CTL_EXIT_SIGNAL)
        return STATUS_SIGNAL + (int)(e->value & 0x7f);
    return e->value == ENOENT ? STATUS_NOTFOUND : STATUS_CANNOT;
}

int domain_status(const struct domain *d)
{
    if (d->state == DOMAIN_EXITED && d->has_exit)
        return exit_status(&d->exit);
    if (d->state == DOMAIN_EXITED && d->is_server && d->powered_off)
        return 0;
    return d->state == DOMAIN_EXITED ? STATUS_SIGNAL + SIGKILL : STATUS_OURS;
}

/* ---- channels ---- */

void channel_close(struct channel *c)
{
    if (c->watch.fd >= 0) {
        loop_del(c->domain->loop, &c->watch);
        close(c->watch.fd);
    }
    c->watch.fd = -1;
    buf_free(&c->rx);
    buf_free(&c->tx);
}

ssize_t channel_read(struct channel *c)
{
    for (;;) {
        ssize_t n = recv(c->watch.fd, buf_reserve(&c->rx, CONSOLE_CHUNK), CONSOLE_CHUNK, 0);
        if (n > 0)
            c->rx.len += (size_t)n;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        return n > 0 ? n : n < 0 ? -errno : -EPIPE;
    }
}

void channel_flush(struct channel *c)
{
    while (c->watch.fd >= 0 && buf_used(&c->tx)) {
        ssize_t n = send(c->watch.fd, buf_head(&c->tx), buf_used(&c->tx), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* EAGAIN: later; gone: the pid says so soon */
        buf_consume(&c->tx, (size_t)n);
    }
    if (c->watch.fd >= 0)
        loop_want(c->domain->loop, &c->watch, EPOLLIN | (buf_used(&c->tx) ? EPOLLOUT : 0));
}

/* A socket pair: ours goes into the channel, QEMU's is returned, or -errno. */
static int channel_open(struct domain *d, struct channel *c,
                        void (*ready)(struct watch *w, uint32_t events))
{
    int fd[2];

    c->domain = d;
    c->watch = (struct watch){.fd = -1, .events = EPOLLIN, .ready = ready};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
        return -errno;
    set_nonblock(fd[0]);
    c->watch.fd = fd[0];
    int err = loop_add(d->loop, &c->watch);
    if (err) {
        close(fd[0]);
        close(fd[1]);
        c->watch.fd = -1;
        return err;
    }
    return fd[1];
}

static void console_ready(struct watch *w, uint32_t events)
{
    struct channel *c = (struct channel *)w;
    ssize_t n = channel_read(c);

    (void)events;
    if (n > 0)
        logfile_write(&c->domain->kernel_log, buf_head(&c->rx), buf_used(&c->rx));
    buf_consume(&c->rx, buf_used(&c->rx));
    if (n < 0)
        channel_close(c);
}

/* ---- the end ---- */

/* The last line of a log that has any text, or the last one that holds `word`. Owned; NULL if none.
 */
static char *last_line(const char *dir, const char *file, const char *word)
{
    char *path = xasprintf("%s/%s", dir, file), *text = logfile_tail(path, 16384), *found = NULL;
    char *save = NULL;

    for (char *l = strtok_r(text, "\r\n", &save); l; l = strtok_r(NULL, "\r\n", &save)) {
        bool before = starts_with(l, "---- "); /* that was another instance's */
        if (before || (l[strspn(l, " \t")] && (!word || (!found && strcasestr(l, word))))) {
            free(found); /* the first mention of a panic says why, the rest is the backtrace */
            found = before ? NULL : xstrdup(l);
        }
    }
    free(text);
    free(path);
    return found;
}

static void judge(struct domain *d, int wait_status)
{
    bool panic_exit = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == QEMU_PANIC_STATUS;

    if (d->panicked || panic_exit) {
        d->state = DOMAIN_PANICKED;
        if (!d->reason)
            d->reason = last_line(d->dir, "kernel.log", "panic");
        if (!d->reason)
            d->reason = xstrdup("the kernel panicked; `librettos logs --kernel` may tell more");
    } else if (d->reason) {
        d->state = DOMAIN_FAILED;
    } else if (d->has_exit || d->stopping) {
        d->state = DOMAIN_EXITED;
    } else {
        d->state = DOMAIN_FAILED;
        char *line = last_line(d->dir, "qemu.log", NULL);
        if (line && !d->hello_ns)
            d->reason = xasprintf("the virtual machine did not start: %s", line);
        else if (WIFSIGNALED(wait_status))
            d->reason = xasprintf("QEMU was killed by signal %d", WTERMSIG(wait_status));
        else
            d->reason = xasprintf("the virtual machine ended unexpectedly (QEMU status %d)",
                                  WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
        free(line);
    }
}

/* Gives everything back but the record. */
static void release(struct domain *d)
{
    loop_timer_stop(d->loop, &d->deadline);
    channel_close(&d->control);
    channel_close(&d->qmp);
    channel_close(&d->console);
    qmp_abort(d);
    for (size_t i = 0; i < d->forward_count; i++)
        vnet_unforward(d->vnet, &d->forwards[i]);
    if (d->port && d->is_server)
        vnet_hold_server(d->vnet);
    else if (d->port)
        vnet_disconnect(d->vnet, d->port);
    d->port = NULL;
    if (d->nic_fd >= 0)
        close(d->nic_fd);
    d->nic_fd = -1;
    logfile_close(&d->output_log);
    logfile_close(&d->kernel_log);
    buf_free(&d->exec);
}

void domain_reap(struct domain *d)
{
    int status = 0;

    if (d->pid <= 0 || waitpid(d->pid, &status, WNOHANG) != d->pid)
        return;
    d->pid = 0;
    /* What was said before the end still counts. */
    while (d->console.watch.fd >= 0 && d->console.domain) {
        ssize_t n = channel_read(&d->console);
        if (n <= 0)
            break;
        logfile_write(&d->kernel_log, buf_head(&d->console.rx), buf_used(&d->console.rx));
        buf_consume(&d->console.rx, buf_used(&d->console.rx));
    }
    while (d->qmp.watch.fd >= 0 && buf_used(&d->qmp.rx) < CTL_MAX_PAYLOAD) {
        size_t before = buf_used(&d->qmp.rx);
        qmp_ready(&d->qmp.watch, EPOLLIN);
        if (d->qmp.watch.fd < 0 || buf_used(&d->qmp.rx) == before)
            break;
    }
    while (d->control.watch.fd >= 0 && channel_read(&d->control) > 0)
        if (control_parse(d))
            break;
    d->ended_ns = now_ns();
    judge(d, status);
    session_free_all(d);
    release(d);
    d->event(d, DOMAIN_EV_ENDED, NULL);
}

static void deadline_passed(struct timer *t)
{
    struct domain *d = (struct domain *)((char *)t - offsetof(struct domain, deadline));

    if (!d->hello_ns && !d->stopping) {
        domain_fail(d, "the kernel did not come up within %d s; see `librettos logs --kernel %s`",
                    BOOT_TIMEOUT_MS / 1000, d->name);
    } else if (!d->killed) {
        d->killed = true;
        qmp_quit(d);
        loop_timer(d->loop, &d->deadline, QUIT_TIMEOUT_MS);
    } else {
        domain_kill(d);
    }
}

void domain_stop(struct domain *d, uint32_t grace_ms)
{
    if (!domain_is_live(d) || d->killed)
        return;
    d->stopping = true;
    if (!d->hello_ns) {
        domain_kill(d);
        return;
    }
    frame_put_u32(&d->control.tx, CTL_SHUTDOWN, 0, grace_ms);
    control_flush(d);
    /* The domain's own clock kills at grace_ms; only a domain that does not do that is quit. */
    loop_timer(d->loop, &d->deadline, grace_ms + 1000u);
}

void domain_kill(struct domain *d)
{
    d->killed = d->stopping = true;
    if (d->pid > 0)
        kill(d->pid, SIGKILL);
}

void domain_fail(struct domain *d, const char *fmt, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (!d->reason)
        d->reason = xstrdup(line);
    domain_kill(d);
}

/* ---- the start ---- */

/* Opens the channels and starts QEMU. Returns 0 or -errno. */
static int launch(struct domain *d, const struct domain_spec *spec, const struct tap *tap)
{
    struct qemu_config q = spec->qemu;
    char *log = xasprintf("%s/qemu.log", d->dir);
    int log_fd = open(
        log, O_WRONLY | O_CREAT | (spec->keep_logs ? 0 : O_TRUNC) | O_APPEND | O_CLOEXEC, 0600);
    int net[2] = {-1, -1}, err = log_fd < 0 ? -errno : 0;

    free(log);
    q.name = d->name;
    q.mac = spec->mac;
    q.net0 = spec->net0;
    q.tap = tap;
    q.control_fd = channel_open(d, &d->control, control_ready);
    q.qmp_fd = channel_open(d, &d->qmp, qmp_ready);
    q.console_fd = channel_open(d, &d->console, console_ready);
    if (!err && (q.control_fd < 0 || q.qmp_fd < 0 || q.console_fd < 0))
        err = -EMFILE;
    if (!err && spec->nic >= 0) {
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, net) < 0)
            err = -errno;
        else if (d->is_server)
            d->nic_fd = net[0];
        else
            d->port = vnet_connect(d->vnet, spec->nic, net[0], &err);
        if (!err && d->is_server && !spec->nic_later)
            domain_take_nic(d, NULL);
    }
    q.net_fd = net[1];
    if (!err) {
        d->spawned_ns = now_ns();
        pid_t pid = qemu_spawn(&q, log_fd);
        err = pid < 0 ? (int)pid : 0;
        d->pid = pid < 0 ? 0 : pid;
    }
    const int close_fds[] = {q.control_fd, q.qmp_fd, q.console_fd, net[1], log_fd};
    for (size_t i = 0; i < ARRAY_SIZE(close_fds); i++)
        if (close_fds[i] >= 0)
            close(close_fds[i]);
    return err;
}

void domain_take_nic(struct domain *d, struct domain *from)
{
    int err, fd = fcntl(d->nic_fd, F_DUPFD_CLOEXEC, 0);

    if (from)
        from->port = NULL;
    d->port = fd < 0 ? NULL : vnet_connect(d->vnet, VNET_SERVER, fd, &err);
    if (!d->port)
        domain_fail(d, "its NIC cannot be connected: %s", strerror(fd < 0 ? errno : -err));
}

static char *forward_error(const struct vnet_forward *f, int err)
{
    const char *kind = f->udp ? "/udp" : "";

    if (err == -EADDRINUSE)
        return xasprintf("port %u%s of %s is already taken; choose another with -p HOST:%u%s",
                         f->host_port, kind, f->host_ip, f->guest_port, kind);
    if (err == -EACCES)
        return xasprintf("port %u%s needs privileges; choose one above 1023 with -p HOST:%u%s",
                         f->host_port, kind, f->guest_port, kind);
    return xasprintf("cannot open port %u%s of %s: %s", f->host_port, kind, f->host_ip,
                     strerror(-err));
}

static int publish_ports(struct domain *d, const struct domain_spec *spec, char **error)
{
    d->forwards = xcalloc(spec->forward_count, sizeof(*d->forwards));
    for (size_t i = 0; i < spec->forward_count; i++) {
        int err = vnet_forward(d->vnet, spec->forward_to, &spec->forwards[i]);
        if (err) {
            *error = forward_error(&spec->forwards[i], err);
            return err;
        }
        d->forwards[d->forward_count++] = spec->forwards[i];
    }
    return 0;
}

static void add_main_session(struct domain *d, const struct domain_spec *spec)
{
    struct session *s = xcalloc(1, sizeof(*s));

    *s = (struct session){.id = 1,
                          .in_credit = CTL_WINDOW,
                          .domain = d,
                          .listener = spec->listener,
                          .arg = spec->arg};
    d->sessions = s;
}

struct domain *domain_start(struct loop *loop, struct vnet *vnet, const struct domain_spec *spec,
                            char **error)
{
    struct domain *d = xcalloc(1, sizeof(*d));
    struct tap tap = spec->tap;

    *error = NULL;
    d->loop = loop;
    d->vnet = vnet;
    d->control.watch.fd = d->qmp.watch.fd = d->console.watch.fd = -1;
    d->output_log.fd = d->kernel_log.fd = d->nic_fd = -1;
    d->name = xstrdup(spec->name);
    d->program = xstrdup(spec->program);
    d->dir = xstrdup(spec->dir);
    d->memory_mib = spec->qemu.memory_mib;
    d->cpus = spec->qemu.cpus;
    d->deadline.fire = deadline_passed;
    d->started_ns = d->look.at_ns = now_ns();
    d->is_server = !spec->exec.program;

    char *output = xasprintf("%s/output.log", d->dir), *kernel = xasprintf("%s/kernel.log", d->dir);
    int err = mkdir(d->dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
    if (!err)
        err = logfile_open(&d->kernel_log, kernel, spec->keep_logs);
    if (!err && spec->exec.program)
        err = logfile_open(&d->output_log, output, false);
    free(output);
    free(kernel);
    if (!err && spec->exec.program && frame_put_exec(&d->exec, 1, &spec->exec)) {
        *error = xstrdup("the arguments and the environment are too long (64 KiB in all)");
        err = -E2BIG;
    }
    if (!err)
        err = publish_ports(d, spec, error);
    if (!err)
        err = launch(d, spec, &tap);
    tap_close(&tap);
    if (err) {
        if (!*error)
            *error = xasprintf("cannot start the virtual machine: %s", strerror(-err));
        release(d);
        d->state = DOMAIN_FAILED;
        domain_free(d);
        return NULL;
    }
    if (spec->exec.program)
        add_main_session(d, spec);
    d->next_session = 2;
    loop_timer(loop, &d->deadline, BOOT_TIMEOUT_MS);
    return d;
}

void domain_free(struct domain *d)
{
    session_free_all(d);
    free(d->name);
    free(d->program);
    free(d->dir);
    free(d->forwards);
    free(d->reason);
    free(d);
}
