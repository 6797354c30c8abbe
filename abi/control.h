/*
 * The control channel: how the supervisor runs programs in a domain and hears of them.
 *
 * One byte stream each way over a virtio-console port, cut into frames: a struct ctl_header, then
 * `length` bytes of payload. All integers are little-endian. Each side treats the other as hostile:
 * a frame longer than CTL_MAX_PAYLOAD, of an unknown type or for an unknown session is a protocol
 * error; the receiver logs it and drops the frame (unknown type or session) or the channel
 * (length).
 *
 * A session is one program started by the supervisor, numbered by it from 1. Session 1 is the
 * domain's main program: the domain powers off when it has ended, after its EXIT frame was sent. A
 * session ends when its last process has ended: a program that goes to the background as a daemon
 * lives on. Its status is that of the program's first process, unless that ended with 0 and the
 * last one did not.
 *
 * The device is QEMU's virtio-serial-pci with one virtserialport (nr=1), which pushes back when the
 * supervisor does not read; its console port would drop bytes.
 *
 * The start:        domain: HELLO            supervisor: WELCOME
 * A program:        supervisor: EXEC         domain: STARTED or EXIT with CTL_EXIT_EXEC
 *                   both: data frames        domain: EXIT (after the last OUT/ERR of the session)
 *
 * Flow control: each direction of a session's data starts with CTL_WINDOW bytes of credit. A sender
 * uses it up with the payload of IN, OUT and ERR (OUT and ERR share one window); the receiver
 * returns it with CREDIT once it has consumed data. So a program whose output nobody reads blocks
 * in write(2) and disturbs no other session.
 */
#ifndef ABI_CONTROL_H
#define ABI_CONTROL_H

#include <stdint.h>

#define CTL_VERSION 1u
#define CTL_MAX_PAYLOAD 65536u
#define CTL_WINDOW 65536u

struct ctl_header {
    uint32_t length;  /* bytes of payload that follow */
    uint16_t type;    /* enum ctl_type */
    uint16_t session; /* 0 where no session is meant */
};

enum ctl_type {
    /* domain to supervisor */
    CTL_HELLO = 1,    /* struct ctl_hello */
    CTL_STARTED = 2,  /* the session's program is running; payload: uint32 pid */
    CTL_OUT = 3,      /* bytes of standard output */
    CTL_ERR = 4,      /* bytes of standard error */
    CTL_EXIT = 5,     /* struct ctl_exit */
    CTL_LISTEN = 6,   /* session 0: struct ctl_listen; a program began to accept on a port */
    CTL_STATS = 7,    /* session 0: answer to GET_STATS, UTF-8 JSON text, one object */
    CTL_CLAIM = 8,    /* session 0: struct ctl_claim; answered by CLAIMED */
    CTL_SWITCHED = 9, /* session 0: struct ctl_switched, the answer to a SWITCH */
    CTL_PATH = 10,    /* session 0: struct ctl_path; the path in use is another one */
    CTL_CORE = 11,    /* session 0: struct ctl_core and bytes: a piece of a program's core file */
    /* supervisor to domain */
    CTL_WELCOME = 32,   /* struct ctl_welcome */
    CTL_EXEC = 33,      /* struct ctl_exec and its strings */
    CTL_IN = 34,        /* bytes of standard input; an empty frame is end of file */
    CTL_SIGNAL = 35,    /* uint32 signal number, to the session's process group */
    CTL_WINSIZE = 36,   /* uint16 rows, uint16 columns */
    CTL_SHUTDOWN = 37,  /* session 0: SIGTERM to all, power off when all ended; uint32 grace in ms
                           after which what is left gets SIGKILL */
    CTL_GET_STATS = 38, /* session 0: ask for STATS */
    CTL_CLAIMED = 39, /* session 0: struct ctl_claim with the answer, in the order of the CLAIMs */
    CTL_SWITCH = 40,  /* session 0: struct ctl_switch; answered by SWITCHED */
    CTL_MONITOR = 41, /* struct ctl_monitor (abi/monitor.h): a session without a program. STARTED
                         with pid 0 or EXIT with CTL_EXIT_EXEC answers; OUT frames carry records;
                         any SIGNAL ends it, with EXIT. It may start before session 1. */
    /* both ways */
    CTL_CREDIT = 64, /* uint32 bytes of data consumed since the last CREDIT */
};

struct ctl_hello {
    uint32_t version; /* CTL_VERSION */
    uint32_t cpus;    /* running virtual CPUs */
    uint64_t memory;  /* usable bytes */
    uint64_t boot_ns; /* from kernel entry to this frame */
};

struct ctl_welcome {
    uint32_t version;
    uint32_t reserved;
    uint64_t realtime_ns; /* the host's CLOCK_REALTIME when it wrote this frame */
};

/*
 * EXEC payload: this header, then NUL-terminated strings back to back: working directory, user name
 * ("" = root), program (looked up in the environment's PATH if it holds no '/'), then argc
 * arguments (argv[0] included), then envc environment strings "K=V".
 */
struct ctl_exec {
    uint32_t flags; /* CTL_EXEC_* */
    uint16_t argc;
    uint16_t envc;
};
#define CTL_EXEC_TTY 1u   /* give it a terminal; output all comes as OUT */
#define CTL_EXEC_STDIN 2u /* standard input comes as IN; without this flag it is /dev/null */

struct ctl_exit {
    uint32_t kind;  /* CTL_EXIT_* */
    uint32_t value; /* exit status, signal number, or errno of the failed start */
};
#define CTL_EXIT_STATUS 0u /* value: exit status 0..255 */
#define CTL_EXIT_SIGNAL 1u /* value: signal that killed it */
#define CTL_EXIT_EXEC 2u   /* value: errno; the program could not be started */

struct ctl_listen {
    uint16_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t port;
    uint16_t family;  /* 4 or 6 */
    uint16_t open;    /* 1: began, 0: ended */
    uint8_t addr[16]; /* IPv4 in the first four bytes */
};

/*
 * Ports of a shared address (abi/channel.h, CHANNEL_SHARED). A domain claims a port before a socket
 * is bound to it and gives it back when no socket has it any more; the supervisor says whether
 * another domain owns it. A claim is in force when the answer is sent. Claiming a port again that
 * the domain owns is no error and counts once. Ports of the domain's own ephemeral ranges are owned
 * without a claim, and a GIVE does not take them away. All end with the domain.
 *
 * Errors: EADDRINUSE; ENOSPC when the domain has more ports or ranges than one may have, or none is
 * left; EINVAL for a claim that makes no sense, among them every claim of a domain that shares no
 * address.
 */
enum ctl_claim_op {
    CTL_CLAIM_TAKE = 1, /* protocol, port */
    CTL_CLAIM_GIVE = 2, /* protocol, port; not answered */
    CTL_CLAIM_MORE = 3, /* a further range of ephemeral ports, TCP and UDP: first, last */
};
struct ctl_claim {
    uint8_t op;       /* enum ctl_claim_op */
    uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t port;
    uint32_t error; /* of the answer: 0 or a Linux errno */
    uint16_t first, last;
    uint32_t zero;
};

/*
 * The path of the domain's network interface. Its devices come and go by hot-plug; SWITCH says
 * which kind is to be used. The domain waits until a device of that kind is there and has a link,
 * uses it from then on, and answers when what the other path's rings held was sent. On an error (a
 * Linux errno: ENODEV or ENETDOWN, no such device or no link in time; EBUSY, another SWITCH is
 * under way; EINVAL) nothing has changed. A device that is lost later is a matter of the domain: it
 * uses the other path at once, returns when it can, and tells of both by PATH.
 */
enum ctl_path_kind { CTL_PATH_NONE = 0, CTL_PATH_DIRECT = 1, CTL_PATH_SERVER = 2 };
struct ctl_switch {
    uint32_t id;         /* comes back with the answer */
    uint32_t path;       /* enum ctl_path_kind: DIRECT or SERVER */
    uint32_t timeout_ms; /* for the device to be ready; at most CTL_SWITCH_TIMEOUT_MAX */
    uint32_t zero;
};
#define CTL_SWITCH_TIMEOUT_MAX 30000u
struct ctl_switched {
    uint32_t id;
    uint32_t path;     /* in use now */
    uint32_t error;    /* 0 or a Linux errno */
    uint32_t moved;    /* 1: it was another one before */
    uint64_t stall_ns; /* from the exchange of the path until the network was told */
    uint64_t drain_ns; /* from there until the old path had sent what it held */
};
enum ctl_path_reason {
    CTL_PATH_ASKED = 1,
    CTL_PATH_LINK_LOST = 2, /* of the one in use before */
    CTL_PATH_LINK_BACK = 3,
    CTL_PATH_DETACHED = 4, /* the one in use before */
    CTL_PATH_ATTACHED = 5,
};
struct ctl_path {
    uint32_t path;   /* enum ctl_path_kind: in use from now on */
    uint32_t reason; /* enum ctl_path_reason */
};

/*
 * A core file, in pieces with rising offsets. What lies between them is zero. The supervisor keeps
 * the last one that was completed, as much of it as it likes.
 */
struct ctl_core {
    uint64_t offset;
    uint32_t pid;
    uint32_t flags; /* CTL_CORE_* */
};
#define CTL_CORE_FIRST 1u /* a new file begins */
#define CTL_CORE_LAST 2u  /* it is complete; offset is its size, no bytes follow */

#endif
