/* Leases of a dead supervisor: see lease.h. */
#include <stdlib.h>
#include <string.h>

#include "lease.h"

json_t *lease_save(const struct lease *l)
{
    return json_pack("{s:b, s:b, s:b, s:i, s:s, s:s, s:s*, s:i}", "server_path",
                     (int)l->server_path, "shared", (int)l->shared, "user_net", (int)l->user_net,
                     "host", l->host, "net0", l->net0, "address", l->address, "server",
                     l->server ? l->server->name : NULL, "slot", (int)l->slot);
}

struct lease *lease_restore(struct supervisor *sv, struct domain *d, json_t *state)
{
    int server_path, shared, user_net, host, slot;
    const char *net0, *address, *server = NULL;

    (void)d;
    if (json_unpack(state, "{s:b, s:b, s:b, s:i, s:s, s:s, s?s, s:i}", "server_path", &server_path,
                    "shared", &shared, "user_net", &user_net, "host", &host, "net0", &net0,
                    "address", &address, "server", &server, "slot", &slot) ||
        host < -1 || host >= VNET_SERVER || server)
        return NULL;
    struct lease *l = xcalloc(1, sizeof(*l));
    *l = (struct lease){.sv = sv,
                        .server_path = server_path,
                        .shared = shared,
                        .user_net = user_net,
                        .host = host,
                        .device.fd = -1,
                        .keep = -1,
                        .net0 = xstrdup(net0),
                        .address = xstrdup(address)};
    if (host >= 0)
        vnet_take(sv->vnet, host);
    return l;
}
