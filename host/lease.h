/*
 * A lease: what an application domain has of a network while it runs. Its path (through the network
 * server, or a NIC of its own), its address (dedicated, or the server's that it shares), its
 * channel. The supervisor opens one for each domain and takes all back when the domain has ended.
 */
#ifndef HOST_LEASE_H
#define HOST_LEASE_H

#include "netserver.h"
#include "traffic.h"

/* What `run` asks for. */
struct lease_request {
    struct network net;
    const char *ip;     /* --ip: tap devices and bridges; NULL: DHCP */
    bool server_path;   /* at first; else a NIC of its own */
    bool shared;        /* the server's address */
    const char *wanted; /* --address dedicated=IP, or NULL */
    int mode;           /* enum path_mode */
};

struct lease {
    struct supervisor *sv;
    bool server_path, shared, user_net; /* server_path: it has or had a channel */
    char *tap, *bridge, *ip;            /* its network, and --ip, or NULL */
    char tap_name[16];                  /* the tap device that its NIC is, "" if none */
    struct qemu_config like;            /* what a network server is started like; owned strings */
    struct channel_grants grants;       /* what it owns */
    int host;                           /* its number in the virtual network, or -1 */
    struct netserver *server;           /* while it has a channel there */
    unsigned slot;
    struct qemu_ivshmem device; /* its end of the channel; fd -1 once QEMU has it */
    int keep;                   /* our end */
    char *net0, *address;       /* boot argument; as text, "" if unknown */
    struct net_counters last;   /* when the lease ended */
    struct pathswitch *path;    /* which of its paths it uses; NULL until it has started */
};

/*
 * Gives a domain what it asked for, and fills in the network part of its spec, which stays valid as
 * long as the lease. NULL with *error an owned line.
 */
struct lease *lease_open(struct supervisor *sv, const struct lease_request *rq,
                         struct domain_spec *spec, char **error);
/* Gives a domain on the direct path a channel in addition, in l->device. False with *error an owned
 * line. */
bool lease_add_channel(struct lease *l, char **error);
/* It could not be plugged in. */
void lease_drop_channel(struct lease *l);
/* QEMU was started: it has its descriptors. */
void lease_started(struct lease *l);
/* Gives everything back but the record. Idempotent. */
void lease_end(struct lease *l);
void lease_free(struct lease *l);

/* Its slot at that server, or -1. */
int lease_slot(const struct lease *l, const struct netserver *ns);
/* Answers the domain's claim of ports. */
void lease_claim(struct lease *l, struct ctl_claim *c);
/* The counters of its channel, the last ones if it has ended. */
struct net_counters lease_counters(const struct lease *l);

/* Opens a channel that the lease has a slot for, in l->device. False with *error an owned line. */
bool lease_connect(struct lease *l, char **error);

/* ---- for the next supervisor (restore_lease.c) ---- */

/* What of a lease, and of its domain's paths, changes while the domain runs. */
struct lease_note {
    uint8_t has_path, server_path, has_server;
    uint8_t mode, in_use, step, wanted, has_nic, has_channel, has_end, pooled;
    uint32_t slot, id, count;
    uint64_t begun_ns;
    char tap_name[16], vfio[40], why[128];
    struct traffic past;
};

/* A lease as JSON; what was NULL stays out. */
json_t *lease_save(const struct lease *l);
void lease_take_note(const struct lease *l, struct lease_note *n);
/* What that makes of it, for d; false: it cannot be. Its server is there already. */
bool lease_restore(struct supervisor *sv, struct domain *d, json_t *state,
                   const struct lease_note *n);
/* When all is restored: goes on with the switch that was under way. */
void lease_resume(struct lease *l);

/* The address of an --ip option or net0 argument (NULL: none), without its length. Owned. */
char *lease_option_address(const char *ip);

#endif
