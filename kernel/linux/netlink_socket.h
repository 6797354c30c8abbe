/*
 * Netlink sockets: what the socket itself (netlink.c) and the protocols behind it (netlink_route.c,
 * netlink_rule.c, netlink_notify.c, netlink_diag.c) share.
 */
#ifndef LINUX_NETLINK_SOCKET_H
#define LINUX_NETLINK_SOCKET_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "net/neigh.h"
#include "net/view.h"

struct netlink;

/* A message being written: the header, the protocol's own structure, attributes. Those that do not
 * fit are a mistake of ours. */
struct netlink_message {
    struct netlink *to; /* NULL: the members of `group` */
    const struct nlmsghdr *request;
    unsigned group; /* enum rtnetlink_groups; 0 in an answer */
    size_t len;
    uint8_t data[1024] __attribute__((aligned(8)));
};

/* Begins the message anew; the protocol's structure of `body` bytes, all zero. */
void *netlink_begin(struct netlink_message *m, unsigned type, unsigned flags, size_t body);
void netlink_attr(struct netlink_message *m, unsigned type, const void *data, size_t len);
void netlink_attr_u32(struct netlink_message *m, unsigned type, uint32_t v);
/* Queues it for the reader. Locks may be held; does not sleep. */
void netlink_send_message(struct netlink_message *m);

/* The attribute of a request behind its structure of `body` bytes, which has at least `len` bytes
 * of data (*data); NULL: there is none. */
const void *netlink_find(const struct nlmsghdr *h, size_t body, unsigned type, size_t len);
static inline bool netlink_is_dump(const struct nlmsghdr *h)
{
    return (h->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
}

/* Each netlink socket in turn, for sock_diag; a lock is held. */
void netlink_for_each(void (*fn)(const struct netlink *nl, uint32_t port, unsigned proto,
                                 void *arg),
                      void *arg);

/* A protocol's answer to one request, complete in itself: h->nlmsg_len is checked. Messages are
 * sent by m. 0: done; a dump's end and an acknowledgement are not its business; or -errno. Thread
 * context. */
int netlink_route_request(struct netlink_message *m, const struct nlmsghdr *h);
int netlink_rule_request(struct netlink_message *m, const struct nlmsghdr *h);
int netlink_diag_request(struct netlink_message *m, const struct nlmsghdr *h);

/* From now on the groups of NETLINK_ROUTE are told of changes. */
void netlink_route_watch(void);

/* netlink_route.c: the messages about a thing, sent by m. type: RTM_NEW..., or RTM_DEL... of what
 * is gone. Of addresses, a->link and a->added are not used. */
void netlink_put_link(struct netlink_message *m, unsigned type, struct netif *n);
void netlink_put_address(struct netlink_message *m, unsigned type, struct netif *n,
                         const struct netif_addr *a);
void netlink_put_route(struct netlink_message *m, unsigned type, const struct view_route *r);
void netlink_put_neighbour(struct netlink_message *m, unsigned type, const struct neighbour *nb);
/* Whether it is a route of IPv4. */
bool netlink_route_is_v4(const struct view_route *r);
/* Whether Linux has it in its table of local addresses, which is not shown. */
bool netlink_route_is_hidden(const struct view_route *r);

#endif
