/* /etc/resolv.conf. */
#ifndef LINUX_RESOLV_H
#define LINUX_RESOLV_H

/* Writes the file from what the network knows of name servers, now and whenever that changes. Once,
 * at boot, when the root is mounted. Thread context. */
void resolv_init(void);

#endif
