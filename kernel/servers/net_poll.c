/*
 * Polling the channels. One bottom half gives every domain that has frames a turn after the other
 * (deficit round robin: Shreedhar and Varghese, 1996): in its turn a domain may send QUANTUM bytes,
 * counted as server_charge does. While the NIC has no room nothing is taken from anybody: what a
 * flooding domain sends too much waits in its own ring.
 *
 * A domain without frames asks for a doorbell and is not looked at any more. Shortly after it was
 * busy it is looked at once more, and rung if it waits: the store of one side's wish to be rung and
 * the load of the other's index can miss each other where the processor's fences do not hold
 * between virtual CPUs (QEMU's TCG with one CPU emits none), and then nobody would ring.
 *
 * Each frame pays for one doorbell. A domain that rings more often is not listened to until the
 * next second look: its interrupts are masked.
 */
#include "servers/net_internal.h"

#include "channel/frame.h"
#include "net/mcast.h"
#include "net/shared.h"

#define QUANTUM 65536
#define ROUND_FRAMES 256 /* then others on this CPU have their turn */
#define SECOND_LOOK (5 * NSEC_PER_MSEC)
#define MEND_AFTER (250 * NSEC_PER_MSEC)
#define POLL_FOR (50 * NSEC_PER_USEC) /* after the last frame, before doorbells are asked for */
#define POLLS 500u                    /* and so often at most */
#define STORM 64u                     /* needless doorbells between two second looks */

void server_wake(struct server_slot *s)
{
    __atomic_fetch_or(&server.pending[s->number / 64], 1ull << s->number % 64, __ATOMIC_RELEASE);
    bh_schedule(&server.bh);
}

void net_server_channel_rung(struct server_slot *s, unsigned vector)
{
    (void)vector;
    if (READ_ONCE(s->muted) || !READ_ONCE(s->serving))
        return;
    s->counts->doorbells_in++;
    s->needless++;
    server_wake(s);
}

/* --- generations ------------------------------------------------------------------------------ */

static void ring_app(struct server_slot *s, unsigned queue)
{
    s->counts->doorbells_out++;
    s->dev->ring(s->dev, CHANNEL_PEER(s->number, CHANNEL_APP), queue);
}

void server_start_queues(struct server_slot *s)
{
    for (uint32_t i = 0; i < s->nqueues; i++) {
        channel_queue_start(&s->queues[i]);
        ring_app(s, i);
    }
    s->counts->generations++;
}

/* It is up when its domains have answered, or do not within a time. */
static bool may_be_up(void)
{
    if (!server.table || READ_ONCE(server_page()->state) != NET_SERVER_STARTING)
        return false;
    work_schedule(&server.table_work);
    return true;
}

bool server_check_queue(struct server_slot *s, uint32_t i)
{
    struct channel_queue *q = &s->queues[i];

    if (unlikely(channel_queue_changed(q)) && channel_queue_check(q) == CHANNEL_LIVE) {
        s->app_features =
            READ_ONCE(channel_side(s->dev, false)->features) & (uint32_t)CHANNEL_FEATURES;
        may_be_up();
    }
    return q->live;
}

static void note_broken(struct server_slot *s)
{
    if (s->mend_at)
        return;
    s->counts->broken++;
    s->mend_at = time_now() + MEND_AFTER;
    WRITE_ONCE(channel_side(s->dev, true)->state, CHANNEL_BROKEN);
    if (!s->warned) /* the counter tells the rest */
        klog(LOG_WARN, "network server: domain in slot %u broke the rules of its channel",
             s->number);
    s->warned = true;
}

static void mend(struct server_slot *s)
{
    s->mend_at = 0;
    WRITE_ONCE(channel_side(s->dev, true)->state, CHANNEL_UP);
    server_start_queues(s);
}

/* --- a turn ----------------------------------------------------------------------------------- */

void server_loan_returned(struct pkt_lender *l)
{
    server_wake(container_of(l, struct server_slot, lender));
}

static struct pkt_loan *loan_of(const struct server_slot *s, uint32_t queue, uint32_t frame)
{
    return &s->loans[queue][frame & (s->queues[queue].rx.slots - 1)];
}

/* A packet of the frame taken last. A loan that is still out at its place is of a generation ago:
 * the frame was submitted again. */
static struct pkt *get_pkt(struct server_slot *s, uint32_t queue, const struct channel_frame *f)
{
    struct pkt_loan *loan = loan_of(s, queue, s->queues[queue].rx.next - 1);

    if (f->desc.len < CHANNEL_LEND_MIN || ref_count(&loan->refs))
        return channel_get_pkt(f);
    return channel_lend_pkt(f, loan);
}

/* Gives the frames back whose data is not needed any more: in order, so one that is lent holds up
 * those behind it. */
static void release(struct server_slot *s, uint32_t queue)
{
    struct channel_consumer *c = &s->queues[queue].rx;
    uint32_t n = 0;

    while (c->head + n != c->next && !ref_count(&loan_of(s, queue, c->head + n)->refs))
        n++;
    if (!n)
        return;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* it was read before its loan came back */
    channel_release(c, n);
    if (channel_notify_room(c))
        ring_app(s, queue);
}

/* Takes what the quantum allows from one queue; the number of frames. */
static int take_frames(struct server_slot *s, uint32_t queue, int limit)
{
    struct channel_consumer *c = &s->queues[queue].rx;
    struct channel_frame frame;
    int n = 0;

    while (n < limit && s->deficit > 0 && channel_take(c, &frame)) {
        struct pkt *p = get_pkt(s, queue, &frame);
        n++;
        server_charge(s, frame.desc.len, frame.desc.gso_size);
        if (p)
            server_from_slot(s, p);
        else
            s->counts->drop_memory++;
    }
    release(s, queue);
    return n;
}

static int turn(struct server_slot *s, int limit)
{
    int n = 0;

    s->deficit = MIN(s->deficit + QUANTUM, QUANTUM);
    s->first_queue++; /* what one queue uses up is not always the others' */
    for (uint32_t i = 0; i < s->nqueues; i++) {
        uint32_t queue = (s->first_queue + i) % s->nqueues;
        if (server_check_queue(s, queue))
            n += take_frames(s, queue, limit - n);
        if (unlikely(channel_queue_broken(&s->queues[queue])))
            note_broken(s);
    }
    if (n) {
        s->needless -= MIN(s->needless, (uint32_t)n);
        s->recent = true;
    }
    return n;
}

/* Asks to be rung. False: there are frames after all. */
static bool rest(struct server_slot *s)
{
    for (uint32_t i = 0; i < s->nqueues; i++)
        if (s->queues[i].live && channel_want_data(&s->queues[i].rx))
            return false;
    s->active = false;
    list_remove(&s->link);
    return true;
}

void server_flush(void)
{
    struct server_slot *s;

    list_for_each (s, &server.active, link) {
        for (uint32_t i = 0; s->dirty && i < s->nqueues; i++)
            if (s->dirty & server_bit(i) && channel_notify_data(&s->queues[i].tx))
                ring_app(s, i);
        s->dirty = 0;
    }
}

/* --- the bottom half -------------------------------------------------------------------------- */

/* The poll that mutes sees to it that the timer runs, which unmutes. */
static void mute(struct server_slot *s, bool on)
{
    WRITE_ONCE(s->muted, on);
    if (s->dev->mask)
        s->dev->mask(s->dev, on);
}

static void take_pending(void)
{
    for (unsigned w = 0; w < PENDING_WORDS; w++) {
        uint64_t bits = READ_ONCE(server.pending[w]);
        if (bits)
            bits = __atomic_exchange_n(&server.pending[w], 0, __ATOMIC_ACQUIRE);
        for (; bits; bits &= bits - 1) {
            struct server_slot *s = server.slots[w * 64 + (unsigned)__builtin_ctzll(bits)];
            if (!s)
                continue;
            if (unlikely(!s->serving)) { /* its last loan may be what letting go waits for */
                work_schedule(&server.table_work);
                continue;
            }
            if (unlikely(s->needless >= STORM) && !s->muted)
                mute(s, true);
            channel_answer_ping(s->dev, true);
            server_activate(s);
        }
    }
}

/* The NIC's ring has no room, and what is sent now waits behind it; or there is no NIC yet. */
static bool nic_full(void)
{
    if (unlikely(!READ_ONCE(server.nic->path)))
        return true;
    for (int i = 0; i < cpu_count; i++)
        if (READ_ONCE(server.nic->backlog[i].head))
            return true;
    return false;
}

/* One turn for everybody who is active now, as far as ROUND_FRAMES allow; who had a turn goes to
 * the end of the list. Returns the frames taken. */
static int round_robin(void)
{
    struct server_slot *s, *last = NULL;
    int n = 0;

    if (list_empty(&server.active))
        return 0;
    last = container_of(server.active.prev, struct server_slot, link);
    do {
        s = list_pop_front(&server.active, struct server_slot, link);
        list_push_back(&server.active, &s->link);
        n += turn(s, ROUND_FRAMES - n);
    } while (s != last && n < ROUND_FRAMES && !nic_full());
    return n;
}

static bool has_lent(const struct server_slot *s)
{
    for (uint32_t i = 0; i < s->nqueues; i++)
        if (s->queues[i].rx.next != s->queues[i].rx.head)
            return true;
    return false;
}

/* Nobody polls the NIC any more either, which otherwise is in no hurry to free what it sent. */
static void put_to_rest(void)
{
    struct list *at = server.active.next;
    bool lent = false;

    while (at != &server.active) {
        struct server_slot *s = container_of(at, struct server_slot, link);
        at = at->next;
        lent |= has_lent(s);
        rest(s);
    }
    if (lent)
        netif_reclaim(server.nic, true);
}

static void own_stack_input(struct pkt *list)
{
    while (list) {
        struct pkt *p = list;
        list = p->next;
        p->next = NULL;
        ether_input(server.nic, p);
    }
}

/* The heartbeat is answered here, where the work is done: who cannot do it, does not answer. */
static void answer_ping(void)
{
    WRITE_ONCE(server.pinged, false);
    WRITE_ONCE(server_page()->pong, READ_ONCE(((struct net_table *)server.table)->ping));
}

void server_pause(bool on)
{
    spin_lock_bh(&server.lock);
    server.paused = on;
    spin_unlock_bh(&server.lock);
    bh_schedule(&server.bh);
}

static void poll(struct bottom_half *bh)
{
    if (READ_ONCE(server.pinged) && server.table)
        answer_ping();
    if (!server.nic)
        return;
    net_batch_begin();
    netif_reclaim(server.nic, false);
    spin_lock(&server.lock);
    take_pending();
    if (server.paused)
        may_be_up(); /* this may be the answer that it waits for */
    int n = server.paused || nic_full() ? 0 : round_robin();
    server_flush();
    WRITE_ONCE(server.blocked, true);
    bool full = nic_full();
    WRITE_ONCE(server.blocked, full);
    nsec_t now = time_now();
    if (n) {
        server.busy_until = now + POLL_FOR;
        server.polls_left = POLLS;
    } else if (!full && !server.paused && (now >= server.busy_until || !server.polls_left--)) {
        server.polls_left = 0;
        put_to_rest();
    }
    bool again = !full && !server.paused && !list_empty(&server.active);
    struct pkt *local = server.local;
    server.local = NULL;
    server.local_tail = &server.local;
    if (!timer_armed(&server.timer))
        timer_arm(&server.timer, now + SECOND_LOOK);
    spin_unlock(&server.lock);
    own_stack_input(local);
    net_batch_end();
    if (again)
        bh_schedule(bh);
}

static void second_look(struct server_slot *s)
{
    s->needless = 0;
    if (s->muted)
        mute(s, false);
    else if (!s->recent)
        return;
    s->recent = false;
    for (uint32_t i = 0; s->serving && i < s->nqueues; i++)
        if (s->queues[i].live && channel_is_awaited(&s->queues[i].tx))
            ring_app(s, i);
    server_wake(s);
}

/* Second looks and broken channels: armed again only while there is something of either. */
static void timer_fired(struct timer *t)
{
    nsec_t now = time_now();
    bool more = may_be_up();

    spin_lock(&server.lock);
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        struct server_slot *s = server.slots[i];
        if (!s)
            continue;
        second_look(s);
        if (!s->serving)
            continue;
        if (s->mend_at && now >= s->mend_at)
            mend(s);
        more |= s->mend_at != 0;
    }
    if (more)
        timer_arm(t, now + SECOND_LOOK);
    spin_unlock(&server.lock);
}

/* --- the NIC ---------------------------------------------------------------------------------- */

/* Ends a delivery from outside the poll: rings whoever got frames, and has them polled for answers.
 */
static void deliveries_end(void)
{
    server_flush();
    if (!list_empty(&server.active))
        bh_schedule(&server.bh);
    spin_unlock(&server.lock);
}

static struct pkt *nic_input(struct netif *n, struct pkt *list)
{
    struct pkt *own = NULL, **tail = &own;

    (void)n;
    if (!server.table)
        return list;
    spin_lock(&server.lock);
    while (list) {
        struct pkt *p = list;
        list = p->next;
        p->next = NULL;
        *tail = server_from_nic(p);
        if (*tail)
            tail = &(*tail)->next;
    }
    deliveries_end();
    return own;
}

static struct pkt *stack_output(struct netif *n, struct pkt *p)
{
    (void)n;
    if (!server.table)
        return p;
    spin_lock(&server.lock);
    p = server_from_stack(p);
    deliveries_end();
    return p;
}

/* What the own stack sends to its own address for a port that a domain has: its answers to shared
 * domains. */
static bool stack_unclaimed(struct pkt *p)
{
    struct server_slot *s;

    if (!server.table)
        return false;
    spin_lock(&server.lock);
    s = server_port_owner(p->proto, get16(p->data + 2));
    if (s) {
        shared_make_frame(server.nic, p);
        server_deliver(s, p);
    }
    deliveries_end();
    return s != NULL;
}

static void nic_has_room(struct netif *n)
{
    (void)n;
    if (READ_ONCE(server.blocked))
        bh_schedule(&server.bh);
}

static const struct netif_tap nic_tap = {
    .input = nic_input, .output = stack_output, .room = nic_has_room};

void server_poll_init(void)
{
    bh_init(&server.bh, poll);
    timer_init(&server.timer, timer_fired);
}

int net_server_start(struct netif *nic)
{
    if (server.nic)
        return -EEXIST;
    server.nic = nic;
    nic->tap = &nic_tap;
    shared_unclaimed_hook = stack_unclaimed;
    work_schedule(&server.table_work);
    return 0;
}
