/* What the files of terminals share: data (tty.c), control (tty_control.c), names (devpts.c). */
#ifndef LINUX_TTY_INTERNAL_H
#define LINUX_TTY_INTERNAL_H

#include <asm/termbits.h>
#include <asm/termios.h>

#include "core/lock.h"
#include "core/wait.h"
#include "linux/tty.h"

#define TTY_BUFFER 4096u /* typed and not read; power of two */

struct tty {
    refcount_t refs;
    tty_output_fn output;
    void *arg;
    struct mutex output_lock; /* order of output, and output against tty_detach */
    spinlock_t lock;          /* everything below */
    struct termios termios;
    struct winsize size;
    int number;    /* in /dev/pts */
    uint32_t dev;  /* as in st_rdev */
    int sid, pgid; /* controlled session and its foreground group; 0: not known */
    bool hung_up;
    bool stopped;              /* output waits: ^S, TCOOFF */
    bool packet;               /* TIOCPKT: the master hears of what follows */
    uint8_t packet_status;     /* TIOCPKT_*, not told yet */
    bool locked;               /* a pty that may not be opened yet */
    bool was_open;             /* a file of it was made */
    atomic_int opens;          /* files of it */
    size_t (*room)(void *arg); /* bytes that output would take now; NULL: any number */
    uint8_t buf[TTY_BUFFER];
    uint64_t line_end[TTY_BUFFER / 64]; /* bit set: that byte ends a line (canonical mode) */
    uint32_t head, tail;                /* typed, read */
    uint32_t line_head;                 /* up to here lines are complete */
    uint32_t column;
    struct wait_queue wait;
};

#define SIGINT_N 2
#define SIGQUIT_N 3
#define SIGHUP_N 1
#define SIGTSTP_N 20
#define SIGTTIN_N 21
#define SIGTTOU_N 22
#define SIGCONT_N 18
#define SIGWINCH_N 28

/* With the lock held: forgets what was typed and not read; output goes on or waits. The last one
 * tells a master in packet mode, which the caller wakes. */
void tty_flush_input(struct tty *t);
void tty_stop(struct tty *t, bool stop);
void tty_packet_event(struct tty *t, uint8_t set, uint8_t clear);
/* Sends bytes past output processing, as echo is: not if a writer is at it. */
void tty_echo(struct tty *t, const uint8_t *data, size_t n);
/* Bytes a read may have now. */
uint32_t tty_readable_bytes(const struct tty *t);
/* A background process that reads (or configures) its terminal is stopped: -ERESTARTSYS, or -EIO if
 * it blocks or ignores the signal. 0: go on. */
int tty_check_foreground(struct tty *t, int signo);
long tty_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user);
/* The same for either side; master: the caller is not on the terminal but behind it. */
long tty_control(struct tty *t, unsigned cmd, uint64_t arg, bool master);
/* Bytes that tty_input would keep. */
size_t tty_input_room(const struct tty *t);
/* Makes f, which is being opened, a file of the terminal. */
void tty_open_as(struct tty *t, struct file *f);

/* --- tty_session.c ---------------------------------------------------------------------------- */
/* The current process' controlling terminal, referenced, or NULL. */
struct tty *tty_of_current(void);
/* TIOCSCTTY and open: t becomes the terminal of the current session, whose leader asks and has none
 * yet. steal: though it is another session's. -EPERM. */
int tty_take(struct tty *t, bool steal);
/* TIOCNOTTY. -ENOTTY. */
int tty_give_up(struct tty *t);
/* TIOCSPGRP. -ENOTTY, -EINVAL, -ESRCH, -EPERM. */
int tty_set_foreground(struct tty *t, int pgid);

#endif
