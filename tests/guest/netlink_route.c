/* Netlink: rtnetlink and sock_diag, as ip and ss use them. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "check.h"
#include "network.h"

struct request {
    struct nlmsghdr h;
    union {
        struct rtgenmsg gen;
        struct ifinfomsg link;
        struct ifaddrmsg addr;
        struct rtmsg route;
        struct inet_diag_req_v2 inet;
        struct unix_diag_req un;
        char room[256];
    };
};

static char answers[65536];

static int open_socket(int proto)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, proto);
    struct timeval tv = {3, 0};
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    return fd;
}

static void *attribute(struct request *r, size_t body, int type, const void *data, size_t len)
{
    if (r->h.nlmsg_len < NLMSG_LENGTH(body))
        r->h.nlmsg_len = NLMSG_LENGTH(body);
    struct rtattr *a = (void *)((char *)r + NLMSG_ALIGN(r->h.nlmsg_len));
    a->rta_type = (unsigned short)type;
    a->rta_len = (unsigned short)RTA_LENGTH(len);
    memcpy(RTA_DATA(a), data, len);
    r->h.nlmsg_len = NLMSG_ALIGN(r->h.nlmsg_len) + RTA_ALIGN(a->rta_len);
    return RTA_DATA(a);
}

/* Sends it; all answers up to the end of a dump, or the one, in `answers`; their bytes. */
static size_t ask(int fd, struct request *r, int type, int flags, size_t body)
{
    size_t total = 0;
    if (r->h.nlmsg_len < NLMSG_LENGTH(body))
        r->h.nlmsg_len = NLMSG_LENGTH(body);
    r->h.nlmsg_type = (unsigned short)type;
    r->h.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags);
    r->h.nlmsg_seq = 77;
    CHECK(send(fd, r, r->h.nlmsg_len, 0) == (ssize_t)r->h.nlmsg_len);
    for (;;) {
        ssize_t n = recv(fd, answers + total, sizeof(answers) - total, 0);
        CHECK(n >= (ssize_t)NLMSG_HDRLEN);
        struct nlmsghdr *h = (void *)(answers + total);
        CHECK(h->nlmsg_seq == 77);
        total += NLMSG_ALIGN((size_t)n);
        for (ssize_t left = n; NLMSG_OK(h, (unsigned)left); h = NLMSG_NEXT(h, left))
            if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR ||
                !(h->nlmsg_flags & NLM_F_MULTI))
                return total;
    }
}

/* The errno of the answer; 0: an acknowledgement. -1: no such thing. */
static int result(void)
{
    struct nlmsghdr *h = (void *)answers;
    if (h->nlmsg_type != NLMSG_ERROR)
        return -1;
    return -((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

static struct nlmsghdr *next(struct nlmsghdr *h, size_t *left)
{
    if (!h) {
        h = (void *)answers;
    } else {
        size_t n = NLMSG_ALIGN(h->nlmsg_len);
        h = (void *)((char *)h + n);
        *left -= n;
    }
    return *left >= NLMSG_HDRLEN ? h : NULL;
}

static void *find(struct nlmsghdr *h, size_t body, int type)
{
    struct rtattr *a = (void *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(body));
    int left = (int)(h->nlmsg_len - NLMSG_LENGTH(body));
    for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type == type)
            return RTA_DATA(a);
    return NULL;
}

static void arguments_are_checked(void)
{
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, 31), EPROTONOSUPPORT);
    CHECK_ERRNO(socket(AF_NETLINK, SOCK_RAW, 99), EPROTONOSUPPORT);
    int fd = open_socket(NETLINK_ROUTE);
    CHECK_ERRNO(listen(fd, 1), EOPNOTSUPP);
    CHECK_ERRNO(accept(fd, NULL, NULL), EOPNOTSUPP);
    CHECK_ERRNO(shutdown(fd, SHUT_RD), EOPNOTSUPP);
    struct sockaddr_nl a = {.nl_family = AF_INET};
    CHECK_ERRNO(bind(fd, (void *)&a, sizeof(a)), EINVAL);
    a.nl_family = AF_NETLINK;
    CHECK_ERRNO(bind(fd, (void *)&a, 4), EINVAL);
    CHECK_ERRNO(send(fd, "x", 1, MSG_OOB), EOPNOTSUPP);
    close(fd);
}

static void ports_are_the_process_first(void)
{
    int a = open_socket(NETLINK_ROUTE), b = open_socket(NETLINK_ROUTE);
    struct sockaddr_nl n = {.nl_family = AF_NETLINK}, got;
    socklen_t len = sizeof(got);
    CHECK(bind(a, (void *)&n, sizeof(n)) == 0 && bind(b, (void *)&n, sizeof(n)) == 0);
    CHECK(getsockname(a, (void *)&got, &len) == 0 && len == sizeof(got));
    CHECK(got.nl_pid == (unsigned)getpid() && got.nl_groups == 0);
    CHECK(getsockname(b, (void *)&got, &len) == 0 && got.nl_pid &&
          got.nl_pid != (unsigned)getpid());
    n.nl_pid = 4242;
    CHECK_ERRNO(bind(b, (void *)&n, sizeof(n)), EINVAL);
    int c = open_socket(NETLINK_ROUTE);
    n.nl_pid = (unsigned)getpid();
    CHECK_ERRNO(bind(c, (void *)&n, sizeof(n)), EADDRINUSE);
    close(a), close(b), close(c);
}

static void options_are_told(void)
{
    int fd = open_socket(NETLINK_SOCK_DIAG), v = 0, one = 1;
    socklen_t len = sizeof(v);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &len) == 0 && v == NETLINK_SOCK_DIAG);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &v, &len) == 0 && v == AF_NETLINK);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &len) == 0 && v == SOCK_RAW);
    v = 20000;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, sizeof(v)) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, &len) == 0 && v == 40000);
    CHECK(setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one)) == 0);
    CHECK(getsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &v, &len) == 0 && v == 1);
    CHECK_ERRNO(setsockopt(fd, SOL_NETLINK, 63, &one, sizeof(one)), ENOPROTOOPT);
    close(fd);
}

static void links_are_dumped(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.link.ifi_family = AF_UNSPEC};
    size_t left = ask(fd, &r, RTM_GETLINK, NLM_F_DUMP, sizeof(r.link));
    bool found = false;
    for (struct nlmsghdr *h = NULL; (h = next(h, &left)) && h->nlmsg_type == RTM_NEWLINK;) {
        struct ifinfomsg *i = NLMSG_DATA(h);
        char *name = find(h, sizeof(*i), IFLA_IFNAME);
        CHECK(h->nlmsg_flags & NLM_F_MULTI && name);
        if (i->ifi_index != 1)
            continue;
        found = true;
        CHECK(!strcmp(name, "lo") && i->ifi_type == 772 && i->ifi_flags & IFF_LOOPBACK);
        unsigned *mtu = find(h, sizeof(*i), IFLA_MTU);
        CHECK(mtu && *mtu >= 65535 && find(h, sizeof(*i), IFLA_STATS64));
        CHECK(find(h, sizeof(*i), IFLA_OPERSTATE) && find(h, sizeof(*i), IFLA_TXQLEN));
    }
    CHECK(found);
    close(fd);
}

/* As busybox asks. */
static void read_and_write_are_messages(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.h = {.nlmsg_len = NLMSG_LENGTH(sizeof(r.gen)),
                              .nlmsg_type = RTM_GETLINK,
                              .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    CHECK(write(fd, &r, r.h.nlmsg_len) == (ssize_t)r.h.nlmsg_len);
    ssize_t n = read(fd, answers, sizeof(answers));
    CHECK(n > (ssize_t)NLMSG_HDRLEN && ((struct nlmsghdr *)answers)->nlmsg_type == RTM_NEWLINK);
    close(fd);
}

static void one_link_is_told(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.link.ifi_index = 1};
    ask(fd, &r, RTM_GETLINK, 0, sizeof(r.link));
    struct nlmsghdr *h = (void *)answers;
    CHECK(h->nlmsg_type == RTM_NEWLINK && !(h->nlmsg_flags & NLM_F_MULTI));
    r = (struct request){0};
    attribute(&r, sizeof(r.link), IFLA_IFNAME, "lo", 3);
    ask(fd, &r, RTM_GETLINK, 0, sizeof(r.link));
    CHECK(h->nlmsg_type == RTM_NEWLINK && ((struct ifinfomsg *)NLMSG_DATA(h))->ifi_index == 1);
    r = (struct request){.link.ifi_index = 999};
    ask(fd, &r, RTM_GETLINK, 0, sizeof(r.link));
    CHECK(result() == ENODEV);
    close(fd);
}

static void requests_are_acknowledged(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.link.ifi_index = 1};
    ask(fd, &r, RTM_SETLINK, NLM_F_ACK, sizeof(r.link));
    CHECK(result() == 0);
    r = (struct request){0};
    ask(fd, &r, 4000, NLM_F_ACK, sizeof(r.link));
    CHECK(result() == EOPNOTSUPP);
    close(fd);
}

static void addresses_are_dumped(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.addr.ifa_family = AF_INET};
    size_t left = ask(fd, &r, RTM_GETADDR, NLM_F_DUMP, sizeof(r.addr));
    bool found = false;
    for (struct nlmsghdr *h = NULL; (h = next(h, &left)) && h->nlmsg_type == RTM_NEWADDR;) {
        struct ifaddrmsg *i = NLMSG_DATA(h);
        CHECK(i->ifa_family == AF_INET);
        unsigned *local = find(h, sizeof(*i), IFA_LOCAL);
        char *label = find(h, sizeof(*i), IFA_LABEL);
        if (local && *local == htonl(INADDR_LOOPBACK)) {
            found = true;
            CHECK(i->ifa_prefixlen == 8 && i->ifa_scope == RT_SCOPE_HOST && i->ifa_index == 1);
            CHECK(label && !strcmp(label, "lo") && i->ifa_flags & IFA_F_PERMANENT);
            struct ifa_cacheinfo *c = find(h, sizeof(*i), IFA_CACHEINFO);
            CHECK(c && c->ifa_valid == 0xffffffff);
        }
    }
    CHECK(found);
    close(fd);
}

static int change_address(int fd, int type, int flags, const char *text, int prefix, int index)
{
    bool v6 = strchr(text, ':');
    struct request r = {.addr = {.ifa_family = v6 ? AF_INET6 : AF_INET,
                                 .ifa_prefixlen = (unsigned char)prefix,
                                 .ifa_index = (unsigned)index}};
    struct in6_addr a;
    CHECK(inet_pton(r.addr.ifa_family, text, &a) == 1);
    attribute(&r, sizeof(r.addr), IFA_LOCAL, &a, v6 ? 16 : 4);
    attribute(&r, sizeof(r.addr), IFA_ADDRESS, &a, v6 ? 16 : 4);
    ask(fd, &r, type, flags | NLM_F_ACK, sizeof(r.addr));
    return result();
}

static bool have_address(const char *text)
{
    struct ifaddrs *list;
    struct in_addr a;
    bool found = false;
    CHECK(inet_pton(AF_INET, text, &a) == 1 && getifaddrs(&list) == 0);
    for (struct ifaddrs *i = list; i; i = i->ifa_next)
        found |= i->ifa_addr && i->ifa_addr->sa_family == AF_INET &&
                 ((struct sockaddr_in *)i->ifa_addr)->sin_addr.s_addr == a.s_addr;
    freeifaddrs(list);
    return found;
}

static void addresses_come_and_go(void)
{
    int fd = open_socket(NETLINK_ROUTE), new = NLM_F_CREATE | NLM_F_EXCL;
    CHECK(change_address(fd, RTM_NEWADDR, new, "198.51.100.7", 32, 1) == 0);
    CHECK(have_address("198.51.100.7"));
    CHECK(change_address(fd, RTM_NEWADDR, new, "198.51.100.7", 32, 1) == EEXIST);
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr("198.51.100.7")};
    CHECK(bind(s, (void *)&a, sizeof(a)) == 0 && close(s) == 0);
    CHECK(change_address(fd, RTM_DELADDR, 0, "198.51.100.7", 32, 1) == 0);
    CHECK(!have_address("198.51.100.7"));
    CHECK(change_address(fd, RTM_DELADDR, 0, "198.51.100.7", 32, 1) == EADDRNOTAVAIL);
    s = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK_ERRNO(bind(s, (void *)&a, sizeof(a)), EADDRNOTAVAIL);
    close(s), close(fd);
}

static int membership(int fd, int option, int group)
{
    return setsockopt(fd, SOL_NETLINK, option, &group, sizeof(group));
}

static void groups_are_joined(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct sockaddr_nl n = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK}, got;
    uint32_t list[4] = {0};
    socklen_t len = sizeof(got);
    CHECK(bind(fd, (void *)&n, sizeof(n)) == 0);
    CHECK(getsockname(fd, (void *)&got, &len) == 0 && got.nl_groups == RTMGRP_LINK);
    CHECK(membership(fd, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV4_IFADDR) == 0);
    CHECK(membership(fd, NETLINK_ADD_MEMBERSHIP, RTNLGRP_BRVLAN) == 0);
    CHECK(membership(fd, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK) == 0);
    CHECK(membership(fd, NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK) == 0);
    CHECK_ERRNO(membership(fd, NETLINK_ADD_MEMBERSHIP, 0), EINVAL);
    CHECK_ERRNO(membership(fd, NETLINK_ADD_MEMBERSHIP, 1000), EINVAL);
    len = sizeof(list);
    CHECK(getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, list, &len) == 0 && len >= 8);
    CHECK(list[0] == 1u << (RTNLGRP_IPV4_IFADDR - 1) && list[1] == 1);
    len = sizeof(got);
    CHECK(getsockname(fd, (void *)&got, &len) == 0 && got.nl_groups == RTMGRP_IPV4_IFADDR);
    close(fd);
}

/* The next notification, its type; 0: there is none. */
static int notified(int fd, int flags)
{
    struct sockaddr_nl from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(fd, answers, sizeof(answers), flags, (void *)&from, &len);
    if (n < 0) {
        CHECK(errno == EAGAIN);
        return 0;
    }
    struct nlmsghdr *h = (void *)answers;
    CHECK((size_t)n >= h->nlmsg_len && from.nl_pid == 0);
    CHECK(from.nl_groups == RTMGRP_IPV4_IFADDR);
    return h->nlmsg_type;
}

static void changes_are_told(void)
{
    int fd = open_socket(NETLINK_ROUTE), told = open_socket(NETLINK_ROUTE);
    struct sockaddr_nl member = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
    struct in_addr want = {.s_addr = inet_addr("198.51.100.8")};
    CHECK(membership(told, NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV4_IFADDR) == 0);
    /* Without an address it is told nothing. */
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE, "198.51.100.8", 32, 1) == 0);
    CHECK(change_address(fd, RTM_DELADDR, 0, "198.51.100.8", 32, 1) == 0);
    CHECK(notified(told, MSG_DONTWAIT) == 0);
    CHECK(bind(told, (void *)&member, sizeof(member)) == 0);
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE, "198.51.100.8", 32, 1) == 0);
    struct pollfd p = {.fd = told, .events = POLLIN};
    CHECK(poll(&p, 1, 1000) == 1 && p.revents == POLLIN);
    CHECK(notified(told, 0) == RTM_NEWADDR);
    struct nlmsghdr *h = (void *)answers;
    struct ifaddrmsg *i = NLMSG_DATA(h);
    CHECK(i->ifa_family == AF_INET && i->ifa_prefixlen == 32 && i->ifa_index == 1);
    void *local = find(h, sizeof(*i), IFA_LOCAL);
    CHECK(local && !memcmp(local, &want, sizeof(want)));
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, "198.51.100.8", 32, 1) ==
          EEXIST);
    CHECK(change_address(fd, RTM_DELADDR, 0, "198.51.100.8", 32, 1) == 0);
    CHECK(notified(told, 0) == RTM_DELADDR);
    CHECK(membership(told, NETLINK_DROP_MEMBERSHIP, RTNLGRP_IPV4_IFADDR) == 0);
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE, "198.51.100.8", 32, 1) == 0);
    CHECK(change_address(fd, RTM_DELADDR, 0, "198.51.100.8", 32, 1) == 0);
    CHECK(notified(told, MSG_DONTWAIT) == 0);
    close(fd), close(told);
}

/* What a slow reader loses it is told of, once; what it has is still there. */
static void losses_are_told(void)
{
    int fd = open_socket(NETLINK_ROUTE), small = 4096, one = 1, count = 0;
    int told[2] = {open_socket(NETLINK_ROUTE), open_socket(NETLINK_ROUTE)};
    struct sockaddr_nl member = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
    for (int i = 0; i < 2; i++) {
        CHECK(setsockopt(told[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)) == 0);
        CHECK(bind(told[i], (void *)&member, sizeof(member)) == 0);
    }
    CHECK(setsockopt(told[1], SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one)) == 0);
    for (int i = 0; i < 200; i++)
        CHECK(change_address(fd, i % 2 ? RTM_DELADDR : RTM_NEWADDR, i % 2 ? 0 : NLM_F_CREATE,
                             "198.51.100.9", 32, 1) == 0);
    struct pollfd p = {.fd = told[0], .events = POLLIN};
    CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLERR));
    CHECK_ERRNO(recv(told[0], answers, sizeof(answers), 0), ENOBUFS);
    while (notified(told[0], MSG_DONTWAIT))
        count++;
    CHECK(count > 2 && count < 200);
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE, "198.51.100.9", 32, 1) == 0);
    CHECK(notified(told[0], 0) == RTM_NEWADDR);
    CHECK(notified(told[1], 0) == RTM_NEWADDR);
    CHECK(change_address(fd, RTM_DELADDR, 0, "198.51.100.9", 32, 1) == 0);
    close(fd), close(told[0]), close(told[1]);
}

static void wrong_addresses_are_refused(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE, "198.51.100.7", 33, 1) == EINVAL);
    CHECK(change_address(fd, RTM_NEWADDR, NLM_F_CREATE, "198.51.100.7", 24, 999) == ENODEV);
    struct request r = {.addr = {.ifa_family = AF_INET, .ifa_prefixlen = 24, .ifa_index = 1}};
    ask(fd, &r, RTM_NEWADDR, NLM_F_ACK, sizeof(r.addr));
    CHECK(result() == EINVAL);
    close(fd);
}

static int change_route(int fd, int type, int flags, const char *dst, int prefix, const char *via,
                        int oif)
{
    struct request r = {.route = {.rtm_family = AF_INET,
                                  .rtm_dst_len = (unsigned char)prefix,
                                  .rtm_table = RT_TABLE_MAIN,
                                  .rtm_protocol = RTPROT_BOOT,
                                  .rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE
                                               : via                ? RT_SCOPE_UNIVERSE
                                                                    : RT_SCOPE_LINK,
                                  .rtm_type = type == RTM_DELROUTE ? 0 : RTN_UNICAST}};
    struct in_addr a;
    CHECK(inet_pton(AF_INET, dst, &a) == 1);
    attribute(&r, sizeof(r.route), RTA_DST, &a, 4);
    if (via) {
        CHECK(inet_pton(AF_INET, via, &a) == 1);
        attribute(&r, sizeof(r.route), RTA_GATEWAY, &a, 4);
    }
    if (oif)
        attribute(&r, sizeof(r.route), RTA_OIF, &oif, 4);
    ask(fd, &r, type, flags | NLM_F_ACK, sizeof(r.route));
    return result();
}

static bool have_route(int fd, const char *dst, int prefix)
{
    struct request r = {.route.rtm_family = AF_INET};
    size_t left = ask(fd, &r, RTM_GETROUTE, NLM_F_DUMP, sizeof(r.route));
    struct in_addr a;
    CHECK(inet_pton(AF_INET, dst, &a) == 1);
    for (struct nlmsghdr *h = NULL; (h = next(h, &left)) && h->nlmsg_type == RTM_NEWROUTE;) {
        struct rtmsg *t = NLMSG_DATA(h);
        unsigned *d = find(h, sizeof(*t), RTA_DST);
        if (t->rtm_table == RT_TABLE_MAIN && t->rtm_dst_len == prefix && d && *d == a.s_addr) {
            CHECK(find(h, sizeof(*t), RTA_OIF));
            return true;
        }
    }
    return false;
}

static void routes_come_and_go(void)
{
    int fd = open_socket(NETLINK_ROUTE), new = NLM_F_CREATE | NLM_F_EXCL;
    CHECK(change_route(fd, RTM_NEWROUTE, new, "203.0.113.0", 24, NULL, 1) == 0);
    CHECK(have_route(fd, "203.0.113.0", 24));
    CHECK(change_route(fd, RTM_NEWROUTE, new, "203.0.113.0", 24, NULL, 1) == EEXIST);
    CHECK(change_route(fd, RTM_DELROUTE, 0, "203.0.113.0", 24, NULL, 1) == 0);
    CHECK(!have_route(fd, "203.0.113.0", 24));
    CHECK(change_route(fd, RTM_DELROUTE, 0, "203.0.113.0", 24, NULL, 1) == ESRCH);
    close(fd);
}

static void wrong_routes_are_refused(void)
{
    int fd = open_socket(NETLINK_ROUTE), new = NLM_F_CREATE | NLM_F_EXCL;
    CHECK(change_route(fd, RTM_NEWROUTE, new, "203.0.113.1", 24, NULL, 1) == EINVAL);
    CHECK(change_route(fd, RTM_NEWROUTE, new, "203.0.113.0", 33, NULL, 1) == EINVAL);
    CHECK(change_route(fd, RTM_NEWROUTE, new, "203.0.113.0", 24, NULL, 999) == ENODEV);
    CHECK(change_route(fd, RTM_NEWROUTE, new, "203.0.113.0", 24, NULL, 0) == ENODEV);
    CHECK(change_route(fd, RTM_NEWROUTE, 0, "203.0.113.0", 24, NULL, 1) == ENOENT);
    close(fd);
}

static void the_way_to_an_address_is_told(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.route = {.rtm_family = AF_INET, .rtm_dst_len = 32}};
    unsigned a = htonl(INADDR_LOOPBACK);
    attribute(&r, sizeof(r.route), RTA_DST, &a, 4);
    ask(fd, &r, RTM_GETROUTE, 0, sizeof(r.route));
    struct nlmsghdr *h = (void *)answers;
    CHECK(h->nlmsg_type == RTM_NEWROUTE);
    struct rtmsg *t = NLMSG_DATA(h);
    unsigned *oif = find(h, sizeof(*t), RTA_OIF), *src = find(h, sizeof(*t), RTA_PREFSRC);
    CHECK(t->rtm_type == RTN_LOCAL && t->rtm_dst_len == 32);
    CHECK(oif && *oif == 1 && src && *src == a);
    close(fd);
}

static void neighbours_are_dumped(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {.gen.rtgen_family = AF_UNSPEC};
    size_t left = ask(fd, &r, RTM_GETNEIGH, NLM_F_DUMP, sizeof(struct ndmsg));
    struct nlmsghdr *h = NULL, *last = NULL;
    while ((h = next(h, &left))) {
        CHECK(h->nlmsg_type == RTM_NEWNEIGH || h->nlmsg_type == NLMSG_DONE);
        last = h;
    }
    CHECK(last && last->nlmsg_type == NLMSG_DONE);
    close(fd);
}

static void truncated_answers_are_lost(void)
{
    int fd = open_socket(NETLINK_ROUTE);
    struct request r = {
        .h = {NLMSG_LENGTH(sizeof(struct ifinfomsg)), RTM_GETLINK, NLM_F_REQUEST, 5, 0},
        .link.ifi_index = 1};
    char b[32];
    CHECK(send(fd, &r, r.h.nlmsg_len, 0) > 0);
    CHECK(recv(fd, b, sizeof(b), MSG_PEEK | MSG_TRUNC) > 100);
    struct iovec v = {b, sizeof(b)};
    struct sockaddr_nl from;
    struct msghdr m = {
        .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1};
    CHECK(recvmsg(fd, &m, 0) == sizeof(b) && m.msg_flags & MSG_TRUNC);
    CHECK(m.msg_namelen == sizeof(from) && from.nl_pid == 0);
    CHECK_ERRNO(recv(fd, b, sizeof(b), MSG_DONTWAIT), EAGAIN);
    close(fd);
}

static struct inet_diag_msg *find_inet(int fd, int family, int proto, int port, unsigned states)
{
    struct request r = {.inet = {.sdiag_family = (unsigned char)family,
                                 .sdiag_protocol = (unsigned char)proto,
                                 .idiag_states = states}};
    size_t left = ask(fd, &r, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sizeof(r.inet));
    for (struct nlmsghdr *h = NULL; (h = next(h, &left)) && h->nlmsg_type == SOCK_DIAG_BY_FAMILY;) {
        struct inet_diag_msg *d = NLMSG_DATA(h);
        if (d->id.idiag_sport == htons((unsigned short)port))
            return d;
    }
    return NULL;
}

static int bound_port(int fd)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    CHECK(bind(fd, (void *)&a, sizeof(a)) == 0 && getsockname(fd, (void *)&a, &len) == 0);
    return ntohs(a.sin_port);
}

static void listeners_are_found(void)
{
    int fd = open_socket(NETLINK_SOCK_DIAG), s = socket(AF_INET, SOCK_STREAM, 0);
    struct stat st;
    int port = bound_port(s);
    CHECK(listen(s, 5) == 0 && fstat(s, &st) == 0);
    struct inet_diag_msg *d = find_inet(fd, AF_INET, IPPROTO_TCP, port, 1u << 10);
    CHECK(d && d->idiag_state == 10 && d->idiag_family == AF_INET);
    CHECK(d->id.idiag_src[0] == htonl(INADDR_LOOPBACK) && d->idiag_inode == st.st_ino);
    CHECK(d->idiag_wqueue == 5 && d->idiag_rqueue == 0);
    CHECK(!find_inet(fd, AF_INET, IPPROTO_TCP, port, 1u << 1));
    CHECK(!find_inet(fd, AF_INET6, IPPROTO_TCP, port, ~0u));
    close(fd), close(s);
}

static void connections_are_found(void)
{
    int fd = open_socket(NETLINK_SOCK_DIAG), s = socket(AF_INET, SOCK_STREAM, 0);
    int port = bound_port(s), c = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((unsigned short)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(listen(s, 5) == 0 && connect(c, (void *)&a, sizeof(a)) == 0);
    int t = accept(s, NULL, NULL);
    struct inet_diag_msg *d = find_inet(fd, AF_INET, IPPROTO_TCP, port, 1u << 1);
    CHECK(t >= 0 && d && d->idiag_state == 1 && d->id.idiag_dport);
    CHECK(d->id.idiag_dst[0] == htonl(INADDR_LOOPBACK));
    close(fd), close(s), close(c), close(t);
}

static void datagram_sockets_are_found(void)
{
    int fd = open_socket(NETLINK_SOCK_DIAG), s = socket(AF_INET, SOCK_DGRAM, 0);
    int port = bound_port(s);
    struct inet_diag_msg *d = find_inet(fd, AF_INET, IPPROTO_UDP, port, ~0u);
    CHECK(d && d->idiag_state == 7 && d->idiag_uid == getuid());
    close(s);
    CHECK(!find_inet(fd, AF_INET, IPPROTO_UDP, port, ~0u));
    close(fd);
}

static void unix_sockets_are_found(void)
{
    int fd = open_socket(NETLINK_SOCK_DIAG), s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int len = snprintf(a.sun_path + 1, 50, "diag-%d", getpid()) + 1;
    struct stat st;
    CHECK(bind(s, (void *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)) ==
          0);
    CHECK(listen(s, 3) == 0 && fstat(s, &st) == 0);
    struct request r = {.un = {.sdiag_family = AF_UNIX,
                               .udiag_states = 1u << 10,
                               .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN}};
    size_t left = ask(fd, &r, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sizeof(r.un));
    bool found = false;
    for (struct nlmsghdr *h = NULL; (h = next(h, &left)) && h->nlmsg_type == SOCK_DIAG_BY_FAMILY;) {
        struct unix_diag_msg *d = NLMSG_DATA(h);
        if (d->udiag_ino != st.st_ino)
            continue;
        char *name = find(h, sizeof(*d), UNIX_DIAG_NAME);
        struct unix_diag_rqlen *q = find(h, sizeof(*d), UNIX_DIAG_RQLEN);
        CHECK(name && !memcmp(name, a.sun_path, (size_t)len) && q && q->udiag_wqueue == 3);
        CHECK(d->udiag_type == SOCK_STREAM && d->udiag_state == 10);
        found = true;
    }
    CHECK(found);
    close(fd), close(s);
}

static void unknown_families_are_refused(void)
{
    int fd = open_socket(NETLINK_SOCK_DIAG);
    struct request r = {.inet.sdiag_family = 200};
    ask(fd, &r, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, sizeof(r.inet));
    CHECK(result() == EINVAL || result() == ENOENT);
    close(fd);
}

/* Requests of chance, with and without a valid beginning, then an ordinary one. */
static void nonsense_is_survived(void)
{
    static const unsigned short types[] = {
        RTM_NEWLINK,  RTM_GETLINK,  RTM_SETLINK,  RTM_NEWADDR,  RTM_DELADDR, RTM_GETADDR,
        RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE, RTM_GETNEIGH, 20};
    unsigned seed = 12345;
    struct {
        struct nlmsghdr h;
        unsigned char b[200];
    } r;
    for (int i = 0; i < 4000; i++) {
        int proto = i % 4 ? NETLINK_ROUTE : NETLINK_SOCK_DIAG;
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, proto);
        for (unsigned k = 0; k < sizeof(r); k++) {
            seed = seed * 1103515245 + 12345;
            ((unsigned char *)&r)[k] = (unsigned char)(seed >> 16 & (i & 1 ? 255 : 3));
        }
        size_t n = seed >> 8 & 127;
        if (i % 8) {
            r.h.nlmsg_type = types[(seed >> 20) % (sizeof(types) / sizeof(types[0]))];
            r.h.nlmsg_len = (unsigned)n;
            r.h.nlmsg_flags |= NLM_F_REQUEST;
            r.b[0] = seed >> 28 & 1 ? AF_INET : AF_INET6;
        }
        send(fd, &r, n, 0);
        recv(fd, answers, sizeof(answers), 0);
        close(fd);
    }
    int fd = open_socket(NETLINK_ROUTE);
    struct request q = {.link.ifi_index = 1};
    ask(fd, &q, RTM_GETLINK, 0, sizeof(q.link));
    CHECK(((struct nlmsghdr *)answers)->nlmsg_type == RTM_NEWLINK);
    close(fd);
}

static void proc_has_the_inodes(void)
{
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    int port = bound_port(s);
    struct stat st;
    char want[64], path[64], link[64] = "", *line = NULL;
    size_t size = 0;
    bool found = false;
    CHECK(fstat(s, &st) == 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", s);
    snprintf(want, sizeof(want), "socket:[%lu]", (unsigned long)st.st_ino);
    CHECK(readlink(path, link, sizeof(link) - 1) > 0 && !strcmp(link, want));
    FILE *f = fopen("/proc/net/udp", "r");
    CHECK(f);
    while (getline(&line, &size, f) > 0) {
        unsigned long ino;
        unsigned local;
        if (sscanf(line, " %*d: %*8x:%x %*s %*s %*s %*s %*s %*d %*d %lu", &local, &ino) == 2)
            found |= local == (unsigned)port && ino == st.st_ino;
    }
    fclose(f), free(line), close(s);
    CHECK(found);
}

int main(void)
{
    own_network();
    CASE(arguments_are_checked);
    CASE(ports_are_the_process_first);
    CASE(options_are_told);
    CASE(links_are_dumped);
    CASE(read_and_write_are_messages);
    CASE(one_link_is_told);
    CASE(requests_are_acknowledged);
    CASE(addresses_are_dumped);
    CASE(addresses_come_and_go);
    CASE(groups_are_joined);
    CASE(changes_are_told);
    CASE(losses_are_told);
    CASE(wrong_addresses_are_refused);
    CASE(routes_come_and_go);
    CASE(wrong_routes_are_refused);
    CASE(the_way_to_an_address_is_told);
    CASE(neighbours_are_dumped);
    CASE(truncated_answers_are_lost);
    CASE(listeners_are_found);
    CASE(connections_are_found);
    CASE(datagram_sockets_are_found);
    CASE(unix_sockets_are_found);
    CASE(unknown_families_are_refused);
    CASE(proc_has_the_inodes);
    CASE(nonsense_is_survived);
    return check_result();
}
