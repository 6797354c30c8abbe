/* The network server's table: grants, a slot's life, ports of the shared address, a server that
 * writes where it should not. The test plays the server. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/nettable.h"

static const struct channel_grants server_own = {
    .mac = {2, 1, 1, 1, 1, 1}, .ipv4_prefix = 24, .ipv4 = {10, 0, 2, 99}};

static int setup(void **state)
{
    struct nettable *t = xcalloc(1, sizeof(*t));

    assert_int_equal(nettable_create(t, &server_own, "network test"), 0);
    assert_int_equal(nettable_grow(t, 8), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    nettable_destroy(*state);
    free(*state);
    return 0;
}

/* ---- what the server sees ---- */

static struct net_slot *shared_slot(struct nettable *t, unsigned slot)
{
    return (struct net_slot *)((char *)t->region.memory + NET_TABLE_GRANTS) + slot;
}

static uint16_t shared_owner(struct nettable *t, bool udp, uint16_t port)
{
    return ((uint16_t *)((char *)t->region.memory + (udp ? NET_TABLE_UDP : NET_TABLE_TCP)))[port];
}

static struct channel_side *server_side(struct nettable *t, unsigned slot)
{
    return (struct channel_side *)((char *)t->channels[slot].region.memory + CHANNEL_PAGE);
}

static bool server_rung(struct nettable *t)
{
    uint64_t n;

    return read(t->region.eventfd[CHANNEL_SERVER][0], &n, sizeof(n)) == sizeof(n);
}

static void serve(struct nettable *t, unsigned slot)
{
    server_side(t, slot)->epoch = shared_slot(t, slot)->epoch;
    server_side(t, slot)->state =
        shared_slot(t, slot)->state == NET_SLOT_GRANTED ? CHANNEL_UP : CHANNEL_DOWN;
}

static int grant(struct nettable *t, enum channel_mode mode)
{
    struct channel_grants g = {.mtu = 1500, .mode = (uint8_t)mode, .mac = {2, 0, 0, 0, 0, 9}};
    int slot = nettable_find_free(t, t->made);

    if (slot < 0)
        return slot;
    int err = nettable_grant(t, (unsigned)slot, 2, &g);
    return err ? err : slot;
}

static struct ctl_claim claim(struct nettable *t, int slot, uint8_t op, uint8_t protocol,
                              uint16_t port)
{
    struct ctl_claim c = {.op = op, .protocol = protocol, .port = port};

    nettable_claim(t, (unsigned)slot, &c);
    return c;
}

/* ---- slots ---- */

static void the_header_tells_the_shared_address(void **state)
{
    struct nettable *t = *state;
    const struct net_table *h = t->region.memory;

    assert_true(h->magic == NET_TABLE_MAGIC && h->version == NET_TABLE_VERSION && h->slots == 8);
    assert_memory_equal(h->shared_mac, server_own.mac, 6);
    assert_memory_equal(h->ipv4, server_own.ipv4, 4);
    assert_int_equal(h->ipv4_prefix, 24);
    assert_int_equal(h->ipv6_prefix, 0);
}

static void a_grant_is_written_and_told(void **state)
{
    struct nettable *t = *state;
    struct net_counters *counts =
        (struct net_counters *)((char *)t->region.memory + NET_TABLE_COUNTS);

    counts[0].tx_frames = 77; /* of an earlier domain */
    assert_int_equal(grant(t, CHANNEL_DEDICATED), 0);
    struct net_slot *s = shared_slot(t, 0);
    assert_int_equal(s->sequence, 2);
    assert_int_equal(s->epoch, 1);
    assert_int_equal(s->state, NET_SLOT_GRANTED);
    assert_int_equal(s->queues, 2);
    assert_int_equal(s->slots, CHANNEL_SLOTS_DEFAULT);
    assert_int_equal(s->grants.mtu, 1500);
    assert_true(server_rung(t));
    assert_int_equal(counts[0].tx_frames, 0);
    const struct channel_control *c = t->channels[0].region.control;
    assert_int_equal(c->queues, 2);
    assert_int_equal(c->grants.mode, CHANNEL_DEDICATED);
    assert_int_equal(c->grants.mac[5], 9);
    assert_int_equal(grant(t, CHANNEL_DEDICATED), 1);
}

static void a_slot_is_free_when_the_server_let_go(void **state)
{
    struct nettable *t = *state;
    uint8_t *region;

    for (int i = 0; i < 8; i++)
        assert_int_equal(grant(t, CHANNEL_DEDICATED), i);
    assert_int_equal(grant(t, CHANNEL_DEDICATED), -ENOSPC);
    serve(t, 3);
    region = t->channels[3].region.memory;
    region[100000] = 42;
    nettable_revoke(t, 3);
    assert_true(server_rung(t));
    assert_int_equal(shared_slot(t, 3)->state, NET_SLOT_FREE);
    assert_int_equal(shared_slot(t, 3)->epoch, 2);
    nettable_reclaim(t, t->made);
    assert_int_equal(nettable_find_free(t, t->made), -ENOSPC);
    serve(t, 3);
    nettable_reclaim(t, t->made);
    assert_int_equal(region[100000], 0);
    assert_int_equal(grant(t, CHANNEL_DEDICATED), 3);
    assert_int_equal(shared_slot(t, 3)->epoch, 3);
    assert_int_equal(server_side(t, 3)->epoch, 0);
}

/* A domain can write the server's page, and might pretend that the server let go. */
static void a_dying_domain_cannot_free_its_slot(void **state)
{
    struct nettable *t = *state;

    assert_int_equal(grant(t, CHANNEL_DEDICATED), 0);
    server_side(t, 0)->epoch = 2;
    server_side(t, 0)->state = CHANNEL_DOWN;
    nettable_revoke(t, 0);
    nettable_reclaim(t, t->made);
    assert_int_equal(t->channels[0].state, SLOT_LEAVING);
}

static void a_dead_server_holds_nothing(void **state)
{
    struct nettable *t = *state;
    struct net_server_page *page =
        (void *)((char *)t->region.memory + NET_TABLE_SERVER(CHANNEL_SERVER));

    assert_int_equal(nettable_grow(t, 16), 0);
    assert_int_equal(t->made, 24);
    for (int i = 0; i < 20; i++)
        assert_int_equal(grant(t, CHANNEL_DEDICATED), i);
    page->state = NET_SERVER_UP;
    for (unsigned i = 5; i < 20; i++)
        nettable_revoke(t, i);
    nettable_instance_died(t, CHANNEL_SERVER);
    nettable_server_died(t, 8);
    assert_int_equal(page->state, NET_SERVER_DOWN);
    assert_int_equal(t->made, 8); /* the others are given up, those in use stay */
    assert_int_equal(t->channels[4].state, SLOT_GRANTED);
    assert_int_equal(grant(t, CHANNEL_DEDICATED), 5);
    assert_int_equal(nettable_grow(t, 8), 0);
    assert_int_equal(grant(t, CHANNEL_DEDICATED), 6);
    /* A channel that is made again is another owner's. */
    assert_int_equal(t->channels[8].epoch, 2);
    assert_int_equal(nettable_grow(t, NET_SLOTS), -ENOSPC);
}

static void slots_that_no_server_sees_are_free_at_once(void **state)
{
    struct nettable *t = *state;

    for (int i = 0; i < 8; i++)
        grant(t, CHANNEL_DEDICATED);
    nettable_revoke(t, 2);
    nettable_revoke(t, 6);
    nettable_reclaim(t, 4);
    assert_int_equal(nettable_find_free(t, t->made), 6);
    assert_int_equal(nettable_find_free(t, 4), -ENOSPC);
}

/* ---- ports ---- */

static void ephemeral_ports_come_in_blocks(void **state)
{
    struct nettable *t = *state;
    int a = grant(t, CHANNEL_SHARED), b = grant(t, CHANNEL_SHARED);
    const struct channel_grants *ga = &t->channels[a].grants, *gb = &t->channels[b].grants;

    assert_int_equal(ga->ephemeral_first, NET_BLOCK_FIRST);
    assert_int_equal(ga->ephemeral_last, NET_BLOCK_FIRST + NET_BLOCK_PORTS - 1);
    assert_int_equal(gb->ephemeral_first, ga->ephemeral_last + 1);
    for (unsigned udp = 0; udp < 2; udp++) {
        assert_int_equal(shared_owner(t, udp, ga->ephemeral_first), a + 1);
        assert_int_equal(shared_owner(t, udp, ga->ephemeral_last), a + 1);
        assert_int_equal(shared_owner(t, udp, gb->ephemeral_first), b + 1);
    }
    struct ctl_claim more = claim(t, a, CTL_CLAIM_MORE, 0, 0);
    assert_int_equal(more.error, 0);
    assert_int_equal(more.first, gb->ephemeral_last + 1);
    assert_int_equal(more.last - more.first, NET_BLOCK_PORTS - 1);
    uint16_t first = ga->ephemeral_first;
    nettable_revoke(t, (unsigned)a);
    assert_int_equal(shared_owner(t, false, first), 0);
    assert_int_equal(shared_owner(t, true, more.last), 0);
    assert_int_equal(shared_owner(t, false, gb->ephemeral_first), b + 1);
    /* The next domain does not get what a peer may still know from the one that ended. */
    int c = grant(t, CHANNEL_SHARED);
    assert_int_equal(t->channels[c].grants.ephemeral_first, more.last + 1);
}

static void blocks_have_an_end(void **state)
{
    struct nettable *t = *state;
    int slots[3];

    for (int i = 0; i < 3; i++) {
        slots[i] = grant(t, CHANNEL_SHARED);
        for (unsigned n = 1; n < NET_BLOCKS_EACH; n++)
            assert_int_equal(claim(t, slots[i], CTL_CLAIM_MORE, 0, 0).error, 0);
        struct ctl_claim c = claim(t, slots[i], CTL_CLAIM_MORE, 0, 0);
        assert_true(c.error == ENOSPC && !c.first && !c.last);
    }
    assert_int_equal(NET_BLOCKS, 3 * NET_BLOCKS_EACH);
    assert_int_equal(grant(t, CHANNEL_SHARED), -ENOSPC);
    assert_int_equal(t->channels[3].state, SLOT_FREE);
    assert_int_equal(grant(t, CHANNEL_DEDICATED), 3);
    nettable_revoke(t, (unsigned)slots[1]);
    assert_int_equal(grant(t, CHANNEL_SHARED), 4);
}

static void ports_are_claimed_and_given_back(void **state)
{
    struct nettable *t = *state;
    int a = grant(t, CHANNEL_SHARED), b = grant(t, CHANNEL_SHARED);

    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, 80).error, 0);
    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, 80).error, 0);
    assert_int_equal(claim(t, b, CTL_CLAIM_TAKE, IPPROTO_TCP, 80).error, EADDRINUSE);
    assert_int_equal(claim(t, b, CTL_CLAIM_TAKE, IPPROTO_UDP, 80).error, 0);
    assert_int_equal(shared_owner(t, false, 80), a + 1);
    assert_int_equal(shared_owner(t, true, 80), b + 1);
    assert_int_equal(nettable_owner(t, false, 80), a);
    assert_int_equal(nettable_owner(t, false, 81), -1);
    assert_true(nettable_is_claimed(t, (unsigned)a, false, 80));
    assert_false(nettable_is_claimed(t, (unsigned)b, false, 80));

    claim(t, b, CTL_CLAIM_GIVE, IPPROTO_TCP, 80); /* not its own */
    assert_int_equal(nettable_owner(t, false, 80), a);
    claim(t, a, CTL_CLAIM_GIVE, IPPROTO_TCP, 80);
    assert_int_equal(claim(t, b, CTL_CLAIM_TAKE, IPPROTO_TCP, 80).error, 0);
    nettable_revoke(t, (unsigned)b);
    assert_int_equal(nettable_owner(t, false, 80), -1);
    assert_int_equal(shared_owner(t, true, 80), 0);
    assert_int_equal(t->channels[a].claims, 0);
}

static void a_port_of_a_block_is_owned(void **state)
{
    struct nettable *t = *state;
    int a = grant(t, CHANNEL_SHARED), b = grant(t, CHANNEL_SHARED);
    uint16_t port = t->channels[a].grants.ephemeral_first + 7;

    assert_int_equal(claim(t, b, CTL_CLAIM_TAKE, IPPROTO_TCP, port).error, EADDRINUSE);
    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, port).error, 0);
    claim(t, a, CTL_CLAIM_GIVE, IPPROTO_TCP, port);
    assert_int_equal(nettable_owner(t, false, port), a); /* the block is kept whole */
    /* A claimed port keeps its block from being handed out. */
    uint16_t next = t->channels[b].grants.ephemeral_last + 1;
    assert_int_equal(claim(t, b, CTL_CLAIM_TAKE, IPPROTO_UDP, next + 5).error, 0);
    assert_int_equal(claim(t, a, CTL_CLAIM_MORE, 0, 0).first, next + NET_BLOCK_PORTS);
}

static void claims_that_make_no_sense(void **state)
{
    struct nettable *t = *state;
    int a = grant(t, CHANNEL_SHARED), d = grant(t, CHANNEL_DEDICATED);

    assert_int_equal(claim(t, d, CTL_CLAIM_TAKE, IPPROTO_TCP, 80).error, EINVAL);
    assert_int_equal(claim(t, d, CTL_CLAIM_MORE, 0, 0).error, EINVAL);
    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, 0).error, EINVAL);
    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_ICMP, 80).error, EINVAL);
    assert_int_equal(claim(t, a, 0, IPPROTO_TCP, 80).error, EINVAL);
    assert_int_equal(claim(t, a, 99, IPPROTO_TCP, 80).error, EINVAL);
    for (uint16_t port = 1; port <= NET_CLAIMS_EACH; port++)
        assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, port).error, 0);
    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_UDP, 1).error, ENOSPC);
    nettable_revoke(t, (unsigned)a);
    assert_int_equal(claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, 80).error, EINVAL);
}

static void a_server_that_scribbles_decides_nothing(void **state)
{
    struct nettable *t = *state;
    int a = grant(t, CHANNEL_SHARED);

    claim(t, a, CTL_CLAIM_TAKE, IPPROTO_TCP, 80);
    memset(t->region.memory, 0xff, t->region.size);
    memset(t->channels[a].region.memory, 0xff, t->channels[a].region.size);
    assert_int_equal(nettable_owner(t, false, 80), a);
    assert_int_equal(nettable_owner(t, false, 81), -1);
    int b = grant(t, CHANNEL_SHARED);
    assert_int_equal(b, 1);
    assert_int_equal(shared_slot(t, 1)->sequence, 2);
    nettable_revoke(t, (unsigned)a);
    nettable_reclaim(t, t->made);
    assert_int_equal(t->channels[a].state, SLOT_LEAVING);
    assert_true(nettable_counters(t, 3).tx_frames == UINT64_MAX);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_header_tells_the_shared_address),
        T(a_grant_is_written_and_told),
        T(a_slot_is_free_when_the_server_let_go),
        T(a_dying_domain_cannot_free_its_slot),
        T(a_dead_server_holds_nothing),
        T(slots_that_no_server_sees_are_free_at_once),
        T(ephemeral_ports_come_in_blocks),
        T(blocks_have_an_end),
        T(ports_are_claimed_and_given_back),
        T(a_port_of_a_block_is_owned),
        T(claims_that_make_no_sense),
        T(a_server_that_scribbles_decides_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
