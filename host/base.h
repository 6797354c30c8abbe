/*
 * The files every image has, whatever the program: the directories of a root file system, the user
 * database, name resolution, time zone; and the run-time directories that service managers make.
 */
#ifndef HOST_BASE_H
#define HOST_BASE_H

#include "fileset.h"

/*
 * Adds the base files. The system users and groups of the host (and those that own an entry of the
 * set) are taken over, without password hashes. user_net: names are resolved by the virtual switch;
 * otherwise by the servers of the host's resolv.conf.
 */
void base_add(struct fileset *fs, bool user_net);

/* Makes the directories that a systemd unit's RuntimeDirectory= asks for, owned by its User=. */
void base_add_unit(struct fileset *fs, const char *unit_path);

/* Looks up a user of the host's /etc/passwd. Returns 0, or -ENOENT. */
int base_user(const char *name, uid_t *uid, gid_t *gid);

#endif
