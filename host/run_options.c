/* The options of `librettos run`. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "client.h"
#include "run.h"

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
    "  --sysctl NAME=VALUE    set /proc/sys/NAME of the domain, e.g. net.core.somaxconn=1024, "
    "before\n"
    "                         the program starts; repeatable\n"
    "  --depends              pack what the program's package and these depend on, too (done by\n"
    "                         itself if the program is a script)\n"
    "  --tap DEV              connect to this tap device instead of the virtual switch\n"
    "  --bridge BRIDGE        connect to this bridge of the host (root)\n"
    "  --ip ADDR/LEN[,gw=ADDR][,dns=ADDR]  address for --tap and --bridge (default: DHCP)\n"
    "  --path server|direct   through the network server, or with a NIC of its own (default: "
    "server;\n"
    "                         direct with --tap and --bridge)\n"
    "  --mode auto|direct|server  who decides about the path while it runs: its load (auto), or\n"
    "                         `librettos switch` (default); direct and server are as --path\n"
    "  --address dedicated[=IP]|shared  an address of its own, or the network server's, of which\n"
    "                         each domain has some ports (default: dedicated)\n"
    "  --kernel FILE          kernel image (default: $LIBRETTOS_KERNEL, else beside this command)\n"
    "  --accel auto|kvm|tcg   how to run the virtual machine (default: auto)\n"
    "  --cpu MODEL            QEMU's CPU model\n"
    "  --qemu-arg ARG         pass this argument to QEMU, last; repeatable (debugging, plugins)\n"
    "  --loglevel LEVEL       least severe lines that the kernel prints: emerg, alert, crit, "
    "error,\n"
    "                         warn, notice, info or debug (default: warn); dmesg shows all\n"
    "  --trace FILE           write the system calls of the program, from its start, to this file "
    "(see\n"
    "                         `librettos trace`)\n"
    "  --timing               print how long each step of the start took\n"
    "\n"
    "Arguments that name existing files of this machine are packed as well. The exit status is "
    "the\n"
    "program's; 128+n if signal n ended it, 125 if the domain could not be run, 126 or 127 if the\n"
    "program could not. Ctrl-C interrupts the program; a second one ends the domain.\n";
enum {
    OPT_NAME = 256,
    OPT_FILE,
    OPT_PACKAGE,
    OPT_DEPENDS,
    OPT_SYSCTL,
    OPT_TAP,
    OPT_BRIDGE,
    OPT_IP,
    OPT_KERNEL,
    OPT_ACCEL,
    OPT_CPU,
    OPT_QEMU_ARG,
    OPT_LOGLEVEL,
    OPT_TIMING,
    OPT_PATH,
    OPT_MODE,
    OPT_ADDRESS,
    OPT_TRACE
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
    {"depends", no_argument, NULL, OPT_DEPENDS},
    {"sysctl", required_argument, NULL, OPT_SYSCTL},
    {"tap", required_argument, NULL, OPT_TAP},
    {"bridge", required_argument, NULL, OPT_BRIDGE},
    {"ip", required_argument, NULL, OPT_IP},
    {"kernel", required_argument, NULL, OPT_KERNEL},
    {"accel", required_argument, NULL, OPT_ACCEL},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"qemu-arg", required_argument, NULL, OPT_QEMU_ARG},
    {"loglevel", required_argument, NULL, OPT_LOGLEVEL},
    {"timing", no_argument, NULL, OPT_TIMING},
    {"path", required_argument, NULL, OPT_PATH},
    {"mode", required_argument, NULL, OPT_MODE},
    {"address", required_argument, NULL, OPT_ADDRESS},
    {"trace", required_argument, NULL, OPT_TRACE},
    {NULL, 0, NULL, 0},
};

/* Takes one option that may be repeated or has a form to check. Returns 0 or -EINVAL. */
static int take_checked(struct run_options *o, int opt, const char *arg)
{
    uint64_t n;

    switch (opt) {
    case 'p':
        if (o->port_count < RUN_MAX_PORTS)
            return parse_port(arg, &o->ports[o->port_count++]);
        warn("more than %d ports", RUN_MAX_PORTS);
        return -EINVAL;
    case 'v':
        if (o->volume_count < RUN_MAX_VOLUMES)
            return parse_volume(arg, &o->volumes[o->volume_count++]);
        warn("more than %d volumes", RUN_MAX_VOLUMES);
        return -EINVAL;
    case 'm':
        return parse_memory(arg, &o->memory_mib);
    case 'e':
        return add_env(&o->env, arg);
    case OPT_SYSCTL:
        return add_sysctl(&o->sysctls, arg);
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

/* --mode auto, or another name for --path. */
static int check_mode(struct run_options *o)
{
    if (!o->mode)
        return 0;
    o->auto_mode = !strcmp(o->mode, "auto");
    if (!o->auto_mode && o->path && strcmp(o->mode, o->path))
        warn("--mode %s and --path %s exclude each other", o->mode, o->path);
    else if (o->auto_mode && o->address && !strcmp(o->address, "shared"))
        warn("--mode auto: the network server's address cannot move; use --address dedicated");
    else if (o->auto_mode && o->tap)
        warn("--mode auto: a tap device has one user; use --bridge");
    else if (!o->auto_mode && strcmp(o->mode, "direct") && strcmp(o->mode, "server"))
        warn("--mode %s: use auto, direct or server", o->mode);
    else {
        o->path = !o->auto_mode ? o->mode : o->path ? o->path : "server";
        return 0;
    }
    return -EINVAL;
}

/* --path and --address: what they are if not given, and whether they go together. */
static int check_path(struct run_options *o)
{
    const char *address = o->address ? o->address : "dedicated";
    bool user_net = !o->tap && !o->bridge;

    o->server_path = o->path ? !strcmp(o->path, "server") : user_net;
    o->shared = !strcmp(address, "shared");
    if (starts_with(address, "dedicated="))
        o->wanted = strchr(address, '=') + 1;
    if (o->path && !o->server_path && strcmp(o->path, "direct"))
        warn("--path %s: use server or direct", o->path);
    else if (!o->shared && !o->wanted && strcmp(address, "dedicated"))
        warn("--address %s: use dedicated, dedicated=IP or shared", address);
    else if (o->shared && !o->server_path)
        warn("--address shared is the network server's: it needs --path server");
    else if (o->wanted && !user_net)
        warn("--address dedicated=IP is for the virtual switch; with --tap or --bridge use --ip");
    else
        return 0;
    return -EINVAL;
}

int run_parse_options(int argc, char **argv, struct run_options *o)
{
    const char **plain[] = {
        ['u'] = &o->user,          [OPT_TAP] = &o->tap,
        [OPT_BRIDGE] = &o->bridge, [OPT_IP] = &o->ip,
        [OPT_KERNEL] = &o->kernel, [OPT_ACCEL] = &o->accel,
        [OPT_CPU] = &o->cpu,       [OPT_LOGLEVEL] = &o->loglevel,
        [OPT_PATH] = &o->path,     [OPT_ADDRESS] = &o->address,
        [OPT_MODE] = &o->mode,     [OPT_TRACE] = &o->trace,
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
        else if (opt == OPT_DEPENDS)
            o->depends = true;
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
    if (check_mode(o) || check_path(o))
        return STATUS_OURS;
    if (o->user && base_user(o->user, &o->uid, &o->gid)) {
        warn("-u %s: no such user", o->user);
        return STATUS_OURS;
    }
    if (o->loglevel && parse_loglevel(o->loglevel) < 0)
        return STATUS_OURS;
    if (o->trace && !trace_can_write(o->trace))
        return STATUS_OURS;
    o->program = argv + optind;
    return -1;
}

void run_free_options(struct run_options *o)
{
    for (size_t i = 0; i < o->volume_count; i++) {
        free(o->volumes[i].host);
        free(o->volumes[i].guest);
    }
    strv_free(&o->env);
    strv_free(&o->files);
    strv_free(&o->packages);
    strv_free(&o->sysctls);
    strv_free(&o->qemu_args);
}
