/* The personality's files and I/O: what linux_init and spawning need of it. */
#ifndef LINUX_IO_H
#define LINUX_IO_H

#include "fs/file.h"

/* Prepares pipes, epoll, sockets, terminals and registers their devices. Before the first program.
 */
void io_init(void);

/* A new description of the kernel console (the serial port) for programs that the boot arguments
 * start; OPEN_* access mode. ERR_PTR. Reading it is end of file. */
struct file *console_open(unsigned flags);

/* Starts the control channel of abi/control.h: its thread waits for the supervisor, spawns what it
 * asks for and ends the domain when session 1 has ended. -ENODEV if there is no port. */
int control_start(void);

/* Modules of linux/ that io_init starts. */
void pipe_init(void);
void epoll_init(void);
void console_init(void);
void kmsg_init(void); /* /dev/kmsg */
void tty_init(void);
void pty_init(void);
void unix_socket_init(void);
void netlink_init(void);
void async_init(void);
void attr_init(void);
void timerfd_init(void);

#endif
