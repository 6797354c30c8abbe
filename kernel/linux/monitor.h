/*
 * Monitors (abi/monitor.h): records of what the domain does, for a command on the other side of the
 * control channel. There is one of each kind at most. Whoever has something to tell asks for the
 * monitor of its kind, and drops the reference when it has told.
 */
#ifndef LINUX_MONITOR_H
#define LINUX_MONITOR_H

#include "abi/monitor.h"
#include "core/base.h"

struct monitor;
struct session_io;

/* Starts one, whose records are the session's output; it ends the session itself (session_finish)
 * when it was told to stop and all is sent. -EBUSY: there is one of this kind; -EINVAL, -ESRCH,
 * -ENOMEM. Thread context. */
int monitor_start(struct session_io *s, const struct ctl_monitor *ask);
/* Nothing new is recorded from now on. Any session; nothing happens if it has no monitor. */
void monitor_stop(const struct session_io *s);
/* Stops all, and waits until what they recorded is sent, until the deadline at most. */
void monitor_stop_all(nsec_t deadline);

/* Referenced, or NULL. Any context but hard interrupts. */
struct monitor *monitor_get(enum monitor_kind kind);
void monitor_put(struct monitor *m);
const struct ctl_monitor *monitor_asked(const struct monitor *m);

/* Begins a record of `length` bytes in all (a multiple of 8): h, then what monitor_add() gets, then
 * zeros. False: there is no room, it is lost and counted; else the monitor is locked until
 * monitor_end(). Any context but hard interrupts. */
bool monitor_begin(struct monitor *m, const struct monitor_record *h);
void monitor_add(struct monitor *m, const void *data, size_t n);
void monitor_end(struct monitor *m);

/* What is switched on for a monitor; NULL: off. 0 or -errno. Thread context. */
int trace_arm(const struct ctl_monitor *ask);
int frames_arm(const struct ctl_monitor *ask);

#endif
