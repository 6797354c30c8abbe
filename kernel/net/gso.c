/*
 * Segmentation and checksums in software (net/gso.h), for paths that lack them.
 *
 * A packet that asks for segmentation is a complete frame: Ethernet, IP without options or
 * extension headers, transport header at csum_start. Each segment gets a copy of the headers, its
 * share of the payload (pages are shared, not copied) and its own lengths, sequence number and
 * checksum.
 */
#include "net/gso.h"

#include "net/ether.h"
#include "net/ip.h"
#include "net/sendbuf.h"
#include "net/stats.h"

#define TCP_FIN 0x01u
#define TCP_PSH 0x08u
#define TCP_CWR 0x80u
#define SEGMENT_HEADROOM 32u /* room for a device's own header */

bool pkt_csum_complete(struct pkt *p)
{
    uint32_t at = (uint32_t)p->csum_start + p->csum_offset;

    if (p->csum_start > p->linear || at + 2 > p->linear)
        return false;
    uint16_t sum = csum_fold(pkt_csum(p, p->csum_start, p->len - p->csum_start, 0));
    /* A UDP checksum of zero means "none" (RFC 768); the other zero says the same sum. */
    *(wire16 *)(p->data + at) = sum ? sum : 0xffff;
    p->flags &= (uint8_t)~PKT_CSUM_PARTIAL;
    return true;
}

/* Bytes of headers in front of the payload, or 0 if the packet is not what it says. */
static uint32_t headers_len(const struct pkt *p)
{
    uint32_t l4 = p->csum_start, len;

    if (!(p->flags & PKT_CSUM_PARTIAL) || !p->gso_size)
        return 0;
    if (l4 != ETH_HEADER + 20 && l4 != ETH_HEADER + 40)
        return 0;
    if (p->gso == GSO_UDP) {
        len = l4 + 8;
    } else {
        if (p->linear < l4 + 20)
            return 0;
        len = l4 + (p->data[l4 + 12] >> 4) * 4u;
        if (len < l4 + 20)
            return 0;
    }
    return p->linear >= len ? len : 0;
}

static void fix_ip(struct pkt *s, unsigned index)
{
    uint8_t *ip = s->data + ETH_HEADER, *l4 = s->data + s->csum_start;
    uint32_t l4_len = s->len - s->csum_start;
    struct ip_addr src, dst;
    uint8_t proto;

    if ((ip[0] >> 4) == 4) {
        put16(ip + 2, (uint16_t)(s->len - ETH_HEADER));
        put16(ip + 4, (uint16_t)(get16(ip + 4) + index));
        *(wire16 *)(ip + 10) = 0;
        *(wire16 *)(ip + 10) = csum_fold(csum_add(ip, 20, 0));
        src = ip_from_v4(*(wire32 *)(ip + 12));
        dst = ip_from_v4(*(wire32 *)(ip + 16));
        proto = ip[9];
    } else {
        put16(ip + 4, (uint16_t)l4_len);
        memcpy(&src, ip + 8, 16);
        memcpy(&dst, ip + 24, 16);
        proto = ip[6];
    }
    if (proto == IPPROTO_UDP_N)
        put16(l4 + 4, (uint16_t)l4_len);
    *(wire16 *)(l4 + s->csum_offset) =
        (uint16_t)~csum_fold(ip_pseudo_csum(&src, &dst, proto, l4_len));
}

static struct pkt *segment(const struct pkt *p, uint32_t hlen, uint32_t off, uint32_t n,
                           unsigned index)
{
    struct pkt *s = pkt_alloc(SEGMENT_HEADROOM);

    if (!s)
        return NULL;
    if (!pkt_append(s, p->data, hlen) || !pkt_append_range(s, p, off, n)) {
        pkt_free(s);
        return NULL;
    }
    send_buffer_charge_part(s, p);
    s->netif = p->netif;
    s->flags = p->flags;
    s->csum_start = p->csum_start;
    s->csum_offset = p->csum_offset;
    s->hash = p->hash;
    if (p->gso != GSO_UDP) {
        uint8_t *tcp = s->data + s->csum_start;
        put32(tcp + 4, get32(tcp + 4) + (off - hlen));
        if (off + n < p->len)
            tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
        if (index)
            tcp[13] &= (uint8_t)~TCP_CWR;
    }
    fix_ip(s, index);
    return s;
}

static struct pkt *split_segments(struct pkt *p)
{
    struct pkt *list = NULL, **tail = &list;
    uint32_t hlen = headers_len(p);
    unsigned index = 0;

    if (!hlen)
        goto fail;
    for (uint32_t off = hlen; off < p->len; index++) {
        uint32_t n = MIN((uint32_t)p->gso_size, p->len - off);
        struct pkt *s = segment(p, hlen, off, n, index);
        if (!s)
            goto fail;
        *tail = s;
        tail = &s->next;
        off += n;
    }
    net_count_n(NET_Librettos_GsoSoftware, index);
    pkt_free(p);
    return list;
fail:
    net_count(NET_Librettos_TxSegmentFailed);
    pkt_free_list(list);
    pkt_free(p);
    return NULL;
}

struct pkt *gso_split(struct pkt *p, uint32_t features)
{
    struct pkt *list = p;

    p->next = NULL;
    if (p->gso && (pkt_needs(p) & ~features & ~(uint32_t)PATH_CSUM || !(features & PATH_CSUM)))
        list = split_segments(p);
    if (features & PATH_CSUM)
        return list;
    for (p = list; p; p = p->next) {
        if ((p->flags & PKT_CSUM_PARTIAL) && !pkt_csum_complete(p)) {
            net_count(NET_Librettos_TxSegmentFailed);
            pkt_free_list(list);
            return NULL;
        }
    }
    return list;
}
