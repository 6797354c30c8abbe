/* A domain's state, written down for the next supervisor. */
#ifndef HOST_DOMAIN_STATE_H
#define HOST_DOMAIN_STATE_H

#include <jansson.h>

#include "lease.h"

#define DOMAIN_STATE_VERSION 1

/* Writes down what changed of what a domain is: its NIC, its lease. Returns 0 or -errno. */
int domain_save(const struct domain *d);
/* What was written in a domain's directory; NULL if there is none, or it is no JSON. */
json_t *domain_read_state(const char *dir);
/* Forgets it. */
void domain_remove_state(const char *dir);
/*
 * Takes over the domain that this state describes: everything but its lease, its server and the
 * listeners of its sessions. NULL after a warning if it cannot be: a start that was not completed,
 * or damage. Then nothing of it is kept any more, and its QEMU is for the caller to find.
 */
struct domain *domain_restore(struct loop *loop, struct vnet *vnet, const char *dir, json_t *state);

#endif
