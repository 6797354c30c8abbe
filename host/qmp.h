/*
 * Commands to a running QEMU (QMP). They are queued on the domain, before QEMU is up too, and sent
 * one by one: each when the one before was answered.
 */
#ifndef HOST_QMP_H
#define HOST_QMP_H

#include <jansson.h>

#include "domain.h"

/* Told once: error is NULL, or one line that says why it failed. */
typedef void qmp_done(void *arg, const char *error);

/*
 * Queues a command. arguments (may be NULL) and fd (or -1), a descriptor that goes with the
 * command, are taken over. done (may be NULL) is told how it went; if the domain ends first, with
 * an error, and the domain is not live any more then.
 */
void qmp_command(struct domain *d, const char *name, json_t *arguments, int fd, qmp_done *done,
                 void *arg);

/* Whether this error only says that the thing of this name is there already. */
bool qmp_is_repeated(const char *error);

#endif
