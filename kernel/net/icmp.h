/* What icmp.c and icmp6.c share. */
#ifndef NET_ICMP_H
#define NET_ICMP_H

#include "net/ipimpl.h"

/* Takes one of the tokens that limit outgoing errors. Bottom halves disabled. */
bool icmp_rate_ok(void);
/* A flow back to the sender of p, routed; NULL if there is no way. Cached per CPU: valid until the
 * next call. Inside a batch. */
struct ip_flow *icmp_reply_flow(const struct pkt *p, uint8_t proto);
/* An error message that quotes p; the checksum is not filled in. NULL (counted): no memory. */
struct pkt *icmp_error_packet(const struct pkt *p, uint8_t type, uint8_t code, uint32_t rest);
/* Tells the transport of an error about its packet. */
void icmp_quoted(const struct icmp_report *r);

#endif
