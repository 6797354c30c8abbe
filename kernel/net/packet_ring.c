/* Receive rings of packet sockets (net/packet_ring.h). */
#include "net/packet_ring.h"

#include "core/timer.h"

#define RING_MAX (64u << 20)
#define ALIGN 16u
#define STATUS_KERNEL 0u
#define STATUS_USER 1u
#define STATUS_COPY 2u
#define STATUS_LOSING 4u
#define STATUS_CSUM_NOT_READY 8u

struct header { /* struct tpacket2_hdr */
    uint32_t status, len, snaplen;
    uint16_t mac, net;
    uint32_t sec, nsec;
    uint16_t vlan_tci, vlan_tpid;
    uint8_t pad[4];
};
_Static_assert(sizeof(struct header) == TPACKET2_HEADER, "tpacket2_hdr");

int packet_ring_check(const struct tpacket_req_k *q, uint32_t reserve)
{
    if (!q->block_size || q->block_size % PAGE_SIZE || !q->block_count || q->frame_size % ALIGN)
        return -EINVAL;
    if (q->frame_size < RING_FRAME_HEADER + reserve || q->frame_size > q->block_size)
        return -EINVAL;
    if ((uint64_t)q->block_size * q->block_count > RING_MAX)
        return -EINVAL;
    return q->block_size / q->frame_size * q->block_count == q->frame_count ? 0 : -EINVAL;
}

struct packet_ring *packet_ring_alloc(const struct tpacket_req_k *q)
{
    uint32_t count = q->block_size / PAGE_SIZE * q->block_count;
    struct packet_ring *r = kzalloc(sizeof(*r) + count * sizeof(r->pages[0]));

    if (!r)
        return ERR_PTR(-ENOMEM);
    r->q = *q;
    r->frames_per_block = q->block_size / q->frame_size;
    r->pages_count = count;
    return r;
}

void packet_ring_free(struct packet_ring *r)
{
    if (!r)
        return;
    for (uint32_t i = 0; i < r->pages_count; i++) {
        if (r->pages[i])
            page_put(r->pages[i]);
    }
    kfree(r);
}

/* Where a frame begins. */
static uint32_t frame_at(const struct packet_ring *r, uint32_t frame)
{
    return frame / r->frames_per_block * r->q.block_size +
           frame % r->frames_per_block * r->q.frame_size;
}

static uint8_t *ring_addr(const struct packet_ring *r, uint32_t at)
{
    return (uint8_t *)page_addr(r->pages[at / PAGE_SIZE]) + at % PAGE_SIZE;
}

/* Frames are aligned, so the status does not cross a page. */
static uint32_t *status_of(const struct packet_ring *r, uint32_t frame)
{
    return (uint32_t *)(void *)ring_addr(r, frame_at(r, frame));
}

static void ring_write(const struct packet_ring *r, uint32_t at, const void *from, uint32_t n)
{
    const uint8_t *b = from;

    while (n) {
        uint32_t part = MIN(n, (uint32_t)(PAGE_SIZE - at % PAGE_SIZE));
        memcpy(ring_addr(r, at), b, part);
        at += part;
        b += part;
        n -= part;
    }
}

static void ring_copy(const struct packet_ring *r, uint32_t at, const struct pkt *p, uint32_t n)
{
    for (uint32_t off = 0; off < n;) {
        uint32_t part = MIN(n - off, (uint32_t)(PAGE_SIZE - at % PAGE_SIZE));
        pkt_copy_out(p, off, ring_addr(r, at), part);
        at += part;
        off += part;
    }
}

bool packet_ring_put(struct packet_ring *r, const struct pkt *p, uint32_t n, uint32_t headers,
                     const struct sockaddr_ll_k *from, uint32_t reserve, bool losing)
{
    uint32_t frame = frame_at(r, r->head), *status = status_of(r, r->head);
    uint32_t net = ROUND_UP(RING_FRAME_HEADER + 16, ALIGN) + reserve, mac = net - headers;
    nsec_t now = time_realtime();

    if (__atomic_load_n(status, __ATOMIC_ACQUIRE) != STATUS_KERNEL)
        return false;
    if (net > r->q.frame_size)
        n = 0;
    uint32_t fits = mac < r->q.frame_size ? MIN(n, r->q.frame_size - mac) : 0;
    struct header h = {
        .len = p->len,
        .snaplen = fits,
        .mac = (uint16_t)mac,
        .net = (uint16_t)net,
        .sec = (uint32_t)(now / NSEC_PER_SEC),
        .nsec = (uint32_t)(now % NSEC_PER_SEC),
    };
    uint32_t flags = STATUS_USER | (losing ? STATUS_LOSING : 0) | (fits < n ? STATUS_COPY : 0) |
                     (p->flags & PKT_CSUM_PARTIAL ? STATUS_CSUM_NOT_READY : 0);
    ring_write(r, frame, &h, sizeof(h)); /* the status is 0 still */
    ring_write(r, frame + TPACKET2_HEADER, from, sizeof(*from));
    ring_copy(r, frame + mac, p, fits);
    __atomic_store_n(status, flags, __ATOMIC_RELEASE);
    r->head = r->head + 1 == r->q.frame_count ? 0 : r->head + 1;
    return true;
}

bool packet_ring_readable(const struct packet_ring *r)
{
    uint32_t last = r->head ? r->head - 1 : r->q.frame_count - 1;

    return __atomic_load_n(status_of(r, last), __ATOMIC_ACQUIRE) != STATUS_KERNEL;
}
