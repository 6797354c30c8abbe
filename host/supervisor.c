/* The supervisor's process: its socket, its beginning and end. */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "dirs.h"
#include "keeper.h"
#include "lease.h"
#include "pathswitch.h"

#define LINGER_MS 30000
#define LISTENER "listener" /* its entry at the keeper */

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
        sv->loop.stop = true;
}

static void accept_ready(struct watch *w, uint32_t events)
{
    (void)events;
    client_accept((struct supervisor *)((char *)w - offsetof(struct supervisor, listener)));
}

/* Returns a listening socket or -errno. */
static int make_socket(struct supervisor *sv)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char *path = xasprintf("%s/supervisor.sock", sv->dir);
    int fd = -ENAMETOOLONG;

    if (strlen(path) < sizeof(sa.sun_path)) {
        strcpy(sa.sun_path, path);
        unlink(path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd >= 0 && (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 64) < 0)) {
            close(fd);
            fd = -1;
        }
        fd = fd < 0 ? -errno : fd;
    }
    free(path);
    return fd;
}

/* Opens the socket, or takes over that of a dead supervisor: who connected meanwhile waits in it.
 * Returns 0 or -errno. */
static int open_socket(struct supervisor *sv)
{
    int fd, err = 0;

    if (keeper_get(LISTENER, &fd, 1) != 1) {
        fd = make_socket(sv);
        err = fd < 0 ? fd : keeper_put(LISTENER, &fd, 1);
    }
    sv->listener = (struct watch){.fd = fd, .events = EPOLLIN, .ready = accept_ready};
    return err ? err : loop_add(&sv->loop, &sv->listener);
}

static void close_socket(struct supervisor *sv)
{
    loop_del(&sv->loop, &sv->listener);
    close(sv->listener.fd);
    keeper_drop(LISTENER);
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
    while (client_accept(sv))
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
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    sv->signals = (struct watch){.fd = fd, .events = EPOLLIN, .ready = signal_ready};
    return fd < 0 ? -errno : loop_add(&sv->loop, &sv->signals);
}

/* Its NIC at the virtual switch is dead. */
static void nic_died(struct domain *d)
{
    struct pathswitch *s = d->lease ? d->lease->path : NULL;

    if (d->server)
        domain_kill(d); /* the next instance has another */
    else if (s && s->has_channel)
        pathswitch_move(s, CTL_PATH_SERVER, "the process of the virtual network died");
    else
        domain_fail(d, "the process of the virtual network died");
}

/* The virtual network began anew: what hung on the old one is over, forwards are made again. */
static void network_died(void *arg)
{
    struct supervisor *sv = arg;

    for (struct domain *d = sv->domains; d; d = d->next) {
        if (!domain_is_live(d))
            continue;
        domain_publish(d);
        if (d->nic >= 0)
            nic_died(d);
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

/* Opens everything, or takes it over. Returns 0 or -errno. */
static int begin(struct supervisor *sv)
{
    const char *loopback = getenv("LIBRETTOS_HOST_LOOPBACK");
    int err = loop_init(&sv->loop);

    if (!err)
        err = open_signals(sv);
    if (err)
        return err;
    sv->vnet = vnet_new(&sv->loop, loopback && !strcmp(loopback, "1"), network_died, sv);
    if (!sv->vnet)
        return -ENOMEM;
    supervisor_restore(sv);
    return open_socket(sv);
}

static void end(struct supervisor *sv)
{
    remove_socket(sv);
    close_socket(sv);
    shut_down(sv);
    loop_del(&sv->loop, &sv->signals);
    close(sv->signals.fd);
    vnet_free(sv->vnet);
    loop_close(&sv->loop);
    free(sv->dir);
}

int supervisor_main(int keeper_fd, unsigned restarts, int ready_fd)
{
    struct supervisor sv = {.dir = dirs_runtime(),
                            .linger_ms = LINGER_MS,
                            .linger.fire = linger_over,
                            .restarts = restarts};

    if (!sv.dir)
        return STATUS_OURS;
    env_u64("LIBRETTOS_LINGER_MS", 0, 86400000, &sv.linger_ms);
    prctl(PR_SET_NAME, "librettos-super");
    set_cloexec(keeper_fd, true);
    keeper_attach(keeper_fd);
    int err = begin(&sv);
    if (err) {
        warn("the supervisor cannot start: %s", strerror(-err));
        return STATUS_OURS;
    }
    keeper_ready();
    if (ready_fd >= 0) {
        write_all(ready_fd, "", 1);
        close(ready_fd);
    }
    supervisor_check_idle(&sv);
    while (!sv.loop.stop) {
        loop_once(&sv.loop, 60000);
        for (struct netserver *ns = sv.servers; ns; ns = ns->next)
            netserver_commit(ns);
    }
    if (!sv.exit_status)
        end(&sv);
    return sv.exit_status; /* KEEPER_AGAIN: as if it had been killed, all is left as it is */
}
