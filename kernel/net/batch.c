/*
 * Batches (net/netif.h): per CPU, what is to be done once after a burst of packets, and the
 * protection of what the data path reads without locks.
 *
 * Each CPU has a sequence number that is odd while a batch runs there. A writer that has replaced
 * something (a path, the view of addresses and routes) waits until every CPU that was inside a
 * batch has left it; nobody can then still hold the old one.
 */
#include "core/deferred.h"
#include "core/thread.h"
#include "core/timer.h"
#include "net/netif.h"
#include "net/netif_impl.h"

#define MAX_DIRTY 8

struct net_cpu {
    atomic_uint seq; /* odd: in a batch */
    int depth;
    int ndirty;
    struct {
        struct net_path *path;
        int queue;
    } dirty[MAX_DIRTY];
    struct net_defer *deferred, **deferred_tail;
} __attribute__((aligned(64)));

static struct net_cpu net_cpus[MAX_CPUS];

static struct {
    spinlock_t lock; /* bh */
    struct net_garbage *list;
    struct work work;
} garbage;

void net_batch_begin(void)
{
    bh_disable();
    struct net_cpu *c = &net_cpus[cpu_id()];
    /* seq_cst: the odd number is seen before anything that is read inside. */
    if (c->depth++ == 0)
        atomic_fetch_add(&c->seq, 1);
}

static void flush_dirty(struct net_cpu *c)
{
    for (int i = 0; i < c->ndirty; i++)
        c->dirty[i].path->ops->flush(c->dirty[i].path, c->dirty[i].queue);
    c->ndirty = 0;
}

static void run_deferred(struct net_cpu *c)
{
    while (c->deferred) {
        struct net_defer *d = c->deferred;
        c->deferred = d->next;
        d->pending = false;
        d->run(d);
    }
}

void net_batch_end(void)
{
    struct net_cpu *c = &net_cpus[cpu_id()];

    if (c->depth == 1) {
        if (c->deferred)
            run_deferred(c);
        if (c->ndirty)
            flush_dirty(c);
        atomic_store_explicit(&c->seq, atomic_load_explicit(&c->seq, memory_order_relaxed) + 1,
                              memory_order_release);
    }
    c->depth--;
    bh_enable();
}

bool net_in_batch(void)
{
    return net_cpus[cpu_id()].depth > 0;
}

void net_batch_defer(struct net_defer *d)
{
    struct net_cpu *c = &net_cpus[cpu_id()];

    ASSERT(c->depth);
    if (d->pending)
        return;
    d->pending = true;
    d->next = NULL;
    if (!c->deferred)
        c->deferred_tail = &c->deferred;
    *c->deferred_tail = d;
    c->deferred_tail = &d->next;
}

void net_batch_dirty(struct net_path *path, int queue)
{
    struct net_cpu *c = &net_cpus[cpu_id()];

    for (int i = 0; i < c->ndirty; i++) {
        if (c->dirty[i].path == path && c->dirty[i].queue == queue)
            return;
    }
    if (c->ndirty == MAX_DIRTY)
        flush_dirty(c);
    c->dirty[c->ndirty].path = path;
    c->dirty[c->ndirty].queue = queue;
    c->ndirty++;
}

void net_synchronize(void)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < cpu_count; i++) {
        unsigned seq = atomic_load(&net_cpus[i].seq);
        while ((seq & 1) && atomic_load(&net_cpus[i].seq) == seq)
            thread_sleep_until(time_now() + 50 * NSEC_PER_USEC, false);
    }
}

static void free_garbage(struct work *w)
{
    (void)w;
    spin_lock_bh(&garbage.lock);
    struct net_garbage *list = garbage.list;
    garbage.list = NULL;
    spin_unlock_bh(&garbage.lock);

    net_synchronize();
    while (list) {
        struct net_garbage *next = list->next;
        list->free(list);
        list = next;
    }
}

void net_free_later(struct net_garbage *g)
{
    spin_lock_bh(&garbage.lock);
    g->next = garbage.list;
    garbage.list = g;
    spin_unlock_bh(&garbage.lock);
    work_schedule(&garbage.work);
}

void net_batch_init(void)
{
    spin_init(&garbage.lock);
    work_init(&garbage.work, free_garbage);
}
