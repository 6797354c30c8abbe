/*
 * The rings of a channel over plain memory: producer, consumer, suppression of doorbells, and the
 * validation of everything the other side wrote (abi/channel.h has the rules, V2 to V6 are checked
 * here). No device and no packets: whoever uses a ring rings when it is told to.
 *
 * A producer and a consumer have one user at a time each (locking is the caller's); they may be
 * used on different CPUs. Any context, but create and destroy: threads.
 */
#ifndef CHANNEL_RING_H
#define CHANNEL_RING_H

#include "abi/channel.h"
#include "core/base.h"

struct channel_producer {
    struct channel_line *own;        /* tail, room_event */
    const struct channel_line *peer; /* head, data_event */
    struct channel_desc *descs;
    uint8_t *data;
    uint32_t *starts; /* per slot: where the data of an outstanding frame starts */
    uint32_t slots, data_size;
    uint32_t tail;     /* next descriptor to fill in; what own->tail shows */
    uint32_t head;     /* the consumer's, when last looked at */
    uint32_t notified; /* tail when the consumer was last considered for a doorbell */
    uint32_t at;       /* where in the data area the next frame goes */
    bool draining;     /* attached to a ring that was not empty: nothing until it is */
    bool broken;       /* V3 */
};

struct channel_consumer {
    struct channel_line *own;        /* head, data_event */
    const struct channel_line *peer; /* tail, room_event */
    const struct channel_desc *descs;
    const uint8_t *data;
    uint32_t slots, data_size;
    uint32_t features; /* what the producer may ask for */
    uint32_t next;     /* next descriptor to take */
    uint32_t tail;     /* the producer's, when last looked at */
    uint32_t head;     /* released; what own->head shows */
    uint32_t notified; /* head when the producer was last considered for a doorbell */
    bool broken;       /* V2, V4 to V6 */
};

/* A frame taken from a ring: a private, valid descriptor; the data is shared memory and may change
 * while it is looked at. */
struct channel_frame {
    struct channel_desc desc;
    const uint8_t *data;
};

/* --- the producer ----------------------------------------------------------------------------- */

/* Room for a frame of len bytes (CHANNEL_FRAME_MIN to CHANNEL_FRAME_MAX), to be filled in and
 * committed; NULL if there is none: ask channel_want_room. Nothing is taken until the commit. */
uint8_t *channel_reserve(struct channel_producer *p, uint32_t len);
/* Publishes the frame that was written where channel_reserve said; desc->offset is filled in here,
 * the rest is the caller's and has the reserved len. A consumer that is at work sees it. */
void channel_commit(struct channel_producer *p, struct channel_desc *desc);
/* At the end of a batch: true if the consumer asked for a doorbell since the last call. */
bool channel_notify_data(struct channel_producer *p);
/* After a reserve failed: asks for a doorbell once most of what is outstanding is released. True:
 * it is already, try again. */
bool channel_want_room(struct channel_producer *p);
/* True if the consumer waits to be rung for a descriptor that is published and that it has not
 * released: a second look at a doorbell that may have been missed. */
bool channel_is_awaited(const struct channel_producer *p);
/* Looks how far the consumer is; false if it broke V3: the ring is broken. */
bool channel_update_head(struct channel_producer *p);
static inline uint32_t channel_outstanding(const struct channel_producer *p)
{
    return p->tail - p->head;
}

/* --- the consumer ----------------------------------------------------------------------------- */

/* Takes the next frame. False: there is none, or the ring is (now) broken. */
bool channel_take(struct channel_consumer *c, struct channel_frame *f);
/* Releases the data of the first n frames taken and not released; n is at most their number. */
void channel_release(struct channel_consumer *c, uint32_t n);
/* At the end of a batch: true if the producer asked for a doorbell since the last call. */
bool channel_notify_room(struct channel_consumer *c);
/* Asks for a doorbell when the next descriptor is published. True: there is one, take it first. */
bool channel_want_data(struct channel_consumer *c);

/* --- queue pairs ------------------------------------------------------------------------------ */

/* One side's end of a queue pair. */
struct channel_queue {
    struct channel_producer tx;
    struct channel_consumer rx;
    uint32_t generation; /* what our line shows */
    bool server;
    bool live; /* as far as we know: both lines show it */
};

/* Sets up the end of queue pair `index` of the region at `base`, whose layout is valid. The other
 * side may ask for `features`. Not live. -ENOMEM. */
int channel_queue_create(struct channel_queue *q, uint8_t *base, const struct channel_layout *l,
                         uint32_t index, bool server, uint32_t features);
void channel_queue_destroy(struct channel_queue *q);

/* The server: starts a new generation. Then ring. */
void channel_queue_start(struct channel_queue *q);

enum channel_event {
    CHANNEL_SAME,    /* nothing changed */
    CHANNEL_LIVE,    /* a new generation is live: ring; frames may have been waiting */
    CHANNEL_STALLED, /* the other side shows another generation: wait for it */
};
/* Looks at the other side's generation and answers it: one load while nothing changes. To be called
 * before each batch in either direction; nothing else of the queue may be used unless q->live. Both
 * directions' locks held. */
enum channel_event channel_queue_check(struct channel_queue *q);
static inline bool channel_queue_changed(const struct channel_queue *q)
{
    return __atomic_load_n(&q->tx.peer->generation, __ATOMIC_ACQUIRE) != q->generation || !q->live;
}
static inline bool channel_queue_broken(const struct channel_queue *q)
{
    return q->tx.broken || q->rx.broken;
}

#endif
