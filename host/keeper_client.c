/* A supervisor's way to its keeper: see keeper.h. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "keeper.h"

static int keeper_sock = -1;

void keeper_attach(int sock)
{
    keeper_sock = sock;
}

bool keeper_attached(void)
{
    return keeper_sock >= 0;
}

/* Sends a request with `count` descriptors. Of the answer, at most *max descriptors are taken, and
 * *max set to their number. Returns the answer's error. */
static int ask(enum keeper_op op, const char *name, int number, const int *fds, unsigned count,
               struct keeper_answer *a, int *got, unsigned *max)
{
    struct keeper_request rq = {.op = op, .number = number};

    if (strlen(name) >= sizeof(rq.name))
        return -ENAMETOOLONG;
    strcpy(rq.name, name);
    ssize_t n = fdpass_send(keeper_sock, &rq, sizeof(rq), fds, count, 0);
    if (n > 0)
        n = fdpass_recv(keeper_sock, a, sizeof(*a), got, max, 0);
    if (n <= 0) { /* nothing can go on without it: its death is ours */
        warn("the keeper died");
        _exit(STATUS_OURS);
    }
    return a->error;
}

static int simple(enum keeper_op op, const char *name, int number, struct keeper_answer *a)
{
    unsigned none = 0;

    return ask(op, name, number, NULL, 0, a, NULL, &none);
}

int keeper_put(const char *name, const int *fds, unsigned count)
{
    struct keeper_answer a;
    unsigned none = 0;

    return keeper_sock < 0 ? 0 : ask(KEEPER_PUT, name, 0, fds, count, &a, NULL, &none);
}

int keeper_get(const char *name, int *fds, unsigned max)
{
    struct keeper_answer a;

    if (keeper_sock < 0)
        return -ENOENT;
    int err = ask(KEEPER_GET, name, 0, NULL, 0, &a, fds, &max);
    return err ? err : (int)max;
}

void keeper_drop(const char *name)
{
    struct keeper_answer a;

    if (keeper_sock >= 0)
        simple(KEEPER_DROP, name, 0, &a);
}

void keeper_clear(const char *prefix)
{
    struct keeper_answer a;

    if (keeper_sock >= 0)
        simple(KEEPER_CLEAR, prefix, 0, &a);
}

bool keeper_list(unsigned i, char name[KEEPER_NAME])
{
    struct keeper_answer a;

    if (keeper_sock < 0 || simple(KEEPER_LIST, "", (int)i, &a))
        return false;
    memcpy(name, a.name, KEEPER_NAME);
    return true;
}

int keeper_wait(pid_t pid, int *status)
{
    struct keeper_answer a;
    int err = keeper_sock < 0 ? -ECHILD : simple(KEEPER_WAIT, "", pid, &a);

    if (err)
        return err == -EAGAIN ? 0 : err;
    *status = a.status;
    return 1;
}

void keeper_reap(pid_t pid)
{
    struct keeper_answer a;

    if (keeper_sock >= 0)
        simple(KEEPER_REAP, "", pid, &a);
}

void keeper_ready(void)
{
    struct keeper_answer a;

    if (keeper_sock >= 0)
        simple(KEEPER_READY, "", 0, &a);
}
