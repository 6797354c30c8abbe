/*
 * Network interfaces and paths.
 *
 * A netif is what programs and the stack see: a name, addresses, an MTU. It sends and receives
 * through paths: a NIC of the domain's own (direct path), a channel to the network server (server
 * path), or the loopback. Several may be attached to one interface. Receive is accepted from each;
 * transmit uses netif->path, the best of them: the kind that is preferred if its link is up, else
 * another whose link is up. So an interface whose NIC fails goes on by its channel at once, and
 * returns when the NIC is well. Nothing above this file knows which path is in use.
 */
#ifndef NET_NETIF_H
#define NET_NETIF_H

#include "core/deferred.h"
#include "core/lock.h"
#include "core/timer.h"
#include "net/pkt.h"

#define MAC_LEN 6

/* What a path can do; the netif offers the stack what its current path can. */
enum path_feature {
    PATH_CSUM = 1, /* fills in transport checksums (PKT_CSUM_PARTIAL) */
    PATH_TSO4 = 2, /* GSO_TCP4 of up to 64 KiB */
    PATH_TSO6 = 4, /* GSO_TCP6 */
    PATH_USO = 8,  /* GSO_UDP */
    PATH_SG = 16,  /* fragments without a copy; every path accepts packets with fragments */
};

enum path_kind { PATH_LOOPBACK, PATH_DIRECT, PATH_SERVER };

struct path_stats {
    uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
    uint64_t rx_dropped, tx_dropped, rx_errors, tx_errors;
    uint64_t doorbells, interrupts;
};

struct path_ops {
    /* Queues one packet for the device on queue pair `queue`; takes ownership. False: the ring is
     * full; ownership stays with the caller, and path_tx_ready() is called when there is room
     * again. Does not ring the doorbell. The packet needs nothing that `features` lacks. Bottom
     * halves disabled. When there are fewer queues than CPUs several CPUs use one: the path
     * serialises them. */
    bool (*transmit)(struct net_path *path, int queue, struct pkt *p);
    /* Rings the doorbell of the queue if something was queued since. Bottom halves disabled. */
    void (*flush)(struct net_path *path, int queue);
    /* Frees what the device has sent, and with `tell` asks for an interrupt when it has sent the
     * rest, which is freed then. NULL: it holds nothing. Bottom halves disabled. */
    void (*reclaim)(struct net_path *path, bool tell);
    /* Programs the device's receive filter. Thread context. */
    int (*set_mac)(struct net_path *path, const uint8_t mac[MAC_LEN]);
    /* n < 0: everything is to be received, whoever it is for. */
    int (*set_multicast)(struct net_path *path, const uint8_t (*macs)[MAC_LEN], int n);
    /* The interface transmits by this path from now on (true, before the first packet), or does no
     * more (false, some time after the last). May be NULL. Not in hard interrupts; does not sleep.
     */
    void (*chosen)(struct net_path *path, bool yes);
    /* Whether all packets that were queued have left its rings, and all that were received are
     * taken out. NULL: they do at once. Thread context. */
    bool (*drained)(struct net_path *path);
    /* Sums the per-queue counters. */
    void (*stats)(struct net_path *path, struct path_stats *out);
    /* Optional: starts a device that was attached while netif_start_later was set, or that detach
     * has stopped. 0 or the device's error. Thread context. */
    int (*start)(struct net_path *path);
    /* Stops the device, gives back all buffers. Thread context. */
    void (*detach)(struct net_path *path);
};

struct net_path {
    const struct path_ops *ops;
    enum path_kind kind;
    struct netif *netif; /* attached to */
    uint32_t features;   /* enum path_feature */
    uint16_t mtu;        /* largest IP packet */
    int queues;          /* queue pairs; CPU c uses queue c % queues */
    bool link_up;
    uint8_t mac[MAC_LEN];
    char name[16]; /* of the device, for logs: "virtio-net 00:02.0" */
};

struct netif_addr {
    struct list link;
    struct ip_addr addr;
    uint8_t prefix;                      /* bits: 0..32 or 0..128 as written by people */
    uint8_t state;                       /* enum addr_state */
    uint8_t origin;                      /* enum addr_origin */
    nsec_t valid_until, preferred_until; /* NSEC_NEVER: for ever */
    nsec_t added;                        /* set when it is added */
};

enum addr_state { ADDR_PREFERRED, ADDR_OPTIMISTIC, ADDR_DEPRECATED };
enum addr_origin { ADDR_STATIC, ADDR_LINK_LOCAL, ADDR_SLAAC, ADDR_DHCP };

/* Interface flags: Linux values. */
#define NETIF_UP 0x1u
#define NETIF_BROADCAST 0x2u
#define NETIF_LOOPBACK 0x8u
#define NETIF_RUNNING 0x40u
#define NETIF_MULTICAST 0x1000u

/* Somebody between an interface and its path, who takes frames out: the network server. Each
 * function gets complete frames, owns them, and gives back those that go on (linked by next) or
 * NULL. Inside a batch, bottom halves disabled. */
struct netif_tap {
    /* Frames that came in, merged by GRO, before the stack sees them. */
    struct pkt *(*input)(struct netif *n, struct pkt *list);
    /* A frame of the stack's own on its way out. */
    struct pkt *(*output)(struct netif *n, struct pkt *p);
    /* A ring that was full, and the backlog behind it, have room again. */
    void (*room)(struct netif *n);
};

#define NETIF_PATHS 4

/* Why an interface transmits by the path that it uses now. */
enum path_reason {
    PATH_ASKED = 1,     /* it is the preferred kind, since somebody said so */
    PATH_LINK_LOST = 2, /* the link of the one in use before went down */
    PATH_LINK_BACK = 3, /* the link of this one came up */
    PATH_DETACHED = 4,  /* the one in use before was taken away */
    PATH_ATTACHED = 5,  /* this one was attached */
};

/* An interface lives for ever once created: pointers to it need no reference. */
struct netif {
    struct list link;
    char name[16];  /* "lo", "eth0", ... */
    int index;      /* from 1 */
    uint32_t flags; /* NETIF_* */
    uint16_t mtu;
    bool shared; /* its addresses are shared (net/shared.h): the network server speaks for them */
    uint8_t mac[MAC_LEN];
    struct net_path *path; /* transmit path; NULL: none, packets are dropped and counted */
    /* What is attached, in order; NULL: free. With the choice among them under net_config_lock. */
    struct net_path *paths[NETIF_PATHS];
    int npaths;
    enum path_kind preferred; /* PATH_LOOPBACK: the first that is attached decides */
    enum path_reason reason;  /* for the present choice */
    bool exchanged;           /* the path is another one, and netif_work has yet to follow */
    unsigned announcements;   /* of the exchange: still to be made */
    struct timer announce_timer;
    const struct netif_tap *tap; /* NULL: nobody; set once */
    struct list addrs;  /* struct netif_addr, under net_config_lock; see also netif_for_each_addr */
    struct list groups; /* multicast memberships (net/mcast.c), under net_config_lock */
    /* Until when a router is thought about that speaks IGMPv2, MLDv1 alone. */
    nsec_t old_mcast_router[2];
    /* The first address of each family, for a quick look at the destination of what comes in. */
    uint32_t main_v4;
    struct ip_addr main_v6;
    struct pkt_queue backlog[64]; /* per queue: packets a full ring refused; bounded */
    spinlock_t backlog_lock[64];
    uint64_t tx_dropped;
    atomic_int promiscuous;  /* how many want to receive what is for others too */
    struct work link_work;   /* follows a change of the link state */
    struct work filter_work; /* programs the path's multicast filter */
    struct nd_state
        *nd;           /* router and prefix discovery (net/nd.c); NULL: no IPv6 autoconfiguration */
    struct dhcp *dhcp; /* DHCP client (net/dhcp.c) or NULL */
};

/* Set before devices are found: they are attached, but send and receive nothing before their path's
 * start is called. */
extern bool netif_start_later;

/* Creates an interface without a path: "eth%d" is numbered. -ENOMEM through ERR_PTR. Thread
 * context. */
struct netif *netif_create(const char *name, const uint8_t mac[MAC_LEN]);
/* Attaches a path; it transmits by it if it is the best (the MTU and features change with it).
 * -ENOSPC, or the error of the path's set_mac. Thread context. */
int netif_attach_path(struct netif *n, struct net_path *p);
/* Takes a path away; transmit goes on by another one, if there is one. What the path's rings hold
 * is given a moment to leave. Thread context. */
void netif_detach_path(struct netif *n, struct net_path *p);
/* For drivers at probe: attaches the path to the interface with its MAC address, or to a new one,
 * "eth0" for the first. Thread context. */
int netif_register_path(struct net_path *p);
/* The kind of path to use from now on, if its link is up. Thread context. */
void netif_prefer(struct netif *n, enum path_kind kind);

struct netif_switched {
    enum path_kind kind; /* in use afterwards; PATH_LOOPBACK: none */
    nsec_t stall;        /* from the exchange of the path until the network was told */
    nsec_t drain;        /* from there until the old path had sent what it held */
};
/*
 * A switch: waits until a path of this kind is attached and its link is up, prefers it, and waits
 * until the one in use before has sent what it held (for a tenth of a second at most). 0; or, with
 * everything as it was, -ENODEV (there is no such path by the deadline) or -ENETDOWN (its link is
 * not up). Thread context, not the work thread, which attaches paths.
 */
int netif_switch(struct netif *n, enum path_kind kind, nsec_t deadline, struct netif_switched *out);
/* Told after an interface began to use another path. NULL: nobody. Thread context. */
extern void (*netif_path_hook)(struct netif *n, enum path_kind kind, enum path_reason why);
/* Shown each frame that a path is given, and each that came by one before anything is done to it;
 * it only looks. NULL: nobody. Inside a batch, bottom halves disabled. */
extern void (*netif_frame_hook)(const struct net_path *path, const struct pkt *p, bool out);
struct netif *netif_by_name(const char *name);
struct netif *netif_by_index(int index);
void netif_for_each(bool (*fn)(struct netif *n, void *arg), void *arg);
/* The interface of a path that netif_register_path made or found; lo. */
extern struct netif *netif_loopback;
/* A copy of each address in turn; stops when fn returns false. Thread context or bh. */
void netif_for_each_addr(struct netif *n, bool (*fn)(const struct netif_addr *a, void *arg),
                         void *arg);
/* Interface up or down (IFF_UP); adds the link-local address and starts router discovery when it
 * comes up. Thread context. */
int netif_set_up(struct netif *n, bool up);
/* Tells the neighbours where the interface's addresses are now: gratuitous ARP (RFC 5227 3) and
 * unsolicited neighbour advertisements (RFC 4861 7.2.6). After a switch of paths. */
void netif_announce(struct netif *n);
/* Add and remove addresses of the interface; connected routes come and go with them. -EEXIST,
 * -EADDRNOTAVAIL, -EINVAL, -ENOMEM. Any context but hard interrupts. */
int netif_add_addr(struct netif *n, const struct ip_addr *a, uint8_t prefix);
int netif_add_addr_full(struct netif *n, const struct netif_addr *a); /* link, added are ignored */
int netif_del_addr(struct netif *n, const struct ip_addr *a);

/* Hands a complete link-layer frame to the current transmit path; takes ownership. Doorbells are
 * rung at the end of the outermost net_batch. bh context or bottom halves disabled. */
void netif_transmit(struct netif *n, struct pkt *p);
/* The same past the interface's tap, for the tap itself. */
void netif_transmit_frame(struct netif *n, struct pkt *p);
/* Has its path give back what it has sent (struct path_ops, reclaim). Inside a batch. */
void netif_reclaim(struct netif *n, bool tell);

/* Whether what was queued for the path has left its rings. Thread context. */
bool path_is_drained(struct net_path *path);

/* Receive: a driver hands over a list of frames (linked by next) that arrived together. Takes
 * ownership. bh context. Runs GRO over the list, then the stack, inside one net_batch. */
void path_receive(struct net_path *path, struct pkt *list);
/* There is room in the transmit ring of this queue again. bh context. */
void path_tx_ready(struct net_path *path, int queue);
/* Link state changed. Any context. */
void path_link_changed(struct net_path *path, bool up);
/* What the path had taken may be lost: its other end was replaced, and goes on. Connections look at
 * once what their peers have, instead of waiting for a timer. Any context. */
void path_lost_frames(struct net_path *path);
/* The largest IP packet is another one from now on. Any context but hard interrupts. */
void path_mtu_changed(struct net_path *path, uint16_t mtu);

/*
 * Between begin and end, on this CPU, doorbells and deferred calls of the stack are collected.
 * Nests. Keeps bottom halves disabled. What is found without a lock (the transmit path, the view of
 * addresses and routes, see net/view.h) stays valid inside.
 */
void net_batch_begin(void);
void net_batch_end(void);

/* Work to be done once at the end of the outermost batch on this CPU, before the doorbells: a
 * delayed ACK, a wake-up. Pending at most once; the owner keeps it alive until it ran. Inside a
 * batch. */
struct net_defer {
    struct net_defer *next;
    void (*run)(struct net_defer *d);
    bool pending;
};
void net_batch_defer(struct net_defer *d);

/* Waits until every batch that runs now, on any CPU, has ended. Thread context, outside a batch. */
void net_synchronize(void);

/* Frees something readers inside batches may still be looking at, once they can't any more. Any
 * context. */
struct net_garbage {
    struct net_garbage *next;
    void (*free)(struct net_garbage *g);
};
void net_free_later(struct net_garbage *g);

#endif
