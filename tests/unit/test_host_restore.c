/* What a dead supervisor leaves, and what the next one makes of it. A thread is the keeper. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/domain_state.h"
#include "host/keeper.h"
#include "host/qmp.h"

struct fixture {
    struct keeper keeper;
    pthread_t thread;
    int sock[2]; /* ours, the keeper's */
    struct loop loop;
    char dir[32], file[64];
    pid_t pid;
};

static void *keep(void *arg)
{
    struct fixture *x = arg;
    struct keeper_request rq;

    for (;;) {
        struct keeper_answer a;
        int fds[FDPASS_MAX];
        unsigned count = FDPASS_MAX;
        if (fdpass_recv(x->sock[1], &rq, sizeof(rq), fds, &count, 0) != sizeof(rq))
            return NULL;
        const struct keeper_entry *e = keeper_handle(&x->keeper, &rq, fds, count, &a);
        fdpass_send(x->sock[1], &a, sizeof(a), e ? e->fds : NULL, e ? e->count : 0, 0);
    }
}

static int setup(void **state)
{
    struct fixture *x = xcalloc(1, sizeof(*x));

    assert_int_equal(loop_init(&x->loop), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, x->sock), 0);
    assert_int_equal(pthread_create(&x->thread, NULL, keep, x), 0);
    keeper_attach(x->sock[0]);
    strcpy(x->dir, "/tmp/restore-XXXXXX");
    assert_non_null(mkdtemp(x->dir));
    snprintf(x->file, sizeof(x->file), "%s/3.state", x->dir);
    x->pid = fork();
    if (!x->pid) {
        pause();
        _exit(0);
    }
    *state = x;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *x = *state;
    static const char *const files[] = {"3.state", "output.log", "kernel.log"};

    kill(x->pid, SIGKILL);
    waitpid(x->pid, NULL, 0);
    keeper_clear("");
    keeper_attach(-1);
    close(x->sock[0]);
    pthread_join(x->thread, NULL);
    close(x->sock[1]);
    assert_null(x->keeper.entries);
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        char *path = xasprintf("%s/%s", x->dir, files[i]);
        unlink(path);
        free(path);
    }
    assert_int_equal(rmdir(x->dir), 0);
    loop_close(&x->loop);
    free(x);
    return 0;
}

/* ---- a table ---- */

static const struct channel_grants own = {.ipv4 = {10, 0, 2, 142}, .ipv4_prefix = 24};

/* Forgets the table as a process does that dies. */
static void die_with(struct nettable *t)
{
    for (unsigned i = 0; i < t->made; i++)
        ivshmem_destroy(&t->channels[i].region);
    ivshmem_destroy(&t->region);
    munmap(t->kept, sizeof(*t->kept));
    close(t->memfd);
}

static struct ctl_claim claim(struct nettable *t, unsigned slot, uint16_t port)
{
    struct ctl_claim c = {.op = CTL_CLAIM_TAKE, .protocol = IPPROTO_TCP, .port = port};

    nettable_claim(t, slot, &c);
    return c;
}

static void a_table_goes_on(void **state)
{
    struct nettable a, b;
    struct channel_grants shared = {.mode = CHANNEL_SHARED}, other = shared, dedicated = {0};

    (void)state;
    assert_int_equal(nettable_create(&a, &own, "network t"), 0);
    assert_int_equal(nettable_grow(&a, 8), 0);
    assert_int_equal(nettable_grant(&a, 0, 1, &shared), 0);
    assert_int_equal(nettable_grant(&a, 1, 2, &other), 0);
    assert_int_equal(nettable_grant(&a, 2, 4, &dedicated), 0);
    assert_int_equal(claim(&a, 0, 80).error, 0);
    nettable_activate(&a, CHANNEL_STANDBY);
    nettable_set_note(&a, "a note", 7);
    uint32_t epoch = a.channels[1].epoch;
    /* Killed in the middle of writing a slot, and of giving a block away. */
    struct net_slot *slot = (struct net_slot *)((char *)a.region.memory + NET_TABLE_GRANTS) + 1;
    a.channels[1].sequence = slot->sequence = slot->sequence + 1;
    a.owners[1][other.ephemeral_first + 3] = 0;
    a.channels[0].claims = 77;
    die_with(&a);

    assert_int_equal(nettable_restore(&b, "network t"), 0);
    assert_int_equal(b.made, 8);
    assert_int_equal(b.kept->active, CHANNEL_STANDBY);
    assert_string_equal(nettable_note(&b), "a note");
    assert_int_equal(b.channels[1].epoch, epoch);
    slot = (struct net_slot *)((char *)b.region.memory + NET_TABLE_GRANTS) + 1;
    assert_int_equal(slot->sequence % 2, 0);
    assert_int_equal(slot->epoch, epoch);
    assert_int_equal(nettable_owner(&b, true, (uint16_t)(other.ephemeral_first + 3)), 1);
    assert_int_equal(b.channels[0].claims, 1);
    assert_int_equal(claim(&b, 1, 80).error, EADDRINUSE);
    assert_int_equal(claim(&b, 0, 80).error, 0);
    assert_int_equal(b.channels[2].region.queues, 4);
    const bool used[NET_SLOTS] = {true, false, true};
    nettable_sweep(&b, used);
    assert_int_equal(b.channels[0].state, SLOT_GRANTED);
    assert_int_equal(b.channels[1].state, SLOT_LEAVING);
    assert_int_equal(nettable_owner(&b, true, other.ephemeral_first), -1);
    nettable_destroy(&b);
    char name[KEEPER_NAME];
    assert_false(keeper_list(0, name)); /* nothing is kept of it */
}

static void a_damaged_table_is_refused(void **state)
{
    struct nettable a, b;
    uint32_t size = 1;

    (void)state;
    assert_int_equal(nettable_restore(&b, "network none"), -ENOENT);
    nettable_destroy(&b);
    assert_int_equal(nettable_create(&a, &own, "network t"), 0);
    assert_int_equal(nettable_grow(&a, 8), 0);
    keeper_drop("network t channel 5");
    assert_true(nettable_restore(&b, "network t") < 0);
    die_with(&b);
    assert_int_equal(pwrite(a.memfd, &size, sizeof(size), 0), sizeof(size));
    assert_int_equal(nettable_restore(&b, "network t"), -EPROTO);
    nettable_destroy(&b);
    die_with(&a);
}

/* ---- a domain ---- */

static void nothing(struct domain *d, enum domain_event what, const void *data)
{
    (void)d, (void)what, (void)data;
}

/* One that runs, as far as its supervisor sees. */
static struct domain *make(struct fixture *x, int peer[3])
{
    struct domain *d = xcalloc(1, sizeof(*d));
    struct strv none = {0};
    struct exec_spec program = {
        .cwd = "/", .user = "", .program = "p", .argv = &none, .env = &none};
    struct domain_spec spec = {.held = &x->loop.epfd, .held_count = 1};
    int pair[2];

    d->loop = &x->loop;
    d->event = nothing;
    d->id = 3;
    d->name = xstrdup("web");
    d->program = xstrdup("/bin/p");
    d->dir = xstrdup(x->dir);
    d->state_file = xstrdup(x->file);
    d->memory_mib = 64;
    d->cpus = 2;
    d->nic = d->nic_fd = d->end.fd = -1;
    d->forward_to = 4;
    d->forward_count = 1;
    d->forwards = xcalloc(1, sizeof(*d->forwards));
    d->forwards[0] = (struct vnet_forward){.host_ip = "127.0.0.1", .host_port = 80, .udp = true};
    d->output_log.fd = d->kernel_log.fd = -1;
    const struct {
        struct stream *s;
        const struct stream_sizes *sizes;
    } streams[] = {{&d->control, &domain_control_sizes},
                   {&d->qmp, &domain_qmp_sizes},
                   {&d->console, &domain_console_sizes}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        peer[i] = pair[1];
        assert_int_equal(stream_open(streams[i].s, &x->loop, pair[0], streams[i].sizes, NULL), 0);
    }
    assert_int_equal(control_begin(d, &program), 0);
    assert_int_equal(domain_keep(d, &spec), 0);
    return d;
}

/* The process that had it is gone. */
static void die_without(struct domain *d)
{
    session_free_all(d);
    stream_close(&d->control);
    stream_close(&d->qmp);
    stream_close(&d->console);
    loop_timer_stop(d->loop, &d->deadline);
    domain_free(d);
}

static void close_peers(const int peer[3])
{
    for (int i = 0; i < 3; i++)
        close(peer[i]);
}

static struct domain *restore(struct fixture *x)
{
    json_t *state = json_load_file(x->file, 0, NULL);
    struct domain *d = domain_restore(&x->loop, NULL, x->file, state);

    json_decref(state);
    return d;
}

static void a_domain_goes_on(void **state)
{
    struct fixture *x = *state;
    int peer[3];
    struct domain *d = make(x, peer);

    d->pid = x->pid;
    d->state = DOMAIN_RUNNING;
    d->hello_ns = 77;
    d->qmp_up = d->stopping = true;
    d->next_session = 9;
    d->reason = xstrdup("why");
    for (uint16_t id = 1; id <= 3; id++) {
        struct session *s = xcalloc(1, sizeof(*s));
        *s = (struct session){.id = id,
                              .started = id != 2,
                              .out_unread = 10u * id,
                              .in_credit = CTL_WINDOW - id,
                              .domain = d,
                              .next = d->sessions};
        d->sessions = s;
    }
    domain_commit(d);
    die_without(d);

    d = restore(x);
    assert_non_null(d);
    assert_string_equal(d->name, "web");
    assert_int_equal(d->id, 3);
    assert_int_equal(d->pid, x->pid);
    assert_int_equal(d->state, DOMAIN_RUNNING);
    assert_true(d->qmp_up && d->stopping && !d->killed && !d->has_exit);
    assert_string_equal(d->reason, "why");
    assert_int_equal(d->next_session, 9);
    assert_int_equal(d->forward_count, 1);
    assert_true(d->forwards[0].udp && d->forwards[0].host_port == 80 && d->forward_to == 4);
    unsigned n = 0;
    for (struct session *s = d->sessions; s; s = s->next, n++)
        assert_true(s->out_unread == 10u * s->id && s->in_credit == CTL_WINDOW - s->id &&
                    s->started == (s->id != 2));
    assert_int_equal(n, 3);
    d->forward_count = 0; /* there is no network here */
    session_free_all(d);
    domain_release(d);
    domain_unkeep(d);
    assert_int_equal(access(x->file, F_OK), -1);
    char name[KEEPER_NAME];
    assert_false(keeper_list(0, name));
    domain_free(d);
    close_peers(peer);
}

/* Its QEMU was not started yet: nothing is left of it. */
static void a_start_that_was_not_completed_is_undone(void **state)
{
    struct fixture *x = *state;
    int peer[3];
    struct domain *d = make(x, peer);
    char name[KEEPER_NAME], byte;

    d->forward_count = 0;
    domain_unkeep(d);
    assert_int_equal(domain_keep(d, &(struct domain_spec){0}), 0);
    domain_commit(d);
    die_without(d);
    assert_null(restore(x));
    assert_int_equal(access(x->file, F_OK), -1);
    assert_false(keeper_list(0, name));
    assert_int_equal(recv(peer[0], &byte, 1, MSG_DONTWAIT), 0); /* hung up */
    close_peers(peer);
}

static void damaged_state_is_refused(void **state)
{
    struct fixture *x = *state;
    static const char *const texts[] = {
        "{}",
        "[]",
        "{\"version\": 1, \"id\": 3}",
        "{\"version\": 99, \"id\": 3, \"name\": \"a\", \"program\": \"p\", \"dir\": \"/\", "
        "\"is_server\": false, \"forward_to\": 0, \"memory_mib\": 1, \"cpus\": 1, "
        "\"started_ns\": 1, \"forwards\": []}",
        "{\"version\": 1, \"id\": 3, \"name\": \"../a\", \"program\": \"p\", \"dir\": \"/\", "
        "\"is_server\": false, \"forward_to\": 0, \"memory_mib\": 1, \"cpus\": 1, "
        "\"started_ns\": 1, \"forwards\": []}",
        "{\"version\": 1, \"id\": 3, \"name\": \"a\", \"program\": \"p\", \"dir\": \"/\", "
        "\"is_server\": false, \"forward_to\": 4000, \"memory_mib\": 1, \"cpus\": 1, "
        "\"started_ns\": 1, \"forwards\": []}",
        "{\"version\": 1, \"id\": 3, \"name\": \"a\", \"program\": \"p\", \"dir\": \"/\", "
        "\"is_server\": false, \"forward_to\": 0, \"memory_mib\": 1, \"cpus\": 1, "
        "\"started_ns\": 1, \"forwards\": [7]}",
        "{\"version\": 1, \"id\": 3, \"name\": \"a\", \"program\": \"p\", \"dir\": \"/\", "
        "\"is_server\": false, \"forward_to\": 0, \"memory_mib\": 1, \"cpus\": 1, "
        "\"started_ns\": 1, \"forwards\": []}" /* sound, but nothing is kept of it */
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(write_file_atomic(x->file, texts[i], strlen(texts[i])), 0);
        assert_null(restore(x));
        assert_int_equal(access(x->file, F_OK), -1);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_table_goes_on),          T(a_damaged_table_is_refused),
        T(a_domain_goes_on),         T(a_start_that_was_not_completed_is_undone),
        T(damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
