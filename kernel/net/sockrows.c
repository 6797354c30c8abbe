/* TCP sockets as rows (net/sockrows.h); those of the other protocols are in their files. */
#include "net/sockrows.h"

#include "net/tcp.h"

struct walk {
    sock_row_fn fn;
    void *arg;
};

static void entry_row(struct tcp_entry *e, void *arg)
{
    struct walk *w = arg;
    struct sock_row row = {
        .local = {.ip = e->local, .port = e->lport},
        .peer = {.ip = e->remote, .port = e->rport},
        .family = ip_is_v4(&e->local) ? 4 : 6,
        .state = TCP_TIME_WAIT,
    };

    if (!e->time_wait) {
        struct tcp *t = tcp_of_entry(e);
        row.s = &t->s;
        row.family = (uint8_t)t->s.family;
        row.state = t->state;
        row.retransmits = t->backoff;
        row.received = tcp_readable(t);
        row.unsent = tcp_queued(t);
    }
    w->fn(&row, w->arg);
    tcp_entry_put(e);
}

static void listener_row(struct tcp *t, void *arg)
{
    struct walk *w = arg;
    struct sock_row row = {
        .s = &t->s,
        .local = t->s.local,
        .peer = {.ip = socket_any(&t->s)},
        .family = (uint8_t)t->s.family,
        .state = SOCK_ROW_LISTEN,
        .received = t->accept_count,
        .unsent = (uint32_t)t->backlog,
    };

    w->fn(&row, w->arg);
}

void tcp_rows(sock_row_fn fn, void *arg)
{
    struct walk w = {fn, arg};

    tcp_bind_for_each_listener(listener_row, &w);
    tcp_table_for_each(entry_row, &w);
}
