/* All internet sockets of a protocol in one form, for /proc/net and sock_diag. */
#ifndef NET_SOCKROWS_H
#define NET_SOCKROWS_H

#include "net/socket.h"

/* TCP states as Linux numbers them; datagram sockets have the first or the second. */
enum { SOCK_ROW_ESTABLISHED = 1, SOCK_ROW_CLOSE = 7, SOCK_ROW_LISTEN = 10 };

struct sock_row {
    struct socket *s; /* NULL: TIME-WAIT */
    struct sock_addr local, peer;
    uint8_t family; /* 4 or 6 */
    uint8_t state;
    uint8_t retransmits;
    uint32_t received, unsent; /* bytes waiting; a listener: connections, the backlog */
    uint64_t drops;
};

typedef void (*sock_row_fn)(const struct sock_row *row, void *arg);

/* Calls fn for each socket; locks may be held, so it must not sleep nor use the socket but for
 * reading it. udp_rows: bound UDP sockets. raw_rows: raw sockets. Thread context. */
void tcp_rows(sock_row_fn fn, void *arg);
void udp_rows(sock_row_fn fn, void *arg);
void raw_rows(sock_row_fn fn, void *arg);

#endif
