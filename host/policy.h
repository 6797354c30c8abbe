/*
 * The policy of auto mode: which domains are to have a NIC of their own. A pure function of samples
 * and time; automode.c takes the samples and carries out what is decided.
 *
 * A domain's load is its packet rate or its byte rate, each in parts of the rate that is worth a
 * NIC, whichever is more; 1000 is just worth it. While its network server is busy (it is what they
 * all wait for) the load counts double.
 *
 *   up        load of at least 1000 in each of up_samples samples in a row, and a device is free
 *   down      load of at most down_load in each of down_samples samples in a row
 *   displace  as up, with no device free: the least busy domain on the direct path goes down if
 *             the load of the other was at least margin (percent) of its own for as long
 *   stay      nobody moves within min_stay_ns of its last move, whichever way that ended
 *
 * One decision at a time, so that each is made on samples that have seen the one before.
 */
#ifndef HOST_POLICY_H
#define HOST_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy_config {
    uint64_t up_packets, up_bytes; /* per second: worth a NIC */
    unsigned down_load;            /* in thousandths of that */
    unsigned up_samples, down_samples;
    unsigned margin; /* percent */
    uint64_t min_stay_ns;
    unsigned busy_cpu; /* of the server: percent of a CPU */
};

/* 4000 packets or 25 MB per second for 2 s; down below a quarter for 5 s; a margin of 150 %; a stay
 * of 5 s; 70 % of a CPU. */
extern const struct policy_config policy_default;

struct policy_domain {
    /* The sample. */
    bool direct;             /* on the direct path */
    bool moving;             /* it is between paths: nothing is decided meanwhile */
    uint64_t packets, bytes; /* per second since the last sample */
    unsigned server_cpu;     /* percent of a CPU */
    /* Kept by the policy; all 0 in the beginning. */
    unsigned load;
    unsigned above, below; /* samples in a row */
    uint64_t moved_ns;     /* 0: never */
};

enum policy_reason {
    POLICY_NONE,     /* nothing is to be done */
    POLICY_BUSY,     /* up */
    POLICY_IDLE,     /* down */
    POLICY_DISPLACED /* down, for the domain `other` */
};
struct policy_decision {
    enum policy_reason reason;
    size_t domain, other;
};

/* Takes one sample of n domains, of which some may have to wait for a device. */
struct policy_decision policy_decide(const struct policy_config *c, struct policy_domain *d,
                                     size_t n, unsigned devices_free, uint64_t now_ns);

#endif
