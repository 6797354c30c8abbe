/* librettos switch and librettos mode. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const char switch_help[] =
    "usage: librettos switch [--json] [--device PCI-ADDRESS] DOMAIN direct|server\n"
    "\n"
    "Moves a running domain to the other path to the network, with its connections open, and ends\n"
    "auto mode for it.\n"
    "\n"
    "  direct    a NIC of its own, taken from the pool and plugged in\n"
    "  server    the channel to the network server; the NIC goes back to the pool\n"
    "  --device  the PCI device of this machine that is to be the NIC (VFIO; \"0000:03:10.0\"); "
    "it\n"
    "            must have the domain's MAC address, and be on the same network\n"
    "  --json    what it took, as JSON: stall_ns is the exchange itself, drain_ns until the old\n"
    "            path had sent what it held, total_ns with plugging in\n"
    "\n"
    "The exit status is 0 if the domain is on that path now. A switch that fails leaves it where "
    "it\n"
    "was, and says why.\n";

static const char mode_help[] =
    "usage: librettos mode DOMAIN auto|direct|server\n"
    "\n"
    "Says who decides about a domain's path: you (direct, server: as `librettos switch`), or the\n"
    "supervisor by the domain's load (auto). `librettos ps` shows what it decided, and why.\n";

static const struct option switch_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"json", no_argument, NULL, 'j'},
    {"device", required_argument, NULL, 'd'},
    {NULL, 0, NULL, 0},
};

static const struct option mode_options[] = {
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool is_path(const char *s)
{
    return !strcmp(s, "direct") || !strcmp(s, "server");
}

static void print_switched(json_t *reply)
{
    const char *path = json_string_value(json_object_get(reply, "path"));

    if (!json_is_true(json_object_get(reply, "moved")))
        printf("it is on the %s path already\n", path);
    else
        printf("now on the %s path: the exchange took %.2f ms, all %.0f ms\n", path,
               (double)json_integer_value(json_object_get(reply, "stall_ns")) / 1e6,
               (double)json_integer_value(json_object_get(reply, "total_ns")) / 1e6);
}

int cmd_switch(int argc, char **argv)
{
    const char *device = NULL;
    bool as_json = false;
    int opt, status;

    while ((opt = getopt_long(argc, argv, "h", switch_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(switch_help, stdout);
            return 0;
        }
        if (opt == '?')
            return STATUS_OURS;
        as_json |= opt == 'j';
        device = opt == 'd' ? optarg : device;
    }
    if (argc - optind != 2 || !is_path(argv[optind + 1])) {
        warn("usage: librettos switch [--json] [--device PCI-ADDRESS] DOMAIN direct|server");
        return STATUS_OURS;
    }
    if (device && strcmp(argv[optind + 1], "direct")) {
        warn("--device is a NIC for the direct path");
        return STATUS_OURS;
    }
    json_t *reply =
        simple_request(json_pack("{s:s, s:s, s:s, s:s*}", "op", "switch", "name", argv[optind],
                                 "path", argv[optind + 1], "device", device),
                       false, &status);
    if (reply && as_json)
        json_dumpf(reply, stdout, JSON_INDENT(2)), putchar('\n');
    else if (reply)
        print_switched(reply);
    json_decref(reply);
    return status;
}

int cmd_mode(int argc, char **argv)
{
    int opt, status;

    while ((opt = getopt_long(argc, argv, "h", mode_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(mode_help, stdout);
            return 0;
        }
        return STATUS_OURS;
    }
    if (argc - optind != 2 || (strcmp(argv[optind + 1], "auto") && !is_path(argv[optind + 1]))) {
        warn("usage: librettos mode DOMAIN auto|direct|server");
        return STATUS_OURS;
    }
    json_decref(simple_request(json_pack("{s:s, s:s, s:s}", "op", "switch", "name", argv[optind],
                                         "path", argv[optind + 1]),
                               false, &status));
    return status;
}
