/*
 * A UDP port of this machine that leads to a domain's port. libslirp could do it, but not while
 * domains are kept from the host's loopback (it would drop the answers to local clients). Each
 * client is a port of the gateway's IPv4 address in the domain's eyes; answers go to clients that
 * asked, nowhere else.
 */
#ifndef HOST_UDPRELAY_H
#define HOST_UDPRELAY_H

#include <sys/socket.h>

#include "loop.h"
#include "switch.h"

struct udprelay;
struct udprelay_guest {
    uint8_t mac[6], gateway_mac[6];
    uint32_t ip, gateway; /* host byte order */
    uint16_t port;
};

/*
 * Binds `addr`; datagrams enter the switch through the port `via`. NULL with *err set to -errno.
 */
struct udprelay *udprelay_open(struct loop *loop, struct net_switch *sw, struct switch_port *via,
                               const struct sockaddr *addr, socklen_t len,
                               const struct udprelay_guest *guest, int *err);
void udprelay_close(struct udprelay *r);
/* True if it was opened with this address. */
bool udprelay_is(const struct udprelay *r, const struct sockaddr *addr, socklen_t len);
/* A frame for the gateway: true if it answers one of this relay's clients, and was consumed. */
bool udprelay_answer(struct udprelay *r, const uint8_t *frame, size_t n);

#endif
