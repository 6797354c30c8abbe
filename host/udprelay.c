/* The relay of udprelay.h. */
#include "udprelay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "udpframe.h"

#define CLIENTS 512 /* at a time; the one silent for longest makes room */
#define FIRST_CLIENT_PORT 40000u
#define BATCH 64

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
    uint8_t frame[UDPFRAME_HEADERS + UDPFRAME_PAYLOAD + 1];
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

static void ready(struct watch *w, uint32_t events)
{
    struct udprelay *r = (struct udprelay *)((char *)w - offsetof(struct udprelay, watch));

    (void)events;
    for (int i = 0; i < BATCH; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(w->fd, r->frame + UDPFRAME_HEADERS, UDPFRAME_PAYLOAD + 1, MSG_DONTWAIT,
                             (struct sockaddr *)&from, &len);
        if (n < 0)
            break; /* nothing more, or an ICMP error about an answer: of no interest */
        if ((size_t)n > UDPFRAME_PAYLOAD)
            continue;
        udpframe_headers(
            r->frame,
            &(struct udpframe){
                .from_mac = r->guest.gateway_mac,
                .to_mac = r->guest.mac,
                .from = r->guest.gateway,
                .to = r->guest.ip,
                .from_port = (uint16_t)(FIRST_CLIENT_PORT + client_slot(r, &from, len)),
                .to_port = r->guest.port,
            },
            (size_t)n);
        switch_input(r->sw, r->via, r->frame, UDPFRAME_HEADERS + (size_t)n);
    }
    switch_flush(r->sw);
}

bool udprelay_answer(struct udprelay *r, const uint8_t *frame, size_t n)
{
    struct udpframe u;
    const uint8_t *payload = udpframe_parse(frame, n, &u, &n);

    if (!payload || u.from != r->guest.ip || u.to != r->guest.gateway ||
        memcmp(u.from_mac, r->guest.mac, 6) != 0)
        return false;
    unsigned slot = u.to_port - FIRST_CLIENT_PORT;
    if (u.from_port != r->guest.port || slot >= CLIENTS || !r->clients[slot].len)
        return false;
    sendto(r->watch.fd, payload, n, MSG_DONTWAIT | MSG_NOSIGNAL,
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
