/*
 * librettos logs: what a domain's main program, or its kernel, wrote. The supervisor keeps both in
 * files (logfile.h) which are read directly, so that it also works for a domain that has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "dirs.h"

#define FOLLOW_US 100000

static const char help[] =
    "usage: librettos logs [-f] [--kernel [--level LEVEL] | --qemu] DOMAIN\n"
    "\n"
    "Prints what the domain's main program wrote, for a network server what its\n"
    "kernel did (the last few MiB).\n"
    "\n"
    "  -f, --follow  go on until the domain ends\n"
    "  --kernel      the kernel's console instead\n"
    "  --level LEVEL  only its lines that are as severe: emerg, alert, crit, error, warn, notice,\n"
    "                info or debug (`librettos run --loglevel` decides what there is)\n"
    "  --qemu        QEMU's messages instead\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},        {"follow", no_argument, NULL, 'f'},
    {"kernel", no_argument, NULL, 'k'},      {"qemu", no_argument, NULL, 'q'},
    {"level", required_argument, NULL, 'l'}, {NULL, 0, NULL, 0},
};

/* Which lines are shown. */
struct filter {
    int level; /* -1: all, as they are */
    struct buf rest;
};

/* A line's level, from its beginning "[1.234567] error: "; lines of another form, a panic's for
 * instance, are as severe as can be. */
static int level_of(const char *line, size_t n)
{
    static const char *const prefixes[] = {
        "emerg: ", "alert: ", "crit: ", "error: ", "warning: ", "notice: ", NULL, "debug: "};
    const char *end = *line == '[' ? memchr(line, ']', n) : NULL;
    size_t at = end ? (size_t)(end - line) + 2 : 0;

    for (int i = 0; end && i < (int)ARRAY_SIZE(prefixes); i++)
        if (prefixes[i] && at + strlen(prefixes[i]) <= n &&
            !memcmp(line + at, prefixes[i], strlen(prefixes[i])))
            return i;
    return end ? 6 /* info */ : 0;
}

static int write_lines(struct filter *f, const void *data, size_t n)
{
    const char *end;
    int err = 0;

    if (f->level < 0)
        return write_all(STDOUT_FILENO, data, n);
    buf_append(&f->rest, data, n);
    while (!err && buf_used(&f->rest) &&
           (end = memchr(buf_head(&f->rest), '\n', buf_used(&f->rest)))) {
        const char *line = (const char *)buf_head(&f->rest);
        size_t len = (size_t)(end - line) + 1;
        if (level_of(line, len) <= f->level)
            err = write_all(STDOUT_FILENO, line, len);
        buf_consume(&f->rest, len);
    }
    return err;
}

/* Copies what there is. Returns 0 or -errno of our standard output. */
static int copy(int fd, struct filter *f)
{
    char data[65536];
    ssize_t n;
    int err = 0;

    while (!err && (n = read(fd, data, sizeof(data))) > 0)
        err = write_lines(f, data, (size_t)n);
    return err;
}

static bool is_running(const char *name)
{
    int status;
    json_t *reply = simple_request(json_pack("{s:s}", "op", "ps"), true, &status), *d;
    bool live = false;
    size_t i;

    json_array_foreach(json_object_get(reply, "domains"), i, d)
    {
        const char *n = json_string_value(json_object_get(d, "name"));
        live |= n && !strcmp(n, name) && !json_object_get(d, "status");
    }
    json_decref(reply);
    return live;
}

/* Follows the file, into a new one when it was rotated, until the domain has ended. */
static int follow(const char *name, const char *path, int fd, struct filter *f)
{
    struct stat open_st, st;
    int rounds = 0, err = 0;
    bool live = true;

    while (!err && live) {
        usleep(FOLLOW_US);
        if (++rounds % 10 == 0)
            live = is_running(name);
        err = copy(fd, f);
        if (fstat(fd, &open_st) == 0 && stat(path, &st) == 0 && st.st_ino != open_st.st_ino) {
            int next = open(path, O_RDONLY | O_CLOEXEC);
            if (next >= 0) {
                dup2(next, fd);
                close(next);
                err = copy(fd, f);
            }
        }
    }
    return err;
}

/* The log to show, by default the program's output; a server has none but the kernel's. */
static char *log_path(const char *dir, const char *name, const char *file)
{
    char *path = xasprintf("%s/%s.domain/%s", dir, name, file ? file : "output.log");

    if (!file && access(path, F_OK) < 0) {
        free(path);
        path = xasprintf("%s/%s.domain/kernel.log", dir, name);
    }
    return path;
}

int cmd_logs(int argc, char **argv)
{
    const char *file = NULL;
    struct filter filter = {.level = -1};
    bool following = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "hf", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt == '?')
            return STATUS_OURS;
        if (opt == 'l' && (filter.level = parse_loglevel(optarg)) < 0)
            return STATUS_OURS;
        following |= opt == 'f';
        file = opt == 'k' || opt == 'l' ? "kernel.log" : opt == 'q' ? "qemu.log" : file;
    }
    if (argc - optind != 1 || !name_is_valid(argv[optind])) {
        warn("usage: librettos logs [-f] [--kernel [--level LEVEL] | --qemu] DOMAIN");
        return STATUS_OURS;
    }
    char *dir = dirs_runtime();
    if (!dir)
        return STATUS_OURS;
    char *path = log_path(dir, argv[optind], file);
    char *older = xasprintf("%s.1", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC), old = open(older, O_RDONLY | O_CLOEXEC), err = 0;
    if (fd < 0) {
        warn("no log of a domain named %s", argv[optind]);
        err = -ENOENT;
    }
    if (!err && old >= 0)
        err = copy(old, &filter);
    if (!err)
        err = copy(fd, &filter);
    if (!err && following && is_running(argv[optind]))
        err = follow(argv[optind], path, fd, &filter);
    if (fd >= 0)
        close(fd);
    if (old >= 0)
        close(old);
    buf_free(&filter.rest);
    free(path);
    free(older);
    free(dir);
    return err ? STATUS_OURS : 0;
}
