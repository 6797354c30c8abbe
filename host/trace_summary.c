/* `librettos trace -c`: how often each call was made, how often it failed, how long it took. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

void trace_summary_record(struct trace_summary *s, const struct record *r)
{
    struct monitor_exit e;

    if (r->head.type != MONITOR_EXIT || r->size < sizeof(e) || r->head.number >= MONITOR_CALLS)
        return;
    memcpy(&e, r->payload, sizeof(e));
    s->calls[r->head.number].count++;
    s->calls[r->head.number].ns += e.duration;
    s->calls[r->head.number].errors += e.result < 0 && e.result >= -4095;
}

static int by_time(const void *a, const void *b, void *arg)
{
    const struct trace_summary *s = arg;
    uint64_t x = s->calls[*(const uint16_t *)a].ns, y = s->calls[*(const uint16_t *)b].ns;

    return (x < y) - (x > y);
}

void trace_summary_put(const struct trace_summary *s, struct buf *out)
{
    uint16_t order[MONITOR_CALLS];
    uint64_t count = 0, errors = 0, ns = 0;
    size_t n = 0;

    for (unsigned nr = 0; nr < MONITOR_CALLS; nr++) {
        if (!s->calls[nr].count)
            continue;
        order[n++] = (uint16_t)nr;
        count += s->calls[nr].count;
        errors += s->calls[nr].errors;
        ns += s->calls[nr].ns;
    }
    qsort_r(order, n, sizeof(*order), by_time, (void *)s);
    buf_printf(out, "%6s %11s %11s %9s %9s %s\n", "% time", "seconds", "usecs/call", "calls",
               "errors", "syscall");
    for (size_t i = 0; i < n; i++) {
        const char *name = trace_call_name(order[i]);
        uint64_t t = s->calls[order[i]].ns, c = s->calls[order[i]].count;
        buf_printf(out, "%6.2f %11.6f %11" PRIu64 " %9" PRIu64 " %9" PRIu64 " %s\n",
                   ns ? 100.0 * (double)t / (double)ns : 0, (double)t / 1e9, t / 1000 / c, c,
                   s->calls[order[i]].errors, name ? name : "?");
    }
    buf_printf(out, "%6s %11.6f %11s %9" PRIu64 " %9" PRIu64 " %s\n", "100.00", (double)ns / 1e9,
               "", count, errors, "total");
}
