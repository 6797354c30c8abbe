/* The bounded log of logfile.h. */
#include "logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int begin(struct logfile *l, bool go_on)
{
    struct stat st;

    l->fd = open(l->path, O_WRONLY | O_CREAT | (go_on ? 0 : O_TRUNC) | O_APPEND | O_CLOEXEC, 0600);
    l->size = l->fd >= 0 && !fstat(l->fd, &st) ? (size_t)st.st_size : 0;
    return l->fd < 0 ? -errno : 0;
}

int logfile_open(struct logfile *l, const char *path, bool go_on)
{
    char *old = xasprintf("%s.1", path);

    if (!go_on)
        unlink(old);
    free(old);
    l->path = xstrdup(path);
    return begin(l, go_on);
}

void logfile_write(struct logfile *l, const void *data, size_t n)
{
    if (l->fd < 0)
        return;
    if (l->size + n > LOGFILE_MAX) {
        char *old = xasprintf("%s.1", l->path);
        rename(l->path, old);
        free(old);
        close(l->fd);
        if (begin(l, false))
            return;
    }
    if (!write_all(l->fd, data, n))
        l->size += n;
}

void logfile_truncate(struct logfile *l, size_t size)
{
    if (l->size > size && !ftruncate(l->fd, (off_t)size))
        l->size = size;
}

void logfile_close(struct logfile *l)
{
    if (!l->path)
        return;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    free(l->path);
    l->path = NULL;
}

char *logfile_tail(const char *path, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text = xmalloc(max + 1);
    ssize_t n = 0;

    if (fd >= 0) {
        off_t size = lseek(fd, 0, SEEK_END);
        n = pread(fd, text, max, size > (off_t)max ? size - (off_t)max : 0);
        close(fd);
    }
    text[n > 0 ? n : 0] = 0;
    return text;
}
