/* The supervisor's part of `librettos gdb`: QEMU's gdb stub, on as long as the command is there. */
#ifndef HOST_DEBUGGER_H
#define HOST_DEBUGGER_H

#include "client.h"

/* Has QEMU listen for gdb in the domain's directory. HOST_EVENT "gdb" with "socket" says that it
 * does; an error reply that it does not. */
void debugger_request(struct client *c, struct domain *d);
/* The command is gone: the stub too, and the domain goes on. */
void debugger_gone(struct client *c);

#endif
