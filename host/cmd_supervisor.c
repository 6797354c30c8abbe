/* librettos supervisor: started on demand by the other commands. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "keeper.h"
#include "supervisor.h"
#include "vswitch.h"

uint64_t cli_begin_ns;

static const char help[] =
    "usage: librettos supervisor [restart]\n"
    "\n"
    "restart: the running supervisor is replaced by one of this program's build; domains, their\n"
    "connections, and commands that wait go on.\n"
    "\n"
    "Without it: runs the supervisor in the foreground. The other commands start it when they need "
    "it,\n"
    "and it ends half a minute after the last domain; there is rarely a reason to start it by "
    "hand.\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"ready-fd", required_argument, NULL, 'r'}, /* and the others: how its processes are started */
    {"keeper-fd", required_argument, NULL, 'k'},
    {"restarts", required_argument, NULL, 'n'},
    {"switch-fd", required_argument, NULL, 's'},
    {"host-loopback", no_argument, NULL, 'l'},
    {NULL, 0, NULL, 0},
};

static int restart(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    int status;

    if (n < 0)
        return STATUS_OURS;
    path[n] = 0;
    json_t *reply = simple_request(json_pack("{s:s, s:i, s:s}", "op", "restart", "state_version",
                                             (int)supervisor_state_version(), "binary", path),
                                   false, &status);
    json_decref(reply);
    return status;
}

int cmd_supervisor(int argc, char **argv)
{
    uint64_t ready = UINT64_MAX, net = UINT64_MAX, keeper = UINT64_MAX, restarts = 0;
    bool loopback = false;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        loopback |= opt == 'l';
        if (opt == '?' || (opt == 'r' && parse_u64(optarg, 0, INT_MAX, &ready)) ||
            (opt == 'k' && parse_u64(optarg, 0, INT_MAX, &keeper)) ||
            (opt == 'n' && parse_u64(optarg, 0, INT_MAX, &restarts)) ||
            (opt == 's' && parse_u64(optarg, 0, INT_MAX, &net)))
            return STATUS_OURS;
    }
    int ready_fd = ready == UINT64_MAX ? -1 : (int)ready;
    if (optind < argc && !strcmp(argv[optind], "restart"))
        return restart();
    if (optind < argc) {
        warn("supervisor: %s is no command of it; use restart, or none", argv[optind]);
        return STATUS_OURS;
    }
    if (net != UINT64_MAX)
        return vswitch_main((int)net, loopback);
    if (keeper != UINT64_MAX)
        return supervisor_main((int)keeper, (unsigned)restarts, ready_fd);
    return keeper_main(ready_fd);
}
