/*
 * A memcached load generator: keeps CONNECTIONS busy with pipelined "get" requests of one key until
 * REQUESTS answers have come back, each compared with the value that was set. One line of JSON:
 *
 *   mcload HOST PORT CONNECTIONS REQUESTS DEPTH
 *   {"requests": 100000, "errors": 0, "seconds": 1.234, "rate": 81037.3}
 *
 * Exit status 0 if there was no error. Every socket operation is bounded by a time limit.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#define KEY "key:0000000001"
#define VALUE_SIZE 100
#define IDLE_LIMIT_MS 10000
#define MAX_DEPTH 64

static const char request[] = "get " KEY "\r\n";
static char answer[256];
static size_t answer_len;

struct connection {
    int fd;
    size_t matched; /* bytes of the current answer seen so far */
    unsigned in_flight;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(const char *host, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = IDLE_LIMIT_MS / 1000};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool store_value(const char *host, int port)
{
    char value[VALUE_SIZE + 1], text[512], reply[16] = "";
    memset(value, 'x', VALUE_SIZE);
    value[VALUE_SIZE] = 0;
    int fd = dial(host, port);
    if (fd < 0)
        return false;
    int n = snprintf(text, sizeof(text), "set " KEY " 0 0 %d\r\n%s\r\n", VALUE_SIZE, value);
    bool ok = send(fd, text, (size_t)n, 0) == n && recv(fd, reply, 8, MSG_WAITALL) == 8 &&
              !memcmp(reply, "STORED\r\n", 8);
    close(fd);
    answer_len = (size_t)snprintf(answer, sizeof(answer), "VALUE " KEY " 0 %d\r\n%s\r\nEND\r\n",
                                  VALUE_SIZE, value);
    return ok;
}

static bool ask(struct connection *c, unsigned count)
{
    char text[MAX_DEPTH * sizeof(request)];
    size_t n = 0;
    for (unsigned i = 0; i < count; i++, n += sizeof(request) - 1)
        memcpy(text + n, request, sizeof(request) - 1);
    c->in_flight += count;
    return send(c->fd, text, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* Takes in what has arrived; the number of whole answers, or -1. */
static int take_answers(struct connection *c)
{
    char buf[16384];
    ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    int whole = 0;
    for (ssize_t i = 0; i < n; i++) {
        if (buf[i] != answer[c->matched])
            return -1;
        if (++c->matched == answer_len) {
            c->matched = 0;
            c->in_flight--;
            whole++;
        }
    }
    return whole;
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: mcload HOST PORT CONNECTIONS REQUESTS DEPTH\n");
        return 2;
    }
    const char *host = argv[1];
    int port = atoi(argv[2]), connections = atoi(argv[3]);
    long requests = atol(argv[4]), done = 0, errors = 0, asked = 0;
    unsigned depth = (unsigned)atoi(argv[5]);
    if (depth < 1 || depth > MAX_DEPTH || connections < 1 || requests < 1) {
        fprintf(stderr, "mcload: depth is 1 to %d, the others at least 1\n", MAX_DEPTH);
        return 2;
    }
    if (!store_value(host, port)) {
        fprintf(stderr, "mcload: cannot store the value at %s:%d: %s\n", host, port,
                strerror(errno));
        return 1;
    }
    struct connection *all = calloc((size_t)connections, sizeof(*all));
    int ep = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &all[i]};
        if ((all[i].fd = dial(host, port)) < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e) < 0) {
            fprintf(stderr, "mcload: cannot connect: %s\n", strerror(errno));
            return 1;
        }
    }
    double start = now();
    for (int i = 0; i < connections && asked < requests; i++, asked += depth)
        errors += !ask(&all[i], depth);
    while (done < requests && !errors) {
        struct epoll_event events[64];
        int n = epoll_wait(ep, events, 64, IDLE_LIMIT_MS);
        if (n <= 0) {
            fprintf(stderr, "mcload: no answer within %d ms\n", IDLE_LIMIT_MS);
            errors++;
        }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            int whole = take_answers(c);
            if (whole < 0) {
                errors++;
                continue;
            }
            done += whole;
            if (c->in_flight == 0 && asked < requests) {
                errors += !ask(c, depth);
                asked += depth;
            }
        }
    }
    double seconds = now() - start;
    printf("{\"requests\": %ld, \"errors\": %ld, \"seconds\": %.3f, \"rate\": %.1f}\n", done,
           errors, seconds, (double)done / seconds);
    return errors != 0;
}
