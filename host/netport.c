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

static bool deliver(struct switch_port *port, const uint8_t *frame, size_t n)
{
    struct netport *p = (struct netport *)port;
    uint32_t length = htonl((uint32_t)n);

    if (p->broken || buf_used(&p->tx) + sizeof(length) + n > TX_MAX)
        return false;
    buf_append(&p->tx, &length, sizeof(length));
    buf_append(&p->tx, frame, n);
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

int netport_parse(struct netport *p)
{
    uint32_t length;

    while (buf_used(&p->rx) >= sizeof(length)) {
        memcpy(&length, buf_head(&p->rx), sizeof(length));
        length = ntohl(length);
        if (length > ETH_FRAME_MAX)
            return -EPROTO;
        if (buf_used(&p->rx) - sizeof(length) < length)
            break;
        switch_input(p->sw, &p->port, buf_head(&p->rx) + sizeof(length), length);
        buf_consume(&p->rx, sizeof(length) + length);
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
    if (netport_parse(p))
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

int netport_attach(struct netport *p, int fd)
{
    int size = SOCKET_BUFFER;

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
    /* Part of a frame may have been sent, and what it is part of was for the old machine. */
    buf_free(&p->rx);
    buf_free(&p->tx);
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
    switch_del_port(p->sw, &p->port);
    buf_free(&p->rx);
    buf_free(&p->tx);
}
