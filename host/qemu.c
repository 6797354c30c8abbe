/* The launcher of qemu.h. */
#include "qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../abi/boot.h"
#include "child.h"
#include "dirs.h"

int qemu_parse_version(const char *text, unsigned *major, unsigned *minor)
{
    const char *at = strstr(text, "version ");

    return at && sscanf(at, "version %u.%u", major, minor) == 2 ? 0 : -EINVAL;
}

/* What `binary --version` prints. Empty if it cannot be run. */
static void ask_version(const char *binary, struct buf *out)
{
    char *cmd = xasprintf("'%s' --version 2>/dev/null", binary);
    FILE *f = popen(cmd, "re");
    size_t n = f ? fread(buf_reserve(out, 4096), 1, 4095, f) : 0;

    out->len += n;
    buf_append(out, "", 1);
    if (f)
        pclose(f);
    free(cmd);
}

/*
 * Asking QEMU its version takes tens of milliseconds: more than all else we do at a start. So the
 * answer for this very file is kept in the cache directory.
 */
static bool version_ok(const char *binary)
{
    char *dir = dirs_cache(), *path = dir ? xasprintf("%s/qemu-version", dir) : NULL;
    struct buf kept = {0}, now = {0};
    struct stat st = {0};
    unsigned major = 0, minor = 0;

    stat(binary, &st);
    char *key = xasprintf("%s %" PRIu64 " %" PRIu64 "\n", binary, (uint64_t)st.st_ino,
                          (uint64_t)st.st_mtime);
    if (path && !read_file(path, &kept, 65536) && starts_with((char *)kept.data, key)) {
        buf_append(&now, kept.data, kept.len + 1);
    } else {
        buf_printf(&now, "%s", key);
        ask_version(binary, &now);
        if (path)
            write_file_atomic(path, now.data, now.len - 1);
    }
    qemu_parse_version((char *)now.data, &major, &minor);
    bool ok = major > QEMU_MIN_MAJOR || (major == QEMU_MIN_MAJOR && minor >= QEMU_MIN_MINOR);
    if (!ok && path)
        unlink(path);
    if (!ok)
        warn("%s is version %u.%u; %d.%d or newer is needed", binary, major, minor, QEMU_MIN_MAJOR,
             QEMU_MIN_MINOR);
    buf_free(&kept);
    buf_free(&now);
    free(key);
    free(path);
    free(dir);
    return ok;
}

char *qemu_find(void)
{
    const char *env = getenv("PATH");
    char *path = xstrdup(env ? env : "/usr/local/bin:/usr/bin");
    char *save = NULL, *found = NULL;

    for (char *dir = strtok_r(path, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save)) {
        char *file = xasprintf("%s/qemu-system-x86_64", dir);
        if (!access(file, X_OK))
            found = file;
        else
            free(file);
    }
    free(path);
    if (!found)
        warn("qemu-system-x86_64 is not installed: apt install qemu-system-x86");
    if (found && !version_ok(found)) {
        free(found);
        found = NULL;
    }
    return found;
}

/* True if /proc/cpuinfo's first flags line has the word. */
static bool cpu_has(const char *cpuinfo, const char *word)
{
    const char *line = strstr(cpuinfo, "\nflags");
    const char *end = line ? strchr(line + 1, '\n') : NULL;
    size_t n = strlen(word);

    for (const char *at = line; at && (at = strstr(at, word)) && (!end || at < end); at += n)
        if (at[-1] == ' ' && (at[n] == ' ' || at[n] == '\n'))
            return true;
    return false;
}

static bool kvm_usable(void)
{
    struct buf info = {0};
    bool flags = !read_file("/proc/cpuinfo", &info, 16u << 20) &&
                 (cpu_has((char *)info.data, "vmx") || cpu_has((char *)info.data, "svm"));

    buf_free(&info);
    if (!flags)
        return false;
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

const char *qemu_choose_accel(const char *wanted)
{
    if (!strcmp(wanted, "tcg"))
        return "tcg";
    if (!strcmp(wanted, "auto"))
        return kvm_usable() ? "kvm" : "tcg";
    if (strcmp(wanted, "kvm")) {
        warn("--accel: %s is neither auto, kvm nor tcg", wanted);
        return NULL;
    }
    if (kvm_usable())
        return "kvm";
    warn("--accel kvm: this machine has no usable KVM (no vmx or svm, or /dev/kvm does not open); "
         "leave --accel out to emulate");
    return NULL;
}

static void add(struct strv *argv, const char *option, char *owned_value)
{
    strv_addf(argv, "%s", option);
    if (owned_value)
        strv_add(argv, owned_value);
}

/* The tap's queues: offloads need no option, QEMU sees that the descriptors carry virtio headers.
 */
static char *tap_netdev(const struct tap *tap)
{
    struct buf fds = {0};

    for (unsigned i = 0; i < tap->n; i++)
        buf_printf(&fds, "%s%d", i ? ":" : "", tap->fd[i]);
    buf_append(&fds, "", 1);
    char *text = xasprintf("tap,id=" QEMU_NETDEV ",%s=%s,vhost=off", tap->n > 1 ? "fds" : "fd",
                           (char *)fds.data);
    buf_free(&fds);
    return text;
}

/* Whether it is a domain that may move between paths. */
static bool moves(const struct qemu_config *c)
{
    return !c->net_server && !c->fixed_paths && c->net0;
}

static void add_network(const struct qemu_config *c, struct strv *argv)
{
    const uint8_t *m = c->mac;
    char *extra = NULL;

    if (c->net_fd >= 0) {
        add(argv, "-netdev",
            xasprintf("stream,id=" QEMU_NETDEV ",server=off,addr.type=fd,addr.str=%d", c->net_fd));
        /* large frames instead of segmentation offload */
        extra = xstrdup(",host_mtu=65520,rx_queue_size=1024");
    } else if (c->tap && c->tap->n) {
        unsigned pairs = c->tap->n;
        add(argv, "-netdev", tap_netdev(c->tap));
        extra = pairs > 1 ? xasprintf(",mq=on,vectors=%u", 2 * pairs + 2) : xstrdup("");
    } else {
        return;
    }
    add(argv, "-device",
        xasprintf("virtio-net-pci,id=" QEMU_NIC ",netdev=" QEMU_NETDEV
                  ",mac=%02x:%02x:%02x:%02x:%02x:%02x,disable-legacy=on,%sromfile=%s",
                  m[0], m[1], m[2], m[3], m[4], m[5], moves(c) ? "bus=" QEMU_NIC_PORT "," : "",
                  extra));
    free(extra);
}

#define CHANNEL_DEVICE 0x10u /* on the root bus: the first channels, behind it the root ports */

char *qemu_channel_bus(unsigned place)
{
    unsigned device = place / CHANNELS_PER_DEVICE;

    return device ? xasprintf("port%u", device - 1) : xstrdup("pcie.0");
}

char *qemu_channel_addr(unsigned place)
{
    return xasprintf("%#x.%u", place < CHANNELS_PER_DEVICE ? CHANNEL_DEVICE : 0,
                     place % CHANNELS_PER_DEVICE);
}

/* For the channels of a network server. */
static void add_root_ports(struct strv *argv)
{
    for (unsigned i = 0; i < CHANNEL_ROOT_PORTS; i++)
        add(argv, "-device",
            xasprintf("pcie-root-port,id=port%u,bus=pcie.0,addr=%#x.%u,multifunction=on,"
                      "chassis=%u,slot=%u",
                      i, CHANNEL_DEVICE + 1 + i / 8, i % 8, i + 1, i + 1));
}

/* For the NIC of an instance that does not serve yet. */
static void add_nic_port(const struct qemu_config *c, struct strv *argv, struct buf *append)
{
    const unsigned i = CHANNEL_ROOT_PORTS;
    const uint8_t *m = c->mac;

    add(argv, "-device",
        xasprintf("pcie-root-port,id=" QEMU_NIC_PORT ",bus=pcie.0,addr=%#x,chassis=%u,slot=%u",
                  CHANNEL_DEVICE + 1 + i / 8, i + 1, i + 1));
    buf_printf(append, "nic=%02x%02x%02x%02x%02x%02x ", m[0], m[1], m[2], m[3], m[4], m[5]);
}

/* For what may be plugged into an application domain. */
static void add_path_ports(struct strv *argv)
{
    static const char *const ids[] = {QEMU_NIC_PORT, QEMU_CHANNEL_PORT};

    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
        add(argv, "-device",
            xasprintf("pcie-root-port,id=%s,bus=pcie.0,addr=%#x.%u,multifunction=on,chassis=%u,"
                      "slot=%u",
                      ids[i], CHANNEL_DEVICE, i, i + 1, i + 1));
}

static void add_ivshmem(const struct qemu_config *c, struct strv *argv)
{
    for (size_t i = 0; i < c->ivshmem_count; i++) {
        const struct qemu_ivshmem *m = &c->ivshmem[i];
        char *where = xstrdup("");
        if (m->place >= 0) {
            char *bus = qemu_channel_bus((unsigned)m->place);
            char *addr = qemu_channel_addr((unsigned)m->place);
            free(where);
            where = xasprintf(",bus=%s,addr=%s,multifunction=on", bus, addr);
            free(bus);
            free(addr);
        }
        add(argv, "-chardev", xasprintf("socket,id=memory%zu,fd=%d", i, m->fd));
        add(argv, "-device",
            xasprintf("ivshmem-doorbell,chardev=memory%zu,vectors=%u%s", i, m->vectors, where));
        free(where);
    }
}

/*
 * As root, owners are the same on both sides. An ordinary user's QEMU cannot give files away: the
 * domain is told who owns all that is made (see abi/boot.h), and creating does not try (model
 * none).
 */
static void add_volumes(const struct qemu_config *c, struct strv *argv, struct buf *append)
{
    const char *model = geteuid() ? "none" : "passthrough";

    for (size_t i = 0; i < c->volume_count; i++) {
        const struct qemu_volume *v = &c->volumes[i];
        add(argv, "-fsdev",
            xasprintf("local,id=fs%zu,path=%s,security_model=%s,multidevs=remap%s", i, v->host,
                      model, v->read_only ? ",readonly=on" : ""));
        add(argv, "-device",
            xasprintf("virtio-9p-pci,fsdev=fs%zu,mount_tag=volume%zu,disable-legacy=on", i, i));
        buf_printf(append, "%svolume%zu:%s%s", i ? "," : " volumes=", i, v->guest,
                   v->read_only ? ":ro" : "");
        if (geteuid())
            buf_printf(append, ":owner=%u.%u.%u.%u", geteuid(), getegid(), c->owner,
                       c->owner_group);
    }
}

void qemu_command(const struct qemu_config *c, struct strv *argv)
{
    bool kvm = !strcmp(c->accel, "kvm");
    struct buf append = {0};

    strv_addf(argv, "%s", c->binary);
    add(argv, "-name", xasprintf("%s,debug-threads=on", c->name));
    add(argv, "-nodefaults", NULL);
    add(argv, "-no-user-config", NULL);
    add(argv, "-no-reboot", NULL);
    add(argv, "-display", xstrdup("none"));
    add(argv, "-sandbox",
        xstrdup("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"));
    add(argv, "-machine",
        xstrdup("q35,smbus=off,sata=off,usb=off,hpet=off,vmport=off,graphics=off"));
    add(argv, "-action", xstrdup("panic=none")); /* the kernel ends the machine itself */
    add(argv, "-bios", xstrdup("qboot.rom"));
    add(argv, "-accel", xstrdup(kvm ? "kvm" : "tcg,thread=multi"));
    add(argv, "-cpu", xstrdup(c->cpu ? c->cpu : kvm ? "host" : "max,-erms,-la57"));
    add(argv, "-smp", xasprintf("%u", c->cpus));
    add(argv, "-m", xasprintf("%u", c->memory_mib));
    add(argv, "-chardev", xasprintf("socket,id=console,fd=%d", c->console_fd));
    add(argv, "-serial", xstrdup("chardev:console"));
    add(argv, "-chardev", xasprintf("socket,id=qmp,fd=%d", c->qmp_fd));
    add(argv, "-mon", xstrdup("chardev=qmp,mode=control"));
    add(argv, "-device", xasprintf("isa-debug-exit,iobase=%#x,iosize=4", BOOT_EXIT_PORT));
    add(argv, "-device", xasprintf("pvpanic,ioport=%d", BOOT_PVPANIC_PORT));
    /* A virtserialport waits when its socket is full; a virtconsole would drop bytes. */
    add(argv, "-chardev", xasprintf("socket,id=control,fd=%d", c->control_fd));
    add(argv, "-device", xstrdup("virtio-serial-pci,id=serial,max_ports=2,disable-legacy=on"));
    add(argv, "-device",
        xstrdup("virtserialport,bus=serial.0,nr=1,chardev=control,name=org.librettos.control"));
    /* PCIe's own hot-plug, not ACPI's: our kernel has no interpreter for that. */
    add(argv, "-global", xstrdup("ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"));
    if (c->net_server)
        add_root_ports(argv);
    else if (moves(c))
        add_path_ports(argv);
    if (c->nic_later)
        add_nic_port(c, argv, &append);
    add_network(c, argv);
    add_ivshmem(c, argv);
    buf_printf(&append, "role=%s hostname=%s control=1 loglevel=%s", c->net_server ? "net" : "app",
               c->name, c->loglevel);
    if (c->core)
        buf_printf(&append, " core=%llu", (unsigned long long)c->core);
    if (c->trace)
        buf_printf(&append, " trace=1");
    for (size_t i = 0; c->sysctls && i < c->sysctls->n; i++)
        buf_printf(&append, " sysctl.%s", c->sysctls->v[i]);
    if (c->net0)
        buf_printf(&append, " net0=%s", c->net0);
    add_volumes(c, argv, &append);
    add(argv, "-kernel", xstrdup(c->kernel));
    if (c->image)
        add(argv, "-initrd", xstrdup(c->image));
    buf_append(&append, "", 1);
    add(argv, "-append", (char *)append.data);
    for (size_t i = 0; c->extra && i < c->extra->n; i++)
        add(argv, c->extra->v[i], NULL);
}

/* In the child: becomes QEMU, with only the channels inherited. */
static void become_qemu(const struct qemu_config *c, char **argv)
{
    const int channels[] = {c->control_fd, c->qmp_fd, c->console_fd, c->net_fd};

    for (size_t i = 0; i < ARRAY_SIZE(channels); i++)
        if (channels[i] >= 0)
            set_cloexec(channels[i], false);
    for (unsigned i = 0; c->tap && i < c->tap->n; i++)
        set_cloexec(c->tap->fd[i], false);
    for (size_t i = 0; i < c->ivshmem_count; i++)
        set_cloexec(c->ivshmem[i].fd, false);
    execv(c->binary, argv);
    dprintf(STDERR_FILENO, "%s: %s\n", c->binary, strerror(errno));
    _exit(STATUS_CANNOT);
}

pid_t qemu_spawn(const struct qemu_config *c, int log_fd)
{
    struct strv argv = {0};

    qemu_command(c, &argv);
    pid_t pid = child_start(log_fd);
    if (pid == 0)
        become_qemu(c, argv.v);
    strv_free(&argv);
    return pid;
}
