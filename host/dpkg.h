/*
 * The dpkg database, read directly: which package owns a path, what a package owns and depends on.
 * Formats: deb-control(5) for the status file, one absolute path per line in info/PACKAGE.list.
 *
 * Paths are normalised for the merged /usr of Debian: /bin/x, /sbin/x, /lib/x and /lib64/x are
 * taken as /usr/bin/x and so on, whichever way a package spells them.
 */
#ifndef HOST_DPKG_H
#define HOST_DPKG_H

#include "util.h"

struct dpkg_package {
    char *name;
    char *source;           /* source package, the name itself if not given */
    bool essential;         /* "Essential: yes": others use it without depending on it */
    bool library;           /* "Section: libs" */
    bool visited;           /* by dpkg_dependencies() */
    struct strv depends;    /* names from Pre-Depends and Depends, alternatives flattened */
    struct strv recommends; /* likewise */
    struct strv files;      /* what its .list names, as written; owned by the database's buffers */
    struct buf list;
};

struct dpkg_db;

/*
 * Opens the database below `root` (normally "/var/lib/dpkg"). Returns NULL if there is none; a host
 * without dpkg is not an error.
 */
struct dpkg_db *dpkg_open(const char *root);
void dpkg_free(struct dpkg_db *db);

/* The installed package of this name (without ":arch"), or NULL. */
struct dpkg_package *dpkg_find(struct dpkg_db *db, const char *name);
/* Every installed package. */
void dpkg_for_each(struct dpkg_db *db, void (*fn)(struct dpkg_package *pkg, void *arg), void *arg);
/* A package that owns the path, or NULL. */
struct dpkg_package *dpkg_owner(struct dpkg_db *db, const char *path);
/* How many packages that are not in the set (a NULL-terminated array) own the path. */
size_t dpkg_other_owners(struct dpkg_db *db, const char *path, struct dpkg_package *const *set);

/*
 * The closure of the packages a program's own package is made of: `from` and everything reachable
 * over its dependencies that was built from the same source (nginx and nginx-common, redis-server
 * and redis-tools). Appends to set, a NULL-terminated array of room for `max` packages and the
 * NULL.
 */
void dpkg_closure(struct dpkg_db *db, struct dpkg_package *from, struct dpkg_package **set,
                  size_t max);

/*
 * Appends to set all that `from` depends on, itself or by others, but for shared libraries (which
 * are found by who needs them) and what only maintainer scripts need (debconf, adduser).
 */
void dpkg_dependencies(struct dpkg_db *db, struct dpkg_package *from, struct dpkg_package **set,
                       size_t max);

/* Parses one dependency field ("a (>= 1), b | c:any") into package names. For tests. */
void dpkg_parse_depends(const char *field, size_t len, struct strv *names);

#endif
