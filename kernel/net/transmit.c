/*
 * Transmit with a bounded backlog per queue, and receive (net/netif.h).
 *
 * A full ring refuses a packet; it then waits in the interface's backlog of that queue, which
 * belongs to the interface and so survives a switch of the path. While a backlog is not empty all
 * packets of its queue go through it, in order.
 */
#include "net/transmit.h"

#include "net/ether.h"
#include "net/gso.h"
#include "net/netif_impl.h"
#include "net/packet.h"
#include "net/stats.h"

#define BACKLOG_MAX 1024u

void (*netif_frame_hook)(const struct net_path *path, const struct pkt *p, bool out);

static inline void show_frame(const struct net_path *path, const struct pkt *p, bool out)
{
    void (*hook)(const struct net_path *, const struct pkt *, bool) = READ_ONCE(netif_frame_hook);

    if (unlikely(hook))
        hook(path, p, out);
}

static inline int queue_of(const struct net_path *path)
{
    int cpu = cpu_id();

    return likely(cpu < path->queues) ? cpu : cpu % path->queues;
}

/* Puts a list back in front, in order. */
static void push_front(struct pkt_queue *q, struct pkt *list)
{
    struct pkt *last = list;

    for (;; last = last->next) {
        q->count++;
        q->bytes += last->len;
        if (!last->next)
            break;
    }
    last->next = q->head;
    if (!q->head)
        q->tail = &last->next;
    q->head = list;
}

/* Moves packets from the backlog to the path until it is empty or the ring is full. Its lock is
 * held. */
static void drain(struct netif *n, struct net_path *path, int index)
{
    struct pkt_queue *q = &n->backlog[index];
    int queue = index % path->queues;

    while (q->head) {
        struct pkt *list = pkt_queue_pop(q);
        /* The path may have changed since the packet was queued. */
        if (pkt_needs(list) & ~path->features)
            list = gso_split(list, path->features);
        while (list) {
            struct pkt *next = list->next;
            list->next = NULL;
            if (!path->ops->transmit(path, queue, list)) {
                list->next = next;
                push_front(q, list);
                return;
            }
            net_batch_dirty(path, queue);
            list = next;
        }
    }
}

static void backlog_add(struct netif *n, struct net_path *path, int queue, struct pkt *p)
{
    struct pkt_queue *q = &n->backlog[queue];

    spin_lock(&n->backlog_lock[queue]);
    if (q->count >= BACKLOG_MAX) {
        n->tx_dropped++;
        net_count(NET_Librettos_TxBacklogFull);
        pkt_free(p);
    } else {
        net_count(NET_Librettos_TxBacklogged);
        pkt_queue_push(q, p);
        /* Room may have come up since the ring refused it; nobody would tell us again. */
        drain(n, path, queue);
    }
    spin_unlock(&n->backlog_lock[queue]);
}

static inline void transmit_one(struct netif *n, struct net_path *path, int queue, struct pkt *p)
{
    show_frame(path, p, true);
    if (likely(!READ_ONCE(n->backlog[queue].head)) && likely(path->ops->transmit(path, queue, p)))
        net_batch_dirty(path, queue);
    else
        backlog_add(n, path, queue, p);
}

static void transmit_split(struct netif *n, struct net_path *path, int queue, struct pkt *p)
{
    struct pkt *list = gso_split(p, path->features);

    while (list) {
        p = list;
        list = p->next;
        p->next = NULL;
        transmit_one(n, path, queue, p);
    }
}

void netif_transmit(struct netif *n, struct pkt *p)
{
    if (unlikely(!net_in_batch())) {
        net_batch_begin();
        netif_transmit(n, p);
        net_batch_end();
        return;
    }
    if (unlikely(n->tap)) {
        p = n->tap->output(n, p);
        if (!p)
            return;
    }
    netif_transmit_frame(n, p);
}

void netif_transmit_frame(struct netif *n, struct pkt *p)
{
    struct net_path *path = READ_ONCE(n->path);
    if (unlikely(!path)) {
        n->tx_dropped++;
        net_count(NET_Librettos_TxNoPath);
        pkt_free(p);
        return;
    }
    if (unlikely(packet_socket_count))
        packet_tap(n, p, true);
    int queue = queue_of(path);
    if (unlikely(pkt_needs(p) & ~path->features))
        transmit_split(n, path, queue, p);
    else
        transmit_one(n, path, queue, p);
}

void netif_reclaim(struct netif *n, bool tell)
{
    struct net_path *path = READ_ONCE(n->path);

    if (path && path->ops->reclaim)
        path->ops->reclaim(path, tell);
}

static void drain_queue(struct netif *n, struct net_path *path, int index)
{
    if (!READ_ONCE(n->backlog[index].head))
        return;
    spin_lock(&n->backlog_lock[index]);
    drain(n, path, index);
    spin_unlock(&n->backlog_lock[index]);
}

void netif_drain(struct netif *n)
{
    net_batch_begin();
    struct net_path *path = READ_ONCE(n->path);
    for (unsigned i = 0; path && i < ARRAY_SIZE(n->backlog); i++)
        drain_queue(n, path, (int)i);
    net_batch_end();
}

void path_tx_ready(struct net_path *path, int queue)
{
    struct netif *n = path->netif;

    if (!n || READ_ONCE(n->path) != path)
        return;
    net_batch_begin();
    for (unsigned i = (unsigned)queue; i < ARRAY_SIZE(n->backlog); i += (unsigned)path->queues)
        drain_queue(n, path, (int)i);
    if (unlikely(n->tap))
        n->tap->room(n);
    net_batch_end();
}

void path_receive(struct net_path *path, struct pkt *list)
{
    struct netif *n = path->netif;

    if (unlikely(!n || !(n->flags & NETIF_UP))) {
        for (struct pkt *p = list; p; p = p->next)
            net_count(n ? NET_Librettos_RxInterfaceDown : NET_Librettos_RxNoInterface);
        pkt_free_list(list);
        return;
    }
    net_batch_begin();
    if (unlikely(READ_ONCE(netif_frame_hook)))
        for (const struct pkt *p = list; p; p = p->next)
            show_frame(path, p, false);
    if (list && list->next && path->kind != PATH_LOOPBACK)
        list = gro_merge(list);
    if (unlikely(n->tap))
        list = n->tap->input(n, list);
    while (list) {
        struct pkt *p = list;
        list = p->next;
        p->next = NULL;
        ether_input(n, p);
    }
    net_batch_end();
}
