/*
 * librettos gdb: gdb on a running domain, by QEMU's stub. It sees the whole machine, the kernel and
 * the program; the symbols of both are loaded. While gdb has it stopped, all of the domain stands
 * still.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "supervisor.h"

static const char help[] =
    "usage: librettos gdb [OPTIONS] DOMAIN [GDB-ARGS...]\n"
    "\n"
    "Runs gdb on a running domain, with the symbols of the kernel and of its program. gdb stops "
    "the\n"
    "whole domain; when it detaches or ends, the domain goes on. A CPU shows the program that "
    "runs\n"
    "on it: set breakpoints in the program with `hbreak`.\n"
    "\n"
    "  -p, --pid PID    the program of this process (default: the domain's first)\n"
    "  --print          only print the command, and keep the stub open until Ctrl-C\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"pid", required_argument, NULL, 'p'},
    {"print", no_argument, NULL, 'P'},
    {NULL, 0, NULL, 0},
};

struct debugging {
    const char *domain;
    bool print;
    uint64_t pid; /* 0: the first */
    char *kernel; /* image with symbols, or NULL */
    char *program;
    uint64_t offset; /* where the program is, from where it was linked */
    char **more;     /* arguments of gdb's own */
    int status;
};

/* ---- symbols ---- */

/* The value that QEMU was given behind an option, from its command line. Owned, or NULL. */
static char *qemu_option(int pid, const char *option)
{
    char *path = xasprintf("/proc/%d/cmdline", pid), *value = NULL;
    struct buf b = {0};

    if (!read_file(path, &b, 1 << 20))
        for (size_t at = 0; at < b.len && !value;) {
            const char *word = (const char *)b.data + at;
            at += strlen(word) + 1;
            if (!strcmp(word, option) && at < b.len)
                value = xstrdup((const char *)b.data + at);
        }
    buf_free(&b);
    free(path);
    return value;
}

/* The image with symbols beside a stripped one: kernel.debug.elf for kernel.elf. Consumes path. */
static char *with_symbols(char *path)
{
    char *debug = path && ends_with(path, ".elf")
                      ? xasprintf("%.*s.debug.elf", (int)strlen(path) - 4, path)
                      : NULL;

    if (debug && !access(debug, R_OK)) {
        free(path);
        return debug;
    }
    free(debug);
    return path;
}

/* The entry of an ELF file as it was linked; 0: it is none. The name comes from the domain: only a
 * plain file is read. */
static uint64_t elf_entry(const char *path)
{
    Elf64_Ehdr h;
    struct stat st;
    int fd = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    bool ok =
        fd >= 0 && read(fd, &h, sizeof(h)) == sizeof(h) && !memcmp(h.e_ident, ELFMAG, SELFMAG);

    if (fd >= 0)
        close(fd);
    return ok ? h.e_entry : 0;
}

/* A name that is no more than that, in a gdb command too. */
static bool is_plain(const char *path)
{
    return *path == '/' &&
           strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-") ==
               strlen(path);
}

/* Finds the program's file and where it is loaded, from the domain's own words. */
static void find_program(struct debugging *g)
{
    int status;
    json_t *p, *reply = simple_request(json_pack("{s:s, s:s}", "op", "stats", "name", g->domain),
                                       false, &status);
    size_t i;

    json_array_foreach(json_object_get(json_object_get(reply, "stats"), "processes"), i, p)
    {
        const char *exe = json_string_value(json_object_get(p, "exe"));
        uint64_t at = (uint64_t)json_integer_value(json_object_get(p, "entry"));
        bool wanted = !g->pid || (uint64_t)json_integer_value(json_object_get(p, "pid")) == g->pid;
        uint64_t entry = wanted && exe && is_plain(exe) ? elf_entry(exe) : 0;
        if (!entry)
            continue;
        g->program = xstrdup(exe);
        g->offset = at - entry;
        break;
    }
    json_decref(reply);
}

/* Returns 0 or an exit status after a warning. */
static int find_symbols(struct debugging *g)
{
    int status, pid = 0;
    json_t *reply = simple_request(json_pack("{s:s}", "op", "ps"), false, &status), *d;
    size_t i;

    if (!reply)
        return status;
    json_array_foreach(json_object_get(reply, "domains"), i, d)
    {
        const char *name = json_string_value(json_object_get(d, "name"));
        if (name && !strcmp(name, g->domain) && !json_object_get(d, "status"))
            pid = (int)json_integer_value(json_object_get(d, "pid"));
    }
    json_decref(reply);
    if (!pid) {
        warn("no domain named %s is running; `librettos ps` lists them", g->domain);
        return STATUS_OURS;
    }
    g->kernel = with_symbols(qemu_option(pid, "-kernel"));
    find_program(g);
    if (g->pid && !g->program)
        warn("process %llu of domain %s is not one whose program is here",
             (unsigned long long)g->pid, g->domain);
    return g->pid && !g->program ? STATUS_OURS : 0;
}

/* ---- gdb ---- */

static void gdb_command(const struct debugging *g, const char *socket, struct strv *argv)
{
    strv_addf(argv, "gdb");
    strv_addf(argv, "-q");
    if (g->kernel)
        strv_addf(argv, "%s", g->kernel);
    strv_addf(argv, "-ex");
    strv_addf(argv, "target remote %s", socket);
    if (g->program) { /* without a question */
        strv_addf(argv, "-ex");
        strv_addf(argv, "set confirm off");
        strv_addf(argv, "-ex");
        strv_addf(argv, "add-symbol-file %s -o %#llx", g->program, (unsigned long long)g->offset);
        strv_addf(argv, "-ex");
        strv_addf(argv, "set confirm on");
    }
    for (char **more = g->more; *more; more++)
        strv_addf(argv, "%s", *more);
}

static void print_command(const struct strv *argv)
{
    for (size_t i = 0; i < argv->n; i++)
        printf(strchr(argv->v[i], ' ') ? "%s'%s'" : "%s%s", i ? " " : "", argv->v[i]);
    printf("\n");
    fflush(stdout);
}

/* Runs it to its end; the terminal's signals are gdb's. */
static int run_gdb(const struct strv *argv)
{
    int wait_status;
    pid_t pid = fork();

    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL); /* attach_run() has blocked some */
        signal(SIGPIPE, SIG_DFL);
        execvp(argv->v[0], argv->v);
        warn(errno == ENOENT ? "gdb is not installed: apt-get install gdb" : "gdb cannot be run");
        _exit(STATUS_OURS);
    }
    if (pid < 0 || waitpid(pid, &wait_status, 0) != pid) {
        warn("cannot run gdb: %s", strerror(errno));
        return STATUS_OURS;
    }
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
                                  : STATUS_SIGNAL + WTERMSIG(wait_status);
}

/* The stub listens. With --print we stay until a signal ends us. */
static bool on_event(struct attach *a, json_t *event)
{
    struct debugging *g = a->arg;
    const char *socket = json_string_value(json_object_get(event, "socket"));
    struct strv argv = {0};

    if (!socket)
        return false;
    gdb_command(g, socket, &argv);
    if (g->print)
        print_command(&argv);
    else
        g->status = run_gdb(&argv);
    strv_free(&argv);
    return !g->print;
}

static int debug(struct debugging *g)
{
    struct attach a = {.event = on_event, .arg = g, .fd = -1};
    int status = find_symbols(g);

    if (!status && (a.fd = supervisor_connect(0)) < 0)
        status = STATUS_OURS;
    if (!status && send_request(a.fd, json_pack("{s:s, s:s}", "op", "gdb", "name", g->domain)))
        status = STATUS_OURS;
    if (!status)
        status = attach_run(&a);
    if (!status)
        status = a.reply ? reply_status(a.reply) : g->status;
    if (a.fd >= 0)
        close(a.fd);
    json_decref(a.reply);
    return status;
}

int cmd_gdb(int argc, char **argv)
{
    struct debugging g = {0};
    int opt;

    while ((opt = getopt_long(argc, argv, "+hp:", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt == 'P') {
            g.print = true;
        } else if (opt != 'p' || parse_u64(optarg, 1, INT32_MAX, &g.pid)) {
            if (opt == 'p')
                warn("-p %s: not a process number", optarg);
            return STATUS_OURS;
        }
    }
    if (optind >= argc || !name_is_valid(argv[optind])) {
        warn("usage: librettos gdb [OPTIONS] DOMAIN [GDB-ARGS...]");
        return STATUS_OURS;
    }
    g.domain = argv[optind];
    g.more = argv + optind + 1;
    int status = debug(&g);
    free(g.kernel);
    free(g.program);
    return status;
}
