/*
 * A learning Ethernet switch (IEEE 802.1D, without spanning tree: its ports are leaves). It only
 * decides where a frame goes; ports deliver. Bad frames and full ports are counted, never fatal.
 */
#ifndef HOST_SWITCH_H
#define HOST_SWITCH_H

#include "util.h"

#define ETH_HEADER 14u
#define ETH_FRAME_MAX (65520u + ETH_HEADER + 4u) /* the switch's MTU, and room for a VLAN tag */
#define SWITCH_MTU 65520u
#define SWITCH_PORTS 128
#define SWITCH_MACS 256 /* learned addresses; a power of two */

/* What went through a port. */
struct switch_traffic {
    uint64_t rx_frames, rx_bytes; /* from the port into the switch */
    uint64_t tx_frames, tx_bytes; /* out through the port */
    uint64_t drop_full;           /* no room in the port */
    uint64_t drop_bad;            /* too short, too long, or with a source it may not use */
    uint64_t drop_local;          /* for the port it came from */
    uint64_t waiting;             /* bytes that its other end has not taken yet */
};

struct switch_port {
    /* Takes a whole frame (it is copied or sent at once). False: no room, the frame is dropped. */
    bool (*deliver)(struct switch_port *port, const uint8_t *frame, size_t n);
    /* Called after a batch of frames was delivered: send what was gathered. May be NULL. */
    void (*flush)(struct switch_port *port);
    /* True while the port has no room: whoever can should send nothing to it. May be NULL. */
    bool (*is_full)(struct switch_port *port);
    const uint8_t *only_mac; /* the one source address it may use, or NULL */
    int index;               /* in the switch, set by switch_add_port() */
    bool dirty;              /* has frames to flush */
    struct switch_traffic traffic;
};

struct net_switch {
    struct switch_port *ports[SWITCH_PORTS];
    struct {
        uint8_t mac[6];
        uint8_t port; /* index + 1, 0: free */
    } macs[SWITCH_MACS];
};

/* Connects a port. Returns 0 or -ENOSPC. */
int switch_add_port(struct net_switch *sw, struct switch_port *port);
/* Disconnects it and forgets the addresses learned from it. */
void switch_del_port(struct net_switch *sw, struct switch_port *port);
/* A frame came in through a port: learns its source and delivers it. Call switch_flush()
 * afterwards. */
void switch_input(struct net_switch *sw, struct switch_port *from, const uint8_t *frame, size_t n);
/* Flushes the ports that frames were delivered to. */
void switch_flush(struct net_switch *sw);
/* True if some port other than `from` is full: back-pressure for a source that cannot choose. */
bool switch_is_full(const struct net_switch *sw, const struct switch_port *from);

#endif
