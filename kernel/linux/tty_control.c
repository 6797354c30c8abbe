/* Terminals: job control, signals, settings. */
#include <asm/ioctls.h>

#include "fs/file.h"
#include "linux/process.h"
#include "linux/tty_internal.h"

void tty_signal(struct tty *t, int signo, int fallback)
{
    spin_lock(&t->lock);
    int group = t->pgid ? t->pgid : fallback;
    spin_unlock(&t->lock);
    signal_send_group(group, signo, NULL);
}

void tty_set_session(struct tty *t, int leader)
{
    spin_lock(&t->lock);
    if (!t->sid)
        t->sid = t->pgid = leader;
    spin_unlock(&t->lock);
}

void tty_set_size(struct tty *t, uint16_t rows, uint16_t columns)
{
    spin_lock(&t->lock);
    bool changed = t->size.ws_row != rows || t->size.ws_col != columns;
    t->size.ws_row = rows;
    t->size.ws_col = columns;
    int group = t->pgid;
    spin_unlock(&t->lock);
    if (changed && group)
        signal_send_group(group, SIGWINCH_N, NULL);
}

void tty_hangup(struct tty *t)
{
    spin_lock(&t->lock);
    t->hung_up = true;
    int leader = t->sid;
    spin_unlock(&t->lock);
    struct process *p = leader ? process_find(leader) : NULL;
    if (p) {
        signal_send_process(p, SIGHUP_N, NULL);
        signal_send_process(p, SIGCONT_N, NULL);
        process_put(p);
    }
    wake_up(&t->wait);
}

void tty_detach(struct tty *t)
{
    mutex_lock(&t->output_lock);
    t->output = NULL;
    mutex_unlock(&t->output_lock);
    spin_lock(&t->lock);
    t->hung_up = true;
    spin_unlock(&t->lock);
    wake_up(&t->wait);
}

static bool usual_flow(const struct termios *t)
{
    return t->c_iflag & IXON && t->c_cc[VSTOP] == 023 && t->c_cc[VSTART] == 021;
}

/* A master in packet mode stops output itself if it knows that ^S and ^Q do. */
static void tell_flow(struct tty *t, const struct termios *old, const struct termios *new)
{
    bool flow = usual_flow(new);
    if (flow != usual_flow(old))
        tty_packet_event(t, flow ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP,
                         flow ? TIOCPKT_NOSTOP : TIOCPKT_DOSTOP);
    if ((old->c_lflag | new->c_lflag) & EXTPROC)
        tty_packet_event(t, TIOCPKT_IOCTL, 0);
}

static long change_termios(struct tty *t, const struct termios *new, bool flush)
{
    int err = tty_check_foreground(t, SIGTTOU_N);
    if (err)
        return err;
    spin_lock(&t->lock);
    bool was_canonical = t->termios.c_lflag & ICANON;
    tell_flow(t, &t->termios, new);
    t->termios = *new;
    if (flush)
        tty_flush_input(t);
    if (was_canonical != !!(new->c_lflag &ICANON))
        t->line_head = t->head; /* what is there can be read either way */
    if (!(new->c_iflag &IXON))
        tty_stop(t, false);
    spin_unlock(&t->lock);
    wake_up(&t->wait);
    return 0;
}

static long set_termios(struct tty *t, uaddr_t arg, bool flush)
{
    struct termios new;
    return copy_from_user(&new, arg, sizeof(new)) ? -EFAULT : change_termios(t, &new, flush);
}

/* struct termio, the old form: 16 bits of the flags and 8 of the characters. */
static long get_termio(const struct tty *t, uaddr_t arg)
{
    struct termio old = {
        .c_iflag = (uint16_t)t->termios.c_iflag,
        .c_oflag = (uint16_t)t->termios.c_oflag,
        .c_cflag = (uint16_t)t->termios.c_cflag,
        .c_lflag = (uint16_t)t->termios.c_lflag,
        .c_line = t->termios.c_line,
    };
    memcpy(old.c_cc, t->termios.c_cc, NCC);
    return copy_to_user(arg, &old, sizeof(old));
}

static long set_termio(struct tty *t, uaddr_t arg, bool flush)
{
    struct termio old;
    struct termios new = t->termios;
    if (copy_from_user(&old, arg, sizeof(old)))
        return -EFAULT;
    new.c_iflag = (new.c_iflag & 0xffff0000) | old.c_iflag;
    new.c_oflag = (new.c_oflag & 0xffff0000) | old.c_oflag;
    new.c_cflag = (new.c_cflag & 0xffff0000) | old.c_cflag;
    new.c_lflag = (new.c_lflag & 0xffff0000) | old.c_lflag;
    new.c_line = old.c_line;
    memcpy(new.c_cc, old.c_cc, NCC);
    return change_termios(t, &new, flush);
}

static long set_group(struct tty *t, uaddr_t arg)
{
    int pgid, err = tty_check_foreground(t, SIGTTOU_N);
    if (err)
        return err;
    return copy_from_user(&pgid, arg, sizeof(pgid)) ? -EFAULT : tty_set_foreground(t, pgid);
}

/* tcflow(3). */
static long flow(struct tty *t, uint64_t action)
{
    int err = action > TCION ? -EINVAL : tty_check_foreground(t, SIGTTOU_N);
    if (err)
        return err;
    if (action == TCIOFF || action == TCION) {
        tty_echo(t, &t->termios.c_cc[action == TCIOFF ? VSTOP : VSTART], 1);
        return 0;
    }
    spin_lock(&t->lock);
    tty_stop(t, action == TCOOFF);
    spin_unlock(&t->lock);
    wake_up(&t->wait);
    return 0;
}

/* tcflush(3). What comes in for one side goes out for the other. What a terminal has written is
 * with the other side already and not taken back. */
static long flush(struct tty *t, uint64_t which, bool master)
{
    int err = which > TCIOFLUSH ? -EINVAL : tty_check_foreground(t, SIGTTOU_N);
    if (err)
        return err;
    spin_lock(&t->lock);
    if (which != (master ? TCIFLUSH : TCOFLUSH))
        tty_flush_input(t);
    if (which != (master ? TCOFLUSH : TCIFLUSH))
        tty_packet_event(t, TIOCPKT_FLUSHWRITE, 0);
    spin_unlock(&t->lock);
    wake_up(&t->wait);
    return 0;
}

static long get_int(uaddr_t arg, int value)
{
    return copy_to_user(arg, &value, sizeof(value));
}

long tty_control(struct tty *t, unsigned cmd, uint64_t arg, bool master)
{
    struct process *p = current_process();
    bool ours = master || p->tty == t;
    struct winsize size;
    switch (cmd) {
    case TCGETS:
        return copy_to_user(arg, &t->termios, sizeof(t->termios));
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_termios(t, arg, cmd == TCSETSF);
    case TCGETA:
        return get_termio(t, arg);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
        return set_termio(t, arg, cmd == TCSETAF);
    case TIOCGWINSZ:
        return copy_to_user(arg, &t->size, sizeof(t->size));
    case TIOCSWINSZ:
        if (copy_from_user(&size, arg, sizeof(size)))
            return -EFAULT;
        tty_set_size(t, size.ws_row, size.ws_col);
        return 0;
    case TIOCGPGRP:
        return !ours ? -ENOTTY : get_int(arg, t->pgid || master ? t->pgid : p->pgid);
    case TIOCSPGRP:
        return set_group(t, arg);
    case TIOCGSID:
        return !ours || (master && !t->sid) ? -ENOTTY : get_int(arg, t->sid ? t->sid : p->sid);
    case TIOCSCTTY:
        return tty_take(t, arg == 1 && capable(21 /* CAP_SYS_ADMIN */));
    case TIOCNOTTY:
        return tty_give_up(t);
    case FIONREAD:
        return get_int(arg, (int)tty_readable_bytes(t));
    case TIOCOUTQ:
        return get_int(arg, 0);
    case TCSBRK: /* wait until output is sent: it is, when write returns; there are no breaks */
        return 0;
    case TCXONC:
        return flow(t, arg);
    case TCFLSH:
        return flush(t, arg, master);
    default:
        return -ENOTTY;
    }
}

long tty_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user)
{
    (void)user;
    return tty_control(f->data, cmd, arg, false);
}
