/*
 * Socket filters: the classic BPF programs of SO_ATTACH_FILTER (socket(7)), as tcpdump and DHCP
 * clients have them. A program is checked once, then interpreted: its jumps go forwards, so it
 * ends.
 */
#ifndef NET_FILTER_H
#define NET_FILTER_H

#include "net/pkt.h"

#define FILTER_MAX 4096u /* instructions: BPF_MAXINSNS */

struct filter_insn {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};

struct net_filter {
    uint32_t count;
    struct filter_insn insns[];
};

/* What a program may ask of a packet besides its bytes. */
struct filter_context {
    uint16_t protocol; /* Ethernet type */
    uint8_t type;      /* PACKET_HOST, ... */
    int ifindex;
    int32_t network; /* where the network header is, from the data; -1: not known */
};

/* A checked copy to be freed with kfree. -EINVAL, -ENOMEM. Thread context. */
int net_filter_make(const struct filter_insn *insns, uint32_t count, struct net_filter **out);
/* Bytes of the packet that the program wants; 0: none. Any context. */
uint32_t net_filter_run(const struct net_filter *f, const struct pkt *p,
                        const struct filter_context *c);

#endif
