/*
 * Packets. A struct pkt is one frame or datagram (up to 64 KiB with segmentation offload): a short
 * linear part that holds at least the protocol headers, then fragments that reference pages.
 * Payload is not copied between the driver, the stack and the socket buffers: references to pages
 * are passed on, or, on the way through a network server, loans of a channel's memory.
 *
 *   buf[]:  | headroom | data ... data + linear | tailroom |      then frags[0..nfrags)
 *
 * Ownership: a function that takes a packet owns it and passes it on or frees it, unless it says
 * otherwise. A packet has one owner and is never shared; its fragments' pages may be.
 */
#ifndef NET_PKT_H
#define NET_PKT_H

#include "core/mem.h"

#define PKT_BUF 384      /* linear buffer with headroom */
#define PKT_HEADROOM 128 /* for link, IP and TCP headers that are prepended */
#define PKT_MAX_FRAGS 18 /* 64 KiB in 4 KiB pages, unaligned, and one to spare */

struct netif;
struct net_path;
struct send_buffer;

/* 128-bit address; IPv4 is held as ::ffff:a.b.c.d (RFC 4291 2.5.5.2), so that all code above the IP
 * headers is written once. Network byte order in memory. */
struct ip_addr {
    union {
        uint8_t b[16];
        uint32_t w[4];
        uint64_t q[2];
    };
};

/* Memory without pages that is lent to packets: what a channel shares with another domain. */
struct pkt_lender {
    uint8_t *addr;
    paddr_t paddr; /* where a device finds it */
    /* A loan's last reference is gone. Any context but hard interrupts; locks may be held. */
    void (*returned)(struct pkt_lender *l);
};
struct pkt_loan {
    struct pkt_lender *lender;
    refcount_t refs; /* 0: not lent now */
};

struct pkt_frag {
    union { /* one reference */
        struct page *page;
        struct pkt_loan *loan; /* in a packet with PKT_LENT */
    };
    uint32_t off, len; /* off may exceed a page in blocks of higher order; in the lender's memory */
};

enum pkt_flag {
    PKT_CSUM_PARTIAL = 1,    /* transmit: checksum from csum_start on is to be put at csum_offset */
    PKT_CSUM_OK = 2,         /* receive: the transport checksum was verified (or needs none) */
    PKT_BROADCAST = 4,       /* link-layer broadcast or multicast */
    PKT_LOOPED = 8,          /* never left this domain: may be trusted to be intact */
    PKT_MORE = 16,           /* transmit: further packets follow at once */
    PKT_LOOPED_PARTIAL = 32, /* looped, and PKT_CSUM_PARTIAL was set: the checksum is not there */
    /* Its fragments are loans, of memory that somebody else may write: to be read once, and for
     * nothing but sending it. The stack gets no such packets, drivers and channels do. */
    PKT_LENT = 64,
};

enum pkt_gso { GSO_NONE, GSO_TCP4, GSO_TCP6, GSO_UDP };

struct pkt {
    struct pkt *next;    /* queue link */
    struct netif *netif; /* received on / to be sent by */
    uint8_t *data;       /* start of the linear part, in buf */
    uint32_t linear;     /* bytes in the linear part */
    uint32_t len;        /* bytes in all: linear + fragments */
    uint8_t flags;       /* enum pkt_flag */
    uint8_t gso;         /* enum pkt_gso; receive: set for what the device or GRO merged */
    uint8_t nfrags;
    uint8_t proto;       /* receive: transport protocol number */
    uint16_t gso_size;   /* payload bytes per segment */
    uint16_t csum_start; /* from data at the time of transmit */
    uint16_t csum_offset;
    uint8_t tos; /* receive: traffic class with ECN bits; transmit: set by the flow */
    uint8_t ttl;
    uint16_t l4;               /* receive: bytes of IP headers in front of data, still in buf */
    uint32_t hash;             /* flow hash or 0 */
    uint32_t charge;           /* bytes that payer is charged until the packet is freed */
    struct send_buffer *payer; /* net/sendbuf.h; or NULL */
    struct ip_addr src, dst;   /* receive: set by the IP layer */
    uint64_t cb[6];            /* the owner's scratch space */
    struct pkt_frag frags[PKT_MAX_FRAGS];
    uint8_t buf[PKT_BUF];
};

struct pkt_queue {
    struct pkt *head, **tail;
    uint32_t count;
    uint32_t bytes;
};

/* An empty packet with `headroom` bytes before data; NULL when out of memory. Any context. */
struct pkt *pkt_alloc(uint32_t headroom);
/* Frees a packet and drops its fragments' pages. Any context. */
void pkt_free(struct pkt *p);
void pkt_free_list(struct pkt *list);
/* Nobody pays for the packet any more. */
void send_buffer_pay_back(struct pkt *p);
static inline void pkt_orphan(struct pkt *p)
{
    if (unlikely(p->payer))
        send_buffer_pay_back(p);
}
/* What a packet costs its owner: its buffer, and the bytes of pages it keeps. */
static inline uint32_t pkt_cost(const struct pkt *p)
{
    return (uint32_t)sizeof(*p) + (p->len - p->linear);
}
/* Prepends n bytes to the linear part (n <= headroom left: our own invariant). */
static inline void *pkt_push(struct pkt *p, uint32_t n)
{
    ASSERT((size_t)(p->data - p->buf) >= n);
    p->data -= n;
    p->linear += n;
    p->len += n;
    return p->data;
}
/* Removes n bytes of the linear part from the front; false if it has fewer. */
static inline bool pkt_pull(struct pkt *p, uint32_t n)
{
    if (p->linear < n)
        return false;
    p->data += n;
    p->linear -= n;
    p->len -= n;
    return true;
}
/* Makes at least n bytes linear (moves them from the fragments); false if the packet is shorter or
 * n does not fit the buffer behind data. */
bool pkt_make_linear(struct pkt *p, uint32_t n);
/* Removes bytes from the front (fragments included) or cuts the packet to n bytes. */
void pkt_trim_front(struct pkt *p, uint32_t n);
void pkt_trim_to(struct pkt *p, uint32_t n);
/* Appends: copied bytes into the tailroom (false if they do not fit), or a page reference (takes
 * over the caller's reference; false, and nothing taken, if there are PKT_MAX_FRAGS). */
bool pkt_append(struct pkt *p, const void *data, uint32_t n);
bool pkt_append_page(struct pkt *p, struct page *page, uint32_t off, uint32_t len);
/* Appends a loan to a packet without fragments; takes over the caller's reference. */
void pkt_append_loan(struct pkt *p, struct pkt_loan *loan, uint32_t off, uint32_t len);
/* Where a fragment of p is. */
static inline uint8_t *pkt_frag_addr(const struct pkt *p, const struct pkt_frag *f)
{
    return (p->flags & PKT_LENT ? f->loan->lender->addr : (uint8_t *)page_addr(f->page)) + f->off;
}
static inline paddr_t pkt_frag_paddr(const struct pkt *p, const struct pkt_frag *f)
{
    return (p->flags & PKT_LENT ? f->loan->lender->paddr : page_paddr(f->page)) + f->off;
}
/* Drops a reference to a loan. */
void pkt_loan_put(struct pkt_loan *loan);
/* Copies n bytes at offset off out of the packet; false if it is shorter. */
bool pkt_copy_out(const struct pkt *p, uint32_t off, void *buf, uint32_t n);
/* A copy that shares the fragments' pages. Nobody is charged for it. */
struct pkt *pkt_clone(const struct pkt *p);
/* Bytes that can be appended to the linear part. */
static inline uint32_t pkt_tailroom(const struct pkt *p)
{
    return (uint32_t)(p->buf + PKT_BUF - (p->data + p->linear));
}
/* Appends n bytes of another packet, sharing its pages: linear bytes are copied and must come
 * before any fragment of `to`. False if it does not fit; `to` is then to be freed. */
bool pkt_append_range(struct pkt *to, const struct pkt *from, uint32_t off, uint32_t n);
/* Creates the packet cache: once, before all else. */
void pkt_init(void);
/* Internet checksum (RFC 1071), not complemented, of n bytes at offset off. */
uint32_t pkt_csum(const struct pkt *p, uint32_t off, uint32_t n, uint32_t sum);

void pkt_queue_init(struct pkt_queue *q);
void pkt_queue_push(struct pkt_queue *q, struct pkt *p);
struct pkt *pkt_queue_pop(struct pkt_queue *q);
void pkt_queue_free(struct pkt_queue *q);

static inline uint16_t net16(uint16_t v)
{
    return __builtin_bswap16(v);
}
static inline uint32_t net32(uint32_t v)
{
    return __builtin_bswap32(v);
}

#endif
