/*
 * The connections of `librettos` commands. They outlive the supervisor as domains do: the keeper
 * has their streams, and the note says what each is about.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"
#include "keeper.h"
#include "lease.h"
#include "pathswitch.h"

#define KEY "client " /* and the number: its entry at the keeper */

struct client_note {
    uint32_t role, detach;
    uint32_t switching; /* the switch that is under way is its own */
    uint32_t session;   /* 0: none, or it has ended */
    int32_t wanted_mode;
    char wanted_device[40];
    char domain[64]; /* "": none */
};

static const struct stream_sizes sizes = {
    .rx = 128u << 10, /* the longest frame fits */
    .tx = 4u << 20,   /* a command that does not read so much is broken */
    .note = sizeof(struct client_note),
};

static char *key_of(const struct client *c)
{
    return xasprintf(KEY "%u", c->id);
}

void client_commit(struct client *c)
{
    struct client_note n = {
        .role = c->role, .detach = c->detach, .session = c->session ? c->session->id : 0};

    n.wanted_mode = c->wanted_mode;
    n.switching = c->domain && c->domain->lease && c->domain->lease->path &&
                  c->domain->lease->path->client == c;
    snprintf(n.wanted_device, sizeof(n.wanted_device), "%s",
             c->wanted_device ? c->wanted_device : "");
    if (c->domain)
        snprintf(n.domain, sizeof(n.domain), "%s", c->domain->name);
    stream_commit(&c->stream, &n, sizeof(n));
}

void client_flush(struct client *c)
{
    client_commit(c);
    stream_flush(&c->stream);
}

void client_later(struct client *c)
{
    loop_want(&c->sv->loop, &c->stream.watch, EPOLLIN | EPOLLOUT);
}

static void unlink_client(struct client *c)
{
    struct client **p = &c->sv->clients;

    while (*p && *p != c)
        p = &(*p)->next;
    if (*p)
        *p = c->next;
}

void client_close(struct client *c)
{
    char *key = key_of(c);

    unlink_client(c);
    keeper_drop(key);
    free(key);
    client_gone(c);
    stream_close(&c->stream);
    supervisor_check_idle(c->sv);
    free(c);
}

/* Handles the frames that were read. Returns 0 or -EPROTO. */
static int parse(struct client *c)
{
    struct frame f;
    int err;

    while ((err = stream_frame(&c->stream, &f)) > 0 && !(err = client_frame(c, &f)))
        client_commit(c);
    return err;
}

static void client_ready(struct watch *w, uint32_t events)
{
    struct client *c = (struct client *)w;
    ssize_t n = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? stream_read(&c->stream) : 0;

    if (n > 0 && parse(c))
        n = -EPROTO;
    if (n < 0 || c->stream.overflow)
        client_close(c);
    else
        client_flush(c);
}

static void add(struct supervisor *sv, struct client *c, uint32_t id)
{
    c->sv = sv;
    c->id = id;
    c->next = sv->clients;
    sv->clients = c;
    if (id >= sv->next_client)
        sv->next_client = id + 1;
}

bool client_accept(struct supervisor *sv)
{
    int fd = accept4(sv->listener.fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return false;
    struct client *c = xcalloc(1, sizeof(*c));
    if (stream_open(&c->stream, &sv->loop, fd, &sizes, client_ready)) {
        free(c);
        return true;
    }
    add(sv, c, sv->next_client);
    char *key = key_of(c);
    int err = stream_keep(&c->stream, key);
    free(key);
    if (err)
        client_close(c);
    supervisor_check_idle(sv);
    return true;
}

/* ---- the next supervisor ---- */

static bool note_is_sane(const struct client_note *n)
{
    return n->role <= CLIENT_DONE && memchr(n->domain, 0, sizeof(n->domain));
}

/* There is one upgrade at a time, almost always. */
static void wait_for_upgrade(struct client *c)
{
    struct netserver *ns = c->sv->servers;

    while (ns && (!ns->upgrade.kernel || ns->upgrade.client))
        ns = ns->next;
    if (ns)
        ns->upgrade.client = c;
    else
        client_error(c, STATUS_OURS,
                     "the supervisor died in the midst of it; `librettos ps` tells "
                     "what runs");
}

/* Finds what it was about. */
static void take_note(struct client *c, const struct client_note *n)
{
    c->role = n->role;
    c->detach = n->detach;
    c->wanted_mode = n->wanted_mode;
    c->wanted_device = *n->wanted_device ? xstrdup(n->wanted_device) : NULL;
    if (*n->domain)
        c->domain = supervisor_find(c->sv, n->domain);
    if (c->domain && n->session)
        c->session =
            domain_listen(c->domain, (uint16_t)n->session, &client_listener, c, &c->stream);
    if (c->domain && c->role == CLIENT_SWITCH && n->switching && c->domain->lease)
        c->domain->lease->path->client = c;
    if (*n->domain && !c->domain)
        client_error(c, STATUS_OURS, "domain %s ended", n->domain);
    else if (c->role == CLIENT_STATS)
        domain_get_stats(c->domain); /* the answer may be lost; a second one is */
    else if (c->role == CLIENT_UPGRADE)
        wait_for_upgrade(c);
    else if (c->role == CLIENT_RESTART)
        client_reply(c, json_pack("{s:b, s:i}", "ok", 1, "restarts", (int)c->sv->restarts));
}

static void restore(struct supervisor *sv, uint32_t id, int fd, int memfd)
{
    struct client *c = xcalloc(1, sizeof(*c));

    if (stream_restore(&c->stream, &sv->loop, fd, memfd, &sizes, client_ready)) {
        free(c);
        return;
    }
    add(sv, c, id);
    const struct client_note *n = stream_note(&c->stream);
    if (!note_is_sane(n)) {
        client_close(c);
        return;
    }
    take_note(c, n);
    if (parse(c)) /* what was read and not handled */
        client_close(c);
}

void clients_restore(struct supervisor *sv)
{
    char name[KEEPER_NAME];
    int fds[2], n;
    struct buf ids = {0};
    uint32_t id;

    for (unsigned i = 0; keeper_list(i, name); i++)
        if (sscanf(name, KEY "%u", &id) == 1)
            buf_append(&ids, &id, sizeof(id));
    for (; buf_used(&ids); buf_consume(&ids, sizeof(id))) {
        memcpy(&id, buf_head(&ids), sizeof(id));
        char *key = xasprintf(KEY "%u", id);
        n = keeper_get(key, fds, 2);
        if (n == 2)
            restore(sv, id, fds[0], fds[1]);
        else
            keeper_drop(key);
        free(key);
    }
    buf_free(&ids);
}
