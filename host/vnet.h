/*
 * The virtual network of one user's domains: the switch, and libslirp as the port that leads
 * outside. libslirp is the gateway 10.0.2.2 and fd00:4c69:6272::2, answers DNS at .3, and forwards
 * host ports.
 */
#ifndef HOST_VNET_H
#define HOST_VNET_H

#include "abi/channel.h"
#include "loop.h"
#include "netport.h"
#include "switch.h"

#define VNET_FIRST_HOST 15 /* the first domain is 10.0.2.15 */
#define VNET_HOSTS 128
#define VNET_SERVER (VNET_HOSTS - 1) /* the network server's number: it is given to no domain */

/* One -p option: a host address and port that leads to a domain's port. */
struct vnet_forward {
    char host_ip[46]; /* numeric, IPv4 or IPv6 */
    uint16_t host_port, guest_port;
    bool udp;
};

struct vnet;

/* Creates the network within a loop. Returns NULL after a warning if libslirp fails. */
struct vnet *vnet_new(struct loop *loop, bool allow_host_loopback);
void vnet_free(struct vnet *v);

/* Reserves a host number for a domain; -ENOSPC if all are taken. */
int vnet_alloc(struct vnet *v);
/* Reserves the number of an IPv4 address. Returns it, -EINVAL if that is no domain's address, or
 * -EADDRINUSE. */
int vnet_alloc_address(struct vnet *v, const char *ipv4);
void vnet_release(struct vnet *v, int host);
/* The MAC address of a host number: locally administered, the same every time. */
void vnet_mac(int host, uint8_t mac[6]);
/* What a host number owns, as the network server is told: MAC, addresses, gateways, MTU. */
void vnet_grants(int host, struct channel_grants *g);
/* The boot argument net0=... of a host number. Owned by the caller. */
char *vnet_boot_arg(int host);
/* The IPv4 address of a host number as text. Owned by the caller. */
char *vnet_address(int host);

/*
 * Connects a domain's NIC: fd is the supervisor's end of its socket. Only the network server's may
 * send from other addresses than its own: it checks those of its domains. Returns the port, or NULL
 * with *err set. vnet_disconnect() also closes the descriptor.
 */
struct netport *vnet_connect(struct vnet *v, int host, int fd, int *err);
void vnet_disconnect(struct vnet *v, struct netport *p);
/*
 * The network server's port keeps frames until the server is said to be ready: one that does not
 * know its domains yet would answer for them, and refuse their connections. When its machine is
 * gone the port stays and keeps frames for the next one, which is connected with vnet_connect() as
 * well. At last the port is taken away.
 */
void vnet_hold_server(struct vnet *v);
void vnet_server_ready(struct vnet *v);
void vnet_remove_server(struct vnet *v);

/* Binds a host port for a domain. Returns 0, or -errno (-EADDRINUSE, -EACCES). */
int vnet_forward(struct vnet *v, int host, const struct vnet_forward *f);
void vnet_unforward(struct vnet *v, const struct vnet_forward *f);

#endif
