/* virtio-net against a fake device: receive, transmit, commands, tear-down, and hostile devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/virtio_net.h"
#include "test_drivers_fake.h"

#define ALL_FEATURES                                                                               \
    (VIRTIO_F_EVENT_IDX | NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC |                  \
     NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN |    \
     NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_MQ |                   \
     NET_F_CTRL_MAC_ADDR)
#define RX 0
#define TX 1
#define MAX_PAIRS 3
#define CTRL (2 * MAX_PAIRS)

static struct fake_device dev;
static struct net_path *path;
static struct pkt *received;
static int ready_calls, registered;
bool netif_start_later;
static size_t pages_before;

/* --- the network stack's side ----------------------------------------------------------------- */

int netif_register_path(struct net_path *p)
{
    path = p;
    registered++;
    return 0;
}

void netif_detach_path(struct netif *n, struct net_path *p)
{
    (void)n;
    p->ops->detach(p);
}

void path_receive(struct net_path *p, struct pkt *list)
{
    struct pkt **tail = &received;

    assert_ptr_equal(p, path);
    while (*tail)
        tail = &(*tail)->next;
    *tail = list;
}

void path_tx_ready(struct net_path *p, int queue)
{
    (void)p, (void)queue;
    ready_calls++;
}

void path_link_changed(struct net_path *p, bool up)
{
    p->link_up = up;
}

/* --- the device's side ------------------------------------------------------------------------ */

static uint8_t last_command[64];
static uint8_t command_answer;

static void answer_commands(struct fake_device *f)
{
    struct fake_queue *q = &f->queues[CTRL];
    int head;

    if (!q->vq || (head = fake_take(q)) < 0)
        return;
    memset(last_command, 0, sizeof(last_command));
    fake_gather(q, head, last_command, sizeof(last_command));
    fake_scatter(q, head, &command_answer, 1);
    fake_complete(f, q, (uint32_t)head, 1);
}

static void start_with(uint64_t features)
{
    const uint8_t mac[MAC_LEN] = {2, 0, 0, 1, 2, 3};
    uint16_t status = 1, pairs = MAX_PAIRS, mtu = 9000;

    pkt_init();
    pages_before = floor_pages_in_use();
    ready_calls = registered = 0;
    command_answer = 0;
    fake_init(&dev, VIRTIO_ID_NET, features);
    dev.queue_size = 64;
    memcpy(dev.config, mac, sizeof(mac));
    memcpy(dev.config + 6, &status, 2);
    memcpy(dev.config + 8, &pairs, 2);
    memcpy(dev.config + 10, &mtu, 2);
    fake_start_work(&dev, answer_commands);
    assert_int_equal(virtio_net_driver.probe(&dev.vdev), 0);
}

static int setup(void **state)
{
    (void)state;
    start_with(ALL_FEATURES);
    return 0;
}

static void stop(void)
{
    virtio_net_driver.remove(&dev.vdev);
    fake_stop_work(&dev);
    pkt_free_list(received);
    received = NULL;
    floor_run();
    assert_int_equal(floor_pages_in_use(), pages_before);
}

static int teardown(void **state)
{
    (void)state;
    stop();
    return 0;
}

static uint8_t pattern(uint32_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

/* Delivers a frame of n bytes, an IPv4/TCP one as far as its headers are looked at, split over as
 * many buffers as it takes. */
static void deliver(uint32_t n, const struct vnet_hdr *hdr)
{
    static uint8_t data[90000];
    struct fake_queue *q = &dev.queues[RX];
    struct vnet_hdr h = *hdr;
    uint32_t total = n + VNET_HDR_LEN;

    for (uint32_t i = 0; i < n; i++)
        data[VNET_HDR_LEN + i] = pattern(i);
    uint8_t *f = data + VNET_HDR_LEN;
    f[12] = 8, f[13] = 0, f[14] = 0x45, f[23] = 6, f[46] = 0x50;
    if (!h.num_buffers)
        h.num_buffers = (uint16_t)DIV_ROUND_UP(total, (uint32_t)PAGE_SIZE);
    memcpy(data, &h, sizeof(h));
    for (uint32_t at = 0; at < total;) {
        int head = fake_take(q);
        assert_true(head >= 0);
        uint32_t part = fake_scatter(q, head, data + at, total - at);
        fake_put(q, (uint32_t)head, part);
        at += part;
    }
    fake_show(&dev, q);
    floor_run();
}

static void check_frame(const struct pkt *p, uint32_t n)
{
    uint8_t b;

    assert_int_equal(p->len, n);
    for (uint32_t i = 47; i < n; i++) {
        assert_true(pkt_copy_out(p, i, &b, 1));
        assert_int_equal(b, pattern(i));
    }
}

static struct path_stats counters(void)
{
    struct path_stats s;

    path->ops->stats(path, &s);
    return s;
}

/* --- set-up ----------------------------------------------------------------------------------- */

static void test_probe(void **state)
{
    (void)state;
    assert_int_equal(registered, 1);
    assert_int_equal(path->mtu, 9000);
    assert_int_equal(path->queues, 1);
    assert_int_equal(path->mac[5], 3);
    assert_true(path->link_up);
    assert_int_equal(path->features, PATH_SG | PATH_CSUM | PATH_TSO4 | PATH_TSO6);
    assert_int_equal(fake_available(&dev.queues[RX]), 64);
    assert_true(dev.status & VIRTIO_STATUS_DRIVER_OK);
}

static void test_multiqueue(void **state)
{
    (void)state;
    stop();
    cpu_count = 2;
    start_with(ALL_FEATURES);
    cpu_count = 1;
    assert_int_equal(path->queues, 2);
    const uint8_t expected[] = {4, 0, 2, 0};
    assert_memory_equal(last_command, expected, sizeof(expected));
    assert_int_equal(fake_available(&dev.queues[2]), 64);
    assert_int_equal(dev.queues[2].vector, 2);
}

static void test_plain_device(void **state)
{
    (void)state;
    stop();
    start_with(NET_F_GUEST_TSO4 | NET_F_GUEST_CSUM);
    assert_int_equal(path->features, PATH_SG);
    assert_int_equal(dev.accepted & NET_F_GUEST_TSO4, 0); /* it lacks mergeable buffers */
    assert_int_equal(path->mac[0] & 3, 2);
    assert_int_equal(path->mtu, 1500);
    deliver(1514, &(struct vnet_hdr){.num_buffers = 77}); /* not a field without the feature */
    check_frame(received, 1514);
    struct pkt *p = pkt_alloc(PKT_HEADROOM);
    assert_true(path->ops->transmit(path, 0, p));
    path->ops->flush(path, 0);
    assert_true(fake_rang(&dev.queues[TX]));
}

static void test_probe_out_of_memory(void **state)
{
    (void)state;
    bool failed = true;

    stop();
    for (unsigned n = 1; failed; n += n > 40 ? 7 : 1) {
        fake_init(&dev, VIRTIO_ID_NET, ALL_FEATURES & ~NET_F_MQ);
        dev.queue_size = 64;
        floor_fail_alloc(n);
        failed = virtio_net_driver.probe(&dev.vdev) != 0;
        floor_fail_alloc(0);
        if (failed)
            assert_int_equal(floor_pages_in_use(), pages_before);
        else
            virtio_net_driver.remove(&dev.vdev);
    }
    start_with(ALL_FEATURES);
}

/* --- receive ---------------------------------------------------------------------------------- */

static void test_receive_small(void **state)
{
    (void)state;
    void *addr = (void *)(uintptr_t)dev.queues[RX].vq->desc[0].addr;

    deliver(60, &(struct vnet_hdr){.flags = VNET_HDR_DATA_VALID});
    check_frame(received, 60);
    assert_int_equal(received->nfrags, 0);
    assert_true(received->flags & PKT_CSUM_OK);
    /* Its page is with the device again, unchanged. */
    assert_ptr_equal((void *)(uintptr_t)dev.queues[RX].vq->desc[0].addr, addr);
    assert_int_equal(fake_available(&dev.queues[RX]), 64);
}

static void test_receive_large(void **state)
{
    (void)state;
    deliver(1514, &(struct vnet_hdr){0});
    check_frame(received, 1514);
    assert_int_equal(received->linear, 14 + 20 + 20); /* the headers, and no payload */
    assert_int_equal(received->nfrags, 1);
    assert_false(received->flags & PKT_CSUM_OK);
    assert_int_equal(fake_available(&dev.queues[RX]), 64);
}

static void test_receive_merged(void **state)
{
    (void)state;
    struct vnet_hdr hdr = {
        .gso_type = VNET_GSO_TCPV4 | VNET_GSO_ECN, .gso_size = 1448, .flags = VNET_HDR_NEEDS_CSUM};

    deliver(65549, &hdr);
    check_frame(received, 65549);
    assert_int_equal(received->gso, GSO_TCP4);
    assert_int_equal(received->gso_size, 1448);
    assert_true(received->flags & PKT_CSUM_OK);
    assert_int_equal(fake_available(&dev.queues[RX]), 64);
}

static void test_receive_many(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3000; i++) {
        deliver(47 + i % 5000, &(struct vnet_hdr){0});
        check_frame(received, 47 + i % 5000);
        pkt_free(received);
        received = NULL;
    }
    assert_int_equal(counters().rx_packets, 3000);
}

static void expect_dropped(uint32_t n, const struct vnet_hdr *hdr)
{
    uint64_t before = counters().rx_dropped;

    deliver(n, hdr);
    assert_null(received);
    assert_int_equal(counters().rx_dropped, before + 1);
    assert_int_equal(fake_available(&dev.queues[RX]), 64);
}

static void test_receive_bad_offload(void **state)
{
    (void)state;
    expect_dropped(1000, &(struct vnet_hdr){.gso_type = 3, .gso_size = 100});
    expect_dropped(1000, &(struct vnet_hdr){.gso_type = VNET_GSO_TCPV4});
    expect_dropped(100, &(struct vnet_hdr){.gso_type = 0x7f, .gso_size = 1});
}

static void complete_rx(uint32_t len)
{
    int head = fake_take(&dev.queues[RX]);

    fake_complete(&dev, &dev.queues[RX], (uint32_t)head, len);
    floor_run();
}

static void test_receive_bad_length(void **state)
{
    (void)state;
    complete_rx(0);
    complete_rx(VNET_HDR_LEN + 13);
    complete_rx(PAGE_SIZE + 1);
    complete_rx(0xffffffff);
    assert_null(received);
    assert_int_equal(counters().rx_errors, 4);
    assert_int_equal(fake_available(&dev.queues[RX]), 64);
    deliver(100, &(struct vnet_hdr){0});
    check_frame(received, 100);
}

static void test_receive_missing_buffers(void **state)
{
    (void)state;
    deliver(1000, &(struct vnet_hdr){.num_buffers = 3});
    assert_null(received);
    assert_true(dev.queues[RX].vq->broken);
    deliver(1000, &(struct vnet_hdr){0}); /* and nothing comes of it any more */
    assert_null(received);
}

static void test_receive_zero_buffers(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[RX];
    uint8_t zero[200] = {0};
    int head = fake_take(q);

    fake_scatter(q, head, zero, sizeof(zero));
    fake_complete(&dev, q, (uint32_t)head, sizeof(zero));
    floor_run();
    assert_null(received);
    assert_int_equal(counters().rx_dropped, 1);
    assert_int_equal(fake_available(q), 64);
}

static void test_receive_too_many_fragments(void **state)
{
    (void)state;
    expect_dropped(PAGE_SIZE * 19, &(struct vnet_hdr){0});
}

static void test_receive_without_memory(void **state)
{
    (void)state;
    floor_fail_alloc(1); /* the packet */
    expect_dropped(9000, &(struct vnet_hdr){0});
    floor_fail_alloc(2); /* the fresh page */
    expect_dropped(1514, &(struct vnet_hdr){0});
    floor_fail_alloc(3); /* the second one */
    expect_dropped(9000, &(struct vnet_hdr){0});
    floor_fail_alloc(0);
}

static void test_receive_batches(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[RX];
    uint64_t bells = counters().doorbells;

    /* No interrupt while the bottom half is at work: frames pile up and are taken together. */
    bh_disable();
    for (int i = 0; i < 40; i++) {
        struct vnet_hdr h = {.num_buffers = 1};
        uint8_t frame[VNET_HDR_LEN + 64] = {0};
        memcpy(frame, &h, sizeof(h));
        int head = fake_take(q);
        fake_scatter(q, head, frame, sizeof(frame));
        fake_put(q, (uint32_t)head, sizeof(frame));
        assert_int_equal(fake_show(&dev, q), i == 0);
    }
    bh_enable();
    int n = 0;
    for (struct pkt *p = received; p; p = p->next)
        n++;
    assert_int_equal(n, 40);
    assert_int_equal(counters().doorbells, bells); /* the device never ran out of buffers */
}

/* --- transmit --------------------------------------------------------------------------------- */

static struct pkt *make_packet(uint32_t linear, unsigned frags)
{
    uint8_t bytes[256];
    struct pkt *p = pkt_alloc(PKT_HEADROOM);

    for (uint32_t i = 0; i < linear; i++)
        bytes[i] = pattern(i);
    assert_true(pkt_append(p, bytes, linear));
    for (unsigned i = 0; i < frags; i++) {
        struct page *page = page_alloc(0, 0);
        memset(page_addr(page), (int)i, PAGE_SIZE);
        assert_true(pkt_append_page(p, page, 1, 1000));
    }
    return p;
}

static void test_transmit(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    uint8_t out[4096];
    struct vnet_hdr hdr;

    assert_true(path->ops->transmit(path, 0, make_packet(100, 2)));
    assert_false(fake_rang(q)); /* only flush rings */
    path->ops->flush(path, 0);
    assert_true(fake_rang(q));
    int head = fake_take(q);
    assert_int_equal(fake_descriptors(q, head), 3); /* header and linear part are one */
    assert_int_equal(fake_gather(q, head, out, sizeof(out)), VNET_HDR_LEN + 100 + 2000);
    memcpy(&hdr, out, sizeof(hdr));
    assert_int_equal(hdr.flags, 0);
    assert_int_equal(out[VNET_HDR_LEN + 99], pattern(99));
    assert_int_equal(out[VNET_HDR_LEN + 1100], 1);
    assert_false(fake_complete(&dev, q, (uint32_t)head, 0)); /* no transmit interrupts */
    path->ops->flush(path, 0);
    assert_false(fake_rang(q));
}

static void test_transmit_offload(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    struct pkt *p = make_packet(14 + 20 + 20, 10);
    struct vnet_hdr hdr;

    p->flags = PKT_CSUM_PARTIAL;
    p->csum_start = 34;
    p->csum_offset = 16;
    p->gso = GSO_TCP4;
    p->gso_size = 1460;
    p->data[34 + 13] = 0x80; /* CWR */
    assert_true(path->ops->transmit(path, 0, p));
    int head = fake_take(q);
    fake_gather(q, head, &hdr, sizeof(hdr));
    assert_int_equal(hdr.flags, VNET_HDR_NEEDS_CSUM);
    assert_int_equal(hdr.csum_start, 34);
    assert_int_equal(hdr.csum_offset, 16);
    assert_int_equal(hdr.gso_type, VNET_GSO_TCPV4 | VNET_GSO_ECN);
    assert_int_equal(hdr.gso_size, 1460);
    assert_int_equal(hdr.hdr_len, 54);
}

static void test_transmit_without_headroom(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    uint8_t out[256];
    struct pkt *p = pkt_alloc(0);

    pkt_append(p, "0123456789", 10);
    assert_true(path->ops->transmit(path, 0, p));
    int head = fake_take(q);
    assert_int_equal(fake_descriptors(q, head), 2);
    assert_int_equal(fake_gather(q, head, out, sizeof(out)), VNET_HDR_LEN + 10);
    assert_memory_equal(out + VNET_HDR_LEN, "0123456789", 10);
}

static void test_transmit_full(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    struct pkt *p;
    int n = 0, heads[64];

    while (path->ops->transmit(path, 0, p = make_packet(100, 3)))
        n++;
    assert_in_range(n, 15, 16);
    assert_true(fake_rang(q)); /* a full ring does not wait for flush */
    for (int i = 0; i < n; i++)
        heads[i] = fake_take(q);
    /* One interrupt, when most of it is free. */
    int interrupts = 0;
    for (int i = 0; i < n; i++) {
        if (fake_complete(&dev, q, (uint32_t)heads[i], 0))
            interrupts++;
        floor_run();
        if (i < n / 2)
            assert_int_equal(ready_calls, 0);
    }
    assert_int_equal(interrupts, 1);
    assert_int_equal(ready_calls, 1);
    assert_true(path->ops->transmit(path, 0, p));
}

static void test_transmit_reclaims_lazily(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];

    for (int i = 0; i < 5000; i++) {
        assert_true(path->ops->transmit(path, 0, make_packet(60, i % 4)));
        path->ops->flush(path, 0);
        int head = fake_take(q);
        assert_false(fake_complete(&dev, q, (uint32_t)head, 0));
    }
    assert_int_equal(counters().tx_packets, 5000);
    assert_int_equal(counters().tx_dropped, 0);
}

/* Somebody waits for what was sent: no packet is left behind, few interrupts tell. */
static void test_transmit_reclaims_at_once_when_awaited(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    int interrupts = 0, heads[20];
    size_t pages = floor_pages_in_use();

    for (int i = 0; i < 20; i++)
        assert_true(path->ops->transmit(path, 0, make_packet(100, 1)));
    path->ops->flush(path, 0);
    for (int i = 0; i < 20; i++)
        heads[i] = fake_take(q);
    for (int i = 0; i < 4; i++)
        assert_false(fake_complete(&dev, q, (uint32_t)heads[i], 0));
    bh_disable();
    path->ops->reclaim(path, true);
    bh_enable();
    assert_int_equal(floor_pages_in_use(), pages + 16);
    for (int i = 4; i < 20; i++) {
        interrupts += fake_complete(&dev, q, (uint32_t)heads[i], 0);
        floor_run();
    }
    assert_int_equal(floor_pages_in_use(), pages);
    assert_in_range(interrupts, 2, 4);
    /* And it is over. */
    assert_true(path->ops->transmit(path, 0, make_packet(100, 1)));
    path->ops->flush(path, 0);
    assert_false(fake_complete(&dev, q, (uint32_t)fake_take(q), 0));
}

/* Who only frees what was sent meanwhile does not take the interrupt that a full ring asked for. */
static void test_transmit_full_survives_a_reclaim(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    int n = 0, interrupts = 0;
    struct pkt *p;

    while (path->ops->transmit(path, 0, p = make_packet(100, 1)))
        n++;
    pkt_free(p);
    floor_run();
    assert_false(fake_complete(&dev, q, (uint32_t)fake_take(q), 0));
    bh_disable();
    path->ops->reclaim(path, false);
    bh_enable();
    for (int i = 1; i < n; i++)
        interrupts += fake_complete(&dev, q, (uint32_t)fake_take(q), 0);
    assert_true(interrupts > 0);
}

/* What was sent is freed at once for those who want it back, and without being asked again. */
static void test_transmit_reclaim(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];
    size_t pages = floor_pages_in_use();
    int heads[3];

    for (unsigned i = 0; i < 3; i++) {
        assert_true(path->ops->transmit(path, 0, make_packet(60, 1)));
        heads[i] = fake_take(q);
    }
    assert_int_equal(floor_pages_in_use(), pages + 3);
    assert_false(fake_complete(&dev, q, (uint32_t)heads[1], 0));
    path->ops->reclaim(path, false);
    assert_int_equal(floor_pages_in_use(), pages + 2);
    path->ops->reclaim(path, true);
    assert_false(fake_complete(&dev, q, (uint32_t)heads[0], 0)); /* not yet the last one */
    assert_true(fake_complete(&dev, q, (uint32_t)heads[2], 0));
    floor_run();
    assert_int_equal(floor_pages_in_use(), pages);
}

static void test_transmit_broken_device(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[TX];

    assert_true(path->ops->transmit(path, 0, make_packet(60, 0)));
    fake_complete(&dev, q, 63, 0); /* never given to it */
    for (int i = 0; i < 100; i++)  /* refused or dropped, never stuck */
        assert_true(path->ops->transmit(path, 0, make_packet(60, 1)));
    assert_true(q->vq->broken);
    assert_true(counters().tx_dropped > 0);
}

/* --- commands and events ---------------------------------------------------------------------- */

static void test_commands(void **state)
{
    (void)state;
    const uint8_t mac[MAC_LEN] = {2, 9, 9, 9, 9, 9}, macs[2][MAC_LEN] = {{1}, {3}};

    assert_int_equal(path->ops->set_mac(path, mac), 0);
    assert_int_equal(last_command[0], 1);
    assert_int_equal(last_command[1], 1);
    assert_memory_equal(last_command + 2, mac, MAC_LEN);
    assert_memory_equal(path->mac, mac, MAC_LEN);
    assert_int_equal(path->ops->set_multicast(path, macs, 2), 0);
    const uint8_t promiscuous_off[] = {0, 0, 0};
    assert_memory_equal(last_command, promiscuous_off, 3);
    assert_int_equal(path->ops->set_multicast(path, macs, 2), 0);
    assert_int_equal(last_command[6], 2); /* multicast count of the table */
    command_answer = 1;
    assert_int_equal(path->ops->set_mac(path, mac), -EIO);
}

static void test_command_without_answer(void **state)
{
    (void)state;
    const uint8_t mac[MAC_LEN] = {2, 9, 9, 9, 9, 9};

    fake_stop_work(&dev);
    assert_int_equal(path->ops->set_mac(path, mac), -EIO);
    assert_int_equal(path->ops->set_mac(path, mac), -EIO);
}

static void test_link(void **state)
{
    (void)state;
    dev.config[6] = 0;
    fake_interrupt(dev.irqs[0]);
    floor_run();
    assert_false(path->link_up);
    dev.config[6] = 1;
    fake_interrupt(dev.irqs[0]);
    floor_run();
    assert_true(path->link_up);
}

static void test_detach(void **state)
{
    (void)state;
    assert_true(path->ops->transmit(path, 0, make_packet(60, 3)));
    deliver(1514, &(struct vnet_hdr){0});
    path->ops->detach(path);
    assert_int_equal(dev.status, 0);
    assert_null(dev.irqs[0]);
    assert_null(dev.irqs[1]);
    /* What comes late is dropped, and a second detach does nothing. */
    assert_true(path->ops->transmit(path, 0, make_packet(60, 0)));
    path->ops->flush(path, 0);
    path->ops->detach(path);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_probe),
        T(test_multiqueue),
        T(test_plain_device),
        T(test_probe_out_of_memory),
        T(test_receive_small),
        T(test_receive_large),
        T(test_receive_merged),
        T(test_receive_many),
        T(test_receive_bad_offload),
        T(test_receive_bad_length),
        T(test_receive_missing_buffers),
        T(test_receive_zero_buffers),
        T(test_receive_too_many_fragments),
        T(test_receive_without_memory),
        T(test_receive_batches),
        T(test_transmit),
        T(test_transmit_offload),
        T(test_transmit_without_headroom),
        T(test_transmit_full),
        T(test_transmit_reclaim),
        T(test_transmit_reclaims_lazily),
        T(test_transmit_reclaims_at_once_when_awaited),
        T(test_transmit_full_survives_a_reclaim),
        T(test_transmit_broken_device),
        T(test_commands),
        T(test_command_without_answer),
        T(test_link),
        T(test_detach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
