/*
 * Small helpers every file of the host command uses: growing byte buffers and string lists,
 * formatted strings, whole-file reading, the monotonic clock, hashing.
 *
 * Running out of memory ends the process (xmalloc and friends): nothing sensible is left to do in a
 * command line tool, and it keeps every caller free of untestable branches.
 */
#ifndef HOST_UTIL_H
#define HOST_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))

/* Exit statuses of our own, the same as other container tools use. */
#define STATUS_OURS 125     /* the command itself failed */
#define STATUS_CANNOT 126   /* the program was found but cannot be run */
#define STATUS_NOTFOUND 127 /* the program was not found */
#define STATUS_SIGNAL 128   /* + n: ended by signal n */

/* Prints "librettos: <message>\n" to stderr. */
void warn(const char *fmt, ...) PRINTF(1, 2);

void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrdup_opt(const char *s); /* NULL for NULL */
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF(1, 2);

/* A growing byte buffer. data is valid up to len; start is where unread bytes begin. */
struct buf {
    uint8_t *data;
    size_t start, len, cap;
};

static inline size_t buf_used(const struct buf *b)
{
    return b->len - b->start;
}
static inline uint8_t *buf_head(const struct buf *b)
{
    return b->data ? b->data + b->start : NULL;
}
/* Makes room for n more bytes behind len and returns where they go; the caller advances len. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_append(struct buf *b, const void *p, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Drops n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
void buf_free(struct buf *b);

/* A growing list of owned strings; v is always NULL-terminated once something was added. */
struct strv {
    char **v;
    size_t n, cap;
};

void strv_add(struct strv *s, char *owned);
void strv_addf(struct strv *s, const char *fmt, ...) PRINTF(2, 3);
bool strv_has(const struct strv *s, const char *word);
void strv_free(struct strv *s);

bool starts_with(const char *s, const char *prefix);
bool ends_with(const char *s, const char *suffix);

/* FNV-1a over n bytes, continued from h (begin with FNV_START). Not for adversarial keys. */
#define FNV_START 0xcbf29ce484222325ull
uint64_t fnv1a(uint64_t h, const void *p, size_t n);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t now_ns(void);

/*
 * Reads the whole of a file into b (emptied first) and appends a NUL that is not counted in len.
 * Returns 0 or -errno; -EFBIG if it is longer than max bytes.
 */
int read_file(const char *path, struct buf *b, size_t max);
/* Writes all n bytes, retrying short writes and EINTR. Returns 0 or -errno. */
int write_all(int fd, const void *p, size_t n);
/* Replaces path with these bytes, atomically (a temporary file beside it, then rename). */
int write_file_atomic(const char *path, const void *p, size_t n);

/* n bytes as 2 n hexadecimal digits and a NUL, and back: 0, or -EINVAL for another text. */
void hex_encode(const void *p, size_t n, char *out);
int hex_decode(const char *text, void *p, size_t n);

/* Parses a whole decimal number within [min, max]. Returns 0 or -EINVAL. */
int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out);
/* The same from an environment variable; 0, and *out as it was, if there is none. */
int env_u64(const char *name, uint64_t min, uint64_t max, uint64_t *out);

/* Sets or clears O_NONBLOCK / FD_CLOEXEC. */
void set_nonblock(int fd);
void set_cloexec(int fd, bool on);

#endif
