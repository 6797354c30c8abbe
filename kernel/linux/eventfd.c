/* eventfd: a counter as a file; and the maker of nameless files. */
#include "core/mem.h"
#include "linux/anon.h"
#include "linux/process.h"
#include "linux/syscall.h"

int anon_install(const struct file_ops *ops, void *data, unsigned flags)
{
    struct file *f = file_alloc(ops, data, flags & ~OPEN_CLOEXEC);
    if (IS_ERR(f)) {
        ops->release(&(struct file){.data = data});
        return (int)PTR_ERR(f);
    }
    int fd = fd_install(f, 0, flags & OPEN_CLOEXEC);
    if (fd < 0)
        file_put(f);
    return fd;
}

#define EFD_SEMAPHORE_FLAG 1u
#define COUNT_MAX (UINT64_MAX - 1)

struct eventfd {
    spinlock_t lock;
    uint64_t count;
    bool semaphore;
    struct wait_queue wait;
};

static bool take_count(struct eventfd *e, uint64_t *value)
{
    spin_lock(&e->lock);
    *value = e->semaphore && e->count ? 1 : e->count;
    e->count -= *value;
    spin_unlock(&e->lock);
    return *value;
}

static ssize_t eventfd_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct eventfd *e = f->data;
    uint64_t value;
    if (u->resid < sizeof(value))
        return -EINVAL;
    while (!take_count(e, &value)) {
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&e->wait, READ_ONCE(e->count));
        if (err)
            return err;
    }
    wake_up_key(&e->wait, POLL_OUT);
    int err = uio_write(u, &value, sizeof(value));
    return err ? err : (ssize_t)sizeof(value);
}

static bool add_count(struct eventfd *e, uint64_t value)
{
    spin_lock(&e->lock);
    bool fits = COUNT_MAX - e->count >= value;
    if (fits)
        e->count += value;
    spin_unlock(&e->lock);
    return fits;
}

static ssize_t eventfd_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct eventfd *e = f->data;
    uint64_t value;
    if (u->resid < sizeof(value))
        return -EINVAL;
    int err = uio_read(&value, sizeof(value), u);
    if (err)
        return err;
    if (value == UINT64_MAX)
        return -EINVAL;
    while (!add_count(e, value)) {
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        err = wait_event_interruptible(&e->wait, COUNT_MAX - READ_ONCE(e->count) >= value);
        if (err)
            return err;
    }
    wake_up_key(&e->wait, POLL_IN);
    return sizeof(value);
}

static unsigned eventfd_poll(struct file *f, struct poll_table *pt)
{
    struct eventfd *e = f->data;
    poll_register(pt, &e->wait);
    uint64_t count = READ_ONCE(e->count);
    return (count ? POLL_IN : 0) | (count < COUNT_MAX ? POLL_OUT : 0);
}

static void eventfd_describe(struct file *f, char *buf, size_t size)
{
    (void)f;
    snprintf(buf, size, "anon_inode:[eventfd]");
}

static void eventfd_fdinfo(struct file *f, struct text_buf *b)
{
    struct eventfd *e = f->data;
    text_printf(b, "eventfd-count: %16llx\n", (unsigned long long)READ_ONCE(e->count));
}

static void eventfd_release(struct file *f)
{
    kfree(f->data);
}

static const struct file_ops eventfd_ops = {
    .name = "eventfd",
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .release = eventfd_release,
    .describe = eventfd_describe,
    .fdinfo = eventfd_fdinfo,
};

int eventfd_add(int fd, uint64_t value)
{
    struct fd_hold h = fd_hold(fd);
    if (!h.file)
        return -EBADF;
    int err = h.file->ops == &eventfd_ops ? 0 : -EINVAL;
    if (!err && value && add_count(h.file->data, value))
        wake_up_key(&((struct eventfd *)h.file->data)->wait, POLL_IN);
    fd_drop(h);
    return err;
}

long sys_eventfd2(unsigned count, int flags)
{
    if ((unsigned)flags & ~(EFD_SEMAPHORE_FLAG | OPEN_CLOEXEC | OPEN_NONBLOCK))
        return -EINVAL;
    struct eventfd *e = kzalloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    spin_init(&e->lock);
    wait_queue_init(&e->wait);
    e->count = count;
    e->semaphore = (unsigned)flags & EFD_SEMAPHORE_FLAG;
    return anon_install(&eventfd_ops, e,
                        OPEN_RDWR | ((unsigned)flags & (OPEN_CLOEXEC | OPEN_NONBLOCK)));
}

long sys_eventfd(unsigned count)
{
    return sys_eventfd2(count, 0);
}
