/*
 * QMP, QEMU's machine protocol (docs/interop/qmp-spec): one JSON object a line. We hear why a
 * machine ends, tell it to, and plug devices in (qmp.h). Replies carry the command's id; QEMU
 * answers in order, and what answers to nothing is dropped.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fdpass.h"
#include "qmp.h"

const struct stream_sizes domain_qmp_sizes = {.rx = 256u << 10 /* the longest line */,
                                              .tx = 256u << 10};

struct qmp_command {
    char *text; /* the line */
    uint32_t id;
    int fd;
    qmp_done *done;
    void *arg;
    struct qmp_command *next;
};

static void put_line(struct domain *d, const char *line, size_t n)
{
    stream_put(&d->qmp, line, n);
    stream_commit(&d->qmp, NULL, 0);
    stream_flush(&d->qmp);
}

static void command(struct domain *d, const char *name)
{
    char *line = xasprintf("{\"execute\":\"%s\"}\r\n", name);

    put_line(d, line, strlen(line));
    free(line);
}

void qmp_quit(struct domain *d)
{
    command(d, "quit");
}

/* ---- commands that are answered ---- */

/* Takes the first command off the queue and tells how it went. */
static void finish(struct domain *d, const char *error)
{
    struct qmp_command *c = d->commands;

    d->commands = c->next;
    d->qmp_busy = false;
    if (c->fd >= 0)
        close(c->fd);
    if (c->done)
        c->done(c->arg, error);
    free(c->text);
    free(c);
}

/* Sends the next command if none is under way. */
static void pump(struct domain *d)
{
    if (d->qmp_up && d->qmp.watch.fd >= 0 && d->commands && !d->qmp_busy) {
        struct qmp_command *c = d->commands;
        ssize_t n = 0;
        if (c->fd >= 0) {
            /* Nothing is under way, so the socket is empty and has room. */
            n = stream_unsent(&d->qmp) ? -1
                                       : fdpass_send(d->qmp.watch.fd, c->text, strlen(c->text),
                                                     &c->fd, 1, MSG_DONTWAIT);
            close(c->fd);
            c->fd = -1;
        }
        if (n < 0 || d->qmp.overflow) {
            domain_fail(d, "QEMU does not take commands");
            return;
        }
        d->qmp_busy = true;
        put_line(d, c->text + n, strlen(c->text) - (size_t)n);
    }
}

void qmp_command(struct domain *d, const char *name, json_t *arguments, int fd, qmp_done *done,
                 void *arg)
{
    struct qmp_command *c = xcalloc(1, sizeof(*c)), **end = &d->commands;
    json_t *o = json_pack("{s:s, s:o*, s:I}", "execute", name, "arguments", arguments, "id",
                          (json_int_t)++d->qmp_id);
    char *text = json_dumps(o, JSON_COMPACT);

    *c = (struct qmp_command){.text = xasprintf("%s\r\n", text ? text : ""),
                              .id = d->qmp_id,
                              .fd = fd,
                              .done = done,
                              .arg = arg};
    free(text);
    json_decref(o);
    while (*end)
        end = &(*end)->next;
    *end = c;
    pump(d);
}

bool qmp_is_repeated(const char *error)
{
    return strcasestr(error, "duplicate") || strstr(error, "already exists");
}

void qmp_abort(struct domain *d)
{
    d->qmp_up = false; /* a command that is queued meanwhile stays unsent */
    while (d->commands)
        finish(d, "the machine ended");
}

/* ---- what QEMU says ---- */

static void on_reply(struct domain *d, json_t *msg)
{
    json_t *id = json_object_get(msg, "id"), *error = json_object_get(msg, "error");
    const char *text = json_string_value(json_object_get(error, "desc"));

    if (d->qmp_busy && d->commands && json_is_integer(id) &&
        json_integer_value(id) == (json_int_t)d->commands->id)
        finish(d, !error ? NULL : text ? text : "QEMU gave no reason");
    pump(d);
}

static void on_event(struct domain *d, const char *event, json_t *data)
{
    const char *why = json_string_value(json_object_get(data, "reason"));
    const char *device = json_string_value(json_object_get(data, "device"));

    if (!strcmp(event, "GUEST_PANICKED")) {
        d->panicked = true;
    } else if (!strcmp(event, "DEVICE_DELETED") && device) {
        d->event(d, DOMAIN_EV_UNPLUGGED, device);
    } else if (!strcmp(event, "SHUTDOWN")) {
        d->powered_off = why && !strcmp(why, "guest-shutdown");
        if (why && !strcmp(why, "guest-reset") && !d->reason)
            d->reason = xstrdup("the machine reset itself (triple fault)");
    }
}

void qmp_line(struct domain *d, const char *line, size_t n)
{
    json_t *msg = json_loadb(line, n, 0, NULL);
    const char *event = json_string_value(json_object_get(msg, "event"));

    if (json_object_get(msg, "QMP")) {
        command(d, "qmp_capabilities"); /* carried out before all that follows it */
        d->qmp_up = true;
        pump(d);
    } else if (event) {
        on_event(d, event, json_object_get(msg, "data"));
    } else if (json_object_get(msg, "return") || json_object_get(msg, "error")) {
        on_reply(d, msg);
    }
    json_decref(msg);
}

void qmp_lines(struct domain *d)
{
    struct stream *s = &d->qmp;

    for (uint8_t *eol; (eol = memchr(stream_head(s), '\n', stream_used(s)));) {
        size_t n = (size_t)(eol - stream_head(s)) + 1;
        qmp_line(d, (const char *)stream_head(s), n);
        stream_consume(s, n);
        domain_commit(d);
        stream_commit(s, NULL, 0);
    }
}

void qmp_ready(struct watch *w, uint32_t events)
{
    struct domain *d = (struct domain *)((char *)w - offsetof(struct domain, qmp));
    ssize_t n = stream_read(&d->qmp);

    (void)events;
    if (n > 0)
        qmp_lines(d);
    if (n < 0 || stream_used(&d->qmp) == d->qmp.rx.size)
        stream_hang_up(&d->qmp);
    else
        stream_flush(&d->qmp);
}
