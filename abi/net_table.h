/*
 * The network server's table: what the supervisor granted to whom, and what the server counts. One
 * region of shared memory per network server that only the supervisor and the server's instances
 * map. It is all that a fresh server needs: the table survives every server, and a server
 * keeps nothing that is not in the table, in the channels, or rebuilt from traffic.
 *
 * On QEMU the region is an ivshmem-doorbell device like a channel's, number NET_TABLE_SLOT. Its
 * "application" is the supervisor: the server tells it of news by ringing vector 0 of
 * CHANNEL_PEER(NET_TABLE_SLOT, CHANNEL_APP), and is told by vector 0 of its own peer id.
 *
 * TWO INSTANCES of a server may run, with the peer roles CHANNEL_SERVER and CHANNEL_STANDBY (these
 * are names of places: either may serve). `active` names the one that is to serve. It begins once
 * the page of the other says that it does not serve; it adopts the channels (abi/channel.h) and
 * starts its NIC. The other one is silent: its NIC is not started, and it writes nothing but its
 * page. If `active` is changed while the other serves (an upgrade), that one takes no more frames
 * out of the channels, hands over what it has taken and received, stops its NIC, writes QUIESCED,
 * and rings the other instance and the supervisor. When an instance has died the supervisor writes
 * DOWN into its page, as its only writer now, and then `active`.
 *
 * ANOTHER BUILD may follow: all versions have magic and version of struct net_table, the pages of
 * the instances, and these pages' words up to `version` where they are here. An instance that does
 * not know the table's version writes its own, and REFUSED, and does nothing more.
 *
 * The heartbeat: the supervisor moves `ping` on and rings; each instance answers in `pong` from
 * where it does its work.
 *
 *   offset 0          struct net_table          the supervisor's
 *   NET_TABLE_SERVER  struct net_server_page    one for each instance of the server: that one's
 *   NET_TABLE_GRANTS  struct net_slot[]         the supervisor's, one per channel
 *   NET_TABLE_COUNTS  struct net_counters[]     the server's, one per channel
 *   NET_TABLE_TCP     uint16_t[65536]           the supervisor's: who owns a TCP port of the shared
 *                                               address: slot + 1, or 0: nobody
 *   NET_TABLE_UDP     uint16_t[65536]           the same for UDP
 *
 * The server reads port owners where they are, one load per packet: a grant counts from the moment
 * it is written. Slots are read between two equal, even values of `sequence`.
 *
 * A SLOT'S LIFE. Free: state NET_SLOT_FREE. Granted: the supervisor has cleared the channel's
 * region, written the slot with state NET_SLOT_GRANTED and the next epoch, and rings. The server
 * starts to serve it: it writes that epoch into its page of the channel (struct channel_side) and
 * starts generations. When the domain has ended the supervisor writes NET_SLOT_FREE, the next epoch
 * again, takes the slot's ports away, and rings; the server lets go of the region (CHANNEL_DOWN and
 * that epoch in its page), rings the supervisor, and only then may the region be cleared. A slot
 * whose server has died needs no such wait. A slot that is granted and for which the server has no
 * device yet is served when the device is plugged in.
 *
 * Trust: the supervisor trusts nothing in the server's parts and uses them as numbers to show. The
 * server trusts the table as far as it goes, since the supervisor could stop it anyway, but checks
 * ranges; it takes layout and grants from here, never from page 0 of a channel, which an
 * application could write.
 *
 * Numbers are little-endian, addresses and MACs in network order.
 */
#ifndef ABI_NET_TABLE_H
#define ABI_NET_TABLE_H

#include "abi/channel.h"

#define NET_TABLE_MAGIC 0x30656c626174656eull /* "netable0" */
#define NET_TABLE_VERSION 3u
#define NET_TABLE_SIZE (1u << 19)
#define NET_TABLE_SLOT 0x3fffu /* as a channel number: the last one */
#define NET_SLOTS 256u         /* channels of one server */

#define NET_TABLE_GRANTS 0x2000u
#define NET_TABLE_COUNTS 0x22000u
#define NET_TABLE_SERVER(role) (0x30000u + ((role)-CHANNEL_SERVER) * 4096u)
#define NET_TABLE_TCP 0x40000u
#define NET_TABLE_UDP 0x60000u

/* Offset 0. Constant while a server runs, but for ping and active. */
struct net_table {
    uint64_t magic;
    uint32_t version;
    uint32_t slots;        /* in use at most: slots beyond are free; <= NET_SLOTS */
    uint32_t ping;         /* heartbeat, as in struct channel_control */
    uint32_t active;       /* the role that is to serve */
    uint8_t shared_mac[6]; /* of the server's NIC and the shared address */
    uint8_t zero[6];
    /* The shared address; prefix 0: none of that version. The server's own interface is configured
     * with it by the boot argument net0. */
    uint8_t ipv4_prefix, ipv6_prefix;
    uint8_t zero2[2];
    uint8_t ipv4[4];
    uint8_t ipv6[16];
};

enum net_server_state {
    NET_SERVER_DOWN = 0,     /* not there, or not ready */
    NET_SERVER_STANDBY = 1,  /* ready to serve */
    NET_SERVER_STARTING = 2, /* begins to serve */
    NET_SERVER_UP = 3,       /* serves the slots that are granted, and their domains know */
    NET_SERVER_QUIESCED = 4, /* has served, and has handed over */
    NET_SERVER_REFUSED = 5,  /* does not know this version of the table; see `version` */
};

struct net_server_page {
    uint32_t state;    /* enum net_server_state */
    uint32_t pong;     /* the last ping that it has seen */
    uint32_t attached; /* slots that it serves now */
    uint32_t features; /* of channels, that it can serve: enum channel_feature */
    uint32_t version;  /* NET_TABLE_VERSION of its build */
    uint32_t zero;
    /* What no domain is to blame for. */
    uint64_t rx_frames, rx_bytes; /* from the NIC */
    uint64_t tx_frames, tx_bytes; /* to the NIC */
    uint64_t drop_no_owner;       /* from the NIC, for nobody here */
    uint64_t drop_malformed;
    uint64_t drop_memory; /* no memory for a packet */
};

enum net_slot_state { NET_SLOT_FREE = 0, NET_SLOT_GRANTED = 1 };

struct net_slot {
    uint32_t sequence; /* odd: being written */
    uint32_t epoch;    /* of the owner; another one each time the state changes */
    uint32_t state;    /* enum net_slot_state */
    uint32_t queues;   /* layout of the channel: queue pairs */
    uint32_t slots;    /* and descriptors per ring */
    uint32_t zero[27];
    struct channel_grants grants; /* grants.sequence is not used */
    uint32_t zero2[16];
};

/* Per channel, since the slot was granted. From the domain's point of view: tx is what it sent. */
struct net_counters {
    uint64_t tx_frames, tx_bytes;
    uint64_t rx_frames, rx_bytes;
    uint64_t drop_mac;  /* sent with a source MAC that is not its own */
    uint64_t drop_ip;   /* with another's IP address (ARP and ND included) */
    uint64_t drop_port; /* with a port of the shared address that is not its own */
    uint64_t drop_malformed;
    uint64_t drop_full;     /* for it, and its ring had no room */
    uint64_t drop_memory;   /* no memory to take it in */
    uint64_t doorbells_in;  /* rung by the domain: interrupts of the server */
    uint64_t doorbells_out; /* rung by the server */
    uint64_t generations;
    uint64_t broken; /* times that it broke a rule of the channel */
    uint64_t zero[2];
};

_Static_assert(sizeof(struct net_table) <= CHANNEL_PAGE, "abi");
_Static_assert(sizeof(struct net_slot) == 512, "abi");
_Static_assert(sizeof(struct net_counters) == 128, "abi");
_Static_assert(NET_TABLE_GRANTS + NET_SLOTS * sizeof(struct net_slot) <= NET_TABLE_COUNTS, "abi");
_Static_assert(NET_TABLE_COUNTS + NET_SLOTS * sizeof(struct net_counters) <=
                   NET_TABLE_SERVER(CHANNEL_SERVER),
               "abi");
_Static_assert(NET_TABLE_SERVER(CHANNEL_STANDBY) + 4096 <= NET_TABLE_TCP, "abi");

#endif
