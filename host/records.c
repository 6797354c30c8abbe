/* Removing what ended domains left: see records.h. */
#include "records.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

struct record {
    char *path;
    struct timespec used;
};

void record_remove(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d && (e = readdir(d)))
        unlinkat(dirfd(d), e->d_name, 0); /* logs only; "." and ".." are refused */
    if (d)
        closedir(d);
    rmdir(path);
}

static int newest_first(const void *a, const void *b)
{
    const struct timespec *x = &((const struct record *)a)->used;
    const struct timespec *y = &((const struct record *)b)->used;

    if (x->tv_sec != y->tv_sec)
        return x->tv_sec < y->tv_sec ? 1 : -1;
    return x->tv_nsec < y->tv_nsec ? 1 : x->tv_nsec > y->tv_nsec ? -1 : 0;
}

void records_trim(const char *dir, size_t keep)
{
    DIR *d = opendir(dir);
    struct record *records = NULL;
    size_t n = 0;
    struct dirent *e;

    while (d && (e = readdir(d))) {
        char *path = xasprintf("%s/%s", dir, e->d_name);
        struct stat st;
        if (ends_with(path, ".domain") && !lstat(path, &st) && S_ISDIR(st.st_mode)) {
            records = xrealloc(records, (n + 1) * sizeof(*records));
            records[n++] = (struct record){path, st.st_mtim};
        } else {
            free(path);
        }
    }
    if (d)
        closedir(d);
    if (n)
        qsort(records, n, sizeof(*records), newest_first);
    for (size_t i = 0; i < n; i++) {
        if (i >= keep)
            record_remove(records[i].path);
        free(records[i].path);
    }
    free(records);
}
