/* Ethernet frames with UDP over IPv4, as the parts of the virtual network make and read them. */
#ifndef HOST_UDPFRAME_H
#define HOST_UDPFRAME_H

#include "switch.h"

#define IP_HEADER 20u
#define UDP_HEADER 8u
#define UDPFRAME_HEADERS (ETH_HEADER + IP_HEADER + UDP_HEADER)
#define UDPFRAME_PAYLOAD (SWITCH_MTU - IP_HEADER - UDP_HEADER) /* at most */

static inline void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static inline unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Whence and where; numbers in host byte order. */
struct udpframe {
    const uint8_t *from_mac, *to_mac;
    uint32_t from, to;
    uint16_t from_port, to_port;
};

/* The headers of a frame with n bytes of payload, which begins UDPFRAME_HEADERS behind `frame`. UDP
 * without a checksum: it crosses no wire. */
void udpframe_headers(uint8_t *frame, const struct udpframe *u, size_t n);
/* Reads a whole frame; its payload and the length of that. NULL: it is none such, or a fragment. */
const uint8_t *udpframe_parse(const uint8_t *frame, size_t n, struct udpframe *u, size_t *length);

#endif
