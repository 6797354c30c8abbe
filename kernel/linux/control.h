/* The control channel's parts: frames and the channel (control.c), sessions and their standard
 * streams (session.c). abi/control.h is the protocol. */
#ifndef LINUX_CONTROL_H
#define LINUX_CONTROL_H

#include "abi/control.h"
#include "fs/file.h"

struct session_io;

/* Sends one frame; waits for the supervisor to read if need be. Thread context. -EIO: channel gone.
 */
int control_send(unsigned type, unsigned session, const void *payload, size_t len);
/* A data frame of n bytes (n <= CTL_MAX_PAYLOAD) of the caller's buffers. -EFAULT, -EIO. */
int control_send_uio(unsigned type, unsigned session, struct uio *u, size_t n);
/* Whether there is a supervisor to send to. */
bool control_is_up(void);
/* Waits until the supervisor's side has taken all frames. */
void control_flush(nsec_t timeout);

/* What the supervisor asked for; payloads are as they came from it: checked here. */
void session_exec(unsigned id, const uint8_t *payload, size_t len);
void session_input(unsigned id, const uint8_t *payload, size_t len);
void session_credit(unsigned id, uint32_t bytes);
void session_signal(unsigned id, uint32_t signo);
void session_monitor(unsigned id, const uint8_t *payload, size_t len);
void session_winsize(unsigned id, uint16_t rows, uint16_t columns);
/* Moves the interface to another path, and answers. */
void switch_path(const uint8_t *payload, size_t len);
/* From now on the supervisor is told of each change of the path. */
void switch_init(void);
/* Asks all programs to end; the domain powers off when they have. */
void session_shutdown_all(uint32_t grace_ms);
/* The channel is gone: writers and readers of standard streams fail. */
void session_channel_lost(void);
void session_init(void);

/* For monitors: n bytes of output, sent when there is credit. -EIO: the session is over. */
int session_send(struct session_io *s, const void *data, size_t n);
/* The end, with status 0. */
void session_finish(struct session_io *s);
/* How many monitors there are. */
int session_monitors(void);

/* The JSON text of STATS, kmalloc'ed, or NULL. */
char *control_stats(size_t *len);

#endif
