/* The supervisor's side of the virtual network: numbers, and messages to its process. */
#include "vnet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "keeper.h"
#include "vswitch.h"

#define KEY "vnet "        /* and the pid: its entry at the keeper */
#define ANSWER_TIMEOUT_S 5 /* it answers in microseconds, or is stuck */
#define STEADY_NS 1000000000u
#define RESTART_MS 1000 /* of one that died sooner */

struct vnet {
    struct watch watch; /* our end of the process's socket, fd -1: it does not run */
    struct loop *loop;
    pid_t pid;
    uint32_t next_id;
    uint64_t started_ns;
    struct timer restart;
    bool allow_host_loopback;
    void (*died)(void *arg);
    void *arg;
    bool used[VNET_HOSTS];
};

/* ---- its process ---- */

/* In the child: becomes the process, with the one socket. */
static void become_switch(int sock, bool allow_host_loopback)
{
    char *fd = xasprintf("%d", sock);

    set_cloexec(sock, false);
    execl("/proc/self/exe", "librettos", "supervisor", "--switch-fd", fd,
          allow_host_loopback ? "--host-loopback" : NULL, NULL);
    _exit(STATUS_CANNOT);
}

static char *key_of(const struct vnet *v)
{
    return xasprintf(KEY "%d", v->pid);
}

static int keep_process(const struct vnet *v)
{
    char *key = key_of(v);
    int err = keeper_put(key, &v->watch.fd, 1);

    free(key);
    return err;
}

static void forget_process(const struct vnet *v)
{
    char *key = key_of(v);

    keeper_drop(key);
    free(key);
}

/* Takes over the socket of a running process. Returns 0 or -errno; it is closed then. */
static int adopt(struct vnet *v, int sock, pid_t pid)
{
    struct timeval limit = {.tv_sec = ANSWER_TIMEOUT_S};

    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    v->watch.fd = sock;
    v->pid = pid;
    v->started_ns = now_ns();
    int err = loop_add(v->loop, &v->watch);
    if (err) {
        close(sock);
        v->watch.fd = -1;
    }
    return err;
}

/* Takes over the process that the keeper knows of. Returns 0, -ENOENT, or -errno. */
static int find_process(struct vnet *v)
{
    char name[KEEPER_NAME];
    int pid, sock, n = -ENOENT;

    for (unsigned i = 0; keeper_list(i, name); i++)
        if (sscanf(name, KEY "%d", &pid) == 1 && (n = keeper_get(name, &sock, 1)) == 1)
            return adopt(v, sock, pid);
    return n < 0 ? n : -ENOENT;
}

/* Returns 0 or -errno. */
static int start_process(struct vnet *v)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    pid_t pid = child_start(STDERR_FILENO);
    if (pid == 0)
        become_switch(pair[1], v->allow_host_loopback);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return (int)pid;
    }
    int err = adopt(v, pair[0], pid);
    return err ? err : keep_process(v);
}

static void end_process(struct vnet *v)
{
    if (v->watch.fd < 0)
        return;
    loop_del(v->loop, &v->watch);
    close(v->watch.fd);
    v->watch.fd = -1;
    forget_process(v);
    child_kill(v->pid);
}

static void start_again(struct timer *t)
{
    struct vnet *v = (struct vnet *)((char *)t - offsetof(struct vnet, restart));
    int err = start_process(v);

    if (err) {
        warn("the virtual network does not start: %s", strerror(-err));
        loop_timer(v->loop, &v->restart, RESTART_MS);
        return;
    }
    v->died(v->arg);
}

/* It says nothing unasked: this is its end. */
static void hung_up(struct watch *w, uint32_t events)
{
    struct vnet *v = (struct vnet *)w;
    bool early = now_ns() - v->started_ns < STEADY_NS;

    (void)events;
    warn("the process of the virtual network died; starting another");
    end_process(v);
    loop_timer(v->loop, &v->restart, early ? RESTART_MS : 0);
}

/* Sends a request, with fd unless that is -1, and waits for the answer. Returns its error. */
static int ask(struct vnet *v, struct vswitch_request *rq, int fd, struct switch_traffic *traffic)
{
    struct vswitch_answer answer = {0};
    unsigned none = 0;

    if (v->watch.fd < 0)
        return -ENETDOWN;
    rq->id = ++v->next_id;
    ssize_t n = fdpass_send(v->watch.fd, rq, sizeof(*rq), &fd, fd >= 0, 0);
    do
        n = n > 0 ? fdpass_recv(v->watch.fd, &answer, sizeof(answer), NULL, &none, 0) : n;
    while (n > 0 && answer.id != rq->id);
    if (n <= 0) {
        kill(v->pid, SIGKILL); /* if it is only stuck; hung_up() does the rest */
        return -ENETDOWN;
    }
    if (traffic)
        *traffic = answer.traffic;
    return answer.error;
}

static int tell(struct vnet *v, enum vswitch_op op, int host)
{
    return ask(v, &(struct vswitch_request){.op = op, .host = host}, -1, NULL);
}

struct vnet *vnet_new(struct loop *loop, bool allow_host_loopback, void (*died)(void *arg),
                      void *arg)
{
    struct vnet *v = xcalloc(1, sizeof(*v));

    *v =
        (struct vnet){.watch = {.fd = -1, .events = EPOLLIN, .ready = hung_up},
                      .loop = loop,
                      .restart.fire = start_again,
                      .next_id = (uint32_t)now_ns(), /* answers to a dead supervisor are not ours */
                      .allow_host_loopback = allow_host_loopback,
                      .died = died,
                      .arg = arg};
    int err = find_process(v);
    if (err)
        err = start_process(v);
    if (!err)
        return v;
    warn("the virtual network does not start: %s", strerror(-err));
    free(v);
    return NULL;
}

void vnet_free(struct vnet *v)
{
    loop_timer_stop(v->loop, &v->restart);
    end_process(v);
    free(v);
}

/* ---- numbers ---- */

int vnet_alloc(struct vnet *v)
{
    for (int i = 0; i < VNET_SERVER; i++)
        if (!v->used[i]) {
            v->used[i] = true;
            return i;
        }
    return -ENOSPC;
}

int vnet_alloc_address(struct vnet *v, const char *ipv4)
{
    struct in_addr a;

    if (inet_pton(AF_INET, ipv4, &a) != 1)
        return -EINVAL;
    int64_t host = (int64_t)ntohl(a.s_addr) - ntohl(vnet_addr4(VNET_FIRST_HOST).s_addr);
    if (host < 0 || host >= VNET_SERVER)
        return -EINVAL;
    if (v->used[host])
        return -EADDRINUSE;
    v->used[host] = true;
    return (int)host;
}

void vnet_take(struct vnet *v, int host)
{
    v->used[host] = true;
}

pid_t vnet_pid(const struct vnet *v)
{
    return v->watch.fd < 0 ? 0 : v->pid;
}

void vnet_release(struct vnet *v, int host)
{
    v->used[host] = false;
}

/* ---- ports and forwards ---- */

int vnet_connect(struct vnet *v, int host, int fd)
{
    int err = ask(v, &(struct vswitch_request){.op = VSWITCH_CONNECT, .host = host}, fd, NULL);

    close(fd);
    return err;
}

void vnet_disconnect(struct vnet *v, int host)
{
    tell(v, VSWITCH_DISCONNECT, host);
}

void vnet_hold_server(struct vnet *v)
{
    tell(v, VSWITCH_HOLD, VNET_SERVER);
}

void vnet_server_ready(struct vnet *v)
{
    tell(v, VSWITCH_READY, VNET_SERVER);
}

void vnet_remove_server(struct vnet *v)
{
    tell(v, VSWITCH_DISCONNECT, VNET_SERVER);
}

int vnet_forward(struct vnet *v, int host, const struct vnet_forward *f)
{
    struct vswitch_request rq = {.op = VSWITCH_FORWARD, .host = host, .forward = *f};

    return ask(v, &rq, -1, NULL);
}

void vnet_unforward(struct vnet *v, int host, const struct vnet_forward *f)
{
    struct vswitch_request rq = {.op = VSWITCH_UNFORWARD, .host = host, .forward = *f};

    ask(v, &rq, -1, NULL);
}

void vnet_sweep(struct vnet *v, bool server_in_use)
{
    struct vswitch_request rq = {.op = VSWITCH_SWEEP};

    for (int i = 0; i < VNET_HOSTS; i++)
        rq.in_use[i] = i == VNET_SERVER ? server_in_use : v->used[i];
    ask(v, &rq, -1, NULL);
}

bool vnet_traffic(struct vnet *v, int host, struct switch_traffic *t)
{
    return !ask(v, &(struct vswitch_request){.op = VSWITCH_TRAFFIC, .host = host}, -1, t);
}
