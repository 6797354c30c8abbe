/*
 * The channel: how an application domain reaches a server domain. One region of shared memory per
 * (application domain, server) pair, and doorbells. On QEMU it is an ivshmem-doorbell device in
 * both domains; the supervisor made the memory and owns it, so it survives the death of either
 * side.
 *
 * THE REGION, a power of two in size, is cut by writer: whoever may write a page is its only
 * writer, during resets too.
 *
 *   page 0     struct channel_control   the supervisor's: what this channel is and what it grants
 *   page 1     struct channel_side      the server's words: state, and a line of indices per queue
 *   page 2     struct channel_side      the application's words, the same
 *   then       per queue pair: the area that the application produces (descriptors, then data)
 *   then       per queue pair: the area that the server produces
 *
 * channel_layout() computes where the areas are from three numbers (region size, queue pairs,
 * slots) of page 0, so there are no offsets to lie about.
 *
 * A QUEUE PAIR has a ring in each direction with one producer and one consumer. A ring has `slots`
 * descriptors of 16 bytes and a data area. The producer puts a whole frame, up to 64 KiB with
 * segmentation offload, into the data area in one piece, wherever it likes, fills in the descriptor
 * number tail % slots and moves tail on. The consumer takes descriptors in order and moves head on
 * when it needs their data no more: that is the completion, and it is in order. Indices count
 * descriptors since ever, modulo 2^32; they are not reset when a domain is replaced.
 *
 *     producer's line: tail, room_event        consumer's line: head, data_event
 *
 * WHO IS WOKEN. Each side publishes the index at which it wants a doorbell: the consumer data_event
 * ("when descriptor number data_event is published"), the producer, when it found no room,
 * room_event
 * ("when descriptor number room_event is released"). Moving an index from `old` to `new` calls for
 * a doorbell iff channel_passes(event, new, old). An event that is not moved on lies behind and
 * asks for nothing: a busy side is not disturbed. The rule that loses no wake-up: publish the index
 * or the event with a sequentially consistent read-modify-write (an exchange), then read the
 * other's word. One of two sides that cross sees the other.
 *
 * GENERATIONS. A queue pair is live while both lines show the same generation, not 0. Only the
 * server starts one; per queue pair:
 *
 *   1. The server that comes (first start, restart, upgrade, take-over by a standby, or after it
 *      found the channel broken) adopts the head and tail that its own line shows, whatever they
 * are: they are its predecessor's. It takes another generation than its line shows, publishes it
 *      (release) and rings. Until the application answers it reads and writes nothing else.
 *   2. The application sees that the generations differ, and adapts to the server's line. Frames
 *      between the server's head and its own tail stay in the ring, and so are submitted again
 *      without being touched. If that makes no sense (V3), or its ring was broken, it gives them
 * up: tail = the server's head. Likewise with head and the server's tail. It writes its line, then
 *      the same generation (release), and rings.
 *   3. The server sees the generation (acquire): live. If its own ring was not empty it produces
 *      nothing until the application has drained it, since it does not know which data is in use.
 *
 * WHAT SURVIVES a server's crash, from the application's point of view:
 *   - Frames sent and not released by the server: are sent, once more if the dead server got so
 * far.
 *   - Frames released: the dead server may have lost them.
 *   - Frames received and published: arrive, once.
 * What survives an application domain's crash: nothing is meant to. The supervisor takes the slot
 * out of the server's table, waits until the server has let go (state CHANNEL_DOWN), clears the
 * region and gives it to another domain.
 *
 * A HOSTILE SIDE can write anything anywhere in the region at any time, other writers' pages too.
 * So each side keeps its own indices, generation and layout in private memory, never reads back
 * what it wrote, fetches every word of the other's once, and checks that:
 *
 *   V1  page 0: magic and version are known; slots is a power of two in [CHANNEL_SLOTS_MIN,
 *       CHANNEL_SLOTS_MAX]; 1 <= queues <= CHANNEL_QUEUES_MAX; the size is the region's own; every
 * data area holds CHANNEL_FRAME_MAX bytes. Looked at once, at attach. V2  the consumer: 0 <= tail -
 * next <= slots, and it never moves back. V3  the producer: 0 <= head - (its last value) <=
 * outstanding descriptors. V4  a descriptor: CHANNEL_FRAME_MIN <= len <= CHANNEL_FRAME_MAX; offset
 * + len <= data area. V5  flags and gso_type are known and negotiated. With CHANNEL_CSUM_PARTIAL:
 * csum_start + csum_offset + 2 <= len and csum_start >= CHANNEL_FRAME_MIN. gso_type other than
 * none: with CHANNEL_CSUM_PARTIAL and gso_size > 0. Else csum_start, csum_offset, gso_size are 0.
 *   V6  header_len <= len. It is a hint: whoever acts on headers parses them in a private copy.
 *
 * A violation breaks the queue pair: it carries nothing until the next generation, and is counted.
 * It touches no other queue pair or channel. Contents: frames are copied before they are looked at;
 * data that changes meanwhile is no worse than data that was wrong from the start. A server that
 * lends data to its NIC in place copies the headers first and lends only what lies behind them.
 *
 * What page 0 grants is for the application, which needs it to work at all; since the application
 * could write there, the server takes its grants and the layout from a table of its own that no
 * application sees (abi/net_table.h),
 * and knows which slot a channel is by its device's peer id.
 *
 * Numbers are little-endian, addresses and MACs are in network order.
 */
#ifndef ABI_CHANNEL_H
#define ABI_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_MAGIC 0x306c656e6e616863ull /* "channel0" */
#define CHANNEL_VERSION 1u

#define CHANNEL_PAGE 4096u
#define CHANNEL_CONTROL_PAGES 3u
#define CHANNEL_QUEUES_MAX 16u
#define CHANNEL_SLOTS_MIN 16u
#define CHANNEL_SLOTS_MAX 4096u
#define CHANNEL_FRAME_MIN 14u    /* an Ethernet header */
#define CHANNEL_FRAME_MAX 65600u /* 64 KiB of IPv6 payload and its headers; a multiple of 64 */
#define CHANNEL_ALIGN 64u        /* producers align data to it: no line is shared by two frames */

#define CHANNEL_SIZE_DEFAULT (1u << 21)
#define CHANNEL_QUEUES_DEFAULT 4u   /* vectors of a device; a domain uses one per CPU */
#define CHANNEL_SLOTS_DEFAULT 1024u /* what a NIC holds, whose burst is to find room */

/* ivshmem peer ids: CHANNEL_PEER(slot, role). The slot is the channel's number at its server. */
#define CHANNEL_PEER(slot, role) ((slot)*4u + (role))
#define CHANNEL_PEER_SLOT(peer) ((peer) / 4u)
#define CHANNEL_PEER_ROLE(peer) ((peer) % 4u)
enum channel_role { CHANNEL_APP = 0, CHANNEL_SERVER = 1, CHANNEL_STANDBY = 2 };
#define CHANNEL_ROLES 3u

/* Vector q of a peer is for queue pair q. */

/* Feature bits, for both directions. The supervisor writes those that every server it will use has;
 * the application accepts a subset; frames that ask for more break V5. */
enum channel_feature {
    CHANNEL_F_CSUM = 1, /* CHANNEL_CSUM_PARTIAL */
    CHANNEL_F_TSO4 = 2, /* CHANNEL_GSO_TCP4; needs CSUM, as the next ones */
    CHANNEL_F_TSO6 = 4, /* CHANNEL_GSO_TCP6 */
    CHANNEL_F_USO = 8,  /* CHANNEL_GSO_UDP */
};
#define CHANNEL_FEATURES (CHANNEL_F_CSUM | CHANNEL_F_TSO4 | CHANNEL_F_TSO6 | CHANNEL_F_USO)

enum channel_mode { CHANNEL_SHARED = 1, CHANNEL_DEDICATED = 2 };

/* What an application domain owns. Written by the supervisor at any time, between two increments of
 * `sequence`: odd means that it is being written. */
struct channel_grants {
    uint32_t sequence;
    uint16_t mtu;        /* largest IP packet */
    uint8_t mode;        /* enum channel_mode */
    uint8_t ipv4_prefix; /* bits; 0: no IPv4 */
    uint8_t mac[6];
    uint8_t ipv6_prefix; /* bits; 0: no IPv6 */
    uint8_t zero;
    uint8_t ipv4[4], ipv4_gateway[4];
    uint8_t ipv6[16], ipv6_gateway[16];
    /* Shared address: the ports for outgoing connections. Others are claimed one by one, as
     * programs bind them (CTL_CLAIM of abi/control.h). */
    uint16_t ephemeral_first, ephemeral_last;
    uint8_t zero2[260];
};

/* Page 0. All but ping and grants are constant while a domain is attached. */
struct channel_control {
    uint64_t magic;
    uint32_t version;
    uint32_t slots;  /* per ring */
    uint64_t size;   /* of the region in bytes */
    uint32_t queues; /* queue pairs */
    uint32_t ping;   /* the supervisor's heartbeat: it increments, rings, and waits for the pongs */
    uint32_t features; /* offered: enum channel_feature */
    uint8_t zero[28];
    struct channel_grants grants; /* offset 64 */
};

enum channel_state {
    CHANNEL_DOWN = 0,   /* not attached, or let go */
    CHANNEL_UP = 1,     /* attached; queue pairs are live as their generations agree */
    CHANNEL_BROKEN = 2, /* attached, and the other side broke a rule: at least one pair is dead */
    /* The application, of a dedicated address: as UP, but it uses a NIC of its own now, and keeps
     * the channel as its way back. It still takes frames that come for it from the server's NIC:
     * late ones. Everything else that is for it goes out by that NIC, not into the channel. */
    CHANNEL_PARKED = 3,
};

/* The words of one side of a queue pair. One line: they are read together. */
struct channel_line {
    uint32_t tail;       /* of the ring it produces: descriptors published */
    uint32_t head;       /* of the ring it consumes: descriptors released */
    uint32_t data_event; /* as consumer: ring me when this descriptor is published */
    uint32_t room_event; /* as producer: ring me when this descriptor is released */
    uint32_t generation; /* 0: never attached */
    uint32_t zero[27];   /* pairs of lines are fetched together: 128 bytes each */
};

/* Pages 1 and 2. */
struct channel_side {
    uint32_t state;    /* enum channel_state */
    uint32_t features; /* the application: accepted, before its first generation; the server: 0 */
    uint32_t peer;     /* whom to ring: ivshmem peer id of the domain that is attached now */
    uint32_t pong;     /* the last ping that it has seen */
    uint32_t epoch;    /* the server: which owner of the slot it serves or has let go (its table) */
    uint32_t zero[27];
    struct channel_line lines[CHANNEL_QUEUES_MAX]; /* offset 128 */
};

enum channel_flag {
    CHANNEL_CSUM_PARTIAL = 1, /* the checksum from csum_start on is to be put at csum_offset */
    CHANNEL_CSUM_VALID = 2,   /* the transport checksum was verified */
};
enum channel_gso {
    CHANNEL_GSO_NONE = 0,
    CHANNEL_GSO_TCP4 = 1,
    CHANNEL_GSO_TCP6 = 2,
    CHANNEL_GSO_UDP = 3,
};

struct channel_desc {
    uint32_t offset; /* of the frame in the data area */
    uint32_t len;
    uint16_t csum_start; /* from the frame's start */
    uint16_t gso_size;   /* payload bytes per segment */
    uint8_t csum_offset; /* from csum_start */
    uint8_t gso_type;    /* enum channel_gso */
    uint8_t flags;       /* enum channel_flag */
    uint8_t header_len;  /* bytes of headers up to the transport's, 0: unknown */
};

_Static_assert(offsetof(struct channel_control, grants) == 64, "abi");
_Static_assert(sizeof(struct channel_control) <= CHANNEL_PAGE, "abi");
_Static_assert(sizeof(struct channel_grants) == 320, "abi");
_Static_assert(sizeof(struct channel_line) == 128, "abi");
_Static_assert(offsetof(struct channel_side, lines) == 128, "abi");
_Static_assert(sizeof(struct channel_side) <= CHANNEL_PAGE, "abi");
_Static_assert(sizeof(struct channel_desc) == 16, "abi");

/* Where things are in a region, all in bytes from its start. */
struct channel_layout {
    uint32_t queues, slots;
    uint64_t app_areas;    /* of queue pair 0, produced by the application */
    uint64_t server_areas; /* of queue pair 0, produced by the server */
    uint64_t stride;       /* from one queue pair's area to the next */
    uint32_t data;         /* of the data in an area; the descriptors are at its start */
    uint32_t data_size;
};

/* Computes the layout. False if the numbers violate V1. */
static inline bool channel_layout(struct channel_layout *l, uint64_t size, uint32_t queues,
                                  uint32_t slots)
{
    uint64_t used = (uint64_t)CHANNEL_CONTROL_PAGES * CHANNEL_PAGE;

    if (!queues || queues > CHANNEL_QUEUES_MAX || slots < CHANNEL_SLOTS_MIN ||
        slots > CHANNEL_SLOTS_MAX || (slots & (slots - 1)) || size < used || size > (1ull << 30))
        return false;
    l->queues = queues;
    l->slots = slots;
    l->stride = (size - used) / (2 * queues) / CHANNEL_PAGE * CHANNEL_PAGE;
    l->app_areas = used;
    l->server_areas = used + l->stride * queues;
    l->data = slots * (uint32_t)sizeof(struct channel_desc);
    if (l->stride < (uint64_t)l->data + CHANNEL_FRAME_MAX)
        return false;
    l->data_size = (uint32_t)l->stride - l->data;
    return true;
}

/* Whether moving an index from old to new passes the event. */
static inline bool channel_passes(uint32_t event, uint32_t new_index, uint32_t old_index)
{
    return (uint32_t)(new_index - event - 1) < (uint32_t)(new_index - old_index);
}

#endif
