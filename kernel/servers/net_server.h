/*
 * The network server: one NIC for many application domains (docs/network-server.md).
 *
 * The server's interface eth0 has the shared address, and its stack answers for it (ARP, ND, echo,
 * resets). What arrives at the NIC, what domains send and what the own stack sends meets here and
 * goes to a domain's channel, to the NIC, or up the own stack. Who owns what is in the table that
 * the supervisor keeps (abi/net_table.h).
 *
 * All of it is one worker: one bottom half polls the channels, one spin lock covers the slots. More
 * throughput than one CPU has is had by more servers.
 */
#ifndef SERVERS_NET_SERVER_H
#define SERVERS_NET_SERVER_H

#include "channel/control.h"
#include "net/netif.h"

struct server_slot;

/* net_server_init of core/init.h makes a domain a network server. */

/* This domain is a network server. */
bool net_server_is_enabled(void);
/* The interface with the NIC is there and configured: from now on its frames are shared out. Thread
 * context. -EEXIST if it has started; -ENOMEM. */
int net_server_start(struct netif *nic);

/* The table's device. -EPROTO: none or of another version; -EOPNOTSUPP: this is no network server;
 * -EEXIST. It stays for ever. Thread context. */
int net_server_add_table(struct channel_device *dev);
/* The device of a channel, whose slot is told by its peer id; served as soon as the table says so,
 * and never taken away. ERR_PTR: -EOPNOTSUPP, -EINVAL (slot out of range), -EEXIST. Thread context.
 */
struct server_slot *net_server_add_channel(struct channel_device *dev);

/* A doorbell of the table, or of vector `vector` of a channel. Hard interrupt context. */
void net_server_table_rung(void);
void net_server_channel_rung(struct server_slot *s, unsigned vector);

#endif
