/*
 * QMP, QEMU's machine protocol (docs/interop/qmp-spec): one JSON object a line. We need little of
 * it: to hear why a machine ends, and to tell it to.
 */
#include <jansson.h>
#include <string.h>

#include "domain.h"

#define LINE_MAX_BYTES (256u << 10)

static void command(struct domain *d, const char *name)
{
    buf_printf(&d->qmp.tx, "{\"execute\":\"%s\"}\r\n", name);
    channel_flush(&d->qmp);
}

void qmp_quit(struct domain *d)
{
    command(d, "quit");
}

void qmp_line(struct domain *d, const char *line, size_t n)
{
    json_t *msg = json_loadb(line, n, 0, NULL);
    const char *event = json_string_value(json_object_get(msg, "event"));

    if (json_object_get(msg, "QMP")) {
        command(d, "qmp_capabilities");
    } else if (event && !strcmp(event, "GUEST_PANICKED")) {
        d->panicked = true;
    } else if (event && !strcmp(event, "SHUTDOWN")) {
        json_t *data = json_object_get(msg, "data");
        const char *why = json_string_value(json_object_get(data, "reason"));
        d->powered_off = why && !strcmp(why, "guest-shutdown");
        if (why && !strcmp(why, "guest-reset") && !d->reason)
            d->reason = xstrdup("the machine reset itself (triple fault)");
    }
    json_decref(msg);
}

void qmp_ready(struct watch *w, uint32_t events)
{
    struct channel *c = (struct channel *)w;
    struct buf *b = &c->rx;
    ssize_t n = channel_read(c);

    while (n > 0) {
        uint8_t *eol = memchr(buf_head(b), '\n', buf_used(b));
        if (!eol)
            break;
        size_t len = (size_t)(eol - buf_head(b)) + 1;
        qmp_line(c->domain, (const char *)buf_head(b), len);
        buf_consume(b, len);
    }
    if (n < 0 || buf_used(b) > LINE_MAX_BYTES)
        channel_close(c);
    else if (events & EPOLLOUT)
        channel_flush(c);
}
