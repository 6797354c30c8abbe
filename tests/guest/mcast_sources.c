/* Multicast from some sources only (RFC 3678): joined and blocked, in both ways to say it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "check.h"
#include "network.h"

#define LO 1
#define GROUP "232.1.2.3"
#define FIRST "127.0.0.1"
#define SECOND "127.0.0.2"

static struct sockaddr_in v4(const char *text, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    CHECK(inet_pton(AF_INET, text, &a.sin_addr) == 1);
    return a;
}

/* IP_ADD_SOURCE_MEMBERSHIP and its kin, about GROUP on the loopback. */
static int source(int fd, int option, const char *from)
{
    struct ip_mreq_source m = {.imr_multiaddr.s_addr = inet_addr(GROUP),
                               .imr_interface.s_addr = htonl(INADDR_LOOPBACK),
                               .imr_sourceaddr.s_addr = inet_addr(from)};
    return setsockopt(fd, IPPROTO_IP, option, &m, sizeof(m));
}

/* MCAST_JOIN_SOURCE_GROUP and its kin, of either family. */
static int any_source(int fd, int option, int family, const char *group, const char *from)
{
    struct group_source_req r = {.gsr_interface = LO};
    bool v6 = family == AF_INET6;
    r.gsr_group.ss_family = r.gsr_source.ss_family = (sa_family_t)family;
    size_t at =
        v6 ? offsetof(struct sockaddr_in6, sin6_addr) : offsetof(struct sockaddr_in, sin_addr);
    CHECK(inet_pton(family, group, (char *)&r.gsr_group + at) == 1);
    CHECK(inet_pton(family, from, (char *)&r.gsr_source + at) == 1);
    return setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, option, &r, sizeof(r));
}

static int member(int fd)
{
    struct ip_mreqn m = {.imr_multiaddr.s_addr = inet_addr(GROUP), .imr_ifindex = LO};
    return setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m));
}

static int receiver(int port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
    struct sockaddr_in a = v4("0.0.0.0", port);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0);
    CHECK(bind(fd, (void *)&a, sizeof(a)) == 0);
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    CHECK(getsockname(fd, (void *)&a, &len) == 0);
    return ntohs(a.sin_port);
}

static void say(const char *from, int port)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct ip_mreqn m = {.imr_address.s_addr = htonl(INADDR_LOOPBACK), .imr_ifindex = LO};
    struct sockaddr_in a = v4(from, 0), to = v4(GROUP, port);
    CHECK(setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &m, sizeof(m)) == 0);
    CHECK(bind(fd, (void *)&a, sizeof(a)) == 0);
    CHECK(sendto(fd, "x", 1, 0, (void *)&to, sizeof(to)) == 1 && close(fd) == 0);
}

/* Whether what this source says comes. */
static bool hears(int fd, const char *from)
{
    char b;
    struct pollfd p = {fd, POLLIN, 0};
    say(from, port_of(fd));
    return poll(&p, 1, 100) == 1 && recv(fd, &b, 1, MSG_DONTWAIT) == 1;
}

static void sources_are_joined(void)
{
    int fd = receiver(0);
    CHECK(source(fd, IP_ADD_SOURCE_MEMBERSHIP, FIRST) == 0);
    CHECK(hears(fd, FIRST) && !hears(fd, SECOND));
    CHECK_ERRNO(source(fd, IP_ADD_SOURCE_MEMBERSHIP, FIRST), EADDRNOTAVAIL);
    CHECK(source(fd, IP_ADD_SOURCE_MEMBERSHIP, SECOND) == 0);
    CHECK(hears(fd, FIRST) && hears(fd, SECOND));
    CHECK_ERRNO(source(fd, IP_BLOCK_SOURCE, SECOND), EINVAL);
    CHECK(source(fd, IP_DROP_SOURCE_MEMBERSHIP, FIRST) == 0);
    CHECK(!hears(fd, FIRST) && hears(fd, SECOND));
    CHECK_ERRNO(source(fd, IP_DROP_SOURCE_MEMBERSHIP, FIRST), EADDRNOTAVAIL);
    CHECK(source(fd, IP_DROP_SOURCE_MEMBERSHIP, SECOND) == 0); /* the last: it has left */
    CHECK_ERRNO(source(fd, IP_DROP_SOURCE_MEMBERSHIP, SECOND), EINVAL);
    CHECK(member(fd) == 0);
    close(fd);
}

static void sources_are_blocked(void)
{
    int fd = receiver(0);
    CHECK_ERRNO(source(fd, IP_BLOCK_SOURCE, FIRST), EINVAL); /* not a member */
    CHECK(member(fd) == 0 && hears(fd, FIRST) && hears(fd, SECOND));
    CHECK(source(fd, IP_BLOCK_SOURCE, FIRST) == 0);
    CHECK(!hears(fd, FIRST) && hears(fd, SECOND));
    CHECK_ERRNO(source(fd, IP_BLOCK_SOURCE, FIRST), EADDRNOTAVAIL);
    CHECK_ERRNO(source(fd, IP_ADD_SOURCE_MEMBERSHIP, SECOND), EINVAL);
    CHECK_ERRNO(member(fd), EADDRINUSE);
    CHECK(source(fd, IP_UNBLOCK_SOURCE, FIRST) == 0 && hears(fd, FIRST));
    CHECK_ERRNO(source(fd, IP_UNBLOCK_SOURCE, FIRST), EADDRNOTAVAIL);
    close(fd);
}

static void members_have_their_own_sources(void)
{
    int a = receiver(0), b = receiver(port_of(a)), c = receiver(port_of(a));
    CHECK(source(a, IP_ADD_SOURCE_MEMBERSHIP, FIRST) == 0);
    CHECK(!hears(c, SECOND)); /* nobody wants it: it comes to nobody */
    CHECK(member(b) == 0 && source(b, IP_BLOCK_SOURCE, FIRST) == 0);
    CHECK(hears(a, FIRST) && !hears(a, SECOND));
    struct pollfd p = {b, POLLIN, 0};
    char byte;
    CHECK(poll(&p, 1, 100) == 1 && recv(b, &byte, 1, MSG_DONTWAIT) == 1);
    CHECK_ERRNO(recv(b, &byte, 1, MSG_DONTWAIT), EAGAIN); /* the second's, not the first's */
    close(b);
    CHECK(hears(a, FIRST) && !hears(a, SECOND));
    close(a), close(c);
}

static void sources_are_few(void)
{
    int fd = receiver(0);
    char from[32];
    for (int i = 1; i <= 10; i++) {
        snprintf(from, sizeof(from), "127.0.1.%d", i);
        CHECK(source(fd, IP_ADD_SOURCE_MEMBERSHIP, from) == 0);
    }
    CHECK_ERRNO(source(fd, IP_ADD_SOURCE_MEMBERSHIP, FIRST), ENOBUFS);
    close(fd);
}

static void requests_are_checked(void)
{
    int fd = receiver(0);
    struct ip_mreq_source m = {.imr_multiaddr.s_addr = inet_addr("127.0.0.1"),
                               .imr_interface.s_addr = htonl(INADDR_LOOPBACK),
                               .imr_sourceaddr.s_addr = inet_addr(FIRST)};
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &m, sizeof(m)), EINVAL);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &m, 8), EINVAL);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, &m, sizeof(m)), EINVAL);
    close(fd);
}

static void families_do_not_matter(void)
{
    int fd = receiver(0), six = socket(AF_INET6, SOCK_DGRAM, 0);
    CHECK(any_source(fd, MCAST_JOIN_SOURCE_GROUP, AF_INET, GROUP, FIRST) == 0);
    CHECK(hears(fd, FIRST) && !hears(fd, SECOND));
    CHECK(any_source(fd, MCAST_LEAVE_SOURCE_GROUP, AF_INET, GROUP, FIRST) == 0);
    CHECK(member(fd) == 0);
    CHECK(any_source(fd, MCAST_BLOCK_SOURCE, AF_INET, GROUP, SECOND) == 0);
    CHECK(hears(fd, FIRST) && !hears(fd, SECOND));
    CHECK(any_source(fd, MCAST_UNBLOCK_SOURCE, AF_INET, GROUP, SECOND) == 0);
    CHECK(any_source(six, MCAST_JOIN_SOURCE_GROUP, AF_INET6, "ff31::77", "::1") == 0);
    CHECK_ERRNO(any_source(six, MCAST_JOIN_SOURCE_GROUP, AF_INET6, "ff31::77", "::1"),
                EADDRNOTAVAIL);
    CHECK_ERRNO(any_source(six, MCAST_BLOCK_SOURCE, AF_INET6, "ff31::77", "::1"), EINVAL);
    CHECK(any_source(six, MCAST_LEAVE_SOURCE_GROUP, AF_INET6, "ff31::77", "::1") == 0);
    CHECK_ERRNO(any_source(six, MCAST_JOIN_SOURCE_GROUP, AF_INET6, "::1", "::1"), EINVAL);
    close(fd), close(six);
}

int main(void)
{
    own_network();
    CASE(sources_are_joined);
    CASE(sources_are_blocked);
    CASE(members_have_their_own_sources);
    CASE(sources_are_few);
    CASE(requests_are_checked);
    CASE(families_do_not_matter);
    return check_result();
}
