/*
 * The other end of hold: answers its requests, each checked byte by byte, on any number of
 * connections.
 *
 *   holdpeer PORT [FAULT]
 *
 * It complains of a request that is not the next of its connection or has a wrong byte, and ends
 * that connection. With FAULT it misbehaves at the 50th request of connection 3, so that it can be
 * seen that hold notices: reset, eof, byte (a wrong one), duplicate (a response twice), missing (a
 * response left out), stall (no connection is served for 300 ms), silence (of that connection, for
 * ever).
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hold_wire.h"

#define FAULTY_CONNECTION 3
#define FAULTY_SEQUENCE 50
#define STALL_NS 300000000

struct client {
    int fd;
    bool known;          /* the connection's id is */
    bool sending;        /* out is not sent yet; requests wait */
    bool last;           /* out is a complaint: the connection ends with it */
    uint32_t connection; /* its id, from its first request */
    uint64_t expected;   /* sequence number */
    struct hold_transfer in, out;
};

static int ep;
static const char *fault = "";

static int listen_on(int port)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = socket(AF_INET6, SOCK_STREAM, 0), on = 1, off = 0;

    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1024)) {
        perror("holdpeer");
        exit(1);
    }
    return fd;
}

static void watch(struct client *c, int op)
{
    struct epoll_event e = {c->sending ? EPOLLOUT : EPOLLIN, {.ptr = c}};

    if (epoll_ctl(ep, op, c->fd, &e)) {
        perror("holdpeer: epoll_ctl");
        exit(1);
    }
}

static void accept_client(int listener)
{
    int fd = accept(listener, NULL, NULL), on = 1;

    if (fd < 0)
        return;
    struct client *c = calloc(1, sizeof(*c));
    if (!c) {
        perror("holdpeer");
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->fd = fd;
    watch(c, EPOLL_CTL_ADD);
}

static void end(struct client *c)
{
    close(c->fd);
    free(c);
}

/* Sends the response with zeros for its body. */
static void send_wrong_bytes(const struct client *c)
{
    static char zeros[HOLD_MAX_BODY];

    if (send(c->fd, &c->out.m, sizeof(c->out.m), MSG_MORE) < 0 ||
        send(c->fd, zeros, c->out.m.response_body, 0) < 0)
        perror("holdpeer");
}

/* Misbehaves. Returns whether the request is to be answered. */
static bool misbehave(struct client *c)
{
    struct linger hard = {1, 0};

    if (!strcmp(fault, "stall")) {
        nanosleep(&(struct timespec){.tv_nsec = STALL_NS}, NULL);
        return true;
    }
    if (!strcmp(fault, "duplicate") || !strcmp(fault, "missing")) {
        c->out.m.sequence += fault[0] == 'd' ? -1 : 1;
        return true;
    }
    if (!strcmp(fault, "byte"))
        send_wrong_bytes(c);
    if (!strcmp(fault, "silence") || !strcmp(fault, "byte")) {
        epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
        return false;
    }
    if (!strcmp(fault, "reset"))
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    end(c);
    return false;
}

static enum hold_result check(struct client *c)
{
    const struct hold_message *m = &c->in.m;

    if (!c->known) {
        c->connection = m->connection;
        c->known = true;
    }
    if (m->kind != HOLD_REQUEST || m->connection != c->connection)
        return HOLD_WRONG_HEADER;
    return hold_check_sequence(m->sequence, c->expected);
}

/* Takes in more of a request. Returns whether there is something to send. */
static bool receive(struct client *c, enum hold_result *r)
{
    *r = hold_receive(c->fd, &c->in);
    if (*r == HOLD_HEADER && (*r = check(c)) == HOLD_WHOLE)
        *r = hold_receive(c->fd, &c->in);
    if (*r == HOLD_MORE || *r == HOLD_EOF || *r == HOLD_ERROR)
        return false;
    c->last = *r != HOLD_WHOLE;
    if (c->last) {
        c->out.m = (struct hold_message){.kind = HOLD_COMPLAINT,
                                         .connection = c->connection,
                                         .sequence = c->expected,
                                         .result = *r};
    } else {
        c->out.m = c->in.m;
        c->out.m.kind = HOLD_RESPONSE;
    }
    c->expected++;
    return true;
}

static void serve(struct client *c)
{
    bool was_sending = c->sending;
    enum hold_result r;

    if (!c->sending) {
        c->sending = receive(c, &r);
        if (r == HOLD_EOF || r == HOLD_ERROR) {
            end(c);
            return;
        }
        if (c->sending && *fault && c->connection == FAULTY_CONNECTION &&
            c->expected == FAULTY_SEQUENCE && !misbehave(c))
            return;
    }
    if (c->sending) {
        r = hold_send(c->fd, &c->out);
        if (r == HOLD_ERROR || (r == HOLD_WHOLE && c->last)) {
            end(c);
            return;
        }
        c->sending = r == HOLD_MORE;
    }
    if (c->sending != was_sending)
        watch(c, EPOLL_CTL_MOD);
}

int main(int argc, char **argv)
{
    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: holdpeer PORT [FAULT]\n");
        return 2;
    }
    int listener = listen_on(atoi(argv[1]));
    fault = argc == 3 ? argv[2] : "";
    ep = epoll_create1(0);
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &(struct epoll_event){EPOLLIN, {.ptr = NULL}});
    for (;;) {
        struct epoll_event e[64];
        int n = epoll_wait(ep, e, 64, -1);
        for (int i = 0; i < n; i++) {
            if (e[i].data.ptr)
                serve(e[i].data.ptr);
            else
                accept_client(listener);
        }
    }
}
