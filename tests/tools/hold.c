/*
 * Measures from outside what a program in a domain looks like to its clients: holds many TCP
 * connections to holdpeer, keeps a request/response going on each and a bulk transfer each way,
 * checks every byte, and records every stall and every error (hold_record.h).
 *
 *   hold [OPTIONS] ADDRESS PORT
 *     -c N        connections with request/response, 200
 *     -i LO-HI    milliseconds from a response to the next request of that connection, 20-50
 *     -b MIB      of each bulk transfer, 100; 0: none
 *     -r MIB      per second of each bulk transfer; 0, the default: as fast as it goes
 *     -s SECONDS  how long; 0, the default: until SIGTERM or SIGINT
 *     -t SECONDS  a request not answered within that is an error, 30
 *     -l MS       a response time from which it is recorded, 20
 *     -g MS       an outage from which it is recorded, 0.5
 *     -o FILE     gets the record, as JSON
 *
 * At its end the bulk transfers are completed as fast as it goes.
 *
 * Prints {"ready": true} when every connection had a response; at each SIGUSR1, and at the end, a
 * line of figures since the last. Exit status: 0, or 1 if there was any error, 2 if it could not
 * begin.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hold_record.h"
#include "hold_wire.h"

#define MAX_TALK_BODY 1024
#define CHUNK (256u << 10) /* of a bulk transfer: one request */
#define BULK_DEPTH 4       /* chunks asked for at a time */
#define MS 1000000u

enum kind { TALK, UP, DOWN };

struct asked {
    struct hold_message m;
    uint64_t at;
};

struct connection {
    int fd; /* -1: it failed */
    enum kind kind;
    bool sending; /* out is not sent yet */
    bool blocked; /* ... and waits for the socket */
    struct hold_transfer in, out;
    struct asked asked[BULK_DEPTH];
    uint64_t next, answered; /* sequence numbers: to ask, to be answered */
    uint64_t due;            /* when to ask next */
    uint64_t left;           /* bytes of a bulk transfer to ask for */
};

static struct {
    struct sockaddr_in address;
    unsigned talkers, connections; /* with the two of the bulk transfers */
    uint64_t pause_low, pause_high, bulk_pause, bulk, length, limit, slow, outage; /* ns, bytes */
    const char *output;
} opt = {
    .talkers = 200,
    .pause_low = 20 * MS,
    .pause_high = 50 * MS,
    .bulk = 100u << 20,
    .limit = 30000ull * MS,
    .slow = 20 * MS,
    .outage = MS / 2,
};

static struct connection *connections;
static struct hold_record *record;
static int ep;
static bool stopping;

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t random_up_to(uint64_t most)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % (most + 1);
}

static unsigned id_of(const struct connection *c)
{
    return (unsigned)(c - connections);
}

/* ---- one connection ---- */

static void fail(struct connection *c, const char *kind, const char *detail, uint64_t now)
{
    hold_record_error(record, id_of(c), kind, detail, now);
    if (c->kind == TALK && c->next > c->answered)
        hold_record_abandon(record, now);
    close(c->fd);
    c->fd = -1;
}

static void fail_of(struct connection *c, enum hold_result r, uint64_t now)
{
    fail(c, hold_result_name(r), r == HOLD_ERROR ? strerror(errno) : "", now);
}

static void send_more(struct connection *c)
{
    enum hold_result r = hold_send(c->fd, &c->out);
    bool blocked = r == HOLD_MORE;

    if (r == HOLD_ERROR) {
        fail_of(c, r, hold_now());
        return;
    }
    c->sending = blocked;
    if (blocked != c->blocked) {
        struct epoll_event e = {EPOLLIN | (blocked ? EPOLLOUT : 0), {.ptr = c}};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
        c->blocked = blocked;
    }
}

static bool may_ask(const struct connection *c)
{
    if (c->fd < 0 || c->sending)
        return false;
    if (c->kind == TALK)
        return c->next == c->answered && !stopping;
    return c->left && c->next - c->answered < BULK_DEPTH;
}

static void ask(struct connection *c, uint64_t now)
{
    struct hold_message m = {.kind = HOLD_REQUEST, .connection = id_of(c), .sequence = c->next};

    if (c->kind == TALK) {
        m.request_body = 1 + (uint32_t)random_up_to(MAX_TALK_BODY - 1);
        m.response_body = 1 + (uint32_t)random_up_to(MAX_TALK_BODY - 1);
        hold_record_request(record, now);
    } else {
        uint32_t n = c->left < CHUNK ? (uint32_t)c->left : CHUNK;
        *(c->kind == UP ? &m.request_body : &m.response_body) = n;
        c->left -= n;
        c->due = opt.bulk_pause && !stopping ? c->due + opt.bulk_pause : now;
    }
    c->asked[c->next++ % BULK_DEPTH] = (struct asked){m, now};
    c->out = (struct hold_transfer){.m = m};
    c->sending = true;
    send_more(c);
}

/* Whether the header of a response is that of the request which waits longest. */
static bool header_is_right(struct connection *c, uint64_t now)
{
    const struct hold_message *got = &c->in.m;
    const struct hold_message *sent = &c->asked[c->answered % BULK_DEPTH].m;
    enum hold_result r = HOLD_WRONG_HEADER;

    if (got->kind == HOLD_COMPLAINT) {
        fail(c, "complaint", hold_result_name(got->result), now);
        return false;
    }
    if (got->kind == HOLD_RESPONSE && got->connection == id_of(c))
        r = hold_check_sequence(got->sequence, c->answered);
    if (r == HOLD_WHOLE && c->next == c->answered)
        r = HOLD_MISSING; /* not asked for yet */
    if (r == HOLD_WHOLE &&
        (got->request_body != sent->request_body || got->response_body != sent->response_body))
        r = HOLD_WRONG_HEADER;
    if (r != HOLD_WHOLE)
        fail_of(c, r, now);
    return r == HOLD_WHOLE;
}

static void answered(struct connection *c, uint64_t now)
{
    const struct asked *a = &c->asked[c->answered++ % BULK_DEPTH];

    if (c->kind == TALK) {
        hold_record_response(record, id_of(c), a->at, now);
        c->due = now + opt.pause_low + random_up_to(opt.pause_high - opt.pause_low);
    } else {
        hold_record_bulk(record, c->kind == UP, a->m.request_body + a->m.response_body, now - a->at,
                         now);
    }
}

static void receive_more(struct connection *c)
{
    enum hold_result r = hold_receive(c->fd, &c->in);
    uint64_t now = hold_now();

    if (r == HOLD_HEADER) {
        if (!header_is_right(c, now))
            return;
        r = hold_receive(c->fd, &c->in);
    }
    if (r == HOLD_WHOLE)
        answered(c, now);
    else if (r != HOLD_MORE)
        fail_of(c, r, now);
}

/* ---- all of them ---- */

static void dial(struct connection *c)
{
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&opt.address, sizeof(opt.address)))
        give_up("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e))
        give_up("epoll_ctl");
}

static void dial_all(void)
{
    connections = calloc(opt.connections, sizeof(*connections));
    if (!connections)
        give_up("memory");
    for (unsigned i = 0; i < opt.connections; i++) {
        struct connection *c = &connections[i];
        c->kind = i < opt.talkers ? TALK : i == opt.talkers ? UP : DOWN;
        c->left = c->kind == TALK ? 0 : opt.bulk;
        dial(c);
    }
    uint64_t now = hold_now();
    for (unsigned i = 0; i < opt.connections; i++)
        connections[i].due = i < opt.talkers ? now + random_up_to(opt.pause_high) : now;
}

/* Asks where it is time to, gives up what waits too long; returns when to look again, at most 100
 * ms later. */
static uint64_t look_at_all(uint64_t now)
{
    uint64_t next = now + 100 * MS;

    for (unsigned i = 0; i < opt.connections; i++) {
        struct connection *c = &connections[i];
        if (may_ask(c) && (c->due <= now || stopping))
            ask(c, now);
        if (may_ask(c) && c->due < next)
            next = c->due;
        if (c->fd >= 0 && c->next > c->answered &&
            now > c->asked[c->answered % BULK_DEPTH].at + opt.limit)
            fail(c, "timeout", "not answered in time", now);
    }
    return next;
}

/* When the oldest request of the talkers was sent that is not answered, or now. */
static uint64_t oldest_request(uint64_t now)
{
    for (unsigned i = 0; i < opt.talkers; i++) {
        const struct connection *c = &connections[i];
        uint64_t at = c->asked[c->answered % BULK_DEPTH].at;
        if (c->fd >= 0 && c->next > c->answered && at < now)
            now = at;
    }
    return now;
}

static void line(void)
{
    uint64_t now = hold_now();

    hold_record_line(record, stdout, oldest_request(now), now);
}

static void on_signal(int fd)
{
    struct signalfd_siginfo s;

    if (read(fd, &s, sizeof(s)) != sizeof(s))
        return;
    if (s.ssi_signo == SIGUSR1)
        line();
    else
        stopping = true;
}

/* Whether it has been told to end, and all that was asked is answered or lost. */
static bool is_over(void)
{
    bool all_lost = true;

    for (unsigned i = 0; i < opt.connections; i++) {
        if (connections[i].fd < 0)
            continue;
        all_lost = false;
        if (connections[i].next > connections[i].answered || connections[i].left)
            return false;
    }
    return stopping || all_lost;
}

static void tell_ready(void)
{
    static bool told;

    for (unsigned i = 0; i < opt.talkers && !told; i++)
        if (connections[i].fd >= 0 && !connections[i].answered)
            return;
    if (!told)
        puts("{\"ready\": true}");
    fflush(stdout);
    told = true;
}

/* Waits for the sockets until `next` at most, and serves them. */
static void turn(int signals, uint64_t next)
{
    struct epoll_event e[64];
    uint64_t now = hold_now();
    int ms = next > now ? (int)((next - now + MS - 1) / MS) : 0;
    int n = epoll_wait(ep, e, 64, ms);

    if (n == 0) {
        uint64_t wanted = now + (uint64_t)ms * MS, woken = hold_now();
        hold_record_late(record, woken > wanted ? woken - wanted : 0);
    }
    for (int i = 0; i < n; i++) {
        struct connection *c = e[i].data.ptr;
        if (!c) {
            on_signal(signals);
            continue;
        }
        if (e[i].events & EPOLLOUT)
            send_more(c);
        if (c->fd >= 0 && e[i].events & ~(unsigned)EPOLLOUT)
            receive_more(c);
    }
}

static void run(int signals)
{
    uint64_t begin = hold_now();

    while (!is_over()) {
        uint64_t now = hold_now();
        if (opt.length && now - begin > opt.length)
            stopping = true;
        turn(signals, look_at_all(now));
        tell_ready();
    }
}

/* ---- the command ---- */

static uint64_t number(const char *text, double unit)
{
    char *rest;
    double value = strtod(text, &rest);

    if (rest == text || *rest || !(value >= 0 && value * unit < 1e18)) {
        fprintf(stderr, "hold: %s: not a number\n", text);
        exit(2);
    }
    return (uint64_t)(value * unit);
}

static void set_pause(const char *text)
{
    unsigned low, high;

    if (sscanf(text, "%u-%u", &low, &high) != 2 || low > high || high > 3600000) {
        fprintf(stderr, "hold: -i %s: not LO-HI\n", text);
        exit(2);
    }
    opt.pause_low = (uint64_t)low * MS;
    opt.pause_high = (uint64_t)high * MS;
}

static void set_option(int letter, const char *text)
{
    switch (letter) {
    case 'c':
        opt.talkers = (unsigned)number(text, 1);
        break;
    case 'i':
        set_pause(text);
        break;
    case 'b':
        opt.bulk = number(text, 1 << 20);
        break;
    case 'r':
        opt.bulk_pause = number(text, 1 << 20);
        opt.bulk_pause = opt.bulk_pause ? 1000ull * MS * CHUNK / opt.bulk_pause : 0;
        break;
    case 's':
        opt.length = number(text, 1000.0 * MS);
        break;
    case 't':
        opt.limit = number(text, 1000.0 * MS);
        break;
    case 'l':
        opt.slow = number(text, MS);
        break;
    case 'g':
        opt.outage = number(text, MS);
        break;
    case 'o':
        opt.output = text;
        break;
    default:
        fprintf(stderr, "usage: hold [OPTIONS] ADDRESS PORT (see the head of hold.c)\n");
        exit(2);
    }
}

static void read_options(int argc, char **argv)
{
    for (int letter; (letter = getopt(argc, argv, "c:i:b:r:s:t:l:g:o:")) != -1;)
        set_option(letter, optarg);
    opt.address.sin_family = AF_INET;
    if (argc - optind != 2 || inet_pton(AF_INET, argv[optind], &opt.address.sin_addr) != 1)
        set_option('?', NULL);
    opt.address.sin_port = htons((uint16_t)number(argv[optind + 1], 1));
    opt.connections = opt.talkers + (opt.bulk ? 2 : 0);
    if (!opt.connections)
        set_option('?', NULL);
}

/* Signals become readable in the loop: SIGUSR1 asks for a line, the others for the end. */
static int take_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK);
    struct epoll_event e = {EPOLLIN, {.ptr = NULL}};
    if (fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
        give_up("signals");
    return fd;
}

/* Descriptors for all connections. */
static void raise_limit(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l))
        give_up("getrlimit");
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_limit();
    ep = epoll_create1(0);
    int signals = take_signals();
    FILE *out = opt.output ? fopen(opt.output, "w") : NULL;
    if (opt.output && !out)
        give_up(opt.output);
    dial_all();
    record = hold_record_new(opt.talkers, opt.slow, opt.outage);
    run(signals);
    line();
    if (out) {
        hold_record_write(record, out, hold_now());
        if (fclose(out))
            give_up(opt.output);
    }
    return hold_record_errors(record) > 0;
}
