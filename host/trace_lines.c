/*
 * A trace as lines: "TID call(arguments) = result". A call is shown when it returns; one that takes
 * long, or never returns, is shown as unfinished, and resumed when it does. At most PENDING_MAX
 * calls are under way: who claims more is not believed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "trace.h"

#define PENDING_MAX 4096u
#define LONG_NS 200000000u

struct trace_pending {
    uint32_t tid;
    unsigned nr;
    bool shown; /* as unfinished */
    uint64_t time, args[6];
    uint8_t *data; /* captures of the entry */
    size_t size;
    struct trace_pending *next;
};

static void put_head(const struct trace_lines *t, struct buf *out, uint32_t tid, uint64_t time)
{
    buf_printf(out, "%-5u ", tid);
    if (t->options.times) {
        time_t s = (time_t)(time / 1000000000u);
        struct tm tm;
        char text[16] = "?";
        if (localtime_r(&s, &tm))
            strftime(text, sizeof(text), "%H:%M:%S", &tm);
        buf_printf(out, "%s.%06u ", text, (unsigned)(time % 1000000000u / 1000));
    }
}

static void put_call_name(struct buf *out, unsigned nr)
{
    const char *name = trace_call_name(nr);

    if (name)
        buf_printf(out, "%s", name);
    else
        buf_printf(out, "syscall_%u", nr);
}

/* ---- calls under way ---- */

static void drop(struct trace_pending **at)
{
    struct trace_pending *p = *at;

    *at = p->next;
    free(p->data);
    free(p);
}

static struct trace_pending **find(struct trace_lines *t, uint32_t tid)
{
    struct trace_pending **at = &t->pending;

    while (*at && (*at)->tid != tid)
        at = &(*at)->next;
    return at;
}

static void put_unfinished(struct trace_lines *t, struct trace_pending *p, struct buf *out)
{
    struct trace_captures in;

    trace_find_captures(&in, p->data, p->size);
    put_head(t, out, p->tid, p->time);
    put_call_name(out, p->nr);
    buf_printf(out, "(");
    trace_put_args(out, p->nr, p->args, &in, NULL, NULL);
    buf_printf(out, " <unfinished ...>\n");
    p->shown = true;
}

void trace_lines_unfinished(struct trace_lines *t, bool all, struct buf *out)
{
    for (struct trace_pending *p = t->pending; p; p = p->next)
        if (!p->shown && (all || p->time + LONG_NS < t->now))
            put_unfinished(t, p, out);
}

static void on_entry(struct trace_lines *t, const struct record *r, struct buf *out)
{
    struct trace_pending **at = find(t, r->head.tid), *p;
    size_t count = 0;

    if (r->size < sizeof(p->args))
        return;
    if (*at && !(*at)->shown) /* its exit was lost */
        put_unfinished(t, *at, out);
    if (*at)
        drop(at);
    for (p = t->pending; p; p = p->next)
        count++;
    if (count >= PENDING_MAX)
        return;
    p = xcalloc(1, sizeof(*p));
    *p = (struct trace_pending){
        .tid = r->head.tid, .nr = r->head.number, .time = r->head.time, .next = t->pending};
    memcpy(p->args, r->payload, sizeof(p->args));
    p->size = r->size - sizeof(p->args);
    p->data = xmalloc(p->size ? p->size : 1);
    memcpy(p->data, r->payload + sizeof(p->args), p->size);
    t->pending = p;
}

static void on_exit_record(struct trace_lines *t, const struct record *r, struct buf *out)
{
    struct trace_pending **at = find(t, r->head.tid);
    struct trace_captures in, done;
    struct monitor_exit e;
    bool resumed = *at && (*at)->shown;

    if (r->size < sizeof(e))
        return;
    memcpy(&e, r->payload, sizeof(e));
    trace_find_captures(&done, r->payload + sizeof(e), r->size - sizeof(e));
    bool known = *at && (*at)->nr == r->head.number;
    trace_find_captures(&in, known ? (*at)->data : NULL, known ? (*at)->size : 0);
    put_head(t, out, r->head.tid, resumed || !known ? r->head.time : (*at)->time);
    buf_printf(out, resumed ? "<... " : "");
    put_call_name(out, r->head.number);
    buf_printf(out, resumed ? " resumed>" : "(");
    trace_put_args(out, r->head.number, e.args, &in, &done, &e.result);
    buf_printf(out, ")");
    trace_put_result(out, r->head.number, e.result);
    if (t->options.durations)
        buf_printf(out, " <%" PRIu64 ".%06u>", e.duration / 1000000000u,
                   (unsigned)(e.duration % 1000000000u / 1000));
    buf_printf(out, "\n");
    if (*at)
        drop(at);
}

/* ---- signals and ends ---- */

static const char *signal_name(int signo)
{
    const char *name = signo > 0 && signo < 32 ? sigabbrev_np(signo) : NULL;

    return name ? name : "RT";
}

static void on_signal(struct trace_lines *t, const struct record *r, struct buf *out)
{
    struct monitor_signal s;

    if (r->size < sizeof(s))
        return;
    memcpy(&s, r->payload, sizeof(s));
    put_head(t, out, r->head.tid, r->head.time);
    buf_printf(out, "--- SIG%s {si_signo=%d, si_code=%d, ", signal_name(s.signo), s.signo, s.code);
    bool fault = s.signo == SIGSEGV || s.signo == SIGBUS || s.signo == SIGILL || s.signo == SIGFPE;
    if (s.code > 0 && fault)
        buf_printf(out, "si_addr=%#" PRIx64 "} ---\n", s.addr);
    else
        buf_printf(out, "si_pid=%d, si_uid=%u} ---\n", s.pid, s.uid);
}

static void on_end(struct trace_lines *t, const struct record *r, struct buf *out)
{
    struct trace_pending **at = find(t, r->head.tid);
    uint64_t value;

    if (r->size < sizeof(value))
        return;
    memcpy(&value, r->payload, sizeof(value));
    if (*at && !(*at)->shown)
        put_unfinished(t, *at, out);
    if (*at)
        drop(at);
    int status = (int)value;
    put_head(t, out, r->head.tid, r->head.time);
    if (WIFSIGNALED(status))
        buf_printf(out, "+++ killed by SIG%s%s +++\n", signal_name(WTERMSIG(status)),
                   WCOREDUMP(status) ? " (core dumped)" : "");
    else
        buf_printf(out, "+++ exited with %d +++\n", WEXITSTATUS(status));
}

void trace_lines_record(struct trace_lines *t, const struct record *r, struct buf *out)
{
    uint64_t lost;

    t->now = r->head.time;
    switch (r->head.type) {
    case MONITOR_ENTRY:
        on_entry(t, r, out);
        break;
    case MONITOR_EXIT:
        on_exit_record(t, r, out);
        break;
    case MONITOR_SIGNAL:
        on_signal(t, r, out);
        break;
    case MONITOR_END:
        on_end(t, r, out);
        break;
    case MONITOR_LOST:
        if (r->size < sizeof(lost))
            break;
        memcpy(&lost, r->payload, sizeof(lost));
        buf_printf(out, "... %" PRIu64 " records lost ...\n", lost);
        break;
    }
}

void trace_lines_free(struct trace_lines *t)
{
    while (t->pending)
        drop(&t->pending);
}
