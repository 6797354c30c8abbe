/*
 * librettos run: packs the program, has the supervisor start a domain with it, and stays attached
 * until it ends (or, with -d, until its service is up).
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base.h"
#include "cli.h"
#include "client.h"
#include "logfile.h"
#include "pack.h"
#include "supervisor.h"

#define MAX_PORTS 64
#define MAX_VOLUMES 16
#define DEFAULT_MEMORY_MIB 256
#define DETACH_WAIT_NS 5000000000ull /* for the published ports to be listened on */
#define SETTLE_NS 100000000ull       /* with none: for a program that fails at once */

static const char help[] =
    "usage: librettos run [OPTIONS] PROGRAM [ARGS...]\n"
    "\n"
    "Runs a program that is installed on this machine, unmodified, in a domain of its own: a "
    "small\n"
    "virtual machine with the LibrettOS kernel.\n"
    "\n"
    "  --name NAME            name of the domain (default: the program's)\n"
    "  -d, --detach           return when the program has started; print the domain's name\n"
    "  -p [IP:]HOST:GUEST[/udp]  lead a port of this machine (127.0.0.1 unless IP is given) to "
    "the\n"
    "                         domain's port; repeatable\n"
    "  -m, --memory MEM       memory, e.g. 64M or 1G (default: 256M, more for large images)\n"
    "  -c, --cpus N           virtual CPUs (default: 1)\n"
    "  -e, --env K=V          set an environment variable; -e K passes the one from here; "
    "repeatable\n"
    "  -v HOSTPATH:GUESTPATH[:ro]  share a directory of this machine with the domain, with ro for\n"
    "                         reading only; repeatable\n"
    "  -u, --user USER        run the program as this user of the domain (default: root)\n"
    "  -t, --tty              give the program a terminal\n"
    "  -i, --interactive      (standard input is always passed on, unless -d is given)\n"
    "  --file PATH[:GUESTPATH]  pack this file or directory too (as GUESTPATH); repeatable\n"
    "  --package NAME         pack this Debian package's files too; repeatable\n"
    "  --tap DEV              connect to this tap device instead of the virtual switch\n"
    "  --bridge BRIDGE        connect to this bridge of the host (root)\n"
    "  --ip ADDR/LEN[,gw=ADDR][,dns=ADDR]  address for --tap and --bridge (default: DHCP)\n"
    "  --kernel FILE          kernel image (default: $LIBRETTOS_KERNEL, else beside this command)\n"
    "  --accel auto|kvm|tcg   how to run the virtual machine (default: auto)\n"
    "  --cpu MODEL            QEMU's CPU model\n"
    "  --qemu-arg ARG         pass this argument to QEMU, last; repeatable (debugging, plugins)\n"
    "  --loglevel error|warn|info|debug  what the kernel logs (default: warn)\n"
    "  --timing               print how long each step of the start took\n"
    "\n"
    "Arguments that name existing files of this machine are packed as well. The exit status is "
    "the\n"
    "program's; 128+n if signal n ended it, 125 if the domain could not be run, 126 or 127 if the\n"
    "program could not. Ctrl-C interrupts the program; a second one ends the domain.\n";

struct run_options {
    const char *name, *user, *kernel, *accel, *cpu, *tap, *bridge, *ip, *loglevel;
    bool detach, tty, timing;
    unsigned memory_mib, cpus; /* 0: default */
    uid_t uid;                 /* of `user` */
    gid_t gid;
    struct vnet_forward ports[MAX_PORTS];
    size_t port_count;
    struct qemu_volume volumes[MAX_VOLUMES];
    size_t volume_count;
    struct strv env, files, packages, qemu_args;
    char **program; /* and its arguments */
};

enum {
    OPT_NAME = 256,
    OPT_FILE,
    OPT_PACKAGE,
    OPT_TAP,
    OPT_BRIDGE,
    OPT_IP,
    OPT_KERNEL,
    OPT_ACCEL,
    OPT_CPU,
    OPT_QEMU_ARG,
    OPT_LOGLEVEL,
    OPT_TIMING
};

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"name", required_argument, NULL, OPT_NAME},
    {"detach", no_argument, NULL, 'd'},
    {"publish", required_argument, NULL, 'p'},
    {"memory", required_argument, NULL, 'm'},
    {"cpus", required_argument, NULL, 'c'},
    {"env", required_argument, NULL, 'e'},
    {"volume", required_argument, NULL, 'v'},
    {"user", required_argument, NULL, 'u'},
    {"tty", no_argument, NULL, 't'},
    {"interactive", no_argument, NULL, 'i'},
    {"file", required_argument, NULL, OPT_FILE},
    {"package", required_argument, NULL, OPT_PACKAGE},
    {"tap", required_argument, NULL, OPT_TAP},
    {"bridge", required_argument, NULL, OPT_BRIDGE},
    {"ip", required_argument, NULL, OPT_IP},
    {"kernel", required_argument, NULL, OPT_KERNEL},
    {"accel", required_argument, NULL, OPT_ACCEL},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"qemu-arg", required_argument, NULL, OPT_QEMU_ARG},
    {"loglevel", required_argument, NULL, OPT_LOGLEVEL},
    {"timing", no_argument, NULL, OPT_TIMING},
    {NULL, 0, NULL, 0},
};

/* Takes one option that may be repeated or has a form to check. Returns 0 or -EINVAL. */
static int take_checked(struct run_options *o, int opt, const char *arg)
{
    uint64_t n;

    switch (opt) {
    case 'p':
        if (o->port_count < MAX_PORTS)
            return parse_port(arg, &o->ports[o->port_count++]);
        warn("more than %d ports", MAX_PORTS);
        return -EINVAL;
    case 'v':
        if (o->volume_count < MAX_VOLUMES)
            return parse_volume(arg, &o->volumes[o->volume_count++]);
        warn("more than %d volumes", MAX_VOLUMES);
        return -EINVAL;
    case 'm':
        return parse_memory(arg, &o->memory_mib);
    case 'e':
        return add_env(&o->env, arg);
    case 'c':
        if (!parse_u64(arg, 1, 64, &n)) {
            o->cpus = (unsigned)n;
            return 0;
        }
        warn("-c %s: expected a number of CPUs from 1 to 64", arg);
        return -EINVAL;
    default: /* OPT_NAME */
        o->name = arg;
        if (name_is_valid(arg))
            return 0;
        warn("--name %s: use letters, digits, '-', '_' and '.', at most 63", arg);
        return -EINVAL;
    }
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct run_options *o)
{
    const char **plain[] = {
        ['u'] = &o->user,    [OPT_TAP] = &o->tap,           [OPT_BRIDGE] = &o->bridge,
        [OPT_IP] = &o->ip,   [OPT_KERNEL] = &o->kernel,     [OPT_ACCEL] = &o->accel,
        [OPT_CPU] = &o->cpu, [OPT_LOGLEVEL] = &o->loglevel,
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "+hdtip:m:c:e:v:u:", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt == '?') {
            warn("`librettos run --help` shows the options");
            return STATUS_OURS;
        }
        if (opt == 'd')
            o->detach = true;
        else if (opt == 't' || opt == 'i')
            o->tty |= opt == 't';
        else if (opt == OPT_TIMING)
            o->timing = true;
        else if (opt == OPT_FILE)
            strv_addf(&o->files, "%s", optarg);
        else if (opt == OPT_PACKAGE)
            strv_addf(&o->packages, "%s", optarg);
        else if (opt == OPT_QEMU_ARG)
            strv_addf(&o->qemu_args, "%s", optarg);
        else if (opt < (int)ARRAY_SIZE(plain) && plain[opt])
            *plain[opt] = optarg;
        else if (take_checked(o, opt, optarg))
            return STATUS_OURS;
    }
    if (optind >= argc) {
        warn("which program? Try: librettos run -p 8080:80 nginx");
        return STATUS_OURS;
    }
    if ((o->tap || o->bridge) && o->port_count) {
        warn("-p needs the virtual switch; with --tap or --bridge the domain has its own address");
        return STATUS_OURS;
    }
    if (o->ip && !o->tap && !o->bridge) {
        warn("--ip is for --tap and --bridge; the virtual switch gives addresses itself");
        return STATUS_OURS;
    }
    if (o->tap && o->bridge) {
        warn("--tap and --bridge exclude each other; make the tap device a port of the bridge");
        return STATUS_OURS;
    }
    if (o->ip && check_ip(o->ip))
        return STATUS_OURS;
    if (o->user && base_user(o->user, &o->uid, &o->gid)) {
        warn("-u %s: no such user", o->user);
        return STATUS_OURS;
    }
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    bool level_ok = !o->loglevel;
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
        level_ok |= o->loglevel && !strcmp(o->loglevel, levels[i]);
    if (!level_ok) {
        warn("--loglevel %s: use error, warn, info or debug", o->loglevel);
        return STATUS_OURS;
    }
    o->program = argv + optind;
    return -1;
}

/* The kernel image: named, or beside this executable. Owned; NULL after a warning. */
static char *find_kernel(const char *named)
{
    static const char *const names[] = {"kernel.elf", "librettos-kernel.elf",
                                        "../lib/librettos/kernel.elf"};
    char exe[PATH_MAX] = "", *path = NULL;

    if (!named)
        named = getenv("LIBRETTOS_KERNEL");
    if (named) {
        path = realpath(named, NULL);
        if (!path || access(path, R_OK) < 0) {
            warn("kernel image %s: %s", named, strerror(errno));
            free(path);
            return NULL;
        }
        return path;
    }
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    char *slash = n > 0 ? strrchr(exe, '/') : NULL;
    if (slash)
        *slash = 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        path = xasprintf("%s/%s", exe, names[i]);
        if (!access(path, R_OK))
            return path;
        free(path);
    }
    warn("no kernel image beside the command (%s/kernel.elf): run `make`, or name it with --kernel",
         exe);
    return NULL;
}

/* Chooses the memory, or checks that what was asked for is enough. Returns 0 or STATUS_OURS. */
static int choose_memory(struct run_options *o, uint64_t image_bytes)
{
    unsigned image = (unsigned)((image_bytes + (1 << 20) - 1) >> 20);
    unsigned need = image + MEMORY_FLOOR_MIB;

    if (!o->memory_mib) {
        o->memory_mib = need + 128 > DEFAULT_MEMORY_MIB ? need + 128 : DEFAULT_MEMORY_MIB;
        return 0;
    }
    if (o->memory_mib >= need)
        return 0;
    warn("-m %uM is too little memory: with its image of %u MiB the domain needs -m %uM",
         o->memory_mib, image, need);
    return STATUS_OURS;
}

/* ---- following the start ---- */

struct progress {
    struct run_options *o;
    const char *program; /* as the user gave it, without directories */
    char *name, *dir, *address;
    uint64_t packed_ns, connected_ns, request_ns, spawned_ns, booted_ns, boot_ns, started_ns,
        listen_ns;
    uint64_t listening; /* bit i: port i of the options is listened on */
    bool told;          /* of a port that is not published */
};

static bool all_listening(const struct progress *p)
{
    for (size_t i = 0; i < p->o->port_count; i++)
        if (!p->o->ports[i].udp && !(p->listening >> i & 1))
            return false;
    return true;
}

static double ms(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) / 1e6 : 0;
}

static void print_timing(const struct progress *p)
{
    uint64_t t0 = cli_begin_ns;

    if (!p->o->timing)
        return;
    dprintf(
        STDERR_FILENO,
        "timing: supervisor +%.1f ms, image +%.1f ms, request +%.1f ms, qemu +%.1f ms, kernel up "
        "+%.1f ms (%.1f ms in the kernel), program +%.1f ms",
        ms(t0, p->connected_ns), ms(t0, p->packed_ns), ms(t0, p->request_ns), ms(t0, p->spawned_ns),
        ms(t0, p->booted_ns), (double)p->boot_ns / 1e6, ms(t0, p->started_ns));
    if (p->listen_ns)
        dprintf(STDERR_FILENO, ", listening +%.1f ms", ms(t0, p->listen_ns));
    dprintf(STDERR_FILENO, "\n");
}

static void on_listen(struct progress *p, int port, bool udp)
{
    bool published = false;

    for (size_t i = 0; i < p->o->port_count; i++) {
        const struct vnet_forward *f = &p->o->ports[i];
        if (f->guest_port != port || f->udp != udp)
            continue;
        published = true;
        if (!(p->listening >> i & 1))
            dprintf(STDERR_FILENO, "%s: %s%s%s:%u -> %d/%s\n", p->name,
                    strchr(f->host_ip, ':') ? "[" : "", f->host_ip,
                    strchr(f->host_ip, ':') ? "]" : "", f->host_port, port, udp ? "udp" : "tcp");
        p->listening |= 1ull << i;
    }
    if (!published && !p->told && !udp && !p->o->port_count) {
        p->told = true;
        if (*p->address)
            dprintf(STDERR_FILENO,
                    "%s: listens on %s:%d, for other domains only; -p HOST:%d publishes it\n",
                    p->name, p->address, port, port);
        else
            dprintf(STDERR_FILENO, "%s: listens on port %d\n", p->name, port);
    }
}

static bool on_event(struct attach *a, json_t *e)
{
    struct progress *p = a->arg;
    const char *what = json_string_value(json_object_get(e, "event"));
    uint64_t at = (uint64_t)json_integer_value(json_object_get(e, "at_ns"));

    if (!what)
        return false;
    if (!strcmp(what, "created")) {
        const char *name = json_string_value(json_object_get(e, "name"));
        const char *dir = json_string_value(json_object_get(e, "dir"));
        const char *address = json_string_value(json_object_get(e, "address"));
        p->name = xstrdup(name ? name : "");
        p->dir = xstrdup(dir ? dir : "");
        p->address = xstrdup(address ? address : "");
        p->request_ns = (uint64_t)json_integer_value(json_object_get(e, "request_ns"));
        p->spawned_ns = (uint64_t)json_integer_value(json_object_get(e, "spawned_ns"));
    } else if (!strcmp(what, "booted")) {
        p->booted_ns = at;
        p->boot_ns = (uint64_t)json_integer_value(json_object_get(e, "boot_ns"));
    } else if (!strcmp(what, "started")) {
        p->started_ns = at;
        if (!p->o->port_count)
            print_timing(p);
        if (p->o->detach)
            a->wait_until_ns = now_ns() + (all_listening(p) ? SETTLE_NS : DETACH_WAIT_NS);
    } else if (!strcmp(what, "listen") && json_is_true(json_object_get(e, "open"))) {
        bool first = !p->listen_ns;
        p->listen_ns = first ? at : p->listen_ns;
        on_listen(p, (int)json_integer_value(json_object_get(e, "port")),
                  json_integer_value(json_object_get(e, "protocol")) == 17);
        if (first && p->o->port_count)
            print_timing(p);
        return p->o->detach && p->started_ns && all_listening(p);
    }
    return false;
}

static bool on_timeout(struct attach *a)
{
    struct progress *p = a->arg;

    for (size_t i = 0; i < p->o->port_count; i++)
        if (!p->o->ports[i].udp && !(p->listening >> i & 1))
            warn("%s runs, but does not listen on port %u yet", p->name, p->o->ports[i].guest_port);
    return true;
}

/* ---- the request ---- */

static json_t *make_request(struct run_options *o, const struct pack_result *image,
                            const char *kernel, const char *qemu, const char *accel,
                            bool with_stdin)
{
    struct strv argv = {0}, env = {0};
    json_t *ports = json_array(), *volumes = json_array();
    const char *slash = strrchr(image->program, '/');
    bool user_net = !o->tap && !o->bridge;
    char *base = xasprintf("%.60s", slash ? slash + 1 : image->program);

    for (char *c = base; *c; c++) /* any file name becomes a valid domain name */
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", *c))
            *c = '-';
    for (size_t i = 0; i < o->port_count; i++)
        json_array_append_new(ports,
                              json_pack("{s:s, s:i, s:i, s:b}", "host_ip", o->ports[i].host_ip,
                                        "host_port", (int)o->ports[i].host_port, "guest_port",
                                        (int)o->ports[i].guest_port, "udp", (int)o->ports[i].udp));
    for (size_t i = 0; i < o->volume_count; i++)
        json_array_append_new(volumes, json_pack("{s:s, s:s, s:b}", "host", o->volumes[i].host,
                                                 "guest", o->volumes[i].guest, "read_only",
                                                 (int)o->volumes[i].read_only));
    for (char **a = o->program; *a; a++)
        strv_addf(&argv, "%s", *a);
    default_env(&env, o->tty);
    for (size_t i = 0; i < o->env.n; i++)
        add_env(&env, o->env.v[i]);

    json_t *rq =
        json_pack("{s:s, s:s*, s:s, s:s, s:s, s:s, s:s, s:s*, s:i, s:i, s:s, s:s, s:s*, s:s*, "
                  "s:s*, s:b, s:o, s:o, s:i, s:i}",
                  "op", "run", "name", o->name, "base", name_is_valid(base) ? base : "domain",
                  "qemu", qemu, "kernel", kernel, "image", image->image, "accel", accel, "cpu",
                  o->cpu, "memory", (int)o->memory_mib, "cpus", (int)(o->cpus ? o->cpus : 1),
                  "loglevel", o->loglevel ? o->loglevel : "warn", "network",
                  user_net ? "user" : "tap", "tap", o->tap, "bridge", o->bridge, "net0",
                  user_net ? NULL
                  : o->ip  ? o->ip
                           : "dhcp",
                  "detach", (int)o->detach, "ports", ports, "volumes", volumes, "owner",
                  (int)o->uid, "owner_group", (int)o->gid);
    json_t *jargv = json_strings(&argv), *jenv = json_strings(&env);
    json_t *jqemu = json_strings(&o->qemu_args);
    if (!rq && jargv && jenv && jqemu)
        warn("a path or name is not UTF-8 text");
    if (rq && jargv && jenv && jqemu) {
        json_object_set_new(rq, "program", json_string(image->program));
        json_object_set_new(rq, "cwd", json_string(image->cwd));
        json_object_set_new(rq, "user", json_string(o->user ? o->user : ""));
        json_object_set_new(rq, "tty", json_boolean(o->tty));
        json_object_set_new(rq, "stdin", json_boolean(with_stdin));
        json_object_set(rq, "argv", jargv);
        json_object_set(rq, "env", jenv);
        json_object_set(rq, "qemu_args", jqemu);
    } else {
        json_decref(rq);
        rq = NULL;
    }
    json_decref(jargv);
    json_decref(jenv);
    json_decref(jqemu);
    strv_free(&argv);
    strv_free(&env);
    free(base);
    return rq;
}

/* True if standard input is worth passing on: there is one, and it is not /dev/null. */
static bool has_stdin(void)
{
    struct stat in, null;

    return !fstat(STDIN_FILENO, &in) &&
           (stat("/dev/null", &null) < 0 || !S_ISCHR(in.st_mode) || in.st_rdev != null.st_rdev);
}

/* The last words of a detached program that ended at once; attached ones were seen already. */
static void print_last_words(const struct progress *p)
{
    char *path = xasprintf("%s/output.log", p->dir), *text = logfile_tail(path, 4096);

    write_all(STDERR_FILENO, text, strlen(text));
    free(text);
    free(path);
}

/* Says how it ended, and turns that into the exit status. */
static int conclude(struct attach *a, struct progress *p)
{
    json_t *domain = json_object_get(a->reply, "domain");
    const char *reason = json_string_value(json_object_get(domain, "reason"));
    const char *state = json_string_value(json_object_get(domain, "state"));
    int status = reply_status(a->reply);

    if (!domain)
        return status ? status : STATUS_OURS;
    status = (int)json_integer_value(json_object_get(domain, "status"));
    if (p->o->detach)
        print_last_words(p);
    if (a->has_exit && a->exit.kind == CTL_EXIT_EXEC)
        warn("%s cannot be started in the domain: %s", p->program, strerror((int)a->exit.value));
    else if (reason)
        warn("%s %s: %s", p->name, state ? state : "failed", reason);
    else if (p->o->detach)
        warn("%s ended at once with status %d", p->program, status);
    return p->o->detach && !status ? STATUS_OURS : status;
}

static int start(struct run_options *o, int fd, const struct pack_result *image, struct progress *p)
{
    bool with_stdin = !o->detach && has_stdin();
    char *kernel = find_kernel(o->kernel);
    char *qemu = kernel ? qemu_find() : NULL;
    const char *accel = qemu ? qemu_choose_accel(o->accel ? o->accel : "auto") : NULL;
    json_t *rq = accel ? make_request(o, image, kernel, qemu, accel, with_stdin) : NULL;
    struct attach a = {.fd = fd,
                       .with_stdin = with_stdin,
                       .tty = o->tty && isatty(STDIN_FILENO),
                       .owns_domain = true,
                       .event = on_event,
                       .timeout = on_timeout,
                       .arg = p};
    int status = STATUS_OURS;

    free(kernel);
    free(qemu);
    if (!rq || send_request(fd, rq))
        return STATUS_OURS;
    if (attach_run(&a) == 0) {
        if (a.reply) {
            status = conclude(&a, p);
        } else {
            printf("%s\n", p->name);
            status = 0;
        }
    }
    json_decref(a.reply);
    return status;
}

int cmd_run(int argc, char **argv)
{
    struct run_options o = {0};
    struct pack_result image = {0};
    struct strv covered = {0};
    struct progress p = {.o = &o};
    const char *env = getenv("LIBRETTOS_TIMING");
    int fd = -1;

    o.timing = env && !strcmp(env, "1");
    int status = parse_options(argc, argv, &o);
    if (status < 0) {
        struct pack_request rq = {.program = o.program[0],
                                  .args = o.program + 1,
                                  .files = &o.files,
                                  .packages = &o.packages,
                                  .volumes = &covered,
                                  .user_net = !o.tap && !o.bridge};
        const char *slash = strrchr(o.program[0], '/');
        for (size_t i = 0; i < o.volume_count; i++)
            strv_addf(&covered, "%s", o.volumes[i].guest);
        p.program = slash ? slash + 1 : o.program[0];
        status = pack(&rq, &image);
        p.packed_ns = now_ns();
        if (!status)
            status = choose_memory(&o, image.bytes);
        if (!status && (fd = supervisor_connect(1)) < 0)
            status = STATUS_OURS;
        p.connected_ns = now_ns();
        if (!status)
            status = start(&o, fd, &image, &p);
    }
    if (fd >= 0)
        close(fd);
    free(image.image);
    free(image.program);
    free(image.cwd);
    free(p.name);
    free(p.dir);
    free(p.address);
    for (size_t i = 0; i < o.volume_count; i++) {
        free(o.volumes[i].host);
        free(o.volumes[i].guest);
    }
    strv_free(&o.env);
    strv_free(&o.files);
    strv_free(&o.packages);
    strv_free(&o.qemu_args);
    strv_free(&covered);
    return status;
}
