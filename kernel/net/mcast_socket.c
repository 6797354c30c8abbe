/* Multicast membership of sockets (net/mcast.h). */
#include "net/mcast.h"

#include "core/lock.h"
#include "net/view.h"

/* What a socket wants of a group. Never changed: another takes its place. */
struct membership {
    struct list link; /* socket->groups, under the socket's lock */
    struct ip_addr group;
    int ifindex;
    struct mcast_filter filter;
    struct ip_addr sources[]; /* the filter's */
};

static struct mutex changes; /* one at a time, of all sockets */

void mcast_init(void)
{
    mutex_init(&changes);
}

static struct netif *group_netif(const struct ip_addr *group, int ifindex)
{
    if (ifindex)
        return netif_by_index(ifindex);
    struct netif *n = NULL;
    net_batch_begin();
    const struct view *v = net_view();
    const struct view_route *r = view_route(v, NULL, group);
    if (r)
        n = r->netif;
    for (int i = 0; i < v->naddrs && !n; i++) {
        if (!(v->addrs[i].netif->flags & NETIF_LOOPBACK))
            n = v->addrs[i].netif;
    }
    net_batch_end();
    return n;
}

static struct membership *find(const struct socket *s, const struct ip_addr *group, int ifindex)
{
    struct membership *m;

    list_for_each (m, &s->groups, link) {
        if (ip_equal(&m->group, group) && (!ifindex || m->ifindex == ifindex))
            return m;
    }
    return NULL;
}

static struct membership *make(const struct ip_addr *group, int ifindex, bool exclude,
                               unsigned count)
{
    struct membership *m = kzalloc(sizeof(*m) + count * sizeof(struct ip_addr));

    if (m) {
        m->group = *group;
        m->ifindex = ifindex;
        m->filter = (struct mcast_filter){exclude, count, m->sources};
    }
    return m;
}

/* Puts `new` in the place of `old`; either may be NULL. Takes ownership of new, frees old. */
static int replace(struct socket *s, struct membership *old, struct membership *new)
{
    const struct membership *any = new ? new : old;
    struct netif *n = netif_by_index(any->ifindex);
    int err = mcast_change(n, &any->group, old ? &old->filter : NULL, new ? &new->filter : NULL);

    if (err) {
        kfree(new);
        return err;
    }
    spin_lock_bh(&s->lock);
    if (old)
        list_remove(&old->link);
    if (new)
        list_push_back(&s->groups, &new->link);
    spin_unlock_bh(&s->lock);
    kfree(old);
    return 0;
}

static int join(struct socket *s, const struct ip_addr *group, int ifindex)
{
    struct netif *n = ip_is_multicast(group) ? group_netif(group, ifindex) : NULL;

    if (!n)
        return ip_is_multicast(group) ? -ENODEV : -EINVAL;
    if (find(s, group, n->index))
        return -EADDRINUSE;
    struct membership *m = make(group, n->index, true, 0);
    return m ? replace(s, NULL, m) : -ENOMEM;
}

int mcast_socket_join(struct socket *s, const struct ip_addr *group, int ifindex)
{
    mutex_lock(&changes);
    int err = join(s, group, ifindex);
    mutex_unlock(&changes);
    return err;
}

int mcast_socket_leave(struct socket *s, const struct ip_addr *group, int ifindex)
{
    mutex_lock(&changes);
    struct membership *m = find(s, group, ifindex);
    int err = m ? replace(s, m, NULL) : -EADDRNOTAVAIL;
    mutex_unlock(&changes);
    return err;
}

void mcast_socket_leave_all(struct socket *s)
{
    if (list_empty(&s->groups))
        return;
    mutex_lock(&changes);
    while (!list_empty(&s->groups) &&
           !replace(s, list_first(&s->groups, struct membership, link), NULL))
        ;
    mutex_unlock(&changes);
}

/* A copy of the membership with one source more, or less. */
static struct membership *with_source(const struct membership *m, const struct ip_addr *source,
                                      bool exclude, bool add)
{
    unsigned count = 0;
    struct membership *c = make(&m->group, m->ifindex, exclude, m->filter.count + add);

    if (!c)
        return NULL;
    for (unsigned i = 0; i < m->filter.count; i++) {
        if (add || !ip_equal(&m->sources[i], source))
            c->sources[count++] = m->sources[i];
    }
    if (add)
        c->sources[count++] = *source;
    c->filter.count = count;
    return c;
}

static int add_source(struct socket *s, const struct ip_addr *group, const struct ip_addr *source,
                      struct netif *n, bool exclude)
{
    struct membership *m = find(s, group, n->index);
    struct membership none = {.group = *group, .ifindex = n->index};

    if (!m && exclude)
        return -EINVAL; /* nothing to block in */
    if (m && m->filter.count && m->filter.exclude != exclude)
        return -EINVAL;
    if (m && mcast_filter_has(&m->filter, source))
        return -EADDRNOTAVAIL;
    if (m && m->filter.count >= (ip_is_v4(group) ? 10u : MCAST_SOURCES)) /* as on Linux */
        return -ENOBUFS;
    struct membership *c = with_source(m ? m : &none, source, exclude, true);
    return c ? replace(s, m, c) : -ENOMEM;
}

static int drop_source(struct socket *s, const struct ip_addr *group, const struct ip_addr *source,
                       struct netif *n, bool exclude)
{
    struct membership *m = find(s, group, n->index);

    if (!m || (m->filter.count && m->filter.exclude != exclude))
        return -EINVAL;
    if (!mcast_filter_has(&m->filter, source))
        return -EADDRNOTAVAIL;
    if (m->filter.count == 1 && !exclude)
        return replace(s, m, NULL); /* from nobody: it has left */
    struct membership *c = with_source(m, source, exclude, false);
    return c ? replace(s, m, c) : -ENOMEM;
}

int mcast_socket_source(struct socket *s, const struct ip_addr *group, const struct ip_addr *source,
                        int ifindex, bool exclude, bool add)
{
    if (!ip_is_multicast(group))
        return -EINVAL;
    struct netif *n = group_netif(group, ifindex);
    if (!n)
        return -ENODEV;
    mutex_lock(&changes);
    int err =
        add ? add_source(s, group, source, n, exclude) : drop_source(s, group, source, n, exclude);
    mutex_unlock(&changes);
    return err;
}

bool mcast_socket_wants(struct socket *s, const struct ip_addr *group, const struct ip_addr *src,
                        struct netif *n)
{
    spin_lock(&s->lock);
    const struct membership *m = find(s, group, n->index);
    bool wants = m && mcast_filter_allows(&m->filter, src);
    spin_unlock(&s->lock);
    return m ? wants : s->mcast_all && mcast_wanted(n, group, src);
}
