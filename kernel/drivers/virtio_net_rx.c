/*
 * virtio-net receive.
 *
 * Every descriptor owns a page. A short frame is copied into the packet's linear part and its page
 * goes straight back to the device, its descriptor untouched. Of a long frame only the protocol
 * headers are copied; the page becomes a fragment and a fresh one takes its place. If there is
 * none, the frame is dropped and the page reused: the ring never runs dry.
 *
 * All that the device wrote (lengths, buffer counts, offload fields) is checked here.
 */
#include "drivers/virtio_net.h"

#define RX_COPY (PKT_BUF - PKT_HEADROOM) /* frames up to this long are copied whole */
#define ETH_LEN 14u

/* Length of the link, network and TCP/UDP headers in the first n bytes of a frame, as far as they
 * are plain; so that payload is not split between the linear part and the fragments. It is a hint:
 * the stack parses for itself. */
static uint32_t header_len(const uint8_t *f, uint32_t n)
{
    uint32_t at, proto;

    if (f[12] == 0x08 && f[13] == 0x00) {
        at = ETH_LEN + (f[14] & 15) * 4u;
        proto = f[23];
    } else if (f[12] == 0x86 && f[13] == 0xdd) {
        at = ETH_LEN + 40;
        proto = f[20];
    } else {
        return MIN(n, (uint32_t)PKT_HEADROOM);
    }
    if (proto == 6 && at + 20 <= n)
        at += (f[at + 12] >> 4) * 4u;
    else if (proto == 17)
        at += 8;
    return MIN(at, MIN(n, (uint32_t)RX_COPY));
}

static void give_back(struct vnet_pair *q, int head)
{
    virtq_requeue(&q->rx, (unsigned)head);
}

/* Makes the buffer's bytes [off, off + len) a fragment of p and gives the descriptor a new page. */
static bool take_page(struct vnet_pair *q, int head, struct pkt *p, uint32_t off, uint32_t len)
{
    struct vnet_buf *buf = &q->bufs[head];
    struct page *fresh = page_alloc(0, PAGE_ATOMIC);

    if (unlikely(!fresh))
        return false;
    if (unlikely(!pkt_append_page(p, buf->page, off, len))) {
        page_put(fresh);
        return false;
    }
    buf->page = fresh;
    buf->addr = page_addr(fresh);
    q->rx.desc[head].addr = virtq_dma(buf->addr);
    give_back(q, head);
    return true;
}

/* Takes over the offload fields; false if they make no sense. */
static bool read_offload(struct pkt *p, const struct vnet_hdr *hdr)
{
    uint8_t gso = hdr->gso_type & ~VNET_GSO_ECN;

    if (hdr->flags & (VNET_HDR_NEEDS_CSUM | VNET_HDR_DATA_VALID))
        p->flags |= PKT_CSUM_OK; /* verified, or never left the machine it was made on */
    if (likely(gso == VNET_GSO_NONE))
        return true;
    if ((gso != VNET_GSO_TCPV4 && gso != VNET_GSO_TCPV6) || !hdr->gso_size)
        return false;
    p->gso = gso == VNET_GSO_TCPV4 ? GSO_TCP4 : GSO_TCP6;
    p->gso_size = hdr->gso_size;
    return true;
}

/* Appends the further buffers of a merged frame. All are consumed in any case. */
static bool merge(struct vnet_pair *q, struct pkt *p, unsigned more)
{
    bool ok = true;

    while (more--) {
        uint32_t len;
        int head = virtq_pop(&q->rx, &len);
        if (head < 0) {
            virtq_break(&q->rx, "a frame lacks its further buffers");
            return false;
        }
        ok = ok && len && len <= PAGE_SIZE && take_page(q, head, p, 0, len);
        if (!ok)
            give_back(q, head);
    }
    return ok;
}

/* Makes a packet of the frame whose first buffer is `head`; NULL if it had to be dropped. Its
 * buffers go back to the device either way. */
static struct pkt *receive(struct vnet_pair *q, int head, uint32_t len)
{
    uint8_t *addr = q->bufs[head].addr;
    struct vnet_hdr hdr;
    struct pkt *p;
    bool ok;

    if (unlikely(len < VNET_HDR_LEN + ETH_LEN || len > PAGE_SIZE)) {
        q->stats.rx_errors++;
        give_back(q, head);
        return NULL;
    }
    memcpy(&hdr, addr, sizeof(hdr));
    unsigned buffers = q->net->mergeable ? hdr.num_buffers : 1;
    uint8_t *frame = addr + VNET_HDR_LEN;
    uint32_t n = len - VNET_HDR_LEN;

    p = pkt_alloc(PKT_HEADROOM);
    if (likely(p && buffers == 1 && n <= RX_COPY)) {
        memcpy(p->data, frame, n);
        p->linear = p->len = n;
        give_back(q, head);
        ok = true;
    } else if (p && buffers) {
        uint32_t headers = n <= RX_COPY ? n : header_len(frame, n);
        memcpy(p->data, frame, headers);
        p->linear = p->len = headers;
        ok = headers == n || take_page(q, head, p, VNET_HDR_LEN + headers, n - headers);
        if (!ok || headers == n)
            give_back(q, head);
        ok = (buffers == 1 || merge(q, p, buffers - 1)) && ok;
    } else {
        give_back(q, head);
        ok = false;
        for (; buffers > 1; buffers--) {
            if ((head = virtq_pop(&q->rx, &len)) < 0)
                break;
            give_back(q, head);
        }
    }
    if (likely(ok && read_offload(p, &hdr)))
        return p;
    q->stats.rx_dropped++;
    if (p)
        pkt_free(p);
    return NULL;
}

int vnet_rx_poll(struct vnet_pair *q, int budget)
{
    struct pkt *list = NULL, **tail = &list;
    uint32_t len;
    int head, n = 0;

    while (n < budget && (head = virtq_pop(&q->rx, &len)) >= 0) {
        struct pkt *p = receive(q, head, len);
        n++;
        if (likely(p)) {
            q->stats.rx_packets++;
            q->stats.rx_bytes += p->len;
            *tail = p;
            tail = &p->next;
        }
    }
    if (!n)
        return 0;
    /* The device gets its buffers back before the stack works on the packets. */
    q->stats.doorbells += virtq_kick(&q->rx);
    if (list)
        path_receive(&q->net->path, list);
    return n;
}

int vnet_rx_fill(struct vnet_pair *q)
{
    struct virtq *vq = &q->rx;

    q->bufs = kzalloc(sizeof(*q->bufs) * vq->size);
    if (!q->bufs)
        return -ENOMEM;
    for (unsigned i = 0; i < vq->size; i++) {
        struct page *page = page_alloc(0, 0);
        if (!page)
            return -ENOMEM;
        uint16_t id = virtq_take(vq);
        q->bufs[id] = (struct vnet_buf){page, page_addr(page)};
        vq->desc[id] = (struct virtq_desc){
            .addr = virtq_dma(q->bufs[id].addr), .len = PAGE_SIZE, .flags = VIRTQ_DESC_WRITE};
        vq->slots[id].ndesc = 1;
        virtq_enqueue(vq, id);
    }
    virtq_publish(vq);
    return 0;
}

void vnet_rx_drain(struct vnet_pair *q)
{
    for (unsigned i = 0; q->bufs && i < q->rx.size; i++) {
        if (q->bufs[i].page)
            page_put(q->bufs[i].page);
    }
    kfree(q->bufs);
    q->bufs = NULL;
}
