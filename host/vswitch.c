/* The network of vswitch.h: everything that knows libslirp. */
#include "vswitch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netport.h"
#include "synack.h"
#include "udprelay.h"
#include "vdhcp.h"

#define RESUME_MS 2
#define LISTEN_BACKLOG 1024
#define UDP_FORWARDS 256

/* Whose published port it is. */
struct forward {
    int host;
    struct vnet_forward what;
    struct forward *next;
};

struct vswitch {
    struct loop *loop;
    struct net_switch sw;
    struct switch_port slirp_port;
    struct poller poller;
    struct timer resume;
    struct pollfds *fds; /* during a fill or poll */
    bool polled;         /* libslirp's descriptors were waited for this time */
    bool resolved;       /* it may have learned an address that packets wait for */
    Slirp *slirp;
    struct synack_memory synacks;
    struct netport *ports[VNET_HOSTS];
    struct udprelay *relays[UDP_FORWARDS];
    struct forward *forwards;
};

/* ---- libslirp's callbacks ---- */

static ssize_t send_packet(const void *frame, size_t n, void *opaque)
{
    struct vswitch *v = opaque;

    switch_input(&v->sw, &v->slirp_port, frame, n);
    return (ssize_t)n;
}

static void guest_error(const char *msg, void *opaque)
{
    (void)msg; /* a guest could fill the log; bad packets are libslirp's to drop */
    (void)opaque;
}

static int64_t clock_get_ns(void *opaque)
{
    (void)opaque;
    return (int64_t)now_ns();
}

struct slirp_timer {
    struct timer timer;
    struct vswitch *v;
    SlirpTimerCb cb;
    void *arg;
};

static void timer_fired(struct timer *t)
{
    struct slirp_timer *s = (struct slirp_timer *)t;

    s->cb(s->arg);
    switch_flush(&s->v->sw);
}

static void *timer_new(SlirpTimerCb cb, void *arg, void *opaque)
{
    struct slirp_timer *s = xcalloc(1, sizeof(*s));

    s->timer.fire = timer_fired;
    s->v = opaque;
    s->cb = cb;
    s->arg = arg;
    return s;
}

static void timer_free(void *timer, void *opaque)
{
    struct vswitch *v = opaque;

    loop_timer_stop(v->loop, timer);
    free(timer);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    struct vswitch *v = opaque;
    int64_t now_ms = (int64_t)(now_ns() / 1000000u);

    loop_timer(v->loop, timer, expire_ms > now_ms ? (uint64_t)(expire_ms - now_ms) : 0);
}

static void register_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void notify(void *opaque)
{
    (void)opaque;
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_new = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_fd,
    .unregister_poll_fd = register_fd,
    .notify = notify,
};

/* ---- waiting for libslirp's sockets ---- */

static int add_poll(int fd, int events, void *opaque)
{
    struct vswitch *v = opaque;
    struct pollfds *p = v->fds;
    short e = 0;

    if (events & SLIRP_POLL_IN)
        e |= POLLIN;
    if (events & SLIRP_POLL_OUT)
        e |= POLLOUT;
    if (events & SLIRP_POLL_PRI)
        e |= POLLPRI;
    if (p->n == p->cap) {
        p->cap *= 2;
        p->v = xrealloc(p->v, p->cap * sizeof(*p->v));
    }
    p->v[p->n] = (struct pollfd){.fd = fd, .events = e};
    return (int)p->n++;
}

static int get_revents(int i, void *opaque)
{
    struct vswitch *v = opaque;
    short e = v->fds->v[i].revents;
    int out = 0;

    if (e & POLLIN)
        out |= SLIRP_POLL_IN;
    if (e & POLLOUT)
        out |= SLIRP_POLL_OUT;
    if (e & POLLPRI)
        out |= SLIRP_POLL_PRI;
    if (e & POLLERR)
        out |= SLIRP_POLL_ERR;
    if (e & POLLHUP)
        out |= SLIRP_POLL_HUP;
    return out;
}

static void fill(struct poller *p, struct pollfds *fds, uint32_t *timeout_ms)
{
    struct vswitch *v = (struct vswitch *)((char *)p - offsetof(struct vswitch, poller));

    /* A guest's queue is full: read nothing more that would have to be dropped. */
    v->polled = !switch_is_full(&v->sw, &v->slirp_port);
    v->fds = fds;
    if (v->polled)
        slirp_pollfds_fill(v->slirp, timeout_ms, add_poll, v);
    else if (*timeout_ms > RESUME_MS)
        *timeout_ms = RESUME_MS;
    /* Packets that wait for an address are sent at the end of a poll, not when it arrives. */
    if (v->resolved)
        *timeout_ms = 0;
    v->resolved = false;
}

static void polled(struct poller *p, struct pollfds *fds, bool failed)
{
    struct vswitch *v = (struct vswitch *)((char *)p - offsetof(struct vswitch, poller));

    v->fds = fds;
    slirp_pollfds_poll(v->slirp, failed || !v->polled, get_revents, v);
    switch_flush(&v->sw);
    bool paused = false;
    for (int i = 0; i < VNET_HOSTS; i++)
        paused |= v->ports[i] && v->ports[i]->paused;
    if (paused && !v->resume.at_ns)
        loop_timer(v->loop, &v->resume, RESUME_MS);
}

static void resume(struct timer *t)
{
    struct vswitch *v = (struct vswitch *)((char *)t - offsetof(struct vswitch, resume));

    for (int i = 0; i < VNET_HOSTS; i++)
        if (v->ports[i])
            netport_resume(v->ports[i]);
}

/* ARP, or ICMPv6, which may be an answer of neighbour discovery. */
static bool tells_address(const uint8_t *frame, size_t n)
{
    return (frame[12] == 0x08 && frame[13] == 0x06) ||
           (frame[12] == 0x86 && frame[13] == 0xdd && n > 20 && frame[20] == IPPROTO_ICMPV6);
}

/*
 * libslirp takes every frame as its own: one for a domain that ended, which goes to all ports,
 * would become a connection to that address on the host's network. Its own MAC addresses are 52:55
 * and an IPv4 address, and 52:56 and the end of an IPv6 address.
 */
static bool is_for_slirp(const uint8_t *frame)
{
    return (frame[0] & 1) || (frame[0] == 0x52 && (frame[1] == 0x55 || frame[1] == 0x56));
}

static bool slirp_deliver(struct switch_port *port, const uint8_t *frame, size_t n)
{
    struct vswitch *v = (struct vswitch *)((char *)port - offsetof(struct vswitch, slirp_port));

    if (!is_for_slirp(frame))
        return true;
    for (int i = 0; i < UDP_FORWARDS; i++)
        if (v->relays[i] && udprelay_answer(v->relays[i], frame, n))
            return true;
    uint8_t lease[VDHCP_MAX];
    size_t length;
    if (vdhcp_answer(frame, n, lease, &length)) {
        if (length)
            switch_input(&v->sw, &v->slirp_port, lease, length);
        return true;
    }
    uint8_t copy[SYNACK_MAX];
    slirp_input(v->slirp, synack_without_repeated_mss(&v->synacks, frame, n, copy), (int)n);
    v->resolved |= tells_address(frame, n);
    return true;
}

/* ---- the network ---- */

struct vswitch *vswitch_new(struct loop *loop, bool allow_host_loopback)
{
    struct vswitch *v = xcalloc(1, sizeof(*v));
    SlirpConfig config = {
        .version = 3,
        .in_enabled = true,
        .vnetwork = vnet_addr4(0),
        .vnetmask = {htonl(0xffffff00)},
        .vhost = vnet_addr4(VNET_GATEWAY),
        .vnameserver = vnet_addr4(VNET_DNS),
        .vdhcp_start = vnet_addr4(VNET_FIRST_HOST + VNET_HOSTS),
        .in6_enabled = true,
        .vprefix_addr6 = vnet_addr6(0),
        .vprefix_len = 64,
        .vhost6 = vnet_addr6(VNET_GATEWAY),
        .vnameserver6 = vnet_addr6(VNET_DNS),
        .if_mtu = SWITCH_MTU,
        .if_mru = SWITCH_MTU,
        .disable_host_loopback = !allow_host_loopback,
    };

    v->loop = loop;
    v->poller = (struct poller){.fill = fill, .polled = polled};
    v->resume.fire = resume;
    v->slirp_port.deliver = slirp_deliver;
    switch_add_port(&v->sw, &v->slirp_port);
    v->slirp = slirp_new(&config, &callbacks, v);
    if (!v->slirp) {
        warn("libslirp cannot be started");
        free(v);
        return NULL;
    }
    loop->poller = &v->poller;
    return v;
}

void vswitch_free(struct vswitch *v)
{
    loop_timer_stop(v->loop, &v->resume);
    v->loop->poller = NULL;
    while (v->forwards)
        vswitch_unforward(v, v->forwards->host, &v->forwards->what);
    for (int i = 0; i < VNET_HOSTS; i++)
        vswitch_disconnect(v, i);
    slirp_cleanup(v->slirp);
    free(v);
}

int vswitch_connect(struct vswitch *v, int host, int fd)
{
    struct netport *p = v->ports[host];
    uint8_t mac[6];

    if (p && host == VNET_SERVER) /* it was held */
        return netport_attach(p, fd);
    if (p) {
        close(fd);
        return -EBUSY;
    }
    p = xcalloc(1, sizeof(*p));
    vnet_mac(host, mac);
    int err = netport_open(p, v->loop, &v->sw, fd, mac);
    if (err) {
        free(p);
        return err;
    }
    if (host == VNET_SERVER) {
        p->port.only_mac = NULL;
        p->held = p->lasting = true;
    }
    v->ports[host] = p;
    return 0;
}

void vswitch_disconnect(struct vswitch *v, int host)
{
    if (!v->ports[host])
        return;
    netport_close(v->ports[host]);
    free(v->ports[host]);
    v->ports[host] = NULL;
}

void vswitch_hold_server(struct vswitch *v)
{
    if (v->ports[VNET_SERVER])
        netport_hold(v->ports[VNET_SERVER]);
}

void vswitch_server_ready(struct vswitch *v)
{
    if (v->ports[VNET_SERVER])
        netport_release(v->ports[VNET_SERVER]);
}

bool vswitch_traffic(const struct vswitch *v, int host, struct switch_traffic *t)
{
    const struct netport *p = v->ports[host];

    if (!p)
        return false;
    *t = p->port.traffic;
    t->waiting = p->broken ? 0 : buf_used(&p->tx);
    return true;
}

/* Fills in a socket address from the numeric address of a forward. Returns its length, 0 if bad. */
static socklen_t host_address(const struct vnet_forward *f, struct sockaddr_storage *ss)
{
    struct sockaddr_in *in = (struct sockaddr_in *)ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET, f->host_ip, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(f->host_port);
        return sizeof(*in);
    }
    if (inet_pton(AF_INET6, f->host_ip, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons(f->host_port);
        return sizeof(*in6);
    }
    return 0;
}

/* libslirp binds with SO_REUSEADDR but reports errno unreliably; a probe tells what is wrong. */
static int probe(const struct sockaddr_storage *ss, socklen_t len)
{
    int one = 1, err = 0;
    int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)ss, len) < 0 || listen(fd, 1) < 0)
        err = -errno;
    close(fd);
    return err;
}

/*
 * libslirp listens with a backlog of one, so that of many clients that connect at once most wait
 * for seconds (their SYNs or first data are dropped). It does not tell its descriptor; we look for
 * it.
 */
static void widen_backlog(const struct sockaddr_storage *want, socklen_t want_len)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;

    while (d && (e = readdir(d))) {
        struct sockaddr_storage ss = {0};
        socklen_t len = sizeof(ss), n = sizeof(int);
        int fd = atoi(e->d_name), listening = 0;
        if (!getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) && listening &&
            !getsockname(fd, (struct sockaddr *)&ss, &len) && len == want_len &&
            !memcmp(&ss, want, len))
            listen(fd, LISTEN_BACKLOG);
    }
    if (d)
        closedir(d);
}

/* libslirp's: 52:55 and its IPv4 address. */
static void put_gateway_mac(uint8_t mac[6])
{
    struct in_addr gateway = vnet_addr4(VNET_GATEWAY);

    mac[0] = 0x52;
    mac[1] = 0x55;
    memcpy(mac + 2, &gateway, 4);
}

static int forward_udp(struct vswitch *v, int host, const struct sockaddr *addr, socklen_t len,
                       uint16_t port)
{
    struct udprelay_guest guest = {
        .ip = ntohl(vnet_addr4((unsigned)(VNET_FIRST_HOST + host)).s_addr),
        .gateway = ntohl(vnet_addr4(VNET_GATEWAY).s_addr),
        .port = port,
    };
    int err = -ENOSPC;

    put_gateway_mac(guest.gateway_mac);
    vnet_mac(host, guest.mac);
    for (int i = 0; i < UDP_FORWARDS; i++)
        if (!v->relays[i]) {
            v->relays[i] = udprelay_open(v->loop, &v->sw, &v->slirp_port, addr, len, &guest, &err);
            break;
        }
    return err;
}

/* Returns 0 or -errno. */
static int open_forward(struct vswitch *v, int host, const struct vnet_forward *f)
{
    struct sockaddr_storage ss;
    socklen_t len = host_address(f, &ss);
    struct sockaddr_in guest = {.sin_family = AF_INET,
                                .sin_port = htons(f->guest_port),
                                .sin_addr = vnet_addr4((unsigned)(VNET_FIRST_HOST + host))};
    struct sockaddr_in6 guest6 = {.sin6_family = AF_INET6,
                                  .sin6_port = htons(f->guest_port),
                                  .sin6_addr = vnet_addr6((unsigned)(VNET_FIRST_HOST + host))};
    bool is6 = ss.ss_family == AF_INET6;

    if (!len)
        return -EINVAL;
    if (f->udp)
        return forward_udp(v, host, (struct sockaddr *)&ss, len, f->guest_port);
    int err = probe(&ss, len);
    if (err)
        return err;
    if (slirp_add_hostxfwd(v->slirp, (struct sockaddr *)&ss, len,
                           is6 ? (struct sockaddr *)&guest6 : (struct sockaddr *)&guest,
                           is6 ? sizeof(guest6) : sizeof(guest),
                           is6 ? SLIRP_HOSTFWD_V6ONLY : 0) < 0)
        return -EADDRINUSE;
    widen_backlog(&ss, len);
    return 0;
}

static void close_udp(struct vswitch *v, const struct sockaddr *addr, socklen_t len)
{
    for (int i = 0; i < UDP_FORWARDS; i++)
        if (v->relays[i] && udprelay_is(v->relays[i], addr, len)) {
            udprelay_close(v->relays[i]);
            v->relays[i] = NULL;
        }
}

static void close_forward(struct vswitch *v, const struct vnet_forward *f)
{
    struct sockaddr_storage ss;
    socklen_t len = host_address(f, &ss);

    if (f->udp)
        close_udp(v, (struct sockaddr *)&ss, len);
    else
        slirp_remove_hostxfwd(v->slirp, (struct sockaddr *)&ss, len,
                              ss.ss_family == AF_INET6 ? SLIRP_HOSTFWD_V6ONLY : 0);
}

int vswitch_forward(struct vswitch *v, int host, const struct vnet_forward *f)
{
    int err = open_forward(v, host, f);

    if (err)
        return err;
    struct forward *mine = xcalloc(1, sizeof(*mine));
    *mine = (struct forward){.host = host, .what = *f, .next = v->forwards};
    v->forwards = mine;
    return 0;
}

static bool is_same(const struct vnet_forward *a, const struct vnet_forward *b)
{
    return a->host_port == b->host_port && a->guest_port == b->guest_port && a->udp == b->udp &&
           !strcmp(a->host_ip, b->host_ip);
}

void vswitch_unforward(struct vswitch *v, int host, const struct vnet_forward *f)
{
    struct forward **p = &v->forwards;

    while (*p && ((*p)->host != host || !is_same(&(*p)->what, f)))
        p = &(*p)->next;
    if (!*p)
        return;
    struct forward *found = *p;
    *p = found->next;
    close_forward(v, &found->what);
    free(found);
}

void vswitch_sweep(struct vswitch *v, const bool in_use[VNET_HOSTS])
{
    struct forward *f = v->forwards, *next;

    for (int i = 0; i < VNET_HOSTS; i++)
        if (!in_use[i])
            vswitch_disconnect(v, i);
    for (; f; f = next) {
        next = f->next;
        if (!in_use[f->host])
            vswitch_unforward(v, f->host, &f->what);
    }
}
