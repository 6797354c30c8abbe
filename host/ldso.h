/*
 * Where the dynamic loader finds a library: ld.so(8)'s search order over RPATH, RUNPATH,
 * /etc/ld.so.cache and the default directories, without running it.
 */
#ifndef HOST_LDSO_H
#define HOST_LDSO_H

#include "elfinfo.h"

struct ldso_cache {
    struct buf file; /* the bytes of /etc/ld.so.cache; empty if there is none */
};

/* Reads the cache file. A missing or malformed one leaves the cache empty. */
void ldso_cache_read(struct ldso_cache *c, const char *path);
/* The path the cache gives for a soname (x86-64, no hwcaps variant), or NULL; owned by the cache.
 */
const char *ldso_cache_find(const struct ldso_cache *c, const char *soname);
void ldso_cache_free(struct ldso_cache *c);

/*
 * Finds the file that `needed`, a DT_NEEDED string of the object at `object` (described by info),
 * loads; exe_rpath is the executable's DT_RPATH or NULL. Returns an owned path or NULL.
 */
char *ldso_find(const struct ldso_cache *c, const char *needed, const char *object,
                const struct elf_info *info, const char *exe_rpath);

#endif
