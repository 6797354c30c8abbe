/*
 * The virtual network's DHCP server (RFC 2131): a domain is told the address that it has been
 * granted, and no other, which its network server would not let pass.
 */
#ifndef HOST_VDHCP_H
#define HOST_VDHCP_H

#include "switch.h"

#define VDHCP_MAX 400 /* bytes of an answer at most */

/*
 * A frame that a domain sent. True if it is a question to a DHCP server from one of the network's
 * MAC addresses; then `answer` has the *length bytes of the frame that answers it, 0: none.
 */
bool vdhcp_answer(const uint8_t *frame, size_t n, uint8_t answer[VDHCP_MAX], size_t *length);

#endif
