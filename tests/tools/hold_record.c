/* What hold records: see hold_record.h. */
#include "hold_record.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_NS 100000000u
#define BUCKET_NS 10000 /* of the distribution of response times */
#define BUCKETS 100000  /* up to a second */

struct span {
    unsigned connection;
    uint64_t begin, end;
};

struct error {
    unsigned connection;
    uint64_t at;
    char kind[20], detail[80];
};

struct slice {
    uint64_t responses, bytes, slowest, outage;
};

/* A growing array; `items` is of a type that its user knows. */
struct list {
    void *items;
    size_t count, room;
};

struct hold_record {
    uint64_t begin, begin_realtime, slow_ns, outage_ns;
    struct list slow, outages, errors, slices;
    unsigned connections;
    uint64_t *last,
        *greatest; /* of each connection: its last response, the longest time without one */
    uint64_t requests, responses, slowest, longest_outage, late;
    uint64_t bulk_bytes[2], bulk_slowest[2]; /* down, up */
    uint64_t waiting, waiting_since;         /* requests; the last answer, or the first of them */
    uint64_t buckets[BUCKETS];               /* the last one counts all that took longer, too */
    struct {                                 /* since the last hold_record_line */
        uint64_t begin, responses, slowest, outage, errors, bytes;
    } line;
};

static void *must(void *p)
{
    if (!p) {
        perror("hold");
        exit(1);
    }
    return p;
}

/* Room for one more item, zeroed. */
static void *add(struct list *l, size_t size)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 64;
        l->items = must(realloc(l->items, l->room * size));
    }
    return memset((char *)l->items + l->count++ * size, 0, size);
}

static void raise_to(uint64_t *most, uint64_t value)
{
    if (*most < value)
        *most = value;
}

static uint64_t clock_ns(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t hold_now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

struct hold_record *hold_record_new(unsigned connections, uint64_t slow_ns, uint64_t outage_ns)
{
    struct hold_record *r = must(calloc(1, sizeof(*r)));

    r->begin = r->line.begin = hold_now();
    r->begin_realtime = clock_ns(CLOCK_REALTIME);
    r->slow_ns = slow_ns;
    r->outage_ns = outage_ns;
    r->connections = connections;
    r->last = must(calloc(connections + 1, sizeof(*r->last)));
    r->greatest = must(calloc(connections + 1, sizeof(*r->greatest)));
    for (unsigned i = 0; i < connections; i++)
        r->last[i] = r->begin;
    return r;
}

static struct slice *slice_at(struct hold_record *r, uint64_t now)
{
    size_t i = (now - r->begin) / SLICE_NS;

    while (r->slices.count <= i)
        add(&r->slices, sizeof(struct slice));
    return (struct slice *)r->slices.items + i;
}

static void add_span(struct list *l, unsigned connection, uint64_t begin, uint64_t end)
{
    struct span *s = add(l, sizeof(*s));

    *s = (struct span){connection, begin, end};
}

/* The time in which requests waited ends, or begins anew. */
static void end_outage(struct hold_record *r, uint64_t now)
{
    uint64_t ns = now - r->waiting_since;

    if (ns >= r->outage_ns)
        add_span(&r->outages, 0, r->waiting_since, now);
    raise_to(&r->longest_outage, ns);
    raise_to(&r->line.outage, ns);
    raise_to(&slice_at(r, now)->outage, ns);
    r->waiting_since = now;
    r->waiting--;
}

void hold_record_request(struct hold_record *r, uint64_t now)
{
    if (!r->waiting++)
        r->waiting_since = now;
    r->requests++;
}

void hold_record_response(struct hold_record *r, unsigned connection, uint64_t asked, uint64_t now)
{
    uint64_t took = now - asked, bucket = took / BUCKET_NS;
    struct slice *s = slice_at(r, now);

    if (took >= r->slow_ns)
        add_span(&r->slow, connection, asked, now);
    raise_to(&r->greatest[connection], now - r->last[connection]);
    r->last[connection] = now;
    r->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    raise_to(&r->slowest, took);
    raise_to(&s->slowest, took);
    raise_to(&r->line.slowest, took);
    r->responses++;
    r->line.responses++;
    s->responses++;
    end_outage(r, now);
}

void hold_record_abandon(struct hold_record *r, uint64_t now)
{
    end_outage(r, now);
}

void hold_record_bulk(struct hold_record *r, bool up, size_t bytes, uint64_t took, uint64_t now)
{
    r->bulk_bytes[up] += bytes;
    r->line.bytes += bytes;
    slice_at(r, now)->bytes += bytes;
    raise_to(&r->bulk_slowest[up], took);
}

void hold_record_error(struct hold_record *r, unsigned connection, const char *kind,
                       const char *detail, uint64_t now)
{
    struct error *e = add(&r->errors, sizeof(*e));

    e->connection = connection;
    e->at = now;
    snprintf(e->kind, sizeof(e->kind), "%s", kind);
    snprintf(e->detail, sizeof(e->detail), "%s", detail);
    r->line.errors++;
}

void hold_record_late(struct hold_record *r, uint64_t ns)
{
    raise_to(&r->late, ns);
}

size_t hold_record_errors(const struct hold_record *r)
{
    return r->errors.count;
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

void hold_record_line(struct hold_record *r, FILE *f, uint64_t oldest, uint64_t now)
{
    raise_to(&r->line.slowest, now - oldest);
    if (r->waiting)
        raise_to(&r->line.outage, now - r->waiting_since);
    fprintf(f,
            "{\"seconds\": %.3f, \"responses\": %" PRIu64 ", \"outage_ms\": %.3f, "
            "\"slowest_ms\": %.3f, \"bulk_bytes\": %" PRIu64 ", \"errors\": %" PRIu64 "}\n",
            ms(now - r->line.begin) / 1000, r->line.responses, ms(r->line.outage),
            ms(r->line.slowest), r->line.bytes, r->line.errors);
    fflush(f);
    memset(&r->line, 0, sizeof(r->line));
    r->line.begin = now;
}

/* ---- the JSON ---- */

static uint64_t quantile(const struct hold_record *r, double q)
{
    uint64_t before = 0, wanted = (uint64_t)(q * (double)r->responses);
    size_t i = 0;

    while (i < BUCKETS - 1 && (before += r->buckets[i]) <= wanted)
        i++;
    return (uint64_t)i * BUCKET_NS + BUCKET_NS / 2;
}

static void write_spans(const struct hold_record *r, FILE *f, const char *name,
                        const struct list *l)
{
    const struct span *s = l->items;

    fprintf(f, "\"%s\": [", name);
    for (size_t i = 0; i < l->count; i++)
        fprintf(f, "%s\n[%u, %" PRIu64 ", %" PRIu64 "]", i ? "," : "", s[i].connection,
                s[i].begin - r->begin, s[i].end - r->begin);
    fprintf(f, "],\n");
}

static void write_errors(const struct hold_record *r, FILE *f)
{
    const struct error *e = r->errors.items;

    fprintf(f, "\"errors\": [");
    for (size_t i = 0; i < r->errors.count; i++)
        fprintf(f,
                "%s\n{\"connection\": %u, \"at\": %" PRIu64
                ", \"kind\": \"%s\", \"detail\": \"%s\"}",
                i ? "," : "", e[i].connection, e[i].at - r->begin, e[i].kind, e[i].detail);
    fprintf(f, "],\n");
}

static void write_slices(const struct hold_record *r, FILE *f)
{
    const struct slice *s = r->slices.items;

    fprintf(f, "\"slice_ns\": %u,\n\"slices\": [", SLICE_NS);
    for (size_t i = 0; i < r->slices.count; i++)
        fprintf(f, "%s\n[%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", i ? "," : "",
                s[i].responses, s[i].bytes, s[i].slowest, s[i].outage);
    fprintf(f, "]\n");
}

void hold_record_write(struct hold_record *r, FILE *f, uint64_t now)
{
    slice_at(r, now);
    fprintf(f, "{\"begin_monotonic_ns\": %" PRIu64 ",\n\"begin_realtime_ns\": %" PRIu64 ",\n",
            r->begin, r->begin_realtime);
    fprintf(f, "\"length_ns\": %" PRIu64 ",\n\"connections\": %u,\n", now - r->begin,
            r->connections);
    fprintf(f, "\"requests\": %" PRIu64 ",\n\"responses\": %" PRIu64 ",\n", r->requests,
            r->responses);
    fprintf(f,
            "\"response_ns\": {\"median\": %" PRIu64 ", \"p99\": %" PRIu64 ", \"max\": %" PRIu64
            "},\n",
            quantile(r, 0.5), quantile(r, 0.99), r->slowest);
    fprintf(f, "\"longest_outage_ns\": %" PRIu64 ",\n\"late_ns\": %" PRIu64 ",\n",
            r->longest_outage, r->late);
    for (int up = 0; up < 2; up++)
        fprintf(f, "\"%s\": {\"bytes\": %" PRIu64 ", \"slowest_ns\": %" PRIu64 "},\n",
                up ? "up" : "down", r->bulk_bytes[up], r->bulk_slowest[up]);
    write_errors(r, f);
    write_spans(r, f, "outages", &r->outages);
    write_spans(r, f, "slow", &r->slow);
    fprintf(f, "\"greatest_gap_ns\": [");
    for (unsigned i = 0; i < r->connections; i++)
        fprintf(f, "%s%" PRIu64, i ? ", " : "", r->greatest[i]);
    fprintf(f, "],\n");
    write_slices(r, f);
    fprintf(f, "}\n");
}
