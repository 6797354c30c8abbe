/*
 * Network servers: start, death and restart, the pool of channels and how it grows, leases. QEMU is
 * a script that sleeps; where it is asked to plug something in, the test answers in its place.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/lease.h"
#include "host/qmp.h"
#include "host/records.h"
#include "host/vswitch.h"

struct fixture {
    struct supervisor sv;
    char *qemu;
    struct strv argv, env;
    int fds; /* before anything was started */
    /* what was said to QMP */
    int peer;
    struct buf said;
    int got_fd;
};

static int descriptors(void)
{
    int n = 0;

    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void network_died(void *arg)
{
    (void)arg;
    fail_msg("the process of the virtual network died");
}

static int setup(void **state)
{
    struct fixture *x = xcalloc(1, sizeof(*x));
    char dir[] = "/tmp/netserver-XXXXXX";
    static const char script[] = "#!/bin/sh\nexec sleep 1000\n";

    x->sv.dir = xstrdup(mkdtemp(dir));
    x->sv.linger_ms = 86400000;
    assert_int_equal(loop_init(&x->sv.loop), 0);
    x->sv.vnet = vnet_new(&x->sv.loop, false, network_died, x);
    assert_non_null(x->sv.vnet);
    loop_once(&x->sv.loop, 0);
    x->qemu = xasprintf("%s/qemu", x->sv.dir);
    assert_int_equal(write_file_atomic(x->qemu, script, strlen(script)), 0);
    chmod(x->qemu, 0700);
    strv_addf(&x->argv, "true");
    strv_addf(&x->env, "A=1");
    x->peer = x->got_fd = -1;
    setenv("LIBRETTOS_SERVER_IDLE_MS", "0", 1);
    setenv("LIBRETTOS_STANDBY_MS", "off", 1);
    x->fds = descriptors();
    *state = x;
    return 0;
}

static void run_for(struct fixture *x, unsigned ms)
{
    for (uint64_t until = now_ns() + ms * 1000000ull; now_ns() < until;)
        loop_once(&x->sv.loop, 1);
}

/* Runs until nothing lives any more, but for servers whose domains are told to stay. */
static void end_all(struct fixture *x)
{
    x->sv.loop.stop = true;
    for (struct domain *d = x->sv.domains; d; d = d->next)
        if (domain_is_live(d))
            domain_kill(d);
    for (struct domain *d = x->sv.domains; d; d = d->next)
        while (domain_is_live(d))
            loop_once(&x->sv.loop, 5);
}

static int teardown(void **state)
{
    struct fixture *x = *state;

    end_all(x);
    assert_null(x->sv.servers);
    if (x->peer >= 0)
        close(x->peer);
    if (x->got_fd >= 0)
        close(x->got_fd);
    assert_int_equal(descriptors(), x->fds);
    while (x->sv.domains) {
        struct domain *d = x->sv.domains;
        x->sv.domains = d->next;
        record_remove(d->dir);
        if (d->lease)
            lease_free(d->lease);
        domain_free(d);
    }
    loop_timer_stop(&x->sv.loop, &x->sv.linger);
    vnet_free(x->sv.vnet);
    loop_close(&x->sv.loop);
    unlink(x->qemu);
    rmdir(x->sv.dir);
    free(x->sv.dir);
    free(x->qemu);
    strv_free(&x->argv);
    strv_free(&x->env);
    buf_free(&x->said);
    free(x);
    return 0;
}

static const struct session_listener nobody = {0};

/* Starts a domain as `run` does. NULL with *error set. */
static struct domain *start(struct fixture *x, const char *name, struct lease_request rq,
                            const struct vnet_forward *port, char **error)
{
    struct domain_spec spec = {
        .name = name,
        .program = "/bin/true",
        .qemu = {.binary = x->qemu,
                 .kernel = "kernel",
                 .image = "image",
                 .accel = "tcg",
                 .loglevel = "warn",
                 .memory_mib = 64,
                 .cpus = 2},
        .exec = {.program = "/bin/true", .cwd = "/", .user = "", .argv = &x->argv, .env = &x->env},
        .forwards = port,
        .forward_count = port ? 1 : 0,
        .listener = &nobody,
    };
    struct lease *l = spec.lease = lease_open(&x->sv, &rq, &spec, error);
    struct domain *d = l ? supervisor_start(&x->sv, &spec, error) : NULL;

    if (l)
        lease_started(l);
    return d;
}

static const struct lease_request by_server = {.server_path = true};
static const struct lease_request shared = {.server_path = true, .shared = true};

static struct domain *must_start(struct fixture *x, const char *name, struct lease_request rq)
{
    char *error = NULL;
    struct domain *d = start(x, name, rq, NULL, &error);

    if (!d)
        fail_msg("%s", error);
    return d;
}

static void must_fail(struct fixture *x, struct lease_request rq, const struct vnet_forward *port,
                      const char *words)
{
    char *error = NULL;

    assert_null(start(x, "refused", rq, port, &error));
    assert_non_null(error);
    assert_non_null(strstr(error, words));
    free(error);
}

static void end(struct fixture *x, struct domain *d)
{
    domain_kill(d);
    while (domain_is_live(d))
        run_for(x, 5);
}

/* ---- life ---- */

static void a_server_comes_and_goes_with_its_domains(void **state)
{
    struct fixture *x = *state;
    struct domain *a = must_start(x, "a", by_server), *b = must_start(x, "b", shared);
    struct netserver *ns = x->sv.servers;

    assert_non_null(ns->active->domain);
    assert_string_equal(ns->active->domain->name, "net");
    assert_int_equal(ns->users, 2);
    assert_int_equal(a->lease->slot, 0);
    assert_int_equal(b->lease->slot, 1);
    assert_string_equal(a->lease->address, "10.0.2.15");
    assert_string_equal(b->lease->address, "10.0.2.142");
    assert_int_equal(ns->table.channels[0].region.queues, 2);
    end(x, a);
    run_for(x, 20);
    assert_ptr_equal(x->sv.servers, ns);
    assert_true(domain_is_live(ns->active->domain));
    end(x, b);
    run_for(x, 100);
    assert_null(x->sv.servers);
    for (struct domain *d = x->sv.domains; d; d = d->next)
        assert_false(domain_is_live(d));
}

static void a_new_domain_keeps_an_idle_server(void **state)
{
    struct fixture *x = *state;

    setenv("LIBRETTOS_SERVER_IDLE_MS", "50", 1);
    end(x, must_start(x, "a", by_server));
    pid_t pid = x->sv.servers->active->domain->pid;
    must_start(x, "b", by_server);
    run_for(x, 100);
    assert_int_equal(x->sv.servers->active->domain->pid, pid);
}

static void a_dead_server_is_started_again(void **state)
{
    struct fixture *x = *state;
    struct domain *a = must_start(x, "a", shared);
    struct netserver *ns = x->sv.servers;
    uint16_t port = ns->table.channels[a->lease->slot].grants.ephemeral_first;
    uint32_t epoch = ns->table.channels[a->lease->slot].epoch;

    for (unsigned n = 1; n <= 3; n++) {
        pid_t pid = ns->active->domain->pid;
        kill(pid, SIGKILL);
        for (int i = 0; i < 100 && (!ns->active->domain || ns->active->domain->pid == pid); i++)
            run_for(x, 10);
        assert_non_null(ns->active->domain);
        assert_int_equal(ns->ends[NET_END_CRASH], n);
        assert_non_null(strstr(ns->reason, "signal 9"));
    }
    assert_true(ns->pause_ms >= 400); /* it dies too often */
    assert_int_equal(ns->users, 1);
    assert_int_equal(ns->table.channels[a->lease->slot].epoch, epoch);
    assert_int_equal(nettable_owner(&ns->table, false, port), (int)a->lease->slot);
}

static void a_server_that_cannot_start_again_is_tried_for_ever(void **state)
{
    struct fixture *x = *state;
    struct domain *a = must_start(x, "a", by_server);
    struct netserver *ns = x->sv.servers;

    free(ns->binary);
    ns->binary = xstrdup("/no/such/qemu");
    kill(ns->active->domain->pid, SIGKILL);
    for (int i = 0; i < 500 && ns->ends[NET_END_CRASH] < 3; i++)
        run_for(x, 10);
    assert_int_equal(ns->ends[NET_END_CRASH], 3);
    assert_int_equal(ns->users, 1);
    assert_true(domain_is_live(a));
    end(x, a); /* while it is waited for the next start, or not */
    run_for(x, 50);
    assert_null(x->sv.servers);
}

/* ---- two instances; the test writes their words ---- */

static struct net_server_page *page(struct instance *i)
{
    return (void *)((char *)i->ns->table.region.memory + NET_TABLE_SERVER(i->role));
}

static uint32_t told_active(struct netserver *ns)
{
    return ((struct net_table *)ns->table.region.memory)->active;
}

static void says(struct fixture *x, struct instance *i, enum net_server_state state)
{
    page(i)->features = CHANNEL_FEATURES;
    page(i)->state = state;
    ivshmem_ring(&i->ns->table.region, CHANNEL_APP, 0);
    run_for(x, 10);
}

static struct netserver *with_standby(struct fixture *x)
{
    setenv("LIBRETTOS_STANDBY_MS", "0", 1);
    must_start(x, "a", by_server);
    struct netserver *ns = x->sv.servers;
    says(x, ns->active, NET_SERVER_UP);
    run_for(x, 20);
    assert_non_null(netserver_other(ns)->domain);
    assert_string_equal(netserver_standby_state(ns), "starting");
    says(x, netserver_other(ns), NET_SERVER_STANDBY);
    assert_string_equal(netserver_standby_state(ns), "ready");
    return ns;
}

static void a_standby_takes_over(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);

    for (unsigned n = 1; n <= 4; n++) {
        struct instance *old = ns->active, *new = netserver_other(ns);
        kill(old->domain->pid, SIGKILL);
        for (int i = 0; i < 100 && ns->active == old; i++)
            run_for(x, 1);
        assert_ptr_equal(ns->active, new);
        assert_int_equal(told_active(ns), new->role);
        assert_int_equal(page(old)->state, NET_SERVER_DOWN);
        assert_string_equal(new->domain->name, "net");
        assert_int_equal(new->domain->nic, VNET_SERVER);
        assert_int_equal(ns->ends[NET_END_CRASH], n);
        says(x, new, NET_SERVER_UP);
        run_for(x, 20);
        assert_non_null(old->domain); /* the next standby */
        says(x, old, NET_SERVER_STANDBY);
    }
}

static void a_dead_standby_is_replaced(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *active = ns->active;

    kill(netserver_other(ns)->domain->pid, SIGKILL);
    run_for(x, 50);
    assert_ptr_equal(ns->active, active);
    assert_non_null(netserver_other(ns)->domain);
    assert_int_equal(ns->ends[NET_END_CRASH], 0);
}

/* One that answers no heartbeat is ended, one that does is not. */
static void a_hung_server_gives_way(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);
    const struct net_table *t = ns->table.region.memory;

    for (int i = 0; i < 100; i++) {
        page(old)->pong = page(new)->pong = t->ping;
        run_for(x, 5);
    }
    assert_ptr_equal(ns->active, old);
    for (int i = 0; i < 2000 && ns->active == old; i++) {
        page(new)->pong = t->ping;
        run_for(x, 5);
    }
    assert_ptr_equal(ns->active, new);
    assert_int_equal(ns->ends[NET_END_HANG], 1);
    assert_non_null(strstr(ns->reason, "hung"));
}

static void an_upgrade(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);

    netserver_upgrade(ns, "/other/kernel", NULL);
    run_for(x, 50); /* the standby of the old kernel goes, the new one comes */
    assert_ptr_equal(ns->active, old);
    assert_string_equal(new->kernel, "/other/kernel");
    says(x, new, NET_SERVER_STANDBY);
    assert_int_equal(told_active(ns), new->role);
    assert_true(domain_is_live(old->domain));
    says(x, old, NET_SERVER_QUIESCED);
    says(x, new, NET_SERVER_UP);
    run_for(x, 50);
    assert_ptr_equal(ns->active, new);
    assert_string_equal(ns->kernel, "/other/kernel");
    assert_int_equal(ns->ends[NET_END_UPGRADE], 1);
    assert_null(ns->upgrade.kernel);
    assert_string_equal(old->kernel, "/other/kernel"); /* the next standby's */
}

static void an_upgrade_that_is_undone(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);
    char *kernel = xstrdup(ns->kernel);

    /* It serves less than is in use. */
    netserver_upgrade(ns, "/bad/kernel", NULL);
    run_for(x, 50);
    page(new)->features = CHANNEL_FEATURES & ~CHANNEL_F_USO;
    page(new)->state = NET_SERVER_STANDBY;
    ivshmem_ring(&ns->table.region, CHANNEL_APP, 0);
    run_for(x, 20);
    assert_int_equal(told_active(ns), old->role);
    kill(new->domain->pid, SIGKILL);
    run_for(x, 20);
    assert_null(ns->upgrade.kernel);
    /* It dies when it is to serve. */
    says(x, netserver_other(ns), NET_SERVER_STANDBY);
    netserver_upgrade(ns, NULL, NULL);
    run_for(x, 5);
    assert_int_equal(told_active(ns), new->role);
    says(x, old, NET_SERVER_QUIESCED);
    kill(new->domain->pid, SIGKILL);
    run_for(x, 50);
    assert_ptr_equal(ns->active, old);
    assert_int_equal(told_active(ns), old->role);
    assert_int_equal(old->domain->nic, VNET_SERVER);
    assert_string_equal(old->domain->name, "net");
    assert_string_equal(ns->kernel, kernel);
    assert_int_equal(ns->ends[NET_END_UPGRADE], 0);
    free(kernel);
}

/* ---- what goes wrong at a bad time ---- */

/* Its kernel panics when it gets the interrupt, and ends before it would be killed: who comes after
 * it is left alone. */
static void a_hung_one_that_ends_early_takes_nobody_along(void **state)
{
    struct fixture *x = *state;

    must_start(x, "a", by_server);
    struct netserver *ns = x->sv.servers;
    says(x, ns->active, NET_SERVER_UP);
    for (int i = 0; i < 2000 && !ns->active->hung; i++)
        run_for(x, 5);
    assert_true(ns->active->hung);
    kill(ns->active->domain->pid, SIGKILL);
    for (int i = 0; i < 100 && ns->ends[NET_END_HANG] == 0; i++)
        run_for(x, 1);
    run_for(x, 10);
    assert_non_null(ns->active->domain);
    pid_t pid = ns->active->domain->pid;
    run_for(x, 150);
    assert_non_null(ns->active->domain);
    assert_int_equal(ns->active->domain->pid, pid);
}

static void both_die_while_one_hands_over(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);
    char *kernel = xstrdup(ns->kernel);

    netserver_upgrade(ns, "/other/kernel", NULL);
    run_for(x, 50);
    says(x, new, NET_SERVER_STANDBY);
    assert_ptr_equal(ns->active, new);
    setenv("LIBRETTOS_STANDBY_MS", "off", 1);
    kill(old->domain->pid, SIGKILL);
    for (int i = 0; i < 100 && old->domain; i++)
        run_for(x, 1);
    pid_t pid = new->domain->pid;
    kill(pid, SIGKILL);
    for (int i = 0; i < 200 && (!ns->active->domain || ns->active->domain->pid == pid); i++)
        run_for(x, 2);
    assert_null(ns->upgrade.kernel); /* it has failed, and whoever asked for it knows */
    assert_string_equal(ns->active->kernel, kernel);
    says(x, ns->active, NET_SERVER_UP);
    run_for(x, 20);
    assert_string_equal(ns->kernel, kernel);
    assert_int_equal(ns->ends[NET_END_UPGRADE], 0);
    free(kernel);
}

static unsigned living_servers(struct fixture *x)
{
    unsigned n = 0;

    for (struct domain *d = x->sv.domains; d; d = d->next)
        n += domain_is_live(d) && d->is_server;
    return n;
}

/* The new one, which is ready, goes on for it; that is the upgrade. */
static void the_old_one_dies_before_it_is_told_to_hand_over(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);

    netserver_upgrade(ns, "/other/kernel", NULL);
    run_for(x, 50);
    assert_string_equal(new->kernel, "/other/kernel");
    setenv("LIBRETTOS_STANDBY_MS", "off", 1);
    ns->pause_ms = 100; /* it would come back after a while */
    old->started_ns = now_ns();
    kill(old->domain->pid, SIGKILL);
    for (int i = 0; i < 100 && old->domain; i++)
        run_for(x, 1);
    assert_null(old->domain);
    says(x, new, NET_SERVER_STANDBY);
    assert_ptr_equal(ns->active, new);
    assert_int_equal(told_active(ns), new->role);
    run_for(x, 200); /* the restart that was planned does not happen */
    assert_int_equal(living_servers(x), 1);
    says(x, new, NET_SERVER_UP);
    run_for(x, 20);
    assert_null(ns->upgrade.kernel);
    assert_string_equal(ns->kernel, "/other/kernel");
    assert_int_equal(ns->ends[NET_END_UPGRADE], 1);
}

/* A standby that was not ready when the active one died serves as soon as it is. */
static void a_late_standby_is_faster_than_a_restart(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);

    page(new)->state = NET_SERVER_DOWN;
    ns->pause_ms = 4000;
    old->started_ns = now_ns();
    kill(old->domain->pid, SIGKILL);
    for (int i = 0; i < 100 && old->domain; i++)
        run_for(x, 1);
    assert_ptr_equal(ns->active, old);
    says(x, new, NET_SERVER_STANDBY);
    assert_ptr_equal(ns->active, new);
    assert_int_equal(told_active(ns), new->role);
    assert_int_equal(ns->restart.at_ns, 0);
}

/* Two instances must never serve at once: the old one goes on when the new one is dead. */
static void the_old_one_goes_on_after_the_end_of_the_new_one(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);

    netserver_upgrade(ns, NULL, NULL);
    assert_int_equal(told_active(ns), new->role);
    says(x, old, NET_SERVER_QUIESCED);
    pid_t pid = new->domain->pid;
    while (told_active(ns) == new->role) {
        page(old)->pong = page(new)->pong = ((struct net_table *)ns->table.region.memory)->ping;
        loop_once(&x->sv.loop, 5);
    }
    assert_int_equal(kill(pid, 0), -1); /* reaped */
    assert_ptr_equal(ns->active, old);
    assert_null(ns->upgrade.kernel);
}

static void an_image_that_is_refused_at_once(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active, *new = netserver_other(ns);

    setenv("LIBRETTOS_STANDBY_MS", "off", 1);
    netserver_upgrade(ns, "/older/kernel", NULL);
    run_for(x, 50);
    page(new)->version = NET_TABLE_VERSION + 1;
    says(x, new, NET_SERVER_REFUSED);
    run_for(x, 20);
    assert_null(ns->upgrade.kernel);
    assert_null(new->domain);
    netserver_upgrade(ns, "/lesser/kernel", NULL);
    run_for(x, 50);
    page(new)->features = CHANNEL_FEATURES & ~CHANNEL_F_USO;
    page(new)->state = NET_SERVER_STANDBY;
    ivshmem_ring(&ns->table.region, CHANNEL_APP, 0);
    run_for(x, 20);
    assert_null(ns->upgrade.kernel);
    assert_null(new->domain);
    assert_ptr_equal(ns->active, old);
    assert_int_equal(told_active(ns), old->role);
    assert_true(domain_is_live(old->domain));
}

/* The last domain goes while an upgrade is under way: the server ends after it, not in it. */
static void an_idle_server_ends_after_its_upgrade(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *new = netserver_other(ns);

    netserver_upgrade(ns, "/other/kernel", NULL);
    run_for(x, 50);
    for (struct domain *d = x->sv.domains; d; d = d->next)
        if (!d->is_server)
            end(x, d);
    run_for(x, 50);
    assert_ptr_equal(x->sv.servers, ns);
    says(x, new, NET_SERVER_STANDBY);
    says(x, new, NET_SERVER_UP);
    for (int i = 0; i < 300 && x->sv.servers; i++)
        run_for(x, 10);
    assert_null(x->sv.servers);
    assert_int_equal(living_servers(x), 0);
}

/* The records of ended instances are forgotten; their log is the one of those that live. */
static void a_forgotten_instance_leaves_the_log(void **state)
{
    struct fixture *x = *state;
    struct netserver *ns = with_standby(x);
    struct instance *old = ns->active;

    setenv("LIBRETTOS_STANDBY_MS", "off", 1);
    kill(old->domain->pid, SIGKILL);
    for (int i = 0; i < 100 && old->domain; i++)
        run_for(x, 1);
    says(x, ns->active, NET_SERVER_UP);
    for (unsigned i = 0; i < MAX_RECORDS + 2; i++) {
        char *name = xasprintf("d%u", i);
        page(ns->active)->pong = ((struct net_table *)ns->table.region.memory)->ping;
        end(x, must_start(x, name, by_server));
        free(name);
    }
    char *log = xasprintf("%s/kernel.log", ns->active->domain->dir);
    assert_int_equal(access(log, F_OK), 0);
    free(log);
}

static void a_supervisor_that_ends_starts_nothing(void **state)
{
    struct fixture *x = *state;

    must_start(x, "a", by_server);
    x->sv.loop.stop = true;
    kill(x->sv.servers->active->domain->pid, SIGKILL);
    run_for(x, 150);
    assert_null(x->sv.servers->active->domain);
    assert_int_equal(x->sv.servers->restart.at_ns, 0);
}

/* ---- leases ---- */

static void addresses(void **state)
{
    struct fixture *x = *state;
    struct lease_request rq = by_server;

    rq.wanted = "10.0.2.30";
    struct domain *a = must_start(x, "a", rq);
    assert_string_equal(a->lease->address, "10.0.2.30");
    must_fail(x, rq, NULL, "another domain has");
    rq.wanted = "10.0.2.14";
    must_fail(x, rq, NULL, "10.0.2.15 to 10.0.2.141");
    rq.wanted = "10.0.2.142"; /* the server's */
    must_fail(x, rq, NULL, "10.0.2.15 to 10.0.2.141");
    rq.wanted = "fd00::1";
    must_fail(x, rq, NULL, "10.0.2.15 to 10.0.2.141");
    rq.wanted = "10.0.2.30";
    rq.server_path = false;
    must_fail(x, rq, NULL, "another domain has");
    end(x, a);
    a = must_start(x, "a", rq);
    assert_true(a->nic >= 0);
    assert_null(a->lease->server);
}

static void what_fails_leaves_nothing(void **state)
{
    struct fixture *x = *state;
    struct lease_request rq = by_server;

    rq.wanted = "10.0.3.1";
    must_fail(x, rq, NULL, "10.0.2.15");
    assert_null(x->sv.servers);
    rq = by_server;
    rq.net.tap = "no-such-tap";
    rq.ip = "10.1.0.5/24,gw=10.1.0.1";
    must_fail(x, rq, NULL, "no tap device");
    assert_null(x->sv.servers);
}

static void a_port_of_another_domain_cannot_be_published(void **state)
{
    struct fixture *x = *state;
    struct vnet_forward port = {.host_ip = "127.0.0.1", .host_port = 1, .guest_port = 80};
    struct domain *a = must_start(x, "a", shared);
    struct ctl_claim c = {.op = CTL_CLAIM_TAKE, .protocol = IPPROTO_TCP, .port = 80};

    lease_claim(a->lease, &c);
    assert_int_equal(c.error, 0);
    must_fail(x, shared, &port, "another domain that shares the address has port 80");
    must_start(x, "b", by_server); /* an address of its own has all ports */
    lease_end(a->lease);
    lease_claim(a->lease, &c);
    assert_int_equal(c.error, EINVAL);
}

/* ---- the pool of channels ---- */

/* From now on the test is the server's QEMU, as far as QMP goes. */
static void take_qmp(struct fixture *x)
{
    struct stream *q = &x->sv.servers->active->domain->qmp;
    int pair[2];

    stream_close(q);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(stream_open(q, &x->sv.loop, pair[0], &domain_qmp_sizes, qmp_ready), 0);
    if (x->peer >= 0)
        close(x->peer);
    x->peer = pair[1];
}

static void qmp_say(struct fixture *x, const char *line)
{
    assert_int_equal(write_all(x->peer, line, strlen(line)), 0);
    loop_once(&x->sv.loop, 0);
}

/* The next command; x->got_fd is the last descriptor that came; NULL if there is none. */
static json_t *qmp_hear(struct fixture *x)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {buf_reserve(&x->said, 4096), 4096};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(x->peer, &msg, MSG_CMSG_CLOEXEC);

    if (n > 0) {
        x->said.len += (size_t)n;
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        if (c && x->got_fd >= 0)
            close(x->got_fd);
        if (c)
            memcpy(&x->got_fd, CMSG_DATA(c), sizeof(x->got_fd));
    }
    uint8_t *eol = buf_used(&x->said) ? memchr(buf_head(&x->said), '\n', buf_used(&x->said)) : NULL;
    if (!eol)
        return NULL;
    size_t len = (size_t)(eol - buf_head(&x->said)) + 1;
    json_t *o = json_loadb((char *)buf_head(&x->said), len, 0, NULL);
    buf_consume(&x->said, len);
    assert_non_null(o);
    return o;
}

/* Hears a command, which must be this one, and answers it. Returns its arguments, owned. */
static json_t *qmp_expect(struct fixture *x, const char *name, const char *error)
{
    json_t *o = qmp_hear(x);

    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, "execute")), name);
    json_int_t id = json_integer_value(json_object_get(o, "id"));
    char *answer =
        error ? xasprintf("{\"error\":{\"desc\":\"%s\"},\"id\":%lld}\r\n", error, (long long)id)
              : xasprintf("{\"return\":{},\"id\":%lld}\r\n", (long long)id);
    if (id)
        qmp_say(x, answer);
    free(answer);
    json_t *arguments = json_incref(json_object_get(o, "arguments"));
    json_decref(o);
    return arguments;
}

static void qmp_greet(struct fixture *x)
{
    qmp_say(x, "{\"QMP\":{}}\r\n");
    json_decref(qmp_expect(x, "qmp_capabilities", NULL));
    qmp_say(x, "{\"return\":{}}\r\n");
}

static void eight_domains(struct fixture *x)
{
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof(name), "d%d", i);
        must_start(x, name, by_server);
    }
}

static void the_pool_grows(void **state)
{
    struct fixture *x = *state;

    eight_domains(x);
    struct netserver *ns = x->sv.servers;
    take_qmp(x);
    assert_int_equal(ns->active->plugged, 8);
    struct domain *ninth = must_start(x, "ninth", by_server);
    assert_int_equal(ninth->lease->slot, 8);
    assert_null(qmp_hear(x)); /* QEMU is not up yet */
    qmp_greet(x);
    for (int function = 7; function >= 0; function--) {
        char id[32], addr[32];
        const char *a, *b, *c, *f;
        snprintf(id, sizeof(id), "channel%d", 8 + function);
        snprintf(addr, sizeof(addr), "0.%d", function);
        json_t *args = qmp_expect(x, "getfd", NULL);
        assert_true(x->got_fd >= 0);
        close(x->got_fd);
        x->got_fd = -1;
        assert_int_equal(json_unpack(args, "{s:s}", "fdname", &a), 0);
        assert_string_equal(a, id);
        json_decref(args);
        args = qmp_expect(x, "chardev-add", NULL);
        assert_int_equal(json_unpack(args, "{s:s, s:{s:s, s:{s:{s:s, s:{s:s}}}}}", "id", &a,
                                     "backend", "type", &b, "data", "addr", "type", &c, "data",
                                     "str", &f),
                         0);
        assert_string_equal(a, id);
        assert_string_equal(b, "socket");
        assert_string_equal(c, "fd");
        assert_string_equal(f, id);
        json_decref(args);
        args = qmp_expect(x, "device_add", NULL);
        assert_int_equal(json_unpack(args, "{s:s, s:s, s:s}", "driver", &a, "bus", &b, "addr", &c),
                         0);
        assert_string_equal(a, "ivshmem-doorbell");
        assert_string_equal(b, "port0");
        assert_string_equal(c, addr);
        json_decref(args);
    }
    assert_int_equal(ns->active->plugged, 16);
    assert_null(qmp_hear(x));
    must_start(x, "tenth", by_server);
    assert_null(qmp_hear(x)); /* it has a place already */
}

static void a_failing_growth_fails_who_waits_for_it(void **state)
{
    struct fixture *x = *state;

    eight_domains(x);
    take_qmp(x);
    struct netserver *ns = x->sv.servers;
    struct domain *ninth = must_start(x, "ninth", by_server), *eighth = ninth->next;
    qmp_greet(x);
    json_decref(qmp_expect(x, "getfd", NULL));
    json_decref(qmp_expect(x, "chardev-add", "no more of these"));
    assert_non_null(strstr(ninth->reason, "no more of these"));
    while (domain_is_live(ninth))
        run_for(x, 5);
    assert_int_equal(ninth->state, DOMAIN_FAILED);
    assert_true(domain_is_live(eighth));
    assert_true(domain_is_live(ns->active->domain));
    must_fail(x, by_server, NULL, "no channel left");
    /* Those that the server has are used again. */
    unsigned slot = eighth->lease->slot;
    end(x, eighth);
    assert_int_equal(ns->table.channels[slot].state, SLOT_LEAVING);
    struct channel_side *side =
        (void *)((char *)ns->table.channels[slot].region.memory + CHANNEL_PAGE);
    side->epoch = ns->table.channels[slot].epoch;
    ivshmem_ring(&ns->table.region, CHANNEL_APP, 0);
    run_for(x, 5);
    assert_int_equal(ns->table.channels[slot].state, SLOT_FREE);
    assert_int_equal(must_start(x, "again", by_server)->lease->slot, slot);
}

static void a_server_that_dies_while_it_grows_has_all_when_it_comes_back(void **state)
{
    struct fixture *x = *state;

    eight_domains(x);
    take_qmp(x);
    struct netserver *ns = x->sv.servers;
    struct domain *ninth = must_start(x, "ninth", by_server);
    qmp_greet(x);
    json_decref(qmp_expect(x, "getfd", NULL));
    pid_t pid = ns->active->domain->pid;
    kill(pid, SIGKILL);
    for (int i = 0; i < 100 && (!ns->active->domain || ns->active->domain->pid == pid); i++)
        run_for(x, 10);
    assert_non_null(ns->active->domain);
    assert_int_equal(ns->active->plugged, 16);
    assert_true(domain_is_live(ninth));
}

static void replies_that_answer_nothing(void **state)
{
    struct fixture *x = *state;

    eight_domains(x);
    take_qmp(x);
    must_start(x, "ninth", by_server);
    qmp_say(x, "{\"return\":{},\"id\":1}\r\n{\"error\":{}}\r\n");
    qmp_greet(x);
    json_t *o = qmp_hear(x);
    qmp_say(x, "{\"return\":{},\"id\":77}\r\n{\"return\":{}}\r\n{\"return\":{},\"id\":\"1\"}\r\n");
    assert_null(qmp_hear(x)); /* still waits for its own */
    json_decref(o);
    shutdown(x->peer, SHUT_RDWR);
    run_for(x, 10);
    assert_true(
        domain_is_live(x->sv.servers->active->domain)); /* its process says when it is over */
}

static void places_on_the_command_line(void **state)
{
    static const struct {
        unsigned place;
        const char *bus, *addr;
    } expected[] = {{0, "pcie.0", "0x10.0"}, {7, "pcie.0", "0x10.7"}, {8, "port0", "0.0"},
                    {15, "port0", "0.7"},    {16, "port1", "0.0"},    {135, "port15", "0.7"}};

    (void)state;
    assert_int_equal(CHANNEL_PLACES, 136);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        char *bus = qemu_channel_bus(expected[i].place),
             *addr = qemu_channel_addr(expected[i].place);
        assert_string_equal(bus, expected[i].bus);
        assert_int_equal(strtol(addr, NULL, 0), strtol(expected[i].addr, NULL, 0));
        assert_string_equal(strchr(addr, '.'), strchr(expected[i].addr, '.'));
        free(bus);
        free(addr);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(a_server_comes_and_goes_with_its_domains),
        T(a_new_domain_keeps_an_idle_server),
        T(a_dead_server_is_started_again),
        T(a_server_that_cannot_start_again_is_tried_for_ever),
        T(a_standby_takes_over),
        T(a_dead_standby_is_replaced),
        T(a_hung_server_gives_way),
        T(an_upgrade),
        T(an_upgrade_that_is_undone),
        T(a_hung_one_that_ends_early_takes_nobody_along),
        T(both_die_while_one_hands_over),
        T(the_old_one_dies_before_it_is_told_to_hand_over),
        T(a_late_standby_is_faster_than_a_restart),
        T(the_old_one_goes_on_after_the_end_of_the_new_one),
        T(an_image_that_is_refused_at_once),
        T(an_idle_server_ends_after_its_upgrade),
        T(a_forgotten_instance_leaves_the_log),
        T(a_supervisor_that_ends_starts_nothing),
        T(addresses),
        T(what_fails_leaves_nothing),
        T(a_port_of_another_domain_cannot_be_published),
        T(the_pool_grows),
        T(a_failing_growth_fails_who_waits_for_it),
        T(a_server_that_dies_while_it_grows_has_all_when_it_comes_back),
        T(replies_that_answer_nothing),
        cmocka_unit_test(places_on_the_command_line),
    };

    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && !strcmp(argv[2], "--switch-fd")) /* the process of the virtual network */
        return vswitch_main(atoi(argv[3]), false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
