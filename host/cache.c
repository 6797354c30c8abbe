/*
 * The image cache of cache.h. A manifest is the key (NUL-terminated), then for each file a struct
 * record and its NUL-terminated path.
 */
#include "cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dirs.h"
#include "image.h"

#define KEEP_BYTES (1ull << 30) /* of images not used lately */
#define MANIFEST_MAX (64u << 20)
#define PROGRESS_NS 500000000ull

struct record {
    uint64_t ino, size, mtime, ctime;
    uint32_t mode, uid, gid, whole; /* whole: size and times count too */
};

static uint64_t stamp(struct timespec t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A directory changes its times whenever anything in it does: that matters only if it was listed.
 */
static struct record describe(const struct stat *st, bool whole)
{
    struct record r = {.mode = st->st_mode, .uid = st->st_uid, .gid = st->st_gid, .whole = whole};

    if (whole) {
        r.ino = st->st_ino;
        r.size = (uint64_t)st->st_size;
        r.mtime = stamp(st->st_mtim);
        r.ctime = stamp(st->st_ctim);
    }
    return r;
}

static void add_record(struct buf *out, const char *path, bool whole)
{
    struct stat st = {0};

    lstat(path, &st);
    struct record r = describe(&st, whole);
    buf_append(out, &r, sizeof(r));
    buf_append(out, path, strlen(path) + 1);
}

void cache_manifest(const struct fileset *fs, const char *key, struct buf *out)
{
    buf_append(out, key, strlen(key) + 1);
    for (size_t i = 0; i < fs->depends.n; i++)
        add_record(out, fs->depends.v[i], true);
    for (size_t i = 0; i < fs->count; i++) {
        const struct file_entry *e = &fs->entries[i];
        if (e->source)
            add_record(out, e->source, e->listed || !S_ISDIR(e->st.st_mode));
    }
}

bool cache_manifest_holds(const struct buf *m, const char *key)
{
    size_t at = strlen(key) + 1;

    if (m->len < at || memcmp(m->data, key, at))
        return false;
    while (at < m->len) {
        struct record r;
        struct stat st;
        const uint8_t *path = m->data + at + sizeof(r);
        if (m->len - at <= sizeof(r) || !memchr(path, 0, m->len - at - sizeof(r)))
            return false;
        memcpy(&r, m->data + at, sizeof(r));
        if (lstat((const char *)path, &st) < 0)
            memset(&st, 0, sizeof(st));
        struct record now = describe(&st, r.whole);
        if (memcmp(&now, &r, sizeof(r)))
            return false;
        at += sizeof(r) + strlen((const char *)path) + 1;
    }
    return true;
}

/* All that a request's image depends on besides the files themselves. */
static char *make_key(const struct pack_request *rq, const char *program, const char *cwd)
{
    struct buf b = {0};
    struct stat self = {0};

    stat("/proc/self/exe", &self); /* another packer may pack otherwise */
    buf_printf(&b, "packer=%" PRIu64 ".%" PRIu64 " uid=%d net=%d depends=%d\n%s\n%s\n",
               (uint64_t)self.st_ino, stamp(self.st_mtim), (int)geteuid(), rq->user_net,
               rq->depends, program, cwd);
    for (char *const *a = rq->args; a && *a; a++)
        if (pack_argument_file(*a))
            buf_printf(&b, "arg %s\n", pack_argument_file(*a));
    char *here = getcwd(NULL, 0); /* relative names mean something else elsewhere */
    for (size_t i = 0; rq->files && i < rq->files->n; i++)
        buf_printf(&b, "file %s in %s\n", rq->files->v[i], here ? here : "");
    free(here);
    for (size_t i = 0; rq->packages && i < rq->packages->n; i++)
        buf_printf(&b, "package %s\n", rq->packages->v[i]);
    for (size_t i = 0; rq->volumes && i < rq->volumes->n; i++)
        buf_printf(&b, "volume %s\n", rq->volumes->v[i]);
    buf_append(&b, "", 1);
    return (char *)b.data;
}

/* Removes the images that were used longest ago until the rest is below KEEP_BYTES. */
static void trim(const char *dir)
{
    for (;;) {
        DIR *d = opendir(dir);
        struct dirent *e;
        uint64_t total = 0, oldest_at = UINT64_MAX;
        char *oldest = NULL;
        while (d && (e = readdir(d))) {
            char *path = xasprintf("%s/%s", dir, e->d_name);
            struct stat st;
            if (ends_with(path, ".cpio") && !stat(path, &st)) {
                total += (uint64_t)st.st_size;
                if (stamp(st.st_mtim) < oldest_at) {
                    oldest_at = stamp(st.st_mtim);
                    free(oldest);
                    oldest = xstrdup(path);
                }
            }
            free(path);
        }
        if (d)
            closedir(d);
        bool done = total <= KEEP_BYTES || !oldest || unlink(oldest) < 0;
        free(oldest);
        if (done)
            return;
    }
}

int cache_image(const struct pack_request *rq, const char *program, const char *cwd,
                struct pack_result *out)
{
    char *dir = dirs_cache();
    if (!dir)
        return STATUS_OURS;
    char *key = make_key(rq, program, cwd);
    uint64_t hash = fnv1a(FNV_START, key, strlen(key));
    const char *base = strrchr(program, '/') + 1;
    char *manifest = xasprintf("%s/%s-%016" PRIx64 ".list", dir, base, hash);
    struct buf m = {0}, now = {0};
    struct stat st;
    int status = 0;

    out->image = xasprintf("%s/%s-%016" PRIx64 ".cpio", dir, base, hash);
    if (!read_file(manifest, &m, MANIFEST_MAX) && !stat(out->image, &st) &&
        cache_manifest_holds(&m, key)) {
        out->cached = true;
        out->bytes = (uint64_t)st.st_size;
        utimensat(AT_FDCWD, out->image, NULL, 0);
    } else {
        struct fileset fs = {0};
        uint64_t begin = now_ns();
        status = pack_collect(rq, program, &fs);
        if (!status && now_ns() - begin > PROGRESS_NS)
            warn("packing %s (%zu files) ...", base, fs.count);
        if (!status)
            status = image_write(&fs, out->image, &out->bytes);
        if (!status) {
            cache_manifest(&fs, key, &now);
            if (write_file_atomic(manifest, now.data, now.len))
                warn("cannot write %s: %s", manifest, strerror(errno));
        }
        if (!status && now_ns() - begin > PROGRESS_NS)
            warn("packed %zu files, %.1f MiB in %.1f s; the next start is quick", fs.count,
                 (double)out->bytes / (1 << 20), (double)(now_ns() - begin) / 1e9);
        fileset_free(&fs);
        trim(dir);
    }
    buf_free(&m);
    buf_free(&now);
    free(manifest);
    free(key);
    free(dir);
    return status;
}
