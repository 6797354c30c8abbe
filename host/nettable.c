/* The table of nettable.h. */
#include "nettable.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keeper.h"

static struct net_table *head(const struct nettable *t)
{
    return t->region.memory;
}

static void *at(const struct nettable *t, size_t offset)
{
    return (char *)t->region.memory + offset;
}

/* ---- ports ---- */

static void set_owner(struct nettable *t, bool udp, uint16_t port, uint16_t owner)
{
    uint16_t *shared = at(t, udp ? NET_TABLE_UDP : NET_TABLE_TCP);

    t->owners[udp][port] = owner;
    __atomic_store_n(&shared[port], owner, __ATOMIC_RELEASE);
}

/* The block that a port lies in, or -1. */
static int block_of(uint16_t port)
{
    return port < NET_BLOCK_FIRST ? -1 : (int)((port - NET_BLOCK_FIRST) / NET_BLOCK_PORTS);
}

static uint16_t block_port(unsigned block, unsigned i)
{
    return (uint16_t)(NET_BLOCK_FIRST + block * NET_BLOCK_PORTS + i);
}

static bool block_is_free(const struct nettable *t, unsigned block)
{
    for (unsigned i = 0; i < NET_BLOCK_PORTS; i++)
        if (t->owners[0][block_port(block, i)] || t->owners[1][block_port(block, i)])
            return false;
    return true;
}

static void own_block(struct nettable *t, unsigned block, uint16_t owner)
{
    t->blocks[block] = owner;
    for (unsigned i = 0; i < NET_BLOCK_PORTS; i++) {
        set_owner(t, false, block_port(block, i), owner);
        set_owner(t, true, block_port(block, i), owner);
    }
}

/*
 * Gives the slot a block nobody has a port in. They are handed out in turn, so that a new domain
 * does not use the ports that peers still know from one that just ended. Returns the block or
 * -ENOSPC.
 */
static int take_block(struct nettable *t, unsigned slot)
{
    for (unsigned i = 0; i < NET_BLOCKS && t->channels[slot].blocks < NET_BLOCKS_EACH; i++) {
        unsigned block = (t->kept->next_block + i) % NET_BLOCKS;
        if (!block_is_free(t, block))
            continue;
        own_block(t, block, (uint16_t)(slot + 1));
        t->kept->next_block = block + 1;
        t->channels[slot].blocks++;
        return (int)block;
    }
    return -ENOSPC;
}

static void free_ports(struct nettable *t, unsigned slot)
{
    uint16_t owner = (uint16_t)(slot + 1);

    for (unsigned block = 0; block < NET_BLOCKS; block++)
        if (t->blocks[block] == owner)
            own_block(t, block, 0);
    for (unsigned udp = 0; udp < 2 && t->channels[slot].claims; udp++)
        for (unsigned port = 0; port < 65536; port++)
            if (t->owners[udp][port] == owner)
                set_owner(t, udp, (uint16_t)port, 0);
    t->channels[slot].blocks = t->channels[slot].claims = 0;
}

bool nettable_is_claimed(const struct nettable *t, unsigned slot, bool udp, uint16_t port)
{
    int block = block_of(port);

    return t->owners[udp][port] == slot + 1 && (block < 0 || t->blocks[block] != slot + 1);
}

int nettable_owner(const struct nettable *t, bool udp, uint16_t port)
{
    return t->owners[udp][port] - 1;
}

/* Returns 0 or an errno for the domain. */
static uint32_t take_port(struct nettable *t, unsigned slot, bool udp, uint16_t port)
{
    struct net_channel *ch = &t->channels[slot];

    if (t->owners[udp][port])
        return t->owners[udp][port] == slot + 1 ? 0 : EADDRINUSE;
    if (ch->claims >= NET_CLAIMS_EACH)
        return ENOSPC;
    ch->claims++;
    set_owner(t, udp, port, (uint16_t)(slot + 1));
    return 0;
}

void nettable_claim(struct nettable *t, unsigned slot, struct ctl_claim *c)
{
    struct net_channel *ch = &t->channels[slot];
    bool udp = c->protocol == IPPROTO_UDP;
    bool port_ok = c->port && (udp || c->protocol == IPPROTO_TCP);

    c->error = EINVAL;
    if (ch->state != SLOT_GRANTED || ch->grants.mode != CHANNEL_SHARED)
        return;
    if (c->op == CTL_CLAIM_MORE) {
        int block = take_block(t, slot);
        c->error = block < 0 ? ENOSPC : 0;
        c->first = block < 0 ? 0 : block_port((unsigned)block, 0);
        c->last = block < 0 ? 0 : block_port((unsigned)block, NET_BLOCK_PORTS - 1);
    } else if (c->op == CTL_CLAIM_TAKE && port_ok) {
        c->error = take_port(t, slot, udp, c->port);
    } else if (c->op == CTL_CLAIM_GIVE && port_ok) {
        c->error = 0;
        if (nettable_is_claimed(t, slot, udp, c->port)) {
            set_owner(t, udp, c->port, 0);
            ch->claims--;
        }
    }
}

/* ---- slots ---- */

/* An odd sequence: a supervisor died here. */
static void copy_slot(struct nettable *t, unsigned slot, enum net_slot_state state)
{
    struct net_slot *shared = (struct net_slot *)at(t, NET_TABLE_GRANTS) + slot;
    struct net_channel *ch = &t->channels[slot];

    ch->sequence |= 1;
    __atomic_store_n(&shared->sequence, ch->sequence, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    shared->epoch = ch->epoch;
    shared->state = state;
    shared->queues = ch->region.queues;
    shared->slots = ch->region.slots;
    shared->grants = ch->grants;
    __atomic_store_n(&shared->sequence, ++ch->sequence, __ATOMIC_RELEASE);
}

static void write_slot(struct nettable *t, unsigned slot, enum net_slot_state state)
{
    t->channels[slot].epoch++;
    copy_slot(t, slot, state);
}

void nettable_rewrite(struct nettable *t)
{
    for (unsigned i = 0; i < t->made; i++)
        copy_slot(t, i, t->channels[i].state == SLOT_GRANTED ? NET_SLOT_GRANTED : NET_SLOT_FREE);
    for (unsigned udp = 0; udp < 2; udp++)
        for (unsigned port = 0; port < 65536; port++)
            set_owner(t, udp, (uint16_t)port, t->owners[udp][port]);
    __atomic_store_n(&head(t)->slots, t->made, __ATOMIC_RELEASE);
    __atomic_store_n(&head(t)->active, (uint32_t)t->kept->active, __ATOMIC_RELEASE);
}

int nettable_map(struct nettable *t)
{
    void *p = mmap(NULL, sizeof(*t->kept), PROT_READ | PROT_WRITE, MAP_SHARED, t->memfd, 0);

    if (p == MAP_FAILED)
        return -errno;
    t->kept = p;
    t->channels = t->kept->channels;
    t->owners = t->kept->owners;
    t->blocks = t->kept->blocks;
    return 0;
}

static int make_private(struct nettable *t)
{
    t->memfd = memfd_create("librettos-table", MFD_CLOEXEC);
    if (t->memfd < 0 || ftruncate(t->memfd, sizeof(*t->kept)) < 0)
        return -errno;
    int err = nettable_map(t);
    if (!err) {
        t->kept->size = sizeof(*t->kept);
        t->kept->active = CHANNEL_SERVER;
    }
    return err;
}

static int keep(const struct nettable *t, const char *what, const int *fds, unsigned n)
{
    char *key = xasprintf("%s %s", t->key, what);
    int err = keeper_put(key, fds, n);

    free(key);
    return err;
}

static int keep_region(const struct nettable *t, const char *what, const struct ivshmem *r)
{
    int fds[FDPASS_MAX];

    return keep(t, what, fds, ivshmem_descriptors(r, fds));
}

int nettable_create(struct nettable *t, const struct channel_grants *shared, const char *key)
{
    memset(t, 0, sizeof(*t));
    snprintf(t->key, sizeof(t->key), "%s", key);
    t->memfd = t->region.memfd = -1;
    int err = make_private(t);
    if (!err)
        err = ivshmem_create_region(&t->region, NET_TABLE_SLOT, 1, NET_TABLE_SIZE);
    if (err)
        return err;
    struct net_table *h = head(t);
    h->version = NET_TABLE_VERSION;
    h->active = CHANNEL_SERVER;
    memcpy(h->shared_mac, shared->mac, sizeof(h->shared_mac));
    h->ipv4_prefix = shared->ipv4_prefix;
    h->ipv6_prefix = shared->ipv6_prefix;
    memcpy(h->ipv4, shared->ipv4, sizeof(h->ipv4));
    memcpy(h->ipv6, shared->ipv6, sizeof(h->ipv6));
    __atomic_store_n(&h->magic, NET_TABLE_MAGIC, __ATOMIC_RELEASE);
    err = keep_region(t, "table", &t->region);
    return err ? err : keep(t, "private", &t->memfd, 1);
}

void nettable_destroy(struct nettable *t)
{
    char *prefix = xasprintf("%s ", t->key);

    while (t->made)
        ivshmem_destroy(&t->channels[--t->made].region);
    ivshmem_destroy(&t->region);
    if (t->kept)
        munmap(t->kept, sizeof(*t->kept));
    if (t->memfd >= 0)
        close(t->memfd);
    t->kept = NULL;
    t->memfd = -1;
    keeper_clear(prefix);
    free(prefix);
}

int nettable_grow(struct nettable *t, unsigned n)
{
    unsigned before = t->made;
    int err = before + n > NET_SLOTS ? -ENOSPC : 0;

    for (; !err && t->made < before + n; t->made += !err) {
        struct net_channel *ch = &t->channels[t->made];
        err = ivshmem_create(&ch->region, t->made, CHANNEL_QUEUES_DEFAULT, CHANNEL_SLOTS_DEFAULT);
        if (!err) {
            char *what = xasprintf(NETTABLE_CHANNEL "%u", t->made);
            err = keep_region(t, what, &ch->region);
            free(what);
        }
        if (!err) {
            ch->state = SLOT_FREE;
            t->kept->made = t->made + 1;
        }
    }
    if (err)
        nettable_shrink(t, before);
    __atomic_store_n(&head(t)->slots, t->made, __ATOMIC_RELEASE);
    return err;
}

void nettable_shrink(struct nettable *t, unsigned made)
{
    while (t->made > made) {
        struct net_channel *ch = &t->channels[--t->made];
        char *key = xasprintf("%s " NETTABLE_CHANNEL "%u", t->key, t->made);
        t->kept->made = t->made;
        keeper_drop(key);
        free(key);
        ivshmem_destroy(&ch->region);
        ch->state = SLOT_MISSING; /* its epoch goes on if it is made again */
    }
    __atomic_store_n(&head(t)->slots, t->made, __ATOMIC_RELEASE);
}

int nettable_find_free(const struct nettable *t, unsigned end)
{
    for (unsigned i = 0; i < t->made && i < end; i++)
        if (t->channels[i].state == SLOT_FREE)
            return (int)i;
    return -ENOSPC;
}

int nettable_grant(struct nettable *t, unsigned slot, unsigned queues, struct channel_grants *g)
{
    struct net_channel *ch = &t->channels[slot];
    int err = ivshmem_clear(&ch->region, queues);

    if (!err && g->mode == CHANNEL_SHARED) {
        int block = take_block(t, slot);
        if (block < 0)
            return block;
        g->ephemeral_first = block_port((unsigned)block, 0);
        g->ephemeral_last = block_port((unsigned)block, NET_BLOCK_PORTS - 1);
    }
    if (err)
        return err;
    ch->state = SLOT_GRANTED;
    ch->grants = *g;
    ch->grants.sequence = 0;
    ivshmem_grant(&ch->region, g);
    memset((struct net_counters *)at(t, NET_TABLE_COUNTS) + slot, 0, sizeof(struct net_counters));
    write_slot(t, slot, NET_SLOT_GRANTED);
    nettable_ring(t);
    return 0;
}

/* The server's page of a channel. */
static struct channel_side *at_side(const struct net_channel *ch)
{
    return (struct channel_side *)((char *)ch->region.memory + CHANNEL_PAGE);
}

void nettable_revoke(struct nettable *t, unsigned slot)
{
    struct net_channel *ch = &t->channels[slot];

    struct channel_side *side = at_side(ch);

    ch->state = SLOT_LEAVING;
    /* The dead domain may have written there that the server let go. From now on only the server
     * writes. */
    __atomic_store_n(&side->epoch, 0, __ATOMIC_RELAXED);
    memset(&ch->grants, 0, sizeof(ch->grants));
    write_slot(t, slot, NET_SLOT_FREE);
    free_ports(t, slot);
    nettable_ring(t);
}

static bool let_go(const struct net_channel *ch)
{
    const struct channel_side *side = at_side(ch);

    return __atomic_load_n(&side->epoch, __ATOMIC_ACQUIRE) == ch->epoch &&
           __atomic_load_n(&side->state, __ATOMIC_ACQUIRE) == CHANNEL_DOWN;
}

void nettable_reclaim(struct nettable *t, unsigned unserved)
{
    for (unsigned i = 0; i < t->made; i++) {
        struct net_channel *ch = &t->channels[i];
        if (ch->state != SLOT_LEAVING || (i < unserved && !let_go(ch)))
            continue;
        ivshmem_clear(&ch->region, 1); /* what it holds is neither kept nor paid for */
        ch->state = SLOT_FREE;
    }
}

static struct net_server_page *page_of(const struct nettable *t, enum channel_role role)
{
    return at(t, NET_TABLE_SERVER(role));
}

void nettable_instance_died(struct nettable *t, enum channel_role role)
{
    struct net_server_page *page = page_of(t, role);

    __atomic_store_n(&page->state, NET_SERVER_DOWN, __ATOMIC_RELEASE);
    memset(page, 0, sizeof(*page));
}

void nettable_server_died(struct nettable *t, unsigned step)
{
    unsigned used = t->made;

    nettable_reclaim(t, 0);
    while (used && t->channels[used - 1].state == SLOT_FREE)
        used--;
    used = (used + step - 1) / step * step;
    nettable_shrink(t, used > step ? used : step);
}

void nettable_ring(const struct nettable *t)
{
    ivshmem_ring(&t->region, CHANNEL_SERVER, 0);
    ivshmem_ring(&t->region, CHANNEL_STANDBY, 0);
}

void nettable_activate(struct nettable *t, enum channel_role role)
{
    t->kept->active = role;
    __atomic_store_n(&head(t)->active, (uint32_t)role, __ATOMIC_RELEASE);
    nettable_ring(t);
}

void nettable_ping(struct nettable *t)
{
    __atomic_store_n(&head(t)->ping, ++t->ping, __ATOMIC_RELEASE);
    nettable_ring(t);
}

bool nettable_answered(const struct nettable *t, enum channel_role role)
{
    return __atomic_load_n(&page_of(t, role)->pong, __ATOMIC_ACQUIRE) == t->ping;
}

/* ---- the server's numbers ---- */

struct net_counters nettable_counters(const struct nettable *t, unsigned slot)
{
    return ((struct net_counters *)at(t, NET_TABLE_COUNTS))[slot];
}

struct net_server_page nettable_server(const struct nettable *t, enum channel_role role)
{
    return *page_of(t, role);
}
