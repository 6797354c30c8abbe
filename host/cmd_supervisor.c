/* librettos supervisor: internal; started on demand by the other commands. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>

#include "cli.h"
#include "supervisor.h"
#include "vswitch.h"

uint64_t cli_begin_ns;

static const char help[] =
    "usage: librettos supervisor\n"
    "\n"
    "Runs the supervisor in the foreground. The other commands start it when they need it, and it "
    "ends\n"
    "half a minute after the last domain; there is rarely a reason to start it by hand.\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"ready-fd", required_argument, NULL, 'r'}, /* and the others: how it starts its parts */
    {"switch-fd", required_argument, NULL, 's'},
    {"host-loopback", no_argument, NULL, 'l'},
    {NULL, 0, NULL, 0},
};

int cmd_supervisor(int argc, char **argv)
{
    uint64_t ready = UINT64_MAX, net = UINT64_MAX;
    bool loopback = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        loopback |= opt == 'l';
        if (opt == '?' || (opt == 'r' && parse_u64(optarg, 0, INT_MAX, &ready)) ||
            (opt == 's' && parse_u64(optarg, 0, INT_MAX, &net)))
            return STATUS_OURS;
    }
    if (net != UINT64_MAX)
        return vswitch_main((int)net, loopback);
    return supervisor_main(ready == UINT64_MAX ? -1 : (int)ready);
}
