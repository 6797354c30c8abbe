/* /etc/resolv.conf and /etc/hosts. */
#ifndef LINUX_RESOLV_H
#define LINUX_RESOLV_H

/* Adds the domain's name to /etc/hosts, and writes /etc/resolv.conf from what the network knows of
 * name servers, now and whenever that changes. Once, at boot, when the root is mounted. Thread
 * context. */
void resolv_init(void);

#endif
