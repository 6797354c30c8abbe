/*
 * What hold and holdpeer say to each other: requests and responses, each a header and a body whose
 * every byte follows from the header, so that the receiver knows what it must be.
 */
#ifndef HOLD_WIRE_H
#define HOLD_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define HOLD_MAX_BODY (4u << 20)

enum hold_kind {
    HOLD_REQUEST = 0x71657248,
    HOLD_RESPONSE = 0x73657248,
    HOLD_COMPLAINT = 0x6d6f6348, /* holdpeer refuses the request; `result` says why; no body */
};

enum hold_result {
    HOLD_MORE,   /* the socket has to be waited for */
    HOLD_HEADER, /* received: the header; the caller checks it before the body is */
    HOLD_WHOLE,  /* received or sent: the whole message */
    HOLD_EOF,
    HOLD_ERROR,        /* errno has it */
    HOLD_WRONG_HEADER, /* not one of ours, or not what the request asked for */
    HOLD_WRONG_BYTE,
    HOLD_DUPLICATE, /* a sequence number that was seen before */
    HOLD_MISSING,   /* a sequence number too high */
};

struct hold_message {
    uint32_t kind; /* enum hold_kind */
    uint32_t connection;
    uint64_t sequence; /* of the connection, from 0 */
    uint32_t request_body;
    uint32_t response_body; /* bytes after the header of a request, of a response */
    uint32_t result;        /* enum hold_result, of a complaint */
    uint32_t zero;
};

/* A message on its way in or out; all zero before the first. */
struct hold_transfer {
    struct hold_message m;
    size_t done; /* bytes of header and body so far */
};

/* Names a result that is a failure, in a word. */
const char *hold_result_name(enum hold_result r);

/* Sends more of t->m. HOLD_WHOLE: all of it is sent, and t->done is 0 again; or HOLD_MORE,
 * HOLD_ERROR. */
enum hold_result hold_send(int fd, struct hold_transfer *t);

/*
 * Receives more of t->m. HOLD_HEADER: its header is there, and the caller must refuse it or call
 * again; HOLD_WHOLE: so is its body, every byte as it must be, and t->done is 0 again; or
 * HOLD_MORE, HOLD_EOF, HOLD_ERROR, HOLD_WRONG_HEADER, HOLD_WRONG_BYTE.
 */
enum hold_result hold_receive(int fd, struct hold_transfer *t);

/* Compares a sequence number with the expected one: HOLD_WHOLE, HOLD_DUPLICATE or HOLD_MISSING. */
enum hold_result hold_check_sequence(uint64_t got, uint64_t expected);

#endif
