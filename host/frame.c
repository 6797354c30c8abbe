/* The codec of frame.h. This host is little-endian, as the wire is. */
#include "frame.h"

#include <errno.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are copied as they are");

void frame_put(struct buf *b, uint16_t type, uint16_t session, const void *payload, size_t n)
{
    struct ctl_header h = {.length = (uint32_t)n, .type = type, .session = session};

    buf_append(b, &h, sizeof(h));
    buf_append(b, payload, n);
}

void frame_put_u32(struct buf *b, uint16_t type, uint16_t session, uint32_t value)
{
    frame_put(b, type, session, &value, sizeof(value));
}

int frame_next(struct buf *b, struct frame *f)
{
    struct ctl_header h;

    if (buf_used(b) < sizeof(h))
        return 0;
    memcpy(&h, buf_head(b), sizeof(h));
    if (h.length > CTL_MAX_PAYLOAD)
        return -EPROTO;
    if (buf_used(b) - sizeof(h) < h.length)
        return 0;
    *f = (struct frame){.type = h.type,
                        .session = h.session,
                        .length = h.length,
                        .payload = buf_head(b) + sizeof(h)};
    /* Not buf_consume(): the payload must stay where it is until the buffer's next change. */
    b->start += sizeof(h) + h.length;
    return 1;
}

int frame_u32(const struct frame *f, uint32_t *value)
{
    if (f->length != sizeof(*value))
        return -EPROTO;
    memcpy(value, f->payload, sizeof(*value));
    return 0;
}

static void put_string(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s) + 1);
}

int frame_put_exec(struct buf *b, uint16_t session, const struct exec_spec *spec)
{
    struct buf payload = {0};
    struct ctl_exec head = {
        .flags = spec->flags, .argc = (uint16_t)spec->argv->n, .envc = (uint16_t)spec->env->n};
    int err = spec->argv->n > UINT16_MAX || spec->env->n > UINT16_MAX ? -E2BIG : 0;

    buf_append(&payload, &head, sizeof(head));
    put_string(&payload, spec->cwd);
    put_string(&payload, spec->user);
    put_string(&payload, spec->program);
    for (size_t i = 0; i < spec->argv->n; i++)
        put_string(&payload, spec->argv->v[i]);
    for (size_t i = 0; i < spec->env->n; i++)
        put_string(&payload, spec->env->v[i]);
    if (payload.len > CTL_MAX_PAYLOAD)
        err = -E2BIG;
    if (!err)
        frame_put(b, CTL_EXEC, session, payload.data, payload.len);
    buf_free(&payload);
    return err;
}
