/*
 * Sessions of the control channel: programs that the supervisor runs, with their standard streams
 * as files, and monitors (linux/monitor.h). Data in both directions is bounded by the windows of
 * abi/control.h, so a session whose output nobody reads blocks itself only.
 */
#include "arch/arch.h"
#include "core/mem.h"
#include "core/timer.h"
#include "linux/control.h"
#include "linux/io.h"
#include "linux/monitor.h"
#include "linux/process.h"
#include "linux/tty.h"

#define MAX_STRINGS 4096
#define CREDIT_BATCH                                                                               \
    (CTL_WINDOW / 4) /* input is acknowledged in steps of this, or when it is used up */
#define LAST_FRAME_TIMEOUT NSEC_PER_SEC

struct session_io {
    struct list link;
    refcount_t refs; /* the list's until EXIT; each file's */
    unsigned id;
    int pid;
    bool is_monitor; /* it has no program */
    bool has_input;
    spinlock_t lock; /* everything below */
    bool over;       /* EXIT was sent, or the channel is gone */
    uint32_t out_credit;
    struct wait_queue out_wait;
    uint8_t *in;               /* ring of CTL_WINDOW bytes; NULL without standard input */
    uint32_t in_head, in_tail; /* bytes put, bytes taken; differ by CTL_WINDOW at most */
    uint32_t in_unacked;       /* taken, but not yet returned as credit */
    bool in_eof;
    struct wait_queue in_wait;
    struct tty *tty; /* CTL_EXEC_TTY; referenced */
    bool started;    /* STARTED was sent (or the start has failed): output and EXIT may follow */
};

static struct mutex sessions_lock;
static struct list sessions = LIST_INIT(sessions);
static struct wait_queue sessions_wait = WAIT_QUEUE_INIT(sessions_wait); /* one ended */
static bool shutting_down;

static void session_put(struct session_io *s)
{
    if (!ref_put(&s->refs))
        return;
    if (s->tty) {
        devpts_remove(s->tty);
        tty_put(s->tty);
    }
    kfree(s->in);
    kfree(s);
}

/* Referenced, or NULL. */
static struct session_io *session_find(unsigned id)
{
    struct session_io *s, *found = NULL;
    mutex_lock(&sessions_lock);
    list_for_each (s, &sessions, link)
        if (s->id == id)
            found = s;
    if (found)
        ref_get(&found->refs);
    mutex_unlock(&sessions_lock);
    return found;
}

/* For frames from the supervisor: logs when there is no such session (it may just have ended). */
static struct session_io *session_of_frame(unsigned id, const char *what)
{
    struct session_io *s = session_find(id);
    if (!s)
        klog(LOG_DEBUG, "control: %s for session %u, which is not there", what, id);
    return s;
}

/* --- output ----------------------------------------------------------------------------------- */

/* Takes up to n bytes of credit. */
static uint32_t take_credit(struct session_io *s, size_t n)
{
    spin_lock(&s->lock);
    uint32_t got = (uint32_t)MIN((size_t)s->out_credit, n);
    s->out_credit -= got;
    spin_unlock(&s->lock);
    return got;
}

static void give_credit(struct session_io *s, uint32_t n)
{
    spin_lock(&s->lock);
    if (n > CTL_WINDOW - s->out_credit) {
        klog(LOG_ERROR, "control: session %u: CREDIT of %u bytes is too much", s->id, n);
        n = CTL_WINDOW - s->out_credit;
    }
    s->out_credit += n;
    spin_unlock(&s->lock);
    wake_up_key(&s->out_wait, POLL_OUT | POLL_WRNORM);
}

static ssize_t session_write(struct session_io *s, unsigned type, struct uio *u, bool nonblock)
{
    ssize_t done = 0;
    int err = 0;
    while (u->resid && !err) {
        uint32_t n = take_credit(s, MIN(u->resid, (size_t)CTL_MAX_PAYLOAD));
        if (READ_ONCE(s->over)) {
            err = -EIO;
        } else if (n) {
            err = control_send_uio(type, s->id, u, n);
            if (err == -EFAULT)
                give_credit(s, n);
            else
                done += n;
        } else if (nonblock) {
            err = -EAGAIN;
        } else {
            err = wait_event_interruptible(&s->out_wait,
                                           READ_ONCE(s->out_credit) || READ_ONCE(s->over));
        }
    }
    return done ? done : err;
}

static ssize_t out_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    return session_write(f->data, CTL_OUT, u, f->flags & OPEN_NONBLOCK);
}

static ssize_t err_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    return session_write(f->data, CTL_ERR, u, f->flags & OPEN_NONBLOCK);
}

static unsigned out_poll(struct file *f, struct poll_table *pt)
{
    struct session_io *s = f->data;
    poll_register(pt, &s->out_wait);
    if (READ_ONCE(s->over))
        return POLL_ERR;
    return READ_ONCE(s->out_credit) ? POLL_OUT | POLL_WRNORM : 0;
}

void session_credit(unsigned id, uint32_t bytes)
{
    struct session_io *s = session_of_frame(id, "CREDIT");
    if (!s)
        return;
    give_credit(s, bytes);
    session_put(s);
}

/* --- input ------------------------------------------------------------------------------------ */

static void input_put(struct session_io *s, const uint8_t *data, size_t n)
{
    spin_lock(&s->lock);
    if (!s->in || s->in_eof || n > CTL_WINDOW - (s->in_head - s->in_tail) - s->in_unacked) {
        spin_unlock(&s->lock);
        klog(LOG_ERROR, "control: session %u: %zu bytes of input that it cannot take", s->id, n);
        return;
    }
    if (!n)
        s->in_eof = true;
    while (n) {
        size_t at = s->in_head % CTL_WINDOW, k = MIN(n, CTL_WINDOW - at);
        memcpy(s->in + at, data, k);
        s->in_head += (uint32_t)k;
        data += k;
        n -= k;
    }
    spin_unlock(&s->lock);
    wake_up_key(&s->in_wait, POLL_IN | POLL_RDNORM);
}

/* Counts n bytes as consumed and returns credit if it is time to. */
static void acknowledge(struct session_io *s, uint32_t n)
{
    spin_lock(&s->lock);
    s->in_unacked += n;
    uint32_t credit = s->in_unacked;
    if (credit < CREDIT_BATCH && s->in_head != s->in_tail)
        credit = 0;
    s->in_unacked -= credit;
    spin_unlock(&s->lock);
    if (credit)
        control_send(CTL_CREDIT, s->id, &credit, sizeof(credit));
}

void session_input(unsigned id, const uint8_t *payload, size_t len)
{
    struct session_io *s = session_of_frame(id, "IN");
    if (!s)
        return;
    if (s->tty) {
        if (len)
            tty_input(s->tty, payload, len);
        else
            tty_hangup(s->tty);
        acknowledge(s, (uint32_t)len);
    } else {
        input_put(s, payload, len);
    }
    session_put(s);
}

/* Readers are few: they copy through a buffer, so that the ring needs only its spin lock. */
static ssize_t input_take(struct session_io *s, struct uio *u)
{
    uint8_t buf[512];
    ssize_t done = 0;
    while (u->resid) {
        spin_lock(&s->lock);
        size_t at = s->in_tail % CTL_WINDOW;
        size_t n = MIN(MIN(u->resid, sizeof(buf)), (size_t)(s->in_head - s->in_tail));
        n = MIN(n, CTL_WINDOW - at);
        memcpy(buf, s->in + at, n);
        s->in_tail += (uint32_t)n;
        spin_unlock(&s->lock);
        if (!n)
            break;
        if (uio_write(u, buf, n))
            return done ? done : -EFAULT;
        done += (ssize_t)n;
    }
    return done;
}

static ssize_t in_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct session_io *s = f->data;
    if (!u->resid)
        return 0;
    for (;;) {
        bool eof = READ_ONCE(s->in_eof) || READ_ONCE(s->over);
        ssize_t n = input_take(s, u);
        if (n > 0)
            acknowledge(s, (uint32_t)n);
        if (n || eof)
            return n;
        if (f->flags & OPEN_NONBLOCK)
            return -EAGAIN;
        int err =
            wait_event_interruptible(&s->in_wait, READ_ONCE(s->in_head) != s->in_tail ||
                                                      READ_ONCE(s->in_eof) || READ_ONCE(s->over));
        if (err)
            return err;
    }
}

static unsigned in_poll(struct file *f, struct poll_table *pt)
{
    struct session_io *s = f->data;
    poll_register(pt, &s->in_wait);
    unsigned events = READ_ONCE(s->in_head) != s->in_tail ? POLL_IN | POLL_RDNORM : 0;
    if (READ_ONCE(s->in_eof) || READ_ONCE(s->over))
        events |= POLL_IN | POLL_RDNORM | POLL_HUP;
    return events;
}

/* --- the streams as files --------------------------------------------------------------------- */

static void stream_release(struct file *f)
{
    session_put(f->data);
}

static struct file *stream_open(struct session_io *s, const struct file_ops *ops, unsigned flags)
{
    struct file *f = file_alloc(ops, s, flags);
    if (!IS_ERR(f))
        ref_get(&s->refs);
    return f;
}

/* A stream has one direction. */
static int stream_reopen(struct file *f, unsigned flags, struct file **out)
{
    if ((flags ^ f->flags) & OPEN_ACCMODE)
        return -EACCES;
    *out = stream_open(f->data, f->ops, flags);
    return IS_ERR(*out) ? (int)PTR_ERR(*out) : 0;
}

static const struct file_ops in_ops = {.name = "stdin",
                                       .mode = MODE_FIFO | 0600,
                                       .read = in_read,
                                       .poll = in_poll,
                                       .reopen = stream_reopen,
                                       .release = stream_release};
static const struct file_ops out_ops = {.name = "stdout",
                                        .mode = MODE_FIFO | 0600,
                                        .write = out_write,
                                        .poll = out_poll,
                                        .reopen = stream_reopen,
                                        .release = stream_release};
static const struct file_ops err_ops = {.name = "stderr",
                                        .mode = MODE_FIFO | 0600,
                                        .write = err_write,
                                        .poll = out_poll,
                                        .reopen = stream_reopen,
                                        .release = stream_release};

static struct file *null_open(void)
{
    struct file *f;
    int err = vfs_open(vfs_root_context(), NULL, "/dev/null", OPEN_RDWR, 0, &f);
    return err ? ERR_PTR(err) : f;
}

static int open_streams(struct session_io *s, struct file *stdio[3])
{
    if (s->tty) {
        for (int i = 0; i < 3; i++)
            stdio[i] = devpts_open(s->tty, OPEN_RDWR | OPEN_NOCTTY);
    } else {
        stdio[0] = s->has_input ? stream_open(s, &in_ops, OPEN_RDONLY) : null_open();
        stdio[1] = stream_open(s, &out_ops, OPEN_WRONLY);
        stdio[2] = stream_open(s, &err_ops, OPEN_WRONLY);
    }
    int err = 0;
    for (int i = 0; i < 3; i++)
        err = IS_ERR(stdio[i]) ? (int)PTR_ERR(stdio[i]) : err;
    for (int i = 0; err && i < 3; i++)
        if (!IS_ERR(stdio[i]))
            file_put(stdio[i]);
    return err;
}

/* --- beginning and end ------------------------------------------------------------------------ */

int session_monitors(void)
{
    struct session_io *s;
    int n = 0;
    mutex_lock(&sessions_lock);
    list_for_each (s, &sessions, link)
        n += s->is_monitor;
    mutex_unlock(&sessions_lock);
    return n;
}

static NORETURN void power_off(void)
{
    control_flush(LAST_FRAME_TIMEOUT); /* EXIT must have left */
    arch_power_off();
}

/* Tells the end and forgets the session. */
static void session_end(struct session_io *s, uint32_t kind, uint32_t value)
{
    struct ctl_exit end = {kind, value};
    if (s->id == 1) /* what they recorded is heard before all is over */
        monitor_stop_all(time_now() + LAST_FRAME_TIMEOUT);
    control_send(CTL_EXIT, s->id, &end, sizeof(end));
    WRITE_ONCE(s->over, true);
    wake_up(&s->out_wait);
    wake_up(&s->in_wait);
    if (s->tty)
        tty_detach(s->tty);
    bool main_program = s->id == 1;
    mutex_lock(&sessions_lock);
    list_remove(&s->link);
    mutex_unlock(&sessions_lock);
    session_put(s);
    wake_up(&sessions_wait);
    if (main_program && !shutting_down)
        power_off();
}

static void on_exit(int status, void *arg)
{
    struct session_io *s = arg;
    int signo = status & 0x7f;
    wait_event(&s->out_wait, READ_ONCE(s->started));
    if (signo)
        session_end(s, CTL_EXIT_SIGNAL, (uint32_t)signo);
    else
        session_end(s, CTL_EXIT_STATUS, (uint32_t)status >> 8 & 0xff);
}

static ssize_t tty_out(void *arg, const void *data, size_t n, bool nonblock)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, (void *)data, n);
    return session_write(arg, CTL_OUT, &u, nonblock);
}

/* A terminal with a name; NULL: out of memory, or of names. */
static struct tty *terminal_create(struct session_io *s)
{
    struct tty *t = tty_create(tty_out, s);
    if (t && devpts_add(t, 0)) {
        tty_put(t);
        return NULL;
    }
    return t;
}

static struct session_io *session_alloc(unsigned id, uint32_t flags)
{
    struct session_io *s = kzalloc(sizeof(*s));
    if (!s)
        return NULL;
    ref_init(&s->refs, 1);
    s->id = id;
    s->has_input = flags & CTL_EXEC_STDIN;
    spin_init(&s->lock);
    list_init(&s->link);
    wait_queue_init(&s->out_wait);
    wait_queue_init(&s->in_wait);
    if (flags & CTL_EXEC_TTY)
        s->tty = terminal_create(s);
    else if (s->has_input)
        s->in = kmalloc(CTL_WINDOW);
    if ((flags & CTL_EXEC_TTY && !s->tty) || (!(flags & CTL_EXEC_TTY) && s->has_input && !s->in)) {
        kfree(s);
        return NULL;
    }
    return s;
}

/* The strings of an EXEC payload, found by their NULs: 3 + argc + envc of them, or false. */
static bool split_strings(const char **out, size_t count, const char *text, size_t len)
{
    for (size_t i = 0; i < count; i++) {
        const char *end = len ? memchr(text, 0, len) : NULL;
        if (!end)
            return false;
        out[i] = text;
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    return true;
}

/* strings: directory, user, program, argv, NULL, envp, NULL. */
static int spawn_session(struct session_io *s, const char **strings, size_t argc)
{
    struct spawn sp = {
        .cwd = strings[0],
        .user = strings[1],
        .program = strings[2],
        .argv = strings + 3,
        .envp = strings + 3 + argc + 1,
        .session = s,
        .tty = s->tty,
        .on_exit = on_exit,
        .arg = s,
    };
    int err = open_streams(s, sp.stdio);
    if (err)
        return err;
    return process_spawn(&sp, &s->pid);
}

/* STARTED comes before all output and EXIT: only now is there a window for output. */
static void session_started(struct session_io *s)
{
    uint32_t pid = (uint32_t)s->pid;
    if (s->tty)
        tty_set_session(s->tty, s->pid);
    control_send(CTL_STARTED, s->id, &pid, sizeof(pid));
    WRITE_ONCE(s->started, true);
    give_credit(s, CTL_WINDOW);
}

static int start_session(unsigned id, const struct ctl_exec *h, const char *text, size_t len)
{
    size_t argc = h->argc, envc = h->envc, fixed = 3;
    const char **strings = kzalloc((fixed + argc + envc + 2) * sizeof(*strings));
    if (!strings)
        return -ENOMEM;
    int err = -EINVAL;
    if (split_strings(strings, fixed + argc + envc, text, len)) {
        /* Room for the NULL behind argv. */
        memmove(strings + fixed + argc + 1, strings + fixed + argc, envc * sizeof(*strings));
        strings[fixed + argc] = NULL;
        struct session_io *s = session_alloc(id, h->flags);
        err = s ? 0 : -ENOMEM;
        if (s) {
            mutex_lock(&sessions_lock);
            list_push_back(&sessions, &s->link);
            mutex_unlock(&sessions_lock);
            ref_get(&s->refs); /* on_exit may run before the spawn returns here */
            err = spawn_session(s, strings, argc);
            if (err)
                session_end(s, CTL_EXIT_EXEC, (uint32_t)-err);
            else
                session_started(s);
            session_put(s);
            err = 0;
        }
    }
    kfree(strings);
    return err;
}

void session_exec(unsigned id, const uint8_t *payload, size_t len)
{
    struct ctl_exec h;
    struct session_io *there = session_find(id);
    if (there)
        session_put(there);
    if (!id || there || len < sizeof(h)) {
        klog(LOG_ERROR, "control: EXEC for session %u refused: %s", id,
             there ? "it is in use" : "malformed");
        return;
    }
    memcpy(&h, payload, sizeof(h));
    int err = -EINVAL;
    if (h.argc && h.argc <= MAX_STRINGS && h.envc <= MAX_STRINGS && !shutting_down)
        err = start_session(id, &h, (const char *)payload + sizeof(h), len - sizeof(h));
    if (err) {
        struct ctl_exit end = {CTL_EXIT_EXEC, (uint32_t)-err};
        control_send(CTL_EXIT, id, &end, sizeof(end));
        if (id == 1)
            power_off();
    }
}

void session_signal(unsigned id, uint32_t signo)
{
    struct session_io *s = session_of_frame(id, "SIGNAL");
    if (!s)
        return;
    if (signo < 1 || signo > 64)
        klog(LOG_ERROR, "control: signal %u", signo);
    else if (s->is_monitor)
        monitor_stop(s);
    else if (s->tty)
        tty_signal(s->tty, (int)signo, s->pid);
    else
        signal_send_group(s->pid, (int)signo, NULL);
    session_put(s);
}

void session_winsize(unsigned id, uint16_t rows, uint16_t columns)
{
    struct session_io *s = session_of_frame(id, "WINSIZE");
    if (!s)
        return;
    if (s->tty)
        tty_set_size(s->tty, rows, columns);
    session_put(s);
}

void session_channel_lost(void)
{
    struct session_io *s;
    mutex_lock(&sessions_lock);
    list_for_each (s, &sessions, link) {
        WRITE_ONCE(s->over, true);
        wake_up(&s->out_wait);
        wake_up(&s->in_wait);
    }
    mutex_unlock(&sessions_lock);
}

/* --- monitors --------------------------------------------------------------------------------- */

int session_send(struct session_io *s, const void *data, size_t n)
{
    struct iovec_k seg;
    struct uio u = uio_kernel(&seg, (void *)data, n);
    ssize_t sent = session_write(s, CTL_OUT, &u, false);
    return sent < 0 ? (int)sent : 0;
}

void session_finish(struct session_io *s)
{
    session_end(s, CTL_EXIT_STATUS, 0);
}

void session_monitor(unsigned id, const uint8_t *payload, size_t len)
{
    struct ctl_monitor ask;
    struct session_io *s = session_find(id);
    if (id < 2 || s || len < sizeof(ask)) {
        klog(LOG_ERROR, "control: MONITOR for session %u refused: %s", id,
             s ? "it is in use" : "malformed");
        if (s)
            session_put(s);
        return;
    }
    memcpy(&ask, payload, sizeof(ask));
    s = session_alloc(id, 0);
    if (!s) {
        struct ctl_exit end = {CTL_EXIT_EXEC, ENOMEM};
        control_send(CTL_EXIT, id, &end, sizeof(end));
        return;
    }
    s->is_monitor = true;
    mutex_lock(&sessions_lock);
    list_push_back(&sessions, &s->link);
    mutex_unlock(&sessions_lock);
    ref_get(&s->refs); /* it may be over before it has started */
    int err = monitor_start(s, &ask);
    if (err)
        session_end(s, CTL_EXIT_EXEC, (uint32_t)-err);
    else
        session_started(s);
    session_put(s);
}

/* --- shutdown --------------------------------------------------------------------------------- */

static void signal_all(int signo)
{
    struct process *p;
    for (int from = 2; (p = process_next(from)); process_put(p)) {
        from = p->pid + 1;
        signal_send_process(p, signo, NULL);
    }
}

/* All programs have ended. */
static bool sessions_over(void)
{
    struct session_io *s;
    bool over = true;
    mutex_lock(&sessions_lock);
    list_for_each (s, &sessions, link)
        over &= s->is_monitor;
    mutex_unlock(&sessions_lock);
    return over;
}

static void shutdown_thread(void *arg)
{
    nsec_t grace = (nsec_t)(uintptr_t)arg * NSEC_PER_MSEC;
    signal_all(15);
    wait_event_full(&sessions_wait, sessions_over(), WAIT_UNINTERRUPTIBLE, time_now() + grace,
                    false);
    if (!sessions_over()) {
        signal_all(9);
        wait_event_full(&sessions_wait, sessions_over(), WAIT_UNINTERRUPTIBLE,
                        time_now() + 2 * NSEC_PER_SEC, false);
    }
    monitor_stop_all(time_now() + LAST_FRAME_TIMEOUT);
    power_off();
}

void session_shutdown_all(uint32_t grace_ms)
{
    if (shutting_down)
        return;
    shutting_down = true;
    if (thread_create(NULL, shutdown_thread, (void *)(uintptr_t)grace_ms, "shutdown"))
        power_off();
}

void session_init(void)
{
    mutex_init(&sessions_lock);
}
