/*
 * Keeps libslirp (4.7) from losing data: a second SYN-ACK of a connection with an MSS option makes
 * it empty that connection's send buffer (tcp_mss() reserves the buffers anew), and what the client
 * had sent by then never reaches the guest: it waits for ever, or finds the stream beginning in the
 * middle. A guest sends a second SYN-ACK when the handshake's ACK was lost. So a repeated one goes
 * to libslirp without its MSS, which it knows from the first.
 */
#ifndef HOST_SYNACK_H
#define HOST_SYNACK_H

#include "util.h"

#define SYNACK_MAX 256u /* bytes of a frame that is looked at: headers with all options */

/* The SYN-ACKs that libslirp has had, the latest of each slot. Zeros: none. */
struct synack_memory {
    uint64_t seen[4096];
};

/*
 * Looks at a frame for libslirp, which may hold anything. Returns the frame to give to it: itself,
 * or, for a repeated SYN-ACK, a copy of the same length in `copy`.
 */
const uint8_t *synack_without_repeated_mss(struct synack_memory *m, const uint8_t *frame, size_t n,
                                           uint8_t copy[SYNACK_MAX]);

#endif
