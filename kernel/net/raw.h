/* Raw sockets (IP packets of one protocol) and ping sockets (ICMP echo without privileges). */
#ifndef NET_RAW_H
#define NET_RAW_H

#include "net/socket.h"

int raw_socket_create(int family, int proto, struct socket **out);
int ping_socket_create(int family, struct socket **out);
void raw_init(void);

#endif
