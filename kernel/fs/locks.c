/*
 * File locks: POSIX record locks (fcntl F_SETLK), the same for open file descriptions
 * (F_OFD_SETLK), and flock(2). All on one list per vnode, all lists under one lock, which also
 * covers who waits for whom: record locks that would wait in a circle are refused with -EDEADLK.
 *
 * Record locks and OFD locks exclude each other; flock is a world of its own.
 */
#include "fs/internal.h"

static spinlock_t locks_lock;
static struct list all_locks = LIST_INIT(all_locks);

/* A process that sleeps until it gets a record lock. */
struct waiter {
    struct list link;
    const void *owner;
    const void *blocked_by; /* owner of the lock in the way, as of the last look */
};
static struct list waiters = LIST_INIT(waiters);

static bool same_owner(const struct file_lock *a, const struct file_lock *b)
{
    return a->kind == b->kind && a->owner == b->owner;
}

static bool overlap(const struct file_lock *a, const struct file_lock *b)
{
    return a->start <= b->end && b->start <= a->end;
}

static bool conflict(const struct file_lock *held, const struct file_lock *want)
{
    return (held->kind == LOCK_FLOCK) == (want->kind == LOCK_FLOCK) && !same_owner(held, want) &&
           (held->exclusive || want->exclusive) && overlap(held, want);
}

static struct file_lock *find_conflict(struct vnode *v, const struct file_lock *want)
{
    struct file_lock *l;
    list_for_each (l, &v->locks, link) {
        if (conflict(l, want))
            return l;
    }
    return NULL;
}

/* Whether `owner` waits, directly or through others, for `target`. */
static bool waits_for(const void *owner, const void *target)
{
    for (int depth = 0; depth < 64 && owner; depth++) {
        if (owner == target)
            return true;
        const void *next = NULL;
        struct waiter *w;
        list_for_each (w, &waiters, link) {
            if (w->owner == owner) {
                next = w->blocked_by;
                break;
            }
        }
        owner = next;
    }
    return false;
}

static void put(struct vnode *v, struct file_lock *l)
{
    l->vnode = v;
    list_push_back(&v->locks, &l->link);
    list_push_back(&all_locks, &l->all_link);
}

static void drop(struct file_lock *l)
{
    list_remove(&l->link);
    list_remove(&l->all_link);
    kfree(l);
}

/* Cuts `want`'s range out of the owner's locks; the pieces that remain may need one more lock,
 * taken from *spare. True if anything was given up. */
static bool cut(struct vnode *v, const struct file_lock *want, struct file_lock **spare)
{
    bool changed = false;
    struct file_lock *l, *next;
    list_for_each_safe (l, next, &v->locks, link) {
        if (!same_owner(l, want) || !overlap(l, want))
            continue;
        changed = true;
        bool left = l->start<want->start, right = l->end> want->end;
        if (left && right) {
            struct file_lock *tail = *spare;
            *spare = NULL;
            *tail = *l;
            tail->start = want->end + 1;
            put(v, tail);
            l->end = want->start - 1;
        } else if (left) {
            l->end = want->start - 1;
        } else if (right) {
            l->start = want->end + 1;
        } else {
            drop(l);
        }
    }
    return changed;
}

/* Adds the lock, swallowing neighbours of the same owner and type. */
static void insert(struct vnode *v, const struct file_lock *want, struct file_lock *new)
{
    *new = *want;
    struct file_lock *l, *next;
    list_for_each_safe (l, next, &v->locks, link) {
        bool touching = (l->end != UINT64_MAX && l->end + 1 == new->start) ||
                        (new->end != UINT64_MAX &&new->end + 1 == l->start);
        if (same_owner(l, new) && l->exclusive == new->exclusive && touching) {
            new->start = MIN(new->start, l->start);
            new->end = MAX(new->end, l->end);
            drop(l);
        }
    }
    put(v, new);
}

/* One try. -EAGAIN if another lock is in the way, whose owner goes to *blocker. The spare locks
 * that are used up become NULL. */
static int try_lock(struct vnode *v, const struct file_lock *want, bool unlock,
                    struct file_lock **new, struct file_lock **spare, const void **blocker)
{
    bool wake = false;
    int err = 0;
    spin_lock(&locks_lock);
    struct file_lock *other = unlock ? NULL : find_conflict(v, want);
    if (other) {
        *blocker = other->kind == LOCK_POSIX ? other->owner : NULL;
        err = -EAGAIN;
        /* flock gives the old lock up first, and may end with none. */
        if (want->kind == LOCK_FLOCK)
            wake = cut(v, want, spare);
    } else {
        wake = cut(v, want, spare);
        if (!unlock) {
            insert(v, want, *new);
            *new = NULL;
        }
    }
    spin_unlock(&locks_lock);
    if (wake)
        wake_up(&v->lock_wait);
    return err;
}

/* Tries again, and notes whom we wait for. True when there is no more to wait for: *err. */
static bool retry(struct vnode *v, const struct file_lock *want, struct file_lock **new,
                  struct file_lock **spare, struct waiter *w, int *err)
{
    const void *blocker;
    *err = try_lock(v, want, false, new, spare, &blocker);
    if (*err != -EAGAIN)
        return true;
    spin_lock(&locks_lock);
    w->blocked_by = want->kind == LOCK_POSIX ? blocker : NULL;
    bool deadlock = w->blocked_by && waits_for(w->blocked_by, w->owner);
    spin_unlock(&locks_lock);
    if (deadlock)
        *err = -EDEADLK;
    return deadlock;
}

static int wait_for_lock(struct vnode *v, const struct file_lock *want, struct file_lock **new,
                         struct file_lock **spare)
{
    struct waiter w = {.owner = want->owner};
    int err = 0;
    spin_lock(&locks_lock);
    list_push_back(&waiters, &w.link);
    spin_unlock(&locks_lock);
    int interrupted = wait_event_interruptible(&v->lock_wait, retry(v, want, new, spare, &w, &err));
    spin_lock(&locks_lock);
    list_remove(&w.link);
    spin_unlock(&locks_lock);
    return interrupted ? interrupted : err;
}

int vnode_lock(struct vnode *v, const struct file_lock *request, bool unlock, bool wait)
{
    struct file_lock whole = *request, *want = &whole;
    if (want->kind == LOCK_FLOCK) {
        want->start = 0;
        want->end = UINT64_MAX;
    }
    if (want->start > want->end)
        return -EINVAL;
    /* What is needed at most, before the lock is taken. */
    struct file_lock *new = unlock ? NULL : kmalloc(sizeof(*new));
    struct file_lock *spare = want->kind == LOCK_FLOCK ? NULL : kmalloc(sizeof(*spare));
    int err = -ENOLCK;
    const void *blocker;
    if ((unlock || new) && (want->kind == LOCK_FLOCK || spare)) {
        err = try_lock(v, want, unlock, &new, &spare, &blocker);
        if (err == -EAGAIN && wait)
            err = wait_for_lock(v, want, &new, &spare);
    }
    kfree(new);
    kfree(spare);
    return err;
}

bool vnode_lock_test(struct vnode *v, const struct file_lock *want, struct file_lock *out)
{
    spin_lock(&locks_lock);
    struct file_lock *l = find_conflict(v, want);
    if (l)
        *out = *l;
    spin_unlock(&locks_lock);
    return l != NULL;
}

void vnode_unlock_owner(struct vnode *v, enum file_lock_kind kind, void *owner)
{
    bool changed = false;
    struct file_lock *l, *next;
    spin_lock(&locks_lock);
    list_for_each_safe (l, next, &v->locks, link) {
        if (l->kind == kind && l->owner == owner) {
            drop(l);
            changed = true;
        }
    }
    spin_unlock(&locks_lock);
    if (changed)
        wake_up(&v->lock_wait);
}

void vnode_drop_locks(struct vnode *v)
{
    spin_lock(&locks_lock);
    while (!list_empty(&v->locks))
        drop(list_first(&v->locks, struct file_lock, link));
    spin_unlock(&locks_lock);
}

/* One line of /proc/locks. */
static size_t describe(const struct file_lock *l, int number, char *buf, size_t size)
{
    static const char *const kinds[] = {
        [LOCK_POSIX] = "POSIX", [LOCK_OFD] = "OFDLCK", [LOCK_FLOCK] = "FLOCK"};
    const struct vattr *a = &l->vnode->attr;
    char end[24] = "EOF";
    if (l->end < INT64_MAX)
        snprintf(end, sizeof(end), "%llu", (unsigned long long)l->end);
    return snprintf(buf, size, "%d: %-6s ADVISORY  %s %d %02x:%02x:%llu %llu %s\n", number,
                    kinds[l->kind], l->exclusive ? "WRITE" : "READ ", l->pid,
                    (unsigned)(a->dev >> 32), (unsigned)a->dev, (unsigned long long)a->ino,
                    (unsigned long long)l->start, end);
}

/* The text is built under the lock, so what it may be long is set aside before. */
void locks_show(struct text_buf *b, void *arg)
{
    const size_t size = 64 * 1024, line = 128;
    char *text = kmalloc(size);
    size_t len = 0;
    int number = 1;
    struct file_lock *l;
    (void)arg;
    if (!text) {
        b->failed = true;
        return;
    }
    spin_lock(&locks_lock);
    list_for_each (l, &all_locks, all_link)
        if (size - len > line)
            len += describe(l, number++, text + len, line);
    spin_unlock(&locks_lock);
    text_printf(b, "%.*s", (int)len, text);
    kfree(text);
}
