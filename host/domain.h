/*
 * A domain as the supervisor sees it: a QEMU process, its channels (control, QMP, kernel console,
 * network) and the sessions that run in it. A domain is hostile: whatever it sends is checked, and
 * at worst ends itself.
 *
 * Life:   STARTING --HELLO--> BOOTED --STARTED--> RUNNING --end--> EXITED | PANICKED | FAILED
 * A domain has ended when its QEMU process was reaped; its record is kept for `ps -a`.
 */
#ifndef HOST_DOMAIN_H
#define HOST_DOMAIN_H

#include "../abi/monitor.h"
#include "frame.h"
#include "logfile.h"
#include "loop.h"
#include "qemu.h"
#include "stream.h"
#include "vnet.h"

enum domain_state {
    DOMAIN_STARTING,
    DOMAIN_BOOTED,
    DOMAIN_RUNNING,
    DOMAIN_EXITED,   /* the main program ended, or was stopped */
    DOMAIN_PANICKED, /* the kernel did */
    DOMAIN_FAILED,   /* QEMU or the control channel broke */
};

/* What happened, for whoever listens to a domain; data depends on it. */
enum domain_event {
    DOMAIN_EV_BOOTED,    /* data: struct ctl_hello */
    DOMAIN_EV_LISTEN,    /* data: struct ctl_listen */
    DOMAIN_EV_STATS,     /* data: NUL-terminated JSON text */
    DOMAIN_EV_CLAIM,     /* data: struct ctl_claim; domain_claimed() answers */
    DOMAIN_EV_SWITCHED,  /* data: struct ctl_switched, the answer to domain_switch() */
    DOMAIN_EV_PATH,      /* data: struct ctl_path */
    DOMAIN_EV_UNPLUGGED, /* data: the id of a device that QEMU has let go */
    DOMAIN_EV_ENDED,     /* data: NULL; state, status and reason are final */
};

struct session;
struct lease;
struct netserver;
struct qmp_command;

/* Receives what a session says. All may be NULL. A session without listener discards its output. */
struct session_listener {
    void (*started)(struct session *s, uint32_t pid);
    void (*output)(struct session *s, uint16_t type, const void *data, size_t n);
    void (*in_credit)(struct session *s, uint32_t bytes); /* that many more IN bytes may be sent */
    void (*exited)(struct session *s,
                   const struct ctl_exit *e); /* the session is gone afterwards */
};

struct session {
    uint16_t id;
    bool started;
    uint32_t out_unread; /* OUT and ERR bytes not credited back yet, at most CTL_WINDOW */
    uint32_t in_credit;  /* IN bytes we may still send */
    struct domain *domain;
    const struct session_listener *listener;
    void *arg; /* the listener's */
    /* The stream on which the listener passes frames on, or NULL: its cursors are committed with
     * the domain's. Restored ones wait for domain_listen(). */
    struct stream *peer;
    bool has_cursors;
    uint32_t rx_head, tx_tail;
    struct session *next;
};

struct domain {
    char *name, *program, *dir; /* dir: output.log, kernel.log, qemu.log */
    uint32_t id;                /* no other domain of this keeper has or had it */
    char *state_file;           /* where it is written down, or NULL: nothing of it is kept */
    enum domain_state state;
    pid_t pid;
    struct stream control, qmp, console;
    struct watch end; /* a pidfd: readable when QEMU has ended */
    struct logfile output_log, kernel_log;
    struct loop *loop;
    struct vnet *vnet;
    int nic;                      /* its NIC's number at the virtual switch, or -1 */
    int nic_fd;                   /* a network server's: our end of that NIC, or -1 */
    struct lease *lease;          /* the owner's: what an application domain has of a network */
    struct netserver *server;     /* the owner's: whose instance this is, else NULL */
    int role;                     /* that instance's: enum channel_role */
    struct qmp_command *commands; /* the first was sent if `qmp_busy`; in order */
    bool qmp_up, qmp_busy;
    uint32_t qmp_id;
    struct vnet_forward *forwards;
    size_t forward_count;
    int forward_to;
    unsigned memory_mib, cpus;
    struct session *sessions;
    uint16_t next_session;
    struct timer deadline; /* boot, then the grace time of a stop */
    bool is_server;        /* it has no program */
    bool stopping, killed, powered_off, panicked;
    bool has_exit;
    struct ctl_exit exit; /* of session 1 */
    struct {
        uint64_t at_ns, rx, tx;
        double rx_rate, tx_rate; /* frames per second between the last two looks */
    } look;
    char *reason; /* why it failed or panicked: one line, or NULL */
    uint64_t started_ns, spawned_ns, hello_ns, running_ns, listen_ns, ended_ns;
    void (*event)(struct domain *d, enum domain_event what, const void *data);
    void *arg; /* the owner's */
    struct domain *next;
};

/* What it takes to start one. Strings are copied. */
struct domain_spec {
    const char *name, *program, *dir;
    uint32_t id;
    const char *state_file;  /* or NULL */
    struct qemu_config qemu; /* sockets, name, net0 and mac are filled in by domain_start() */
    const struct vnet_forward *forwards;
    size_t forward_count;
    struct lease *lease;      /* what an application domain has of a network, or NULL */
    struct netserver *server; /* whose instance it is, or NULL */
    int role;                 /* that instance's: enum channel_role */
    int nic;                  /* number of a NIC at the virtual switch, or -1 */
    bool nic_later;           /* a network server's: domain_take_nic() connects it */
    struct tap tap;           /* or a tap device; taken over */
    uint8_t mac[6];           /* of the NIC */
    const char *net0;         /* the boot argument, or NULL */
    int forward_to;           /* number in the virtual network that published ports lead to */
    const int *held;          /* descriptors that stay open as long as it lives; not taken over */
    unsigned held_count;
    bool keep_logs;                          /* go on where its predecessor's end */
    struct exec_spec exec;                   /* no program: a server */
    const struct session_listener *listener; /* of the main session */
    void *arg;
    struct stream *peer;
};

/*
 * Starts a domain. Returns it, or NULL with *error an owned line that says what is wrong; nothing
 * is left behind then.
 */
struct domain *domain_start(struct loop *loop, struct vnet *vnet, const struct domain_spec *spec,
                            char **error);
/* Frees the record. The domain must have ended. */
void domain_free(struct domain *d);

/* The network server's port of the virtual switch leads to this instance from now on; from is the
 * one that had it, or NULL. */
void domain_take_nic(struct domain *d, struct domain *from);
/* Writes a line into its kernel's log. */
void domain_note(const struct domain *d, const char *fmt, ...) PRINTF(2, 3);

bool domain_is_live(const struct domain *d);
const char *domain_state_name(enum domain_state s);
/* The exit status that `librettos run` gives for an ended domain. */
int domain_status(const struct domain *d);
/* The exit status for one EXIT frame. */
int exit_status(const struct ctl_exit *e);

/* Asks the domain to end; after grace_ms QEMU is told to quit, then killed. Idempotent, may
 * tighten. */
void domain_stop(struct domain *d, uint32_t grace_ms);
/* Publishes its ports again, in a network that does not know them. */
void domain_publish(struct domain *d);
/* Ends it at once. */
void domain_kill(struct domain *d);
/* Ends it at once because of `reason` (one line); the first reason counts. */
void domain_fail(struct domain *d, const char *fmt, ...) PRINTF(2, 3);
/* Answers a claim of ports. */
void domain_claimed(struct domain *d, const struct ctl_claim *c);
/* Tells it which path to use; DOMAIN_EV_SWITCHED answers. */
void domain_switch(struct domain *d, const struct ctl_switch *s);
/* Asks for statistics; DOMAIN_EV_STATS answers. */
void domain_get_stats(struct domain *d);

/* Starts a further program. NULL with *err set: -ENOTCONN before HELLO, -E2BIG, -EMFILE. */
struct session *domain_exec(struct domain *d, const struct exec_spec *spec,
                            const struct session_listener *listener, void *arg, struct stream *peer,
                            int *err);
/* Starts a monitor of it (abi/monitor.h): a session without a program. As domain_exec(). */
struct session *domain_monitor(struct domain *d, const struct ctl_monitor *ask,
                               const struct session_listener *listener, void *arg,
                               struct stream *peer, int *err);
struct session *domain_main_session(struct domain *d);
/* Gives a session that goes on a listener, at the start of another supervisor. The peer's cursors
 * are set to what was committed last. NULL: it has ended. */
struct session *domain_listen(struct domain *d, uint16_t id,
                              const struct session_listener *listener, void *arg,
                              struct stream *peer);
/* Sends standard input; n == 0 is end of file. Returns -EPROTO if it exceeds the credit. */
int session_input(struct session *s, const void *data, size_t n);
/* Returns credit for output that was consumed. -EPROTO if more than was unread. */
int session_consumed(struct session *s, uint32_t bytes);
void session_signal(struct session *s, uint32_t signal);
void session_winsize(struct session *s, const void *payload, size_t n);
/* The listener goes: output is discarded from now on, so that the program does not block. */
void session_detach(struct session *s);

/* ---- for domain.c's own other files ---- */
void control_ready(struct watch *w, uint32_t events);
extern const struct stream_sizes domain_control_sizes, domain_qmp_sizes, domain_console_sizes;
/* Handles the frames that were read. Returns 0 or -EPROTO. Also for tests and the fuzzer. */
int control_parse(struct domain *d);
void control_flush(struct domain *d);
/* Puts what the domain is sent after HELLO: WELCOME, and its program's EXEC. 0 or -E2BIG. */
int control_begin(struct domain *d, const struct exec_spec *spec);
void session_free_all(struct domain *d);
void qmp_ready(struct watch *w, uint32_t events);
/* Handles the lines that were read. */
void qmp_lines(struct domain *d);
/* Handles one line of QMP. Also for tests. */
void qmp_line(struct domain *d, const char *line, size_t n);
void qmp_quit(struct domain *d);
/* The domain has ended: what waits is answered with an error. */
void qmp_abort(struct domain *d);
void console_ready(struct watch *w, uint32_t events);
/* Writes what was read into the log. */
void console_lines(struct domain *d);
void domain_deadline_passed(struct timer *t);
/* Gives everything back but the record. */
void domain_release(struct domain *d);
/* Watches for the end of d->pid. Returns 0 or -errno. */
int domain_watch_end(struct domain *d);

/* ---- what outlives the supervisor (domain_state.c) ---- */

/* A further program can have: sessions at a time. */
#define MAX_SESSIONS 256

#define DOMAIN_NIC "nic" /* what a server's nic_fd is held as */
#define DOMAIN_NOTE_MAX 8192u

/* Writes down what a domain is, and gives the keeper what it needs to live. Returns 0 or -errno. */
int domain_keep(struct domain *d, const struct domain_spec *spec);
/* Gives the keeper a further descriptor, under a name: it stays open as long as the domain lives.
 */
int domain_hold(const struct domain *d, const char *name, int fd);
/* Makes the present state of its sessions, and of all else that changes while it runs, what a next
 * supervisor begins with. */
void domain_commit(struct domain *d);
/* It has ended, or never began: nothing of it is kept any more. */
void domain_unkeep(struct domain *d);

#endif
