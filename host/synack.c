/* Repeated SYN-ACKs, see synack.h. */
#include "synack.h"

#include <netinet/in.h>
#include <string.h>

#include "switch.h"

#define IP4_HEADER 20u
#define IP6_HEADER 40u
#define TCP_HEADER 20u
#define TCP_CHECKSUM 16u
#define SYN_ACK 0x12u
#define SYN_ACK_RST_FIN 0x17u
#define OPTION_END 0
#define OPTION_NOP 1
#define OPTION_MSS 2
#define OPTION_MSS_LENGTH 4u

/* Where a SYN-ACK's TCP header begins in the frame, with all its options inside; 0: it is none. */
static size_t find_tcp(const uint8_t *f, size_t n)
{
    size_t tcp = 0;

    if (n < ETH_HEADER + IP4_HEADER)
        return 0;
    if (f[12] == 0x08 && f[13] == 0x00 && f[ETH_HEADER + 9] == IPPROTO_TCP)
        tcp = ETH_HEADER + (f[ETH_HEADER] & 15u) * 4;
    if (f[12] == 0x86 && f[13] == 0xdd && f[ETH_HEADER + 6] == IPPROTO_TCP)
        tcp = ETH_HEADER + IP6_HEADER;
    if (tcp < ETH_HEADER + IP4_HEADER || tcp + TCP_HEADER > n || tcp + (f[tcp + 12] >> 4) * 4u > n)
        return 0;
    return (f[tcp + 13] & SYN_ACK_RST_FIN) == SYN_ACK ? tcp : 0;
}

/* Where the MSS option is, from the beginning of the TCP header; 0: there is none. */
static size_t find_mss(const uint8_t *tcp)
{
    size_t end = (tcp[12] >> 4) * 4u;

    for (size_t i = TCP_HEADER; i < end && tcp[i] != OPTION_END;) {
        if (tcp[i] == OPTION_NOP) {
            i++;
            continue;
        }
        if (i + 1 >= end || tcp[i + 1] < 2 || i + tcp[i + 1] > end)
            return 0;
        if (tcp[i] == OPTION_MSS)
            return tcp[i + 1] == OPTION_MSS_LENGTH ? i : 0;
        i += tcp[i + 1];
    }
    return 0;
}

/* What tells the connections apart: addresses, ports, and the number that libslirp began with. */
static uint64_t identity(const uint8_t *f, size_t tcp)
{
    uint64_t h = f[12] == 0x08 ? fnv1a(FNV_START, f + ETH_HEADER + 12, 8)
                               : fnv1a(FNV_START, f + ETH_HEADER + 8, 32);

    h = fnv1a(h, f + tcp, 4);
    return fnv1a(h, f + tcp + 8, 4);
}

/* Overwrites the option by NOPs, and corrects the checksum for it (RFC 1624). */
static void erase(uint8_t *tcp, size_t at)
{
    uint32_t sum = 0xffffu & ~((uint32_t)tcp[TCP_CHECKSUM] << 8 | tcp[TCP_CHECKSUM + 1]);

    for (size_t i = at; i < at + OPTION_MSS_LENGTH; i++) {
        unsigned shift = i % 2 ? 0 : 8;
        sum += (0xffffu & ~((uint32_t)tcp[i] << shift)) + ((uint32_t)OPTION_NOP << shift);
        tcp[i] = OPTION_NOP;
    }
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    tcp[TCP_CHECKSUM] = (uint8_t)(~sum >> 8);
    tcp[TCP_CHECKSUM + 1] = (uint8_t)~sum;
}

const uint8_t *synack_without_repeated_mss(struct synack_memory *m, const uint8_t *frame, size_t n,
                                           uint8_t copy[SYNACK_MAX])
{
    size_t tcp = n <= SYNACK_MAX ? find_tcp(frame, n) : 0;
    size_t mss = tcp ? find_mss(frame + tcp) : 0;

    if (!mss)
        return frame;
    uint64_t id = identity(frame, tcp);
    uint64_t *seen = &m->seen[(id ^ id >> 32) % ARRAY_SIZE(m->seen)];
    if (*seen != id) {
        *seen = id;
        return frame;
    }
    memcpy(copy, frame, n);
    erase(copy + tcp, mss);
    return copy;
}
