/* The interface's way down to its path, and up from it. */
#ifndef NET_TRANSMIT_H
#define NET_TRANSMIT_H

#include "net/netif.h"

/* Sends what waits in the backlogs through the current path, as far as it takes it. Any context but
 * hard interrupts. */
void netif_drain(struct netif *n);

#endif
