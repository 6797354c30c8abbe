/*
 * The packer: from the name of a program to a boot image with everything it takes to run. What goes
 * in, and why, is told at the head of pack.c; cache.h keeps the result for the next time.
 */
#ifndef HOST_PACK_H
#define HOST_PACK_H

#include "fileset.h"

/* Where programs are looked for in a domain. */
#define DOMAIN_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct pack_request {
    const char *program;         /* as the user gave it */
    char *const *args;           /* its arguments, NULL-terminated */
    const struct strv *files;    /* --file: more host files or directories */
    const struct strv *packages; /* --package: more Debian packages */
    bool depends;                /* --depends: and what these and the program's depend on */
    const struct strv *volumes;  /* where volumes will cover what the image has */
    bool user_net;               /* the domain is on the virtual switch */
};

struct pack_result {
    char *image;    /* path of the cpio archive in the cache */
    char *program;  /* absolute path of the program in the domain */
    char *cwd;      /* working directory in the domain */
    uint64_t bytes; /* size of the image */
    bool cached;    /* nothing had to be packed */
};

/*
 * Finds or makes the image. Returns 0, or the command's exit status (STATUS_*) after it told the
 * user in one line what is wrong. The caller frees the strings of the result.
 */
int pack(const struct pack_request *rq, struct pack_result *out);

/*
 * Finds the program and checks that it can be run. Returns 0 with *path its owned absolute path, or
 * an exit status after a warning, with *path NULL.
 */
int pack_program(const char *name, char **path);
/* Collects into fs all that the request needs. Used by pack() and tests; returns as pack(). */
int pack_collect(const struct pack_request *rq, const char *program, struct fileset *fs);
/* True if a package's file is of no use in a domain: documentation, translations, init scripts. */
bool pack_excluded(const char *path);
/*
 * The existing file that a program's argument names, itself or behind "--option=": a regular file,
 * or a directory by its absolute path. NULL if it names none. Points into the argument.
 */
const char *pack_argument_file(const char *arg);
/* Absolute path of a program looked up as a shell does, in PATH and the sbin directories; or NULL.
 */
char *pack_find_program(const char *name);

#endif
