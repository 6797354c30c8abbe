/* Who gets what: binding, sharing of ports, both IP versions on one socket, multicast. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "check.h"
#include "network.h"

#define LO 1

static int set(int fd, int level, int name, int v)
{
    return setsockopt(fd, level, name, &v, sizeof(v));
}

static struct sockaddr_in v4(const char *text, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    CHECK(inet_pton(AF_INET, text, &a.sin_addr) == 1);
    return a;
}

static struct sockaddr_in6 v6(const char *text, int port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
    CHECK(inet_pton(AF_INET6, text, &a.sin6_addr) == 1);
    return a;
}

static int udp(int family)
{
    int fd = socket(family, SOCK_DGRAM, 0);
    struct timeval tv = {2, 0};
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    return fd;
}

static int bind4(int fd, const char *text, int port)
{
    struct sockaddr_in a = v4(text, port);
    return bind(fd, (void *)&a, sizeof(a));
}

static int bind6(int fd, const char *text, int port)
{
    struct sockaddr_in6 a = v6(text, port);
    return bind(fd, (void *)&a, sizeof(a));
}

static int port_of(int fd)
{
    struct sockaddr_in6 a; /* the port is at the same place in both */
    socklen_t len = sizeof(a);
    CHECK(getsockname(fd, (void *)&a, &len) == 0);
    return ntohs(a.sin6_port);
}

static ssize_t send4(int fd, const char *text, int port)
{
    struct sockaddr_in a = v4(text, port);
    return sendto(fd, "x", 1, 0, (void *)&a, sizeof(a));
}

static ssize_t send6(int fd, const char *text, int port)
{
    struct sockaddr_in6 a = v6(text, port);
    return sendto(fd, "x", 1, 0, (void *)&a, sizeof(a));
}

static bool gets(int fd)
{
    char b;
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 100) == 1 && recv(fd, &b, 1, MSG_DONTWAIT) == 1;
}

static void addresses_must_be_ours(void)
{
    int a = udp(AF_INET), b = udp(AF_INET6), t = socket(AF_INET, SOCK_STREAM, 0);
    CHECK_ERRNO(bind4(a, "192.0.2.1", 0), EADDRNOTAVAIL);
    CHECK_ERRNO(bind4(t, "192.0.2.1", 0), EADDRNOTAVAIL);
    CHECK_ERRNO(bind6(b, "2001:db8::1", 0), EADDRNOTAVAIL);
    CHECK(set(a, IPPROTO_IP, IP_FREEBIND, 1) == 0 && bind4(a, "192.0.2.1", 0) == 0);
    CHECK(bind4(t, "127.9.9.9", 0) == 0); /* all of 127/8 is */
    close(a), close(b), close(t);
}

static void ports_are_taken(void)
{
    int a = udp(AF_INET), b = udp(AF_INET);
    CHECK(bind4(a, "127.0.0.1", 0) == 0);
    CHECK_ERRNO(bind4(b, "127.0.0.1", port_of(a)), EADDRINUSE);
    CHECK_ERRNO(bind4(b, "0.0.0.0", port_of(a)), EADDRINUSE);
    CHECK(bind4(b, "127.0.0.2", port_of(a)) == 0);
    CHECK_ERRNO(bind4(b, "127.0.0.2", 0), EINVAL); /* bound already */
    close(a), close(b);
}

static void reuse_needs_both(void)
{
    int a = udp(AF_INET), b = udp(AF_INET);
    CHECK(bind4(a, "127.0.0.1", 0) == 0 && set(b, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
    CHECK_ERRNO(bind4(b, "127.0.0.1", port_of(a)), EADDRINUSE);
    CHECK(set(a, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && bind4(b, "127.0.0.1", port_of(a)) == 0);
    close(a), close(b);
}

static void ports_are_shared_with_reuseport(void)
{
    int a = udp(AF_INET), b = udp(AF_INET), c = udp(AF_INET);
    CHECK(set(a, SOL_SOCKET, SO_REUSEPORT, 1) == 0 && set(b, SOL_SOCKET, SO_REUSEPORT, 1) == 0);
    CHECK(bind4(a, "127.0.0.1", 0) == 0 && bind4(b, "127.0.0.1", port_of(a)) == 0);
    CHECK_ERRNO(bind4(c, "127.0.0.1", port_of(a)), EADDRINUSE);
    close(a), close(b), close(c);
}

static void shared_ports_are_balanced(void)
{
    int s[4], got[4] = {0};
    s[0] = udp(AF_INET);
    for (int i = 0; i < 4; i++) {
        if (i)
            s[i] = udp(AF_INET);
        CHECK(set(s[i], SOL_SOCKET, SO_REUSEPORT, 1) == 0);
        CHECK(bind4(s[i], "127.0.0.1", i ? port_of(s[0]) : 0) == 0);
    }
    for (int i = 0; i < 200; i++) {
        int c = udp(AF_INET);
        CHECK(send4(c, "127.0.0.1", port_of(s[0])) == 1);
        close(c);
    }
    for (int i = 0; i < 4; i++) {
        while (gets(s[i]))
            got[i]++;
        CHECK(got[i] > 20);
        close(s[i]);
    }
    CHECK(got[0] + got[1] + got[2] + got[3] == 200);
}

static void one_sender_meets_one_receiver(void)
{
    int s[3], c = udp(AF_INET), used = 0;
    for (int i = 0; i < 3; i++) {
        s[i] = udp(AF_INET);
        CHECK(set(s[i], SOL_SOCKET, SO_REUSEPORT, 1) == 0);
        CHECK(bind4(s[i], "127.0.0.1", i ? port_of(s[0]) : 0) == 0);
    }
    for (int i = 0; i < 20; i++)
        CHECK(send4(c, "127.0.0.1", port_of(s[0])) == 1);
    for (int i = 0; i < 3; i++) {
        used += gets(s[i]);
        close(s[i]);
    }
    CHECK(used == 1);
    close(c);
}

static void listeners_share_with_reuseport(void)
{
    int l[2], got[2] = {0};
    for (int i = 0; i < 2; i++) {
        l[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(set(l[i], SOL_SOCKET, SO_REUSEPORT, 1) == 0);
        CHECK(bind4(l[i], "127.0.0.1", i ? port_of(l[0]) : 0) == 0 && listen(l[i], 64) == 0);
    }
    struct sockaddr_in a = v4("127.0.0.1", port_of(l[0]));
    for (int i = 0; i < 40; i++) {
        int c = socket(AF_INET, SOCK_STREAM, 0), s = -1;
        CHECK(connect(c, (void *)&a, sizeof(a)) == 0);
        for (int tries = 0; s < 0 && tries < 1000; tries++) {
            for (int k = 0; k < 2 && s < 0; k++)
                if ((s = accept(l[k], NULL, NULL)) >= 0)
                    got[k]++;
            if (s < 0)
                usleep(1000);
        }
        CHECK(s >= 0);
        close(s), close(c);
    }
    CHECK(got[0] > 4 && got[1] > 4);
    close(l[0]), close(l[1]);
}

static void the_most_specific_gets_it(void)
{
    int any = udp(AF_INET), exact = udp(AF_INET), c = udp(AF_INET);
    CHECK(set(any, SOL_SOCKET, SO_REUSEADDR, 1) == 0 &&
          set(exact, SOL_SOCKET, SO_REUSEADDR, 1) == 0);
    CHECK(bind4(any, "0.0.0.0", 0) == 0 && bind4(exact, "127.0.0.1", port_of(any)) == 0);
    CHECK(send4(c, "127.0.0.1", port_of(any)) == 1 && gets(exact) && !gets(any));
    CHECK(send4(c, "127.0.0.2", port_of(any)) == 1 && gets(any));
    close(any), close(exact), close(c);
}

static void one_socket_takes_both_versions(void)
{
    int s = udp(AF_INET6), c = udp(AF_INET);
    struct sockaddr_in6 from;
    socklen_t len = sizeof(from);
    char b;
    CHECK(set(s, IPPROTO_IPV6, IPV6_V6ONLY, 0) == 0 && bind6(s, "::", 0) == 0);
    CHECK(send4(c, "127.0.0.1", port_of(s)) == 1);
    CHECK(recvfrom(s, &b, 1, 0, (void *)&from, &len) == 1 && len == sizeof(from));
    CHECK(from.sin6_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
    CHECK(from.sin6_addr.s6_addr[12] == 127);
    CHECK(sendto(s, "y", 1, 0, (void *)&from, sizeof(from)) == 1 && gets(c));
    CHECK(send4(s, "127.0.0.1", port_of(c)) == 1 && gets(c)); /* datagrams: even so */
    close(s), close(c);
}

static void one_version_only(void)
{
    int s = udp(AF_INET6), c = udp(AF_INET), o = udp(AF_INET);
    CHECK(set(s, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0 && bind6(s, "::", 0) == 0);
    CHECK(bind4(o, "0.0.0.0", port_of(s)) == 0); /* the port is free for IPv4 */
    CHECK(send4(c, "127.0.0.1", port_of(s)) == 1 && gets(o) && !gets(s));
    CHECK_ERRNO(send6(s, "::ffff:127.0.0.1", port_of(c)), ENETUNREACH);
    CHECK_ERRNO(bind6(s, "::ffff:127.0.0.1", 0), EINVAL);
    close(s), close(c), close(o);
}

static void both_versions_exclude_each_other(void)
{
    int s = udp(AF_INET6), o = udp(AF_INET);
    CHECK(bind6(s, "::", 0) == 0);
    CHECK_ERRNO(bind4(o, "0.0.0.0", port_of(s)), EADDRINUSE);
    CHECK_ERRNO(bind4(o, "127.0.0.1", port_of(s)), EADDRINUSE);
    close(s), close(o);
}

static void mapped_addresses_are_bound(void)
{
    int s = udp(AF_INET6), c = udp(AF_INET);
    struct sockaddr_in6 a;
    socklen_t len = sizeof(a);
    CHECK(bind6(s, "::ffff:127.0.0.1", 0) == 0 && getsockname(s, (void *)&a, &len) == 0);
    CHECK(IN6_IS_ADDR_V4MAPPED(&a.sin6_addr));
    CHECK(send4(c, "127.0.0.1", port_of(s)) == 1 && gets(s));
    CHECK_ERRNO(bind6(udp(AF_INET6), "::ffff:192.0.2.1", 0), EADDRNOTAVAIL);
    close(s), close(c);
}

static void streams_take_both_versions(void)
{
    int l = socket(AF_INET6, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in6 from;
    socklen_t len = sizeof(from);
    CHECK(bind6(l, "::", 0) == 0 && listen(l, 4) == 0);
    struct sockaddr_in a = v4("127.0.0.1", port_of(l));
    CHECK(connect(c, (void *)&a, sizeof(a)) == 0);
    int s = accept(l, (void *)&from, &len);
    CHECK(s >= 0 && IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
    close(l), close(c), close(s);
}

static void families_are_checked(void)
{
    int a = udp(AF_INET), b = udp(AF_INET6);
    struct sockaddr_in6 six = v6("::1", 9);
    struct sockaddr_in four = v4("127.0.0.1", 0);
    CHECK_ERRNO(bind(a, (void *)&six, sizeof(six)), EAFNOSUPPORT);
    CHECK_ERRNO(bind(b, (void *)&four, sizeof(four)), EINVAL); /* too short for its family */
    CHECK_ERRNO(bind(b, (void *)&six, 20), EINVAL);
    CHECK_ERRNO(connect(a, (void *)&six, sizeof(six)), EAFNOSUPPORT);
    CHECK_ERRNO(connect(a, (void *)&four, 8), EINVAL);
    close(a), a = udp(AF_INET);
    four.sin_family = AF_UNSPEC, four.sin_addr.s_addr = 0;
    CHECK(bind(a, (void *)&four, sizeof(four)) ==
          0); /* the wildcard, as programs of old write it */
    close(a), close(b);
}

static void protected_ports_need_a_capability(void)
{
    int status;
    pid_t child = fork();
    if (!child) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(99)};
        if (getuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(1);
        if (getuid() != 65534)
            _exit(0);
        _exit(bind(fd, (void *)&a, sizeof(a)) == -1 && errno == EACCES ? 0 : 2);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void group_requests_are_checked(void)
{
    int fd = udp(AF_INET);
    struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr("127.0.0.1"), .imr_ifindex = LO};
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), EINVAL);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, 4), EINVAL);
    m.imr_multiaddr.s_addr = inet_addr("239.1.2.3"), m.imr_ifindex = 999;
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), ENODEV);
    m.imr_ifindex = LO;
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)), EADDRNOTAVAIL);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) == 0);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)), EADDRINUSE);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &m, sizeof(m)) == 0);
    close(fd);
}

/* A socket that is a member of 239.1.2.3 on the loopback, bound to the group's port. */
static int member(int port)
{
    int fd = udp(AF_INET);
    struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr("239.1.2.3"), .imr_ifindex = LO};
    CHECK(set(fd, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && bind4(fd, "0.0.0.0", port) == 0);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) == 0);
    return fd;
}

/* A socket that sends to groups on the loopback. */
static int speaker(void)
{
    int fd = udp(AF_INET);
    struct ip_mreqn m = {.imr_address.s_addr = htonl(INADDR_LOOPBACK), .imr_ifindex = LO};
    CHECK(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)) == 0);
    return fd;
}

static void all_members_get_a_copy(void)
{
    int a = member(0), b = member(port_of(a)), c = speaker();
    CHECK(send4(c, "239.1.2.3", port_of(a)) == 1 && gets(a) && gets(b));
    CHECK(!gets(a) && !gets(b)); /* one */
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    char byte;
    CHECK(send4(c, "239.1.2.3", port_of(a)) == 1 && gets(b));
    CHECK(recvfrom(a, &byte, 1, 0, (void *)&from, &len) == 1);
    CHECK(from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    close(a), close(b), close(c);
}

static void others_groups_come_unless_declined(void)
{
    int a = member(0), other = udp(AF_INET), c = speaker();
    CHECK(set(other, SOL_SOCKET, SO_REUSEADDR, 1) == 0 && bind4(other, "0.0.0.0", port_of(a)) == 0);
    CHECK(send4(c, "239.1.2.3", port_of(a)) == 1 && gets(a) && gets(other));
    CHECK(set(other, IPPROTO_IP, 49 /* IP_MULTICAST_ALL */, 0) == 0);
    CHECK(send4(c, "239.1.2.3", port_of(a)) == 1 && gets(a) && !gets(other));
    close(a), close(other), close(c);
}

static void groups_are_bound(void)
{
    int a = udp(AF_INET), c = speaker();
    struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr("239.1.2.3"), .imr_ifindex = LO};
    CHECK(bind4(a, "239.1.2.3", 0) == 0);
    CHECK(setsockopt(a, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m)) == 0);
    CHECK(send4(c, "127.0.0.1", port_of(a)) == 1 && !gets(a)); /* for the group alone */
    CHECK(send4(c, "239.1.2.3", port_of(a)) == 1 && gets(a));
    close(a), close(c);
}

static void groups_are_joined_by_any_family(void)
{
    int fd = udp(AF_INET);
    struct group_req g = {.gr_interface = LO};
    struct sockaddr_in *a = (void *)&g.gr_group;
    *a = v4("239.7.7.7", 0);
    CHECK(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(g)) == 0);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(g)), EADDRINUSE);
    CHECK(setsockopt(fd, IPPROTO_IP, MCAST_LEAVE_GROUP, &g, sizeof(g)) == 0);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, MCAST_LEAVE_GROUP, &g, sizeof(g)), EADDRNOTAVAIL);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &g, 20), EINVAL);
    a->sin_family = AF_INET6;
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_GROUP, &g, sizeof(g)), EINVAL);
    close(fd);
}

static void ipv6_groups_are_joined(void)
{
    int fd = udp(AF_INET6), c = udp(AF_INET6);
    struct ipv6_mreq m = {.ipv6mr_interface = LO};
    CHECK(inet_pton(AF_INET6, "ff01::77", &m.ipv6mr_multiaddr) == 1);
    CHECK(bind6(fd, "::", 0) == 0);
    CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)) == 0);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)), EADDRINUSE);
    CHECK(set(c, IPPROTO_IPV6, IPV6_MULTICAST_IF, LO) == 0);
    CHECK(setsockopt(fd, IPPROTO_IPV6, IPV6_LEAVE_GROUP, &m, sizeof(m)) == 0);
    m.ipv6mr_multiaddr = in6addr_loopback;
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)), EINVAL);
    m.ipv6mr_interface = 999;
    CHECK(inet_pton(AF_INET6, "ff01::77", &m.ipv6mr_multiaddr) == 1);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &m, sizeof(m)), ENODEV);
    CHECK_ERRNO(set(c, IPPROTO_IPV6, IPV6_MULTICAST_IF, 999), ENODEV);
    close(fd), close(c);
}

static void fragments_are_put_together(void)
{
    static char b[60000], got[60000];
    for (int family = 0; family < 2; family++) {
        int fd = udp(family ? AF_INET6 : AF_INET);
        CHECK((family ? bind6(fd, "::1", 0) : bind4(fd, "127.0.0.1", 0)) == 0);
        struct sockaddr_in a = v4("127.0.0.1", port_of(fd));
        struct sockaddr_in6 a6 = v6("::1", port_of(fd));
        for (size_t i = 0; i < sizeof(b); i++)
            b[i] = (char)(i * 7 + (size_t)family);
        CHECK(sendto(fd, b, sizeof(b), 0, family ? (void *)&a6 : (void *)&a,
                     family ? sizeof(a6) : sizeof(a)) == sizeof(b));
        CHECK(recv(fd, got, sizeof(got), 0) == sizeof(b) && !memcmp(b, got, sizeof(b)));
        close(fd);
    }
}

static void sysctls_are_read_and_set(void)
{
    static const char *const names[] = {"core/somaxconn",
                                        "ipv4/ip_local_port_range",
                                        "ipv4/tcp_fin_timeout",
                                        "ipv4/tcp_syncookies",
                                        "ipv4/tcp_retries2",
                                        "ipv4/tcp_max_tw_buckets",
                                        "ipv4/tcp_slow_start_after_idle",
                                        "ipv4/tcp_notsent_lowat",
                                        "ipv4/ip_unprivileged_port_start"};
    char path[64], text[64], again[64];
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "/proc/sys/net/%s", names[i]);
        int fd = open(path, O_RDONLY);
        ssize_t n = read(fd, text, sizeof(text));
        CHECK(fd >= 0 && n > 1 && text[n - 1] == '\n' && close(fd) == 0);
        fd = open(path, O_WRONLY);
        CHECK(fd >= 0 && write(fd, text, (size_t)n) == n && close(fd) == 0);
        fd = open(path, O_WRONLY);
        CHECK(fd >= 0);
        CHECK_ERRNO(write(fd, "nonsense\n", 9), EINVAL);
        CHECK(close(fd) == 0 && (fd = open(path, O_RDONLY)) >= 0);
        CHECK(read(fd, again, sizeof(again)) == n && !memcmp(text, again, (size_t)n));
        close(fd);
    }
}

/* What this file holds; or what a new TCP socket uses. */
static void congestion_control(char *out, bool of_a_socket)
{
    int fd = of_a_socket ? socket(AF_INET, SOCK_STREAM, 0)
                         : open("/proc/sys/net/ipv4/tcp_congestion_control", O_RDONLY);
    socklen_t len = 16;
    memset(out, 0, 17);
    CHECK(fd >= 0);
    if (of_a_socket)
        CHECK(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, out, &len) == 0);
    else
        CHECK(read(fd, out, 16) > 0);
    out[strcspn(out, "\n")] = 0;
    close(fd);
}

static void congestion_control_is_chosen_for_all(void)
{
    char before[17], now[17];
    int fd = open("/proc/sys/net/ipv4/tcp_congestion_control", O_RDWR);
    congestion_control(before, false);
    congestion_control(now, true);
    CHECK(!strcmp(before, now));
    CHECK(fd >= 0 && write(fd, "reno\n", 5) == 5);
    congestion_control(now, true);
    CHECK(pwrite(fd, before, strlen(before), 0) == (ssize_t)strlen(before));
    CHECK(!strcmp(now, "reno"));
    CHECK_ERRNO(pwrite(fd, "no-such-thing", 13, 0), ENOENT);
    close(fd);
}

static int tunable(const char *path, const char *value)
{
    int fd = open(path, value ? O_WRONLY : O_RDONLY);
    char text[32] = "";
    CHECK(fd >= 0);
    if (value)
        CHECK(write(fd, value, strlen(value)) == (ssize_t)strlen(value));
    else
        CHECK(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return atoi(text);
}

static void defaults_are_tunable(void)
{
    static const char ttl[] = "/proc/sys/net/ipv4/ip_default_ttl",
                      v6only[] = "/proc/sys/net/ipv6/bindv6only";
    int v = 0;
    socklen_t len = sizeof(v);
    CHECK(tunable(ttl, NULL) == 64 && tunable(v6only, NULL) == 0);
    tunable(ttl, "77\n"), tunable(v6only, "1\n");
    int a = udp(AF_INET), b = udp(AF_INET6);
    CHECK(getsockopt(a, IPPROTO_IP, IP_TTL, &v, &len) == 0);
    tunable(ttl, "64\n"), tunable(v6only, "0\n");
    CHECK(v == 77);
    CHECK(getsockopt(b, IPPROTO_IPV6, IPV6_V6ONLY, &v, &len) == 0 && v == 1);
    CHECK(tunable("/proc/sys/net/ipv6/conf/all/disable_ipv6", NULL) == 0);
    CHECK(tunable("/proc/sys/net/ipv4/ip_forward", NULL) == 0);
    close(a), close(b);
}

static void pings_can_be_ignored(void)
{
    static const char path[] = "/proc/sys/net/ipv4/icmp_echo_ignore_all";
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct timeval tv = {0, 200000};
    struct sockaddr_in a = v4("127.0.0.1", 0);
    unsigned char echo[8] = {8, 0, 0xf7, 0xff}, b[64];
    int replies = 0;
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    tunable(path, "1\n");
    CHECK(sendto(fd, echo, 8, 0, (void *)&a, sizeof(a)) == 8);
    while (recv(fd, b, sizeof(b), 0) == 28)
        replies += b[20] == 0;
    tunable(path, "0\n");
    CHECK(replies == 0 && sendto(fd, echo, 8, 0, (void *)&a, sizeof(a)) == 8);
    while (recv(fd, b, sizeof(b), 0) == 28)
        replies += b[20] == 0;
    CHECK(replies == 1);
    close(fd);
}

static void port_range_is_obeyed(void)
{
    int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_RDWR);
    char old[64];
    ssize_t n = read(fd, old, sizeof(old));
    CHECK(fd >= 0 && n > 0 && pwrite(fd, "50000\t50009\n", 12, 0) == 12);
    int s[12], made = 0, out_of_range = 0, err = 0;
    for (; made < 12; made++) {
        s[made] = udp(AF_INET);
        if (bind4(s[made], "127.0.0.1", 0)) {
            err = errno;
            close(s[made]);
            break;
        }
        int port = port_of(s[made]);
        out_of_range += port < 50000 || port > 50009;
    }
    for (int i = 0; i < made; i++)
        close(s[i]);
    CHECK(pwrite(fd, old, (size_t)n, 0) == n && close(fd) == 0);
    CHECK(out_of_range == 0 && made <= 10 && made >= 5 && err == EADDRINUSE);
}

int main(void)
{
    own_network();
    CASE(addresses_must_be_ours);
    CASE(ports_are_taken);
    CASE(reuse_needs_both);
    CASE(ports_are_shared_with_reuseport);
    CASE(shared_ports_are_balanced);
    CASE(one_sender_meets_one_receiver);
    CASE(listeners_share_with_reuseport);
    CASE(the_most_specific_gets_it);
    CASE(one_socket_takes_both_versions);
    CASE(one_version_only);
    CASE(both_versions_exclude_each_other);
    CASE(mapped_addresses_are_bound);
    CASE(streams_take_both_versions);
    CASE(families_are_checked);
    CASE(protected_ports_need_a_capability);
    CASE(group_requests_are_checked);
    CASE(all_members_get_a_copy);
    CASE(others_groups_come_unless_declined);
    CASE(groups_are_bound);
    CASE(groups_are_joined_by_any_family);
    CASE(ipv6_groups_are_joined);
    CASE(fragments_are_put_together);
    CASE(sysctls_are_read_and_set);
    CASE(congestion_control_is_chosen_for_all);
    CASE(port_range_is_obeyed);
    CASE(defaults_are_tunable);
    CASE(pings_can_be_ignored);
    return check_result();
}
