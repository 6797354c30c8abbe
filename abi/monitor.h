/*
 * Monitors: sessions of the control channel whose OUT frames are not a program's output but records
 * of what the domain does (abi/control.h, CTL_MONITOR).
 *
 * The output is a stream of records, each a struct monitor_record and what its type says behind it,
 * filled up to a multiple of 8. Frames may cut it anywhere. A record that finds no room in the
 * domain, since nobody returns credit, is lost; the next one that does is preceded by a LOST record
 * that counts them. So a slow reader never stops a domain.
 *
 * All of it comes from a domain and is hostile to who reads it.
 */
#ifndef ABI_MONITOR_H
#define ABI_MONITOR_H

#include <stdint.h>

#define MONITOR_CALLS 512u        /* numbers of system calls that can be told apart */
#define MONITOR_RECORD_MAX 66048u /* the longest frame fits */
#define MONITOR_SNAP_MAX 1024u    /* of a buffer of a system call */

enum monitor_kind {
    MONITOR_TRACE = 1,  /* system calls and signals; one at a time in a domain (EBUSY) */
    MONITOR_FRAMES = 2, /* what its network interface sends and receives; one at a time */
};

/* What CTL_MONITOR asks for. */
struct ctl_monitor {
    uint32_t kind;
    uint32_t flags; /* MONITOR_FOLLOW */
    uint32_t pid;   /* TRACE: of the process, or one of its threads; 0: all there are now */
    uint32_t
        snap; /* TRACE: bytes of each buffer, at most MONITOR_SNAP_MAX; FRAMES: of each frame */
    uint64_t calls[MONITOR_CALLS / 64]; /* TRACE: those that are told, by number */
};
#define MONITOR_FOLLOW 1u /* TRACE: children of those traced, too */

enum monitor_type {
    MONITOR_LOST = 1,   /* uint64 records */
    MONITOR_ENTRY = 2,  /* uint64 arguments[6], captures; number: the call's */
    MONITOR_EXIT = 3,   /* struct monitor_exit, captures */
    MONITOR_SIGNAL = 4, /* struct monitor_signal: a task takes it */
    MONITOR_END = 5,    /* uint64 status, as wait(2) has it: a task ends */
    MONITOR_FRAME = 6,  /* struct monitor_frame, and the frame's bytes */
};

struct monitor_record {
    uint32_t length; /* of the whole, a multiple of 8, at most MONITOR_RECORD_MAX */
    uint16_t type;   /* enum monitor_type */
    uint16_t number; /* of the system call */
    uint32_t pid, tid;
    uint64_t time; /* CLOCK_REALTIME in nanoseconds */
};

struct monitor_exit {
    int64_t result;    /* or -errno; 512 and above: it is restarted */
    uint64_t duration; /* ns since the entry */
    uint64_t args[6];
};

/* What one argument points to, as far as it was captured: at the entry what the call reads, at the
 * exit what it wrote (abi/syscalls.h). Then `length` bytes, filled up to a multiple of 8. */
struct monitor_capture {
    uint16_t arg;
    uint16_t flags; /* MONITOR_CUT, MONITOR_FAULT */
    uint32_t length;
};
/* An IOV capture: for each of the first segments, how long it is and how much of it follows. */
struct monitor_segment {
    uint64_t length, captured; /* then the bytes, filled up to a multiple of 8 */
};
#define MONITOR_CUT 1u   /* there is more */
#define MONITOR_FAULT 2u /* it could not be read */

struct monitor_signal {
    int32_t signo, code;
    int32_t pid; /* of the sender, if code says that there is one */
    uint32_t uid;
    uint64_t addr; /* of a fault */
};

struct monitor_frame {
    uint32_t length; /* of the frame */
    uint32_t captured;
    uint32_t out;  /* 1: sent, 0: received */
    uint32_t path; /* enum ctl_path_kind */
};

#endif
