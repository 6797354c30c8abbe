/* What the parts of the packer share: pack.c, pack_packages.c. */
#ifndef HOST_PACK_INTERNAL_H
#define HOST_PACK_INTERNAL_H

#include "dpkg.h"
#include "ldso.h"
#include "pack.h"

#define PACK_PACKAGES_MAX 2000

struct packer {
    const struct pack_request *rq;
    struct fileset *fs;
    struct ldso_cache ldso;
    struct dpkg_db *db;   /* NULL: the host has none */
    struct strv programs; /* paths: the program and, for scripts, their interpreters */
    struct dpkg_package *set[PACK_PACKAGES_MAX + 1];
    size_t elf_done; /* entries below this index have their libraries */
    char *exe_rpath;
    bool script; /* the program is one */
    bool shell;  /* a program or an interpreter is one */
};

/* Adds a program and, for scripts, the interpreters it needs. Returns 0 or -errno. */
int pack_add_program(struct packer *p, const char *path);

/* pack_packages.c: adds the packages of the programs and those that the user named. Returns 0 or an
 * exit status. */
int pack_add_packages(struct packer *p);
/* True for what a volume will hide: packing it would be for nothing. */
bool pack_is_covered(const struct packer *p, const char *path);
/* Depth of a path: 1 for "/etc". */
int pack_depth_of(const char *path);

#endif
