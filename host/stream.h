/*
 * A byte stream over a socket that outlives its process. What was read and not handled, what is to
 * be written, and a note of its owner's about how far it got are in shared memory; the keeper has
 * the socket and that memory, and the next process goes on at the very byte where this one died.
 *
 * Three things make that exact. Reads and writes are recvmmsg(2) and sendmmsg(2) with their struct
 * in that memory: the kernel itself notes how many bytes it moved, so a process that is killed
 * within the call loses nothing. What was handled, what is to be written because of it, and the
 * note take effect together, by stream_commit(), which writes them beside the last ones and then
 * turns to them in one store. What was handled and not committed is handled once more. Where one
 * stream's frames become another's, the other's note has this one's cursors too, and the later of
 * the two commits counts.
 *
 * Buffers are rings that are mapped twice in a row: what is in them is always in one piece.
 */
#ifndef HOST_STREAM_H
#define HOST_STREAM_H

#include "frame.h"
#include "loop.h"

struct stream_memory; /* the beginning of the shared memory */

struct stream_ring {
    uint8_t *data;       /* twice `size` bytes */
    uint32_t size;       /* a power of two */
    uint32_t head, tail; /* they only grow; tail - head bytes are in it */
};

struct stream {
    struct watch watch; /* fd is -1 while closed; first */
    struct loop *loop;
    int memfd;
    struct stream_memory *memory;
    struct stream_ring rx, tx;
    uint64_t committed; /* when: all commits of all streams are numbered in their order */
    bool overflow;      /* something did not fit into tx and was not sent: the stream is broken */
};

/* How large a stream is: rx and tx powers of two, of at least a page; note in bytes. */
struct stream_sizes {
    uint32_t rx, tx, note;
};

/* Makes the stream of a socket, which is taken over in any case, and watches it. Returns 0 or
 * -errno. */
int stream_open(struct stream *s, struct loop *loop, int fd, const struct stream_sizes *sizes,
                void (*ready)(struct watch *w, uint32_t events));
/* The same with the memory that another process left; both descriptors are taken over in any case.
 * -EPROTO if the memory is not one of these sizes. */
int stream_restore(struct stream *s, struct loop *loop, int fd, int memfd,
                   const struct stream_sizes *sizes,
                   void (*ready)(struct watch *w, uint32_t events));
/* Gives the socket and the memory to the keeper, under this name. Returns 0 or -errno. */
int stream_keep(const struct stream *s, const char *name);
/* The other side is gone: closes the socket. What was read stays. */
void stream_hang_up(struct stream *s);
/* Frees everything. Of one that was never opened, too, if fd and memfd are -1. */
void stream_close(struct stream *s);

/* Reads what is there and has room. Returns bytes, 0 if nothing more for now, -errno when it is
 * over. */
ssize_t stream_read(struct stream *s);
static inline uint8_t *stream_head(const struct stream *s)
{
    return s->rx.data + (s->rx.head & (s->rx.size - 1));
}
static inline size_t stream_used(const struct stream *s)
{
    return s->rx.tail - s->rx.head;
}
/* Goes on n bytes. What lies behind stays valid until the next read. */
void stream_consume(struct stream *s, size_t n);
/* Takes the next frame: as frame_next(). */
int stream_frame(struct stream *s, struct frame *f);

/* Appends to what is to be written. */
void stream_put(struct stream *s, const void *data, size_t n);
void stream_put_frame(struct stream *s, uint16_t type, uint16_t session, const void *payload,
                      size_t n);
void stream_put_u32(struct stream *s, uint16_t type, uint16_t session, uint32_t value);
static inline size_t stream_unsent(const struct stream *s)
{
    return s->tx.tail - s->tx.head;
}
/* Makes all of the above, and n bytes of note, what a next process begins with. */
void stream_commit(struct stream *s, const void *note, size_t n);
/* At the start of another process: what was handled, and what is to be written, as another stream's
 * note has it, that was committed later. -EPROTO if that cannot be. */
int stream_set_cursors(struct stream *s, uint32_t rx_head, uint32_t tx_tail);
/* The note that was committed last; zeros at first. */
const void *stream_note(const struct stream *s);
/* Writes what was put, as far as the socket takes it, and the rest when it does. Commit first. */
void stream_flush(struct stream *s);

#endif
