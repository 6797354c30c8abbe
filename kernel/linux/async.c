/*
 * O_ASYNC. The file's wait queues are hooked as by poll; a wake-up notes the registration and a
 * work item sends the signal, since signals cannot be sent where queues are woken.
 */
#include "linux/async.h"
#include "core/deferred.h"
#include "core/mem.h"
#include "linux/process.h"

#define O_ASYNC_FLAG 020000u
#define SIGIO_N 29
#define ASYNC_QUEUES 2 /* no file has more */

struct async {
    struct list ready_link;
    struct file *file;
    unsigned used;
    struct wait_entry entries[ASYNC_QUEUES];
};

static struct mutex async_lock;               /* setting and clearing */
static spinlock_t ready_lock = SPINLOCK_INIT; /* irqsave */
static struct list ready = LIST_INIT(ready);

static void send_signals(struct work *w)
{
    (void)w;
    for (;;) {
        unsigned long flags = spin_lock_irqsave(&ready_lock);
        struct async *a = list_pop_front(&ready, struct async, ready_link);
        int owner = a ? a->file->owner_pid : 0;
        spin_unlock_irqrestore(&ready_lock, flags);
        if (!a)
            return;
        struct process *p = owner > 0 ? process_find(owner) : NULL;
        if (p) {
            signal_send_process(p, SIGIO_N, NULL);
            process_put(p);
        } else if (owner < 0) {
            signal_send_group(-owner, SIGIO_N, NULL);
        }
    }
}

static struct work send_work = {.link = LIST_INIT(send_work.link), .run = send_signals};

static bool async_callback(struct wait_entry *e, unsigned key)
{
    (void)key;
    struct async *a = e->owner;
    unsigned long flags = spin_lock_irqsave(&ready_lock);
    if (list_empty(&a->ready_link))
        list_push_back(&ready, &a->ready_link);
    spin_unlock_irqrestore(&ready_lock, flags);
    work_schedule(&send_work);
    return false;
}

struct async_hooker {
    struct poll_table pt;
    struct async *async;
};

static void hook_queue(struct poll_table *pt, struct wait_queue *q)
{
    struct async *a = container_of(pt, struct async_hooker, pt)->async;
    if (a->used == ASYNC_QUEUES)
        return;
    struct wait_entry *e = &a->entries[a->used++];
    *e = (struct wait_entry){.callback = async_callback, .owner = a};
    wait_add(q, e);
}

static int async_add(struct file *f)
{
    if (!f->ops->poll)
        return -ENOTTY;
    struct async *a = kzalloc(sizeof(*a));
    if (!a)
        return -ENOMEM;
    list_init(&a->ready_link);
    a->file = f;
    f->async = a;
    struct async_hooker h = {{hook_queue}, a};
    f->ops->poll(f, &h.pt);
    return 0;
}

void async_release(struct file *f)
{
    struct async *a = f->async;
    if (!a)
        return;
    for (unsigned i = 0; i < a->used; i++)
        wait_remove(&a->entries[i]);
    unsigned long flags = spin_lock_irqsave(&ready_lock);
    list_remove(&a->ready_link);
    spin_unlock_irqrestore(&ready_lock, flags);
    f->async = NULL;
    kfree(a);
}

int async_set(struct file *f, bool on)
{
    int err = 0;
    mutex_lock(&async_lock);
    if (on && !f->async)
        err = async_add(f);
    else if (!on)
        async_release(f);
    if (!err)
        WRITE_ONCE(f->flags, on ? f->flags | O_ASYNC_FLAG : f->flags & ~O_ASYNC_FLAG);
    mutex_unlock(&async_lock);
    return err;
}

void async_init(void)
{
    mutex_init(&async_lock);
}
