/*
 * A bad network in user space: joins a tap of the host with a QEMU NIC (-netdev dgram over unix
 * sockets) and does to the frames of both directions what the conditions say, with a seed of its
 * own so that a failure can be repeated. What `tc netem` does, without needing the kernel's module
 * for it.
 *
 *   impair TAP LOCAL REMOTE [CONDITION...]
 *
 * LOCAL is the socket this program binds, REMOTE the one QEMU binds. The conditions:
 *
 *   loss=P duplicate=P        in percent of the frames, as are all P
 *   corrupt=P                 one bit behind the Ethernet header is wrong
 *   delay=MS jitter=MS        each way; the delay is even between delay - jitter and delay + jitter
 *   reorder=P                 is held back for 2 ms
 *   overtake=P                does not wait for the delay (netem's "reorder")
 *   rate=MBIT limit=FRAMES    a line with a queue of so many frames of 1514 bytes (256)
 *   seed=N
 *
 * Without reorder and overtake frames keep their order, whatever the jitter. A line of conditions
 * on the standard input replaces all of them; what was in flight is gone. The answer, and what is
 * printed at the end (SIGTERM), is what was done since the last one, a line of JSON.
 */
#define _GNU_SOURCE
#include "impair_link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 65600
#define RETRY_NS 100000 /* the receiver's queue was full */
#define IDLE_NS 1000000000
#define BATCH 64

enum { HOST, GUEST, CONTROL, SOURCES };

static struct link links[2]; /* by where they lead */
static int fds[SOURCES];
static struct sockaddr_un remote = {.sun_family = AF_UNIX};
static volatile sig_atomic_t stop;

static void on_signal(int signo)
{
    (void)signo;
    stop = 1;
}

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static ssize_t emit(int to, const struct frame *f)
{
    if (to == HOST)
        return write(fds[HOST], f->data, f->len);
    return sendto(fds[GUEST], f->data, f->len, 0, (struct sockaddr *)&remote, sizeof(remote));
}

/* Forwards what is due; when there is more to do. */
static int64_t emit_due(int to)
{
    struct link *l = &links[to];
    const struct frame *f;

    while ((f = link_head(l))) {
        int64_t t = now();
        ssize_t n;

        if (f->due > t)
            return f->due;
        n = emit(to, f);
        if (n < 0 && errno == EAGAIN)
            return t + RETRY_NS;
        link_leave(l, t, n == (ssize_t)f->len);
    }
    return LINK_NEVER;
}

static void receive(int from)
{
    static uint8_t buf[FRAME_MAX];
    ssize_t n;

    for (int i = 0; i < BATCH && (n = read(fds[from], buf, sizeof(buf))) > 0; i++)
        link_enter(&links[!from], buf, (size_t)n, now());
}

static void report(void)
{
    printf("{\"to_host\": ");
    link_print(&links[HOST]);
    printf(", \"to_guest\": ");
    link_print(&links[GUEST]);
    printf("}\n");
    fflush(stdout);
}

/* False if a word is no condition; nothing has changed then. */
static bool set_conditions(char *const *words, int n)
{
    struct link_conditions is = {.limit = 256, .seed = 1};

    for (int i = 0; i < n; i++)
        if (!link_parse(&is, words[i]))
            return false;
    for (int to = HOST; to <= GUEST; to++) {
        link_reset(&links[to], &is);
        is.seed += 1000003; /* the two directions have different fates */
    }
    return true;
}

static void control(void)
{
    char line[512], *words[32], *save, *word;
    ssize_t len = read(fds[CONTROL], line, sizeof(line) - 1);
    int n = 0;

    if (len <= 0) { /* nobody is there to change anything */
        fds[CONTROL] = -1;
        return;
    }
    line[len] = 0;
    for (word = strtok_r(line, " \n", &save); word && n < 32; word = strtok_r(NULL, " \n", &save))
        words[n++] = word;
    report();
    if (!set_conditions(words, n))
        fprintf(stderr, "impair: a wrong condition, nothing is changed\n");
}

static void forward_loop(void)
{
    while (!stop) {
        int64_t next = now() + IDLE_NS, wait;
        struct pollfd p[SOURCES];

        for (int to = HOST; to <= GUEST; to++) {
            int64_t t = emit_due(to);
            next = t < next ? t : next;
        }
        for (int i = 0; i < SOURCES; i++)
            p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        wait = next - now();
        wait = wait > 0 ? wait : 0;
        if (ppoll(p, SOURCES, &(struct timespec){wait / IDLE_NS, wait % IDLE_NS}, NULL) <= 0)
            continue;
        if (p[HOST].revents)
            receive(HOST);
        if (p[GUEST].revents)
            receive(GUEST);
        if (p[CONTROL].revents)
            control();
    }
}

static int open_tap(const char *name)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
    return fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0 ? fd : -1;
}

static int open_unix(const char *path)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    int size = 4 << 20, fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    strncpy(local.sun_path, path, sizeof(local.sun_path) - 1);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return fd >= 0 && bind(fd, (struct sockaddr *)&local, sizeof(local)) == 0 ? fd : -1;
}

int main(int argc, char **argv)
{
    if (argc < 4 || !set_conditions(argv + 4, argc - 4)) {
        fprintf(stderr, "usage: impair TAP LOCAL REMOTE [loss=P] [duplicate=P] [corrupt=P] "
                        "[delay=MS] [jitter=MS] [reorder=P] [overtake=P] [rate=MBIT] "
                        "[limit=FRAMES] [seed=N]\n");
        return 2;
    }
    strncpy(remote.sun_path, argv[3], sizeof(remote.sun_path) - 1);
    fds[HOST] = open_tap(argv[1]);
    fds[GUEST] = open_unix(argv[2]);
    fds[CONTROL] = STDIN_FILENO;
    if (fds[HOST] < 0 || fds[GUEST] < 0) {
        perror("impair");
        return 1;
    }
    prctl(PR_SET_TIMERSLACK, 1);       /* delays of a millisecond shall be that */
    setpriority(PRIO_PROCESS, 0, -10); /* ... on a busy machine too, if we may */
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    forward_loop();
    report();
    return 0;
}
