/* The rings of channel/ring.h. Every word of the other side's is loaded once, by an atomic load. */
#include "channel/ring.h"

#include "core/mem.h"

#define LOAD(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
/* The two halves of the rule that loses no wake-up: publish, then look. */
#define PUBLISH(word, value) __atomic_exchange_n(&(word), (value), __ATOMIC_SEQ_CST)
#define LOOK(word) __atomic_load_n(&(word), __ATOMIC_SEQ_CST)

/* --- the producer ----------------------------------------------------------------------------- */

static bool accept_head(struct channel_producer *p, uint32_t head)
{
    if (unlikely(head - p->head > p->tail - p->head))
        p->broken = true;
    if (unlikely(p->broken))
        return false;
    p->head = head;
    if (head == p->tail) { /* from the start again: fewer lines and pages are touched */
        p->at = 0;
        p->draining = false;
    }
    return true;
}

bool channel_update_head(struct channel_producer *p)
{
    return accept_head(p, LOAD(p->peer->head));
}

/* Where n bytes in one piece are free, or -1. The frames in use lie between the oldest one's start
 * and `at`, around the end of the area perhaps; at == oldest means full, since empty starts anew.
 */
static int64_t find_room(const struct channel_producer *p, uint32_t n)
{
    if (p->draining || p->tail - p->head == p->slots)
        return -1;
    if (p->tail == p->head)
        return 0;
    uint32_t oldest = p->starts[p->head & (p->slots - 1)];
    if (p->at <= oldest)
        return oldest - p->at >= n ? (int64_t)p->at : -1;
    if (p->data_size - p->at >= n)
        return p->at;
    return oldest >= n ? 0 : -1;
}

uint8_t *channel_reserve(struct channel_producer *p, uint32_t len)
{
    uint32_t n = ROUND_UP(len, CHANNEL_ALIGN);
    int64_t at;

    ASSERT(len >= CHANNEL_FRAME_MIN && len <= CHANNEL_FRAME_MAX);
    if (unlikely(p->broken))
        return NULL;
    at = find_room(p, n);
    if (at < 0 || p->tail - p->head > p->slots / 2) {
        if (!channel_update_head(p))
            return NULL;
        at = find_room(p, n);
        if (at < 0)
            return NULL;
    }
    p->at = (uint32_t)at;
    return p->data + at;
}

void channel_commit(struct channel_producer *p, struct channel_desc *desc)
{
    uint32_t slot = p->tail & (p->slots - 1);

    desc->offset = p->at;
    p->descs[slot] = *desc;
    p->starts[slot] = p->at;
    p->at += ROUND_UP(desc->len, CHANNEL_ALIGN);
    p->tail++;
    __atomic_store_n(&p->own->tail, p->tail, __ATOMIC_RELEASE);
}

bool channel_notify_data(struct channel_producer *p)
{
    uint32_t old = p->notified, tail = p->tail;

    if (tail == old)
        return false;
    p->notified = tail;
    PUBLISH(p->own->tail, tail);
    return channel_passes(LOOK(p->peer->data_event), tail, old);
}

bool channel_is_awaited(const struct channel_producer *p)
{
    uint32_t head = LOAD(p->peer->head);

    return LOAD(p->peer->data_event) - head < p->tail - head;
}

bool channel_want_room(struct channel_producer *p)
{
    uint32_t outstanding = p->tail - p->head;
    /* While draining all of it, else three quarters: not one doorbell per frame. */
    uint32_t wanted = p->draining ? outstanding : outstanding - outstanding / 4;

    if (!wanted) /* nothing is outstanding, so everything fits */
        return !p->broken;
    uint32_t target = p->head + wanted;
    PUBLISH(p->own->room_event, target - 1);
    uint32_t head = LOOK(p->peer->head);
    bool there = head - p->head >= wanted;
    return accept_head(p, head) && there;
}

/* --- the consumer ----------------------------------------------------------------------------- */

/* V4 to V6. */
static bool desc_valid(const struct channel_consumer *c, const struct channel_desc *d)
{
    static const uint8_t needs[] = {0, CHANNEL_F_TSO4, CHANNEL_F_TSO6, CHANNEL_F_USO};

    if (d->len < CHANNEL_FRAME_MIN || d->len > CHANNEL_FRAME_MAX || d->offset > c->data_size ||
        d->len > c->data_size - d->offset || d->header_len > d->len)
        return false;
    if (d->flags & ~(CHANNEL_CSUM_PARTIAL | CHANNEL_CSUM_VALID) ||
        d->gso_type >= ARRAY_SIZE(needs) || needs[d->gso_type] & ~c->features)
        return false;
    if (!(d->flags & CHANNEL_CSUM_PARTIAL))
        return !(d->csum_start | d->csum_offset | d->gso_size | d->gso_type);
    return (c->features & CHANNEL_F_CSUM) && d->csum_start >= CHANNEL_FRAME_MIN &&
           (uint32_t)d->csum_start + d->csum_offset + 2 <= d->len &&
           (d->gso_type == CHANNEL_GSO_NONE) == (d->gso_size == 0);
}

/* V2, and whether there is something to take. */
static bool accept_tail(struct channel_consumer *c, uint32_t tail)
{
    if (unlikely(tail - c->next > c->slots - (c->next - c->head) ||
                 tail - c->next < c->tail - c->next))
        c->broken = true;
    if (unlikely(c->broken))
        return false;
    c->tail = tail;
    return tail != c->next;
}

bool channel_take(struct channel_consumer *c, struct channel_frame *f)
{
    if (unlikely(c->broken))
        return false;
    if (c->next == c->tail && !accept_tail(c, LOAD(c->peer->tail)))
        return false;
    /* Two loads, each once: what is checked is what is used. */
    const uint64_t *from = (const uint64_t *)&c->descs[c->next & (c->slots - 1)];
    uint64_t words[2] = {__atomic_load_n(&from[0], __ATOMIC_RELAXED),
                         __atomic_load_n(&from[1], __ATOMIC_RELAXED)};
    memcpy(&f->desc, words, sizeof(words));
    if (unlikely(!desc_valid(c, &f->desc))) {
        c->broken = true;
        return false;
    }
    f->data = c->data + f->desc.offset;
    c->next++;
    return true;
}

void channel_release(struct channel_consumer *c, uint32_t n)
{
    ASSERT(n <= c->next - c->head);
    c->head += n;
    __atomic_store_n(&c->own->head, c->head, __ATOMIC_RELEASE);
}

bool channel_notify_room(struct channel_consumer *c)
{
    uint32_t old = c->notified, head = c->head;

    if (head == old)
        return false;
    c->notified = head;
    PUBLISH(c->own->head, head);
    return channel_passes(LOOK(c->peer->room_event), head, old);
}

bool channel_want_data(struct channel_consumer *c)
{
    if (unlikely(c->broken))
        return false;
    PUBLISH(c->own->data_event, c->next);
    return accept_tail(c, LOOK(c->peer->tail));
}

/* --- queue pairs ------------------------------------------------------------------------------ */

int channel_queue_create(struct channel_queue *q, uint8_t *base, const struct channel_layout *l,
                         uint32_t index, bool server, uint32_t features)
{
    struct channel_side *sides[2] = {(void *)(base + CHANNEL_PAGE),
                                     (void *)(base + 2 * CHANNEL_PAGE)};
    struct channel_line *own = &sides[!server]->lines[index];
    struct channel_line *peer = &sides[server]->lines[index];
    uint8_t *app_area = base + l->app_areas + index * l->stride;
    uint8_t *server_area = base + l->server_areas + index * l->stride;
    uint8_t *produced = server ? server_area : app_area;
    uint8_t *consumed = server ? app_area : server_area;

    ASSERT(index < l->queues);
    *q = (struct channel_queue){.server = server};
    q->tx = (struct channel_producer){
        .own = own,
        .peer = peer,
        .descs = (void *)produced,
        .data = produced + l->data,
        .slots = l->slots,
        .data_size = l->data_size / CHANNEL_ALIGN * CHANNEL_ALIGN,
    };
    q->rx = (struct channel_consumer){
        .own = own,
        .peer = peer,
        .descs = (const void *)consumed,
        .data = consumed + l->data,
        .slots = l->slots,
        .data_size = l->data_size,
        .features = features,
    };
    q->tx.starts = kzalloc(l->slots * sizeof(*q->tx.starts));
    return q->tx.starts ? 0 : -ENOMEM;
}

void channel_queue_destroy(struct channel_queue *q)
{
    kfree(q->tx.starts);
    q->tx.starts = NULL;
    q->live = false;
}

/* Both directions begin at the given indices, which are ours from now on. */
static void begin(struct channel_queue *q, uint32_t tail, uint32_t head)
{
    struct channel_producer *p = &q->tx;
    struct channel_consumer *c = &q->rx;

    p->tail = p->notified = tail;
    p->broken = false;
    c->head = c->next = c->tail = c->notified = head;
    c->broken = false;
}

void channel_queue_start(struct channel_queue *q)
{
    uint32_t shown = LOAD(q->tx.own->generation), theirs = LOAD(q->tx.peer->generation);
    uint32_t generation = shown + 1;

    ASSERT(q->server);
    while (!generation || generation == theirs)
        generation++;
    q->live = false;
    /* Written again as read: what is checked against later is what the application sees. */
    begin(q, LOAD(q->tx.own->tail), LOAD(q->tx.own->head));
    __atomic_store_n(&q->tx.own->tail, q->tx.tail, __ATOMIC_RELAXED);
    __atomic_store_n(&q->tx.own->head, q->rx.head, __ATOMIC_RELAXED);
    __atomic_store_n(&q->tx.own->room_event, q->tx.tail - 1, __ATOMIC_RELAXED);
    __atomic_store_n(&q->tx.own->data_event, q->rx.head, __ATOMIC_RELAXED);
    q->generation = generation;
    __atomic_store_n(&q->tx.own->generation, generation, __ATOMIC_RELEASE);
}

/* The server's look at an application that answered: its indices are checked as always. */
static void server_live(struct channel_queue *q)
{
    struct channel_producer *p = &q->tx;

    p->at = 0;
    p->head = p->tail - p->slots; /* as far back as it may be */
    p->draining = true;
    channel_update_head(p);
    q->live = true;
}

/* The application's answer to a generation of the server's. */
static void app_answer(struct channel_queue *q, uint32_t generation)
{
    struct channel_producer *p = &q->tx;
    struct channel_consumer *c = &q->rx;
    uint32_t server_head = LOAD(p->peer->head), server_tail = LOAD(p->peer->tail);
    bool keep_tx = !p->broken && server_head - p->head <= p->tail - p->head;
    bool keep_rx = !c->broken && server_tail - c->head <= c->slots &&
                   server_tail - c->head >= c->tail - c->head;

    /* Nothing is taken and not released between batches, so next is head. */
    begin(q, keep_tx ? p->tail : server_head, keep_rx ? c->head : server_tail);
    if (!keep_tx)
        p->head = p->tail;
    accept_head(p, server_head);
    __atomic_store_n(&p->own->tail, p->tail, __ATOMIC_RELAXED);
    __atomic_store_n(&p->own->head, c->head, __ATOMIC_RELAXED);
    __atomic_store_n(&p->own->room_event, p->head - 1, __ATOMIC_RELAXED);
    __atomic_store_n(&p->own->data_event, c->next, __ATOMIC_RELAXED);
    q->generation = generation;
    __atomic_store_n(&p->own->generation, generation, __ATOMIC_RELEASE);
    q->live = true;
}

enum channel_event channel_queue_check(struct channel_queue *q)
{
    uint32_t theirs = LOAD(q->tx.peer->generation);

    if (likely(theirs == q->generation)) {
        if (likely(q->live) || !theirs)
            return CHANNEL_SAME;
    } else if (q->server || !theirs) {
        q->live = false;
        return CHANNEL_STALLED;
    }
    if (q->server)
        server_live(q);
    else
        app_answer(q, theirs);
    return CHANNEL_LIVE;
}
