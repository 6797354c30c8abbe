/* virtio-console ports against a fake device: the handshake, both streams, back-pressure, removal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "core/thread.h"
#include "drivers/console.h"
#include "test_drivers_fake.h"

#define F_MULTIPORT 2ull
enum { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN };

struct message {
    uint32_t id;
    uint16_t event, value;
};

static struct fake_device dev;
static size_t pages_before;

static void start(uint64_t features, uint32_t ports)
{
    pages_before = floor_pages_in_use();
    fake_init(&dev, VIRTIO_ID_CONSOLE, VIRTIO_F_EVENT_IDX | features);
    memcpy(dev.config + 4, &ports, sizeof(ports));
    assert_int_equal(virtio_console_driver.probe(&dev.vdev), 0);
    floor_run();
}

static int stop(void **state)
{
    (void)state;
    virtio_console_driver.remove(&dev.vdev);
    floor_run();
    assert_int_equal(floor_pages_in_use(), pages_before);
    assert_null(char_port_find(0));
    return 0;
}

static void expect_message(uint32_t id, uint16_t event, uint16_t value)
{
    struct fake_queue *q = &dev.queues[3];
    struct message m;
    int head = fake_take(q);

    assert_true(head >= 0);
    assert_int_equal(fake_gather(q, head, &m, sizeof(m)), sizeof(m));
    assert_int_equal(m.id, id);
    assert_int_equal(m.event, event);
    assert_int_equal(m.value, value);
    fake_complete(&dev, q, (uint32_t)head, 0);
}

static void send_message(uint32_t id, uint16_t event, uint16_t value)
{
    struct fake_queue *q = &dev.queues[2];
    struct message m = {id, event, value};
    int head = fake_take(q);

    assert_true(head >= 0);
    fake_scatter(q, head, &m, sizeof(m));
    fake_complete(&dev, q, (uint32_t)head, sizeof(m));
    floor_run();
}

static int start_plain(void **state)
{
    (void)state;
    start(0, 0);
    return 0;
}

static int start_multiport(void **state)
{
    (void)state;
    start(F_MULTIPORT, 2);
    expect_message(0, DEVICE_READY, 1);
    send_message(1, PORT_ADD, 1);
    expect_message(1, PORT_READY, 1);
    expect_message(1, PORT_OPEN, 1);
    return 0;
}

static void deliver(struct fake_queue *q, const char *text)
{
    int head = fake_take(q);

    assert_true(head >= 0);
    uint32_t n = fake_scatter(q, head, text, (uint32_t)strlen(text));
    fake_complete(&dev, q, (uint32_t)head, n);
}

static void test_read(void **state)
{
    (void)state;
    struct char_port *port = char_port_find(0);
    char buf[64] = "";

    assert_false(char_port_can_read(port));
    assert_int_equal(char_port_read(port, buf, sizeof(buf)), 0);
    deliver(&dev.queues[0], "hello ");
    deliver(&dev.queues[0], "world");
    assert_true(char_port_can_read(port));
    assert_int_equal(char_port_read(port, buf, 3), 3);
    assert_true(char_port_can_read(port));
    assert_int_equal(char_port_read(port, buf + 3, sizeof(buf) - 3), 8);
    assert_string_equal(buf, "hello world");
    assert_int_equal(char_port_read(port, buf, sizeof(buf)), 0);
    assert_int_equal(fake_available(&dev.queues[0]), 16); /* all buffers are back */
}

static void test_read_forever(void **state)
{
    (void)state;
    struct char_port *port = char_port_find(0);
    char buf[8];

    for (int i = 0; i < 1000; i++) {
        deliver(&dev.queues[0], "abc");
        assert_int_equal(char_port_read(port, buf, sizeof(buf)), 3);
    }
}

static void reader(void *arg)
{
    struct char_port *port = char_port_find(0);

    wait_event(&port->readable, char_port_can_read(port));
    *(ssize_t *)arg = char_port_read(port, (char[8]){0}, 8);
}

static void test_reader_is_woken(void **state)
{
    (void)state;
    ssize_t got = -1;

    assert_int_equal(thread_create(NULL, reader, &got, "reader"), 0);
    floor_run();
    assert_int_equal(got, -1);
    deliver(&dev.queues[0], "x");
    floor_run();
    assert_int_equal(got, 1);
}

/* The device saw the old wish for an interrupt and sent none: core/recheck.h. */
static void test_a_lost_interrupt_is_made_up_for(void **state)
{
    (void)state;
    struct char_port *port = char_port_find(0);
    struct fake_queue *q = &dev.queues[0];
    ssize_t got = -1;
    char buf[8];

    deliver(q, "a");
    assert_int_equal(char_port_read(port, buf, 8), 1);
    assert_int_equal(char_port_read(port, buf, 8), 0);
    assert_int_equal(thread_create(NULL, reader, &got, "reader"), 0);
    floor_run();
    int head = fake_take(q);
    fake_put(q, (uint32_t)head, fake_scatter(q, head, "bc", 2));
    q->vq->used->idx = q->used_idx; /* shown, and that is all */
    floor_run();
    assert_int_equal(got, -1);
    floor_advance(6 * NSEC_PER_MSEC);
    assert_int_equal(got, 2);
}

static void test_write(void **state)
{
    (void)state;
    static char big[65536], got[65536];
    struct char_port *port = char_port_find(0);
    struct fake_queue *q = &dev.queues[1];

    memset(big, 'x', sizeof(big));
    assert_int_equal(char_port_write(port, big, sizeof(big)), sizeof(big));
    assert_true(fake_rang(q));
    int head = fake_take(q);
    assert_int_equal(fake_descriptors(q, head), 1);
    assert_int_equal(fake_gather(q, head, got, sizeof(got)), sizeof(got));
    assert_memory_equal(big, got, sizeof(got));
    assert_false(fake_complete(&dev, q, (uint32_t)head, 0));
}

static void writer(void *arg)
{
    struct char_port *port = char_port_find(0);

    wait_event(&port->writable, char_port_can_write(port));
    *(ssize_t *)arg = char_port_write(port, "more", 4);
}

static void test_back_pressure(void **state)
{
    (void)state;
    static char big[1 << 20];
    struct char_port *port = char_port_find(0);
    struct fake_queue *q = &dev.queues[1];
    ssize_t n = char_port_write(port, big, sizeof(big)), more = -1;

    assert_int_equal(n, 128 * 1024);
    assert_false(char_port_can_write(port));
    assert_int_equal(char_port_write(port, big, 1), 0);
    thread_create(NULL, writer, &more, "writer");
    floor_run();
    assert_int_equal(more, -1);
    fake_complete(&dev, q, (uint32_t)fake_take(q), 0);
    floor_run();
    assert_int_equal(more, 4);
}

static void test_write_without_memory(void **state)
{
    (void)state;
    static char big[65536];

    floor_fail_alloc(1);
    assert_int_equal(char_port_write(char_port_find(0), big, sizeof(big)), 65536);
    floor_fail_alloc(0);
}

static void test_handshake(void **state)
{
    (void)state;
    struct char_port *port = char_port_find(1);
    char buf[8];

    assert_non_null(port);
    assert_null(char_port_find(2));
    assert_null(char_port_find(-1));
    assert_int_equal(char_port_write(port, "x", 1), 0); /* nobody is connected yet */
    assert_false(char_port_can_write(port));
    send_message(1, PORT_OPEN, 1);
    assert_true(char_port_can_write(port));
    assert_int_equal(char_port_write(port, "x", 1), 1);
    deliver(&dev.queues[4], "ping");
    assert_int_equal(char_port_read(port, buf, sizeof(buf)), 4);
    send_message(1, PORT_OPEN, 0);
    assert_int_equal(char_port_write(port, "x", 1), 0);
    send_message(1, PORT_REMOVE, 0);
    assert_int_equal(char_port_write(port, "x", 1), -EIO);
    assert_int_equal(char_port_read(port, buf, sizeof(buf)), -EIO);
}

static void test_hostile_messages(void **state)
{
    (void)state;
    struct fake_queue *q = &dev.queues[2];

    send_message(2, PORT_ADD, 1);
    send_message(0xffffffff, PORT_OPEN, 1);
    send_message(1, 0xffff, 1);
    for (int i = 0; i < 200; i++)
        send_message(1, PORT_ADD, 1); /* announced again and again */
    int head = fake_take(q);
    fake_complete(&dev, q, (uint32_t)head, 3); /* shorter than a message */
    floor_run();
    head = fake_take(q);
    fake_complete(&dev, q, (uint32_t)head, 0xffffffff);
    floor_run();
    send_message(1, PORT_OPEN, 1);
    assert_int_equal(char_port_write(char_port_find(1), "x", 1), 1);
}

static void test_hostile_length(void **state)
{
    (void)state;
    struct char_port *port = char_port_find(0);
    char buf[8];

    fake_complete(&dev, &dev.queues[0], (uint32_t)fake_take(&dev.queues[0]), PAGE_SIZE + 1);
    assert_int_equal(char_port_read(port, buf, sizeof(buf)), -EIO);
    assert_true(char_port_can_read(port)); /* so that nobody waits for ever */
}

static void test_gone(void **state)
{
    struct char_port *port = char_port_find(0);
    char buf[8];

    deliver(&dev.queues[0], "unread");
    assert_int_equal(char_port_read(port, buf, 2), 2);
    char_port_write(port, "unsent", 6);
    stop(state);
    assert_int_equal(char_port_read(port, buf, sizeof(buf)), -EIO);
    assert_int_equal(char_port_write(port, buf, sizeof(buf)), -EIO);
    assert_true(char_port_can_read(port));
    assert_true(char_port_can_write(port));
    start(0, 0);
}

int main(void)
{
#define PLAIN(f) cmocka_unit_test_setup_teardown(f, start_plain, stop)
#define MULTI(f) cmocka_unit_test_setup_teardown(f, start_multiport, stop)
    const struct CMUnitTest tests[] = {
        PLAIN(test_read),
        PLAIN(test_read_forever),
        PLAIN(test_reader_is_woken),
        PLAIN(test_write),
        PLAIN(test_back_pressure),
        PLAIN(test_write_without_memory),
        MULTI(test_handshake),
        MULTI(test_hostile_messages),
        PLAIN(test_hostile_length),
        PLAIN(test_gone),
        PLAIN(test_a_lost_interrupt_is_made_up_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
