/*
 * What went through a domain's devices, from its point of view: its NIC and its channel together,
 * those that it no longer has included. What a network server counted is the word of a domain that
 * may be wrong or hostile: numbers to show, and to choose a path by.
 */
#ifndef HOST_TRAFFIC_H
#define HOST_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

struct domain;
struct pathswitch;

struct traffic {
    uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes, drop_full, drop_bad;
};

/* False: it has no network. */
bool traffic_of(const struct domain *d, struct traffic *t);
/* Its NIC is about to go: what it counted is kept. */
void traffic_keep_nic(struct pathswitch *s);

#endif
