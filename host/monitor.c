/* The command's side of a monitor: host/monitor.h. */
#include "monitor.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "supervisor.h"

#define IDLE_NS 250000000u

struct watching {
    const struct monitor_run *run;
    struct buf rest; /* what of the stream is not a whole record yet */
};

int record_next(struct buf *b, struct record *r)
{
    if (buf_used(b) < sizeof(r->head))
        return 0;
    memcpy(&r->head, buf_head(b), sizeof(r->head));
    if (r->head.length < sizeof(r->head) || r->head.length > MONITOR_RECORD_MAX ||
        r->head.length % 8)
        return -EPROTO;
    if (buf_used(b) < r->head.length)
        return 0;
    r->payload = buf_head(b) + sizeof(r->head);
    r->size = r->head.length - sizeof(r->head);
    buf_consume(b, r->head.length);
    return 1;
}

static int on_output(struct attach *a, const void *data, size_t n)
{
    struct watching *w = a->arg;
    struct record r;
    int err;

    a->wait_until_ns = now_ns() + IDLE_NS;
    buf_append(&w->rest, data, n);
    while ((err = record_next(&w->rest, &r)) > 0)
        if ((err = w->run->record(w->run->arg, &r)))
            return err;
    if (err)
        warn("%s sends what is no record", w->run->domain);
    else if (w->run->pause)
        err = w->run->pause(w->run->arg);
    return err;
}

static bool on_timeout(struct attach *a)
{
    struct watching *w = a->arg;

    if (w->run->idle)
        w->run->idle(w->run->arg);
    return false;
}

/* Why the domain would not be watched. */
static int explain(const struct monitor_run *m, uint32_t error)
{
    const char *what = m->ask.kind == MONITOR_TRACE ? "traced" : "captured";

    if (error == EBUSY)
        warn("%s is being %s already", m->domain, what);
    else if (error == ESRCH && !m->ask.pid)
        warn("domain %s runs no program", m->domain);
    else if (error == ESRCH)
        warn("domain %s has no process or thread %u", m->domain, m->ask.pid);
    else
        warn("%s cannot be %s: %s", m->domain, what, strerror((int)error));
    return STATUS_OURS;
}

static json_t *make_request(const struct monitor_run *m)
{
    char calls[2 * sizeof(m->ask.calls) + 1];

    hex_encode(m->ask.calls, sizeof(m->ask.calls), calls);
    return json_pack("{s:s, s:s, s:i, s:i, s:i, s:b, s:s}", "op", "monitor", "name", m->domain,
                     "kind", (int)m->ask.kind, "pid", (int)m->ask.pid, "snap", (int)m->ask.snap,
                     "follow", (int)(m->ask.flags & MONITOR_FOLLOW), "calls", calls);
}

int monitor_run(const struct monitor_run *m)
{
    struct watching w = {.run = m};
    struct attach a = {.output = on_output, .timeout = on_timeout, .arg = &w};
    json_t *request = make_request(m);
    int status = STATUS_OURS;

    if (!request) {
        warn("not UTF-8 text: %s", m->domain);
        return STATUS_OURS;
    }
    a.fd = supervisor_connect(0);
    if (a.fd == -ENOENT)
        warn("no domain is running");
    if (a.fd < 0)
        json_decref(request);
    else if (!send_request(a.fd, request) && !attach_run(&a))
        status = a.has_exit && a.exit.kind == CTL_EXIT_EXEC ? explain(m, a.exit.value)
                                                            : reply_status(a.reply);
    if (a.fd >= 0)
        close(a.fd);
    json_decref(a.reply);
    buf_free(&w.rest);
    return status;
}
