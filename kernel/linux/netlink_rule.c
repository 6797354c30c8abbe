/* Policy routing (RTM_GETRULE): there are the rules that Linux begins with, and no others. */
#include <linux/fib_rules.h>

#include "linux/netlink_socket.h"
#include "linux/sock.h"

struct rule {
    uint32_t priority;
    uint8_t table;
};

static void put_rule(struct netlink_message *m, unsigned family, const struct rule *r)
{
    struct fib_rule_hdr *h = netlink_begin(m, RTM_NEWRULE, 0, sizeof(*h));
    uint8_t protocol = RTPROT_KERNEL;
    h->family = (uint8_t)family;
    h->table = r->table;
    h->action = FR_ACT_TO_TBL;
    netlink_attr_u32(m, FRA_TABLE, r->table);
    netlink_attr_u32(m, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX); /* none is suppressed */
    netlink_attr(m, FRA_PROTOCOL, &protocol, sizeof(protocol));
    if (r->priority)
        netlink_attr_u32(m, FRA_PRIORITY, r->priority);
    netlink_send_message(m);
}

int netlink_rule_request(struct netlink_message *m, const struct nlmsghdr *h)
{
    static const struct rule rules[] = {
        {0, RT_TABLE_LOCAL}, {32766, RT_TABLE_MAIN}, {32767, RT_TABLE_DEFAULT}};
    const struct rtgenmsg *g = NLMSG_DATA(h);
    unsigned family = g->rtgen_family;
    if (!netlink_is_dump(h))
        return -EOPNOTSUPP;
    for (unsigned i = 0; i < 3 && family != AF_INET6_N; i++)
        put_rule(m, AF_INET_N, &rules[i]);
    for (unsigned i = 0; i < 2 && family != AF_INET_N; i++) /* IPv6 has no table "default" */
        put_rule(m, AF_INET6_N, &rules[i]);
    return 0;
}
