/* Writing a collected set of files as a boot image, for the cache and for `librettos image`. */
#ifndef HOST_IMAGE_H
#define HOST_IMAGE_H

#include "fileset.h"

/*
 * Writes the image under a temporary name beside `path` and renames it, so that nobody finds half
 * of one. Returns 0 with *bytes its size, or STATUS_OURS after a warning. Files that could not be
 * read are named in a warning.
 */
int image_write(const struct fileset *fs, const char *path, uint64_t *bytes);

#endif
