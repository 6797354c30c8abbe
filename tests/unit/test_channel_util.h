/* A channel in plain memory for the tests: page 0 as the supervisor would write it. */
#ifndef TEST_CHANNEL_UTIL_H
#define TEST_CHANNEL_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "channel/control.h"
#include "channel/ring.h"

#pragma GCC diagnostic ignored "-Wunused-function"

/* A cleared region of exactly `size` bytes, so that ASan sees its end. */
static uint8_t *region_new(uint64_t size, uint32_t queues, uint32_t slots)
{
    uint8_t *mem = aligned_alloc(CHANNEL_PAGE, size);
    struct channel_control *c = (void *)mem;

    memset(mem, 0, size);
    c->magic = CHANNEL_MAGIC;
    c->version = CHANNEL_VERSION;
    c->size = size;
    c->queues = queues;
    c->slots = slots;
    c->features = CHANNEL_FEATURES;
    c->grants = (struct channel_grants){
        .sequence = 2,
        .mtu = 1500,
        .mode = CHANNEL_DEDICATED,
        .mac = {2, 0, 0, 0, 0, 1},
        .ipv4 = {10, 0, 0, 1},
        .ipv4_prefix = 24,
    };
    return mem;
}

static struct channel_line *line_of(uint8_t *mem, bool server, uint32_t queue)
{
    return &((struct channel_side *)(mem + (server ? 1 : 2) * CHANNEL_PAGE))->lines[queue];
}

/* The two ends of queue pair 0 of a small region. */
struct ends {
    uint8_t *mem;
    struct channel_layout l;
    struct channel_queue app, server;
};

#define ENDS_SIZE (256u << 10)
#define ENDS_SLOTS 16u

static struct ends ends_new(void)
{
    struct ends e = {.mem = region_new(ENDS_SIZE, 1, ENDS_SLOTS)};

    assert_true(channel_layout(&e.l, ENDS_SIZE, 1, ENDS_SLOTS));
    assert_int_equal(channel_queue_create(&e.app, e.mem, &e.l, 0, false, CHANNEL_FEATURES), 0);
    assert_int_equal(channel_queue_create(&e.server, e.mem, &e.l, 0, true, CHANNEL_FEATURES), 0);
    return e;
}

static void ends_live(struct ends *e)
{
    channel_queue_start(&e->server);
    assert_int_equal(channel_queue_check(&e->app), CHANNEL_LIVE);
    assert_int_equal(channel_queue_check(&e->server), CHANNEL_LIVE);
}

static void ends_free(struct ends *e)
{
    channel_queue_destroy(&e->app);
    channel_queue_destroy(&e->server);
    free(e->mem);
}

/* A frame of len bytes whose contents follow from its number. */
static void fill(uint8_t *to, uint32_t len, uint32_t number)
{
    memset(to, (int)(number * 7 + 1), len);
    memcpy(to, &number, 4);
}

static bool put(struct channel_producer *p, uint32_t len, uint32_t number)
{
    struct channel_desc d = {.len = len};
    uint8_t *to = channel_reserve(p, len);

    if (!to)
        return false;
    fill(to, len, number);
    channel_commit(p, &d);
    return true;
}

/* Takes and releases one frame; its number, -1: none. Checks the contents. */
static int64_t get(struct channel_consumer *c)
{
    struct channel_frame f;
    uint32_t number;

    if (!channel_take(c, &f))
        return -1;
    memcpy(&number, f.data, 4);
    for (uint32_t i = 4; i < f.desc.len; i++)
        assert_int_equal(f.data[i], (uint8_t)(number * 7 + 1));
    channel_release(c, 1);
    return number;
}

#endif
