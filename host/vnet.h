/*
 * The virtual network of one user's domains, as the supervisor sees it: who has which number in it,
 * and the process that carries its frames (vswitch.h). That process is one of its own, so that
 * connections through it do not end with the supervisor; each function below that takes a network
 * is one message to it and its answer.
 *
 * If the process dies, another is started, with nothing in it: see vnet_new().
 */
#ifndef HOST_VNET_H
#define HOST_VNET_H

#include <netinet/in.h>

#include "abi/channel.h"
#include "loop.h"
#include "switch.h"

#define VNET_FIRST_HOST 15 /* the first domain is 10.0.2.15 */
#define VNET_HOSTS 128
#define VNET_SERVER (VNET_HOSTS - 1) /* the network server's number: it is given to no domain */
#define VNET_GATEWAY 2u
#define VNET_DNS 3u

/* One -p option: a host address and port that leads to a domain's port. */
struct vnet_forward {
    char host_ip[46]; /* numeric, IPv4 or IPv6 */
    uint16_t host_port, guest_port;
    bool udp;
};

struct vnet;

/* ---- its addresses ---- */

/* The n-th address of the network: 10.0.2.n, and fd00:4c69:6272::n. */
struct in_addr vnet_addr4(unsigned n);
struct in6_addr vnet_addr6(unsigned n);
/* The MAC address of a host number: locally administered, the same every time. */
void vnet_mac(int host, uint8_t mac[6]);
/* What a host number owns, as the network server is told: MAC, addresses, gateways, MTU. */
void vnet_grants(int host, struct channel_grants *g);
/* The boot argument net0=... of a host number. Owned by the caller. */
char *vnet_boot_arg(int host);
/* The IPv4 address of a host number as text. Owned by the caller. */
char *vnet_address(int host);

/* ---- the network ---- */

/*
 * Starts the network's process, or goes on with the one that a dead supervisor left. `died` is
 * called from the loop when that process has died and the next one runs: it has neither ports nor
 * forwards. NULL after a warning if it does not start.
 */
struct vnet *vnet_new(struct loop *loop, bool allow_host_loopback, void (*died)(void *arg),
                      void *arg);
/* Ends it. */
void vnet_free(struct vnet *v);

/* Reserves a host number for a domain; -ENOSPC if all are taken. */
int vnet_alloc(struct vnet *v);
/* Reserves the number of an IPv4 address. Returns it, -EINVAL if that is no domain's address, or
 * -EADDRINUSE. */
int vnet_alloc_address(struct vnet *v, const char *ipv4);
/* Takes a number that is a domain's already, at the start of another supervisor. */
void vnet_take(struct vnet *v, int host);
void vnet_release(struct vnet *v, int host);
/* Takes ports and forwards from numbers that nobody has. */
void vnet_sweep(struct vnet *v, bool server_in_use);
/* Its process, 0 if none runs just now. */
pid_t vnet_pid(const struct vnet *v);

/*
 * Connects a domain's NIC: fd is our end of its socket, and is closed here in any case. Only the
 * network server's may send from other addresses than its own: it checks those of its domains.
 * Returns 0 or -errno.
 */
int vnet_connect(struct vnet *v, int host, int fd);
void vnet_disconnect(struct vnet *v, int host);
/*
 * The network server's port keeps frames until the server is said to be ready: one that does not
 * know its domains yet would answer for them, and refuse their connections. When its machine is
 * gone the port stays and keeps frames for the next one, which is connected with vnet_connect() as
 * well. At last the port is taken away.
 */
void vnet_hold_server(struct vnet *v);
void vnet_server_ready(struct vnet *v);
void vnet_remove_server(struct vnet *v);

/* Binds a host port for a domain. Returns 0, or -errno (-EADDRINUSE, -EACCES). vnet_unforward()
 * undoes exactly that, and nothing that another domain has. */
int vnet_forward(struct vnet *v, int host, const struct vnet_forward *f);
void vnet_unforward(struct vnet *v, int host, const struct vnet_forward *f);

/* What went through a host's port; false if it has none. */
bool vnet_traffic(struct vnet *v, int host, struct switch_traffic *t);

#endif
