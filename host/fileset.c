/* The file set of fileset.h: an array of entries and a hash table over their paths. */
#include "fileset.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_LINKS 40 /* as the Linux kernel follows */

static size_t slot_of(const struct fileset *fs, const char *path)
{
    size_t slot = fnv1a(FNV_START, path, strlen(path)) & (fs->slot_count - 1);

    while (fs->slots[slot] && strcmp(fs->entries[fs->slots[slot] - 1].path, path))
        slot = (slot + 1) & (fs->slot_count - 1);
    return slot;
}

static void rehash(struct fileset *fs, size_t slots)
{
    free(fs->slots);
    fs->slot_count = slots;
    fs->slots = xcalloc(slots, sizeof(*fs->slots));
    for (size_t i = 0; i < fs->count; i++)
        fs->slots[slot_of(fs, fs->entries[i].path)] = (uint32_t)i + 1;
}

struct file_entry *fileset_find(const struct fileset *fs, const char *path)
{
    if (!fs->slot_count)
        return NULL;
    uint32_t i = fs->slots[slot_of(fs, path)];
    return i ? &fs->entries[i - 1] : NULL;
}

static struct file_entry *insert(struct fileset *fs, const char *path)
{
    if (fs->count * 2 >= fs->slot_count)
        rehash(fs, fs->slot_count ? fs->slot_count * 2 : 256);
    if (fs->count == fs->cap) {
        fs->cap = fs->cap ? fs->cap * 2 : 128;
        fs->entries = xrealloc(fs->entries, fs->cap * sizeof(*fs->entries));
    }
    struct file_entry *e = &fs->entries[fs->count++];
    *e = (struct file_entry){.path = xstrdup(path)};
    fs->slots[slot_of(fs, path)] = (uint32_t)fs->count;
    return e;
}

/* The entry for one host path, its parents being there already; NULL with errno set. */
static struct file_entry *add_one(struct fileset *fs, const char *path)
{
    char target[PATH_MAX];
    struct stat st;
    struct file_entry *e = fileset_find(fs, path);

    if (e)
        return e;
    if (lstat(path, &st) < 0)
        return NULL;
    ssize_t n = 0;
    if (S_ISLNK(st.st_mode) && (n = readlink(path, target, sizeof(target) - 1)) < 0)
        return NULL;
    e = insert(fs, path);
    e->st = st;
    e->source = xstrdup(path);
    if (S_ISLNK(st.st_mode))
        e->target = xstrndup(target, (size_t)n);
    return e;
}

int fileset_add(struct fileset *fs, const char *path, char **final)
{
    char *rest = xstrdup(path);
    char *at = xstrdup("");
    int links = 0, err = path[0] == '/' ? 0 : -EINVAL;

    for (char *p = rest; !err;) {
        p += strspn(p, "/");
        if (!*p)
            break;
        size_t len = strcspn(p, "/");
        if (len == 1 && p[0] == '.') {
            p += len;
            continue;
        }
        if (len == 2 && p[0] == '.' && p[1] == '.') {
            char *slash = strrchr(at, '/');
            if (slash)
                *slash = 0;
            p += len;
            continue;
        }
        char *next = xasprintf("%s/%.*s", at, (int)len, p);
        struct file_entry *e = add_one(fs, next);
        if (!e) {
            err = -errno;
            free(next);
            break;
        }
        p += len;
        if (!S_ISLNK(e->st.st_mode)) {
            free(at);
            at = next;
            continue;
        }
        free(next);
        if (++links > MAX_LINKS) {
            err = -ELOOP;
            break;
        }
        char *joined = xasprintf("%s/%s", e->target, p);
        if (e->target[0] == '/')
            *at = 0;
        free(rest);
        rest = p = joined;
    }
    free(rest);
    if (final)
        *final = err ? NULL : *at ? xstrdup(at) : xstrdup("/");
    free(at);
    return err;
}

static void add_children(struct fileset *fs, const char *dir, fileset_filter *filter, void *arg)
{
    struct dirent *d;
    struct stat st;
    DIR *dp = opendir(dir);

    if (!dp && errno == EACCES)
        strv_addf(&fs->unreadable, "%s/*", dir);
    while (dp && (d = readdir(dp))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        char *path = xasprintf("%s/%s", strcmp(dir, "/") ? dir : "", d->d_name);
        if (!lstat(path, &st) && (!filter || filter(path, &st, arg))) {
            if (S_ISDIR(st.st_mode))
                fileset_add_tree(fs, path, filter, arg);
            else if (S_ISREG(st.st_mode) || S_ISLNK(st.st_mode))
                fileset_add(fs, path, NULL);
        }
        free(path);
    }
    if (dp)
        closedir(dp);
}

int fileset_add_tree(struct fileset *fs, const char *path, fileset_filter *filter, void *arg)
{
    char *final;
    int err = fileset_add(fs, path, &final);

    if (err)
        return err;
    struct file_entry *e = fileset_find(fs, final);
    if (e && S_ISDIR(e->st.st_mode) && !e->listed) {
        e->listed = true;
        add_children(fs, final, filter, arg);
    }
    free(final);
    return 0;
}

/* The entry of a generated file; directories above it that the set lacks are made up too. */
static struct file_entry *put(struct fileset *fs, const char *path, mode_t mode)
{
    char *parent = xstrdup(path);
    char *slash = strrchr(parent, '/');

    if (slash && slash != parent) {
        *slash = 0;
        struct file_entry *p = fileset_find(fs, parent);
        if (!p && fileset_add(fs, parent, NULL))
            put(fs, parent, S_IFDIR | 0755);
    }
    free(parent);
    struct file_entry *e = fileset_find(fs, path);
    if (!e)
        e = insert(fs, path);
    free(e->target);
    free(e->source);
    free(e->data);
    e->target = e->source = NULL;
    e->data = NULL;
    e->st = (struct stat){.st_mode = mode};
    return e;
}

int fileset_add_as(struct fileset *fs, const char *path, const char *as)
{
    struct dirent *d;
    struct stat st;

    if (stat(path, &st) < 0 || (!S_ISDIR(st.st_mode) && access(path, R_OK) < 0))
        return -errno;
    struct file_entry *e = put(fs, as, st.st_mode);
    e->st = st;
    e->source = xstrdup(path);
    e->essential = true;
    if (!S_ISDIR(st.st_mode))
        return 0;
    e->listed = true;
    DIR *dp = opendir(path);
    int err = dp ? 0 : -errno;
    while (!err && (d = readdir(dp))) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        char *from = xasprintf("%s/%s", path, d->d_name), *to = xasprintf("%s/%s", as, d->d_name);
        err = fileset_add_as(fs, from, to);
        free(from);
        free(to);
    }
    if (dp)
        closedir(dp);
    return err;
}

void fileset_put_file(struct fileset *fs, const char *path, mode_t mode, const void *data, size_t n)
{
    struct file_entry *e = put(fs, path, S_IFREG | mode);

    e->data = xmalloc(n);
    if (n)
        memcpy(e->data, data, n);
    e->st.st_size = (off_t)n;
}

void fileset_put_dir(struct fileset *fs, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    struct file_entry *e = put(fs, path, S_IFDIR | mode);

    e->st.st_uid = uid;
    e->st.st_gid = gid;
}

void fileset_put_link(struct fileset *fs, const char *path, const char *target)
{
    struct file_entry *e = put(fs, path, S_IFLNK | 0777);

    e->target = xstrdup(target);
}

void fileset_depend(struct fileset *fs, const char *path)
{
    if (!strv_has(&fs->depends, path))
        strv_add(&fs->depends, xstrdup(path));
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file_entry *)a)->path, ((const struct file_entry *)b)->path);
}

void fileset_sort(struct fileset *fs)
{
    if (fs->count)
        qsort(fs->entries, fs->count, sizeof(*fs->entries), by_path);
    if (fs->slot_count)
        rehash(fs, fs->slot_count);
}

void fileset_free(struct fileset *fs)
{
    for (size_t i = 0; i < fs->count; i++) {
        free(fs->entries[i].path);
        free(fs->entries[i].target);
        free(fs->entries[i].source);
        free(fs->entries[i].data);
    }
    free(fs->entries);
    free(fs->slots);
    strv_free(&fs->depends);
    strv_free(&fs->unreadable);
    *fs = (struct fileset){0};
}
