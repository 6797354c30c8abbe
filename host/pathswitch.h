/*
 * Moving running application domains between their paths: the server path (a channel) and the
 * direct path (a NIC of their own). The devices are plugged in and out by QMP; the domain is told
 * by CTL_SWITCH (abi/control.h) which one to use, and tells by CTL_PATH when it helped itself.
 *
 * One switch of a domain is under way at a time, others wait for it. Each ends, or is undone, in
 * bounded time. A channel stays when it was plugged in once: it is what a domain falls back to.
 */
#ifndef HOST_PATHSWITCH_H
#define HOST_PATHSWITCH_H

#include "client.h"
#include "traffic.h"

enum path_mode { MODE_DIRECT, MODE_SERVER, MODE_AUTO };

enum switch_step {
    SWITCH_IDLE,
    SWITCH_PLUG,   /* the wanted device is being plugged in */
    SWITCH_ASKED,  /* the domain has to answer */
    SWITCH_LATE,   /* frames may still come by the NIC */
    SWITCH_UNPLUG, /* the domain has to let go of its NIC */
    SWITCH_TIDY,   /* the NIC's other end is taken away */
};

struct pathswitch {
    struct supervisor *sv;
    struct domain *domain;
    struct lease *lease;
    enum path_mode mode;
    enum ctl_path_kind in_use; /* the domain's word */
    enum switch_step step;
    enum ctl_path_kind wanted; /* by the switch that is under way */
    uint32_t id;               /* of its question to the domain */
    struct client *client;     /* who asked for it; NULL: nobody waits */
    char *why;                 /* for the record */
    char *error;               /* it failed, and is being undone */
    struct timer timer;
    uint64_t begun_ns;
    bool has_nic, has_channel; /* devices of the machine */
    bool has_end;              /* the NIC's other end is there */
    bool pooled;               /* the NIC is one of the pool */
    struct tap tap;            /* the NIC's, to be closed last; n == 0: none */
    char *vfio;                /* address of the PCI device that is its NIC, or NULL */
    struct traffic past;       /* of NICs that it no longer has */
    /* Auto mode: what the last sample saw. */
    struct policy_domain policy;
    uint64_t sampled_ns, seen_packets, seen_bytes, seen_cpu;
    /* The last switch that came to something, for `ps`. */
    unsigned count;
    char *last; /* what and why; NULL: there was none */
    uint64_t last_ns, last_stall_ns;
    uint64_t log_ns; /* the log takes a further line from then on: a domain could fill it */
};

const char *path_name(enum ctl_path_kind kind);
const char *path_mode_name(enum path_mode mode);
/* -EINVAL: no such mode. */
int path_mode_parse(const char *text, enum path_mode *mode);

/* For a domain that was just started with this lease. */
struct pathswitch *pathswitch_new(struct supervisor *sv, struct domain *d, enum path_mode mode);
/* The domain has ended; the record stays. */
void pathswitch_end(struct pathswitch *s);
void pathswitch_free(struct pathswitch *s);

/* The requests "switch" and "mode" of supervisor.h. */
void pathswitch_request(struct client *c, struct domain *d, json_t *rq);
/* The client is gone: its switch goes on. */
void pathswitch_forget(struct client *c);
/* What the domain, or its QEMU, says; false: it is about something else. */
bool pathswitch_event(struct pathswitch *s, enum domain_event what, const void *data);
/* Moves it if nothing else is under way; why: for the record. */
void pathswitch_move(struct pathswitch *s, enum ctl_path_kind wanted, const char *why);
/* It is in auto mode from now on (automode.c). */
void automode_start(struct pathswitch *s);
/* Goes on with the switch that was under way when another supervisor died, and what QEMU was told
 * last may or may not have been done. */
void pathswitch_resume(struct pathswitch *s);
/* Adds what `ps` shows. */
void pathswitch_describe(const struct pathswitch *s, json_t *o);

/* ---- devices (nic.c); on errors *error is an owned line ---- */

/* Prepares the NIC's other end, and queues the commands that plug it in; done is told. False: it
 * cannot be. */
bool nic_plug(struct pathswitch *s, void (*done)(void *arg, const char *error), char **error);
/* Asks the domain to let go of it: pathswitch_unplugged() follows. */
void nic_unplug(struct pathswitch *s, void (*done)(void *arg, const char *error));
/* The device is gone: takes its other end away. */
void nic_tidy(struct pathswitch *s, void (*done)(void *arg, const char *error));
/* The commands of which a NIC in the port for one consists, for a network server's too: a tap
 * device, whose descriptors are taken over, as its other end; and the device. */
void nic_add_tap(struct domain *d, struct tap *tap);
void nic_add_virtio(struct domain *d, const uint8_t mac[6], bool user_net, unsigned queues,
                    void (*done)(void *arg, const char *error), void *arg);
/* How many NICs the pool has, and how many of them are in use. */
unsigned nic_pool_size(void);
unsigned nic_pool_used(const struct supervisor *sv);
/* Plugs in the domain's end of a channel, for which the lease got a slot. */
bool channel_plug(struct pathswitch *s, void (*done)(void *arg, const char *error), char **error);
/* That failed. */
void channel_drop(struct pathswitch *s);

#endif
