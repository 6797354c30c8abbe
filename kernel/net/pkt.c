/*
 * Packet buffers and queues (net/pkt.h). The buffer of a new packet is not cleared: only the fields
 * in front of the fragments are.
 */
#include "net/pkt.h"

#include "core/lock.h"

static struct slab *pkt_slab;

void pkt_init(void)
{
    if (!pkt_slab)
        pkt_slab = slab_create("pkt", sizeof(struct pkt), 64);
    ASSERT(pkt_slab);
}

struct pkt *pkt_alloc(uint32_t headroom)
{
    ASSERT(headroom <= PKT_BUF);
    struct pkt *p = slab_alloc(pkt_slab);
    if (unlikely(!p))
        return NULL;
    p->next = NULL;
    p->netif = NULL;
    p->data = p->buf + headroom;
    p->linear = 0;
    p->len = 0;
    p->flags = 0;
    p->gso = GSO_NONE;
    p->nfrags = 0;
    p->proto = 0;
    p->gso_size = 0;
    p->csum_start = 0;
    p->csum_offset = 0;
    p->tos = 0;
    p->ttl = 0;
    p->l4 = 0;
    p->hash = 0;
    p->payer = NULL;
    return p;
}

void pkt_loan_put(struct pkt_loan *loan)
{
    struct pkt_lender *lender = loan->lender;

    if (ref_put(&loan->refs)) /* from now on it is the owner's, who may free it */
        lender->returned(lender);
}

static void frag_get(const struct pkt *p, const struct pkt_frag *f)
{
    if (unlikely(p->flags & PKT_LENT))
        ref_get(&f->loan->refs);
    else
        page_get(f->page);
}

static void frag_put(const struct pkt *p, const struct pkt_frag *f)
{
    if (unlikely(p->flags & PKT_LENT))
        pkt_loan_put(f->loan);
    else
        page_put(f->page);
}

void pkt_free(struct pkt *p)
{
    pkt_orphan(p);
    for (unsigned i = 0; i < p->nfrags; i++)
        frag_put(p, &p->frags[i]);
    slab_free(pkt_slab, p);
}

void pkt_free_list(struct pkt *list)
{
    while (list) {
        struct pkt *next = list->next;
        pkt_free(list);
        list = next;
    }
}

/* Drops `count` fragments from the front; their pages are no longer referenced by the packet. */
static void frags_shift(struct pkt *p, unsigned count)
{
    if (!count)
        return;
    p->nfrags -= count;
    memmove(p->frags, p->frags + count, p->nfrags * sizeof(p->frags[0]));
}

/* Takes n bytes (n <= what they hold) off the front of the fragments, copying them to buf if given.
 */
static void frags_take(struct pkt *p, uint8_t *buf, uint32_t n)
{
    unsigned used = 0;

    while (n) {
        struct pkt_frag *f = &p->frags[used];
        uint32_t part = MIN(n, f->len);
        if (buf) {
            memcpy(buf, pkt_frag_addr(p, f), part);
            buf += part;
        }
        f->off += part;
        f->len -= part;
        n -= part;
        if (!f->len) {
            frag_put(p, f);
            used++;
        }
    }
    frags_shift(p, used);
}

bool pkt_make_linear(struct pkt *p, uint32_t n)
{
    if (likely(p->linear >= n))
        return true;
    uint32_t want = n - p->linear;
    if (p->len < n || pkt_tailroom(p) < want)
        return false;
    frags_take(p, p->data + p->linear, want);
    p->linear += want;
    return true;
}

void pkt_trim_front(struct pkt *p, uint32_t n)
{
    ASSERT(n <= p->len);
    uint32_t part = MIN(n, p->linear);
    p->data += part;
    p->linear -= part;
    p->len -= n;
    frags_take(p, NULL, n - part);
}

void pkt_trim_to(struct pkt *p, uint32_t n)
{
    if (n >= p->len)
        return;
    p->len = n;
    if (n <= p->linear) {
        p->linear = n;
        n = 0;
    } else {
        n -= p->linear;
    }
    unsigned keep = 0;
    for (; keep < p->nfrags && n; keep++) {
        p->frags[keep].len = MIN(p->frags[keep].len, n);
        n -= p->frags[keep].len;
    }
    for (unsigned i = keep; i < p->nfrags; i++)
        frag_put(p, &p->frags[i]);
    p->nfrags = keep;
}

bool pkt_append(struct pkt *p, const void *data, uint32_t n)
{
    if (p->nfrags || pkt_tailroom(p) < n)
        return false;
    memcpy(p->data + p->linear, data, n);
    p->linear += n;
    p->len += n;
    return true;
}

bool pkt_append_page(struct pkt *p, struct page *page, uint32_t off, uint32_t len)
{
    if (p->nfrags == PKT_MAX_FRAGS)
        return false;
    p->frags[p->nfrags++] = (struct pkt_frag){{page}, off, len};
    p->len += len;
    return true;
}

void pkt_append_loan(struct pkt *p, struct pkt_loan *loan, uint32_t off, uint32_t len)
{
    ASSERT(!p->nfrags);
    p->flags |= PKT_LENT;
    p->frags[p->nfrags++] = (struct pkt_frag){.loan = loan, .off = off, .len = len};
    p->len += len;
}

bool pkt_copy_out(const struct pkt *p, uint32_t off, void *buf, uint32_t n)
{
    uint8_t *to = buf;

    if (off > p->len || n > p->len - off)
        return false;
    if (off < p->linear) {
        uint32_t part = MIN(n, p->linear - off);
        memcpy(to, p->data + off, part);
        to += part;
        n -= part;
        off = 0;
    } else {
        off -= p->linear;
    }
    for (unsigned i = 0; n; i++) {
        const struct pkt_frag *f = &p->frags[i];
        if (off >= f->len) {
            off -= f->len;
            continue;
        }
        uint32_t part = MIN(n, f->len - off);
        memcpy(to, pkt_frag_addr(p, f) + off, part);
        to += part;
        n -= part;
        off = 0;
    }
    return true;
}

struct pkt *pkt_clone(const struct pkt *p)
{
    struct pkt *c = slab_alloc(pkt_slab);
    if (!c)
        return NULL;
    memcpy(c, p, offsetof(struct pkt, frags));
    c->next = NULL;
    c->payer = NULL;
    c->data = c->buf + (p->data - p->buf);
    /* Headers in front of the data are copied too: what was pulled may be pushed back. */
    memcpy(c->buf, p->buf, (size_t)(p->data + p->linear - p->buf));
    for (unsigned i = 0; i < p->nfrags; i++) {
        c->frags[i] = p->frags[i];
        frag_get(c, &c->frags[i]);
    }
    return c;
}

bool pkt_append_range(struct pkt *to, const struct pkt *from, uint32_t off, uint32_t n)
{
    if (off < from->linear) {
        uint32_t part = MIN(n, from->linear - off);
        if (!pkt_append(to, from->data + off, part))
            return false;
        n -= part;
        off = 0;
    } else {
        off -= from->linear;
    }
    to->flags |= from->flags & PKT_LENT;
    for (unsigned i = 0; n && i < from->nfrags; i++) {
        const struct pkt_frag *f = &from->frags[i];
        if (off >= f->len) {
            off -= f->len;
            continue;
        }
        uint32_t part = MIN(n, f->len - off);
        if (to->nfrags == PKT_MAX_FRAGS)
            return false;
        frag_get(from, f);
        to->frags[to->nfrags++] = (struct pkt_frag){{f->page}, f->off + off, part};
        to->len += part;
        n -= part;
        off = 0;
    }
    return n == 0;
}

void pkt_queue_init(struct pkt_queue *q)
{
    q->head = NULL;
    q->tail = &q->head;
    q->count = 0;
    q->bytes = 0;
}

void pkt_queue_push(struct pkt_queue *q, struct pkt *p)
{
    p->next = NULL;
    *q->tail = p;
    q->tail = &p->next;
    q->count++;
    q->bytes += p->len;
}

struct pkt *pkt_queue_pop(struct pkt_queue *q)
{
    struct pkt *p = q->head;
    if (!p)
        return NULL;
    q->head = p->next;
    if (!q->head)
        q->tail = &q->head;
    p->next = NULL;
    q->count--;
    q->bytes -= p->len;
    return p;
}

void pkt_queue_free(struct pkt_queue *q)
{
    pkt_free_list(q->head);
    pkt_queue_init(q);
}
