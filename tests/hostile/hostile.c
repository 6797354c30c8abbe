/*
 * A hostile application domain: our own kernel, in which the application's end of the channel turns
 * against the network server. Linked with --wrap=channel_path_start, so that the path starts as
 * ever, and then a thread attacks: frames under others' names, nonsense frames, descriptors and
 * indices that lie, words scribbled over the whole region, doorbells without end.
 *
 * tests/e2e/test_hostile.py runs it beside an honest domain under load.
 */
#include "channel/path.h"
#include "core/rand.h"
#include "core/thread.h"
#include "core/timer.h"
#include "net/ether.h"

#define BURST 64 /* of an attack, every 10 ms */

void __real_channel_path_start(struct channel_path *cp);
void __wrap_channel_path_start(struct channel_path *cp);

static void send(struct channel_path *cp, const void *frame, uint32_t len,
                 const struct channel_desc *with)
{
    struct channel_path_queue *pq = &cp->queues[0];
    struct channel_desc d = with ? *with : (struct channel_desc){0};

    spin_lock_bh(&pq->tx_lock);
    uint8_t *to = pq->q.live ? channel_reserve(&pq->q.tx, len) : NULL;
    if (to) {
        memcpy(to, frame, len);
        d.len = len;
        channel_commit(&pq->q.tx, &d);
        if (channel_notify_data(&pq->q.tx))
            cp->dev->ring(cp->dev, pq->peer, 0);
    }
    spin_unlock_bh(&pq->tx_lock);
}

/* A UDP datagram to everybody, with one of MAC, IP and port another's. */
static void spoof(struct channel_path *cp)
{
    uint8_t b[64] = {0};
    uint32_t what = rand_u32() % 4;

    memset(b, 0xff, 6);
    memcpy(b + 6, cp->grants.mac, 6);
    put16(b + 12, 0x0800);
    b[14] = 0x45;
    put16(b + 16, 50);
    b[22] = 64;
    b[23] = 17;
    memcpy(b + 26, cp->grants.ipv4, 4);
    memset(b + 30, 0xff, 4);
    put16(b + 34, 6379); /* the honest domain's, if the address is shared */
    put16(b + 36, 9);
    put16(b + 38, 30);
    if (what == 0)
        b[11] ^= 1;
    if (what == 1)
        b[29] ^= 1;
    if (what == 2) { /* an ARP reply that takes the neighbour's address away */
        put16(b + 12, 0x0806);
        memcpy(b + 14, (uint8_t[]){0, 1, 8, 0, 6, 4, 0, 2}, 8);
        memcpy(b + 22, cp->grants.mac, 6);
        memcpy(b + 28, cp->grants.ipv4, 4);
        b[31] ^= 1;
    }
    send(cp, b, sizeof(b), NULL);
}

static void nonsense(struct channel_path *cp)
{
    static uint8_t b[2048];
    struct channel_desc d = {.flags = (uint8_t)(rand_u32() & 1),
                             .csum_start = (uint16_t)(14 + rand_u32() % 100),
                             .csum_offset = (uint8_t)rand_u32()};

    rand_bytes(b, sizeof(b));
    memcpy(b + 6, cp->grants.mac, 6);
    put16(b + 12, rand_u32() & 1 ? 0x0800 : 0x86dd);
    b[14] = b[13] ? 0x60 : 0x45;
    send(cp, b, CHANNEL_FRAME_MIN + rand_u32() % (sizeof(b) - CHANNEL_FRAME_MIN), &d);
}

static void lie_in_descriptors(struct channel_path *cp)
{
    struct channel_producer *p = &cp->queues[0].q.tx;

    spoof(cp);
    rand_bytes(&p->descs[(p->tail - 1) & (p->slots - 1)], sizeof(struct channel_desc));
}

static void lie_about_indices(struct channel_path *cp)
{
    struct channel_line *own = cp->queues[0].q.tx.own;
    uint32_t *words[] = {&own->tail, &own->head, &own->data_event, &own->room_event,
                         &own->generation};

    *words[rand_u32() % ARRAY_SIZE(words)] += rand_u32() % 600;
}

/* Anything anywhere: page 0, the server's page, both sides' rings and data. */
static void scribble(struct channel_path *cp)
{
    uint32_t word = rand_u32();
    uint64_t at = rand_u32() % (rand_u32() & 1 ? 3 * CHANNEL_PAGE : cp->dev->size - 4);

    memcpy(cp->dev->mem + at, &word, sizeof(word));
}

static void storm(struct channel_path *cp)
{
    for (unsigned i = 0; i < 100; i++)
        cp->dev->ring(cp->dev, cp->queues[0].peer, i % 4);
}

/* Who lies about its generation, or leaves a bad descriptor behind, has shut itself out: puts right
 * what would stay wrong in the next generation. */
static void take_part(struct channel_path *cp)
{
    struct channel_path_queue *pq = &cp->queues[0];
    struct channel_producer *p = &pq->q.tx;

    spin_lock_bh(&pq->tx_lock);
    for (uint32_t i = 0; i < p->slots; i++)
        p->descs[i] = (struct channel_desc){.offset = p->starts[i], .len = CHANNEL_FRAME_MIN};
    p->own->tail = p->tail;
    p->own->head = pq->q.rx.head;
    p->own->generation = pq->q.generation;
    spin_unlock_bh(&pq->tx_lock);
}

static void hostile_thread(void *arg)
{
    /* What breaks the channel comes seldom: a broken one carries nothing for a while. */
    static void (*const bad[])(struct channel_path *) = {spoof, nonsense, storm};
    static void (*const worse[])(struct channel_path *) = {lie_in_descriptors, lie_about_indices,
                                                           scribble};
    struct channel_path *cp = arg;

    klog(LOG_WARN, "this domain is hostile");
    for (unsigned round = 0;; round++) {
        if (round % 64 == 0)
            take_part(cp);
        for (unsigned i = 0; i < BURST; i++)
            (round % 64 < 48 ? bad : worse)[round % 3](cp);
        thread_sleep_until(time_now() + 10 * NSEC_PER_MSEC, false);
    }
}

void __wrap_channel_path_start(struct channel_path *cp)
{
    __real_channel_path_start(cp);
    if (thread_create(NULL, hostile_thread, cp, "hostile"))
        panic("no memory for the hostile thread");
}
