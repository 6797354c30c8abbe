/*
 * Network servers: one domain per network (the virtual switch, a tap device, a bridge) that shares
 * its NIC among application domains, each over a channel of its own (abi/channel.h).
 *
 * A server is started when the first domain needs it, beside that domain, and stopped some time
 * after the last one has gone. One that dies is started again at once; if that happens often, after
 * a pause. All that its domains own is in the table (nettable.h), which survives it, so a new
 * server needs to be told nothing.
 *
 * Its channel devices are a pool. It starts with one multi-function device of channels, or with as
 * many as there are; when all are in use, the next one is plugged into a root port. None is ever
 * unplugged: QEMU does not survive that.
 */
#ifndef HOST_NETSERVER_H
#define HOST_NETSERVER_H

#include "client.h"
#include "nettable.h"

#define NETSERVER_MEMORY_MIB 32

/* A network, as `run` names it: all NULL is the virtual switch. */
struct network {
    const char *tap, *bridge;
};

struct netserver {
    struct supervisor *sv;
    char *name, *tap, *bridge;
    char *binary, *kernel, *accel, *cpu, *loglevel; /* of the domain it was first started for */
    char *ip;                  /* its own address as a boot argument, NULL: it has none */
    struct channel_grants own; /* the same as numbers: what domains share */
    struct nettable table;
    struct watch bell;     /* the server has news in the table */
    struct domain *domain; /* the instance that lives, or NULL */
    unsigned users;
    unsigned plugged; /* channels that the instance has */
    bool plugging, plug_failed, idle_stop;
    unsigned plug_step;
    int table_keep, keep[NET_SLOTS]; /* our ends of its devices' sockets, or -1 */
    struct timer restart, idle, ready;
    uint64_t started_ns, pause_ms;
    unsigned restarts;
    char *reason; /* of the last death, or NULL */
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
/* On DOMAIN_EV_ENDED of its instance. */
void netserver_ended(struct netserver *ns);
/* Frees a server that has no domains and does not run. */
void netserver_destroy(struct netserver *ns);

/* ---- for netserver.c's own other file ---- */

/* Plugs in the channels that the running instance does not have yet. */
void netserver_plug(struct netserver *ns);

#endif
