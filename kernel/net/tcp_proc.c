/* The text of /proc/net/tcp and /proc/net/tcp6, in Linux's format. */
#include "fs/vfs.h"
#include "net/tcp.h"

struct listing {
    struct text_buf *text;
    bool v6;
    unsigned line;
};

static bool belongs(const struct listing *l, const struct ip_addr *local, int family)
{
    /* A connection over IPv4 of an IPv6 socket is listed as IPv6, with mapped addresses. */
    return l->v6 == (family == 6 || !ip_is_v4(local));
}

static void put_addr(struct listing *l, const struct ip_addr *a, uint16_t port)
{
    if (l->v6)
        text_printf(l->text, "%08X%08X%08X%08X:%04X ", a->w[0], a->w[1], a->w[2], a->w[3], port);
    else
        text_printf(l->text, "%08X:%04X ", ip_v4(a), port);
}

static void put_line(struct listing *l, const struct ip_addr *local, uint16_t lport,
                     const struct ip_addr *remote, uint16_t rport, unsigned state, uint32_t tx,
                     uint32_t rx, const struct socket *s, unsigned retries)
{
    text_printf(l->text, "%4u: ", l->line++);
    put_addr(l, local, lport);
    put_addr(l, remote, rport);
    text_printf(l->text, "%02X %08X:%08X 00:00000000 %08X %5u %8d %llu %d %016x\n", state, tx, rx,
                retries, s ? s->uid : 0, 0, s ? (unsigned long long)object_ino(s) : 0,
                s ? ref_count(&s->refs) : 1, 0);
}

static void put_entry(struct tcp_entry *e, void *arg)
{
    struct listing *l = arg;

    if (e->time_wait) {
        if (belongs(l, &e->local, 4))
            put_line(l, &e->local, e->lport, &e->remote, e->rport, TCP_TIME_WAIT, 0, 0, NULL, 0);
    } else {
        struct tcp *t = tcp_of_entry(e);

        if (belongs(l, &e->local, t->s.family))
            put_line(l, &e->local, e->lport, &e->remote, e->rport, t->state, tcp_queued(t),
                     tcp_readable(t), &t->s, t->backoff);
    }
    tcp_entry_put(e);
}

static void put_listener(struct tcp *t, void *arg)
{
    struct ip_addr any = t->s.family == 4 ? ip_from_v4(0) : (struct ip_addr){.w = {0}};
    struct listing *l = arg;

    if (belongs(l, &t->s.local.ip, t->s.family))
        put_line(l, &t->s.local.ip, t->s.local.port, &any, 0, TCP_LISTEN, 0, t->accept_count, &t->s,
                 0);
}

void tcp_proc_text(struct text_buf *b, bool v6)
{
    struct listing l = {.text = b, .v6 = v6};

    text_printf(b,
                v6 ? "  sl  local_address                         remote_address"
                     "                        st tx_queue rx_queue tr tm->when retrnsmt   uid"
                     "  timeout inode\n"
                   : "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"
                     "   uid  timeout inode\n");
    tcp_bind_for_each_listener(put_listener, &l);
    tcp_table_for_each(put_entry, &l);
}

struct sockstat {
    unsigned inuse, orphan;
    uint64_t bytes;
    size_t alloc;
};

static void count_entry(struct tcp_entry *e, void *arg)
{
    struct sockstat *c = arg;

    if (!e->time_wait) {
        const struct tcp *t = tcp_of_entry(e);

        c->inuse++;
        c->orphan += t->orphan;
        c->bytes += tcp_queued(t) + tcp_readable(t) + t->ooo_bytes;
    }
    tcp_entry_put(e);
}

static void count_listener(struct tcp *t, void *arg)
{
    struct sockstat *c = arg;

    (void)t;
    c->inuse++;
}

static bool count_objects(const char *name, size_t size, size_t used, void *arg)
{
    struct sockstat *c = arg;

    (void)size;
    if (!strcmp(name, "tcp"))
        c->alloc = used;
    return true;
}

void tcp_sockstat_text(struct text_buf *b)
{
    struct sockstat c = {0};

    tcp_bind_for_each_listener(count_listener, &c);
    tcp_table_for_each(count_entry, &c);
    slab_for_each(count_objects, &c);
    text_printf(b, "TCP: inuse %u orphan %u tw %u alloc %zu mem %llu\n", c.inuse, c.orphan,
                tcp_tw_count(), c.alloc,
                (unsigned long long)((c.bytes + PAGE_SIZE - 1) / PAGE_SIZE));
}
