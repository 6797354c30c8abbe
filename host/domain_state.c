/*
 * What of a domain outlives its supervisor. What it is, is written down in its directory as JSON
 * before anything of it is started. What changes while it runs is the note of its control stream,
 * so that it takes effect together with the frames that changed it. The keeper has its streams.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "domain_state.h"
#include "keeper.h"
#include "qmp.h"

struct session_note {
    uint16_t id;
    uint8_t started, has_cursors;
    uint32_t out_unread, in_credit;
    uint32_t rx_head, tx_tail; /* of the listener's stream */
};

struct domain_note {
    int32_t pid, nic;
    uint32_t state;
    uint8_t stopping, killed, powered_off, panicked, has_exit, qmp_up;
    uint16_t next_session;
    struct ctl_exit exit;
    uint64_t spawned_ns, hello_ns, running_ns, listen_ns, deadline_ns;
    uint64_t output_size; /* of the log */
    char reason[256];     /* "": none */
    struct lease_note lease;
    uint32_t count;
    struct session_note sessions[MAX_SESSIONS];
};

_Static_assert(sizeof(struct domain_note) <= DOMAIN_NOTE_MAX, "the note fits");

/* ---- the note ---- */

void domain_commit(struct domain *d)
{
    static struct domain_note n; /* large, and of this call only */

    if (!d->control.memory)
        return;
    n = (struct domain_note){.pid = d->pid,
                             .nic = d->nic,
                             .state = d->state,
                             .stopping = d->stopping,
                             .killed = d->killed,
                             .powered_off = d->powered_off,
                             .panicked = d->panicked,
                             .has_exit = d->has_exit,
                             .qmp_up = d->qmp_up,
                             .next_session = d->next_session,
                             .exit = d->exit,
                             .spawned_ns = d->spawned_ns,
                             .hello_ns = d->hello_ns,
                             .running_ns = d->running_ns,
                             .listen_ns = d->listen_ns,
                             .deadline_ns = d->deadline.at_ns,
                             .output_size = d->output_log.size};
    if (d->lease)
        lease_take_note(d->lease, &n.lease);
    snprintf(n.reason, sizeof(n.reason), "%s", d->reason ? d->reason : "");
    for (struct session *s = d->sessions; s && n.count < MAX_SESSIONS; s = s->next)
        n.sessions[n.count++] = (struct session_note){.id = s->id,
                                                      .started = s->started,
                                                      .has_cursors = s->peer != NULL,
                                                      .out_unread = s->out_unread,
                                                      .in_credit = s->in_credit,
                                                      .rx_head = s->peer ? s->peer->rx.head : 0,
                                                      .tx_tail = s->peer ? s->peer->tx.tail : 0};
    stream_commit(&d->control, &n,
                  offsetof(struct domain_note, sessions) + n.count * sizeof(n.sessions[0]));
}

static bool note_is_sane(const struct domain_note *n)
{
    bool ok = n->pid > 1 && n->nic >= -1 && n->nic < VNET_HOSTS && n->state < DOMAIN_EXITED &&
              n->count <= MAX_SESSIONS && memchr(n->reason, 0, sizeof(n->reason));

    for (uint32_t i = 0; ok && i < n->count; i++)
        ok = n->sessions[i].id && n->sessions[i].out_unread <= CTL_WINDOW &&
             n->sessions[i].in_credit <= CTL_WINDOW;
    return ok;
}

static void take_note(struct domain *d, const struct domain_note *n)
{
    d->pid = n->pid;
    d->nic = n->nic;
    d->state = n->state;
    d->stopping = n->stopping;
    d->killed = n->killed;
    d->powered_off = n->powered_off;
    d->panicked = n->panicked;
    d->has_exit = n->has_exit;
    d->qmp_up = n->qmp_up;
    d->next_session = n->next_session;
    d->exit = n->exit;
    d->spawned_ns = n->spawned_ns;
    d->hello_ns = n->hello_ns;
    d->running_ns = n->running_ns;
    d->listen_ns = n->listen_ns;
    d->reason = *n->reason ? xstrdup(n->reason) : NULL;
    for (uint32_t i = n->count; i-- > 0;) {
        struct session *s = xcalloc(1, sizeof(*s));
        *s = (struct session){.id = n->sessions[i].id,
                              .started = n->sessions[i].started,
                              .out_unread = n->sessions[i].out_unread,
                              .in_credit = n->sessions[i].in_credit,
                              .has_cursors = n->sessions[i].has_cursors,
                              .rx_head = n->sessions[i].rx_head,
                              .tx_tail = n->sessions[i].tx_tail,
                              .domain = d,
                              .next = d->sessions};
        d->sessions = s;
    }
    uint64_t now = now_ns();
    if (n->deadline_ns)
        loop_timer(d->loop, &d->deadline,
                   n->deadline_ns > now ? (n->deadline_ns - now) / 1000000u + 1 : 0);
}

/* ---- what it is ---- */

static json_t *save_forwards(const struct domain *d)
{
    json_t *array = json_array();

    for (size_t i = 0; i < d->forward_count; i++) {
        const struct vnet_forward *f = &d->forwards[i];
        json_array_append_new(array, json_pack("{s:s, s:i, s:i, s:b}", "host_ip", f->host_ip,
                                               "host_port", (int)f->host_port, "guest_port",
                                               (int)f->guest_port, "udp", (int)f->udp));
    }
    return array;
}

static json_t *save(const struct domain *d)
{
    return json_pack("{s:i, s:i, s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:I, s:o, s:o*, s:s*, s:i}",
                     "version", DOMAIN_STATE_VERSION, "id", (int)d->id, "name", d->name, "program",
                     d->program, "dir", d->dir, "is_server", (int)d->is_server, "forward_to",
                     d->forward_to, "memory_mib", (int)d->memory_mib, "cpus", (int)d->cpus,
                     "started_ns", (json_int_t)d->started_ns, "forwards", save_forwards(d), "lease",
                     d->lease ? lease_save(d->lease) : NULL, "instance_of",
                     d->server ? d->server->name : NULL, "role", d->role);
}

static const char *const stream_names[] = {"control", "qmp", "console"};

static char *key_of(uint32_t domain, const char *what)
{
    return xasprintf(DOMAIN_KEY "%u %s", domain, what);
}

int domain_hold(const struct domain *d, const char *name, int fd)
{
    char *key = key_of(d->id, name);
    int err = keeper_put(key, &fd, 1);

    free(key);
    return err;
}

static int keep_streams(struct domain *d)
{
    const struct stream *streams[] = {&d->control, &d->qmp, &d->console};
    int err = 0;

    for (size_t i = 0; i < ARRAY_SIZE(streams) && !err; i++) {
        char *key = key_of(d->id, stream_names[i]);
        err = stream_keep(streams[i], key);
        free(key);
    }
    return err;
}

static int write_state(const struct domain *d)
{
    json_t *state = save(d);
    char *text = json_dumps(state, JSON_INDENT(1));
    int err = text ? write_file_atomic(d->state_file, text, strlen(text)) : -EINVAL;

    free(text);
    json_decref(state);
    return err;
}

int domain_keep(struct domain *d, const struct domain_spec *spec)
{
    char *key = key_of(d->id, "held");
    int err = d->state_file ? write_state(d) : 0;

    if (!err && d->state_file)
        err = keep_streams(d);
    if (!err && spec->held_count)
        err = keeper_put(key, spec->held, spec->held_count);
    free(key);
    return err;
}

void domain_unkeep(struct domain *d)
{
    char *prefix = key_of(d->id, "");

    if (d->state_file) {
        unlink(d->state_file);
        keeper_clear(prefix);
    }
    free(prefix);
}

/* ---- the next supervisor ---- */

static bool load_forwards(struct domain *d, json_t *array)
{
    size_t i;
    json_t *v;

    d->forwards = xcalloc(json_array_size(array), sizeof(*d->forwards));
    json_array_foreach(array, i, v)
    {
        struct vnet_forward *f = &d->forwards[i];
        const char *ip;
        int host, guest, udp;
        if (json_unpack(v, "{s:s, s:i, s:i, s:b}", "host_ip", &ip, "host_port", &host, "guest_port",
                        &guest, "udp", &udp) ||
            strlen(ip) >= sizeof(f->host_ip))
            return false;
        *f = (struct vnet_forward){
            .host_port = (uint16_t)host, .guest_port = (uint16_t)guest, .udp = udp};
        strcpy(f->host_ip, ip);
        d->forward_count++;
    }
    return json_is_array(array);
}

/* Fills in what it is. False if the state is damaged. */
static bool load(struct domain *d, json_t *state)
{
    const char *name, *program, *dir;
    int version, id, is_server, memory, cpus;
    json_int_t started;
    json_t *forwards;

    if (json_unpack(state, "{s:i, s:i, s:s, s:s, s:s, s:b, s:i, s:i, s:i, s:I, s:o}", "version",
                    &version, "id", &id, "name", &name, "program", &program, "dir", &dir,
                    "is_server", &is_server, "forward_to", &d->forward_to, "memory_mib", &memory,
                    "cpus", &cpus, "started_ns", &started, "forwards", &forwards) ||
        version != DOMAIN_STATE_VERSION || d->forward_to < -1 || d->forward_to >= VNET_HOSTS ||
        !name_is_valid(name))
        return false;
    d->id = (uint32_t)id;
    d->name = xstrdup(name);
    d->program = xstrdup(program);
    d->dir = xstrdup(dir);
    d->is_server = is_server;
    d->memory_mib = (unsigned)memory;
    d->cpus = (unsigned)cpus;
    d->started_ns = d->look.at_ns = (uint64_t)started;
    return load_forwards(d, forwards);
}

static int restore_stream(struct domain *d, struct stream *s, const char *name,
                          const struct stream_sizes *sizes,
                          void (*ready)(struct watch *w, uint32_t events))
{
    char *key = key_of(d->id, name);
    int fds[2] = {-1, -1}, n = keeper_get(key, fds, 2);

    free(key);
    if (n == 2)
        return stream_restore(s, d->loop, fds[0], fds[1], sizes, ready);
    if (n > 0)
        close(fds[0]);
    return n < 0 ? n : -EPROTO;
}

static int restore_streams(struct domain *d)
{
    int err = restore_stream(d, &d->control, "control", &domain_control_sizes, control_ready);

    if (!err)
        err = restore_stream(d, &d->qmp, "qmp", &domain_qmp_sizes, qmp_ready);
    if (!err)
        err = restore_stream(d, &d->console, "console", &domain_console_sizes, console_ready);
    return err;
}

/* Goes on where the committed output ends: what lies behind is handled, and written, once more. */
static int restore_logs(struct domain *d, const struct domain_note *n)
{
    char *output = xasprintf("%s/output.log", d->dir), *kernel = xasprintf("%s/kernel.log", d->dir);
    int err = logfile_open(&d->kernel_log, kernel, true);

    if (!err && !d->is_server)
        err = logfile_open(&d->output_log, output, true);
    if (!err && !d->is_server)
        logfile_truncate(&d->output_log, n->output_size);
    free(output);
    free(kernel);
    return err;
}

/* Everything but the plain data. Returns 0 or -errno. */
static int revive(struct domain *d)
{
    int err = restore_streams(d);

    if (err)
        return err;
    const struct domain_note *n = stream_note(&d->control);
    if (!note_is_sane(n))
        return -EPROTO;
    err = restore_logs(d, n);
    if (err)
        return err;
    take_note(d, n);
    d->qmp_id = (uint32_t)now_ns(); /* no answer to a question of the dead one is taken for ours */
    return domain_watch_end(d);
}

void domain_resume(struct domain *d)
{
    console_lines(d);
    qmp_lines(d);
    if (control_parse(d))
        stream_hang_up(&d->control);
}

const struct lease_note *domain_lease_note(const struct domain *d)
{
    return &((const struct domain_note *)stream_note(&d->control))->lease;
}

uint32_t domain_state_size(void)
{
    return sizeof(struct domain_note);
}

/* What a server has besides. */
static void restore_nic(struct domain *d)
{
    char *key = key_of(d->id, DOMAIN_NIC);

    if (keeper_get(key, &d->nic_fd, 1) != 1)
        d->nic_fd = -1;
    free(key);
}

struct domain *domain_restore(struct loop *loop, struct vnet *vnet, const char *file, json_t *state)
{
    struct domain *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->vnet = vnet;
    d->state_file = xstrdup(file);
    d->nic = d->nic_fd = -1;
    d->deadline.fire = domain_deadline_passed;
    d->control.watch.fd = d->qmp.watch.fd = d->console.watch.fd = d->end.fd = -1;
    d->control.memfd = d->qmp.memfd = d->console.memfd = -1;
    d->output_log.fd = d->kernel_log.fd = -1;
    bool loaded = load(d, state);
    int err = loaded ? revive(d) : -EPROTO;
    if (!err) {
        restore_nic(d);
        return d;
    }
    warn("%s: the domain cannot be taken over: %s", file, strerror(-err));
    if (loaded) {
        d->nic = -1; /* whose it was then is not known */
        domain_release(d);
        domain_unkeep(d);
    }
    unlink(file);
    d->state = DOMAIN_FAILED;
    domain_free(d);
    return NULL;
}
