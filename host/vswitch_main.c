/* The process of the virtual network: requests of the supervisor, and what it may not do itself. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fdpass.h"
#include "vswitch.h"

struct server {
    struct watch watch;
    struct loop loop;
    struct vswitch *v;
};

static bool is_valid(const struct vswitch_request *rq)
{
    const struct vnet_forward *f = &rq->forward;

    return rq->host >= 0 && rq->host < VNET_HOSTS && memchr(f->host_ip, 0, sizeof(f->host_ip));
}

struct vswitch_answer vswitch_handle(struct vswitch *v, const struct vswitch_request *rq, int fd)
{
    struct vswitch_answer answer = {.id = rq->id};

    if (!is_valid(rq) || (fd >= 0) != (rq->op == VSWITCH_CONNECT)) {
        answer.error = -EINVAL;
        if (fd >= 0)
            close(fd);
        return answer;
    }
    switch (rq->op) {
    case VSWITCH_CONNECT:
        answer.error = vswitch_connect(v, rq->host, fd);
        break;
    case VSWITCH_DISCONNECT:
        vswitch_disconnect(v, rq->host);
        break;
    case VSWITCH_HOLD:
        vswitch_hold_server(v);
        break;
    case VSWITCH_READY:
        vswitch_server_ready(v);
        break;
    case VSWITCH_FORWARD:
        answer.error = vswitch_forward(v, rq->host, &rq->forward);
        break;
    case VSWITCH_UNFORWARD:
        vswitch_unforward(v, rq->host, &rq->forward);
        break;
    case VSWITCH_SWEEP:
        vswitch_sweep(v, rq->in_use);
        break;
    case VSWITCH_TRAFFIC:
        answer.error = vswitch_traffic(v, rq->host, &answer.traffic) ? 0 : -ENOENT;
        break;
    default:
        answer.error = -ENOSYS;
    }
    return answer;
}

static void ready(struct watch *w, uint32_t events)
{
    struct server *s = (struct server *)w;
    struct vswitch_request rq;
    unsigned count = 1;
    int fd = -1;
    ssize_t n = fdpass_recv(w->fd, &rq, sizeof(rq), &fd, &count, MSG_DONTWAIT);

    (void)events;
    if (n == -EAGAIN)
        return;
    if (n != sizeof(rq)) { /* nobody is there any more */
        s->loop.stop = true;
        return;
    }
    struct vswitch_answer answer = vswitch_handle(s->v, &rq, count ? fd : -1);
    fdpass_send(w->fd, &answer, sizeof(answer), NULL, 0, MSG_DONTWAIT);
}

/* libslirp parses what hostile domains send. It needs sockets, and the ports below 1024. */
static void give_up_privileges(void)
{
    const struct rlimit none = {0, 0};
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[2];

    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    setrlimit(RLIMIT_CORE, &none);
    setrlimit(RLIMIT_NPROC, &none);
    setrlimit(RLIMIT_MEMLOCK, &none);
    if (syscall(SYS_capget, &header, caps) < 0)
        return;
    caps[0].permitted &= 1u << CAP_NET_BIND_SERVICE;
    caps[0].effective = caps[0].permitted;
    caps[0].inheritable = 0;
    memset(&caps[1], 0, sizeof(caps[1]));
    syscall(SYS_capset, &header, caps);
}

int vswitch_main(int sock, bool allow_host_loopback)
{
    struct server s = {.watch = {.fd = sock, .events = EPOLLIN, .ready = ready}};

    prctl(PR_SET_NAME, "librettos-vnet");
    give_up_privileges();
    if (loop_init(&s.loop) || !(s.v = vswitch_new(&s.loop, allow_host_loopback)) ||
        loop_add(&s.loop, &s.watch))
        return STATUS_OURS;
    loop_run(&s.loop);
    vswitch_free(s.v);
    loop_close(&s.loop);
    return 0;
}
