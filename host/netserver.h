/*
 * Network servers: one domain per network (the virtual switch, a tap device, a bridge) that shares
 * its NIC among application domains, each over a channel of its own (abi/channel.h).
 *
 * A server is started when the first domain needs it, beside that domain, and stopped some time
 * after the last one has gone. It has up to two instances (abi/net_table.h): the active one, which
 * serves, and soon after it a standby, booted and attached, which takes over when the active one
 * dies, hangs or is upgraded. Without a standby, one that dies is started again at once; if that
 * happens often, after a pause. All that its domains own is in the table (nettable.h), which
 * survives the instances, so a new one needs to be told nothing.
 *
 * An instance's channel devices are a pool. It starts with one multi-function device of channels,
 * or with as many as there are; when all are in use, the next one is plugged into a root port. None
 * is ever unplugged: QEMU does not survive that.
 */
#ifndef HOST_NETSERVER_H
#define HOST_NETSERVER_H

#include "client.h"
#include "nettable.h"

#define NETSERVER_MEMORY_MIB 32
#define NETSERVER_TAP "tap"        /* its tap device's entry at the keeper */
#define NETSERVER_STATE ".network" /* how the names of the files end */

/* A network, as `run` names it: all NULL is the virtual switch. */
struct network {
    const char *tap, *bridge;
};

/* Why an instance ended, or gave way to another. */
enum net_end {
    NET_END_CRASH,
    NET_END_PANIC,
    NET_END_HANG,
    NET_END_STOP,
    NET_END_UPGRADE,
    NET_ENDS
};

struct instance {
    struct netserver *ns;
    enum channel_role role;
    struct domain *domain; /* NULL: it does not run */
    char *kernel;          /* that it was started with */
    unsigned plugged;      /* channels that it has */
    unsigned plug_step;
    bool plugging, plug_failed;
    bool has_nic;                    /* a tap device is read by one machine only */
    struct tap port;                 /* on a bridge: a device of its own */
    int port_up;                     /* ... carries frames; -1: not known */
    bool retired;                    /* its end is wanted */
    bool hung;                       /* it is being ended because it did not answer */
    int table_keep, keep[NET_SLOTS]; /* our ends of its devices' sockets, or -1 */
    uint64_t started_ns;
    uint64_t answered_ns;   /* when it answered a heartbeat last */
    uint64_t late_ns;       /* since then: what the looks came too late */
    uint64_t waited_ns;     /* its threads, for a processor, when it had been silent for a while */
    struct timer last_word; /* of a hung one */
};

/* An upgrade under way. */
struct upgrade {
    struct client *client; /* that is told, or NULL */
    char *kernel;          /* the new one's, NULL: none is under way */
    bool handing_over;     /* the new one was told to serve */
    struct timer limit;    /* for the step that is under way */
    uint64_t began_ns;     /* of the step */
};

struct netserver {
    struct supervisor *sv;
    char *name, *tap, *bridge;
    char *binary, *kernel, *accel, *cpu, *loglevel; /* of the domain it was first started for */
    char *ip;                  /* its own address as a boot argument, NULL: it has none */
    struct channel_grants own; /* the same as numbers: what domains share */
    struct tap nic;            /* --tap: the device, for all instances */
    struct nettable table;
    struct watch bell; /* an instance has news in the table */
    struct instance instances[2], *active;
    unsigned users;
    bool idle_stop;
    struct timer restart, standby, idle, beat;
    uint64_t beat_ns; /* the last one */
    uint64_t pause_ms;
    struct upgrade upgrade;
    unsigned ends[NET_ENDS];
    char *reason;     /* of the last death, or NULL */
    uint64_t written; /* of what changes in its file: as it was written last */
    struct netserver *next;
};

/* The server of a network; NULL if there is none. */
struct netserver *netserver_find(struct supervisor *sv, const struct network *net);
/*
 * Makes one, that will be started like the domain `like`. `ip` (may be NULL) and `own` are its own
 * address. NULL with *error an owned line.
 */
struct netserver *netserver_new(struct supervisor *sv, const struct network *net,
                                const struct qemu_config *like, const char *ip,
                                const struct channel_grants *own, char **error);

/*
 * Gives a domain a channel that it may use with so many queue pairs; g is what it owns, to which a
 * shared address's first ports are added. Starts the server if need be. Returns the slot, or -errno
 * with *error an owned line; a server without domains is then gone.
 */
int netserver_grant(struct netserver *ns, unsigned queues, struct channel_grants *g, char **error);
/* The domain has ended. */
void netserver_release(struct netserver *ns, unsigned slot);
/* On DOMAIN_EV_ENDED of an instance. */
void netserver_ended(struct netserver *ns, struct domain *d);
/* Frees a server that has no domains and does not run. */
void netserver_destroy(struct netserver *ns);

/*
 * Hands over to a new instance with this kernel (NULL: the same one). The client, if any, is
 * answered when it serves, or when it does not and the old one goes on.
 */
void netserver_upgrade(struct netserver *ns, const char *kernel, struct client *c);

/* ---- for the next supervisor (restore_netserver.c) ---- */

/* Writes down what has changed. At the end of each round of the loop. */
void netserver_commit(struct netserver *ns);
/* Takes over the server that is written down in this file. NULL after a warning. */
struct netserver *netserver_restore(struct supervisor *sv, const char *file);
/* Takes over a domain that is one of its instances. */
void netserver_restore_instance(struct netserver *ns, struct domain *d);
/* When all is restored: goes on. */
void netserver_resume(struct netserver *ns);
/* How its entries at the keeper begin. Owned. */
char *netserver_key(const char *name);
/* Starts, or ends, what is due after the start of another supervisor. */
void netserver_go_on(struct netserver *ns);

/* The one of its instances that this domain is. */
const struct instance *netserver_instance(const struct netserver *ns, const struct domain *d);
/* What an instance says about itself; unchecked numbers. */
struct net_server_page netserver_page(const struct netserver *ns, const struct domain *d);
/* What `ps` says of the standby: "none", "starting" or "ready". */
const char *netserver_standby_state(const struct netserver *ns);
extern const char *const net_end_names[NET_ENDS];

/* ---- for netserver.c's own other files ---- */

static inline struct instance *netserver_other(struct netserver *ns)
{
    return &ns->instances[ns->active == &ns->instances[0]];
}
/* Whether its network is the virtual switch. */
bool netserver_is_user(const struct netserver *ns);
void netserver_set_reason(struct netserver *ns, char *owned);
/* Timers, instances; what is common to a new server and one that is taken over. */
void netserver_init(struct netserver *ns);
/* Hears its instances. Returns 0 or -errno. */
int netserver_listen(struct netserver *ns);
/* Nothing is written down of it any more. */
void netserver_forget(struct netserver *ns);
/* The other instance, which is ready, is to serve from now on. */
void netserver_promote(struct netserver *ns);
/* Starts a standby after a moment, if there is to be one and none is there. */
void netserver_want_standby(struct netserver *ns);

/* netserver_instance.c. Starts an instance with this kernel; a standby's name and NIC are its own
 * until it is promoted. False with *error an owned line. */
void instance_init(struct instance *i, struct netserver *ns, enum channel_role role);
bool instance_start(struct instance *i, const char *kernel, char **error);
/* Takes the network from the instance that does not serve any more, if it is so. */
void instance_take_network(struct netserver *ns);
/* Its QEMU has ended. */
void instance_ended(struct instance *i);
/* Ready to serve: a standby that is up. */
bool instance_is_ready(const struct instance *i);
/* Ends it; nobody is told. */
void instance_retire(struct instance *i);

/* netserver_bridge.c. All do nothing on other networks. Makes an instance's port, with descriptors
 * for its QEMU in *out. */
void port_open(struct instance *i, struct tap *out, char **error);
/* When its QEMU has ended, or did not begin. */
void port_close(struct instance *i);
/* The network is to be found behind this instance's port; the old one may still send. */
void port_enter(struct instance *i, struct instance *old);
/* It does not any more. */
void port_leave(struct instance *i);

/* netserver_plug.c. Plugs in the channels that the running instances do not have yet. */
void netserver_plug(struct netserver *ns);
/* The same, at the start of another supervisor, from the step that was under way. */
void netserver_plug_on(struct netserver *ns);

/* netserver_watch.c. Begins to watch the instances' heartbeats. */
void netserver_watch(struct netserver *ns);

/* netserver_upgrade.c. There is news of an instance: looks how the upgrade goes. */
void upgrade_follow(struct netserver *ns);
/* Another supervisor goes on with the handover that was under way. */
void upgrade_go_on(struct netserver *ns);
/* An instance has ended, during an upgrade or not. */
void upgrade_ended(struct netserver *ns, const struct instance *i);
/* The new instance cannot even be started. Takes the line over. */
void upgrade_failed(struct netserver *ns, char *owned);

#endif
