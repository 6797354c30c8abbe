/* Start of the personality's I/O. */
#include "linux/io.h"

void io_init(void)
{
    pipe_init();
    epoll_init();
    console_init();
    kmsg_init();
    tty_init();
    pty_init();
    unix_socket_init();
    netlink_init();
    async_init();
    attr_init();
    timerfd_init();
}
