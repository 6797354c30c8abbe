/*
 * What carries the frames of the virtual network: the switch, and libslirp as the port that leads
 * outside. libslirp is the gateway 10.0.2.2 and fd00:4c69:6272::2, answers DNS at .3, and forwards
 * host ports. It runs in a process of its own (vswitch_main), which does what the supervisor says.
 * The functions are described in vnet.h, under the same names.
 */
#ifndef HOST_VSWITCH_H
#define HOST_VSWITCH_H

#include "vnet.h"

struct vswitch;

/* Creates the network within a loop. Returns NULL after a warning if libslirp fails. */
struct vswitch *vswitch_new(struct loop *loop, bool allow_host_loopback);
void vswitch_free(struct vswitch *v);

int vswitch_connect(struct vswitch *v, int host, int fd);
void vswitch_disconnect(struct vswitch *v, int host);
void vswitch_hold_server(struct vswitch *v);
void vswitch_server_ready(struct vswitch *v);
int vswitch_forward(struct vswitch *v, int host, const struct vnet_forward *f);
void vswitch_unforward(struct vswitch *v, int host, const struct vnet_forward *f);
void vswitch_sweep(struct vswitch *v, const bool in_use[VNET_HOSTS]);
bool vswitch_traffic(const struct vswitch *v, int host, struct switch_traffic *t);

/* ---- its process ---- */

enum vswitch_op {
    VSWITCH_CONNECT, /* with the descriptor */
    VSWITCH_DISCONNECT,
    VSWITCH_HOLD,
    VSWITCH_READY,
    VSWITCH_FORWARD,
    VSWITCH_UNFORWARD,
    VSWITCH_SWEEP, /* in_use */
    VSWITCH_TRAFFIC,
};

/* One message over a SOCK_SEQPACKET socket, and its answer. */
struct vswitch_request {
    uint32_t id; /* comes back in the answer */
    uint32_t op;
    int32_t host;
    struct vnet_forward forward;
    bool in_use[VNET_HOSTS];
};
struct vswitch_answer {
    uint32_t id;
    int32_t error; /* 0 or -errno */
    struct switch_traffic traffic;
};

/* Carries out one request. fd comes with it, or is -1. For vswitch_main() and tests. */
struct vswitch_answer vswitch_handle(struct vswitch *v, const struct vswitch_request *rq, int fd);
/* The process: serves the socket until its other end is closed. Returns the exit status. */
int vswitch_main(int sock, bool allow_host_loopback);

#endif
