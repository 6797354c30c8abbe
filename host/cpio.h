/*
 * Writing a boot image: a cpio archive in the "newc" format (cpio(5)) whose larger files begin at
 * multiples of BOOT_IMAGE_ALIGN, so that the kernel maps them where they lie. The alignment is done
 * by counting further NUL bytes into c_namesize, which every reader of the format takes as the
 * name's end; `cpio -t` lists the image.
 */
#ifndef HOST_CPIO_H
#define HOST_CPIO_H

#include "fileset.h"

struct cpio_stats {
    uint64_t bytes; /* size of the archive */
    size_t files;
    struct strv skipped; /* host files that could not be read and were left out; the caller frees */
};

/*
 * Writes the sorted set to fd. A host file that cannot be read is left out and named in `skipped`,
 * unless it is essential: then -errno, with its path in *culprit (owned by the set). Also -errno of
 * write.
 */
int cpio_write(int fd, const struct fileset *fs, struct cpio_stats *stats, const char **culprit);

/*
 * The c_namesize for a name of `len` bytes whose header begins at archive offset `at`: the least
 * that holds the name and its NUL, and puts the data at a multiple of BOOT_IMAGE_ALIGN if `align`
 * is set.
 */
size_t cpio_namesize(uint64_t at, size_t len, bool align);

#endif
