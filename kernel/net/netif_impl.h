/* What the files of net/ that make up interfaces share among themselves. */
#ifndef NET_NETIF_IMPL_H
#define NET_NETIF_IMPL_H

#include "net/netif.h"

/* Serialises changes of interfaces, addresses, routes and memberships. bh lock, taken before any
 * other lock of net/; never on the data path. */
extern spinlock_t net_config_lock;
/* All interfaces in order of their index; only ever grows at the end. */
extern struct list netif_list;

/* Notes that the doorbell of this queue is to be rung at the end of the batch. Inside a batch. */
void net_batch_dirty(struct net_path *path, int queue);
bool net_in_batch(void);

/* netif_path.c. For netif_create. */
void netif_init_paths(struct netif *n);
/* NETIF_RUNNING follows the state and the path's link. net_config_lock held. */
void netif_update_running(struct netif *n);

void net_batch_init(void);
void loopback_init(void);

#endif
