/* librettos restart and librettos upgrade. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "elfinfo.h"

static const char restart_help[] =
    "usage: librettos restart [--json] SERVER\n"
    "\n"
    "Replaces a network server (net; net-DEV for a tap device or bridge) by a fresh one, which "
    "takes\n"
    "over its connections. If that does not come up the old one goes on.\n"
    "\n"
    "  --json   what happened as JSON\n";

static const char upgrade_help[] =
    "usage: librettos upgrade [--kernel FILE] [--json] SERVER\n"
    "\n"
    "Replaces a network server by one of another build, under its connections. The new one is "
    "booted\n"
    "beside the old one; if it does not come up, or serves less than is in use, nothing is "
    "stopped.\n"
    "\n"
    "  --kernel FILE  the kernel image (default: the one that came with this command)\n"
    "  --json         what happened as JSON\n";

static const struct option options[] = {
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, 'j'},
    {"kernel", required_argument, NULL, 'k'},
    {NULL, 0, NULL, 0},
};

/* Whether the file can be a kernel at all; what it is worth shows when it is booted. */
static bool is_image(const char *path)
{
    struct elf_info e;
    bool ok = !elf_read(path, &e) && e.x86_64 && !e.interp;

    elf_free(&e);
    if (!ok)
        warn("%s is no kernel image", path);
    return ok;
}

static int replace(const char *name, const char *kernel, bool json)
{
    int status;
    json_t *reply = simple_request(
        json_pack("{s:s, s:s, s:s?}", "op", "upgrade", "name", name, "kernel", kernel), false,
        &status);

    if (!status && json)
        json_dumpf(reply, stdout, JSON_INDENT(2));
    if (!status && json)
        putchar('\n');
    else if (!status)
        printf("%s: handed over in %.1f ms\n", name,
               json_number_value(json_object_get(reply, "handover_ms")));
    json_decref(reply);
    return status;
}

static int parse(int argc, char **argv, const char *help, char **kernel, bool *json)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (opt == 'h')
            fputs(help, stdout);
        if (opt == 'h')
            return 0;
        if (opt == '?' || (opt == 'k' && !kernel)) {
            warn("usage: %.*s", (int)strcspn(help + 7, "\n"), help + 7);
            return STATUS_OURS;
        }
        *json |= opt == 'j';
        if (opt == 'k')
            *kernel = optarg;
    }
    if (argc - optind == 1)
        return -1;
    warn("which network server? `librettos ps` lists them; the virtual switch's is called net");
    return STATUS_OURS;
}

int cmd_restart(int argc, char **argv)
{
    bool json = false;
    int status = parse(argc, argv, restart_help, NULL, &json);

    return status < 0 ? replace(argv[optind], NULL, json) : status;
}

int cmd_upgrade(int argc, char **argv)
{
    char *kernel = NULL;
    bool json = false;
    int status = parse(argc, argv, upgrade_help, &kernel, &json);

    if (status >= 0)
        return status;
    char *path = find_kernel(kernel);
    status = path && is_image(path) ? replace(argv[optind], path, json) : STATUS_OURS;
    free(path);
    return status;
}
