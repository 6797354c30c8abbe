/* What the subcommands of `librettos` share: their entry points, requests, options, attached
 * streams. */
#ifndef HOST_CLI_H
#define HOST_CLI_H

#include <jansson.h>

#include "frame.h"
#include "qemu.h"
#include "vnet.h"

/* Each takes its own argv (argv[0] is the subcommand) and returns the exit status. */
int cmd_run(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_restart(int argc, char **argv);
int cmd_upgrade(int argc, char **argv);
int cmd_logs(int argc, char **argv);
int cmd_signal(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_trace(int argc, char **argv);
int cmd_pcap(int argc, char **argv);
int cmd_core(int argc, char **argv);
int cmd_gdb(int argc, char **argv);
int cmd_switch(int argc, char **argv);
int cmd_mode(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_supervisor(int argc, char **argv);

/* The kernel image: named, by LIBRETTOS_KERNEL, or beside this executable (run.c). Owned; NULL
 * after a warning. */
char *find_kernel(const char *named);

/* Traces a domain into a file, in a process of its own, that closes `fd` and, with `detached`, lets
 * go of our standard streams. Its pid, or 0 after a warning (trace.c). */
pid_t trace_start(const char *domain, const char *file, int fd, bool detached);
/* Whether the file can be written; a warning if not. */
bool trace_can_write(const char *file);

/* When the process began (set by main), for --timing. */
extern uint64_t cli_begin_ns;

/* ---- options (options.c); each returns 0, or -EINVAL after a warning ---- */

/* "-p [IP:]HOST:GUEST[/tcp|/udp]", IPv6 addresses in brackets; the default address is 127.0.0.1. */
int parse_port(const char *arg, struct vnet_forward *out);
/* "--ip ADDR/LEN[,gw=ADDR][,gw6=ADDR][,dns=ADDR]", of IPv4, IPv6 or both. */
int check_ip(const char *arg);
/* "-m 256M", "1G", or a number of MiB. */
int parse_memory(const char *arg, unsigned *mib);
/* "-v HOSTPATH:GUESTPATH[:ro]": the host path is resolved and must be a directory that the user may
 * read and, without ro, write. Owned strings. */
int parse_volume(const char *arg, struct qemu_volume *out);
/* "-e K=V", or "-e K" for the value it has here. Replaces an earlier K. */
int add_env(struct strv *env, const char *arg);
/* Adds --sysctl's NAME=VALUE as the kernel's command line has it. 0, or -EINVAL after a warning. */
int add_sysctl(struct strv *sysctls, const char *arg);
/* A signal's number from "9", "KILL" or "SIGKILL". Returns it or -EINVAL. */
int parse_signal(const char *arg);
/* 0 ("emerg") to 7 ("debug"), as syslog(3) has them, or -EINVAL. */
int parse_loglevel(const char *arg);
/* The environment a program starts with before -e. */
void default_env(struct strv *env, bool tty);

/* ---- requests (request.c) ---- */

/* A JSON array of the strings. NULL after a warning if one is not UTF-8. */
json_t *json_strings(const struct strv *s);
/* Sends a request (consumed). Returns 0 or -errno after a warning. */
int send_request(int fd, json_t *owned);
/*
 * Sends a request to a running supervisor and waits for the one reply. Returns it if it is a
 * success, else NULL with *status the exit status, after a warning. `quiet_none`: no supervisor is
 * no error; then NULL with *status 0.
 */
json_t *simple_request(json_t *owned, bool quiet_none, int *status);
/* The reply's error as a warning; returns its exit status, or 0 if it is a success. */
int reply_status(json_t *reply);

/* ---- the attached stream of run and exec (attach.c) ---- */

struct attach {
    int fd;           /* to the supervisor */
    bool with_stdin;  /* pass standard input on */
    bool tty;         /* the program has a terminal: raw mode here, window sizes passed on */
    bool owns_domain; /* Ctrl-C twice ends the domain */
    /* Called for each HOST_EVENT; true ends the attachment with status 0 (detaching). May be NULL.
     */
    bool (*event)(struct attach *a, json_t *event);
    /* Called when wait_until_ns has passed; as event(). May be NULL. */
    bool (*timeout)(struct attach *a);
    /* Takes what comes as standard output instead of ours. 0 or -errno, which ends the attachment,
     * but -EPIPE the program only. May be NULL. */
    int (*output)(struct attach *a, const void *data, size_t n);
    uint64_t wait_until_ns;
    void *arg;
    bool has_exit; /* an EXIT frame came */
    struct ctl_exit exit;
    json_t *reply; /* the final reply, or NULL; the caller frees */
};

/* Runs until the reply has come. Returns 0, or STATUS_OURS after a warning if the supervisor broke
 * off. */
int attach_run(struct attach *a);

#endif
