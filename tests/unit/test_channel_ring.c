/* The rings of a channel: order, room, doorbells, generations, hostile words; and two real threads.
 */
#include <pthread.h>
#include <sched.h>

#include "test_channel_util.h"

static void layouts(void **state)
{
    struct channel_layout l;

    (void)state;
    for (uint32_t queues = 1; queues <= CHANNEL_QUEUES_MAX; queues++) {
        uint64_t size = 4u << 20;
        assert_true(channel_layout(&l, size, queues, 256));
        assert_int_equal(l.app_areas, 3 * 4096);
        assert_true(l.app_areas + queues * l.stride <= l.server_areas);
        assert_true(l.server_areas + queues * l.stride <= size);
        assert_true(l.data + l.data_size <= l.stride && l.data >= 256 * 16);
        assert_true(l.data_size >= CHANNEL_FRAME_MAX);
    }
    assert_true(channel_layout(&l, CHANNEL_SIZE_DEFAULT, 12, CHANNEL_SLOTS_DEFAULT));
    assert_false(channel_layout(&l, CHANNEL_SIZE_DEFAULT, 13, CHANNEL_SLOTS_DEFAULT));
    assert_false(channel_layout(&l, 1 << 20, 0, 256));
    assert_false(channel_layout(&l, 1 << 24, CHANNEL_QUEUES_MAX + 1, 256));
    assert_false(channel_layout(&l, 1 << 20, 1, 100));
    assert_false(channel_layout(&l, 1 << 20, 1, 8));
    assert_false(channel_layout(&l, 1 << 20, 1, 8192));
    assert_false(channel_layout(&l, 8192, 1, 256));
    assert_false(channel_layout(&l, 1ull << 40, 1, 256));
}

static void frames_in_order_both_ways(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(put(&e.app.tx, 14 + i % 1500, i));
        assert_true(put(&e.server.tx, 60 + i % 9000, i + 5));
        assert_int_equal(get(&e.server.rx), i);
        assert_int_equal(get(&e.app.rx), i + 5);
        assert_int_equal(get(&e.app.rx), -1);
    }
    ends_free(&e);
}

static void indices_wrap(void **state)
{
    struct ends e = ends_new();

    (void)state;
    line_of(e.mem, true, 0)->head = 0xfffffff0; /* as a predecessor left them */
    line_of(e.mem, true, 0)->tail = 0xfffffff8;
    ends_live(&e);
    assert_int_equal(e.app.tx.tail, 0xfffffff0);
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(put(&e.app.tx, 100, i));
        assert_true(put(&e.server.tx, 100, i));
        if (i % 5 == 4) {
            for (uint32_t k = i - 4; k <= i; k++) {
                assert_int_equal(get(&e.server.rx), k);
                assert_int_equal(get(&e.app.rx), k);
            }
        }
    }
    assert_false(channel_queue_broken(&e.app) || channel_queue_broken(&e.server));
    ends_free(&e);
}

static void full_of_slots(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    for (uint32_t i = 0; i < ENDS_SLOTS; i++)
        assert_true(put(&e.app.tx, 64, i));
    assert_false(put(&e.app.tx, 64, 99));
    assert_int_equal(get(&e.server.rx), 0);
    assert_true(put(&e.app.tx, 64, ENDS_SLOTS));
    assert_false(put(&e.app.tx, 64, 99));
    for (uint32_t i = 1; i <= ENDS_SLOTS; i++)
        assert_int_equal(get(&e.server.rx), i);
    ends_free(&e);
}

/* Frames of all sizes in a small area: contents intact, and the largest fits whenever it is empty.
 */
static void full_of_data(void **state)
{
    struct ends e = ends_new();
    uint32_t in = 0, out = 0, refused = 0;

    (void)state;
    ends_live(&e);
    srand(1);
    while (in < 5000) {
        uint32_t len = rand() % 3 ? 14 + (uint32_t)rand() % 3000 : 14 + (uint32_t)rand() % 65587;
        if (put(&e.app.tx, len, in)) {
            in++;
        } else {
            refused++;
            for (int n = 1 + rand() % 16; n && out < in; n--)
                assert_int_equal(get(&e.server.rx), out++);
        }
    }
    while (out < in)
        assert_int_equal(get(&e.server.rx), out++);
    assert_true(refused > 100);
    assert_true(put(&e.app.tx, CHANNEL_FRAME_MAX, 1));
    ends_free(&e);
}

static void empty_rings_start_anew(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    for (uint32_t i = 0; i < 100; i++) {
        uint8_t *at = channel_reserve(&e.app.tx, 1500);
        assert_ptr_equal(at, e.app.tx.data);
        assert_true(put(&e.app.tx, 1500, i));
        assert_int_equal(get(&e.server.rx), i);
        channel_update_head(&e.app.tx);
    }
    ends_free(&e);
}

/* --- doorbells -------------------------------------------------------------------------------- */

static void data_doorbells(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    assert_false(channel_want_data(&e.server.rx));
    put(&e.app.tx, 64, 0);
    put(&e.app.tx, 64, 1);
    assert_true(channel_notify_data(&e.app.tx)); /* one for both */
    assert_false(channel_notify_data(&e.app.tx));
    put(&e.app.tx, 64, 2);
    assert_false(channel_notify_data(&e.app.tx)); /* it was woken and has not asked again */
    get(&e.server.rx);
    assert_true(channel_want_data(&e.server.rx)); /* there is more: poll */
    get(&e.server.rx);
    get(&e.server.rx);
    put(&e.app.tx, 64, 3); /* published, not notified: asking sees it */
    assert_true(channel_want_data(&e.server.rx));
    get(&e.server.rx);
    assert_false(channel_want_data(&e.server.rx));
    put(&e.app.tx, 64, 4);
    assert_true(channel_notify_data(&e.app.tx));
    ends_free(&e);
}

static void room_doorbells(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    for (uint32_t i = 0; i < ENDS_SLOTS; i++)
        put(&e.app.tx, 64, i);
    assert_false(put(&e.app.tx, 64, 99));
    assert_false(channel_want_room(&e.app.tx));
    for (uint32_t i = 0; i < 11; i++) {
        get(&e.server.rx);
        assert_false(channel_notify_room(&e.server.rx));
    }
    get(&e.server.rx); /* three quarters */
    assert_true(channel_notify_room(&e.server.rx));
    get(&e.server.rx);
    assert_false(channel_notify_room(&e.server.rx));
    assert_true(put(&e.app.tx, 64, 16));

    while (put(&e.app.tx, 64, 99))
        ;
    while (get(&e.server.rx) >= 0)
        ;
    assert_true(channel_want_room(&e.app.tx)); /* there already */
    ends_free(&e);
}

/*
 * Every interleaving of one producer step sequence with one consumer step sequence, at the points
 * where the other's words are read or written: after all, the frame is taken, or a doorbell was
 * sent after the consumer went to sleep.
 */
static void no_interleaving_loses_a_wakeup(void **state)
{
    (void)state;
    for (unsigned pattern = 0; pattern < 1u << 5; pattern++) {
        struct ends e = ends_new();
        bool rung = false, sleeping = false, taken = false;
        int p = 0, c = 0;

        ends_live(&e);
        for (unsigned bit = 0; bit < 5 || p < 2 || c < 3; bit++) {
            bool producer = c == 3 || (p < 2 && (pattern >> bit & 1));
            if (producer && p == 0) {
                put(&e.app.tx, 64, 1);
            } else if (producer && p == 1) {
                if (channel_notify_data(&e.app.tx))
                    rung = true;
            } else if (c == 0 || c == 2) {
                if (sleeping && !rung)
                    ; /* asleep: does not look */
                else
                    taken = taken || get(&e.server.rx) == 1;
            } else if (c == 1) {
                sleeping = !channel_want_data(&e.server.rx);
            }
            if (producer)
                p++;
            else if (c < 3)
                c++;
            else
                break;
        }
        if (!taken)
            assert_true(rung);
        ends_free(&e);
    }
}

/* --- generations ------------------------------------------------------------------------------ */

static void nothing_is_live_at_first(void **state)
{
    struct ends e = ends_new();

    (void)state;
    assert_int_equal(channel_queue_check(&e.app), CHANNEL_SAME);
    assert_false(e.app.live);
    channel_queue_start(&e.server);
    assert_int_equal(channel_queue_check(&e.server), CHANNEL_STALLED);
    assert_false(e.server.live);
    ends_free(&e);
}

/* Replaces the server's end by a new one, as a restart does: all private state is lost. */
static void restart_server(struct ends *e)
{
    channel_queue_destroy(&e->server);
    assert_int_equal(channel_queue_create(&e->server, e->mem, &e->l, 0, true, CHANNEL_FEATURES), 0);
    channel_queue_start(&e->server);
}

static void frames_survive_a_server(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    for (uint32_t i = 0; i < 5; i++) {
        put(&e.app.tx, 500, i);
        put(&e.server.tx, 500, 10 + i);
    }
    assert_int_equal(get(&e.server.rx), 0);
    assert_int_equal(get(&e.app.rx), 10);
    restart_server(&e);
    put(&e.app.tx, 500, 5); /* the application does not know yet */
    assert_true(channel_queue_changed(&e.app));
    assert_int_equal(channel_queue_check(&e.app), CHANNEL_LIVE);
    assert_int_equal(channel_queue_check(&e.app), CHANNEL_SAME);
    assert_int_equal(channel_queue_check(&e.server), CHANNEL_LIVE);
    for (uint32_t i = 1; i < 6; i++)
        assert_int_equal(get(&e.server.rx), i);
    /* What the dead server had published arrives; the new one waits for that. */
    assert_false(put(&e.server.tx, 500, 99));
    assert_false(channel_want_room(&e.server.tx));
    for (uint32_t i = 11; i < 15; i++)
        assert_int_equal(get(&e.app.rx), i);
    assert_true(channel_notify_room(&e.app.rx));
    assert_true(put(&e.server.tx, 500, 15));
    assert_int_equal(get(&e.app.rx), 15);
    ends_free(&e);
}

static void many_generations(void **state)
{
    struct ends e = ends_new();
    uint32_t sent = 0, received = 0;

    (void)state;
    ends_live(&e);
    for (int i = 0; i < 100; i++) {
        for (int k = i % 7; k; k--)
            assert_true(put(&e.app.tx, 100, sent++));
        if (i % 3 == 0)
            restart_server(&e);
        if (i % 6 == 0)
            restart_server(&e); /* before it was answered */
        channel_queue_check(&e.app);
        channel_queue_check(&e.server);
        assert_true(e.app.live && e.server.live);
        while (received < sent)
            assert_int_equal(get(&e.server.rx), received++);
    }
    ends_free(&e);
}

static void a_generation_repairs_what_was_broken(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    put(&e.app.tx, 100, 1);
    put(&e.server.tx, 100, 1);
    line_of(e.mem, true, 0)->head = 77;
    line_of(e.mem, true, 0)->tail = 1234;
    assert_int_equal(get(&e.app.rx), -1);
    assert_false(channel_update_head(&e.app.tx));
    assert_true(e.app.tx.broken && e.app.rx.broken);
    assert_null(channel_reserve(&e.app.tx, 100));
    restart_server(&e);
    assert_int_equal(channel_queue_check(&e.app), CHANNEL_LIVE);
    assert_int_equal(channel_queue_check(&e.server), CHANNEL_LIVE);
    assert_false(channel_queue_broken(&e.app) || channel_queue_broken(&e.server));
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(put(&e.app.tx, 100, i) && put(&e.server.tx, 100, i));
        assert_int_equal(get(&e.server.rx), i);
        assert_int_equal(get(&e.app.rx), i);
    }
    ends_free(&e);
}

/* --- hostile words ---------------------------------------------------------------------------- */

static void lying_tail(void **state)
{
    static const uint32_t lies[] = {ENDS_SLOTS + 4, 2, 0xffffffff, 0x80000000, 0};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        struct ends e = ends_new();
        ends_live(&e);
        for (uint32_t k = 0; k < 3; k++) {
            put(&e.app.tx, 64, k);
            get(&e.server.rx);
        }
        line_of(e.mem, false, 0)->tail = lies[i];
        assert_int_equal(get(&e.server.rx), -1);
        assert_true(e.server.rx.broken);
        assert_false(channel_want_data(&e.server.rx));
        ends_free(&e);
    }
}

static void tail_moves_back_while_frames_wait(void **state)
{
    struct ends e = ends_new();

    (void)state;
    ends_live(&e);
    for (uint32_t k = 0; k < 3; k++)
        put(&e.app.tx, 64, k);
    assert_int_equal(get(&e.server.rx), 0); /* has seen three */
    line_of(e.mem, false, 0)->tail = 2;
    assert_false(channel_want_data(&e.server.rx));
    assert_true(e.server.rx.broken);
    ends_free(&e);
}

static void lying_head(void **state)
{
    static const uint32_t lies[] = {11, 2, 0xffffffff, 0x80000000};

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        struct ends e = ends_new();
        ends_live(&e);
        for (uint32_t k = 0; k < 10; k++)
            put(&e.app.tx, 64, k);
        for (uint32_t k = 0; k < 3; k++)
            get(&e.server.rx);
        assert_true(channel_update_head(&e.app.tx));
        line_of(e.mem, true, 0)->head = lies[i];
        assert_false(channel_want_room(&e.app.tx));
        assert_true(e.app.tx.broken);
        assert_null(channel_reserve(&e.app.tx, 64));
        ends_free(&e);
    }
}

static void bad_descriptors(void **state)
{
    const uint32_t area = (ENDS_SIZE - 3 * 4096) / 2 / 4096 * 4096 - ENDS_SLOTS * 16;
    const struct channel_desc bad[] = {
        {.len = 0},
        {.len = 13},
        {.len = CHANNEL_FRAME_MAX + 1},
        {.len = 0xffffffff},
        {.len = 64, .offset = area - 63},
        {.len = 64, .offset = area + 1},
        {.len = 64, .offset = 0xffffffe0},
        {.len = 64, .flags = 4},
        {.len = 64, .gso_type = 4, .flags = 1, .csum_start = 34, .gso_size = 1},
        {.len = 64, .gso_type = 1, .gso_size = 10},
        {.len = 64, .gso_type = 1, .flags = 1, .csum_start = 34},
        {.len = 64, .flags = 1, .csum_start = 34, .gso_size = 100},
        {.len = 64, .flags = 1, .csum_start = 13},
        {.len = 64, .flags = 1, .csum_start = 63, .csum_offset = 0},
        {.len = 64, .flags = 1, .csum_start = 50, .csum_offset = 13},
        {.len = 64, .csum_offset = 1},
        {.len = 64, .header_len = 65},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct ends e = ends_new();
        struct channel_frame f;
        ends_live(&e);
        *(struct channel_desc *)(e.mem + e.l.app_areas) = bad[i];
        line_of(e.mem, false, 0)->tail = 1;
        assert_false(channel_take(&e.server.rx, &f));
        assert_true(e.server.rx.broken);
        assert_false(e.server.tx.broken); /* the other direction goes on */
        ends_free(&e);
    }
}

static void features_are_enforced(void **state)
{
    struct ends e = ends_new();
    struct channel_desc d = {.len = 64, .flags = CHANNEL_CSUM_PARTIAL, .csum_start = 34};
    struct channel_frame f;

    (void)state;
    ends_live(&e);
    assert_non_null(channel_reserve(&e.app.tx, 64));
    channel_commit(&e.app.tx, &d);
    assert_true(channel_take(&e.server.rx, &f));
    e.server.rx.features = 0;
    assert_non_null(channel_reserve(&e.app.tx, 64));
    channel_commit(&e.app.tx, &d);
    assert_false(channel_take(&e.server.rx, &f));
    ends_free(&e);
}

static void control_page(void **state)
{
    uint8_t *mem = region_new(1 << 20, 2, 256);
    struct channel_control *c = (void *)mem;
    struct channel_device dev = {.mem = mem, .size = 1 << 20};
    struct channel_grants g;
    struct channel_layout l;
    uint32_t features;

    (void)state;
    c->features = 0xffffffff;
    assert_int_equal(channel_read_layout(&dev, &l, &features), 0);
    assert_int_equal(features, CHANNEL_FEATURES);
    assert_int_equal(l.queues, 2);
    assert_int_equal(channel_read_grants(&dev, &g), 0);
    assert_int_equal(g.mtu, 1500);
    c->grants.sequence++;
    assert_int_equal(channel_read_grants(&dev, &g), -EAGAIN);
    c->grants.sequence++;
    c->grants.ephemeral_first = 2;
    assert_int_equal(channel_read_grants(&dev, &g), -EPROTO);
    c->grants.ephemeral_first = 0;
    c->grants.ipv4_prefix = 33;
    assert_int_equal(channel_read_grants(&dev, &g), -EPROTO);
    c->size *= 2;
    assert_int_equal(channel_read_layout(&dev, &l, &features), -EPROTO);
    c->size /= 2;
    c->queues = 0;
    assert_int_equal(channel_read_layout(&dev, &l, &features), -EPROTO);
    c->queues = 2;
    c->version = 2;
    assert_int_equal(channel_read_layout(&dev, &l, &features), -EPROTONOSUPPORT);
    c->magic = 0;
    assert_int_equal(channel_read_layout(&dev, &l, &features), -EPROTO);
    dev.size = 4096;
    assert_int_equal(channel_read_layout(&dev, &l, &features), -EPROTO);
    free(mem);
}

/* --- two real threads ------------------------------------------------------------------------- */

/* A doorbell: a counter to sleep on. The other side sleeps until it moves. */
struct bell {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned rings;
};

static void bell_ring(struct bell *b)
{
    pthread_mutex_lock(&b->lock);
    b->rings++;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

static bool bell_wait(struct bell *b, unsigned *seen)
{
    struct timespec until;
    int err = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&b->lock);
    while (b->rings == *seen && !err)
        err = pthread_cond_timedwait(&b->cond, &b->lock, &until);
    *seen = b->rings;
    pthread_mutex_unlock(&b->lock);
    return !err;
}

#define STRESS_FRAMES 60000u

struct stress {
    struct ends e;
    struct bell data, room;
    bool lost;
};

static void *stress_producer(void *arg)
{
    struct stress *s = arg;
    struct channel_producer *p = &s->e.app.tx;
    unsigned seen = 0, random = 1;

    for (uint32_t i = 0; i < STRESS_FRAMES;) {
        random = random * 1103515245 + 12345;
        if (put(p, 14 + (random >> 16) % (random & 0x400 ? 30000 : 200), i)) {
            i++;
            if ((random >> 8) % 4) /* batches of some frames */
                continue;
        } else if (!channel_want_room(p)) {
            if (channel_notify_data(p))
                bell_ring(&s->data);
            if (!bell_wait(&s->room, &seen)) {
                s->lost = true;
                return NULL;
            }
        }
        if (channel_notify_data(p))
            bell_ring(&s->data);
    }
    if (channel_notify_data(p))
        bell_ring(&s->data);
    return NULL;
}

static void two_threads(void **state)
{
    struct stress s = {.e = ends_new(),
                       .data = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0},
                       .room = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}};
    struct channel_consumer *c = &s.e.server.rx;
    unsigned seen = 0;
    pthread_t thread;
    uint32_t next = 0;

    (void)state;
    ends_live(&s.e);
    assert_int_equal(pthread_create(&thread, NULL, stress_producer, &s), 0);
    while (next < STRESS_FRAMES) {
        struct channel_frame f;
        if (channel_take(c, &f)) {
            uint32_t number;
            memcpy(&number, f.data, 4);
            assert_int_equal(number, next);
            assert_int_equal(f.data[f.desc.len - 1],
                             f.desc.len > 17 ? (uint8_t)(number * 7 + 1) : f.data[f.desc.len - 1]);
            channel_release(c, 1);
            next++;
            if (next % 3 == 0 && channel_notify_room(c))
                bell_ring(&s.room);
            continue;
        }
        assert_false(c->broken);
        if (channel_notify_room(c))
            bell_ring(&s.room);
        if (!channel_want_data(c) && !bell_wait(&s.data, &seen))
            fail_msg("a wake-up was lost at frame %u", next);
    }
    if (channel_notify_room(c))
        bell_ring(&s.room);
    pthread_join(thread, NULL);
    assert_false(s.lost);
    ends_free(&s.e);
}

/* Falling asleep and publishing at the same moment, over and over, started by a spin barrier: at
 * least one of the two must see the other. Fails with weaker atomics (a store buffer is enough). */
struct crossing {
    struct ends e;
    unsigned producer, consumer; /* rounds that each has begun */
    bool rung;
    bool stop;
};

static void meet(unsigned *own, const unsigned *other, const bool *stop)
{
    unsigned round = *own + 1, spins = 0;

    __atomic_store_n(own, round, __ATOMIC_RELEASE);
    while (__atomic_load_n(other, __ATOMIC_ACQUIRE) < round &&
           !__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        if (++spins % 1000 == 0)
            sched_yield();
    }
}

static void *crossing_producer(void *arg)
{
    struct crossing *x = arg;

    for (uint32_t i = 0;; i++) {
        meet(&x->producer, &x->consumer, &x->stop);
        if (__atomic_load_n(&x->stop, __ATOMIC_ACQUIRE))
            return NULL;
        put(&x->e.app.tx, 16, i);
        x->rung = channel_notify_data(&x->e.app.tx);
        meet(&x->producer, &x->consumer, &x->stop);
    }
}

static void sleeping_and_publishing_cross(void **state)
{
    struct crossing x = {.e = ends_new()};
    struct timespec start, now;
    pthread_t thread;

    (void)state;
    ends_live(&x.e);
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(pthread_create(&thread, NULL, crossing_producer, &x), 0);
    for (uint32_t i = 0; i < 300000; i++) {
        meet(&x.consumer, &x.producer, &x.stop);
        for (uint32_t delay = i % 128; delay; delay--) /* meets the producer at any of its steps */
            __asm__ volatile("");
        bool there = channel_want_data(&x.e.server.rx);
        meet(&x.consumer, &x.producer, &x.stop);
        if (!there && !x.rung)
            fail_msg("round %u: neither saw the other", i);
        assert_int_equal(get(&x.e.server.rx), i);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec - start.tv_sec >= 3)
            break;
    }
    __atomic_store_n(&x.stop, true, __ATOMIC_RELEASE);
    __atomic_store_n(&x.consumer, UINT32_MAX, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    ends_free(&x.e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts),
        cmocka_unit_test(frames_in_order_both_ways),
        cmocka_unit_test(indices_wrap),
        cmocka_unit_test(full_of_slots),
        cmocka_unit_test(full_of_data),
        cmocka_unit_test(empty_rings_start_anew),
        cmocka_unit_test(data_doorbells),
        cmocka_unit_test(room_doorbells),
        cmocka_unit_test(no_interleaving_loses_a_wakeup),
        cmocka_unit_test(nothing_is_live_at_first),
        cmocka_unit_test(frames_survive_a_server),
        cmocka_unit_test(many_generations),
        cmocka_unit_test(a_generation_repairs_what_was_broken),
        cmocka_unit_test(lying_tail),
        cmocka_unit_test(tail_moves_back_while_frames_wait),
        cmocka_unit_test(lying_head),
        cmocka_unit_test(bad_descriptors),
        cmocka_unit_test(features_are_enforced),
        cmocka_unit_test(control_page),
        cmocka_unit_test(two_threads),
        cmocka_unit_test(sleeping_and_publishing_cross),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
