/* The generic part of sockets (net/socket.h); options are in sockopt.c. */
#include "net/socket.h"

#include "net/filter.h"
#include "net/raw.h"

#define IPPROTO_MAX_N 255
#define SOCK_STREAM_N 1
#define SOCK_DGRAM_N 2
#define SOCK_RAW_N 3

void (*socket_listen_hook)(int proto, const struct sock_addr *addr, int family, bool open);

struct net_tunables net_tunables = {
    .port_min = 32768,
    .port_max = 60999,
    .somaxconn = 4096,
    .syn_backlog = 1024,
    .rmem = {4096, 131072, 6291456},
    .wmem = {4096, 87380, 4194304},
    .rmem_max = 212992,
    .wmem_max = 212992,
    .rmem_default = 212992,
    .wmem_default = 212992,
    .fin_timeout_s = 60,
    .keepalive_time_s = 7200,
    .keepalive_intvl_s = 75,
    .keepalive_probes = 9,
    .syn_retries = 6,
    .synack_retries = 5,
    .retries2 = 15,
    .orphan_retries = 8,
    .max_tw_buckets = 16384,
    .notsent_lowat = UINT32_MAX,
    .unprivileged_port_start = 1024,
    .slow_start_after_idle = true,
    .moderate_rcvbuf = true,
    .mtu_probing = true,
    .syncookies = true,
    .timestamps = true,
    .sack = true,
    .window_scaling = true,
    .default_ttl = 64,
    .tw_reuse = 1,
    .ecn = 2,
};

struct ip_addr socket_any(const struct socket *s)
{
    return s->family == 4 ? ip_from_v4(0) : (struct ip_addr){0};
}

void socket_init(struct socket *s, const struct socket_ops *ops, int family, int type, int proto)
{
    memset(s, 0, sizeof(*s));
    ref_init(&s->refs, 1);
    s->ops = ops;
    spin_init(&s->lock);
    wait_queue_init(&s->wait);
    s->family = (uint16_t)family;
    s->type = (uint8_t)type;
    s->proto = (uint8_t)proto;
    s->local.ip = s->peer.ip = socket_any(s);
    s->rcvbuf = type == SOCK_STREAM_N ? net_tunables.rmem[1] : net_tunables.rmem_default;
    s->sndbuf = type == SOCK_STREAM_N ? net_tunables.wmem[1] : net_tunables.wmem_default;
    s->rcv_lowat = 1;
    s->ttl = net_tunables.default_ttl;
    s->v6only = family == 6 && net_tunables.bindv6only;
    s->mcast_ttl = 1;
    s->mcast_loop = s->mcast_all = true;
    s->peek_off = -1;
    s->mtu_discover = 1; /* IP_PMTUDISC_WANT */
    s->incoming_cpu = -1;
    list_init(&s->groups);
}

int socket_attach_filter(struct socket *s, const struct filter_insn *insns, uint32_t count)
{
    struct net_filter *new = NULL;
    int err = s->type == SOCK_STREAM_N ? -EOPNOTSUPP : s->filter_locked ? -EPERM : 0;

    if (!err && count)
        err = net_filter_make(insns, count, &new);
    if (err)
        return err;
    spin_lock_bh(&s->lock);
    struct net_filter *old = s->filter;
    s->filter = new;
    spin_unlock_bh(&s->lock);
    kfree(old);
    return new || old ? 0 : -ENOENT;
}

uint64_t socket_cookie(uint64_t *cookie)
{
    static atomic_ullong last;
    uint64_t old = 0, fresh = atomic_fetch_add(&last, 1) + 1;

    /* Who asks first decides. */
    if (__atomic_compare_exchange_n(cookie, &old, fresh, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return fresh;
    return old;
}

void socket_put(struct socket *s)
{
    if (ref_put(&s->refs))
        s->free(s);
}

int socket_create(int family, int type, int proto, struct socket **out)
{
    uint8_t icmp = family == 4 ? IPPROTO_ICMP_N : IPPROTO_ICMPV6_N;

    if (proto < 0 || proto > IPPROTO_MAX_N)
        return -EINVAL;
    switch (type) {
    case SOCK_STREAM_N:
        return proto && proto != IPPROTO_TCP_N ? -EPROTONOSUPPORT : tcp_socket_create(family, out);
    case SOCK_DGRAM_N:
        if (proto == icmp)
            return ping_socket_create(family, out);
        if (proto && proto != IPPROTO_UDP_N && proto != IPPROTO_UDPLITE_N)
            return -EPROTONOSUPPORT;
        return udp_socket_create(family, proto ? proto : IPPROTO_UDP_N, out);
    case SOCK_RAW_N:
        return proto ? raw_socket_create(family, proto, out) : -EPROTONOSUPPORT;
    default:
        return -ESOCKTNOSUPPORT;
    }
}
