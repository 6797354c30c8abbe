/* librettos supervisor: internal; started on demand by the other commands. */
#include <getopt.h>
#include <stdio.h>

#include "cli.h"
#include "supervisor.h"

uint64_t cli_begin_ns;

static const char help[] =
    "usage: librettos supervisor\n"
    "\n"
    "Runs the supervisor in the foreground. The other commands start it when they need it, and it "
    "ends\n"
    "half a minute after the last domain; there is rarely a reason to start it by hand.\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"ready-fd", required_argument, NULL, 'r'},
    {NULL, 0, NULL, 0},
};

int cmd_supervisor(int argc, char **argv)
{
    uint64_t fd = UINT64_MAX;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt != 'r' || parse_u64(optarg, 0, 1023, &fd))
            return STATUS_OURS;
    }
    return supervisor_main(fd == UINT64_MAX ? -1 : (int)fd);
}
