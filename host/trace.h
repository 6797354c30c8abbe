/* The pieces of `librettos trace`: names (trace_names.c), arguments as text (trace_args.c), lines
 * and the summary (trace_lines.c, trace_summary.c). */
#ifndef HOST_TRACE_H
#define HOST_TRACE_H

#include "monitor.h"

/* ---- names ---- */

/* "read", or NULL for a number that no call has. */
const char *trace_call_name(unsigned nr);
/* The kinds of a call's result and arguments (abi/syscalls.h), 7 of them; NULL if not known. */
const uint8_t *trace_call_kinds(unsigned nr);
/* Adds or removes (comma-separated) calls, classes ("%file", "%desc", "%network", "%process") or
 * all but those behind "!". 0, or -EINVAL after a warning. */
int trace_select(uint64_t calls[MONITOR_CALLS / 64], const char *text);
/* Appends the name of a value, or the names of its bits; numbers where there is none. False: values
 * of this kind have no names. `before`: the argument before it. */
bool trace_put_name(struct buf *out, unsigned kind, uint64_t value, uint64_t before);

/* ---- arguments ---- */

struct trace_captures {
    const uint8_t *data[6];
    uint32_t length[6];
    uint16_t flags[6];
    bool there[6];
};

/* Finds the captures in the rest of a record. What does not fit is left out. */
void trace_find_captures(struct trace_captures *c, const uint8_t *data, size_t n);
/* Appends the arguments. result: of the call, or NULL while it is under way. */
void trace_put_args(struct buf *out, unsigned nr, const uint64_t args[6],
                    const struct trace_captures *in, const struct trace_captures *exit,
                    const int64_t *result);
/* Appends n bytes as a C string; `more`: it goes on. */
void trace_put_string(struct buf *out, const uint8_t *data, size_t n, bool more);
/* Appends " = 3" or " = -1 ENOENT (No such file or directory)". */
void trace_put_result(struct buf *out, unsigned nr, int64_t result);

/* ---- lines ---- */

struct trace_options {
    bool times, durations;
};

struct trace_pending;

/* The calls that are under way, by thread. */
struct trace_lines {
    struct trace_options options;
    struct trace_pending *pending;
    uint64_t now; /* time of the last record */
};

/* Appends the lines that a record leads to. */
void trace_lines_record(struct trace_lines *t, const struct record *r, struct buf *out);
/* Appends calls that have been under way for a while, or with `all` those that never returned. */
void trace_lines_unfinished(struct trace_lines *t, bool all, struct buf *out);
void trace_lines_free(struct trace_lines *t);

/* ---- the summary ---- */

struct trace_summary {
    struct {
        uint64_t count, errors, ns;
    } calls[MONITOR_CALLS];
};

void trace_summary_record(struct trace_summary *s, const struct record *r);
void trace_summary_put(const struct trace_summary *s, struct buf *out);

#endif
