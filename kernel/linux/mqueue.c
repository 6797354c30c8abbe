/*
 * POSIX message queues: mq_overview(7). A queue has a name in a name space of its own and is used
 * through descriptors; a message waits by priority, then by age.
 */
#include <linux/mqueue.h>

#include "core/mem.h"
#include "linux/anon.h"
#include "linux/clock.h"
#include "linux/proc.h"
#include "linux/signals.h"
#include "linux/syscall.h"

#define QUEUES_MAX 256
#define PRIORITY_MAX 32768u
/* For users, and for those with CAP_SYS_RESOURCE. */
#define MESSAGES_MAX 10
#define MESSAGE_SIZE_MAX 8192
#define MESSAGES_HARD_MAX 65536
#define MESSAGE_SIZE_HARD_MAX (1 << 20)
#define SI_MESGQ_N (-3)
#define SIGEV_SIGNAL_N 0
#define SIGEV_NONE_N 1

struct message {
    struct list link;
    unsigned priority;
    size_t size;
    char text[];
};

struct mqueue {
    struct list link; /* on `queues` while it has a name; under names_lock */
    refcount_t refs;  /* the name's, and one per file */
    uint32_t mode, uid, gid;
    struct mutex lock; /* everything below */
    struct list messages;
    long count, max_count;
    size_t max_size;
    int receivers;  /* that sleep */
    int notify_pid; /* whom the next message to an empty queue is told; 0: nobody */
    int notify_signal;
    uint64_t notify_value;
    struct wait_queue wait;
    char name[];
};

static struct list queues = LIST_INIT(queues);
static int queue_count;
static struct mutex names_lock;

void mqueue_init(void)
{
    mutex_init(&names_lock);
}

static void queue_put(struct mqueue *q)
{
    if (!ref_put(&q->refs))
        return;
    struct message *m, *tmp;
    list_for_each_safe (m, tmp, &q->messages, link)
        kfree(m);
    kfree(q);
}

/* --- descriptors ------------------------------------------------------------------------------ */

/* A text about the queue; messages have calls of their own. */
static ssize_t queue_read(struct file *f, struct uio *u, uint64_t *pos)
{
    struct mqueue *q = f->data;
    struct message *m;
    size_t bytes = 0;
    char text[80];
    mutex_lock(&q->lock);
    list_for_each (m, &q->messages, link)
        bytes += m->size;
    int len = snprintf(text, sizeof(text), "QSIZE:%-10lu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
                       bytes, q->notify_pid && !q->notify_signal ? SIGEV_NONE_N : SIGEV_SIGNAL_N,
                       q->notify_pid ? q->notify_signal : 0, q->notify_pid);
    mutex_unlock(&q->lock);
    if (*pos >= (uint64_t)len)
        return 0;
    size_t n = MIN(u->resid, (size_t)len - *pos);
    int err = uio_write(u, text + *pos, n);
    *pos += err ? 0 : n;
    return err ? err : (ssize_t)n;
}

static int64_t queue_seek(struct file *f, int64_t offset, int whence)
{
    int64_t pos = whence == 1 /* SEEK_CUR */ ? (int64_t)f->pos + offset : offset;
    if (whence > 1 || pos < 0)
        return -EINVAL;
    f->pos = (uint64_t)pos;
    return pos;
}

static unsigned queue_poll(struct file *f, struct poll_table *pt)
{
    struct mqueue *q = f->data;
    poll_register(pt, &q->wait);
    long count = READ_ONCE(q->count);
    return (count ? POLL_IN | POLL_RDNORM : 0) |
           (count < q->max_count ? POLL_OUT | POLL_WRNORM : 0);
}

/* Closing takes back what the process asked to be told. */
static void queue_closed(struct file *f, void *owner)
{
    struct mqueue *q = f->data;
    (void)owner;
    mutex_lock(&q->lock);
    if (q->notify_pid == current_process()->pid)
        q->notify_pid = 0;
    mutex_unlock(&q->lock);
}

static void queue_release(struct file *f)
{
    queue_put(f->data);
}

static void queue_describe(struct file *f, char *buf, size_t size)
{
    snprintf(buf, size, "/dev/mqueue/%s", ((struct mqueue *)f->data)->name);
}

static const struct file_ops queue_ops = {
    .name = "mqueue",
    .mode = MODE_REG | 0600,
    .read = queue_read,
    .seek = queue_seek,
    .poll = queue_poll,
    .closed = queue_closed,
    .release = queue_release,
    .describe = queue_describe,
};

/* The file of a queue, held until fd_drop. -EBADF; with `access` also if it is not open so. */
static int hold_queue(int fd, bool (*access)(const struct file *), struct fd_hold *h)
{
    *h = fd_hold(fd);
    if (!h->file)
        return -EBADF;
    if (h->file->ops == &queue_ops && (!access || access(h->file)))
        return 0;
    fd_drop(*h);
    return -EBADF;
}

/* --- names ------------------------------------------------------------------------------------ */

static int get_name(uaddr_t uname, char *name)
{
    ssize_t len = strncpy_from_user(name, uname, VFS_NAME_MAX + 1);
    if (len < 0)
        return (int)len;
    if (len == 0)
        return -ENOENT;
    return strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") ? -EACCES : 0;
}

static struct mqueue *find(const char *name)
{
    struct mqueue *q, *found = NULL;
    list_for_each (q, &queues, link) {
        if (!strcmp(q->name, name))
            found = q;
    }
    return found;
}

static int check_access(const struct mqueue *q, int flags)
{
    const struct cred *c = current_cred();
    unsigned mode = (unsigned)flags & OPEN_ACCMODE, shift = 0;
    unsigned want = mode == OPEN_RDONLY ? 4 : mode == OPEN_WRONLY ? 2 : 6;
    if (c->fsuid == q->uid)
        shift = 6;
    else if (c->fsgid == q->gid)
        shift = 3;
    bool granted = !(want & ~(q->mode >> shift)) || (c->caps_effective & CAP_DAC_OVERRIDE_BIT);
    return granted ? 0 : -EACCES;
}

static int check_attributes(const struct mq_attr *a)
{
    bool privileged = capable(24 /* CAP_SYS_RESOURCE */);
    if (a->mq_maxmsg < 1 || a->mq_msgsize < 1 ||
        a->mq_maxmsg > (privileged ? MESSAGES_HARD_MAX : MESSAGES_MAX) ||
        a->mq_msgsize > (privileged ? MESSAGE_SIZE_HARD_MAX : MESSAGE_SIZE_MAX))
        return -EINVAL;
    return 0;
}

/* A new queue with the name's reference, or ERR_PTR. */
static struct mqueue *create(const char *name, unsigned mode, const struct mq_attr *a)
{
    int err = check_attributes(a);
    if (err)
        return ERR_PTR(err);
    if (queue_count >= QUEUES_MAX && !capable(24 /* CAP_SYS_RESOURCE */))
        return ERR_PTR(-ENOSPC);
    struct mqueue *q = kzalloc(sizeof(*q) + strlen(name) + 1);
    if (!q)
        return ERR_PTR(-ENOMEM);
    ref_init(&q->refs, 1);
    q->mode = mode & 0777 & ~current_process()->fs.umask;
    q->uid = current_cred()->fsuid;
    q->gid = current_cred()->fsgid;
    mutex_init(&q->lock);
    list_init(&q->messages);
    wait_queue_init(&q->wait);
    q->max_count = a->mq_maxmsg;
    q->max_size = (size_t)a->mq_msgsize;
    str_copy(q->name, name, strlen(name) + 1);
    list_push_back(&queues, &q->link);
    queue_count++;
    return q;
}

/* With names_lock held. Referenced for the new file. */
static struct mqueue *open_or_create(const char *name, int flags, unsigned mode,
                                     const struct mq_attr *a)
{
    struct mqueue *q = find(name);
    int err = 0;
    if (!q)
        q = flags & (int)OPEN_CREAT ? create(name, mode, a) : ERR_PTR(-ENOENT);
    else if ((flags & (int)OPEN_CREAT) && (flags & (int)OPEN_EXCL))
        err = -EEXIST;
    else
        err = check_access(q, flags);
    if (err)
        return ERR_PTR(err);
    if (!IS_ERR(q))
        ref_get(&q->refs);
    return q;
}

long sys_mq_open(uaddr_t uname, int flags, unsigned mode, uaddr_t uattr)
{
    char name[VFS_NAME_MAX + 1];
    struct mq_attr attr = {.mq_maxmsg = MESSAGES_MAX, .mq_msgsize = MESSAGE_SIZE_MAX};
    if (uattr && copy_from_user(&attr, uattr, sizeof(attr)))
        return -EFAULT;
    int err = get_name(uname, name);
    if (err)
        return err;
    if (((unsigned)flags & OPEN_ACCMODE) == OPEN_ACCMODE)
        return -EINVAL;
    mutex_lock(&names_lock);
    struct mqueue *q = open_or_create(name, flags, mode, &attr);
    mutex_unlock(&names_lock);
    if (IS_ERR(q))
        return PTR_ERR(q);
    return anon_install(&queue_ops, q,
                        ((unsigned)flags & (OPEN_ACCMODE | OPEN_NONBLOCK)) | OPEN_CLOEXEC);
}

long sys_mq_unlink(uaddr_t uname)
{
    char name[VFS_NAME_MAX + 1];
    int err = get_name(uname, name);
    if (err)
        return err;
    mutex_lock(&names_lock);
    struct mqueue *q = find(name);
    if (!q)
        err = -ENOENT;
    else if (current_cred()->fsuid != q->uid && !capable(3 /* CAP_FOWNER */))
        err = -EPERM; /* the name space is like a sticky directory */
    if (!err) {
        list_remove(&q->link);
        queue_count--;
    }
    mutex_unlock(&names_lock);
    if (!err)
        queue_put(q);
    return err;
}

/* --- messages --------------------------------------------------------------------------------- */

/* Sleeps until `ready`, with q->lock given back meanwhile: -EAGAIN, -ETIMEDOUT, -ERESTARTSYS. */
static int wait_until(struct mqueue *q, const struct file *f, bool (*ready)(const struct mqueue *),
                      nsec_t deadline)
{
    while (!ready(q)) {
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        mutex_unlock(&q->lock);
        int err = wait_event_timeout(&q->wait, ready(q), deadline);
        mutex_lock(&q->lock);
        if (err && !ready(q))
            return err;
    }
    return 0;
}

static bool has_room(const struct mqueue *q)
{
    return READ_ONCE(q->count) < q->max_count;
}

static bool has_message(const struct mqueue *q)
{
    return READ_ONCE(q->count) > 0;
}

/* Behind those of its priority. */
static void insert(struct mqueue *q, struct message *m)
{
    struct message *other;
    struct list *at = &q->messages;
    list_for_each (other, &q->messages, link) {
        if (other->priority < m->priority) {
            at = &other->link;
            break;
        }
    }
    list_push_back(at, &m->link); /* before `at` */
    WRITE_ONCE(q->count, q->count + 1);
}

/* A message came to an empty queue that nobody reads: tells who asked for it, once. */
static void notify(struct mqueue *q)
{
    int pid = q->notify_pid;
    if (!pid)
        return;
    q->notify_pid = 0;
    struct process *p = q->notify_signal ? process_find(pid) : NULL;
    if (!p)
        return;
    struct siginfo_k info = {.code = SI_MESGQ_N,
                             .pid = current_process()->pid,
                             .uid = current_cred()->uid,
                             .addr = q->notify_value};
    signal_send_process(p, q->notify_signal, &info);
    process_put(p);
}

/* An absolute time of the wall clock as a monotonic one. */
static int get_deadline(uaddr_t timeout, nsec_t *deadline)
{
    nsec_t t;
    *deadline = NSEC_NEVER;
    if (!timeout)
        return 0;
    int err = get_timespec(timeout, &t);
    if (!err && t != NSEC_NEVER)
        *deadline = time_after(time_now(), t - time_realtime());
    return err;
}

static struct message *message_from_user(uaddr_t buf, size_t size, unsigned priority)
{
    struct message *m = kmalloc(sizeof(*m) + size);
    if (!m)
        return ERR_PTR(-ENOMEM);
    m->priority = priority;
    m->size = size;
    if (copy_from_user(m->text, buf, size)) {
        kfree(m);
        return ERR_PTR(-EFAULT);
    }
    return m;
}

static long send(struct file *f, uaddr_t buf, size_t size, unsigned priority, nsec_t deadline)
{
    struct mqueue *q = f->data;
    if (size > q->max_size)
        return -EMSGSIZE;
    struct message *m = message_from_user(buf, size, priority);
    if (IS_ERR(m))
        return PTR_ERR(m);
    mutex_lock(&q->lock);
    int err = wait_until(q, f, has_room, deadline);
    if (!err) {
        insert(q, m);
        if (q->count == 1 && !q->receivers)
            notify(q);
    }
    mutex_unlock(&q->lock);
    if (err)
        kfree(m);
    else
        wake_up_key(&q->wait, POLL_IN | POLL_RDNORM);
    return err;
}

long sys_mq_timedsend(int fd, uaddr_t buf, size_t size, unsigned priority, uaddr_t timeout)
{
    nsec_t deadline;
    struct fd_hold h;
    int err = get_deadline(timeout, &deadline);
    if (err)
        return err;
    if (priority >= PRIORITY_MAX)
        return -EINVAL;
    err = hold_queue(fd, file_writable, &h);
    if (err)
        return err;
    long res = send(h.file, buf, size, priority, deadline);
    fd_drop(h);
    return res;
}

static struct message *receive(struct file *f, size_t size, nsec_t deadline)
{
    struct mqueue *q = f->data;
    struct message *m = NULL;
    if (size < q->max_size)
        return ERR_PTR(-EMSGSIZE);
    mutex_lock(&q->lock);
    q->receivers++;
    int err = wait_until(q, f, has_message, deadline);
    q->receivers--;
    if (!err) {
        m = list_first(&q->messages, struct message, link);
        list_remove(&m->link);
        WRITE_ONCE(q->count, q->count - 1);
    }
    mutex_unlock(&q->lock);
    if (err)
        return ERR_PTR(err);
    wake_up_key(&q->wait, POLL_OUT | POLL_WRNORM);
    return m;
}

long sys_mq_timedreceive(int fd, uaddr_t buf, size_t size, uaddr_t priority, uaddr_t timeout)
{
    nsec_t deadline;
    struct fd_hold h;
    int err = get_deadline(timeout, &deadline);
    if (!err)
        err = hold_queue(fd, file_readable, &h);
    if (err)
        return err;
    struct message *m = receive(h.file, size, deadline);
    fd_drop(h);
    if (IS_ERR(m))
        return PTR_ERR(m);
    long res = (long)m->size;
    if (copy_to_user(buf, m->text, m->size) ||
        (priority && copy_to_user(priority, &m->priority, sizeof(m->priority))))
        res = -EFAULT;
    kfree(m);
    return res;
}

/* --- notification and attributes -------------------------------------------------------------- */

struct sigevent_k {
    uint64_t value;
    int32_t signo, notify;
    char pad[64 - 16];
};

long sys_mq_notify(int fd, uaddr_t event)
{
    struct sigevent_k ev = {.notify = SIGEV_NONE_N};
    struct fd_hold h;
    int pid = current_process()->pid;
    if (event && copy_from_user(&ev, event, sizeof(ev)))
        return -EFAULT;
    /* SIGEV_THREAD is glibc's, over a netlink socket that is not there. */
    if (ev.notify != SIGEV_NONE_N && ev.notify != SIGEV_SIGNAL_N)
        return -EINVAL;
    if (ev.notify == SIGEV_SIGNAL_N && (ev.signo < 1 || ev.signo > SIG_COUNT))
        return -EINVAL;
    int err = hold_queue(fd, NULL, &h);
    if (err)
        return err;
    struct mqueue *q = h.file->data;
    mutex_lock(&q->lock);
    if (!event) {
        q->notify_pid = q->notify_pid == pid ? 0 : q->notify_pid;
    } else if (q->notify_pid) {
        err = -EBUSY;
    } else {
        q->notify_pid = pid;
        q->notify_signal = ev.notify == SIGEV_SIGNAL_N ? ev.signo : 0;
        q->notify_value = ev.value;
    }
    mutex_unlock(&q->lock);
    fd_drop(h);
    return err;
}

long sys_mq_getsetattr(int fd, uaddr_t unew, uaddr_t uold)
{
    struct mq_attr attr;
    struct fd_hold h;
    if (unew && copy_from_user(&attr, unew, sizeof(attr)))
        return -EFAULT;
    if (unew && ((uint64_t)attr.mq_flags & ~(uint64_t)OPEN_NONBLOCK))
        return -EINVAL;
    int err = hold_queue(fd, NULL, &h);
    if (err)
        return err;
    struct mqueue *q = h.file->data;
    struct mq_attr old = {.mq_flags = h.file->flags & OPEN_NONBLOCK,
                          .mq_maxmsg = q->max_count,
                          .mq_msgsize = (long)q->max_size,
                          .mq_curmsgs = READ_ONCE(q->count)};
    if (unew)
        h.file->flags = (h.file->flags & ~OPEN_NONBLOCK) | (unsigned)attr.mq_flags;
    fd_drop(h);
    return uold && copy_to_user(uold, &old, sizeof(old)) ? -EFAULT : 0;
}
