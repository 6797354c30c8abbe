/* Frames that the network server lends to its NIC in place: a NIC that holds them as long as the
 * test likes. */
#include "test_net_server.h"

#include "servers/net_internal.h"

#define LONG 1400u /* bytes of a frame that is worth a loan */

static struct {
    struct pkt *held[300];
    unsigned count, room;
    unsigned told; /* times it was asked to say when it is done */
} nic;

static bool nic_transmit(struct net_path *path, int queue, struct pkt *p)
{
    (void)path, (void)queue;
    if (nic.count >= nic.room)
        return false;
    nic.held[nic.count++] = p;
    return true;
}

static void nic_reclaim(struct net_path *path, bool tell)
{
    (void)path;
    nic.told += tell;
}

static const struct path_ops nic_ops = {.transmit = nic_transmit,
                                        .flush = wire_flush,
                                        .reclaim = nic_reclaim,
                                        .set_mac = wire_set_mac,
                                        .set_multicast = wire_set_multicast,
                                        .detach = wire_detach};

/* The NIC has sent the i-th of the packets that it holds. */
static void nic_sent(unsigned i)
{
    bh_disable();
    pkt_free(nic.held[i]);
    bh_enable();
    nic.count--;
    memmove(nic.held + i, nic.held + i + 1, (nic.count - i) * sizeof(nic.held[0]));
}

static void nic_sent_all(void)
{
    while (nic.count)
        nic_sent(nic.count - 1);
    settle();
}

static uint32_t released(unsigned i)
{
    return line_of(apps[i].mem, true, 0)->head;
}

/* A UDP frame of domain i, LONG bytes that `fill` begins to count at. */
static const uint8_t *long_frame(unsigned i, const uint8_t *dmac, const char *dst, uint8_t fill)
{
    static uint8_t b[LONG];

    for (unsigned k = 0; k < LONG; k++)
        b[k] = (uint8_t)(fill + k);
    udp_between(b, dmac, apps[i].mac, i ? "10.0.0.12" : "10.0.0.11", 1, dst, 2, "");
    put16(b + 16, LONG - 14);
    put16(b + 38, LONG - 34);
    put16(b + 40, 0);
    fix_ip4(b + 14);
    return b;
}

static void send_long(unsigned i, uint8_t fill)
{
    app_send(&apps[i], long_frame(i, peer_mac, "10.0.0.2", fill), LONG);
}

static void long_frames_are_lent_and_short_ones_copied(void **state)
{
    uint8_t b[256], out[LONG];
    uint32_t n = udp_between(b, peer_mac, apps[0].mac, "10.0.0.11", 1, "10.0.0.2", 2, "short");
    uint32_t head = released(0);

    (void)state;
    app_send(&apps[0], b, n);
    assert_int_equal(nic.count, 1);
    assert_false(nic.held[0]->flags & PKT_LENT);
    assert_int_equal(released(0), head + 1);
    nic_sent_all();

    send_long(0, 3);
    assert_int_equal(nic.count, 1);
    const struct pkt *p = nic.held[0];
    assert_true(p->flags & PKT_LENT);
    assert_true(pkt_copy_out(p, 0, out, LONG));
    assert_memory_equal(out, long_frame(0, peer_mac, "10.0.0.2", 3), LONG);
    /* The device finds there what we do: the domain's own memory. */
    assert_ptr_equal((void *)pkt_frag_paddr(p, &p->frags[0]), pkt_frag_addr(p, &p->frags[0]));
    assert_in_range((uintptr_t)pkt_frag_addr(p, &p->frags[0]) - (uintptr_t)apps[0].mem, 0, REGION);
    assert_int_equal(released(0), head + 1);
    nic_sent_all();
    assert_int_equal(released(0), head + 2);
}

static void the_ring_is_released_in_order(void **state)
{
    uint32_t head = released(0);

    (void)state;
    for (uint8_t i = 0; i < 4; i++)
        send_long(0, i);
    assert_int_equal(nic.count, 4);
    nic_sent(2);
    settle();
    assert_int_equal(released(0), head);
    nic_sent(0);
    settle();
    assert_int_equal(released(0), head + 1);
    nic_sent(0);
    settle();
    assert_int_equal(released(0), head + 3);
    nic_sent(0);
    settle();
    assert_int_equal(released(0), head + 4);
}

static void what_leaves_has_the_header_that_was_checked(void **state)
{
    static uint8_t out[LONG];

    (void)state;
    send_long(0, 5);
    const uint8_t *sent = long_frame(0, peer_mac, "10.0.0.2", 5);
    const struct pkt *p = nic.held[0];
    uint8_t *payload = pkt_frag_addr(p, &p->frags[0]);
    uint8_t *frame = payload - p->linear;
    assert_memory_equal(frame, sent, LONG); /* where the domain wrote it */
    memset(frame, 0xee, LONG);
    assert_true(pkt_copy_out(p, 0, out, LONG));
    assert_true(p->linear >= PARSE_MAX);
    assert_memory_equal(out, sent, p->linear);
    assert_int_equal(out[p->linear], 0xee); /* harms nobody else */
    nic_sent_all();
}

static void a_nic_that_stands_still_costs_a_domain_its_ring(void **state)
{
    uint32_t head = released(0), sent = 0;

    (void)state;
    nic.told = 0;
    while (app_put(&apps[0], long_frame(0, peer_mac, "10.0.0.2", 0), LONG, NULL)) {
        sent++;
        net_server_channel_rung(apps[0].slot, 0);
        apps_run();
    }
    assert_int_equal(nic.count, sent);
    assert_int_equal(released(0), head);
    assert_false(channel_want_room(&apps[0].q.tx));
    floor_advance(SEC); /* the server sleeps, and has asked to be told */
    assert_true(nic.told);
    send_long(1, 1); /* others' frames go on */
    assert_int_equal(nic.count, sent + 1);
    unsigned rung = apps[0].rung;
    nic_sent_all();
    assert_int_equal(released(0), head + sent);
    assert_true(apps[0].rung > rung);
    send_long(0, 1);
    assert_int_equal(nic.count, 1);
    nic_sent_all();
}

static void a_full_nic_has_the_rest_wait(void **state)
{
    uint32_t head = released(0);

    (void)state;
    nic.room = 2;
    for (uint8_t i = 0; i < 5; i++)
        send_long(0, i);
    assert_int_equal(nic.count, 2);
    assert_int_equal(released(0), head);
    nic.room = ARRAY_SIZE(nic.held);
    bh_disable();
    path_tx_ready(&wire.path, 0);
    bh_enable();
    settle();
    assert_int_equal(nic.count, 5);
    nic_sent_all();
    assert_int_equal(released(0), head + 5);
}

static void after_a_new_generation_what_is_under_way_is_copied(void **state)
{
    static const struct channel_desc bad = {.flags = 0x80};
    uint32_t head = released(0), lent = 0;

    (void)state;
    for (uint8_t i = 0; i < 3; i++)
        send_long(0, i);
    assert_int_equal(nic.count, 3);
    app_send_desc(&apps[0], long_frame(0, peer_mac, "10.0.0.2", 9), LONG, &bad);
    assert_true(apps[0].slot->mend_at);
    assert_int_equal(released(0), head);
    /* The next generation finds the good ones again, and breaks again at the bad one. */
    floor_advance(SEC / 3);
    app_run(&apps[0]);
    settle();
    assert_int_equal(nic.count, 6);
    for (unsigned i = 0; i < nic.count; i++)
        lent += (nic.held[i]->flags & PKT_LENT) != 0;
    assert_int_equal(lent, 3);
    nic_sent(5);
    nic_sent(4);
    settle();
    assert_int_equal(released(0), head); /* the NIC still has the first generation's */
    nic_sent_all();
    apps[0].q.tx.broken = true; /* the domain gives up what it had in the ring */
    for (unsigned i = 0; i < 4; i++) {
        floor_advance(SEC / 3);
        app_run(&apps[0]);
        nic_sent_all();
    }
    assert_false(apps[0].slot->mend_at);
    head = released(0);
    send_long(0, 1);
    assert_int_equal(nic.count, 1);
    assert_true(nic.held[0]->flags & PKT_LENT);
    nic_sent_all();
    assert_int_equal(released(0), head + 1);
}

static void a_slot_is_let_go_when_the_nic_has_sent(void **state)
{
    const struct channel_side *side = channel_side(&apps[0].dev, true);

    (void)state;
    send_long(0, 1);
    send_long(0, 2);
    take_back(0);
    uint32_t epoch = slot_of(0)->epoch;
    ring_table();
    assert_false(apps[0].slot->serving);
    assert_int_equal(side->state, CHANNEL_UP); /* for the supervisor: not yet */
    assert_int_not_equal(side->epoch, epoch);
    unsigned before = told;
    nic_sent(1);
    ring_table();
    assert_int_equal(side->state, CHANNEL_UP);
    assert_int_equal(told, before);
    nic_sent(0);
    settle();
    assert_int_equal(side->state, CHANNEL_DOWN);
    assert_int_equal(side->epoch, epoch);
    assert_int_equal(told, before + 1);
    grant(0, CHANNEL_DEDICATED);
    ring_table();
    assert_true(apps[0].slot->serving);
    /* Nobody has cleared the region here: what was not released is sent again. */
    assert_int_equal(nic.count, 2);
    nic_sent_all();
    send_long(0, 1);
    assert_int_equal(nic.count, 1);
    nic_sent_all();
}

static void domains_and_the_own_stack_get_copies(void **state)
{
    uint32_t head = released(0);
    uint8_t b[LONG], arp[64];

    (void)state;
    memcpy(b, long_frame(0, apps[1].mac, "10.0.0.12", 7), LONG);
    app_send(&apps[0], b, LONG);
    assert_int_equal(apps[1].count, 1);
    assert_memory_equal(apps[1].got[0]->b, b, LONG);
    assert_int_equal(released(0), head + 1);
    /* An echo request to the server, made of the same bytes. */
    memcpy(b, our_mac, 6);
    memcpy(b + 30, (uint8_t[]){10, 0, 0, 1}, 4);
    b[23] = 1;
    b[34] = 8;
    b[35] = 0;
    put16(b + 36, 0);
    *(wire16 *)(b + 36) = csum_fold(csum_add(b + 34, LONG - 34, 0));
    fix_ip4(b + 14);
    app_send(&apps[0], b, LONG);
    assert_int_equal(released(0), head + 2);
    app_forget(&apps[0]); /* who asks? */
    nic_sent_all();
    uint32_t n = arp_frame(arp, 2, apps[0].mac, "10.0.0.11", "10.0.0.1", our_mac);
    app_send(&apps[0], arp, n);
    assert_int_equal(apps[0].count, 1);
    assert_memory_equal(apps[0].got[0]->b + 38, b + 38, LONG - 38);
    /* To all: the others, the own stack and the NIC. */
    memset(b, 0xff, 6);
    app_send(&apps[0], b, LONG);
    assert_int_equal(nic.count, 1);
    assert_int_equal(released(0), head + 3);
    nic_sent_all();
    assert_int_equal(released(0), head + 4);
    forget_all();
}

/* Cut in software: all pieces are of one loan, and headers and sums are right. */
static void segments_share_a_loan(void **state)
{
    static uint8_t b[20000], out[1514];
    struct channel_desc d = {.flags = CHANNEL_CSUM_PARTIAL,
                             .csum_start = 34,
                             .csum_offset = 6,
                             .gso_type = CHANNEL_GSO_UDP,
                             .gso_size = 1000};
    uint32_t head = released(0);

    (void)state;
    memcpy(b, long_frame(0, peer_mac, "10.0.0.2", 1), LONG);
    memset(b + 42, 0x5a, sizeof(b) - 42);
    put16(b + 16, (uint16_t)(sizeof(b) - 14));
    fix_ip4(b + 14);
    app_send_desc(&apps[0], b, sizeof(b), &d);
    assert_int_equal(nic.count, 20);
    for (unsigned i = 0; i < nic.count; i++) {
        uint32_t n = nic.held[i]->len;
        assert_int_equal(n, i < 19 ? 1042 : 42 + 958);
        assert_true(pkt_copy_out(nic.held[i], 0, out, n));
        assert_int_equal(get16(out + 38), n - 34);
        assert_int_equal(out[42], 0x5a);
        assert_int_equal(out[n - 1], 0x5a);
    }
    while (nic.count > 1)
        nic_sent(0);
    settle();
    assert_int_equal(released(0), head);
    nic_sent_all();
    assert_int_equal(released(0), head + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_frames_are_lent_and_short_ones_copied),
        cmocka_unit_test(the_ring_is_released_in_order),
        cmocka_unit_test(what_leaves_has_the_header_that_was_checked),
        cmocka_unit_test(a_nic_that_stands_still_costs_a_domain_its_ring),
        cmocka_unit_test(a_full_nic_has_the_rest_wait),
        cmocka_unit_test(after_a_new_generation_what_is_under_way_is_copied),
        cmocka_unit_test(a_slot_is_let_go_when_the_nic_has_sent),
        cmocka_unit_test(domains_and_the_own_stack_get_copies),
        cmocka_unit_test(segments_share_a_loan),
    };

    server_setup();
    nic.room = ARRAY_SIZE(nic.held);
    wire.path.ops = &nic_ops;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
