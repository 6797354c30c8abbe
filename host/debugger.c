/* QEMU's gdb stub: debugger.h. */
#include "debugger.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "qmp.h"

static char *socket_path(const struct domain *d)
{
    return xasprintf("%s/gdb", d->dir);
}

static void monitor_command(struct domain *d, const char *line, qmp_done *done)
{
    qmp_command(d, "human-monitor-command", json_pack("{s:s}", "command-line", line), -1, done, d);
}

/* Who debugs the domain, other than `except`. */
static struct client *user_of(struct supervisor *sv, const struct domain *d,
                              const struct client *except)
{
    struct client *c = sv->clients;

    while (c && (c == except || c->role != CLIENT_GDB || c->domain != d))
        c = c->next;
    return c;
}

/* The monitor tells errors as text, with success: the socket is what counts. */
static void on_listening(void *arg, const char *error)
{
    struct domain *d = arg;
    struct client *c = user_of(d->arg, d, NULL);
    char *path = socket_path(d);

    if (c && error)
        client_error(c, STATUS_OURS, "QEMU: %s", error);
    else if (c && access(path, F_OK) < 0)
        client_error(c, STATUS_OURS, "QEMU does not listen for gdb on %s", path);
    else if (c)
        client_event(c, json_pack("{s:s, s:s}", "event", "gdb", "socket", path));
    free(path);
}

void debugger_request(struct client *c, struct domain *d)
{
    char *path = socket_path(d);

    if (d->server) {
        client_error(c, STATUS_OURS,
                     "%s is a network server: one that stops is taken for dead and replaced",
                     d->name);
    } else if (user_of(c->sv, d, c)) {
        client_error(c, STATUS_OURS, "%s is being debugged already", d->name);
    } else if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path) ||
               strpbrk(path, " ,\"\\")) {
        client_error(c, STATUS_OURS, "QEMU cannot listen for gdb on a socket of that name: %s",
                     path);
    } else {
        char *line = xasprintf("gdbserver unix:%s,server=on,wait=off", path);
        c->role = CLIENT_GDB;
        c->domain = d;
        unlink(path);
        monitor_command(d, line, on_listening);
        free(line);
    }
    free(path);
}

void debugger_gone(struct client *c)
{
    struct domain *d = c->domain;

    if (c->role != CLIENT_GDB || !d || !domain_is_live(d))
        return;
    char *path = socket_path(d);
    monitor_command(d, "gdbserver none", NULL);
    qmp_command(d, "cont", NULL, -1, NULL, NULL); /* if gdb left it stopped */
    unlink(path);
    free(path);
}
