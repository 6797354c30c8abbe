/* The supervisor's process: its sockets, its clients' connections, its beginning and end. */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dirs.h"
#include "lease.h"
#include "records.h"

#define LINGER_MS 30000
#define READ_CHUNK 65536
#define CLIENT_TX_MAX (16u << 20)

/* ---- connections ---- */

static void client_close(struct client *c)
{
    struct client **p = &c->sv->clients;

    while (*p && *p != c)
        p = &(*p)->next;
    if (*p)
        *p = c->next;
    loop_del(&c->sv->loop, &c->watch);
    close(c->watch.fd);
    client_gone(c);
    supervisor_check_idle(c->sv);
    buf_free(&c->rx);
    buf_free(&c->tx);
    free(c);
}

void client_flush(struct client *c)
{
    while (buf_used(&c->tx)) {
        ssize_t n = send(c->watch.fd, buf_head(&c->tx), buf_used(&c->tx), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        buf_consume(&c->tx, (size_t)n);
    }
    loop_want(&c->sv->loop, &c->watch, EPOLLIN | (buf_used(&c->tx) ? EPOLLOUT : 0));
}

static void client_ready(struct watch *w, uint32_t events)
{
    struct client *c = (struct client *)w;
    struct frame f;
    int err = 0;

    if (events & EPOLLOUT)
        client_flush(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    ssize_t n = recv(w->fd, buf_reserve(&c->rx, READ_CHUNK), READ_CHUNK, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        c->rx.len += (size_t)n;
        while ((err = frame_next(&c->rx, &f)) > 0 && !(err = client_frame(c, &f)))
            ;
    }
    if (n <= 0 || err < 0 || buf_used(&c->tx) > CLIENT_TX_MAX)
        client_close(c);
}

/* Takes one connection; false if there is none. */
static bool accept_client(struct supervisor *sv)
{
    int fd = accept4(sv->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return false;
    struct client *c = xcalloc(1, sizeof(*c));
    c->watch = (struct watch){.fd = fd, .events = EPOLLIN, .ready = client_ready};
    c->sv = sv;
    if (loop_add(&sv->loop, &c->watch)) {
        close(fd);
        free(c);
        return true;
    }
    c->next = sv->clients;
    sv->clients = c;
    supervisor_check_idle(sv);
    return true;
}

static void accept_ready(struct watch *w, uint32_t events)
{
    (void)events;
    accept_client((struct supervisor *)((char *)w - offsetof(struct supervisor, listener)));
}

/* ---- the process ---- */

void supervisor_check_idle(struct supervisor *sv)
{
    bool busy = sv->clients;

    for (struct domain *d = sv->domains; d; d = d->next)
        busy |= domain_is_live(d) && !d->server; /* a network server serves them */
    if (busy)
        loop_timer_stop(&sv->loop, &sv->linger);
    else if (!sv->linger.at_ns)
        loop_timer(&sv->loop, &sv->linger, sv->linger_ms);
}

static void signal_ready(struct watch *w, uint32_t events)
{
    struct supervisor *sv = (struct supervisor *)((char *)w - offsetof(struct supervisor, signals));

    struct signalfd_siginfo si;

    (void)events;
    while (read(w->fd, &si, sizeof(si)) == sizeof(si))
        sv->loop.stop |= si.ssi_signo != SIGCHLD;
    for (struct domain *d = sv->domains; d; d = d->next)
        domain_reap(d);
}

/* Opens the socket and watches it. Returns 0 or -errno. */
static int open_socket(struct supervisor *sv)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char *path = xasprintf("%s/supervisor.sock", sv->dir);
    int err = strlen(path) < sizeof(sa.sun_path) ? 0 : -ENAMETOOLONG;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (!err) {
        strcpy(sa.sun_path, path);
        unlink(path);
        if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0)
            err = -errno;
    }
    free(path);
    sv->listener = (struct watch){.fd = fd, .events = EPOLLIN, .ready = accept_ready};
    return err ? err : loop_add(&sv->loop, &sv->listener);
}

static void close_socket(struct supervisor *sv)
{
    loop_del(&sv->loop, &sv->listener);
    close(sv->listener.fd);
}

static void remove_socket(struct supervisor *sv)
{
    char *path = xasprintf("%s/supervisor.sock", sv->dir);

    unlink(path);
    free(path);
}

/* Ends an idle supervisor, unless a command connected in the last moment: with the name gone none
 * can come any more, and those that wait already are still served, under a new socket. */
static void linger_over(struct timer *t)
{
    struct supervisor *sv = (struct supervisor *)((char *)t - offsetof(struct supervisor, linger));

    remove_socket(sv);
    while (accept_client(sv))
        ;
    sv->loop.stop = !sv->clients;
    if (sv->clients) {
        close_socket(sv);
        sv->loop.stop = open_socket(sv) < 0;
    }
}

static int open_signals(struct supervisor *sv)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    sv->signals = (struct watch){.fd = fd, .events = EPOLLIN, .ready = signal_ready};
    return fd < 0 ? -errno : loop_add(&sv->loop, &sv->signals);
}

/* The virtual network began anew: what hung on the old one is over, forwards are made again. */
static void network_died(void *arg)
{
    struct supervisor *sv = arg;

    for (struct domain *d = sv->domains; d; d = d->next) {
        if (!domain_is_live(d))
            continue;
        if (d->server && d->nic >= 0)
            domain_kill(d); /* its next instance gets another NIC */
        else if (d->nic >= 0)
            domain_fail(d, "the process of the virtual network died");
        else
            domain_publish(d);
    }
}

/* Ends all domains and waits for them, then for their commands to hear of it. */
static void shut_down(struct supervisor *sv)
{
    bool live = true;

    loop_timer_stop(&sv->loop, &sv->linger);
    for (struct domain *d = sv->domains; d; d = d->next)
        if (domain_is_live(d))
            domain_kill(d);
    for (uint64_t until = now_ns() + 5000000000ull; live && now_ns() < until;) {
        live = false;
        loop_once(&sv->loop, 100);
        for (struct domain *d = sv->domains; d; d = d->next)
            live |= domain_is_live(d);
    }
    while (sv->clients)
        client_close(sv->clients);
    while (sv->servers)
        netserver_destroy(sv->servers);
    while (sv->domains) {
        struct domain *d = sv->domains;
        sv->domains = d->next;
        if (d->lease)
            lease_free(d->lease);
        domain_free(d);
    }
}

static int take_lock(const char *dir)
{
    char *path = xasprintf("%s/supervisor.lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    free(path);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* A channel takes many descriptors (one for each doorbell), here and in the server's QEMU. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (!getrlimit(RLIMIT_NOFILE, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int supervisor_main(int ready_fd)
{
    struct supervisor sv = {.dir = dirs_runtime(), .linger_ms = LINGER_MS};
    const char *linger = getenv("LIBRETTOS_LINGER_MS");
    const char *loopback = getenv("LIBRETTOS_HOST_LOOPBACK");

    if (!sv.dir)
        return STATUS_OURS;
    if (linger)
        parse_u64(linger, 0, 86400000, &sv.linger_ms);
    int lock = take_lock(sv.dir);
    if (lock < 0) {
        warn("a supervisor runs already");
        free(sv.dir);
        return STATUS_OURS;
    }
    prctl(PR_SET_NAME, "librettos-super");
    if (ready_fd >= 0) {
        set_cloexec(ready_fd, true);
        char *path = xasprintf("%s/supervisor.log", sv.dir);
        int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        free(path);
        if (log >= 0) {
            dup2(log, STDERR_FILENO);
            close(log);
        }
    }
    records_trim(sv.dir, MAX_RECORDS);
    raise_descriptor_limit();
    sv.linger.fire = linger_over;
    int err = loop_init(&sv.loop);
    if (!err)
        err = open_signals(&sv);
    if (!err) {
        sv.vnet = vnet_new(&sv.loop, loopback && !strcmp(loopback, "1"), network_died, &sv);
        err = sv.vnet ? open_socket(&sv) : -ENOMEM;
    }
    if (err) {
        warn("the supervisor cannot start: %s", strerror(-err));
        return STATUS_OURS;
    }
    if (ready_fd >= 0) {
        write_all(ready_fd, "", 1);
        close(ready_fd);
    }
    supervisor_check_idle(&sv);
    loop_run(&sv.loop);

    remove_socket(&sv);
    close_socket(&sv);
    shut_down(&sv);
    loop_del(&sv.loop, &sv.signals);
    close(sv.signals.fd);
    vnet_free(sv.vnet);
    loop_close(&sv.loop);
    close(lock);
    free(sv.dir);
    return 0;
}
