/* librettos core: the core file that a program of a domain left. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "core_file.h"
#include "dirs.h"

static const char help[] =
    "usage: librettos core [-o FILE] DOMAIN\n"
    "\n"
    "Fetches the last core file that a program of the domain left, also after the domain's end, "
    "for\n"
    "`gdb PROGRAM FILE`. A program leaves one if a signal like SIGSEGV or SIGABRT kills it and "
    "its\n"
    "RLIMIT_CORE allows it, which is that of the shell that `librettos run` was started from: see\n"
    "`ulimit -c`. The last of a domain is kept, up to 256 MiB (LIBRETTOS_CORE_MAX).\n"
    "\n"
    "  -o, --output FILE  write it to FILE (default: core.DOMAIN), - is standard output\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"output", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

/* Copies the file; what is only zeros becomes a hole where that is possible. Returns 0 or -errno.
 */
static int copy(int from, int to)
{
    static const uint8_t zeros[4096];
    uint8_t data[sizeof(zeros)];
    bool holes = lseek(to, 0, SEEK_CUR) >= 0;
    off_t size = 0;
    ssize_t n;
    int err = 0;

    while (!err && (n = read(from, data, sizeof(data))) > 0) {
        size += n;
        if (holes && !memcmp(data, zeros, (size_t)n))
            err = lseek(to, n, SEEK_CUR) < 0 ? -errno : 0;
        else
            err = write_all(to, data, (size_t)n);
    }
    if (!err && n < 0)
        err = -errno;
    if (!err && holes && ftruncate(to, size) < 0)
        err = -errno;
    return err;
}

/* Writes it to `path`, or standard output for "-". */
static int fetch(int from, const char *path)
{
    bool ours = !strcmp(path, "-");
    int to = ours ? STDOUT_FILENO : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = to < 0 ? -errno : copy(from, to);

    if (to >= 0 && !ours && close(to) < 0 && !err)
        err = -errno;
    if (err)
        warn("%s: %s", path, strerror(-err));
    else if (!ours)
        printf("%s\n", path);
    return err ? STATUS_OURS : 0;
}

static int fetch_of(const char *domain, const char *path)
{
    char *dir = dirs_runtime();
    char *file = dir ? xasprintf("%s/%s.domain/" CORE_FILE, dir, domain) : NULL;
    char *name = path ? xstrdup(path) : xasprintf("core.%s", domain);
    int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1, status = STATUS_OURS;

    if (file && fd < 0 && errno == ENOENT)
        warn("there is no core of a domain named %s; does its RLIMIT_CORE (`ulimit -c`) allow one?",
             domain);
    else if (file && fd < 0)
        warn("%s: %s", file, strerror(errno));
    if (fd >= 0) {
        status = fetch(fd, name);
        close(fd);
    }
    free(name);
    free(file);
    free(dir);
    return status;
}

int cmd_core(int argc, char **argv)
{
    const char *path = NULL;
    int opt;

    while ((opt = getopt_long(argc, argv, "ho:", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt != 'o')
            return STATUS_OURS;
        path = optarg;
    }
    if (argc - optind != 1 || !name_is_valid(argv[optind])) {
        warn("usage: librettos core [-o FILE] DOMAIN");
        return STATUS_OURS;
    }
    return fetch_of(argv[optind], path);
}
