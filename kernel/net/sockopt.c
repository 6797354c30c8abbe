/*
 * The generic socket options: SOL_SOCKET, IPPROTO_IP and IPPROTO_IPV6, with the values and errors
 * of Linux (socket(7), ip(7), ipv6(7)). What is not here is the protocol's business (ops->setopt).
 */
#include "net/ipimpl.h"
#include "net/mcast.h"

#define SOL_SOCKET_LEVEL 1
#define SOL_IP_LEVEL 0
#define SOL_IPV6_LEVEL 41

enum { /* SOL_SOCKET */
       SO_DEBUG_N = 1,
       SO_REUSEADDR_N,
       SO_TYPE_N,
       SO_ERROR_N,
       SO_DONTROUTE_N,
       SO_BROADCAST_N,
       SO_SNDBUF_N,
       SO_RCVBUF_N,
       SO_KEEPALIVE_N,
       SO_OOBINLINE_N,
       SO_NO_CHECK_N,
       SO_PRIORITY_N,
       SO_LINGER_N,
       SO_REUSEPORT_N = 15,
       SO_RCVLOWAT_N = 18,
       SO_SNDLOWAT_N,
       SO_BINDTODEVICE_N = 25,
       SO_TIMESTAMP_N = 29,
       SO_ACCEPTCONN_N,
       SO_SNDBUFFORCE_N = 32,
       SO_RCVBUFFORCE_N,
       SO_TIMESTAMPNS_N = 35,
       SO_MARK_N,
       SO_PROTOCOL_N = 38,
       SO_DOMAIN_N,
       SO_RXQ_OVFL_N,
       SO_PEEK_OFF_N = 42,
       SO_INCOMING_CPU_N = 49,
       SO_COOKIE_N = 57,
       SO_ZEROCOPY_N = 60,
       SO_BINDTOIFINDEX_N = 62,
};

enum { /* IPPROTO_IP */
       IP_TOS_N = 1,
       IP_TTL_N,
       IP_HDRINCL_N,
       IP_RECVOPTS_N = 6,
       IP_RETOPTS_N,
       IP_PKTINFO_N,
       IP_MTU_DISCOVER_N = 10,
       IP_RECVERR_N,
       IP_RECVTTL_N,
       IP_RECVTOS_N,
       IP_MTU_N,
       IP_FREEBIND_N,
       IP_TRANSPARENT_N = 19,
       IP_RECVORIGDSTADDR_N,
       IP_BIND_ADDRESS_NO_PORT_N = 24,
       IP_MULTICAST_IF_N = 32,
       IP_MULTICAST_TTL_N,
       IP_MULTICAST_LOOP_N,
       IP_ADD_MEMBERSHIP_N,
       IP_DROP_MEMBERSHIP_N,
       IP_UNBLOCK_SOURCE_N,
       IP_BLOCK_SOURCE_N,
       IP_ADD_SOURCE_MEMBERSHIP_N,
       IP_DROP_SOURCE_MEMBERSHIP_N,
       IP_MULTICAST_ALL_N = 49,
};

/* Of both IP levels (RFC 3678). */
enum {
    MCAST_JOIN_GROUP_N = 42,
    MCAST_BLOCK_SOURCE_N,
    MCAST_UNBLOCK_SOURCE_N,
    MCAST_LEAVE_GROUP_N,
    MCAST_JOIN_SOURCE_GROUP_N,
    MCAST_LEAVE_SOURCE_GROUP_N,
};

enum { /* IPPROTO_IPV6 */
       IPV6_UNICAST_HOPS_N = 16,
       IPV6_MULTICAST_IF_N,
       IPV6_MULTICAST_HOPS_N,
       IPV6_MULTICAST_LOOP_N,
       IPV6_JOIN_GROUP_N,
       IPV6_LEAVE_GROUP_N,
       IPV6_MTU_DISCOVER_N = 23,
       IPV6_MTU_N,
       IPV6_RECVERR_N,
       IPV6_V6ONLY_N,
       IPV6_MULTICAST_ALL_N = 29,
       IPV6_RECVPKTINFO_N = 49,
       IPV6_RECVHOPLIMIT_N = 51,
       IPV6_DONTFRAG_N = 62,
       IPV6_RECVTCLASS_N = 66,
       IPV6_TCLASS_N,
       IPV6_RECVORIGDSTADDR_N = 74,
       IPV6_TRANSPARENT_N,
       IPV6_FREEBIND_N = 78,
};

#define SNDBUF_MIN 4608u
#define RCVBUF_MIN 2304u

/* --- booleans and numbers that are nothing but fields ----------------------------------------- */

static bool *flag_of(struct socket *s, int level, int name)
{
    switch (level << 16 | name) {
    case SOL_SOCKET_LEVEL << 16 | SO_REUSEADDR_N:
        return &s->reuse_addr;
    case SOL_SOCKET_LEVEL << 16 | SO_BROADCAST_N:
        return &s->broadcast;
    case SOL_SOCKET_LEVEL << 16 | SO_KEEPALIVE_N:
        return &s->keepalive;
    case SOL_SOCKET_LEVEL << 16 | SO_OOBINLINE_N:
        return &s->oobinline;
    case SOL_SOCKET_LEVEL << 16 | SO_NO_CHECK_N:
        return &s->no_check;
    case SOL_SOCKET_LEVEL << 16 | SO_REUSEPORT_N:
        return &s->reuse_port;
    case SOL_SOCKET_LEVEL << 16 | SO_RXQ_OVFL_N:
        return &s->rxq_ovfl;
    case SOL_SOCKET_LEVEL << 16 | SO_DEBUG_N:
        return &s->debug;
    case SOL_SOCKET_LEVEL << 16 | SO_DONTROUTE_N:
        return s->type == 1 ? NULL : &s->dontroute;
    case SOL_IP_LEVEL << 16 | IP_PKTINFO_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_RECVPKTINFO_N:
        return &s->pktinfo;
    case SOL_IP_LEVEL << 16 | IP_RECVERR_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_RECVERR_N:
        return &s->recverr;
    case SOL_IP_LEVEL << 16 | IP_RECVTTL_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_RECVHOPLIMIT_N:
        return &s->recv_ttl;
    case SOL_IP_LEVEL << 16 | IP_RECVTOS_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_RECVTCLASS_N:
        return &s->recv_tos;
    case SOL_IP_LEVEL << 16 | IP_FREEBIND_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_FREEBIND_N:
        return &s->freebind;
    case SOL_IP_LEVEL << 16 | IP_RECVOPTS_N:
        return &s->recv_opts;
    case SOL_IP_LEVEL << 16 | IP_RETOPTS_N:
        return &s->ret_opts;
    case SOL_IP_LEVEL << 16 | IP_TRANSPARENT_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_TRANSPARENT_N:
        return &s->transparent;
    case SOL_IP_LEVEL << 16 | IP_RECVORIGDSTADDR_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_RECVORIGDSTADDR_N:
        return &s->recv_origdst;
    case SOL_IP_LEVEL << 16 | IP_BIND_ADDRESS_NO_PORT_N:
        return &s->bind_no_port;
    case SOL_IP_LEVEL << 16 | IP_MULTICAST_LOOP_N:
    case SOL_IPV6_LEVEL << 16 | IPV6_MULTICAST_LOOP_N:
        return &s->mcast_loop;
    case SOL_IPV6_LEVEL << 16 | IPV6_V6ONLY_N:
        return &s->v6only;
    case SOL_IPV6_LEVEL << 16 | IPV6_DONTFRAG_N:
        return &s->dont_fragment_set;
    case SOL_IP_LEVEL << 16 | IP_HDRINCL_N:
        return s->type == 3 ? &s->header_included : NULL;
    default:
        return NULL;
    }
}

static int set_range(uint8_t *field, int v, int low, int high, int unset)
{
    if (v == -1)
        v = unset;
    if (v < low || v > high)
        return -EINVAL;
    *field = (uint8_t)v;
    return 0;
}

static void set_buffer(uint32_t *field, bool *locked, int v, uint32_t most, uint32_t least)
{
    /* Half of what is accounted is overhead: the value is doubled (socket(7)). */
    uint32_t half = MIN((uint32_t)MAX(v, 0), MIN(most, 0x3fffffffu));
    *field = MAX(half * 2, least);
    *locked = true;
}

/* --- SOL_SOCKET ------------------------------------------------------------------------------- */

static int bind_to_device(struct socket *s, const char *val, uint32_t len)
{
    char name[16] = {0};

    memcpy(name, val, MIN(len, (uint32_t)sizeof(name) - 1));
    if (!name[0]) {
        s->bound_ifindex = 0;
        return 0;
    }
    struct netif *n = netif_by_name(name);
    if (!n)
        return -ENODEV;
    s->bound_ifindex = n->index;
    return 0;
}

static int set_linger(struct socket *s, const int *val, uint32_t len)
{
    if (len < 2 * sizeof(int))
        return -EINVAL;
    s->linger_on = val[0] != 0;
    if (s->linger_on)
        s->linger_s = MAX(val[1], 0);
    return 0;
}

static int set_socket_level(struct socket *s, int name, int v)
{
    switch (name) {
    case SO_SNDBUF_N:
        set_buffer(&s->sndbuf, &s->sndbuf_locked, v, net_tunables.wmem_max, SNDBUF_MIN);
        return 0;
    case SO_RCVBUF_N:
        set_buffer(&s->rcvbuf, &s->rcvbuf_locked, v, net_tunables.rmem_max, RCVBUF_MIN);
        return 0;
    case SO_SNDBUFFORCE_N:
        set_buffer(&s->sndbuf, &s->sndbuf_locked, v, UINT32_MAX, SNDBUF_MIN);
        return 0;
    case SO_RCVBUFFORCE_N:
        set_buffer(&s->rcvbuf, &s->rcvbuf_locked, v, UINT32_MAX, RCVBUF_MIN);
        return 0;
    case SO_RCVLOWAT_N:
        s->rcv_lowat = v < 0 ? INT32_MAX : (uint32_t)MAX(v, 1);
        return 0;
    case SO_PRIORITY_N:
        s->priority = (uint32_t)v;
        return 0;
    case SO_MARK_N:
        s->mark = (uint32_t)v;
        return 0;
    case SO_INCOMING_CPU_N:
        s->incoming_cpu = v;
        return 0;
    case SO_BINDTOIFINDEX_N:
        if (v < 0)
            return -EINVAL;
        s->bound_ifindex = v;
        return 0;
    case SO_TIMESTAMP_N:
    case SO_TIMESTAMPNS_N: /* one or the other */
        s->timestamp = v != 0;
        s->timestamp_ns = v && name == SO_TIMESTAMPNS_N;
        return 0;
    case SO_DONTROUTE_N:
        return v ? -EOPNOTSUPP : 0; /* TCP */
    case SO_ZEROCOPY_N:
        if (s->proto != IPPROTO_TCP_N && s->proto != IPPROTO_UDP_N)
            return -524; /* ENOTSUPP, a number that Linux lets out here */
        if (v < 0 || v > 1)
            return -EINVAL;
        s->zerocopy = v;
        return 0;
    case SO_PEEK_OFF_N:
        if (s->type == 1)
            return -EOPNOTSUPP;
        s->peek_off = MAX(v, -1);
        return 0;
    case SO_TYPE_N:
    case SO_PROTOCOL_N:
    case SO_DOMAIN_N:
    case SO_ERROR_N:
    case SO_ACCEPTCONN_N:
    case SO_SNDLOWAT_N:
    default:
        return -ENOPROTOOPT;
    }
}

static int take_error(struct socket *s)
{
    spin_lock_bh(&s->lock);
    int err = s->error;
    s->error = 0;
    spin_unlock_bh(&s->lock);
    return err;
}

static int get_socket_level(struct socket *s, int name, int *v)
{
    switch (name) {
    case SO_TYPE_N:
        *v = s->type;
        return 0;
    case SO_ERROR_N:
        *v = take_error(s);
        return 0;
    case SO_SNDBUF_N:
        *v = (int)s->sndbuf;
        return 0;
    case SO_RCVBUF_N:
        *v = (int)s->rcvbuf;
        return 0;
    case SO_PRIORITY_N:
        *v = (int)s->priority;
        return 0;
    case SO_RCVLOWAT_N:
        *v = (int)s->rcv_lowat;
        return 0;
    case SO_SNDLOWAT_N:
        *v = 1;
        return 0;
    case SO_ACCEPTCONN_N:
        *v = s->listening;
        return 0;
    case SO_MARK_N:
        *v = (int)s->mark;
        return 0;
    case SO_PROTOCOL_N:
        *v = s->proto;
        return 0;
    case SO_DOMAIN_N:
        *v = s->family == 4 ? 2 : 10; /* AF_INET, AF_INET6 */
        return 0;
    case SO_INCOMING_CPU_N:
        *v = s->incoming_cpu;
        return 0;
    case SO_BINDTOIFINDEX_N:
        *v = s->bound_ifindex;
        return 0;
    case SO_DONTROUTE_N:
        *v = 0;
        return 0;
    case SO_ZEROCOPY_N:
        *v = s->zerocopy;
        return 0;
    case SO_TIMESTAMP_N:
        *v = s->timestamp && !s->timestamp_ns;
        return 0;
    case SO_TIMESTAMPNS_N:
        *v = s->timestamp_ns;
        return 0;
    case SO_PEEK_OFF_N:
        if (s->type == 1)
            return -EOPNOTSUPP;
        *v = s->peek_off;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* --- IPPROTO_IP and IPPROTO_IPV6 -------------------------------------------------------------- */

/* struct ip_mreqn {group, address, ifindex}, ip_mreq without the index. */
static int mreq_v4(const void *val, uint32_t len, struct ip_addr *group, int *ifindex)
{
    uint32_t words[3] = {0};

    if (len < 8)
        return -EINVAL;
    memcpy(words, val, MIN(len, (uint32_t)sizeof(words)));
    *group = ip_from_v4(words[0]);
    *ifindex = len >= 12 ? (int)words[2] : 0;
    if (!*ifindex && words[1]) {
        struct ip_addr a = ip_from_v4(words[1]);
        net_batch_begin();
        const struct view_addr *e = view_local(net_view(), NULL, &a);
        *ifindex = e ? e->netif->index : -1;
        net_batch_end();
        if (*ifindex < 0)
            return -ENODEV;
    }
    return 0;
}

static int change_membership(struct socket *s, bool join, const struct ip_addr *group, int ifindex)
{
    if (s->type == 1)
        return -EPROTO;
    return join ? mcast_socket_join(s, group, ifindex) : mcast_socket_leave(s, group, ifindex);
}

static int membership_v4(struct socket *s, bool join, const void *val, uint32_t len)
{
    struct ip_addr group;
    int ifindex, err = s->type == 1 ? -EPROTO : mreq_v4(val, len, &group, &ifindex);

    return err ? err : change_membership(s, join, &group, ifindex);
}

/* A sockaddr_storage of the level's family. */
static int storage_addr(const uint8_t *b, int level, struct ip_addr *out)
{
    uint16_t family;
    uint32_t v4;

    memcpy(&family, b, sizeof(family));
    if (family != (level == SOL_IP_LEVEL ? 2 : 10))
        return level == SOL_IP_LEVEL ? -EINVAL : -EADDRNOTAVAIL;
    memcpy(&v4, b + 4, sizeof(v4));
    memcpy(out, b + 8, sizeof(*out));
    if (level == SOL_IP_LEVEL)
        *out = ip_from_v4(v4);
    return 0;
}

/* struct group_req {ifindex, padding, sockaddr_storage} (RFC 3678 5.1). */
static int membership_any(struct socket *s, int level, bool join, const void *val, uint32_t len)
{
    const uint8_t *b = val;
    struct ip_addr group;
    int ifindex;

    if (len < 136)
        return -EINVAL;
    memcpy(&ifindex, b, sizeof(ifindex));
    int err = storage_addr(b + 8, level, &group);
    return err ? err : change_membership(s, join, &group, ifindex);
}

/* struct group_source_req: the same, and the source behind it. */
static int source_any(struct socket *s, int level, int name, const void *val, uint32_t len)
{
    const uint8_t *b = val;
    struct ip_addr group, source;
    int ifindex;

    if (len < 264)
        return -EINVAL;
    memcpy(&ifindex, b, sizeof(ifindex));
    int err = storage_addr(b + 8, level, &group);
    if (!err)
        err = storage_addr(b + 136, level, &source);
    return err ? err
               : mcast_socket_source(s, &group, &source, ifindex,
                                     name == MCAST_BLOCK_SOURCE_N || name == MCAST_UNBLOCK_SOURCE_N,
                                     name == MCAST_BLOCK_SOURCE_N ||
                                         name == MCAST_JOIN_SOURCE_GROUP_N);
}

/* struct ip_mreq_source {group, interface's address, source}. */
static int source_v4(struct socket *s, int name, const void *val, uint32_t len)
{
    struct ip_addr group, source;
    uint32_t words[3];
    int ifindex;

    if (len != sizeof(words))
        return -EINVAL;
    memcpy(words, val, sizeof(words));
    source = ip_from_v4(words[2]);
    int err = mreq_v4(words, 8, &group, &ifindex);
    return err ? err
               : mcast_socket_source(s, &group, &source, ifindex,
                                     name == IP_BLOCK_SOURCE_N || name == IP_UNBLOCK_SOURCE_N,
                                     name == IP_BLOCK_SOURCE_N ||
                                         name == IP_ADD_SOURCE_MEMBERSHIP_N);
}

/* struct ipv6_mreq {group, ifindex}. */
static int membership_v6(struct socket *s, bool join, const void *val, uint32_t len)
{
    struct ip_addr group;
    int ifindex;

    if (len < 20)
        return -EINVAL;
    memcpy(&group, val, 16);
    memcpy(&ifindex, (const uint8_t *)val + 16, 4);
    if (ip_is_v4(&group))
        return -EINVAL;
    return change_membership(s, join, &group, ifindex);
}

/* struct in_addr, or an ip_mreq or ip_mreqn whose group does not matter. */
static int multicast_if(struct socket *s, const void *val, uint32_t len)
{
    uint32_t words[3] = {0};
    struct ip_addr group;
    int ifindex = 0;

    if (len < 4 || s->type == 1)
        return -EINVAL;
    if (len < 8)
        memcpy(&words[1], val, 4);
    else
        memcpy(words, val, MIN(len, (uint32_t)sizeof(words)));
    int err = mreq_v4(words, sizeof(words), &group, &ifindex);
    if (err || (ifindex && !netif_by_index(ifindex)))
        return err && err != -ENODEV ? err : -EADDRNOTAVAIL;
    s->mcast_ifindex = ifindex;
    s->mcast_addr = words[1];
    return 0;
}

static int set_ip_level(struct socket *s, int name, int v)
{
    switch (name) {
    case IP_TOS_N: /* TCP's ECN bits are its own */
        s->tos = (uint8_t)(s->type == 1 ? (v & ~3) | (s->tos & 3) : v);
        return 0;
    case IP_TTL_N:
        return set_range(&s->ttl, v, 1, 255, net_tunables.default_ttl);
    case IP_MULTICAST_TTL_N:
        return s->type == 1 ? -EINVAL : set_range(&s->mcast_ttl, v, 0, 255, 1);
    case IP_MULTICAST_ALL_N:
        if (v != 0 && v != 1)
            return -EINVAL;
        s->mcast_all = v;
        return 0;
    case IP_MTU_DISCOVER_N:
        return set_range(&s->mtu_discover, v, 0, 5, -1);
    default:
        return -ENOPROTOOPT;
    }
}

static int set_ipv6_level(struct socket *s, int name, int v)
{
    switch (name) {
    case IPV6_TCLASS_N:
        return set_range(&s->tos, v, 0, 255, 0);
    case IPV6_UNICAST_HOPS_N:
        return set_range(&s->ttl, v, 0, 255, net_tunables.default_ttl);
    case IPV6_MULTICAST_HOPS_N:
        return s->type == 1 ? -ENOPROTOOPT : set_range(&s->mcast_ttl, v, 0, 255, 1);
    case IPV6_MULTICAST_ALL_N:
        if (v != 0 && v != 1)
            return -EINVAL;
        s->mcast_all = v;
        return 0;
    case IPV6_MTU_DISCOVER_N:
        return set_range(&s->mtu_discover, v, 0, 5, -1);
    case IPV6_MULTICAST_IF_N:
        if (v && !netif_by_index(v))
            return -ENODEV;
        s->mcast_ifindex = v;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* The path MTU of a connected socket. */
static int known_mtu(struct socket *s, int *v)
{
    struct ip_flow f = {.src = s->local.ip, .dst = s->peer.ip, .proto = s->proto};

    if (ip_is_any(&s->peer.ip) || ip_route(&f))
        return -ENOTCONN;
    *v = f.mtu;
    ip_flow_release(&f);
    return 0;
}

static int get_ip_level(struct socket *s, int name, int *v)
{
    switch (name) {
    case IP_TOS_N:
        *v = s->tos;
        return 0;
    case IP_TTL_N:
        *v = s->ttl;
        return 0;
    case IP_MULTICAST_TTL_N:
        *v = s->mcast_ttl;
        return 0;
    case IP_MTU_DISCOVER_N:
        *v = s->mtu_discover;
        return 0;
    case IP_MTU_N:
        return known_mtu(s, v);
    case IP_MULTICAST_IF_N:
        *v = (int)s->mcast_addr;
        return 0;
    case IP_MULTICAST_ALL_N:
        *v = s->mcast_all;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int get_ipv6_level(struct socket *s, int name, int *v)
{
    switch (name) {
    case IPV6_TCLASS_N:
        *v = s->tos;
        return 0;
    case IPV6_UNICAST_HOPS_N:
        *v = s->ttl;
        return 0;
    case IPV6_MULTICAST_HOPS_N:
        *v = s->mcast_ttl;
        return 0;
    case IPV6_MTU_DISCOVER_N:
        *v = s->mtu_discover;
        return 0;
    case IPV6_MTU_N:
        return known_mtu(s, v);
    case IPV6_MULTICAST_IF_N:
        *v = s->mcast_ifindex;
        return 0;
    case IPV6_MULTICAST_ALL_N:
        *v = s->mcast_all;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* --- entry ------------------------------------------------------------------------------------ */

/* Options whose value is not an integer. False: not one of them. */
static bool set_structured(struct socket *s, int level, int name, const void *val, uint32_t len,
                           int *err)
{
    if (level == SOL_SOCKET_LEVEL && name == SO_LINGER_N)
        *err = set_linger(s, val, len);
    else if (level == SOL_SOCKET_LEVEL && name == SO_BINDTODEVICE_N)
        *err = bind_to_device(s, val, len);
    else if (level == SOL_IP_LEVEL && (name == IP_ADD_MEMBERSHIP_N || name == IP_DROP_MEMBERSHIP_N))
        *err = membership_v4(s, name == IP_ADD_MEMBERSHIP_N, val, len);
    else if (level == SOL_IP_LEVEL && name >= IP_UNBLOCK_SOURCE_N &&
             name <= IP_DROP_SOURCE_MEMBERSHIP_N)
        *err = s->type == 1 ? -EPROTO : source_v4(s, name, val, len);
    else if (level != SOL_SOCKET_LEVEL &&
             (name == MCAST_BLOCK_SOURCE_N || name == MCAST_UNBLOCK_SOURCE_N ||
              name == MCAST_JOIN_SOURCE_GROUP_N || name == MCAST_LEAVE_SOURCE_GROUP_N))
        *err = s->type == 1 ? -EPROTO : source_any(s, level, name, val, len);
    else if (level == SOL_IP_LEVEL && name == IP_MULTICAST_IF_N)
        *err = multicast_if(s, val, len);
    else if (level == SOL_IPV6_LEVEL && (name == IPV6_JOIN_GROUP_N || name == IPV6_LEAVE_GROUP_N))
        *err = membership_v6(s, name == IPV6_JOIN_GROUP_N, val, len);
    else if (level != SOL_SOCKET_LEVEL &&
             (name == MCAST_JOIN_GROUP_N || name == MCAST_LEAVE_GROUP_N))
        *err = membership_any(s, level, name == MCAST_JOIN_GROUP_N, val, len);
    else
        return false;
    return true;
}

/* An integer; IPPROTO_IP also takes a single byte (ip(7)). */
static int read_int(int level, const void *val, uint32_t len, int *v)
{
    if (len >= sizeof(*v)) {
        memcpy(v, val, sizeof(*v));
        return 0;
    }
    if (level != SOL_IP_LEVEL || !len)
        return -EINVAL;
    *v = *(const uint8_t *)val;
    return 0;
}

static int set_int(struct socket *s, int level, int name, int v)
{
    bool *flag = flag_of(s, level, name);

    if (flag) {
        if (flag == &s->v6only && s->local.port)
            return -EINVAL;
        *flag = v != 0;
        return 0;
    }
    if (level == SOL_SOCKET_LEVEL)
        return set_socket_level(s, name, v);
    return level == SOL_IP_LEVEL ? set_ip_level(s, name, v) : set_ipv6_level(s, name, v);
}

int socket_setopt(struct socket *s, int level, int name, const void *val, uint32_t len)
{
    int v, err;

    if (level == SOL_IPV6_LEVEL && s->family == 4)
        return -ENOPROTOOPT;
    if (level != SOL_SOCKET_LEVEL && level != SOL_IP_LEVEL && level != SOL_IPV6_LEVEL)
        return s->ops->setopt(s, level, name, val, len);
    if (!set_structured(s, level, name, val, len, &err)) {
        err = read_int(level, val, len, &v);
        if (!err)
            err = set_int(s, level, name, v);
        if (err == -ENOPROTOOPT && level != SOL_SOCKET_LEVEL)
            return s->ops->setopt(s, level, name, val, len);
    }
    if (!err && s->ops->option_changed)
        s->ops->option_changed(s);
    return err;
}

static int copy_out(void *val, uint32_t *len, const void *from, uint32_t size)
{
    *len = MIN(*len, size);
    memcpy(val, from, *len);
    return 0;
}

static int get_device(struct socket *s, char *val, uint32_t *len)
{
    struct netif *n = s->bound_ifindex ? netif_by_index(s->bound_ifindex) : NULL;

    if (!n) {
        *len = 0;
        return 0;
    }
    if (*len < sizeof(n->name))
        return -EINVAL;
    return copy_out(val, len, n->name, (uint32_t)strlen(n->name) + 1);
}

int socket_getopt(struct socket *s, int level, int name, void *val, uint32_t *len)
{
    int v, err;

    if (level == SOL_IPV6_LEVEL && s->family == 4)
        return -ENOPROTOOPT;
    if (level != SOL_SOCKET_LEVEL && level != SOL_IP_LEVEL && level != SOL_IPV6_LEVEL)
        return s->ops->getopt(s, level, name, val, len);
    if (level == SOL_SOCKET_LEVEL && name == SO_LINGER_N) {
        int linger[2] = {s->linger_on, s->linger_s};
        return copy_out(val, len, linger, sizeof(linger));
    }
    if (level == SOL_SOCKET_LEVEL && name == SO_BINDTODEVICE_N)
        return get_device(s, val, len);
    if (level == SOL_SOCKET_LEVEL && name == SO_COOKIE_N) {
        uint64_t cookie = socket_cookie(&s->cookie);
        return *len < sizeof(cookie) ? -EINVAL : copy_out(val, len, &cookie, sizeof(cookie));
    }
    bool *flag = flag_of(s, level, name);
    if (flag) {
        v = *flag;
        err = 0;
    } else if (level == SOL_SOCKET_LEVEL) {
        err = get_socket_level(s, name, &v);
    } else {
        err = level == SOL_IP_LEVEL ? get_ip_level(s, name, &v) : get_ipv6_level(s, name, &v);
        if (err == -ENOPROTOOPT)
            return s->ops->getopt(s, level, name, val, len);
    }
    if (err)
        return err;
    if (level == SOL_IP_LEVEL && *len && *len < sizeof(v) && v >= 0 && v <= 255) {
        uint8_t byte = (uint8_t)v;
        return copy_out(val, len, &byte, 1);
    }
    return copy_out(val, len, &v, sizeof(v));
}
