/*
 * The control channel's supervisor side (abi/control.h): HELLO and the start of the main program,
 * sessions, flow control. Everything here comes from a hostile domain: a frame that breaks the
 * rules of the channel ends the domain; one for a session that is gone is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core_file.h"
#include "domain.h"

#define OFF_TIMEOUT_MS 5000 /* from the main program's end to power-off */

static struct session *find(struct domain *d, uint16_t id)
{
    struct session *s = d->sessions;

    while (s && s->id != id)
        s = s->next;
    return s;
}

static void session_remove(struct session *s)
{
    struct session **p = &s->domain->sessions;

    while (*p && *p != s)
        p = &(*p)->next;
    if (*p)
        *p = s->next;
    free(s);
}

void session_free_all(struct domain *d)
{
    while (d->sessions)
        session_remove(d->sessions);
}

struct session *domain_main_session(struct domain *d)
{
    return find(d, 1);
}

const struct stream_sizes domain_control_sizes = {
    .rx = 128u << 10, /* the longest frame fits */
    .tx = 4u << 20,   /* a domain that does not read so much is broken */
    .note = DOMAIN_NOTE_MAX,
};

void control_flush(struct domain *d)
{
    domain_commit(d);
    if (d->hello_ns) /* else it waits for WELCOME's time */
        stream_flush(&d->control);
    if (d->control.overflow)
        domain_fail(d, "the domain does not read its control channel");
}

int control_begin(struct domain *d, const struct exec_spec *spec)
{
    struct buf b = {0};
    int err = 0;

    frame_put(&b, CTL_WELCOME, 0, &(struct ctl_welcome){.version = CTL_VERSION},
              sizeof(struct ctl_welcome));
    if (spec->program)
        err = frame_put_exec(&b, 1, spec);
    stream_put(&d->control, b.data, b.len);
    buf_free(&b);
    return err;
}

/* WELCOME is the first frame; now its time is known. */
static void complete_welcome(struct domain *d)
{
    struct ctl_welcome welcome = {.version = CTL_VERSION};
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    welcome.realtime_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    memcpy(d->control.tx.data + sizeof(struct ctl_header), &welcome, sizeof(welcome));
}

struct session *domain_listen(struct domain *d, uint16_t id,
                              const struct session_listener *listener, void *arg,
                              struct stream *peer)
{
    struct session *s = find(d, id);

    if (!s)
        return NULL;
    if (s->has_cursors && d->control.committed > peer->committed &&
        stream_set_cursors(peer, s->rx_head, s->tx_tail))
        return NULL;
    s->listener = listener;
    s->arg = arg;
    s->peer = peer;
    return s;
}

/* ---- from the domain ---- */

static int on_hello(struct domain *d, const struct frame *f)
{
    struct ctl_hello hello;

    if (f->length != sizeof(hello) || d->hello_ns)
        return -EPROTO;
    memcpy(&hello, f->payload, sizeof(hello));
    if (hello.version != CTL_VERSION) {
        domain_fail(d, "the kernel speaks version %u of the control channel, this command %u",
                    hello.version, CTL_VERSION);
        return 0;
    }
    d->hello_ns = now_ns();
    d->state = d->is_server ? DOMAIN_RUNNING : DOMAIN_BOOTED;
    complete_welcome(d);
    if (!d->stopping)
        loop_timer_stop(d->loop, &d->deadline);
    control_flush(d);
    d->event(d, DOMAIN_EV_BOOTED, &hello);
    return 0;
}

static int on_started(struct session *s, const struct frame *f)
{
    uint32_t pid;

    if (frame_u32(f, &pid) || s->started)
        return -EPROTO;
    s->started = true;
    if (s->id == 1) {
        s->domain->running_ns = now_ns();
        s->domain->state = DOMAIN_RUNNING;
    }
    if (s->listener && s->listener->started)
        s->listener->started(s, pid);
    return 0;
}

static int on_output(struct session *s, const struct frame *f)
{
    if (f->length > CTL_WINDOW - s->out_unread)
        return -EPROTO;
    s->out_unread += f->length;
    if (s->id == 1)
        logfile_write(&s->domain->output_log, f->payload, f->length);
    if (s->listener && s->listener->output)
        s->listener->output(s, f->type, f->payload, f->length);
    else
        session_consumed(s, f->length);
    return 0;
}

static int on_program_exit(struct session *s, const struct frame *f)
{
    struct domain *d = s->domain;
    struct ctl_exit e;

    if (f->length != sizeof(e))
        return -EPROTO;
    memcpy(&e, f->payload, sizeof(e));
    if (e.kind > CTL_EXIT_EXEC || (e.kind == CTL_EXIT_SIGNAL && (e.value < 1 || e.value > 64)))
        return -EPROTO;
    if (s->id == 1) {
        d->has_exit = true;
        d->exit = e;
        if (!d->stopping)
            loop_timer(d->loop, &d->deadline, OFF_TIMEOUT_MS);
    }
    if (s->listener && s->listener->exited)
        s->listener->exited(s, &e);
    session_remove(s);
    return 0;
}

static int on_in_credit(struct session *s, const struct frame *f)
{
    uint32_t bytes;

    if (frame_u32(f, &bytes) || bytes > CTL_WINDOW - s->in_credit)
        return -EPROTO;
    s->in_credit += bytes;
    if (s->listener && s->listener->in_credit)
        s->listener->in_credit(s, bytes);
    return 0;
}

static int on_listen(struct domain *d, const struct frame *f)
{
    struct ctl_listen l;

    if (f->length != sizeof(l))
        return -EPROTO;
    memcpy(&l, f->payload, sizeof(l));
    if (l.open && !d->listen_ns)
        d->listen_ns = now_ns();
    d->event(d, DOMAIN_EV_LISTEN, &l);
    return 0;
}

static int on_claim(struct domain *d, const struct frame *f)
{
    struct ctl_claim c;

    if (f->length != sizeof(c))
        return -EPROTO;
    memcpy(&c, f->payload, sizeof(c));
    d->event(d, DOMAIN_EV_CLAIM, &c);
    return 0;
}

void domain_claimed(struct domain *d, const struct ctl_claim *c)
{
    stream_put_frame(&d->control, CTL_CLAIMED, 0, c, sizeof(*c));
    control_flush(d);
}

static int on_switched(struct domain *d, const struct frame *f)
{
    struct ctl_switched s;

    if (f->length != sizeof(s))
        return -EPROTO;
    memcpy(&s, f->payload, sizeof(s));
    d->event(d, DOMAIN_EV_SWITCHED, &s);
    return 0;
}

static int on_path(struct domain *d, const struct frame *f)
{
    struct ctl_path p;

    if (f->length != sizeof(p))
        return -EPROTO;
    memcpy(&p, f->payload, sizeof(p));
    d->event(d, DOMAIN_EV_PATH, &p);
    return 0;
}

void domain_switch(struct domain *d, const struct ctl_switch *s)
{
    stream_put_frame(&d->control, CTL_SWITCH, 0, s, sizeof(*s));
    control_flush(d);
}

static int on_stats(struct domain *d, const struct frame *f)
{
    char *text = xstrndup((const char *)f->payload, f->length);

    d->event(d, DOMAIN_EV_STATS, text);
    free(text);
    return 0;
}

static int on_core(struct domain *d, const struct frame *f)
{
    struct ctl_core c;
    uint64_t size;

    if (f->length < sizeof(c))
        return -EPROTO;
    memcpy(&c, f->payload, sizeof(c));
    int done = core_file_piece(d->dir, &c, f->payload + sizeof(c), f->length - sizeof(c), &size);
    if (done > 0)
        domain_note(d, "core of process %u: %llu bytes of %llu\n", c.pid, (unsigned long long)size,
                    (unsigned long long)c.offset);
    else if (done && c.flags & CTL_CORE_LAST)
        domain_note(d, "core of process %u: %s\n", c.pid, strerror(-done));
    return 0;
}

static int handle(struct domain *d, const struct frame *f)
{
    if (!d->hello_ns && f->type != CTL_HELLO)
        return -EPROTO;
    switch (f->type) {
    case CTL_HELLO:
        return on_hello(d, f);
    case CTL_LISTEN:
        return on_listen(d, f);
    case CTL_STATS:
        return on_stats(d, f);
    case CTL_CLAIM:
        return on_claim(d, f);
    case CTL_SWITCHED:
        return on_switched(d, f);
    case CTL_PATH:
        return on_path(d, f);
    case CTL_CORE:
        return on_core(d, f);
    default:
        break;
    }
    struct session *s = find(d, f->session);
    if (!s)
        return 0;
    switch (f->type) {
    case CTL_STARTED:
        return on_started(s, f);
    case CTL_OUT:
    case CTL_ERR:
        return on_output(s, f);
    case CTL_EXIT:
        return on_program_exit(s, f);
    case CTL_CREDIT:
        return on_in_credit(s, f);
    default:
        return 0; /* a newer kernel's frame: dropped, as abi/control.h says */
    }
}

int control_parse(struct domain *d)
{
    struct frame f;
    int err;

    while ((err = stream_frame(&d->control, &f)) > 0 && !(err = handle(d, &f))) {
        domain_commit(d);
        if (d->killed)
            break;
    }
    if (err < 0)
        domain_fail(d, "protocol error on the control channel");
    return err < 0 ? err : 0;
}

void control_ready(struct watch *w, uint32_t events)
{
    struct domain *d = (struct domain *)((char *)w - offsetof(struct domain, control));
    ssize_t n = stream_read(&d->control);

    (void)events;
    if (n > 0 && control_parse(d))
        n = -EPROTO;
    if (n < 0)
        stream_hang_up(&d->control);
    else if (d->hello_ns)
        stream_flush(&d->control);
    else
        loop_want(d->loop, w, EPOLLIN);
}

/* ---- to the domain ---- */

/* A free number for a further session; 0 with *err set if there can be none. */
static uint16_t free_session(struct domain *d, int *err)
{
    size_t count = 0;

    for (struct session *s = d->sessions; s; s = s->next)
        count++;
    *err = !domain_is_live(d) || !d->hello_ns || d->has_exit ? -ENOTCONN
           : count >= MAX_SESSIONS                           ? -EMFILE
                                                             : 0;
    if (*err)
        return 0;
    while (d->next_session < 2 || find(d, d->next_session))
        d->next_session++;
    return d->next_session++;
}

static struct session *add_session(struct domain *d, uint16_t id,
                                   const struct session_listener *listener, void *arg,
                                   struct stream *peer)
{
    struct session *s = xcalloc(1, sizeof(*s));

    *s = (struct session){.id = id,
                          .in_credit = CTL_WINDOW,
                          .domain = d,
                          .listener = listener,
                          .arg = arg,
                          .peer = peer,
                          .next = d->sessions};
    d->sessions = s;
    control_flush(d);
    return s;
}

struct session *domain_exec(struct domain *d, const struct exec_spec *spec,
                            const struct session_listener *listener, void *arg, struct stream *peer,
                            int *err)
{
    struct buf b = {0};
    uint16_t id = free_session(d, err);

    if (id)
        *err = frame_put_exec(&b, id, spec);
    if (!*err)
        stream_put(&d->control, b.data, b.len);
    buf_free(&b);
    return *err ? NULL : add_session(d, id, listener, arg, peer);
}

struct session *domain_monitor(struct domain *d, const struct ctl_monitor *ask,
                               const struct session_listener *listener, void *arg,
                               struct stream *peer, int *err)
{
    uint16_t id = free_session(d, err);

    if (!id)
        return NULL;
    stream_put_frame(&d->control, CTL_MONITOR, id, ask, sizeof(*ask));
    return add_session(d, id, listener, arg, peer);
}

int session_input(struct session *s, const void *data, size_t n)
{
    if (n > s->in_credit)
        return -EPROTO;
    s->in_credit -= (uint32_t)n;
    stream_put_frame(&s->domain->control, CTL_IN, s->id, data, n);
    control_flush(s->domain);
    return 0;
}

int session_consumed(struct session *s, uint32_t bytes)
{
    if (bytes > s->out_unread)
        return -EPROTO;
    s->out_unread -= bytes;
    if (bytes)
        stream_put_u32(&s->domain->control, CTL_CREDIT, s->id, bytes);
    control_flush(s->domain);
    return 0;
}

void session_signal(struct session *s, uint32_t signal)
{
    stream_put_u32(&s->domain->control, CTL_SIGNAL, s->id, signal);
    control_flush(s->domain);
}

void session_winsize(struct session *s, const void *payload, size_t n)
{
    stream_put_frame(&s->domain->control, CTL_WINSIZE, s->id, payload, n);
    control_flush(s->domain);
}

void session_detach(struct session *s)
{
    s->listener = NULL;
    s->arg = NULL;
    s->peer = NULL;
    session_consumed(s, s->out_unread);
}

void domain_get_stats(struct domain *d)
{
    stream_put_frame(&d->control, CTL_GET_STATS, 0, NULL, 0);
    control_flush(d);
}
