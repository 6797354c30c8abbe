/*
 * A switch port whose other end is a domain's NIC: a stream socket to QEMU (-netdev stream), on
 * which each frame goes behind its length as a 32-bit big-endian number. A stream carries many
 * small frames in one system call, which datagrams do not.
 */
#ifndef HOST_NETPORT_H
#define HOST_NETPORT_H

#include "loop.h"
#include "switch.h"

struct netport {
    struct switch_port port;
    struct watch watch, old; /* old: the machine that had it before, if it still sends */
    struct loop *loop;
    struct net_switch *sw;
    struct buf rx, tx, old_rx;
    uint8_t mac[6];
    uint64_t full_since; /* when tx passed its high mark, 0 if it is below */
    bool paused;         /* not read because another port is full */
    bool broken;         /* QEMU sent nonsense or went away */
    bool held;           /* frames to it are kept until netport_release() */
    bool lasting;        /* its machines follow each other: frames to it outlive them */
    struct buf recent;   /* of a lasting one: frames that a dead machine may have lost */
    uint64_t heard_ns;   /* when its machine last sent something */
};

/* Connects the supervisor's end of the socket. Takes the descriptor over. Returns 0 or -errno. */
int netport_open(struct netport *p, struct loop *loop, struct net_switch *sw, int fd,
                 const uint8_t mac[6]);
void netport_close(struct netport *p);
/*
 * Its machine is gone, and another will take its place: the port stays, and keeps frames that come
 * for it, as many as it has room for, until the new machine was connected and is ready. A lasting
 * port also sends again what it sent since shortly before the old machine last spoke: what that had
 * not passed on would else be waited for until a sender's timer ran out.
 */
void netport_hold(struct netport *p);
int netport_attach(struct netport *p, int fd); /* while connected: see below */
void netport_release(struct netport *p);
/*
 * netport_attach() while a machine is connected hands the port over: what the old one still sends
 * is taken until it hangs up, what comes for the port is kept for the new one until
 * netport_release().
 */
/* Reads again after a pause. */
void netport_resume(struct netport *p);
/*
 * Takes all complete frames out of rx, which is one of p's, and gives them to the switch. Returns
 * 0, or -EPROTO for an impossible length. For netport.c and the fuzzer.
 */
int netport_parse(struct netport *p, struct buf *rx);

#endif
