/*
 * The server path: an interface's way to the network through a channel (net/netif.h, PATH_SERVER).
 * The application's side; the server's is kernel/servers.
 */
#ifndef CHANNEL_PATH_H
#define CHANNEL_PATH_H

#include "channel/control.h"
#include "channel/ring.h"
#include "core/deferred.h"
#include "core/lock.h"
#include "core/recheck.h"
#include "net/netif.h"

/* One queue pair. Its consumer and its generation belong to its bottom half; the producer is under
 * tx_lock, which is taken for a new generation too. */
struct channel_path_queue {
    struct channel_path *owner;
    int index;
    struct channel_queue q;
    struct bottom_half bh;
    struct recheck recheck;  /* of both rings */
    spinlock_t tx_lock;      /* bh */
    bool tx_stopped;         /* a packet was refused: say when there is room */
    uint32_t peer;           /* whom to ring */
    uint32_t room_event;     /* the server's, when it was last rung for it by a second look */
    bool reported;           /* the log knows that it is broken */
    struct path_stats stats; /* tx_* and tx_doorbells under tx_lock, the others the bottom half's */
    uint64_t tx_doorbells;
    uint64_t generations, broken;
};

struct channel_path {
    struct net_path path;
    struct channel_device *dev;
    struct channel_grants grants; /* in force; written by queue pair 0's bottom half */
    uint32_t grants_seen;         /* sequence of those that were looked at last */
    bool running;
    bool parked; /* the interface uses another path; under net_config_lock */
    int nqueues;
    struct channel_path_queue *queues;
};

/* Attaches to the channel as the application: checks it, accepts the features, and answers the
 * server if there is one already; else once it comes. The path has the granted MAC and MTU and is
 * up while a server is there; later grants are taken as they come, but for another MAC and mode.
 * Register it with the netif, then call channel_path_start. ERR_PTR:
 * -EPROTO, -EPROTONOSUPPORT, -EAGAIN (page 0 is not ready), -ENOMEM. Thread context. */
struct channel_path *channel_path_create(struct channel_device *dev, const char *name);
void channel_path_start(struct channel_path *cp);
/* Vector i was rung. Hard interrupt context, always on CPU i % cpu_count. */
void channel_path_interrupt(struct channel_path *cp, unsigned i);
/* After detach (netif_detach_path), and when no interrupt can come any more. Thread context. */
void channel_path_destroy(struct channel_path *cp);

#endif
