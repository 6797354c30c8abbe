/*
 * Packed images are kept in $XDG_CACHE_HOME/librettos: for each request an image (*.cpio) and a
 * manifest (*.list) of every host file that went into it, by inode, size, times, mode and owner.
 * The image is used again while each of them is what it was; so a changed configuration or an
 * upgraded library is packed anew, and a start with nothing changed only costs one lstat() a file.
 */
#ifndef HOST_CACHE_H
#define HOST_CACHE_H

#include "pack.h"

/* Finds or makes the image of a request; fills in the result's image, bytes, cached. As pack(). */
int cache_image(const struct pack_request *rq, const char *program, const char *cwd,
                struct pack_result *out);

/* The manifest of a collected set under a key, and whether one still holds. For cache.c and tests.
 */
void cache_manifest(const struct fileset *fs, const char *key, struct buf *out);
bool cache_manifest_holds(const struct buf *manifest, const char *key);

#endif
