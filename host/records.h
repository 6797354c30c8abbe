/* The directories NAME.domain with the logs of domains, of which only so many are kept. */
#ifndef HOST_RECORDS_H
#define HOST_RECORDS_H

#include <stddef.h>

#define MAX_RECORDS 64 /* of ended domains, here and in `ps -a` */

/* Removes the directories in `dir` that were used longest ago, all but `keep`. No domain may run.
 */
void records_trim(const char *dir, size_t keep);
/* Removes one domain's directory, by its path, with the logs in it. */
void record_remove(const char *path);

#endif
