/* The archive writer of cpio.h. */
#include "cpio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../abi/boot.h"

#define HEADER 110 /* bytes: a magic of 6 and 13 fields of 8 hexadecimal digits */
#define FLUSH (1u << 20)

struct writer {
    int fd;
    uint64_t at; /* archive offset of the next byte */
    struct buf out;
};

/* An entry's file in the archive; hard links share one, whose data comes with the last name. */
struct place {
    uint32_t ino, nlink;
    bool last;
};

size_t cpio_namesize(uint64_t at, size_t len, bool align)
{
    size_t least = len + 1;

    if (!align)
        return least;
    uint64_t end = at + HEADER + least;
    return least + (size_t)(-end & (BOOT_IMAGE_ALIGN - 1));
}

static int flush(struct writer *w)
{
    int err = write_all(w->fd, buf_head(&w->out), buf_used(&w->out));

    w->out.start = w->out.len = 0;
    return err;
}

static void zeros(struct writer *w, size_t n)
{
    memset(buf_reserve(&w->out, n), 0, n);
    w->out.len += n;
    w->at += n;
}

static void header(struct writer *w, const char *name, const struct file_entry *e,
                   const struct place *at, uint64_t size)
{
    size_t len = strlen(name);
    bool align = S_ISREG(e->st.st_mode) && size >= BOOT_IMAGE_ALIGN;
    size_t namesize = cpio_namesize(w->at, len, align);
    char text[HEADER + 1];

    snprintf(text, sizeof(text), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
             at->ino, (unsigned)e->st.st_mode, (unsigned)e->st.st_uid, (unsigned)e->st.st_gid,
             at->nlink, (unsigned)e->st.st_mtime, (unsigned)size, 0u, 0u, 0u, 0u,
             (unsigned)namesize, 0u);
    buf_append(&w->out, text, HEADER);
    buf_append(&w->out, name, len);
    w->at += HEADER + len;
    zeros(w, namesize - len);
    zeros(w, (size_t)(-w->at & 3));
}

/* Copies exactly `size` bytes; if the file became shorter the rest is zeros. */
static int copy_data(struct writer *w, int fd, uint64_t size)
{
    while (size) {
        size_t want = size < FLUSH ? (size_t)size : FLUSH;
        ssize_t n = read(fd, buf_reserve(&w->out, want), want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0) {
            zeros(w, want);
            n = (ssize_t)want;
        } else {
            w->out.len += (size_t)n;
            w->at += (uint64_t)n;
        }
        size -= (uint64_t)n;
        if (buf_used(&w->out) >= FLUSH) {
            int err = flush(w);
            if (err)
                return err;
        }
    }
    return 0;
}

static int write_host_file(struct writer *w, const char *name, const struct file_entry *e,
                           const struct place *at, struct cpio_stats *stats)
{
    struct stat st;
    int fd = open(e->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > UINT32_MAX) {
        int err = fd < 0 ? -errno : -EFBIG;
        if (fd >= 0)
            close(fd);
        if (e->essential)
            return err;
        strv_add(&stats->skipped, xstrdup(e->path));
        return 0;
    }
    header(w, name, e, at, (uint64_t)st.st_size);
    int err = copy_data(w, fd, (uint64_t)st.st_size);
    close(fd);
    return err;
}

static int write_entry(struct writer *w, const struct file_entry *e, const struct place *at,
                       struct cpio_stats *stats)
{
    const char *name = e->path[1] ? e->path + 1 : ".";
    int err = 0;

    stats->files++;
    if (!at->last) {
        header(w, name, e, at, 0);
    } else if (S_ISREG(e->st.st_mode) && e->source) {
        err = write_host_file(w, name, e, at, stats);
    } else {
        size_t n = e->target ? strlen(e->target) : e->data ? (size_t)e->st.st_size : 0;
        header(w, name, e, at, n);
        buf_append(&w->out, e->target ? (const void *)e->target : e->data, n);
        w->at += n;
    }
    zeros(w, (size_t)(-w->at & 3));
    if (!err && buf_used(&w->out) >= FLUSH)
        err = flush(w);
    return err;
}

static int by_inode(const void *x, const void *y, void *arg)
{
    const struct file_entry *entries = arg;
    uint32_t i = *(const uint32_t *)x, k = *(const uint32_t *)y;
    const struct stat *a = &entries[i].st, *b = &entries[k].st;

    if (a->st_dev != b->st_dev)
        return a->st_dev < b->st_dev ? -1 : 1;
    if (a->st_ino != b->st_ino)
        return a->st_ino < b->st_ino ? -1 : 1;
    return i < k ? -1 : 1;
}

/* Numbers the files, hard links of the host as one. The caller frees. */
static struct place *number_files(const struct fileset *fs)
{
    struct place *places = xcalloc(fs->count + 1, sizeof(*places));
    uint32_t *linked = xcalloc(fs->count + 1, sizeof(*linked));
    size_t n = 0;

    for (size_t i = 0; i < fs->count; i++) {
        const struct file_entry *e = &fs->entries[i];
        places[i] = (struct place){(uint32_t)i + 1, S_ISDIR(e->st.st_mode) ? 2 : 1, true};
        /* One that cannot be read will be left out, so the others' data must not depend on it. */
        if (S_ISREG(e->st.st_mode) && e->source && e->st.st_nlink > 1 && !access(e->source, R_OK))
            linked[n++] = (uint32_t)i;
    }
    qsort_r(linked, n, sizeof(*linked), by_inode, fs->entries);
    for (size_t i = 0, end; i < n; i = end) {
        const struct stat *st = &fs->entries[linked[i]].st;
        for (end = i + 1; end < n && fs->entries[linked[end]].st.st_dev == st->st_dev &&
                          fs->entries[linked[end]].st.st_ino == st->st_ino;
             end++)
            ;
        for (size_t k = i; k < end; k++)
            places[linked[k]] = (struct place){linked[i] + 1, (uint32_t)(end - i), k + 1 == end};
    }
    free(linked);
    return places;
}

int cpio_write(int fd, const struct fileset *fs, struct cpio_stats *stats, const char **culprit)
{
    struct writer w = {.fd = fd};
    struct place *places = number_files(fs);
    int err = 0;

    memset(stats, 0, sizeof(*stats));
    for (size_t i = 0; i < fs->count && !err; i++) {
        err = write_entry(&w, &fs->entries[i], &places[i], stats);
        if (err)
            *culprit = fs->entries[i].path;
    }
    if (!err) {
        struct file_entry end = {0};
        header(&w, "TRAILER!!!", &end, &(struct place){0, 1, true}, 0);
        zeros(&w, (size_t)(-w.at & (BOOT_IMAGE_ALIGN - 1)));
        err = flush(&w);
        *culprit = "the boot image";
    }
    stats->bytes = w.at;
    buf_free(&w.out);
    free(places);
    return err;
}
