/*
 * See vdhcp.h. A message is
 *   0 op | 1 htype 1 | 2 hlen 6 | 4 xid | 10 flags | 12 ciaddr | 16 yiaddr | 20 siaddr | 28 chaddr
 *   236 magic | 240 options: type, length, data
 */
#include "vdhcp.h"

#include <netinet/in.h>
#include <string.h>

#include "udpframe.h"
#include "vnet.h"

#define SERVER_PORT 67
#define CLIENT_PORT 68
#define FIXED 240u
#define MAGIC 0x63825363u
#define LEASE_SECONDS 86400u /* the address stays its owner's anyway */
#define BROADCAST_FLAG 0x8000u

enum option {
    OPT_MASK = 1,
    OPT_ROUTER = 3,
    OPT_DNS = 6,
    OPT_BROADCAST = 28,
    OPT_REQUESTED = 50,
    OPT_LEASE = 51,
    OPT_KIND = 53,
    OPT_SERVER = 54,
    OPT_END = 255,
};

enum kind { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };

static uint32_t address(unsigned n)
{
    return ntohl(vnet_addr4(n).s_addr);
}

/* The address granted to the owner of a MAC address, 0: it is nobody's here. */
static uint32_t granted(const uint8_t mac[6])
{
    for (int host = 0; host < VNET_HOSTS; host++) {
        uint8_t m[6];
        vnet_mac(host, m);
        if (!memcmp(m, mac, 6))
            return address((unsigned)(VNET_FIRST_HOST + host));
    }
    return 0;
}

/* The data of an option of `size` bytes, or NULL. */
static const uint8_t *find(const uint8_t *m, size_t n, enum option type, unsigned size)
{
    for (size_t at = FIXED; at < n && m[at] != OPT_END;) {
        if (!m[at]) { /* padding */
            at++;
            continue;
        }
        if (at + 2 > n || at + 2 + m[at + 1] > n)
            return NULL;
        if (m[at] == type)
            return m[at + 1] == size ? m + at + 2 : NULL;
        at += 2u + m[at + 1];
    }
    return NULL;
}

/* What is answered to the message; 0: nothing. */
static enum kind answer_kind(const uint8_t *m, size_t n, uint32_t ip)
{
    const uint8_t *kind = find(m, n, OPT_KIND, 1), *server = find(m, n, OPT_SERVER, 4);
    const uint8_t *requested = find(m, n, OPT_REQUESTED, 4);

    if (!kind || (server && get32(server) != address(VNET_GATEWAY)))
        return 0;
    switch (*kind) {
    case DISCOVER:
        return OFFER;
    case REQUEST:
        return (requested ? get32(requested) : get32(m + 12)) == ip ? ACK : NAK;
    case INFORM:
        return ACK;
    default:
        return 0;
    }
}

static uint8_t *put_option(uint8_t *o, enum option type, uint32_t value)
{
    o[0] = (uint8_t)type;
    o[1] = 4;
    put32(o + 2, value);
    return o + 6;
}

/* The message that answers m; its length. */
static size_t make(uint8_t *a, const uint8_t *m, enum kind kind, bool inform, uint32_t ip)
{
    uint8_t *o = a + FIXED;

    memset(a, 0, FIXED);
    memcpy(a, m, 12); /* with the transaction and the flags */
    a[0] = 2;
    if (inform)
        memcpy(a + 12, m + 12, 4);
    else if (kind != NAK)
        put32(a + 16, ip);
    memcpy(a + 28, m + 28, 16);
    put32(a + 236, MAGIC);
    memcpy(o, (uint8_t[]){OPT_KIND, 1, (uint8_t)kind}, 3);
    o = put_option(o + 3, OPT_SERVER, address(VNET_GATEWAY));
    if (kind != NAK) {
        if (!inform)
            o = put_option(o, OPT_LEASE, LEASE_SECONDS);
        o = put_option(o, OPT_MASK, 0xffffff00);
        o = put_option(o, OPT_BROADCAST, address(255));
        o = put_option(o, OPT_ROUTER, address(VNET_GATEWAY));
        o = put_option(o, OPT_DNS, address(VNET_DNS));
    }
    *o++ = OPT_END;
    return (size_t)(o - a);
}

bool vdhcp_answer(const uint8_t *frame, size_t n, uint8_t answer[VDHCP_MAX], size_t *length)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct udpframe u;
    const uint8_t *m = udpframe_parse(frame, n, &u, &n);
    uint32_t ip;

    if (!m || u.to_port != SERVER_PORT || n < FIXED || m[0] != 1 || get32(m + 236) != MAGIC ||
        memcmp(m + 28, frame + 6, 6) != 0 || !(ip = granted(frame + 6)))
        return false;
    enum kind kind = answer_kind(m, n, ip);
    *length = 0;
    if (!kind)
        return true;
    const uint8_t *asked = find(m, n, OPT_KIND, 1);
    bool inform = *asked == INFORM, has_address = get32(m + 12) != 0 && kind != NAK;
    bool broadcast = (get16(m + 10) & BROADCAST_FLAG || kind == NAK) && !has_address;
    uint8_t gateway_mac[6] = {0x52, 0x55};
    put32(gateway_mac + 2, address(VNET_GATEWAY));
    n = make(answer + UDPFRAME_HEADERS, m, kind, inform, ip);
    udpframe_headers(answer,
                     &(struct udpframe){
                         .from_mac = gateway_mac,
                         .to_mac = broadcast ? everybody : frame + 6,
                         .from = address(VNET_GATEWAY),
                         .to = broadcast     ? 0xffffffff
                               : has_address ? get32(m + 12)
                                             : ip,
                         .from_port = SERVER_PORT,
                         .to_port = CLIENT_PORT,
                     },
                     n);
    *length = UDPFRAME_HEADERS + n;
    return true;
}
