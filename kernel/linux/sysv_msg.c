/* System V message queues. */
#include <linux/msg.h>

#include "core/mem.h"
#include "linux/sysv_ipc.h"
#include "linux/syscall.h"

struct message {
    struct list link;
    int64_t type;
    size_t size;
    char text[];
};

struct queue {
    struct ipc_object ipc;
    struct list messages;
    size_t bytes, count, max_bytes;
    int last_sender, last_receiver;
    int64_t send_time, receive_time, change_time;
    struct wait_queue wait; /* senders and receivers: something changed */
    uint64_t changes;
};

static struct ipc_set queues = {.objects = LIST_INIT(queues.objects)};

static struct queue *queue_of(struct ipc_object *o)
{
    return container_of(o, struct queue, ipc);
}

static void queue_free(struct ipc_object *o)
{
    struct queue *q = queue_of(o);
    struct message *m, *tmp;
    list_for_each_safe (m, tmp, &q->messages, link)
        kfree(m);
    kfree(q);
}

static struct ipc_object *queue_create(const struct ipc_request *r)
{
    struct queue *q = kzalloc(sizeof(*q));
    (void)r;
    if (!q)
        return ERR_PTR(-ENOMEM);
    q->ipc.free = queue_free;
    list_init(&q->messages);
    wait_queue_init(&q->wait);
    q->max_bytes = MSGMNB;
    q->change_time = ipc_now();
    return &q->ipc;
}

static int queue_check(const struct ipc_object *o, const struct ipc_request *r)
{
    (void)o;
    (void)r;
    return 0;
}

long sys_msgget(int key, int flags)
{
    return ipc_get(&queues,
                   &(struct ipc_request){
                       .key = key, .flags = flags, .create = queue_create, .check = queue_check});
}

static void changed(struct queue *q)
{
    q->changes++;
    wake_up(&q->wait);
}

/* Sleeps until q changes; ipc_lock is given back meanwhile. 0, -EINTR, -EIDRM. */
static int wait_for_change(struct queue *q)
{
    uint64_t seen = q->changes;
    ref_get(&q->ipc.refs);
    mutex_unlock(&ipc_lock);
    int err = wait_event_interruptible(&q->wait, READ_ONCE(q->changes) != seen);
    mutex_lock(&ipc_lock);
    bool removed = q->ipc.removed;
    ipc_put(&q->ipc);
    return removed ? -EIDRM : err ? -EINTR : 0;
}

/* Puts m on the queue, which takes it over on success. */
static long send_locked(int id, struct message *m, int flags)
{
    struct ipc_object *o = ipc_find(&queues, id, IPC_WRITE);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct queue *q = queue_of(o);
    /* Messages without text are bounded, too. */
    while (q->bytes + m->size > q->max_bytes || q->count >= q->max_bytes) {
        int err = flags & IPC_NOWAIT ? -EAGAIN : wait_for_change(q);
        if (err)
            return err;
    }
    list_push_back(&q->messages, &m->link);
    q->bytes += m->size;
    q->count++;
    q->last_sender = current_process()->pid;
    q->send_time = ipc_now();
    changed(q);
    return 0;
}

long sys_msgsnd(int id, uaddr_t buf, size_t size, int flags)
{
    int64_t type;
    if (size > MSGMAX || id < 0)
        return -EINVAL;
    if (copy_from_user(&type, buf, sizeof(type)))
        return -EFAULT;
    if (type < 1)
        return -EINVAL;
    struct message *m = kmalloc(sizeof(*m) + size);
    if (!m)
        return -ENOMEM;
    m->type = type;
    m->size = size;
    long res = -EFAULT;
    if (!copy_from_user(m->text, buf + sizeof(type), size)) {
        mutex_lock(&ipc_lock);
        res = send_locked(id, m, flags);
        mutex_unlock(&ipc_lock);
    }
    if (res)
        kfree(m);
    return res;
}

/* The message that msgrcv(2) wants, or NULL. */
static struct message *choose(struct queue *q, int64_t type, int flags)
{
    struct message *m, *best = NULL;
    list_for_each (m, &q->messages, link) {
        bool fits = type == 0  ? true
                    : type < 0 ? m->type <= -type
                               : (m->type == type) == !(flags & MSG_EXCEPT);
        if (fits && (!best || (type < 0 && m->type < best->type)))
            best = m;
    }
    return best;
}

static struct message *receive_locked(int id, size_t size, int64_t type, int flags)
{
    struct ipc_object *o = ipc_find(&queues, id, IPC_READ);
    if (IS_ERR(o))
        return (struct message *)o;
    struct queue *q = queue_of(o);
    struct message *m;
    while (!(m = choose(q, type, flags))) {
        int err = flags & IPC_NOWAIT ? -ENOMSG : wait_for_change(q);
        if (err)
            return ERR_PTR(err);
    }
    if (m->size > size && !(flags & MSG_NOERROR))
        return ERR_PTR(-E2BIG);
    list_remove(&m->link);
    q->bytes -= m->size;
    q->count--;
    q->last_receiver = current_process()->pid;
    q->receive_time = ipc_now();
    changed(q);
    return m;
}

long sys_msgrcv(int id, uaddr_t buf, size_t size, int64_t type, int flags)
{
    if (id < 0 || size > INT64_MAX)
        return -EINVAL;
    if (flags & MSG_COPY)
        return -ENOSYS; /* as a Linux without CONFIG_CHECKPOINT_RESTORE */
    if (type == INT64_MIN)
        type = -INT64_MAX;
    mutex_lock(&ipc_lock);
    struct message *m = receive_locked(id, size, type, flags);
    mutex_unlock(&ipc_lock);
    if (IS_ERR(m))
        return PTR_ERR(m);
    long res = (long)MIN(size, m->size);
    if (copy_to_user(buf, &m->type, sizeof(m->type)) ||
        copy_to_user(buf + sizeof(m->type), m->text, (size_t)res))
        res = -EFAULT;
    kfree(m);
    return res;
}

static void stat_queue(const struct queue *q, struct msqid64_ds *out)
{
    *out = (struct msqid64_ds){
        .msg_stime = q->send_time,
        .msg_rtime = q->receive_time,
        .msg_ctime = q->change_time,
        .msg_cbytes = q->bytes,
        .msg_qnum = q->count,
        .msg_qbytes = q->max_bytes,
        .msg_lspid = q->last_sender,
        .msg_lrpid = q->last_receiver,
    };
    ipc_stat(&q->ipc, &out->msg_perm);
}

static long control_locked(int id, int cmd, struct msqid64_ds *ds)
{
    struct ipc_object *o = ipc_find_for(&queues, id, cmd, MSG_STAT, MSG_STAT_ANY);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct queue *q = queue_of(o);
    switch (cmd) {
    case IPC_STAT:
        stat_queue(q, ds);
        return 0;
    case MSG_STAT:
    case MSG_STAT_ANY:
        stat_queue(q, ds);
        return o->id;
    case IPC_SET:
        if (ds->msg_qbytes > MSGMNB && !capable(24 /* CAP_SYS_RESOURCE */))
            return -EPERM;
        ipc_change(o, &ds->msg_perm);
        q->max_bytes = ds->msg_qbytes;
        q->change_time = ipc_now();
        changed(q);
        return 0;
    default: /* IPC_RMID */
        o->removed = true;
        changed(q); /* who wakes up waits for the lock, with a reference of its own */
        ipc_remove(&queues, o);
        return 0;
    }
}

/* IPC_INFO and MSG_INFO, which puts what is in use where the other has limits of old. */
static long info(int cmd, uaddr_t buf)
{
    struct msginfo mi = {.msgmax = MSGMAX,
                         .msgmnb = MSGMNB,
                         .msgmni = IPC_OBJECTS_MAX,
                         .msgssz = MSGSSZ,
                         .msgseg = MSGSEG,
                         .msgpool = MSGPOOL,
                         .msgmap = MSGMAP,
                         .msgtql = MSGTQL};
    struct ipc_object *o;
    mutex_lock(&ipc_lock);
    if (cmd == MSG_INFO) {
        mi.msgpool = queues.count;
        mi.msgmap = mi.msgtql = 0;
        list_for_each (o, &queues.objects, link) {
            mi.msgmap += (int)queue_of(o)->count;
            mi.msgtql += (int)queue_of(o)->bytes;
        }
    }
    long highest = ipc_highest(&queues);
    mutex_unlock(&ipc_lock);
    return copy_to_user(buf, &mi, sizeof(mi)) ? -EFAULT : highest;
}

long sys_msgctl(int id, int cmd, uaddr_t buf)
{
    struct msqid64_ds ds = {0};
    bool stat = cmd == IPC_STAT || cmd == MSG_STAT || cmd == MSG_STAT_ANY;
    if (id < 0)
        return -EINVAL;
    if (cmd == IPC_INFO || cmd == MSG_INFO)
        return info(cmd, buf);
    if (!stat && cmd != IPC_SET && cmd != IPC_RMID)
        return -EINVAL;
    if (cmd == IPC_SET && copy_from_user(&ds, buf, sizeof(ds)))
        return -EFAULT;
    mutex_lock(&ipc_lock);
    long res = control_locked(id, cmd, &ds);
    mutex_unlock(&ipc_lock);
    return stat && res >= 0 && copy_to_user(buf, &ds, sizeof(ds)) ? -EFAULT : res;
}

static void show_queue(struct text_buf *b, struct ipc_object *o)
{
    struct queue *q = queue_of(o);
    text_printf(b, "%10d %10d  %4o  %10lu %10lu %5d %5d %5u %5u %5u %5u %10ld %10ld %10ld\n",
                o->key, o->id, o->mode, q->bytes, q->count, q->last_sender, q->last_receiver,
                o->uid, o->gid, o->cuid, o->cgid, (long)q->send_time, (long)q->receive_time,
                (long)q->change_time);
}

void msg_init(void)
{
    static struct ipc_table table = {
        .name = "msg",
        .heading =
            "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  "
            "cgid      stime      rtime      ctime",
        .set = &queues,
        .line = show_queue,
    };
    ipc_table_register(&table);
}
