#include "impair_link.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REORDER_HOLD_NS 2000000
#define FULL_FRAME 1514
#define ETHERNET_HEADER 14

static double uniform(struct link *l)
{
    l->random = l->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(l->random >> 33) / 2147483648.0;
}

static bool chance(struct link *l, double percent)
{
    return uniform(l) * 100 < percent;
}

static struct frame *slot(struct link *l, unsigned i)
{
    return &l->queue[(l->first + i) % LINK_FRAMES];
}

void link_reset(struct link *l, const struct link_conditions *is)
{
    for (; l->count; l->count--)
        free(slot(l, l->count - 1)->data);
    l->is = *is;
    l->did = (struct link_counts){0};
    l->random = is->seed * 0x9e3779b97f4a7c15u;
    l->busy_until = l->last_due = 0;
}

static void insert(struct link *l, const uint8_t *data, size_t len, int64_t due)
{
    uint8_t *copy = l->count < LINK_FRAMES ? malloc(len) : NULL;
    unsigned i = l->count;

    if (!copy) {
        l->did.failed++;
        return;
    }
    memcpy(copy, data, len);
    for (; i > 0 && slot(l, i - 1)->due > due; i--)
        *slot(l, i) = *slot(l, i - 1);
    *slot(l, i) = (struct frame){.due = due, .len = len, .data = copy};
    l->count++;
}

/* When the slow line has sent this frame; LINK_NEVER if there is no room in front of it. */
static int64_t line(struct link *l, size_t len, int64_t now)
{
    double ns_per_byte = l->is.rate ? 8000 / l->is.rate : 0;

    if (l->busy_until < now)
        l->busy_until = now;
    if ((double)(l->busy_until - now) > l->is.limit * FULL_FRAME * ns_per_byte)
        return LINK_NEVER;
    l->busy_until += (int64_t)((double)len * ns_per_byte);
    return l->busy_until;
}

void link_enter(struct link *l, const uint8_t *data, size_t len, int64_t now)
{
    bool lost = chance(l, l->is.loss), twice = chance(l, l->is.duplicate);
    bool damaged = chance(l, l->is.corrupt) && len > ETHERNET_HEADER;
    bool held = chance(l, l->is.reorder), overtakes = chance(l, l->is.overtake);
    int64_t delay = l->is.delay + (int64_t)((uniform(l) * 2 - 1) * (double)l->is.jitter);
    double where = uniform(l);
    uint8_t copy[len];

    if (lost) {
        l->did.lost++;
        return;
    }
    memcpy(copy, data, len);
    if (damaged) {
        size_t bit = (size_t)(where * (double)(len - ETHERNET_HEADER) * 8);

        copy[ETHERNET_HEADER + bit / 8] ^= (uint8_t)(1 << bit % 8);
        l->did.corrupted++;
    }
    for (int n = 1 + twice; n > 0; n--) {
        int64_t sent = line(l, len, now), due = sent + delay;

        if (sent == LINK_NEVER) {
            l->did.dropped++;
            return;
        }
        if (overtakes) {
            l->did.overtook += n == 1;
            insert(l, copy, len, sent);
            continue;
        }
        if (due < l->last_due)
            due = l->last_due;
        l->last_due = due;
        l->did.reordered += held && n == 1;
        insert(l, copy, len, due + (held ? REORDER_HOLD_NS : 0));
    }
    l->did.duplicated += twice;
}

const struct frame *link_head(const struct link *l)
{
    return l->count ? &l->queue[l->first] : NULL;
}

void link_leave(struct link *l, int64_t now, bool ok)
{
    int64_t behind = now - l->queue[l->first].due;

    free(l->queue[l->first].data);
    l->first = (l->first + 1) % LINK_FRAMES;
    l->count--;
    if (!ok) {
        l->did.failed++;
        return;
    }
    l->did.forwarded++;
    l->did.behind_sum += behind;
    if (behind > l->did.behind_max)
        l->did.behind_max = behind;
}

bool link_parse(struct link_conditions *is, const char *text)
{
    double value;
    char name[16];

    if (sscanf(text, "%15[a-z]=%lf", name, &value) != 2)
        return false;
    if (!strcmp(name, "loss"))
        is->loss = value;
    else if (!strcmp(name, "reorder"))
        is->reorder = value;
    else if (!strcmp(name, "overtake"))
        is->overtake = value;
    else if (!strcmp(name, "duplicate"))
        is->duplicate = value;
    else if (!strcmp(name, "corrupt"))
        is->corrupt = value;
    else if (!strcmp(name, "delay"))
        is->delay = (int64_t)(value * 1e6);
    else if (!strcmp(name, "jitter"))
        is->jitter = (int64_t)(value * 1e6);
    else if (!strcmp(name, "rate"))
        is->rate = value;
    else if (!strcmp(name, "limit"))
        is->limit = value;
    else if (!strcmp(name, "seed"))
        is->seed = (uint64_t)value;
    else
        return false;
    return true;
}

void link_print(const struct link *l)
{
    const struct link_counts *c = &l->did;
    unsigned long n = c->forwarded ? c->forwarded : 1;

    printf("{\"forwarded\": %lu, \"lost\": %lu, \"reordered\": %lu, \"overtook\": %lu, "
           "\"duplicated\": %lu, \"corrupted\": %lu, \"dropped\": %lu, \"failed\": %lu, "
           "\"behind_us\": %.1f, \"behind_max_us\": %.1f}",
           c->forwarded, c->lost, c->reordered, c->overtook, c->duplicated, c->corrupted,
           c->dropped, c->failed, (double)c->behind_sum / (double)n / 1e3,
           (double)c->behind_max / 1e3);
}
