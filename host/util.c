/* The helpers of util.h. */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void warn(const char *fmt, ...)
{
    char line[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    dprintf(STDERR_FILENO, "librettos: %s\n", line);
}

static void *check(void *p)
{
    if (!p) {
        warn("out of memory");
        _exit(STATUS_OURS);
    }
    return p;
}

void *xmalloc(size_t n)
{
    return check(malloc(n ? n : 1));
}
void *xcalloc(size_t n, size_t size)
{
    return check(calloc(n ? n : 1, size));
}
void *xrealloc(void *p, size_t n)
{
    return check(realloc(p, n ? n : 1));
}
char *xstrdup_opt(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

char *xstrdup(const char *s)
{
    return check(strdup(s));
}
char *xstrndup(const char *s, size_t n)
{
    return check(strndup(s, n));
}

static char *xvasprintf(const char *fmt, va_list ap)
{
    char *s;

    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    return check(s);
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *s = xvasprintf(fmt, ap);
    va_end(ap);
    return s;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->start && b->start == b->len)
        b->start = b->len = 0;
    if (b->cap - b->len < n && b->start) {
        memmove(b->data, b->data + b->start, b->len - b->start);
        b->len -= b->start;
        b->start = 0;
    }
    if (!b->data || b->cap - b->len < n) {
        size_t cap = b->cap ? b->cap * 2 : 256;
        while (cap - b->len < n)
            cap *= 2;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    uint8_t *to = buf_reserve(b, n);

    if (n)
        memcpy(to, p, n);
    b->len += n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *s = xvasprintf(fmt, ap);
    va_end(ap);
    buf_append(b, s, strlen(s));
    free(s);
}

void buf_consume(struct buf *b, size_t n)
{
    b->start += n;
    if (b->start == b->len)
        b->start = b->len = 0;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void strv_add(struct strv *s, char *owned)
{
    if (s->n + 2 > s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        s->v = xrealloc(s->v, s->cap * sizeof(*s->v));
    }
    s->v[s->n++] = owned;
    s->v[s->n] = NULL;
}

void strv_addf(struct strv *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strv_add(s, xvasprintf(fmt, ap));
    va_end(ap);
}

bool strv_has(const struct strv *s, const char *word)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->v[i], word))
            return true;
    return false;
}

void strv_free(struct strv *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
    *s = (struct strv){0};
}

bool starts_with(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && !strcmp(s + n - m, suffix);
}

uint64_t fnv1a(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3ull;
    return h;
}

uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int read_file(const char *path, struct buf *b, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int err = 0;

    b->start = b->len = 0;
    if (fd < 0)
        return -errno;
    for (;;) {
        struct stat st;
        size_t want = b->len ? 65536 : 4096;
        if (!b->len && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0)
            want = (size_t)st.st_size < max ? (size_t)st.st_size + 1 : max + 1;
        ssize_t n = read(fd, buf_reserve(b, want + 1), want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            err = -errno;
        if (n <= 0)
            break;
        b->len += (size_t)n;
        if (b->len > max) {
            err = -EFBIG;
            break;
        }
    }
    close(fd);
    *buf_reserve(b, 1) = 0;
    return err;
}

int write_all(int fd, const void *p, size_t n)
{
    const char *c = p;

    while (n) {
        ssize_t k = write(fd, c, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return -errno;
        c += k;
        n -= (size_t)k;
    }
    return 0;
}

int write_file_atomic(const char *path, const void *p, size_t n)
{
    char *tmp = xasprintf("%s.%d.tmp", path, getpid());
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = fd < 0 ? -errno : write_all(fd, p, n);

    if (fd >= 0)
        close(fd);
    if (!err && rename(tmp, path) < 0)
        err = -errno;
    if (err)
        unlink(tmp);
    free(tmp);
    return err;
}

void hex_encode(const void *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", ((const uint8_t *)p)[i]);
}

int hex_decode(const char *text, void *p, size_t n)
{
    if (strlen(text) != 2 * n || strspn(text, "0123456789abcdef") != 2 * n)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        ((uint8_t *)p)[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return 0;
}

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;

    if (!*s)
        return -EINVAL;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || v > (UINT64_MAX - 9) / 10)
            return -EINVAL;
        v = v * 10 + (uint64_t)(*s - '0');
    }
    if (v < min || v > max)
        return -EINVAL;
    *out = v;
    return 0;
}

int env_u64(const char *name, uint64_t min, uint64_t max, uint64_t *out)
{
    const char *text = getenv(name);

    return text ? parse_u64(text, min, max, out) : 0;
}

void set_nonblock(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}
void set_cloexec(int fd, bool on)
{
    fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}
