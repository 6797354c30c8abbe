/*
 * Futexes: sleeping on a word of user memory.
 *
 * A word is named by a key: the address in its mm, or, in shared file mappings, its place in the
 * file. Waiters hang on hashed buckets, each with a lock; the word is compared and the waiter
 * queued under that lock, so a waker that changed the word before finds the waiter.
 */
#include <linux/futex.h>
#include <linux/time.h>

#include "linux/clock.h"
#include "linux/mm.h"
#include "linux/proc.h"
#include "linux/syscall.h"

#define BUCKETS 256

struct key {
    void *object; /* struct mm or struct vnode */
    uint64_t offset;
};

struct bucket {
    spinlock_t lock;
    struct list waiters;
} __attribute__((aligned(64)));

struct waiter {
    struct list link;
    struct key key;
    struct bucket *bucket; /* changes when it is requeued */
    uint32_t bitset;
    bool woken;
    struct wait_queue *queue; /* its thread's */
};

static struct bucket buckets[BUCKETS];

void futex_init(void)
{
    for (int i = 0; i < BUCKETS; i++)
        list_init(&buckets[i].waiters);
}

static struct bucket *bucket_of(const struct key *k)
{
    uint64_t h = ((uintptr_t)k->object >> 6) ^ (k->offset >> 2);
    return &buckets[(h * 0x9e3779b97f4a7c15ull) >> 56];
}

static bool same(const struct key *a, const struct key *b)
{
    return a->object == b->object && a->offset == b->offset;
}

/* The key of a word. A shared futex in a shared mapping is named by the file. */
static int get_key(uaddr_t word, bool private, struct key *k)
{
    struct mm *mm = current_process()->mm;
    if ((word & 3) || word >= USER_MAX)
        return word & 3 ? -EINVAL : -EFAULT;
    *k = (struct key){mm, word};
    if (private)
        return 0;
    rwlock_read(&mm->lock);
    struct region *r = region_find(mm, word);
    int err = !r || r->start > word ? -EFAULT : 0;
    if (!err && r->vnode && (r->flags & REGION_SHARED))
        *k = (struct key){r->vnode, (r->pgoff << PAGE_SHIFT) + (word - r->start)};
    rwlock_read_done(&mm->lock);
    return err;
}

/* --- words of user memory --------------------------------------------------------------------- */

static int load_nofault(uaddr_t word, uint32_t *value)
{
    struct iovec_k seg;
    struct uio u = uio_user(&seg, word, sizeof(*value));
    return uio_read_nofault(value, sizeof(*value), &u);
}

/* If *word is old, makes it new, atomically; *seen is what it was. Sleeps for faults. */
static int compare_exchange(uaddr_t word, uint32_t old, uint32_t new, uint32_t *seen)
{
    struct mm *mm = current_process()->mm;
    for (;;) {
        unsigned prot = 0;
        spin_lock(&mm->pt_lock);
        struct page *page = aspace_lookup(mm->as, word & PAGE_MASK, &prot);
        if (page && (prot & PROT_W)) {
            uint32_t *at = (uint32_t *)((char *)page_addr(page) + (word & ~PAGE_MASK));
            *seen = old;
            __atomic_compare_exchange_n(at, seen, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
            spin_unlock(&mm->pt_lock);
            return 0;
        }
        spin_unlock(&mm->pt_lock);
        if (mm_fault(mm, word, PROT_W) != FAULT_OK)
            return -EFAULT;
    }
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Takes the waiter off its bucket; true if nobody had woken it. */
static bool unqueue(struct waiter *w)
{
    for (;;) {
        struct bucket *b = READ_ONCE(w->bucket);
        spin_lock(&b->lock);
        if (b != w->bucket) { /* requeued meanwhile */
            spin_unlock(&b->lock);
            continue;
        }
        bool waiting = !w->woken;
        if (waiting)
            list_remove(&w->link);
        spin_unlock(&b->lock);
        return waiting;
    }
}

/* Puts the waiter, with its bitset and queue filled in, on the bucket of the word if that has the
 * value; -EAGAIN if not, -EFAULT, -EINVAL. */
static int enqueue(struct waiter *w, uaddr_t word, uint32_t value, bool private)
{
    int err = get_key(word, private, &w->key);
    if (err)
        return err;
    struct bucket *b = w->bucket = bucket_of(&w->key);
    uint32_t now;
    for (;;) {
        spin_lock(&b->lock);
        if (!load_nofault(word, &now))
            break;
        spin_unlock(&b->lock);
        if (copy_from_user(&now, word, sizeof(now)))
            return -EFAULT;
    }
    if (now == value)
        list_push_back(&b->waiters, &w->link);
    spin_unlock(&b->lock);
    return now == value ? 0 : -EAGAIN;
}

static int wait_until(uaddr_t word, uint32_t value, bool private, uint32_t bitset, nsec_t deadline)
{
    struct wait_queue queue;
    struct waiter w = {.bitset = bitset, .queue = &queue};
    wait_queue_init(&queue);
    int err = enqueue(&w, word, value, private);
    if (err)
        return err;
    err = wait_event_timeout(&queue, READ_ONCE(w.woken), deadline);
    return unqueue(&w) ? err : 0;
}

static long wait_restart(struct task *t)
{
    long res = wait_until(t->restart.args[0], (uint32_t)t->restart.args[1], t->restart.args[2],
                          (uint32_t)t->restart.args[3], (nsec_t)t->restart.args[4]);
    if (res == -ERESTARTSYS) {
        t->restart.fn = wait_restart;
        return -ERESTART_RESTARTBLOCK;
    }
    return res;
}

/* An absolute time of the wall clock or the monotonic one as a monotonic one. */
static nsec_t deadline_of(nsec_t t, bool realtime)
{
    return realtime && t != NSEC_NEVER ? time_after(time_now(), t - time_realtime()) : t;
}

/* timeout: relative for FUTEX_WAIT (continued as such after a signal), absolute for WAIT_BITSET. */
static long futex_wait(uaddr_t word, int op, uint32_t value, uaddr_t timeout, uint32_t bitset)
{
    bool private = op & FUTEX_PRIVATE_FLAG, absolute = (op & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
    nsec_t t, deadline = NSEC_NEVER;
    if (!bitset)
        return -EINVAL;
    if (timeout) {
        int err = get_timespec(timeout, &t);
        if (err)
            return err;
        deadline = absolute ? deadline_of(t, op & FUTEX_CLOCK_REALTIME) : time_after(time_now(), t);
    }
    long res = wait_until(word, value, private, bitset, deadline);
    if (res == -ERESTARTSYS && timeout && !absolute) {
        struct task *me = (struct task *)thread_current();
        me->restart.fn = wait_restart;
        me->restart.args[0] = word;
        me->restart.args[1] = value;
        me->restart.args[2] = private;
        me->restart.args[3] = bitset;
        me->restart.args[4] = (uint64_t)deadline;
        return -ERESTART_RESTARTBLOCK;
    }
    return res;
}

static bool any_woken(const struct waiter *w, unsigned n)
{
    bool woken = false;
    for (unsigned i = 0; i < n && !woken; i++)
        woken = READ_ONCE(w[i].woken);
    return woken;
}

/* Sleeps until one of the n words is woken: its number. */
static long wait_for_any(const struct futex_waitv *words, unsigned n, struct waiter *w,
                         nsec_t deadline)
{
    struct wait_queue queue;
    wait_queue_init(&queue);
    unsigned queued = 0;
    long res = 0;
    while (queued < n && !res) {
        const struct futex_waitv *v = &words[queued];
        w[queued] = (struct waiter){.bitset = FUTEX_BITSET_MATCH_ANY, .queue = &queue};
        res = enqueue(&w[queued], v->uaddr, (uint32_t)v->val, v->flags & FUTEX_PRIVATE_FLAG);
        if (!res)
            queued++;
    }
    if (!res)
        res = wait_event_timeout(&queue, any_woken(w, n), deadline);
    for (unsigned i = 0; i < queued; i++) {
        if (!unqueue(&w[i]))
            res = i;
    }
    return res;
}

long sys_futex_waitv(uaddr_t uwords, unsigned n, unsigned flags, uaddr_t timeout, int clock)
{
    nsec_t t, deadline = NSEC_NEVER;
    if (flags || n < 1 || n > FUTEX_WAITV_MAX || !uwords)
        return -EINVAL;
    if (timeout) {
        if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
            return -EINVAL;
        int err = get_timespec(timeout, &t);
        if (err)
            return err;
        deadline = deadline_of(t, clock == CLOCK_REALTIME);
    }
    struct futex_waitv *words = kmalloc(n * sizeof(*words));
    struct waiter *waiters = kmalloc(n * sizeof(*waiters));
    long res = words && waiters ? 0 : -ENOMEM;
    if (!res)
        res = copy_from_user(words, uwords, n * sizeof(*words));
    for (unsigned i = 0; i < n && !res; i++) {
        unsigned rest = words[i].flags & ~(unsigned)FUTEX_PRIVATE_FLAG;
        if (rest != FUTEX_32 || words[i].__reserved)
            res = -EINVAL;
    }
    if (!res)
        res = wait_for_any(words, n, waiters, deadline);
    kfree(waiters);
    kfree(words);
    return res;
}

/* --- waking ----------------------------------------------------------------------------------- */

/* Under the bucket's lock. The waiter may return as soon as it gets that lock. */
static void wake_one(struct waiter *w)
{
    struct wait_queue *queue = w->queue;
    list_remove(&w->link);
    WRITE_ONCE(w->woken, true);
    wake_up(queue);
}

static int wake_key(const struct key *k, struct bucket *b, int count, uint32_t bitset)
{
    struct waiter *w, *tmp;
    int woken = 0;
    list_for_each_safe (w, tmp, &b->waiters, link) {
        if (woken >= count)
            break;
        if (same(&w->key, k) && (w->bitset & bitset)) {
            wake_one(w);
            woken++;
        }
    }
    return woken;
}

static long wake(uaddr_t word, bool private, int count, uint32_t bitset)
{
    struct key k;
    int err = get_key(word, private, &k);
    if (err || !bitset)
        return err ? err : -EINVAL;
    struct bucket *b = bucket_of(&k);
    spin_lock(&b->lock);
    int woken = list_empty(&b->waiters) ? 0 : wake_key(&k, b, MAX(count, 1), bitset);
    spin_unlock(&b->lock);
    return woken;
}

int futex_wake(uaddr_t word, int count)
{
    return (int)wake(word, false, count, FUTEX_BITSET_MATCH_ANY);
}

/* Two buckets in address order, so that two of these cannot wait for each other. */
static void lock_two(struct bucket *a, struct bucket *b)
{
    spin_lock(a < b ? &a->lock : &b->lock);
    if (a != b)
        spin_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_two(struct bucket *a, struct bucket *b)
{
    spin_unlock(&a->lock);
    if (a != b)
        spin_unlock(&b->lock);
}

/* Wakes up to `count` waiters of word and moves up to `move` others to word2; how many both were.
 * compare: only if *word is `expected` (-EAGAIN). */
static long requeue(uaddr_t word, uaddr_t word2, bool private, int count, int move, bool compare,
                    uint32_t expected)
{
    struct key k, k2;
    int err = get_key(word, private, &k);
    if (!err)
        err = get_key(word2, private, &k2);
    if (err || count < 0 || move < 0)
        return err ? err : -EINVAL;
    struct bucket *b = bucket_of(&k), *b2 = bucket_of(&k2);
    for (;;) {
        uint32_t now = 0;
        lock_two(b, b2);
        if (!compare || !load_nofault(word, &now)) {
            if (compare && now != expected) {
                unlock_two(b, b2);
                return -EAGAIN;
            }
            break;
        }
        unlock_two(b, b2);
        if (copy_from_user(&now, word, sizeof(now)))
            return -EFAULT;
    }
    int woken = wake_key(&k, b, count, FUTEX_BITSET_MATCH_ANY), moved = 0;
    struct waiter *w, *tmp;
    list_for_each_safe (w, tmp, &b->waiters, link) {
        if (moved >= move)
            break;
        if (!same(&w->key, &k))
            continue;
        moved++;
        w->key = k2;
        if (b != b2) {
            list_remove(&w->link);
            list_push_back(&b2->waiters, &w->link);
            WRITE_ONCE(w->bucket, b2);
        }
    }
    unlock_two(b, b2);
    return woken + moved;
}

/* Changes *word as `op` says (FUTEX_OP), atomically; *old is what it was. */
static int change_word(uaddr_t word, uint32_t op, uint32_t *old)
{
    int kind = (op >> 28) & 7;
    int32_t arg = (int32_t)(op << 8) >> 20;
    if ((op >> 28) & FUTEX_OP_OPARG_SHIFT)
        arg = (int32_t)(1u << (arg & 31));
    if (copy_from_user(old, word, sizeof(*old)))
        return -EFAULT;
    for (;;) {
        uint32_t now = *old, new;
        switch (kind) {
        case FUTEX_OP_SET:
            new = (uint32_t)arg;
            break;
        case FUTEX_OP_ADD:
            new = now + (uint32_t)arg;
            break;
        case FUTEX_OP_OR:
            new = now | (uint32_t)arg;
            break;
        case FUTEX_OP_ANDN:
            new = now & ~(uint32_t)arg;
            break;
        case FUTEX_OP_XOR:
            new = now ^ (uint32_t)arg;
            break;
        default:
            return -ENOSYS;
        }
        int err = compare_exchange(word, now, new, old);
        if (err || *old == now)
            return err;
    }
}

static int compare_old(uint32_t op, uint32_t value)
{
    int32_t old = (int32_t)value, arg = (int32_t)(op << 20) >> 20;
    switch ((op >> 24) & 15) {
    case FUTEX_OP_CMP_EQ:
        return old == arg;
    case FUTEX_OP_CMP_NE:
        return old != arg;
    case FUTEX_OP_CMP_LT:
        return old < arg;
    case FUTEX_OP_CMP_LE:
        return old <= arg;
    case FUTEX_OP_CMP_GT:
        return old > arg;
    case FUTEX_OP_CMP_GE:
        return old >= arg;
    }
    return -ENOSYS;
}

static long wake_op(uaddr_t word, uaddr_t word2, bool private, int count, int count2, uint32_t op)
{
    uint32_t old;
    int err = change_word(word2, op, &old);
    if (err)
        return err;
    int also = compare_old(op, old);
    if (also < 0)
        return also;
    long woken = wake(word, private, count, FUTEX_BITSET_MATCH_ANY);
    if (woken >= 0 && also) {
        long more = wake(word2, private, count2, FUTEX_BITSET_MATCH_ANY);
        woken = more < 0 ? more : woken + more;
    }
    return woken;
}

long sys_futex(uaddr_t word, int op, uint32_t value, uaddr_t timeout, uaddr_t word2,
               uint32_t value3)
{
    bool private = op & FUTEX_PRIVATE_FLAG;
    int cmd = op & FUTEX_CMD_MASK;
    if ((op & FUTEX_CLOCK_REALTIME) && cmd != FUTEX_WAIT_BITSET && cmd != FUTEX_WAIT)
        return -ENOSYS;
    switch (cmd) {
    case FUTEX_WAIT:
        return futex_wait(word, op, value, timeout, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAIT_BITSET:
        return futex_wait(word, op, value, timeout, value3);
    case FUTEX_WAKE:
        return wake(word, private, (int)value, FUTEX_BITSET_MATCH_ANY);
    case FUTEX_WAKE_BITSET:
        return wake(word, private, (int)value, value3);
    case FUTEX_REQUEUE:
        return requeue(word, word2, private, (int)value, (int)timeout, false, 0);
    case FUTEX_CMP_REQUEUE:
        return requeue(word, word2, private, (int)value, (int)timeout, true, value3);
    case FUTEX_WAKE_OP:
        return wake_op(word, word2, private, (int)value, (int)timeout, value3);
    }
    return -ENOSYS; /* priority inheritance, and what is newer */
}

/* --- the end of a task ------------------------------------------------------------------------ */

#define ROBUST_LIMIT 2048

/* A lock whose owner died: marks it and wakes one waiter, which then has to repair what it
 * protects. */
static void owner_died(struct task *t, uaddr_t word, bool pending)
{
    uint32_t now, seen;
    if ((word & 3) || copy_from_user(&now, word, sizeof(now)))
        return;
    for (;;) {
        /* Died between unlocking and waking: nobody owns it, but someone may wait. */
        if (pending && !(now & FUTEX_TID_MASK)) {
            futex_wake(word, 1);
            return;
        }
        if ((now & FUTEX_TID_MASK) != (uint32_t)t->tid)
            return;
        uint32_t new = (now & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        if (compare_exchange(word, now, new, &seen))
            return;
        if (seen == now)
            break;
        now = seen;
    }
    if (now & FUTEX_WAITERS)
        futex_wake(word, 1);
}

static void release_robust_list(struct task *t)
{
    struct {
        uint64_t next;
        int64_t offset;
        uint64_t pending;
    } head;
    if (!t->robust_list || copy_from_user(&head, t->robust_list, sizeof(head)))
        return;
    uaddr_t entry = head.next & ~1ull, pending = head.pending & ~1ull;
    for (int i = 0; i < ROBUST_LIMIT && entry != t->robust_list; i++) {
        uint64_t next;
        /* The next one first: the entry may be freed once it is unlocked. */
        bool more = !copy_from_user(&next, entry, sizeof(next));
        if (entry != pending)
            owner_died(t, entry + (uint64_t)head.offset, false);
        if (!more)
            break;
        entry = next & ~1ull;
    }
    if (pending)
        owner_died(t, pending + (uint64_t)head.offset, true);
}

void futex_task_exit(struct task *t)
{
    release_robust_list(t);
    t->robust_list = 0;
    if (!t->clear_child_tid)
        return;
    /* Nobody is left to look when this was the last user of the memory. */
    if (t->process->task_count > 1 || ref_count(&t->process->mm->refs) > 1) {
        uint32_t zero = 0;
        if (!copy_to_user(t->clear_child_tid, &zero, sizeof(zero)))
            futex_wake(t->clear_child_tid, 1);
    }
    t->clear_child_tid = 0;
}

long sys_set_robust_list(uaddr_t head, size_t len)
{
    struct task *t = (struct task *)thread_current();
    if (len != 24)
        return -EINVAL;
    t->robust_list = head;
    t->robust_len = len;
    return 0;
}

long sys_get_robust_list(int tid, uaddr_t head, uaddr_t len)
{
    uint64_t list = 0, size = 24;
    spin_lock_bh(&process_lock);
    struct task *t = tid ? task_find_locked(tid) : (struct task *)thread_current();
    int err = !t ? -ESRCH : t->process != current_process() && !capable(19) ? -EPERM : 0;
    if (!err)
        list = t->robust_list;
    spin_unlock_bh(&process_lock);
    if (err)
        return err;
    return copy_to_user(head, &list, 8) || copy_to_user(len, &size, 8) ? -EFAULT : 0;
}

long sys_set_tid_address(uaddr_t word)
{
    struct task *t = (struct task *)thread_current();
    t->clear_child_tid = word;
    return t->tid;
}
