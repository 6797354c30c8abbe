/*
 * The supervisor's inside: its state, and the connections of `librettos` commands. requests.c
 * carries requests out, supervisor.c owns the sockets.
 */
#ifndef HOST_CLIENT_H
#define HOST_CLIENT_H

#include <jansson.h>

#include "domain.h"
#include "policy.h"

enum client_role {
    CLIENT_NEW,     /* no request yet */
    CLIENT_RUN,     /* started the domain; without detach, stays until that ends */
    CLIENT_EXEC,    /* has a session in the domain */
    CLIENT_WAIT,    /* waits for the domain's end */
    CLIENT_STATS,   /* waits for its statistics */
    CLIENT_UPGRADE, /* waits for the end of the upgrade of a network server */
    CLIENT_RESTART, /* waits for the next supervisor */
    CLIENT_SWITCH,  /* waits until it is on another path (pathswitch.h) */
    CLIENT_GDB,     /* debugs it (debugger.h) */
    CLIENT_DONE,    /* answered */
};

struct supervisor {
    struct loop loop;
    struct vnet *vnet;
    struct watch listener, signals;
    struct timer linger;
    struct timer sampler; /* auto mode; armed while a domain is in it */
    struct policy_config policy;
    uint64_t linger_ms;
    char *dir;
    struct domain *domains;    /* live and ended ones, network servers too */
    struct netserver *servers; /* networks that have or had a server */
    struct client *clients;
    uint32_t next_client, next_domain; /* numbers for new ones */
    unsigned restarts;                 /* supervisors before this one */
    int exit_status;                   /* when the loop stops */
};

struct client {
    struct stream stream;
    struct supervisor *sv;
    uint32_t id;
    enum client_role role;
    bool detach;
    struct domain *domain;   /* set from CLIENT_RUN to CLIENT_GDB */
    struct session *session; /* its program, while that lives */
    int wanted_mode;         /* CLIENT_SWITCH: enum path_mode, and the device, or NULL */
    char *wanted_device;
    struct client *next;
};

/* Handles one frame from a command. Returns 0, or -EPROTO: the connection is to be dropped. */
int client_frame(struct client *c, const struct frame *f);
/* The connection is gone: what was its is let go. */
void client_gone(struct client *c);
/* Appends frames; they are sent when the caller is done. */
void client_reply(struct client *c, json_t *owned);
void client_error(struct client *c, int status, const char *fmt, ...) PRINTF(3, 4);
void client_event(struct client *c, json_t *owned);
void client_flush(struct client *c);
/* Sends them in a later round of the loop. Until then they are as little committed as what led to
 * them: that is done together, with the domain's session. */
void client_later(struct client *c);

/* ---- connections (clients.c) ---- */

/* Makes what it is about, and what it was sent, what a next supervisor begins with. */
void client_commit(struct client *c);
/* Takes one connection; false if there is none. */
bool client_accept(struct supervisor *sv);
void client_close(struct client *c);
/* Goes on with the connections that a dead supervisor left; its domains are there already. */
void clients_restore(struct supervisor *sv);

/* ---- domains ---- */

/* Hears a session on behalf of the client that is its argument. */
extern const struct session_listener client_listener;
/* The domain of this name that lives or ended last, or NULL. */
struct domain *supervisor_find(struct supervisor *sv, const char *name);
/* Makes a domain that runs one of the supervisor's. */
void supervisor_adopt(struct supervisor *sv, struct domain *d);
/* Starts a domain within the supervisor, under a name that no live one has. NULL with *error an
 * owned line. */
struct domain *supervisor_start(struct supervisor *sv, struct domain_spec *spec, char **error);
/* Gives a domain a name; another one that has it gets this one's. */
void supervisor_exchange_names(struct supervisor *sv, struct domain *d, const char *name);
/* A domain as `ps` shows it (describe.c). */
json_t *describe(struct domain *d);
/* Re-arms or stops the timer that ends an idle supervisor. */
void supervisor_check_idle(struct supervisor *sv);

/* Takes over all that a dead supervisor left (restore.c). */
void supervisor_restore(struct supervisor *sv);

/* True for a name that is fit for a domain: a host name's characters, at most 63. */
bool name_is_valid(const char *name);

#endif
