/*
 * Pseudo-terminals: /dev/ptmx.
 *
 * A pty is a terminal (tty.c, named by devpts.c) whose other side is a file, too: the master. What
 * the program on the terminal writes waits in a ring until the master is read; what is written to
 * the master is typed. Both sides sleep on the terminal's wait queue.
 */
#include <asm/ioctls.h>

#include "core/mem.h"
#include "fs/vfs.h"
#include "linux/io.h"
#include "linux/process.h"
#include "linux/signals.h"
#include "linux/tty_internal.h"

#define PTY_BUFFER 8192u /* power of two */

struct pty {
    struct tty *tty;
    spinlock_t lock; /* the ring */
    uint32_t head, tail;
    uint8_t ring[PTY_BUFFER];
};

/* --- the ring --------------------------------------------------------------------------------- */

static uint32_t ring_used(const struct pty *p)
{
    return READ_ONCE(p->head) - READ_ONCE(p->tail);
}

static size_t pty_room(void *arg)
{
    return PTY_BUFFER - ring_used(arg);
}

static size_t ring_put(struct pty *p, const uint8_t *data, size_t n)
{
    spin_lock(&p->lock);
    n = MIN(n, PTY_BUFFER - ring_used(p));
    for (size_t i = 0; i < n; i++)
        p->ring[p->head++ % PTY_BUFFER] = data[i];
    spin_unlock(&p->lock);
    return n;
}

static size_t ring_get(struct pty *p, uint8_t *data, size_t n)
{
    spin_lock(&p->lock);
    n = MIN(n, ring_used(p));
    for (size_t i = 0; i < n; i++)
        data[i] = p->ring[p->tail++ % PTY_BUFFER];
    spin_unlock(&p->lock);
    return n;
}

/* The terminal's output. */
static ssize_t pty_output(void *arg, const void *data, size_t n, bool nonblock)
{
    struct pty *p = arg;
    struct tty *t = p->tty;
    size_t done = 0;
    for (;;) {
        size_t put = ring_put(p, (const uint8_t *)data + done, n - done);
        done += put;
        if (put)
            wake_up_key(&t->wait, POLL_IN | POLL_RDNORM);
        if (done == n || nonblock)
            return (ssize_t)done;
        int err = wait_event_interruptible(&t->wait, pty_room(p) || READ_ONCE(t->hung_up));
        if (READ_ONCE(t->hung_up))
            err = -EIO;
        if (err)
            return done ? (ssize_t)done : err;
    }
}

/* --- the master ------------------------------------------------------------------------------- */

/* The terminal was open and is no longer. */
static bool deserted(const struct tty *t)
{
    return READ_ONCE(t->was_open) && !atomic_load(&t->opens);
}

/* What happened to a terminal in packet mode, told once; 0: nothing. */
static uint8_t take_status(struct tty *t)
{
    spin_lock(&t->lock);
    uint8_t status = t->packet_status;
    t->packet_status = 0;
    spin_unlock(&t->lock);
    return status;
}

/* Bytes for a read of at most max: in packet mode status alone, or TIOCPKT_DATA and data. */
static size_t take_output(struct pty *p, uint8_t *buf, size_t max)
{
    struct tty *t = p->tty;
    if (likely(!READ_ONCE(t->packet)))
        return ring_get(p, buf, max);
    buf[0] = take_status(t);
    if (buf[0])
        return 1;
    if (!ring_used(p))
        return 0;
    return 1 + ring_get(p, buf + 1, max - 1);
}

static ssize_t master_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct pty *p = f->data;
    uint8_t buf[512];
    if (!u->resid)
        return 0;
    for (;;) {
        size_t n = take_output(p, buf, MIN(u->resid, sizeof(buf)));
        if (n) {
            wake_up_key(&p->tty->wait, POLL_OUT | POLL_WRNORM);
            int err = uio_write(u, buf, n);
            return err ? err : (ssize_t)n;
        }
        if (deserted(p->tty))
            return -EIO;
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(
            &p->tty->wait, ring_used(p) || READ_ONCE(p->tty->packet_status) || deserted(p->tty));
        if (err)
            return err;
    }
}

static ssize_t master_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct tty *t = ((struct pty *)f->data)->tty;
    uint8_t buf[256];
    size_t done = 0;
    int err = 0;
    while (u->resid && !err) {
        size_t n = MIN(MIN(u->resid, sizeof(buf)), tty_input_room(t));
        if (!atomic_load(&t->opens)) {
            err = -EIO;
        } else if (n) {
            err = uio_read(buf, n, u);
            if (!err) {
                tty_input(t, buf, n);
                done += n;
            }
        } else if (f->flags & OPEN_NONBLOCK) {
            err = -EAGAIN;
        } else {
            err = wait_event_interruptible(&t->wait, tty_input_room(t) || deserted(t));
        }
    }
    return done ? (ssize_t)done : err;
}

static unsigned master_poll(struct file *f, struct poll_table *pt)
{
    struct pty *p = f->data;
    poll_register(pt, &p->tty->wait);
    bool status = READ_ONCE(p->tty->packet_status);
    return (status ? POLL_PRI | POLL_IN | POLL_RDNORM : 0) |
           (ring_used(p) ? POLL_IN | POLL_RDNORM : 0) | (deserted(p->tty) ? POLL_HUP : 0) |
           (tty_input_room(p->tty) ? POLL_OUT | POLL_WRNORM : 0);
}

/* TIOCGPTPEER: the terminal without looking for its name. */
static long open_peer(struct pty *p, unsigned flags)
{
    struct file *f = devpts_open(p->tty, flags);
    if (IS_ERR(f))
        return PTR_ERR(f);
    int fd = fd_install(f, 0, flags & OPEN_CLOEXEC);
    if (fd < 0)
        file_put(f);
    return fd;
}

static long set_packet(struct tty *t, bool on)
{
    spin_lock(&t->lock);
    if (on != t->packet)
        t->packet_status = 0;
    t->packet = on;
    spin_unlock(&t->lock);
    return 0;
}

static long master_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    struct pty *p = f->data;
    int value = 0;
    switch (cmd) {
    case TIOCGPTN:
        return copy_to_user(arg, &p->tty->number, sizeof(int));
    case TIOCSPTLCK:
        if (copy_from_user(&value, arg, sizeof(value)))
            return -EFAULT;
        WRITE_ONCE(p->tty->locked, value != 0);
        return 0;
    case TIOCGPTLCK:
        value = READ_ONCE(p->tty->locked);
        return copy_to_user(arg, &value, sizeof(value));
    case TIOCPKT:
        return copy_from_user(&value, arg, sizeof(value)) ? -EFAULT : set_packet(p->tty, value);
    case TIOCGPKT:
        value = READ_ONCE(p->tty->packet);
        return copy_to_user(arg, &value, sizeof(value));
    case TIOCGPTPEER:
        return open_peer(p, (unsigned)arg);
    case TIOCSIG:
        if (arg < 1 || arg > SIG_COUNT)
            return -EINVAL;
        tty_signal(p->tty, (int)arg, 0);
        return 0;
    case FIONREAD:
        value = (int)ring_used(p);
        return copy_to_user(arg, &value, sizeof(value));
    default:
        return tty_control(p->tty, cmd, arg, true);
    }
}

static void master_release(struct file *f)
{
    struct pty *p = f->data;
    tty_hangup(p->tty); /* first: a writer that waits for room gives the output lock back */
    tty_detach(p->tty);
    devpts_remove(p->tty);
    tty_put(p->tty);
    kfree(p);
}

static const struct file_ops master_ops = {
    .name = "ptmx",
    .read = master_read,
    .write = master_write,
    .poll = master_poll,
    .ioctl = master_ioctl,
    .release = master_release,
};

static int master_open(struct vnode *v, struct file *f)
{
    (void)v;
    struct pty *p = kzalloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    spin_init(&p->lock);
    p->tty = tty_create(pty_output, p);
    if (!p->tty) {
        kfree(p);
        return -ENOMEM;
    }
    p->tty->locked = true;
    p->tty->room = pty_room;
    p->tty->size = (struct winsize){0};
    int err = devpts_add(p->tty, current_cred()->fsuid);
    if (err) {
        tty_put(p->tty);
        kfree(p);
        return err;
    }
    f->ops = &master_ops;
    f->data = p;
    return 0;
}

void pty_init(void)
{
    int err = device_register("ptmx", 5ull << 32 | 2, 0666, &master_ops, master_open);
    if (!err)
        err = devpts_mount();
    if (err)
        klog(LOG_ERROR, "no pseudo-terminals: error %d", -err);
}
