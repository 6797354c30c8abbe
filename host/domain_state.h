/* A domain's state, written down for the next supervisor. */
#ifndef HOST_DOMAIN_STATE_H
#define HOST_DOMAIN_STATE_H

#include <jansson.h>

#include "lease.h"

#define DOMAIN_STATE_VERSION 1
#define DOMAIN_STATE ".state" /* how the names of the files end */
#define DOMAIN_KEY "domain "  /* and the id: how its entries at the keeper begin */

/*
 * Takes over the domain that this file, with this content, describes: everything but its lease, its
 * server and the listeners of its sessions. NULL after a warning if it cannot be: a start that was
 * not completed, or damage. Then nothing of it is kept any more, and its QEMU is for the caller to
 * find.
 */
struct domain *domain_restore(struct loop *loop, struct vnet *vnet, const char *file,
                              json_t *state);

/* When its sessions have their listeners again: handles what was read already. */
void domain_resume(struct domain *d);
/* What was committed about its lease. */
const struct lease_note *domain_lease_note(const struct domain *d);
/* Of the note: part of what two builds must agree on. */
uint32_t domain_state_size(void);

#endif
