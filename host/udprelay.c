/* The relay of udprelay.h. */
#include "udprelay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLIENTS 512 /* at a time; the one silent for longest makes room */
#define FIRST_CLIENT_PORT 40000u
#define BATCH 64
#define IP_HEADER 20u
#define UDP_HEADER 8u
#define HEADERS (ETH_HEADER + IP_HEADER + UDP_HEADER)
#define PAYLOAD_MAX (SWITCH_MTU - IP_HEADER - UDP_HEADER)

struct udprelay {
    struct watch watch;
    struct loop *loop;
    struct net_switch *sw;
    struct switch_port *via;
    struct udprelay_guest guest;
    struct sockaddr_storage bound;
    socklen_t bound_len;
    uint64_t clock;
    struct {
        struct sockaddr_storage addr;
        socklen_t len; /* 0: free */
        uint64_t used;
    } clients[CLIENTS];
    uint8_t frame[HEADERS + PAYLOAD_MAX + 1];
};

/* The slot of a client: its own, or the one unused for longest. */
static unsigned client_slot(struct udprelay *r, const struct sockaddr_storage *addr, socklen_t len)
{
    unsigned slot = 0;

    for (unsigned i = 0; i < CLIENTS; i++) {
        if (r->clients[i].len == len && !memcmp(&r->clients[i].addr, addr, len)) {
            slot = i;
            break;
        }
        if (r->clients[i].used < r->clients[slot].used)
            slot = i;
    }
    r->clients[slot].addr = *addr;
    r->clients[slot].len = len;
    r->clients[slot].used = ++r->clock;
    return slot;
}

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

static unsigned get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Headers around the n bytes of payload in r->frame. UDP without a checksum: it crosses no wire. */
static void make_headers(struct udprelay *r, unsigned slot, size_t n)
{
    uint8_t *eth = r->frame, *ip = eth + ETH_HEADER, *udp = ip + IP_HEADER;
    uint32_t sum = 0;

    memset(r->frame, 0, HEADERS);
    memcpy(eth, r->guest.mac, 6);
    memcpy(eth + 6, r->guest.gateway_mac, 6);
    put16(eth + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(IP_HEADER + UDP_HEADER + n));
    put16(ip + 6, 0x4000); /* don't fragment */
    ip[8] = 64;
    ip[9] = IPPROTO_UDP;
    put32(ip + 12, r->guest.gateway);
    put32(ip + 16, r->guest.ip);
    for (unsigned i = 0; i < IP_HEADER; i += 2)
        sum += get16(ip + i);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, ~(sum + (sum >> 16)) & 0xffff);
    put16(udp, FIRST_CLIENT_PORT + slot);
    put16(udp + 2, r->guest.port);
    put16(udp + 4, (unsigned)(UDP_HEADER + n));
}

static void ready(struct watch *w, uint32_t events)
{
    struct udprelay *r = (struct udprelay *)((char *)w - offsetof(struct udprelay, watch));

    (void)events;
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(w->fd, r->frame + HEADERS, PAYLOAD_MAX + 1, MSG_DONTWAIT,
                             (struct sockaddr *)&from, &len);
        if (n < 0)
            break; /* nothing more, or an ICMP error about an answer: of no interest */
        if ((size_t)n > PAYLOAD_MAX)
            continue;
        make_headers(r, client_slot(r, &from, len), (size_t)n);
        switch_input(r->sw, r->via, r->frame, HEADERS + (size_t)n);
    }
    switch_flush(r->sw);
}

bool udprelay_answer(struct udprelay *r, const uint8_t *frame, size_t n)
{
    const uint8_t *ip = frame + ETH_HEADER;

    if (n < HEADERS || get16(frame + 12) != 0x0800 || ip[0] >> 4 != 4 || ip[9] != IPPROTO_UDP)
        return false;
    size_t header = (ip[0] & 15u) * 4u, total = get16(ip + 2);
    if (header < IP_HEADER || total < header + UDP_HEADER || total > n - ETH_HEADER ||
        (get16(ip + 6) & 0x3fff) /* a fragment */ || get32(ip + 12) != r->guest.ip ||
        get32(ip + 16) != r->guest.gateway || memcmp(frame + 6, r->guest.mac, 6) != 0)
        return false;
    const uint8_t *udp = ip + header;
    size_t length = get16(udp + 4);
    unsigned slot = get16(udp + 2) - FIRST_CLIENT_PORT;
    if (get16(udp) != r->guest.port || slot >= CLIENTS || !r->clients[slot].len ||
        length < UDP_HEADER || length > total - header)
        return false;
    sendto(r->watch.fd, udp + UDP_HEADER, length - UDP_HEADER, MSG_DONTWAIT | MSG_NOSIGNAL,
           (const struct sockaddr *)&r->clients[slot].addr, r->clients[slot].len);
    r->clients[slot].used = ++r->clock;
    return true;
}

struct udprelay *udprelay_open(struct loop *loop, struct net_switch *sw, struct switch_port *via,
                               const struct sockaddr *addr, socklen_t len,
                               const struct udprelay_guest *guest, int *err)
{
    struct udprelay *r = xcalloc(1, sizeof(*r));
    int one = 1, fd = socket(addr->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *r = (struct udprelay){.watch = {.fd = fd, .events = EPOLLIN, .ready = ready},
                           .loop = loop,
                           .sw = sw,
                           .via = via,
                           .guest = *guest,
                           .bound_len = len};
    memcpy(&r->bound, addr, len);
    if (fd >= 0 && addr->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    *err = fd < 0 || bind(fd, addr, len) < 0 ? -errno : loop_add(loop, &r->watch);
    if (!*err)
        return r;
    if (fd >= 0)
        close(fd);
    free(r);
    return NULL;
}

void udprelay_close(struct udprelay *r)
{
    loop_del(r->loop, &r->watch);
    close(r->watch.fd);
    free(r);
}

bool udprelay_is(const struct udprelay *r, const struct sockaddr *addr, socklen_t len)
{
    return r->bound_len == len && !memcmp(&r->bound, addr, len);
}
