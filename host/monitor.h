/*
 * The command's side of a monitor (abi/monitor.h): asking for one, and cutting its stream into
 * records. The stream comes from a domain: what is handed out here has a checked length, and
 * nothing else of it was looked at.
 */
#ifndef HOST_MONITOR_H
#define HOST_MONITOR_H

#include "../abi/monitor.h"
#include "util.h"

/* One record; payload points into the stream's buffer. */
struct record {
    struct monitor_record head;
    const uint8_t *payload;
    size_t size; /* of the payload */
};

struct monitor_run {
    const char *domain;
    struct ctl_monitor ask;
    /* Takes one record. 0 or -errno; -EPIPE: nobody wants more. */
    int (*record)(void *arg, const struct record *r);
    /* All that came at once was handed out; may be NULL. As record(). */
    int (*pause)(void *arg);
    /* Nothing came for a while; may be NULL. */
    void (*idle)(void *arg);
    void *arg;
};

/* Watches until the domain ends or a signal ends it (SIGINT). Returns the exit status, after a
 * warning if it is not 0. */
int monitor_run(const struct monitor_run *m);

/* Takes the next record off the front of the buffer: 1, 0 if it is not complete, -EPROTO. */
int record_next(struct buf *b, struct record *r);

#endif
