/*
 * What hold records: each response time and each outage above a threshold with its begin and end,
 * each error, and a line of figures for each tenth of a second. Times are nanoseconds of
 * CLOCK_MONOTONIC.
 *
 * An outage is a time in which at least one request waited and none was answered.
 */
#ifndef HOLD_RECORD_H
#define HOLD_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct hold_record;

/* A record that begins now. `connections` have request/response, with ids from 0; thresholds in ns.
 */
struct hold_record *hold_record_new(unsigned connections, uint64_t slow_ns, uint64_t outage_ns);

/* The present time. */
uint64_t hold_now(void);

/* A request was sent. */
void hold_record_request(struct hold_record *r, uint64_t now);

/* The request of a connection that was sent at `asked` is answered. */
void hold_record_response(struct hold_record *r, unsigned connection, uint64_t asked, uint64_t now);

/* A request that waited will not be answered: its connection is lost. */
void hold_record_abandon(struct hold_record *r, uint64_t now);

/* `bytes` of a bulk transfer arrived at their receiver, `took` ns after they were asked for or
 * sent. */
void hold_record_bulk(struct hold_record *r, bool up, size_t bytes, uint64_t took, uint64_t now);

/* A connection failed: `kind` in a word, `detail` in some more. Both are copied. */
void hold_record_error(struct hold_record *r, unsigned connection, const char *kind,
                       const char *detail, uint64_t now);

/* This process itself was late by that much, for want of a processor. */
void hold_record_late(struct hold_record *r, uint64_t ns);

size_t hold_record_errors(const struct hold_record *r);

/* Writes one line of JSON about the time since the last such line, or the begin. `oldest` is when
 * the oldest unanswered request was sent, or `now`. */
void hold_record_line(struct hold_record *r, FILE *f, uint64_t oldest, uint64_t now);

/* Writes all of it as JSON (docs/measuring.md has the fields). */
void hold_record_write(struct hold_record *r, FILE *f, uint64_t now);

#endif
