/*
 * The network server's table (abi/net_table.h) on the supervisor's side: the channels of one
 * server, what was granted to whom, and who owns which port of the shared address. No processes:
 * netserver.h starts the server that reads it.
 *
 * The server can write the whole region, so all that decides anything is kept here in private
 * memory and only copied into it.
 *
 * A slot is MISSING (no channel was made yet), FREE, GRANTED, or LEAVING: its domain has ended, and
 * the server may still look at the region.
 *
 * That private memory is kept by the keeper, as the regions and doorbells are: a next supervisor
 * goes on with it (restore_nettable.c).
 *
 * Ports of the shared address have one owner, a slot, and are owned in one of two ways: as part of
 * a block of ephemeral ports (TCP and UDP), or claimed one by one. All go with the slot's grant.
 */
#ifndef HOST_NETTABLE_H
#define HOST_NETTABLE_H

#include "abi/control.h"
#include "abi/net_table.h"
#include "ivshmem.h"

#define NET_BLOCK_FIRST 16384u /* the first ephemeral port */
#define NET_BLOCK_PORTS 512u
#define NET_BLOCKS ((65536u - NET_BLOCK_FIRST) / NET_BLOCK_PORTS)
#define NET_BLOCKS_EACH 32u   /* one domain cannot take them all */
#define NET_CLAIMS_EACH 4096u /* nor claim every port */

enum slot_state { SLOT_MISSING, SLOT_FREE, SLOT_GRANTED, SLOT_LEAVING };

struct net_channel {
    struct ivshmem region;
    enum slot_state state;
    uint32_t epoch, sequence;     /* as written last */
    struct channel_grants grants; /* while granted */
    unsigned blocks, claims;      /* that it owns */
};

#define NETTABLE_CHANNEL "channel " /* and the slot: an entry at the keeper */
#define NETTABLE_NOTE 1024u

/* What outlives the supervisor; descriptors and pointers in it are worth nothing then. */
struct nettable_kept {
    uint32_t size; /* of this structure */
    unsigned made;
    unsigned next_block;
    enum channel_role active;
    struct net_channel channels[NET_SLOTS];
    uint16_t owners[2][65536];
    uint16_t blocks[NET_BLOCKS];
    volatile unsigned current; /* which of the notes counts */
    _Alignas(8) uint8_t note[2][NETTABLE_NOTE];
};

struct nettable {
    struct ivshmem region;
    uint32_t ping;
    unsigned made; /* channels: slots below are not MISSING */
    char key[64];  /* how its entries at the keeper begin */
    int memfd;
    struct nettable_kept *kept;
    struct net_channel *channels; /* these three are in there */
    uint16_t (*owners)[65536];    /* TCP, UDP: slot + 1, or 0 */
    uint16_t *blocks;
};

/* Makes a table without channels. `shared` tells the shared address: mac, IPs, prefixes; key: see
 * above, at most 63 bytes. Returns 0 or -errno. */
int nettable_create(struct nettable *t, const struct channel_grants *shared, const char *key);
/* Takes over the table that a dead supervisor left under this key. Returns 0 or -errno. */
int nettable_restore(struct nettable *t, const char *key);
/* The same, at the end of that: slots that are not `used` are revoked. */
void nettable_sweep(struct nettable *t, const bool used[NET_SLOTS]);
/* Keeps n bytes of the owner's, instead of the last ones. */
void nettable_set_note(struct nettable *t, const void *note, size_t n);
const void *nettable_note(const struct nettable *t);
void nettable_destroy(struct nettable *t);

/* Makes n further channels. Returns 0, -ENOSPC beyond NET_SLOTS, or -errno. */
int nettable_grow(struct nettable *t, unsigned n);
/* Forgets the channels from number `made` on; none of them may be granted. */
void nettable_shrink(struct nettable *t, unsigned made);

/* A free slot below `end`, or -ENOSPC. */
int nettable_find_free(const struct nettable *t, unsigned end);
/* Gives a free slot to a domain with so many queue pairs; with a shared address, *g gets its first
 * block of ports. Returns 0, -ENOSPC if there is no block, or -errno. */
int nettable_grant(struct nettable *t, unsigned slot, unsigned queues, struct channel_grants *g);
/* The domain has ended: its ports are free, its region is not used again until the server lets go.
 */
void nettable_revoke(struct nettable *t, unsigned slot);
/* Takes back leaving slots: those that the server has let go, and those from number `unserved` on,
 * which no server sees. */
void nettable_reclaim(struct nettable *t, unsigned unserved);
/* An instance is dead: its page says so, and nothing else any more. */
void nettable_instance_died(struct nettable *t, enum channel_role role);
/* No instance is left: all leaving slots are free, and channels behind the last one in use are
 * given up, in steps of `step`. */
void nettable_server_died(struct nettable *t, unsigned step);
/* Tells the instances to look. */
void nettable_ring(const struct nettable *t);
/* The instance that is to serve. */
void nettable_activate(struct nettable *t, enum channel_role role);
/* Asks the instances for a sign of life; nettable_answered tells whether one has given it. */
void nettable_ping(struct nettable *t);
bool nettable_answered(const struct nettable *t, enum channel_role role);

/* Answers a claim of the slot's domain: fills in error, first and last. */
void nettable_claim(struct nettable *t, unsigned slot, struct ctl_claim *c);
/* Who owns a port: a slot, or -1. */
int nettable_owner(const struct nettable *t, bool udp, uint16_t port);
/* Whether the port is one that this slot claimed. */
bool nettable_is_claimed(const struct nettable *t, unsigned slot, bool udp, uint16_t port);

/* ---- for nettable.c's own other file ---- */

/* Maps the private memory of t->memfd. Returns 0 or -errno. */
int nettable_map(struct nettable *t);
/* Writes what is private into the table once more. */
void nettable_rewrite(struct nettable *t);

/* The instances' words. */
struct net_counters nettable_counters(const struct nettable *t, unsigned slot);
struct net_server_page nettable_server(const struct nettable *t, enum channel_role role);

#endif
