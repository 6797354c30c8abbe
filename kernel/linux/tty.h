/*
 * Terminals: the line discipline of termios(3) between a program and whoever shows its output. The
 * other side is a function for output and tty_input for what is typed.
 */
#ifndef LINUX_TTY_H
#define LINUX_TTY_H

#include "fs/file.h"

struct tty;
struct process;

/* Takes n bytes of output; what it took. May sleep unless nonblock (echo), where it may take less.
 */
typedef ssize_t (*tty_output_fn)(void *arg, const void *data, size_t n, bool nonblock);

/* One reference; NULL: out of memory. 80 x 24, canonical mode with echo. */
struct tty *tty_create(tty_output_fn output, void *arg);
void tty_get(struct tty *t);
void tty_put(struct tty *t);
/* The current process is p and ends: a leader's session loses its terminal. */
void tty_process_ends(struct process *p);
/* p's controlling terminal as /proc tells it: its device number (0: none) and foreground group, -1
 * without a terminal. */
void tty_of_process(struct process *p, uint32_t *dev, int *group);
/* What is typed. Thread context, does not sleep; what does not fit is lost. */
void tty_input(struct tty *t, const uint8_t *data, size_t n);
/* The other side is gone: SIGHUP to the session's leader, end of file for readers. */
void tty_hangup(struct tty *t);
/* No more output: its arg is about to go. */
void tty_detach(struct tty *t);
void tty_set_size(struct tty *t, uint16_t rows, uint16_t columns);
/* The session that the terminal controls; its leader's group is in the foreground. */
void tty_set_session(struct tty *t, int leader);
/* To the foreground group; to `fallback` if there is none. */
void tty_signal(struct tty *t, int signo, int fallback);

/* --- names (devpts.c). Thread context ------------------------------------------------------------
 */

/* Gives the terminal the lowest free number as its name in /dev/pts, a device that belongs to uid;
 * it keeps the terminal until devpts_remove. -ENOSPC, -ENOMEM. */
int devpts_add(struct tty *t, uint32_t uid);
/* Once, after devpts_add: who has the terminal open keeps it, nobody opens it any more. */
void devpts_remove(struct tty *t);
void devpts_set_owner(struct tty *t, uint32_t uid);
/* A new description of a terminal that has a name. ERR_PTR. */
struct file *devpts_open(struct tty *t, unsigned flags);
/* At the start, once. */
int devpts_mount(void);

#endif
