/* What the supervisor does for the `librettos` command: the requests listed in supervisor.h. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "debugger.h"
#include "domain_state.h"
#include "keeper.h"
#include "lease.h"
#include "pathswitch.h"
#include "records.h"
#include "supervisor.h"

#define MAX_PORTS 64
#define MAX_VOLUMES 16

bool name_is_valid(const char *name)
{
    size_t n = strlen(name);

    if (n < 1 || n > 63 || !isalnum((unsigned char)name[0]))
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '-' && *name != '_' && *name != '.')
            return false;
    return true;
}

/* ---- answers ---- */

static void put_json(struct client *c, uint16_t type, json_t *owned)
{
    char *text = json_dumps(owned, JSON_COMPACT);

    if (!text || strlen(text) > CTL_MAX_PAYLOAD) { /* it waits for some answer */
        free(text);
        text = xstrdup("{\"error\":\"the answer is too long\"}");
    }
    stream_put_frame(&c->stream, type, 0, text, strlen(text));
    free(text);
    json_decref(owned);
    client_flush(c);
}

void client_event(struct client *c, json_t *owned)
{
    put_json(c, HOST_EVENT, owned);
}

void client_reply(struct client *c, json_t *owned)
{
    c->role = CLIENT_DONE;
    c->domain = NULL;
    put_json(c, HOST_REPLY, owned);
}

void client_error(struct client *c, int status, const char *fmt, ...)
{
    char line[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    client_reply(c, json_pack("{s:s, s:i}", "error", line, "status", status));
}

/* ---- domains ---- */

struct domain *supervisor_find(struct supervisor *sv, const char *name)
{
    struct domain *d = sv->domains;

    while (d && strcmp(d->name, name))
        d = d->next;
    return d;
}

static void forget(struct supervisor *sv, struct domain *d)
{
    struct domain **p = &sv->domains;

    while (*p && *p != d)
        p = &(*p)->next;
    if (*p)
        *p = d->next;
    if (d->lease)
        lease_free(d->lease);
    domain_free(d);
}

/* Instances of a network server share one. */
static bool dir_is_used(const struct supervisor *sv, const char *dir)
{
    for (const struct domain *d = sv->domains; d; d = d->next)
        if (domain_is_live(d) && !strcmp(d->dir, dir))
            return true;
    return false;
}

/* Drops the oldest records of ended domains beyond MAX_RECORDS; new ones are at the front. */
static void trim_records(struct supervisor *sv)
{
    size_t n = 0;

    for (struct domain *d = sv->domains, *next; d; d = next) {
        next = d->next;
        if (!domain_is_live(d) && ++n > MAX_RECORDS) {
            if (!dir_is_used(sv, d->dir))
                record_remove(d->dir);
            forget(sv, d);
        }
    }
}

/* A port that only programs in the domain itself can reach. */
static bool is_loopback(const struct ctl_listen *l)
{
    static const uint8_t v6[16] = {[15] = 1};

    return l->family == 4 ? l->addr[0] == 127 : !memcmp(l->addr, v6, sizeof(v6));
}

static void on_claim(struct domain *d, const struct ctl_claim *asked)
{
    struct ctl_claim c = *asked;

    c.error = EINVAL;
    c.first = c.last = 0;
    if (d->lease)
        lease_claim(d->lease, &c);
    if (c.op != CTL_CLAIM_GIVE)
        domain_claimed(d, &c);
}

static void on_domain_event(struct domain *d, enum domain_event what, const void *data)
{
    struct supervisor *sv = d->arg;

    if (what == DOMAIN_EV_CLAIM) {
        on_claim(d, data);
        return;
    }
    if (d->lease && d->lease->path && pathswitch_event(d->lease->path, what, data))
        return;
    if (what == DOMAIN_EV_ENDED && d->lease)
        lease_end(d->lease);
    for (struct client *c = sv->clients, *next; c; c = next) {
        next = c->next;
        if (c->domain != d)
            continue;
        if (what == DOMAIN_EV_BOOTED && c->role == CLIENT_RUN) {
            const struct ctl_hello *h = data;
            client_event(c, json_pack("{s:s, s:I, s:I}", "event", "booted", "at_ns",
                                      (json_int_t)d->hello_ns, "boot_ns", (json_int_t)h->boot_ns));
        } else if (what == DOMAIN_EV_LISTEN && c->role == CLIENT_RUN && !is_loopback(data)) {
            const struct ctl_listen *l = data;
            client_event(c, json_pack("{s:s, s:I, s:i, s:i, s:b}", "event", "listen", "at_ns",
                                      (json_int_t)now_ns(), "port", (int)l->port, "protocol",
                                      (int)l->protocol, "open", (int)l->open));
        } else if (what == DOMAIN_EV_STATS && c->role == CLIENT_STATS) {
            json_t *stats = json_loads(data, 0, NULL);
            client_reply(c, json_pack("{s:b, s:o}", "ok", 1, "stats", stats ? stats : json_null()));
        } else if (what == DOMAIN_EV_ENDED) {
            c->session = NULL;
            if (c->role == CLIENT_STATS || c->role == CLIENT_EXEC || c->role == CLIENT_SWITCH)
                client_error(c, STATUS_OURS, "domain %s ended", d->name);
            else
                client_reply(c, json_pack("{s:b, s:i, s:o}", "ok", 1, "status", domain_status(d),
                                          "domain", describe(d)));
        }
    }
    if (what == DOMAIN_EV_ENDED && d->server)
        netserver_ended(d->server, d);
    if (what == DOMAIN_EV_ENDED)
        supervisor_check_idle(sv);
}

/* ---- a session's listener: the command that started it ---- */

static void on_started(struct session *s, uint32_t pid)
{
    struct client *c = s->arg;

    client_event(c, json_pack("{s:s, s:i, s:I}", "event", "started", "pid", (int)pid, "at_ns",
                              (json_int_t)now_ns()));
}

static void on_output(struct session *s, uint16_t type, const void *data, size_t n)
{
    struct client *c = s->arg;

    if (c->detach) { /* it is in the log */
        session_consumed(s, (uint32_t)n);
        return;
    }
    stream_put_frame(&c->stream, type, 0, data, n);
    client_later(c);
}

static void on_credit(struct session *s, uint32_t bytes)
{
    struct client *c = s->arg;

    stream_put_u32(&c->stream, CTL_CREDIT, 0, bytes);
    client_later(c);
}

static void on_program_exit(struct session *s, const struct ctl_exit *e)
{
    struct client *c = s->arg;

    c->session = NULL;
    stream_put_frame(&c->stream, CTL_EXIT, 0, e, sizeof(*e));
    if (c->role == CLIENT_EXEC)
        client_reply(c, json_pack("{s:b, s:i}", "ok", 1, "status", exit_status(e)));
    else
        client_flush(c);
}

const struct session_listener client_listener = {
    .started = on_started,
    .output = on_output,
    .in_credit = on_credit,
    .exited = on_program_exit,
};

/* ---- requests ---- */

/* Takes the strings of a JSON array; false if it is not one of strings. */
static bool take_strings(json_t *array, struct strv *out)
{
    size_t i;
    json_t *v;

    if (!json_is_array(array))
        return false;
    json_array_foreach(array, i, v)
    {
        if (!json_is_string(v))
            return false;
        strv_add(out, xstrdup(json_string_value(v)));
    }
    return true;
}

/* The program part of run and exec. */
struct program {
    struct exec_spec spec;
    struct strv argv, env;
};

static bool take_program(json_t *rq, struct program *p)
{
    int tty = 0, in = 0;

    memset(p, 0, sizeof(*p));
    if (json_unpack(rq, "{s:s, s:s, s:s, s?b, s?b}", "program", &p->spec.program, "cwd",
                    &p->spec.cwd, "user", &p->spec.user, "tty", &tty, "stdin", &in) ||
        !take_strings(json_object_get(rq, "argv"), &p->argv) ||
        !take_strings(json_object_get(rq, "env"), &p->env))
        return false;
    p->spec.argv = &p->argv;
    p->spec.env = &p->env;
    p->spec.flags = (tty ? CTL_EXEC_TTY : 0) | (in ? CTL_EXEC_STDIN : 0);
    return true;
}

static void free_program(struct program *p)
{
    strv_free(&p->argv);
    strv_free(&p->env);
}

static size_t take_ports(json_t *array, struct vnet_forward *out)
{
    size_t i, n = 0;
    json_t *v;

    json_array_foreach(array, i, v)
    {
        const char *ip;
        int host, guest, udp;
        if (n >= MAX_PORTS || json_unpack(v, "{s:s, s:i, s:i, s:b}", "host_ip", &ip, "host_port",
                                          &host, "guest_port", &guest, "udp", &udp))
            break;
        out[n] = (struct vnet_forward){
            .host_port = (uint16_t)host, .guest_port = (uint16_t)guest, .udp = udp};
        snprintf(out[n++].host_ip, sizeof(out->host_ip), "%s", ip);
    }
    return n;
}

static size_t take_volumes(json_t *array, struct qemu_volume *out)
{
    size_t i, n = 0;
    json_t *v;

    json_array_foreach(array, i, v)
    {
        int read_only;
        if (n >= MAX_VOLUMES || json_unpack(v, "{s:s, s:s, s:b}", "host", &out[n].host, "guest",
                                            &out[n].guest, "read_only", &read_only))
            break;
        out[n++].read_only = read_only;
    }
    return n;
}

static bool is_reserved(const char *name)
{
    return !strcmp(name, "net");
}

/* The name to use: the one asked for, or the program's with a number if that is taken. */
static char *choose_name(struct client *c, const char *wanted, const char *base)
{
    if (wanted && is_reserved(wanted)) {
        client_error(c, STATUS_OURS, "the name %s is the network server's; choose another --name",
                     wanted);
        return NULL;
    }
    if (wanted) {
        struct domain *d = supervisor_find(c->sv, wanted);
        if (d && domain_is_live(d)) {
            client_error(
                c, STATUS_OURS,
                "a domain named %s is running: stop it with `librettos stop %s`, or choose "
                "another --name",
                wanted, wanted);
            return NULL;
        }
        return xstrdup(wanted);
    }
    for (int i = is_reserved(base) ? 2 : 1;; i++) {
        char *name = i == 1 ? xstrdup(base) : xasprintf("%.56s-%d", base, i);
        struct domain *d = supervisor_find(c->sv, name);
        if (!d || !domain_is_live(d))
            return name;
        free(name);
    }
}

void supervisor_adopt(struct supervisor *sv, struct domain *d)
{
    d->event = on_domain_event;
    d->arg = sv;
    if (d->id >= sv->next_domain)
        sv->next_domain = d->id + 1;
    d->next = sv->domains;
    sv->domains = d;
}

struct domain *supervisor_start(struct supervisor *sv, struct domain_spec *spec, char **error)
{
    struct domain *old = supervisor_find(sv, spec->name), *d = NULL;
    char *dir = spec->dir ? xstrdup(spec->dir) : xasprintf("%s/%s.domain", sv->dir, spec->name);

    char *state = xasprintf("%s/%u" DOMAIN_STATE, sv->dir, sv->next_domain);

    spec->dir = dir;
    spec->id = sv->next_domain++;
    spec->state_file = keeper_attached() ? state : NULL;
    if (old && domain_is_live(old))
        *error = xasprintf("a domain named %s runs already", spec->name);
    else
        d = domain_start(&sv->loop, sv->vnet, spec, error);
    free(dir);
    free(state);
    if (!d)
        return NULL;
    if (old)
        forget(sv, old);
    trim_records(sv);
    supervisor_adopt(sv, d);
    return d;
}

void supervisor_exchange_names(struct supervisor *sv, struct domain *d, const char *name)
{
    struct domain *other = supervisor_find(sv, name);
    char *mine = d->name;

    d->name = xstrdup(name);
    if (other) {
        free(other->name);
        other->name = mine;
    } else {
        free(mine);
    }
}

static void start_domain(struct client *c, struct domain_spec *spec, const struct lease_request *rq)
{
    struct supervisor *sv = c->sv;
    char *error = NULL;
    struct lease *lease = spec->lease = lease_open(sv, rq, spec, &error);
    struct domain *d = lease ? supervisor_start(sv, spec, &error) : NULL;

    if (lease)
        lease_started(lease);
    if (!d) {
        client_error(c, STATUS_OURS, "%s", error);
        free(error);
        if (lease) {
            lease_end(lease);
            lease_free(lease);
        }
        return;
    }
    lease->path = pathswitch_new(sv, d, rq->mode);
    domain_commit(d);
    c->role = CLIENT_RUN;
    c->domain = d;
    c->session = domain_main_session(d);
    client_event(c, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "event", "created", "name", d->name,
                              "dir", d->dir, "address", lease->user_net ? lease->address : "",
                              "request_ns", (json_int_t)d->started_ns, "spawned_ns",
                              (json_int_t)d->spawned_ns));
}

static void request_run(struct client *c, json_t *rq)
{
    struct vnet_forward forwards[MAX_PORTS];
    struct qemu_volume volumes[MAX_VOLUMES];
    struct program program;
    struct strv qemu_args = {0}, sysctls = {0};
    struct domain_spec spec = {.listener = &client_listener, .arg = c, .peer = &c->stream};
    struct qemu_config *q = &spec.qemu;
    struct lease_request lease = {0};
    const char *wanted = NULL, *base = NULL;
    int memory = 0, cpus = 0, detach = 0, server_path = 0, shared = 0, owner = 0, owner_group = 0;
    int auto_mode = 0, trace = 0;
    json_int_t core = 0;

    bool ok = take_program(rq, &program) &&
              !json_unpack(rq,
                           "{s?s, s:s, s:s, s:s, s:s, s:s, s?s, s:i, s:i, s:s, s?s, s?s, s?s, s?s, "
                           "s:b, s:b, s?b, s:i, s:i, s?b, s?b, s?I}",
                           "name", &wanted, "base", &base, "qemu", &q->binary, "kernel", &q->kernel,
                           "image", &q->image, "accel", &q->accel, "cpu", &q->cpu, "memory",
                           &memory, "cpus", &cpus, "loglevel", &q->loglevel, "tap", &lease.net.tap,
                           "bridge", &lease.net.bridge, "ip", &lease.ip, "address", &lease.wanted,
                           "server_path", &server_path, "shared", &shared, "detach", &detach,
                           "owner", &owner, "owner_group", &owner_group, "auto", &auto_mode,
                           "trace", &trace, "core", &core) &&
              take_strings(json_object_get(rq, "qemu_args"), &qemu_args) &&
              take_strings(json_object_get(rq, "sysctls"), &sysctls) &&
              (!wanted || name_is_valid(wanted)) && name_is_valid(base) && memory > 0 && cpus > 0;
    if (!ok) {
        client_error(c, STATUS_OURS,
                     "the supervisor does not understand the request: another version "
                     "of it runs; stop its domains");
        free_program(&program);
        strv_free(&qemu_args);
        strv_free(&sysctls);
        return;
    }
    q->extra = &qemu_args;
    q->sysctls = &sysctls;
    q->trace = trace;
    q->core = (uint64_t)core;
    q->owner = (uid_t)owner;
    q->owner_group = (gid_t)owner_group;
    q->memory_mib = (unsigned)memory;
    q->cpus = (unsigned)cpus;
    q->volumes = volumes;
    q->volume_count = take_volumes(json_object_get(rq, "volumes"), volumes);
    spec.forwards = forwards;
    spec.forward_count = take_ports(json_object_get(rq, "ports"), forwards);
    spec.exec = program.spec;
    spec.program = program.spec.program;
    lease.server_path = server_path;
    lease.mode = auto_mode ? MODE_AUTO : server_path ? MODE_SERVER : MODE_DIRECT;
    lease.shared = shared;
    c->detach = detach;
    char *name = choose_name(c, wanted, base);
    spec.name = name;
    if (name)
        start_domain(c, &spec, &lease);
    free(name);
    strv_free(&qemu_args);
    strv_free(&sysctls);
    free_program(&program);
}

/* The live domain a request names, or NULL after an error reply. */
static struct domain *named_domain(struct client *c, json_t *rq)
{
    const char *name = json_string_value(json_object_get(rq, "name"));
    struct domain *d = name ? supervisor_find(c->sv, name) : NULL;

    if (d && domain_is_live(d))
        return d;
    client_error(c, STATUS_OURS, "no domain named %s is running; `librettos ps` lists them",
                 name ? name : "");
    return NULL;
}

static void request_exec(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);
    struct program program;
    int err;

    if (!d)
        return;
    if (!take_program(rq, &program)) {
        client_error(c, STATUS_OURS, "malformed request");
    } else {
        c->session = domain_exec(d, &program.spec, &client_listener, c, &c->stream, &err);
        if (c->session) {
            c->role = CLIENT_EXEC;
            c->domain = d;
        } else if (err == -E2BIG) {
            client_error(c, STATUS_OURS, "the arguments and the environment are too long (64 KiB)");
        } else {
            client_error(c, STATUS_OURS, "domain %s cannot run a program now: it is %s", d->name,
                         d->hello_ns ? "ending" : "still starting");
        }
    }
    free_program(&program);
}

/* A session of the domain's records, instead of a program's output. */
static void request_monitor(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);
    struct ctl_monitor ask = {0};
    int kind, pid, snap, follow, err;
    const char *calls;

    if (!d)
        return;
    if (json_unpack(rq, "{s:i, s:i, s:i, s:b, s:s}", "kind", &kind, "pid", &pid, "snap", &snap,
                    "follow", &follow, "calls", &calls) ||
        hex_decode(calls, ask.calls, sizeof(ask.calls))) {
        client_error(c, STATUS_OURS, "malformed request");
        return;
    }
    ask.kind = (uint32_t)kind;
    ask.pid = (uint32_t)pid;
    ask.snap = (uint32_t)snap;
    ask.flags = follow ? MONITOR_FOLLOW : 0;
    c->session = domain_monitor(d, &ask, &client_listener, c, &c->stream, &err);
    if (c->session) {
        c->role = CLIENT_EXEC;
        c->domain = d;
    } else {
        client_error(c, STATUS_OURS, "domain %s cannot be watched now: it is %s", d->name,
                     d->hello_ns ? "ending" : "still starting");
    }
}

static void request_ps(struct client *c)
{
    /* One frame each: all together may be longer than one can be. */
    for (struct domain *d = c->sv->domains; d; d = d->next)
        client_event(c, json_pack("{s:s, s:o}", "event", "domain", "domain", describe(d)));
    client_reply(c, json_pack("{s:b, s:{s:i, s:i}}", "ok", 1, "supervisor", "pid", (int)getpid(),
                              "restarts", (int)c->sv->restarts));
}

static void request_stop(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);
    json_int_t grace = json_integer_value(json_object_get(rq, "grace_ms"));

    if (!d)
        return;
    if (d->server && d == d->server->active->domain && d->server->users &&
        !json_is_true(json_object_get(rq, "force"))) {
        client_error(c, STATUS_OURS,
                     "%u domain%s the network server %s: stop them first, or restart it with "
                     "`librettos stop --force %s`",
                     d->server->users, d->server->users == 1 ? " uses" : "s use", d->name, d->name);
        return;
    }
    c->role = CLIENT_WAIT;
    c->domain = d;
    if (grace <= 0)
        domain_kill(d);
    else
        domain_stop(d, grace < 3600000 ? (uint32_t)grace : 3600000u);
}

static void request_upgrade(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);

    if (d && !d->server)
        client_error(c, STATUS_OURS,
                     "%s is no network server; `librettos ps` lists them (kind: network server)",
                     d->name);
    if (!d || !d->server)
        return;
    c->role = CLIENT_UPGRADE;
    netserver_upgrade(d->server, json_string_value(json_object_get(rq, "kernel")), c);
}

static void request_signal(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);
    json_int_t signal = json_integer_value(json_object_get(rq, "signal"));
    struct session *s = d ? domain_main_session(d) : NULL;

    if (!d)
        return;
    if (!s || !s->started || signal < 1 || signal > 64) {
        client_error(c, STATUS_OURS, "the program of domain %s does not run", d->name);
        return;
    }
    session_signal(s, (uint32_t)signal);
    client_reply(c, json_pack("{s:b}", "ok", 1));
}

static void request_stats(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);

    if (!d)
        return;
    c->role = CLIENT_STATS;
    c->domain = d;
    domain_get_stats(d);
}

static void request_gdb(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);

    if (d)
        debugger_request(c, d);
}

static void request_switch(struct client *c, json_t *rq)
{
    struct domain *d = named_domain(c, rq);

    if (d)
        pathswitch_request(c, d, rq);
}

/* Makes room for the next supervisor, of the build that the command is of. */
static void request_restart(struct client *c, json_t *rq)
{
    const char *binary;
    int version, fd;

    if (json_unpack(rq, "{s:i, s:s}", "state_version", &version, "binary", &binary)) {
        client_error(c, STATUS_OURS, "malformed request");
    } else if ((uint32_t)version != supervisor_state_version()) {
        client_error(
            c, STATUS_OURS,
            "%s is of a build that would not understand what the running supervisor leaves "
            ": stop the domains first",
            binary);
    } else if ((fd = open(binary, O_PATH | O_CLOEXEC)) < 0 || access(binary, X_OK) < 0) {
        client_error(c, STATUS_OURS, "%s: %s", binary, strerror(errno));
    } else {
        keeper_put(KEEPER_BINARY, &fd, 1);
        c->role = CLIENT_RESTART;
        c->sv->exit_status = KEEPER_AGAIN;
        c->sv->loop.stop = true;
    }
    if (c->role == CLIENT_RESTART)
        close(fd);
}

static int handle_request(struct client *c, const struct frame *f)
{
    json_t *rq = json_loadb((const char *)f->payload, f->length, 0, NULL);
    const char *op = json_string_value(json_object_get(rq, "op"));
    int err = 0;

    if (!op)
        err = -EPROTO;
    else if (!strcmp(op, "run"))
        request_run(c, rq);
    else if (!strcmp(op, "exec"))
        request_exec(c, rq);
    else if (!strcmp(op, "monitor"))
        request_monitor(c, rq);
    else if (!strcmp(op, "ps"))
        request_ps(c);
    else if (!strcmp(op, "stop"))
        request_stop(c, rq);
    else if (!strcmp(op, "signal"))
        request_signal(c, rq);
    else if (!strcmp(op, "gdb"))
        request_gdb(c, rq);
    else if (!strcmp(op, "switch"))
        request_switch(c, rq);
    else if (!strcmp(op, "upgrade"))
        request_upgrade(c, rq);
    else if (!strcmp(op, "stats"))
        request_stats(c, rq);
    else if (!strcmp(op, "restart"))
        request_restart(c, rq);
    else
        client_error(c, STATUS_OURS, "unknown request %s", op);
    json_decref(rq);
    return err;
}

int client_frame(struct client *c, const struct frame *f)
{
    uint32_t v = 0;

    if (c->role == CLIENT_NEW)
        return f->type == HOST_REQUEST ? handle_request(c, f) : -EPROTO;
    if (f->type == CTL_SHUTDOWN) {
        if (frame_u32(f, &v))
            return -EPROTO;
        if (c->role == CLIENT_RUN && c->domain && v)
            domain_stop(c->domain, v);
        else if (c->role == CLIENT_RUN && c->domain)
            domain_kill(c->domain);
        return 0;
    }
    if (!c->session)
        return 0; /* the program ended while this was on its way */
    switch (f->type) {
    case CTL_IN:
        return session_input(c->session, f->payload, f->length);
    case CTL_CREDIT:
        return frame_u32(f, &v) ? -EPROTO : session_consumed(c->session, v);
    case CTL_SIGNAL:
        if (frame_u32(f, &v) || v < 1 || v > 64)
            return -EPROTO;
        session_signal(c->session, v);
        return 0;
    case CTL_WINSIZE:
        if (f->length != 4)
            return -EPROTO;
        session_winsize(c->session, f->payload, f->length);
        return 0;
    default:
        return -EPROTO;
    }
}

void client_gone(struct client *c)
{
    pathswitch_forget(c);
    debugger_gone(c);
    for (struct netserver *ns = c->sv->servers; ns; ns = ns->next)
        if (ns->upgrade.client == c)
            ns->upgrade.client = NULL;
    if (!c->session)
        return;
    if (c->role == CLIENT_EXEC)
        session_signal(c->session, 1 /* SIGHUP */);
    else if (!c->detach)
        session_input(c->session, "", 0); /* the domain goes on, without anybody at its input */
    session_detach(c->session);
}
