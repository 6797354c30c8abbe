/*
 * inotify: a queue of what happened to watched files. An instance's watches are on a list, in the
 * order of their numbers; all of it is under notify_lock, the queue under the instance's own lock.
 */
#include "core/mem.h"
#include <asm/ioctls.h>

#include "fs/notify.h"
#include "linux/anon.h"
#include "linux/path.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define EVENTS_MAX 16384u
#define INSTANCES_MAX 128
#define WATCHES_MAX 65536

#define IN_ALL_EVENTS 0xfffu
#define IN_Q_OVERFLOW 0x4000u
#define IN_IGNORED 0x8000u
#define IN_ONLYDIR 0x1000000u
#define IN_DONT_FOLLOW 0x2000000u
#define IN_EXCL_UNLINK 0x4000000u
#define IN_MASK_CREATE 0x10000000u
#define IN_MASK_ADD 0x20000000u
#define IN_ONESHOT 0x80000000u
#define IN_FLAGS                                                                                   \
    (IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT |    \
     NOTIFY_DIR)
#define IN_KEPT (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT)

struct inotify_event_k {
    int wd;
    uint32_t mask, cookie, len;
};

struct queued {
    struct list link;
    struct inotify_event_k event; /* len: of the name with its padding */
    char name[];
};

struct inotify {
    spinlock_t lock;
    struct list queue; /* struct queued */
    unsigned count;
    size_t bytes;
    struct wait_queue wait;
    struct list watches; /* struct watch.link */
    int last_wd;
};

struct watch {
    struct vnode_watch base;
    struct list link;
    struct inotify *in;
    int wd;
    uint32_t mask;
};

static atomic_int instances, watches;
static const struct file_ops inotify_ops;

/* --- the queue -------------------------------------------------------------------------------- */

static struct queued *event_alloc(int wd, uint32_t mask, uint32_t cookie, const char *name,
                                  size_t len)
{
    size_t room = len ? ROUND_UP(len + 1, sizeof(struct inotify_event_k)) : 0;
    struct queued *q = kzalloc(sizeof(*q) + room);
    if (!q)
        return NULL;
    q->event = (struct inotify_event_k){wd, mask, cookie, (uint32_t)room};
    if (len)
        memcpy(q->name, name, len);
    return q;
}

static bool same_event(const struct queued *a, const struct queued *b)
{
    return a->event.wd == b->event.wd && a->event.mask == b->event.mask &&
           a->event.cookie == b->event.cookie && a->event.len == b->event.len &&
           !memcmp(a->name, b->name, a->event.len);
}

/* Takes over q, or drops it if the last one says the same. In a full queue the place behind the
 * last says that there were more. */
static void enqueue(struct inotify *in, struct queued *q)
{
    spin_lock(&in->lock);
    bool full = in->count >= EVENTS_MAX;
    if (full)
        q->event = (struct inotify_event_k){.wd = -1, .mask = IN_Q_OVERFLOW};
    bool repeats =
        !list_empty(&in->queue) && same_event(list_entry(in->queue.prev, struct queued, link), q);
    if (!repeats) {
        list_push_back(&in->queue, &q->link);
        in->count++;
        in->bytes += sizeof(q->event) + q->event.len;
    }
    spin_unlock(&in->lock);
    if (repeats)
        kfree(q);
    else
        wake_up_key(&in->wait, POLL_IN | POLL_RDNORM);
}

static void queue_event(struct inotify *in, int wd, uint32_t mask, uint32_t cookie,
                        const char *name, size_t len)
{
    struct queued *q = event_alloc(wd, mask, cookie, name, len);
    if (q)
        enqueue(in, q);
    else
        klog(LOG_WARN, "inotify: an event is lost: no memory");
}

/* The first event if it fits, taken out of the queue. -EINVAL if it does not; NULL: there is none.
 */
static struct queued *dequeue(struct inotify *in, size_t room)
{
    struct queued *q = NULL;
    spin_lock(&in->lock);
    if (!list_empty(&in->queue)) {
        q = list_first(&in->queue, struct queued, link);
        size_t size = sizeof(q->event) + q->event.len;
        if (size > room) {
            q = ERR_PTR(-EINVAL);
        } else {
            list_remove(&q->link);
            in->count--;
            in->bytes -= size;
        }
    }
    spin_unlock(&in->lock);
    return q;
}

static ssize_t inotify_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct inotify *in = f->data;
    ssize_t done = 0;
    for (;;) {
        struct queued *q = dequeue(in, u->resid);
        if (IS_ERR(q))
            return done ? done : PTR_ERR(q);
        if (q) {
            size_t size = sizeof(q->event) + q->event.len;
            int err = uio_write(u, &q->event, sizeof(q->event));
            if (!err)
                err = uio_write(u, q->name, q->event.len);
            kfree(q);
            if (err)
                return err;
            done += (ssize_t)size;
            continue;
        }
        if (done || f->flags & OPEN_NONBLOCK)
            return done ? done : -EAGAIN;
        int err = wait_event_interruptible(&in->wait, READ_ONCE(in->count));
        if (err)
            return err;
    }
}

static unsigned inotify_poll(struct file *f, struct poll_table *pt)
{
    struct inotify *in = f->data;
    poll_register(pt, &in->wait);
    return READ_ONCE(in->count) ? POLL_IN | POLL_RDNORM : 0;
}

static long inotify_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    struct inotify *in = f->data;
    if (cmd != FIONREAD)
        return -ENOTTY;
    int bytes = (int)READ_ONCE(in->bytes);
    return copy_to_user(arg, &bytes, sizeof(bytes));
}

/* --- watches ---------------------------------------------------------------------------------- */

static bool watch_event(struct vnode_watch *base, const struct notify_event *e)
{
    struct watch *w = container_of(base, struct watch, base);
    uint32_t wanted = w->mask & e->mask & IN_ALL_EVENTS;
    if (!wanted && !(e->mask & NOTIFY_UNMOUNT))
        return false;
    if (e->unlinked && w->mask & IN_EXCL_UNLINK)
        return false;
    queue_event(w->in, w->wd, e->mask, e->cookie, e->name, e->len);
    return w->mask & IN_ONESHOT;
}

static void watch_ended(struct vnode_watch *base)
{
    struct watch *w = container_of(base, struct watch, base);
    queue_event(w->in, w->wd, IN_IGNORED, 0, NULL, 0);
    list_remove(&w->link);
    atomic_fetch_sub(&watches, 1);
    kfree(w);
}

/* With notify_lock held. */
static struct watch *find_watch(struct inotify *in, struct vnode *v)
{
    struct vnode_watch *b;
    list_for_each (b, &v->watches, link) {
        struct watch *w = container_of(b, struct watch, base);
        if (b->event == watch_event && w->in == in)
            return w;
    }
    return NULL;
}

/* Puts w on the file unless the instance watches it already, whose mask changes then. The number
 * of the watch; *used: w is. */
static int add_or_change(struct inotify *in, struct vnode *v, uint32_t mask, struct watch *w,
                         bool *used)
{
    struct watch *old = find_watch(in, v);
    *used = false;
    if (old) {
        if (mask & IN_MASK_CREATE)
            return -EEXIST;
        old->mask = (mask & IN_MASK_ADD ? old->mask : 0) | (mask & IN_KEPT);
        return old->wd;
    }
    int err = notify_attach(v, &w->base);
    if (err)
        return err;
    *used = true;
    w->wd = ++in->last_wd;
    list_push_back(&in->watches, &w->link);
    return w->wd;
}

static int watch_vnode(struct inotify *in, struct vnode *v, uint32_t mask)
{
    struct watch *w = kzalloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->base.event = watch_event;
    w->base.ended = watch_ended;
    w->in = in;
    w->mask = mask & IN_KEPT;
    if (atomic_fetch_add(&watches, 1) >= WATCHES_MAX) {
        atomic_fetch_sub(&watches, 1);
        kfree(w);
        return -ENOSPC;
    }
    bool used;
    notify_lock();
    int wd = add_or_change(in, v, mask, w, &used);
    notify_unlock();
    if (!used) {
        atomic_fetch_sub(&watches, 1);
        kfree(w);
    }
    return wd;
}

static void inotify_release(struct file *f)
{
    struct inotify *in = f->data;
    notify_lock();
    while (!list_empty(&in->watches)) {
        struct watch *w = list_first(&in->watches, struct watch, link);
        notify_detach(&w->base);
        watch_ended(&w->base);
    }
    notify_unlock();
    struct queued *q;
    while ((q = list_pop_front(&in->queue, struct queued, link)) != NULL)
        kfree(q);
    kfree(in);
    atomic_fetch_sub(&instances, 1);
}

static void inotify_describe(struct file *f, char *buf, size_t size)
{
    (void)f;
    snprintf(buf, size, "anon_inode:inotify");
}

static void inotify_fdinfo(struct file *f, struct text_buf *b)
{
    struct inotify *in = f->data;
    struct watch *w;
    notify_lock();
    list_for_each (w, &in->watches, link)
        text_printf(b, "inotify wd:%x ino:%llx sdev:%llx mask:%x ignored_mask:0 \n", w->wd,
                    (unsigned long long)w->base.vnode->attr.ino,
                    (unsigned long long)w->base.vnode->attr.dev, w->mask);
    notify_unlock();
}

static const struct file_ops inotify_ops = {
    .name = "inotify",
    .read = inotify_read,
    .poll = inotify_poll,
    .ioctl = inotify_ioctl,
    .release = inotify_release,
    .describe = inotify_describe,
    .fdinfo = inotify_fdinfo,
};

/* --- system calls ----------------------------------------------------------------------------- */

long sys_inotify_init1(int flags)
{
    if ((unsigned)flags & ~(OPEN_CLOEXEC | OPEN_NONBLOCK))
        return -EINVAL;
    if (atomic_fetch_add(&instances, 1) >= INSTANCES_MAX) {
        atomic_fetch_sub(&instances, 1);
        return -EMFILE;
    }
    struct inotify *in = kzalloc(sizeof(*in));
    if (!in) {
        atomic_fetch_sub(&instances, 1);
        return -ENOMEM;
    }
    spin_init(&in->lock);
    list_init(&in->queue);
    list_init(&in->watches);
    wait_queue_init(&in->wait);
    return anon_install(&inotify_ops, in, OPEN_RDONLY | (unsigned)flags);
}

long sys_inotify_init(void)
{
    return sys_inotify_init1(0);
}

static long add_watch(struct inotify *in, uaddr_t name, uint32_t mask)
{
    struct at a;
    struct path p;
    long r = at_lookup(&a, AT_FDCWD_N, name, mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW_N : 0, &p);
    if (r)
        return r;
    struct vnode *v = path_vnode(&p);
    if (mask & IN_ONLYDIR && vnode_type(v) != MODE_DIR)
        r = -ENOTDIR;
    if (!r)
        r = vnode_access(v, a.ctx->cred, ACCESS_R);
    if (!r)
        r = watch_vnode(in, v, mask);
    path_put(&p);
    at_end(&a);
    return r;
}

long sys_inotify_add_watch(int fd, uaddr_t name, unsigned mask)
{
    if (!(mask & (IN_ALL_EVENTS | NOTIFY_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_FLAGS)) ||
        (mask & IN_MASK_ADD && mask & IN_MASK_CREATE))
        return -EINVAL;
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long r = h.file->ops == &inotify_ops ? add_watch(h.file->data, name, mask) : -EINVAL;
    fd_drop(h);
    return r;
}

static long remove_watch(struct inotify *in, int wd)
{
    struct watch *w;
    long r = -EINVAL;
    notify_lock();
    list_for_each (w, &in->watches, link) {
        if (w->wd != wd)
            continue;
        notify_detach(&w->base);
        watch_ended(&w->base);
        r = 0;
        break;
    }
    notify_unlock();
    return r;
}

long sys_inotify_rm_watch(int fd, int wd)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    long r = h.file->ops == &inotify_ops ? remove_watch(h.file->data, wd) : -EINVAL;
    fd_drop(h);
    return r;
}
