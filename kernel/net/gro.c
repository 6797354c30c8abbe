/*
 * Generic receive offload: TCP segments of one flow that arrived together, in order and alike,
 * become one packet, so that the stack above is passed through once. Only segments whose checksum
 * the device verified and whose payload lies in pages are merged; the pages change owner, nothing
 * is copied.
 */
#include "net/ipimpl.h"

#define MAX_FLOWS 8
#define MAX_LEN 65000u
#define TH_ACK 0x10u
#define TH_PSH 0x08u

/* Where things are in a frame that may be merged. */
struct parsed {
    uint8_t *ip, *tcp;
    uint32_t headers; /* bytes in front of the payload */
    uint32_t ip_len;  /* 20 or 40 */
};

static bool parse(struct pkt *p, struct parsed *x)
{
    if (!(p->flags & PKT_CSUM_OK) || p->gso || p->linear < ETH_HEADER + IP4_HEADER + 20)
        return false;
    x->ip = p->data + ETH_HEADER;
    uint16_t type = get16(p->data + 12);
    if (type == ETH_TYPE_IP4 && x->ip[0] == 0x45 && x->ip[9] == IPPROTO_TCP_N &&
        !(get16(x->ip + 6) & 0x3fff) && get16(x->ip + 2) == p->len - ETH_HEADER)
        x->ip_len = IP4_HEADER;
    else if (type == ETH_TYPE_IP6 && p->linear >= ETH_HEADER + IP6_HEADER + 20 &&
             x->ip[6] == IPPROTO_TCP_N && get16(x->ip + 4) == p->len - ETH_HEADER - IP6_HEADER)
        x->ip_len = IP6_HEADER;
    else
        return false;
    x->tcp = x->ip + x->ip_len;
    x->headers = ETH_HEADER + x->ip_len + (x->tcp[12] >> 4) * 4u;
    /* Whole header and nothing else in the linear part, plain data segment. */
    return p->linear == x->headers && p->len > x->headers && (x->tcp[13] & ~TH_PSH) == TH_ACK &&
           (x->tcp[12] >> 4) >= 5;
}

/* Same flow, adjacent sequence numbers, same acknowledgement, window, options, TTL and class. */
static bool follows(const struct pkt *a, const struct parsed *x, const struct parsed *y)
{
    uint32_t seen = a->len - x->headers;

    if (x->ip_len != y->ip_len || x->headers != y->headers || (x->tcp[13] & TH_PSH))
        return false;
    if (x->ip_len == IP4_HEADER) {
        if (memcmp(x->ip + 12, y->ip + 12, 8) || x->ip[1] != y->ip[1] || x->ip[8] != y->ip[8])
            return false;
    } else if (memcmp(x->ip, y->ip, 4) || memcmp(x->ip + 6, y->ip + 6, 34)) {
        return false;
    }
    return !memcmp(x->tcp, y->tcp, 4) && get32(y->tcp + 4) == get32(x->tcp + 4) + seen &&
           !memcmp(x->tcp + 8, y->tcp + 8, 5) && !memcmp(x->tcp + 14, y->tcp + 14, 2) &&
           !memcmp(x->tcp + 20, y->tcp + 20, x->headers - ETH_HEADER - x->ip_len - 20);
}

/* Appends q's payload to p. */
static bool merge(struct pkt *p, const struct parsed *x, struct pkt *q, const struct parsed *y)
{
    uint32_t n = q->len - y->headers;

    if (p->len + n > MAX_LEN || p->nfrags + q->nfrags > PKT_MAX_FRAGS)
        return false;
    if (!p->gso) {
        p->gso = x->ip_len == IP4_HEADER ? GSO_TCP4 : GSO_TCP6;
        p->gso_size = (uint16_t)(p->len - x->headers);
    }
    if (n > p->gso_size)
        return false;
    for (unsigned i = 0; i < q->nfrags; i++)
        pkt_append_page(p, q->frags[i].page, q->frags[i].off, q->frags[i].len);
    q->nfrags = 0;
    x->tcp[13] |= y->tcp[13] & TH_PSH;
    if (x->ip_len == IP4_HEADER) {
        put16(x->ip + 2, (uint16_t)(p->len - ETH_HEADER));
        *(wire16 *)(x->ip + 10) = 0;
        *(wire16 *)(x->ip + 10) = csum_fold(csum_add(x->ip, IP4_HEADER, 0));
    } else {
        put16(x->ip + 4, (uint16_t)(p->len - ETH_HEADER - IP6_HEADER));
    }
    net_count(NET_Librettos_GroMerged);
    pkt_free(q);
    return true;
}

struct pkt *gro_merge(struct pkt *list)
{
    struct {
        struct pkt *p;
        struct parsed x;
        bool open;
    } flows[MAX_FLOWS];
    struct pkt *out = NULL, **tail = &out;
    unsigned n = 0;

    while (list) {
        struct pkt *p = list;
        struct parsed y;
        bool merged = false;
        list = p->next;
        p->next = NULL;
        bool can = parse(p, &y);
        for (unsigned i = 0; can && i < n && !merged; i++) {
            if (!flows[i].open || !follows(flows[i].p, &flows[i].x, &y))
                continue;
            /* A short segment ends the merged packet. */
            uint32_t payload = p->len - y.headers;
            merged = merge(flows[i].p, &flows[i].x, p, &y);
            if (!merged || payload < flows[i].p->gso_size)
                flows[i].open = false;
        }
        if (merged)
            continue;
        *tail = p;
        tail = &p->next;
        if (can) {
            unsigned slot = n < MAX_FLOWS ? n++ : 0;
            flows[slot].p = p;
            flows[slot].x = y;
            flows[slot].open = true;
        }
    }
    return out;
}
