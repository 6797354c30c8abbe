/*
 * virtio-net transmit.
 *
 * A packet is one chain: the virtio header, written into the packet's headroom so that it and the
 * linear part are one descriptor, then one descriptor per fragment. Sent packets are freed lazily,
 * when the queue pair is polled for receive or the ring runs low, and without interrupts; only when
 * the ring is full, or while a sender waits until his packets are freed, is one requested, for the
 * time when three quarters of what is in the ring are sent.
 */
#include "drivers/virtio_net.h"

static uint16_t inflight(const struct vnet_pair *q)
{
    return (uint16_t)(q->tx.avail_idx - q->tx.used_idx);
}

/* Asks for an interrupt once most of the ring is free again; false: it is already. Under tx_lock.
 */
static bool wait_for_room(struct vnet_pair *q)
{
    uint16_t n = inflight(q);

    q->tx_doorbells += virtq_kick(&q->tx);
    return !virtq_irq_enable_after(&q->tx, (uint16_t)(n - n / 4));
}

/* Frees what the device has sent. Under tx_lock. */
static void reclaim(struct vnet_pair *q)
{
    struct virtq *vq = &q->tx;
    uint32_t len;
    int head;
    bool some = false;

    do {
        while ((head = virtq_pop(vq, &len)) >= 0) {
            struct pkt *p = vq->slots[head].cookie;
            virtq_free(vq, (unsigned)head);
            pkt_free(p);
            some = true;
        }
    } while (q->tx_awaited && inflight(q) && !vq->broken && !wait_for_room(q));
    if (some && !q->tx_awaited && !q->tx_stopped)
        virtq_irq_disable(vq);
}

static void write_header(const struct vnet *net, struct vnet_hdr *hdr, const struct pkt *p)
{
    *hdr = (struct vnet_hdr){0};
    if (!(p->flags & PKT_CSUM_PARTIAL))
        return;
    hdr->flags = VNET_HDR_NEEDS_CSUM;
    hdr->csum_start = p->csum_start;
    hdr->csum_offset = p->csum_offset;
    if (p->gso == GSO_NONE)
        return;
    hdr->gso_type = p->gso == GSO_TCP4 ? VNET_GSO_TCPV4 : VNET_GSO_TCPV6;
    hdr->gso_size = p->gso_size;
    hdr->hdr_len = (uint16_t)p->linear;
    /* RFC 3168 6.1.2: CWR must stay on the first segment only; the device has to know. */
    uint32_t flags_at = p->csum_start + 13u;
    if (virtio_has(net->dev, NET_F_HOST_ECN) && flags_at < p->linear && p->data[flags_at] & 0x80)
        hdr->gso_type |= VNET_GSO_ECN;
}

/* Writes the descriptors of a packet; there are enough. */
static void enqueue(struct vnet_pair *q, struct pkt *p)
{
    struct virtq *vq = &q->tx;
    uint16_t head = virtq_take(vq), id = head;
    struct virtq_desc *desc = vq->desc;
    unsigned n = 1;

    if (likely((size_t)(p->data - p->buf) >= VNET_HDR_LEN)) {
        uint8_t *start = p->data - VNET_HDR_LEN;
        write_header(q->net, (struct vnet_hdr *)start, p);
        desc[id].addr = virtq_dma(start);
        desc[id].len = p->linear + VNET_HDR_LEN;
    } else {
        write_header(q->net, &q->tx_hdrs[head], p);
        desc[id].addr = virtq_dma(&q->tx_hdrs[head]);
        desc[id].len = VNET_HDR_LEN;
        if (p->linear) {
            desc[id].flags = VIRTQ_DESC_NEXT;
            desc[id].next = vq->free_head;
            id = virtq_take(vq);
            desc[id].addr = virtq_dma(p->data);
            desc[id].len = p->linear;
            n = 2;
        }
    }
    for (unsigned i = 0; i < p->nfrags; i++) {
        const struct pkt_frag *f = &p->frags[i];
        desc[id].flags = VIRTQ_DESC_NEXT;
        desc[id].next = vq->free_head;
        id = virtq_take(vq);
        desc[id].addr = pkt_frag_paddr(p, f);
        desc[id].len = f->len;
    }
    desc[id].flags = 0;
    vq->slots[head].cookie = p;
    vq->slots[head].ndesc = (uint16_t)(n + p->nfrags);
    virtq_enqueue(vq, head);
    virtq_publish(vq); /* a device that is at work sees it without a doorbell */
}

static bool make_room(struct vnet_pair *q, unsigned need)
{
    do {
        reclaim(q);
        if (q->tx.num_free >= need)
            return true;
    } while (!q->tx.broken && !wait_for_room(q));
    q->tx_stopped = true;
    return false;
}

bool vnet_transmit(struct net_path *path, int queue, struct pkt *p)
{
    struct vnet *net = container_of(path, struct vnet, path);
    struct vnet_pair *q = &net->pairs[queue];
    unsigned need = p->nfrags + 2u;

    spin_lock(&q->tx_lock);
    if (unlikely(q->tx.num_free < need) && (!net->running || !make_room(q, need))) {
        bool drop = !net->running || q->tx.broken;
        q->stats.tx_dropped += drop;
        spin_unlock(&q->tx_lock);
        if (drop)
            pkt_free(p);
        return drop;
    }
    q->stats.tx_packets++;
    q->stats.tx_bytes += p->len;
    enqueue(q, p);
    spin_unlock(&q->tx_lock);
    return true;
}

void vnet_flush(struct net_path *path, int queue)
{
    struct vnet *net = container_of(path, struct vnet, path);
    struct vnet_pair *q = &net->pairs[queue];

    if (unlikely(!net->running))
        return;
    spin_lock(&q->tx_lock);
    q->tx_doorbells += virtq_kick(&q->tx);
    if (unlikely(q->tx_awaited))
        reclaim(q);
    spin_unlock(&q->tx_lock);
    recheck_later(&q->recheck);
}

static void reclaim_pair(struct vnet_pair *q, bool tell)
{
    if (!virtq_pending(&q->tx) && !tell)
        return;
    spin_lock(&q->tx_lock);
    q->tx_awaited |= tell;
    reclaim(q);
    spin_unlock(&q->tx_lock);
}

void vnet_reclaim(struct net_path *path, bool tell)
{
    struct vnet *net = container_of(path, struct vnet, path);

    for (int i = 0; net->running && i < net->npairs; i++)
        reclaim_pair(&net->pairs[i], tell);
}

/* Nothing is left that anybody could wait for. */
static void stop_waiting(struct vnet_pair *q)
{
    spin_lock(&q->tx_lock);
    if (!q->tx_stopped && !inflight(q)) {
        q->tx_awaited = false;
        virtq_irq_disable(&q->tx);
    }
    spin_unlock(&q->tx_lock);
}

void vnet_tx_poll(struct vnet_pair *q)
{
    bool ready = false;

    if (!q->tx_stopped && !virtq_pending(&q->tx))
        return;
    spin_lock(&q->tx_lock);
    reclaim(q);
    if (q->tx_stopped) {
        ready = make_room(q, VNET_MAX_CHAIN) || q->tx.broken;
        q->tx_stopped = !ready;
    }
    spin_unlock(&q->tx_lock);
    if (ready)
        path_tx_ready(&q->net->path, q->index);
    if (unlikely(q->tx_awaited))
        stop_waiting(q);
}

bool vnet_tx_empty(struct vnet_pair *q)
{
    spin_lock_bh(&q->tx_lock);
    reclaim(q);
    bool empty = q->tx.num_free == q->tx.size;
    spin_unlock_bh(&q->tx_lock);
    return empty;
}

void vnet_tx_drain(struct vnet_pair *q)
{
    struct pkt *p;

    spin_lock_bh(&q->tx_lock);
    while ((p = virtq_drain(&q->tx)))
        pkt_free(p);
    virtq_destroy(&q->tx);
    spin_unlock_bh(&q->tx_lock);
    kfree(q->tx_hdrs);
    q->tx_hdrs = NULL;
}
