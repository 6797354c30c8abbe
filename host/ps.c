/* librettos ps: the domains of this user. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char help[] =
    "usage: librettos ps [-a] [--json]\n"
    "       librettos ps --stats DOMAIN\n"
    "\n"
    "Lists the running domains, the network server's too: their path to the network, address,\n"
    "and the packets per second that they got (RX) and sent (TX) since the last look.\n"
    "\n"
    "  -a, --all  also those that ended lately, with their exit status or reason\n"
    "  --json     as a JSON array, with all details\n"
    "  --stats    the kernel's own counters of one domain, as JSON\n";

static const struct option long_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"all", no_argument, NULL, 'a'},
    {"json", no_argument, NULL, 'j'},
    {"stats", required_argument, NULL, 's'},
    {NULL, 0, NULL, 0},
};

static const char *text(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));

    return s ? s : "";
}

static bool is_live(json_t *d)
{
    return !json_object_get(d, "status");
}

/* The published ports, then those of the shared address that the program claimed. */
static char *format_ports(json_t *d)
{
    struct buf b = {0};
    size_t i;
    json_t *p;

    json_array_foreach(json_object_get(d, "ports"), i, p)
    {
        buf_printf(&b, " %s:%d->%d/%s", text(p, "host_ip"),
                   (int)json_integer_value(json_object_get(p, "host_port")),
                   (int)json_integer_value(json_object_get(p, "guest_port")), text(p, "protocol"));
    }
    json_array_foreach(json_object_get(d, "claimed"), i, p)
    {
        buf_printf(&b, " %d/%s", (int)json_integer_value(json_object_get(p, "port")),
                   text(p, "protocol"));
    }
    buf_append(&b, "", 1);
    return (char *)b.data;
}

static char *format_time(double s)
{
    if (s < 60)
        return xasprintf("%.0fs", s);
    if (s < 3600)
        return xasprintf("%dm%02ds", (int)s / 60, (int)s % 60);
    return xasprintf("%dh%02dm", (int)(s / 3600), (int)(s / 60) % 60);
}

static char *format_rate(json_t *d, const char *key)
{
    json_t *rate = json_object_get(d, key);

    return rate ? xasprintf("%.0f", json_number_value(rate)) : xstrdup("-");
}

static char *format_state(json_t *d)
{
    json_t *status = json_object_get(d, "status");

    return status ? xasprintf("%s(%d)", text(d, "state"), (int)json_integer_value(status))
                  : xstrdup(text(d, "state"));
}

static void print_ends(json_t *server)
{
    const char *kind, *comma = "";
    json_t *count;

    printf("    replaced: ");
    json_object_foreach(json_object_get(server, "ends"), kind, count)
    {
        if (json_integer_value(count))
            printf("%s%d x %s", comma, (int)json_integer_value(count), kind);
        comma = json_integer_value(count) ? ", " : comma;
    }
    printf("%s%s\n", *text(server, "last_end") ? "; the last end: " : "", text(server, "last_end"));
}

/* Below a domain's line: why it ended, or how often a network server had to be started again. */
static void print_remarks(json_t *d)
{
    json_t *server = json_object_get(d, "server");
    int restarts = (int)json_integer_value(json_object_get(server, "restarts"));

    json_t *last = json_object_get(d, "last_switch");
    char *ago = format_time(json_number_value(json_object_get(last, "ago_s")));
    if (last)
        printf("    %s ago: %s\n", ago, text(last, "what"));
    free(ago);
    if (*text(d, "reason"))
        printf("    %s\n", text(d, "reason"));
    if (server && !strcmp(text(server, "role"), "active"))
        printf("    standby: %s\n", text(server, "standby"));
    if (restarts && !strcmp(text(server, "role"), "active"))
        print_ends(server);
}

static void print_line(json_t *d)
{
    char *state = format_state(d), *ports = format_ports(d);
    char *up = format_time(json_number_value(json_object_get(d, "uptime_s")));
    char *memory = xasprintf("%dM", (int)json_integer_value(json_object_get(d, "memory_mib")));
    bool automatic = !strcmp(text(d, "path_mode"), "auto");
    char *path = xasprintf("%s%s", text(d, "path"), automatic ? "/auto" : "");
    char *rx = format_rate(d, "rx_rate"), *tx = format_rate(d, "tx_rate");

    printf("%-16s %-12s %-11s %-12s %-10s %-5d %-7s %-8s %-7s %-7s %s%s\n", text(d, "name"), state,
           path, text(d, "address"), text(d, "mode"),
           (int)json_integer_value(json_object_get(d, "cpus")), memory, up, rx, tx,
           text(d, "program"), ports);
    free(state);
    free(path);
    free(ports);
    free(up);
    free(memory);
    free(rx);
    free(tx);
}

static void print_table(json_t *domains, bool all)
{
    size_t i;
    json_t *d;

    printf("%-16s %-12s %-11s %-12s %-10s %-5s %-7s %-8s %-7s %-7s %s\n", "NAME", "STATE", "PATH",
           "ADDRESS", "MODE", "CPUS", "MEMORY", "UPTIME", "RX/s", "TX/s", "PROGRAM, PORTS");
    json_array_foreach(domains, i, d)
    {
        if (!all && !is_live(d))
            continue;
        print_line(d);
        print_remarks(d);
    }
}

static void print_supervisor(json_t *supervisor)
{
    int restarts = (int)json_integer_value(json_object_get(supervisor, "restarts"));

    if (restarts)
        printf("supervisor: restarts: %d\n", restarts);
}

static int print_stats(const char *name)
{
    int status;
    json_t *reply =
        simple_request(json_pack("{s:s, s:s}", "op", "stats", "name", name), false, &status);

    if (reply) {
        json_dumpf(json_object_get(reply, "stats"), stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        putchar('\n');
    }
    json_decref(reply);
    return status;
}

int cmd_ps(int argc, char **argv)
{
    bool all = false, as_json = false;
    int opt, status;
    size_t i;

    while ((opt = getopt_long(argc, argv, "ha", long_options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (opt == '?')
            return STATUS_OURS;
        if (opt == 's')
            return print_stats(optarg);
        all |= opt == 'a';
        as_json |= opt == 'j';
    }
    json_t *reply = simple_request(json_pack("{s:s}", "op", "ps"), true, &status);
    if (!reply && status)
        return status;
    json_t *domains = reply ? json_incref(json_object_get(reply, "domains")) : json_array();
    if (as_json) {
        for (i = json_array_size(domains); !all && i-- > 0;)
            if (!is_live(json_array_get(domains, i)))
                json_array_remove(domains, i);
        json_dumpf(domains, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        print_table(domains, all);
        print_supervisor(json_object_get(reply, "supervisor"));
    }
    json_decref(domains);
    json_decref(reply);
    return 0;
}
