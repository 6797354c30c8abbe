/*
 * Channels on the host's side (abi/channel.h): the shared memory, its doorbells, and the part of
 * ivshmem's memory server that a QEMU needs.
 *
 * A channel has three fixed places, one per role: the application domain, the server, and a standby
 * of the server. Their peer ids and eventfds are made with the channel and all are announced to
 * each QEMU once, when it connects: whoever takes over a role later uses the same eventfds, so
 * there is nothing to announce any more. A connection is therefore a socket with everything that
 * QEMU will ever read already in it. The supervisor only keeps its end open: QEMU reads the
 * eventfds when its main loop runs, and forgets what it has not read when the other end hangs up.
 */
#ifndef HOST_IVSHMEM_H
#define HOST_IVSHMEM_H

#include "abi/channel.h"
#include "util.h"

struct ivshmem {
    unsigned slot;          /* the channel's number at its server */
    unsigned vectors;       /* of a device: eventfds per role */
    unsigned queues, slots; /* layout of a channel; no more queue pairs than vectors */
    uint64_t size;
    int memfd;
    union { /* the region, mapped: guests may write anything there */
        void *memory;
        struct channel_control *control;
    };
    int eventfd[CHANNEL_ROLES][CHANNEL_QUEUES_MAX]; /* one per role and vector */
    uint32_t sequence;                              /* of the grants; ours, never read back */
    uint32_t ping;
};

/* Makes a region of zeros that is no channel (abi/net_table.h). 0 or -errno. */
int ivshmem_create_region(struct ivshmem *s, unsigned slot, unsigned vectors, uint64_t size);
/* Makes a channel with the least size (a power of two, CHANNEL_SIZE_DEFAULT at least) that holds
 * `vectors` queue pairs of `slots` descriptors. 0, -EINVAL, or -errno of the system. */
int ivshmem_create(struct ivshmem *s, unsigned slot, unsigned vectors, unsigned slots);
/* Domains that are attached keep the memory and the eventfds. */
void ivshmem_destroy(struct ivshmem *s);
/* All its descriptors, in the order in which ivshmem_adopt() takes them. Returns how many. */
unsigned ivshmem_descriptors(const struct ivshmem *s, int *fds);
/* Takes over the region of a dead supervisor: its descriptors, and the numbers in *s. Returns 0 or
 * -errno; the descriptors are closed then. */
int ivshmem_adopt(struct ivshmem *s, const int *fds, unsigned count);
/* Clears a channel, gives its memory back to the host, and lays it out for another domain, with
 * this many queue pairs. The server must have let go of it. 0 or -errno. */
int ivshmem_clear(struct ivshmem *s, unsigned queues);

/* A socket for one QEMU: -chardev socket,id=C,fd=N -device ivshmem-doorbell,chardev=C,vectors=V
 * with V = vectors. Returns its end, or -errno, and ours in *keep, to be closed when that QEMU has
 * ended. Both are the caller's and close-on-exec. */
int ivshmem_connect(const struct ivshmem *s, enum channel_role role, int *keep);

/* Shows the domain what it owns; g->sequence is ignored. */
void ivshmem_grant(struct ivshmem *s, const struct channel_grants *g);
/* Interrupts a domain: one doorbell. */
void ivshmem_ring(const struct ivshmem *s, enum channel_role role, unsigned vector);
/* Asks both sides for a sign of life; ivshmem_answered tells whether the role has given it since.
 */
void ivshmem_ping(struct ivshmem *s);
bool ivshmem_answered(const struct ivshmem *s, enum channel_role role);
/* What a side says about itself; unchecked numbers. */
const struct channel_side *ivshmem_side(const struct ivshmem *s, enum channel_role role);

#endif
