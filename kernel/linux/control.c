/*
 * The control channel (abi/control.h): one thread reads frames from the supervisor's port and acts
 * on them; whoever has something to tell sends frames, one at a time. Everything that arrives is
 * hostile until checked.
 */
#include "linux/clock.h"
#include "linux/control.h"
#include "core/deferred.h"
#include "core/mem.h"
#include "core/thread.h"
#include "core/timer.h"
#include "drivers/console.h"
#include "linux/io.h"
#include "net/shared.h"
#include "net/socket.h"

static struct {
    struct char_port *port;
    bool lost;
    struct mutex send_lock; /* one frame at a time: out_buf */
    uint8_t *out_buf;       /* header and payload of the frame being sent */
    uint8_t *in_buf;        /* payload of the frame being read */
} control;

/* --- sending ---------------------------------------------------------------------------------- */

static int port_write(const uint8_t *data, size_t n)
{
    while (n && !control.lost) {
        ssize_t w = char_port_write(control.port, data, n);
        if (w < 0)
            control.lost = true;
        else if (w == 0)
            wait_event(&control.port->writable, char_port_can_write(control.port));
        data += MAX(w, 0);
        n -= (size_t)MAX(w, 0);
    }
    return control.lost ? -EIO : 0;
}

static int send_out_buf(unsigned type, unsigned session, size_t len)
{
    struct ctl_header h = {(uint32_t)len, (uint16_t)type, (uint16_t)session};
    memcpy(control.out_buf, &h, sizeof(h));
    return port_write(control.out_buf, sizeof(h) + len);
}

int control_send(unsigned type, unsigned session, const void *payload, size_t len)
{
    ASSERT(len <= CTL_MAX_PAYLOAD);
    mutex_lock(&control.send_lock);
    memcpy(control.out_buf + sizeof(struct ctl_header), payload, len);
    int err = send_out_buf(type, session, len);
    mutex_unlock(&control.send_lock);
    return err;
}

int control_send_uio(unsigned type, unsigned session, struct uio *u, size_t n)
{
    mutex_lock(&control.send_lock);
    int err = uio_read(control.out_buf + sizeof(struct ctl_header), n, u);
    if (!err)
        err = send_out_buf(type, session, n);
    mutex_unlock(&control.send_lock);
    return err;
}

bool control_is_up(void)
{
    return control.port && !control.lost;
}

void control_flush(nsec_t timeout)
{
    wait_event_full(&control.port->writable, control.lost || char_port_all_sent(control.port),
                    WAIT_UNINTERRUPTIBLE, time_now() + timeout, false);
}

/* --- ports that programs listen on ------------------------------------------------------------ */

/* The hook may run where nothing can wait, so events are queued for a work item. */
struct listen_event {
    struct list link;
    struct ctl_listen payload;
};

static spinlock_t listen_lock = SPINLOCK_INIT;
static struct list listen_events = LIST_INIT(listen_events);

static void send_listen_events(struct work *w)
{
    (void)w;
    for (;;) {
        spin_lock_bh(&listen_lock);
        struct listen_event *e = list_pop_front(&listen_events, struct listen_event, link);
        spin_unlock_bh(&listen_lock);
        if (!e)
            return;
        control_send(CTL_LISTEN, 0, &e->payload, sizeof(e->payload));
        kfree(e);
    }
}

static struct work listen_work = {.link = LIST_INIT(listen_work.link), .run = send_listen_events};

static void on_listen(int proto, const struct sock_addr *addr, int family, bool open)
{
    struct listen_event *e = kzalloc(sizeof(*e));
    if (!e) {
        klog(LOG_WARN, "control: out of memory, LISTEN of port %u not told", addr->port);
        return;
    }
    e->payload = (struct ctl_listen){
        .protocol = (uint16_t)proto, .port = addr->port, .family = (uint16_t)family, .open = open};
    if (family == 4)
        memcpy(e->payload.addr, &addr->ip.w[3], 4);
    else
        memcpy(e->payload.addr, &addr->ip, 16);
    spin_lock_bh(&listen_lock);
    list_push_back(&listen_events, &e->link);
    spin_unlock_bh(&listen_lock);
    work_schedule(&listen_work);
}

/* --- ports of a shared address ---------------------------------------------------------------- */

#define CLAIM_TIMEOUT (5 * NSEC_PER_SEC)

/* One claim is under way at a time: net/shared.h's operations are called one after the other.
 * Answers come in the order of the questions, so that counting them tells one that is late. */
static struct {
    struct wait_queue wait;
    spinlock_t lock;
    uint32_t asked, answered; /* ever */
    struct ctl_claim claim;   /* the last question, then its answer */
} claims;

static void on_claimed(const uint8_t *payload, size_t len)
{
    struct ctl_claim a = {0};

    memcpy(&a, payload, MIN(len, sizeof(a)));
    spin_lock_bh(&claims.lock);
    const struct ctl_claim *q = &claims.claim;
    bool wanted = claims.asked != claims.answered;
    claims.answered += wanted;
    if (wanted && claims.asked == claims.answered) {
        if (len < sizeof(a) || a.op != q->op || a.protocol != q->protocol || a.port != q->port)
            a.error = EPROTO;
        claims.claim = a;
    }
    spin_unlock_bh(&claims.lock);
    if (wanted)
        wake_up(&claims.wait);
    else
        klog(LOG_ERROR, "control: CLAIMED that nobody asked for");
}

static int claim_ask(struct ctl_claim *c)
{
    spin_lock_bh(&claims.lock);
    claims.claim = *c;
    claims.asked++;
    spin_unlock_bh(&claims.lock);
    int err = control_send(CTL_CLAIM, 0, c, sizeof(*c));
    if (err)
        return err;
    wait_event_full(&claims.wait, READ_ONCE(claims.answered) == claims.asked || control.lost,
                    WAIT_UNINTERRUPTIBLE, time_now() + CLAIM_TIMEOUT, false);
    spin_lock_bh(&claims.lock);
    bool answered = claims.answered == claims.asked;
    *c = claims.claim;
    spin_unlock_bh(&claims.lock);
    if (!answered)
        return control.lost ? -EIO : -ETIMEDOUT;
    return c->error < 4096 ? -(int)c->error : -EPROTO;
}

static void claim_give(uint8_t proto, uint16_t port)
{
    struct ctl_claim c = {.op = CTL_CLAIM_GIVE, .protocol = proto, .port = port};

    control_send(CTL_CLAIM, 0, &c, sizeof(c));
}

/* bind(2) knows few errors. */
static int claim_take(uint8_t proto, uint16_t port)
{
    struct ctl_claim c = {.op = CTL_CLAIM_TAKE, .protocol = proto, .port = port};
    int err = claim_ask(&c);

    if (err == -ETIMEDOUT)
        claim_give(proto, port); /* it may be granted later than we want it */
    if (err && err != -EADDRINUSE && err != -ETIMEDOUT && err != -EIO) {
        klog(LOG_ERROR, "control: port %u was not granted: error %d", port, -err);
        err = -EADDRNOTAVAIL;
    }
    return err;
}

static int claim_more(uint16_t *first, uint16_t *last)
{
    struct ctl_claim c = {.op = CTL_CLAIM_MORE};
    int err = claim_ask(&c);

    *first = c.first;
    *last = c.last;
    return err;
}

static const struct shared_ops claim_ops = {
    .take = claim_take, .give = claim_give, .more = claim_more};

/* --- receiving -------------------------------------------------------------------------------- */

static int port_read(uint8_t *data, size_t n)
{
    while (n) {
        ssize_t r = char_port_read(control.port, data, n);
        if (r < 0)
            return (int)r;
        if (r == 0)
            wait_event(&control.port->readable, char_port_can_read(control.port));
        data += r;
        n -= (size_t)r;
    }
    return 0;
}

static void on_welcome(const uint8_t *payload, size_t len)
{
    struct ctl_welcome w;
    if (len < sizeof(w)) {
        klog(LOG_ERROR, "control: WELCOME of %zu bytes", len);
        return;
    }
    memcpy(&w, payload, sizeof(w));
    if (w.version != CTL_VERSION)
        klog(LOG_ERROR, "control: the supervisor speaks version %u, this kernel %u", w.version,
             CTL_VERSION);
    if (w.realtime_ns && w.realtime_ns < INT64_MAX)
        timerfd_set_clock((nsec_t)w.realtime_ns);
}

static void send_stats(void)
{
    size_t len;
    char *text = control_stats(&len);
    if (!text)
        len = 0;
    control_send(CTL_STATS, 0, text, MIN(len, (size_t)CTL_MAX_PAYLOAD));
    kfree(text);
}

/* Payloads of a single number; false (and a log line) if it is short. */
static bool payload_u32(const struct ctl_header *h, uint32_t *value)
{
    if (h->length < sizeof(*value)) {
        klog(LOG_ERROR, "control: frame of type %u with %u bytes", h->type, h->length);
        return false;
    }
    memcpy(value, control.in_buf, sizeof(*value));
    return true;
}

static void dispatch(const struct ctl_header *h)
{
    uint32_t value;
    switch (h->type) {
    case CTL_WELCOME:
        on_welcome(control.in_buf, h->length);
        break;
    case CTL_EXEC:
        session_exec(h->session, control.in_buf, h->length);
        break;
    case CTL_IN:
        session_input(h->session, control.in_buf, h->length);
        break;
    case CTL_SIGNAL:
        if (payload_u32(h, &value))
            session_signal(h->session, value);
        break;
    case CTL_MONITOR:
        session_monitor(h->session, control.in_buf, h->length);
        break;
    case CTL_WINSIZE:
        if (payload_u32(h, &value))
            session_winsize(h->session, (uint16_t)value, (uint16_t)(value >> 16));
        break;
    case CTL_SHUTDOWN:
        if (payload_u32(h, &value))
            session_shutdown_all(value);
        break;
    case CTL_GET_STATS:
        send_stats();
        break;
    case CTL_CLAIMED:
        on_claimed(control.in_buf, h->length);
        break;
    case CTL_SWITCH:
        switch_path(control.in_buf, h->length);
        break;
    case CTL_CREDIT:
        if (payload_u32(h, &value))
            session_credit(h->session, value);
        break;
    default:
        klog(LOG_ERROR, "control: frame of unknown type %u dropped", h->type);
    }
}

static void control_thread(void *arg)
{
    (void)arg;
    struct mem_stats mem;
    mem_stats(&mem);
    struct ctl_hello hello = {CTL_VERSION, (uint32_t)cpu_count, mem.total_pages * PAGE_SIZE,
                              (uint64_t)time_now()};
    int err = control_send(CTL_HELLO, 0, &hello, sizeof(hello));
    while (!err) {
        struct ctl_header h;
        err = port_read((uint8_t *)&h, sizeof(h));
        if (!err && h.length > CTL_MAX_PAYLOAD) {
            klog(LOG_ERROR, "control: frame of %u bytes, channel dropped", h.length);
            err = -EPROTO;
        }
        if (!err)
            err = port_read(control.in_buf, h.length);
        if (!err)
            dispatch(&h);
    }
    klog(LOG_ERROR, "control: channel lost: error %d", -err);
    control.lost = true;
    wake_up(&claims.wait);
    session_channel_lost();
    thread_exit();
}

int control_start(void)
{
    control.port = char_port_find(1);
    if (!control.port)
        control.port = char_port_find(0);
    if (!control.port)
        return -ENODEV;
    mutex_init(&control.send_lock);
    control.out_buf = kmalloc(sizeof(struct ctl_header) + CTL_MAX_PAYLOAD);
    control.in_buf = kmalloc(CTL_MAX_PAYLOAD);
    if (!control.out_buf || !control.in_buf)
        return -ENOMEM;
    session_init();
    spin_init(&claims.lock);
    wait_queue_init(&claims.wait);
    shared_set_ops(&claim_ops);
    socket_listen_hook = on_listen;
    switch_init();
    return thread_create(NULL, control_thread, NULL, "control");
}
