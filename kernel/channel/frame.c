/* Packets in and out of a ring (channel/frame.h). */
#include "channel/frame.h"

#define COPY_WHOLE CHANNEL_LEND_COPIED /* frames up to this long need no fragment */
#define ETH_LEN 14u

_Static_assert((int)GSO_NONE == CHANNEL_GSO_NONE && (int)GSO_TCP4 == CHANNEL_GSO_TCP4 &&
                   (int)GSO_TCP6 == CHANNEL_GSO_TCP6 && (int)GSO_UDP == CHANNEL_GSO_UDP,
               "the numbers agree");

uint32_t channel_offloads(uint32_t features)
{
    if (!(features & CHANNEL_F_CSUM)) /* the others need it */
        return 0;
    return PATH_CSUM | (features & CHANNEL_F_TSO4 ? PATH_TSO4 : 0) |
           (features & CHANNEL_F_TSO6 ? PATH_TSO6 : 0) | (features & CHANNEL_F_USO ? PATH_USO : 0);
}

int channel_put_pkt(struct channel_producer *p, const struct pkt *pkt)
{
    if (unlikely(pkt->len < CHANNEL_FRAME_MIN || pkt->len > CHANNEL_FRAME_MAX))
        return -EMSGSIZE;
    uint8_t *to = channel_reserve(p, pkt->len);
    if (unlikely(!to))
        return p->broken ? -EPROTO : -EAGAIN;

    struct channel_desc desc = {.len = pkt->len};
    if (pkt->flags & PKT_CSUM_PARTIAL) {
        desc.flags = CHANNEL_CSUM_PARTIAL;
        desc.csum_start = pkt->csum_start;
        desc.csum_offset = (uint8_t)pkt->csum_offset;
        desc.gso_type = pkt->gso;
        desc.gso_size = pkt->gso ? pkt->gso_size : 0;
    } else if (pkt->flags & PKT_CSUM_OK) {
        desc.flags = CHANNEL_CSUM_VALID;
    }
    if (pkt->nfrags && pkt->linear <= UINT8_MAX)
        desc.header_len = (uint8_t)pkt->linear;

    memcpy(to, pkt->data, pkt->linear);
    to += pkt->linear;
    for (unsigned i = 0; i < pkt->nfrags; i++) {
        const struct pkt_frag *f = &pkt->frags[i];
        memcpy(to, pkt_frag_addr(pkt, f), f->len);
        to += f->len;
    }
    channel_commit(p, &desc);
    return 0;
}

/* Length of the link, network and TCP/UDP headers at the start of a frame, as far as they are
 * plain, so that payload is not split between the linear part and the fragments. A hint: the stack
 * parses for itself. n bytes of the frame, COPY_WHOLE or more, are at f in private memory. */
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
        return PKT_HEADROOM;
    }
    if (proto == 6 && at + 20 <= n)
        at += (f[at + 12] >> 4) * 4u;
    else if (proto == 17)
        at += 8;
    return MIN(at, n);
}

#define MAX_ORDER 4u /* 64 KiB */

/* The largest block that n bytes fill, or one page: each block is a descriptor less for the device
 * that sends it. */
static struct page *alloc_block(uint32_t n, uint32_t *size)
{
    unsigned order = 0;

    while (order < MAX_ORDER && n >= PAGE_SIZE << (order + 1))
        order++;
    struct page *page = page_alloc(order, PAGE_ATOMIC);
    if (!page && order)
        page = page_alloc(order = 0, PAGE_ATOMIC);
    *size = MIN(n, (uint32_t)PAGE_SIZE << order);
    return page;
}

static bool copy_pages(struct pkt *p, const uint8_t *from, uint32_t n)
{
    while (n) {
        uint32_t part;
        struct page *page = alloc_block(n, &part);
        if (!page)
            return false;
        memcpy(page_addr(page), from, part);
        if (!pkt_append_page(p, page, 0, part)) {
            page_put(page);
            return false;
        }
        from += part;
        n -= part;
    }
    return true;
}

/* A packet with the frame's first bytes. */
static struct pkt *copy_start(const struct channel_frame *f)
{
    const struct channel_desc *d = &f->desc;
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    if (unlikely(!p))
        return NULL;
    p->linear = p->len = MIN(d->len, (uint32_t)COPY_WHOLE);
    memcpy(p->data, f->data, p->linear);
    if (d->flags & CHANNEL_CSUM_PARTIAL) {
        p->flags = PKT_CSUM_PARTIAL;
        p->csum_start = d->csum_start;
        p->csum_offset = d->csum_offset;
        p->gso = d->gso_type;
        p->gso_size = d->gso_size;
    } else if (d->flags & CHANNEL_CSUM_VALID) {
        p->flags = PKT_CSUM_OK;
    }
    return p;
}

struct pkt *channel_get_pkt(const struct channel_frame *f)
{
    uint32_t len = f->desc.len;
    struct pkt *p = copy_start(f);

    if (unlikely(!p) || len <= COPY_WHOLE)
        return p;
    p->linear = p->len = header_len(p->data, COPY_WHOLE);
    if (unlikely(!copy_pages(p, f->data + p->linear, len - p->linear))) {
        pkt_free(p);
        return NULL;
    }
    return p;
}

struct pkt *channel_lend_pkt(const struct channel_frame *f, struct pkt_loan *loan)
{
    struct pkt *p = copy_start(f);

    if (unlikely(!p))
        return NULL;
    ref_init(&loan->refs, 1);
    pkt_append_loan(p, loan, (uint32_t)(f->data + p->linear - loan->lender->addr),
                    f->desc.len - p->linear);
    return p;
}

bool channel_settle_pkt(struct pkt *p)
{
    if (!(p->flags & PKT_LENT))
        return true;
    ASSERT(p->nfrags == 1);
    struct pkt_frag lent = p->frags[0];
    const uint8_t *from = pkt_frag_addr(p, &lent);
    p->flags &= (uint8_t)~PKT_LENT;
    p->nfrags = 0;
    p->len = p->linear;
    bool copied = copy_pages(p, from, lent.len);
    pkt_loan_put(lent.loan);
    return copied;
}
