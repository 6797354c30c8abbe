/* The directories of dirs.h. */
#include "dirs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

/* Makes a directory of ours, or checks the one that is there. NULL if it cannot be trusted. */
static char *own_dir(char *path)
{
    struct stat st;

    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        free(path);
        return NULL;
    }
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
        (st.st_mode & 0022)) {
        errno = EPERM;
        free(path);
        return NULL;
    }
    return path;
}

/* An absolute directory named by an environment variable that this user may write to. */
static const char *env_dir(const char *name)
{
    const char *dir = getenv(name);

    return dir && dir[0] == '/' && !access(dir, W_OK) ? dir : NULL;
}

char *dirs_runtime(void)
{
    const char *xdg = env_dir("XDG_RUNTIME_DIR");
    char *dir = NULL;

    if (xdg)
        dir = own_dir(xasprintf("%s/librettos", xdg));
    if (!dir)
        dir = own_dir(xasprintf("/run/user/%d/librettos", (int)geteuid()));
    if (!dir)
        dir = own_dir(xasprintf("/tmp/librettos-%d", (int)geteuid()));
    if (!dir)
        warn("no run-time directory: /tmp/librettos-%d: %s; set XDG_RUNTIME_DIR to a directory of "
             "your own",
             (int)geteuid(), strerror(errno));
    return dir;
}

char *dirs_cache(void)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = env_dir("HOME");
    char *dir = NULL;

    if (xdg && xdg[0] == '/') {
        mkdir(xdg, 0700);
        dir = own_dir(xasprintf("%s/librettos", xdg));
    }
    if (!dir && home) {
        char *cache = xasprintf("%s/.cache", home);
        mkdir(cache, 0700);
        dir = own_dir(xasprintf("%s/librettos", cache));
        free(cache);
    }
    if (dir)
        return dir;
    char *runtime = dirs_runtime();
    if (!runtime)
        return NULL;
    dir = own_dir(xasprintf("%s/cache", runtime));
    if (!dir)
        warn("no image cache: %s/cache: %s", runtime, strerror(errno));
    free(runtime);
    return dir;
}
