/*
 * Ephemeral ports, chosen unpredictably (RFC 6056): shared by TCP and UDP.
 */
#ifndef NET_PORT_H
#define NET_PORT_H

#include "net/ip.h"

/*
 * A port of port_ranges() (net/shared.h) for which usable() says true, in host byte order, or 0
 * if there is none. With a remote address: RFC 6056 algorithm 3 (double-hash), so that ports to one
 * peer are handed out in turn and not reused early; remote NULL (bind to port 0): a random start.
 * usable is called with the locks of the caller held. Any context.
 */
uint16_t port_choose(const struct ip_addr *local, const struct ip_addr *remote,
                     uint16_t remote_port, bool (*usable)(uint16_t port, void *arg), void *arg);

#endif
