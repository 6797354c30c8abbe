/*
 * The paths of an interface: which are attached, and which one transmits (net/netif.h).
 *
 * choose() is the only place that decides. It is called, under net_config_lock, when a path comes
 * or goes, a link changes or the preference does, and exchanges netif->path on the spot: transmit
 * reads that once per packet inside a batch. What takes longer follows in thread context
 * (follow()): wait until all batches that may have seen the old path have ended, move what waits in
 * the backlogs through the new one, and tell the neighbours. The old path stays attached for
 * receive, so that nothing that is on its way to us is lost.
 */
#include "core/thread.h"
#include "net/ether.h"
#include "net/mcast.h"
#include "net/nd.h"
#include "net/netif_impl.h"
#include "net/stats.h"
#include "net/tcp.h"
#include "net/transmit.h"
#include "net/watch.h"

#define ANNOUNCE_FIRST (50 * NSEC_PER_MSEC) /* again, after an exchange: frames may be lost */
#define ANNOUNCE_NEXT (250 * NSEC_PER_MSEC)
#define ANNOUNCEMENTS 2
#define DRAIN_LIMIT (100 * NSEC_PER_MSEC)
#define LATE (20 * NSEC_PER_MSEC) /* frames are on their way to a path that is taken away */
#define DETACH_LIMIT (20 * NSEC_PER_MSEC)
#define LOOK_INTERVAL (NSEC_PER_MSEC)

void (*netif_path_hook)(struct netif *n, enum path_kind kind, enum path_reason why);

/* --- the choice ------------------------------------------------------------------------------- */

void netif_update_running(struct netif *n)
{
    const struct net_path *path = n->path;
    uint32_t running = path && path->link_up && (n->flags & NETIF_UP) ? NETIF_RUNNING : 0;

    if ((n->flags & NETIF_RUNNING) == running)
        return;
    n->flags ^= NETIF_RUNNING;
    net_watch_link(n);
}

static int rank(const struct netif *n, const struct net_path *p)
{
    return 2 * READ_ONCE(p->link_up) + (p->kind == n->preferred);
}

static struct net_path *best(const struct netif *n)
{
    struct net_path *found = NULL;

    for (int i = 0; i < NETIF_PATHS; i++) {
        struct net_path *p = n->paths[i];
        if (p && (!found || rank(n, p) > rank(n, found)))
            found = p;
    }
    return found;
}

/* net_config_lock held. What is left to do is noted in n->exchanged. */
static void choose(struct netif *n, enum path_reason why)
{
    struct net_path *path = best(n), *old = n->path;

    if (path != old) {
        if (path && path->ops->chosen)
            path->ops->chosen(path, true);
        n->mtu = path ? path->mtu : n->mtu;
        atomic_store_explicit((_Atomic(struct net_path *) *)&n->path, path, memory_order_release);
        n->reason = why;
        n->exchanged = true;
        n->announcements = old ? ANNOUNCEMENTS : 0;
        view_touch();
        if (old)
            net_count(NET_Librettos_PathSwitches);
    }
    netif_update_running(n);
}

/* Those that are not in use are told so. Not at once: until the network has learned where we are
 * now, the old path is where frames come from. */
static void release_others(struct netif *n)
{
    spin_lock_bh(&net_config_lock);
    for (int i = 0; i < NETIF_PATHS; i++) {
        struct net_path *p = n->paths[i];
        if (p && p != n->path && p->ops->chosen)
            p->ops->chosen(p, false);
    }
    spin_unlock_bh(&net_config_lock);
}

static void announce_again(struct timer *t)
{
    struct netif *n = container_of(t, struct netif, announce_timer);

    spin_lock_bh(&net_config_lock);
    unsigned left = n->announcements;
    n->announcements -= left ? 1 : 0;
    spin_unlock_bh(&net_config_lock);
    if (!left)
        return;
    netif_announce(n);
    release_others(n);
    if (left > 1)
        timer_arm(t, time_now() + ANNOUNCE_NEXT);
}

/* What follows an exchange of the path. Thread context. */
static void follow(struct netif *n)
{
    spin_lock_bh(&net_config_lock);
    bool exchanged = n->exchanged, again = n->announcements;
    const struct net_path *path = n->path;
    enum path_kind kind = path ? path->kind : PATH_LOOPBACK;
    enum path_reason why = n->reason;
    n->exchanged = false;
    spin_unlock_bh(&net_config_lock);
    if (!exchanged)
        return;
    net_synchronize();
    netif_drain(n);
    netif_announce(n);
    if (again)
        timer_arm(&n->announce_timer, time_now() + ANNOUNCE_FIRST);
    if (netif_path_hook && !(n->flags & NETIF_LOOPBACK))
        netif_path_hook(n, kind, why);
}

static void link_work(struct work *w)
{
    struct netif *n = container_of(w, struct netif, link_work);

    follow(n);
    if (READ_ONCE(n->flags) & NETIF_RUNNING) {
        netif_drain(n);
        netif_announce(n);
        nd_restart(n);
    }
}

void netif_init_paths(struct netif *n)
{
    work_init(&n->link_work, link_work);
    timer_init(&n->announce_timer, announce_again);
}

/* --- what the choice depends on --------------------------------------------------------------- */

void path_link_changed(struct net_path *path, bool up)
{
    spin_lock_bh(&net_config_lock);
    struct netif *n = path->netif;
    WRITE_ONCE(path->link_up, up);
    if (n)
        choose(n, up ? PATH_LINK_BACK : PATH_LINK_LOST);
    bool of_use = n && (n->exchanged || n->path == path);
    spin_unlock_bh(&net_config_lock);
    if (of_use)
        work_schedule(&n->link_work);
}

void path_lost_frames(struct net_path *path)
{
    if (path->netif)
        tcp_path_changed(path->netif);
}

void path_mtu_changed(struct net_path *path, uint16_t mtu)
{
    spin_lock_bh(&net_config_lock);
    struct netif *n = path->netif;
    path->mtu = mtu;
    if (n && n->path == path) {
        n->mtu = mtu;
        view_touch();
    }
    spin_unlock_bh(&net_config_lock);
}

void netif_prefer(struct netif *n, enum path_kind kind)
{
    spin_lock_bh(&net_config_lock);
    n->preferred = kind;
    choose(n, PATH_ASKED);
    spin_unlock_bh(&net_config_lock);
    follow(n);
}

/* --- attach and detach ------------------------------------------------------------------------ */

/* The place of a path in n->paths, or of none; -1. net_config_lock held. */
static int place_of(const struct netif *n, const struct net_path *p)
{
    for (int i = 0; i < NETIF_PATHS; i++)
        if (n->paths[i] == p)
            return i;
    return -1;
}

static int add_path(struct netif *n, struct net_path *p)
{
    spin_lock_bh(&net_config_lock);
    int place = place_of(n, NULL);
    if (place >= 0) {
        n->paths[place] = p;
        n->npaths++;
        p->netif = n;
        if (n->preferred == PATH_LOOPBACK)
            n->preferred = p->kind;
        choose(n, PATH_ATTACHED);
        if (n->path != p && p->ops->chosen)
            p->ops->chosen(p, false);
    }
    spin_unlock_bh(&net_config_lock);
    return place < 0 ? -ENOSPC : 0;
}

int netif_attach_path(struct netif *n, struct net_path *p)
{
    if (!mac_equal(n->mac, p->mac) && p->ops->set_mac) {
        int err = p->ops->set_mac(p, n->mac);
        if (err)
            return err;
        memcpy(p->mac, n->mac, MAC_LEN);
    }
    int err = add_path(n, p);
    if (err)
        return err;
    mcast_program(n);
    follow(n);
    return 0;
}

bool path_is_drained(struct net_path *p)
{
    return !p->ops->drained || p->ops->drained(p);
}

static void wait_drained(struct net_path *p, nsec_t limit)
{
    nsec_t deadline = time_now() + limit;

    while (!path_is_drained(p) && time_now() < deadline)
        thread_sleep_until(time_now() + LOOK_INTERVAL, false);
}

void netif_detach_path(struct netif *n, struct net_path *p)
{
    spin_lock_bh(&net_config_lock);
    int place = place_of(n, p);
    if (place >= 0) {
        n->paths[place] = NULL;
        n->npaths--;
    }
    choose(n, PATH_DETACHED);
    spin_unlock_bh(&net_config_lock);
    net_synchronize();
    follow(n);
    if (p->link_up && n->path)
        thread_sleep_until(time_now() + LATE, false);
    if (p->link_up)
        wait_drained(p, DETACH_LIMIT);
    if (p->ops->detach)
        p->ops->detach(p);
    p->netif = NULL;
    net_synchronize();
}

int netif_register_path(struct net_path *p)
{
    struct netif *n, *found = NULL;

    spin_lock_bh(&net_config_lock);
    list_for_each (n, &netif_list, link) {
        if (!(n->flags & NETIF_LOOPBACK) && mac_equal(n->mac, p->mac)) {
            found = n;
            break;
        }
    }
    spin_unlock_bh(&net_config_lock);
    if (!found) {
        found = netif_create("eth%d", p->mac);
        if (IS_ERR(found))
            return (int)PTR_ERR(found);
    }
    return netif_attach_path(found, p);
}

/* --- the switch ------------------------------------------------------------------------------- */

/* The state of the attached path of a kind: 0, -ENETDOWN or -ENODEV. */
static int readiness(struct netif *n, enum path_kind kind)
{
    int err = -ENODEV;

    spin_lock_bh(&net_config_lock);
    for (int i = 0; i < NETIF_PATHS && err; i++)
        if (n->paths[i] && n->paths[i]->kind == kind)
            err = n->paths[i]->link_up ? 0 : -ENETDOWN;
    spin_unlock_bh(&net_config_lock);
    return err;
}

static enum path_kind kind_in_use(struct netif *n)
{
    spin_lock_bh(&net_config_lock);
    enum path_kind kind = n->path ? n->path->kind : PATH_LOOPBACK;
    spin_unlock_bh(&net_config_lock);
    return kind;
}

/* The attached paths but the one in use have sent what they held. One that is taken away meanwhile
 * has its own look at that (netif_detach_path). */
static bool others_drained(struct netif *n)
{
    bool drained = true;

    spin_lock_bh(&net_config_lock);
    for (int i = 0; i < NETIF_PATHS && drained; i++)
        if (n->paths[i] && n->paths[i] != n->path && n->paths[i]->link_up)
            drained = path_is_drained(n->paths[i]);
    spin_unlock_bh(&net_config_lock);
    return drained;
}

int netif_switch(struct netif *n, enum path_kind kind, nsec_t deadline, struct netif_switched *out)
{
    int err;

    *out = (struct netif_switched){0};
    while ((err = readiness(n, kind)) && time_now() < deadline)
        thread_sleep_until(time_now() + LOOK_INTERVAL, false);
    if (!err && kind_in_use(n) != kind) {
        nsec_t start = time_now();
        netif_prefer(n, kind);
        nsec_t told = time_now();
        while (!others_drained(n) && time_now() < told + DRAIN_LIMIT)
            thread_sleep_until(time_now() + LOOK_INTERVAL, false);
        out->stall = told - start;
        out->drain = time_now() - told;
        netif_announce(n); /* what the old path sent last may have told the network otherwise */
    } else if (!err) {
        netif_prefer(n, kind);
    }
    out->kind = kind_in_use(n);
    return !err && out->kind != kind ? -ENETDOWN : err;
}
