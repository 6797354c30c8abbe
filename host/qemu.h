/*
 * Starting a domain's virtual machine: QEMU's command line, the accelerator, and the process. All
 * of QEMU's channels are sockets it inherits, so that there are no names to guess, race for or
 * clean up.
 */
#ifndef HOST_QEMU_H
#define HOST_QEMU_H

#include "tap.h"
#include "util.h"

#define QEMU_MIN_MAJOR 7
#define QEMU_MIN_MINOR 2
#define MEMORY_FLOOR_MIB 24 /* what a domain needs besides its image */

struct qemu_volume {
    char *host, *guest;
    bool read_only;
};

/* A region of shared memory (ivshmem.h) as a device of the machine. */
struct qemu_ivshmem {
    int fd; /* from ivshmem_connect(); QEMU inherits it */
    unsigned vectors;
    int place; /* a network server's channel: its number; -1: anywhere */
};

/*
 * A network server's channels are functions of multi-function devices, CHANNELS_PER_DEVICE each:
 * the first device is there from the start, the others are behind root ports, into which they can
 * be plugged while the machine runs.
 */
#define CHANNELS_PER_DEVICE 8u
#define CHANNEL_ROOT_PORTS 16u
#define CHANNEL_PLACES ((1 + CHANNEL_ROOT_PORTS) * CHANNELS_PER_DEVICE)

/*
 * An application domain has two root ports, for what is plugged in when it moves to another path: a
 * NIC, which is there from the start if it is on the direct path, and a channel.
 */
#define QEMU_NIC_PORT "nicport"
#define QEMU_CHANNEL_PORT "channelport"
#define QEMU_NIC "nic0"
#define QEMU_NETDEV "net0"

struct qemu_config {
    const char *binary;         /* from qemu_find() */
    const char *kernel, *image; /* image may be NULL: no boot image */
    bool net_server;            /* role=net, and room for channels; else an application domain */
    const char *name;           /* host name, already checked */
    const char *accel;          /* "tcg" or "kvm", from qemu_choose_accel() */
    const char *cpu;            /* -cpu, or NULL for the accelerator's default */
    unsigned memory_mib, cpus;
    const char *loglevel;
    uint64_t core;              /* RLIMIT_CORE that programs begin with */
    bool trace;                 /* the program waits for a tracer */
    const struct strv *sysctls; /* NAME=V[,V...], checked; may be NULL */
    const char *net0;           /* boot argument, or NULL for no network */
    const uint8_t *mac;
    const struct qemu_volume *volumes;
    size_t volume_count;
    uid_t owner; /* who in the domain owns what is the caller's on the volumes */
    gid_t owner_group;
    const struct strv *extra;           /* --qemu-arg, may be NULL */
    bool fixed_paths;                   /* an application domain that stays on its path */
    int control_fd, qmp_fd, console_fd; /* sockets QEMU inherits */
    int net_fd;                         /* socket to the virtual switch, or -1 */
    bool nic_later;                     /* a network server's NIC is plugged in when it serves */
    const struct tap *tap;              /* or an open tap device, or NULL */
    const struct qemu_ivshmem *ivshmem;
    size_t ivshmem_count;
};

/* Path of a usable qemu-system-x86_64. NULL after a warning that says what to do. */
char *qemu_find(void);
/*
 * "kvm" if the processor can virtualise (vmx or svm) and /dev/kvm opens, else "tcg". A /dev/kvm may
 * exist and open on a machine without these flags and is then unusable. `wanted` is "auto", "tcg"
 * or "kvm"; asking for kvm where there is none gives NULL after a warning.
 */
const char *qemu_choose_accel(const char *wanted);
/* Where a network server's channel is plugged in: the bus and the address. Owned strings. */
char *qemu_channel_bus(unsigned place);
char *qemu_channel_addr(unsigned place);
/* Builds the command line. */
void qemu_command(const struct qemu_config *c, struct strv *argv);
/* Starts QEMU with stdout and stderr going to log_fd. Returns the pid or -errno. */
pid_t qemu_spawn(const struct qemu_config *c, int log_fd);

/* Parses "QEMU emulator version 7.2.22 (...)". Returns 0 or -EINVAL. For qemu_find() and tests. */
int qemu_parse_version(const char *text, unsigned *major, unsigned *minor);

#endif
