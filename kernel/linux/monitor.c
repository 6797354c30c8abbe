/*
 * Monitors: a ring of records between those who tell and a thread that sends (linux/monitor.h).
 * Telling never waits: what finds no room is lost and counted.
 */
#include "linux/monitor.h"

#include "core/lock.h"
#include "core/mem.h"
#include "core/thread.h"
#include "core/timer.h"
#include "core/wait.h"
#include "linux/control.h"

#define RING (1u << 20)   /* a power of two */
#define BATCH (16u << 10) /* sent at once, or what there is after a while */
#define GATHER (5 * NSEC_PER_MSEC)
#define KINDS (MONITOR_FRAMES + 1)

struct monitor {
    refcount_t refs;
    struct ctl_monitor ask;
    struct session_io *session;
    struct wait_queue wait;
    bool stopping;
    spinlock_t lock;     /* bh; the writers' */
    uint8_t *ring;       /* whole records between tail and head */
    uint32_t head, tail; /* bytes ever put and taken */
    uint32_t at, until;  /* of the record that is being written */
    uint64_t lost;       /* records, since the last one that told of them */
};

static struct monitor *active[KINDS];
static spinlock_t active_lock = SPINLOCK_INIT; /* bh */
static struct wait_queue ended = WAIT_QUEUE_INIT(ended);

static int (*const arm[KINDS])(const struct ctl_monitor *ask) = {
    [MONITOR_TRACE] = trace_arm,
    [MONITOR_FRAMES] = frames_arm,
};

struct monitor *monitor_get(enum monitor_kind kind)
{
    spin_lock_bh(&active_lock);
    struct monitor *m = active[kind];
    if (m)
        ref_get(&m->refs);
    spin_unlock_bh(&active_lock);
    return m;
}

void monitor_put(struct monitor *m)
{
    if (!ref_put(&m->refs))
        return;
    kfree(m->ring);
    kfree(m);
}

const struct ctl_monitor *monitor_asked(const struct monitor *m)
{
    return &m->ask;
}

/* --- records ---------------------------------------------------------------------------------- */

static uint32_t used(const struct monitor *m)
{
    return __atomic_load_n(&m->head, __ATOMIC_ACQUIRE) - READ_ONCE(m->tail);
}

void monitor_add(struct monitor *m, const void *data, size_t n)
{
    const uint8_t *from = data;
    ASSERT(n <= m->until - m->at);
    while (n) {
        uint32_t at = m->at % RING, k = (uint32_t)MIN(n, (size_t)(RING - at));
        memcpy(m->ring + at, from, k);
        m->at += k;
        from += k;
        n -= k;
    }
}

static void finish(struct monitor *m)
{
    static const uint8_t zeros[64];
    while (m->at != m->until)
        monitor_add(m, zeros, MIN((size_t)(m->until - m->at), sizeof(zeros)));
    __atomic_store_n(&m->head, m->until, __ATOMIC_RELEASE);
}

static bool begin(struct monitor *m, const struct monitor_record *h)
{
    if (h->length > RING - (m->head - __atomic_load_n(&m->tail, __ATOMIC_ACQUIRE)))
        return false;
    m->at = m->head;
    m->until = m->head + h->length;
    monitor_add(m, h, sizeof(*h));
    return true;
}

/* Tells how many were lost, if any. False: there is no room. */
static bool tell_lost(struct monitor *m)
{
    struct monitor_record h = {.length = sizeof(h) + sizeof(m->lost),
                               .type = MONITOR_LOST,
                               .time = (uint64_t)time_realtime()};
    if (likely(!m->lost))
        return true;
    if (!begin(m, &h))
        return false;
    monitor_add(m, &m->lost, sizeof(m->lost));
    finish(m);
    m->lost = 0;
    return true;
}

bool monitor_begin(struct monitor *m, const struct monitor_record *h)
{
    spin_lock_bh(&m->lock);
    if (tell_lost(m) && begin(m, h))
        return true;
    m->lost++;
    spin_unlock_bh(&m->lock);
    return false;
}

void monitor_end(struct monitor *m)
{
    uint32_t before = used(m);
    finish(m);
    uint32_t now = used(m);
    spin_unlock_bh(&m->lock);
    if (!before || (before < BATCH && now >= BATCH))
        wake_up(&m->wait);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Sends up to BATCH bytes. -EIO: nobody hears us any more. */
static int send_some(struct monitor *m)
{
    uint32_t at = m->tail % RING, n = MIN(MIN(used(m), BATCH), RING - at);
    int err = session_send(m->session, m->ring + at, n);
    __atomic_store_n(&m->tail, m->tail + n, __ATOMIC_RELEASE);
    return err;
}

static void monitor_thread(void *arg)
{
    struct monitor *m = arg;
    int err = 0;
    while (!err && !READ_ONCE(m->stopping)) {
        wait_event(&m->wait, used(m) || READ_ONCE(m->stopping));
        wait_event_full(&m->wait, used(m) >= BATCH || READ_ONCE(m->stopping), WAIT_UNINTERRUPTIBLE,
                        time_now() + GATHER, false);
        while (!err && used(m) && !READ_ONCE(m->stopping))
            err = send_some(m);
    }
    arm[m->ask.kind](NULL);
    spin_lock_bh(&active_lock);
    active[m->ask.kind] = NULL;
    spin_unlock_bh(&active_lock);
    /* Those who still tell do so into a ring that nobody empties. */
    while (!err && used(m))
        err = send_some(m);
    spin_lock_bh(&m->lock);
    tell_lost(m);
    spin_unlock_bh(&m->lock);
    while (!err && used(m))
        err = send_some(m);
    session_finish(m->session);
    monitor_put(m);
    wake_up(&ended);
    thread_exit();
}

static struct monitor *monitor_create(struct session_io *s, const struct ctl_monitor *ask)
{
    struct monitor *m = kzalloc(sizeof(*m));
    if (!m)
        return NULL;
    ref_init(&m->refs, 1);
    m->ask = *ask;
    m->session = s;
    wait_queue_init(&m->wait);
    spin_init(&m->lock);
    m->ring = kmalloc(RING);
    if (!m->ring) {
        kfree(m);
        return NULL;
    }
    return m;
}

int monitor_start(struct session_io *s, const struct ctl_monitor *ask)
{
    if (ask->kind >= KINDS || !arm[ask->kind])
        return -EINVAL;
    struct monitor *m = monitor_create(s, ask);
    if (!m)
        return -ENOMEM;
    spin_lock_bh(&active_lock);
    bool busy = active[ask->kind];
    if (!busy)
        active[ask->kind] = m;
    spin_unlock_bh(&active_lock);
    int err = busy ? -EBUSY : arm[ask->kind](&m->ask);
    if (!err) {
        err = thread_create(NULL, monitor_thread, m, "monitor");
        if (err)
            arm[ask->kind](NULL);
    }
    if (!err)
        return 0;
    spin_lock_bh(&active_lock);
    if (!busy)
        active[ask->kind] = NULL;
    spin_unlock_bh(&active_lock);
    monitor_put(m);
    return err;
}

static void stop(struct monitor *m)
{
    WRITE_ONCE(m->stopping, true);
    wake_up(&m->wait);
}

void monitor_stop(const struct session_io *s)
{
    spin_lock_bh(&active_lock);
    for (int i = 0; i < KINDS; i++)
        if (active[i] && active[i]->session == s)
            stop(active[i]);
    spin_unlock_bh(&active_lock);
}

void monitor_stop_all(nsec_t deadline)
{
    spin_lock_bh(&active_lock);
    for (int i = 0; i < KINDS; i++)
        if (active[i])
            stop(active[i]);
    spin_unlock_bh(&active_lock);
    wait_event_full(&ended, !session_monitors(), WAIT_UNINTERRUPTIBLE, deadline, false);
}
