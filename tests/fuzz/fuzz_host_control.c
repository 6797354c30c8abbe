/* A hostile domain: arbitrary bytes on the control channel and on QMP. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/lease.h"
#include "host/pathswitch.h"
#include "host/qmp.h"

/* The domain shares an address: its claims are answered. */
static void on_event(struct domain *d, enum domain_event what, const void *data)
{
    static struct nettable table;
    struct channel_grants grants = {.mode = CHANNEL_SHARED};
    struct ctl_claim c;

    if (what != DOMAIN_EV_CLAIM) {
        pathswitch_event(d->arg, what, data);
        return;
    }
    if (!table.made && (nettable_create(&table, &grants, "network fuzz") ||
                        nettable_grow(&table, 1) || nettable_grant(&table, 0, 1, &grants)))
        abort();
    memcpy(&c, data, sizeof(c));
    nettable_claim(&table, 0, &c);
    domain_claimed(d, &c);
}

static void output(struct session *s, uint16_t type, const void *data, size_t n)
{
    void *copy = xmalloc(n); /* reads every byte: the sanitizer checks them */

    (void)type;
    memcpy(copy, data, n);
    free(copy);
    if (s->out_unread > CTL_WINDOW)
        abort();
    session_consumed(s, (uint32_t)(n / 2)); /* a slow reader */
}

static const struct session_listener listener = {.output = output};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct supervisor sv;
    struct lease lease = {.sv = &sv, .server_path = true, .host = -1};
    static bool begun;
    int fd[2], qmp[2];
    struct buf bytes = {0};
    struct domain d = {.loop = &sv.loop,
                       .name = (char *)"fuzz",
                       .dir = (char *)"/nonexistent",
                       .event = on_event,
                       .lease = &lease,
                       .next_session = 2};
    struct session *s = xcalloc(1, sizeof(*s));

    if (!begun)
        begun = !loop_init(&sv.loop);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, qmp) ||
        stream_open(&d.control, &sv.loop, fd[0], &domain_control_sizes, control_ready) ||
        stream_open(&d.qmp, &sv.loop, qmp[0], &domain_qmp_sizes, qmp_ready))
        abort();
    *s = (struct session){.id = 1, .in_credit = CTL_WINDOW, .domain = &d, .listener = &listener};
    d.sessions = s;
    d.output_log.fd = -1;
    d.nic = -1;
    /* In the middle of a switch, to a path that the input chooses. */
    d.arg = lease.path = pathswitch_new(&sv, &d, MODE_SERVER);
    lease.path->log_ns = UINT64_MAX;
    lease.path->has_nic = lease.path->has_end = size & 1;
    lease.path->step = size % 7 < 6 ? (enum switch_step)(size % 7) : SWITCH_ASKED;
    lease.path->wanted = size & 8 ? CTL_PATH_DIRECT : CTL_PATH_SERVER;
    lease.path->why = xstrdup("fuzz");
    qmp_command(&d, "first", NULL, -1, NULL, NULL);
    qmp_command(&d, "second", NULL, -1, NULL, NULL);
    if (size && data[0] & 1) {
        qmp_line(&d, (const char *)data + 1, size - 1);
    } else if (size) {
        struct ctl_hello hello = {.version = CTL_VERSION};
        if (data[0] & 2)
            frame_put(&bytes, CTL_HELLO, 0, &hello, sizeof(hello));
        buf_append(&bytes, data + 1, size - 1);
        set_nonblock(fd[1]);
        if (send(fd[1], bytes.data, bytes.len, 0) > 0 && stream_read(&d.control) > 0)
            control_parse(&d);
    }
    loop_timer_stop(&sv.loop, &d.deadline);
    d.state = DOMAIN_FAILED;
    qmp_abort(&d);
    pathswitch_end(lease.path);
    pathswitch_free(lease.path);
    session_free_all(&d);
    stream_close(&d.control);
    stream_close(&d.qmp);
    close(fd[1]);
    close(qmp[1]);
    buf_free(&bytes);
    free(d.reason);
    return 0;
}
