/* The QEMU port of netport.h. */
#include "netport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RX_CHUNK (256u << 10)
#define TX_HIGH (512u << 10) /* above this the port is full, and other ports are not read ... */
#define TX_MAX (1u << 20)    /* ... and above this frames are dropped */
#define STUCK_NS 50000000u   /* a guest that takes nothing for so long holds up nobody any more */
#define SOCKET_BUFFER (1 << 20)

#define RECENT_NS 1000000000u /* frames are remembered for so long */
#define RECENT_MAX (1u << 20) /* and so many bytes of them */
/* What came so long before a machine spoke may be behind its words, unless it is as old as that. */
#define HEARD_NS 8000000u
#define STALE_NS 100000000u

struct recent {
    uint64_t at_ns;
    uint32_t size; /* of the frame that follows, with its length in front */
};

static void remember(struct netport *p, const void *frame, size_t n)
{
    struct recent old, new = {now_ns(), (uint32_t)n};

    while (buf_used(&p->recent)) {
        memcpy(&old, buf_head(&p->recent), sizeof(old));
        if (new.at_ns - old.at_ns <= RECENT_NS && buf_used(&p->recent) + n <= RECENT_MAX)
            break;
        buf_consume(&p->recent, sizeof(old) + old.size);
    }
    buf_append(&p->recent, &new, sizeof(new));
    buf_append(&p->recent, frame, n);
}

/* The next machine gets what the last one may have lost. */
static void send_again(struct netport *p)
{
    uint64_t now = now_ns();
    struct recent r;

    for (size_t at = 0; at < buf_used(&p->recent); at += sizeof(r) + r.size) {
        const uint8_t *entry = buf_head(&p->recent) + at;
        memcpy(&r, entry, sizeof(r));
        bool unheard = now - r.at_ns < RECENT_NS && r.at_ns > p->heard_ns;
        if (unheard || (now - r.at_ns < STALE_NS && r.at_ns + HEARD_NS > p->heard_ns))
            buf_append(&p->tx, entry + sizeof(r), r.size);
    }
}

static bool deliver(struct switch_port *port, const uint8_t *frame, size_t n)
{
    struct netport *p = (struct netport *)port;
    uint32_t length = htonl((uint32_t)n);

    if ((p->broken && !p->held) || buf_used(&p->tx) + sizeof(length) + n > TX_MAX)
        return false;
    buf_append(&p->tx, &length, sizeof(length));
    buf_append(&p->tx, frame, n);
    if (p->lasting)
        remember(p, buf_head(&p->tx) + buf_used(&p->tx) - sizeof(length) - n, sizeof(length) + n);
    return true;
}

static void update_watch(struct netport *p)
{
    uint32_t events = (p->paused ? 0 : EPOLLIN) | (buf_used(&p->tx) ? EPOLLOUT : 0);

    if (!p->broken && p->watch.fd >= 0)
        loop_want(p->loop, &p->watch, events);
}

static void give_up(struct netport *p)
{
    if (p->lasting) {
        netport_hold(p);
        return;
    }
    p->broken = true;
    p->full_since = 0;
    buf_free(&p->tx);
    loop_del(p->loop, &p->watch);
}

static void flush(struct switch_port *port)
{
    struct netport *p = (struct netport *)port;

    if (p->held)
        return;
    while (!p->broken && buf_used(&p->tx)) {
        ssize_t n = send(p->watch.fd, buf_head(&p->tx), buf_used(&p->tx), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            give_up(p);
            return;
        }
        if (n < 0)
            break;
        buf_consume(&p->tx, (size_t)n);
    }
    if (buf_used(&p->tx) < TX_HIGH)
        p->full_since = 0;
    else if (!p->full_since)
        p->full_since = now_ns();
    update_watch(p);
}

static bool is_full(struct switch_port *port)
{
    struct netport *p = (struct netport *)port;

    return p->full_since && now_ns() - p->full_since < STUCK_NS;
}

int netport_parse(struct netport *p, struct buf *rx)
{
    uint32_t length;

    while (buf_used(rx) >= sizeof(length)) {
        memcpy(&length, buf_head(rx), sizeof(length));
        length = ntohl(length);
        if (length > ETH_FRAME_MAX)
            return -EPROTO;
        if (buf_used(rx) - sizeof(length) < length)
            break;
        switch_input(p->sw, &p->port, buf_head(rx) + sizeof(length), length);
        buf_consume(rx, sizeof(length) + length);
    }
    return 0;
}

static void ready(struct watch *w, uint32_t events)
{
    struct netport *p = (struct netport *)((char *)w - offsetof(struct netport, watch));

    if (events & EPOLLOUT)
        flush(&p->port);
    if (p->broken || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    if (switch_is_full(p->sw, &p->port)) {
        p->paused = true;
        update_watch(p);
        return;
    }
    ssize_t n = recv(p->watch.fd, buf_reserve(&p->rx, RX_CHUNK), RX_CHUNK, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        give_up(p);
        return;
    }
    p->rx.len += (size_t)n;
    p->heard_ns = now_ns();
    if (netport_parse(p, &p->rx))
        give_up(p);
    switch_flush(p->sw);
}

void netport_resume(struct netport *p)
{
    if (!p->paused)
        return;
    p->paused = false;
    update_watch(p);
}

/* ---- handing over ---- */

static void old_close(struct netport *p)
{
    if (p->old.fd >= 0) {
        loop_del(p->loop, &p->old);
        close(p->old.fd);
    }
    p->old.fd = -1;
    buf_free(&p->old_rx);
}

static void old_ready(struct watch *w, uint32_t events)
{
    struct netport *p = (struct netport *)((char *)w - offsetof(struct netport, old));
    ssize_t n = recv(w->fd, buf_reserve(&p->old_rx, RX_CHUNK), RX_CHUNK, 0);

    (void)events;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    p->old_rx.len += n > 0 ? (size_t)n : 0;
    if (n <= 0 || netport_parse(p, &p->old_rx))
        old_close(p);
    switch_flush(p->sw);
}

/* What waits for the old machine is sent to it if it takes it at once; more would delay the new
 * one.
 */
static void hand_over(struct netport *p)
{
    flush(&p->port);
    if (p->watch.fd < 0)
        return; /* it has hung up, and the frames are held */
    old_close(p);
    loop_del(p->loop, &p->watch);
    p->old = (struct watch){.fd = p->watch.fd, .events = EPOLLIN, .ready = old_ready};
    p->old_rx = p->rx;
    p->rx = (struct buf){0};
    p->watch.fd = -1;
    if (loop_add(p->loop, &p->old)) {
        close(p->old.fd);
        p->old.fd = -1;
        buf_free(&p->old_rx);
    }
    buf_free(&p->tx);
    send_again(p);
    p->full_since = 0;
    p->held = true;
}

int netport_attach(struct netport *p, int fd)
{
    int size = SOCKET_BUFFER;

    if (p->watch.fd >= 0 && !p->broken)
        hand_over(p);
    set_nonblock(fd);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    p->watch = (struct watch){.fd = fd, .events = EPOLLIN, .ready = ready};
    p->broken = p->paused = false;
    int err = loop_add(p->loop, &p->watch);
    if (err) {
        close(fd);
        p->watch.fd = -1;
    }
    return err;
}

static void disconnect(struct netport *p)
{
    if (p->watch.fd < 0)
        return;
    if (!p->broken)
        loop_del(p->loop, &p->watch);
    close(p->watch.fd);
    p->watch.fd = -1;
}

int netport_open(struct netport *p, struct loop *loop, struct net_switch *sw, int fd,
                 const uint8_t mac[6])
{
    *p = (struct netport){
        .port = {.deliver = deliver, .flush = flush, .is_full = is_full},
        .loop = loop,
        .sw = sw,
        .watch.fd = -1,
        .old.fd = -1,
    };
    memcpy(p->mac, mac, sizeof(p->mac));
    int err = netport_attach(p, fd);
    if (!err && (err = switch_add_port(sw, &p->port)))
        disconnect(p);
    p->port.only_mac = p->mac;
    return err;
}

void netport_hold(struct netport *p)
{
    disconnect(p);
    buf_free(&p->rx);
    if (p->held)
        return;       /* nothing was sent yet */
    buf_free(&p->tx); /* part of a frame may have been sent */
    send_again(p);
    p->full_since = 0;
    p->held = true;
}

void netport_release(struct netport *p)
{
    p->held = false;
    flush(&p->port);
}

void netport_close(struct netport *p)
{
    disconnect(p);
    old_close(p);
    switch_del_port(p->sw, &p->port);
    buf_free(&p->rx);
    buf_free(&p->tx);
    buf_free(&p->recent);
}
