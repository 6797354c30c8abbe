/*
 * Native asynchronous I/O, io_submit(2). A request is done by the task that submits it, as Linux
 * does it for files that are not opened with O_DIRECT: what is asynchronous is that its outcome
 * waits, in its context, until it is asked for or announced by an eventfd.
 *
 * A context is known by the address of a page that is mapped for it: libaio looks there for a ring
 * that both sides know, finds none, and makes the system call.
 */
#include "core/mem.h"
#include "linux/aio.h"
#include "linux/anon.h"
#include "linux/clock.h"
#include "linux/fd.h"
#include "linux/iov.h"
#include "linux/mm.h"
#include "linux/rw.h"
#include "linux/signals.h"
#include "linux/syscall.h"
/* Behind ours: it brings limits of file systems that fs/vfs.h has, too. */
#include <linux/aio_abi.h>

#define OUTCOMES_MAX 65536u /* of all contexts together: /proc/sys/fs/aio-max-nr */

struct aio_context {
    refcount_t refs;
    struct list link; /* mm->aio_contexts, with `gone` under contexts_lock */
    bool gone;
    uaddr_t id;
    struct mutex lock;   /* everything below */
    uint32_t size;       /* outcomes that it has room for */
    uint32_t taken;      /* of them by requests that are under way or not asked for */
    uint64_t head, tail; /* outcomes handed out, outcomes put */
    struct wait_queue wait;
    struct io_event events[];
};

/* Protects the lists of all address spaces. */
static spinlock_t contexts_lock = SPINLOCK_INIT;
static atomic_uint outcomes_max; /* that all contexts together have room for */

/* --- contexts --------------------------------------------------------------------------------- */

static void context_put(struct aio_context *c)
{
    if (!ref_put(&c->refs))
        return;
    atomic_fetch_sub(&outcomes_max, c->size);
    kfree(c);
}

/* Referenced, or NULL. */
static struct aio_context *context_find(uaddr_t id)
{
    struct aio_context *c, *found = NULL;
    spin_lock(&contexts_lock);
    list_for_each (c, &current_process()->mm->aio_contexts, link) {
        if (c->id == id)
            found = c;
    }
    if (found)
        ref_get(&found->refs);
    spin_unlock(&contexts_lock);
    return found;
}

/* NULL: too many, or out of memory. */
static struct aio_context *context_create(uint32_t size)
{
    if (atomic_fetch_add(&outcomes_max, size) + size > OUTCOMES_MAX) {
        atomic_fetch_sub(&outcomes_max, size);
        return NULL;
    }
    struct aio_context *c = kzalloc(sizeof(*c) + size * sizeof(c->events[0]));
    if (!c) {
        atomic_fetch_sub(&outcomes_max, size);
        return NULL;
    }
    ref_init(&c->refs, 1);
    mutex_init(&c->lock);
    wait_queue_init(&c->wait);
    c->size = size;
    return c;
}

/* Takes it off its list, whose reference goes to the caller; false: somebody else did. Who waits
 * in it goes away. */
static bool context_end(struct aio_context *c)
{
    spin_lock(&contexts_lock);
    bool first = !c->gone;
    if (first)
        list_remove(&c->link);
    WRITE_ONCE(c->gone, true);
    spin_unlock(&contexts_lock);
    wake_up(&c->wait);
    return first;
}

void aio_release(struct mm *mm)
{
    struct aio_context *c, *tmp;
    list_for_each_safe (c, tmp, &mm->aio_contexts, link) {
        context_end(c);
        context_put(c);
    }
}

long sys_io_setup(unsigned size, uaddr_t uid)
{
    struct mm *mm = current_process()->mm;
    uaddr_t id;
    if (copy_from_user(&id, uid, sizeof(id)))
        return -EFAULT;
    if (id || !size || size > 0x10000000 / sizeof(struct io_event))
        return -EINVAL;
    struct aio_context *c = size <= OUTCOMES_MAX ? context_create(size) : NULL;
    if (!c)
        return -EAGAIN;
    long at = mm_map(mm, &(struct map_request){.len = PAGE_SIZE, .prot = PROT_R | PROT_W});
    int err = at < 0 ? (int)at : 0;
    c->id = (uaddr_t)at;
    if (!err && copy_to_user(uid, &c->id, sizeof(c->id))) {
        mm_unmap(mm, c->id, c->id + PAGE_SIZE);
        err = -EFAULT;
    }
    if (err) {
        context_put(c);
        return err;
    }
    spin_lock(&contexts_lock);
    list_push_back(&mm->aio_contexts, &c->link);
    spin_unlock(&contexts_lock);
    return 0;
}

long sys_io_destroy(uaddr_t id)
{
    struct mm *mm = current_process()->mm;
    struct aio_context *c = context_find(id);
    if (!c)
        return -EINVAL;
    bool first = context_end(c);
    context_put(c);
    if (!first)
        return -EINVAL;
    context_put(c); /* the list's */
    mm_unmap(mm, id, id + PAGE_SIZE);
    return 0;
}

/* --- requests --------------------------------------------------------------------------------- */

static bool is_sync(const struct iocb *r)
{
    return r->aio_lio_opcode == IOCB_CMD_FSYNC || r->aio_lio_opcode == IOCB_CMD_FDSYNC;
}
static bool is_write(const struct iocb *r)
{
    return r->aio_lio_opcode == IOCB_CMD_PWRITE || r->aio_lio_opcode == IOCB_CMD_PWRITEV;
}
static bool is_vector(const struct iocb *r)
{
    return r->aio_lio_opcode == IOCB_CMD_PREADV || r->aio_lio_opcode == IOCB_CMD_PWRITEV;
}
static bool is_known(const struct iocb *r)
{
    return is_sync(r) || is_write(r) || r->aio_lio_opcode == IOCB_CMD_PREAD ||
           r->aio_lio_opcode == IOCB_CMD_PREADV;
}

/* What is wrong with a request, whatever its file: io_submit's own error. 0: nothing. */
static int check(const struct iocb *r)
{
    if (r->aio_reserved2 || (int64_t)r->aio_nbytes < 0)
        return -EINVAL;
    if (r->aio_rw_flags)
        return -EOPNOTSUPP;
    if (!is_known(r) || (is_sync(r) && (r->aio_buf || r->aio_offset || r->aio_nbytes)))
        return -EINVAL;
    if (!is_sync(r) && !is_vector(r) && !user_range_ok(r->aio_buf, r->aio_nbytes))
        return -EFAULT;
    return 0;
}

/* The same, of what its file cannot do. */
static int check_file(const struct iocb *r, struct file *f)
{
    if (is_sync(r))
        return f->ops->fsync ? 0 : -EINVAL;
    if (!(is_write(r) ? file_writable(f) : file_readable(f)))
        return -EBADF;
    if (is_write(r) ? !f->ops->write : !f->ops->read)
        return -EINVAL;
    return f->ops->seek && r->aio_offset < 0 ? -EINVAL : 0;
}

/* Does it. What the system call of the same name gives; a stream has no position. */
static ssize_t perform(const struct iocb *r, struct file *f)
{
    if (is_sync(r))
        return f->ops->fsync(f, r->aio_lio_opcode == IOCB_CMD_FDSYNC);
    struct iov v;
    uint64_t pos = (uint64_t)r->aio_offset;
    ssize_t n = is_vector(r) ? iov_import(&v, r->aio_buf, r->aio_nbytes)
                             : iov_single(&v, r->aio_buf, r->aio_nbytes);
    if (n)
        return n;
    if (is_write(r))
        n = f->ops->seek ? file_pwrite(f, &v.uio, &pos) : file_write(f, &v.uio);
    else
        n = f->ops->seek ? file_pread(f, &v.uio, &pos) : file_read(f, &v.uio);
    iov_release(&v);
    return n == -ERESTARTSYS ? -EINTR : n;
}

static bool take_room(struct aio_context *c)
{
    mutex_lock(&c->lock);
    bool room = c->taken < c->size && !READ_ONCE(c->gone);
    c->taken += room;
    mutex_unlock(&c->lock);
    return room;
}

static void complete(struct aio_context *c, const struct io_event *e)
{
    mutex_lock(&c->lock);
    c->events[c->tail % c->size] = *e;
    WRITE_ONCE(c->tail, c->tail + 1);
    mutex_unlock(&c->lock);
    wake_up(&c->wait);
}

/* The request that was read from `at`, of file f. */
static int submit_for(struct aio_context *c, const struct iocb *r, uaddr_t at, struct file *f)
{
    bool tells = r->aio_flags & IOCB_FLAG_RESFD;
    int err = check_file(r, f);
    if (!err && tells)
        err = eventfd_add((int)r->aio_resfd, 0); /* whether it is one */
    if (err)
        return err;
    uint32_t key = 0;
    if (copy_to_user(at + offsetof(struct iocb, aio_key), &key, sizeof(key)))
        return -EFAULT;
    if (!take_room(c))
        return -EAGAIN;
    struct io_event e = {.data = r->aio_data, .obj = at, .res = perform(r, f)};
    complete(c, &e);
    if (tells)
        eventfd_add((int)r->aio_resfd, 1);
    return 0;
}

static int submit(struct aio_context *c, uaddr_t at)
{
    struct iocb r;
    if (copy_from_user(&r, at, sizeof(r)))
        return -EFAULT;
    int err = check(&r);
    if (err)
        return err;
    struct fd_hold h = fd_hold((int)r.aio_fildes);
    if (!h.file)
        return -EBADF;
    err = submit_for(c, &r, at, h.file);
    fd_drop(h);
    return err;
}

long sys_io_submit(uaddr_t id, long count, uaddr_t requests)
{
    if (count < 0)
        return -EINVAL;
    struct aio_context *c = context_find(id);
    if (!c)
        return -EINVAL;
    long done = 0;
    int err = 0;
    for (; done < count && !err && !READ_ONCE(c->gone); done += !err) {
        uaddr_t at;
        if (copy_from_user(&at, requests + (uaddr_t)done * sizeof(at), sizeof(at)))
            err = -EFAULT;
        else
            err = submit(c, at);
    }
    context_put(c);
    return done ? done : err;
}

/* Requests are done before anybody could cancel them. */
long sys_io_cancel(uaddr_t id, uaddr_t request, uaddr_t result)
{
    (void)result;
    uint32_t key;
    if (copy_from_user(&key, request + offsetof(struct iocb, aio_key), sizeof(key)))
        return -EFAULT;
    struct aio_context *c = context_find(id);
    if (c)
        context_put(c);
    return -EINVAL;
}

/* --- outcomes --------------------------------------------------------------------------------- */

/* Hands out at most `max` outcomes. How many, or -EFAULT. */
static long reap(struct aio_context *c, uaddr_t to, long max)
{
    long n = 0;
    int err = 0;
    mutex_lock(&c->lock);
    while (n < max && c->head != c->tail && !err) {
        const struct io_event *e = &c->events[c->head % c->size];
        if (copy_to_user(to + (uaddr_t)n * sizeof(*e), e, sizeof(*e))) {
            err = -EFAULT;
        } else {
            WRITE_ONCE(c->head, c->head + 1);
            c->taken--;
            n++;
        }
    }
    mutex_unlock(&c->lock);
    return n ? n : err;
}

static bool has_outcome(const struct aio_context *c)
{
    return READ_ONCE(c->head) != READ_ONCE(c->tail) || READ_ONCE(c->gone);
}

static long get_events(uaddr_t id, long min, long max, uaddr_t to, uaddr_t timeout)
{
    nsec_t deadline;
    int err = get_timeout(timeout, &deadline);
    if (err)
        return err;
    struct aio_context *c = context_find(id);
    if (!c)
        return -EINVAL;
    long got = 0;
    err = min < 0 || max < min ? -EINVAL : 0;
    while (!err) {
        long n = reap(c, to + (uaddr_t)got * sizeof(struct io_event), max - got);
        got += n > 0 ? n : 0;
        err = n < 0 ? (int)n : READ_ONCE(c->gone) ? -EINVAL : 0;
        if (err || got >= min)
            break;
        err = wait_event_timeout(&c->wait, has_outcome(c), deadline);
    }
    context_put(c);
    if (got || err == -ETIMEDOUT)
        return got;
    return err == -ERESTARTSYS ? -EINTR : err;
}

long sys_io_getevents(uaddr_t id, long min, long max, uaddr_t events, uaddr_t timeout)
{
    return get_events(id, min, max, events, timeout);
}

long sys_io_pgetevents(uaddr_t id, long min, long max, uaddr_t events, uaddr_t timeout,
                       uaddr_t usigmask)
{
    struct {
        uaddr_t mask;
        size_t size;
    } arg = {0, 0};
    if (usigmask && copy_from_user(&arg, usigmask, sizeof(arg)))
        return -EFAULT;
    if (!arg.mask)
        return get_events(id, min, max, events, timeout);
    int err = signal_set_temporary_mask(arg.mask, arg.size);
    if (err)
        return err;
    return signal_end_temporary_mask(get_events(id, min, max, events, timeout));
}
