/*
 * The search order of ldso.h. The cache's layout (glibc's dl-cache.h, format 1.1): a header of 48
 * bytes, then entries of 24 bytes whose key and value are offsets of strings from the file's start.
 */
#include "ldso.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CACHE_MAGIC "glibc-ld.so.cache1.1"
#define CACHE_HEADER 48
#define CACHE_ENTRY 24
#define CACHE_FLAGS_X86_64 0x0303 /* FLAG_X8664_LIB64 | FLAG_ELF_LIBC6 */
#define CACHE_MAX (32u << 20)

static const char *const default_dirs[] = {
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
};

static uint32_t u32_at(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

void ldso_cache_read(struct ldso_cache *c, const char *path)
{
    memset(c, 0, sizeof(*c));
    if (read_file(path, &c->file, CACHE_MAX) || c->file.len < CACHE_HEADER ||
        memcmp(c->file.data, CACHE_MAGIC, strlen(CACHE_MAGIC)))
        ldso_cache_free(c);
}

void ldso_cache_free(struct ldso_cache *c)
{
    buf_free(&c->file);
}

/* The string at an offset; read_file() ended the bytes with a NUL, so it ends within the buffer. */
static const char *cache_string(const struct ldso_cache *c, uint32_t off)
{
    return off < c->file.len ? (const char *)c->file.data + off : "";
}

const char *ldso_cache_find(const struct ldso_cache *c, const char *soname)
{
    if (!c->file.len)
        return NULL;
    size_t n = u32_at(c->file.data + 20);
    if (n > (c->file.len - CACHE_HEADER) / CACHE_ENTRY)
        n = (c->file.len - CACHE_HEADER) / CACHE_ENTRY;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *e = c->file.data + CACHE_HEADER + i * CACHE_ENTRY;
        bool hwcaps = u32_at(e + 16) || u32_at(e + 20);
        if (u32_at(e) == CACHE_FLAGS_X86_64 && !hwcaps &&
            !strcmp(cache_string(c, u32_at(e + 4)), soname))
            return cache_string(c, u32_at(e + 8));
    }
    return NULL;
}

/* One directory of a search path with $ORIGIN replaced by the object's directory. */
static char *expand_origin(const char *dir, size_t len, const char *object)
{
    static const char *const words[] = {"$ORIGIN", "${ORIGIN}"};
    char *s = xstrndup(dir, len);

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        char *at = strstr(s, words[i]);
        const char *slash = strrchr(object, '/');
        if (!at || !slash)
            continue;
        char *t = xasprintf("%.*s%.*s%s", (int)(at - s), s, (int)(slash - object), object,
                            at + strlen(words[i]));
        free(s);
        s = t;
    }
    return s;
}

static char *find_in_path(const char *path, const char *needed, const char *object)
{
    while (path && *path) {
        size_t len = strcspn(path, ":");
        char *dir = expand_origin(path, len, object);
        char *file = xasprintf("%s/%s", dir, needed);
        free(dir);
        if (file[0] == '/' && !access(file, F_OK))
            return file;
        free(file);
        path += len + (path[len] == ':');
    }
    return NULL;
}

char *ldso_find(const struct ldso_cache *c, const char *needed, const char *object,
                const struct elf_info *info, const char *exe_rpath)
{
    char *file = NULL;

    if (strchr(needed, '/'))
        return needed[0] == '/' && !access(needed, F_OK) ? xstrdup(needed) : NULL;
    if (!info->runpath) {
        file = find_in_path(info->rpath, needed, object);
        if (!file)
            file = find_in_path(exe_rpath, needed, object);
    }
    if (!file)
        file = find_in_path(info->runpath, needed, object);
    if (file)
        return file;
    const char *cached = ldso_cache_find(c, needed);
    if (cached && !access(cached, F_OK))
        return xstrdup(cached);
    for (size_t i = 0; i < ARRAY_SIZE(default_dirs); i++) {
        file = xasprintf("%s/%s", default_dirs[i], needed);
        if (!access(file, F_OK))
            return file;
        free(file);
    }
    return NULL;
}
