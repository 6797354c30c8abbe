/*
 * Pipes and FIFOs. A pipe is a ring of pages addressed by two byte counters that only grow; pages
 * are taken when the first byte comes and given back when the last one has been read. A page may
 * end before it is full: what follows it, or is it, is a packet (O_DIRECT), which has a page of its
 * own.
 */
#include "linux/pipe.h"
#include <asm/ioctls.h>

#include "core/mem.h"
#include "linux/anon.h"
#include "linux/process.h"
#include "linux/rw.h"
#include "linux/syscall.h"

#define PIPE_PAGES 16u
#define PIPE_PAGES_MAX 256u   /* /proc/sys/fs/pipe-max-size: 1 MiB */
#define PIPE_ATOMIC PAGE_SIZE /* PIPE_BUF */

struct slot {
    struct page *page; /* NULL where nothing is */
    uint16_t end;      /* bytes that it ends after, before the next one begins; 0: not yet */
    bool packet;
};

struct pipe {
    struct mutex lock;
    struct slot *ring;
    uint32_t slots;      /* power of two */
    uint64_t head, tail; /* where the next byte is written, is read; equal when there is none */
    size_t bytes;        /* between them, without what pages that ended early leave out */
    size_t used, room;   /* as of the last critical section; read without the lock */
    int readers, writers;
    refcount_t refs;                     /* open files */
    uint32_t reader_opens, writer_opens; /* FIFOs: an open waits for the other side's next one */
    struct wait_queue read_wait, write_wait;
};

static inline size_t pipe_size(const struct pipe *p)
{
    return (size_t)p->slots * PAGE_SIZE;
}
static inline size_t pipe_used(const struct pipe *p)
{
    return READ_ONCE(p->used);
}
static inline size_t pipe_room(const struct pipe *p)
{
    return READ_ONCE(p->room);
}

/* With the lock held, after head, tail or slots changed. Room is counted in whole pages at the
 * reading end, since the writer must not get the page that is still being read. */
static void publish(struct pipe *p)
{
    WRITE_ONCE(p->used, p->bytes);
    WRITE_ONCE(p->room, pipe_size(p) - (size_t)(p->head - ROUND_DOWN(p->tail, PAGE_SIZE)));
}

static inline struct slot *slot_of(struct pipe *p, uint64_t pos)
{
    return &p->ring[pos >> PAGE_SHIFT & (p->slots - 1)];
}

/* A page's bytes begin at multiples of the page size of the counters. */
static uint8_t *bytes_at(struct pipe *p, uint64_t pos)
{
    return (uint8_t *)page_addr(slot_of(p, pos)->page) + pos % PAGE_SIZE;
}

/* Bytes that can be read from the first page; 0: the pipe is empty. */
static size_t readable(struct pipe *p)
{
    size_t end = slot_of(p, p->tail)->end;
    return MIN((end ? end : PAGE_SIZE) - p->tail % PAGE_SIZE, (size_t)(p->head - p->tail));
}

/* With one reference. */
static struct pipe *pipe_alloc(void)
{
    struct pipe *p = kzalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->ring = kzalloc(PIPE_PAGES * sizeof(*p->ring));
    if (!p->ring) {
        kfree(p);
        return NULL;
    }
    p->slots = PIPE_PAGES;
    ref_init(&p->refs, 1);
    publish(p);
    mutex_init(&p->lock);
    wait_queue_init(&p->read_wait);
    wait_queue_init(&p->write_wait);
    return p;
}

static void pipe_free(struct pipe *p)
{
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->ring[i].page)
            page_put(p->ring[i].page);
    kfree(p->ring);
    kfree(p);
}

/* --- reading ---------------------------------------------------------------------------------- */

static void drop_page(struct pipe *p, uint64_t pos)
{
    struct slot *s = slot_of(p, pos);
    page_put(s->page);
    *s = (struct slot){0};
}

/* n bytes from one page were read. */
static void advance_tail(struct pipe *p, size_t n)
{
    uint64_t at = p->tail;
    size_t end = slot_of(p, at)->end;
    p->tail += n;
    p->bytes -= n;
    bool ended = end && p->tail == ROUND_DOWN(at, PAGE_SIZE) + end;
    if (!n || (p->tail % PAGE_SIZE && p->tail != p->head && !ended))
        return;
    drop_page(p, at);
    if (ended)
        p->tail = ROUND_UP(p->tail, PAGE_SIZE);
    if (p->tail == p->head) /* the next byte begins a page: an empty pipe has all its room */
        p->head = p->tail = ROUND_UP(p->tail, PAGE_SIZE);
}

/* Moves what there is to the caller, with the lock held. */
static ssize_t take_bytes(struct pipe *p, struct uio *u)
{
    ssize_t done = 0;
    int err = 0;
    bool packet = false;
    while (!err && !packet && u->resid && p->tail != p->head) {
        size_t there = readable(p), before = u->resid;
        packet = slot_of(p, p->tail)->packet;
        err = uio_write(u, bytes_at(p, p->tail), MIN(there, u->resid));
        size_t n = before - u->resid;
        advance_tail(p, packet && !err ? there : n); /* the rest of a packet is lost */
        done += (ssize_t)n;
    }
    publish(p);
    return done ? done : err;
}

static ssize_t pipe_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct pipe *p = f->data;
    if (!u->resid)
        return 0;
    for (;;) {
        mutex_lock(&p->lock);
        ssize_t n = take_bytes(p, u);
        bool eof = !p->writers;
        mutex_unlock(&p->lock);
        if (n > 0)
            wake_up_key(&p->write_wait, POLL_OUT | POLL_WRNORM);
        if (n || eof)
            return n;
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err = wait_event_interruptible(&p->read_wait, pipe_used(p) || !READ_ONCE(p->writers));
        if (err)
            return err;
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The page that is being filled ends here. */
static void end_page(struct pipe *p)
{
    slot_of(p, p->head)->end = (uint16_t)(p->head % PAGE_SIZE);
    p->head = ROUND_UP(p->head, PAGE_SIZE);
}

/* Each page of the data as a packet, while there are free pages. */
static ssize_t put_packets(struct pipe *p, struct uio *u)
{
    ssize_t done = 0;
    int err = 0;
    if (p->head % PAGE_SIZE)
        end_page(p);
    publish(p);
    while (!err && u->resid && pipe_room(p)) {
        struct slot *s = slot_of(p, p->head);
        size_t n = MIN(u->resid, (size_t)PAGE_SIZE);
        struct page *page = page_alloc(0, 0);
        err = page ? uio_read(page_addr(page), n, u) : -ENOMEM;
        if (err) {
            if (page)
                page_put(page);
            break;
        }
        *s = (struct slot){page, (uint16_t)n, true};
        p->head += PAGE_SIZE;
        p->bytes += n;
        done += (ssize_t)n;
        publish(p);
    }
    return done ? done : err;
}

static ssize_t put_bytes(struct pipe *p, struct uio *u, size_t room)
{
    ssize_t done = 0;
    int err = 0;
    while (!err && u->resid && room) {
        struct slot *s = slot_of(p, p->head);
        if (!s->page && !(s->page = page_alloc(0, 0))) {
            err = -ENOMEM;
            break;
        }
        size_t n = MIN(MIN(PAGE_SIZE - p->head % PAGE_SIZE, room), u->resid);
        size_t before = u->resid;
        err = uio_read(bytes_at(p, p->head), n, u);
        n = before - u->resid;
        p->head += n;
        p->bytes += n;
        room -= n;
        done += (ssize_t)n;
        if (!n && p->head % PAGE_SIZE == 0)
            drop_page(p, p->head);
    }
    publish(p);
    return done ? done : err;
}

/* Bytes that must fit at once: up to PIPE_BUF is written in one piece. */
static inline size_t needed_room(size_t resid, bool packets)
{
    return packets ? PAGE_SIZE : resid <= PIPE_ATOMIC ? resid : 1;
}

static ssize_t pipe_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct pipe *p = f->data;
    ssize_t done = 0;
    bool packets = f->flags & OPEN_DIRECT;
    size_t needed = needed_room(u->resid, packets);
    if (!u->resid)
        return 0;
    for (;;) {
        mutex_lock(&p->lock);
        bool broken = !p->readers;
        ssize_t n = 0;
        if (!broken && pipe_room(p) >= needed)
            n = packets ? put_packets(p, u) : put_bytes(p, u, pipe_room(p));
        mutex_unlock(&p->lock);
        if (broken) {
            ssize_t err = broken_pipe(); /* SIGPIPE in any case */
            return done ? done : err;
        }
        if (n > 0) {
            done += n;
            wake_up_key(&p->read_wait, POLL_IN | POLL_RDNORM);
        }
        if (n < 0 || !u->resid)
            return done ? done : n;
        if (f->flags & OPEN_NONBLOCK)
            return done ? done : -EAGAIN;
        needed = done && !packets ? 1 : needed;
        int err = wait_event_interruptible(&p->write_wait,
                                           pipe_room(p) >= needed || !READ_ONCE(p->readers));
        if (err)
            return done ? done : err;
    }
}

/* --- the rest of the file operations ---------------------------------------------------------- */

static unsigned pipe_poll(struct file *f, struct poll_table *pt)
{
    struct pipe *p = f->data;
    unsigned events = 0;
    if (file_readable(f)) {
        poll_register(pt, &p->read_wait);
        if (pipe_used(p))
            events |= POLL_IN | POLL_RDNORM;
        /* A FIFO that never had a writer is not hung up. */
        if (!READ_ONCE(p->writers) && (!f->vnode || p->writer_opens))
            events |= POLL_HUP;
    }
    if (file_writable(f)) {
        poll_register(pt, &p->write_wait);
        if (pipe_room(p) >= PIPE_ATOMIC)
            events |= POLL_OUT | POLL_WRNORM;
        if (!READ_ONCE(p->readers))
            events |= POLL_ERR;
    }
    return events;
}

static long pipe_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    struct pipe *p = f->data;
    if (cmd != FIONREAD)
        return -ENOTTY;
    int used = (int)pipe_used(p);
    return copy_to_user(arg, &used, sizeof(used));
}

static void pipe_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "pipe:[%lu]", (unsigned long)anonymous_ino(f));
}

/* One more end. */
static void pipe_enter(struct pipe *p, const struct file *f)
{
    mutex_lock(&p->lock);
    if (file_readable(f)) {
        p->readers++;
        p->reader_opens++;
    }
    if (file_writable(f)) {
        p->writers++;
        p->writer_opens++;
    }
    mutex_unlock(&p->lock);
    wake_up(&p->read_wait);
    wake_up(&p->write_wait);
}

/* One end goes; true if it was the last. Both may go at once: neither is gone before it has woken.
 */
static bool pipe_leave(struct pipe *p, struct file *f)
{
    mutex_lock(&p->lock);
    if (file_readable(f))
        p->readers--;
    if (file_writable(f))
        p->writers--;
    mutex_unlock(&p->lock);
    wake_up_key(&p->read_wait, POLL_IN | POLL_RDNORM | POLL_HUP);
    wake_up_key(&p->write_wait, POLL_OUT | POLL_WRNORM | POLL_ERR);
    return ref_put(&p->refs);
}

static void pipe_release(struct file *f)
{
    struct pipe *p = f->data;
    if (pipe_leave(p, f))
        pipe_free(p);
}

static int pipe_reopen(struct file *f, unsigned flags, struct file **out)
{
    struct pipe *p = f->data;
    struct file *another = file_alloc(f->ops, p, flags);
    if (IS_ERR(another))
        return (int)PTR_ERR(another);
    ref_get(&p->refs);
    pipe_enter(p, another);
    *out = another;
    return 0;
}

static const struct file_ops pipe_file_ops = {
    .name = "pipe",
    .mode = MODE_FIFO | 0600,
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .reopen = pipe_reopen,
    .release = pipe_release,
    .describe = pipe_describe,
};

/* --- FIFOs ------------------------------------------------------------------------------------ */

/* Guards vnode->socket of FIFOs, and thereby the life of their pipes. */
static struct mutex fifo_lock;

static void fifo_leave(struct vnode *v, struct file *f, struct pipe *p)
{
    mutex_lock(&fifo_lock);
    if (pipe_leave(p, f)) {
        v->socket = NULL;
        pipe_free(p);
    }
    mutex_unlock(&fifo_lock);
}

static void fifo_release(struct file *f)
{
    fifo_leave(f->vnode, f, f->data);
}

static const struct file_ops fifo_file_ops = {
    .name = "fifo",
    .read = pipe_read,
    .write = pipe_write,
    .poll = pipe_poll,
    .ioctl = pipe_ioctl,
    .release = fifo_release,
};

static int fifo_wait_peer(struct pipe *p, struct file *f, uint32_t readers_seen,
                          uint32_t writers_seen)
{
    bool nonblock = f->flags & OPEN_NONBLOCK;
    switch (f->flags & OPEN_ACCMODE) {
    case OPEN_RDONLY:
        if (nonblock)
            return 0;
        return wait_event_interruptible(
            &p->read_wait, READ_ONCE(p->writers) || READ_ONCE(p->writer_opens) != writers_seen);
    case OPEN_WRONLY:
        if (nonblock)
            return READ_ONCE(p->readers) ? 0 : -ENXIO;
        return wait_event_interruptible(
            &p->write_wait, READ_ONCE(p->readers) || READ_ONCE(p->reader_opens) != readers_seen);
    default:
        return 0;
    }
}

static int fifo_open(struct vnode *v, struct file *f)
{
    mutex_lock(&fifo_lock);
    struct pipe *p = v->socket;
    if (p)
        ref_get(&p->refs);
    else
        p = v->socket = pipe_alloc();
    if (!p) {
        mutex_unlock(&fifo_lock);
        return -ENOMEM;
    }
    uint32_t readers_seen = p->reader_opens, writers_seen = p->writer_opens;
    pipe_enter(p, f);
    mutex_unlock(&fifo_lock);
    int err = fifo_wait_peer(p, f, readers_seen, writers_seen);
    if (err) {
        fifo_leave(v, f, p);
        return err;
    }
    f->ops = &fifo_file_ops;
    f->data = p;
    return 0;
}

void pipe_init(void)
{
    mutex_init(&fifo_lock);
    vfs_fifo_open = fifo_open;
}

/* --- sizes and tee ---------------------------------------------------------------------------- */

bool file_is_pipe(const struct file *f)
{
    return f->ops == &pipe_file_ops || f->ops == &fifo_file_ops;
}

long pipe_get_size(struct file *f)
{
    return file_is_pipe(f) ? (long)pipe_size(f->data) : -EBADF;
}

long pipe_set_size(struct file *f, uint64_t size)
{
    if (!file_is_pipe(f))
        return -EBADF;
    if (size > (uint64_t)PIPE_PAGES_MAX * PAGE_SIZE)
        return size > INT32_MAX ? -EINVAL : -EPERM;
    uint32_t slots = 1;
    while ((uint64_t)slots * PAGE_SIZE < size)
        slots *= 2;
    struct slot *ring = kzalloc(slots * sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    struct pipe *p = f->data;
    mutex_lock(&p->lock);
    uint64_t first = p->tail >> PAGE_SHIFT, last = (p->head + PAGE_SIZE - 1) >> PAGE_SHIFT;
    if (last - first > slots) {
        mutex_unlock(&p->lock);
        kfree(ring);
        return -EBUSY;
    }
    for (uint64_t i = first; i < last; i++)
        ring[i & (slots - 1)] = p->ring[i & (p->slots - 1)];
    kfree(p->ring);
    p->ring = ring;
    p->slots = slots;
    publish(p);
    mutex_unlock(&p->lock);
    wake_up_key(&p->write_wait, POLL_OUT | POLL_WRNORM);
    return (long)pipe_size(p);
}

int pipe_wait_data(struct file *f, bool nonblock)
{
    struct pipe *p = f->data;
    if (pipe_used(p))
        return 1;
    if (!READ_ONCE(p->writers))
        return 0;
    if (nonblock || f->flags & OPEN_NONBLOCK)
        return -EAGAIN;
    int err = wait_event_interruptible(&p->read_wait, pipe_used(p) || !READ_ONCE(p->writers));
    return err ? err : pipe_used(p) != 0;
}

ssize_t pipe_tee(struct file *in, struct file *out, size_t len, bool nonblock)
{
    struct pipe *p = in->data;
    int ready = pipe_wait_data(in, nonblock);
    if (ready <= 0)
        return ready;
    uint8_t *copy = kmalloc(PAGE_SIZE);
    if (!copy)
        return -ENOMEM;
    mutex_lock(&p->lock);
    size_t n = MIN(len, readable(p));
    if (n)
        memcpy(copy, bytes_at(p, p->tail), n);
    mutex_unlock(&p->lock);
    struct file to = {.data = out->data, .flags = out->flags | (nonblock ? OPEN_NONBLOCK : 0)};
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, copy, n);
    ssize_t r = n ? pipe_write(&to, &u, NULL) : 0;
    kfree(copy);
    return r;
}

ssize_t pipe_wait_room(struct file *f, bool nonblock)
{
    struct pipe *p = f->data;
    while (!pipe_room(p) && READ_ONCE(p->readers)) {
        if (nonblock)
            return -EAGAIN;
        int err = wait_event_interruptible(&p->write_wait, pipe_room(p) || !READ_ONCE(p->readers));
        if (err)
            return err;
    }
    return READ_ONCE(p->readers) ? (ssize_t)pipe_room(p) : broken_pipe();
}

ssize_t pipe_write_all(struct file *f, void *data, size_t n)
{
    struct file blocking = {.data = f->data, .flags = f->flags & ~OPEN_NONBLOCK};
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, data, n);
    return pipe_write(&blocking, &u, NULL);
}

ssize_t pipe_drain(struct file *f, size_t len, bool nonblock,
                   ssize_t (*sink)(void *arg, struct uio *u, uint64_t *pos), void *arg,
                   uint64_t *pos)
{
    struct pipe *p = f->data;
    int ready = pipe_wait_data(f, nonblock);
    if (ready <= 0)
        return ready;
    ssize_t done = 0, r = 0;
    mutex_lock(&p->lock);
    while (len && p->tail != p->head) {
        size_t n = MIN(len, readable(p));
        struct iovec_k seg;
        struct uio u = uio_kernel(&seg, bytes_at(p, p->tail), n);
        r = sink(arg, &u, pos);
        if (r <= 0)
            break;
        advance_tail(p, (size_t)r);
        done += r;
        len -= (size_t)r;
        if ((size_t)r < n)
            break;
    }
    publish(p);
    mutex_unlock(&p->lock);
    if (done)
        wake_up_key(&p->write_wait, POLL_OUT | POLL_WRNORM);
    return done ? done : r;
}

/* --- system calls ----------------------------------------------------------------------------- */

int pipe_create(unsigned flags, struct file **read_end, struct file **write_end)
{
    struct pipe *p = pipe_alloc();
    if (!p)
        return -ENOMEM;
    struct file *r = file_alloc(&pipe_file_ops, p, (flags & ~OPEN_DIRECT) | OPEN_RDONLY);
    if (IS_ERR(r)) {
        pipe_free(p);
        return (int)PTR_ERR(r);
    }
    p->readers = 1;
    struct file *w = file_alloc(&pipe_file_ops, p, flags | OPEN_WRONLY);
    if (IS_ERR(w)) {
        file_put(r);
        return (int)PTR_ERR(w);
    }
    ref_get(&p->refs);
    p->writers = 1;
    *read_end = r;
    *write_end = w;
    return 0;
}

long sys_pipe2(uaddr_t fds, int flags)
{
    if ((unsigned)flags & ~(OPEN_CLOEXEC | OPEN_NONBLOCK | OPEN_DIRECT))
        return -EINVAL;
    struct file *r, *w;
    int err = pipe_create((unsigned)flags & (OPEN_NONBLOCK | OPEN_DIRECT), &r, &w);
    if (err)
        return err;
    int fd[2];
    bool cloexec = (unsigned)flags & OPEN_CLOEXEC;
    fd[0] = fd_reserve(0, cloexec);
    fd[1] = fd[0] < 0 ? fd[0] : fd_reserve(0, cloexec);
    err = fd[1] < 0 ? fd[1] : copy_to_user(fds, fd, sizeof(fd));
    if (!err) {
        fd_commit(fd[0], r);
        fd_commit(fd[1], w);
        return 0;
    }
    if (fd[1] >= 0)
        fd_unreserve(fd[1]);
    if (fd[0] >= 0)
        fd_unreserve(fd[0]);
    file_put(r);
    file_put(w);
    return err;
}

long sys_pipe(uaddr_t fds)
{
    return sys_pipe2(fds, 0);
}
