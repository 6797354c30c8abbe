/*
 * What a shell may count on: every Debian system has the packages marked "Essential: yes", so no
 * script declares that it needs sort(1) or mount(8). An image whose program is a shell has them
 * too.
 */
#ifndef HOST_SHELL_H
#define HOST_SHELL_H

#include "dpkg.h"
#include "fileset.h"

/* Whether `path` is a login shell of this host: shells(5). */
bool is_shell(const char *path);
/* Adds the commands of the installed essential packages. */
void add_essential_commands(struct dpkg_db *db, struct fileset *fs);

#endif
