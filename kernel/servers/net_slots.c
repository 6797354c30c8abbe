/*
 * The slots of the network server: what the table says becomes what is served. The life of a slot
 * is specified in abi/net_table.h.
 */
#include "core/init.h"
#include "net/nd.h"
#include "net/view.h"
#include "servers/net_internal.h"

#define ANSWER_LIMIT (50 * NSEC_PER_MSEC)
#define ANSWER_LOOK (300 * NSEC_PER_USEC)

struct net_server server;

static unsigned mac_bucket(const uint8_t *mac)
{
    return (mac[4] * 31u + mac[5]) % MAC_BUCKETS;
}

struct server_slot *server_by_mac(const uint8_t *mac)
{
    struct server_slot *s = server.by_mac[mac_bucket(mac)];

    while (s && !mac_equal(s->grants.mac, mac))
        s = s->next_mac;
    return s;
}

bool server_ip4_is_free(struct server_slot *s, const uint8_t *ip)
{
    static const uint8_t none[4];
    struct ip_addr addr = ip_from_v4(*(const wire32 *)ip);

    if (!memcmp(ip, none, 4) || !memcmp(ip, s->free_ip4, 4))
        return true;
    if (view_local(net_view(), server.nic, &addr))
        return false;
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        const struct server_slot *other = server.slots[i];
        if (other && other->serving && other->grants.ipv4_prefix &&
            !memcmp(ip, other->grants.ipv4, 4))
            return false;
    }
    memcpy(s->free_ip4, ip, 4);
    return true;
}

/* Grants have changed: what was nobody's may be somebody's. */
static void forget_free_ip4(void)
{
    for (unsigned i = 0; i < NET_SLOTS; i++)
        if (server.slots[i])
            memset(server.slots[i]->free_ip4, 0, 4);
}

/* --- serving and letting go ------------------------------------------------------------------- */

static void link_mac(struct server_slot *s)
{
    struct server_slot **head = &server.by_mac[mac_bucket(s->grants.mac)];

    if (s->grants.mode != CHANNEL_DEDICATED)
        return; /* the shared MAC is the interface's own */
    s->next_mac = *head;
    *head = s;
}

static void unlink_mac(struct server_slot *s)
{
    struct server_slot **at = &server.by_mac[mac_bucket(s->grants.mac)];

    while (*at && *at != s)
        at = &(*at)->next_mac;
    if (*at)
        *at = s->next_mac;
    s->next_mac = NULL;
}

static int create_queues(struct server_slot *s, const struct channel_layout *l)
{
    for (uint32_t i = 0; i < l->queues; i++) {
        int err = channel_queue_create(&s->queues[i], s->dev->mem, l, i, true, CHANNEL_FEATURES);
        if (err)
            return err;
        s->nqueues = i + 1;
        s->loans[i] = kzalloc(l->slots * sizeof(*s->loans[i]));
        if (!s->loans[i])
            return -ENOMEM;
        for (uint32_t k = 0; k < l->slots; k++)
            s->loans[i][k].lender = &s->lender;
    }
    return 0;
}

/* Whether the NIC, or its backlog, has data that lies in the channel: the next domain's must not
 * come there. */
static bool has_loans(const struct server_slot *s)
{
    for (uint32_t i = 0; i < s->nqueues; i++)
        for (uint32_t k = 0; k < s->queues[i].rx.slots; k++)
            if (ref_count(&s->loans[i][k].refs))
                return true;
    return false;
}

static void destroy_queues(struct server_slot *s)
{
    for (uint32_t i = 0; i < s->nqueues; i++) {
        channel_queue_destroy(&s->queues[i]);
        kfree(s->loans[i]);
        s->loans[i] = NULL;
    }
    s->nqueues = 0;
}

static bool grants_usable(const struct channel_grants *g)
{
    return (g->mode == CHANNEL_DEDICATED && !(g->mac[0] & 1)) || g->mode == CHANNEL_SHARED;
}

static int serve(struct server_slot *s, const struct net_slot *from)
{
    struct channel_side *side = channel_side(s->dev, true);
    struct channel_layout l;

    if (!channel_layout(&l, s->dev->size, from->queues, from->slots) ||
        l.queues > CHANNEL_QUEUES_DEFAULT || l.queues > s->dev->vectors ||
        !grants_usable(&from->grants))
        return -EPROTO;
    int err = create_queues(s, &l);
    if (err) {
        destroy_queues(s);
        return err;
    }
    if (READ_ONCE(side->epoch) != from->epoch) /* else a predecessor has counted already */
        memset(s->counts, 0, sizeof(*s->counts));
    WRITE_ONCE(side->peer, s->dev->id);
    WRITE_ONCE(side->features, 0);
    WRITE_ONCE(side->epoch, from->epoch);
    WRITE_ONCE(side->state, CHANNEL_UP);
    spin_lock_bh(&server.lock);
    s->grants = from->grants;
    nd_eui64(s->grants.mac, s->eui64);
    s->app_features = 0;
    s->mend_at = 0;
    s->warned = false;
    forget_free_ip4();
    s->serving = true;
    link_mac(s);
    server_start_queues(s);
    server.attached++;
    spin_unlock_bh(&server.lock);
    return 0;
}

static void stop_serving(struct server_slot *s)
{
    spin_lock_bh(&server.lock);
    s->serving = false;
    unlink_mac(s);
    if (s->active)
        list_remove(&s->link);
    s->active = false;
    s->dirty = 0;
    server_forget(s);
    server.attached--;
    spin_unlock_bh(&server.lock);
}

/* What the NIC has sent is to come back. */
static void take_back(void)
{
    net_batch_begin();
    netif_reclaim(server.nic, true);
    net_batch_end();
}

/* False: not before the NIC has sent what it has of the domain's; the last loan that comes back
 * has the table looked at again (net_poll.c). */
static bool let_go(struct server_slot *s)
{
    if (s->serving)
        stop_serving(s);
    if (has_loans(s)) {
        take_back();
        return false;
    }
    destroy_queues(s);
    return true;
}

bool server_has_lent(void)
{
    bool lent = false;

    for (unsigned i = 0; i < NET_SLOTS; i++)
        lent |= server.slots[i] && has_loans(server.slots[i]);
    if (lent)
        take_back();
    return lent;
}

void server_leave_slots(void)
{
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        struct server_slot *s = server.slots[i];
        if (!s || !s->serving)
            continue;
        let_go(s);
        s->epoch = 0; /* of no owner: to be served again if this instance is to */
    }
}

/* --- the table -------------------------------------------------------------------------------- */

/* True if the supervisor is to be told. */
static bool follow_slot(struct server_slot *s)
{
    const struct net_slot *slots = (void *)(server.table + NET_TABLE_GRANTS);
    struct channel_side *side = channel_side(s->dev, true);
    struct net_slot now;

    if (!channel_read_sequenced(&slots[s->number].sequence, &now, sizeof(now)) ||
        now.epoch == s->epoch) /* being written: the supervisor rings when it is done */
        return false;
    if (!let_go(s))
        return false;
    s->epoch = now.epoch;
    int err = now.state == NET_SLOT_GRANTED ? serve(s, &now) : 0;
    if (err)
        klog(LOG_ERROR, "network server: slot %u cannot be served: error %d", s->number, -err);
    if (!s->serving) {
        WRITE_ONCE(side->epoch, now.epoch);
        __atomic_store_n(&side->state, CHANNEL_DOWN, __ATOMIC_RELEASE);
        return true;
    }
    return false;
}

/* Whether frames can be delivered to this domain, or never could: it was not attached to the
 * predecessor either. Its ring takes none before what it still holds of the predecessor's is
 * taken. */
static bool can_take(struct server_slot *s)
{
    bool can = true;

    spin_lock_bh(&server.lock);
    for (uint32_t i = 0; i < s->nqueues; i++) {
        struct channel_queue *q = &s->queues[i];
        bool live = server_check_queue(s, i);
        if (live && q->tx.draining)
            channel_update_head(&q->tx);
        can &= live ? !q->tx.draining || q->tx.broken : !READ_ONCE(q->tx.peer->generation);
    }
    spin_unlock_bh(&server.lock);
    return can;
}

/* The NIC is not plugged in yet; or a domain that was granted a slot waits for its channel, whose
 * device was not found yet, or cannot take frames yet: for a while, since it may have stopped. */
static bool somebody_waits(void)
{
    const struct net_slot *slots = (void *)(server.table + NET_TABLE_GRANTS);
    bool patient = time_now() < server.serves_since + ANSWER_LIMIT;

    if (!READ_ONCE(server.nic->path))
        return true;
    for (unsigned i = 0; i < NET_SLOTS; i++) {
        struct server_slot *s = server.slots[i];
        if (s ? patient && s->serving && !can_take(s)
              : READ_ONCE(slots[i].state) == NET_SLOT_GRANTED)
            return true;
    }
    return false;
}

static void follow_table(struct work *w)
{
    bool news = false;

    (void)w;
    if (!server.table || !server.nic || !server_follow_active())
        return;
    struct net_server_page *page = server_page();
    for (unsigned i = 0; i < NET_SLOTS; i++)
        if (server.slots[i])
            news |= follow_slot(server.slots[i]);
    WRITE_ONCE(page->attached, server.attached);
    bool starting = READ_ONCE(page->state) != NET_SERVER_UP;
    if (starting && somebody_waits()) {
        timer_arm(&server.timer, time_now() + ANSWER_LOOK);
    } else if (starting) {
        server_begin();
        __atomic_store_n(&page->state, NET_SERVER_UP, __ATOMIC_RELEASE);
        klog(LOG_INFO, "network server: up, %u domain(s) attached", server.attached);
        news = true;
    }
    if (news)
        server_ring_supervisor();
}

/* --- devices ---------------------------------------------------------------------------------- */

void net_server_init(void)
{
    server.enabled = true;
    netif_start_later = server.paused = true; /* an instance that does not serve is silent */
    spin_init(&server.lock);
    list_init(&server.active);
    server.local_tail = &server.local;
    work_init(&server.table_work, follow_table);
    server_poll_init();
    server_make_interface();
}

bool net_server_is_enabled(void)
{
    return server.enabled;
}

int net_server_add_table(struct channel_device *dev)
{
    const struct net_table *t = (const void *)dev->mem;

    if (!server.enabled)
        return -EOPNOTSUPP;
    if (server.table)
        return -EEXIST;
    if (dev->size < NET_TABLE_SIZE || READ_ONCE(t->magic) != NET_TABLE_MAGIC)
        return -EPROTO;
    if (READ_ONCE(t->version) != NET_TABLE_VERSION) {
        server_refuse(dev);
        return -EPROTO;
    }
    server.table_dev = dev;
    server.role = CHANNEL_PEER_ROLE(dev->id);
    server.table = dev->mem;
    server_say_what_it_is();
    for (unsigned i = 0; i < NET_SLOTS; i++)
        if (server.slots[i])
            server.slots[i]->counts = (struct net_counters *)(server.table + NET_TABLE_COUNTS) + i;
    work_schedule(&server.table_work);
    return 0;
}

struct server_slot *net_server_add_channel(struct channel_device *dev)
{
    unsigned number = CHANNEL_PEER_SLOT(dev->id);

    if (!server.enabled)
        return ERR_PTR(-EOPNOTSUPP);
    if (number >= NET_SLOTS || dev->size < CHANNEL_CONTROL_PAGES * CHANNEL_PAGE)
        return ERR_PTR(-EINVAL);
    if (server.slots[number])
        return ERR_PTR(-EEXIST);
    struct server_slot *s = kzalloc(sizeof(*s));
    if (!s)
        return ERR_PTR(-ENOMEM);
    s->number = number;
    s->dev = dev;
    s->lender = (struct pkt_lender){dev->mem, dev->paddr, server_loan_returned};
    if (server.table)
        s->counts = (struct net_counters *)(server.table + NET_TABLE_COUNTS) + number;
    server.slots[number] = s;
    work_schedule(&server.table_work);
    return s;
}

void net_server_table_rung(void)
{
    WRITE_ONCE(server.pinged, true);
    bh_schedule(&server.bh);
    work_schedule(&server.table_work);
}
