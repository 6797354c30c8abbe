/*
 * The frame codec of abi/control.h, used on two streams: between supervisor and domain, and, with
 * the additional types below, between the `librettos` command and the supervisor. A data frame can
 * so be passed on from one to the other as it is, and flow control works from end to end.
 */
#ifndef HOST_FRAME_H
#define HOST_FRAME_H

#include "../abi/control.h"
#include "util.h"

/* Types on the stream between command and supervisor only. */
enum host_type {
    HOST_REQUEST = 256, /* to the supervisor: one JSON object */
    HOST_EVENT = 257,   /* from it: something happened; one JSON object */
    HOST_REPLY = 258,   /* from it: the last frame of the answer; one JSON object */
};

struct frame {
    uint16_t type, session;
    uint32_t length;
    const uint8_t *payload; /* into the buffer it was read from */
};

/* Appends a frame. n must not exceed CTL_MAX_PAYLOAD. */
void frame_put(struct buf *b, uint16_t type, uint16_t session, const void *payload, size_t n);
/* The same for a frame whose payload is one 32-bit number. */
void frame_put_u32(struct buf *b, uint16_t type, uint16_t session, uint32_t value);
/*
 * Takes the next frame off the front of the buffer. Returns 1, 0 if it is not complete yet, or
 * -EPROTO if its length is not allowed: the stream is then lost. The payload is valid until the
 * buffer is changed.
 */
int frame_next(struct buf *b, struct frame *f);
/* The payload as one 32-bit number. Returns 0, or -EPROTO if its length is not 4. */
int frame_u32(const struct frame *f, uint32_t *value);

/* What a program is started with; turned into an EXEC payload. */
struct exec_spec {
    uint32_t flags; /* CTL_EXEC_* */
    const char *cwd, *user, *program;
    const struct strv *argv, *env;
};
/* Appends the EXEC frame. Returns 0, or -E2BIG if it would exceed CTL_MAX_PAYLOAD. */
int frame_put_exec(struct buf *b, uint16_t session, const struct exec_spec *spec);

#endif
