/* Terminals: canonical and raw input, echo, output processing. */
#include "core/mem.h"
#include "core/timer.h"
#include "fs/vfs.h"
#include "linux/io.h"
#include "linux/process.h"
#include "linux/signals.h"
#include "linux/tty_internal.h"

#define CTRL(c) ((c)&0x1f)

struct tty *tty_create(tty_output_fn output, void *arg)
{
    struct tty *t = kzalloc(sizeof(*t));
    if (!t)
        return NULL;
    ref_init(&t->refs, 1);
    t->output = output;
    t->arg = arg;
    mutex_init(&t->output_lock);
    spin_init(&t->lock);
    wait_queue_init(&t->wait);
    t->size = (struct winsize){.ws_row = 24, .ws_col = 80};
    t->termios = (struct termios){
        .c_iflag = ICRNL | IXON,
        .c_oflag = OPOST | ONLCR,
        .c_cflag = B38400 | CS8 | CREAD | HUPCL,
        .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    };
    static const uint8_t cc[NCCS] = {
        [VINTR] = CTRL('C'),    [VQUIT] = CTRL('\\'),   [VERASE] = 0x7f,
        [VKILL] = CTRL('U'),    [VEOF] = CTRL('D'),     [VMIN] = 1,
        [VSTART] = CTRL('Q'),   [VSTOP] = CTRL('S'),    [VSUSP] = CTRL('Z'),
        [VREPRINT] = CTRL('R'), [VDISCARD] = CTRL('O'), [VWERASE] = CTRL('W'),
        [VLNEXT] = CTRL('V'),
    };
    memcpy(t->termios.c_cc, cc, sizeof(cc));
    return t;
}

void tty_get(struct tty *t)
{
    ref_get(&t->refs);
}

void tty_put(struct tty *t)
{
    if (ref_put(&t->refs))
        kfree(t);
}

/* --- output ----------------------------------------------------------------------------------- */

/* Output processing: newlines become CR NL. Returns the bytes written to out (at most 2 * n). */
static size_t cook(const struct tty *t, const uint8_t *in, size_t n, uint8_t *out)
{
    bool crlf = t->termios.c_oflag & OPOST && t->termios.c_oflag & ONLCR;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (crlf && in[i] == '\n')
            out[k++] = '\r';
        out[k++] = in[i];
    }
    return k;
}

/* How many of the n bytes of input have their output among the first `put` bytes of it. */
static size_t cooked_from(const struct tty *t, const uint8_t *in, size_t n, size_t put)
{
    uint8_t pair[2];
    size_t i = 0;
    for (size_t k = 0; i < n && (k += cook(t, in + i, 1, pair)) <= put; i++)
        ;
    return i;
}

/* Hands processed bytes to the other side; with output_lock held. */
static ssize_t emit(struct tty *t, const uint8_t *data, size_t n, bool nonblock)
{
    return t->output ? t->output(t->arg, data, n, nonblock) : -EIO;
}

void tty_echo(struct tty *t, const uint8_t *data, size_t n)
{
    /* A program that writes right now may sleep with the lock: echo is then lost rather than late.
     */
    if (!n || !mutex_trylock(&t->output_lock))
        return;
    emit(t, data, n, true);
    mutex_unlock(&t->output_lock);
}

/* --- input ------------------------------------------------------------------------------------ */

struct echo_buf {
    uint8_t data[512];
    size_t len;
};

static void echo_add(struct echo_buf *e, const char *s, size_t n)
{
    if (n <= sizeof(e->data) - e->len) {
        memcpy(e->data + e->len, s, n);
        e->len += n;
    }
}

static void echo_char(const struct tty *t, struct echo_buf *e, uint8_t c)
{
    if (c == '\n') {
        if (t->termios.c_lflag & (ECHO | ECHONL))
            echo_add(e, "\r\n", 2);
    } else if (t->termios.c_lflag & ECHO) {
        char caret[2] = {'^', (char)(c ^ 0x40)};
        if ((c < 0x20 || c == 0x7f) && c != '\t' && t->termios.c_lflag & ECHOCTL)
            echo_add(e, caret, 2);
        else
            echo_add(e, (char *)&c, 1);
    }
}

static bool is_cc(const struct tty *t, int which, uint8_t c)
{
    return t->termios.c_cc[which] == c && c != 0;
}

static void set_line_end(struct tty *t, uint32_t at, bool on)
{
    uint64_t bit = 1ull << at % 64;
    uint64_t *word = &t->line_end[at % TTY_BUFFER / 64];
    *word = on ? *word | bit : *word & ~bit;
}

static bool is_line_end(const struct tty *t, uint32_t at)
{
    return t->line_end[at % TTY_BUFFER / 64] >> at % 64 & 1;
}

static void store(struct tty *t, uint8_t c, bool ends_line)
{
    /* One place stays free for the end of the line. */
    if (t->head - t->tail >= TTY_BUFFER - (ends_line ? 0 : 1))
        return;
    t->buf[t->head % TTY_BUFFER] = c;
    set_line_end(t, t->head, ends_line);
    t->head++;
    if (ends_line || !(t->termios.c_lflag & ICANON))
        t->line_head = t->head;
}

static void erase_one(struct tty *t, struct echo_buf *e)
{
    if (t->head == t->line_head)
        return;
    uint8_t c = t->buf[--t->head % TTY_BUFFER];
    bool wide = (c < 0x20 || c == 0x7f) && t->termios.c_lflag & ECHOCTL;
    if (t->termios.c_lflag & ECHO && t->termios.c_lflag & ECHOE)
        echo_add(e, wide ? "\b \b\b \b" : "\b \b", wide ? 6 : 3);
}

/* Line editing; true if c was used up. */
static bool edit(struct tty *t, uint8_t c, struct echo_buf *e)
{
    if (is_cc(t, VERASE, c)) {
        erase_one(t, e);
    } else if (is_cc(t, VKILL, c)) {
        while (t->head != t->line_head)
            erase_one(t, e);
    } else if (is_cc(t, VWERASE, c) && t->termios.c_lflag & IEXTEN) {
        while (t->head != t->line_head && t->buf[(t->head - 1) % TTY_BUFFER] == ' ')
            erase_one(t, e);
        while (t->head != t->line_head && t->buf[(t->head - 1) % TTY_BUFFER] != ' ')
            erase_one(t, e);
    } else if (is_cc(t, VEOF, c)) {
        store(t, 0, true);
    } else {
        return false;
    }
    return true;
}

static int signal_of(const struct tty *t, uint8_t c)
{
    if (!(t->termios.c_lflag & ISIG))
        return 0;
    return is_cc(t, VINTR, c)   ? SIGINT_N
           : is_cc(t, VQUIT, c) ? SIGQUIT_N
           : is_cc(t, VSUSP, c) ? SIGTSTP_N
                                : 0;
}

void tty_packet_event(struct tty *t, uint8_t set, uint8_t clear)
{
    if (t->packet)
        t->packet_status = (t->packet_status & ~clear) | set;
}

void tty_flush_input(struct tty *t)
{
    t->tail = t->line_head = t->head;
    tty_packet_event(t, TIOCPKT_FLUSHREAD, 0);
}

void tty_stop(struct tty *t, bool stop)
{
    if (t->stopped == stop)
        return;
    WRITE_ONCE(t->stopped, stop);
    if (stop)
        tty_packet_event(t, TIOCPKT_STOP, TIOCPKT_START);
    else
        tty_packet_event(t, TIOCPKT_START, TIOCPKT_STOP);
}

/* ^S and ^Q; true if c was one and is used up. */
static bool flow_control(struct tty *t, uint8_t c)
{
    if (!(t->termios.c_iflag & IXON))
        return false;
    bool start = is_cc(t, VSTART, c), stop = is_cc(t, VSTOP, c);
    if (start || stop)
        tty_stop(t, !start);
    else if (t->termios.c_iflag & IXANY)
        tty_stop(t, false);
    return start || stop;
}

/* One typed byte; returns the signal it means, or 0. */
static int input_char(struct tty *t, uint8_t c, struct echo_buf *e)
{
    tcflag_t iflag = t->termios.c_iflag;
    if (c == '\r') {
        if (iflag & IGNCR)
            return 0;
        if (iflag & ICRNL)
            c = '\n';
    } else if (c == '\n' && iflag & INLCR) {
        c = '\r';
    }
    if (flow_control(t, c))
        return 0;
    int signo = signal_of(t, c);
    if (signo) {
        if (iflag & IXON)
            tty_stop(t, false);
        if (!(t->termios.c_lflag & NOFLSH)) {
            tty_flush_input(t);
            tty_packet_event(t, TIOCPKT_FLUSHWRITE, 0);
        }
        echo_char(t, e, c);
        return signo;
    }
    bool canonical = t->termios.c_lflag & ICANON;
    if (canonical && edit(t, c, e))
        return 0;
    store(t, c, canonical && (c == '\n' || is_cc(t, VEOL, c) || is_cc(t, VEOL2, c)));
    echo_char(t, e, c);
    return 0;
}

void tty_input(struct tty *t, const uint8_t *data, size_t n)
{
    while (n) {
        struct echo_buf e = {.len = 0};
        int signo = 0, group;
        spin_lock(&t->lock);
        while (n && !signo && e.len < sizeof(e.data) - 8) {
            signo = input_char(t, *data++, &e);
            n--;
        }
        group = t->pgid;
        spin_unlock(&t->lock);
        tty_echo(t, e.data, e.len);
        if (signo && group)
            signal_send_group(group, signo, NULL);
    }
    wake_up(&t->wait);
}

/* --- reading ---------------------------------------------------------------------------------- */

uint32_t tty_readable_bytes(const struct tty *t)
{
    return READ_ONCE(t->termios.c_lflag) & ICANON ? READ_ONCE(t->line_head) - READ_ONCE(t->tail)
                                                  : READ_ONCE(t->head) - READ_ONCE(t->tail);
}

size_t tty_input_room(const struct tty *t)
{
    size_t used = READ_ONCE(t->head) - READ_ONCE(t->tail);
    /* A line that is too long is cut: nobody could read it to make room. */
    if (READ_ONCE(t->termios.c_lflag) & ICANON && READ_ONCE(t->line_head) == READ_ONCE(t->tail))
        return TTY_BUFFER;
    return used < TTY_BUFFER - 1 ? TTY_BUFFER - 1 - used : 0;
}

/* At most max bytes, at most one line in canonical mode. *ended: a line (or end of file) ended. */
static size_t take(struct tty *t, uint8_t *out, size_t max, bool *ended)
{
    size_t n = 0;
    *ended = false;
    spin_lock(&t->lock);
    bool canonical = t->termios.c_lflag & ICANON;
    uint32_t limit = canonical ? t->line_head : t->head;
    while (n < max && t->tail != limit && !*ended) {
        uint8_t c = t->buf[t->tail % TTY_BUFFER];
        *ended = canonical && is_line_end(t, t->tail);
        t->tail++;
        if (!*ended || c) /* the end-of-file character itself is not data */
            out[n++] = c;
    }
    /* End of file right behind what just fitted ends this read, not the next one. */
    if (canonical && n == max && n && !*ended && t->tail != limit && is_line_end(t, t->tail) &&
        !t->buf[t->tail % TTY_BUFFER])
        t->tail++;
    spin_unlock(&t->lock);
    return n;
}

static int wait_input(struct tty *t, struct file *f, size_t want, nsec_t deadline)
{
    if (f->flags & OPEN_NONBLOCK)
        return -EAGAIN;
    return wait_event_timeout(&t->wait, tty_readable_bytes(t) >= want || READ_ONCE(t->hung_up),
                              deadline);
}

static ssize_t tty_read(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct tty *t = f->data;
    uint8_t buf[256];
    ssize_t done = 0;
    int err = tty_check_foreground(t, SIGTTIN_N);
    if (err)
        return err;
    bool canonical = t->termios.c_lflag & ICANON, ended = false;
    size_t vmin = canonical ? 1 : t->termios.c_cc[VMIN];
    nsec_t vtime = canonical ? 0 : t->termios.c_cc[VTIME] * 100 * NSEC_PER_MSEC;
    while (u->resid && !ended) {
        if (!tty_readable_bytes(t)) {
            bool enough = (size_t)done >= MAX(vmin, (size_t)(vtime ? 1 : 0)) || (done && canonical);
            if (READ_ONCE(t->hung_up) || enough || (!vmin && !vtime))
                break;
            /* With VMIN the time runs between bytes, without it from the start. */
            bool timed = vtime && (!vmin || done);
            err = wait_input(t, f, 1, timed ? time_now() + vtime : NSEC_NEVER);
            if (err)
                break;
            continue;
        }
        size_t n = take(t, buf, MIN(u->resid, sizeof(buf)), &ended);
        wake_up_key(&t->wait, POLL_OUT | POLL_WRNORM); /* the other side may write again */
        err = uio_write(u, buf, n);
        if (err)
            break;
        done += (ssize_t)n;
    }
    return done || err == -ETIMEDOUT ? done : err;
}

/* Until output may go on. */
static int wait_started(struct tty *t, struct file *f)
{
    if (likely(!READ_ONCE(t->stopped)) || READ_ONCE(t->hung_up))
        return 0;
    if (f->flags & OPEN_NONBLOCK)
        return -EAGAIN;
    return wait_event_interruptible(&t->wait, !READ_ONCE(t->stopped) || READ_ONCE(t->hung_up));
}

static ssize_t tty_write(struct file *f, struct uio *u, uint64_t *pos)
{
    (void)pos;
    struct tty *t = f->data;
    uint8_t in[256], out[512];
    ssize_t done = 0;
    int err = t->termios.c_lflag & TOSTOP ? tty_check_foreground(t, SIGTTOU_N) : 0;
    if (err)
        return err;
    mutex_lock(&t->output_lock);
    while (u->resid && !err) {
        size_t n = MIN(u->resid, sizeof(in));
        struct uio before = *u;
        err = uio_read(in, n, u);
        if (err)
            break;
        size_t k = cook(t, in, n, out);
        ssize_t w = wait_started(t, f);
        w = w ? w : emit(t, out, k, f->flags & OPEN_NONBLOCK);
        size_t sent = w < 0 ? 0 : cooked_from(t, in, n, (size_t)w);
        if (sent < n) {
            *u = before;
            uio_skip(u, sent);
        }
        done += (ssize_t)sent;
        if (w < 0)
            err = (int)w;
        else if (w < (ssize_t)k && f->flags & OPEN_NONBLOCK)
            err = -EAGAIN;
    }
    mutex_unlock(&t->output_lock);
    return done ? done : err;
}

static unsigned tty_poll(struct file *f, struct poll_table *pt)
{
    struct tty *t = f->data;
    poll_register(pt, &t->wait);
    if (READ_ONCE(t->hung_up))
        return POLL_IN | POLL_RDNORM | POLL_HUP | POLL_OUT | POLL_WRNORM;
    return (tty_readable_bytes(t) ? POLL_IN | POLL_RDNORM : 0) |
           (!READ_ONCE(t->stopped) && (!t->room || t->room(t->arg)) ? POLL_OUT | POLL_WRNORM : 0);
}

/* --- as files --------------------------------------------------------------------------------- */

static void tty_release(struct file *f)
{
    struct tty *t = f->data;
    atomic_fetch_sub(&t->opens, 1);
    wake_up(&t->wait);
    tty_put(t);
}

static const struct file_ops tty_ops = {
    .name = "tty",
    .mode = MODE_CHR | 0620,
    .read = tty_read,
    .write = tty_write,
    .poll = tty_poll,
    .ioctl = tty_ioctl,
    .release = tty_release,
};

void tty_open_as(struct tty *t, struct file *f)
{
    tty_get(t);
    atomic_fetch_add(&t->opens, 1);
    WRITE_ONCE(t->was_open, true);
    f->ops = &tty_ops;
    f->data = t;
}

/* /dev/tty: the controlling terminal. */
static int open_controlling(struct vnode *v, struct file *f)
{
    (void)v;
    struct tty *t = tty_of_current();
    if (!t)
        return -ENXIO;
    tty_open_as(t, f);
    tty_put(t);
    return 0;
}

void tty_init(void)
{
    int err = device_register("tty", 5ull << 32, MODE_CHR | 0666, &tty_ops, open_controlling);
    if (err)
        klog(LOG_ERROR, "no /dev/tty: error %d", -err);
}
