/* Socket options, each with its exact values and errors. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "check.h"

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif
#ifndef SO_BINDTOIFINDEX
#define SO_BINDTOIFINDEX 62
#endif
#ifndef IP_MULTICAST_ALL
#define IP_MULTICAST_ALL 49
#endif

static int udp(void)
{
    return socket(AF_INET, SOCK_DGRAM, 0);
}

static int udp6(void)
{
    return socket(AF_INET6, SOCK_DGRAM, 0);
}

static int set(int fd, int level, int name, int v)
{
    return setsockopt(fd, level, name, &v, sizeof(v));
}

/* The value, or -errno - 1000. */
static int get(int fd, int level, int name)
{
    int v = -7777;
    socklen_t len = sizeof(v);
    if (getsockopt(fd, level, name, &v, &len))
        return -errno - 1000;
    return len == sizeof(v) ? v : -8888;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int number_in(const char *path)
{
    int fd = open(path, O_RDONLY);
    char text[32] = "";
    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && close(fd) == 0);
    return atoi(text);
}

static void booleans_are_normalised(void)
{
    static const int names[] = {SO_REUSEADDR, SO_BROADCAST, SO_OOBINLINE, SO_REUSEPORT,
                                SO_NO_CHECK,  SO_DONTROUTE, SO_TIMESTAMP, SO_DEBUG};
    int fd = udp();
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(get(fd, SOL_SOCKET, names[i]) == 0);
        CHECK(set(fd, SOL_SOCKET, names[i], 5) == 0 && get(fd, SOL_SOCKET, names[i]) == 1);
        CHECK(set(fd, SOL_SOCKET, names[i], 0) == 0 && get(fd, SOL_SOCKET, names[i]) == 0);
    }
    close(fd);
}

static void types_are_told(void)
{
    int t = socket(AF_INET, SOCK_STREAM, 0), u = udp6(), x = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK(get(t, SOL_SOCKET, SO_TYPE) == SOCK_STREAM && get(u, SOL_SOCKET, SO_TYPE) == SOCK_DGRAM);
    CHECK(get(t, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP);
    CHECK(get(u, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDP && get(x, SOL_SOCKET, SO_PROTOCOL) == 0);
    CHECK(get(t, SOL_SOCKET, SO_DOMAIN) == AF_INET && get(u, SOL_SOCKET, SO_DOMAIN) == AF_INET6);
    CHECK(get(x, SOL_SOCKET, SO_DOMAIN) == AF_UNIX);
    close(t), close(u), close(x);
}

static void read_only_options_refuse(void)
{
    int fd = udp();
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_TYPE, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_ERROR, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_PROTOCOL, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_DOMAIN, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_ACCEPTCONN, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_SNDLOWAT, 1), ENOPROTOOPT);
    CHECK(get(fd, SOL_SOCKET, SO_SNDLOWAT) == 1);
    close(fd);
}

static void lengths_are_checked(void)
{
    int fd = udp(), v = 1;
    socklen_t len = (socklen_t)-1;
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &v, 3), EINVAL);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &v, (socklen_t)-1), EINVAL);
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &len), EINVAL);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, (void *)16, 4), EFAULT);
    len = 4;
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, (void *)16, &len), EFAULT);
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, (void *)16), EFAULT);
    close(fd);
}

static void short_buffers_are_cut(void)
{
    int fd = udp();
    unsigned char b[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    socklen_t len = 2;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, b, &len) == 0 && len == 2);
    CHECK(b[0] == SOCK_DGRAM && b[1] == 0 && b[2] == 9);
    len = 8;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, b, &len) == 0 && len == 4 && b[4] == 9);
    len = 0;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, b, &len) == 0 && len == 0);
    close(fd);
}

static void unknown_options_and_levels(void)
{
    int u = udp(), t = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_ERRNO(set(u, SOL_SOCKET, 9999, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(u, IPPROTO_IP, 9999, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(u, 9999, 1, 1), ENOPROTOOPT);
    CHECK(get(u, 9999, 1) == -1000 - EOPNOTSUPP || get(u, 9999, 1) == -1000 - ENOPROTOOPT);
    CHECK_ERRNO(set(t, IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
    CHECK_ERRNO(set(u, IPPROTO_TCP, TCP_NODELAY, 1), ENOPROTOOPT);
    close(u), close(t);
}

static void buffers_are_doubled_and_bounded(void)
{
    int fd = udp();
    CHECK(get(fd, SOL_SOCKET, SO_RCVBUF) == 212992 && get(fd, SOL_SOCKET, SO_SNDBUF) == 212992);
    CHECK(set(fd, SOL_SOCKET, SO_RCVBUF, 10000) == 0 && get(fd, SOL_SOCKET, SO_RCVBUF) == 20000);
    CHECK(set(fd, SOL_SOCKET, SO_SNDBUF, 10000) == 0 && get(fd, SOL_SOCKET, SO_SNDBUF) == 20000);
    CHECK(set(fd, SOL_SOCKET, SO_RCVBUF, 0) == 0 && get(fd, SOL_SOCKET, SO_RCVBUF) == 2304);
    CHECK(set(fd, SOL_SOCKET, SO_SNDBUF, 0) == 0 && get(fd, SOL_SOCKET, SO_SNDBUF) == 4608);
    CHECK(set(fd, SOL_SOCKET, SO_RCVBUF, 1 << 29) == 0);
    CHECK(get(fd, SOL_SOCKET, SO_RCVBUF) == 2 * number_in("/proc/sys/net/core/rmem_max"));
    CHECK(set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 1 << 20) == 0);
    CHECK(get(fd, SOL_SOCKET, SO_RCVBUF) == 1 << 21);
    close(fd);
}

static void timeouts_keep_their_value(void)
{
    int fd = udp();
    struct timeval tv = {3, 250000}, got;
    socklen_t len = sizeof(got);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &len) == 0 && len == sizeof(got));
    CHECK(got.tv_sec == 3 && got.tv_usec >= 250000 && got.tv_usec < 270000); /* jiffies */
    CHECK(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &got, &len) == 0);
    CHECK(got.tv_sec == 0 && got.tv_usec == 0);
    tv.tv_usec = 1000000;
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)), EDOM);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, 8), EINVAL);
    close(fd);
}

static void receive_times_out(void)
{
    int fd = udp();
    struct timeval tv = {0, 20000};
    char c;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    CHECK_ERRNO(recv(fd, &c, 1, 0), EAGAIN);
    close(fd);
}

static void linger_is_kept(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct linger l = {1, 7}, got = {9, 9};
    socklen_t len = sizeof(got);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &len) == 0 && len == sizeof(got));
    CHECK(got.l_onoff == 1 && got.l_linger == 7);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4), EINVAL);
    close(fd);
}

static void devices_are_bound(void)
{
    int fd = udp();
    char name[IFNAMSIZ];
    socklen_t len = sizeof(name);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) == 0 && len == 0);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nope0", 6), ENODEV);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
    len = sizeof(name);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) == 0);
    CHECK(len == 3 && !strcmp(name, "lo"));
    len = 3;
    CHECK_ERRNO(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len), EINVAL);
    CHECK(get(fd, SOL_SOCKET, SO_BINDTOIFINDEX) == 1);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0) == 0);
    CHECK(get(fd, SOL_SOCKET, SO_BINDTOIFINDEX) == 0);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_BINDTOIFINDEX, -1), EINVAL);
    close(fd);
}

static void bound_devices_filter(void)
{
    int a = udp(), b = udp();
    struct sockaddr_in at = loopback(0);
    socklen_t len = sizeof(at);
    char c;
    CHECK(setsockopt(a, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) == 0);
    CHECK(bind(a, (void *)&at, sizeof(at)) == 0 && getsockname(a, (void *)&at, &len) == 0);
    CHECK(sendto(b, "x", 1, 0, (void *)&at, sizeof(at)) == 1);
    CHECK(recv(a, &c, 1, 0) == 1 && c == 'x');
    close(a), close(b);
}

static void priorities_and_marks(void)
{
    int fd = udp();
    CHECK(set(fd, SOL_SOCKET, SO_PRIORITY, 5) == 0 && get(fd, SOL_SOCKET, SO_PRIORITY) == 5);
    CHECK(set(fd, SOL_SOCKET, SO_MARK, 77) == 0 && get(fd, SOL_SOCKET, SO_MARK) == 77);
    CHECK(get(fd, SOL_SOCKET, SO_RCVLOWAT) == 1);
    CHECK(set(fd, SOL_SOCKET, SO_RCVLOWAT, 0) == 0 && get(fd, SOL_SOCKET, SO_RCVLOWAT) == 1);
    close(fd);
}

static void cookies_identify_sockets(void)
{
    int a = udp(), b = udp();
    unsigned long long ca = 0, cb = 0, again = 0;
    socklen_t len = 8;
    CHECK(getsockopt(a, SOL_SOCKET, SO_COOKIE, &ca, &len) == 0 && len == 8 && ca);
    CHECK(getsockopt(b, SOL_SOCKET, SO_COOKIE, &cb, &len) == 0 && cb && cb != ca);
    CHECK(getsockopt(a, SOL_SOCKET, SO_COOKIE, &again, &len) == 0 && again == ca);
    len = 4;
    CHECK_ERRNO(getsockopt(a, SOL_SOCKET, SO_COOKIE, &again, &len), EINVAL);
    close(a), close(b);
}

static void accepting_is_told(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(get(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0);
    CHECK(listen(fd, 1) == 0 && get(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1);
    close(fd);
}

static void ip_ttl_has_its_range(void)
{
    int fd = udp();
    CHECK(get(fd, IPPROTO_IP, IP_TTL) == 64);
    CHECK(set(fd, IPPROTO_IP, IP_TTL, 3) == 0 && get(fd, IPPROTO_IP, IP_TTL) == 3);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_TTL, 0), EINVAL);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_TTL, 256), EINVAL);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_TTL, -2), EINVAL);
    CHECK(set(fd, IPPROTO_IP, IP_TTL, -1) == 0 && get(fd, IPPROTO_IP, IP_TTL) == 64);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_TTL, "", 0), EINVAL);
    unsigned char one = 9;
    CHECK(setsockopt(fd, IPPROTO_IP, IP_TTL, &one, 1) == 0 && get(fd, IPPROTO_IP, IP_TTL) == 9);
    close(fd);
}

static void ip_tos_is_kept(void)
{
    int fd = udp();
    unsigned char b;
    socklen_t len = 1;
    CHECK(get(fd, IPPROTO_IP, IP_TOS) == 0);
    CHECK(set(fd, IPPROTO_IP, IP_TOS, 0x28) == 0 && get(fd, IPPROTO_IP, IP_TOS) == 0x28);
    CHECK(getsockopt(fd, IPPROTO_IP, IP_TOS, &b, &len) == 0 && len == 1 && b == 0x28);
    int t = socket(AF_INET, SOCK_STREAM, 0); /* the ECN bits are TCP's */
    CHECK(set(t, IPPROTO_IP, IP_TOS, 0x2b) == 0 && get(t, IPPROTO_IP, IP_TOS) == 0x28);
    close(fd), close(t);
}

static void ip_booleans_are_kept(void)
{
    static const int names[] = {
        IP_PKTINFO,     IP_RECVTTL,  IP_RECVTOS, IP_RECVERR,         IP_FREEBIND,
        IP_TRANSPARENT, IP_RECVOPTS, IP_RETOPTS, IP_RECVORIGDSTADDR, IP_BIND_ADDRESS_NO_PORT};
    int fd = udp();
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(get(fd, IPPROTO_IP, names[i]) == 0);
        CHECK(set(fd, IPPROTO_IP, names[i], 1) == 0 && get(fd, IPPROTO_IP, names[i]) == 1);
        CHECK(set(fd, IPPROTO_IP, names[i], 0) == 0 && get(fd, IPPROTO_IP, names[i]) == 0);
    }
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_HDRINCL, 1), ENOPROTOOPT);
    close(fd);
}

static void ip_mtu_discover_has_its_range(void)
{
    int fd = udp();
    CHECK(get(fd, IPPROTO_IP, IP_MTU_DISCOVER) == IP_PMTUDISC_WANT);
    for (int v = IP_PMTUDISC_DONT; v <= IP_PMTUDISC_OMIT; v++)
        CHECK(set(fd, IPPROTO_IP, IP_MTU_DISCOVER, v) == 0 &&
              get(fd, IPPROTO_IP, IP_MTU_DISCOVER) == v);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_MTU_DISCOVER, 6), EINVAL);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_MTU_DISCOVER, -1), EINVAL);
    close(fd);
}

static void ip_mtu_needs_a_connection(void)
{
    int fd = udp();
    struct sockaddr_in a = loopback(9);
    CHECK(get(fd, IPPROTO_IP, IP_MTU) == -1000 - ENOTCONN);
    CHECK(connect(fd, (void *)&a, sizeof(a)) == 0);
    CHECK(get(fd, IPPROTO_IP, IP_MTU) >= 65535);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_MTU, 1500), ENOPROTOOPT);
    close(fd);
}

static void multicast_options_have_their_ranges(void)
{
    int fd = udp();
    unsigned char b;
    socklen_t len = 1;
    CHECK(get(fd, IPPROTO_IP, IP_MULTICAST_TTL) == 1 &&
          get(fd, IPPROTO_IP, IP_MULTICAST_LOOP) == 1);
    CHECK(set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 255) == 0);
    CHECK(getsockopt(fd, IPPROTO_IP, IP_MULTICAST_TTL, &b, &len) == 0 && b == 255);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 256), EINVAL);
    CHECK(set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 0) == 0);
    CHECK(get(fd, IPPROTO_IP, IP_MULTICAST_LOOP) == 0);
    CHECK(get(fd, IPPROTO_IP, IP_MULTICAST_ALL) == 1);
    CHECK(set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0) == 0);
    CHECK(get(fd, IPPROTO_IP, IP_MULTICAST_ALL) == 0);
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 2), EINVAL);
    close(fd);
}

static void stream_sockets_have_no_multicast(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr("239.1.2.3"), .imr_ifindex = 1};
    CHECK_ERRNO(set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 3), EINVAL);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), EPROTO);
    close(fd);
}

static void multicast_interface_is_chosen(void)
{
    int fd = udp();
    struct ip_mreqn m = {.imr_ifindex = 1};
    struct in_addr a = {htonl(INADDR_LOOPBACK)}, got = {7};
    socklen_t len = sizeof(got);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, sizeof(a)) == 0);
    CHECK(getsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &got, &len) == 0);
    CHECK(len == 4 && got.s_addr == a.s_addr);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)) == 0);
    m.imr_ifindex = 999;
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)), EADDRNOTAVAIL);
    a.s_addr = inet_addr("192.0.2.77");
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, sizeof(a)), EADDRNOTAVAIL);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &a, 3), EINVAL);
    close(fd);
}

static void ipv6_options_need_ipv6(void)
{
    int fd = udp();
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
    CHECK(get(fd, IPPROTO_IPV6, IPV6_V6ONLY) <= -1000);
    close(fd);
}

static void ipv6_hops_have_their_range(void)
{
    int fd = udp6();
    CHECK(get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 64);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) == 0);
    CHECK(get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 255);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 256), EINVAL);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -2), EINVAL);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, -1) == 0);
    CHECK(get(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 64);
    CHECK(get(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS) == 1);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 256), EINVAL);
    close(fd);
}

static void ipv6_booleans_are_kept(void)
{
    static const int names[] = {IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS,
                                IPV6_RECVERR,     IPV6_DONTFRAG,     IPV6_V6ONLY,
                                IPV6_FREEBIND,    IPV6_TRANSPARENT};
    int fd = udp6();
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(get(fd, IPPROTO_IPV6, names[i]) == 0);
        CHECK(set(fd, IPPROTO_IPV6, names[i], 1) == 0 && get(fd, IPPROTO_IPV6, names[i]) == 1);
        CHECK(set(fd, IPPROTO_IPV6, names[i], 0) == 0);
    }
    CHECK(get(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP) == 1);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, "", 1), EINVAL);
    close(fd);
}

static void ipv6_class_has_its_range(void)
{
    int fd = udp6();
    CHECK(get(fd, IPPROTO_IPV6, IPV6_TCLASS) == 0);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_TCLASS, 0xb8) == 0);
    CHECK(get(fd, IPPROTO_IPV6, IPV6_TCLASS) == 0xb8);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_TCLASS, 256), EINVAL);
    CHECK(set(fd, IPPROTO_IPV6, IPV6_TCLASS, -1) == 0 && get(fd, IPPROTO_IPV6, IPV6_TCLASS) == 0);
    close(fd);
}

static void ipv6_only_is_set_before_bind(void)
{
    int fd = udp6();
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    CHECK(bind(fd, (void *)&a, sizeof(a)) == 0);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1), EINVAL);
    close(fd);
}

static void udp_options_are_kept(void)
{
    int fd = udp(), t = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(get(fd, IPPROTO_UDP, UDP_CORK) == 0 && get(fd, IPPROTO_UDP, UDP_SEGMENT) == 0);
    CHECK(set(fd, IPPROTO_UDP, UDP_SEGMENT, 1200) == 0);
    CHECK(get(fd, IPPROTO_UDP, UDP_SEGMENT) == 1200);
    CHECK_ERRNO(set(fd, IPPROTO_UDP, UDP_SEGMENT, -1), EINVAL);
    CHECK_ERRNO(set(fd, IPPROTO_UDP, UDP_SEGMENT, 65536), EINVAL);
    CHECK(set(fd, IPPROTO_UDP, UDP_GRO, 1) == 0 && get(fd, IPPROTO_UDP, UDP_GRO) == 1);
    CHECK_ERRNO(set(fd, IPPROTO_UDP, 9999, 1), ENOPROTOOPT);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, "", 1), EINVAL);
    CHECK_ERRNO(set(t, IPPROTO_UDP, UDP_SEGMENT, 1200), ENOPROTOOPT);
    close(fd), close(t);
}

static void interface_requests_answer(void)
{
    int fd = udp();
    struct ifreq r = {.ifr_name = "lo"};
    CHECK(ioctl(fd, SIOCGIFINDEX, &r) == 0 && r.ifr_ifindex == 1);
    CHECK(ioctl(fd, SIOCGIFFLAGS, &r) == 0 && (r.ifr_flags & (IFF_UP | IFF_LOOPBACK)));
    CHECK(ioctl(fd, SIOCGIFMTU, &r) == 0 && r.ifr_mtu >= 65535);
    CHECK(ioctl(fd, SIOCGIFADDR, &r) == 0);
    CHECK(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(ioctl(fd, SIOCGIFHWADDR, &r) == 0 && r.ifr_hwaddr.sa_family == 772);
    strcpy(r.ifr_name, "nope0");
    CHECK_ERRNO(ioctl(fd, SIOCGIFINDEX, &r), ENODEV);
    CHECK_ERRNO(ioctl(fd, 0x1234, &r), ENOTTY);
    close(fd);
}

static void interfaces_can_be_set_down_and_up(void)
{
    int fd = udp();
    struct ifreq r = {.ifr_name = "lo"};
    CHECK(ioctl(fd, SIOCGIFFLAGS, &r) == 0);
    CHECK(ioctl(fd, SIOCSIFFLAGS, &r) == 0); /* as it is */
    strcpy(r.ifr_name, "nope0");
    CHECK_ERRNO(ioctl(fd, SIOCSIFFLAGS, &r), ENODEV);
    close(fd);
}

int main(void)
{
    CASE(booleans_are_normalised);
    CASE(types_are_told);
    CASE(read_only_options_refuse);
    CASE(lengths_are_checked);
    CASE(short_buffers_are_cut);
    CASE(unknown_options_and_levels);
    CASE(buffers_are_doubled_and_bounded);
    CASE(timeouts_keep_their_value);
    CASE(receive_times_out);
    CASE(linger_is_kept);
    CASE(devices_are_bound);
    CASE(bound_devices_filter);
    CASE(priorities_and_marks);
    CASE(cookies_identify_sockets);
    CASE(accepting_is_told);
    CASE(ip_ttl_has_its_range);
    CASE(ip_tos_is_kept);
    CASE(ip_booleans_are_kept);
    CASE(ip_mtu_discover_has_its_range);
    CASE(ip_mtu_needs_a_connection);
    CASE(multicast_options_have_their_ranges);
    CASE(stream_sockets_have_no_multicast);
    CASE(multicast_interface_is_chosen);
    CASE(ipv6_options_need_ipv6);
    CASE(ipv6_hops_have_their_range);
    CASE(ipv6_booleans_are_kept);
    CASE(ipv6_class_has_its_range);
    CASE(ipv6_only_is_set_before_bind);
    CASE(udp_options_are_kept);
    CASE(interface_requests_answer);
    CASE(interfaces_can_be_set_down_and_up);
    return check_result();
}
