/* librettos stop and librettos signal. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const char stop_help[] =
    "usage: librettos stop [-t SECONDS] [--force] DOMAIN...\n"
    "\n"
    "Ends domains: SIGTERM to their programs, after the grace time SIGKILL, then the power goes "
    "off.\n"
    "\n"
    "  -t, --time SECONDS  grace time (default: 10); 0 pulls the plug\n"
    "  --force             a network server that domains use, too: it is started again at once\n";

static const char signal_help[] =
    "usage: librettos signal DOMAIN SIGNAL\n"
    "\n"
    "Sends a signal (HUP, SIGUSR1, 15, ...) to a domain's main program.\n";

static const struct option stop_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"time", required_argument, NULL, 't'},
    {"force", no_argument, NULL, 'f'},
    {NULL, 0, NULL, 0},
};

static const struct option signal_options[] = {
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

int cmd_stop(int argc, char **argv)
{
    uint64_t seconds = 10;
    int opt, status = 0, force = 0;

    while ((opt = getopt_long(argc, argv, "ht:", stop_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(stop_help, stdout);
            return 0;
        }
        force |= opt == 'f';
        if (opt == '?' || (opt == 't' && parse_u64(optarg, 0, 3600, &seconds))) {
            warn("usage: librettos stop [-t SECONDS] [--force] DOMAIN...");
            return STATUS_OURS;
        }
    }
    if (optind >= argc) {
        warn("which domain? `librettos ps` lists them");
        return STATUS_OURS;
    }
    for (int i = optind; i < argc; i++) {
        int one;
        json_t *reply =
            simple_request(json_pack("{s:s, s:s, s:I, s:b}", "op", "stop", "name", argv[i],
                                     "grace_ms", (json_int_t)(seconds * 1000), "force", force),
                           false, &one);
        json_decref(reply);
        if (one)
            status = one;
    }
    return status;
}

int cmd_signal(int argc, char **argv)
{
    int opt, status;

    while ((opt = getopt_long(argc, argv, "h", signal_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(signal_help, stdout);
            return 0;
        }
        return STATUS_OURS;
    }
    if (argc - optind != 2) {
        warn("usage: librettos signal DOMAIN SIGNAL");
        return STATUS_OURS;
    }
    int signal = parse_signal(argv[optind + 1]);
    if (signal < 0) {
        warn("%s is no signal; use a name such as HUP, or a number", argv[optind + 1]);
        return STATUS_OURS;
    }
    json_decref(simple_request(
        json_pack("{s:s, s:s, s:i}", "op", "signal", "name", argv[optind], "signal", signal), false,
        &status));
    return status;
}
