/* Split virtqueues: rings, chains, notifications, and devices that break the rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "test_drivers_fake.h"

static struct fake_device dev;
static struct virtq vq;
static struct fake_queue *q;

static void setup_queue(uint64_t features)
{
    fake_init(&dev, 1, features);
    assert_int_equal(virtio_negotiate(&dev.vdev, VIRTIO_F_EVENT_IDX), 0);
    assert_int_equal(virtio_queue(&dev.vdev, 0, 8, 0, &vq), 0);
    q = &dev.queues[0];
}

static int setup(void **state)
{
    (void)state;
    setup_queue(VIRTIO_F_EVENT_IDX);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    virtq_destroy(&vq);
    return 0;
}

static void test_chain_layout(void **state)
{
    (void)state;
    char out[8] = "request", in[8] = "", got[16];
    struct virtq_seg segs[] = {{out, 4}, {out + 4, 4}, {in, 8}};
    uint32_t len;

    assert_true(virtq_add(&vq, segs, 2, 1, &vq));
    assert_int_equal(fake_available(q), 0); /* not published yet */
    assert_true(virtq_kick(&vq));
    int head = fake_take(q);
    assert_int_equal(fake_descriptors(q, head), 3);
    assert_int_equal(fake_gather(q, head, got, sizeof(got)), 8);
    assert_string_equal(got, "request");
    assert_int_equal(fake_scatter(q, head, "answer!", 8), 8);
    assert_int_equal(virtq_pop(&vq, &len), -1);
    fake_complete(&dev, q, (uint32_t)head, 8);
    assert_int_equal(virtq_pop(&vq, &len), head);
    assert_int_equal(len, 8);
    assert_ptr_equal(vq.slots[head].cookie, &vq);
    assert_string_equal(in, "answer!");
    assert_int_equal(vq.num_free, 5);
    virtq_free(&vq, (unsigned)head);
    assert_int_equal(vq.num_free, 8);
}

static void test_indices_wrap(void **state)
{
    (void)state;
    char buf[4] = "abc";
    struct virtq_seg segs[] = {{buf, 1}, {buf + 1, 1}, {buf + 2, 1}};
    uint32_t len;

    for (unsigned i = 0; i < 70000; i++) {
        unsigned n = 1 + i % 3;
        assert_true(virtq_add(&vq, segs, n, 0, &buf[i % 3]));
        assert_true(virtq_add(&vq, segs, 1, 0, NULL));
        virtq_kick(&vq);
        int first = fake_take(q), second = fake_take(q);
        fake_put(q, (uint32_t)second, 0); /* out of order */
        fake_put(q, (uint32_t)first, 0);
        fake_show(&dev, q);
        assert_int_equal(virtq_pop(&vq, &len), second);
        virtq_free(&vq, (unsigned)second);
        assert_int_equal(virtq_pop(&vq, &len), first);
        assert_ptr_equal(vq.slots[first].cookie, &buf[i % 3]);
        virtq_free(&vq, (unsigned)first);
    }
    assert_int_equal(vq.num_free, 8);
    assert_false(vq.broken);
}

static void test_full(void **state)
{
    (void)state;
    char buf[1];
    struct virtq_seg segs[] = {{buf, 1}, {buf, 1}};

    for (int i = 0; i < 4; i++)
        assert_true(virtq_add(&vq, segs, 1, 1, buf));
    assert_int_equal(vq.num_free, 0);
    assert_false(virtq_add(&vq, segs, 1, 0, buf));
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(virtq_drain(&vq), buf);
    assert_null(virtq_drain(&vq));
    assert_int_equal(vq.num_free, 8);
}

static void test_doorbells(void **state)
{
    (void)state;
    char buf[1];
    struct virtq_seg seg = {buf, 1};

    assert_false(virtq_kick(&vq)); /* nothing was added */
    *(uint16_t *)vq.avail_event = 1;
    virtq_add(&vq, &seg, 1, 0, buf);
    assert_false(virtq_kick(&vq)); /* wants to hear of the second */
    assert_false(fake_rang(q));
    virtq_add(&vq, &seg, 1, 0, buf);
    assert_true(virtq_kick(&vq));
    assert_true(fake_rang(q));
    virtq_add(&vq, &seg, 1, 0, buf);
    assert_false(virtq_kick(&vq)); /* passed already */
}

static void test_interrupts(void **state)
{
    (void)state;
    char buf[1];
    struct virtq_seg seg = {buf, 1};
    uint32_t len;

    for (int i = 0; i < 4; i++)
        virtq_add(&vq, &seg, 1, 0, buf);
    virtq_kick(&vq);
    virtq_irq_disable(&vq);
    assert_false(fake_complete(&dev, q, 0, 0));
    assert_true(virtq_irq_enable(&vq)); /* one is there */
    virtq_free(&vq, (unsigned)virtq_pop(&vq, &len));
    assert_false(virtq_irq_enable_after(&vq, 2));
    assert_false(fake_complete(&dev, q, 1, 0));
    assert_true(fake_complete(&dev, q, 2, 0));
}

static void test_without_event_index(void **state)
{
    (void)state;
    char buf[1];
    struct virtq_seg seg = {buf, 1};

    virtq_destroy(&vq);
    setup_queue(0);
    vq.used->flags = VIRTQ_USED_NO_NOTIFY;
    virtq_add(&vq, &seg, 1, 0, buf);
    assert_false(virtq_kick(&vq));
    vq.used->flags = 0;
    virtq_add(&vq, &seg, 1, 0, buf);
    assert_true(virtq_kick(&vq));
    virtq_irq_disable(&vq);
    assert_false(fake_complete(&dev, q, 0, 0));
    assert_true(virtq_irq_enable(&vq));
    assert_true(fake_complete(&dev, q, 1, 0));
}

static void breaks(uint32_t id)
{
    uint32_t len;

    fake_complete(&dev, q, id, 0);
    assert_int_equal(virtq_pop(&vq, &len), -1);
    assert_true(vq.broken);
    assert_int_equal(virtq_pop(&vq, &len), -1);
    assert_false(virtq_pending(&vq)); /* nobody polls it for ever */
    assert_false(virtq_irq_enable(&vq));
}

static void test_id_out_of_range(void **state)
{
    (void)state;
    breaks(8);
}

static void test_id_huge(void **state)
{
    (void)state;
    breaks(0xffffffff);
}

static void test_id_not_outstanding(void **state)
{
    (void)state;
    breaks(3);
}

static void test_id_inside_chain(void **state)
{
    (void)state;
    char buf[1];
    struct virtq_seg segs[] = {{buf, 1}, {buf, 1}};

    virtq_add(&vq, segs, 2, 0, buf);
    breaks(vq.slots[0].next);
}

static void test_id_twice(void **state)
{
    (void)state;
    char buf[1];
    struct virtq_seg seg = {buf, 1};
    uint32_t len;

    virtq_add(&vq, &seg, 1, 0, buf);
    virtq_kick(&vq);
    int head = fake_take(q);
    fake_complete(&dev, q, (uint32_t)head, 0);
    assert_int_equal(virtq_pop(&vq, &len), head);
    breaks((uint32_t)head);
}

static void test_device_refuses_features(void **state)
{
    (void)state;
    struct fake_device other;

    fake_init(&other, 1, 0);
    other.refuse_features = true;
    assert_int_equal(virtio_negotiate(&other.vdev, 0), -ENODEV);
    fake_init(&other, 1, 0);
    other.offered = 0; /* legacy */
    assert_int_equal(virtio_negotiate(&other.vdev, 0), -ENODEV);
}

static void test_odd_queue_size(void **state)
{
    (void)state;
    struct virtq other;

    dev.queue_size = 48;
    assert_int_equal(virtio_queue(&dev.vdev, 1, 256, 0, &other), 0);
    assert_int_equal(other.size, 32);
    virtq_destroy(&other);
    dev.queue_size = 0;
    assert_int_equal(virtio_queue(&dev.vdev, 1, 256, 0, &other), -ENOENT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_chain_layout),    T(test_indices_wrap), T(test_full),
        T(test_doorbells),       T(test_interrupts),   T(test_without_event_index),
        T(test_id_out_of_range), T(test_id_huge),      T(test_id_not_outstanding),
        T(test_id_inside_chain), T(test_id_twice),     T(test_device_refuses_features),
        T(test_odd_queue_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
