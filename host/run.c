/*
 * librettos run: packs the program, has the supervisor start a domain with it, and stays attached
 * until it ends (or, with -d, until its service is up).
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"
#include "pack.h"
#include "run.h"
#include "supervisor.h"

#define DEFAULT_MEMORY_MIB 256

char *find_kernel(const char *named)
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
static json_t *make_request(struct run_options *o, const struct pack_result *image,
                            const char *kernel, const char *qemu, const char *accel,
                            bool with_stdin)
{
    struct strv argv = {0}, env = {0};
    json_t *ports = json_array(), *volumes = json_array();
    const char *slash = strrchr(image->program, '/');
    struct rlimit limit = {0}; /* in the domain it is as here */

    getrlimit(RLIMIT_CORE, &limit);
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

    json_t *rq = json_pack(
        "{s:s, s:s*, s:s, s:s, s:s, s:s, s:s, s:s*, s:i, s:i, s:s, s:s*, s:s*, s:s*, "
        "s:s*, s:b, s:b, s:b, s:o, s:o, s:i, s:i, s:b, s:b, s:I}",
        "op", "run", "name", o->name, "base", name_is_valid(base) ? base : "domain", "qemu", qemu,
        "kernel", kernel, "image", image->image, "accel", accel, "cpu", o->cpu, "memory",
        (int)o->memory_mib, "cpus", (int)(o->cpus ? o->cpus : 1), "loglevel",
        o->loglevel ? o->loglevel : "warn", "tap", o->tap, "bridge", o->bridge, "ip", o->ip,
        "address", o->wanted, "server_path", (int)o->server_path, "shared", (int)o->shared,
        "detach", (int)o->detach, "ports", ports, "volumes", volumes, "owner", (int)o->uid,
        "owner_group", (int)o->gid, "auto", (int)o->auto_mode, "trace", (int)(o->trace != NULL),
        "core", (json_int_t)limit.rlim_cur);
    json_t *jargv = json_strings(&argv), *jenv = json_strings(&env);
    json_t *jqemu = json_strings(&o->qemu_args), *jsysctls = json_strings(&o->sysctls);
    if (!rq && jargv && jenv && jqemu && jsysctls)
        warn("a path or name is not UTF-8 text");
    if (rq && jargv && jenv && jqemu && jsysctls) {
        json_object_set_new(rq, "program", json_string(image->program));
        json_object_set_new(rq, "cwd", json_string(image->cwd));
        json_object_set_new(rq, "user", json_string(o->user ? o->user : ""));
        json_object_set_new(rq, "tty", json_boolean(o->tty));
        json_object_set_new(rq, "stdin", json_boolean(with_stdin));
        json_object_set(rq, "argv", jargv);
        json_object_set(rq, "env", jenv);
        json_object_set(rq, "qemu_args", jqemu);
        json_object_set(rq, "sysctls", jsysctls);
    } else {
        json_decref(rq);
        rq = NULL;
    }
    json_decref(jargv);
    json_decref(jenv);
    json_decref(jqemu);
    json_decref(jsysctls);
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
static int start(struct run_options *o, int fd, const struct pack_result *image,
                 struct run_progress *p)
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
                       .event = run_event,
                       .timeout = run_timeout,
                       .arg = p};
    int status = STATUS_OURS;

    free(kernel);
    free(qemu);
    if (!rq || send_request(fd, rq))
        return STATUS_OURS;
    int err = attach_run(&a);
    if (p->tracer && !o->detach)
        waitpid(p->tracer, NULL, 0); /* the file is complete */
    if (!err) {
        if (a.reply) {
            status = run_conclude(&a, p);
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
    struct run_progress p = {.o = &o};
    const char *env = getenv("LIBRETTOS_TIMING");
    int fd = -1;

    o.timing = env && !strcmp(env, "1");
    int status = run_parse_options(argc, argv, &o);
    if (status < 0) {
        struct pack_request rq = {.program = o.program[0],
                                  .args = o.program + 1,
                                  .files = &o.files,
                                  .packages = &o.packages,
                                  .depends = o.depends,
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
    run_free_progress(&p);
    run_free_options(&o);
    strv_free(&covered);
    return status;
}
