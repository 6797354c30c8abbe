/* Packet sockets, filters and raw sockets on the loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "check.h"
#include "network.h"

#define LO 1

static int set(int fd, int level, int name, int v)
{
    return setsockopt(fd, level, name, &v, sizeof(v));
}

static int packet(int type, int proto)
{
    int fd = socket(AF_PACKET, type, htons((unsigned short)proto));
    struct timeval tv = {2, 0};
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    return fd;
}

static int on_lo(int fd, int proto)
{
    struct sockaddr_ll a = {
        .sll_family = AF_PACKET, .sll_protocol = htons((unsigned short)proto), .sll_ifindex = LO};
    CHECK(bind(fd, (void *)&a, sizeof(a)) == 0);
    return fd;
}

static int udp_on(struct sockaddr_in *a)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    socklen_t len = sizeof(*a);
    *a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    CHECK(bind(fd, (void *)a, len) == 0 && getsockname(fd, (void *)a, &len) == 0);
    return fd;
}

static int attach(int fd, struct sock_filter *code, unsigned short n)
{
    struct sock_fprog p = {n, code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &p, sizeof(p));
}

/* Accepts UDP to this port; the offsets are of frames. */
static int only_port(int fd, int port, unsigned at)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, at + 9),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 4),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, at),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, at + 2),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)port, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0x40000),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    return attach(fd, code, sizeof(code) / sizeof(code[0]));
}

static void arguments_are_checked(void)
{
    CHECK_ERRNO(socket(AF_PACKET, SOCK_STREAM, 0), ESOCKTNOSUPPORT);
    int fd = packet(SOCK_RAW, ETH_P_ALL);
    struct sockaddr_ll a = {.sll_family = AF_INET, .sll_ifindex = LO};
    CHECK_ERRNO(bind(fd, (void *)&a, sizeof(a)), EINVAL);
    a.sll_family = AF_PACKET;
    CHECK_ERRNO(bind(fd, (void *)&a, 4), EINVAL);
    a.sll_ifindex = 999;
    CHECK_ERRNO(bind(fd, (void *)&a, sizeof(a)), ENODEV);
    CHECK_ERRNO(connect(fd, (void *)&a, sizeof(a)), EOPNOTSUPP);
    CHECK_ERRNO(listen(fd, 1), EOPNOTSUPP);
    CHECK_ERRNO(shutdown(fd, SHUT_RD), EOPNOTSUPP);
    CHECK_ERRNO(getpeername(fd, (void *)&a, &(socklen_t){sizeof(a)}), EOPNOTSUPP);
    CHECK_ERRNO(send(fd, "x", 1, 0), ENXIO);
    CHECK_ERRNO(set(fd, SOL_PACKET, 999, 1), ENOPROTOOPT);
    close(fd);
}

static void names_have_the_hardware(void)
{
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_IP), v;
    struct sockaddr_ll a;
    socklen_t len = sizeof(a), n = sizeof(v);
    CHECK(getsockname(fd, (void *)&a, &len) == 0 && len == 18);
    CHECK(a.sll_family == AF_PACKET && a.sll_protocol == htons(ETH_P_IP) && a.sll_ifindex == LO);
    CHECK(a.sll_hatype == 772 && a.sll_halen == 6);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &v, &n) == 0 && v == AF_PACKET);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &n) == 0 && v == SOCK_RAW);
    close(fd);
}

static void frames_come_with_headers(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_IP), u = udp_on(&a);
    char b[256];
    struct sockaddr_ll from;
    socklen_t len = sizeof(from);
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(sendto(u, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    CHECK(recvfrom(fd, b, sizeof(b), 0, (void *)&from, &len) == 14 + 20 + 8 + 5);
    CHECK(b[12] == 8 && b[13] == 0 && (b[14] >> 4) == 4 && !memcmp(b + 42, "hello", 5));
    CHECK(len == sizeof(from) || len == 18 || len == 20);
    CHECK(from.sll_protocol == htons(ETH_P_IP) && from.sll_ifindex == LO);
    CHECK(from.sll_pkttype == PACKET_HOST && from.sll_hatype == 772 && from.sll_halen == 6);
    close(fd), close(u);
}

static void cooked_frames_have_none(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_DGRAM, 0), ETH_P_IP), u = udp_on(&a);
    char b[256];
    CHECK(only_port(fd, ntohs(a.sin_port), 0) == 0);
    CHECK(sendto(u, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    CHECK(recv(fd, b, sizeof(b), 0) == 20 + 8 + 5 && (b[0] >> 4) == 4);
    close(fd), close(u);
}

static void long_frames_are_cut(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_IP), u = udp_on(&a);
    char b[20];
    struct iovec v = {b, sizeof(b)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(sendto(u, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    CHECK(sendto(u, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    CHECK(recvmsg(fd, &m, 0) == 20 && m.msg_flags & MSG_TRUNC);
    CHECK(recv(fd, b, sizeof(b), MSG_TRUNC) == 47);
    close(fd), close(u);
}

static void both_directions_are_seen(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_ALL), u = udp_on(&a);
    struct sockaddr_ll from;
    socklen_t len = sizeof(from);
    char b[100];
    int seen = 0;
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(sendto(u, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    for (int i = 0; i < 2; i++) {
        CHECK(recvfrom(fd, b, sizeof(b), 0, (void *)&from, &len) == 43);
        seen |= 1 << from.sll_pkttype;
    }
    CHECK(seen == (1 << PACKET_HOST | 1 << PACKET_OUTGOING));
    CHECK(set(fd, SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, 1) == 0);
    CHECK(sendto(u, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvfrom(fd, b, sizeof(b), 0, (void *)&from, &len) == 43);
    CHECK(from.sll_pkttype == PACKET_HOST);
    CHECK_ERRNO(recv(fd, b, sizeof(b), MSG_DONTWAIT), EAGAIN);
    close(fd), close(u);
}

static void statistics_are_counted(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_IP), u = udp_on(&a);
    struct tpacket_stats s;
    socklen_t len = sizeof(s);
    char b[100];
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(sendto(u, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    for (int i = 0; i < 3; i++)
        CHECK(recv(fd, b, sizeof(b), 0) == 43);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) == 0 && len == sizeof(s));
    CHECK(s.tp_packets == 3 && s.tp_drops == 0);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) == 0 && s.tp_packets == 0);
    close(fd), close(u);
}

static void auxiliary_data_is_told(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_IP), u = udp_on(&a);
    char b[40], control[256];
    struct iovec v = {b, sizeof(b)};
    struct msghdr m = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    CHECK(set(fd, SOL_PACKET, PACKET_AUXDATA, 1) == 0);
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(sendto(u, "hello", 5, 0, (void *)&a, sizeof(a)) == 5);
    CHECK(recvmsg(fd, &m, 0) == 40);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    CHECK(c && c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_AUXDATA);
    struct tpacket_auxdata *x = (void *)CMSG_DATA(c);
    CHECK(x->tp_len == 47 && x->tp_status & TP_STATUS_USER && x->tp_net == 14);
    close(fd), close(u);
}

static void frames_are_sent(void)
{
    int in = on_lo(packet(SOCK_RAW, 0), 0x88b5), raw = packet(SOCK_RAW, 0),
        cooked = packet(SOCK_DGRAM, 0);
    static char big[70000];
    char b[64], f[16] = "\1\2\3\4\5\6\7\7\7\7\7\7\x88\xb5!";
    struct sockaddr_ll to = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(0x88b5),
                             .sll_ifindex = LO,
                             .sll_halen = 6,
                             .sll_addr = {9, 8, 7, 6, 5, 4}};
    CHECK(sendto(cooked, "hi", 2, 0, (void *)&to, sizeof(to)) == 2);
    CHECK(recv(in, b, sizeof(b), 0) == 16 && !memcmp(b, to.sll_addr, 6));
    CHECK(!memcmp(b + 12, "\x88\xb5hi", 4));
    CHECK(sendto(raw, f, sizeof(f), 0, (void *)&to, sizeof(to)) == sizeof(f));
    CHECK(recv(in, b, sizeof(b), 0) == 16 && !memcmp(b, f, sizeof(f)));
    CHECK_ERRNO(sendto(raw, f, 13, 0, (void *)&to, sizeof(to)), EINVAL);
    CHECK_ERRNO(sendto(cooked, big, sizeof(big), 0, (void *)&to, sizeof(to)), EMSGSIZE);
    CHECK_ERRNO(sendto(cooked, f, 2, 0, (void *)&to, 10), EINVAL);
    to.sll_family = 0; /* nobody asks for it */
    CHECK(sendto(raw, f, sizeof(f), 0, (void *)&to, sizeof(to)) == sizeof(f));
    CHECK(recv(in, b, sizeof(b), 0) == 16 && !memcmp(b, f, sizeof(f)));
    to.sll_ifindex = 999;
    CHECK_ERRNO(sendto(cooked, f, 2, 0, (void *)&to, sizeof(to)), ENXIO);
    close(in), close(raw), close(cooked);
}

static void promiscuity_is_counted(void)
{
    int fd = packet(SOCK_RAW, 0);
    struct packet_mreq m = {.mr_ifindex = LO, .mr_type = PACKET_MR_PROMISC};
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)) == 0);
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &m, sizeof(m)) == 0);
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &m, sizeof(m)) == 0);
    m.mr_ifindex = 999;
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof(m)), ENODEV);
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, 4), EINVAL);
    close(fd);
}

static void rings_are_checked(void)
{
    int fd = packet(SOCK_RAW, 0), v = TPACKET_V2;
    socklen_t len = sizeof(v);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &v, &len) == 0);
    CHECK(v == sizeof(struct tpacket2_hdr));
    v = 99;
    CHECK_ERRNO(getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &v, &len), EINVAL);
    CHECK_ERRNO(set(fd, SOL_PACKET, PACKET_VERSION, 99), EINVAL);
    CHECK(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2) == 0);
    struct tpacket_req q = {4096, 4, 2048, 9};
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)), EINVAL);
    q = (struct tpacket_req){4000, 4, 2000, 8};
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)), EINVAL);
    q = (struct tpacket_req){4096, 4, 2040, 8};
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)), EINVAL);
    q = (struct tpacket_req){4096, 4, 2048, 8};
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)) == 0);
    CHECK_ERRNO(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)), EBUSY);
    CHECK_ERRNO(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V1), EBUSY);
    close(fd);
}

static void rings_carry_frames(void)
{
    struct sockaddr_in a;
    int fd = packet(SOCK_RAW, 0), u = udp_on(&a);
    struct tpacket_req q = {8192, 2, 2048, 8};
    CHECK(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2) == 0);
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)) == 0);
    char *ring = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(ring != MAP_FAILED);
    on_lo(fd, ETH_P_IP);
    for (int i = 0; i < 12; i++) {
        struct tpacket2_hdr *h = (void *)(ring + i % 8 * 2048);
        struct pollfd p = {fd, POLLIN, 0};
        CHECK(h->tp_status == TP_STATUS_KERNEL);
        CHECK(sendto(u, &i, 4, 0, (void *)&a, sizeof(a)) == 4);
        CHECK(poll(&p, 1, 2000) == 1 && p.revents & POLLIN);
        CHECK(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER);
        CHECK(h->tp_len == 46 && h->tp_snaplen == 46 && h->tp_sec);
        CHECK(!memcmp((char *)h + h->tp_mac + 42, &i, 4) && h->tp_net == h->tp_mac + 14);
        struct sockaddr_ll *ll = (void *)((char *)h + TPACKET_ALIGN(sizeof(*h)));
        CHECK(ll->sll_family == AF_PACKET && ll->sll_ifindex == LO);
        __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    CHECK(munmap(ring, 16384) == 0);
    close(fd), close(u);
}

static void full_rings_drop(void)
{
    struct sockaddr_in a;
    int fd = packet(SOCK_RAW, 0), u = udp_on(&a);
    struct tpacket_req q = {4096, 1, 2048, 2};
    struct tpacket_stats s;
    socklen_t len = sizeof(s);
    CHECK(set(fd, SOL_PACKET, PACKET_VERSION, TPACKET_V2) == 0);
    CHECK(only_port(fd, ntohs(a.sin_port), 14) == 0);
    CHECK(setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)) == 0);
    on_lo(fd, ETH_P_IP);
    for (int i = 0; i < 5; i++)
        CHECK(sendto(u, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    usleep(20000);
    CHECK(getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &s, &len) == 0);
    CHECK(s.tp_packets == 5 && s.tp_drops == 3);
    close(fd), close(u);
}

static void filters_are_checked(void)
{
    int fd = packet(SOCK_RAW, 0), v = 0;
    struct sock_filter no_end[] = {BPF_STMT(BPF_LD | BPF_IMM, 1)};
    struct sock_filter beyond[] = {BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
                                   BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_filter memory[] = {BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_filter by_zero[] = {BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0),
                                    BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_filter unknown[] = {{0xff, 0, 0, 0}, BPF_STMT(BPF_RET | BPF_K, 0)};
    struct sock_filter good[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
    CHECK_ERRNO(attach(fd, no_end, 1), EINVAL);
    CHECK_ERRNO(attach(fd, beyond, 2), EINVAL);
    CHECK_ERRNO(attach(fd, memory, 2), EINVAL);
    CHECK_ERRNO(attach(fd, by_zero, 2), EINVAL);
    CHECK_ERRNO(attach(fd, unknown, 2), EINVAL);
    CHECK_ERRNO(attach(fd, good, 0), EINVAL);
    CHECK_ERRNO(attach(fd, (void *)16, 1), EFAULT);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, good, 4), EINVAL);
    CHECK_ERRNO(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof(v)), ENOENT);
    CHECK(attach(fd, good, 1) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof(v)) == 0);
    CHECK(set(fd, SOL_SOCKET, SO_LOCK_FILTER, 1) == 0);
    CHECK_ERRNO(attach(fd, good, 1), EPERM);
    CHECK_ERRNO(set(fd, SOL_SOCKET, SO_LOCK_FILTER, 0), EPERM);
    close(fd);
}

static void filters_compute(void)
{
    struct sockaddr_in a;
    int fd = udp_on(&a);
    char b[64];
    /* ((len * 3 + 1) ^ 5) % 7 and so on, through memory and X; the result is the length. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
        BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 3),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
        BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 5),
        BPF_STMT(BPF_ST, 3),
        BPF_STMT(BPF_LDX | BPF_MEM, 3),
        BPF_STMT(BPF_MISC | BPF_TXA, 0),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 7),
        BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2),
        BPF_STMT(BPF_ALU | BPF_OR | BPF_K, 1),
        BPF_STMT(BPF_ALU | BPF_NEG, 0),
        BPF_STMT(BPF_ALU | BPF_NEG, 0),
        BPF_STMT(BPF_MISC | BPF_TAX, 0),
        BPF_STMT(BPF_LD | BPF_IMM, 10),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    CHECK(attach(fd, code, sizeof(code) / sizeof(code[0])) == 0);
    CHECK(sendto(fd, "0123456789abcdef0123", 20, 0, (void *)&a, sizeof(a)) == 20);
    /* len 28 with the UDP header: 85 ^ 5 = 80, % 7 = 3, << 2 | 1 = 13, + 10 = 23 bytes kept */
    CHECK(recv(fd, b, sizeof(b), 0) == 15);
    close(fd);
}

static void filters_drop_datagrams(void)
{
    struct sockaddr_in a;
    int fd = udp_on(&a), v = 0;
    char b[8];
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), /* the first byte behind the UDP header */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 'y', 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0x40000),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    CHECK(attach(fd, code, 4) == 0);
    CHECK(sendto(fd, "n", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(sendto(fd, "", 0, 0, (void *)&a, sizeof(a)) == 0); /* a load beyond the end drops */
    CHECK(sendto(fd, "y", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recv(fd, b, sizeof(b), 0) == 1 && b[0] == 'y');
    CHECK_ERRNO(recv(fd, b, sizeof(b), MSG_DONTWAIT), EAGAIN);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &v, sizeof(v)) == 0);
    CHECK(sendto(fd, "n", 1, 0, (void *)&a, sizeof(a)) == 1 && recv(fd, b, sizeof(b), 0) == 1);
    close(fd);
}

static void filters_know_the_packet(void)
{
    struct sockaddr_in a;
    int fd = on_lo(packet(SOCK_RAW, 0), ETH_P_ALL), u = udp_on(&a);
    struct sockaddr_ll from;
    socklen_t len = sizeof(from);
    char b[100];
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_IFINDEX)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, LO, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PROTOCOL)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (unsigned)(SKF_NET_OFF + 9)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 20),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    CHECK(attach(fd, code, sizeof(code) / sizeof(code[0])) == 0);
    CHECK(sendto(u, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recvfrom(fd, b, sizeof(b), 0, (void *)&from, &len) == 20);
    CHECK(from.sll_pkttype == PACKET_OUTGOING);
    CHECK_ERRNO(recv(fd, b, sizeof(b), MSG_DONTWAIT), EAGAIN);
    close(fd), close(u);
}

static int ping_socket(int type, int family)
{
    int fd = socket(family, type, family == AF_INET ? IPPROTO_ICMP : (int)IPPROTO_ICMPV6);
    struct timeval tv = {2, 0};
    CHECK(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == 0);
    return fd;
}

static unsigned short icmp_sum(const void *data, size_t n)
{
    const unsigned short *w = data;
    unsigned sum = 0;
    for (size_t i = 0; i < n / 2; i++)
        sum += w[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (unsigned short)~sum;
}

static void raw_sockets_see_headers(void)
{
    int fd = ping_socket(SOCK_RAW, AF_INET);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct icmphdr e = {.type = ICMP_ECHO, .un.echo = {htons(77), htons(1)}};
    unsigned char b[128];
    e.checksum = icmp_sum(&e, sizeof(e));
    CHECK(sendto(fd, &e, sizeof(e), 0, (void *)&a, sizeof(a)) == sizeof(e));
    for (;;) { /* the request too comes to raw sockets */
        CHECK(recv(fd, b, sizeof(b), 0) == 28 && b[0] == 0x45 && b[9] == IPPROTO_ICMP);
        if (b[20] == ICMP_ECHOREPLY)
            break;
    }
    CHECK(!memcmp(b + 24, &(unsigned short[]){htons(77), htons(1)}, 4));
    close(fd);
}

static void icmp_filters_drop_types(void)
{
    int fd = ping_socket(SOCK_RAW, AF_INET);
    struct icmp_filter_k {
        unsigned data;
    } f = {~(1u << ICMP_ECHOREPLY)}, got;
    socklen_t len = sizeof(got);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct icmphdr e = {.type = ICMP_ECHO, .un.echo = {htons(78), htons(2)}};
    unsigned char b[128];
    e.checksum = icmp_sum(&e, sizeof(e));
    CHECK(setsockopt(fd, SOL_RAW, 1 /* ICMP_FILTER */, &f, sizeof(f)) == 0);
    CHECK(getsockopt(fd, SOL_RAW, 1, &got, &len) == 0 && got.data == f.data && len == 4);
    CHECK(sendto(fd, &e, sizeof(e), 0, (void *)&a, sizeof(a)) == sizeof(e));
    CHECK(recv(fd, b, sizeof(b), 0) == 28 && b[20] == ICMP_ECHOREPLY);
    close(fd);
}

static void raw_ipv6_has_no_header(void)
{
    int fd = ping_socket(SOCK_RAW, AF_INET6);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    struct icmp6_hdr e = {.icmp6_type = ICMP6_ECHO_REQUEST, .icmp6_id = htons(5)};
    struct icmp6_filter f;
    unsigned char b[128];
    ICMP6_FILTER_SETBLOCKALL(&f);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &f);
    CHECK(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &f, sizeof(f)) == 0);
    CHECK(sendto(fd, &e, sizeof(e), 0, (void *)&a, sizeof(a)) == sizeof(e));
    CHECK(recv(fd, b, sizeof(b), 0) == 8 && b[0] == ICMP6_ECHO_REPLY);
    CHECK_ERRNO(set(fd, IPPROTO_IPV6, IPV6_CHECKSUM, 4), EINVAL);
    close(fd);
}

static void written_headers_are_sent(void)
{
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), in = ping_socket(SOCK_RAW, AF_INET), v = 0;
    socklen_t len = sizeof(v);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct {
        struct iphdr ip;
        struct icmphdr e;
    } f = {.ip = {.version = 4,
                  .ihl = 5,
                  .ttl = 77,
                  .protocol = IPPROTO_ICMP,
                  .daddr = htonl(INADDR_LOOPBACK)},
           .e = {.type = ICMP_ECHO, .un.echo = {htons(99), htons(3)}}};
    unsigned char b[128];
    f.e.checksum = icmp_sum(&f.e, sizeof(f.e));
    CHECK(getsockopt(fd, IPPROTO_IP, IP_HDRINCL, &v, &len) == 0 && v == 1);
    CHECK(sendto(fd, &f, sizeof(f), 0, (void *)&a, sizeof(a)) == sizeof(f));
    for (;;) {
        CHECK(recv(in, b, sizeof(b), 0) == 28);
        if (b[20] == ICMP_ECHO && b[24] == 0 && b[25] == 99)
            break;
    }
    CHECK(b[8] == 77 && !memcmp(b + 12, &a.sin_addr, 4));
    CHECK_ERRNO(sendto(fd, "x", 1, 0, (void *)&a, sizeof(a)), EINVAL);
    close(fd), close(in);
}

static void raw_arguments_are_checked(void)
{
    CHECK_ERRNO(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
    int fd = ping_socket(SOCK_RAW, AF_INET);
    CHECK_ERRNO(send(fd, "x", 1, 0), EDESTADDRREQ);
    CHECK_ERRNO(listen(fd, 1), EOPNOTSUPP);
    CHECK_ERRNO(set(fd, SOL_RAW, 99, 1), ENOPROTOOPT);
    CHECK_ERRNO(recv(fd, &(char){0}, 1, MSG_DONTWAIT), EAGAIN);
    close(fd);
}

static void ports_nobody_has_are_told_to_raw_sockets(void)
{
    struct sockaddr_in a;
    close(udp_on(&a));
    int fd = ping_socket(SOCK_RAW, AF_INET), u = socket(AF_INET, SOCK_DGRAM, 0);
    unsigned char b[128];
    CHECK(sendto(u, "x", 1, 0, (void *)&a, sizeof(a)) == 1);
    CHECK(recv(fd, b, sizeof(b), 0) >= 48 && b[20] == ICMP_DEST_UNREACH);
    CHECK(b[21] == ICMP_PORT_UNREACH && b[28] == 0x45 && b[37] == IPPROTO_UDP);
    close(fd), close(u);
}

int main(void)
{
    own_network();
    CASE(arguments_are_checked);
    CASE(names_have_the_hardware);
    CASE(frames_come_with_headers);
    CASE(cooked_frames_have_none);
    CASE(long_frames_are_cut);
    CASE(both_directions_are_seen);
    CASE(statistics_are_counted);
    CASE(auxiliary_data_is_told);
    CASE(frames_are_sent);
    CASE(promiscuity_is_counted);
    CASE(rings_are_checked);
    CASE(rings_carry_frames);
    CASE(full_rings_drop);
    CASE(filters_are_checked);
    CASE(filters_compute);
    CASE(filters_drop_datagrams);
    CASE(filters_know_the_packet);
    CASE(raw_arguments_are_checked);
    CASE(raw_sockets_see_headers);
    CASE(icmp_filters_drop_types);
    CASE(raw_ipv6_has_no_header);
    CASE(written_headers_are_sent);
    CASE(ports_nobody_has_are_told_to_raw_sockets);
    return check_result();
}
