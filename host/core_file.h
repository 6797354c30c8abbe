/* Core files that programs of domains leave (abi/control.h, CTL_CORE), in the domain's directory.
 */
#ifndef HOST_CORE_FILE_H
#define HOST_CORE_FILE_H

#include "../abi/control.h"
#include "util.h"

#define CORE_FILE "core" /* in a domain's directory: the last one that was completed */

/* MiB of a core file that are kept: LIBRETTOS_CORE_MAX, or 256. */
uint64_t core_file_limit(void);
/*
 * Writes a piece from a domain into its directory, with holes where it sends nothing. Nothing is
 * remembered between pieces, so that another supervisor may take the next one. Returns 1 when that
 * was the last one: the file is there, *size bytes long; 0; or -errno.
 */
int core_file_piece(const char *dir, const struct ctl_core *piece, const void *data, size_t n,
                    uint64_t *size);

/* Removes what a domain of the same name left before. */
void core_file_remove(const char *dir);

#endif
