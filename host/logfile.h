/*
 * A log of bounded size: when the file has grown to LOGFILE_MAX it is renamed to "<path>.1"
 * (replacing an older one) and begun anew, so that a talkative domain keeps only its latest words.
 */
#ifndef HOST_LOGFILE_H
#define HOST_LOGFILE_H

#include "util.h"

#define LOGFILE_MAX (4u << 20)

struct logfile {
    char *path;
    int fd;
    size_t size;
};

/* Begins an empty log, or goes on with the one that is there. Returns 0 or -errno. */
int logfile_open(struct logfile *l, const char *path, bool go_on);
/* Appends; a full disk loses log text and nothing else. */
void logfile_write(struct logfile *l, const void *data, size_t n);
/* Drops what is behind `size`, if it is that long. */
void logfile_truncate(struct logfile *l, size_t size);
void logfile_close(struct logfile *l);
/* The last (at most max) bytes of a log file, NUL-terminated, owned by the caller; "" if
 * unreadable. */
char *logfile_tail(const char *path, size_t max);

#endif
