/*
 * libslirp empties the send buffer of a connection whenever a SYN with an MSS option reaches it
 * (tcp_mss() calls sbreserve()). A SYN or SYN-ACK that comes twice, because what answered it was
 * lost or because a path was switched, would so make the first bytes of a stream disappear. This
 * blanks the option in the repetition: what it said is known.
 */
#ifndef HOST_MSSONCE_H
#define HOST_MSSONCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MSS_ONCE_SEEN 1024 /* SYNs that are remembered; the oldest makes room */
#define MSS_ONCE_FRAME 154 /* Ethernet, IPv6 and TCP headers with all options, and some padding */

struct mss_once {
    struct mss_once_syn {
        uint8_t addrs[32], ports[4], seq[4];
        uint8_t v6, ack, used;
    } seen[MSS_ONCE_SEEN];
    unsigned next;
};

/* A frame on its way to libslirp. True if it repeats a SYN: `copy` then holds the n bytes to
 * deliver instead, with the option turned into padding. */
bool mss_once(struct mss_once *m, const uint8_t *frame, size_t n, uint8_t copy[MSS_ONCE_FRAME]);

#endif
