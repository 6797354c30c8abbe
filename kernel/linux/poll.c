/* poll, ppoll, select, pselect6: hooks into every file's wait queues for the length of one call. */
#include "core/mem.h"
#include "core/timer.h"
#include "linux/iov.h"
#include "linux/process.h"
#include "linux/syscall.h"

#define POLL_WAKE_ALWAYS (POLL_ERR | POLL_HUP)

/* One wait queue of one file. */
struct poll_hook {
    struct wait_entry entry;
    unsigned events; /* wakes with these keys count */
};

#define HOOKS_INLINE 6
#define HOOKS_PER_CHUNK 60

struct hook_chunk {
    struct hook_chunk *next;
    unsigned used;
    struct poll_hook hooks[HOOKS_PER_CHUNK];
};

/* One call's waiting. The private queue turns any number of queues into one to sleep on. */
struct poller {
    struct poll_table pt;
    struct wait_queue queue;
    bool triggered;
    int err;
    unsigned events; /* for the hooks being added */
    unsigned used;   /* of first */
    struct poll_hook first[HOOKS_INLINE];
    struct hook_chunk *chunks;
};

static bool poll_callback(struct wait_entry *entry, unsigned key)
{
    struct poll_hook *h = container_of(entry, struct poll_hook, entry);
    struct poller *p = entry->owner;
    if (!(key & h->events))
        return false;
    WRITE_ONCE(p->triggered, true);
    wake_up(&p->queue);
    return true;
}

static struct poll_hook *new_hook(struct poller *p)
{
    if (p->used < HOOKS_INLINE)
        return &p->first[p->used++];
    if (!p->chunks || p->chunks->used == HOOKS_PER_CHUNK) {
        struct hook_chunk *c = kmalloc(sizeof(*c));
        if (!c)
            return NULL;
        c->next = p->chunks;
        c->used = 0;
        p->chunks = c;
    }
    return &p->chunks->hooks[p->chunks->used++];
}

static void poller_add(struct poll_table *pt, struct wait_queue *q)
{
    struct poller *p = container_of(pt, struct poller, pt);
    struct poll_hook *h = new_hook(p);
    if (!h) {
        p->err = -ENOMEM;
        return;
    }
    *h = (struct poll_hook){.entry = {.callback = poll_callback, .owner = p}, .events = p->events};
    wait_add(q, &h->entry);
}

static void poller_init(struct poller *p)
{
    p->pt.add = poller_add;
    wait_queue_init(&p->queue);
    p->triggered = false;
    p->err = 0;
    p->used = 0;
    p->chunks = NULL;
}

static void poller_end(struct poller *p)
{
    for (unsigned i = 0; i < p->used; i++)
        wait_remove(&p->first[i].entry);
    for (struct hook_chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        for (unsigned i = 0; i < c->used; i++)
            wait_remove(&c->hooks[i].entry);
        kfree(c);
    }
}

/* The events of one file; hooks it while `hook` is set. */
static unsigned poll_file(struct poller *p, struct file *f, unsigned wanted, bool hook)
{
    if (!f->ops->poll)
        return POLL_IN | POLL_OUT | POLL_RDNORM | POLL_WRNORM; /* regular files */
    p->events = wanted | POLL_WAKE_ALWAYS;
    if (wanted & POLL_RDNORM)
        p->events |= POLL_IN;
    if (wanted & POLL_WRNORM)
        p->events |= POLL_OUT;
    return f->ops->poll(f, hook ? &p->pt : NULL);
}

/* Scans (through `scan`, which returns how many are ready or an error) until something is ready or
 * the time is up. The files stay open meanwhile because `arg` holds them. timeout < 0: none. */
static long poll_loop(struct poller *p, nsec_t timeout, int (*scan)(struct poller *, bool, void *),
                      void *arg)
{
    nsec_t deadline = NSEC_NEVER;
    bool hook = timeout != 0;
    for (;;) {
        long n = scan(p, hook, arg);
        if (n || timeout == 0)
            return n;
        if (p->err)
            return p->err;
        if (hook && timeout > 0) {
            deadline = time_now();
            deadline = timeout > NSEC_NEVER - deadline ? NSEC_NEVER : deadline + timeout;
        }
        hook = false;
        int err = wait_event_timeout(&p->queue, READ_ONCE(p->triggered), deadline);
        if (err == -ETIMEDOUT)
            timeout = 0;
        else if (err)
            return -ERESTARTNOHAND;
        WRITE_ONCE(p->triggered, false);
        atomic_thread_fence(memory_order_seq_cst); /* events after this scan trigger again */
    }
}

/* --- poll ------------------------------------------------------------------------------------- */

struct pollfd_k {
    int fd;
    int16_t events, revents;
};

struct poll_set {
    struct pollfd_k *fds;
    struct fd_hold *holds;
    unsigned n;
};

static int poll_scan(struct poller *p, bool hook, void *arg)
{
    struct poll_set *s = arg;
    int ready = 0;
    for (unsigned i = 0; i < s->n; i++) {
        struct pollfd_k *e = &s->fds[i];
        e->revents = 0;
        if (e->fd < 0)
            continue;
        unsigned wanted = (uint16_t)e->events | POLL_WAKE_ALWAYS;
        unsigned now = POLL_NVAL;
        if (s->holds[i].file)
            now = poll_file(p, s->holds[i].file, wanted, hook && !ready) & wanted;
        e->revents = (int16_t)now;
        ready += now != 0;
    }
    return ready;
}

static long poll_held(struct poll_set *s, nsec_t timeout)
{
    struct poller p;
    poller_init(&p);
    for (unsigned i = 0; i < s->n; i++)
        s->holds[i] = s->fds[i].fd >= 0 ? fd_hold(s->fds[i].fd) : (struct fd_hold){0};
    long n = poll_loop(&p, timeout, poll_scan, s);
    poller_end(&p);
    for (unsigned i = 0; i < s->n; i++)
        if (s->holds[i].file)
            fd_drop(s->holds[i]);
    return n;
}

#define POLL_INLINE 8

static long do_poll(uaddr_t ufds, unsigned n, nsec_t timeout)
{
    uint64_t limit = current_process()->rlimits[7].cur;
    if (n > limit || n > FD_MAX)
        return -EINVAL;
    struct pollfd_k fds[POLL_INLINE];
    struct fd_hold holds[POLL_INLINE];
    struct poll_set s = {fds, holds, n};
    void *block = NULL;
    if (n > POLL_INLINE) {
        block = kmalloc(n * (sizeof(*fds) + sizeof(*holds)));
        if (!block)
            return -ENOMEM;
        s.holds = block;
        s.fds = (struct pollfd_k *)(s.holds + n);
    }
    size_t bytes = n * sizeof(*fds);
    long r = copy_from_user(s.fds, ufds, bytes);
    if (!r) {
        r = poll_held(&s, timeout);
        if (r >= 0 && copy_to_user(ufds, s.fds, bytes))
            r = -EFAULT;
    }
    kfree(block);
    return r;
}

/* poll(2) continues after a stop or an ignored signal with the time that is left. */
static long poll_continue(struct task *t)
{
    nsec_t end = (nsec_t)t->restart.args[2], now = time_now();
    long r = do_poll(t->restart.args[0], (unsigned)t->restart.args[1], end > now ? end - now : 0);
    return r == -ERESTARTNOHAND ? -ERESTART_RESTARTBLOCK : r;
}

long sys_poll(uaddr_t fds, unsigned n, int timeout)
{
    if (timeout <= 0)
        return do_poll(fds, n, timeout < 0 ? -1 : 0);
    nsec_t ns = timeout * NSEC_PER_MSEC, start = time_coarse();
    long r = do_poll(fds, n, ns);
    if (r == -ERESTARTNOHAND) {
        struct task *t = current_task();
        t->restart.fn = poll_continue;
        t->restart.args[0] = fds;
        t->restart.args[1] = n;
        t->restart.args[2] = (uint64_t)(start + ns);
        r = -ERESTART_RESTARTBLOCK;
    }
    return r;
}

/* --- select ----------------------------------------------------------------------------------- */

#define SELECT_IN (POLL_IN | POLL_RDNORM | POLL_HUP | POLL_ERR)
#define SELECT_OUT (POLL_OUT | POLL_WRNORM | POLL_ERR)
#define SELECT_EX POLL_PRI

struct select_set {
    uint64_t *in[3], *out[3]; /* read, write, except: asked and answered; one allocation */
    struct fd_hold *holds;
    unsigned n, words;
};

static int select_scan(struct poller *p, bool hook, void *arg)
{
    static const unsigned meaning[3] = {SELECT_IN, SELECT_OUT, SELECT_EX};
    struct select_set *s = arg;
    int ready = 0;
    memset(s->out[0], 0, 3 * s->words * sizeof(uint64_t));
    for (unsigned fd = 0; fd < s->n; fd++) {
        if (!s->holds[fd].file)
            continue;
        uint64_t bit = 1ull << fd % 64;
        unsigned wanted = 0;
        for (int k = 0; k < 3; k++)
            wanted |= s->in[k][fd / 64] & bit ? meaning[k] : 0;
        unsigned now = poll_file(p, s->holds[fd].file, wanted, hook && !ready);
        for (int k = 0; k < 3; k++) {
            if (s->in[k][fd / 64] & bit && now & meaning[k]) {
                s->out[k][fd / 64] |= bit;
                ready++;
            }
        }
    }
    return ready;
}

static int select_hold(struct select_set *s)
{
    for (unsigned fd = 0; fd < s->n; fd++) {
        uint64_t all = s->in[0][fd / 64] | s->in[1][fd / 64] | s->in[2][fd / 64];
        if (!(all >> fd % 64 & 1))
            continue;
        s->holds[fd] = fd_hold((int)fd);
        if (!s->holds[fd].file)
            return -EBADF;
    }
    return 0;
}

static long select_run(struct select_set *s, const uaddr_t user[3], nsec_t timeout)
{
    size_t bytes = DIV_ROUND_UP(s->n, 64) * 8;
    for (int k = 0; k < 3; k++) {
        if (user[k] && copy_from_user(s->in[k], user[k], bytes))
            return -EFAULT;
        if (s->n % 64 && s->words)
            s->in[k][s->words - 1] &= (1ull << s->n % 64) - 1;
    }
    struct poller p;
    poller_init(&p);
    long r = select_hold(s);
    if (!r)
        r = poll_loop(&p, timeout, select_scan, s);
    poller_end(&p);
    for (unsigned fd = 0; fd < s->n; fd++)
        if (s->holds[fd].file)
            fd_drop(s->holds[fd]);
    for (int k = 0; k < 3 && r >= 0; k++)
        if (user[k] && copy_to_user(user[k], s->out[k], bytes))
            r = -EFAULT;
    return r;
}

static long do_select(int n, const uaddr_t user[3], nsec_t timeout)
{
    if (n < 0)
        return -EINVAL;
    struct select_set s = {.n = MIN((unsigned)n, fd_table_size(current_process()->files))};
    s.words = DIV_ROUND_UP(s.n, 64);
    size_t map = s.words * sizeof(uint64_t);
    uint8_t *block = kzalloc(6 * map + s.n * sizeof(struct fd_hold) + 8);
    if (!block)
        return -ENOMEM;
    for (unsigned k = 0; k < 3; k++) {
        s.in[k] = (uint64_t *)(block + k * map);
        s.out[k] = (uint64_t *)(block + (3 + k) * map);
    }
    s.holds = (struct fd_hold *)(block + 6 * map);
    long r = select_run(&s, user, timeout);
    kfree(block);
    return r;
}

/* --- system calls with time-outs and masks ---------------------------------------------------- */

/* The time that is left is written back, as Linux does; a fault there is not an error. */
static void put_left(uaddr_t to, nsec_t end, int64_t unit)
{
    nsec_t left = MAX(end - time_now(), 0);
    int64_t t[2] = {left / NSEC_PER_SEC, left % NSEC_PER_SEC / unit};
    (void)copy_to_user(to, t, sizeof(t));
}

/* A struct timespec (unit 1) or timeval (unit 1000) as ns. */
static int fetch_timeout(uaddr_t from, int64_t unit, nsec_t *ns)
{
    int64_t t[2];
    *ns = -1;
    if (!from)
        return 0;
    if (copy_from_user(t, from, sizeof(t)))
        return -EFAULT;
    if (t[0] < 0 || t[1] < 0 || (unit == 1 && t[1] >= NSEC_PER_SEC))
        return -EINVAL;
    if (t[0] < INT64_MAX / NSEC_PER_SEC / 4 && t[1] < INT64_MAX / 4000)
        *ns = t[0] * NSEC_PER_SEC + t[1] * unit;
    return 0;
}

long sys_ppoll(uaddr_t fds, unsigned n, uaddr_t timeout, uaddr_t sigmask, size_t sigset_size)
{
    nsec_t ns;
    int err = fetch_timeout(timeout, 1, &ns);
    if (!err && sigmask)
        err = signal_set_temporary_mask(sigmask, sigset_size);
    if (err)
        return err;
    nsec_t end = ns >= 0 ? time_now() + ns : 0;
    long r = do_poll(fds, n, ns);
    if (ns >= 0)
        put_left(timeout, end, 1);
    return sigmask ? signal_end_temporary_mask(r) : r;
}

long sys_select(int n, uaddr_t in, uaddr_t out, uaddr_t ex, uaddr_t timeout)
{
    nsec_t ns;
    int err = fetch_timeout(timeout, NSEC_PER_USEC, &ns);
    if (err)
        return err;
    nsec_t end = ns >= 0 ? time_now() + ns : 0;
    long r = do_select(n, (uaddr_t[3]){in, out, ex}, ns);
    if (ns >= 0)
        put_left(timeout, end, NSEC_PER_USEC);
    return r;
}

long sys_pselect6(int n, uaddr_t in, uaddr_t out, uaddr_t ex, uaddr_t timeout, uaddr_t sigarg)
{
    struct {
        uint64_t mask, size;
    } sig = {0};
    nsec_t ns;
    if (sigarg && copy_from_user(&sig, sigarg, sizeof(sig)))
        return -EFAULT;
    int err = fetch_timeout(timeout, 1, &ns);
    if (!err && sig.mask)
        err = signal_set_temporary_mask(sig.mask, sig.size);
    if (err)
        return err;
    nsec_t end = ns >= 0 ? time_now() + ns : 0;
    long r = do_select(n, (uaddr_t[3]){in, out, ex}, ns);
    if (ns >= 0)
        put_left(timeout, end, 1);
    return sig.mask ? signal_end_temporary_mask(r) : r;
}
