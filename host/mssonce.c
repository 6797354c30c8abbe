/* The filter of mssonce.h. */
#include "mssonce.h"

#include <string.h>

#include <netinet/in.h>

#include "switch.h"

#define TCP_HEADER 20u
#define TH_SYN 0x02
#define TH_ACK 0x10
#define OPTION_NOP 1
#define OPTION_MSS 2

/* Where the TCP header of a SYN begins, with what identifies it; 0: the frame is none. */
static size_t parse_syn(const uint8_t *f, size_t n, struct mss_once_syn *s)
{
    bool v4 = f[12] == 0x08 && f[13] == 0x00, v6 = f[12] == 0x86 && f[13] == 0xdd;
    size_t ip = v6 ? 40 : (size_t)(f[14] & 15) * 4, at = ETH_HEADER + ip;

    if ((!v4 && !v6) || (v4 && ip < 20) || n < at + TCP_HEADER)
        return 0;
    if (f[ETH_HEADER + (v6 ? 6 : 9)] != IPPROTO_TCP || !(f[at + 13] & TH_SYN))
        return 0;
    memset(s, 0, sizeof(*s));
    memcpy(s->addrs, f + ETH_HEADER + (v6 ? 8 : 12), v6 ? 32 : 8);
    memcpy(s->ports, f + at, 4);
    memcpy(s->seq, f + at + 4, 4);
    s->v6 = v6;
    s->ack = f[at + 13] & TH_ACK;
    s->used = 1;
    return at;
}

static bool seen_before(struct mss_once *m, const struct mss_once_syn *s)
{
    for (size_t i = 0; i < MSS_ONCE_SEEN; i++)
        if (!memcmp(&m->seen[i], s, sizeof(*s)))
            return true;
    m->seen[m->next] = *s;
    m->next = (m->next + 1) % MSS_ONCE_SEEN;
    return false;
}

/* Changes a byte of the TCP segment, and the checksum with it (RFC 1624). */
static void set_byte(uint8_t *tcp, size_t at, uint8_t value)
{
    unsigned shift = at & 1 ? 0 : 8;
    uint32_t sum = (uint16_t) ~(tcp[16] << 8 | tcp[17]);

    sum += (uint16_t) ~(tcp[at] << shift) + (uint32_t)(value << shift);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    tcp[at] = value;
    tcp[16] = (uint8_t)(~sum >> 8);
    tcp[17] = (uint8_t)~sum;
}

static void blank_mss(uint8_t *tcp, size_t n)
{
    size_t end = (size_t)(tcp[12] >> 4) * 4, at = TCP_HEADER;

    if (end > n)
        return;
    while (at + 1 < end && tcp[at]) {
        size_t len = tcp[at] == OPTION_NOP ? 1 : tcp[at + 1];

        if (!len || len > end - at)
            return;
        if (tcp[at] == OPTION_MSS)
            for (size_t i = at; i < at + len; i++)
                set_byte(tcp, i, OPTION_NOP);
        at += len;
    }
}

bool mss_once(struct mss_once *m, const uint8_t *frame, size_t n, uint8_t copy[MSS_ONCE_FRAME])
{
    struct mss_once_syn syn;
    size_t at;

    if (n <= ETH_HEADER || n > MSS_ONCE_FRAME) /* a SYN with data has no place here */
        return false;
    at = parse_syn(frame, n, &syn);
    if (!at || !seen_before(m, &syn))
        return false;
    memcpy(copy, frame, n);
    blank_mss(copy + at, n - at);
    return true;
}
