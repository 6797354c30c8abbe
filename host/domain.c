/* Starting, watching and ending a domain's machine. The control channel is in domain_control.c. */
#include "core_file.h"
#include "domain.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../abi/boot.h"
#include "child.h"
#include "qmp.h"

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

const struct stream_sizes domain_console_sizes = {.rx = 128u << 10, .tx = 4096};

/* A socket pair: ours goes into the stream, QEMU's is returned, or -errno. */
static int channel_open(struct domain *d, struct stream *s, const struct stream_sizes *sizes,
                        void (*ready)(struct watch *w, uint32_t events))
{
    int fd[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
        return -errno;
    int err = stream_open(s, d->loop, fd[0], sizes, ready);
    if (!err)
        return fd[1];
    close(fd[1]);
    return err;
}

void console_lines(struct domain *d)
{
    logfile_write(&d->kernel_log, stream_head(&d->console), stream_used(&d->console));
    stream_consume(&d->console, stream_used(&d->console));
    stream_commit(&d->console, NULL, 0);
}

/* Returns what stream_read() does. */
static ssize_t read_console(struct domain *d)
{
    ssize_t n = stream_read(&d->console);

    if (n > 0)
        console_lines(d);
    return n;
}

void console_ready(struct watch *w, uint32_t events)
{
    struct domain *d = (struct domain *)((char *)w - offsetof(struct domain, console));

    (void)events;
    if (read_console(d) < 0)
        stream_hang_up(&d->console);
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
        static const char error[] = "error: "; /* what the kernel says before it gives up */
        char *line = d->hello_ns ? NULL : last_line(d->dir, "qemu.log", NULL);
        char *says = d->hello_ns ? NULL : last_line(d->dir, "kernel.log", error);
        if (line)
            d->reason = xasprintf("the virtual machine did not start: %s", line);
        else if (says)
            d->reason =
                xasprintf("the kernel did not start: %s", strcasestr(says, error) + strlen(error));
        else if (WIFSIGNALED(wait_status))
            d->reason = xasprintf("QEMU was killed by signal %d", WTERMSIG(wait_status));
        else
            d->reason = xasprintf("the virtual machine ended unexpectedly (QEMU status %d)",
                                  WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
        free(line);
        free(says);
    }
}

void domain_release(struct domain *d)
{
    loop_timer_stop(d->loop, &d->deadline);
    if (d->end.fd >= 0) {
        loop_del(d->loop, &d->end);
        close(d->end.fd);
    }
    d->end.fd = -1;
    stream_close(&d->control);
    stream_close(&d->qmp);
    stream_close(&d->console);
    qmp_abort(d);
    for (size_t i = 0; i < d->forward_count; i++)
        vnet_unforward(d->vnet, d->forward_to, &d->forwards[i]);
    if (d->nic == VNET_SERVER)
        vnet_hold_server(d->vnet);
    else if (d->nic >= 0)
        vnet_disconnect(d->vnet, d->nic);
    d->nic = -1;
    if (d->nic_fd >= 0)
        close(d->nic_fd);
    d->nic_fd = -1;
    logfile_close(&d->output_log);
    logfile_close(&d->kernel_log);
}

/* What was said before the end still counts. */
static void hear_last_words(struct domain *d)
{
    while (read_console(d) > 0)
        ;
    do
        qmp_lines(d);
    while (stream_read(&d->qmp) > 0);
    while (stream_read(&d->control) > 0)
        if (control_parse(d))
            break;
}

/* QEMU has ended. Only when all have heard of it nothing of it is kept: a supervisor that dies
 * meanwhile leaves it to the next one to do all of this again. */
static void ended(struct watch *w, uint32_t events)
{
    struct domain *d = (struct domain *)((char *)w - offsetof(struct domain, end));
    int status;

    (void)events;
    if (!child_ended(d->pid, &status))
        return;
    hear_last_words(d);
    pid_t pid = d->pid;
    d->pid = 0;
    d->ended_ns = now_ns();
    judge(d, status);
    session_free_all(d);
    domain_release(d);
    d->event(d, DOMAIN_EV_ENDED, NULL);
    domain_unkeep(d);
    child_forget(pid);
}

int domain_watch_end(struct domain *d)
{
    int fd = (int)syscall(SYS_pidfd_open, d->pid, 0);

    d->end = (struct watch){.fd = fd, .events = EPOLLIN, .ready = ended};
    return fd < 0 ? -errno : loop_add(d->loop, &d->end);
}

void domain_deadline_passed(struct timer *t)
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
    /* The domain's own clock kills at grace_ms; only a domain that does not do that is quit. */
    loop_timer(d->loop, &d->deadline, grace_ms + 1000u);
    stream_put_u32(&d->control, CTL_SHUTDOWN, 0, grace_ms);
    control_flush(d);
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

void domain_take_nic(struct domain *d, struct domain *from)
{
    int fd = fcntl(d->nic_fd, F_DUPFD_CLOEXEC, 0);
    int err = fd < 0 ? -errno : vnet_connect(d->vnet, VNET_SERVER, fd);

    if (from)
        from->nic = -1;
    d->nic = err ? -1 : VNET_SERVER;
    if (err)
        domain_fail(d, "its NIC cannot be connected: %s", strerror(-err));
    domain_commit(d);
    if (from)
        domain_commit(from);
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

static int publish_ports(struct domain *d, char **error)
{
    for (size_t i = 0; i < d->forward_count; i++) {
        int err = vnet_forward(d->vnet, d->forward_to, &d->forwards[i]);
        if (err) {
            *error = forward_error(&d->forwards[i], err);
            return err;
        }
    }
    return 0;
}

/* Connects a NIC to the virtual switch, that of a server perhaps later. QEMU's end goes to *fd.
 * Returns 0 or -errno. */
static int open_nic(struct domain *d, const struct domain_spec *spec, int *fd)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    *fd = pair[1];
    if (!d->is_server) {
        int err = vnet_connect(d->vnet, spec->nic, pair[0]);
        d->nic = err ? -1 : spec->nic;
        return err;
    }
    d->nic_fd = pair[0];
    int err = domain_hold(d, DOMAIN_NIC, pair[0]);
    if (!err && !spec->nic_later)
        domain_take_nic(d, NULL);
    return err;
}

/* Opens the channels and starts QEMU. Returns 0 or -errno, perhaps with *error set. What is being
 * made is written down first, so that it can be undone if we die in the midst of it. */
static int launch(struct domain *d, const struct domain_spec *spec, const struct tap *tap,
                  char **error)
{
    struct qemu_config q = spec->qemu;
    char *log = xasprintf("%s/qemu.log", d->dir);
    int log_fd = open(
        log, O_WRONLY | O_CREAT | (spec->keep_logs ? 0 : O_TRUNC) | O_APPEND | O_CLOEXEC, 0600);
    int err = log_fd < 0 ? -errno : 0;

    free(log);
    q.name = d->name;
    q.mac = spec->mac;
    q.net0 = spec->net0;
    q.tap = tap;
    q.net_fd = -1;
    q.control_fd = channel_open(d, &d->control, &domain_control_sizes, control_ready);
    q.qmp_fd = channel_open(d, &d->qmp, &domain_qmp_sizes, qmp_ready);
    q.console_fd = channel_open(d, &d->console, &domain_console_sizes, console_ready);
    if (!err && (q.control_fd < 0 || q.qmp_fd < 0 || q.console_fd < 0))
        err = -EMFILE;
    if (!err)
        err = control_begin(d, &spec->exec);
    if (!err)
        err = domain_keep(d, spec);
    if (!err)
        err = publish_ports(d, error);
    if (!err && spec->nic >= 0)
        err = open_nic(d, spec, &q.net_fd);
    if (!err) {
        d->spawned_ns = now_ns();
        pid_t pid = qemu_spawn(&q, log_fd);
        err = pid < 0 ? (int)pid : 0;
        d->pid = pid < 0 ? 0 : pid;
        if (!err)
            err = domain_watch_end(d);
        domain_commit(d);
    }
    const int close_fds[] = {q.control_fd, q.qmp_fd, q.console_fd, q.net_fd, log_fd};
    for (size_t i = 0; i < ARRAY_SIZE(close_fds); i++)
        if (close_fds[i] >= 0)
            close(close_fds[i]);
    return err;
}

void domain_publish(struct domain *d)
{
    for (size_t i = 0; i < d->forward_count; i++) {
        int err = vnet_forward(d->vnet, d->forward_to, &d->forwards[i]);
        if (err)
            warn("%s: port %u: %s", d->name, d->forwards[i].host_port, strerror(-err));
    }
}

static void add_main_session(struct domain *d, const struct domain_spec *spec)
{
    struct session *s = xcalloc(1, sizeof(*s));

    *s = (struct session){.id = 1,
                          .in_credit = CTL_WINDOW,
                          .domain = d,
                          .listener = spec->listener,
                          .arg = spec->arg,
                          .peer = spec->peer};
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
    d->nic = -1;
    d->control.watch.fd = d->qmp.watch.fd = d->console.watch.fd = d->end.fd = -1;
    d->control.memfd = d->qmp.memfd = d->console.memfd = -1;
    d->output_log.fd = d->kernel_log.fd = d->nic_fd = -1;
    d->name = xstrdup(spec->name);
    d->program = xstrdup(spec->program);
    d->dir = xstrdup(spec->dir);
    d->id = spec->id;
    d->state_file = spec->state_file ? xstrdup(spec->state_file) : NULL;
    d->memory_mib = spec->qemu.memory_mib;
    d->cpus = spec->qemu.cpus;
    d->deadline.fire = domain_deadline_passed;
    d->started_ns = d->look.at_ns = now_ns();
    d->is_server = !spec->exec.program;
    d->lease = spec->lease;
    d->server = spec->server;
    d->role = spec->role;
    d->forward_to = spec->forward_to;
    d->forward_count = spec->forward_count;
    d->forwards = xcalloc(spec->forward_count, sizeof(*d->forwards));
    for (size_t i = 0; i < d->forward_count; i++)
        d->forwards[i] = spec->forwards[i];

    char *output = xasprintf("%s/output.log", d->dir), *kernel = xasprintf("%s/kernel.log", d->dir);
    int err = mkdir(d->dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
    if (!err)
        err = logfile_open(&d->kernel_log, kernel, spec->keep_logs);
    if (!err && !spec->keep_logs)
        core_file_remove(d->dir);
    if (!err && spec->exec.program)
        err = logfile_open(&d->output_log, output, false);
    free(output);
    free(kernel);
    if (spec->exec.program)
        add_main_session(d, spec);
    d->next_session = 2;
    loop_timer(loop, &d->deadline, BOOT_TIMEOUT_MS);
    if (!err)
        err = launch(d, spec, &tap, error);
    tap_close(&tap);
    if (err) {
        if (!*error)
            *error = xasprintf("cannot start the virtual machine: %s", strerror(-err));
        if (d->pid > 0)
            kill(d->pid, SIGKILL);
        domain_release(d);
        domain_unkeep(d);
        d->state = DOMAIN_FAILED;
        domain_free(d);
        return NULL;
    }
    return d;
}

void domain_free(struct domain *d)
{
    session_free_all(d);
    free(d->name);
    free(d->program);
    free(d->dir);
    free(d->state_file);
    free(d->forwards);
    free(d->reason);
    free(d);
}
