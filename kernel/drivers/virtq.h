/*
 * Split virtqueues (virtio 1.2, 2.7), the driver's side.
 *
 * A queue has `size` descriptors. virtq_add turns buffers into a descriptor chain and puts its head
 * in the available ring; virtq_publish shows what was added to the device; virtq_kick also rings
 * the doorbell if the device wants to hear of it. virtq_pop returns the head of a chain that the
 * device has used; its owner then either frees it (virtq_free) or hands the same chain to the
 * device again (virtq_requeue), which spares writing the descriptors for receive buffers that are
 * recycled.
 *
 * What the device writes is the used ring; every id read from it is checked to be a chain that the
 * device owns. A device that breaks this rule breaks its queue (vq->broken: it yields nothing
 * more), never the kernel. The lengths it reports are the caller's to check. Descriptors are never
 * read back.
 *
 * Interrupts: with VIRTIO_F_EVENT_IDX the driver publishes the index at which it wants to hear;
 * without it, a flag. Enabling returns whether something arrived meanwhile: then poll again.
 *
 * Locking is the caller's: one caller at a time per queue. All but create/destroy: any context.
 */
#ifndef DRIVERS_VIRTQ_H
#define DRIVERS_VIRTQ_H

#include "core/irq.h"
#include "core/mem.h"

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
#define VIRTQ_DESC_NEXT 1u
#define VIRTQ_DESC_WRITE 2u

struct virtq_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[]; /* and after the last: used_event */
};
#define VIRTQ_AVAIL_NO_INTERRUPT 1u

struct virtq_used_elem {
    uint32_t id;
    uint32_t len;
};

struct virtq_used {
    uint16_t flags;
    uint16_t idx;
    struct virtq_used_elem ring[]; /* and after the last: avail_event, 16 bits */
};
#define VIRTQ_USED_NO_NOTIFY 1u

#define VIRTQ_MAX_SIZE 1024u

/* The driver's own record of a descriptor. */
struct virtq_slot {
    void *cookie;     /* heads: the caller's */
    uint16_t next;    /* of the free list, or of the chain */
    uint16_t ndesc;   /* heads: length of the chain */
    bool outstanding; /* heads: the device owns it */
};

struct virtq {
    struct virtq_desc *desc;
    struct virtq_avail *avail;
    struct virtq_used *used;
    struct virtq_slot *slots;
    volatile void *notify; /* doorbell register: write the queue's index */
    volatile uint16_t *used_event, *avail_event;
    uint16_t size, mask;
    uint16_t index;     /* the queue's number in its device */
    uint16_t avail_idx; /* next free place in the available ring */
    uint16_t kicked;    /* avail_idx when the device was last considered for a doorbell */
    uint16_t used_idx;  /* next place to read in the used ring */
    uint16_t free_head, num_free;
    bool event_idx;
    bool broken;
    struct page *ring; /* what desc, avail and used lie in */
    const char *name;  /* of the device, for logs */
};

/* One buffer of a chain. The memory must be in the direct map (kmalloc, pages). */
struct virtq_seg {
    void *addr;
    uint32_t len;
};

/* Physical minus virtual address of all direct-mapped memory. */
extern uintptr_t virtq_dma_offset;
static inline paddr_t virtq_dma(const void *addr)
{
    return (uintptr_t)addr + virtq_dma_offset;
}

/* Allocates the rings for `size` descriptors (a power of two up to VIRTQ_MAX_SIZE). -ENOMEM. */
int virtq_create(struct virtq *vq, uint16_t index, uint16_t size, bool event_idx, const char *name);
/* Frees the rings; the device must have been reset. Outstanding chains are the caller's to collect
 * first with virtq_drain. NULL rings (never created) are fine. */
void virtq_destroy(struct virtq *vq);
/* After a device reset: the cookie of some chain that was outstanding and is now free; NULL when
 * there is none left. */
void *virtq_drain(struct virtq *vq);
/* Marks the queue as broken, with one line in the log. */
void virtq_break(struct virtq *vq, const char *why);

/* Adds a chain of nout device-readable, then nin device-writable buffers. False if there are not
 * enough free descriptors. */
bool virtq_add(struct virtq *vq, const struct virtq_seg *segs, unsigned nout, unsigned nin,
               void *cookie);
/* Gives the descriptors of a popped chain back. */
void virtq_free_chain(struct virtq *vq, unsigned head);

/* Puts a chain's head into the available ring. */
static inline void virtq_enqueue(struct virtq *vq, uint16_t head)
{
    vq->slots[head].outstanding = true;
    vq->avail->ring[vq->avail_idx++ & vq->mask] = head;
}

/* Hands a popped chain to the device once more. */
static inline void virtq_requeue(struct virtq *vq, unsigned head)
{
    virtq_enqueue(vq, (uint16_t)head);
}

/* Takes one free descriptor; the caller has checked num_free and fills in desc[] itself. */
static inline uint16_t virtq_take(struct virtq *vq)
{
    uint16_t id = vq->free_head;
    vq->free_head = vq->slots[id].next;
    vq->num_free--;
    return id;
}

static inline void virtq_free(struct virtq *vq, unsigned head)
{
    struct virtq_slot *slot = &vq->slots[head];
    if (unlikely(slot->ndesc != 1)) {
        virtq_free_chain(vq, head);
        return;
    }
    slot->next = vq->free_head;
    vq->free_head = (uint16_t)head;
    vq->num_free++;
}

static inline void virtq_publish(struct virtq *vq)
{
    __atomic_store_n(&vq->avail->idx, vq->avail_idx, __ATOMIC_RELEASE);
}

/* 2.7.10: whether moving an index from old to new passes the other side's event index. */
static inline bool virtq_passes(uint16_t event, uint16_t new, uint16_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

/* Publishes, and rings the doorbell if something was added since the last kick and the device wants
 * to know. True if it rang. */
static inline bool virtq_kick(struct virtq *vq)
{
    uint16_t old = vq->kicked, new = vq->avail_idx;
    if (new == old)
        return false;
    vq->kicked = new;
    /* The index must be visible before the device's wish is read: it does the opposite. */
    __atomic_exchange_n(&vq->avail->idx, new, __ATOMIC_SEQ_CST);
    bool wanted = vq->event_idx ? virtq_passes(*vq->avail_event, new, old)
                                : !(READ_ONCE(vq->used->flags) & VIRTQ_USED_NO_NOTIFY);
    if (wanted)
        mmio_write16(vq->notify, vq->index);
    return wanted;
}

/* Rings the doorbell again if the device's event index says it still waits for what was published
 * long ago (or is stale: then the doorbell is needless, never harmful). */
static inline void virtq_kick_again(struct virtq *vq)
{
    if (vq->event_idx && !vq->broken && (uint16_t)(vq->kicked - *vq->avail_event - 1) < vq->size)
        mmio_write16(vq->notify, vq->index);
}

static inline bool virtq_pending(const struct virtq *vq)
{
    return __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE) != vq->used_idx && !vq->broken;
}

/* The head of the next used chain and how many bytes the device says it wrote; -1 if there is none.
 */
static inline int virtq_pop(struct virtq *vq, uint32_t *len)
{
    uint16_t at = vq->used_idx;
    if (__atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE) == at)
        return -1;
    const struct virtq_used_elem *e = &vq->used->ring[at & vq->mask];
    uint32_t id = READ_ONCE(e->id);
    *len = READ_ONCE(e->len);
    if (unlikely(id >= vq->size || !vq->slots[id].outstanding || vq->broken)) {
        virtq_break(vq, "used ring names a buffer that the device does not own");
        return -1;
    }
    vq->used_idx = at + 1;
    vq->slots[id].outstanding = false;
    return (int)id;
}

/* Asks for an interrupt when the next chain is used. True: one is there already, poll again. */
static inline bool virtq_irq_enable(struct virtq *vq)
{
    if (vq->event_idx)
        __atomic_exchange_n((uint16_t *)vq->used_event, vq->used_idx, __ATOMIC_SEQ_CST);
    else
        __atomic_exchange_n(&vq->avail->flags, 0, __ATOMIC_SEQ_CST);
    return virtq_pending(vq);
}

/* Asks for no interrupts. With the event index it is enough not to move it: it then lies behind,
 * until the 16-bit indices wrap; so queues that never want interrupts call this now and then. */
static inline void virtq_irq_disable(struct virtq *vq)
{
    if (vq->event_idx)
        *vq->used_event = vq->used_idx + 0x8000;
    else
        WRITE_ONCE(vq->avail->flags, VIRTQ_AVAIL_NO_INTERRUPT);
}

/* Asks for an interrupt when `n` more chains are used (without the event index: one). True: they
 * are there already. */
static inline bool virtq_irq_enable_after(struct virtq *vq, uint16_t n)
{
    if (!vq->event_idx)
        return virtq_irq_enable(vq);
    __atomic_exchange_n((uint16_t *)vq->used_event, (uint16_t)(vq->used_idx + n - 1),
                        __ATOMIC_SEQ_CST);
    return (uint16_t)(__atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE) - vq->used_idx) >= n;
}

#endif
