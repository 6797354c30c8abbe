/*
 * Tap devices that are ports of a bridge, and what the bridge believes is behind them: for moving
 * MAC addresses from one port to another without losing a frame. Root only.
 */
#ifndef HOST_BRIDGEPORT_H
#define HOST_BRIDGEPORT_H

#include <stdint.h>

#include "tap.h"

/* Whether the bridge learns addresses from what the port sends. Returns 0 or -errno. */
int bridgeport_set_learning(const char *dev, bool on);
/* Sends a frame from this MAC address out of the port (a reverse ARP request, RFC 903, as for any
 * machine that moved): the bridge, and switches behind it, learn that it is there. Returns 0 or
 * -errno. */
int bridgeport_announce(const struct tap *port, const uint8_t mac[6]);
/*
 * Puts a frame for nobody in front of those that will wait in a device until its guest's driver
 * starts: QEMU (7.2, 10.0) loses the first of them, since it asks the device for it in the midst of
 * setting DRIVER_OK, before that is set. Returns 0 or -errno.
 */
int bridgeport_sacrifice(const char *dev);
/*
 * Gives what waits in a port's queues, that nobody reads any more, to the one who reads the device
 * `to`. Returns how many frames, or -errno.
 */
int bridgeport_move(const struct tap *from, const char *to);

#endif
