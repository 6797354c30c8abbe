/*
 * The server of the network tests: answers every UDP datagram with the same bytes, and every TCP
 * connection with what it receives, on IPv4 and IPv6.
 *
 *   netecho PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char buf[65536];

static int open_socket(int type, uint16_t port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(AF_INET6, type, 0), off = 0, on = 1;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a))) {
        perror("netecho");
        exit(1);
    }
    return fd;
}

static void answer_datagram(int fd)
{
    struct sockaddr_in6 peer;
    socklen_t len = sizeof(peer);
    ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&peer, &len);
    if (n >= 0 && sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&peer, len) != n)
        perror("netecho: sendto");
}

/* 0 when the connection has ended. */
static int answer_stream(int fd)
{
    ssize_t n = read(fd, buf, sizeof(buf));
    for (ssize_t sent = 0, m; n > 0 && sent < n; sent += m)
        if ((m = send(fd, buf + sent, (size_t)(n - sent), MSG_NOSIGNAL)) < 0)
            return 0;
    return n > 0;
}

int main(int argc, char **argv)
{
    uint16_t port = argc == 2 ? (uint16_t)atoi(argv[1]) : 0;
    int udp = open_socket(SOCK_DGRAM, port), tcp = open_socket(SOCK_STREAM, port);
    int ep = epoll_create1(0);
    listen(tcp, 4096);
    epoll_ctl(ep, EPOLL_CTL_ADD, udp, &(struct epoll_event){EPOLLIN, {.fd = udp}});
    epoll_ctl(ep, EPOLL_CTL_ADD, tcp, &(struct epoll_event){EPOLLIN, {.fd = tcp}});
    for (;;) {
        struct epoll_event e[64];
        int n = epoll_wait(ep, e, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = e[i].data.fd;
            if (fd == udp) {
                answer_datagram(fd);
            } else if (fd == tcp) {
                int c = accept(tcp, NULL, NULL);
                epoll_ctl(ep, EPOLL_CTL_ADD, c, &(struct epoll_event){EPOLLIN, {.fd = c}});
            } else if (!answer_stream(fd)) {
                close(fd);
            }
        }
    }
}
