/* Split virtqueues: set-up, general chains, tear-down. The fast path is inline in virtq.h. */
#include "drivers/virtq.h"

uintptr_t virtq_dma_offset;

int virtq_create(struct virtq *vq, uint16_t index, uint16_t size, bool event_idx, const char *name)
{
    size_t avail_at = sizeof(struct virtq_desc) * size;
    size_t used_at = ROUND_UP(avail_at + sizeof(struct virtq_avail) + 2ul * size + 2, 64ul);
    size_t bytes = used_at + sizeof(struct virtq_used) + sizeof(struct virtq_used_elem) * size + 2;
    unsigned order = 0;

    ASSERT(size && size <= VIRTQ_MAX_SIZE && !(size & (size - 1)));
    while ((PAGE_SIZE << order) < bytes)
        order++;
    *vq = (struct virtq){.size = size, .mask = size - 1, .index = index, .event_idx = event_idx};
    vq->name = name;
    vq->ring = page_alloc(order, PAGE_ZERO);
    vq->slots = kzalloc(sizeof(*vq->slots) * size);
    if (!vq->ring || !vq->slots) {
        if (vq->ring)
            page_put(vq->ring);
        kfree(vq->slots);
        *vq = (struct virtq){0};
        return -ENOMEM;
    }
    char *base = page_addr(vq->ring);
    virtq_dma_offset = (uintptr_t)page_paddr(vq->ring) - (uintptr_t)base;
    vq->desc = (void *)base;
    vq->avail = (void *)(base + avail_at);
    vq->used = (void *)(base + used_at);
    vq->used_event = &vq->avail->ring[size];
    vq->avail_event = (uint16_t *)&vq->used->ring[size];
    for (uint16_t i = 0; i < size; i++)
        vq->slots[i].next = i + 1;
    vq->num_free = size;
    return 0;
}

void virtq_destroy(struct virtq *vq)
{
    if (!vq->ring)
        return;
    kfree(vq->slots);
    page_put(vq->ring);
    *vq = (struct virtq){0};
}

void *virtq_drain(struct virtq *vq)
{
    for (unsigned i = 0; i < vq->size; i++) {
        if (vq->slots[i].outstanding) {
            vq->slots[i].outstanding = false;
            virtq_free(vq, i);
            return vq->slots[i].cookie;
        }
    }
    return NULL;
}

void virtq_break(struct virtq *vq, const char *why)
{
    if (!vq->broken)
        klog(LOG_ERROR, "%s: queue %u is broken: %s", vq->name, vq->index, why);
    vq->broken = true;
}

bool virtq_add(struct virtq *vq, const struct virtq_seg *segs, unsigned nout, unsigned nin,
               void *cookie)
{
    unsigned n = nout + nin;
    uint16_t head = vq->free_head, id;

    if (vq->num_free < n || vq->broken)
        return false;
    for (unsigned i = 0; i < n; i++) {
        id = virtq_take(vq);
        vq->desc[id] = (struct virtq_desc){
            .addr = virtq_dma(segs[i].addr),
            .len = segs[i].len,
            .flags = (i < nout ? 0 : VIRTQ_DESC_WRITE) | (i + 1 < n ? VIRTQ_DESC_NEXT : 0),
            .next = vq->slots[id].next,
        };
    }
    vq->slots[head].cookie = cookie;
    vq->slots[head].ndesc = n;
    virtq_enqueue(vq, head);
    return true;
}

void virtq_free_chain(struct virtq *vq, unsigned head)
{
    unsigned n = vq->slots[head].ndesc, last = head;

    for (unsigned i = 1; i < n; i++)
        last = vq->slots[last].next;
    vq->slots[last].next = vq->free_head;
    vq->free_head = (uint16_t)head;
    vq->num_free += n;
}
