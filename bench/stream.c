/*
 * A bulk transfer for a fixed time, whose every byte is checked by its receiver.
 *
 *   stream serve PORT                                    runs in a guest, until it is killed
 *   stream send|receive ADDRESS PORT SECONDS CONGESTION  its client; prints a line of JSON
 *
 * The client counts what it was given, or what the server's TCP has acknowledged, from the first
 * byte received or the connection on; then it resets the connection. The server prints TCP_INFO of
 * what it sent and complains of wrong bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PERIOD                                                                                     \
    65521u /* the stream repeats after so many bytes; a prime, so no packet size fits it */
#define PIECE 65536u
#define START_SECONDS 60 /* how long the first byte may take on a bad network */

static uint8_t pattern[PERIOD + PIECE];

static void make_pattern(void)
{
    uint64_t x = 1;

    for (unsigned i = 0; i < sizeof(pattern); i++) {
        if (i % PERIOD == 0)
            x = 1;
        x = x * 6364136223846793005u + 1442695040888963407u;
        pattern[i] = (uint8_t)(x >> 56);
    }
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct tcp_info tcp_info(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
    return info;
}

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* Whether fd is ready for `events` within this time. */
static bool ready(int fd, short events, double seconds)
{
    struct pollfd p = {.fd = fd, .events = events};

    return poll(&p, 1, seconds > 0 ? (int)(seconds * 1000) + 1 : 0) == 1;
}

/* Reads what is there into *total; false at the end of the stream or if it is not what was sent. */
static bool take(int fd, uint64_t *total)
{
    uint8_t buf[PIECE];
    ssize_t n = recv(fd, buf, sizeof(buf), 0);

    if (n <= 0)
        return false;
    if (memcmp(buf, pattern + *total % PERIOD, (size_t)n)) {
        printf("stream: WRONG BYTES in the %zd from %llu on\n", n, (unsigned long long)*total);
        fflush(stdout);
        return false;
    }
    *total += (uint64_t)n;
    return true;
}

static bool give(int fd, uint64_t *total)
{
    ssize_t n = send(fd, pattern + *total % PERIOD, PIECE, MSG_NOSIGNAL);

    if (n > 0)
        *total += (uint64_t)n;
    return n > 0;
}

/* --- in the guest ----------------------------------------------------------------------------- */

static void print_sender(int fd)
{
    struct tcp_info i = tcp_info(fd);

    printf("stream: sent rtt %u us retrans %u cwnd %u ssthresh %u lost %u reordering %u\n",
           i.tcpi_rtt, i.tcpi_total_retrans, i.tcpi_snd_cwnd, i.tcpi_snd_ssthresh, i.tcpi_lost,
           i.tcpi_reordering);
    fflush(stdout);
}

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    uint64_t total = 0;
    char direction;

    if (recv(fd, &direction, 1, 0) == 1) {
        if (direction == 's')
            while (take(fd, &total))
                ;
        else {
            while (give(fd, &total))
                ;
            print_sender(fd);
        }
    }
    close(fd);
    return NULL;
}

/* Linux remembers the window that a path had; each transfer shall find its own. */
static void forget_paths(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/tcp_no_metrics_save", "w");

    if (f) {
        fputs("1\n", f);
        fclose(f);
    }
}

static _Noreturn void run_server(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

    forget_paths();
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 16))
        fail("stream: listen");
    for (;;) {
        int c = accept(fd, NULL, NULL);
        pthread_t thread;

        if (c < 0)
            fail("stream: accept");
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)c))
            fail("stream: thread");
        pthread_detach(thread);
    }
}

/* --- on the host ------------------------------------------------------------------------------ */

static int open_connection(const char *address, uint16_t port, const char *congestion)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (inet_pton(AF_INET, address, &a.sin_addr) != 1 ||
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)))
        fail(congestion);
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
        fail("stream: connect");
    return fd;
}

static double receive_for(int fd, double seconds, uint64_t *bytes)
{
    double start;

    if (!ready(fd, POLLIN, START_SECONDS))
        fail("stream: nothing came");
    start = now();
    while (now() < start + seconds)
        if (ready(fd, POLLIN, start + seconds - now()) && !take(fd, bytes))
            fail("stream: the stream ended");
    return now() - start;
}

static double send_for(int fd, double seconds, uint64_t *acked)
{
    double start = now();
    uint64_t sent = 0;

    while (now() < start + seconds) {
        ssize_t n;

        if (!ready(fd, POLLOUT, start + seconds - now()))
            continue;
        n = send(fd, pattern + sent % PERIOD, PIECE, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            fail("stream: send");
        sent += n > 0 ? (uint64_t)n : 0;
    }
    *acked = tcp_info(fd).tcpi_bytes_acked;
    return now() - start;
}

static int run_client(bool sends, const char *address, uint16_t port, double seconds,
                      const char *congestion)
{
    int fd = open_connection(address, port, congestion);
    struct linger at_once = {.l_onoff = 1};
    struct tcp_info info;
    uint64_t bytes = 0;
    double took;

    if (send(fd, sends ? "s" : "r", 1, 0) != 1)
        fail("stream: send");
    took = sends ? send_for(fd, seconds, &bytes) : receive_for(fd, seconds, &bytes);
    info = tcp_info(fd);
    printf("{\"bytes\": %llu, \"seconds\": %.4f, \"rtt_us\": %u, \"retrans\": %u, \"cwnd\": %u, "
           "\"peer_window\": %u}\n",
           (unsigned long long)bytes, took, info.tcpi_rtt, info.tcpi_total_retrans,
           info.tcpi_snd_cwnd, info.tcpi_snd_wnd);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
    return 0;
}

int main(int argc, char **argv)
{
    make_pattern();
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve"))
        run_server((uint16_t)atoi(argv[2]));
    if (argc == 6 && (!strcmp(argv[1], "send") || !strcmp(argv[1], "receive")))
        return run_client(!strcmp(argv[1], "send"), argv[2], (uint16_t)atoi(argv[3]), atof(argv[4]),
                          argv[5]);
    fprintf(stderr, "usage: stream serve PORT | send|receive ADDRESS PORT SECONDS CONGESTION\n");
    return 2;
}
