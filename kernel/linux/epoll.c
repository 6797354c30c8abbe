/*
 * epoll: a set of registrations (items), each hooked into the wait queues of its file; a wake-up
 * puts the item on the ready list in constant time, epoll_wait looks at those items only.
 *
 * item->queued owns item->ready_link: whoever turns it from false to true puts the item on a list.
 * So a callback (any context) and the collecting thread need not agree on a lock for it; ep->lock
 * only guards the ready list itself. The collector clears `queued` before it asks the file, so that
 * an event which comes after the question queues the item again.
 *
 * ep->mutex: the items and collecting. epoll_mutex: the end of files and of epoll instances against
 * each other, and nesting. Order: epoll_mutex, ep->mutex (outer before inner), file->epoll_lock,
 * queue locks, ep->lock.
 */
#include "core/mem.h"
#include "core/rbtree.h"
#include "core/timer.h"
#include "linux/anon.h"
#include "linux/async.h"
#include "linux/iov.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define EPOLL_EXCLUSIVE (1u << 28)
#define EPOLL_WAKEUP (1u << 29)
#define EPOLL_ONESHOT (1u << 30)
#define EPOLL_ET (1u << 31)
#define EPOLL_PRIVATE (EPOLL_EXCLUSIVE | EPOLL_WAKEUP | EPOLL_ONESHOT | EPOLL_ET)
#define EPOLL_EXCLUSIVE_OK                                                                         \
    (POLL_IN | POLL_OUT | POLL_ERR | POLL_HUP | EPOLL_WAKEUP | EPOLL_ET | EPOLL_EXCLUSIVE)

#define EPOLL_MAX_NESTING 4
#define EPOLL_MAX_EVENTS ((int)(INT32_MAX / sizeof(struct epoll_event)))

enum { EPOLL_CTL_ADD = 1, EPOLL_CTL_DEL, EPOLL_CTL_MOD };

struct epoll_event {
    uint32_t events;
    uint64_t data;
} __attribute__((packed));

struct epoll {
    spinlock_t lock;             /* irqsave: ready */
    struct list ready;           /* struct item.ready_link */
    struct wait_queue wait;      /* in epoll_wait */
    struct wait_queue poll_wait; /* pollers of this epoll file */
    struct mutex mutex;
    struct rb_tree items; /* by (file, fd) */
    struct file *file;    /* its own; set when it takes part in nesting */
};

/* A further wait queue of a file that has more than one. */
struct hook {
    struct wait_entry entry;
    struct list link;
};

struct item {
    struct rb_node node;
    struct list ready_link;
    atomic_bool queued;
    uint32_t events; /* wanted; 0 besides the private bits: disarmed one-shot */
    uint64_t data;
    struct epoll *ep;
    struct file *file; /* not referenced: leaves the set when it is released */
    int fd;
    struct list file_link; /* file->epoll_items, under file->epoll_lock */
    struct wait_entry entry;
    struct list hooks;
};

static struct mutex epoll_mutex;
static struct slab *item_slab;
static const struct file_ops epoll_ops;

/* --- readiness -------------------------------------------------------------------------------- */

/* Puts the item on the ready list unless it is there, and wakes a waiter. True if somebody waited.
 */
static bool item_ready(struct item *it)
{
    struct epoll *ep = it->ep;
    /* The exchange is also the fence between the ready list and the look at the waiters. */
    if (!atomic_exchange(&it->queued, true)) {
        unsigned long flags = spin_lock_irqsave(&ep->lock);
        list_push_back(&ep->ready, &it->ready_link);
        spin_unlock_irqrestore(&ep->lock, flags);
        atomic_thread_fence(memory_order_seq_cst);
    }
    bool waited = !list_empty(&ep->wait.entries);
    if (waited)
        wake_up_max(&ep->wait, ~0u, 1);
    if (!list_empty(&ep->poll_wait.entries))
        wake_up_key(&ep->poll_wait, POLL_IN | POLL_RDNORM);
    return waited;
}

static bool item_callback(struct wait_entry *entry, unsigned key)
{
    struct item *it = entry->owner;
    uint32_t events = READ_ONCE(it->events);
    if (!(events & ~EPOLL_PRIVATE & key))
        return false;
    bool waited = item_ready(it);
    return waited || !(events & EPOLL_EXCLUSIVE);
}

static inline uint32_t item_poll(struct item *it)
{
    return it->file->ops->poll(it->file, NULL) & it->events & ~EPOLL_PRIVATE;
}

/* Takes the item off the list it is on, and lets callbacks queue it again. */
static inline void item_unqueue(struct item *it)
{
    list_remove(&it->ready_link);
    atomic_exchange(&it->queued, false);
}

static void take_ready(struct epoll *ep, struct list *batch)
{
    list_init(batch);
    unsigned long flags = spin_lock_irqsave(&ep->lock);
    list_append(batch, &ep->ready);
    spin_unlock_irqrestore(&ep->lock, flags);
}

/* Puts back what was not looked at (in front) and what stays ready (level-triggered, at the end).
 */
static void put_ready(struct epoll *ep, struct list *rest, struct list *again)
{
    if (list_empty(rest) && list_empty(again))
        return;
    unsigned long flags = spin_lock_irqsave(&ep->lock);
    list_append(rest, &ep->ready);
    list_append(rest, again);
    list_append(&ep->ready, rest);
    spin_unlock_irqrestore(&ep->lock, flags);
}

/* Events that were found, on their way to the program. */
struct found {
    unsigned n;
    struct epoll_event events[16];
    struct item *items[16];
};

/* Moves ready items from `batch` to `f`, at most max. */
static void find_events(struct list *batch, struct found *f, unsigned max)
{
    f->n = 0;
    max = MIN(max, (unsigned)ARRAY_SIZE(f->items));
    while (f->n < max && !list_empty(batch)) {
        struct item *it = list_first(batch, struct item, ready_link);
        item_unqueue(it);
        uint32_t events = item_poll(it);
        if (!events)
            continue;
        f->events[f->n] = (struct epoll_event){events, it->data};
        f->items[f->n++] = it;
    }
}

/* The program has been told: one-shot items are disarmed, level-triggered ones stay ready. */
static void events_told(const struct found *f, struct list *again)
{
    for (unsigned i = 0; i < f->n; i++) {
        struct item *it = f->items[i];
        if (it->events & EPOLL_ONESHOT)
            WRITE_ONCE(it->events, it->events & EPOLL_PRIVATE);
        else if (!(it->events & EPOLL_ET) && !atomic_exchange(&it->queued, true))
            list_push_back(again, &it->ready_link);
    }
}

/* The program's buffer is not there: the items are as ready as they were. */
static void events_not_told(const struct found *f, struct list *batch)
{
    for (unsigned i = f->n; i-- > 0;)
        if (!atomic_exchange(&f->items[i]->queued, true))
            list_push_front(batch, &f->items[i]->ready_link);
}

/* Copies out at most max ready events; their number, or -EFAULT. */
static int collect(struct epoll *ep, uaddr_t out, int max)
{
    struct found f;
    struct list batch, again;
    int n = 0, err = 0;

    list_init(&again);
    mutex_lock(&ep->mutex);
    take_ready(ep, &batch);
    while (n < max && !list_empty(&batch)) {
        find_events(&batch, &f, (unsigned)(max - n));
        err = copy_to_user(out + (size_t)n * sizeof(*f.events), f.events, f.n * sizeof(*f.events));
        if (err) {
            events_not_told(&f, &batch);
            break;
        }
        events_told(&f, &again);
        n += (int)f.n;
    }
    put_ready(ep, &batch, &again);
    bool more = !list_empty(&ep->ready);
    mutex_unlock(&ep->mutex);
    if (more && !list_empty(&ep->wait.entries))
        wake_up_max(&ep->wait, ~0u, 1);
    return n ? n : err;
}

/* An epoll file is readable if an item really is; items that are no longer leave the list. */
static unsigned epoll_poll(struct file *f, struct poll_table *pt)
{
    struct epoll *ep = f->data;
    poll_register(pt, &ep->poll_wait);
    if (list_empty(&ep->ready))
        return 0;
    struct list batch, none;
    bool found = false;
    list_init(&none);
    mutex_lock(&ep->mutex);
    take_ready(ep, &batch);
    while (!found && !list_empty(&batch)) {
        struct item *it = list_first(&batch, struct item, ready_link);
        item_unqueue(it);
        found = item_poll(it);
        if (found && !atomic_exchange(&it->queued, true))
            list_push_front(&batch, &it->ready_link);
    }
    put_ready(ep, &batch, &none);
    mutex_unlock(&ep->mutex);
    return found ? POLL_IN | POLL_RDNORM : 0;
}

/* --- the set ---------------------------------------------------------------------------------- */

static int item_compare(const struct rb_node *a, const struct rb_node *b)
{
    const struct item *x = container_of(a, struct item, node);
    const struct item *y = container_of(b, struct item, node);
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->fd < y->fd ? -1 : x->fd > y->fd;
}

static struct item *item_find(struct epoll *ep, struct file *f, int fd)
{
    struct rb_node *n = ep->items.root;
    while (n) {
        struct item *it = container_of(n, struct item, node);
        if (it->file == f && it->fd == fd)
            return it;
        bool left = f != it->file ? f < it->file : fd < it->fd;
        n = left ? n->left : n->right;
    }
    return NULL;
}

/* What poll_register calls while an item is added. */
struct item_hooker {
    struct poll_table pt;
    struct item *item;
    int err;
};

static void hook_queue(struct poll_table *pt, struct wait_queue *q)
{
    struct item_hooker *h = container_of(pt, struct item_hooker, pt);
    struct item *it = h->item;
    struct wait_entry *e = &it->entry;
    if (e->queue) {
        struct hook *more = kzalloc(sizeof(*more));
        if (!more) {
            h->err = -ENOMEM;
            return;
        }
        list_push_back(&it->hooks, &more->link);
        e = &more->entry;
    }
    e->callback = item_callback;
    e->owner = it;
    e->exclusive = it->events & EPOLL_EXCLUSIVE;
    wait_add(q, e);
}

/* With ep->mutex held (or the last of ep). The file's list comes last: a file that is being
 * released and finds it empty must have no hooks any more. */
static void item_destroy(struct item *it)
{
    struct epoll *ep = it->ep;
    wait_remove(&it->entry);
    struct hook *h;
    while ((h = list_pop_front(&it->hooks, struct hook, link))) {
        wait_remove(&h->entry);
        kfree(h);
    }
    unsigned long flags = spin_lock_irqsave(&ep->lock);
    if (atomic_load(&it->queued))
        list_remove(&it->ready_link);
    spin_unlock_irqrestore(&ep->lock, flags);
    rb_remove(&ep->items, &it->node);
    spin_lock(&it->file->epoll_lock);
    list_remove(&it->file_link);
    spin_unlock(&it->file->epoll_lock);
    slab_free(item_slab, it);
}

static int item_add(struct epoll *ep, struct file *f, int fd, const struct epoll_event *ev)
{
    struct item *it = slab_alloc(item_slab);
    if (!it)
        return -ENOMEM;
    memset(it, 0, sizeof(*it));
    it->ep = ep;
    it->file = f;
    it->fd = fd;
    it->events = ev->events | POLL_ERR | POLL_HUP;
    it->data = ev->data;
    list_init(&it->ready_link);
    list_init(&it->hooks);
    rb_insert(&ep->items, &it->node, item_compare);
    spin_lock(&f->epoll_lock);
    list_push_back(&f->epoll_items, &it->file_link);
    f->in_epoll = true;
    spin_unlock(&f->epoll_lock);

    struct item_hooker h = {.pt = {hook_queue}, .item = it};
    uint32_t now = f->ops->poll(f, &h.pt);
    if (h.err) {
        item_destroy(it);
        return h.err;
    }
    if (now & it->events & ~EPOLL_PRIVATE)
        item_ready(it);
    return 0;
}

static void item_modify(struct item *it, const struct epoll_event *ev)
{
    WRITE_ONCE(it->events, ev->events | POLL_ERR | POLL_HUP);
    it->data = ev->data;
    atomic_thread_fence(memory_order_seq_cst); /* a callback sees the new mask, or we the event */
    if (item_poll(it))
        item_ready(it);
}

/* A file with registrations is released: out of all sets, and no more SIGIO. */
static void release_file(struct file *f)
{
    async_release(f);
    mutex_lock(&epoll_mutex);
    while (!list_empty(&f->epoll_items)) {
        struct item *it = list_first(&f->epoll_items, struct item, file_link);
        struct epoll *ep = it->ep;
        mutex_lock(&ep->mutex);
        item_destroy(it);
        mutex_unlock(&ep->mutex);
    }
    mutex_unlock(&epoll_mutex);
}

static void epoll_release(struct file *f)
{
    struct epoll *ep = f->data;
    mutex_lock(&epoll_mutex);
    struct rb_node *n;
    while ((n = rb_first(&ep->items)))
        item_destroy(container_of(n, struct item, node));
    mutex_unlock(&epoll_mutex);
    kfree(ep);
}

static void epoll_describe(struct file *f, char *buf, size_t size)
{
    (void)f;
    snprintf(buf, size, "anon_inode:[eventpoll]");
}

static const struct file_ops epoll_ops = {
    .name = "epoll",
    .poll = epoll_poll,
    .release = epoll_release,
    .describe = epoll_describe,
};

/* --- nesting ---------------------------------------------------------------------------------- */

/* Height of the tree of epoll instances below ep; -ELOOP if `target` is in it or it is too high.
 * With epoll_mutex held, which every insertion of an epoll file takes. */
static int nesting_below(struct epoll *ep, const struct epoll *target, int depth)
{
    if (ep == target || depth > EPOLL_MAX_NESTING)
        return -ELOOP;
    int height = 0;
    mutex_lock(&ep->mutex);
    for (struct rb_node *n = rb_first(&ep->items); n && height >= 0; n = rb_next(n)) {
        struct item *it = container_of(n, struct item, node);
        if (it->file->ops == &epoll_ops) {
            int below = nesting_below(it->file->data, target, depth + 1);
            height = below < 0 ? below : MAX(height, below + 1);
        }
    }
    mutex_unlock(&ep->mutex);
    return height;
}

/* Epoll instances above the one whose file f is: the longest chain, with epoll_mutex held (under
 * which alone items of epoll files come and go). */
static int nesting_above(struct file *f, int depth)
{
    int height = 0;
    struct item *it;
    if (depth > EPOLL_MAX_NESTING)
        return depth;
    list_for_each (it, &f->epoll_items, file_link)
        height = MAX(height, 1 + nesting_above(it->ep->file, depth + 1));
    return height;
}

static int nesting_check(struct file *outer, struct file *inner)
{
    int below = nesting_below(inner->data, outer->data, 0);
    if (below < 0 || below + nesting_above(outer, 0) + 1 > EPOLL_MAX_NESTING)
        return -ELOOP;
    return 0;
}

/* --- system calls ----------------------------------------------------------------------------- */

static int ctl_check(struct file *epf, struct file *f, int op, const struct epoll_event *ev)
{
    if (!f->ops->poll)
        return -EPERM;
    if (epf->ops != &epoll_ops || f == epf)
        return -EINVAL;
    if (op != EPOLL_CTL_DEL && ev->events & EPOLL_EXCLUSIVE) {
        if (op == EPOLL_CTL_MOD || f->ops == &epoll_ops || ev->events & ~EPOLL_EXCLUSIVE_OK)
            return -EINVAL;
    }
    return 0;
}

static int ctl_apply(struct epoll *ep, int op, struct file *f, int fd, const struct epoll_event *ev)
{
    struct item *it = item_find(ep, f, fd);
    switch (op) {
    case EPOLL_CTL_ADD:
        return it ? -EEXIST : item_add(ep, f, fd, ev);
    case EPOLL_CTL_DEL:
        if (!it)
            return -ENOENT;
        item_destroy(it);
        return 0;
    case EPOLL_CTL_MOD:
        if (!it)
            return -ENOENT;
        if (it->events & EPOLL_EXCLUSIVE)
            return -EINVAL;
        item_modify(it, ev);
        return 0;
    default:
        return -EINVAL;
    }
}

static int epoll_control(struct file *epf, int op, struct file *f, int fd,
                         const struct epoll_event *ev)
{
    int err = ctl_check(epf, f, op, ev);
    if (err)
        return err;
    struct epoll *ep = epf->data;
    bool nests = f->ops == &epoll_ops;
    if (nests) {
        mutex_lock(&epoll_mutex);
        ((struct epoll *)f->data)->file = f;
        ep->file = epf;
        err = op == EPOLL_CTL_ADD ? nesting_check(epf, f) : 0;
    }
    if (!err) {
        mutex_lock(&ep->mutex);
        err = ctl_apply(ep, op, f, fd, ev);
        mutex_unlock(&ep->mutex);
    }
    if (nests)
        mutex_unlock(&epoll_mutex);
    return err;
}

long sys_epoll_ctl(int epfd, int op, int fd, uaddr_t event)
{
    struct epoll_event ev = {0};
    if (op != EPOLL_CTL_DEL && copy_from_user(&ev, event, sizeof(ev)))
        return -EFAULT;
    struct fd_hold eh = fd_hold(epfd);
    if (!eh.file)
        return -EBADF;
    struct fd_hold h = fd_hold(fd);
    long err = h.file ? epoll_control(eh.file, op, h.file, fd, &ev) : -EBADF;
    if (h.file)
        fd_drop(h);
    fd_drop(eh);
    return err;
}

/* timeout in ns, negative: none. */
static long wait_for_events(struct epoll *ep, uaddr_t events, int max, nsec_t timeout)
{
    nsec_t deadline = timeout < 0 ? NSEC_NEVER : 0;
    for (;;) {
        if (!list_empty(&ep->ready)) {
            int n = collect(ep, events, max);
            if (n)
                return n;
        }
        if (timeout == 0)
            return 0;
        if (!deadline) {
            deadline = time_now();
            deadline = timeout > NSEC_NEVER - deadline ? NSEC_NEVER : deadline + timeout;
        }
        int err = wait_event_exclusive(&ep->wait, !list_empty(&ep->ready), deadline);
        if (err == -ETIMEDOUT)
            timeout = 0;
        else if (err)
            return -ERESTARTNOHAND;
    }
}

static long epoll_wait_ns(int epfd, uaddr_t events, int max, nsec_t timeout)
{
    if (max <= 0 || max > EPOLL_MAX_EVENTS)
        return -EINVAL;
    if (!user_range_ok(events, (size_t)max * sizeof(struct epoll_event)))
        return -EFAULT;
    struct fd_hold h = fd_hold(epfd);
    if (!h.file)
        return -EBADF;
    long n = -EINVAL;
    if (h.file->ops == &epoll_ops)
        n = wait_for_events(h.file->data, events, max, timeout);
    fd_drop(h);
    return n;
}

static inline nsec_t ms_to_ns(int ms)
{
    return ms < 0 ? -1 : ms * NSEC_PER_MSEC;
}

long sys_epoll_wait(int epfd, uaddr_t events, int max, int timeout)
{
    return epoll_wait_ns(epfd, events, max, ms_to_ns(timeout));
}

static long epoll_wait_masked(int epfd, uaddr_t events, int max, nsec_t timeout, uaddr_t sigmask,
                              size_t sigset_size)
{
    if (!sigmask)
        return epoll_wait_ns(epfd, events, max, timeout);
    int err = signal_set_temporary_mask(sigmask, sigset_size);
    if (err)
        return err;
    return signal_end_temporary_mask(epoll_wait_ns(epfd, events, max, timeout));
}

long sys_epoll_pwait(int epfd, uaddr_t events, int max, int timeout, uaddr_t sigmask,
                     size_t sigset_size)
{
    return epoll_wait_masked(epfd, events, max, ms_to_ns(timeout), sigmask, sigset_size);
}

long sys_epoll_pwait2(int epfd, uaddr_t events, int max, uaddr_t timeout, uaddr_t sigmask,
                      size_t sigset_size)
{
    nsec_t ns = -1;
    if (timeout) {
        int64_t ts[2];
        if (copy_from_user(ts, timeout, sizeof(ts)))
            return -EFAULT;
        if (ts[0] < 0 || ts[1] < 0 || ts[1] >= NSEC_PER_SEC)
            return -EINVAL;
        ns = ts[0] > INT64_MAX / NSEC_PER_SEC - 1 ? -1 : ts[0] * NSEC_PER_SEC + ts[1];
    }
    return epoll_wait_masked(epfd, events, max, ns, sigmask, sigset_size);
}

long sys_epoll_create1(int flags)
{
    if ((unsigned)flags & ~OPEN_CLOEXEC)
        return -EINVAL;
    struct epoll *ep = kzalloc(sizeof(*ep));
    if (!ep)
        return -ENOMEM;
    spin_init(&ep->lock);
    list_init(&ep->ready);
    wait_queue_init(&ep->wait);
    wait_queue_init(&ep->poll_wait);
    mutex_init(&ep->mutex);
    return anon_install(&epoll_ops, ep, OPEN_RDWR | ((unsigned)flags & OPEN_CLOEXEC));
}

long sys_epoll_create(int size)
{
    return size <= 0 ? -EINVAL : sys_epoll_create1(0);
}

void epoll_init(void)
{
    mutex_init(&epoll_mutex);
    item_slab = slab_create("epoll_item", sizeof(struct item), 64);
    ASSERT(item_slab);
    file_epoll_release = release_file;
}
