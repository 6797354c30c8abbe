/*
 * A bad network in user space: joins a tap of the host with a QEMU NIC (-netdev dgram over unix
 * sockets) and loses, reorders, duplicates and delays frames in both directions, with a seed of its
 * own so that a failure can be repeated. What `tc netem` does, without needing the kernel's module
 * for it.
 *
 *   impair TAP LOCAL REMOTE [loss=P] [reorder=P] [duplicate=P] [delay=MS] [seed=N]
 *
 * P is in percent. LOCAL is the socket this program binds, REMOTE the one QEMU binds. A reordered
 * frame is held back for 2 ms. Runs until it gets SIGTERM; then it prints what it did as one line
 * of JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX 65600
#define QUEUE_MAX 4096
#define REORDER_HOLD_NS 2000000LL
#define RETRY_NS 100000LL

struct frame {
    long long due;
    int to; /* 0: host, 1: guest */
    size_t len;
    uint8_t *data;
};

static struct frame queue[QUEUE_MAX]; /* sorted by due */
static size_t queued;
static double loss, reorder, duplicate;
static long long delay_ns;
static uint64_t seed = 1;
static unsigned long forwarded, lost, reordered, duplicated, overflowed;
static int fds[2]; /* tap, unix socket */
static struct sockaddr_un remote = {.sun_family = AF_UNIX};
static volatile sig_atomic_t stop;

static void on_signal(int signo)
{
    (void)signo;
    stop = 1;
}

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static bool chance(double percent)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (double)(seed >> 33) / 2147483648.0 * 100.0 < percent;
}

/* False: the guest's queue is full, it must be tried again. */
static bool emit(const struct frame *f)
{
    ssize_t n =
        f->to == 0 ? write(fds[0], f->data, f->len)
                   : sendto(fds[1], f->data, f->len, 0, (struct sockaddr *)&remote, sizeof(remote));
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n == (ssize_t)f->len)
        forwarded++;
    else
        overflowed++;
    return true;
}

static void enqueue(const uint8_t *data, size_t len, int to, long long due)
{
    if (queued == QUEUE_MAX) {
        overflowed++;
        return;
    }
    size_t i = queued++;
    for (; i > 0 && queue[i - 1].due > due; i--)
        queue[i] = queue[i - 1];
    queue[i] = (struct frame){.due = due, .to = to, .len = len, .data = malloc(len)};
    memcpy(queue[i].data, data, len);
}

static void handle(const uint8_t *data, size_t len, int to)
{
    if (chance(loss)) {
        lost++;
        return;
    }
    long long due = now() + delay_ns;
    if (chance(duplicate)) {
        duplicated++;
        enqueue(data, len, to, due);
    }
    if (chance(reorder)) {
        reordered++;
        due += REORDER_HOLD_NS;
    }
    enqueue(data, len, to, due);
}

static void emit_due(void)
{
    long long t = now();
    size_t n = 0;
    while (n < queued && queue[n].due <= t && emit(&queue[n]))
        free(queue[n++].data);
    queued -= n;
    memmove(queue, queue + n, queued * sizeof(queue[0]));
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

static bool parse_option(const char *text)
{
    double value;
    char name[16];
    if (sscanf(text, "%15[a-z]=%lf", name, &value) != 2)
        return false;
    if (!strcmp(name, "loss"))
        loss = value;
    else if (!strcmp(name, "reorder"))
        reorder = value;
    else if (!strcmp(name, "duplicate"))
        duplicate = value;
    else if (!strcmp(name, "delay"))
        delay_ns = (long long)(value * 1e6);
    else if (!strcmp(name, "seed"))
        seed = (uint64_t)value;
    else
        return false;
    return true;
}

static void forward_loop(void)
{
    static uint8_t buf[FRAME_MAX];
    while (!stop) {
        struct pollfd p[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}};
        long long wait = queued ? queue[0].due - now() : 1000000000LL;
        if (wait < RETRY_NS)
            wait = RETRY_NS; /* the guest's queue was full */
        ppoll(p, 2, &(struct timespec){wait / 1000000000LL, wait % 1000000000LL}, NULL);
        for (int from = 0; from < 2; from++) {
            ssize_t n;
            for (int batch = 0; batch < 64 && (n = read(fds[from], buf, sizeof(buf))) > 0; batch++)
                handle(buf, (size_t)n, 1 - from);
        }
        emit_due();
    }
}

int main(int argc, char **argv)
{
    bool ok = argc >= 4;
    for (int i = 4; i < argc; i++)
        ok = ok && parse_option(argv[i]);
    if (!ok) {
        fprintf(stderr, "usage: impair TAP LOCAL REMOTE [loss=P] [reorder=P] [duplicate=P] "
                        "[delay=MS] [seed=N]\n");
        return 2;
    }
    strncpy(remote.sun_path, argv[3], sizeof(remote.sun_path) - 1);
    fds[0] = open_tap(argv[1]);
    fds[1] = open_unix(argv[2]);
    if (fds[0] < 0 || fds[1] < 0) {
        perror("impair");
        return 1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    forward_loop();
    printf("{\"forwarded\": %lu, \"lost\": %lu, \"reordered\": %lu, \"duplicated\": %lu, "
           "\"overflowed\": %lu}\n",
           forwarded, lost, reordered, duplicated, overflowed);
    return 0;
}
