/*
 * The server path. Transmit copies the packet into the ring and frees it at once; the server is
 * rung at the end of a batch if it sleeps. Receive copies out, releases the whole batch, and hands
 * it to the stack as one list. A new generation of the server is answered by the bottom half; until
 * then, packets go into the ring as ever, and the new server finds them there. When the ring is
 * full, the stack's backlog takes over.
 */
#include "channel/path.h"

#include "channel/frame.h"
#include "core/thread.h"
#include "net/shared.h"

#define POLL_BUDGET 64

static void ring(struct channel_path_queue *pq)
{
    struct channel_device *dev = pq->owner->dev;

    dev->ring(dev, pq->peer, (unsigned)pq->index);
}

/* --- transmit --------------------------------------------------------------------------------- */

static void flush_locked(struct channel_path_queue *pq)
{
    if (channel_notify_data(&pq->q.tx)) {
        pq->tx_doorbells++;
        ring(pq);
    }
}

static bool transmit(struct net_path *path, int queue, struct pkt *p)
{
    struct channel_path *cp = container_of(path, struct channel_path, path);
    struct channel_path_queue *pq = &cp->queues[queue];
    uint32_t len = p->len;
    int err = -EAGAIN;

    spin_lock(&pq->tx_lock);
    if (unlikely(!cp->running))
        err = -ENETDOWN;
    else if (likely(pq->q.generation)) {
        while ((err = channel_put_pkt(&pq->q.tx, p)) == -EAGAIN) {
            flush_locked(pq);
            if (!channel_want_room(&pq->q.tx))
                break;
        }
    }
    if (likely(!err)) {
        pq->stats.tx_packets++;
        pq->stats.tx_bytes += len;
    } else if (err == -EAGAIN) {
        pq->tx_stopped = true;
        recheck_later(&pq->recheck);
    } else {
        pq->stats.tx_dropped++;
    }
    spin_unlock(&pq->tx_lock);
    if (unlikely(err == -EAGAIN))
        return false;
    pkt_free(p);
    return true;
}

static void flush(struct net_path *path, int queue)
{
    struct channel_path *cp = container_of(path, struct channel_path, path);
    struct channel_path_queue *pq = &cp->queues[queue];

    spin_lock(&pq->tx_lock);
    if (likely(cp->running && pq->q.generation)) {
        flush_locked(pq);
        recheck_later(&pq->recheck);
    }
    spin_unlock(&pq->tx_lock);
}

/* Tells the stack if it was refused and there is room now, or will never be. */
static void tx_poll(struct channel_path_queue *pq)
{
    bool ready = false;

    if (!READ_ONCE(pq->tx_stopped))
        return;
    spin_lock(&pq->tx_lock);
    if (pq->tx_stopped && (pq->q.tx.broken || channel_want_room(&pq->q.tx))) {
        pq->tx_stopped = false;
        ready = true;
    }
    spin_unlock(&pq->tx_lock);
    if (ready)
        path_tx_ready(&pq->owner->path, pq->index);
}

/* --- receive ---------------------------------------------------------------------------------- */

static int rx_poll(struct channel_path_queue *pq)
{
    struct channel_consumer *c = &pq->q.rx;
    struct pkt *list = NULL, **tail = &list;
    struct channel_frame f;
    int n = 0;

    while (n < POLL_BUDGET && channel_take(c, &f)) {
        struct pkt *p = channel_get_pkt(&f);
        n++;
        if (unlikely(!p)) {
            pq->stats.rx_dropped++;
            continue;
        }
        if (p->flags & PKT_CSUM_PARTIAL) /* it never left the machine it was made on */
            p->flags = PKT_CSUM_OK;
        pq->stats.rx_packets++;
        pq->stats.rx_bytes += p->len;
        *tail = p;
        tail = &p->next;
    }
    if (!n)
        return 0;
    channel_release(c, (uint32_t)n);
    if (channel_notify_room(c)) {
        pq->stats.doorbells++;
        ring(pq);
    }
    if (list)
        path_receive(&pq->owner->path, list);
    return n;
}

/* --- the bottom half -------------------------------------------------------------------------- */

static uint32_t up_state(const struct channel_path *cp)
{
    return READ_ONCE(cp->parked) ? CHANNEL_PARKED : CHANNEL_UP;
}

/* Answers a new generation, or notices that the server went away. */
static void follow_server(struct channel_path_queue *pq)
{
    struct channel_path *cp = pq->owner;

    spin_lock(&pq->tx_lock);
    enum channel_event event = channel_queue_check(&pq->q);
    if (event == CHANNEL_LIVE) {
        pq->peer = READ_ONCE(channel_side(cp->dev, true)->peer);
        pq->room_event = READ_ONCE(pq->q.rx.peer->room_event);
        pq->generations++;
        pq->reported = false;
        WRITE_ONCE(channel_side(cp->dev, false)->state, up_state(cp));
        ring(pq);
    }
    spin_unlock(&pq->tx_lock);
    if (event != CHANNEL_LIVE)
        return;
    if (pq->index == 0 && !cp->path.link_up)
        path_link_changed(&cp->path, true);
    if (pq->generations > 1)
        path_lost_frames(&cp->path);
}

static void report_broken(struct channel_path_queue *pq)
{
    if (pq->reported)
        return;
    pq->reported = true;
    pq->broken++;
    pq->stats.rx_errors++;
    WRITE_ONCE(channel_side(pq->owner->dev, false)->state, CHANNEL_BROKEN);
    klog(LOG_ERROR, "%s: the server broke the rules of queue pair %d; waiting for another",
         pq->owner->path.name, pq->index);
}

/* What was granted may change while we run. The MAC is the interface's identity and the mode that
 * of its addresses: neither is changed under it. */
static void take_grants(struct channel_path *cp)
{
    const char *name = cp->path.name;
    struct channel_grants g;
    int err = channel_read_grants(cp->dev, &g);

    if (err == -EAGAIN)
        return; /* with the next interrupt */
    cp->grants_seen = g.sequence;
    if (!err && (g.mode != cp->grants.mode || memcmp(g.mac, cp->grants.mac, MAC_LEN)))
        err = -EPERM;
    if (err) {
        klog(LOG_ERROR, "%s: the new grants are refused (error %d), the old ones stay", name, -err);
        return;
    }
    if (g.mtu != cp->grants.mtu) {
        klog(LOG_INFO, "%s: MTU %u", name, g.mtu);
        path_mtu_changed(&cp->path, g.mtu);
    }
    if (g.mode == CHANNEL_SHARED)
        shared_set_range(g.ephemeral_first, g.ephemeral_last);
    cp->grants = g;
}

static bool grants_changed(const struct channel_path *cp)
{
    return READ_ONCE(channel_control(cp->dev)->grants.sequence) != cp->grants_seen;
}

static void poll(struct bottom_half *bh)
{
    struct channel_path_queue *pq = container_of(bh, struct channel_path_queue, bh);
    struct channel_path *cp = pq->owner;
    int n = 0;

    if (!READ_ONCE(cp->running))
        return;
    if (unlikely(channel_queue_changed(&pq->q)))
        follow_server(pq);
    if (pq->index == 0 && unlikely(grants_changed(cp)))
        take_grants(cp);
    if (likely(pq->q.live)) {
        n = rx_poll(pq);
        tx_poll(pq);
    }
    if (n)
        recheck_later(&pq->recheck);
    channel_answer_ping(cp->dev, false);
    if (unlikely(channel_queue_broken(&pq->q)))
        report_broken(pq);
    else if (n == POLL_BUDGET || (pq->q.live && channel_want_data(&pq->q.rx)))
        bh_schedule(bh);
}

/* The producer asked for a doorbell at a descriptor that is released by now. Perhaps it got the
 * doorbell and has gone on since; so it is rung only once for one wish. */
static bool waits_for_room(struct channel_path_queue *pq)
{
    const struct channel_consumer *c = &pq->q.rx;
    uint32_t event = READ_ONCE(c->peer->room_event);
    bool news = event != pq->room_event && c->head - event - 1 < c->slots;

    pq->room_event = news ? event : pq->room_event;
    return news;
}

/* See core/recheck.h. */
static void look(struct recheck *r)
{
    struct channel_path_queue *pq = container_of(r, struct channel_path_queue, recheck);

    if (!READ_ONCE(pq->owner->running) || !pq->q.live || channel_queue_broken(&pq->q))
        return;
    spin_lock(&pq->tx_lock);
    if (channel_is_awaited(&pq->q.tx) || waits_for_room(pq)) {
        pq->tx_doorbells++;
        ring(pq);
    }
    spin_unlock(&pq->tx_lock);
    if (pq->tx_stopped || READ_ONCE(pq->q.rx.peer->tail) != pq->q.rx.next)
        bh_schedule(&pq->bh);
}

void channel_path_interrupt(struct channel_path *cp, unsigned i)
{
    if (likely(i < (unsigned)cp->nqueues)) {
        cp->queues[i].stats.interrupts++;
        bh_schedule(&cp->queues[i].bh);
    }
}

/* --- set-up and tear-down --------------------------------------------------------------------- */

/* The server filters for what was granted, whatever an application asks for. */
static int set_mac(struct net_path *path, const uint8_t mac[MAC_LEN])
{
    struct channel_path *cp = container_of(path, struct channel_path, path);

    return memcmp(mac, cp->grants.mac, MAC_LEN) ? -EPERM : 0;
}

/* The server delivers all multicast. */
static int set_multicast(struct net_path *path, const uint8_t (*macs)[MAC_LEN], int n)
{
    (void)path, (void)macs, (void)n;
    return 0;
}

static void chosen(struct net_path *path, bool yes)
{
    struct channel_path *cp = container_of(path, struct channel_path, path);
    struct channel_path_queue *first = &cp->queues[0];

    /* follow_server may write the state too. */
    spin_lock_bh(&first->tx_lock);
    WRITE_ONCE(cp->parked, !yes);
    if (cp->running && first->q.generation && !channel_queue_broken(&first->q))
        WRITE_ONCE(channel_side(cp->dev, false)->state, up_state(cp));
    spin_unlock_bh(&first->tx_lock);
}

static bool drained(struct net_path *path)
{
    struct channel_path *cp = container_of(path, struct channel_path, path);
    bool empty = true;

    for (int i = 0; i < cp->nqueues && empty; i++) {
        struct channel_path_queue *pq = &cp->queues[i];
        spin_lock_bh(&pq->tx_lock);
        if (cp->running && pq->q.live && channel_update_head(&pq->q.tx))
            empty = !channel_outstanding(&pq->q.tx);
        spin_unlock_bh(&pq->tx_lock);
    }
    return empty;
}

static void stats(struct net_path *path, struct path_stats *out)
{
    struct channel_path *cp = container_of(path, struct channel_path, path);

    *out = (struct path_stats){0};
    for (int i = 0; i < cp->nqueues; i++) {
        const struct channel_path_queue *pq = &cp->queues[i];
        out->rx_packets += pq->stats.rx_packets;
        out->rx_bytes += pq->stats.rx_bytes;
        out->tx_packets += pq->stats.tx_packets;
        out->tx_bytes += pq->stats.tx_bytes;
        out->rx_dropped += pq->stats.rx_dropped;
        out->tx_dropped += pq->stats.tx_dropped;
        out->rx_errors += pq->stats.rx_errors;
        out->doorbells += pq->stats.doorbells + pq->tx_doorbells;
        out->interrupts += pq->stats.interrupts;
    }
}

/* What is in the ring stays there: the server sends it. It sees the state and delivers no more. */
static void detach(struct net_path *path)
{
    struct channel_path *cp = container_of(path, struct channel_path, path);

    for (int i = 0; i < cp->nqueues; i++) {
        struct channel_path_queue *pq = &cp->queues[i];
        spin_lock_bh(&pq->tx_lock);
        flush_locked(pq);
        WRITE_ONCE(cp->running, false);
        spin_unlock_bh(&pq->tx_lock);
    }
    WRITE_ONCE(channel_side(cp->dev, false)->state, CHANNEL_DOWN);
}

static const struct path_ops channel_ops = {
    .transmit = transmit,
    .flush = flush,
    .set_mac = set_mac,
    .set_multicast = set_multicast,
    .chosen = chosen,
    .drained = drained,
    .stats = stats,
    .detach = detach,
};

/* Runs the bottom halves that are pending on a CPU, pq's too if given, and returns when none is
 * half done: being there in thread context, outside of any, means just that. */
static void visit_cpu(int cpu, struct channel_path_queue *pq)
{
    struct thread *self = thread_current();
    cpumask_t before = self->affinity;

    thread_set_affinity(self, (cpumask_t)1 << cpu);
    bh_disable();
    if (pq)
        bh_schedule(&pq->bh);
    bh_enable();
    thread_set_affinity(self, before);
}

void channel_path_destroy(struct channel_path *cp)
{
    ASSERT(!cp->running);
    for (int cpu = 0; cpu < cpu_count; cpu++)
        visit_cpu(cpu, NULL);
    for (int i = 0; i < cp->nqueues; i++) {
        recheck_stop(&cp->queues[i].recheck);
        channel_queue_destroy(&cp->queues[i].q);
    }
    kfree(cp->queues);
    kfree(cp);
}

static int queues_create(struct channel_path *cp, const struct channel_layout *l, uint32_t features)
{
    cp->queues = kzalloc(sizeof(*cp->queues) * l->queues);
    if (!cp->queues)
        return -ENOMEM;
    for (uint32_t i = 0; i < l->queues; i++) {
        struct channel_path_queue *pq = &cp->queues[i];
        pq->owner = cp;
        pq->index = (int)i;
        spin_init(&pq->tx_lock);
        bh_init(&pq->bh, poll);
        recheck_init(&pq->recheck, look);
        int err = channel_queue_create(&pq->q, cp->dev->mem, l, i, false, features);
        if (err)
            return err;
        cp->nqueues++;
    }
    return 0;
}

struct channel_path *channel_path_create(struct channel_device *dev, const char *name)
{
    struct channel_path *cp;
    struct channel_layout l;
    uint32_t features;
    int err = channel_read_layout(dev, &l, &features);

    if (err)
        return ERR_PTR(err);
    cp = kzalloc(sizeof(*cp));
    if (!cp)
        return ERR_PTR(-ENOMEM);
    cp->dev = dev;
    err = channel_read_grants(dev, &cp->grants);
    if (!err && l.queues > dev->vectors)
        err = -EPROTO;
    if (!err)
        err = queues_create(cp, &l, features);
    if (err) {
        channel_path_destroy(cp);
        return ERR_PTR(err);
    }
    cp->grants_seen = cp->grants.sequence;
    cp->path = (struct net_path){
        .ops = &channel_ops,
        .kind = PATH_SERVER,
        .features = PATH_SG | channel_offloads(features),
        .mtu = cp->grants.mtu,
        .queues = cp->nqueues,
    };
    memcpy(cp->path.mac, cp->grants.mac, MAC_LEN);
    str_copy(cp->path.name, name, sizeof(cp->path.name));
    WRITE_ONCE(channel_side(dev, false)->peer, dev->id);
    WRITE_ONCE(channel_side(dev, false)->features, features);
    return cp;
}

void channel_path_start(struct channel_path *cp)
{
    if (cp->grants.mode == CHANNEL_SHARED)
        shared_start(cp->path.netif, cp->grants.ephemeral_first, cp->grants.ephemeral_last);
    WRITE_ONCE(cp->running, true);
    /* A server may have come before us and rung in vain. */
    for (int i = 0; i < cp->nqueues; i++)
        visit_cpu(i % cpu_count, &cp->queues[i]);
}
