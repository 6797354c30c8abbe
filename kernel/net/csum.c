/*
 * The Internet checksum (RFC 1071). Sums are kept as 32-bit partial sums of 16-bit words in network
 * byte order as they lie in memory; csum_fold makes the header field of them.
 */
#include "net/ip.h"

typedef uint64_t __attribute__((may_alias, aligned(1))) word64;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32;
typedef uint16_t __attribute__((may_alias, aligned(1))) word16;

/* One's complement addition: two instructions (add, adc). */
static inline uint64_t add64(uint64_t sum, uint64_t w)
{
    sum += w;
    return sum + (sum < w);
}

static inline uint32_t fold64(uint64_t sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    return (uint32_t)((sum & 0xffffffff) + (sum >> 32));
}

uint32_t csum_add(const void *data, size_t n, uint32_t start)
{
    const uint8_t *p = data;
    uint64_t sum = start;

    for (; n >= 64; n -= 64, p += 64) {
        const word64 *w = (const word64 *)p;
        sum = add64(sum, w[0]);
        sum = add64(sum, w[1]);
        sum = add64(sum, w[2]);
        sum = add64(sum, w[3]);
        sum = add64(sum, w[4]);
        sum = add64(sum, w[5]);
        sum = add64(sum, w[6]);
        sum = add64(sum, w[7]);
    }
    for (; n >= 8; n -= 8, p += 8)
        sum = add64(sum, *(const word64 *)p);
    if (n & 4) {
        sum = add64(sum, *(const word32 *)p);
        p += 4;
    }
    if (n & 2) {
        sum = add64(sum, *(const word16 *)p);
        p += 2;
    }
    if (n & 1)
        sum = add64(sum, *p); /* padded with a zero byte behind it */
    return fold64(sum);
}

uint16_t csum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    return (uint16_t)~sum;
}

/* The sum of bytes that begin at an odd offset: as of even, with the bytes of each word exchanged.
 */
static inline uint32_t swap_sum(uint32_t sum)
{
    return (sum << 8) | (sum >> 24);
}

static inline uint32_t add32(uint32_t a, uint32_t b)
{
    uint64_t s = (uint64_t)a + b;
    return (uint32_t)(s + (s >> 32));
}

uint32_t pkt_csum(const struct pkt *p, uint32_t off, uint32_t n, uint32_t sum)
{
    bool odd = false;

    ASSERT(off <= p->len && n <= p->len - off);
    if (off < p->linear) {
        uint32_t part = MIN(n, p->linear - off);
        sum = csum_add(p->data + off, part, sum);
        odd = part & 1;
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
        uint32_t s = csum_add(pkt_frag_addr(p, f) + off, part, 0);
        sum = add32(sum, odd ? swap_sum(s) : s);
        odd ^= part & 1;
        n -= part;
        off = 0;
    }
    return sum;
}

uint32_t ip_pseudo_csum(const struct ip_addr *src, const struct ip_addr *dst, uint8_t proto,
                        uint32_t len)
{
    uint64_t sum = net32(len);

    sum += (uint32_t)proto << 24; /* the low byte of a big-endian 32-bit word */
    if (ip_is_v4(dst)) {
        sum += src->w[3];
        sum += dst->w[3];
    } else {
        sum = add64(sum, src->q[0]);
        sum = add64(sum, src->q[1]);
        sum = add64(sum, dst->q[0]);
        sum = add64(sum, dst->q[1]);
    }
    return fold64(sum);
}

void ip_csum_partial(struct pkt *p, const struct ip_flow *flow, uint16_t offset)
{
    uint32_t sum = flow->pseudo;

    if (unlikely(!flow->neighbour)) /* no cached sum */
        sum = ip_pseudo_csum(&flow->src, &flow->dst, flow->proto, 0);
    *(word16 *)(p->data + offset) = (uint16_t)~csum_fold(add32(sum, net32(p->len)));
    p->flags |= PKT_CSUM_PARTIAL;
    p->csum_start = (uint16_t)ip_header_len(flow);
    p->csum_offset = offset;
}
