/*
 * The switch of pathswitch.h, a step at a time:
 *
 *   IDLE -> PLUG (the wanted device is not there yet) -> ASKED -> done, if direct is the wanted
 * path
 *                                                              -> LATE -> UNPLUG -> TIDY -> done
 *
 * A switch to the server path is answered when the domain has moved; getting rid of its NIC
 * follows. One to the direct path that fails goes on as one that unplugs, and is answered when that
 * is done.
 */
#include "pathswitch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lease.h"
#include "qmp.h"

#define READY_MS 5000   /* for the domain to have a NIC's driver and link up */
#define SERVER_MS 15000 /* the same for a channel: its server may have to start */
#define ANSWER_MS 3000  /* beyond these */
#define QEMU_MS 5000    /* for QEMU to carry out a command */
#define LATE_MS 200     /* after a switch to the server path frames may still come by the NIC */
#define UNPLUG_MS 5000
#define LATE_MAX_NS 5000000000ull
#define LOG_PAUSE_NS 20000000u

const char *path_name(enum ctl_path_kind kind)
{
    return kind == CTL_PATH_DIRECT ? "direct" : kind == CTL_PATH_SERVER ? "server" : "none";
}

const char *path_mode_name(enum path_mode mode)
{
    static const char *const names[] = {"direct", "server", "auto"};

    return names[mode];
}

int path_mode_parse(const char *text, enum path_mode *mode)
{
    for (enum path_mode m = MODE_DIRECT; m <= MODE_AUTO; m++)
        if (!strcmp(text, path_mode_name(m))) {
            *mode = m;
            return 0;
        }
    return -EINVAL;
}

static void next_waiting(struct pathswitch *s);
static void begin(struct pathswitch *s, enum ctl_path_kind wanted, const char *why);

/* ---- what became of it ---- */

/* Notes what happened for `ps`, and in the supervisor's log. */
static void note(struct pathswitch *s, uint64_t stall_ns, char *owned)
{
    free(s->last);
    s->last = owned;
    s->last_ns = now_ns();
    s->last_stall_ns = stall_ns;
    if (s->last_ns < s->log_ns)
        return;
    s->log_ns = s->last_ns + LOG_PAUSE_NS;
    warn("%s: %s", s->domain->name, owned);
}

static void answer(struct pathswitch *s, json_t *owned)
{
    if (s->client)
        client_reply(s->client, owned);
    else
        json_decref(owned);
    s->client = NULL;
}

static void answer_error(struct pathswitch *s, const char *error)
{
    answer(s, json_pack("{s:s, s:i}", "error", error, "status", STATUS_OURS));
}

/* Nothing more is to be done for this one. */
static void finish(struct pathswitch *s)
{
    loop_timer_stop(&s->sv->loop, &s->timer);
    s->step = SWITCH_IDLE;
    if (s->error) {
        char *line = xasprintf("%s cannot be switched to the %s path: %s", s->domain->name,
                               path_name(s->wanted), s->error);
        answer_error(s, line);
        free(line);
        note(s, 0, xasprintf("%s stays: %s", path_name(s->in_use), s->error));
    }
    free(s->error);
    s->error = NULL;
    free(s->why);
    s->why = NULL;
    domain_commit(s->domain);
    next_waiting(s);
}

static void fail(struct pathswitch *s, const char *why)
{
    if (!s->error)
        s->error = xstrdup(why);
}

/* ---- the NIC goes ---- */

static void tidied(void *arg, const char *error)
{
    struct pathswitch *s = arg;

    (void)error; /* a VFIO device has no netdev; one that could not be added neither */
    tap_close_aside(&s->tap);
    if (!domain_is_live(s->domain) || s->step != SWITCH_TIDY)
        return;
    finish(s);
}

static void tidy(struct pathswitch *s)
{
    s->has_nic = s->has_end = false;
    s->step = SWITCH_TIDY;
    loop_timer(&s->sv->loop, &s->timer, QEMU_MS);
    nic_tidy(s, tidied);
}

static void unplug_asked(void *arg, const char *error)
{
    struct pathswitch *s = arg;

    if (!error || !domain_is_live(s->domain) || s->step != SWITCH_UNPLUG)
        return;
    if (strstr(error, "not found"))
        tidy(s);
    else
        warn("%s: its NIC: %s", s->domain->name, error); /* being unplugged already, perhaps */
}

static void unplug(struct pathswitch *s)
{
    s->step = SWITCH_UNPLUG;
    loop_timer(&s->sv->loop, &s->timer, UNPLUG_MS);
    nic_unplug(s, unplug_asked);
}

static void unplugged(struct pathswitch *s, const char *device)
{
    if (strcmp(device, QEMU_NIC) || !s->has_nic)
        return;
    s->has_nic = false; /* in the middle of a switch: what becomes of that is decided at its end */
    if (s->step == SWITCH_IDLE)
        begin(s, CTL_PATH_SERVER, "its NIC was taken away");
    else if (s->step == SWITCH_UNPLUG || s->step == SWITCH_LATE)
        tidy(s);
}

/* ---- the question to the domain ---- */

static void ask(struct pathswitch *s)
{
    uint32_t ready = s->wanted == CTL_PATH_DIRECT ? READY_MS : SERVER_MS;
    struct ctl_switch q = {.id = ++s->id, .path = s->wanted, .timeout_ms = ready};

    s->step = SWITCH_ASKED;
    loop_timer(&s->sv->loop, &s->timer, ready + ANSWER_MS);
    domain_switch(s->domain, &q);
}

static const char *domain_error(const struct pathswitch *s, uint32_t error)
{
    bool direct = s->wanted == CTL_PATH_DIRECT;

    switch (error) {
    case ENODEV:
        return direct ? "the domain has no driver for the NIC, or the NIC another MAC address"
                      : "the domain cannot use the channel";
    case ENETDOWN:
        return direct ? "the NIC has no link" : "the network server does not serve the channel";
    case EBUSY:
        return "the domain is busy with another switch";
    default:
        return strerror((int)(error & 0xfff));
    }
}

static void moved(struct pathswitch *s, const struct ctl_switched *a)
{
    uint64_t total = now_ns() - s->begun_ns;

    s->count += a->moved != 0;
    if (a->moved)
        note(s, a->stall_ns,
             xasprintf("moved to the %s path: %s (%.2f ms for the exchange, %.0f ms in all)",
                       path_name(s->wanted), s->why, (double)a->stall_ns / 1e6,
                       (double)total / 1e6));
    answer(s, json_pack("{s:b, s:s, s:s, s:b, s:I, s:I, s:I}", "ok", 1, "name", s->domain->name,
                        "path", path_name(s->wanted), "moved", a->moved != 0, "stall_ns",
                        (json_int_t)a->stall_ns, "drain_ns", (json_int_t)a->drain_ns, "total_ns",
                        (json_int_t)total));
}

/* Where the way back begins, or the rest of the way. */
static void after_answer(struct pathswitch *s)
{
    bool keep = s->wanted == CTL_PATH_DIRECT ? !s->error : s->error != NULL;

    if (!s->has_nic && s->has_end)
        tidy(s);
    else if (keep || !s->has_nic)
        finish(s);
    else if (s->error)
        unplug(s);
    else {
        s->step = SWITCH_LATE;
        loop_timer(&s->sv->loop, &s->timer, LATE_MS);
    }
}

static void answered(struct pathswitch *s, const struct ctl_switched *a)
{
    if (s->step != SWITCH_ASKED || a->id != s->id)
        return;
    if (a->path <= CTL_PATH_SERVER)
        s->in_use = a->path;
    if (a->error)
        fail(s, s->wanted == CTL_PATH_DIRECT && !s->has_nic ? "its NIC was taken away meanwhile"
                                                            : domain_error(s, a->error));
    else if (a->path != s->wanted)
        fail(s, "the domain says that it did, and did not");
    else
        moved(s, a);
    after_answer(s);
}

static void changed(struct pathswitch *s, const struct ctl_path *p)
{
    static const char *const reasons[] = {
        [CTL_PATH_LINK_LOST] = "the other one lost its link",
        [CTL_PATH_LINK_BACK] = "its link came up",
        [CTL_PATH_DETACHED] = "the other one's device was taken away",
        [CTL_PATH_ATTACHED] = "its device was plugged in",
    };

    if (p->path > CTL_PATH_SERVER || p->path == s->in_use)
        return;
    s->in_use = p->path;
    if (p->reason < ARRAY_SIZE(reasons) && reasons[p->reason])
        note(s, 0,
             xasprintf("moved itself to the %s path: %s", path_name(p->path), reasons[p->reason]));
    /* The NIC does not come back: its other end goes too, and the server path is what is wanted. */
    if (p->reason == CTL_PATH_DETACHED && s->step == SWITCH_IDLE && s->has_channel)
        begin(s, CTL_PATH_SERVER, "its NIC was taken away");
}

bool pathswitch_event(struct pathswitch *s, enum domain_event what, const void *data)
{
    if (what == DOMAIN_EV_SWITCHED)
        answered(s, data);
    else if (what == DOMAIN_EV_PATH)
        changed(s, data);
    else if (what == DOMAIN_EV_UNPLUGGED)
        unplugged(s, data);
    else
        return false;
    return true;
}

/* ---- plugging in ---- */

static void plugged(void *arg, const char *error)
{
    struct pathswitch *s = arg;

    if (!domain_is_live(s->domain) || s->step != SWITCH_PLUG)
        return;
    if (error && qmp_is_repeated(error)) /* a dead supervisor had done it already */
        error = NULL;
    if (error)
        fail(s, error);
    else if (s->wanted == CTL_PATH_DIRECT)
        s->has_nic = true;
    else
        s->has_channel = true;
    if (error && s->wanted == CTL_PATH_SERVER)
        channel_drop(s);
    if (s->error)
        after_answer(s);
    else
        ask(s);
}

static bool plug_nic(struct pathswitch *s, char **error)
{
    unsigned size = nic_pool_size();

    if (!s->vfio && s->lease->tap) {
        *error = xasprintf("the tap device %s has one user, the network server; give the domains "
                           "--bridge instead",
                           s->lease->tap);
        return false;
    }
    if (!s->vfio && nic_pool_used(s->sv) >= size) {
        *error =
            xasprintf("no device is left: all %u of the pool are in use; switch another domain "
                      "to the server path, or start the supervisor with "
                      "LIBRETTOS_DIRECT_DEVICES=%u",
                      size, size + 1);
        return false;
    }
    s->has_end = nic_plug(s, plugged, error);
    s->pooled = s->has_end && !s->vfio;
    return s->has_end;
}

static bool plug_channel(struct pathswitch *s, char **error)
{
    if (s->lease->tap) {
        *error = xasprintf("the tap device %s has one user, this domain; give it --bridge instead",
                           s->lease->tap);
        return false;
    }
    return channel_plug(s, plugged, error);
}

static void begin(struct pathswitch *s, enum ctl_path_kind wanted, const char *why)
{
    bool direct = wanted == CTL_PATH_DIRECT;
    char *error = NULL;

    s->wanted = wanted;
    free(s->why);
    s->why = xstrdup(why);
    s->begun_ns = now_ns();
    if (direct ? s->has_nic : s->has_channel) {
        ask(s);
        return;
    }
    s->step = SWITCH_PLUG;
    loop_timer(&s->sv->loop, &s->timer, QEMU_MS);
    domain_commit(s->domain);
    if (direct ? !plug_nic(s, &error) : !plug_channel(s, &error)) {
        fail(s, error);
        free(error);
        finish(s);
    }
}

/* Frames that the switch had for the NIC before the network learned of the move. */
static bool frames_wait(const struct pathswitch *s)
{
    const struct domain *d = s->domain;
    struct switch_traffic t;

    return d->nic >= 0 && vnet_traffic(d->vnet, d->nic, &t) && t.waiting &&
           now_ns() - s->begun_ns < LATE_MAX_NS;
}

/* What QEMU was told cannot be taken back: until it answers nobody else can have a switch. */
static void qemu_is_stuck(struct pathswitch *s)
{
    fail(s, "QEMU does not answer");
    loop_timer(&s->sv->loop, &s->timer, QEMU_MS);
    for (struct client *c = s->sv->clients; c; c = c->next)
        if (c->role == CLIENT_SWITCH && c->domain == s->domain)
            client_error(c, STATUS_OURS, "domain %s cannot be switched: %s", s->domain->name,
                         s->error);
    s->client = NULL;
}

static void timer_fired(struct timer *t)
{
    struct pathswitch *s = (struct pathswitch *)((char *)t - offsetof(struct pathswitch, timer));

    switch (s->step) {
    case SWITCH_PLUG:
    case SWITCH_TIDY:
        qemu_is_stuck(s);
        break;
    case SWITCH_ASKED:
        fail(s, "the domain does not answer");
        after_answer(s);
        break;
    case SWITCH_LATE:
        if (frames_wait(s))
            loop_timer(&s->sv->loop, &s->timer, LATE_MS);
        else
            unplug(s);
        break;
    case SWITCH_UNPLUG:
        warn("%s: it does not let go of its NIC", s->domain->name);
        finish(s);
        break;
    case SWITCH_IDLE:
        break;
    }
    domain_commit(s->domain);
}

void pathswitch_resume(struct pathswitch *s)
{
    char *error = NULL;

    switch (s->step) {
    case SWITCH_IDLE:
        next_waiting(s);
        break;
    case SWITCH_PLUG:
        loop_timer(&s->sv->loop, &s->timer, QEMU_MS);
        if (s->wanted == CTL_PATH_SERVER) {
            if (!channel_plug(s, plugged, &error)) {
                fail(s, error);
                free(error);
                finish(s);
            }
            break;
        }
        fail(s, "the supervisor died in the midst of it");
        s->has_end = true;
        unplug(s);
        break;
    case SWITCH_ASKED:
        loop_timer(&s->sv->loop, &s->timer, SERVER_MS + ANSWER_MS);
        break;
    case SWITCH_LATE:
        loop_timer(&s->sv->loop, &s->timer, LATE_MS);
        break;
    case SWITCH_UNPLUG:
        unplug(s);
        break;
    case SWITCH_TIDY:
        tidy(s);
        break;
    }
    domain_commit(s->domain);
}

/* ---- requests ---- */

/* Why this domain cannot move at all, or NULL. Owned. */
static char *obstacle(const struct pathswitch *s)
{
    if (s->lease->shared)
        return xasprintf("domain %s shares the network server's address, which cannot move; start "
                         "it with --address dedicated",
                         s->domain->name);
    if (!s->domain->hello_ns)
        return xasprintf("domain %s is still starting", s->domain->name);
    return NULL;
}

/* The client that has waited longest for this domain is served. */
static void next_waiting(struct pathswitch *s)
{
    struct client *found = NULL;

    for (struct client *c = s->sv->clients; c; c = c->next)
        if (c->role == CLIENT_SWITCH && c->domain == s->domain && c != s->client)
            found = c; /* the list begins with the newest */
    if (!found || s->step != SWITCH_IDLE)
        return;
    s->client = found;
    s->mode = found->wanted_mode;
    free(s->vfio);
    s->vfio = NULL;
    if (!s->has_nic) {
        s->vfio = found->wanted_device;
        found->wanted_device = NULL;
    }
    begin(s, found->wanted_mode == MODE_DIRECT ? CTL_PATH_DIRECT : CTL_PATH_SERVER, "asked for");
}

void pathswitch_move(struct pathswitch *s, enum ctl_path_kind wanted, const char *why)
{
    if (s->step == SWITCH_IDLE && s->domain->hello_ns && !s->lease->shared)
        begin(s, wanted, why);
}

void pathswitch_request(struct client *c, struct domain *d, json_t *rq)
{
    const char *path = json_string_value(json_object_get(rq, "path"));
    const char *device = json_string_value(json_object_get(rq, "device"));
    struct pathswitch *s = d->lease ? d->lease->path : NULL;
    enum path_mode mode;

    if (!s || !path || path_mode_parse(path, &mode)) {
        client_error(c, STATUS_OURS, s ? "malformed request" : "%s is not an application domain",
                     d->name);
        return;
    }
    char *why = obstacle(s);
    if (why) {
        client_error(c, STATUS_OURS, "%s", why);
        free(why);
        return;
    }
    if (mode == MODE_AUTO) {
        s->mode = mode;
        automode_start(s);
        client_reply(c, json_pack("{s:b, s:s, s:s}", "ok", 1, "name", d->name, "path",
                                  path_name(s->in_use)));
        return;
    }
    c->role = CLIENT_SWITCH;
    c->domain = d;
    c->wanted_mode = mode;
    c->wanted_device = device ? xstrdup(device) : NULL;
    next_waiting(s);
}

void pathswitch_forget(struct client *c)
{
    struct pathswitch *s = c->domain && c->domain->lease ? c->domain->lease->path : NULL;

    if (c->role == CLIENT_SWITCH && s && s->client == c)
        s->client = NULL;
    free(c->wanted_device);
    c->wanted_device = NULL;
}

/* ---- life ---- */

struct pathswitch *pathswitch_new(struct supervisor *sv, struct domain *d, enum path_mode mode)
{
    struct pathswitch *s = xcalloc(1, sizeof(*s));

    s->sv = sv;
    s->domain = d;
    s->lease = d->lease;
    s->mode = mode;
    s->timer.fire = timer_fired;
    s->has_channel = d->lease->server_path;
    s->has_nic = s->has_end = !s->has_channel;
    s->in_use = s->has_channel ? CTL_PATH_SERVER : CTL_PATH_DIRECT;
    if (mode == MODE_AUTO)
        automode_start(s);
    return s;
}

void pathswitch_end(struct pathswitch *s)
{
    loop_timer_stop(&s->sv->loop, &s->timer);
    s->step = SWITCH_IDLE;
    s->client = NULL; /* answered as all that wait for the domain */
}

void pathswitch_free(struct pathswitch *s)
{
    if (!s)
        return;
    free(s->why);
    free(s->error);
    free(s->last);
    free(s->vfio);
    tap_close_aside(&s->tap);
    free(s);
}

void pathswitch_describe(const struct pathswitch *s, json_t *o)
{
    json_object_set_new(o, "path", json_string(path_name(s->in_use)));
    json_object_set_new(o, "path_mode", json_string(path_mode_name(s->mode)));
    json_object_set_new(o, "switching", json_boolean(s->step != SWITCH_IDLE));
    json_object_set_new(o, "switches", json_integer(s->count));
    if (s->mode == MODE_AUTO)
        json_object_set_new(
            o, "auto",
            json_pack("{s:I, s:I, s:i, s:i}", "packets_per_s", (json_int_t)s->policy.packets,
                      "bytes_per_s", (json_int_t)s->policy.bytes, "load_percent",
                      (int)(s->policy.load / 10), "server_cpu_percent", (int)s->policy.server_cpu));
    if (s->last)
        json_object_set_new(o, "last_switch",
                            json_pack("{s:s, s:f, s:I}", "what", s->last, "ago_s",
                                      (double)(now_ns() - s->last_ns) / 1e9, "stall_ns",
                                      (json_int_t)s->last_stall_ns));
}
