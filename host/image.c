/* librettos image: packs a program into a boot image, without a domain; and image.h's writer. */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cpio.h"
#include "pack.h"

#define NAMED_MAX 8 /* files left out that are named */

static const char help[] =
    "usage: librettos image [OPTIONS] -o OUT PROGRAM [ARGS...]\n"
    "\n"
    "Packs a program as `librettos run` does and writes the boot image (a cpio archive) to the "
    "file\n"
    "OUT, for a virtual machine that is started by other means: it is QEMU's -initrd.\n"
    "\n"
    "  -o, --output OUT       the file to write; it is replaced in one step\n"
    "  --file PATH[:GUESTPATH]  pack this file or directory too (as GUESTPATH); repeatable\n"
    "  --package NAME         pack this Debian package's files too; repeatable\n"
    "  --depends              pack what the program's package and these depend on, too\n"
    "\n"
    "Arguments that name existing files of this machine are packed as well.\n";

/* One line that names what the image lacks: paths that could not be listed, files not read. */
static void report_skipped(const struct strv *unlisted, const struct strv *unread)
{
    const struct strv *both[] = {unlisted, unread};
    struct buf names = {0};
    size_t n = 0;

    for (size_t k = 0; k < ARRAY_SIZE(both); k++)
        for (size_t i = 0; i < both[k]->n; i++)
            if (n++ < NAMED_MAX)
                buf_printf(&names, "%s%s", n > 1 ? ", " : "", both[k]->v[i]);
    if (n > NAMED_MAX)
        buf_printf(&names, " and %zu more", n - NAMED_MAX);
    buf_append(&names, "", 1);
    if (n)
        warn("not readable by you, left out of the image: %s", (char *)names.data);
    buf_free(&names);
}

int image_write(const struct fileset *fs, const char *path, uint64_t *bytes)
{
    char *tmp = xasprintf("%s.%d.tmp", path, getpid());
    struct cpio_stats stats = {0};
    const char *culprit = tmp;
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int err = fd < 0 ? -errno : cpio_write(fd, fs, &stats, &culprit);

    if (fd >= 0 && close(fd) < 0 && !err)
        err = -errno;
    if (!err && rename(tmp, path) < 0) {
        culprit = path;
        err = -errno;
    }
    if (err) {
        warn("cannot pack %s: %s", culprit, strerror(-err));
        unlink(tmp);
    } else {
        report_skipped(&fs->unreadable, &stats.skipped);
    }
    *bytes = stats.bytes;
    strv_free(&stats.skipped);
    free(tmp);
    return err ? STATUS_OURS : 0;
}

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct strv *files, struct strv *packages,
                         bool *depends, const char **out)
{
    enum { OPT_FILE = 256, OPT_PACKAGE, OPT_DEPENDS };
    static const struct option options[] = {
        {"help", no_argument, NULL, 'h'},
        {"output", required_argument, NULL, 'o'},
        {"file", required_argument, NULL, OPT_FILE},
        {"package", required_argument, NULL, OPT_PACKAGE},
        {"depends", no_argument, NULL, OPT_DEPENDS},
        {NULL, 0, NULL, 0},
    };
    int opt;

    while ((opt = getopt_long(argc, argv, "+ho:", options, NULL)) != -1) {
        switch (opt) {
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'o':
            *out = optarg;
            break;
        case OPT_FILE:
            strv_addf(files, "%s", optarg);
            break;
        case OPT_PACKAGE:
            strv_addf(packages, "%s", optarg);
            break;
        case OPT_DEPENDS:
            *depends = true;
            break;
        default:
            warn("`librettos image --help` shows the options");
            return STATUS_OURS;
        }
    }
    if (*out && optind < argc)
        return -1;
    warn("which %s? Try: librettos image -o nginx.cpio nginx", *out ? "program" : "file (-o)");
    return STATUS_OURS;
}

int cmd_image(int argc, char **argv)
{
    struct strv files = {0}, packages = {0};
    const char *out = NULL;
    bool depends = false;
    int status = parse_options(argc, argv, &files, &packages, &depends, &out);

    if (status < 0) {
        struct pack_request rq = {.program = argv[optind],
                                  .args = argv + optind + 1,
                                  .files = &files,
                                  .packages = &packages,
                                  .depends = depends};
        struct fileset fs = {0};
        char *program;
        uint64_t bytes;

        status = pack_program(rq.program, &program);
        if (!status)
            status = pack_collect(&rq, program, &fs);
        if (!status)
            status = image_write(&fs, out, &bytes);
        fileset_free(&fs);
        free(program);
    }
    strv_free(&files);
    strv_free(&packages);
    return status;
}
