/* A network of the test's own where the system has such things: what is changed there stays there.
 */
#ifndef TESTS_GUEST_NETWORK_H
#define TESTS_GUEST_NETWORK_H

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* On Linux a namespace with a loopback interface; a domain has one network, all its own. */
static inline void own_network(void)
{
    struct ifreq r = {.ifr_name = "lo"};

    if (unshare(getuid() ? CLONE_NEWUSER | CLONE_NEWNET : CLONE_NEWNET))
        return;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    r.ifr_flags = IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &r))
        perror("lo");
    close(fd);
}

#endif
