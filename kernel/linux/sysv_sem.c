/*
 * System V semaphores. A semop(2) is done as a whole or not at all; one that cannot be done sleeps
 * until its set changes and tries again.
 */
#include <linux/sem.h>

#include "core/mem.h"
#include "linux/clock.h"
#include "linux/sysv_ipc.h"
#include "linux/syscall.h"

#define SETS_SEM_MAX 8192 /* semaphores in a set: what one allocation can hold */

struct semaphore {
    int value, last_pid;
};

struct sem_set {
    struct ipc_object ipc;
    int64_t op_time, change_time;
    struct list waiters; /* struct waiter */
    struct list undos;   /* struct undo.of_set */
    struct wait_queue wait;
    uint64_t changes;
    unsigned count;
    struct semaphore sems[];
};

/* One sleeping semop, for GETNCNT and GETZCNT. */
struct waiter {
    struct list link;
    unsigned sem;
    bool for_zero;
};

/* What a process has to give back to a set when it ends (SEM_UNDO). */
struct undo {
    struct list of_process, of_set;
    struct sem_set *set;
    struct process *process;
    int16_t adjust[];
};

static struct ipc_set sets = {.objects = LIST_INIT(sets.objects)};

static struct sem_set *set_of(struct ipc_object *o)
{
    return container_of(o, struct sem_set, ipc);
}

static void set_free(struct ipc_object *o)
{
    kfree(set_of(o));
}

static struct ipc_object *set_create(const struct ipc_request *r)
{
    if (r->size < 1 || r->size > SETS_SEM_MAX)
        return ERR_PTR(-EINVAL);
    struct sem_set *s = kzalloc(sizeof(*s) + r->size * sizeof(s->sems[0]));
    if (!s)
        return ERR_PTR(-ENOMEM);
    s->ipc.free = set_free;
    list_init(&s->waiters);
    list_init(&s->undos);
    wait_queue_init(&s->wait);
    s->count = (unsigned)r->size;
    s->change_time = ipc_now();
    return &s->ipc;
}

static int set_check(const struct ipc_object *o, const struct ipc_request *r)
{
    return r->size > container_of(o, struct sem_set, ipc)->count ? -EINVAL : 0;
}

long sys_semget(int key, int count, int flags)
{
    if (count < 0 || count > SETS_SEM_MAX)
        return -EINVAL;
    return ipc_get(&sets, &(struct ipc_request){.key = key,
                                                .flags = flags,
                                                .size = (size_t)count,
                                                .create = set_create,
                                                .check = set_check});
}

static void changed(struct sem_set *s)
{
    s->changes++;
    wake_up(&s->wait);
}

/* --- undoing ---------------------------------------------------------------------------------- */

/* The current process' record for s; NULL: out of memory. */
static struct undo *undo_of(struct sem_set *s)
{
    struct process *p = current_process();
    struct undo *u;
    list_for_each (u, &s->undos, of_set) {
        if (u->process == p)
            return u;
    }
    u = kzalloc(sizeof(*u) + s->count * sizeof(u->adjust[0]));
    if (!u)
        return NULL;
    u->set = s;
    u->process = p;
    list_push_back(&s->undos, &u->of_set);
    list_push_back(&p->sem_undos, &u->of_process);
    return u;
}

static void undo_drop(struct undo *u)
{
    list_remove(&u->of_set);
    list_remove(&u->of_process);
    kfree(u);
}

void sem_undo_all(struct process *p)
{
    struct undo *u, *tmp;
    list_for_each_safe (u, tmp, &p->sem_undos, of_process) {
        struct sem_set *s = u->set;
        for (unsigned i = 0; i < s->count; i++) {
            if (!u->adjust[i])
                continue;
            s->sems[i].value = MAX(0, MIN(s->sems[i].value + u->adjust[i], SEMVMX));
            s->sems[i].last_pid = p->pid;
        }
        undo_drop(u);
        changed(s);
    }
}

/* SETVAL and SETALL: nobody's old operations are undone. */
static void forget_undos(struct sem_set *s, unsigned first, unsigned n)
{
    struct undo *u;
    list_for_each (u, &s->undos, of_set)
        memset(&u->adjust[first], 0, n * sizeof(u->adjust[0]));
}

/* --- operations ------------------------------------------------------------------------------- */

/* Undoes the first n operations. */
static void take_back(struct sem_set *s, const struct sembuf *ops, unsigned n, struct undo *u)
{
    while (n--) {
        s->sems[ops[n].sem_num].value -= ops[n].sem_op;
        if (ops[n].sem_flg & SEM_UNDO)
            u->adjust[ops[n].sem_num] += ops[n].sem_op;
    }
}

/* One operation: 0, -ERANGE, or -EAGAIN where it has to wait. */
static int apply(struct sem_set *s, const struct sembuf *op, struct undo *u)
{
    int value = s->sems[op->sem_num].value, next = value + op->sem_op;
    if (op->sem_op == 0)
        return value ? -EAGAIN : 0;
    if (next < 0)
        return -EAGAIN;
    if (next > SEMVMX)
        return -ERANGE;
    if (op->sem_flg & SEM_UNDO) {
        int adjust = u->adjust[op->sem_num] - op->sem_op;
        if (adjust < -SEMVMX - 1 || adjust > SEMVMX)
            return -ERANGE;
        u->adjust[op->sem_num] = (int16_t)adjust;
    }
    s->sems[op->sem_num].value = next;
    return 0;
}

/* All or none. *failed: the operation that could not be done. */
static int apply_all(struct sem_set *s, const struct sembuf *ops, unsigned n, struct undo *u,
                     unsigned *failed)
{
    for (unsigned i = 0; i < n; i++) {
        int err = apply(s, &ops[i], u);
        if (err) {
            take_back(s, ops, i, u);
            *failed = i;
            return err;
        }
    }
    bool alters = false;
    for (unsigned i = 0; i < n; i++) {
        s->sems[ops[i].sem_num].last_pid = current_process()->pid;
        alters |= ops[i].sem_op != 0;
    }
    s->op_time = ipc_now();
    if (alters)
        changed(s);
    return 0;
}

/* Sleeps until s changes; ipc_lock is given back meanwhile. */
static int wait_for_change(struct sem_set *s, const struct sembuf *op, nsec_t deadline)
{
    struct waiter w = {.sem = op->sem_num, .for_zero = op->sem_op == 0};
    uint64_t seen = s->changes;
    ref_get(&s->ipc.refs);
    list_push_back(&s->waiters, &w.link);
    mutex_unlock(&ipc_lock);
    int err = wait_event_timeout(&s->wait, READ_ONCE(s->changes) != seen, deadline);
    mutex_lock(&ipc_lock);
    list_remove(&w.link);
    bool removed = s->ipc.removed;
    ipc_put(&s->ipc);
    return removed ? -EIDRM : err == -ETIMEDOUT ? -EAGAIN : err ? -EINTR : 0;
}

static long operate_locked(int id, const struct sembuf *ops, unsigned n, nsec_t deadline)
{
    bool alters = false, undoes = false;
    unsigned highest = 0, failed = 0;
    for (unsigned i = 0; i < n; i++) {
        alters |= ops[i].sem_op != 0;
        undoes |= (ops[i].sem_flg & SEM_UNDO) != 0;
        highest = MAX(highest, ops[i].sem_num);
    }
    struct ipc_object *o = ipc_find(&sets, id, alters ? IPC_WRITE : IPC_READ);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *s = set_of(o);
    if (highest >= s->count)
        return -EFBIG;
    for (;;) {
        struct undo *u = undoes ? undo_of(s) : NULL; /* it may go while we sleep */
        if (undoes && !u)
            return -ENOMEM;
        int err = apply_all(s, ops, n, u, &failed);
        if (err != -EAGAIN || (ops[failed].sem_flg & IPC_NOWAIT))
            return err;
        err = wait_for_change(s, &ops[failed], deadline);
        if (err)
            return err;
    }
}

long sys_semtimedop(int id, uaddr_t uops, unsigned n, uaddr_t timeout)
{
    nsec_t deadline;
    int err = get_timeout(timeout, &deadline);
    if (err)
        return err;
    if (n < 1 || id < 0)
        return -EINVAL;
    if (n > SEMOPM)
        return -E2BIG;
    struct sembuf *ops = kmalloc(n * sizeof(*ops));
    if (!ops)
        return -ENOMEM;
    long res = -EFAULT;
    if (!copy_from_user(ops, uops, n * sizeof(*ops))) {
        mutex_lock(&ipc_lock);
        res = operate_locked(id, ops, n, deadline);
        mutex_unlock(&ipc_lock);
    }
    kfree(ops);
    return res;
}

long sys_semop(int id, uaddr_t uops, unsigned n)
{
    return sys_semtimedop(id, uops, n, 0);
}

/* --- semctl ----------------------------------------------------------------------------------- */

static int count_waiters(const struct sem_set *s, unsigned sem, bool for_zero)
{
    struct waiter *w;
    int n = 0;
    list_for_each (w, &s->waiters, link)
        n += w->sem == sem && w->for_zero == for_zero;
    return n;
}

static long get_one(struct sem_set *s, unsigned sem, int cmd)
{
    switch (cmd) {
    case GETVAL:
        return s->sems[sem].value;
    case GETPID:
        return s->sems[sem].last_pid;
    case GETNCNT:
        return count_waiters(s, sem, false);
    default: /* GETZCNT */
        return count_waiters(s, sem, true);
    }
}

static long set_one(struct sem_set *s, unsigned sem, int value)
{
    if (value < 0 || value > SEMVMX)
        return -ERANGE;
    s->sems[sem].value = value;
    s->sems[sem].last_pid = current_process()->pid;
    s->change_time = ipc_now();
    forget_undos(s, sem, 1);
    changed(s);
    return 0;
}

/* GETALL and SETALL: values are unsigned shorts. ipc_lock is held over the copy: another process
 * cannot make it last. */
static long transfer_all(struct sem_set *s, uaddr_t array, bool set)
{
    size_t bytes = s->count * sizeof(uint16_t);
    uint16_t *values = kmalloc(bytes);
    if (!values)
        return -ENOMEM;
    long res = 0;
    for (unsigned i = 0; i < s->count; i++)
        values[i] = (uint16_t)s->sems[i].value;
    if (set ? copy_from_user(values, array, bytes) : copy_to_user(array, values, bytes))
        res = -EFAULT;
    for (unsigned i = 0; set && !res && i < s->count; i++)
        res = values[i] > SEMVMX ? -ERANGE : 0;
    for (unsigned i = 0; set && !res && i < s->count; i++) {
        s->sems[i].value = values[i];
        s->sems[i].last_pid = current_process()->pid;
    }
    if (set && !res) {
        s->change_time = ipc_now();
        forget_undos(s, 0, s->count);
        changed(s);
    }
    kfree(values);
    return res;
}

static void remove_set(struct sem_set *s)
{
    struct undo *u, *tmp;
    list_for_each_safe (u, tmp, &s->undos, of_set)
        undo_drop(u);
    s->ipc.removed = true;
    changed(s); /* who wakes up waits for the lock, with a reference of its own */
    ipc_remove(&sets, &s->ipc);
}

static void stat_set(const struct sem_set *s, struct semid64_ds *out)
{
    *out = (struct semid64_ds){
        .sem_otime = s->op_time, .sem_ctime = s->change_time, .sem_nsems = s->count};
    ipc_stat(&s->ipc, &out->sem_perm);
}

static long control_set(int id, int cmd, struct semid64_ds *ds)
{
    struct ipc_object *o = ipc_find_for(&sets, id, cmd, SEM_STAT, SEM_STAT_ANY);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *s = set_of(o);
    switch (cmd) {
    case IPC_STAT:
        stat_set(s, ds);
        return 0;
    case SEM_STAT:
    case SEM_STAT_ANY:
        stat_set(s, ds);
        return o->id;
    case IPC_SET:
        ipc_change(o, &ds->sem_perm);
        s->change_time = ipc_now();
        return 0;
    default: /* IPC_RMID */
        remove_set(s);
        return 0;
    }
}

/* IPC_INFO and SEM_INFO, which puts what is in use where the other has limits of old. */
static long info(int cmd, uaddr_t buf)
{
    struct seminfo si = {.semmap = SEMMNS,
                         .semmni = IPC_OBJECTS_MAX,
                         .semmns = IPC_OBJECTS_MAX * SETS_SEM_MAX,
                         .semmnu = SEMMNU,
                         .semmsl = SETS_SEM_MAX,
                         .semopm = SEMOPM,
                         .semume = SEMUME,
                         .semusz = SEMUSZ,
                         .semvmx = SEMVMX,
                         .semaem = SEMAEM};
    struct ipc_object *o;
    mutex_lock(&ipc_lock);
    if (cmd == SEM_INFO) {
        si.semusz = sets.count;
        si.semaem = 0;
        list_for_each (o, &sets.objects, link)
            si.semaem += (int)set_of(o)->count;
    }
    long highest = ipc_highest(&sets);
    mutex_unlock(&ipc_lock);
    return copy_to_user(buf, &si, sizeof(si)) ? -EFAULT : highest;
}

static long control_values(int id, int sem, int cmd, uint64_t arg)
{
    bool writes = cmd == SETVAL || cmd == SETALL;
    struct ipc_object *o = ipc_find(&sets, id, writes ? IPC_WRITE : IPC_READ);
    if (IS_ERR(o))
        return PTR_ERR(o);
    struct sem_set *s = set_of(o);
    if (cmd == GETALL || cmd == SETALL)
        return transfer_all(s, arg, cmd == SETALL);
    if (sem < 0 || (unsigned)sem >= s->count)
        return -EINVAL;
    return writes ? set_one(s, (unsigned)sem, (int)arg) : get_one(s, (unsigned)sem, cmd);
}

long sys_semctl(int id, int sem, int cmd, uint64_t arg)
{
    struct semid64_ds ds = {0};
    bool values = cmd == GETVAL || cmd == GETPID || cmd == GETNCNT || cmd == GETZCNT ||
                  cmd == SETVAL || cmd == GETALL || cmd == SETALL;
    bool stat = cmd == IPC_STAT || cmd == SEM_STAT || cmd == SEM_STAT_ANY;
    if (id < 0)
        return -EINVAL;
    if (cmd == IPC_INFO || cmd == SEM_INFO)
        return info(cmd, arg);
    if (!values && !stat && cmd != IPC_SET && cmd != IPC_RMID)
        return -EINVAL;
    if (cmd == IPC_SET && copy_from_user(&ds, arg, sizeof(ds)))
        return -EFAULT;
    mutex_lock(&ipc_lock);
    long res = values ? control_values(id, sem, cmd, arg) : control_set(id, cmd, &ds);
    mutex_unlock(&ipc_lock);
    return stat && res >= 0 && copy_to_user(arg, &ds, sizeof(ds)) ? -EFAULT : res;
}

static void show_set(struct text_buf *b, struct ipc_object *o)
{
    struct sem_set *s = set_of(o);
    text_printf(b, "%10d %10d  %4o %10u %5u %5u %5u %5u %10ld %10ld\n", o->key, o->id, o->mode,
                s->count, o->uid, o->gid, o->cuid, o->cgid, (long)s->op_time, (long)s->change_time);
}

void sem_init(void)
{
    static struct ipc_table table = {
        .name = "sem",
        .heading = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      "
                   "ctime",
        .set = &sets,
        .line = show_set,
    };
    ipc_table_register(&table);
}
