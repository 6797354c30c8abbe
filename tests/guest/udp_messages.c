/* Datagrams: flags, ancillary data, error queues, segmentation, many at once. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "check.h"

static int set(int fd, int level, int name, int v)
{
    return setsockopt(fd, level, name, &v, sizeof(v));
}

static int get(int fd, int level, int name)
{
    int v = -7777;
    socklen_t len = sizeof(v);
    return getsockopt(fd, level, name, &v, &len) ? -errno - 1000 : v;
}

/* A socket bound to the loopback; its address through *a. */
static int bound(struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof(*a);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(fd >= 0 && bind(fd, (void *)a, len) == 0 && getsockname(fd, (void *)a, &len) == 0);
    return fd;
}

static int bound6(struct sockaddr_in6 *a)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    socklen_t len = sizeof(*a);
    *a = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    CHECK(fd >= 0 && bind(fd, (void *)a, len) == 0 && getsockname(fd, (void *)a, &len) == 0);
    return fd;
}

/* Two sockets connected to each other. */
static void pair(int fd[2])
{
    struct sockaddr_in a, b;
    fd[0] = bound(&a), fd[1] = bound(&b);
    CHECK(connect(fd[0], (void *)&b, sizeof(b)) == 0 && connect(fd[1], (void *)&a, sizeof(a)) == 0);
}

static void unpair(int fd[2])
{
    close(fd[0]), close(fd[1]);
}

struct message {
    struct msghdr h;
    struct iovec v;
    struct sockaddr_storage from;
    char data[2048], control[512];
};

static struct msghdr *prepare(struct message *m)
{
    memset(m, 0, sizeof(*m));
    m->v = (struct iovec){m->data, sizeof(m->data)};
    m->h = (struct msghdr){.msg_name = &m->from,
                           .msg_namelen = sizeof(m->from),
                           .msg_iov = &m->v,
                           .msg_iovlen = 1,
                           .msg_control = m->control,
                           .msg_controllen = sizeof(m->control)};
    return &m->h;
}

static void *find(struct message *m, int level, int type)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->h); c; c = CMSG_NXTHDR(&m->h, c))
        if (c->cmsg_level == level && c->cmsg_type == type)
            return CMSG_DATA(c);
    return NULL;
}

static void put(struct message *m, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *c = (void *)m->control;
    *c = (struct cmsghdr){CMSG_LEN(len), level, type};
    memcpy(CMSG_DATA(c), data, len);
    m->h.msg_controllen = CMSG_SPACE(len);
}

/* An address on the loopback where nobody listens. */
static struct sockaddr_in nobody(void)
{
    struct sockaddr_in a;
    close(bound(&a));
    return a;
}

static void peek_leaves_the_datagram(void)
{
    int fd[2];
    char b[8];
    pair(fd);
    CHECK(send(fd[0], "hello", 5, 0) == 5);
    CHECK(recv(fd[1], b, 2, MSG_PEEK) == 2 && !memcmp(b, "he", 2));
    CHECK(recv(fd[1], b, 2, MSG_PEEK | MSG_TRUNC) == 5);
    CHECK(recv(fd[1], b, 8, 0) == 5);
    CHECK_ERRNO(recv(fd[1], b, 8, MSG_DONTWAIT), EAGAIN);
    unpair(fd);
}

static void truncation_is_told(void)
{
    int fd[2];
    struct message m;
    pair(fd);
    CHECK(send(fd[0], "hello", 5, 0) == 5);
    prepare(&m), m.v.iov_len = 3;
    CHECK(recvmsg(fd[1], &m.h, 0) == 3 && m.h.msg_flags == MSG_TRUNC);
    CHECK(send(fd[0], "hello", 5, 0) == 5);
    prepare(&m), m.v.iov_len = 3;
    CHECK(recvmsg(fd[1], &m.h, MSG_TRUNC) == 5 && m.h.msg_flags == MSG_TRUNC);
    unpair(fd);
}

static void empty_datagrams_arrive(void)
{
    int fd[2], n = 7;
    char b;
    pair(fd);
    CHECK(send(fd[0], "", 0, 0) == 0);
    struct pollfd p = {fd[1], POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
    CHECK(ioctl(fd[1], FIONREAD, &n) == 0 && n == 0);
    CHECK(recv(fd[1], &b, 1, 0) == 0);
    CHECK_ERRNO(recv(fd[1], &b, 1, MSG_DONTWAIT), EAGAIN);
    unpair(fd);
}

static void addresses_are_required(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = nobody();
    CHECK_ERRNO(send(fd, "x", 1, 0), EDESTADDRREQ);
    CHECK_ERRNO(write(fd, "x", 1), EDESTADDRREQ);
    a.sin_port = 0;
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)), EINVAL);
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&a, 8), EINVAL);
    a.sin_family = AF_INET6;
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)), EAFNOSUPPORT);
    CHECK_ERRNO(listen(fd, 1), EOPNOTSUPP);
    CHECK_ERRNO(accept(fd, NULL, NULL), EOPNOTSUPP);
    CHECK_ERRNO(shutdown(fd, SHUT_RD), ENOTCONN);
    CHECK_ERRNO(shutdown(fd, 3), EINVAL);
    close(fd);
}

static void out_of_band_is_refused(void)
{
    int fd[2];
    char b;
    pair(fd);
    CHECK_ERRNO(send(fd[0], "x", 1, MSG_OOB), EOPNOTSUPP);
    CHECK_ERRNO(recv(fd[0], &b, 1, MSG_OOB | MSG_DONTWAIT), EAGAIN);
    unpair(fd);
}

static void largest_datagram(void)
{
    static char block[70000];
    int fd[2];
    pair(fd);
    CHECK_ERRNO(send(fd[0], block, 65508, 0), EMSGSIZE);
    CHECK_ERRNO(send(fd[0], block, 70000, 0), EMSGSIZE);
    CHECK(send(fd[0], block, 65507, 0) == 65507);
    CHECK(recv(fd[1], block, sizeof(block), 0) == 65507);
    unpair(fd);
}

static void connected_sockets_filter(void)
{
    struct sockaddr_in a, b, c;
    int fa = bound(&a), fb = bound(&b), fc = bound(&c);
    char x;
    CHECK(connect(fa, (void *)&b, sizeof(b)) == 0);
    CHECK(sendto(fc, "c", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK_ERRNO(recv(fa, &x, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(sendto(fb, "b", 1, 0, (void *)&a, sizeof(a)) == 1 && recv(fa, &x, 1, 0) == 1 && x == 'b');
    CHECK(sendto(fa, "a", 1, 0, (void *)&c, sizeof(c)) == 1 && recv(fc, &x, 1, 0) == 1);
    close(fa), close(fb), close(fc);
}

static void disconnecting_forgets_the_peer(void)
{
    struct sockaddr_in a, b;
    int fa = bound(&a), fb = bound(&b);
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    socklen_t len = sizeof(b);
    CHECK(connect(fa, (void *)&b, sizeof(b)) == 0 && connect(fa, &none, sizeof(none)) == 0);
    CHECK_ERRNO(getpeername(fa, (void *)&b, &len), ENOTCONN);
    CHECK(getsockname(fa, (void *)&b, &len) == 0 && b.sin_port == 0); /* nobody asked for it */
    CHECK_ERRNO(send(fa, "x", 1, 0), EDESTADDRREQ);
    close(fa), close(fb);
    fa = socket(AF_INET, SOCK_DGRAM, 0), fb = bound(&b);
    CHECK(bind(fa, (void *)&a, sizeof(a)) == 0 && connect(fa, (void *)&b, sizeof(b)) == 0);
    CHECK(connect(fa, &none, sizeof(none)) == 0);
    CHECK(getsockname(fa, (void *)&b, &len) == 0 && b.sin_port == a.sin_port);
    CHECK(b.sin_addr.s_addr == a.sin_addr.s_addr);
    close(fa), close(fb);
}

static void shut_sockets_end(void)
{
    int fd[2];
    char b;
    pair(fd);
    CHECK(shutdown(fd[0], SHUT_RD) == 0 && recv(fd[0], &b, 1, 0) == 0);
    CHECK(shutdown(fd[0], SHUT_WR) == 0);
    CHECK_ERRNO(send(fd[0], "x", 1, MSG_NOSIGNAL), EPIPE);
    unpair(fd);
}

static void refusal_is_told_once(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = nobody();
    char b;
    CHECK(connect(fd, (void *)&a, sizeof(a)) == 0 && send(fd, "x", 1, 0) == 1);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents & POLLERR);
    CHECK_ERRNO(recv(fd, &b, 1, MSG_DONTWAIT), ECONNREFUSED);
    CHECK_ERRNO(recv(fd, &b, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(send(fd, "x", 1, 0) == 1 && poll(&p, 1, 1000) == 1);
    CHECK(get(fd, SOL_SOCKET, SO_ERROR) == ECONNREFUSED && get(fd, SOL_SOCKET, SO_ERROR) == 0);
    close(fd);
}

static void refusal_is_told_to_senders(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a;
    close(bound6(&a));
    CHECK(connect(fd, (void *)&a, sizeof(a)) == 0 && send(fd, "x", 1, 0) == 1);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents & POLLERR);
    CHECK_ERRNO(send(fd, "x", 1, 0), ECONNREFUSED);
    close(fd);
}

static void unconnected_sockets_hear_no_errors(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = nobody();
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    usleep(20000);
    CHECK(get(fd, SOL_SOCKET, SO_ERROR) == 0);
    close(fd);
}

static void error_queue_has_the_datagram(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = nobody(), *who;
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_RECVERR, 1) == 0);
    CHECK_ERRNO(recvmsg(fd, prepare(&m), MSG_ERRQUEUE), EAGAIN);
    CHECK(sendto(fd, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents & POLLERR);
    CHECK(recvmsg(fd, prepare(&m), MSG_ERRQUEUE) == 5);
    CHECK(m.h.msg_flags & MSG_ERRQUEUE && !memcmp(m.data, "hello", 5));
    who = (void *)&m.from;
    CHECK(who->sin_port == a.sin_port && who->sin_addr.s_addr == a.sin_addr.s_addr);
    struct sock_extended_err *e = find(&m, IPPROTO_IP, IP_RECVERR);
    CHECK(e && e->ee_errno == ECONNREFUSED && e->ee_origin == SO_EE_ORIGIN_ICMP);
    CHECK(e->ee_type == ICMP_DEST_UNREACH && e->ee_code == ICMP_PORT_UNREACH);
    who = (void *)SO_EE_OFFENDER(e);
    CHECK(who->sin_family == AF_INET && who->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK_ERRNO(recvmsg(fd, prepare(&m), MSG_ERRQUEUE), EAGAIN);
    close(fd);
}

static void error_queue_of_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in6 a, *who;
    struct message m;
    close(bound6(&a));
    CHECK(set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1) == 0);
    CHECK(sendto(fd, "six", 3, 0, (void *)&a, sizeof(a)) == 3);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents & POLLERR);
    CHECK(recvmsg(fd, prepare(&m), MSG_ERRQUEUE) == 3 && !memcmp(m.data, "six", 3));
    struct sock_extended_err *e = find(&m, IPPROTO_IPV6, IPV6_RECVERR);
    CHECK(e && e->ee_errno == ECONNREFUSED && e->ee_origin == SO_EE_ORIGIN_ICMP6);
    CHECK(e->ee_type == ICMP6_DST_UNREACH && e->ee_code == ICMP6_DST_UNREACH_NOPORT);
    who = (void *)SO_EE_OFFENDER(e);
    CHECK(who->sin6_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&who->sin6_addr));
    close(fd);
}

static void error_queue_clears_with_the_option(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = nobody();
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_RECVERR, 1) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    struct pollfd p = {fd, POLLIN, 0};
    CHECK(poll(&p, 1, 1000) == 1);
    CHECK(set(fd, IPPROTO_IP, IP_RECVERR, 0) == 0);
    CHECK_ERRNO(recvmsg(fd, prepare(&m), MSG_ERRQUEUE), EAGAIN);
    close(fd);
}

static void local_size_errors_are_queued(void)
{
    int fd[2];
    static char block[66000];
    struct message m;
    pair(fd);
    CHECK(set(fd[0], IPPROTO_IP, IP_RECVERR, 1) == 0);
    CHECK(set(fd[0], IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO) == 0);
    /* The loopback takes 65535 or 65536: a datagram of no more than its MTU goes. */
    CHECK(send(fd[0], block, 1000, 0) == 1000);
    CHECK_ERRNO(recvmsg(fd[0], prepare(&m), MSG_ERRQUEUE), EAGAIN);
    unpair(fd);
}

static void packet_info_is_told(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_PKTINFO, 1) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1 && m.h.msg_namelen == sizeof(a));
    struct in_pktinfo *i = find(&m, IPPROTO_IP, IP_PKTINFO);
    CHECK(i && i->ipi_ifindex == 1 && i->ipi_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(i->ipi_spec_dst.s_addr == htonl(INADDR_LOOPBACK));
    close(fd);
}

static void packet_info_chooses_the_source(void)
{
    struct sockaddr_in a, *from;
    int fd = bound(&a), out = socket(AF_INET, SOCK_DGRAM, 0);
    struct message m;
    struct in_pktinfo i = {.ipi_spec_dst.s_addr = inet_addr("127.0.0.9")};
    prepare(&m);
    m.v.iov_len = 1, m.h.msg_namelen = sizeof(a);
    memcpy(&m.from, &a, sizeof(a));
    put(&m, IPPROTO_IP, IP_PKTINFO, &i, sizeof(i));
    CHECK(sendmsg(out, &m.h, 0) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1);
    from = (void *)&m.from;
    CHECK(from->sin_addr.s_addr == inet_addr("127.0.0.9"));
    close(fd), close(out);
}

static void packet_info_of_ipv6(void)
{
    struct sockaddr_in6 a;
    int fd = bound6(&a);
    struct message m;
    CHECK(set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) == 0);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) == 0);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20) == 0);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1);
    struct in6_pktinfo *i = find(&m, IPPROTO_IPV6, IPV6_PKTINFO);
    int *hops = find(&m, IPPROTO_IPV6, IPV6_HOPLIMIT), *class = find(&m, IPPROTO_IPV6, IPV6_TCLASS);
    CHECK(i && i->ipi6_ifindex == 1 && IN6_IS_ADDR_LOOPBACK(&i->ipi6_addr));
    CHECK(hops && *hops == 33 && class && *class == 0x20);
    close(fd);
}

static void ttl_and_tos_are_told(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_RECVTTL, 1) == 0 && set(fd, IPPROTO_IP, IP_RECVTOS, 1) == 0);
    CHECK(set(fd, IPPROTO_IP, IP_TTL, 17) == 0 && set(fd, IPPROTO_IP, IP_TOS, 0x10) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1);
    int *ttl = find(&m, IPPROTO_IP, IP_TTL);
    unsigned char *tos = find(&m, IPPROTO_IP, IP_TOS);
    CHECK(ttl && *ttl == 17 && tos && *tos == 0x10);
    close(fd);
}

static void ttl_and_tos_are_given(void)
{
    struct sockaddr_in a;
    int fd = bound(&a), out = socket(AF_INET, SOCK_DGRAM, 0), v = 5;
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_RECVTTL, 1) == 0);
    prepare(&m);
    m.v.iov_len = 1, m.h.msg_namelen = sizeof(a);
    memcpy(&m.from, &a, sizeof(a));
    put(&m, IPPROTO_IP, IP_TTL, &v, sizeof(v));
    CHECK(sendmsg(out, &m.h, 0) == 1 && recvmsg(fd, prepare(&m), 0) == 1);
    int *ttl = find(&m, IPPROTO_IP, IP_TTL);
    CHECK(ttl && *ttl == 5);
    prepare(&m);
    m.v.iov_len = 1, m.h.msg_namelen = sizeof(a), v = 0;
    memcpy(&m.from, &a, sizeof(a));
    put(&m, IPPROTO_IP, IP_TTL, &v, sizeof(v));
    CHECK_ERRNO(sendmsg(out, &m.h, 0), EINVAL);
    put(&m, IPPROTO_IP, 9999, &v, sizeof(v));
    CHECK_ERRNO(sendmsg(out, &m.h, 0), EINVAL);
    close(fd), close(out);
}

static void original_destination_is_told(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_RECVORIGDSTADDR, 1) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1);
    struct sockaddr_in *to = find(&m, IPPROTO_IP, IP_ORIGDSTADDR);
    CHECK(to && to->sin_family == AF_INET && to->sin_port == a.sin_port);
    CHECK(to->sin_addr.s_addr == a.sin_addr.s_addr);
    close(fd);
}

static void timestamps_are_told(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    struct message m;
    struct timespec now, *ns;
    struct timeval *us;
    CHECK(set(fd, SOL_SOCKET, SO_TIMESTAMP, 1) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1 && clock_gettime(CLOCK_REALTIME, &now) == 0);
    us = find(&m, SOL_SOCKET, SCM_TIMESTAMP);
    CHECK(us && us->tv_sec <= now.tv_sec && us->tv_sec >= now.tv_sec - 5);
    CHECK(set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1) == 0);
    CHECK(get(fd, SOL_SOCKET, SO_TIMESTAMP) == 0 && get(fd, SOL_SOCKET, SO_TIMESTAMPNS) == 1);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvmsg(fd, prepare(&m), 0) == 1 && clock_gettime(CLOCK_REALTIME, &now) == 0);
    ns = find(&m, SOL_SOCKET, SCM_TIMESTAMPNS);
    CHECK(ns && ns->tv_sec <= now.tv_sec && ns->tv_sec >= now.tv_sec - 5);
    CHECK(!find(&m, SOL_SOCKET, SCM_TIMESTAMP));
    close(fd);
}

static void overflows_are_counted(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    char b[1000] = {0};
    struct message m;
    CHECK(set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1) == 0 && set(fd, SOL_SOCKET, SO_RCVBUF, 8000) == 0);
    for (int i = 0; i < 100; i++)
        CHECK(sendto(fd, b, sizeof(b), 0, (void *)&a, sizeof(a)) == sizeof(b));
    usleep(20000);
    while (recv(fd, b, sizeof(b), MSG_DONTWAIT) > 0)
        ;
    CHECK(sendto(fd, b, sizeof(b), 0, (void *)&a, sizeof(a)) == sizeof(b));
    CHECK(recvmsg(fd, prepare(&m), 0) == sizeof(b));
    unsigned *drops = find(&m, SOL_SOCKET, SO_RXQ_OVFL);
    CHECK(drops && *drops > 50 && *drops < 100);
    close(fd);
}

static void control_without_room_is_cut(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    struct message m;
    CHECK(set(fd, IPPROTO_IP, IP_PKTINFO, 1) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    prepare(&m), m.h.msg_controllen = 8;
    CHECK(recvmsg(fd, &m.h, 0) == 1 && m.h.msg_flags == MSG_CTRUNC);
    close(fd);
}

static void many_are_sent_and_received(void)
{
    int fd[2];
    struct message m[4];
    struct mmsghdr v[4];
    pair(fd);
    for (int i = 0; i < 4; i++) {
        v[i].msg_hdr = *prepare(&m[i]);
        v[i].msg_hdr.msg_name = NULL, v[i].msg_hdr.msg_control = NULL;
        v[i].msg_hdr.msg_namelen = 0, v[i].msg_hdr.msg_controllen = 0;
        m[i].v.iov_len = (size_t)i + 1;
    }
    CHECK(sendmmsg(fd[0], v, 4, 0) == 4 && v[3].msg_len == 4);
    for (int i = 0; i < 4; i++)
        m[i].v.iov_len = 100;
    CHECK(recvmmsg(fd[1], v, 3, 0, NULL) == 3 && v[0].msg_len == 1 && v[2].msg_len == 3);
    CHECK(recvmmsg(fd[1], v, 4, MSG_WAITFORONE, NULL) == 1 && v[0].msg_len == 4);
    CHECK_ERRNO(recvmmsg(fd[1], v, 4, MSG_DONTWAIT, NULL), EAGAIN);
    struct timespec bad = {0, 1000000000};
    CHECK_ERRNO(recvmmsg(fd[1], v, 4, MSG_DONTWAIT, &bad), EINVAL);
    unpair(fd);
}

static void many_end_with_the_time(void)
{
    int fd[2];
    struct message m[3];
    struct mmsghdr v[3];
    struct timespec soon = {0, 1000000};
    pair(fd);
    for (int i = 0; i < 3; i++)
        v[i].msg_hdr = *prepare(&m[i]);
    struct timeval tv = {0, 50000};
    CHECK(setsockopt(fd[1], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    CHECK(send(fd[0], "a", 1, 0) == 1);
    CHECK(recvmmsg(fd[1], v, 3, 0, &soon) == 1);
    unpair(fd);
}

static void partial_sends_are_told(void)
{
    int fd[2];
    struct mmsghdr v[3];
    struct iovec good = {"abc", 3}, bad = {(void *)16, 3};
    pair(fd);
    memset(v, 0, sizeof(v));
    for (int i = 0; i < 3; i++)
        v[i].msg_hdr.msg_iov = i == 1 ? &bad : &good, v[i].msg_hdr.msg_iovlen = 1;
    CHECK(sendmmsg(fd[0], v, 3, 0) == 1 && v[0].msg_len == 3);
    CHECK_ERRNO(sendmmsg(fd[0], v + 1, 2, 0), EFAULT);
    CHECK(sendmmsg(fd[0], v, 0, 0) == 0);
    unpair(fd);
}

static void segments_are_cut(void)
{
    int fd[2];
    char b[3000];
    memset(b, 'q', sizeof(b));
    pair(fd);
    CHECK(set(fd[0], IPPROTO_UDP, UDP_SEGMENT, 1000) == 0);
    CHECK(send(fd[0], b, 2500, 0) == 2500);
    CHECK(recv(fd[1], b, sizeof(b), 0) == 1000 && recv(fd[1], b, sizeof(b), 0) == 1000);
    CHECK(recv(fd[1], b, sizeof(b), 0) == 500);
    CHECK(send(fd[0], b, 1000, 0) == 1000 && recv(fd[1], b, sizeof(b), 0) == 1000);
    unpair(fd);
}

static void segments_are_cut_by_message(void)
{
    int fd[2];
    struct message m;
    char b[1000];
    pair(fd);
    prepare(&m), m.h.msg_name = NULL, m.h.msg_namelen = 0, m.v.iov_len = 250;
    put(&m, IPPROTO_UDP, UDP_SEGMENT, &(uint16_t){100}, 2);
    CHECK(sendmsg(fd[0], &m.h, 0) == 250);
    CHECK(recv(fd[1], b, sizeof(b), 0) == 100 && recv(fd[1], b, sizeof(b), 0) == 100);
    CHECK(recv(fd[1], b, sizeof(b), 0) == 50);
    put(&m, IPPROTO_UDP, UDP_SEGMENT, &(int){100}, 4);
    CHECK_ERRNO(sendmsg(fd[0], &m.h, 0), EINVAL);
    unpair(fd);
}

static void too_many_segments_are_refused(void)
{
    int fd[2];
    static char b[65000];
    pair(fd);
    CHECK(set(fd[0], IPPROTO_UDP, UDP_SEGMENT, 10) == 0);
    CHECK_ERRNO(send(fd[0], b, 10000, 0), EINVAL);
    CHECK(send(fd[0], b, 100, 0) == 100);
    unpair(fd);
}

static void segments_arrive_merged(void)
{
    int fd[2];
    struct message m;
    pair(fd);
    CHECK(set(fd[1], IPPROTO_UDP, UDP_GRO, 1) == 0);
    CHECK(set(fd[0], IPPROTO_UDP, UDP_SEGMENT, 400) == 0);
    CHECK(send(fd[0], m.data, 1000, 0) == 1000);
    CHECK(recvmsg(fd[1], prepare(&m), 0) == 1000);
    int *size = find(&m, IPPROTO_UDP, UDP_GRO);
    CHECK(size && *size == 400);
    unpair(fd);
}

/* The range of sends that the error queue tells of. */
static void told_zerocopy(int fd, unsigned first, unsigned last)
{
    struct message m;
    struct pollfd p = {fd, 0, 0};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents & POLLERR);
    CHECK(recvmsg(fd, prepare(&m), MSG_ERRQUEUE) == 0 && m.h.msg_flags & MSG_ERRQUEUE);
    struct sock_extended_err *e = find(&m, IPPROTO_IP, IP_RECVERR);
    CHECK(e && e->ee_origin == SO_EE_ORIGIN_ZEROCOPY && e->ee_errno == 0);
    CHECK(e->ee_info == first && e->ee_data == last);
    CHECK(e->ee_code == SO_EE_CODE_ZEROCOPY_COPIED); /* the loopback always copies */
}

static void zero_copy_sends_are_told(void)
{
    int fd[2];
    char b[8];
    pair(fd);
    CHECK(send(fd[0], "a", 1, MSG_ZEROCOPY) == 1); /* without the option: as any other */
    CHECK_ERRNO(set(fd[0], SOL_SOCKET, SO_ZEROCOPY, 2), EINVAL);
    CHECK(set(fd[0], SOL_SOCKET, SO_ZEROCOPY, 1) == 0 && get(fd[0], SOL_SOCKET, SO_ZEROCOPY) == 1);
    CHECK(send(fd[0], "b", 1, MSG_ZEROCOPY) == 1 && recv(fd[1], b, 8, 0) == 1);
    CHECK(recv(fd[1], b, 8, 0) == 1);
    told_zerocopy(fd[0], 0, 0);
    struct message m;
    CHECK_ERRNO(recvmsg(fd[0], prepare(&m), MSG_ERRQUEUE), EAGAIN);
    CHECK(send(fd[0], "c", 1, MSG_ZEROCOPY) == 1 && recv(fd[1], b, 8, 0) == 1);
    told_zerocopy(fd[0], 1, 1);
    CHECK(send(fd[0], "d", 1, 0) == 1); /* not counted */
    CHECK_ERRNO(recvmsg(fd[0], prepare(&m), MSG_ERRQUEUE), EAGAIN);
    unpair(fd);
}

static void zero_copy_streams_are_told(void)
{
    int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    char b[8];
    CHECK(bind(l, (void *)&a, len) == 0 && listen(l, 1) == 0);
    CHECK(getsockname(l, (void *)&a, &len) == 0 && connect(c, (void *)&a, len) == 0);
    int s = accept(l, NULL, NULL);
    CHECK(set(c, SOL_SOCKET, SO_ZEROCOPY, 1) == 0);
    CHECK(send(c, "abc", 3, MSG_ZEROCOPY) == 3 && recv(s, b, 8, 0) == 3);
    told_zerocopy(c, 0, 0);
    close(l), close(c), close(s);
}

static void corked_datagrams_are_one(void)
{
    int fd[2];
    char b[16];
    pair(fd);
    CHECK(send(fd[0], "abc", 3, MSG_MORE) == 3 && send(fd[0], "de", 2, MSG_MORE) == 2);
    CHECK_ERRNO(recv(fd[1], b, 16, MSG_DONTWAIT), EAGAIN);
    CHECK(send(fd[0], "f", 1, 0) == 1);
    CHECK(recv(fd[1], b, 16, 0) == 6 && !memcmp(b, "abcdef", 6));
    CHECK(set(fd[0], IPPROTO_UDP, UDP_CORK, 1) == 0 && get(fd[0], IPPROTO_UDP, UDP_CORK) == 1);
    CHECK(send(fd[0], "12", 2, 0) == 2 && send(fd[0], "34", 2, 0) == 2);
    CHECK_ERRNO(recv(fd[1], b, 16, MSG_DONTWAIT), EAGAIN);
    CHECK(set(fd[0], IPPROTO_UDP, UDP_CORK, 0) == 0);
    CHECK(recv(fd[1], b, 16, 0) == 4 && !memcmp(b, "1234", 4));
    unpair(fd);
}

static void peeking_has_an_offset(void)
{
    struct sockaddr_in a;
    int fd = bound(&a);
    char b[8];
    CHECK(get(fd, SOL_SOCKET, SO_PEEK_OFF) == -1);
    CHECK(sendto(fd, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    CHECK(set(fd, SOL_SOCKET, SO_PEEK_OFF, 2) == 0);
    CHECK(recv(fd, b, 2, MSG_PEEK) == 2 && !memcmp(b, "ll", 2));
    CHECK(get(fd, SOL_SOCKET, SO_PEEK_OFF) == 4);
    CHECK(recv(fd, b, 8, 0) == 5 && !memcmp(b, "hello", 5));
    CHECK(get(fd, SOL_SOCKET, SO_PEEK_OFF) == 0);
    close(fd);
}

static void broadcasts_need_permission(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
    ssize_t n = sendto(fd, "x", 1, 0, (void *)&a, sizeof(a));
    CHECK(n == -1 && errno == EACCES);
    CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EACCES);
    close(fd);
}

int main(void)
{
    CASE(peek_leaves_the_datagram);
    CASE(truncation_is_told);
    CASE(empty_datagrams_arrive);
    CASE(addresses_are_required);
    CASE(out_of_band_is_refused);
    CASE(largest_datagram);
    CASE(connected_sockets_filter);
    CASE(disconnecting_forgets_the_peer);
    CASE(shut_sockets_end);
    CASE(refusal_is_told_once);
    CASE(refusal_is_told_to_senders);
    CASE(unconnected_sockets_hear_no_errors);
    CASE(error_queue_has_the_datagram);
    CASE(error_queue_of_ipv6);
    CASE(error_queue_clears_with_the_option);
    CASE(local_size_errors_are_queued);
    CASE(packet_info_is_told);
    CASE(packet_info_chooses_the_source);
    CASE(packet_info_of_ipv6);
    CASE(ttl_and_tos_are_told);
    CASE(ttl_and_tos_are_given);
    CASE(original_destination_is_told);
    CASE(timestamps_are_told);
    CASE(overflows_are_counted);
    CASE(control_without_room_is_cut);
    CASE(many_are_sent_and_received);
    CASE(many_end_with_the_time);
    CASE(partial_sends_are_told);
    CASE(segments_are_cut);
    CASE(segments_are_cut_by_message);
    CASE(too_many_segments_are_refused);
    CASE(segments_arrive_merged);
    CASE(zero_copy_sends_are_told);
    CASE(zero_copy_streams_are_told);
    CASE(corked_datagrams_are_one);
    CASE(peeking_has_an_offset);
    CASE(broadcasts_need_permission);
    return check_result();
}
