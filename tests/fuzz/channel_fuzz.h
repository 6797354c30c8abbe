/*
 * One end of a channel against a hostile other one. The input is a program: operations of the end
 * under test, and between them writes of anything to anywhere in the shared region. A shadow model
 * checks after every operation:
 *   - frames taken lie in the area that the other side produces, are valid, and are at most `slots`
 *     without a release;
 *   - what the server lends of a frame is that frame and no more, and its loan comes back;
 *   - room that is reserved lies in our own area and overlaps no frame of ours that is outstanding
 * as far as the other side's accepted words say;
 *   - a broken ring yields nothing more until the next generation;
 *   - no loop goes on for longer than the ring has slots.
 */
#ifndef CHANNEL_FUZZ_H
#define CHANNEL_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "channel/frame.h"
#include "floor.h"

#define SIZE (37u * CHANNEL_PAGE) /* the least that holds a frame of any size */
#define SLOTS 16u

struct shadow_frame {
    uint32_t at, len;
};

struct fuzz {
    const uint8_t *in, *end;
    uint8_t *mem;
    struct channel_layout l;
    struct channel_queue q;
    bool server;
    struct shadow_frame sent[SLOTS]; /* by descriptor number % SLOTS */
    uint32_t taken;                  /* and not released */
};

static uint32_t eat(struct fuzz *z, unsigned n)
{
    uint32_t v = 0;

    while (n-- && z->in < z->end)
        v = v << 8 | *z->in++;
    return v;
}

static void check_room(const struct fuzz *z, const uint8_t *to, uint32_t len)
{
    uint64_t area = z->server ? z->l.server_areas : z->l.app_areas;
    uint64_t at = (uint64_t)(to - (z->mem + area + z->l.data));
    const struct channel_producer *p = &z->q.tx;

    ASSERT(at <= z->l.data_size && len <= z->l.data_size - at);
    ASSERT(!p->draining && !p->broken && p->tail - p->head < SLOTS);
    for (uint32_t i = p->head; i != p->tail; i++) {
        const struct shadow_frame *f = &z->sent[i % SLOTS];
        ASSERT(at + len <= f->at || f->at + f->len <= at);
    }
}

static void send_frame(struct fuzz *z)
{
    uint32_t len = CHANNEL_FRAME_MIN + eat(z, 2) % (CHANNEL_FRAME_MAX - CHANNEL_FRAME_MIN + 1);
    uint8_t *to = channel_reserve(&z->q.tx, len);
    struct channel_desc d = {.len = len};

    if (!to) {
        for (uint32_t n = 0; channel_want_room(&z->q.tx); n++) {
            ASSERT(n <= SLOTS);
            if ((to = channel_reserve(&z->q.tx, len)))
                break;
        }
        if (!to)
            return;
    }
    check_room(z, to, len);
    to[0] = to[len - 1] = 0x5a;
    z->sent[z->q.tx.tail % SLOTS] = (struct shadow_frame){(uint32_t)(to - z->q.tx.data), len};
    channel_commit(&z->q.tx, &d);
}

static unsigned returned;

static void loan_returned(struct pkt_lender *l)
{
    (void)l;
    returned++;
}

/* Everything that may be done to a packet whose data is lent: read, cloned, copied, freed. */
static void check_loan(const struct fuzz *z, const struct channel_frame *f)
{
    struct pkt_lender lender = {z->mem, (uintptr_t)z->mem, loan_returned};
    struct pkt_loan loan = {.lender = &lender};
    struct pkt *p = channel_lend_pkt(f, &loan), *copy = p ? pkt_clone(p) : NULL;

    ASSERT(p && copy && p->len == f->desc.len && p->nfrags == 1);
    ASSERT(pkt_frag_addr(p, p->frags) == f->data + CHANNEL_LEND_COPIED);
    pkt_csum(p, 0, p->len, 0);
    returned = 0;
    pkt_free(p);
    ASSERT(!returned && channel_settle_pkt(copy));
    ASSERT(returned == 1 && !ref_count(&loan.refs) && copy->len == f->desc.len);
    pkt_csum(copy, 0, copy->len, 0);
    pkt_free(copy);
}

static void take_frames(struct fuzz *z)
{
    uint64_t area = z->server ? z->l.app_areas : z->l.server_areas;
    const uint8_t *data = z->mem + area + z->l.data;
    uint32_t budget = 1 + eat(z, 1) % 32;
    struct channel_frame f;

    for (uint32_t n = 0; n < budget && channel_take(&z->q.rx, &f); n++) {
        ASSERT(++z->taken <= SLOTS);
        ASSERT(f.desc.len >= CHANNEL_FRAME_MIN && f.desc.len <= CHANNEL_FRAME_MAX);
        ASSERT(f.data >= data && f.data + f.desc.len <= data + z->l.data_size);
        if (z->server && f.desc.len >= CHANNEL_LEND_MIN)
            check_loan(z, &f);
        struct pkt *p = channel_get_pkt(&f);
        if (p) {
            ASSERT(p->len == f.desc.len);
            if (p->flags & PKT_CSUM_PARTIAL)
                ASSERT((uint32_t)p->csum_start + p->csum_offset + 2 <= p->len);
            ASSERT(!p->gso || (p->gso_size && p->flags & PKT_CSUM_PARTIAL));
            pkt_free(p);
        }
    }
}

/* The other side, or whoever shares the region: words that matter, descriptors, anything. */
static void scribble(struct fuzz *z, uint8_t op)
{
    struct channel_line *theirs = (void *)z->q.tx.peer, *ours = z->q.tx.own;
    uint64_t area = z->server ? z->l.app_areas : z->l.server_areas;
    uint32_t at, n;

    switch (op) {
    case 0: /* close to the truth */
        theirs->tail = z->q.rx.next + eat(z, 1) % (SLOTS + 2);
        break;
    case 1:
        theirs->head = z->q.tx.head + eat(z, 1) % (SLOTS + 2);
        break;
    case 2:
        memcpy((uint8_t *)theirs + eat(z, 1) % 5 * 4, &(uint32_t){eat(z, 4)}, 4);
        break;
    case 3:
        memcpy((uint8_t *)ours + eat(z, 1) % 5 * 4, &(uint32_t){eat(z, 4)}, 4);
        break;
    case 4: /* a descriptor, its fields whole */
        ((struct channel_desc *)(z->mem + area))[eat(z, 1) % SLOTS] =
            (struct channel_desc){.offset = eat(z, 3),
                                  .len = eat(z, 2),
                                  .csum_start = (uint16_t)eat(z, 1),
                                  .gso_size = (uint16_t)eat(z, 2),
                                  .csum_offset = (uint8_t)eat(z, 1),
                                  .gso_type = (uint8_t)eat(z, 1) % 8,
                                  .flags = (uint8_t)eat(z, 1) % 8,
                                  .header_len = (uint8_t)eat(z, 1)};
        break;
    case 5:
        theirs->generation = z->q.generation + eat(z, 1) % 3;
        break;
    default: /* anything, anywhere */
        at = eat(z, 3) % SIZE;
        n = MIN(eat(z, 1), SIZE - at);
        while (n-- && z->in < z->end)
            z->mem[at++] = *z->in++;
    }
}

static void step(struct fuzz *z)
{
    uint8_t op = (uint8_t)eat(z, 1);
    bool was_broken = z->q.rx.broken;

    switch (op % 16) {
    case 0:
    case 1:
        if (z->q.live)
            send_frame(z);
        break;
    case 2:
    case 3:
        if (z->q.live)
            take_frames(z);
        ASSERT(!was_broken || z->q.rx.broken);
        break;
    case 4:
        channel_release(&z->q.rx, z->taken);
        z->taken = 0;
        channel_notify_room(&z->q.rx);
        break;
    case 5:
        channel_notify_data(&z->q.tx);
        channel_want_data(&z->q.rx);
        break;
    case 6:
        channel_release(&z->q.rx, z->taken);
        z->taken = 0;
        channel_queue_check(&z->q);
        break;
    case 7:
        if (z->server && op & 0x80) {
            z->taken = 0;
            channel_queue_start(&z->q);
        }
        break;
    default:
        scribble(z, op % 8);
    }
}

static int fuzz_channel(const uint8_t *data, size_t size, bool server)
{
    static uint8_t *mem;
    struct fuzz z = {.in = data, .end = data + size, .server = server};
    size_t before;

    pkt_init();
    before = floor_pages_in_use();
    if (!mem) /* once, exactly as large: ASan sees its end */
        mem = aligned_alloc(CHANNEL_PAGE, SIZE);
    z.mem = mem;
    if (!channel_layout(&z.l, SIZE, 1, SLOTS))
        abort();
    memset(mem, 0, CHANNEL_CONTROL_PAGES * CHANNEL_PAGE);
    memset(mem + z.l.app_areas, 0, z.l.data);
    memset(mem + z.l.server_areas, 0, z.l.data);
    if (channel_queue_create(&z.q, z.mem, &z.l, 0, server, CHANNEL_FEATURES))
        abort();
    if (server)
        channel_queue_start(&z.q);
    ((struct channel_line *)z.q.tx.peer)->generation = 1;
    channel_queue_check(&z.q);
    while (z.in < z.end)
        step(&z);
    channel_queue_destroy(&z.q);
    if (floor_pages_in_use() != before)
        abort();
    return 0;
}

#endif
