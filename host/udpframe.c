/* See udpframe.h. */
#include "udpframe.h"

#include <netinet/in.h>
#include <string.h>

void udpframe_headers(uint8_t *frame, const struct udpframe *u, size_t n)
{
    uint8_t *ip = frame + ETH_HEADER, *udp = ip + IP_HEADER;
    uint32_t sum = 0;

    memset(frame, 0, UDPFRAME_HEADERS);
    memcpy(frame, u->to_mac, 6);
    memcpy(frame + 6, u->from_mac, 6);
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(IP_HEADER + UDP_HEADER + n));
    put16(ip + 6, 0x4000); /* don't fragment */
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put32(ip + 12, u->from);
    put32(ip + 16, u->to);
    for (unsigned i = 0; i < IP_HEADER; i += 2)
        sum += get16(ip + i);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
    put16(udp, u->from_port);
    put16(udp + 2, u->to_port);
    put16(udp + 4, (unsigned)(UDP_HEADER + n));
}

const uint8_t *udpframe_parse(const uint8_t *frame, size_t n, struct udpframe *u, size_t *length)
{
    const uint8_t *ip = frame + ETH_HEADER;

    if (n < UDPFRAME_HEADERS || get16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 ||
        ip[9] != IPPROTO_UDP)
        return NULL;
    size_t header = (ip[0] & 15u) * 4u, total = get16(ip + 2);
    if (header < IP_HEADER || total < header + UDP_HEADER || total > n - ETH_HEADER ||
        (get16(ip + 6) & 0x3fff))
        return NULL;
    const uint8_t *udp = ip + header;
    size_t whole = get16(udp + 4);
    if (whole < UDP_HEADER || whole > total - header)
        return NULL;
    *u = (struct udpframe){
        .from_mac = frame + 6,
        .to_mac = frame,
        .from = get32(ip + 12),
        .to = get32(ip + 16),
        .from_port = (uint16_t)get16(udp),
        .to_port = (uint16_t)get16(udp + 2),
    };
    *length = whole - UDP_HEADER;
    return udp + UDP_HEADER;
}
