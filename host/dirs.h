/* Where things are kept: the run-time directory with the supervisor's socket, and the image cache.
 */
#ifndef HOST_DIRS_H
#define HOST_DIRS_H

/*
 * The run-time directory, made if it is not there: $XDG_RUNTIME_DIR/librettos, else
 * /run/user/UID/librettos, else /tmp/librettos-UID. It belongs to the user with mode 0700: a
 * directory that does not is refused. Returns an owned path, or NULL after saying why.
 */
char *dirs_runtime(void);
/* The image cache, $XDG_CACHE_HOME/librettos or ~/.cache/librettos, else within dirs_runtime(). */
char *dirs_cache(void);

#endif
