/* What the files of terminals share: data (tty.c) and control (tty_control.c). */
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
    int sid, pgid; /* controlled session and its foreground group; 0: not known */
    bool hung_up;
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
#define SIGWINCH_N 28

/* With the lock held: forgets what was typed and not read. */
void tty_flush_input(struct tty *t);
/* Bytes a read may have now. */
uint32_t tty_readable_bytes(const struct tty *t);
/* A background process that reads (or configures) its terminal is stopped: -ERESTARTSYS, or -EIO if
 * it blocks or ignores the signal. 0: go on. */
int tty_check_foreground(struct tty *t, int signo);
long tty_ioctl(struct file *f, unsigned cmd, uint64_t arg, bool user);

#endif
