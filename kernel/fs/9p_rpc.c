/* 9P messages, see fs/9p_rpc.h. */
#include "fs/9p_rpc.h"

static uint16_t next_tag(enum p9_type type)
{
    static atomic_uint last;
    if (type == P9_VERSION)
        return 0xffff; /* NOTAG */
    /* Far fewer than this are ever outstanding. */
    return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) % 0x8000;
}

int p9_begin(struct p9_msg *m, struct p9_transport *t, enum p9_type type)
{
    *m = (struct p9_msg){.transport = t, .type = type, .tag = next_tag(type), .len = P9_HEADER};
    m->tx = kmalloc(P9_MESSAGE_SIZE);
    m->rx = kmalloc(P9_MESSAGE_SIZE);
    if (m->tx && m->rx)
        return 0;
    p9_end(m);
    return -ENOMEM;
}

void p9_end(struct p9_msg *m)
{
    kfree(m->tx);
    kfree(m->rx);
    m->tx = m->rx = NULL;
}

static void store(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t load(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void p9_put(struct p9_msg *m, uint64_t value, unsigned bytes)
{
    if (P9_MESSAGE_SIZE - m->len < bytes) {
        m->bad = true;
        return;
    }
    store(m->tx + m->len, value, bytes);
    m->len += bytes;
}

void p9_put_text(struct p9_msg *m, const char *text, size_t len)
{
    p9_put(m, len, 2);
    if (m->bad || P9_MESSAGE_SIZE - m->len < len) {
        m->bad = true;
        return;
    }
    memcpy(m->tx + m->len, text, len);
    m->len += len;
}

/* Checks the reply's header, its length known: 0, the server's error or -EPROTO. */
static int check_reply(struct p9_msg *m, ssize_t got)
{
    if (got < 0)
        return (int)got;
    if (got < (ssize_t)P9_HEADER)
        return -EPROTO;
    m->size = load(m->rx, 4);
    uint8_t type = m->rx[4];
    if (m->size < P9_HEADER || m->size > (size_t)got || load(m->rx + 5, 2) != m->tag)
        return -EPROTO;
    m->at = P9_HEADER;
    if (type == P9_LERROR + 1) {
        uint64_t err = m->size >= P9_IO_HEADER ? load(m->rx + P9_HEADER, 4) : 0;
        return err > 0 && err < 4096 ? -(int)err : -EPROTO;
    }
    return type == m->type + 1 ? 0 : -EPROTO;
}

int p9_call(struct p9_msg *m)
{
    if (m->bad)
        return -ENAMETOOLONG;
    store(m->tx, m->len, 4);
    m->tx[4] = m->type;
    store(m->tx + 5, m->tag, 2);
    struct iovec_k tx = {(uintptr_t)m->tx, m->len}, rx = {(uintptr_t)m->rx, P9_MESSAGE_SIZE};
    return check_reply(m, MIN(m->transport->rpc(m->transport, &tx, 1, &rx, 1), P9_MESSAGE_SIZE));
}

ssize_t p9_call_data(struct p9_msg *m, const void *out, size_t out_len, void *in, size_t in_len)
{
    if (m->bad)
        return -EINVAL;
    store(m->tx, m->len + out_len, 4);
    m->tx[4] = m->type;
    store(m->tx + 5, m->tag, 2);
    const struct iovec_k tx[] = {{(uintptr_t)m->tx, m->len}, {(uintptr_t)out, out_len}};
    const struct iovec_k rx[] = {{(uintptr_t)m->rx, in ? P9_IO_HEADER : P9_MESSAGE_SIZE},
                                 {(uintptr_t)in, in_len}};
    ssize_t got = m->transport->rpc(m->transport, tx, out_len ? 2 : 1, rx, in ? 2 : 1);
    size_t room = in ? P9_IO_HEADER + in_len : P9_MESSAGE_SIZE;
    int err = check_reply(m, MIN(got, (ssize_t)room));
    if (err)
        return err;
    size_t count = m->size >= P9_IO_HEADER ? load(m->rx + P9_HEADER, 4) : SIZE_MAX;
    size_t most = in ? MIN(in_len, m->size - MIN(m->size, P9_IO_HEADER)) : out_len;
    return count <= most ? (ssize_t)count : -EPROTO;
}

uint64_t p9_get(struct p9_msg *m, unsigned bytes)
{
    if (m->size - m->at < bytes) {
        m->bad = true;
        return 0;
    }
    m->at += bytes;
    return load(m->rx + m->at - bytes, bytes);
}

void p9_get_qid(struct p9_msg *m, struct p9_qid *qid)
{
    qid->type = (uint8_t)p9_get(m, 1);
    qid->version = (uint32_t)p9_get(m, 4);
    qid->path = p9_get(m, 8);
}

const char *p9_get_text(struct p9_msg *m, size_t *len)
{
    *len = p9_get(m, 2);
    if (m->bad || m->size - m->at < *len) {
        m->bad = true;
        *len = 0;
        return "";
    }
    m->at += *len;
    return (const char *)m->rx + m->at - *len;
}

int p9_check(const struct p9_msg *m)
{
    return m->bad ? -EPROTO : 0;
}
