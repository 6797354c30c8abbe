/* What the files of `librettos run` share: its options, and what is known of the domain's start. */
#ifndef HOST_RUN_H
#define HOST_RUN_H

#include "cli.h"

#define RUN_MAX_PORTS 64
#define RUN_MAX_VOLUMES 16

struct run_options {
    const char *name, *user, *kernel, *accel, *cpu, *tap, *bridge, *ip, *loglevel, *path, *address,
        *mode, *trace;
    bool detach, tty, timing;
    bool server_path, shared;  /* of `path` and `address` */
    bool auto_mode;            /* of `mode` */
    const char *wanted;        /* the IP of --address dedicated=IP, or NULL */
    unsigned memory_mib, cpus; /* 0: default */
    uid_t uid;                 /* of `user` */
    gid_t gid;
    struct vnet_forward ports[RUN_MAX_PORTS];
    size_t port_count;
    struct qemu_volume volumes[RUN_MAX_VOLUMES];
    size_t volume_count;
    struct strv env, files, packages, qemu_args, sysctls;
    bool depends;   /* pack what the packages depend on, too */
    char **program; /* and its arguments */
};

/* Fills in the options (zeroed before). Returns -1 to go on, or an exit status. */
int run_parse_options(int argc, char **argv, struct run_options *o);
void run_free_options(struct run_options *o);

struct run_progress {
    struct run_options *o;
    const char *program; /* as the user gave it, without directories */
    char *name, *dir, *address;
    uint64_t packed_ns, connected_ns, request_ns, spawned_ns, booted_ns, boot_ns, started_ns,
        listen_ns;
    uint64_t listening; /* bit i: port i of the options is listened on */
    bool told;          /* of a port that is not published */
    pid_t tracer;       /* of --trace; 0: none */
};

/* For struct attach, whose arg is a struct run_progress: tells the user of published ports and, if
 * asked, how long each step took; ends the attachment of a detached domain that is up. */
bool run_event(struct attach *a, json_t *event);
bool run_timeout(struct attach *a);
/* Says how the domain ended, and turns that into the exit status. */
int run_conclude(struct attach *a, struct run_progress *p);
void run_free_progress(struct run_progress *p);

#endif
