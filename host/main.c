/* The `librettos` command: dispatches to the subcommands, each in a file of its own. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"run", cmd_run},         {"ps", cmd_ps},
    {"stop", cmd_stop},       {"logs", cmd_logs},
    {"exec", cmd_exec},       {"signal", cmd_signal},
    {"image", cmd_image},     {"supervisor", cmd_supervisor},
    {"switch", cmd_switch},   {"mode", cmd_mode},
    {"restart", cmd_restart}, {"upgrade", cmd_upgrade},
    {"trace", cmd_trace},     {"pcap", cmd_pcap},
    {"core", cmd_core},       {"gdb", cmd_gdb},
};

static const char help[] =
    "usage: librettos COMMAND ...\n"
    "\n"
    "  run     run a program in a domain of its own: librettos run -p 8080:80 nginx\n"
    "  ps      list the domains\n"
    "  stop    end domains\n"
    "  logs    show what a domain's program or kernel wrote\n"
    "  exec    run a further program in a running domain\n"
    "  signal  send a signal to a domain's program\n"
    "  switch  move a running domain to another path to the network\n"
    "  mode    let a domain's load decide about its path\n"
    "  restart replace a network server by a fresh one, under its connections\n"
    "  upgrade the same, by one of another build\n"
    "  trace   show the system calls and signals of a domain's programs\n"
    "  pcap    capture the frames that a domain sends and receives\n"
    "  core    fetch the core file that a program left\n"
    "  gdb     run gdb on a domain: its kernel and its program\n"
    "  image   write a program's boot image to a file\n"
    "\n"
    "`librettos COMMAND --help` tells more.\n";

int main(int argc, char **argv)
{
    cli_begin_ns = now_ns();
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help")) {
        fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? STATUS_OURS : 0;
    }
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    warn("%s: no such command; `librettos --help` lists them", argv[1]);
    return STATUS_OURS;
}
