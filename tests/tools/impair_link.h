/*
 * One direction of a bad link: what is lost, damaged, duplicated, delayed, put out of order or
 * dropped by the queue of a slow line. All by chance, from a seed, and each frame takes the same
 * number of random numbers, so that the n-th frame has the same fate whatever the other frames are.
 */
#ifndef IMPAIR_LINK_H
#define IMPAIR_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINK_NEVER INT64_MAX

struct link_conditions {
    double loss, reorder, overtake, duplicate, corrupt; /* chances, in percent */
    int64_t delay, jitter;                              /* ns; jitter in both directions of delay */
    double rate;                                        /* Mbit/s; 0: no limit */
    double limit;                                       /* of the queue, in frames of full size */
    uint64_t seed;
};

struct link_counts {
    unsigned long forwarded, lost, reordered, overtook, duplicated, corrupted;
    unsigned long dropped; /* by the queue of the slow line */
    unsigned long failed;  /* our own queue was full, or the receiver took no such frame */
    int64_t behind_sum;    /* how much too late they were forwarded, ns */
    int64_t behind_max;
};

struct frame {
    int64_t due;
    size_t len;
    uint8_t *data;
};

#define LINK_FRAMES 16384u /* a power of two */

struct link {
    struct link_conditions is;
    struct link_counts did;
    uint64_t random;
    int64_t busy_until;              /* the line sends what is before */
    int64_t last_due;                /* of the frames that keep their order */
    struct frame queue[LINK_FRAMES]; /* a ring, sorted by due */
    unsigned first, count;
};

/* Begins anew with these conditions: nothing in flight, all counts zero. */
void link_reset(struct link *l, const struct link_conditions *is);

/* A frame enters the link at the time `now`; the data are copied. */
void link_enter(struct link *l, const uint8_t *data, size_t len, int64_t now);

/* The frame that leaves next, or NULL. Owned by the link. */
const struct frame *link_head(const struct link *l);

/* The head has left at the time `now`, or could not (`ok` false: it is lost). */
void link_leave(struct link *l, int64_t now, bool ok);

/* Sets what "name=value" says; false if there is no such condition. Delays are in ms. */
bool link_parse(struct link_conditions *is, const char *text);

/* Prints the counts as one JSON object. */
void link_print(const struct link *l);

#endif
