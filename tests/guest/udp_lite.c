/* UDP-Lite (RFC 3828, udplite(7)): ports of its own, and checksums that cover a part. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "check.h"
#include "network.h"

#define SEND_COVERAGE 10 /* UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV */
#define RECV_COVERAGE 11

static int lite(int family)
{
    int fd = socket(family, SOCK_DGRAM, IPPROTO_UDPLITE);
    CHECK(fd >= 0);
    return fd;
}

/* Bound to the loopback address; its port through *port. */
static int bound(int family, int proto, int *port)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)*port)};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = a6.sin6_port};
    int fd = socket(family, SOCK_DGRAM, proto);
    bool v6 = family == AF_INET6;
    socklen_t len = v6 ? sizeof(a6) : sizeof(a4);
    a6.sin6_addr = in6addr_loopback, a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, v6 ? (void *)&a6 : (void *)&a4, len))
        return -1;
    CHECK(getsockname(fd, v6 ? (void *)&a6 : (void *)&a4, &len) == 0);
    *port = ntohs(v6 ? a6.sin6_port : a4.sin_port);
    return fd;
}

/* A socket that is connected to the port. */
static int connected(int family, int port)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((unsigned short)port),
                              .sin6_addr = in6addr_loopback};
    struct sockaddr_in a4 = {
        .sin_family = AF_INET, .sin_port = a6.sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = lite(family);
    bool v6 = family == AF_INET6;
    CHECK(connect(fd, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)) == 0);
    return fd;
}

static int set(int fd, int name, int v)
{
    return setsockopt(fd, IPPROTO_UDPLITE, name, &v, sizeof(v));
}

static int get(int fd, int level, int name)
{
    int v = -1;
    socklen_t len = sizeof(v);
    CHECK(getsockopt(fd, level, name, &v, &len) == 0 && len == sizeof(v));
    return v;
}

static bool gets(int fd, ssize_t size)
{
    static char b[65536];
    struct pollfd p = {fd, POLLIN, 0};
    return poll(&p, 1, 100) == 1 && recv(fd, b, sizeof(b), MSG_DONTWAIT) == size;
}

static void datagrams_are_carried(void)
{
    static const int families[] = {AF_INET, AF_INET6};
    static char data[20000];
    for (int i = 0; i < 2; i++) {
        int port = 0, a = bound(families[i], IPPROTO_UDPLITE, &port),
            b = connected(families[i], port);
        CHECK(get(a, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_UDPLITE);
        static const size_t sizes[] = {0, 1, 1000, sizeof(data)};
        for (int k = 0; k < 4; k++)
            CHECK(send(b, data, sizes[k], 0) == (ssize_t)sizes[k] && gets(a, (ssize_t)sizes[k]));
        close(a), close(b);
    }
}

static void ports_are_its_own(void)
{
    int port = 0, a = bound(AF_INET, IPPROTO_UDP, &port),
        b = bound(AF_INET, IPPROTO_UDPLITE, &port);
    CHECK(a >= 0 && b >= 0); /* the same number */
    int again = bound(AF_INET, IPPROTO_UDPLITE, &port);
    CHECK(again == -1 && errno == EADDRINUSE);
    int c = connected(AF_INET, port);
    CHECK(send(c, "lite", 4, 0) == 4 && gets(b, 4) && !gets(a, 4));
    close(b);
    CHECK(send(c, "lite", 4, 0) == 4); /* nobody: an error comes back */
    struct pollfd p = {c, 0, 0};
    CHECK(poll(&p, 1, 1000) == 1 && get(c, SOL_SOCKET, SO_ERROR) == ECONNREFUSED);
    close(a), close(c);
}

static void coverage_is_set(void)
{
    int fd = lite(AF_INET), udp = socket(AF_INET, SOCK_DGRAM, 0);
    static const int values[][2] = {{0, 0}, {1, 8}, {8, 8}, {20, 20}, {70000, 65535}};
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        for (int name = SEND_COVERAGE; name <= RECV_COVERAGE; name++) {
            CHECK(set(fd, name, values[i][0]) == 0);
            CHECK(get(fd, IPPROTO_UDPLITE, name) == values[i][1]);
        }
    }
    CHECK_ERRNO(set(udp, SEND_COVERAGE, 8), ENOPROTOOPT);
    CHECK_ERRNO(set(fd, 99, 8), ENOPROTOOPT);
    CHECK_ERRNO(setsockopt(fd, IPPROTO_UDPLITE, SEND_COVERAGE, &udp, 2), EINVAL);
    close(fd), close(udp);
}

static void as_much_is_covered_as_is_asked_for(void)
{
    /* sent with, received if at least; size; whether it comes */
    static const int cases[][4] = {{8, -1, 100, 1},  {20, 20, 100, 1}, {19, 20, 100, 0},
                                   {0, 20, 100, 1},  {20, 0, 100, 0},  {200, 0, 100, 1},
                                   {108, 0, 100, 1}, {0, 0, 100, 1}};
    static char data[100];
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int port = 0, a = bound(AF_INET, IPPROTO_UDPLITE, &port), b = connected(AF_INET, port);
        CHECK(set(b, SEND_COVERAGE, cases[i][0]) == 0);
        CHECK(cases[i][1] < 0 || set(a, RECV_COVERAGE, cases[i][1]) == 0);
        CHECK(send(b, data, (size_t)cases[i][2], 0) == cases[i][2]);
        CHECK(gets(a, cases[i][2]) == cases[i][3]);
        close(a), close(b);
    }
}

int main(void)
{
    own_network();
    CASE(datagrams_are_carried);
    CASE(ports_are_its_own);
    CASE(coverage_is_set);
    CASE(as_much_is_covered_as_is_asked_for);
    return check_result();
}
