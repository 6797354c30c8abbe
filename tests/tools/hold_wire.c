/* Messages of hold and holdpeer: see hold_wire.h. */
#define _GNU_SOURCE
#include "hold_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECE 65536 /* of a body, at a time; a multiple of 8 */

static uint64_t pattern[PIECE / 8 + 1];
static unsigned char received[PIECE];

const char *hold_result_name(enum hold_result r)
{
    switch (r) {
    case HOLD_EOF:
        return "eof";
    case HOLD_ERROR:
        return "reset";
    case HOLD_WRONG_HEADER:
        return "wrong header";
    case HOLD_WRONG_BYTE:
        return "wrong byte";
    case HOLD_DUPLICATE:
        return "duplicate";
    case HOLD_MISSING:
        return "missing";
    default:
        return "unknown";
    }
}

static size_t body_of(const struct hold_message *m)
{
    if (m->kind == HOLD_REQUEST)
        return m->request_body;
    return m->kind == HOLD_RESPONSE ? m->response_body : 0;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The body's bytes from `offset` on, n <= PIECE - 8 of them, until the next call. */
static const unsigned char *body_bytes(const struct hold_message *m, size_t offset, size_t n)
{
    uint64_t key = mix(m->sequence + ((uint64_t)m->connection << 40) + m->kind);
    size_t words = (offset % 8 + n + 7) / 8;

    for (size_t i = 0; i < words; i++)
        pattern[i] = mix(key + offset / 8 + i);
    return (const unsigned char *)pattern + offset % 8;
}

static size_t piece(size_t left)
{
    return left < PIECE ? left : PIECE;
}

enum hold_result hold_send(int fd, struct hold_transfer *t)
{
    const size_t head = sizeof(t->m), all = head + body_of(&t->m);

    while (t->done < all) {
        size_t header_left = t->done < head ? head - t->done : 0;
        size_t offset = t->done < head ? 0 : t->done - head, n = piece(all - head - offset);
        struct iovec v[2] = {
            {(char *)&t->m + (head - header_left), header_left},
            {(void *)body_bytes(&t->m, offset, n), n},
        };
        struct msghdr h = {.msg_iov = v, .msg_iovlen = 2};
        ssize_t sent = sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN ? HOLD_MORE : HOLD_ERROR;
        t->done += (size_t)sent;
    }
    t->done = 0;
    return HOLD_WHOLE;
}

static enum hold_result receive_header(int fd, struct hold_transfer *t)
{
    const size_t head = sizeof(t->m);
    ssize_t n = recv(fd, (char *)&t->m + t->done, head - t->done, MSG_DONTWAIT);

    if (n <= 0)
        return n == 0 ? HOLD_EOF : errno == EAGAIN ? HOLD_MORE : HOLD_ERROR;
    t->done += (size_t)n;
    if (t->done < head)
        return HOLD_MORE;
    if ((t->m.kind != HOLD_REQUEST && t->m.kind != HOLD_RESPONSE && t->m.kind != HOLD_COMPLAINT) ||
        t->m.request_body > HOLD_MAX_BODY || t->m.response_body > HOLD_MAX_BODY || t->m.zero)
        return HOLD_WRONG_HEADER;
    return HOLD_HEADER;
}

enum hold_result hold_receive(int fd, struct hold_transfer *t)
{
    const size_t head = sizeof(t->m);

    if (t->done < head)
        return receive_header(fd, t);
    size_t offset = t->done - head, left = body_of(&t->m) - offset;
    if (left) {
        ssize_t n = recv(fd, received, piece(left), MSG_DONTWAIT);
        if (n <= 0)
            return n == 0 ? HOLD_EOF : errno == EAGAIN ? HOLD_MORE : HOLD_ERROR;
        if (memcmp(received, body_bytes(&t->m, offset, (size_t)n), (size_t)n))
            return HOLD_WRONG_BYTE;
        t->done += (size_t)n;
        if ((size_t)n < left)
            return HOLD_MORE;
    }
    t->done = 0;
    return HOLD_WHOLE;
}

enum hold_result hold_check_sequence(uint64_t got, uint64_t expected)
{
    if (got == expected)
        return HOLD_WHOLE;
    return got < expected ? HOLD_DUPLICATE : HOLD_MISSING;
}
