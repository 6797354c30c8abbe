/*
 * The set of files that go into a boot image: host files under the paths at which they are found,
 * and files the packer made up. Adding a path adds the directories above it and, for every symbolic
 * link on the way, the link and what it leads to, so that the path works in the image as it does
 * here.
 */
#ifndef HOST_FILESET_H
#define HOST_FILESET_H

#include <sys/stat.h>

#include "util.h"

struct file_entry {
    char *path;     /* absolute, canonical but for the last component */
    struct stat st; /* mode, owner, size, times; made up for generated files */
    char *target;   /* of a symbolic link */
    char *source;   /* host path of the data, NULL for generated entries */
    uint8_t *data;  /* of a generated regular file: st.st_size bytes */
    bool listed;    /* a directory whose content was packed: a new file in it matters */
    bool essential; /* the image is useless without it */
};

struct fileset {
    struct file_entry *entries;
    size_t count, cap;
    uint32_t *slots; /* index + 1, open addressing */
    size_t slot_count;
    struct strv unreadable; /* paths that were left out because this user may not read them */
    struct strv depends;    /* host files read while packing that are not entries themselves */
};

/*
 * Adds the host file or directory (not its content) at an absolute path. Returns 0 or -errno. If
 * final is not NULL, *final becomes the owned canonical path that the links lead to.
 */
int fileset_add(struct fileset *fs, const char *path, char **final);
/* Decides whether fileset_add_tree() takes an entry; for directories: goes into it. */
typedef bool fileset_filter(const char *path, const struct stat *st, void *arg);
/*
 * Adds a directory and everything below it that the filter (may be NULL: all) takes. What cannot be
 * read is left out. Links to elsewhere bring what they lead to. Returns 0 or -errno of the first
 * path.
 */
int fileset_add_tree(struct fileset *fs, const char *path, fileset_filter *filter, void *arg);
/*
 * Adds the host file at `path`, or the tree below it, under another path in the image. Links are
 * taken as they are. Returns 0 or -errno.
 */
int fileset_add_as(struct fileset *fs, const char *path, const char *as);
/* Adds or replaces a made-up regular file, directory (data NULL) or symbolic link. */
void fileset_put_file(struct fileset *fs, const char *path, mode_t mode, const void *data,
                      size_t n);
void fileset_put_dir(struct fileset *fs, const char *path, mode_t mode, uid_t uid, gid_t gid);
void fileset_put_link(struct fileset *fs, const char *path, const char *target);
/* The entry of this path, or NULL. Invalid after the next addition. */
struct file_entry *fileset_find(const struct fileset *fs, const char *path);
/* Notes a host file whose change makes the image stale. */
void fileset_depend(struct fileset *fs, const char *path);
/* Sorts the entries by path, so that directories come before what is in them. */
void fileset_sort(struct fileset *fs);
void fileset_free(struct fileset *fs);

#endif
