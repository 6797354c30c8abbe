/* Following a domain's start and end on behalf of `librettos run`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core_file.h"
#include "logfile.h"
#include "run.h"

#define DETACH_WAIT_NS 5000000000ull /* for the published ports to be listened on */
#define SETTLE_NS 100000000ull       /* with none: for a program that fails at once */

static bool all_listening(const struct run_progress *p)
{
    for (size_t i = 0; i < p->o->port_count; i++)
        if (!p->o->ports[i].udp && !(p->listening >> i & 1))
            return false;
    return true;
}

static double ms(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) / 1e6 : 0;
}

static void print_timing(const struct run_progress *p)
{
    uint64_t t0 = cli_begin_ns;

    if (!p->o->timing)
        return;
    dprintf(
        STDERR_FILENO,
        "timing: supervisor +%.1f ms, image +%.1f ms, request +%.1f ms, qemu +%.1f ms, kernel up "
        "+%.1f ms (%.1f ms in the kernel), program +%.1f ms",
        ms(t0, p->connected_ns), ms(t0, p->packed_ns), ms(t0, p->request_ns), ms(t0, p->spawned_ns),
        ms(t0, p->booted_ns), (double)p->boot_ns / 1e6, ms(t0, p->started_ns));
    if (p->listen_ns)
        dprintf(STDERR_FILENO, ", listening +%.1f ms", ms(t0, p->listen_ns));
    dprintf(STDERR_FILENO, "\n");
}

static void on_listen(struct run_progress *p, int port, bool udp)
{
    bool published = false;

    for (size_t i = 0; i < p->o->port_count; i++) {
        const struct vnet_forward *f = &p->o->ports[i];
        if (f->guest_port != port || f->udp != udp)
            continue;
        published = true;
        if (!(p->listening >> i & 1))
            dprintf(STDERR_FILENO, "%s: %s%s%s:%u -> %d/%s\n", p->name,
                    strchr(f->host_ip, ':') ? "[" : "", f->host_ip,
                    strchr(f->host_ip, ':') ? "]" : "", f->host_port, port, udp ? "udp" : "tcp");
        p->listening |= 1ull << i;
    }
    if (!published && !p->told && !udp && !p->o->port_count) {
        p->told = true;
        if (*p->address)
            dprintf(STDERR_FILENO,
                    "%s: listens on %s:%d, for other domains only; -p HOST:%d publishes it\n",
                    p->name, p->address, port, port);
        else
            dprintf(STDERR_FILENO, "%s: listens on port %d\n", p->name, port);
    }
}

bool run_event(struct attach *a, json_t *e)
{
    struct run_progress *p = a->arg;
    const char *what = json_string_value(json_object_get(e, "event"));
    uint64_t at = (uint64_t)json_integer_value(json_object_get(e, "at_ns"));

    if (!what)
        return false;
    if (!strcmp(what, "created")) {
        const char *name = json_string_value(json_object_get(e, "name"));
        const char *dir = json_string_value(json_object_get(e, "dir"));
        const char *address = json_string_value(json_object_get(e, "address"));
        p->name = xstrdup(name ? name : "");
        p->dir = xstrdup(dir ? dir : "");
        p->address = xstrdup(address ? address : "");
        p->request_ns = (uint64_t)json_integer_value(json_object_get(e, "request_ns"));
        p->spawned_ns = (uint64_t)json_integer_value(json_object_get(e, "spawned_ns"));
    } else if (!strcmp(what, "booted")) {
        p->booted_ns = at;
        p->boot_ns = (uint64_t)json_integer_value(json_object_get(e, "boot_ns"));
    } else if (!strcmp(what, "started")) {
        p->started_ns = at;
        if (p->o->trace)
            p->tracer = trace_start(p->name, p->o->trace, a->fd, p->o->detach);
        if (!p->o->port_count)
            print_timing(p);
        if (p->o->detach)
            a->wait_until_ns = now_ns() + (all_listening(p) ? SETTLE_NS : DETACH_WAIT_NS);
    } else if (!strcmp(what, "listen") && json_is_true(json_object_get(e, "open"))) {
        bool first = !p->listen_ns;
        p->listen_ns = first ? at : p->listen_ns;
        on_listen(p, (int)json_integer_value(json_object_get(e, "port")),
                  json_integer_value(json_object_get(e, "protocol")) == 17);
        if (first && p->o->port_count)
            print_timing(p);
        return p->o->detach && p->started_ns && all_listening(p);
    }
    return false;
}

bool run_timeout(struct attach *a)
{
    struct run_progress *p = a->arg;

    for (size_t i = 0; i < p->o->port_count; i++)
        if (!p->o->ports[i].udp && !(p->listening >> i & 1))
            warn("%s runs, but does not listen on port %u yet", p->name, p->o->ports[i].guest_port);
    return true;
}

/* The last words of a detached program that ended at once; attached ones were seen already. */
static void print_last_words(const struct run_progress *p)
{
    char *path = xasprintf("%s/output.log", p->dir), *text = logfile_tail(path, 4096);

    write_all(STDERR_FILENO, text, strlen(text));
    free(text);
    free(path);
}

static bool has_core(const struct run_progress *p)
{
    char *path = xasprintf("%s/" CORE_FILE, p->dir);
    bool there = !access(path, F_OK);

    free(path);
    return there;
}

int run_conclude(struct attach *a, struct run_progress *p)
{
    json_t *domain = json_object_get(a->reply, "domain");
    const char *reason = json_string_value(json_object_get(domain, "reason"));
    const char *state = json_string_value(json_object_get(domain, "state"));
    int status = reply_status(a->reply);

    if (!domain)
        return status ? status : STATUS_OURS;
    status = (int)json_integer_value(json_object_get(domain, "status"));
    if (p->o->detach)
        print_last_words(p);
    if (a->has_exit && a->exit.kind == CTL_EXIT_EXEC)
        warn("%s cannot be started in the domain: %s", p->program, strerror((int)a->exit.value));
    else if (a->has_exit && a->exit.kind == CTL_EXIT_SIGNAL && has_core(p))
        warn("a program of %s left a core: `librettos core %s` fetches it", p->name, p->name);
    else if (reason)
        warn("%s %s: %s", p->name, state ? state : "failed", reason);
    else if (p->o->detach)
        warn("%s ended at once with status %d", p->program, status);
    return p->o->detach && !status ? STATUS_OURS : status;
}

void run_free_progress(struct run_progress *p)
{
    free(p->name);
    free(p->dir);
    free(p->address);
}
