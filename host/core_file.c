/* Keeping core files: core_file.h. */
#include "core_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT_MIB 256
#define PART "core.part"

uint64_t core_file_limit(void)
{
    uint64_t mib = LIMIT_MIB;

    env_u64("LIBRETTOS_CORE_MAX", 0, 1 << 20, &mib);
    return mib << 20;
}

static int write_piece(int dir, const struct ctl_core *piece, const void *data, size_t n)
{
    int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    int fd = openat(dir, PART, flags | (piece->flags & CTL_CORE_FIRST ? O_TRUNC : 0), 0600);
    uint64_t limit = core_file_limit();
    int err = 0;

    if (fd < 0)
        return -errno;
    if (piece->flags & CTL_CORE_LAST) {
        uint64_t size = piece->offset < limit ? piece->offset : limit;
        if (ftruncate(fd, (off_t)size) < 0 || renameat(dir, PART, dir, CORE_FILE) < 0)
            err = -errno;
    } else if (piece->offset < limit) {
        size_t room = limit - piece->offset;
        if (pwrite(fd, data, n < room ? n : room, (off_t)piece->offset) < 0)
            err = -errno;
    }
    close(fd);
    return err;
}

int core_file_piece(const char *path, const struct ctl_core *piece, const void *data, size_t n,
                    uint64_t *size)
{
    uint64_t limit = core_file_limit();
    int dir = limit ? open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC) : -1;
    int err = dir >= 0 ? write_piece(dir, piece, data, n) : limit ? -errno : 0;

    if (dir >= 0)
        close(dir);
    *size = piece->offset < limit ? piece->offset : limit;
    return err ? err : limit && piece->flags & CTL_CORE_LAST;
}

void core_file_remove(const char *path)
{
    int dir = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

    if (dir < 0)
        return;
    unlinkat(dir, PART, 0);
    unlinkat(dir, CORE_FILE, 0);
    close(dir);
}
